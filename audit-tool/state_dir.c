/*
 * state_dir: see state_dir.h.
 */
#include "audit-tool/state_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/file.h"

#define NUMBER_DIGITS 12
#define PROGRESS_SIZE_MAX ((size_t)4 << 30) /* findings are the largest part, each a file */
#define STATE_PREFIX "checkpoint-"
#define STATE_SUFFIX ".state"

int state_dir_open(struct state_dir *dir, const char *path, uint64_t wanted,
                   struct problem *problem) {
    *dir = (struct state_dir){.path = path, .wanted = wanted};
    if (mkdir(path, 0755) != 0 && errno != EEXIST) {
        return problem_set(problem, EXIT_ERROR, "%s: %s; name a directory that can be made", path,
                           strerror(errno));
    }
    return 0;
}

static int path_of(char path[PATH_MAX], const struct state_dir *dir, const char *prefix,
                   uint64_t seq, const char *suffix, struct problem *problem) {
    int const size = snprintf(path, PATH_MAX, "%s/%s%0*llu%s", dir->path, prefix, NUMBER_DIGITS,
                              (unsigned long long)seq, suffix);
    return size > 0 && size < PATH_MAX
               ? 0
               : problem_set(problem, EXIT_USAGE, "%s: the name is too long", dir->path);
}

static int state_path(char path[PATH_MAX], const struct state_dir *dir, uint64_t seq,
                      struct problem *problem) {
    return path_of(path, dir, STATE_PREFIX, seq, STATE_SUFFIX, problem);
}

static int progress_path(char path[PATH_MAX], const struct state_dir *dir,
                         struct problem *problem) {
    return path_of(path, dir, "from-", dir->wanted, ".progress", problem);
}

static int chain_path(char path[PATH_MAX], const struct state_dir *dir, struct problem *problem) {
    int const size = snprintf(path, PATH_MAX, "%s/%s", dir->path, STATE_DIR_CHAIN);
    return size > 0 && size < PATH_MAX
               ? 0
               : problem_set(problem, EXIT_USAGE, "%s: the name is too long", dir->path);
}

/* ---- which there are ------------------------------------------------------------------------- */

static bool parse_name(uint64_t *seq, const char *name) {
    char expected[sizeof STATE_PREFIX + sizeof STATE_SUFFIX + 32];
    if (strncmp(name, STATE_PREFIX, sizeof STATE_PREFIX - 1) != 0) {
        return false;
    }
    errno = 0;
    *seq = strtoull(name + sizeof STATE_PREFIX - 1, NULL, 10);
    (void)snprintf(expected, sizeof expected, "%s%0*llu%s", STATE_PREFIX, NUMBER_DIGITS,
                   (unsigned long long)*seq, STATE_SUFFIX);
    return errno == 0 && strcmp(name, expected) == 0;
}

int state_dir_choose(const struct state_dir *dir, struct state_choice *out,
                     struct problem *problem) {
    *out = (struct state_choice){.before = 0};
    DIR *const directory = opendir(dir->path);
    if (directory == NULL) {
        return problem_set(problem, EXIT_ERROR, "%s: %s", dir->path, strerror(errno));
    }
    for (const struct dirent *entry = readdir(directory); entry != NULL;
         entry = readdir(directory)) {
        uint64_t seq = 0;
        if (!parse_name(&seq, entry->d_name)) {
            continue;
        }
        out->has_exact |= seq == dir->wanted;
        if (seq < dir->wanted && seq > out->before) {
            out->before = seq;
        }
    }
    (void)closedir(directory);
    return 0;
}

FILE *state_dir_open_state(const struct state_dir *dir, uint64_t seq, char path[PATH_MAX],
                           struct problem *problem) {
    if (state_path(path, dir, seq, problem) != 0) {
        return NULL;
    }
    FILE *const file = fopen(path, "rbe");
    if (file == NULL) {
        (void)problem_set(problem, EXIT_CANNOT_AUDIT, "%s: %s", path, strerror(errno));
    }
    return file;
}

int state_dir_read_progress(const struct state_dir *dir, struct buffer *out,
                            struct problem *problem) {
    char path[PATH_MAX];
    if (progress_path(path, dir, problem) != 0) {
        return -1;
    }
    if (access(path, F_OK) != 0 && errno == ENOENT) {
        return 0;
    }
    out->size_max = PROGRESS_SIZE_MAX;
    return file_read(out, path, FILE_PUBLIC, problem) == 0 ? 1 : -1;
}

