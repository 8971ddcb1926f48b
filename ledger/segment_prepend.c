/*
 * segment_prepend: older segments are put in front of a ledger that began later (protocol §7); see
 * segment.h.
 *
 * One file at a time, the last one first: it is linked into the ledger, the ledger's directory is
 * synced, its old name is removed, and the older directory is synced. Each step leaves a ledger
 * without a gap, and where the chain was cut off can be seen from the names alone: the last of the
 * older files either ends where the ledger begins, or is the file with which the ledger begins.
 *
 * Invariants: no name goes from the older directory before the same file is durable in the ledger.
 * Nothing of the writer is touched: names are all that this changes.
 */
#include <errno.h>
#include <inttypes.h>

#include "base/check.h"
#include "ledger/segment.h"
#include "ledger/segment_format.h"

/* Where to, where from, and what is in both. */
struct prepending {
    const struct disk *disk;
    const struct disk *older;
    const struct digest *service;
    struct segment_list older_list;
    struct segment_name first; /* with which the ledger begins */
};

int segment_first_index(uint64_t *index, const struct disk *disk, struct problem *problem) {
    struct segment_list list = {0};
    int result = segment_list_read(&list, disk, problem);
    if (result == 0 && list.count != 0) {
        *index = list.names[0].first;
        result = 1;
    }
    segment_list_free(&list);
    return result;
}

static int directory_sync(const struct disk *disk, struct problem *problem) {
    int const synced = disk->sync_directory(disk->context);
    return synced < 0 ? segment_problem_os(problem, disk, ".", "syncing the directory", synced) : 0;
}

/* Are both this one closed segment? */
static bool name_equal(const struct segment_name *a, const struct segment_name *b) {
    return !a->open && !b->open && a->first == b->first && a->last == b->last;
}

/* ---- one file ---- */

/* What comes into the ledger is a segment of this service. Out: size. */
static int file_check(uint64_t *size, const struct prepending *prepending,
                      const struct segment_name *name, struct problem *problem) {
    int file = -1;
    int const opened = segment_file_open(&file, size, prepending->older, name, DISK_READ,
                                         prepending->service, problem);
    if (opened == 1) {
        prepending->older->close(prepending->older->context, file);
        return 0;
    }
    if (opened == 0) {
        char text[SEGMENT_NAME_SIZE];
        segment_name_format(text, name);
        return segment_problem_os(problem, prepending->older, text, "opening", -ENOENT);
    }
    return -1;
}

static int file_link(const struct prepending *prepending, const struct segment_name *name,
                     struct segment_prepended *done, struct problem *problem) {
    const struct disk *const disk = prepending->disk;
    uint64_t size = 0;
    if (file_check(&size, prepending, name, problem) != 0) {
        return -1;
    }
    char text[SEGMENT_NAME_SIZE];
    segment_name_format(text, name);
    int const linked = disk->link_from(disk->context, prepending->older, text);
    if (linked < 0) {
        return segment_problem_os(problem, disk, text, "linking", linked);
    }
    done->size += size;
    return 0;
}

/* Only now that it is durable in the ledger it goes from where it was. */
static int file_release(const struct prepending *prepending, const struct segment_name *name,
                        struct problem *problem) {
    const struct disk *const older = prepending->older;
    if (directory_sync(prepending->disk, problem) != 0) {
        return -1;
    }
    char text[SEGMENT_NAME_SIZE];
    segment_name_format(text, name);
    int const removed = older->remove(older->context, text);
    if (removed < 0) {
        return segment_problem_os(problem, older, text, "removing", removed);
    }
    return directory_sync(older, problem);
}

static int file_move(struct prepending *prepending, const struct segment_name *name,
                     struct segment_prepended *done, struct problem *problem) {
    bool const moved = name_equal(name, &prepending->first);
    if (!moved && name->last + 1 != prepending->first.first) {
        return problem_set(
            problem, EXIT_CORRUPT, "%s: ends with entry %" PRIu64 ", but %s begins with %" PRIu64,
            prepending->older->place, name->last, prepending->disk->place, prepending->first.first);
    }
    if (!moved && file_link(prepending, name, done, problem) != 0) {
        return -1;
    }
    if (file_release(prepending, name, problem) != 0) {
        return -1;
    }
    prepending->first = *name;
    done->first_index = name->first;
    done->files++;
    return 0;
}

/* ---- all of them ---- */

static int ledger_look(struct prepending *prepending, struct segment_prepended *done,
                       struct problem *problem) {
    struct segment_list list = {0};
    int result = segment_list_read(&list, prepending->disk, problem);
    if (result == 0 && list.count == 0) {
        result = problem_set(problem, EXIT_CORRUPT,
                             "%s: there is no segment to put the entries of %s in front of",
                             prepending->disk->place, prepending->older->place);
    }
    if (result == 0) {
        prepending->first = list.names[0];
        done->first_index = list.names[0].first;
    }
    segment_list_free(&list);
    return result;
}

static int list_move(struct prepending *prepending, struct segment_prepended *done,
                     size_t files_max, struct problem *problem) {
    struct segment_list *const list = &prepending->older_list;
    if (segment_list_read(list, prepending->older, problem) != 0 ||
        ledger_look(prepending, done, problem) != 0) {
        return -1;
    }
    if (list->count != 0 && list->names[list->count - 1].open) {
        return problem_set(problem, EXIT_CORRUPT, "%s: the segment of entry %" PRIu64 " is open",
                           prepending->older->place, list->names[list->count - 1].first);
    }
    while (list->count != 0 && done->files < files_max) {
        if (file_move(prepending, &list->names[list->count - 1], done, problem) != 0) {
            return -1;
        }
        list->count--;
    }
    return list->count != 0;
}

int segment_prepend(struct segment_prepended *done, const struct disk *disk,
                    const struct disk *older, const struct digest *service, size_t files_max,
                    struct problem *problem) {
    CHECK(problem->code == EXIT_OK && files_max != 0 && disk != older);
    struct prepending prepending = {.disk = disk, .older = older, .service = service};
    *done = (struct segment_prepended){0};
    int const result = list_move(&prepending, done, files_max, problem);
    segment_list_free(&prepending.older_list);
    return result;
}

void segment_writer_grew(struct segment_writer *writer, const struct segment_prepended *done) {
    writer->total_size += done->size;
    if (done->first_index < writer->first_index) {
        writer->first_index = done->first_index;
    }
}
