/*
 * session_batch: replies, results and receipts as they come from replicas, and how they become
 * certificates (protocol §5 step 4, §8).
 *
 * A replica's reply for batch s lies in its slot s mod SESSION_REPLIES_MAX, its claim about the
 * results in slot s mod SESSION_CLAIMS_MAX; what is newer displaces what is older, always its own.
 * Replies and claims belong together when they name the same pre-prepare digest, which covers the
 * primary's signature. Certificates are verified only when Q replies agree with a claim, so it
 * takes more than f liars to make a session waste its time.
 */
#include <stdlib.h>

#include "base/check.h"
#include "base/sign.h"
#include "client/session_internal.h"
#include "host/receipt_bundle.h"
#include "ledger/derive.h"
#include "receipts/certificate.h"

#define CLAIM_ARENA_SIZE_MAX SESSION_CLAIMS_SIZE_MAX

/* ---- certificates ---------------------------------------------------------------------------- */

static struct certified *certified_slot(struct session *session, uint64_t seq) {
    return &session->certified[seq % SESSION_CERTIFIED_MAX];
}

static struct certified *find_certified(struct session *session, uint64_t seq,
                                        const struct digest *digest) {
    struct certified *const slot = certified_slot(session, seq);
    return slot->present && digest_equal(&slot->digest, digest) ? slot : NULL;
}

/*
 * Verify a certificate by its configuration and remember its batch. Returns: the slot, or NULL; why
 * says then which check failed.
 */
static struct certified *remember_certificate(struct session *session,
                                              const struct configuration *configuration,
                                              const struct certificate *certificate,
                                              enum receipt_check *why) {
    struct verified_batch batch;
    session->verified_count++;
    *why = certificate_verify(&batch, &session->scratch, configuration, certificate);
    if (*why != RECEIPT_VALID) {
        return NULL;
    }
    struct certified *const slot = certified_slot(session, batch.pre_prepare.seq);
    buffer_clear(&slot->certificate);
    slot->present = certificate_encode(&slot->certificate, certificate);
    if (!slot->present) {
        return NULL;
    }
    slot->digest = batch.digest;
    slot->certificate_digest = hash_bytes(buffer_span(&slot->certificate));
    slot->pre_prepare = batch.pre_prepare;
    return slot;
}

/* ---- votes ----------------------------------------------------------------------------------- */

static struct reply_slot *reply_slot(struct session *session, uint32_t replica, uint64_t seq) {
    return &session->peers[replica].replies[seq % SESSION_REPLIES_MAX];
}

/* The replicas whose replies vouch for the pre-prepare that a claim is about. */
static uint64_t claim_voters(struct session *session, const struct claim *claim) {
    const struct pre_prepare *const batch = &claim->pre_prepare;
    uint32_t const primary = configuration_primary(&session->configuration, batch->view);
    uint64_t voters = 0;
    for (uint32_t r = 0; r < session->configuration.replica_count; r++) {
        const struct reply_slot *const slot = reply_slot(session, r, batch->seq);
        if (!slot->present || slot->seq != batch->seq || slot->view != batch->view ||
            !digest_equal(&slot->pre_prepare_digest, &claim->digest)) {
            continue;
        }
        bool const signs_again = r != primary;
        if (signs_again || memcmp(slot->signature.bytes, claim->message.pre_prepare.signature.bytes,
                                  SIGNATURE_SIZE) == 0) {
            voters |= replica_bit(r);
        }
    }
    return voters;
}

/* The primary and the first others, Q in all; 0 when there are too few. */
static uint64_t choose_signers(const struct session *session, uint64_t voters, uint32_t primary) {
    if ((voters & replica_bit(primary)) == 0 ||
        (uint32_t)__builtin_popcountll(voters) < session->configuration.quorum) {
        return 0;
    }
    uint64_t signers = replica_bit(primary);
    uint64_t others = voters & ~signers;
    for (uint32_t i = 1; i < session->configuration.quorum; i++) {
        uint64_t const lowest = others & -others;
        signers |= lowest;
        others &= ~lowest;
    }
    return signers;
}

