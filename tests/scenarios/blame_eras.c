/*
 * blame_eras: stories of coalitions in a consortium that changes itself. A cluster of real cores
 * goes from configuration to configuration; then some sit down with keys of one of them, retired
 * or not, and write another history by hand (tests/forge). Each story is judged alike: the audit
 * names more than f of those who signed, in the configuration that they signed in, and nobody else
 * (protocol §10, "Across configurations").
 */
#include "tests/forge/reform.h"
#include "tests/scenarios/blame.h"
#include "tests/scenarios/telling.h"
#include "tests/sim/members.h"

#define FOUNDERS 4u
#define SPARES 4u
#define BANKS 4u

TestSuite(blame_eras, .timeout = 300);

/* ---- a consortium that changes itself ---- */

struct plot {
    struct cluster *cluster;
    struct consortium eras[CLUSTER_ERAS_MAX]; /* and the keys of each, all leaked */
    uint32_t whole;                           /* a node whose ledger goes from genesis to the end */
    uint64_t orders;
};

static struct plot plot;

/* Propose, vote, and go over, in real. */
static void change(const struct action *action) {
    struct cluster *const c = plot.cluster;
    const struct charter *const charter = c->charter;
    struct matter matter;
    (void)members_propose(c, 1, action, 20000, &matter);
    for (uint32_t member = 0; member < members_enough(c); member++) {
        (void)members_vote(c, &matter, member);
    }
    charter_pass(c->charter, matter.bytes);
    for (uint32_t ms = 0; !cluster_knows_configuration(c, charter->now.number); ms += 10) {
        cr_assert(ms < 10000, "configuration %llu does not come",
                  (unsigned long long)charter->now.number);
        cluster_run_ms(c, 10);
    }
    cluster_run_ms(c, 300);
    put_some(c, 6);
    cluster_run_until_done(c, 20000);
    cluster_run_ms(c, 300);
}

/* Every bank in turn replaces the replica that it had from the beginning. */
static void replace(uint32_t bank) {
    struct cluster *const c = plot.cluster;
    struct action const action =
        charter_replica(c->charter, &c->keys[bank].signing.key, bank_names[bank],
                        CLUSTER_SPARE_NUMBER + FOUNDERS + bank);
    change(&action);
}

static void collect_keys(uint64_t number) {
    struct cluster *const c = plot.cluster;
    struct consortium *const era = &plot.eras[number - 1];
    *era = c->consortium;
    era->configuration = *cluster_configuration(c, number);
    for (uint32_t r = 0; r < era->configuration.replica_count; r++) {
        era->replicas[r] = c->keys[cluster_id_of(c, &era->configuration.replicas[r].key)];
    }
}

/* Honest work in configurations 1 to 1 + changes, each with one more bank's replica replaced. */
static void plot_open(uint64_t seed, uint32_t changes) {
    plot = (struct plot){
        .cluster = cluster_new(&(struct cluster_options){.seed = seed,
                                                         .replica_count = FOUNDERS + SPARES,
                                                         .spares = SPARES,
                                                         .governed = true,
                                                         .no_joins = true}),
        .whole = changes == 0 ? 0 : FOUNDERS};
    put_some(plot.cluster, 10);
    cluster_run_until_done(plot.cluster, 20000);
    for (uint32_t bank = 0; bank < changes; bank++) {
        replace(bank);
    }
    for (uint64_t number = 1; number <= 1u + changes; number++) {
        collect_keys(number);
    }
}

static void plot_close(void) {
    cluster_end(plot.cluster);
}

/* The last batch of a configuration that another one followed. */
static uint64_t last_of(uint64_t number) {
    return plot.cluster->eras[number].start;
}

/* A copy of what really happened up to a batch, to go on with by hand. */
static void copy_ledger(struct forge *forge, uint64_t upto, uint64_t signers) {
    forge_init(forge, &plot.eras[0]);
    forge_govern(forge, &plot.cluster->eras[0].constitution);
    auditing_continue_until(forge, plot.cluster, plot.whole,
                            &(struct auditing_part){.upto = upto, .signers = plot.eras});
    forge->signers = signers;
}

