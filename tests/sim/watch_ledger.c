/*
 * watch_ledger: the judge of what nodes commit and keep (see cluster.h).
 *
 * A batch may be signed again in a later view: what all agree on is its content, and for that the
 * lowest view counts in which somebody committed it; whoever has another content in that view or
 * a later one is wrong. What is settled is the same for all, byte for byte, and never goes away.
 */
#include <stdlib.h>

#include "base/check.h"
#include "tests/sim/cluster.h"

/* ---- agreement ---- */

static struct agreed_batch *agreed_at(struct cluster *cluster, uint64_t seq) {
    while (seq >= cluster->agreed_capacity) {
        uint64_t const before = cluster->agreed_capacity;
        list_reserve(&cluster->agreed, before, &cluster->agreed_capacity, sizeof *cluster->agreed);
        for (uint64_t i = before; i < cluster->agreed_capacity; i++) {
            cluster->agreed[i] = (struct agreed_batch){.known = false};
        }
    }
    return &cluster->agreed[seq];
}

static bool same_content(const struct agreed_batch *agreed, const struct batch_facts *facts) {
    return digest_equal(&agreed->batch_root, &facts->batch_root) &&
           agreed->first_index == facts->first_index && agreed->tx_count == facts->tx_count &&
           agreed->time_ms == facts->time_ms;
}

static void judge_content(struct cluster *cluster, uint32_t number, const struct batch_facts *facts,
                          const char *what, uint64_t from_view) {
    const struct agreed_batch *const agreed = agreed_at(cluster, facts->seq);
    cluster->judgements++;
    if (agreed->known && facts->view >= from_view && !same_content(agreed, facts)) {
        cluster_fail(cluster,
                     "node %u %s batch %llu in view %llu, which is not the one committed in view "
                     "%llu",
                     number, what, (unsigned long long)facts->seq, (unsigned long long)facts->view,
                     (unsigned long long)agreed->view);
    }
}

static void judge_committed(struct cluster *cluster, uint32_t number, uint64_t seq) {
    const struct entry_list *const ledger = &cluster->nodes[number].disk.live;
    uint64_t const entry = entry_find(ledger, seq);
    if (entry == 0) {
        cluster_fail(cluster, "node %u committed batch %llu, which its ledger does not hold",
                     number, (unsigned long long)seq);
    }
    const struct batch_facts *const facts = ledger->marks[entry].facts;
    struct agreed_batch *const agreed = agreed_at(cluster, seq);
    if (cluster_config_of(facts->view) != cluster_config_at(cluster, seq)) {
        cluster_fail(cluster, "node %u committed batch %llu in configuration %llu, not in force",
                     number, (unsigned long long)seq,
                     (unsigned long long)cluster_config_of(facts->view));
    }
    judge_content(cluster, number, facts, "committed", agreed->view);
    if (!agreed->known || facts->view < agreed->view) {
        if (agreed->known && !same_content(agreed, facts)) {
            cluster_fail(cluster, "node %u committed another batch %llu in view %llu", number,
                         (unsigned long long)seq, (unsigned long long)facts->view);
        }
        *agreed = (struct agreed_batch){.known = true,
                                        .view = facts->view,
                                        .first_index = facts->first_index,
                                        .time_ms = facts->time_ms,
                                        .tx_count = facts->tx_count,
                                        .batch_root = facts->batch_root};
    }
    if (seq > cluster->committed_seq) {
        cluster->committed_seq = seq;
    }
}

/* In the very view a primary may have told this node otherwise; no later one may differ. */
void watch_append(struct cluster *cluster, uint32_t node, const struct entry_mark *mark) {
    if (node_is_correct(&cluster->nodes[node]) && mark->ends_unit && mark->facts != NULL) {
        judge_content(cluster, node, mark->facts, "appends",
                      agreed_at(cluster, mark->facts->seq)->view + 1);
    }
}

/* ---- what is settled ---- */

static void judge_entry(struct cluster *cluster, uint32_t number, uint64_t index) {
    const struct entry_list *const ledger = &cluster->nodes[number].disk.live;
    const struct entry *const entry = &ledger->items[index];
    CHECK(index >= ledger->first && ledger->first <= cluster->canonical.count);
    while (cluster->canonical.count <= index) {
        uint64_t const next = cluster->canonical.count;
        entry_push_marked(&cluster->canonical, &ledger->items[next], &ledger->marks[next]);
    }
    const struct entry *const other = &cluster->canonical.items[index];
    if (entry->kind != other->kind || !span_equal(entry->payload, other->payload)) {
        cluster_fail(cluster, "entry %llu of node %u is not that of the others: %u, %zu bytes",
                     (unsigned long long)index, number, entry->kind, entry->payload.size);
    }
}

