/*
 * watcher_internal: what the files of the watcher share; not for others. watcher.c opens, asks the
 * replicas and takes in receipts; watcher_audit.c decides what to audit and does it;
 * watcher_ledgers.c knows the directories of ledgers; watcher_tell.c says each thing once.
 */
#ifndef ONUS_AUDIT_TOOL_WATCHER_INTERNAL_H
#define ONUS_AUDIT_TOOL_WATCHER_INTERNAL_H

#include "audit-tool/sources.h"
#include "audit-tool/watcher.h"
#include "audit-tool/watcher_intake.h"
#include "audit-tool/watcher_store.h"

#define WATCHER_PATH_SIZE (PATH_MAX - NAME_MAX - 1) /* of STATE: names in it fit behind it */

/*
 * A note in the store: the last batch, its view, up to where it is evidenced, is an audit owed, its
 * configuration.
 */
#define WATCH_AUDITED "audited"
#define WATCH_AUDITED_SIZE (5u * 8u)

/* A note in the store: the configuration by whose numbers outages are noted. */
#define WATCH_ASKED "asked"

/* A directory of a ledger, and what is remembered of it. A print tells whether it has changed. */
struct watch_ledger {
    char path[PATH_MAX];
    uint64_t print;    /* as it was before this round's audit; 0: there is nothing */
    uint64_t audited;  /* its print when it was last audited */
    uint64_t reread;   /* its print when it was last read from its beginning */
    uint64_t left;     /* its print when it was left: it is not looked at until that changes */
    uint64_t compared; /* up to this batch it was compared from genesis on */
    uint8_t tries;     /* times in a row that it was left while somebody wrote to it */
    bool is_damaged;
    bool is_behind; /* it does not reach the state to go on from */
};

struct watcher {
    struct watcher_options options;
    char state[WATCHER_PATH_SIZE];
    int lock;
    struct watcher_store *store;
    struct watcher_intake intake;
    struct sources sources; /* those of the audit that runs; the founding is borrowed */
    struct state_dir states;
    char states_path[PATH_MAX];
    char chain_path[PATH_MAX];
    char evidence_path[PATH_MAX];
    char network_path[PATH_MAX];
    uint64_t base; /* the checkpoint whose state is saved; 0: none, begin at genesis */

    uint32_t ledger_count;
    struct watch_ledger ledgers[AUDIT_LEDGERS_MAX];
    uint32_t included[AUDIT_LEDGERS_MAX]; /* which of them the audit was given, in order */

    struct audit *audit;   /* while one runs */
    uint64_t told;         /* of its findings */
    uint64_t saved_ms;     /* monotonic */
    bool was_stopped;      /* it was ended before its end */
    uint64_t kept_audited; /* receipts that were at hand when the last audit began */
    uint64_t reread_ms;    /* monotonic: when the last one ended */
    uint64_t reread_cost_ms;
    bool owes_anew;        /* a ledger does not go on from where it was audited to */
    bool owes_claim;       /* views have changed since late receipts were tried */
    uint64_t asked_config; /* whose replicas were asked; 0: none so far */
    uint64_t outages;      /* bitmap of them */
    bool cannot;           /* the last audit could not check something */
    bool has_audited;      /* since the start */
    uint64_t bad_receipts;
    struct watch_status status;
};

/* ---- watcher_ledgers.c ---- */

/* Look for directories of ledgers, and what was noted of them. Returns: 0 or -1. */
MUST_USE int watch_ledgers_list(struct watcher *watcher, struct problem *problem);
/* The print of a directory as it is now; 0: there is nothing in it. */
uint64_t watch_ledger_print(const char *path);
/* Remember what is noted of them. Returns: 0 or -1. */
MUST_USE int watch_ledgers_save(const struct watcher *watcher, struct store_write *write,
                                struct problem *problem);

/* ---- watcher_audit.c ---- */

/* Audit what is new. Returns: 0 or -1. */
MUST_USE int watch_audit(struct watcher *watcher, struct problem *problem);

/* ---- watcher_tell.c ---- */

void watch_tell(const struct watcher *watcher, struct watch_event *event);
/* Write a proof, and tell it if it was not told. Returns: 0 or -1. */
MUST_USE int watch_tell_finding(struct watcher *watcher, const struct proof_verdict *verdict,
                                struct span file, struct problem *problem);
/* The same of a line that blames nobody. Returns: 0 or -1. */
MUST_USE int watch_tell_line(struct watcher *watcher, enum watch_event_kind kind, const char *text,
                             struct problem *problem);
/* At the start: count what was found, and tell what may not have been told. Returns: 0 or -1. */
MUST_USE int watch_tell_rest(struct watcher *watcher, struct problem *problem);

/* ---- watcher.c ---- */

bool watch_stops(const struct watcher *watcher);
/* Whose replicas are asked. */
const struct configuration *watch_configuration(const struct watcher *watcher);

#endif
