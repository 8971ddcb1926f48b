/*
 * codec_journal: see codec_journal.h. The record's shape is judged here; whether it fits the ledger
 * is the replica's question.
 */
#include "ledger/codec_journal.h"

#include "ledger/field.h"
#include "ledger/onus.pb-c.h"
#include "ledger/pack.h"
#include "ledger/strict.h"

static_assert((int)JOURNAL_NONCE == (int)ONUS__PB__JOURNAL_KIND__JOURNAL_KIND_NONCE &&
                  (int)JOURNAL_PREPARED == (int)ONUS__PB__JOURNAL_KIND__JOURNAL_KIND_PREPARED,
              "kinds of journal records are numbered as in the schema");

static bool has_certificate(enum journal_kind kind) {
    return kind == JOURNAL_NONCE || kind == JOURNAL_PREPARED;
}

/* The batch, and what it is prepared by. A record without has nothing of it, not even zeros. */
static void take_certificate(enum codec_result *result, struct journal_record *out,
                             const Onus__Pb__JournalRecord *in) {
    bool const certified = has_certificate(out->kind);
    uint32_t const signers = (uint32_t)__builtin_popcountll(in->signers);
    uint32_t hash_count = 0;
    struct bounds const signer_bounds = {0, REPLICAS_MAX - 1};
    /* A ledger that is genesis alone holds no batch. */
    field_check_range(result, in->ledger_seq, (struct bounds){certified ? 1 : 0, NUMBER_MAX});
    out->ledger_seq = in->ledger_seq;
    field_take_number(result, &out->seq, in->seq);
    if (certified) {
        field_take_digest(result, &out->pre_prepare_digest, in->pre_prepare_digest);
    } else {
        out->pre_prepare_digest = (struct digest){{0}};
    }
    out->signers = in->signers;
    field_take_signatures(result, &out->signatures, &out->signature_count, in->signatures,
                          signer_bounds);
    field_take_digests(result, &out->nonce_hashes, &hash_count, in->nonce_hashes, signer_bounds);
    if (out->signature_count != signers || hash_count != signers || (in->seq != 0) != certified ||
        (signers != 0) != certified || (in->pre_prepare_digest.len != 0) != certified) {
        field_fail(result, CODEC_MISMATCH);
    }
}

enum codec_result journal_record_decode(struct journal_record *out, struct arena *arena,
                                        struct span bytes) {
    struct unpacked const unpacked =
        strict_unpack(arena, &onus__pb__journal_record__descriptor, JOURNAL_RECORD_SIZE_MAX, bytes);
    if (unpacked.result != CODEC_OK) {
        return unpacked.result;
    }
    const Onus__Pb__JournalRecord *const in = unpacked.message;
    enum codec_result result = CODEC_OK;
    field_check_range(&result, (uint64_t)in->kind,
                      (struct bounds){JOURNAL_NONCE, JOURNAL_PREPARED});
    out->kind = (enum journal_kind)in->kind;
    field_take_number(&result, &out->config, in->config);
    field_take_number(&result, &out->view, in->view);
    field_take_number(&result, &out->ledger_view, in->ledger_view);
    field_take_number(&result, &out->ledger_entries, in->ledger_entries);
    take_certificate(&result, out, in);
    return result;
}

bool journal_record_encode(struct buffer *out, const struct journal_record *in) {
    Onus__Pb__JournalRecord message = ONUS__PB__JOURNAL_RECORD__INIT;
    message.kind = (Onus__Pb__JournalKind)in->kind;
    message.config = in->config;
    message.view = in->view;
    message.seq = in->seq;
    message.ledger_view = in->ledger_view;
    message.ledger_seq = in->ledger_seq;
    message.ledger_entries = in->ledger_entries;
    if (has_certificate(in->kind)) {
        message.pre_prepare_digest = pack_digest(&in->pre_prepare_digest);
    }
    message.signers = in->signers;
    message.signatures =
        pack_span(span_of(in->signatures, (size_t)in->signature_count * SIGNATURE_SIZE));
    message.nonce_hashes =
        pack_span(span_of(in->nonce_hashes, (size_t)in->signature_count * DIGEST_SIZE));
    return pack_message(out, &message.base);
}
