/*
 * print: the condition of a replica as a digest: all that decides what it will do. Two replicas
 * with one print answer all that can happen to them alike; local.c tries that out.
 *
 * What is left out, and why that is enough here:
 *   - positions on the disk, but for how far they are ahead of what is durable;
 *   - moments, but for what is still to come, since time passes only in leaps that end all waiting;
 *   - checker and engine, but for the positions that they remember: what lies below a position
 *     follows from its root of M;
 *   - what only counts, or says how a step is worked out: tokens, marks, memory.
 */
#include "base/check.h"
#include "consensus/state.h"
#include "tests/small_world/process.h"

struct printer {
    struct hash_state hash;
    struct process *process;
    struct replica *replica;
};

static void put(struct printer *printer, uint64_t number) {
    hash_update_u64(&printer->hash, number);
}

static void put_bytes(struct printer *printer, struct span bytes) {
    put(printer, bytes.size);
    hash_update(&printer->hash, bytes);
}

static void put_digest(struct printer *printer, const struct digest *digest) {
    hash_update(&printer->hash, span_of(digest->bytes, DIGEST_SIZE));
}

/* Of a moment, what is still to come. */
static void put_due(struct printer *printer, uint64_t due_ms) {
    uint64_t const now_ms = printer->replica->now_ms;
    put(printer, due_ms > now_ms ? due_ms - now_ms : 0);
}

/* Of a disk position, how far it is ahead of what is durable. */
static void put_position(struct printer *printer, uint64_t position) {
    uint64_t const durable = printer->replica->durable_position;
    put(printer, position == UINT64_MAX ? UINT64_MAX : position > durable ? position - durable : 0);
}

/* ---- the ledger in memory ---- */

static void put_place(struct printer *printer, const struct ledger_position *position) {
    if (position == NULL) {
        put(printer, UINT64_MAX);
        return;
    }
    struct digest const root = frontier_root(&position->frontier);
    put(printer, position->entries);
    put_digest(printer, &root);
    put(printer, position->frontier.leaf_count);
    put(printer, position->view);
    put(printer, position->view_start);
    put(printer, position->view_seq);
    put(printer, position->seq);
    put(printer, position->next_index);
    put(printer, position->evidence_upto);
    put(printer, position->time_ms);
}

static void put_ledger(struct printer *printer) {
    const struct replica *const replica = printer->replica;
    uint64_t const pipeline = replica->configuration->parameters.pipeline;
    put_place(printer, checker_position(replica->checker));
    for (uint64_t seq = replica->evidenced_seq; seq <= replica->executed_seq; seq++) {
        put_place(printer, checker_position_before_views(replica->checker, seq));
        for (uint64_t view = 0; view <= WORLD_VIEWS; view++) {
            put_place(printer, checker_position_in(replica->checker, seq, view));
        }
    }
    for (uint64_t seq = 1; seq <= replica->executed_seq + pipeline; seq++) {
        const struct carried_batch *const carried = checker_carried(replica->checker, seq);
        put(printer, carried == NULL ? 0 : carried->seq);
        if (carried != NULL) {
            put_digest(printer, &carried->batch_root);
            put(printer, carried->time_ms);
        }
    }
}

/* ---- batches ---- */

static void put_votes(struct printer *printer, const struct slot *slot) {
    for (uint32_t r = 0; r < WORLD_REPLICAS; r++) {
        const struct vote *const vote = &slot->votes[r];
        put(printer, vote->present);
        if (vote->present) {
            put_digest(printer, &vote->pre_prepare_digest);
            put_digest(printer, &vote->nonce_hash);
            hash_update(&printer->hash, span_of(vote->signature.bytes, SIGNATURE_SIZE));
        }
        if ((slot->nonces_come >> r & 1) != 0) {
            hash_update(&printer->hash, span_of(slot->nonces[r].bytes, NONCE_SIZE));
        }
    }
    put(printer, slot->nonces_come);
    put(printer, slot->nonces_good);
    put(printer, slot->prepared_by);
    put(printer, slot->revealed);
    put_position(printer, slot->reveal_position);
}

