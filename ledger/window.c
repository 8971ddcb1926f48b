/*
 * window: see window.h. Batches sit in a growing ring, oldest first, each with its request ids in
 * one block. The index is an open-addressed table of (batch ordinal, position) with linear
 * probing and backward-shift deletion, never more than half full.
 *
 * Invariants: ordinals of kept batches are first_ordinal .. first_ordinal + batch_count - 1; the
 * batch being collected has the next ordinal; every id in a kept or collected batch is indexed
 * exactly once.
 */
#include "ledger/window.h"

#include <stdlib.h>

#include "base/check.h"
#include "merkle/frontier.h"

struct batch {
    uint64_t seq;
    uint64_t first_index;
    uint64_t end_index; /* one past the last transaction */
    uint64_t entry;
    uint32_t request_count;
    uint32_t request_capacity;
    struct digest leaf; /* LABEL_WINDOW digest of the encoding */
    struct digest *ids;
    uint16_t *call_counts;
};

struct place {
    uint32_t ordinal;         /* low bits of the batch's ordinal */
    uint16_t position_plus_1; /* 0: a free cell */
    uint16_t tag;             /* of the id: spares a look at most ids that are others */
};

static_assert(BATCH_CALLS_MAX < UINT16_MAX, "a position in a batch fits");

struct window {
    struct digest service;
    uint64_t length;
    struct batch *ring;
    uint64_t ring_capacity; /* power of two */
    uint64_t first_ordinal;
    uint64_t batch_count;
    struct batch collecting;
    uint64_t collecting_calls;
    struct place *table;
    uint64_t table_capacity; /* power of two */
    uint64_t id_count;
};

#define RING_CAPACITY_MIN 64u
#define TABLE_CAPACITY_MIN 1024u

struct window *window_new(const struct digest *service, uint64_t length) {
    struct window *const window = calloc(1, sizeof *window);
    if (window == NULL) {
        return NULL;
    }
    window->service = *service;
    window->length = length;
    window->ring_capacity = RING_CAPACITY_MIN;
    window->table_capacity = TABLE_CAPACITY_MIN;
    window->ring = calloc(window->ring_capacity, sizeof *window->ring);
    window->table = calloc(window->table_capacity, sizeof *window->table);
    if (window->ring == NULL || window->table == NULL) {
        window_free(window);
        return NULL;
    }
    return window;
}

static void batch_release(struct batch *batch) {
    free(batch->ids);
    free(batch->call_counts);
    *batch = (struct batch){0};
}

static struct batch *batch_at(const struct window *window, uint64_t nth) {
    CHECK(nth < window->batch_count);
    return &window->ring[(window->first_ordinal + nth) & (window->ring_capacity - 1)];
}

void window_free(struct window *window) {
    if (window == NULL) {
        return;
    }
    for (uint64_t i = 0; window->ring != NULL && i < window->batch_count; i++) {
        batch_release(batch_at(window, i));
    }
    batch_release(&window->collecting);
    free(window->ring);
    free(window->table);
    free(window);
}

/* ---- the index ---- */

static uint64_t id_home(const struct window *window, const struct digest *id) {
    return load_u64_be(id->bytes) & (window->table_capacity - 1);
}

static const struct batch *batch_of(const struct window *window, uint32_t ordinal) {
    uint32_t const nth = ordinal - (uint32_t)window->first_ordinal;
    return nth == window->batch_count ? &window->collecting : batch_at(window, nth);
}

static const struct digest *id_at(const struct window *window, const struct place *place) {
    return &batch_of(window, place->ordinal)->ids[place->position_plus_1 - 1];
}

/* Bits of the id that its home does not use. */
static uint16_t id_tag(const struct digest *id) {
    return (uint16_t)(id->bytes[8] << 8 | id->bytes[9]);
}

/* The cell that holds the id, or the free cell where it would go. */
static uint64_t table_probe(const struct window *window, const struct digest *id) {
    uint64_t cell = id_home(window, id);
    uint16_t const tag = id_tag(id);
    while (window->table[cell].position_plus_1 != 0 &&
           (window->table[cell].tag != tag ||
            !digest_equal(id_at(window, &window->table[cell]), id))) {
        cell = (cell + 1) & (window->table_capacity - 1);
    }
    return cell;
}

