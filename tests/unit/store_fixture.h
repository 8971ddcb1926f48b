/*
 * store_fixture: for tests of stored states: a directory of its own, a store in it, and an engine
 * over the store whose checkpoints are made as the loop and the checkpoint thread make them.
 */
#ifndef ONUS_TESTS_UNIT_STORE_FIXTURE_H
#define ONUS_TESTS_UNIT_STORE_FIXTURE_H

#include "host/state_store.h"
#include "tests/unit/calls.h"

#define FILE_SIZE_MAX (1u << 22)

/* A data directory, which holds nothing but what a store makes. */
struct place {
    char directory[256];
};

struct place place_new(void);
/* The path of the store's directory, with `name` behind it. */
void place_path(const struct place *place, char path[static 320], const char *name);
/* Remove it; fails when something else is left there. */
void place_remove(const struct place *place);

/* The store's data file, of less than FILE_SIZE_MAX bytes. */
size_t read_data(const struct place *place, uint8_t *bytes);
void write_data(const struct place *place, const uint8_t *bytes, size_t size);

struct state_store *open_store(const struct place *place);
/* A state_snapshot_builder: a text, the root, the count. */
bool build_root(void *context, struct buffer *out, const struct digest *root, uint64_t count);
/* A state_visitor that feeds a state_hasher. */
bool hash_visitor(void *context, struct span key, struct span value, bool deleted);

/* An engine over the store's base. */
void bench_over(struct bench *bench, struct state_store *store);
void cut_and_settle(struct bench *bench, uint64_t seq);
struct digest engine_root(struct bench *bench, uint64_t seq);
/* A whole checkpoint, as loop and checkpoint thread make it. */
void checkpoint(struct state_store *store, struct bench *bench, uint64_t seq);

#endif
