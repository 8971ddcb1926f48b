/*
 * link_hostile: ends that lie about who they are, send what is not TLS or not a frame, dribble,
 * stay silent or come in crowds. Each is cut off with a reason, and honest links go on.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/clock.h"
#include "links.h"

static struct world world;

static void setup(void) {
    world_open(&world);
}

static void teardown(void) {
    world_close(&world);
}

TestSuite(link_hostile, .init = setup, .fini = teardown, .timeout = 120);

static void assert_refused(const char *expected, const struct end *who) {
    cr_assert_eq(world.acceptor.ups, 0);
    cr_assert_eq(world.dialler.ups, 0);
    cr_assert(strstr(who->reason, expected) != NULL, "reason: %s", who->reason);
}

static void dial_in_vain(const struct tls_context *tls) {
    (void)world_dial(&world, tls);
    world_wait(&world, &world.dialler.downs, 1);
    world_wait(&world, &world.acceptor.downs, 1);
}

/* An honest replica still gets a frame through. */
static void assert_service_unharmed(void) {
    struct end honest = {0};
    struct problem problem = {0};
    struct link_options const options = world_options(world.peer_dial, &honest);
    uint64_t const frames = world.acceptor.frames;
    cr_assert(link_dial(world.dialling, world.address, &options, &problem) != NULL);
    world_wait(&world, &honest.ups, 1);
    cr_assert_eq(link_send(honest.link, 1, NULL, 0), LINK_OK);
    world_wait_u64(&world, &world.acceptor.frames, frames + 1);
    link_close(honest.link, "done");
    world_wait(&world, &honest.downs, 1);
}

/* ---- identities ---- */

Test(link_hostile, another_replica_answers) {
    struct tls_context *const other = world_context(&world, TLS_PEER_ACCEPT, world.certificates[2]);
    world_listen_simply(&world, other);
    dial_in_vain(world.peer_dial);
    assert_refused("not the one genesis names for replica 0", &world.dialler);
    cr_assert(strstr(world.acceptor.reason, "refused") != NULL, "%s", world.acceptor.reason);
    link_group_close(world.accepting);
    world.accepting = NULL;
    world_run_ms(&world, 5);
    tls_context_free(other);
}

Test(link_hostile, a_client_notices_another_server) {
    struct tls_context *const other =
        world_context(&world, TLS_CLIENT_ACCEPT, world.certificates[2]);
    world_listen_simply(&world, other);
    dial_in_vain(world.client_dial);
    assert_refused("not the one genesis names for replica 0", &world.dialler);
    link_group_close(world.accepting);
    world.accepting = NULL;
    world_run_ms(&world, 5);
    tls_context_free(other);
}

static void dial_as(struct tls_certificate *certificate) {
    struct tls_context *const dial = world_context(&world, TLS_PEER_DIAL, certificate);
    dial_in_vain(dial);
    tls_context_free(dial);
}

Test(link_hostile, a_stranger_calls_a_replica) {
    struct tls_certificate *const stranger =
        world_odd_certificate(MBEDTLS_ECP_DP_SECP256R1, "20200101000000", "20400101000000");
    world_listen_simply(&world, world.peer_accept);
    dial_as(stranger);
    assert_refused("not one that genesis names for a replica", &world.acceptor);
    tls_certificate_free(stranger);
}

Test(link_hostile, a_client_calls_the_port_of_the_replicas) {
    world_listen_simply(&world, world.peer_accept);
    dial_in_vain(world.client_dial);
    assert_refused("shows no certificate", &world.acceptor);
    assert_service_unharmed();
}

/* The pinned certificate without its key: certificates are public. */
Test(link_hostile, a_copied_certificate_without_the_key) {
    struct tls_certificate *const thief =
        world_odd_certificate(MBEDTLS_ECP_DP_SECP256R1, "20200101000000", "20400101000000");
    mbedtls_x509_crt_free(&thief->chain);
    mbedtls_x509_crt_init(&thief->chain);
    const mbedtls_x509_buf *const victim = &world.certificates[1]->chain.raw;
    cr_assert(mbedtls_x509_crt_parse_der(&thief->chain, victim->p, victim->len) == 0);
    world_listen_simply(&world, world.peer_accept);
    dial_as(thief);
    assert_refused("TLS handshake", &world.acceptor);
    tls_certificate_free(thief);
    assert_service_unharmed();
}

