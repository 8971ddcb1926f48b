/*
 * link: links that behave: handshakes of both kinds, frames of all sizes in order, back-pressure,
 * closing at every inconvenient moment, addresses. What hostile ends do is in link_hostile.c.
 */
#include <criterion/criterion.h>
#include <stdio.h>

#include "host/backoff.h"
#include "host/clock.h"
#include "links.h"

static struct world world;

static void setup(void) {
    world_open(&world);
}

static void teardown(void) {
    world_close(&world);
}

TestSuite(link, .init = setup, .fini = teardown, .timeout = 120);

static uint8_t pattern[4u << 20];

static void fill_pattern(void) {
    uint32_t state = 1;
    for (size_t i = 0; i < sizeof pattern; i++) {
        state = state * 1664525u + 1013904223u;
        pattern[i] = (uint8_t)(state >> 24);
    }
}

/* What an end's digest must be after one more frame. */
static uint64_t expect(uint64_t digest, uint8_t kind, struct span payload) {
    digest = digest * 31 + kind;
    for (size_t i = 0; i < payload.size; i++) {
        digest = digest * 31 + payload.data[i];
    }
    return digest;
}

/* ---- handshakes ---- */

Test(link, replicas_know_each_other) {
    world_connect(&world, world.peer_accept, world.peer_dial);
    cr_assert_eq(world.acceptor.peer, 1);
    cr_assert_eq(world.dialler.peer, 0);
    cr_assert_eq(link_peer(world.dialler.link), 0);
    cr_assert_str_eq(link_address(world.dialler.link), world.address);
    cr_assert(strncmp(link_address(world.acceptor.link), "127.0.0.1:", 10) == 0);
}

Test(link, clients_are_anonymous) {
    world_connect(&world, world.client_accept, world.client_dial);
    cr_assert_eq(world.acceptor.peer, TLS_PEER_ANONYMOUS);
    cr_assert_eq(world.dialler.peer, 0);
}

Test(link, many_handshakes_at_once) {
    world_listen_simply(&world, world.peer_accept);
    for (unsigned i = 0; i < 40; i++) {
        (void)world_dial(&world, world.peer_dial);
    }
    world_wait(&world, &world.dialler.ups, 40);
    world_wait(&world, &world.acceptor.ups, 40);
    cr_assert_eq(world.dialler.downs + world.acceptor.downs, 0);
}

/* ---- frames ---- */

Test(link, frames_of_all_sizes_arrive_in_order) {
    static const size_t sizes[] = {0,     1,     4,     300,     16379,    16380, 16381,
                                   16384, 32768, 65536, 1000000, 4u << 20, 0,     7};
    fill_pattern();
    world_connect(&world, world.peer_accept, world.peer_dial);
    uint64_t digest = 0;
    uint64_t frames = 0;
    for (unsigned round = 0; round < 3; round++) {
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            struct span const payload = span_of(pattern, sizes[i]);
            uint8_t const kind = (uint8_t)(1 + i);
            struct span const parts[] = {span_of(pattern, sizes[i] / 3),
                                         {0},
                                         span_of(pattern + sizes[i] / 3, sizes[i] - sizes[i] / 3)};
            cr_assert_eq(link_send(world.dialler.link, kind, parts, 3), LINK_OK);
            cr_assert_eq(link_send(world.acceptor.link, kind, &payload, 1), LINK_OK);
            digest = expect(digest, kind, payload);
            frames++;
        }
    }
    world_wait_u64(&world, &world.acceptor.frames, frames);
    world_wait_u64(&world, &world.dialler.frames, frames);
    cr_assert_eq(world.acceptor.digest, digest);
    cr_assert_eq(world.dialler.digest, digest);
    cr_assert_eq(link_backlog(world.dialler.link), 0);
    cr_assert(world.accepting->memory <= 4 * LINK_BUFFER_KEEP_SIZE, "large buffers are given back");
}

struct stream {
    uint64_t left;
    uint8_t payload[300];
};

static void stream_more(struct end *end, struct link *link) {
    struct stream *const stream = end->more;
    struct span const payload = span_of(stream->payload, sizeof stream->payload);
    while (stream->left > 0 && link_send(link, 5, &payload, 1) == LINK_OK) {
        stream->left--;
    }
}

