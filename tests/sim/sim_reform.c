/*
 * sim_reform: members who change the configuration at random moments (protocol §9): one proposal
 * after the other, voted on by all, until it has passed or was turned down. Replicas are added,
 * replaced and removed as far as the rules allow, and come back; members and users come, go and
 * change their keys; parameters and the voting rule are set. A vote that was refused, since it came
 * before its proposal, is cast again.
 *
 * What members do not see, and must not go beyond: at most f of each configuration lie.
 */
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "tests/sim/simulation.h"

#define MEMBERS_AT_LEAST 4u
#define MEMBERS_AT_MOST 10u
#define DRAW_TRIES 20u
#define ACTIONS_AT_MOST 2u
#define NEW_NAME "new-"
#define DECIDED_MS 300000u
#define STEP_MS 500u

static struct constitution *now_of(const struct simulation *simulation) {
    return &simulation->cluster->charter->now;
}

static uint32_t below(struct simulation *simulation, uint32_t bound) {
    return (uint32_t)prng_below(&simulation->prng, bound);
}

/* ---- what is proposed ---- */

/* A node that is not in the configuration: a spare, or one that was in it before; or none. */
static uint32_t draw_outsider(struct simulation *simulation) {
    struct cluster *const cluster = simulation->cluster;
    uint32_t const from = below(simulation, cluster->replica_count);
    for (uint32_t i = 0; i < cluster->replica_count; i++) {
        uint32_t const id = (from + i) % cluster->replica_count;
        uint32_t position = 0;
        if (!constitution_find_replica(now_of(simulation), &cluster->keys[id].signing.key,
                                       &position)) {
            return id;
        }
    }
    return CLUSTER_NODES_MAX;
}

/* ---- who could follow ---- */

static void see_who_is_where(struct simulation *simulation) {
    const struct cluster *const cluster = simulation->cluster;
    for (uint32_t i = 0; i < cluster->replica_count; i++) {
        if (cluster->nodes[i].up) {
            simulation->reform.seen_in[i] = cluster_status(cluster, i).config;
        }
    }
}

static bool is_there(const struct simulation *simulation, uint32_t id) {
    return simulation->reform.seen_in[id] + 1 >= now_of(simulation)->number &&
           node_is_correct(&simulation->cluster->nodes[id]);
}

/*
 * Would this replica find its way into the configuration? It asks those whom it knows: of the
 * configuration that it is in. Members do not let the last of them go before it has followed.
 */
static bool finds_its_way(const struct simulation *simulation, const struct constitution *next,
                          uint32_t id) {
    struct cluster *const cluster = simulation->cluster;
    uint64_t const known = simulation->reform.seen_in[id];
    bool finds = is_there(simulation, id) || !node_is_correct(&cluster->nodes[id]);
    for (uint32_t r = 0; r < next->replica_count && !finds; r++) {
        uint32_t const other = cluster_id_of(cluster, &next->replicas[r].identity.key);
        finds =
            is_there(simulation, other) && cluster_position(cluster, known, other) != REPLICAS_MAX;
    }
    return finds;
}

/* At most f of each configuration lie, and the others can be there. */
static bool is_bearable(const struct simulation *simulation, const struct constitution *next) {
    const struct cluster *const cluster = simulation->cluster;
    uint32_t liars = 0;
    for (uint32_t r = 0; r < next->replica_count; r++) {
        uint32_t const id = cluster_id_of(cluster, &next->replicas[r].identity.key);
        /* One that loses its disk some day never votes again. */
        liars += !node_is_correct(&cluster->nodes[id]) || simulation->joins.lost == id;
        if (!finds_its_way(simulation, next, id)) {
            return false;
        }
    }
    return liars <= configuration_faults_max(next->replica_count);
}

/* Does it leave as many correct ones as this configuration needs, if this replica is one no more?
 */
static bool bears_without(const struct simulation *simulation,
                          const struct configuration *configuration, uint32_t id) {
    const struct cluster *const cluster = simulation->cluster;
    uint32_t lost = 0;
    for (uint32_t r = 0; r < configuration->replica_count; r++) {
        uint32_t const other = cluster_id_of(cluster, &configuration->replicas[r].key);
        lost += other == id || simulation->joins.lost == other ||
                !node_is_correct(&cluster->nodes[other]);
    }
    return lost <= configuration->faults_max;
}

