/*
 * watch_replay: at the end of a run, a node's ledger is recovered twice on spare disks, once with
 * the state of its last checkpoint and once from genesis on (see cluster.h). Both must stand at the
 * same place with the same state.
 */
#include <stdlib.h>

#include "base/check.h"
#include "tests/sim/cluster.h"

/* Where a recovery comes to. */
struct recovered {
    struct replica_status status;
    struct digest ledger_root;
    struct digest state_root;
    uint64_t state_count;
};

static bool hash_row(void *context, struct span key, struct span value, bool deleted) {
    (void)deleted;
    state_hasher_add(context, key, value);
    return true;
}

static void take_state(struct cluster *cluster, struct node *node, struct recovered *out) {
    struct state_hasher hasher;
    uint64_t const seq = checker_position(node->checker)->seq;
    state_hasher_init(&hasher);
    /* A cut at the last batch is there already when it is a checkpoint's. */
    if (!engine_visit_state(node->engine, seq, hash_row, &hasher)) {
        state_hasher_init(&hasher);
        engine_cut(node->engine, seq);
        if (!engine_visit_state(node->engine, seq, hash_row, &hasher)) {
            cluster_fail(cluster, "the state after batch %llu cannot be read",
                         (unsigned long long)seq);
        }
    }
    out->state_count = hasher.count;
    out->state_root = state_hasher_final(&hasher);
}

/* Recover the ledger of node `from` on the node `spare`, which stands for nobody. */
static struct recovered recover_on(struct cluster *cluster, uint32_t spare, uint32_t from,
                                   bool with_state) {
    struct node *const node = &cluster->nodes[spare];
    const struct sim_disk *const disk = &cluster->nodes[from].disk;
    struct recovered recovered = {.state_count = 0};
    *node = (struct node){.id = cluster->nodes[from].id};
    entry_list_copy(&node->disk.durable, &disk->durable, disk->durable.count);
    entry_list_copy(&node->disk.live, &disk->durable, disk->durable.count);
    if (with_state) {
        store_copy(&node->disk.store, &disk->store);
    }
    node_recover(cluster, spare);
    replica_status(node->replica, &recovered.status);
    recovered.ledger_root = frontier_root(&checker_position(node->checker)->frontier);
    take_state(cluster, node, &recovered);
    node_release(node);
    disk_free(&node->disk);
    *node = (struct node){.id = 0};
    return recovered;
}

void watch_replay(struct cluster *cluster, uint32_t node) {
    uint32_t const spare = cluster->node_count;
    if (spare == CLUSTER_NODES_MAX || cluster->nodes[node].disk.durable.first != 0 ||
        !cluster->nodes[node].disk.store.present) {
        return;
    }
    struct recovered const a = recover_on(cluster, spare, node, true);
    struct recovered const b = recover_on(cluster, spare, node, false);
    cluster->judgements++;
    if (a.status.executed_seq != b.status.executed_seq || a.status.view != b.status.view ||
        a.status.next_index != b.status.next_index || a.status.entries != b.status.entries ||
        !digest_equal(&a.ledger_root, &b.ledger_root) || a.state_count != b.state_count ||
        !digest_equal(&a.state_root, &b.state_root)) {
        cluster_fail(cluster,
                     "node %u: replay from genesis and from its checkpoint differ: batch %llu and "
                     "%llu, %llu and %llu keys",
                     node, (unsigned long long)b.status.executed_seq,
                     (unsigned long long)a.status.executed_seq, (unsigned long long)b.state_count,
                     (unsigned long long)a.state_count);
    }
}
