/*
 * cluster: see cluster.h. Events wait in a heap ordered by time and by when they were made, so
 * that two events of one moment never depend on anything but the run itself. Each node's next tick
 * stands beside the heap, since it moves with every step; so do those of the clients.
 */
#include "tests/sim/cluster.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "tests/sim/second_verifier.h"
#include "tests/sim/signing.h"

#define ARENA_BUDGET ((size_t)4 << 30)
#define WALL_MS INT64_C(1750000000000)

/* ---- trace ---- */

void cluster_trace(struct cluster *cluster, const char *format, ...) {
    char *const line = cluster->trace[cluster->trace_count++ % TRACE_LINES];
    uint64_t const now = cluster->now_us;
    int const size = snprintf(line, TRACE_LINE_SIZE, "%5llu.%03llu ms  ",
                              (unsigned long long)(now / 1000), (unsigned long long)(now % 1000));
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
static char *words_text;
static size_t words_size;

void cluster_leave_words_in(char *text, size_t size) {
    words_text = text;
    words_size = size;
}

/*
 * Nothing but this process's own abort raises the signal, and the process ends after it: that the
 * standard library is not meant for signal handlers does not matter here.
 */
static void last_words(int number) {
    const struct cluster *const cluster = last_words_of;
    (void)number;
    if (cluster != NULL && !cluster->trace_aloud) {
        uint64_t const count = cluster->trace_count;
        for (uint64_t i = count > TRACE_LINES ? count - TRACE_LINES : 0; i < count; i++) {
            (void)fprintf(stderr, "%s\n", /* NOLINT(bugprone-signal-handler) */
                          cluster->trace[i % TRACE_LINES]);
        }
    }
    if (cluster != NULL) {
        (void)fprintf(stderr, "seed %llu, %.3f ms\n", (unsigned long long)cluster->options.seed,
                      (double)cluster->now_us / 1000);
    }
}

void cluster_fail(const struct cluster *cluster, const char *format, ...) {
    char text[512];
    int const size = snprintf(text, sizeof text, "%.3f ms: ", (double)cluster->now_us / 1000);
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text + size, sizeof text - (size_t)size, format, arguments);
    va_end(arguments);
    (void)fprintf(stderr, "%s\n", text);
    if (words_text != NULL) {
        (void)snprintf(words_text, words_size, "%s", text);
    }
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

void *cluster_zeroed(size_t count, size_t size) {
    void *const memory = calloc(count, size);
    CHECK(memory != NULL);
    return memory;
}

void list_reserve(void *items, uint64_t count, uint64_t *capacity, size_t item_size) {
    if (count < *capacity) {
        return;
    }
    *capacity = *capacity == 0 ? 16 : 2 * *capacity;
    void *old = NULL;
    memcpy(&old, items, sizeof old);
    void *const grown = realloc(old, *capacity * item_size);
    CHECK(grown != NULL);
    memcpy(items, &grown, sizeof grown);
}

/* ---- parcels ---- */

struct parcel *parcel_new(struct span bytes) {
    struct parcel *const parcel = malloc(sizeof *parcel + bytes.size);
    CHECK(parcel != NULL);
    parcel->holders = 1;
    parcel->size = bytes.size;
    if (bytes.size != 0) {
        memcpy(parcel->bytes, bytes.data, bytes.size);
    }
    return parcel;
}

struct parcel *parcel_hold(struct parcel *parcel) {
    parcel->holders++;
    return parcel;
}

void parcel_drop(struct parcel *parcel) {
    if (parcel != NULL && --parcel->holders == 0) {
        free(parcel);
    }
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

/* ---- signatures: each paid for once ---- */

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
    cluster->checks_done++;
    if (cluster->options.cheap_signatures) {
        return sign_verify(&cluster->configuration->service, check);
    }
    struct digest const key = check_key(check);
    struct digest *const cell = &cluster->verified[load_u32_be(key.bytes) % VERIFIED_MAX];
    if (digest_equal(cell, &key)) {
        return true;
    }
    if (!sign_verify(&cluster->configuration->service, check)) {
        return false;
    }
    *cell = key;
    return true;
}

/* ---- running ---- */

bool node_is_correct(const struct node *node) {
    return !node->byzantine && !node->puppet && !node->restored;
}

/* Events of a process that is stopped wait, in order, until it goes on. */
static bool waits_for_pause(struct cluster *cluster, const struct node *node,
                            const struct sim_event *event) {
    if (node == NULL || node->paused_until_us <= cluster->now_us) {
        return false;
    }
    struct sim_event later = *event;
    later.at_us = node->paused_until_us;
    later.parcel = event->parcel == NULL ? NULL : parcel_hold(event->parcel);
    cluster_schedule(cluster, &later);
    return true;
}

static void take_frame(struct cluster *cluster, const struct sim_event *event) {
    struct span const payload = span_of(event->parcel->bytes, event->parcel->size);
    if (event->kind == SIM_TO_CLIENT) {
        client_take(cluster, event->node, event->from, event->message, payload);
    } else if (event->from >= CLUSTER_NODES_MAX) {
        node_take_client_frame(cluster, event->node, event->from - CLUSTER_NODES_MAX,
                               event->message, payload);
    } else {
        node_take_frame(cluster, event->node, event->from, event->message, payload);
    }
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
    if (is_for_nobody || is_stale || waits_for_pause(cluster, node, event)) {
        return;
    }
    switch (event->kind) {
    case SIM_FRAME:
    case SIM_HAND_OVER:
    case SIM_TO_CLIENT:
        take_frame(cluster, event);
        return;
    case SIM_SYNCED:
        node_synced(cluster, event->node);
        return;
    case SIM_VERIFIED:
        node_step(cluster, event->node, &verified);
        return;
    case SIM_CHECKPOINT:
        node_checkpointed(cluster, event->node);
        return;
    case SIM_RETRY:
        client_retry(cluster, event->node);
        return;
    case SIM_JOIN_STORED:
        join_stored(cluster, event->node);
        return;
    case SIM_JOIN_TAKEN:
        join_taken(cluster, event->node, event->number, event->good);
        return;
    }
}

static uint64_t tick_due(const struct node *node) {
    uint64_t const due = node->tick_us < node->join_due_us ? node->tick_us : node->join_due_us;
    return due > node->paused_until_us ? due : node->paused_until_us;
}

/* The node whose tick comes first, or node_count. */
static uint32_t next_tick(const struct cluster *cluster, uint64_t before_us) {
    uint32_t chosen = cluster->node_count;
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        const struct node *const node = &cluster->nodes[i];
        uint64_t const due = tick_due(node);
        if (node->up && !node->puppet && due < before_us) {
            chosen = i;
            before_us = due;
        }
    }
    return chosen;
}

