/*
 * genesis_file: see genesis_file.h. What is refused here never becomes a configuration: encoding,
 * keys and endorsements are all checked before anybody trusts the file.
 */
#include "host/genesis_file.h"

#include <string.h>

#include "governance/founding.h"
#include "host/file.h"

#define MAGIC_SIZE (sizeof GENESIS_FILE_MAGIC - 1)
#define ARENA_SIZE (8u * GENESIS_SIZE_MAX)

static void founding_init(struct founding *founding) {
    memset(founding, 0, sizeof *founding);
    buffer_init(&founding->file, GENESIS_FILE_SIZE_MAX);
    arena_init(&founding->arena, ARENA_SIZE);
}

/* founding->file holds the whole file. */
static int founding_check(struct founding *founding, const char *name, struct problem *problem) {
    struct span const file = buffer_span(&founding->file);
    if (file.size < MAGIC_SIZE || memcmp(file.data, GENESIS_FILE_MAGIC, MAGIC_SIZE) != 0) {
        return problem_set(problem, EXIT_INVALID,
                           "%s: not a genesis file; give the genesis.onus of the service", name);
    }
    enum codec_result const result =
        genesis_decode(&founding->genesis, &founding->arena,
                       span_of(file.data + MAGIC_SIZE, file.size - MAGIC_SIZE));
    if (result != CODEC_OK) {
        return problem_set(problem, EXIT_INVALID,
                           "%s: the genesis cannot be used: %s; get a fresh copy", name,
                           codec_result_text(result));
    }
    struct problem why = {.code = EXIT_OK};
    if (founding_configuration(&founding->configuration, &founding->genesis, &why) != 0) {
        return problem_set(problem, why.code, "%s: %s", name, why.text);
    }
    return 0;
}

int founding_load(struct founding *founding, const char *path, struct problem *problem) {
    founding_init(founding);
    if (file_read(&founding->file, path, FILE_PUBLIC, problem) != 0) {
        return -1;
    }
    return founding_check(founding, path, problem);
}

int founding_decode(struct founding *founding, struct span genesis, const char *name,
                    struct problem *problem) {
    founding_init(founding);
    if (!buffer_append(&founding->file, span_text(GENESIS_FILE_MAGIC)) ||
        !buffer_append(&founding->file, genesis)) {
        return problem_set(problem, EXIT_ERROR, "%s: the genesis is larger than %u bytes", name,
                           GENESIS_SIZE_MAX);
    }
    return founding_check(founding, name, problem);
}

void founding_free(struct founding *founding) {
    arena_free(&founding->arena);
    buffer_free(&founding->file);
}

int founding_save(struct span genesis, const char *path, struct problem *problem) {
    struct buffer file;
    buffer_init(&file, GENESIS_FILE_SIZE_MAX);
    int status = -1;
    if (buffer_append(&file, span_text(GENESIS_FILE_MAGIC)) && buffer_append(&file, genesis)) {
        status = file_write(path, buffer_span(&file), 0644, FILE_KEEP, problem);
    } else {
        (void)problem_set(problem, EXIT_ERROR, "%s: the genesis is larger than %u bytes", path,
                          GENESIS_SIZE_MAX);
    }
    buffer_free(&file);
    return status;
}
