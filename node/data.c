/*
 * data: the data directory: making it, and finding out whose it is. It is never made silently: an
 * empty one under a key that has signed before would make its replica sign again (§5).
 *
 *   ledger/    segment files; entry 0 is genesis; for a moment, what is to replace their end
 *   journal    what this replica has promised
 *   state/     the state of the last checkpoint; can be rebuilt from the ledger
 *   constitutions/   those that came into force after the founding one (constitutions.h)
 *   guard      there when this replica must never vote with its key again; says why
 *   evidence/  proofs of misbehaviour that this replica came across
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "host/file.h"
#include "node/node.h"

/* There while --init is at work: what lies beside it may be half of a data directory. */
#define UNFINISHED_NAME "init.unfinished"

static int too_long(struct problem *problem, const char *path) {
    return problem_set(problem, EXIT_ERROR, "%s: the path is too long", path);
}

int data_path(char out[static PATH_SIZE_MAX], const char *directory, const char *name,
              struct problem *problem) {
    int const size = snprintf(out, PATH_SIZE_MAX, "%s/%s", directory, name);
    return size < 0 || (size_t)size >= PATH_SIZE_MAX ? too_long(problem, directory) : 0;
}

/* Names that say nothing about a replica: the directory may be where a disk is mounted. */
static bool is_nothing(const char *name) {
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strcmp(name, "lost+found") == 0;
}

/* Returns: 1 when it holds nothing or is absent, 0 when it holds something, -1 on a problem. */
static int directory_is_empty(const char *path, struct problem *problem) {
    DIR *const directory = opendir(path);
    if (directory == NULL && errno == ENOENT) {
        return 1;
    }
    if (directory == NULL) {
        return problem_set(problem, EXIT_ERROR, "%s: %s; check `data_directory`", path,
                           strerror(errno));
    }
    int empty = 1;
    const struct dirent *entry;
    while ((entry = readdir(directory)) != NULL) {
        if (!is_nothing(entry->d_name)) {
            empty = 0;
        }
    }
    (void)closedir(directory); /* was only read */
    return empty;
}

static int check_finished(const char *directory, struct problem *problem) {
    char path[PATH_SIZE_MAX];
    struct stat status;
    if (data_path(path, directory, UNFINISHED_NAME, problem) != 0) {
        return -1;
    }
    if (lstat(path, &status) != 0 && errno == ENOENT) {
        return 0;
    }
    return problem_set(problem, EXIT_ERROR,
                       "%s: an --init or --lost did not finish here; remove what is in it, and "
                       "run it again",
                       directory);
}

int data_inspect(enum data_state *state, const struct node *node, struct problem *problem) {
    const char *const path = node->config.data_directory;
    struct journal_owner const owner = {.service = node->identity.founding.configuration.service,
                                        .replica = node->config.replica};
    struct host_disk disk;
    int const empty = directory_is_empty(path, problem);
    if (empty != 0) {
        *state = DATA_ABSENT;
        return empty > 0 ? 0 : -1;
    }
    *state = DATA_PRESENT;
    if (check_finished(path, problem) != 0) {
        return -1;
    }
    if (host_disk_open(&disk, path, HOST_DISK_READ, problem) != 0) {
        return -1;
    }
    int const result = journal_check_owner(&disk.disk, &owner, problem);
    host_disk_close(&disk);
    return result;
}

/* ---- making it ------------------------------------------------------------------------------- */

int data_write_genesis(struct segment_writer *writer, const struct node *node,
                       struct problem *problem) {
    struct entry const entry = {.kind = ENTRY_GENESIS,
                                .payload = node->identity.founding.genesis.bytes};
    switch (segment_writer_append(writer, &entry, 1, true, problem)) {
    case SEGMENT_OK:
        break;
    case SEGMENT_FULL:
        return problem_set(problem, EXIT_ERROR, "%s: the disk is full; free some space",
                           node->config.data_directory);
    case SEGMENT_TORN:
    case SEGMENT_FAILED:
        return -1;
    }
    return segment_writer_sync(writer, problem) == SEGMENT_OK ? 0 : -1;
}

