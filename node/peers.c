/*
 * peers: links to and from the other replicas.
 *
 * This replica calls each other one and sends on that link alone; what the others have to say comes
 * on the links on which they call. A link that goes down is called again, with growing pauses. Both
 * ends are pinned by genesis, so a link's owner is known; a frame in somebody else's name, or one
 * that does not decode, closes it.
 */
#include <stdlib.h>

#include "base/check.h"
#include "host/backoff.h"
#include "node/join_service.h"
#include "node/joiner.h"
#include "node/node.h"

struct peer_out {
    struct node *node;
    uint32_t id;
    struct link *link; /* NULL: none; calling, or up */
    bool up;
    bool told_down; /* the log has been told that it is down */
    uint64_t dropped;
    struct backoff backoff;
    uv_timer_t retry;
};

/* What a peer has us do; a newer link takes its place. */
struct peer_in {
    struct node *node;
    uint32_t id;
    struct link *link; /* NULL: none */
    uint32_t waiting;  /* checks */
    size_t waiting_size;
    bool paused;
    uint64_t echo_due_ms;
};

struct peers {
    struct link_group *group;
    struct peer_out out[REPLICAS_MAX];
    struct peer_in in[REPLICAS_MAX];
    bool closing;
};

/* ---- what comes in --------------------------------------------------------------------------- */

static void pause_or_resume(struct peer_in *in) {
    bool const over =
        in->waiting >= VERIFY_PER_PEER_MAX || in->waiting_size >= VERIFY_SIZE_PER_PEER_MAX;
    bool const under =
        in->waiting <= VERIFY_PER_PEER_MAX / 2 && in->waiting_size <= VERIFY_SIZE_PER_PEER_MAX / 2;
    if (in->link == NULL) {
        in->paused = false;
    } else if (!in->paused && over) {
        in->paused = true;
        link_pause(in->link);
    } else if (in->paused && under) {
        in->paused = false;
        link_resume(in->link);
    }
}

static void add_check(struct peer_in *in, const struct verify_item *item) {
    struct node *const node = in->node;
    workers_add(node->workers, VERIFY_PROTOCOL, item);
    in->waiting++;
    in->waiting_size += item->size;
    pause_or_resume(in);
    node_want_turn(node);
}

void peers_checked(struct node *node, const struct verify_item *item) {
    struct peer_in *const in = &node->peers->in[item->origin];
    in->waiting--;
    in->waiting_size -= item->size;
    pause_or_resume(in);
}

static void bad_frame(struct peer_in *in, const char *what) {
    log_limited(
        &in->node->log_limiter, LOG_WARN, "closing a peer's link",
        (struct log_field[]){log_number("peer", in->id), log_text("reason", what), log_end()});
    link_close(in->link, what);
}

/* One request that a peer sends because we asked for it. */
static void take_fetched(struct peer_in *in, struct span bytes) {
    struct node *const node = in->node;
    struct arena *const arena = workers_arena(node->workers, VERIFY_PROTOCOL);
    struct request *const request = arena == NULL ? NULL : arena_alloc(arena, sizeof *request);
    struct span const kept = request == NULL ? (struct span){0} : arena_copy(arena, bytes);
    if (kept.data == NULL ||
        request_decode(request, arena, &node->identity.founding.configuration.service, kept) !=
            CODEC_OK ||
        !replica_wants_request(node->replica, &request->digest)) {
        return; /* it may have come from its author meanwhile */
    }
    struct verify_item const item = {
        .kind = VERIFY_FETCHED,
        .check = {.key = request->author,
                  .signature = request->signature,
                  .body = request->header,
                  .label = LABEL_REQUEST},
        .size = bytes.size,
        .origin = in->id,
        .request = request,
    };
    /* A key that was not admitted is never verified against. */
    if (configuration_has_author(&node->identity.founding.configuration, &request->author)) {
        add_check(in, &item);
    }
}

static void take_requests(struct peer_in *in, const struct requests_message *requests) {
    for (uint32_t i = 0; i < requests->count; i++) {
        take_fetched(in, requests->requests[i]);
    }
}

/* Does it make the disk's queue grow when that is too long already? Then it is lost on the way. */
static bool disk_is_behind(const struct node *node, enum message_kind kind) {
    return (kind == MESSAGE_PRE_PREPARE || kind == MESSAGE_RANGE) &&
           disk_thread_backlog(node->disk) > DISK_QUEUE_SIZE_MAX;
}

