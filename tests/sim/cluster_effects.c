/*
 * cluster_effects: a step of a node's core, and its effects carried out (see cluster.h).
 *
 * Writes of one step reach the disk's queue together, and a sync begins between steps only: the
 * replacement of a tail is never cut in two by it.
 */
#include "base/check.h"
#include "tests/sim/cluster.h"

static void time_of(const struct cluster *cluster, const struct node *node, struct event *event) {
    event->now_ms = 1000 + (cluster->now_us - node->boot_us) / 1000;
    event->wall_ms = (uint64_t)(cluster->wall_ms + node->wall_offset_ms +
                                (int64_t)(cluster->now_us / 1000) + node->id);
}

/* ---- what waits for the disk ---- */

static void leave(struct cluster *cluster, uint32_t number, const struct waiting_send *send) {
    watch_sent(cluster, number, send->kind, send->payload);
    if (send->to_client) {
        send_to_client(cluster, number, send->to, send->kind, send->payload);
    } else {
        transmit(cluster, number, (uint32_t)send->to, send->kind, send->payload);
    }
}

static void send_after(struct cluster *cluster, uint32_t number, const struct waiting_send *send) {
    struct node *const node = &cluster->nodes[number];
    if (send->after <= node->durable) {
        leave(cluster, number, send);
        return;
    }
    struct waiting_send kept = *send;
    uint64_t capacity = node->outbox_capacity;
    kept.parcel = parcel_new(send->payload);
    kept.payload = span_of(kept.parcel->bytes, kept.parcel->size);
    list_reserve(&node->outbox, node->outbox_count, &capacity, sizeof *node->outbox);
    node->outbox_capacity = (uint32_t)capacity;
    node->outbox[node->outbox_count++] = kept;
}

static void outbox_flush(struct cluster *cluster, uint32_t number) {
    struct node *const node = &cluster->nodes[number];
    uint32_t kept = 0;
    for (uint32_t i = 0; i < node->outbox_count; i++) {
        if (node->outbox[i].after <= node->durable) {
            leave(cluster, number, &node->outbox[i]);
            parcel_drop(node->outbox[i].parcel);
        } else {
            node->outbox[kept++] = node->outbox[i];
        }
    }
    node->outbox_count = kept;
}

void outbox_clear(struct node *node) {
    for (uint32_t i = 0; i < node->outbox_count; i++) {
        parcel_drop(node->outbox[i].parcel);
    }
    node->outbox_count = 0;
}

/* A checkpoint must not be ahead of the ledger: it waits for all that came before its cut. */
static void checkpoint_begin(struct cluster *cluster, uint32_t number) {
    struct node *const node = &cluster->nodes[number];
    if (!node->cut_waits || node->cut_after > node->durable) {
        return;
    }
    node->cut_waits = false;
    node->cut_runs = true;
    uint64_t const takes =
        node->cut_extra_us +
        prng_between(&cluster->prng, cluster->checkpoint_us / 2, cluster->checkpoint_us);
    cluster_schedule(cluster, &(struct sim_event){.at_us = cluster->now_us + takes,
                                                  .kind = SIM_CHECKPOINT,
                                                  .node = number,
                                                  .incarnation = node->incarnation});
}

/* ---- effects ---- */

static void verify_later(struct cluster *cluster, uint32_t number, const struct effect *effect) {
    bool good = true;
    for (uint32_t i = 0; i < effect->verify.count; i++) {
        good = check_holds(cluster, &effect->verify.checks[i]) && good;
    }
    cluster_schedule(cluster, &(struct sim_event){.at_us = cluster->now_us +
                                                           prng_between(&cluster->prng, 100, 1000),
                                                  .kind = SIM_VERIFIED,
                                                  .node = number,
                                                  .incarnation = cluster->nodes[number].incarnation,
                                                  .number = effect->verify.token,
                                                  .good = good});
}

static void take_position(struct cluster *cluster, uint32_t number, uint64_t position) {
    struct node *const node = &cluster->nodes[number];
    if (position != node->disk_position + 1) {
        cluster_fail(cluster, "node %u gave out disk position %llu after %llu", number,
                     (unsigned long long)position, (unsigned long long)node->disk_position);
    }
    node->disk_position = position;
}

static void write_append(struct cluster *cluster, uint32_t number, const struct effect *effect) {
    struct entry const entry = {.kind = effect->append.entry.kind,
                                .payload = cluster_keep(cluster, effect->append.entry.payload)};
    take_position(cluster, number, effect->append.position);
    disk_write(cluster, number,
               &(struct disk_op){
                   .kind = DISK_APPEND, .position = effect->append.position, .entry = entry});
}

