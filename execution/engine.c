/*
 * engine: the stack of layers: reading, writing, undoing, cutting and absorbing. See engine.h for
 * what it promises and stack.h for what holds inside. Calls are executed in execute.c.
 */
#include "execution/engine.h"

#include <stdlib.h>

#include "base/check.h"
#include "execution/govern.h"
#include "execution/stack.h"

static struct layer *layer_new(void) {
    struct layer *const layer = malloc(sizeof *layer);
    if (layer != NULL) {
        layer_init(layer);
    }
    return layer;
}

struct engine *engine_new(const struct state_base *base) {
    struct engine *const engine = malloc(sizeof *engine);
    struct layer *const first = layer_new();
    if (engine == NULL || first == NULL) {
        free(engine);
        free(first);
        return NULL;
    }
    *engine = (struct engine){.bottom = first, .top = first, .layer_count = 1};
    if (base != NULL) {
        engine->base = *base;
        engine->has_base = true;
    }
    layer_init(&engine->ground);
    undo_init(&engine->undo);
    return engine;
}

static void drop_bottom(struct engine *engine) {
    struct layer *const layer = engine->bottom;
    engine->bottom = layer->above;
    engine->layer_count--;
    layer_clear(layer);
    free(layer);
}

void engine_free(struct engine *engine) {
    if (engine == NULL) {
        return;
    }
    undo_free(&engine->undo);
    while (engine->bottom != NULL) {
        drop_bottom(engine);
    }
    layer_clear(&engine->ground);
    govern_free(engine->govern);
    free(engine);
}

bool engine_failed(const struct engine *engine) {
    return engine->failed;
}

int stack_get(const struct engine *engine, struct span key, struct span *value) {
    const struct item *item = NULL;
    for (const struct layer *layer = engine->top; layer != NULL; layer = layer->below) {
        item = layer_find(layer, key);
        if (item != NULL) {
            break;
        }
    }
    if (item == NULL && engine->has_base) {
        return engine->base.get(engine->base.context, key, value);
    }
    if (item == NULL) {
        item = layer_find(&engine->ground, key);
    }
    if (item == NULL || item->value == NULL) {
        return 0;
    }
    *value = item_value_span(item);
    return 1;
}

int engine_get(struct engine *engine, struct span key, struct span *value) {
    int const found = stack_get(engine, key, value);
    if (found < 0) {
        engine->failed = true;
    }
    return found;
}

void stack_write(struct engine *engine, struct span key, const struct span *value) {
    CHECK(key.size >= 1 && key.size <= KEY_SIZE_MAX);
    CHECK(value == NULL || value->size <= VALUE_SIZE_MAX);
    struct item_value *fresh = NULL;
    if (!undo_reserve(&engine->undo) ||
        (value != NULL && (fresh = item_value_new(*value)) == NULL)) {
        engine->failed = true;
        return;
    }
    struct item *item = layer_find(engine->top, key);
    struct undo_record record = {.kind = UNDO_REPLACE};
    if (item != NULL) {
        record.previous = item->value;
        item->value = fresh;
    } else {
        item = layer_insert(engine->top, key, fresh);
        record.kind = UNDO_INSERT;
    }
    if (item == NULL) {
        free(fresh);
        engine->failed = true;
        return;
    }
    record.item = item;
    undo_push(&engine->undo, record);
}

uint64_t engine_mark(const struct engine *engine) {
    return engine->undo.end;
}

/* The top layer was started by the cut that is undone: by now it is empty again. */
static void undo_cut(struct engine *engine) {
    struct layer *const top = engine->top;
    CHECK(layer_empty(top) && top->below != NULL);
    engine->top = top->below;
    engine->top->above = NULL;
    engine->top->frozen = false;
    engine->layer_count--;
    layer_clear(top); /* it has no items, but may have had */
    free(top);
}

void engine_rollback(struct engine *engine, uint64_t mark) {
    CHECK(mark >= engine->undo.front && mark <= engine->undo.end);
    while (engine->undo.end > mark) {
        struct undo_record const record = undo_pop(&engine->undo);
        switch (record.kind) {
        case UNDO_INSERT:
            layer_remove(engine->top, record.item);
            break;
        case UNDO_REPLACE:
            free(record.item->value);
            record.item->value = record.previous;
            break;
        case UNDO_CUT:
            undo_cut(engine);
            break;
        case UNDO_CHARGE:
            govern_uncharge(engine, record.member, record.spent);
            break;
        }
    }
}

void engine_settle(struct engine *engine, uint64_t mark) {
    undo_settle(&engine->undo, mark);
}

void engine_cut(struct engine *engine, uint64_t seq) {
    CHECK(engine->layer_count < LAYERS_MAX);
    CHECK(engine->top->below == NULL || engine->top->below->cut_seq < seq);
    struct layer *const fresh = layer_new();
    if (fresh == NULL || !undo_reserve(&engine->undo)) {
        free(fresh);
        engine->failed = true;
        return;
    }
    struct layer *const old = engine->top;
    undo_push(&engine->undo, (struct undo_record){.kind = UNDO_CUT});
    old->frozen = true;
    old->cut_seq = seq;
    old->cut_mark = engine->undo.end;
    old->above = fresh;
    fresh->below = old;
    engine->top = fresh;
    engine->layer_count++;
}

const struct layer *stack_find_cut(const struct engine *engine, uint64_t seq) {
    const struct layer *layer = engine->bottom;
    while (layer != NULL && layer->frozen) {
        if (layer->cut_seq >= seq) {
            return layer->cut_seq == seq ? layer : NULL;
        }
        layer = layer->above;
    }
    return NULL;
}

void engine_absorb(struct engine *engine, uint64_t seq) {
    const struct layer *const cut = stack_find_cut(engine, seq);
    CHECK(cut != NULL && cut->cut_mark <= engine->undo.front);
    const struct layer *const keep = cut->above;
    while (engine->bottom != keep) {
        if (!engine->has_base) {
            layer_merge_down(&engine->ground, engine->bottom);
        }
        drop_bottom(engine);
    }
    engine->bottom->below = NULL;
}

bool engine_preload(struct engine *engine, struct span key, struct span value) {
    if (engine->has_base || key.size < 1 || key.size > KEY_SIZE_MAX ||
        value.size > VALUE_SIZE_MAX || layer_find(&engine->ground, key) != NULL) {
        return false;
    }
    struct item_value *const fresh = item_value_new(value);
    if (fresh == NULL || layer_insert(&engine->ground, key, fresh) == NULL) {
        free(fresh);
        return false;
    }
    return true;
}
