/*
 * store_fixture: see store_fixture.h.
 */
#include "tests/unit/store_fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- directories and files ---- */

struct place place_new(void) {
    struct place place;
    const char *const parent = getenv("TMPDIR");
    (void)snprintf(place.directory, sizeof place.directory, "%s/onus-store-XXXXXX",
                   parent == NULL ? "/tmp" : parent);
    cr_assert(mkdtemp(place.directory) != NULL);
    return place;
}

void place_path(const struct place *place, char path[static 320], const char *name) {
    (void)snprintf(path, 320, "%s/state%s", place->directory, name);
}

void place_remove(const struct place *place) {
    char path[320];
    static const char *const names[] = {"/data.mdb", "/lock.mdb"};
    for (unsigned i = 0; i < 2; i++) {
        place_path(place, path, names[i]);
        (void)unlink(path);
    }
    place_path(place, path, "");
    (void)rmdir(path);
    cr_assert(rmdir(place->directory) == 0);
}

size_t read_data(const struct place *place, uint8_t *bytes) {
    char path[320];
    place_path(place, path, "/data.mdb");
    FILE *const file = fopen(path, "rb");
    cr_assert(file != NULL);
    size_t const size = fread(bytes, 1, FILE_SIZE_MAX, file);
    cr_assert(size < FILE_SIZE_MAX && fclose(file) == 0);
    return size;
}

void write_data(const struct place *place, const uint8_t *bytes, size_t size) {
    char path[320];
    place_path(place, path, "");
    (void)mkdir(path, 0700);
    place_path(place, path, "/data.mdb");
    FILE *const file = fopen(path, "wb");
    cr_assert(file != NULL);
    cr_assert(fwrite(bytes, 1, size, file) == size && fclose(file) == 0);
}

/* ---- a store under an engine ---- */

struct state_store *open_store(const struct place *place) {
    struct problem problem = {.code = EXIT_OK};
    struct state_store *const store = state_store_open(place->directory, &calls_service, &problem);
    cr_assert(store != NULL, "%s", problem.text);
    return store;
}

bool build_root(void *context, struct buffer *out, const struct digest *root, uint64_t count) {
    (void)context;
    uint8_t text[8];
    store_u64_be(text, count);
    return buffer_append(out, span_text("snapshot of ")) &&
           buffer_append(out, span_of(root->bytes, DIGEST_SIZE)) &&
           buffer_append(out, span_of(text, sizeof text));
}

bool hash_visitor(void *context, struct span key, struct span value, bool deleted) {
    cr_assert(!deleted);
    state_hasher_add(context, key, value);
    return true;
}

struct digest engine_root(struct bench *bench, uint64_t seq) {
    struct state_hasher hasher;
    state_hasher_init(&hasher);
    cr_assert(engine_visit_state(bench->engine, seq, hash_visitor, &hasher));
    return state_hasher_final(&hasher);
}

void cut_and_settle(struct bench *bench, uint64_t seq) {
    engine_cut(bench->engine, seq);
    engine_settle(bench->engine, engine_mark(bench->engine));
}

/* A whole checkpoint, as loop and checkpoint thread make it. */
void checkpoint(struct state_store *store, struct bench *bench, uint64_t seq) {
    struct problem problem = {.code = EXIT_OK};
    cut_and_settle(bench, seq);
    struct digest const root = engine_root(bench, seq);
    cr_assert(state_store_write(store, bench->engine, seq, build_root, NULL, &problem) == 0);
    cr_assert(state_store_refresh(store, &problem) == 0);
    engine_absorb(bench->engine, seq);
    const struct state_checkpoint *const now = state_store_checkpoint(store);
    cr_assert(now->present && now->seq == seq && digest_equal(&now->root, &root));
    cr_assert(now->snapshot.size == 12 + DIGEST_SIZE + 8);
    cr_assert(memcmp(now->snapshot.data + 12, root.bytes, DIGEST_SIZE) == 0);
}

void bench_over(struct bench *bench, struct state_store *store) {
    struct state_base const base = state_store_base(store);
    bench_init(bench, &base);
}
