/*
 * anchor: see anchor.h. A handful of places: everything is a walk over all of them.
 */
#include "ledger/anchor.h"

static void remove_at(struct anchors *anchors, uint32_t at) {
    for (uint32_t i = at; i + 1 < anchors->count; i++) {
        anchors->items[i] = anchors->items[i + 1];
    }
    anchors->count--;
}

/* The one in the middle whose neighbours are closest to each other. */
static uint32_t most_crowded(const struct anchors *anchors) {
    uint32_t found = 1;
    uint64_t closest = UINT64_MAX;
    for (uint32_t i = 1; i + 1 < anchors->count; i++) {
        uint64_t const gap = anchors->items[i + 1].entries - anchors->items[i - 1].entries;
        if (gap < closest) {
            closest = gap;
            found = i;
        }
    }
    return found;
}

void anchors_add(struct anchors *anchors, const struct anchor *anchor, uint64_t needed_entry) {
    anchors_cut(anchors, anchor->entries - 1);
    while (anchors->count > 1 && anchors->items[1].entries <= needed_entry) {
        remove_at(anchors, 0);
    }
    if (anchors->count == ANCHORS_MAX) {
        remove_at(anchors, most_crowded(anchors));
    }
    anchors->items[anchors->count++] = *anchor;
}

void anchors_cut(struct anchors *anchors, uint64_t entries) {
    while (anchors->count > 0 && anchors->items[anchors->count - 1].entries > entries) {
        anchors->count--;
    }
}

const struct anchor *anchors_find(const struct anchors *anchors, uint64_t entry) {
    const struct anchor *found = NULL;
    for (uint32_t i = 0; i < anchors->count; i++) {
        if (anchors->items[i].entries <= entry) {
            found = &anchors->items[i];
        }
    }
    return found;
}

bool anchors_load(struct anchors *anchors, const struct checker_snapshot *snapshot,
                  uint64_t entries) {
    anchors->count = 0;
    for (uint32_t i = 0; i < snapshot->anchor_count; i++) {
        const struct ledger_anchor *const in = &snapshot->anchors[i];
        struct anchor *const out = &anchors->items[i];
        out->entries = in->entries;
        if (in->entries > entries || !frontier_load(&out->frontier, in->leaves, in->peaks)) {
            return false;
        }
        anchors->count++;
    }
    return true;
}

void anchors_save(const struct anchors *anchors, struct checker_snapshot *snapshot) {
    snapshot->anchor_count = anchors->count;
    for (uint32_t i = 0; i < anchors->count; i++) {
        const struct anchor *const in = &anchors->items[i];
        uint64_t const leaves = in->frontier.leaf_count;
        snapshot->anchors[i] = (struct ledger_anchor){
            .entries = in->entries,
            .leaves = leaves,
            .peaks = span_of(in->frontier.peaks, frontier_peak_count(leaves) * DIGEST_SIZE),
        };
    }
}