/* Find out who spoilt a certificate: every reply is checked by itself. */
static void expose_liars(struct session *session, const struct claim *claim, uint64_t voters) {
    const struct pre_prepare *const body = &claim->pre_prepare;
    struct prepared_batch const batch = {
        .config = body->config, .view = body->view, .seq = body->seq, .digest = claim->digest};
    uint32_t const primary = configuration_primary(&session->configuration, body->view);
    for (uint32_t r = 0; r < session->configuration.replica_count; r++) {
        if ((voters & replica_bit(r)) == 0 || r == primary) {
            continue;
        }
        struct reply_slot *const slot = reply_slot(session, r, body->seq);
        struct prepare prepare;
        prepare_rebuild(&prepare, &session->configuration.service, &batch, r, &slot->nonce);
        buffer_clear(&session->frame);
        bool const encoded = prepare_encode(&session->frame, &prepare);
        struct sign_check const check = {
            .key = session->configuration.replicas[r].key,
            .signature = slot->signature,
            .body = buffer_span(&session->frame),
            .label = LABEL_PREPARE,
        };
        if (!encoded || !sign_verify_universal(&session->configuration.service, &check)) {
            slot->present = false;
            session_distrust(session, r, "sent a vote that does not hold");
        }
    }
}

static struct certified *certify(struct session *session, const struct claim *claim,
                                 uint64_t signers, uint32_t primary, enum receipt_check *why) {
    struct signature signatures[REPLICAS_MAX];
    struct nonce nonces[REPLICAS_MAX];
    struct certificate certificate = {
        .pre_prepare = claim->message.pre_prepare.body,
        .pre_prepare_signature = claim->message.pre_prepare.signature,
        .signers = signers,
        .signatures = signatures,
        .nonces = nonces,
    };
    for (uint32_t r = 0; r < session->configuration.replica_count; r++) {
        if ((signers & replica_bit(r)) == 0) {
            continue;
        }
        const struct reply_slot *const slot = reply_slot(session, r, claim->pre_prepare.seq);
        nonces[certificate.nonce_count++] = slot->nonce;
        if (r != primary) {
            signatures[certificate.signature_count++] = slot->signature;
        }
    }
    return remember_certificate(session, &session->configuration, &certificate, why);
}

/* The certified batch of a claim, if Q replies make one. Liars found on the way do not count. */
static struct certified *claim_certified(struct session *session, const struct claim *claim) {
    uint32_t const primary =
        configuration_primary(&session->configuration, claim->pre_prepare.view);
    struct certified *certified = find_certified(session, claim->pre_prepare.seq, &claim->digest);
    /* Each turn either ends the loop or finds a liar, and there are finitely many. */
    while (certified == NULL) {
        uint64_t const voters = claim_voters(session, claim);
        uint64_t const signers = choose_signers(session, voters, primary);
        if (signers == 0) {
            return NULL;
        }
        enum receipt_check why;
        certified = certify(session, claim, signers, primary, &why);
        if (certified == NULL && why == RECEIPT_COMMITMENT) {
            reply_slot(session, primary, claim->pre_prepare.seq)->present = false;
            session_distrust(session, primary, "sent a nonce that it had not committed to");
        } else if (certified == NULL) {
            expose_liars(session, claim, signers);
            if ((claim_voters(session, claim) & signers) == signers) {
                return NULL; /* the pre-prepare itself does not hold: nobody can vote for it */
            }
        }
    }
    return certified;
}

/* ---- results --------------------------------------------------------------------------------- */

void session_drop_claim(struct session *session, uint32_t replica, uint32_t slot) {
    struct peer *const peer = &session->peers[replica];
    struct claim *const claim = peer->claims[slot];
    if (claim != NULL) {
        peer->claims[slot] = NULL;
        peer->claims_size -= claim->arena.used;
        arena_free(&claim->arena);
        free(claim);
    }
}

