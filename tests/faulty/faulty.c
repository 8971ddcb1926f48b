/*
 * faulty: a disk that fails when it is told to. Loaded into a program by LD_PRELOAD, it stands
 * before the calls by which files are changed and made durable, and answers some of them with the
 * errors of a real disk. Only what lies below one directory is touched, so that links, logs and
 * keys go on working.
 *
 *   ONUS_FAULTY_DIRECTORY  absolute path of the directory
 *   ONUS_FAULTY_CONTROL    path of the file with the faults; it may come, change and go at any time
 *
 * The file holds one fault a line; to change it, write it anew and rename it into its place:
 *
 *   space N           N more bytes can be written, then there is no space: ENOSPC
 *   writes-fail       nothing can be written, cut, renamed or removed: EIO
 *   syncs-fail        nothing can be made durable: EIO
 *   reads-fail        nothing can be read: EIO
 *   sync-takes-ms N   a sync takes so much longer
 *   only TEXT         all of this holds only for paths that contain TEXT
 *
 * Invariants: without faults every call does what it always did; a write beyond the space writes
 * what fits, as disks do, and only the next one fails; an error is reported before anything was
 * done. Whatever reads or writes through a memory map is out of reach.
 */
/* Each name is defined here for itself; the plain ones must not be renamed to the wide ones. */
#undef _FILE_OFFSET_BITS

#include <assert.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define CONTROL_SIZE_MAX 4096u
#define SYNC_MS_MAX 60000u
#define EXPORTED __attribute__((visibility("default")))

static_assert(sizeof(off_t) == sizeof(off64_t), "plain and wide calls are the same on this system");

struct faults {
    bool space_limited;
    uint64_t space;
    bool writes_fail;
    bool syncs_fail;
    bool reads_fail;
    uint64_t sync_ms;
    char only[PATH_MAX];
};

/* The calls that this library stands before. */
static struct {
    ssize_t (*read)(int, void *, size_t);
    ssize_t (*pread)(int, void *, size_t, off_t);
    ssize_t (*write)(int, const void *, size_t);
    ssize_t (*pwrite)(int, const void *, size_t, off_t);
    ssize_t (*writev)(int, const struct iovec *, int);
    ssize_t (*pwritev)(int, const struct iovec *, int, off_t);
    int (*fsync)(int);
    int (*fdatasync)(int);
    int (*msync)(void *, size_t, int);
    int (*ftruncate)(int, off_t);
    int (*open)(const char *, int, ...);
    int (*openat)(int, const char *, int, ...);
    int (*rename)(const char *, const char *);
    int (*renameat)(int, const char *, int, const char *);
    int (*link)(const char *, const char *);
    int (*unlink)(const char *);
    int (*unlinkat)(int, const char *, int);
} real;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct faults faults;     /* under the lock */
static struct stat control_seen; /* under the lock: the file that they were read from */
static char directory[PATH_MAX]; /* empty: nothing is touched */
static char control[PATH_MAX];

/* ---- the faults ------------------------------------------------------------------------------ */

static void take_line(struct faults *out, const char *line) {
    char word[32];
    char argument[PATH_MAX];
    int const count = sscanf(line, "%31s %4095s", word, argument);
    uint64_t const number = count == 2 ? strtoull(argument, NULL, 10) : 0;
    if (count == 2 && strcmp(word, "space") == 0) {
        out->space_limited = true;
        out->space = number;
    } else if (count == 2 && strcmp(word, "sync-takes-ms") == 0) {
        out->sync_ms = number < SYNC_MS_MAX ? number : SYNC_MS_MAX;
    } else if (count == 2 && strcmp(word, "only") == 0) {
        memcpy(out->only, argument, sizeof argument);
    } else if (count == 1 && strcmp(word, "writes-fail") == 0) {
        out->writes_fail = true;
    } else if (count == 1 && strcmp(word, "syncs-fail") == 0) {
        out->syncs_fail = true;
    } else if (count == 1 && strcmp(word, "reads-fail") == 0) {
        out->reads_fail = true;
    } else if (count > 0) {
        (void)fprintf(stderr, "faulty: %s: unknown fault: %s\n", control, line);
        abort(); /* a test with a fault that does not strike proves nothing */
    }
}

