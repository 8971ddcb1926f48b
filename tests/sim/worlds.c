/*
 * worlds: the lives that a coalition leads at the same time; see coalition.h.
 *
 * A further world begins with the disks that its members bring along. Members of the coalition
 * bring what the first world has on theirs now, or what it had up to an earlier batch; their
 * journal then says that they stopped there in order, so that they go on in the same view, or it
 * is the old one without what does not fit any more, and what they certified is forgotten. Correct
 * replicas were cut off from the first world some time before, and bring their own.
 *
 * The cluster's judge watches the first world, whose cores are all honest and forget nothing. In
 * the others it does not know what a key has said before it came there; that those of correct
 * replicas say nothing that contradicts it is judged by the auditor, who is given all of it.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "tests/sim/coalition.h"

void coalition_say(struct coalition *coalition, const char *format, ...) {
    char *const drawn = coalition->result->drawn;
    size_t const size = strlen(drawn);
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(drawn + size, SIM_TEXT_SIZE - size, format, arguments);
    va_end(arguments);
}

uint32_t coalition_pick(struct coalition *coalition, uint32_t set) {
    CHECK(set != 0);
    uint32_t nth = (uint32_t)prng_below(&coalition->prng, (uint32_t)__builtin_popcount(set));
    while (nth-- > 0) {
        set &= set - 1;
    }
    return (uint32_t)__builtin_ctz(set);
}

/* ---- clients ---- */

static void make_call(struct coalition *coalition, char *text, size_t size) {
    struct prng *const prng = &coalition->prng;
    unsigned const key = (unsigned)prng_below(prng, coalition->keys);
    unsigned const value = (unsigned)prng_below(prng, 10);
    switch (prng_below(prng, 4)) {
    case 0:
        (void)snprintf(text, size, "kv.get k%u", key);
        return;
    case 1:
        (void)snprintf(text, size, "kv.delete k%u", key);
        return;
    case 2:
        (void)snprintf(text, size, "kv.cas k%u %u %u", key, value, value + 1);
        return;
    default:
        (void)snprintf(text, size, "kv.put k%u %u", key, value);
    }
}

void coalition_request(struct coalition *coalition, uint64_t min_index, struct buffer *out) {
    const struct consortium *const consortium = &coalition->worlds[0].cluster->consortium;
    char text[64];
    const char *const call = text;
    make_call(coalition, text, sizeof text);
    order_encode(out, consortium,
                 &(struct order){
                     .author = &consortium->users[prng_below(&coalition->prng, CONSORTIUM_USERS)],
                     .min_index = min_index,
                     .number = ++coalition->next_number,
                     .call_count = 1,
                     .calls = &call,
                 });
}

/* A request in one world; in others at times, the very same. */
static void submit(struct coalition *coalition, uint32_t nth) {
    char texts[2][64];
    const char *const calls[] = {texts[0], texts[1]};
    uint32_t const client = (uint32_t)prng_below(&coalition->prng, CLUSTER_CLIENTS);
    bool const everywhere = prng_chance(&coalition->prng, 250);
    struct order const order = {
        .mode = REQUEST_INDEPENDENT,
        .number = ++coalition->next_number,
        .call_count = 1 + (uint32_t)prng_chance(&coalition->prng, 200),
        .calls = calls,
    };
    make_call(coalition, texts[0], sizeof texts[0]);
    make_call(coalition, texts[1], sizeof texts[1]);
    for (uint32_t i = 0; i < coalition->world_count; i++) {
        if (i == nth || everywhere) {
            struct cluster *const cluster = coalition->worlds[i].cluster;
            uint32_t const made = cluster_submit_order(cluster, client, &order);
            cluster->requests[made].abandoned = true; /* nobody has to answer */
        }
    }
}

/* ---- faults of any replica, correct or not ---- */

static void disturb(struct coalition *coalition, struct world *world) {
    struct prng *const prng = &coalition->prng;
    struct cluster *const cluster = world->cluster;
    uint32_t const node = coalition_pick(coalition, world->members);
    uint32_t const other = coalition_pick(coalition, world->members);
    switch (prng_below(prng, 6)) {
    case 0:
        cluster_crash(cluster, node);
        return;
    case 1:
        cluster_pause(cluster, node, prng_between(prng, 50000, 6000000));
        return;
    case 2:
        if (cluster->nodes[node].up && !cluster->nodes[node].stopping) {
            cluster_stop(cluster, node);
        }
        return;
    case 3:
        if (node != other) {
            cluster_cut(cluster, node, other, true);
            cluster->faults[FAULT_CUT]++;
        }
        return;
    case 4: /* so that the view changes */
        cluster_pause(cluster, (uint32_t)(cluster->highest_view % cluster->replica_count),
                      prng_between(prng, 3000000, 9000000));
        return;
    default:
        cluster_isolate(cluster, node, true);
        cluster->faults[FAULT_CUT]++;
    }
}

