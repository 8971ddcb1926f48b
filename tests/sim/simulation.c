/*
 * simulation: see simulation.h. What the seed draws first are the run's options, so that runs
 * differ in kind, not only in detail: some lose messages, some crash, some do both, some lie.
 */
#include "tests/sim/simulation.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/check.h"

#define LIVENESS_MS 300000u
#define CALM_MS 10000u
#define CALM_STEPS 8u
#define CALM_TRIES 8u
#define SPARES_MAX 6u

const char *fault_name(enum fault fault) {
    static const char *const names[FAULT_COUNT] = {
        [FAULT_DROP] = "drops",
        [FAULT_DUPLICATE] = "duplicates",
        [FAULT_REPLAY] = "replays",
        [FAULT_CUT] = "cuts",
        [FAULT_CRASH] = "crashes",
        [FAULT_STOP] = "stops",
        [FAULT_PAUSE] = "pauses",
        [FAULT_CLOCK] = "clock jumps",
        [FAULT_DISK_SLOW] = "slow disks",
        [FAULT_DISK_FULL] = "full disks",
        [FAULT_DISK_ERROR] = "failed syncs",
        [FAULT_RESTORE] = "restored disks",
        [FAULT_FLIPPED_BIT] = "flipped bits",
        [FAULT_MISDIRECTED_WRITE] = "misdirected writes",
        [FAULT_LIE] = "lies",
        [FAULT_LOST_DISK] = "lost disks",
        [FAULT_LATE_START] = "late starts",
        [FAULT_JOIN] = "joins",
        [FAULT_JOIN_LATER] = "later joins",
    };
    return names[fault];
}

void sim_say(struct simulation *simulation, const char *format, ...) {
    char *const drawn = simulation->result->drawn;
    size_t const size = strlen(drawn);
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(drawn + size, SIM_TEXT_SIZE - size, format, arguments);
    va_end(arguments);
}

/* ---- options ---- */

static uint32_t draw_replicas(struct simulation *simulation, const struct sim_options *options) {
    static const uint8_t counts[] = {4, 4, 4, 4, 4, 5, 5, 6, 7, 7, 7, 10};
    if (options->replicas != 0) {
        return options->replicas;
    }
    return counts[prng_below(&simulation->prng, sizeof counts)];
}

static uint32_t draw_byzantine(struct simulation *simulation, const struct sim_options *options,
                               uint32_t replicas) {
    uint32_t const most = configuration_faults_max(replicas);
    uint32_t const count = options->byzantine != SIM_DRAWN       ? options->byzantine
                           : prng_chance(&simulation->prng, 450) ? 0
                                                                 : most;
    CHECK(count <= most);
    return count;
}

/* Any of the replicas; the first ones more often, for they lead the first views. */
static uint32_t draw_set(struct prng *prng, uint32_t replicas, uint32_t count) {
    uint32_t set = 0;
    while ((uint32_t)__builtin_popcount(set) < count) {
        uint32_t const range = prng_chance(prng, 500) ? count + 1 : replicas;
        set |= 1u << prng_below(prng, range);
    }
    return set;
}

static uint32_t draw_twins(struct prng *prng, uint32_t byzantine, uint32_t replicas) {
    uint32_t twins = 0;
    uint32_t room = CLUSTER_NODES_MAX - 1 - replicas; /* one node is for watch_replay */
    if (!prng_chance(prng, 400)) {
        return 0;
    }
    for (uint32_t i = 0; i < replicas; i++) {
        if ((byzantine >> i & 1) != 0 && room > 0 && prng_chance(prng, 700)) {
            twins |= 1u << i;
            room--;
        }
    }
    return twins;
}

/* Nodes that may be called in later. Where anybody lies, some of them do, or will. */
static void draw_spares(struct simulation *simulation, struct cluster_options *drawn,
                        uint32_t byzantine) {
    struct prng *const prng = &simulation->prng;
    uint32_t const room = CLUSTER_NODES_MAX - 1 - drawn->replica_count;
    drawn->spares = (uint32_t)prng_between(prng, 1, room < SPARES_MAX ? room : SPARES_MAX);
    for (uint32_t i = 0; i < drawn->spares; i++) {
        bool const lies = byzantine != 0 && prng_chance(prng, 350);
        drawn->byzantine |= lies ? 1u << drawn->replica_count : 0;
        drawn->replica_count++;
    }
}

