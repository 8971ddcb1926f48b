/*
 * onus bench: how much, how fast, and how near to what cryptography allows (bench.h).
 *
 * Without -C it makes a sandbox of its own in the working directory,
 * on a real disk, and removes it afterwards. All is as in real use: requests are written down
 * before they are sent, receipts are verified and kept.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/check.h"
#include "client/bench.h"
#include "client/command.h"
#include "client/sandbox.h"
#include "client/view.h"

#define CLIENTS_DEFAULT 2048u
#define CLIENTS_BUNDLED_DEFAULT 128u /* with several calls a request */
#define CLIENTS_MAX 2048u
#define DURATION_S_DEFAULT 10u
#define DURATION_S_MAX 3600u
#define BENCH_REPLICAS 4u
#define PORT_FIRST 17400u
#define PORT_LAST 60000u

enum { OPTION_CLIENTS = OPTION_FIRST_OWN, OPTION_DURATION, OPTION_WORKLOAD, OPTION_BUNDLE };

static const struct option options[] = {{"clients", required_argument, NULL, OPTION_CLIENTS},
                                        {"duration", required_argument, NULL, OPTION_DURATION},
                                        {"workload", required_argument, NULL, OPTION_WORKLOAD},
                                        {"bundle", required_argument, NULL, OPTION_BUNDLE},
                                        GLOBAL_OPTIONS};

struct run {
    const struct globals *globals;
    struct bench_options options;
    struct bench_result result;
    struct client client;
    struct problem problem;
};

static void print_result(const struct run *run) {
    const struct bench_result *const result = &run->result;
    const struct bench_options *const asked = &run->options;
    const char *const workload = asked->workload == WORKLOAD_SMALLBANK ? "smallbank" : "kv";
    if (run->globals->json) {
        (void)view_print_json(json_pack(
            "{s:f,s:{s:f,s:f},s:i,s:i,s:f,s:f,s:f,s:f,s:s,s:i,s:i,s:i,s:f,s:o}", "throughput_tps",
            result->throughput_tps, "latency_ms", "p50", result->latency_p50_ms, "p99",
            result->latency_p99_ms, "replicas", (int)result->replicas, "cores", (int)result->cores,
            "verify_us", result->verify_us, "sign_us", result->sign_us, "crypto_bound_tps",
            result->crypto_bound_tps, "bound_ratio", result->bound_ratio, "workload", workload,
            "clients", (int)asked->clients, "bundle", (int)asked->bundle, "duration_s",
            (int)asked->duration_s, "batch_tx_mean", result->batch_tx_mean, "calls",
            view_json_u64(result->calls)));
        return;
    }
    (void)printf("%s, %u replicas and the client on %u cores, %u clients, %u call%s a request\n",
                 workload, result->replicas, result->cores, asked->clients, asked->bundle,
                 asked->bundle == 1 ? "" : "s");
    (void)printf("throughput  %.0f tx/s, %.1f a batch\n", result->throughput_tps,
                 result->batch_tx_mean);
    (void)printf("latency     p50 %.2f ms, p99 %.2f ms\n", result->latency_p50_ms,
                 result->latency_p99_ms);
    (void)printf("Ed25519     verify %.1f us, sign %.1f us: at most %.0f tx/s; reached %.0f %%\n",
                 result->verify_us, result->sign_us, result->crypto_bound_tps,
                 100 * result->bound_ratio);
}

/* ---- a sandbox of its own -------------------------------------------------------------------- */

static bool port_is_free(uint32_t port) {
    struct sockaddr_in const address = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    int const probe = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int const reuse = 1;
    bool const free_port = probe >= 0 &&
                           setsockopt(probe, SOL_SOCKET, SO_REUSEADDR, &reuse, sizeof reuse) == 0 &&
                           bind(probe, (const struct sockaddr *)&address, sizeof address) == 0;
    if (probe >= 0) {
        (void)close(probe);
    }
    return free_port;
}

static uint32_t find_ports(void) {
    for (uint32_t base = PORT_FIRST; base < PORT_LAST; base += 100) {
        bool all_free = true;
        for (uint32_t i = 0; i < BENCH_REPLICAS; i++) {
            all_free = all_free && port_is_free(base + SANDBOX_PORT_STEP * i) &&
                       port_is_free(base + SANDBOX_PORT_STEP * i + 1);
        }
        if (all_free) {
            return base;
        }
    }
    return PORT_FIRST; /* the replicas will say what is wrong with it */
}