Test(link_hostile, a_chain_of_two_certificates) {
    struct tls_certificate *const chained =
        world_odd_certificate(MBEDTLS_ECP_DP_SECP256R1, "20200101000000", "20400101000000");
    world.pins[3] = tls_certificate_digest(chained);
    const mbedtls_x509_buf *const second = &world.certificates[1]->chain.raw;
    cr_assert(mbedtls_x509_crt_parse_der(&chained->chain, second->p, second->len) == 0);
    struct tls_context *const accept =
        world_context(&world, TLS_PEER_ACCEPT, world.certificates[0]);
    world_listen_simply(&world, accept);
    dial_as(chained);
    assert_refused("a chain of certificates", &world.acceptor);
    link_group_close(world.accepting);
    world.accepting = NULL;
    world_run_ms(&world, 5);
    tls_context_free(accept);
    tls_certificate_free(chained);
}

Test(link_hostile, a_pinned_key_of_another_curve) {
    struct tls_certificate *const odd =
        world_odd_certificate(MBEDTLS_ECP_DP_SECP384R1, "20200101000000", "20400101000000");
    world.pins[3] = tls_certificate_digest(odd);
    struct tls_context *const accept =
        world_context(&world, TLS_PEER_ACCEPT, world.certificates[0]);
    world_listen_simply(&world, accept);
    dial_as(odd);
    assert_refused("", &world.acceptor);
    link_group_close(world.accepting);
    world.accepting = NULL;
    world_run_ms(&world, 5);
    tls_context_free(accept);
    tls_certificate_free(odd);
}

/* Dates do not count: the pin does. */
static void assert_accepted_with_dates(const char *from, const char *to) {
    struct tls_certificate *const odd = world_odd_certificate(MBEDTLS_ECP_DP_SECP256R1, from, to);
    world.pins[3] = tls_certificate_digest(odd);
    struct tls_context *const accept =
        world_context(&world, TLS_PEER_ACCEPT, world.certificates[0]);
    struct tls_context *const dial = world_context(&world, TLS_PEER_DIAL, odd);
    world_connect(&world, accept, dial);
    cr_assert_eq(world.acceptor.peer, 3);
    link_group_close(world.accepting);
    world.accepting = NULL;
    world_wait(&world, &world.dialler.downs, 1);
    world_run_ms(&world, 5);
    tls_context_free(accept);
    tls_context_free(dial);
    tls_certificate_free(odd);
}

Test(link_hostile, an_expired_certificate_is_as_good) {
    assert_accepted_with_dates("20010101000000", "20020101000000");
}

Test(link_hostile, a_certificate_of_the_future_is_as_good) {
    assert_accepted_with_dates("20450101000000", "20460101000000");
}

/* ---- bytes ---- */

static void send_garbage(struct span bytes, const char *reason) {
    unsigned const downs = world.acceptor.downs;
    int const fd = raw_connect(&world);
    cr_assert(send(fd, bytes.data, bytes.size, MSG_NOSIGNAL) == (ssize_t)bytes.size);
    cr_assert(raw_sees_end(&world, fd));
    cr_assert(close(fd) == 0);
    world_wait(&world, &world.acceptor.downs, downs + 1);
    cr_assert_eq(world.acceptor.ups, 0);
    cr_assert(strstr(world.acceptor.reason, reason) != NULL, "%s", world.acceptor.reason);
}

