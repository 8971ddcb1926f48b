/*
 * account_why: why what was signed cannot be honest, in words for people who do not know the
 * protocol (docs/protocol.md §10 has the argument).
 */
#include <inttypes.h>

#include "audit-tool/account_internal.h"

static const char *title_of(const struct proof_verdict *verdict) {
    switch (verdict->kind) {
    case PROOF_EQUIVOCATION:
        return "One replica signed two different statements where it may sign one";
    case PROOF_CONFLICTING_CERTIFICATES:
        return "The same replicas signed and committed two different histories";
    case PROOF_BROKEN_BATCH:
        return "Replicas signed a batch that breaks a rule which each of them must check";
    case PROOF_WRONG_OUTCOME:
        return "Replicas signed an outcome that the transaction does not have";
    case PROOF_WRONG_CHECKPOINT:
        return "Replicas signed a checkpoint that is not the state of the ledger";
    case PROOF_UNDERSTATED_VIEW_CHANGE:
        return "Replicas hid what they had committed when the leader changed";
    case PROOF_BROKEN_NEW_VIEW:
        return "A change of leader does not follow from what was before it";
    case PROOF_FORKED_VIEW:
        return "The same replicas kept two ledgers under one leader";
    case PROOF_MALFORMED_RANGE:
        return "A replica was asked for its ledger, and signed for something else";
    }
    return "";
}

static void say(struct telling *telling, json_t *why, json_t *text) {
    telling_add(telling, why, text);
}

/* What a certificate is; most kinds rest on one. */
static void say_certificate(struct telling *telling, json_t *why) {
    const struct configuration *const configuration = &telling->verdict->configuration;
    say(telling, why,
        json_sprintf("A certificate shows that a batch was committed: %" PRIu32 " of %" PRIu32
                     " replicas signed it, and each then revealed a secret number to which its "
                     "signature had committed it. Nobody but the holder of a replica's key can "
                     "make either. A replica that follows the rules reveals that number only after "
                     "it has put the batch on its disk, so that it can never forget it, whatever "
                     "crashes.",
                     configuration->quorum, configuration->replica_count));
}

static void say_overlap(struct telling *telling, json_t *why) {
    const struct configuration *const configuration = &telling->verdict->configuration;
    say(telling, why,
        json_sprintf("Of %" PRIu32 " replicas any two groups of %" PRIu32 " have at least %" PRIu32
                     " in common. Those who are named are in both groups.",
                     configuration->replica_count, configuration->quorum,
                     configuration->faults_max + 1));
}

static void why_equivocation(struct telling *telling, json_t *why) {
    const struct proof_verdict *const verdict = telling->verdict;
    say(telling, why,
        json_sprintf(verdict->is_prepare
                         ? "A replica that supports a proposal says so with a signature, once for "
                           "each number of a batch in a view. Both statements below are about "
                           "batch %" PRIu64 " of view %" PRIu64
                           ", both carry a valid signature of the same key, and they differ."
                         : "The replica that leads a view proposes one batch for each number, and "
                           "signs the proposal. Both statements below are proposals for batch "
                           "%" PRIu64 " of view %" PRIu64
                           ", both carry a valid signature of the same key, and they differ.",
                     verdict->seq, verdict->view));
    say(telling, why,
        json_string(
            "A replica that follows the rules never signs the second: what it signs follows "
            "from what it has seen, and after a crash it stays silent about every number "
            "for which it may have signed before. Whoever holds the key has told two "
            "stories."));
}

static void why_certificates(struct telling *telling, json_t *why) {
    const struct proof_verdict *const verdict = telling->verdict;
    say_certificate(telling, why);
    say(telling, why,
        verdict->seq == verdict->seq_other
            ? json_sprintf("Each of the two certificates below is in order by itself. Both are for "
                           "batch %" PRIu64 " of view %" PRIu64
                           ", and they name different batches: there is one place in the ledger, "
                           "and it cannot hold both.",
                           verdict->seq, verdict->view)
            : json_sprintf("Each of the two certificates below is in order by itself. They are for "
                           "batches %" PRIu64 " and %" PRIu64 " of view %" PRIu64
                           ". Within a view numbers, times and sizes only grow, batch by batch, "
                           "and by no more than a batch can hold: no ledger that has the first "
                           "can come to the second.",
                           verdict->seq_other, verdict->seq, verdict->view));
    say_overlap(telling, why);
}

static void why_batch(struct telling *telling, json_t *why) {
    const struct proof_verdict *const verdict = telling->verdict;
    say(telling, why,
        json_sprintf(
            "Before a replica signs a batch it checks it by rules that are the same for "
            "all, against the ledger before it. Its signature covers that ledger, entry by "
            "entry, by a digest. So what it checked can be checked again: the file holds "
            "the piece of the ledger that it takes. Batch %" PRIu64 " breaks the rule "
            "\u201c%s\u201d: %s.",
            verdict->seq, rule_name(verdict->rule), rule_text(verdict->rule)));
    if (verdict->kind == PROOF_WRONG_OUTCOME) {
        say(telling, why,
            json_sprintf(
                "Outcomes are a function of the transactions and the state, and of nothing "
                "else. The file holds the transactions since the last checkpoint that the "
                "blamed had signed, and of the state at that checkpoint what they read, "
                "with proofs that it is that state. Executing them gives another outcome "
                "of transaction %" PRIu64 " than the one signed.",
                verdict->wrong_index));
    }
    if (verdict->kind == PROOF_WRONG_CHECKPOINT) {
        say(telling, why,
            json_string("A checkpoint is a digest of the whole state at one place in the ledger. "
                        "The one that was signed is not the digest that the ledger gives there, or "
                        "not the one that was signed for the same place a batch before."));
    }
    say(telling, why,
        json_string("A replica that follows the rules finds this out and does not sign, however "
                    "slow it is and however often it crashes."));
}