int state_dir_read_chain(const struct state_dir *dir, struct buffer *out, struct problem *problem) {
    char path[PATH_MAX];
    if (chain_path(path, dir, problem) != 0) {
        return -1;
    }
    if (access(path, F_OK) != 0 && errno == ENOENT) {
        return 0;
    }
    out->size_max = CHAIN_SIZE_MAX;
    return file_read(out, path, FILE_PUBLIC, problem) == 0 ? 1 : -1;
}

/* ---- saving ---------------------------------------------------------------------------------- */

static int write_state(const char *path, const struct audit *audit, uint64_t seq,
                       struct problem *problem) {
    char fresh[PATH_MAX];
    int const size = snprintf(fresh, sizeof fresh, "%s.new", path);
    FILE *const file = size < (int)sizeof fresh ? fopen(fresh, "wbe") : NULL;
    if (file == NULL) {
        return problem_set(problem, EXIT_ERROR, "%s: %s", fresh, strerror(errno));
    }
    bool const written =
        audit_save_state(audit, file, seq) && fflush(file) == 0 && fsync(fileno(file)) == 0;
    int const why = errno;
    bool const closed = fclose(file) == 0;
    if (!written || !closed || rename(fresh, path) != 0) {
        (void)unlink(fresh);
        return problem_set(problem, EXIT_ERROR, "%s: the state cannot be saved: %s", path,
                           strerror(written ? errno : why));
    }
    return file_sync_directory_of(path, problem);
}

static int write_progress(const struct state_dir *dir, const struct audit *audit, uint64_t seq,
                          struct problem *problem) {
    char path[PATH_MAX];
    struct buffer progress;
    if (progress_path(path, dir, problem) != 0) {
        return -1;
    }
    buffer_init(&progress, PROGRESS_SIZE_MAX);
    int const status =
        audit_save_progress(audit, &progress, seq)
            ? file_write(path, buffer_span(&progress), 0644, FILE_REPLACE, problem)
            : problem_set(problem, EXIT_ERROR, "out of memory for how far the audit is");
    buffer_free(&progress);
    return status;
}

static bool is_saved(const struct state_dir *dir, struct span chain) {
    struct digest const digest = hash_bytes(chain);
    return digest_equal(&digest, &dir->chain);
}

/* There is none as long as nothing has changed. */
int state_dir_save_chain(struct state_dir *dir, const struct audit *audit,
                         struct problem *problem) {
    char path[PATH_MAX];
    struct buffer chain;
    int status = chain_path(path, dir, problem);
    if (status != 0) {
        return -1;
    }
    buffer_init(&chain, CHAIN_SIZE_MAX);
    if (!audit_save_chain(audit, &chain)) {
        status = problem_set(problem, EXIT_ERROR, "out of memory for the governance chain");
    } else if (chain.size != 0 && !is_saved(dir, buffer_span(&chain))) {
        status = file_write(path, buffer_span(&chain), 0644, FILE_REPLACE, problem);
        dir->chain = hash_bytes(buffer_span(&chain));
    }
    buffer_free(&chain);
    return status;
}

/* What the progress named before, and nobody wants any more. */
static void remove_old(const struct state_dir *dir, uint64_t seq) {
    struct problem ignored = {.code = EXIT_OK}; /* it only takes space */
    char path[PATH_MAX];
    if (dir->saved != 0 && dir->saved != seq && !dir->is_kept &&
        state_path(path, dir, dir->saved, &ignored) == 0) {
        (void)unlink(path);
    }
}

int state_dir_save(struct state_dir *dir, const struct audit *audit, uint64_t seq, bool keep,
                   struct problem *problem) {
    char path[PATH_MAX];
    /* The chain before the state that needs it. */
    if (state_path(path, dir, seq, problem) != 0 ||
        state_dir_save_chain(dir, audit, problem) != 0 ||
        write_state(path, audit, seq, problem) != 0 ||
        write_progress(dir, audit, seq, problem) != 0) {
        return -1;
    }
    remove_old(dir, seq);
    dir->saved = seq;
    dir->is_kept = keep;
    return 0;
}
