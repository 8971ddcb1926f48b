/*
 * table: see table.h. Open addressing; at most half full, so that a search soon ends.
 */
#include "tests/sim/table.h"

#include <stdlib.h>

#include "base/check.h"

#define FIRST_CAPACITY 256u

void table_free(struct table *table) {
    free(table->items);
    *table = (struct table){.count = 0};
}

static bool key_equal(const struct table_key *x, const struct table_key *y) {
    return x->a == y->a && x->b == y->b && x->c == y->c && x->d == y->d;
}

static uint64_t mix(uint64_t value) {
    value = (value ^ value >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ value >> 27) * UINT64_C(0x94d049bb133111eb);
    return value ^ value >> 31;
}

static uint64_t key_hash(const struct table_key *key) {
    return mix(mix(mix(mix(key->a) + key->b) + key->c) + key->d);
}

/* Where the key is, or would be put. */
static struct table_item *seek(struct table_item *items, uint64_t capacity,
                               const struct table_key *key) {
    uint64_t at = key_hash(key) & (capacity - 1);
    while (items[at].used && !key_equal(&items[at].key, key)) {
        at = (at + 1) & (capacity - 1);
    }
    return &items[at];
}

static void grow(struct table *table) {
    uint64_t const capacity = table->capacity == 0 ? FIRST_CAPACITY : 2 * table->capacity;
    struct table_item *const items = calloc(capacity, sizeof *items);
    CHECK(items != NULL);
    for (uint64_t i = 0; i < table->capacity; i++) {
        if (table->items[i].used) {
            *seek(items, capacity, &table->items[i].key) = table->items[i];
        }
    }
    free(table->items);
    table->items = items;
    table->capacity = capacity;
}

struct digest *table_at(struct table *table, const struct table_key *key, bool *is_new) {
    if (2 * table->count >= table->capacity) {
        grow(table);
    }
    struct table_item *const item = seek(table->items, table->capacity, key);
    *is_new = !item->used;
    if (!item->used) {
        item->used = true;
        item->key = *key;
        table->count++;
    }
    return &item->value;
}

const struct digest *table_find(const struct table *table, const struct table_key *key) {
    if (table->capacity == 0) {
        return NULL;
    }
    const struct table_item *const item = seek(table->items, table->capacity, key);
    return item->used ? &item->value : NULL;
}

struct table_key table_key_of(const struct digest *digest) {
    return (struct table_key){.a = load_u64_be(digest->bytes),
                              .b = load_u64_be(digest->bytes + 8),
                              .c = load_u64_be(digest->bytes + 16),
                              .d = load_u64_be(digest->bytes + 24)};
}
