/*
 * second_verifier: see second_verifier.h. Statements are checked one replica at a time, in the
 * order of formats.md §10; Merkle paths are walked from the leaf with the interval that the
 * subtree covers, rather than with RFC 9162's bit tricks.
 */
#include "tests/sim/second_verifier.h"

#include <sodium.h>

#define VERIFIER_ARENA_SIZE (4u << 20)

static named_check *replacement;

void second_verifier_use(named_check *check) {
    replacement = check;
}

/* "onus/v1/" || name || 0 || service || body, signed. */
static bool signature_good(const struct digest *service, const char *name,
                           const struct public_key *key, struct span body,
                           const struct signature *signature) {
    uint8_t message[STATEMENT_SIZE_MAX + 128];
    size_t size = 0;
    if (body.size > STATEMENT_SIZE_MAX) {
        return false;
    }
    if (replacement != NULL) {
        return replacement(service, name, key, body, signature);
    }
    memcpy(message, "onus/v1/", 8);
    size = 8;
    memcpy(message + size, name, strlen(name) + 1);
    size += strlen(name) + 1;
    memcpy(message + size, service->bytes, DIGEST_SIZE);
    size += DIGEST_SIZE;
    memcpy(message + size, body.data, body.size);
    size += body.size;
    return crypto_core_ed25519_is_valid_point(key->bytes) == 1 &&
           crypto_core_ed25519_is_valid_point(signature->bytes) == 1 &&
           crypto_sign_verify_detached(signature->bytes, message, size, key->bytes) == 0;
}

static struct digest digest_named(const struct digest *service, const char *name, struct span first,
                                  struct span second) {
    struct hash_state state;
    hash_init(&state);
    hash_update(&state, span_text("onus/v1/"));
    hash_update(&state, span_of(name, strlen(name) + 1));
    hash_update(&state, span_of(service->bytes, DIGEST_SIZE));
    hash_update(&state, first);
    hash_update(&state, second);
    return hash_final(&state);
}

static struct digest hash_tagged(uint8_t tag, struct span first, struct span second) {
    struct hash_state state;
    hash_init(&state);
    hash_update(&state, span_of(&tag, 1));
    hash_update(&state, first);
    hash_update(&state, second);
    return hash_final(&state);
}

/* How many leaves the left subtree of a tree of n > 1 leaves has. */
static uint64_t split_of(uint64_t n) {
    uint64_t split = 1;
    while (split * 2 < n) {
        split *= 2;
    }
    return split;
}

/* Does the path lead from the leaf to the root? From the top: which way does each level turn? */
static bool path_good(struct digest node, uint64_t index, uint64_t size, const struct digest *path,
                      uint32_t path_count, const struct digest *root) {
    bool is_right[64];
    uint32_t depth = 0;
    if (index >= size) {
        return false;
    }
    while (size > 1) {
        uint64_t const split = split_of(size);
        if (depth == 64) {
            return false;
        }
        is_right[depth] = index >= split;
        index -= is_right[depth] ? split : 0;
        size = is_right[depth] ? size - split : split;
        depth++;
    }
    if (depth != path_count) {
        return false;
    }
    for (uint32_t i = 0; i < path_count; i++) {
        struct span const own = span_of(node.bytes, DIGEST_SIZE);
        struct span const other = span_of(path[i].bytes, DIGEST_SIZE);
        node = is_right[depth - 1 - i] ? hash_tagged(1, other, own) : hash_tagged(1, own, other);
    }
    return digest_equal(&node, root);
}

struct facts {
    const struct configuration *configuration;
    struct receipt receipt;
    struct certificate certificate;
    struct pre_prepare body;
    struct request request;
};

static struct digest commitment_of(const struct facts *facts, uint32_t replica,
                                   const struct nonce *nonce) {
    uint8_t place[8 + 4 + 8 + 8];
    store_u64_be(place, facts->body.config);
    store_u32_be(place + 8, replica);
    store_u64_be(place + 12, facts->body.view);
    store_u64_be(place + 20, facts->body.seq);
    return digest_named(&facts->configuration->service, "nonce", span_of(place, sizeof place),
                        span_of(nonce->bytes, NONCE_SIZE));
}

static bool replica_vouches(const struct facts *facts, uint32_t replica, uint32_t nth,
                            uint32_t primary) {
    const struct configuration *const configuration = facts->configuration;
    const struct certificate *const certificate = &facts->certificate;
    struct digest const commitment = commitment_of(facts, replica, &certificate->nonces[nth]);
    if (replica == primary) {
        return digest_equal(&commitment, &facts->body.nonce_hash);
    }
    struct prepare const prepare = {
        .config = facts->body.config,
        .view = facts->body.view,
        .seq = facts->body.seq,
        .replica = replica,
        .pre_prepare_digest =
            digest_named(&configuration->service, "pre-prepare", certificate->pre_prepare,
                         span_of(certificate->pre_prepare_signature.bytes, SIGNATURE_SIZE)),
        .nonce_hash = commitment,
    };
    bool const after_primary = replica > primary;
    struct buffer body;
    buffer_init(&body, STATEMENT_SIZE_MAX);
    bool const good =
        prepare_encode(&body, &prepare) &&
        signature_good(&configuration->service, "prepare", &configuration->replicas[replica].key,
                       buffer_span(&body), &certificate->signatures[nth - after_primary]);
    buffer_free(&body);
    return good;
}

