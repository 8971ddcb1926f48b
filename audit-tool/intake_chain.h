/*
 * intake_chain: the governance chain by which receipts that come in are judged one by one, before
 * any audit: what earlier audits have found in the ledgers, and links that receipts bring along
 * (protocol §9, §10).
 *
 * The ledgers come first. Audits keep what they found in a file; when that has changed, and leads
 * as far, it takes the place of all that receipts have brought. It is verified when it is read.
 */
#ifndef ONUS_AUDIT_TOOL_INTAKE_CHAIN_H
#define ONUS_AUDIT_TOOL_INTAKE_CHAIN_H

#include "host/genesis_file.h"
#include "host/receipt_judge.h"

struct intake_chain {
    const struct founding *founding; /* borrowed */
    const char *file;                /* borrowed; need not be there; NULL: none */

    /* private */
    struct chain *chain;
    struct receipt_judge judge; /* by that chain */
    struct digest print;        /* of the file as it was read last */
};

/* With the public part filled in. Free it in any case. Returns: 0, or -1 when memory is short. */
MUST_USE int intake_chain_init(struct intake_chain *own, struct problem *problem);
void intake_chain_free(struct intake_chain *own);

/* Does it lead to that configuration? The file is looked at when it did not so far. */
MUST_USE bool intake_chain_reach(struct intake_chain *own, uint64_t config);

/* Take one link that a receipt brings. Returns: what becomes of it. */
MUST_USE enum chain_check intake_chain_take(struct intake_chain *own, struct span link);

#endif
