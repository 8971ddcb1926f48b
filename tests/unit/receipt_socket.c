/*
 * receipt_socket: what hostile bytes do to the socket that takes receipts in: nothing but an answer
 * that says so, or a closed connection. What was answered was committed before.
 */
#include "audit-tool/receipt_socket.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "host/receipts_file.h"

#define ANSWER_SIZE 65536u
#define ANSWER_MS 5000
#define GARBAGE_ROUNDS 200u

static char place[] = "/tmp/onus-socket-XXXXXX";
static char path[64];
static struct digest service;
static struct receipt_socket *tested;

/* What the sink saw; touched by the socket's thread alone until it has answered. */
static struct {
    pthread_mutex_t mutex;
    unsigned receipts;
    unsigned bundles;
    unsigned links;
    unsigned commits;
    bool fails;
    bool commit_fails;
    bool is_bad;
} sink = {.mutex = PTHREAD_MUTEX_INITIALIZER};

/* ---- set up ---------------------------------------------------------------------------------- */

static int count(unsigned *counter, struct receipt_counts *counts, struct problem *problem) {
    pthread_mutex_lock(&sink.mutex);
    bool const fails = sink.fails;
    ++*counter;
    counts->kept += !sink.is_bad;
    counts->invalid += sink.is_bad;
    pthread_mutex_unlock(&sink.mutex);
    return fails ? problem_set(problem, EXIT_ERROR, "the disk is full") : 0;
}

static int on_receipt(void *context, struct span file, struct receipt_counts *counts,
                      struct problem *problem) {
    (void)context;
    cr_assert_leq(file.size, RECEIPT_SOCKET_FILE_SIZE_MAX);
    return count(&sink.receipts, counts, problem);
}

static int on_bundle(void *context, struct span bundle, struct span certificate,
                     struct receipt_counts *counts, struct problem *problem) {
    (void)context;
    cr_assert_leq(bundle.size, RECEIPT_BUNDLE_SIZE_MAX);
    cr_assert_leq(certificate.size, COMMIT_CERTIFICATE_SIZE_MAX);
    return count(&sink.bundles, counts, problem);
}

static int on_link(void *context, struct span link, struct receipt_counts *counts,
                   struct problem *problem) {
    (void)context;
    (void)counts;
    (void)problem;
    cr_assert_leq(link.size, CHAIN_LINK_SIZE_MAX);
    pthread_mutex_lock(&sink.mutex);
    sink.links++;
    pthread_mutex_unlock(&sink.mutex);
    return 0;
}

static int on_commit(void *context, struct problem *problem) {
    (void)context;
    pthread_mutex_lock(&sink.mutex);
    sink.commits++;
    bool const fails = sink.commit_fails;
    pthread_mutex_unlock(&sink.mutex);
    return fails ? problem_set(problem, EXIT_ERROR, "the disk is gone") : 0;
}

static struct receipt_socket *open_at(const char *name, uint32_t idle_ms, struct problem *problem) {
    return receipt_socket_open(
        &(struct receipt_socket_options){
            .path = name,
            .service = service,
            .sink =
                {.receipt = on_receipt, .bundle = on_bundle, .link = on_link, .commit = on_commit},
            .idle_ms = idle_ms,
        },
        problem);
}

static void set_up(void) {
    struct problem problem = {.code = EXIT_OK};
    cr_assert(mkdtemp(place) != NULL);
    (void)snprintf(path, sizeof path, "%s/receipts.sock", place);
    memset(service.bytes, 7, DIGEST_SIZE);
    tested = open_at(path, 0, &problem);
    cr_assert(tested != NULL, "%s", problem.text);
}

static void tear_down(void) {
    receipt_socket_close(tested);
    cr_assert_neq(access(path, F_OK), 0);
    cr_assert_eq(rmdir(place), 0);
}

TestSuite(receipt_socket, .init = set_up, .fini = tear_down, .timeout = 300);

/* ---- the other end --------------------------------------------------------------------------- */

static int call(void) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int const descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    cr_assert_eq(connect(descriptor, (const struct sockaddr *)&address, sizeof address), 0);
    return descriptor;
}

