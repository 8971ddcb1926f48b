/*
 * peers: links to and from the other replicas.
 *
 * This replica calls each other one and sends on that link alone; what the others have to say comes
 * on the links on which they call. A link that goes down is called again, with growing pauses. Both
 * ends are pinned by the configuration, so a link's owner is known; a frame in somebody else's
 * name, or one that does not decode, closes it.
 *
 * There are links with the replicas of the present configuration and of the one before it (§9).
 * Replicas are numbered by their position, which changes, so links are kept by TLS key: a row each.
 * Numbers are made of rows, and rows of numbers, when something goes in or out. While this replica
 * rests to join from a checkpoint of a later configuration (node->joining), numbers and links are
 * that one's.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "host/backoff.h"
#include "node/chain_keeper.h"
#include "node/join_service.h"
#include "node/joiner.h"
#include "node/node.h"

struct peer_out {
    struct link *link; /* NULL: none; calling, or up */
    bool up;
    bool told_down; /* the log has been told that it is down */
    struct backoff backoff;
    uv_timer_t retry;
};

/* What a peer has us do; a newer link takes its place. */
struct peer_in {
    struct link *link; /* NULL: none */
    uint32_t waiting;  /* checks */
    size_t waiting_size;
    bool paused;
    uint64_t echo_due_ms;
    uint64_t chain_config; /* it wants links from this one on; 0: it does not */
};

struct peer {
    struct node *node;
    bool used;
    bool wanted; /* by peers_update, while it is at work */
    struct digest tls_digest;
    struct public_key key;
    char address[ADDRESS_SIZE_MAX + 1];
    struct peer_out out;
    struct peer_in in;
};

struct peers {
    struct link_group *group;
    struct peer rows[NODE_ROWS_MAX];
    uint32_t chain_row; /* that was answered last */
    bool started;       /* the timers are there */
    bool closing;
};

/* ---- who is who ------------------------------------------------------------------------------ */

static uint32_t row_of(const struct peer *peer) {
    return (uint32_t)(peer - peer->node->peers->rows);
}

/* The configuration whose replicas are called by their numbers in it. */
static const struct configuration *numbering(const struct node *node) {
    return node->joining == NULL ? replica_configuration(node->replica) : node->joining;
}

/* Who has this number; NULL: nobody. */
static const struct replica_identity *identity_of(const struct node *node, uint32_t number) {
    if (node->joining == NULL) {
        return replica_peer(node->replica, number);
    }
    return number < node->joining->replica_count ? &node->joining->replicas[number] : NULL;
}

/* The peer's number now. Returns: false: it takes no part any more. */
static bool number_of(const struct peer *peer, uint32_t *number) {
    const struct node *const node = peer->node;
    if (!peer->used || node->joining == NULL) {
        return peer->used && replica_find_peer(node->replica, &peer->key, number);
    }
    *number = configuration_find_replica(node->joining, &peer->key);
    return *number != REPLICAS_MAX;
}

bool peers_find_number(struct node *node, uint64_t row, uint32_t *number) {
    return number_of(&node->peers->rows[row], number);
}

/* For the log: its number, or that of nobody. */
static struct log_field peer_field(const struct peer *peer) {
    uint32_t number = 0;
    return log_number("peer", number_of(peer, &number) ? number : NODE_PEERS_MAX);
}

static struct peer *find_digest(struct peers *peers, const struct digest *tls_digest) {
    for (uint32_t i = 0; i < NODE_ROWS_MAX; i++) {
        struct peer *const peer = &peers->rows[i];
        if (peer->used && digest_equal(&peer->tls_digest, tls_digest)) {
            return peer;
        }
    }
    return NULL;
}

/*
 * Who that is. One whose TLS key is being replaced may still have the old one, and is reached
 * there.
 */
