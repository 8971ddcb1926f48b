/*
 * vote: prepares, nonces, and what follows from enough of them (protocol §5 steps 3 to 5).
 *
 * A vote counts for the digest it names. Nonces are revealed in the order of sequence numbers and
 * only for what was executed here; batches commit in that order too.
 */
#include "base/check.h"
#include "consensus/state.h"
#include "ledger/nonce.h"

static uint64_t bit(uint32_t replica) {
    return UINT64_C(1) << replica;
}

bool slot_own_nonce(const struct replica *replica, const struct slot *slot, struct nonce *nonce) {
    struct digest batch_digest;
    if (!pre_prepare_batch_digest(&batch_digest, &replica->configuration->service, &slot->body)) {
        return false;
    }
    *nonce =
        nonce_derive(&replica->configuration->service, replica->nonce_secret, slot->body.config,
                     replica->self, slot->body.view, slot->seq, &batch_digest);
    return true;
}

void slot_check_nonce(struct replica *replica, struct slot *slot, uint32_t from) {
    const struct configuration *const configuration = replica->configuration;
    if (slot->stage == SLOT_EMPTY || (slot->nonces_come & bit(from)) == 0) {
        return;
    }
    bool const is_primarys = from == configuration_primary(configuration, slot->body.view);
    if (!is_primarys && (slot->prepared_by & bit(from)) == 0) {
        return; /* its prepare is still to come */
    }
    const struct digest *const committed =
        is_primarys ? &slot->body.nonce_hash : &slot->votes[from].nonce_hash;
    struct digest const hash = nonce_commit(&configuration->service, slot->body.config, from,
                                            slot->body.view, slot->seq, &slot->nonces[from]);
    if (digest_equal(&hash, committed)) {
        slot->nonces_good |= bit(from);
    } else {
        slot->nonces_come &= ~bit(from);
        effect_note(replica, NOTE_NONCE_REFUSED, from, slot->seq, RULE_EVIDENCE_NONCE);
    }
}

void slot_recount(struct replica *replica, struct slot *slot) {
    slot->prepared_by = 0;
    slot->nonces_good = 0;
    for (uint32_t r = 0; r < replica->configuration->replica_count; r++) {
        if (slot->votes[r].present &&
            digest_equal(&slot->votes[r].pre_prepare_digest, &slot->digest)) {
            slot->prepared_by |= bit(r);
        }
    }
    for (uint32_t r = 0; r < replica->configuration->replica_count; r++) {
        slot_check_nonce(replica, slot, r);
    }
}

/* ---- prepare ---- */

static bool own_prepare(struct replica *replica, const struct slot *slot, struct prepare *prepare) {
    struct nonce nonce;
    if (!slot_own_nonce(replica, slot, &nonce)) {
        return false;
    }
    *prepare = (struct prepare){
        .config = slot->body.config,
        .view = slot->body.view,
        .seq = slot->seq,
        .replica = replica->self,
        .pre_prepare_digest = slot->digest,
        .nonce_hash = nonce_commit(&replica->configuration->service, slot->body.config,
                                   replica->self, slot->body.view, slot->seq, &nonce),
    };
    return true;
}

/* Encode and sign a prepare into replica->encode, as an encoded Signed. */
static bool sign_prepare(struct replica *replica, const struct prepare *prepare,
                         struct signature *signature) {
    buffer_clear(&replica->encode);
    if (!prepare_encode(&replica->encode, prepare)) {
        return false;
    }
    struct span const body = effect_keep(replica, buffer_span(&replica->encode));
    *signature = sign_labelled(&replica->signing_key, &replica->key, LABEL_PREPARE,
                               &replica->configuration->service, body);
    struct signed_body const statement = {.body = body, .signature = *signature};
    buffer_clear(&replica->encode);
    return signed_encode(&replica->encode, &statement);
}

