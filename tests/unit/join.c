/*
 * join: when a checkpoint is asked for, when none is needed, and how the older ledger is asked for,
 * step by step (consensus/join.h). What a checkpoint must be to be taken is told by whole clusters
 * in tests/scenarios/joining.c. And the places where a ledger may begin (ledger/anchor.h).
 */
#include "consensus/join.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#include "ledger/anchor.h"

#define SELF 3u
#define INTERVAL 10u

static struct configuration const four = {.number = 1,
                                          .parameters = {.checkpoint_interval = INTERVAL},
                                          .replica_count = 4,
                                          .faults_max = 1,
                                          .quorum = 3};

struct bench {
    struct join *join;
    struct join_effects effects;
    uint64_t now_ms;
    bool has_genesis;
    bool is_busy;
};

static struct bench *bench_new(const struct join_older *older) {
    struct bench *const bench = calloc(1, sizeof *bench);
    struct join_options const options = {.configuration = &four, .self = SELF, .older = older};
    cr_assert_not_null(bench);
    bench->join = join_new(&options);
    bench->now_ms = 1000;
    bench->has_genesis = true;
    cr_assert_not_null(bench->join);
    return bench;
}

static void bench_free(struct bench *bench) {
    join_free(bench->join);
    free(bench);
}

static void step(struct bench *bench, struct join_event *event) {
    event->now_ms = bench->now_ms;
    event->replica_has_genesis = bench->has_genesis;
    event->replica_is_busy = bench->is_busy;
    cr_assert(join_step(bench->join, event, &bench->effects));
}

static void tick(struct bench *bench, uint64_t later_ms) {
    struct join_event event = {.kind = JOIN_EVENT_TICK};
    bench->now_ms += later_ms;
    step(bench, &event);
}

static void hear(struct bench *bench, struct peer_message *message) {
    struct join_event event = {.kind = JOIN_EVENT_MESSAGE, .message = message};
    step(bench, &event);
}

static void hear_status(struct bench *bench, uint32_t from, uint64_t executed_seq) {
    struct peer_message message = {
        .kind = MESSAGE_STATUS, .from = from, .status = {.executed_seq = executed_seq}};
    hear(bench, &message);
}

static void hear_none(struct bench *bench, uint32_t from) {
    struct peer_message message = {.kind = MESSAGE_CHECKPOINT_OFFER, .from = from};
    hear(bench, &message);
}

static void hear_garbage(struct bench *bench, uint32_t from) {
    static const uint8_t peak[DIGEST_SIZE];
    struct peer_message message = {.kind = MESSAGE_CHECKPOINT_OFFER,
                                   .from = from,
                                   .checkpoint_offer = {.seq = 50,
                                                        .certificate = {peak, 7},
                                                        .snapshot = {peak, 9},
                                                        .first_entry = 1,
                                                        .first_leaves = 1,
                                                        .peaks = {peak, DIGEST_SIZE}}};
    hear(bench, &message);
}

static uint32_t count(const struct bench *bench, enum join_effect_kind kind) {
    uint32_t found = 0;
    for (uint32_t i = 0; i < bench->effects.count; i++) {
        found += bench->effects.items[i].kind == kind;
    }
    return found;
}

/* ---- asking ---------------------------------------------------------------------------------- */

Test(join, it_asks_everybody_but_itself) {
    struct bench *const b = bench_new(NULL);
    tick(b, 0);
    cr_assert_eq(count(b, JOIN_EFFECT_SEND), 3);
    for (uint32_t i = 0; i < b->effects.count; i++) {
        struct fetch_checkpoint_message asked;
        struct arena arena;
        arena_init(&arena, 4096);
        cr_assert_neq(b->effects.items[i].send.peer, SELF);
        cr_assert_eq(b->effects.items[i].send.kind, MESSAGE_FETCH_CHECKPOINT);
        cr_assert_eq(
            fetch_checkpoint_message_decode(&asked, &arena, b->effects.items[i].send.payload),
            CODEC_OK);
        cr_assert_eq(asked.part, CHECKPOINT_OFFER);
        arena_free(&arena);
    }
    /* And again those that have not answered. */
    hear_none(b, 0);
    tick(b, JOIN_RETRY_MS);
    cr_assert_eq(count(b, JOIN_EFFECT_SEND), 2);
    bench_free(b);
}

