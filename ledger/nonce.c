/*
 * nonce: see nonce.h. The label and the service id stand before the body in the PRF's input.
 */
#include "ledger/nonce.h"

#include "base/hash.h"

struct nonce nonce_derive(const struct digest *service, const uint8_t secret[static 32],
                          uint64_t config, uint32_t replica, uint64_t view, uint64_t seq,
                          const struct digest *batch_digest) {
    uint8_t body[8 + 4 + 8 + 8 + DIGEST_SIZE];
    store_u64_be(body, config);
    store_u32_be(body + 8, replica);
    store_u64_be(body + 12, view);
    store_u64_be(body + 20, seq);
    memcpy(body + 28, batch_digest->bytes, DIGEST_SIZE);
    return hash_prf(LABEL_NONCE_SECRET, service, secret, span_of(body, sizeof body));
}
