/*
 * layer: see layer.h. Searches take a span instead of an item, so they are written here rather
 * than generated; inserting, removing and stepping are libbsd's.
 *
 * Invariant: if there is an index, every item is in the chain of its cell. Without memory for one
 * the tree does. Clients choose keys, and may choose such as share a cell: a search looks at a few
 * items of a chain, and then asks the tree.
 */
#include "execution/layer.h"

#include <stdlib.h>

#include "base/check.h"

#define CELLS_MIN ((size_t)64)
#define CHAIN_LOOKS 8u

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

/* ---- the index ---- */

/* Any function does: it decides nothing but speed. */
static uint32_t key_hash(struct span key) {
    uint64_t const odd = 0x9e3779b97f4a7c15u;
    uint64_t hash = key.size;
    size_t at = 0;
    for (; key.size - at >= sizeof hash; at += sizeof hash) {
        uint64_t word;
        memcpy(&word, key.data + at, sizeof word);
        hash = (hash ^ word) * odd;
        hash ^= hash >> 32;
    }
    for (; at < key.size; at++) {
        hash = (hash ^ key.data[at]) * odd;
    }
    return (uint32_t)(hash >> 32);
}

static struct item **cell_of(const struct layer *layer, uint32_t hash) {
    return &layer->cells[hash & (layer->cell_count - 1)];
}

static void chain_in(struct layer *layer, struct item *item) {
    struct item **const cell = cell_of(layer, item->hash);
    item->chained = *cell;
    *cell = item;
}

/* Twice as many cells. Without memory for them chains grow longer instead. */
static void index_grow(struct layer *layer) {
    size_t const count = layer->cell_count == 0 ? CELLS_MIN : 2 * layer->cell_count;
    struct item **const cells = calloc(count, sizeof *cells);
    if (cells == NULL) {
        return;
    }
    free(layer->cells);
    layer->cells = cells;
    layer->cell_count = count;
    struct item *item;
    RB_FOREACH(item, item_map, &layer->items) {
        chain_in(layer, item);
    }
}

/* An item that is in the tree already. */
static void index_add(struct layer *layer, struct item *item) {
    layer->item_count++;
    if (layer->item_count > layer->cell_count) {
        size_t const before = layer->cell_count;
        index_grow(layer);
        if (layer->cell_count != before) {
            return; /* it has been chained with all others */
        }
    }
    if (layer->cell_count != 0) {
        chain_in(layer, item);
    }
}

static void index_remove(struct layer *layer, const struct item *item) {
    layer->item_count--;
    if (layer->cell_count == 0) {
        return;
    }
    struct item **link = cell_of(layer, item->hash);
    while (*link != item) {
        CHECK(*link != NULL);
        link = &(*link)->chained;
    }
    *link = item->chained;
}

static void index_clear(struct layer *layer) {
    free(layer->cells);
    layer->cells = NULL;
    layer->cell_count = 0;
    layer->item_count = 0;
}

/* ---- items ---- */

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
    index_clear(layer);
}

bool layer_empty(const struct layer *layer) {
    return RB_EMPTY(&layer->items);
}

static struct item *tree_find(const struct layer *layer, struct span key) {
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

static struct item *find_hashed(const struct layer *layer, struct span key, uint32_t hash) {
    if (layer->cell_count == 0) {
        return tree_find(layer, key);
    }
    struct item *item = *cell_of(layer, hash);
    for (unsigned look = 0; item != NULL && look < CHAIN_LOOKS; look++) {
        if (item->hash == hash && span_equal(item_key(item), key)) {
            return item;
        }
        item = item->chained;
    }
    return item == NULL ? NULL : tree_find(layer, key);
}

struct item *layer_find(const struct layer *layer, struct span key) {
    return find_hashed(layer, key, key_hash(key));
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
    item->hash = key_hash(key);
    item->key_size = (uint32_t)key.size;
    memcpy(item->key, key.data, key.size);
    CHECK(RB_INSERT(item_map, &layer->items, item) == NULL);
    index_add(layer, item);
    return item;
}

void layer_remove(struct layer *layer, struct item *item) {
    CHECK(RB_REMOVE(item_map, &layer->items, item) == item);
    index_remove(layer, item);
    item_free(item);
}

/* The item has already left its own layer. */
static void merge_item(struct layer *to, struct item *item) {
    struct item *const present = find_hashed(to, item_key(item), item->hash);
    if (present == NULL && item->value != NULL) {
        CHECK(RB_INSERT(item_map, &to->items, item) == NULL);
        index_add(to, item);
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
    index_clear(from);
}
