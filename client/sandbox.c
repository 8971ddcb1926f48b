/*
 * sandbox: see sandbox.h. This file: the processes.
 *
 * A process is only ever signalled by the number in a pid file, and only while /proc shows that it
 * is an onusd with this sandbox's configuration: numbers are reused, names prove nothing.
 */
#include "client/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "host/clock.h"
#include "host/file.h"

#define POLL_MS 50u
#define LOG_TAIL_SIZE 600u
#define COMMAND_LINE_SIZE (2u * PATH_MAX)

static void sleep_ms(uint32_t milliseconds) {
    struct timespec const pause = {.tv_sec = milliseconds / 1000,
                                   .tv_nsec = (long)(milliseconds % 1000) * 1000000};
    (void)nanosleep(&pause, NULL); /* waking early only polls once more */
}

/* DIR/replica-<i>/name; path: PATH_MAX characters. */
static void replica_path(const struct sandbox *sandbox, char *path, uint32_t replica,
                         const char *name) {
    int const size =
        snprintf(path, PATH_MAX, "%s/replica-%u/%s", sandbox->directory, replica, name);
    CHECK(size > 0 && size < PATH_MAX);
}

void sandbox_context_path(const struct sandbox *sandbox, char *path) {
    int const size = snprintf(path, PATH_MAX, "%s/context", sandbox->directory);
    CHECK(size > 0 && size < PATH_MAX);
}

/* ---- finding --------------------------------------------------------------------------------- */

bool sandbox_exists(const char *directory) {
    char path[PATH_MAX];
    int const size = snprintf(path, sizeof path, "%s/genesis.onus", directory);
    return size > 0 && (size_t)size < sizeof path && access(path, F_OK) == 0;
}

/* DIRECTORY-OF(file)/relative, if it can be executed. */
static bool find_beside(char *out, const char *file, const char *relative) {
    const char *const slash = strrchr(file, '/');
    if (slash == NULL) {
        return false;
    }
    int const size = snprintf(out, PATH_MAX, "%.*s/%s", (int)(slash - file), file, relative);
    return size > 0 && size < PATH_MAX && access(out, X_OK) == 0;
}

static bool find_in_path(char *out) {
    const char *at = getenv("PATH");
    while (at != NULL && *at != '\0') {
        size_t const size = strcspn(at, ":");
        int const written = snprintf(out, PATH_MAX, "%.*s/onusd", (int)size, at);
        if (written > 0 && written < PATH_MAX && access(out, X_OK) == 0) {
            return true;
        }
        at += size + (at[size] == ':' ? 1 : 0);
    }
    return false;
}

static int find_onusd(char *out, const char *program, struct problem *problem) {
    char self[PATH_MAX];
    ssize_t const size = readlink("/proc/self/exe", self, sizeof self - 1);
    self[size > 0 ? size : 0] = '\0';
    if (find_beside(out, program, "onusd") || find_beside(out, self, "onusd") ||
        find_beside(out, self, "../node/onusd") || find_in_path(out)) {
        return 0;
    }
    return problem_set(problem, EXIT_ERROR,
                       "onusd is neither beside onus nor in PATH; build or install it");
}

int sandbox_open(struct sandbox *sandbox, const char *directory, const char *program,
                 struct problem *problem) {
    char path[PATH_MAX];
    if (!sandbox_exists(directory)) {
        return problem_set(problem, EXIT_ERROR, "%s: no sandbox; onus sandbox up makes one",
                           directory);
    }
    if (realpath(directory, path) == NULL || strlen(path) >= sizeof sandbox->directory - NAME_MAX) {
        return problem_set(problem, EXIT_ERROR, "%s: the path cannot be used", directory);
    }
    (void)snprintf(sandbox->directory, sizeof sandbox->directory, "%.*s",
                   (int)sizeof sandbox->directory - 1, path);
    sandbox->count = 0;
    for (uint32_t r = 0; r < REPLICAS_MAX; r++) {
        replica_path(sandbox, path, r, "replica.yaml");
        sandbox->count += access(path, F_OK) == 0 ? 1 : 0;
    }
    return find_onusd(sandbox->onusd, program, problem);
}

/* ---- processes ------------------------------------------------------------------------------- */

static bool read_small(const char *path, char *out, size_t size, size_t *used) {
    int const file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) {
        return false;
    }
    ssize_t const got = read(file, out, size - 1);
    (void)close(file); /* only read from */
    *used = got > 0 ? (size_t)got : 0;
    out[*used] = '\0';
    return got > 0;
}

/* Is this process an onusd that was started with this configuration? */
static bool is_onusd(pid_t pid, const char *config) {
    char path[64];
    char line[COMMAND_LINE_SIZE];
    size_t size;
    (void)snprintf(path, sizeof path, "/proc/%d/cmdline", (int)pid);
    if (!read_small(path, line, sizeof line, &size)) {
        return false; /* gone, or a zombie */
    }
    const char *const slash = strrchr(line, '/');
    if (strcmp(slash == NULL ? line : slash + 1, "onusd") != 0) {
        return false;
    }
    for (size_t at = 0; at < size; at += strlen(line + at) + 1) {
        if (strcmp(line + at, config) == 0) {
            return true;
        }
    }
    return false;
}

