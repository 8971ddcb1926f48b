/*
 * execute: batches through checker and engine, early and undoably (protocol §5 steps 2 and 3).
 *
 * A primary builds a batch and a backup follows one through the same few functions, so that what
 * a correct primary proposes is what a correct backup accepts.
 */
#include "base/check.h"
#include "consensus/state.h"

void batch_open(struct replica *replica, struct slot *slot) {
    checker_batch_begin(replica->checker);
    engine_batch_begin(replica->engine);
    replica->batch_closes = false;
    buffer_clear(&slot->entries);
    buffer_clear(&slot->entry_sizes);
    buffer_clear(&slot->outcomes);
    buffer_clear(&slot->outcome_sizes);
    buffer_clear(&slot->requests);
}

/* Remember one executed request: its ledger entry, its outcomes, who waits for them. */
static bool slot_record(struct replica *replica, struct slot *slot, const struct request *request,
                        uint64_t origin, uint64_t first_index, uint64_t leaf) {
    const struct execution *const execution = &replica->execution;
    struct request_entry const entry = {
        .request = request->bytes,
        .first_index = first_index,
        .outcome_count = execution->count,
        .outcomes = execution->outcomes,
    };
    struct slot_request const record = {
        .id = request->id,
        .origin = origin,
        .first_index = first_index,
        .leaf = leaf,
        .call_count = request->call_count,
    };
    size_t const before = slot->entries.size;
    return request_entry_encode(&slot->entries, &entry) &&
           slot_note_request(slot, &record, slot->entries.size - before, execution->outcomes);
}

bool batch_has_room(const struct replica *replica, const struct slot *slot,
                    const struct pool_entry *entry) {
    const struct parameters *const parameters = &replica->configuration->parameters;
    uint32_t const tx_count = checker_batch_tx_count(replica->checker);
    return !replica->batch_closes && tx_count + entry->call_count <= parameters->batch_calls_max &&
           (tx_count == 0 ||
            slot->entries.size + entry->bytes.size <= parameters->batch_size_soft_max);
}

bool batch_take_request(struct replica *replica, struct slot *slot,
                        const struct pool_entry *entry) {
    const struct digest *const service = &replica->configuration->service;
    struct request request;
    arena_reset(&replica->scratch);
    /* The bytes were decoded once before they came into the pool; only memory can fail. */
    if (request_decode(&request, &replica->scratch, service, entry->bytes) != CODEC_OK) {
        replica->failed = true;
        return false;
    }
    uint64_t const first_index = checker_next_index(replica->checker);
    uint64_t const leaf = checker_batch_tx_count(replica->checker);
    engine_execute(replica->engine, &replica->execution, service, &request);
    if (replica->execution.count != request.call_count) {
        replica->failed = true; /* the store or memory failed: the step ends the process */
        return false;
    }
    checker_batch_add(replica->checker, &request, replica->execution.digests, &sign_sink_trust);
    if (!slot_record(replica, slot, &request, entry->origin, first_index, leaf)) {
        replica->failed = true;
        return false;
    }
    if (replica->execution.closes) {
        checker_batch_close(replica->checker);
        replica->batch_closes = true;
    }
    return true;
}

void batch_cancel(struct replica *replica, struct slot *slot, uint64_t engine_mark) {
    checker_batch_abandon(replica->checker);
    engine_rollback(replica->engine, engine_mark);
    slot_shrink(slot);
}

bool has_room_for_cut(const struct replica *replica) {
    for (unsigned i = 0; i < CUTS_MAX; i++) {
        if (!replica->cuts[i].used) {
            return true;
        }
    }
    return false;
}

/* After every C-th batch, and where a configuration ends: freeze the state, so that a checkpoint of
 * it can be digested (§7). */
static void cut_if_due(struct replica *replica, uint64_t seq) {
    if (!checker_cut_is_due(replica->checker)) {
        return;
    }
    for (unsigned i = 0; i < CUTS_MAX; i++) {
        struct cut *const cut = &replica->cuts[i];
        if (!cut->used) {
            *cut = (struct cut){.used = true};
            checker_cut(replica->checker, &cut->cut);
            engine_cut(replica->engine, seq);
            return;
        }
    }
    UNREACHABLE(); /* has_room_for_cut */
}

void batch_sealed(struct replica *replica, struct slot *slot) {
    checker_batch_tree_take(replica->checker, &slot->tree);
    cut_if_due(replica, slot->seq);
    slot->engine_mark = engine_mark(replica->engine);
    replica->executed_seq = slot->seq;
    replica->progress_ms = replica->now_ms;
}

