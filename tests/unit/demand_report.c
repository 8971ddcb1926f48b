/*
 * demand_report: what an enforcer signs about who answered. It is its author's word: it holds for
 * the service of its author, unchanged, and is never called a proof.
 */
#include "audit-tool/demand_report.h"

#include <criterion/criterion.h>

#include "audit-tool/proof.h"
#include "codec_attack.h"
#include "tests/forge/consortium.h"
#include "tests/forge/reform.h"

TestSuite(demand_report, .timeout = 170);

#define STARTED_MS UINT64_C(1700000000000)

static enum codec_result reencode_report(struct buffer *out, struct arena *arena,
                                         struct span bytes) {
    static struct demand_report value;
    enum codec_result const result = demand_report_decode(&value, arena, bytes);
    if (result == CODEC_OK) {
        cr_assert(demand_report_encode(out, &value));
    }
    return result;
}

static enum codec_result reencode_file(struct buffer *out, struct arena *arena, struct span bytes) {
    struct demand_report_file value;
    enum codec_result const result = demand_report_file_decode(&value, arena, bytes);
    if (result == CODEC_OK) {
        cr_assert(demand_report_file_encode(out, &value));
    }
    return result;
}

/* Replica 1 was silent, replica 3 could not be reached: nothing was sent to it. */
static struct demand_report sample(void) {
    return (struct demand_report){
        .author = key_of(1),
        .started_ms = STARTED_MS,
        .ended_ms = STARTED_MS + 60000,
        .deadline_ms = 60000,
        .config = 1,
        .count = 2,
        .replicas = {{.replica = 1,
                      .state = FETCH_SILENT,
                      .entries = 10,
                      .available = 20,
                      .asked_ms = STARTED_MS + 1,
                      .answered_ms = STARTED_MS + 2,
                      .demands = 3,
                      .answers = 2,
                      .has_demand = true,
                      .demand = {.body = span_text("demand"), .signature = signature_of(4)},
                      .reason = span_text("no answer for 50 s")},
                     {.replica = 3, .state = FETCH_UNREACHABLE}},
    };
}

static void expect_report(const struct demand_report *report, enum codec_result expected) {
    struct buffer bytes = buffer_new();
    cr_assert(demand_report_encode(&bytes, report));
    expect_result("demand report", reencode_report, buffer_span(&bytes), expected);
    buffer_free(&bytes);
}

Test(demand_report, encodings_withstand_attacks) {
    struct demand_report const report = sample();
    struct span const links[2] = {span_text("link"), span_text("another")};
    struct demand_report_file const file = {
        .genesis = span_text("genesis"),
        .report = {.body = span_text("report"), .signature = signature_of(5)},
        .links = links,
        .link_count = 2};
    struct buffer bytes = buffer_new();
    cr_assert(demand_report_encode(&bytes, &report));
    attack_decoder("demand report", reencode_report, buffer_span(&bytes));
    buffer_clear(&bytes);
    cr_assert(demand_report_file_encode(&bytes, &file));
    attack_decoder("demand report file", reencode_file, buffer_span(&bytes));
    buffer_free(&bytes);
}

Test(demand_report, fields_obey_their_limits) {
    struct demand_report report = sample();
    report.replicas[0].state = DEMAND_REPORT_STATES + 1;
    expect_report(&report, CODEC_RANGE);
    report = sample();
    report.replicas[1].replica = REPLICAS_MAX;
    expect_report(&report, CODEC_RANGE);
    report = sample();
    report.replicas[1].replica = 1;
    expect_report(&report, CODEC_MISMATCH);
    report = sample();
    report.ended_ms = report.started_ms - 1;
    expect_report(&report, CODEC_MISMATCH);
    report = sample();
    report.replicas[0].has_demand = false;
    expect_report(&report, CODEC_MISMATCH);
    report = sample();
    report.replicas[1].demands = 1;
    expect_report(&report, CODEC_MISMATCH);
    report = sample();
    report.deadline_ms = DEMAND_DEADLINE_MS_MAX + 1;
    expect_report(&report, CODEC_RANGE);
    report = sample();
    report.count = 0;
    expect_report(&report, CODEC_RANGE);
    report = sample();
    report.config = 0;
    expect_report(&report, CODEC_RANGE);
    report = sample();
    report.replicas[0].reason = span_text("\x1b[2J");
    expect_report(&report, CODEC_RANGE);
    report.replicas[0].reason = filler(0, DEMAND_REASON_SIZE_MAX + 1);
    expect_report(&report, CODEC_LENGTH);
    report.count = REPLICAS_MAX + 1;
    struct buffer bytes = buffer_new();
    cr_assert_not(demand_report_encode(&bytes, &report));
    buffer_free(&bytes);
}

/* ---- files ----------------------------------------------------------------------------------- */

struct bench {
    struct consortium consortium;
    struct arena memory;
    struct fetch_result results[2];
    struct demand_report report;
    struct buffer file;
    struct demand_report_read read;
};

