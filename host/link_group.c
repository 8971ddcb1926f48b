/*
 * link_group: groups of links, their listener, and the slots for handshake steps. See link.h.
 *
 * Invariants: `connections` counts the accepted links that are not CLOSED and never exceeds its
 * limit; at most HANDSHAKES_MAX steps run; a link is in `waiting` or `scheduled` only while it is
 * not CLOSED.
 */
#include <stdlib.h>

#include "base/check.h"
#include "host/link_internal.h"

/* Ciphertext of one flush: with the smallest records TLS allows, 29 bytes on 512. */
#define CIPHER_SIZE_MAX (2u * LINK_FLUSH_SIZE_MAX)

/* ---- life ---- */

/* Links that found no memory may try again when half of it is free. */
static void relieve_starved(struct link_group *group) {
    if (!group->starved || group->memory > group->options.memory_max / 2) {
        return;
    }
    group->starved = false;
    struct link *link;
    TAILQ_FOREACH(link, &group->links, in_group) {
        if (link->starved && link->state == LINK_STATE_UP) {
            link->starved = false;
            link_schedule(link);
        }
    }
}

static void do_not_wait(uv_idle_t *idle) {
    (void)idle;
}

/*
 * What gets scheduled from here on has its turn in the next round, which then comes at once: an
 * owner that fills a link as fast as it drains must not keep the loop from everybody else. Nor
 * does the loop wait when an owner was called: whoever runs it turn by turn wants to know.
 */
static void run_scheduled(uv_prepare_t *prepare) {
    struct link_group *const group = prepare->data;
    group->called_back = false;
    relieve_starved(group);
    for (size_t count = group->scheduled_count; count > 0; count--) {
        struct link *const link = TAILQ_FIRST(&group->scheduled);
        if (link == NULL) {
            break;
        }
        link_unschedule(link);
        link_run(link);
    }
    if (TAILQ_EMPTY(&group->scheduled) && !group->called_back) {
        (void)uv_idle_stop(&group->idle); /* always 0 */
    } else if (!group->closing) {
        CHECK(uv_idle_start(&group->idle, do_not_wait) == 0);
    }
}

struct link_group *link_group_create(const struct link_group_options *options,
                                     struct problem *problem) {
    struct link_group *const group = calloc(1, sizeof *group);
    uint8_t *const scratch = malloc(LINK_READ_SIZE);
    if (group == NULL || scratch == NULL) {
        free(group);
        free(scratch);
        (void)problem_set(problem, EXIT_ERROR, "set up links: out of memory");
        return NULL;
    }
    group->options = *options;
    group->read_scratch = scratch;
    TAILQ_INIT(&group->links);
    TAILQ_INIT(&group->scheduled);
    TAILQ_INIT(&group->waiting);
    buffer_init(&group->cipher, CIPHER_SIZE_MAX);
    /* These cannot fail with a valid loop and callback. */
    CHECK(uv_prepare_init(options->loop, &group->prepare) == 0);
    CHECK(uv_idle_init(options->loop, &group->idle) == 0);
    CHECK(uv_prepare_start(&group->prepare, run_scheduled) == 0);
    group->prepare.data = group;
    group->idle.data = group;
    uv_unref((uv_handle_t *)&group->prepare);
    uv_unref((uv_handle_t *)&group->idle);
    group->pending = 2;
    return group;
}

void link_group_release(struct link_group *group) {
    if (!group->closing || group->pending > 0 || !TAILQ_EMPTY(&group->links)) {
        return;
    }
    CHECK(group->steps == 0 && group->connections == 0 && group->memory == 0);
    buffer_free(&group->cipher);
    free(group->read_scratch);
    free(group);
}

static void group_handle_closed(uv_handle_t *handle) {
    struct link_group *const group = handle->data;
    group->pending--;
    link_group_release(group);
}

static void listener_close(struct link_group *group) {
    if (group->listening) {
        group->listening = false;
        uv_close((uv_handle_t *)&group->listener, group_handle_closed);
    }
}

void link_group_close(struct link_group *group) {
    CHECK(!group->closing);
    group->closing = true;
    listener_close(group);
    uv_close((uv_handle_t *)&group->prepare, group_handle_closed);
    uv_close((uv_handle_t *)&group->idle, group_handle_closed);
    struct link *link;
    TAILQ_FOREACH(link, &group->links, in_group) {
        link_take_down(link, "closed");
    }
}

/* ---- work that is put off ---- */

void link_schedule(struct link *link) {
    if (!link->scheduled) {
        link->scheduled = true;
        link->group->scheduled_count++;
        TAILQ_INSERT_TAIL(&link->group->scheduled, link, in_scheduled);
    }
}

void link_unschedule(struct link *link) {
    link->scheduled = false;
    link->group->scheduled_count--;
    TAILQ_REMOVE(&link->group->scheduled, link, in_scheduled);
}

