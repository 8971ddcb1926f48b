/*
 * receipt_socket: see receipt_socket.h. One thread polls the listener and all connections. A
 * connection's input is a buffer that holds at most one part that is not whole yet; the sink gets
 * parts only when they are whole, and an answer leaves after the commit that it is about.
 */
#include "audit-tool/receipt_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/check.h"
#include "host/clock.h"
#include "host/receipts_file.h"

#define READ_SIZE ((size_t)64 << 10)
#define LENGTH_SIZE 4u
#define RECORD_HEADER_SIZE 5u
#define RECORD_CERTIFICATE 1u
#define RECORD_BUNDLE 2u
#define RECORD_END 3u
#define RECORD_LINK 4u
#define RECORD_END_SIZE 8u
#define FILE_HEAD_SIZE (sizeof RECEIPTS_FILE_MAGIC - 1 + DIGEST_SIZE)
#define INPUT_SIZE_MAX (RECEIPT_BUNDLE_SIZE_MAX + RECORD_HEADER_SIZE + READ_SIZE)
#define OUTPUT_SIZE_MAX ((size_t)64 << 10)
#define OUTPUT_SIZE_SOFT_MAX ((size_t)16 << 10) /* then it is not read until it reads */
#define ANSWERS_MAX 64u                         /* for one commit */
#define LINE_SIZE (PROBLEM_TEXT_SIZE + 64u)
#define POLL_MS 1000

static_assert(RECEIPT_SOCKET_FILE_SIZE_MAX + LENGTH_SIZE <= INPUT_SIZE_MAX, "a receipt fits");
static_assert(RECEIPT_SOCKET_FILE_SIZE_MAX >= RECEIPT_FILE_SIZE_MAX + CHAIN_LINK_SIZE_MAX,
              "and so do some links");
static_assert(CHAIN_LINK_SIZE_MAX + RECORD_HEADER_SIZE <= INPUT_SIZE_MAX, "a link fits");
static_assert(OUTPUT_SIZE_MAX >= OUTPUT_SIZE_SOFT_MAX + (ANSWERS_MAX + 1) * 96u + LINE_SIZE,
              "answers to what was read always fit");

struct connection {
    int descriptor; /* -1: free */
    struct buffer input;
    struct buffer output;
    struct buffer certificate; /* of the file that is being read */
    bool in_file;
    uint64_t requests; /* of that file, so far */
    uint32_t links;
    struct receipt_counts counts;
    uint32_t answer_count; /* parts that wait for a commit */
    struct receipt_counts answers[ANSWERS_MAX];
    uint64_t invalid;  /* in all */
    uint64_t heard_ms; /* the last byte */
    uint64_t part_ms;  /* when the part that is not whole began */
    bool is_dirty;     /* the sink has taken what is not durable yet */
    bool ends;         /* nothing more is read; what waits is still written */
};

struct receipt_socket {
    struct receipt_socket_options options;
    char path[sizeof((struct sockaddr_un *)0)->sun_path];
    int listener;
    int wake;
    bool has_name;
    bool has_thread;
    pthread_t thread;
    struct connection connections[RECEIPT_SOCKET_CONNECTIONS_MAX];
};

/* ---- connections ----------------------------------------------------------------------------- */

static void connection_open(struct connection *connection, int descriptor) {
    *connection = (struct connection){.descriptor = descriptor};
    buffer_init(&connection->input, INPUT_SIZE_MAX);
    buffer_init(&connection->output, OUTPUT_SIZE_MAX);
    buffer_init(&connection->certificate, COMMIT_CERTIFICATE_SIZE_MAX);
    connection->heard_ms = clock_monotonic_ms();
    connection->part_ms = connection->heard_ms;
}

static void connection_close(struct connection *connection) {
    if (connection->descriptor >= 0) {
        (void)close(connection->descriptor);
        connection->descriptor = -1;
        buffer_free(&connection->input);
        buffer_free(&connection->output);
        buffer_free(&connection->certificate);
    }
}

static void say(struct connection *connection, const char *line) {
    (void)buffer_append(&connection->output, span_text(line));
}

/* Tell what is wrong, and hear no more. */
static void end_with(struct connection *connection, const char *why) {
    char line[LINE_SIZE];
    (void)snprintf(line, sizeof line, "error: %s\n", why);
    say(connection, line);
    connection->ends = true;
}

