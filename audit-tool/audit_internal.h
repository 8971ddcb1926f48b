/*
 * audit_internal: what the files of the audit share; not for others. audit_receipts.c takes
 * receipts and audit_chains.c governance chains, audit.c compares receipts; walk.c follows the
 * ledgers and parting.c decides where they part, and branches.c sees to those that are left and go
 * on; start.c begins at a checkpoint, and resume.c goes on with an earlier run; reconcile.c holds
 * receipts against them; views.c looks at changes of view; blame.c and blame_view.c make proofs.
 */
#ifndef ONUS_AUDIT_TOOL_AUDIT_INTERNAL_H
#define ONUS_AUDIT_TOOL_AUDIT_INTERNAL_H

#include "audit-tool/audit.h"
#include "audit-tool/batch_reader.h"
#include "audit-tool/claims.h"
#include "audit-tool/eras.h"
#include "audit-tool/replayer.h"
#include "receipts/link_maker.h"

struct audit_ledger {
    const char *name;
    const struct disk *disk;
    struct batch_reader reader;
    enum ledger_state state;
    bool has_next; /* what the reader stands on is next: a batch or a new view, not yet judged */
    uint64_t last_seq; /* of the last batch that it shares with what was followed */
    bool goes_its_way; /* it was left on a sound way, further than trials go: a branch */
};

/* A new view in the ledger that is followed. */
struct view_seen {
    uint64_t config;
    uint64_t view;
    uint64_t entry; /* of its view-change set */
};

/* A batch of the ledger that is followed, by where it lies. */
struct batch_place {
    uint64_t seq;
    uint64_t config;
    struct rank rank; /* what a nonce revealed for it holds its author to */
    uint64_t entry;   /* its first */
    uint64_t signers; /* of its evidence, once that is known */
};

/* The batches that evidence may still come for. */
#define BATCH_PLACES_MAX CHECKER_MARKS_MAX

/* A new view in a ledger that is not followed there. */
struct view_left {
    const struct audit_ledger *ledger;
    struct view_seen seen;
    struct digest constitution; /* by which it was judged */
};

/* A batch behind the end of a configuration, in a ledger that is not followed there. */
struct batch_left {
    const struct audit_ledger *ledger;
    uint64_t entry;
    uint64_t config;
    struct rank rank;
    struct digest constitution; /* by which it was judged */
};

struct view_watch {
    struct spill seen;                           /* of struct view_seen, ascending */
    struct spill left;                           /* of struct view_left */
    struct batch_place places[BATCH_PLACES_MAX]; /* by sequence number, a ring */
    uint64_t config;                             /* whose replicas these are: */
    struct batch_place revealed[REPLICAS_MAX];   /* the highest that each is evidenced with */
};

/* Where the audit began, in whatever run that was. */
struct audit_start {
    uint64_t seq;    /* 0: genesis */
    uint64_t config; /* in which the checkpoint was taken */
    uint64_t view;
    uint64_t entries; /* of the ledger, up to there */
    struct frontier frontier;
    struct digest digest; /* d_C; of no meaning at genesis */
    uint64_t next_index;
    uint64_t signers;   /* who signed the digest, once that is known */
    uint64_t signed_in; /* the batch that shows it */
};

struct audit {
    struct audit_options options;
    struct signatures *signatures;
    struct eras eras;
    uint64_t eras_taken; /* so many were known when receipts were last looked at */
    struct replayer replayer;
    struct claims claims;
    uint64_t claims_done; /* claims before this one have been held against the ledger followed */
    struct receipt_memory memory;
    uint64_t memory_config;     /* that it belongs to */
    struct spill waiting;       /* receipts of configurations that are not known yet */
    struct spill waiting_bytes; /* and what they point to */
    struct spill brought;       /* links of the chain that came with receipts */
    struct spill brought_bytes; /* and what they point to */
    struct link_maker *link_maker;
    struct chain *chain; /* of the chains that were given; NULL: none */
    struct arena arena;
    uint32_t ledger_count;
    struct audit_ledger ledgers[AUDIT_LEDGERS_MAX];
    const struct audit_ledger *followed; /* whose batch was replayed last; NULL: none yet */
    struct view_watch watch;
    struct audit_start start;
    struct audit_resumption *resumption; /* NULL: this is no other run's continuation */
    bool starts_anew;                    /* it cannot be */
    bool is_own;                         /* the state to begin at is the caller's own */
    bool is_branch;                      /* of another audit, which looks after further branches */
    uint64_t seq;                        /* of the last batch that was taken; 0: none */
    struct spill left;                   /* of struct batch_left */
    struct claims aside; /* what ways that were not followed show; they are claims, too */
    struct audit_report report;
};

/* A certificate that holds. */
struct found_certificate {
    struct buffer bytes; /* encoded */
    struct verified_batch batch;
};

