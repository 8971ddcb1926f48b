/*
 * state_transfer: see state_transfer.h.
 *
 * Invariants: a snapshot's view stays live, so keys and values stay where they lie in LMDB's map;
 * `places` points there. Once indexed, the items are known to lead to the checkpoint's root. The
 * cursor stands on the first item of next_group, or anywhere when next_group is NOWHERE.
 *
 * A build holds one write transaction at a time. LMDB is told not to sync before the last one:
 * until the checkpoint's record is there, the store means nothing.
 */
#include "host/state_transfer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/limits.h"
#include "execution/state_parts.h"
#include "host/file.h"
#include "host/state_store_internal.h"

#define NOWHERE UINT64_MAX

/* ---- reading --------------------------------------------------------------------------------- */

struct state_snapshot {
    struct state_store *store;
    struct state_view *view;
    struct digest *digests; /* NULL until it is indexed */
    struct span *places;    /* the key of the first item of every STATE_PLACES_STEP-th group */
    uint64_t group_count;
    uint64_t next_group;
};

struct state_snapshot *state_snapshot_open(struct state_store *store, struct problem *problem) {
    struct state_snapshot *const snapshot = calloc(1, sizeof *snapshot);
    if (snapshot == NULL) {
        (void)problem_set(problem, EXIT_ERROR, "%s: out of memory", store->path);
        return NULL;
    }
    snapshot->store = store;
    snapshot->next_group = NOWHERE;
    CHECK(pthread_mutex_lock(&store->mutex) == 0);
    CHECK(store->pinned == NULL); /* one at a time: see state_transfer.h */
    store->pinned = store->previous;
    snapshot->view = store->pinned;
    CHECK(pthread_mutex_unlock(&store->mutex) == 0);
    if (snapshot->view == NULL) {
        free(snapshot);
        return NULL;
    }
    snapshot->group_count = state_group_count(snapshot->view->checkpoint.count);
    return snapshot;
}

void state_snapshot_close(struct state_snapshot *snapshot) {
    if (snapshot == NULL) {
        return;
    }
    struct state_store *const store = snapshot->store;
    CHECK(pthread_mutex_lock(&store->mutex) == 0);
    store->pinned = NULL;
    state_view_release(store, snapshot->view);
    CHECK(pthread_mutex_unlock(&store->mutex) == 0);
    free(snapshot->digests);
    free(snapshot->places);
    free(snapshot);
}

const struct state_checkpoint *state_snapshot_checkpoint(const struct state_snapshot *snapshot) {
    return &snapshot->view->checkpoint;
}

const struct digest *state_snapshot_digests(const struct state_snapshot *snapshot,
                                            uint64_t *count) {
    CHECK(snapshot->digests != NULL);
    *count = snapshot->group_count;
    return snapshot->digests;
}

/* An error of LMDB, or an end where there should be none. Returns: -1. */
static int read_failed(const struct state_snapshot *snapshot, int error, struct problem *problem) {
    return error == MDB_NOTFOUND || error == 0
               ? state_store_damaged(snapshot->store, problem, "the state does not match its root")
               : state_store_explain(snapshot->store, problem, "reading the state", error);
}

static int index_allocate(struct state_snapshot *snapshot, struct problem *problem) {
    uint64_t const places = snapshot->group_count / STATE_PLACES_STEP + 1;
    /* One more, since an empty state has no groups, and NULL means that there is no index. */
    snapshot->digests = calloc(snapshot->group_count + 1, sizeof *snapshot->digests);
    snapshot->places = calloc(places, sizeof *snapshot->places);
    if (snapshot->digests == NULL || snapshot->places == NULL) {
        return problem_set(problem, EXIT_ERROR, "%s: out of memory for %llu groups of the state",
                           snapshot->store->path, (unsigned long long)snapshot->group_count);
    }
    return 0;
}

