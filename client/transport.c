/*
 * transport: see transport.h. One port for each replica: a link while there is one, else a timer
 * that will dial again. The transport's memory is freed when the last of its handles is closed.
 */
#include "client/transport.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "host/backoff.h"
#include "host/link.h"

struct port {
    struct transport *transport;
    uint32_t replica;
    struct link *link;
    bool up;
    bool settled;
    struct backoff backoff;
    uv_timer_t timer;
    char reason[TRANSPORT_REASON_SIZE];
};

struct transport {
    const struct configuration *configuration;
    struct transport_handlers handlers;
    struct tls_context *tls;
    struct link_group *group;
    uint32_t open_handles; /* timers and links that may still call back */
    bool closing;
    struct port ports[REPLICAS_MAX];
};

static void port_dial(struct port *port);

static void transport_release(struct transport *transport) {
    CHECK(transport->open_handles > 0);
    transport->open_handles--;
    if (transport->open_handles == 0) {
        tls_context_free(transport->tls);
        free(transport);
    }
}

/* ---- one port -------------------------------------------------------------------------------- */

static void port_set_reason(struct port *port, const char *reason) {
    (void)snprintf(port->reason, sizeof port->reason, "%s", reason);
}

static void on_redial(uv_timer_t *timer) {
    port_dial(timer->data);
}

static void port_retry(struct port *port) {
    CHECK(uv_timer_start(&port->timer, on_redial, backoff_next_ms(&port->backoff), 0) == 0);
}

static void on_up(struct link *link, void *user) {
    struct port *const port = user;
    (void)link;
    port->up = true;
    port->settled = true;
    port->reason[0] = '\0';
    backoff_reset(&port->backoff);
    if (!port->transport->closing) {
        port->transport->handlers.on_link(port->transport->handlers.context, port->replica, true);
    }
}

static void on_frame(struct link *link, void *user, uint8_t kind, struct span payload) {
    struct port *const port = user;
    (void)link;
    if (!port->transport->closing) {
        port->transport->handlers.on_frame(port->transport->handlers.context, port->replica, kind,
                                           payload);
    }
}

static void on_down(struct link *link, void *user, const char *reason) {
    struct port *const port = user;
    struct transport *const transport = port->transport;
    bool const was_up = port->up;
    (void)link;
    port->link = NULL;
    port->up = false;
    port->settled = true;
    port_set_reason(port, reason);
    if (!transport->closing) {
        if (was_up) {
            transport->handlers.on_link(transport->handlers.context, port->replica, false);
        }
        port_retry(port);
    }
    transport_release(transport);
}

/* What a client takes from a replica; the limits are those of the kinds. */
static size_t frame_size_max(uint8_t kind) {
    return kind >= MESSAGE_REPLY ? message_size_max(kind) : 0;
}

static void port_dial(struct port *port) {
    struct transport *const transport = port->transport;
    struct link_options const options = {
        .tls = transport->tls,
        .peer = port->replica,
        .handlers = {.on_up = on_up,
                     .on_frame = on_frame,
                     .on_down = on_down,
                     .frame_size_max = frame_size_max},
        .user = port,
    };
    struct problem problem = {.code = EXIT_OK};
    port->link = link_dial(transport->group,
                           transport->configuration->replicas[port->replica].client_address,
                           &options, &problem);
    if (port->link == NULL) {
        port->settled = true;
        port_set_reason(port, problem.text);
        port_retry(port);
        return;
    }
    transport->open_handles++;
}

/* ---- all of them ----------------------------------------------------------------------------- */

static struct tls_context *make_tls(const struct configuration *configuration,
                                    struct problem *problem) {
    struct digest pins[REPLICAS_MAX];
    for (uint32_t r = 0; r < configuration->replica_count; r++) {
        pins[r] = configuration->replicas[r].tls_digest;
    }
    struct tls_context_options const options = {
        .role = TLS_CLIENT_DIAL, .pins = pins, .pin_count = configuration->replica_count};
    return tls_context_create(&options, problem);
}

struct transport *transport_create(uv_loop_t *loop, const struct configuration *configuration,
                                   const struct transport_handlers *handlers,
                                   struct problem *problem) {
    struct transport *const transport = calloc(1, sizeof *transport);
    if (transport == NULL) {
        (void)problem_set(problem, EXIT_ERROR, "out of memory");
        return NULL;
    }
    transport->configuration = configuration;
    transport->handlers = *handlers;
    transport->tls = make_tls(configuration, problem);
    struct link_group_options const options = {.loop = loop, .memory_max = LINK_MEMORY_PEERS_MAX};
    if (transport->tls != NULL) {
        transport->group = link_group_create(&options, problem);
    }
    if (transport->group == NULL) {
        tls_context_free(transport->tls);
        free(transport);
        return NULL;
    }
    for (uint32_t r = 0; r < configuration->replica_count; r++) {
        struct port *const port = &transport->ports[r];
        port->transport = transport;
        port->replica = r;
        CHECK(uv_timer_init(loop, &port->timer) == 0);
        port->timer.data = port;
        transport->open_handles++;
        port_dial(port);
    }
    return transport;
}

static void on_timer_closed(uv_handle_t *handle) {
    const struct port *const port = handle->data;
    transport_release(port->transport);
}

void transport_close(struct transport *transport) {
    transport->closing = true;
    uint32_t const count = transport->configuration->replica_count;
    for (uint32_t r = 0; r < count; r++) {
        uv_close((uv_handle_t *)&transport->ports[r].timer, on_timer_closed);
    }
    link_group_close(transport->group);
}

bool transport_send(struct transport *transport, uint32_t replica, enum message_kind kind,
                    struct span payload) {
    const struct port *const port = &transport->ports[replica];
    return port->up && link_send(port->link, (uint8_t)kind, &payload, 1) == LINK_OK;
}

size_t transport_backlog(const struct transport *transport) {
    size_t backlog = 0;
    for (uint32_t r = 0; r < transport->configuration->replica_count; r++) {
        if (transport->ports[r].up) {
            backlog += link_backlog(transport->ports[r].link);
        }
    }
    return backlog;
}

bool transport_is_up(const struct transport *transport, uint32_t replica) {
    return transport->ports[replica].up;
}

bool transport_is_settled(const struct transport *transport, uint32_t replica) {
    return transport->ports[replica].settled;
}

const char *transport_reason(const struct transport *transport, uint32_t replica) {
    return transport->ports[replica].reason;
}