static void open_cluster(struct simulation *simulation, const struct sim_options *options) {
    struct prng *const prng = &simulation->prng;
    uint32_t const replicas = draw_replicas(simulation, options);
    uint32_t const byzantine = draw_byzantine(simulation, options, replicas);
    uint32_t const pipeline = (uint32_t)prng_between(prng, 1, 6);
    struct cluster_options drawn = {
        .replica_count = replicas,
        .seed = options->seed,
        .pipeline = pipeline,
        .checkpoint_interval = 2 * pipeline + prng_between(prng, 1, 12),
        .byzantine = draw_set(prng, replicas, byzantine),
        .sessions = options->reforms ? options->seed % 2 == 0 : prng_chance(prng, 800),
        .governed = options->reforms,
        .events_max = SIM_EVENTS_MAX,
    };
    uint64_t const interval_min = checkpoint_interval_min(pipeline);
    if (joins_are_likely(options->seed) || drawn.checkpoint_interval < interval_min) {
        drawn.checkpoint_interval = interval_min;
    }
    if (options->reforms) {
        draw_spares(simulation, &drawn, byzantine);
    }
    drawn.twins = draw_twins(prng, drawn.byzantine, drawn.replica_count);
    drawn.cheap_signatures = !sim_signs_in_earnest(options);
    simulation->result->replicas = replicas;
    simulation->result->byzantine = (uint32_t)__builtin_popcount(drawn.byzantine);
    simulation->result->real_signatures = !drawn.cheap_signatures;
    simulation->faulty_max = configuration_faults_max(replicas);
    simulation->faulty_count = byzantine;
    sim_say(simulation, "replicas %u, pipeline %u, checkpoints every %llu, byzantine %x, twins %x",
            replicas, pipeline, (unsigned long long)drawn.checkpoint_interval, drawn.byzantine,
            drawn.twins);
    if (drawn.spares != 0) {
        sim_say(simulation, ", spares %u", drawn.spares);
    }
    sim_say(simulation, "%s%s", drawn.sessions ? ", sessions" : "",
            drawn.cheap_signatures ? "" : ", real signatures");
    simulation->cluster = cluster_new(&drawn);
}

static void draw_load(struct simulation *simulation) {
    static const uint64_t step_us[] = {5000, 30000, 120000, 600000, 2500000};
    struct prng *const prng = &simulation->prng;
    simulation->careless_permille = prng_chance(prng, 300) ? (uint32_t)prng_below(prng, 1000) : 0;
    simulation->rude_permille = prng_chance(prng, 200) ? (uint32_t)prng_below(prng, 500) : 0;
    simulation->submit_max = (uint32_t)prng_between(prng, 1, 6);
    simulation->keys = (uint32_t)prng_between(prng, 1, 20);
    simulation->steps = (uint32_t)prng_between(prng, 20, prng_chance(prng, 300) ? 400 : 90);
    simulation->step_us_max = step_us[prng_below(prng, sizeof step_us / sizeof step_us[0])];
    sim_say(simulation, "; %u steps of up to %llu ms, up to %u requests each, careless %u, rude %u",
            simulation->steps, (unsigned long long)(simulation->step_us_max / 1000),
            simulation->submit_max, simulation->careless_permille, simulation->rude_permille);
}

/* ---- requests ---- */

static void make_call(struct simulation *simulation, char *text, size_t size) {
    struct prng *const prng = &simulation->prng;
    unsigned const key = (unsigned)prng_below(prng, simulation->keys);
    unsigned const value = (unsigned)prng_below(prng, 10);
    unsigned const kind = (unsigned)prng_below(prng, 4);
    if (kind == 0) {
        (void)snprintf(text, size, "kv.put k%u %u", key, value);
    } else if (kind == 1) {
        (void)snprintf(text, size, "kv.get k%u", key);
    } else if (kind == 2) {
        (void)snprintf(text, size, "kv.delete k%u", key);
    } else {
        (void)snprintf(text, size, "kv.cas k%u %u %u", key, value, value + 1);
    }
}

