/*
 * codec_request: calls and requests (protocol §3). The hot path of a replica: one call a request,
 * thousands of requests a second.
 */
#include "ledger/codec.h"

#include "ledger/field.h"
#include "ledger/onus.pb-c.h"
#include "ledger/pack.h"
#include "ledger/strict.h"
#include "merkle/frontier.h"

static_assert((int)REQUEST_INDEPENDENT == (int)ONUS__PB__REQUEST_MODE__REQUEST_MODE_INDEPENDENT &&
                  (int)REQUEST_ATOMIC == (int)ONUS__PB__REQUEST_MODE__REQUEST_MODE_ATOMIC,
              "modes are numbered as in the schema");

enum codec_result call_decode(struct call *call, struct arena *arena, struct span bytes) {
    struct unpacked const unpacked =
        strict_unpack(arena, &onus__pb__call__descriptor, CALL_SIZE_MAX, bytes);
    if (unpacked.result != CODEC_OK) {
        return unpacked.result;
    }
    const Onus__Pb__Call *const in = unpacked.message;
    enum codec_result result = CODEC_OK;
    call->bytes = bytes;
    field_take_span(&result, &call->procedure, in->procedure,
                    (struct bounds){1, PROCEDURE_SIZE_MAX});
    field_check_range(&result, in->n_arguments, (struct bounds){0, ARGUMENTS_MAX});
    if (result != CODEC_OK) {
        return result;
    }
    call->argument_count = (uint32_t)in->n_arguments;
    for (size_t i = 0; i < in->n_arguments; i++) {
        field_take_span(&result, &call->arguments[i], in->arguments[i],
                        (struct bounds){0, ARGUMENT_SIZE_MAX});
    }
    return result;
}

bool call_encode(struct buffer *out, struct span procedure, uint32_t argument_count,
                 const struct span *arguments) {
    ProtobufCBinaryData items[ARGUMENTS_MAX];
    if (argument_count > ARGUMENTS_MAX) {
        return pack_refuse(out);
    }
    pack_spans(items, arguments, argument_count);
    Onus__Pb__Call message = ONUS__PB__CALL__INIT;
    message.procedure = pack_span(procedure);
    message.n_arguments = argument_count;
    message.arguments = items;
    return pack_message(out, &message.base);
}

static struct digest calls_root(uint32_t call_count, const struct span *calls) {
    struct frontier frontier;
    frontier_init(&frontier);
    for (uint32_t i = 0; i < call_count; i++) {
        struct digest const leaf = merkle_leaf_hash(calls[i]);
        frontier_append(&frontier, &leaf);
    }
    return frontier_root(&frontier);
}

enum codec_result request_header_decode(struct request *request, struct arena *arena,
                                        const struct digest *service, struct span header,
                                        const struct signature *signature) {
    struct unpacked const unpacked =
        strict_unpack(arena, &onus__pb__request_header__descriptor, STATEMENT_SIZE_MAX, header);
    if (unpacked.result != CODEC_OK) {
        return unpacked.result;
    }
    const Onus__Pb__RequestHeader *const in = unpacked.message;
    enum codec_result result = CODEC_OK;
    *request = (struct request){.header = header, .signature = *signature};
    field_take_key(&result, &request->author, in->author);
    field_take_number(&result, &request->min_index, in->min_index);
    field_take_fixed(&result, request->nonce, sizeof request->nonce, in->nonce);
    field_check_range(&result, (uint64_t)in->mode,
                      (struct bounds){REQUEST_INDEPENDENT, REQUEST_ATOMIC});
    request->mode = (enum request_mode)in->mode;
    field_take_u32(&result, &request->call_count, in->call_count, (struct bounds){1, CALLS_MAX});
    field_take_digest(&result, &request->calls_root, in->calls_root);
    if (result == CODEC_OK) {
        request->id = hash_labelled(LABEL_REQUEST_ID, service, header);
        request->digest = hash_statement(LABEL_REQUEST_DIGEST, service, header, signature);
    }
    return result;
}

/* The calls of a request whose header is decoded: as many as it says, under its root. */
static enum codec_result request_take_calls(struct request *request, struct arena *arena,
                                            const Onus__Pb__Request *in) {
    if (in->n_calls != request->call_count) {
        return CODEC_MISMATCH;
    }
    enum codec_result result = CODEC_OK;
    const struct span *spans;
    uint32_t count;
    field_take_spans(&result, arena, &spans, &count, (struct elements){in->n_calls, in->calls},
                     (struct bounds){1, CALL_SIZE_MAX}, (struct bounds){1, CALLS_MAX});
    if (result != CODEC_OK) {
        return result;
    }
    request->calls = field_alloc(&result, arena, count, sizeof *request->calls);
    for (uint32_t i = 0; result == CODEC_OK && i < count; i++) {
        result = call_decode(&request->calls[i], arena, spans[i]);
    }
    if (result != CODEC_OK) {
        return result;
    }
    struct digest const root = calls_root(count, spans);
    return digest_equal(&root, &request->calls_root) ? CODEC_OK : CODEC_MISMATCH;
}

enum codec_result request_decode(struct request *request, struct arena *arena,
                                 const struct digest *service, struct span bytes) {
    struct unpacked const unpacked =
        strict_unpack(arena, &onus__pb__request__descriptor, REQUEST_SIZE_MAX, bytes);
    if (unpacked.result != CODEC_OK) {
        return unpacked.result;
    }
    const Onus__Pb__Request *const in = unpacked.message;
    enum codec_result result = CODEC_OK;
    struct span header;
    struct signature signature;
    field_take_span(&result, &header, in->header, (struct bounds){1, STATEMENT_SIZE_MAX});
    field_take_signature(&result, &signature, in->signature);
    if (result == CODEC_OK) {
        result = request_header_decode(request, arena, service, header, &signature);
    }
    if (result != CODEC_OK) {
        return result;
    }
    request->bytes = bytes;
    return request_take_calls(request, arena, in);
}

bool request_header_encode(struct buffer *out, const struct public_key *author, uint64_t min_index,
                           const uint8_t nonce[REQUEST_NONCE_SIZE], enum request_mode mode,
                           uint32_t call_count, const struct span *calls) {
    if (call_count > CALLS_MAX) {
        return pack_refuse(out);
    }
    struct digest const root = calls_root(call_count, calls);
    Onus__Pb__RequestHeader message = ONUS__PB__REQUEST_HEADER__INIT;
    message.author = pack_span(span_of(author->bytes, PUBLIC_KEY_SIZE));
    message.min_index = min_index;
    message.nonce = pack_span(span_of(nonce, REQUEST_NONCE_SIZE));
    message.mode = (Onus__Pb__RequestMode)mode;
    message.call_count = call_count;
    message.calls_root = pack_digest(&root);
    return pack_message(out, &message.base);
}

bool request_encode(struct buffer *out, struct span header, const struct signature *signature,
                    uint32_t call_count, const struct span *calls) {
    ProtobufCBinaryData items[CALLS_MAX];
    if (call_count > CALLS_MAX) {
        return pack_refuse(out);
    }
    pack_spans(items, calls, call_count);
    Onus__Pb__Request message = ONUS__PB__REQUEST__INIT;
    message.header = pack_span(header);
    message.signature = pack_signature(signature);
    message.n_calls = call_count;
    message.calls = items;
    return pack_message(out, &message.base);
}
