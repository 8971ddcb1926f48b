/*
 * receipt_store: see receipt_store.h. A receipt's value is the digest of its certificate, then the
 * bundle. Beside the databases named there, "about" holds the format, the service id, the next
 * number and the highest index. Numbers are u64 big endian, so that LMDB keeps their order.
 *
 * A request that two programs sent is kept once: whoever comes second finds its id and adds
 * nothing.
 */
#include "host/receipt_store.h"

#include <errno.h>
#include <limits.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"

#define FORMAT "onus-receipts-v1"
#define READ_ARENA_SIZE (24u << 20)
#define WALK_SIZE_MAX ((size_t)1 << 20) /* bytes of values that stay in memory behind a walk */

static_assert(sizeof(size_t) >= 8, "the map needs 64-bit addresses");

struct receipt_store {
    MDB_env *env;
    MDB_dbi pending;
    MDB_dbi receipts;
    MDB_dbi ids;
    MDB_dbi certificates;
    MDB_dbi notes;
    MDB_dbi about;
    struct digest service;
    char path[PATH_MAX];
};

struct number_key {
    uint8_t bytes[8];
};

static MDB_val to_val(struct span bytes) {
    /* LMDB's values are not const, but it does not write through them. */
    return (MDB_val){.mv_size = bytes.size, .mv_data = (void *)(uintptr_t)bytes.data};
}

static struct span from_val(MDB_val value) {
    return span_of(value.mv_data, value.mv_size);
}

static MDB_val number_val(struct number_key *key, uint64_t number) {
    store_u64_be(key->bytes, number);
    return (MDB_val){.mv_size = sizeof key->bytes, .mv_data = key->bytes};
}

/* One line for an error of LMDB or of the system. Returns: -1. */
static int explain(const struct receipt_store *store, struct problem *problem, const char *doing,
                   int error) {
    switch (error) {
    case MDB_INVALID:
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
        return problem_set(problem, EXIT_CORRUPT, "%s/data.mdb: %s: %s; restore it from a backup",
                           store->path, doing, mdb_strerror(error));
    case ENOENT:
        return problem_set(problem, EXIT_ERROR, "%s: no receipts are kept here", store->path);
    case EACCES:
        return problem_set(problem, EXIT_ERROR, "%s: %s: permission denied; it must be yours",
                           store->path, doing);
    case ENOSPC:
    case EDQUOT:
        return problem_set(problem, EXIT_ERROR, "%s: %s: the disk is full; free some space",
                           store->path, doing);
    default:
        return problem_set(problem, EXIT_ERROR, "%s: %s: %s", store->path, doing,
                           mdb_strerror(error));
    }
}

static int damaged(const struct receipt_store *store, struct problem *problem, const char *what) {
    return problem_set(problem, EXIT_CORRUPT, "%s/data.mdb: %s; restore it from a backup",
                       store->path, what);
}

/* LMDB found damage where it can only abort: end with the code that says so. */
static void on_assert(MDB_env *env, const char *text) {
    const char *path = NULL;
    if (mdb_env_get_path(env, &path) != 0 || path == NULL) {
        path = "receipts";
    }
    (void)fprintf(stderr, "%s/data.mdb: damaged (%s); restore it from a backup\n", path, text);
    _exit(EXIT_CORRUPT);
}

/* ---- opening --------------------------------------------------------------------------------- */

bool receipt_store_exists(const char *directory) {
    char path[PATH_MAX];
    struct stat about;
    int const size = snprintf(path, sizeof path, "%s/data.mdb", directory);
    return size > 0 && (size_t)size < sizeof path && stat(path, &about) == 0 &&
           S_ISREG(about.st_mode);
}

static int open_databases(struct receipt_store *store, MDB_txn *txn, bool write) {
    unsigned const flags = write ? MDB_CREATE : 0;
    struct {
        const char *name;
        MDB_dbi *dbi;
    } const databases[] = {{"pending", &store->pending}, {"receipts", &store->receipts},
                           {"ids", &store->ids},         {"certificates", &store->certificates},
                           {"notes", &store->notes},     {"about", &store->about}};
    for (size_t i = 0; i < sizeof databases / sizeof databases[0]; i++) {
        int const error = mdb_dbi_open(txn, databases[i].name, flags, databases[i].dbi);
        if (error != 0) {
            return error;
        }
    }
    return 0;
}