static int create_ledger(const struct node *node, const char *directory, struct problem *problem) {
    char path[PATH_SIZE_MAX];
    struct host_disk disk;
    struct segment_writer writer;
    struct segment_torn_tail torn;
    struct segment_writer_options const options = {
        .service = node->identity.founding.configuration.service};
    if (data_path(path, directory, "ledger", problem) != 0 ||
        host_disk_open(&disk, path, HOST_DISK_WRITE, problem) != 0) {
        return -1;
    }
    int result = -1;
    if (segment_writer_open(&writer, &torn, &disk.disk, &options, problem) == SEGMENT_OK) {
        result = data_write_genesis(&writer, node, problem);
    }
    segment_writer_close(&writer);
    host_disk_close(&disk);
    return result;
}

static int create_all(const struct node *node, const struct disk *disk, enum guard guard,
                      struct problem *problem) {
    struct journal_owner const owner = {.service = node->identity.founding.configuration.service,
                                        .replica = node->config.replica};
    const char *const directory = node->config.data_directory;
    char marker[PATH_SIZE_MAX];
    struct span const text = span_text("onusd --init is at work\n");
    if (data_path(marker, directory, UNFINISHED_NAME, problem) != 0 ||
        file_write(marker, text, 0600, FILE_KEEP, problem) != 0 ||
        (guard != GUARD_NONE && guard_store(node, guard, problem) != 0) ||
        journal_create(disk, &owner, problem) != 0 ||
        create_ledger(node, directory, problem) != 0) {
        return -1;
    }
    int result = disk->remove(disk->context, UNFINISHED_NAME);
    result = result != 0 ? result : disk->sync_directory(disk->context);
    return result == 0 ? 0
                       : problem_set(problem, EXIT_ERROR, "%s: %s; check the disk", marker,
                                     strerror(-result));
}

int data_create(const struct node *node, enum guard guard, struct problem *problem) {
    const char *const path = node->config.data_directory;
    struct host_disk disk;
    int const empty = directory_is_empty(path, problem);
    if (empty < 0) {
        return -1;
    }
    if (empty == 0) {
        return problem_set(problem, EXIT_ERROR,
                           "%s: is there already and not empty; nothing is ever replaced: "
                           "start without it, or choose another `data_directory`",
                           path);
    }
    if (host_disk_open(&disk, path, HOST_DISK_WRITE, problem) != 0) {
        return -1;
    }
    int const result = create_all(node, &disk.disk, guard, problem);
    host_disk_close(&disk);
    return result;
}

int data_forget_state(const struct node *node, struct problem *problem) {
    static const char *const names[] = {"state/data.mdb", "state/lock.mdb"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[PATH_SIZE_MAX];
        if (data_path(path, node->config.data_directory, names[i], problem) != 0) {
            return -1;
        }
        if (unlink(path) != 0 && errno != ENOENT) {
            return problem_set(problem, EXIT_ERROR, "%s: %s; remove it", path, strerror(errno));
        }
    }
    return 0;
}

/* ---- the guard ------------------------------------------------------------------------------- */

#define GUARD_NAME "guard"
#define GUARD_FILE_SIZE_MAX 512u

int guard_store(const struct node *node, enum guard guard, struct problem *problem) {
    char path[PATH_SIZE_MAX];
    char text[GUARD_FILE_SIZE_MAX];
    int const size = snprintf(text, sizeof text, "%u %s\n", (unsigned)guard, guard_text(guard));
    CHECK(size > 0 && (size_t)size < sizeof text);
    if (data_path(path, node->config.data_directory, GUARD_NAME, problem) != 0) {
        return -1;
    }
    return file_write(path, span_of(text, (size_t)size), 0600, FILE_REPLACE, problem);
}

int guard_load(enum guard *guard, const struct node *node, struct problem *problem) {
    char path[PATH_SIZE_MAX];
    struct stat status;
    struct buffer text;
    *guard = GUARD_NONE;
    if (data_path(path, node->config.data_directory, GUARD_NAME, problem) != 0) {
        return -1;
    }
    if (lstat(path, &status) != 0 && errno == ENOENT) {
        return 0;
    }
    buffer_init(&text, GUARD_FILE_SIZE_MAX);
    int const result = file_read(&text, path, FILE_PUBLIC, problem);
    /* Whatever it says, it is there: in doubt this replica does not vote. */
    *guard = GUARD_JOURNAL_MISSING;
    if (result == 0 && text.size > 0 && text.data[0] > '0' && text.data[0] <= '3') {
        *guard = (enum guard)(text.data[0] - '0');
    }
    buffer_free(&text);
    return result;
}
