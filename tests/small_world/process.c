/*
 * process: one replica that runs, and what each event is for its core (see small_world.h). Recovery
 * goes the way that node/ goes; effects.c has what surrounds the core.
 *
 * Time stands still but for two things: ten seconds pass in LOCAL_TIMEOUT, and a little more than
 * the interval of the status before each view-change arrives, since those that come faster are not
 * heard. So no patience ends by itself.
 */
#include <stdlib.h>

#include "base/check.h"
#include "tests/small_world/process.h"

#define FIRST_MS 1000u
#define WALL_MS UINT64_C(1750000000000)
#define TIMEOUT_MS 10000u /* longer than patience lasts after three failed views */
#define SOFT_MS (VIEW_CHANGE_INTERVAL_MS + 151u)
#define SOFT_MS_MAX (VIEW_TIMEOUT_MS - 100u)
#define ROUNDS_MAX 64u /* of the disk, after one event */

static uint64_t asked_view_of(const struct process *process) {
    struct replica_status status;
    replica_status(process->replica, &status);
    return status.asked_view;
}

/* ---- steps ---- */

static void step(struct process *process, struct event *event) {
    event->now_ms = process->now_ms;
    event->wall_ms = WALL_MS;
    process->world->steps++;
    if (replica_step(process->replica, event, &process->effects) != VERDICT_OK) {
        world_violation("replica %u cannot go on", process->id);
    }
    for (uint32_t i = 0; i < process->effects.count; i++) {
        process_carry_out(process, &process->effects.items[i]);
    }
}

static void step_message(struct process *process, uint32_t from, enum message_kind kind,
                         struct span payload) {
    struct peer_message message;
    struct event event = {.kind = EVENT_MESSAGE, .message = &message};
    const struct digest *const service = &process->world->configuration->service;
    if (peer_message_decode(&message, process->world->configuration, from, (uint8_t)kind,
                            payload) == CODEC_OK &&
        (!message.signed_statement || sign_verify(service, &message.check))) {
        step(process, &event);
    }
    peer_message_free(&message);
}

static void sync_all(struct process *process) {
    struct event event = {.kind = EVENT_DURABLE};
    process_settle(process);
    process_flush(process);
    event.durable = process->durable;
    step(process, &event);
}

/* What follows from an event without anybody's choice. */
static void drain(struct process *process, bool with_disk) {
    bool goes_on = true;
    for (uint32_t round = 0; goes_on; round++) {
        CHECK(round < ROUNDS_MAX);
        if (process->verified_count != 0) {
            struct event event = {
                .kind = EVENT_VERIFIED,
                .verified = {.token = process->verified[--process->verified_count],
                             .all_hold = true}};
            step(process, &event);
        } else if (process->handed != WORLD_NONE) {
            uint32_t const payload = process->handed;
            process->handed = WORLD_NONE;
            step_message(process, process->id, MESSAGE_RANGE,
                         store_bytes(&process->world->store, payload));
        } else if (with_disk && process->written_count != 0) {
            sync_all(process);
        } else {
            goes_on = false;
        }
    }
    replica_check_invariants(process->replica);
}

/* ---- start and end ---- */

static void load_ledger(struct process *process) {
    struct store *const store = &process->world->store;
    struct batch batch;
    enum rule rule = RULE_NONE;
    batch_init(&batch);
    for (uint64_t i = 1; i < process->settled.count; i++) {
        struct span const stored = store_bytes(store, process->settled.items[i]);
        struct entry const entry = {.kind = (enum entry_kind)stored.data[0],
                                    .payload = span_of(stored.data + 1, stored.size - 1)};
        enum batch_step const step = batch_add(&batch, i, &entry, &rule);
        if (step == BATCH_BROKEN) {
            world_violation("replica %u cannot read its ledger", process->id);
        }
        if (step == BATCH_MORE) {
            continue;
        }
        rule = replica_load_batch(process->replica, &batch, step);
        if (rule != RULE_NONE) {
            world_violation("replica %u cannot load its ledger: %s", process->id, rule_name(rule));
        }
        batch_clear(&batch);
    }
    batch_free(&batch);
    if (replica_load_end(process->replica) != process->settled.count) {
        world_violation("replica %u loses what its ledger holds", process->id);
    }
}

