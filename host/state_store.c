/*
 * state_store: see state_store.h. Two LMDB databases in one environment: "items", the state as it
 * is, and "about", with two records:
 *
 *   "service"     u32be format, then the service id
 *   "checkpoint"  u64be seq, u64be count, root, SHA-256 of all other bytes of the record, then the
 *                 caller's snapshot
 *
 * LMDB copies on write: what a commit has not reached is never seen, whenever the process ends.
 */
#include "host/state_store.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "base/limits.h"
#include "host/state_store_internal.h"

#define FORMAT 1u
#define RECORD_HEADER_SIZE (8u + 8u + DIGEST_SIZE + DIGEST_SIZE)
#define REBUILD "remove this directory, and the replica rebuilds it from its ledger"

static_assert(sizeof(size_t) >= 8, "the map needs 64-bit addresses");

int state_store_explain(const struct state_store *store, struct problem *problem, const char *doing,
                        int error) {
    switch (error) {
    case MDB_MAP_FULL:
        return problem_set(problem, EXIT_ERROR, "%s: %s: the state has outgrown %u GiB",
                           store->path, doing, (unsigned)(STATE_MAP_SIZE >> 30));
    case MDB_INVALID:
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
        return problem_set(problem, EXIT_CORRUPT, "%s/data.mdb: %s: %s; " REBUILD, store->path,
                           doing, mdb_strerror(error));
    case MDB_VERSION_MISMATCH:
        return problem_set(problem, EXIT_ERROR, "%s: written by another version of LMDB; " REBUILD,
                           store->path);
    case ENOSPC:
    case EDQUOT:
        return problem_set(problem, EXIT_ERROR, "%s: %s: the disk is full; free some space",
                           store->path, doing);
    default:
        return problem_set(problem, EXIT_ERROR, "%s: %s: %s", store->path, doing,
                           mdb_strerror(error));
    }
}

int state_store_damaged(const struct state_store *store, struct problem *problem,
                        const char *what) {
    return problem_set(problem, EXIT_CORRUPT, "%s/data.mdb: %s; " REBUILD, store->path, what);
}

/* LMDB found damage where it can only abort: end with the code that says so. */
static void on_assert(MDB_env *env, const char *text) {
    const struct state_store *const store = mdb_env_get_userctx(env);
    if (!store->on_trial) {
        (void)fprintf(stderr, "%s/data.mdb: damaged (%s); " REBUILD "\n", store->path, text);
    }
    _exit(EXIT_CORRUPT);
}

/* ---- records --------------------------------------------------------------------------------- */

static struct digest record_digest(const uint8_t header[static RECORD_HEADER_SIZE],
                                   struct span snapshot) {
    struct hash_state state;
    hash_init(&state);
    hash_update(&state, span_of(header, RECORD_HEADER_SIZE - DIGEST_SIZE));
    hash_update(&state, snapshot);
    return hash_final(&state);
}

/* Read a transaction's checkpoint. Does not hash the snapshot: see verify. */
static int read_checkpoint(const struct state_store *store, MDB_txn *txn,
                           struct state_checkpoint *checkpoint, struct problem *problem) {
    MDB_val key = state_to_val(span_text("checkpoint"));
    MDB_val value;
    *checkpoint = (struct state_checkpoint){.present = false};
    int const error = mdb_get(txn, store->about, &key, &value);
    if (error == MDB_NOTFOUND) {
        return 0;
    }
    if (error != 0) {
        return state_store_explain(store, problem, "reading the checkpoint", error);
    }
    if (value.mv_size < RECORD_HEADER_SIZE) {
        return state_store_damaged(store, problem, "the checkpoint record is too short");
    }
    const uint8_t *const bytes = value.mv_data;
    checkpoint->present = true;
    checkpoint->seq = load_u64_be(bytes);
    checkpoint->count = load_u64_be(bytes + 8);
    memcpy(checkpoint->root.bytes, bytes + 16, DIGEST_SIZE);
    checkpoint->snapshot = span_of(bytes + RECORD_HEADER_SIZE, value.mv_size - RECORD_HEADER_SIZE);
    return 0;
}

