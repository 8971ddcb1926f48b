/*
 * receipt_judge: does a receipt hold? Each is judged by the configuration that it states, as a
 * governance chain leads to it (protocol §8, §9). Receipts of one batch that follow each other are
 * paid for once.
 */
#ifndef ONUS_HOST_RECEIPT_JUDGE_H
#define ONUS_HOST_RECEIPT_JUDGE_H

#include "receipts/chain.h"
#include "receipts/receipt.h"

struct receipt_judge {
    struct chain *chain; /* borrowed; may grow in between */
    struct configuration configuration;
    bool is_known; /* configuration is what the last receipt states */
    struct receipt_memory memory;
};

void receipt_judge_init(struct receipt_judge *judge, struct chain *chain);

/*
 * Out: verified: only when the receipt is valid; config: what it states, 0: it does not decode.
 * Returns: as receipt_verify; RECEIPT_CONFIGURATION when the chain does not reach config.
 */
MUST_USE enum receipt_check receipt_judge_verify(struct receipt_judge *judge,
                                                 struct verified_receipt *verified,
                                                 uint64_t *config, struct arena *arena,
                                                 struct span receipt);

/*
 * Take the links of a receipt's file into the chain; those that it has already do no harm.
 * Returns: CHAIN_VALID, or why the first one that does not hold, does not.
 */
MUST_USE enum chain_check receipt_judge_take_links(struct receipt_judge *judge, struct span links);

#endif
