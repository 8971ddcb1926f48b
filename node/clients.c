/*
 * clients: links from clients, and the first look at what they want.
 *
 * A client's request is decoded here and asked about (replica_request_refusal) before its signature
 * is paid for. What waits for a check is bounded for all clients together, for each author and for
 * each link; a link over its bound is not read until it is below again, so that a client who sends
 * faster than we check is slowed down rather than refused. Who sends what no client of ours sends
 * is told so once and closed.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "ledger/served.h"
#include "node/chain_keeper.h"
#include "node/demand_service.h"
#include "node/joiner.h"
#include "node/node.h"
#include "node/older.h"

/* Links that are going down keep their place for a moment. */
#define SLOT_BITS 10u
#define SLOTS_MAX (1u << SLOT_BITS)
static_assert(SLOTS_MAX >= 2 * CONNECTIONS_CLIENTS_MAX, "a new link never lacks a place");

struct client {
    struct node *node;
    struct link *link; /* NULL: the slot is free */
    uint64_t origin;
    uint32_t waiting;      /* requests and demands in verification */
    size_t waiting_size;   /* bytes of them */
    uint64_t chain_config; /* it wants links from this configuration on; 0: it does not */
    uint32_t strikes;
    bool paused;
    bool finishing;
};

struct clients {
    struct link_group *group;
    struct client slots[SLOTS_MAX];
    uint64_t connections; /* so far */
    uint32_t chain_slot;  /* whose question about the chain was answered last */
    uint32_t waiting;
    size_t waiting_size;
    uint32_t waiting_of_author[USERS_MAX + MEMBERS_MAX];
    bool held;
};

static struct client *client_find(struct node *node, uint64_t origin) {
    struct client *const client = &node->clients->slots[origin & (SLOTS_MAX - 1)];
    return client->link != NULL && client->origin == origin ? client : NULL;
}

/* Say the last word. */
static void finish(struct client *client, const char *reason) {
    if (!client->finishing) {
        client->finishing = true;
        log_limited(&client->node->log_limiter, LOG_WARN, "closing a client's link",
                    (struct log_field[]){log_text("client", link_address(client->link)),
                                         log_text("reason", reason), log_end()});
        link_finish(client->link, reason);
    }
}

static void strike(struct client *client, const char *reason) {
    client->strikes++;
    if (client->strikes >= CLIENT_STRIKES_MAX) {
        finish(client, reason);
    }
}

void clients_send(struct node *node, uint64_t origin, enum message_kind kind, struct span payload) {
    struct client *const client = client_find(node, origin);
    if (client == NULL || client->finishing) {
        return; /* it has gone, and will ask again */
    }
    switch (link_send(client->link, (uint8_t)kind, &payload, 1)) {
    case LINK_OK:
    case LINK_DOWN:
        break;
    case LINK_BUSY:
        client->finishing = true;
        link_close(client->link, "does not read its replies");
        break;
    }
}

void clients_reject(struct node *node, uint64_t origin, const struct digest *request_id,
                    enum reject_reason reason) {
    struct replica_status status;
    replica_status(node->replica, &status);
    struct reject_message const reject = {
        .request_id = *request_id, .reason = reason, .next_index = status.next_index};
    buffer_clear(&node->scratch);
    if (reject_message_encode(&node->scratch, &reject)) {
        clients_send(node, origin, MESSAGE_REJECT, buffer_span(&node->scratch));
    }
}

/* ---- requests -------------------------------------------------------------------------------- */

static bool over_client_bound(const struct client *client) {
    return client->waiting >= VERIFY_PER_CLIENT_MAX ||
           client->waiting_size >= VERIFY_SIZE_PER_CLIENT_MAX;
}

static void pause_or_resume(struct client *client) {
    bool const pause = over_client_bound(client) || client->node->clients->held;
    bool const resume = !client->node->clients->held &&
                        client->waiting <= VERIFY_PER_CLIENT_MAX / 2 &&
                        client->waiting_size <= VERIFY_SIZE_PER_CLIENT_MAX / 2;
    if (client->finishing) {
        return;
    }
    if (!client->paused && pause) {
        client->paused = true;
        link_pause(client->link);
    } else if (client->paused && resume) {
        client->paused = false;
        link_resume(client->link);
    }
}