static void write_truncate(struct cluster *cluster, uint32_t number, const struct effect *effect) {
    take_position(cluster, number, effect->truncate.position);
    cluster_trace(cluster, "%u cuts its ledger to %llu entries, and appends %llu", number,
                  (unsigned long long)effect->truncate.entries,
                  (unsigned long long)(effect->truncate.upto - effect->truncate.position));
    disk_write(cluster, number,
               &(struct disk_op){.kind = DISK_TRUNCATE,
                                 .position = effect->truncate.position,
                                 .entries = effect->truncate.entries,
                                 .upto = effect->truncate.upto});
}

static void write_journal(struct cluster *cluster, uint32_t number, const struct effect *effect) {
    const struct journal_record *const record = &effect->journal.record;
    struct node *const node = &cluster->nodes[number];
    struct buffer encoded;
    buffer_init(&encoded, JOURNAL_RECORD_SIZE_MAX);
    if (!journal_record_encode(&encoded, record)) {
        cluster_fail(cluster, "node %u: a journal record cannot be encoded", number);
    }
    take_position(cluster, number, effect->journal.position);
    disk_write(cluster, number,
               &(struct disk_op){
                   .kind = DISK_JOURNAL,
                   .position = effect->journal.position,
                   .journal = {.bytes = cluster_keep(cluster, buffer_span(&encoded)),
                               .kind = record->kind,
                               .view = cluster_view(record->config, record->view),
                               .seq = record->seq,
                               .incarnation = node->incarnation},
               });
    if (record->kind == JOURNAL_STOPPED) {
        node->stop_after = effect->journal.position;
    }
    buffer_free(&encoded);
}

static void take_note(struct cluster *cluster, uint32_t number, const struct effect *effect) {
    struct node *const node = &cluster->nodes[number];
    struct replica_status status;
    CHECK(effect->note.kind < CLUSTER_NOTES);
    node->notes[effect->note.kind]++;
    if (effect->note.rule != RULE_NONE) {
        node->last_rule = effect->note.rule;
    }
    cluster_trace(cluster, "%u notes %u about %u, batch or view %llu: %s", number,
                  effect->note.kind, effect->note.replica, (unsigned long long)effect->note.seq,
                  rule_name(effect->note.rule));
    if (effect->note.kind == NOTE_GUARD) {
        replica_status(node->replica, &status);
        node->disk.guard = status.guard;
    }
}

static void take_checkpoint(struct cluster *cluster, uint32_t number, const struct effect *effect) {
    struct node *const node = &cluster->nodes[number];
    if (node->cut_waits || node->cut_runs) {
        cluster_fail(cluster, "node %u: two checkpoints at a time", number);
    }
    node->cut = *effect->checkpoint;
    node->cut_waits = true;
    node->cut_after = node->disk_position;
    checkpoint_begin(cluster, number);
}

static void carry_out(struct cluster *cluster, uint32_t number, const struct effect *effect) {
    switch (effect->kind) {
    case EFFECT_APPEND:
        write_append(cluster, number, effect);
        return;
    case EFFECT_TRUNCATE:
        write_truncate(cluster, number, effect);
        return;
    case EFFECT_JOURNAL:
        write_journal(cluster, number, effect);
        return;
    case EFFECT_SEND:
        send_after(cluster, number,
                   &(struct waiting_send){.after = effect->send.after,
                                          .to = cluster_id_of(cluster, &effect->send.to->key),
                                          .kind = effect->send.kind,
                                          .payload = effect->send.payload});
        return;
    case EFFECT_SEND_CLIENT:
        send_after(cluster, number,
                   &(struct waiting_send){.after = effect->send_client.after,
                                          .to_client = true,
                                          .to = effect->send_client.origin,
                                          .kind = effect->send_client.kind,
                                          .payload = effect->send_client.payload});
        return;
    case EFFECT_SERVE_RANGE:
        serve_range(cluster, number, cluster_id_of(cluster, &effect->serve_range.to->key),
                    effect->serve_range.first_entry, effect->serve_range.end_entry);
        return;
    case EFFECT_SERVE_RECEIPT:
        serve_receipt(cluster, number, effect->serve_receipt.origin,
                      &effect->serve_receipt.request_id, &effect->serve_receipt.place);
        return;
    case EFFECT_VERIFY:
        verify_later(cluster, number, effect);
        return;
    case EFFECT_CHECKPOINT:
        take_checkpoint(cluster, number, effect);
        return;
    case EFFECT_CONFIGURATION: /* note_configurations has done it */
        return;
    case EFFECT_EVIDENCE:
        cluster->nodes[number].evidence_count++;
        return;
    case EFFECT_NOTE:
        take_note(cluster, number, effect);
        return;
    }
}