enum rule batch_seal_statement(struct replica *replica, struct slot *slot,
                               const struct sign_sink *sink) {
    struct evidence evidence;
    struct batch_seal seal = {
        .evidence_payload = slot->message.evidence,
        .statement = slot->message.statement,
        .pre_prepare = &slot->body,
        .request_count = slot_request_count(slot),
    };
    buffer_clear(&replica->encode);
    arena_reset(&replica->scratch);
    if (!signed_encode(&replica->encode, &slot->message.statement)) {
        replica->failed = true;
    }
    seal.entry_payload = buffer_span(&replica->encode);
    if (slot->message.evidence.size != 0) {
        if (evidence_decode(&evidence, &replica->scratch, slot->message.evidence) != CODEC_OK) {
            checker_batch_abandon(replica->checker);
            return RULE_ENTRY_ENCODING;
        }
        seal.evidence = &evidence;
    }
    return checker_batch_seal(replica->checker, &seal, sink);
}

/* ---- evidence whose signatures this replica has not all seen ---- */

struct unknown_signatures {
    struct replica *replica;
    struct buffer checks; /* of struct sign_check */
};

/* Is this the very prepare that its author sent us, whose signature was checked on arrival? */
static bool signature_is_known(struct replica *replica, const struct sign_check *check) {
    struct prepare prepare;
    struct arena arena;
    arena_init(&arena, 4 * STATEMENT_SIZE_MAX);
    bool known = false;
    if (prepare_decode(&prepare, &arena, check->body) == CODEC_OK) {
        struct slot *const slot = slot_find(replica, prepare.seq);
        const struct vote *const vote = slot == NULL ? NULL : &slot->votes[prepare.replica];
        known = vote != NULL && vote->present && prepare.config == slot->body.config &&
                digest_equal(&vote->pre_prepare_digest, &prepare.pre_prepare_digest) &&
                digest_equal(&vote->nonce_hash, &prepare.nonce_hash) &&
                memcmp(&vote->signature, &check->signature, sizeof vote->signature) == 0;
    }
    arena_free(&arena);
    return known;
}

static bool collect_unknown(void *context, const struct sign_check *check, enum rule rule) {
    struct unknown_signatures *const unknown = context;
    if (rule != RULE_EVIDENCE_SIGNATURE || signature_is_known(unknown->replica, check)) {
        return true; /* checked when the message came in */
    }
    struct sign_check kept = *check;
    kept.body = effect_keep(unknown->replica, check->body);
    if (!buffer_append(&unknown->checks, span_of(&kept, sizeof kept))) {
        unknown->replica->failed = true;
    }
    return true;
}

/* ---- a backup's turn ---- */

static void send_fetch(struct replica *replica, const struct slot *slot,
                       struct fetch_requests_message *fetch) {
    buffer_clear(&replica->encode);
    if (!fetch_requests_message_encode(&replica->encode, fetch)) {
        replica->failed = true;
    }
    effect_send(replica, slot_primary(replica, slot), MESSAGE_FETCH_REQUESTS,
                effect_keep(replica, buffer_span(&replica->encode)), 0);
    fetch->digest_count = 0;
}

/* Are all requests of the batch here? If not, ask the primary for those that are missing. */
static bool requests_complete(struct replica *replica, struct slot *slot) {
    struct digest missing[WIRE_REQUESTS_MAX];
    struct fetch_requests_message fetch = {.seq = slot->seq, .digests = missing};
    bool const is_due = replica->now_ms >= slot->fetch_after_ms;
    bool complete = true;
    for (uint32_t i = 0; i < slot->message.request_count && (complete || is_due); i++) {
        const struct digest *const digest = &slot->message.request_digests[i];
        if (pool_find(replica->pool, digest) != NULL) {
            continue;
        }
        complete = false;
        missing[fetch.digest_count++] = *digest;
        if (is_due && fetch.digest_count == WIRE_REQUESTS_MAX) {
            send_fetch(replica, slot, &fetch);
        }
    }
    if (!complete && is_due) {
        slot->fetch_after_ms = replica->now_ms + FETCH_RETRY_MS;
        if (fetch.digest_count != 0) {
            send_fetch(replica, slot, &fetch);
        }
    }
    return complete;
}

static void slot_put_back(struct replica *replica, struct slot *slot) {
    for (uint32_t i = slot->message.request_count; i > 0; i--) {
        struct pool_entry *const entry =
            pool_find(replica->pool, &slot->message.request_digests[i - 1]);
        if (entry != NULL && entry->taken_seq == slot->seq) {
            pool_put_back(replica->pool, entry);
        }
    }
}