/* Send all; the other end may have closed already. */
static void send_all(int descriptor, struct span bytes) {
    while (bytes.size != 0) {
        ssize_t const sent = send(descriptor, bytes.data, bytes.size, MSG_NOSIGNAL);
        if (sent <= 0) {
            return;
        }
        bytes = span_of(bytes.data + sent, bytes.size - (size_t)sent);
    }
}

/* All that it says until it closes. */
static void hear_all(int descriptor, char answer[static ANSWER_SIZE]) {
    size_t size = 0;
    for (;;) {
        struct pollfd polled = {.fd = descriptor, .events = POLLIN};
        cr_assert_eq(poll(&polled, 1, ANSWER_MS), 1, "no answer");
        ssize_t const got = recv(descriptor, answer + size, ANSWER_SIZE - 1 - size, 0);
        if (got <= 0) {
            break;
        }
        size += (size_t)got;
    }
    answer[size] = '\0';
    (void)close(descriptor);
}

/* Send these bytes and nothing more. Returns: the answer, valid until the next call. */
static const char *ask(struct span bytes) {
    static char answer[ANSWER_SIZE];
    int const descriptor = call();
    send_all(descriptor, bytes);
    (void)shutdown(descriptor, SHUT_WR);
    hear_all(descriptor, answer);
    return answer;
}

static void put_receipt(struct buffer *out, uint32_t size) {
    uint8_t length[4];
    store_u32_be(length, size);
    buffer_append(out, span_of(length, sizeof length));
    for (uint32_t i = 0; i < size; i++) {
        uint8_t const byte = 'r';
        buffer_append(out, span_of(&byte, 1));
    }
}

static void put_head(struct buffer *out) {
    buffer_append(out, span_text(RECEIPTS_FILE_MAGIC));
    buffer_append(out, span_of(service.bytes, DIGEST_SIZE));
}

static void put_record(struct buffer *out, uint8_t kind, uint32_t size, uint32_t present) {
    uint8_t header[5] = {kind};
    store_u32_be(header + 1, size);
    buffer_append(out, span_of(header, sizeof header));
    for (uint32_t i = 0; i < present; i++) {
        uint8_t const byte = 0;
        buffer_append(out, span_of(&byte, 1));
    }
}

static void put_end(struct buffer *out, uint64_t requests) {
    uint8_t number[8];
    uint8_t const header[5] = {3, 0, 0, 0, 8};
    store_u64_be(number, requests);
    buffer_append(out, span_of(header, sizeof header));
    buffer_append(out, span_of(number, sizeof number));
}

/* ---- what is in order ------------------------------------------------------------------------ */

Test(receipt_socket, receipts_one_after_the_other) {
    struct buffer bytes;
    buffer_init(&bytes, 1u << 20);
    put_receipt(&bytes, 100);
    put_receipt(&bytes, 1);
    cr_assert_str_eq(ask(buffer_span(&bytes)),
                     "kept 1, known 0, invalid 0\nkept 1, known 0, invalid 0\n");
    cr_assert_eq(sink.receipts, 2);
    cr_assert_geq(sink.commits, 1);
    buffer_free(&bytes);
}

Test(receipt_socket, files_and_receipts_mixed) {
    struct buffer bytes;
    buffer_init(&bytes, 1u << 20);
    put_head(&bytes);
    put_record(&bytes, 1, 300, 300);
    put_record(&bytes, 2, 50, 50);
    put_record(&bytes, 2, 70, 70);
    put_end(&bytes, 2);
    put_receipt(&bytes, 9);
    put_head(&bytes);
    put_end(&bytes, 0);
    cr_assert_str_eq(ask(buffer_span(&bytes)),
                     "kept 2, known 0, invalid 0\nkept 1, known 0, invalid 0\n"
                     "kept 0, known 0, invalid 0\n");
    cr_assert_eq(sink.bundles, 2);
    buffer_free(&bytes);
}

