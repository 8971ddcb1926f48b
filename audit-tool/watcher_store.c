/*
 * watcher_store: see watcher_store.h. Numbers are big endian, so that LMDB keeps their order. A
 * claim's value is: u8 state, u64 first index of the batch, u32 its transactions, a bit for each,
 * the certificate. Counters stand in the notes and change with what they count.
 */
#include "audit-tool/watcher_store.h"

#include <errno.h>
#include <limits.h>
#include <lmdb.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "audit-tool/claims.h"
#include "base/check.h"

#define FORMAT "onus-audit-watch-v1"
#define MAP_SIZE ((uint64_t)64 << 30)
#define DATABASES 5u
#define CLAIM_KEY_SIZE (8u + 8u + DIGEST_SIZE)
#define CLAIM_HEAD_SIZE (1u + 8u + 4u)
#define CLAIM_VALUE_SIZE_MAX (CLAIM_HEAD_SIZE + BATCH_CALLS_MAX / 8u + COMMIT_CERTIFICATE_SIZE_MAX)
#define SHOWN_HEAD_SIZE 16u
#define SHOWN_VIEW_BITS 48u
#define SHOWN_VIEW_MAX (((uint64_t)1 << SHOWN_VIEW_BITS) - 1)
#define SHOWN_CONFIG_MAX ((uint64_t)UINT16_MAX)

enum stored_state { STORED_OPEN = 0, STORED_MET = 1, STORED_ANSWERED = 2 };

struct store_write {
    struct watcher_store *store;
    MDB_txn *txn;
};

struct watcher_store {
    MDB_env *env;
    MDB_dbi claims;
    MDB_dbi late;
    MDB_dbi seen;
    MDB_dbi shown;
    MDB_dbi notes;
    char path[PATH_MAX];
};

struct claim_key {
    uint8_t bytes[CLAIM_KEY_SIZE];
};

static MDB_val to_val(struct span bytes) {
    /* LMDB's values are not const, but it does not write through them. */
    return (MDB_val){.mv_size = bytes.size, .mv_data = (void *)(uintptr_t)bytes.data};
}

static struct span from_val(MDB_val value) {
    return span_of(value.mv_data, value.mv_size);
}

static int explain(const struct watcher_store *store, struct problem *problem, int error) {
    bool const is_damage =
        error == MDB_CORRUPTED || error == MDB_INVALID || error == MDB_PAGE_NOTFOUND;
    return problem_set(problem, is_damage ? EXIT_CORRUPT : EXIT_ERROR, "%s/data.mdb: %s; %s",
                       store->path, mdb_strerror(error),
                       is_damage ? "restore it from a backup, or begin with another --state"
                                 : "make it writable, with space on its disk");
}

/* ---- opening --------------------------------------------------------------------------------- */

static int open_databases(struct watcher_store *store, MDB_txn *txn) {
    struct {
        const char *name;
        MDB_dbi *dbi;
    } const databases[DATABASES] = {{"claims", &store->claims},
                                    {"late", &store->late},
                                    {"seen", &store->seen},
                                    {"shown", &store->shown},
                                    {"notes", &store->notes}};
    for (size_t i = 0; i < DATABASES; i++) {
        int const error = mdb_dbi_open(txn, databases[i].name, MDB_CREATE, databases[i].dbi);
        if (error != 0) {
            return error;
        }
    }
    return 0;
}

/* Whose is it? Returns: 0 or -1. */
static int check_format(struct watcher_store *store, MDB_txn *txn, const struct digest *service,
                        struct problem *problem) {
    uint8_t expected[sizeof FORMAT - 1 + DIGEST_SIZE];
    memcpy(expected, FORMAT, sizeof FORMAT - 1);
    memcpy(expected + sizeof FORMAT - 1, service->bytes, DIGEST_SIZE);
    MDB_val key = to_val(span_text("format"));
    MDB_val value = to_val(span_of(expected, sizeof expected));
    int const error = mdb_put(txn, store->notes, &key, &value, MDB_NOOVERWRITE);
    if (error == MDB_KEYEXIST) {
        return span_equal(from_val(value), span_of(expected, sizeof expected))
                   ? 0
                   : problem_set(problem, EXIT_USAGE,
                                 "%s: keeps what was watched of another service, or by another "
                                 "version of onus-audit; give another --state",
                                 store->path);
    }
    return error == 0 ? 0 : explain(store, problem, error);
}