Test(link_hostile, garbage_is_dropped_at_once) {
    static const uint8_t bad_hello[] = "\x16\x03\x01\x00\x05\x01\xff\xff\xff\xff";
    static const uint8_t too_long[] = "\x16\x03\x01\xff\xff\x01";
    static const uint8_t hello[] = {22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3};
    static const uint8_t zeros[3000];
    uint8_t noise[8192];
    for (size_t i = 0; i < sizeof noise; i++) {
        noise[i] = (uint8_t)(i * i * 31 + i / 7 + 128);
    }
    world_listen_simply(&world, world.peer_accept);
    send_garbage(span_text("GET / HTTP/1.1\r\n\r\n"), "not TLS");
    send_garbage(span_of(zeros, sizeof zeros), "not TLS");
    send_garbage(span_of(noise, sizeof noise), "not TLS");
    send_garbage(span_of(too_long, sizeof too_long - 1), "not TLS");
    send_garbage(span_of(bad_hello, sizeof bad_hello - 1), "TLS handshake");
    for (size_t i = 0; i < 64; i++) { /* a record of a hello made of noise */
        memcpy(noise, hello, sizeof hello);
        noise[11 + i * 7] ^= (uint8_t)(i + 1);
        send_garbage(span_of(noise, 0x205), "TLS handshake");
    }
    assert_service_unharmed();
}

Test(link_hostile, half_open_connections_time_out) {
    struct link_options options = world_options(world.peer_accept, &world.acceptor);
    options.handshake_timeout_ms = 200;
    world_listen(&world, world.peer_accept, &options, 8, LINK_MEMORY_PEERS_MAX);
    int const silent = raw_connect(&world);
    int const partial = raw_connect(&world);
    cr_assert(send(partial, "\x16\x03\x01\x02\x00", 5, MSG_NOSIGNAL) == 5);
    uint64_t const start = clock_monotonic_ms();
    for (unsigned i = 0; i < 3; i++) { /* dribbling does not help */
        world_run_ms(&world, 40);
        cr_assert(send(partial, "\x01", 1, MSG_NOSIGNAL) == 1);
    }
    cr_assert_eq(world.acceptor.downs, 0);
    world_wait(&world, &world.acceptor.downs, 2);
    cr_assert(clock_monotonic_ms() - start < 600);
    cr_assert_str_eq(world.acceptor.reason, "TLS handshake not done after 200 ms");
    cr_assert(close(silent) == 0 && close(partial) == 0);
    assert_service_unharmed();
}

Test(link_hostile, a_silent_listener_times_out_the_dialler) {
    world_listen_simply(&world, world.peer_accept);
    int const fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert(fd >= 0 && listen(fd, 4) == 0);
    struct sockaddr_storage storage;
    socklen_t size = sizeof storage;
    cr_assert(getsockname(fd, (struct sockaddr *)&storage, &size) == 0);
    char address[32];
    (void)snprintf(address, sizeof address, "127.0.0.1:%u",
                   address_port((const struct sockaddr *)&storage));
    struct link_options options = world_options(world.peer_dial, &world.dialler);
    options.handshake_timeout_ms = 100;
    struct problem problem = {0};
    cr_assert(link_dial(world.dialling, address, &options, &problem) != NULL);
    world_wait(&world, &world.dialler.downs, 1);
    cr_assert_str_eq(world.dialler.reason, "TLS handshake not done after 100 ms");
    cr_assert(close(fd) == 0);
}

static void frame_header(uint8_t out[static 5], uint32_t size, uint8_t kind) {
    store_u32_be(out, size);
    out[4] = kind;
}

/* The header alone is enough to be cut off. */
static void assert_header_refused(uint32_t size, uint8_t kind, const char *reason) {
    struct raw raw;
    uint8_t header[5];
    unsigned const downs = world.acceptor.downs;
    raw_open(&raw, &world, world.peer_dial);
    frame_header(header, size, kind);
    raw_send(&raw, span_of(header, sizeof header));
    world_wait(&world, &world.acceptor.downs, downs + 1);
    cr_assert(strstr(world.acceptor.reason, reason) != NULL, "%s", world.acceptor.reason);
    cr_assert(raw_sees_end(&world, raw.socket));
    cr_assert_eq(world.acceptor.frames, 0);
    raw_close(&raw);
}

Test(link_hostile, oversize_and_unknown_frames) {
    world_listen_simply(&world, world.peer_accept);
    assert_header_refused(65, 32, "a frame of kind 32 announces 65 bytes, over the limit of 64");
    assert_header_refused(FRAME_SIZE_MAX + 1, 1, "over the limit");
    assert_header_refused(UINT32_MAX, 1, "over the limit");
    assert_header_refused(0, 0, "unknown kind 0");
    assert_header_refused(0, 255, "unknown kind 255");
    assert_service_unharmed();
}

