/*
 * blame_colluders: stories of deeds that no core would do. A cluster of real cores works for a
 * while; then some banks sit down together and go on with the real ledger by hand, with their own
 * keys and nobody else's (tests/forge). Each story ends in the auditor's report (protocol §10).
 */
#include "tests/scenarios/blame.h"
#include "tests/scenarios/telling.h"

/* ---- how they begin ---- */

struct plot {
    struct meddler meddler;
    struct cluster *cluster;
    struct consortium colluders; /* the same service, and only their keys */
    struct forge forge;
    uint64_t orders;
};

static void forge_from_ledger(struct plot *plot, struct forge *forge, uint64_t signers) {
    forge_init(forge, &plot->colluders);
    auditing_continue(forge, plot->cluster, 2);
    forge->signers = signers;
}

/* Honest work of all four; then the coalition takes a copy of the ledger. */
static struct plot *plot_open(uint64_t seed, uint64_t coalition, uint64_t signers) {
    struct plot *const plot = calloc(1, sizeof *plot);
    cr_assert(plot != NULL);
    plot->cluster = begin(&plot->meddler, seed);
    put_some(plot->cluster, 12);
    cluster_run_until_done(plot->cluster, 5000);
    cluster_run_ms(plot->cluster, 300);
    plot->colluders = plot->cluster->consortium;
    for (uint32_t i = 0; i < 4; i++) {
        if ((coalition >> i & 1) == 0) {
            plot->colluders.replicas[i] = (struct replica_keys){.held = false};
        }
    }
    forge_from_ledger(plot, &plot->forge, signers);
    return plot;
}

static void plot_close(struct plot *plot) {
    forge_free(&plot->forge);
    end(&plot->meddler);
    free(plot);
}

/* Another batch by hand, with one payment in it, that leaves `lag` batches without evidence. */
static void write_late(struct plot *plot, struct forge *forge, const char *call, uint64_t lag,
                       enum rule lie) {
    struct buffer encoded;
    buffer_init(&encoded, REQUEST_SIZE_MAX);
    order_encode(&encoded, &plot->colluders,
                 &(struct order){.author = &plot->colluders.users[0],
                                 .min_index = forge->next_index,
                                 .number = 77000 + ++plot->orders,
                                 .call_count = 1,
                                 .calls = &call});
    struct span const request = buffer_span(&encoded);
    forge_append(forge,
                 &(struct forge_order){
                     .request_count = 1, .requests = &request, .evidence_lag = lag, .lie = lie});
    buffer_free(&encoded);
}

static void write_batch(struct plot *plot, struct forge *forge, const char *call, enum rule lie) {
    write_late(plot, forge, call, 1, lie);
}

static void give_receipt_of(struct auditing *a, const struct forge *forge, uint64_t seq) {
    struct buffer receipt;
    buffer_init(&receipt, RECEIPT_SIZE_MAX);
    forge_receipt(forge, &(struct forge_place){.seq = seq}, &receipt);
    auditing_give_receipt(a, buffer_span(&receipt));
    buffer_free(&receipt);
}

/* What customers of the real cluster were given. */
static void give_real_receipts(struct auditing *a, const struct cluster *c) {
    for (uint32_t i = 0; i < c->request_count; i++) {
        auditing_give_receipt(a, c->requests[i].receipt);
    }
}

#define RULE_SENTENCE                                                                              \
    "Before a replica signs a batch it checks it by rules that are the same for all, against the " \
    "ledger before it."
#define SLOW_SENTENCE                                                                              \
    "A replica that follows the rules finds this out and does not sign, however slow it is and "   \
    "however often it crashes."

#define LEADER_SENTENCE "Who leads a new view signs from which statements of the others it is made"
#define REPLACED_SENTENCE "that ledger holds something else in the place of the first batch"

/* The three give the customer a receipt for the lie, and show the ledger that it is in. */
static void lied_in_a_batch(uint64_t seed, uint64_t coalition, uint64_t signers, enum rule lie,
                            enum proof_kind kind, const char *const *sentences) {
    struct plot *const plot = plot_open(seed, coalition, signers);
    struct auditing a;
    write_batch(plot, &plot->forge, "kv.put alice paid", lie);
    auditing_open(&a, plot->cluster);
    give_real_receipts(&a, plot->cluster);
    give_receipt_of(&a, &plot->forge, forge_seq(&plot->forge));
    auditing_give_forged(&a, &plot->forge);
    expect_blame(&a, kind, signers, sentences);
    plot_close(plot);
}

/* ---- batches ---- */

Test(blame_colluders, three_banks_sign_an_outcome_that_is_not_so) {
    lied_in_a_batch(1, 0x7, 0x7, RULE_OUTCOME, PROOF_WRONG_OUTCOME,
                    SENTENCES("states a wrong outcome of transaction",
                              "Replicas signed an outcome that the transaction does not have",
                              "\"kv.put\" \"alice\" \"paid\"", "\"forged\"", RULE_SENTENCE,
                              "Outcomes are a function of the transactions and the state, and of "
                              "nothing else.",
                              "Executing them gives another outcome", SLOW_SENTENCE));
}