int state_store_put_checkpoint(const struct state_store *store, MDB_txn *txn,
                               const struct state_checkpoint *checkpoint, struct problem *problem) {
    uint8_t header[RECORD_HEADER_SIZE];
    store_u64_be(header, checkpoint->seq);
    store_u64_be(header + 8, checkpoint->count);
    memcpy(header + 16, checkpoint->root.bytes, DIGEST_SIZE);
    struct digest const digest = record_digest(header, checkpoint->snapshot);
    memcpy(header + 16 + DIGEST_SIZE, digest.bytes, DIGEST_SIZE);
    MDB_val key = state_to_val(span_text("checkpoint"));
    MDB_val place = {.mv_size = RECORD_HEADER_SIZE + checkpoint->snapshot.size};
    int const error = mdb_put(txn, store->about, &key, &place, MDB_RESERVE);
    if (error != 0) {
        return state_store_explain(store, problem, "writing the checkpoint", error);
    }
    uint8_t *const out = place.mv_data;
    memcpy(out, header, RECORD_HEADER_SIZE);
    if (checkpoint->snapshot.size != 0) {
        memcpy(out + RECORD_HEADER_SIZE, checkpoint->snapshot.data, checkpoint->snapshot.size);
    }
    return 0;
}

/* ---- walking --------------------------------------------------------------------------------- */

static int visit_items(const struct state_store *store, MDB_txn *txn, state_visitor visitor,
                       void *context, struct problem *problem) {
    MDB_cursor *cursor = NULL;
    MDB_val key;
    MDB_val value;
    int error = mdb_cursor_open(txn, store->items, &cursor);
    if (error != 0) {
        return state_store_explain(store, problem, "reading the state", error);
    }
    error = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
    while (error == 0 && visitor(context, state_from_val(key), state_from_val(value), false)) {
        error = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    }
    mdb_cursor_close(cursor);
    if (error != 0 && error != MDB_NOTFOUND) {
        return state_store_explain(store, problem, "reading the state", error);
    }
    return 0;
}

static bool hash_visitor(void *context, struct span key, struct span value, bool deleted) {
    CHECK(!deleted);
    state_hasher_add(context, key, value);
    return true;
}

static int hash_items(const struct state_store *store, MDB_txn *txn,
                      struct state_checkpoint *checkpoint, struct problem *problem) {
    struct state_hasher hasher;
    state_hasher_init(&hasher);
    if (visit_items(store, txn, hash_visitor, &hasher, problem) != 0) {
        return -1;
    }
    checkpoint->count = hasher.count;
    checkpoint->root = state_hasher_final(&hasher);
    return 0;
}

int state_store_visit(struct state_store *store, struct state_checkpoint *checkpoint,
                      state_visitor visitor, void *context, struct problem *problem) {
    MDB_txn *txn = NULL;
    int const error = mdb_txn_begin(store->env, NULL, MDB_RDONLY, &txn);
    if (error != 0) {
        return state_store_explain(store, problem, "reading the state", error);
    }
    int result = read_checkpoint(store, txn, checkpoint, problem);
    checkpoint->snapshot = span_of(NULL, 0);
    if (result == 0) {
        result = visit_items(store, txn, visitor, context, problem);
    }
    mdb_txn_abort(txn);
    return result;
}

/* ---- opening --------------------------------------------------------------------------------- */

static int name_directory(struct state_store *store, const char *data_directory,
                          struct problem *problem) {
    int const size = snprintf(store->path, sizeof store->path, "%s/state", data_directory);
    if (size < 0 || (size_t)size >= sizeof store->path) {
        return problem_set(problem, EXIT_ERROR, "%s: the path is too long", data_directory);
    }
    return 0;
}

struct state_store *state_store_new(const char *data_directory, struct problem *problem) {
    struct state_store *const store = calloc(1, sizeof *store);
    if (store == NULL) {
        (void)problem_set(problem, EXIT_ERROR, "%s: out of memory", data_directory);
        return NULL;
    }
    CHECK(pthread_mutex_init(&store->mutex, NULL) == 0); /* without attributes it cannot fail */
    if (name_directory(store, data_directory, problem) != 0) {
        state_store_close(store);
        return NULL;
    }
    return store;
}

static int make_directory(const struct state_store *store, struct problem *problem) {
    if (mkdir(store->path, 0700) != 0 && errno != EEXIST) {
        return state_store_explain(store, problem, "making the directory", errno);
    }
    return 0;
}

