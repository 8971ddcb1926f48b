/*
 * join_links: offers of later configurations than those that are proved, and how a join gets the
 * links that prove them, step by step (consensus/join.h). Whether links hold is the driver's word
 * here; tests/scenarios/joining_eras.c has whole clusters.
 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "consensus/join.h"
#include "ledger/field.h"

#define INTERVAL 10u
#define FAR 50u

static struct configuration const four = {.number = 1,
                                          .parameters = {.checkpoint_interval = INTERVAL},
                                          .replica_count = 4,
                                          .faults_max = 1,
                                          .quorum = 3};

struct bench {
    struct join *join;
    struct join_effects effects;
    uint64_t now_ms;
};

/* The chain as it was when the join began: nothing beyond the founding configuration. */
static const struct constitution *find_none(void *context, uint64_t number) {
    (void)context;
    (void)number;
    return NULL;
}

static void step(struct bench *bench, struct join_event *event) {
    event->now_ms = bench->now_ms;
    event->replica_has_genesis = true;
    cr_assert(join_step(bench->join, event, &bench->effects));
}

static void tick(struct bench *bench, uint64_t later_ms) {
    struct join_event event = {.kind = JOIN_EVENT_TICK};
    bench->now_ms += later_ms;
    step(bench, &event);
}

/* A replica that is in none of the configurations that it knows, and has asked for offers. */
static struct bench *bench_new(void) {
    struct bench *const bench = calloc(1, sizeof *bench);
    struct join_options const options = {.configuration = &four,
                                         .self = REPLICAS_MAX,
                                         .is_outsider = true,
                                         .chain = {.find = find_none}};
    cr_assert_not_null(bench);
    bench->join = join_new(&options);
    bench->now_ms = 1000;
    cr_assert_not_null(bench->join);
    tick(bench, 0);
    return bench;
}

static void bench_free(struct bench *bench) {
    join_free(bench->join);
    free(bench);
}

static void hear(struct bench *bench, const struct peer_message *message) {
    struct join_event event = {.kind = JOIN_EVENT_MESSAGE, .message = message};
    step(bench, &event);
}

static void hear_none(struct bench *bench, uint32_t from) {
    hear(bench, &(struct peer_message){.kind = MESSAGE_CHECKPOINT_OFFER, .from = from});
}

static void encode_certificate(struct buffer *out, uint64_t config) {
    struct pre_prepare const body = {.config = config,
                                     .seq = FAR + INTERVAL,
                                     .first_index = 1,
                                     .kind = BATCH_NORMAL,
                                     .time_ms = 1};
    struct buffer bytes;
    buffer_init(&bytes, STATEMENT_SIZE_MAX);
    buffer_init(out, COMMIT_CERTIFICATE_SIZE_MAX);
    cr_assert(pre_prepare_encode(&bytes, &body));
    static const struct nonce nonce;
    struct certificate const certificate = {
        .pre_prepare = buffer_span(&bytes), .signers = 1, .nonce_count = 1, .nonces = &nonce};
    cr_assert(certificate_encode(out, &certificate));
    buffer_free(&bytes);
}

static void encode_snapshot(struct buffer *out, uint64_t config) {
    static const uint8_t peak[DIGEST_SIZE];
    struct checkpoint_header const header = {.config = config,
                                             .seq = FAR,
                                             .next_index = 1,
                                             .ledger_leaves = 1,
                                             .evidence_upto = FAR,
                                             .time_ms = 1,
                                             .entries = 1};
    struct buffer bytes;
    buffer_init(&bytes, CHECKPOINT_HEADER_SIZE_MAX);
    buffer_init(out, SNAPSHOT_SIZE_MAX);
    cr_assert(checkpoint_header_encode(&bytes, &header));
    struct checker_snapshot const snapshot = {.header = buffer_span(&bytes),
                                              .frontier = span_of(peak, DIGEST_SIZE)};
    cr_assert(checker_snapshot_encode(out, &snapshot));
    buffer_free(&bytes);
}

