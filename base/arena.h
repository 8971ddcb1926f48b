/*
 * arena: a bump allocator with a budget. Decoders allocate from one, so that hostile input cannot
 * make them take more than the budget; everything is given back at once by a reset.
 */
#ifndef ONUS_BASE_ARENA_H
#define ONUS_BASE_ARENA_H

#include "base/bytes.h"

struct arena_block;

struct arena {
    struct arena_block *blocks; /* newest first */
    size_t used;                /* bytes handed out since the last reset */
    size_t budget;
    bool exhausted; /* something was refused since the last reset */
};

/* An arena that hands out at most `budget` bytes between resets. Allocates nothing yet. */
void arena_init(struct arena *arena, size_t budget);
/* Everything handed out becomes invalid; the newest block is kept for reuse. */
void arena_reset(struct arena *arena);
void arena_free(struct arena *arena);
/* 16-byte aligned, uninitialised; NULL when the budget or memory is exhausted. */
MUST_USE void *arena_alloc(struct arena *arena, size_t size);
/* A copy that lives until the next reset; .data is NULL when exhausted (or size is 0). */
struct span arena_copy(struct arena *arena, struct span bytes);

#endif