pid_t sandbox_process(const struct sandbox *sandbox, uint32_t replica) {
    char path[PATH_MAX];
    char text[32];
    size_t size;
    uint64_t pid;
    replica_path(sandbox, path, replica, "pid");
    if (!read_small(path, text, sizeof text, &size)) {
        return 0;
    }
    text[strcspn(text, "\n")] = '\0';
    replica_path(sandbox, path, replica, "replica.yaml");
    return command_number(text, 2, INT_MAX, &pid) && is_onusd((pid_t)pid, path) ? (pid_t)pid : 0;
}

/* Start onusd, or onusd --init, with its output appended to the replica's log. */
static int spawn(const struct sandbox *sandbox, uint32_t replica, bool init, pid_t *pid,
                 struct problem *problem) {
    char program[PATH_MAX];
    char config_option[] = "--config";
    char init_option[] = "--init";
    char config[PATH_MAX];
    char log[PATH_MAX];
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    sigset_t none;
    replica_path(sandbox, config, replica, "replica.yaml");
    replica_path(sandbox, log, replica, "onusd.log");
    (void)snprintf(program, sizeof program, "%s", sandbox->onusd);
    char *argv[] = {program, config_option, config, init ? init_option : NULL, NULL};
    CHECK(sigemptyset(&none) == 0);
    CHECK(posix_spawn_file_actions_init(&files) == 0 && posix_spawnattr_init(&attributes) == 0);
    /* A session of its own: a key pressed in our terminal does not reach it. */
    CHECK(posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK) == 0);
    CHECK(posix_spawnattr_setsigmask(&attributes, &none) == 0);
    CHECK(posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0) == 0);
    CHECK(posix_spawn_file_actions_addopen(&files, 1, log, O_WRONLY | O_CREAT | O_APPEND, 0644) ==
          0);
    CHECK(posix_spawn_file_actions_adddup2(&files, 1, 2) == 0);
    int const error = posix_spawn(pid, sandbox->onusd, &files, &attributes, argv, environ);
    CHECK(posix_spawn_file_actions_destroy(&files) == 0);
    CHECK(posix_spawnattr_destroy(&attributes) == 0);
    if (error != 0) {
        return problem_set(problem, EXIT_ERROR, "%s: %s", sandbox->onusd, strerror(error));
    }
    return 0;
}

/* The last line of a replica's log, for people. */
static void log_tail(const struct sandbox *sandbox, uint32_t replica, char *out, size_t size) {
    char path[PATH_MAX];
    char text[LOG_TAIL_SIZE];
    struct stat about;
    out[0] = '\0';
    replica_path(sandbox, path, replica, "onusd.log");
    int const file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0 || fstat(file, &about) != 0) {
        return;
    }
    off_t const from =
        about.st_size > (off_t)sizeof text - 1 ? about.st_size - (off_t)sizeof text + 1 : 0;
    ssize_t const got = pread(file, text, sizeof text - 1, from);
    (void)close(file); /* only read from */
    size_t used = got > 0 ? (size_t)got : 0;
    while (used > 0 && text[used - 1] == '\n') {
        used--;
    }
    text[used] = '\0';
    const char *const newline = strrchr(text, '\n');
    (void)snprintf(out, size, "%s", newline == NULL ? text : newline + 1);
}

static int explain_end(const struct sandbox *sandbox, uint32_t replica, const char *when,
                       struct problem *problem) {
    char line[LOG_TAIL_SIZE];
    log_tail(sandbox, replica, line, sizeof line);
    return problem_set(problem, EXIT_ERROR, "replica %u ended %s: %s", replica, when,
                       line[0] != '\0' ? line : "it says nothing; see its onusd.log");
}

static int prepare_data(const struct sandbox *sandbox, uint32_t replica, struct problem *problem) {
    char path[PATH_MAX];
    pid_t pid;
    int ended = 0;
    replica_path(sandbox, path, replica, "founded");
    if (access(path, F_OK) == 0) {
        return 0; /* only once: whoever lost its data must not forget what it signed (§5) */
    }
    if (spawn(sandbox, replica, true, &pid, problem) != 0) {
        return -1;
    }
    while (waitpid(pid, &ended, 0) < 0) {
        if (errno != EINTR) {
            return problem_set(problem, EXIT_ERROR, "waiting for onusd --init: %s",
                               strerror(errno));
        }
    }
    return WIFEXITED(ended) && WEXITSTATUS(ended) == 0
               ? file_write(path, span_text("data was made\n"), 0644, FILE_REPLACE, problem)
               : explain_end(sandbox, replica, "while it made its data directory", problem);
}

