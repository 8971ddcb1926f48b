/*
 * cluster_node: a node's life: from the disk to a replica that stands where it stood, frames in,
 * and the end (see cluster.h). Recovery goes the way that node/ goes.
 */
#include <stdlib.h>

#include "base/check.h"
#include "tests/sim/cluster.h"

/* ---- recovery ---- */

/* Find where the ledger must be read from to rebuild the window, and which entry comes after. */
struct recovery {
    struct cluster *cluster;
    struct node *node;
    uint32_t number;
    struct arena arena;
    struct batch batch;
    uint64_t state_entries; /* entries up to the checkpoint; 0: from genesis on */
    uint64_t past_entry;
    uint64_t config; /* in force where the state was stored */
};

static _Noreturn void recovery_fail(const struct recovery *recovery, const char *what) {
    cluster_fail(recovery->cluster, "node %u cannot recover: %s", recovery->number, what);
}

/* A ledger that does not reach as far as the state: the state is worth nothing then. */
static bool state_is_usable(struct recovery *recovery) {
    const struct sim_disk *const disk = &recovery->node->disk;
    struct checker_snapshot snapshot;
    struct checkpoint_header header;
    struct arena arena;
    if (!disk->store.present) {
        return false;
    }
    arena_init(&arena, 2 * (size_t)SNAPSHOT_SIZE_MAX);
    bool const usable =
        checker_snapshot_decode(&snapshot, &arena, disk->store.snapshot) == CODEC_OK &&
        checkpoint_header_decode(&header, &arena, snapshot.header) == CODEC_OK &&
        header.entries <= disk->durable.count;
    recovery->config = usable ? header.config : 1;
    arena_free(&arena);
    return usable;
}

/* One batch of the ledger before the checkpoint, as a part of the window. */
static void load_window_batch(struct recovery *recovery) {
    if (!checker_load_window(recovery->node->checker, &recovery->arena, &recovery->batch)) {
        recovery_fail(recovery, "the window does not load");
    }
}

/* A batch is pointed to by its pre-prepare; whether evidence comes before it says the kind. */
static uint64_t unit_begin(const struct entry_list *ledger, uint64_t index) {
    bool const has_evidence = index > 1 && ledger->items[index].kind == ENTRY_PRE_PREPARE &&
                              ledger->items[index - 1].kind == ENTRY_EVIDENCE;
    return has_evidence ? index - 1 : index;
}

/* Hand over every batch from an entry on up to the checkpoint; new views are left out. */
static void each_batch_before(struct recovery *recovery, uint64_t index,
                              void (*take)(struct recovery *recovery)) {
    const struct entry_list *const ledger = &recovery->node->disk.durable;
    if (index == 0) {
        return;
    }
    index = unit_begin(ledger, index);
    while (index < recovery->state_entries) {
        enum batch_step const step =
            read_unit(&recovery->batch, ledger, &index, recovery->state_entries);
        if (step == BATCH_BROKEN || step == BATCH_MORE) {
            recovery_fail(recovery, "the ledger before the checkpoint cannot be read");
        }
        if (step == BATCH_WHOLE) {
            take(recovery);
        }
    }
    batch_clear(&recovery->batch);
}

static void load_state(struct recovery *recovery) {
    struct node *const node = recovery->node;
    struct checker_snapshot snapshot;
    if (checker_snapshot_decode(&snapshot, &recovery->arena, node->disk.store.snapshot) !=
            CODEC_OK ||
        !checker_load(node->checker, &snapshot, &recovery->arena, true)) {
        recovery_fail(recovery, "the snapshot does not load");
    }
    recovery->state_entries = checker_position(node->checker)->entries;
    recovery->past_entry = snapshot.past_entry;
    each_batch_before(recovery, snapshot.window_entry, load_window_batch);
    if (!checker_window_holds(node->checker)) {
        recovery_fail(recovery, "the window is not the one of the checkpoint");
    }
}

static void load_past_batch(struct recovery *recovery) {
    replica_load_past(recovery->node->replica, &recovery->batch);
}

