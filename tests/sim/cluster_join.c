/*
 * cluster_join: a node that joins with a checkpoint, and later gets the ledger before it (see
 * cluster.h). It goes the way that node/ goes: what is fetched lies in joining/; renamed to joined/
 * it is decided; each step from there to a ledger that begins with F, and later to one that begins
 * with genesis, is a rename that a crash may come before.
 */
#include "base/check.h"
#include "execution/checkpoint.h"
#include "execution/replay.h"
#include "tests/sim/cluster.h"

#include <stdlib.h>

#define STORE_US_MAX 2000u
#define SEGMENT_ENTRIES_MAX 40u /* of the older ledger, which is merged segment by segment */

/* ---- directories ---- */

void place_free(struct sim_place *place) {
    entry_list_free(&place->ledger);
    free(place->store.rows);
    *place = (struct sim_place){.present = false};
}

void place_clear(struct sim_place *place) {
    place_free(place);
}

static void ledger_begin_at(struct entry_list *list, uint64_t first_entry) {
    static const struct entry nothing = {.kind = ENTRY_GENESIS};
    static const struct entry_mark nowhere = {.facts = NULL, .ends_unit = true};
    entry_list_free(list);
    for (uint64_t i = 0; i < first_entry; i++) {
        entry_push_marked(list, &nothing, &nowhere);
    }
    list->first = first_entry;
}

static void entry_list_move(struct entry_list *to, struct entry_list *from) {
    entry_list_free(to);
    *to = *from;
    *from = (struct entry_list){.count = 0};
}

static void store_move(struct sim_store *to, struct sim_store *from) {
    free(to->rows);
    *to = *from;
    *from = (struct sim_store){.present = false};
}

uint64_t join_first_served(const struct node *node) {
    return node->disk.older.present ? node->disk.older.end_entry : 0;
}

bool join_is_whole(const struct node *node) {
    return node->disk.durable.first == 0 && !node->disk.older.present && !node->rests;
}

/* ---- installing ---- */

/* Does a crash come here? Then the node is down, and the rest is for its next start. */
static bool crashes_here(struct cluster *cluster, uint32_t number) {
    if (!cluster->nodes[number].up || cluster->crash_in_install_permille == 0 ||
        !prng_chance(&cluster->prng, cluster->crash_in_install_permille)) {
        return false;
    }
    cluster_crash(cluster, number);
    return true;
}

/* The next rename, by what exists. Returns: false when all is where it belongs. */
static bool install_step(struct sim_disk *disk) {
    struct sim_place *const joined = &disk->joined;
    struct sim_place *const older = &disk->older;
    if (!joined->present) {
        return false;
    }
    if (joined->has_ledger && !disk->ledger_is_away) {
        entry_list_move(&older->ledger, &disk->durable);
        older->has_ledger = true;
        disk->ledger_is_away = true;
    } else if (joined->has_ledger) {
        entry_list_move(&disk->durable, &joined->ledger);
        joined->has_ledger = false;
        disk->ledger_is_away = false;
    } else if (joined->has_state && !disk->state_is_away) {
        store_move(&older->store, &disk->store);
        older->has_state = true;
        disk->state_is_away = true;
    } else if (joined->has_state) {
        store_move(&disk->store, &joined->store);
        joined->has_state = false;
        disk->state_is_away = false;
    } else {
        older->present = true;
        older->digest = joined->digest;
        older->seq = joined->seq;
        older->first_entry = joined->first_entry;
        older->end_entry = joined->end_entry;
        place_clear(joined);
    }
    return true;
}

/* ---- merging ---- */

