/*
 * disk: ledger/disk.h over one real directory. Every name is taken relative to the directory's
 * descriptor, must be a plain file name and must name a regular file, so nothing outside of the
 * directory is reached. Files have mode 0600, the directory 0700.
 */
#ifndef ONUS_HOST_DISK_H
#define ONUS_HOST_DISK_H

#include "base/problem.h"
#include "ledger/disk.h"

enum host_disk_access {
    HOST_DISK_READ = 1, /* never changes anything: for auditors and look-ups */
    HOST_DISK_WRITE     /* makes the directory if it is absent, and locks it for this process */
};

struct host_disk {
    struct disk disk; /* what segment readers and writers are given */
    char *path;
    int directory;
    bool writable;
};

/*
 * Open a directory. The host_disk must not move while its table is in use.
 * Returns: 0, or -1 on a problem: it cannot be opened, or another process holds its lock.
 */
MUST_USE int host_disk_open(struct host_disk *host, const char *path, enum host_disk_access access,
                            struct problem *problem);
void host_disk_close(struct host_disk *host);

/* Write all of it, to any disk. Returns: 0, or a negative errno. */
MUST_USE int64_t disk_write_whole(const struct disk *disk, int file, struct span bytes,
                                  uint64_t offset);

#endif