/* Takes the message over. */
static void take_message(struct peer_in *in, struct peer_message *message, size_t size) {
    struct node *const node = in->node;
    enum joiner_answer const answer = joiner_take(node, message);
    if (answer == JOINER_KEEPS) {
        return;
    }
    if (message->kind == MESSAGE_FETCH_CHECKPOINT) {
        join_service_take(node, in->id, &message->fetch_checkpoint);
    } else if (answer == JOINER_DROPS) {
        /* What was not asked for, or comes while the replica rests, is lost on the way. */
    } else if (message->kind == MESSAGE_REQUESTS) {
        take_requests(in, &message->requests);
    } else if (!message->signed_statement) {
        struct event event = {.kind = EVENT_MESSAGE, .message = message};
        node_step(node, &event);
    } else if (workers_arena(node->workers, VERIFY_PROTOCOL) != NULL) {
        struct verify_item const item = {.kind = VERIFY_MESSAGE,
                                         .check = message->check,
                                         .size = size,
                                         .origin = in->id,
                                         .message = message};
        add_check(in, &item);
        return; /* node_checked frees it */
    }
    peer_message_free(message);
    free(message);
}

/*
 * The links that we call on bring back a status of our own now and then, so that silence means that
 * nobody is there any more.
 */
static size_t echo_size_max(uint8_t kind) {
    return kind == MESSAGE_STATUS ? message_size_max(kind) : 0;
}

static void on_echo(struct link *link, void *user, uint8_t kind, struct span payload) {
    (void)link;
    (void)user;
    (void)kind;
    (void)payload;
}

static void echo(struct peer_in *in, struct span payload) {
    uint64_t const now_ms = uv_now(&in->node->loop);
    if (now_ms >= in->echo_due_ms) {
        in->echo_due_ms = now_ms + PEER_ECHO_INTERVAL_MS;
        /* Nothing hangs on this one: the next will do as well. */
        (void)!link_send(in->link, MESSAGE_STATUS, &payload, 1);
    }
}

static void on_frame(struct link *link, void *user, uint8_t kind, struct span payload) {
    struct node *const node = user;
    struct peer_in *const in = &node->peers->in[link_peer(link)];
    if (node->stopping || in->link != link || disk_is_behind(node, (enum message_kind)kind)) {
        return;
    }
    struct peer_message *const message = malloc(sizeof *message);
    if (message == NULL) {
        return; /* lost on the way */
    }
    enum codec_result const result =
        peer_message_decode(message, &node->identity.founding.configuration, in->id, kind, payload);
    if (result != CODEC_OK) {
        bad_frame(in, codec_result_text(result));
        peer_message_free(message);
        free(message);
        return;
    }
    if (message->kind == MESSAGE_STATUS) {
        echo(in, payload);
    }
    take_message(in, message, payload.size);
}

/* What replicas send each other, and nothing else. */
static size_t frame_size_max(uint8_t kind) {
    return kind >= MESSAGE_PRE_PREPARE && kind <= MESSAGE_CHECKPOINT_ITEMS ? message_size_max(kind)
                                                                           : 0;
}

static void call_now(struct peer_out *out);

static void in_on_up(struct link *link, void *user) {
    struct node *const node = user;
    uint32_t const id = link_peer(link);
    CHECK(id < node->identity.founding.configuration.replica_count); /* pinned by the handshake */
    struct peer_in *const in = &node->peers->in[id];
    if (in->link != NULL) {
        link_close(in->link, "the peer called anew");
    }
    in->node = node;
    in->id = id;
    in->link = link;
    in->paused = false;
    pause_or_resume(in);
    log_event(LOG_DEBUG, "a peer called", (struct log_field[]){log_number("peer", id), log_end()});
    call_now(&node->peers->out[id]);
}

static void in_on_down(struct link *link, void *user, const char *reason) {
    struct node *const node = user;
    if (node->peers == NULL) {
        return;
    }
    if (!link_was_up(link) || link_offended(link)) {
        log_limited(&node->log_limiter, LOG_WARN, "a call to the peers' port failed",
                    (struct log_field[]){log_text("from", link_address(link)),
                                         log_text("reason", reason), log_end()});
    }
    if (!link_was_up(link)) {
        return;
    }
    struct peer_in *const in = &node->peers->in[link_peer(link)];
    if (in->link == link) {
        in->link = NULL;
    }
}

/* ---- what goes out --------------------------------------------------------------------------- */

static void call(struct peer_out *out);

static void on_retry(uv_timer_t *timer) {
    call(timer->data);
}

static void call_later(struct peer_out *out) {
    if (!out->node->peers->closing) {
        /* Fails only on a timer that is being closed. */
        CHECK(uv_timer_start(&out->retry, on_retry, backoff_next_ms(&out->backoff), 0) == 0);
    }
}

