/*
 * rule: the rules of a well-formed ledger, by name (protocol §4, §5, §10).
 *
 * A broken rule either convicts those who signed the batch, or shows that what lies here is not
 * what was signed, which convicts nobody. rule_convicts says which.
 */
#ifndef ONUS_LEDGER_RULE_H
#define ONUS_LEDGER_RULE_H

#include <stdbool.h>

enum rule {
    RULE_NONE = 0, /* no rule is broken */

    /* What lies here is not what was signed: damage or forgery, and nobody's guilt. */
    RULE_ENTRY_ENCODING,
    RULE_ENTRY_ORDER,
    RULE_SIGNATURE, /* of the pre-prepare */
    RULE_LEDGER_ROOT,
    RULE_BATCH_ROOT,
    RULE_VIEW_SET, /* the view-changes are not those that the new view names */

    /* What was signed must not have been. */
    RULE_CONFIGURATION,
    RULE_VIEW,
    RULE_SEQUENCE,
    RULE_VIEW_START,
    RULE_FIRST_INDEX,
    RULE_TX_COUNT,
    RULE_BATCH_KIND,
    RULE_BATCH_EMPTY,
    RULE_EVIDENCE_RANGE,
    RULE_EVIDENCE_SIGNERS,
    RULE_EVIDENCE_CONTENT,
    RULE_EVIDENCE_NONCE,
    RULE_EVIDENCE_SIGNATURE,
    RULE_GOVERNANCE_INDEX,
    RULE_CHECKPOINT_SEQUENCE,
    RULE_CHECKPOINT_DIGEST,
    RULE_TIME,
    RULE_REQUEST_AUTHOR,
    RULE_REQUEST_SIGNATURE,
    RULE_REQUEST_WINDOW,
    RULE_REQUEST_DUPLICATE,
    RULE_AFTER_CLOSE, /* behind the vote that ended the configuration */
    RULE_OUTCOME,
    RULE_REPROPOSAL, /* not the batch that the view took over */

    /* What a new view must not have done. */
    RULE_VIEW_ORDER,
    RULE_VIEW_CHANGES,
    RULE_VIEW_CHOICE,
    RULE_VIEW_CUT,
    RULE_VIEW_LINK,
    RULE_COUNT
};

/* A short stable name, as evidence files carry it: "evidence-range". */
const char *rule_name(enum rule rule);
/* One sentence for a person. */
const char *rule_text(enum rule rule);
/* Does breaking it convict the signers of the batch? */
bool rule_convicts(enum rule rule);

#endif
