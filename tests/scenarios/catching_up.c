/*
 * catching_up: a replica that was away fetches what it lacks, and believes nothing (protocol §7).
 */
#include <criterion/criterion.h>
#include <stdio.h>

#include "tests/sim/meddler.h"

static void put_some(struct cluster *c, unsigned count) {
    char call[64];
    for (unsigned i = 0; i < count; i++) {
        (void)snprintf(call, sizeof call, "kv.put k%u v%u", i % 5, i);
        cluster_submit(c, call);
        cluster_run_ms(c, 12);
    }
    cluster_run_until_done(c, 1000);
}

/* A cluster in which node 3 missed some 40 batches, over several checkpoints. */
static struct cluster *with_one_behind(struct meddler *meddler, uint64_t seed) {
    struct cluster *const c = cluster_new(&(struct cluster_options){.seed = seed});
    meddler_attach(meddler, c);
    put_some(c, 3);
    cluster_isolate(c, 3, true);
    put_some(c, 40);
    cr_assert(cluster_committed(c, 0) > cluster_committed(c, 3) + 30);
    return c;
}

static void end(struct cluster *c) {
    cluster_submit(c, "kv.put last 1");
    cluster_run_until_done(c, 10000);
    cluster_run_until_level(c, 20000);
    cluster_end(c);
}

Test(catching_up, a_backup_that_was_cut_off) {
    struct meddler m;
    struct cluster *const c = with_one_behind(&m, 1);
    cluster_isolate(c, 3, false);
    cluster_run_ms(c, 3000);
    cr_assert(cluster_committed(c, 3) + 1 >= cluster_committed(c, 0));
    cr_assert(c->nodes[3].notes[NOTE_CAUGHT_UP] >= 3);
    /* It votes again for what is new. */
    uint64_t const votes = c->nodes[3].sent[MESSAGE_PREPARE];
    put_some(c, 1);
    cr_assert(c->nodes[3].sent[MESSAGE_PREPARE] > votes);
    end(c);
}

/* It was down instead, and comes back with what its disk has. */
Test(catching_up, a_backup_that_was_down) {
    struct cluster *const c = cluster_new(&(struct cluster_options){.seed = 2});
    put_some(c, 14);
    cluster_crash(c, 2);
    put_some(c, 40);
    cluster_start(c, 2);
    cluster_run_ms(c, 3000);
    cr_assert(cluster_committed(c, 2) + 1 >= cluster_committed(c, 0));
    end(c);
}

/* While others go on at full speed. */
Test(catching_up, under_load) {
    struct meddler m;
    struct cluster *const c = with_one_behind(&m, 3);
    cluster_isolate(c, 3, false);
    put_some(c, 80);
    cr_assert(cluster_committed(c, 3) + 12 >= cluster_committed(c, 0));
    end(c);
}

/* The other three need the one that is behind: it must catch up before anything commits. */
Test(catching_up, the_one_that_is_behind_is_needed) {
    struct meddler m;
    struct cluster *const c = with_one_behind(&m, 4);
    cluster_crash(c, 2);
    cluster_isolate(c, 3, false);
    end(c);
}

/* ---- peers that serve something else ---- */

static struct range_message decode_range(struct cluster *c, const struct frame *frame) {
    struct range_message range;
    cr_assert(range_message_decode(&range, &c->arena, frame->payload) == CODEC_OK);
    return range;
}

static bool encode_range(struct buffer *out, const struct range_message *range) {
    cr_assert(range_message_encode(out, range));
    return true;
}

/* The entries of a range, to be changed. */
static struct entry *writable(struct cluster *c, struct range_message *range) {
    struct entry *const entries = arena_alloc(&c->arena, (range->count + 1) * sizeof *entries);
    cr_assert(entries != NULL);
    memcpy(entries, range->entries, range->count * sizeof *entries);
    range->entries = entries;
    return entries;
}

