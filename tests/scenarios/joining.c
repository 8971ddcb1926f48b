/*
 * joining: a replica that has nothing but genesis begins with a checkpoint, is in service at once,
 * and gets the older ledger while it works (protocol §7). Whoever serves it is believed nothing.
 */
#include <criterion/criterion.h>
#include <stdio.h>

#include "tests/sim/meddler.h"

#define KEYS 150u /* three groups of the state */
#define JOINER 3u

/* A request of today: one that began with genesis would be too old by now. */
static uint32_t submit(struct cluster *c, uint32_t count, const char *const *calls) {
    return cluster_submit_order(c, 0,
                                &(struct order){.mode = REQUEST_ATOMIC,
                                                .min_index = c->highest_index + 1,
                                                .call_count = count,
                                                .calls = calls});
}

static void put_some(struct cluster *c, unsigned count) {
    char text[64];
    const char *const call = text;
    for (unsigned i = 0; i < count; i++) {
        (void)snprintf(text, sizeof text, "kv.put k%u v%u", i % 5, i);
        submit(c, 1, &call);
        cluster_run_ms(c, 12);
    }
    cluster_run_until_done(c, 10000);
}

/* One request of many calls, each for a key of its own. */
static void call_many(struct cluster *c, const char *verb, unsigned count) {
    char texts[CALLS_MAX][64];
    const char *calls[CALLS_MAX];
    for (unsigned i = 0; i < count; i++) {
        (void)snprintf(texts[i], sizeof texts[i], "%s key%u%s", verb, i,
                       strcmp(verb, "kv.put") == 0 ? " value" : "");
        calls[i] = texts[i];
    }
    submit(c, count, calls);
    cluster_run_ms(c, 12);
}

/* So many transactions that the replay window has left the first batches behind. */
static void pass_window(struct cluster *c) {
    for (unsigned i = 0; i <= BATCH_CALLS_MAX / CALLS_MAX + 1; i++) {
        call_many(c, "kv.get", CALLS_MAX);
    }
    cluster_run_until_done(c, 10000);
}

/* A service that has been running for a while. */
static struct cluster *old_service(struct meddler *meddler, uint64_t seed) {
    struct cluster *const c = cluster_new(&(struct cluster_options){.seed = seed});
    meddler_attach(meddler, c);
    call_many(c, "kv.put", KEYS);
    put_some(c, 30);
    pass_window(c);
    put_some(c, 30);
    return c;
}

/* Its disk is gone, and its journal with it: it will follow, and not vote. */
static void lose_disk(struct cluster *c, uint32_t node) {
    cluster_crash(c, node);
    c->nodes[node].restored = true;
    cluster_lose_disk(c, node);
}

static struct cluster *with_lost_disk(struct meddler *meddler, uint64_t seed) {
    struct cluster *const c = old_service(meddler, seed);
    lose_disk(c, JOINER);
    cluster_start(c, JOINER);
    return c;
}

/* Until the checkpoint is installed; the older ledger may still be on its way. */
static void run_until_joined(struct cluster *c, uint64_t ms) {
    for (uint64_t i = 0; i < ms && c->nodes[JOINER].joins == 0; i++) {
        cluster_run_ms(c, 1);
    }
    cr_assert_eq(c->nodes[JOINER].joins, 1);
}

static uint64_t noted(const struct cluster *c, enum join_note_kind kind) {
    return c->nodes[JOINER].join_notes[kind];
}

static uint64_t first_entry(const struct cluster *c) {
    return c->nodes[JOINER].disk.durable.first;
}

/* Has it joined, and got the older ledger? */
static bool has_all(const struct cluster *c) {
    return c->nodes[JOINER].joins == 1 && join_is_whole(&c->nodes[JOINER]);
}

/* All of it, from genesis on, is what the others have; and it goes on. */
static void end(struct cluster *c) {
    cluster_run_until_whole(c, 60000);
    cr_assert_eq(first_entry(c), 0);
    put_some(c, 3);
    cluster_run_until_level(c, 20000);
    watch_whole(c, JOINER);
    watch_replay(c, JOINER);
    cluster_end(c);
}

/* ---- it works -------------------------------------------------------------------------------- */