/* This end fails: what was not committed has not happened. */
static void fail(struct connection *connection, const char *why) {
    connection->answer_count = 0;
    connection->is_dirty = false;
    end_with(connection, why);
}

/* Make durable what was taken, then answer it. */
static void answer(struct receipt_socket *socket, struct connection *connection) {
    const struct receipt_sink *const sink = &socket->options.sink;
    struct problem problem = {.code = EXIT_OK};
    if (connection->is_dirty && sink->commit(sink->context, &problem) != 0) {
        fail(connection, problem.text);
        return;
    }
    connection->is_dirty = false;
    for (uint32_t i = 0; i < connection->answer_count; i++) {
        const struct receipt_counts *const counts = &connection->answers[i];
        char line[LINE_SIZE];
        (void)snprintf(line, sizeof line,
                       "kept %" PRIu64 ", known %" PRIu64 ", invalid %" PRIu64 "\n", counts->kept,
                       counts->known, counts->invalid);
        say(connection, line);
    }
    connection->answer_count = 0;
}

/* They sent what nobody sends: what came before is answered. */
static void refuse(struct receipt_socket *socket, struct connection *connection, const char *why) {
    answer(socket, connection);
    if (!connection->ends) {
        end_with(connection, why);
    }
}

/* A part is whole and was taken. */
static void note_part(struct receipt_socket *socket, struct connection *connection) {
    connection->invalid += connection->counts.invalid;
    connection->answers[connection->answer_count++] = connection->counts;
    connection->counts = (struct receipt_counts){.kept = 0};
    if (connection->answer_count == ANSWERS_MAX) {
        answer(socket, connection);
    }
    if (connection->invalid > RECEIPT_SOCKET_BAD_MAX) {
        refuse(socket, connection, "too many receipts that do not hold");
    }
}

/* ---- parts ----------------------------------------------------------------------------------- */

/* Each of these takes one part from the beginning of the input. Returns: its size; 0: not whole. */

static size_t take_receipt(struct receipt_socket *socket, struct connection *connection) {
    const struct receipt_sink *const sink = &socket->options.sink;
    struct problem problem = {.code = EXIT_OK};
    struct span const input = buffer_span(&connection->input);
    uint32_t const size = input.size < LENGTH_SIZE ? 0 : load_u32_be(input.data);
    if (input.size < LENGTH_SIZE) {
        return 0;
    }
    if (size == 0 || size > RECEIPT_SOCKET_FILE_SIZE_MAX) {
        refuse(socket, connection, "neither a receipt's size nor a file of receipts");
        return 0;
    }
    if (input.size - LENGTH_SIZE < size) {
        return 0;
    }
    connection->is_dirty = true;
    if (sink->receipt(sink->context, span_of(input.data + LENGTH_SIZE, size), &connection->counts,
                      &problem) != 0) {
        fail(connection, problem.text);
        return 0;
    }
    note_part(socket, connection);
    return LENGTH_SIZE + size;
}

static size_t take_file_head(struct receipt_socket *socket, struct connection *connection) {
    struct span const input = buffer_span(&connection->input);
    struct span const magic = span_text(RECEIPTS_FILE_MAGIC);
    if (input.size < FILE_HEAD_SIZE) {
        return 0;
    }
    if (memcmp(input.data, magic.data, magic.size) != 0) {
        refuse(socket, connection, "neither a receipt's size nor a file of receipts");
        return 0;
    }
    if (memcmp(input.data + magic.size, socket->options.service.bytes, DIGEST_SIZE) != 0) {
        refuse(socket, connection, "a file of receipts of another service");
        return 0;
    }
    connection->in_file = true;
    connection->requests = 0;
    connection->links = 0;
    buffer_clear(&connection->certificate);
    return FILE_HEAD_SIZE;
}

