/*
 * arena: see arena.h. Blocks form a list; the budget counts bytes handed out, rounded up to the
 * alignment. Invariant: `offset <= capacity` in every block.
 */
#include "base/arena.h"

#include <stdlib.h>

#include "base/check.h"

#define ARENA_ALIGNMENT 16u
#define ARENA_BLOCK_SIZE_MIN (2u << 10)

struct arena_block {
    struct arena_block *next;
    size_t capacity;
    size_t offset;
    _Alignas(ARENA_ALIGNMENT) uint8_t bytes[];
};

void arena_init(struct arena *arena, size_t budget) {
    *arena = (struct arena){.budget = budget};
}

static void blocks_free(struct arena_block *block) {
    while (block != NULL) {
        struct arena_block *const next = block->next;
        free(block);
        block = next;
    }
}

void arena_reset(struct arena *arena) {
    if (arena->blocks != NULL) {
        blocks_free(arena->blocks->next);
        arena->blocks->next = NULL;
        arena->blocks->offset = 0;
    }
    arena->used = 0;
    arena->exhausted = false;
}

void arena_free(struct arena *arena) {
    blocks_free(arena->blocks);
    arena->blocks = NULL;
    arena->used = 0;
    arena->exhausted = false;
}

void *arena_alloc(struct arena *arena, size_t size) {
    if (size > arena->budget) {
        arena->exhausted = true;
        return NULL;
    }
    size_t const rounded = (size + ARENA_ALIGNMENT - 1) & ~(size_t)(ARENA_ALIGNMENT - 1);
    if (rounded > arena->budget - arena->used) {
        arena->exhausted = true;
        return NULL;
    }
    struct arena_block *block = arena->blocks;
    if (block == NULL || rounded > block->capacity - block->offset) {
        size_t const doubled = block == NULL ? ARENA_BLOCK_SIZE_MIN : 2 * block->capacity;
        size_t const capacity = rounded > doubled ? rounded : doubled;
        block = malloc(sizeof *block + capacity);
        if (block == NULL) {
            arena->exhausted = true;
            return NULL;
        }
        block->capacity = capacity;
        block->offset = 0;
        block->next = arena->blocks;
        arena->blocks = block;
    }
    void *const place = block->bytes + block->offset;
    block->offset += rounded;
    arena->used += rounded;
    CHECK(block->offset <= block->capacity);
    return place;
}

struct span arena_copy(struct arena *arena, struct span bytes) {
    if (bytes.size == 0) {
        return (struct span){0};
    }
    uint8_t *const place = arena_alloc(arena, bytes.size);
    if (place == NULL) {
        return (struct span){0};
    }
    memcpy(place, bytes.data, bytes.size);
    return span_of(place, bytes.size);
}
