/*
 * sim_ends: runs about nothing but the end of a configuration (see simulation.h; protocol §9,
 * "Going over"). From the moment that its last batch is proposed, what travels is drawn by what it
 * is about: votes for that batch, its nonces, views of this configuration and of the next, the
 * first batch of that, its votes and nonces, ranges, statuses; each may be kept from some, or of
 * some, for a while. Replicas lose power, and perhaps all of them; some are never seen again. Then
 * everything travels, and those who are left must be through.
 */
#include <stdlib.h>

#include "governance/constitution.h"
#include "tests/sim/members.h"
#include "tests/sim/simulation.h"

#define FIRST 1u  /* the number of the configuration that ends, */
#define SECOND 2u /* and that of the next */
#define PATIENCE_MS 300000u
#define LAST_REQUESTS (3 * PIPELINE_MOST)
#define PIPELINE_MOST 4u
#define STEPS_MAX 24u

/* What a frame is about. */
enum topic {
    TOPIC_END,        /* the pre-prepare of the last batch */
    TOPIC_END_VOTE,   /* a prepare for it */
    TOPIC_END_NONCE,  /* a nonce for it */
    TOPIC_END_VIEW,   /* view-changes and new views of a sender that has not gone over */
    TOPIC_START,      /* pre-prepares of the next configuration */
    TOPIC_START_VOTE, /* prepares there */
    TOPIC_START_NONCE,
    TOPIC_START_VIEW,
    TOPIC_RANGE,
    TOPIC_STATUS,
    TOPIC_COUNT,
    TOPIC_ELSE = TOPIC_COUNT /* it always travels */
};

struct end_run {
    struct simulation simulation;
    struct arena scratch;
    uint64_t first_closing; /* the first of its two last batches; 0: none was proposed yet */
    uint32_t kept[TOPIC_COUNT][CLUSTER_NODES_MAX]; /* by sender: bitmap of who does not hear it */
    uint32_t crash_permille;
    uint32_t stop_permille; /* of crashes */
    uint32_t isolate_permille;
    uint32_t bury_permille;
    uint32_t keep_permille;   /* of topics: not all hear of it */
    uint32_t change_permille; /* of topics, with each step */
    bool begins_late;         /* mostly nobody hears of the next configuration */
    uint32_t slow_permille;
    uint64_t usual_sync_us_max;
};

/* ---- what a frame is about ---- */

static enum topic topic_of_proposal(struct end_run *run, struct span payload) {
    struct pre_prepare_message message;
    struct pre_prepare body;
    if (pre_prepare_message_decode(&message, &run->scratch, payload) != CODEC_OK ||
        pre_prepare_decode(&body, &run->scratch, message.statement.body) != CODEC_OK) {
        return TOPIC_ELSE;
    }
    bool const closes = body.config == FIRST && body.kind == BATCH_END_OF_CONFIGURATION;
    if (closes && (run->first_closing == 0 || body.seq < run->first_closing)) {
        run->first_closing = body.seq;
    }
    return body.config > FIRST                             ? TOPIC_START
           : closes && body.seq == run->first_closing + 1u ? TOPIC_END
                                                           : TOPIC_ELSE;
}

static enum topic topic_of_vote(struct end_run *run, uint64_t config, uint64_t seq, bool is_nonce) {
    if (config > FIRST) {
        return is_nonce ? TOPIC_START_NONCE : TOPIC_START_VOTE;
    }
    bool const is_last =
        config == FIRST && run->first_closing != 0 && seq == run->first_closing + 1;
    return !is_last ? TOPIC_ELSE : is_nonce ? TOPIC_END_NONCE : TOPIC_END_VOTE;
}

static enum topic topic_of_prepare(struct end_run *run, struct span payload) {
    struct signed_body statement;
    struct prepare body;
    return signed_decode(&statement, &run->scratch, payload, STATEMENT_SIZE_MAX) == CODEC_OK &&
                   prepare_decode(&body, &run->scratch, statement.body) == CODEC_OK
               ? topic_of_vote(run, body.config, body.seq, false)
               : TOPIC_ELSE;
}

static enum topic topic_of_commit(struct end_run *run, struct span payload) {
    struct commit_message commit;
    return commit_message_decode(&commit, &run->scratch, payload) == CODEC_OK
               ? topic_of_vote(run, commit.config, commit.seq, true)
               : TOPIC_ELSE;
}

