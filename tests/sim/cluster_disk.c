/*
 * cluster_disk: what a node writes, and what of it survives (see cluster.h).
 *
 * A sync makes durable what was written when it began, in order: the ledger first, then the
 * journal. So a crash leaves a prefix of the ledger's news and none of the journal's, or all of the
 * ledger's that was being synced and a prefix of the journal's: never a journal that remembers
 * more than the ledger holds.
 */
#include <stdlib.h>

#include "execution/checkpoint.h"
#include "tests/sim/cluster.h"

void list_reserve(void *items, uint64_t count, uint64_t *capacity, size_t item_size) {
    if (count < *capacity) {
        return;
    }
    *capacity = *capacity == 0 ? 16 : 2 * *capacity;
    void *old = NULL;
    memcpy(&old, items, sizeof old);
    void *const grown = realloc(old, *capacity * item_size);
    if (grown == NULL) {
        abort();
    }
    memcpy(items, &grown, sizeof grown);
}

void entry_push(struct entry_list *list, const struct entry *entry) {
    list_reserve(&list->items, list->count, &list->capacity, sizeof *list->items);
    list->items[list->count++] = *entry;
}

static void journal_push(struct journal_list *list, struct span record) {
    list_reserve(&list->items, list->count, &list->capacity, sizeof *list->items);
    list->items[list->count++] = record;
}

/* ---- writing and syncing ---- */

static void sync_begin(struct cluster *cluster, uint32_t node) {
    struct sim_disk *const disk = &cluster->nodes[node].disk;
    if (disk->syncing != 0 || disk->op_count == 0) {
        return;
    }
    disk->syncing = disk->op_count;
    uint64_t const takes = prng_between(&cluster->prng, cluster->sync_us_min, cluster->sync_us_max);
    cluster_schedule(cluster, &(struct sim_event){.at_us = cluster->now_us + takes,
                                                  .kind = SIM_SYNCED,
                                                  .node = node,
                                                  .incarnation = cluster->nodes[node].incarnation});
}

void disk_write(struct cluster *cluster, uint32_t node, const struct disk_op *op) {
    struct sim_disk *const disk = &cluster->nodes[node].disk;
    uint64_t capacity = disk->op_capacity;
    list_reserve(&disk->ops, disk->op_count, &capacity, sizeof *disk->ops);
    disk->op_capacity = (uint32_t)capacity;
    disk->ops[disk->op_count++] = *op;
    if (op->kind == DISK_APPEND) {
        entry_push(&disk->live, &op->entry);
    } else if (op->kind == DISK_TRUNCATE) {
        disk->live.count = op->entries;
    }
    sync_begin(cluster, node);
}

static void op_apply(struct sim_disk *disk, const struct disk_op *op) {
    switch (op->kind) {
    case DISK_APPEND:
        entry_push(&disk->durable, &op->entry);
        return;
    case DISK_TRUNCATE:
        disk->durable.count = op->entries;
        return;
    case DISK_JOURNAL:
        journal_push(&disk->journal, op->journal);
        return;
    }
}

void disk_synced(struct cluster *cluster, uint32_t node) {
    struct sim_disk *const disk = &cluster->nodes[node].disk;
    uint64_t const position = disk->ops[disk->syncing - 1].position;
    for (uint32_t i = 0; i < disk->syncing; i++) {
        op_apply(disk, &disk->ops[i]);
    }
    disk->op_count -= disk->syncing;
    memmove(disk->ops, disk->ops + disk->syncing, disk->op_count * sizeof *disk->ops);
    disk->syncing = 0;
    cluster->nodes[node].durable = position;
    sync_begin(cluster, node);
}

static uint32_t count_ops(const struct sim_disk *disk, uint32_t end, bool journal) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < end; i++) {
        count += (disk->ops[i].kind == DISK_JOURNAL) == journal;
    }
    return count;
}

