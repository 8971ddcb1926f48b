/*
 * cluster: see cluster.h. Events wait in a heap ordered by time and by when they were made, so
 * that two events of one moment never depend on anything but the run itself. Each node's next tick
 * stands beside the heap, since it moves with every step.
 */
#include "tests/sim/cluster.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"

#define ARENA_BUDGET ((size_t)4 << 30)
#define WALL_MS INT64_C(1750000000000)

/* ---- trace ---- */

void cluster_trace(struct cluster *cluster, const char *format, ...) {
    char *const line = cluster->trace[cluster->trace_count++ % TRACE_LINES];
    int const size = snprintf(line, TRACE_LINE_SIZE, "%9.3f ms  ", (double)cluster->now_us / 1000);
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(line + size, TRACE_LINE_SIZE - (size_t)size, format, arguments);
    va_end(arguments);
    struct hash_state state;
    hash_init(&state);
    hash_update(&state, span_of(cluster->trace_hash.bytes, DIGEST_SIZE));
    hash_update(&state, span_text(line));
    cluster->trace_hash = hash_final(&state);
    if (cluster->trace_aloud) {
        (void)fprintf(stderr, "%s\n", line);
    }
}

/* The cluster whose trace is printed when the process aborts, whoever found the fault. */
static const struct cluster *last_words_of;

/*
 * Nothing but this process's own abort raises the signal, and the process ends after it: that the
 * standard library is not meant for signal handlers does not matter here.
 */
static void last_words(int number) {
    const struct cluster *const cluster = last_words_of;
    (void)number;
    if (cluster != NULL) {
        uint64_t const count = cluster->trace_count;
        for (uint64_t i = count > TRACE_LINES ? count - TRACE_LINES : 0; i < count; i++) {
            (void)fprintf(stderr, "%s\n", /* NOLINT(bugprone-signal-handler) */
                          cluster->trace[i % TRACE_LINES]);
        }
        (void)fprintf(stderr, "seed %llu, %.3f ms\n", (unsigned long long)cluster->options.seed,
                      (double)cluster->now_us / 1000);
    }
}

void cluster_fail(const struct cluster *cluster, const char *format, ...) {
    va_list arguments;
    (void)fprintf(stderr, "%.3f ms: ", (double)cluster->now_us / 1000);
    va_start(arguments, format);
    (void)vfprintf(stderr, format, arguments);
    va_end(arguments);
    (void)fprintf(stderr, "\n");
    abort();
}

struct digest cluster_trace_hash(const struct cluster *cluster) {
    return cluster->trace_hash;
}

struct span cluster_keep(struct cluster *cluster, struct span bytes) {
    struct span const kept = arena_copy(&cluster->arena, bytes);
    if (kept.size != bytes.size) {
        cluster_fail(cluster, "the run is too long: out of memory");
    }
    return kept;
}

/* ---- the heap ---- */

