/*
 * range_service: pieces of this replica's ledger for a peer that is behind (protocol §7), or for
 * the replica itself, read on the reader's thread, one at a time for each.
 *
 * What goes out are whole batches and new views. Where one begins is told by the kinds of entries
 * alone, and nothing here is judged. What was read while the tail was being replaced is thrown
 * away: a peer asks again, the replica itself is told that nothing is there.
 */
#include <stdlib.h>

#include "base/check.h"
#include "node/node.h"

struct range_job {
    struct background_job job;
    struct node *node;
    uint32_t peer;
    uint64_t first_entry;
    uint64_t end_entry;
    uint64_t version; /* of the ledger that the replica spoke of */
    struct buffer payloads;
    struct buffer entries; /* of struct stored */
    uint32_t count;        /* how many of them are whole batches and new views */
    struct buffer message; /* the encoded answer to a peer */
    struct problem problem;
};

struct stored {
    enum entry_kind kind;
    size_t offset;
    size_t size;
};

static uint32_t entry_count(const struct range_job *job) {
    return (uint32_t)(job->entries.size / sizeof(struct stored));
}

static struct stored entry_at(const struct range_job *job, uint32_t nth) {
    struct stored stored;
    memcpy(&stored, job->entries.data + nth * sizeof stored, sizeof stored);
    return stored;
}

/* Does a batch or a new view begin with this entry? */
static bool begins_unit(const struct range_job *job, enum entry_kind kind) {
    uint32_t const count = entry_count(job);
    bool const after_evidence = count != 0 && entry_at(job, count - 1).kind == ENTRY_EVIDENCE;
    return kind != ENTRY_REQUEST && kind != ENTRY_NEW_VIEW &&
           !(kind == ENTRY_PRE_PREPARE && after_evidence);
}

static bool keep(struct range_job *job, const struct segment_record *record) {
    struct stored const stored = {
        .kind = record->kind, .offset = job->payloads.size, .size = record->payload.size};
    return buffer_append(&job->payloads, record->payload) &&
           buffer_append(&job->entries, span_of(&stored, sizeof stored));
}

/* Read whole batches and new views. Returns: how many of the kept entries they are. */
static uint32_t read_units(struct range_job *job, struct segment_reader *reader) {
    struct segment_record record;
    uint32_t whole = 0;
    uint32_t units = 0;
    uint64_t index = job->first_entry;
    while (index < job->end_entry) {
        if (segment_reader_next(reader, &record, &job->problem) != 1) {
            return whole; /* not written yet, or damaged: the problem says so */
        }
        if (begins_unit(job, record.kind)) {
            whole = entry_count(job);
            if (units == RANGE_BATCHES_SERVED_MAX || job->payloads.size > RANGE_SIZE_SOFT_MAX) {
                return whole;
            }
            units++;
        }
        if (entry_count(job) == WIRE_ENTRIES_MAX || !keep(job, &record)) {
            return whole;
        }
        index++;
    }
    return entry_count(job); /* the end is the end of a batch or new view */
}

/* What was read, as a message; its entries, which the caller frees. NULL: out of memory. */
static struct entry *make_message(const struct range_job *job, struct range_message *message) {
    struct entry *const entries = calloc(job->count + 1u, sizeof *entries);
    if (entries == NULL) {
        return NULL;
    }
    for (uint32_t i = 0; i < job->count; i++) {
        struct stored const stored = entry_at(job, i);
        entries[i] =
            (struct entry){.kind = stored.kind,
                           .payload = span_of(job->payloads.data + stored.offset, stored.size)};
    }
    *message = (struct range_message){
        .first_entry = job->first_entry, .count = job->count, .entries = entries};
    return entries;
}

static void encode(struct range_job *job) {
    struct range_message message;
    struct entry *const entries = make_message(job, &message);
    if (entries == NULL || !range_message_encode(&job->message, &message)) {
        buffer_clear(&job->message);
    }
    free(entries);
}