static void start_steps(struct link_group *group) {
    struct link *link;
    while (group->steps < HANDSHAKES_MAX && (link = TAILQ_FIRST(&group->waiting)) != NULL) {
        TAILQ_REMOVE(&group->waiting, link, in_waiting);
        link->waiting = false;
        if (link_step_start(link)) {
            group->steps++;
        }
    }
}

void link_group_want_step(struct link *link) {
    CHECK(!link->waiting && !link->stepping);
    link->waiting = true;
    TAILQ_INSERT_TAIL(&link->group->waiting, link, in_waiting);
    start_steps(link->group);
}

void link_group_step_done(struct link_group *group) {
    CHECK(group->steps > 0);
    group->steps--;
    start_steps(group);
}

/* ---- listening ---- */

static void refused_closed(uv_handle_t *handle) {
    free(handle->data);
}

/* Take the connection out of libuv's hands only to close it. */
static void refuse(struct link_group *group) {
    uv_tcp_t *const tcp = malloc(sizeof *tcp);
    if (tcp == NULL) {
        return; /* libuv accepts no more until somebody takes this one: as good as any answer */
    }
    CHECK(uv_tcp_init(group->options.loop, tcp) == 0);
    tcp->data = tcp;
    (void)uv_accept((uv_stream_t *)&group->listener, (uv_stream_t *)tcp); /* closed either way */
    uv_close((uv_handle_t *)tcp, refused_closed);
}

/* Make room among the accepted links. Returns: false when all of them are up or busy. */
static bool evict_half_open(struct link_group *group) {
    struct link *link;
    TAILQ_FOREACH(link, &group->links, in_group) {
        if (link->accepted && link->state == LINK_STATE_HANDSHAKE && !link->stepping) {
            link_take_down(link, "gave way to a newer connection before its handshake was done");
            return true;
        }
    }
    return false;
}

static void on_connection(uv_stream_t *listener, int status) {
    struct link_group *const group = listener->data;
    if (status != 0 || group->closing) {
        return; /* nothing was accepted; libuv goes on listening */
    }
    if (group->connections >= group->options.connections_max) {
        group->refused_count++;
        if (!evict_half_open(group)) {
            refuse(group);
            return;
        }
    }
    struct link *const link = link_create(group, &group->accept_options);
    if (link == NULL) {
        refuse(group);
        return;
    }
    link->accepted = true;
    group->connections++;
    int const error = uv_accept(listener, (uv_stream_t *)&link->tcp);
    if (error != 0) {
        link_take_down(link, "accept: %s", uv_strerror(error));
        return;
    }
    link_accepted(link);
}

static int listen_on(struct link_group *group, const struct address *address) {
    const struct sockaddr *const socket = (const struct sockaddr *)&address->storage;
    int const error = uv_tcp_bind(&group->listener, socket, 0);
    if (error != 0) {
        return error;
    }
    return uv_listen((uv_stream_t *)&group->listener, LISTEN_BACKLOG, on_connection);
}

static const char *listen_remedy(int error) {
    if (error == UV_EADDRINUSE) {
        return "stop the program that uses it, or choose another address";
    }
    if (error == UV_EADDRNOTAVAIL) {
        return "choose an address of this machine";
    }
    if (error == UV_EACCES) {
        return "choose a port above 1023";
    }
    return "choose another address";
}

int link_group_listen(struct link_group *group, const char *address,
                      const struct link_options *options, struct problem *problem) {
    CHECK(!group->listening && !group->closing && !tls_context_dials(options->tls));
    struct address parsed;
    if (address_parse(&parsed, address, problem) != 0) {
        return -1;
    }
    if (!parsed.numeric) {
        return problem_set(problem, EXIT_ERROR,
                           "listen on %s: not a numeric address; write one such as "
                           "127.0.0.1:%s or [::1]:%s",
                           address, parsed.port, parsed.port);
    }
    CHECK(uv_tcp_init(group->options.loop, &group->listener) == 0);
    group->listener.data = group;
    group->pending++;
    group->listening = true;
    group->accept_options = *options;
    int const error = listen_on(group, &parsed);
    if (error != 0) {
        listener_close(group);
        return problem_set(problem, EXIT_ERROR, "listen on %s: %s; %s", address, uv_strerror(error),
                           listen_remedy(error));
    }
    return 0;
}

uint16_t link_group_port(const struct link_group *group) {
    struct sockaddr_storage storage = {0};
    int size = sizeof storage;
    CHECK(group->listening);
    if (uv_tcp_getsockname(&group->listener, (struct sockaddr *)&storage, &size) != 0) {
        return 0;
    }
    return address_port((const struct sockaddr *)&storage);
}

uint64_t link_group_refused_count(const struct link_group *group) {
    return group->refused_count;
}
