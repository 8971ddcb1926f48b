/*
 * bench: see bench.h. A closed loop: each of the clients has one request in flight and submits the
 * next when its receipt is verified. Only requests that begin and end within the measured time
 * count.
 */
#include "client/bench.h"

#include <sched.h>
#include <stdlib.h>
#include <time.h>
#include <uv.h>

#include "base/check.h"
#include "host/clock.h"
#include "host/random.h"

#define BENCH_ACCOUNTS 10000u
#define BENCH_WARM_UP_US 1000000u
#define BENCH_SAMPLES_MAX (1u << 22)
#define BENCH_CORES_MAX 64u
#define BENCH_SIGNATURES 4000u
#define BENCH_PATIENCE_MS 60000u
#define BENCH_LOADERS_MAX 8u /* of the clients, while the accounts are made */

struct bench;

/* One request after the other. */
struct bench_client {
    struct bench *bench;
    uint64_t started_us;
};

struct bench {
    struct bench_options options;
    struct onus *onus;
    struct workload workload;
    struct workload_call calls[CALLS_MAX];
    struct onus_call call_list[CALLS_MAX];
    struct bench_client *clients;
    uint32_t busy; /* clients with a request in flight */
    bool loading;
    uint32_t loaded; /* accounts asked for while loading */
    uint64_t begin_us;
    uint64_t end_us;
    uint64_t calls_done;
    uint64_t requests_done;
    uint64_t first_seq;
    uint64_t last_seq;
    uint64_t first_index;
    uint64_t end_index;
    uint32_t *latencies_us;
    uint32_t sample_count;
    struct problem *problem;
};

/* ---- a client -------------------------------------------------------------------------------- */

static void note_batch(struct bench *bench, const struct pre_prepare *batch) {
    if (bench->first_seq == 0 || batch->seq < bench->first_seq) {
        bench->first_seq = batch->seq;
        bench->first_index = batch->first_index;
    }
    if (batch->seq >= bench->last_seq) {
        bench->last_seq = batch->seq;
        bench->end_index = batch->first_index + batch->tx_count;
    }
}

static void measure(const struct bench_client *client, const struct onus_result *result) {
    struct bench *const bench = client->bench;
    uint64_t const now_us = clock_monotonic_us();
    if (bench->loading || client->started_us < bench->begin_us || now_us > bench->end_us) {
        return;
    }
    bench->calls_done += result->outcome_count;
    bench->requests_done++;
    note_batch(bench, result->batch);
    if (bench->sample_count < BENCH_SAMPLES_MAX) {
        bench->latencies_us[bench->sample_count++] = (uint32_t)(now_us - client->started_us);
    }
}

/* The calls of the next request. Returns: how many; 0 when there is nothing left to do. */
static uint32_t next_calls(struct bench *bench) {
    uint32_t count = 0;
    while (bench->loading && count < CALLS_MAX && bench->loaded < BENCH_ACCOUNTS) {
        workload_create(&bench->workload, &bench->calls[count++], bench->loaded++);
    }
    bool const over = bench->loading || clock_monotonic_us() > bench->end_us;
    while (!over && count < bench->options.bundle) {
        workload_next(&bench->workload, &bench->calls[count++]);
    }
    for (uint32_t i = 0; i < count; i++) {
        bench->call_list[i] = bench->calls[i].call;
    }
    return count;
}

static void on_done(void *user, const struct onus_result *result);

static void submit_next(struct bench_client *client) {
    struct bench *const bench = client->bench;
    uint32_t const count = bench->problem->code == EXIT_OK ? next_calls(bench) : 0;
    if (count == 0) {
        return;
    }
    struct onus_submission const submission = {
        .calls = bench->call_list,
        .call_count = count,
        .mode = REQUEST_INDEPENDENT,
        .done = on_done,
        .user = client,
    };
    client->started_us = clock_monotonic_us();
    int const status = onus_submit(bench->onus, NULL, &submission, bench->problem);
    if (status > 0) {
        (void)problem_set(bench->problem, EXIT_USAGE,
                          "too many clients: the library keeps fewer requests in flight");
    }
    bench->busy += status == 0 ? 1 : 0;
}

