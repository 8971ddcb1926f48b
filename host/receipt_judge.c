/*
 * receipt_judge: see receipt_judge.h.
 */
#include "host/receipt_judge.h"

#include "governance/founding.h"

void receipt_judge_init(struct receipt_judge *judge, struct chain *chain) {
    *judge = (struct receipt_judge){.chain = chain};
}

static bool choose(struct receipt_judge *judge, uint64_t config) {
    if (!judge->is_known || judge->configuration.number != config) {
        judge->is_known = chain_find_configuration(judge->chain, config, &judge->configuration);
        judge->memory = (struct receipt_memory){.has_batch = false};
    }
    return judge->is_known;
}

enum receipt_check receipt_judge_verify(struct receipt_judge *judge,
                                        struct verified_receipt *verified, uint64_t *config,
                                        struct arena *arena, struct span receipt) {
    *config = 0;
    if (!receipt_config(config, arena, receipt)) {
        *config = 0;
        /* Which part of it does not decode, is said by whoever looks closer. */
        return choose(judge, FOUNDING_CONFIGURATION)
                   ? receipt_verify(verified, &judge->memory, arena, &judge->configuration, receipt)
                   : RECEIPT_ENCODING;
    }
    arena_reset(arena);
    return choose(judge, *config)
               ? receipt_verify(verified, &judge->memory, arena, &judge->configuration, receipt)
               : RECEIPT_CONFIGURATION;
}

enum chain_check receipt_judge_take_links(struct receipt_judge *judge, struct span links) {
    struct span link;
    uint32_t count = 0;
    int more = 0;
    while ((more = receipt_file_next_link(&links, &link)) == 1) {
        if (count++ == CHAIN_LINKS_MAX) {
            return CHAIN_ENCODING; /* no chain is as long; each one costs signatures */
        }
        struct chain_verdict const verdict = chain_add(judge->chain, link);
        if (verdict.check != CHAIN_VALID && verdict.check != CHAIN_KNOWN) {
            return verdict.check;
        }
    }
    return more == 0 ? CHAIN_VALID : CHAIN_ENCODING;
}