static void read_control(struct faults *out) {
    char text[CONTROL_SIZE_MAX + 1];
    int const file = real.open(control, O_RDONLY | O_CLOEXEC);
    ssize_t const size = file < 0 ? 0 : real.read(file, text, CONTROL_SIZE_MAX);
    if (file >= 0) {
        (void)close(file);
    }
    text[size < 0 ? 0 : size] = '\0';
    char *rest = NULL;
    for (char *line = strtok_r(text, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        take_line(out, line);
    }
}

/* Under the lock: have the file's faults, as it is now. */
static void refresh(void) {
    struct stat now = {0};
    if (stat(control, &now) != 0) {
        now = (struct stat){0};
    }
    if (now.st_ino != control_seen.st_ino || now.st_size != control_seen.st_size ||
        now.st_mtim.tv_sec != control_seen.st_mtim.tv_sec ||
        now.st_mtim.tv_nsec != control_seen.st_mtim.tv_nsec) {
        control_seen = now;
        faults = (struct faults){.space_limited = false};
        read_control(&faults);
    }
}

/* Is this path below the directory, and meant by the faults? Under the lock. */
static bool is_meant(const char *path) {
    size_t const size = strlen(directory);
    return strncmp(path, directory, size) == 0 && (path[size] == '/' || path[size] == '\0') &&
           strstr(path, faults.only) != NULL;
}

/* The absolute path of an open file; false: it has none. */
static bool path_of(char out[static PATH_MAX], int file) {
    char name[64];
    (void)snprintf(name, sizeof name, "/proc/self/fd/%d", file);
    ssize_t const size = readlink(name, out, PATH_MAX - 1);
    out[size < 0 ? 0 : size] = '\0';
    return out[0] == '/';
}

/* The absolute path of a name as the *at calls take it; false: there is none. */
static bool path_at(char out[static PATH_MAX], int above, const char *name) {
    char base[PATH_MAX] = "";
    if (name[0] != '/' &&
        (above == AT_FDCWD ? getcwd(base, sizeof base) == NULL : !path_of(base, above))) {
        return false;
    }
    int const size = name[0] == '/' ? snprintf(out, PATH_MAX, "%s", name)
                                    : snprintf(out, PATH_MAX, "%s/%s", base, name);
    return size > 0 && size < PATH_MAX;
}

/* The faults that hold for a path; none for most. With the lock held until the caller is done. */
static struct faults faults_begin(const char *path) {
    (void)pthread_mutex_lock(&lock);
    refresh();
    return is_meant(path) ? faults : (struct faults){.space_limited = false};
}

static void faults_end(void) {
    (void)pthread_mutex_unlock(&lock);
}

static struct faults faults_of(int file) {
    char path[PATH_MAX];
    int const error = errno;
    struct faults found = {.space_limited = false};
    if (directory[0] != '\0' && path_of(path, file)) {
        found = faults_begin(path);
        faults_end();
    }
    errno = error;
    return found;
}

/*
 * How much of a write may be done: up to `size`, which may be 0 when the disk is full, and is taken
 * from the space. Returns: -1: none, and errno says why.
 */
static ssize_t claim(int file, size_t size) {
    char path[PATH_MAX];
    if (directory[0] == '\0' || size == 0 || !path_of(path, file)) {
        return (ssize_t)size;
    }
    struct faults const found = faults_begin(path);
    size_t const fits = found.space_limited && found.space < size ? (size_t)found.space : size;
    if (found.space_limited) {
        faults.space -= fits;
    }
    faults_end();
    if (found.writes_fail || fits == 0) {
        errno = found.writes_fail ? EIO : ENOSPC;
        return -1;
    }
    return (ssize_t)fits;
}

/* May a file that is not there yet be made, or a name be changed? False: errno says why. */
static bool allows(int above, const char *name, bool makes) {
    char path[PATH_MAX];
    struct stat status;
    if (directory[0] == '\0' || !path_at(path, above, name) ||
        (makes && stat(path, &status) == 0)) {
        return true;
    }
    struct faults const found = faults_begin(path);
    faults_end();
    bool const full = makes && found.space_limited && found.space == 0;
    errno = found.writes_fail ? EIO : full ? ENOSPC : errno;
    return !found.writes_fail && !full;
}

/* ---- start ----------------------------------------------------------------------------------- */

/* Find the next library's function of this name. */
static void find(void *out, const char *name) {
    void *const found = dlsym(RTLD_NEXT, name);
    if (found == NULL) {
        (void)fprintf(stderr, "faulty: no function %s\n", name);
        abort();
    }
    memcpy(out, &found, sizeof found);
}

__attribute__((constructor)) static void start(void) {
    const char *const below = getenv("ONUS_FAULTY_DIRECTORY");
    const char *const faults_at = getenv("ONUS_FAULTY_CONTROL");
    find(&real.read, "read");
    find(&real.pread, "pread");
    find(&real.write, "write");
    find(&real.pwrite, "pwrite");
    find(&real.writev, "writev");
    find(&real.pwritev, "pwritev");
    find(&real.fsync, "fsync");
    find(&real.fdatasync, "fdatasync");
    find(&real.msync, "msync");
    find(&real.ftruncate, "ftruncate");
    find(&real.open, "open");
    find(&real.openat, "openat");
    find(&real.rename, "rename");
    find(&real.renameat, "renameat");
    find(&real.link, "link");
    find(&real.unlink, "unlink");
    find(&real.unlinkat, "unlinkat");
    if (below != NULL && faults_at != NULL) {
        (void)snprintf(control, sizeof control, "%s", faults_at);
        (void)snprintf(directory, sizeof directory, "%s", below);
    }
}

/* NOLINTBEGIN(readability-inconsistent-declaration-parameter-name): names of ours, not libc's */

/* ---- reading --------------------------------------------------------------------------------- */

EXPORTED ssize_t read(int file, void *out, size_t size) {
    if (faults_of(file).reads_fail) {
        errno = EIO;
        return -1;
    }
    return real.read(file, out, size);
}

EXPORTED ssize_t pread(int file, void *out, size_t size, off_t offset) {
    if (faults_of(file).reads_fail) {
        errno = EIO;
        return -1;
    }
    return real.pread(file, out, size, offset);
}

EXPORTED ssize_t pread64(int file, void *out, size_t size, off64_t offset) {
    return pread(file, out, size, offset);
}

/* ---- writing --------------------------------------------------------------------------------- */

EXPORTED ssize_t write(int file, const void *data, size_t size) {
    ssize_t const fits = claim(file, size);
    return fits < 0 ? -1 : real.write(file, data, (size_t)fits);
}

EXPORTED ssize_t pwrite(int file, const void *data, size_t size, off_t offset) {
    ssize_t const fits = claim(file, size);
    return fits < 0 ? -1 : real.pwrite(file, data, (size_t)fits, offset);
}

EXPORTED ssize_t pwrite64(int file, const void *data, size_t size, off64_t offset) {
    return pwrite(file, data, size, offset);
}

/* The parts that fit, the last of them shortened. Returns: how many. */
static int shorten(struct iovec out[static IOV_MAX], const struct iovec *parts, int count,
                   size_t fits) {
    int kept = 0;
    while (kept < count && kept < IOV_MAX && fits != 0) {
        out[kept] = parts[kept];
        out[kept].iov_len = parts[kept].iov_len < fits ? parts[kept].iov_len : fits;
        fits -= out[kept].iov_len;
        kept++;
    }
    return kept;
}

static size_t size_of(const struct iovec *parts, int count) {
    size_t size = 0;
    for (int i = 0; i < count; i++) {
        size += parts[i].iov_len;
    }
    return size;
}

EXPORTED ssize_t writev(int file, const struct iovec *parts, int count) {
    struct iovec shortened[IOV_MAX];
    ssize_t const fits = claim(file, size_of(parts, count));
    if (fits < 0) {
        return -1;
    }
    return real.writev(file, shortened, shorten(shortened, parts, count, (size_t)fits));
}

EXPORTED ssize_t pwritev(int file, const struct iovec *parts, int count, off_t offset) {
    struct iovec shortened[IOV_MAX];
    ssize_t const fits = claim(file, size_of(parts, count));
    if (fits < 0) {
        return -1;
    }
    return real.pwritev(file, shortened, shorten(shortened, parts, count, (size_t)fits), offset);
}

EXPORTED ssize_t pwritev64(int file, const struct iovec *parts, int count, off64_t offset) {
    return pwritev(file, parts, count, offset);
}

EXPORTED int ftruncate(int file, off_t size) {
    if (faults_of(file).writes_fail) {
        errno = EIO;
        return -1;
    }
    return real.ftruncate(file, size);
}

EXPORTED int ftruncate64(int file, off64_t size) {
    return ftruncate(file, size);
}

/* ---- syncing --------------------------------------------------------------------------------- */

/* Returns: whether the sync may be done, after the time that it takes; false: errno says why. */
static bool sync_allowed(struct faults found) {
    if (found.sync_ms != 0) {
        struct timespec const pause = {.tv_sec = (time_t)(found.sync_ms / 1000),
                                       .tv_nsec = (long)(found.sync_ms % 1000) * 1000000};
        (void)nanosleep(&pause, NULL);
    }
    if (found.syncs_fail) {
        errno = EIO;
    }
    return !found.syncs_fail;
}

EXPORTED int fsync(int file) {
    return sync_allowed(faults_of(file)) ? real.fsync(file) : -1;
}

EXPORTED int fdatasync(int file) {
    return sync_allowed(faults_of(file)) ? real.fdatasync(file) : -1;
}

/* Which file a map is of is not asked: in these programs maps are of the directory's files. */
EXPORTED int msync(void *address, size_t size, int flags) {
    struct faults found = {.space_limited = false};
    if (directory[0] != '\0') {
        found = faults_begin(directory);
        faults_end();
    }
    return sync_allowed(found) ? real.msync(address, size, flags) : -1;
}

/* ---- names ----------------------------------------------------------------------------------- */

/* The mode, which comes with some flags only. */
static mode_t mode_argument(int flags, va_list arguments) {
    bool const present = (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE;
    return present ? va_arg(arguments, mode_t) : 0;
}

static int open_checked(int above, const char *name, int flags, mode_t mode) {
    if ((flags & O_CREAT) != 0 && !allows(above, name, true)) {
        return -1;
    }
    return real.openat(above, name, flags, mode);
}

EXPORTED int open(const char *name, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    mode_t const mode = mode_argument(flags, arguments);
    va_end(arguments);
    return open_checked(AT_FDCWD, name, flags, mode);
}

EXPORTED int open64(const char *name, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    mode_t const mode = mode_argument(flags, arguments);
    va_end(arguments);
    return open_checked(AT_FDCWD, name, flags | O_LARGEFILE, mode);
}

EXPORTED int openat(int above, const char *name, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    mode_t const mode = mode_argument(flags, arguments);
    va_end(arguments);
    return open_checked(above, name, flags, mode);
}

EXPORTED int openat64(int above, const char *name, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    mode_t const mode = mode_argument(flags, arguments);
    va_end(arguments);
    return open_checked(above, name, flags | O_LARGEFILE, mode);
}

EXPORTED int rename(const char *from, const char *to) {
    return allows(AT_FDCWD, to, false) ? real.rename(from, to) : -1;
}

EXPORTED int renameat(int from_above, const char *from, int to_above, const char *to) {
    return allows(to_above, to, false) ? real.renameat(from_above, from, to_above, to) : -1;
}

EXPORTED int link(const char *from, const char *to) {
    return allows(AT_FDCWD, to, true) ? real.link(from, to) : -1;
}

EXPORTED int unlink(const char *name) {
    return allows(AT_FDCWD, name, false) ? real.unlink(name) : -1;
}

EXPORTED int unlinkat(int above, const char *name, int flags) {
    return allows(above, name, false) ? real.unlinkat(above, name, flags) : -1;
}

/* NOLINTEND(readability-inconsistent-declaration-parameter-name) */
