/*
 * fuzz_snapshot: where a checker stands after a checkpoint, out of evidence, from a peer, or from
 * one's own disk. What a checker takes it can go on from, and cut again.
 */
#include <stdlib.h>

#include "base/check.h"
#include "ledger/checker.h"
#include "tests/fuzz/target.h"

static void load(const struct checker_snapshot *snapshot, struct arena *arena,
                 bool rebuild_window) {
    struct checker *const checker = checker_new(&target_consortium()->configuration);
    struct checkpoint_cut *const cut = malloc(sizeof *cut);
    CHECK(checker != NULL && cut != NULL);
    if (checker_load(checker, snapshot, arena, rebuild_window)) {
        struct buffer bytes;
        struct digest digest;
        buffer_init(&bytes, SNAPSHOT_SIZE_MAX);
        checker_cut(checker, cut);
        CHECK(checkpoint_cut_digest(&digest, &bytes, &target_consortium()->configuration.service,
                                    cut));
        buffer_free(&bytes);
    }
    free(cut);
    checker_free(checker);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct arena arena;
    struct checker_snapshot snapshot;
    arena_init(&arena, (size_t)64 << 20);
    if (checker_snapshot_decode(&snapshot, &arena, span_of(data, size)) == CODEC_OK) {
        load(&snapshot, &arena, false);
        load(&snapshot, &arena, true);
    }
    arena_free(&arena);
    return 0;
}
