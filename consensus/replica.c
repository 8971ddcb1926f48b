/*
 * replica: construction, recovery, and the step that everything goes through. See replica.h.
 */
#include "consensus/replica.h"

#include <stdlib.h>

#include "base/check.h"
#include "consensus/state.h"

/* One request with the outcomes of all its calls, decoded. */
#define SCRATCH_BUDGET (2 * (size_t)ENTRY_SIZE_MAX)

bool is_primary(const struct replica *replica) {
    return configuration_primary(replica->configuration,
                                 checker_position(replica->checker)->view) == replica->self;
}

bool may_speak(const struct replica *replica) {
    return replica->guard == GUARD_NONE && !replica->stopping && replica->started &&
           !is_changing_view(replica) && is_member(replica);
}

bool is_voting(const struct replica *replica) {
    return may_speak(replica) && replica->configuration->number == replica->reached_config;
}

static void incoming_view_init(struct incoming_view *incoming) {
    buffer_init(&incoming->set, VIEW_CHANGE_SET_SIZE_MAX);
    buffer_init(&incoming->entry, STATEMENT_SIZE_MAX + 128u);
    arena_init(&incoming->arena, 16 * (size_t)VIEW_CHANGE_SET_SIZE_MAX);
}

static void incoming_view_free(struct incoming_view *incoming) {
    buffer_free(&incoming->set);
    buffer_free(&incoming->entry);
    arena_free(&incoming->arena);
}

static void buffers_init(struct replica *replica) {
    size_t const one_max = VIEW_CHANGE_SIGNED_SIZE_MAX;
    for (unsigned i = 0; i < REPLICAS_MAX; i++) {
        struct asked *const asked = &replica->asked[i];
        buffer_init(&asked->bytes, one_max);
        buffer_init(&asked->next_bytes, one_max);
        arena_init(&asked->arena, 8 * one_max);
        arena_init(&asked->next_arena, 8 * one_max);
    }
    incoming_view_init(&replica->checked);
    incoming_view_init(&replica->incoming);
}

static void buffers_free(struct replica *replica) {
    for (unsigned i = 0; i < REPLICAS_MAX; i++) {
        struct asked *const asked = &replica->asked[i];
        buffer_free(&asked->bytes);
        buffer_free(&asked->next_bytes);
        arena_free(&asked->arena);
        arena_free(&asked->next_arena);
    }
    for (unsigned i = 0; i < VIEW_UNITS_MAX; i++) {
        buffer_free(&replica->views[i].set);
        buffer_free(&replica->views[i].entry);
    }
    incoming_view_free(&replica->checked);
    incoming_view_free(&replica->incoming);
    buffer_free(&replica->best_bytes);
    buffer_free(&replica->tenures[0].best_bytes);
    buffer_free(&replica->tenures[1].best_bytes);
    carry_free(replica);
    retired_free(replica);
    buffer_free(&replica->retired);
}

struct replica *replica_new(const struct replica_options *options) {
    struct replica *const replica = calloc(1, sizeof *replica);
    if (replica == NULL) {
        return NULL;
    }
    replica->configuration = options->configuration;
    replica->constitution = options->constitution;
    replica->key = options->key;
    if (!replica_find_peer(replica, &options->key, &replica->self)) {
        replica->self = REPLICAS_MAX;
    }
    replica->reached_config = options->configuration->number;
    replica->announced_config = options->configuration->number;
    replica->settled_config = options->configuration->number;
    replica->signing_key = options->signing_key;
    memcpy(replica->nonce_secret, options->nonce_secret, sizeof replica->nonce_secret);
    replica->checker = options->checker;
    replica->engine = options->engine;
    execution_init(&replica->execution);
    replay_init(&replica->replay);
    arena_init(&replica->scratch, SCRATCH_BUDGET);
    buffer_init(&replica->encode, FRAME_SIZE_MAX);
    replica->slots = calloc(SLOTS_MAX, sizeof *replica->slots);
    replica->pool = pool_new(options->configuration, options->limits.pool_requests_max,
                             options->limits.pool_size_max);
    if (replica->slots == NULL || replica->pool == NULL) {
        replica_free(replica);
        return NULL;
    }
    const struct ledger_position *const position = checker_position(replica->checker);
    replica->executed_seq = position->seq;
    replica->committed_seq = position->seq;
    replica->evidenced_seq = position->seq;
    replica->revealed_seq = position->seq;
    replica->loaded_seq = position->seq;
    replica->loaded_view = position->view;
    replica->asked_view = position->view;
    replica->voted_seq = position->seq;
    replica->durable_seq = position->seq;
    replica->disk_entries = position->entries;
    buffer_init(&replica->best_bytes, VIEW_CHANGE_SIZE_MAX);
    buffer_init(&replica->tenures[0].best_bytes, VIEW_CHANGE_SIZE_MAX);
    buffer_init(&replica->tenures[1].best_bytes, VIEW_CHANGE_SIZE_MAX);
    if (replica->constitution != NULL) {
        engine_govern(replica->engine, replica->constitution);
    }
    buffers_init(replica);
    buffer_init(&replica->retired, RETIRED_MAX * sizeof(struct buffer));
    replica->base_mark = engine_mark(replica->engine);
    return replica;
}

