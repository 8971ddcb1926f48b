/*
 * context_chain: see context_chain.h.
 *
 * A writer reads the file again under the lock, since another process may have written meanwhile.
 * Whether a link is there is told by its number: two that hold for one number are the same step, or
 * a fork, and then the first that came stays.
 */
#include "host/context_chain.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "governance/proposal.h"
#include "host/file.h"

#define LOCK_AGAIN_MS 10u
#define LINK_ARENA_SIZE (8u << 20)

static void chain_path(const struct context *context, char *path) {
    int const size = snprintf(path, PATH_MAX, "%s/chain", context->directory);
    CHECK(size > 0 && size < PATH_MAX);
}

/* ---- reading --------------------------------------------------------------------------------- */

/* Append the file. Returns: 1; 0: there is none; -1. */
static int read_file(struct buffer *out, const char *path, struct problem *problem) {
    if (access(path, F_OK) != 0 && errno == ENOENT) {
        return 0;
    }
    return file_read(out, path, FILE_PUBLIC, problem) == 0 ? 1 : -1;
}

/* Append the file, or the beginning of one. Returns: as read_file. */
static int read_or_begin(const struct context *context, const char *path, struct buffer *out,
                         struct problem *problem) {
    int const there = read_file(out, path, problem);
    if (there == 0 && !chain_file_begin(out, context->founding.genesis.bytes)) {
        return problem_set(problem, EXIT_ERROR, "%s: out of memory", path);
    }
    return there;
}

static int damaged(struct problem *problem, const char *path, const char *why) {
    return problem_set(problem, EXIT_INVALID,
                       "%s: %s; remove the file: onus status fetches it again", path, why);
}

struct chain *context_chain_load(const struct context *context, struct problem *problem) {
    const struct genesis *const genesis = &context->founding.genesis;
    char path[PATH_MAX];
    struct buffer file;
    struct chain *chain = NULL;
    struct problem why = {.code = EXIT_OK};
    chain_path(context, path);
    buffer_init(&file, CHAIN_SIZE_MAX);
    int const there = read_file(&file, path, problem);
    if (there == 0) {
        chain = chain_new(&genesis->service, genesis->bytes, problem);
    } else if (there > 0) {
        chain = chain_read(&genesis->service, buffer_span(&file), &why);
        if (chain == NULL && why.code == EXIT_INVALID) {
            (void)damaged(problem, path, why.text);
        } else if (chain == NULL) {
            *problem = why;
        }
    }
    buffer_free(&file);
    return chain;
}

int context_chain_read(const struct context *context, struct buffer *out, struct problem *problem) {
    char path[PATH_MAX];
    chain_path(context, path);
    return read_or_begin(context, path, out, problem) < 0 ? -1 : 0;
}

int context_chain_check_key(const struct context *context, struct problem *problem) {
    struct configuration newest;
    struct chain *const chain = context_chain_load(context, problem);
    if (chain == NULL) {
        return -1;
    }
    constitution_configuration(&newest, chain_newest(chain));
    chain_free(chain);
    return context_check_key(context, &newest, problem);
}

/* ---- appending ------------------------------------------------------------------------------- */

/* Returns: a descriptor that holds the lock until it is closed; or -1. */
static int lock_directory(const struct context *context, struct problem *problem) {
    struct timespec const pause = {.tv_nsec = LOCK_AGAIN_MS * 1000000L};
    int const fd = open(context->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return problem_set(problem, EXIT_ERROR, "open %s: %s; check the path", context->directory,
                           strerror(errno));
    }
    for (uint32_t waited_ms = 0; flock(fd, LOCK_EX | LOCK_NB) != 0; waited_ms += LOCK_AGAIN_MS) {
        if (waited_ms >= CONTEXT_CHAIN_LOCK_MS_MAX || (errno != EWOULDBLOCK && errno != EINTR)) {
            (void)problem_set(problem, EXIT_ERROR,
                              "lock %s: %s; is another program at work in this context?",
                              context->directory, strerror(errno));
            (void)close(fd); /* nothing was written by it */
            return -1;
        }
        (void)nanosleep(&pause, NULL); /* when it is interrupted, we only try sooner */
    }
    return fd;
}

/* The number of links in a file. Returns: 0 or -1. */
static int count_links(const char *path, struct span file, uint64_t *count,
                       struct problem *problem) {
    struct chain_reader reader;
    struct arena arena;
    struct span link;
    int next = -1;
    arena_init(&arena, LINK_ARENA_SIZE);
    if (chain_reader_open(&reader, &arena, file)) {
        do {
            next = chain_reader_next(&reader, &link);
        } while (next == 1);
        *count = reader.links;
    }
    arena_free(&arena);
    return next == 0 ? 0 : damaged(problem, path, "this is no governance chain, or damaged");
}

/* The configuration that a link begins with; 0: it is no link. */
static uint64_t link_number(const struct digest *service, struct arena *arena, struct span bytes) {
    struct chain_link *const link = arena_alloc(arena, sizeof *link);
    struct proposal *const proposal = arena_alloc(arena, sizeof *proposal);
    if (link == NULL || proposal == NULL || chain_link_decode(link, arena, bytes) != CODEC_OK ||
        proposal_decode(proposal, arena, service, link->proposal) != CODEC_OK) {
        return 0;
    }
    return proposal->config;
}

/* Append to the file in memory what it lacks. Returns: how many links; -1. */
static int add_links(const struct context *context, struct buffer *file, uint64_t present,
                     const struct span *links, uint32_t count, struct problem *problem) {
    struct arena arena;
    uint32_t added = 0;
    int status = 0;
    arena_init(&arena, LINK_ARENA_SIZE);
    for (uint32_t i = 0; i < count && status == 0; i++) {
        arena_reset(&arena);
        uint64_t const number = link_number(&context->founding.genesis.service, &arena, links[i]);
        uint64_t const next = present + added + 1; /* link n leads from configuration n */
        if (number == 0 || number > next) {
            status = problem_set(problem, EXIT_INVALID,
                                 number == 0 ? "this is no link of a governance chain"
                                             : "links of the governance chain are missing");
        } else if (number == next && !chain_file_append(file, links[i])) {
            status = problem_set(problem, EXIT_ERROR, "the governance chain is too long to keep");
        } else if (number == next) {
            added++;
        }
    }
    arena_free(&arena);
    return status == 0 ? (int)added : -1;
}

int context_chain_append(const struct context *context, const struct span *links, uint32_t count,
                         struct problem *problem) {
    char path[PATH_MAX];
    struct buffer file;
    uint64_t present = 0;
    int const lock = lock_directory(context, problem);
    if (lock < 0) {
        return -1;
    }
    chain_path(context, path);
    buffer_init(&file, CHAIN_SIZE_MAX);
    int added = -1;
    if (read_or_begin(context, path, &file, problem) >= 0 &&
        count_links(path, buffer_span(&file), &present, problem) == 0) {
        added = add_links(context, &file, present, links, count, problem);
    }
    if (added > 0 && file_write(path, buffer_span(&file), 0644, FILE_REPLACE, problem) != 0) {
        added = -1;
    }
    buffer_free(&file);
    (void)close(lock); /* it was only read */
    return added < 0 ? -1 : 0;
}