/* It offers a checkpoint that was made in one configuration, and signed in another. */
static void hear_offer(struct bench *bench, uint32_t from, uint64_t made_in, uint64_t signed_in) {
    static const uint8_t peak[DIGEST_SIZE];
    struct buffer certificate;
    struct buffer snapshot;
    encode_certificate(&certificate, signed_in);
    encode_snapshot(&snapshot, made_in);
    hear(bench,
         &(struct peer_message){.kind = MESSAGE_CHECKPOINT_OFFER,
                                .from = from,
                                .checkpoint_offer = {.seq = FAR,
                                                     .certificate = buffer_span(&certificate),
                                                     .snapshot = buffer_span(&snapshot),
                                                     .first_entry = 1,
                                                     .first_leaves = 1,
                                                     .peaks = {peak, DIGEST_SIZE}}});
    buffer_free(&certificate);
    buffer_free(&snapshot);
}

static void hear_links(struct bench *bench, uint32_t from, uint32_t link_count, uint64_t config) {
    static const struct span links[4] = {{(const uint8_t *)"a", 1}, {(const uint8_t *)"b", 1}};
    hear(bench, &(struct peer_message){
                    .kind = MESSAGE_CHAIN_REPLY,
                    .from = from,
                    .chain_reply = {.config = config, .link_count = link_count, .links = links}});
}

static void linked(struct bench *bench, uint64_t newest, bool good) {
    struct join_event event = {.kind = JOIN_EVENT_LINKED,
                               .linked = {.newest = newest, .good = good}};
    step(bench, &event);
}

static uint32_t count(const struct bench *bench, enum join_effect_kind kind) {
    uint32_t found = 0;
    for (uint32_t i = 0; i < bench->effects.count; i++) {
        found += bench->effects.items[i].kind == kind;
    }
    return found;
}

static bool is_noted(const struct bench *bench, enum join_note_kind kind) {
    bool found = false;
    for (uint32_t i = 0; i < bench->effects.count; i++) {
        const struct join_effect *const effect = &bench->effects.items[i];
        found |= effect->kind == JOIN_EFFECT_NOTE && effect->note.kind == kind;
    }
    return found;
}

/* Whom it asked for links in the last step, and from which configuration on; REPLICAS_MAX: nobody.
 */
static uint32_t asked_of(const struct bench *bench, uint64_t config) {
    for (uint32_t i = 0; i < bench->effects.count; i++) {
        const struct join_effect *const effect = &bench->effects.items[i];
        if (effect->kind == JOIN_EFFECT_SEND && effect->send.kind == MESSAGE_CHAIN_QUERY) {
            uint64_t from = 0;
            struct arena arena;
            arena_init(&arena, 4096);
            cr_assert_eq(chain_query_decode(&from, &arena, effect->send.payload), CODEC_OK);
            cr_assert_eq(from, config);
            arena_free(&arena);
            return effect->send.peer;
        }
    }
    return REPLICAS_MAX;
}

/* ---- it works -------------------------------------------------------------------------------- */

TestSuite(join_links, .timeout = 60);

Test(join_links, lead_from_one_join_to_the_next) {
    struct bench *const b = bench_new();
    hear_offer(b, 2, 3, 3);
    cr_assert(is_noted(b, JOIN_NOTE_OFFER_LATER));
    cr_assert(join_holds_ranges(b->join));
    cr_assert_eq(join_phase(b->join), JOIN_ASKING, "others may offer more");
    tick(b, JOIN_RETRY_MS);
    cr_assert_eq(asked_of(b, 1), 2);
    cr_assert_eq(join_phase(b->join), JOIN_LINKS);
    cr_assert(join_holds_ranges(b->join));
    hear_links(b, 2, 1, 3);
    cr_assert_eq(count(b, JOIN_EFFECT_LINKS), 1);
    cr_assert_eq(join_deadline(b->join), UINT64_MAX, "they are judged meanwhile");
    linked(b, 2, true);
    cr_assert_eq(asked_of(b, 2), 2, "it has more");
    hear_links(b, 2, 1, 3);
    linked(b, 3, true);
    cr_assert_eq(count(b, JOIN_EFFECT_CONFIGURATION), 1);
    cr_assert_eq(b->effects.items[0].configuration, 3);
    cr_assert_eq(join_phase(b->join), JOIN_FINISHED);
    bench_free(b);
}

