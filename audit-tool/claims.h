/*
 * claims: what the receipts at hand claim, one line for each certificate: that this batch stands in
 * the ledger under this number (protocol §10 steps 1 and 2). A receipt's own contents are bound to
 * its batch by Merkle paths, so that holding the batches against the ledger reconciles them all.
 *
 * Certificates found in ledgers that are not followed to their ends make claims too, which no
 * receipt stands behind: what they show must hold as well.
 */
#ifndef ONUS_AUDIT_TOOL_CLAIMS_H
#define ONUS_AUDIT_TOOL_CLAIMS_H

#include "audit-tool/audit.h"
#include "audit-tool/spill.h"
#include "ledger/view.h"

/* What stays of a batch when a later view of its configuration proposes it again (§6). */
struct batch_content {
    struct digest batch_root;
    uint64_t first_index;
    uint32_t tx_count;
    uint64_t time_ms;
};

enum claim_state {
    CLAIM_OPEN,    /* no ledger has said anything about it */
    CLAIM_MET,     /* a sound ledger holds the batch */
    CLAIM_ANSWERED /* somebody was blamed for it, or for the batch that it names */
};

struct claim {
    uint64_t config;
    uint64_t view;
    uint64_t seq;
    struct digest digest; /* of the pre-prepare */
    struct batch_content content;
    uint64_t signers;
    struct rank rank;     /* the least that each signer must state from then on (§6) */
    uint64_t receipts;    /* how many make it */
    uint64_t index_first; /* the least transaction index among them */
    uint64_t index_last;  /* the greatest */
    size_t offset;        /* of the encoded certificate */
    size_t size;
    enum claim_state state;
};

/* Memory does not grow with them: most of many claims lie on the disk. */
struct claims {
    struct spill list;  /* of struct claim */
    struct spill bytes; /* their certificates */
};

enum claims_order {
    CLAIMS_BY_VIEW, /* configuration, view, sequence number, digest */
    CLAIMS_BY_SEQ   /* sequence number, then the others: as a ledger is followed */
};

void claims_init(struct claims *claims);
void claims_free(struct claims *claims);

/* Add what verified receipts claim. Returns: false when memory or disk is short. */
MUST_USE bool claims_add(struct claims *claims, const struct verified_batch *batch,
                         struct span certificate, struct claim_receipts receipts);
/* Add what a verified certificate claims by itself. Returns: as above. */
MUST_USE bool claims_add_certificate(struct claims *claims, const struct verified_batch *batch,
                                     struct span certificate);
/* Sort, and join what says the same. Returns: as above. */
MUST_USE bool claims_sort(struct claims *claims, enum claims_order order);

uint64_t claims_count(const struct claims *claims);
/* Valid, like all that points to a claim, until the next add or sort. */
struct claim *claims_at(struct claims *claims, uint64_t nth);
/* The encoded certificate; valid until the next add. */
struct span claims_certificate(struct claims *claims, const struct claim *claim);
/* The first claim with this number or a greater one; claims_count if there is none. By seq. */
uint64_t claims_first_at(const struct claims *claims, uint64_t seq);
/* The claim about this very batch, or NULL. Sorted by seq. */
const struct claim *claims_find(struct claims *claims, uint64_t seq, const struct digest *digest);

struct batch_content batch_content_of(const struct pre_prepare *body);
bool batch_content_equal(const struct batch_content *a, const struct batch_content *b);
/* The rank that a revealed nonce for this batch holds its author to (§6). */
struct rank batch_rank(const struct pre_prepare *body);

#endif
