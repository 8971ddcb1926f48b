/*
 * watcher: a continuous audit (protocol §10, "Keeping watch"). Round by round it asks the replicas
 * for their ledgers, takes in receipts, and audits what is new; it keeps under one directory what
 * it must not forget, so that whatever ends it, the next one goes on.
 *
 *   STATE/lock        one watcher at a time
 *   STATE/store/      receipts, what was said, where everything stands (watcher_store.h)
 *   STATE/ledgers/    what the replicas handed over (fetcher.h)
 *   STATE/audit/      the state to go on from (state_dir.h)
 *   STATE/evidence/   proofs
 *   STATE/reports/    who did not answer, signed by the auditor: no proofs
 *
 * A round replays from its own last checkpoint on, and costs what is new. Receipts for batches
 * before that, and ledgers that get there late, need what lies before: then all is read again, but
 * not executed, and that takes at most a tenth of the watcher's time. If a ledger is not what was
 * audited, everything is audited anew, with all receipts ever taken in.
 *
 * Three things are kept apart: misbehaviour, with a proof; damage and what is missing; and outages,
 * which have a beginning and an end and are nobody's guilt.
 */
#ifndef ONUS_AUDIT_TOOL_WATCHER_H
#define ONUS_AUDIT_TOOL_WATCHER_H

#include <limits.h>

#include "audit-tool/audit.h"
#include "audit-tool/fetcher.h"

#define WATCHER_DIRECTORIES_MAX 16u /* of receipts */

enum watch_event_kind {
    WATCH_MISBEHAVIOUR = 1, /* proven: verdict, path, again */
    WATCH_OUTAGE,           /* a replica does not answer: replica, since_ms, text, path if any */
    WATCH_OUTAGE_OVER,      /* it answers again: replica, since_ms */
    WATCH_PARTED,           /* it handed over another history than before: replica */
    WATCH_CORRUPTION,       /* damage that nobody signed for: text */
    WATCH_CANNOT,           /* something could not be checked: text */
    WATCH_BAD_RECEIPT,      /* its bearer's problem: text */
    WATCH_STATUS            /* the end of a round: status */
};

/* Where everything stands. */
struct watch_status {
    uint64_t audited_batch; /* the last one */
    uint64_t evidenced;     /* up to here with a quorum's evidence */
    uint64_t config;        /* that it is of; 0: none was audited yet */
    uint64_t view;          /* of that configuration */
    uint64_t replayed;      /* batches that this round executed */
    bool read_again;        /* this round read ledgers from their beginning */
    uint64_t receipts;      /* taken in, each once */
    uint64_t settled;       /* of them: held against a ledger */
    uint64_t waiting;  /* the rest: late, or no ledger has their batches or configuration yet */
    uint64_t late;     /* batches with receipts that wait for ledgers to be read again */
    bool is_due;       /* a ledger does not go on: an audit anew is owed, and not done yet */
    uint32_t ledgers;  /* at hand */
    uint32_t behind;   /* of them: not as far as where the audit goes on */
    uint32_t left;     /* of them: damaged, broken, or another history */
    uint32_t replicas; /* asked in the last round */
    uint32_t level;    /* of them: handed over all they have */
    uint32_t silent;   /* outages */
    uint64_t findings; /* proofs, ever */
};

struct watch_event {
    enum watch_event_kind kind;
    uint64_t time_ms; /* wall clock */
    const char *text;
    const char *path;                    /* evidence or report; NULL: none */
    const struct proof_verdict *verdict; /* WATCH_MISBEHAVIOUR */
    bool again; /* it was being told when the watcher was cut off, so perhaps was told before */
    uint32_t replica;
    const struct configuration *configuration; /* in which it has that number */
    uint64_t since_ms;
    const struct watch_status *status;
};

/* Who asks the replicas. NULL in the options: nobody. */
struct watcher_network {
    void *context;
    /* One round into STATE/ledgers/. Returns: 0, or -1 when this end fails. */
    int (*round)(void *context, struct problem *problem);
    const struct fetch_result *(*result)(void *context, uint32_t replica);
    /* Whose replicas the last round has asked. NULL: those of the founding configuration. */
    const struct configuration *(*configuration)(void *context);
    /* Write a report about a silent replica. NULL: none are written. Returns: 0 or -1. */
    int (*report)(void *context, uint32_t replica, char path[PATH_MAX], struct problem *problem);
};

struct watcher_options {
    const struct founding *founding; /* borrowed, as all here */
    const char *state;
    uint32_t jobs;
    uint32_t ledger_count;
    const char *const *ledgers; /* local directories; any may be missing yet */
    uint32_t receipts_count;
    const char *const *receipts;
    const struct watcher_network *network;
    void (*on_event)(void *context, const struct watch_event *event);
    bool (*stops)(void *context); /* asked now and then: end what is under way; may be NULL */
    void *context;
};

struct watcher;
struct watcher_store;

/* The options are copied. NULL with a problem: another watcher holds the directory, say. */
MUST_USE struct watcher *watcher_new(const struct watcher_options *options,
                                     struct problem *problem);
void watcher_free(struct watcher *watcher);
/* For others that take in receipts. */
struct watcher_store *watcher_store_of(const struct watcher *watcher);
/* Where the governance chain is kept as far as the ledgers have led; lives as the watcher. */
const char *watcher_chain_file(const struct watcher *watcher);

/* One round. asks: the replicas, too. Returns: 0, or -1 when this end fails. */
MUST_USE int watcher_round(struct watcher *watcher, bool asks, struct problem *problem);

/*
 * What it all comes to, the first that holds: 10 a proof was found, ever; 11 a ledger at hand is
 * damaged; 6 something could not be held against ledgers at hand; 3 a replica does not answer; 6 no
 * ledger reaches some receipts, or there is none; 5 a bad receipt came since the start; 0.
 */
enum exit_code watcher_exit_code(const struct watcher *watcher);

#endif