/* What statements of that configuration are judged against. NULL: it is not known. */
const struct configuration *audit_configuration(const struct audit *audit, uint64_t number);

/* Say something that blames nobody. */
__attribute__((format(printf, 3, 4))) void audit_notice(struct audit *audit, enum exit_code code,
                                                        const char *format, ...);

/*
 * Hold all claims of one view against each other (§10 step 2). Leaves them sorted by seq.
 * Returns: false when memory or disk is short.
 */
MUST_USE bool audit_compare_claims(struct audit *audit);

/* ---- audit_receipts.c ---- */

/*
 * Judge those that waited for what is known now; any: are there new claims, to be compared?
 * Returns: false when memory or disk is short.
 */
MUST_USE bool audit_take_waiting(struct audit *audit, bool *any);
/* At the end: tell what was never judged. */
void audit_note_waiting(struct audit *audit);
/*
 * A certificate that a way shows which is not followed: it claims its batch, as soon as its
 * configuration is known. To be compared. Returns: false when memory or disk is short.
 */
MUST_USE bool audit_take_aside(struct audit *audit, struct span certificate);
/* Say that there is no room for receipts. Returns: -1. */
int receipts_exhausted(struct problem *problem);

/* ---- audit_chains.c ---- */

/*
 * The ledgers have ended: go on from there to the configurations that links lead to which came with
 * receipts. Returns: false when memory is short.
 */
MUST_USE bool audit_follow_links(struct audit *audit);

/* ---- era_link.c ---- */

/* A batch was taken: it may have votes. */
void era_link_note(struct audit *audit, const struct batch *batch);
/* The configuration has ended, with the vote in batch `seq`: make the link, if none is at hand. */
void era_link_make(struct audit *audit, uint64_t seq);

/* ---- walk.c ---- */

/* Follow all ledgers to their ends. Returns: 0 or -1. */
MUST_USE int audit_walk(struct audit *audit, struct problem *problem);

/* Read what is next in every ledger that is followed. Returns: whether there is any. */
bool ledgers_advance(struct audit *audit);
/* All that are still here stand on the very same, which was taken: go behind it. */
void ledgers_pass(struct audit *audit, uint64_t seq);
/* What was taken stands. Returns: false when memory is short. */
MUST_USE bool audit_note_sound(struct audit *audit, const struct audit_ledger *ledger);
void ledger_leave(struct audit *audit, struct audit_ledger *ledger, const struct problem *problem);

/* Is this a ledger to be judged now? */
bool ledger_is_here(const struct audit_ledger *ledger);
/* Does the reader stand on a new view? Else on a batch. */
bool ledger_is_at_view(const struct audit_ledger *ledger);
/* Replay what the ledger's reader stands on. Returns: the rule that it breaks. */
enum rule ledger_take(struct audit *audit, const struct audit_ledger *ledger);
/* Everybody who would go on as this ledger does leaves, but not itself. */
void ledger_leave_alike(struct audit *audit, const struct audit_ledger *like);

/* Another reader of the same ledger, on the batch or new view at this entry. NULL: none there. */
struct audit_ledger *ledger_open_at(struct audit *audit, const struct audit_ledger *ledger,
                                    uint64_t entry);
void ledger_close(struct audit_ledger *ledger);

/*
 * A ledger goes another way than the one that is followed, and breaks a rule; ours: where the one
 * that is followed goes on, or NULL.
 */
void judge_astray(struct audit *audit, const struct audit_ledger *theirs, enum rule rule,
                  const struct audit_ledger *ours);

/* ---- parting.c ---- */

/*
 * Find the one way in which to go on from here, and judge the others.
 * Returns: the first ledger that goes this way; NULL when none does.
 */
struct audit_ledger *audit_choose_way(struct audit *audit);

/* The batch that was taken: did its primary sign another one in its place, on another way? */
void audit_meet_left(struct audit *audit, const struct audit_ledger *ledger);

/* ---- branches.c ---- */

/* At the end: audit each ledger that goes its own way by itself, and take over what that finds. */
void audit_branches(struct audit *audit);

/* ---- reconcile.c ---- */

/* Hold all claims about this batch against it, which was just replayed, and is sound or not. */
void reconcile_batch(struct audit *audit, const struct audit_ledger *ledger, bool is_sound);
/* A sound ledger that is not followed holds the batch too. */
void reconcile_aside(struct audit *audit, const struct audit_ledger *ledger);
/* At the end: what no ledger has said anything about. */
void reconcile_rest(struct audit *audit);

/* ---- views.c ---- */