bool reforming_bears_one_more(const struct simulation *simulation, uint32_t id) {
    struct cluster *const cluster = simulation->cluster;
    const struct reforming *const reform = &simulation->reform;
    bool bears = true;
    if (cluster->charter == NULL) {
        return true; /* counted by who draws it */
    }
    struct configuration configuration;
    constitution_configuration(&configuration, now_of(simulation));
    bears = bears_without(simulation, &configuration, id);
    uint64_t const before = configuration.number - 1;
    if (bears && before != 0) {
        bears = bears_without(simulation, cluster_configuration(cluster, before), id);
    }
    if (bears && reform->is_open) {
        struct proposal proposal;
        struct constitution next;
        charter_decode(cluster->charter, &proposal, reform->proposal);
        if (proposal_apply(&next, now_of(simulation), &proposal).rule == PROPOSAL_SOUND) {
            constitution_configuration(&configuration, &next);
            bears = bears_without(simulation, &configuration, id);
        }
    }
    return bears;
}

/* A text that lives as long as the cluster. */
static const char *keep_text(struct simulation *simulation, const char *text) {
    return (const char *)cluster_keep(simulation->cluster, span_of(text, strlen(text) + 1)).data;
}

static const char *draw_member(struct simulation *simulation) {
    const struct constitution *const now = now_of(simulation);
    return keep_text(simulation, now->members[below(simulation, now->member_count)].name);
}

static struct action draw_parameters(struct simulation *simulation) {
    struct prng *const prng = &simulation->prng;
    struct action action = {.kind = ACTION_SET_PARAMETERS,
                            .parameters = now_of(simulation)->parameters};
    struct parameters *const parameters = &action.parameters;
    parameters->pipeline = (uint32_t)prng_between(prng, 1, 6);
    parameters->checkpoint_interval =
        checkpoint_interval_min(parameters->pipeline) + prng_below(prng, 8);
    if (prng_chance(prng, 300)) {
        parameters->batch_calls_max = (uint32_t)prng_between(prng, CALLS_MAX, 2 * CALLS_MAX);
        parameters->batch_size_soft_max = (uint32_t)prng_between(prng, 1, 1u << 20);
    }
    return action;
}

static struct action draw_replica(struct simulation *simulation, const struct public_key *old) {
    struct cluster *const cluster = simulation->cluster;
    uint32_t const id = draw_outsider(simulation);
    uint32_t const founders = cluster->replica_count - cluster->options.spares;
    if (id == CLUSTER_NODES_MAX) {
        return draw_parameters(simulation);
    }
    return charter_replica(cluster->charter, old, draw_member(simulation),
                           id < founders ? id : CLUSTER_SPARE_NUMBER + id);
}

/* Users that clients need stay; the others go, or have another key. */
static struct action draw_user(struct simulation *simulation, const char *name, uint32_t number) {
    struct charter *const charter = simulation->cluster->charter;
    const struct constitution *const now = now_of(simulation);
    const char *const user = now->users[below(simulation, now->user_count)].name;
    if (strncmp(user, NEW_NAME, strlen(NEW_NAME)) != 0) {
        return charter_named(charter, ACTION_ADD_USER, name, number);
    }
    return prng_chance(&simulation->prng, 500)
               ? charter_without(ACTION_REMOVE_USER, keep_text(simulation, user))
               : charter_named(charter, ACTION_ROTATE_USER, keep_text(simulation, user), number);
}

static struct action draw_person(struct simulation *simulation, const char *name, uint32_t number) {
    struct charter *const charter = simulation->cluster->charter;
    uint32_t const members = now_of(simulation)->member_count;
    switch (below(simulation, 4)) {
    case 0:
        return members < MEMBERS_AT_MOST ? charter_named(charter, ACTION_ADD_MEMBER, name, number)
                                         : draw_user(simulation, name, number);
    case 1:
        return members > MEMBERS_AT_LEAST
                   ? charter_without(ACTION_REMOVE_MEMBER, draw_member(simulation))
                   : draw_user(simulation, name, number);
    case 2:
        return charter_named(charter, ACTION_ROTATE_MEMBER, draw_member(simulation), number);
    default:
        return draw_user(simulation, name, number);
    }
}