static void write_batch(struct forge *forge, const char *call, enum rule lie) {
    struct buffer encoded;
    buffer_init(&encoded, REQUEST_SIZE_MAX);
    order_encode(&encoded, &plot.eras[0],
                 &(struct order){.author = &plot.eras[0].users[0],
                                 .min_index = forge->next_index,
                                 .number = 77000 + ++plot.orders,
                                 .call_count = 1,
                                 .calls = &call});
    struct span const request = buffer_span(&encoded);
    forge_append(forge,
                 &(struct forge_order){.request_count = 1, .requests = &request, .lie = lie});
    buffer_free(&encoded);
}

/* An empty one. */
static void write_nothing(struct forge *forge, enum rule lie) {
    forge_append(forge, &(struct forge_order){.request_count = 0, .lie = lie});
}

/* ---- the audit ---- */

static void open_audit(struct auditing *a) {
    auditing_open(a, plot.cluster);
}

static void give_receipt_of(struct auditing *a, const struct forge *forge, uint64_t seq) {
    struct buffer receipt;
    buffer_init(&receipt, RECEIPT_SIZE_MAX);
    forge_receipt(forge, &(struct forge_place){.seq = seq}, &receipt);
    auditing_give_receipt(a, buffer_span(&receipt));
    buffer_free(&receipt);
}

/* What the customers of the real cluster hold, of all configurations. */
static void give_real_receipts(struct auditing *a) {
    for (uint32_t i = 0; i < plot.cluster->request_count; i++) {
        auditing_give_receipt(a, plot.cluster->requests[i].receipt);
    }
}

static uint32_t count_of(uint64_t set) {
    return (uint32_t)__builtin_popcountll(set);
}

/*
 * Each proof holds by itself, and names only of `liars`, in configuration `number`.
 * Returns: how many the one names that names most.
 */
static uint32_t most_named(struct auditing *a, uint64_t number, uint64_t liars) {
    const struct digest *const service = &plot.cluster->configuration->service;
    const struct configuration *const then = &plot.eras[number - 1].configuration;
    struct proof_verdict *const verdict = calloc(1, sizeof *verdict);
    uint32_t named = 0;
    cr_assert(verdict != NULL);
    const struct audit_report *const report = auditing_run(a);
    for (uint32_t i = 0; i < report->finding_count; i++) {
        cr_assert_eq(proof_verify(verdict, service, buffer_span(&report->findings[i].file)),
                     PROOF_VALID);
        cr_assert_eq(verdict->config, number, "kind %d names configuration %llu",
                     (int)verdict->kind, (unsigned long long)verdict->config);
        cr_assert_eq(verdict->configuration.replica_count, then->replica_count);
        cr_assert_eq(verdict->blamed & ~liars, 0, "kind %d: %llx is not in %llx",
                     (int)verdict->kind, (unsigned long long)verdict->blamed,
                     (unsigned long long)liars);
        for (uint32_t r = 0; r < then->replica_count; r++) {
            cr_assert(
                public_key_equal(&verdict->configuration.replicas[r].key, &then->replicas[r].key));
        }
        uint32_t const count = count_of(verdict->blamed);
        named = count > named ? count : named;
    }
    free(verdict);
    return named;
}

static void expect_liars(struct auditing *a, uint64_t number, uint64_t liars) {
    uint32_t const named = most_named(a, number, liars);
    const struct audit_report *const report = audit_report(a->audit);
    cr_assert_gt(named, plot.eras[number - 1].configuration.faults_max, "%u are named: %d: %s",
                 named, audit_exit_code(report),
                 report->notice_count == 0 ? "" : report->notices[0].text);
    auditing_close(a);
}

/* ---- a fork wholly in one configuration ---- */