/* ---- steps ---- */

static void tick_set(struct cluster *cluster, struct node *node) {
    uint64_t const deadline_ms = replica_deadline(node->replica);
    uint64_t const due = deadline_ms <= 1000 ? 0
                         : deadline_ms >= UINT64_MAX / 2000
                             ? UINT64_MAX
                             : (deadline_ms - 1000) * 1000 + node->boot_us;
    node->tick_us = due > cluster->now_us ? due : cluster->now_us + 500;
}

/* First of all: what the first one there says, in the same step, is judged by it. */
static void note_configurations(struct cluster *cluster, uint32_t number) {
    const struct effects *const effects = &cluster->nodes[number].effects;
    for (uint32_t i = 0; i < effects->count; i++) {
        if (effects->items[i].kind == EFFECT_CONFIGURATION) {
            cluster_configuration_came(cluster, number,
                                       effects->items[i].configuration.constitution);
        }
    }
}

/* While a checkpoint is fetched the replica gets only the answers to its own effects. */
static bool waits_for_join(const struct node *node, enum event_kind kind) {
    return node->rests && (kind == EVENT_TICK || kind == EVENT_PEER_UP || kind == EVENT_MESSAGE ||
                           kind == EVENT_REQUEST || kind == EVENT_RECEIPT_QUERY);
}

void node_tick(struct cluster *cluster, uint32_t number) {
    struct node *const node = &cluster->nodes[number];
    struct event tick = {.kind = EVENT_TICK};
    if (node->tick_us <= cluster->now_us) {
        node_step(cluster, number, &tick);
    }
    if (node->up) {
        join_tick(cluster, number);
    }
}

void node_step(struct cluster *cluster, uint32_t number, struct event *event) {
    struct node *const node = &cluster->nodes[number];
    if (waits_for_join(node, event->kind)) {
        node->tick_us = UINT64_MAX;
        return;
    }
    time_of(cluster, node, event);
    if (replica_step(node->replica, event, &node->effects) != VERDICT_OK) {
        cluster_fail(cluster, "node %u cannot go on after event %u", number, event->kind);
    }
    note_configurations(cluster, number);
    for (uint32_t i = 0; i < node->effects.count; i++) {
        carry_out(cluster, number, &node->effects.items[i]);
    }
    disk_kick(cluster, number);
    tick_set(cluster, node);
    watch_node(cluster, number);
}

void node_synced(struct cluster *cluster, uint32_t number) {
    struct node *const node = &cluster->nodes[number];
    if (!disk_synced(cluster, number)) {
        return;
    }
    outbox_flush(cluster, number);
    checkpoint_begin(cluster, number);
    if (node->stopping && node->stop_after != 0 && node->stop_after <= node->durable) {
        watch_stopped(cluster, number);
        cluster_crash(cluster, number);
        return;
    }
    struct event event = {.kind = EVENT_DURABLE, .durable = node->durable};
    node_step(cluster, number, &event);
}

void node_checkpointed(struct cluster *cluster, uint32_t number) {
    struct node *const node = &cluster->nodes[number];
    node->cut_runs = false;
    offer_keep(cluster, number);
    store_write(cluster, &node->disk.store, node->engine, &node->cut);
    watch_checkpoint(cluster, number, node->cut.header.seq, &node->cut.header.state_root);
    struct event event = {.kind = EVENT_CHECKPOINT,
                          .checkpoint = {.seq = node->cut.header.seq,
                                         .state_count = node->cut.header.state_count,
                                         .state_root = node->cut.header.state_root}};
    node_step(cluster, number, &event);
}

void cluster_stop(struct cluster *cluster, uint32_t number) {
    struct node *const node = &cluster->nodes[number];
    if (!node->up || node->puppet || node->stopping) {
        return;
    }
    struct event event = {.kind = EVENT_STOP};
    cluster->faults[FAULT_STOP]++;
    cluster_trace(cluster, "%u is asked to end", number);
    node->stopping = true;
    node_step(cluster, number, &event);
}