void replica_free(struct replica *replica) {
    if (replica == NULL) {
        return;
    }
    for (unsigned i = 0; replica->slots != NULL && i < SLOTS_MAX; i++) {
        slot_free(&replica->slots[i]);
    }
    free(replica->slots);
    free(replica->eras);
    buffers_free(replica);
    pool_free(replica->pool);
    execution_free(&replica->execution);
    replay_free(&replica->replay);
    arena_free(&replica->scratch);
    buffer_free(&replica->encode);
    sign_key_wipe(&replica->signing_key);
    secret_wipe(replica->nonce_secret, sizeof replica->nonce_secret);
    free(replica);
}

/* ---- recovery ---- */

void replica_load_past(struct replica *replica, const struct batch *batch) {
    uint64_t const seq = batch->pre_prepare.seq;
    const struct ledger_position *const now = checker_position(replica->checker);
    if (seq == 0 || seq > now->seq || seq + SLOTS_MAX <= now->seq) {
        return;
    }
    struct pre_prepare_message const message = {.statement = batch->seal.statement,
                                                .evidence = batch->seal.evidence_payload};
    struct slot *const slot = slot_claim(replica, seq);
    slot_reset(slot);
    if (!slot_store_statement(replica, slot, &message)) {
        replica->failed = true;
        return;
    }
    slot->stage = SLOT_EXECUTED;
    slot->engine_mark = replica->base_mark;
    absorb_evidence(replica, slot);
}

static enum rule load_view(struct replica *replica, const struct batch *batch) {
    enum rule const rule = checker_view_add(replica->checker, &batch->view, &sign_sink_trust);
    if (rule == RULE_NONE) {
        append_view(replica, &batch->view, true);
    }
    return rule;
}

static enum rule load_tail(struct replica *replica, const struct batch *batch) {
    enum rule const rule = take_ledger_batch(replica, batch, &sign_sink_trust);
    if (rule == RULE_NONE && !replica->failed) {
        struct slot *const slot = slot_find(replica, replica->executed_seq);
        CHECK(slot != NULL);
        slot->stage = SLOT_EXECUTED;
        replica->loaded_seq = replica->executed_seq;
        absorb_evidence(replica, slot);
        learn_from_evidence(replica);
    }
    return rule;
}

enum rule replica_load_batch(struct replica *replica, const struct batch *batch,
                             enum batch_step step) {
    struct effects discarded;
    effects_init(&discarded);
    replica->effects = &discarded;
    load_configuration(replica, batch, step);
    enum rule const rule =
        step == BATCH_VIEW ? load_view(replica, batch) : load_tail(replica, batch);
    replica->effects = NULL;
    effects_free(&discarded);
    const struct ledger_position *const now = checker_position(replica->checker);
    replica->loaded_view = now->view;
    replica->disk_entries = now->entries;
    return rule;
}