static struct peer *find_identity(struct node *node, const struct replica_identity *identity) {
    struct peer *const peer = find_digest(node->peers, &identity->tls_digest);
    if (peer != NULL && peer->out.up) {
        return peer;
    }
    for (uint32_t i = 0; i < NODE_ROWS_MAX; i++) {
        struct peer *const other = &node->peers->rows[i];
        if (other->used && other->out.up && public_key_equal(&other->key, &identity->key)) {
            return other;
        }
    }
    return peer;
}

bool peers_find_row(struct node *node, const struct replica_identity *identity, uint64_t *row) {
    const struct peer *const peer = find_identity(node, identity);
    *row = peer == NULL ? 0 : row_of(peer);
    return peer != NULL;
}

/* ---- what comes in --------------------------------------------------------------------------- */

static void pause_or_resume(struct peer *peer) {
    struct peer_in *const in = &peer->in;
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

static void add_check(struct peer *peer, const struct verify_item *item) {
    struct node *const node = peer->node;
    workers_add(node->workers, VERIFY_PROTOCOL, item);
    peer->in.waiting++;
    peer->in.waiting_size += item->size;
    pause_or_resume(peer);
    node_want_turn(node);
}

void peers_checked(struct node *node, const struct verify_item *item) {
    struct peer *const peer = &node->peers->rows[item->origin];
    peer->in.waiting--;
    peer->in.waiting_size -= item->size;
    pause_or_resume(peer);
}

static void bad_frame(struct peer *peer, const char *what) {
    log_limited(&peer->node->log_limiter, LOG_WARN, "closing a peer's link",
                (struct log_field[]){peer_field(peer), log_text("reason", what), log_end()});
    link_close(peer->in.link, what);
}

/* One request that a peer sends because we asked for it. */
static void take_fetched(struct peer *peer, struct span bytes) {
    struct node *const node = peer->node;
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
        .origin = row_of(peer),
        .request = request,
    };
    /* A key that was not admitted is never verified against. */
    if (configuration_has_author(replica_configuration(node->replica), &request->author)) {
        add_check(peer, &item);
    }
}

static void take_requests(struct peer *peer, const struct requests_message *requests) {
    for (uint32_t i = 0; i < requests->count; i++) {
        take_fetched(peer, requests->requests[i]);
    }
}

/* Does it make the disk's queue grow when that is too long already? Then it is lost on the way. */
static bool disk_is_behind(const struct node *node, enum message_kind kind) {
    return (kind == MESSAGE_PRE_PREPARE || kind == MESSAGE_RANGE) &&
           disk_thread_backlog(node->disk) > DISK_QUEUE_SIZE_MAX;
}

/* One question of each peer is answered at a time; what it asks meanwhile is lost. */
static void take_chain_query(struct peer *peer, uint64_t config) {
    if (peer->in.chain_config == 0) {
        peer->in.chain_config = config;
        chain_keeper_serve(peer->node);
    }
}

bool peers_next_chain_query(struct node *node, uint64_t *row, uint64_t *config) {
    struct peers *const peers = node->peers;
    for (uint32_t i = 1; i <= NODE_ROWS_MAX; i++) {
        uint32_t const next = (peers->chain_row + i) % NODE_ROWS_MAX;
        const struct peer *const peer = &peers->rows[next];
        if (peer->used && peer->in.chain_config != 0) {
            peers->chain_row = next;
            *row = next;
            *config = peer->in.chain_config;
            return true;
        }
    }
    return false;
}

void peers_chain_answered(struct node *node, uint64_t row) {
    node->peers->rows[row].in.chain_config = 0;
}

