/*
 * join_files: the directories of a replica that joins from a checkpoint (protocol §7), and how one
 * takes another's place. Each step is a rename, made durable before the next; what a crash left is
 * carried on by what exists.
 *
 *   joining/  ledger/, state/, offer: being fetched; means nothing after a restart
 *   joined/   the same, whole and durable: from the rename on it is decided that the replica starts
 *             from it
 *   older/    ledger/, state/, offer: what history has verified of the entries before; the offer
 *             says where the replica's own ledger begins
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/file.h"
#include "node/join_files.h"
#include "node/node.h"

#define OFFER_NAME "offer"

static int fail(struct problem *problem, const char *path) {
    return problem_set(problem, EXIT_ERROR, "%s: %s; check the disk", path, strerror(errno));
}

int join_files_path(char out[static PATH_SIZE_MAX], const struct node *node, const char *name,
                    const char *inside, struct problem *problem) {
    char relative[NAME_SIZE_MAX];
    (void)snprintf(relative, sizeof relative, "%s%s%s", name, inside == NULL ? "" : "/",
                   inside == NULL ? "" : inside);
    return data_path(out, node->config.data_directory, relative, problem);
}

/* Returns: 1, 0, or -1 with a problem. */
static int exists(const struct node *node, const char *name, const char *inside,
                  struct problem *problem) {
    char path[PATH_SIZE_MAX];
    struct stat status;
    if (join_files_path(path, node, name, inside, problem) != 0) {
        return -1;
    }
    if (lstat(path, &status) == 0) {
        return 1;
    }
    return errno == ENOENT ? 0 : fail(problem, path);
}

/* Make the names in a directory durable; NULL: in the data directory itself. */
static int sync_names(const struct node *node, const char *name, struct problem *problem) {
    char path[PATH_SIZE_MAX];
    if (join_files_path(path, node, name == NULL ? "journal" : name,
                        name == NULL ? NULL : OFFER_NAME, problem) != 0) {
        return -1;
    }
    return file_sync_directory_of(path, problem);
}

/* ---- removing -------------------------------------------------------------------------------- */

/* Remove a directory that holds files alone, if it is there. */
static int remove_flat(const char *path, struct problem *problem) {
    DIR *const directory = opendir(path);
    if (directory == NULL) {
        return errno == ENOENT ? 0 : fail(problem, path);
    }
    int result = 0;
    const struct dirent *entry;
    while (result == 0 && (entry = readdir(directory)) != NULL) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
            unlinkat(dirfd(directory), entry->d_name, 0) != 0) {
            result = fail(problem, path);
        }
    }
    (void)closedir(directory); /* was only read */
    return result == 0 && rmdir(path) != 0 ? fail(problem, path) : result;
}

int join_files_remove_ledger(const struct node *node, const char *name, struct problem *problem) {
    char path[PATH_SIZE_MAX];
    return join_files_path(path, node, name, "ledger", problem) != 0 ? -1
                                                                     : remove_flat(path, problem);
}

int join_files_empty(const struct node *node, const char *name, struct problem *problem) {
    char path[PATH_SIZE_MAX];
    return join_files_remove_ledger(node, name, problem) != 0 ||
                   join_files_path(path, node, name, "state", problem) != 0
               ? -1
               : remove_flat(path, problem);
}

int join_files_remove(const struct node *node, const char *name, struct problem *problem) {
    char path[PATH_SIZE_MAX];
    /* The offer goes last: as long as there is anything, it says what it was. */
    if (join_files_path(path, node, name, NULL, problem) != 0 ||
        join_files_empty(node, name, problem) != 0 || remove_flat(path, problem) != 0) {
        return -1;
    }
    return sync_names(node, NULL, problem);
}

/* ---- fetching -------------------------------------------------------------------------------- */

int join_files_begin(const struct node *node, struct problem *problem) {
    char path[PATH_SIZE_MAX];
    /* A replica that begins at genesis has no use for what it was once to get. */
    if (join_files_remove(node, JOINING_NAME, problem) != 0 ||
        join_files_remove(node, OLDER_NAME, problem) != 0 ||
        join_files_path(path, node, JOINING_NAME, NULL, problem) != 0) {
        return -1;
    }
    return mkdir(path, 0700) != 0 ? fail(problem, path) : 0;
}