static void why_understated(struct telling *telling, json_t *why) {
    const struct proof_verdict *const verdict = telling->verdict;
    json_t *const stated = telling_batch(verdict->stated.view, verdict->stated.seq);
    say_certificate(telling, why);
    say(telling, why,
        json_sprintf("When the leader is to change, each replica signs what the last batch is that "
                     "it holds, so that nothing committed gets lost. The blamed revealed their "
                     "numbers for batch %" PRIu64 " of view %" PRIu64
                     ", but when they asked for view %" PRIu64
                     " the most that any of them stated was: %s.",
                     verdict->seq, verdict->view, verdict->view_asked,
                     stated == NULL ? "" : json_string_value(stated)));
    say(telling, why,
        json_string("A replica that follows the rules reveals nothing of an earlier view once it "
                    "has asked for a later one, and forgets nothing that it has revealed. So each "
                    "of the blamed held the batch when it signed that it did not."));
    json_decref(stated);
}

static void why_new_view(struct telling *telling, json_t *why) {
    const struct proof_verdict *const verdict = telling->verdict;
    say(telling, why,
        json_sprintf("Who leads a new view signs from which statements of the others it is made, "
                     "and what it takes over; all that follows from rules that are the same for "
                     "all. The signature covers the ledger before it, which the file holds as far "
                     "as it takes. New view %" PRIu64 " breaks the rule \u201c%s\u201d: %s.",
                     verdict->view, rule_name(verdict->rule), rule_text(verdict->rule)));
    if (telling->proof.certificate_count != 0) {
        say_certificate(telling, why);
        say(telling, why,
            json_string(
                "Whoever signed a batch in that view signed a ledger in which this very new "
                "view stands, and had to check it first."));
    }
}

static void why_forked(struct telling *telling, json_t *why) {
    const struct proof_verdict *const verdict = telling->verdict;
    say_certificate(telling, why);
    say(telling, why,
        json_sprintf("Under one leader a replica adds to one ledger. The blamed committed batch "
                     "%" PRIu64 " of view %" PRIu64 ", and signed batch %" PRIu64
                     " of the same view, whose signature covers the ledger before it: and that "
                     "ledger holds something else in the place of the first batch, or could not "
                     "have come from it.",
                     verdict->seq_other, verdict->view, verdict->seq));
    say_overlap(telling, why);
}

static void why_served(struct telling *telling, json_t *why) {
    const struct proof_verdict *const verdict = telling->verdict;
    say(telling, why,
        json_sprintf("A user or member of the service may demand its ledger of each replica. The "
                     "replica answers with a piece of it, and with a signed statement that names "
                     "the demand, the piece and the digest of the bytes handed over. The file "
                     "holds that statement, about entries %" PRIu64 " to %" PRIu64
                     " (the last not included), and those very bytes.",
                     verdict->first, verdict->end));
    say(telling, why,
        json_sprintf("They are no piece of any ledger of this service, which anyone can see "
                     "without knowing the rest of it: entry %" PRIu64
                     " breaks the rule \u201c%s\u201d: %s.",
                     verdict->entry, rule_name(verdict->rule), rule_text(verdict->rule)));
    say(telling, why,
        json_string("A replica that follows the rules verifies every entry before it keeps it, and "
                    "looks at what it hands over once more before it signs: if its disk is "
                    "damaged, it says that it cannot answer, and signs nothing. Whoever holds the "
                    "key signed for a forgery, or without looking."));
}

void telling_why(struct telling *telling) {
    json_t *const why = json_array();
    telling_put(telling, telling->account, "title", json_string(title_of(telling->verdict)));
    telling_put(telling, telling->account, "why", why);
    if (telling->failed) {
        return;
    }
    switch (telling->verdict->kind) {
    case PROOF_EQUIVOCATION:
        why_equivocation(telling, why);
        return;
    case PROOF_CONFLICTING_CERTIFICATES:
        why_certificates(telling, why);
        return;
    case PROOF_BROKEN_BATCH:
    case PROOF_WRONG_OUTCOME:
    case PROOF_WRONG_CHECKPOINT:
        why_batch(telling, why);
        return;
    case PROOF_UNDERSTATED_VIEW_CHANGE:
        why_understated(telling, why);
        return;
    case PROOF_BROKEN_NEW_VIEW:
        why_new_view(telling, why);
        return;
    case PROOF_FORKED_VIEW:
        why_forked(telling, why);
        return;
    case PROOF_MALFORMED_RANGE:
        why_served(telling, why);
        return;
    }
}
