/*
 * range: batches fetched from a peer's ledger (protocol §7).
 *
 * Batches and new views are taken tentatively while every signature in them is checked elsewhere;
 * only when all hold are they appended, and voted for as if they had come as messages. If one does
 * not hold, all of them are undone and another peer is asked.
 *
 * A range may begin at the settled end, since a peer's ledger may part from this one further on.
 * What is the same is passed over. Where they part, this replica's own batches are given up only
 * for what must be: a higher view, batches that the peer's ledger shows to be committed, or
 * what a change of view waits for. They stay on disk until they are outranked (hold.c).
 */
#include "base/check.h"
#include "consensus/state.h"

/* Signatures of one range: its pre-prepares, its evidence, and its requests. */
#define RANGE_CHECKS_MAX                                                                           \
    (WIRE_ENTRIES_MAX + RANGE_BATCHES_MAX * EVIDENCE_BATCHES_MAX * 8u +                            \
     RANGE_VIEWS_MAX * REPLICAS_MAX * (REPLICAS_MAX + PIPELINE_MAX + 2u))

/* Is it the signature of a request that waits here, and was checked when it came? */
static bool request_is_known(const struct replica *replica, const struct sign_check *check) {
    struct digest const digest = hash_statement(
        LABEL_REQUEST_DIGEST, &replica->configuration->service, check->body, &check->signature);
    return pool_find(replica->pool, &digest) != NULL;
}

/* A sink that keeps what is to be checked, but for what was. */
static bool collect_check(void *context, const struct sign_check *check, enum rule rule) {
    struct collector *const collector = context;
    return (rule == RULE_REQUEST_SIGNATURE && request_is_known(collector->replica, check)) ||
           collector_check(collector, check, rule);
}

/* Copy what the batch holds into a slot, as if its pre-prepare had come and been executed. */
static bool fill_slot(struct replica *replica, struct slot *slot, const struct batch *batch) {
    const struct digest *const service = &replica->configuration->service;
    struct digest *const digests =
        arena_alloc(&replica->effects->arena, (batch->request_count + 1u) * sizeof *digests);
    if (digests == NULL) {
        return false;
    }
    uint64_t leaf = 0;
    for (uint32_t i = 0; i < batch->request_count; i++) {
        struct span const payload = batch_request_payload(batch, i);
        struct request_entry entry;
        struct request request;
        arena_reset(&replica->scratch);
        if (request_entry_decode(&entry, &replica->scratch, payload) != CODEC_OK ||
            request_decode(&request, &replica->scratch, service, entry.request) != CODEC_OK) {
            return false;
        }
        digests[i] = request.digest;
        struct slot_request const record = {
            .id = request.id,
            .first_index = entry.first_index,
            .leaf = leaf,
            .call_count = request.call_count,
        };
        if (!buffer_append(&slot->entries, payload) ||
            !slot_note_request(slot, &record, payload.size, entry.outcomes)) {
            return false;
        }
        leaf += request.call_count;
    }
    struct pre_prepare_message const message = {
        .statement = batch->seal.statement,
        .evidence = batch->seal.evidence_payload,
        .request_count = batch->request_count,
        .request_digests = digests,
    };
    return slot_store_statement(replica, slot, &message);
}

/* Replay one batch and put it into its slot. RULE_NONE: it stands, tentatively. */
enum rule take_ledger_batch(struct replica *replica, const struct batch *batch,
                            const struct sign_sink *sink) {
    enum rule const rule =
        replay_batch(&replica->replay, replica->checker, replica->engine, batch, sink);
    if (rule != RULE_NONE) {
        return rule;
    }
    struct slot *const slot = slot_claim(replica, replica->executed_seq + 1);
    slot_reset_batch(slot);
    if (!fill_slot(replica, slot, batch)) {
        replica->failed = true;
        return RULE_NONE;
    }
    batch_sealed(replica, slot);
    slot->stage = SLOT_TENTATIVE;
    return RULE_NONE;
}

