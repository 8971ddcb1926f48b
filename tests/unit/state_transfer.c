/*
 * state_transfer: the commit before the last one stays as it was while it is handed out, from any
 * group on; and a store that is built from what was handed out is the same, or is not there.
 */
#include "host/state_transfer.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "execution/state_parts.h"
#include "tests/unit/store_fixture.h"

#define COLLECTED_MAX 20000u
#define EVERYTHING UINT64_MAX

/* Items as a visitor met them. */
struct collected {
    size_t count;
    size_t stop_at; /* the visitor refuses the item of this number; 0: none */
    struct state_item items[COLLECTED_MAX];
};

static bool collect(void *context, struct span key, struct span value, bool deleted) {
    struct collected *const collected = context;
    cr_assert(!deleted && collected->count < COLLECTED_MAX);
    collected->items[collected->count++] = (struct state_item){key, value};
    return collected->count != collected->stop_at;
}

static struct collected *collected_new(void) {
    struct collected *const collected = calloc(1, sizeof *collected);
    cr_assert(collected != NULL);
    return collected;
}

static struct state_snapshot *must_snapshot(struct state_store *store) {
    struct problem problem = {.code = EXIT_OK};
    struct state_snapshot *const snapshot = state_snapshot_open(store, &problem);
    cr_assert(snapshot != NULL, "%s", problem.text);
    return snapshot;
}

static void expect_no_snapshot(struct state_store *store) {
    struct problem problem = {.code = EXIT_OK};
    cr_assert(state_snapshot_open(store, &problem) == NULL && problem.code == EXIT_OK);
}

static void must_index(struct state_snapshot *snapshot) {
    struct problem problem = {.code = EXIT_OK};
    uint64_t count = 0;
    cr_assert(state_snapshot_index(snapshot, NULL, NULL, &problem) == 1, "%s", problem.text);
    const struct digest *const digests = state_snapshot_digests(snapshot, &count);
    const struct state_checkpoint *const checkpoint = state_snapshot_checkpoint(snapshot);
    cr_assert(state_groups_hold(digests, count, checkpoint->count, &checkpoint->root));
}

/* Read a part, and hold it against the digests as a joining replica does. Returns: groups. */
static int64_t must_read(struct state_snapshot *snapshot, const struct state_part *part,
                         struct collected *collected) {
    struct problem problem = {.code = EXIT_OK};
    uint64_t count = 0;
    collected->count = 0;
    int64_t const groups = state_snapshot_read(snapshot, part, collect, collected, &problem);
    cr_assert(groups >= 0, "%s", problem.text);
    struct state_groups const wanted = {
        .digests = state_snapshot_digests(snapshot, &count),
        .item_count = state_snapshot_checkpoint(snapshot)->count,
        .first_group = part->first_group,
    };
    uint64_t const held = state_groups_check(&wanted, collected->items, collected->count);
    cr_assert(held == (uint64_t)groups);
    return groups;
}

static void put_many(struct bench *bench, unsigned count, const char *value) {
    for (unsigned i = 0; i < count; i++) {
        char text[64];
        (void)snprintf(text, sizeof text, "kv.put key%05u %s%u", i, value, i % 13);
        expect_ok(bench, text, "");
    }
}

static void put_large(struct bench *bench, unsigned count) {
    static const uint8_t value[VALUE_SIZE_MAX] = {1};
    for (unsigned i = 0; i < count; i++) {
        struct call call = {.procedure = span_text("kv.put"), .argument_count = 2};
        char name[24];
        (void)snprintf(name, sizeof name, "key00%03ux", i);
        call.arguments[0] = span_text(name);
        call.arguments[1] = span_of(value, sizeof value);
        execute_calls(bench, REQUEST_INDEPENDENT, 1, &call);
    }
}

/* A store with two checkpoints, 1 of `count` items, and 2 of other values. */
static struct state_store *two_checkpoints(const struct place *place, struct bench *bench,
                                           unsigned count) {
    struct state_store *const store = open_store(place);
    bench_over(bench, store);
    put_many(bench, count, "old");
    checkpoint(store, bench, 1);
    put_many(bench, count / 2, "new");
    expect_ok(bench, "kv.put another 1", "");
    checkpoint(store, bench, 2);
    return store;
}

