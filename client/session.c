/*
 * session: see session.h. This file: requests in flight, links, retries, rejections, status.
 *
 * Invariants: a flight is in exactly one bucket and in the list; it is forgotten before its effect
 * is called, so an effect may submit and cancel as it likes; deadline_ms is never later than the
 * earliest time at which a flight wants attention.
 */
#include "client/session.h"

#include <stdlib.h>

#include "base/check.h"
#include "client/session_internal.h"

#define SCRATCH_SIZE_MAX (2u * FRAME_SIZE_MAX) /* a message, unpacked twice */

/* Have room for what so many replicas say. Returns: false: out of memory. */
static bool make_reply_slots(struct session *session, uint32_t replica_count) {
    for (uint32_t r = 0; r < replica_count; r++) {
        struct peer *const peer = &session->peers[r];
        if (peer->replies == NULL) {
            peer->replies = calloc(SESSION_REPLIES_MAX, sizeof *peer->replies);
        }
        if (peer->replies == NULL) {
            return false;
        }
    }
    return true;
}

static void drop_claims(struct session *session, uint32_t replica) {
    for (uint32_t slot = 0; slot < SESSION_CLAIMS_MAX; slot++) {
        session_drop_claim(session, replica, slot);
    }
}

struct session *session_create(const struct configuration *configuration,
                               const struct session_effects *effects) {
    struct session *const session = calloc(1, sizeof *session);
    if (session == NULL) {
        return NULL;
    }
    session->configuration = *configuration;
    session->effects = *effects;
    session->deadline_ms = UINT64_MAX;
    arena_init(&session->scratch, SCRATCH_SIZE_MAX);
    buffer_init(&session->frame, STATEMENT_SIZE_MAX);
    for (uint32_t i = 0; i < SESSION_CERTIFIED_MAX; i++) {
        buffer_init(&session->certified[i].certificate, COMMIT_CERTIFICATE_SIZE_MAX);
    }
    session_begin_search(session);
    if (!make_reply_slots(session, configuration->replica_count)) {
        session_free(session);
        return NULL;
    }
    return session;
}

const struct configuration *session_configuration(const struct session *session) {
    return &session->configuration;
}

static void flight_free(struct flight *flight) {
    free(flight->bytes);
    free(flight);
}

void session_free(struct session *session) {
    if (session == NULL) {
        return;
    }
    while (session->first != NULL) {
        struct flight *const flight = session->first;
        session->first = flight->next;
        flight_free(flight);
    }
    for (uint32_t r = 0; r < REPLICAS_MAX; r++) {
        drop_claims(session, r);
        free(session->peers[r].replies);
    }
    for (uint32_t i = 0; i < SESSION_CERTIFIED_MAX; i++) {
        buffer_free(&session->certified[i].certificate);
    }
    buffer_free(&session->frame);
    arena_free(&session->scratch);
    free(session);
}

/* ---- requests in flight ---------------------------------------------------------------------- */

static struct flight **flight_bucket(struct session *session, const struct digest *request_id) {
    /* The id is a hash that its author could bias, but the author is this very client. */
    return &session->buckets[load_u32_be(request_id->bytes) & (SESSION_BUCKETS - 1)];
}

struct flight *session_find_flight(struct session *session, const struct digest *request_id) {
    struct flight *flight = *flight_bucket(session, request_id);
    while (flight != NULL && !digest_equal(&flight->request.id, request_id)) {
        flight = flight->chain;
    }
    return flight;
}

static void flight_link(struct session *session, struct flight *flight) {
    struct flight **const bucket = flight_bucket(session, &flight->request.id);
    flight->chain = *bucket;
    *bucket = flight;
    flight->previous = session->last;
    *(session->last == NULL ? &session->first : &session->last->next) = flight;
    session->last = flight;
    session->in_flight++;
    session->in_flight_size += flight->request.bytes.size;
}

static void flight_unlink(struct session *session, struct flight *flight) {
    struct flight **place = flight_bucket(session, &flight->request.id);
    while (*place != flight) {
        place = &(*place)->chain;
    }
    *place = flight->chain;
    *(flight->previous == NULL ? &session->first : &flight->previous->next) = flight->next;
    *(flight->next == NULL ? &session->last : &flight->next->previous) = flight->previous;
    session->in_flight--;
    session->in_flight_size -= flight->request.bytes.size;
}

