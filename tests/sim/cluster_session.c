/*
 * cluster_session: the client library's own session as simulated client (see cluster.h,
 * client/session.h): what it reports is held against what our own collecting finds, and it must
 * never distrust a correct replica.
 *
 * It knows the replicas by their position in its configuration; here they are ids. Links of the
 * governance chain are not made here: a link is the number that it leads to, and whether it holds
 * is what the cluster knows.
 */
#include "base/check.h"
#include "tests/sim/cluster.h"

#define SESSION_NEVER UINT64_MAX
#define LINK_BYTES 8u

uint64_t client_now_ms(const struct cluster *cluster) {
    return 1000 + cluster->now_us / 1000;
}

static uint32_t id_of(const struct sim_client *client, uint32_t replica) {
    const struct configuration *const configuration = session_configuration(client->session);
    return cluster_id_of(client->cluster, &configuration->replicas[replica].key);
}

/* Where it stands in the session's configuration; REPLICAS_MAX: nowhere. */
static uint32_t position_of(const struct sim_client *client, uint32_t id) {
    return cluster_position(client->cluster, session_configuration(client->session)->number, id);
}

/* ---- its effects ---- */

static bool session_sends(void *context, uint32_t replica, enum message_kind kind,
                          struct span payload) {
    struct sim_client *const client = context;
    uint32_t const id = id_of(client, replica);
    for (uint32_t node = 0; node < client->cluster->node_count; node++) {
        if (client->cluster->nodes[node].id == id) {
            send_from_client(client->cluster, client->number, node, kind, payload);
        }
    }
    return true;
}

static struct client_request *request_of(const struct sim_client *client, void *tag) {
    uint64_t const number = (uint64_t)(uintptr_t)tag - 1;
    CHECK(number < client->cluster->request_count);
    return &client->cluster->requests[number];
}

static void session_receipted(void *context, void *tag, const struct session_receipts *receipts) {
    struct sim_client *const client = context;
    struct cluster *const cluster = client->cluster;
    struct client_request *const request = request_of(client, tag);
    uint32_t const number = (uint32_t)(request - cluster->requests);
    request->in_session = false;
    if (!digest_equal(&request->id, receipts->request_id) ||
        !client_receipts_hold(cluster, request, receipts->result, receipts->certificate)) {
        cluster_fail(cluster, "the session's receipt of request %u does not verify", number);
    }
    client_judge_result(cluster, number, receipts->pre_prepare->seq, receipts->result);
}

static void session_rejected(void *context, void *tag, const struct digest *request_id,
                             enum reject_reason reason) {
    struct sim_client *const client = context;
    struct client_request *const request = request_of(client, tag);
    (void)request_id;
    request->in_session = false;
    request->was_refused = true;
    request->reject = reason;
    request->abandoned = true;
    cluster_trace(client->cluster, "the session gives up request %u: %u",
                  (unsigned)(request - client->cluster->requests), reason);
}

static void session_distrusted(void *context, uint32_t replica, const char *why) {
    const struct sim_client *const client = context;
    uint32_t const id = id_of(client, replica);
    if (node_is_correct(&client->cluster->nodes[id])) {
        cluster_fail(client->cluster, "client %u distrusts node %u, which %s", client->number, id,
                     why);
    }
}

static const struct configuration *session_finds(void *context, uint64_t number) {
    const struct sim_client *const client = context;
    return cluster_configuration(client->cluster, number); /* it has been there */
}

static int session_gets_links(void *context, const struct span *links, uint32_t count) {
    struct sim_client *const client = context;
    int taken = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t const number = links[i].size == LINK_BYTES ? load_u64_be(links[i].data) : 0;
        if (number != client->links_lead_to + 1 ||
            !cluster_knows_configuration(client->cluster, number)) {
            return -1;
        }
        client->links_lead_to = number;
        taken++;
    }
    return taken;
}

static void session_configured(void *context, uint64_t number) {
    struct sim_client *const client = context;
    CHECK(number == client->links_lead_to);
    client->outdated = true; /* see go_over */
}

/* ---- another configuration ---- */

bool session_links_answer(struct cluster *cluster, uint32_t node, struct buffer *out,
                          struct span query) {
    uint8_t bytes[CLUSTER_ERAS_MAX][LINK_BYTES];
    struct span links[CLUSTER_ERAS_MAX];
    struct chain_reply_message reply = {.config = cluster_status(cluster, node).config,
                                        .links = links};
    struct arena arena;
    uint64_t asked = 0;
    arena_init(&arena, 4096);
    bool const decodes = chain_query_decode(&asked, &arena, query) == CODEC_OK;
    arena_free(&arena);
    while (decodes && asked + reply.link_count < reply.config) {
        uint8_t *const link = bytes[reply.link_count];
        store_u64_be(link, asked + reply.link_count + 1);
        links[reply.link_count++] = span_of(link, LINK_BYTES);
    }
    return decodes && chain_reply_message_encode(out, &reply);
}