static int open_env(struct watcher_store *store, const struct digest *service,
                    struct problem *problem) {
    MDB_txn *txn = NULL;
    int error = mdb_env_create(&store->env);
    if (error == 0) {
        error = mdb_env_set_mapsize(store->env, MAP_SIZE);
    }
    if (error == 0) {
        error = mdb_env_set_maxdbs(store->env, DATABASES);
    }
    if (error == 0) {
        error = mdb_env_open(store->env, store->path, MDB_NOTLS, 0600);
    }
    if (error == 0) {
        error = mdb_txn_begin(store->env, NULL, 0, &txn);
    }
    if (error == 0) {
        error = open_databases(store, txn);
    }
    if (error != 0) {
        mdb_txn_abort(txn);
        return explain(store, problem, error);
    }
    if (check_format(store, txn, service, problem) != 0) {
        mdb_txn_abort(txn);
        return -1;
    }
    error = mdb_txn_commit(txn);
    return error == 0 ? 0 : explain(store, problem, error);
}

struct watcher_store *watcher_store_open(const char *directory, const struct digest *service,
                                         struct problem *problem) {
    struct watcher_store *const store = calloc(1, sizeof *store);
    if (store == NULL) {
        (void)problem_set(problem, EXIT_ERROR, "%s: out of memory", directory);
        return NULL;
    }
    int const size = snprintf(store->path, sizeof store->path, "%s", directory);
    int status = 0;
    if (size < 0 || (size_t)size >= sizeof store->path) {
        status = problem_set(problem, EXIT_USAGE, "%s: the path is too long", directory);
    } else if (mkdir(directory, 0700) != 0 && errno != EEXIST) {
        status = problem_set(problem, EXIT_ERROR, "%s: %s; name a directory that can be made",
                             directory, strerror(errno));
    } else {
        status = open_env(store, service, problem);
    }
    if (status != 0) {
        watcher_store_close(store);
        return NULL;
    }
    return store;
}

void watcher_store_close(struct watcher_store *store) {
    if (store != NULL) {
        if (store->env != NULL) {
            mdb_env_close(store->env);
        }
        free(store);
    }
}

/* ---- writes ---------------------------------------------------------------------------------- */

struct store_write *watcher_store_begin(struct watcher_store *store, struct problem *problem) {
    struct store_write *const write = calloc(1, sizeof *write);
    if (write == NULL) {
        (void)problem_set(problem, EXIT_ERROR, "%s: out of memory", store->path);
        return NULL;
    }
    write->store = store;
    int const error = mdb_txn_begin(store->env, NULL, 0, &write->txn);
    if (error != 0) {
        (void)explain(store, problem, error);
        free(write);
        return NULL;
    }
    return write;
}

int watcher_store_commit(struct store_write *write, struct problem *problem) {
    const struct watcher_store *const store = write->store;
    int const error = mdb_txn_commit(write->txn);
    free(write);
    return error == 0 ? 0 : explain(store, problem, error);
}

void watcher_store_abort(struct store_write *write) {
    if (write != NULL) {
        mdb_txn_abort(write->txn);
        free(write);
    }
}

static int get_counter(MDB_txn *txn, MDB_dbi notes, const char *name, uint64_t *out) {
    MDB_val key = to_val(span_text(name));
    MDB_val value;
    int const error = mdb_get(txn, notes, &key, &value);
    *out = error == 0 && value.mv_size == 8 ? load_u64_be(value.mv_data) : 0;
    return error == MDB_NOTFOUND ? 0 : error;
}

static int set_counter(struct store_write *write, const char *name, uint64_t number) {
    uint8_t bytes[8];
    MDB_val key = to_val(span_text(name));
    MDB_val value = to_val(span_of(bytes, sizeof bytes));
    store_u64_be(bytes, number);
    return mdb_put(write->txn, write->store->notes, &key, &value, 0);
}