/* One segment of the older ledger goes in front of the other, from the last one on. */
static bool merge_step(struct cluster *cluster, struct sim_disk *disk) {
    struct entry_list *const ledger = &disk->durable;
    struct entry_list *const older = &disk->older.ledger;
    if (ledger->first == 0) {
        place_clear(&disk->older);
        return false;
    }
    uint64_t const size = prng_between(&cluster->prng, 1, SEGMENT_ENTRIES_MAX);
    uint64_t const begin = ledger->first > size ? ledger->first - size : 0;
    for (uint64_t i = begin; i < ledger->first; i++) {
        ledger->items[i] = older->items[i];
        ledger->marks[i] = older->marks[i];
    }
    older->count = begin;
    ledger->first = begin;
    return true;
}

static void live_follows(struct sim_disk *disk) {
    for (uint64_t i = disk->durable.first; i < disk->live.first; i++) {
        disk->live.items[i] = disk->durable.items[i];
        disk->live.marks[i] = disk->durable.marks[i];
    }
    disk->live.first = disk->durable.first;
}

static void merged(struct cluster *cluster, uint32_t number) {
    struct node *const node = &cluster->nodes[number];
    node->merges++;
    node->judged_entries = 1; /* all of it is held against the others' once more */
    cluster_trace(cluster, "%u has its ledger from genesis on", number);
    watch_whole(cluster, number);
}

static void merge(struct cluster *cluster, uint32_t number) {
    struct node *const node = &cluster->nodes[number];
    while (merge_step(cluster, &node->disk)) {
        live_follows(&node->disk);
        if (crashes_here(cluster, number)) {
            return;
        }
    }
    merged(cluster, number);
}

/* ---- after a crash ---- */

void join_crash(struct cluster *cluster, struct sim_disk *disk) {
    struct sim_place *const older = &disk->older;
    uint64_t kept = 1; /* genesis lies there since it was renamed */
    struct checker_snapshot snapshot;
    struct checkpoint_header header;
    struct arena arena;
    arena_init(&arena, 2 * (size_t)SNAPSHOT_SIZE_MAX);
    if (!older->present || older->ledger.count <= 1 || disk->durable.first < older->first_entry) {
        arena_free(&arena);
        return;
    }
    if (older->store.present) { /* which was stored when the ledger up to there was synced */
        CHECK(checker_snapshot_decode(&snapshot, &arena, older->store.snapshot) == CODEC_OK);
        CHECK(checkpoint_header_decode(&header, &arena, snapshot.header) == CODEC_OK);
        kept = header.entries < older->ledger.count ? header.entries : older->ledger.count;
    }
    older->ledger.count = kept + prng_below(&cluster->prng, older->ledger.count - kept + 1);
    arena_free(&arena);
}

void join_recover(struct cluster *cluster, uint32_t number) {
    struct sim_disk *const disk = &cluster->nodes[number].disk;
    place_clear(&disk->joining);
    while (install_step(disk)) {
    }
    bool const is_merging = disk->older.present && disk->durable.first < disk->older.first_entry;
    while (is_merging && merge_step(cluster, disk)) {
    }
    entry_list_copy(&disk->live, &disk->durable, disk->durable.count);
    if (is_merging) {
        merged(cluster, number);
    }
}

/* ---- the older ledger ---- */

/* Entries below F lie in older/, the others in the ledger itself. */
static const struct entry *old_entry(const struct node *node, uint64_t index) {
    const struct entry_list *const older = &node->disk.older.ledger;
    return index < older->count ? &older->items[index] : &node->disk.durable.items[index];
}

static void history_read_window(struct cluster *cluster, uint32_t number) {
    struct node *const node = &cluster->nodes[number];
    uint64_t const first = history_window_entry(node->history);
    struct batch batch;
    batch_init(&batch);
    for (uint64_t i = first; first != 0 && i < history_next_entry(node->history); i++) {
        enum rule rule = RULE_NONE;
        enum batch_step const step = batch_add(&batch, i, old_entry(node, i), &rule);
        CHECK(step != BATCH_BROKEN);
        if (step == BATCH_WHOLE && !history_load_window(node->history, &batch)) {
            cluster_fail(cluster, "node %u: the older window does not load", number);
        }
        if (step != BATCH_MORE) {
            batch_clear(&batch);
        }
    }
    batch_free(&batch);
    if (!history_window_holds(node->history)) {
        cluster_fail(cluster, "node %u: the older window is not the one of its checkpoint", number);
    }
}