static void charge(struct client *client, uint32_t author, size_t size) {
    struct clients *const clients = client->node->clients;
    clients->waiting_of_author[author]++;
    clients->waiting++;
    clients->waiting_size += size;
    client->waiting++;
    client->waiting_size += size;
    pause_or_resume(client);
}

static bool has_room(const struct node *node, uint32_t author) {
    const struct clients *const clients = node->clients;
    return clients->waiting < VERIFY_REQUESTS_MAX && clients->waiting_size < VERIFY_SIZE_MAX &&
           clients->waiting_of_author[author] < VERIFY_PER_AUTHOR_MAX;
}

bool clients_checked(struct node *node, const struct verify_item *item) {
    struct clients *const clients = node->clients;
    struct client *const client = client_find(node, item->origin);
    clients->waiting_of_author[item->author]--; /* its place when it came */
    clients->waiting--;
    clients->waiting_size -= item->size;
    if (client == NULL) {
        return item->holds;
    }
    client->waiting--;
    client->waiting_size -= item->size;
    pause_or_resume(client);
    if (!item->holds) {
        const struct digest *const id =
            item->kind == VERIFY_DEMAND ? &item->demand->digest : &item->request->id;
        clients_reject(node, item->origin, id, REJECT_SIGNATURE);
        strike(client, "sent requests whose signatures do not hold");
    }
    return item->holds;
}

static void refuse(struct client *client, const struct request *request,
                   enum reject_reason reason) {
    clients_reject(client->node, client->origin, &request->id, reason);
    if (reason == REJECT_AUTHOR) {
        strike(client, "sent requests of authors that this service does not know");
    }
}

static void on_request(struct client *client, struct span payload) {
    struct node *const node = client->node;
    struct digest const nobody = {{0}};
    struct arena *const arena = workers_arena(node->workers, VERIFY_CLIENTS);
    struct request *const request = arena == NULL ? NULL : arena_alloc(arena, sizeof *request);
    struct span const bytes = request == NULL ? (struct span){0} : arena_copy(arena, payload);
    if (request == NULL || (bytes.data == NULL && payload.size != 0)) {
        clients_reject(node, client->origin, &nobody, REJECT_BUSY);
        return;
    }
    if (request_decode(request, arena, &node->identity.founding.configuration.service, bytes) !=
        CODEC_OK) {
        clients_reject(node, client->origin, &nobody, REJECT_MALFORMED);
        finish(client, "sent a request that does not decode");
        return;
    }
    enum reject_reason const refusal =
        node->resting ? REJECT_BUSY : replica_request_refusal(node->replica, request);
    if (refusal != 0) {
        refuse(client, request, refusal);
        return;
    }
    /* Known requests are not refused above whoever signs: an unknown author has no place here. */
    uint32_t author = 0;
    if (!configuration_find_author(replica_configuration(node->replica), &request->author,
                                   &author)) {
        refuse(client, request, REJECT_AUTHOR);
        return;
    }
    if (!has_room(node, author)) {
        refuse(client, request, REJECT_BUSY);
        return;
    }
    struct verify_item const item = {
        .kind = VERIFY_REQUEST,
        .check = {.key = request->author,
                  .signature = request->signature,
                  .body = request->header,
                  .label = LABEL_REQUEST},
        .size = payload.size,
        .origin = client->origin,
        .author = author,
        .request = request,
    };
    workers_add(node->workers, VERIFY_CLIENTS, &item);
    charge(client, author, payload.size);
    node_want_turn(node);
}

/* ---- demands --------------------------------------------------------------------------------- */