static int add_to_counter(struct store_write *write, const char *name, uint64_t more) {
    uint64_t number = 0;
    int const error = more == 0 ? 0 : get_counter(write->txn, write->store->notes, name, &number);
    return error != 0 || more == 0 ? error : set_counter(write, name, number + more);
}

int watcher_store_note_seen(struct store_write *write, const struct digest *bytes,
                            struct problem *problem) {
    MDB_val key = to_val(span_of(bytes->bytes, DIGEST_SIZE));
    MDB_val value = to_val(span_text(""));
    int const error = mdb_put(write->txn, write->store->seen, &key, &value, MDB_NOOVERWRITE);
    return error == 0 ? 1 : error == MDB_KEYEXIST ? 0 : explain(write->store, problem, error);
}

int watcher_store_was_seen(struct store_write *write, const struct digest *bytes,
                           struct problem *problem) {
    MDB_val key = to_val(span_of(bytes->bytes, DIGEST_SIZE));
    MDB_val value;
    int const error = mdb_get(write->txn, write->store->seen, &key, &value);
    return error == 0 ? 1 : error == MDB_NOTFOUND ? 0 : explain(write->store, problem, error);
}

int watcher_store_put(struct store_write *write, const char *name, struct span value,
                      struct problem *problem) {
    MDB_val key = to_val(span_text(name));
    MDB_val content = to_val(value);
    int error = 0;
    if (value.size == 0) {
        error = mdb_del(write->txn, write->store->notes, &key, NULL);
        error = error == MDB_NOTFOUND ? 0 : error;
    } else {
        error = mdb_put(write->txn, write->store->notes, &key, &content, 0);
    }
    return error == 0 ? 0 : explain(write->store, problem, error);
}

/* ---- claims ---------------------------------------------------------------------------------- */

static struct claim_key key_of(uint64_t seq, uint64_t view, const struct digest *digest) {
    struct claim_key key;
    store_u64_be(key.bytes, seq);
    store_u64_be(key.bytes + 8, view);
    memcpy(key.bytes + 16, digest->bytes, DIGEST_SIZE);
    return key;
}

static MDB_val key_val(const struct claim_key *key) {
    return to_val(span_of(key->bytes, CLAIM_KEY_SIZE));
}

/* A claim's value, opened. */
struct claim_value {
    enum stored_state state;
    uint64_t first_index;
    uint32_t tx_count;
    const uint8_t *bits;
    struct span certificate;
};

static size_t bits_size(uint32_t tx_count) {
    return ((size_t)tx_count + 7) / 8;
}

/* Returns: false when it is not one that we wrote. */
static bool open_value(struct claim_value *out, struct span bytes) {
    if (bytes.size < CLAIM_HEAD_SIZE || bytes.size > CLAIM_VALUE_SIZE_MAX ||
        bytes.data[0] > STORED_ANSWERED) {
        return false;
    }
    out->state = (enum stored_state)bytes.data[0];
    out->first_index = load_u64_be(bytes.data + 1);
    out->tx_count = load_u32_be(bytes.data + 9);
    size_t const bits = bits_size(out->tx_count);
    if (out->tx_count > BATCH_CALLS_MAX || bytes.size < CLAIM_HEAD_SIZE + bits) {
        return false;
    }
    out->bits = bytes.data + CLAIM_HEAD_SIZE;
    out->certificate = span_of(out->bits + bits, bytes.size - CLAIM_HEAD_SIZE - bits);
    return true;
}

static bool bit_at(const uint8_t *bits, uint32_t nth) {
    return (bits[nth / 8] >> nth % 8 & 1) != 0;
}

static struct claim_receipts receipts_of(const struct claim_value *value) {
    struct claim_receipts receipts = {.count = 0};
    for (uint32_t i = 0; i < value->tx_count; i++) {
        if (bit_at(value->bits, i)) {
            uint64_t const index = value->first_index + i;
            receipts.index_first = receipts.count == 0 ? index : receipts.index_first;
            receipts.index_last = index;
            receipts.count++;
        }
    }
    return receipts;
}

/* It is open and behind where audits begin. */
static int put_late(struct store_write *write, const struct claim_key *claim, bool was_tried) {
    uint8_t const tried = was_tried;
    MDB_val key = key_val(claim);
    MDB_val value = to_val(span_of(&tried, 1));
    return mdb_put(write->txn, write->store->late, &key, &value, 0);
}

