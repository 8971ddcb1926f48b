/*
 * receipt_intake: receipts from directories into an audit, verified one by one as anybody would
 * verify them, on as many threads as there are jobs (protocol §10 step 1).
 *
 * Each is judged by the configuration that it states, as the ledgers lead to it, a chain that was
 * given, or, where these end, the links that files of receipts bring along.
 *
 * In a client's store the receipts of one request lie together; they are verified together, which
 * comes to the same and costs a third. Where that fails, each is judged by itself.
 */
#ifndef ONUS_AUDIT_TOOL_RECEIPT_INTAKE_H
#define ONUS_AUDIT_TOOL_RECEIPT_INTAKE_H

#include "audit-tool/audit.h"

struct receipt_intake {
    struct audit *audit;
    const struct configuration *configuration;
    uint32_t jobs; /* 1..SIGNATURE_JOBS_MAX */
};

/*
 * Add all receipts in a directory: loose files, a client's store, or both. A bad receipt becomes a
 * notice. Returns: 0, or -1 when the directory cannot be read or memory is short.
 */
MUST_USE int receipt_intake_add(const struct receipt_intake *intake, const char *directory,
                                struct problem *problem);

#endif