static void advance(struct cluster *cluster, uint64_t at_us) {
    cluster->now_us = at_us > cluster->now_us ? at_us : cluster->now_us;
    cluster->events++;
    if (cluster->events == cluster->options.events_max) {
        cluster_fail(cluster, "%llu events, and no end", (unsigned long long)cluster->events);
    }
}

bool cluster_run_one(struct cluster *cluster, uint64_t end_us) {
    uint64_t const event_us = cluster->heap_count == 0 ? UINT64_MAX : cluster->heap[0].at_us;
    uint64_t const session_us = sessions_deadline_us(cluster);
    uint64_t const first_us = session_us < event_us ? session_us : event_us;
    uint32_t const ticking = next_tick(cluster, first_us);
    if (ticking < cluster->node_count) {
        uint64_t const due = tick_due(&cluster->nodes[ticking]);
        if (due > end_us) {
            return false;
        }
        advance(cluster, due);
        node_tick(cluster, ticking);
        return true;
    }
    if (first_us > end_us) {
        return false;
    }
    advance(cluster, first_us);
    if (session_us < event_us) {
        sessions_tick(cluster);
    } else {
        struct sim_event const event = heap_take(cluster);
        dispatch(cluster, &event);
        parcel_drop(event.parcel);
    }
    return true;
}

void cluster_run_ms(struct cluster *cluster, uint64_t ms) {
    uint64_t const end_us = cluster->now_us + ms * 1000;
    while (cluster_run_one(cluster, end_us)) {
    }
    cluster->now_us = end_us;
}

/* Its window has passed: if it was not executed by now, it never will be. */
static bool is_too_old(const struct cluster *cluster, const struct client_request *request) {
    return request->request.min_index + cluster->configuration->parameters.window <=
           cluster->highest_index + request->request.call_count;
}

bool cluster_all_done(const struct cluster *cluster) {
    for (uint32_t i = 0; i < cluster->request_count; i++) {
        const struct client_request *const request = &cluster->requests[i];
        if (request->sent_us != 0 && !request->done && !request->abandoned &&
            !is_too_old(cluster, request)) {
            return false;
        }
    }
    return true;
}

void cluster_run_until_done(struct cluster *cluster, uint64_t ms) {
    uint64_t const end_us = cluster->now_us + ms * 1000;
    while (!cluster_all_done(cluster)) {
        if (!cluster_run_one(cluster, end_us)) {
            cluster_fail(cluster, "not all requests have their receipts after %llu ms",
                         (unsigned long long)ms);
        }
    }
}

static bool takes_part(const struct node *node) {
    return node->up && !node->puppet && !node->byzantine && !node->left_out;
}

static bool all_level(const struct cluster *cluster) {
    uint64_t highest = 0;
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        if (takes_part(&cluster->nodes[i])) {
            uint64_t const executed = cluster_status(cluster, i).executed_seq;
            highest = executed > highest ? executed : highest;
        }
    }
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        if (takes_part(&cluster->nodes[i]) && cluster_committed(cluster, i) < highest) {
            return false;
        }
    }
    return true;
}

bool cluster_becomes_level(struct cluster *cluster, uint64_t ms) {
    uint64_t const end_us = cluster->now_us + ms * 1000;
    while (!all_level(cluster)) {
        if (!cluster_run_one(cluster, end_us)) {
            return false;
        }
    }
    return true;
}

void cluster_run_until_level(struct cluster *cluster, uint64_t ms) {
    if (!cluster_becomes_level(cluster, ms)) {
        cluster_fail(cluster, "the nodes are not level after %llu ms", (unsigned long long)ms);
    }
}