/* Apply the first `keep` operations of one of the two files. */
static void keep_prefix(struct sim_disk *disk, uint32_t keep, bool journal) {
    for (uint32_t i = 0; i < disk->op_count && keep > 0; i++) {
        if ((disk->ops[i].kind == DISK_JOURNAL) == journal) {
            op_apply(disk, &disk->ops[i]);
            keep--;
        }
    }
}

void disk_crash(struct cluster *cluster, struct sim_disk *disk) {
    uint32_t const syncing_ledger = count_ops(disk, disk->syncing, false);
    uint32_t const syncing_journal = count_ops(disk, disk->syncing, true);
    uint32_t const all_ledger = count_ops(disk, disk->op_count, false);
    uint32_t const ledger = (uint32_t)prng_below(&cluster->prng, all_ledger + 1);
    keep_prefix(disk, ledger, false);
    if (ledger >= syncing_ledger && syncing_journal > 0) {
        uint32_t const journal = (uint32_t)prng_below(&cluster->prng, syncing_journal + 1);
        keep_prefix(disk, journal, true);
    }
    disk->op_count = 0;
    disk->syncing = 0;
    disk->live.count = 0;
    for (uint64_t i = 0; i < disk->durable.count; i++) {
        entry_push(&disk->live, &disk->durable.items[i]);
    }
}

void disk_free(struct sim_disk *disk) {
    free(disk->durable.items);
    free(disk->live.items);
    free(disk->journal.items);
    free(disk->ops);
    free(disk->store.rows);
}

/* ---- the state of the last checkpoint ---- */

struct row_list {
    struct cluster *cluster;
    struct state_row *rows;
    uint64_t count;
    uint64_t capacity;
};

static bool collect_row(void *context, struct span key, struct span value, bool deleted) {
    struct row_list *const list = context;
    (void)deleted;
    list_reserve(&list->rows, list->count, &list->capacity, sizeof *list->rows);
    list->rows[list->count++] = (struct state_row){.key = cluster_keep(list->cluster, key),
                                                   .value = cluster_keep(list->cluster, value)};
    return true;
}

/* Take the store to the cut, whole, and fill in what the cut lacks. */
void store_write(struct cluster *cluster, struct sim_store *store, const struct engine *engine,
                 struct checkpoint_cut *cut) {
    struct row_list list = {.cluster = cluster};
    struct buffer snapshot;
    buffer_init(&snapshot, SNAPSHOT_SIZE_MAX);
    if (!engine_visit_state(engine, cut->header.seq, collect_row, &list) ||
        !checkpoint_fill(cut, engine) || !checkpoint_cut_snapshot(&snapshot, cut, NULL)) {
        cluster_fail(cluster, "the checkpoint of batch %llu cannot be made",
                     (unsigned long long)cut->header.seq);
    }
    free(store->rows);
    *store = (struct sim_store){
        .present = true,
        .seq = cut->header.seq,
        .root = cut->header.state_root,
        .snapshot = cluster_keep(cluster, buffer_span(&snapshot)),
        .rows = list.rows,
        .row_count = list.count,
    };
    buffer_free(&snapshot);
}

static uint64_t row_seek(const struct sim_store *store, struct span key) {
    uint64_t low = 0;
    uint64_t high = store->row_count;
    while (low < high) {
        uint64_t const middle = low + (high - low) / 2;
        if (span_compare(store->rows[middle].key, key) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static int base_get(void *context, struct span key, struct span *value) {
    const struct sim_store *const store = context;
    uint64_t const at = row_seek(store, key);
    if (at == store->row_count || !span_equal(store->rows[at].key, key)) {
        return 0;
    }
    *value = store->rows[at].value;
    return 1;
}

static int base_seek(void *context, struct span key, struct span *found, struct span *value) {
    const struct sim_store *const store = context;
    uint64_t const at = row_seek(store, key);
    if (at == store->row_count) {
        return 0;
    }
    *found = store->rows[at].key;
    *value = store->rows[at].value;
    return 1;
}

struct state_base store_base(struct sim_store *store) {
    return (struct state_base){.context = store, .get = base_get, .seek = base_seek};
}