static void submit_one(struct simulation *simulation) {
    struct cluster *const cluster = simulation->cluster;
    struct prng *const prng = &simulation->prng;
    char texts[3][64];
    const char *calls[3];
    uint32_t const count = prng_chance(prng, 200) ? 3 : 1;
    bool const is_early = prng_chance(prng, 50); /* its time may never come */
    uint64_t const next = cluster->highest_index + 1;
    for (uint32_t i = 0; i < count; i++) {
        make_call(simulation, texts[i], sizeof texts[i]);
        calls[i] = texts[i];
    }
    struct order const order = {
        .mode = prng_chance(prng, 500) ? REQUEST_ATOMIC : REQUEST_INDEPENDENT,
        .min_index = is_early ? next + prng_below(prng, 40)
                     : prng_chance(prng, 300) || simulation->joins.passes_window ? next
                                                                                 : 0,
        .call_count = count,
        .calls = calls,
    };
    uint32_t const client = (uint32_t)prng_below(prng, CLUSTER_CLIENTS);
    if (!prng_chance(prng, simulation->careless_permille)) {
        uint32_t const made = cluster_submit_order(cluster, client, &order);
        cluster->requests[made].abandoned = is_early;
        return;
    }
    /* A client that tells only some replicas, and is gone. */
    uint32_t const request = cluster_prepare_order(cluster, client, &order);
    cluster->requests[request].abandoned = true;
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        if (prng_chance(prng, 500)) {
            cluster_send_request(cluster, request, i);
        }
    }
}

/*
 * A client that sends an old request of another again, as it was or damaged. Not one of its own:
 * who is told on its own connection that its signature is none gives up, and nobody else would know
 * why.
 */
static void be_rude(struct simulation *simulation) {
    struct cluster *const cluster = simulation->cluster;
    struct prng *const prng = &simulation->prng;
    struct buffer rubbish;
    if (cluster->request_count == 0) {
        return;
    }
    const struct client_request *const request =
        &cluster->requests[prng_below(prng, cluster->request_count)];
    uint32_t const rude = (request->client + 1) % CLUSTER_CLIENTS;
    buffer_init(&rubbish, REQUEST_SIZE_MAX);
    CHECK(buffer_append(&rubbish, request->bytes));
    if (prng_chance(prng, 700)) {
        rubbish.data[prng_below(prng, rubbish.size)] ^= (uint8_t)(1u << prng_below(prng, 8));
    }
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        send_from_client(cluster, rude, i, MESSAGE_REQUEST, buffer_span(&rubbish));
    }
    buffer_free(&rubbish);
}

static void submit_some(struct simulation *simulation, uint32_t most) {
    uint32_t const count = (uint32_t)prng_below(&simulation->prng, most + 1);
    for (uint32_t i = 0; i < count; i++) {
        submit_one(simulation);
    }
}

/* ---- the network, as far as it is not the cluster's own ---- */

bool simulation_filter(void *context, struct cluster *cluster, const struct frame *frame) {
    struct simulation *const simulation = context;
    const struct fault_plan *const plan = &simulation->plan;
    liars_see(simulation, frame);
    faults_see(simulation, frame);
    if (!joins_see(simulation, frame)) {
        return false;
    }
    if (frame->kind < 64 && (plan->lose_kinds >> frame->kind & 1) != 0 &&
        prng_chance(&simulation->prng, plan->lose_kind_permille)) {
        cluster->faults[FAULT_DROP]++;
        return false;
    }
    if (frame->kind == MESSAGE_NEW_VIEW && simulation->lone_view_to < CLUSTER_NODES_MAX &&
        frame->to != simulation->lone_view_to) {
        cluster->faults[FAULT_DROP]++;
        return false;
    }
    return liar_filter(simulation, frame);
}

/* ---- phases ---- */

void simulation_run_us(struct simulation *simulation, uint64_t us) {
    struct cluster *const cluster = simulation->cluster;
    uint64_t const end_us = cluster->now_us + us;
    while (cluster_run_one(cluster, end_us)) {
        faults_between(simulation);
    }
    cluster->now_us = end_us;
}

static void run_unsafe(struct simulation *simulation) {
    for (uint32_t step = 0; step < simulation->steps; step++) {
        submit_some(simulation, simulation->submit_max);
        if (prng_chance(&simulation->prng, simulation->rude_permille)) {
            be_rude(simulation);
        }
        faults_step(simulation);
        joins_step(simulation, step);
        liars_step(simulation);
        reforming_step(simulation);
        simulation_run_us(simulation,
                          prng_between(&simulation->prng, 100, simulation->step_us_max));
    }
}

static uint32_t count_correct(const struct cluster *cluster) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        count += node_is_correct(&cluster->nodes[i]) && cluster->nodes[i].up &&
                 !cluster->nodes[i].left_out;
    }
    return count;
}

/* A while under load. Returns: whether the view stayed what it was. */
static bool is_calm(struct simulation *simulation) {
    struct cluster *const cluster = simulation->cluster;
    uint64_t const view = cluster->highest_view;
    for (uint32_t i = 0; i < CALM_STEPS; i++) {
        submit_some(simulation, 2);
        cluster_run_ms(cluster, CALM_MS / CALM_STEPS);
    }
    cluster_run_until_done(cluster, LIVENESS_MS);
    return cluster->highest_view == view;
}

