/*
 * rerun: a piece of a ledger is run again (protocol §10, docs/formats.md §11), up to the first
 * batch or new view in it that breaks a rule. Who verifies evidence does this, and so does who
 * makes it, to see which items of the state it needs. Every byte may be hostile.
 *
 * What somebody signed binds the ledger below. So whoever signed the broken batch has checked all
 * that comes before it, and only as much of that is run again as it takes to judge the one.
 *
 * A governance chain whose links hold may still not be that of this ledger: more than f liars can
 * fork it, and nobody correct may pay for that. So which configuration is in force here is taken
 * from the ledger: the state below the fragment holds the digest of the newest constitution, and
 * the batch with a passing vote binds the outcome that names the next. The chain only says what
 * those digests are of.
 */
#ifndef ONUS_AUDIT_TOOL_RERUN_H
#define ONUS_AUDIT_TOOL_RERUN_H

#include "audit-tool/eras.h"
#include "audit-tool/proof.h"
#include "audit-tool/state_part.h"
#include "execution/replay.h"

/* What a fragment holds and what is done with it; follows from what it is to show. */
struct rerun_form {
    bool executes;    /* calls are executed: the requests are there, and items of the state */
    bool digests;     /* the checkpoint after that of the snapshot is digested: all is there */
    bool whole_state; /* all items of it, else those that are asked for */
    bool has_window;  /* the snapshot holds the replay window */
    bool skims;       /* batches come without requests, but the one that is broken */
};

/* A fragment at work. */
struct rerun {
    const struct eras *eras;
    const struct era *era; /* in force; NULL: before the beginning */
    struct rerun_form form;
    struct checker *checker;
    struct engine *engine; /* NULL: nothing is executed */
    struct replay replay;
    struct state_part part;
    struct batch batch;   /* the last one read; or a new view */
    enum batch_step step; /* which of the two */
    bool is_skimmed;
    bool is_governed; /* the state says which configuration is in force, or comes next */
    bool knows_next;  /* and it is the next one */
    struct pre_prepare vote_batch; /* the last one that had requests; it may end a configuration */
    bool failed;
    uint32_t next;            /* entry of the fragment */
    uint64_t first_entry;     /* number in the ledger of the fragment's first entry */
    struct digest checkpoint; /* d_C of the snapshot, which must have been signed */
    uint64_t checkpoint_seq;  /* 0: the fragment begins at genesis */
};

/* The form of a fragment that shows this rule broken. Returns: false when there is none such. */
MUST_USE bool rerun_form_of(struct rerun_form *form, struct arena *arena, const struct eras *eras,
                            const struct proof *proof);

/*
 * eras, and the proof with all it points to, are borrowed. arena: for decoding. Free it in
 * any case. Returns: PROOF_VALID; PROOF_FRAGMENT when its beginning is not sound; PROOF_MEMORY.
 */
MUST_USE enum proof_check rerun_init(struct rerun *rerun, struct arena *arena,
                                     const struct eras *eras, const struct rerun_form *form,
                                     const struct proof *proof);
void rerun_free(struct rerun *rerun);

/*
 * Go on to the first batch or new view that breaks a rule, which must be bound to the snapshot.
 * Returns: PROOF_VALID, and *rule; rerun->batch holds it, and rerun->next stands behind it.
 * PROOF_NOTHING_BROKEN when there is none, or else why the fragment does not show one.
 */
MUST_USE enum proof_check rerun_to_broken(struct rerun *rerun, enum rule *rule,
                                          const struct fragment *fragment);

/* What is in force. */
const struct configuration *rerun_configuration(const struct rerun *rerun);
const struct ledger_position *rerun_position(const struct rerun *rerun);

#endif
