/*
 * cluster_session: the client library's own session as simulated client (see cluster.h,
 * client/session.h): what it reports is held against what our own collecting finds, and it must
 * never distrust a correct replica.
 */
#include "base/check.h"
#include "tests/sim/cluster.h"

#define SESSION_NEVER UINT64_MAX

uint64_t client_now_ms(const struct cluster *cluster) {
    return 1000 + cluster->now_us / 1000;
}

/* ---- its effects ---- */

static bool session_sends(void *context, uint32_t replica, enum message_kind kind,
                          struct span payload) {
    struct sim_client *const client = context;
    for (uint32_t node = 0; node < client->cluster->node_count; node++) {
        if (client->cluster->nodes[node].id == replica) {
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
    if (node_is_correct(&client->cluster->nodes[replica])) {
        cluster_fail(client->cluster, "client %u distrusts node %u, which %s", client->number,
                     replica, why);
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
                                                .distrusted = session_distrusted};
        client->cluster = cluster;
        client->number = i;
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

void sessions_link(struct cluster *cluster, uint32_t replica, bool up) {
    for (uint32_t i = 0; i < CLUSTER_CLIENTS; i++) {
        if (cluster->clients[i].session != NULL) {
            session_on_link(cluster->clients[i].session, replica, up, client_now_ms(cluster));
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
        }
    }
}
