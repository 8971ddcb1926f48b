/*
 * codec_receipt: what leaves the service as files: certificates and receipts (protocol §8), and
 * proofs of misbehaviour (§10). What they claim is for their verifiers to judge.
 */
#include "ledger/codec.h"

#include "ledger/entry_codec.h"
#include "ledger/field.h"
#include "ledger/onus.pb-c.h"
#include "ledger/pack.h"
#include "ledger/strict.h"

#define FIELD_FRAGMENT_SNAPSHOT 1u
#define FIELD_FRAGMENT_STATE 2u
#define FIELD_FRAGMENT_ENTRIES 3u
#define FIELD_PROOF_FRAGMENT 6u
#define FIELD_PROOF_PATH 7u
#define FIELD_PROOF_SERVED 8u
#define FIELD_PROOF_LINKS 9u

/* ---- certificates ---------------------------------------------------------------------------- */

enum codec_result certificate_decode(struct certificate *out, struct arena *arena,
                                     struct span bytes) {
    struct unpacked const unpacked = strict_unpack(arena, &onus__pb__certificate__descriptor,
                                                   COMMIT_CERTIFICATE_SIZE_MAX, bytes);
    if (unpacked.result != CODEC_OK) {
        return unpacked.result;
    }
    const Onus__Pb__Certificate *const in = unpacked.message;
    enum codec_result result = CODEC_OK;
    field_take_span(&result, &out->pre_prepare, in->pre_prepare,
                    (struct bounds){1, STATEMENT_SIZE_MAX});
    field_take_signature(&result, &out->pre_prepare_signature, in->pre_prepare_signature);
    field_check_range(&result, in->signers, (struct bounds){1, UINT64_MAX});
    out->signers = in->signers;
    field_take_signatures(&result, &out->signatures, &out->signature_count, in->signatures,
                          (struct bounds){0, REPLICAS_MAX - 1});
    field_take_nonces(&result, &out->nonces, &out->nonce_count, in->nonces,
                      (struct bounds){1, REPLICAS_MAX});
    uint32_t const signers = (uint32_t)__builtin_popcountll(in->signers);
    if (result == CODEC_OK &&
        (out->nonce_count != signers || out->signature_count != signers - 1)) {
        return CODEC_MISMATCH;
    }
    return result;
}

bool certificate_encode(struct buffer *out, const struct certificate *in) {
    Onus__Pb__Certificate message = ONUS__PB__CERTIFICATE__INIT;
    message.pre_prepare = pack_span(in->pre_prepare);
    message.pre_prepare_signature = pack_signature(&in->pre_prepare_signature);
    message.signers = in->signers;
    message.signatures =
        pack_span(span_of(in->signatures, (size_t)in->signature_count * SIGNATURE_SIZE));
    message.nonces = pack_span(span_of(in->nonces, (size_t)in->nonce_count * NONCE_SIZE));
    return pack_message(out, &message.base);
}

/* ---- receipts -------------------------------------------------------------------------------- */

enum codec_result receipt_decode(struct receipt *out, struct arena *arena, struct span bytes) {
    struct unpacked const unpacked =
        strict_unpack(arena, &onus__pb__receipt__descriptor, RECEIPT_SIZE_MAX, bytes);
    if (unpacked.result != CODEC_OK) {
        return unpacked.result;
    }
    const Onus__Pb__Receipt *const in = unpacked.message;
    enum codec_result result = CODEC_OK;
    struct bounds const path_bounds = {0, MERKLE_DEPTH_MAX};
    field_take_span(&result, &out->request_header, in->request_header,
                    (struct bounds){1, STATEMENT_SIZE_MAX});
    field_take_signature(&result, &out->request_signature, in->request_signature);
    field_take_span(&result, &out->call, in->call, (struct bounds){1, CALL_SIZE_MAX});
    field_take_u32(&result, &out->position, in->position, (struct bounds){0, CALLS_MAX - 1});
    field_take_digests(&result, &out->call_path, &out->call_path_count, in->call_path, path_bounds);
    field_take_number(&result, &out->index, in->index);
    field_take_span(&result, &out->outcome, in->outcome, (struct bounds){1, OUTCOME_SIZE_MAX});
    field_take_digests(&result, &out->batch_path, &out->batch_path_count, in->batch_path,
                       path_bounds);
    field_take_span(&result, &out->certificate, in->certificate,
                    (struct bounds){1, COMMIT_CERTIFICATE_SIZE_MAX});
    return result;
}

