/*
 * reconfigure: what the process does when its replica goes from one configuration to the next
 * (protocol §9). The replica has done its part when this is called: numbers of peers are the new
 * ones. Constitutions are on the disk before any checkpoint of their configuration is.
 */
#include <stdio.h>

#include "node/chain_keeper.h"
#include "node/constitutions.h"
#include "node/node.h"

int node_keep_constitutions(struct node *node, struct problem *problem) {
    uint64_t const newest = replica_configuration(node->replica)->number;
    while (node->kept_config < newest) {
        const struct constitution *const next =
            replica_constitution_of(node->replica, node->kept_config + 1);
        /* Those long passed in one go are at hand no more, and no checkpoint is of them. */
        if (next != NULL && constitution_keep(node, next, problem) != 0) {
            return -1;
        }
        node->kept_config++;
    }
    return 0;
}

/* Is this replica in one of the two, and not in the other? */
static bool has_replica(const struct constitution *constitution, const struct public_key *key) {
    uint32_t position = 0;
    return constitution != NULL && constitution_find_replica(constitution, key, &position);
}

static void tell_replicas(const struct constitution *from, const struct constitution *not_in,
                          const char *what) {
    for (uint32_t i = 0; from != NULL && i < from->replica_count; i++) {
        const struct replica_identity *const identity = &from->replicas[i].identity;
        if (not_in != NULL && !has_replica(not_in, &identity->key)) {
            log_event(LOG_INFO, what,
                      (struct log_field[]){log_number("config", from->number),
                                           log_number("place", i),
                                           log_text("member", from->members[identity->member].name),
                                           log_text("address", identity->peer_address), log_end()});
        }
    }
}

void node_check_certificate(const struct node *node) {
    uint32_t const self = replica_self(node->replica);
    const struct replica_identity *const identity =
        self == REPLICAS_MAX ? NULL : replica_peer(node->replica, self);
    struct digest const digest = tls_certificate_digest(node->identity.certificate);
    if (identity != NULL && !digest_equal(&identity->tls_digest, &digest)) {
        log_event(LOG_ERROR, "the TLS key is not the one that is endorsed for this replica",
                  (struct log_field[]){log_text("file", node->config.tls_certificate),
                                       log_text("remedy", "give the certificate that the newest "
                                                          "endorsement names, and start anew"),
                                       log_end()});
    }
}

static void tell_entered(struct node *node, const struct constitution *now) {
    const struct constitution *const before =
        replica_constitution_of(node->replica, now->number - 1);
    uint32_t const self = replica_self(node->replica);
    log_event(LOG_INFO, "entered a configuration",
              (struct log_field[]){log_number("config", now->number),
                                   log_number("replicas", now->replica_count),
                                   log_number("members", now->member_count),
                                   log_number("users", now->user_count), log_end()});
    tell_replicas(now, before, "a replica came");
    tell_replicas(before, now, "a replica went");
    if (self != REPLICAS_MAX) {
        log_event(LOG_INFO, "this replica is part of the configuration",
                  (struct log_field[]){log_number("config", now->number), log_number("place", self),
                                       log_end()});
        node_check_certificate(node);
    } else if (has_replica(before, &node->identity.key)) {
        log_event(LOG_WARN, "this replica is not part of the configuration any more",
                  (struct log_field[]){log_number("config", now->number),
                                       log_text("remedy", "it follows and serves as long as others "
                                                          "talk to it; it may be stopped"),
                                       log_end()});
    }
}

void node_reconfigured(struct node *node, const struct constitution *constitution, bool settled) {
    struct problem problem = {0};
    if (node_keep_constitutions(node, &problem) != 0) {
        node_fail(node, "writing the constitution down", problem.text);
        return;
    }
    peers_update(node);
    chain_keeper_entered(node, constitution->number);
    if (settled) {
        log_event(LOG_INFO, "the configuration has begun for good",
                  (struct log_field[]){log_number("config", constitution->number), log_end()});
    } else {
        tell_entered(node, constitution);
    }
}
