/*
 * status: who is how far, what to say again, and what to fetch (protocol §5, §7).
 *
 * On a timer every replica tells the others how far it is. One that sees a peer stuck behind it
 * repeats what it said about the next batches; one that is itself far behind asks a peer for a
 * range of the ledger. Status is unsigned and believed only that far.
 */
#include "base/check.h"
#include "consensus/state.h"

/* The highest committed batch that any peer claims. */
static uint64_t highest_claim(const struct replica *replica) {
    uint64_t highest = 0;
    for (uint32_t r = 0; r < replica->configuration->replica_count; r++) {
        const struct peer *const peer = &replica->peers[r];
        if (peer->known && peer->status.committed_seq > highest) {
            highest = peer->status.committed_seq;
        }
    }
    return highest;
}

/*
 * Has it gone over to a later configuration? It need not have committed what ends this one: a new
 * view of the next is reason enough to go over (protocol §9), and its ledger shows that.
 */
static bool peer_is_over(const struct replica *replica, const struct peer *peer) {
    return peer->known && peer->status.config > replica->configuration->number;
}

static bool some_peer_is_over(const struct replica *replica) {
    for (uint32_t r = 0; r < replica->configuration->replica_count; r++) {
        if (peer_is_over(replica, &replica->peers[r])) {
            return true;
        }
    }
    return false;
}

/* Does any peer claim to be in a higher view? */
static bool peer_has_higher_view(const struct replica *replica) {
    uint64_t const view = checker_position(replica->checker)->view;
    for (uint32_t r = 0; r < replica->configuration->replica_count; r++) {
        if (peer_is_current(replica, r) && replica->peers[r].status.view > view) {
            return true;
        }
    }
    return false;
}

/* Does any peer claim to have executed more? */
static bool peer_is_ahead(const struct replica *replica) {
    for (uint32_t r = 0; r < replica->configuration->replica_count; r++) {
        const struct peer *const peer = &replica->peers[r];
        if (peer->known && peer->status.executed_seq > replica->executed_seq) {
            return true;
        }
    }
    return false;
}

static bool is_stuck(const struct replica *replica) {
    bool const has_work = replica->executed_seq > replica->committed_seq ||
                          replica->revealed_seq < replica->committed_seq ||
                          highest_claim(replica) > replica->committed_seq || peer_is_ahead(replica);
    const struct ledger_position *const now = checker_position(replica->checker);
    bool const has_just_entered =
        now->view != 0 && replica->executed_seq < now->view_start && !is_primary(replica);
    if (peer_has_higher_view(replica) || has_just_entered) {
        return true;
    }
    return has_work && replica->now_ms >= replica->progress_ms + STUCK_AFTER_MS;
}

static struct span encode_status(struct replica *replica) {
    const struct ledger_position *const committed =
        checker_position_at(replica->checker, replica->committed_seq);
    CHECK(committed != NULL);
    struct status_message const status = {
        .config = replica->configuration->number,
        .view = checker_position(replica->checker)->view,
        .asked_view = replica->asked_view,
        .executed_seq = replica->executed_seq,
        .committed_seq = replica->committed_seq,
        .evidenced_seq = replica->evidenced_seq,
        .evidenced_entries = committed->entries,
        .wants_answer = is_stuck(replica),
        .suspects = replica->suspects,
    };
    buffer_clear(&replica->encode);
    if (!status_message_encode(&replica->encode, &status)) {
        replica->failed = true;
    }
    return effect_keep(replica, buffer_span(&replica->encode));
}

void send_status(struct replica *replica) {
    effect_send_all(replica, MESSAGE_STATUS, encode_status(replica), 0);
    replica->status_due_ms = replica->now_ms + STATUS_INTERVAL_MS;
}

/*
 * Repeat what this replica said about the next batches of a peer that is stuck. Others' votes are
 * passed on when that was not enough before, since each costs the peer the check of a signature.
 */
static void help(struct replica *replica, uint32_t peer, const struct status_message *status) {
    uint64_t const first = status->committed_seq + 1;
    bool const is_again = replica->peers[peer].helped_first == first;
    replica->peers[peer].helped_first = 0;
    if (status->view < checker_position(replica->checker)->view) {
        send_new_view(replica, peer); /* the batches make no sense to it before */
        return;
    }
    replica->peers[peer].helped_first = first;
    uint64_t const ahead = 2 * (uint64_t)replica->configuration->parameters.pipeline;
    for (uint64_t seq = first; seq < first + ahead && seq <= replica->executed_seq; seq++) {
        struct slot *const slot = slot_find(replica, seq);
        if (slot != NULL) {
            resend_slot(replica, slot, peer);
            if (is_again) {
                relay_votes(replica, slot, peer);
            }
        }
    }
}