/* The value as it is to be, in place of the one that there is. Returns: an error of LMDB. */
static int write_claim(struct store_write *write, const struct claim_key *claim,
                       const struct verified_batch *batch, struct span certificate,
                       struct store_receipts receipts, uint64_t *fresh, bool *is_open) {
    uint8_t bytes[CLAIM_VALUE_SIZE_MAX];
    const struct pre_prepare *const body = &batch->pre_prepare;
    size_t const bits = bits_size(body->tx_count);
    size_t size = CLAIM_HEAD_SIZE + bits + certificate.size;
    MDB_val key = key_val(claim);
    MDB_val value;
    int error = mdb_get(write->txn, write->store->claims, &key, &value);
    if (error == 0) {
        struct claim_value known;
        if (!open_value(&known, from_val(value)) || known.tx_count != body->tx_count) {
            return MDB_CORRUPTED;
        }
        size = value.mv_size;
        memcpy(bytes, value.mv_data, size);
    } else if (error == MDB_NOTFOUND) {
        memset(bytes, 0, CLAIM_HEAD_SIZE + bits);
        store_u64_be(bytes + 1, body->first_index);
        store_u32_be(bytes + 9, body->tx_count);
        memcpy(bytes + CLAIM_HEAD_SIZE + bits, certificate.data, certificate.size);
    } else {
        return error;
    }
    *is_open = bytes[0] == STORED_OPEN;
    for (uint32_t i = 0; i < receipts.count; i++) {
        uint32_t const nth = (uint32_t)(receipts.first_index - body->first_index) + i;
        uint8_t *const byte = &bytes[CLAIM_HEAD_SIZE + nth / 8];
        *fresh += !bit_at(bytes + CLAIM_HEAD_SIZE, nth);
        *byte = (uint8_t)(*byte | 1u << nth % 8);
    }
    value = to_val(span_of(bytes, size));
    return *fresh == 0 ? 0 : mdb_put(write->txn, write->store->claims, &key, &value, 0);
}

/*
 * What is shown in a later configuration is shown by others, and counts more: its number stands
 * before that of the view, which no service takes so far.
 */
static uint64_t shown_view(const struct pre_prepare *body) {
    uint64_t const view = body->view < SHOWN_VIEW_MAX ? body->view : SHOWN_VIEW_MAX;
    uint64_t const config =
        body->config - 1 < SHOWN_CONFIG_MAX ? body->config - 1 : SHOWN_CONFIG_MAX;
    return config << SHOWN_VIEW_BITS | view;
}

int watcher_store_show(struct store_write *write, const struct verified_batch *batch,
                       struct span certificate, struct problem *problem) {
    struct rank const rank = batch_rank(&batch->pre_prepare);
    uint8_t bytes[SHOWN_HEAD_SIZE + COMMIT_CERTIFICATE_SIZE_MAX];
    if (certificate.size > COMMIT_CERTIFICATE_SIZE_MAX) {
        return 0;
    }
    store_u64_be(bytes, shown_view(&batch->pre_prepare));
    store_u64_be(bytes + 8, rank.seq);
    memcpy(bytes + SHOWN_HEAD_SIZE, certificate.data, certificate.size);
    for (uint64_t left = batch->signers; left != 0; left &= left - 1) {
        uint8_t const replica = (uint8_t)__builtin_ctzll(left);
        MDB_val key = to_val(span_of(&replica, 1));
        MDB_val value;
        int error = mdb_get(write->txn, write->store->shown, &key, &value);
        bool const is_higher = error == MDB_NOTFOUND || value.mv_size < SHOWN_HEAD_SIZE ||
                               memcmp(value.mv_data, bytes, SHOWN_HEAD_SIZE) < 0;
        error = error == MDB_NOTFOUND ? 0 : error;
        if (error == 0 && is_higher) {
            value = to_val(span_of(bytes, SHOWN_HEAD_SIZE + certificate.size));
            error = mdb_put(write->txn, write->store->shown, &key, &value, 0);
        }
        if (error != 0) {
            return explain(write->store, problem, error);
        }
    }
    return 0;
}

