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
                     slot_self(replica, slot), slot->body.view, slot->seq, &batch_digest);
    return true;
}

/* What the replica `from` has committed itself to in this batch; NULL: not known yet. */
static const struct digest *commitment_of(const struct replica *replica, const struct slot *slot,
                                          uint32_t from) {
    if (slot->stage == SLOT_EMPTY) {
        return NULL;
    }
    if (from == slot_primary(replica, slot)) {
        return &slot->body.nonce_hash;
    }
    return (slot->prepared_by & bit(from)) != 0 ? &slot->votes[from].nonce_hash : NULL;
}

static bool nonce_fits(const struct replica *replica, const struct slot *slot, uint32_t from,
                       const struct nonce *nonce) {
    const struct digest *const committed = commitment_of(replica, slot, from);
    struct digest const hash = nonce_commit(&replica->configuration->service, slot->body.config,
                                            from, slot->body.view, slot->seq, nonce);
    return committed != NULL && digest_equal(&hash, committed);
}

void slot_check_nonce(struct replica *replica, struct slot *slot, uint32_t from) {
    if ((slot->nonces_come & bit(from)) == 0 || commitment_of(replica, slot, from) == NULL) {
        return; /* its statement is still to come */
    }
    if (nonce_fits(replica, slot, from, &slot->nonces[from])) {
        slot->nonces_good |= bit(from);
    } else {
        slot->nonces_come &= ~bit(from);
        effect_note(replica, NOTE_NONCE_REFUSED, from, slot->seq, RULE_EVIDENCE_NONCE);
    }
}

void slot_recount(struct replica *replica, struct slot *slot) {
    uint32_t const count = slot_configuration(replica, slot)->replica_count;
    slot->prepared_by = 0;
    slot->nonces_good = 0;
    for (uint32_t r = 0; r < count; r++) {
        if (slot->votes[r].present &&
            digest_equal(&slot->votes[r].pre_prepare_digest, &slot->digest)) {
            slot->prepared_by |= bit(r);
        }
    }
    for (uint32_t r = 0; r < count; r++) {
        slot_check_nonce(replica, slot, r);
    }
}