static bool all_whole(const struct cluster *cluster) {
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        if (takes_part(&cluster->nodes[i]) && !join_is_whole(&cluster->nodes[i])) {
            return false;
        }
    }
    return true;
}

void cluster_run_until_whole(struct cluster *cluster, uint64_t ms) {
    uint64_t const end_us = cluster->now_us + ms * 1000;
    while (!all_whole(cluster)) {
        if (!cluster_run_one(cluster, end_us)) {
            cluster_fail(cluster, "a ledger does not begin with genesis after %llu ms",
                         (unsigned long long)ms);
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

static void node_set_up(struct cluster *cluster, uint32_t number, uint32_t id) {
    struct node *const at = &cluster->nodes[number];
    at->id = id;
    at->puppet = (cluster->options.puppets >> id & 1) != 0;
    at->byzantine = ((cluster->options.byzantine | cluster->options.twins) >> id & 1) != 0;
    buffer_init(&at->voice.last, FRAME_SIZE_MAX);
    struct entry const genesis = {.kind = ENTRY_GENESIS,
                                  .payload = buffer_span(&cluster->consortium.genesis_bytes)};
    entry_push(cluster, &at->disk.durable, &genesis);
    entry_push(cluster, &at->disk.live, &genesis);
}

static void nodes_set_up(struct cluster *cluster) {
    cluster->node_count = cluster->replica_count;
    for (uint32_t i = 0; i < cluster->replica_count; i++) {
        node_set_up(cluster, i, i);
    }
    for (uint32_t i = 0; i < cluster->replica_count; i++) {
        if ((cluster->options.twins >> i & 1) != 0) {
            CHECK(cluster->node_count < CLUSTER_NODES_MAX);
            node_set_up(cluster, cluster->node_count++, i);
        }
    }
}

struct cluster *cluster_new(const struct cluster_options *options) {
    struct cluster *const cluster = cluster_zeroed(1, sizeof *cluster);
    cluster->options = *options;
    cluster->replica_count = options->replica_count == 0 ? 4 : options->replica_count;
    CHECK(cluster->replica_count <= CLUSTER_NODES_MAX);
    prng_init(&cluster->prng, options->seed);
    arena_init(&cluster->arena, ARENA_BUDGET);
    signing_use_cheap(options->cheap_signatures);
    second_verifier_use(options->cheap_signatures ? signing_check_named : NULL);
    consortium_found(&cluster->consortium,
                     &(struct consortium_options){
                         .replica_count = cluster->replica_count - options->spares,
                         .pipeline = options->pipeline,
                         .checkpoint_interval =
                             options->checkpoint_interval == 0 ? 12 : options->checkpoint_interval,
                         .window = options->window,
                         .batch_calls_max = options->batch_calls_max,
                     });
    cluster->configuration = &cluster->consortium.configuration;
    cluster_charter_set_up(cluster);
    cluster->network.delay_us_min = 50;
    cluster->network.delay_us_max = 500;
    cluster->sync_us_min = 200;
    cluster->sync_us_max = 1500;
    cluster->checkpoint_us = 3000;
    cluster->wall_ms = WALL_MS;
    cluster->verified = cluster_zeroed(VERIFIED_MAX, sizeof *cluster->verified);
    cluster->trace_aloud = getenv("ONUS_TRACE") != NULL;
    last_words_of = cluster;
    CHECK(signal(SIGABRT, last_words) != SIG_ERR);
    nodes_set_up(cluster);
    sessions_open(cluster);
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        cluster_start(cluster, i);
    }
    return cluster;
}

static void parcels_free(struct cluster *cluster) {
    for (uint32_t i = 0; i < cluster->heap_count; i++) {
        parcel_drop(cluster->heap[i].parcel);
    }
    for (uint32_t i = 0; i < REPLAYS_MAX; i++) {
        parcel_drop(cluster->network.old[i].parcel);
    }
}

void cluster_free(struct cluster *cluster) {
    last_words_of = NULL;
    sessions_close(cluster);
    parcels_free(cluster);
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        struct node *const node = &cluster->nodes[i];
        node_release(node);
        disk_free(&node->disk);
        buffer_free(&node->voice.last);
        outbox_clear(node);
        free(node->outbox);
    }
    cluster_charter_free(cluster);
    consortium_free(&cluster->consortium);
    table_free(&cluster->request_numbers);
    table_free(&cluster->client_batches);
    table_free(&cluster->receipts_seen);
    table_free(&cluster->checkpoints);
    table_free(&cluster->said);
    table_free(&cluster->secrets);
    entry_list_free(&cluster->canonical);
    free(cluster->heap);
    free(cluster->requests);
    free(cluster->receipts);
    free(cluster->batches);
    free(cluster->claims);
    free(cluster->agreed);
    free(cluster->verified);
    arena_free(&cluster->arena);
    signing_use_cheap(false);
    second_verifier_use(NULL);
    free(cluster);
}

void cluster_end(struct cluster *cluster) {
    watch_end(cluster);
    cluster_free(cluster);
}