static void on_done(void *user, const struct onus_result *result) {
    struct bench_client *const client = user;
    struct bench *const bench = client->bench;
    bench->busy--;
    if (result->status != ONUS_EXECUTED) {
        const struct problem *const failure = onus_failure(bench->onus);
        (void)problem_set(bench->problem, failure->code != EXIT_OK ? failure->code : EXIT_REJECTED,
                          "a request was not executed%s%s", failure->code != EXIT_OK ? ": " : "",
                          failure->text);
        return;
    }
    measure(client, result);
    submit_next(client);
}

/* ---- phases ---------------------------------------------------------------------------------- */

static bool all_idle(void *context) {
    const struct bench *const bench = context;
    return bench->problem->code != EXIT_OK || bench->busy == 0;
}

/* Let so many clients work until there is nothing left to do. */
static int run_phase(struct bench *bench, uint32_t clients, uint32_t patience_ms) {
    for (uint32_t i = 0; i < clients; i++) {
        submit_next(&bench->clients[i]);
    }
    if (!onus_run_until(bench->onus, all_idle, bench, patience_ms)) {
        return problem_set(bench->problem, EXIT_UNREACHABLE,
                           "requests are still without a receipt: is a quorum of replicas up?");
    }
    return bench->problem->code == EXIT_OK ? 0 : -1;
}

/* ---- figures --------------------------------------------------------------------------------- */

/* Of this thread, so that what else runs on the machine does not count. */
static uint64_t cpu_time_us(void) {
    struct timespec now;
    CHECK(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now) == 0);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

struct signing_cost {
    uv_thread_t thread;
    double sign_us;
    double verify_us;
};

static void measure_on_thread(void *context) {
    struct signing_cost *const cost = context;
    uint8_t seed[32];
    struct secret_key secret;
    struct sign_check check = {.label = LABEL_PREPARE, .body = span_text("how long does it take")};
    struct digest const service = {{0}};
    uint32_t good = 0;
    random_bytes(seed, sizeof seed);
    sign_key_from_seed(&secret, &check.key, seed);
    uint64_t const start_us = cpu_time_us();
    for (uint32_t i = 0; i < BENCH_SIGNATURES; i++) {
        check.signature = sign_labelled(&secret, &check.key, check.label, &service, check.body);
    }
    uint64_t const middle_us = cpu_time_us();
    for (uint32_t i = 0; i < BENCH_SIGNATURES; i++) {
        good += sign_verify(&service, &check) ? 1 : 0;
    }
    uint64_t const end_us = cpu_time_us();
    CHECK(good == BENCH_SIGNATURES);
    sign_key_wipe(&secret);
    cost->sign_us = (double)(middle_us - start_us) / BENCH_SIGNATURES;
    cost->verify_us = (double)(end_us - middle_us) / BENCH_SIGNATURES;
}

/*
 * Add one measurement to the mean of before and after the run: on all cores at once, as in the
 * run, since cores that share an execution unit are slower together.
 */
static void measure_signatures(struct bench_result *out) {
    struct signing_cost costs[BENCH_CORES_MAX];
    uint32_t const cores = out->cores < BENCH_CORES_MAX ? out->cores : BENCH_CORES_MAX;
    for (uint32_t i = 0; i < cores; i++) {
        CHECK(uv_thread_create(&costs[i].thread, measure_on_thread, &costs[i]) == 0);
    }
    for (uint32_t i = 0; i < cores; i++) {
        CHECK(uv_thread_join(&costs[i].thread) == 0);
        out->sign_us += costs[i].sign_us / cores / 2;
        out->verify_us += costs[i].verify_us / cores / 2;
    }
}

/*
 * The signatures the protocol needs: for a request, the client's and its check by every replica;
 * for a batch, one by every replica, Q - 1 checks by each of those, and Q by the client.
 */
