/*
 * reform: see reform.h.
 */
#include "tests/scenarios/reform.h"

#include <criterion/criterion.h>

#include "tests/sim/members.h"

struct cluster *reform_cluster(uint64_t seed, uint32_t founders, uint32_t spares) {
    return cluster_new(&(struct cluster_options){.seed = seed,
                                                 .replica_count = founders + spares,
                                                 .spares = spares,
                                                 .governed = true,
                                                 .no_joins = true});
}

uint32_t reform_change(struct cluster *c, uint32_t count, const struct action *actions) {
    struct matter matter;
    char id[2 * DIGEST_SIZE + 1];
    uint32_t last = members_propose(c, count, actions, 20000, &matter);
    hex_encode(id, span_of(matter.id.bytes, DIGEST_SIZE));
    cr_assert_str_eq(cluster_reply_text(c, last), id);
    for (uint32_t member = 0; member < members_enough(c); member++) {
        last = members_vote(c, &matter, member);
    }
    charter_pass(c->charter, matter.bytes);
    return last;
}

void reform_run_until_in(struct cluster *c, uint64_t number, uint32_t ms) {
    for (uint32_t passed = 0; passed < ms; passed += 10) {
        bool all = true;
        for (uint32_t i = 0; i < c->node_count; i++) {
            bool const counts =
                c->nodes[i].up && (cluster_position(c, number, c->nodes[i].id) != REPLICAS_MAX ||
                                   cluster_position(c, number - 1, c->nodes[i].id) != REPLICAS_MAX);
            all &= cluster_knows_configuration(c, number) &&
                   (!counts || cluster_status(c, i).config == number);
        }
        if (all) {
            return;
        }
        cluster_run_ms(c, 10);
    }
    cr_assert_fail("configuration %llu is not reached by all", (unsigned long long)number);
}

void reform_load(struct cluster *c, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        cluster_submit(c, "kv.put a 1");
        cluster_run_ms(c, 2);
    }
}