static void put_slot(struct printer *printer, const struct slot *slot) {
    CHECK(slot->verify_token == 0 && slot->stage != SLOT_TENTATIVE);
    put(printer, slot->seq);
    put(printer, (uint64_t)slot->stage);
    if (slot->stage != SLOT_EMPTY) {
        put_bytes(printer, buffer_span(&slot->statement));
        put(printer, slot->refused);
        put(printer, slot->evidence_verified);
    }
    if (slot->stage == SLOT_RECEIVED) {
        put_due(printer, slot->fetch_after_ms);
    }
    if (slot->stage == SLOT_EXECUTED) { /* the batch's root of G stands in its statement */
        put(printer, slot->entries.size);
        put(printer, slot->requests.size);
        put_position(printer, slot->position);
    }
    put_votes(printer, slot);
}

static void put_slots(struct printer *printer) {
    for (uint32_t i = 0; i < SLOTS_MAX; i++) {
        if (printer->replica->slots[i].seq != 0) {
            put_slot(printer, &printer->replica->slots[i]);
        }
    }
}

/* ---- requests ---- */

static void put_pool(struct printer *printer) {
    const struct pool *const pool = printer->replica->pool;
    const struct world *const world = printer->process->world;
    for (uint32_t i = 0; i < WORLD_REQUESTS; i++) {
        struct request request;
        struct arena arena;
        arena_init(&arena, 2 * (size_t)ENTRY_SIZE_MAX);
        CHECK(request_decode(&request, &arena, &world->configuration->service,
                             world->requests[i]) == CODEC_OK);
        const struct pool_entry *const entry = pool_find(pool, &request.digest);
        put(printer, entry == NULL ? UINT64_MAX : entry->taken_seq);
        arena_free(&arena);
    }
    for (const struct pool_entry *entry = pool_first(pool); entry != NULL;
         entry = pool_after(entry)) {
        put_digest(printer, &entry->digest);
    }
    for (uint32_t i = 0; i < PIPELINE_MAX; i++) {
        const struct carried_content *const content = &printer->replica->carried[i];
        put(printer, content->seq);
        if (content->seq != 0) {
            put_digest(printer, &content->batch_root);
            put_bytes(printer, buffer_span(&content->digests));
        }
    }
}

/* ---- changes of view ---- */

static void put_asked(struct printer *printer) {
    const struct replica *const replica = printer->replica;
    for (uint32_t r = 0; r < WORLD_REPLICAS; r++) {
        const struct asked *const asked = &replica->asked[r];
        CHECK(asked->token == 0);
        /* What was asked for and is over is never looked at again. */
        bool const counts = asked->view != 0 && asked->view >= replica->asked_view;
        put(printer, counts ? asked->view : 0);
        if (counts) {
            put_bytes(printer, buffer_span(&asked->bytes));
        }
    }
    CHECK(replica->checked.token == 0);
    for (uint32_t r = 0; r < replica->configuration->replica_count; r++) {
        put(printer, replica->refused_views[r]);
    }
    put(printer, replica->incoming.view);
    if (replica->incoming.view != 0) {
        put_bytes(printer, buffer_span(&replica->incoming.set));
        put_bytes(printer, buffer_span(&replica->incoming.entry));
    }
    put(printer, replica->asked_view);
    put(printer, replica->made_view);
    put(printer, replica->choice_excluded);
    put(printer, replica->sync_tries);
    put_due(printer, replica->sync_due_ms);
    put(printer, replica->quorum_ms != 0);
}

/* Once the ledger in memory is on disk and ranks higher, what was captured is written over. */
static bool captured_counts(struct replica *replica) {
    const struct slot *const slot = rank_highest(replica);
    struct rank const rank = {.view = slot == NULL ? 0 : slot->body.view,
                              .seq = slot == NULL ? 0 : slot->seq};
    return replica->held || rank_compare(rank, replica->best_rank) <= 0;
}

static void put_rank(struct printer *printer) {
    struct replica *const replica = printer->replica;
    if (captured_counts(replica)) {
        put_bytes(printer, buffer_span(&replica->best_bytes));
        put(printer, replica->best_rank.view);
        put(printer, replica->best_rank.seq);
        put_digest(printer, &replica->best_digest);
    }
    put(printer, replica->anchored_view);
    put(printer, replica->held);
    if (replica->held) {
        put(printer, replica->held_entries);
        put(printer, replica->held_seq);
        put_position(printer, replica->disk_seq_position);
    }
    put(printer, replica->disk_entries);
    put(printer, replica->disk_seq);
    put(printer, replica->durable_seq);
    put(printer, replica->view_count);
    for (uint32_t i = 0; i < replica->view_count; i++) {
        const struct kept_view *const kept = &replica->views[i];
        put(printer, kept->after_seq);
        put(printer, kept->view);
        put(printer, kept->on_disk);
        put_bytes(printer, buffer_span(&kept->set));
        put_bytes(printer, buffer_span(&kept->entry));
    }
}