/*
 * A peer that is still in the configuration before lacks votes for its last batches, which are made
 * no more: others' are passed on. It may be in none of ours, and so has to be told that there is
 * more.
 */
static void help_over(struct replica *replica, uint32_t peer, const struct status_message *status) {
    effect_send(replica, peer, MESSAGE_STATUS, encode_status(replica), 0);
    for (uint64_t seq = status->committed_seq + 1;
         seq <= config_start(replica) && seq <= status->executed_seq; seq++) {
        struct slot *const slot = slot_find(replica, seq);
        if (slot != NULL) {
            relay_votes(replica, slot, peer);
        }
    }
}

void on_status(struct replica *replica, const struct peer_message *message) {
    struct peer *const peer = &replica->peers[message->from];
    if (peer->known && message->status.committed_seq > peer->status.committed_seq) {
        peer->progress_ms = replica->now_ms;
    }
    peer->known = true;
    peer->status = message->status;
    bool const asks_too_often = replica->now_ms < peer->helped_ms + STATUS_INTERVAL_MS / 2;
    if (!message->status.wants_answer || asks_too_often) {
        return;
    }
    peer->helped_ms = replica->now_ms;
    if (is_current(replica, message->status.config)) {
        help(replica, message->from, &message->status);
    } else if (message->status.config + 1 == replica->configuration->number) {
        help_over(replica, message->from, &message->status);
    }
}

/* ---- requests that a peer lacks ---- */

/* A request of a batch that this replica executed: its bytes are in the batch's entries. */
static struct span request_of_slot(struct replica *replica, uint64_t seq,
                                   const struct digest *digest) {
    struct slot *const slot = slot_find(replica, seq);
    if (slot == NULL || slot->stage != SLOT_EXECUTED) {
        return (struct span){0};
    }
    size_t offset = 0;
    for (uint32_t i = 0; i < slot_request_count(slot); i++) {
        uint32_t size = 0;
        memcpy(&size, slot->entry_sizes.data + i * sizeof size, sizeof size);
        if (digest_equal(&slot->message.request_digests[i], digest)) {
            struct request_entry entry;
            arena_reset(&replica->scratch);
            if (request_entry_decode(&entry, &replica->scratch,
                                     span_of(slot->entries.data + offset, size)) != CODEC_OK) {
                replica->failed = true;
                return (struct span){0};
            }
            return effect_keep(replica, entry.request);
        }
        offset += size;
    }
    return (struct span){0};
}

static struct span request_bytes(struct replica *replica, uint64_t seq,
                                 const struct digest *digest) {
    const struct pool_entry *const entry = pool_find(replica->pool, digest);
    return entry != NULL ? entry->bytes : request_of_slot(replica, seq, digest);
}

void on_fetch_requests(struct replica *replica, const struct peer_message *message) {
    const struct fetch_requests_message *const fetch = &message->fetch_requests;
    struct span *const requests =
        arena_alloc(&replica->effects->arena, WIRE_REQUESTS_MAX * sizeof *requests);
    struct requests_message answer = {.requests = requests};
    size_t size = 0;
    for (uint32_t i = 0; requests != NULL && i < fetch->digest_count; i++) {
        struct span const bytes = request_bytes(replica, fetch->seq, &fetch->digests[i]);
        if (bytes.size != 0 && size + bytes.size < FRAME_SIZE_MAX / 2) {
            requests[answer.count++] = bytes;
            size += bytes.size + 16;
        }
    }
    if (answer.count == 0) {
        return;
    }
    buffer_clear(&replica->encode);
    if (!requests_message_encode(&replica->encode, &answer)) {
        replica->failed = true;
        return;
    }
    effect_send(replica, message->from, MESSAGE_REQUESTS,
                effect_keep(replica, buffer_span(&replica->encode)), 0);
}

/* ---- ranges ---- */

/* What lies on the disk, committed or not: who asks judges all of it. */
static void serve_range(struct replica *replica, uint32_t peer, uint64_t first_entry) {
    const struct replica_identity *const to = replica_peer(replica, peer);
    struct effect *const effect = to == NULL ? NULL : effect_add(replica, EFFECT_SERVE_RANGE);
    if (effect != NULL) {
        effect->serve_range.to = to;
        effect->serve_range.peer = peer;
        effect->serve_range.first_entry = first_entry;
        effect->serve_range.end_entry = replica->disk_entries;
    }
}

