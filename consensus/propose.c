/*
 * propose: the primary's turn (protocol §5 step 2, §4 evidence).
 *
 * It proposes at once while the pipeline has room; batches grow by themselves under load, since
 * requests queue while the pipeline is full. An idle primary proposes one empty batch, so that the
 * evidence for its last transactions reaches the ledger.
 */
#include "base/check.h"
#include "consensus/state.h"

/* Write the evidence for all newly committed batches into the effects' arena. */
static struct span build_evidence(struct replica *replica, struct pre_prepare *body) {
    uint64_t const from = checker_position(replica->checker)->evidence_upto;
    struct evidence evidence;
    evidence.batch_count = 0;
    body->evidence_upto = from;
    body->evidence_count = 0;
    struct evidence_parts *const parts =
        arena_alloc(&replica->effects->arena, EVIDENCE_BATCHES_MAX * sizeof *parts);
    if (parts == NULL) {
        replica->failed = true;
        return (struct span){0};
    }
    for (uint64_t seq = from + 1;
         seq <= replica->committed_seq && evidence.batch_count < EVIDENCE_BATCHES_MAX; seq++) {
        struct slot *const slot = slot_find(replica, seq);
        if (slot == NULL || !slot_can_evidence(replica, slot)) {
            break;
        }
        uint32_t const at = evidence.batch_count++;
        uint64_t const signers = slot_choose_signers(replica, slot);
        slot_gather(replica, slot, signers, &parts[at], &evidence.batches[at]);
        body->evidence_signers[at] = signers;
        body->evidence_count = evidence.batch_count;
        body->evidence_upto = seq;
    }
    if (evidence.batch_count == 0) {
        return (struct span){0};
    }
    buffer_clear(&replica->encode);
    if (!evidence_encode(&replica->encode, &evidence)) {
        replica->failed = true;
    }
    return effect_keep(replica, buffer_span(&replica->encode));
}

/* Take requests from the queue while the batch has room; drop those that can never execute. */
static uint32_t fill_batch(struct replica *replica, struct slot *slot, struct digest *digests) {
    uint32_t count = 0;
    uint32_t skips = 0;
    struct pool_entry *entry = pool_first(replica->pool);
    while (entry != NULL && !replica->failed && skips < POOL_SKIPS_MAX) {
        struct pool_entry *const next = pool_after(entry);
        if (!batch_has_room(replica, slot, entry)) {
            break;
        }
        uint64_t const first = checker_next_index(replica->checker);
        bool const expired =
            checker_is_expired(replica->checker, entry->min_index, entry->call_count);
        if (expired || window_find(checker_window(replica->checker), &entry->id, NULL)) {
            if (expired && entry->origin != 0) {
                reply_reject(replica, entry->origin, &entry->id, REJECT_EXPIRED);
            }
            pool_remove(replica->pool, entry);
        } else if (first >= entry->min_index) {
            pool_take(replica->pool, entry, slot->seq);
            if (!batch_take_request(replica, slot, entry)) {
                return count;
            }
            digests[count++] = entry->digest;
        } else {
            pool_put_last(replica->pool, entry);
            skips++;
        }
        entry = next;
    }
    return count;
}

/* Complete, sign and seal the pre-prepare for the batch that was filled. */
static bool sign_batch(struct replica *replica, struct slot *slot, struct pre_prepare *body,
                       struct pre_prepare_message *message) {
    checker_batch_fill(replica->checker, body, message->evidence);
    struct nonce nonce;
    slot->body = *body;
    if (!slot_own_nonce(replica, slot, &nonce)) {
        return false;
    }
    body->nonce_hash = nonce_commit(&replica->configuration->service, body->config, replica->self,
                                    body->view, body->seq, &nonce);
    buffer_clear(&replica->encode);
    if (!pre_prepare_encode(&replica->encode, body)) {
        return false;
    }
    message->statement.body = effect_keep(replica, buffer_span(&replica->encode));
    message->statement.signature =
        sign_labelled(&replica->signing_key, &replica->key, LABEL_PRE_PREPARE,
                      &replica->configuration->service, message->statement.body);
    return !replica->failed;
}

static void finish_proposal(struct replica *replica, struct slot *slot, struct pre_prepare *body,
                            struct pre_prepare_message *message) {
    if (!sign_batch(replica, slot, body, message) ||
        !slot_store_statement(replica, slot, message)) {
        replica->failed = true;
        return;
    }
    enum rule const rule = batch_seal_statement(replica, slot, &sign_sink_trust);
    CHECK(rule == RULE_NONE || checker_failed(replica->checker));
    batch_sealed(replica, slot);
    append_slot(replica, slot);
    absorb_evidence(replica, slot);
    note_signed(replica, slot->body.view, slot->seq, &slot->digest);
    effect_send_all(replica, MESSAGE_PRE_PREPARE, buffer_span(&slot->statement),
                    replica->sign_position);
    learn_from_evidence(replica);
}

static bool pipeline_has_room(const struct replica *replica) {
    uint64_t const seq = replica->executed_seq + 1;
    uint32_t const pipeline = replica->configuration->parameters.pipeline;
    return seq <= replica->committed_seq + pipeline && slot_is_open(replica, seq) &&
           may_sign(replica, seq, NULL) && replica->range_token == 0 &&
           !checker_is_closed(replica->checker) && has_room_for_cut(replica) &&
           checker_checkpoint_known(replica->checker);
}