int join_files_decide(const struct node *node, struct span offer, struct problem *problem) {
    char from[PATH_SIZE_MAX];
    char to[PATH_SIZE_MAX];
    char file[PATH_SIZE_MAX];
    if (join_files_path(file, node, JOINING_NAME, OFFER_NAME, problem) != 0 ||
        join_files_path(from, node, JOINING_NAME, NULL, problem) != 0 ||
        join_files_path(to, node, JOINED_NAME, NULL, problem) != 0 ||
        file_write(file, offer, 0600, FILE_REPLACE, problem) != 0 ||
        sync_names(node, JOINING_NAME, problem) != 0) {
        return -1;
    }
    return rename(from, to) != 0 ? fail(problem, to) : sync_names(node, NULL, problem);
}

/* ---- taking its place ------------------------------------------------------------------------ */

/* One name of the data directory, or of a directory in it. */
struct place {
    const char *name;
    const char *inside; /* NULL: the name itself */
};

/* Rename if there is something to rename and nothing in its way. */
static int move(const struct node *node, struct place from, struct place to,
                struct problem *problem) {
    char from_path[PATH_SIZE_MAX];
    char to_path[PATH_SIZE_MAX];
    int const here = exists(node, from.name, from.inside, problem);
    int const taken = exists(node, to.name, to.inside, problem);
    if (here < 0 || taken < 0 ||
        join_files_path(from_path, node, from.name, from.inside, problem) != 0 ||
        join_files_path(to_path, node, to.name, to.inside, problem) != 0) {
        return -1;
    }
    if (here == 0 || taken == 1) {
        return 0;
    }
    if (rename(from_path, to_path) != 0) {
        return fail(problem, to_path);
    }
    return sync_names(node, to.inside == NULL ? NULL : to.name, problem) != 0 ||
                   sync_names(node, from.inside == NULL ? NULL : from.name, problem) != 0
               ? -1
               : 0;
}

/* What was the replica's becomes the beginning of the older part, what was fetched becomes its. */
static int exchange(const struct node *node, const char *name, struct problem *problem) {
    int const fetched = exists(node, JOINED_NAME, name, problem);
    if (fetched != 1) {
        return fetched;
    }
    if (move(node, (struct place){name, NULL}, (struct place){OLDER_NAME, name}, problem) != 0) {
        return -1;
    }
    if (move(node, (struct place){JOINED_NAME, name}, (struct place){name, NULL}, problem) != 0) {
        return -1;
    }
    int const left = exists(node, JOINED_NAME, name, problem);
    return left != 1
               ? left
               : problem_set(problem, EXIT_ERROR, "%s: %s/%s is in the way of %s/%s; move it away",
                             node->config.data_directory, OLDER_NAME, name, JOINED_NAME, name);
}

static int install(const struct node *node, struct problem *problem) {
    char path[PATH_SIZE_MAX];
    if (join_files_path(path, node, OLDER_NAME, NULL, problem) != 0) {
        return -1;
    }
    if (mkdir(path, 0700) != 0 && errno != EEXIST) {
        return fail(problem, path);
    }
    if (sync_names(node, NULL, problem) != 0 || exchange(node, "ledger", problem) != 0 ||
        exchange(node, "state", problem) != 0 ||
        move(node, (struct place){JOINED_NAME, OFFER_NAME}, (struct place){OLDER_NAME, OFFER_NAME},
             problem) != 0) {
        return -1;
    }
    return join_files_remove(node, JOINED_NAME, problem);
}

int join_files_carry_on(const struct node *node, struct problem *problem) {
    int const joined = exists(node, JOINED_NAME, NULL, problem);
    if (joined < 0 || join_files_remove(node, JOINING_NAME, problem) != 0) {
        return -1;
    }
    return joined == 1 ? install(node, problem) : 0;
}

/* ---- the offer ------------------------------------------------------------------------------- */

int join_files_load_offer(struct buffer *offer, const struct node *node, struct problem *problem) {
    char path[PATH_SIZE_MAX];
    int const here = exists(node, OLDER_NAME, OFFER_NAME, problem);
    if (here != 1) {
        return here;
    }
    if (join_files_path(path, node, OLDER_NAME, OFFER_NAME, problem) != 0 ||
        file_read(offer, path, FILE_PUBLIC, problem) != 0) {
        return -1;
    }
    return 1;
}
