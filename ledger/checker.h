/*
 * checker: what makes a ledger well formed, written once (protocol §4, §10 step 3).
 *
 * A primary asks it what to propose, a backup before it prepares, a replica that catches up before
 * it keeps what it fetched, the auditor before it blames. It is fed one batch at a time and
 * answers with the first rule broken; what is not signed for is reported before what convicts.
 *
 * Life of a batch: begin, add each request with its outcomes' digests, then seal with the evidence
 * and pre-prepare; or abandon. Sealed batches can be rolled back until they are settled.
 *
 * The checker judges everything but execution: outcomes are the caller's (execution/replay.h), and
 * so are checkpoint digests, which it is told as they become known.
 */
#ifndef ONUS_LEDGER_CHECKER_H
#define ONUS_LEDGER_CHECKER_H

#include "base/sign.h"
#include "ledger/anchor.h"
#include "ledger/codec.h"
#include "ledger/configuration.h"
#include "ledger/rule.h"
#include "ledger/view.h"
#include "ledger/window.h"
#include "merkle/frontier.h"
#include "merkle/tree.h"

/* Sealed batches that may be rolled back at any time: how far evidence and pipeline may lag. */
#define CHECKER_MARKS_MAX 128u
static_assert(CHECKER_MARKS_MAX >= 4 * PIPELINE_MAX, "a range, a pipeline and their evidence");

/* Where the ledger stands between two batches. Plain memory. */
struct ledger_position {
    uint64_t entries; /* entries of every kind, genesis included */
    struct frontier frontier;
    uint64_t view;
    uint64_t view_start; /* the last batch that the view took over */
    uint64_t view_seq;   /* the last batch before the view's new-view entry; 0 in view 0 */
    uint64_t seq;        /* last batch; 0: genesis alone */
    uint64_t next_index; /* of the next transaction; genesis is governance transaction 0 */
    uint64_t evidence_upto;
    uint64_t gov_index;    /* of the vote that made the configuration in force, or the next one */
    uint64_t config_start; /* the last batch of the configuration before; 0: the founding one */
    uint64_t closing_seq;  /* the batch that ended with a passing vote; 0: nothing is decided */
    uint64_t time_ms;
    uint64_t checkpoint_seq; /* what the last batch carried */
    struct digest checkpoint_digest;
};

struct batch; /* ledger/batch.h */
struct checker;

/* configuration is borrowed and must outlive the checker. NULL: out of memory. */
MUST_USE struct checker *checker_new(const struct configuration *configuration);
void checker_free(struct checker *checker);

/* Start at genesis: entry 0 of the ledger, exactly the bytes whose digest is the service id. */
void checker_start(struct checker *checker, struct span genesis);
/*
 * Start after a checkpoint. Returns: false when the snapshot contradicts itself (a frontier that
 * does not hash to the header's root, a window that does not, counts that do not fit). Whether
 * the header is the one that was signed is the caller's question. A snapshot without window is
 * accepted with `rebuild_window`: the caller then loads it with checker_load_window.
 */
MUST_USE bool checker_load(struct checker *checker, const struct checker_snapshot *snapshot,
                           struct arena *arena, bool rebuild_window);
/*
 * The requests of one batch of the ledger, in order from the snapshot's window_entry on, as a part
 * of the window. Returns: false when a request does not decode, or the batch cannot be part of this
 * window; or out of memory (checker_failed).
 */
MUST_USE bool checker_load_window(struct checker *checker, struct arena *scratch,
                                  const struct batch *batch);
/* Does the loaded window hash to what the loaded header says? */
MUST_USE bool checker_window_holds(const struct checker *checker);

const struct ledger_position *checker_position(const struct checker *checker);
const struct window *checker_window(const struct checker *checker);
const struct configuration *checker_configuration(const struct checker *checker);
/* Did memory run out? Then the process must end. */
bool checker_failed(const struct checker *checker);

/* ---- one batch ---- */

void checker_batch_begin(struct checker *checker);
/*
 * Begin a batch whose pre-prepare states another first index than the next one, perhaps: its
 * leaves of G are made with the index stated, so that RULE_FIRST_INDEX is found, and convicts.
 */
void checker_batch_begin_stated(struct checker *checker, uint64_t first_index);

/*
 * Has the window of a request of so many calls passed: would its last transaction, executed next,
 * have an index of min_index + W or more (§5)? It can never be executed any more.
 */
