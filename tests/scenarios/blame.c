/*
 * blame: stories of banks that keep two books, told to the end: real cores on both sides, receipts
 * that customers hold, and the auditor's report (protocol §10). And stories in which nobody did
 * anything, which must end without a culprit.
 */
#include "tests/scenarios/blame.h"

#include "audit-tool/served_evidence.h"
#include "ledger/segment.h"
#include "ledger/served.h"
#include "ledger/wire.h"
#include "tests/scenarios/telling.h"

/* ---- two worlds ---- */

/*
 * The twins' banks run two machines with one key each. The first machines, and the banks in
 * `first`, hear nothing of the second machines and of the other banks, from the first day on. That
 * more than f of them lie is the auditor's business; the cluster's own judge looks away.
 */
static struct cluster *two_worlds(uint64_t seed, uint32_t twins, uint32_t first) {
    struct cluster *const c = cluster_new(&(struct cluster_options){
        .seed = seed, .twins = twins, .no_retries = true, .no_joins = true});
    for (uint32_t i = 0; i < c->node_count; i++) {
        c->nodes[i].byzantine = true;
        for (uint32_t k = 0; k < c->node_count; k++) {
            bool const here = i < 4 && (first >> i & 1) != 0;
            bool const there = k < 4 && (first >> k & 1) != 0;
            cluster_cut(c, i, k, here != there);
        }
    }
    return c;
}

/* A customer asks one world alone. */
static uint32_t ask(struct cluster *c, uint32_t first, bool in_first, const char *call) {
    uint32_t const request =
        cluster_prepare_order(c, 0, &(struct order){.call_count = 1, .calls = &call});
    for (uint32_t i = 0; i < c->node_count; i++) {
        if ((i < 4 && (first >> i & 1) != 0) == in_first) {
            cluster_send_request(c, request, i);
        }
    }
    c->requests[request].floor_index = 0; /* the other world's receipts order nothing here */
    cluster_run_ms(c, 60);
    return request;
}

static void expect_receipt(const struct cluster *c, uint32_t request) {
    cr_assert(c->requests[request].receipt.size != 0, "request %u has no receipt", request);
}

#define CERTIFICATE_SENTENCE                                                                       \
    "A certificate shows that a batch was committed: 3 of 4 replicas signed it, and each then "    \
    "revealed a secret number"
#define OVERLAP_SENTENCE                                                                           \
    "Of 4 replicas any two groups of 3 have at least 2 in common. Those who are named are in "     \
    "both groups."

/* Alice pays Bob in one book and Carol in the other, out of the same money. */
static void one_place_two_batches(uint64_t seed, uint32_t coalition, uint32_t first, bool all_up) {
    struct cluster *const c = two_worlds(seed, coalition, first);
    if (!all_up) {
        cluster_crash(c, 3);
    }
    uint32_t const here = ask(c, first, true, "kv.put alice bob");
    uint32_t const there = ask(c, first, false, "kv.put alice carol");
    expect_receipt(c, here);
    expect_receipt(c, there);
    struct auditing a;
    auditing_open(&a, c);
    auditing_give_receipt(&a, c->requests[here].receipt);
    auditing_give_receipt(&a, c->requests[there].receipt);
    expect_blame(&a, PROOF_CONFLICTING_CERTIFICATES, coalition,
                 SENTENCES("two histories for view 0, batch 1",
                           "The same replicas signed and committed two different histories",
                           CERTIFICATE_SENTENCE,
                           "there is one place in the ledger, and it cannot hold both",
                           OVERLAP_SENTENCE));
    cluster_free(c);
}

Test(blame, two_banks_keep_two_books) {
    one_place_two_batches(1, 0x3, 0x7, true); /* f + 1: bank c is told one thing, bank d another */
}

Test(blame, three_banks_keep_two_books) {
    one_place_two_batches(2, 0x7, 0x7, false); /* bank d is away, and sees nothing of it */
}

/* One of them is cut off from its world. */
static void turn_away(struct cluster *c, uint32_t first, uint32_t node, bool away) {
    for (uint32_t other = 0; other < c->node_count; other++) {
        bool const here = node < 4 && (first >> node & 1) != 0;
        bool const there = other < 4 && (first >> other & 1) != 0;
        cluster_cut(c, node, other, away || here != there);
        cluster_cut(c, other, node, away || here != there);
    }
}