/* ---- where a peer's ledger parts from this one ---- */

/* How far a range has been followed. */
struct walk {
    const struct range_message *range;
    uint64_t seq; /* the last batch passed */
    uint64_t view;
    bool parted;      /* what comes is applied */
    uint32_t passed;  /* batches and new views that were known */
    bool refused;     /* what comes must not be applied, or not now */
    uint32_t applied; /* batches */
    uint32_t views_applied;
};

static bool is_same_batch(struct replica *replica, const struct walk *walk,
                          const struct batch *batch) {
    const struct slot *const slot = slot_find(replica, walk->seq + 1);
    if (slot == NULL || slot->seq > replica->executed_seq || slot->stage != SLOT_EXECUTED) {
        return false;
    }
    struct digest const digest =
        hash_statement(LABEL_PRE_PREPARE, &replica->configuration->service,
                       batch->seal.statement.body, &batch->seal.statement.signature);
    return digest_equal(&digest, &slot->digest);
}

static bool is_same_view(const struct replica *replica, const struct walk *walk,
                         const struct view_unit *unit) {
    const struct kept_view *const kept = find_view(replica, walk->seq, unit->new_view.view);
    return kept != NULL && span_equal(buffer_span(&kept->set), unit->set_payload) &&
           span_equal(buffer_span(&kept->entry), unit->entry_payload);
}

/*
 * How far the range itself shows batches to be committed, by batches of later configurations than
 * `before`. Its signatures are checked later.
 */
static uint64_t evidenced_behind(struct replica *replica, const struct range_message *range,
                                 uint64_t before) {
    uint64_t upto = 0;
    for (uint32_t i = 0; i < range->count; i++) {
        struct signed_body statement;
        struct pre_prepare body;
        arena_reset(&replica->scratch);
        if (range->entries[i].kind == ENTRY_PRE_PREPARE &&
            signed_decode(&statement, &replica->scratch, range->entries[i].payload,
                          STATEMENT_SIZE_MAX) == CODEC_OK &&
            pre_prepare_decode(&body, &replica->scratch, statement.body) == CODEC_OK &&
            body.config > before && body.evidence_upto > upto) {
            upto = body.evidence_upto;
        }
    }
    return upto;
}

static uint64_t evidenced_in(struct replica *replica, const struct range_message *range) {
    return evidenced_behind(replica, range, 0);
}

/* Does it show that this configuration has ended? Then none of its views matters any more. */
static bool shows_the_end(struct replica *replica, const struct walk *walk) {
    uint64_t const upto = evidenced_behind(replica, walk->range, replica->configuration->number);
    return upto != 0 && upto >= walk->seq;
}

/* Is it a copy of an earlier view than the batch that lies here, or a view that lies behind? */
static bool is_earlier_copy(struct replica *replica, const struct walk *walk,
                            const struct batch *batch, enum batch_step step) {
    const struct slot *const own = slot_find(replica, walk->seq + 1);
    uint64_t const view = step == BATCH_VIEW ? batch->view.new_view.view : batch->pre_prepare.view;
    return own != NULL && view < own->body.view;
}

/*
 * The last batch before the configuration stands in another copy there (§9): is it followed? One
 * behind which the first batch is evidenced, always. Else, as long as nothing in this configuration
 * is certified here, the primary's; and one for which a change of view waits. But upwards only,
 * since what was committed in the higher view may be held by those who have it here alone; unless
 * the first batch comes along, which shows that the lower copy was committed as well.
 */
static bool may_part_before(struct replica *replica, const struct walk *walk,
                            const struct batch *batch, enum batch_step step) {
    uint64_t const view = checker_position(replica->checker)->view;
    uint64_t const shown =
        evidenced_behind(replica, walk->range, replica->configuration->number - 1);
    bool const is_primarys =
        replica->range_peer == configuration_primary(replica->configuration, view);
    if (shown > config_start(replica)) {
        return true;
    }
    return (!is_earlier_copy(replica, walk, batch, step) || shown == config_start(replica)) &&
           (view_waits_for_range(replica) ||
            (!has_certified(replica) && is_primarys && !is_primary(replica)));
}