bool receipt_encode(struct buffer *out, const struct receipt *in) {
    Onus__Pb__Receipt message = ONUS__PB__RECEIPT__INIT;
    message.request_header = pack_span(in->request_header);
    message.request_signature = pack_signature(&in->request_signature);
    message.call = pack_span(in->call);
    message.position = in->position;
    message.call_path =
        pack_span(span_of(in->call_path, (size_t)in->call_path_count * DIGEST_SIZE));
    message.index = in->index;
    message.outcome = pack_span(in->outcome);
    message.batch_path =
        pack_span(span_of(in->batch_path, (size_t)in->batch_path_count * DIGEST_SIZE));
    message.certificate = pack_span(in->certificate);
    return pack_message(out, &message.base);
}

/* ---- proofs ---------------------------------------------------------------------------------- */

static_assert((int)PROOF_EQUIVOCATION == (int)ONUS__PB__PROOF_KIND__PROOF_KIND_EQUIVOCATION &&
                  (int)PROOF_MALFORMED_RANGE ==
                      (int)ONUS__PB__PROOF_KIND__PROOF_KIND_MALFORMED_RANGE,
              "kinds of proof are numbered as in the schema");

static void take_state(enum codec_result *result, struct fragment *out, struct arena *arena,
                       const Onus__Pb__Fragment *in) {
    field_check_range(result, in->n_state, (struct bounds){0, PROOF_STATE_ITEMS_MAX});
    if (*result != CODEC_OK || in->n_state == 0) {
        return;
    }
    struct state_item *const items = field_alloc(result, arena, in->n_state, sizeof *items);
    for (size_t i = 0; *result == CODEC_OK && i < in->n_state; i++) {
        field_take_span(result, &items[i].key, in->state[i]->key, (struct bounds){1, KEY_SIZE_MAX});
        field_take_span(result, &items[i].value, in->state[i]->value,
                        (struct bounds){0, VALUE_SIZE_MAX});
        if (i > 0 && span_compare(items[i - 1].key, items[i].key) >= 0) {
            field_fail(result, CODEC_MISMATCH);
        }
    }
    out->state = items;
    out->state_count = (uint32_t)in->n_state;
}

/* Where the items stand in the state, when they are not all of it. */
static void take_places(enum codec_result *result, struct fragment *out, struct arena *arena,
                        const Onus__Pb__Fragment *in) {
    field_take_digests(result, &out->path, &out->path_count, in->path,
                       (struct bounds){0, PROOF_STATE_PATH_MAX});
    if (*result != CODEC_OK || in->n_places == 0) {
        return;
    }
    if (in->n_places != out->state_count) {
        field_fail(result, CODEC_MISMATCH);
        return;
    }
    uint64_t *const places = field_alloc(result, arena, in->n_places, sizeof *places);
    for (size_t i = 0; *result == CODEC_OK && i < in->n_places; i++) {
        field_take_number(result, &places[i], in->places[i]);
        if (i > 0 && places[i - 1] >= places[i]) {
            field_fail(result, CODEC_MISMATCH);
        }
    }
    out->places = places;
    out->place_count = (uint32_t)in->n_places;
}

static void take_fragment(enum codec_result *result, struct proof *out, struct arena *arena,
                          const Onus__Pb__Fragment *in) {
    if (in == NULL) {
        return;
    }
    out->has_fragment = true;
    field_take_span(result, &out->fragment.snapshot, in->snapshot,
                    (struct bounds){0, SNAPSHOT_SIZE_MAX});
    take_state(result, &out->fragment, arena, in);
    entries_take(result, arena, &out->fragment.entries, &out->fragment.entry_count,
                 (struct entry_messages){in->n_entries, in->entries},
                 (struct bounds){1, PROOF_ENTRIES_MAX});
    take_places(result, &out->fragment, arena, in);
}

