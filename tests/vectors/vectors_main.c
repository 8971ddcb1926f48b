/*
 * vectors: evidence files and receipts for whoever writes a verifier of their own
 * (docs/formats.md), with what each of them comes to: those that hold, and for every check those
 * that must fail it.
 *
 *   vectors --write DIRECTORY   makes them anew: when a format has changed
 *   vectors --check DIRECTORY   verifies those that are there: what we promise to strangers
 *
 * The files are the forge's; the failing ones are changes of them, the first that a search comes
 * upon for each check. What lies in the tree was written once, so that a verifier which changes its
 * mind is noticed.
 */
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "audit-tool/print.h"
#include "base/check.h"
#include "receipts/receipt.h"
#include "tests/fuzz/mutate.h"
#include "tests/fuzz/samples.h"

#define INDEX_NAME "vectors.json"
#define SEARCHED 3000u              /* mutations of each sample */
#define SAMPLE_SIZE_MAX (10u << 10) /* larger ones are kept as they are, but not changed */
#define FILE_SIZE_MAX (1u << 20)
#define CHECKS_MAX 32u

static_assert(CHECKS_MAX >= (unsigned)PROOF_CHECK_COUNT &&
                  CHECKS_MAX >= (unsigned)RECEIPT_CHECK_COUNT,
              "every check has a place");

struct vectors {
    const char *directory;
    struct samples samples;
    struct samples foreign; /* of another service */
    json_t *list;
    uint32_t count;
    uint32_t failures;
    bool taken[PROOF_KIND_END + 1][CHECKS_MAX]; /* receipts are behind the kinds of proof */
};

/* What verifying comes to. check: 0 when it holds. verdict: a new reference, or NULL. */
struct verdict {
    unsigned check;
    const char *reason;
    json_t *verdict;
};

static struct verdict verify_evidence(const struct digest *service, struct span file) {
    static struct proof_verdict proven;
    enum proof_check const check = proof_verify(&proven, service, file);
    return (struct verdict){
        .check = check,
        .reason = proof_check_text(check),
        .verdict = check == PROOF_VALID ? print_json(&proven) : NULL,
    };
}

static struct verdict verify_receipt(const struct configuration *configuration, struct span file) {
    struct span bytes = {0};
    struct verified_receipt verified;
    struct receipt_memory memory = {.has_batch = false};
    struct arena arena;
    arena_init(&arena, (size_t)8 << 20);
    enum receipt_check const check =
        receipt_file_decode(&bytes, file)
            ? receipt_verify(&verified, &memory, &arena, configuration, bytes)
            : RECEIPT_ENCODING;
    json_t *const verdict =
        check == RECEIPT_VALID
            ? json_pack("{s:o, s:o}", "index", json_sprintf("%" PRIu64, verified.receipt.index),
                        "batch", json_sprintf("%" PRIu64, memory.batch.pre_prepare.seq))
            : NULL;
    arena_free(&arena);
    return (struct verdict){
        .check = check, .reason = receipt_check_text(check), .verdict = verdict};
}

static struct verdict verify(const struct vectors *vectors, bool is_receipt, struct span bytes) {
    const struct configuration *const configuration = &vectors->samples.consortium.configuration;
    return is_receipt ? verify_receipt(configuration, bytes)
                      : verify_evidence(&configuration->service, bytes);
}

static void path_of(char path[static PATH_MAX], const struct vectors *vectors, const char *name) {
    int const size = snprintf(path, PATH_MAX, "%s/%s", vectors->directory, name);
    CHECK(size > 0 && size < PATH_MAX);
}

/* ---- writing --------------------------------------------------------------------------------- */

static void write_file(const struct vectors *vectors, const char *name, struct span bytes) {
    char path[PATH_MAX];
    path_of(path, vectors, name);
    FILE *const out = fopen(path, "wb");
    CHECK(out != NULL && fwrite(bytes.data, 1, bytes.size, out) == bytes.size);
    CHECK(fclose(out) == 0);
}