/* One of f + 1 is correct, and has nothing that would be worth it. */
Test(join, enough_answers_of_none_end_it) {
    struct bench *const b = bench_new(NULL);
    tick(b, 0);
    hear_none(b, 0);
    hear_none(b, 0);
    cr_assert_eq(count(b, JOIN_EFFECT_NOT_NEEDED), 0);
    hear_none(b, 2);
    cr_assert_eq(count(b, JOIN_EFFECT_NOT_NEEDED), 0, "they may say how far they are");
    tick(b, JOIN_RETRY_MS);
    cr_assert_eq(count(b, JOIN_EFFECT_NOT_NEEDED), 1);
    cr_assert_eq(join_phase(b->join), JOIN_FINISHED);
    cr_assert_eq(join_deadline(b->join), UINT64_MAX);
    tick(b, 100000);
    cr_assert_eq(b->effects.count, 0);
    bench_free(b);
}

Test(join, peers_that_are_near_end_it) {
    struct bench *const b = bench_new(NULL);
    tick(b, 0);
    hear_status(b, 0, 2 * INTERVAL);
    cr_assert_eq(join_phase(b->join), JOIN_ASKING);
    hear_status(b, 1, 0);
    cr_assert_eq(count(b, JOIN_EFFECT_NOT_NEEDED), 1);
    bench_free(b);
}

/* They have started a short while ago, and will have something soon. */
Test(join, long_ledgers_with_nothing_to_offer_are_waited_for) {
    struct bench *const b = bench_new(NULL);
    tick(b, 0);
    hear_status(b, 0, 5 * INTERVAL + 1);
    hear_none(b, 0);
    hear_none(b, 1);
    hear_status(b, 1, 5 * INTERVAL + 1);
    cr_assert_eq(join_phase(b->join), JOIN_ASKING);
    tick(b, JOIN_RETRY_MS);
    cr_assert_eq(count(b, JOIN_EFFECT_SEND), 3, "all of them are asked again");
    hear_none(b, 2);
    cr_assert_eq(join_phase(b->join), JOIN_ASKING);
    hear_status(b, 2, 5 * INTERVAL);
    cr_assert_eq(join_phase(b->join), JOIN_ASKING, "one that is not so long may have none");
    hear_status(b, 1, 5 * INTERVAL);
    hear_none(b, 1);
    cr_assert_eq(count(b, JOIN_EFFECT_NOT_NEEDED), 1, "but two of them");
    bench_free(b);
}

Test(join, a_replica_that_has_left_genesis_needs_none) {
    struct bench *const b = bench_new(NULL);
    tick(b, 0);
    hear_status(b, 0, 1000);
    b->has_genesis = false;
    tick(b, 1);
    cr_assert_eq(count(b, JOIN_EFFECT_NOT_NEEDED), 1);
    bench_free(b);
}

/* It waits for the first answer as long as it takes, and from there on not for ever. */
Test(join, patience_has_an_end) {
    struct bench *const b = bench_new(NULL);
    tick(b, 0);
    tick(b, 10 * JOIN_PATIENCE_MS);
    cr_assert_eq(join_phase(b->join), JOIN_ASKING);
    hear_status(b, 0, 1000);
    tick(b, JOIN_PATIENCE_MS - 1);
    cr_assert_eq(join_phase(b->join), JOIN_ASKING);
    cr_assert_leq(join_deadline(b->join), b->now_ms + 1);
    tick(b, 1);
    cr_assert_eq(count(b, JOIN_EFFECT_NOT_NEEDED), 1);
    bench_free(b);
}

