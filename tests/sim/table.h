/*
 * table: what the judge remembers: a hash table of small values, by a kind and a few numbers or by
 * a digest. Nothing is ever taken out. Iteration order never matters, since nobody iterates.
 */
#ifndef ONUS_TESTS_SIM_TABLE_H
#define ONUS_TESTS_SIM_TABLE_H

#include "base/bytes.h"

/* All of it is compared; make it from zeros. */
struct table_key {
    uint64_t a;
    uint64_t b;
    uint64_t c;
    uint64_t d;
};

struct table_item {
    bool used;
    struct table_key key;
    struct digest value;
};

struct table {
    struct table_item *items;
    uint64_t count;
    uint64_t capacity; /* a power of two */
};

void table_free(struct table *table);
/* The value of a key, made of zeros when it is new. Valid until the next call. */
struct digest *table_at(struct table *table, const struct table_key *key, bool *is_new);
/* The value of a key, or NULL. */
const struct digest *table_find(const struct table *table, const struct table_key *key);
struct table_key table_key_of(const struct digest *digest);

/* A number as a value. */
static inline void table_number_set(struct digest *value, uint64_t number) {
    store_u64_be(value->bytes, number);
}
static inline uint64_t table_number(const struct digest *value) {
    return load_u64_be(value->bytes);
}

#endif