/*
 * All four run two machines. Of the first batch bank d knows nothing in either world, of the second
 * bank c knows nothing: no two certificates have all four, and yet each of the four is convicted.
 */
Test(blame, four_banks_keep_two_books) {
    static const uint32_t away[] = {3, 2};
    struct cluster *const c = two_worlds(3, 0xf, 0xf);
    struct auditing a;
    uint64_t blamed = 0;
    auditing_open(&a, c);
    for (uint32_t i = 0; i < 2; i++) {
        turn_away(c, 0xf, away[i], true);
        turn_away(c, 0xf, 4 + away[i], true);
        uint32_t const here = ask(c, 0xf, true, "kv.put alice bob");
        uint32_t const there = ask(c, 0xf, false, "kv.put alice carol");
        expect_receipt(c, here);
        expect_receipt(c, there);
        auditing_give_receipt(&a, c->requests[here].receipt);
        auditing_give_receipt(&a, c->requests[there].receipt);
        turn_away(c, 0xf, away[i], false);
        turn_away(c, 0xf, 4 + away[i], false);
        cluster_run_ms(c, 2000);
    }
    const struct audit_report *const report = auditing_run(&a);
    cr_assert_eq(audit_exit_code(report), EXIT_MISBEHAVIOUR);
    cr_assert_eq(report->finding_count, 2);
    for (uint32_t i = 0; i < 2; i++) {
        uint64_t const named = report->findings[i].verdict.blamed;
        expect_proof(c, buffer_span(&report->findings[i].file), PROOF_CONFLICTING_CERTIFICATES,
                     named, SENTENCES(CERTIFICATE_SENTENCE, OVERLAP_SENTENCE));
        blamed |= named;
    }
    cr_assert_eq(blamed, 0xf);
    auditing_close(&a);
    cluster_free(c);
}

/* One receipt, and the ledger of an honest bank that never saw that transaction. */
Test(blame, an_honest_banks_ledger_and_a_customers_receipt) {
    struct cluster *const c = two_worlds(4, 0x3, 0x7);
    (void)ask(c, 0x7, true, "kv.put alice bob");
    (void)ask(c, 0x7, true, "kv.put bob carol");
    uint32_t const lost = ask(c, 0x7, false, "kv.put alice carol");
    expect_receipt(c, lost);
    struct auditing a;
    auditing_open(&a, c);
    auditing_give_node(&a, 2);
    auditing_give_receipt(&a, c->requests[lost].receipt);
    expect_blame(&a, PROOF_CONFLICTING_CERTIFICATES, 0x3,
                 SENTENCES("two histories for view 0, batch 1", OVERLAP_SENTENCE));
    cluster_free(c);
}

/* The books part, and each goes on: the places differ, and the numbers cannot be of one ledger. */
Test(blame, two_receipts_whose_numbers_no_ledger_can_hold) {
    struct cluster *const c = two_worlds(5, 0x3, 0x7);
    static const char *const calls[] = {"kv.put a 1", "kv.put b 2", "kv.put c 3", "kv.put d 4",
                                        "kv.put e 5", "kv.put f 6", "kv.put g 7", "kv.put h 8"};
    uint32_t const rich = cluster_prepare_order(
        c, 0, &(struct order){.mode = REQUEST_INDEPENDENT, .call_count = 8, .calls = calls});
    for (uint32_t node = 0; node < 3; node++) {
        cluster_send_request(c, rich, node);
    }
    cluster_run_ms(c, 60);
    uint32_t second = ask(c, 0x7, false, "kv.put x 1");
    for (unsigned i = 0; i < 2; i++) {
        second = ask(c, 0x7, false, "kv.put x 2");
    }
    expect_receipt(c, rich);
    expect_receipt(c, second);
    cr_assert(c->requests[second].seq > c->requests[rich].seq);
    cr_assert(c->requests[second].first_index < c->requests[rich].first_index + 8);
    struct auditing a;
    auditing_open(&a, c);
    auditing_give_receipt(&a, c->requests[rich].receipt);
    auditing_give_receipt(&a, c->requests[second].receipt);
    expect_blame(&a, PROOF_CONFLICTING_CERTIFICATES, 0x3,
                 SENTENCES("Within a view numbers, times and sizes only grow, batch by batch, and "
                           "by no more than a batch can hold",
                           "no ledger that has the first can come to the second",
                           OVERLAP_SENTENCE));
    cluster_free(c);
}