/* Ranges would take the replica away from genesis; a young one is not kept from them. */
Test(join, ranges_are_held_while_somebody_is_far_ahead) {
    struct bench *const b = bench_new(NULL);
    tick(b, 0);
    cr_assert_not(join_holds_ranges(b->join));
    hear_status(b, 0, 2 * INTERVAL);
    cr_assert_not(join_holds_ranges(b->join));
    hear_status(b, 0, 2 * INTERVAL + 1);
    cr_assert(join_holds_ranges(b->join));
    tick(b, JOIN_PATIENCE_MS);
    cr_assert_not(join_holds_ranges(b->join));
    bench_free(b);
}

Test(join, a_bad_offer_bars_its_sender) {
    struct bench *const b = bench_new(NULL);
    tick(b, 0);
    hear_garbage(b, 0);
    cr_assert_eq(count(b, JOIN_EFFECT_NOTE), 1);
    cr_assert_eq(b->effects.items[0].note.kind, JOIN_NOTE_OFFER_REFUSED);
    hear_garbage(b, 0);
    cr_assert_eq(b->effects.count, 0);
    tick(b, JOIN_RETRY_MS);
    cr_assert_eq(count(b, JOIN_EFFECT_SEND), 2);
    /* What it says counts for nothing, also not as an answer of none. */
    hear_status(b, 0, 0);
    hear_none(b, 1);
    cr_assert_eq(join_phase(b->join), JOIN_ASKING);
    bench_free(b);
}

Test(join, nobody_speaks_for_itself_or_for_nobody) {
    struct bench *const b = bench_new(NULL);
    tick(b, 0);
    hear_none(b, SELF);
    hear_none(b, 4);
    hear_none(b, UINT32_MAX);
    hear_none(b, 0);
    cr_assert_eq(join_phase(b->join), JOIN_ASKING);
    bench_free(b);
}

/* Parts that nobody asked for. */
Test(join, parts_out_of_turn_are_ignored) {
    struct bench *const b = bench_new(NULL);
    struct peer_message message = {.from = 0, .kind = MESSAGE_CHECKPOINT_ITEMS};
    tick(b, 0);
    hear(b, &message);
    message.kind = MESSAGE_CHECKPOINT_DIGESTS;
    hear(b, &message);
    message.kind = MESSAGE_RANGE;
    cr_assert_not(join_takes(b->join, &message));
    hear(b, &message);
    cr_assert_eq(b->effects.count, 0);
    cr_assert_eq(join_phase(b->join), JOIN_ASKING);
    bench_free(b);
}

/* ---- the older ledger ------------------------------------------------------------------------ */

/* Whom it asked in the last step; REPLICAS_MAX: nobody. */
static uint32_t asked_of(const struct bench *bench, uint64_t first_entry) {
    for (uint32_t i = 0; i < bench->effects.count; i++) {
        const struct join_effect *const effect = &bench->effects.items[i];
        if (effect->kind == JOIN_EFFECT_SEND) {
            uint64_t first = 0;
            struct arena arena;
            arena_init(&arena, 4096);
            cr_assert_eq(effect->send.kind, MESSAGE_FETCH_RANGE);
            cr_assert_eq(fetch_range_message_decode(&first, &arena, effect->send.payload),
                         CODEC_OK);
            cr_assert_eq(first, first_entry);
            arena_free(&arena);
            return effect->send.peer;
        }
    }
    return REPLICAS_MAX;
}

static void hear_range(struct bench *bench, uint32_t from, uint64_t first_entry,
                       uint32_t entry_count) {
    static const struct entry entries[4] = {{.kind = ENTRY_EVIDENCE}};
    struct peer_message message = {
        .kind = MESSAGE_RANGE,
        .from = from,
        .range = {.first_entry = first_entry, .count = entry_count, .entries = entries}};
    hear(bench, &message);
}

static void taken(struct bench *bench, uint64_t next_entry, bool good) {
    struct join_event event = {.kind = JOIN_EVENT_TAKEN,
                               .taken = {.next_entry = next_entry, .good = good}};
    step(bench, &event);
}