static int check_about(struct receipt_store *store, MDB_txn *txn, bool write,
                       struct problem *problem) {
    uint8_t expected[sizeof FORMAT - 1 + DIGEST_SIZE];
    memcpy(expected, FORMAT, sizeof FORMAT - 1);
    memcpy(expected + sizeof FORMAT - 1, store->service.bytes, DIGEST_SIZE);
    MDB_val key = to_val(span_text("service"));
    MDB_val value;
    int error = mdb_get(txn, store->about, &key, &value);
    if (error == MDB_NOTFOUND && write) {
        value = to_val(span_of(expected, sizeof expected));
        error = mdb_put(txn, store->about, &key, &value, 0);
        return error == 0 ? 0 : explain(store, problem, "making it", error);
    }
    if (error != 0) {
        return explain(store, problem, "opening it", error);
    }
    if (value.mv_size != sizeof expected ||
        memcmp(value.mv_data, expected, sizeof FORMAT - 1) != 0) {
        return problem_set(problem, EXIT_ERROR, "%s: kept by another version of onus", store->path);
    }
    if (memcmp(value.mv_data, expected, sizeof expected) != 0) {
        return problem_set(problem, EXIT_ERROR,
                           "%s: keeps receipts of another service; use another context",
                           store->path);
    }
    return 0;
}

static int store_open_env(struct receipt_store *store, bool write) {
    int error = mdb_env_create(&store->env);
    if (error == 0) {
        error = mdb_env_set_assert(store->env, on_assert);
    }
    if (error == 0) {
        error = mdb_env_set_mapsize(store->env, RECEIPT_STORE_MAP_SIZE);
    }
    if (error == 0) {
        error = mdb_env_set_maxdbs(store->env, 6);
    }
    if (error != 0) {
        return error;
    }
    unsigned const flags = MDB_NOTLS | (write ? 0 : MDB_RDONLY);
    error = mdb_env_open(store->env, store->path, flags, 0600);
    if (!write && (error == EACCES || error == EROFS)) {
        /* Somebody else's, or on a read-only disk: then nobody writes while we read. */
        error = mdb_env_open(store->env, store->path, flags | MDB_NOLOCK, 0600);
    }
    return error;
}

static int store_open(struct receipt_store *store, bool write, struct problem *problem) {
    if (write && mkdir(store->path, 0700) != 0 && errno != EEXIST) {
        return explain(store, problem, "making the directory", errno);
    }
    int error = store_open_env(store, write);
    if (error != 0) {
        return explain(store, problem, "opening it", error);
    }
    MDB_txn *txn = NULL;
    error = mdb_txn_begin(store->env, NULL, write ? 0 : MDB_RDONLY, &txn);
    if (error != 0) {
        return explain(store, problem, "opening it", error);
    }
    error = open_databases(store, txn, write);
    if (error != 0) {
        mdb_txn_abort(txn);
        return error == MDB_NOTFOUND ? damaged(store, problem, "a database is missing")
                                     : explain(store, problem, "opening it", error);
    }
    if (check_about(store, txn, write, problem) != 0) {
        mdb_txn_abort(txn);
        return -1;
    }
    error = mdb_txn_commit(txn);
    return error == 0 ? 0 : explain(store, problem, "opening it", error);
}

struct receipt_store *receipt_store_open(const char *directory, const struct digest *service,
                                         enum receipt_store_mode mode, struct problem *problem) {
    struct receipt_store *const store = calloc(1, sizeof *store);
    if (store == NULL) {
        (void)problem_set(problem, EXIT_ERROR, "%s: out of memory", directory);
        return NULL;
    }
    store->service = *service;
    int const size = snprintf(store->path, sizeof store->path, "%s", directory);
    if (size < 0 || (size_t)size >= sizeof store->path) {
        (void)problem_set(problem, EXIT_ERROR, "%s: the path is too long", directory);
        free(store);
        return NULL;
    }
    if (store_open(store, mode == RECEIPT_STORE_WRITE, problem) != 0) {
        receipt_store_close(store);
        return NULL;
    }
    return store;
}