/* Keep what stands; store the state where a checkpoint is due. Returns: whether one was. */
static bool history_keep(struct cluster *cluster, uint32_t number,
                         const struct range_message *range, bool keeps) {
    struct node *const node = &cluster->nodes[number];
    struct entry_list *const ledger = &node->disk.older.ledger;
    while (keeps && ledger->count < history_next_entry(node->history)) {
        const struct entry *const entry = &range->entries[ledger->count - range->first_entry];
        struct entry const kept = {.kind = entry->kind,
                                   .payload = cluster_keep(cluster, entry->payload)};
        entry_push(cluster, ledger, &kept);
    }
    const struct checkpoint_cut *const due = history_cut(node->history);
    if (due == NULL) {
        return false;
    }
    struct checkpoint_cut cut = *due;
    store_write(cluster, &node->disk.older.store, history_engine(node->history), &cut);
    history_stored(node->history, cut.header.state_count, &cut.header.state_root);
    return true;
}

static enum rule history_read(struct cluster *cluster, uint32_t number,
                              const struct range_message *range, const struct sign_sink *sink,
                              bool keeps) {
    struct node *const node = &cluster->nodes[number];
    uint64_t const end = keeps ? node->disk.older.first_entry : range->first_entry + range->count;
    enum rule rule = RULE_NONE;
    do {
        rule = history_take(node->history, range, end, sink);
        CHECK(!history_failed(node->history));
    } while (history_keep(cluster, number, range, keeps) && rule == RULE_NONE);
    return rule;
}

/* From own files: all that is there, and an incomplete unit at the end is left out. */
static void history_read_own(struct cluster *cluster, uint32_t number, uint64_t end,
                             const struct sign_sink *sink) {
    struct node *const node = &cluster->nodes[number];
    uint64_t const first = history_next_entry(node->history);
    if (first >= end) {
        return;
    }
    struct entry *const entries = cluster_zeroed(end - first, sizeof *entries);
    for (uint64_t i = first; i < end; i++) {
        entries[i - first] = *old_entry(node, i);
    }
    struct range_message const range = {
        .first_entry = first, .count = (uint32_t)(end - first), .entries = entries};
    enum rule const rule = history_read(cluster, number, &range, sink, false);
    if (rule != RULE_NONE) {
        cluster_fail(cluster, "node %u: its own older ledger breaks a rule: %s", number,
                     rule_name(rule));
    }
    free(entries);
}

/* The configuration in force where the state was stored. */
static uint64_t store_config(const struct sim_store *store) {
    struct checker_snapshot snapshot;
    struct checkpoint_header header = {.config = 1};
    struct arena arena;
    arena_init(&arena, 2 * (size_t)SNAPSHOT_SIZE_MAX);
    if (store->present) {
        CHECK(checker_snapshot_decode(&snapshot, &arena, store->snapshot) == CODEC_OK);
        CHECK(checkpoint_header_decode(&header, &arena, snapshot.header) == CODEC_OK);
    }
    arena_free(&arena);
    return header.config;
}

static void history_open(struct cluster *cluster, uint32_t number) {
    struct node *const node = &cluster->nodes[number];
    struct sim_place *const older = &node->disk.older;
    struct state_base const base = store_base(&older->store);
    uint64_t const config = store_config(&older->store);
    struct history_options const options = {
        .configuration = cluster_configuration(cluster, config),
        .constitution = cluster->options.governed ? &cluster->eras[config - 1].constitution : NULL,
        .genesis = buffer_span(&cluster->consortium.genesis_bytes),
        .base = &base,
        .snapshot = older->store.present ? older->store.snapshot : span_of(NULL, 0),
    };
    node->history = history_new(&options);
    CHECK(node->history != NULL);
    history_read_window(cluster, number);
    history_read_own(cluster, number, older->ledger.count, &sign_sink_trust);
    if (older->ledger.count > history_next_entry(node->history)) {
        older->ledger.count = history_next_entry(node->history);
    }
}