static enum topic topic_of(struct end_run *run, const struct frame *frame) {
    const struct cluster *const cluster = run->simulation.cluster;
    switch (frame->kind) {
    case MESSAGE_PRE_PREPARE:
        return topic_of_proposal(run, frame->payload);
    case MESSAGE_PREPARE:
        return topic_of_prepare(run, frame->payload);
    case MESSAGE_COMMIT:
        return topic_of_commit(run, frame->payload);
    case MESSAGE_VIEW_CHANGE:
    case MESSAGE_NEW_VIEW:
        return cluster_status(cluster, frame->from_node).config > FIRST ? TOPIC_START_VIEW
                                                                        : TOPIC_END_VIEW;
    case MESSAGE_RANGE:
        return TOPIC_RANGE;
    case MESSAGE_STATUS:
        return TOPIC_STATUS;
    default:
        return TOPIC_ELSE;
    }
}

static bool travels(void *context, struct cluster *cluster, const struct frame *frame) {
    struct end_run *const run = context;
    liars_see(&run->simulation, frame);
    if (frame->to < cluster->node_count) {
        arena_reset(&run->scratch);
        enum topic const topic = topic_of(run, frame);
        if (topic != TOPIC_ELSE && run->first_closing != 0 &&
            (run->kept[topic][frame->from_node] >> frame->to & 1) != 0) {
            cluster->faults[FAULT_DROP]++;
            return false;
        }
    }
    return liar_filter(&run->simulation, frame);
}

/* ---- what goes wrong ---- */

static uint32_t draw_some(struct prng *prng) {
    uint32_t const few = (uint32_t)prng_next(prng);
    return prng_chance(prng, 500) ? few : few & (uint32_t)prng_next(prng);
}

/* Who does not hear of a topic, from whom. */
static void draw_topic(struct end_run *run, enum topic topic, uint32_t permille) {
    struct prng *const prng = &run->simulation.prng;
    uint32_t const way = prng_chance(prng, permille) ? (uint32_t)prng_below(prng, 5) : 5;
    uint32_t const some = draw_some(prng);
    for (uint32_t from = 0; from < CLUSTER_NODES_MAX; from++) {
        run->kept[topic][from] = way == 0   ? some                    /* some are deaf for it, */
                                 : way == 1 ? 0u - (some >> from & 1) /* some dumb, */
                                 : way == 2 ? draw_some(prng)         /* some links are bad, */
                                 : way < 5  ? UINT32_MAX              /* or nobody hears it */
                                            : 0;
    }
}

/* Some of it stays as it is. That the next configuration does not begin makes the end last. */
static void draw_topics(struct end_run *run, uint32_t change_permille) {
    struct prng *const prng = &run->simulation.prng;
    for (enum topic topic = 0; topic < TOPIC_COUNT; topic++) {
        bool const begins = topic == TOPIC_START || topic == TOPIC_START_VOTE;
        if (prng_chance(prng, change_permille)) {
            draw_topic(run, topic, begins && run->begins_late ? 900 : run->keep_permille);
        }
    }
}

/* It loses power; or it is asked to stop, and has some time for it. */
static void halt(struct end_run *run, uint32_t node) {
    struct cluster *const cluster = run->simulation.cluster;
    struct prng *const prng = &run->simulation.prng;
    if (cluster->nodes[node].up && prng_chance(prng, run->stop_permille)) {
        cluster_stop(cluster, node);
        cluster_run_ms(cluster, prng_between(prng, 1, 200));
    }
    cluster_crash(cluster, node);
}

static void crash_some(struct end_run *run) {
    struct cluster *const cluster = run->simulation.cluster;
    struct prng *const prng = &run->simulation.prng;
    uint32_t const victims =
        prng_chance(prng, 150) ? UINT32_MAX : 1u << prng_below(prng, cluster->node_count);
    bool const comes_back = prng_chance(prng, 500);
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        if ((victims >> i & 1) != 0 && !cluster->nodes[i].left_out) {
            halt(run, i);
            if (comes_back) {
                cluster_start(cluster, i);
            }
        }
    }
}

static void start_some(struct end_run *run, uint32_t permille) {
    struct cluster *const cluster = run->simulation.cluster;
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        if (!cluster->nodes[i].up && !cluster->nodes[i].left_out &&
            prng_chance(&run->simulation.prng, permille)) {
            cluster_start(cluster, i);
        }
    }
}

/* Could this configuration go on without one more? */
static bool bears_one_more(const struct cluster *cluster, const struct configuration *then) {
    uint32_t gone = 1;
    for (uint32_t r = 0; r < then->replica_count; r++) {
        const struct node *const node =
            &cluster->nodes[cluster_id_of(cluster, &then->replicas[r].key)];
        gone += node->left_out || !node_is_correct(node);
    }
    return gone <= then->faults_max;
}

/* Some are never seen again. */
static void bury_some(struct end_run *run) {
    struct cluster *const cluster = run->simulation.cluster;
    struct prng *const prng = &run->simulation.prng;
    struct configuration next;
    constitution_configuration(&next, &cluster->charter->now);
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        uint32_t const node = (uint32_t)prng_below(prng, cluster->node_count);
        if (prng_chance(prng, 100) && node_is_correct(&cluster->nodes[node]) &&
            bears_one_more(cluster, &cluster->eras[0].configuration) &&
            bears_one_more(cluster, &next)) {
            cluster_crash(cluster, node);
            cluster->nodes[node].left_out = true;
        }
    }
}

