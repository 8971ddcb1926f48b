/*
 * nonce: how a replica makes the nonce that it commits to (protocol §3). Derived, not drawn: there
 * is nothing to store, it is the same after a restart, never the same for two proposals, and
 * nobody without the secret can foresee it.
 */
#ifndef ONUS_LEDGER_NONCE_H
#define ONUS_LEDGER_NONCE_H

#include "base/bytes.h"

/*
 * PRF(secret, service || config || replica || view || seq || batch digest).
 * secret: kept apart from the signing key; batch_digest: of pre_prepare_batch_digest.
 */
struct nonce nonce_derive(const struct digest *service, const uint8_t secret[static 32],
                          uint64_t config, uint32_t replica, uint64_t view, uint64_t seq,
                          const struct digest *batch_digest);

#endif
