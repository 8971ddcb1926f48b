/*
 * audit: holds receipts and ledgers against each other and against execution, and blames who signed
 * what does not fit (protocol §10, for one configuration).
 *
 * All ledgers are followed side by side. As long as they are the same, byte for byte, each batch is
 * checked and executed once; where they part, each way is judged. Memory grows with the state, not
 * with the ledgers, nor with the receipts, which go to a file when they are many.
 *
 * An audit begins at genesis, or at a checkpoint whose state is given and which a quorum signed. It
 * ends where the ledgers do, or after a batch that is named. So parts of one ledger can be audited
 * apart; each says where it began, with which digest, and at which checkpoint it ended.
 *
 * An audit that is watched can be gone on with later, from the last checkpoint that it noted. What
 * came before is then read again and held against the root of M that was replayed, and against the
 * receipts at hand; it is neither executed nor are its signatures checked a second time.
 *
 * Three things are kept apart: a finding is misbehaviour, with a proof that has been verified just
 * as anybody else would; a notice is damage, a bad receipt, or something that is missing, and
 * blames nobody; and what could not be checked is said.
 */
#ifndef ONUS_AUDIT_TOOL_AUDIT_H
#define ONUS_AUDIT_TOOL_AUDIT_H

#include <stdio.h>

#include "audit-tool/proof.h"
#include "base/problem.h"
#include "ledger/disk.h"
#include "receipts/receipt.h"

#define AUDIT_LEDGERS_MAX REPLICAS_MAX
#define AUDIT_FINDINGS_MAX 16u
#define AUDIT_NOTICES_MAX 64u

struct audit;
struct audit_watcher;

/* Some receipts of one batch. */
struct claim_receipts {
    uint64_t count;
    uint64_t index_first; /* the least transaction index among them */
    uint64_t index_last;  /* the greatest */
};

/* A proven misbehaviour. */
struct audit_finding {
    struct proof_verdict verdict;
    struct buffer file; /* the evidence file */
};

/* How far a ledger was followed. */
enum ledger_state {
    LEDGER_FOLLOWED, /* to where the audit ended */
    LEDGER_ENDED,    /* no more batches; what it held was in order */
    LEDGER_LEFT      /* damaged, broken, or another history than the one followed */
};

struct ledger_coverage {
    const char *name;
    enum ledger_state state;
    uint64_t last_batch; /* the last one that was taken from it, or equals the one taken; 0: none */
};

/* Exactly what was checked. Batch and view 0 are those of genesis. */
struct audit_coverage {
    /* where it began: with genesis, or with a checkpoint that a quorum signed */
    uint64_t start_seq;         /* of the checkpoint; 0: genesis */
    struct digest start_digest; /* its d_C, which its state was held against */
    uint64_t start_signers;     /* bitmap: who signed that digest */
    uint64_t start_signed_in;   /* the batch that carries it */

    uint64_t first_batch; /* replayed: first to last; first 0: none */
    uint64_t last_batch;
    uint64_t first_index; /* of their transactions, if there are any */
    uint64_t next_index;  /* of the first one not replayed */
    uint64_t resumed_seq; /* up to here an earlier run replayed it, and this one compared roots */
    uint64_t last_config; /* the configuration that it was in at the end; 0: no batch */
    uint64_t evidenced;   /* up to here the ledger itself shows a quorum for each batch */
    uint64_t views;       /* changes of view */
    uint64_t last_view;
    uint64_t views_config;    /* the configuration that the last one was in */
    uint64_t checkpoints;     /* digests made by execution that batches were held against */
    uint64_t last_checkpoint; /* the last one passed; 0: none */
    struct digest last_checkpoint_digest; /* as execution makes it: where the next part begins */
    bool signatures_trusted;              /* none in the ledger was checked */
    bool ends_early;                      /* where it was told to */
    uint64_t receipts_before;             /* for batches before the first */
    uint64_t receipts_beyond;             /* for batches behind the last, when told to end there */
    uint64_t receipts_unknown;            /* of configurations that nothing given leads to */
    uint32_t ledger_count;
    struct ledger_coverage ledgers[AUDIT_LEDGERS_MAX];
};

