/*
 * codec_statement: what replicas and members sign (protocol §3). Only the shape is judged here: a
 * statement that is well formed and breaks a rule of the ledger must decode, so that it can be
 * held against its author.
 */
#include "ledger/codec.h"

#include "base/check.h"
#include "ledger/field.h"
#include "ledger/onus.pb-c.h"
#include "ledger/pack.h"
#include "ledger/strict.h"

static_assert((int)BATCH_NORMAL == (int)ONUS__PB__BATCH_KIND__BATCH_KIND_NORMAL &&
                  (int)BATCH_START_OF_CONFIGURATION ==
                      (int)ONUS__PB__BATCH_KIND__BATCH_KIND_START_OF_CONFIGURATION,
              "batch kinds are numbered as in the schema");

/* ---- pre-prepare ----------------------------------------------------------------------------- */

static void take_evidence(enum codec_result *result, struct pre_prepare *out,
                          const Onus__Pb__PrePrepare *in) {
    field_take_number(result, &out->evidence_upto, in->evidence_upto);
    field_check_range(result, in->n_evidence_signers, (struct bounds){0, EVIDENCE_BATCHES_MAX});
    if (*result != CODEC_OK) {
        return;
    }
    out->evidence_count = (uint32_t)in->n_evidence_signers;
    for (size_t i = 0; i < in->n_evidence_signers; i++) {
        field_check_range(result, in->evidence_signers[i], (struct bounds){1, UINT64_MAX});
        out->evidence_signers[i] = in->evidence_signers[i];
    }
}

enum codec_result pre_prepare_decode(struct pre_prepare *out, struct arena *arena,
                                     struct span body) {
    struct unpacked const unpacked =
        strict_unpack(arena, &onus__pb__pre_prepare__descriptor, STATEMENT_SIZE_MAX, body);
    if (unpacked.result != CODEC_OK) {
        return unpacked.result;
    }
    const Onus__Pb__PrePrepare *const in = unpacked.message;
    enum codec_result result = CODEC_OK;
    field_take_number(&result, &out->config, in->config);
    field_take_number(&result, &out->view, in->view);
    field_take_seq(&result, &out->seq, in->seq);
    field_take_number(&result, &out->view_start, in->view_start);
    field_take_digest(&result, &out->ledger_root, in->ledger_root);
    field_take_number(&result, &out->ledger_leaves, in->ledger_leaves);
    field_take_digest(&result, &out->batch_root, in->batch_root);
    field_take_number(&result, &out->first_index, in->first_index);
    field_take_u32(&result, &out->tx_count, in->tx_count, (struct bounds){0, BATCH_CALLS_MAX});
    field_check_range(&result, (uint64_t)in->kind,
                      (struct bounds){BATCH_NORMAL, BATCH_START_OF_CONFIGURATION});
    out->kind = (enum batch_kind)in->kind;
    field_take_digest(&result, &out->nonce_hash, in->nonce_hash);
    take_evidence(&result, out, in);
    field_take_number(&result, &out->gov_index, in->gov_index);
    field_take_number(&result, &out->checkpoint_seq, in->checkpoint_seq);
    field_take_digest(&result, &out->checkpoint_digest, in->checkpoint_digest);
    field_take_number(&result, &out->time_ms, in->time_ms);
    return result;
}

/* Borrows from `in`; signers has room for EVIDENCE_BATCHES_MAX and is borrowed too. */
static Onus__Pb__PrePrepare pre_prepare_message(const struct pre_prepare *in, uint64_t *signers) {
    Onus__Pb__PrePrepare message = ONUS__PB__PRE_PREPARE__INIT;
    memcpy(signers, in->evidence_signers, in->evidence_count * sizeof *signers);
    message.config = in->config;
    message.view = in->view;
    message.seq = in->seq;
    message.view_start = in->view_start;
    message.ledger_root = pack_digest(&in->ledger_root);
    message.ledger_leaves = in->ledger_leaves;
    message.batch_root = pack_digest(&in->batch_root);
    message.first_index = in->first_index;
    message.tx_count = in->tx_count;
    message.kind = (Onus__Pb__BatchKind)in->kind;
    message.nonce_hash = pack_digest(&in->nonce_hash);
    message.evidence_upto = in->evidence_upto;
    message.n_evidence_signers = in->evidence_count;
    message.evidence_signers = signers;
    message.gov_index = in->gov_index;
    message.checkpoint_seq = in->checkpoint_seq;
    message.checkpoint_digest = pack_digest(&in->checkpoint_digest);
    message.time_ms = in->time_ms;
    return message;
}