Test(joining, a_replica_whose_disk_is_lost_follows_from_a_checkpoint) {
    struct meddler m;
    struct cluster *const c = with_lost_disk(&m, 1);
    run_until_joined(c, 3000);
    cr_assert(first_entry(c) > 1);
    cr_assert_eq(cluster_status(c, JOINER).guard, GUARD_JOURNAL_MISSING);
    /* In service at once: it is level while most of the ledger is still to come. */
    cluster_run_until_level(c, 2000);
    end(c);
}

/* One that was never there has a key that never signed: it votes, and may be needed. */
Test(joining, a_replica_that_comes_late_votes) {
    struct meddler m;
    struct cluster *const c = cluster_new(&(struct cluster_options){.seed = 2});
    cluster_crash(c, JOINER);
    meddler_attach(&m, c);
    call_many(c, "kv.put", KEYS);
    pass_window(c);
    put_some(c, 40);
    cluster_start(c, JOINER);
    run_until_joined(c, 3000);
    cluster_run_until_level(c, 3000);
    cr_assert_eq(cluster_status(c, JOINER).guard, GUARD_NONE);
    cluster_crash(c, 2);
    put_some(c, 20);
    cr_assert(c->nodes[JOINER].sent[MESSAGE_PREPARE] >= 10);
    cluster_start(c, 2);
    end(c);
}

/* Even as the primary of the view that comes next. */
Test(joining, a_replica_that_joined_can_lead) {
    struct meddler m;
    struct cluster *const c = cluster_new(&(struct cluster_options){.seed = 3});
    cluster_crash(c, JOINER);
    meddler_attach(&m, c);
    put_some(c, 60);
    cluster_start(c, JOINER);
    run_until_joined(c, 3000);
    cluster_run_until_level(c, 3000);
    for (uint32_t i = 0; i < JOINER; i++) {
        cluster_crash(c, i);
        put_some(c, 10);
        cluster_start(c, i);
        cluster_run_until_level(c, 20000);
    }
    cr_assert(c->nodes[JOINER].sent[MESSAGE_NEW_VIEW] > 0);
    end(c);
}

Test(joining, nobody_waits_meanwhile) {
    struct meddler m;
    struct cluster *const c = with_lost_disk(&m, 4);
    for (unsigned i = 0; !has_all(c); i++) {
        cr_assert(i < 2000);
        const char *const call = "kv.put k v";
        uint32_t const request = submit(c, 1, &call);
        cluster_run_ms(c, 20);
        cr_assert(cluster_is_done(c, request));
    }
    end(c);
}

/* A consortium that begins has no checkpoint to offer: its first request waits for nothing. */
Test(joining, a_young_consortium_does_not_wait) {
    uint64_t took_us[2];
    for (unsigned without = 0; without < 2; without++) {
        struct cluster *const c =
            cluster_new(&(struct cluster_options){.seed = 5, .no_joins = without == 1});
        uint32_t const request = cluster_submit(c, "kv.put a 1");
        cluster_run_until_done(c, 1000);
        took_us[without] = c->requests[request].done_us - c->requests[request].sent_us;
        cluster_run_ms(c, 1000);
        for (uint32_t i = 0; i < c->node_count; i++) {
            cr_assert(c->nodes[i].join == NULL && c->nodes[i].joins == 0);
        }
        cluster_end(c);
    }
    cr_assert(took_us[0] < took_us[1] + 10000);
}

/* Nor does one that begins again with a few batches: ranges are the shorter way. */
Test(joining, a_short_ledger_is_fetched_by_ranges) {
    struct cluster *const c = cluster_new(&(struct cluster_options){.seed = 6});
    put_some(c, 10);
    lose_disk(c, JOINER);
    cluster_start(c, JOINER);
    cluster_run_until_level(c, 5000);
    cr_assert_eq(c->nodes[JOINER].joins, 0);
    cr_assert_eq(first_entry(c), 0);
    cluster_end(c);
}

/* The others have just started again, and have no checkpoint in memory that they could offer. */
Test(joining, without_an_offer_it_goes_by_ranges) {
    struct meddler m;
    struct cluster *const c = old_service(&m, 7);
    for (uint32_t i = 0; i < 4; i++) {
        cluster_crash(c, i);
    }
    c->nodes[JOINER].restored = true;
    cluster_lose_disk(c, JOINER);
    for (uint32_t i = 0; i < 4; i++) {
        cluster_start(c, i);
    }
    cluster_run_until_level(c, 20000);
    cr_assert_eq(c->nodes[JOINER].joins, 0);
    end(c);
}

