/*
 * state_part: some items of a state, bound to its root, from which calls can be executed
 * (docs/formats.md §11). A wrong outcome is shown with those items that execution asks for, and
 * not with the whole state.
 *
 * An item is there because a path leads from it to the root. That a key is absent, or which key
 * comes next, is shown by two items that stand side by side in the state, or by its first or last
 * one. Whatever the items at hand do not answer is a failure and never an absence: who makes a
 * proof cannot leave out what speaks against it.
 */
#ifndef ONUS_AUDIT_TOOL_STATE_PART_H
#define ONUS_AUDIT_TOOL_STATE_PART_H

#include "execution/engine.h"
#include "ledger/codec.h"

struct state_part {
    const struct state_item *items; /* borrowed, ascending keys */
    const uint64_t *places;         /* borrowed; NULL: the items are the whole state */
    uint64_t count;
    uint64_t total;   /* items of the whole state */
    uint8_t *touched; /* for each item: has it been asked for? */
    bool lacking;     /* something was asked for that the items do not answer */
};

/*
 * The items of a fragment, which stays borrowed; total: how many the state has.
 * Returns: false when memory is short; free it in any case.
 */
MUST_USE bool state_part_init(struct state_part *part, const struct fragment *fragment,
                              uint64_t total);
void state_part_free(struct state_part *part);

/* What an engine reads through; borrows the part. */
struct state_base state_part_base(struct state_part *part);

/* Was every item asked for, at least as somebody's neighbour? */
bool state_part_is_minimal(const struct state_part *part);

/*
 * The root that the items and the path of a fragment imply for a state of `total` items.
 * Returns: false when they do not fit each other. Everything may be hostile.
 */
MUST_USE bool state_part_root(struct digest *root, const struct fragment *fragment, uint64_t total);

/* A part of a state being chosen. */
struct state_choice {
    struct buffer items;  /* of struct state_item */
    struct buffer places; /* of uint64_t */
    struct buffer path;   /* of struct digest */
};

void state_choice_init(struct state_choice *choice);
void state_choice_free(struct state_choice *choice);
/*
 * Put those items of a whole state that were asked for into a fragment, with their places and
 * path, which live as long as the choice. Returns: false when they are too many, or memory is
 * short.
 */
MUST_USE bool state_choose(struct state_choice *choice, struct fragment *fragment,
                           const struct state_part *whole);

#endif