/* ---- equivocation ---- */

/*
 * The leader tells bank d another first batch than everybody else. Nobody joins in, so that bank d
 * commits nothing; but what it was told lies on its disk, with the leader's signature.
 */
Test(blame, a_leader_proposes_two_batches) {
    struct cluster *const c = two_worlds(6, 0x1, 0x7);
    uint32_t const here = ask(c, 0x7, true, "kv.put alice bob");
    (void)ask(c, 0x7, false, "kv.put alice carol");
    expect_receipt(c, here);
    struct auditing a;
    auditing_open(&a, c);
    auditing_give_node(&a, 3);
    auditing_give_receipt(&a, c->requests[here].receipt);
    expect_blame(&a, PROOF_EQUIVOCATION, 0x1,
                 SENTENCES("two pre-prepares for view 0, batch 1",
                           "One replica signed two different statements where it may sign one",
                           "The replica that leads a view proposes one batch for each number",
                           "both carry a valid signature of the same key, and they differ",
                           "Whoever holds the key has told two stories."));
    cluster_free(c);
}

static struct span prepares[2]; /* what bank d was seen to sign */

static bool another_vote_after(struct cluster *c, const struct frame *frame, struct buffer *out) {
    struct signed_body statement;
    struct prepare prepare;
    cr_assert(signed_decode(&statement, &c->arena, frame->payload, STATEMENT_SIZE_MAX) == CODEC_OK);
    cr_assert(prepare_decode(&prepare, &c->arena, statement.body) == CODEC_OK);
    struct prepare_parts parts = {.replica = prepare.replica,
                                  .seq = prepare.seq,
                                  .pre_prepare_digest = prepare.pre_prepare_digest,
                                  .nonce_hash = prepare.nonce_hash};
    parts.pre_prepare_digest.bytes[0] ^= 1;
    cluster_forge(c, frame->from, frame->to, MESSAGE_PREPARE, frame->payload);
    puppet_prepare(out, c, &parts);
    prepares[0] = cluster_keep(c, frame->payload);
    prepares[1] = cluster_keep(c, buffer_span(out));
    return true;
}

/* A follower votes for two batches in one place; whoever hears both votes keeps them. */
Test(blame, a_follower_votes_twice) {
    struct meddler m;
    struct cluster *const c = begin(&m, 7);
    c->nodes[3].byzantine = true;
    watch(&m, 3, 2, MESSAGE_PREPARE, another_vote_after);
    cluster_submit(c, "kv.put alice bob");
    cluster_run_until_done(c, 500);
    cluster_run_ms(c, 50);
    cr_assert(c->nodes[2].evidence_count >= 1);
    struct proof proof = {.kind = PROOF_EQUIVOCATION,
                          .genesis = buffer_span(&c->consortium.genesis_bytes),
                          .statement_count = 2};
    for (unsigned i = 0; i < 2; i++) {
        cr_assert(signed_decode(&proof.statements[i], &c->arena, prepares[i], STATEMENT_SIZE_MAX) ==
                  CODEC_OK);
    }
    struct buffer file;
    buffer_init(&file, EVIDENCE_FILE_SIZE_MAX);
    proof_order(&proof);
    cr_assert(evidence_file_encode(&file, &proof));
    expect_proof(c, buffer_span(&file), PROOF_EQUIVOCATION, 0x8,
                 SENTENCES("two prepares for view 0, batch",
                           "A replica that supports a proposal says so with a signature, once for "
                           "each number of a batch in a view",
                           "Whoever holds the key has told two stories."));
    buffer_free(&file);
    end(&m);
}

/* ---- nobody's guilt ---- */