static void recover_some(struct coalition *coalition, struct world *world, uint32_t permille) {
    struct cluster *const cluster = world->cluster;
    if (prng_chance(&coalition->prng, permille)) {
        cluster_heal(cluster);
    }
    for (uint32_t i = 0; i < coalition->replicas; i++) {
        const struct node *const node = &cluster->nodes[i];
        if ((world->members >> i & 1) != 0 && !node->up && !node->left_out &&
            prng_chance(&coalition->prng, permille)) {
            cluster_start(cluster, i);
        }
    }
}

/* One world lives on for some steps. */
static void live(struct coalition *coalition, uint32_t nth, uint32_t steps, uint32_t faults) {
    struct world *const world = &coalition->worlds[nth];
    struct prng *const prng = &coalition->prng;
    for (uint32_t step = 0; step < steps; step++) {
        uint32_t const requests = (uint32_t)prng_below(prng, coalition->submit_max + 1);
        for (uint32_t i = 0; i < requests; i++) {
            submit(coalition, nth);
        }
        if (prng_chance(prng, faults)) {
            disturb(coalition, world);
        }
        recover_some(coalition, world, 300);
        cluster_run_ms(world->cluster, prng_between(prng, 1, coalition->step_us_max) / 1000 + 1);
    }
}

/* All that is left of a world's quorum works on for a while. */
static void settle(struct coalition *coalition, uint32_t nth) {
    struct world *const world = &coalition->worlds[nth];
    recover_some(coalition, world, 1000);
    live(coalition, nth, 3, 0);
    cluster_run_ms(world->cluster, prng_between(&coalition->prng, 200, 6000));
}

/* ---- disks ---- */

/* How much of a ledger a member brings along, and how much of its journal. */
struct luggage {
    bool whole;       /* as it is now */
    uint64_t upto;    /* else: the ledger ends with this batch, */
    bool orderly;     /* in order, as the journal says then, */
    bool keeps_votes; /* and it says which nonces have left, as far as they fit */
};

/* One past the last entry of a unit, at the end of batch `upto` and the new views behind it. */
static uint64_t end_of(const struct entry_list *ledger, uint64_t upto) {
    uint64_t end = 1;
    for (uint64_t i = 1; i < ledger->count; i++) {
        const struct entry_mark *const mark = &ledger->marks[i];
        if (mark->ends_unit && (mark->facts == NULL || mark->facts->seq <= upto)) {
            end = i + 1;
        }
    }
    return end;
}

static void journal_push(struct journal_list *list, const struct journal_item *item) {
    list_reserve(&list->items, list->count, &list->capacity, sizeof *list->items);
    list->items[list->count++] = *item;
}

/* "It stopped in order, and all that it signed is in its ledger." */
static void journal_push_stop(struct cluster *cluster, struct disk_copy *copy) {
    const struct entry_mark *const mark = &copy->ledger.marks[copy->ledger.count - 1];
    uint64_t const seq = copy->ledger.count > 1 && mark->facts != NULL ? mark->facts->seq : 0;
    uint64_t const view = copy->ledger.count > 1 ? mark->view : 0;
    struct journal_record const record = {
        .kind = JOURNAL_STOPPED,
        .config = cluster->configuration->number,
        .view = view,
        .ledger_view = view,
        .ledger_seq = seq,
        .ledger_entries = copy->ledger.count,
    };
    struct buffer bytes;
    buffer_init(&bytes, JOURNAL_RECORD_SIZE_MAX);
    CHECK(journal_record_encode(&bytes, &record));
    journal_push(&copy->journal,
                 &(struct journal_item){.bytes = cluster_keep(cluster, buffer_span(&bytes)),
                                        .kind = record.kind,
                                        .view = view});
    buffer_free(&bytes);
}