/* ---- whoever serves it lies ------------------------------------------------------------------ */

static struct checkpoint_offer_message decode_offer(struct cluster *c, const struct frame *frame) {
    struct checkpoint_offer_message offer;
    cr_assert(checkpoint_offer_message_decode(&offer, &c->arena, frame->payload) == CODEC_OK);
    return offer;
}

static bool encode_offer(struct buffer *out, const struct checkpoint_offer_message *offer) {
    cr_assert(checkpoint_offer_message_encode(out, offer));
    return true;
}

static struct span flipped(struct cluster *c, struct span bytes, size_t at) {
    uint8_t *const copy = arena_alloc(&c->arena, bytes.size);
    cr_assert(copy != NULL && at < bytes.size);
    memcpy(copy, bytes.data, bytes.size);
    copy[at] ^= 1;
    return span_of(copy, bytes.size);
}

#define LIES(name, change)                                                                         \
    static bool name(struct cluster *c, const struct frame *frame, struct buffer *out) {           \
        struct checkpoint_offer_message o = decode_offer(c, frame);                                \
        if (o.seq != 0) {                                                                          \
            change;                                                                                \
        }                                                                                          \
        return encode_offer(out, &o);                                                              \
    }

LIES(another_number, o.seq += 9)
LIES(a_forged_certificate, o.certificate = flipped(c, o.certificate, o.certificate.size - 1))
LIES(a_forged_pre_prepare, o.certificate = flipped(c, o.certificate, 60))
LIES(another_header, o.snapshot = flipped(c, o.snapshot, 40))
LIES(a_later_beginning, o.first_entry = UINT32_MAX)
LIES(more_leaves_than_entries, o.first_leaves = o.first_entry + 1)
LIES(a_peak_too_many, o.peaks = span_of(o.certificate.data, o.peaks.size + DIGEST_SIZE))
LIES(other_peaks, o.peaks = flipped(c, o.peaks, 5))

static const struct meddler_rule *rewrite(struct meddler *m, uint32_t from, enum message_kind kind,
                                          frame_rewriter rewriter) {
    return meddle(m, &(struct meddler_rule){.meddling = MEDDLING_REWRITE,
                                            .from = from,
                                            .to = JOINER,
                                            .kind = kind,
                                            .times = ALWAYS,
                                            .rewrite = rewriter});
}

Test(joining, a_bad_offer_is_refused) {
    static const frame_rewriter lies[] = {
        another_number,    a_forged_certificate,     a_forged_pre_prepare, another_header,
        a_later_beginning, more_leaves_than_entries, a_peak_too_many};
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        struct meddler m;
        struct cluster *const c = old_service(&m, 10 + i);
        c->nodes[0].byzantine = true;
        rewrite(&m, 0, MESSAGE_CHECKPOINT_OFFER, lies[i]);
        lose_disk(c, JOINER);
        cluster_start(c, JOINER);
        run_until_joined(c, 3000);
        cr_assert_eq(noted(c, JOIN_NOTE_OFFER_REFUSED), 1, "lie %zu", i);
        cr_assert_eq(noted(c, JOIN_NOTE_ITEMS_REFUSED) + noted(c, JOIN_NOTE_ENTRIES_REFUSED), 0);
        end(c);
    }
}

static bool change_digest(struct cluster *c, const struct frame *frame, struct buffer *out) {
    struct checkpoint_digests_message message;
    cr_assert(checkpoint_digests_message_decode(&message, &c->arena, frame->payload) == CODEC_OK);
    struct span const all = span_of(message.digests, (size_t)message.count * DIGEST_SIZE);
    message.digests = (const struct digest *)(const void *)flipped(c, all, all.size - 1).data;
    cr_assert(checkpoint_digests_message_encode(out, &message));
    return true;
}

static struct checkpoint_items_message decode_items(struct cluster *c, const struct frame *frame) {
    struct checkpoint_items_message message;
    cr_assert(checkpoint_items_message_decode(&message, &c->arena, frame->payload) == CODEC_OK);
    return message;
}

static bool change_value(struct cluster *c, const struct frame *frame, struct buffer *out) {
    struct checkpoint_items_message message = decode_items(c, frame);
    struct state_item *const items = arena_alloc(&c->arena, message.count * sizeof *items);
    cr_assert(items != NULL);
    memcpy(items, message.items, message.count * sizeof *items);
    items[message.count / 2].value = span_text("mine");
    message.items = items;
    cr_assert(checkpoint_items_message_encode(out, &message));
    return true;
}

