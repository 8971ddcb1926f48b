/*
 * execute: runs the calls of a request and writes their outcomes (protocol §3, §4).
 *
 * Outcomes are encoded one behind the other into one buffer that may move while it grows, so
 * their places are kept as offsets until the last one is written.
 */
#include "base/check.h"
#include "execution/govern.h"
#include "execution/procedure.h"
#include "execution/stack.h"

void execution_init(struct execution *execution) {
    execution->count = 0;
    execution->closes = false;
    execution->expected = (struct execution_expected){0};
    buffer_init(&execution->encoded, (size_t)CALLS_MAX * OUTCOME_SIZE_MAX);
}

void execution_free(struct execution *execution) {
    buffer_free(&execution->encoded);
    execution->count = 0;
}

/* The items written since the mark, each once, in key order. Returns how many. */
static uint32_t written_items(const struct engine *engine, uint64_t mark,
                              const struct item *items[static CALL_WRITES_MAX]) {
    uint32_t count = 0;
    for (uint64_t position = mark; position < engine->undo.end; position++) {
        const struct item *const item = undo_at(&engine->undo, position)->item;
        uint32_t at = 0;
        while (at < count && span_compare(item_key(items[at]), item_key(item)) < 0) {
            at++;
        }
        if (at < count && items[at] == item) {
            continue;
        }
        CHECK(count < CALL_WRITES_MAX);
        memmove(items + at + 1, items + at, (count - at) * sizeof items[0]);
        items[at] = item;
        count++;
    }
    return count;
}

/*
 * LABEL_WRITE_SET over: u32be count, then for each key in order u32be size, key, u8 (1 put,
 * 0 delete), u32be size, value. A key written twice counts once, with what it ended as.
 */
static struct digest write_digest(const struct engine *engine, const struct digest *service,
                                  uint64_t mark) {
    const struct item *items[CALL_WRITES_MAX];
    uint32_t const count = written_items(engine, mark, items);
    struct hash_state state;
    hash_init_labelled(&state, LABEL_WRITE_SET, service);
    hash_update_u32(&state, count);
    for (uint32_t i = 0; i < count; i++) {
        struct span const value = item_value_span(items[i]);
        uint8_t const kind = items[i]->value == NULL ? 0 : 1;
        hash_update_u32(&state, items[i]->key_size);
        hash_update(&state, item_key(items[i]));
        hash_update(&state, span_of(&kind, 1));
        hash_update_u32(&state, (uint32_t)value.size);
        hash_update(&state, value);
    }
    return hash_final(&state);
}

/* The places of outcomes in the buffer, one more than there are. */
struct offsets {
    size_t at[CALLS_MAX + 1];
};

static struct digest outcome_digest(const struct execution *out, const struct digest *service,
                                    struct span encoded) {
    const struct execution_expected *const expected = &out->expected;
    return out->count < expected->count && span_equal(encoded, expected->outcomes[out->count])
               ? expected->digests[out->count]
               : hash_labelled(LABEL_OUTCOME, service, encoded);
}

/* Append one outcome. False: out of memory. */
static bool add_outcome(struct execution *out, struct offsets *offsets,
                        const struct digest *service, const struct outcome *outcome) {
    uint32_t const place = out->count;
    offsets->at[place] = out->encoded.size;
    if (!outcome_encode(&out->encoded, outcome)) {
        return false;
    }
    size_t const size = out->encoded.size - offsets->at[place];
    CHECK(size <= OUTCOME_SIZE_MAX);
    out->statuses[place] = outcome->status;
    out->digests[place] =
        outcome_digest(out, service, span_of(out->encoded.data + offsets->at[place], size));
    out->count++;
    offsets->at[out->count] = out->encoded.size;
    return true;
}

/* Every outcome but that of the call that failed says that it was aborted. */
static bool add_aborted(struct execution *out, struct offsets *offsets,
                        const struct digest *service, const struct request *request,
                        uint32_t failed_call, const struct outcome *failed) {
    struct outcome const aborted = {.status = OUTCOME_ABORTED,
                                    .write_digest = failed->write_digest};
    buffer_clear(&out->encoded);
    out->count = 0;
    for (uint32_t i = 0; i < request->call_count; i++) {
        if (!add_outcome(out, offsets, service, i == failed_call ? failed : &aborted)) {
            return false;
        }
    }
    return true;
}

/* False: memory or the store failed. */
static bool execute_calls(struct engine *engine, struct execution *out, struct offsets *offsets,
                          const struct digest *service, const struct request *request) {
    uint64_t const request_mark = engine_mark(engine);
    struct procedure_context context;
    for (uint32_t i = 0; i < request->call_count; i++) {
        uint64_t const mark = engine_mark(engine);
        struct outcome outcome = {.status = procedure_run(&context, engine, request, i)};
        outcome.reply_count = context.reply.count;
        outcome.reply = context.reply.items;
        outcome.write_digest = write_digest(engine, service, mark);
        out->closes |= outcome.status == OUTCOME_OK && context.closes;
        if (engine->failed) {
            return false;
        }
        if (request->mode == REQUEST_ATOMIC && outcome.status != OUTCOME_OK) {
            engine_rollback(engine, request_mark);
            return add_aborted(out, offsets, service, request, i, &outcome);
        }
        if (!add_outcome(out, offsets, service, &outcome)) {
            return false;
        }
    }
    return true;
}

void engine_execute(struct engine *engine, struct execution *out, const struct digest *service,
                    const struct request *request) {
    CHECK(request->call_count >= 1 && request->call_count <= CALLS_MAX);
    struct offsets offsets;
    buffer_clear(&out->encoded);
    out->count = 0;
    out->closes = false;
    govern_charge(engine, request);
    if (engine->failed || !execute_calls(engine, out, &offsets, service, request)) {
        engine->failed = true;
        out->count = 0;
        out->closes = false;
        return;
    }
    for (uint32_t i = 0; i < out->count; i++) {
        out->outcomes[i] =
            span_of(out->encoded.data + offsets.at[i], offsets.at[i + 1] - offsets.at[i]);
    }
}