void session_wake_at(struct session *session, uint64_t when_ms) {
    if (when_ms < session->deadline_ms) {
        session->deadline_ms = when_ms;
    }
}

static void flight_send(struct session *session, struct flight *flight, uint32_t replica) {
    if (session->peers[replica].up &&
        session->effects.send(session->effects.context, replica, MESSAGE_REQUEST,
                              flight->request.bytes)) {
        flight->unsent &= ~replica_bit(replica);
    } else {
        flight->unsent |= replica_bit(replica);
    }
}

static void flight_send_all(struct session *session, struct flight *flight) {
    for (uint32_t r = 0; r < session->configuration.replica_count; r++) {
        flight_send(session, flight, r);
    }
}

/* The first retry waits for longer than answers usually take, so that load makes no retries. */
static uint32_t first_retry_ms(const struct session *session) {
    uint32_t const patient_ms = 4 * session->latency_ms;
    return patient_ms < SESSION_RETRY_MS_MIN   ? SESSION_RETRY_MS_MIN
           : patient_ms > SESSION_RETRY_MS_MAX ? SESSION_RETRY_MS_MAX
                                               : patient_ms;
}

static struct flight *flight_create(const struct session *session,
                                    const struct session_request *request, uint64_t now_ms) {
    struct flight *const flight = calloc(1, sizeof *flight);
    uint8_t *const bytes = malloc(request->bytes.size);
    if (flight == NULL || bytes == NULL) {
        free(flight);
        free(bytes);
        return NULL;
    }
    memcpy(bytes, request->bytes.data, request->bytes.size);
    flight->bytes = bytes;
    flight->request.bytes = span_of(bytes, request->bytes.size);
    flight->request.id = request->id;
    flight->request.digest = request->digest;
    flight->request.min_index = request->min_index;
    flight->request.call_count = request->call_count;
    flight->tag = request->tag;
    flight->submitted_ms = now_ms;
    flight->retry_delay_ms = first_retry_ms(session);
    flight->retry_ms = now_ms + flight->retry_delay_ms;
    flight->busy_ms = UINT64_MAX;
    flight->busy_delay_ms = SESSION_BUSY_MS_MIN;
    /* Who is asked first for a receipt differs from request to request. */
    flight->query_next = request->id.bytes[0] % session->configuration.replica_count;
    return flight;
}

enum session_submitted session_submit(struct session *session,
                                      const struct session_request *request, uint64_t now_ms) {
    CHECK(request->bytes.size != 0 && request->call_count >= 1);
    if (session_find_flight(session, &request->id) != NULL) {
        return SESSION_DUPLICATE;
    }
    if (session->in_flight >= SESSION_IN_FLIGHT_MAX ||
        request->bytes.size > SESSION_IN_FLIGHT_SIZE_MAX - session->in_flight_size) {
        return SESSION_FULL;
    }
    struct flight *const flight = flight_create(session, request, now_ms);
    if (flight == NULL) {
        return SESSION_FULL;
    }
    flight_link(session, flight);
    flight_send_all(session, flight);
    session_wake_at(session, flight->retry_ms);
    return SESSION_SUBMITTED;
}

void session_cancel(struct session *session, const struct digest *request_id) {
    struct flight *const flight = session_find_flight(session, request_id);
    if (flight != NULL) {
        flight_unlink(session, flight);
        flight_free(flight);
    }
}

void session_complete(struct session *session, struct flight *flight,
                      const struct request_result *result, const struct certified *certified,
                      uint64_t now_ms) {
    uint64_t const elapsed_ms = now_ms - flight->submitted_ms;
    uint32_t const sample_ms =
        elapsed_ms < SESSION_RETRY_MS_MAX ? (uint32_t)elapsed_ms : SESSION_RETRY_MS_MAX;
    session->latency_ms = (7 * session->latency_ms + sample_ms) / 8;
    flight_unlink(session, flight);
    struct session_receipts const receipts = {
        .request_id = &flight->request.id,
        .request = flight->request.bytes,
        .result = result,
        .certificate = buffer_span(&certified->certificate),
        .certificate_digest = certified->certificate_digest,
        .pre_prepare = &certified->pre_prepare,
    };
    session->effects.receipted(session->effects.context, flight->tag, &receipts);
    flight_free(flight);
}

static void flight_reject(struct session *session, struct flight *flight,
                          enum reject_reason reason) {
    flight_unlink(session, flight);
    session->effects.rejected(session->effects.context, flight->tag, &flight->request.id, reason);
    flight_free(flight);
}

