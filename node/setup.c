/*
 * setup: everything that the configuration names is read and checked here, before any state is
 * written and before anybody is answered. Each problem is one line with the remedy.
 */
#include "base/check.h"
#include "node/constitutions.h"
#include "node/node.h"

/*
 * The number in the configuration is the one under which genesis endorses the keys that lie here;
 * a replica that governance has added has a number that genesis does not give, and finds its place
 * by its key. Its TLS key is then for governance to say, and so is that of a founding one once
 * there have been other configurations than genesis's.
 */
static int check_endorsement(struct identity *identity, const struct node_config *config,
                             struct problem *problem) {
    const struct configuration *const configuration = &identity->founding.configuration;
    uint32_t const place = configuration_find_replica(configuration, &identity->key);
    identity->founding_place = place;
    if (config->replica >= configuration->replica_count) {
        return place == REPLICAS_MAX
                   ? 0
                   : problem_set(problem, EXIT_ERROR,
                                 "%s: endorses the key in %s for replica %u, but the configuration "
                                 "says `replica: %u`; correct `replica`",
                                 config->genesis, config->signing_key, place, config->replica);
    }
    if (place != config->replica) {
        return problem_set(problem, EXIT_ERROR,
                           "%s: is not the signing key that genesis endorses for replica %u; give "
                           "that key, or correct `replica`: one that governance has added has a "
                           "number from %u on",
                           config->signing_key, config->replica, configuration->replica_count);
    }
    struct digest const digest = tls_certificate_digest(identity->certificate);
    if (!digest_equal(&configuration->replicas[place].tls_digest, &digest) &&
        !constitutions_present(config)) {
        return problem_set(problem, EXIT_ERROR,
                           "%s: its key is not the TLS key that genesis endorses for replica %u; "
                           "give that certificate, or correct `replica`",
                           config->tls_certificate, config->replica);
    }
    return 0;
}

static struct tls_context *make_context(const struct identity *identity, enum tls_role role,
                                        struct problem *problem) {
    struct digest pins[REPLICAS_MAX];
    const struct configuration *const configuration = &identity->founding.configuration;
    for (uint32_t i = 0; i < configuration->replica_count; i++) {
        pins[i] = configuration->replicas[i].tls_digest;
    }
    struct tls_context_options const options = {.role = role,
                                                .certificate = identity->certificate,
                                                .pins = pins,
                                                .pin_count = configuration->replica_count};
    return tls_context_create(&options, problem);
}

static int make_contexts(struct identity *identity, struct problem *problem) {
    identity->tls_dial = make_context(identity, TLS_PEER_DIAL, problem);
    identity->tls_peer = make_context(identity, TLS_PEER_ACCEPT, problem);
    identity->tls_client = make_context(identity, TLS_CLIENT_ACCEPT, problem);
    bool const made =
        identity->tls_dial != NULL && identity->tls_peer != NULL && identity->tls_client != NULL;
    return made ? 0 : -1;
}

int identity_load_genesis(struct identity *identity, const struct node_config *config,
                          struct problem *problem) {
    return founding_load(&identity->founding, config->genesis, problem);
}

int identity_load_keys(struct identity *identity, const struct node_config *config,
                       struct problem *problem) {
    struct tls_certificate_paths const paths = {.certificate = config->tls_certificate,
                                                .key = config->tls_key};
    if (key_file_load(&identity->signing_key, &identity->key, config->signing_key, problem) != 0 ||
        secret_file_load(&identity->nonce_secret, config->nonce_secret, problem) != 0) {
        return -1;
    }
    identity->certificate = tls_certificate_load(&paths, problem);
    if (identity->certificate == NULL || check_endorsement(identity, config, problem) != 0) {
        return -1;
    }
    return make_contexts(identity, problem);
}

void identity_free(struct identity *identity) {
    struct tls_context *const contexts[] = {identity->tls_dial, identity->tls_peer,
                                            identity->tls_client};
    for (size_t i = 0; i < sizeof contexts / sizeof contexts[0]; i++) {
        if (contexts[i] != NULL) {
            tls_context_free(contexts[i]);
        }
    }
    if (identity->certificate != NULL) {
        tls_certificate_free(identity->certificate);
    }
    sign_key_wipe(&identity->signing_key);
    prf_secret_wipe(&identity->nonce_secret);
    founding_free(&identity->founding);
}