static void take_statements(enum codec_result *result, struct proof *out,
                            const Onus__Pb__Proof *in) {
    field_check_range(result, in->n_certificates, (struct bounds){0, PROOF_CERTIFICATES_MAX});
    field_check_range(result, in->n_statements, (struct bounds){0, PROOF_STATEMENTS_MAX});
    if (*result != CODEC_OK) {
        return;
    }
    out->certificate_count = (uint32_t)in->n_certificates;
    for (size_t i = 0; i < in->n_certificates; i++) {
        field_take_span(result, &out->certificates[i], in->certificates[i],
                        (struct bounds){1, COMMIT_CERTIFICATE_SIZE_MAX});
    }
    out->statement_count = (uint32_t)in->n_statements;
    for (size_t i = 0; i < in->n_statements; i++) {
        field_take_span(result, &out->statements[i].body, in->statements[i]->body,
                        (struct bounds){1, VIEW_CHANGE_SIZE_MAX});
        field_take_signature(result, &out->statements[i].signature, in->statements[i]->signature);
    }
}

static void take_links(enum codec_result *result, struct proof *out, struct arena *arena,
                       const Onus__Pb__Proof *in) {
    field_check_range(result, in->n_links, (struct bounds){0, CHAIN_LINKS_MAX});
    if (*result != CODEC_OK || in->n_links == 0) {
        return;
    }
    struct span *const links = field_alloc(result, arena, in->n_links, sizeof *links);
    for (size_t i = 0; *result == CODEC_OK && i < in->n_links; i++) {
        field_take_span(result, &links[i], in->links[i], (struct bounds){1, CHAIN_LINK_SIZE_MAX});
    }
    out->links = links;
    out->link_count = (uint32_t)in->n_links;
}

enum codec_result proof_decode(struct proof *out, struct arena *arena, struct span bytes) {
    struct unpacked const unpacked =
        strict_unpack(arena, &onus__pb__proof__descriptor, PROOF_SIZE_MAX, bytes);
    if (unpacked.result != CODEC_OK) {
        return unpacked.result;
    }
    const Onus__Pb__Proof *const in = unpacked.message;
    enum codec_result result = CODEC_OK;
    *out = (struct proof){.has_fragment = false};
    field_check_range(&result, (uint64_t)in->kind,
                      (struct bounds){PROOF_EQUIVOCATION, PROOF_MALFORMED_RANGE});
    out->kind = (enum proof_kind)in->kind;
    field_take_span(&result, &out->genesis, in->genesis, (struct bounds){1, GENESIS_SIZE_MAX});
    take_statements(&result, out, in);
    if (in->rule.len != 0) {
        field_take_name(&result, &out->rule, in->rule);
    }
    take_fragment(&result, out, arena, in->fragment);
    field_take_digests(&result, &out->path, &out->path_count, in->path,
                       (struct bounds){0, MERKLE_DEPTH_MAX + 1});
    field_take_span(&result, &out->served, in->served, (struct bounds){0, SERVED_PAYLOAD_SIZE_MAX});
    take_links(&result, out, arena, in);
    return result;
}

static Onus__Pb__StateItem state_message(const struct state_item *item) {
    Onus__Pb__StateItem message = ONUS__PB__STATE_ITEM__INIT;
    message.key = pack_span(item->key);
    message.value = pack_span(item->value);
    return message;
}

/* The last fields of a fragment, as a message without the others. */
static Onus__Pb__Fragment places_message(const struct fragment *in) {
    Onus__Pb__Fragment message = ONUS__PB__FRAGMENT__INIT;
    message.n_places = in->place_count;
    message.places = (uint64_t *)(uintptr_t)in->places; /* packing does not write to it */
    message.path = pack_span(span_of(in->path, (size_t)in->path_count * DIGEST_SIZE));
    return message;
}

/* What encode_fragment will append: a message's size stands before it. */
static size_t fragment_size(const struct fragment *in) {
    size_t size = 0;
    if (in->snapshot.size != 0) {
        size = pack_prefix_size(FIELD_FRAGMENT_SNAPSHOT, in->snapshot.size) + in->snapshot.size;
    }
    for (uint32_t i = 0; i < in->state_count; i++) {
        Onus__Pb__StateItem const message = state_message(&in->state[i]);
        size_t const inner = onus__pb__state_item__get_packed_size(&message);
        size += pack_prefix_size(FIELD_FRAGMENT_STATE, inner) + inner;
    }
    Onus__Pb__Fragment const places = places_message(in);
    return size + entries_size(FIELD_FRAGMENT_ENTRIES, in->entries, in->entry_count) +
           onus__pb__fragment__get_packed_size(&places);
}

