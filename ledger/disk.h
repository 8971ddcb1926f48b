/*
 * disk: the few things the ledger asks of a directory of files, as a table of functions, so that a
 * test or the simulator can put a faulty disk under it. host/disk.h is the real one.
 *
 * Every function takes the table's context first. Results are 0 or more, or a negative errno value
 * (-ENOENT, -ENOSPC, -EIO, ...). Names are plain file names: no '/', neither "." nor "..". What was
 * written is durable after sync; a name that appeared, moved or went is durable after
 * sync_directory; until then either may be lost or come back. After a failed sync the content of a
 * file is unknown: nobody may sync it again and believe the answer.
 *
 * The functions must be safe to call from several threads on different file handles.
 */
#ifndef ONUS_LEDGER_DISK_H
#define ONUS_LEDGER_DISK_H

#include "base/bytes.h"

enum disk_mode {
    DISK_READ = 1, /* an existing file, to read */
    DISK_WRITE,    /* an existing file, to read and write */
    DISK_CREATE    /* an empty file, to read and write: made, or emptied if it exists */
};

/* Told each name in a directory; the text is valid during the call. Returns: false to stop. */
typedef bool disk_visit(void *argument, const char *name);

struct disk {
    void *context;
    const char *place; /* the directory, for messages */

    /* Visit the names of all files, in no particular order. */
    int (*list)(void *context, disk_visit *visit, void *argument);
    /* Returns: a file handle, which the caller closes. */
    int (*open)(void *context, const char *name, enum disk_mode mode);
    void (*close)(void *context, int file);
    /* Returns: the file's size in bytes. */
    int64_t (*size)(void *context, int file);
    /* Returns: how many bytes were read, possibly fewer than asked for; 0 at the end. */
    int64_t (*read_at)(void *context, int file, void *out, size_t size, uint64_t offset);
    /* Write the parts one after another. Returns: how many bytes were written, at least one. */
    int64_t (*write_at)(void *context, int file, const struct span *parts, unsigned part_count,
                        uint64_t offset);
    int (*truncate)(void *context, int file, uint64_t size);
    /* Make content and size of a file durable. */
    int (*sync)(void *context, int file);
    /* Make the directory's names durable. */
    int (*sync_directory)(void *context);
    /* Replaces `to` if it exists. */
    int (*rename)(void *context, const char *from, const char *to);
    int (*remove)(void *context, const char *name);
    /*
     * Give a file of another disk of the same kind and file system this directory's name too: a
     * hard link. -EEXIST when the name is here already, -EXDEV when the disks are too unlike.
     */
    int (*link_from)(void *context, const struct disk *from, const char *name);
};

#endif
