/*
 * receipt: see receipt.h. Every input to receipt_verify is hostile. The cheap checks come after
 * the certificate, since nothing that a receipt says means anything before its signers are known.
 */
#include "receipts/receipt.h"

#include "base/check.h"
#include "base/sign.h"
#include "ledger/derive.h"

static enum receipt_check batch_verify(struct receipt_memory *memory, struct arena *arena,
                                       const struct configuration *configuration,
                                       struct span bytes) {
    struct digest const hash = hash_bytes(bytes);
    if (memory->has_batch && digest_equal(&hash, &memory->certificate)) {
        return RECEIPT_VALID;
    }
    memory->has_batch = false;
    struct certificate certificate;
    if (certificate_decode(&certificate, arena, bytes) != CODEC_OK) {
        return RECEIPT_CERTIFICATE_ENCODING;
    }
    enum receipt_check const check =
        certificate_verify(&memory->batch, arena, configuration, &certificate);
    if (check == RECEIPT_VALID) {
        memory->certificate = hash;
        memory->has_batch = true;
    }
    return check;
}

static enum receipt_check request_verify(struct receipt_memory *memory,
                                         const struct request *request,
                                         const struct configuration *configuration) {
    if (!configuration_has_author(configuration, &request->author)) {
        return RECEIPT_AUTHOR;
    }
    if (memory->has_request && digest_equal(&memory->request, &request->digest)) {
        return RECEIPT_VALID;
    }
    struct sign_check const check = {
        .key = request->author,
        .signature = request->signature,
        .body = request->header,
        .label = LABEL_REQUEST,
    };
    if (!sign_verify_universal(&configuration->service, &check)) {
        return RECEIPT_REQUEST_SIGNATURE;
    }
    memory->request = request->digest;
    memory->has_request = true;
    return RECEIPT_VALID;
}

bool receipt_call_is_part(const struct request *request, const struct call_claim *claim) {
    struct digest const leaf = merkle_leaf_hash(claim->call);
    struct digest root;
    return merkle_root_from_path(&root, &leaf, claim->position, request->call_count, claim->path,
                                 claim->path_count) &&
           digest_equal(&root, &request->calls_root);
}

static struct call_claim claim_of(const struct receipt *receipt) {
    return (struct call_claim){.call = receipt->call,
                               .position = receipt->position,
                               .path_count = receipt->call_path_count,
                               .path = receipt->call_path};
}

/* Does the index lie in the batch and in the window of its request (§5)? */
static enum receipt_check place_verify(const struct verified_receipt *in,
                                       const struct pre_prepare *batch, uint64_t window) {
    const struct request *const request = &in->request;
    uint64_t const index = in->receipt.index;
    uint32_t const position = in->receipt.position;
    if (index < batch->first_index || index - batch->first_index >= batch->tx_count ||
        index - batch->first_index < position ||
        request->call_count - position > batch->tx_count - (index - batch->first_index)) {
        return RECEIPT_INDEX;
    }
    uint64_t const first = index - position;
    bool const in_window = first >= request->min_index &&
                           first - request->min_index + request->call_count - 1 < window;
    return in_window ? RECEIPT_VALID : RECEIPT_WINDOW;
}

static bool transaction_is_part(const struct verified_receipt *in, const struct digest *service,
                                const struct pre_prepare *batch) {
    const struct receipt *const receipt = &in->receipt;
    struct digest const outcome = hash_labelled(LABEL_OUTCOME, service, receipt->outcome);
    struct digest const leaf =
        batch_leaf(&in->request.digest, receipt->position, receipt->index, &outcome);
    struct digest root;
    return merkle_root_from_path(&root, &leaf, receipt->index - batch->first_index, batch->tx_count,
                                 receipt->batch_path, receipt->batch_path_count) &&
           digest_equal(&root, &batch->batch_root);
}

enum receipt_check receipt_verify(struct verified_receipt *out, struct receipt_memory *memory,
                                  struct arena *arena, const struct configuration *configuration,
                                  struct span bytes) {
    const struct digest *const service = &configuration->service;
    struct receipt *const receipt = &out->receipt;
    if (receipt_decode(receipt, arena, bytes) != CODEC_OK ||
        request_header_decode(&out->request, arena, service, receipt->request_header,
                              &receipt->request_signature) != CODEC_OK ||
        call_decode(&out->call, arena, receipt->call) != CODEC_OK ||
        outcome_decode(&out->outcome, arena, receipt->outcome) != CODEC_OK) {
        return RECEIPT_ENCODING;
    }
    enum receipt_check check = batch_verify(memory, arena, configuration, receipt->certificate);
    if (check == RECEIPT_VALID) {
        check = request_verify(memory, &out->request, configuration);
    }
    struct call_claim const claim = claim_of(receipt);
    if (check == RECEIPT_VALID && !receipt_call_is_part(&out->request, &claim)) {
        check = RECEIPT_CALL_PATH;
    }
    if (check == RECEIPT_VALID) {
        check = place_verify(out, &memory->batch.pre_prepare, configuration->parameters.window);
    }
    if (check == RECEIPT_VALID && !transaction_is_part(out, service, &memory->batch.pre_prepare)) {
        check = RECEIPT_BATCH_PATH;
    }
    return check;
}

