/*
 * samples: valid inputs of every kind that is read from strangers, made by the forge: seeds for the
 * fuzzers, and what the mutation tests change. The same at every run.
 */
#ifndef ONUS_TESTS_FUZZ_SAMPLES_H
#define ONUS_TESTS_FUZZ_SAMPLES_H

#include "audit-tool/proof.h"
#include "tests/forge/consortium.h"

#define SAMPLES_SEED 3u /* of the service that the targets know */

/* What they are for, by the names of the fuzzers' directories. */
#define SAMPLE_RECEIPT "receipt"
#define SAMPLE_EVIDENCE "evidence"
#define SAMPLE_SEGMENT "segment"
#define SAMPLE_SNAPSHOT "snapshot"
#define SAMPLE_PEER "peer"
#define SAMPLE_CLIENT "client"
#define SAMPLE_GENESIS "genesis"
#define SAMPLE_REPORT "report"
#define SAMPLE_GOVERNANCE "governance"
#define SAMPLE_CREDENTIAL "credential"
#define SAMPLE_LINKED "linked" /* files of receipts with links */

/* As what the rest of a sample for SAMPLE_GOVERNANCE is to be taken: its first byte. */
#define SAMPLE_PROPOSAL 0u
#define SAMPLE_LINK 1u
#define SAMPLE_CHAIN 2u /* a file */

struct sample {
    const char *target;
    char name[48];
    struct buffer bytes;
    enum proof_kind kind; /* evidence: what it proves, */
    uint64_t blamed;      /* and against whom */
};

struct samples {
    struct consortium consortium; /* all are of this service, whose keys have liars */
    uint32_t count;
    struct sample *items;
};

/* seed: founds the service. Aborts when something cannot be made. */
void samples_make(struct samples *samples, uint32_t seed);
void samples_free(struct samples *samples);

#endif