void receipt_store_close(struct receipt_store *store) {
    if (store == NULL) {
        return;
    }
    if (store->env != NULL) {
        mdb_env_close(store->env);
    }
    free(store);
}

/* ---- writing --------------------------------------------------------------------------------- */

static int get_counter(const struct receipt_store *store, MDB_txn *txn, const char *name,
                       uint64_t *out) {
    MDB_val key = to_val(span_text(name));
    MDB_val value;
    int const error = mdb_get(txn, store->about, &key, &value);
    *out = 0;
    if (error == MDB_NOTFOUND) {
        return 0;
    }
    if (error == 0 && value.mv_size != 8) {
        return MDB_CORRUPTED;
    }
    if (error == 0) {
        *out = load_u64_be(value.mv_data);
    }
    return error;
}

static int put_counter(const struct receipt_store *store, MDB_txn *txn, const char *name,
                       uint64_t number) {
    struct number_key encoded;
    MDB_val key = to_val(span_text(name));
    MDB_val value = number_val(&encoded, number);
    return mdb_put(txn, store->about, &key, &value, 0);
}

static int remove_pending(const struct receipt_store *store, MDB_txn *txn, uint64_t number) {
    struct number_key encoded;
    MDB_val key = number_val(&encoded, number);
    int const error = mdb_del(txn, store->pending, &key, NULL);
    return error == MDB_NOTFOUND ? 0 : error;
}

static int put_note(const struct receipt_store *store, MDB_txn *txn,
                    const struct receipt_change *change) {
    MDB_val key = to_val(change->key);
    if (change->note.size == 0) {
        int const error = mdb_del(txn, store->notes, &key, NULL);
        return error == MDB_NOTFOUND ? 0 : error;
    }
    MDB_val value = to_val(change->note);
    return mdb_put(txn, store->notes, &key, &value, 0);
}

static int put_pending(const struct receipt_store *store, MDB_txn *txn,
                       const struct receipt_change *change) {
    struct number_key encoded;
    MDB_val key = number_val(&encoded, change->number);
    MDB_val value = to_val(change->bytes);
    int const error = mdb_put(txn, store->pending, &key, &value, MDB_APPEND);
    return error == 0 && change->key.size != 0 ? put_note(store, txn, change) : error;
}

static int put_certificate(const struct receipt_store *store, MDB_txn *txn,
                           const struct receipt_change *change) {
    MDB_val key = to_val(span_of(change->certificate_digest->bytes, DIGEST_SIZE));
    MDB_val value = to_val(change->certificate);
    int const error = mdb_put(txn, store->certificates, &key, &value, MDB_NOOVERWRITE);
    return error == MDB_KEYEXIST ? 0 : error;
}

static int put_bundle(const struct receipt_store *store, MDB_txn *txn,
                      const struct receipt_change *change) {
    struct number_key encoded;
    MDB_val key = number_val(&encoded, change->number);
    MDB_val value = {.mv_size = DIGEST_SIZE + change->bytes.size};
    int const error = mdb_put(txn, store->receipts, &key, &value, MDB_RESERVE);
    if (error == 0) {
        uint8_t *const out = value.mv_data;
        memcpy(out, change->certificate_digest->bytes, DIGEST_SIZE);
        memcpy(out + DIGEST_SIZE, change->bytes.data, change->bytes.size);
    }
    return error;
}

static int put_receipts(const struct receipt_store *store, MDB_txn *txn,
                        const struct receipt_change *change) {
    struct number_key encoded;
    MDB_val key = to_val(span_of(change->request_id->bytes, DIGEST_SIZE));
    MDB_val value = number_val(&encoded, change->number);
    int error = mdb_put(txn, store->ids, &key, &value, MDB_NOOVERWRITE);
    if (error == 0) {
        error = put_certificate(store, txn, change);
        if (error == 0) {
            error = put_bundle(store, txn, change);
        }
    } else if (error == MDB_KEYEXIST) {
        error = 0;
    }
    return error == 0 ? remove_pending(store, txn, change->number) : error;
}