static bool is_own(const struct range_job *job) {
    return job->peer == job->node->config.replica;
}

static void run(struct background_job *background_job) {
    struct range_job *const job = (struct range_job *)background_job;
    const struct node *const node = job->node;
    struct segment_reader reader;
    segment_reader_init(&reader, &node->ledger_disk.disk,
                        &node->identity.founding.configuration.service, true);
    bool stands = disk_thread_ledger_version(node->disk) == job->version;
    if (stands && segment_reader_seek(&reader, job->first_entry, &job->problem) == 1) {
        job->count = read_units(job, &reader);
    }
    segment_reader_free(&reader);
    stands = stands && disk_thread_ledger_version(node->disk) == job->version;
    if (!stands) {
        job->count = 0;
        job->problem = (struct problem){0};
    } else if (!is_own(job)) {
        encode(job);
    }
}

/* Hand a part of its own ledger to the replica, as if a peer had sent it. */
static void hand_over(struct range_job *job) {
    struct node *const node = job->node;
    struct peer_message message = {.kind = MESSAGE_RANGE, .from = node->config.replica};
    struct event event = {.kind = EVENT_MESSAGE, .message = &message};
    struct entry *const entries = make_message(job, &message.range);
    if (entries != NULL) {
        arena_init(&message.arena, 0); /* the job owns what it points to */
        node_step(node, &event);
        peer_message_free(&message);
    }
    free(entries);
}

static void own_range_start(struct node *node);

static void done(struct background_job *background_job) {
    struct range_job *const job = (struct range_job *)background_job;
    struct node *const node = job->node;
    node->range_under_way[job->peer] = false;
    if (job->problem.code != EXIT_OK) {
        log_limited(&node->log_limiter, LOG_ERROR, "cannot read the ledger for a peer",
                    (struct log_field[]){log_number("peer", job->peer),
                                         log_text("problem", job->problem.text), log_end()});
    }
    if (!node->stopping && is_own(job)) {
        hand_over(job);
        own_range_start(node);
    } else if (!node->stopping && job->message.size != 0) {
        peers_send(node, job->peer, MESSAGE_RANGE, buffer_span(&job->message));
    }
    buffer_free(&job->payloads);
    buffer_free(&job->entries);
    buffer_free(&job->message);
    free(job);
}

static void start(struct node *node, uint32_t peer, uint64_t first_entry, uint64_t end_entry) {
    struct range_job *const job = calloc(1, sizeof *job);
    if (job == NULL) {
        return; /* whoever asked asks again */
    }
    *job = (struct range_job){.job = {.run = run, .done = done},
                              .node = node,
                              .peer = peer,
                              .first_entry = first_entry,
                              .end_entry = end_entry,
                              .version = node->ledger_version};
    buffer_init(&job->payloads, FRAME_SIZE_MAX);
    buffer_init(&job->entries, WIRE_ENTRIES_MAX * sizeof(struct stored));
    buffer_init(&job->message, FRAME_SIZE_MAX);
    node->range_under_way[peer] = true;
    background_add(node->reader, &job->job);
}

/* The last thing that the replica wanted to read, if it is on the disk now. */
static void own_range_start(struct node *node) {
    struct own_range *const own = &node->own_range;
    if (own->wanted && own->after <= node->durable && !node->stopping &&
        !node->range_under_way[node->config.replica]) {
        own->wanted = false;
        start(node, node->config.replica, own->first_entry, own->end_entry);
    }
}

void range_durable(struct node *node) {
    own_range_start(node);
}

void range_serve(struct node *node, uint32_t peer, uint64_t first_entry, uint64_t end_entry) {
    if (peer == node->config.replica) {
        node->own_range = (struct own_range){.wanted = true,
                                             .first_entry = first_entry,
                                             .end_entry = end_entry,
                                             .after = node->disk_position};
        own_range_start(node);
    } else if (!node->range_under_way[peer]) {
        start(node, peer, first_entry, end_entry); /* otherwise it will ask again */
    }
}