/* Does the ledger hold what this nonce was revealed for, or has it left that view behind? */
static bool ledger_holds(struct replica *replica, const struct journal_record *record) {
    const struct ledger_position *const now = checker_position(replica->checker);
    const struct slot *const slot = slot_find(replica, record->seq);
    if (!is_current(replica, record->config)) {
        return record->config < replica->configuration->number;
    }
    if (record->view != now->view) {
        return record->view < now->view;
    }
    return record->seq <= replica->evidenced_seq ||
           (record->seq <= now->seq && slot != NULL &&
            digest_equal(&slot->digest, &record->pre_prepare_digest));
}

static void load_certificate_record(struct replica *replica, const struct journal_record *record) {
    struct slot *const slot = slot_find(replica, record->seq);
    const struct ledger_position *const now = checker_position(replica->checker);
    if (slot == NULL || slot->stage != SLOT_EXECUTED || !is_member(replica) ||
        !is_current(replica, record->config) ||
        !digest_equal(&slot->digest, &record->pre_prepare_digest)) {
        return;
    }
    restore_votes(replica, slot, record->signers, record->signatures, record->nonce_hashes);
    struct nonce nonce;
    if (record->kind != JOURNAL_NONCE || slot->body.view != now->view) {
        return;
    }
    if (!slot_own_nonce(replica, slot, &nonce)) {
        replica->failed = true;
        return;
    }
    slot->nonces[replica->self] = nonce;
    slot->nonces_come |= UINT64_C(1) << replica->self;
    slot->nonces_good |= UINT64_C(1) << replica->self;
    slot->revealed = true;
    /* The nonce shows that this very batch was signed: it is known again, byte for byte. */
    if (configuration_primary(replica->configuration, slot->body.view) == replica->self) {
        note_signed(replica, slot->body.view, slot->seq, &slot->digest);
    } else {
        make_vote(replica, slot);
    }
    if (record->seq > replica->revealed_seq) {
        replica->revealed_seq = record->seq;
    }
}

/* Of a configuration that the ledger has not reached, or not any more, too. */
static void load_asked_view(struct replica *replica, const struct journal_record *record) {
    if (is_current(replica, record->config) && !is_member(replica)) {
        return; /* it asked for nothing: its ledger was in that view */
    }
    if (is_current(replica, record->config)) {
        replica->asked_view =
            record->view > replica->asked_view ? record->view : replica->asked_view;
    } else if (record->config > replica->configuration->number) {
        bool const is_known = record->config == replica->journal_config;
        replica->journal_view =
            is_known && replica->journal_view > record->view ? replica->journal_view : record->view;
        replica->journal_config = record->config;
    }
}

void replica_load_journal(struct replica *replica, const struct journal_record *record) {
    const struct ledger_position *const now = checker_position(replica->checker);
    struct effects discarded;
    effects_init(&discarded);
    replica->effects = &discarded;
    replica->loaded_kind = record->kind;
    replica->loaded_clean = record->kind == JOURNAL_STOPPED &&
                            is_current(replica, record->config) &&
                            record->ledger_view == now->view && record->ledger_seq == now->seq &&
                            record->ledger_entries == now->entries;
    switch (record->kind) {
    case JOURNAL_NONCE:
        if (!ledger_holds(replica, record)) {
            replica_engage_guard(replica, GUARD_LEDGER_SHORT);
        }
        load_certificate_record(replica, record);
        break;
    case JOURNAL_PREPARED:
        load_certificate_record(replica, record);
        break;
    case JOURNAL_VIEW:
    case JOURNAL_STARTED:
    case JOURNAL_STOPPED:
        load_asked_view(replica, record);
        break;
    }
    replica->effects = NULL;
    effects_free(&discarded);
}

/* The ledger shows all that was signed: the tail may be voted for again, with the same bytes. */
static void load_signed(struct replica *replica) {
    const struct ledger_position *const now = checker_position(replica->checker);
    for (uint64_t seq = now->evidence_upto + 1; seq <= now->seq; seq++) {
        struct slot *const slot = slot_find(replica, seq);
        if (slot != NULL && slot->body.view == now->view && seq > now->config_start) {
            note_signed(replica, now->view, seq, &slot->digest);
        }
    }
}