/* At the first item of a group. */
static void place_note(struct state_snapshot *snapshot, uint64_t group, MDB_val key) {
    if (group % STATE_PLACES_STEP == 0) {
        snapshot->places[group / STATE_PLACES_STEP] = state_from_val(key);
    }
}

/* Returns: as state_snapshot_index. */
static int index_walk(struct state_snapshot *snapshot, bool (*stop)(void *context), void *context,
                      struct problem *problem) {
    const struct state_checkpoint *const checkpoint = &snapshot->view->checkpoint;
    struct state_grouper grouper;
    MDB_val key;
    MDB_val value;
    state_grouper_init(&grouper);
    int error = mdb_cursor_get(snapshot->view->cursor, &key, &value, MDB_FIRST);
    while (error == 0 && grouper.count < checkpoint->count) {
        uint64_t const group = grouper.count / STATE_GROUP_ITEMS;
        if (grouper.count % STATE_GROUP_ITEMS == 0) {
            place_note(snapshot, group, key);
            if (stop != NULL && stop(context)) {
                return 0;
            }
        }
        struct digest digest;
        if (state_grouper_add(&grouper, &digest, state_from_val(key), state_from_val(value))) {
            snapshot->digests[group] = digest;
        }
        error = mdb_cursor_get(snapshot->view->cursor, &key, &value, MDB_NEXT);
    }
    if (error != MDB_NOTFOUND || grouper.count != checkpoint->count) {
        return read_failed(snapshot, error, problem);
    }
    struct digest last;
    if (state_grouper_finish(&grouper, &last)) {
        snapshot->digests[snapshot->group_count - 1] = last;
    }
    return state_groups_hold(snapshot->digests, snapshot->group_count, checkpoint->count,
                             &checkpoint->root)
               ? 1
               : read_failed(snapshot, 0, problem);
}

int state_snapshot_index(struct state_snapshot *snapshot, bool (*stop)(void *context),
                         void *context, struct problem *problem) {
    CHECK(snapshot->digests == NULL);
    if (snapshot->group_count > JOIN_GROUPS_MAX) {
        return 0;
    }
    int result = index_allocate(snapshot, problem);
    if (result == 0) {
        result = index_walk(snapshot, stop, context, problem);
    }
    if (result != 1) {
        free(snapshot->digests);
        free(snapshot->places);
        snapshot->digests = NULL;
        snapshot->places = NULL;
    }
    return result;
}

/* Put the cursor on a group's first item. Values are not touched on the way: they may be large. */
static int cursor_place(struct state_snapshot *snapshot, uint64_t group, struct problem *problem) {
    if (snapshot->next_group == group) {
        return 0;
    }
    MDB_cursor *const cursor = snapshot->view->cursor;
    MDB_val key = state_to_val(snapshot->places[group / STATE_PLACES_STEP]);
    int error = mdb_cursor_get(cursor, &key, NULL, MDB_SET);
    uint64_t const skipped = group % STATE_PLACES_STEP * STATE_GROUP_ITEMS;
    for (uint64_t i = 0; error == 0 && i < skipped; i++) {
        error = mdb_cursor_get(cursor, &key, NULL, MDB_NEXT);
    }
    snapshot->next_group = error == 0 ? group : NOWHERE;
    return error == 0 ? 0 : read_failed(snapshot, error, problem);
}

/*
 * Visit the group under the cursor, and go on to the next. Out: size grows by its keys and values.
 * Returns: 0; -1 with a problem, or without one when the visitor stopped.
 */
static int group_visit(struct state_snapshot *snapshot, uint64_t *size, state_visitor visitor,
                       void *context, struct problem *problem) {
    MDB_cursor *const cursor = snapshot->view->cursor;
    uint64_t const group = snapshot->next_group;
    uint32_t const items = state_group_size(group, snapshot->view->checkpoint.count);
    MDB_val key;
    MDB_val value;
    snapshot->next_group = NOWHERE;
    int error = mdb_cursor_get(cursor, &key, &value, MDB_GET_CURRENT);
    for (uint32_t i = 0; i < items; i++) {
        if (error != 0) {
            return read_failed(snapshot, error, problem);
        }
        if (!visitor(context, state_from_val(key), state_from_val(value), false)) {
            return -1;
        }
        *size += key.mv_size + value.mv_size;
        error = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    }
    if (error != 0 && error != MDB_NOTFOUND) {
        return read_failed(snapshot, error, problem);
    }
    snapshot->next_group = error == 0 ? group + 1 : NOWHERE;
    return 0;
}

