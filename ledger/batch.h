/*
 * batch: entries of a ledger, put together again (protocol §4, §6).
 *
 * Restart, catching up, auditing and receipts from disk all read entries one by one; this collects
 * them until a batch is whole: evidence if any, pre-prepare, requests; or a new view: the set of
 * view-changes and the new-view entry. It checks that entries
 * follow each other as a batch must and decode; everything else is the checker's.
 */
#ifndef ONUS_LEDGER_BATCH_H
#define ONUS_LEDGER_BATCH_H

#include "ledger/checker.h"
#include "ledger/codec.h"

/* Bytes of one batch: its soft limit, one request beyond it, evidence and statements. */
#define BATCH_SIZE_MAX (BATCH_SIZE_SOFT_MAX + ENTRY_SIZE_MAX + EVIDENCE_SIZE_MAX + 65536u)

static_assert(FRAME_SIZE_MAX >= BATCH_SIZE_MAX + (BATCH_CALLS_MAX + 2u) * 16u + 4096u,
              "a whole batch fits into one range message");

struct batch_entry {
    enum entry_kind kind;
    size_t offset;
    size_t size;
};

/* A whole batch; spans live until the next batch_clear. */
struct batch {
    uint64_t first_entry; /* index of its first entry */
    struct evidence evidence;
    struct batch_seal seal; /* what the checker wants to see; points into this batch */
    struct pre_prepare pre_prepare;
    uint32_t request_count;
    struct view_unit view; /* after BATCH_VIEW, in place of all the above but first_entry */

    /* private */
    struct buffer bytes;
    struct buffer entries; /* of struct batch_entry */
    struct arena arena;
    uint64_t tx_seen;
    bool whole;
};

enum batch_step {
    BATCH_MORE,  /* feed the next entry */
    BATCH_WHOLE, /* the batch is complete: use it, then batch_clear */
    BATCH_VIEW,  /* a new view is complete: use batch->view, then batch_clear */
    BATCH_BROKEN /* this entry cannot stand here, or does not decode */
};

void batch_init(struct batch *batch);
void batch_free(struct batch *batch);
/* Make ready for the next batch; keeps the memory. */
void batch_clear(struct batch *batch);
/* Has nothing been fed since the last clear? */
bool batch_is_empty(const struct batch *batch);
/* After BATCH_BROKEN: for want of memory? Then the rule says nothing about the entries. */
bool batch_failed(const struct batch *batch);

/* Feed entry number `index` of the ledger. Out: rule: what is wrong when BATCH_BROKEN. */
enum batch_step batch_add(struct batch *batch, uint64_t index, const struct entry *entry,
                          enum rule *rule);

/*
 * The batch fed so far ends with its pre-prepare: use it so, without its requests.
 * Returns: false when it does not.
 */
MUST_USE bool batch_skim(struct batch *batch);

/* Entries of the batch so far, and each of them as it was fed. */
uint32_t batch_entry_count(const struct batch *batch);
struct entry batch_entry_at(const struct batch *batch, uint32_t nth);
/* Do both hold the same entries, byte for byte? */
bool batch_equal(const struct batch *a, const struct batch *b);
/* The nth request entry of a whole batch (0 .. request_count - 1), still encoded. */
struct span batch_request_payload(const struct batch *batch, uint32_t nth);

#endif