static int open_environment(struct state_store *store, struct problem *problem) {
    int stale = 0;
    int error = mdb_env_create(&store->env);
    if (error == 0) {
        error = mdb_env_set_mapsize(store->env, STATE_MAP_SIZE);
    }
    if (error == 0) {
        error = mdb_env_set_maxdbs(store->env, 2);
    }
    if (error == 0) {
        error = mdb_env_set_userctx(store->env, store);
    }
    if (error == 0) {
        error = mdb_env_set_assert(store->env, on_assert);
    }
    if (error == 0) {
        error = mdb_env_open(store->env, store->path, MDB_NOTLS | MDB_NORDAHEAD, 0600);
    }
    if (error == 0) {
        error = mdb_reader_check(store->env, &stale);
    }
    return error == 0 ? 0 : state_store_explain(store, problem, "opening", error);
}

/* Write the service record into a fresh store, or compare it. */
static int check_service(struct state_store *store, MDB_txn *txn, const struct digest *service,
                         struct problem *problem) {
    uint8_t expected[4 + DIGEST_SIZE];
    store_u32_be(expected, FORMAT);
    memcpy(expected + 4, service->bytes, DIGEST_SIZE);
    MDB_val key = state_to_val(span_text("service"));
    MDB_val value;
    int error = mdb_get(txn, store->about, &key, &value);
    if (error == MDB_NOTFOUND) {
        value = state_to_val(span_of(expected, sizeof expected));
        error = mdb_put(txn, store->about, &key, &value, 0);
        return error == 0 ? 0
                          : state_store_explain(store, problem, "writing the service id", error);
    }
    if (error != 0) {
        return state_store_explain(store, problem, "reading the service id", error);
    }
    if (value.mv_size != sizeof expected) {
        return state_store_damaged(store, problem, "the service record has the wrong size");
    }
    if (memcmp(value.mv_data, expected, 4) != 0) {
        return problem_set(problem, EXIT_ERROR, "%s: has another format than %u; " REBUILD,
                           store->path, FORMAT);
    }
    if (memcmp(value.mv_data, expected, sizeof expected) != 0) {
        char text[2 * DIGEST_SIZE + 1];
        hex_encode(text, span_of((const uint8_t *)value.mv_data + 4, DIGEST_SIZE));
        return problem_set(problem, EXIT_ERROR,
                           "%s: holds the state of service %s, not of this one; give each replica "
                           "its own data directory",
                           store->path, text);
    }
    return 0;
}

static int open_databases(struct state_store *store, const struct digest *service,
                          struct problem *problem) {
    MDB_txn *txn = NULL;
    int error = mdb_txn_begin(store->env, NULL, 0, &txn);
    if (error != 0) {
        return state_store_explain(store, problem, "opening", error);
    }
    error = mdb_dbi_open(txn, "items", MDB_CREATE, &store->items);
    if (error == 0) {
        error = mdb_dbi_open(txn, "about", MDB_CREATE, &store->about);
    }
    if (error != 0) {
        mdb_txn_abort(txn);
        return state_store_explain(store, problem, "opening", error);
    }
    if (check_service(store, txn, service, problem) != 0) {
        mdb_txn_abort(txn);
        return -1;
    }
    error = mdb_txn_commit(txn);
    return error == 0 ? 0 : state_store_explain(store, problem, "opening", error);
}

int state_store_open_files(struct state_store *store, const struct digest *service,
                           struct problem *problem) {
    if (make_directory(store, problem) != 0 || open_environment(store, problem) != 0) {
        return -1;
    }
    return open_databases(store, service, problem);
}

/* ---- views ----------------------------------------------------------------------------------- */

/* Begin a view that is not live on the last commit. */
static int view_begin(const struct state_store *store, struct state_view *view,
                      struct problem *problem) {
    CHECK(!view->live);
    int error = view->txn == NULL ? mdb_txn_begin(store->env, NULL, MDB_RDONLY, &view->txn)
                                  : mdb_txn_renew(view->txn);
    if (error != 0) {
        return state_store_explain(store, problem, "reading the state", error);
    }
    error = view->cursor == NULL ? mdb_cursor_open(view->txn, store->items, &view->cursor)
                                 : mdb_cursor_renew(view->txn, view->cursor);
    int const result = error == 0 ? read_checkpoint(store, view->txn, &view->checkpoint, problem)
                                  : state_store_explain(store, problem, "reading the state", error);
    if (result == 0) {
        view->live = true;
    } else {
        mdb_txn_reset(view->txn);
    }
    return result;
}

