/*
 * codec_ledger: ledger entries and checkpoints (protocol §4, §7). Whether evidence is that of the
 * right batch, or a window that of the right ledger, is the checker's business.
 */
#include "ledger/codec.h"

#include "ledger/field.h"
#include "ledger/onus.pb-c.h"
#include "ledger/pack.h"
#include "ledger/strict.h"

#define FIELD_EVIDENCE_BATCHES 1u
#define FIELD_PENDING 19u
#define FIELD_CARRIED 20u
#define FIELD_WINDOW 4u
#define FIELD_ANCHORS 6u
#define CALL_COUNT_SIZE 2u

/* ---- evidence -------------------------------------------------------------------------------- */

static void take_batch_evidence(enum codec_result *result, struct batch_evidence *out,
                                const Onus__Pb__BatchEvidence *in) {
    field_take_seq(result, &out->seq, in->seq);
    field_take_signatures(result, &out->signatures, &out->signature_count, in->signatures,
                          (struct bounds){1, REPLICAS_MAX - 1});
    field_take_nonces(result, &out->nonces, &out->nonce_count, in->nonces,
                      (struct bounds){2, REPLICAS_MAX});
    if (*result == CODEC_OK && out->nonce_count != out->signature_count + 1) {
        field_fail(result, CODEC_MISMATCH);
    }
}

enum codec_result evidence_decode(struct evidence *out, struct arena *arena, struct span payload) {
    struct unpacked const unpacked =
        strict_unpack(arena, &onus__pb__evidence_entry__descriptor, EVIDENCE_SIZE_MAX, payload);
    if (unpacked.result != CODEC_OK) {
        return unpacked.result;
    }
    const Onus__Pb__EvidenceEntry *const in = unpacked.message;
    enum codec_result result = CODEC_OK;
    field_check_range(&result, in->n_batches, (struct bounds){1, EVIDENCE_BATCHES_MAX});
    if (result != CODEC_OK) {
        return result;
    }
    out->batch_count = (uint32_t)in->n_batches;
    for (size_t i = 0; i < in->n_batches; i++) {
        take_batch_evidence(&result, &out->batches[i], in->batches[i]);
        if (i > 0 && out->batches[i].seq <= out->batches[i - 1].seq) {
            field_fail(&result, CODEC_MISMATCH);
        }
    }
    return result;
}

bool evidence_encode(struct buffer *out, const struct evidence *in) {
    if (in->batch_count > EVIDENCE_BATCHES_MAX) {
        return pack_refuse(out);
    }
    for (uint32_t i = 0; i < in->batch_count; i++) {
        const struct batch_evidence *const batch = &in->batches[i];
        Onus__Pb__BatchEvidence message = ONUS__PB__BATCH_EVIDENCE__INIT;
        message.seq = batch->seq;
        message.signatures =
            pack_span(span_of(batch->signatures, (size_t)batch->signature_count * SIGNATURE_SIZE));
        message.nonces = pack_span(span_of(batch->nonces, (size_t)batch->nonce_count * NONCE_SIZE));
        if (!pack_element(out, FIELD_EVIDENCE_BATCHES, &message.base)) {
            return false;
        }
    }
    return !out->failed;
}

/* ---- request entries ------------------------------------------------------------------------- */

enum codec_result request_entry_decode(struct request_entry *out, struct arena *arena,
                                       struct span payload) {
    struct unpacked const unpacked =
        strict_unpack(arena, &onus__pb__request_entry__descriptor, ENTRY_SIZE_MAX, payload);
    if (unpacked.result != CODEC_OK) {
        return unpacked.result;
    }
    const Onus__Pb__RequestEntry *const in = unpacked.message;
    enum codec_result result = CODEC_OK;
    field_take_span(&result, &out->request, in->request, (struct bounds){1, REQUEST_SIZE_MAX});
    field_take_number(&result, &out->first_index, in->first_index);
    field_take_spans(&result, arena, &out->outcomes, &out->outcome_count,
                     (struct elements){in->n_outcomes, in->outcomes},
                     (struct bounds){1, OUTCOME_SIZE_MAX}, (struct bounds){1, CALLS_MAX});
    return result;
}

bool request_entry_encode(struct buffer *out, const struct request_entry *in) {
    ProtobufCBinaryData outcomes[CALLS_MAX];
    if (in->outcome_count > CALLS_MAX) {
        return pack_refuse(out);
    }
    pack_spans(outcomes, in->outcomes, in->outcome_count);
    Onus__Pb__RequestEntry message = ONUS__PB__REQUEST_ENTRY__INIT;
    message.request = pack_span(in->request);
    message.first_index = in->first_index;
    message.n_outcomes = in->outcome_count;
    message.outcomes = outcomes;
    return pack_message(out, &message.base);
}

