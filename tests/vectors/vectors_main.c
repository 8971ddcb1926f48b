/*
 * vectors: evidence files, receipts and governance chains for whoever writes a verifier of their
 * own (docs/formats.md), with what each of them comes to: those that hold, and for every check
 * those that must fail it.
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
#include "governance/ballot.h"
#include "receipts/chain.h"
#include "receipts/receipt.h"
#include "tests/fuzz/mutate.h"
#include "tests/fuzz/samples.h"

#define INDEX_NAME "vectors.json"
#define SEARCHED 3000u              /* mutations of each sample */
#define SAMPLE_SIZE_MAX (16u << 10) /* larger ones are kept as they are, but not changed */
#define FILE_SIZE_MAX (1u << 20)
#define CHECKS_MAX 32u

/* What a vector is; its file's name ends with the text. */
enum content { CONTENT_EVIDENCE, CONTENT_RECEIPT, CONTENT_CHAIN, CONTENT_COUNT };

static const char *const endings[CONTENT_COUNT] = {".evidence", ".receipt", ".chain"};
static const char *const magics[CONTENT_COUNT] = {EVIDENCE_FILE_MAGIC, RECEIPT_FILE_MAGIC,
                                                  CHAIN_FILE_MAGIC};

/* Chains fail by their links, or before the first one. */
#define CHECK_CHAIN_FILE ((unsigned)CHAIN_CHECK_COUNT)

static_assert(CHECKS_MAX >= (unsigned)PROOF_CHECK_COUNT &&
                  CHECKS_MAX >= (unsigned)RECEIPT_CHECK_COUNT && CHECKS_MAX > CHECK_CHAIN_FILE,
              "every check has a place");