/* ---- which commit ---- */

/* One that no batch carries is nothing to hand over: the one before it stays, however long. */
Test(state_transfer, a_commit_that_nobody_carries_is_passed_over) {
    static const struct {
        uint64_t seq;
        uint64_t carried;
        uint64_t previous;
    } commits[] = {{20, 10, 10}, {25, 10, 10}, {29, 10, 10}, {40, 29, 29}, {50, 40, 40}};
    struct place const place = place_new();
    struct state_store *const store = open_store(&place);
    struct problem problem = {.code = EXIT_OK};
    struct bench b;
    bench_over(&b, store);
    expect_ok(&b, "kv.put a 1", "");
    checkpoint(store, &b, 10);
    for (size_t i = 0; i < sizeof commits / sizeof commits[0]; i++) {
        expect_ok(&b, "kv.put a 2", "");
        cut_and_settle(&b, commits[i].seq);
        cr_assert(state_store_write(store, b.engine, commits[i].seq, build_root, NULL, &problem) ==
                  0);
        cr_assert(state_store_refresh_carrying(store, commits[i].carried, &problem) == 0);
        engine_absorb(b.engine, commits[i].seq);
        struct state_snapshot *const snapshot = must_snapshot(store);
        cr_assert_eq(state_snapshot_checkpoint(snapshot)->seq, commits[i].previous);
        state_snapshot_close(snapshot);
    }
    bench_free(&b);
    state_store_close(store);
    place_remove(&place);
}

Test(state_transfer, there_is_a_previous_commit_only_after_two) {
    struct place const place = place_new();
    struct state_store *store = open_store(&place);
    struct problem problem = {.code = EXIT_OK};
    struct bench b;
    bench_over(&b, store);
    expect_no_snapshot(store);
    expect_ok(&b, "kv.put a 1", "");
    checkpoint(store, &b, 10);
    expect_no_snapshot(store);
    expect_ok(&b, "kv.put a 2", "");
    cut_and_settle(&b, 20);
    cr_assert(state_store_write(store, b.engine, 20, build_root, NULL, &problem) == 0);
    expect_no_snapshot(store);
    cr_assert(state_store_refresh(store, &problem) == 0);
    engine_absorb(b.engine, 20);
    for (unsigned round = 0; round < 3; round++) {
        struct state_snapshot *const snapshot = must_snapshot(store);
        cr_assert(state_snapshot_checkpoint(snapshot)->seq == 10);
        state_snapshot_close(snapshot);
        cr_assert(state_store_refresh(store, &problem) == 0, "without news nothing changes");
        cr_assert(state_store_checkpoint(store)->seq == 20);
    }
    expect_ok(&b, "kv.get a", "2");
    bench_free(&b);
    state_store_close(store);
    store = open_store(&place);
    expect_no_snapshot(store);
    state_store_close(store);
    place_remove(&place);
}

Test(state_transfer, a_snapshot_stands_still) {
    struct place const place = place_new();
    struct bench b;
    struct state_store *const store = two_checkpoints(&place, &b, 300);
    struct state_snapshot *snapshot = must_snapshot(store);
    struct collected *const collected = collected_new();
    must_index(snapshot);
    for (uint64_t seq = 3; seq < 9; seq++) {
        put_many(&b, 300, "later");
        checkpoint(store, &b, seq);
        const struct state_checkpoint *const pinned = state_snapshot_checkpoint(snapshot);
        cr_assert(pinned->seq == 1 && pinned->count == 300 && pinned->snapshot.size == 52);
        cr_assert(memcmp(pinned->snapshot.data + 12, pinned->root.bytes, DIGEST_SIZE) == 0);
        struct state_part const part = {.groups_max = EVERYTHING, .size_soft_max = EVERYTHING};
        cr_assert(must_read(snapshot, &part, collected) == 5);
        cr_assert(collected->count == 300);
        cr_assert(span_equal(collected->items[14].value, span_text("old1")));
    }
    state_snapshot_close(snapshot);
    snapshot = must_snapshot(store);
    cr_assert(state_snapshot_checkpoint(snapshot)->seq == 7);
    must_index(snapshot);
    state_snapshot_close(snapshot);
    state_snapshot_close(NULL);
    expect_ok(&b, "kv.get key00014", "later1");
    free(collected);
    bench_free(&b);
    state_store_close(store);
    place_remove(&place);
}

