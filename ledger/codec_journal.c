/*
 * codec_journal: see codec_journal.h. The record's shape is judged here; whether it fits the ledger
 * is the replica's question.
 */
#include "ledger/codec_journal.h"

#include "ledger/field.h"
#include "ledger/onus.pb-c.h"
#include "ledger/pack.h"
#include "ledger/strict.h"

enum codec_result journal_record_decode(struct journal_record *out, struct arena *arena,
                                        struct span bytes) {
    struct unpacked const unpacked =
        strict_unpack(arena, &onus__pb__journal_record__descriptor, JOURNAL_RECORD_SIZE_MAX, bytes);
    if (unpacked.result != CODEC_OK) {
        return unpacked.result;
    }
    const Onus__Pb__JournalRecord *const in = unpacked.message;
    enum codec_result result = CODEC_OK;
    struct bounds const signer_bounds = {1, REPLICAS_MAX - 1};
    uint32_t hash_count = 0;
    field_take_number(&result, &out->config, in->config);
    field_take_number(&result, &out->view, in->view);
    field_take_seq(&result, &out->seq, in->seq);
    field_take_seq(&result, &out->ledger_seq, in->ledger_seq);
    field_take_number(&result, &out->ledger_entries, in->ledger_entries);
    field_take_digest(&result, &out->pre_prepare_digest, in->pre_prepare_digest);
    out->signers = in->signers;
    field_take_signatures(&result, &out->signatures, &out->signature_count, in->signatures,
                          signer_bounds);
    field_take_digests(&result, &out->nonce_hashes, &hash_count, in->nonce_hashes, signer_bounds);
    uint32_t const signers = (uint32_t)__builtin_popcountll(in->signers);
    if (result == CODEC_OK && (out->signature_count != signers || hash_count != signers)) {
        return CODEC_MISMATCH;
    }
    return result;
}

bool journal_record_encode(struct buffer *out, const struct journal_record *in) {
    Onus__Pb__JournalRecord message = ONUS__PB__JOURNAL_RECORD__INIT;
    message.config = in->config;
    message.view = in->view;
    message.seq = in->seq;
    message.ledger_seq = in->ledger_seq;
    message.ledger_entries = in->ledger_entries;
    message.pre_prepare_digest = pack_digest(&in->pre_prepare_digest);
    message.signers = in->signers;
    message.signatures =
        pack_span(span_of(in->signatures, (size_t)in->signature_count * SIGNATURE_SIZE));
    message.nonce_hashes =
        pack_span(span_of(in->nonce_hashes, (size_t)in->signature_count * DIGEST_SIZE));
    return pack_message(out, &message.base);
}
