/*
 * codec_view: see codec_view.h. Only the shape is judged here: counts that go together, lengths,
 * ranges. A view-change that is well formed and breaks a rule must decode, so that it can be held
 * against its author.
 */
#include "ledger/codec_view.h"

#include "ledger/field.h"
#include "ledger/onus.pb-c.h"
#include "ledger/pack.h"
#include "ledger/strict.h"
#include "ledger/view.h"

#define FIELD_CHAIN 7u
#define FIELD_VIEW_CHANGES 1u

/* Every view but the first is asked for, and begun, with the messages here. */
static void take_new_view_number(enum codec_result *result, uint64_t *out, uint64_t in) {
    field_check_range(result, in, (struct bounds){1, NUMBER_MAX});
    *out = in;
}

/* ---- view-changes ---------------------------------------------------------------------------- */

static void take_chain_item(enum codec_result *result, struct chain_item *out,
                            const Onus__Pb__ChainItem *in) {
    *out = (struct chain_item){.has_evidence = in->evidence_leaf.len != 0};
    if (out->has_evidence) {
        field_take_digest(result, &out->evidence_leaf, in->evidence_leaf);
    }
    field_take_span(result, &out->pre_prepare.body, in->pre_prepare,
                    (struct bounds){1, STATEMENT_SIZE_MAX});
    field_take_signature(result, &out->pre_prepare.signature, in->signature);
}

static void take_chain(enum codec_result *result, struct view_change *out, struct arena *arena,
                       const Onus__Pb__ViewChange *in) {
    out->chain = NULL;
    out->chain_count = (uint32_t)in->n_chain;
    field_check_range(result, in->n_chain, (struct bounds){0, PIPELINE_MAX});
    if (*result != CODEC_OK || in->n_chain == 0) {
        return;
    }
    struct chain_item *const items = field_alloc(result, arena, in->n_chain, sizeof *items);
    for (size_t i = 0; *result == CODEC_OK && i < in->n_chain; i++) {
        take_chain_item(result, &items[i], in->chain[i]);
    }
    out->chain = items;
}

enum codec_result view_change_decode(struct view_change *out, struct arena *arena,
                                     struct span body) {
    struct unpacked const unpacked =
        strict_unpack(arena, &onus__pb__view_change__descriptor, VIEW_CHANGE_SIZE_MAX, body);
    if (unpacked.result != CODEC_OK) {
        return unpacked.result;
    }
    const Onus__Pb__ViewChange *const in = unpacked.message;
    enum codec_result result = CODEC_OK;
    struct bounds const signer_bounds = {0, REPLICAS_MAX - 1};
    uint32_t hash_count = 0;
    field_take_number(&result, &out->config, in->config);
    take_new_view_number(&result, &out->view, in->view);
    field_take_u32(&result, &out->replica, in->replica, (struct bounds){0, REPLICAS_MAX - 1});
    out->signers = in->signers;
    field_take_signatures(&result, &out->signatures, &out->signature_count, in->signatures,
                          signer_bounds);
    field_take_digests(&result, &out->nonce_hashes, &hash_count, in->nonce_hashes, signer_bounds);
    take_chain(&result, out, arena, in);
    uint32_t const signers = (uint32_t)__builtin_popcountll(in->signers);
    bool const counted = out->signature_count == signers && hash_count == signers;
    if (result == CODEC_OK && (!counted || (signers == 0) != (out->chain_count == 0))) {
        return CODEC_MISMATCH;
    }
    return result;
}

static bool encode_chain(struct buffer *out, const struct view_change *in) {
    for (uint32_t i = 0; i < in->chain_count; i++) {
        const struct chain_item *const item = &in->chain[i];
        Onus__Pb__ChainItem message = ONUS__PB__CHAIN_ITEM__INIT;
        if (item->has_evidence) {
            message.evidence_leaf = pack_digest(&item->evidence_leaf);
        }
        message.pre_prepare = pack_span(item->pre_prepare.body);
        message.signature = pack_signature(&item->pre_prepare.signature);
        if (!pack_element(out, FIELD_CHAIN, &message.base)) {
            return false;
        }
    }
    return true;
}

bool view_change_encode(struct buffer *out, const struct view_change *in) {
    if (in->chain_count > PIPELINE_MAX) {
        return pack_refuse(out);
    }
    Onus__Pb__ViewChange message = ONUS__PB__VIEW_CHANGE__INIT;
    message.config = in->config;
    message.view = in->view;
    message.replica = in->replica;
    message.signers = in->signers;
    message.signatures =
        pack_span(span_of(in->signatures, (size_t)in->signature_count * SIGNATURE_SIZE));
    message.nonce_hashes =
        pack_span(span_of(in->nonce_hashes, (size_t)in->signature_count * DIGEST_SIZE));
    return pack_message(out, &message.base) && encode_chain(out, in);
}