struct vectors {
    const char *directory;
    struct samples samples;
    struct samples foreign; /* of another service */
    json_t *list;
    uint32_t count;
    uint32_t failures;
    bool taken[PROOF_KIND_END + CONTENT_COUNT][CHECKS_MAX]; /* kinds of proof, then the others */
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

/* The links of a file, up to the first that does not hold. */
static unsigned follow(struct chain *chain, struct chain_reader *reader) {
    struct span link;
    int status = chain_reader_next(reader, &link);
    while (status == 1) {
        enum chain_check const check = chain_add(chain, link).check;
        if (check != CHAIN_VALID) {
            return check;
        }
        status = chain_reader_next(reader, &link);
    }
    return status == 0 ? CHAIN_VALID : CHECK_CHAIN_FILE;
}

static json_t *print_newest(const struct chain *chain) {
    struct digest digest;
    char text[2 * DIGEST_SIZE + 1];
    CHECK(constitution_digest(&digest, chain_newest(chain)));
    ballot_digest_write(text, &digest);
    return json_pack("{s:o, s:s}", "number", json_sprintf("%" PRIu64, chain_newest(chain)->number),
                     "constitution", text);
}

static struct verdict verify_chain(const struct digest *service, struct span file) {
    struct problem problem = {.code = EXIT_OK};
    struct verdict verdict = {.check = CHECK_CHAIN_FILE, .reason = "it is no file with a chain"};
    struct chain_reader reader;
    struct arena arena;
    arena_init(&arena, (size_t)8 << 20);
    struct chain *const chain = chain_reader_open(&reader, &arena, file)
                                    ? chain_new(service, reader.genesis, &problem)
                                    : NULL;
    if (chain != NULL) {
        verdict.check = follow(chain, &reader);
        if (verdict.check != CHECK_CHAIN_FILE) {
            verdict.reason = chain_check_text((enum chain_check)verdict.check);
        }
        verdict.verdict = verdict.check == CHAIN_VALID ? print_newest(chain) : NULL;
    }
    chain_free(chain);
    arena_free(&arena);
    return verdict;
}

static struct verdict verify(const struct vectors *vectors, enum content content,
                             struct span bytes) {
    const struct configuration *const configuration = &vectors->samples.consortium.configuration;
    switch (content) {
    case CONTENT_EVIDENCE:
        return verify_evidence(&configuration->service, bytes);
    case CONTENT_RECEIPT:
        return verify_receipt(configuration, bytes);
    case CONTENT_CHAIN:
        return verify_chain(&configuration->service, bytes);
    case CONTENT_COUNT:
        break;
    }
    UNREACHABLE();
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
static void keep(struct vectors *vectors, const char *label, enum content content,
                 struct span bytes, const struct verdict *verdict) {
    char name[128];
    (void)snprintf(name, sizeof name, "%03u-%s%s", vectors->count++, label, endings[content]);
    write_file(vectors, name, bytes);
    json_t *const entry = json_pack("{s:s, s:b}", "file", name, "holds", verdict->check == 0);
    if (verdict->verdict != NULL) {
        (void)json_object_set_new(entry, "verdict", verdict->verdict);
    } else {
        (void)json_object_set_new(entry, "reason", json_string(verdict->reason));
    }
    (void)json_array_append_new(vectors->list, entry);
}

/* Is the sample for a vector, and of which content? */
static bool content_of(enum content *out, const struct sample *sample) {
    if (strcmp(sample->target, SAMPLE_EVIDENCE) == 0) {
        *out = CONTENT_EVIDENCE;
    } else if (strcmp(sample->target, SAMPLE_RECEIPT) == 0) {
        *out = CONTENT_RECEIPT;
    } else if (strcmp(sample->target, SAMPLE_GOVERNANCE) == 0 &&
               sample->bytes.data[0] == SAMPLE_CHAIN) {
        *out = CONTENT_CHAIN;
    } else {
        return false;
    }
    return true;
}

/* The file of a sample: evidence is one already, and a chain is one behind its first byte. */
static void file_of(struct buffer *out, const struct sample *sample, enum content content) {
    struct span const bytes = buffer_span(&sample->bytes);
    buffer_init(out, FILE_SIZE_MAX);
    if (content == CONTENT_RECEIPT) {
        CHECK(receipt_file_encode(out, bytes));
    } else {
        size_t const skipped = content == CONTENT_CHAIN ? 1 : 0;
        CHECK(buffer_append(out, span_of(bytes.data + skipped, bytes.size - skipped)));
    }
}

/* Which checks were failed by what was kept so far, of vectors like this. */
static bool *taken_by(struct vectors *vectors, const struct sample *sample, enum content content) {
    return vectors->taken[content == CONTENT_EVIDENCE ? (unsigned)sample->kind
                                                      : PROOF_KIND_END + (unsigned)content];
}

/* One change of the sample for each check that it can be made to fail. */
static void search(struct vectors *vectors, uint32_t nth, enum content content, const char *label) {
    const struct sample *const sample = &vectors->samples.items[nth];
    struct buffer file;
    struct buffer foreign;
    struct buffer changed;
    file_of(&file, sample, content);
    file_of(&foreign, &vectors->foreign.items[nth], content);
    buffer_init(&changed, FILE_SIZE_MAX);
    struct mutator mutator = {
        .magic_size = strlen(magics[content]),
        .others = buffer_span(&foreign),
    };
    prng_init(&mutator.prng, nth);
    bool *const taken = taken_by(vectors, sample, content);
    for (uint32_t i = 0; i < SEARCHED; i++) {
        (void)mutate(&mutator, &changed, buffer_span(&file));
        struct verdict const verdict = verify(vectors, content, buffer_span(&changed));
        if (verdict.check != 0 && !taken[verdict.check]) {
            taken[verdict.check] = true;
            keep(vectors, label, content, buffer_span(&changed), &verdict);
        } else {
            json_decref(verdict.verdict);
        }
    }
    buffer_free(&file);
    buffer_free(&foreign);
    buffer_free(&changed);
}

/* A true one, for another service. */
static void keep_foreign(struct vectors *vectors, uint32_t nth, enum content content,
                         const char *label) {
    struct buffer file;
    file_of(&file, &vectors->foreign.items[nth], content);
    struct verdict const verdict = verify(vectors, content, buffer_span(&file));
    CHECK(verdict.check != 0);
    keep(vectors, label, content, buffer_span(&file), &verdict);
    buffer_free(&file);
}

/* Returns: whether it holds. */
static bool keep_sample(struct vectors *vectors, const struct sample *sample, enum content content,
                        const char *label) {
    struct buffer file;
    file_of(&file, sample, content);
    struct verdict const verdict = verify(vectors, content, buffer_span(&file));
    CHECK(verdict.check == 0 || content == CONTENT_CHAIN); /* some chains are made to fail */
    taken_by(vectors, sample, content)[verdict.check] = true;
    keep(vectors, label, content, buffer_span(&file), &verdict);
    buffer_free(&file);
    return verdict.check == 0;
}

static void write_samples(struct vectors *vectors) {
    uint32_t kept[CONTENT_COUNT] = {0};
    for (uint32_t i = 0; i < vectors->samples.count; i++) {
        const struct sample *const sample = &vectors->samples.items[i];
        enum content content;
        if (!content_of(&content, sample)) {
            continue;
        }
        const char *const label = strchr(sample->name, '-') + 1; /* without its number */
        bool const holds = keep_sample(vectors, sample, content, label);
        if (holds && sample->bytes.size <= SAMPLE_SIZE_MAX) {
            search(vectors, i, content, label);
        }
        if (kept[content]++ == 0) {
            keep_foreign(vectors, i, content, label);
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

/* By the ending of its name. */
static bool content_named(enum content *out, const char *name) {
    const char *const ending = name != NULL ? strrchr(name, '.') : NULL;
    for (unsigned i = 0; ending != NULL && i < CONTENT_COUNT; i++) {
        if (strcmp(ending, endings[i]) == 0) {
            *out = (enum content)i;
            return true;
        }
    }
    return false;
}

static void check_one(struct vectors *vectors, const json_t *entry) {
    static uint8_t bytes[FILE_SIZE_MAX];
    const char *const name = json_string_value(json_object_get(entry, "file"));
    enum content content;
    struct span const file =
        content_named(&content, name) ? read_file(vectors, name, bytes) : (struct span){0};
    bool good = file.size != 0;
    struct verdict verdict = {.reason = "there is no such file"};
    if (good) {
        verdict = verify(vectors, content, file);
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
