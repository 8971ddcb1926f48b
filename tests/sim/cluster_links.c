/*
 * cluster_links: the governance chain among nodes (see cluster.h): what a node that joins has of
 * it, and whom it knows by that. As for clients (cluster_session.c), links are not made here: a
 * link is the number that it leads to, and whether it holds is what the cluster knows. It goes the
 * way that node/ goes: while a node rests to join among the replicas of a later configuration than
 * the founding one, numbers of peers are that one's.
 */
#include "base/check.h"
#include "tests/sim/cluster.h"

#define LINK_BYTES 8u

/* ---- who is who ---- */

const struct configuration *links_numbering(struct cluster *cluster, uint32_t number) {
    const struct node *const node = &cluster->nodes[number];
    return node->joins_in != 0 ? cluster_configuration(cluster, node->joins_in)
                               : replica_configuration(node->replica);
}

bool links_find_peer(struct cluster *cluster, uint32_t number, uint32_t id, uint32_t *peer) {
    const struct node *const node = &cluster->nodes[number];
    const struct public_key *const key = &cluster->keys[id].signing.key;
    if (node->joins_in == 0) {
        return replica_find_peer(node->replica, key, peer);
    }
    *peer = cluster_position(cluster, node->joins_in, id);
    return *peer != REPLICAS_MAX;
}

uint32_t links_peer_id(struct cluster *cluster, uint32_t number, uint32_t peer) {
    const struct node *const node = &cluster->nodes[number];
    const struct configuration *const now = links_numbering(cluster, number);
    const struct replica_identity *identity = NULL;
    if (node->joins_in == 0) {
        identity = replica_peer(node->replica, peer);
    } else if (peer < now->replica_count) {
        identity = &now->replicas[peer];
    }
    return identity == NULL ? CLUSTER_NODES_MAX : cluster_id_of(cluster, &identity->key);
}

/* ---- what it has ---- */

uint64_t links_newest(const struct node *node) {
    return node->disk.links_lead_to == 0 ? 1 : node->disk.links_lead_to;
}

const struct constitution *links_find(void *context, uint64_t number) {
    const struct links_of *const of = context;
    const struct node *const node = &of->cluster->nodes[of->node];
    bool const is_there =
        number <= links_newest(node) && cluster_knows_configuration(of->cluster, number);
    return is_there ? &of->cluster->eras[number - 1].constitution : NULL;
}

/* It makes them of its ledger, when that is whole; else it has what it was given. */
static uint64_t known_to(struct cluster *cluster, uint32_t number) {
    const struct node *const node = &cluster->nodes[number];
    uint64_t const given = links_newest(node);
    uint64_t const made = join_is_whole(node) ? cluster_status(cluster, number).config : 1;
    return made > given ? made : given;
}

void links_serve(struct cluster *cluster, uint32_t number, uint32_t to, uint64_t from) {
    uint8_t bytes[CLUSTER_ERAS_MAX][LINK_BYTES];
    struct span links[CLUSTER_ERAS_MAX];
    struct chain_reply_message reply = {.config = known_to(cluster, number), .links = links};
    struct buffer encoded;
    uint64_t const most = prng_between(&cluster->prng, 1, CLUSTER_ERAS_MAX);
    while (from + reply.link_count < reply.config && reply.link_count < most) {
        uint8_t *const link = bytes[reply.link_count];
        store_u64_be(link, from + reply.link_count + 1);
        links[reply.link_count++] = span_of(link, LINK_BYTES);
    }
    buffer_init(&encoded, FRAME_SIZE_MAX);
    CHECK(chain_reply_message_encode(&encoded, &reply));
    transmit(cluster, number, to, MESSAGE_CHAIN_REPLY, buffer_span(&encoded));
    buffer_free(&encoded);
}

bool links_judge(struct cluster *cluster, uint32_t number, const struct join_effect *effect) {
    struct sim_disk *const disk = &cluster->nodes[number].disk;
    for (uint32_t i = 0; i < effect->links.count; i++) {
        const struct span link = effect->links.links[i];
        uint64_t const leads_to = link.size == LINK_BYTES ? load_u64_be(link.data) : 0;
        uint64_t const newest = links_newest(&cluster->nodes[number]);
        bool const is_known = leads_to > 1 && leads_to <= newest;
        if (!is_known &&
            (leads_to != newest + 1 || !cluster_knows_configuration(cluster, leads_to))) {
            return false;
        }
        disk->links_lead_to = is_known ? newest : leads_to;
    }
    return true;
}