/* ---- the set that a new view used ------------------------------------------------------------ */

enum codec_result view_change_set_decode(struct view_change_set *out, struct arena *arena,
                                         struct span payload) {
    struct unpacked const unpacked = strict_unpack(arena, &onus__pb__view_change_set__descriptor,
                                                   VIEW_CHANGE_SET_SIZE_MAX, payload);
    if (unpacked.result != CODEC_OK) {
        return unpacked.result;
    }
    const Onus__Pb__ViewChangeSet *const in = unpacked.message;
    enum codec_result result = CODEC_OK;
    field_check_range(&result, in->n_view_changes, (struct bounds){1, REPLICAS_MAX});
    if (result != CODEC_OK) {
        return result;
    }
    struct signed_body *const items =
        field_alloc(&result, arena, in->n_view_changes, sizeof *items);
    for (size_t i = 0; result == CODEC_OK && i < in->n_view_changes; i++) {
        field_take_span(&result, &items[i].body, in->view_changes[i]->body,
                        (struct bounds){1, VIEW_CHANGE_SIZE_MAX});
        field_take_signature(&result, &items[i].signature, in->view_changes[i]->signature);
    }
    out->count = (uint32_t)in->n_view_changes;
    out->view_changes = items;
    return result;
}

bool view_change_set_encode(struct buffer *out, const struct view_change_set *in) {
    if (in->count > REPLICAS_MAX) {
        return pack_refuse(out);
    }
    for (uint32_t i = 0; i < in->count; i++) {
        Onus__Pb__Signed message = ONUS__PB__SIGNED__INIT;
        message.body = pack_span(in->view_changes[i].body);
        message.signature = pack_signature(&in->view_changes[i].signature);
        if (!pack_element(out, FIELD_VIEW_CHANGES, &message.base)) {
            return false;
        }
    }
    return !out->failed;
}

/* ---- new-views ------------------------------------------------------------------------------- */

enum codec_result new_view_decode(struct new_view *out, struct arena *arena, struct span body) {
    struct unpacked const unpacked =
        strict_unpack(arena, &onus__pb__new_view__descriptor, STATEMENT_SIZE_MAX, body);
    if (unpacked.result != CODEC_OK) {
        return unpacked.result;
    }
    const Onus__Pb__NewView *const in = unpacked.message;
    enum codec_result result = CODEC_OK;
    field_take_number(&result, &out->config, in->config);
    take_new_view_number(&result, &out->view, in->view);
    field_take_digests(&result, &out->view_change_digests, &out->view_change_count,
                       in->view_change_digests, (struct bounds){1, REPLICAS_MAX});
    field_take_number(&result, &out->chosen_view, in->chosen_view);
    field_take_number(&result, &out->chosen_seq, in->chosen_seq);
    field_take_digest(&result, &out->ledger_root, in->ledger_root);
    field_take_number(&result, &out->ledger_leaves, in->ledger_leaves);
    return result;
}

bool new_view_encode(struct buffer *out, const struct new_view *in) {
    if (in->view_change_count > REPLICAS_MAX) {
        return pack_refuse(out);
    }
    Onus__Pb__NewView message = ONUS__PB__NEW_VIEW__INIT;
    message.config = in->config;
    message.view = in->view;
    message.view_change_digests =
        pack_span(span_of(in->view_change_digests, (size_t)in->view_change_count * DIGEST_SIZE));
    message.chosen_view = in->chosen_view;
    message.chosen_seq = in->chosen_seq;
    message.ledger_root = pack_digest(&in->ledger_root);
    message.ledger_leaves = in->ledger_leaves;
    return pack_message(out, &message.base);
}

/* ---- both entries ---------------------------------------------------------------------------- */

enum codec_result view_unit_decode(struct view_unit *out, struct arena *arena,
                                   struct span set_payload, struct span entry_payload) {
    out->set_payload = set_payload;
    out->entry_payload = entry_payload;
    enum codec_result result = view_change_set_decode(&out->set, arena, set_payload);
    if (result == CODEC_OK) {
        result = signed_decode(&out->statement, arena, entry_payload, STATEMENT_SIZE_MAX);
    }
    if (result == CODEC_OK) {
        result = new_view_decode(&out->new_view, arena, out->statement.body);
    }
    return result;
}