static int start_one(const struct sandbox *sandbox, uint32_t replica, struct problem *problem) {
    char path[PATH_MAX];
    char text[32];
    pid_t pid;
    if (sandbox_process(sandbox, replica) != 0) {
        return 0;
    }
    if (prepare_data(sandbox, replica, problem) != 0 ||
        spawn(sandbox, replica, false, &pid, problem) != 0) {
        return -1;
    }
    int const size = snprintf(text, sizeof text, "%d\n", (int)pid);
    replica_path(sandbox, path, replica, "pid");
    return file_write(path, span_of(text, (size_t)size), 0644, FILE_REPLACE, problem);
}

int sandbox_start(const struct sandbox *sandbox, struct problem *problem) {
    for (uint32_t r = 0; r < sandbox->count; r++) {
        if (start_one(sandbox, r, problem) != 0) {
            return -1;
        }
    }
    return 0;
}

/* ---- waiting --------------------------------------------------------------------------------- */

struct waiting {
    const struct sandbox *sandbox;
    struct onus *onus;
    uint32_t ended; /* a replica whose process is gone; count: none */
};

static bool all_answer(void *context) {
    struct waiting *const waiting = context;
    bool all = true;
    for (uint32_t r = 0; r < waiting->sandbox->count; r++) {
        all = all && onus_replica(waiting->onus, r).status != NULL;
    }
    return all;
}

static bool wait_for_answers(struct waiting *waiting) {
    uint64_t const end_ms = clock_monotonic_ms() + SANDBOX_START_MS_MAX;
    while (clock_monotonic_ms() < end_ms) {
        if (onus_run_until(waiting->onus, all_answer, waiting, 4 * POLL_MS)) {
            return true;
        }
        for (uint32_t r = 0; r < waiting->sandbox->count; r++) {
            if (sandbox_process(waiting->sandbox, r) == 0) {
                waiting->ended = r;
                return false;
            }
        }
        onus_query_status(waiting->onus);
    }
    return false;
}

int sandbox_wait(const struct sandbox *sandbox, struct problem *problem) {
    char path[PATH_MAX];
    struct client *const client = calloc(1, sizeof *client);
    if (client == NULL) {
        return problem_set(problem, EXIT_ERROR, "out of memory");
    }
    sandbox_context_path(sandbox, path);
    struct globals const globals = {.context = path, .quiet = true};
    struct waiting waiting = {.sandbox = sandbox, .ended = sandbox->count};
    int status = client_open(client, &globals, true, problem);
    if (status == 0) {
        waiting.onus = client->onus;
        if (!wait_for_answers(&waiting)) {
            status = waiting.ended != sandbox->count
                         ? explain_end(sandbox, waiting.ended, "at its start", problem)
                         : problem_set(problem, EXIT_UNREACHABLE,
                                       "not all replicas answer after %u s; see %s/replica-*/"
                                       "onusd.log",
                                       SANDBOX_START_MS_MAX / 1000, sandbox->directory);
        }
    }
    if (client_close(client, problem) != 0) {
        status = -1;
    }
    free(client);
    return status;
}

/* ---- stopping -------------------------------------------------------------------------------- */

int sandbox_stop(const struct sandbox *sandbox, struct problem *problem) {
    for (uint32_t r = 0; r < sandbox->count; r++) {
        pid_t const pid = sandbox_process(sandbox, r);
        if (pid != 0 && kill(pid, SIGTERM) != 0 && errno != ESRCH) {
            return problem_set(problem, EXIT_ERROR, "replica %u, process %d: %s", r, (int)pid,
                               strerror(errno));
        }
    }
    uint64_t const end_ms = clock_monotonic_ms() + SANDBOX_STOP_MS_MAX;
    for (uint32_t r = 0; r < sandbox->count; r++) {
        char path[PATH_MAX];
        pid_t pid = sandbox_process(sandbox, r);
        while (pid != 0) {
            if (clock_monotonic_ms() >= end_ms) {
                return problem_set(problem, EXIT_ERROR,
                                   "replica %u, process %d, does not end; see its onusd.log", r,
                                   (int)pid);
            }
            sleep_ms(POLL_MS);
            /* If it is a child of ours, it is a zombie until somebody looks. */
            (void)waitpid(pid, NULL, WNOHANG);
            pid = sandbox_process(sandbox, r);
        }
        replica_path(sandbox, path, r, "pid");
        if (unlink(path) != 0 && errno != ENOENT) {
            return problem_set(problem, EXIT_ERROR, "%s: %s", path, strerror(errno));
        }
    }
    return 0;
}

static int remove_entry(const char *path, const struct stat *about, int kind, struct FTW *walk) {
    (void)about;
    (void)kind;
    (void)walk;
    return remove(path);
}

int sandbox_remove(const struct sandbox *sandbox, struct problem *problem) {
    if (nftw(sandbox->directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS) != 0) {
        return problem_set(problem, EXIT_ERROR, "%s: cannot be removed: %s", sandbox->directory,
                           strerror(errno));
    }
    return 0;
}
