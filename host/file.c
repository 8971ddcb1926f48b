/*
 * file: see file.h. Invariants: a temporary file never outlives the call that made it (unless the
 * machine stops), and the final name appears only after its content is on the disk.
 */
#include "host/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_STEP ((size_t)16 << 10)

static const char *remedy_of(int error) {
    if (error == ENOENT) {
        return "check the path";
    }
    if (error == EACCES || error == EPERM) {
        return "check its owner and mode, and those of its directory";
    }
    if (error == ENOSPC || error == EDQUOT) {
        return "free some space";
    }
    return "check the path and the disk";
}

static int failed(struct problem *problem, const char *verb, const char *path, int error) {
    return problem_set(problem, EXIT_ERROR, "%s %s: %s; %s", verb, path, strerror(error),
                       remedy_of(error));
}

static int check_guard(const struct stat *status, const char *path, enum file_guard guard,
                       struct problem *problem) {
    if (!S_ISREG(status->st_mode)) {
        return problem_set(problem, EXIT_ERROR, "%s: not a regular file; check the path", path);
    }
    if (guard == FILE_PUBLIC) {
        return 0;
    }
    if (status->st_uid != geteuid() && status->st_uid != 0) {
        return problem_set(problem, EXIT_ERROR,
                           "%s: holds a secret but belongs to user %lu; run: chown %lu %s", path,
                           (unsigned long)status->st_uid, (unsigned long)geteuid(), path);
    }
    mode_t const mode = status->st_mode & 07777;
    if (mode != 0600 && mode != 0400) {
        return problem_set(problem, EXIT_ERROR,
                           "%s: holds a secret but has mode %04o; run: chmod 600 %s", path,
                           (unsigned)mode, path);
    }
    return 0;
}

/* Read until the end. The size a file claims is not trusted: it may grow as we read. */
static int read_all(struct buffer *out, int fd, const char *path, struct problem *problem) {
    for (;;) {
        size_t const room = out->size_max - out->size;
        uint8_t probe;
        size_t const step = room < READ_STEP ? room : READ_STEP;
        uint8_t *const place = step == 0 ? &probe : buffer_extend(out, step);
        if (place == NULL) {
            return problem_set(problem, EXIT_ERROR, "read %s: out of memory", path);
        }
        ssize_t const size = read(fd, place, step == 0 ? 1 : step);
        out->size -= step;
        if (size < 0 && errno != EINTR) {
            return failed(problem, "read", path, errno);
        }
        if (size > 0 && step == 0) {
            return problem_set(problem, EXIT_ERROR,
                               "%s: larger than %zu bytes, the limit for this kind of file", path,
                               out->size_max);
        }
        if (size == 0) {
            return 0;
        }
        out->size += size < 0 ? 0 : (size_t)size;
    }
}

int file_read(struct buffer *out, const char *path, enum file_guard guard,
              struct problem *problem) {
    /* Without O_NONBLOCK, opening a FIFO would wait for a writer. */
    int const fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        return failed(problem, "open", path, errno);
    }
    struct stat status;
    int result = 0;
    if (fstat(fd, &status) != 0) {
        result = failed(problem, "stat", path, errno);
    }
    if (result == 0) {
        result = check_guard(&status, path, guard, problem);
    }
    if (result == 0) {
        result = read_all(out, fd, path, problem);
    }
    if (close(fd) != 0 && result == 0) {
        result = failed(problem, "close", path, errno);
    }
    return result;
}

int file_sync_directory_of(const char *path, struct problem *problem) {
    char directory[PATH_MAX];
    const char *const slash = strrchr(path, '/');
    size_t const size = slash == NULL ? 0 : (size_t)(slash - path);
    if (size >= sizeof directory) {
        return failed(problem, "open the directory of", path, ENAMETOOLONG);
    }
    memcpy(directory, path, size);
    directory[size] = '\0';
    const char *const name = slash == NULL ? "." : size == 0 ? "/" : directory;
    int const fd = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return failed(problem, "open directory", name, errno);
    }
    int result = 0;
    if (fsync(fd) != 0) {
        result = failed(problem, "sync directory", name, errno);
    }
    if (close(fd) != 0 && result == 0) {
        result = failed(problem, "close directory", name, errno);
    }
    return result;
}

/* Returns: 0 or the error number. */
static int fill(int fd, struct span content, mode_t mode) {
    if (fchmod(fd, mode) != 0) {
        return errno;
    }
    size_t done = 0;
    while (done < content.size) {
        ssize_t const size = write(fd, content.data + done, content.size - done);
        if (size < 0 && errno != EINTR) {
            return errno;
        }
        done += size < 0 ? 0 : (size_t)size;
    }
    return fsync(fd) == 0 ? 0 : errno;
}

/* Give the finished temporary file its name. Returns: 0 or the error number. */
static int publish(const char *temporary, const char *path, enum file_existing existing) {
    switch (existing) {
    case FILE_REPLACE:
        return rename(temporary, path) == 0 ? 0 : errno;
    case FILE_KEEP:
        /* Unlike rename, link never replaces; the temporary name is removed afterwards. */
        if (link(temporary, path) != 0) {
            return errno;
        }
        return unlink(temporary) == 0 ? 0 : errno;
    }
    return EINVAL;
}

int file_write(const char *path, struct span content, mode_t mode, enum file_existing existing,
               struct problem *problem) {
    char temporary[PATH_MAX];
    int const size = snprintf(temporary, sizeof temporary, "%s.tmp-XXXXXX", path);
    if (size < 0 || (size_t)size >= sizeof temporary) {
        return failed(problem, "write", path, ENAMETOOLONG);
    }
    int const fd = mkostemp(temporary, O_CLOEXEC);
    if (fd < 0) {
        return failed(problem, "write", path, errno);
    }
    int error = fill(fd, content, mode);
    if (close(fd) != 0 && error == 0) {
        error = errno;
    }
    if (error == 0) {
        error = publish(temporary, path, existing);
    }
    if (error == 0) {
        return file_sync_directory_of(path, problem);
    }
    (void)unlink(temporary); /* the first error is the one to tell */
    if (error == EEXIST) {
        return problem_set(problem, EXIT_ERROR,
                           "%s: exists already; choose another name, or move it away", path);
    }
    return failed(problem, "write", path, error);
}

void file_wipe(struct buffer *buffer) {
    if (buffer->data != NULL) {
        sodium_memzero(buffer->data, buffer->capacity);
    }
    buffer_free(buffer);
}