int watcher_store_add(struct store_write *write, const struct verified_batch *batch,
                      struct span certificate, struct store_receipts receipts, uint64_t *fresh,
                      struct problem *problem) {
    const struct pre_prepare *const body = &batch->pre_prepare;
    struct claim_key const key = key_of(body->seq, body->view, &batch->digest);
    uint64_t floor = 0;
    bool is_open = false;
    *fresh = 0;
    if (certificate.size > COMMIT_CERTIFICATE_SIZE_MAX || body->tx_count > BATCH_CALLS_MAX ||
        receipts.first_index < body->first_index || receipts.count > body->tx_count ||
        receipts.first_index - body->first_index > body->tx_count - receipts.count) {
        return problem_set(problem, EXIT_INVALID, "receipts of no transactions of their batch");
    }
    int error = write_claim(write, &key, batch, certificate, receipts, fresh, &is_open);
    if (error == 0 && *fresh != 0) {
        error = add_to_counter(write, "count-kept", *fresh);
    }
    if (error == 0 && *fresh != 0 && !is_open) {
        error = add_to_counter(write, "count-settled", *fresh);
    }
    if (error == 0 && *fresh != 0 && is_open) {
        error = get_counter(write->txn, write->store->notes, "floor", &floor);
        if (error == 0 && body->seq <= floor) {
            error = put_late(write, &key, false);
        }
    }
    if (error != 0) {
        return explain(write->store, problem, error);
    }
    return *fresh == 0 ? 0 : watcher_store_show(write, batch, certificate, problem);
}

int watcher_store_settle(struct store_write *write, const struct audit_claim *claim,
                         struct problem *problem) {
    struct claim_key const own = key_of(claim->seq, claim->view, &claim->digest);
    enum stored_state const state = claim->is_met        ? STORED_MET
                                    : claim->is_answered ? STORED_ANSWERED
                                                         : STORED_OPEN;
    uint8_t bytes[CLAIM_VALUE_SIZE_MAX];
    struct claim_value value;
    MDB_val key = key_val(&own);
    MDB_val found;
    if (state == STORED_OPEN) {
        return 0;
    }
    int error = mdb_get(write->txn, write->store->claims, &key, &found);
    if (error == MDB_NOTFOUND) {
        return 0; /* a certificate that no receipt stands behind */
    }
    if (error == 0 && !open_value(&value, from_val(found))) {
        error = MDB_CORRUPTED;
    }
    if (error == 0 && value.state == STORED_OPEN) {
        memcpy(bytes, found.mv_data, found.mv_size);
        uint64_t const count = receipts_of(&value).count;
        bytes[0] = (uint8_t)state;
        MDB_val fresh = to_val(span_of(bytes, found.mv_size));
        error = mdb_put(write->txn, write->store->claims, &key, &fresh, 0);
        if (error == 0) {
            error = add_to_counter(write, "count-settled", count);
        }
        if (error == 0) {
            error = mdb_del(write->txn, write->store->late, &key, NULL);
            error = error == MDB_NOTFOUND ? 0 : error;
        }
    }
    return error == 0 ? 0 : explain(write->store, problem, error);
}

/* Those between the old floor and the new that nothing was said about. */
static int pass_open(struct store_write *write, uint64_t from, uint64_t floor) {
    struct claim_key const first = key_of(from + 1, 0, &(struct digest){{0}});
    MDB_cursor *cursor = NULL;
    MDB_val key = key_val(&first);
    MDB_val value;
    int error = mdb_cursor_open(write->txn, write->store->claims, &cursor);
    if (error != 0) {
        return error;
    }
    error = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    while (error == 0 && key.mv_size == CLAIM_KEY_SIZE && load_u64_be(key.mv_data) <= floor) {
        const uint8_t *const state = value.mv_data;
        struct claim_key own;
        memcpy(own.bytes, key.mv_data, CLAIM_KEY_SIZE);
        if (value.mv_size > 0 && *state == STORED_OPEN) {
            error = put_late(write, &own, false);
        }
        if (error == 0) {
            error = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
        }
    }
    mdb_cursor_close(cursor);
    return error == MDB_NOTFOUND ? 0 : error;
}

