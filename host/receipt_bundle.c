/*
 * receipt_bundle: see receipt_bundle.h. As stored, a bundle is
 *
 *   u64be leaf, u32be number of flanks, the flanks, and an encoded RequestEntry,
 *
 * that is, the request with its first index and outcomes just as the ledger holds it, and where it
 * stands in its batch.
 */
#include "host/receipt_bundle.h"

#include <stdlib.h>

#include "base/sign.h"
#include "ledger/derive.h"
#include "merkle/tree.h"
#include "receipts/receipt.h"

#define BUNDLE_HEADER_SIZE 12u
#define BUNDLE_ARENA_SIZE (16u << 20)

static_assert(MERKLE_RANGE_PROOF_MAX < 256, "flanks of one request are few");

/* ---- leaves ---------------------------------------------------------------------------------- */

static bool result_fits(const struct request *request, const struct request_result *result,
                        const struct pre_prepare *pre_prepare) {
    return request->call_count >= 1 && request->call_count <= CALLS_MAX &&
           result->outcome_count == request->call_count &&
           result->flank_count <= MERKLE_RANGE_PROOF_MAX && result->leaf < pre_prepare->tx_count &&
           request->call_count <= pre_prepare->tx_count - result->leaf &&
           pre_prepare->tx_count <= BATCH_CALLS_MAX &&
           result->first_index == pre_prepare->first_index + result->leaf;
}

/* The root that leaves and flanks imply; paths may be NULL. */
static bool bundle_root(struct digest *root, struct digest *paths, unsigned *path_counts,
                        const struct digest *service, const struct request *request,
                        const struct request_result *result, uint32_t tx_count) {
    struct digest leaves[CALLS_MAX];
    for (uint32_t i = 0; i < request->call_count; i++) {
        struct digest const outcome = hash_labelled(LABEL_OUTCOME, service, result->outcomes[i]);
        leaves[i] = batch_leaf(&request->digest, i, result->first_index + i, &outcome);
    }
    return merkle_range_root(root, paths, path_counts, leaves, result->leaf, request->call_count,
                             tx_count, result->flanks, result->flank_count);
}

bool receipt_bundle_holds(const struct digest *service, const struct request *request,
                          const struct request_result *result,
                          const struct pre_prepare *pre_prepare, uint64_t window) {
    if (!result_fits(request, result, pre_prepare) || result->first_index < request->min_index ||
        result->first_index + request->call_count - 1 - request->min_index >= window) {
        return false;
    }
    struct digest root;
    return bundle_root(&root, NULL, NULL, service, request, result, pre_prepare->tx_count) &&
           digest_equal(&root, &pre_prepare->batch_root);
}

/* ---- receipts -------------------------------------------------------------------------------- */

/* A bundle taken apart, with the paths of all its calls. */
struct opened {
    struct arena arena;
    struct tree calls;
    struct digest *paths; /* MERKLE_DEPTH_MAX a call */
    unsigned *path_counts;
    struct request request;
    struct certificate certificate;
    struct pre_prepare pre_prepare;
};

static int bundle_damaged(struct problem *problem, const char *what) {
    return problem_set(problem, EXIT_CORRUPT,
                       "a stored receipt is damaged: %s; restore the receipts from a backup", what);
}

static int bundle_exhausted(struct problem *problem) {
    return problem_set(problem, EXIT_ERROR, "out of memory while making a receipt");
}

static int bundle_open_paths(struct opened *opened, const struct digest *service,
                             const struct receipt_bundle *bundle, struct problem *problem) {
    struct request const *const request = &opened->request;
    if (!receipt_calls_tree(&opened->calls, request)) {
        return bundle_exhausted(problem);
    }
    opened->paths = malloc(sizeof *opened->paths * request->call_count * MERKLE_DEPTH_MAX);
    opened->path_counts = calloc(request->call_count, sizeof *opened->path_counts);
    if (opened->paths == NULL || opened->path_counts == NULL) {
        return bundle_exhausted(problem);
    }
    struct digest root;
    if (!bundle_root(&root, opened->paths, opened->path_counts, service, request, &bundle->result,
                     opened->pre_prepare.tx_count) ||
        !digest_equal(&root, &opened->pre_prepare.batch_root)) {
        return bundle_damaged(problem, "it does not lead to its batch");
    }
    return 0;
}

