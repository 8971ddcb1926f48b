/*
 * receipt_service: the receipt of a request that was executed a while ago, from the ledger on the
 * disk (protocol §8), read on the reader's thread.
 *
 * The batch gives the outcomes and the tree G; the evidence for it, which makes the certificate,
 * stands with one of the batches after it. An answer that was read while the ledger's tail was
 * being replaced is not given: the client asks again.
 */
#include <stdlib.h>

#include "base/check.h"
#include "node/ledger_read.h"
#include "node/node.h"
#include "receipts/from_ledger.h"

#define ARENA_BUDGET (4 * (size_t)ENTRY_SIZE_MAX)

struct receipt_job {
    struct background_job job;
    struct node *node;
    uint64_t origin;
    struct digest request_id;
    struct window_place place;
    uint64_t first_entry;  /* of the ledger */
    uint64_t version;      /* of the ledger that the place is in */
    struct buffer message; /* the encoded answer; empty: there is none */
    struct problem problem;
};

/* Where a request of the batch at hand stands. */
struct placed_request {
    struct digest id;
    uint64_t first_leaf;
    uint32_t nth;
};

/* What is read on the way. The last batch is kept: questions about one batch come together. */
struct receipt_search {
    const struct node *node;
    struct segment_reader reader;
    uint64_t version; /* of the ledger that was read */
    uint64_t entry;   /* of the kept batch's pre-prepare; 0: none is kept */
    struct batch batch;
    struct batch later;
    struct tree tree;
    struct buffer requests;    /* of struct placed_request */
    struct buffer certificate; /* encoded */
    struct arena arena;
};

int receipts_open(struct node *node, struct problem *problem) {
    struct receipt_search *const search = calloc(1, sizeof *search);
    if (search == NULL) {
        return problem_set(problem, EXIT_ERROR, "set up receipts: out of memory");
    }
    search->node = node;
    segment_reader_init(&search->reader, &node->ledger_disk.disk,
                        &node->identity.founding.configuration.service, true);
    batch_init(&search->batch);
    batch_init(&search->later);
    tree_init(&search->tree);
    buffer_init(&search->requests, BATCH_CALLS_MAX * sizeof(struct placed_request));
    buffer_init(&search->certificate, COMMIT_CERTIFICATE_SIZE_MAX);
    arena_init(&search->arena, ARENA_BUDGET);
    node->receipts = search;
    return 0;
}

void receipts_free(struct node *node) {
    struct receipt_search *const search = node->receipts;
    if (search != NULL) {
        arena_free(&search->arena);
        buffer_free(&search->certificate);
        buffer_free(&search->requests);
        tree_free(&search->tree);
        batch_free(&search->later);
        batch_free(&search->batch);
        segment_reader_free(&search->reader);
        free(search);
        node->receipts = NULL;
    }
}

/* ---- reading a batch ------------------------------------------------------------------------- */

/* The batch whose pre-prepare is entry `entry`: its evidence, if it has any, is the one before. */
static bool read_batch_at(struct receipt_search *search, uint64_t entry, uint64_t first_entry,
                          struct problem *problem) {
    struct segment_record record = {.kind = ENTRY_PRE_PREPARE};
    /* Where the ledger begins, a batch does. */
    if (entry > first_entry && (segment_reader_seek(&search->reader, entry - 1, problem) != 1 ||
                                segment_reader_next(&search->reader, &record, problem) != 1)) {
        return false;
    }
    uint64_t const first = record.kind == ENTRY_EVIDENCE ? entry - 1 : entry;
    return segment_reader_seek(&search->reader, first, problem) == 1 &&
           ledger_read_batch(&search->batch, &search->reader, problem);
}

static bool place_requests(struct receipt_search *search) {
    const struct digest *const service = &search->node->identity.founding.configuration.service;
    uint64_t leaf = 0;
    buffer_clear(&search->requests);
    for (uint32_t i = 0; i < search->batch.request_count; i++) {
        struct request_entry entry;
        struct request request;
        arena_reset(&search->arena);
        if (request_entry_decode(&entry, &search->arena,
                                 batch_request_payload(&search->batch, i)) != CODEC_OK ||
            request_decode(&request, &search->arena, service, entry.request) != CODEC_OK) {
            return false;
        }
        struct placed_request const placed = {.id = request.id, .first_leaf = leaf, .nth = i};
        if (!buffer_append(&search->requests, span_of(&placed, sizeof placed))) {
            return false;
        }
        leaf += entry.outcome_count;
    }
    return true;
}

