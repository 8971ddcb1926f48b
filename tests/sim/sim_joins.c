/*
 * sim_joins: replicas that begin with a checkpoint (see simulation.h). One comes late, with a key
 * that never signed; or one loses its disk, and follows from then on. Where members change the
 * configuration, it may be one that they call in meanwhile, or have called in long ago. Whoever
 * serves it crashes, or it does, in the middle of any part; and so it does between the renames at
 * the end.
 *
 * All of it is drawn by a generator of its own, so that other faults stay what a seed made them.
 */
#include <stdio.h>

#include "tests/sim/simulation.h"

#define NOBODY CLUSTER_NODES_MAX
#define LIKELY_PERMILLE 350u
#define GROW_US 15000u
#define CRASHES_MAX 40u
#define JOIN_SEED UINT64_C(0x6a6f696e)

static bool is_possible(const struct simulation *simulation, uint32_t number) {
    const struct node *const node = &simulation->cluster->nodes[number];
    return node_is_correct(node) && number != simulation->restored && !simulation->plan.restores;
}

bool joins_are_likely(uint64_t seed) {
    struct prng prng;
    prng_init(&prng, seed ^ JOIN_SEED);
    return prng_chance(&prng, LIKELY_PERMILLE);
}

void joins_draw(struct simulation *simulation) {
    struct join_plan *const plan = &simulation->joins;
    struct cluster *const cluster = simulation->cluster;
    struct prng *const prng = &plan->prng;
    prng_init(prng, cluster->options.seed ^ JOIN_SEED);
    bool const is_likely = prng_chance(prng, LIKELY_PERMILLE); /* joins_are_likely said so, too */
    plan->late = NOBODY;
    plan->lost = NOBODY;
    uint32_t const node = (uint32_t)prng_below(prng, cluster->replica_count);
    bool const has_late = is_likely && prng_chance(prng, 500);
    bool const has_lost = is_likely;
    plan->at_step = (uint32_t)prng_between(prng, simulation->steps / 3, simulation->steps);
    plan->passes_window = prng_chance(prng, 300);
    plan->crash_permille = prng_chance(prng, 500) ? (uint32_t)prng_below(prng, 150) : 0;
    uint32_t const in_install = prng_chance(prng, 500) ? (uint32_t)prng_below(prng, 400) : 0;
    plan->lose_permille = prng_chance(prng, 300) ? (uint32_t)prng_below(prng, 300) : 0;
    if (!is_possible(simulation, node)) {
        return;
    }
    if (has_late) {
        plan->late = node;
        sim_say(simulation, "; %u comes late", node);
    } else if (has_lost && simulation->faulty_count < simulation->faulty_max) {
        plan->lost = node;
        simulation->faulty_count++;
        sim_say(simulation, "; %u loses its disk", node);
    } else {
        return;
    }
    plan->fills = true;
    cluster->crash_in_install_permille = in_install;
    sim_say(simulation, " at step %u%s, crash in a join %u, in an install %u, lose parts %u",
            plan->at_step, plan->passes_window ? " behind the window" : "", plan->crash_permille,
            in_install, plan->lose_permille);
}

/* One request of many calls, so that the state has several parts, or the window is left behind. */
static uint32_t submit_many(struct simulation *simulation, const char *verb, const char *value) {
    struct cluster *const cluster = simulation->cluster;
    char texts[CALLS_MAX][32];
    const char *calls[CALLS_MAX];
    for (uint32_t i = 0; i < CALLS_MAX; i++) {
        (void)snprintf(texts[i], sizeof texts[i], "%s many%u%s", verb, i, value);
        calls[i] = texts[i];
    }
    struct order const order = {.mode = REQUEST_ATOMIC,
                                .min_index = cluster->highest_index + 1,
                                .call_count = CALLS_MAX,
                                .calls = calls};
    return cluster_submit_order(cluster, 0, &order);
}

bool joins_pass_window(const struct simulation *simulation) {
    const struct join_plan *const plan = &simulation->joins;
    return plan->fills && plan->passes_window && plan->many < BATCH_CALLS_MAX / CALLS_MAX + 2;
}

/* One after the other: whoever waits for the last of so many transactions may wait too long. */
static void pass_window(struct simulation *simulation) {
    struct join_plan *const plan = &simulation->joins;
    bool const goes_on = plan->many == 0 || cluster_is_done(simulation->cluster, plan->last_many);
    /* What members say must not be left behind with it: one matter after the other. */
    if (goes_on && joins_pass_window(simulation) && !simulation->reform.is_open) {
        plan->many++;
        plan->last_many = submit_many(simulation, "kv.get", "");
    }
}

/* All who are there hear each other. */
static void bring_together(struct simulation *simulation) {
    struct cluster *const cluster = simulation->cluster;
    for (uint32_t from = 0; from < cluster->node_count; from++) {
        for (uint32_t to = 0; to < cluster->node_count; to++) {
            cluster_cut(cluster, from, to, false);
        }
        if (joins_may_start(simulation, from)) {
            cluster_start(cluster, from);
        }
    }
}