/* What the faults left behind may cost a view or two more; then it must be over. */
static void expect_calm(struct simulation *simulation) {
    const struct cluster *const cluster = simulation->cluster;
    uint64_t const view = cluster->highest_view;
    for (uint32_t i = 0; i < CALM_TRIES; i++) {
        if (is_calm(simulation)) {
            return;
        }
    }
    cluster_fail(cluster, "the view goes on from %llu to %llu although enough is well",
                 (unsigned long long)view, (unsigned long long)cluster->highest_view);
}

void simulation_expect_level(struct simulation *simulation) {
    struct cluster *const cluster = simulation->cluster;
    const char *const call = "kv.put level 1";
    struct order const order = {.call_count = 1, .calls = &call};
    if (!simulation->liars_rest && simulation->result->byzantine != 0 &&
        !cluster_becomes_level(cluster, LIVENESS_MS / 2)) {
        (void)cluster_submit_order(cluster, 0, &order);
        cluster_run_until_done(cluster, LIVENESS_MS);
    }
    cluster_run_until_level(cluster, LIVENESS_MS);
}

/* What is pending gets its receipt; and views do not change for ever. */
static void run_lively(struct simulation *simulation) {
    struct cluster *const cluster = simulation->cluster;
    bool const all = prng_chance(&simulation->prng, 700) || cluster->charter != NULL;
    simulation->liars_rest = prng_chance(&simulation->prng, 400);
    if (simulation->liars_rest) {
        liars_pause(simulation);
    }
    joins_heal(simulation);
    faults_heal(simulation, all);
    cluster_trace(cluster, "%u correct ones heal%s", count_correct(cluster),
                  simulation->liars_rest ? ", liars rest" : "");
    reforming_end(simulation);
    cluster_run_until_done(cluster, LIVENESS_MS);
    submit_some(simulation, 3);
    cluster_run_until_done(cluster, LIVENESS_MS);
    simulation_expect_level(simulation);
    cluster_run_until_whole(cluster, LIVENESS_MS);
    expect_calm(simulation);
    simulation_expect_level(simulation);
    joins_judge(simulation);
}

/* Clients that ask for their receipts out of the ledgers get what they have. */
static void ask_again(struct simulation *simulation) {
    struct cluster *const cluster = simulation->cluster;
    for (uint32_t i = 0; i < cluster->request_count; i++) {
        uint32_t const node = (uint32_t)prng_below(&simulation->prng, cluster->node_count);
        if (cluster->requests[i].done && prng_chance(&simulation->prng, 200)) {
            cluster_query_receipt(cluster, i, node);
        }
    }
    cluster_run_ms(cluster, 2000);
}

void simulation_finish(struct simulation *simulation) {
    struct cluster *const cluster = simulation->cluster;
    struct sim_result *const result = simulation->result;
    result->events = cluster->events;
    result->batches = cluster->committed_seq;
    result->requests = cluster->request_count;
    for (uint32_t i = 0; i < CLUSTER_ERAS_MAX; i++) {
        result->views += cluster->eras[i].views;
    }
    result->recoveries = cluster->recoveries;
    result->judgements = cluster->judgements;
    result->receipts = cluster->receipts_verified;
    result->simulated_ms = cluster->now_us / 1000;
    memcpy(result->faults, cluster->faults, sizeof result->faults);
    result->trace_hash = cluster_trace_hash(cluster);
    cluster_free(cluster);
    cluster_leave_words_in(NULL, 0);
    result->finished = true;
}

void simulation_run(struct sim_result *result, const struct sim_options *options) {
    struct simulation simulation = {
        .result = result, .restored = CLUSTER_NODES_MAX, .lone_view_to = CLUSTER_NODES_MAX};
    cluster_leave_words_in(result->reason, sizeof result->reason);
    prng_init(&simulation.prng, options->seed ^ UINT64_C(0x6f6e7573));
    open_cluster(&simulation, options);
    draw_load(&simulation);
    faults_draw(&simulation);
    liars_draw(&simulation);
    joins_draw(&simulation);
    reforming_draw(&simulation);
    simulation.cluster->filter = simulation_filter;
    simulation.cluster->filter_context = &simulation;
    run_unsafe(&simulation);
    run_lively(&simulation);
    ask_again(&simulation);
    watch_end(simulation.cluster);
    simulation_audit(&simulation);
    simulation_finish(&simulation);
}
