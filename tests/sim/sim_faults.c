/*
 * sim_faults: what goes wrong in a simulated cluster without anybody's malice (see simulation.h):
 * network, disks, processes, clocks. Each run draws which kinds are on, and how strong.
 */
#include "base/check.h"
#include "tests/sim/simulation.h"

#define NOBODY CLUSTER_NODES_MAX

/* ---- the plan ---- */

/* A strength from 1 to most, in `permille` of all runs; otherwise 0. */
static uint32_t draw(struct simulation *simulation, uint32_t permille, uint32_t most,
                     const char *what) {
    if (!prng_chance(&simulation->prng, permille)) {
        return 0;
    }
    uint32_t const strength = (uint32_t)prng_between(&simulation->prng, 1, most);
    sim_say(simulation, ", %s %u", what, strength);
    return strength;
}

static void draw_network(struct simulation *simulation) {
    struct network *const network = &simulation->cluster->network;
    struct fault_plan *const plan = &simulation->plan;
    struct prng *const prng = &simulation->prng;
    network->drop_permille = draw(simulation, 500, 150, "drop");
    network->duplicate_permille = draw(simulation, 400, 150, "duplicate");
    network->replay_permille = draw(simulation, 300, 60, "replay");
    network->client_drop_permille = draw(simulation, 300, 200, "client drop");
    network->reorder = prng_chance(prng, 500);
    network->delay_us_max =
        network->delay_us_min + prng_between(prng, 100, prng_chance(prng, 200) ? 60000 : 3000);
    plan->cut_permille = draw(simulation, 500, 250, "cut");
    plan->flap_permille = draw(simulation, 200, 500, "flap");
    plan->heal_permille = (uint32_t)prng_between(prng, 50, 500);
    plan->lose_kind_permille = draw(simulation, 250, 900, "lose kinds");
    for (uint32_t kind = 1; kind <= MESSAGE_NEW_VIEW; kind++) {
        if (plan->lose_kind_permille != 0 && prng_chance(prng, 250)) {
            plan->lose_kinds |= UINT64_C(1) << kind;
        }
    }
    plan->lone_new_view_permille = draw(simulation, 250, 1000, "lone new-view");
    sim_say(simulation, ", delay %llu us%s", (unsigned long long)network->delay_us_max,
            network->reorder ? ", reorder" : "");
}

static void draw_processes(struct simulation *simulation) {
    struct fault_plan *const plan = &simulation->plan;
    plan->crash_permille = draw(simulation, 550, 300, "crash");
    plan->crash_all_permille = draw(simulation, 400, 300, "of all");
    plan->start_permille = (uint32_t)prng_between(&simulation->prng, 30, 600);
    plan->stop_permille = draw(simulation, 250, 150, "stop");
    plan->pause_permille = draw(simulation, 300, 150, "pause");
    plan->pause_us_max = prng_chance(&simulation->prng, 300) ? 120000000 : 5000000;
    plan->clock_permille = draw(simulation, 200, 150, "clock");
    plan->crash_in_view_permille = draw(simulation, 250, 40, "crash in a change of view");
    plan->crash_in_tail_permille = draw(simulation, 300, 600, "crash in a new tail");
    plan->at_primary_permille = draw(simulation, 600, 900, "at the primary");
}

static void draw_disks(struct simulation *simulation) {
    struct fault_plan *const plan = &simulation->plan;
    struct cluster *const cluster = simulation->cluster;
    struct prng *const prng = &simulation->prng;
    cluster->sync_us_max =
        cluster->sync_us_min + prng_between(prng, 100, prng_chance(prng, 200) ? 50000 : 3000);
    cluster->checkpoint_us = prng_between(prng, 100, prng_chance(prng, 300) ? 400000 : 5000);
    plan->slow_disk_permille = draw(simulation, 250, 150, "slow disk");
    plan->full_disk_permille = draw(simulation, 200, 100, "full disk");
    plan->disk_error_permille = draw(simulation, 200, 100, "disk error");
    plan->slow_checkpoint_permille = draw(simulation, 200, 150, "slow checkpoint");
    plan->restores = simulation->faulty_count < simulation->faulty_max && prng_chance(prng, 150);
    plan->restores_ledger = prng_chance(prng, 700);
    plan->restores_journal = !plan->restores_ledger || prng_chance(prng, 500);
    if (plan->restores) {
        sim_say(simulation, ", restores%s%s", plan->restores_ledger ? " ledger" : "",
                plan->restores_journal ? " journal" : "");
    }
}