/* What follows a record's header is whole. Returns: false when it was refused. */
static bool take_record(struct receipt_socket *socket, struct connection *connection, uint8_t kind,
                        struct span content) {
    const struct receipt_sink *const sink = &socket->options.sink;
    struct problem problem = {.code = EXIT_OK};
    if (kind == RECORD_CERTIFICATE) {
        buffer_clear(&connection->certificate);
        (void)buffer_append(&connection->certificate, content);
        return true;
    }
    if (kind == RECORD_END) {
        connection->in_file = false;
        if (load_u64_be(content.data) != connection->requests) {
            refuse(socket, connection, "a file of receipts that lacks some");
            return false;
        }
        note_part(socket, connection);
        return true;
    }
    connection->requests += kind == RECORD_BUNDLE;
    connection->links += kind == RECORD_LINK;
    connection->is_dirty = true;
    int const status =
        kind == RECORD_LINK
            ? sink->link(sink->context, content, &connection->counts, &problem)
            : sink->bundle(sink->context, content, buffer_span(&connection->certificate),
                           &connection->counts, &problem);
    if (status != 0) {
        fail(connection, problem.text);
        return false;
    }
    if (connection->invalid + connection->counts.invalid > RECEIPT_SOCKET_BAD_MAX) {
        refuse(socket, connection, "too many receipts that do not hold");
        return false;
    }
    return true;
}

/* Links come before what they are for. */
static bool link_fits(const struct connection *connection, uint32_t size) {
    return size <= CHAIN_LINK_SIZE_MAX && connection->links < CHAIN_LINKS_MAX &&
           connection->requests == 0 && connection->certificate.size == 0;
}

static bool record_fits(const struct connection *connection, uint8_t kind, uint32_t size) {
    return (kind == RECORD_LINK && link_fits(connection, size)) ||
           (kind == RECORD_CERTIFICATE && size <= COMMIT_CERTIFICATE_SIZE_MAX) ||
           (kind == RECORD_BUNDLE && size <= RECEIPT_BUNDLE_SIZE_MAX) ||
           (kind == RECORD_END && size == RECORD_END_SIZE);
}

static size_t take_from_file(struct receipt_socket *socket, struct connection *connection) {
    struct span const input = buffer_span(&connection->input);
    if (input.size < RECORD_HEADER_SIZE) {
        return 0;
    }
    uint8_t const kind = input.data[0];
    uint32_t const size = load_u32_be(input.data + 1);
    if (!record_fits(connection, kind, size)) {
        refuse(socket, connection, "a damaged file of receipts");
        return 0;
    }
    if (input.size - RECORD_HEADER_SIZE < size) {
        return 0;
    }
    struct span const content = span_of(input.data + RECORD_HEADER_SIZE, size);
    return take_record(socket, connection, kind, content) ? RECORD_HEADER_SIZE + size : 0;
}

/* A receipt's size never begins as a file does. */
static_assert(RECEIPT_SOCKET_FILE_SIZE_MAX < ((uint32_t)'o' << 24), "told apart by the first byte");

static size_t take_part(struct receipt_socket *socket, struct connection *connection) {
    if (connection->in_file) {
        return take_from_file(socket, connection);
    }
    bool const is_file = connection->input.size != 0 && connection->input.data[0] == 'o';
    return is_file ? take_file_head(socket, connection) : take_receipt(socket, connection);
}

/* All that is whole. */
static void take_parts(struct receipt_socket *socket, struct connection *connection) {
    bool going = true;
    while (going && !connection->ends) {
        size_t const size = take_part(socket, connection);
        going = size != 0;
        if (going && !connection->ends) {
            buffer_consume(&connection->input, size);
            connection->part_ms = connection->heard_ms;
        }
    }
    answer(socket, connection);
}

/* ---- the world ------------------------------------------------------------------------------- */

static void hear(struct receipt_socket *socket, struct connection *connection) {
    size_t const before = connection->input.size;
    uint8_t *const room = buffer_extend(&connection->input, READ_SIZE);
    if (room == NULL) {
        refuse(socket, connection, "out of memory");
        return;
    }
    ssize_t const got = recv(connection->descriptor, room, READ_SIZE, 0);
    connection->input.size = before + (got > 0 ? (size_t)got : 0);
    if (got > 0) {
        connection->heard_ms = clock_monotonic_ms();
        take_parts(socket, connection);
    } else if (got == 0) {
        if (connection->input.size != 0 || connection->in_file) {
            refuse(socket, connection, "cut short");
        }
        connection->ends = true;
    } else if (errno != EAGAIN && errno != EINTR) {
        connection_close(connection);
    }
}

static void write_out(struct connection *connection) {
    struct span const output = buffer_span(&connection->output);
    if (output.size != 0) {
        ssize_t const sent = send(connection->descriptor, output.data, output.size, MSG_NOSIGNAL);
        if (sent > 0) {
            buffer_consume(&connection->output, (size_t)sent);
        } else if (sent < 0 && errno != EAGAIN && errno != EINTR) {
            connection_close(connection);
            return;
        }
    }
    if (connection->ends && connection->output.size == 0) {
        connection_close(connection);
    }
}