void state_view_release(struct state_store *store, struct state_view *view) {
    if (view != NULL && view != store->now && view != store->previous && view != store->pinned) {
        mdb_txn_reset(view->txn);
        view->live = false;
    }
}

static struct state_view *view_spare(struct state_store *store) {
    unsigned i = 0;
    while (i < VIEWS_MAX && store->views[i].live) {
        i++;
    }
    CHECK(i < VIEWS_MAX); /* three at most are live: see state_store_internal.h */
    return &store->views[i];
}

/*
 * Under the mutex: the last commit becomes `now`. What was `now`, if it is older, is `previous`;
 * unless `carried` names another one, since nobody will have signed for it then.
 */
static int move_on(struct state_store *store, const uint64_t *carried, struct problem *problem) {
    struct state_view *const next = view_spare(store);
    if (view_begin(store, next, problem) != 0) {
        return -1;
    }
    struct state_view *const now = store->now;
    struct state_view *const previous = store->previous;
    store->now = next;
    if (now != NULL && now->checkpoint.present && now->checkpoint.seq < next->checkpoint.seq &&
        (carried == NULL || *carried == now->checkpoint.seq)) {
        store->previous = now;
        state_view_release(store, previous);
    }
    state_view_release(store, now);
    return 0;
}

static void views_close(struct state_store *store) {
    for (unsigned i = 0; i < VIEWS_MAX; i++) {
        struct state_view *const view = &store->views[i];
        if (view->cursor != NULL) {
            mdb_cursor_close(view->cursor);
        }
        if (view->txn != NULL) {
            mdb_txn_abort(view->txn);
        }
    }
}

/* ---- verifying ------------------------------------------------------------------------------- */

/* Is everything what the last commit said it is? */
static int verify(const struct state_store *store, struct problem *problem) {
    const struct state_checkpoint *const claimed = &store->now->checkpoint;
    struct state_checkpoint found = {.present = false};
    if (hash_items(store, store->now->txn, &found, problem) != 0) {
        return -1;
    }
    if (!claimed->present) {
        return found.count == 0 ? 0
                                : state_store_damaged(store, problem, "items without a checkpoint");
    }
    const uint8_t *const header = claimed->snapshot.data - RECORD_HEADER_SIZE;
    struct digest const digest = record_digest(header, claimed->snapshot);
    if (memcmp(header + 16 + DIGEST_SIZE, digest.bytes, DIGEST_SIZE) != 0) {
        return state_store_damaged(store, problem,
                                   "the checkpoint record does not match its digest");
    }
    if (found.count != claimed->count || !digest_equal(&found.root, &claimed->root)) {
        return state_store_damaged(store, problem, "the state does not match its root");
    }
    return 0;
}

static int open_store(struct state_store *store, const struct digest *service,
                      struct problem *problem) {
    return state_store_open_files(store, service, problem) != 0 ? -1
                                                                : move_on(store, NULL, problem);
}

/* The child's part of a trial. It dies silently; nothing it inherited is closed or flushed. */
_Noreturn static void run_trial(struct state_store *store, const struct digest *service, int out,
                                pid_t parent) {
    struct problem problem = {.code = EXIT_OK};
    static const struct rlimit no_core = {.rlim_cur = 0};
    store->on_trial = true;
    /* It inherited the parent's locks of directories, and must not keep them when that is gone. */
    int const bound = prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) {
        _exit(EXIT_ERROR);
    }
    if (bound != 0 || signal(SIGSEGV, SIG_DFL) == SIG_ERR || signal(SIGBUS, SIG_DFL) == SIG_ERR ||
        setrlimit(RLIMIT_CORE, &no_core) != 0) {
        (void)state_store_explain(store, &problem, "opening", errno);
    } else if (open_store(store, service, &problem) == 0) {
        (void)verify(store, &problem);
    }
    _exit(write(out, &problem, sizeof problem) == (ssize_t)sizeof problem ? EXIT_OK : EXIT_ERROR);
}