/* Change the last byte of the nth entry of a kind, which for most is within the last field. */
static bool flip_in_entry(struct cluster *c, const struct frame *frame, struct buffer *out,
                          enum entry_kind kind, size_t from_end) {
    struct range_message range = decode_range(c, frame);
    struct entry *const entries = writable(c, &range);
    for (uint32_t i = 0; i < range.count; i++) {
        if (entries[i].kind == kind && entries[i].payload.size > from_end) {
            uint8_t *const copy = arena_alloc(&c->arena, entries[i].payload.size);
            cr_assert(copy != NULL);
            memcpy(copy, entries[i].payload.data, entries[i].payload.size);
            copy[entries[i].payload.size - 1 - from_end] ^= 1;
            entries[i].payload.data = copy;
            break;
        }
    }
    return encode_range(out, &range);
}

/* Nothing comes behind it that would show by its root of M that something else was meant. */
static bool flip_last_signature(struct cluster *c, const struct frame *frame, struct buffer *out) {
    struct range_message range = decode_range(c, frame);
    uint32_t last = range.count;
    while (last > 0 && range.entries[last - 1].kind != ENTRY_PRE_PREPARE) {
        last--;
    }
    if (last == 0) {
        return encode_range(out, &range);
    }
    struct entry *const entries = writable(c, &range);
    struct span const payload = entries[last - 1].payload;
    uint8_t *const copy = arena_alloc(&c->arena, payload.size);
    cr_assert(copy != NULL);
    memcpy(copy, payload.data, payload.size);
    copy[payload.size - 1] ^= 1;
    entries[last - 1].payload.data = copy;
    return encode_range(out, &range);
}

static bool flip_pre_prepare_signature(struct cluster *c, const struct frame *frame,
                                       struct buffer *out) {
    return flip_in_entry(c, frame, out, ENTRY_PRE_PREPARE, 3);
}

static bool flip_evidence(struct cluster *c, const struct frame *frame, struct buffer *out) {
    return flip_in_entry(c, frame, out, ENTRY_EVIDENCE, 3);
}

static bool flip_outcome(struct cluster *c, const struct frame *frame, struct buffer *out) {
    return flip_in_entry(c, frame, out, ENTRY_REQUEST, 3);
}

static bool cut_short(struct cluster *c, const struct frame *frame, struct buffer *out) {
    struct range_message range = decode_range(c, frame);
    range.count = range.count > 1 ? 1 : range.count;
    return encode_range(out, &range);
}

static bool cut_all(struct cluster *c, const struct frame *frame, struct buffer *out) {
    struct range_message range = decode_range(c, frame);
    range.count = 0;
    return encode_range(out, &range);
}

static bool skip_first(struct cluster *c, const struct frame *frame, struct buffer *out) {
    struct range_message range = decode_range(c, frame);
    if (range.count > 1) {
        range.count--;
        range.entries++;
    }
    return encode_range(out, &range);
}

static bool start_elsewhere(struct cluster *c, const struct frame *frame, struct buffer *out) {
    struct range_message range = decode_range(c, frame);
    range.first_entry += 2;
    return encode_range(out, &range);
}

static bool swap_two(struct cluster *c, const struct frame *frame, struct buffer *out) {
    struct range_message range = decode_range(c, frame);
    struct entry *const entries = writable(c, &range);
    if (range.count > 6) {
        struct entry const kept = entries[2];
        entries[2] = entries[5];
        entries[5] = kept;
    }
    return encode_range(out, &range);
}

static bool of_unknown_kind(struct cluster *c, const struct frame *frame, struct buffer *out) {
    struct range_message range = decode_range(c, frame);
    struct entry *const entries = writable(c, &range);
    if (range.count > 1) {
        entries[1].kind = ENTRY_NEW_VIEW;
    }
    return encode_range(out, &range);
}