Test(join_links, are_asked_of_the_one_that_leads_furthest) {
    struct bench *const b = bench_new();
    hear_offer(b, 0, 2, 3);
    hear_offer(b, 1, 4, 5);
    hear_offer(b, 2, 1, 2);
    hear_none(b, 3);
    cr_assert_eq(asked_of(b, 1), 1);
    bench_free(b);
}

/* What it has is kept, though it goes silent in the middle. */
Test(join_links, that_came_are_enough_to_go_on) {
    struct bench *const b = bench_new();
    hear_offer(b, 2, 9, 9);
    tick(b, JOIN_RETRY_MS);
    hear_links(b, 2, 2, 9);
    linked(b, 3, true);
    tick(b, JOIN_RETRY_MS);
    cr_assert(is_noted(b, JOIN_NOTE_SLOW));
    cr_assert_eq(count(b, JOIN_EFFECT_CONFIGURATION), 1);
    bench_free(b);
}

/* ---- and does not ---------------------------------------------------------------------------- */

/* f + 1 others have nothing: one that leads is followed once, and not again. */
Test(join_links, who_leads_nowhere_does_not_keep_a_young_service_waiting) {
    struct bench *const b = bench_new();
    hear_offer(b, 2, 3, 3);
    hear_none(b, 0);
    hear_none(b, 1);
    cr_assert_eq(count(b, JOIN_EFFECT_NOT_NEEDED), 0);
    tick(b, JOIN_RETRY_MS);
    cr_assert_eq(asked_of(b, 1), 2);
    tick(b, JOIN_RETRY_MS);
    cr_assert(is_noted(b, JOIN_NOTE_SLOW));
    cr_assert_eq(count(b, JOIN_EFFECT_NOT_NEEDED), 1);
    bench_free(b);
}

Test(join_links, of_which_there_are_none_cost_a_turn) {
    struct bench *const b = bench_new();
    hear_offer(b, 1, 3, 3);
    hear_offer(b, 2, 3, 3);
    tick(b, JOIN_RETRY_MS);
    cr_assert_eq(asked_of(b, 1), 1);
    hear_links(b, 1, 0, 1);
    cr_assert_eq(asked_of(b, 1), 2, "and another one has the next");
    hear_links(b, 2, 0, 1);
    cr_assert_eq(asked_of(b, 1), REPLICAS_MAX, "nobody is asked at once again");
    tick(b, JOIN_RETRY_MS);
    cr_assert_eq(asked_of(b, 1), 1);
    tick(b, JOIN_PATIENCE_MS);
    cr_assert_eq(count(b, JOIN_EFFECT_NOT_NEEDED), 1, "patience has an end");
    cr_assert_not(join_holds_ranges(b->join));
    bench_free(b);
}

/* The first of all peers is asked for its whole chain then, in case it is a fork. */
Test(join_links, that_do_not_hold_bar_their_sender) {
    struct bench *const b = bench_new();
    hear_offer(b, 1, 5, 5);
    hear_offer(b, 2, 4, 4);
    tick(b, JOIN_RETRY_MS);
    cr_assert_eq(asked_of(b, 1), 1);
    hear_links(b, 1, 2, 5);
    linked(b, 1, false);
    cr_assert(is_noted(b, JOIN_NOTE_LINKS_REFUSED));
    cr_assert_eq(asked_of(b, 1), 2);
    hear_links(b, 2, 2, 5);
    linked(b, 2, false);
    cr_assert_eq(asked_of(b, 1), 2, "all of them, to see where the two part");
    hear_links(b, 2, 2, 5);
    linked(b, 2, false);
    cr_assert(is_noted(b, JOIN_NOTE_LINKS_REFUSED));
    cr_assert_eq(count(b, JOIN_EFFECT_CONFIGURATION), 1, "the one that held leads on");
    bench_free(b);
}