/* The other end announces the largest frame and sends little of it: memory follows the bytes. */
Test(link_hostile, announcing_is_not_allocating) {
    static uint8_t part[100000];
    struct raw raw;
    world_listen_simply(&world, world.peer_accept);
    raw_open(&raw, &world, world.peer_dial);
    frame_header(part, FRAME_SIZE_MAX, 1);
    raw_send(&raw, span_of(part, sizeof part));
    world_run_ms(&world, 20);
    cr_assert_eq(world.acceptor.downs, 0);
    cr_assert(world.accepting->memory <= 4 * sizeof part);
    raw_close(&raw);
    world_wait(&world, &world.acceptor.downs, 1);
}

Test(link_hostile, input_of_all_links_is_bounded) {
    static uint8_t part[100000];
    struct raw raws[8];
    struct link_options const options = world_options(world.peer_accept, &world.acceptor);
    world_listen(&world, world.peer_accept, &options, 16, 500000);
    frame_header(part, FRAME_SIZE_MAX, 1);
    for (unsigned i = 0; i < 8; i++) {
        raw_open(&raws[i], &world, world.peer_dial);
        raw_send(&raws[i], span_of(part, sizeof part));
        world_run_ms(&world, 10);
        cr_assert(world.accepting->memory <= 600000);
    }
    cr_assert(world.acceptor.downs >= 3);
    cr_assert(strstr(world.acceptor.reason, "memory") != NULL);
    for (unsigned i = 0; i < 8; i++) {
        raw_close(&raws[i]);
    }
    world_wait(&world, &world.acceptor.downs, 8);
    assert_service_unharmed();
}

Test(link_hostile, a_dribbled_header_is_silence) {
    struct link_options options = world_options(world.peer_accept, &world.acceptor);
    options.idle_timeout_ms = 200;
    world_listen(&world, world.peer_accept, &options, 8, LINK_MEMORY_PEERS_MAX);
    struct raw raw;
    raw_open(&raw, &world, world.peer_dial);
    world_wait(&world, &world.acceptor.ups, 1);
    uint64_t const start = clock_monotonic_ms();
    static const uint8_t header[5] = {0, 0, 1, 0, 1};
    for (unsigned i = 0; i < 4; i++) {
        raw_send(&raw, span_of(header + i, 1));
        world_run_ms(&world, 40);
    }
    cr_assert_eq(world.acceptor.downs, 0);
    world_wait(&world, &world.acceptor.downs, 1);
    cr_assert(clock_monotonic_ms() - start < 600);
    cr_assert_str_eq(world.acceptor.reason, "no complete frame for 200 ms");
    raw_close(&raw);
}

Test(link_hostile, dribbled_frames_are_frames) {
    struct raw raw;
    world_listen_simply(&world, world.peer_accept);
    raw_open(&raw, &world, world.peer_dial);
    static const uint8_t frames[] = {0, 0, 0, 2, 1, 'a', 'b', 0, 0, 0, 0, 2, 0, 0, 0, 1, 3, 'c'};
    for (size_t i = 0; i < sizeof frames; i++) {
        raw_send(&raw, span_of(frames + i, 1));
        world_run_ms(&world, 1);
    }
    world_wait_u64(&world, &world.acceptor.frames, 3);
    cr_assert_eq(world.acceptor.bytes, 3);
    raw_close(&raw);
    world_wait(&world, &world.acceptor.downs, 1);
}

Test(link_hostile, a_flipped_bit_ends_the_link) {
    struct raw raw;
    world_listen_simply(&world, world.peer_accept);
    raw_open(&raw, &world, world.peer_dial);
    static const uint8_t frame[] = {0, 0, 0, 2, 1, 'a', 'b'};
    cr_assert(tls_session_write(raw.session, span_of(frame, sizeof frame)) == TLS_OK);
    raw.out.data[raw.out.size - 3] ^= 4;
    cr_assert(send(raw.socket, raw.out.data, raw.out.size, MSG_NOSIGNAL) == (ssize_t)raw.out.size);
    world_wait(&world, &world.acceptor.downs, 1);
    cr_assert_eq(world.acceptor.frames, 0);
    cr_assert(strstr(world.acceptor.reason, "MAC") != NULL, "%s", world.acceptor.reason);
    raw_close(&raw);
    assert_service_unharmed();
}