/* Take over what the child found; a child that ended without a word met damage. */
static int end_trial(const struct state_store *store, pid_t child, int in,
                     struct problem *problem) {
    struct problem found;
    ssize_t size = 0;
    do {
        size = read(in, &found, sizeof found);
    } while (size < 0 && errno == EINTR);
    int status = 0;
    pid_t ended = 0;
    do {
        ended = waitpid(child, &status, 0);
    } while (ended < 0 && errno == EINTR);
    if (size != (ssize_t)sizeof found || ended != child) {
        return state_store_damaged(store, problem, "the file is damaged");
    }
    found.text[sizeof found.text - 1] = '\0';
    return found.code == EXIT_OK ? 0 : problem_set(problem, found.code, "%s", found.text);
}

/*
 * Open and verify in a child process first: LMDB trusts its file, and a damaged or shortened one
 * can make it touch memory that is not there. Then the child dies of it, and not the replica.
 */
static int hold_trial(struct state_store *store, const struct digest *service,
                      struct problem *problem) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return state_store_explain(store, problem, "opening", errno);
    }
    pid_t const parent = getpid();
    pid_t const child = fork();
    if (child == 0) {
        run_trial(store, service, ends[1], parent);
    }
    int result = child < 0 ? state_store_explain(store, problem, "opening", errno) : 0;
    (void)close(ends[1]);
    if (result == 0) {
        result = end_trial(store, child, ends[0], problem);
    }
    (void)close(ends[0]);
    return result;
}

struct state_store *state_store_open(const char *data_directory, const struct digest *service,
                                     struct problem *problem) {
    struct state_store *const store = state_store_new(data_directory, problem);
    if (store == NULL) {
        return NULL;
    }
    if (make_directory(store, problem) != 0 || hold_trial(store, service, problem) != 0 ||
        open_store(store, service, problem) != 0) {
        state_store_close(store);
        return NULL;
    }
    return store;
}

void state_store_close(struct state_store *store) {
    if (store == NULL) {
        return;
    }
    CHECK(store->pinned == NULL); /* a snapshot must not outlive its store */
    views_close(store);
    if (store->env != NULL) {
        mdb_env_close(store->env);
    }
    CHECK(pthread_mutex_destroy(&store->mutex) == 0); /* nobody holds it */
    free(store);
}

/* ---- the loop's snapshot --------------------------------------------------------------------- */

static int base_result(struct state_store *store, int error, MDB_val value, struct span *out) {
    if (error == MDB_NOTFOUND) {
        return 0;
    }
    if (error != 0) {
        return state_store_explain(store, &store->failure, "reading the state", error);
    }
    *out = state_from_val(value);
    return 1;
}

static int base_get(void *context, struct span key, struct span *value) {
    struct state_store *const store = context;
    MDB_val wanted = state_to_val(key);
    MDB_val found = {.mv_size = 0};
    int const error = mdb_get(store->now->txn, store->items, &wanted, &found);
    return base_result(store, error, found, value);
}

/* LMDB has no empty keys: the first key of all is the first not less than the empty one. */
static int base_seek(void *context, struct span key, struct span *found_key, struct span *value) {
    struct state_store *const store = context;
    MDB_val place = state_to_val(key);
    MDB_val found = {.mv_size = 0};
    MDB_cursor_op const how = key.size == 0 ? MDB_FIRST : MDB_SET_RANGE;
    int const error = mdb_cursor_get(store->now->cursor, &place, &found, how);
    int const result = base_result(store, error, found, value);
    if (result == 1) {
        *found_key = state_from_val(place);
    }
    return result;
}

struct state_base state_store_base(struct state_store *store) {
    return (struct state_base){.context = store, .get = base_get, .seek = base_seek};
}

const struct problem *state_store_failure(const struct state_store *store) {
    return &store->failure;
}

const struct state_checkpoint *state_store_checkpoint(const struct state_store *store) {
    return &store->now->checkpoint;
}

int state_store_refresh(struct state_store *store, struct problem *problem) {
    CHECK(pthread_mutex_lock(&store->mutex) == 0);
    int const result = move_on(store, NULL, problem);
    CHECK(pthread_mutex_unlock(&store->mutex) == 0);
    return result;
}