Test(receipt_socket, links_come_first) {
    struct buffer bytes;
    buffer_init(&bytes, 1u << 20);
    put_head(&bytes);
    put_record(&bytes, 4, 200, 200);
    put_record(&bytes, 4, 100, 100);
    put_record(&bytes, 1, 300, 300);
    put_record(&bytes, 2, 50, 50);
    put_end(&bytes, 1);
    cr_assert_str_eq(ask(buffer_span(&bytes)), "kept 1, known 0, invalid 0\n");
    cr_assert_eq(sink.links, 2);
    cr_assert_eq(sink.bundles, 1);
    buffer_free(&bytes);
}

/* However it drips. */
Test(receipt_socket, byte_by_byte) {
    static char answer[ANSWER_SIZE];
    struct buffer bytes;
    buffer_init(&bytes, 1u << 20);
    put_head(&bytes);
    put_record(&bytes, 1, 30, 30);
    put_record(&bytes, 2, 5, 5);
    put_end(&bytes, 1);
    int const descriptor = call();
    for (size_t i = 0; i < bytes.size; i++) {
        send_all(descriptor, span_of(bytes.data + i, 1));
    }
    (void)shutdown(descriptor, SHUT_WR);
    hear_all(descriptor, answer);
    cr_assert_str_eq(answer, "kept 1, known 0, invalid 0\n");
    buffer_free(&bytes);
}

Test(receipt_socket, thousands_at_once) {
    struct buffer bytes;
    buffer_init(&bytes, 4u << 20);
    for (unsigned i = 0; i < 2000; i++) {
        put_receipt(&bytes, 30);
    }
    const char *at = ask(buffer_span(&bytes));
    unsigned lines = 0;
    for (; *at != '\0'; at++) {
        lines += *at == '\n';
    }
    cr_assert_eq(lines, 2000);
    cr_assert_eq(sink.receipts, 2000);
    cr_assert_lt(sink.commits, 1000);
    buffer_free(&bytes);
}

/* ---- what is not ----------------------------------------------------------------------------- */

static void expect_refusal(const struct buffer *bytes, const char *why) {
    const char *const answer = ask(buffer_span(bytes));
    cr_assert(strstr(answer, "error: ") != NULL && strstr(answer, why) != NULL, "%s", answer);
}

Test(receipt_socket, sizes_that_are_too_large) {
    static const uint32_t sizes[] = {0, RECEIPT_SOCKET_FILE_SIZE_MAX + 1, 0x7fffffff, 0xffffffff};
    static const struct {
        uint8_t kind;
        uint32_t size;
    } records[] = {{1, COMMIT_CERTIFICATE_SIZE_MAX + 1},
                   {2, RECEIPT_BUNDLE_SIZE_MAX + 1},
                   {2, 0xffffffff},
                   {3, 9},
                   {3, 0},
                   {0, 0},
                   {4, CHAIN_LINK_SIZE_MAX + 1},
                   {5, 1},
                   {255, 0xffffffff}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        uint8_t length[4];
        struct buffer bytes;
        buffer_init(&bytes, 64);
        store_u32_be(length, sizes[i]);
        buffer_append(&bytes, span_of(length, sizeof length));
        expect_refusal(&bytes, "neither");
        buffer_free(&bytes);
    }
    for (size_t i = 0; i < sizeof records / sizeof records[0]; i++) {
        struct buffer bytes;
        buffer_init(&bytes, 256);
        put_head(&bytes);
        put_record(&bytes, records[i].kind, records[i].size, 0);
        expect_refusal(&bytes, "damaged");
        buffer_free(&bytes);
    }
    cr_assert_eq(sink.receipts + sink.bundles, 0);
}

Test(receipt_socket, cut_short_at_every_byte) {
    struct buffer bytes;
    buffer_init(&bytes, 1024);
    put_head(&bytes);
    put_record(&bytes, 1, 10, 10);
    put_record(&bytes, 2, 10, 10);
    put_end(&bytes, 1);
    for (size_t size = 1; size < bytes.size; size++) {
        const char *const answer = ask(span_of(bytes.data, size));
        cr_assert_str_eq(answer, "error: cut short\n", "%zu: %s", size, answer);
    }
    buffer_free(&bytes);
}