void session_distrust(struct session *session, uint32_t replica, const char *why) {
    struct peer *const peer = &session->peers[replica];
    if (!peer->distrusted) {
        peer->distrusted = true;
        if (session->effects.distrusted != NULL) {
            session->effects.distrusted(session->effects.context, replica, why);
        }
    }
}

/* ---- retries --------------------------------------------------------------------------------- */

static void ask_for_receipt(struct session *session, const struct flight *flight,
                            uint32_t replica) {
    buffer_clear(&session->frame);
    /* One that does not get through is asked again at the next retry. */
    if (session->peers[replica].up && receipt_query_encode(&session->frame, &flight->request.id)) {
        (void)session->effects.send(session->effects.context, replica, MESSAGE_RECEIPT_QUERY,
                                    buffer_span(&session->frame));
    }
}

static void ask_next_for_receipt(struct session *session, struct flight *flight) {
    uint32_t const count = session->configuration.replica_count;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t const replica = (flight->query_next + i) % count;
        if (session->peers[replica].up) {
            ask_for_receipt(session, flight, replica);
            flight->query_next = replica + 1;
            return;
        }
    }
}

static void ask_all_for_receipt(struct session *session, struct flight *flight) {
    flight->asked_all = true;
    flight->unknown = 0;
    for (uint32_t r = 0; r < session->configuration.replica_count; r++) {
        ask_for_receipt(session, flight, r);
    }
}

static void flight_retry(struct session *session, struct flight *flight, uint64_t now_ms) {
    flight_send_all(session, flight);
    if (flight->asked_all) {
        ask_all_for_receipt(session, flight);
    } else {
        ask_next_for_receipt(session, flight);
    }
    flight->retry_delay_ms = 2 * flight->retry_delay_ms > SESSION_RETRY_MS_MAX
                                 ? SESSION_RETRY_MS_MAX
                                 : 2 * flight->retry_delay_ms;
    flight->retry_ms = now_ms + flight->retry_delay_ms;
}

static void flight_retry_busy(struct session *session, struct flight *flight) {
    uint64_t const busy = flight->busy | flight->unsent;
    flight->busy = 0;
    flight->busy_ms = UINT64_MAX;
    for (uint32_t r = 0; r < session->configuration.replica_count; r++) {
        if ((busy & replica_bit(r)) != 0) {
            flight_send(session, flight, r);
        }
    }
}

void session_tick(struct session *session, uint64_t now_ms) {
    if (now_ms < session->deadline_ms) {
        return;
    }
    session->deadline_ms = UINT64_MAX;
    for (struct flight *flight = session->first; flight != NULL; flight = flight->next) {
        if (flight->retry_ms <= now_ms) {
            flight_retry(session, flight, now_ms);
        } else if (flight->busy_ms <= now_ms) {
            flight_retry_busy(session, flight);
        }
        session_wake_at(session, flight->retry_ms);
        session_wake_at(session, flight->busy_ms);
    }
    session_search_tick(session, now_ms);
}

uint64_t session_deadline(const struct session *session) {
    return session->deadline_ms;
}

void session_on_link(struct session *session, uint32_t replica, bool up, uint64_t now_ms) {
    CHECK(replica < session->configuration.replica_count);
    struct peer *const peer = &session->peers[replica];
    peer->up = up;
    peer->distrusted = false;
    peer->has_status = false;
    if (!up) {
        session_search_down(session, replica, now_ms);
        return;
    }
    /* Whatever was sent over the old link may be lost. */
    for (struct flight *flight = session->first; flight != NULL; flight = flight->next) {
        flight_send(session, flight, replica);
    }
}

/* ---- another configuration ------------------------------------------------------------------- */

/* Nobody of the new replicas has said anything about it yet. */
static void flight_begin_anew(struct session *session, struct flight *flight, uint64_t now_ms) {
    flight->unsent = 0;
    flight->busy = 0;
    flight->late = 0;
    flight->refused = 0;
    flight->unknown = 0;
    flight->asked_all = false;
    flight->busy_ms = UINT64_MAX;
    flight->busy_delay_ms = SESSION_BUSY_MS_MIN;
    flight->query_next %= session->configuration.replica_count;
    flight->retry_delay_ms = first_retry_ms(session);
    flight->retry_ms = now_ms + flight->retry_delay_ms;
    session_wake_at(session, flight->retry_ms);
}

