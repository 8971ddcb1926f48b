/*
 * state_store: checkpoints that are whole or not there, whatever happens while they are written,
 * and damage that is told from a fresh store.
 */
#include "host/state_store.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/store_fixture.h"

static void expect_problem(const struct place *place, const struct digest *service,
                           enum exit_code code) {
    struct problem problem = {.code = EXIT_OK};
    struct state_store *const store = state_store_open(place->directory, service, &problem);
    cr_assert(store == NULL && problem.code == code, "%d %s", (int)problem.code, problem.text);
}

Test(store, fresh) {
    struct place const place = place_new();
    for (unsigned round = 0; round < 2; round++) {
        struct state_store *const store = open_store(&place);
        struct bench b;
        bench_over(&b, store);
        cr_assert(!state_store_checkpoint(store)->present);
        expect_refused(&b, "kv.get a", "no such key");
        expect_ok(&b, "kv.scan ~ ~ 64", "");
        bench_free(&b);
        state_store_close(store);
    }
    place_remove(&place);
}

Test(store, checkpoint_and_reopen) {
    struct place const place = place_new();
    struct state_store *store = open_store(&place);
    struct bench b;
    bench_over(&b, store);
    expect_ok(&b, "kv.put a 1", "");
    expect_ok(&b, "kv.put b 2", "");
    checkpoint(store, &b, 10);
    expect_ok(&b, "kv.delete a", "");
    expect_ok(&b, "kv.put c 3", "");
    expect_ok(&b, "kv.put gone 1", "");
    expect_ok(&b, "kv.delete gone", "");
    checkpoint(store, &b, 20);
    expect_ok(&b, "kv.put d 4", "");
    expect_ok(&b, "kv.scan ~ ~ 64", "b 2 c 3 d 4");
    bench_free(&b);
    state_store_close(store);

    store = open_store(&place);
    bench_over(&b, store);
    cr_assert(state_store_checkpoint(store)->seq == 20);
    cr_assert(state_store_checkpoint(store)->count == 2);
    expect_ok(&b, "kv.scan ~ ~ 64", "b 2 c 3");
    expect_ok(&b, "kv.get b", "2");
    expect_refused(&b, "kv.get a", "no such key");
    bench_free(&b);
    state_store_close(store);
    place_remove(&place);
}

/* Until the loop refreshes, its snapshot stands still, and its layers still hold the rest. */
Test(store, snapshot_stands_still) {
    struct place const place = place_new();
    struct state_store *const store = open_store(&place);
    struct problem problem = {.code = EXIT_OK};
    struct state_checkpoint visited;
    struct state_hasher hasher;
    struct bench b;
    bench_over(&b, store);
    expect_ok(&b, "kv.put a 1", "");
    checkpoint(store, &b, 1);
    expect_ok(&b, "kv.put a 2", "");
    cut_and_settle(&b, 2);
    cr_assert(state_store_write(store, b.engine, 2, build_root, NULL, &problem) == 0);
    cr_assert(state_store_checkpoint(store)->seq == 1);
    struct state_base const base = state_store_base(store);
    struct span value;
    cr_assert(base.get(base.context, span_text("k/a"), &value) == 1);
    cr_assert(span_equal(value, span_text("1")));
    expect_ok(&b, "kv.get a", "2");
    state_hasher_init(&hasher);
    cr_assert(state_store_visit(store, &visited, hash_visitor, &hasher, &problem) == 0);
    struct digest const root = state_hasher_final(&hasher);
    cr_assert(visited.seq == 2 && digest_equal(&root, &visited.root));
    cr_assert(hasher.count == visited.count);
    cr_assert(state_store_refresh(store, &problem) == 0);
    engine_absorb(b.engine, 2);
    expect_ok(&b, "kv.get a", "2");
    cr_assert(state_store_failure(store)->code == EXIT_OK);
    bench_free(&b);
    state_store_close(store);
    place_remove(&place);
}