static int apply(const struct receipt_store *store, MDB_txn *txn,
                 const struct receipt_change *change) {
    switch (change->kind) {
    case RECEIPT_CHANGE_PENDING:
        return put_pending(store, txn, change);
    case RECEIPT_CHANGE_RECEIPTS:
    case RECEIPT_CHANGE_IMPORT:
        return put_receipts(store, txn, change);
    case RECEIPT_CHANGE_DISCARD:
        return remove_pending(store, txn, change->number);
    case RECEIPT_CHANGE_NOTE:
        return put_note(store, txn, change);
    }
    UNREACHABLE();
}

static int apply_all(const struct receipt_store *store, MDB_txn *txn,
                     struct receipt_change *changes, uint32_t count) {
    uint64_t number;
    uint64_t last_index;
    int error = get_counter(store, txn, "number", &number);
    if (error == 0) {
        error = get_counter(store, txn, "last-index", &last_index);
    }
    if (error != 0) {
        return error;
    }
    uint64_t const number_before = number;
    uint64_t const last_index_before = last_index;
    for (uint32_t i = 0; i < count && error == 0; i++) {
        struct receipt_change *const change = &changes[i];
        bool const is_import = change->kind == RECEIPT_CHANGE_IMPORT;
        if (is_import || change->kind == RECEIPT_CHANGE_PENDING) {
            change->number = ++number;
        }
        if ((is_import || change->kind == RECEIPT_CHANGE_RECEIPTS) &&
            change->last_index > last_index) {
            last_index = change->last_index;
        }
        error = apply(store, txn, change);
    }
    if (error == 0 && number != number_before) {
        error = put_counter(store, txn, "number", number);
    }
    if (error == 0 && last_index != last_index_before) {
        error = put_counter(store, txn, "last-index", last_index);
    }
    return error;
}

int receipt_store_commit(struct receipt_store *store, struct receipt_change *changes,
                         uint32_t count, struct problem *problem) {
    MDB_txn *txn = NULL;
    CHECK(count <= RECEIPT_STORE_CHANGES_MAX);
    int error = mdb_txn_begin(store->env, NULL, 0, &txn);
    if (error != 0) {
        return explain(store, problem, "writing", error);
    }
    error = apply_all(store, txn, changes, count);
    if (error != 0) {
        mdb_txn_abort(txn);
        return explain(store, problem, "writing", error);
    }
    error = mdb_txn_commit(txn);
    return error == 0 ? 0 : explain(store, problem, "writing", error);
}

/* ---- reading --------------------------------------------------------------------------------- */

static int read_begin(struct receipt_store *store, MDB_txn **txn, struct problem *problem) {
    int const error = mdb_txn_begin(store->env, NULL, MDB_RDONLY, txn);
    return error == 0 ? 0 : explain(store, problem, "reading", error);
}

int receipt_store_last_index(struct receipt_store *store, uint64_t *last_index,
                             struct problem *problem) {
    MDB_txn *txn = NULL;
    if (read_begin(store, &txn, problem) != 0) {
        return -1;
    }
    int const error = get_counter(store, txn, "last-index", last_index);
    mdb_txn_abort(txn);
    return error == 0 ? 0 : explain(store, problem, "reading", error);
}

int receipt_store_note(struct receipt_store *store, struct span key, struct buffer *note,
                       struct problem *problem) {
    MDB_txn *txn = NULL;
    if (read_begin(store, &txn, problem) != 0) {
        return -1;
    }
    MDB_val name = to_val(key);
    MDB_val value;
    int error = mdb_get(txn, store->notes, &name, &value);
    if (error == 0 && !buffer_append(note, from_val(value))) {
        error = ENOMEM;
    }
    mdb_txn_abort(txn);
    return error == 0 || error == MDB_NOTFOUND ? 0 : explain(store, problem, "reading", error);
}

/* What a walk over one database does with an item. */
typedef int (*item_visitor)(void *context, MDB_txn *txn, struct span key, struct span value,
                            struct problem *problem);

