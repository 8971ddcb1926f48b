/*
 * links: see links.h.
 */
#include "links.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "host/clock.h"

#define PATIENCE_MS 10000u

size_t world_frame_size_max(uint8_t kind) {
    if (kind >= 1 && kind <= 15) {
        return FRAME_SIZE_MAX;
    }
    return kind == 32 ? 64 : 0;
}

/* ---- ends ---- */

static void on_up(struct link *link, void *user) {
    struct end *const end = user;
    end->ups++;
    end->link = link;
    end->peer = link_peer(link);
    if (end->up != NULL) {
        end->up(end, link);
    }
}

static void on_frame(struct link *link, void *user, uint8_t kind, struct span payload) {
    struct end *const end = user;
    end->frames++;
    end->bytes += payload.size;
    end->digest = end->digest * 31 + kind;
    for (size_t i = 0; i < payload.size; i++) {
        end->digest = end->digest * 31 + payload.data[i];
    }
    if (end->frame != NULL) {
        end->frame(end, link, kind, payload);
    }
}

static void on_drained(struct link *link, void *user) {
    struct end *const end = user;
    end->drains++;
    if (end->drained != NULL) {
        end->drained(end, link);
    }
}

static void on_down(struct link *link, void *user, const char *reason) {
    struct end *const end = user;
    end->downs++;
    end->downs_never_up += link_was_up(link) ? 0 : 1;
    if (end->link == link) {
        end->link = NULL;
    }
    cr_assert(strlen(reason) > 0);
    (void)snprintf(end->reason, sizeof end->reason, "%s", reason);
}

struct link_options world_options(const struct tls_context *tls, struct end *end) {
    return (struct link_options){.tls = tls,
                                 .handlers = {.on_up = on_up,
                                              .on_frame = on_frame,
                                              .on_drained = on_drained,
                                              .on_down = on_down,
                                              .frame_size_max = world_frame_size_max},
                                 .user = end};
}

/* ---- the world ---- */

struct tls_context *world_context(struct world *world, enum tls_role role,
                                  struct tls_certificate *certificate) {
    struct problem problem = {0};
    struct tls_context_options const options = {
        .role = role, .certificate = certificate, .pins = world->pins, .pin_count = TEST_REPLICAS};
    struct tls_context *const context = tls_context_create(&options, &problem);
    cr_assert(context != NULL, "%s", problem.text);
    return context;
}

static void make_replica(struct world *world, unsigned i) {
    char certificate[96];
    char key[96];
    (void)snprintf(certificate, sizeof certificate, "%s/%u.crt", world->directory, i);
    (void)snprintf(key, sizeof key, "%s/%u.key", world->directory, i);
    struct tls_certificate_paths const paths = {.certificate = certificate, .key = key};
    struct problem problem = {0};
    cr_assert(tls_certificate_generate(&world->pins[i], &paths, "a replica", &problem) == 0, "%s",
              problem.text);
    world->certificates[i] = tls_certificate_load(&paths, &problem);
    cr_assert(world->certificates[i] != NULL, "%s", problem.text);
    cr_assert(unlink(certificate) == 0 && unlink(key) == 0);
}

void world_open(struct world *world) {
    *world = (struct world){.directory = "/tmp/onus-links-XXXXXX"};
    cr_assert(signal(SIGPIPE, SIG_IGN) != SIG_ERR);
    cr_assert(mkdtemp(world->directory) != NULL);
    cr_assert(uv_loop_init(&world->loop) == 0);
    for (unsigned i = 0; i < TEST_REPLICAS; i++) {
        make_replica(world, i);
    }
    struct tls_certificate *const *const own = world->certificates;
    world->peer_accept = world_context(world, TLS_PEER_ACCEPT, own[0]);
    world->peer_dial = world_context(world, TLS_PEER_DIAL, own[1]);
    world->client_accept = world_context(world, TLS_CLIENT_ACCEPT, own[0]);
    world->client_dial = world_context(world, TLS_CLIENT_DIAL, NULL);
}

static struct link_group *make_group(struct world *world, uint32_t connections_max,
                                     size_t memory_max) {
    struct problem problem = {0};
    struct link_group_options const options = {
        .loop = &world->loop, .connections_max = connections_max, .memory_max = memory_max};
    struct link_group *const group = link_group_create(&options, &problem);
    cr_assert(group != NULL, "%s", problem.text);
    return group;
}

void world_listen(struct world *world, const struct tls_context *tls,
                  const struct link_options *options, uint32_t connections_max, size_t memory_max) {
    struct problem problem = {0};
    struct link_options accepting = *options;
    accepting.tls = tls;
    world->accepting = make_group(world, connections_max, memory_max);
    world->dialling = make_group(world, 0, LINK_MEMORY_PEERS_MAX);
    cr_assert(link_group_listen(world->accepting, "127.0.0.1:0", &accepting, &problem) == 0, "%s",
              problem.text);
    (void)snprintf(world->address, sizeof world->address, "127.0.0.1:%u",
                   link_group_port(world->accepting));
}

