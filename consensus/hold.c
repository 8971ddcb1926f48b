/*
 * hold: the ledger on disk, and how it follows the one in memory (protocol §5, §6).
 *
 * Normally every batch is appended as soon as it stands. When the ledger is cut for a new view, or
 * for a peer's ledger that parts from this one, the disk keeps the old tail: this replica ranks by
 * it, and would serve it to a new primary. The old tail is replaced, in one piece, once that does
 * no harm: the ledger in memory holds the batch that this replica ranks by, so that all it promised
 * is there; or it holds a certificate that ranks at least as high, which the journal keeps before,
 * so that no crash leaves this replica with a lower rank than it had.
 */
#include "base/check.h"
#include "consensus/state.h"

static uint64_t anchor_of(const struct ledger_position *now) {
    return now->view_start > now->config_start ? now->view_start : now->config_start + 1;
}

bool has_anchor(const struct replica *replica) {
    const struct ledger_position *const now = checker_position(replica->checker);
    uint64_t const anchor = anchor_of(now);
    const struct slot *const slot = &replica->slots[anchor % SLOTS_MAX];
    return now->view == 0 || anchor <= now->evidence_upto || anchor <= replica->evidenced_seq ||
           (slot->seq == anchor && slot->body.view == now->view &&
            slot_is_certified(replica, slot));
}

void hold_from(struct replica *replica, const struct ledger_position *position) {
    if (!replica->held || position->entries < replica->held_entries) {
        replica->held = true;
        replica->held_entries = position->entries;
        replica->held_seq = position->seq;
    }
}

void append_slot(struct replica *replica, struct slot *slot) {
    slot->stage = SLOT_EXECUTED;
    rank_restore(replica, slot);
    if (replica->held) {
        slot->position = UINT64_MAX;
    } else {
        effect_append_slot(replica, slot);
    }
}

/* ---- new views at hand ---- */

const struct kept_view *find_view(const struct replica *replica, uint64_t after_seq,
                                  uint64_t view) {
    for (uint32_t i = 0; i < replica->view_count; i++) {
        const struct kept_view *const kept = &replica->views[i];
        if (kept->after_seq == after_seq && kept->view == view) {
            return kept;
        }
    }
    return NULL;
}

static void kept_remove(struct replica *replica, uint32_t nth) {
    struct kept_view const removed = replica->views[nth];
    memmove(&replica->views[nth], &replica->views[nth + 1],
            (replica->view_count - nth - 1) * sizeof removed);
    replica->view_count--;
    replica->views[replica->view_count] = removed; /* its memory is used again */
}

/* Forget new views that were cut off, and old ones that the disk has. */
void tidy_views(struct replica *replica) {
    const struct ledger_position *const now = checker_position(replica->checker);
    for (uint32_t i = replica->view_count; i > 0; i--) {
        const struct kept_view *const kept = &replica->views[i - 1];
        uint64_t const config = replica->configuration->number;
        bool const is_here = kept->config == config;
        bool const is_cut_off = kept->after_seq > now->seq || kept->config > config ||
                                (is_here && kept->view > now->view);
        bool const is_old = kept->on_disk && kept->after_seq < replica->evidenced_seq &&
                            (!is_here || kept->view < now->view);
        if (is_cut_off || is_old) {
            kept_remove(replica, i - 1);
        }
    }
}

bool has_room_for_view(struct replica *replica) {
    size_t size = 0;
    tidy_views(replica);
    for (uint32_t i = 0; i < replica->view_count; i++) {
        size += replica->views[i].set.size;
    }
    bool const has_place = replica->view_count < VIEW_UNITS_MAX || replica->views[0].on_disk;
    return has_place && size + VIEW_CHANGE_SET_SIZE_MAX <= VIEW_UNITS_SIZE_MAX;
}

void append_view(struct replica *replica, const struct view_unit *unit, bool on_disk) {
    tidy_views(replica);
    if (replica->view_count == VIEW_UNITS_MAX) {
        CHECK(replica->views[0].on_disk); /* has_room_for_view */
        kept_remove(replica, 0);
    }
    struct kept_view *const kept = &replica->views[replica->view_count++];
    kept->after_seq = checker_position(replica->checker)->seq;
    kept->config = unit->new_view.config;
    kept->view = unit->new_view.view;
    kept->on_disk = on_disk;
    buffer_clear(&kept->set);
    buffer_clear(&kept->entry);
    kept->set.size_max = VIEW_CHANGE_SET_SIZE_MAX;
    kept->entry.size_max = STATEMENT_SIZE_MAX + 128u;
    if (!buffer_append(&kept->set, unit->set_payload) ||
        !buffer_append(&kept->entry, unit->entry_payload)) {
        replica->failed = true;
    }
}

/* ---- replacing the tail ---- */