static off_t data_size(const struct place *place) {
    char path[320];
    struct stat status;
    place_path(place, path, "/data.mdb");
    cr_assert(stat(path, &status) == 0);
    return status.st_size;
}

/* Keeping a commit costs space while it is kept, and only then. */
Test(state_transfer, space_is_used_again) {
    struct place const place = place_new();
    struct bench b;
    struct state_store *const store = two_checkpoints(&place, &b, 500);
    uint64_t seq = 3;
    for (unsigned i = 0; i < 10; i++) {
        put_many(&b, 500, "v");
        checkpoint(store, &b, seq++);
    }
    off_t const settled = data_size(&place);
    for (unsigned i = 0; i < 30; i++) {
        put_many(&b, 500, "w");
        checkpoint(store, &b, seq++);
    }
    cr_assert(data_size(&place) == settled, "the previous commit alone costs no more and more");
    for (unsigned i = 0; i < 20; i++) { /* one after the other, each over one checkpoint */
        struct state_snapshot *const snapshot = must_snapshot(store);
        put_many(&b, 500, "x");
        checkpoint(store, &b, seq++);
        state_snapshot_close(snapshot);
    }
    cr_assert(data_size(&place) < 2 * settled);
    bench_free(&b);
    state_store_close(store);
    place_remove(&place);
}

/* ---- reading ---- */

Test(state_transfer, any_group_can_be_read) {
    struct place const place = place_new();
    struct bench b;
    struct state_store *const store = two_checkpoints(&place, &b, 9000);
    struct state_snapshot *const snapshot = must_snapshot(store);
    struct collected *const collected = collected_new();
    must_index(snapshot);
    uint64_t groups = 0;
    uint64_t random = 99;
    (void)state_snapshot_digests(snapshot, &groups);
    cr_assert(groups == 141, "more than two places are noted");
    for (unsigned i = 0; i < 600; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        struct state_part const part = {.first_group = (random >> 33) % (groups + 2),
                                        .groups_max = 1 + (random >> 50) % 5,
                                        .size_soft_max = EVERYTHING};
        uint64_t const left = part.first_group < groups ? groups - part.first_group : 0;
        int64_t const read = must_read(snapshot, &part, collected);
        cr_assert((uint64_t)read == (left < part.groups_max ? left : part.groups_max));
        char key[24];
        (void)snprintf(key, sizeof key, "k/key%05u", (unsigned)part.first_group * 64);
        cr_assert(read == 0 || span_equal(collected->items[0].key, span_text(key)));
    }
    /* And one after the other, as they are asked for. */
    uint64_t at = 0;
    while (at < groups) {
        struct state_part const part = {
            .first_group = at, .groups_max = EVERYTHING, .size_soft_max = 3000};
        int64_t const read = must_read(snapshot, &part, collected);
        cr_assert(read > 0);
        at += (uint64_t)read;
    }
    cr_assert(at == groups);
    struct state_part const far = {.first_group = UINT64_MAX, .groups_max = 1};
    cr_assert(must_read(snapshot, &far, collected) == 0);
    free(collected);
    state_snapshot_close(snapshot);
    bench_free(&b);
    state_store_close(store);
    place_remove(&place);
}

