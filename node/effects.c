/*
 * effects: one step of the replica, and what it asks for, in order.
 *
 * The bytes that effects point to live until the next step: whatever outlives this function's
 * callees copies them.
 */
#include <stdlib.h>

#include "base/check.h"
#include "host/clock.h"
#include "node/chain_keeper.h"
#include "node/demand_service.h"
#include "node/node.h"

/* ---- sending --------------------------------------------------------------------------------- */

static void deliver(struct node *node, const struct outbox_frame *frame) {
    if (frame->to_client) {
        clients_send(node, frame->target, frame->kind, frame->payload);
    } else {
        peers_send_row(node, frame->target, frame->kind, frame->payload);
    }
}

static void send_after(struct node *node, const struct outbox_frame *frame) {
    if (frame->after <= node->durable) {
        deliver(node, frame);
    } else if (!outbox_push(&node->outbox, frame)) {
        log_limited(&node->log_limiter, LOG_WARN, "the disk is behind; a message was dropped",
                    (struct log_field[]){log_end()});
    }
}

void node_durable(void *context, uint64_t position) {
    struct node *const node = context;
    struct event event = {.kind = EVENT_DURABLE, .durable = position};
    struct outbox_frame frame;
    node->durable = position;
    while (outbox_pop(&node->outbox, &frame, position)) {
        deliver(node, &frame);
    }
    if (node->stopping && position >= node->stop_position) {
        uv_stop(&node->loop);
    }
    checkpointer_durable(node);
    range_durable(node);
    chain_keeper_go_on(node);
    demand_service_durable(node);
    node_step(node, &event);
}

/* ---- signatures ------------------------------------------------------------------------------ */

static void list_answer(struct node *node, struct verify_list *list) {
    struct event event = {.kind = EVENT_VERIFIED,
                          .verified = {.token = list->token, .all_hold = list->all_hold}};
    free(list);
    node_step(node, &event);
}

static bool list_add(struct node *node, struct verify_list *list, const struct sign_check *check) {
    struct arena *const arena = workers_arena(node->workers, VERIFY_PROTOCOL);
    struct span const body = arena == NULL ? (struct span){0} : arena_copy(arena, check->body);
    if (body.data == NULL) {
        return false;
    }
    struct verify_item item = {.kind = VERIFY_LIST, .check = *check, .list = list};
    item.check.body = body;
    list->waiting++;
    workers_add(node->workers, VERIFY_PROTOCOL, &item);
    return true;
}

static void verify(struct node *node, uint64_t token, const struct sign_check *checks,
                   uint32_t count) {
    CHECK(count != 0); /* the replica asks about something */
    struct verify_list *const list = calloc(1, sizeof *list);
    if (list == NULL) {
        node_fail(node, "checking signatures", "out of memory");
        return;
    }
    *list = (struct verify_list){.token = token, .all_hold = true};
    for (uint32_t i = 0; i < count; i++) {
        if (!list_add(node, list, &checks[i])) {
            if (list->waiting == 0) {
                free(list); /* otherwise it is freed with the last of its checks */
            }
            node_fail(node, "checking signatures", "out of memory");
            return;
        }
    }
    node_want_turn(node); /* NOLINT(clang-analyzer-unix.Malloc): its checks own the list */
}

static void message_checked(struct node *node, const struct verify_item *item) {
    struct peer_message *const message = item->message;
    struct event event = {.kind = EVENT_MESSAGE, .message = message};
    /* Numbers may have changed while the signature was being checked. */
    bool const is_peer = peers_find_number(node, item->origin, &message->from);
    if (item->holds && is_peer) {
        node_step(node, &event);
    } else if (!item->holds && !node->stopping) {
        log_limited(&node->log_limiter, LOG_WARN, "a peer's statement has a bad signature",
                    (struct log_field[]){log_number("peer", message->from), log_end()});
    }
    peer_message_free(message);
    free(message);
}

void node_checked(void *context, const struct verify_item *item) {
    struct node *const node = context;
    struct event event = {.kind = EVENT_REQUEST, .request = {.request = item->request}};
    switch (item->kind) {
    case VERIFY_MESSAGE:
        peers_checked(node, item);
        message_checked(node, item);
        break;
    case VERIFY_FETCHED:
        peers_checked(node, item);
        if (item->holds) {
            node_step(node, &event);
        }
        break;
    case VERIFY_REQUEST:
        event.request.origin = item->origin;
        if (!node->stopping && clients_checked(node, item)) {
            node_step(node, &event);
        }
        break;
    case VERIFY_DEMAND:
        if (!node->stopping) {
            demand_service_checked(node, item->origin, item->demand, clients_checked(node, item));
        }
        break;
    case VERIFY_LIST:
        item->list->all_hold &= item->holds;
        item->list->waiting--;
        if (item->list->waiting == 0) {
            list_answer(node, item->list);
        }
        break;
    }
}