/* ---- checkpoint headers ---------------------------------------------------------------------- */

static void take_pending(enum codec_result *result, struct checkpoint_header *out,
                         const Onus__Pb__CheckpointHeader *in) {
    field_check_range(result, in->n_pending, (struct bounds){0, EVIDENCE_BATCHES_MAX});
    if (*result != CODEC_OK) {
        return;
    }
    out->pending_count = (uint32_t)in->n_pending;
    for (size_t i = 0; i < in->n_pending; i++) {
        struct pending_batch *const batch = &out->pending[i];
        field_take_seq(result, &batch->seq, in->pending[i]->seq);
        field_take_number(result, &batch->view, in->pending[i]->view);
        field_take_digest(result, &batch->pre_prepare_digest, in->pending[i]->pre_prepare_digest);
        field_take_digest(result, &batch->nonce_hash, in->pending[i]->nonce_hash);
        if (i > 0 && batch->seq <= out->pending[i - 1].seq) {
            field_fail(result, CODEC_MISMATCH);
        }
    }
}

/* Only batches that are yet to come are still to be proposed again. */
static void take_carried(enum codec_result *result, struct checkpoint_header *out,
                         const Onus__Pb__CheckpointHeader *in) {
    field_check_range(result, in->n_carried, (struct bounds){0, PIPELINE_MAX});
    if (*result != CODEC_OK) {
        return;
    }
    out->carried_count = (uint32_t)in->n_carried;
    uint64_t before = out->seq;
    for (size_t i = 0; i < in->n_carried; i++) {
        const Onus__Pb__CarriedBatch *const from = in->carried[i];
        struct carried_batch *const batch = &out->carried[i];
        field_take_seq(result, &batch->seq, from->seq);
        field_take_digest(result, &batch->batch_root, from->batch_root);
        field_take_number(result, &batch->first_index, from->first_index);
        field_take_u32(result, &batch->tx_count, from->tx_count,
                       (struct bounds){0, BATCH_CALLS_MAX});
        field_check_range(result, (uint64_t)from->kind,
                          (struct bounds){BATCH_NORMAL, BATCH_START_OF_CONFIGURATION});
        batch->kind = (enum batch_kind)from->kind;
        field_take_number(result, &batch->gov_index, from->gov_index);
        field_take_number(result, &batch->time_ms, from->time_ms);
        if (batch->seq <= before) {
            field_fail(result, CODEC_MISMATCH);
        }
        before = batch->seq;
    }
}

enum codec_result checkpoint_header_decode(struct checkpoint_header *out, struct arena *arena,
                                           struct span bytes) {
    struct unpacked const unpacked = strict_unpack(arena, &onus__pb__checkpoint_header__descriptor,
                                                   CHECKPOINT_HEADER_SIZE_MAX, bytes);
    if (unpacked.result != CODEC_OK) {
        return unpacked.result;
    }
    const Onus__Pb__CheckpointHeader *const in = unpacked.message;
    enum codec_result result = CODEC_OK;
    field_take_number(&result, &out->config, in->config);
    field_take_number(&result, &out->view, in->view);
    field_take_number(&result, &out->seq, in->seq);
    field_take_number(&result, &out->view_start, in->view_start);
    field_take_number(&result, &out->next_index, in->next_index);
    field_take_number(&result, &out->ledger_leaves, in->ledger_leaves);
    field_take_digest(&result, &out->ledger_root, in->ledger_root);
    field_take_number(&result, &out->evidence_upto, in->evidence_upto);
    field_take_number(&result, &out->gov_index, in->gov_index);
    field_take_number(&result, &out->config_start, in->config_start);
    field_take_number(&result, &out->closing_seq, in->closing_seq);
    field_take_number(&result, &out->time_ms, in->time_ms);
    field_take_number(&result, &out->checkpoint_seq, in->checkpoint_seq);
    field_take_digest(&result, &out->checkpoint_digest, in->checkpoint_digest);
    field_take_number(&result, &out->state_count, in->state_count);
    field_take_digest(&result, &out->state_root, in->state_root);
    field_take_digest(&result, &out->window_root, in->window_root);
    field_take_number(&result, &out->entries, in->entries);
    take_pending(&result, out, in);
    take_carried(&result, out, in);
    return result;
}

static bool encode_pending(struct buffer *out, const struct checkpoint_header *in) {
    for (uint32_t i = 0; i < in->pending_count; i++) {
        Onus__Pb__PendingBatch message = ONUS__PB__PENDING_BATCH__INIT;
        message.seq = in->pending[i].seq;
        message.view = in->pending[i].view;
        message.pre_prepare_digest = pack_digest(&in->pending[i].pre_prepare_digest);
        message.nonce_hash = pack_digest(&in->pending[i].nonce_hash);
        if (!pack_element(out, FIELD_PENDING, &message.base)) {
            return false;
        }
    }
    return true;
}

