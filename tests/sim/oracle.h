/*
 * oracle: do the receipts and ledgers that an auditor is given contradict each other? Judged a
 * second time, from docs/protocol.md alone and by other means than audit-tool/: every statement is
 * read into plain tables, and everything is held against everything. It shares the decoders with
 * the auditor, and nothing else; it trusts what it is given, since the simulator made it.
 *
 * A claim is a batch that Q replicas vouch for: by a receipt, or by the evidence in a ledger. Each
 * of these is a contradiction, and the replicas that signed what does not fit are to be convicted:
 *
 *  1. Two claims of one view: two pre-prepares of one number; or the one with the higher number
 *     begins at an index that the other has given out, or before it.
 *  2. A claim (v, s) and a ledger that enters a view above v, and
 *       a. holds a batch s of other contents; or
 *       b. ends before s, and the first such view chose less than (v, s): the claim was hidden.
 *     A ledger that ends before s otherwise was cut before it proposed s again: no contradiction.
 *  3. A claim (v, s) and a ledger that ends in view v, with a batch t of view v that it evidences:
 *       a. t is not below s, and the ledger holds another batch s; or
 *       b. t is below s, and took indices that the claim gives out.
 *     What the ledger does not evidence binds nobody but who signed it.
 *  4. A ledger that ends below v contradicts nothing: it may be old.
 *
 * Two receipts of different views need no rule: without a ledger that enters the later view nobody
 * can tell which of those who signed the first hid it; with one, that is rule 2, or 3 for the
 * other.
 *
 * Contents are the root of G, the first index, the number of transactions and the time: what a
 * later view must propose again.
 */
#ifndef ONUS_TESTS_SIM_ORACLE_H
#define ONUS_TESTS_SIM_ORACLE_H

#include "ledger/codec.h"
#include "ledger/configuration.h"
#include "ledger/view.h"

/* A batch as its pre-prepare describes it. */
struct oracle_batch {
    uint64_t view;
    uint64_t seq;
    uint64_t first_index;
    uint64_t tx_count;
    uint64_t time_ms;
    struct digest batch_root;
    struct digest body; /* SHA-256 of the pre-prepare's body */
};

struct oracle_view {
    uint64_t view;
    struct rank chosen;
};

struct oracle_ledger {
    struct oracle_batch *batches; /* by sequence number, from 1 on */
    uint64_t batch_count;
    uint64_t evidenced; /* batches up to here come with nonces of a quorum in this very ledger */
    struct oracle_view *views;
    uint64_t view_count;
};

/* Which rule of those above, for the trace. */
struct oracle_judgement {
    uint32_t rule; /* 0: they go together */
    struct oracle_batch claim;
    uint64_t seq; /* of the batch that it does not go with, or of the view's choice */
};

/* Read the first `count` entries, genesis first; they end with a whole unit. */
void oracle_ledger_read(struct oracle_ledger *out, const struct entry *entries, uint64_t count);
void oracle_ledger_free(struct oracle_ledger *ledger);
/* The batch that a receipt is for. Aborts when it does not decode. */
struct oracle_batch oracle_receipt_read(struct span receipt);

/* Does any of the receipts, or of the batches that a ledger evidences, contradict anything? */
struct oracle_judgement oracle_judge(const struct oracle_batch *receipts, uint64_t receipt_count,
                                     const struct oracle_ledger *ledgers, uint64_t ledger_count);

#endif