bool pre_prepare_encode(struct buffer *out, const struct pre_prepare *in) {
    uint64_t signers[EVIDENCE_BATCHES_MAX];
    if (in->evidence_count > EVIDENCE_BATCHES_MAX) {
        return pack_refuse(out);
    }
    Onus__Pb__PrePrepare const message = pre_prepare_message(in, signers);
    return pack_message(out, &message.base);
}

bool pre_prepare_batch_digest(struct digest *out, const struct digest *service,
                              const struct pre_prepare *in) {
    uint64_t signers[EVIDENCE_BATCHES_MAX];
    uint8_t body[STATEMENT_SIZE_MAX];
    if (in->evidence_count > EVIDENCE_BATCHES_MAX) {
        return false;
    }
    Onus__Pb__PrePrepare message = pre_prepare_message(in, signers);
    message.nonce_hash = pack_span((struct span){0});
    CHECK(onus__pb__pre_prepare__get_packed_size(&message) <= sizeof body);
    size_t const size = onus__pb__pre_prepare__pack(&message, body);
    *out = hash_labelled(LABEL_BATCH, service, span_of(body, size));
    return true;
}

/* ---- prepare and nonces ---------------------------------------------------------------------- */

enum codec_result prepare_decode(struct prepare *out, struct arena *arena, struct span body) {
    struct unpacked const unpacked =
        strict_unpack(arena, &onus__pb__prepare__descriptor, STATEMENT_SIZE_MAX, body);
    if (unpacked.result != CODEC_OK) {
        return unpacked.result;
    }
    const Onus__Pb__Prepare *const in = unpacked.message;
    enum codec_result result = CODEC_OK;
    field_take_number(&result, &out->config, in->config);
    field_take_number(&result, &out->view, in->view);
    field_take_seq(&result, &out->seq, in->seq);
    field_take_u32(&result, &out->replica, in->replica, (struct bounds){0, REPLICAS_MAX - 1});
    field_take_digest(&result, &out->pre_prepare_digest, in->pre_prepare_digest);
    field_take_digest(&result, &out->nonce_hash, in->nonce_hash);
    return result;
}

bool prepare_encode(struct buffer *out, const struct prepare *in) {
    Onus__Pb__Prepare message = ONUS__PB__PREPARE__INIT;
    message.config = in->config;
    message.view = in->view;
    message.seq = in->seq;
    message.replica = in->replica;
    message.pre_prepare_digest = pack_digest(&in->pre_prepare_digest);
    message.nonce_hash = pack_digest(&in->nonce_hash);
    return pack_message(out, &message.base);
}

struct digest nonce_commit(const struct digest *service, uint64_t config, uint32_t replica,
                           uint64_t view, uint64_t seq, const struct nonce *nonce) {
    struct hash_state state;
    hash_init_labelled(&state, LABEL_NONCE, service);
    hash_update_u64(&state, config);
    hash_update_u32(&state, replica);
    hash_update_u64(&state, view);
    hash_update_u64(&state, seq);
    hash_update(&state, span_of(nonce->bytes, NONCE_SIZE));
    return hash_final(&state);
}

/* ---- endorsement ----------------------------------------------------------------------------- */

enum codec_result endorsement_decode(struct endorsement *out, struct arena *arena,
                                     struct span body) {
    struct unpacked const unpacked =
        strict_unpack(arena, &onus__pb__endorsement__descriptor, STATEMENT_SIZE_MAX, body);
    if (unpacked.result != CODEC_OK) {
        return unpacked.result;
    }
    const Onus__Pb__Endorsement *const in = unpacked.message;
    enum codec_result result = CODEC_OK;
    field_take_u32(&result, &out->member, in->member, (struct bounds){0, MEMBERS_MAX - 1});
    field_take_u32(&result, &out->replica, in->replica, (struct bounds){0, REPLICAS_MAX - 1});
    field_take_key(&result, &out->replica_key, in->replica_key);
    field_take_digest(&result, &out->tls_digest, in->tls_digest);
    field_take_address(&result, &out->peer_address, in->peer_address);
    field_take_address(&result, &out->client_address, in->client_address);
    return result;
}

bool endorsement_encode(struct buffer *out, const struct endorsement *in) {
    Onus__Pb__Endorsement message = ONUS__PB__ENDORSEMENT__INIT;
    message.member = in->member;
    message.replica = in->replica;
    message.replica_key = pack_span(span_of(in->replica_key.bytes, PUBLIC_KEY_SIZE));
    message.tls_digest = pack_digest(&in->tls_digest);
    message.peer_address = pack_span(in->peer_address);
    message.client_address = pack_span(in->client_address);
    return pack_message(out, &message.base);
}