void vote_for(struct replica *replica, struct slot *slot) {
    uint32_t const primary = configuration_primary(replica->configuration, slot->body.view);
    if (!is_voting(replica) || primary == replica->self) {
        return;
    }
    struct prepare prepare;
    struct vote *const vote = &slot->votes[replica->self];
    if (!own_prepare(replica, slot, &prepare) ||
        !sign_prepare(replica, &prepare, &vote->signature)) {
        replica->failed = true;
        return;
    }
    CHECK(!vote->present || digest_equal(&vote->pre_prepare_digest, &slot->digest));
    vote->present = true;
    vote->pre_prepare_digest = slot->digest;
    vote->nonce_hash = prepare.nonce_hash;
    slot->voted = true;
    slot->prepared_by |= bit(replica->self);
    effect_send_all(replica, MESSAGE_PREPARE, effect_keep(replica, buffer_span(&replica->encode)),
                    slot->position);
}

static void note_conflict(struct replica *replica, const struct vote *vote,
                          const struct peer_message *message) {
    const struct prepare *const body = &message->prepare.body;
    struct prepare const first = {
        .config = body->config,
        .view = body->view,
        .seq = body->seq,
        .replica = body->replica,
        .pre_prepare_digest = vote->pre_prepare_digest,
        .nonce_hash = vote->nonce_hash,
    };
    if (replica->peers[message->from].conflicts++ >= CONFLICTS_MAX) {
        return;
    }
    effect_note(replica, NOTE_CONFLICT, message->from, body->seq, RULE_NONE);
    buffer_clear(&replica->encode);
    if (!prepare_encode(&replica->encode, &first)) {
        replica->failed = true;
        return;
    }
    struct span const first_body = effect_keep(replica, buffer_span(&replica->encode));
    struct effect *const effect = effect_add(replica, EFFECT_EVIDENCE);
    if (effect != NULL) {
        effect->evidence.label = LABEL_PREPARE;
        effect->evidence.replica = message->from;
        effect->evidence.first =
            (struct signed_body){.body = first_body, .signature = vote->signature};
        effect->evidence.second = message->prepare.statement;
    }
}

/* Is a message for this sequence number worth a slot? */
static struct slot *slot_for_message(struct replica *replica, uint64_t config, uint64_t view,
                                     uint64_t seq) {
    if (config != replica->configuration->number ||
        view != checker_position(replica->checker)->view || !slot_is_open(replica, seq)) {
        return NULL;
    }
    return slot_claim(replica, seq);
}

void on_prepare(struct replica *replica, const struct peer_message *message) {
    const struct prepare *const body = &message->prepare.body;
    struct slot *const slot = slot_for_message(replica, body->config, body->view, body->seq);
    if (slot == NULL || message->from == replica->self ||
        message->from == configuration_primary(replica->configuration, body->view)) {
        return;
    }
    struct vote *const vote = &slot->votes[message->from];
    bool const differs =
        vote->present && (!digest_equal(&vote->pre_prepare_digest, &body->pre_prepare_digest) ||
                          !digest_equal(&vote->nonce_hash, &body->nonce_hash));
    if (differs) {
        note_conflict(replica, vote, message);
    }
    bool const fits_here =
        slot->stage != SLOT_EMPTY && digest_equal(&body->pre_prepare_digest, &slot->digest);
    if (vote->present &&
        (!differs || !fits_here || (slot->prepared_by & bit(message->from)) != 0)) {
        return;
    }
    *vote = (struct vote){
        .present = true,
        .pre_prepare_digest = body->pre_prepare_digest,
        .nonce_hash = body->nonce_hash,
        .signature = message->prepare.statement.signature,
    };
    if (fits_here) {
        slot->prepared_by |= bit(message->from);
        slot_check_nonce(replica, slot, message->from);
    }
}

/* ---- commit ---- */