static bool certificate_good(struct facts *facts, struct arena *arena) {
    const struct configuration *const configuration = facts->configuration;
    if (certificate_decode(&facts->certificate, arena, facts->receipt.certificate) != CODEC_OK ||
        pre_prepare_decode(&facts->body, arena, facts->certificate.pre_prepare) != CODEC_OK ||
        facts->body.config != configuration->number) {
        return false;
    }
    uint32_t const primary = (uint32_t)(facts->body.view % configuration->replica_count);
    uint32_t seen = 0;
    if ((facts->certificate.signers >> primary & 1) == 0 ||
        !signature_good(&configuration->service, "pre-prepare",
                        &configuration->replicas[primary].key, facts->certificate.pre_prepare,
                        &facts->certificate.pre_prepare_signature)) {
        return false;
    }
    for (uint32_t replica = 0; replica < 64; replica++) {
        if ((facts->certificate.signers >> replica & 1) == 0) {
            continue;
        }
        if (replica >= configuration->replica_count || seen == facts->certificate.nonce_count ||
            !replica_vouches(facts, replica, seen, primary)) {
            return false;
        }
        seen++;
    }
    uint32_t const faulty = (configuration->replica_count - 1) / 3;
    return seen == configuration->replica_count - faulty && seen == facts->certificate.nonce_count;
}

static bool transaction_good(const struct facts *facts) {
    const struct receipt *const receipt = &facts->receipt;
    const struct request *const request = &facts->request;
    const struct digest *const service = &facts->configuration->service;
    uint64_t const first = receipt->index - receipt->position;
    uint64_t const last = first + request->call_count - 1;
    uint64_t const end = facts->body.first_index + facts->body.tx_count;
    if (receipt->index < receipt->position || first < facts->body.first_index || last >= end ||
        first < request->min_index ||
        last >= request->min_index + facts->configuration->parameters.window) {
        return false;
    }
    struct digest const outcome =
        digest_named(service, "outcome", receipt->outcome, (struct span){0});
    uint8_t leaf[DIGEST_SIZE + 4 + 8 + DIGEST_SIZE];
    memcpy(leaf, request->digest.bytes, DIGEST_SIZE);
    store_u32_be(leaf + DIGEST_SIZE, receipt->position);
    store_u64_be(leaf + DIGEST_SIZE + 4, receipt->index);
    memcpy(leaf + DIGEST_SIZE + 12, outcome.bytes, DIGEST_SIZE);
    struct digest const node = hash_tagged(0, span_of(leaf, sizeof leaf), (struct span){0});
    struct digest const call = hash_tagged(0, receipt->call, (struct span){0});
    return path_good(node, receipt->index - facts->body.first_index, facts->body.tx_count,
                     receipt->batch_path, receipt->batch_path_count, &facts->body.batch_root) &&
           path_good(call, receipt->position, request->call_count, receipt->call_path,
                     receipt->call_path_count, &request->calls_root);
}

static bool author_good(const struct facts *facts) {
    bool known = false;
    for (uint32_t i = 0; i < facts->configuration->author_count; i++) {
        known |= public_key_equal(&facts->configuration->authors[i], &facts->request.author);
    }
    return known &&
           signature_good(&facts->configuration->service, "request", &facts->request.author,
                          facts->receipt.request_header, &facts->receipt.request_signature);
}

bool second_verifier_accepts(const struct configuration *configuration, struct span receipt) {
    struct facts facts = {.configuration = configuration};
    struct arena arena;
    struct call call;
    struct outcome outcome;
    arena_init(&arena, VERIFIER_ARENA_SIZE);
    bool const good = receipt_decode(&facts.receipt, &arena, receipt) == CODEC_OK &&
                      request_header_decode(&facts.request, &arena, &configuration->service,
                                            facts.receipt.request_header,
                                            &facts.receipt.request_signature) == CODEC_OK &&
                      call_decode(&call, &arena, facts.receipt.call) == CODEC_OK &&
                      outcome_decode(&outcome, &arena, facts.receipt.outcome) == CODEC_OK &&
                      author_good(&facts) && certificate_good(&facts, &arena) &&
                      transaction_good(&facts);
    arena_free(&arena);
    return good;
}
