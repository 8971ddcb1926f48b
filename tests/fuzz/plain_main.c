/*
 * plain-TARGET: runs a target without any fuzzer, over the samples made for it and over mutations
 * of them, always the same ones, for as many seconds as it is given. Prints how many.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "tests/fuzz/mutate.h"
#include "tests/fuzz/samples.h"
#include "tests/fuzz/target.h"

#define CHOSEN_MAX 1024u
#define STACKED_MAX 4u /* mutations of one input on top of each other */

static void run_one(struct span bytes) {
    uint8_t *const copy =
        malloc(bytes.size + 1); /* of its size, so that a sanitizer sees its end */
    CHECK(copy != NULL);
    if (bytes.size != 0) {
        memcpy(copy, bytes.data, bytes.size);
    }
    (void)LLVMFuzzerTestOneInput(copy, bytes.size);
    free(copy);
}

static uint64_t run_mutations(struct mutator *mutator, const struct samples *samples,
                              const uint32_t *chosen, uint32_t count, time_t seconds) {
    struct buffer bytes[2];
    uint64_t executions = 0;
    time_t const end = time(NULL) + seconds;
    buffer_init(&bytes[0], (size_t)1 << 30);
    buffer_init(&bytes[1], (size_t)1 << 30);
    while (time(NULL) < end) {
        const struct sample *const sample =
            &samples->items[chosen[prng_below(&mutator->prng, count)]];
        const struct sample *const other =
            &samples->items[chosen[prng_below(&mutator->prng, count)]];
        uint64_t const depth = 1 + prng_below(&mutator->prng, STACKED_MAX);
        mutator->others = buffer_span(&other->bytes);
        buffer_clear(&bytes[0]);
        CHECK(buffer_append(&bytes[0], buffer_span(&sample->bytes)));
        for (uint64_t i = 0; i < depth && bytes[0].size > mutator->magic_size; i++) {
            (void)mutate(mutator, &bytes[1], buffer_span(&bytes[0]));
            struct buffer const swapped = bytes[0];
            bytes[0] = bytes[1];
            bytes[1] = swapped;
        }
        run_one(buffer_span(&bytes[0]));
        executions++;
    }
    buffer_free(&bytes[0]);
    buffer_free(&bytes[1]);
    return executions;
}

/* Bytes before a sample's message, as far as it has one. */
static size_t magic_size_of(const char *target) {
    if (strcmp(target, SAMPLE_EVIDENCE) == 0) {
        return sizeof EVIDENCE_FILE_MAGIC - 1;
    }
    bool const is_kinded = strcmp(target, SAMPLE_PEER) == 0 || strcmp(target, SAMPLE_CLIENT) == 0 ||
                           strcmp(target, SAMPLE_GOVERNANCE) == 0;
    return is_kinded || strcmp(target, SAMPLE_SEGMENT) == 0 ? 1 : 0;
}

int main(int argc, char **argv) {
    static struct samples samples;
    static uint32_t chosen[CHOSEN_MAX];
    uint32_t count = 0;
    if (argc != 3) {
        (void)fprintf(stderr, "usage: %s TARGET SECONDS\n", argv[0]);
        return EXIT_USAGE;
    }
    CHECK(sign_init());
    samples_make(&samples, SAMPLES_SEED);
    for (uint32_t i = 0; i < samples.count && count < CHOSEN_MAX; i++) {
        if (strcmp(samples.items[i].target, argv[1]) == 0) {
            chosen[count++] = i;
            run_one(buffer_span(&samples.items[i].bytes));
        }
    }
    CHECK(count != 0);
    run_one((struct span){0});
    struct mutator mutator = {.magic_size = magic_size_of(argv[1])};
    prng_init(&mutator.prng, 1);
    uint64_t const executions =
        run_mutations(&mutator, &samples, chosen, count, (time_t)strtoul(argv[2], NULL, 10));
    (void)printf("1..1\nok 1 - %s: %u samples and %llu mutations\n", argv[1], count,
                 (unsigned long long)executions);
    samples_free(&samples);
    return EXIT_OK;
}
