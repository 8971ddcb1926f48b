/*
 * cluster_disk: what a node writes, and what of it survives (see cluster.h).
 *
 * A tail is replaced at once: a crash leaves all of the old one or all of the new one.
 *
 * A sync makes durable what was written when it began, in order: the ledger first, then the
 * journal. So a crash leaves a prefix of the ledger's news and none of the journal's, or all of the
 * ledger's that was being synced and a prefix of the journal's: never a journal that remembers
 * more than the ledger holds.
 */
#include <stdlib.h>

#include "base/check.h"
#include "execution/checkpoint.h"
#include "ledger/codec_view.h"
#include "ledger/derive.h"
#include "tests/sim/cluster.h"

/* ---- lists of entries, and where each of them stands ---- */

static const struct batch_facts *read_facts(struct cluster *cluster, const struct entry *entry,
                                            uint64_t index) {
    struct batch_facts *const facts = arena_alloc(&cluster->arena, sizeof *facts);
    struct signed_body statement;
    struct pre_prepare body;
    struct arena arena;
    arena_init(&arena, 64u << 10);
    CHECK(facts != NULL);
    CHECK(signed_decode(&statement, &arena, entry->payload, STATEMENT_SIZE_MAX) == CODEC_OK);
    CHECK(pre_prepare_decode(&body, &arena, statement.body) == CODEC_OK);
    *facts = (struct batch_facts){
        .entry = index,
        .seq = body.seq,
        .view = cluster_view(body.config, body.view),
        .view_start = body.view_start,
        .first_index = body.first_index,
        .time_ms = body.time_ms,
        .evidence_upto = body.evidence_upto,
        .tx_count = body.tx_count,
        .batch_root = body.batch_root,
        .digest = hash_statement(LABEL_PRE_PREPARE, &cluster->configuration->service,
                                 statement.body, &statement.signature),
    };
    arena_free(&arena);
    return facts;
}

static uint64_t read_view(const struct entry *entry) {
    struct signed_body statement;
    struct new_view body;
    struct arena arena;
    arena_init(&arena, 256u << 10);
    CHECK(signed_decode(&statement, &arena, entry->payload, STATEMENT_SIZE_MAX) == CODEC_OK);
    CHECK(new_view_decode(&body, &arena, statement.body) == CODEC_OK);
    arena_free(&arena);
    return cluster_view(body.config, body.view);
}

/* What is appended must be readable again. */
static void judge_entry(struct cluster *cluster, const struct entry *entry) {
    struct evidence evidence;
    struct view_change_set set;
    struct signed_body statement;
    enum codec_result result = CODEC_OK;
    struct arena arena;
    arena_init(&arena, 64 * entry->payload.size + (1u << 20));
    if (entry->kind == ENTRY_EVIDENCE) {
        result = evidence_decode(&evidence, &arena, entry->payload);
    } else if (entry->kind == ENTRY_VIEW_CHANGE_SET) {
        result = view_change_set_decode(&set, &arena, entry->payload);
    } else if (entry->kind == ENTRY_NEW_VIEW) {
        result = signed_decode(&statement, &arena, entry->payload, STATEMENT_SIZE_MAX);
    }
    arena_free(&arena);
    if (result != CODEC_OK) {
        cluster_fail(cluster, "an entry of kind %u, %zu bytes, cannot be read: %s", entry->kind,
                     entry->payload.size, codec_result_text(result));
    }
}

static uint32_t calls_of(const struct entry *entry) {
    struct request_entry request;
    struct arena arena;
    arena_init(&arena, 2 * (size_t)ENTRY_SIZE_MAX);
    CHECK(request_entry_decode(&request, &arena, entry->payload) == CODEC_OK);
    uint32_t const count = request.outcome_count;
    arena_free(&arena);
    return count;
}

