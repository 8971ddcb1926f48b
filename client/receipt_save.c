/*
 * receipt_save: see receipt_save.h.
 */
#include "client/receipt_save.h"

#include "governance/founding.h"
#include "host/context_chain.h"
#include "host/file.h"
#include "receipts/receipt.h"

#define CONFIG_ARENA_SIZE (4u << 20)
#define CHAIN_ARENA_SIZE (4 * (size_t)CHAIN_HEADER_SIZE_MAX)

static int each_link(struct span file, uint64_t config, bool (*take)(void *user, struct span link),
                     void *user, struct problem *problem) {
    struct chain_reader reader;
    struct arena arena;
    struct span link;
    arena_init(&arena, CHAIN_ARENA_SIZE);
    bool good = chain_reader_open(&reader, &arena, file);
    uint64_t reached = FOUNDING_CONFIGURATION;
    bool taken = true;
    while (good && taken && reached < config && chain_reader_next(&reader, &link) == 1) {
        taken = take(user, link);
        reached++;
    }
    arena_free(&arena);
    if (!taken) {
        return problem_set(problem, EXIT_ERROR, "writing a link of the governance chain failed");
    }
    return good && reached == config
               ? 0
               : problem_set(problem, EXIT_INVALID,
                             "the governance chain of the context does not lead to configuration "
                             "%llu; onus status fetches what is missing",
                             (unsigned long long)config);
}

int context_each_link(const struct context *context, uint64_t config,
                      bool (*take)(void *user, struct span link), void *user,
                      struct problem *problem) {
    struct buffer file;
    if (config <= FOUNDING_CONFIGURATION) {
        return 0;
    }
    buffer_init(&file, CHAIN_SIZE_MAX);
    int status = context_chain_read(context, &file, problem);
    if (status == 0) {
        status = each_link(buffer_span(&file), config, take, user, problem);
    }
    buffer_free(&file);
    return status;
}

static bool add_link(void *user, struct span link) {
    return receipt_file_add_link(user, link);
}

static int encode(struct buffer *file, const struct context *context, struct span receipt,
                  struct problem *problem) {
    struct arena arena;
    uint64_t config = FOUNDING_CONFIGURATION;
    arena_init(&arena, CONFIG_ARENA_SIZE);
    bool const is_receipt = receipt_config(&config, &arena, receipt);
    arena_free(&arena);
    if (!is_receipt) {
        return problem_set(problem, EXIT_CORRUPT, "a stored receipt cannot be read");
    }
    bool const is_first = config == FOUNDING_CONFIGURATION;
    if (!(is_first ? receipt_file_encode(file, receipt)
                   : receipt_file_begin_linked(file, receipt))) {
        return problem_set(problem, EXIT_ERROR, "out of memory");
    }
    return context_each_link(context, config, add_link, file, problem);
}

int receipt_save(const struct context *context, const char *path, struct span receipt,
                 struct problem *problem) {
    struct buffer file;
    buffer_init(&file, RECEIPT_LINKED_FILE_SIZE_MAX);
    int status = encode(&file, context, receipt, problem);
    if (status == 0) {
        status = file_write(path, buffer_span(&file), 0644, FILE_REPLACE, problem);
    }
    buffer_free(&file);
    return status;
}

int receipt_open(struct buffer *file, struct span *receipt, struct span *links, const char *path,
                 struct problem *problem) {
    buffer_init(file, RECEIPT_LINKED_FILE_SIZE_MAX);
    if (file_read(file, path, FILE_PUBLIC, problem) != 0) {
        return -1;
    }
    if (!receipt_file_open(receipt, links, buffer_span(file))) {
        return problem_set(problem, EXIT_INVALID, "%s: not a receipt file", path);
    }
    return 0;
}
