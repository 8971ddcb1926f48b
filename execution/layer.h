/*
 * layer: an ordered map from keys to values or deletions, one storey of the state (engine.h).
 *
 * A red-black tree whose items are allocated once with their key; a value is its own allocation,
 * so that the undo log can take over an old value without a copy. Beside the tree lies an index by
 * hash, since most searches are for one key. Finding and walking change nothing, not even a cache:
 * a layer that nobody writes may be read by any thread.
 */
#ifndef ONUS_EXECUTION_LAYER_H
#define ONUS_EXECUTION_LAYER_H

#include <bsd/sys/tree.h>

#include "base/bytes.h"

/* A value's bytes; never changed once an item has it. */
struct item_value {
    uint32_t size;
    uint8_t bytes[];
};

struct item {
    RB_ENTRY(item) entry;
    struct item_value *value; /* NULL: the key is deleted */
    struct item *chained;     /* the next one in the same cell of the index */
    uint32_t hash;            /* of the key */
    uint32_t key_size;
    uint8_t key[];
};

RB_HEAD(item_map, item);

struct layer {
    struct item_map items;
    struct item **cells; /* the index: chains of items; NULL: there is none */
    size_t cell_count;   /* a power of two, or 0 */
    size_t item_count;
    struct layer *below;
    struct layer *above;
    bool frozen;
    uint64_t cut_seq;  /* when frozen: the batch after which it was cut */
    uint64_t cut_mark; /* when frozen: just after the cut's record in the undo log */
};

static inline struct span item_key(const struct item *item) {
    return span_of(item->key, item->key_size);
}

/* The empty span when deleted. */
static inline struct span item_value_span(const struct item *item) {
    return item->value == NULL ? span_of(NULL, 0) : span_of(item->value->bytes, item->value->size);
}

/* NULL: out of memory. The caller frees it, or gives it to an item. */
MUST_USE struct item_value *item_value_new(struct span bytes);

void layer_init(struct layer *layer);
/* Free all items; the layer itself belongs to its owner. */
void layer_clear(struct layer *layer);
bool layer_empty(const struct layer *layer);

/* NULL: the layer says nothing about this key. */
struct item *layer_find(const struct layer *layer, struct span key);
/* The first item whose key is not less than `key`, or NULL. */
struct item *layer_seek(const struct layer *layer, struct span key);
/* The next item in key order, or NULL. */
struct item *layer_next(struct item *item);

/* Add an item for a key the layer does not have. Takes over value. NULL: out of memory. */
MUST_USE struct item *layer_insert(struct layer *layer, struct span key, struct item_value *value);
/* Take an item out and free it with its value. */
void layer_remove(struct layer *layer, struct item *item);
/* Move every item of `from` down into `to`, which is below everything: deletions end there. */
void layer_merge_down(struct layer *to, struct layer *from);

#endif