void faults_draw(struct simulation *simulation) {
    draw_network(simulation);
    draw_processes(simulation);
    draw_disks(simulation);
}

/* ---- choosing ---- */

static uint32_t any_node(struct simulation *simulation) {
    struct cluster *const cluster = simulation->cluster;
    if (prng_chance(&simulation->prng, simulation->plan.at_primary_permille)) {
        uint64_t const view = cluster_view_of(cluster->highest_view);
        return cluster_primary(cluster, cluster_config_of(cluster->highest_view), view);
    }
    return (uint32_t)prng_below(&simulation->prng, cluster->node_count);
}

/* ---- processes ---- */

static void crash_some(struct simulation *simulation) {
    struct cluster *const cluster = simulation->cluster;
    uint32_t const first = any_node(simulation);
    bool const all = prng_chance(&simulation->prng, simulation->plan.crash_all_permille);
    bool const some = all && prng_chance(&simulation->prng, 300);
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        if (i == first || (all && (!some || prng_chance(&simulation->prng, 500)))) {
            cluster_crash(cluster, i);
        }
    }
}

/* Is a new tail of its ledger on its way to the disk? */
static bool replaces_tail(const struct sim_disk *disk) {
    for (uint32_t i = 0; i < disk->op_count; i++) {
        if (disk->ops[i].kind == DISK_TRUNCATE) {
            return true;
        }
    }
    return false;
}

void faults_see(struct simulation *simulation, const struct frame *frame) {
    const struct fault_plan *const plan = &simulation->plan;
    bool const is_about_views =
        frame->kind == MESSAGE_VIEW_CHANGE || frame->kind == MESSAGE_NEW_VIEW;
    if (is_about_views && prng_chance(&simulation->prng, plan->crash_in_view_permille)) {
        uint32_t const victim = prng_chance(&simulation->prng, 500) ? frame->from_node : frame->to;
        simulation->doomed |= UINT64_C(1) << victim;
    }
}

/* A copy that was made with care: of a replica that does not run. */
static void copy_ended(struct simulation *simulation) {
    struct node *const node = &simulation->cluster->nodes[simulation->restored];
    if (!node->up && !node->restored) {
        simulation->copies_at_end = false;
        disk_copy_take(&node->disk);
    }
}

void faults_between(struct simulation *simulation) {
    struct cluster *const cluster = simulation->cluster;
    if (simulation->copies_at_end) {
        copy_ended(simulation);
    }
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        struct node *const node = &cluster->nodes[i];
        if (node->up && node->tail_seen_us == 0 && replaces_tail(&node->disk)) {
            node->tail_seen_us = cluster->now_us;
            if (prng_chance(&simulation->prng, simulation->plan.crash_in_tail_permille)) {
                simulation->doomed |= UINT64_C(1) << i;
            }
        } else if (node->tail_seen_us != 0 && !replaces_tail(&node->disk)) {
            node->tail_seen_us = 0;
        }
        if ((simulation->doomed >> i & 1) != 0 && prng_chance(&simulation->prng, 300)) {
            simulation->doomed &= ~(UINT64_C(1) << i);
            cluster_crash(cluster, i);
        }
    }
}

static void start_some(struct simulation *simulation) {
    for (uint32_t i = 0; i < simulation->cluster->node_count; i++) {
        if (!simulation->cluster->nodes[i].up && joins_may_start(simulation, i) &&
            prng_chance(&simulation->prng, simulation->plan.start_permille)) {
            cluster_start(simulation->cluster, i);
        }
    }
}