/* The ledger up to the last settled batch is the same for all, byte for byte. */
static void judge_settled(struct cluster *cluster, uint32_t number, uint64_t evidenced_seq) {
    struct node *const node = &cluster->nodes[number];
    uint64_t const end = evidenced_seq == 0 ? 1 : entry_batch_end(&node->disk.live, evidenced_seq);
    if (node->judged_entries < node->disk.live.first) {
        node->judged_entries = node->disk.live.first;
    }
    if (end == 0) {
        cluster_fail(cluster, "node %u has settled batch %llu, which its ledger does not hold",
                     number, (unsigned long long)evidenced_seq);
    }
    for (; node->judged_entries < end; node->judged_entries++) {
        cluster->judgements++;
        judge_entry(cluster, number, node->judged_entries);
    }
}

void watch_truncate(struct cluster *cluster, uint32_t node, uint64_t entries) {
    if (node_is_correct(&cluster->nodes[node]) && entries < cluster->nodes[node].judged_entries) {
        cluster_fail(cluster, "node %u cuts its ledger to %llu entries, and %llu are settled", node,
                     (unsigned long long)entries,
                     (unsigned long long)cluster->nodes[node].judged_entries);
    }
}

/* ---- after every step ---- */

/* A replica whose disk went back is silent unless its ledger has what its nonces were for. */
static void judge_guard(const struct cluster *cluster, uint32_t number) {
    const struct node *const node = &cluster->nodes[number];
    const struct entry_list *const ledger = &node->disk.durable;
    const struct journal_list *const journal = &node->disk.journal;
    struct replica_status status;
    uint64_t last = journal->count;
    while (last > 0 && journal->items[last - 1].kind != JOURNAL_NONCE) {
        last--;
    }
    replica_status(node->replica, &status);
    if (last == 0 || status.guard != GUARD_NONE) {
        return;
    }
    struct rank const nonce = {.view = journal->items[last - 1].view,
                               .seq = journal->items[last - 1].seq};
    struct rank const end = {.view = entry_last_view(ledger), .seq = entry_last_whole(ledger)};
    if (rank_compare(end, nonce) < 0) {
        cluster_fail(cluster, "node %u votes on, and lacks batch %llu of its nonce", number,
                     (unsigned long long)nonce.seq);
    }
}

void watch_node(struct cluster *cluster, uint32_t node) {
    struct node *const at = &cluster->nodes[node];
    struct replica_status status;
    replica_check_invariants(at->replica);
    if (at->restored && !at->byzantine) {
        judge_guard(cluster, node);
    }
    if (!node_is_correct(at)) {
        return;
    }
    replica_status(at->replica, &status);
    if (status.guard != GUARD_NONE) {
        cluster_fail(cluster, "node %u will not vote any more, and its disk never went back: %s",
                     node, guard_text(status.guard));
    }
    uint64_t const view = cluster_view(status.config, status.view);
    if (view > cluster->highest_view) {
        cluster->highest_view = view;
    }
    struct cluster_era *const era = &cluster->eras[status.config - 1];
    era->views = status.view > era->views ? status.view : era->views;
    if (status.committed_seq < at->judged_seq) {
        at->judged_seq = status.committed_seq; /* taken over by a view, and to be committed again */
    }
    if (status.committed_seq != at->judged_seq) {
        cluster_trace(cluster, "%u committed %llu, executed %llu, view %llu", node,
                      (unsigned long long)status.committed_seq,
                      (unsigned long long)status.executed_seq, (unsigned long long)status.view);
    }
    for (; at->judged_seq < status.committed_seq; at->judged_seq++) {
        judge_committed(cluster, node, at->judged_seq + 1);
    }
    judge_settled(cluster, node, status.evidenced_seq);
}

void watch_checkpoint(struct cluster *cluster, uint32_t node, uint64_t seq,
                      const struct digest *root) {
    struct table_key const key = {.a = seq};
    bool is_new = false;
    if (!node_is_correct(&cluster->nodes[node])) {
        return;
    }
    struct digest *const seen = table_at(&cluster->checkpoints, &key, &is_new);
    cluster->judgements++;
    if (!is_new && !digest_equal(seen, root)) {
        cluster_fail(cluster, "two states after batch %llu", (unsigned long long)seq);
    }
    *seen = *root;
}

/* ---- a node that joins ---- */

/* The first entries that all have, whoever judges them. */
static void judge_entries(struct cluster *cluster, uint32_t number, uint64_t first, uint64_t end) {
    for (uint64_t i = first; i < end && i < cluster->canonical.count; i++) {
        cluster->judgements++;
        judge_entry(cluster, number, i);
    }
}