static bool is_before(const struct sim_event *a, const struct sim_event *b) {
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

static void heap_swap(struct cluster *cluster, uint32_t a, uint32_t b) {
    struct sim_event const kept = cluster->heap[a];
    cluster->heap[a] = cluster->heap[b];
    cluster->heap[b] = kept;
}

void cluster_schedule(struct cluster *cluster, const struct sim_event *event) {
    uint64_t capacity = cluster->heap_capacity;
    list_reserve(&cluster->heap, cluster->heap_count, &capacity, sizeof *cluster->heap);
    cluster->heap_capacity = (uint32_t)capacity;
    uint32_t at = cluster->heap_count++;
    cluster->heap[at] = *event;
    cluster->heap[at].order = cluster->next_order++;
    while (at > 0 && is_before(&cluster->heap[at], &cluster->heap[(at - 1) / 2])) {
        heap_swap(cluster, at, (at - 1) / 2);
        at = (at - 1) / 2;
    }
}

static struct sim_event heap_take(struct cluster *cluster) {
    struct sim_event const first = cluster->heap[0];
    cluster->heap[0] = cluster->heap[--cluster->heap_count];
    uint32_t at = 0;
    for (;;) {
        uint32_t least = at;
        for (uint32_t child = 2 * at + 1; child <= 2 * at + 2; child++) {
            if (child < cluster->heap_count &&
                is_before(&cluster->heap[child], &cluster->heap[least])) {
                least = child;
            }
        }
        if (least == at) {
            return first;
        }
        heap_swap(cluster, at, least);
        at = least;
    }
}

/* ---- network ---- */

static void deliver_later(struct cluster *cluster, uint32_t from, uint32_t to,
                          enum message_kind kind, struct span payload) {
    struct network *const network = &cluster->network;
    uint64_t at = cluster->now_us +
                  prng_between(&cluster->prng, network->delay_us_min, network->delay_us_max);
    uint64_t *const last = &network->last_us[from][to];
    if (!network->reorder && at < *last) {
        at = *last;
    }
    *last = at;
    cluster_schedule(cluster, &(struct sim_event){.at_us = at,
                                                  .kind = SIM_FRAME,
                                                  .node = to,
                                                  .from = from,
                                                  .message = (uint8_t)kind,
                                                  .payload = payload});
}

void cluster_forge(struct cluster *cluster, uint32_t from, uint32_t to, enum message_kind kind,
                   struct span payload) {
    if (!cluster->network.cut[from][to]) {
        deliver_later(cluster, from, to, kind, cluster_keep(cluster, payload));
    }
}

void transmit(struct cluster *cluster, uint32_t from, uint32_t to, enum message_kind kind,
              struct span payload) {
    struct network *const network = &cluster->network;
    struct frame const frame = {.from = from, .to = to, .kind = (uint8_t)kind, .payload = payload};
    cluster->nodes[from].sent[kind]++;
    if (cluster->filter != NULL && !cluster->filter(cluster->filter_context, cluster, &frame)) {
        return;
    }
    if (network->cut[from][to] || prng_chance(&cluster->prng, network->drop_permille)) {
        return;
    }
    struct span const kept = cluster_keep(cluster, payload);
    deliver_later(cluster, from, to, kind, kept);
    if (prng_chance(&cluster->prng, network->duplicate_permille)) {
        deliver_later(cluster, from, to, kind, kept);
    }
}

void send_to_client(struct cluster *cluster, uint32_t node, uint64_t origin, enum message_kind kind,
                    struct span payload) {
    uint64_t const delay = prng_between(&cluster->prng, 100, 400);
    cluster_schedule(cluster, &(struct sim_event){.at_us = cluster->now_us + delay,
                                                  .kind = SIM_TO_CLIENT,
                                                  .node = (uint32_t)(origin - 1),
                                                  .from = node,
                                                  .message = (uint8_t)kind,
                                                  .payload = cluster_keep(cluster, payload)});
}

void cluster_cut(struct cluster *cluster, uint32_t from, uint32_t to, bool cut) {
    bool const healed = cluster->network.cut[from][to] && !cut;
    cluster->network.cut[from][to] = cut;
    struct event event = {.kind = EVENT_PEER_UP, .peer = to};
    if (healed && cluster->nodes[from].up) {
        node_step(cluster, from, &event);
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
    for (uint32_t from = 0; from < cluster->node_count; from++) {
        for (uint32_t to = 0; to < cluster->node_count; to++) {
            cluster_cut(cluster, from, to, false);
        }
    }
}

/* ---- signatures: real, each paid for once ---- */

static struct digest check_key(const struct sign_check *check) {
    struct hash_state state;
    hash_init(&state);
    hash_update_u32(&state, (uint32_t)check->label);
    hash_update(&state, span_of(check->key.bytes, PUBLIC_KEY_SIZE));
    hash_update(&state, span_of(check->signature.bytes, SIGNATURE_SIZE));
    hash_update(&state, check->body);
    return hash_final(&state);
}

bool check_holds(struct cluster *cluster, const struct sign_check *check) {
    struct digest const key = check_key(check);
    struct digest *const cell = &cluster->verified[load_u32_be(key.bytes) % VERIFIED_MAX];
    if (digest_equal(cell, &key)) {
        return true;
    }
    cluster->checks_done++;
    if (!sign_verify(&cluster->configuration->service, check)) {
        return false;
    }
    *cell = key;
    return true;
}

/* ---- running ---- */

static void wall_of(const struct cluster *cluster, uint32_t node, struct event *event) {
    event->now_ms = 1000 + (cluster->now_us - cluster->nodes[node].boot_us) / 1000;
    event->wall_ms = (uint64_t)(cluster->wall_ms + (int64_t)(cluster->now_us / 1000) + node);
}

static void outbox_push(struct node *node, const struct waiting_send *send) {
    uint64_t capacity = node->outbox_capacity;
    list_reserve(&node->outbox, node->outbox_count, &capacity, sizeof *node->outbox);
    node->outbox_capacity = (uint32_t)capacity;
    node->outbox[node->outbox_count++] = *send;
}

static void leave(struct cluster *cluster, uint32_t node, const struct waiting_send *send) {
    watch_sent(cluster, node, send->kind, send->payload);
    if (send->to_client) {
        send_to_client(cluster, node, send->to, send->kind, send->payload);
    } else {
        transmit(cluster, node, (uint32_t)send->to, send->kind, send->payload);
    }
}

static void send_after(struct cluster *cluster, uint32_t node, const struct waiting_send *send) {
    if (send->after <= cluster->nodes[node].durable) {
        leave(cluster, node, send);
        return;
    }
    struct waiting_send kept = *send;
    kept.payload = cluster_keep(cluster, send->payload);
    outbox_push(&cluster->nodes[node], &kept);
}

static void outbox_flush(struct cluster *cluster, uint32_t node) {
    struct node *const at = &cluster->nodes[node];
    uint32_t kept = 0;
    for (uint32_t i = 0; i < at->outbox_count; i++) {
        if (at->outbox[i].after <= at->durable) {
            leave(cluster, node, &at->outbox[i]);
        } else {
            at->outbox[kept++] = at->outbox[i];
        }
    }
    at->outbox_count = kept;
}

/* A checkpoint must not be ahead of the ledger: it waits for all that came before its cut. */
static void checkpoint_begin(struct cluster *cluster, uint32_t node) {
    struct node *const at = &cluster->nodes[node];
    if (!at->cut_waits || at->cut_after > at->durable) {
        return;
    }
    at->cut_waits = false;
    at->cut_runs = true;
    uint64_t const takes =
        at->cut_extra_us +
        prng_between(&cluster->prng, cluster->checkpoint_us / 2, cluster->checkpoint_us);
    cluster_schedule(cluster, &(struct sim_event){.at_us = cluster->now_us + takes,
                                                  .kind = SIM_CHECKPOINT,
                                                  .node = node,
                                                  .incarnation = at->incarnation});
}

static void verify_later(struct cluster *cluster, uint32_t node, const struct effect *effect) {
    bool good = true;
    for (uint32_t i = 0; i < effect->verify.count; i++) {
        good = check_holds(cluster, &effect->verify.checks[i]) && good;
    }
    cluster_schedule(cluster, &(struct sim_event){.at_us = cluster->now_us +
                                                           prng_between(&cluster->prng, 100, 1000),
                                                  .kind = SIM_VERIFIED,
                                                  .node = node,
                                                  .incarnation = cluster->nodes[node].incarnation,
                                                  .number = effect->verify.token,
                                                  .good = good});
}

static void write_append(struct cluster *cluster, uint32_t node, const struct effect *effect) {
    struct entry const entry = {.kind = effect->append.entry.kind,
                                .payload = cluster_keep(cluster, effect->append.entry.payload)};
    cluster->nodes[node].disk_position = effect->append.position;
    disk_write(cluster, node,
               &(struct disk_op){
                   .kind = DISK_APPEND, .position = effect->append.position, .entry = entry});
}

static void write_journal(struct cluster *cluster, uint32_t node, const struct effect *effect) {
    struct buffer encoded;
    buffer_init(&encoded, JOURNAL_RECORD_SIZE_MAX);
    if (!journal_record_encode(&encoded, &effect->journal.record)) {
        cluster_fail(cluster, "node %u: a journal record cannot be encoded", node);
    }
    cluster->nodes[node].disk_position = effect->journal.position;
    disk_write(cluster, node,
               &(struct disk_op){.kind = DISK_JOURNAL,
                                 .position = effect->journal.position,
                                 .journal = cluster_keep(cluster, buffer_span(&encoded))});
    buffer_free(&encoded);
}

static void take_note(struct cluster *cluster, uint32_t node, const struct effect *effect) {
    struct node *const at = &cluster->nodes[node];
    struct replica_status status;
    at->notes[effect->note.kind]++;
    at->last_rule = effect->note.rule;
    cluster_trace(cluster, "%u notes %u about %u, batch %llu: %s", node, effect->note.kind,
                  effect->note.replica, (unsigned long long)effect->note.seq,
                  rule_name(effect->note.rule));
    if (effect->note.kind == NOTE_GUARD) {
        replica_status(at->replica, &status);
        at->disk.guard = status.guard;
    }
}

static void carry_out(struct cluster *cluster, uint32_t node, const struct effect *effect) {
    struct node *const at = &cluster->nodes[node];
    switch (effect->kind) {
    case EFFECT_APPEND:
        write_append(cluster, node, effect);
        return;
    case EFFECT_TRUNCATE:
        at->disk_position = effect->truncate.position;
        disk_write(cluster, node,
                   &(struct disk_op){.kind = DISK_TRUNCATE,
                                     .position = effect->truncate.position,
                                     .entries = effect->truncate.entries});
        return;
    case EFFECT_JOURNAL:
        write_journal(cluster, node, effect);
        return;
    case EFFECT_SEND:
        send_after(cluster, node,
                   &(struct waiting_send){.after = effect->send.after,
                                          .to = effect->send.peer,
                                          .kind = effect->send.kind,
                                          .payload = effect->send.payload});
        return;
    case EFFECT_SEND_CLIENT:
        send_after(cluster, node,
                   &(struct waiting_send){.after = effect->send_client.after,
                                          .to_client = true,
                                          .to = effect->send_client.origin,
                                          .kind = effect->send_client.kind,
                                          .payload = effect->send_client.payload});
        return;
    case EFFECT_SERVE_RANGE:
        serve_range(cluster, node, effect->serve_range.peer, effect->serve_range.first_entry,
                    effect->serve_range.end_entry);
        return;
    case EFFECT_SERVE_RECEIPT:
        serve_receipt(cluster, node, effect->serve_receipt.origin,
                      &effect->serve_receipt.request_id, &effect->serve_receipt.place);
        return;
    case EFFECT_VERIFY:
        verify_later(cluster, node, effect);
        return;
    case EFFECT_CHECKPOINT:
        if (at->cut_waits || at->cut_runs) {
            cluster_fail(cluster, "node %u: two checkpoints at a time", node);
        }
        at->cut = *effect->checkpoint;
        at->cut_waits = true;
        at->cut_after = at->disk_position;
        checkpoint_begin(cluster, node);
        return;
    case EFFECT_EVIDENCE:
        at->evidence_count++;
        return;
    case EFFECT_NOTE:
        take_note(cluster, node, effect);
        return;
    }
}

static void tick_set(struct cluster *cluster, uint32_t node) {
    struct node *const at = &cluster->nodes[node];
    uint64_t const deadline_ms = replica_deadline(at->replica);
    uint64_t const due = deadline_ms <= 1000 ? 0 : (deadline_ms - 1000) * 1000 + at->boot_us;
    at->tick_us = due > cluster->now_us ? due : cluster->now_us + 500;
}

void node_step(struct cluster *cluster, uint32_t node, struct event *event) {
    struct node *const at = &cluster->nodes[node];
    wall_of(cluster, node, event);
    if (replica_step(at->replica, event, &at->effects) != VERDICT_OK) {
        cluster_fail(cluster, "node %u cannot go on after event %u", node, event->kind);
    }
    for (uint32_t i = 0; i < at->effects.count; i++) {
        carry_out(cluster, node, &at->effects.items[i]);
    }
    tick_set(cluster, node);
    watch_node(cluster, node);
}

static void on_synced(struct cluster *cluster, uint32_t node) {
    disk_synced(cluster, node);
    outbox_flush(cluster, node);
    checkpoint_begin(cluster, node);
    struct event event = {.kind = EVENT_DURABLE, .durable = cluster->nodes[node].durable};
    node_step(cluster, node, &event);
}

static void on_checkpoint(struct cluster *cluster, uint32_t node) {
    struct node *const at = &cluster->nodes[node];
    at->cut_runs = false;
    store_write(cluster, &at->disk.store, at->engine, &at->cut);
    watch_checkpoint(cluster, at->cut.header.seq, &at->cut.header.state_root);
    struct event event = {.kind = EVENT_CHECKPOINT,
                          .checkpoint = {.seq = at->cut.header.seq,
                                         .state_count = at->cut.header.state_count,
                                         .state_root = at->cut.header.state_root}};
    node_step(cluster, node, &event);
}

static void dispatch(struct cluster *cluster, const struct sim_event *event) {
    struct node *const node = event->kind == SIM_TO_CLIENT || event->kind == SIM_RETRY
                                  ? NULL
                                  : &cluster->nodes[event->node];
    bool const is_for_nobody = node != NULL && (!node->up || node->puppet);
    bool const is_stale =
        node != NULL && event->kind != SIM_FRAME && event->incarnation != node->incarnation;
    struct event verified = {.kind = EVENT_VERIFIED,
                             .verified = {.token = event->number, .all_hold = event->good}};
    if (is_for_nobody || is_stale) {
        return;
    }
    switch (event->kind) {
    case SIM_FRAME:
        if (event->from >= CLUSTER_NODES_MAX) {
            node_take_client_frame(cluster, event->node, event->from - CLUSTER_NODES_MAX,
                                   event->message, event->payload);
        } else {
            node_take_frame(cluster, event->node, event->from, event->message, event->payload);
        }
        return;
    case SIM_TO_CLIENT:
        client_take(cluster, event->node, event->from, event->message, event->payload);
        return;
    case SIM_SYNCED:
        on_synced(cluster, event->node);
        return;
    case SIM_VERIFIED:
        node_step(cluster, event->node, &verified);
        return;
    case SIM_CHECKPOINT:
        on_checkpoint(cluster, event->node);
        return;
    case SIM_RETRY:
        client_retry(cluster, event->node);
        return;
    }
}

/* The node whose tick comes first, or node_count. */
static uint32_t next_tick(const struct cluster *cluster, uint64_t before_us) {
    uint32_t chosen = cluster->node_count;
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        const struct node *const node = &cluster->nodes[i];
        if (node->up && !node->puppet && node->tick_us < before_us) {
            chosen = i;
            before_us = node->tick_us;
        }
    }
    return chosen;
}

/* Let the next thing happen, unless it comes after end_us. Returns: whether it did. */
static bool run_one(struct cluster *cluster, uint64_t end_us) {
    uint64_t const event_us = cluster->heap_count == 0 ? UINT64_MAX : cluster->heap[0].at_us;
    uint32_t const ticking = next_tick(cluster, event_us);
    uint64_t const at_us =
        ticking < cluster->node_count ? cluster->nodes[ticking].tick_us : event_us;
    if (at_us > end_us) {
        return false;
    }
    cluster->now_us = at_us > cluster->now_us ? at_us : cluster->now_us;
    if (ticking < cluster->node_count) {
        struct event tick = {.kind = EVENT_TICK};
        node_step(cluster, ticking, &tick);
    } else {
        struct sim_event const event = heap_take(cluster);
        dispatch(cluster, &event);
    }
    return true;
}

void cluster_run_ms(struct cluster *cluster, uint64_t ms) {
    uint64_t const end_us = cluster->now_us + ms * 1000;
    while (run_one(cluster, end_us)) {
    }
    cluster->now_us = end_us;
}

static bool all_done(const struct cluster *cluster) {
    for (uint32_t i = 0; i < cluster->request_count; i++) {
        const struct client_request *const request = &cluster->requests[i];
        if (request->sent_us != 0 && !request->done && !request->abandoned) {
            return false;
        }
    }
    return true;
}

void cluster_run_until_done(struct cluster *cluster, uint64_t ms) {
    uint64_t const end_us = cluster->now_us + ms * 1000;
    while (!all_done(cluster)) {
        if (!run_one(cluster, end_us)) {
            cluster_fail(cluster, "not all requests have their receipts after %llu ms",
                         (unsigned long long)ms);
        }
    }
}

static bool all_level(const struct cluster *cluster) {
    uint64_t highest = 0;
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        if (cluster->nodes[i].up && !cluster->nodes[i].puppet) {
            uint64_t const executed = cluster_status(cluster, i).executed_seq;
            highest = executed > highest ? executed : highest;
        }
    }
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        if (cluster->nodes[i].up && !cluster->nodes[i].puppet &&
            cluster_committed(cluster, i) < highest) {
            return false;
        }
    }
    return true;
}