/* Decode what an auditor demands, into the arena. Returns: NULL: it cannot be. */
static struct demand_check *decode_demand(const struct digest *service,
                                          struct signed_body *statement, struct arena *arena,
                                          struct span bytes) {
    struct demand_check *const check = arena_alloc(arena, sizeof *check);
    if (check == NULL ||
        signed_decode(statement, arena, bytes, message_size_max(MESSAGE_DEMAND)) != CODEC_OK ||
        demand_decode(&check->demand, arena, statement->body) != CODEC_OK) {
        return NULL;
    }
    check->digest = demand_digest(service, statement);
    return check;
}

/* Why a demand is refused before its signature is paid for; 0: it is not, and has a place. */
static enum reject_reason demand_refusal(struct client *client, const struct demand *demand,
                                         uint32_t *author) {
    struct node *const node = client->node;
    if (!configuration_find_author(replica_configuration(node->replica), &demand->author, author)) {
        strike(client, "sent demands of authors that this service does not know");
        return REJECT_AUTHOR;
    }
    if (demand->replica != replica_self(node->replica)) {
        strike(client, "sent demands that are for another replica");
        return REJECT_UNKNOWN;
    }
    return has_room(node, *author) && demand_service_reserve(node, client->origin, *author)
               ? 0
               : REJECT_BUSY;
}

static void on_demand(struct client *client, struct span payload) {
    struct node *const node = client->node;
    struct digest const nobody = {{0}};
    struct signed_body statement;
    struct arena *const arena = workers_arena(node->workers, VERIFY_CLIENTS);
    struct span const bytes = arena == NULL ? (struct span){0} : arena_copy(arena, payload);
    if (bytes.data == NULL && payload.size != 0) {
        clients_reject(node, client->origin, &nobody, REJECT_BUSY);
        return;
    }
    struct demand_check *const check =
        decode_demand(&node->identity.founding.configuration.service, &statement, arena, bytes);
    if (check == NULL) {
        clients_reject(node, client->origin, &nobody, REJECT_MALFORMED);
        finish(client, "sent a demand that does not decode");
        return;
    }
    uint32_t author = 0;
    enum reject_reason const refusal = demand_refusal(client, &check->demand, &author);
    if (refusal != 0) {
        clients_reject(node, client->origin, &check->digest, refusal);
        return;
    }
    struct verify_item const item = {
        .kind = VERIFY_DEMAND,
        .check = {.key = check->demand.author,
                  .signature = statement.signature,
                  .body = statement.body,
                  .label = LABEL_DEMAND},
        .size = payload.size,
        .origin = client->origin,
        .author = author,
        .demand = check,
    };
    workers_add(node->workers, VERIFY_CLIENTS, &item);
    charge(client, author, payload.size);
    node_want_turn(node);
}

/* ---- queries --------------------------------------------------------------------------------- */

/*
 * What an operator should know first; static text, the node's own, or made in `room`, which has
 * STATUS_ERROR_SIZE_MAX bytes.
 */
static const char *last_error(const struct node *node, const struct replica_status *status,
                              char *room) {
    const struct configuration *const configuration = replica_configuration(node->replica);
    if (status->guard != GUARD_NONE) {
        return guard_text(status->guard);
    }
    if (disk_thread_is_full(node->disk)) {
        return "the disk is full: free some space";
    }
    if (node->checkpoint_error[0] != '\0') {
        return node->checkpoint_error;
    }
    const char *obstacle = older_obstacle(node);
    obstacle = obstacle == NULL ? chain_keeper_obstacle(node) : obstacle;
    if (obstacle != NULL) {
        return obstacle;
    }
    if (!node->resting && replica_self(node->replica) == REPLICAS_MAX) {
        (void)snprintf(room, STATUS_ERROR_SIZE_MAX,
                       "this replica is not part of configuration %llu: it follows and serves",
                       (unsigned long long)status->config);
        return room;
    }
    if (node->resting || status->asked_view <= status->view) {
        return joiner_text(node, room);
    }
    uint32_t const primary = configuration_primary(configuration, status->asked_view);
    (void)snprintf(room, STATUS_ERROR_SIZE_MAX, "waits for view %llu of replica %u (%s)",
                   (unsigned long long)status->asked_view, primary,
                   configuration_member_of(configuration, primary));
    return room;
}

/* Its place in the configuration; of one that is not in it, the number that it was configured with.
 */