/*
 * What a walk has in memory of the map. What it looks up on the way, certificates and the pages
 * above them, lies among the values.
 */
struct walked_pages {
    uintptr_t first;
    uintptr_t end;
    size_t size; /* of the values since pages were let go of */
};

/*
 * Now and then let go of the pages behind us: a store of any size is walked in little memory. The
 * map is shared and never written through, so nothing is lost; what is looked at again comes back.
 */
static void pass_value(struct walked_pages *pages, const MDB_val *value) {
    uintptr_t const page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t const first = (uintptr_t)value->mv_data & ~(page - 1);
    uintptr_t const end = ((uintptr_t)value->mv_data + value->mv_size + page - 1) & ~(page - 1);
    pages->first = pages->end == 0 || first < pages->first ? first : pages->first;
    pages->end = end > pages->end ? end : pages->end;
    pages->size += value->mv_size;
    if (pages->size > WALK_SIZE_MAX) {
        (void)madvise((void *)pages->first, pages->end - pages->first, MADV_DONTNEED);
        pages->size = 0;
    }
}

static int walk(struct receipt_store *store, MDB_dbi dbi, item_visitor visitor, void *context,
                struct problem *problem) {
    struct walked_pages pages = {.size = 0};
    MDB_txn *txn = NULL;
    MDB_cursor *cursor = NULL;
    MDB_val key;
    MDB_val value;
    if (read_begin(store, &txn, problem) != 0) {
        return -1;
    }
    int error = mdb_cursor_open(txn, dbi, &cursor);
    if (error != 0) {
        mdb_txn_abort(txn);
        return explain(store, problem, "reading", error);
    }
    int status = 0;
    error = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
    while (error == 0 && status == 0) {
        status = visitor(context, txn, from_val(key), from_val(value), problem);
        pass_value(&pages, &value);
        if (status == 0) {
            error = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
        }
    }
    mdb_cursor_close(cursor);
    mdb_txn_abort(txn);
    if (error != 0 && error != MDB_NOTFOUND) {
        return explain(store, problem, "reading", error);
    }
    return status;
}

struct pending_walk {
    struct receipt_store *store;
    receipt_pending_visitor visitor;
    void *context;
};

static int visit_pending_item(void *context, MDB_txn *txn, struct span key, struct span value,
                              struct problem *problem) {
    const struct pending_walk *const pending = context;
    (void)txn;
    if (key.size != 8) {
        return damaged(pending->store, problem, "a pending request has a strange number");
    }
    return pending->visitor(pending->context, load_u64_be(key.data), value);
}

int receipt_store_visit_pending(struct receipt_store *store, receipt_pending_visitor visitor,
                                void *context, struct problem *problem) {
    struct pending_walk pending = {.store = store, .visitor = visitor, .context = context};
    return walk(store, store->pending, visit_pending_item, &pending, problem);
}

/* The certificate that a stored value names. */
static int load_certificate(struct receipt_store *store, MDB_txn *txn, struct span value,
                            struct span *out, struct problem *problem) {
    if (value.size < DIGEST_SIZE) {
        return damaged(store, problem, "a receipt cannot be read");
    }
    MDB_val key = to_val(span_of(value.data, DIGEST_SIZE));
    MDB_val certificate;
    int const error = mdb_get(txn, store->certificates, &key, &certificate);
    if (error == MDB_NOTFOUND) {
        return damaged(store, problem, "a receipt's certificate is missing");
    }
    if (error != 0) {
        return explain(store, problem, "reading", error);
    }
    *out = from_val(certificate);
    return 0;
}

static struct span bundle_of(struct span value) {
    return span_of(value.data + DIGEST_SIZE, value.size - DIGEST_SIZE);
}

/* A stored value with its certificate looked up. */
static int load_bundle(struct receipt_store *store, MDB_txn *txn, struct receipt_bundle *bundle,
                       struct arena *arena, struct span value, struct problem *problem) {
    struct span certificate = {0};
    if (load_certificate(store, txn, value, &certificate, problem) != 0) {
        return -1;
    }
    if (!receipt_bundle_decode(bundle, arena, bundle_of(value))) {
        return damaged(store, problem, "a receipt cannot be read");
    }
    bundle->certificate = certificate;
    return 0;
}