void replica_load_done(struct replica *replica) {
    const struct ledger_position *const now = checker_position(replica->checker);
    bool const is_new = replica->loaded_kind == 0 && now->seq == 0 && now->view == 0;
    if (replica->asked_view < now->view) {
        replica->asked_view = now->view;
    }
    if (replica->loaded_view < replica->asked_view) {
        replica->loaded_view = replica->asked_view;
    }
    if (replica->loaded_clean) {
        load_signed(replica);
    } else if (!is_new) {
        replica->barred_view = replica->asked_view;
        replica->barred_seq = now->seq + replica->configuration->parameters.pipeline;
    }
    replica->made_view = replica->asked_view;
    replica->entered_view = now->view;
    replica->voted_seq = now->evidence_upto;
    replica->durable_seq = now->seq;
    replica->disk_seq = now->seq;
}

void replica_engage_guard(struct replica *replica, enum guard guard) {
    if (replica->guard == GUARD_NONE) {
        replica->guard = guard;
    }
}

const char *guard_text(enum guard guard) {
    switch (guard) {
    case GUARD_NONE:
        return "voting";
    case GUARD_JOURNAL_MISSING:
        return "the journal or the ledger is missing: nobody knows what this key signed before";
    case GUARD_LEDGER_SHORT:
        return "the ledger is shorter or older than the journal remembers";
    case GUARD_SIGNED_ELSEWHERE:
        return "a peer's ledger holds this key's signature for a batch that ours has lost";
    }
    UNREACHABLE();
}

/* ---- running ---- */

/* What may one say who is not in this configuration any more? */
static bool is_outsiders(enum message_kind kind) {
    return kind == MESSAGE_STATUS || kind == MESSAGE_FETCH_REQUESTS || kind == MESSAGE_FETCH_RANGE;
}

static void dispatch_message(struct replica *replica, const struct peer_message *message) {
    if (message->from >= replica->configuration->replica_count && !is_outsiders(message->kind)) {
        return;
    }
    switch (message->kind) {
    case MESSAGE_PRE_PREPARE:
        on_pre_prepare(replica, message);
        return;
    case MESSAGE_PREPARE:
        on_prepare(replica, message);
        return;
    case MESSAGE_COMMIT:
        on_commit(replica, message);
        return;
    case MESSAGE_STATUS:
        on_status(replica, message);
        return;
    case MESSAGE_FETCH_REQUESTS:
        on_fetch_requests(replica, message);
        return;
    case MESSAGE_FETCH_RANGE:
        on_fetch_range(replica, message);
        return;
    case MESSAGE_RANGE:
        on_range(replica, message);
        return;
    case MESSAGE_VIEW_CHANGE:
        on_view_change(replica, message);
        return;
    case MESSAGE_NEW_VIEW:
        on_new_view(replica, message);
        return;
    case MESSAGE_REQUESTS:         /* the driver hands over each request by itself, once verified */
    case MESSAGE_FETCH_CHECKPOINT: /* the driver serves it from its store */
    case MESSAGE_CHECKPOINT_OFFER: /* and these are for join.h */
    case MESSAGE_CHECKPOINT_DIGESTS:
    case MESSAGE_CHECKPOINT_ITEMS:
    case MESSAGE_REQUEST:
    case MESSAGE_STATUS_QUERY:
    case MESSAGE_RECEIPT_QUERY:
    case MESSAGE_REPLY:
    case MESSAGE_RESULT:
    case MESSAGE_REJECT:
    case MESSAGE_STATUS_REPLY:
    case MESSAGE_RECEIPT_REPLY:
    case MESSAGE_DEMAND:
    case MESSAGE_SERVED:
    case MESSAGE_CHAIN_QUERY:
    case MESSAGE_CHAIN_REPLY:
        return;
    }
}