Test(state_transfer, sizes_are_bounded_softly) {
    struct place const place = place_new();
    struct state_store *const store = open_store(&place);
    struct bench b;
    bench_over(&b, store);
    put_many(&b, 100, "v");
    put_large(&b, 100); /* in between */
    checkpoint(store, &b, 1);
    expect_ok(&b, "kv.put a 1", "");
    checkpoint(store, &b, 2);
    struct state_snapshot *const snapshot = must_snapshot(store);
    struct collected *const collected = collected_new();
    must_index(snapshot);
    struct state_part part = {.groups_max = EVERYTHING};
    cr_assert(must_read(snapshot, &part, collected) == 1, "at least one");
    part.size_soft_max = (uint64_t)33 * VALUE_SIZE_MAX;
    cr_assert(must_read(snapshot, &part, collected) == 2);
    part.size_soft_max = EVERYTHING;
    cr_assert(must_read(snapshot, &part, collected) == 4);
    cr_assert(collected->count == 200);
    free(collected);
    state_snapshot_close(snapshot);
    bench_free(&b);
    state_store_close(store);
    place_remove(&place);
}

static bool stop_after(void *context) {
    unsigned *const left = context;
    return (*left)-- == 0;
}

Test(state_transfer, who_reads_may_stop) {
    struct place const place = place_new();
    struct bench b;
    struct problem problem = {.code = EXIT_OK};
    struct state_store *const store = two_checkpoints(&place, &b, 300);
    struct state_snapshot *const snapshot = must_snapshot(store);
    struct collected *const collected = collected_new();
    for (unsigned left = 0; left < 5; left++) {
        unsigned asked = left;
        cr_assert(state_snapshot_index(snapshot, stop_after, &asked, &problem) == 0);
        cr_assert(problem.code == EXIT_OK);
    }
    must_index(snapshot);
    struct state_part const all = {.groups_max = EVERYTHING, .size_soft_max = EVERYTHING};
    for (size_t stop = 1; stop <= 300; stop += 23) {
        collected->count = 0;
        collected->stop_at = stop;
        cr_assert(state_snapshot_read(snapshot, &all, collect, collected, &problem) == -1);
        cr_assert(problem.code == EXIT_OK && collected->count == stop);
        collected->stop_at = 0;
        struct state_part const part = {.first_group = stop / 64, .groups_max = 1};
        cr_assert(must_read(snapshot, &part, collected) == 1);
    }
    free(collected);
    state_snapshot_close(snapshot);
    bench_free(&b);
    state_store_close(store);
    place_remove(&place);
}

Test(state_transfer, an_empty_state_has_no_groups) {
    struct place const place = place_new();
    struct state_store *const store = open_store(&place);
    struct bench b;
    bench_over(&b, store);
    checkpoint(store, &b, 1);
    checkpoint(store, &b, 2);
    struct state_snapshot *const snapshot = must_snapshot(store);
    struct collected *const collected = collected_new();
    must_index(snapshot);
    struct state_part const all = {.groups_max = EVERYTHING, .size_soft_max = EVERYTHING};
    cr_assert(must_read(snapshot, &all, collected) == 0);
    free(collected);
    state_snapshot_close(snapshot);
    bench_free(&b);
    state_store_close(store);
    place_remove(&place);
}

/* What rots on the disk after the start is not handed out. */
Test(state_transfer, damage_is_found_before_it_is_offered) {
    static uint8_t bytes[FILE_SIZE_MAX];
    struct place const place = place_new();
    struct bench b;
    struct problem problem = {.code = EXIT_OK};
    struct state_store *const store = two_checkpoints(&place, &b, 500);
    char path[320];
    place_path(&place, path, "/data.mdb");
    size_t const size = read_data(&place, bytes);
    int const file = open(path, O_RDWR | O_CLOEXEC);
    unsigned found = 0;
    cr_assert(file >= 0);
    for (uint8_t *at = bytes; at != NULL && (size_t)(at - bytes) + 7 < size; at++) {
        at = memmem(at, size - (size_t)(at - bytes), "old12", 5); /* in both commits */
        if (at == NULL) {
            break;
        }
        uint8_t const flipped = '!';
        cr_assert(pwrite(file, &flipped, 1, at - bytes) == 1);
        found++;
    }
    cr_assert(found > 10 && close(file) == 0);
    struct state_snapshot *const snapshot = must_snapshot(store);
    cr_assert(state_snapshot_index(snapshot, NULL, NULL, &problem) == -1);
    cr_assert(problem.code == EXIT_CORRUPT, "%s", problem.text);
    state_snapshot_close(snapshot);
    bench_free(&b);
    state_store_close(store);
    place_remove(&place);
}

