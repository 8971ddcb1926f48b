/*
 * fuzz_receipt: receipts, from whoever brings one. Two verifiers that were written apart must
 * agree.
 */
#include "base/check.h"
#include "receipts/receipt.h"
#include "tests/fuzz/target.h"
#include "tests/sim/second_verifier.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const struct consortium *const consortium = target_consortium();
    struct span const bytes = span_of(data, size);
    struct verified_receipt verified;
    struct receipt_memory memory = {.has_batch = false};
    struct arena arena;
    arena_init(&arena, (size_t)8 << 20);
    enum receipt_check const check =
        receipt_verify(&verified, &memory, &arena, &consortium->configuration, bytes);
    CHECK((check == RECEIPT_VALID) == second_verifier_accepts(&consortium->configuration, bytes));
    arena_free(&arena);
    return 0;
}