/* An end that never reads: our side fills up, answers BUSY, and gives up after the idle time. */
Test(link_hostile, an_end_that_never_reads) {
    static uint8_t payload[1u << 20];
    struct link_options options = world_options(world.peer_accept, &world.acceptor);
    options.idle_timeout_ms = 400;
    options.output_size_max = 3u << 20;
    world_listen(&world, world.peer_accept, &options, 8, LINK_MEMORY_PEERS_MAX);
    struct raw raw;
    raw_open(&raw, &world, world.peer_dial);
    world_wait(&world, &world.acceptor.ups, 1);
    struct span const part = span_of(payload, sizeof payload);
    unsigned refusals = 0;
    static const uint8_t frame[] = {0, 0, 0, 0, 1};
    while (world.acceptor.downs == 0) {
        if (refusals < 10 || refusals % 10 == 0) {
            raw_send(&raw, span_of(frame, sizeof frame)); /* not silent itself */
        }
        if (link_send(world.acceptor.link, 1, &part, 1) == LINK_BUSY) {
            refusals++;
        }
        cr_assert(link_backlog(world.acceptor.link) <= (3u << 20) + LINK_FLUSH_SIZE_MAX);
        world_run_ms(&world, 10);
        cr_assert(refusals < 200);
    }
    cr_assert(refusals > 0);
    cr_assert_str_eq(world.acceptor.reason, "the other end takes no bytes for 400 ms");
    raw_close(&raw);
}

/* ---- crowds ---- */

Test(link_hostile, a_crowd_of_finished_handshakes) {
    struct link_options const options = world_options(world.peer_accept, &world.acceptor);
    world_listen(&world, world.peer_accept, &options, 4, LINK_MEMORY_PEERS_MAX);
    for (unsigned i = 0; i < 4; i++) {
        (void)world_dial(&world, world.peer_dial);
        world_wait(&world, &world.acceptor.ups, i + 1);
    }
    for (unsigned i = 0; i < 20; i++) {
        int const fd = raw_connect(&world);
        cr_assert(raw_sees_end(&world, fd));
        cr_assert(close(fd) == 0);
    }
    cr_assert_eq(world.acceptor.downs, 0, "those who were there stay");
    cr_assert_eq(world.accepting->connections, 4);
    cr_assert_eq(link_group_refused_count(world.accepting), 20);
    link_close(world.acceptor.link, "room for one");
    world_wait(&world, &world.acceptor.downs, 1);
    assert_service_unharmed();
}

Test(link_hostile, a_crowd_of_half_open_connections) {
    int fds[50];
    struct link_options const options = world_options(world.peer_accept, &world.acceptor);
    world_listen(&world, world.peer_accept, &options, 8, LINK_MEMORY_PEERS_MAX);
    for (unsigned i = 0; i < 50; i++) {
        fds[i] = raw_connect(&world);
        world_run_ms(&world, 1);
        cr_assert(world.accepting->connections <= 8);
    }
    assert_service_unharmed();
    for (unsigned i = 0; i < 50; i++) {
        cr_assert(close(fds[i]) == 0);
    }
    world_wait(&world, &world.acceptor.downs, 51);
}

/* Good-bye from hundreds of diallers in the middle of their handshakes. */
Test(link_hostile, a_crowd_that_leaves_again) {
    struct link *links[100];
    struct link_options const options = world_options(world.peer_accept, &world.acceptor);
    world_listen(&world, world.peer_accept, &options, 16, LINK_MEMORY_PEERS_MAX);
    for (unsigned i = 0; i < 100; i++) {
        links[i] = world_dial(&world, world.peer_dial);
    }
    (void)uv_run(&world.loop, UV_RUN_NOWAIT);
    (void)uv_run(&world.loop, UV_RUN_NOWAIT);
    if (world.dialler.downs == 0) {
        for (unsigned i = 0; i < 100; i++) {
            link_close(links[i], "leaving");
        }
    }
    world_wait(&world, &world.dialler.downs, 100);
    assert_service_unharmed();
}