static void on_verified(struct replica *replica, uint64_t token, bool all_hold) {
    if (token != 0 && token == replica->range_token) {
        on_range_verified(replica, all_hold);
        return;
    }
    if (on_view_verified(replica, token, all_hold)) {
        return;
    }
    for (uint64_t seq = replica->executed_seq + 1; slot_is_open(replica, seq); seq++) {
        struct slot *const slot = slot_find(replica, seq);
        if (slot == NULL || slot->verify_token != token) {
            continue;
        }
        slot->verify_token = 0;
        slot->evidence_verified = all_hold;
        if (!all_hold) {
            slot->refused = true;
            effect_note(replica, NOTE_PRE_PREPARE_REFUSED, slot_primary(replica, slot), seq,
                        RULE_EVIDENCE_SIGNATURE);
        }
        return;
    }
}

static void dispatch(struct replica *replica, const struct event *event) {
    switch (event->kind) {
    case EVENT_TICK:
        return;
    case EVENT_PEER_UP:
        replica->status_due_ms = replica->now_ms;
        return;
    case EVENT_MESSAGE:
        dispatch_message(replica, event->message);
        return;
    case EVENT_REQUEST:
        on_request(replica, event->request.origin, event->request.request);
        return;
    case EVENT_RECEIPT_QUERY:
        on_receipt_query(replica, event->receipt_query.origin, &event->receipt_query.request_id);
        return;
    case EVENT_DURABLE:
        CHECK(event->durable <= replica->disk_position);
        replica->durable_position = event->durable;
        return;
    case EVENT_VERIFIED:
        on_verified(replica, event->verified.token, event->verified.all_hold);
        return;
    case EVENT_CHECKPOINT:
        learn_checkpoint(replica, event->checkpoint.seq, event->checkpoint.state_count,
                         &event->checkpoint.state_root);
        return;
    case EVENT_STOP:
        journal_stop(replica);
        return;
    }
}

enum verdict replica_step(struct replica *replica, const struct event *event,
                          struct effects *effects) {
    effects->count = 0;
    arena_reset(&effects->arena);
    retired_free(replica);
    replica->effects = effects;
    replica->step_position = replica->disk_position;
    replica->now_ms = event->now_ms > replica->now_ms ? event->now_ms : replica->now_ms;
    replica->started_ms = replica->started_ms == 0 ? replica->now_ms : replica->started_ms;
    replica->wall_ms = event->wall_ms;
    if (!replica->started) {
        journal_start(replica);
    }
    dispatch(replica, event);
    view_tick(replica);
    bool moved = true;
    while (moved && !replica->failed) {
        moved = try_change_view(replica);
        moved |= try_execute(replica);
        moved |= try_propose(replica);
        moved |= try_vote(replica);
        moved |= try_release(replica);
        moved |= try_finish(replica);
        moved |= try_configure(replica);
        moved |= try_return(replica);
    }
    tell_configuration(replica);
    catch_up_tick(replica);
    if (replica->now_ms >= replica->status_due_ms) {
        send_status(replica);
        if (replica->now_ms > REQUEST_AGE_MS_MAX) {
            pool_expire(replica->pool, replica->now_ms - REQUEST_AGE_MS_MAX);
        }
    }
    replica->effects = NULL;
    bool const failed =
        replica->failed || checker_failed(replica->checker) || engine_failed(replica->engine);
    return failed ? VERDICT_FATAL : VERDICT_OK;
}

uint64_t replica_deadline(const struct replica *replica) {
    const struct ledger_position *const now = checker_position(replica->checker);
    uint64_t const idle = replica->progress_ms + EVIDENCE_IDLE_MS;
    bool const may_idle = is_primary(replica) && now->evidence_upto != now->seq &&
                          replica->committed_seq == replica->executed_seq && idle > replica->now_ms;
    uint64_t deadline = replica->status_due_ms;
    if (may_idle && idle < deadline) {
        deadline = idle;
    }
    const struct slot *const next = &replica->slots[(replica->executed_seq + 1) % SLOTS_MAX];
    if (next->seq == replica->executed_seq + 1 && next->stage == SLOT_RECEIVED &&
        next->fetch_after_ms > replica->now_ms && next->fetch_after_ms < deadline) {
        deadline = next->fetch_after_ms;
    }
    return deadline;
}