/* Takes over the reference to the verdict. */
static void keep(struct vectors *vectors, const char *label, bool is_receipt, struct span bytes,
                 const struct verdict *verdict) {
    char name[128];
    (void)snprintf(name, sizeof name, "%03u-%s.%s", vectors->count++, label,
                   is_receipt ? "receipt" : "evidence");
    write_file(vectors, name, bytes);
    json_t *const entry = json_pack("{s:s, s:b}", "file", name, "holds", verdict->check == 0);
    if (verdict->verdict != NULL) {
        (void)json_object_set_new(entry, "verdict", verdict->verdict);
    } else {
        (void)json_object_set_new(entry, "reason", json_string(verdict->reason));
    }
    (void)json_array_append_new(vectors->list, entry);
}

/* The file of a sample: evidence is one already. */
static void file_of(struct buffer *out, const struct sample *sample, bool is_receipt) {
    buffer_init(out, FILE_SIZE_MAX);
    CHECK(is_receipt ? receipt_file_encode(out, buffer_span(&sample->bytes))
                     : buffer_append(out, buffer_span(&sample->bytes)));
}

/* One change of the sample for each check that it can be made to fail. */
static void search(struct vectors *vectors, uint32_t nth, bool is_receipt, const char *label) {
    const struct sample *const sample = &vectors->samples.items[nth];
    struct buffer file;
    struct buffer foreign;
    struct buffer changed;
    file_of(&file, sample, is_receipt);
    file_of(&foreign, &vectors->foreign.items[nth], is_receipt);
    buffer_init(&changed, FILE_SIZE_MAX);
    struct mutator mutator = {
        .magic_size = (is_receipt ? sizeof RECEIPT_FILE_MAGIC : sizeof EVIDENCE_FILE_MAGIC) - 1,
        .others = buffer_span(&foreign),
    };
    prng_init(&mutator.prng, nth);
    bool *const taken = vectors->taken[is_receipt ? PROOF_KIND_END : sample->kind];
    for (uint32_t i = 0; i < SEARCHED; i++) {
        (void)mutate(&mutator, &changed, buffer_span(&file));
        struct verdict const verdict = verify(vectors, is_receipt, buffer_span(&changed));
        if (verdict.check != 0 && !taken[verdict.check]) {
            taken[verdict.check] = true;
            keep(vectors, label, is_receipt, buffer_span(&changed), &verdict);
        } else {
            json_decref(verdict.verdict);
        }
    }
    buffer_free(&file);
    buffer_free(&foreign);
    buffer_free(&changed);
}

/* A true one, for another service. */
static void keep_foreign(struct vectors *vectors, uint32_t nth, bool is_receipt,
                         const char *label) {
    struct buffer file;
    file_of(&file, &vectors->foreign.items[nth], is_receipt);
    struct verdict const verdict = verify(vectors, is_receipt, buffer_span(&file));
    CHECK(verdict.check != 0);
    keep(vectors, label, is_receipt, buffer_span(&file), &verdict);
    buffer_free(&file);
}

static void keep_sample(struct vectors *vectors, const struct sample *sample, bool is_receipt,
                        const char *label) {
    struct buffer file;
    file_of(&file, sample, is_receipt);
    struct verdict const verdict = verify(vectors, is_receipt, buffer_span(&file));
    CHECK(verdict.check == 0);
    keep(vectors, label, is_receipt, buffer_span(&file), &verdict);
    buffer_free(&file);
}

static void write_samples(struct vectors *vectors) {
    uint32_t receipts = 0;
    uint32_t proofs = 0;
    for (uint32_t i = 0; i < vectors->samples.count; i++) {
        const struct sample *const sample = &vectors->samples.items[i];
        bool const is_receipt = strcmp(sample->target, SAMPLE_RECEIPT) == 0;
        if (!is_receipt && strcmp(sample->target, SAMPLE_EVIDENCE) != 0) {
            continue;
        }
        const char *const label = strchr(sample->name, '-') + 1; /* without its number */
        keep_sample(vectors, sample, is_receipt, label);
        if (sample->bytes.size <= SAMPLE_SIZE_MAX) {
            search(vectors, i, is_receipt, label);
        }
        if ((is_receipt ? receipts++ : proofs++) == 0) {
            keep_foreign(vectors, i, is_receipt, label);
        }
    }
}