static bool is_up(const struct cluster *cluster, uint32_t id) {
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        if (cluster->nodes[i].id == id && cluster->nodes[i].up) {
            return true;
        }
    }
    return false;
}

static void go_over(struct cluster *cluster, struct sim_client *client) {
    const struct configuration *const now = session_configuration(client->session);
    if (!client->outdated) {
        return;
    }
    client->outdated = false;
    CHECK(session_reconfigure(client->session,
                              cluster_configuration(cluster, client->links_lead_to),
                              client_now_ms(cluster)));
    cluster_trace(cluster, "client %u goes over to configuration %llu", client->number,
                  (unsigned long long)client->links_lead_to);
    for (uint32_t r = 0; r < now->replica_count; r++) {
        if (is_up(cluster, id_of(client, r))) {
            session_on_link(client->session, r, true, client_now_ms(cluster));
        }
    }
}

/* ---- its life ---- */

void sessions_open(struct cluster *cluster) {
    for (uint32_t i = 0; i < CLUSTER_CLIENTS; i++) {
        struct sim_client *const client = &cluster->clients[i];
        struct session_effects const effects = {.context = client,
                                                .send = session_sends,
                                                .receipted = session_receipted,
                                                .rejected = session_rejected,
                                                .distrusted = session_distrusted,
                                                .configuration = session_finds,
                                                .links = session_gets_links,
                                                .configured = session_configured};
        client->cluster = cluster;
        client->number = i;
        client->links_lead_to = cluster->configuration->number;
        if (cluster->options.sessions) {
            client->session = session_create(cluster->configuration, &effects);
            CHECK(client->session != NULL);
        }
    }
}

void sessions_close(struct cluster *cluster) {
    for (uint32_t i = 0; i < CLUSTER_CLIENTS; i++) {
        session_free(cluster->clients[i].session);
    }
}

void session_client_submit(struct cluster *cluster, uint32_t request) {
    struct client_request *const at = &cluster->requests[request];
    struct session_request const submitted = {
        .bytes = at->bytes,
        .id = at->id,
        .digest = at->request.digest,
        .min_index = at->request.min_index,
        .call_count = at->request.call_count,
        .tag = (void *)(uintptr_t)(request + 1),
    };
    at->in_session = true;
    if (session_submit(cluster->clients[at->client].session, &submitted, client_now_ms(cluster)) !=
        SESSION_SUBMITTED) {
        cluster_fail(cluster, "the session does not take request %u", request);
    }
}

void session_client_take(struct cluster *cluster, uint32_t client, uint32_t from, uint8_t kind,
                         struct span payload) {
    struct sim_client *const at = &cluster->clients[client];
    uint32_t const replica = at->session == NULL ? REPLICAS_MAX : position_of(at, from);
    if (replica != REPLICAS_MAX) {
        session_on_frame(at->session, replica, kind, payload, client_now_ms(cluster));
        go_over(cluster, at);
    }
}

void sessions_link(struct cluster *cluster, uint32_t replica, bool up) {
    for (uint32_t i = 0; i < CLUSTER_CLIENTS; i++) {
        struct sim_client *const client = &cluster->clients[i];
        uint32_t const place =
            client->session == NULL ? REPLICAS_MAX : position_of(client, replica);
        if (place != REPLICAS_MAX) {
            session_on_link(client->session, place, up, client_now_ms(cluster));
            go_over(cluster, client);
        }
    }
}

uint64_t sessions_deadline_us(const struct cluster *cluster) {
    uint64_t first = SESSION_NEVER;
    for (uint32_t i = 0; i < CLUSTER_CLIENTS; i++) {
        if (cluster->clients[i].session != NULL) {
            uint64_t const ms = session_deadline(cluster->clients[i].session);
            first = ms < first ? ms : first;
        }
    }
    if (first == SESSION_NEVER) {
        return SESSION_NEVER;
    }
    uint64_t const due = first <= 1000 ? 0 : (first - 1000) * 1000;
    return due > cluster->now_us ? due : cluster->now_us;
}

void sessions_tick(struct cluster *cluster) {
    for (uint32_t i = 0; i < CLUSTER_CLIENTS; i++) {
        if (cluster->clients[i].session != NULL) {
            session_tick(cluster->clients[i].session, client_now_ms(cluster));
            go_over(cluster, &cluster->clients[i]);
        }
    }
}