static bool encode_carried(struct buffer *out, const struct checkpoint_header *in) {
    for (uint32_t i = 0; i < in->carried_count; i++) {
        const struct carried_batch *const batch = &in->carried[i];
        Onus__Pb__CarriedBatch message = ONUS__PB__CARRIED_BATCH__INIT;
        message.seq = batch->seq;
        message.batch_root = pack_digest(&batch->batch_root);
        message.first_index = batch->first_index;
        message.tx_count = batch->tx_count;
        message.kind = (Onus__Pb__BatchKind)batch->kind;
        message.gov_index = batch->gov_index;
        message.time_ms = batch->time_ms;
        if (!pack_element(out, FIELD_CARRIED, &message.base)) {
            return false;
        }
    }
    return true;
}

bool checkpoint_header_encode(struct buffer *out, const struct checkpoint_header *in) {
    if (in->pending_count > EVIDENCE_BATCHES_MAX || in->carried_count > PIPELINE_MAX) {
        return pack_refuse(out);
    }
    Onus__Pb__CheckpointHeader message = ONUS__PB__CHECKPOINT_HEADER__INIT;
    message.config = in->config;
    message.view = in->view;
    message.seq = in->seq;
    message.view_start = in->view_start;
    message.next_index = in->next_index;
    message.ledger_leaves = in->ledger_leaves;
    message.ledger_root = pack_digest(&in->ledger_root);
    message.evidence_upto = in->evidence_upto;
    message.gov_index = in->gov_index;
    message.config_start = in->config_start;
    message.closing_seq = in->closing_seq;
    message.time_ms = in->time_ms;
    message.checkpoint_seq = in->checkpoint_seq;
    message.checkpoint_digest = pack_digest(&in->checkpoint_digest);
    message.state_count = in->state_count;
    message.state_root = pack_digest(&in->state_root);
    message.window_root = pack_digest(&in->window_root);
    message.entries = in->entries;
    return pack_message(out, &message.base) && encode_pending(out, in) && encode_carried(out, in);
}

/* ---- replay window --------------------------------------------------------------------------- */

/* Call counts are two bytes each, big endian: one for each request, 1..CALLS_MAX. */
static void take_call_counts(enum codec_result *result, struct window_batch *out,
                             struct arena *arena, ProtobufCBinaryData in) {
    if (in.len != (size_t)out->request_count * CALL_COUNT_SIZE) {
        field_fail(result, CODEC_LENGTH);
    }
    out->call_counts = NULL;
    if (*result != CODEC_OK || in.len == 0) {
        return;
    }
    uint16_t *const counts = field_alloc(result, arena, out->request_count, sizeof *counts);
    for (uint32_t i = 0; counts != NULL && i < out->request_count; i++) {
        const uint8_t *const at = in.data + (size_t)CALL_COUNT_SIZE * i;
        counts[i] = (uint16_t)(at[0] << 8 | at[1]);
        field_check_range(result, counts[i], (struct bounds){1, CALLS_MAX});
    }
    out->call_counts = counts;
}

enum codec_result window_batch_decode(struct window_batch *out, struct arena *arena,
                                      struct span bytes) {
    struct unpacked const unpacked =
        strict_unpack(arena, &onus__pb__window_batch__descriptor, WINDOW_BATCH_SIZE_MAX, bytes);
    if (unpacked.result != CODEC_OK) {
        return unpacked.result;
    }
    const Onus__Pb__WindowBatch *const in = unpacked.message;
    enum codec_result result = CODEC_OK;
    field_take_seq(&result, &out->seq, in->seq);
    field_take_number(&result, &out->first_index, in->first_index);
    field_take_number(&result, &out->entry, in->entry);
    field_take_digests(&result, &out->request_ids, &out->request_count, in->request_ids,
                       (struct bounds){1, BATCH_CALLS_MAX});
    take_call_counts(&result, out, arena, in->call_counts);
    return result;
}

