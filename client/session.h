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
 * Configurations (§9): a session talks to the replicas of one configuration, under their numbers in
 * it. When one of them speaks of a later one, the replicas are asked in turn for the links of the
 * governance chain that lead there; whoever made it up has cost a few queries. The driver judges
 * the links, and moves the session on (session_reconfigure): requests in flight go to the new
 * replicas, and receipts of earlier configurations are verified by those.
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
    /*
     * An earlier configuration; what is returned is valid until the next call. NULL: it is not
     * known. May be NULL: then none is.
     */
    const struct configuration *(*configuration)(void *context, uint64_t number);
    /*
     * Links of the governance chain, as a replica hands them over. Judge them in their order, and
     * keep what holds. Returns: how many of them lead on from what was known; -1: one does not
     * hold. May be NULL: then nobody is asked for links.
     */
    int (*links)(void *context, const struct span *links, uint32_t count);
    /*
     * The chain leads to this configuration, as far as can be learned now. The driver calls
     * session_reconfigure with it, later, for its links are still in use. Wanted if links is.
     */
    void (*configured)(void *context, uint64_t number);
};

/* configuration is copied. Returns: NULL: out of memory. */
MUST_USE struct session *session_create(const struct configuration *configuration,
                                        const struct session_effects *effects);
void session_free(struct session *session);

/*
 * Go on with a later configuration of the same service, which is copied. Its replicas count as out
 * of reach until session_on_link says otherwise; what the former ones said is forgotten, except
 * which batches are certified. No effect is called.
 * Returns: false when memory is short; then nothing has changed.
 */
MUST_USE bool session_reconfigure(struct session *session,
                                  const struct configuration *configuration, uint64_t now_ms);
const struct configuration *session_configuration(const struct session *session);
/* Are links of the governance chain being asked for, or has configured been called for some? */
bool session_is_following(const struct session *session);

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
 * least one correct replica has got there. It takes `answers` status replies, at least f + 1; those
 * of replicas that have gone over to a later configuration do not count.
 * Returns: false when there are fewer.
 */
MUST_USE bool session_next_index(const struct session *session, uint32_t answers,
                                 uint64_t *next_index);

uint32_t session_in_flight(const struct session *session);
/* Certificates verified so far, good or bad: one for each batch unless somebody lies. */
uint64_t session_verified_count(const struct session *session);

#endif