static void load_cuts(struct recovery *recovery) {
    struct node *const node = recovery->node;
    const struct checkpoint_cut *due = replica_load_cut(node->replica);
    while (due != NULL) {
        struct checkpoint_cut cut = *due;
        store_write(recovery->cluster, &node->disk.store, node->engine, &cut);
        replica_load_checkpoint(node->replica, cut.header.seq, cut.header.state_count,
                                &cut.header.state_root);
        due = replica_load_cut(node->replica);
    }
}

static void each_record(struct recovery *recovery,
                        void (*take)(struct replica *replica,
                                     const struct journal_record *record)) {
    struct node *const node = recovery->node;
    for (uint64_t i = 0; i < node->disk.journal.count; i++) {
        struct journal_record record;
        arena_reset(&recovery->arena);
        if (journal_record_decode(&record, &recovery->arena, node->disk.journal.items[i].bytes) !=
            CODEC_OK) {
            recovery_fail(recovery, "a journal record does not decode");
        }
        take(node->replica, &record);
    }
}

static void load_ledger(struct recovery *recovery) {
    struct node *const node = recovery->node;
    struct sim_disk *const disk = &node->disk;
    uint64_t index = checker_position(node->checker)->entries;
    batch_clear(&recovery->batch);
    for (;;) {
        enum batch_step const step =
            read_unit(&recovery->batch, &disk->durable, &index, disk->durable.count);
        if (step == BATCH_MORE) {
            break;
        }
        if (step == BATCH_BROKEN) {
            cluster_trace(recovery->cluster, "entry %llu of %llu", (unsigned long long)index,
                          (unsigned long long)disk->durable.count);
            recovery_fail(recovery, "the ledger cannot be read");
        }
        enum rule const rule = replica_load_batch(node->replica, &recovery->batch, step);
        if (rule != RULE_NONE) {
            recovery_fail(recovery, rule_name(rule));
        }
        load_cuts(recovery);
    }
    each_record(recovery, replica_look_at_journal);
    disk->durable.count = replica_load_end(node->replica);
    disk->live.count = disk->durable.count;
}

static void load_journal(struct recovery *recovery) {
    struct node *const node = recovery->node;
    each_record(recovery, replica_load_journal);
    replica_load_done(node->replica);
    if (node->disk.journal_missing) {
        replica_engage_guard(node->replica, GUARD_JOURNAL_MISSING);
    }
    if (node->disk.guard != GUARD_NONE) {
        replica_engage_guard(node->replica, node->disk.guard);
    }
    struct replica_status status;
    replica_status(node->replica, &status);
    node->disk.guard = status.guard; /* written down before the replica runs */
}

static struct replica *replica_make(struct recovery *recovery) {
    struct cluster *const cluster = recovery->cluster;
    const struct replica_keys *const keys = &cluster->keys[recovery->node->id];
    const struct cluster_options *const wanted = &cluster->options;
    struct replica_options options = {
        .configuration = checker_configuration(recovery->node->checker),
        .constitution =
            cluster->options.governed ? &cluster->eras[recovery->config - 1].constitution : NULL,
        .key = keys->signing.key,
        .signing_key = keys->signing.secret,
        .checker = recovery->node->checker,
        .engine = recovery->node->engine,
        .limits =
            {
                .pool_requests_max =
                    wanted->pool_requests_max == 0 ? 1000 : wanted->pool_requests_max,
                .pool_size_max =
                    wanted->pool_size_max == 0 ? (size_t)8 << 20 : wanted->pool_size_max,
            },
    };
    memcpy(options.nonce_secret, keys->nonce_secret, sizeof options.nonce_secret);
    return replica_new(&options);
}