/* The newest configuration that anybody has entered. */
static const struct cluster_era *newest_era(const struct cluster *cluster) {
    uint32_t newest = 0;
    while (newest + 1 < CLUSTER_ERAS_MAX && cluster->eras[newest + 1].known) {
        newest++;
    }
    return &cluster->eras[newest];
}

/* Is there a checkpoint that is worth it, of the newest configuration? */
static bool has_grown(const struct cluster *cluster) {
    const struct cluster_era *const era = newest_era(cluster);
    uint64_t const interval = era->configuration.parameters.checkpoint_interval;
    return cluster->committed_seq >= era->start + 5 * interval;
}

/* Batches enough for a checkpoint to be worth it, if other faults let them come about. */
static void grow(struct simulation *simulation) {
    struct cluster *const cluster = simulation->cluster;
    uint64_t const interval = cluster->configuration->parameters.checkpoint_interval;
    /* Where members change things, others have piled up too: no more than can be worked off. */
    uint64_t const most = (cluster->charter == NULL ? 80 : 20) * interval;
    bring_together(simulation);
    for (uint64_t i = 0; i < most && !has_grown(cluster); i++) {
        const char *const call = "kv.put grown 1";
        struct order const order = {
            .min_index = cluster->highest_index + 1, .call_count = 1, .calls = &call};
        uint32_t const request = cluster_submit_order(cluster, 1, &order);
        cluster->requests[request].abandoned = true; /* it is only there to make a batch */
        pass_window(simulation);
        simulation_run_us(simulation, GROW_US);
    }
}

static void begin(struct simulation *simulation) {
    struct join_plan *const plan = &simulation->joins;
    struct cluster *const cluster = simulation->cluster;
    uint32_t const node = plan->late != NOBODY ? plan->late : plan->lost;
    grow(simulation);
    plan->has_begun = true;
    if (plan->late != NOBODY) {
        cluster->faults[FAULT_LATE_START]++;
        cluster_start(cluster, node);
        return;
    }
    cluster_crash(cluster, node);
    cluster->nodes[node].restored = true;
    cluster_lose_disk(cluster, node);
}

void joins_step(struct simulation *simulation, uint32_t step) {
    struct join_plan *const plan = &simulation->joins;
    if (!plan->fills) {
        return;
    }
    if (step == 0 && plan->late != NOBODY) {
        cluster_crash(simulation->cluster, plan->late); /* it has not begun to be anything */
    }
    if (step == 0) {
        (void)submit_many(simulation, "kv.put", " 1");
    }
    pass_window(simulation);
    if (step == plan->at_step && !plan->has_begun) {
        begin(simulation);
    }
}

bool joins_may_start(const struct simulation *simulation, uint32_t node) {
    return simulation->joins.late != node || simulation->joins.has_begun;
}

/* Is it about a checkpoint, or a range for whoever joins? */
static bool is_part(const struct simulation *simulation, const struct frame *frame) {
    const struct cluster *const cluster = simulation->cluster;
    if (frame->kind == MESSAGE_RANGE && frame->to < cluster->node_count) {
        return cluster->nodes[frame->to].join != NULL;
    }
    return (frame->kind >= MESSAGE_FETCH_CHECKPOINT && frame->kind <= MESSAGE_CHECKPOINT_ITEMS) ||
           (frame->kind == MESSAGE_CHAIN_QUERY && frame->from < CLUSTER_NODES_MAX) ||
           (frame->kind == MESSAGE_CHAIN_REPLY && frame->to < CLUSTER_NODES_MAX);
}

bool joins_see(struct simulation *simulation, const struct frame *frame) {
    struct join_plan *const plan = &simulation->joins;
    if (!plan->has_begun || plan->is_over || !is_part(simulation, frame)) {
        return true;
    }
    /* Who cannot join asks again and again: the service is to have some peace from that. */
    if (plan->crashes < CRASHES_MAX && prng_chance(&plan->prng, plan->crash_permille)) {
        plan->crashes++;
        uint32_t const victim = prng_chance(&plan->prng, 500) ? frame->from_node : frame->to;
        simulation->doomed |= UINT64_C(1) << victim;
    }
    if (prng_chance(&plan->prng, plan->lose_permille)) {
        simulation->cluster->faults[FAULT_DROP]++;
        return false;
    }
    return true;
}

void joins_heal(struct simulation *simulation) {
    struct join_plan *const plan = &simulation->joins;
    if (plan->fills && !plan->has_begun) {
        begin(simulation);
    }
    plan->is_over = true;
    simulation->cluster->crash_in_install_permille = 0;
}

void joins_judge(struct simulation *simulation) {
    struct cluster *const cluster = simulation->cluster;
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        const struct node *const node = &cluster->nodes[i];
        if (node->joins != 0 && node->up && !node->byzantine && !node->left_out) {
            watch_whole(cluster, i);
            watch_replay(cluster, i);
        }
    }
}
