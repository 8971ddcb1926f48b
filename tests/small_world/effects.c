/*
 * effects: what surrounds a core that runs: its disk, and what waits for the disk to leave. Effects
 * are carried out the way that node/ does; signatures are checked at once, for real.
 */
#include <stdlib.h>

#include "base/check.h"
#include "tests/small_world/process.h"

/* ---- what leaves ---- */

static bool binds(enum message_kind kind) {
    return kind == MESSAGE_PRE_PREPARE || kind == MESSAGE_PREPARE || kind == MESSAGE_COMMIT ||
           kind == MESSAGE_VIEW_CHANGE || kind == MESSAGE_NEW_VIEW;
}

static void note_sent(struct process *process, uint32_t message) {
    uint32_t at = 0;
    while (at < process->sent_count && process->sent[at] < message) {
        at++;
    }
    if (at < process->sent_count && process->sent[at] == message) {
        return;
    }
    judge_said(process, message);
    CHECK(process->sent_count < WORLD_SENT_MAX);
    memmove(&process->sent[at + 1], &process->sent[at],
            (process->sent_count - at) * sizeof process->sent[0]);
    process->sent[at] = message;
    process->sent_count++;
}

/* Who passes on what others said says nothing new. */
static bool is_own(const struct process *process, const struct message *message) {
    return message->kind != MESSAGE_NEW_VIEW ||
           configuration_primary(process->world->configuration, message->view) == process->id;
}

static void decode_nonce(struct span payload, struct commit_message *out) {
    struct arena arena;
    arena_init(&arena, 1u << 16);
    CHECK(commit_message_decode(out, &arena, payload) == CODEC_OK);
    arena_free(&arena);
}

/* What it has signed for the batch that a nonce of its own is for; WORLD_NONE: nothing. */
static uint32_t signed_before(const struct process *process, struct span payload) {
    struct commit_message commit;
    decode_nonce(payload, &commit);
    for (uint32_t i = 0; i < process->sent_count; i++) {
        const struct message *const said = message_at(process->world, process->sent[i]);
        bool const is_vote = said->kind == MESSAGE_PRE_PREPARE || said->kind == MESSAGE_PREPARE;
        if (is_vote && said->view == commit.view && said->seq == commit.seq) {
            return said->subject;
        }
    }
    return WORLD_NONE;
}

static void leave(struct process *process, const struct waiting *waiting) {
    struct world *const world = process->world;
    struct span const payload = store_bytes(&world->store, waiting->payload);
    uint32_t const number =
        waiting->kind == MESSAGE_COMMIT
            ? message_keep_nonce(world, process->id, payload, signed_before(process, payload))
            : message_keep(world, process->id, waiting->kind, payload);
    if (is_own(process, message_at(world, number))) {
        note_sent(process, number);
    }
}

/* Is it this replica's own nonce, and not one that it passes on? */
static bool is_own_nonce(const struct process *process, struct span payload) {
    struct commit_message commit;
    decode_nonce(payload, &commit);
    return commit.replica == process->id;
}

static void send(struct process *process, const struct effect *effect) {
    struct waiting waiting = {.after = effect->send.after, .kind = effect->send.kind};
    if (!binds(waiting.kind) ||
        (waiting.kind == MESSAGE_COMMIT && !is_own_nonce(process, effect->send.payload))) {
        return;
    }
    waiting.payload = store_keep(&process->world->store, effect->send.payload);
    if (waiting.after <= process->durable) {
        leave(process, &waiting);
        return;
    }
    for (uint64_t i = 0; i < process->waiting_count; i++) { /* to others, or once more */
        const struct waiting *const other = &process->waiting[i];
        if (other->kind == waiting.kind && other->payload == waiting.payload) {
            return;
        }
    }
    process->waiting = world_grow(process->waiting, process->waiting_count,
                                  &process->waiting_capacity, sizeof *process->waiting);
    process->waiting[process->waiting_count++] = waiting;
}

void process_flush(struct process *process) {
    uint64_t kept = 0;
    for (uint64_t i = 0; i < process->waiting_count; i++) {
        if (process->waiting[i].after <= process->durable) {
            leave(process, &process->waiting[i]);
        } else {
            process->waiting[kept++] = process->waiting[i];
        }
    }
    process->waiting_count = kept;
}

/* ---- the disk ---- */

static void write_down(struct process *process, const struct written *written) {
    CHECK(written->position == process->position + 1);
    process->position = written->position;
    process->written = world_grow(process->written, process->written_count,
                                  &process->written_capacity, sizeof *process->written);
    process->written[process->written_count++] = *written;
}

static void write_entry(struct process *process, const struct effect *effect) {
    struct buffer bytes;
    uint8_t const kind = (uint8_t)effect->append.entry.kind;
    buffer_init(&bytes, ENTRY_SIZE_MAX + 1u);
    CHECK(buffer_append(&bytes, span_of(&kind, 1)) &&
          buffer_append(&bytes, effect->append.entry.payload));
    uint32_t const item = store_keep(&process->world->store, buffer_span(&bytes));
    buffer_free(&bytes);
    write_down(process, &(struct written){.kind = WRITTEN_ENTRY,
                                          .position = effect->append.position,
                                          .item = item});
    list_push(&process->ledger, item);
}

