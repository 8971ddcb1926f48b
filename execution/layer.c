/*
 * layer: see layer.h. Searches take a span instead of an item, so they are written here rather
 * than generated; inserting, removing and stepping are libbsd's.
 */
#include "execution/layer.h"

#include <stdlib.h>

#include "base/check.h"

static int item_compare(const struct item *a, const struct item *b) {
    return span_compare(item_key(a), item_key(b));
}

RB_PROTOTYPE(item_map, item, entry, item_compare)
RB_GENERATE(item_map, item, entry, item_compare)

struct item_value *item_value_new(struct span bytes) {
    struct item_value *const value = malloc(sizeof *value + bytes.size);
    if (value == NULL) {
        return NULL;
    }
    value->size = (uint32_t)bytes.size;
    if (bytes.size != 0) {
        memcpy(value->bytes, bytes.data, bytes.size);
    }
    return value;
}

static void item_free(struct item *item) {
    free(item->value);
    free(item);
}

void layer_init(struct layer *layer) {
    *layer = (struct layer){.frozen = false};
    RB_INIT(&layer->items);
}

/* The leaf that going left where possible, else right, leads to: nothing hangs below it. */
static struct item *deepest(struct item *item) {
    for (;;) {
        if (RB_LEFT(item, entry) != NULL) {
            item = RB_LEFT(item, entry);
        } else if (RB_RIGHT(item, entry) != NULL) {
            item = RB_RIGHT(item, entry);
        } else {
            return item;
        }
    }
}

/* Children before parents, so that nothing is rebalanced on the way. */
void layer_clear(struct layer *layer) {
    struct item *item = RB_ROOT(&layer->items);
    if (item != NULL) {
        item = deepest(item);
    }
    while (item != NULL) {
        struct item *const parent = RB_PARENT(item, entry);
        struct item *next = parent;
        if (parent != NULL && RB_LEFT(parent, entry) == item && RB_RIGHT(parent, entry) != NULL) {
            next = deepest(RB_RIGHT(parent, entry));
        }
        item_free(item);
        item = next;
    }
    RB_INIT(&layer->items);
}

bool layer_empty(const struct layer *layer) {
    return RB_EMPTY(&layer->items);
}

struct item *layer_find(const struct layer *layer, struct span key) {
    struct item *item = RB_ROOT(&layer->items);
    while (item != NULL) {
        int const order = span_compare(key, item_key(item));
        if (order == 0) {
            return item;
        }
        item = order < 0 ? RB_LEFT(item, entry) : RB_RIGHT(item, entry);
    }
    return NULL;
}

struct item *layer_seek(const struct layer *layer, struct span key) {
    struct item *item = RB_ROOT(&layer->items);
    struct item *found = NULL;
    while (item != NULL) {
        int const order = span_compare(key, item_key(item));
        if (order == 0) {
            return item;
        }
        if (order < 0) {
            found = item;
            item = RB_LEFT(item, entry);
        } else {
            item = RB_RIGHT(item, entry);
        }
    }
    return found;
}

struct item *layer_next(struct item *item) {
    return RB_NEXT(item_map, NULL, item);
}

struct item *layer_insert(struct layer *layer, struct span key, struct item_value *value) {
    struct item *const item = malloc(sizeof *item + key.size);
    if (item == NULL) {
        return NULL;
    }
    item->value = value;
    item->key_size = (uint32_t)key.size;
    memcpy(item->key, key.data, key.size);
    CHECK(RB_INSERT(item_map, &layer->items, item) == NULL);
    return item;
}

void layer_remove(struct layer *layer, struct item *item) {
    CHECK(RB_REMOVE(item_map, &layer->items, item) == item);
    item_free(item);
}

/* The item has already left its own layer. */
static void merge_item(struct layer *to, struct item *item) {
    struct item *const present = layer_find(to, item_key(item));
    if (present == NULL && item->value != NULL) {
        CHECK(RB_INSERT(item_map, &to->items, item) == NULL);
        return;
    }
    if (present != NULL && item->value != NULL) {
        free(present->value);
        present->value = item->value;
        item->value = NULL;
    } else if (present != NULL) {
        layer_remove(to, present);
    }
    item_free(item);
}

void layer_merge_down(struct layer *to, struct layer *from) {
    struct item *item = RB_MIN(item_map, &from->items);
    while (item != NULL) {
        struct item *const next = layer_next(item);
        CHECK(RB_REMOVE(item_map, &from->items, item) == item);
        merge_item(to, item);
        item = next;
    }
}
