/*
 * cluster_random: see cluster_random.h. What the seed draws first are the run's options, so that
 * runs differ in kind, not only in detail: some lose messages, some crash, some do both.
 */
#include "tests/sim/cluster_random.h"

#include <stdio.h>

#include "tests/sim/meddler.h"

#define STEPS_MAX 60u
#define HEAL_MS 60000u

struct random_run {
    struct cluster *cluster;
    struct prng prng; /* of the scenario; the cluster has its own */
    uint32_t crash_permille;
    uint32_t cut_permille;
    uint32_t careless_permille;
    uint32_t liar;
    uint32_t lie_permille;
    uint32_t submit_max;
    uint32_t keys;
    uint64_t step_us_max;
    struct random_summary summary;
};

/* ---- one backup that lies, sometimes ---- */

static bool flip(struct random_run *run, const struct frame *frame, struct buffer *out) {
    buffer_append(out, frame->payload);
    if (out->size != 0) {
        out->data[prng_below(&run->prng, out->size)] ^= (uint8_t)(1u << prng_below(&run->prng, 8));
    }
    return true;
}

static bool another_nonce(struct random_run *run, const struct frame *frame, struct buffer *out) {
    struct nonce nonce = {{0}};
    store_u64_be(nonce.bytes, prng_next(&run->prng));
    puppet_commit(out, frame->from, prng_between(&run->prng, 1, 100), &nonce);
    return true;
}

/* Another vote, truly signed, before the right one. */
static bool two_votes(struct random_run *run, const struct frame *frame, struct buffer *out) {
    struct prepare_parts parts = {.replica = frame->from,
                                  .seq =
                                      run->cluster->committed_seq + prng_between(&run->prng, 1, 3)};
    store_u64_be(parts.pre_prepare_digest.bytes, prng_next(&run->prng));
    puppet_prepare(out, run->cluster, &parts);
    cluster_forge(run->cluster, frame->from, frame->to, MESSAGE_PREPARE, buffer_span(out));
    return false;
}

static bool absurd_status(struct random_run *run, const struct frame *frame, struct buffer *out) {
    uint64_t const absurd = prng_next(&run->prng) >> prng_between(&run->prng, 1, 63);
    struct status_message const status = {.config = 1,
                                          .executed_seq = absurd,
                                          .committed_seq = absurd / 2,
                                          .evidenced_seq = absurd / 3,
                                          .wants_answer = prng_chance(&run->prng, 500)};
    (void)frame;
    return status_message_encode(out, &status);
}

static bool lie(struct random_run *run, const struct frame *frame, struct buffer *out) {
    switch ((enum message_kind)frame->kind) {
    case MESSAGE_PREPARE:
        return two_votes(run, frame, out);
    case MESSAGE_COMMIT:
        return another_nonce(run, frame, out);
    case MESSAGE_STATUS:
        return absurd_status(run, frame, out);
    case MESSAGE_PRE_PREPARE:
    case MESSAGE_FETCH_REQUESTS:
    case MESSAGE_REQUESTS:
    case MESSAGE_FETCH_RANGE:
    case MESSAGE_RANGE:
        return flip(run, frame, out);
    case MESSAGE_REQUEST:
    case MESSAGE_STATUS_QUERY:
    case MESSAGE_RECEIPT_QUERY:
    case MESSAGE_REPLY:
    case MESSAGE_RESULT:
    case MESSAGE_REJECT:
    case MESSAGE_STATUS_REPLY:
    case MESSAGE_RECEIPT_REPLY:
        break;
    }
    return false;
}

static bool let_lie(void *context, struct cluster *cluster, const struct frame *frame) {
    struct random_run *const run = context;
    struct buffer out;
    if (frame->from != run->liar || !prng_chance(&run->prng, run->lie_permille)) {
        return true;
    }
    buffer_init(&out, FRAME_SIZE_MAX);
    bool const lied = lie(run, frame, &out);
    if (lied) {
        run->summary.lies++;
        cluster_forge(cluster, frame->from, frame->to, (enum message_kind)frame->kind,
                      buffer_span(&out));
    }
    buffer_free(&out);
    return !lied;
}

/* ---- options ---- */

static struct cluster_options draw_options(struct prng *prng, uint64_t seed) {
    uint32_t const pipeline = (uint32_t)prng_between(prng, 1, 6);
    return (struct cluster_options){
        .replica_count = (uint32_t)prng_between(prng, 4, CLUSTER_NODES_MAX),
        .seed = seed,
        .pipeline = pipeline,
        .checkpoint_interval = 2 * pipeline + prng_between(prng, 1, 12),
    };
}

static void draw_faults(struct random_run *run) {
    struct prng *const prng = &run->prng;
    struct network *const network = &run->cluster->network;
    if (prng_chance(prng, 600)) {
        network->drop_permille = (uint32_t)prng_below(prng, 150);
    }
    if (prng_chance(prng, 500)) {
        network->duplicate_permille = (uint32_t)prng_below(prng, 150);
    }
    network->reorder = prng_chance(prng, 500);
    network->delay_us_max =
        network->delay_us_min + prng_between(prng, 100, prng_chance(prng, 200) ? 60000 : 3000);
    run->cluster->sync_us_max =
        run->cluster->sync_us_min + prng_between(prng, 100, prng_chance(prng, 200) ? 50000 : 3000);
    run->cluster->checkpoint_us = prng_between(prng, 100, prng_chance(prng, 300) ? 400000 : 5000);
    run->crash_permille = prng_chance(prng, 600) ? (uint32_t)prng_below(prng, 300) : 0;
    run->cut_permille = prng_chance(prng, 500) ? (uint32_t)prng_below(prng, 300) : 0;
    run->careless_permille = prng_chance(prng, 400) ? (uint32_t)prng_below(prng, 1000) : 0;
    if (prng_chance(prng, 400)) {
        run->liar = (uint32_t)prng_between(prng, 1, run->cluster->node_count - 1);
        run->lie_permille = (uint32_t)prng_between(prng, 1, 500);
        run->cluster->filter = let_lie;
        run->cluster->filter_context = run;
    }
    run->submit_max = (uint32_t)prng_between(prng, 1, 6);
    run->keys = (uint32_t)prng_between(prng, 1, 20);
    run->step_us_max = prng_between(prng, 1000, 120000);
}

