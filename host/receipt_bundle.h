/*
 * receipt_bundle: the receipts of all calls of one request, kept together.
 *
 * The calls of a request execute side by side in one batch, so their receipts share the request,
 * the certificate and most of their paths. A client keeps the shared form, which is several times
 * smaller, and makes single receipts from it when somebody asks for one (protocol §8).
 *
 * Pure. Single signatures are judged where those of receipts are: by receipts/certificate.h, and as
 * receipts/receipt.h does.
 */
#ifndef ONUS_HOST_RECEIPT_BUNDLE_H
#define ONUS_HOST_RECEIPT_BUNDLE_H

#include "base/problem.h"
#include "ledger/wire.h"
#include "merkle/tree.h"
#include "receipts/chain.h"
#include "receipts/receipt.h"

/*
 * Does the result place the request in the batch that the pre-prepare describes? Checks counts,
 * indices, the request's window of W indices, and that the leaves lead to the batch root. If so,
 * the receipt of every call has valid paths.
 * Returns: false when it does not, or memory is exhausted.
 */
MUST_USE bool receipt_bundle_holds(const struct digest *service, const struct request *request,
                                   const struct request_result *result,
                                   const struct pre_prepare *pre_prepare, uint64_t window);

struct receipt_bundle {
    struct span request; /* encoded */
    struct request_result result;
    struct span certificate; /* encoded */
};

/* One receipt, encoded; the span lives during the call. Return anything but 0 to stop. */
typedef int (*receipt_visitor)(void *context, const struct digest *request_id, uint32_t position,
                               struct span receipt);

/* Which calls: `count` of them from `first` on; count UINT32_MAX: all that follow. */
struct receipt_range {
    uint32_t first;
    uint32_t count;
};

/*
 * Make receipts.
 * Returns: 0; what the visitor returned; -1 with a problem when the bundle's parts do not belong
 * together (EXIT_CORRUPT), there is no such call, or memory is exhausted.
 */
MUST_USE int receipt_bundle_visit(const struct digest *service, const struct receipt_bundle *bundle,
                                  struct receipt_range range, receipt_visitor visitor,
                                  void *context, struct problem *problem);

/* The bundle as it is stored, without request id and certificate; see receipt_bundle.c. */
MUST_USE bool receipt_bundle_encode(struct buffer *out, const struct receipt_bundle *bundle);
/* Certificate and request id stay empty. Spans point into arena or bytes. False: damaged. */
MUST_USE bool receipt_bundle_decode(struct receipt_bundle *out, struct arena *arena,
                                    struct span bytes);

/*
 * Verifies bundles one after the other, each from nothing: comes to RECEIPT_VALID exactly when
 * receipt_verify does for the receipt of every one of its calls. Signatures of a batch are paid for
 * once while its bundles follow each other. One verifier belongs to one thread.
 */
typedef const struct configuration *(*configuration_finder)(const void *context, uint64_t number);

struct bundle_verifier {
    const struct configuration *configuration; /* borrowed */
    struct chain *chain;                       /* borrowed; NULL: none is followed */
    struct configuration found;                /* what the chain last led to */
    configuration_finder find;                 /* or, NULL: nobody is asked */
    const void *find_context;                  /* borrowed */
    struct arena arena;
    bool has_batch;
    struct digest certificate;    /* SHA-256 of its encoding */
    struct verified_batch batch;  /* that the last valid bundle was executed in */
    struct receipt_bundle bundle; /* the last one; spans live until the next */
    struct request request;
};

void bundle_verifier_init(struct bundle_verifier *verifier,
                          const struct configuration *configuration);
/*
 * Judge each bundle by the configuration that its certificate states, as the chain leads to it; one
 * that the chain does not reach is refused with RECEIPT_CONFIGURATION. chain is borrowed.
 */
void bundle_verifier_follow(struct bundle_verifier *verifier, struct chain *chain);
/*
 * The same with whoever knows the configurations in place of a chain. find returns NULL for one
 * that is not known; what it returns lives as long as the verifier. context is borrowed.
 */
void bundle_verifier_ask(struct bundle_verifier *verifier, configuration_finder find,
                         const void *context);
void bundle_verifier_free(struct bundle_verifier *verifier);
/* stored: as receipt_bundle_encode makes it. Returns: the first check that failed. */
MUST_USE enum receipt_check bundle_verify(struct bundle_verifier *verifier, struct span stored,
                                          struct span certificate);

#define RECEIPT_BUNDLE_SIZE_MAX (ENTRY_SIZE_MAX + MERKLE_RANGE_PROOF_MAX * DIGEST_SIZE + 64u)

#endif