static struct action draw_rule(struct simulation *simulation) {
    static const struct voting_rule rules[] = {{1, 2}, {2, 3}, {3, 4}, {51, 100}, {99, 100}};
    return (struct action){.kind = ACTION_SET_VOTING_RULE,
                           .rule = rules[below(simulation, sizeof rules / sizeof rules[0])]};
}

static struct action draw_action(struct simulation *simulation) {
    const struct constitution *const now = now_of(simulation);
    uint32_t const kind = below(simulation, 13);
    const struct public_key *const old =
        &now->replicas[below(simulation, now->replica_count)].identity.key;
    char name[sizeof NEW_NAME + 10];
    uint32_t const number = 100000 + ++simulation->reform.names;
    (void)snprintf(name, sizeof name, NEW_NAME "%u", number);
    if (kind < 6) {
        return draw_replica(simulation, kind < 4 ? NULL : old);
    }
    if (kind < 9) {
        return charter_replica_gone(old);
    }
    if (kind < 11) {
        return kind == 9 ? draw_parameters(simulation) : draw_rule(simulation);
    }
    return draw_person(simulation, keep_text(simulation, name), number);
}

/* A proposal that breaks no rule, and that the service can bear. */
static struct span draw_proposal(struct simulation *simulation) {
    struct charter *const charter = simulation->cluster->charter;
    for (uint32_t i = 0; i < DRAW_TRIES; i++) {
        struct action actions[ACTIONS_AT_MOST];
        struct proposal proposal;
        struct constitution next;
        uint32_t const count = prng_chance(&simulation->prng, 250) ? 2 : 1;
        for (uint32_t a = 0; a < count; a++) {
            actions[a] = draw_action(simulation);
        }
        struct span const bytes = charter_propose(charter, count, actions);
        charter_decode(charter, &proposal, bytes);
        if (proposal_apply(&next, &charter->now, &proposal).rule == PROPOSAL_SOUND &&
            is_bearable(simulation, &next)) {
            return bytes;
        }
    }
    return (struct span){.size = 0};
}

/* ---- what members say ---- */

static uint32_t say(struct simulation *simulation, uint32_t member, const char *call,
                    struct span argument) {
    struct charter *const charter = simulation->cluster->charter;
    const struct constitution *const now = now_of(simulation);
    const char *const calls[] = {call};
    uint64_t const next = simulation->cluster->highest_index + 1;
    struct order const order = {.author = charter_pair(charter, &now->members[member].key),
                                .min_index = simulation->joins.passes_window ? next : 0,
                                .call_count = 1,
                                .calls = calls,
                                .argument = argument};
    return cluster_submit_order(simulation->cluster, below(simulation, CLUSTER_CLIENTS), &order);
}

static uint32_t say_vote(struct simulation *simulation, uint32_t member, const struct digest *id,
                         bool yes) {
    char hex[2 * DIGEST_SIZE + 1];
    char call[32 + 2 * DIGEST_SIZE];
    hex_encode(hex, span_of(id->bytes, DIGEST_SIZE));
    (void)snprintf(call, sizeof call, "gov.vote %s %s", hex, yes ? "yes" : "no");
    return say(simulation, member, call, (struct span){.size = 0});
}

static uint32_t say_withdraw(struct simulation *simulation, uint32_t member,
                             const struct digest *id) {
    char hex[2 * DIGEST_SIZE + 1];
    char call[32 + 2 * DIGEST_SIZE];
    hex_encode(hex, span_of(id->bytes, DIGEST_SIZE));
    (void)snprintf(call, sizeof call, "gov.withdraw %s", hex);
    return say(simulation, member, call, (struct span){.size = 0});
}

/* Nobody waits for what is said beside the matter: what it comes to hangs on the rest. */
static void say_aside(struct simulation *simulation, uint32_t request) {
    simulation->cluster->requests[request].abandoned = true;
}

/*
 * Another proposal at the same time, which its proposer alone is for; half of them go back on it,
 * and some would withdraw it, or that of another.
 */
static void propose_rival(struct simulation *simulation) {
    struct charter *const charter = simulation->cluster->charter;
    uint32_t const member = 1 + below(simulation, now_of(simulation)->member_count - 1);
    struct span const bytes = draw_proposal(simulation);
    struct proposal proposal;
    if (bytes.size == 0) {
        return;
    }
    charter_decode(charter, &proposal, bytes);
    say_aside(simulation, say(simulation, member, "gov.propose", bytes));
    say_aside(simulation, say_vote(simulation, member, &proposal.id, true));
    if (prng_chance(&simulation->prng, 500)) {
        say_aside(simulation, say_vote(simulation, member, &proposal.id, false));
    }
    if (prng_chance(&simulation->prng, 300)) {
        bool const is_own = prng_chance(&simulation->prng, 800);
        say_aside(simulation, say_withdraw(simulation, is_own ? member : 0, &proposal.id));
    }
}