Test(link, hundred_thousand_frames_each_way) {
    uint64_t const count = 100000;
    struct stream streams[2] = {{.left = count}, {.left = count}};
    world_connect(&world, world.peer_accept, world.peer_dial);
    world.acceptor.more = &streams[0];
    world.dialler.more = &streams[1];
    world.acceptor.drained = stream_more;
    world.dialler.drained = stream_more;
    uint64_t const start = clock_monotonic_ms();
    stream_more(&world.acceptor, world.acceptor.link);
    stream_more(&world.dialler, world.dialler.link);
    world_wait_u64(&world, &world.acceptor.frames, count);
    world_wait_u64(&world, &world.dialler.frames, count);
    uint64_t const elapsed = clock_monotonic_ms() - start;
    cr_log_info("%lu frames of 300 bytes, both ends in one thread: %lu ms\n",
                (unsigned long)(2 * count), (unsigned long)elapsed);
    cr_assert_eq(world.acceptor.bytes, 300 * count);
    cr_assert_eq(world.dialler.bytes, 300 * count);
}

/* ---- back-pressure ---- */

/* Fill a link whose other end is paused. Returns: frames taken. */
static uint64_t fill_up(struct link *link, uint64_t *digest, struct span payload) {
    uint64_t frames = 0;
    unsigned refusals = 0;
    while (refusals < 20) {
        if (link_send(link, 9, &payload, 1) == LINK_OK) {
            *digest = expect(*digest, 9, payload);
            frames++;
        } else {
            refusals++;
            world_run_ms(&world, 2);
        }
        cr_assert(link_backlog(link) <= LINK_OUTPUT_SIZE_MAX);
    }
    return frames;
}

Test(link, paused_reader_fills_the_writer_and_loses_nothing) {
    fill_pattern();
    world_connect(&world, world.peer_accept, world.peer_dial);
    link_pause(world.acceptor.link);
    uint64_t digest = 0;
    uint64_t const frames = fill_up(world.dialler.link, &digest, span_of(pattern, 100000));
    cr_assert(frames > LINK_OUTPUT_SIZE_MAX / 100000);
    cr_assert(link_backlog(world.dialler.link) > LINK_OUTPUT_SIZE_MAX - 200000);
    cr_assert_eq(world.acceptor.frames, 0);
    world.dialler.drains = 0;
    link_resume(world.acceptor.link);
    world_wait_u64(&world, &world.acceptor.frames, frames);
    world_wait(&world, &world.dialler.drains, 1);
    cr_assert_eq(world.dialler.drains, 1);
    cr_assert_eq(world.acceptor.digest, digest);
}

static void pause_after_frame(struct end *end, struct link *link, uint8_t kind,
                              struct span payload) {
    (void)kind;
    (void)payload;
    (void)end;
    link_pause(link);
}

Test(link, one_frame_for_each_resume) {
    fill_pattern();
    world_connect(&world, world.peer_accept, world.peer_dial);
    world.acceptor.frame = pause_after_frame;
    uint64_t digest = 0;
    for (unsigned i = 0; i < 50; i++) {
        struct span const payload = span_of(pattern + i, i * 977);
        cr_assert_eq(link_send(world.dialler.link, 3, &payload, 1), LINK_OK);
        digest = expect(digest, 3, payload);
    }
    for (unsigned i = 1; i <= 50; i++) {
        world_wait_u64(&world, &world.acceptor.frames, i);
        if (i % 10 == 0) {
            world_run_ms(&world, 5);
            cr_assert_eq(world.acceptor.frames, i);
        }
        link_resume(world.acceptor.link);
    }
    cr_assert_eq(world.acceptor.digest, digest);
}

Test(link, links_short_of_memory_wait_for_each_other) {
    struct link_options options = world_options(world.client_accept, &world.acceptor);
    world_listen(&world, world.client_accept, &options, 8, 2u << 20);
    fill_pattern();
    struct link *const first = world_dial(&world, world.client_dial);
    world_wait(&world, &world.acceptor.ups, 1);
    struct link *const accepted = world.acceptor.link;
    link_pause(first);
    /* 600 KB are within 2 MiB once, not twice, since a growing buffer doubles. */
    struct span const payload = span_of(pattern, 600000);
    unsigned taken = 0;
    while (link_send(accepted, 9, &payload, 1) == LINK_OK) {
        taken++;
        cr_assert(taken < 100);
        world_run_ms(&world, 2);
    }
    cr_assert(taken >= 1);
    cr_assert(world.accepting->memory <= 2u << 20);
    link_resume(first);
    world_wait_u64(&world, &world.dialler.frames, taken);
    world_wait(&world, &world.acceptor.drains, 1);
    cr_assert_eq(link_send(accepted, 9, &payload, 1), LINK_OK);
    world_wait_u64(&world, &world.dialler.frames, taken + 1);
}