void watch_joined(struct cluster *cluster, uint32_t node) {
    struct sim_disk *const disk = &cluster->nodes[node].disk;
    struct table_key const key = {.a = disk->store.seq};
    struct state_hasher hasher;
    entry_list_copy(&disk->live, &disk->durable, disk->durable.count);
    if (disk->older.end_entry > cluster->canonical.count) {
        cluster_fail(cluster, "node %u joined with a checkpoint that nobody has settled", node);
    }
    judge_entries(cluster, node, disk->older.first_entry, disk->older.end_entry);
    state_hasher_init(&hasher);
    for (uint64_t i = 0; i < disk->store.row_count; i++) {
        state_hasher_add(&hasher, disk->store.rows[i].key, disk->store.rows[i].value);
    }
    struct digest const root = state_hasher_final(&hasher);
    const struct digest *const seen = table_find(&cluster->checkpoints, &key);
    cluster->judgements++;
    if (seen == NULL || !digest_equal(seen, &root)) {
        cluster_fail(cluster, "node %u joined with another state after batch %llu", node,
                     (unsigned long long)disk->store.seq);
    }
}

void watch_whole(struct cluster *cluster, uint32_t node) {
    judge_entries(cluster, node, 0, cluster->nodes[node].disk.durable.count);
}

/* What lies before the checkpoint of one that joined it has not verified itself. */
void watch_range(struct cluster *cluster, uint32_t node, uint64_t first_entry) {
    const struct sim_disk *const disk = &cluster->nodes[node].disk;
    cluster->judgements++;
    if (disk->older.present && first_entry < disk->older.end_entry) {
        cluster_fail(cluster, "node %u serves entry %llu, which it has not verified", node,
                     (unsigned long long)first_entry);
    }
}

/* ---- the whole ledger, at the end ---- */

/* The correct node whose ledger ranks highest: all that was ever committed is in it. */
static uint32_t best_node(const struct cluster *cluster) {
    uint32_t best = cluster->node_count;
    struct rank highest = {.view = 0, .seq = 0};
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        const struct entry_list *const ledger = &cluster->nodes[i].disk.durable;
        struct rank const rank = {.view = entry_last_view(ledger), .seq = entry_last_whole(ledger)};
        if (node_is_correct(&cluster->nodes[i]) && ledger->first == 0 &&
            (best == cluster->node_count || rank_compare(rank, highest) > 0)) {
            best = i;
            highest = rank;
        }
    }
    return best;
}

/* Every request once; and what clients have receipts for is where these say. */
static void judge_requests(struct cluster *cluster, const struct entry_list *ledger) {
    struct table found = {.count = 0};
    for (uint64_t i = 1; i < ledger->count; i++) {
        const struct entry *const entry = &ledger->items[i];
        struct request_entry body;
        struct request request;
        struct arena arena;
        uint32_t number = 0;
        bool is_new = false;
        if (entry->kind != ENTRY_REQUEST) {
            continue;
        }
        arena_init(&arena, 2 * (size_t)ENTRY_SIZE_MAX);
        CHECK(request_entry_decode(&body, &arena, entry->payload) == CODEC_OK);
        CHECK(request_decode(&request, &arena, &cluster->configuration->service, body.request) ==
              CODEC_OK);
        struct table_key const key = table_key_of(&request.id);
        table_number_set(table_at(&found, &key, &is_new), i);
        if (!is_new) {
            cluster_fail(cluster, "a request was executed twice");
        }
        if (body.first_index < request.min_index ||
            body.first_index + request.call_count - 1 - request.min_index >=
                cluster->configuration->parameters.window) {
            cluster_fail(cluster, "a request was executed before or after its window");
        }
        if (client_find(cluster, &request.id, &number) && cluster->requests[number].done &&
            cluster->requests[number].first_index != body.first_index) {
            cluster_fail(cluster, "request %u is not where its receipt says", number);
        }
        arena_free(&arena);
    }
    for (uint32_t i = 0; i < cluster->request_count; i++) {
        struct table_key const key = table_key_of(&cluster->requests[i].id);
        if (cluster->requests[i].done && table_find(&found, &key) == NULL) {
            cluster_fail(cluster, "request %u has a receipt and is not in the ledger", i);
        }
    }
    table_free(&found);
}

void watch_end(struct cluster *cluster) {
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        if (cluster->nodes[i].replica != NULL) {
            watch_node(cluster, i);
        }
        if (node_is_correct(&cluster->nodes[i])) {
            watch_served(cluster, i);
            watch_eras(cluster, i);
        }
    }
    uint32_t const best = best_node(cluster);
    if (best < cluster->node_count) {
        judge_requests(cluster, &cluster->nodes[best].disk.durable);
        watch_replay(cluster, best);
    }
}
