/*
 * merge: walks several storeys of the state as one, in key order, the newest write first.
 *
 * Each storey keeps its next item; a step takes the smallest key, the newest storey's on a tie,
 * and moves every storey that stands on that key. Nothing is collected and nothing is changed.
 */
#include "base/check.h"
#include "execution/stack.h"

/* A key that does not fit comes from a damaged store: a failure, never an assertion. */
static bool base_seek(struct merge *merge, struct span key) {
    int const found =
        merge->base->seek(merge->base->context, key, &merge->base_key, &merge->base_value);
    merge->base_found = found == 1;
    return found >= 0 && (found == 0 || merge->base_key.size <= KEY_SIZE_MAX);
}

/* The least key greater than the present one is the same with a zero byte behind it. */
static bool base_advance(struct merge *merge) {
    uint8_t after[KEY_SIZE_MAX + 1];
    size_t const size = merge->base_key.size;
    if (size != 0) {
        memcpy(after, merge->base_key.data, size);
    }
    after[size] = 0;
    return base_seek(merge, span_of(after, size + 1));
}

bool merge_start(struct merge *merge, const struct engine *engine, const struct layer *upto,
                 enum merge_depth depth, struct span start) {
    merge->base = NULL;
    merge->base_found = false;
    merge->count = 0;
    for (const struct layer *layer = upto; layer != NULL; layer = layer->below) {
        CHECK(merge->count < LAYERS_MAX);
        merge->items[merge->count++] = layer_seek(layer, start);
    }
    if (depth == MERGE_LAYERS_ONLY) {
        return true;
    }
    merge->items[merge->count++] = layer_seek(&engine->ground, start);
    if (!engine->has_base) {
        return true;
    }
    merge->base = &engine->base;
    return base_seek(merge, start);
}

static const struct item *smallest_item(const struct merge *merge) {
    const struct item *smallest = NULL;
    for (unsigned i = 0; i < merge->count; i++) {
        const struct item *const item = merge->items[i];
        if (item != NULL &&
            (smallest == NULL || span_compare(item_key(item), item_key(smallest)) < 0)) {
            smallest = item;
        }
    }
    return smallest;
}

static void advance_items(struct merge *merge, struct span key) {
    for (unsigned i = 0; i < merge->count; i++) {
        if (merge->items[i] != NULL && span_equal(item_key(merge->items[i]), key)) {
            merge->items[i] = layer_next(merge->items[i]);
        }
    }
}

int merge_next(struct merge *merge, struct span *key, struct span *value, bool *deleted) {
    const struct item *const item = smallest_item(merge);
    if (item == NULL && !merge->base_found) {
        return 0;
    }
    int order = -1;
    if (item == NULL) {
        order = 1;
    } else if (merge->base_found) {
        order = span_compare(item_key(item), merge->base_key);
    }
    if (order <= 0) {
        *key = item_key(item);
        *value = item_value_span(item);
        *deleted = item->value == NULL;
        advance_items(merge, *key);
    } else {
        *key = merge->base_key;
        *value = merge->base_value;
        *deleted = false;
    }
    if (order >= 0 && !base_advance(merge)) {
        return -1;
    }
    return 1;
}

static bool visit(const struct engine *engine, uint64_t seq, enum merge_depth depth,
                  state_visitor visitor, void *context) {
    const struct layer *const cut = stack_find_cut(engine, seq);
    struct merge merge;
    if (cut == NULL || !merge_start(&merge, engine, cut, depth, span_of(NULL, 0))) {
        return false;
    }
    struct span key;
    struct span value;
    bool deleted = false;
    int more = 0;
    while ((more = merge_next(&merge, &key, &value, &deleted)) == 1) {
        bool const wanted = !deleted || depth == MERGE_LAYERS_ONLY;
        if (wanted && !visitor(context, key, value, deleted)) {
            return false;
        }
    }
    return more == 0;
}

bool engine_visit_changes(const struct engine *engine, uint64_t seq, state_visitor visitor,
                          void *context) {
    return visit(engine, seq, MERGE_LAYERS_ONLY, visitor, context);
}

bool engine_visit_state(const struct engine *engine, uint64_t seq, state_visitor visitor,
                        void *context) {
    return visit(engine, seq, MERGE_WHOLE_STATE, visitor, context);
}
