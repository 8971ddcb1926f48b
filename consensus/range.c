/*
 * range: batches fetched from a peer's ledger (protocol §7).
 *
 * The batches are executed tentatively while every signature in them is checked elsewhere; only
 * when all hold are they appended, and voted for as if they had come as messages. If one does not
 * hold, all of them are undone and another peer is asked.
 */
#include "base/check.h"
#include "consensus/state.h"

/* Signatures of one range: its pre-prepares, its evidence, and its requests. */
#define RANGE_CHECKS_MAX (WIRE_ENTRIES_MAX + RANGE_BATCHES_MAX * EVIDENCE_BATCHES_MAX * 8u)

struct range_checks {
    struct replica *replica;
    struct buffer checks; /* of struct sign_check */
    bool overflow;
};

/* Is it the signature of a request that waits here, and was checked when it came? */
static bool request_is_known(const struct replica *replica, const struct sign_check *check) {
    struct digest const digest = hash_statement(
        LABEL_REQUEST_DIGEST, &replica->configuration->service, check->body, &check->signature);
    return pool_find(replica->pool, &digest) != NULL;
}

static bool collect_check(void *context, const struct sign_check *check, enum rule rule) {
    struct range_checks *const checks = context;
    if (rule == RULE_REQUEST_SIGNATURE && request_is_known(checks->replica, check)) {
        return true;
    }
    struct sign_check kept = *check;
    kept.body = effect_keep(checks->replica, check->body);
    checks->overflow |= !buffer_append(&checks->checks, span_of(&kept, sizeof kept));
    return true;
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

static enum rule apply_tentatively(struct replica *replica, const struct range_message *range,
                                   const struct sign_sink *sink) {
    struct batch batch;
    enum rule rule = RULE_NONE;
    batch_init(&batch);
    uint32_t applied = 0;
    for (uint32_t i = 0; i < range->count && rule == RULE_NONE && !replica->failed; i++) {
        enum batch_step const step =
            batch_add(&batch, range->first_entry + i, &range->entries[i], &rule);
        if (step != BATCH_WHOLE) {
            continue;
        }
        if (applied == RANGE_BATCHES_MAX || !slot_is_free(replica, replica->executed_seq + 1) ||
            !checker_checkpoint_known(replica->checker)) {
            break;
        }
        rule = take_ledger_batch(replica, &batch, sink);
        applied++;
        batch_clear(&batch);
    }
    batch_free(&batch);
    return rule;
}

/* Ask others first for a while, so that nobody who has nothing to give keeps this replica busy. */
void range_was_useless(struct replica *replica, uint64_t pause_ms) {
    replica->peers[replica->range_peer].range_after_ms = replica->now_ms + pause_ms;
    replica->range_asked = false;
    replica->catching_up = false;
}

static void give_up(struct replica *replica, enum rule rule) {
    effect_note(replica, NOTE_RANGE_REFUSED, replica->range_peer, replica->executed_seq + 1, rule);
    if (replica->executed_seq > replica->range_base_seq) {
        rollback_to(replica, replica->range_base_seq);
    }
    replica->range_token = 0;
    range_was_useless(replica, RANGE_RETRY_MS);
}

void on_range(struct replica *replica, const struct peer_message *message) {
    if (!replica->range_asked || replica->range_token != 0 ||
        message->from != replica->range_peer ||
        message->range.first_entry != checker_position(replica->checker)->entries) {
        return;
    }
    replica->range_asked = false;
    if (message->range.count == 0) {
        range_was_useless(replica, STATUS_INTERVAL_MS);
        return;
    }
    struct range_checks checks = {.replica = replica};
    buffer_init(&checks.checks, RANGE_CHECKS_MAX * sizeof(struct sign_check));
    struct sign_sink const sink = {.context = &checks, .check = collect_check};
    replica->range_base_seq = replica->executed_seq;
    enum rule const rule = apply_tentatively(replica, &message->range, &sink);
    uint32_t const count = (uint32_t)(checks.checks.size / sizeof(struct sign_check));
    if (rule != RULE_NONE || checks.overflow) {
        give_up(replica, rule);
    } else if (replica->executed_seq > replica->range_base_seq) {
        struct effect *const effect = effect_add(replica, EFFECT_VERIFY);
        struct span const kept = effect_keep(replica, buffer_span(&checks.checks));
        if (effect != NULL && kept.data != NULL) {
            replica->range_token = ++replica->next_token;
            effect->verify.token = replica->range_token;
            effect->verify.count = count;
            effect->verify.checks = (const struct sign_check *)(const void *)kept.data;
        }
    } else {
        range_was_useless(replica, RANGE_RETRY_MS);
    }
    buffer_free(&checks.checks);
}

void on_range_verified(struct replica *replica, bool all_hold) {
    if (!all_hold) {
        give_up(replica, RULE_SIGNATURE);
        return;
    }
    replica->range_token = 0;
    replica->catching_up = true;
    uint64_t const evidenced = checker_position(replica->checker)->evidence_upto;
    for (uint64_t seq = replica->range_base_seq + 1; seq <= replica->executed_seq; seq++) {
        struct slot *const slot = slot_find(replica, seq);
        CHECK(slot != NULL && slot->stage == SLOT_TENTATIVE);
        effect_append_slot(replica, slot);
        check_own_votes(replica, slot);
        if (seq > evidenced) {
            vote_for(replica, slot);
        }
    }
    learn_from_evidence(replica);
    effect_note(replica, NOTE_CAUGHT_UP, replica->range_peer, replica->executed_seq, RULE_NONE);
    catch_up_tick(replica);
}
