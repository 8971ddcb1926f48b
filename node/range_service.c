/*
 * range_service: pieces of this replica's ledger for a peer that is behind (protocol §7), or for
 * the replica itself, read on the reader's thread, one at a time for each.
 *
 * What goes out are whole batches and new views. What was read while the tail was being replaced is
 * thrown away: a peer asks again, the replica itself is told that nothing is there.
 */
#include <stdlib.h>

#include "base/check.h"
#include "node/node.h"
#include "node/range_piece.h"

struct range_job {
    struct background_job job;
    struct node *node;
    uint64_t row; /* of the peer */
    bool is_own;
    uint64_t first_entry;
    uint64_t end_entry;
    uint64_t version; /* of the ledger that the replica spoke of */
    struct range_piece piece;
    struct buffer message; /* the encoded answer to a peer */
    struct problem problem;
};

static void encode(struct range_job *job) {
    struct range_message message;
    if (!range_piece_message(&job->piece, &message) ||
        !range_message_encode(&job->message, &message)) {
        buffer_clear(&job->message);
    }
}

static void run(struct background_job *background_job) {
    struct range_job *const job = (struct range_job *)background_job;
    const struct node *const node = job->node;
    struct segment_reader reader;
    segment_reader_init(&reader, &node->ledger_disk.disk,
                        &node->identity.founding.configuration.service, true);
    bool stands = disk_thread_ledger_version(node->disk) == job->version;
    if (stands) {
        /* What came before a problem is served; done tells of the problem. */
        (void)!range_piece_read(&job->piece, &reader, job->first_entry, job->end_entry,
                                &job->problem);
    }
    segment_reader_free(&reader);
    stands = stands && disk_thread_ledger_version(node->disk) == job->version;
    if (!stands) {
        job->piece.count = 0;
        job->problem = (struct problem){0};
    } else if (!job->is_own) {
        encode(job);
    }
}

/* Hand a part of its own ledger to the replica, as if a peer had sent it. */
static void hand_over(struct range_job *job) {
    struct node *const node = job->node;
    struct peer_message message = {.kind = MESSAGE_RANGE, .from = replica_self(node->replica)};
    struct event event = {.kind = EVENT_MESSAGE, .message = &message};
    if (range_piece_message(&job->piece, &message.range)) {
        arena_init(&message.arena, 0); /* the job owns what it points to */
        node_step(node, &event);
        peer_message_free(&message);
    }
}

static void own_range_start(struct node *node);

static bool *under_way(struct node *node, bool is_own, uint64_t row) {
    return is_own ? &node->own_range_under_way : &node->range_under_way[row];
}

static void done(struct background_job *background_job) {
    struct range_job *const job = (struct range_job *)background_job;
    struct node *const node = job->node;
    *under_way(node, job->is_own, job->row) = false;
    if (job->problem.code != EXIT_OK) {
        uint32_t number = replica_self(node->replica);
        if (!job->is_own && !peers_find_number(node, job->row, &number)) {
            number = NODE_PEERS_MAX; /* it has gone meanwhile */
        }
        log_limited(&node->log_limiter, LOG_ERROR, "cannot read the ledger for a peer",
                    (struct log_field[]){log_number("peer", number),
                                         log_text("problem", job->problem.text), log_end()});
    }
    if (!node->stopping && job->is_own) {
        hand_over(job);
        own_range_start(node);
    } else if (!node->stopping && job->message.size != 0) {
        peers_send_row(node, job->row, MESSAGE_RANGE, buffer_span(&job->message));
    }
    range_piece_free(&job->piece);
    buffer_free(&job->message);
    free(job);
}

static void start(struct node *node, bool is_own, uint64_t row, uint64_t first_entry,
                  uint64_t end_entry) {
    struct range_job *const job = calloc(1, sizeof *job);
    if (job == NULL) {
        return; /* whoever asked asks again */
    }
    *job = (struct range_job){.job = {.run = run, .done = done},
                              .node = node,
                              .row = row,
                              .is_own = is_own,
                              .first_entry = first_entry,
                              .end_entry = end_entry,
                              .version = node->ledger_version};
    range_piece_init(&job->piece);
    buffer_init(&job->message, FRAME_SIZE_MAX);
    *under_way(node, is_own, row) = true;
    background_add(node->reader, &job->job);
}

/* The last thing that the replica wanted to read, if it is on the disk now. */
static void own_range_start(struct node *node) {
    struct own_range *const own = &node->own_range;
    if (own->wanted && own->after <= node->durable && !node->stopping &&
        !node->own_range_under_way) {
        own->wanted = false;
        start(node, true, 0, own->first_entry, own->end_entry);
    }
}

void range_durable(struct node *node) {
    own_range_start(node);
}

void range_serve(struct node *node, const struct replica_identity *to, uint64_t first_entry,
                 uint64_t end_entry) {
    uint64_t row = 0;
    if (public_key_equal(&to->key, &node->identity.key)) {
        node->own_range = (struct own_range){.wanted = true,
                                             .first_entry = first_entry,
                                             .end_entry = end_entry,
                                             .after = node->disk_position};
        own_range_start(node);
    } else if (peers_find_row(node, to, &row) && !node->range_under_way[row]) {
        /* What this replica has not verified itself is served to nobody (§7). */
        bool const served = first_entry >= node->beginning.end_entry;
        start(node, false, row, first_entry, served ? end_entry : first_entry);
    } /* otherwise it will ask again */
}