/* Replicas of the newest configuration sign another batch for the place of a real one. */
static void fork_in(uint64_t seed, uint32_t changes) {
    static struct forge forge;
    struct auditing a;
    plot_open(seed, changes);
    uint64_t const number = 1u + changes;
    copy_ledger(&forge, last_of(number - 1) + 1, 0x7);
    write_batch(&forge, "kv.put alice paid", RULE_NONE);
    open_audit(&a);
    give_real_receipts(&a);
    give_receipt_of(&a, &forge, forge_seq(&forge));
    auditing_give_node(&a, plot.whole);
    expect_liars(&a, number, 0x7);
    forge_free(&forge);
    plot_close();
}

Test(blame_eras, a_fork_in_the_second_configuration) {
    fork_in(1, 1);
}

Test(blame_eras, a_fork_in_the_third_configuration) {
    fork_in(2, 2);
}

/* Two ledgers of one view, handed in whole, and no receipt. */
Test(blame_eras, two_ledgers_that_part_in_the_third_configuration) {
    static struct forge forge;
    struct auditing a;
    plot_open(3, 2);
    copy_ledger(&forge, last_of(2) + 1, 0xd);
    write_batch(&forge, "kv.put alice paid", RULE_NONE);
    for (uint32_t i = 0; i < 12; i++) {
        write_batch(&forge, "kv.put bob rich", RULE_NONE);
    }
    open_audit(&a);
    auditing_give_forged(&a, &forge);
    auditing_give_node(&a, plot.whole);
    expect_liars(&a, 3, 0xf);
    forge_free(&forge);
    plot_close();
}

/* ---- keys that were retired, and leaked ---- */

/*
 * All four founders have been replaced. Whoever has their keys rewrites what they did: a customer
 * is given a receipt for another batch of that time.
 */
Test(blame_eras, retired_keys_rewrite_what_was_before_the_change) {
    static struct forge forge;
    struct auditing a;
    plot_open(4, 4);
    for (uint32_t r = 0; r < BANKS; r++) {
        cr_assert_geq(cluster_position(plot.cluster, 5, r), REPLICAS_MAX);
    }
    copy_ledger(&forge, 5, 0x7);
    write_batch(&forge, "kv.put alice paid", RULE_NONE);
    open_audit(&a);
    give_real_receipts(&a);
    give_receipt_of(&a, &forge, forge_seq(&forge));
    auditing_give_node(&a, plot.whole);
    expect_liars(&a, 1, 0x7);
    forge_free(&forge);
    plot_close();
}

/* The same in a view that there never was: they deny all that they had committed. */
Test(blame_eras, retired_keys_invent_a_view) {
    static struct forge forge;
    struct forge_view_order order = {.view = 6, .authors = 0xd};
    struct auditing a;
    plot_open(5, 4);
    copy_ledger(&forge, 5, 0x7);
    for (uint32_t i = 0; i < REPLICAS_MAX; i++) {
        order.stated[i] = 5;
    }
    forge_change_view(&forge, &order);
    write_batch(&forge, "kv.put alice paid", RULE_NONE);
    write_batch(&forge, "kv.put bob rich", RULE_NONE);
    open_audit(&a);
    give_receipt_of(&a, &forge, forge_seq(&forge));
    auditing_give_forged(&a, &forge);
    auditing_give_node(&a, plot.whole);
    expect_liars(&a, 1, 0xf);
    open_audit(&a);
    give_receipt_of(&a, &forge, forge_seq(&forge));
    auditing_give_node(&a, plot.whole);
    expect_no_blame(&a, EXIT_CANNOT_AUDIT); /* nobody has shown that view yet */
    forge_free(&forge);
    plot_close();
}

/* ---- where one configuration ends and the next begins ---- */

/* Retired keys go on behind the end of their time, as if there had been none. */
Test(blame_eras, retired_keys_go_on_behind_their_end) {
    static struct forge forge;
    for (uint64_t lag = 1; lag <= 6; lag += 5) {
        struct auditing a;
        plot_open(6, 1);
        copy_ledger(&forge, last_of(1), 0x7);
        forge.closing_seq = 0;
        forge.lied = true;
        for (uint64_t i = 0; i < lag; i++) {
            write_batch(&forge, "kv.put alice paid", RULE_NONE);
        }
        open_audit(&a);
        give_receipt_of(&a, &forge, forge_seq(&forge));
        auditing_give_node(&a, plot.whole);
        expect_liars(&a, 1, 0x7);
        forge_free(&forge);
        plot_close();
    }
}