/* All that lies before F is there: does it lead to the checkpoint that Q replicas signed? */
static void older_is_whole(struct cluster *cluster, uint32_t number) {
    struct node *const node = &cluster->nodes[number];
    const struct sim_place *const older = &node->disk.older;
    struct digest service = cluster->configuration->service;
    struct sign_sink const sink = {.context = &service, .check = history_check_signature};
    history_read_own(cluster, number, older->end_entry, &sink);
    if (!history_leads_to(node->history, older->seq, &older->digest)) {
        cluster_fail(cluster, "node %u: its older ledger leads to another checkpoint", number);
    }
    join_close(node);
    merge(cluster, number);
}

static void take_older(struct cluster *cluster, uint32_t number,
                       const struct range_message *range) {
    struct node *const node = &cluster->nodes[number];
    struct digest service = cluster->configuration->service;
    struct sign_sink const sink = {.context = &service, .check = history_check_signature};
    enum rule const rule = history_read(cluster, number, range, &sink, true);
    if (rule != RULE_NONE) {
        cluster_trace(cluster, "%u refuses older entries: %s", number, rule_name(rule));
    }
    cluster_schedule(cluster,
                     &(struct sim_event){.at_us = cluster->now_us +
                                                  prng_between(&cluster->prng, 100, STORE_US_MAX),
                                         .kind = SIM_JOIN_TAKEN,
                                         .node = number,
                                         .incarnation = node->incarnation,
                                         .number = history_next_entry(node->history),
                                         .good = rule == RULE_NONE});
}

/* ---- the checkpoint ---- */

static void stored_later(struct cluster *cluster, uint32_t number) {
    cluster_schedule(cluster,
                     &(struct sim_event){.at_us = cluster->now_us +
                                                  prng_between(&cluster->prng, 100, STORE_US_MAX),
                                         .kind = SIM_JOIN_STORED,
                                         .node = number,
                                         .incarnation = cluster->nodes[number].incarnation});
}

static void begin(struct cluster *cluster, uint32_t number, const struct join_effect *effect) {
    struct node *const node = &cluster->nodes[number];
    struct sim_place *const joining = &node->disk.joining;
    cluster_trace(cluster, "%u joins with checkpoint %llu", number,
                  (unsigned long long)effect->begin.seq);
    place_clear(joining);
    joining->present = true;
    joining->store.seq = effect->begin.seq;
    joining->store.root = effect->begin.state_root;
    node->rests = true;
}

static void put_items(struct cluster *cluster, uint32_t number, const struct join_effect *effect) {
    struct sim_store *const store = &cluster->nodes[number].disk.joining.store;
    struct state_row *const rows =
        cluster_zeroed(store->row_count + effect->items.count, sizeof *rows);
    if (store->row_count != 0) {
        memcpy(rows, store->rows, store->row_count * sizeof *rows);
    }
    for (uint32_t i = 0; i < effect->items.count; i++) {
        rows[store->row_count++] =
            (struct state_row){.key = cluster_keep(cluster, effect->items.items[i].key),
                               .value = cluster_keep(cluster, effect->items.items[i].value)};
    }
    free(store->rows);
    store->rows = rows;
    stored_later(cluster, number);
}

static void put_entries(struct cluster *cluster, uint32_t number,
                        const struct join_effect *effect) {
    struct entry_list *const ledger = &cluster->nodes[number].disk.joining.ledger;
    if (ledger->count != effect->entries.first_entry) {
        cluster_fail(cluster, "node %u: entries that do not follow", number);
    }
    for (uint32_t i = 0; i < effect->entries.count; i++) {
        struct entry const kept = {.kind = effect->entries.entries[i].kind,
                                   .payload =
                                       cluster_keep(cluster, effect->entries.entries[i].payload)};
        entry_push(cluster, ledger, &kept);
    }
    stored_later(cluster, number);
}