/* The view that the peer's ledger goes on in. */
static uint64_t view_behind(const struct walk *walk, const struct batch *batch,
                            enum batch_step step) {
    return step == BATCH_VIEW ? batch->view.new_view.view : walk->view;
}

/*
 * May what this replica has beyond the walk be given up for this batch or new view? For a new view
 * of the same number, too: a primary that lies has told another one here, and what was committed
 * behind that one shows which of them counts.
 */
static bool may_part(struct replica *replica, const struct walk *walk, const struct batch *batch,
                     enum batch_step step) {
    uint64_t const view = checker_position(replica->checker)->view;
    bool const has_more = replica->executed_seq > walk->seq || view > walk->view;
    if (walk->seq < replica->evidenced_seq ||
        checker_position_in(replica->checker, walk->seq, walk->view) == NULL) {
        return false; /* settled meanwhile */
    }
    if (walk->seq < config_start(replica)) {
        return may_part_before(replica, walk, batch, step);
    }
    uint64_t const theirs = view_behind(walk, batch, step);
    return !has_more || view_waits_for_range(replica) || shows_the_end(replica, walk) ||
           (step == BATCH_VIEW && theirs > view) ||
           (theirs == view && evidenced_in(replica, walk->range) > walk->seq);
}

/*
 * Did it reveal a nonce in this view for what it now gives up? Then more than f are faulty, and
 * nothing that it could still sign in this view would fit what it has signed: it asks for another.
 */
static void leave_view_if_forked(struct replica *replica, const struct walk *walk,
                                 uint64_t theirs) {
    const struct ledger_position *const now = checker_position(replica->checker);
    for (uint64_t seq = walk->seq + 1; seq <= replica->executed_seq; seq++) {
        const struct slot *const slot = slot_find(replica, seq);
        if (slot != NULL && slot->revealed && slot->body.view == now->view && theirs == now->view &&
            walk->seq >= now->config_start) {
            raise_asked_view(replica, now->view + 1);
            return;
        }
    }
}

/* From here on the range is applied: this replica's ledger ends at the walk. */
static void part(struct replica *replica, struct walk *walk, uint64_t theirs) {
    const struct ledger_position *const now = checker_position(replica->checker);
    walk->parted = true;
    if (now->seq != walk->seq || now->view != walk->view) {
        leave_view_if_forked(replica, walk, theirs);
        rank_capture(replica);
        if (walk->seq < now->config_start) {
            configuration_leave(replica);
        }
        rollback_to(replica, walk->seq, walk->view);
    }
    if (replica->disk_entries > checker_position(replica->checker)->entries) {
        hold_from(replica, checker_position(replica->checker));
    }
    replica->range_base_seq = walk->seq;
    replica->range_base_view = walk->view;
    replica->range_base_config = replica->configuration->number;
}

/* ---- applying ---- */

/* Does it rank by a copy of its last batch that is of a higher view than the one that lies here? */
static bool ranks_above(struct replica *replica) {
    const struct slot *const last = slot_find(replica, replica->executed_seq);
    return last != NULL && last->body.view < replica->best_rank.view;
}

/*
 * Where the configuration ends, the next is entered with its first batch, which shows that the last
 * one of this is committed; or with a new view before that batch: a quorum of the next holds f + 1
 * who were in this one (§9), and the correct one among them knows how it has ended. One at a time,
 * since one can be left again, should a signature of the range not hold.
 * Returns: false: not now. It is the second, and for the next range; or a new view, from which this
 * replica has just gone back, or behind a lower copy of the last batch than it ranks by, and no
 * first batch comes behind it.
 */
