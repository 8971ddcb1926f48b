/*
 * watch_served: at the end of a run, what a correct node has on its disk is cut into ranges as it
 * would hand them to an auditor (see cluster.h). Whatever happened to it, its views and its peers,
 * each of them must be well formed, with every signature: otherwise a proof would blame it.
 */
#include <stdlib.h>

#include "base/check.h"
#include "ledger/served.h"
#include "tests/sim/cluster.h"

#define UNITS_LONG 64u /* of every now and then */

static bool check_universally(void *context, const struct sign_check *check, enum rule rule) {
    (void)rule;
    const struct cluster *const cluster = context;
    return sign_verify_universal(&cluster->consortium.configuration.service, check);
}

/* The configuration of the batch or new view that ends with this entry. */
static uint64_t unit_config(const struct entry_list *list, uint64_t entry) {
    return cluster_config_of(list->marks[entry].view);
}

static void judge_range(struct cluster *cluster, uint32_t node, uint64_t first, uint64_t end) {
    const struct entry_list *const list = &cluster->nodes[node].disk.durable;
    struct range_message const range = {
        .first_entry = first, .count = (uint32_t)(end - first), .entries = &list->items[first]};
    uint64_t const config = unit_config(list, end - 1);
    struct served const served = {.config = config,
                                  .range_config = config,
                                  .part = SERVED_ENTRIES,
                                  .first = first,
                                  .end = end,
                                  .available = list->count};
    struct sign_sink const sink = {.context = cluster, .check = check_universally};
    struct buffer payload;
    buffer_init(&payload, FRAME_SIZE_MAX);
    CHECK(range_message_encode(&payload, &range));
    struct served_judgement const judgement = served_range_judge(
        cluster_configuration(cluster, config), &served, buffer_span(&payload), &sink);
    if (judgement.failed || judgement.rule != RULE_NONE) {
        cluster_fail(cluster, "node %u would be blamed for entries %llu to %llu: %s at %llu", node,
                     (unsigned long long)first, (unsigned long long)end, rule_name(judgement.rule),
                     (unsigned long long)judgement.entry);
    }
    buffer_free(&payload);
}

/*
 * Where so many units of one configuration from here end, or those that one answer holds; `first`
 * when there is none.
 */
static uint64_t units_end(const struct entry_list *list, uint64_t first, uint32_t units) {
    uint64_t end = first;
    uint64_t size = 0;
    for (uint64_t i = first; units > 0 && i < list->count && i - first < WIRE_ENTRIES_MAX; i++) {
        size += list->items[i].payload.size;
        if (end > first && size > RANGE_SIZE_SOFT_MAX) {
            break;
        }
        if (i == 0 || list->marks[i].ends_unit) {
            if (end > first && unit_config(list, i) != unit_config(list, end - 1)) {
                break;
            }
            end = i + 1;
            units--;
        }
    }
    return end;
}

void watch_served(struct cluster *cluster, uint32_t node) {
    const struct entry_list *const list = &cluster->nodes[node].disk.durable;
    uint64_t first = list->first;
    for (uint32_t i = 0; first < list->count; i++) {
        uint64_t const next = units_end(list, first, 1);
        if (next == first) {
            break; /* the beginning of a unit, cut off by a crash */
        }
        uint32_t const few = 1 + i * 7 % 5;
        judge_range(cluster, node, first,
                    units_end(list, first, i % (UNITS_LONG / 2) == 0 ? UNITS_LONG : few));
        first = next;
    }
}