static void propose(struct simulation *simulation) {
    struct reforming *const reform = &simulation->reform;
    struct charter *const charter = simulation->cluster->charter;
    struct span const bytes = draw_proposal(simulation);
    struct proposal proposal;
    if (bytes.size == 0) {
        return;
    }
    if (reform->proposal.size != 0 && prng_chance(&simulation->prng, 300)) {
        /* What was decided, or turned down, is voted on once more: in another configuration. */
        say_aside(simulation,
                  say_vote(simulation, below(simulation, MEMBERS_AT_LEAST), &reform->id, true));
    }
    charter_decode(charter, &proposal, bytes);
    if (reform->proposal.size != 0) {
        reform->earlier[reform->earlier_count++ % REFORMS_REMEMBERED] = reform->id;
    }
    reform->proposal = bytes;
    reform->id = proposal.id;
    reform->vote_count = 0;
    reform->is_open = true;
    reform->is_wanted = !prng_chance(&simulation->prng, 120);
    reform->proposed = say(simulation, 0, "gov.propose", bytes);
    if (prng_chance(&simulation->prng, 250)) {
        propose_rival(simulation);
    }
}

/* The one who leads goes while votes are on their way. */
static void disturb(struct simulation *simulation) {
    struct cluster *const cluster = simulation->cluster;
    uint64_t const view = cluster->highest_view;
    uint32_t const primary =
        cluster_primary(cluster, cluster_config_of(view), cluster_view_of(view));
    if (prng_chance(&simulation->prng, 500)) {
        cluster_crash(cluster, primary);
    } else {
        cluster_isolate(cluster, primary, true);
    }
}

static void vote(struct simulation *simulation) {
    struct reforming *const reform = &simulation->reform;
    uint32_t const count = now_of(simulation)->member_count;
    uint32_t const first = below(simulation, count);
    reform->vote_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t const member = (first + i) % count;
        if (!reform->rests && prng_chance(&simulation->prng, 100)) { /* it wavers */
            say_aside(simulation, say_vote(simulation, member, &reform->id, !reform->is_wanted));
        }
        reform->votes[reform->vote_count++] =
            say_vote(simulation, member, &reform->id, reform->is_wanted);
    }
    if (!reform->rests && prng_chance(&simulation->prng, reform->disturb_permille)) {
        disturb(simulation);
    }
}

/* ---- what comes of it ---- */

/* It is decided: what else was said about it may never be answered, or by nobody who may ask. */
static void close_matter(struct simulation *simulation) {
    struct reforming *const reform = &simulation->reform;
    reform->is_open = false;
    simulation->cluster->requests[reform->proposed].abandoned = true;
    for (uint32_t i = 0; i < reform->vote_count; i++) {
        simulation->cluster->requests[reform->votes[i]].abandoned = true;
    }
}

static bool is_answered(struct simulation *simulation, uint32_t request, const char *word) {
    return simulation->cluster->requests[request].done &&
           strncmp(cluster_reply_text(simulation->cluster, request), word, strlen(word)) == 0;
}

/* Whoever turns up in the next configuration, or shows a receipt, knows that it passed. */
static void look(struct simulation *simulation) {
    struct reforming *const reform = &simulation->reform;
    struct cluster *const cluster = simulation->cluster;
    bool passed = cluster_knows_configuration(cluster, now_of(simulation)->number + 1);
    bool rejected = false;
    for (uint32_t i = 0; i < reform->vote_count; i++) {
        passed |= is_answered(simulation, reform->votes[i], "passed");
        rejected |= is_answered(simulation, reform->votes[i], "rejected");
    }
    if (passed || rejected) {
        close_matter(simulation);
    }
    if (passed) {
        charter_pass(cluster->charter, reform->proposal);
        simulation->result->reforms++;
    }
}

