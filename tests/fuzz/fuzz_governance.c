/*
 * fuzz_governance: proposals, as any member may send them; links and files of the governance chain,
 * as anybody may bring them. The first byte says which. What is accepted is a constitution like any
 * other, and saying it twice says nothing new.
 */
#include <stdlib.h>

#include "base/check.h"
#include "governance/founding.h"
#include "receipts/chain.h"
#include "tests/fuzz/samples.h"
#include "tests/fuzz/target.h"

static struct span genesis_bytes(void) {
    return buffer_span(&target_consortium()->genesis_bytes);
}

/* It encodes, and opens again as the same. */
static void check_constitution(const struct constitution *in) {
    static struct constitution again;
    struct digest digests[2];
    struct arena arena;
    struct buffer bytes;
    arena_init(&arena, (size_t)4 << 20);
    buffer_init(&bytes, CONSTITUTION_SIZE_MAX);
    CHECK(constitution_encode(&bytes, in));
    CHECK(constitution_open(&again, &arena, &in->service, buffer_span(&bytes)) == CODEC_OK);
    CHECK(constitution_digest(&digests[0], in) && constitution_digest(&digests[1], &again));
    CHECK(digest_equal(&digests[0], &digests[1]));
    buffer_free(&bytes);
    arena_free(&arena);
}

static void try_proposal(struct span bytes) {
    static struct constitution founded;
    static struct constitution next;
    static struct proposal proposal;
    struct problem problem = {.code = EXIT_OK};
    struct arena arena;
    arena_init(&arena, (size_t)1 << 20);
    CHECK(constitution_found(&founded, &target_consortium()->genesis, &problem) == 0);
    if (proposal_decode(&proposal, &arena, &founded.service, bytes) == CODEC_OK) {
        struct proposal_verdict const verdict = proposal_apply(&next, &founded, &proposal);
        CHECK(proposal_rule_text(verdict.rule) != NULL);
        if (verdict.rule == PROPOSAL_SOUND) {
            check_constitution(&next);
        }
    }
    arena_free(&arena);
}

static void try_link(struct span bytes) {
    struct problem problem = {.code = EXIT_OK};
    struct chain *const chain = chain_new(NULL, genesis_bytes(), &problem);
    CHECK(chain != NULL);
    struct chain_verdict const verdict = chain_add(chain, bytes);
    CHECK((verdict.check == CHAIN_VALID) == (chain_newest(chain)->number == 2));
    if (verdict.check == CHAIN_VALID) {
        check_constitution(chain_newest(chain));
        CHECK(chain_add(chain, bytes).check == CHAIN_KNOWN);
    }
    chain_free(chain);
}

static void try_file(struct span bytes) {
    struct problem problem = {.code = EXIT_OK};
    struct chain *const chain =
        chain_read(&target_consortium()->configuration.service, bytes, &problem);
    CHECK((chain == NULL) == (problem.code != EXIT_OK));
    if (chain != NULL) {
        check_constitution(chain_newest(chain));
    }
    chain_free(chain);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) {
        return 0;
    }
    struct span const rest = span_of(data + 1, size - 1);
    if (data[0] == SAMPLE_PROPOSAL) {
        try_proposal(rest);
    } else if (data[0] == SAMPLE_LINK) {
        try_link(rest);
    } else if (data[0] == SAMPLE_CHAIN) {
        try_file(rest);
    }
    return 0;
}
