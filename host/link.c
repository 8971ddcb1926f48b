/*
 * link: the life of a link: resolve, connect, handshake, up, down. See link.h.
 *
 * Invariants: `pending` counts what libuv may still call back for, and the link is freed when it
 * reaches zero, after its one on_down; that happens only in callbacks of libuv's closing phase or
 * of its thread pool, so never below a callback to the link's owner. While `stepping`, the loop's
 * thread touches neither session, nor wire_in, nor unsent.
 */
#include "host/link.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "host/link_internal.h"

/* ---- the end ---- */

static void release(struct link *link) {
    CHECK(link->pending > 0);
    link->pending--;
    if (link->pending > 0) {
        return;
    }
    CHECK(link->state == LINK_STATE_CLOSED);
    struct link_group *const group = link->group;
    tls_session_free(link->session);
    buffer_free(&link->wire_in);
    buffer_free(&link->unsent);
    buffer_free(&link->output);
    free(link->input);
    link->session = NULL;
    link->input = NULL;
    link->input_capacity = 0;
    link_account(link);
    link->options.handlers.on_down(link, link->options.user, link->reason);
    TAILQ_REMOVE(&group->links, link, in_group);
    free(link);
    link_group_release(group);
}

static void handle_closed(uv_handle_t *handle) {
    release(handle->data);
}

void link_take_down(struct link *link, const char *format, ...) {
    if (link->state == LINK_STATE_CLOSED) {
        return;
    }
    if (link->state != LINK_STATE_FINISHING) {
        va_list arguments;
        va_start(arguments, format);
        if (vsnprintf(link->reason, sizeof link->reason, format, arguments) < 0) {
            link->reason[0] = '\0';
        }
        va_end(arguments);
    }
    bool const resolving = link->state == LINK_STATE_RESOLVING;
    link->state = LINK_STATE_CLOSED;
    if (link->scheduled) {
        link_unschedule(link);
    }
    if (link->waiting) {
        TAILQ_REMOVE(&link->group->waiting, link, in_waiting);
        link->waiting = false;
    }
    if (link->accepted) {
        link->group->connections--;
    }
    /* What is already running cannot be cancelled, and then calls back by itself. */
    if (resolving) {
        (void)uv_cancel((uv_req_t *)&link->resolve);
    }
    if (link->stepping) {
        (void)uv_cancel((uv_req_t *)&link->work);
    }
    uv_close((uv_handle_t *)&link->tcp, handle_closed);
    uv_close((uv_handle_t *)&link->timer, handle_closed);
}

void link_close(struct link *link, const char *reason) {
    link_take_down(link, "%s", reason);
}

/* ---- time ---- */

static void start_timer(struct link *link, uint64_t timeout_ms);

static void check_idle(struct link *link) {
    uint64_t const now = uv_now(link->group->options.loop);
    uint64_t const limit = link->options.idle_timeout_ms;
    uint64_t const silence = link->paused ? 0 : now - link->last_frame_ms;
    uint64_t const stall = link->writing ? now - link->write_start_ms : 0;
    if (silence >= limit) {
        link_take_down(link, "no complete frame for %lu ms", (unsigned long)limit);
    } else if (stall >= limit) {
        link_take_down(link, "the other end takes no bytes for %lu ms", (unsigned long)limit);
    } else {
        start_timer(link, limit - (silence > stall ? silence : stall));
    }
}

static void on_timer(uv_timer_t *timer) {
    struct link *const link = timer->data;
    unsigned long const limit = link->options.handshake_timeout_ms;
    switch (link->state) {
    case LINK_STATE_RESOLVING:
        link_take_down(link, "resolve %s: no answer after %lu ms", link->address, limit);
        break;
    case LINK_STATE_CONNECTING:
        link_take_down(link, "connect %s: no answer after %lu ms", link->address, limit);
        break;
    case LINK_STATE_HANDSHAKE:
        link_take_down(link, "TLS handshake not done after %lu ms", limit);
        break;
    case LINK_STATE_UP:
        check_idle(link);
        break;
    case LINK_STATE_FINISHING:
        link_take_down(link, "not finished in time");
        break;
    case LINK_STATE_CLOSED:
        break;
    }
}

static void start_timer(struct link *link, uint64_t timeout_ms) {
    CHECK(uv_timer_start(&link->timer, on_timer, timeout_ms, 0) == 0);
}

/* ---- the beginning ---- */

static void apply_defaults(struct link_options *options) {
    if (options->handshake_timeout_ms == 0) {
        options->handshake_timeout_ms = HANDSHAKE_TIMEOUT_MS;
    }
    if (options->idle_timeout_ms == 0) {
        options->idle_timeout_ms = LINK_IDLE_TIMEOUT_MS;
    }
    if (options->output_size_max == 0 || options->output_size_max > LINK_OUTPUT_SIZE_MAX) {
        options->output_size_max = LINK_OUTPUT_SIZE_MAX;
    }
}