/*
 * One customer hears that the vote passed, the other that there was none: the receipt of `lag`
 * batches behind the place of that vote, and the ledger in which it passed.
 */
static void hide_the_vote(uint64_t seed, uint64_t lag, bool with_receipts) {
    static struct forge forge;
    struct auditing a;
    plot_open(seed, 2);
    uint64_t const vote = last_of(2) - CLOSING_BATCHES;
    copy_ledger(&forge, vote - 1, 0xd);
    for (uint64_t i = 0; i <= lag; i++) {
        write_batch(&forge, "kv.put alice paid", RULE_NONE);
    }
    open_audit(&a);
    if (with_receipts) {
        give_real_receipts(&a);
    }
    give_receipt_of(&a, &forge, forge_seq(&forge));
    auditing_give_node(&a, plot.whole);
    expect_liars(&a, 2, 0xd);
    forge_free(&forge);
    plot_close();
}

Test(blame_eras, a_vote_that_passed_for_some_only) {
    for (uint64_t lag = 0; lag <= 7; lag++) {
        hide_the_vote(7, lag, true);
        hide_the_vote(7, lag, false);
    }
}

/* The ledger without the vote, and receipts of those who live in the configuration that it made. */
Test(blame_eras, a_ledger_without_the_vote) {
    static struct forge forge;
    struct auditing a;
    plot_open(8, 2);
    copy_ledger(&forge, last_of(2) - CLOSING_BATCHES - 1, 0xd);
    for (uint32_t i = 0; i < 20; i++) {
        write_batch(&forge, "kv.put alice paid", RULE_NONE);
    }
    open_audit(&a);
    give_real_receipts(&a);
    auditing_give_forged(&a, &forge);
    expect_liars(&a, 2, 0xd);
    open_audit(&a); /* both ledgers, and no receipt */
    auditing_give_forged(&a, &forge);
    auditing_give_node(&a, plot.whole);
    expect_liars(&a, 2, 0xf);
    forge_free(&forge);
    plot_close();
}

/* The replicas of the new configuration begin it twice. */
Test(blame_eras, two_first_batches) {
    static struct forge forge;
    for (uint32_t with_ledger = 0; with_ledger < 2; with_ledger++) {
        struct auditing a;
        plot_open(9, 2);
        copy_ledger(&forge, last_of(2), 0x7);
        forge_enter_configuration(&forge, &plot.eras[2], &plot.cluster->eras[2].constitution);
        forge.signers = 0xb;
        write_nothing(&forge, RULE_NONE);
        write_batch(&forge, "kv.put alice paid", RULE_NONE);
        write_batch(&forge, "kv.put alice paid", RULE_NONE);
        open_audit(&a);
        if (with_ledger == 0) {
            give_receipt_of(&a, &forge, forge_seq(&forge));
        } else {
            auditing_give_forged(&a, &forge);
        }
        auditing_give_node(&a, plot.whole);
        expect_liars(&a, 3, with_ledger == 0 ? 0xb : 0xf);
        forge_free(&forge);
        plot_close();
    }
}

/* ---- another chain ---- */

static struct reform other;

/* The founders' keys, and the members', let something else pass: a chain that holds as well. */
static void fork_chain(struct forge *forge, uint64_t upto) {
    forge_init(forge, &plot.eras[0]);
    reform_init(&other, forge);
    auditing_continue_until(forge, plot.cluster, plot.whole,
                            &(struct auditing_part){.upto = upto, .signers = plot.eras});
    forge->signers = 0x7;
    struct action const action = charter_named(&other.charter, ACTION_ADD_USER, "mallory", 7000);
    reform_end(&other, 1, &action);
    reform_start(&other);
    write_batch(forge, "kv.put alice paid", RULE_NONE);
    write_batch(forge, "kv.put bob rich", RULE_NONE);
}

