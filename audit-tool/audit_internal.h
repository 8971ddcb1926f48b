/*
 * audit_internal: what the files of the audit share; not for others. audit.c takes input and
 * compares receipts, walk.c follows the ledgers, blame.c makes the proofs.
 */
#ifndef ONUS_AUDIT_TOOL_AUDIT_INTERNAL_H
#define ONUS_AUDIT_TOOL_AUDIT_INTERNAL_H

#include "audit-tool/audit.h"
#include "audit-tool/batch_reader.h"
#include "audit-tool/claims.h"
#include "audit-tool/replayer.h"

enum ledger_state {
    LEDGER_FOLLOWED,
    LEDGER_ENDED, /* no more batches; what it held was in order */
    LEDGER_LEFT   /* damaged, broken, or another history than the one followed */
};

struct audit_ledger {
    const char *name;
    const struct disk *disk;
    struct batch_reader reader;
    enum ledger_state state;
    bool has_batch; /* reader.batch is the next one, not yet judged */
};

struct audit {
    struct audit_options options;
    struct signatures *signatures;
    struct replayer replayer;
    struct claims claims;
    uint64_t claims_done; /* claims before this one have been reconciled, or answered for */
    struct receipt_memory memory;
    struct arena arena;
    uint32_t ledger_count;
    struct audit_ledger ledgers[AUDIT_LEDGERS_MAX];
    uint64_t blamed[PROOF_WRONG_CHECKPOINT + 1]; /* bitmap of replicas, for each kind */
    struct audit_report report;
};

/* A certificate that holds. */
struct found_certificate {
    struct buffer bytes; /* encoded */
    struct verified_batch batch;
};

/* Say something that blames nobody. */
__attribute__((format(printf, 3, 4))) void audit_notice(struct audit *audit, enum exit_code code,
                                                        const char *format, ...);

/* ---- walk.c ---- */

/* Follow all ledgers to their ends. Returns: 0 or -1. */
MUST_USE int audit_walk(struct audit *audit, struct problem *problem);

/* ---- blame.c ---- */

void found_certificate_init(struct found_certificate *found);
void found_certificate_free(struct found_certificate *found);

/*
 * Decode a certificate that was verified before, keeping a copy.
 * Returns: false when memory is short.
 */
MUST_USE bool certificate_open(struct audit *audit, struct found_certificate *out,
                               struct span bytes);
/*
 * Who vouches for the batch that a ledger's reader stands on: a receipt, or evidence further on in
 * that ledger. Returns: false when nobody is found.
 */
MUST_USE bool certificate_find(struct audit *audit, struct found_certificate *out,
                               const struct audit_ledger *ledger);

/* Each of these adds a finding if the proof holds, and says so if it cannot be made. */
void blame_certificates(struct audit *audit, const struct found_certificate *a,
                        const struct found_certificate *b);
void blame_primary(struct audit *audit, const struct signed_body *a, const struct signed_body *b);
/* The batch that the ledger's reader stands on breaks a rule, just after what was replayed. */
void blame_batch(struct audit *audit, const struct audit_ledger *ledger, enum rule rule);

#endif