static struct entry_mark mark_of(struct cluster *cluster, const struct entry_list *list,
                                 const struct entry *entry) {
    struct entry_mark mark = {.facts = NULL};
    if (list->count != 0) {
        mark = list->marks[list->count - 1];
    }
    mark.ends_unit = false;
    judge_entry(cluster, entry);
    switch (entry->kind) {
    case ENTRY_NEW_VIEW:
        mark.view = read_view(entry);
        mark.ends_unit = true;
        break;
    case ENTRY_GENESIS:
        mark.ends_unit = true;
        break;
    case ENTRY_EVIDENCE:
    case ENTRY_VIEW_CHANGE_SET:
        break;
    case ENTRY_PRE_PREPARE:
        mark.facts = read_facts(cluster, entry, list->count);
        mark.view = mark.facts->view;
        mark.calls = 0;
        mark.ends_unit = mark.facts->tx_count == 0;
        break;
    case ENTRY_REQUEST:
        CHECK(mark.facts != NULL);
        mark.calls += calls_of(entry);
        mark.ends_unit = mark.calls == mark.facts->tx_count;
        break;
    }
    return mark;
}

void entry_push_marked(struct entry_list *list, const struct entry *entry,
                       const struct entry_mark *mark) {
    list_reserve(&list->items, list->count, &list->capacity, sizeof *list->items);
    list_reserve(&list->marks, list->count, &list->mark_capacity, sizeof *list->marks);
    list->items[list->count] = *entry;
    list->marks[list->count] = *mark;
    list->count++;
}

void entry_push(struct cluster *cluster, struct entry_list *list, const struct entry *entry) {
    struct entry_mark const mark = mark_of(cluster, list, entry);
    entry_push_marked(list, entry, &mark);
}

static uint64_t seq_at(const struct entry_list *list, uint64_t index) {
    return list->marks[index].facts == NULL ? 0 : list->marks[index].facts->seq;
}

uint64_t entry_find(const struct entry_list *list, uint64_t seq) {
    uint64_t low = 0;
    uint64_t high = list->count;
    while (low < high) { /* the first entry of batch seq or later */
        uint64_t const middle = low + (high - low) / 2;
        if (seq_at(list, middle) < seq) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < list->count && seq_at(list, low) == seq ? low : 0;
}

uint64_t entry_batch_end(const struct entry_list *list, uint64_t seq) {
    uint64_t index = entry_find(list, seq);
    if (index == 0) {
        return 0;
    }
    for (; index < list->count && seq_at(list, index) == seq; index++) {
        if (list->marks[index].ends_unit) {
            return index + 1;
        }
    }
    return 0;
}

uint64_t entry_last_whole(const struct entry_list *list) {
    const struct entry_mark *const last = &list->marks[list->count - 1];
    if (last->facts == NULL) {
        return 0;
    }
    return last->calls == last->facts->tx_count ? last->facts->seq : last->facts->seq - 1;
}

uint64_t entry_last_view(const struct entry_list *list) {
    uint64_t index = list->count;
    while (index > 0 && !list->marks[index - 1].ends_unit) {
        index--;
    }
    return index == 0 ? 0 : list->marks[index - 1].view;
}

void entry_list_copy(struct entry_list *to, const struct entry_list *from, uint64_t count) {
    to->count = 0;
    to->first = from->first;
    for (uint64_t i = 0; i < count && i < from->count; i++) {
        entry_push_marked(to, &from->items[i], &from->marks[i]);
    }
}

void entry_list_free(struct entry_list *list) {
    free(list->items);
    free(list->marks);
    *list = (struct entry_list){.count = 0};
}

static void journal_push(struct journal_list *list, const struct journal_item *record) {
    list_reserve(&list->items, list->count, &list->capacity, sizeof *list->items);
    list->items[list->count++] = *record;
}

/* ---- writing and syncing ---- */

void disk_kick(struct cluster *cluster, uint32_t node) {
    struct sim_disk *const disk = &cluster->nodes[node].disk;
    if (disk->sync_runs || disk->op_count == 0) {
        return;
    }
    uint64_t const takes =
        disk->extra_us + prng_between(&cluster->prng, cluster->sync_us_min, cluster->sync_us_max);
    uint64_t const begins =
        disk->full_until_us > cluster->now_us ? disk->full_until_us : cluster->now_us;
    disk->sync_runs = true;
    disk->syncing = disk->op_count;
    cluster_schedule(cluster, &(struct sim_event){.at_us = begins + takes,
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
        entry_push(cluster, &disk->live, &op->entry);
        disk->ops[disk->op_count - 1].mark = disk->live.marks[disk->live.count - 1];
        watch_append(cluster, node, &disk->live.marks[disk->live.count - 1]);
    } else if (op->kind == DISK_TRUNCATE) {
        if (op->entries > disk->live.count || op->entries == 0) {
            cluster_fail(cluster, "node %u cuts %llu entries to %llu", node,
                         (unsigned long long)disk->live.count, (unsigned long long)op->entries);
        }
        watch_truncate(cluster, node, op->entries);
        disk->live.count = op->entries;
    }
}

static void op_apply(struct sim_disk *disk, const struct disk_op *op) {
    switch (op->kind) {
    case DISK_APPEND: /* marked when it was written: the ledger before it is the same here */
        entry_push_marked(&disk->durable, &op->entry, &op->mark);
        return;
    case DISK_TRUNCATE:
        disk->durable.count = op->entries;
        return;
    case DISK_JOURNAL:
        journal_push(&disk->journal, &op->journal);
        return;
    }
}

bool disk_synced(struct cluster *cluster, uint32_t node) {
    struct sim_disk *const disk = &cluster->nodes[node].disk;
    if (disk->full_until_us > cluster->now_us) { /* it filled up meanwhile: tried again later */
        disk->sync_runs = false;
        disk_kick(cluster, node);
        return false;
    }
    if (disk->fails_next) {
        disk->fails_next = false;
        cluster->faults[FAULT_DISK_ERROR]++;
        cluster_trace(cluster, "%u cannot sync, and ends", node);
        cluster_crash(cluster, node);
        return false;
    }
    uint64_t const position = disk->ops[disk->syncing - 1].position;
    for (uint32_t i = 0; i < disk->syncing; i++) {
        op_apply(disk, &disk->ops[i]);
    }
    disk->op_count -= disk->syncing;
    memmove(disk->ops, disk->ops + disk->syncing, disk->op_count * sizeof *disk->ops);
    disk->syncing = 0;
    disk->sync_runs = false;
    cluster->nodes[node].durable = position;
    disk_kick(cluster, node);
    return true;
}

static uint32_t count_ops(const struct sim_disk *disk, uint32_t end, bool journal) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < end; i++) {
        count += (disk->ops[i].kind == DISK_JOURNAL) == journal;
    }
    return count;
}