int watcher_store_pass(struct store_write *write, uint64_t floor, struct problem *problem) {
    uint64_t before = 0;
    int error = get_counter(write->txn, write->store->notes, "floor", &before);
    if (error == 0 && floor > before) {
        error = pass_open(write, before, floor);
    }
    if (error == 0) {
        error = set_counter(write, "floor", floor);
    }
    return error == 0 ? 0 : explain(write->store, problem, error);
}

int watcher_store_tried(struct store_write *write, struct problem *problem) {
    MDB_cursor *cursor = NULL;
    MDB_val key;
    MDB_val value;
    uint8_t const tried = 1;
    int error = mdb_cursor_open(write->txn, write->store->late, &cursor);
    if (error == 0) {
        error = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
        while (error == 0) {
            MDB_val fresh = to_val(span_of(&tried, 1));
            error = mdb_cursor_put(cursor, &key, &fresh, MDB_CURRENT);
            if (error == 0) {
                error = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
            }
        }
        mdb_cursor_close(cursor);
    }
    return error == MDB_NOTFOUND ? 0 : explain(write->store, problem, error);
}

/* ---- reading --------------------------------------------------------------------------------- */

static MDB_txn *begin_read(struct watcher_store *store, struct problem *problem) {
    MDB_txn *txn = NULL;
    int const error = mdb_txn_begin(store->env, NULL, MDB_RDONLY, &txn);
    if (error != 0) {
        (void)explain(store, problem, error);
        return NULL;
    }
    return txn;
}

int watcher_store_get(struct watcher_store *store, const char *name, struct buffer *value,
                      struct problem *problem) {
    MDB_txn *const txn = begin_read(store, problem);
    MDB_val key = to_val(span_text(name));
    MDB_val found;
    if (txn == NULL) {
        return -1;
    }
    int const error = mdb_get(txn, store->notes, &key, &found);
    int status = error == 0 ? 1 : error == MDB_NOTFOUND ? 0 : explain(store, problem, error);
    if (status == 1 && !buffer_append(value, from_val(found))) {
        status =
            problem_set(problem, EXIT_CORRUPT, "%s/data.mdb: %s is too large", store->path, name);
    }
    mdb_txn_abort(txn);
    return status;
}

/* A walk through one database. */
struct store_walk {
    struct watcher_store *store;
    MDB_txn *txn;
    MDB_dbi dbi;
    struct span from; /* the first key or the next one; empty: from the beginning */
    struct problem *problem;
};

/* Called for each; anything but 0 stops. */
typedef int store_step(const struct store_walk *walk, struct span key, struct span value,
                       void *argument);

static int walk_store(struct store_walk *walk, store_step *step, void *argument) {
    MDB_cursor *cursor = NULL;
    MDB_val key = to_val(walk->from);
    MDB_val value;
    int status = 0;
    walk->txn = begin_read(walk->store, walk->problem);
    if (walk->txn == NULL) {
        return -1;
    }
    int error = mdb_cursor_open(walk->txn, walk->dbi, &cursor);
    if (error == 0) {
        error =
            mdb_cursor_get(cursor, &key, &value, walk->from.size == 0 ? MDB_FIRST : MDB_SET_RANGE);
        while (error == 0 && status == 0) {
            status = step(walk, from_val(key), from_val(value), argument);
            error = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
        }
        mdb_cursor_close(cursor);
    }
    mdb_txn_abort(walk->txn);
    return status != 0             ? status
           : error == MDB_NOTFOUND ? 0
                                   : explain(walk->store, walk->problem, error);
}

struct claim_visit {
    watcher_claim_visitor visitor;
    void *context;
};

static int visit_claim(const struct store_walk *walk, struct span key, struct span bytes,
                       void *argument) {
    const struct claim_visit *const visit = argument;
    struct claim_value value;
    (void)key;
    if (!open_value(&value, bytes)) {
        return explain(walk->store, walk->problem, MDB_CORRUPTED);
    }
    return visit->visitor(visit->context, &(struct stored_claim){.receipts = receipts_of(&value),
                                                                 .certificate = value.certificate});
}