/* ---- notes ----------------------------------------------------------------------------------- */

void node_note_guard(struct node *node) {
    struct replica_status status;
    struct problem problem = {0};
    replica_status(node->replica, &status);
    if (status.guard == GUARD_NONE || node->guard_stored) {
        return;
    }
    node->guard_stored = true;
    log_event(LOG_ERROR, "this replica will not vote with this key again",
              (struct log_field[]){
                  log_text("reason", guard_text(status.guard)),
                  log_text("remedy", "it follows and serves as it is; to vote again it needs a new "
                                     "key, which only governance can give it"),
                  log_end()});
    if (guard_store(node, status.guard, &problem) != 0) {
        node_fail(node, "writing the guard down", problem.text);
    }
}

/* What becomes of the view. */
static void note_view(struct node *node, const struct effect *effect) {
    uint32_t const replica = effect->note.replica;
    struct log_field const view = log_number("view", effect->note.seq);
    struct log_field const primary = log_number("primary", replica);
    struct log_field const member =
        log_text("member", configuration_member_of(replica_configuration(node->replica), replica));
    switch (effect->note.kind) {
    case NOTE_VIEW_ASKED:
        log_event(LOG_INFO, "asks for another view", (struct log_field[]){view, log_end()});
        break;
    case NOTE_VIEW_ENTERED:
        log_event(LOG_INFO, "entered a view",
                  (struct log_field[]){view, primary, member, log_end()});
        break;
    case NOTE_NEW_VIEW_REFUSED:
        log_event(LOG_ERROR, "refused a new view",
                  (struct log_field[]){
                      view, primary, member, log_text("rule", rule_name(effect->note.rule)),
                      log_text("reason", rule_text(effect->note.rule)), log_end()});
        break;
    case NOTE_PRE_PREPARE_REFUSED:
    case NOTE_RANGE_REFUSED:
    case NOTE_CAUGHT_UP:
    case NOTE_GUARD:
    case NOTE_NONCE_REFUSED:
    case NOTE_CONFLICT:
        UNREACHABLE();
    }
}

static void note(struct node *node, const struct effect *effect) {
    struct log_field const fields[] = {log_number("peer", effect->note.replica),
                                       log_number("seq", effect->note.seq),
                                       log_text("rule", rule_name(effect->note.rule)), log_end()};
    switch (effect->note.kind) {
    case NOTE_PRE_PREPARE_REFUSED:
        log_event(LOG_ERROR, "refused what the primary proposed", fields);
        break;
    case NOTE_RANGE_REFUSED:
        /* What was not signed so may be nobody's fault: ledgers part at a new view. */
        log_event(rule_convicts(effect->note.rule) ? LOG_ERROR : LOG_WARN,
                  "refused a range of a peer's ledger", fields);
        break;
    case NOTE_CAUGHT_UP:
        node->caught_up_ms = uv_now(&node->loop);
        log_event(LOG_INFO, "took batches from a peer's ledger",
                  (struct log_field[]){fields[0], fields[1], log_end()});
        break;
    case NOTE_GUARD:
        node_note_guard(node);
        break;
    case NOTE_NONCE_REFUSED:
        log_limited(&node->log_limiter, LOG_WARN, "a peer's nonce does not match its commitment",
                    (struct log_field[]){fields[0], fields[1], log_end()});
        break;
    case NOTE_CONFLICT:
        log_event(LOG_ERROR, "a peer signed two statements for one batch",
                  (struct log_field[]){fields[0], fields[1], log_end()});
        break;
    case NOTE_VIEW_ASKED:
    case NOTE_VIEW_ENTERED:
    case NOTE_NEW_VIEW_REFUSED:
        note_view(node, effect);
        break;
    }
}

/* ---- one step -------------------------------------------------------------------------------- */

static bool journal(struct node *node, uint64_t position, const struct journal_record *record) {
    buffer_clear(&node->scratch);
    return journal_record_encode(&node->scratch, record) &&
           disk_thread_journal(node->disk, position, journal_role_of(record->kind),
                               buffer_span(&node->scratch));
}