bool session_reconfigure(struct session *session, const struct configuration *configuration,
                         uint64_t now_ms) {
    CHECK(configuration->number > session->configuration.number);
    CHECK(digest_equal(&configuration->service, &session->configuration.service));
    if (!make_reply_slots(session, configuration->replica_count)) {
        return false;
    }
    for (uint32_t r = 0; r < REPLICAS_MAX; r++) {
        struct peer *const peer = &session->peers[r];
        struct reply_slot *const replies = peer->replies;
        drop_claims(session, r);
        if (replies != NULL) {
            memset(replies, 0, SESSION_REPLIES_MAX * sizeof *replies);
        }
        memset(peer, 0, sizeof *peer);
        peer->replies = replies;
    }
    session->configuration = *configuration;
    session->deadline_ms = UINT64_MAX;
    session_begin_search(session);
    for (struct flight *flight = session->first; flight != NULL; flight = flight->next) {
        flight_begin_anew(session, flight, now_ms);
    }
    return true;
}

/* ---- rejections ------------------------------------------------------------------------------ */

/* So many that one of them at least is correct. */
static bool is_enough(const struct session *session, uint64_t replicas) {
    return (uint32_t)__builtin_popcountll(replicas) > session->configuration.faults_max;
}

static void flight_busy(struct session *session, struct flight *flight, uint32_t replica,
                        uint64_t now_ms) {
    flight->busy |= replica_bit(replica);
    if (flight->busy_ms == UINT64_MAX) {
        flight->busy_ms = now_ms + flight->busy_delay_ms;
        flight->busy_delay_ms = 2 * flight->busy_delay_ms > SESSION_BUSY_MS_MAX
                                    ? SESSION_BUSY_MS_MAX
                                    : 2 * flight->busy_delay_ms;
        session_wake_at(session, flight->busy_ms);
    }
}

/* It may have been executed while it was in time: then somebody has the receipt. */
static void flight_late(struct session *session, struct flight *flight) {
    if (!is_enough(session, flight->late)) {
        return;
    }
    if (!flight->asked_all) {
        ask_all_for_receipt(session, flight);
    } else if (is_enough(session, flight->unknown)) {
        flight_reject(session, flight, flight->delay);
    }
}

static void take_late(struct session *session, struct flight *flight, uint32_t replica,
                      enum reject_reason reason) {
    flight->delay = flight->late == 0 ? reason : flight->delay;
    flight->late |= replica_bit(replica);
    flight_late(session, flight);
}

/* Is its author one of our configuration? Uses the scratch. */
static bool author_is_known(struct session *session, const struct flight *flight) {
    struct request request;
    return request_decode(&request, &session->scratch, &session->configuration.service,
                          flight->request.bytes) == CODEC_OK &&
           configuration_has_author(&session->configuration, &request.author);
}

static void take_reject_author(struct session *session, struct flight *flight, uint32_t replica,
                               uint64_t now_ms) {
    if ((flight->late & replica_bit(replica)) == 0 && author_is_known(session, flight)) {
        /* One of us is behind: if it is the replica, it will know the author in a moment. */
        session_suspect(session, replica, now_ms);
        flight_busy(session, flight, replica, now_ms);
    } else {
        /* It may have been one when the request was executed. */
        take_late(session, flight, replica, REJECT_AUTHOR);
    }
}

static void take_reject(struct session *session, uint32_t replica, struct span payload,
                        uint64_t now_ms) {
    struct reject_message reject;
    if (reject_message_decode(&reject, &session->scratch, payload) != CODEC_OK) {
        session_distrust(session, replica, "sent a rejection that cannot be read");
        return;
    }
    struct flight *const flight = session_find_flight(session, &reject.request_id);
    if (flight == NULL) {
        return;
    }
    switch (reject.reason) {
    case REJECT_BUSY:
    case REJECT_TOO_EARLY: /* this replica is behind: it will take it in a moment */
        flight_busy(session, flight, replica, now_ms);
        return;
    case REJECT_EXPIRED:
        take_late(session, flight, replica, REJECT_EXPIRED);
        return;
    case REJECT_AUTHOR:
        take_reject_author(session, flight, replica, now_ms);
        return;
    case REJECT_UNKNOWN:
        flight->unknown |= replica_bit(replica);
        flight_late(session, flight);
        return;
    case REJECT_MALFORMED:
    case REJECT_SIGNATURE:
        flight->refusal = flight->refused == 0 ? reject.reason : flight->refusal;
        flight->refused |= replica_bit(replica);
        if (is_enough(session, flight->refused)) {
            flight_reject(session, flight, flight->refusal);
        }
        return;
    case REJECT_NOT_VOTING:
        return; /* the others do */
    }
}