static void check_time(const struct receipt_socket *socket, struct connection *connection) {
    uint64_t const now_ms = clock_monotonic_ms();
    bool const is_late =
        connection->input.size != 0 && now_ms - connection->part_ms > RECEIPT_SOCKET_PART_MS;
    if (now_ms - connection->heard_ms > socket->options.idle_ms || is_late) {
        connection_close(connection);
    }
}

static void take_caller(struct receipt_socket *socket) {
    int const descriptor = accept4(socket->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    for (uint32_t i = 0; descriptor >= 0 && i < RECEIPT_SOCKET_CONNECTIONS_MAX; i++) {
        if (socket->connections[i].descriptor < 0) {
            connection_open(&socket->connections[i], descriptor);
            return;
        }
    }
    if (descriptor >= 0) {
        (void)close(descriptor);
    }
}

/* What to wait for. Returns: how many; out: whose. The first is the wake, the second the listener
 */
static nfds_t prepare_poll(struct receipt_socket *socket,
                           struct pollfd polls[static 2 + RECEIPT_SOCKET_CONNECTIONS_MAX],
                           struct connection **whose) {
    nfds_t count = 2;
    bool has_room = false;
    polls[0] = (struct pollfd){.fd = socket->wake, .events = POLLIN};
    for (uint32_t i = 0; i < RECEIPT_SOCKET_CONNECTIONS_MAX; i++) {
        struct connection *const connection = &socket->connections[i];
        has_room |= connection->descriptor < 0;
        if (connection->descriptor >= 0) {
            bool const hears = !connection->ends && connection->output.size < OUTPUT_SIZE_SOFT_MAX;
            bool const writes = connection->output.size != 0 || connection->ends;
            polls[count] = (struct pollfd){
                .fd = connection->descriptor,
                .events = (short)((hears ? POLLIN : 0) | (writes ? POLLOUT : 0)),
            };
            whose[count++] = connection;
        }
    }
    polls[1] = (struct pollfd){.fd = has_room ? socket->listener : -1, .events = POLLIN};
    return count;
}

static void *serve(void *argument) {
    struct receipt_socket *const socket = argument;
    struct pollfd polls[2 + RECEIPT_SOCKET_CONNECTIONS_MAX];
    struct connection *whose[2 + RECEIPT_SOCKET_CONNECTIONS_MAX];
    for (;;) {
        nfds_t const count = prepare_poll(socket, polls, whose);
        if (poll(polls, count, POLL_MS) < 0) {
            CHECK(errno == EINTR);
            continue;
        }
        if ((polls[0].revents & POLLIN) != 0) {
            return NULL;
        }
        for (nfds_t i = 2; i < count; i++) {
            struct connection *const connection = whose[i];
            if ((polls[i].revents & (POLLIN | POLLHUP | POLLERR)) != 0 && !connection->ends) {
                hear(socket, connection);
            }
            if (connection->descriptor >= 0) {
                write_out(connection);
            }
            if (connection->descriptor >= 0) {
                check_time(socket, connection);
            }
        }
        if ((polls[1].revents & POLLIN) != 0) {
            take_caller(socket);
        }
    }
}

/* ---- the name -------------------------------------------------------------------------------- */

/* Could others put something else in its place? */
static int check_directory(const char *path, struct problem *problem) {
    char directory[sizeof((struct sockaddr_un *)0)->sun_path + 2];
    struct stat about;
    const char *const slash = strrchr(path, '/');
    (void)snprintf(directory, sizeof directory, "%.*s", slash == NULL ? 1 : (int)(slash - path) + 1,
                   slash == NULL ? "." : path);
    if (stat(directory, &about) != 0) {
        return problem_set(problem, EXIT_ERROR, "%s: %s", directory, strerror(errno));
    }
    bool const is_open =
        (about.st_mode & (S_IWGRP | S_IWOTH)) != 0 && (about.st_mode & S_ISVTX) == 0;
    return is_open ? problem_set(problem, EXIT_ERROR,
                                 "%s: others can write to it; put the socket into a directory of "
                                 "your own",
                                 directory)
                   : 0;
}

static struct sockaddr_un address_of(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    return address;
}

/* Does somebody listen there? */
static bool is_heard(const char *path) {
    struct sockaddr_un const address = address_of(path);
    int const probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool const heard =
        probe >= 0 &&
        (connect(probe, (const struct sockaddr *)&address, sizeof address) == 0 || errno == EAGAIN);
    if (probe >= 0) {
        (void)close(probe);
    }
    return heard;
}

/* A socket that a watcher left behind when it was killed. */
static int remove_stale(const char *path, struct problem *problem) {
    struct stat about;
    if (lstat(path, &about) != 0) {
        return errno == ENOENT ? 0
                               : problem_set(problem, EXIT_ERROR, "%s: %s", path, strerror(errno));
    }
    if (!S_ISSOCK(about.st_mode)) {
        return problem_set(problem, EXIT_ERROR, "%s: is there, and no socket; give another name",
                           path);
    }
    if (is_heard(path)) {
        return problem_set(problem, EXIT_ERROR, "%s: somebody listens there; give another name",
                           path);
    }
    return unlink(path) == 0 ? 0
                             : problem_set(problem, EXIT_ERROR, "%s: %s", path, strerror(errno));
}

/* Nobody can connect before it has its mode: it does not listen yet. */
static int listen_at(struct receipt_socket *own, struct problem *problem) {
    struct sockaddr_un const address = address_of(own->path);
    own->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool const bound = own->listener >= 0 &&
                       bind(own->listener, (const struct sockaddr *)&address, sizeof address) == 0;
    if (bound && chmod(own->path, 0600) == 0 &&
        listen(own->listener, (int)RECEIPT_SOCKET_CONNECTIONS_MAX) == 0) {
        own->has_name = true;
        return 0;
    }
    (void)problem_set(problem, EXIT_ERROR, "%s: %s", own->path, strerror(errno));
    if (bound) {
        (void)unlink(own->path);
    }
    return -1;
}

struct receipt_socket *receipt_socket_open(const struct receipt_socket_options *options,
                                           struct problem *problem) {
    struct receipt_socket *const own = calloc(1, sizeof *own);
    if (own == NULL) {
        (void)problem_set(problem, EXIT_ERROR, "out of memory");
        return NULL;
    }
    own->options = *options;
    own->options.idle_ms = options->idle_ms == 0 ? RECEIPT_SOCKET_IDLE_MS : options->idle_ms;
    own->listener = -1;
    own->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    for (uint32_t i = 0; i < RECEIPT_SOCKET_CONNECTIONS_MAX; i++) {
        own->connections[i].descriptor = -1;
    }
    int const size = snprintf(own->path, sizeof own->path, "%s", options->path);
    int status = 0;
    if (size <= 0 || (size_t)size >= sizeof own->path) {
        own->path[0] = '\0';
        status = problem_set(problem, EXIT_USAGE, "--socket %s: give a name of 1 to %zu bytes",
                             options->path, sizeof own->path - 1);
    } else if (own->wake < 0) {
        status = problem_set(problem, EXIT_ERROR, "%s: %s", own->path, strerror(errno));
    } else if (check_directory(own->path, problem) != 0 || remove_stale(own->path, problem) != 0 ||
               listen_at(own, problem) != 0) {
        status = -1;
    }
    if (status == 0) {
        own->has_thread = pthread_create(&own->thread, NULL, serve, own) == 0;
        status = own->has_thread ? 0 : problem_set(problem, EXIT_ERROR, "no thread can be started");
    }
    if (status != 0) {
        receipt_socket_close(own);
        return NULL;
    }
    return own;
}

void receipt_socket_close(struct receipt_socket *own) {
    uint64_t const one = 1;
    if (own == NULL) {
        return;
    }
    if (own->has_thread) {
        CHECK(write(own->wake, &one, sizeof one) == (ssize_t)sizeof one);
        CHECK(pthread_join(own->thread, NULL) == 0);
    }
    for (uint32_t i = 0; i < RECEIPT_SOCKET_CONNECTIONS_MAX; i++) {
        connection_close(&own->connections[i]);
    }
    if (own->listener >= 0) {
        (void)close(own->listener);
    }
    if (own->has_name) {
        (void)unlink(own->path);
    }
    if (own->wake >= 0) {
        (void)close(own->wake);
    }
    free(own);
}