static bool table_grow(struct window *window) {
    uint64_t const old_capacity = window->table_capacity;
    struct place *const old = window->table;
    struct place *const table = calloc(2 * old_capacity, sizeof *table);
    if (table == NULL) {
        return false;
    }
    window->table = table;
    window->table_capacity = 2 * old_capacity;
    for (uint64_t i = 0; i < old_capacity; i++) {
        if (old[i].position_plus_1 != 0) {
            table[table_probe(window, id_at(window, &old[i]))] = old[i];
        }
    }
    free(old);
    return true;
}

static void table_remove(struct window *window, const struct digest *id) {
    uint64_t const mask = window->table_capacity - 1;
    uint64_t hole = table_probe(window, id);
    CHECK(window->table[hole].position_plus_1 != 0);
    for (uint64_t cell = (hole + 1) & mask; window->table[cell].position_plus_1 != 0;
         cell = (cell + 1) & mask) {
        uint64_t const home = id_home(window, id_at(window, &window->table[cell]));
        if (((cell - home) & mask) >= ((cell - hole) & mask)) {
            window->table[hole] = window->table[cell];
            hole = cell;
        }
    }
    window->table[hole].position_plus_1 = 0;
    window->id_count--;
}

bool window_find(const struct window *window, const struct digest *request_id,
                 struct window_place *place) {
    const struct place *const found = &window->table[table_probe(window, request_id)];
    if (found->position_plus_1 == 0) {
        return false;
    }
    if (place != NULL) {
        const struct batch *const batch = batch_of(window, found->ordinal);
        uint64_t index = batch->first_index;
        for (uint32_t i = 0; i + 1 < found->position_plus_1; i++) {
            index += batch->call_counts[i];
        }
        *place =
            (struct window_place){.seq = batch->seq, .entry = batch->entry, .first_index = index};
    }
    return true;
}

/* ---- collecting a batch ---- */

static bool collecting_grow(struct batch *batch) {
    uint32_t const capacity = batch->request_capacity == 0 ? 16 : 2 * batch->request_capacity;
    struct digest *const ids = realloc(batch->ids, capacity * sizeof *ids);
    if (ids == NULL) {
        return false;
    }
    batch->ids = ids;
    uint16_t *const call_counts = realloc(batch->call_counts, capacity * sizeof *call_counts);
    if (call_counts == NULL) {
        return false;
    }
    batch->call_counts = call_counts;
    batch->request_capacity = capacity;
    return true;
}

bool window_add(struct window *window, const struct digest *request_id, uint32_t call_count) {
    CHECK(call_count >= 1 && call_count <= CALLS_MAX);
    struct batch *const batch = &window->collecting;
    if (batch->request_count == batch->request_capacity && !collecting_grow(batch)) {
        return false;
    }
    if (2 * (window->id_count + 1) > window->table_capacity && !table_grow(window)) {
        return false;
    }
    uint64_t const cell = table_probe(window, request_id);
    CHECK(window->table[cell].position_plus_1 == 0);
    batch->ids[batch->request_count] = *request_id;
    batch->call_counts[batch->request_count] = (uint16_t)call_count;
    batch->request_count++;
    window->collecting_calls += call_count;
    window->table[cell] = (struct place){
        .ordinal = (uint32_t)(window->first_ordinal + window->batch_count),
        .position_plus_1 = (uint16_t)batch->request_count,
        .tag = id_tag(request_id),
    };
    window->id_count++;
    return true;
}

void window_abandon(struct window *window) {
    struct batch *const batch = &window->collecting;
    while (batch->request_count > 0) {
        table_remove(window, &batch->ids[batch->request_count - 1]);
        batch->request_count--;
    }
    window->collecting_calls = 0;
}

static bool ring_grow(struct window *window) {
    uint64_t const capacity = 2 * window->ring_capacity;
    struct batch *const ring = calloc(capacity, sizeof *ring);
    if (ring == NULL) {
        return false;
    }
    for (uint64_t i = 0; i < window->batch_count; i++) {
        ring[(window->first_ordinal + i) & (capacity - 1)] = *batch_at(window, i);
    }
    free(window->ring);
    window->ring = ring;
    window->ring_capacity = capacity;
    return true;
}

static bool batch_encode(struct buffer *out, const struct batch *batch) {
    struct window_batch const view = {
        .seq = batch->seq,
        .first_index = batch->first_index,
        .entry = batch->entry,
        .request_count = batch->request_count,
        .request_ids = batch->ids,
        .call_counts = batch->call_counts,
    };
    return window_batch_encode(out, &view);
}

