/*
 * file: small files, whole: read with a limit, written so that a crash leaves the old content or
 * the new and nothing between. Problems name the path and the remedy.
 *
 * All functions return 0, or -1 with the problem filled in.
 */
#ifndef ONUS_HOST_FILE_H
#define ONUS_HOST_FILE_H

#include <sys/types.h>

#include "base/bytes.h"
#include "base/problem.h"

enum file_guard {
    FILE_PUBLIC,
    /* Holds a secret: must belong to us or to root, and be closed to group and others. */
    FILE_PRIVATE
};

enum file_existing {
    FILE_REPLACE, /* an older file of this name gives way, atomically */
    FILE_KEEP     /* a problem if there is one already */
};

/*
 * Append a regular file's content to `out`, whose size_max is the limit. A symbolic link is
 * followed; guard and type are checked on what was opened, so nothing can be swapped in between.
 * The caller frees (and for secrets wipes, file_wipe) the buffer, also after a problem.
 */
MUST_USE int file_read(struct buffer *out, const char *path, enum file_guard guard,
                       struct problem *problem);

/*
 * Write a file and make it durable: temporary file in the same directory, sync, then rename (or
 * link), then sync of the directory. `mode` is exact, whatever the umask.
 */
MUST_USE int file_write(const char *path, struct span content, mode_t mode,
                        enum file_existing existing, struct problem *problem);

/* Make the names in a directory durable. */
MUST_USE int file_sync_directory_of(const char *path, struct problem *problem);

/* Overwrite a buffer that held a secret, then free it. */
void file_wipe(struct buffer *buffer);

#endif