static void processes_step(struct simulation *simulation) {
    const struct fault_plan *const plan = &simulation->plan;
    struct cluster *const cluster = simulation->cluster;
    struct prng *const prng = &simulation->prng;
    if (prng_chance(prng, plan->crash_permille)) {
        crash_some(simulation);
    }
    if (prng_chance(prng, plan->stop_permille)) {
        cluster_stop(cluster, any_node(simulation));
    }
    if (prng_chance(prng, plan->pause_permille)) {
        cluster_pause(cluster, any_node(simulation), prng_between(prng, 1000, plan->pause_us_max));
    }
    if (prng_chance(prng, plan->clock_permille)) {
        struct node *const node = &cluster->nodes[any_node(simulation)];
        cluster->faults[FAULT_CLOCK]++;
        node->wall_offset_ms =
            (int64_t)prng_below(prng, 7200000) - (prng_chance(prng, 500) ? 3600000 : 0);
    }
    start_some(simulation);
}

/* ---- network ---- */

/* Two sides that do not hear each other; or one that does not hear the other. */
static void split(struct simulation *simulation) {
    struct cluster *const cluster = simulation->cluster;
    bool const one_way = prng_chance(&simulation->prng, 300);
    uint64_t const side = prng_next(&simulation->prng);
    for (uint32_t from = 0; from < cluster->node_count; from++) {
        for (uint32_t to = 0; to < cluster->node_count; to++) {
            bool const from_side = (side >> from & 1) != 0;
            bool const to_side = (side >> to & 1) != 0;
            if (from_side != to_side && (!one_way || from_side)) {
                cluster_cut(cluster, from, to, true);
            }
        }
    }
    cluster_trace(cluster, "the network is split: %llx", (unsigned long long)side & 0xffff);
}

static void cut_some(struct simulation *simulation) {
    struct cluster *const cluster = simulation->cluster;
    uint32_t const from = any_node(simulation);
    uint32_t const to = any_node(simulation);
    uint32_t const kind = (uint32_t)prng_below(&simulation->prng, 4);
    if (kind == 0) {
        cluster_isolate(cluster, from, true);
    } else if (kind == 1) {
        split(simulation);
    } else if (kind == 2) { /* it hears everybody, and nobody hears it; or the other way round */
        bool const mute = prng_chance(&simulation->prng, 500);
        for (uint32_t i = 0; i < cluster->node_count; i++) {
            if (i != from) {
                cluster_cut(cluster, mute ? from : i, mute ? i : from, true);
            }
        }
    } else if (from != to) {
        cluster_cut(cluster, from, to, true);
    }
}

static void heal_links(struct simulation *simulation) {
    struct cluster *const cluster = simulation->cluster;
    bool const all = prng_chance(&simulation->prng, 500);
    for (uint32_t from = 0; from < cluster->node_count; from++) {
        for (uint32_t to = 0; to < cluster->node_count; to++) {
            if (cluster->network.cut[from][to] && (all || prng_chance(&simulation->prng, 400))) {
                cluster_cut(cluster, from, to, false);
            }
        }
    }
}

static void network_step(struct simulation *simulation) {
    const struct fault_plan *const plan = &simulation->plan;
    struct cluster *const cluster = simulation->cluster;
    if (prng_chance(&simulation->prng, plan->cut_permille)) {
        cut_some(simulation);
    }
    if (prng_chance(&simulation->prng, plan->flap_permille)) {
        uint32_t const from = (uint32_t)prng_below(&simulation->prng, cluster->node_count);
        uint32_t const to = (uint32_t)prng_below(&simulation->prng, cluster->node_count);
        if (from != to) {
            cluster_cut(cluster, from, to, !cluster->network.cut[from][to]);
        }
    }
    if (prng_chance(&simulation->prng, plan->heal_permille)) {
        heal_links(simulation);
    }
    simulation->lone_view_to = prng_chance(&simulation->prng, plan->lone_new_view_permille)
                                   ? (uint32_t)prng_below(&simulation->prng, cluster->node_count)
                                   : NOBODY;
}

/* ---- disks ---- */

