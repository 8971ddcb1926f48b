/*
 * bundle: see bundle.h. Made of what stands in the ledger, as a replica answers its clients.
 */
#include "tests/forge/bundle.h"

#include "base/check.h"
#include "host/receipt_bundle.h"
#include "receipts/from_ledger.h"

#define BUNDLE_TEST_ARENA_SIZE ((size_t)64 << 20)

void forge_bundle(const struct forge *forge, uint64_t seq, uint32_t request, struct buffer *out) {
    struct batch batch;
    struct tree tree;
    struct arena tree_arena;
    struct arena arena;
    struct request_entry entry;
    struct digest flanks[MERKLE_RANGE_PROOF_MAX];
    batch_init(&batch);
    tree_init(&tree);
    arena_init(&tree_arena, BUNDLE_TEST_ARENA_SIZE);
    arena_init(&arena, BUNDLE_TEST_ARENA_SIZE);
    forge_read(forge, seq, &batch);
    CHECK(batch_tree_from_ledger(&tree, &tree_arena, &forge->consortium->configuration.service,
                                 &batch));
    CHECK(request_entry_decode(&entry, &arena, batch_request_payload(&batch, request)) == CODEC_OK);
    uint64_t const leaf = entry.first_index - batch.pre_prepare.first_index;
    struct receipt_bundle const bundle = {
        .request = entry.request,
        .result = {.first_index = entry.first_index,
                   .leaf = leaf,
                   .outcome_count = entry.outcome_count,
                   .outcomes = entry.outcomes,
                   .flank_count = tree_range_proof(&tree, flanks, leaf, entry.outcome_count),
                   .flanks = flanks}};
    CHECK(receipt_bundle_encode(out, &bundle));
    arena_free(&arena);
    arena_free(&tree_arena);
    tree_free(&tree);
    batch_free(&batch);
}