bool receipt_calls_tree(struct tree *tree, const struct request *request) {
    tree_clear(tree);
    for (uint32_t i = 0; i < request->call_count; i++) {
        struct digest const leaf = merkle_leaf_hash(request->calls[i].bytes);
        if (!tree_append(tree, &leaf)) {
            return false;
        }
    }
    return true;
}

bool receipt_build(struct buffer *out, const struct receipt_parts *parts) {
    const struct request *const request = parts->request;
    CHECK(parts->position < request->call_count);
    CHECK(parts->calls_tree->leaf_count == request->call_count);
    struct digest call_path[MERKLE_DEPTH_MAX];
    struct receipt const receipt = {
        .request_header = request->header,
        .request_signature = request->signature,
        .call = request->calls[parts->position].bytes,
        .position = parts->position,
        .call_path_count =
            tree_inclusion_path(parts->calls_tree, call_path, parts->position, request->call_count),
        .call_path = call_path,
        .index = parts->index,
        .outcome = parts->outcome,
        .batch_path_count = parts->batch_path_count,
        .batch_path = parts->batch_path,
        .certificate = parts->certificate,
    };
    return receipt_encode(out, &receipt);
}

bool receipt_file_encode(struct buffer *out, struct span receipt) {
    return buffer_append(out, span_text(RECEIPT_FILE_MAGIC)) && buffer_append(out, receipt);
}

static bool begins_with(struct span file, struct span magic) {
    return file.size >= magic.size && span_equal(span_of(file.data, magic.size), magic);
}

/* Append bytes with their size before them. */
static bool append_sized(struct buffer *out, struct span bytes) {
    uint8_t size[4];
    store_u32_be(size, (uint32_t)bytes.size);
    return buffer_append(out, span_of(size, sizeof size)) && buffer_append(out, bytes);
}

/* Take such bytes off the front. */
static bool take_sized(struct span *rest, size_t size_max, struct span *bytes) {
    if (rest->size < 4) {
        return false;
    }
    size_t const size = load_u32_be(rest->data);
    if (size > size_max || size > rest->size - 4) {
        return false;
    }
    *bytes = span_of(rest->data + 4, size);
    *rest = span_of(bytes->data + size, rest->size - 4 - size);
    return true;
}

bool receipt_file_begin_linked(struct buffer *out, struct span receipt) {
    return buffer_append(out, span_text(RECEIPT_LINKED_FILE_MAGIC)) && append_sized(out, receipt);
}

bool receipt_file_add_link(struct buffer *out, struct span link) {
    return append_sized(out, link);
}

bool receipt_file_open(struct span *receipt, struct span *links, struct span file) {
    struct span const plain = span_text(RECEIPT_FILE_MAGIC);
    struct span const linked = span_text(RECEIPT_LINKED_FILE_MAGIC);
    *links = (struct span){0};
    if (begins_with(file, plain)) {
        *receipt = span_of(file.data + plain.size, file.size - plain.size);
        return true;
    }
    if (!begins_with(file, linked)) {
        return false;
    }
    *links = span_of(file.data + linked.size, file.size - linked.size);
    return take_sized(links, RECEIPT_SIZE_MAX, receipt);
}

bool receipt_file_decode(struct span *receipt, struct span file) {
    struct span links;
    return receipt_file_open(receipt, &links, file);
}

int receipt_file_next_link(struct span *links, struct span *link) {
    if (links->size == 0) {
        return 0;
    }
    return take_sized(links, CHAIN_LINK_SIZE_MAX, link) ? 1 : -1;
}

bool certificate_config(uint64_t *config, struct arena *arena, struct span certificate) {
    struct certificate decoded;
    struct pre_prepare body;
    if (certificate_decode(&decoded, arena, certificate) != CODEC_OK ||
        pre_prepare_decode(&body, arena, decoded.pre_prepare) != CODEC_OK) {
        return false;
    }
    *config = body.config;
    return true;
}

bool receipt_config(uint64_t *config, struct arena *arena, struct span receipt) {
    struct receipt decoded;
    return receipt_decode(&decoded, arena, receipt) == CODEC_OK &&
           certificate_config(config, arena, decoded.certificate);
}