static int run_here(struct run *run) {
    int status = client_open(&run->client, run->globals, false, &run->problem);
    if (status == 0) {
        status = onus_connect(run->client.onus, run->client.timeout_ms, &run->problem);
    }
    if (status == 0) {
        command_say(run->globals, "onus: %u clients for %u s", run->options.clients,
                    run->options.duration_s);
        status = bench_run(&run->result, run->client.onus, onus_configuration(run->client.onus),
                           &run->options, &run->problem);
    }
    if (client_close(&run->client, &run->problem) != 0) {
        status = -1;
    }
    if (status == 0) {
        print_result(run);
    }
    return status;
}

static int run_in_sandbox(struct run *run, struct globals *globals) {
    char directory[] = "onus-bench-XXXXXX";
    char context[PATH_MAX];
    struct sandbox sandbox;
    struct problem late = {.code = EXIT_OK};
    if (mkdtemp(directory) == NULL) {
        return problem_set(&run->problem, EXIT_ERROR,
                           "cannot make a directory here: %s; run it where you may write",
                           strerror(errno));
    }
    struct sandbox_plan const plan = {.replicas = BENCH_REPLICAS, .base_port = find_ports()};
    if (sandbox_make(directory, &plan, &run->problem) != 0 ||
        sandbox_open(&sandbox, directory, globals->program, &run->problem) != 0) {
        return -1;
    }
    command_say(globals, "onus: starting %u replicas in %s", plan.replicas, directory);
    int status = sandbox_start(&sandbox, &run->problem);
    if (status == 0) {
        status = sandbox_wait(&sandbox, &run->problem);
    }
    if (status == 0) {
        sandbox_context_path(&sandbox, context);
        globals->context = context;
        status = run_here(run);
    }
    /* The first problem is the one to tell. */
    if (sandbox_stop(&sandbox, &late) != 0 ||
        (status == 0 && sandbox_remove(&sandbox, &late) != 0)) {
        return problem_set(&run->problem, late.code, "%s", late.text);
    }
    return status;
}

/* ---- the command ----------------------------------------------------------------------------- */

static int take_option(const struct command *command, struct run *run, int option,
                       const char *text) {
    uint64_t number = 0;
    switch (option) {
    case OPTION_CLIENTS:
        if (!command_number(text, 1, CLIENTS_MAX, &number)) {
            return command_misused(command, "--clients takes 1 to %u", CLIENTS_MAX);
        }
        run->options.clients = (uint32_t)number;
        return EXIT_OK;
    case OPTION_DURATION:
        if (!command_number(text, 1, DURATION_S_MAX, &number)) {
            return command_misused(command, "--duration takes 1 to %u seconds", DURATION_S_MAX);
        }
        run->options.duration_s = (uint32_t)number;
        return EXIT_OK;
    case OPTION_BUNDLE:
        if (!command_number(text, 1, CALLS_MAX, &number)) {
            return command_misused(command, "--bundle takes 1 to %u calls", CALLS_MAX);
        }
        run->options.bundle = (uint32_t)number;
        return EXIT_OK;
    default:
        run->options.workload = strcmp(text, "kv") == 0 ? WORKLOAD_KV : WORKLOAD_SMALLBANK;
        return strcmp(text, "kv") == 0 || strcmp(text, "smallbank") == 0
                   ? EXIT_OK
                   : command_misused(command, "--workload takes smallbank or kv");
    }
}

int command_bench(const struct command *command, struct globals *globals, int argc, char **argv) {
    struct run *const run = calloc(1, sizeof *run);
    CHECK(run != NULL);
    run->globals = globals;
    run->options = (struct bench_options){
        .duration_s = DURATION_S_DEFAULT, .bundle = 1, .workload = WORKLOAD_SMALLBANK};
    int code = EXIT_OK;
    int option = 0;
    while (code == EXIT_OK && option != -1) {
        option = command_option(command, globals, argc, argv, options);
        if (COMMAND_ENDS(option)) {
            free(run);
            return COMMAND_CODE(option);
        }
        code = option == -1 ? EXIT_OK : take_option(command, run, option, optarg);
    }
    if (code == EXIT_OK && optind != argc) {
        code = command_misused(command, "it takes options only");
    }
    if (run->options.clients == 0) {
        run->options.clients = run->options.bundle == 1 ? CLIENTS_DEFAULT : CLIENTS_BUNDLED_DEFAULT;
    }
    if (code == EXIT_OK) {
        int const status = globals->context == NULL ? run_in_sandbox(run, globals) : run_here(run);
        code = status == 0 ? EXIT_OK : command_fail(&run->problem);
    }
    free(run);
    return code;
}
