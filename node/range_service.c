/*
 * range_service: pieces of this replica's ledger for a peer that is behind (protocol §7), read on
 * the reader's thread, one at a time for each peer.
 *
 * What goes out are whole batches. Where a batch begins is told by the kinds of entries alone: the
 * replica has said up to which entry everything is settled, and nothing here is judged.
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
    struct buffer payloads;
    struct buffer entries; /* of struct stored */
    struct buffer message; /* the encoded answer */
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

/* Does a batch, or what stands between batches, begin with this entry? */
static bool begins_batch(const struct range_job *job, enum entry_kind kind) {
    uint32_t const count = entry_count(job);
    bool const after_evidence = count != 0 && entry_at(job, count - 1).kind == ENTRY_EVIDENCE;
    return kind != ENTRY_REQUEST && !(kind == ENTRY_PRE_PREPARE && after_evidence);
}

static bool keep(struct range_job *job, const struct segment_record *record) {
    struct stored const stored = {
        .kind = record->kind, .offset = job->payloads.size, .size = record->payload.size};
    return buffer_append(&job->payloads, record->payload) &&
           buffer_append(&job->entries, span_of(&stored, sizeof stored));
}

/* Read whole batches. Returns: how many of the kept entries they are. */
static uint32_t read_batches(struct range_job *job, struct segment_reader *reader) {
    struct segment_record record;
    uint32_t whole = 0;
    uint32_t batches = 0;
    uint64_t index = job->first_entry;
    while (index < job->end_entry) {
        if (segment_reader_next(reader, &record, &job->problem) != 1) {
            return whole; /* not written yet, or damaged: the problem says so */
        }
        if (begins_batch(job, record.kind)) {
            whole = entry_count(job);
            if (batches == RANGE_BATCHES_SERVED_MAX || job->payloads.size > RANGE_SIZE_SOFT_MAX) {
                return whole;
            }
            batches++;
        }
        if (entry_count(job) == WIRE_ENTRIES_MAX || !keep(job, &record)) {
            return whole;
        }
        index++;
    }
    return entry_count(job); /* the end is the end of a batch */
}

static void encode(struct range_job *job, uint32_t count) {
    struct entry *const entries = calloc(count + 1u, sizeof *entries);
    if (entries == NULL) {
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct stored const stored = entry_at(job, i);
        entries[i] =
            (struct entry){.kind = stored.kind,
                           .payload = span_of(job->payloads.data + stored.offset, stored.size)};
    }
    struct range_message const message = {
        .first_entry = job->first_entry, .count = count, .entries = entries};
    if (!range_message_encode(&job->message, &message)) {
        buffer_clear(&job->message);
    }
    free(entries);
}

static void run(struct background_job *background_job) {
    struct range_job *const job = (struct range_job *)background_job;
    const struct node *const node = job->node;
    struct segment_reader reader;
    segment_reader_init(&reader, &node->ledger_disk.disk,
                        &node->identity.founding.configuration.service, true);
    uint32_t count = 0;
    if (segment_reader_seek(&reader, job->first_entry, &job->problem) == 1) {
        count = read_batches(job, &reader);
    }
    segment_reader_free(&reader);
    encode(job, count);
}

static void done(struct background_job *background_job) {
    struct range_job *const job = (struct range_job *)background_job;
    struct node *const node = job->node;
    node->range_under_way[job->peer] = false;
    if (job->problem.code != EXIT_OK) {
        log_limited(&node->log_limiter, LOG_ERROR, "cannot read the ledger for a peer",
                    (struct log_field[]){log_number("peer", job->peer),
                                         log_text("problem", job->problem.text), log_end()});
    }
    if (!node->stopping && job->message.size != 0) {
        peers_send(node, job->peer, MESSAGE_RANGE, buffer_span(&job->message));
    }
    buffer_free(&job->payloads);
    buffer_free(&job->entries);
    buffer_free(&job->message);
    free(job);
}

void range_serve(struct node *node, uint32_t peer, uint64_t first_entry, uint64_t end_entry) {
    if (node->range_under_way[peer]) {
        return; /* it will ask again */
    }
    struct range_job *const job = calloc(1, sizeof *job);
    if (job == NULL) {
        return;
    }
    *job = (struct range_job){.job = {.run = run, .done = done},
                              .node = node,
                              .peer = peer,
                              .first_entry = first_entry,
                              .end_entry = end_entry};
    buffer_init(&job->payloads, FRAME_SIZE_MAX);
    buffer_init(&job->entries, WIRE_ENTRIES_MAX * sizeof(struct stored));
    buffer_init(&job->message, FRAME_SIZE_MAX);
    node->range_under_way[peer] = true;
    background_add(node->reader, &job->job);
}