struct link *link_create(struct link_group *group, const struct link_options *options) {
    struct link *const link = calloc(1, sizeof *link);
    if (link == NULL) {
        return NULL;
    }
    link->group = group;
    link->options = *options;
    apply_defaults(&link->options);
    buffer_init(&link->wire_in, 2 * LINK_READ_SIZE);
    buffer_init(&link->unsent, group->cipher.size_max);
    buffer_init(&link->output, 2 * LINK_OUTPUT_SIZE_MAX); /* at least half of it is waiting */
    link->peer = tls_context_dials(options->tls) ? options->peer : TLS_PEER_ANONYMOUS;
    memcpy(link->address, "?", 2);
    uv_loop_t *const loop = group->options.loop;
    uv_update_time(loop); /* or a loop that was long away would find the time already over */
    /* Without flags, these only fill in the handles. */
    CHECK(uv_tcp_init(loop, &link->tcp) == 0);
    CHECK(uv_timer_init(loop, &link->timer) == 0);
    link->tcp.data = link;
    link->timer.data = link;
    link->resolve.data = link;
    link->connect.data = link;
    link->work.data = link;
    link->write.data = link;
    link->shutdown.data = link;
    link->pending = 2;
    link->state = LINK_STATE_HANDSHAKE;
    TAILQ_INSERT_TAIL(&group->links, link, in_group);
    start_timer(link, link->options.handshake_timeout_ms);
    return link;
}

void link_accepted(struct link *link) {
    struct sockaddr_storage storage = {0};
    int size = sizeof storage;
    if (uv_tcp_getpeername(&link->tcp, (struct sockaddr *)&storage, &size) == 0) {
        address_format(link->address, (const struct sockaddr *)&storage);
    }
    int const error = uv_tcp_nodelay(&link->tcp, 1);
    if (error != 0) {
        link_take_down(link, "accept: %s", uv_strerror(error));
        return;
    }
    link_read_start(link);
}

static void on_connect(uv_connect_t *request, int status) {
    struct link *const link = request->data;
    if (link->state == LINK_STATE_CLOSED) {
        return;
    }
    int const error = status != 0 ? status : uv_tcp_nodelay(&link->tcp, 1);
    if (error != 0) {
        link_take_down(link, "connect %s: %s", link->address, uv_strerror(error));
        return;
    }
    link->state = LINK_STATE_HANDSHAKE;
    link_group_want_step(link);
}

/* Returns: 0 or an error of libuv. */
static int connect_to(struct link *link, const struct sockaddr *address) {
    link->state = LINK_STATE_CONNECTING;
    return uv_tcp_connect(&link->connect, &link->tcp, address, on_connect);
}

/* An IPv4 address if the name has one: services here listen on one address, mostly of that kind. */
static const struct addrinfo *choose(const struct addrinfo *found) {
    for (const struct addrinfo *each = found; each != NULL; each = each->ai_next) {
        if (each->ai_family == AF_INET) {
            return each;
        }
    }
    return found;
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *found) {
    struct link *const link = request->data;
    if (link->state != LINK_STATE_CLOSED) {
        const struct addrinfo *const chosen = status == 0 ? choose(found) : NULL;
        int error = status == 0 ? UV_EAI_NONAME : status;
        if (chosen != NULL) {
            error = connect_to(link, chosen->ai_addr);
        }
        if (error != 0) {
            link_take_down(link, "connect %s: %s", link->address, uv_strerror(error));
        }
    }
    uv_freeaddrinfo(found);
    release(link);
}

/* Returns: 0 or an error of libuv. */
static int start_dialling(struct link *link, const struct address *address) {
    if (address->numeric) {
        return connect_to(link, (const struct sockaddr *)&address->storage);
    }
    struct addrinfo const hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    link->state = LINK_STATE_RESOLVING;
    int const error = uv_getaddrinfo(link->group->options.loop, &link->resolve, on_resolved,
                                     address->host, address->port, &hints);
    if (error == 0) {
        link->pending++;
    } else {
        link->state = LINK_STATE_CONNECTING; /* there is no request to cancel */
    }
    return error;
}

struct link *link_dial(struct link_group *group, const char *address,
                       const struct link_options *options, struct problem *problem) {
    CHECK(!group->closing && tls_context_dials(options->tls));
    struct address parsed;
    if (address_parse(&parsed, address, problem) != 0) {
        return NULL;
    }
    struct link *const link = link_create(group, options);
    if (link == NULL) {
        (void)problem_set(problem, EXIT_ERROR, "connect %s: out of memory", address);
        return NULL;
    }
    (void)snprintf(link->address, sizeof link->address, "%s", address);
    int const error = start_dialling(link, &parsed);
    if (error != 0) {
        link_take_down(link, "connect %s: %s", address, uv_strerror(error));
    }
    return link;
}

