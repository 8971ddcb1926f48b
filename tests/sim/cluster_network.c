/*
 * cluster_network: what happens to frames between nodes, and between nodes and clients (see
 * cluster.h). A frame to a replica that twins speak for goes to each of them.
 */
#include "base/check.h"
#include "tests/sim/cluster.h"

#define CLIENT_DELAY_US_MIN 100u
#define CLIENT_DELAY_US_MAX 400u

static void deliver_later(struct cluster *cluster, const struct frame *frame, struct parcel *parcel,
                          uint64_t extra_us) {
    struct network *const network = &cluster->network;
    uint64_t at = cluster->now_us + extra_us +
                  prng_between(&cluster->prng, network->delay_us_min, network->delay_us_max);
    uint64_t *const last = &network->last_us[frame->from_node][frame->to];
    if (!network->reorder && at < *last) {
        at = *last;
    }
    if (extra_us == 0) {
        *last = at;
    }
    cluster_schedule(cluster, &(struct sim_event){.at_us = at,
                                                  .kind = SIM_FRAME,
                                                  .node = frame->to,
                                                  .from = frame->from,
                                                  .message = frame->kind,
                                                  .parcel = parcel_hold(parcel)});
}

void cluster_forge(struct cluster *cluster, uint32_t from, uint32_t to, enum message_kind kind,
                   struct span payload) {
    struct frame const frame = {
        .from = cluster->nodes[from].id, .from_node = from, .to = to, .kind = (uint8_t)kind};
    struct parcel *const parcel = parcel_new(payload);
    if (!cluster->network.cut[from][to]) {
        deliver_later(cluster, &frame, parcel, 0);
    }
    parcel_drop(parcel);
}

/* Keep a sample of all frames ever sent, evenly spread. */
static void remember(struct cluster *cluster, const struct frame *frame, struct parcel *parcel) {
    struct network *const network = &cluster->network;
    uint64_t const place = network->old_count < REPLAYS_MAX
                               ? network->old_count
                               : prng_below(&cluster->prng, network->old_count + 1);
    network->old_count++;
    if (place < REPLAYS_MAX) {
        struct old_frame *const old = &network->old[place];
        parcel_drop(old->parcel);
        *old = (struct old_frame){.frame = *frame, .parcel = parcel_hold(parcel)};
    }
}

/* Something that was sent long ago comes once more, to the same node. */
static void replay(struct cluster *cluster) {
    struct network *const network = &cluster->network;
    uint64_t const count = network->old_count < REPLAYS_MAX ? network->old_count : REPLAYS_MAX;
    const struct old_frame *const old = &network->old[prng_below(&cluster->prng, count)];
    cluster->faults[FAULT_REPLAY]++;
    if (!network->cut[old->frame.from_node][old->frame.to]) {
        deliver_later(cluster, &old->frame, old->parcel, prng_below(&cluster->prng, 2000));
    }
}

static void send_frame(struct cluster *cluster, const struct frame *frame) {
    struct network *const network = &cluster->network;
    cluster->nodes[frame->from_node].sent[frame->kind]++;
    if (cluster->filter != NULL && !cluster->filter(cluster->filter_context, cluster, frame)) {
        return;
    }
    if (network->cut[frame->from_node][frame->to]) {
        return;
    }
    if (prng_chance(&cluster->prng, network->drop_permille)) {
        cluster->faults[FAULT_DROP]++;
        return;
    }
    struct parcel *const parcel = parcel_new(frame->payload);
    deliver_later(cluster, frame, parcel, 0);
    if (prng_chance(&cluster->prng, network->duplicate_permille)) {
        cluster->faults[FAULT_DUPLICATE]++;
        deliver_later(cluster, frame, parcel, 0);
    }
    if (network->replay_permille != 0) {
        remember(cluster, frame, parcel);
        if (prng_chance(&cluster->prng, network->replay_permille)) {
            replay(cluster);
        }
    }
    parcel_drop(parcel);
}