Test(receipt_socket, another_service_and_a_wrong_count) {
    struct buffer bytes;
    buffer_init(&bytes, 1024);
    put_head(&bytes);
    put_end(&bytes, 5);
    expect_refusal(&bytes, "lacks some");
    bytes.data[sizeof RECEIPTS_FILE_MAGIC] ^= 1;
    expect_refusal(&bytes, "another service");
    buffer_free(&bytes);
}

Test(receipt_socket, a_link_behind_receipts) {
    for (uint8_t before = 1; before <= 2; before++) {
        struct buffer bytes;
        buffer_init(&bytes, 1024);
        put_head(&bytes);
        put_record(&bytes, before, 20, 20);
        put_record(&bytes, 4, 10, 10);
        put_end(&bytes, before - 1u);
        expect_refusal(&bytes, "damaged");
        buffer_free(&bytes);
    }
    cr_assert_eq(sink.links, 0);
}

/* What came before is answered, what comes after is not taken. */
Test(receipt_socket, garbage_in_between) {
    struct buffer bytes;
    buffer_init(&bytes, 1024);
    put_receipt(&bytes, 10);
    buffer_append(&bytes, span_text("garbage"));
    put_receipt(&bytes, 10);
    const char *const answer = ask(buffer_span(&bytes));
    cr_assert(strncmp(answer, "kept 1, known 0, invalid 0\nerror: ", 34) == 0, "%s", answer);
    cr_assert_eq(sink.receipts, 1);
    buffer_free(&bytes);
}

Test(receipt_socket, random_bytes) {
    uint64_t random = 99;
    for (unsigned i = 0; i < GARBAGE_ROUNDS; i++) {
        struct buffer bytes;
        buffer_init(&bytes, 8192);
        if (i % 2 == 0) {
            put_head(&bytes);
        }
        for (unsigned k = 0; k < 16 * i; k++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            uint8_t const byte = (uint8_t)(random >> 56 & (i % 4 < 2 ? 3 : 255));
            buffer_append(&bytes, span_of(&byte, 1));
        }
        (void)ask(buffer_span(&bytes));
        buffer_free(&bytes);
    }
    struct buffer good;
    buffer_init(&good, 64);
    put_receipt(&good, 3);
    cr_assert_str_eq(ask(buffer_span(&good)), "kept 1, known 0, invalid 0\n");
    buffer_free(&good);
}

Test(receipt_socket, too_many_bad_ones) {
    struct buffer bytes;
    buffer_init(&bytes, 1u << 20);
    sink.is_bad = true;
    for (unsigned i = 0; i < 2 * RECEIPT_SOCKET_BAD_MAX; i++) {
        put_receipt(&bytes, 4);
    }
    expect_refusal(&bytes, "too many");
    cr_assert_leq(sink.receipts, RECEIPT_SOCKET_BAD_MAX + 1);
    buffer_free(&bytes);
}

/* ---- when this end fails --------------------------------------------------------------------- */

Test(receipt_socket, what_is_not_durable_is_not_answered) {
    struct buffer bytes;
    buffer_init(&bytes, 64);
    put_receipt(&bytes, 4);
    sink.commit_fails = true;
    cr_assert_str_eq(ask(buffer_span(&bytes)), "error: the disk is gone\n");
    sink.commit_fails = false;
    sink.fails = true;
    cr_assert_str_eq(ask(buffer_span(&bytes)), "error: the disk is full\n");
    sink.fails = false;
    cr_assert_str_eq(ask(buffer_span(&bytes)), "kept 1, known 0, invalid 0\n");
    buffer_free(&bytes);
}

/* ---- connections ----------------------------------------------------------------------------- */