struct bundle_walk {
    struct receipt_store *store;
    struct arena arena;
    receipt_bundle_visitor visitor;
    void *context;
};

static int visit_bundle_item(void *context, MDB_txn *txn, struct span key, struct span value,
                             struct problem *problem) {
    struct bundle_walk *const bundles = context;
    struct receipt_bundle bundle;
    (void)key;
    arena_reset(&bundles->arena);
    if (load_bundle(bundles->store, txn, &bundle, &bundles->arena, value, problem) != 0) {
        return -1;
    }
    return bundles->visitor(bundles->context, &bundle);
}

int receipt_store_visit_bundles(struct receipt_store *store, receipt_bundle_visitor visitor,
                                void *context, struct problem *problem) {
    struct bundle_walk bundles = {.store = store, .visitor = visitor, .context = context};
    arena_init(&bundles.arena, READ_ARENA_SIZE);
    int const status = walk(store, store->receipts, visit_bundle_item, &bundles, problem);
    arena_free(&bundles.arena);
    return status;
}

struct stored_walk {
    struct receipt_store *store;
    receipt_stored_visitor visitor;
    void *context;
};

static int visit_stored_item(void *context, MDB_txn *txn, struct span key, struct span value,
                             struct problem *problem) {
    const struct stored_walk *const stored = context;
    struct span certificate = {0};
    (void)key;
    if (load_certificate(stored->store, txn, value, &certificate, problem) != 0) {
        return -1;
    }
    return stored->visitor(stored->context, bundle_of(value), certificate);
}

int receipt_store_visit_stored(struct receipt_store *store, receipt_stored_visitor visitor,
                               void *context, struct problem *problem) {
    struct stored_walk stored = {.store = store, .visitor = visitor, .context = context};
    return walk(store, store->receipts, visit_stored_item, &stored, problem);
}

struct receipt_walk {
    const struct receipt_store *store;
    receipt_visitor visitor;
    void *context;
    struct problem *problem;
};

static int visit_each_receipt(void *context, const struct receipt_bundle *bundle) {
    const struct receipt_walk *const receipts = context;
    return receipt_bundle_visit(&receipts->store->service, bundle,
                                (struct receipt_range){0, UINT32_MAX}, receipts->visitor,
                                receipts->context, receipts->problem);
}

int receipt_store_visit(struct receipt_store *store, receipt_visitor visitor, void *context,
                        struct problem *problem) {
    struct receipt_walk receipts = {
        .store = store, .visitor = visitor, .context = context, .problem = problem};
    return receipt_store_visit_bundles(store, visit_each_receipt, &receipts, problem);
}

static int find_value(struct receipt_store *store, MDB_txn *txn, const struct digest *request_id,
                      MDB_val *value) {
    MDB_val key = to_val(span_of(request_id->bytes, DIGEST_SIZE));
    MDB_val number;
    int error = mdb_get(txn, store->ids, &key, &number);
    if (error != 0) {
        return error;
    }
    error = mdb_get(txn, store->receipts, &number, value);
    return error == MDB_NOTFOUND ? MDB_CORRUPTED : error;
}

int receipt_store_find(struct receipt_store *store, const struct digest *request_id,
                       struct receipt_range range, receipt_visitor visitor, void *context,
                       struct problem *problem) {
    MDB_txn *txn = NULL;
    MDB_val value;
    if (read_begin(store, &txn, problem) != 0) {
        return -1;
    }
    int status = 1;
    int const error = find_value(store, txn, request_id, &value);
    if (error == 0) {
        struct arena arena;
        struct receipt_bundle bundle;
        arena_init(&arena, READ_ARENA_SIZE);
        status = load_bundle(store, txn, &bundle, &arena, from_val(value), problem);
        if (status == 0) {
            status =
                receipt_bundle_visit(&store->service, &bundle, range, visitor, context, problem);
        }
        arena_free(&arena);
    } else if (error != MDB_NOTFOUND) {
        status = explain(store, problem, "reading", error);
    }
    mdb_txn_abort(txn);
    return status;
}