static int bundle_open(struct opened *opened, const struct digest *service,
                       const struct receipt_bundle *bundle, struct problem *problem) {
    if (request_decode(&opened->request, &opened->arena, service, bundle->request) != CODEC_OK) {
        return bundle_damaged(problem, "its request cannot be read");
    }
    if (certificate_decode(&opened->certificate, &opened->arena, bundle->certificate) != CODEC_OK ||
        pre_prepare_decode(&opened->pre_prepare, &opened->arena, opened->certificate.pre_prepare) !=
            CODEC_OK) {
        return bundle_damaged(problem, "its certificate cannot be read");
    }
    if (!result_fits(&opened->request, &bundle->result, &opened->pre_prepare)) {
        return bundle_damaged(problem, "its parts do not belong together");
    }
    return bundle_open_paths(opened, service, bundle, problem);
}

static bool bundle_encode_receipt(struct buffer *out, const struct opened *opened,
                                  const struct receipt_bundle *bundle, uint32_t position) {
    struct receipt_parts const parts = {
        .request = &opened->request,
        .calls_tree = &opened->calls,
        .position = position,
        .index = bundle->result.first_index + position,
        .outcome = bundle->result.outcomes[position],
        .batch_path_count = opened->path_counts[position],
        .batch_path = opened->paths + (size_t)position * MERKLE_DEPTH_MAX,
        .certificate = bundle->certificate,
    };
    buffer_clear(out);
    return receipt_build(out, &parts);
}

static int bundle_visit_opened(const struct opened *opened, const struct receipt_bundle *bundle,
                               struct receipt_range range, receipt_visitor visitor, void *context,
                               struct problem *problem) {
    struct buffer encoded;
    uint32_t const count = opened->request.call_count;
    if (range.first >= count) {
        return problem_set(problem, EXIT_ERROR, "there is no call %u: the request has %u, from 0",
                           range.first, count);
    }
    uint32_t const end = range.count > count - range.first ? count : range.first + range.count;
    int status = 0;
    buffer_init(&encoded, RECEIPT_SIZE_MAX);
    for (uint32_t i = range.first; i < end && status == 0; i++) {
        status = bundle_encode_receipt(&encoded, opened, bundle, i)
                     ? visitor(context, &opened->request.id, i, buffer_span(&encoded))
                     : bundle_exhausted(problem);
    }
    buffer_free(&encoded);
    return status;
}

int receipt_bundle_visit(const struct digest *service, const struct receipt_bundle *bundle,
                         struct receipt_range range, receipt_visitor visitor, void *context,
                         struct problem *problem) {
    struct opened *const opened = calloc(1, sizeof *opened);
    if (opened == NULL) {
        return bundle_exhausted(problem);
    }
    arena_init(&opened->arena, BUNDLE_ARENA_SIZE);
    tree_init(&opened->calls);
    int status = bundle_open(opened, service, bundle, problem);
    if (status == 0) {
        status = bundle_visit_opened(opened, bundle, range, visitor, context, problem);
    }
    tree_free(&opened->calls);
    arena_free(&opened->arena);
    free(opened->paths);
    free(opened->path_counts);
    free(opened);
    return status;
}

/* ---- as stored ------------------------------------------------------------------------------- */

bool receipt_bundle_encode(struct buffer *out, const struct receipt_bundle *bundle) {
    struct request_result const *const result = &bundle->result;
    uint8_t header[BUNDLE_HEADER_SIZE];
    store_u64_be(header, result->leaf);
    store_u32_be(header + 8, result->flank_count);
    struct request_entry const entry = {
        .request = bundle->request,
        .first_index = result->first_index,
        .outcome_count = result->outcome_count,
        .outcomes = result->outcomes,
    };
    return buffer_append(out, span_of(header, sizeof header)) &&
           buffer_append(out, span_of(result->flanks, (size_t)result->flank_count * DIGEST_SIZE)) &&
           request_entry_encode(out, &entry);
}

bool receipt_bundle_decode(struct receipt_bundle *out, struct arena *arena, struct span bytes) {
    if (bytes.size < BUNDLE_HEADER_SIZE) {
        return false;
    }
    uint32_t const flank_count = load_u32_be(bytes.data + 8);
    if (flank_count > MERKLE_RANGE_PROOF_MAX ||
        bytes.size - BUNDLE_HEADER_SIZE < (size_t)flank_count * DIGEST_SIZE) {
        return false;
    }
    size_t const entry_at = BUNDLE_HEADER_SIZE + (size_t)flank_count * DIGEST_SIZE;
    struct request_entry entry;
    if (request_entry_decode(&entry, arena,
                             span_of(bytes.data + entry_at, bytes.size - entry_at)) != CODEC_OK) {
        return false;
    }
    *out = (struct receipt_bundle){
        .request = entry.request,
        .result = {.first_index = entry.first_index,
                   .leaf = load_u64_be(bytes.data),
                   .outcome_count = entry.outcome_count,
                   .outcomes = entry.outcomes,
                   .flank_count = flank_count,
                   .flanks =
                       (const struct digest *)(const void *)(bytes.data + BUNDLE_HEADER_SIZE)},
    };
    return true;
}