bool checker_is_expired(const struct checker *checker, uint64_t min_index, uint32_t call_count);
/* May this request be executed next? What a primary asks before it takes one into a batch. */
enum rule checker_request_admissible(const struct checker *checker, const struct request *request);

/*
 * Add the next request and the digests of its outcomes, one a call. A broken rule is kept for
 * checker_batch_seal, which answers what is unsigned first.
 */
void checker_batch_add(struct checker *checker, const struct request *request,
                       const struct digest *outcomes, const struct sign_sink *sink);
/* The same, with the calls' leaves of G made before (batch_leaf), from checker_next_index on. */
void checker_batch_add_leaves(struct checker *checker, const struct request *request,
                              const struct digest *leaves, const struct sign_sink *sink);
/* Index of the next transaction, counting those of the batch in progress. */
uint64_t checker_next_index(const struct checker *checker);
/* Transactions in the batch in progress. */
uint32_t checker_batch_tx_count(const struct checker *checker);

/*
 * The last call of the batch in progress was the vote that makes the next configuration (§9): what
 * is added behind it breaks RULE_AFTER_CLOSE.
 */
void checker_batch_close(struct checker *checker);

/*
 * Fill in everything of the pre-prepare that follows from the ledger and the batch in progress:
 * all but the nonce hash. evidence_upto, evidence_count and evidence_signers are taken as given,
 * time_ms is raised to the time of the batch before. evidence: the encoded entry, or empty.
 */
void checker_batch_fill(const struct checker *checker, struct pre_prepare *pre_prepare,
                        struct span evidence);

/* Can the batch be sealed yet, or is the digest of the checkpoint it must carry not known? */
bool checker_checkpoint_known(const struct checker *checker);

/* Decoded evidence and pre-prepare of the batch in progress. evidence is NULL when empty. */
struct batch_seal {
    struct span evidence_payload;
    const struct evidence *evidence;
    struct span entry_payload; /* of the pre-prepare entry: an encoded Signed */
    struct signed_body statement;
    const struct pre_prepare *pre_prepare;
    uint32_t request_count; /* request entries that follow */
};

/*
 * Check everything and, if no rule is broken, append the batch. Otherwise it is abandoned and the
 * position is unchanged. The batch tree G stays readable until the next begin.
 */
enum rule checker_batch_seal(struct checker *checker, const struct batch_seal *seal,
                             const struct sign_sink *sink);
void checker_batch_abandon(struct checker *checker);

/*
 * Does the evidence for one batch hold by itself: Q signers with its primary, their nonces and
 * signatures (§4)? signers: the bitmap that the pre-prepare states.
 */
enum rule batch_evidence_judge(const struct configuration *configuration,
                               const struct pending_batch *pending, uint64_t signers,
                               const struct batch_evidence *evidence, const struct sign_sink *sink);

/*
 * Check and append a batch without its requests: how many there are is taken from what its
 * pre-prepare states, and its root of G is not looked at. For a ledger whose roots somebody signed
 * who has checked the requests. From then on numbers of entries mean nothing, the window lacks
 * these requests, and no cut may be taken. No batch may be in progress.
 */
enum rule checker_batch_skim(struct checker *checker, const struct batch_seal *seal,
                             const struct sign_sink *sink);

/* The tree G of the last sealed batch, swapped against the caller's (cleared) tree. */
void checker_batch_tree_take(struct checker *checker, struct tree *tree);

/* ---- a new configuration (§9) ---- */

/* Batches of END_OF_CONFIGURATION after the one with the passing vote. */
#define CLOSING_BATCHES 2u

/* The kind that the next batch must have. */
enum batch_kind checker_next_kind(const struct checker *checker);
/* Is the last batch of this configuration sealed? Then nothing may follow but its successor. */
bool checker_is_closed(const struct checker *checker);
/*
 * Enter the configuration that the vote made, which is borrowed: its views begin at 0, its ledger
 * behind the last batch of the one before. That one must be closed.
 */
void checker_enter(struct checker *checker, const struct configuration *next);
/*
 * The last batch of a configuration may be proposed again in a later view of it, so replicas may
 * enter the next one behind different copies. Until it is settled, one can go back: to just after
 * the last batch of the configuration before, as it was when it was left.
 */
bool checker_may_leave(const struct checker *checker);
void checker_leave(struct checker *checker);
/*
 * The configuration that ended at the position's config_start, by whose keys the evidence of its
 * last batches holds: for a checker that was loaded from a checkpoint at a boundary. Borrowed.
 */