Test(blame_colluders, three_banks_sign_a_checkpoint_that_is_not_the_state) {
    lied_in_a_batch(2, 0xd, 0xd, RULE_CHECKPOINT_DIGEST, PROOF_WRONG_CHECKPOINT,
                    SENTENCES("states a wrong checkpoint digest",
                              "Replicas signed a checkpoint that is not the state of the ledger",
                              RULE_SENTENCE, "A checkpoint is a digest of the whole state",
                              SLOW_SENTENCE));
}

/* All four are in it; a quorum of them signed. */
Test(blame_colluders, four_banks_invent_a_change_of_the_rules) {
    lied_in_a_batch(3, 0xf, 0xb, RULE_GOVERNANCE_INDEX, PROOF_BROKEN_BATCH,
                    SENTENCES("breaks the rule",
                              "Replicas signed a batch that breaks a rule which each of them must "
                              "check",
                              RULE_SENTENCE, SLOW_SENTENCE));
}

/* ---- changes of view ---- */

/*
 * Three banks commit a payment and hand out its receipt. Then bank a falls silent, and the two
 * that are left of them ask for another leader, as if there had been no payment; bank d, who is in
 * it too, joins them.
 */
static void hide_a_payment(uint64_t seed, uint64_t authors, uint64_t blamed) {
    struct plot *const plot = plot_open(seed, 0xf, 0x7);
    struct forge_view_order order = {.view = 1, .authors = authors};
    struct auditing a;
    uint64_t const before = forge_seq(&plot->forge);
    auditing_open(&a, plot->cluster);
    write_batch(plot, &plot->forge, "kv.put alice paid", RULE_NONE);
    give_receipt_of(&a, &plot->forge, forge_seq(&plot->forge));
    for (uint32_t i = 0; i < REPLICAS_MAX; i++) {
        order.stated[i] = before;
    }
    forge_change_view(&plot->forge, &order);
    write_batch(plot, &plot->forge, "kv.put alice broke", RULE_NONE);
    auditing_give_forged(&a, &plot->forge);
    expect_blame(&a, PROOF_UNDERSTATED_VIEW_CHANGE, blamed,
                 SENTENCES("was hidden when view 1 was asked for",
                           "Replicas hid what they had committed when the leader changed",
                           "revealed a secret number to which its signature had committed it",
                           "asks for view", "the most that any of them stated was: batch",
                           "So each of the blamed held the batch when it signed that it did not."));
    plot_close(plot);
}

Test(blame_colluders, two_banks_hide_a_payment) {
    hide_a_payment(4, 0xe, 0x6);
}

Test(blame_colluders, three_banks_hide_a_payment) {
    hide_a_payment(5, 0x7, 0x7);
}

/* The new leader claims to take over more than anybody showed, and two others follow it. */
Test(blame_colluders, three_banks_enter_a_view_that_does_not_follow) {
    struct plot *const plot = plot_open(6, 0xf, 0x7);
    struct auditing a;
    forge_change_view(&plot->forge, &(struct forge_view_order){
                                        .view = 1, .only_enter = true, .lie = RULE_VIEW_CHOICE});
    plot->forge.signers = 0xe;
    write_batch(plot, &plot->forge, "kv.put alice paid", RULE_NONE);
    auditing_open(&a, plot->cluster);
    give_receipt_of(&a, &plot->forge, forge_seq(&plot->forge));
    auditing_give_forged(&a, &plot->forge);
    expect_blame(&a, PROOF_BROKEN_NEW_VIEW, 0xe,
                 SENTENCES("new view 1, after batch",
                           "A change of leader does not follow from what was before it",
                           LEADER_SENTENCE, "had to check it first."));
    plot_close(plot);
}

/*
 * Three banks give a customer a receipt in one ledger of view 0. In another one the same place is
 * taken by something else, which nobody committed; it comes to light when view 1 begins from there.
 */
static void two_ledgers(uint64_t seed, uint64_t there_signers, uint64_t blamed) {
    struct plot *const plot = plot_open(seed, 0xf, 0x7);
    struct forge *const here = &plot->forge;
    struct forge there;
    struct auditing a;
    auditing_open(&a, plot->cluster);
    forge_from_ledger(plot, &there, there_signers);
    write_batch(plot, &there, "kv.put alice paid", RULE_NONE);
    give_receipt_of(&a, &there, forge_seq(&there));
    uint64_t const lag = forge_seq(here) + 1 - here->evidence_upto;
    write_late(plot, here, "kv.put alice broke", lag, RULE_NONE);
    write_late(plot, here, "kv.put bob rich", lag + 1, RULE_NONE);
    forge_change_view(here, &(struct forge_view_order){.view = 1});
    write_batch(plot, here, "kv.put carol rich", RULE_NONE);
    auditing_give_forged(&a, here);
    expect_blame(&a, PROOF_FORKED_VIEW, blamed,
                 SENTENCES("two ledgers in view 0, batches",
                           "The same replicas kept two ledgers under one leader",
                           "Under one leader a replica adds to one ledger.", REPLACED_SENTENCE,
                           "Those who are named are in both groups."));
    forge_free(&there);
    plot_close(plot);
}

Test(blame_colluders, two_banks_keep_two_ledgers_under_one_leader) {
    two_ledgers(7, 0xd, 0x5);
}

Test(blame_colluders, three_banks_keep_two_ledgers_under_one_leader) {
    two_ledgers(8, 0x7, 0x7);
}