/* Where the replacement of a tail that begins with ops[at] is complete. */
static uint32_t group_end(const struct sim_disk *disk, uint32_t at) {
    uint32_t end = at + 1;
    while (end < disk->op_count && disk->ops[end - 1].position < disk->ops[at].upto) {
        end++;
    }
    return end;
}

/* Would the first `keep` operations of the ledger hold all of the group that begins here? */
static bool group_fits(const struct sim_disk *disk, uint32_t at, uint32_t keep) {
    uint32_t const end = group_end(disk, at);
    uint32_t count = 0;
    for (uint32_t i = at; i < end; i++) {
        count += disk->ops[i].kind != DISK_JOURNAL;
    }
    return count <= keep;
}

/* Apply the first `keep` operations of one of the two files; of a new tail all or nothing. */
static void keep_prefix(struct sim_disk *disk, uint32_t keep, bool journal) {
    for (uint32_t i = 0; i < disk->op_count && keep > 0; i++) {
        if ((disk->ops[i].kind == DISK_JOURNAL) != journal) {
            continue;
        }
        if (disk->ops[i].kind == DISK_TRUNCATE && !group_fits(disk, i, keep)) {
            return;
        }
        op_apply(disk, &disk->ops[i]);
        keep--;
    }
}

/*
 * A tail is not touched before the journal's records that came before it are durable. So a crash
 * comes either before that, and nothing from the replacement on has happened; or after it, and
 * all that was before it is durable.
 */
static void crash_around_tails(struct cluster *cluster, struct sim_disk *disk) {
    bool has_journal = false;
    for (uint32_t i = 0; i < disk->op_count; i++) {
        has_journal |= disk->ops[i].kind == DISK_JOURNAL;
        if (disk->ops[i].kind != DISK_TRUNCATE || !has_journal) {
            continue;
        }
        if (prng_chance(&cluster->prng, 500)) {
            disk->op_count = i;
            disk->syncing = disk->syncing < i ? disk->syncing : i;
            return;
        }
        for (uint32_t k = 0; k < i; k++) {
            op_apply(disk, &disk->ops[k]);
        }
        disk->op_count -= i;
        disk->syncing -= disk->syncing < i ? disk->syncing : i;
        memmove(disk->ops, disk->ops + i, disk->op_count * sizeof *disk->ops);
        has_journal = false;
        i = 0;
    }
}

