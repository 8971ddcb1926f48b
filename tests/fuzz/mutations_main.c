/*
 * mutations: valid evidence of every kind and valid receipts, changed in every way that a forger
 * might try. None may be accepted, and nothing may crash. The same seed gives the same mutations.
 *
 * A proof can be taken apart into one that says less: without a certificate, without one of several
 * statements. Such a proof is true, and names only some of those whom the whole one names.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "receipts/receipt.h"
#include "tests/fuzz/mutate.h"
#include "tests/fuzz/samples.h"

#define RECEIPT_ROW PROOF_KIND_END /* counted behind the kinds of proof */
#define ROWS (PROOF_KIND_END + 1u)

static const char *const row_names[ROWS] = {
    "",
    "equivocation",
    "conflicting certificates",
    "broken batch",
    "wrong outcome",
    "wrong checkpoint",
    "understated view-change",
    "broken new view",
    "forked view",
    "malformed range",
    "receipt",
};

struct tally {
    uint64_t tried;
    uint64_t less; /* true, and says less */
    uint64_t accepted;
};

struct trial {
    struct samples own;
    struct samples foreign; /* the same of another service, to mix in */
    struct mutator mutator;
    struct tally tallies[ROWS];
};

/* A proof that was changed must not hold, unless it says less. */
static void judge_evidence(struct trial *trial, const struct sample *sample, struct span file) {
    static struct proof_verdict verdict;
    struct tally *const tally = &trial->tallies[sample->kind];
    tally->tried++;
    if (proof_verify(&verdict, &trial->own.consortium.configuration.service, file) != PROOF_VALID) {
        return;
    }
    bool const is_less = verdict.kind == sample->kind && verdict.blamed != sample->blamed &&
                         (verdict.blamed & ~sample->blamed) == 0;
    tally->less += is_less ? 1 : 0;
    tally->accepted += is_less ? 0 : 1;
}

static void judge_receipt(struct trial *trial, struct span bytes) {
    struct verified_receipt verified;
    struct receipt_memory memory = {.has_batch = false};
    struct tally *const tally = &trial->tallies[RECEIPT_ROW];
    struct arena arena;
    arena_init(&arena, (size_t)8 << 20);
    tally->tried++;
    if (receipt_verify(&verified, &memory, &arena, &trial->own.consortium.configuration, bytes) ==
        RECEIPT_VALID) {
        tally->accepted++;
    }
    arena_free(&arena);
}

static void try_one(struct trial *trial, uint32_t nth, struct buffer *changed) {
    const struct sample *const sample = &trial->own.items[nth];
    const struct sample *const other = &trial->foreign.items[nth];
    bool const is_receipt = strcmp(sample->target, SAMPLE_RECEIPT) == 0;
    trial->mutator.magic_size = is_receipt ? 0 : sizeof EVIDENCE_FILE_MAGIC - 1;
    trial->mutator.others = buffer_span(&other->bytes);
    (void)mutate(&trial->mutator, changed, buffer_span(&sample->bytes));
    if (is_receipt) {
        judge_receipt(trial, buffer_span(changed));
    } else {
        judge_evidence(trial, sample, buffer_span(changed));
    }
}

static bool is_judged(const struct sample *sample) {
    return strcmp(sample->target, SAMPLE_RECEIPT) == 0 ||
           strcmp(sample->target, SAMPLE_EVIDENCE) == 0;
}

/* Every sample holds as it is; only then do changes say anything. */
static void expect_samples_hold(const struct trial *trial) {
    static struct proof_verdict verdict;
    for (uint32_t i = 0; i < trial->own.count; i++) {
        const struct sample *const sample = &trial->own.items[i];
        if (strcmp(sample->target, SAMPLE_EVIDENCE) == 0) {
            CHECK(proof_verify(&verdict, &trial->own.consortium.configuration.service,
                               buffer_span(&sample->bytes)) == PROOF_VALID);
            CHECK(verdict.kind == sample->kind && verdict.blamed == sample->blamed);
        }
    }
}

static uint64_t run(struct trial *trial, uint64_t count, time_t seconds) {
    struct buffer changed;
    uint64_t tried = 0;
    time_t const end = time(NULL) + seconds;
    buffer_init(&changed, (size_t)1 << 30);
    while (tried < count && (seconds == 0 || time(NULL) < end)) {
        for (uint32_t i = 0; i < trial->own.count && tried < count; i++) {
            if (is_judged(&trial->own.items[i])) {
                try_one(trial, i, &changed);
                tried++;
            }
        }
    }
    buffer_free(&changed);
    return tried;
}

static bool report(const struct trial *trial, uint64_t tried, const char *seed) {
    bool good = true;
    (void)printf("1..%u\n# seed %s\n", ROWS, seed);
    for (unsigned row = 1; row < ROWS; row++) {
        const struct tally *const tally = &trial->tallies[row];
        bool const holds = tally->accepted == 0 && tally->tried != 0;
        (void)printf("%sok %u - %llu mutations of evidence or receipts, %s: %llu accepted, %llu "
                     "that say less and are true\n",
                     holds ? "" : "not ", row, (unsigned long long)tally->tried, row_names[row],
                     (unsigned long long)tally->accepted, (unsigned long long)tally->less);
        good = good && holds;
    }
    (void)printf("ok %u - %llu mutations in all\n", ROWS, (unsigned long long)tried);
    return good;
}

int main(int argc, char **argv) {
    static struct trial trial;
    if (argc != 4) {
        (void)fputs("usage: mutations COUNT SECONDS SEED   (0 seconds: no limit)\n", stderr);
        return EXIT_USAGE;
    }
    CHECK(sign_init());
    samples_make(&trial.own, SAMPLES_SEED);
    samples_make(&trial.foreign, SAMPLES_SEED + 1);
    CHECK(trial.own.count == trial.foreign.count);
    expect_samples_hold(&trial);
    prng_init(&trial.mutator.prng, strtoull(argv[3], NULL, 10));
    uint64_t const tried =
        run(&trial, strtoull(argv[1], NULL, 10), (time_t)strtoul(argv[2], NULL, 10));
    bool const good = report(&trial, tried, argv[3]);
    samples_free(&trial.own);
    samples_free(&trial.foreign);
    return good ? EXIT_OK : EXIT_ERROR;
}
