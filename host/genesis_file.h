/*
 * genesis_file: genesis.onus, the file that every program starts from: a line that names its kind
 * and version, then the encoded genesis (protocol §1, docs/formats.md).
 */
#ifndef ONUS_HOST_GENESIS_FILE_H
#define ONUS_HOST_GENESIS_FILE_H

#include "base/problem.h"
#include "ledger/codec.h"
#include "ledger/configuration.h"

#define GENESIS_FILE_MAGIC "onus-genesis-v1\n"
#define GENESIS_FILE_SIZE_MAX (sizeof GENESIS_FILE_MAGIC - 1 + GENESIS_SIZE_MAX)

/* A genesis and configuration 1, which follows from it. */
struct founding {
    struct genesis genesis; /* spans point into memory of this struct */
    struct configuration configuration;

    /* private */
    struct buffer file;
    struct arena arena;
};

/*
 * Read and check a genesis file. Free it with founding_free, also after a problem.
 * Returns: 0, or -1 with a problem that names the file: EXIT_INVALID when its content is refused.
 */
MUST_USE int founding_load(struct founding *founding, const char *path, struct problem *problem);
/* The same from an encoded genesis in memory; name stands for the path in problems. */
MUST_USE int founding_decode(struct founding *founding, struct span genesis, const char *name,
                             struct problem *problem);
void founding_free(struct founding *founding);

/* Write an encoded genesis to a new file. Returns: 0 or -1. */
MUST_USE int founding_save(struct span genesis, const char *path, struct problem *problem);

#endif