/* Report every request of a certified claim that is still wanted. */
static void complete_claim(struct session *session, const struct claim *claim,
                           const struct certified *certified, uint64_t now_ms) {
    /* An effect may lead back here with other frames only by way of the caller, never at once. */
    for (uint32_t i = 0; i < claim->message.count; i++) {
        const struct request_result *const result = &claim->message.results[i];
        struct flight *const flight = session_find_flight(session, &result->request_id);
        if (flight == NULL) {
            continue;
        }
        if (receipt_bundle_holds(&session->configuration.service, &flight->request, result,
                                 &certified->pre_prepare,
                                 session->configuration.parameters.window)) {
            session_complete(session, flight, result, certified, now_ms);
        } else {
            session_distrust(session, claim->from, "sent a result that is not in the batch");
            return;
        }
    }
}

/* Try what a replica claims about a batch. */
static void try_claim(struct session *session, uint32_t replica, uint64_t seq, uint64_t now_ms) {
    uint32_t const slot = (uint32_t)(seq % SESSION_CLAIMS_MAX);
    struct claim *const claim = session->peers[replica].claims[slot];
    if (claim == NULL || claim->pre_prepare.seq != seq) {
        return;
    }
    const struct certified *const certified = claim_certified(session, claim);
    if (certified != NULL) {
        complete_claim(session, claim, certified, now_ms);
        session_drop_claim(session, replica, slot);
    }
}

void session_take_reply(struct session *session, uint32_t replica, struct span payload,
                        uint64_t now_ms) {
    struct reply_message reply;
    if (reply_message_decode(&reply, &session->scratch, payload) != CODEC_OK) {
        session_distrust(session, replica, "sent a reply that cannot be read");
        return;
    }
    if (reply.replica != replica) {
        /* Its number in the batch's configuration, which is not ours then; or it lies. */
        session_suspect(session, replica, now_ms);
        return;
    }
    *reply_slot(session, replica, reply.seq) = (struct reply_slot){
        .present = true,
        .view = reply.view,
        .seq = reply.seq,
        .pre_prepare_digest = reply.pre_prepare_digest,
        .signature = reply.signature,
        .nonce = reply.nonce,
    };
    for (uint32_t r = 0; r < session->configuration.replica_count; r++) {
        try_claim(session, r, reply.seq, now_ms);
    }
}

/* Of another configuration's batches the replicas have whole receipts, which say by whom. */
static bool claim_is_wanted(struct session *session, const struct claim *claim) {
    if (claim->pre_prepare.config != session->configuration.number) {
        return false;
    }
    for (uint32_t i = 0; i < claim->message.count; i++) {
        if (session_find_flight(session, &claim->message.results[i].request_id) != NULL) {
            return true;
        }
    }
    return false;
}

/* Make room for one more claim of this replica, dropping its oldest ones. */
static void make_room(struct session *session, uint32_t replica, size_t size) {
    struct peer *const peer = &session->peers[replica];
    while (peer->claims_size + size > SESSION_CLAIMS_SIZE_MAX) {
        uint32_t oldest = SESSION_CLAIMS_MAX;
        for (uint32_t i = 0; i < SESSION_CLAIMS_MAX; i++) {
            if (peer->claims[i] != NULL && (oldest == SESSION_CLAIMS_MAX ||
                                            peer->claims[i]->order < peer->claims[oldest]->order)) {
                oldest = i;
            }
        }
        CHECK(oldest != SESSION_CLAIMS_MAX);
        session_drop_claim(session, replica, oldest);
    }
}

static struct claim *claim_create(struct session *session, uint32_t replica, struct span payload) {
    struct claim *const claim = calloc(1, sizeof *claim);
    if (claim == NULL) {
        return NULL;
    }
    claim->from = replica;
    claim->order = session->arrivals++;
    arena_init(&claim->arena, CLAIM_ARENA_SIZE_MAX);
    if (result_message_decode(&claim->message, &claim->arena, payload) != CODEC_OK ||
        pre_prepare_decode(&claim->pre_prepare, &session->scratch,
                           claim->message.pre_prepare.body) != CODEC_OK) {
        session_distrust(session, replica, "sent a result that cannot be read");
        arena_free(&claim->arena);
        free(claim);
        return NULL;
    }
    claim->digest =
        hash_statement(LABEL_PRE_PREPARE, &session->configuration.service,
                       claim->message.pre_prepare.body, &claim->message.pre_prepare.signature);
    return claim;
}