int watcher_store_visit_from(struct watcher_store *store, uint64_t seq,
                             watcher_claim_visitor visitor, void *context,
                             struct problem *problem) {
    struct claim_visit visit = {.visitor = visitor, .context = context};
    struct claim_key const first = key_of(seq, 0, &(struct digest){{0}});
    struct store_walk walk = {.store = store,
                              .dbi = store->claims,
                              .from = span_of(first.bytes, CLAIM_KEY_SIZE),
                              .problem = problem};
    return walk_store(&walk, visit_claim, &visit);
}

static int visit_late(const struct store_walk *walk, struct span key, struct span value,
                      void *argument) {
    MDB_val own = to_val(key);
    MDB_val found;
    (void)value;
    int const error = mdb_get(walk->txn, walk->store->claims, &own, &found);
    return error == 0 ? visit_claim(walk, key, from_val(found), argument)
                      : explain(walk->store, walk->problem, error);
}

int watcher_store_visit_late(struct watcher_store *store, watcher_claim_visitor visitor,
                             void *context, struct problem *problem) {
    struct claim_visit visit = {.visitor = visitor, .context = context};
    struct store_walk walk = {.store = store, .dbi = store->late, .problem = problem};
    return walk_store(&walk, visit_late, &visit);
}

static int visit_shown(const struct store_walk *walk, struct span key, struct span value,
                       void *argument) {
    const struct claim_visit *const visit = argument;
    (void)key;
    if (value.size < SHOWN_HEAD_SIZE) {
        return explain(walk->store, walk->problem, MDB_CORRUPTED);
    }
    return visit->visitor(visit->context, &(struct stored_claim){
                                              .certificate = span_of(value.data + SHOWN_HEAD_SIZE,
                                                                     value.size - SHOWN_HEAD_SIZE),
                                          });
}

int watcher_store_visit_shown(struct watcher_store *store, watcher_claim_visitor visitor,
                              void *context, struct problem *problem) {
    struct claim_visit visit = {.visitor = visitor, .context = context};
    struct store_walk walk = {.store = store, .dbi = store->shown, .problem = problem};
    return walk_store(&walk, visit_shown, &visit);
}

struct note_visit {
    struct span beginning;
    watcher_note_visitor visitor;
    void *context;
};

#define NOTE_NAME_SIZE_MAX 512u /* LMDB's own limit on keys is 511 */
#define PAST_END 1

static int visit_note(const struct store_walk *walk, struct span key, struct span value,
                      void *argument) {
    const struct note_visit *const visit = argument;
    char name[NOTE_NAME_SIZE_MAX];
    (void)walk;
    if (key.size >= sizeof name || key.size < visit->beginning.size ||
        memcmp(key.data, visit->beginning.data, visit->beginning.size) != 0) {
        return PAST_END;
    }
    memcpy(name, key.data, key.size);
    name[key.size] = '\0';
    return visit->visitor(visit->context, name, value) == 0 ? 0 : -1;
}

int watcher_store_visit_notes(struct watcher_store *store, const char *beginning,
                              watcher_note_visitor visitor, void *context,
                              struct problem *problem) {
    struct note_visit visit = {
        .beginning = span_text(beginning), .visitor = visitor, .context = context};
    struct store_walk walk = {
        .store = store, .dbi = store->notes, .from = visit.beginning, .problem = problem};
    int const status = walk_store(&walk, visit_note, &visit);
    return status == PAST_END ? 0 : status;
}

static int count_untried(const struct store_walk *walk, struct span key, struct span value,
                         void *argument) {
    struct store_counts *const counts = argument;
    (void)walk;
    (void)key;
    counts->late++;
    counts->untried += value.size == 1 && value.data[0] == 0;
    return 0;
}

int watcher_store_count(struct watcher_store *store, struct store_counts *out,
                        struct problem *problem) {
    struct store_walk walk = {.store = store, .dbi = store->late, .problem = problem};
    *out = (struct store_counts){.kept = 0};
    MDB_txn *const txn = begin_read(store, problem);
    if (txn == NULL) {
        return -1;
    }
    int error = get_counter(txn, store->notes, "count-kept", &out->kept);
    if (error == 0) {
        error = get_counter(txn, store->notes, "count-settled", &out->settled);
    }
    mdb_txn_abort(txn);
    return error == 0 ? walk_store(&walk, count_untried, out) : explain(store, problem, error);
}
