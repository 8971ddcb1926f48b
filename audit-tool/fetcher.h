/*
 * fetcher: demands their ledgers of all replicas, each demand a signed challenge, and keeps what
 * they hand over and sign for in directories, one a replica (protocol §10). A round ends when all
 * have handed over what they had when they first answered, or at its deadline; the next goes on.
 *
 *   DIR/replica-<r>/              its ledger, as segment files: what onus-audit run takes
 *   DIR/replica-<r>.before-<n>/   what it handed over before it handed over another history
 *
 * <r> is its number in the founding configuration; of those that came later, and were in it under
 * no number, the first eight hex digits of the key. So a directory is one replica's for ever.
 *
 * Silence is told, never blamed. What a replica signed and is no ledger is evidence against it.
 */
#ifndef ONUS_AUDIT_TOOL_FETCHER_H
#define ONUS_AUDIT_TOOL_FETCHER_H

#include "audit-tool/eras.h"
#include "audit-tool/fetch_store.h"
#include "base/problem.h"
#include "base/sign.h"
#include "host/genesis_file.h"

enum fetch_state {
    FETCH_LEVEL = 1,       /* it handed over all that it had when it first answered, or more */
    FETCH_BEHIND = 2,      /* it answers, but the deadline came first */
    FETCH_SILENT = 3,      /* it was reached, and demands were not answered in time */
    FETCH_UNREACHABLE = 4, /* there was no link to it */
    FETCH_REFUSED = 5,     /* it says that it will not answer */
    FETCH_INVALID = 6,     /* answers that it did not sign, or to something else: nobody's guilt */
    FETCH_MALFORMED = 7    /* it signed for what is no ledger: see evidence */
};

struct fetch_result {
    enum fetch_state state;
    uint64_t entries;       /* of its ledger that are kept now */
    uint64_t available;     /* as many as it last said that it has; 0: it never said */
    uint64_t asked_ms;      /* wall clock: the first demand of this round; 0: none could be sent */
    uint64_t answered_ms;   /* the last answer that holds; 0: none */
    uint64_t demands;       /* of this round */
    uint64_t answers;       /* of this round, that hold */
    bool has_parted;        /* another history than before: that one was put aside */
    char reason[256];       /* one line for people; empty: all well */
    struct buffer demand;   /* the last one sent: an encoded Signed */
    struct buffer evidence; /* FETCH_MALFORMED: an evidence file that was verified */
};

struct fetcher_options {
    const struct founding *founding; /* borrowed */
    /*
     * The configurations that are known, with their links; borrowed. The replicas of the newest are
     * asked, by their numbers in it.
     */
    const struct eras *eras;
    struct secret_key secret; /* of a user or member, who demands */
    struct public_key key;
    const char *directory; /* borrowed; made when it is missing */
    uint64_t deadline_ms;  /* of a round */
    /*
     * A replica that was silent or unreachable in the round before, and has not answered yet, makes
     * nobody wait longer than this; 0: it gets the whole deadline, too.
     */
    uint64_t absent_ms;
    uint64_t replicas; /* bitmap: who is asked; 0: all */
    /* Where ledgers begin that are not there yet; NULL: at genesis. Copied. */
    const struct fetch_mark *base;
};

struct fetcher;

/* NULL with a problem. */
MUST_USE struct fetcher *fetcher_new(const struct fetcher_options *options,
                                     struct problem *problem);
void fetcher_free(struct fetcher *fetcher);

/* Whose replicas are asked: the newest that these options know. */
const struct configuration *fetcher_configuration(const struct fetcher_options *options);

/* The name of a replica's directory. */
#define FETCHER_NAME_SIZE 32u
void fetcher_name(char name[static FETCHER_NAME_SIZE], const struct fetcher_options *options,
                  uint32_t replica);

/*
 * Ask all until they are level, or the deadline. Blocks; answers that came before the deadline are
 * judged to the end. Results are those of this round.
 * stop: asked now and then, true ends the round; may be NULL.
 * Returns: 0, or -1 when this end fails (disk, memory): then only fetcher_free makes sense.
 */
MUST_USE int fetcher_round(struct fetcher *fetcher, bool (*stop)(void *context), void *context,
                           struct problem *problem);

/*
 * Of replica r, after a round; valid until the next. In a round, when asked for by `stop`: how far
 * it is, and then state is 0 while it goes on. NULL: it is not among those who are asked.
 */
const struct fetch_result *fetcher_result(const struct fetcher *fetcher, uint32_t replica);

#endif