void transmit(struct cluster *cluster, uint32_t from_node, uint32_t to, enum message_kind kind,
              struct span payload) {
    struct frame frame = {.from = cluster->nodes[from_node].id,
                          .from_node = from_node,
                          .kind = (uint8_t)kind,
                          .payload = payload};
    for (uint32_t node = 0; node < cluster->node_count; node++) {
        if (cluster->nodes[node].id == to && node != from_node) {
            frame.to = node;
            send_frame(cluster, &frame);
        }
    }
}

void cluster_forge_to_client(struct cluster *cluster, uint32_t from, uint32_t client,
                             enum message_kind kind, struct span payload) {
    uint64_t const delay = prng_between(&cluster->prng, CLIENT_DELAY_US_MIN, CLIENT_DELAY_US_MAX);
    cluster_schedule(cluster, &(struct sim_event){.at_us = cluster->now_us + delay,
                                                  .kind = SIM_TO_CLIENT,
                                                  .node = client,
                                                  .from = from,
                                                  .message = (uint8_t)kind,
                                                  .parcel = parcel_new(payload)});
}

void send_to_client(struct cluster *cluster, uint32_t node, uint64_t origin, enum message_kind kind,
                    struct span payload) {
    CHECK(origin >= 1 && origin <= CLUSTER_CLIENTS);
    uint32_t const client = (uint32_t)(origin - 1);
    struct frame const frame = {.from = cluster->nodes[node].id,
                                .from_node = node,
                                .to = CLUSTER_NODES_MAX + client,
                                .kind = (uint8_t)kind,
                                .payload = payload};
    if (cluster->filter != NULL && !cluster->filter(cluster->filter_context, cluster, &frame)) {
        return;
    }
    if (prng_chance(&cluster->prng, cluster->network.client_drop_permille)) {
        cluster->faults[FAULT_DROP]++;
        return;
    }
    cluster_forge_to_client(cluster, frame.from, client, kind, payload);
}

void send_from_client(struct cluster *cluster, uint32_t client, uint32_t node,
                      enum message_kind kind, struct span payload) {
    uint64_t const delay = prng_between(&cluster->prng, CLIENT_DELAY_US_MIN, CLIENT_DELAY_US_MAX);
    if (cluster->nodes[node].deaf_to == client + 1) {
        return;
    }
    if (prng_chance(&cluster->prng, cluster->network.client_drop_permille)) {
        cluster->faults[FAULT_DROP]++;
        return;
    }
    cluster_schedule(cluster, &(struct sim_event){.at_us = cluster->now_us + delay,
                                                  .kind = SIM_FRAME,
                                                  .node = node,
                                                  .from = CLUSTER_NODES_MAX + client,
                                                  .message = (uint8_t)kind,
                                                  .parcel = parcel_new(payload)});
}

/* ---- links ---- */

void cluster_cut(struct cluster *cluster, uint32_t from, uint32_t to, bool cut) {
    bool const healed = cluster->network.cut[from][to] && !cut;
    cluster->faults[FAULT_CUT] += cut && !cluster->network.cut[from][to];
    cluster->network.cut[from][to] = cut;
    struct event event = {.kind = EVENT_PEER_UP, .peer = cluster->nodes[to].id};
    const struct node *const node = &cluster->nodes[from];
    if (healed && node->up && !node->puppet && node->paused_until_us <= cluster->now_us &&
        cluster->nodes[to].id != node->id) {
        node_step(cluster, from, &event);
        join_peer_up(cluster, from, event.peer);
    }
}

void cluster_isolate(struct cluster *cluster, uint32_t node, bool cut) {
    cluster_trace(cluster, "%u is %s", node, cut ? "cut off" : "back on the network");
    for (uint32_t other = 0; other < cluster->node_count; other++) {
        if (other != node) {
            cluster_cut(cluster, node, other, cut);
            cluster_cut(cluster, other, node, cut);
        }
    }
}

void cluster_heal(struct cluster *cluster) {
    cluster->network.drop_permille = 0;
    cluster->network.duplicate_permille = 0;
    cluster->network.replay_permille = 0;
    cluster->network.client_drop_permille = 0;
    for (uint32_t from = 0; from < cluster->node_count; from++) {
        for (uint32_t to = 0; to < cluster->node_count; to++) {
            cluster_cut(cluster, from, to, false);
        }
    }
}
