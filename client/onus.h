/*
 * onus: the client library. A program opens a context, submits transactions, and gets receipts
 * that it can keep and show to anybody; the command line program is built on nothing else.
 *
 * The way of a request (protocol §5, §8): it is signed; written down durably; then sent to all
 * replicas. When the answers make a receipt that verifies, the receipt is stored and the caller is
 * told. If the program or the machine dies in between, onus_resume sends the very same bytes again
 * in the next run: one execution, the same receipts.
 *
 * It follows the consortium: when replicas speak of a later configuration, the governance chain is
 * fetched, verified and kept in the context, and requests in flight go on with the replicas of the
 * newest configuration. Nobody has to be told.
 *
 * Threads: a handle belongs to one thread. It has a loop of its own, which runs inside onus_run,
 * onus_run_until and the functions that say that they wait. Callbacks are called from there only,
 * and may submit further requests.
 *
 * Call sign_init (base/sign.h) once before anything else.
 */
#ifndef ONUS_CLIENT_ONUS_H
#define ONUS_CLIENT_ONUS_H

#include "client/session.h"
#include "host/context.h"
#include "host/receipt_store.h"

struct onus;

/* Something a person might want to know: a replica that lies, a link that went down. */
typedef void (*onus_notice)(void *context, const char *text);

struct onus_options {
    struct context *context; /* borrowed */
    bool look_only;          /* no key, no store: for onus_query_status alone */
    onus_notice notice;      /* may be NULL */
    void *notice_context;
};

/* Load the user's key, open the receipt store, and start to dial. Returns: NULL with a problem. */
MUST_USE struct onus *onus_open(const struct onus_options *options, struct problem *problem);
/*
 * Wait until all that was reported is on the disk, then close. What is still in flight stays
 * written down for onus_resume; its callbacks do not come any more. NULL is ignored.
 * Returns: 0, or -1 when the receipts could not be written.
 */
int onus_close(struct onus *onus, struct problem *problem);

/*
 * Wait until enough replicas have answered to submit (a quorum, or after a second f + 1 of them),
 * in the newest configuration.
 * Returns: 0, or -1 with EXIT_UNREACHABLE and a list of those that do not answer.
 */
MUST_USE int onus_connect(struct onus *onus, uint32_t timeout_ms, struct problem *problem);

/* ---- submitting ------------------------------------------------------------------------------ */

struct onus_call {
    struct span procedure;
    uint32_t argument_count; /* at most ARGUMENTS_MAX */
    const struct span *arguments;
};

enum onus_status {
    ONUS_EXECUTED = 1, /* with a verified receipt for every call */
    ONUS_REJECTED,     /* f + 1 replicas say that it will never be executed from now on */
    ONUS_FAILED        /* it could not be written down and was not sent: see onus_failure */
};

/* The answer to one request. Lives during the callback. */
struct onus_result {
    enum onus_status status;
    struct digest id;                      /* the transaction id of the request */
    struct span request;                   /* its bytes, when executed */
    uint64_t first_index;                  /* of its first call */
    uint32_t outcome_count;                /* one a call */
    const struct span *outcomes;           /* encoded */
    enum reject_reason reason;             /* when rejected */
    const struct receipt_bundle *receipts; /* when executed: see receipt_bundle_visit */
    const struct pre_prepare *batch;       /* when executed: the batch it was executed in */
};

typedef void (*onus_done)(void *user, const struct onus_result *result);

/* Something small to be committed together with the request's bytes: see receipt_store.h. */
struct onus_note {
    struct span key;
    struct span value;
};

struct onus_submission {
    const struct onus_call *calls;
    uint32_t call_count; /* 1..CALLS_MAX */
    enum request_mode mode;
    onus_done done; /* called once, unless the handle is closed before */
    void *user;
    const struct onus_note *note; /* may be NULL */
};

/*
 * Sign a request and send it on its way. Returns at once.
 * Out: id: its transaction id; may be NULL.
 * Returns: 0; 1 when too many requests are in flight: run, then try again; -1 with a problem
 *          (EXIT_USAGE when the request is larger than a limit).
 */
MUST_USE int onus_submit(struct onus *onus, struct digest *id,
                         const struct onus_submission *submission, struct problem *problem);

/*
 * Send again what an earlier run wrote down and got no receipt for.
 * Out: count: how many requests. Returns: 0 or -1.
 */
MUST_USE int onus_resume(struct onus *onus, uint32_t *count, onus_done done, void *user,
                         struct problem *problem);

/* Requests without an answer, those of onus_resume included. */
uint32_t onus_in_flight(const struct onus *onus);
/* How many of them are not yet with the replicas: being written down, or in a link's queue. */
bool onus_all_sent(const struct onus *onus);

/* ---- running --------------------------------------------------------------------------------- */

typedef bool (*onus_condition)(void *context);

/*
 * Run until the condition holds or time is up. The condition is asked after every turn of the loop
 * and must be cheap. Returns: whether it holds.
 */
bool onus_run_until(struct onus *onus, onus_condition condition, void *context,
                    uint32_t timeout_ms);
/* Why nothing can be written down any more; its code is EXIT_OK when all is well. */
const struct problem *onus_failure(const struct onus *onus);

/* ---- looking --------------------------------------------------------------------------------- */

/* Receipts held: for receipt_store_find and the visitors. Flush first to see the newest. */
struct receipt_store *onus_store(struct onus *onus);
void onus_flush(struct onus *onus);

/* Change a note. Returns: 0 or -1. */
MUST_USE int onus_put_note(struct onus *onus, const struct onus_note *note,
                           struct problem *problem);

/*
 * The newest configuration that is known, with the addresses that are used. Valid until the loop
 * runs again.
 */
const struct configuration *onus_configuration(const struct onus *onus);
/* Are replicas being asked for a later one, or is it about to be used? */
bool onus_is_following(const struct onus *onus);

/* What is known of a replica of it. */
struct onus_replica {
    bool up;
    bool settled;                              /* is up, or was tried and failed */
    const struct status_reply_message *status; /* NULL: no answer since the link came up */
    const char *reason;                        /* why it is down */
};
struct onus_replica onus_replica(const struct onus *onus, uint32_t replica);
/* Ask all replicas for their status; the answers appear in onus_replica. */
void onus_query_status(struct onus *onus);
/* Certificates verified so far. */
uint64_t onus_verified_count(const struct onus *onus);

#endif