/* Is this request waiting already, byte for byte, or was it executed? */
static bool is_known(const struct replica *replica, const struct request *request) {
    return window_find(checker_window(replica->checker), &request->id, NULL) ||
           pool_find(replica->pool, &request->digest) != NULL;
}

bool batch_waits_for(const struct replica *replica, const struct digest *request_digest) {
    for (uint64_t seq = replica->executed_seq + 1; slot_is_open(replica, seq); seq++) {
        const struct slot *const slot = &replica->slots[seq % SLOTS_MAX];
        if (slot->seq != seq || slot->stage != SLOT_RECEIVED) {
            continue;
        }
        for (uint32_t i = 0; i < slot->message.request_count; i++) {
            if (digest_equal(&slot->message.request_digests[i], request_digest)) {
                return true;
            }
        }
    }
    return false;
}

bool replica_wants_request(const struct replica *replica, const struct digest *request_digest) {
    /* A backup passes on to the primary what has waited long. */
    return (is_primary(replica) && is_voting(replica)) || batch_waits_for(replica, request_digest);
}

enum reject_reason replica_request_refusal(const struct replica *replica,
                                           const struct request *request) {
    const struct configuration *const configuration = replica->configuration;
    if (is_known(replica, request)) {
        return (enum reject_reason)0;
    }
    if (!configuration_has_author(configuration, &request->author)) {
        return REJECT_AUTHOR;
    }
    uint64_t const window = configuration->parameters.window;
    uint64_t const last = checker_position(replica->checker)->next_index + request->call_count - 1;
    if (request->min_index > last + window) {
        return REJECT_TOO_EARLY;
    }
    if (checker_is_expired(replica->checker, request->min_index, request->call_count)) {
        return REJECT_EXPIRED;
    }
    return pool_has_room(replica->pool, &request->author, request->bytes.size)
               ? (enum reject_reason)0
               : REJECT_BUSY;
}

void replica_status(const struct replica *replica, struct replica_status *status) {
    const struct ledger_position *const now = checker_position(replica->checker);
    /* What is not on disk yet does not count, whatever a new view has shown. */
    uint64_t const committed_seq = replica->held && replica->held_seq < replica->committed_seq
                                       ? replica->held_seq
                                       : replica->committed_seq;
    const struct ledger_position *const committed =
        checker_position_at(replica->checker, committed_seq);
    CHECK(committed != NULL);
    *status = (struct replica_status){
        .config = replica->configuration->number,
        .view = now->view,
        .asked_view = replica->asked_view,
        .primary = configuration_primary(replica->configuration, now->view),
        .executed_seq = replica->executed_seq,
        .committed_seq = committed_seq,
        .evidenced_seq = replica->evidenced_seq,
        .next_index = now->next_index,
        .committed_index = committed->next_index - 1, /* genesis is transaction 0 */
        .entries = now->entries,
        .pool_requests = pool_count(replica->pool),
        .catching_up = replica->range_asked || replica->range_token != 0,
        .guard = replica->guard,
    };
}

void replica_check_invariants(const struct replica *replica) {
    const struct ledger_position *const now = checker_position(replica->checker);
    CHECK(replica->evidenced_seq <= replica->committed_seq);
    CHECK(replica->committed_seq <= replica->executed_seq);
    CHECK(replica->revealed_seq <= replica->executed_seq);
    CHECK(now->seq == replica->executed_seq);
    CHECK(replica->durable_position <= replica->disk_position);
    CHECK(replica->asked_view >= now->view || replica->range_token != 0);
    CHECK(replica->held || replica->range_token != 0 || replica->disk_entries == now->entries);
    for (uint64_t seq = replica->evidenced_seq + 1; seq <= replica->executed_seq; seq++) {
        const struct slot *const slot = &replica->slots[seq % SLOTS_MAX];
        CHECK(slot->seq == seq);
        CHECK(slot->stage == SLOT_EXECUTED ||
              (slot->stage == SLOT_TENTATIVE && replica->range_token != 0));
        CHECK((slot->nonces_good & ~slot->nonces_come) == 0);
    }
}
