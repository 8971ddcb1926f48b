/*
 * state_store_internal: what state_store.c and state_transfer.c share. Private to them.
 *
 * A view is a read transaction with its cursor: one commit, as long as it is live. The loop's view
 * is `now`. When the loop moves on to a newer commit its view becomes `previous`, and a third one
 * is begun; so at no time two transactions are opened on one commit, and none on an old one, which
 * LMDB could not do. A snapshot pins the previous view, which then stays live when another takes
 * its part. `mutex` guards these three and which views are live; what a view holds is read by the
 * one thread that it belongs to: `now` by the loop's, the pinned one by the snapshot's.
 */
#ifndef ONUS_HOST_STATE_STORE_INTERNAL_H
#define ONUS_HOST_STATE_STORE_INTERNAL_H

#include <limits.h>
#include <lmdb.h>
#include <pthread.h>

#include "host/state_store.h"

/* The loop's, the previous, a pinned one that is older, and one to begin. */
#define VIEWS_MAX 4u

struct state_view {
    MDB_txn *txn; /* NULL: never begun */
    MDB_cursor *cursor;
    struct state_checkpoint checkpoint;
    bool live;
};

struct state_store {
    MDB_env *env;
    MDB_dbi items;
    MDB_dbi about;
    bool on_trial; /* in the child that verifies: its parent says what is wrong */
    pthread_mutex_t mutex;
    struct state_view views[VIEWS_MAX];
    struct state_view *now;      /* NULL until it is open */
    struct state_view *previous; /* or NULL */
    struct state_view *pinned;   /* or NULL */
    struct problem failure;
    char path[PATH_MAX];
};

static inline MDB_val state_to_val(struct span bytes) {
    /* LMDB's values are not const, but it does not write through them. */
    return (MDB_val){.mv_size = bytes.size, .mv_data = (void *)(uintptr_t)bytes.data};
}

static inline struct span state_from_val(MDB_val value) {
    return span_of(value.mv_data, value.mv_size);
}

/* One line for an error of LMDB or of the system. Returns: -1. */
int state_store_explain(const struct state_store *store, struct problem *problem, const char *doing,
                        int error);
/* What was read is not what was written. Returns: -1. */
int state_store_damaged(const struct state_store *store, struct problem *problem, const char *what);

/* A store of which nothing is open; NULL with a problem. */
MUST_USE struct state_store *state_store_new(const char *data_directory, struct problem *problem);
/* Open or make its files and databases. Returns: 0, or -1 with a problem. */
MUST_USE int state_store_open_files(struct state_store *store, const struct digest *service,
                                    struct problem *problem);
/* Write the record of a checkpoint. Returns: 0, or -1 with a problem. */
MUST_USE int state_store_put_checkpoint(const struct state_store *store, MDB_txn *txn,
                                        const struct state_checkpoint *checkpoint,
                                        struct problem *problem);
/* Under the mutex: let LMDB reuse the pages of a view's commit, unless somebody needs it. */
void state_view_release(struct state_store *store, struct state_view *view);

#endif