void world_listen_simply(struct world *world, const struct tls_context *tls) {
    struct link_options const options = world_options(tls, &world->acceptor);
    world_listen(world, tls, &options, CONNECTIONS_PEERS_MAX, LINK_MEMORY_PEERS_MAX);
}

struct link *world_dial(struct world *world, const struct tls_context *tls) {
    struct problem problem = {0};
    struct link_options const options = world_options(tls, &world->dialler);
    struct link *const link = link_dial(world->dialling, world->address, &options, &problem);
    cr_assert(link != NULL, "%s", problem.text);
    return link;
}

void world_connect(struct world *world, const struct tls_context *accept,
                   const struct tls_context *dial) {
    world_listen_simply(world, accept);
    (void)world_dial(world, dial);
    world_wait(world, &world->dialler.ups, 1);
    world_wait(world, &world->acceptor.ups, 1);
}

void world_close(struct world *world) {
    if (world->accepting != NULL) {
        link_group_close(world->accepting);
    }
    if (world->dialling != NULL) {
        link_group_close(world->dialling);
    }
    cr_assert(uv_run(&world->loop, UV_RUN_DEFAULT) == 0);
    cr_assert(uv_loop_close(&world->loop) == 0, "something is left in the loop");
    cr_assert(world->dialler.downs >= world->dialler.ups);
    cr_assert_eq(world->dialler.downs - world->dialler.downs_never_up, world->dialler.ups);
    cr_assert_eq(world->acceptor.downs - world->acceptor.downs_never_up, world->acceptor.ups);
    tls_context_free(world->peer_accept);
    tls_context_free(world->peer_dial);
    tls_context_free(world->client_accept);
    tls_context_free(world->client_dial);
    for (unsigned i = 0; i < TEST_REPLICAS; i++) {
        tls_certificate_free(world->certificates[i]);
    }
    cr_assert(rmdir(world->directory) == 0);
}

static void on_patience(uv_timer_t *timer) {
    bool *const over = timer->data;
    *over = true;
}

static void on_timer_closed(uv_handle_t *handle) {
    handle->data = NULL;
}

/* Run until one of the counters has its value or the time is over. Returns: whether it is over. */
static bool run(struct world *world, uint64_t ms, const unsigned *counter, unsigned value,
                const uint64_t *counter_u64, uint64_t value_u64) {
    bool over = false;
    uv_timer_t timer;
    cr_assert(uv_timer_init(&world->loop, &timer) == 0);
    timer.data = &over;
    uv_update_time(&world->loop);
    cr_assert(uv_timer_start(&timer, on_patience, ms, 0) == 0);
    while (!over && !(counter != NULL && *counter >= value) &&
           !(counter_u64 != NULL && *counter_u64 >= value_u64)) {
        (void)uv_run(&world->loop, UV_RUN_ONCE);
    }
    uv_close((uv_handle_t *)&timer, on_timer_closed);
    while (timer.data != NULL) {
        (void)uv_run(&world->loop, UV_RUN_NOWAIT);
    }
    return over;
}

void world_wait(struct world *world, const unsigned *counter, unsigned value) {
    bool const over = run(world, PATIENCE_MS, counter, value, NULL, 0);
    cr_assert(!over, "%u instead of %u; acceptor: %s; dialler: %s", *counter, value,
              world->acceptor.reason, world->dialler.reason);
}

void world_wait_u64(struct world *world, const uint64_t *counter, uint64_t value) {
    bool const over = run(world, 6 * PATIENCE_MS, NULL, 0, counter, value);
    cr_assert(!over, "%lu instead of %lu; acceptor: %s; dialler: %s", (unsigned long)*counter,
              (unsigned long)value, world->acceptor.reason, world->dialler.reason);
}

void world_run_ms(struct world *world, uint64_t ms) {
    cr_assert(run(world, ms, NULL, 0, NULL, 0));
}

/* ---- odd certificates ---- */

static void write_odd(mbedtls_x509write_cert *writer, mbedtls_pk_context *key, const char *from,
                      const char *to, unsigned char *pem, size_t size) {
    mbedtls_mpi serial;
    mbedtls_mpi_init(&serial);
    cr_assert(mbedtls_mpi_lset(&serial, 7) == 0);
    mbedtls_x509write_crt_set_md_alg(writer, MBEDTLS_MD_SHA256);
    mbedtls_x509write_crt_set_subject_key(writer, key);
    mbedtls_x509write_crt_set_issuer_key(writer, key);
    cr_assert(mbedtls_x509write_crt_set_subject_name(writer, "CN=odd") == 0);
    cr_assert(mbedtls_x509write_crt_set_issuer_name(writer, "CN=odd") == 0);
    cr_assert(mbedtls_x509write_crt_set_validity(writer, from, to) == 0);
    cr_assert(mbedtls_x509write_crt_set_serial(writer, &serial) == 0);
    cr_assert(mbedtls_x509write_crt_pem(writer, pem, size, tls_certificate_random, NULL) == 0);
    mbedtls_mpi_free(&serial);
}