/* The same calls over a store and in memory alone: the same outcomes, the same roots. */
Test(store, equals_memory) {
    struct place const place = place_new();
    struct state_store *store = open_store(&place);
    struct bench memory;
    struct bench b;
    uint64_t random = 12345;
    bench_init(&memory, NULL);
    bench_over(&b, store);
    for (uint64_t seq = 1; seq <= 40; seq++) {
        for (unsigned i = 0; i < 50; i++) {
            char text[64];
            struct call call;
            random = random * 6364136223846793005u + 1442695040888963407u;
            unsigned const name = (unsigned)(random >> 40) % 300;
            (void)snprintf(text, sizeof text, random >> 63 ? "kv.put key%u %u" : "kv.delete key%u",
                           name, i);
            call_from_text(&call, text);
            execute_calls(&memory, REQUEST_INDEPENDENT, 1, &call);
            execute_calls(&b, REQUEST_INDEPENDENT, 1, &call);
            cr_assert(span_equal(memory.execution.outcomes[0], b.execution.outcomes[0]));
        }
        cut_and_settle(&memory, seq);
        struct digest const root = engine_root(&memory, seq);
        engine_absorb(memory.engine, seq);
        checkpoint(store, &b, seq);
        cr_assert(digest_equal(&state_store_checkpoint(store)->root, &root));
        if (seq % 10 == 0) {
            bench_free(&b);
            state_store_close(store);
            store = open_store(&place);
            bench_over(&b, store);
        }
    }
    bench_free(&memory);
    bench_free(&b);
    state_store_close(store);
    place_remove(&place);
}

static void make_first(const struct place *place) {
    struct state_store *const store = open_store(place);
    struct bench b;
    bench_over(&b, store);
    expect_ok(&b, "kv.put a 1", "");
    checkpoint(store, &b, 1);
    bench_free(&b);
    state_store_close(store);
}

/* ---- beside other threads ---- */

/*
 * glibc keeps its allocator in order across a fork. AddressSanitizer's does not: a child of a
 * process whose threads allocate can wait in it for ever, so that its build has them format only.
 */
#ifdef __SANITIZE_ADDRESS__
#define BESIDE_ALLOCATES false
#else
#define BESIDE_ALLOCATES true
#endif

static void allocate(void) {
    struct buffer buffer;
    buffer_init(&buffer, 1u << 16);
    for (unsigned i = 0; i < 64; i++) {
        (void)buffer_append(&buffer, span_of(&buffer, sizeof buffer));
    }
    buffer_free(&buffer);
}

static void *keep_busy(void *argument) {
    atomic_bool *const stop = argument;
    while (!atomic_load(stop)) {
        struct problem problem = {.code = EXIT_OK};
        if (BESIDE_ALLOCATES) {
            allocate();
        }
        cr_assert(problem_set(&problem, EXIT_ERROR, "%p", argument) == -1);
    }
    return NULL;
}

/* The child that tries the files out must not wait for a lock that a thread held. */
Test(store, opens_while_threads_run) {
    struct place const place = place_new();
    pthread_t threads[4];
    atomic_bool stop = false;
    make_first(&place);
    for (unsigned i = 0; i < 4; i++) {
        cr_assert(pthread_create(&threads[i], NULL, keep_busy, &stop) == 0);
    }
    for (unsigned i = 0; i < 20; i++) {
        state_store_close(open_store(&place));
    }
    atomic_store(&stop, true);
    for (unsigned i = 0; i < 4; i++) {
        cr_assert(pthread_join(threads[i], NULL) == 0);
    }
    place_remove(&place);
}

/* ---- ends of a process ---- */

static bool build_exit(void *context, struct buffer *out, const struct digest *root,
                       uint64_t count) {
    (void)build_root(context, out, root, count);
    _exit(42);
}

/* In a child: write checkpoint 2 over checkpoint 1, and end at once, here or in the builder. */
static void write_and_end(const struct place *place, state_snapshot_builder builder) {
    pid_t const child = fork();
    cr_assert(child >= 0);
    if (child == 0) {
        struct problem problem = {.code = EXIT_OK};
        struct state_store *const store = open_store(place);
        struct bench b;
        bench_over(&b, store);
        expect_ok(&b, "kv.put a 2", "");
        cut_and_settle(&b, 2);
        _exit(state_store_write(store, b.engine, 2, builder, NULL, &problem) == 0 ? 42 : 1);
    }
    int status = 0;
    cr_assert(waitpid(child, &status, 0) == child);
    bool const ended = WIFEXITED(status) && WEXITSTATUS(status) == 42;
    cr_assert(ended);
}

