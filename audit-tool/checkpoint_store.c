/*
 * checkpoint_store: see checkpoint_store.h. A file is read with the care that any file deserves:
 * what it says of the ledger is held against itself here, and against a quorum by the audit.
 */
#include "audit-tool/checkpoint_store.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "audit-tool/saved_state.h"
#include "audit-tool/state_dir.h"
#include "host/file.h"

#define NAME_PREFIX "checkpoint-"
#define NAME_SIZE 64u
#define READ_BUDGET (2 * (size_t)SNAPSHOT_SIZE_MAX)

static void format_name(char name[static NAME_SIZE], uint64_t seq) {
    (void)snprintf(name, NAME_SIZE, NAME_PREFIX "%012" PRIu64 ".state", seq);
}

static int make_path(char path[static PATH_MAX], const char *directory, uint64_t seq,
                     const char *suffix, struct problem *problem) {
    char name[NAME_SIZE];
    format_name(name, seq);
    int const size = snprintf(path, PATH_MAX, "%s/%s%s", directory, name, suffix);
    return size > 0 && size < PATH_MAX
               ? 0
               : problem_set(problem, EXIT_USAGE, "%s: the name is too long", directory);
}

/* ---- finding --------------------------------------------------------------------------------- */

/* The number in a name that checkpoint_store_write could have made; 0: it is another file. */
static uint64_t number_of(const char *name) {
    char expected[NAME_SIZE];
    if (strncmp(name, NAME_PREFIX, sizeof NAME_PREFIX - 1) != 0) {
        return 0;
    }
    errno = 0;
    unsigned long long const seq = strtoull(name + sizeof NAME_PREFIX - 1, NULL, 10);
    if (errno != 0) {
        return 0;
    }
    format_name(expected, seq);
    return strcmp(name, expected) == 0 ? seq : 0;
}

static int find_oldest(uint64_t *oldest, const char *path, struct problem *problem) {
    *oldest = 0;
    DIR *const directory = opendir(path);
    if (directory == NULL && errno == ENOENT) {
        return 0;
    }
    if (directory == NULL) {
        return problem_set(problem, EXIT_ERROR, "%s: %s", path, strerror(errno));
    }
    for (const struct dirent *entry = readdir(directory); entry != NULL;
         entry = readdir(directory)) {
        uint64_t const seq = number_of(entry->d_name);
        if (seq != 0 && (*oldest == 0 || seq < *oldest)) {
            *oldest = seq;
        }
    }
    (void)closedir(directory);
    return *oldest == 0 ? 0 : 1;
}

static bool take_snapshot(struct fetch_mark *out, uint64_t seq, struct span bytes) {
    struct checker_snapshot snapshot;
    struct checkpoint_header header;
    struct arena arena;
    arena_init(&arena, READ_BUDGET);
    bool good = checker_snapshot_decode(&snapshot, &arena, bytes) == CODEC_OK &&
                checkpoint_header_decode(&header, &arena, snapshot.header) == CODEC_OK &&
                header.seq == seq &&
                frontier_load(&out->frontier, header.ledger_leaves, snapshot.frontier);
    if (good) {
        struct digest const root = frontier_root(&out->frontier);
        good = digest_equal(&root, &header.ledger_root) && header.entries != 0;
        out->seq = seq;
        out->entries = header.entries;
    }
    arena_free(&arena);
    return good;
}

static int read_state(struct fetch_mark *out, FILE *file, uint64_t seq, const char *path,
                      const struct founding *founding, struct problem *problem) {
    uint64_t own = 0;
    struct buffer genesis;
    struct buffer snapshot;
    buffer_init(&genesis, GENESIS_SIZE_MAX);
    buffer_init(&snapshot, SNAPSHOT_SIZE_MAX);
    int status = saved_state_read_head(file, &founding->configuration.service, &genesis, &own, path,
                                       problem);
    if (status == 0 && (own != seq || !saved_state_read_snapshot(file, &snapshot) ||
                        !take_snapshot(out, seq, buffer_span(&snapshot)))) {
        status = problem_set(problem, EXIT_INVALID,
                             "%s: damaged; move it away, and the ledgers beside it, to fetch anew",
                             path);
    }
    buffer_free(&snapshot);
    buffer_free(&genesis);
    return status;
}

int checkpoint_store_find(struct fetch_mark *out, const char *directory,
                          const struct founding *founding, struct problem *problem) {
    char path[PATH_MAX];
    uint64_t seq = 0;
    int const found = find_oldest(&seq, directory, problem);
    if (found != 1) {
        return found;
    }
    if (make_path(path, directory, seq, "", problem) != 0) {
        return -1;
    }
    FILE *const file = fopen(path, "rbe");
    if (file == NULL) {
        return problem_set(problem, EXIT_ERROR, "%s: %s", path, strerror(errno));
    }
    int const status = read_state(out, file, seq, path, founding, problem);
    (void)fclose(file);
    return status == 0 ? 1 : -1;
}

/* ---- writing --------------------------------------------------------------------------------- */

static bool write_all(FILE *file, const struct founding *founding,
                      const struct checkpoint_parts *parts) {
    struct saved_state const state = {.service = &founding->configuration.service,
                                      .genesis = founding->genesis.bytes,
                                      .seq = parts->seq};
    return saved_state_write_parts(file, &state, parts->snapshot, parts->item_count,
                                   parts->items) &&
           fflush(file) == 0 && fsync(fileno(file)) == 0;
}

static int make_directory(const char *directory, struct problem *problem) {
    return mkdir(directory, 0755) == 0 || errno == EEXIST
               ? 0
               : problem_set(problem, EXIT_ERROR, "%s: %s", directory, strerror(errno));
}

int checkpoint_store_write_chain(const char *directory, struct span chain,
                                 struct problem *problem) {
    char path[PATH_MAX];
    struct stat status;
    int const size = snprintf(path, sizeof path, "%s/%s", directory, STATE_DIR_CHAIN);
    if (size < 0 || (size_t)size >= sizeof path) {
        return problem_set(problem, EXIT_USAGE, "%s: the name is too long", directory);
    }
    if (make_directory(directory, problem) != 0) {
        return -1;
    }
    /* A chain grows at its end: of two, the longer one holds all of the other. */
    bool const is_there = stat(path, &status) == 0 && (uint64_t)status.st_size >= chain.size;
    return is_there ? 0 : file_write(path, chain, 0644, FILE_REPLACE, problem);
}

int checkpoint_store_write(const char *directory, const struct founding *founding,
                           const struct checkpoint_parts *parts, struct problem *problem) {
    char path[PATH_MAX];
    char fresh[PATH_MAX];
    if (make_path(path, directory, parts->seq, "", problem) != 0 ||
        make_path(fresh, directory, parts->seq, ".new", problem) != 0) {
        return -1;
    }
    if (make_directory(directory, problem) != 0) {
        return -1;
    }
    FILE *const file = fopen(fresh, "wbe");
    if (file == NULL) {
        return problem_set(problem, EXIT_ERROR, "%s: %s", fresh, strerror(errno));
    }
    bool const written = write_all(file, founding, parts);
    bool const closed = fclose(file) == 0;
    if (!written || !closed || rename(fresh, path) != 0) {
        int const why = errno;
        (void)unlink(fresh);
        return problem_set(problem, EXIT_ERROR, "%s: the state cannot be saved: %s", path,
                           strerror(why));
    }
    return file_sync_directory_of(path, problem);
}