void on_commit(struct replica *replica, const struct peer_message *message) {
    const struct commit_message *const commit = &message->commit;
    struct slot *const slot = slot_for_message(replica, commit->config, commit->view, commit->seq);
    if (slot == NULL || message->from == replica->self ||
        (slot->nonces_good & bit(message->from)) != 0) {
        return;
    }
    slot->nonces[message->from] = commit->nonce;
    slot->nonces_come |= bit(message->from);
    slot_check_nonce(replica, slot, message->from);
}

static bool is_prepared(const struct replica *replica, const struct slot *slot) {
    return slot->stage == SLOT_EXECUTED &&
           (uint32_t)__builtin_popcountll(slot->prepared_by) + 1 >= replica->configuration->quorum;
}

/* The journal's record of what is about to be revealed, with the certificate that allows it. */
static void journal_reveal(struct replica *replica, struct slot *slot) {
    const struct ledger_position *const now = checker_position(replica->checker);
    uint32_t const wanted = replica->configuration->quorum - 1;
    struct signature signatures[REPLICAS_MAX];
    struct digest nonce_hashes[REPLICAS_MAX];
    struct journal_record record = {
        .config = slot->body.config,
        .view = slot->body.view,
        .seq = slot->seq,
        .ledger_seq = now->seq,
        .ledger_entries = now->entries,
        .pre_prepare_digest = slot->digest,
    };
    for (uint32_t r = 0; record.signature_count < wanted; r++) {
        CHECK(r < replica->configuration->replica_count);
        if ((slot->prepared_by & bit(r)) != 0) {
            record.signers |= bit(r);
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
    struct effect *const effect = effect_add(replica, EFFECT_JOURNAL);
    if (effect != NULL) {
        effect->journal.position = ++replica->disk_position;
        effect->journal.record = record;
        slot->reveal_position = replica->disk_position;
    }
}

static void send_commit(struct replica *replica, const struct slot *slot, uint32_t peer,
                        bool to_all) {
    struct commit_message const commit = {
        .config = slot->body.config,
        .view = slot->body.view,
        .seq = slot->seq,
        .replica = replica->self,
        .nonce = slot->nonces[replica->self],
    };
    buffer_clear(&replica->encode);
    if (!commit_message_encode(&replica->encode, &commit)) {
        replica->failed = true;
        return;
    }
    struct span const payload = effect_keep(replica, buffer_span(&replica->encode));
    if (to_all) {
        effect_send_all(replica, MESSAGE_COMMIT, payload, slot->reveal_position);
    } else {
        effect_send(replica, peer, MESSAGE_COMMIT, payload, slot->reveal_position);
    }
}

static bool try_reveal(struct replica *replica) {
    struct slot *const slot = slot_find(replica, replica->revealed_seq + 1);
    if (slot == NULL || !is_voting(replica) || !is_prepared(replica, slot)) {
        return false;
    }
    struct nonce nonce;
    if (!slot_own_nonce(replica, slot, &nonce)) {
        replica->failed = true;
        return false;
    }
    journal_reveal(replica, slot);
    slot->nonces[replica->self] = nonce;
    slot->nonces_come |= bit(replica->self);
    slot->nonces_good |= bit(replica->self);
    slot->revealed = true;
    replica->revealed_seq = slot->seq;
    send_commit(replica, slot, 0, true);
    reply_batch(replica, slot, is_primary(replica));
    return true;
}

static bool is_committed(const struct replica *replica, const struct slot *slot) {
    uint32_t const primary = configuration_primary(replica->configuration, slot->body.view);
    return is_prepared(replica, slot) && (slot->nonces_good >> primary & 1) != 0 &&
           (uint32_t)__builtin_popcountll(slot->nonces_good) >= replica->configuration->quorum;
}

/* What the ledger evidences up to the last committed batch is settled for good. */
static void settle(struct replica *replica) {
    const struct ledger_position *const at =
        checker_position_at(replica->checker, replica->committed_seq);
    CHECK(at != NULL);
    if (at->evidence_upto <= replica->evidenced_seq) {
        return;
    }
    uint64_t const before = replica->evidenced_seq;
    replica->evidenced_seq = at->evidence_upto;
    struct slot *const last = slot_find(replica, replica->evidenced_seq);
    CHECK(last != NULL);
    engine_settle(replica->engine, last->engine_mark);
    checker_settle(replica->checker, replica->evidenced_seq);
    for (uint64_t seq = before + 1; seq <= replica->evidenced_seq; seq++) {
        struct slot *const slot = slot_find(replica, seq);
        CHECK(slot != NULL);
        /* Effects of this step point into what this step appended: let a later batch reuse it. */
        if (slot->position <= replica->step_position) {
            slot_shrink(slot);
        }
    }
}

static void commit_slot(struct replica *replica, struct slot *slot) {
    for (uint32_t i = 0; i < slot->message.request_count; i++) {
        struct pool_entry *const entry =
            pool_find(replica->pool, &slot->message.request_digests[i]);
        if (entry != NULL) {
            pool_remove(replica->pool, entry);
        }
    }
    replica->committed_seq = slot->seq;
    replica->progress_ms = replica->now_ms;
}

static bool try_commit(struct replica *replica) {
    struct slot *const slot = slot_find(replica, replica->committed_seq + 1);
    if (slot == NULL || !is_committed(replica, slot)) {
        return false;
    }
    commit_slot(replica, slot);
    settle(replica);
    return true;
}

void check_own_votes(struct replica *replica, const struct slot *slot) {
    const struct pre_prepare *const body = &slot->body;
    bool forgotten = !slot->voted && configuration_primary(replica->configuration, body->view) ==
                                         replica->self; /* its own proposal */
    for (uint32_t i = 0; i < body->evidence_count; i++) {
        uint64_t const seq = body->evidence_upto - body->evidence_count + 1 + i;
        const struct slot *const evidenced = slot_find(replica, seq);
        bool const is_ours = (body->evidence_signers[i] >> replica->self & 1) != 0;
        forgotten |= is_ours && seq > replica->loaded_seq && evidenced != NULL && !evidenced->voted;
    }
    if (forgotten && replica->guard == GUARD_NONE) {
        replica_engage_guard(replica, GUARD_SIGNED_ELSEWHERE);
        effect_note(replica, NOTE_GUARD, replica->self, slot->seq, RULE_NONE);
    }
}

void learn_from_evidence(struct replica *replica) {
    uint64_t const upto = checker_position(replica->checker)->evidence_upto;
    while (replica->committed_seq < upto) {
        struct slot *const slot = slot_find(replica, replica->committed_seq + 1);
        CHECK(slot != NULL && slot->stage == SLOT_EXECUTED);
        commit_slot(replica, slot);
    }
    if (replica->revealed_seq < upto) {
        replica->revealed_seq = upto; /* nobody needs this replica's nonce any more */
    }
    settle(replica);
}

bool try_finish(struct replica *replica) {
    bool moved = false;
    while (try_reveal(replica)) {
        moved = true;
    }
    while (try_commit(replica)) {
        moved = true;
    }
    start_checkpoint(replica);
    return moved;
}

/* ---- saying it again ---- */

void resend_slot(struct replica *replica, const struct slot *slot, uint32_t peer) {
    if (slot->stage != SLOT_EXECUTED || !is_voting(replica)) {
        return;
    }
    if (configuration_primary(replica->configuration, slot->body.view) == replica->self) {
        effect_send(replica, peer, MESSAGE_PRE_PREPARE, buffer_span(&slot->statement),
                    slot->position);
    } else if (slot->voted) {
        struct prepare prepare;
        struct signature signature;
        if (!own_prepare(replica, slot, &prepare) || !sign_prepare(replica, &prepare, &signature)) {
            replica->failed = true;
            return;
        }
        effect_send(replica, peer, MESSAGE_PREPARE,
                    effect_keep(replica, buffer_span(&replica->encode)), slot->position);
    }
    if (slot->revealed) {
        send_commit(replica, slot, peer, false);
    }
}