void node_recover(struct cluster *cluster, uint32_t number) {
    struct node *const node = &cluster->nodes[number];
    struct recovery recovery = {.cluster = cluster, .node = node, .number = number, .config = 1};
    arena_init(&recovery.arena, (size_t)SNAPSHOT_SIZE_MAX * 4);
    batch_init(&recovery.batch);
    effects_init(&node->effects);
    join_recover(cluster, number);
    bool const has_state = state_is_usable(&recovery);
    node->checker = checker_new(cluster_configuration(cluster, recovery.config));
    CHECK(node->checker != NULL);
    if (has_state) {
        load_state(&recovery);
    } else if (node->disk.durable.first != 0) {
        recovery_fail(&recovery, "a ledger that does not begin with genesis, and no state");
    } else {
        store_forget(&node->disk.store);
        checker_start(node->checker, buffer_span(&cluster->consortium.genesis_bytes));
    }
    struct state_base const base = store_base(&node->disk.store);
    node->engine = engine_new(&base);
    CHECK(node->engine != NULL);
    node->replica = replica_make(&recovery);
    CHECK(node->replica != NULL);
    each_batch_before(&recovery, recovery.past_entry, load_past_batch);
    load_ledger(&recovery);
    load_journal(&recovery);
    batch_free(&recovery.batch);
    arena_free(&recovery.arena);
}

void node_release(struct node *node) {
    join_close(node);
    offer_forget(node);
    node->rests = false;
    node->joins_in = 0;
    if (node->replica != NULL) {
        replica_free(node->replica);
        checker_free(node->checker);
        engine_free(node->engine);
        effects_free(&node->effects);
    }
    node->replica = NULL;
    node->checker = NULL;
    node->engine = NULL;
}

static bool replica_is_up(const struct cluster *cluster, uint32_t id) {
    bool up = false;
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        up |= cluster->nodes[i].id == id && cluster->nodes[i].up;
    }
    return up;
}

static void go_down(struct cluster *cluster, uint32_t number) {
    struct node *const node = &cluster->nodes[number];
    node->up = false;
    node->incarnation++;
    outbox_clear(node);
    node->paused_until_us = 0;
    node_release(node);
    if (!replica_is_up(cluster, node->id)) {
        sessions_link(cluster, node->id, false);
    }
}

void cluster_crash(struct cluster *cluster, uint32_t number) {
    struct node *const node = &cluster->nodes[number];
    if (!node->up) {
        return;
    }
    cluster_trace(cluster, "%u %s", number, node->stopping ? "ends" : "crashes");
    cluster->faults[FAULT_CRASH]++;
    go_down(cluster, number);
    disk_crash(cluster, &node->disk);
    join_crash(cluster, &node->disk);
}

void cluster_restart(struct cluster *cluster, uint32_t number) {
    go_down(cluster, number);
    cluster_start(cluster, number);
}

void cluster_lose_disk(struct cluster *cluster, uint32_t number) {
    struct sim_disk *const disk = &cluster->nodes[number].disk;
    CHECK(!cluster->nodes[number].up);
    cluster_trace(cluster, "%u has lost its disk", number);
    cluster->faults[FAULT_LOST_DISK]++;
    disk_lose(cluster, disk);
}

static void tell_peers(struct cluster *cluster, uint32_t number) {
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        struct event event = {.kind = EVENT_PEER_UP, .peer = cluster->nodes[number].id};
        const struct node *const other = &cluster->nodes[i];
        if (other->id != event.peer && other->up && !other->puppet &&
            other->paused_until_us <= cluster->now_us) {
            node_step(cluster, i, &event);
            join_peer_up(cluster, i, event.peer);
        }
    }
}

void cluster_start(struct cluster *cluster, uint32_t number) {
    struct node *const node = &cluster->nodes[number];
    if (node->up) {
        return;
    }
    node->up = true;
    node->boot_us = cluster->now_us;
    if (node->puppet) {
        sessions_link(cluster, node->id, true);
        return;
    }
    node->durable = 0;
    node->disk_position = 0;
    node->cut_waits = false;
    node->cut_runs = false;
    node->stopping = false;
    node->stop_after = 0;
    node_recover(cluster, number);
    struct replica_status const status = cluster_status(cluster, number);
    node->voice.guarded = status.guard != GUARD_NONE;
    watch_started(cluster, number);
    node->judged_seq = status.committed_seq;
    node->judged_entries = 1; /* a crash may have brought back what it had replaced */
    node->tick_us = cluster->now_us;
    join_open(cluster, number);
    cluster->recoveries += node->incarnation != 0;
    cluster_trace(cluster, "%u starts: view %llu, executed %llu, committed %llu, %s", number,
                  (unsigned long long)status.view, (unsigned long long)status.executed_seq,
                  (unsigned long long)status.committed_seq, guard_text(status.guard));
    tell_peers(cluster, number);
    sessions_link(cluster, node->id, true);
}