int state_store_refresh_carrying(struct state_store *store, uint64_t carried,
                                 struct problem *problem) {
    CHECK(pthread_mutex_lock(&store->mutex) == 0);
    int const result = move_on(store, &carried, problem);
    CHECK(pthread_mutex_unlock(&store->mutex) == 0);
    return result;
}

/* ---- writing --------------------------------------------------------------------------------- */

struct writer {
    MDB_cursor *cursor;
    int error;
};

/* Changes come in key order, so that the cursor mostly stays on its page. */
static bool apply_change(void *context, struct span key, struct span value, bool deleted) {
    struct writer *const writer = context;
    MDB_val wanted = state_to_val(key);
    MDB_val content = state_to_val(value);
    if (!deleted) {
        writer->error = mdb_cursor_put(writer->cursor, &wanted, &content, 0);
        return writer->error == 0;
    }
    writer->error = mdb_cursor_get(writer->cursor, &wanted, &content, MDB_SET);
    if (writer->error == 0) {
        writer->error = mdb_cursor_del(writer->cursor, 0);
    } else if (writer->error == MDB_NOTFOUND) {
        writer->error = 0; /* it came and went between two checkpoints */
    }
    return writer->error == 0;
}

static int apply_changes(const struct state_store *store, MDB_txn *txn, const struct engine *engine,
                         uint64_t seq, struct problem *problem) {
    struct writer writer = {.cursor = NULL};
    int const error = mdb_cursor_open(txn, store->items, &writer.cursor);
    if (error != 0) {
        return state_store_explain(store, problem, "writing the state", error);
    }
    bool const whole = engine_visit_changes(engine, seq, apply_change, &writer);
    mdb_cursor_close(writer.cursor);
    if (writer.error != 0) {
        return state_store_explain(store, problem, "writing the state", writer.error);
    }
    CHECK(whole); /* the caller made the cut */
    return 0;
}

/* Everything of a checkpoint but the commit. */
static int write_checkpoint(const struct state_store *store, MDB_txn *txn,
                            const struct engine *engine, struct state_checkpoint *checkpoint,
                            state_snapshot_builder builder, void *context,
                            struct problem *problem) {
    struct buffer snapshot;
    if (apply_changes(store, txn, engine, checkpoint->seq, problem) != 0 ||
        hash_items(store, txn, checkpoint, problem) != 0) {
        return -1;
    }
    buffer_init(&snapshot, SNAPSHOT_SIZE_MAX);
    int result = 0;
    if (!builder(context, &snapshot, &checkpoint->root, checkpoint->count) || snapshot.failed) {
        result = problem_set(problem, EXIT_ERROR, "%s: the checkpoint's snapshot was not made",
                             store->path);
    } else {
        checkpoint->snapshot = buffer_span(&snapshot);
        result = state_store_put_checkpoint(store, txn, checkpoint, problem);
    }
    buffer_free(&snapshot);
    return result;
}

int state_store_write(struct state_store *store, const struct engine *engine, uint64_t seq,
                      state_snapshot_builder builder, void *context, struct problem *problem) {
    MDB_txn *txn = NULL;
    struct state_checkpoint checkpoint = {.present = true, .seq = seq};
    int error = mdb_txn_begin(store->env, NULL, 0, &txn);
    if (error != 0) {
        return state_store_explain(store, problem, "writing the state", error);
    }
    if (write_checkpoint(store, txn, engine, &checkpoint, builder, context, problem) != 0) {
        mdb_txn_abort(txn);
        return -1;
    }
    error = mdb_txn_commit(txn);
    return error == 0 ? 0 : state_store_explain(store, problem, "committing the state", error);
}

static bool build_snapshot(void *context, struct buffer *out, const struct digest *root,
                           uint64_t count) {
    struct checkpoint_cut *const cut = context;
    cut->header.state_root = *root;
    cut->header.state_count = count;
    return checkpoint_cut_snapshot(out, cut, NULL);
}

int state_store_write_cut(struct state_store *store, const struct engine *engine,
                          struct checkpoint_cut *cut, struct problem *problem) {
    return state_store_write(store, engine, cut->header.seq, build_snapshot, cut, problem);
}