static void disturb(struct end_run *run) {
    struct cluster *const cluster = run->simulation.cluster;
    struct prng *const prng = &run->simulation.prng;
    draw_topics(run, run->change_permille);
    start_some(run, 500);
    if (prng_chance(prng, run->bury_permille)) {
        bury_some(run);
    }
    if (prng_chance(prng, run->crash_permille)) {
        crash_some(run);
    }
    if (prng_chance(prng, run->isolate_permille)) {
        cluster_isolate(cluster, (uint32_t)prng_below(prng, cluster->node_count),
                        prng_chance(prng, 500));
    }
    cluster->sync_us_max = prng_chance(prng, run->slow_permille)
                               ? cluster->sync_us_min + prng_between(prng, 1000, 900000)
                               : run->usual_sync_us_max;
    liars_step(&run->simulation);
}

/* From a few steps of a message to a few changes of view. */
static uint64_t draw_ms(struct prng *prng) {
    static const uint64_t most[] = {10, 60, 500, 1500, 5000};
    return prng_between(prng, 1, most[prng_below(prng, sizeof most / sizeof most[0])]);
}

/* ---- a run ---- */

static void open_cluster(struct end_run *run, const struct sim_options *options) {
    static const uint8_t counts[] = {4, 4, 4, 4, 4, 5, 6, 7};
    static const uint32_t crashes[] = {0, 50, 150, 400};
    static const uint32_t keeps[] = {100, 250, 500};
    static const uint32_t changes[] = {100, 300, 1000};
    struct simulation *const simulation = &run->simulation;
    struct prng *const prng = &simulation->prng;
    uint32_t const founders = options->replicas != 0
                                  ? options->replicas
                                  : counts[prng_below(prng, sizeof counts / sizeof counts[0])];
    uint32_t const most = configuration_faults_max(founders);
    uint32_t const liars = options->byzantine != SIM_DRAWN ? options->byzantine
                           : prng_chance(prng, 700)        ? 0
                                                           : most;
    uint32_t const pipeline = (uint32_t)prng_between(prng, 1, PIPELINE_MOST);
    struct cluster_options drawn = {
        .replica_count = founders + 1,
        .spares = 1,
        .seed = options->seed,
        .pipeline = pipeline,
        .checkpoint_interval = checkpoint_interval_min(pipeline) + prng_below(prng, 8),
        .governed = true,
        .no_joins = true,
        .cheap_signatures = !sim_signs_in_earnest(options),
        .events_max = SIM_EVENTS_MAX,
    };
    while ((uint32_t)__builtin_popcount(drawn.byzantine) < liars) {
        drawn.byzantine |= 1u << prng_below(prng, founders);
    }
    simulation->faulty_max = most;
    simulation->faulty_count = liars;
    simulation->result->replicas = founders;
    simulation->result->byzantine = liars;
    simulation->result->real_signatures = !drawn.cheap_signatures;
    simulation->cluster = cluster_new(&drawn);
    simulation->cluster->filter = travels;
    simulation->cluster->filter_context = run;
    run->usual_sync_us_max = simulation->cluster->sync_us_max;
    run->crash_permille = crashes[prng_below(prng, sizeof crashes / sizeof crashes[0])];
    run->stop_permille = prng_chance(prng, 500) ? 500 : 0;
    run->isolate_permille = (uint32_t)prng_below(prng, 300);
    run->slow_permille = prng_chance(prng, 300) ? 300 : 0;
    run->bury_permille = prng_chance(prng, 300) ? 100 : 0;
    run->keep_permille = keeps[prng_below(prng, sizeof keeps / sizeof keeps[0])];
    run->change_permille = changes[prng_below(prng, sizeof changes / sizeof changes[0])];
    run->begins_late = prng_chance(prng, 500);
    sim_say(simulation,
            "replicas %u, pipeline %u, byzantine %x, crashes %u, cuts %u, slow %u, "
            "keeps %u, changes %u%s",
            founders, pipeline, drawn.byzantine, run->crash_permille, run->isolate_permille,
            run->slow_permille, run->keep_permille, run->change_permille,
            run->begins_late ? ", begins late" : "");
}

/* The consortium may be another one afterwards, or just have one user more. */
static struct action draw_action(struct end_run *run) {
    struct cluster *const cluster = run->simulation.cluster;
    struct charter *const charter = cluster->charter;
    struct prng *const prng = &run->simulation.prng;
    const struct configuration *const now = &cluster->eras[0].configuration;
    const struct replica_identity *const old = &now->replicas[prng_below(prng, now->replica_count)];
    uint32_t const spare = CLUSTER_SPARE_NUMBER + now->replica_count;
    switch (prng_below(prng, 4)) {
    case 0:
        return charter_replica(charter, NULL, charter->now.members[old->member].name, spare);
    case 1:
        return charter_replica(charter, &old->key, charter->now.members[old->member].name, spare);
    default:
        return charter_named(charter, ACTION_ADD_USER, "dave", 7000);
    }
}

