/*
 * constitution_source: see constitution_source.h. The context keeps the governance chain.
 */
#include "client/constitution_source.h"

#include "host/context_chain.h"

int constitution_newest(struct constitution *out, const struct context *context,
                        struct problem *problem) {
    struct chain *const chain = context_chain_load(context, problem);
    if (chain == NULL) {
        return -1;
    }
    *out = *chain_newest(chain);
    chain_free(chain);
    return 0;
}