static bool leave_one_out(struct cluster *c, const struct frame *frame, struct buffer *out) {
    struct checkpoint_items_message message = decode_items(c, frame);
    message.count--;
    cr_assert(checkpoint_items_message_encode(out, &message));
    return true;
}

static bool change_request(struct cluster *c, const struct frame *frame, struct buffer *out) {
    struct range_message range;
    cr_assert(range_message_decode(&range, &c->arena, frame->payload) == CODEC_OK);
    struct entry *const entries = arena_alloc(&c->arena, (range.count + 1) * sizeof *entries);
    cr_assert(entries != NULL);
    for (uint32_t i = 0; i < range.count; i++) { /* a range may be empty */
        entries[i] = range.entries[i];
    }
    for (uint32_t i = 0; i < range.count; i++) {
        if (entries[i].kind == ENTRY_REQUEST) {
            entries[i].payload = flipped(c, entries[i].payload, entries[i].payload.size - 3);
            break;
        }
    }
    range.entries = entries;
    cr_assert(range_message_encode(out, &range));
    return true;
}

/* What each of the lies costs: one note, and then another peer goes on. */
Test(joining, bad_parts_cost_their_server_its_turn) {
    static const struct {
        frame_rewriter lie;
        enum message_kind kind;
        enum join_note_kind note;
    } lies[] = {
        {change_digest, MESSAGE_CHECKPOINT_DIGESTS, JOIN_NOTE_DIGESTS_REFUSED},
        {change_value, MESSAGE_CHECKPOINT_ITEMS, JOIN_NOTE_ITEMS_REFUSED},
        {leave_one_out, MESSAGE_CHECKPOINT_ITEMS, JOIN_NOTE_ITEMS_REFUSED},
        {other_peaks, MESSAGE_CHECKPOINT_OFFER, JOIN_NOTE_ENTRIES_REFUSED},
        {change_request, MESSAGE_RANGE, JOIN_NOTE_ENTRIES_REFUSED},
    };
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        struct meddler m;
        struct cluster *const c = old_service(&m, 20 + i);
        c->nodes[0].byzantine = true;
        rewrite(&m, 0, lies[i].kind, lies[i].lie);
        lose_disk(c, JOINER);
        cluster_start(c, JOINER);
        run_until_joined(c, 3000);
        cr_assert_eq(noted(c, lies[i].note), 1, "lie %zu", i);
        cr_assert_eq(noted(c, JOIN_NOTE_OFFER_REFUSED), 0);
        end(c);
    }
}

/* It offers, and then says nothing more. */
Test(joining, a_silent_server_loses_its_turn) {
    static const enum message_kind kinds[] = {MESSAGE_CHECKPOINT_DIGESTS, MESSAGE_CHECKPOINT_ITEMS,
                                              MESSAGE_RANGE};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        struct meddler m;
        struct cluster *const c = old_service(&m, 30 + i);
        meddle(&m, &(struct meddler_rule){.meddling = MEDDLING_DROP,
                                          .from = 0,
                                          .to = JOINER,
                                          .kind = kinds[i],
                                          .times = ALWAYS});
        lose_disk(c, JOINER);
        cluster_start(c, JOINER);
        run_until_joined(c, 5000);
        cr_assert_eq(noted(c, JOIN_NOTE_SLOW), 1);
        end(c);
    }
}

/* ---- crashes --------------------------------------------------------------------------------- */

/* Run until a node has sent so many more frames of this kind, or for three seconds. */
static void run_until_sent(struct cluster *c, uint32_t node, enum message_kind kind,
                           uint64_t more) {
    uint64_t const before = c->nodes[node].sent[kind];
    uint64_t const end_us = c->now_us + 3000000;
    while (c->nodes[node].sent[kind] < before + more && cluster_run_one(c, end_us)) {
    }
}

Test(joining, a_server_that_crashes_is_left_for_another) {
    for (uint64_t parts = 1; parts <= 3; parts++) {
        struct meddler m;
        struct cluster *const c = with_lost_disk(&m, 40 + parts);
        run_until_sent(c, 0, MESSAGE_CHECKPOINT_OFFER, 1);
        run_until_sent(c, JOINER, MESSAGE_FETCH_CHECKPOINT, parts);
        cluster_crash(c, 0);
        run_until_joined(c, 5000);
        cluster_start(c, 0);
        end(c);
    }
}

