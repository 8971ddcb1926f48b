/*
 * signing: one statement for one place, for ever (protocol §5, "Durable before a nonce").
 *
 * Statements may leave before the ledger is durable, so a process that ended without order does
 * not know all that it signed. What it cannot know it makes up for by silence: nothing is signed
 * again for the batches that it may have signed. Within one process votes go up: in a view each
 * number once, or once more the very same bytes.
 */
#include "base/check.h"
#include "consensus/state.h"

static const struct digest nothing_signed;

/* Is it what was signed for this place in signed_view? */
static bool is_signed(const struct replica *replica, uint64_t seq, const struct digest *digest) {
    return seq <= replica->signed_seq && seq + SLOTS_MAX > replica->signed_seq &&
           digest_equal(&replica->signed_digests[seq % SLOTS_MAX], digest);
}

bool has_signed(const struct replica *replica, const struct slot *slot) {
    return slot->stage == SLOT_EXECUTED && slot->body.view == replica->signed_view &&
           is_signed(replica, slot->seq, &slot->digest);
}

bool may_sign(const struct replica *replica, uint64_t seq, const struct digest *digest) {
    uint64_t const view = checker_position(replica->checker)->view;
    if (!is_voting(replica) || view < replica->signed_view) {
        return false;
    }
    if (view == replica->signed_view && seq <= replica->signed_seq) {
        return digest != NULL && is_signed(replica, seq, digest);
    }
    bool const is_barred = view <= replica->barred_view && seq <= replica->barred_seq;
    return !is_barred && seq <= replica->durable_seq + replica->configuration->parameters.pipeline;
}

static void extend_range(struct replica *replica, uint64_t view, uint64_t seq) {
    uint32_t const count = replica->signed_range_count;
    struct signed_range *const last =
        &replica->signed_ranges[(count + SIGNED_RANGES_MAX - 1) % SIGNED_RANGES_MAX];
    if (count != 0 && last->view == view) {
        last->last = seq > last->last ? seq : last->last;
        return;
    }
    replica->signed_ranges[count % SIGNED_RANGES_MAX] =
        (struct signed_range){.view = view, .first = seq, .last = seq};
    replica->signed_range_count++;
}

void note_signed(struct replica *replica, uint64_t view, uint64_t seq,
                 const struct digest *digest) {
    CHECK(view >= replica->signed_view);
    if (view != replica->signed_view) {
        memset(replica->signed_digests, 0, sizeof replica->signed_digests);
        replica->signed_view = view;
        replica->signed_seq = 0;
    }
    if (seq > replica->signed_seq) {
        uint64_t const from =
            seq - replica->signed_seq > SLOTS_MAX ? seq - SLOTS_MAX : replica->signed_seq;
        for (uint64_t passed = from + 1; passed < seq; passed++) {
            replica->signed_digests[passed % SLOTS_MAX] = nothing_signed;
        }
        replica->signed_seq = seq;
        replica->signed_digests[seq % SLOTS_MAX] = *digest;
    }
    CHECK(is_signed(replica, seq, digest));
    extend_range(replica, view, seq);
}

/* ---- what this key has signed, by the word of others ---- */

/* May this key have signed for this place, as far as this process can know? */
bool may_have_signed(const struct replica *replica, uint64_t view, uint64_t seq) {
    uint32_t const count = replica->signed_range_count;
    if (view < replica->loaded_view ||
        (view == replica->loaded_view && seq <= replica->loaded_seq)) {
        return true; /* before this process; its journal had left the view, or its ledger knew it */
    }
    for (uint32_t i = 0; i < count && i < SIGNED_RANGES_MAX; i++) {
        const struct signed_range *const range = &replica->signed_ranges[i];
        if (range->view == view) {
            return seq >= range->first && seq <= range->last;
        }
    }
    /* Views so long ago that they are no longer remembered. */
    return count > SIGNED_RANGES_MAX &&
           view < replica->signed_ranges[count % SIGNED_RANGES_MAX].view;
}

bool may_have_sent(const struct replica *replica, uint64_t view, uint64_t seq) {
    bool const is_barred = view <= replica->barred_view && seq <= replica->barred_seq;
    return is_barred || may_have_signed(replica, view, seq);
}

void note_forgotten(struct replica *replica, uint64_t seq) {
    if (replica->guard == GUARD_NONE) {
        replica_engage_guard(replica, GUARD_SIGNED_ELSEWHERE);
        effect_note(replica, NOTE_GUARD, replica->self, seq, RULE_NONE);
    }
}