static void disks_step(struct simulation *simulation) {
    const struct fault_plan *const plan = &simulation->plan;
    struct cluster *const cluster = simulation->cluster;
    struct prng *const prng = &simulation->prng;
    if (prng_chance(prng, plan->slow_disk_permille)) {
        struct sim_disk *const disk = &cluster->nodes[any_node(simulation)].disk;
        cluster->faults[FAULT_DISK_SLOW]++;
        disk->extra_us = prng_chance(prng, 500) ? 0 : prng_between(prng, 1000, 2000000);
    }
    if (prng_chance(prng, plan->full_disk_permille)) {
        struct sim_disk *const disk = &cluster->nodes[any_node(simulation)].disk;
        cluster->faults[FAULT_DISK_FULL]++;
        disk->full_until_us = cluster->now_us + prng_between(prng, 10000, 20000000);
    }
    if (prng_chance(prng, plan->disk_error_permille)) {
        cluster->nodes[any_node(simulation)].disk.fails_next = true;
    }
    if (prng_chance(prng, plan->slow_checkpoint_permille)) {
        cluster->nodes[any_node(simulation)].cut_extra_us =
            prng_chance(prng, 500) ? 0 : prng_between(prng, 1000, 3000000);
    }
}

/* One disk, once a run: copied at some time, and put back at a later one. */
static void restore_step(struct simulation *simulation) {
    const struct fault_plan *const plan = &simulation->plan;
    struct cluster *const cluster = simulation->cluster;
    if (!plan->restores || !prng_chance(&simulation->prng, 60)) {
        return;
    }
    if (simulation->restored == NOBODY) {
        uint32_t const node = any_node(simulation);
        if (node_is_correct(&cluster->nodes[node]) && cluster->nodes[node].disk.journal.count > 0) {
            simulation->restored = node;
            disk_copy_take(&cluster->nodes[node].disk);
            simulation->copies_at_end = prng_chance(&simulation->prng, 500);
            if (simulation->copies_at_end) {
                cluster_stop(cluster, node);
            }
        }
        return;
    }
    struct node *const node = &cluster->nodes[simulation->restored];
    if (node->restored || !reforming_bears_one_more(simulation, node->id)) {
        return;
    }
    cluster_crash(cluster, simulation->restored);
    node->restored = true;
    simulation->faulty_count++;
    cluster->faults[FAULT_RESTORE]++;
    cluster_trace(cluster, "%u has its disk restored: ledger %d, journal %d", simulation->restored,
                  plan->restores_ledger, plan->restores_journal);
    disk_copy_restore(cluster, &node->disk, plan->restores_ledger, plan->restores_journal);
    if (plan->restores_journal && !plan->restores_ledger && prng_chance(&simulation->prng, 500)) {
        node->disk.journal.count = 0;
        node->disk.journal_missing = true;
    }
}

/* ---- all of it ---- */

void faults_step(struct simulation *simulation) {
    processes_step(simulation);
    network_step(simulation);
    disks_step(simulation);
    restore_step(simulation);
}

/* Who stays broken: not more than are allowed to be faulty in all. */
static bool may_stay(struct simulation *simulation, uint32_t number) {
    const struct node *const node = &simulation->cluster->nodes[number];
    if (!node_is_correct(node) || simulation->faulty_count >= simulation->faulty_max ||
        !prng_chance(&simulation->prng, 400)) {
        return false;
    }
    simulation->faulty_count++;
    return true;
}

void faults_heal(struct simulation *simulation, bool all) {
    struct cluster *const cluster = simulation->cluster;
    uint64_t broken = 0;
    simulation->plan.lose_kind_permille = 0;
    simulation->plan.crash_in_view_permille = 0;
    simulation->doomed = 0;
    simulation->lone_view_to = NOBODY;
    cluster_heal(cluster);
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        struct node *const node = &cluster->nodes[i];
        node->disk.extra_us = 0;
        node->disk.full_until_us = 0;
        node->disk.fails_next = false;
        node->cut_extra_us = 0;
        if (!all && may_stay(simulation, i)) {
            broken |= UINT64_C(1) << i;
            node->left_out = true;
        } else if (node->stopping || node->paused_until_us > cluster->now_us) {
            cluster_crash(cluster, i); /* killed, not to be waited for */
        }
        node->paused_until_us = 0;
    }
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        if ((broken >> i & 1) == 0) {
            cluster_start(cluster, i);
        } else if (prng_chance(&simulation->prng, 500)) {
            cluster_crash(cluster, i);
        } else {
            cluster_isolate(cluster, i, true);
        }
    }
}