Test(join, the_older_ledger_comes_range_by_range) {
    struct bench *const b = bench_new(&(struct join_older){.next_entry = 1, .end_entry = 9});
    tick(b, 0);
    cr_assert_eq(asked_of(b, 1), 0);
    hear_range(b, 0, 1, 4);
    cr_assert_eq(count(b, JOIN_EFFECT_OLDER), 1);
    tick(b, 100000); /* judged meanwhile: nothing else is asked for */
    cr_assert_eq(b->effects.count, 0);
    taken(b, 5, true);
    cr_assert_eq(asked_of(b, 5), 0);
    hear_range(b, 0, 5, 4);
    taken(b, 9, true);
    cr_assert_eq(count(b, JOIN_EFFECT_OLDER_DONE), 1);
    cr_assert_eq(join_phase(b->join), JOIN_FINISHED);
    bench_free(b);
}

Test(join, nothing_older_is_missing) {
    struct bench *const b = bench_new(&(struct join_older){.next_entry = 1, .end_entry = 1});
    tick(b, 0);
    cr_assert_eq(count(b, JOIN_EFFECT_OLDER_DONE), 1);
    bench_free(b);
}

/* Who has nothing, is slow, or wrong is left alone for a while; who was wrong for longer. */
Test(join, peers_are_asked_in_turn) {
    struct bench *const b = bench_new(&(struct join_older){.next_entry = 1, .end_entry = 9});
    tick(b, 0);
    hear_range(b, 0, 1, 0);
    cr_assert_eq(asked_of(b, 1), 1);
    tick(b, JOIN_RETRY_MS);
    cr_assert_eq(asked_of(b, 1), 2);
    hear_range(b, 2, 1, 4);
    taken(b, 1, false);
    cr_assert_eq(count(b, JOIN_EFFECT_NOTE), 1);
    cr_assert_eq(asked_of(b, 1), REPLICAS_MAX);
    tick(b, JOIN_PAUSE_MS);
    cr_assert_eq(asked_of(b, 1), 2); /* two seconds each, and it was the last */
    hear_range(b, 2, 1, 4);
    taken(b, 1, false);
    cr_assert_eq(asked_of(b, 1), 0);
    bench_free(b);
}

/* Only what was asked for, and from whom. */
Test(join, other_ranges_are_the_replicas) {
    struct bench *const b = bench_new(&(struct join_older){.next_entry = 5, .end_entry = 9});
    struct peer_message message = {.kind = MESSAGE_RANGE, .from = 0, .range = {.first_entry = 5}};
    cr_assert_not(join_takes(b->join, &message));
    tick(b, 0);
    cr_assert(join_takes(b->join, &message));
    message.from = 1;
    cr_assert_not(join_takes(b->join, &message));
    message.from = 0;
    message.range.first_entry = 50;
    cr_assert_not(join_takes(b->join, &message));
    bench_free(b);
}

Test(join, it_waits_while_the_replica_catches_up) {
    struct bench *const b = bench_new(&(struct join_older){.next_entry = 1, .end_entry = 9});
    b->is_busy = true;
    tick(b, 0);
    cr_assert_eq(b->effects.count, 0);
    cr_assert_leq(join_deadline(b->join), b->now_ms + 1000);
    b->is_busy = false;
    tick(b, 200);
    cr_assert_eq(asked_of(b, 1), 0);
    bench_free(b);
}

/* ---- where a ledger may begin ---------------------------------------------------------------- */

static struct anchor anchor_at(uint64_t entries) {
    struct anchor anchor = {.entries = entries};
    frontier_init(&anchor.frontier);
    struct digest const leaf = {.bytes = {1}};
    frontier_append(&anchor.frontier, &leaf);
    return anchor;
}

/* However long it goes on, there is a place not far before all that is needed. */
Test(anchors, one_remains_before_what_is_needed) {
    static struct anchors anchors;
    for (uint64_t entries = 1; entries < 20000; entries += 10) {
        struct anchor const anchor = anchor_at(entries);
        uint64_t const needed = entries > 4000 ? entries - 4000 : 1;
        anchors_add(&anchors, &anchor, needed);
        const struct anchor *const found = anchors_find(&anchors, needed);
        cr_assert_leq(anchors.count, ANCHORS_MAX);
        cr_assert_not_null(found);
        cr_assert_leq(found->entries, needed);
        cr_assert(needed - found->entries <= 2000);
        cr_assert_eq(anchors.items[anchors.count - 1].entries, entries);
    }
}