static void write_cut(struct process *process, const struct effect *effect) {
    CHECK(effect->truncate.entries >= 1 && effect->truncate.entries <= process->ledger.count);
    write_down(process, &(struct written){.kind = WRITTEN_CUT,
                                          .position = effect->truncate.position,
                                          .entries = effect->truncate.entries});
    process->ledger.count = effect->truncate.entries;
}

static void write_record(struct process *process, const struct effect *effect) {
    struct buffer bytes;
    buffer_init(&bytes, JOURNAL_RECORD_SIZE_MAX);
    CHECK(journal_record_encode(&bytes, &effect->journal.record));
    uint32_t const item = store_keep(&process->world->store, buffer_span(&bytes));
    buffer_free(&bytes);
    write_down(process, &(struct written){.kind = WRITTEN_RECORD,
                                          .position = effect->journal.position,
                                          .item = item});
}

void process_settle(struct process *process) {
    for (uint64_t i = 0; i < process->written_count; i++) {
        const struct written *const written = &process->written[i];
        if (written->kind == WRITTEN_ENTRY) {
            list_push(&process->settled, written->item);
        } else if (written->kind == WRITTEN_CUT) {
            process->settled.count = written->entries;
        } else {
            list_push(&process->journal, written->item);
        }
    }
    process->written_count = 0;
    process->durable = process->position;
}

/* ---- effects ---- */

static uint32_t encode_range(struct world *world, const uint32_t *entries, uint64_t count,
                             uint64_t first_entry) {
    struct entry items[WIRE_ENTRIES_MAX];
    struct range_message range = {.first_entry = first_entry, .entries = items};
    struct buffer bytes;
    for (uint64_t i = first_entry; first_entry != 0 && i < count; i++) {
        struct span const stored = store_bytes(&world->store, entries[i]);
        items[range.count++] = (struct entry){.kind = (enum entry_kind)stored.data[0],
                                              .payload = span_of(stored.data + 1, stored.size - 1)};
    }
    buffer_init(&bytes, FRAME_SIZE_MAX);
    CHECK(range_message_encode(&bytes, &range));
    uint32_t const payload = store_keep(&world->store, buffer_span(&bytes));
    buffer_free(&bytes);
    return payload;
}

uint32_t local_serve(struct world *world, uint32_t local, uint64_t first_entry) {
    const struct local *const from = local_at(world, local);
    uint32_t count = 0;
    const uint32_t *const entries = store_list(&world->store, from->ledger, &count);
    uint32_t const payload = encode_range(world, entries, count, first_entry);
    return message_keep(world, from->replica, MESSAGE_RANGE, store_bytes(&world->store, payload));
}

static void verify(struct process *process, const struct effect *effect) {
    const struct digest *const service = &process->world->configuration->service;
    for (uint32_t i = 0; i < effect->verify.count; i++) {
        if (!sign_verify(service, &effect->verify.checks[i])) {
            world_violation("replica %u was given a signature that does not hold", process->id);
        }
    }
    CHECK(process->verified_count < 4);
    process->verified[process->verified_count++] = effect->verify.token;
}

/* What only Byzantine replicas, or a replica that has lost something, can bring about. */
static void take_note(struct process *process, const struct effect *effect) {
    const struct world *const world = process->world;
    if (effect->note.kind == NOTE_GUARD) {
        world_violation("replica %u engages its guard", process->id);
    }
    bool const is_refusal =
        effect->note.kind == NOTE_PRE_PREPARE_REFUSED || effect->note.kind == NOTE_NEW_VIEW_REFUSED;
    if (is_refusal && !is_liar(world, effect->note.replica)) {
        world_violation("replica %u refuses what replica %u, a correct one, proposes: %s",
                        process->id, effect->note.replica, rule_name(effect->note.rule));
    }
}

void process_carry_out(struct process *process, const struct effect *effect) {
    const struct world *const world = process->world;
    switch (effect->kind) {
    case EFFECT_APPEND:
        write_entry(process, effect);
        return;
    case EFFECT_TRUNCATE:
        write_cut(process, effect);
        return;
    case EFFECT_JOURNAL:
        write_record(process, effect);
        return;
    case EFFECT_SEND:
        send(process, effect);
        return;
    case EFFECT_SERVE_RANGE: /* others are served by local_serve */
        if (effect->serve_range.peer == process->id) {
            process->handed = encode_range(process->world, process->ledger.items,
                                           process->ledger.count, effect->serve_range.first_entry);
        }
        return;
    case EFFECT_VERIFY:
        verify(process, effect);
        return;
    case EFFECT_CONFIGURATION:
    case EFFECT_EVIDENCE:
        if (!is_liar(world, effect->evidence.replica)) {
            world_violation("replica %u holds evidence against replica %u, a correct one",
                            process->id, effect->evidence.replica);
        }
        return;
    case EFFECT_NOTE:
        take_note(process, effect);
        return;
    case EFFECT_SEND_CLIENT:
    case EFFECT_SERVE_RECEIPT:
        return;
    case EFFECT_CHECKPOINT:
        UNREACHABLE(); /* the world ends before the first one */
    }
}