static void load_journal(struct process *process) {
    struct arena arena;
    arena_init(&arena, 4 * JOURNAL_RECORD_SIZE_MAX);
    for (uint64_t i = 0; i < process->journal.count; i++) {
        struct journal_record record;
        arena_reset(&arena);
        CHECK(journal_record_decode(
                  &record, &arena,
                  store_bytes(&process->world->store, process->journal.items[i])) == CODEC_OK);
        replica_load_journal(process->replica, &record);
    }
    arena_free(&arena);
    replica_load_done(process->replica);
}

static void boot(struct process *process) {
    struct world *const world = process->world;
    const struct replica_keys *const keys = &world->consortium.replicas[process->id];
    effects_init(&process->effects);
    process->checker = checker_new(world->configuration);
    process->engine = engine_new(NULL);
    CHECK(process->checker != NULL && process->engine != NULL);
    checker_start(process->checker, buffer_span(&world->consortium.genesis_bytes));
    struct replica_options options = {
        .configuration = world->configuration,
        .key = keys->signing.key,
        .signing_key = keys->signing.secret,
        .checker = process->checker,
        .engine = process->engine,
        .limits = {.pool_requests_max = 16, .pool_size_max = (size_t)1 << 20},
    };
    memcpy(options.nonce_secret, keys->nonce_secret, sizeof options.nonce_secret);
    process->replica = replica_new(&options);
    CHECK(process->replica != NULL);
    load_ledger(process);
    load_journal(process);
    struct replica_status status;
    replica_status(process->replica, &status);
    if (status.guard != GUARD_NONE) {
        world_violation("replica %u starts under its guard: %s", process->id,
                        guard_text(status.guard));
    }
}

static void shut(struct process *process) {
    replica_free(process->replica);
    checker_free(process->checker);
    engine_free(process->engine);
    effects_free(&process->effects);
}

struct process *process_start(struct world *world, uint32_t id) {
    struct process *const process = calloc(1, sizeof *process);
    CHECK(process != NULL);
    process->world = world;
    process->id = id;
    process->now_ms = FIRST_MS;
    process->handed = WORLD_NONE;
    struct buffer genesis;
    uint8_t const kind = ENTRY_GENESIS;
    buffer_init(&genesis, ENTRY_SIZE_MAX + 1u);
    CHECK(buffer_append(&genesis, span_of(&kind, 1)) &&
          buffer_append(&genesis, buffer_span(&world->consortium.genesis_bytes)));
    uint32_t const item = store_keep(&world->store, buffer_span(&genesis));
    buffer_free(&genesis);
    list_push(&process->settled, item);
    list_push(&process->ledger, item);
    boot(process);
    CHECK(process_take(process, local_event_of(LOCAL_START, 0)));
    return process;
}

void process_free(struct process *process) {
    shut(process);
    free(process->ledger.items);
    free(process->settled.items);
    free(process->journal.items);
    free(process->written);
    free(process->waiting);
    free(process);
}

/* ---- events ---- */

/* An unsigned word from a peer; all that counts in it is whether it suspects. */
static void hear_status(struct process *process, uint32_t from, uint64_t view, bool suspects) {
    struct status_message const status = {.config = process->world->configuration->number,
                                          .view = view,
                                          .asked_view = view,
                                          .suspects = suspects};
    struct buffer encoded;
    buffer_init(&encoded, STATEMENT_SIZE_MAX);
    CHECK(status_message_encode(&encoded, &status));
    step_message(process, from, MESSAGE_STATUS, buffer_span(&encoded));
    buffer_free(&encoded);
}

static void hear_all(struct process *process) {
    for (uint32_t r = 0; r < WORLD_REPLICAS; r++) {
        if (r != process->id) {
            hear_status(process, r, 0, false);
        }
    }
}