static void put_demand(struct bench *bench, struct fetch_result *result, uint32_t replica,
                       const struct key_pair *author) {
    const struct digest *const service = &bench->consortium.configuration.service;
    struct demand demand = {.author = author->key,
                            .replica = replica,
                            .time_ms = STARTED_MS + 5,
                            .deadline_ms = 60000,
                            .part = SERVED_ENTRIES,
                            .first = 17};
    struct buffer body = buffer_new();
    memset(demand.challenge, 7, sizeof demand.challenge);
    cr_assert(demand_encode(&body, &demand));
    struct signed_body const statement = {.body = buffer_span(&body),
                                          .signature = sign_labelled(&author->secret, &author->key,
                                                                     LABEL_DEMAND, service,
                                                                     buffer_span(&body))};
    result->demand = buffer_new();
    cr_assert(signed_encode(&result->demand, &statement));
    buffer_free(&body);
}

static struct bench *bench_new(void) {
    struct bench *const bench = calloc(1, sizeof *bench);
    cr_assert(bench != NULL);
    consortium_found(&bench->consortium, &(struct consortium_options){.seed = 5});
    arena_init(&bench->memory, (size_t)1 << 20);
    const struct key_pair *const author = &bench->consortium.users[1];
    bench->results[0] = (struct fetch_result){.state = FETCH_SILENT,
                                              .entries = 10,
                                              .available = 20,
                                              .asked_ms = STARTED_MS + 1,
                                              .answered_ms = STARTED_MS + 2,
                                              .demands = 3,
                                              .answers = 2,
                                              .reason = "<b>slow</b>\x1b[2J"};
    put_demand(bench, &bench->results[0], 1, author);
    bench->results[1] = (struct fetch_result){.state = FETCH_UNREACHABLE};
    bench->report = (struct demand_report){.author = author->key,
                                           .started_ms = STARTED_MS,
                                           .ended_ms = STARTED_MS + 60000,
                                           .deadline_ms = 60000,
                                           .config = 1};
    cr_assert(demand_report_add(&bench->report, &bench->memory, 1, &bench->results[0]));
    cr_assert(demand_report_add(&bench->report, &bench->memory, 3, &bench->results[1]));
    bench->file = buffer_new();
    return bench;
}

static void bench_free(struct bench *bench) {
    buffer_free(&bench->results[0].demand);
    buffer_free(&bench->file);
    arena_free(&bench->memory);
    consortium_free(&bench->consortium);
    free(bench);
}

static void make(struct bench *bench, const struct key_pair *author) {
    buffer_clear(&bench->file);
    cr_assert(demand_report_file_make(&bench->file, buffer_span(&bench->consortium.genesis_bytes),
                                      NULL, &author->secret, &bench->report));
}

/* The report as it is, which names another author than the one who signs. */
static void make_in_name(struct bench *bench, const struct key_pair *signer) {
    struct buffer body = buffer_new();
    cr_assert(demand_report_encode(&body, &bench->report));
    struct demand_report_file const file = {
        .genesis = buffer_span(&bench->consortium.genesis_bytes),
        .report = {.body = buffer_span(&body),
                   .signature = sign_labelled(&signer->secret, &signer->key, LABEL_DEMAND_REPORT,
                                              &bench->consortium.configuration.service,
                                              buffer_span(&body))}};
    buffer_clear(&bench->file);
    cr_assert(buffer_append(&bench->file, span_text(DEMAND_REPORT_FILE_MAGIC)));
    cr_assert(demand_report_file_encode(&bench->file, &file));
    buffer_free(&body);
}

static enum demand_report_check verify(struct bench *bench, struct span file) {
    enum demand_report_check const check =
        demand_report_verify(&bench->read, &bench->consortium.configuration.service, file);
    demand_report_read_free(&bench->read);
    return check;
}

Test(demand_report, a_report_holds_for_its_service_alone) {
    struct bench *const bench = bench_new();
    struct digest other = bench->consortium.configuration.service;
    other.bytes[0] ^= 1;
    make(bench, &bench->consortium.users[1]);
    cr_assert_eq(verify(bench, buffer_span(&bench->file)), DEMAND_REPORT_VALID);
    cr_assert_eq(demand_report_verify(&bench->read, &other, buffer_span(&bench->file)),
                 DEMAND_REPORT_SERVICE);
    demand_report_read_free(&bench->read);
    bench_free(bench);
}

Test(demand_report, no_change_of_a_report_holds) {
    struct bench *const bench = bench_new();
    make(bench, &bench->consortium.users[1]);
    for (size_t at = 0; at < bench->file.size; at++) {
        uint8_t const flip = (uint8_t)(1u << at % 8);
        bench->file.data[at] ^= flip;
        cr_assert_neq(verify(bench, buffer_span(&bench->file)), DEMAND_REPORT_VALID, "byte %zu",
                      at);
        bench->file.data[at] ^= flip;
        cr_assert_neq(verify(bench, span_of(bench->file.data, at)), DEMAND_REPORT_VALID,
                      "%zu bytes", at);
    }
    cr_assert_eq(verify(bench, buffer_span(&bench->file)), DEMAND_REPORT_VALID);
    bench_free(bench);
}