static void out_of_memory(struct node *node) {
    node_fail(node, "queueing for the disk", "out of memory");
}

static void note_appended(struct node *node, const struct effect *effect) {
    node->disk_position = effect->append.position;
    node->ledger_entries++;
    if (effect->append.batch_end) {
        demand_service_wrote(node, effect->append.position, node->ledger_entries);
    }
}

static void note_truncated(struct node *node, const struct effect *effect) {
    node->ledger_entries = effect->truncate.entries;
    demand_service_cut(node, node->ledger_entries);
}

static void carry_out(struct node *node, const struct effect *effect) {
    struct outbox_frame frame;
    bool queued = true;
    switch (effect->kind) {
    case EFFECT_APPEND:
        note_appended(node, effect);
        queued = disk_thread_append(node->disk, effect->append.position, &effect->append.entry,
                                    effect->append.batch_end);
        break;
    case EFFECT_TRUNCATE:
        node->disk_position = effect->truncate.position;
        node->ledger_version += 2;
        note_truncated(node, effect);
        queued = disk_thread_replace(node->disk, effect->truncate.position,
                                     effect->truncate.entries, effect->truncate.upto);
        break;
    case EFFECT_JOURNAL:
        node->disk_position = effect->journal.position;
        queued = journal(node, effect->journal.position, &effect->journal.record);
        break;
    case EFFECT_SEND:
        frame = (struct outbox_frame){.after = effect->send.after,
                                      .kind = effect->send.kind,
                                      .payload = effect->send.payload};
        if (peers_find_row(node, effect->send.to, &frame.target)) {
            send_after(node, &frame);
        }
        break;
    case EFFECT_SEND_CLIENT:
        frame = (struct outbox_frame){.after = effect->send_client.after,
                                      .to_client = true,
                                      .target = effect->send_client.origin,
                                      .kind = effect->send_client.kind,
                                      .payload = effect->send_client.payload};
        send_after(node, &frame);
        break;
    case EFFECT_SERVE_RANGE:
        range_serve(node, effect->serve_range.to, effect->serve_range.first_entry,
                    effect->serve_range.end_entry);
        break;
    case EFFECT_SERVE_RECEIPT:
        receipt_serve(node, effect->serve_receipt.origin, &effect->serve_receipt.request_id,
                      &effect->serve_receipt.place);
        break;
    case EFFECT_VERIFY:
        verify(node, effect->verify.token, effect->verify.checks, effect->verify.count);
        break;
    case EFFECT_CHECKPOINT:
        checkpointer_take(node, effect->checkpoint);
        break;
    case EFFECT_EVIDENCE:
        evidence_keep(node, effect->evidence.replica, &effect->evidence.first,
                      &effect->evidence.second);
        break;
    case EFFECT_CONFIGURATION:
        node_reconfigured(node, effect->configuration.constitution, effect->configuration.settled);
        break;
    case EFFECT_NOTE:
        note(node, effect);
        break;
    }
    if (!queued) {
        out_of_memory(node);
    }
}

struct constitution *node_copy_constitution(const struct node *node) {
    struct constitution *const copy = malloc(sizeof *copy);
    if (copy != NULL) {
        *copy = *replica_constitution(node->replica);
    }
    return copy;
}

/* While it joins the replica is only told what becomes of what it asked for before. */
static bool rests(const struct node *node, enum event_kind kind) {
    bool outside = false;
    switch (kind) {
    case EVENT_TICK:
    case EVENT_PEER_UP:
    case EVENT_MESSAGE:
    case EVENT_REQUEST:
    case EVENT_RECEIPT_QUERY:
        outside = true;
        break;
    case EVENT_DURABLE:
    case EVENT_VERIFIED:
    case EVENT_CHECKPOINT:
    case EVENT_STOP:
        break;
    }
    return node->resting && outside;
}

void node_step(struct node *node, struct event *event) {
    if (node->stopping || rests(node, event->kind)) {
        return;
    }
    event->now_ms = uv_now(&node->loop);
    event->wall_ms = clock_wall_ms();
    if (replica_step(node->replica, event, &node->effects) != VERDICT_OK) {
        const struct problem *const problem = state_store_failure(node->store);
        node_fail(node, "the replica cannot go on",
                  problem->code == EXIT_OK ? "out of memory" : problem->text);
        return;
    }
    for (uint32_t i = 0; i < node->effects.count && !node->stopping; i++) {
        carry_out(node, &node->effects.items[i]);
    }
    node_want_turn(node);
}