void session_take_result(struct session *session, uint32_t replica, struct span payload,
                         uint64_t now_ms) {
    struct claim *const claim = claim_create(session, replica, payload);
    if (claim == NULL) {
        return;
    }
    if (claim->pre_prepare.config > session->configuration.number) {
        session_suspect(session, replica, now_ms);
    }
    if (!claim_is_wanted(session, claim)) {
        arena_free(&claim->arena);
        free(claim);
        return;
    }
    uint64_t const seq = claim->pre_prepare.seq;
    uint32_t const slot = (uint32_t)(seq % SESSION_CLAIMS_MAX);
    session_drop_claim(session, replica, slot);
    make_room(session, replica, claim->arena.used);
    session->peers[replica].claims[slot] = claim;
    session->peers[replica].claims_size += claim->arena.used;
    try_claim(session, replica, seq, now_ms);
}

/* ---- whole receipts -------------------------------------------------------------------------- */

/* What a batch is judged by; NULL: it is not known, or not yet. */
static const struct configuration *configuration_of(struct session *session, uint32_t replica,
                                                    uint64_t number, uint64_t now_ms) {
    if (number == session->configuration.number) {
        return &session->configuration;
    }
    if (number > session->configuration.number) {
        session_suspect(session, replica, now_ms);
        return NULL;
    }
    return session->effects.configuration == NULL
               ? NULL
               : session->effects.configuration(session->effects.context, number);
}

static const struct certified *receipt_certified(struct session *session, uint32_t replica,
                                                 const struct configuration *configuration,
                                                 const struct certificate *certificate,
                                                 const struct pre_prepare *pre_prepare) {
    struct digest const digest =
        hash_statement(LABEL_PRE_PREPARE, &session->configuration.service, certificate->pre_prepare,
                       &certificate->pre_prepare_signature);
    const struct certified *certified = find_certified(session, pre_prepare->seq, &digest);
    if (certified == NULL) {
        enum receipt_check why;
        certified = remember_certificate(session, configuration, certificate, &why);
        if (certified == NULL && why != RECEIPT_VALID) {
            session_distrust(session, replica, receipt_check_text(why));
        }
    }
    return certified;
}

void session_take_receipt(struct session *session, uint32_t replica, struct span payload,
                          uint64_t now_ms) {
    struct receipt_reply_message reply;
    struct certificate certificate;
    struct pre_prepare pre_prepare;
    if (receipt_reply_message_decode(&reply, &session->scratch, payload) != CODEC_OK ||
        certificate_decode(&certificate, &session->scratch, reply.certificate) != CODEC_OK ||
        pre_prepare_decode(&pre_prepare, &session->scratch, certificate.pre_prepare) != CODEC_OK) {
        session_distrust(session, replica, "sent a receipt that cannot be read");
        return;
    }
    struct flight *const flight = session_find_flight(session, &reply.request_id);
    const struct configuration *const configuration =
        flight == NULL ? NULL : configuration_of(session, replica, pre_prepare.config, now_ms);
    if (configuration == NULL) {
        return;
    }
    if (!digest_equal(&reply.result.request_id, &reply.request_id) ||
        !receipt_bundle_holds(&configuration->service, &flight->request, &reply.result,
                              &pre_prepare, configuration->parameters.window)) {
        session_distrust(session, replica, "sent a receipt of another request");
        return;
    }
    const struct certified *const certified =
        receipt_certified(session, replica, configuration, &certificate, &pre_prepare);
    if (certified != NULL) {
        session_complete(session, flight, &reply.result, certified, now_ms);
    }
}