/* Nodes 0 and 1 serve lies; node 2 is honest: the one that is behind gets there all the same. */
static void lied_to(uint64_t seed, frame_rewriter lie, bool is_noticed) {
    struct meddler m;
    struct cluster *const c = with_one_behind(&m, seed);
    const struct meddler_rule *const first =
        meddle(&m, &(struct meddler_rule){MEDDLING_REWRITE, 0, 3, MESSAGE_RANGE, ALWAYS, lie, 0});
    const struct meddler_rule *const second =
        meddle(&m, &(struct meddler_rule){MEDDLING_REWRITE, 1, 3, MESSAGE_RANGE, ALWAYS, lie, 0});
    cluster_isolate(c, 3, false);
    cluster_run_ms(c, 30000);
    cr_assert(first->applied + second->applied > 0);
    cr_assert(cluster_committed(c, 3) + 1 >= cluster_committed(c, 0));
    cr_assert(!is_noticed || c->nodes[3].notes[NOTE_RANGE_REFUSED] > 0);
    /* Nobody was asked in a tight loop. */
    cr_assert(c->nodes[3].sent[MESSAGE_FETCH_RANGE] < 100, "%llu fetches",
              (unsigned long long)c->nodes[3].sent[MESSAGE_FETCH_RANGE]);
    end(c);
}

Test(catching_up, a_range_with_a_flipped_signature_of_the_primary) {
    lied_to(10, flip_pre_prepare_signature, true);
}

Test(catching_up, a_range_that_ends_with_a_flipped_signature) {
    lied_to(20, flip_last_signature, true);
}

Test(catching_up, a_range_with_flipped_evidence) {
    lied_to(11, flip_evidence, true);
}

Test(catching_up, a_range_with_a_wrong_outcome) {
    lied_to(12, flip_outcome, true);
}

Test(catching_up, a_range_cut_short) {
    lied_to(13, cut_short, false);
}

Test(catching_up, a_range_with_nothing_in_it) {
    lied_to(14, cut_all, false);
}

Test(catching_up, a_range_without_its_first_entry) {
    lied_to(15, skip_first, false);
}

Test(catching_up, a_range_from_elsewhere) {
    lied_to(16, start_elsewhere, false);
}

Test(catching_up, a_range_out_of_order) {
    lied_to(17, swap_two, true);
}

Test(catching_up, a_range_with_an_entry_of_another_kind) {
    lied_to(18, of_unknown_kind, true);
}

/* A peer that claims the sky and has nothing keeps nobody busy. */
Test(catching_up, absurd_claims_cost_next_to_nothing) {
    static const uint64_t claims[] = {1000, UINT64_C(1) << 40, (UINT64_MAX >> 1) - 3,
                                      UINT64_MAX >> 1};
    struct cluster *const c =
        cluster_new(&(struct cluster_options){.seed = 20, .puppets = 1u << 3});
    put_some(c, 1);
    for (unsigned i = 0; i < 4; i++) {
        struct status_message const status = {.config = 1,
                                              .executed_seq = claims[i],
                                              .committed_seq = claims[i],
                                              .evidenced_seq = claims[i],
                                              .evidenced_entries = claims[i],
                                              .wants_answer = true};
        struct range_message const nothing = {.first_entry = 1};
        struct buffer payload;
        struct buffer range;
        buffer_init(&payload, STATEMENT_SIZE_MAX);
        buffer_init(&range, STATEMENT_SIZE_MAX);
        cr_assert(status_message_encode(&payload, &status));
        cr_assert(range_message_encode(&range, &nothing));
        for (unsigned k = 0; k < 1000; k++) {
            for (uint32_t node = 0; node < 3; node++) {
                cluster_forge(c, 3, node, MESSAGE_STATUS, buffer_span(&payload));
                cluster_forge(c, 3, node, MESSAGE_RANGE, buffer_span(&range));
            }
            cluster_run_ms(c, 1);
        }
        buffer_free(&payload);
        buffer_free(&range);
        put_some(c, 5);
    }
    cr_assert(c->nodes[1].sent[MESSAGE_FETCH_RANGE] < 60, "%llu fetches",
              (unsigned long long)c->nodes[1].sent[MESSAGE_FETCH_RANGE]);
    cr_assert(c->nodes[1].sent[MESSAGE_PREPARE] < 2000, "%llu prepares",
              (unsigned long long)c->nodes[1].sent[MESSAGE_PREPARE]);
    cluster_end(c);
}