static enum rule take_all(struct replica *replica, struct slot *slot) {
    for (uint32_t i = 0; i < slot->message.request_count; i++) {
        struct pool_entry *const entry =
            pool_find(replica->pool, &slot->message.request_digests[i]);
        /* Named twice in one batch, or again after its execution: the rules refuse it too. */
        if (entry == NULL || (entry->taken_seq != 0 && entry->taken_seq != slot->seq)) {
            return RULE_REQUEST_DUPLICATE;
        }
        /* Before it is executed: what a batch takes in memory must be bounded. */
        if (!batch_has_room(replica, slot, entry)) {
            return RULE_TX_COUNT;
        }
        if (entry->taken_seq == 0) {
            pool_take(replica->pool, entry, slot->seq);
        }
        if (!batch_take_request(replica, slot, entry)) {
            return RULE_TX_COUNT;
        }
    }
    return RULE_NONE;
}

static void refuse(struct replica *replica, struct slot *slot, enum rule rule) {
    slot->refused = true;
    slot_put_back(replica, slot);
    effect_note(replica, NOTE_PRE_PREPARE_REFUSED, slot_primary(replica, slot), slot->seq, rule);
}

static void execute_received(struct replica *replica, struct slot *slot,
                             struct unknown_signatures *unknown) {
    struct sign_sink const collect = {.context = unknown, .check = collect_unknown};
    uint64_t const mark = engine_mark(replica->engine);
    uint64_t const seq_before = replica->executed_seq;

    batch_open(replica, slot);
    enum rule rule = take_all(replica, slot);
    if (rule != RULE_NONE) {
        batch_cancel(replica, slot, mark);
        refuse(replica, slot, rule);
        return;
    }
    rule =
        batch_seal_statement(replica, slot, slot->evidence_verified ? &sign_sink_trust : &collect);
    if (rule != RULE_NONE) {
        engine_rollback(replica->engine, mark);
        slot_shrink(slot);
        refuse(replica, slot, rule);
        return;
    }
    if (unknown->checks.size != 0) {
        /* Undo, have them checked, and come back: rare, since prepares usually come first. */
        checker_rollback(replica->checker, seq_before);
        engine_rollback(replica->engine, mark);
        slot_shrink(slot);
        slot_put_back(replica, slot);
        slot->verify_token = effect_verify(replica, &unknown->checks);
        return;
    }
    batch_sealed(replica, slot);
    append_slot(replica, slot);
    check_own_votes(replica, slot);
    absorb_evidence(replica, slot);
    learn_from_evidence(replica);
}

bool try_execute(struct replica *replica) {
    struct slot *const slot = slot_find(replica, replica->executed_seq + 1);
    if (slot == NULL || slot->stage != SLOT_RECEIVED || slot->refused || slot->verify_token != 0 ||
        replica->range_token != 0 || !checker_checkpoint_known(replica->checker) ||
        !has_room_for_cut(replica) || checker_is_closed(replica->checker) ||
        !requests_complete(replica, slot)) {
        return false;
    }
    struct unknown_signatures unknown = {.replica = replica};
    buffer_init(&unknown.checks, EVIDENCE_BATCHES_MAX * REPLICAS_MAX * sizeof(struct sign_check));
    execute_received(replica, slot, &unknown);
    buffer_free(&unknown.checks);
    return replica->executed_seq == slot->seq;
}

/* ---- undoing ---- */

void rollback_to(struct replica *replica, uint64_t seq, uint64_t view) {
    CHECK(seq >= replica->evidenced_seq);
    struct slot *const last = slot_find(replica, seq);
    uint64_t const mark = last == NULL ? replica->base_mark : last->engine_mark;
    for (uint64_t s = replica->executed_seq; s > seq; s--) {
        struct slot *const slot = slot_find(replica, s);
        CHECK(slot != NULL);
        slot_put_back(replica, slot);
    }
    /* What came for batches further on belongs to the view that is left. */
    for (unsigned i = 0; i < SLOTS_MAX; i++) {
        if (replica->slots[i].seq > seq) {
            slot_retire(replica, &replica->slots[i]);
            slot_reset(&replica->slots[i]);
        }
    }
    for (unsigned i = 0; i < CUTS_MAX; i++) {
        if (replica->cuts[i].used && replica->cuts[i].cut.header.seq > seq) {
            CHECK(!replica->cuts[i].started);
            replica->cuts[i].used = false;
        }
    }
    checker_rollback_in(replica->checker, seq, view);
    engine_rollback(replica->engine, mark);
    replica->executed_seq = seq;
    replica->committed_seq = replica->committed_seq < seq ? replica->committed_seq : seq;
    replica->revealed_seq = replica->revealed_seq < seq ? replica->revealed_seq : seq;
    replica->voted_seq = replica->voted_seq < seq ? replica->voted_seq : seq;
    tidy_views(replica);
}
