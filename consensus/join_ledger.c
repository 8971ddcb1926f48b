/*
 * join_ledger: the entries of the ledger from F to the checkpoint (protocol §7).
 *
 * Nothing is executed here. The leaves of M at F that the offer states, with those of the entries
 * behind it, must lead to the root that Q replicas signed, and the requests of each batch to the
 * root of G in its pre-prepare: so every byte is one that they had. The window that the entries
 * make must be the signed one too, since a restart makes it from them.
 *
 * Where an attempt fails is not known before its end, and M's peaks at F are its offerer's word: so
 * all entries of an attempt come from the peer that made the offer.
 */

#include <stdlib.h>

#include "base/check.h"
#include "consensus/join_internal.h"
#include "ledger/derive.h"
#include "receipts/from_ledger.h"

#define OFFER_BUDGET (512u << 10)

void join_entries_free(struct join_entries *entries) {
    checker_free(entries->checker);
    entries->checker = NULL;
    free(entries->offer);
    entries->offer = NULL;
    arena_free(&entries->arena);
}

/* Make ready for the entries behind this offer. Returns: false when it does not hold. */
static bool open_offer(struct join *join, struct span encoded) {
    struct join_entries *const entries = &join->entries;
    struct checkpoint_offer_message message;
    struct checker_snapshot snapshot;
    join_entries_free(entries);
    arena_init(&entries->arena, OFFER_BUDGET);
    const struct configuration *const here = join_configuration(join, join->header.config);
    if (here == NULL) {
        return false;
    }
    entries->configuration = *here;
    entries->offer = calloc(1, sizeof *entries->offer);
    entries->checker = checker_new(&entries->configuration);
    if (entries->offer == NULL || entries->checker == NULL) {
        join->failed = true;
        return false;
    }
    if (checkpoint_offer_message_decode(&message, &entries->arena, encoded) != CODEC_OK ||
        !join_offer_holds(join, entries->offer, &entries->arena, &message) ||
        checker_snapshot_decode(&snapshot, &entries->arena, entries->offer->snapshot) != CODEC_OK ||
        !checker_load(entries->checker, &snapshot, &entries->arena, true)) {
        return false;
    }
    entries->window_entry = snapshot.window_entry;
    entries->past_entry = snapshot.past_entry;
    entries->past_begins = snapshot.past_entry == 0 || snapshot.past_entry == join->header.entries;
    entries->frontier = entries->offer->frontier;
    entries->next_entry = entries->offer->first_entry;
    return true;
}

/* ---- the end --------------------------------------------------------------------------------- */

static bool all_holds(const struct join *join) {
    const struct join_entries *const entries = &join->entries;
    struct digest const root = frontier_root(&entries->frontier);
    return entries->past_begins && entries->frontier.leaf_count == join->header.ledger_leaves &&
           digest_equal(&root, &join->header.ledger_root) && checker_window_holds(entries->checker);
}

bool join_encode_snapshot(const struct join *join, struct buffer *out) {
    const struct join_entries *const entries = &join->entries;
    struct checkpoint_cut cut = {.header = join->header, .frontier = entries->frontier};
    cut.window_entry = entries->window_entry;
    return checkpoint_cut_snapshot(out, &cut, checker_window(entries->checker));
}

const struct frontier *join_frontier(const struct join *join) {
    return &join->entries.frontier;
}

static void complete(struct join *join) {
    struct join_effect *const effect = join_effect_add(join, JOIN_EFFECT_COMPLETE);
    effect->complete.seq = join->seq;
    effect->complete.first_entry = join->entries.offer->first_entry;
    effect->complete.end_entry = join->header.entries;
    effect->complete.digest = join->digest;
    effect->complete.config = join->header.config;
    effect->complete.signed_in = join->signed_in;
    effect->complete.snapshot = join->entries.offer->snapshot;
    effect->complete.offer = buffer_span(&join->peers[join->source].offer);
    join->phase = JOIN_FINISHED;
}

/* ---- asking ---------------------------------------------------------------------------------- */

static void ask(struct join *join) {
    join_fetch_range(join, join->source, join->entries.next_entry);
    join_begin_waiting(join);
}

void join_ledger_begin(struct join *join) {
    join->phase = JOIN_LEDGER;
    if (!open_offer(join, buffer_span(&join->peers[join->source].offer))) {
        join_bar_source(join, JOIN_NOTE_ENTRIES_REFUSED);
        return;
    }
    struct join_effect *const effect = join_effect_add(join, JOIN_EFFECT_LEDGER_BEGIN);
    effect->ledger_first_entry = join->entries.next_entry;
    if (join->entries.next_entry < join->header.entries) {
        ask(join);
    } else if (all_holds(join)) {
        complete(join);
    } else {
        join_bar_source(join, JOIN_NOTE_ENTRIES_REFUSED);
    }
}