static void pack(struct cluster *to, struct disk_copy *copy, const struct sim_disk *disk,
                 const struct luggage *luggage) {
    uint64_t const end =
        luggage->whole ? disk->durable.count : end_of(&disk->durable, luggage->upto);
    const struct entry_mark *const last = &disk->durable.marks[end - 1];
    uint64_t const seq = end > 1 && last->facts != NULL ? last->facts->seq : 0;
    uint64_t const view = end > 1 ? last->view : 0;
    copy->present = true;
    entry_list_copy(&copy->ledger, &disk->durable, end);
    for (uint64_t i = 0; i < disk->journal.count; i++) {
        const struct journal_item *const item = &disk->journal.items[i];
        bool const is_vote = item->kind == JOURNAL_NONCE || item->kind == JOURNAL_PREPARED;
        bool const fits = item->view <= view && (!is_vote || item->seq <= seq);
        if (luggage->whole || (fits && (!is_vote || luggage->keeps_votes))) {
            journal_push(&copy->journal, item);
        }
    }
    if (!luggage->whole && luggage->orderly) {
        journal_push_stop(to, copy);
    }
}

/* A node of the new world begins with a disk of an old one. */
static void settle_in(struct coalition *coalition, struct world *world, uint32_t replica,
                      const struct node *from, const struct luggage *luggage) {
    struct cluster *const cluster = world->cluster;
    const struct sim_disk *const disk = &from->disk;
    struct node *const node = &cluster->nodes[replica];
    bool const lies = (coalition->liars >> replica & 1) != 0;
    cluster_crash(cluster, replica);
    node->incarnation = from->incarnation + 1; /* none that its journal speaks of */
    pack(cluster, &node->disk.copy, disk, luggage);
    disk_copy_restore(cluster, &node->disk, true, true);
    node->disk.guard = lies ? GUARD_NONE : disk->guard;
    node->disk.journal_missing = lies ? false : disk->journal_missing;
    node->restored = true;
    world->members |= 1u << replica;
    cluster_start(cluster, replica);
}

/* ---- the first world, and those that follow ---- */

static void begin_first(struct coalition *coalition) {
    struct world *const world = &coalition->worlds[coalition->world_count++];
    *world = (struct world){.cluster = cluster_new(&coalition->options),
                            .members = (1u << coalition->replicas) - 1};
    coalition->quorum = world->cluster->configuration->quorum;
}

/* Who leaves the first world: it has a quorum without them, and where they go they make one. */
static uint32_t draw_leaving(struct coalition *coalition, uint32_t correct) {
    struct prng *const prng = &coalition->prng;
    uint32_t const all = (uint32_t)__builtin_popcount(correct);
    uint32_t const missing =
        coalition->quorum > coalition->liar_count ? coalition->quorum - coalition->liar_count : 0;
    uint32_t wanted = missing;
    uint32_t set = 0;
    if (all >= missing && all - missing > wanted) {
        wanted = (uint32_t)prng_between(prng, wanted, all - missing);
    }
    while ((uint32_t)__builtin_popcount(set) < wanted && set != correct) {
        set |= 1u << coalition_pick(coalition, correct & ~set);
    }
    return set;
}

/* They end there; their disks are all that moves. */
static void leave(struct world *world, uint32_t set) {
    for (uint32_t i = 0; i < world->cluster->replica_count; i++) {
        if ((set >> i & 1) != 0) {
            cluster_crash(world->cluster, i);
            world->cluster->nodes[i].left_out = true;
        }
    }
    world->members &= ~set;
}

/* The last batch that all of these have, or that any has. */
static uint64_t last_of(const struct cluster *cluster, uint32_t set, bool of_all) {
    uint64_t found = of_all ? UINT64_MAX : 0;
    for (uint32_t i = 0; i < cluster->replica_count; i++) {
        uint64_t const last = entry_last_whole(&cluster->nodes[i].disk.durable);
        if ((set >> i & 1) != 0 && (of_all ? last < found : last > found)) {
            found = last;
        }
    }
    return found == UINT64_MAX ? 0 : found;
}

static struct luggage draw_luggage(struct coalition *coalition, uint64_t behind, uint64_t most) {
    struct prng *const prng = &coalition->prng;
    struct luggage luggage = {
        .orderly = prng_chance(prng, 700),
        .keeps_votes = prng_chance(prng, 400),
    };
    luggage.whole = prng_chance(prng, 200);
    luggage.upto = prng_chance(prng, 600) ? behind : prng_below(prng, most + 1);
    return luggage;
}