void on_fetch_range(struct replica *replica, const struct peer_message *message) {
    if (replica->sign_position > replica->durable_position) {
        return; /* it may hold what must not leave yet; the peer asks again */
    }
    serve_range(replica, message->from, message->fetch_range_first_entry);
}

/* Where a range begins that may part from this ledger: its settled end, or where the last stopped.
 */
static const struct ledger_position *afresh_position(const struct replica *replica) {
    const struct ledger_position *from = NULL;
    if (replica->range_resumes && replica->range_resume_seq >= replica->evidenced_seq) {
        from = checker_position_in(replica->checker, replica->range_resume_seq,
                                   replica->range_resume_view);
    }
    if (from == NULL) {
        from = checker_position_before_views(replica->checker, replica->evidenced_seq);
    }
    return from == NULL ? checker_position(replica->checker) : from;
}

void ask_for_range(struct replica *replica, uint32_t peer, bool afresh) {
    const struct ledger_position *const from =
        afresh ? afresh_position(replica) : checker_position(replica->checker);
    replica->range_asked = true;
    replica->range_afresh = afresh;
    replica->range_peer = peer;
    replica->range_first_entry = from->entries;
    replica->range_first_seq = from->seq;
    replica->range_first_view = from->view;
    replica->range_deadline_ms = replica->now_ms + RANGE_RETRY_MS;
    if (peer == replica->self) {
        serve_range(replica, peer, from->entries);
        return;
    }
    buffer_clear(&replica->encode);
    if (!fetch_range_message_encode(&replica->encode, from->entries)) {
        replica->failed = true;
        return;
    }
    effect_send(replica, peer, MESSAGE_FETCH_RANGE,
                effect_keep(replica, buffer_span(&replica->encode)), 0);
}

/*
 * The next peer after the last one asked that claims to be ahead of this replica; or else, while
 * ranges follow each other, the last one again: it has said how far it is some time ago.
 */
static bool choose_peer(const struct replica *replica, uint32_t *chosen) {
    uint32_t const count = replica->configuration->replica_count;
    for (uint32_t i = 1; i <= count; i++) {
        uint32_t const r = (replica->range_peer + i) % count;
        const struct peer *const peer = &replica->peers[r];
        if (r != replica->self && peer->known && replica->now_ms >= peer->range_after_ms &&
            (peer->status.committed_seq > replica->executed_seq || peer_is_over(replica, peer))) {
            *chosen = r;
            return true;
        }
    }
    *chosen = replica->range_peer;
    return replica->catching_up &&
           replica->now_ms >= replica->peers[replica->range_peer].range_after_ms;
}

/* The first batch of the configuration does not stand here: perhaps behind another boundary? */
static bool boundary_is_in_doubt(const struct replica *replica) {
    const struct slot *const next = &replica->slots[(replica->executed_seq + 1) % SLOTS_MAX];
    return checker_may_leave(replica->checker) && replica->executed_seq == config_start(replica) &&
           next->seq == replica->executed_seq + 1 && next->refused && !is_primary(replica);
}

/* Ask for a range when messages alone will not close the gap, or have not for a while. */
void catch_up_tick(struct replica *replica) {
    if (replica->range_asked && replica->now_ms >= replica->range_deadline_ms) {
        range_was_useless(replica, RANGE_RETRY_MS);
    }
    uint64_t const highest = highest_claim(replica);
    uint64_t const pipeline = replica->configuration->parameters.pipeline;
    bool const far_behind = highest > replica->executed_seq + 2 * pipeline;
    bool const waited = (highest > replica->executed_seq || some_peer_is_over(replica)) &&
                        replica->now_ms >= replica->progress_ms + 2 * STUCK_AFTER_MS;
    uint32_t peer =
        configuration_primary(replica->configuration, checker_position(replica->checker)->view);
    if (boundary_is_in_doubt(replica) && replica->range_token == 0 && !replica->range_asked &&
        replica->now_ms >= replica->peers[peer].range_after_ms) {
        ask_for_range(replica, peer, true);
        return;
    }
    if (replica->range_token != 0 || replica->range_asked || view_waits_for_range(replica) ||
        (!far_behind && !waited && !replica->catching_up) ||
        !checker_checkpoint_known(replica->checker) || !choose_peer(replica, &peer)) {
        return;
    }
    /* Only in one view, and both on disk, do two ledgers end at comparable places. */
    bool const is_elsewhere =
        replica->held || !peer_is_current(replica, peer) ||
        replica->peers[peer].status.view != checker_position(replica->checker)->view;
    ask_for_range(replica, peer, is_elsewhere || replica->range_parted);
}
