/*
 * saved_state: see saved_state.h. Every size is held against its limit before it is read; the state
 * goes through item by item, so that no more of it is in memory than the engine holds anyway.
 */
#include "audit-tool/saved_state.h"

#include "base/check.h"

#define READ_STEP_SIZE (1u << 20) /* memory is asked for as the file proves to have the bytes */
#define LOAD_ARENA_SIZE (2 * (size_t)SNAPSHOT_SIZE_MAX)

/* ---- writing ---- */

static bool put(FILE *out, struct span bytes) {
    return bytes.size == 0 || fwrite(bytes.data, bytes.size, 1, out) == 1;
}

static bool put_u64(FILE *out, uint64_t value) {
    uint8_t bytes[8];
    store_u64_be(bytes, value);
    return put(out, span_of(bytes, sizeof bytes));
}

static bool put_sized(FILE *out, struct span bytes) {
    uint8_t size[4];
    store_u32_be(size, (uint32_t)bytes.size);
    return put(out, span_of(size, sizeof size)) && put(out, bytes);
}

static bool put_item(void *context, struct span key, struct span value, bool deleted) {
    (void)deleted; /* deletions do not appear in the whole state */
    return put_sized(context, key) && put_sized(context, value);
}

/* All that stands before the items. */
static bool put_head(FILE *out, const struct saved_state *state, struct span snapshot,
                     uint64_t count) {
    return put(out, span_text(SAVED_STATE_MAGIC)) &&
           put(out, span_of(state->service->bytes, DIGEST_SIZE)) && put_u64(out, state->seq) &&
           put_sized(out, state->genesis) && put_sized(out, snapshot) && put_u64(out, count);
}

bool saved_state_write(FILE *out, const struct replayer *replayer,
                       const struct saved_state *state) {
    const struct replayer_cut *const cut = replayer_cut_at(replayer, state->seq);
    return cut != NULL &&
           put_head(out, state, buffer_span(&cut->snapshot), cut->cut.header.state_count) &&
           engine_visit_state(replayer->engine, state->seq, put_item, out);
}

bool saved_state_write_parts(FILE *out, const struct saved_state *state, struct span snapshot,
                             uint64_t count, struct span items) {
    return put_head(out, state, snapshot, count) && put(out, items);
}

static bool spill_sized(struct spill *out, struct span bytes) {
    uint8_t size[4];
    store_u32_be(size, (uint32_t)bytes.size);
    return spill_append(out, span_of(size, sizeof size)) && spill_append(out, bytes);
}

bool saved_state_item(struct spill *out, const struct state_item *item) {
    return spill_sized(out, item->key) && spill_sized(out, item->value);
}

/* ---- reading ---- */

static bool get(FILE *in, void *out, size_t size) {
    return size == 0 || fread(out, size, 1, in) == 1;
}

static bool get_u64(FILE *in, uint64_t *out) {
    uint8_t bytes[8];
    if (!get(in, bytes, sizeof bytes)) {
        return false;
    }
    *out = load_u64_be(bytes);
    return true;
}

/* Bytes behind their size, appended. The buffer's limit is theirs. */
static bool get_sized(FILE *in, struct buffer *out) {
    uint8_t bytes[4];
    if (!get(in, bytes, sizeof bytes)) {
        return false;
    }
    size_t left = load_u32_be(bytes);
    if (left > out->size_max - out->size) {
        return false;
    }
    while (left > 0) {
        size_t const step = left < READ_STEP_SIZE ? left : READ_STEP_SIZE;
        uint8_t *const room = buffer_extend(out, step);
        if (room == NULL || !get(in, room, step)) {
            return false;
        }
        left -= step;
    }
    return true;
}

int saved_state_read_head(FILE *in, const struct digest *service, struct buffer *genesis,
                          uint64_t *seq, const char *name, struct problem *problem) {
    char magic[sizeof SAVED_STATE_MAGIC - 1];
    struct digest own;
    if (!get(in, magic, sizeof magic) || memcmp(magic, SAVED_STATE_MAGIC, sizeof magic) != 0) {
        return problem_set(problem, EXIT_INVALID,
                           "%s: not a saved state of this version of onus-audit", name);
    }
    if (!get(in, own.bytes, DIGEST_SIZE) || !get_u64(in, seq) || !get_sized(in, genesis)) {
        return problem_set(problem, EXIT_INVALID, "%s: the file is cut short", name);
    }
    if (!digest_equal(&own, service)) {
        return problem_set(problem, EXIT_INVALID, "%s: a saved state of another service", name);
    }
    return 0;
}

bool saved_state_read_snapshot(FILE *in, struct buffer *snapshot) {
    return get_sized(in, snapshot);
}

static bool read_items(FILE *in, struct replayer *replayer, struct replayer_loading *loading) {
    struct buffer key;
    struct buffer value;
    uint64_t count = 0;
    buffer_init(&key, KEY_SIZE_MAX);
    buffer_init(&value, VALUE_SIZE_MAX);
    bool good = get_u64(in, &count) && count == loading->header.state_count;
    for (uint64_t i = 0; good && i < count; i++) {
        buffer_clear(&key);
        buffer_clear(&value);
        good = get_sized(in, &key) && get_sized(in, &value) &&
               replayer_load_item(replayer, loading, buffer_span(&key), buffer_span(&value));
    }
    buffer_free(&key);
    buffer_free(&value);
    return good;
}

static bool read_all(FILE *in, struct replayer *replayer, uint64_t seq, struct buffer *snapshot) {
    struct arena arena;
    struct replayer_loading loading;
    arena_init(&arena, LOAD_ARENA_SIZE);
    bool const good = get_sized(in, snapshot) &&
                      replayer_load_begin(replayer, &loading, &arena, buffer_span(snapshot)) &&
                      loading.header.seq == seq && read_items(in, replayer, &loading) &&
                      fgetc(in) == EOF &&
                      replayer_load_end(replayer, &loading, &arena, buffer_span(snapshot));
    arena_free(&arena);
    return good;
}

int saved_state_read(FILE *in, struct replayer *replayer, uint64_t seq, const char *name,
                     struct problem *problem) {
    struct buffer snapshot;
    buffer_init(&snapshot, SNAPSHOT_SIZE_MAX);
    bool const good = read_all(in, replayer, seq, &snapshot);
    buffer_free(&snapshot);
    if (replayer_failed(replayer)) {
        return problem_set(problem, EXIT_ERROR, "%s: out of memory for this state", name);
    }
    if (!good && replayer->stuck != NULL) {
        return problem_set(problem, EXIT_CANNOT_AUDIT, "%s: %s", name, replayer->stuck);
    }
    return good ? 0
                : problem_set(problem, EXIT_INVALID,
                              "%s: damaged: state and checkpoint do not belong together; take "
                              "another one, or audit from genesis",
                              name);
}