static void give_receipts(struct auditing *a, const struct cluster *c) {
    for (uint32_t i = 0; i < c->request_count; i++) {
        auditing_give_receipt(a, c->requests[i].receipt);
    }
}

/* ---- what a bank hands over ---- */

/* A demand of the auditor for a bank's whole ledger, and what the bank signs for in answer. */
struct handing_over {
    struct buffer demand_bytes;
    struct signed_body demand;
    struct buffer statement;
    struct buffer payload;
    struct signed_body answer;
};

static void demand_ledger(struct handing_over *over, const struct cluster *c, uint32_t bank) {
    const struct digest *const service = &c->configuration->service;
    const struct key_pair *const auditor = &c->consortium.users[0];
    struct demand const demand = {.author = auditor->key,
                                  .challenge = {4, 7, 11},
                                  .replica = bank,
                                  .time_ms = 1000,
                                  .deadline_ms = 60000,
                                  .part = SERVED_ENTRIES};
    buffer_init(&over->demand_bytes, STATEMENT_SIZE_MAX);
    buffer_init(&over->statement, STATEMENT_SIZE_MAX);
    buffer_init(&over->payload, FRAME_SIZE_MAX);
    cr_assert(demand_encode(&over->demand_bytes, &demand));
    over->demand.body = buffer_span(&over->demand_bytes);
    over->demand.signature =
        sign_labelled(&auditor->secret, &auditor->key, LABEL_DEMAND, service, over->demand.body);
}

/* The bank's machine, or whoever holds its key, signs for these entries as its ledger. */
static void hand_over(struct handing_over *over, const struct cluster *c, uint32_t bank,
                      const struct entry *entries, uint64_t count) {
    const struct digest *const service = &c->configuration->service;
    const struct key_pair *const key = &c->consortium.replicas[bank].signing;
    struct range_message const range = {.count = (uint32_t)count, .entries = entries};
    cr_assert(range_message_encode(&over->payload, &range));
    struct served served = {.replica = bank,
                            .demand = demand_digest(service, &over->demand),
                            .part = SERVED_ENTRIES,
                            .end = count,
                            .available = count,
                            .digest = served_bytes_digest(service, buffer_span(&over->payload))};
    consortium_state(&c->consortium, &served);
    cr_assert(served_encode(&over->statement, &served));
    over->answer.body = buffer_span(&over->statement);
    over->answer.signature =
        sign_labelled(&key->secret, &key->key, LABEL_SERVED_RANGE, service, over->answer.body);
}

static void handing_over_free(struct handing_over *over) {
    buffer_free(&over->demand_bytes);
    buffer_free(&over->statement);
    buffer_free(&over->payload);
}

/* What anybody can make of the answer. Returns: is there a proof? */
static bool proves(const struct handing_over *over, const struct cluster *c, struct buffer *file) {
    buffer_init(file, EVIDENCE_FILE_SIZE_MAX);
    return served_evidence(file, NULL, buffer_span(&c->consortium.genesis_bytes), NULL,
                           &over->answer, buffer_span(&over->payload));
}

/*
 * The auditor demands the ledgers of banks b and c. Bank b hands over what is on its disk. Bank c
 * would like a payment never to have been, and leaves its batch out, numbers and all.
 */
Test(blame, a_bank_signs_for_a_ledger_with_a_hole) {
    struct meddler m;
    struct cluster *const c = begin(&m, 14);
    put_some(c, 9);
    cluster_run_until_done(c, 5000);
    cluster_run_ms(c, 300);
    const struct entry_list *const ledger = &c->nodes[2].disk.durable;
    struct entry *const cut = calloc(ledger->count, sizeof *cut);
    uint64_t kept = 0;
    cr_assert(cut != NULL);
    for (uint64_t i = 0; i < ledger->count; i++) {
        if (i < entry_batch_end(ledger, 3) || i >= entry_batch_end(ledger, 4)) {
            cut[kept++] = ledger->items[i];
        }
    }
    struct handing_over honest;
    struct handing_over made_up;
    struct buffer file;
    demand_ledger(&honest, c, 1);
    hand_over(&honest, c, 1, c->nodes[1].disk.durable.items, c->nodes[1].disk.durable.count);
    cr_assert_not(proves(&honest, c, &file));
    buffer_free(&file);
    demand_ledger(&made_up, c, 2);
    hand_over(&made_up, c, 2, cut, kept);
    cr_assert(proves(&made_up, c, &file));
    expect_proof(c, buffer_span(&file), PROOF_MALFORMED_RANGE, 0x4,
                 SENTENCES("A replica was asked for its ledger, and signed for something else",
                           "A user or member of the service may demand its ledger of each replica",
                           "They are no piece of any ledger of this service, which anyone can see",
                           "Whoever holds the key signed for a forgery, or without looking"));
    buffer_free(&file);
    handing_over_free(&honest);
    handing_over_free(&made_up);
    free(cut);
    end(&m);
}

