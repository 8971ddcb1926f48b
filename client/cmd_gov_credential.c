/*
 * onus gov possession, replica, endorse: what is signed on other machines before there can be a
 * proposal. Each key stays where it was made; what travels is a credential, which is public.
 */
#include <limits.h>
#include <stdio.h>

#include "client/command.h"
#include "client/credential.h"
#include "client/replica_kit.h"
#include "host/address.h"
#include "host/key_file.h"
#include "host/tls_certificate.h"

enum {
    OPTION_MEMBER = OPTION_FIRST_OWN,
    OPTION_USER,
    OPTION_REPLICA_OF,
    OPTION_KEY,
    OPTION_TLS_CERTIFICATE,
    OPTION_PEER_ADDRESS,
    OPTION_CLIENT_ADDRESS,
    OPTION_LISTEN_PEER,
    OPTION_LISTEN_CLIENT,
    OPTION_REPLICA,
    OPTION_CREDENTIAL,
    OPTION_MEMBER_KEY,
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

/* The service that is signed for: --service, else that of the context. */
static int take_service(struct digest *out, const struct globals *globals, const char *text,
                        struct problem *problem) {
    struct context context;
    if (text != NULL) {
        return hex_decode(out->bytes, DIGEST_SIZE, text)
                   ? 0
                   : problem_set(problem, EXIT_USAGE, "--service takes 64 hexadecimal digits");
    }
    int const status = context_load(&context, globals->context, problem);
    *out = context.founding.genesis.service;
    context_free(&context);
    return status;
}

static void print_credential(const struct globals *globals, const struct credential *credential) {
    char key[2 * PUBLIC_KEY_SIZE + 1];
    char tls[2 * DIGEST_SIZE + 1];
    bool const replica = credential->role == HOLDER_REPLICA;
    hex_encode(key, span_of(credential->key.bytes, PUBLIC_KEY_SIZE));
    hex_encode(tls, span_of(credential->tls_digest.bytes, DIGEST_SIZE));
    if (globals->json) {
        (void)printf("{\"role\":\"%s\",\"name\":\"%s\",\"key\":\"%s\"",
                     credential_role_text(credential->role), credential->name, key);
        if (replica) {
            (void)printf(",\"tls_digest\":\"%s\",\"peer_address\":\"%s\",\"client_address\":\"%s\"",
                         tls, credential->peer_address, credential->client_address);
        }
        (void)printf(",\"endorsed\":%s}\n", credential->endorsed ? "true" : "false");
        return;
    }
    (void)printf("%s%s %s\nkey     %s\n", credential_role_text(credential->role),
                 replica ? " of" : "", credential->name, key);
    if (replica) {
        (void)printf("tls     %s\npeers   %s\nclients %s\n", tls, credential->peer_address,
                     credential->client_address);
    }
    if (credential->endorsed) {
        (void)puts("endorsed");
    }
}

/* Sign by the new key, and write the file. */
static int possess_and_save(struct credential *credential, const char *key_path, const char *out,
                            struct problem *problem) {
    struct secret_key secret;
    struct public_key key;
    if (key_file_load(&secret, &key, key_path, problem) != 0) {
        return -1;
    }
    int const status = credential_possess(credential, &secret, &key, problem);
    sign_key_wipe(&secret);
    return status == 0 ? credential_save(credential, out, problem) : -1;
}

/* ---- possession ------------------------------------------------------------------------------ */

static const struct option possession_options[] = {
    {"member", required_argument, NULL, OPTION_MEMBER},
    {"user", required_argument, NULL, OPTION_USER},
    {"replica-of", required_argument, NULL, OPTION_REPLICA_OF},
    {"key", required_argument, NULL, OPTION_KEY},
    {"tls-certificate", required_argument, NULL, OPTION_TLS_CERTIFICATE},
    {"peer-address", required_argument, NULL, OPTION_PEER_ADDRESS},
    {"client-address", required_argument, NULL, OPTION_CLIENT_ADDRESS},
    {"service", required_argument, NULL, OPTION_SERVICE},
    {"out", required_argument, NULL, OPTION_OUT},
    GLOBAL_OPTIONS};

static int possess(const struct globals *globals, const char *const *values,
                   struct problem *problem) {
    struct credential credential = {.role = HOLDER_MEMBER};
    const char *name = values[OPTION_MEMBER];
    if (values[OPTION_USER] != NULL) {
        credential.role = HOLDER_USER;
        name = values[OPTION_USER];
    } else if (values[OPTION_REPLICA_OF] != NULL) {
        credential.role = HOLDER_REPLICA;
        name = values[OPTION_REPLICA_OF];
        if (credential_set_addresses(&credential, values[OPTION_PEER_ADDRESS],
                                     values[OPTION_CLIENT_ADDRESS], problem) != 0 ||
            tls_certificate_digest_of_file(&credential.tls_digest, values[OPTION_TLS_CERTIFICATE],
                                           problem) != 0) {
            return -1;
        }
    }
    if (credential_set_name(&credential, name, problem) != 0 ||
        take_service(&credential.service, globals, values[OPTION_SERVICE], problem) != 0 ||
        possess_and_save(&credential, values[OPTION_KEY], values[OPTION_OUT], problem) != 0) {
        return -1;
    }
    print_credential(globals, &credential);
    return 0;
}

int command_gov_possession(const struct command *command, struct globals *globals, int argc,
                           char **argv) {
    struct problem problem = {.code = EXIT_OK};
    const char *values[OPTIONS_END] = {NULL};
    int const option = take_values(command, globals, argc, argv, possession_options, values);
    if (option != 0) {
        return COMMAND_CODE(option);
    }
    int const roles = (values[OPTION_MEMBER] != NULL) + (values[OPTION_USER] != NULL) +
                      (values[OPTION_REPLICA_OF] != NULL);
    bool const places = values[OPTION_TLS_CERTIFICATE] != NULL &&
                        values[OPTION_PEER_ADDRESS] != NULL &&
                        values[OPTION_CLIENT_ADDRESS] != NULL;
    if (roles != 1 || values[OPTION_KEY] == NULL || values[OPTION_OUT] == NULL || optind != argc) {
        return command_misused(command,
                               "--key and --out are needed, and one of --member, --user and "
                               "--replica-of");
    }
    if (values[OPTION_REPLICA_OF] != NULL && !places) {
        return command_misused(command, "a replica has a certificate and two addresses, too");
    }
    return possess(globals, values, &problem) == 0 ? EXIT_OK : command_fail(&problem);
}

/* ---- replica --------------------------------------------------------------------------------- */

static const struct option replica_options[] = {
    {"member", required_argument, NULL, OPTION_MEMBER},
    {"replica", required_argument, NULL, OPTION_REPLICA},
    {"peer-address", required_argument, NULL, OPTION_PEER_ADDRESS},
    {"client-address", required_argument, NULL, OPTION_CLIENT_ADDRESS},
    {"listen-peer", required_argument, NULL, OPTION_LISTEN_PEER},
    {"listen-client", required_argument, NULL, OPTION_LISTEN_CLIENT},
    {"service", required_argument, NULL, OPTION_SERVICE},
    {"out", required_argument, NULL, OPTION_OUT},
    GLOBAL_OPTIONS};

static int make_replica(const struct globals *globals, const char *const *values, uint32_t number,
                        struct problem *problem) {
    char peer[ADDRESS_TEXT_SIZE];
    char client[ADDRESS_TEXT_SIZE];
    char paths[2][PATH_MAX];
    struct credential credential = {.role = HOLDER_REPLICA};
    struct public_key key;
    if (strlen(values[OPTION_OUT]) >= PATH_MAX - NAME_MAX) {
        return problem_set(problem, EXIT_USAGE, "%s: the path is too long", values[OPTION_OUT]);
    }
    (void)snprintf(paths[0], PATH_MAX, "%s/replica.key", values[OPTION_OUT]);
    (void)snprintf(paths[1], PATH_MAX, "%s/replica.credential", values[OPTION_OUT]);
    /* All that may be wrong is found before a file is made. */
    if (credential_set_name(&credential, values[OPTION_MEMBER], problem) != 0 ||
        credential_set_addresses(&credential, values[OPTION_PEER_ADDRESS],
                                 values[OPTION_CLIENT_ADDRESS], problem) != 0 ||
        replica_kit_listen(peer, values[OPTION_LISTEN_PEER], credential.peer_address, problem) !=
            0 ||
        replica_kit_listen(client, values[OPTION_LISTEN_CLIENT], credential.client_address,
                           problem) != 0 ||
        take_service(&credential.service, globals, values[OPTION_SERVICE], problem) != 0) {
        return -1;
    }
    struct replica_kit const kit = {.directory = values[OPTION_OUT],
                                    .replica = number,
                                    .genesis = "genesis.onus",
                                    .listen_peer = peer,
                                    .listen_client = client};
    if (replica_kit_make(&kit, &key, &credential.tls_digest, problem) != 0 ||
        possess_and_save(&credential, paths[0], paths[1], problem) != 0) {
        return -1;
    }
    print_credential(globals, &credential);
    return 0;
}

int command_gov_replica(const struct command *command, struct globals *globals, int argc,
                        char **argv) {
    struct problem problem = {.code = EXIT_OK};
    const char *values[OPTIONS_END] = {NULL};
    uint64_t number = 0;
    int const option = take_values(command, globals, argc, argv, replica_options, values);
    if (option != 0) {
        return COMMAND_CODE(option);
    }
    if (values[OPTION_MEMBER] == NULL || values[OPTION_REPLICA] == NULL ||
        values[OPTION_PEER_ADDRESS] == NULL || values[OPTION_CLIENT_ADDRESS] == NULL ||
        values[OPTION_OUT] == NULL || optind != argc) {
        return command_misused(command, "--member, --replica, both addresses and --out are needed");
    }
    if (!command_number(values[OPTION_REPLICA], 0, REPLICAS_MAX - 1, &number)) {
        return command_misused(command, "--replica is the number that it will have");
    }
    return make_replica(globals, values, (uint32_t)number, &problem) == 0 ? EXIT_OK
                                                                          : command_fail(&problem);
}

/* ---- endorse --------------------------------------------------------------------------------- */

static const struct option endorse_options[] = {
    {"credential", required_argument, NULL, OPTION_CREDENTIAL},
    {"member-key", required_argument, NULL, OPTION_MEMBER_KEY},
    {"service", required_argument, NULL, OPTION_SERVICE},
    {"out", required_argument, NULL, OPTION_OUT},
    GLOBAL_OPTIONS};

static int endorse(const struct globals *globals, const char *const *values,
                   struct problem *problem) {
    struct digest service;
    struct credential credential;
    struct secret_key secret;
    struct public_key key;
    const char *const path = values[OPTION_CREDENTIAL];
    if (take_service(&service, globals, values[OPTION_SERVICE], problem) != 0 ||
        credential_load(&credential, &service, path, problem) != 0) {
        return -1;
    }
    if (credential.role != HOLDER_REPLICA) {
        return problem_set(problem, EXIT_INVALID, "%s: is that of a %s; only replicas are endorsed",
                           path, credential_role_text(credential.role));
    }
    if (key_file_load(&secret, &key, values[OPTION_MEMBER_KEY], problem) != 0) {
        return -1;
    }
    int const status = credential_endorse(&credential, &secret, &key, problem);
    sign_key_wipe(&secret);
    if (status != 0 || credential_save(&credential, values[OPTION_OUT], problem) != 0) {
        return -1;
    }
    print_credential(globals, &credential);
    return 0;
}

int command_gov_endorse(const struct command *command, struct globals *globals, int argc,
                        char **argv) {
    struct problem problem = {.code = EXIT_OK};
    const char *values[OPTIONS_END] = {NULL};
    int const option = take_values(command, globals, argc, argv, endorse_options, values);
    if (option != 0) {
        return COMMAND_CODE(option);
    }
    if (values[OPTION_CREDENTIAL] == NULL || values[OPTION_MEMBER_KEY] == NULL ||
        values[OPTION_OUT] == NULL || optind != argc) {
        return command_misused(command, "--credential, --member-key and --out are needed");
    }
    return endorse(globals, values, &problem) == 0 ? EXIT_OK : command_fail(&problem);
}