void checker_set_before(struct checker *checker, const struct configuration *before);

/* ---- a new view ---- */

/*
 * Check a new view against the ledger as it stands, which must have been cut where the rules of
 * §6 say, and append its two entries. Signatures of the view-changes go to the sink as
 * RULE_VIEW_CHANGES, that of the new view as RULE_SIGNATURE.
 * Returns: RULE_NONE, or the rule broken, and the position is unchanged.
 */
enum rule checker_view_add(struct checker *checker, const struct view_unit *unit,
                           const struct sign_sink *sink);

/* The same judgement at a position that is remembered; appends nothing. */
enum rule checker_view_judge(const struct checker *checker, const struct ledger_position *at,
                             const struct view_unit *unit, const struct sign_sink *sink);

/*
 * Does the chain of a claim continue the ledger at this position: do its leaves lead to the root
 * that its certificate signs, and does it propose again what the view of the position took over?
 */
bool checker_claim_continues(const struct checker *checker, const struct ledger_position *at,
                             const struct view_claim *claim);

/* What the current view must propose again for batch `seq`; NULL: seq is not one it took over. */
const struct carried_batch *checker_carried(const struct checker *checker, uint64_t seq);

/* Digest of the statement sealed for `seq` (LABEL_PRE_PREPARE), which must be within the marks. */
struct digest checker_pre_prepare_digest(const struct checker *checker, uint64_t seq);

/* ---- history ---- */

/*
 * Go back to just after batch `seq`, which must be within the marks and not below settled. New
 * views that followed it directly stay.
 */
void checker_rollback(struct checker *checker, uint64_t seq);
/*
 * The position just after batch `seq` and those new views after it that are not above `view`; NULL
 * when it is no longer remembered.
 */
const struct ledger_position *checker_position_in(const struct checker *checker, uint64_t seq,
                                                  uint64_t view);
/* The position just after batch `seq`, before any new view; NULL: no longer remembered. */
const struct ledger_position *checker_position_before_views(const struct checker *checker,
                                                            uint64_t seq);
/* Go back to checker_position_in(seq, view), which must be remembered, and not below settled. */
void checker_rollback_in(struct checker *checker, uint64_t seq, uint64_t view);
/* Batches up to seq will never be rolled back. */
void checker_settle(struct checker *checker, uint64_t seq);
/* The position just after batch `seq`, if it is still remembered. */
const struct ledger_position *checker_position_at(const struct checker *checker, uint64_t seq);

/* ---- checkpoints ---- */

/*
 * Which checkpoint batch `seq` of this configuration must carry (§7): what the batch before it
 * carries, until the first multiple of C that is at least C behind the boundary; then that of the
 * boundary; then the last but one multiple.
 */
uint64_t checker_checkpoint_for(const struct checker *checker, uint64_t seq);
/*
 * What is remembered of the ledger at a checkpoint while its state is digested elsewhere: the
 * header but for state_count and state_root, and what a snapshot adds. Plain memory.
 */
struct checkpoint_cut {
    struct checkpoint_header header;
    struct frontier frontier;
    uint64_t window_entry;
    uint64_t past_entry;    /* where the batches begin that a replica keeps at hand */
    struct anchors anchors; /* where a replica that joins with it could begin its ledger */
};

/*
 * Is a checkpoint due after the last sealed batch: at multiples of C, but for those less than C
 * behind the boundary, and where a configuration ends?
 */
bool checker_cut_is_due(const struct checker *checker);
/* Take the cut just after the last sealed batch. It becomes an anchor of those after it. */
void checker_cut(struct checker *checker, struct checkpoint_cut *cut);
/*
 * The digest d_C of a cut whose state_count and state_root have been filled in.
 * Out: encoded: the header's bytes are appended. Returns: false when out of memory.
 */
MUST_USE bool checkpoint_cut_digest(struct digest *digest, struct buffer *encoded,
                                    const struct digest *service, const struct checkpoint_cut *cut);
/*
 * The snapshot of a cut whose state is filled in, encoded. window: put it in, for which the checker
 * must still stand where the cut was taken; NULL: say only where to rebuild it from.
 * Returns: false when out of memory.
 */
MUST_USE bool checkpoint_cut_snapshot(struct buffer *out, const struct checkpoint_cut *cut,
                                      const struct window *window);
/* Tell the digest of checkpoint `seq`, so that batches can carry it. */
void checker_checkpoint_learn(struct checker *checker, uint64_t seq, const struct digest *digest);
#endif