static bool enter_if_shown(struct replica *replica, const struct walk *walk,
                           const struct batch *batch, enum batch_step step) {
    uint64_t const next = replica->configuration->number + 1;
    uint64_t const config =
        step == BATCH_VIEW ? batch->view.new_view.config : batch->pre_prepare.config;
    if (!checker_is_closed(replica->checker) || config != next || replica->constitution == NULL) {
        return true;
    }
    if (replica->configuration->number != replica->range_base_config ||
        (step == BATCH_VIEW && !shows_the_end(replica, walk) &&
         (is_called(replica) || ranks_above(replica)))) {
        return false;
    }
    configuration_enter(replica);
    return true;
}

static enum rule apply(struct replica *replica, struct walk *walk, const struct batch *batch,
                       enum batch_step step, const struct sign_sink *sink) {
    enum rule rule = RULE_NONE;
    if (step == BATCH_VIEW) {
        rule = checker_view_add(replica->checker, &batch->view, sink);
        if (rule == RULE_NONE) {
            append_view(replica, &batch->view, false);
            walk->view = batch->view.new_view.view;
            walk->views_applied++;
        }
    } else {
        rule = take_ledger_batch(replica, batch, sink);
        walk->seq++;
        walk->applied++;
    }
    return rule;
}

/* Is there room to apply one more? */
static bool has_room(struct replica *replica, const struct walk *walk, enum batch_step step) {
    return step == BATCH_VIEW
               ? walk->views_applied < RANGE_VIEWS_MAX && has_room_for_view(replica)
               : walk->applied < RANGE_BATCHES_MAX &&
                     slot_is_free(replica, replica->executed_seq + 1) &&
                     has_room_for_cut(replica) && checker_checkpoint_known(replica->checker);
}

/* One batch or new view of the range. Returns: whether to go on. */
static bool follow(struct replica *replica, struct walk *walk, const struct batch *batch,
                   enum batch_step step, const struct sign_sink *sink, enum rule *rule) {
    if (!walk->parted && step == BATCH_WHOLE && is_same_batch(replica, walk, batch)) {
        walk->seq++;
        walk->passed++;
        walk->view = walk->seq == config_start(replica) ? 0 : walk->view;
        return true;
    }
    if (!walk->parted && step == BATCH_VIEW && is_same_view(replica, walk, &batch->view)) {
        walk->view = batch->view.new_view.view;
        walk->passed++;
        return true;
    }
    if (!walk->parted) {
        if (!may_part(replica, walk, batch, step)) {
            walk->refused = true;
            return false;
        }
        part(replica, walk, view_behind(walk, batch, step));
    }
    if (!has_room(replica, walk, step) || !enter_if_shown(replica, walk, batch, step)) {
        walk->refused = true;
        return false;
    }
    *rule = apply(replica, walk, batch, step, sink);
    return *rule == RULE_NONE && !replica->failed;
}

static enum rule apply_tentatively(struct replica *replica, struct walk *walk,
                                   const struct sign_sink *sink) {
    struct batch batch;
    enum rule rule = RULE_NONE;
    bool goes_on = true;
    batch_init(&batch);
    for (uint32_t i = 0; i < walk->range->count && goes_on; i++) {
        enum batch_step const step =
            batch_add(&batch, walk->range->first_entry + i, &walk->range->entries[i], &rule);
        if (step == BATCH_BROKEN) {
            break;
        }
        if (step != BATCH_MORE) {
            goes_on = follow(replica, walk, &batch, step, sink, &rule);
            batch_clear(&batch);
        }
    }
    batch_free(&batch);
    return rule;
}

/* Ask others first for a while, so that nobody who has nothing to give keeps this replica busy. */
void range_was_useless(struct replica *replica, uint64_t pause_ms) {
    replica->peers[replica->range_peer].range_after_ms = replica->now_ms + pause_ms;
    replica->range_asked = false;
    replica->catching_up = false;
    view_range_was_useless(replica);
}