static double crypto_bound(const struct bench_result *result, uint32_t bundle) {
    double const n = result->replicas;
    double const q = result->quorum;
    double const request_us = result->sign_us + n * result->verify_us;
    double const batch_us = n * result->sign_us + (n * (q - 1) + q) * result->verify_us;
    double const tx_us = request_us / bundle + batch_us / result->batch_tx_mean;
    return result->cores * 1e6 / tx_us;
}

static int latency_compare(const void *a, const void *b) {
    uint32_t left = 0;
    uint32_t right = 0;
    memcpy(&left, a, sizeof left);
    memcpy(&right, b, sizeof right);
    return (left > right) - (left < right);
}

static double percentile_ms(const struct bench *bench, double part) {
    uint32_t const last = bench->sample_count - 1;
    return bench->latencies_us[(uint32_t)(part * last)] / 1000.0;
}

static uint32_t count_cores(void) {
    cpu_set_t cpus;
    return sched_getaffinity(0, sizeof cpus, &cpus) == 0 ? (uint32_t)CPU_COUNT(&cpus) : 1;
}

static int summarize(struct bench *bench, struct bench_result *out) {
    if (bench->sample_count == 0) {
        return problem_set(bench->problem, EXIT_UNREACHABLE,
                           "no request got a receipt within the measured time");
    }
    qsort(bench->latencies_us, bench->sample_count, sizeof *bench->latencies_us, latency_compare);
    double const seconds = (double)(bench->end_us - bench->begin_us) / 1e6;
    out->throughput_tps = (double)bench->calls_done / seconds;
    out->latency_p50_ms = percentile_ms(bench, 0.50);
    out->latency_p99_ms = percentile_ms(bench, 0.99);
    out->batch_tx_mean = (double)(bench->end_index - bench->first_index) /
                         (double)(bench->last_seq - bench->first_seq + 1);
    out->calls = bench->calls_done;
    out->requests = bench->requests_done;
    measure_signatures(out);
    out->crypto_bound_tps = crypto_bound(out, bench->options.bundle);
    out->bound_ratio = out->throughput_tps / out->crypto_bound_tps;
    return 0;
}

static int run_all(struct bench *bench, struct bench_result *out) {
    uint32_t const duration_ms = bench->options.duration_s * 1000;
    uint32_t const clients = bench->options.clients;
    bench->loading = true;
    if (run_phase(bench, clients < BENCH_LOADERS_MAX ? clients : BENCH_LOADERS_MAX,
                  BENCH_PATIENCE_MS) != 0) {
        return -1;
    }
    bench->loading = false;
    measure_signatures(out);
    bench->begin_us = clock_monotonic_us() + BENCH_WARM_UP_US;
    bench->end_us = bench->begin_us + (uint64_t)duration_ms * 1000;
    if (run_phase(bench, clients, duration_ms + BENCH_PATIENCE_MS) != 0) {
        return -1;
    }
    return summarize(bench, out);
}

int bench_run(struct bench_result *out, struct onus *onus,
              const struct configuration *configuration, const struct bench_options *options,
              struct problem *problem) {
    *out = (struct bench_result){
        .replicas = configuration->replica_count,
        .quorum = configuration->quorum,
        .cores = count_cores(),
    };
    struct bench *const bench = calloc(1, sizeof *bench);
    struct bench_client *const clients = calloc(options->clients, sizeof *clients);
    uint32_t *const latencies_us = calloc(BENCH_SAMPLES_MAX, sizeof *latencies_us);
    int status = -1;
    if (bench != NULL && clients != NULL && latencies_us != NULL) {
        bench->options = *options;
        bench->onus = onus;
        bench->clients = clients;
        bench->latencies_us = latencies_us;
        bench->problem = problem;
        for (uint32_t i = 0; i < options->clients; i++) {
            clients[i].bench = bench;
        }
        workload_init(&bench->workload, options->workload, BENCH_ACCOUNTS, random_u64());
        status = run_all(bench, out);
    } else {
        (void)problem_set(problem, EXIT_ERROR, "out of memory");
    }
    free(bench);
    free(clients);
    free(latencies_us);
    return status;
}