static uint32_t status_number(const struct node *node) {
    uint32_t const self = replica_self(node->replica);
    return self == REPLICAS_MAX ? node->config.replica : self;
}

static void answer_status(struct client *client) {
    struct node *const node = client->node;
    struct replica_status status;
    char error[STATUS_ERROR_SIZE_MAX];
    char room[STATUS_ERROR_SIZE_MAX];
    replica_status(node->replica, &status);
    const char *const text = last_error(node, &status, room);
    size_t const size = strnlen(text, sizeof error);
    for (size_t i = 0; i < size; i++) {
        bool const printable = (unsigned char)text[i] >= 0x20 && text[i] != 0x7f;
        error[i] = text[i];
        if (!printable) {
            error[i] = '?';
        }
    }
    struct status_reply_message const reply = {
        .service = node->identity.founding.configuration.service,
        .replica = status_number(node),
        .config = status.config,
        .view = status.view,
        .primary = status.primary,
        .executed_seq = status.executed_seq,
        .committed_seq = status.committed_seq,
        .next_index = status.next_index,
        .committed_index = status.committed_index,
        .ledger_size = disk_thread_ledger_size(node->disk),
        .voting = status.guard == GUARD_NONE && !disk_thread_is_full(node->disk) &&
                  !node->resting && replica_self(node->replica) != REPLICAS_MAX,
        .last_error = span_of(error, size),
    };
    buffer_clear(&node->scratch);
    if (status_reply_message_encode(&node->scratch, &reply)) {
        clients_send(node, client->origin, MESSAGE_STATUS_REPLY, buffer_span(&node->scratch));
    }
}

static void on_receipt_query(struct client *client, struct span payload) {
    struct event event = {.kind = EVENT_RECEIPT_QUERY};
    struct arena arena;
    arena_init(&arena, 4096);
    event.receipt_query.origin = client->origin;
    enum codec_result const result =
        receipt_query_decode(&event.receipt_query.request_id, &arena, payload);
    arena_free(&arena);
    if (result != CODEC_OK) {
        finish(client, "sent a receipt query that does not decode");
        return;
    }
    if (client->node->resting) {
        clients_reject(client->node, client->origin, &event.receipt_query.request_id, REJECT_BUSY);
        return;
    }
    node_step(client->node, &event);
}

static void on_status_query(struct client *client, struct span payload) {
    struct arena arena;
    arena_init(&arena, 4096);
    enum codec_result const result = status_query_decode(&arena, payload);
    arena_free(&arena);
    if (result != CODEC_OK) {
        finish(client, "sent a status query that does not decode");
        return;
    }
    answer_status(client);
}

static void on_chain_query(struct client *client, struct span payload) {
    uint64_t config = 0;
    struct arena arena;
    arena_init(&arena, 4096);
    enum codec_result const result = chain_query_decode(&config, &arena, payload);
    arena_free(&arena);
    if (result != CODEC_OK) {
        finish(client, "sent a query for the governance chain that does not decode");
    } else if (client->chain_config == 0) {
        client->chain_config = config;
        chain_keeper_serve(client->node);
    }
}

bool clients_next_chain_query(struct node *node, uint64_t *origin, uint64_t *config) {
    struct clients *const clients = node->clients;
    for (uint32_t i = 1; i <= SLOTS_MAX; i++) {
        uint32_t const slot = (clients->chain_slot + i) % SLOTS_MAX;
        const struct client *const client = &clients->slots[slot];
        if (client->link != NULL && !client->finishing && client->chain_config != 0) {
            clients->chain_slot = slot;
            *origin = client->origin;
            *config = client->chain_config;
            return true;
        }
    }
    return false;
}

void clients_chain_answered(struct node *node, uint64_t origin) {
    struct client *const client = client_find(node, origin);
    if (client != NULL) {
        client->chain_config = 0;
    }
}

/* ---- links ----------------------------------------------------------------------------------- */