static void give_other_chain(struct auditing *a) {
    struct buffer file;
    struct problem problem = {.code = EXIT_OK};
    buffer_init(&file, CHAIN_SIZE_MAX);
    reform_chain(&other, &file);
    cr_assert_eq(audit_add_chain(a->audit, "other chain", buffer_span(&file), &problem), 0);
    buffer_free(&file);
}

/* A client with one chain, and a ledger that went another way. */
Test(blame_eras, a_client_was_given_another_chain) {
    static struct forge forge;
    struct auditing a;
    plot_open(10, 2);
    fork_chain(&forge, 5);
    open_audit(&a);
    give_other_chain(&a);
    give_receipt_of(&a, &forge, forge_seq(&forge) - 1);
    auditing_give_node(&a, plot.whole);
    expect_liars(&a, 1, 0x7);
    open_audit(&a); /* with all that honest customers hold */
    give_real_receipts(&a);
    give_other_chain(&a);
    auditing_give_node(&a, plot.whole);
    expect_liars(&a, 1, 0x7);
    open_audit(&a); /* both ledgers, and no chain */
    auditing_give_node(&a, plot.whole);
    auditing_give_forged(&a, &forge);
    expect_liars(&a, 1, 0xf);
    open_audit(&a); /* without its chain the receipt is of nobody who is known */
    give_receipt_of(&a, &forge, forge_seq(&forge) - 1);
    auditing_give_node(&a, plot.whole);
    expect_no_blame(&a, EXIT_INVALID);
    forge_free(&forge);
    reform_free(&other);
    plot_close();
}

/*
 * The same replicas go over twice, at different places of the ledger: the receipt is of their
 * second configuration, for a batch at which the first was still in force.
 */
Test(blame_eras, a_configuration_that_began_too_early) {
    static struct forge forge;
    struct auditing a;
    plot_open(14, 0);
    struct action const add = charter_named(plot.cluster->charter, ACTION_ADD_USER, "dave", 8000);
    change(&add);
    collect_keys(2);
    fork_chain(&forge, 2);
    cr_assert_lt(forge.config_start + 2, last_of(1));
    open_audit(&a);
    give_receipt_of(&a, &forge, forge.config_start + 2);
    auditing_give_node(&a, plot.whole);
    expect_liars(&a, 2, 0x7);
    forge_free(&forge);
    reform_free(&other);
    plot_close();
}

/* ---- votes that do not come to what the ledger says ---- */

/* A vote that would pass, with an outcome that it does not have; upto where nothing is open. */
static void lie_about_a_vote(struct forge *forge) {
    struct span vote;
    forge_init(forge, &plot.eras[0]);
    reform_init(&other, forge);
    auditing_continue_until(forge, plot.cluster, plot.whole,
                            &(struct auditing_part){.upto = 5, .signers = plot.eras});
    forge->signers = 0x7;
    struct action const action = charter_named(&other.charter, ACTION_ADD_USER, "mallory", 7000);
    (void)reform_vote_but_one(&other, 1, &action, &vote);
    forge_append(forge,
                 &(struct forge_order){.request_count = 1, .requests = &vote, .lie = RULE_OUTCOME});
    forge->lied = true;
}

Test(blame_eras, a_vote_with_a_false_outcome) {
    static struct forge forge;
    for (uint32_t with_real = 0; with_real < 2; with_real++) {
        struct auditing a;
        plot_open(11, 1);
        lie_about_a_vote(&forge);
        uint64_t const lie = forge_seq(&forge);
        write_nothing(&forge, RULE_NONE);
        open_audit(&a);
        auditing_give_forged(&a, &forge);
        if (with_real != 0) {
            auditing_give_node(&a, plot.whole);
        } else {
            give_receipt_of(&a, &forge, lie);
        }
        expect_liars(&a, 1, with_real != 0 ? 0xf : 0x7);
        forge_free(&forge);
        reform_free(&other);
        plot_close();
    }
}