/* ---- on another thread ---- */

struct serving {
    struct state_store *store;
    atomic_bool stop;
    unsigned served;
};

static void *serve(void *argument) {
    struct serving *const serving = argument;
    struct collected *const collected = collected_new();
    while (!atomic_load(&serving->stop)) {
        struct state_snapshot *const snapshot = must_snapshot(serving->store);
        uint64_t groups = 0;
        must_index(snapshot);
        (void)state_snapshot_digests(snapshot, &groups);
        for (uint64_t group = 0; group < groups; group += 2) {
            struct state_part const part = {
                .first_group = group, .groups_max = 2, .size_soft_max = EVERYTHING};
            cr_assert(must_read(snapshot, &part, collected) > 0);
        }
        state_snapshot_close(snapshot);
        serving->served++;
    }
    free(collected);
    return NULL;
}

Test(state_transfer, beside_the_loop, .timeout = 120) {
    struct place const place = place_new();
    struct bench b;
    struct serving serving = {.store = two_checkpoints(&place, &b, 1000)};
    pthread_t thread;
    cr_assert(pthread_create(&thread, NULL, serve, &serving) == 0);
    for (uint64_t seq = 3; seq < 40; seq++) {
        put_many(&b, 200, seq % 2 == 0 ? "even" : "odd");
        char text[64];
        (void)snprintf(text, sizeof text, "kv.put more%u 1", (unsigned)seq);
        expect_ok(&b, text, "");
        checkpoint(serving.store, &b, seq);
    }
    atomic_store(&serving.stop, true);
    cr_assert(pthread_join(thread, NULL) == 0);
    cr_assert(serving.served > 0);
    bench_free(&b);
    state_store_close(serving.store);
    place_remove(&place);
}

/* ---- building ---- */

static struct state_build *must_build(const struct place *place) {
    struct problem problem = {.code = EXIT_OK};
    struct state_build *const build = state_build_open(place->directory, &calls_service, &problem);
    cr_assert(build != NULL, "%s", problem.text);
    return build;
}

static void must_put(struct state_build *build, const char *key, const char *value) {
    struct problem problem = {.code = EXIT_OK};
    cr_assert(state_build_put(build, span_text(key), span_text(value), &problem) == 0, "%s",
              problem.text);
}

static void expect_nothing_left(const struct place *place) {
    char path[320];
    struct stat status;
    place_path(place, path, "");
    cr_assert(stat(path, &status) != 0);
}

static bool put_visitor(void *context, struct span key, struct span value, bool deleted) {
    struct problem problem = {.code = EXIT_OK};
    cr_assert(!deleted);
    cr_assert(state_build_put(context, key, value, &problem) == 0, "%s", problem.text);
    return true;
}

/* Fetch all of a snapshot into another place. Returns: its checkpoint, without its snapshot. */
static struct state_checkpoint fetch(struct state_snapshot *snapshot, const struct place *to) {
    struct problem problem = {.code = EXIT_OK};
    struct state_build *const build = must_build(to);
    uint64_t groups = 0;
    must_index(snapshot);
    (void)state_snapshot_digests(snapshot, &groups);
    for (uint64_t at = 0; at < groups;) {
        struct state_part const part = {
            .first_group = at, .groups_max = EVERYTHING, .size_soft_max = 1u << 20};
        int64_t const read = state_snapshot_read(snapshot, &part, put_visitor, build, &problem);
        cr_assert(read > 0, "%s", problem.text);
        at += (uint64_t)read;
    }
    struct state_checkpoint checkpoint = *state_snapshot_checkpoint(snapshot);
    cr_assert(state_build_finish(build, &checkpoint, &problem) == 0, "%s", problem.text);
    checkpoint.snapshot = span_of(NULL, 0);
    return checkpoint;
}