/* ---- closing ---- */

static void close_in_up(struct end *end, struct link *link) {
    (void)end;
    link_close(link, "closed in on_up");
    link_close(link, "and again");
    cr_assert_eq(link_send(link, 1, NULL, 0), LINK_DOWN);
}

Test(link, close_in_on_up) {
    world_listen_simply(&world, world.peer_accept);
    world.dialler.up = close_in_up;
    (void)world_dial(&world, world.peer_dial);
    world_wait(&world, &world.dialler.downs, 1);
    cr_assert_str_eq(world.dialler.reason, "closed in on_up");
    world_wait(&world, &world.acceptor.downs, 1);
}

static void close_in_frame(struct end *end, struct link *link, uint8_t kind, struct span payload) {
    if (end->frames == 3) {
        link_close(link, "closed in on_frame");
        /* the payload stays valid until we return */
        end->digest = expect(end->digest, kind, payload);
    }
    cr_assert(end->frames <= 3, "no frame after the close");
}

Test(link, close_in_on_frame) {
    fill_pattern();
    world_connect(&world, world.peer_accept, world.peer_dial);
    world.acceptor.frame = close_in_frame;
    struct span const payload = span_of(pattern, 1000);
    for (unsigned i = 0; i < 10; i++) {
        cr_assert_eq(link_send(world.dialler.link, 3, &payload, 1), LINK_OK);
    }
    world_wait(&world, &world.acceptor.downs, 1);
    world_wait(&world, &world.dialler.downs, 1);
    cr_assert_str_eq(world.acceptor.reason, "closed in on_frame");
    cr_assert_eq(world.acceptor.frames, 3);
}

static void close_in_drained(struct end *end, struct link *link) {
    (void)end;
    link_close(link, "closed in on_drained");
}

Test(link, close_in_on_drained) {
    world_connect(&world, world.peer_accept, world.peer_dial);
    link_pause(world.acceptor.link);
    uint64_t digest = 0;
    (void)fill_up(world.dialler.link, &digest, span_of(pattern, sizeof pattern));
    world.dialler.drained = close_in_drained;
    link_resume(world.acceptor.link);
    world_wait(&world, &world.dialler.downs, 1);
    cr_assert_str_eq(world.dialler.reason, "closed in on_drained");
}

static void close_group_in_frame(struct end *end, struct link *link, uint8_t kind,
                                 struct span payload) {
    (void)end;
    (void)link;
    (void)kind;
    (void)payload;
    link_group_close(world.accepting);
    world.accepting = NULL;
}

Test(link, close_group_in_on_frame) {
    world_connect(&world, world.peer_accept, world.peer_dial);
    world.acceptor.frame = close_group_in_frame;
    cr_assert_eq(link_send(world.dialler.link, 3, NULL, 0), LINK_OK);
    cr_assert_eq(link_send(world.dialler.link, 3, NULL, 0), LINK_OK);
    world_wait(&world, &world.acceptor.downs, 1);
    cr_assert_str_eq(world.acceptor.reason, "closed");
    cr_assert_eq(world.acceptor.frames, 1);
}

Test(link, close_at_any_moment_of_the_handshake) {
    world_listen_simply(&world, world.peer_accept);
    for (unsigned turns = 0; turns < 24; turns++) {
        struct link *const link = world_dial(&world, world.peer_dial);
        unsigned const downs = world.dialler.downs;
        for (unsigned i = 0; i < turns && world.dialler.downs == downs; i++) {
            (void)uv_run(&world.loop, UV_RUN_NOWAIT);
        }
        if (world.dialler.downs == downs) {
            link_close(link, "changed my mind");
        }
        world_wait(&world, &world.dialler.downs, downs + 1);
    }
}

Test(link, finish_sends_the_last_word) {
    fill_pattern();
    world_connect(&world, world.client_accept, world.client_dial);
    struct span const large = span_of(pattern, 4u << 20);
    cr_assert_eq(link_send(world.acceptor.link, 1, &large, 1), LINK_OK);
    cr_assert_eq(link_send(world.acceptor.link, 2, NULL, 0), LINK_OK);
    link_finish(world.acceptor.link, "said it all");
    cr_assert_eq(link_send(world.acceptor.link, 2, NULL, 0), LINK_DOWN);
    world_wait(&world, &world.acceptor.downs, 1);
    world_wait(&world, &world.dialler.downs, 1);
    cr_assert_eq(world.dialler.frames, 2);
    cr_assert_str_eq(world.acceptor.reason, "said it all");
    cr_assert_str_eq(world.dialler.reason, "the other end closed the connection");
}

