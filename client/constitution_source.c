/*
 * constitution_source: see constitution_source.h. The context holds genesis, which is where the
 * governance chain begins.
 */
#include "client/constitution_source.h"

#include "governance/founding.h"

int constitution_newest(struct constitution *out, const struct context *context,
                        struct problem *problem) {
    return constitution_found(out, &context->founding.genesis, problem);
}