Test(state_transfer, what_is_fetched_is_the_same_store, .timeout = 120) {
    static const unsigned sizes[] = {0, 1, 63, 64, 65, 128, 4000};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct place const place = place_new();
        struct place const other = place_new();
        struct bench b;
        struct state_store *store = two_checkpoints(&place, &b, sizes[i]);
        put_large(&b, 330); /* more than one commit of the build holds */
        checkpoint(store, &b, 3);
        checkpoint(store, &b, 4);
        struct state_snapshot *const snapshot = must_snapshot(store);
        struct state_checkpoint const fetched = fetch(snapshot, &other);
        state_snapshot_close(snapshot);
        bench_free(&b);
        state_store_close(store);
        place_remove(&place);

        store = open_store(&other);
        const struct state_checkpoint *const found = state_store_checkpoint(store);
        cr_assert(found->present && found->seq == 3 && found->count == fetched.count);
        cr_assert(digest_equal(&found->root, &fetched.root) && found->snapshot.size == 52);
        bench_over(&b, store); /* and life goes on */
        expect_ok(&b, "kv.get another", "1");
        expect_ok(&b, "kv.put key00000 next", "");
        expect_ok(&b, "kv.delete another", "");
        checkpoint(store, &b, 4);
        bench_free(&b);
        state_store_close(store);
        place_remove(&other);
    }
}

/* Two items and what leads to them. */
static struct state_checkpoint checkpoint_of_two(void) {
    struct state_hasher hasher;
    state_hasher_init(&hasher);
    state_hasher_add(&hasher, span_text("a"), span_text("1"));
    state_hasher_add(&hasher, span_text("b"), span_text(""));
    return (struct state_checkpoint){.present = true,
                                     .seq = 7,
                                     .count = 2,
                                     .root = state_hasher_final(&hasher),
                                     .snapshot = span_text("as it was")};
}

Test(state_transfer, only_the_wanted_state_is_finished) {
    struct place const place = place_new();
    for (unsigned wrong = 0; wrong < 4; wrong++) {
        struct problem problem = {.code = EXIT_OK};
        struct state_checkpoint checkpoint = checkpoint_of_two();
        struct state_build *const build = must_build(&place);
        must_put(build, "a", wrong == 0 ? "2" : "1");
        if (wrong != 1) {
            must_put(build, "b", "");
        }
        checkpoint.count += wrong == 2;
        checkpoint.root.bytes[0] ^= wrong == 3;
        cr_assert(state_build_finish(build, &checkpoint, &problem) == -1);
        cr_assert(problem.code == EXIT_INVALID, "%s", problem.text);
        expect_nothing_left(&place);
    }
    struct problem problem = {.code = EXIT_OK};
    struct state_checkpoint const checkpoint = checkpoint_of_two();
    struct state_build *const build = must_build(&place);
    must_put(build, "a", "1");
    must_put(build, "b", "");
    cr_assert(state_build_finish(build, &checkpoint, &problem) == 0, "%s", problem.text);
    struct state_store *const store = open_store(&place);
    cr_assert(state_store_checkpoint(store)->seq == 7);
    cr_assert(span_equal(state_store_checkpoint(store)->snapshot, span_text("as it was")));
    state_store_close(store);
    place_remove(&place);
}

static void expect_refusal(const struct place *place, struct span key, struct span value) {
    struct problem problem = {.code = EXIT_OK};
    struct state_build *const build = must_build(place);
    must_put(build, "m", "1");
    cr_assert(state_build_put(build, key, value, &problem) == -1);
    cr_assert(problem.code == EXIT_INVALID, "%s", problem.text);
    state_build_discard(build);
    expect_nothing_left(place);
}

