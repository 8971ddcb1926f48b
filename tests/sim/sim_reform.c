/*
 * sim_reform: members who change the configuration at random moments (protocol §9): one proposal
 * after the other, voted on by all, until it has passed. Replicas are added, replaced and removed
 * as far as the rules allow; users and members come. A vote that was refused, since it came before
 * its proposal, is cast again.
 */
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "tests/sim/simulation.h"

#define MEMBERS_AT_MOST 10u

static struct constitution *now_of(const struct simulation *simulation) {
    return &simulation->cluster->charter->now;
}

/* A node that is in no configuration any more, or not yet, and has never been; or none. */
static uint32_t draw_fresh(struct simulation *simulation) {
    struct cluster *const cluster = simulation->cluster;
    uint32_t const first = cluster->replica_count - cluster->options.spares;
    uint32_t const used = first + simulation->reform.spares_used;
    return used < cluster->replica_count ? used : CLUSTER_NODES_MAX;
}

/* A text that lives as long as the cluster. */
static const char *keep_text(struct simulation *simulation, const char *text) {
    return (const char *)cluster_keep(simulation->cluster, span_of(text, strlen(text) + 1)).data;
}

static const char *draw_operator(struct simulation *simulation) {
    const struct constitution *const now = now_of(simulation);
    return keep_text(simulation,
                     now->members[prng_below(&simulation->prng, now->member_count)].name);
}

/* The actions of a proposal that breaks no rule. */
static struct action draw_action(struct simulation *simulation) {
    struct charter *const charter = simulation->cluster->charter;
    const struct constitution *const now = now_of(simulation);
    struct prng *const prng = &simulation->prng;
    uint32_t const number = 100000 + (uint32_t)charter->counter;
    uint32_t const fresh = draw_fresh(simulation);
    uint32_t const kind = (uint32_t)prng_below(prng, 10);
    const struct public_key *const old =
        &now->replicas[prng_below(prng, now->replica_count)].identity.key;
    char name[16];
    (void)snprintf(name, sizeof name, "new-%u", number);
    if (kind < 4 && fresh != CLUSTER_NODES_MAX) {
        bool const replaces = kind == 3;
        simulation->reform.spares_used++;
        return charter_replica(charter, replaces ? old : NULL, draw_operator(simulation),
                               CLUSTER_SPARE_NUMBER + fresh);
    }
    if (kind < 7 && now->replica_count > REPLICAS_MIN) {
        return charter_replica_gone(old);
    }
    if (kind < 8 && now->member_count < MEMBERS_AT_MOST) {
        return charter_named(charter, ACTION_ADD_MEMBER, keep_text(simulation, name), number);
    }
    return charter_named(charter, ACTION_ADD_USER, keep_text(simulation, name), number);
}

static uint32_t say(struct simulation *simulation, uint32_t member, const char *call,
                    struct span argument) {
    struct charter *const charter = simulation->cluster->charter;
    const struct constitution *const now = now_of(simulation);
    const char *const calls[] = {call};
    struct order const order = {.author = charter_pair(charter, &now->members[member].key),
                                .call_count = 1,
                                .calls = calls,
                                .argument = argument};
    return cluster_submit_order(simulation->cluster,
                                (uint32_t)prng_below(&simulation->prng, CLUSTER_CLIENTS), &order);
}

static void propose(struct simulation *simulation) {
    struct reform *const reform = &simulation->reform;
    struct charter *const charter = simulation->cluster->charter;
    struct action const action = draw_action(simulation);
    struct proposal proposal;
    reform->proposal = charter_propose(charter, 1, &action);
    charter_decode(charter, &proposal, reform->proposal);
    reform->id = proposal.id;
    reform->vote_count = 0;
    reform->is_open = true;
    reform->proposed = say(simulation, 0, "gov.propose", reform->proposal);
}

static void vote(struct simulation *simulation) {
    struct reform *const reform = &simulation->reform;
    char id[2 * DIGEST_SIZE + 1];
    char call[32 + 2 * DIGEST_SIZE];
    hex_encode(id, span_of(reform->id.bytes, DIGEST_SIZE));
    (void)snprintf(call, sizeof call, "gov.vote %s yes", id);
    reform->vote_count = 0;
    for (uint32_t member = 0; member < now_of(simulation)->member_count; member++) {
        reform->votes[reform->vote_count++] =
            say(simulation, member, call, (struct span){.size = 0});
    }
}

void reform_step(struct simulation *simulation) {
    struct reform *const reform = &simulation->reform;
    struct cluster *const cluster = simulation->cluster;
    uint32_t done = 0;
    if (cluster->charter == NULL) {
        return;
    }
    for (uint32_t i = 0; i < reform->vote_count && reform->is_open; i++) {
        const struct client_request *const request = &cluster->requests[reform->votes[i]];
        done += request->done;
        if (request->done &&
            strncmp(cluster_reply_text(cluster, reform->votes[i]), "passed", 6) == 0) {
            charter_pass(cluster->charter, reform->proposal);
            simulation->result->reforms++;
            reform->is_open = false;
        }
    }
    if (reform->is_open && cluster->requests[reform->proposed].done && done == reform->vote_count) {
        vote(simulation);
    } else if (!reform->is_open && !reform->rests &&
               now_of(simulation)->number < CLUSTER_ERAS_MAX - 1 &&
               prng_chance(&simulation->prng, reform->permille)) {
        propose(simulation);
    }
}

void reform_draw(struct simulation *simulation) {
    static const uint32_t permilles[] = {50, 200, 1000};
    if (simulation->cluster->charter != NULL) {
        simulation->reform.permille = permilles[prng_below(&simulation->prng, 3)];
        sim_say(simulation, "; reforms %u", simulation->reform.permille);
    }
}

void reform_end(struct simulation *simulation) {
    struct cluster *const cluster = simulation->cluster;
    if (cluster->charter == NULL) {
        return;
    }
    simulation->reform.rests = true;
    for (uint32_t i = 0; i < 20 && simulation->reform.is_open; i++) {
        reform_step(simulation);
        cluster_run_until_done(cluster, 60000);
    }
    reform_step(simulation);
    if (simulation->reform.is_open) {
        cluster_fail(cluster, "a proposal that all are for does not pass");
    }
    cluster_run_ms(cluster, 5000);
    uint64_t const number = now_of(simulation)->number;
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        bool const is_in = cluster_position(cluster, number, cluster->nodes[i].id) != REPLICAS_MAX;
        cluster->nodes[i].left_out |= !is_in;
    }
}
