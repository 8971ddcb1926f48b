/*
 * samples_linked: files of receipts of two configurations, with the link between them, as clients
 * hand them on. Each holds as it is, which is checked here: only then do changes say anything.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "host/receipt_judge.h"
#include "host/receipts_file.h"
#include "tests/forge/bundle.h"
#include "tests/forge/reform.h"
#include "tests/forge/story.h"
#include "tests/fuzz/samples_internal.h"

#define SEED 13u
#define PAYMENTS 3u /* batches with receipts: of the first configuration, and two of the second */

struct telling {
    struct forge forge;
    struct reform reform;
    uint64_t paid[PAYMENTS];
};

static void tell(struct telling *telling, const struct consortium *consortium) {
    struct reform *const reform = &telling->reform;
    struct story story = {.forge = &telling->forge, .random = SEED};
    forge_init(&telling->forge, consortium);
    reform_init(reform, &telling->forge);
    for (uint32_t i = 0; i < PAYMENTS; i++) {
        if (i == 1) {
            const struct replica_identity *const first = &reform->charter.now.replicas[0].identity;
            struct action const action =
                charter_replica(&reform->charter, &first->key,
                                reform->charter.now.members[first->member].name, 8100);
            reform_end(reform, 1, &action);
            reform_start(reform);
        }
        story_append(&story, 2, 1, RULE_NONE);
        telling->paid[i] = forge_seq(&telling->forge);
    }
}

static void expect_holds(const struct consortium *consortium, struct span file) {
    struct problem problem = {.code = EXIT_OK};
    struct chain *const chain = chain_new(NULL, buffer_span(&consortium->genesis_bytes), &problem);
    struct receipt_judge judge;
    struct verified_receipt verified;
    struct arena arena;
    struct span receipt;
    struct span links;
    uint64_t config = 0;
    CHECK(chain != NULL && receipt_file_open(&receipt, &links, file));
    arena_init(&arena, (size_t)8 << 20);
    receipt_judge_init(&judge, chain);
    CHECK(receipt_judge_take_links(&judge, links) == CHAIN_VALID);
    CHECK(receipt_judge_verify(&judge, &verified, &config, &arena, receipt) == RECEIPT_VALID);
    CHECK(config == 2);
    arena_free(&arena);
    chain_free(chain);
}

static void write_one(const struct telling *telling, const struct consortium *consortium,
                      struct buffer *out) {
    struct buffer receipt;
    buffer_init(&receipt, RECEIPT_SIZE_MAX);
    forge_receipt(&telling->forge, &(struct forge_place){.seq = telling->paid[1]}, &receipt);
    CHECK(receipt_file_begin_linked(out, buffer_span(&receipt)) &&
          receipt_file_add_link(out, telling->reform.links[0]));
    buffer_free(&receipt);
    expect_holds(consortium, buffer_span(out));
}

static void write_requests(const struct telling *telling, struct receipts_writer *writer) {
    struct buffer bundle;
    struct buffer certificate;
    buffer_init(&bundle, RECEIPT_BUNDLE_SIZE_MAX);
    buffer_init(&certificate, COMMIT_CERTIFICATE_SIZE_MAX);
    for (uint32_t i = 0; i < 2 * PAYMENTS; i++) {
        uint64_t const seq = telling->paid[i / 2];
        buffer_clear(&bundle);
        buffer_clear(&certificate);
        forge_bundle(&telling->forge, seq, i % 2, &bundle);
        forge_certificate(&telling->forge, seq, &certificate);
        CHECK(receipts_write(writer, buffer_span(&bundle), buffer_span(&certificate)));
    }
    buffer_free(&bundle);
    buffer_free(&certificate);
}

static void write_many(const struct telling *telling, const struct digest *service,
                       struct buffer *out) {
    struct receipts_writer writer;
    char *bytes = NULL;
    size_t size = 0;
    FILE *const stream = open_memstream(&bytes, &size);
    CHECK(stream != NULL && receipts_write_begin(&writer, stream, service) &&
          receipts_write_link(&writer, telling->reform.links[0]));
    write_requests(telling, &writer);
    CHECK(receipts_write_end(&writer) && fclose(stream) == 0);
    CHECK(buffer_append(out, span_of(bytes, size)));
    free(bytes);
}

void samples_write_linked(const struct consortium *consortium, struct buffer *one,
                          struct buffer *many) {
    struct telling *const telling = calloc(1, sizeof *telling);
    CHECK(telling != NULL);
    tell(telling, consortium);
    write_one(telling, consortium, one);
    write_many(telling, &consortium->genesis.service, many);
    reform_free(&telling->reform);
    forge_free(&telling->forge);
    free(telling);
}