static bool batch_leaf(const struct window *window, struct batch *batch) {
    struct buffer encoded;
    buffer_init(&encoded, ENTRY_SIZE_MAX);
    bool const done = batch_encode(&encoded, batch);
    if (done) {
        batch->leaf = hash_labelled(LABEL_WINDOW, &window->service, buffer_span(&encoded));
    }
    buffer_free(&encoded);
    return done;
}

bool window_commit(struct window *window, uint64_t seq, uint64_t first_index, uint64_t entry) {
    struct batch *const batch = &window->collecting;
    if (batch->request_count == 0) {
        return true; /* an empty batch has nothing to replay */
    }
    batch->seq = seq;
    batch->first_index = first_index;
    batch->end_index = first_index + window->collecting_calls;
    batch->entry = entry;
    if (!batch_leaf(window, batch) ||
        (window->batch_count == window->ring_capacity && !ring_grow(window))) {
        window_abandon(window);
        return false;
    }
    uint64_t const ordinal = window->first_ordinal + window->batch_count;
    window->ring[ordinal & (window->ring_capacity - 1)] = *batch;
    window->batch_count++;
    window->collecting = (struct batch){0};
    window->collecting_calls = 0;
    return true;
}

static void batch_unindex(struct window *window, const struct batch *batch) {
    for (uint32_t i = 0; i < batch->request_count; i++) {
        table_remove(window, &batch->ids[i]);
    }
}

void window_rollback(struct window *window, uint64_t seq) {
    window_abandon(window);
    while (window->batch_count > 0) {
        struct batch *const last = batch_at(window, window->batch_count - 1);
        if (last->seq <= seq) {
            return;
        }
        batch_unindex(window, last);
        batch_release(last);
        window->batch_count--;
    }
}

static bool is_live(const struct window *window, const struct batch *batch, uint64_t next_index) {
    return batch->end_index + window->length > next_index;
}

void window_expire(struct window *window, uint64_t next_index, uint64_t settled_seq) {
    CHECK(window->collecting.request_count == 0);
    while (window->batch_count > 0) {
        struct batch *const oldest = batch_at(window, 0);
        if (oldest->seq > settled_seq || is_live(window, oldest, next_index)) {
            return;
        }
        batch_unindex(window, oldest);
        batch_release(oldest);
        window->first_ordinal++;
        window->batch_count--;
    }
}

/* ---- checkpoints ---- */

struct digest window_root(const struct window *window, uint64_t seq, uint64_t next_index,
                          uint64_t *first_entry) {
    struct frontier frontier;
    frontier_init(&frontier);
    *first_entry = 0;
    for (uint64_t i = 0; i < window->batch_count; i++) {
        const struct batch *const batch = batch_at(window, i);
        if (batch->seq > seq || !is_live(window, batch, next_index)) {
            continue;
        }
        if (frontier.leaf_count == 0) {
            *first_entry = batch->entry;
        }
        struct digest const leaf = merkle_leaf_hash(span_of(batch->leaf.bytes, DIGEST_SIZE));
        frontier_append(&frontier, &leaf);
    }
    return frontier_root(&frontier);
}

bool window_visit(const struct window *window, uint64_t seq, uint64_t next_index,
                  window_visitor visitor, void *context) {
    struct buffer encoded;
    buffer_init(&encoded, ENTRY_SIZE_MAX);
    bool going = true;
    for (uint64_t i = 0; going && i < window->batch_count; i++) {
        const struct batch *const batch = batch_at(window, i);
        if (batch->seq <= seq && is_live(window, batch, next_index)) {
            buffer_clear(&encoded);
            going = batch_encode(&encoded, batch) && visitor(context, buffer_span(&encoded));
        }
    }
    buffer_free(&encoded);
    return going;
}

bool window_load(struct window *window, const struct window_batch *batch) {
    if (window->batch_count > 0) {
        const struct batch *const last = batch_at(window, window->batch_count - 1);
        if (batch->seq <= last->seq || batch->first_index < last->end_index ||
            batch->entry <= last->entry) {
            return false;
        }
    }
    for (uint32_t i = 0; i < batch->request_count; i++) {
        uint32_t const call_count = batch->call_counts[i];
        if (call_count < 1 || call_count > CALLS_MAX ||
            window_find(window, &batch->request_ids[i], NULL) ||
            !window_add(window, &batch->request_ids[i], call_count)) {
            window_abandon(window);
            return false;
        }
    }
    return window_commit(window, batch->seq, batch->first_index, batch->entry);
}
