/*
 * audit: holds receipts and ledgers against each other and against execution, and blames who signed
 * what does not fit (protocol §10, for one configuration).
 *
 * All ledgers are followed side by side. As long as they are the same, byte for byte, each batch is
 * checked and executed once; where they part, each way is judged. Memory grows with the state and
 * with the batches that receipts name, not with the ledgers.
 *
 * Three things are kept apart: a finding is misbehaviour, with a proof that has been verified just
 * as anybody else would; a notice is damage, a bad receipt, or something that is missing, and
 * blames nobody; and what could not be checked is said.
 */
#ifndef ONUS_AUDIT_TOOL_AUDIT_H
#define ONUS_AUDIT_TOOL_AUDIT_H

#include "audit-tool/proof.h"
#include "base/problem.h"
#include "ledger/disk.h"
#include "receipts/receipt.h"

#define AUDIT_LEDGERS_MAX REPLICAS_MAX
#define AUDIT_FINDINGS_MAX 16u
#define AUDIT_NOTICES_MAX 64u

struct audit;

/* A proven misbehaviour. */
struct audit_finding {
    struct proof_verdict verdict;
    struct buffer file; /* the evidence file */
};

struct audit_report {
    uint64_t batches;
    uint64_t transactions; /* replayed */
    uint64_t receipts_valid;
    uint64_t receipts_reconciled; /* found in a ledger that was replayed */
    uint64_t receipts_invalid;
    bool has_unchecked; /* some receipts' transactions lie where no sound ledger was given */
    uint64_t unchecked_first;
    uint64_t unchecked_last;
    uint32_t finding_count;
    struct audit_finding findings[AUDIT_FINDINGS_MAX];
    uint64_t findings_further; /* not kept: they blame nobody new */
    uint32_t notice_count;
    struct problem notices[AUDIT_NOTICES_MAX];
    uint64_t notices_further;
    enum exit_code gravest_notice; /* EXIT_OK: there is none */
};

struct audit_options {
    const struct configuration *configuration; /* borrowed */
    struct span genesis;                       /* borrowed */
    uint32_t jobs;                             /* threads for signatures */
};

/* NULL: out of memory, or no threads. */
MUST_USE struct audit *audit_new(const struct audit_options *options);
void audit_free(struct audit *audit);

/*
 * Add a receipt; a bad one becomes a notice that names it. `name` says where it is from.
 * Returns: 0, or -1 when memory is short.
 */
MUST_USE int audit_add_receipt(struct audit *audit, const char *name, struct span receipt,
                               struct problem *problem);

/* Add a ledger. disk and name are borrowed. Returns: 0, or -1 when there are too many. */
MUST_USE int audit_add_ledger(struct audit *audit, const char *name, const struct disk *disk,
                              struct problem *problem);

/* Once, when all has been added. Returns: 0, or -1 when the audit itself failed. */
MUST_USE int audit_run(struct audit *audit, struct problem *problem);

const struct audit_report *audit_report(const struct audit *audit);

/* What it comes to: the gravest of what was found. */
enum exit_code audit_exit_code(const struct audit_report *report);

#endif