static void out_on_up(struct link *link, void *user) {
    struct peer_out *const out = user;
    struct event event = {.kind = EVENT_PEER_UP, .peer = out->id};
    out->up = true;
    out->told_down = false;
    backoff_reset(&out->backoff);
    log_event(LOG_INFO, "reached a peer",
              (struct log_field[]){log_number("peer", out->id),
                                   log_text("address", link_address(link)), log_end()});
    node_step(out->node, &event);
    joiner_peer_up(out->node, out->id);
}

static void out_on_down(struct link *link, void *user, const char *reason) {
    struct peer_out *const out = user;
    if (!out->told_down && !out->node->stopping) {
        out->told_down = true;
        log_event(LOG_WARN, out->up ? "lost a peer" : "cannot reach a peer; calling again",
                  (struct log_field[]){log_number("peer", out->id),
                                       log_text("address", link_address(link)),
                                       log_text("reason", reason), log_end()});
    }
    out->link = NULL;
    out->up = false;
    call_later(out);
}

static void call(struct peer_out *out) {
    struct node *const node = out->node;
    struct problem problem = {0};
    struct link_options const options = {
        .tls = node->identity.tls_dial,
        .peer = out->id,
        .handlers = {.on_up = out_on_up,
                     .on_frame = on_echo,
                     .on_down = out_on_down,
                     .frame_size_max = echo_size_max},
        .user = out,
    };
    out->link = link_dial(node->peers->group,
                          node->identity.founding.configuration.replicas[out->id].peer_address,
                          &options, &problem);
    if (out->link == NULL) {
        log_limited(&node->log_limiter, LOG_ERROR, "cannot call a peer",
                    (struct log_field[]){log_number("peer", out->id),
                                         log_text("reason", problem.text), log_end()});
        call_later(out);
    }
}

/* It is there: do not wait for the next attempt. */
static void call_now(struct peer_out *out) {
    if (out->node != NULL && out->link == NULL && !out->node->peers->closing) {
        backoff_reset(&out->backoff);
        (void)uv_timer_stop(&out->retry); /* cannot fail */
        call(out);
    }
}

void peers_send(struct node *node, uint32_t peer, enum message_kind kind, struct span payload) {
    struct peer_out *const out = &node->peers->out[peer];
    if (!out->up) {
        return; /* it hears what it missed when it is back */
    }
    switch (link_send(out->link, (uint8_t)kind, &payload, 1)) {
    case LINK_OK:
    case LINK_DOWN:
        return;
    case LINK_BUSY:
        break;
    }
    log_limited(&node->log_limiter, LOG_WARN, "a peer does not keep up; a message was dropped",
                (struct log_field[]){log_number("peer", peer), log_end()});
}

/* ---- life ------------------------------------------------------------------------------------ */

int peers_open(struct node *node, struct problem *problem) {
    struct link_group_options const group = {
        .loop = &node->loop,
        .connections_max = CONNECTIONS_PEERS_MAX,
        .memory_max = LINK_MEMORY_PEERS_MAX,
    };
    struct link_options const options = {
        .tls = node->identity.tls_peer,
        .handlers = {.on_up = in_on_up,
                     .on_frame = on_frame,
                     .on_down = in_on_down,
                     .frame_size_max = frame_size_max},
        .user = node,
    };
    node->peers = calloc(1, sizeof *node->peers);
    if (node->peers == NULL) {
        return problem_set(problem, EXIT_ERROR, "set up links: out of memory");
    }
    node->peers->group = link_group_create(&group, problem);
    if (node->peers->group == NULL) {
        return -1;
    }
    return link_group_listen(node->peers->group, node->config.listen_peer, &options, problem);
}

void peers_start(struct node *node) {
    for (uint32_t id = 0; id < node->identity.founding.configuration.replica_count; id++) {
        struct peer_out *const out = &node->peers->out[id];
        if (id != node->config.replica) {
            *out = (struct peer_out){.node = node, .id = id};
            CHECK(uv_timer_init(&node->loop, &out->retry) == 0); /* cannot fail */
            out->retry.data = out;
            call(out);
        }
    }
}

void peers_close(struct node *node) {
    struct peers *const peers = node->peers;
    if (peers == NULL || peers->closing) {
        return;
    }
    peers->closing = true;
    for (uint32_t id = 0; id < REPLICAS_MAX; id++) {
        if (peers->out[id].node != NULL) {
            uv_close((uv_handle_t *)&peers->out[id].retry, NULL);
        }
    }
    if (peers->group != NULL) {
        link_group_close(peers->group);
    }
}

void peers_free(struct node *node) {
    free(node->peers);
    node->peers = NULL;
}