void cluster_run_until_level(struct cluster *cluster, uint64_t ms) {
    uint64_t const end_us = cluster->now_us + ms * 1000;
    while (!all_level(cluster)) {
        if (!run_one(cluster, end_us)) {
            cluster_fail(cluster, "the nodes are not level after %llu ms", (unsigned long long)ms);
        }
    }
}

/* ---- looking ---- */

struct replica_status cluster_status(const struct cluster *cluster, uint32_t node) {
    struct replica_status status;
    CHECK(cluster->nodes[node].replica != NULL);
    replica_status(cluster->nodes[node].replica, &status);
    return status;
}

uint64_t cluster_committed(const struct cluster *cluster, uint32_t node) {
    return cluster_status(cluster, node).committed_seq;
}

/* ---- beginning and end ---- */

static void *zeroed(size_t count, size_t size) {
    void *const memory = calloc(count, size);
    CHECK(memory != NULL);
    return memory;
}

static void node_set_up(struct cluster *cluster, uint32_t node) {
    struct node *const at = &cluster->nodes[node];
    at->puppet = (cluster->options.puppets >> node & 1) != 0;
    at->pre_prepares = zeroed(CLUSTER_SEQ_MAX, sizeof *at->pre_prepares);
    at->prepares = zeroed(CLUSTER_SEQ_MAX, sizeof *at->prepares);
    at->nonces = zeroed(CLUSTER_SEQ_MAX, sizeof *at->nonces);
    struct entry const genesis = {.kind = ENTRY_GENESIS,
                                  .payload = buffer_span(&cluster->consortium.genesis_bytes)};
    entry_push(&at->disk.durable, &genesis);
    entry_push(&at->disk.live, &genesis);
}