/* In a later configuration its replicas are others, and its links lead there. */
Test(demand_report, it_carries_the_links_to_its_configuration) {
    static struct forge forge;
    static struct reform reform;
    struct bench *const bench = bench_new();
    const struct key_pair *const author = &bench->consortium.users[1];
    struct span const genesis = buffer_span(&bench->consortium.genesis_bytes);
    struct eras eras;
    forge_init(&forge, &bench->consortium);
    reform_init(&reform, &forge);
    struct action const action =
        charter_replica(&reform.charter, &reform.charter.now.replicas[1].identity.key,
                        reform.charter.now.members[1].name, 6000);
    reform_end(&reform, 1, &action);
    cr_assert(eras_init(&eras, genesis));
    cr_assert_eq(eras_follow(&eras, genesis, reform.links, 1), CHAIN_VALID);
    bench->report.config = 2;
    buffer_clear(&bench->file);
    cr_assert(
        demand_report_file_make(&bench->file, genesis, &eras, &author->secret, &bench->report));
    cr_assert_eq(demand_report_verify(&bench->read, NULL, buffer_span(&bench->file)),
                 DEMAND_REPORT_VALID);
    cr_assert(public_key_equal(&bench->read.configuration.replicas[1].key,
                               &reform.consortiums[0].configuration.replicas[1].key));
    json_t *const told = demand_report_tell(&bench->read, buffer_span(&bench->file));
    cr_assert_str_eq(json_string_value(json_object_get(told, "configuration")), "2");
    json_decref(told);
    demand_report_read_free(&bench->read);
    bench->file.data[bench->file.size - 100] ^= 1; /* in the link */
    cr_assert_neq(verify(bench, buffer_span(&bench->file)), DEMAND_REPORT_VALID);
    make_in_name(bench, author); /* says that it is of the second, without a link */
    cr_assert_eq(verify(bench, buffer_span(&bench->file)), DEMAND_REPORT_CHAIN);
    eras_free(&eras);
    reform_free(&reform);
    forge_free(&forge);
    bench_free(bench);
}

Test(demand_report, its_author_is_of_the_service_and_made_the_demands) {
    struct bench *const bench = bench_new();
    make_in_name(bench, &bench->consortium.users[2]);
    cr_assert_eq(verify(bench, buffer_span(&bench->file)), DEMAND_REPORT_SIGNATURE);
    bench->report.author = bench->consortium.users[2].key;
    make(bench, &bench->consortium.users[2]); /* with another one's demand */
    cr_assert_eq(verify(bench, buffer_span(&bench->file)), DEMAND_REPORT_DEMAND);
    bench->report.author = bench->consortium.stranger.key;
    make(bench, &bench->consortium.stranger);
    cr_assert_eq(verify(bench, buffer_span(&bench->file)), DEMAND_REPORT_AUTHOR);
    bench->report.author = bench->consortium.users[1].key;
    bench->report.replicas[0].replica = 2; /* which was not asked */
    make(bench, &bench->consortium.users[1]);
    cr_assert_eq(verify(bench, buffer_span(&bench->file)), DEMAND_REPORT_DEMAND);
    bench->report.replicas[0].replica = 1;
    bench->report.replicas[1].replica = 4; /* there are four */
    make(bench, &bench->consortium.users[1]);
    cr_assert_eq(verify(bench, buffer_span(&bench->file)), DEMAND_REPORT_DEMAND);
    bench_free(bench);
}

Test(demand_report, it_is_no_proof_and_never_called_one) {
    struct bench *const bench = bench_new();
    struct problem problem = {.code = EXIT_OK};
    struct proof_verdict *const verdict = calloc(1, sizeof *verdict);
    make(bench, &bench->consortium.users[1]);
    cr_assert(verdict != NULL);
    cr_assert_eq(proof_verify(verdict, NULL, buffer_span(&bench->file)), PROOF_ENCODING);
    json_t *const told = demand_report_open(NULL, "file", buffer_span(&bench->file), &problem);
    cr_assert(told != NULL, "%s", problem.text);
    char *texts[2] = {NULL, NULL};
    size_t sizes[2];
    for (unsigned i = 0; i < 2; i++) {
        FILE *const out = open_memstream(&texts[i], &sizes[i]);
        cr_assert(out != NULL);
        (i == 0 ? demand_report_write_text : demand_report_write_html)(out, told);
        cr_assert_eq(fclose(out), 0);
        cr_assert(strstr(texts[i], DEMAND_REPORT_NOT_A_PROOF) != NULL);
        cr_assert(strstr(texts[i], "did not answer in time") != NULL);
        cr_assert(strstr(texts[i], "Misbehaviour") == NULL);
        cr_assert(strchr(texts[i], 0x1b) == NULL);
        cr_assert((strstr(texts[i], "<b>slow") != NULL) == (i == 0)); /* escaped in the page */
        free(texts[i]);
    }
    json_decref(told);
    bench->file.data[bench->file.size - 1] ^= 1;
    cr_assert(demand_report_open(NULL, "file", buffer_span(&bench->file), &problem) == NULL);
    cr_assert_eq(problem.code, EXIT_INVALID);
    free(verdict);
    bench_free(bench);
}