/* ---- status ---------------------------------------------------------------------------------- */

void session_query_status(struct session *session) {
    for (uint32_t r = 0; r < session->configuration.replica_count; r++) {
        if (session->peers[r].up) {
            /* Lost ones are asked for again by whoever wants them. */
            (void)session->effects.send(session->effects.context, r, MESSAGE_STATUS_QUERY,
                                        span_of(NULL, 0));
        }
    }
}

static void take_status(struct session *session, uint32_t replica, struct span payload,
                        uint64_t now_ms) {
    struct status_reply_message status;
    /* In another configuration it may have another number. */
    if (status_reply_message_decode(&status, &session->scratch, payload) != CODEC_OK ||
        (status.replica != replica && status.config == session->configuration.number) ||
        status.last_error.size > sizeof session->peers[0].last_error) {
        session_distrust(session, replica, "sent a status that cannot be read");
        return;
    }
    if (!digest_equal(&status.service, &session->configuration.service)) {
        session_distrust(session, replica, "belongs to another service");
        return;
    }
    struct peer *const peer = &session->peers[replica];
    peer->status = status;
    if (status.last_error.size != 0) {
        memcpy(peer->last_error, status.last_error.data, status.last_error.size);
    }
    peer->status.last_error = span_of(peer->last_error, status.last_error.size);
    peer->has_status = true;
    if (status.config > session->configuration.number) {
        session_suspect(session, replica, now_ms);
    }
    if (session->effects.status != NULL) {
        session->effects.status(session->effects.context, replica);
    }
}

const struct status_reply_message *session_status(const struct session *session, uint32_t replica) {
    const struct peer *const peer = &session->peers[replica];
    return peer->has_status ? &peer->status : NULL;
}

bool session_next_index(const struct session *session, uint32_t answers, uint64_t *next_index) {
    uint64_t indices[REPLICAS_MAX];
    uint32_t count = 0;
    /* Sorted as they come in, highest first. Only what is committed will never be rolled back. */
    for (uint32_t r = 0; r < session->configuration.replica_count; r++) {
        const struct status_reply_message *const status = &session->peers[r].status;
        if (!session->peers[r].has_status || status->config > session->configuration.number) {
            continue;
        }
        uint64_t const committed = status->committed_index + 1;
        uint64_t const index = committed < status->next_index ? committed : status->next_index;
        uint32_t at = count++;
        for (; at > 0 && indices[at - 1] < index; at--) {
            indices[at] = indices[at - 1];
        }
        indices[at] = index;
    }
    if (count < answers || count <= session->configuration.faults_max) {
        return false;
    }
    /* f liars at most can claim too much: one of the f + 1 highest is what a correct one says. */
    *next_index = indices[session->configuration.faults_max];
    return true;
}

/* ---- frames ---------------------------------------------------------------------------------- */

void session_on_frame(struct session *session, uint32_t replica, uint8_t kind, struct span payload,
                      uint64_t now_ms) {
    CHECK(replica < session->configuration.replica_count);
    if (session->peers[replica].distrusted) {
        return;
    }
    arena_reset(&session->scratch);
    switch (kind) {
    case MESSAGE_REPLY:
        session_take_reply(session, replica, payload, now_ms);
        return;
    case MESSAGE_RESULT:
        session_take_result(session, replica, payload, now_ms);
        return;
    case MESSAGE_RECEIPT_REPLY:
        session_take_receipt(session, replica, payload, now_ms);
        return;
    case MESSAGE_REJECT:
        take_reject(session, replica, payload, now_ms);
        return;
    case MESSAGE_STATUS_REPLY:
        take_status(session, replica, payload, now_ms);
        return;
    case MESSAGE_CHAIN_REPLY:
        session_take_links(session, replica, payload, now_ms);
        return;
    default: /* a number from outside, not one of our enum's values */
        session_distrust(session, replica, "sent a frame of a kind that is not for clients");
        return;
    }
}

uint32_t session_in_flight(const struct session *session) {
    return session->in_flight;
}

uint64_t session_verified_count(const struct session *session) {
    return session->verified_count;
}