static int write_all(struct vectors *vectors) {
    char path[PATH_MAX];
    char service[2 * DIGEST_SIZE + 1];
    hex_encode(service,
               span_of(vectors->samples.consortium.configuration.service.bytes, DIGEST_SIZE));
    vectors->list = json_array();
    write_file(vectors, "genesis", buffer_span(&vectors->samples.consortium.genesis_bytes));
    write_samples(vectors);
    json_t *const index = json_pack("{s:s, s:s, s:o}", "service", service, "genesis", "genesis",
                                    "vectors", vectors->list);
    path_of(path, vectors, INDEX_NAME);
    int const status = json_dump_file(index, path, JSON_INDENT(1) | JSON_PRESERVE_ORDER);
    json_decref(index);
    (void)printf("%s: %u vectors\n", vectors->directory, vectors->count);
    return status == 0 ? EXIT_OK : EXIT_ERROR;
}

/* ---- checking -------------------------------------------------------------------------------- */

static struct span read_file(const struct vectors *vectors, const char *name, uint8_t *bytes) {
    char path[PATH_MAX];
    path_of(path, vectors, name);
    FILE *const in = fopen(path, "rb");
    if (in == NULL) {
        return (struct span){0};
    }
    size_t const size = fread(bytes, 1, FILE_SIZE_MAX, in);
    (void)fclose(in);
    return span_of(bytes, size);
}

static bool is_as_promised(const json_t *entry, const struct verdict *verdict) {
    const json_t *const wanted = json_object_get(entry, "verdict");
    const char *const reason = json_string_value(json_object_get(entry, "reason"));
    return json_is_true(json_object_get(entry, "holds")) == (verdict->check == 0) &&
           (verdict->check == 0 ? json_equal(wanted, verdict->verdict)
                                : reason != NULL && strcmp(reason, verdict->reason) == 0);
}

static void check_one(struct vectors *vectors, const json_t *entry) {
    static uint8_t bytes[FILE_SIZE_MAX];
    const char *const name = json_string_value(json_object_get(entry, "file"));
    const char *const ending = name != NULL ? strrchr(name, '.') : NULL;
    struct span const file = ending != NULL ? read_file(vectors, name, bytes) : (struct span){0};
    bool good = file.size != 0;
    struct verdict verdict = {.reason = "there is no such file"};
    if (good) {
        verdict = verify(vectors, strcmp(ending, ".receipt") == 0, file);
        good = is_as_promised(entry, &verdict);
    }
    vectors->count++;
    vectors->failures += good ? 0 : 1;
    (void)printf("%sok %u - %s\n", good ? "" : "not ", vectors->count, name != NULL ? name : "?");
    if (!good) {
        (void)printf("# %s\n", verdict.check == 0 ? "it holds" : verdict.reason);
    }
    json_decref(verdict.verdict);
}

static int check_all(struct vectors *vectors) {
    char path[PATH_MAX];
    json_error_t error;
    path_of(path, vectors, INDEX_NAME);
    json_t *const index = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    const json_t *const list = json_object_get(index, "vectors");
    if (!json_is_array(list)) {
        (void)printf("Bail out! %s: %s\n", path, error.text);
        json_decref(index);
        return EXIT_ERROR;
    }
    size_t nth = 0;
    json_t *entry = NULL;
    (void)printf("1..%zu\n", json_array_size(list));
    json_array_foreach(list, nth, entry) {
        check_one(vectors, entry);
    }
    json_decref(index);
    return vectors->failures == 0 && vectors->count != 0 ? EXIT_OK : EXIT_ERROR;
}

int main(int argc, char **argv) {
    static struct vectors vectors;
    bool const writes = argc == 3 && strcmp(argv[1], "--write") == 0;
    if (argc != 3 || (!writes && strcmp(argv[1], "--check") != 0)) {
        (void)fputs("usage: vectors --write|--check DIRECTORY\n", stderr);
        return EXIT_USAGE;
    }
    CHECK(sign_init());
    vectors.directory = argv[2];
    samples_make(&vectors.samples, SAMPLES_SEED);
    samples_make(&vectors.foreign, SAMPLES_SEED + 1);
    int const status = writes ? write_all(&vectors) : check_all(&vectors);
    samples_free(&vectors.samples);
    samples_free(&vectors.foreign);
    return status;
}