Test(join_links, out_of_turn_are_ignored) {
    struct bench *const b = bench_new();
    hear_links(b, 1, 2, 3);
    cr_assert_eq(b->effects.count, 0);
    hear_offer(b, 1, 3, 3);
    tick(b, JOIN_RETRY_MS);
    hear_links(b, 2, 2, 3);
    cr_assert_eq(b->effects.count, 0);
    hear_links(b, 1, 2, 3);
    cr_assert_eq(count(b, JOIN_EFFECT_LINKS), 1);
    hear_links(b, 1, 2, 3);
    cr_assert_eq(b->effects.count, 0, "while they are judged");
    bench_free(b);
}

/* What nobody could ever show links to, or was signed before it was made. */
Test(join_links, absurd_offers_are_refused) {
    static const struct {
        uint64_t made_in;
        uint64_t signed_in;
    } offers[] = {{3, CHAIN_LINKS_MAX + 2}, {3, NUMBER_MAX}, {4, 3}};
    for (size_t i = 0; i < sizeof offers / sizeof offers[0]; i++) {
        struct bench *const b = bench_new();
        hear_offer(b, 1, offers[i].made_in, offers[i].signed_in);
        cr_assert(is_noted(b, JOIN_NOTE_OFFER_REFUSED), "offer %zu", i);
        tick(b, JOIN_RETRY_MS);
        cr_assert_eq(asked_of(b, 1), REPLICAS_MAX);
        bench_free(b);
    }
}

/* Without a chain, as an auditor is, nobody is asked for one. */
Test(join_links, need_a_chain_to_belong_to) {
    struct bench *const b = bench_new();
    join_free(b->join);
    b->join = join_new(&(struct join_options){.configuration = &four, .self = 3});
    tick(b, 0);
    hear_offer(b, 1, 3, 3);
    cr_assert(is_noted(b, JOIN_NOTE_OFFER_REFUSED));
    bench_free(b);
}

/* ---- the older ledger, beside a replica that goes over --------------------------------------- */

static uint32_t range_asked_of(const struct bench *bench) {
    for (uint32_t i = 0; i < bench->effects.count; i++) {
        const struct join_effect *const effect = &bench->effects.items[i];
        if (effect->kind == JOIN_EFFECT_SEND && effect->send.kind == MESSAGE_FETCH_RANGE) {
            return effect->send.peer;
        }
    }
    return REPLICAS_MAX;
}

Test(join_links, older_entries_are_asked_of_those_in_office) {
    struct bench *const b = bench_new();
    struct join_older const older = {.next_entry = 1, .end_entry = 9};
    struct peer_message message = {
        .kind = MESSAGE_RANGE, .from = 0, .range = {.first_entry = 1, .count = 1}};
    struct join_event taken = {.kind = JOIN_EVENT_TAKEN, .taken = {.next_entry = 1}};
    join_free(b->join);
    b->join = join_new(&(struct join_options){
        .configuration = &four, .self = REPLICAS_MAX, .is_outsider = true, .older = &older});
    join_set_peers(b->join, 2, 0);
    tick(b, 0);
    cr_assert_eq(range_asked_of(b), 1, "the only one besides itself");
    join_set_peers(b->join, 6, 1);
    tick(b, 0);
    cr_assert_eq(range_asked_of(b), 0, "what was asked before is forgotten");
    hear(b, &message);
    cr_assert_eq(count(b, JOIN_EFFECT_OLDER), 1);
    join_set_peers(b->join, 7, 2);
    step(b, &taken); /* it broke a rule; whose it was nobody knows any more */
    cr_assert_eq(count(b, JOIN_EFFECT_NOTE), 0);
    cr_assert_eq(range_asked_of(b), 0);
    bench_free(b);
}
