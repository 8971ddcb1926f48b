/*
 * state_part: see state_part.h. The path holds the roots of the largest perfect subtrees that lie
 * between the items, from the left to the right: exactly those that appending needs.
 */
#include "audit-tool/state_part.h"

#include <stdlib.h>

#include "base/check.h"
#include "merkle/tree.h"

bool state_part_init(struct state_part *part, const struct fragment *fragment, uint64_t total) {
    *part = (struct state_part){
        .items = fragment->state,
        .places = fragment->place_count == 0 ? NULL : fragment->places,
        .count = fragment->state_count,
        .total = total,
        .touched = calloc((size_t)fragment->state_count + 1, 1),
    };
    return part->touched != NULL;
}

void state_part_free(struct state_part *part) {
    free(part->touched);
    part->touched = NULL;
}

/* ---- reading ---- */

/* The first item whose key is not less than `key`; count: there is none. */
static uint64_t lower_bound(const struct state_part *part, struct span key) {
    uint64_t low = 0;
    uint64_t high = part->count;
    while (low < high) {
        uint64_t const middle = low + (high - low) / 2;
        if (span_compare(part->items[middle].key, key) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static uint64_t place_of(const struct state_part *part, uint64_t nth) {
    return part->places == NULL ? nth : part->places[nth];
}

/*
 * Is there nothing in the whole state between the item before the nth, or the state's beginning,
 * and the nth, or its end? Then both of them show it.
 */
static bool take_neighbours(struct state_part *part, uint64_t nth) {
    uint64_t const before = nth == 0 ? 0 : place_of(part, nth - 1) + 1;
    uint64_t const after = nth == part->count ? part->total : place_of(part, nth);
    if (before != after) {
        part->lacking = true;
        return false;
    }
    if (nth != 0) {
        part->touched[nth - 1] = 1;
    }
    if (nth != part->count) {
        part->touched[nth] = 1;
    }
    return true;
}

static int part_seek(void *context, struct span key, struct span *found_key, struct span *value) {
    struct state_part *const part = context;
    uint64_t const nth = lower_bound(part, key);
    if (nth < part->count && span_equal(part->items[nth].key, key)) {
        part->touched[nth] = 1;
    } else if (!take_neighbours(part, nth)) {
        return -1;
    }
    if (nth == part->count) {
        return 0;
    }
    *found_key = part->items[nth].key;
    *value = part->items[nth].value;
    return 1;
}

static int part_get(void *context, struct span key, struct span *value) {
    struct span found_key;
    struct span found_value;
    int const found = part_seek(context, key, &found_key, &found_value);
    if (found != 1 || !span_equal(found_key, key)) {
        return found < 0 ? -1 : 0;
    }
    *value = found_value;
    return 1;
}

struct state_base state_part_base(struct state_part *part) {
    return (struct state_base){.context = part, .get = part_get, .seek = part_seek};
}

bool state_part_is_minimal(const struct state_part *part) {
    for (uint64_t i = 0; i < part->count; i++) {
        if (part->touched[i] == 0) {
            return false;
        }
    }
    return true;
}

/* ---- binding ---- */

static struct digest leaf_of(const struct state_item *item) {
    return state_item_leaf(item->key, item->value);
}

/* The largest perfect subtree that begins at `place` and ends at `end` or before. */
static unsigned level_between(uint64_t place, uint64_t end) {
    unsigned level = 0;
    while (level + 1 < MERKLE_DEPTH_MAX && (place & (((uint64_t)2 << level) - 1)) == 0 &&
           end - place >= (uint64_t)2 << level) {
        level++;
    }
    return level;
}

bool state_part_root(struct digest *root, const struct fragment *fragment, uint64_t total) {
    struct frontier frontier;
    uint32_t item = 0;
    uint32_t step = 0;
    if (total >= (uint64_t)1 << (MERKLE_DEPTH_MAX - 1)) {
        return false;
    }
    frontier_init(&frontier);
    while (frontier.leaf_count < total) {
        uint64_t place = total;
        if (item < fragment->state_count) {
            place = fragment->place_count == 0 ? item : fragment->places[item];
        }
        if (place == frontier.leaf_count) {
            struct digest const leaf = leaf_of(&fragment->state[item++]);
            frontier_append(&frontier, &leaf);
            continue;
        }
        uint64_t const end = place < total ? place : total;
        if (step == fragment->path_count || end < frontier.leaf_count) {
            return false;
        }
        frontier_append_perfect(&frontier, level_between(frontier.leaf_count, end),
                                &fragment->path[step++]);
    }
    *root = frontier_root(&frontier);
    return item == fragment->state_count && step == fragment->path_count;
}

/* ---- choosing ---- */

void state_choice_init(struct state_choice *choice) {
    buffer_init(&choice->items, PROOF_STATE_ITEMS_MAX * sizeof(struct state_item));
    buffer_init(&choice->places, PROOF_STATE_ITEMS_MAX * sizeof(uint64_t));
    buffer_init(&choice->path, PROOF_STATE_PATH_MAX * sizeof(struct digest));
}

void state_choice_free(struct state_choice *choice) {
    buffer_free(&choice->items);
    buffer_free(&choice->places);
    buffer_free(&choice->path);
}

static bool choose_item(struct state_choice *choice, const struct state_part *whole,
                        uint64_t place) {
    return buffer_append(&choice->items,
                         span_of(&whole->items[place], sizeof whole->items[place])) &&
           buffer_append(&choice->places, span_of(&place, sizeof place));
}

/* What lies between two items that were chosen. */
static bool choose_path(struct state_choice *choice, const struct tree *tree, uint64_t first,
                        uint64_t end) {
    bool going = true;
    while (going && first < end) {
        unsigned const level = level_between(first, end);
        const struct digest *const root = &tree->levels[level][first >> level];
        going = buffer_append(&choice->path, span_of(root, sizeof *root));
        first += (uint64_t)1 << level;
    }
    return going;
}

static bool tree_of(struct tree *tree, const struct state_part *whole) {
    bool going = true;
    for (uint64_t i = 0; going && i < whole->count; i++) {
        struct digest const leaf = leaf_of(&whole->items[i]);
        going = tree_append(tree, &leaf);
    }
    return going;
}

bool state_choose(struct state_choice *choice, struct fragment *fragment,
                  const struct state_part *whole) {
    struct tree tree;
    CHECK(whole->places == NULL && whole->count == whole->total);
    tree_init(&tree);
    bool going = tree_of(&tree, whole);
    uint64_t done = 0;
    for (uint64_t place = 0; going && place < whole->count; place++) {
        if (whole->touched[place] != 0) {
            going = choose_path(choice, &tree, done, place) && choose_item(choice, whole, place);
            done = place + 1;
        }
    }
    going = going && choose_path(choice, &tree, done, whole->count);
    tree_free(&tree);
    fragment->state = (const struct state_item *)(const void *)choice->items.data;
    fragment->state_count = (uint32_t)(choice->items.size / sizeof(struct state_item));
    fragment->places = (const uint64_t *)(const void *)choice->places.data;
    fragment->place_count = fragment->state_count;
    fragment->path = (const struct digest *)(const void *)choice->path.data;
    fragment->path_count = (uint32_t)(choice->path.size / sizeof(struct digest));
    return going;
}