static bool encode_fragment(struct buffer *out, const struct fragment *in) {
    if (!pack_prefix(out, FIELD_PROOF_FRAGMENT, fragment_size(in))) {
        return false;
    }
    if (in->snapshot.size != 0 && !pack_element_bytes(out, FIELD_FRAGMENT_SNAPSHOT, in->snapshot)) {
        return false;
    }
    for (uint32_t i = 0; i < in->state_count; i++) {
        Onus__Pb__StateItem const message = state_message(&in->state[i]);
        if (!pack_element(out, FIELD_FRAGMENT_STATE, &message.base)) {
            return false;
        }
    }
    Onus__Pb__Fragment const places = places_message(in);
    return entries_encode(out, FIELD_FRAGMENT_ENTRIES, in->entries, in->entry_count) &&
           pack_message(out, &places.base);
}

static bool encode_links(struct buffer *out, const struct proof *in) {
    bool good = true;
    for (uint32_t i = 0; good && i < in->link_count; i++) {
        good = pack_element_bytes(out, FIELD_PROOF_LINKS, in->links[i]);
    }
    return good;
}

bool proof_encode(struct buffer *out, const struct proof *in) {
    if (in->certificate_count > PROOF_CERTIFICATES_MAX ||
        in->statement_count > PROOF_STATEMENTS_MAX ||
        in->fragment.state_count > PROOF_STATE_ITEMS_MAX ||
        in->fragment.entry_count > PROOF_ENTRIES_MAX ||
        in->fragment.path_count > PROOF_STATE_PATH_MAX || in->path_count > MERKLE_DEPTH_MAX + 1 ||
        in->served.size > SERVED_PAYLOAD_SIZE_MAX || in->link_count > CHAIN_LINKS_MAX) {
        return pack_refuse(out);
    }
    ProtobufCBinaryData certificates[PROOF_CERTIFICATES_MAX];
    Onus__Pb__Signed statements[PROOF_STATEMENTS_MAX];
    Onus__Pb__Signed *pointers[PROOF_STATEMENTS_MAX];
    pack_spans(certificates, in->certificates, in->certificate_count);
    for (uint32_t i = 0; i < in->statement_count; i++) {
        statements[i] = (Onus__Pb__Signed)ONUS__PB__SIGNED__INIT;
        statements[i].body = pack_span(in->statements[i].body);
        statements[i].signature = pack_signature(&in->statements[i].signature);
        pointers[i] = &statements[i];
    }
    Onus__Pb__Proof message = ONUS__PB__PROOF__INIT;
    message.kind = (Onus__Pb__ProofKind)in->kind;
    message.genesis = pack_span(in->genesis);
    message.n_certificates = in->certificate_count;
    message.certificates = certificates;
    message.n_statements = in->statement_count;
    message.statements = pointers;
    message.rule = pack_span(in->rule);
    struct span const path = span_of(in->path, (size_t)in->path_count * DIGEST_SIZE);
    return pack_message(out, &message.base) &&
           (!in->has_fragment || encode_fragment(out, &in->fragment)) &&
           (path.size == 0 || pack_element_bytes(out, FIELD_PROOF_PATH, path)) &&
           (in->served.size == 0 || pack_element_bytes(out, FIELD_PROOF_SERVED, in->served)) &&
           encode_links(out, in);
}

void proof_order(struct proof *proof) {
    if (proof->kind == PROOF_EQUIVOCATION && proof->statement_count == 2 &&
        span_compare(proof->statements[0].body, proof->statements[1].body) > 0) {
        struct signed_body const first = proof->statements[0];
        proof->statements[0] = proof->statements[1];
        proof->statements[1] = first;
    }
    if (proof->kind == PROOF_CONFLICTING_CERTIFICATES && proof->certificate_count == 2 &&
        span_compare(proof->certificates[0], proof->certificates[1]) > 0) {
        struct span const first = proof->certificates[0];
        proof->certificates[0] = proof->certificates[1];
        proof->certificates[1] = first;
    }
}