/* All is there: renamed it is decided, and the replica starts from it. */
static void complete(struct cluster *cluster, uint32_t number, const struct join_effect *effect) {
    struct node *const node = &cluster->nodes[number];
    struct sim_disk *const disk = &node->disk;
    struct sim_place *const joining = &disk->joining;
    joining->has_ledger = true;
    joining->has_state = true;
    joining->store.present = true;
    joining->store.snapshot = cluster_keep(cluster, effect->complete.snapshot);
    joining->digest = effect->complete.digest;
    joining->seq = effect->complete.seq;
    joining->first_entry = effect->complete.first_entry;
    joining->end_entry = effect->complete.end_entry;
    if (joining->ledger.count != effect->complete.end_entry ||
        joining->ledger.first != effect->complete.first_entry) {
        cluster_fail(cluster, "node %u: a checkpoint without its ledger", number);
    }
    disk_drain(disk);
    place_clear(&disk->joined);
    disk->joined = *joining;
    *joining = (struct sim_place){.present = false};
    cluster->faults[FAULT_JOIN]++;
    cluster->faults[FAULT_JOIN_LATER] += effect->complete.signed_in > 1;
    node->joins++;
    bool crashed = crashes_here(cluster, number);
    while (!crashed && install_step(disk)) {
        crashed = crashes_here(cluster, number);
    }
    if (!crashed) {
        watch_joined(cluster, number);
        cluster_restart(cluster, number);
    }
}

static void not_needed(struct cluster *cluster, uint32_t number) {
    struct node *const node = &cluster->nodes[number];
    cluster_trace(cluster, "%u needs no checkpoint", number);
    place_clear(&node->disk.joining);
    node->rests = false;
    node->joins_in = 0;
    join_close(node);
}

/* Links that came were judged; the join hears of it a little later. */
static void take_links(struct cluster *cluster, uint32_t number, const struct join_effect *effect) {
    bool const good = links_judge(cluster, number, effect);
    cluster_schedule(cluster,
                     &(struct sim_event){.at_us = cluster->now_us +
                                                  prng_between(&cluster->prng, 100, STORE_US_MAX),
                                         .kind = SIM_JOIN_TAKEN,
                                         .node = number,
                                         .incarnation = cluster->nodes[number].incarnation,
                                         .number = links_newest(&cluster->nodes[number]),
                                         .good = good});
}

/* The chain has grown: another join begins, among the replicas of its newest configuration. */
static void join_anew(struct cluster *cluster, uint32_t number) {
    struct node *const node = &cluster->nodes[number];
    cluster_trace(cluster, "%u has links to configuration %llu", number,
                  (unsigned long long)links_newest(node));
    join_close(node);
    join_open(cluster, number);
}

static void take_note(struct cluster *cluster, uint32_t number, const struct join_effect *effect) {
    static const char *const texts[CLUSTER_JOIN_NOTES] = {
        [JOIN_NOTE_OFFER_TAKEN] = "takes the offer",
        [JOIN_NOTE_OFFER_LATER] = "hears of a later configuration",
        [JOIN_NOTE_OFFER_REFUSED] = "refuses the offer",
        [JOIN_NOTE_LINKS_REFUSED] = "refuses the links",
        [JOIN_NOTE_DIGESTS_REFUSED] = "refuses the digests",
        [JOIN_NOTE_ITEMS_REFUSED] = "refuses the items",
        [JOIN_NOTE_STATE_REFUSED] = "refuses the state",
        [JOIN_NOTE_ENTRIES_REFUSED] = "refuses the entries",
        [JOIN_NOTE_OLDER_REFUSED] = "refuses the older entries",
        [JOIN_NOTE_SLOW] = "waits no longer for the answer",
    };
    cluster->nodes[number].join_notes[effect->note.kind]++;
    cluster_trace(cluster, "%u %s of %u: %llu", number, texts[effect->note.kind], effect->note.peer,
                  (unsigned long long)effect->note.seq);
}