static void work(struct end_run *run, uint32_t most) {
    struct prng *const prng = &run->simulation.prng;
    for (uint64_t i = prng_below(prng, most + 1u); i > 0; i--) {
        (void)cluster_submit(run->simulation.cluster, "kv.put a 1");
        cluster_run_ms(run->simulation.cluster, prng_between(prng, 1, 20));
    }
}

/* The configuration may end in a later view than it began in. */
static void change_view(struct end_run *run) {
    struct cluster *const cluster = run->simulation.cluster;
    cluster_isolate(cluster, 0, true);
    (void)cluster_submit(cluster, "kv.put b 1");
    cluster_run_ms(cluster, 3 * (uint64_t)VIEW_TIMEOUT_MS);
    cluster_isolate(cluster, 0, false);
}

static void decide(struct end_run *run) {
    struct cluster *const cluster = run->simulation.cluster;
    struct action const action = draw_action(run);
    uint32_t const voters = members_enough(cluster);
    struct matter matter;
    (void)members_propose(cluster, 1, &action, PATIENCE_MS, &matter);
    for (uint32_t voter = 0; voter < voters; voter++) {
        cluster_run_until_done(cluster, PATIENCE_MS);
        (void)members_say(cluster, voter, matter.vote, (struct span){.size = 0});
    }
    charter_pass(cluster->charter, matter.bytes);
    draw_topics(run, 1000);
    for (uint32_t ms = 0; run->first_closing == 0; ms++) {
        if (ms == PATIENCE_MS) {
            cluster_fail(cluster, "a vote that all are for decides nothing");
        }
        cluster_run_ms(cluster, 1);
    }
}

static void suffer(struct end_run *run) {
    struct prng *const prng = &run->simulation.prng;
    for (uint64_t steps = prng_between(prng, 1, STEPS_MAX); steps > 0; steps--) {
        cluster_run_ms(run->simulation.cluster, draw_ms(prng));
        disturb(run);
        work(run, 1);
    }
}

static void heal(struct end_run *run) {
    struct simulation *const simulation = &run->simulation;
    struct cluster *const cluster = simulation->cluster;
    memset(run->kept, 0, sizeof run->kept);
    simulation->liars_rest = prng_chance(&simulation->prng, 400);
    if (simulation->liars_rest) {
        liars_pause(simulation);
    }
    bury_some(run);
    cluster->sync_us_max = run->usual_sync_us_max;
    cluster_heal(cluster);
    start_some(run, 1000);
    cluster_trace(cluster, "all heal");
}

/* All who are needed are through, and a client is served. */
static void expect_through(struct end_run *run) {
    struct cluster *const cluster = run->simulation.cluster;
    /* Farther than anybody can have come alone who is never seen again: one ledger goes on. */
    for (uint32_t i = 0; i < LAST_REQUESTS; i++) {
        (void)cluster_submit(cluster, "kv.put last 1");
        cluster_run_until_done(cluster, PATIENCE_MS);
    }
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        cluster->nodes[i].left_out |= cluster_position(cluster, SECOND, i) == REPLICAS_MAX;
    }
    simulation_expect_level(&run->simulation);
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        const struct node *const node = &cluster->nodes[i];
        if (node->up && !node->left_out && node_is_correct(node) &&
            cluster_status(cluster, i).config != SECOND) {
            cluster_fail(cluster, "node %u is not over", i);
        }
    }
}

void ends_run(struct sim_result *result, const struct sim_options *options) {
    struct end_run *const run = cluster_zeroed(1, sizeof *run);
    struct simulation *const simulation = &run->simulation;
    simulation->result = result;
    simulation->restored = CLUSTER_NODES_MAX;
    simulation->lone_view_to = CLUSTER_NODES_MAX;
    cluster_leave_words_in(result->reason, sizeof result->reason);
    prng_init(&simulation->prng, options->seed ^ UINT64_C(0x656e6473));
    arena_init(&run->scratch, 4 * (size_t)STATEMENT_SIZE_MAX);
    open_cluster(run, options);
    liars_draw(simulation);
    work(run, 8);
    if (prng_chance(&simulation->prng, 300)) {
        change_view(run);
    }
    decide(run);
    suffer(run);
    heal(run);
    expect_through(run);
    watch_end(simulation->cluster);
    simulation_audit(simulation);
    result->reforms = 1;
    simulation_finish(simulation);
    arena_free(&run->scratch);
    free(run);
}