/* Takes the message over. */
static void take_message(struct peer *peer, struct peer_message *message, size_t size) {
    struct node *const node = peer->node;
    enum joiner_answer const answer = joiner_take(node, message);
    if (answer == JOINER_KEEPS) {
        return;
    }
    if (message->kind == MESSAGE_FETCH_CHECKPOINT) {
        join_service_take(node, message->from, &message->fetch_checkpoint);
    } else if (message->kind == MESSAGE_CHAIN_QUERY) {
        take_chain_query(peer, message->chain_query_config);
    } else if (answer == JOINER_DROPS) {
        /* What was not asked for, or comes while the replica rests, is lost on the way. */
    } else if (message->kind == MESSAGE_REQUESTS) {
        take_requests(peer, &message->requests);
    } else if (!message->signed_statement) {
        struct event event = {.kind = EVENT_MESSAGE, .message = message};
        node_step(node, &event);
    } else if (workers_arena(node->workers, VERIFY_PROTOCOL) != NULL) {
        struct verify_item const item = {.kind = VERIFY_MESSAGE,
                                         .check = message->check,
                                         .size = size,
                                         .origin = row_of(peer),
                                         .message = message};
        add_check(peer, &item);
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

static void echo(struct peer *peer, struct span payload) {
    struct peer_in *const in = &peer->in;
    uint64_t const now_ms = uv_now(&peer->node->loop);
    if (now_ms >= in->echo_due_ms) {
        in->echo_due_ms = now_ms + PEER_ECHO_INTERVAL_MS;
        /* Nothing hangs on this one: the next will do as well. */
        (void)!link_send(in->link, MESSAGE_STATUS, &payload, 1);
    }
}

static void on_frame(struct link *link, void *user, uint8_t kind, struct span payload) {
    struct peer *const peer = user; /* since it is up */
    struct node *const node = peer->node;
    uint32_t number = 0;
    if (node->stopping || peer->in.link != link || !number_of(peer, &number) ||
        disk_is_behind(node, (enum message_kind)kind)) {
        return;
    }
    struct peer_message *const message = malloc(sizeof *message);
    if (message == NULL) {
        return; /* lost on the way */
    }
    enum codec_result const result =
        peer_message_decode(message, numbering(node), number, kind, payload);
    if (result != CODEC_OK) {
        bad_frame(peer, codec_result_text(result));
        peer_message_free(message);
        free(message);
        return;
    }
    if (message->kind == MESSAGE_STATUS) {
        echo(peer, payload);
    }
    take_message(peer, message, payload.size);
}

/* What replicas send each other, and nothing else. */
static size_t frame_size_max(uint8_t kind) {
    bool const is_theirs = (kind >= MESSAGE_PRE_PREPARE && kind <= MESSAGE_CHECKPOINT_ITEMS) ||
                           kind == MESSAGE_CHAIN_QUERY || kind == MESSAGE_CHAIN_REPLY;
    return is_theirs ? message_size_max(kind) : 0;
}

static void call_now(struct peer *peer);

/* Until a link is up its user is the node, then its peer. Its pin may have gone meanwhile. */
static void in_on_up(struct link *link, void *user) {
    struct node *const node = user;
    struct digest const digest = link_peer_digest(link);
    struct peer *const peer = find_digest(node->peers, &digest);
    if (peer == NULL) {
        link_set_user(link, NULL);
        link_close(link, "it is no peer any more");
        return;
    }
    if (peer->in.link != NULL) {
        link_close(peer->in.link, "the peer called anew");
    }
    link_set_user(link, peer);
    peer->in.link = link;
    peer->in.paused = false;
    pause_or_resume(peer);
    log_event(LOG_DEBUG, "a peer called", (struct log_field[]){peer_field(peer), log_end()});
    call_now(peer);
}

static void in_on_down(struct link *link, void *user, const char *reason) {
    struct peer *const peer = link_was_up(link) ? user : NULL;
    struct node *const node = link_was_up(link) ? (peer == NULL ? NULL : peer->node) : user;
    if (node == NULL || node->peers == NULL) {
        return;
    }
    if (!link_was_up(link) || link_offended(link)) {
        log_limited(&node->log_limiter, LOG_WARN, "a call to the peers' port failed",
                    (struct log_field[]){log_text("from", link_address(link)),
                                         log_text("reason", reason), log_end()});
    }
    if (peer != NULL && peer->in.link == link) {
        peer->in.link = NULL;
    }
}

/* ---- what goes out --------------------------------------------------------------------------- */

static void call(struct peer *peer);

static void on_retry(uv_timer_t *timer) {
    call(timer->data);
}

static void call_later(struct peer *peer) {
    if (peer->used && !peer->node->peers->closing) {
        /* Fails only on a timer that is being closed. */
        CHECK(uv_timer_start(&peer->out.retry, on_retry, backoff_next_ms(&peer->out.backoff), 0) ==
              0);
    }
}

static void out_on_up(struct link *link, void *user) {
    struct peer *const peer = user;
    struct event event = {.kind = EVENT_PEER_UP};
    peer->out.up = true;
    peer->out.told_down = false;
    backoff_reset(&peer->out.backoff);
    log_event(
        LOG_INFO, "reached a peer",
        (struct log_field[]){peer_field(peer), log_text("address", link_address(link)), log_end()});
    if (!number_of(peer, &event.peer)) {
        return;
    }
    uint32_t const number = event.peer;
    node_step(peer->node, &event);
    joiner_peer_up(peer->node, number);
}

/* A link that was given up has no user. */
static void out_on_down(struct link *link, void *user, const char *reason) {
    struct peer *const peer = user;
    if (peer == NULL || peer->out.link != link) {
        return;
    }
    if (!peer->out.told_down && !peer->node->stopping) {
        peer->out.told_down = true;
        log_event(LOG_WARN, peer->out.up ? "lost a peer" : "cannot reach a peer; calling again",
                  (struct log_field[]){peer_field(peer), log_text("address", link_address(link)),
                                       log_text("reason", reason), log_end()});
    }
    peer->out.link = NULL;
    peer->out.up = false;
    call_later(peer);
}

static void call(struct peer *peer) {
    struct node *const node = peer->node;
    struct problem problem = {0};
    struct link_options const options = {
        .tls = node->identity.tls_dial,
        .peer = TLS_PEER_ANONYMOUS,
        .pin = peer->tls_digest,
        .handlers = {.on_up = out_on_up,
                     .on_frame = on_echo,
                     .on_down = out_on_down,
                     .frame_size_max = echo_size_max},
        .user = peer,
    };
    peer->out.link = link_dial(node->peers->group, peer->address, &options, &problem);
    if (peer->out.link == NULL) {
        log_limited(
            &node->log_limiter, LOG_ERROR, "cannot call a peer",
            (struct log_field[]){peer_field(peer), log_text("reason", problem.text), log_end()});
        call_later(peer);
    }
}

/* It is there: do not wait for the next attempt. */
static void call_now(struct peer *peer) {
    const struct peers *const peers = peer->node->peers;
    if (peer->used && peer->out.link == NULL && peers->started && !peers->closing) {
        backoff_reset(&peer->out.backoff);
        (void)uv_timer_stop(&peer->out.retry); /* cannot fail */
        call(peer);
    }
}

void peers_send_row(struct node *node, uint64_t row, enum message_kind kind, struct span payload) {
    struct peer *const peer = &node->peers->rows[row];
    if (!peer->used || !peer->out.up) {
        return; /* it hears what it missed when it is back */
    }
    switch (link_send(peer->out.link, (uint8_t)kind, &payload, 1)) {
    case LINK_OK:
    case LINK_DOWN:
        return;
    case LINK_BUSY:
        break;
    }
    log_limited(&node->log_limiter, LOG_WARN, "a peer does not keep up; a message was dropped",
                (struct log_field[]){peer_field(peer), log_end()});
}

void peers_send(struct node *node, uint32_t number, enum message_kind kind, struct span payload) {
    const struct replica_identity *const identity = identity_of(node, number);
    uint64_t row = 0;
    if (identity != NULL && peers_find_row(node, identity, &row)) {
        peers_send_row(node, row, kind, payload);
    }
}

/* ---- who takes part -------------------------------------------------------------------------- */

static void hang_up(struct peer *peer, const char *reason) {
    if (peer->out.link != NULL) {
        link_set_user(peer->out.link, NULL);
        link_close(peer->out.link, reason);
        peer->out.link = NULL;
        peer->out.up = false;
    }
    (void)uv_timer_stop(&peer->out.retry); /* cannot fail */
}

static void drop(struct peer *peer) {
    static const char reason[] = "it takes no part any more";
    hang_up(peer, reason);
    if (peer->in.link != NULL) {
        link_close(peer->in.link, reason);
    }
    peer->in.link = NULL;
    peer->in.chain_config = 0;
    peer->used = false;
}

static struct peer *free_row(struct peers *peers) {
    for (uint32_t i = 0; i < NODE_ROWS_MAX; i++) {
        if (!peers->rows[i].used && peers->rows[i].in.waiting == 0) {
            return &peers->rows[i];
        }
    }
    return NULL;
}

/* Have a row for this replica; one of the present configuration is asked for first, and decides. */
static void want(struct node *node, const struct replica_identity *identity) {
    struct peer *peer = find_digest(node->peers, &identity->tls_digest);
    if (public_key_equal(&identity->key, &node->identity.key) || (peer != NULL && peer->wanted)) {
        return;
    }
    if (peer == NULL) {
        peer = free_row(node->peers);
        if (peer == NULL) {
            log_event(LOG_ERROR, "no room for a peer: the replica must be started anew",
                      (struct log_field[]){log_text("address", identity->peer_address), log_end()});
            return;
        }
        peer->used = true;
        peer->tls_digest = identity->tls_digest;
        peer->out.told_down = false;
        peer->in.echo_due_ms = 0;
        backoff_reset(&peer->out.backoff);
    } else if (strcmp(peer->address, identity->peer_address) != 0) {
        hang_up(peer, "it is called elsewhere from now on");
    }
    peer->key = identity->key;
    peer->wanted = true;
    (void)snprintf(peer->address, sizeof peer->address, "%s", identity->peer_address);
}

void peers_update(struct node *node) {
    struct peers *const peers = node->peers;
    struct digest pins[NODE_ROWS_MAX];
    uint32_t count = 0;
    if (peers->closing) {
        return;
    }
    for (uint32_t i = 0; i < NODE_ROWS_MAX; i++) {
        peers->rows[i].wanted = false;
    }
    for (uint32_t number = 0; number < NODE_PEERS_MAX; number++) {
        const struct replica_identity *const identity = identity_of(node, number);
        if (identity != NULL) {
            want(node, identity);
        }
    }
    for (uint32_t i = 0; i < NODE_ROWS_MAX; i++) {
        struct peer *const peer = &peers->rows[i];
        if (peer->used && !peer->wanted) {
            drop(peer);
        } else if (peer->used) {
            pins[count] = peer->tls_digest;
            count++;
        }
    }
    CHECK(count <= TLS_PINS_MAX); /* each is of one number */
    tls_context_set_pins(node->identity.tls_peer, pins, count);
    for (uint32_t i = 0; i < NODE_ROWS_MAX; i++) {
        call_now(&peers->rows[i]);
    }
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
    struct peers *const peers = node->peers;
    for (uint32_t i = 0; i < NODE_ROWS_MAX; i++) {
        struct peer *const peer = &peers->rows[i];
        CHECK(uv_timer_init(&node->loop, &peer->out.retry) == 0); /* cannot fail */
        peer->out.retry.data = peer;
        peer->node = node;
    }
    peers->started = true;
    peers_update(node);
}

void peers_close(struct node *node) {
    struct peers *const peers = node->peers;
    if (peers == NULL || peers->closing) {
        return;
    }
    peers->closing = true;
    for (uint32_t i = 0; i < NODE_ROWS_MAX && peers->started; i++) {
        uv_close((uv_handle_t *)&peers->rows[i].out.retry, NULL);
    }
    if (peers->group != NULL) {
        link_group_close(peers->group);
    }
}

void peers_free(struct node *node) {
    free(node->peers);
    node->peers = NULL;
}
