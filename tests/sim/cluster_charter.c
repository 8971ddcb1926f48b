/*
 * cluster_charter: a cluster that changes its configuration (protocol §9; see cluster.h): who is
 * who in each, and what all nodes must agree on: one constitution for each number.
 *
 * A node is one key for good; its position differs from one configuration to the next. Nodes that
 * no configuration has named yet, spares, run from the start and follow.
 */
#include <stdlib.h>

#include "base/check.h"
#include "governance/constitution.h"
#include "tests/sim/cluster.h"

static struct cluster_era *era_of(struct cluster *cluster, uint64_t number) {
    if (number == 0 || number > CLUSTER_ERAS_MAX) {
        cluster_fail(cluster, "configuration %llu", (unsigned long long)number);
    }
    return &cluster->eras[number - 1];
}

void cluster_charter_set_up(struct cluster *cluster) {
    struct cluster_era *const founding = era_of(cluster, 1);
    founding->configuration = cluster->consortium.configuration;
    founding->known = true;
    for (uint32_t id = 0; id < cluster->replica_count - cluster->options.spares; id++) {
        cluster->keys[id] = cluster->consortium.replicas[id];
    }
    if (!cluster->options.governed) {
        return;
    }
    cluster->charter = cluster_zeroed(1, sizeof *cluster->charter);
    charter_found(cluster->charter, &cluster->consortium);
    founding->constitution = cluster->charter->now;
    for (uint32_t id = cluster->replica_count - cluster->options.spares;
         id < cluster->replica_count; id++) {
        struct replica_keys *const keys = &cluster->keys[id];
        keys->held = true;
        keys->signing = *charter_key(cluster->charter, CLUSTER_SPARE_NUMBER + id);
        memcpy(keys->nonce_secret, keys->signing.key.bytes, sizeof keys->nonce_secret);
    }
}

void cluster_charter_free(struct cluster *cluster) {
    if (cluster->charter != NULL) {
        charter_free(cluster->charter);
        free(cluster->charter);
    }
}

bool cluster_knows_configuration(const struct cluster *cluster, uint64_t number) {
    return number >= 1 && number <= CLUSTER_ERAS_MAX && cluster->eras[number - 1].known;
}

const struct configuration *cluster_configuration(struct cluster *cluster, uint64_t number) {
    const struct cluster_era *const era = era_of(cluster, number);
    if (!era->known) {
        cluster_fail(cluster, "nobody has entered configuration %llu", (unsigned long long)number);
    }
    return &era->configuration;
}

uint64_t cluster_config_at(const struct cluster *cluster, uint64_t seq) {
    uint64_t number = 1;
    while (number < CLUSTER_ERAS_MAX && cluster->eras[number].known &&
           cluster->eras[number].start < seq) {
        number++;
    }
    return number;
}

uint32_t cluster_id_of(const struct cluster *cluster, const struct public_key *key) {
    for (uint32_t id = 0; id < cluster->replica_count; id++) {
        if (public_key_equal(&cluster->keys[id].signing.key, key)) {
            return id;
        }
    }
    return CLUSTER_NODES_MAX;
}

uint32_t cluster_position(struct cluster *cluster, uint64_t number, uint32_t id) {
    if (!cluster_knows_configuration(cluster, number)) {
        return REPLICAS_MAX;
    }
    const struct configuration *const configuration = cluster_configuration(cluster, number);
    for (uint32_t r = 0; r < configuration->replica_count; r++) {
        if (public_key_equal(&configuration->replicas[r].key, &cluster->keys[id].signing.key)) {
            return r;
        }
    }
    return REPLICAS_MAX;
}

uint32_t cluster_primary(struct cluster *cluster, uint64_t number, uint64_t view) {
    if (!cluster_knows_configuration(cluster, number)) {
        return CLUSTER_NODES_MAX;
    }
    const struct configuration *const configuration = cluster_configuration(cluster, number);
    return cluster_id_of(cluster,
                         &configuration->replicas[configuration_primary(configuration, view)].key);
}

void cluster_configuration_came(struct cluster *cluster, uint32_t number,
                                const struct constitution *constitution) {
    struct cluster_era *const era = era_of(cluster, constitution->number);
    uint64_t const start = checker_position(cluster->nodes[number].checker)->config_start;
    struct digest digest;
    CHECK(constitution_digest(&digest, constitution));
    cluster->judgements++;
    if (era->known && (!digest_equal(&era->digest, &digest) || era->start != start)) {
        cluster_fail(cluster, "node %u enters another configuration %llu than others did", number,
                     (unsigned long long)constitution->number);
    }
    cluster_trace(cluster, "%u enters configuration %llu after batch %llu", number,
                  (unsigned long long)constitution->number, (unsigned long long)start);
    if (era->known) {
        return;
    }
    era->known = true;
    era->start = start;
    era->digest = digest;
    era->constitution = *constitution;
    constitution_configuration(&era->configuration, constitution);
}