/* ---- verifying ------------------------------------------------------------------------------- */

void bundle_verifier_init(struct bundle_verifier *verifier,
                          const struct configuration *configuration) {
    *verifier = (struct bundle_verifier){.configuration = configuration};
    arena_init(&verifier->arena, BUNDLE_ARENA_SIZE + ENTRY_SIZE_MAX);
}

void bundle_verifier_follow(struct bundle_verifier *verifier, struct chain *chain) {
    verifier->chain = chain;
}

void bundle_verifier_ask(struct bundle_verifier *verifier, configuration_finder find,
                         const void *context) {
    verifier->find = find;
    verifier->find_context = context;
}

/* NULL: it is not known. */
static const struct configuration *find_configuration(struct bundle_verifier *verifier,
                                                      uint64_t number) {
    if (verifier->find != NULL) {
        return verifier->find(verifier->find_context, number);
    }
    return verifier->chain != NULL &&
                   chain_find_configuration(verifier->chain, number, &verifier->found)
               ? &verifier->found
               : NULL;
}

/* Judge by the configuration that the certificate states, when that is known. */
static void choose_configuration(struct bundle_verifier *verifier, struct span certificate) {
    uint64_t config = 0;
    if (!certificate_config(&config, &verifier->arena, certificate) ||
        config == verifier->configuration->number) {
        return;
    }
    const struct configuration *const found = find_configuration(verifier, config);
    if (found != NULL) {
        verifier->configuration = found;
        verifier->has_batch = false;
    }
}

void bundle_verifier_free(struct bundle_verifier *verifier) {
    arena_free(&verifier->arena);
}

static enum receipt_check verify_certificate(struct bundle_verifier *verifier, struct span bytes) {
    struct digest const hash = hash_bytes(bytes);
    struct certificate certificate;
    if (verifier->has_batch && digest_equal(&hash, &verifier->certificate)) {
        return RECEIPT_VALID;
    }
    verifier->has_batch = false;
    choose_configuration(verifier, bytes);
    if (certificate_decode(&certificate, &verifier->arena, bytes) != CODEC_OK) {
        return RECEIPT_CERTIFICATE_ENCODING;
    }
    enum receipt_check const check = certificate_verify(&verifier->batch, &verifier->arena,
                                                        verifier->configuration, &certificate);
    verifier->has_batch = check == RECEIPT_VALID;
    verifier->certificate = hash;
    return check;
}

static enum receipt_check verify_author(const struct bundle_verifier *verifier) {
    const struct request *const request = &verifier->request;
    struct sign_check const check = {
        .key = request->author,
        .signature = request->signature,
        .body = request->header,
        .label = LABEL_REQUEST,
    };
    if (!configuration_has_author(verifier->configuration, &request->author)) {
        return RECEIPT_AUTHOR;
    }
    return sign_verify_universal(&verifier->configuration->service, &check)
               ? RECEIPT_VALID
               : RECEIPT_REQUEST_SIGNATURE;
}

static bool decode_bundle(struct bundle_verifier *verifier, struct span stored) {
    struct receipt_bundle *const bundle = &verifier->bundle;
    arena_reset(&verifier->arena);
    if (!receipt_bundle_decode(bundle, &verifier->arena, stored) ||
        request_decode(&verifier->request, &verifier->arena, &verifier->configuration->service,
                       bundle->request) != CODEC_OK) {
        return false;
    }
    for (uint32_t i = 0; i < bundle->result.outcome_count; i++) {
        struct outcome outcome;
        if (outcome_decode(&outcome, &verifier->arena, bundle->result.outcomes[i]) != CODEC_OK) {
            return false;
        }
    }
    return true;
}

enum receipt_check bundle_verify(struct bundle_verifier *verifier, struct span stored,
                                 struct span certificate) {
    if (!decode_bundle(verifier, stored)) {
        return RECEIPT_ENCODING;
    }
    verifier->bundle.certificate = certificate;
    enum receipt_check check = verify_certificate(verifier, certificate);
    if (check == RECEIPT_VALID) {
        check = verify_author(verifier);
    }
    if (check == RECEIPT_VALID &&
        !receipt_bundle_holds(&verifier->configuration->service, &verifier->request,
                              &verifier->bundle.result, &verifier->batch.pre_prepare,
                              verifier->configuration->parameters.window)) {
        check = RECEIPT_BATCH_PATH;
    }
    return check;
}