void disk_crash(struct cluster *cluster, struct sim_disk *disk) {
    crash_around_tails(cluster, disk);
    uint32_t const syncing_ledger = count_ops(disk, disk->syncing, false);
    uint32_t const syncing_journal = count_ops(disk, disk->syncing, true);
    uint32_t const all_ledger = count_ops(disk, disk->op_count, false);
    /* All or nothing of what is under way is as likely as any place between. */
    uint32_t const ledger = prng_chance(&cluster->prng, 300)
                                ? all_ledger
                                : (uint32_t)prng_below(&cluster->prng, all_ledger + 1);
    keep_prefix(disk, ledger, false);
    if (disk->sync_runs && ledger >= syncing_ledger && syncing_journal > 0) {
        uint32_t const journal = (uint32_t)prng_below(&cluster->prng, syncing_journal + 1);
        keep_prefix(disk, journal, true);
    }
    disk->op_count = 0;
    disk->syncing = 0;
    disk->sync_runs = false;
    entry_list_copy(&disk->live, &disk->durable, disk->durable.count);
}

void disk_drain(struct sim_disk *disk) {
    for (uint32_t i = 0; i < disk->op_count; i++) {
        op_apply(disk, &disk->ops[i]);
    }
    disk->op_count = 0;
    disk->syncing = 0;
    disk->sync_runs = false;
}

void disk_lose(struct cluster *cluster, struct sim_disk *disk) {
    struct entry const genesis = {.kind = ENTRY_GENESIS,
                                  .payload = buffer_span(&cluster->consortium.genesis_bytes)};
    CHECK(disk->op_count == 0);
    entry_list_free(&disk->durable);
    entry_push(cluster, &disk->durable, &genesis);
    entry_list_copy(&disk->live, &disk->durable, 1);
    disk->journal.count = 0;
    disk->journal_missing = true;
    store_forget(&disk->store);
    place_clear(&disk->joining);
    place_clear(&disk->joined);
    place_clear(&disk->older);
    disk->links_lead_to = 0;
    disk->ledger_is_away = false;
    disk->state_is_away = false;
}

/* ---- old copies ---- */

void disk_copy_take(struct sim_disk *disk) {
    struct disk_copy *const copy = &disk->copy;
    copy->present = true;
    copy->journal.count = 0;
    entry_list_copy(&copy->ledger, &disk->durable, disk->durable.count);
    for (uint64_t i = 0; i < disk->journal.count; i++) {
        journal_push(&copy->journal, &disk->journal.items[i]);
    }
}

void disk_copy_restore(struct cluster *cluster, struct sim_disk *disk, bool ledger, bool journal) {
    CHECK(disk->copy.present && disk->op_count == 0);
    if (ledger && (disk->copy.ledger.first != 0 || disk->older.present || disk->joined.present)) {
        /* A ledger without the state and the offer that it began with is of no use. */
        disk_lose(cluster, disk);
        disk->copy.present = false;
        return;
    }
    if (ledger) {
        entry_list_copy(&disk->durable, &disk->copy.ledger, disk->copy.ledger.count);
        entry_list_copy(&disk->live, &disk->durable, disk->durable.count);
        store_forget(&disk->store);
    }
    if (journal) {
        disk->journal.count = 0;
        for (uint64_t i = 0; i < disk->copy.journal.count; i++) {
            journal_push(&disk->journal, &disk->copy.journal.items[i]);
        }
    }
}

void disk_free(struct sim_disk *disk) {
    entry_list_free(&disk->durable);
    entry_list_free(&disk->live);
    entry_list_free(&disk->copy.ledger);
    free(disk->copy.journal.items);
    free(disk->journal.items);
    free(disk->ops);
    free(disk->store.rows);
    place_free(&disk->joining);
    place_free(&disk->joined);
    place_free(&disk->older);
}

/* ---- the state of the last checkpoint ---- */

void store_forget(struct sim_store *store) {
    store->present = false;
    store->row_count = 0;
}

void store_copy(struct sim_store *to, const struct sim_store *from) {
    *to = *from;
    to->rows = cluster_zeroed(from->row_count + 1, sizeof *to->rows);
    if (from->row_count != 0) {
        memcpy(to->rows, from->rows, from->row_count * sizeof *to->rows);
    }
}

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