struct tls_certificate *world_odd_certificate(mbedtls_ecp_group_id curve, const char *from,
                                              const char *to) {
    unsigned char pem[4096];
    struct tls_certificate *const odd = malloc(sizeof *odd);
    cr_assert(odd != NULL);
    mbedtls_x509_crt_init(&odd->chain);
    mbedtls_pk_init(&odd->key);
    mbedtls_x509write_cert writer;
    mbedtls_x509write_crt_init(&writer);
    cr_assert(mbedtls_pk_setup(&odd->key, mbedtls_pk_info_from_type(MBEDTLS_PK_ECKEY)) == 0);
    cr_assert(mbedtls_ecp_gen_key(curve, mbedtls_pk_ec(odd->key), tls_certificate_random, NULL) ==
              0);
    write_odd(&writer, &odd->key, from, to, pem, sizeof pem);
    mbedtls_x509write_crt_free(&writer);
    cr_assert(mbedtls_x509_crt_parse(&odd->chain, pem, strlen((char *)pem) + 1) == 0);
    return odd;
}

/* ---- the hand-driven client ---- */

int raw_connect(struct world *world) {
    struct sockaddr_in const address = {.sin_family = AF_INET,
                                        .sin_port = htons(link_group_port(world->accepting)),
                                        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int const fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    cr_assert(fd >= 0);
    int const result = connect(fd, (const struct sockaddr *)&address, sizeof address);
    cr_assert(result == 0 || errno == EINPROGRESS);
    struct pollfd wanted = {.fd = fd, .events = POLLOUT};
    cr_assert(poll(&wanted, 1, 1000) == 1);
    return fd;
}

static void raw_flush(struct raw *raw) {
    size_t done = 0;
    while (done < raw->out.size) {
        ssize_t const size =
            send(raw->socket, raw->out.data + done, raw->out.size - done, MSG_NOSIGNAL);
        cr_assert(size > 0, "send: %s", strerror(errno));
        done += (size_t)size;
    }
    buffer_clear(&raw->out);
}

void raw_open(struct raw *raw, struct world *world, const struct tls_context *tls) {
    raw->socket = raw_connect(world);
    raw->session = tls_session_create(tls, 0);
    cr_assert(raw->session != NULL);
    buffer_init(&raw->out, 1u << 20);
    buffer_init(&raw->in, 1u << 20);
    tls_session_set_output(raw->session, &raw->out);
    uint64_t const start = clock_monotonic_ms();
    enum tls_status status = tls_session_handshake(raw->session);
    while (status == TLS_WANTS_INPUT) {
        cr_assert(clock_monotonic_ms() - start < PATIENCE_MS);
        raw_flush(raw);
        (void)uv_run(&world->loop, UV_RUN_NOWAIT);
        buffer_clear(&raw->in);
        uint8_t bytes[4096];
        ssize_t const size = recv(raw->socket, bytes, sizeof bytes, 0);
        cr_assert(size != 0);
        if (size > 0) {
            cr_assert(buffer_append(&raw->in, span_of(bytes, (size_t)size)));
            tls_session_set_input(raw->session, buffer_span(&raw->in));
            status = tls_session_handshake(raw->session);
        }
    }
    cr_assert(status == TLS_OK, "%s", tls_session_reason(raw->session));
    raw_flush(raw);
}

void raw_send(struct raw *raw, struct span plain) {
    cr_assert(tls_session_write(raw->session, plain) == TLS_OK);
    raw_flush(raw);
}

void raw_close(struct raw *raw) {
    cr_assert(close(raw->socket) == 0);
    tls_session_free(raw->session);
    buffer_free(&raw->out);
    buffer_free(&raw->in);
}

bool raw_sees_end(struct world *world, int socket) {
    uint64_t const start = clock_monotonic_ms();
    while (clock_monotonic_ms() - start < PATIENCE_MS) {
        (void)uv_run(&world->loop, UV_RUN_NOWAIT);
        uint8_t bytes[4096];
        ssize_t const size = recv(socket, bytes, sizeof bytes, 0);
        if (size == 0 || (size < 0 && errno != EAGAIN && errno != EINTR)) {
            return true;
        }
        if (size < 0) {
            (void)usleep(1000);
        }
    }
    return false;
}