static void take_request(struct process *process, uint32_t number) {
    struct request request;
    struct arena arena;
    struct event event = {.kind = EVENT_REQUEST, .request = {.request = &request}};
    arena_init(&arena, 2 * (size_t)ENTRY_SIZE_MAX);
    CHECK(request_decode(&request, &arena, &process->world->configuration->service,
                         process->world->requests[number]) == CODEC_OK);
    process->requests |= 1u << number;
    if (replica_request_refusal(process->replica, &request) == 0) {
        step(process, &event);
    }
    arena_free(&arena);
}

/* A backup hears that its primary gives up; a primary waits in vain, and hears that others do. */
static bool take_ask(struct process *process) {
    struct replica_status status;
    replica_status(process->replica, &status);
    if (status.asked_view > status.view) {
        return false;
    }
    uint32_t const from =
        status.primary == process->id ? (process->id + 1) % WORLD_REPLICAS : status.primary;
    hear_status(process, from, status.view, true);
    if (status.primary == process->id) {
        struct event event = {.kind = EVENT_TICK};
        process->now_ms += TIMEOUT_MS;
        process->soft_ms = 0;
        step(process, &event);
    }
    drain(process, !process->world->options.slow_disk);
    hear_status(process, from, 0, false);
    return asked_view_of(process) > status.asked_view;
}

static void take_timeout(struct process *process) {
    struct event event = {.kind = EVENT_TICK};
    process->timeouts++;
    process->now_ms += TIMEOUT_MS;
    process->soft_ms = 0;
    step(process, &event);
}

static void take_crash(struct process *process, bool kept) {
    if (kept) {
        process_settle(process);
    }
    shut(process);
    process->written_count = 0;
    process->waiting_count = 0;
    process->position = 0;
    process->durable = 0;
    process->ledger.count = 0;
    for (uint64_t i = 0; i < process->settled.count; i++) {
        list_push(&process->ledger, process->settled.items[i]);
    }
    process->restarts++;
    process->soft_ms = 0;
    process->now_ms = FIRST_MS;
    boot(process);
    hear_all(process);
    drain(process, true); /* it says in its journal that it runs, before it says anything else */
    for (uint32_t i = 0; i < WORLD_REQUESTS; i++) {
        if ((process->requests >> i & 1) != 0) {
            take_request(process, i); /* its client has had no answer */
        }
    }
}

static bool take_message(struct process *process, uint32_t number) {
    const struct message *const message = message_at(process->world, number);
    if (message->kind == MESSAGE_VIEW_CHANGE) {
        process->now_ms += SOFT_MS;
        process->soft_ms += SOFT_MS;
        if (process->soft_ms > SOFT_MS_MAX) {
            return false;
        }
    }
    step_message(process, message->author, message->kind,
                 store_bytes(&process->world->store, message->payload));
    return true;
}

static bool take(struct process *process, local_event event) {
    uint32_t const number = local_event_number(event);
    switch (local_event_kind(event)) {
    case LOCAL_START:
        hear_all(process);
        drain(process, true);
        return true;
    case LOCAL_MESSAGE:
        return take_message(process, number);
    case LOCAL_REQUEST:
        take_request(process, number);
        return true;
    case LOCAL_ASK:
        return take_ask(process);
    case LOCAL_TIMEOUT:
        take_timeout(process);
        return true;
    case LOCAL_SYNC:
        if (process->written_count == 0) {
            return false;
        }
        sync_all(process);
        return true;
    case LOCAL_CRASH:
        take_crash(process, number == 1);
        return true;
    }
    UNREACHABLE();
}

bool process_take(struct process *process, local_event event) {
    struct replica_status status;
    if (!take(process, event)) {
        return false;
    }
    drain(process, !process->world->options.slow_disk);
    replica_status(process->replica, &status);
    return status.asked_view <= WORLD_VIEWS && status.executed_seq + 1 < WORLD_BATCHES;
}