static void write_views(struct replica *replica, uint64_t after_seq) {
    for (uint32_t i = 0; i < replica->view_count; i++) {
        struct kept_view *const kept = &replica->views[i];
        if (kept->after_seq == after_seq && !kept->on_disk) {
            effect_append(replica, ENTRY_VIEW_CHANGE_SET,
                          effect_keep(replica, buffer_span(&kept->set)), false);
            effect_append(replica, ENTRY_NEW_VIEW, effect_keep(replica, buffer_span(&kept->entry)),
                          true);
            kept->on_disk = true;
        }
    }
}

void append_views_after(struct replica *replica, uint64_t seq) {
    if (!replica->held) {
        write_views(replica, seq);
    }
}

/* Always as a replacement, even of nothing: all of the new tail comes to be, or none. */
static void write_tail(struct replica *replica) {
    uint32_t const truncate_at = replica->effects->count;
    struct effect *const truncate = effect_add(replica, EFFECT_TRUNCATE);
    if (truncate == NULL) {
        return;
    }
    truncate->truncate.position = ++replica->disk_position;
    truncate->truncate.entries = replica->held_entries;
    replica->disk_entries = replica->held_entries;
    replica->disk_seq = replica->held_seq;
    replica->disk_seq_position = replica->disk_position;
    write_views(replica, replica->held_seq);
    for (uint64_t seq = replica->held_seq + 1; seq <= replica->executed_seq; seq++) {
        struct slot *const slot = slot_find(replica, seq);
        CHECK(slot != NULL && slot->stage == SLOT_EXECUTED);
        effect_append_slot(replica, slot);
        write_views(replica, seq);
    }
    replica->effects->items[truncate_at].truncate.upto = replica->disk_position;
    CHECK(replica->failed || replica->disk_entries == checker_position(replica->checker)->entries);
}

/* What the tail that is replaced held is no longer counted as durable. */
static void forget_durable(struct replica *replica) {
    if (replica->durable_seq > replica->held_seq) {
        replica->durable_seq = replica->held_seq;
    }
}

static struct rank rank_of(const struct slot *slot) {
    return slot == NULL ? (struct rank){0}
                        : (struct rank){.view = slot->body.view, .seq = slot->seq};
}

/* Its evidence may have been in what is cut off: the journal keeps what the ledger does not. */
static void keep_certificate(struct replica *replica, const struct slot *slot) {
    struct journal_record const record = journal_certificate(replica, slot, JOURNAL_PREPARED);
    (void)effect_journal(replica, &record);
}

/*
 * Behind a boundary the tail may hold the copy of the last batch before it that this replica ranks
 * by there, should it have to speak there again (protocol §9): does the one in memory stand for it?
 * Out: certified: when that is since its certificate ranks as high: the journal must have it first.
 */
static bool end_outranks(struct replica *replica, const struct slot **certified) {
    const struct tenure *const tenure = tenure_before(replica);
    const struct slot *const end = slot_find(replica, config_start(replica));
    if (tenure == NULL || end == NULL || tenure->best_rank.seq != end->seq ||
        digest_equal(&tenure->best_digest, &end->digest)) {
        return true; /* all before the last batch is evidenced in every copy of it */
    }
    if (slot_is_certified(replica, end) && rank_compare(rank_of(end), tenure->best_rank) >= 0) {
        *certified = end;
        return true;
    }
    /* Its first batch shows that it ended with this copy: it speaks there no more. */
    return checker_position(replica->checker)->evidence_upto >= end->seq;
}

bool try_release(struct replica *replica) {
    const struct slot *end = NULL;
    if (!replica->held || replica->range_token != 0 || ranks_beyond(replica) ||
        !end_outranks(replica, &end)) {
        return false;
    }
    const struct slot *const slot = rank_highest(replica);
    if (rank_compare(rank_of(slot), replica->best_rank) < 0) {
        return false;
    }
    if (end != NULL) {
        keep_certificate(replica, end);
    }
    if (slot != NULL && slot->seq > checker_position(replica->checker)->evidence_upto) {
        keep_certificate(replica, slot);
    }
    write_tail(replica);
    forget_durable(replica);
    replica->held = false;
    learn_from_evidence(replica);
    return true;
}

void learn_durable(struct replica *replica) {
    /* While a new view is followed in memory, what counts is how far the disk reaches. */
    if (replica->held) {
        if (replica->disk_seq_position <= replica->durable_position &&
            replica->disk_seq > replica->durable_seq) {
            replica->durable_seq = replica->disk_seq;
        }
        return;
    }
    while (replica->durable_seq < replica->executed_seq) {
        const struct slot *const slot = slot_find(replica, replica->durable_seq + 1);
        bool const is_durable = slot == NULL || (slot->stage == SLOT_EXECUTED &&
                                                 slot->position <= replica->durable_position);
        if (!is_durable) {
            return;
        }
        replica->durable_seq++;
    }
}