/* Transactions that committed, none waiting, and some time gone by: evidence them now. */
static bool idle_evidence_due(const struct replica *replica) {
    const struct ledger_position *const now = checker_position(replica->checker);
    if (replica->committed_seq != replica->executed_seq || now->evidence_upto == now->seq ||
        replica->now_ms < replica->progress_ms + EVIDENCE_IDLE_MS) {
        return false;
    }
    const struct ledger_position *const evidenced =
        checker_position_at(replica->checker, now->evidence_upto);
    return evidenced != NULL && evidenced->next_index < now->next_index;
}

/*
 * A primary whose disk is an old copy would propose other batches under numbers that it has used.
 * So after a start it first hears as many peers as it needs anyway, and if one of them claims to
 * have executed more, gives the ledger that shows it (check_own_votes) some time to come.
 */
static bool has_listened(struct replica *replica) {
    uint64_t const since =
        replica->progress_ms > replica->started_ms ? replica->progress_ms : replica->started_ms;
    uint32_t known = 1;
    bool is_ahead = false;
    for (uint32_t r = 0; r < replica->configuration->replica_count && !replica->listened; r++) {
        const struct peer *const peer = &replica->peers[r];
        known += peer->known;
        is_ahead |= peer->known && peer->status.executed_seq > replica->executed_seq;
    }
    bool const waited = replica->now_ms >= since + LISTEN_MS;
    replica->listened |= known >= replica->configuration->quorum && (!is_ahead || waited);
    return replica->listened;
}

/* Does a batch that ends or begins a configuration come next? It is empty, and evidences all. */
static bool is_between(const struct replica *replica) {
    return checker_next_kind(replica->checker) != BATCH_NORMAL;
}

/*
 * Is there something to propose now? At once when nothing is under way. While batches are, only
 * when at least half as many requests wait as the last one took: each batch has a price of its
 * own, and what waits goes with the next in a moment.
 */
static bool has_reason(const struct replica *replica) {
    uint32_t const queued = pool_queued(replica->pool);
    if (is_between(replica)) {
        return replica->executed_seq == replica->committed_seq;
    }
    if (queued == 0) {
        return idle_evidence_due(replica);
    }
    return replica->executed_seq == replica->committed_seq ||
           queued >= replica->last_batch_requests / 2;
}

/* The requests of a batch that the view took over, in their order. */
static bool fill_again(struct replica *replica, struct slot *slot,
                       const struct carried_content *content, struct digest *digests) {
    uint32_t const count = (uint32_t)(content->digests.size / DIGEST_SIZE);
    if (count != 0) {
        memcpy(digests, content->digests.data, content->digests.size);
    }
    for (uint32_t i = 0; i < count; i++) {
        struct pool_entry *const entry = pool_find(replica->pool, &digests[i]);
        CHECK(entry != NULL && entry->taken_seq == slot->seq);
        if (!batch_take_request(replica, slot, entry)) {
            return false;
        }
    }
    return true;
}

/* The ledger's rule on how far evidence reaches (§4, §6). */
static bool evidence_suffices(const struct replica *replica, const struct pre_prepare *body) {
    const struct ledger_position *const now = checker_position(replica->checker);
    uint64_t const seq = now->seq + 1;
    bool const is_first_of_view = now->view != 0 && now->seq == now->view_seq;
    bool const ends_or_begins = is_between(replica) && seq > now->view_start;
    return body->evidence_upto + replica->configuration->parameters.pipeline >= seq &&
           (!is_first_of_view || body->evidence_upto + 1 == seq) &&
           (!ends_or_begins || body->evidence_upto + 1 == seq);
}

/* Is it the turn of a batch that the view took over? Then there is no choice. */
static bool has_turn(struct replica *replica, const struct carried_batch *carried) {
    if (!is_primary(replica) || !is_voting(replica) || !pipeline_has_room(replica)) {
        return false;
    }
    return carried != NULL ? carry_find(replica, carried->seq) != NULL
                           : has_reason(replica) && has_listened(replica);
}

bool try_propose(struct replica *replica) {
    const struct carried_batch *const carried =
        checker_carried(replica->checker, replica->executed_seq + 1);
    if (!has_turn(replica, carried)) {
        return false;
    }
    struct slot *const slot = slot_claim(replica, replica->executed_seq + 1);
    struct digest *const digests =
        arena_alloc(&replica->effects->arena, BATCH_CALLS_MAX * sizeof *digests);
    if (digests == NULL || slot->stage != SLOT_EMPTY) {
        replica->failed |= digests == NULL;
        return false;
    }
    uint64_t const mark = engine_mark(replica->engine);
    struct pre_prepare body = {.time_ms = carried == NULL ? replica->wall_ms : carried->time_ms};
    struct pre_prepare_message message = {.request_digests = digests};
    message.evidence = build_evidence(replica, &body);
    if (replica->failed || !evidence_suffices(replica, &body)) {
        return false;
    }
    batch_open(replica, slot);
    if (carried != NULL) {
        const struct carried_content *const content = carry_find(replica, carried->seq);
        message.request_count = (uint32_t)(content->digests.size / DIGEST_SIZE);
        replica->failed |= !fill_again(replica, slot, content, digests);
    } else if (!is_between(replica)) {
        message.request_count = fill_batch(replica, slot, digests);
    }
    if (replica->failed) {
        return false;
    }
    if (carried == NULL && message.request_count == 0 && !is_between(replica) &&
        !idle_evidence_due(replica)) {
        batch_cancel(replica, slot, mark);
        return false;
    }
    replica->last_batch_requests = message.request_count;
    finish_proposal(replica, slot, &body, &message);
    return true;
}