Test(link, finish_does_not_wait_for_ever) {
    world_connect(&world, world.client_accept, world.client_dial);
    link_pause(world.dialler.link);
    uint64_t const start = clock_monotonic_ms();
    link_finish(world.acceptor.link, "said it all");
    world_wait(&world, &world.acceptor.downs, 1);
    cr_assert(clock_monotonic_ms() - start < LINK_FINISH_TIMEOUT_MS + 500);
}

Test(link, silence_ends_a_link) {
    struct link_options options = world_options(world.peer_accept, &world.acceptor);
    options.idle_timeout_ms = 150;
    world_listen(&world, world.peer_accept, &options, 4, LINK_MEMORY_PEERS_MAX);
    (void)world_dial(&world, world.peer_dial);
    world_wait(&world, &world.dialler.ups, 1);
    for (unsigned i = 0; i < 6; i++) { /* frames keep it alive */
        cr_assert_eq(link_send(world.dialler.link, 3, NULL, 0), LINK_OK);
        world_run_ms(&world, 60);
        cr_assert_eq(world.acceptor.downs, 0);
    }
    world_wait(&world, &world.acceptor.downs, 1);
    cr_assert_str_eq(world.acceptor.reason, "no complete frame for 150 ms");
}

/* ---- addresses ---- */

Test(link, a_refused_connection_names_the_address) {
    world_listen_simply(&world, world.peer_accept);
    link_group_close(world.accepting);
    world.accepting = NULL;
    world_run_ms(&world, 5);
    (void)world_dial(&world, world.peer_dial);
    world_wait(&world, &world.dialler.downs, 1);
    cr_assert(strstr(world.dialler.reason, world.address) != NULL);
    cr_assert(strstr(world.dialler.reason, "connection refused") != NULL);
    cr_assert_eq(world.dialler.downs_never_up, 1);
}

Test(link, names_are_resolved) {
    struct problem problem = {0};
    world_listen_simply(&world, world.peer_accept);
    struct link_options const options = world_options(world.peer_dial, &world.dialler);
    char address[32];
    /* No label of a name has 64 characters: resolving fails without asking anybody. */
    static const char unknown[] =
        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx.invalid:1";
    (void)snprintf(address, sizeof address, "localhost:%u", link_group_port(world.accepting));
    cr_assert(link_dial(world.dialling, address, &options, &problem) != NULL);
    world_wait(&world, &world.dialler.ups, 1);
    cr_assert(link_dial(world.dialling, unknown, &options, &problem) != NULL);
    world_wait(&world, &world.dialler.downs, 1);
    cr_assert(strstr(world.dialler.reason, unknown) != NULL);
    struct link *const closed = link_dial(world.dialling, address, &options, &problem);
    link_close(closed, "while resolving");
    world_wait(&world, &world.dialler.downs, 2);
    cr_assert_str_eq(world.dialler.reason, "while resolving");
}

Test(link, a_port_in_use_is_named) {
    world_listen_simply(&world, world.peer_accept);
    struct link_options const options = world_options(world.peer_accept, &world.acceptor);
    struct problem problem = {0};
    cr_assert(link_group_listen(world.dialling, world.address, &options, &problem) != 0);
    cr_assert(strstr(problem.text, world.address) != NULL);
    cr_assert(strstr(problem.text, "address already in use") != NULL);
    cr_assert(strstr(problem.text, "choose another address") != NULL);
    problem = (struct problem){0};
    cr_assert(link_group_listen(world.dialling, "localhost:7400", &options, &problem) != 0);
    cr_assert(strstr(problem.text, "127.0.0.1:7400") != NULL);
}

Test(link, backoff_doubles_within_its_limits) {
    struct backoff backoff = {0};
    uint32_t nominal = LINK_RETRY_MS_MIN;
    for (unsigned i = 0; i < 20; i++) {
        uint32_t const delay = backoff_next_ms(&backoff);
        cr_assert(delay >= nominal / 2 && delay <= nominal);
        nominal = 2 * nominal > LINK_RETRY_MS_MAX ? LINK_RETRY_MS_MAX : 2 * nominal;
    }
    backoff_reset(&backoff);
    cr_assert(backoff_next_ms(&backoff) <= LINK_RETRY_MS_MIN);
}