/* Returns: whether the join goes on. */
static bool carry_out(struct cluster *cluster, uint32_t number, const struct join_effect *effect) {
    struct node *const node = &cluster->nodes[number];
    switch (effect->kind) {
    case JOIN_EFFECT_SEND:
        transmit(cluster, number, links_peer_id(cluster, number, effect->send.peer),
                 effect->send.kind, effect->send.payload);
        return true;
    case JOIN_EFFECT_LINKS:
        take_links(cluster, number, effect);
        return true;
    case JOIN_EFFECT_CONFIGURATION:
        join_anew(cluster, number);
        return false;
    case JOIN_EFFECT_BEGIN:
        begin(cluster, number, effect);
        return true;
    case JOIN_EFFECT_ITEMS:
        put_items(cluster, number, effect);
        return true;
    case JOIN_EFFECT_LEDGER_BEGIN:
        ledger_begin_at(&node->disk.joining.ledger, effect->ledger_first_entry);
        return true;
    case JOIN_EFFECT_ENTRIES:
        put_entries(cluster, number, effect);
        return true;
    case JOIN_EFFECT_COMPLETE:
        complete(cluster, number, effect);
        return false;
    case JOIN_EFFECT_NOT_NEEDED:
        not_needed(cluster, number);
        return false;
    case JOIN_EFFECT_OLDER:
        take_older(cluster, number, effect->older.range);
        return true;
    case JOIN_EFFECT_OLDER_DONE:
        older_is_whole(cluster, number);
        return false;
    case JOIN_EFFECT_NOTE:
        take_note(cluster, number, effect);
        return true;
    }
    return true;
}

/* ---- steps ---- */

/* The replica beside an older ledger's join may have gone over to another configuration. */
static void follow_replica(struct node *node) {
    const struct configuration *const now = replica_configuration(node->replica);
    if (join_phase(node->join) == JOIN_OLDER && node->asks_in != now->number) {
        node->asks_in = now->number;
        join_set_peers(node->join, now->replica_count, replica_self(node->replica));
    }
}

static void step(struct cluster *cluster, uint32_t number, struct join_event *event) {
    struct node *const node = &cluster->nodes[number];
    struct replica_status const status = cluster_status(cluster, number);
    follow_replica(node);
    event->now_ms = 1000 + (cluster->now_us - node->boot_us) / 1000;
    event->replica_has_genesis =
        status.executed_seq == 0 && status.entries == 1 && node->disk.live.count == 1;
    event->replica_is_busy = status.catching_up;
    if (!join_step(node->join, event, node->join_effects)) {
        cluster_fail(cluster, "node %u cannot go on joining", number);
    }
    struct join_effects *const effects = node->join_effects;
    bool going = true;
    for (uint32_t i = 0; going && i < effects->count; i++) {
        going = carry_out(cluster, number, &effects->items[i]);
    }
    if (!going) {
        return;
    }
    uint64_t const due_ms = join_deadline(node->join);
    uint64_t const due_us = due_ms >= UINT64_MAX / 2000 ? UINT64_MAX
                            : due_ms <= 1000            ? 0
                                                        : (due_ms - 1000) * 1000 + node->boot_us;
    node->join_due_us = due_us > cluster->now_us ? due_us : cluster->now_us + 500;
}

