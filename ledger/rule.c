/*
 * rule: names and sentences. See rule.h.
 */
#include "ledger/rule.h"

#include <stddef.h>

#include "base/check.h"

static const struct {
    const char *name;
    const char *text;
} rules[RULE_COUNT] = {
    [RULE_NONE] = {"none", "no rule is broken"},
    [RULE_ENTRY_ENCODING] = {"entry-encoding", "an entry is not encoded as the format demands"},
    [RULE_ENTRY_ORDER] = {"entry-order", "entries do not follow each other as a batch must"},
    [RULE_SIGNATURE] = {"signature", "a statement does not carry its primary's signature"},
    [RULE_LEDGER_ROOT] = {"ledger-root", "the entries do not hash to the ledger root signed"},
    [RULE_BATCH_ROOT] = {"batch-root", "the transactions do not hash to the batch root signed"},
    [RULE_VIEW_SET] = {"view-set", "the view-changes are not those that the new view names"},
    [RULE_CONFIGURATION] = {"configuration", "the batch names a configuration not in force"},
    [RULE_VIEW] = {"view", "the batch names a view that is not the current one"},
    [RULE_SEQUENCE] = {"sequence", "the batch does not follow the batch before it"},
    [RULE_VIEW_START] = {"view-start", "the batch misstates what its view took over"},
    [RULE_FIRST_INDEX] = {"first-index", "the first transaction index is not the next one"},
    [RULE_TX_COUNT] = {"tx-count", "the batch holds another number of transactions, or too many"},
    [RULE_BATCH_KIND] = {"batch-kind", "a batch of this kind must not stand here"},
    [RULE_BATCH_EMPTY] = {"batch-empty", "the batch carries neither transactions nor evidence"},
    [RULE_EVIDENCE_RANGE] = {"evidence-range", "the evidence does not reach as far as it must"},
    [RULE_EVIDENCE_SIGNERS] = {"evidence-signers", "a signer set is not a quorum of its batch"},
    [RULE_EVIDENCE_CONTENT] = {"evidence-content", "the evidence does not match its ranges"},
    [RULE_EVIDENCE_NONCE] = {"evidence-nonce", "an evidenced nonce is not the one committed to"},
    [RULE_EVIDENCE_SIGNATURE] = {"evidence-signature", "an evidenced signature does not hold"},
    [RULE_GOVERNANCE_INDEX] = {"governance-index", "the governance index is not the current one"},
    [RULE_CHECKPOINT_SEQUENCE] = {"checkpoint-sequence", "the batch names the wrong checkpoint"},
    [RULE_CHECKPOINT_DIGEST] = {"checkpoint-digest", "replay gives another checkpoint digest"},
    [RULE_TIME] = {"time", "time runs back"},
    [RULE_REQUEST_AUTHOR] = {"request-author", "a request's author is no user or member"},
    [RULE_REQUEST_SIGNATURE] = {"request-signature", "a request's signature does not hold"},
    [RULE_REQUEST_WINDOW] = {"request-window", "a request was executed outside its window"},
    [RULE_REQUEST_DUPLICATE] = {"request-duplicate", "a request was executed a second time"},
    [RULE_AFTER_CLOSE] = {"after-close", "a request follows the vote that ended its batch"},
    [RULE_OUTCOME] = {"outcome", "replay gives another outcome"},
    [RULE_REPROPOSAL] = {"reproposal", "the batch is not the one that its view took over"},
    [RULE_VIEW_ORDER] = {"view-order", "the new view is not above the view before it"},
    [RULE_VIEW_CHANGES] = {"view-changes", "the view-changes are not a quorum that holds"},
    [RULE_VIEW_CHOICE] = {"view-choice", "the new view does not choose the highest certificate"},
    [RULE_VIEW_CUT] = {"view-cut", "the new view cuts the ledger at the wrong place"},
    [RULE_VIEW_LINK] = {"view-link", "the chosen certificate does not continue this ledger"},
};

const char *rule_name(enum rule rule) {
    CHECK((unsigned)rule < RULE_COUNT);
    return rules[rule].name;
}

const char *rule_text(enum rule rule) {
    CHECK((unsigned)rule < RULE_COUNT);
    return rules[rule].text;
}

bool rule_convicts(enum rule rule) {
    return rule >= RULE_CONFIGURATION && rule < RULE_COUNT;
}
