/*
 * disk: see disk.h. Calls interrupted by a signal are made again, but for syncs: a sync that did
 * not succeed is never tried a second time (protocol §5).
 */
#include "host/disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h> /* renameat */
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/limits.h"

#define PARTS_MAX (2u * SEGMENT_WRITE_RECORDS_MAX)

static bool name_plain(const char *name) {
    return name[0] != '\0' && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 &&
           strchr(name, '/') == NULL;
}

static int disk_list(void *context, disk_visit *visit, void *argument) {
    const struct host_disk *const host = context;
    int const again = openat(host->directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (again < 0) {
        return -errno;
    }
    DIR *const stream = fdopendir(again);
    if (stream == NULL) {
        int const error = errno;
        (void)close(again);
        return -error;
    }
    int result = 0;
    for (;;) {
        errno = 0;
        const struct dirent *const item = readdir(stream);
        if (item == NULL) {
            result = -errno;
            break;
        }
        if (name_plain(item->d_name) && !visit(argument, item->d_name)) {
            break;
        }
    }
    (void)closedir(stream); /* nothing was written through it */
    return result;
}

static int open_flags(enum disk_mode mode) {
    switch (mode) {
    case DISK_READ:
        return O_RDONLY;
    case DISK_WRITE:
        return O_RDWR;
    case DISK_CREATE:
        return O_RDWR | O_CREAT | O_TRUNC;
    }
    return -1;
}

static int disk_open(void *context, const char *name, enum disk_mode mode) {
    const struct host_disk *const host = context;
    int const flags = open_flags(mode);
    if (!name_plain(name) || flags < 0) {
        return -EINVAL;
    }
    if (mode != DISK_READ && !host->writable) {
        return -EROFS;
    }
    int file = -1;
    do { /* a pipe or a device must not block us: it is opened, seen, and refused */
        file = openat(host->directory, name, flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    } while (file < 0 && errno == EINTR);
    if (file < 0) {
        return -errno;
    }
    struct stat status;
    int error = fstat(file, &status) != 0 ? errno : S_ISREG(status.st_mode) ? 0 : EINVAL;
    if (error == 0 && mode == DISK_CREATE && fchmod(file, 0600) != 0) {
        error = errno;
    }
    if (error != 0) {
        (void)close(file);
        return -error;
    }
    return file;
}

static void disk_close(void *context, int file) {
    (void)context;
    (void)close(file); /* what mattered was synced before; an error here says nothing more */
}

static int64_t disk_size(void *context, int file) {
    (void)context;
    struct stat status;
    return fstat(file, &status) != 0 ? -(int64_t)errno : (int64_t)status.st_size;
}

static int64_t disk_read_at(void *context, int file, void *out, size_t size, uint64_t offset) {
    (void)context;
    if (offset > INT64_MAX) {
        return -EINVAL;
    }
    ssize_t got = -1;
    do {
        got = pread(file, out, size, (off_t)offset);
    } while (got < 0 && errno == EINTR);
    return got < 0 ? -(int64_t)errno : (int64_t)got;
}

static int64_t disk_write_at(void *context, int file, const struct span *parts, unsigned part_count,
                             uint64_t offset) {
    (void)context;
    if (offset > INT64_MAX) {
        return -EINVAL;
    }
    struct iovec vector[PARTS_MAX];
    unsigned const count = part_count < PARTS_MAX ? part_count : PARTS_MAX;
    for (unsigned i = 0; i < count; i++) {
        /* struct iovec serves reading too, so it cannot say const. */
        vector[i].iov_base = (void *)(uintptr_t)parts[i].data;
        vector[i].iov_len = parts[i].size;
    }
    ssize_t wrote = -1;
    do {
        wrote = pwritev(file, vector, (int)count, (off_t)offset);
    } while (wrote < 0 && errno == EINTR);
    return wrote < 0 ? -(int64_t)errno : (int64_t)wrote;
}

static int disk_truncate(void *context, int file, uint64_t size) {
    (void)context;
    if (size > INT64_MAX) {
        return -EINVAL;
    }
    int result = -1;
    do {
        result = ftruncate(file, (off_t)size);
    } while (result != 0 && errno == EINTR);
    return result != 0 ? -errno : 0;
}

static int disk_sync(void *context, int file) {
    (void)context;
    return fdatasync(file) != 0 ? -errno : 0;
}

static int disk_sync_directory(void *context) {
    const struct host_disk *const host = context;
    return fsync(host->directory) != 0 ? -errno : 0;
}

static int disk_rename(void *context, const char *from, const char *to) {
    const struct host_disk *const host = context;
    if (!name_plain(from) || !name_plain(to)) {
        return -EINVAL;
    }
    if (!host->writable) {
        return -EROFS;
    }
    return renameat(host->directory, from, host->directory, to) != 0 ? -errno : 0;
}

static int disk_remove(void *context, const char *name) {
    const struct host_disk *const host = context;
    if (!name_plain(name)) {
        return -EINVAL;
    }
    if (!host->writable) {
        return -EROFS;
    }
    return unlinkat(host->directory, name, 0) != 0 ? -errno : 0;
}

static int disk_link_from(void *context, const struct disk *from, const char *name) {
    const struct host_disk *const host = context;
    if (from->link_from != disk_link_from) {
        return -EXDEV;
    }
    const struct host_disk *const other = from->context;
    if (!name_plain(name)) {
        return -EINVAL;
    }
    if (!host->writable || !other->writable) {
        return -EROFS;
    }
    return linkat(other->directory, name, host->directory, name, 0) != 0 ? -errno : 0;
}

/* ---- the directory ---- */

/* Make the directory, and its name in the one above it durable. */
static int directory_make(const char *path, struct problem *problem) {
    if (mkdir(path, 0700) != 0) {
        return errno == EEXIST
                   ? 0
                   : problem_set(problem, EXIT_ERROR, "%s: the directory cannot be made: %s", path,
                                 strerror(errno));
    }
    int const made = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int const above = made < 0 ? -1 : openat(made, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool const durable = above >= 0 && fsync(above) == 0;
    int const error = errno;
    if (above >= 0) {
        (void)close(above);
    }
    if (made >= 0) {
        (void)close(made);
    }
    return durable ? 0
                   : problem_set(problem, EXIT_ERROR, "%s: making the directory durable: %s", path,
                                 strerror(error));
}

static int directory_lock(const struct host_disk *host, struct problem *problem) {
    if (flock(host->directory, LOCK_EX | LOCK_NB) == 0) {
        return 0;
    }
    if (errno == EWOULDBLOCK) {
        return problem_set(problem, EXIT_ERROR,
                           "%s: in use by another process; stop it, or use another directory",
                           host->path);
    }
    return problem_set(problem, EXIT_ERROR, "%s: locking: %s", host->path, strerror(errno));
}

int host_disk_open(struct host_disk *host, const char *path, enum host_disk_access access,
                   struct problem *problem) {
    *host = (struct host_disk){
        .disk = {.context = host,
                 .list = disk_list,
                 .open = disk_open,
                 .close = disk_close,
                 .size = disk_size,
                 .read_at = disk_read_at,
                 .write_at = disk_write_at,
                 .truncate = disk_truncate,
                 .sync = disk_sync,
                 .sync_directory = disk_sync_directory,
                 .rename = disk_rename,
                 .remove = disk_remove,
                 .link_from = disk_link_from},
        .directory = -1,
        .writable = access == HOST_DISK_WRITE,
    };
    if (host->writable && directory_make(path, problem) != 0) {
        return -1;
    }
    host->path = strdup(path);
    if (host->path == NULL) {
        return problem_set(problem, EXIT_ERROR, "%s: out of memory", path);
    }
    host->disk.place = host->path;
    host->directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (host->directory < 0) {
        (void)problem_set(problem, EXIT_ERROR, "%s: the directory cannot be opened: %s", path,
                          strerror(errno));
        host_disk_close(host);
        return -1;
    }
    if (host->writable && directory_lock(host, problem) != 0) {
        host_disk_close(host);
        return -1;
    }
    return 0;
}

void host_disk_close(struct host_disk *host) {
    if (host->directory >= 0) {
        (void)close(host->directory); /* and with it the lock */
    }
    free(host->path);
    *host = (struct host_disk){.directory = -1};
}

int64_t disk_write_whole(const struct disk *disk, int file, struct span bytes, uint64_t offset) {
    while (bytes.size > 0) {
        int64_t const written = disk->write_at(disk->context, file, &bytes, 1, offset);
        if (written < 0) {
            return written;
        }
        bytes = span_of(bytes.data + written, bytes.size - (size_t)written);
        offset += (uint64_t)written;
    }
    return 0;
}