static void on_frame(struct link *link, void *user, uint8_t kind, struct span payload) {
    struct client *const client = user;
    (void)link;
    if (client->node->stopping || client->finishing) {
        return;
    }
    if (kind == MESSAGE_REQUEST) {
        on_request(client, payload);
    } else if (kind == MESSAGE_STATUS_QUERY) {
        on_status_query(client, payload);
    } else if (kind == MESSAGE_DEMAND) {
        on_demand(client, payload);
    } else if (kind == MESSAGE_CHAIN_QUERY) {
        on_chain_query(client, payload);
    } else {
        on_receipt_query(client, payload);
    }
}

static size_t frame_size_max(uint8_t kind) {
    bool const known = kind == MESSAGE_REQUEST || kind == MESSAGE_STATUS_QUERY ||
                       kind == MESSAGE_RECEIPT_QUERY || kind == MESSAGE_DEMAND ||
                       kind == MESSAGE_CHAIN_QUERY;
    return known ? message_size_max(kind) : 0;
}

static void on_up(struct link *link, void *user) {
    struct node *const node = user;
    struct clients *const clients = node->clients;
    uint32_t slot = 0;
    while (slot < SLOTS_MAX && clients->slots[slot].link != NULL) {
        slot++;
    }
    if (slot == SLOTS_MAX) {
        link_set_user(link, NULL);
        link_close(link, "too many connections");
        return;
    }
    clients->connections++;
    clients->slots[slot] = (struct client){
        .node = node, .link = link, .origin = clients->connections << SLOT_BITS | slot};
    link_set_user(link, &clients->slots[slot]);
    pause_or_resume(&clients->slots[slot]);
}

/* Until a link is up its user is the node, then its client, or nobody when there was no place. */
static void on_down(struct link *link, void *user, const char *reason) {
    struct node *node = user;
    if (link_was_up(link)) {
        struct client *const client = user;
        if (client == NULL) {
            return;
        }
        node = client->node;
        client->link = NULL;
    }
    bool const notable = !link_was_up(link) || link_offended(link);
    log_limited(&node->log_limiter, notable ? LOG_WARN : LOG_DEBUG, "a client's link is down",
                (struct log_field[]){log_text("client", link_address(link)),
                                     log_text("reason", reason), log_end()});
}

bool clients_is_there(struct node *node, uint64_t origin) {
    return client_find(node, origin) != NULL;
}

size_t clients_backlog(const struct node *node) {
    size_t backlog = 0;
    for (uint32_t i = 0; i < SLOTS_MAX; i++) {
        const struct client *const client = &node->clients->slots[i];
        backlog += client->link == NULL ? 0 : link_backlog(client->link);
    }
    return backlog;
}

void clients_hold(struct node *node, bool hold) {
    struct clients *const clients = node->clients;
    if (clients->held == hold) {
        return;
    }
    clients->held = hold;
    for (uint32_t i = 0; i < SLOTS_MAX; i++) {
        if (clients->slots[i].link != NULL) {
            pause_or_resume(&clients->slots[i]);
        }
    }
}

int clients_open(struct node *node, struct problem *problem) {
    struct link_group_options const group = {
        .loop = &node->loop,
        .connections_max = node->config.client_connections_max,
        .memory_max = LINK_MEMORY_CLIENTS_MAX,
    };
    struct link_options const options = {
        .tls = node->identity.tls_client,
        .handlers = {.on_up = on_up,
                     .on_frame = on_frame,
                     .on_down = on_down,
                     .frame_size_max = frame_size_max},
        .user = node,
    };
    node->clients = calloc(1, sizeof *node->clients);
    if (node->clients == NULL) {
        return problem_set(problem, EXIT_ERROR, "set up links: out of memory");
    }
    node->clients->group = link_group_create(&group, problem);
    if (node->clients->group == NULL) {
        return -1;
    }
    return link_group_listen(node->clients->group, node->config.listen_client, &options, problem);
}

void clients_close(struct node *node) {
    if (node->clients != NULL && node->clients->group != NULL) {
        link_group_close(node->clients->group);
        node->clients->group = NULL;
    }
}

void clients_free(struct node *node) {
    free(node->clients);
    node->clients = NULL;
}