/* Was it never opened, or turned down by those who thought again? Then it is proposed once more. */
static bool is_lost(struct simulation *simulation) {
    const struct reforming *const reform = &simulation->reform;
    char id[2 * DIGEST_SIZE + 1];
    uint32_t unknown = 0;
    hex_encode(id, span_of(reform->id.bytes, DIGEST_SIZE));
    for (uint32_t i = 0; i < reform->vote_count; i++) {
        unknown += is_answered(simulation, reform->votes[i], "no such proposal");
    }
    /* It is open all the same when it was proposed twice: the first answer was lost. */
    bool const is_there = is_answered(simulation, reform->proposed, id) ||
                          is_answered(simulation, reform->proposed, "a proposal of yours is open");
    return !is_there || (unknown != 0 && unknown == reform->vote_count);
}

/*
 * Another of its proposals may be open in its place: one that was made twice since the first answer
 * was lost, and came the second time when it had passed already.
 */
static void withdraw_earlier(struct simulation *simulation) {
    const struct reforming *const reform = &simulation->reform;
    if (!is_answered(simulation, reform->proposed, "a proposal of yours is open")) {
        return;
    }
    for (uint32_t i = 0; i < reform->earlier_count && i < REFORMS_REMEMBERED; i++) {
        say_aside(simulation, say_withdraw(simulation, 0, &reform->earlier[i]));
    }
}

static bool all_voted(const struct simulation *simulation) {
    const struct reforming *const reform = &simulation->reform;
    bool done = simulation->cluster->requests[reform->proposed].done;
    for (uint32_t i = 0; i < reform->vote_count; i++) {
        done &= simulation->cluster->requests[reform->votes[i]].done;
    }
    return done;
}

/*
 * Who has a new key may hear of it before the replicas are where it counts: its client is told that
 * nobody knows it, and it tries again.
 */
static bool came_too_early(const struct simulation *simulation) {
    return simulation->cluster->requests[simulation->reform.proposed].was_refused;
}

void reforming_step(struct simulation *simulation) {
    struct reforming *const reform = &simulation->reform;
    struct cluster *const cluster = simulation->cluster;
    if (cluster->charter == NULL) {
        return;
    }
    see_who_is_where(simulation);
    if (reform->is_open) {
        look(simulation);
    }
    if (reform->is_open && reform->vote_count == 0 && came_too_early(simulation)) {
        say_aside(simulation, reform->proposed);
        reform->proposed = say(simulation, 0, "gov.propose", reform->proposal);
    } else if (reform->is_open && all_voted(simulation)) {
        if (is_lost(simulation)) {
            withdraw_earlier(simulation);
            reform->vote_count = 0;
            reform->proposed = say(simulation, 0, "gov.propose", reform->proposal);
        } else {
            vote(simulation);
        }
    } else if (!reform->is_open && !reform->rests && !joins_pass_window(simulation) &&
               now_of(simulation)->number < CLUSTER_ERAS_MAX - 1 &&
               prng_chance(&simulation->prng, reform->permille)) {
        propose(simulation);
    }
}

void reforming_draw(struct simulation *simulation) {
    static const uint32_t permilles[] = {50, 200, 1000};
    struct reforming *const reform = &simulation->reform;
    if (simulation->cluster->charter != NULL) {
        reform->permille = permilles[below(simulation, 3)];
        reform->disturb_permille = prng_chance(&simulation->prng, 300) ? 500 : 0;
        sim_say(simulation, "; reforms %u, disturbed %u", reform->permille,
                reform->disturb_permille);
    }
}

void reforming_end(struct simulation *simulation) {
    struct cluster *const cluster = simulation->cluster;
    if (cluster->charter == NULL) {
        return;
    }
    simulation->reform.rests = true;
    /* Not until all votes are answered: whose key the matter takes away, it gets no answer. */
    for (uint32_t ms = 0; ms < DECIDED_MS && simulation->reform.is_open; ms += STEP_MS) {
        cluster_run_ms(cluster, STEP_MS);
        reforming_step(simulation);
    }
    if (simulation->reform.is_open) {
        cluster_fail(cluster, "a proposal that all agree about is not decided");
    }
    cluster_run_ms(cluster, 5000);
    uint64_t const number = now_of(simulation)->number;
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        bool const is_in = cluster_position(cluster, number, cluster->nodes[i].id) != REPLICAS_MAX;
        cluster->nodes[i].left_out |= !is_in;
    }
}
