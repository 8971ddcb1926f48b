/*
 * watcher_store: what `onus-audit watch` must not forget, in LMDB: what receipts claim, batch by
 * batch, what was said already, and where everything stands.
 *
 *   claims  batch, view, digest of the pre-prepare -> which of its transactions receipts are held
 *           for, what became of them, and the certificate
 *   late    as claims -> held against a ledger in vain, or not yet: they came, or stayed open,
 *           when the audit had passed their batch
 *   seen    digest of bytes that were taken in, good or bad: not looked at again
 *   shown   replica -> certificate for the highest nonce that it is known to have revealed
 *   notes   small things by name
 *
 * A receipt is bound to its batch by Merkle paths, which were checked when it came. So of many
 * receipts of a batch one certificate stays, and a bit for each; none counts twice.
 *
 * Threads: any number of readers; writes wait for each other, each is begun and ended by one
 * thread. A write that was ended is durable; one that was not has never been.
 */
#ifndef ONUS_AUDIT_TOOL_WATCHER_STORE_H
#define ONUS_AUDIT_TOOL_WATCHER_STORE_H

#include "audit-tool/audit.h"

struct watcher_store;

/* Make it if it is missing. NULL with a problem, also when it is of another service. */
MUST_USE struct watcher_store *
watcher_store_open(const char *directory, const struct digest *service, struct problem *problem);
void watcher_store_close(struct watcher_store *store);

/* ---- writing ---- */

struct store_write;

/* NULL with a problem. */
MUST_USE struct store_write *watcher_store_begin(struct watcher_store *store,
                                                 struct problem *problem);
/* Make it durable. Returns: 0, or -1: nothing of it has happened. */
MUST_USE int watcher_store_commit(struct store_write *write, struct problem *problem);
/* NULL is ignored. */
void watcher_store_abort(struct store_write *write);

/* Were these bytes taken in before? If not, they are from now on. Returns: 1 new, 0 known, -1. */
MUST_USE int watcher_store_note_seen(struct store_write *write, const struct digest *bytes,
                                     struct problem *problem);

/* Only look. Returns: 1 they were, 0, -1. */
MUST_USE int watcher_store_was_seen(struct store_write *write, const struct digest *bytes,
                                    struct problem *problem);

/* Transactions of the batch that verified receipts are for. */
struct store_receipts {
    uint64_t first_index;
    uint32_t count;
};
/*
 * Keep them. Out: fresh: how many were not kept before.
 * Returns: 0, or -1; EXIT_INVALID: they are no transactions of this batch.
 */
MUST_USE int watcher_store_add(struct store_write *write, const struct verified_batch *batch,
                               struct span certificate, struct store_receipts receipts,
                               uint64_t *fresh, struct problem *problem);

/* An audit has said what became of a claim. Returns: 0 or -1. */
MUST_USE int watcher_store_settle(struct store_write *write, const struct audit_claim *claim,
                                  struct problem *problem);
/*
 * From now on audits begin behind this batch: what is open up to there is late, and so is what
 * comes later. Returns: 0 or -1.
 */
MUST_USE int watcher_store_pass(struct store_write *write, uint64_t floor, struct problem *problem);
/* All that is late was held against the ledgers: what stays open was tried. Returns: 0 or -1. */
MUST_USE int watcher_store_tried(struct store_write *write, struct problem *problem);
/* Certificate of a nonce that its signers revealed: kept for whom it is the highest. */
MUST_USE int watcher_store_show(struct store_write *write, const struct verified_batch *batch,
                                struct span certificate, struct problem *problem);
/* An empty value removes it. Returns: 0 or -1. */
MUST_USE int watcher_store_put(struct store_write *write, const char *name, struct span value,
                               struct problem *problem);

/* ---- reading ---- */

/* Returns: 1, value appended; 0: there is none; -1. */
MUST_USE int watcher_store_get(struct watcher_store *store, const char *name, struct buffer *value,
                               struct problem *problem);

/* What receipts of one batch claim. */
struct stored_claim {
    struct claim_receipts receipts; /* count 0: only a nonce is shown */
    struct span certificate;        /* lives during the call */
};
/* Return anything but 0 to stop. */
typedef int (*watcher_claim_visitor)(void *context, const struct stored_claim *claim);
/* Those for batches from this one on. */
MUST_USE int watcher_store_visit_from(struct watcher_store *store, uint64_t seq,
                                      watcher_claim_visitor visitor, void *context,
                                      struct problem *problem);
MUST_USE int watcher_store_visit_late(struct watcher_store *store, watcher_claim_visitor visitor,
                                      void *context, struct problem *problem);
MUST_USE int watcher_store_visit_shown(struct watcher_store *store, watcher_claim_visitor visitor,
                                       void *context, struct problem *problem);
/* Names with this beginning, in order; the span lives during the call. */
typedef int (*watcher_note_visitor)(void *context, const char *name, struct span value);
MUST_USE int watcher_store_visit_notes(struct watcher_store *store, const char *beginning,
                                       watcher_note_visitor visitor, void *context,
                                       struct problem *problem);

struct store_counts {
    uint64_t kept;    /* receipts */
    uint64_t settled; /* of them: met by a ledger, or somebody was blamed */
    uint64_t late;    /* batches behind the floor whose receipts are open */
    uint64_t untried; /* of them: not yet held against a ledger since */
};
MUST_USE int watcher_store_count(struct watcher_store *store, struct store_counts *out,
                                 struct problem *problem);

#endif