Test(receipt_socket, silent_ones_are_closed_and_others_served) {
    static char answer[ANSWER_SIZE];
    int silent[RECEIPT_SOCKET_CONNECTIONS_MAX];
    struct problem problem = {.code = EXIT_OK};
    struct buffer bytes;
    receipt_socket_close(tested);
    tested = open_at(path, 300, &problem);
    cr_assert(tested != NULL);
    for (unsigned i = 0; i < RECEIPT_SOCKET_CONNECTIONS_MAX; i++) {
        silent[i] = call();
        send_all(silent[i], span_text("on")); /* a beginning */
    }
    buffer_init(&bytes, 64);
    put_receipt(&bytes, 4);
    cr_assert_str_eq(ask(buffer_span(&bytes)), "kept 1, known 0, invalid 0\n");
    for (unsigned i = 0; i < RECEIPT_SOCKET_CONNECTIONS_MAX; i++) {
        hear_all(silent[i], answer);
        cr_assert_str_eq(answer, "");
    }
    buffer_free(&bytes);
}

/* One that never reads its answers holds nobody up, and is closed in the end. */
Test(receipt_socket, one_that_does_not_read) {
    struct problem problem = {.code = EXIT_OK};
    struct buffer bytes;
    receipt_socket_close(tested);
    tested = open_at(path, 300, &problem);
    cr_assert(tested != NULL);
    buffer_init(&bytes, 1u << 20);
    for (unsigned i = 0; i < 20000; i++) {
        put_receipt(&bytes, 1);
    }
    int const deaf = call();
    cr_assert_eq(fcntl(deaf, F_SETFL, O_NONBLOCK), 0);
    for (unsigned i = 0; i < 10; i++) {
        (void)send(deaf, bytes.data, bytes.size, MSG_NOSIGNAL);
    }
    buffer_clear(&bytes);
    put_receipt(&bytes, 4);
    cr_assert_str_eq(ask(buffer_span(&bytes)), "kept 1, known 0, invalid 0\n");
    (void)close(deaf);
    buffer_free(&bytes);
}

/* ---- the name -------------------------------------------------------------------------------- */

Test(receipt_socket, only_for_its_user) {
    struct stat about;
    cr_assert_eq(stat(path, &about), 0);
    cr_assert(S_ISSOCK(about.st_mode));
    cr_assert_eq(about.st_mode & 0777, 0600);
}

Test(receipt_socket, a_name_that_is_taken) {
    struct problem problem = {.code = EXIT_OK};
    cr_assert(open_at(path, 0, &problem) == NULL);
    cr_assert(strstr(problem.text, "somebody listens") != NULL, "%s", problem.text);
}

Test(receipt_socket, one_that_was_left_behind) {
    struct problem problem = {.code = EXIT_OK};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    receipt_socket_close(tested);
    int const left = socket(AF_UNIX, SOCK_STREAM, 0);
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    cr_assert_eq(bind(left, (const struct sockaddr *)&address, sizeof address), 0);
    (void)close(left);
    tested = open_at(path, 0, &problem);
    cr_assert(tested != NULL, "%s", problem.text);
}

Test(receipt_socket, what_is_no_socket_stays) {
    struct problem problem = {.code = EXIT_OK};
    char name[80];
    (void)snprintf(name, sizeof name, "%s/file", place);
    int const file = open(name, O_CREAT | O_WRONLY, 0600);
    (void)close(file);
    cr_assert(open_at(name, 0, &problem) == NULL);
    cr_assert_eq(access(name, F_OK), 0);
    cr_assert_eq(unlink(name), 0);
}

Test(receipt_socket, names_that_do_not_fit) {
    char name[200];
    struct problem problem = {.code = EXIT_OK};
    struct problem none = {.code = EXIT_OK};
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    cr_assert(open_at(name, 0, &problem) == NULL);
    cr_assert_eq(problem.code, EXIT_USAGE);
    cr_assert(open_at("", 0, &none) == NULL);
}

Test(receipt_socket, a_directory_that_others_write_to) {
    struct problem problem = {.code = EXIT_OK};
    char name[100];
    char directory[80];
    (void)snprintf(directory, sizeof directory, "%s/open", place);
    (void)snprintf(name, sizeof name, "%s/s", directory);
    cr_assert_eq(mkdir(directory, 0700), 0);
    cr_assert_eq(chmod(directory, 0777), 0);
    cr_assert(open_at(name, 0, &problem) == NULL);
    cr_assert_eq(rmdir(directory), 0);
}