/* What it had fetched is thrown away, and it begins again. */
Test(joining, a_joiner_that_crashes_begins_again) {
    for (uint64_t parts = 1; parts <= 6; parts++) {
        struct meddler m;
        struct cluster *const c = with_lost_disk(&m, 50 + parts);
        run_until_sent(c, JOINER, MESSAGE_FETCH_CHECKPOINT, parts);
        cluster_crash(c, JOINER);
        cluster_run_ms(c, 50);
        cluster_start(c, JOINER);
        run_until_joined(c, 5000);
        end(c);
    }
}

/* A crash before any of the renames that install the checkpoint, or merge the two ledgers. */
Test(joining, a_crash_between_two_renames) {
    uint64_t crashes = 0;
    for (uint64_t seed = 60; seed < 70; seed++) {
        struct meddler m;
        struct cluster *const c = with_lost_disk(&m, seed);
        c->crash_in_install_permille = 300;
        for (unsigned i = 0; i < 60000 && !has_all(c); i++) {
            cluster_run_ms(c, 1);
            if (!c->nodes[JOINER].up) {
                crashes++;
                cluster_start(c, JOINER);
            }
        }
        cr_assert_eq(c->nodes[JOINER].joins, 1);
        end(c);
    }
    cr_assert(crashes > 5);
}

/* The same anywhere, and more than once. */
Test(joining, crashes_while_the_older_ledger_arrives) {
    struct meddler m;
    struct cluster *const c = with_lost_disk(&m, 71);
    run_until_joined(c, 3000);
    for (unsigned i = 0; i < 4; i++) {
        run_until_sent(c, JOINER, MESSAGE_FETCH_RANGE, 2);
        cluster_crash(c, JOINER);
        cluster_run_ms(c, 20);
        cluster_start(c, JOINER);
    }
    end(c);
}

/* ---- the older ledger ------------------------------------------------------------------------ */

/* It is judged from genesis on: nothing of it is kept, nor served, before it stands. */
Test(joining, older_entries_that_break_a_rule_are_refused) {
    struct meddler m;
    struct cluster *const c = with_lost_disk(&m, 80);
    run_until_joined(c, 3000);
    c->nodes[0].byzantine = true;
    rewrite(&m, 0, MESSAGE_RANGE, change_request);
    cluster_run_until_whole(c, 60000);
    cr_assert(noted(c, JOIN_NOTE_OLDER_REFUSED) >= 1);
    end(c);
}

/* The older ledger never comes. */
static bool nothing_older(struct cluster *c, const struct frame *frame, struct buffer *out) {
    const struct sim_place *const older = &c->nodes[JOINER].disk.older;
    struct range_message range;
    cr_assert(range_message_decode(&range, &c->arena, frame->payload) == CODEC_OK);
    if (older->present && range.first_entry < older->first_entry) {
        range.count = 0;
    }
    cr_assert(range_message_encode(out, &range));
    return true;
}

/* Until then whoever asks it for them is told that there is nothing, and asks another. */
Test(joining, what_is_not_verified_is_not_served) {
    struct meddler m;
    struct cluster *const c = cluster_new(&(struct cluster_options){.seed = 81});
    meddler_attach(&m, c);
    put_some(c, 5);
    cluster_isolate(c, 2, true);
    call_many(c, "kv.put", KEYS);
    put_some(c, 30);
    pass_window(c);
    put_some(c, 30);
    lose_disk(c, JOINER);
    rewrite(&m, ANYBODY, MESSAGE_RANGE, nothing_older);
    cluster_start(c, JOINER);
    run_until_joined(c, 3000);
    /* It is the only one that the other can ask. */
    cluster_cut(c, 2, JOINER, false);
    cluster_cut(c, JOINER, 2, false);
    uint64_t const ranges = c->nodes[JOINER].sent[MESSAGE_RANGE];
    cluster_run_ms(c, 5000);
    cr_assert(first_entry(c) > 1);
    cr_assert(c->nodes[JOINER].sent[MESSAGE_RANGE] > ranges);
    cr_assert(cluster_committed(c, 2) + 10 < cluster_committed(c, 0));
    cluster_isolate(c, 2, false);
    meddler_release(&m);
    cluster_run_until_level(c, 20000);
    end(c);
}
