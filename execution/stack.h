/*
 * stack: the inside of an engine, for this room only: layers over a ground over a base.
 *
 * The ground takes the base's part when there is none: preloaded items and absorbed layers lie
 * there. With a base it is empty. Below the top all layers are frozen; the layers up to a settled
 * cut, and their links among each other, do not change until they are absorbed, and nothing that
 * reads up to such a cut touches what lies above it (engine.h: another thread may).
 */
#ifndef ONUS_EXECUTION_STACK_H
#define ONUS_EXECUTION_STACK_H

#include "base/limits.h"
#include "execution/engine.h"
#include "execution/layer.h"
#include "execution/undo.h"

struct engine {
    struct state_base base;
    bool has_base;
    bool failed;
    struct layer ground;
    struct layer *bottom;
    struct layer *top;
    unsigned layer_count;
    struct undo_log undo;
    struct govern *govern; /* NULL: governance is off */
};

/* As engine_get, without noting a failure. */
int stack_get(const struct engine *engine, struct span key, struct span *value);
/* Write to the top layer; value NULL deletes. When memory is short the engine has failed. */
void stack_write(struct engine *engine, struct span key, const struct span *value);
/* The frozen layer of a cut, or NULL. Looks at no layer above it. */
const struct layer *stack_find_cut(const struct engine *engine, uint64_t seq);

/* Which storeys a walk includes below the layers. */
enum merge_depth { MERGE_LAYERS_ONLY, MERGE_WHOLE_STATE };

/* A walk in key order through several storeys at once. Plain memory; nothing to free. */
struct merge {
    const struct state_base *base; /* NULL: not part of the walk */
    unsigned count;
    struct item *items[LAYERS_MAX + 1]; /* next item of each storey, newest first */
    bool base_found;
    struct span base_key;
    struct span base_value;
};

/*
 * Begin at the first key not less than `start`, with the layers up to `upto` (inclusive).
 * Returns: false when the base failed.
 */
MUST_USE bool merge_start(struct merge *merge, const struct engine *engine,
                          const struct layer *upto, enum merge_depth depth, struct span start);
/*
 * The next key and its newest write.
 * Returns: 1 with a key, 0 at the end, -1 when the base failed.
 */
MUST_USE int merge_next(struct merge *merge, struct span *key, struct span *value, bool *deleted);

#endif