/* Bank c loses power, comes back, and votes again in a later view, with all that it has signed. */
Test(blame, a_power_cut_is_no_crime) {
    struct meddler m;
    struct cluster *const c = begin(&m, 8);
    put_some(c, 3);
    cluster_crash(c, 2);
    put_some(c, 5);
    cluster_start(c, 2);
    cluster_run_until_level(c, 10000);
    lose(&m, ANYBODY, ANYBODY,
         MESSAGE_COMMIT); /* all reveal their numbers, to the customer alone */
    uint32_t const request = cluster_submit(c, "kv.put alice bob");
    cluster_run_ms(c, 100);
    cr_assert(cluster_is_done(c, request));
    lose_proposals_of(&m, 0);
    cluster_submit(c, "kv.put a 1");
    run_until_view(c, 2, 1, 8000);
    meddler_release(&m);
    put_some(c, 5);
    cluster_run_until_done(c, 10000);
    cr_assert(c->nodes[2].sent[MESSAGE_VIEW_CHANGE] != 0);
    cluster_run_until_level(c, 10000);
    struct auditing a;
    auditing_open(&a, c);
    for (uint32_t node = 0; node < 4; node++) {
        auditing_give_node(&a, node);
    }
    give_receipts(&a, c);
    expect_no_blame(&a, EXIT_OK);
    end(&m);
}

/* Bank d says nothing for years. That proves nothing. */
Test(blame, silence_is_no_crime) {
    struct meddler m;
    struct cluster *const c = begin(&m, 9);
    cluster_crash(c, 3);
    put_some(c, 12);
    cluster_run_until_done(c, 5000);
    struct auditing a;
    auditing_open(&a, c);
    for (uint32_t node = 0; node < 3; node++) {
        auditing_give_node(&a, node);
    }
    give_receipts(&a, c);
    expect_no_blame(&a, EXIT_OK);
    cluster_start(c, 3);
    end(&m);
}

/* A ledger that ends before the receipts do: nothing can be said, and that is said. */
Test(blame, a_ledger_that_ends_early_blames_nobody) {
    struct meddler m;
    struct cluster *const c = begin(&m, 10);
    cluster_run_ms(c, 300);
    cluster_isolate(c, 3, true);
    put_some(c, 12);
    cluster_run_until_done(c, 5000);
    struct auditing a;
    auditing_open(&a, c);
    auditing_give_node(&a, 3);
    give_receipts(&a, c);
    expect_no_blame(&a, EXIT_CANNOT_AUDIT);
    end(&m);
}

/* A bit flips on a disk. The ledger is damaged; its owner has signed nothing wrong. */
Test(blame, a_damaged_disk_blames_nobody) {
    struct meddler m;
    struct cluster *const c = begin(&m, 11);
    put_some(c, 12);
    cluster_run_until_done(c, 5000);
    cluster_run_ms(c, 300);
    struct auditing a;
    auditing_open(&a, c);
    struct fake_disk *const disk = auditing_give_node(&a, 1);
    char name[SEGMENT_NAME_SIZE];
    segment_name_format(name, &(struct segment_name){.open = true});
    struct buffer *const file = fake_disk_content(disk, name);
    cr_assert(file != NULL);
    file->data[file->size / 2] ^= 0x10;
    give_receipts(&a, c);
    expect_no_blame(&a, EXIT_CORRUPT);
    end(&m);
}
