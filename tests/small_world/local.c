/*
 * local: replicas in every condition that they were led into, and what events make of them. Each
 * is computed once, by running a core through all that led there; a condition reached again, by
 * whatever way, is the same local.
 *
 * That prints say enough (print.c) is tried out: of the locals that were reached in two ways some
 * are led on in both, and must end in the same condition, having said the same.
 */
#include <stdlib.h>

#include "base/check.h"
#include "tests/sim/signing.h"
#include "tests/small_world/process.h"

#define EVENTS_MAX 256u
#define IMPOSSIBLE (WORLD_NONE - 1)

/* ---- the world ---- */

static void make_requests(struct world *world) {
    static const char *const calls[WORLD_REQUESTS] = {"kv.put a 1", "kv.put a 2"};
    for (uint32_t i = 0; i < WORLD_REQUESTS; i++) {
        struct order const order = {.author = &world->consortium.users[i],
                                    .number = i,
                                    .call_count = 1,
                                    .calls = &calls[i]};
        buffer_init(&world->request_bytes[i], ENTRY_SIZE_MAX);
        order_encode(&world->request_bytes[i], &world->consortium, &order);
        world->requests[i] = buffer_span(&world->request_bytes[i]);
    }
}

static uint32_t intern(struct world *world, struct process *process, uint32_t parent,
                       local_event event);

/* Clients have told all replicas but the first primary, to whom telling is a choice. */
static void make_starts(struct world *world) {
    for (uint32_t r = 0; r < WORLD_REPLICAS; r++) {
        struct process *const process = process_start(world, r);
        world->starts[r] = intern(world, process, WORLD_NONE, local_event_of(LOCAL_START, 0));
        process_free(process);
        for (uint32_t i = 0; r != 0 && i < WORLD_REQUESTS; i++) {
            world->starts[r] =
                local_after(world, world->starts[r], local_event_of(LOCAL_REQUEST, i));
        }
    }
}

void world_init(struct world *world, const struct world_options *options) {
    *world = (struct world){.options = *options};
    signing_use_cheap(true);
    store_init(&world->store);
    consortium_found(&world->consortium,
                     &(struct consortium_options){
                         .replica_count = WORLD_REPLICAS,
                         .pipeline = WORLD_PIPELINE,
                         .checkpoint_interval = 2 * (uint64_t)WORLD_PIPELINE + WORLD_BATCHES,
                     });
    world->configuration = &world->consortium.configuration;
    make_requests(world);
    make_starts(world);
    if (options->has_liar) {
        liar_init(world);
    }
}

void world_free(struct world *world) {
    for (uint32_t i = 0; i < WORLD_REQUESTS; i++) {
        buffer_free(&world->request_bytes[i]);
    }
    map_free(&world->message_by_digest);
    map_free(&world->pre_prepares);
    map_free(&world->local_by_print);
    map_free(&world->transitions);
    map_free(&world->ledgers);
    map_free(&world->answers);
    free(world->openings.items);
    free(world->messages);
    free(world->locals);
    store_free(&world->store);
    consortium_free(&world->consortium);
}

/* ---- locals ---- */

const struct local *local_at(const struct world *world, uint32_t number) {
    CHECK(number < world->local_count);
    return &world->locals[number];
}

static struct digest condition(struct process *process, uint32_t sent, struct digest *core) {
    struct hash_state state;
    *core = process_print(process);
    hash_init(&state);
    hash_update(&state, span_of(core->bytes, DIGEST_SIZE));
    hash_update_u32(&state, sent);
    return hash_final(&state);
}

/* The local of a process as it is now; new ones remember how they came about. */
static uint32_t intern(struct world *world, struct process *process, uint32_t parent,
                       local_event event) {
    uint32_t const sent = store_keep_list(&world->store, process->sent, process->sent_count);
    struct digest core;
    struct digest const whole = condition(process, sent, &core);
    uint32_t *const number = map_at(&world->local_by_print, load_u64_be(whole.bytes) | 1);
    if (*number != WORLD_NONE) {
        struct local *const known = &world->locals[*number];
        CHECK(digest_equal(&known->print, &whole) && known->replica == process->id);
        world->merged++;
        bool const is_other = known->parent != parent || known->event != event;
        if (is_other && known->other_parent == WORLD_NONE && parent != WORLD_NONE) {
            known->other_parent = parent;
            known->other_event = event;
        }
        return *number;
    }
    world->locals = world_grow(world->locals, world->local_count, &world->local_capacity,
                               sizeof *world->locals);
    struct local *const local = &world->locals[world->local_count];
    *local = (struct local){
        .replica = process->id,
        .parent = parent,
        .event = event,
        .other_parent = WORLD_NONE,
        .depth = parent == WORLD_NONE ? 0 : world->locals[parent].depth + 1,
        .ledger =
            store_keep_list(&world->store, process->ledger.items, (uint32_t)process->ledger.count),
        .sent = sent,
        .core = core,
        .print = whole,
    };
    process_facts(process, &local->facts);
    judge_ledger(world, local->replica, local->ledger);
    *number = (uint32_t)world->local_count++;
    CHECK(*number < IMPOSSIBLE);
    return *number;
}

/* The process that stands where the local stands. */
static struct process *rebuild(struct world *world, uint32_t local) {
    local_event events[EVENTS_MAX];
    uint32_t count = 0;
    uint32_t const id = local_at(world, local)->replica;
    for (uint32_t at = local; local_at(world, at)->parent != WORLD_NONE;
         at = local_at(world, at)->parent) {
        CHECK(count < EVENTS_MAX);
        events[count++] = local_at(world, at)->event;
    }
    struct process *const process = process_start(world, id);
    while (count > 0) {
        CHECK(process_take(process, events[--count]));
    }
    return process;
}

/* Lead the local on from the other way that leads to it: does the same come of it? */
static void check_other_way(struct world *world, const struct local *local, local_event event,
                            uint32_t expected) {
    struct process *const process = rebuild(world, local->other_parent);
    bool same = process_take(process, local->other_event);
    CHECK(same);
    same = process_take(process, event) == (expected != IMPOSSIBLE);
    if (same && expected != IMPOSSIBLE) {
        uint32_t const sent = store_keep_list(&world->store, process->sent, process->sent_count);
        struct digest core;
        struct digest const whole = condition(process, sent, &core);
        same = digest_equal(&whole, &local_at(world, expected)->print);
    }
    process_free(process);
    world->checks++;
    if (!same) {
        world_violation("two conditions of replica %u were taken for one: event %08x",
                        local->replica, event);
    }
}

uint32_t local_after(struct world *world, uint32_t local, local_event event) {
    uint64_t const key = ((uint64_t)local + 1) << 32 | event;
    uint32_t const known = *map_at(&world->transitions, key);
    if (known != WORLD_NONE) {
        return known == IMPOSSIBLE ? WORLD_NONE : known;
    }
    struct process *const process = rebuild(world, local);
    uint32_t after = IMPOSSIBLE;
    if (process_take(process, event)) {
        after = intern(world, process, local, event);
    }
    process_free(process);
    *map_at(&world->transitions, key) = after;
    struct local const from = *local_at(world, local);
    uint64_t const every = world->options.check_every;
    if (every != 0 && from.other_parent != WORLD_NONE && key % every == 0) {
        check_other_way(world, &from, event, after);
    }
    return after == IMPOSSIBLE ? WORLD_NONE : after;
}