Test(anchors, a_cut_forgets_those_behind_it) {
    static struct anchors anchors;
    for (uint64_t entries = 1; entries <= 41; entries += 10) {
        struct anchor const anchor = anchor_at(entries);
        anchors_add(&anchors, &anchor, 1);
    }
    anchors_cut(&anchors, 30);
    cr_assert_eq(anchors.count, 3);
    cr_assert_eq(anchors_find(&anchors, UINT64_MAX)->entries, 21);
    cr_assert_null(anchors_find(&anchors, 0));
}

Test(anchors, a_snapshot_keeps_them) {
    static struct anchors anchors;
    static struct anchors loaded;
    static struct checker_snapshot snapshot;
    for (uint64_t entries = 1; entries <= 41; entries += 10) {
        struct anchor const anchor = anchor_at(entries);
        anchors_add(&anchors, &anchor, 1);
    }
    anchors_save(&anchors, &snapshot);
    cr_assert(anchors_load(&loaded, &snapshot, 41));
    cr_assert_eq(loaded.count, anchors.count);
    for (uint32_t i = 0; i < anchors.count; i++) {
        struct digest const kept = frontier_root(&anchors.items[i].frontier);
        struct digest const got = frontier_root(&loaded.items[i].frontier);
        cr_assert_eq(loaded.items[i].entries, anchors.items[i].entries);
        cr_assert(digest_equal(&got, &kept));
    }
    cr_assert_not(anchors_load(&loaded, &snapshot, 40)); /* beyond the ledger's end */
    snapshot.anchors[1].leaves = 2;
    snapshot.anchors[1].peaks.size = 0;
    cr_assert_not(anchors_load(&loaded, &snapshot, 41));
}

static enum codec_result decode_anchors(const struct checker_snapshot *snapshot) {
    static struct checker_snapshot decoded;
    struct buffer encoded;
    struct arena arena;
    buffer_init(&encoded, SNAPSHOT_SIZE_MAX);
    arena_init(&arena, 1u << 20);
    cr_assert(checker_snapshot_encode(&encoded, snapshot));
    enum codec_result const result =
        checker_snapshot_decode(&decoded, &arena, buffer_span(&encoded));
    cr_assert(result != CODEC_OK || (decoded.anchor_count == snapshot->anchor_count &&
                                     decoded.past_entry == snapshot->past_entry));
    arena_free(&arena);
    buffer_free(&encoded);
    return result;
}

Test(anchors, a_snapshot_from_anybody_has_them_in_order) {
    static const uint8_t peaks[2 * DIGEST_SIZE];
    struct checker_snapshot const good = {
        .header = span_text("header"),
        .past_entry = 7,
        .anchor_count = 2,
        .anchors = {{.entries = 1, .leaves = 1, .peaks = {peaks, DIGEST_SIZE}},
                    {.entries = 9, .leaves = 3, .peaks = {peaks, 2 * DIGEST_SIZE}}}};
    struct checker_snapshot bad = good;
    cr_assert_eq(decode_anchors(&good), CODEC_OK);
    bad.anchors[1].entries = 1;
    cr_assert_eq(decode_anchors(&bad), CODEC_MISMATCH);
    bad = good;
    bad.anchors[1].leaves = 10;
    cr_assert_eq(decode_anchors(&bad), CODEC_MISMATCH);
    bad = good;
    bad.anchors[0].peaks.size = DIGEST_SIZE - 1;
    cr_assert_eq(decode_anchors(&bad), CODEC_LENGTH);
    bad = good;
    bad.anchors[0].peaks.size = 0;
    cr_assert_eq(decode_anchors(&bad), CODEC_RANGE);
    bad = good;
    bad.anchor_count = ANCHORS_MAX + 1;
    struct buffer encoded;
    buffer_init(&encoded, SNAPSHOT_SIZE_MAX);
    cr_assert_not(checker_snapshot_encode(&encoded, &bad));
    buffer_free(&encoded);
}
