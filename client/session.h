/*
 * session: what a client does to get receipts (protocol §5, §8), as a pure state machine.
 *
 * It sends each request to every replica and collects what comes back: from each replica one reply
 * for each batch (its signature and nonce), from one of them the result. Q replies and the result
 * make a certificate, which is verified once for all requests of the batch; each request's leaves
 * must lead to the batch root. Only then is a request reported, with all it takes to make a
 * receipt of each of its calls.
 *
 * What is lost is sent again, the very same bytes, so a request executes at most once and always
 * has the same receipts; and the other replicas are asked in turn for receipts that exist already.
 *
 * Invariants: a replica can only fill its own, bounded share of the memory; nothing it says keeps
 * what the others say from counting; nothing is reported that has not been verified. A replica
 * that is caught lying is not listened to until its link comes up anew.
 *
 * No clock, no sockets: time and frames come in through functions, frames leave through effects.
 * Effects are called from inside these functions, and may call session_submit and session_cancel.
 */
#ifndef ONUS_CLIENT_SESSION_H
#define ONUS_CLIENT_SESSION_H

#include "ledger/configuration.h"
#include "ledger/wire.h"

struct session;

/* A request that was executed: its outcomes, and what proves them. Lives during the effect. */
struct session_receipts {
    const struct digest *request_id;
    struct span request;                 /* the bytes that were submitted */
    const struct request_result *result; /* outcomes, indices, place in the batch */
    struct span certificate;             /* encoded, valid; shared by the requests of a batch */
    struct digest certificate_digest;    /* SHA-256 of it */
    const struct pre_prepare *pre_prepare;
};

struct session_effects {
    void *context;
    /* Returns: whether the frame was taken; if not, it is sent again later. */
    bool (*send)(void *context, uint32_t replica, enum message_kind kind, struct span payload);
    void (*receipted)(void *context, void *tag, const struct session_receipts *receipts);
    /* f + 1 replicas refuse it for this reason: it will not be executed from now on. */
    void (*rejected)(void *context, void *tag, const struct digest *request_id,
                     enum reject_reason reason);
    /* A status reply came in: session_status. May be NULL. */
    void (*status)(void *context, uint32_t replica);
    /* A replica was caught sending what cannot be true. May be NULL. */
    void (*distrusted)(void *context, uint32_t replica, const char *why);
};

/* configuration is borrowed and must outlive the session. Returns: NULL: out of memory. */
MUST_USE struct session *session_create(const struct configuration *configuration,
                                        const struct session_effects *effects);
void session_free(struct session *session);

/* A request ready to be sent. */
struct session_request {
    struct span bytes; /* encoded, copied by the session */
    struct digest id;
    struct digest digest; /* of header and signature */
    uint64_t min_index;
    uint32_t call_count;
    void *tag; /* handed back with the answer */
};

enum session_submitted {
    SESSION_SUBMITTED,
    SESSION_FULL, /* SESSION_IN_FLIGHT_MAX or _SIZE_MAX is reached, or memory exhausted */
    SESSION_DUPLICATE
};

MUST_USE enum session_submitted
session_submit(struct session *session, const struct session_request *request, uint64_t now_ms);
/* Stop working on a request, if it is in flight. It may be executed all the same. */
void session_cancel(struct session *session, const struct digest *request_id);

/* A link to a replica came up or went down. */
void session_on_link(struct session *session, uint32_t replica, bool up, uint64_t now_ms);
/* A frame from a replica; whatever is wrong with it is that replica's business alone. */
void session_on_frame(struct session *session, uint32_t replica, uint8_t kind, struct span payload,
                      uint64_t now_ms);
/* Time has passed. */
void session_tick(struct session *session, uint64_t now_ms);
/* When session_tick is wanted next; UINT64_MAX: not at all. */
uint64_t session_deadline(const struct session *session);

/* Ask all replicas that can be reached how they are. */
void session_query_status(struct session *session);
/* The last answer since the link came up; NULL: none yet. Valid until the next frame. */
const struct status_reply_message *session_status(const struct session *session, uint32_t replica);
/*
 * The index after which a new request may safely be ordered when the client holds no receipt: at
 * least one correct replica has got there. It takes `answers` status replies, at least f + 1.
 * Returns: false when there are fewer.
 */
MUST_USE bool session_next_index(const struct session *session, uint32_t answers,
                                 uint64_t *next_index);

uint32_t session_in_flight(const struct session *session);
/* Certificates verified so far, good or bad: one for each batch unless somebody lies. */
uint64_t session_verified_count(const struct session *session);

#endif