static void give_up(struct replica *replica, enum rule rule) {
    const struct ledger_position *const now = checker_position(replica->checker);
    effect_note(replica, NOTE_RANGE_REFUSED, replica->range_peer, replica->executed_seq + 1, rule);
    if (replica->configuration->number > replica->range_base_config) {
        configuration_leave(replica);
    }
    if (now->seq != replica->range_base_seq || now->view != replica->range_base_view) {
        rollback_to(replica, replica->range_base_seq, replica->range_base_view);
    }
    replica->range_token = 0;
    replica->range_parted = true;
    range_was_useless(replica, RANGE_RETRY_MS);
    if (replica->held && !view_waits_for_range(replica)) {
        ask_for_range(replica, replica->self, true); /* what was given up for it: the disk has it */
    }
}

/* Is it what was asked for? */
static bool is_expected(const struct replica *replica, const struct peer_message *message) {
    return replica->range_asked && replica->range_token == 0 &&
           message->from == replica->range_peer &&
           message->range.first_entry == replica->range_first_entry;
}

void on_range(struct replica *replica, const struct peer_message *message) {
    if (!is_expected(replica, message)) {
        return;
    }
    replica->range_asked = false;
    replica->range_resumes = false;
    if (message->range.count == 0) {
        range_was_useless(replica, STATUS_INTERVAL_MS);
        return;
    }
    struct collector collector = {.replica = replica};
    buffer_init(&collector.checks, RANGE_CHECKS_MAX * sizeof(struct sign_check));
    struct sign_sink const sink = {.context = &collector, .check = collect_check};
    struct walk walk = {.range = &message->range,
                        .seq = replica->range_first_seq,
                        .view = replica->range_first_view};
    replica->range_base_seq = checker_position(replica->checker)->seq;
    replica->range_base_view = checker_position(replica->checker)->view;
    replica->range_base_config = replica->configuration->number;
    enum rule const rule = apply_tentatively(replica, &walk, &sink);
    const struct ledger_position *const now = checker_position(replica->checker);
    bool const has_gained =
        walk.parted &&
        (replica->configuration->number != replica->range_base_config ||
         now->seq != replica->range_base_seq || now->view != replica->range_base_view);
    if (rule != RULE_NONE || collector.overflow) {
        give_up(replica, rule);
    } else if (has_gained && !replica->failed) {
        replica->range_token = effect_verify(replica, &collector.checks);
    } else if (walk.passed != 0 && !walk.refused) {
        replica->range_resumes = true;
        replica->range_resume_seq = walk.seq;
        replica->range_resume_view = walk.view;
        view_range_was_known(replica);
    } else {
        replica->range_parted = !walk.parted && !replica->range_afresh;
        range_was_useless(replica, RANGE_RETRY_MS);
    }
    buffer_free(&collector.checks);
}

void on_range_verified(struct replica *replica, bool all_hold) {
    if (!all_hold) {
        give_up(replica, RULE_SIGNATURE);
        return;
    }
    const struct ledger_position *const now = checker_position(replica->checker);
    replica->range_token = 0;
    replica->range_parted = false;
    replica->catching_up = true;
    if (replica->reached_config < replica->configuration->number) {
        replica->reached_config = replica->configuration->number; /* as enter_if_shown has it */
    }
    append_views_after(replica, replica->range_base_seq);
    for (uint64_t seq = replica->range_base_seq + 1; seq <= replica->executed_seq; seq++) {
        struct slot *const slot = slot_find(replica, seq);
        CHECK(slot != NULL && slot->stage == SLOT_TENTATIVE);
        append_slot(replica, slot);
        append_views_after(replica, seq);
        check_own_votes(replica, slot);
        absorb_evidence(replica, slot);
    }
    if (now->view != replica->range_base_view ||
        replica->configuration->number != replica->range_base_config) {
        view_was_entered(replica);
    }
    learn_from_evidence(replica);
    effect_note(replica, NOTE_CAUGHT_UP, replica->range_peer, replica->executed_seq, RULE_NONE);
    view_range_was_taken(replica);
    catch_up_tick(replica);
}