Test(state_transfer, only_items_in_order_are_put) {
    static const uint8_t bytes[VALUE_SIZE_MAX + 1] = {'z'};
    struct place const place = place_new();
    expect_refusal(&place, span_text("m"), span_text("2"));
    expect_refusal(&place, span_text("l"), span_text("2"));
    expect_refusal(&place, span_of(NULL, 0), span_text("2"));
    expect_refusal(&place, span_of(bytes, KEY_SIZE_MAX + 1), span_text("2"));
    expect_refusal(&place, span_text("n"), span_of(bytes, VALUE_SIZE_MAX + 1));
    struct state_build *const build = must_build(&place);
    must_put(build, "m", "1");
    must_put(build, "mm", "1");
    must_put(build, "n", "1");
    state_build_discard(build);
    state_build_discard(NULL);
    expect_nothing_left(&place);
    place_remove(&place);
}

Test(state_transfer, nothing_is_built_over_a_store) {
    struct place const place = place_new();
    struct place const nowhere = {.directory = "/nowhere/at/all"};
    struct problem problem = {.code = EXIT_OK};
    struct bench b;
    struct state_store *store = two_checkpoints(&place, &b, 1);
    bench_free(&b);
    state_store_close(store);
    cr_assert(state_build_open(place.directory, &calls_service, &problem) == NULL);
    cr_assert(problem.code == EXIT_ERROR, "%s", problem.text);
    store = open_store(&place);
    cr_assert(state_store_checkpoint(store)->seq == 2);
    state_store_close(store);
    place_remove(&place);
    problem.code = EXIT_OK;
    cr_assert(state_build_open(nowhere.directory, &calls_service, &problem) == NULL);
    cr_assert(problem.code == EXIT_ERROR, "%s", problem.text);
}

/* A process that ends while it builds leaves nothing that opens as a checkpoint. */
Test(state_transfer, a_build_that_is_cut_short_is_no_store) {
    static const uint8_t value[VALUE_SIZE_MAX] = {1};
    for (unsigned items = 0; items < 900; items += 300) {
        struct place const place = place_new();
        struct problem problem = {.code = EXIT_OK};
        pid_t const child = fork();
        cr_assert(child >= 0);
        if (child == 0) {
            struct state_build *const build = must_build(&place);
            for (unsigned i = 0; i < items; i++) {
                char key[24];
                (void)snprintf(key, sizeof key, "key%04u", i);
                if (state_build_put(build, span_text(key), span_of(value, sizeof value),
                                    &problem) != 0) {
                    _exit(1);
                }
            }
            _exit(42);
        }
        int status = 0;
        cr_assert(waitpid(child, &status, 0) == child);
        bool const ended = WIFEXITED(status) && WEXITSTATUS(status) == 42;
        cr_assert(ended);
        struct state_store *const store =
            state_store_open(place.directory, &calls_service, &problem);
        cr_assert(store == NULL ? problem.code == EXIT_CORRUPT
                                : !state_store_checkpoint(store)->present,
                  "%s", problem.text);
        cr_assert(items == 0 || store == NULL);
        state_store_close(store);
        place_remove(&place);
    }
}

/* A file that may not grow stands in for a disk that is full. */
Test(state_transfer, a_full_disk_ends_a_build) {
    static const uint8_t value[VALUE_SIZE_MAX] = {1};
    struct place const place = place_new();
    struct problem problem = {.code = EXIT_OK};
    struct rlimit limit;
    cr_assert(signal(SIGXFSZ, SIG_IGN) != SIG_ERR && getrlimit(RLIMIT_FSIZE, &limit) == 0);
    struct state_build *const build = must_build(&place);
    rlim_t const before = limit.rlim_cur;
    limit.rlim_cur = 1u << 20;
    cr_assert(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    int result = 0;
    for (unsigned i = 0; result == 0 && i < 1000; i++) {
        char key[24];
        (void)snprintf(key, sizeof key, "key%04u", i);
        result = state_build_put(build, span_text(key), span_of(value, sizeof value), &problem);
    }
    limit.rlim_cur = before;
    cr_assert(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    cr_assert(result == -1 && problem.code == EXIT_ERROR, "%s", problem.text);
    state_build_discard(build);
    expect_nothing_left(&place);
    place_remove(&place);
}
