/*
 * certificate: does a certificate prove that its batch committed (protocol §8)? The signatures of
 * receipts and of evidence of misbehaviour are checked here and nowhere else.
 */
#ifndef ONUS_RECEIPTS_CERTIFICATE_H
#define ONUS_RECEIPTS_CERTIFICATE_H

#include "ledger/codec.h"
#include "ledger/configuration.h"

/* Which check failed, in the order in which they are made. */
enum receipt_check {
    RECEIPT_VALID = 0,
    RECEIPT_ENCODING, /* not an encoded receipt, or a part of it is not what it must be */
    RECEIPT_CERTIFICATE_ENCODING, /* the same of the certificate in it */
    RECEIPT_CONFIGURATION,        /* signed in another configuration than the one given */
    RECEIPT_SIGNERS,              /* not exactly Q of the configuration's replicas, or no primary */
    RECEIPT_PRIMARY_SIGNATURE,    /* under the pre-prepare */
    RECEIPT_COMMITMENT,           /* the primary's nonce is not the one it committed to */
    RECEIPT_PREPARE_SIGNATURE,    /* of a backup, or its nonce is not the one it committed to */
    RECEIPT_AUTHOR,               /* the request's author is no user or member */
    RECEIPT_REQUEST_SIGNATURE,
    RECEIPT_CALL_PATH,  /* the call is not in the request at that position */
    RECEIPT_INDEX,      /* outside the batch, or before the request began */
    RECEIPT_WINDOW,     /* the request must not have been executed there */
    RECEIPT_BATCH_PATH, /* the transaction with this outcome is not in the batch */
    RECEIPT_CHECK_COUNT
};

/* One sentence for a person: what does not hold. */
const char *receipt_check_text(enum receipt_check check);

/* A batch that Q replicas vouch for. */
struct verified_batch {
    struct pre_prepare pre_prepare;
    struct digest digest; /* LABEL_PRE_PREPARE of the pre-prepare with its signature */
    uint64_t signers;     /* bitmap: Q replicas, the primary among them */
};

/*
 * Verify a decoded certificate: every signature (universally, §2), every commitment.
 * Returns: RECEIPT_VALID, and only then out means anything.
 */
MUST_USE enum receipt_check certificate_verify(struct verified_batch *out, struct arena *arena,
                                               const struct configuration *configuration,
                                               const struct certificate *certificate);

/*
 * Digests of the statements that a verified certificate shows to be signed, each with its
 * signature: of the pre-prepare, then of the prepares (hash_statement by their labels). A body
 * says whose key it is signed with.
 * out: room for Q. Returns: how many there are.
 */
uint32_t certificate_statements(struct digest *out, const struct configuration *configuration,
                                const struct verified_batch *batch,
                                const struct certificate *certificate);

#endif