int64_t state_snapshot_read(struct state_snapshot *snapshot, const struct state_part *part,
                            state_visitor visitor, void *context, struct problem *problem) {
    CHECK(snapshot->digests != NULL && part->groups_max != 0);
    if (part->first_group >= snapshot->group_count) {
        return 0;
    }
    if (cursor_place(snapshot, part->first_group, problem) != 0) {
        return -1;
    }
    uint64_t const left = snapshot->group_count - part->first_group;
    uint64_t const most = left < part->groups_max ? left : part->groups_max;
    uint64_t groups = 0;
    uint64_t size = 0;
    do {
        if (group_visit(snapshot, &size, visitor, context, problem) != 0) {
            return -1;
        }
        groups++;
    } while (groups < most && size < part->size_soft_max);
    return (int64_t)groups;
}

/* ---- building -------------------------------------------------------------------------------- */

struct state_build {
    struct state_store *store;
    MDB_txn *txn; /* NULL: none is open */
    MDB_cursor *cursor;
    uint64_t size; /* bytes put since the last commit */
    struct state_hasher hasher;
    size_t last_key_size;
    uint8_t last_key[KEY_SIZE_MAX];
};

/* Close and free what is open, and leave the files. */
static void build_close(struct state_build *build) {
    if (build->txn != NULL) {
        mdb_txn_abort(build->txn); /* it closes the cursor of a write transaction */
    }
    state_store_close(build->store);
    free(build);
}

static int txn_begin(struct state_build *build, struct problem *problem) {
    int error = mdb_txn_begin(build->store->env, NULL, 0, &build->txn);
    if (error == 0) {
        error = mdb_cursor_open(build->txn, build->store->items, &build->cursor);
    }
    build->size = 0;
    return error == 0 ? 0 : state_store_explain(build->store, problem, "building the state", error);
}

static int txn_commit(struct state_build *build, struct problem *problem) {
    MDB_txn *const txn = build->txn;
    build->txn = NULL; /* it is gone in either case */
    int const error = mdb_txn_commit(txn);
    return error == 0 ? 0 : state_store_explain(build->store, problem, "building the state", error);
}

/* There must be nothing that could be taken for what is about to be built. */
static int expect_absent(const struct state_store *store, struct problem *problem) {
    char path[PATH_MAX + sizeof "/data.mdb"];
    struct stat status;
    (void)snprintf(path, sizeof path, "%s/data.mdb", store->path); /* has room */
    if (lstat(path, &status) == 0) {
        return problem_set(problem, EXIT_ERROR, "%s: exists already; remove it", path);
    }
    return errno == ENOENT || errno == ENOTDIR
               ? 0
               : state_store_explain(store, problem, "looking for an older state", errno);
}

struct state_build *state_build_open(const char *data_directory, const struct digest *service,
                                     struct problem *problem) {
    struct state_build *const build = calloc(1, sizeof *build);
    if (build == NULL) {
        (void)problem_set(problem, EXIT_ERROR, "%s: out of memory", data_directory);
        return NULL;
    }
    state_hasher_init(&build->hasher);
    build->store = state_store_new(data_directory, problem);
    if (build->store == NULL || expect_absent(build->store, problem) != 0) {
        build_close(build);
        return NULL;
    }
    if (state_store_open_files(build->store, service, problem) != 0) {
        state_build_discard(build);
        return NULL;
    }
    int const error = mdb_env_set_flags(build->store->env, MDB_NOSYNC, 1);
    if (error != 0) {
        (void)state_store_explain(build->store, problem, "building the state", error);
    }
    if (error != 0 || txn_begin(build, problem) != 0) {
        state_build_discard(build);
        return NULL;
    }
    return build;
}