/* They go over to what nobody voted for, and its replicas sign there. */
Test(blame_eras, a_constitution_that_does_not_follow_from_the_votes) {
    static struct forge forge;
    static struct consortium invented;
    struct auditing a;
    plot_open(12, 1);
    lie_about_a_vote(&forge);
    for (uint32_t i = 0; i < CLOSING_BATCHES; i++) {
        write_nothing(&forge, RULE_NONE);
    }
    struct action const action = charter_without(ACTION_REMOVE_USER, "alice");
    charter_pass(&other.charter, charter_propose(&other.charter, 1, &action));
    charter_consortium(&other.charter, &invented);
    forge_enter_configuration(&forge, &invented, &other.charter.now);
    write_nothing(&forge, RULE_NONE);
    write_batch(&forge, "kv.put bob rich", RULE_NONE);
    open_audit(&a);
    auditing_give_forged(&a, &forge);
    give_receipt_of(&a, &forge, forge_seq(&forge));
    expect_liars(&a, 1, 0x7);
    forge_free(&forge);
    reform_free(&other);
    plot_close();
}

/* ---- drawn at random ---- */

/* A fork of any batch of any configuration, by any quorum of it with its first primary. */
struct draw {
    uint64_t number; /* of the configuration */
    uint64_t upto;   /* the last batch that is left as it was */
    uint64_t signers;
    uint64_t count; /* batches written by hand */
};

static struct draw draw_fork(struct prng *prng, uint64_t configurations) {
    struct draw draw = {.number = prng_between(prng, 1, configurations)};
    const struct configuration *const then = &plot.eras[draw.number - 1].configuration;
    uint64_t const first = draw.number == 1 ? 1 : last_of(draw.number - 1) + 1;
    uint64_t const last = draw.number == configurations
                              ? auditing_evidenced(plot.cluster, plot.whole) - 1
                              : last_of(draw.number);
    draw.upto = prng_between(prng, first, last);
    draw.count = prng_between(prng, 1, 6);
    draw.signers = 1;
    while (count_of(draw.signers) < then->quorum) {
        draw.signers |= UINT64_C(1) << prng_below(prng, then->replica_count);
    }
    return draw;
}

static void write_fork(struct forge *forge, const struct draw *draw) {
    copy_ledger(forge, draw->upto, draw->signers);
    if (forge->closing_seq != 0) { /* whatever they write now has no place in that configuration */
        forge->closing_seq = 0;
        forge->lied = true;
    }
    for (uint64_t i = 0; i < draw->count; i++) {
        write_batch(forge, "kv.put alice paid", RULE_NONE);
    }
}

/* Is there a batch that the real ledger evidences, or an end of the configuration, against it? */
static bool is_contradicted(const struct draw *draw, uint64_t configurations, uint64_t seq) {
    return draw->number < configurations || seq <= auditing_evidenced(plot.cluster, plot.whole);
}

Test(blame_eras, forks_drawn_at_random) {
    enum { CONFIGURATIONS = 4, DRAWS = 80 };
    static struct forge forge;
    struct prng prng;
    plot_open(13, CONFIGURATIONS - 1);
    prng_init(&prng, 13);
    for (uint32_t i = 0; i < DRAWS; i++) {
        struct draw const draw = draw_fork(&prng, CONFIGURATIONS);
        uint64_t const with_receipt = prng_between(&prng, draw.upto + 1, draw.upto + draw.count);
        bool const shows_ledger = prng_chance(&prng, 300);
        struct auditing a;
        write_fork(&forge, &draw);
        open_audit(&a);
        if (prng_chance(&prng, 300)) {
            give_real_receipts(&a);
        }
        give_receipt_of(&a, &forge, with_receipt);
        if (shows_ledger) {
            auditing_give_forged(&a, &forge);
        }
        auditing_give_node(&a, plot.whole);
        uint32_t const named = most_named(&a, draw.number, draw.signers);
        cr_assert(!is_contradicted(&draw, CONFIGURATIONS, with_receipt) ||
                      named > plot.eras[draw.number - 1].configuration.faults_max,
                  "draw %u: configuration %llu, behind batch %llu, receipt of batch %llu: %u named",
                  i, (unsigned long long)draw.number, (unsigned long long)draw.upto,
                  (unsigned long long)with_receipt, named);
        auditing_close(&a);
        forge_free(&forge);
    }
    plot_close();
}
