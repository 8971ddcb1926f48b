/*
 * fetch_store: the ledger of one replica as it handed it over, in a directory that onus-audit run
 * takes, and where the next demand begins.
 *
 * What is behind the last batch that its evidence shows to be committed may be replaced by a change
 * of view (protocol §6). So a round asks from there again, and what comes takes the place of what
 * was kept behind it. An answer that does not continue what is kept, by the root of M that its
 * first statement states, is of another history.
 *
 * Nothing is judged here: only ranges that were are taken. Not more than one thread at a time.
 */
#ifndef ONUS_AUDIT_TOOL_FETCH_STORE_H
#define ONUS_AUDIT_TOOL_FETCH_STORE_H

#include <limits.h>

#include "host/disk.h"
#include "ledger/batch.h"
#include "ledger/segment.h"
#include "ledger/wire.h"
#include "merkle/frontier.h"

#define FETCH_ASIDE_MAX 64u    /* histories of one replica that are put aside, and no more */
#define FETCH_PENDING_MAX 128u /* batches that may wait for their evidence, a power of two */

static_assert(FETCH_PENDING_MAX >= 2u * PIPELINE_MAX, "evidence reaches no further back");

/* A place between two batches or new views. */
struct fetch_mark {
    uint64_t seq; /* the last batch before it */
    uint64_t entries;
    struct frontier frontier; /* of M */
};

struct fetch_store {
    char path[PATH_MAX];
    struct digest service;
    bool is_open;
    struct host_disk disk;
    struct segment_writer writer;
    struct fetch_mark base;    /* where it begins; all zero: genesis */
    struct fetch_mark settled; /* the end of the last evidenced batch, where a round begins */
    struct fetch_mark end;     /* of what this round has brought */
    struct fetch_mark pending[FETCH_PENDING_MAX]; /* by batch number */
    struct batch batch;
};

enum fetch_store_result {
    FETCH_STORE_FAILED = -1,
    FETCH_STORE_TAKEN = 0,
    FETCH_STORE_PARTED /* it does not continue what is kept; nothing was changed */
};

/*
 * Open a directory, which is made if it is missing, and read what it holds. A torn end is cut off.
 * base: where a ledger begins that is not there yet; NULL: at genesis. One that is there begins at
 * either. Free it with fetch_store_close, also after a problem. Returns: 0 or -1.
 */
MUST_USE int fetch_store_open(struct fetch_store *store, const char *path,
                              const struct digest *service, const struct fetch_mark *base,
                              struct problem *problem);
/* Make durable what was taken. */
MUST_USE int fetch_store_sync(struct fetch_store *store, struct problem *problem);
/* What was taken is made durable first, if it can be. */
void fetch_store_close(struct fetch_store *store);

/* A round begins, or begins again: the next range starts at the settled end. */
void fetch_store_rewind(struct fetch_store *store);
/* Where the next range must start. */
uint64_t fetch_store_next(const struct fetch_store *store);
/* Entries that are kept. */
uint64_t fetch_store_entries(const struct fetch_store *store);

/* Take a range that is well formed, begins at fetch_store_next and is not empty. */
MUST_USE enum fetch_store_result fetch_store_take(struct fetch_store *store,
                                                  const struct range_message *range,
                                                  struct problem *problem);
/* There is nothing behind what this round has brought: forget what was kept there. */
MUST_USE int fetch_store_end(struct fetch_store *store, struct problem *problem);
/*
 * Put all of it aside, as PATH.before-<n>, and begin anew.
 * Returns: 1; 0: there are FETCH_ASIDE_MAX already, nothing was changed; -1 on a problem.
 */
MUST_USE int fetch_store_put_aside(struct fetch_store *store, struct problem *problem);

#endif