void restore_votes(struct replica *replica, struct slot *slot, uint64_t signers,
                   const struct signature *signatures, const struct digest *nonce_hashes) {
    uint32_t at = 0;
    uint32_t const count = slot_configuration(replica, slot)->replica_count;
    for (uint32_t r = 0; r < count; r++) {
        if ((signers >> r & 1) == 0) {
            continue;
        }
        if ((slot->prepared_by & bit(r)) == 0) {
            slot->votes[r] = (struct vote){
                .present = true,
                .pre_prepare_digest = slot->digest,
                .nonce_hash = nonce_hashes[at],
                .signature = signatures[at],
            };
            slot->prepared_by |= bit(r);
            slot_check_nonce(replica, slot, r);
        }
        at++;
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

void make_vote(struct replica *replica, struct slot *slot) {
    struct prepare prepare;
    struct vote *const vote = &slot->votes[replica->self];
    if (!own_prepare(replica, slot, &prepare) ||
        !sign_prepare(replica, &prepare, &vote->signature)) {
        replica->failed = true;
        return;
    }
    note_signed(replica, slot->body.view, slot->seq, &slot->digest);
    vote->present = true;
    vote->pre_prepare_digest = slot->digest;
    vote->nonce_hash = prepare.nonce_hash;
    slot->prepared_by |= bit(replica->self);
}

static void sign_vote(struct replica *replica, struct slot *slot) {
    make_vote(replica, slot);
    effect_send_all(replica, MESSAGE_PREPARE, effect_keep(replica, buffer_span(&replica->encode)),
                    replica->sign_position);
}

/*
 * Votes go in order. What the ledger evidences needs none; what this replica may not sign, since it
 * cannot know what it signed before, it passes over; what outruns its disk it waits with.
 */
bool try_vote(struct replica *replica) {
    const struct ledger_position *const now = checker_position(replica->checker);
    uint64_t const pipeline = replica->configuration->parameters.pipeline;
    bool moved = false;
    if (!is_voting(replica) || replica->range_token != 0) {
        return false;
    }
    if (replica->voted_seq < now->evidence_upto) {
        replica->voted_seq = now->evidence_upto;
    }
    while (replica->voted_seq < replica->executed_seq && !replica->failed) {
        struct slot *const slot = slot_find(replica, replica->voted_seq + 1);
        CHECK(slot != NULL && slot->stage == SLOT_EXECUTED);
        bool const is_own = slot_primary(replica, slot) == replica->self;
        if (slot->seq > replica->durable_seq + pipeline) {
            return moved;
        }
        if (!is_own && slot->body.view == now->view &&
            may_sign(replica, slot->seq, &slot->digest)) {
            sign_vote(replica, slot);
            moved = true;
        }
        replica->voted_seq = slot->seq;
    }
    return moved;
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
    if (replica->peers[body->replica].conflicts++ >= CONFLICTS_MAX) {
        return;
    }
    effect_note(replica, NOTE_CONFLICT, body->replica, body->seq, RULE_NONE);
    buffer_clear(&replica->encode);
    if (!prepare_encode(&replica->encode, &first)) {
        replica->failed = true;
        return;
    }
    struct span const first_body = effect_keep(replica, buffer_span(&replica->encode));
    struct effect *const effect = effect_add(replica, EFFECT_EVIDENCE);
    if (effect != NULL) {
        effect->evidence.label = LABEL_PREPARE;
        effect->evidence.replica = body->replica;
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

/*
 * A vote that counts stays, but for one case: its author signed another one for the same batch,
 * and somebody passes that on together with a nonce that fits it (relay_votes).
 */
static bool is_replaced(const struct slot *slot, const struct vote *vote,
                        const struct peer_message *message, bool differs, bool fits_here) {
    uint32_t const author = message->prepare.body.replica;
    if (!vote->present) {
        return true;
    }
    bool const counts = (slot->prepared_by & bit(author)) != 0;
    bool const is_open = message->from != author && (slot->nonces_good & bit(author)) == 0;
    return differs && fits_here && (!counts || is_open);
}

void on_prepare(struct replica *replica, const struct peer_message *message) {
    const struct prepare *const body = &message->prepare.body;
    uint32_t const author = body->replica;
    struct slot *const slot = slot_for_message(replica, body->config, body->view, body->seq);
    if (slot == NULL || message->from == replica->self || author == replica->self ||
        author == configuration_primary(replica->configuration, body->view)) {
        return;
    }
    struct vote *const vote = &slot->votes[author];
    bool const differs =
        vote->present && (!digest_equal(&vote->pre_prepare_digest, &body->pre_prepare_digest) ||
                          !digest_equal(&vote->nonce_hash, &body->nonce_hash));
    if (differs) {
        note_conflict(replica, vote, message);
    }
    bool const fits_here =
        slot->stage != SLOT_EMPTY && digest_equal(&body->pre_prepare_digest, &slot->digest);
    if (!is_replaced(slot, vote, message, differs, fits_here)) {
        return;
    }
    *vote = (struct vote){
        .present = true,
        .pre_prepare_digest = body->pre_prepare_digest,
        .nonce_hash = body->nonce_hash,
        .signature = message->prepare.statement.signature,
    };
    if (fits_here) {
        slot->prepared_by |= bit(author);
        slot_check_nonce(replica, slot, author);
    }
}

/* ---- commit ---- */

void on_commit(struct replica *replica, const struct peer_message *message) {
    const struct commit_message *const commit = &message->commit;
    uint32_t const from = commit->replica;
    struct slot *const slot = slot_for_message(replica, commit->config, commit->view, commit->seq);
    if (slot == NULL || message->from == replica->self || from == replica->self ||
        (slot->nonces_good & bit(from)) != 0) {
        return;
    }
    /* Passed on by somebody else it counts only when it fits at once: it could be made up. */
    if (message->from != from && !nonce_fits(replica, slot, from, &commit->nonce)) {
        return;
    }
    slot->nonces[from] = commit->nonce;
    slot->nonces_come |= bit(from);
    slot_check_nonce(replica, slot, from);
}

uint64_t reveal_after(const struct replica *replica, const struct slot *slot) {
    return slot->reveal_position > replica->sign_position ? slot->reveal_position
                                                          : replica->sign_position;
}

/* A nonce as a message: this replica's own, or one that it passes on. */
static struct span encode_commit(struct replica *replica, const struct slot *slot,
                                 uint32_t author) {
    struct commit_message const commit = {
        .config = slot->body.config,
        .view = slot->body.view,
        .seq = slot->seq,
        .replica = author,
        .nonce = slot->nonces[author],
    };
    buffer_clear(&replica->encode);
    if (!commit_message_encode(&replica->encode, &commit)) {
        replica->failed = true;
    }
    return effect_keep(replica, buffer_span(&replica->encode));
}

/*
 * A nonce claims all that the view took over, too, though the batch may come before its end: then
 * the certificate for that end is put down first (§6).
 */
static void journal_anchor(struct replica *replica, uint64_t seq) {
    const struct ledger_position *const now = checker_position(replica->checker);
    const struct slot *const anchor = slot_find(replica, now->view_start);
    if (seq >= now->view_start || now->view_start <= now->evidence_upto ||
        replica->anchored_view == now->view) {
        return;
    }
    CHECK(anchor != NULL && slot_is_certified(replica, anchor));
    struct journal_record const record = journal_certificate(replica, anchor, JOURNAL_PREPARED);
    (void)effect_journal(replica, &record);
    replica->anchored_view = now->view;
}

/*
 * One that has gone over says no more in the configuration before (protocol §9), but for this: a
 * range that did not hold may have thrown it back, and to go over again it must count what it said.
 */
static bool may_reveal(const struct replica *replica, const struct slot *slot) {
    struct rank const rank = {.view = slot->body.view, .seq = slot->seq};
    return is_voting(replica) ||
           (may_speak(replica) && rank_compare(rank, replica->best_rank) <= 0);
}

static bool try_reveal(struct replica *replica) {
    struct slot *const slot = slot_find(replica, replica->revealed_seq + 1);
    if (replica->range_token != 0) {
        return false; /* what the ledger seems to evidence, nobody has verified yet */
    }
    if (slot == NULL || !may_reveal(replica, slot) || replica->held || !has_anchor(replica) ||
        !slot_is_certified(replica, slot) || !has_signed(replica, slot)) {
        return false;
    }
    struct nonce nonce;
    if (!slot_own_nonce(replica, slot, &nonce)) {
        replica->failed = true;
        return false;
    }
    if (!is_primary(replica) && (slot->prepared_by & bit(replica->self)) == 0) {
        make_vote(replica, slot); /* as it was: whoever passes the nonce on needs it, too */
    }
    journal_anchor(replica, slot->seq);
    struct journal_record const record = journal_certificate(replica, slot, JOURNAL_NONCE);
    slot->reveal_position = effect_journal(replica, &record);
    slot->nonces[replica->self] = nonce;
    slot->revealed = true;
    replica->revealed_seq = slot->seq;
    effect_send_all(replica, MESSAGE_COMMIT, encode_commit(replica, slot, replica->self),
                    reveal_after(replica, slot));
    reply_batch(replica, slot, is_primary(replica));
    return true;
}

static bool is_committed(const struct replica *replica, const struct slot *slot) {
    uint32_t const primary = slot_primary(replica, slot);
    return slot_is_certified(replica, slot) && (slot->nonces_good >> primary & 1) != 0 &&
           (uint32_t)__builtin_popcountll(slot->nonces_good) >=
               slot_configuration(replica, slot)->quorum;
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
    replica->commit_ms = replica->now_ms;
    /* Who asks for a view and only catches up meanwhile has not seen any view succeed. */
    if (slot->seq > checker_position(replica->checker)->view_start && !is_changing_view(replica)) {
        replica->failed_views = 0;
    }
}

static bool try_commit(struct replica *replica) {
    struct slot *const slot = slot_find(replica, replica->committed_seq + 1);
    if (slot == NULL || replica->held || !is_committed(replica, slot)) {
        return false;
    }
    commit_slot(replica, slot);
    settle(replica);
    return true;
}

void check_own_votes(struct replica *replica, const struct slot *slot) {
    const struct pre_prepare *const body = &slot->body;
    bool const is_own = configuration_primary(replica->configuration, body->view) == replica->self;
    if (!is_member(replica) || slot->seq <= config_start(replica)) {
        return; /* nothing that it could still say there */
    }
    bool forgotten = is_own && !may_have_sent(replica, body->view, slot->seq);
    for (uint32_t i = 0; i < body->evidence_count; i++) {
        uint64_t const seq = body->evidence_upto - body->evidence_count + 1 + i;
        const struct slot *const evidenced = slot_find(replica, seq);
        if (seq <= config_start(replica)) {
            continue; /* by the positions of the configuration before */
        }
        bool const is_ours = (body->evidence_signers[i] >> replica->self & 1) != 0;
        forgotten |= is_ours && evidenced != NULL && evidenced->stage != SLOT_EMPTY &&
                     !may_have_signed(replica, evidenced->body.view, seq);
    }
    if (forgotten) {
        note_forgotten(replica, slot->seq);
    }
}

static void absorb_one(struct replica *replica, struct slot *slot, uint64_t signers,
                       const struct batch_evidence *evidence) {
    uint32_t const primary = slot_primary(replica, slot);
    const struct signature *signature = evidence->signatures;
    const struct nonce *nonce = evidence->nonces;
    for (uint32_t r = 0; r < slot_configuration(replica, slot)->replica_count; r++) {
        if ((signers >> r & 1) == 0) {
            continue;
        }
        if (r != primary) {
            slot->votes[r] = (struct vote){
                .present = true,
                .pre_prepare_digest = slot->digest,
                .nonce_hash = nonce_commit(&replica->configuration->service, slot->body.config, r,
                                           slot->body.view, slot->seq, nonce),
                .signature = *signature++,
            };
            slot->prepared_by |= bit(r);
        }
        slot->nonces[r] = *nonce++;
        slot->nonces_come |= bit(r);
        slot->nonces_good |= bit(r);
    }
}

void absorb_evidence(struct replica *replica, const struct slot *slot) {
    const struct pre_prepare *const body = &slot->body;
    struct evidence evidence;
    if (body->evidence_count == 0) {
        return;
    }
    arena_reset(&replica->scratch);
    if (evidence_decode(&evidence, &replica->scratch, slot->message.evidence) != CODEC_OK ||
        evidence.batch_count != body->evidence_count) {
        replica->failed = true; /* the checker has accepted it: memory is short */
        return;
    }
    for (uint32_t i = 0; i < evidence.batch_count; i++) {
        struct slot *const evidenced = slot_find(replica, evidence.batches[i].seq);
        bool const is_foreign = evidence.batches[i].seq <= config_start(replica) &&
                                replica->before == NULL; /* by keys that are not at hand any more */
        if (evidenced != NULL && evidenced->stage == SLOT_EXECUTED && !is_foreign) {
            absorb_one(replica, evidenced, body->evidence_signers[i], &evidence.batches[i]);
        }
    }
}

void commit_upto(struct replica *replica, uint64_t seq) {
    while (replica->committed_seq < seq) {
        struct slot *const slot = slot_find(replica, replica->committed_seq + 1);
        CHECK(slot != NULL && slot->stage == SLOT_EXECUTED);
        commit_slot(replica, slot);
    }
}

void learn_from_evidence(struct replica *replica) {
    uint64_t const upto = checker_position(replica->checker)->evidence_upto;
    if (replica->held) {
        return; /* once the disk has it, too */
    }
    commit_upto(replica, upto);
    if (replica->revealed_seq < upto) {
        replica->revealed_seq = upto; /* nobody needs this replica's nonce any more */
    }
    settle(replica);
}

/*
 * Its own nonce counts once it may leave: with a commit the nonce goes into the evidence of the
 * next proposal, which waits for no disk.
 */
static void count_own_nonces(struct replica *replica) {
    for (uint64_t seq = replica->committed_seq + 1; seq <= replica->revealed_seq; seq++) {
        struct slot *const slot = slot_find(replica, seq);
        if (slot != NULL && slot->revealed && slot_self(replica, slot) < REPLICAS_MAX &&
            reveal_after(replica, slot) <= replica->durable_position) {
            slot->nonces_come |= bit(slot_self(replica, slot));
            slot->nonces_good |= bit(slot_self(replica, slot));
        }
    }
}

bool try_finish(struct replica *replica) {
    bool moved = false;
    learn_durable(replica);
    count_own_nonces(replica);
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
    if (slot->stage != SLOT_EXECUTED || !may_speak(replica) || slot->seq <= config_start(replica) ||
        !has_signed(replica, slot)) {
        return;
    }
    if (slot_primary(replica, slot) == replica->self) {
        effect_send(replica, peer, MESSAGE_PRE_PREPARE,
                    effect_keep(replica, buffer_span(&slot->statement)), replica->sign_position);
    } else {
        struct prepare prepare;
        struct signature signature;
        if (!own_prepare(replica, slot, &prepare) || !sign_prepare(replica, &prepare, &signature)) {
            replica->failed = true;
            return;
        }
        effect_send(replica, peer, MESSAGE_PREPARE,
                    effect_keep(replica, buffer_span(&replica->encode)), replica->sign_position);
    }
    if (slot->revealed) {
        effect_send(replica, peer, MESSAGE_COMMIT, encode_commit(replica, slot, replica->self),
                    reveal_after(replica, slot));
    }
}

/* The prepare of a backup that counts here, as its author signed it. */
static struct span encode_vote(struct replica *replica, const struct slot *slot, uint32_t author) {
    struct prepare const prepare = {
        .config = slot->body.config,
        .view = slot->body.view,
        .seq = slot->seq,
        .replica = author,
        .pre_prepare_digest = slot->digest,
        .nonce_hash = slot->votes[author].nonce_hash,
    };
    buffer_clear(&replica->encode);
    bool encoded = prepare_encode(&replica->encode, &prepare);
    struct signed_body const statement = {
        .body = effect_keep(replica, buffer_span(&replica->encode)),
        .signature = slot->votes[author].signature,
    };
    buffer_clear(&replica->encode);
    encoded = encoded && signed_encode(&replica->encode, &statement);
    replica->failed |= !encoded;
    return effect_keep(replica, buffer_span(&replica->encode));
}

void relay_votes(struct replica *replica, const struct slot *slot, uint32_t peer) {
    bool const is_committed = slot->stage == SLOT_EXECUTED && slot->seq <= replica->committed_seq;
    /* Of the configuration before this replica's own vote is one like the others. */
    bool const is_before = slot->seq <= config_start(replica);
    uint32_t const count = slot_configuration(replica, slot)->replica_count;
    for (uint32_t r = 0; is_committed && r < count; r++) {
        bool const is_known = !is_before && (r == peer || r == replica->self);
        if (is_known || (slot->nonces_good >> r & 1) == 0) {
            continue;
        }
        /* Nothing of its own leaves before the journal has this start, not even old words. */
        uint64_t const after = r == slot_self(replica, slot) ? replica->sign_position : 0;
        if ((slot->prepared_by >> r & 1) != 0) {
            effect_send(replica, peer, MESSAGE_PREPARE, encode_vote(replica, slot, r), after);
        }
        effect_send(replica, peer, MESSAGE_COMMIT, encode_commit(replica, slot, r), after);
    }
}

/* ---- what a committed batch can be evidenced with ---- */

/*
 * Q signers of a committed batch: the primary, then backups in turn, so that over a few batches the
 * ledger shows everybody's votes. One bitmap for both parts.
 */
uint64_t slot_choose_signers(const struct replica *replica, const struct slot *slot) {
    uint32_t const primary = slot_primary(replica, slot);
    uint32_t const replica_count = slot_configuration(replica, slot)->replica_count;
    uint32_t const quorum = slot_configuration(replica, slot)->quorum;
    uint64_t const able = slot->prepared_by & slot->nonces_good;
    uint64_t signers = UINT64_C(1) << primary;
    uint32_t count = 1;
    for (uint32_t i = 0; i < replica_count && count < quorum; i++) {
        uint32_t const r = (uint32_t)((slot->seq + i) % replica_count);
        if (r != primary && (able >> r & 1) != 0) {
            signers |= UINT64_C(1) << r;
            count++;
        }
    }
    CHECK(count == quorum);
    return signers;
}

void slot_gather(const struct replica *replica, const struct slot *slot, uint64_t signers,
                 struct evidence_parts *parts, struct batch_evidence *out) {
    uint32_t const primary = slot_primary(replica, slot);
    *out = (struct batch_evidence){
        .seq = slot->seq, .signatures = parts->signatures, .nonces = parts->nonces};
    for (uint32_t r = 0; r < slot_configuration(replica, slot)->replica_count; r++) {
        if ((signers >> r & 1) == 0) {
            continue;
        }
        parts->nonces[out->nonce_count++] = slot->nonces[r];
        if (r != primary) {
            parts->signatures[out->signature_count++] = slot->votes[r].signature;
        }
    }
}

/*
 * Can this replica itself evidence the batch? After a restart, or after learning from the ledger
 * that a batch committed, it may not hold all its parts.
 */
bool slot_can_evidence(const struct replica *replica, const struct slot *slot) {
    uint32_t const primary = slot_primary(replica, slot);
    uint64_t const able = slot->prepared_by & slot->nonces_good;
    return (slot->nonces_good >> primary & 1) != 0 &&
           (uint32_t)__builtin_popcountll(able) + 1 >= slot_configuration(replica, slot)->quorum;
}
