/*
 * links: see links.h. One port for each replica: a link while there is one, else a timer
 * that will dial again. The links's memory is freed when the last of its handles is closed.
 */
#include "host/replica_links.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "host/backoff.h"
#include "host/link.h"

struct port {
    struct replica_links *links;
    uint32_t replica;
    struct link *link;
    bool up;
    bool settled;
    struct backoff backoff;
    uv_timer_t timer;
    char reason[REPLICA_LINKS_REASON_SIZE];
};

struct replica_links {
    const struct configuration *configuration;
    struct replica_links_handlers handlers;
    struct tls_context *tls;
    struct link_group *group;
    uint32_t open_handles; /* timers and links that may still call back */
    bool closing;
    struct port ports[REPLICAS_MAX];
};

static void port_dial(struct port *port);

static void replica_links_release(struct replica_links *links) {
    CHECK(links->open_handles > 0);
    links->open_handles--;
    if (links->open_handles == 0) {
        tls_context_free(links->tls);
        free(links);
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
    if (!port->links->closing) {
        port->links->handlers.on_link(port->links->handlers.context, port->replica, true);
    }
}

static void on_frame(struct link *link, void *user, uint8_t kind, struct span payload) {
    struct port *const port = user;
    (void)link;
    if (!port->links->closing) {
        port->links->handlers.on_frame(port->links->handlers.context, port->replica, kind, payload);
    }
}

static void on_down(struct link *link, void *user, const char *reason) {
    struct port *const port = user;
    struct replica_links *const links = port->links;
    bool const was_up = port->up;
    (void)link;
    port->link = NULL;
    port->up = false;
    port->settled = true;
    port_set_reason(port, reason);
    if (!links->closing) {
        if (was_up) {
            links->handlers.on_link(links->handlers.context, port->replica, false);
        }
        port_retry(port);
    }
    replica_links_release(links);
}

static void port_dial(struct port *port) {
    struct replica_links *const links = port->links;
    struct link_options const options = {
        .tls = links->tls,
        .peer = port->replica,
        .handlers = {.on_up = on_up,
                     .on_frame = on_frame,
                     .on_down = on_down,
                     .frame_size_max = links->handlers.frame_size_max},
        .user = port,
    };
    struct problem problem = {.code = EXIT_OK};
    port->link =
        link_dial(links->group, links->configuration->replicas[port->replica].client_address,
                  &options, &problem);
    if (port->link == NULL) {
        port->settled = true;
        port_set_reason(port, problem.text);
        port_retry(port);
        return;
    }
    links->open_handles++;
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

struct replica_links *
replica_links_create(uv_loop_t *loop, const struct configuration *configuration, uint64_t replicas,
                     const struct replica_links_handlers *handlers, struct problem *problem) {
    struct replica_links *const links = calloc(1, sizeof *links);
    if (links == NULL) {
        (void)problem_set(problem, EXIT_ERROR, "out of memory");
        return NULL;
    }
    links->configuration = configuration;
    links->handlers = *handlers;
    links->tls = make_tls(configuration, problem);
    struct link_group_options const options = {.loop = loop, .memory_max = LINK_MEMORY_PEERS_MAX};
    if (links->tls != NULL) {
        links->group = link_group_create(&options, problem);
    }
    if (links->group == NULL) {
        tls_context_free(links->tls);
        free(links);
        return NULL;
    }
    for (uint32_t r = 0; r < configuration->replica_count; r++) {
        struct port *const port = &links->ports[r];
        port->links = links;
        port->replica = r;
        CHECK(uv_timer_init(loop, &port->timer) == 0);
        port->timer.data = port;
        links->open_handles++;
        if ((replicas >> r & 1) != 0) {
            port_dial(port);
        }
    }
    return links;
}

static void on_timer_closed(uv_handle_t *handle) {
    const struct port *const port = handle->data;
    replica_links_release(port->links);
}

void replica_links_close(struct replica_links *links) {
    links->closing = true;
    uint32_t const count = links->configuration->replica_count;
    for (uint32_t r = 0; r < count; r++) {
        uv_close((uv_handle_t *)&links->ports[r].timer, on_timer_closed);
    }
    link_group_close(links->group);
}

bool replica_links_send(struct replica_links *links, uint32_t replica, enum message_kind kind,
                        struct span payload) {
    const struct port *const port = &links->ports[replica];
    return port->up && link_send(port->link, (uint8_t)kind, &payload, 1) == LINK_OK;
}

size_t replica_links_backlog(const struct replica_links *links) {
    size_t backlog = 0;
    for (uint32_t r = 0; r < links->configuration->replica_count; r++) {
        if (links->ports[r].up) {
            backlog += link_backlog(links->ports[r].link);
        }
    }
    return backlog;
}

bool replica_links_is_up(const struct replica_links *links, uint32_t replica) {
    return links->ports[replica].up;
}

bool replica_links_is_settled(const struct replica_links *links, uint32_t replica) {
    return links->ports[replica].settled;
}

const char *replica_links_reason(const struct replica_links *links, uint32_t replica) {
    return links->ports[replica].reason;
}
