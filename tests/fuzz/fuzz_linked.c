/*
 * fuzz_linked: files of receipts that take along links of the governance chain, of one receipt and
 * of many: their links lead on or do not, and what does not hold is never taken for a receipt. In
 * each configuration two verifiers that were written apart must agree, and all receipts of a
 * request hold when they are judged to at once.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "host/receipt_judge.h"
#include "host/receipts_file.h"
#include "tests/fuzz/target.h"
#include "tests/sim/second_verifier.h"

static struct chain *founding_chain(void) {
    const struct genesis *const genesis = &target_consortium()->genesis;
    struct problem problem = {.code = EXIT_OK};
    struct chain *const chain = chain_new(&genesis->service, genesis->bytes, &problem);
    CHECK(chain != NULL);
    return chain;
}

static void judge_one(struct span receipt, struct span links) {
    struct chain *const chain = founding_chain();
    struct receipt_judge judge;
    struct verified_receipt verified;
    struct arena arena;
    uint64_t config = 0;
    arena_init(&arena, (size_t)8 << 20);
    receipt_judge_init(&judge, chain);
    enum chain_check const led = receipt_judge_take_links(&judge, links);
    enum receipt_check const check =
        receipt_judge_verify(&judge, &verified, &config, &arena, receipt);
    CHECK(check != RECEIPT_VALID || config <= chain_newest(chain)->number);
    CHECK(!judge.is_known ||
          (check == RECEIPT_VALID) == second_verifier_accepts(&judge.configuration, receipt));
    CHECK(led == CHAIN_VALID || links.size != 0);
    arena_free(&arena);
    chain_free(chain);
}

static void take_link(void *context, struct span link) {
    struct chain *const chain = context;
    struct chain_verdict const verdict = chain_add(chain, link);
    CHECK(verdict.check < CHAIN_CHECK_COUNT);
}

static int judge_single(void *context, const struct digest *request_id, uint32_t position,
                        struct span receipt) {
    struct receipt_judge *const judge = context;
    struct verified_receipt verified;
    struct arena arena;
    uint64_t config = 0;
    (void)request_id;
    (void)position;
    arena_init(&arena, (size_t)8 << 20);
    CHECK(receipt_judge_verify(judge, &verified, &config, &arena, receipt) == RECEIPT_VALID);
    arena_free(&arena);
    return 0;
}

static void judge_bundle(struct bundle_verifier *verifier, struct span bundle,
                         struct span certificate) {
    const struct digest *const service = &target_consortium()->genesis.service;
    struct receipt_range const all = {.first = 0, .count = UINT32_MAX};
    struct problem problem = {.code = EXIT_OK};
    struct receipt_judge judge;
    if (bundle_verify(verifier, bundle, certificate) == RECEIPT_VALID) {
        receipt_judge_init(&judge, verifier->chain);
        CHECK(receipt_bundle_visit(service, &verifier->bundle, all, judge_single, &judge,
                                   &problem) == 0);
    }
}

static void judge_many(struct span bytes) {
    FILE *const in = fmemopen((void *)(uintptr_t)bytes.data, bytes.size, "r");
    struct bundle_verifier *const verifier = calloc(1, sizeof *verifier);
    struct chain *const chain = founding_chain();
    struct receipts_reader reader;
    struct problem problem = {.code = EXIT_OK};
    struct span bundle;
    struct span certificate;
    CHECK(in != NULL && verifier != NULL);
    bundle_verifier_init(verifier, &target_consortium()->configuration);
    bundle_verifier_follow(verifier, chain);
    int const begun =
        receipts_read_begin(&reader, in, "file", &target_consortium()->genesis.service, &problem);
    reader.link = take_link;
    reader.link_context = chain;
    while (begun == 0 && receipts_read(&reader, &bundle, &certificate, &problem) == 1) {
        judge_bundle(verifier, bundle, certificate);
    }
    receipts_read_free(&reader);
    bundle_verifier_free(verifier);
    free(verifier);
    chain_free(chain);
    (void)fclose(in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct span const bytes = span_of(data, size);
    struct span receipt;
    struct span links;
    if (receipt_file_open(&receipt, &links, bytes)) {
        judge_one(receipt, links);
    } else if (size != 0) {
        judge_many(bytes);
    }
    return 0;
}