void cluster_pause(struct cluster *cluster, uint32_t number, uint64_t us) {
    struct node *const node = &cluster->nodes[number];
    if (node->up && !node->puppet && node->paused_until_us <= cluster->now_us) {
        cluster_trace(cluster, "%u is paused for %llu ms", number, (unsigned long long)(us / 1000));
        cluster->faults[FAULT_PAUSE]++;
        node->paused_until_us = cluster->now_us + us;
    }
}

/* ---- frames ---- */

const char *message_name(uint8_t kind) {
    switch ((enum message_kind)kind) {
    case MESSAGE_PRE_PREPARE:
        return "pre-prepare";
    case MESSAGE_PREPARE:
        return "prepare";
    case MESSAGE_COMMIT:
        return "commit";
    case MESSAGE_STATUS:
        return "status";
    case MESSAGE_FETCH_REQUESTS:
        return "fetch-requests";
    case MESSAGE_REQUESTS:
        return "requests";
    case MESSAGE_FETCH_RANGE:
        return "fetch-range";
    case MESSAGE_RANGE:
        return "range";
    case MESSAGE_VIEW_CHANGE:
        return "view-change";
    case MESSAGE_NEW_VIEW:
        return "new-view";
    case MESSAGE_FETCH_CHECKPOINT:
        return "fetch-checkpoint";
    case MESSAGE_CHECKPOINT_OFFER:
        return "checkpoint-offer";
    case MESSAGE_CHECKPOINT_DIGESTS:
        return "checkpoint-digests";
    case MESSAGE_CHECKPOINT_ITEMS:
        return "checkpoint-items";
    case MESSAGE_REQUEST:
        return "request";
    case MESSAGE_STATUS_QUERY:
        return "status-query";
    case MESSAGE_RECEIPT_QUERY:
        return "receipt-query";
    case MESSAGE_REPLY:
        return "reply";
    case MESSAGE_RESULT:
        return "result";
    case MESSAGE_REJECT:
        return "reject";
    case MESSAGE_STATUS_REPLY:
        return "status-reply";
    case MESSAGE_RECEIPT_REPLY:
        return "receipt-reply";
    case MESSAGE_DEMAND:
        return "demand";
    case MESSAGE_SERVED:
        return "served";
    case MESSAGE_CHAIN_QUERY:
        return "chain-query";
    case MESSAGE_CHAIN_REPLY:
        return "chain-reply";
    }
    return "a message of no kind";
}

/* Requests that a peer sent because this replica asked for them. */
static void take_requests(struct cluster *cluster, uint32_t number,
                          const struct requests_message *requests) {
    struct node *const node = &cluster->nodes[number];
    struct arena arena;
    arena_init(&arena, 2 * (size_t)ENTRY_SIZE_MAX);
    for (uint32_t i = 0; i < requests->count; i++) {
        struct request request;
        arena_reset(&arena);
        if (request_decode(&request, &arena, &cluster->configuration->service,
                           requests->requests[i]) != CODEC_OK ||
            !replica_wants_request(node->replica, &request.digest)) {
            continue;
        }
        struct sign_check const check = {.key = request.author,
                                         .signature = request.signature,
                                         .body = request.header,
                                         .label = LABEL_REQUEST};
        struct event event = {.kind = EVENT_REQUEST, .request = {.request = &request}};
        if (check_holds(cluster, &check)) {
            node_step(cluster, number, &event);
        }
    }
    arena_free(&arena);
}