void check_own_claim(struct replica *replica, const struct view_claim *claim) {
    const struct configuration *const configuration = replica->configuration;
    const struct view_change *const view_change = &claim->view_change;
    if (!is_member(replica)) {
        return;
    }
    bool forgotten =
        view_change->replica == replica->self && view_change->view > replica->asked_view;
    for (uint32_t i = 0; i < view_change->chain_count; i++) {
        const struct pre_prepare *const body = &claim->batches[i];
        bool const is_own =
            configuration_primary(configuration, body->view) == replica->self ||
            (i + 1 == view_change->chain_count && (view_change->signers >> replica->self & 1) != 0);
        forgotten |= is_own && !may_have_sent(replica, body->view, body->seq);
    }
    if (forgotten) {
        note_forgotten(replica, claim->rank.seq);
    }
}

/* ---- the journal ---- */

struct journal_record journal_plain(const struct replica *replica, enum journal_kind kind) {
    const struct ledger_position *const now = checker_position(replica->checker);
    return (struct journal_record){
        .kind = kind,
        .config = replica->configuration->number,
        .view = replica->asked_view,
        .ledger_view = now->view,
        .ledger_seq = now->seq,
        .ledger_entries = now->entries,
    };
}

struct journal_record journal_certificate(struct replica *replica, const struct slot *slot,
                                          enum journal_kind kind) {
    const struct ledger_position *const at = checker_position_at(replica->checker, slot->seq);
    const struct configuration *const configuration = slot_configuration(replica, slot);
    uint32_t const wanted = configuration->quorum - 1;
    struct signature signatures[REPLICAS_MAX];
    struct digest nonce_hashes[REPLICAS_MAX];
    CHECK(at != NULL);
    struct journal_record record = {
        .kind = kind,
        .config = slot->body.config,
        .view = slot->body.view,
        .seq = slot->seq,
        .ledger_view = slot->body.view,
        .ledger_seq = slot->seq,
        .ledger_entries = at->entries,
        .pre_prepare_digest = slot->digest,
    };
    for (uint32_t r = 0; record.signature_count < wanted; r++) {
        CHECK(r < configuration->replica_count);
        if ((slot->prepared_by >> r & 1) != 0) {
            record.signers |= UINT64_C(1) << r;
            signatures[record.signature_count] = slot->votes[r].signature;
            nonce_hashes[record.signature_count] = slot->votes[r].nonce_hash;
            record.signature_count++;
        }
    }
    record.signatures = (const struct signature *)(const void *)effect_keep(
                            replica, span_of(signatures, wanted * sizeof signatures[0]))
                            .data;
    record.nonce_hashes = (const struct digest *)(const void *)effect_keep(
                              replica, span_of(nonce_hashes, wanted * sizeof nonce_hashes[0]))
                              .data;
    return record;
}

void raise_asked_view(struct replica *replica, uint64_t view) {
    if (view <= replica->asked_view) {
        return;
    }
    replica->asked_view = view;
    struct journal_record const record = journal_plain(replica, JOURNAL_VIEW);
    replica->sign_position = effect_journal(replica, &record);
}

void journal_start(struct replica *replica) {
    struct journal_record const record = journal_plain(replica, JOURNAL_STARTED);
    replica->sign_position = effect_journal(replica, &record);
    replica->started = true;
}

/*
 * May it have signed what its ledger lacks before this process, after a stop that was not in order?
 * A later view of this configuration is past that here, but not in the next one, whose views begin
 * at 0 again (§9): the process before may have been over already. It was not if the ledger reaches
 * as far and has not ended; if it has, the pipeline of the next one counts, whatever it is.
 */
static bool may_have_forgotten(const struct replica *replica) {
    const struct ledger_position *const now = checker_position(replica->checker);
    uint64_t const more = checker_is_closed(replica->checker)
                              ? PIPELINE_MAX - replica->configuration->parameters.pipeline
                              : 0;
    return now->view < replica->barred_view ||
           (replica->barred_seq != 0 && now->seq < replica->barred_seq + more);
}

/* Does the ledger on disk show all that this process signed and that may still be asked for? */
static bool ledger_shows_all(struct replica *replica) {
    const struct ledger_position *const now = checker_position(replica->checker);
    if (has_spoken_beyond(replica)) {
        return false; /* in the next configuration, which it has left again (§9) */
    }
    if (replica->held || replica->range_token != 0 || replica->asked_view != now->view ||
        may_have_forgotten(replica)) {
        return false;
    }
    if (replica->signed_view != now->view) {
        return true; /* in this view it signed nothing */
    }
    for (uint64_t seq = now->evidence_upto + 1; seq <= replica->signed_seq; seq++) {
        const struct slot *const slot = slot_find(replica, seq);
        bool const was_signed =
            !digest_equal(&replica->signed_digests[seq % SLOTS_MAX], &nothing_signed);
        if (was_signed && (slot == NULL || !has_signed(replica, slot))) {
            return false;
        }
    }
    return true;
}

void journal_stop(struct replica *replica) {
    bool const in_order = replica->started && ledger_shows_all(replica);
    replica->stopping = true;
    if (in_order) {
        struct journal_record const record = journal_plain(replica, JOURNAL_STOPPED);
        (void)effect_journal(replica, &record);
    }
}