/* Have the batch at hand, with its tree and certificate. */
static bool take_batch(struct receipt_search *search, struct receipt_job *job) {
    const struct batch *const batch = &search->batch;
    uint64_t const entry = job->place.entry;
    if (search->entry == entry) {
        return true;
    }
    search->entry = 0;
    arena_reset(&search->arena);
    if (!read_batch_at(search, entry, job->first_entry, &job->problem) ||
        !ledger_read_certificate(&search->certificate, &search->later, &search->reader,
                                 &batch->seal.statement, batch->pre_prepare.seq, &job->problem) ||
        !batch_tree_from_ledger(&search->tree, &search->arena,
                                &search->node->identity.founding.configuration.service,
                                &search->batch) ||
        !place_requests(search)) {
        return false;
    }
    search->entry = entry;
    return true;
}

/* ---- the answer ------------------------------------------------------------------------------ */

static bool find_request(const struct receipt_search *search, struct placed_request *placed,
                         const struct digest *request_id) {
    for (size_t at = 0; at < search->requests.size; at += sizeof *placed) {
        memcpy(placed, search->requests.data + at, sizeof *placed);
        if (digest_equal(&placed->id, request_id)) {
            return true;
        }
    }
    return false;
}

static void make_answer(struct receipt_search *search, struct receipt_job *job) {
    struct digest flanks[MERKLE_RANGE_PROOF_MAX];
    struct placed_request placed;
    struct request_entry entry;
    if (!take_batch(search, job) || !find_request(search, &placed, &job->request_id)) {
        return;
    }
    arena_reset(&search->arena);
    if (request_entry_decode(&entry, &search->arena,
                             batch_request_payload(&search->batch, placed.nth)) != CODEC_OK) {
        return;
    }
    struct receipt_reply_message const reply = {
        .request_id = job->request_id,
        .certificate = buffer_span(&search->certificate),
        .result = {.request_id = job->request_id,
                   .first_index = entry.first_index,
                   .leaf = placed.first_leaf,
                   .outcome_count = entry.outcome_count,
                   .outcomes = entry.outcomes,
                   .flank_count = tree_range_proof(&search->tree, flanks, placed.first_leaf,
                                                   entry.outcome_count),
                   .flanks = flanks},
    };
    if (!receipt_reply_message_encode(&job->message, &reply)) {
        buffer_clear(&job->message);
    }
}

/* What was kept is of a ledger that is no more. */
static void start_afresh(struct receipt_search *search, uint64_t version) {
    segment_reader_free(&search->reader);
    segment_reader_init(&search->reader, &search->node->ledger_disk.disk,
                        &search->node->identity.founding.configuration.service, true);
    search->entry = 0;
    search->version = version;
}

static void run(struct background_job *background_job) {
    struct receipt_job *const job = (struct receipt_job *)background_job;
    struct receipt_search *const search = job->node->receipts;
    const struct disk_thread *const disk = job->node->disk;
    if (disk_thread_ledger_version(disk) != job->version) {
        return;
    }
    if (search->version != job->version) {
        start_afresh(search, job->version);
    }
    make_answer(search, job);
    uint64_t const version = disk_thread_ledger_version(disk);
    if (version != job->version) {
        buffer_clear(&job->message);
        job->problem = (struct problem){0};
        start_afresh(search, version);
    }
}

static void done(struct background_job *background_job) {
    struct receipt_job *const job = (struct receipt_job *)background_job;
    struct node *const node = job->node;
    node->receipt_jobs--;
    if (job->problem.code != EXIT_OK) {
        log_limited(&node->log_limiter, LOG_ERROR, "cannot read the ledger for a receipt",
                    (struct log_field[]){log_text("problem", job->problem.text), log_end()});
    }
    if (node->stopping) {
        buffer_clear(&job->message);
    } else if (job->message.size != 0) {
        clients_send(node, job->origin, MESSAGE_RECEIPT_REPLY, buffer_span(&job->message));
    } else {
        clients_reject(node, job->origin, &job->request_id, REJECT_BUSY); /* not on the disk yet */
    }
    buffer_free(&job->message);
    free(job);
}

void receipt_serve(struct node *node, uint64_t origin, const struct digest *request_id,
                   const struct window_place *place) {
    struct receipt_job *const job =
        node->receipt_jobs < RECEIPT_JOBS_MAX ? calloc(1, sizeof *job) : NULL;
    if (job == NULL) {
        clients_reject(node, origin, request_id, REJECT_BUSY);
        return;
    }
    CHECK(place->entry != 0); /* genesis comes before all batches */
    *job = (struct receipt_job){.job = {.run = run, .done = done},
                                .node = node,
                                .origin = origin,
                                .request_id = *request_id,
                                .place = *place,
                                .first_entry = node->beginning.first_entry,
                                .version = node->ledger_version};
    buffer_init(&job->message, FRAME_SIZE_MAX);
    node->receipt_jobs++;
    background_add(node->reader, &job->job);
}