static int refuse(const struct state_build *build, struct problem *problem, const char *why) {
    return problem_set(problem, EXIT_INVALID, "%s: item %llu: %s", build->store->path,
                       (unsigned long long)build->hasher.count, why);
}

int state_build_put(struct state_build *build, struct span key, struct span value,
                    struct problem *problem) {
    if (key.size == 0 || key.size > KEY_SIZE_MAX || value.size > VALUE_SIZE_MAX) {
        return refuse(build, problem, "a key or a value is outside its limits");
    }
    if (span_compare(span_of(build->last_key, build->last_key_size), key) >= 0) {
        return refuse(build, problem, "the keys do not ascend");
    }
    if (build->size >= STATE_BUILD_SIZE_MAX &&
        (txn_commit(build, problem) != 0 || txn_begin(build, problem) != 0)) {
        return -1;
    }
    CHECK(build->txn != NULL); /* after a problem there is no more to put */
    MDB_val wanted = state_to_val(key);
    MDB_val content = state_to_val(value);
    int const error = mdb_cursor_put(build->cursor, &wanted, &content, MDB_APPEND);
    if (error != 0) {
        return state_store_explain(build->store, problem, "building the state", error);
    }
    state_hasher_add(&build->hasher, key, value);
    memcpy(build->last_key, key.data, key.size);
    build->last_key_size = key.size;
    build->size += key.size + value.size;
    return 0;
}

/* Everything but the names. */
static int build_commit(struct state_build *build, const struct state_checkpoint *checkpoint,
                        struct problem *problem) {
    struct digest const root = state_hasher_final(&build->hasher);
    if (build->hasher.count != checkpoint->count || !digest_equal(&root, &checkpoint->root)) {
        return problem_set(problem, EXIT_INVALID,
                           "%s: %llu items were put that do not lead to the checkpoint's root",
                           build->store->path, (unsigned long long)build->hasher.count);
    }
    if (txn_commit(build, problem) != 0) {
        return -1;
    }
    /* What was not synced so far goes to the disk with the record that gives it its meaning. */
    int const error = mdb_env_set_flags(build->store->env, MDB_NOSYNC, 0);
    if (error != 0) {
        return state_store_explain(build->store, problem, "building the state", error);
    }
    if (txn_begin(build, problem) != 0 ||
        state_store_put_checkpoint(build->store, build->txn, checkpoint, problem) != 0) {
        return -1;
    }
    return txn_commit(build, problem);
}

static int names_sync(const struct state_build *build, struct problem *problem) {
    char inside[PATH_MAX + sizeof "/data.mdb"];
    (void)snprintf(inside, sizeof inside, "%s/data.mdb", build->store->path); /* has room */
    return file_sync_directory_of(inside, problem) != 0
               ? -1
               : file_sync_directory_of(build->store->path, problem);
}

int state_build_finish(struct state_build *build, const struct state_checkpoint *checkpoint,
                       struct problem *problem) {
    CHECK(checkpoint->present && checkpoint->snapshot.size <= SNAPSHOT_SIZE_MAX);
    if (build_commit(build, checkpoint, problem) != 0 || names_sync(build, problem) != 0) {
        state_build_discard(build);
        return -1;
    }
    build_close(build);
    return 0;
}

void state_build_discard(struct state_build *build) {
    if (build == NULL) {
        return;
    }
    static const char *const names[] = {"/data.mdb", "/lock.mdb"};
    char directory[PATH_MAX];
    memcpy(directory, build->store->path, sizeof directory);
    build_close(build);
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[PATH_MAX + sizeof "/data.mdb"];
        (void)snprintf(path, sizeof path, "%s%s", directory, names[i]); /* has room */
        (void)unlink(path);
    }
    (void)rmdir(directory);
}