void node_take_frame(struct cluster *cluster, uint32_t number, uint32_t from, uint8_t kind,
                     struct span payload) {
    struct peer_message message;
    uint32_t peer = 0;
    if (payload.size > message_size_max(kind) || !links_find_peer(cluster, number, from, &peer)) {
        return;
    }
    enum codec_result const result =
        peer_message_decode(&message, links_numbering(cluster, number), peer, kind, payload);
    if (result == CODEC_OK && (!message.signed_statement || check_holds(cluster, &message.check))) {
        cluster_trace(cluster, "%u -> %u  %s  %zu bytes", from, number, message_name(kind),
                      payload.size);
        struct event event = {.kind = EVENT_MESSAGE, .message = &message};
        if (join_take(cluster, number, &message) || !cluster->nodes[number].up ||
            cluster->nodes[number].rests) {
            peer_message_free(&message);
            return;
        }
        if (message.kind == MESSAGE_REQUESTS) {
            take_requests(cluster, number, &message.requests);
        } else {
            node_step(cluster, number, &event);
        }
    } else {
        cluster_trace(cluster, "%u -> %u  %s refused", from, number, message_name(kind));
    }
    peer_message_free(&message);
}

static void reject(struct cluster *cluster, uint32_t number, uint32_t client,
                   const struct digest *request_id, enum reject_reason reason) {
    struct reject_message const message = {.request_id = *request_id, .reason = reason};
    struct buffer encoded;
    buffer_init(&encoded, STATEMENT_SIZE_MAX);
    CHECK(reject_message_encode(&encoded, &message));
    send_to_client(cluster, number, client + 1, MESSAGE_REJECT, buffer_span(&encoded));
    buffer_free(&encoded);
}

static void take_client_request(struct cluster *cluster, uint32_t number, uint32_t client,
                                struct arena *arena, struct span payload) {
    const struct replica *const replica = cluster->nodes[number].replica;
    struct request request;
    if (request_decode(&request, arena, &cluster->configuration->service, payload) != CODEC_OK) {
        return;
    }
    enum reject_reason const refusal = replica_request_refusal(replica, &request);
    if (refusal != 0) {
        reject(cluster, number, client, &request.id, refusal);
        return;
    }
    struct sign_check const check = {.key = request.author,
                                     .signature = request.signature,
                                     .body = request.header,
                                     .label = LABEL_REQUEST};
    struct event event = {.kind = EVENT_REQUEST,
                          .request = {.origin = client + 1, .request = &request}};
    if (check_holds(cluster, &check)) {
        node_step(cluster, number, &event);
    } else {
        reject(cluster, number, client, &request.id, REJECT_SIGNATURE);
    }
}

static void answer_chain_query(struct cluster *cluster, uint32_t number, uint32_t client,
                               struct span payload) {
    struct buffer encoded;
    buffer_init(&encoded, FRAME_SIZE_MAX);
    if (session_links_answer(cluster, number, &encoded, payload)) {
        send_to_client(cluster, number, client + 1, MESSAGE_CHAIN_REPLY, buffer_span(&encoded));
    }
    buffer_free(&encoded);
}

void node_take_client_frame(struct cluster *cluster, uint32_t number, uint32_t client, uint8_t kind,
                            struct span payload) {
    struct arena arena;
    struct event event = {.kind = EVENT_RECEIPT_QUERY, .receipt_query = {.origin = client + 1}};
    cluster_trace(cluster, "client %u -> %u  %s", client, number, message_name(kind));
    if (cluster->nodes[number].rests) {
        return;
    }
    arena_init(&arena, 2 * (size_t)ENTRY_SIZE_MAX);
    if (kind == MESSAGE_REQUEST) {
        take_client_request(cluster, number, client, &arena, payload);
    } else if (kind == MESSAGE_RECEIPT_QUERY &&
               receipt_query_decode(&event.receipt_query.request_id, &arena, payload) == CODEC_OK) {
        node_step(cluster, number, &event);
    } else if (kind == MESSAGE_CHAIN_QUERY) {
        answer_chain_query(cluster, number, client, payload);
    }
    arena_free(&arena);
}
