/*
 * replayer: a ledger, batch by batch and new view by new view, through checker and execution, with
 * its checkpoints (protocol §10 steps 3 and 5). The auditor follows whole ledgers with it, and the
 * verifier of evidence a fragment: both come to the same rule. Memory does not grow with the
 * ledger, only with the state.
 */
#ifndef ONUS_AUDIT_TOOL_REPLAYER_H
#define ONUS_AUDIT_TOOL_REPLAYER_H

#include "audit-tool/eras.h"
#include "audit-tool/preparer.h"
#include "audit-tool/signatures.h"
#include "execution/replay.h"

/*
 * Checkpoints that a fragment may have to begin at: the one carried, those behind it, and one
 * before. Usually there is one behind it; but each end of a configuration is one, and while
 * configurations are shorter than a checkpoint interval, batches carry none of these.
 */
#define REPLAYER_CUTS_USUAL 3u
#define REPLAYER_CUTS 16u
static_assert(REPLAYER_CUTS < LAYERS_MAX, "each has a layer of the state");

/* New views that one trial may hold. */
#define REPLAYER_TRIAL_VIEWS (VIEW_MARKS_MAX / 2u)

/* A checkpoint that was passed. */
struct replayer_cut {
    bool used;
    struct checkpoint_cut cut;
    struct digest digest;   /* d_C */
    struct buffer snapshot; /* an encoded checker_snapshot, window included */
};

struct replayer {
    struct eras *eras;
    const struct era *era;         /* the one in force */
    struct signatures *signatures; /* NULL: check at once */
    struct preparer *preparer;     /* NULL: no threads that could help */
    struct checker *checker;
    struct engine *engine;
    struct replay replay;
    struct replayer_cut cuts[REPLAYER_CUTS]; /* newest first */
    bool keep_cuts;
    bool trusting; /* look at no signature */
    bool failed;
    const char *stuck; /* why what comes behind this configuration cannot be judged, or NULL */

    /* on trial: where it began */
    bool on_trial;
    const struct era *trial_era; /* in force there */
    uint64_t trial_eras;         /* so many were known */
    uint64_t trial_seq;
    uint64_t trial_evidenced;
    uint64_t trial_view;
    uint32_t trial_views; /* taken since */
    uint64_t trial_mark;
    bool trial_may_enter; /* the next configuration: it follows from what was taken, and is known */
};

/*
 * eras and signatures are borrowed. keep_cuts: remember what fragments begin with.
 * Returns: false when memory is short.
 */
MUST_USE bool replayer_init(struct replayer *replayer, struct eras *eras,
                            struct signatures *signatures, bool keep_cuts);
void replayer_free(struct replayer *replayer);

/* Begin at genesis, or after a checkpoint. */
void replayer_start(struct replayer *replayer, struct span genesis);
/*
 * Returns: false when snapshot and state contradict themselves or each other. Whether they are
 * those that somebody signed is the caller's question.
 */
MUST_USE bool replayer_load(struct replayer *replayer, struct arena *arena, struct span snapshot,
                            const struct state_item *state, uint32_t state_count);

/*
 * The same for a state of any size: snapshot first, then its items in the order of their keys. At
 * the end the checkpoint counts as one that was passed, so that fragments may begin with it.
 * Each returns: false as replayer_load does, or when memory is short; nothing may follow then.
 */
struct replayer_loading {
    struct checkpoint_header header;
    struct state_hasher hasher;
};

MUST_USE bool replayer_load_begin(struct replayer *replayer, struct replayer_loading *loading,
                                  struct arena *arena, struct span snapshot);
MUST_USE bool replayer_load_item(struct replayer *replayer, struct replayer_loading *loading,
                                 struct span key, struct span value);
MUST_USE bool replayer_load_end(struct replayer *replayer, struct replayer_loading *loading,
                                struct arena *arena, struct span snapshot);

/*
 * Where a configuration has ended, enter the next one, which execution has come to, unless what
 * comes next states the old one: nothing more can be right in that, and its signers are those of
 * the old one. A step or new view does so by itself.
 */
void replayer_go_over(struct replayer *replayer, uint64_t stated_config);
/* Would what states this be judged in the next configuration? */
bool replayer_goes_over(const struct replayer *replayer, uint64_t stated_config);

/* Is the checkpoint that the next batch must carry known? Always, from genesis on. */
bool replayer_is_ready(const struct replayer *replayer);

/*
 * The next batch. On RULE_NONE it has been appended and settled; otherwise nothing has changed.
 * Must be ready. After memory ran out, replayer_failed is true and the rule means nothing.
 */
MUST_USE enum rule replayer_step(struct replayer *replayer, const struct batch *batch);
/* The next new view, as above. It need not be ready. */
MUST_USE enum rule replayer_enter(struct replayer *replayer, const struct view_unit *unit);

/*
 * From here on take batches and new views on trial: nothing is settled and no checkpoint is made,
 * until replayer_trial_end goes back to where it began. A trial may go over into the next
 * configuration, once. If the eras do not have that yet, they do until the trial ends.
 */
void replayer_trial_begin(struct replayer *replayer);
/*
 * Ask before each: is there room for one more batch or new view on this trial? Not behind the end
 * of a configuration when another one is known to follow than this way has decided.
 */
bool replayer_trial_goes_on(struct replayer *replayer);
/* Is it behind the end of the configuration in which it began? */
bool replayer_trial_is_over_there(const struct replayer *replayer);
void replayer_trial_end(struct replayer *replayer);

bool replayer_failed(const struct replayer *replayer);

const struct ledger_position *replayer_position(const struct replayer *replayer);
/* The checkpoint of this sequence number, or NULL when it is not, or no longer, kept. */
const struct replayer_cut *replayer_cut_at(const struct replayer *replayer, uint64_t seq);

#endif