bool window_batch_encode(struct buffer *out, const struct window_batch *in) {
    uint8_t counts[BATCH_CALLS_MAX * CALL_COUNT_SIZE];
    if (in->request_count > BATCH_CALLS_MAX) {
        return pack_refuse(out);
    }
    for (uint32_t i = 0; i < in->request_count; i++) {
        counts[CALL_COUNT_SIZE * i] = (uint8_t)(in->call_counts[i] >> 8);
        counts[CALL_COUNT_SIZE * i + 1] = (uint8_t)in->call_counts[i];
    }
    Onus__Pb__WindowBatch message = ONUS__PB__WINDOW_BATCH__INIT;
    message.seq = in->seq;
    message.first_index = in->first_index;
    message.entry = in->entry;
    message.request_ids =
        pack_span(span_of(in->request_ids, (size_t)in->request_count * DIGEST_SIZE));
    message.call_counts = pack_span(span_of(counts, (size_t)in->request_count * CALL_COUNT_SIZE));
    return pack_message(out, &message.base);
}

static void take_anchors(enum codec_result *result, struct checker_snapshot *out,
                         const Onus__Pb__CheckerSnapshot *in) {
    field_check_range(result, in->n_anchors, (struct bounds){0, ANCHORS_MAX});
    if (*result != CODEC_OK) {
        return;
    }
    out->anchor_count = (uint32_t)in->n_anchors;
    uint64_t before = 0;
    for (uint32_t i = 0; i < out->anchor_count; i++) {
        const Onus__Pb__LedgerAnchor *const message = in->anchors[i];
        struct ledger_anchor *const anchor = &out->anchors[i];
        const struct digest *peaks = NULL;
        uint32_t peak_count = 0;
        field_take_number(result, &anchor->entries, message->entries);
        field_take_number(result, &anchor->leaves, message->leaves);
        field_take_digests(result, &peaks, &peak_count, message->peaks,
                           (struct bounds){1, MERKLE_DEPTH_MAX + 1});
        anchor->peaks = span_of(message->peaks.data, message->peaks.len);
        if (message->entries <= before || message->leaves > message->entries) {
            field_fail(result, CODEC_MISMATCH);
        }
        before = message->entries;
    }
}

enum codec_result checker_snapshot_decode(struct checker_snapshot *out, struct arena *arena,
                                          struct span bytes) {
    struct unpacked const unpacked =
        strict_unpack(arena, &onus__pb__checker_snapshot__descriptor, SNAPSHOT_SIZE_MAX, bytes);
    if (unpacked.result != CODEC_OK) {
        return unpacked.result;
    }
    const Onus__Pb__CheckerSnapshot *const in = unpacked.message;
    enum codec_result result = CODEC_OK;
    const struct digest *peaks;
    uint32_t peak_count;
    field_take_span(&result, &out->header, in->header,
                    (struct bounds){1, CHECKPOINT_HEADER_SIZE_MAX});
    field_take_digests(&result, &peaks, &peak_count, in->frontier,
                       (struct bounds){0, MERKLE_DEPTH_MAX + 1});
    out->frontier = span_of(in->frontier.data, in->frontier.len);
    field_take_number(&result, &out->window_entry, in->window_entry);
    field_take_spans(&result, arena, &out->window, &out->window_count,
                     (struct elements){in->n_window, in->window},
                     (struct bounds){1, WINDOW_BATCH_SIZE_MAX},
                     (struct bounds){0, SNAPSHOT_WINDOW_MAX});
    field_take_number(&result, &out->past_entry, in->past_entry);
    take_anchors(&result, out, in);
    return result;
}

static bool encode_anchors(struct buffer *out, const struct checker_snapshot *in) {
    for (uint32_t i = 0; i < in->anchor_count; i++) {
        Onus__Pb__LedgerAnchor message = ONUS__PB__LEDGER_ANCHOR__INIT;
        message.entries = in->anchors[i].entries;
        message.leaves = in->anchors[i].leaves;
        message.peaks = pack_span(in->anchors[i].peaks);
        if (!pack_element(out, FIELD_ANCHORS, &message.base)) {
            return false;
        }
    }
    return true;
}

bool checker_snapshot_encode(struct buffer *out, const struct checker_snapshot *in) {
    Onus__Pb__CheckerSnapshot message = ONUS__PB__CHECKER_SNAPSHOT__INIT;
    message.header = pack_span(in->header);
    message.frontier = pack_span(in->frontier);
    message.window_entry = in->window_entry;
    if (in->window_count > SNAPSHOT_WINDOW_MAX || in->anchor_count > ANCHORS_MAX) {
        return pack_refuse(out);
    }
    if (!pack_message(out, &message.base)) {
        return false;
    }
    for (uint32_t i = 0; i < in->window_count; i++) {
        if (!pack_element_bytes(out, FIELD_WINDOW, in->window[i])) {
            return false;
        }
    }
    /* It comes behind the elements, and so is a message of its own. */
    Onus__Pb__CheckerSnapshot past = ONUS__PB__CHECKER_SNAPSHOT__INIT;
    past.past_entry = in->past_entry;
    return pack_message(out, &past.base) && encode_anchors(out, in);
}