static void put_patience(struct printer *printer) {
    const struct replica *const replica = printer->replica;
    uint64_t const since =
        replica->waiting_ms > replica->commit_ms ? replica->waiting_ms : replica->commit_ms;
    uint64_t const idle = replica->now_ms - replica->progress_ms;
    put(printer, replica->suspects);
    put(printer, replica->suspects && replica->commit_ms == replica->now_ms);
    put(printer, replica->waiting_ms != 0);
    put(printer, replica->waiting_ms != 0 && replica->now_ms - since >= VIEW_TIMEOUT_MS);
    put(printer, idle < EVIDENCE_IDLE_MS ? idle : EVIDENCE_IDLE_MS);
    put(printer, replica->listened);
    put(printer, replica->last_batch_requests);
    for (uint32_t r = 0; r < WORLD_REPLICAS; r++) {
        const struct peer *const peer = &replica->peers[r];
        put(printer, peer->known);
        put(printer, peer->status.view);
        put(printer, peer->status.asked_view);
        put(printer, peer->status.committed_seq);
        put(printer, peer->status.suspects);
        put(printer, peer->helped_first);
        put_due(printer, peer->range_after_ms);
    }
}

static void put_catching_up(struct printer *printer) {
    const struct replica *const replica = printer->replica;
    CHECK(replica->range_token == 0);
    put(printer, replica->catching_up);
    put(printer, replica->range_asked);
    put(printer, replica->range_parted);
    put(printer, replica->range_peer);
    if (replica->range_asked) {
        put_due(printer, replica->range_deadline_ms);
        put(printer, replica->range_first_entry);
        put(printer, replica->range_first_seq);
        put(printer, replica->range_first_view);
        put(printer, replica->range_afresh);
    }
}

/* ---- what was signed ---- */

static void put_signed(struct printer *printer) {
    const struct replica *const replica = printer->replica;
    static const struct digest nothing;
    put(printer, replica->started);
    put(printer, replica->stopping);
    put_position(printer, replica->sign_position);
    put(printer, replica->voted_seq);
    put(printer, replica->signed_view);
    put(printer, replica->signed_seq);
    for (uint64_t seq = 1; seq <= replica->signed_seq; seq++) {
        const struct digest *const digest = &replica->signed_digests[seq % SLOTS_MAX];
        put(printer, !digest_equal(digest, &nothing));
        put_digest(printer, digest);
    }
    put(printer, replica->signed_range_count);
    for (uint32_t i = 0; i < replica->signed_range_count && i < SIGNED_RANGES_MAX; i++) {
        put(printer, replica->signed_ranges[i].view);
        put(printer, replica->signed_ranges[i].first);
        put(printer, replica->signed_ranges[i].last);
    }
    put(printer, replica->barred_view);
    put(printer, replica->barred_seq);
    put(printer, replica->loaded_view);
    put(printer, replica->loaded_seq);
    put(printer, (uint64_t)replica->guard);
}

/* ---- around the core ---- */

static void put_list(struct printer *printer, const struct number_list *list) {
    put(printer, list->count);
    for (uint64_t i = 0; i < list->count; i++) {
        put(printer, list->items[i]);
    }
}

static void put_surroundings(struct printer *printer) {
    const struct process *const process = printer->process;
    put(printer, process->id);
    put(printer, process->requests);
    put(printer, process->restarts);
    put(printer, process->timeouts);
    put(printer, process->soft_ms);
    put_list(printer, &process->ledger);
    if (process->world->options.crashes != 0) { /* else nobody will read it again */
        put_list(printer, &process->settled);
        put_list(printer, &process->journal);
    }
    put(printer, process->written_count);
    for (uint64_t i = 0; i < process->written_count; i++) {
        put(printer, (uint64_t)process->written[i].kind);
        put(printer, process->written[i].item);
        put(printer, process->written[i].entries);
    }
    put(printer, process->waiting_count);
    for (uint64_t i = 0; i < process->waiting_count; i++) {
        put_position(printer, process->waiting[i].after);
        put(printer, (uint64_t)process->waiting[i].kind);
        put(printer, process->waiting[i].payload);
    }
}

