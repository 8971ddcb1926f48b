/*
 * onus genesis replica, context: the two directories of a founding that stay on one machine each:
 * a replica's, with its own keys, and a user's or auditor's, with nothing secret from anybody else.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "client/command.h"
#include "client/plan.h"
#include "client/replica_kit.h"
#include "client/view.h"
#include "host/address.h"
#include "host/file.h"

enum {
    OPTION_PLAN = OPTION_FIRST_OWN,
    OPTION_REPLICA,
    OPTION_LISTEN_PEER,
    OPTION_LISTEN_CLIENT,
    OPTION_GENESIS,
    OPTION_SERVICE,
    OPTION_OUT,
    OPTIONS_END
};

/* Take all options into values by their number; those not given are NULL. Returns: 0, or the
 * option that ends the command. */
static int take_values(const struct command *command, struct globals *globals, int argc,
                       char **argv, const struct option *options, const char **values) {
    for (;;) {
        int const option = command_option(command, globals, argc, argv, options);
        if (COMMAND_ENDS(option)) {
            return option;
        }
        if (option == -1) {
            return 0;
        }
        values[option] = optarg;
    }
}

/* ---- replica --------------------------------------------------------------------------------- */

static const struct option replica_options[] = {
    {"plan", required_argument, NULL, OPTION_PLAN},
    {"replica", required_argument, NULL, OPTION_REPLICA},
    {"listen-peer", required_argument, NULL, OPTION_LISTEN_PEER},
    {"listen-client", required_argument, NULL, OPTION_LISTEN_CLIENT},
    {"out", required_argument, NULL, OPTION_OUT},
    GLOBAL_OPTIONS};

static int make_replica(const struct globals *globals, const struct plan *plan,
                        const char *const *values, struct problem *problem) {
    char peer[ADDRESS_TEXT_SIZE];
    char client[ADDRESS_TEXT_SIZE];
    char text[2][2 * DIGEST_SIZE + 1];
    struct public_key key;
    struct digest digest;
    uint64_t replica;
    if (!command_number(values[OPTION_REPLICA], 0, plan->replica_count - 1, &replica)) {
        return problem_set(problem, EXIT_USAGE, "--replica %s: %s has replicas 0 to %u",
                           values[OPTION_REPLICA], plan->path, plan->replica_count - 1);
    }
    const struct plan_replica *const planned = &plan->replicas[replica];
    if (replica_kit_listen(peer, values[OPTION_LISTEN_PEER],
                           (const char *)planned->peer_address.data, problem) != 0 ||
        replica_kit_listen(client, values[OPTION_LISTEN_CLIENT],
                           (const char *)planned->client_address.data, problem) != 0) {
        return -1;
    }
    struct replica_kit const kit = {.directory = values[OPTION_OUT],
                                    .replica = (uint32_t)replica,
                                    .genesis = "genesis.onus",
                                    .listen_peer = peer,
                                    .listen_client = client};
    if (replica_kit_make(&kit, &key, &digest, problem) != 0) {
        return -1;
    }
    hex_encode(text[0], span_of(key.bytes, PUBLIC_KEY_SIZE));
    hex_encode(text[1], span_of(digest.bytes, DIGEST_SIZE));
    (void)printf(globals->json ? "{\"replica_key\":\"%s\",\"tls_digest\":\"%s\"}\n"
                               : "replica key %s\ntls digest  %s\n",
                 text[0], text[1]);
    return 0;
}

int command_genesis_replica(const struct command *command, struct globals *globals, int argc,
                            char **argv) {
    struct problem problem = {.code = EXIT_OK};
    const char *values[OPTIONS_END] = {NULL};
    int const option = take_values(command, globals, argc, argv, replica_options, values);
    if (option != 0) {
        return COMMAND_CODE(option);
    }
    if (values[OPTION_PLAN] == NULL || values[OPTION_REPLICA] == NULL ||
        values[OPTION_OUT] == NULL || optind != argc) {
        return command_misused(command, "--plan, --replica and --out are needed");
    }
    struct plan *const plan = calloc(1, sizeof *plan);
    if (plan == NULL) {
        (void)problem_set(&problem, EXIT_ERROR, "out of memory");
        return command_fail(&problem);
    }
    int status = plan_load(plan, values[OPTION_PLAN], &problem);
    if (status == 0) {
        status = make_replica(globals, plan, values, &problem);
    }
    plan_free(plan);
    free(plan);
    return status == 0 ? EXIT_OK : command_fail(&problem);
}

/* ---- context --------------------------------------------------------------------------------- */

static const struct option context_options[] = {
    {"genesis", required_argument, NULL, OPTION_GENESIS},
    {"service", required_argument, NULL, OPTION_SERVICE},
    {"out", required_argument, NULL, OPTION_OUT},
    GLOBAL_OPTIONS};

/* The service id that was agreed on by other means than the file must be that of the file. */
static int check_service(const struct founding *founding, const char *const *values,
                         struct problem *problem) {
    struct digest service;
    if (values[OPTION_SERVICE] == NULL) {
        return 0;
    }
    if (!hex_decode(service.bytes, DIGEST_SIZE, values[OPTION_SERVICE])) {
        return problem_set(problem, EXIT_USAGE, "--service takes 64 hexadecimal digits");
    }
    return digest_equal(&service, &founding->genesis.service)
               ? 0
               : problem_set(problem, EXIT_INVALID,
                             "%s: is the genesis of another service than --service names; get the "
                             "right file",
                             values[OPTION_GENESIS]);
}

static int write_context(const struct founding *founding, const char *directory,
                         struct problem *problem) {
    char path[PATH_MAX];
    char service[2 * DIGEST_SIZE + 1];
    char text[128];
    if (strlen(directory) >= PATH_MAX - NAME_MAX) {
        return problem_set(problem, EXIT_USAGE, "%s: the path is too long", directory);
    }
    if (directory_make(directory, problem) != 0) {
        return -1;
    }
    (void)snprintf(path, sizeof path, "%s/genesis.onus", directory);
    if (file_write(path, buffer_span(&founding->file), 0644, FILE_KEEP, problem) != 0) {
        return -1;
    }
    hex_encode(service, span_of(founding->genesis.service.bytes, DIGEST_SIZE));
    (void)printf("service %s\n", service);
    int const size = snprintf(text, sizeof text, "service: %s\n", service);
    (void)snprintf(path, sizeof path, "%s/config", directory);
    return file_write(path, span_of(text, (size_t)size), 0644, FILE_KEEP, problem);
}

int command_genesis_context(const struct command *command, struct globals *globals, int argc,
                            char **argv) {
    struct problem problem = {.code = EXIT_OK};
    const char *values[OPTIONS_END] = {NULL};
    int const option = take_values(command, globals, argc, argv, context_options, values);
    if (option != 0) {
        return COMMAND_CODE(option);
    }
    if (values[OPTION_GENESIS] == NULL || values[OPTION_OUT] == NULL || optind != argc) {
        return command_misused(command, "--genesis and --out are needed");
    }
    struct founding *const founding = calloc(1, sizeof *founding);
    if (founding == NULL) {
        (void)problem_set(&problem, EXIT_ERROR, "out of memory");
        return command_fail(&problem);
    }
    int status = founding_load(founding, values[OPTION_GENESIS], &problem);
    if (status == 0) {
        status = check_service(founding, values, &problem);
    }
    if (status == 0) {
        status = write_context(founding, values[OPTION_OUT], &problem);
    }
    founding_free(founding);
    free(founding);
    return status == 0 ? EXIT_OK : command_fail(&problem);
}