void watch_init(struct view_watch *watch);
void watch_free(struct view_watch *watch);
/* The batch, or the new view, that the ledger's reader stands on was replayed. */
void watch_batch(struct audit *audit, const struct audit_ledger *ledger);
MUST_USE bool watch_view(struct audit *audit, const struct audit_ledger *ledger);
/*
 * The first new view of this configuration above `view` in the ledger followed, which may lie
 * before where the audit began.
 * Returns: 1; 0: there is none; -1: it lies in a part of the ledger that cannot be read.
 */
MUST_USE int watch_first_above(struct audit *audit, uint64_t config, uint64_t view,
                               struct view_seen *out);
/* Blame who understates in the view-changes of the new view at this entry what it revealed. */
void watch_hold(struct audit *audit, const struct audit_ledger *ledger, uint64_t entry);
/*
 * The same for a new view that the audit does not follow its ledger into, now and for as long as
 * the ledger followed shows what was revealed in earlier views; as soon as that has come to the
 * constitution by which the view was judged. Returns: false: out of memory.
 */
MUST_USE bool watch_leave(struct audit *audit, const struct audit_ledger *ledger, uint64_t entry,
                          const struct digest *constitution);
/* Hold those new views once more against what was revealed. */
void watch_hold_left(struct audit *audit);

/* ---- start.c ---- */

/*
 * Did a quorum sign the checkpoint that the audit begins with, as a ledger at hand shows?
 * Returns: 0, or -1 with EXIT_CANNOT_AUDIT.
 */
MUST_USE int audit_confirm_start(struct audit *audit, struct problem *problem);

/* ---- resume.c ---- */

void resumption_free(struct audit_resumption *resumption);
/* Where this audit began, or the earlier run that it goes on with. */
const struct audit_start *audit_began(const struct audit *audit);
/* Read all ledgers up to the checkpoint that the audit begins with. Returns: 0 or -1. */
MUST_USE int audit_skim(struct audit *audit, struct problem *problem);

/* ---- blame.c ---- */

void found_certificate_init(struct found_certificate *found);
void found_certificate_free(struct found_certificate *found);

/* Does it hold, by the keys of the configuration that it states? */
MUST_USE bool certificate_holds(const struct audit *audit, struct verified_batch *batch,
                                struct arena *arena, const struct certificate *certificate);

/*
 * Decode a certificate that was verified before, keeping a copy.
 * Returns: false when memory is short.
 */
MUST_USE bool certificate_open(struct audit *audit, struct found_certificate *out,
                               struct span bytes);
/*
 * Who vouches for the batch that a ledger's reader stands on: a receipt, or evidence further on in
 * that ledger, or in another that holds the same batch. Returns: false when nobody is found.
 */
MUST_USE bool certificate_find(struct audit *audit, struct found_certificate *out,
                               const struct audit_ledger *ledger);

/* The same, by evidence in its ledger alone. */
MUST_USE bool certificate_scan(struct audit *audit, struct found_certificate *out,
                               const struct audit_ledger *ledger);

/*
 * Does it blame anybody whom nothing of its kind blames yet? For understated view-changes also:
 * does it name f + 1 or more whom no one proof names?
 */
bool blame_is_news(const struct audit *audit, uint64_t config, enum proof_kind kind,
                   uint64_t replicas);
/* Who of that configuration is blamed with this kind of proof? */
uint64_t blame_found(const struct audit *audit, uint64_t config, enum proof_kind kind);
/* Remember whom a proof names. */
void blame_note(struct audit *audit, const struct proof_verdict *verdict);
/*
 * Make a file of it, which is about what replicas of this configuration signed, verify that, and
 * keep it if it holds; say so if it cannot be made.
 */
void blame_with(struct audit *audit, uint64_t config, struct proof *proof);

/* Each of these adds a finding if the proof holds, and says so if it cannot be made. */
void blame_certificates(struct audit *audit, const struct found_certificate *a,
                        const struct found_certificate *b);
/* Two pre-prepares of one place in this configuration. */
void blame_primary(struct audit *audit, uint64_t config, const struct signed_body *a,
                   const struct signed_body *b);
/* The batch or new view that the reader stands on breaks a rule, just after what was replayed. */
void blame_batch(struct audit *audit, const struct audit_ledger *ledger, enum rule rule);

/* ---- blame_view.c ---- */

/* The view-changes in this bitmap state less than what their authors' nonces in it show. */
void blame_understated(struct audit *audit, const struct found_certificate *certificate,
                       const struct view_change_set *set, uint64_t nths);
/*
 * The view of the certificate had another ledger: that of the batch that `ledger` stands on, of
 * the same view, which is certified.
 */
void blame_fork_behind(struct audit *audit, const struct found_certificate *certificate,
                       const struct audit_ledger *ledger);
/* The same of what the new view that `ledger` stands on has chosen. Returns: is it of that view? */
bool blame_fork_chosen(struct audit *audit, const struct found_certificate *certificate,
                       const struct audit_ledger *ledger);

#endif