static void expect_state(const struct place *place, uint64_t seq, const char *value) {
    struct state_store *const store = open_store(place);
    struct bench b;
    bench_over(&b, store);
    cr_assert(state_store_checkpoint(store)->seq == seq);
    expect_ok(&b, "kv.get a", value);
    bench_free(&b);
    state_store_close(store);
}

Test(store, process_ends_before_the_commit) {
    struct place const place = place_new();
    make_first(&place);
    write_and_end(&place, build_exit);
    expect_state(&place, 1, "1");
    place_remove(&place);
}

Test(store, process_ends_after_the_commit) {
    struct place const place = place_new();
    make_first(&place);
    write_and_end(&place, build_root);
    expect_state(&place, 2, "2");
    place_remove(&place);
}

struct copier {
    const struct place *from;
    const struct place *to;
};

static bool build_copy(void *context, struct buffer *out, const struct digest *root,
                       uint64_t count) {
    static uint8_t bytes[FILE_SIZE_MAX];
    const struct copier *const copier = context;
    write_data(copier->to, bytes, read_data(copier->from, bytes));
    return build_root(NULL, out, root, count);
}

/* The file as it is before the commit, with the changes applied, holds the checkpoint before. */
Test(store, file_before_the_commit) {
    struct place const place = place_new();
    struct place const other = place_new();
    struct copier copier = {&place, &other};
    struct problem problem = {.code = EXIT_OK};
    make_first(&place);
    struct state_store *const store = open_store(&place);
    struct bench b;
    bench_over(&b, store);
    expect_ok(&b, "kv.put a 2", "");
    cut_and_settle(&b, 2);
    cr_assert(state_store_write(store, b.engine, 2, build_copy, &copier, &problem) == 0);
    bench_free(&b);
    state_store_close(store);
    expect_state(&other, 1, "1");
    expect_state(&place, 2, "2");
    place_remove(&place);
    place_remove(&other);
}

/* ---- what cannot be written ---- */

static bool build_nothing(void *context, struct buffer *out, const struct digest *root,
                          uint64_t count) {
    (void)context;
    (void)out;
    (void)root;
    (void)count;
    return false;
}

Test(store, builder_gives_up) {
    struct place const place = place_new();
    make_first(&place);
    struct state_store *const store = open_store(&place);
    struct problem problem = {.code = EXIT_OK};
    struct bench b;
    bench_over(&b, store);
    expect_ok(&b, "kv.put a 2", "");
    cut_and_settle(&b, 2);
    cr_assert(state_store_write(store, b.engine, 2, build_nothing, NULL, &problem) == -1);
    cr_assert(problem.code == EXIT_ERROR);
    problem.code = EXIT_OK;
    cr_assert(state_store_refresh(store, &problem) == 0);
    cr_assert(state_store_checkpoint(store)->seq == 1);
    cr_assert(state_store_write(store, b.engine, 2, build_root, NULL, &problem) == 0);
    bench_free(&b);
    state_store_close(store);
    expect_state(&place, 2, "2");
    place_remove(&place);
}

static void fill_with_values(struct bench *bench, unsigned count) {
    static const uint8_t value[VALUE_SIZE_MAX] = {1};
    for (unsigned i = 0; i < count; i++) {
        struct call call = {.procedure = span_text("kv.put"), .argument_count = 2};
        char name[16];
        (void)snprintf(name, sizeof name, "large%u", i);
        call.arguments[0] = span_text(name);
        call.arguments[1] = span_of(value, sizeof value);
        execute_calls(bench, REQUEST_INDEPENDENT, 1, &call);
    }
}

