/*
 * constitutions: see constitutions.h. What is read is believed only when its digest holds: the file
 * is this replica's own, but disks err.
 */
#include "node/constitutions.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "governance/founding.h"
#include "host/file.h"
#include "node/chain_store.h"
#include "node/node.h"

#define CONSTITUTION_FILE_MAGIC "onus-constitution-v1\n"
#define MAGIC_SIZE (sizeof CONSTITUTION_FILE_MAGIC - 1)
#define FILE_SIZE_MAX (MAGIC_SIZE + DIGEST_SIZE + CONSTITUTION_SIZE_MAX)

static int make_path(char out[static PATH_SIZE_MAX], const struct node *node, uint64_t number,
                     struct problem *problem) {
    char name[40];
    (void)snprintf(name, sizeof name, "constitutions/%llu", (unsigned long long)number);
    return data_path(out, node->config.data_directory, name, problem);
}

static int make_directory(const struct node *node, struct problem *problem) {
    char path[PATH_SIZE_MAX];
    if (data_path(path, node->config.data_directory, "constitutions", problem) != 0) {
        return -1;
    }
    if (mkdir(path, 0700) == 0) {
        return file_sync_directory_of(path, problem);
    }
    return errno == EEXIST
               ? 0
               : problem_set(problem, EXIT_ERROR, "%s: %s; check the disk", path, strerror(errno));
}

bool constitution_number_of(uint64_t *number, struct span snapshot) {
    struct checker_snapshot decoded;
    struct checkpoint_header header;
    struct arena arena;
    arena_init(&arena, 2 * (size_t)SNAPSHOT_SIZE_MAX);
    bool const decodes = checker_snapshot_decode(&decoded, &arena, snapshot) == CODEC_OK &&
                         checkpoint_header_decode(&header, &arena, decoded.header) == CODEC_OK;
    if (decodes) {
        *number = header.config;
    }
    arena_free(&arena);
    return decodes;
}

static bool is_there(const struct node_config *config, const char *name) {
    char path[PATH_SIZE_MAX];
    struct stat status;
    struct problem ignored = {0};
    return data_path(path, config->data_directory, name, &ignored) == 0 &&
           lstat(path, &status) == 0;
}

bool constitutions_present(const struct node_config *config) {
    return is_there(config, "constitutions") || is_there(config, CHAIN_NAME);
}

int constitution_keep(const struct node *node, const struct constitution *constitution,
                      struct problem *problem) {
    char path[PATH_SIZE_MAX];
    struct digest digest;
    struct buffer content;
    if (make_directory(node, problem) != 0 ||
        make_path(path, node, constitution->number, problem) != 0) {
        return -1;
    }
    buffer_init(&content, FILE_SIZE_MAX);
    bool const encoded = constitution_digest(&digest, constitution) &&
                         buffer_append(&content, span_text(CONSTITUTION_FILE_MAGIC)) &&
                         buffer_append(&content, span_of(digest.bytes, DIGEST_SIZE)) &&
                         constitution_encode(&content, constitution);
    int const result = encoded
                           ? file_write(path, buffer_span(&content), 0600, FILE_REPLACE, problem)
                           : problem_set(problem, EXIT_ERROR, "%s: out of memory", path);
    buffer_free(&content);
    return result;
}

/* Does the file hold what its digest says, for that configuration of this service? */
static bool take(struct constitution *out, const struct node *node, uint64_t number,
                 struct span file) {
    struct arena arena;
    struct digest digest;
    if (file.size < MAGIC_SIZE + DIGEST_SIZE ||
        memcmp(file.data, CONSTITUTION_FILE_MAGIC, MAGIC_SIZE) != 0) {
        return false;
    }
    struct span const encoded =
        span_of(file.data + MAGIC_SIZE + DIGEST_SIZE, file.size - MAGIC_SIZE - DIGEST_SIZE);
    arena_init(&arena, 8 * (size_t)CONSTITUTION_SIZE_MAX);
    bool const holds = constitution_open(out, &arena, &node->identity.founding.genesis.service,
                                         encoded) == CODEC_OK &&
                       out->number == number && constitution_digest(&digest, out) &&
                       memcmp(digest.bytes, file.data + MAGIC_SIZE, DIGEST_SIZE) == 0;
    arena_free(&arena);
    return holds;
}

int constitution_load(struct constitution *out, const struct node *node, uint64_t number,
                      struct problem *problem) {
    char path[PATH_SIZE_MAX];
    struct problem why = {.code = EXIT_OK};
    struct buffer content;
    if (number == FOUNDING_CONFIGURATION) {
        return constitution_found(out, &node->identity.founding.genesis, problem);
    }
    if (make_path(path, node, number, problem) != 0) {
        return -1;
    }
    buffer_init(&content, FILE_SIZE_MAX);
    bool const holds = file_read(&content, path, FILE_PUBLIC, &why) == 0 &&
                       take(out, node, number, buffer_span(&content));
    buffer_free(&content);
    return holds ? 0
                 : problem_set(problem, EXIT_CORRUPT,
                               "%s: is missing or damaged: %s; restore it, or remove state/ to "
                               "have both rebuilt from the ledger",
                               path, why.code == EXIT_OK ? "its digest does not hold" : why.text);
}