static void submit_one(struct random_run *run) {
    char texts[3][64];
    const char *calls[3];
    uint32_t const count = prng_chance(&run->prng, 200) ? 3 : 1;
    for (uint32_t i = 0; i < count; i++) {
        unsigned const key = (unsigned)prng_below(&run->prng, run->keys);
        unsigned const value = (unsigned)prng_below(&run->prng, 10);
        unsigned const kind = (unsigned)prng_below(&run->prng, 4);
        switch (kind) {
        case 0:
            (void)snprintf(texts[i], sizeof texts[i], "kv.put k%u %u", key, value);
            break;
        case 1:
            (void)snprintf(texts[i], sizeof texts[i], "kv.get k%u", key);
            break;
        case 2:
            (void)snprintf(texts[i], sizeof texts[i], "kv.delete k%u", key);
            break;
        default:
            (void)snprintf(texts[i], sizeof texts[i], "kv.cas k%u %u %u", key, value, value + 1);
            break;
        }
        calls[i] = texts[i];
    }
    struct order const order = {
        .mode = prng_chance(&run->prng, 500) ? REQUEST_ATOMIC : REQUEST_INDEPENDENT,
        .call_count = count,
        .calls = calls,
    };
    uint32_t const client = (uint32_t)prng_below(&run->prng, CLUSTER_CLIENTS);
    run->summary.requests++;
    if (!prng_chance(&run->prng, run->careless_permille)) {
        cluster_submit_order(run->cluster, client, &order);
        return;
    }
    /* A client that tells only some replicas, and is gone. */
    uint32_t const request = cluster_prepare_order(run->cluster, client, &order);
    run->cluster->requests[request].abandoned = true;
    for (uint32_t i = 0; i < run->cluster->node_count; i++) {
        if (prng_chance(&run->prng, 500)) {
            cluster_send_request(run->cluster, request, i);
        }
    }
}

static void crash_some(struct random_run *run) {
    struct cluster *const cluster = run->cluster;
    if (prng_chance(&run->prng, 100)) {
        for (uint32_t i = 0; i < cluster->node_count; i++) {
            run->summary.crashes += cluster->nodes[i].up;
            cluster_crash(cluster, i);
        }
        return;
    }
    uint32_t const node = (uint32_t)prng_below(&run->prng, cluster->node_count);
    run->summary.crashes += cluster->nodes[node].up;
    cluster_crash(cluster, node);
}

static void cut_some(struct random_run *run) {
    struct cluster *const cluster = run->cluster;
    uint32_t const from = (uint32_t)prng_below(&run->prng, cluster->node_count);
    uint32_t const to = (uint32_t)prng_below(&run->prng, cluster->node_count);
    bool const cut = prng_chance(&run->prng, 500);
    run->summary.cuts += cut;
    if (prng_chance(&run->prng, 300)) {
        cluster_isolate(cluster, from, cut);
    } else if (from != to) {
        cluster_cut(cluster, from, to, cut);
    }
}

static void start_some(struct random_run *run) {
    for (uint32_t i = 0; i < run->cluster->node_count; i++) {
        if (!run->cluster->nodes[i].up && prng_chance(&run->prng, 400)) {
            cluster_start(run->cluster, i);
        }
    }
}

static void make_trouble(struct random_run *run) {
    for (uint32_t step = 0; step < STEPS_MAX; step++) {
        uint32_t const submits = (uint32_t)prng_below(&run->prng, run->submit_max + 1);
        for (uint32_t i = 0; i < submits; i++) {
            submit_one(run);
        }
        if (prng_chance(&run->prng, run->crash_permille)) {
            crash_some(run);
        }
        if (prng_chance(&run->prng, run->cut_permille)) {
            cut_some(run);
        }
        start_some(run);
        uint64_t const us = prng_between(&run->prng, 100, run->step_us_max);
        cluster_run_ms(run->cluster, (us + 999) / 1000);
    }
}

struct random_summary cluster_random_run(uint64_t seed) {
    struct random_run run = {0};
    prng_init(&run.prng, seed ^ UINT64_C(0x6f6e7573));
    struct cluster_options const options = draw_options(&run.prng, seed);
    run.cluster = cluster_new(&options);
    draw_faults(&run);
    make_trouble(&run);
    run.cluster->filter = NULL;
    cluster_heal(run.cluster);
    for (uint32_t i = 0; i < run.cluster->node_count; i++) {
        cluster_start(run.cluster, i);
    }
    cluster_trace(run.cluster, "all heals");
    cluster_run_until_done(run.cluster, HEAL_MS);
    cluster_run_until_level(run.cluster, HEAL_MS);
    run.summary.batches = run.cluster->committed_seq;
    run.summary.frames = run.cluster->next_order;
    run.summary.simulated_ms = run.cluster->now_us / 1000;
    run.summary.trace_hash = cluster_trace_hash(run.cluster);
    cluster_end(run.cluster);
    return run.summary;
}