struct audit_report {
    struct audit_coverage coverage;
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
    uint64_t last_batch;                       /* end after it; 0: where the ledgers do */
    bool trust_signatures;               /* only execute; what is found is proven all the same */
    const struct audit_watcher *watcher; /* borrowed; NULL: nobody watches */
};

/* Called while the audit runs. */
struct audit_watcher {
    void *context;
    /* Another batch was taken. */
    void (*on_batch)(void *context, const struct audit_report *report);
    /*
     * This checkpoint can be saved, and with it how far the audit is: the batch that was just taken
     * carries it. Returns: 0, or -1 to end the audit with this problem.
     */
    int (*on_checkpoint)(void *context, const struct audit *audit, uint64_t seq,
                         struct problem *problem);
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

/*
 * Add a governance chain, a whole file: it names configurations, so that receipts of them can be
 * judged that no ledger comes to, and its links claim what their receipts do. What does not hold in
 * it becomes a notice, and so does a second chain that contradicts the first.
 * Returns: 0, or -1 when memory is short.
 */
MUST_USE int audit_add_chain(struct audit *audit, const char *name, struct span file,
                             struct problem *problem);

/* The same of a chain that audit_save_chain has made: its links claim nothing anew. */
MUST_USE int audit_know_chain(struct audit *audit, const char *name, struct span file,
                              struct problem *problem);

/* What receipts of one batch claim, which the caller has verified, each of them. As above. */
MUST_USE int audit_add_verified(struct audit *audit, const struct verified_batch *batch,
                                struct span certificate, struct claim_receipts receipts,
                                struct problem *problem);

/*
 * The same of a certificate whose configuration need not be known yet: then it waits for it. Out:
 * check: why it does not hold; RECEIPT_VALID also when that cannot be said yet.
 */
MUST_USE int audit_add_claim(struct audit *audit, struct span certificate,
                             struct claim_receipts receipts, enum receipt_check *check,
                             struct problem *problem);

/*
 * A link of the governance chain that came with a receipt, from there: where the ledgers do not
 * lead to its configuration, receipts of that are judged by it. As above.
 */
MUST_USE int audit_add_link(struct audit *audit, const char *name, struct span link,
                            struct problem *problem);

/*
 * The signature of a request or statement is known to hold, universally (its digest, as
 * signatures_learn takes it): a ledger that holds the very same need not be checked for it.
 */
void audit_learn_signed(struct audit *audit, const struct digest *statement);

/* Add a ledger. disk and name are borrowed. Returns: 0, or -1 when there are too many. */
MUST_USE int audit_add_ledger(struct audit *audit, const char *name, const struct disk *disk,
                              struct problem *problem);

/* ---- parts ---- */

/*
 * Begin after a saved state's checkpoint (saved_state.h), whose head was read already.
 * Returns: 0, or -1: the audit is of no use any more.
 */
MUST_USE int audit_begin_at(struct audit *audit, FILE *in, uint64_t seq, const char *name,
                            struct problem *problem);
/* From on_checkpoint: save the state. Returns: false when the stream fails. */
MUST_USE bool audit_save_state(const struct audit *audit, FILE *out, uint64_t seq);
/* From on_checkpoint: append how far the audit is. Returns: false when memory is short. */
MUST_USE bool audit_save_progress(const struct audit *audit, struct buffer *out, uint64_t seq);

/*
 * Append the governance chain as far as the audit has its links: who begins at a state needs those
 * up to its configuration. Nothing is appended when that is the founding one.
 * Returns: false when memory is short.
 */
MUST_USE bool audit_save_chain(const struct audit *audit, struct buffer *out);

/*
 * Where a number stands among the checkpoints that batches carry, as far as the configurations are
 * known: at boundaries, and at multiples of each one's own interval from some way behind its
 * boundary on (protocol §9).
 */
struct audit_checkpoint {
    bool is_one;
    uint64_t before;   /* the last one below it; 0: genesis */
    uint64_t nth;      /* so many there are up to it */
    uint64_t config;   /* that the batch behind it is of */
    uint64_t interval; /* of that */
};
/* seq: 1.. */
struct audit_checkpoint audit_checkpoint_at(const struct audit *audit, uint64_t seq);

/* Which saved state does this progress go with, and where did it begin? */
struct audit_progress {
    uint64_t seq;         /* the state to begin at with audit_begin_at */
    struct digest digest; /* its d_C, as execution made it */
    uint64_t start_seq;   /* 0: genesis */
};
/* Returns: false when these are not the bytes of a progress of this service. */
MUST_USE bool audit_progress_decode(struct audit_progress *out, const struct digest *service,
                                    struct span bytes);
/*
 * Go on from there, when audit_begin_at has been called with that state, and all ledgers added,
 * which must be the same as then. Returns: 0, or -1: start anew; the audit is of no use any more.
 */
MUST_USE int audit_resume(struct audit *audit, struct span progress, struct problem *problem);
/*
 * After audit_begin_at: the state is the caller's own, made by an audit from genesis; no signature
 * need show it. reads_before: the ledgers are read from genesis on, as audit_resume does. Else
 * nothing before the state is read: the root of M in the first batch behind it binds all of that,
 * and a ledger that does not reach the state is no problem.
 * Returns: 0, or -1 when memory is short.
 */
MUST_USE int audit_continue(struct audit *audit, bool reads_before, struct problem *problem);
/* After audit_run: the last checkpoint that can be saved now; 0: none since the audit began. */
uint64_t audit_saveable(const struct audit *audit);

/* After audit_run failed: was it since the ledgers are not those that the progress is about? */
bool audit_must_start_anew(const struct audit *audit);

/* Once, when all has been added. Returns: 0, or -1 when the audit itself failed. */
MUST_USE int audit_run(struct audit *audit, struct problem *problem);

const struct audit_report *audit_report(const struct audit *audit);

/* What became of the receipts of one batch. */
struct audit_claim {
    uint64_t seq;
    uint64_t view;
    struct digest digest; /* of the pre-prepare */
    bool is_met;          /* a sound ledger holds them */
    bool is_answered;     /* somebody was blamed for them, or for the batch */
};
/* After audit_run, by sequence number. Return anything but 0 to stop. */
typedef int (*audit_claim_visitor)(void *context, const struct audit_claim *claim);
MUST_USE int audit_visit_claims(struct audit *audit, audit_claim_visitor visitor, void *context);

/*
 * A certificate for the highest nonce that replicas have revealed in the ledger, as far as it was
 * read: an audit that begins later needs them to hold view-changes against. During or after
 * audit_run. Return anything but 0 to stop.
 */
typedef int (*audit_revealed_visitor)(void *context, const struct verified_batch *batch,
                                      struct span certificate);
MUST_USE int audit_visit_revealed(struct audit *audit, audit_revealed_visitor visitor,
                                  void *context);

/*
 * Does a certificate hold by the keys of the configuration that it states? RECEIPT_CONFIGURATION:
 * that is not known.
 */
MUST_USE enum receipt_check audit_check_certificate(const struct audit *audit,
                                                    struct verified_batch *batch,
                                                    struct arena *arena,
                                                    const struct certificate *certificate);

/* A configuration that the audit knows by now; NULL: it does not. */
const struct configuration *audit_find_configuration(const struct audit *audit, uint64_t number);
/* In which configuration did it begin? */
uint64_t audit_first_configuration(const struct audit *audit);

/* What it comes to: the gravest of what was found. */
enum exit_code audit_exit_code(const struct audit_report *report);

#endif