struct cluster *cluster_new(const struct cluster_options *options) {
    struct cluster *const cluster = zeroed(1, sizeof *cluster);
    cluster->options = *options;
    cluster->node_count = options->replica_count == 0 ? 4 : options->replica_count;
    CHECK(cluster->node_count <= CLUSTER_NODES_MAX);
    prng_init(&cluster->prng, options->seed);
    arena_init(&cluster->arena, ARENA_BUDGET);
    consortium_found(&cluster->consortium,
                     &(struct consortium_options){
                         .replica_count = cluster->node_count,
                         .pipeline = options->pipeline,
                         .checkpoint_interval =
                             options->checkpoint_interval == 0 ? 9 : options->checkpoint_interval,
                         .window = options->window,
                         .batch_calls_max = options->batch_calls_max,
                     });
    cluster->configuration = &cluster->consortium.configuration;
    cluster->network.delay_us_min = 50;
    cluster->network.delay_us_max = 500;
    cluster->sync_us_min = 200;
    cluster->sync_us_max = 1500;
    cluster->checkpoint_us = 3000;
    cluster->wall_ms = WALL_MS;
    cluster->agreed = zeroed(CLUSTER_SEQ_MAX, sizeof *cluster->agreed);
    cluster->checkpoints = zeroed(CLUSTER_SEQ_MAX, sizeof *cluster->checkpoints);
    cluster->verified = zeroed(VERIFIED_MAX, sizeof *cluster->verified);
    cluster->trace_aloud = getenv("ONUS_TRACE") != NULL;
    last_words_of = cluster;
    CHECK(signal(SIGABRT, last_words) != SIG_ERR);
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        node_set_up(cluster, i);
    }
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        cluster_start(cluster, i);
    }
    return cluster;
}

void cluster_end(struct cluster *cluster) {
    watch_end(cluster);
    last_words_of = NULL;
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        struct node *const node = &cluster->nodes[i];
        node_release(node);
        disk_free(&node->disk);
        free(node->outbox);
        free(node->pre_prepares);
        free(node->prepares);
        free(node->nonces);
    }
    consortium_free(&cluster->consortium);
    free(cluster->heap);
    free(cluster->requests);
    free(cluster->replies);
    free(cluster->claims);
    free(cluster->canonical.items);
    free(cluster->agreed);
    free(cluster->checkpoints);
    free(cluster->verified);
    arena_free(&cluster->arena);
    free(cluster);
}