void join_ledger_stored(struct join *join) {
    join->is_storing = false;
    if (join->entries.next_entry < join->header.entries) {
        ask(join);
    } else {
        complete(join);
    }
}

/* ---- taking ---------------------------------------------------------------------------------- */

static bool is_here(const struct frontier *frontier, uint64_t leaves, const struct digest *root) {
    struct digest const own = frontier_root(frontier);
    return leaves == frontier->leaf_count && digest_equal(root, &own);
}

static void append_leaf(struct join *join, enum entry_kind kind, struct span payload) {
    struct digest const leaf = ledger_leaf(kind, payload);
    frontier_append(&join->entries.frontier, &leaf);
}

/* The window's part of one batch, as a restart reads it back. */
static bool load_window(struct join *join) {
    const struct batch *const batch = &join->batch;
    uint64_t const entry = batch->first_entry + (batch->seal.evidence == NULL ? 0 : 1);
    uint64_t const first = join->entries.window_entry;
    if (first == 0 || entry < first) {
        return true;
    }
    bool const loaded = checker_load_window(join->entries.checker, &join->scratch, batch);
    join->failed |= checker_failed(join->entries.checker);
    return loaded;
}

static bool take_batch(struct join *join) {
    const struct batch *const batch = &join->batch;
    const struct pre_prepare *const body = &batch->pre_prepare;
    if ((batch->seal.evidence == NULL) != (body->evidence_count == 0)) {
        return false; /* F would lie behind its evidence */
    }
    if (batch->seal.evidence != NULL) {
        append_leaf(join, ENTRY_EVIDENCE, batch->seal.evidence_payload);
    }
    if (!is_here(&join->entries.frontier, body->ledger_leaves, &body->ledger_root)) {
        return false;
    }
    append_leaf(join, ENTRY_PRE_PREPARE, batch->seal.entry_payload);
    if (!batch_tree_from_ledger(&join->tree, &join->scratch, &join->configuration->service,
                                batch)) {
        return false;
    }
    struct digest const root = tree_root(&join->tree);
    return digest_equal(&root, &body->batch_root) && load_window(join);
}

static bool take_view(struct join *join) {
    const struct view_unit *const unit = &join->batch.view;
    append_leaf(join, ENTRY_VIEW_CHANGE_SET, unit->set_payload);
    if (!is_here(&join->entries.frontier, unit->new_view.ledger_leaves,
                 &unit->new_view.ledger_root)) {
        return false;
    }
    append_leaf(join, ENTRY_NEW_VIEW, unit->entry_payload);
    return true;
}

/* Returns: false when the entries up to `end` are not whole units of the signed ledger. */
static bool take_units(struct join *join, const struct range_message *message, uint64_t end) {
    struct join_entries *const entries = &join->entries;
    enum rule rule = RULE_NONE;
    batch_clear(&join->batch);
    for (uint64_t index = message->first_entry; index < end; index++) {
        const struct entry *const entry = &message->entries[index - message->first_entry];
        if (batch_is_empty(&join->batch) && index == entries->past_entry) {
            entries->past_begins = true;
        }
        switch (batch_add(&join->batch, index, entry, &rule)) {
        case BATCH_MORE:
            continue;
        case BATCH_WHOLE:
            if (!take_batch(join)) {
                return false;
            }
            break;
        case BATCH_VIEW:
            if (!take_view(join)) {
                return false;
            }
            break;
        case BATCH_BROKEN:
            return false;
        }
        batch_clear(&join->batch);
    }
    entries->next_entry = end;
    return batch_is_empty(&join->batch) && (end < join->header.entries || all_holds(join));
}

void join_on_entries(struct join *join, const struct range_message *message) {
    if (message->count == 0) {
        join_lose_turn(join);
        return;
    }
    uint64_t const left = join->header.entries - message->first_entry;
    uint32_t const count = left < message->count ? (uint32_t)left : message->count;
    if (!take_units(join, message, message->first_entry + count)) {
        join_bar_source(join, JOIN_NOTE_ENTRIES_REFUSED);
        return;
    }
    struct join_effect *const effect = join_effect_add(join, JOIN_EFFECT_ENTRIES);
    effect->entries.first_entry = message->first_entry;
    effect->entries.count = count;
    effect->entries.entries = message->entries;
    join_progress_made(join);
    join->is_storing = true;
}
