/*
 * receipt: build one, verify one (protocol §8). The command line, the client library, the auditor
 * and the replicas all verify here; verifying needs no network, and no more than the configuration
 * that the governance chain gives.
 */
#ifndef ONUS_RECEIPTS_RECEIPT_H
#define ONUS_RECEIPTS_RECEIPT_H

#include "merkle/tree.h"
#include "receipts/certificate.h"

/* The first bytes of a file that holds a receipt; the encoded receipt is the rest. */
#define RECEIPT_FILE_MAGIC "onus-receipt-v1\n"
#define RECEIPT_FILE_SIZE_MAX (sizeof RECEIPT_FILE_MAGIC - 1 + RECEIPT_SIZE_MAX)

/* What a receipt says, decoded. Spans point into the arena or the input. */
struct verified_receipt {
    struct receipt receipt;
    struct request request; /* its header alone: calls are NULL */
    struct call call;
    struct outcome outcome;
};

/*
 * The signatures that the last receipt needed: receipts of one batch share their certificate, those
 * of one request its signature, and each is paid for once. Start with all zeros; one memory
 * belongs to one configuration.
 */
struct receipt_memory {
    bool has_batch;
    struct digest certificate; /* SHA-256 of its encoding */
    struct verified_batch batch;
    bool has_request;
    struct digest request; /* LABEL_REQUEST_DIGEST */
};

/*
 * Verify an encoded receipt. The batch that it proves is memory->batch afterwards.
 * Returns: RECEIPT_VALID, and only then out means anything.
 */
MUST_USE enum receipt_check receipt_verify(struct verified_receipt *out,
                                           struct receipt_memory *memory, struct arena *arena,
                                           const struct configuration *configuration,
                                           struct span bytes);

/* A call, and how it is shown to be one of a request. */
struct call_claim {
    struct span call;
    uint32_t position;
    uint32_t path_count;
    const struct digest *path; /* in the calls tree */
};

/* Is that call in the request, at that position? */
MUST_USE bool receipt_call_is_part(const struct request *request, const struct call_claim *claim);

/* What a receipt for one call of a request is made of. */
struct receipt_parts {
    const struct request *request; /* whole */
    const struct tree *calls_tree; /* of receipt_calls_tree */
    uint32_t position;
    uint64_t index; /* of the transaction */
    struct span outcome;
    uint32_t batch_path_count;
    const struct digest *batch_path; /* in G */
    struct span certificate;         /* encoded */
};

/* Append the encoded receipt. It is as true as its parts. Returns: false when out of room. */
MUST_USE bool receipt_build(struct buffer *out, const struct receipt_parts *parts);

/* The calls tree of a request, of which receipts carry paths. tree: cleared first. */
MUST_USE bool receipt_calls_tree(struct tree *tree, const struct request *request);

/*
 * A receipt's file around its encoding, and back. Decoding takes both kinds of file, and checks the
 * magic alone.
 */
MUST_USE bool receipt_file_encode(struct buffer *out, struct span receipt);
MUST_USE bool receipt_file_decode(struct span *receipt, struct span file);

/*
 * A receipt of a later configuration carries the links of the governance chain that lead there, so
 * that it is good without anything but genesis: the second magic, the receipt with its size before
 * it, then link after link, likewise. Sizes are 32 bits, big endian.
 */
#define RECEIPT_LINKED_FILE_MAGIC "onus-receipt-v2\n"
#define RECEIPT_LINKED_FILE_SIZE_MAX (RECEIPT_FILE_SIZE_MAX + CHAIN_SIZE_MAX)

/* The beginning of such a file; receipt_file_add_link appends what follows, in order. */
MUST_USE bool receipt_file_begin_linked(struct buffer *out, struct span receipt);
MUST_USE bool receipt_file_add_link(struct buffer *out, struct span link);
/*
 * Either kind of file. links: what comes behind the receipt; empty in the first kind. Decoding
 * checks the magic and that the receipt is there.
 */
MUST_USE bool receipt_file_open(struct span *receipt, struct span *links, struct span file);
/* Returns: 1 with the next link, 0 at the end, -1 when what is left is none. */
MUST_USE int receipt_file_next_link(struct span *links, struct span *link);

/* Which configuration does a receipt state? Returns: false when it does not decode. */
MUST_USE bool receipt_config(uint64_t *config, struct arena *arena, struct span receipt);
/* And a certificate? */
MUST_USE bool certificate_config(uint64_t *config, struct arena *arena, struct span certificate);

#endif