static void begin_further(struct coalition *coalition, uint32_t leaving) {
    const struct world *const first = &coalition->worlds[0];
    struct world *const world = &coalition->worlds[coalition->world_count++];
    uint32_t const members = coalition->liars | leaving;
    uint64_t const most = last_of(first->cluster, coalition->liars, false);
    uint64_t const behind = leaving == 0 ? most : last_of(first->cluster, leaving, true);
    struct luggage const common = draw_luggage(coalition, behind, most);
    bool const alike = prng_chance(&coalition->prng, 700);
    struct luggage const whole = {.whole = true};
    struct cluster_options options = coalition->options;
    options.seed += coalition->world_count;
    options.byzantine = coalition->liars;
    options.overrun = true;
    options.puppets = ((1u << coalition->replicas) - 1) & ~members;
    *world = (struct world){.cluster = cluster_new(&options), .begun_us = first->cluster->now_us};
    world->cluster->wall_ms = first->cluster->wall_ms + (int64_t)(world->begun_us / 1000);
    coalition_say(coalition, "; world %u of %x at %llu ms: %s batch %llu of %llu%s%s",
                  coalition->world_count - 1, members, (unsigned long long)(world->begun_us / 1000),
                  !alike         ? "each up to its own, as"
                  : common.whole ? "all of"
                                 : "up to",
                  (unsigned long long)(common.whole ? most : common.upto), (unsigned long long)most,
                  common.orderly ? ", orderly" : "", common.keeps_votes ? ", keeping votes" : "");
    for (uint32_t i = 0; i < coalition->replicas; i++) {
        struct luggage const own = (leaving >> i & 1) != 0 ? whole
                                   : alike                 ? common
                                                           : draw_luggage(coalition, behind, most);
        if ((members >> i & 1) != 0) {
            settle_in(coalition, world, i, &first->cluster->nodes[i], &own);
        } else {
            cluster_crash(world->cluster, i);
            world->cluster->nodes[i].left_out = true;
        }
    }
}

/* A correct replica that knows the one history comes to where the other is told. */
static void cross_over(struct coalition *coalition) {
    struct world *const from = &coalition->worlds[0];
    struct world *const to =
        &coalition->worlds[prng_between(&coalition->prng, 1, coalition->world_count - 1)];
    uint32_t const correct = from->members & ~coalition->liars;
    struct luggage const whole = {.whole = true};
    if (correct == 0) {
        return;
    }
    uint32_t const replica = coalition_pick(coalition, correct);
    leave(from, 1u << replica);
    coalition_say(coalition, "; %u crosses over", replica);
    to->cluster->nodes[replica].puppet = false;
    to->cluster->nodes[replica].left_out = false;
    settle_in(coalition, to, replica, &from->cluster->nodes[replica], &whole);
}

static void fork_world(struct coalition *coalition) {
    struct prng *const prng = &coalition->prng;
    struct world *const first = &coalition->worlds[0];
    uint32_t const correct = first->members & ~coalition->liars;
    uint32_t const leaving = draw_leaving(coalition, correct);
    leave(first, leaving);
    coalition_say(coalition, "; %x leave at %llu ms", leaving,
                  (unsigned long long)(first->cluster->now_us / 1000));
    live(coalition, 0, (uint32_t)prng_between(prng, 0, 6), coalition->fault_permille);
    recover_some(coalition, first, 1000);
    begin_further(coalition, leaving);
}

void worlds_run(struct coalition *coalition) {
    struct prng *const prng = &coalition->prng;
    uint32_t const forks =
        coalition->rests ? 0 : 1 + (uint32_t)prng_chance(prng, coalition->liar_count * 60);
    begin_first(coalition);
    live(coalition, 0, (uint32_t)prng_between(prng, 1, 10), coalition->fault_permille);
    for (uint32_t i = 0; i < forks; i++) {
        fork_world(coalition);
        for (uint32_t world = 0; world < coalition->world_count; world++) {
            live(coalition, world, (uint32_t)prng_between(prng, 1, 7), coalition->fault_permille);
        }
    }
    for (uint32_t world = 0; world < coalition->world_count; world++) {
        settle(coalition, world);
    }
    if (coalition->world_count > 1 && prng_chance(prng, 250)) {
        cross_over(coalition);
        for (uint32_t world = 0; world < coalition->world_count; world++) {
            live(coalition, world, (uint32_t)prng_between(prng, 1, 4), coalition->fault_permille);
            settle(coalition, world);
        }
    }
    if (prng_chance(prng, 100)) {
        watch_end(coalition->worlds[0].cluster);
    }
}

void worlds_free(struct coalition *coalition) {
    for (uint32_t i = coalition->world_count; i > 0; i--) {
        cluster_free(coalition->worlds[i - 1].cluster);
    }
}