void join_open(struct cluster *cluster, uint32_t number) {
    struct node *const node = &cluster->nodes[number];
    const struct sim_place *const older = &node->disk.older;
    struct join_older rest = {.end_entry = older->first_entry};
    uint64_t const newest = older->present ? 1 : links_newest(node);
    uint32_t const self = cluster_position(cluster, newest, node->id);
    struct join_options options = {.configuration = cluster_configuration(cluster, newest),
                                   .self = self,
                                   .is_outsider = self == REPLICAS_MAX};
    node->links = (struct links_of){.cluster = cluster, .node = number};
    if (cluster->options.governed) {
        options.chain = (struct join_chain){.context = &node->links, .find = links_find};
    }
    node->asks_in = 0;
    node->join_due_us = UINT64_MAX;
    if (older->present) {
        history_open(cluster, number);
        uint64_t const next = history_next_entry(node->history);
        rest.next_entry = next < rest.end_entry ? next : rest.end_entry;
        options.older = &rest;
    } else if (node->disk.durable.count != 1 || cluster->options.no_joins) {
        return;
    } else if (newest > 1) {
        node->joins_in = newest;
        node->rests = true;
    }
    node->join = join_new(&options);
    node->join_effects = cluster_zeroed(1, sizeof *node->join_effects);
    CHECK(node->join != NULL);
    node->join_due_us = cluster->now_us;
}

void join_close(struct node *node) {
    join_free(node->join);
    history_free(node->history);
    free(node->join_effects);
    node->join = NULL;
    node->history = NULL;
    node->join_effects = NULL;
    node->join_due_us = UINT64_MAX;
}

void join_tick(struct cluster *cluster, uint32_t number) {
    struct join_event event = {.kind = JOIN_EVENT_TICK};
    if (cluster->nodes[number].join_due_us <= cluster->now_us) {
        step(cluster, number, &event);
    }
}

void join_peer_up(struct cluster *cluster, uint32_t number, uint32_t peer) {
    struct join_event event = {.kind = JOIN_EVENT_PEER_UP};
    if (cluster->nodes[number].join != NULL &&
        links_find_peer(cluster, number, peer, &event.peer)) {
        step(cluster, number, &event);
    }
}

bool join_take(struct cluster *cluster, uint32_t number, const struct peer_message *message) {
    struct node *const node = &cluster->nodes[number];
    struct join_event event = {.kind = JOIN_EVENT_MESSAGE, .message = message};
    if (message->kind == MESSAGE_FETCH_CHECKPOINT) {
        offer_serve(cluster, number, links_peer_id(cluster, number, message->from),
                    &message->fetch_checkpoint);
        return true;
    }
    if (message->kind == MESSAGE_CHAIN_QUERY) {
        links_serve(cluster, number, links_peer_id(cluster, number, message->from),
                    message->chain_query_config);
        return true;
    }
    if (node->join == NULL) {
        return message->kind == MESSAGE_CHECKPOINT_OFFER || message->kind == MESSAGE_CHAIN_REPLY ||
               message->kind == MESSAGE_CHECKPOINT_DIGESTS ||
               message->kind == MESSAGE_CHECKPOINT_ITEMS;
    }
    bool const is_for_it = join_takes(node->join, message);
    if (is_for_it || message->kind == MESSAGE_STATUS) {
        step(cluster, number, &event);
    }
    return is_for_it ||
           (message->kind == MESSAGE_RANGE && node->join != NULL && join_holds_ranges(node->join));
}

void join_stored(struct cluster *cluster, uint32_t number) {
    struct join_event event = {.kind = JOIN_EVENT_STORED};
    if (cluster->nodes[number].join != NULL) {
        step(cluster, number, &event);
    }
}

/* Links, or a range of the older ledger, whichever the join waits for. */
void join_taken(struct cluster *cluster, uint32_t number, uint64_t next, bool good) {
    struct join_event event = {.kind = JOIN_EVENT_TAKEN,
                               .taken = {.next_entry = next, .good = good}};
    const struct join *const join = cluster->nodes[number].join;
    if (join != NULL && join_phase(join) == JOIN_LINKS) {
        event.kind = JOIN_EVENT_LINKED;
        event.linked.newest = next;
        event.linked.good = good;
    }
    if (join != NULL) {
        step(cluster, number, &event);
    }
}