/* ---- the handshake ---- */

static void step_on_worker(uv_work_t *request) {
    struct link *const link = request->data;
    tls_session_set_input(link->session, span_of(link->wire_in.data, link->wire_in_whole));
    tls_session_set_output(link->session, &link->unsent);
    link->step_status = tls_session_handshake(link->session);
}

/*
 * The owner may close the link in on_up. Frames that came together with the end of the handshake
 * are delivered later in this turn of the loop.
 */
static void go_up(struct link *link) {
    link->state = LINK_STATE_UP;
    link->was_up = true;
    link->peer = tls_session_peer(link->session);
    link->last_frame_ms = uv_now(link->group->options.loop);
    start_timer(link, link->options.idle_timeout_ms);
    link_schedule(link);
    link->options.handlers.on_up(link, link->options.user);
}

static void step_done(struct link *link) {
    size_t const used = link->wire_in_whole - tls_session_input_left(link->session);
    buffer_consume(&link->wire_in, used);
    tls_session_set_input(link->session, (struct span){0});
    link_account(link);
    /* Also after a failure: the alert tells the other end why. */
    link_write_unsent(link);
    switch (link->step_status) {
    case TLS_OK:
        if (link->state == LINK_STATE_HANDSHAKE) {
            go_up(link);
        }
        break;
    case TLS_WANTS_INPUT:
        link_handshake_continue(link);
        break;
    case TLS_CLOSED:
    case TLS_FAILED:
        link_take_down(link, "%s", tls_session_reason(link->session));
        break;
    }
}

static void on_step(uv_work_t *request, int status) {
    struct link *const link = request->data;
    struct link_group *const group = link->group;
    link->stepping = false;
    if (link->state != LINK_STATE_CLOSED) {
        CHECK(status == 0); /* only take_down cancels */
        step_done(link);
    }
    link_group_step_done(group);
    release(link); /* last: it may free the group too */
}

bool link_step_start(struct link *link) {
    if (link->session == NULL) {
        link->session = tls_session_create(link->options.tls, link->options.peer);
        if (link->session == NULL) {
            link_take_down(link, "TLS handshake: out of memory");
            return false;
        }
        if (!link->accepted && link->options.peer == TLS_PEER_ANONYMOUS) {
            tls_session_expect(link->session, &link->options.pin);
        }
    }
    CHECK(uv_queue_work(link->group->options.loop, &link->work, step_on_worker, on_step) == 0);
    link->stepping = true;
    link->pending++;
    return true;
}

void link_handshake_continue(struct link *link) {
    if (link->state == LINK_STATE_HANDSHAKE && !link->writing) {
        link_read_start(link);
    }
}

void link_handshake_receive(struct link *link, struct span cipher) {
    if (!buffer_append(&link->wire_in, cipher)) {
        link_take_down(link, "TLS handshake: too much input, or out of memory");
        return;
    }
    link_account(link);
    switch (tls_record_inspect(&link->wire_in_whole, buffer_span(&link->wire_in))) {
    case TLS_RECORD_PARTIAL:
        break;
    case TLS_RECORD_READY:
        link_read_stop(link);
        link_group_want_step(link);
        break;
    case TLS_RECORD_GARBAGE:
        link->offended = true;
        link_take_down(link, "what arrives is not TLS");
        break;
    }
}

/* ---- what owners ask and set ---- */

void link_finish(struct link *link, const char *reason) {
    if (link->state != LINK_STATE_UP) {
        link_take_down(link, "%s", reason);
        return;
    }
    (void)snprintf(link->reason, sizeof link->reason, "%s", reason);
    link->state = LINK_STATE_FINISHING;
    start_timer(link, LINK_FINISH_TIMEOUT_MS);
    link_schedule(link);
}

void link_pause(struct link *link) {
    link->paused = true;
    if (link->state == LINK_STATE_UP) {
        link_read_stop(link);
    }
}

void link_resume(struct link *link) {
    link->paused = false;
    if (link->state == LINK_STATE_UP) {
        link->last_frame_ms = uv_now(link->group->options.loop);
        link_schedule(link);
    }
}

struct digest link_peer_digest(const struct link *link) {
    return tls_session_peer_digest(link->session);
}

uint32_t link_peer(const struct link *link) {
    return link->peer;
}

bool link_was_up(const struct link *link) {
    return link->was_up;
}

bool link_offended(const struct link *link) {
    return link->offended;
}

const char *link_address(const struct link *link) {
    return link->address;
}

void *link_user(const struct link *link) {
    return link->options.user;
}

void link_set_user(struct link *link, void *user) {
    link->options.user = user;
}
