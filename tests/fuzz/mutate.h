/*
 * mutate: changes of a valid input such as a forger would try: bits and bytes, cuts and splices,
 * and, following the wire format of protobuf, fields that are dropped, repeated, swapped, moved
 * or filled with something else, at any depth and with all lengths put right again.
 */
#ifndef ONUS_TESTS_FUZZ_MUTATE_H
#define ONUS_TESTS_FUZZ_MUTATE_H

#include "base/bytes.h"
#include "base/prng.h"

enum mutation {
    MUTATION_BIT,
    MUTATION_BYTE,
    MUTATION_CUT,    /* the end is missing */
    MUTATION_REMOVE, /* a run in the middle is missing */
    MUTATION_REPEAT, /* a run comes twice */
    MUTATION_SPLICE, /* the end is another input's */
    MUTATION_FIELD,  /* one or more fields, below the magic line */
    MUTATION_COUNT
};

struct mutator {
    struct prng prng;
    size_t magic_size;  /* bytes before the message, which field mutations leave alone */
    struct span others; /* another valid input of the kind, for splices and foreign fields */
};

/* Change `in` into out, which is cleared first, and make sure that they differ. */
enum mutation mutate(struct mutator *mutator, struct buffer *out, struct span in);

#endif