struct digest process_print(struct process *process) {
    struct replica *const replica = process->replica;
    struct printer printer = {.process = process, .replica = replica};
    hash_init(&printer.hash);
    put(&printer, replica->executed_seq);
    put(&printer, replica->committed_seq);
    put(&printer, replica->evidenced_seq);
    put(&printer, replica->revealed_seq);
    put_ledger(&printer);
    put_slots(&printer);
    put_pool(&printer);
    put_asked(&printer);
    put_rank(&printer);
    put_patience(&printer);
    put_catching_up(&printer);
    put_signed(&printer);
    put_surroundings(&printer);
    return hash_final(&printer.hash);
}

/* ---- facts ---- */

static void slot_facts(struct process *process, uint64_t seq, struct slot_facts *out) {
    struct replica *const replica = process->replica;
    const struct slot *const slot = slot_find(replica, seq);
    const struct carried_batch *const carried = checker_carried(replica->checker, seq);
    *out = (struct slot_facts){.content = WORLD_NONE, .subject = WORLD_NONE};
    if (seq <= replica->executed_seq) {
        CHECK(slot != NULL && slot->stage == SLOT_EXECUTED);
        out->known = true;
        out->executed = true;
        out->certified = slot_is_certified(replica, slot);
        out->view = (uint8_t)slot->body.view;
        out->prepared_by = (uint8_t)slot->prepared_by;
        out->nonces_good = (uint8_t)slot->nonces_good;
        out->content = content_keep(process->world, &slot->body.batch_root, slot->body.first_index,
                                    slot->body.tx_count, slot->body.time_ms);
        out->subject = store_keep(&process->world->store, span_of(slot->digest.bytes, DIGEST_SIZE));
    } else if (carried != NULL) {
        out->known = true;
        out->content = content_keep(process->world, &carried->batch_root, carried->first_index,
                                    carried->tx_count, carried->time_ms);
    }
}

/* The view of the last new view among these entries, or 0. */
static uint8_t view_of(const struct store *store, const struct number_list *entries) {
    uint8_t view = 0;
    for (uint64_t i = 0; i < entries->count; i++) {
        struct span const stored = store_bytes(store, entries->items[i]);
        if (stored.data[0] == ENTRY_NEW_VIEW) {
            struct signed_body statement;
            struct new_view body;
            struct arena arena;
            arena_init(&arena, 1u << 18);
            CHECK(signed_decode(&statement, &arena, span_of(stored.data + 1, stored.size - 1),
                                STATEMENT_SIZE_MAX) == CODEC_OK &&
                  new_view_decode(&body, &arena, statement.body) == CODEC_OK);
            view = (uint8_t)body.view;
            arena_free(&arena);
        }
    }
    return view;
}

void process_facts(struct process *process, struct facts *facts) {
    const struct replica *const replica = process->replica;
    const struct ledger_position *const now = checker_position(replica->checker);
    uint64_t const pipeline = replica->configuration->parameters.pipeline;
    CHECK(now->seq + pipeline < WORLD_BATCHES + pipeline && now->view <= WORLD_VIEWS);
    *facts = (struct facts){
        .view = (uint8_t)now->view,
        .disk_view = view_of(&process->world->store, &process->settled),
        .asked_view = (uint8_t)replica->asked_view,
        .executed = (uint8_t)replica->executed_seq,
        .committed = (uint8_t)replica->committed_seq,
        .restarts = (uint8_t)process->restarts,
        .timeouts = (uint8_t)process->timeouts,
        .requests = (uint8_t)process->requests,
        .writes_wait = process->written_count != 0,
        .range_wanted = replica->range_asked && replica->range_peer != replica->self,
        .waits = view_waits_for_range(replica),
        .range_peer = (uint8_t)replica->range_peer,
        .range_first = (uint8_t)replica->range_first_entry,
    };
    for (uint32_t r = 0; r < WORLD_REPLICAS; r++) {
        uint64_t const view = replica->asked[r].view;
        if (view != 0 && view <= WORLD_VIEWS) {
            facts->heard[view] |= (uint8_t)(1u << r);
        }
    }
    for (uint64_t seq = 1; seq < WORLD_BATCHES; seq++) {
        slot_facts(process, seq, &facts->slots[seq]);
    }
}