/* A file that may not grow stands in for a disk that is full. */
Test(store, full_disk) {
    struct place const place = place_new();
    make_first(&place);
    struct state_store *const store = open_store(&place);
    struct problem problem = {.code = EXIT_OK};
    struct rlimit limit;
    struct bench b;
    bench_over(&b, store);
    fill_with_values(&b, 40);
    expect_ok(&b, "kv.put a 2", "");
    cut_and_settle(&b, 2);
    cr_assert(signal(SIGXFSZ, SIG_IGN) != SIG_ERR && getrlimit(RLIMIT_FSIZE, &limit) == 0);
    rlim_t const before = limit.rlim_cur;
    limit.rlim_cur = 1u << 19;
    cr_assert(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    cr_assert(state_store_write(store, b.engine, 2, build_root, NULL, &problem) == -1);
    cr_assert(problem.code == EXIT_ERROR, "%s", problem.text);
    limit.rlim_cur = before;
    problem.code = EXIT_OK;
    cr_assert(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    cr_assert(state_store_refresh(store, &problem) == 0);
    cr_assert(state_store_checkpoint(store)->seq == 1);
    cr_assert(state_store_write(store, b.engine, 2, build_root, NULL, &problem) == 0);
    bench_free(&b);
    state_store_close(store);
    expect_state(&place, 2, "2");
    place_remove(&place);
}

/* ---- what cannot be opened ---- */

Test(store, wrong_service) {
    struct place const place = place_new();
    struct digest const other = {{8}};
    make_first(&place);
    expect_problem(&place, &other, EXIT_ERROR);
    expect_state(&place, 1, "1");
    place_remove(&place);
}

Test(store, not_a_store) {
    static const uint8_t bytes[8192] = {1};
    struct place const place = place_new();
    write_data(&place, bytes, sizeof bytes);
    expect_problem(&place, &calls_service, EXIT_CORRUPT);
    place_remove(&place);
}

Test(store, missing_directory) {
    struct place const place = {.directory = "/nowhere/at/all"};
    expect_problem(&place, &calls_service, EXIT_ERROR);
}

static void make_large(const struct place *place) {
    struct state_store *const store = open_store(place);
    struct bench b;
    bench_over(&b, store);
    for (unsigned i = 0; i < 2000; i++) {
        char text[64];
        (void)snprintf(text, sizeof text, "kv.put key%04u value%04u", i, i);
        expect_ok(&b, text, "");
    }
    fill_with_values(&b, 2);
    checkpoint(store, &b, 1);
    bench_free(&b);
    state_store_close(store);
}

/* Every value and the snapshot are under a digest. */
Test(store, flipped_bytes) {
    static uint8_t bytes[FILE_SIZE_MAX];
    static const char *const wanted[] = {"value0000", "value1999", "k/key1000", "snapshot of "};
    struct place const place = place_new();
    make_large(&place);
    size_t const size = read_data(&place, bytes);
    for (unsigned i = 0; i < 4; i++) {
        uint8_t *const found = memmem(bytes, size, wanted[i], strlen(wanted[i]));
        cr_assert(found != NULL);
        found[strlen(wanted[i]) - 1] ^= 1;
        write_data(&place, bytes, size);
        expect_problem(&place, &calls_service, EXIT_CORRUPT);
        found[strlen(wanted[i]) - 1] ^= 1;
    }
    write_data(&place, bytes, size);
    struct state_store *const store = open_store(&place);
    cr_assert(state_store_checkpoint(store)->count == 2002);
    state_store_close(store);
    place_remove(&place);
}

/* LMDB itself dies of some of these. */
Test(store, truncated) {
    static uint8_t bytes[FILE_SIZE_MAX];
    struct place const place = place_new();
    make_large(&place);
    size_t const size = read_data(&place, bytes);
    for (size_t pages = 2; pages < size / 4096; pages += 3) {
        write_data(&place, bytes, pages * 4096);
        expect_problem(&place, &calls_service, EXIT_CORRUPT);
    }
    place_remove(&place);
}

/* Whatever bit of a page's header flips, the store opens with its state, or says why not. */
Test(store, flipped_structure) {
    static uint8_t bytes[FILE_SIZE_MAX];
    struct place const place = place_new();
    unsigned refused = 0;
    make_large(&place);
    size_t const size = read_data(&place, bytes);
    for (size_t at = 2 * 4096 + 8; at < size; at += 4096 + 1) {
        struct problem problem = {.code = EXIT_OK};
        uint8_t const bit = (uint8_t)(1u << at % 8);
        bytes[at] ^= bit;
        write_data(&place, bytes, size);
        bytes[at] ^= bit;
        struct state_store *const store =
            state_store_open(place.directory, &calls_service, &problem);
        refused += store == NULL;
        cr_assert(store != NULL || problem.code == EXIT_CORRUPT, "%s", problem.text);
        cr_assert(store == NULL || state_store_checkpoint(store)->count == 2002);
        state_store_close(store);
    }
    cr_assert(refused > 4);
    place_remove(&place);
}
