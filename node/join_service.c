/*
 * join_service: see join_service.h.
 *
 * Invariants: the snapshot is opened and closed on the loop, and closed only when no job is on its
 * way; in between it, and whether it is indexed, is the thread's. The offer is the thread's while
 * the job that makes it is on its way.
 */
#include "node/join_service.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/check.h"
#include "consensus/join.h"
#include "execution/state_parts.h"
#include "host/state_transfer.h"
#include "ledger/served.h"
#include "node/demand_service.h"
#include "node/ledger_read.h"
#include "node/node.h"

struct join_service {
    struct node *node;
    struct background *thread;
    uv_timer_t expiry;
    _Atomic bool stopping;
    struct state_snapshot *snapshot; /* NULL: none is open */
    uint64_t seq;                    /* of its checkpoint */
    uint64_t search_entry;           /* the batches that carry it, and their evidence, follow */
    bool indexed;
    bool unfit;          /* it cannot be indexed: nothing of it is served */
    struct buffer offer; /* encoded; empty: not made yet */
    uint64_t opened_ms;
    uint64_t used_ms;
    uint32_t jobs; /* that read the snapshot */
    bool under_way[NODE_PEERS_MAX];
    bool auditor_under_way;
};

struct serve_job {
    struct background_job job;
    struct join_service *service;
    uint32_t peer;                     /* unless it is for an auditor */
    struct constitution *constitution; /* in which an auditor's is signed: a copy; else NULL */
    uint32_t self;
    bool for_auditor;
    bool has_nothing;     /* there is nothing of what is wanted: an auditor gets that signed */
    struct digest demand; /* an auditor's */
    struct fetch_checkpoint_message wanted;
    uint64_t version;      /* of the ledger: an offer reads it */
    uint64_t count;        /* groups in the answer */
    uint64_t total;        /* groups of the state; 0: not known */
    struct buffer message; /* the encoded answer */
    struct buffer served;  /* the same, signed for: of an auditor */
    struct problem problem;
};

/* ---- answers --------------------------------------------------------------------------------- */

static enum message_kind answer_kind(enum checkpoint_part part) {
    switch (part) {
    case CHECKPOINT_OFFER:
        return MESSAGE_CHECKPOINT_OFFER;
    case CHECKPOINT_DIGESTS:
        return MESSAGE_CHECKPOINT_DIGESTS;
    case CHECKPOINT_ITEMS:
        break;
    }
    return MESSAGE_CHECKPOINT_ITEMS;
}

/* There is none, or no longer. */
static bool encode_nothing(struct buffer *out, const struct fetch_checkpoint_message *wanted) {
    struct checkpoint_digests_message const digests = {.seq = wanted->seq,
                                                       .first_group = wanted->first_group};
    struct checkpoint_items_message const items = {.seq = wanted->seq,
                                                   .first_group = wanted->first_group};
    switch (wanted->part) {
    case CHECKPOINT_OFFER:
        return offer_encode_none(out);
    case CHECKPOINT_DIGESTS:
        return checkpoint_digests_message_encode(out, &digests);
    case CHECKPOINT_ITEMS:
        break;
    }
    return checkpoint_items_message_encode(out, &items);
}

static void send_nothing(struct node *node, uint32_t peer,
                         const struct fetch_checkpoint_message *wanted) {
    buffer_clear(&node->scratch);
    if (encode_nothing(&node->scratch, wanted)) {
        peers_send(node, peer, answer_kind(wanted->part), buffer_span(&node->scratch));
    }
}

/* ---- on the thread: the offer ---------------------------------------------------------------- */

/* What reading the certificate needs. */
struct search {
    struct segment_reader reader;
    struct batch batch;
    struct batch later;
    struct buffer certificate;
};

/* The first batch that carries the checkpoint, and the evidence of it. */
static bool find_certificate(struct search *search, const struct join_service *service,
                             struct problem *problem) {
    if (segment_reader_seek(&search->reader, service->search_entry, problem) != 1) {
        return false;
    }
    do {
        if (!ledger_read_batch(&search->batch, &search->reader, problem)) {
            return false;
        }
    } while (search->batch.pre_prepare.checkpoint_seq < service->seq);
    return search->batch.pre_prepare.checkpoint_seq == service->seq &&
           ledger_read_certificate(&search->certificate, &search->later, &search->reader,
                                   &search->batch.seal.statement, search->batch.pre_prepare.seq,
                                   problem);
}

/* A ledger whose tail was replaced meanwhile makes no offer: the peer asks again. */
static void make_offer(struct serve_job *job) {
    struct join_service *const service = job->service;
    const struct node *const node = service->node;
    if (service->offer.size != 0) {
        (void)!buffer_append(&job->message, buffer_span(&service->offer)); /* made for another */
        return;
    }
    struct span const snapshot = state_snapshot_checkpoint(service->snapshot)->snapshot;
    struct search search = {.certificate = {0}};
    segment_reader_init(&search.reader, &node->ledger_disk.disk,
                        &node->identity.founding.configuration.service, true);
    batch_init(&search.batch);
    batch_init(&search.later);
    buffer_init(&search.certificate, COMMIT_CERTIFICATE_SIZE_MAX);
    buffer_clear(&service->offer);
    bool const made = disk_thread_ledger_version(node->disk) == job->version &&
                      find_certificate(&search, service, &job->problem) &&
                      offer_encode(&service->offer, snapshot, buffer_span(&search.certificate));
    if (!made || disk_thread_ledger_version(node->disk) != job->version) {
        buffer_clear(&service->offer);
    }
    buffer_free(&search.certificate);
    batch_free(&search.later);
    batch_free(&search.batch);
    segment_reader_free(&search.reader);
    if (service->offer.size != 0) {
        (void)!buffer_append(&job->message, buffer_span(&service->offer)); /* failed: no answer */
    }
}

/* ---- on the thread: the state ---------------------------------------------------------------- */

static bool is_stopping(void *context) {
    struct join_service *const service = context;
    return atomic_load(&service->stopping);
}

static bool have_index(struct serve_job *job) {
    struct join_service *const service = job->service;
    if (!service->indexed && !service->unfit) {
        service->indexed =
            state_snapshot_index(service->snapshot, is_stopping, service, &job->problem) == 1;
        service->unfit = !service->indexed;
    }
    return service->indexed;
}

static void read_digests(struct serve_job *job) {
    uint64_t const first = job->wanted.first_group;
    uint64_t count = 0;
    const struct digest *const digests =
        have_index(job) ? state_snapshot_digests(job->service->snapshot, &count) : NULL;
    if (digests == NULL || first >= count) {
        return;
    }
    uint64_t const left = count - first;
    struct checkpoint_digests_message const message = {
        .seq = job->wanted.seq,
        .first_group = first,
        .count = left < WIRE_DIGESTS_MAX ? (uint32_t)left : WIRE_DIGESTS_MAX,
        .digests = digests + first,
    };
    if (checkpoint_digests_message_encode(&job->message, &message)) {
        job->count = message.count;
        job->total = count;
    } else {
        buffer_clear(&job->message);
    }
}

static bool collect_item(void *context, struct span key, struct span value, bool deleted) {
    struct buffer *const items = context;
    struct state_item const item = {.key = key, .value = value};
    CHECK(!deleted);
    return buffer_append(items, span_of(&item, sizeof item));
}

static void read_items(struct serve_job *job) {
    struct state_part const part = {.first_group = job->wanted.first_group,
                                    .groups_max = WIRE_ITEMS_MAX / STATE_GROUP_ITEMS,
                                    .size_soft_max = RANGE_SIZE_SOFT_MAX};
    uint64_t total = 0;
    struct buffer items;
    buffer_init(&items, WIRE_ITEMS_MAX * sizeof(struct state_item));
    if (have_index(job) && state_snapshot_digests(job->service->snapshot, &total) != NULL &&
        state_snapshot_read(job->service->snapshot, &part, collect_item, &items, &job->problem) >
            0) {
        struct checkpoint_items_message const message = {
            .seq = job->wanted.seq,
            .first_group = job->wanted.first_group,
            .count = (uint32_t)(items.size / sizeof(struct state_item)),
            .items = (const void *)items.data, /* from realloc: aligned for any type */
        };
        if (checkpoint_items_message_encode(&job->message, &message)) {
            job->count = state_group_count(message.count);
            job->total = total;
        } else {
            buffer_clear(&job->message);
        }
    }
    buffer_free(&items);
}

/* ---- on the thread: signing for it, for an auditor ------------------------------------------- */

static enum served_part served_part_of(enum checkpoint_part part) {
    switch (part) {
    case CHECKPOINT_OFFER:
        return SERVED_OFFER;
    case CHECKPOINT_DIGESTS:
        return SERVED_DIGESTS;
    case CHECKPOINT_ITEMS:
        break;
    }
    return SERVED_ITEMS;
}

/* What is said of the bytes in `message`; an offer has no number but its checkpoint's. */
static struct served describe(const struct serve_job *job, const struct digest *constitution,
                              bool is_nothing) {
    const struct digest *const service = &job->service->node->identity.founding.genesis.service;
    bool const is_offer = job->wanted.part == CHECKPOINT_OFFER;
    uint64_t const offered = is_nothing ? 0 : job->service->seq;
    return (struct served){
        .config = job->constitution->number,
        .replica = job->self,
        .constitution = *constitution,
        .range_config = job->constitution->number,
        .range_constitution = *constitution,
        .demand = job->demand,
        .part = served_part_of(job->wanted.part),
        .seq = is_offer ? offered : job->wanted.seq,
        .first = job->wanted.first_group,
        .end = job->wanted.first_group + job->count,
        .available = job->total,
        .digest = served_bytes_digest(service, buffer_span(&job->message)),
    };
}

/* Leaves `served` empty when out of memory, or when the bytes do not fit one answer. */
static void sign_for(struct serve_job *job) {
    const struct identity *const identity = &job->service->node->identity;
    bool const is_nothing = job->message.size == 0;
    struct buffer statement;
    struct digest constitution;
    if ((is_nothing && !encode_nothing(&job->message, &job->wanted)) ||
        !constitution_digest(&constitution, job->constitution)) {
        return;
    }
    struct served const served = describe(job, &constitution, is_nothing);
    buffer_init(&statement, STATEMENT_SIZE_MAX);
    if (served_encode(&statement, &served)) {
        struct span const body = buffer_span(&statement);
        struct served_message const message = {
            .statement = {.body = body,
                          .signature = sign_labelled(
                              &identity->signing_key, &identity->key, LABEL_SERVED_RANGE,
                              &identity->founding.configuration.service, body)},
            .payload = buffer_span(&job->message),
        };
        if (!served_message_encode(&job->served, &message)) {
            buffer_clear(&job->served);
        }
    }
    buffer_free(&statement);
}

static void read_part(struct serve_job *job) {
    switch (job->wanted.part) {
    case CHECKPOINT_OFFER:
        make_offer(job);
        break;
    case CHECKPOINT_DIGESTS:
        read_digests(job);
        break;
    case CHECKPOINT_ITEMS:
        read_items(job);
        break;
    }
}

static void run(struct background_job *background_job) {
    struct serve_job *const job = (struct serve_job *)background_job;
    background_lower_priority();
    if (!job->has_nothing) {
        read_part(job);
    }
    if (job->for_auditor) {
        sign_for(job);
    }
}

/* ---- on the loop ----------------------------------------------------------------------------- */

static void close_snapshot(struct join_service *service) {
    CHECK(service->jobs == 0);
    state_snapshot_close(service->snapshot);
    service->snapshot = NULL;
    buffer_clear(&service->offer);
    (void)uv_timer_stop(&service->expiry); /* cannot fail */
}

/* Has it been open for long enough? */
static bool is_expired(const struct join_service *service) {
    uint64_t const now_ms = uv_now(&service->node->loop);
    return now_ms >= service->opened_ms + JOIN_PIN_MS_MAX ||
           now_ms >= service->used_ms + JOIN_PIN_IDLE_MS;
}

static void on_expiry(uv_timer_t *timer) {
    struct join_service *const service = timer->data;
    if (service->snapshot != NULL && service->jobs == 0 && is_expired(service)) {
        close_snapshot(service);
    }
}

static void log_job(struct node *node, const struct serve_job *job) {
    if (job->problem.code != EXIT_OK && job->for_auditor) {
        log_limited(&node->log_limiter, LOG_ERROR, "cannot read a checkpoint for an auditor",
                    (struct log_field[]){log_text("problem", job->problem.text), log_end()});
    } else if (job->problem.code != EXIT_OK) {
        log_limited(&node->log_limiter, LOG_ERROR, "cannot read a checkpoint for a peer",
                    (struct log_field[]){log_number("peer", job->peer),
                                         log_text("problem", job->problem.text), log_end()});
    }
}

static void answer_peer(struct node *node, const struct serve_job *job) {
    node->join_service->under_way[job->peer] = false;
    if (!node->stopping && job->message.size != 0) {
        peers_send(node, job->peer, answer_kind(job->wanted.part), buffer_span(&job->message));
    } else if (!node->stopping) {
        send_nothing(node, job->peer, &job->wanted);
    }
}

static void done(struct background_job *background_job) {
    struct serve_job *const job = (struct serve_job *)background_job;
    struct join_service *const service = job->service;
    struct node *const node = service->node;
    service->jobs -= job->has_nothing ? 0 : 1; /* else it was not counted: it reads nothing */
    log_job(node, job);
    if (!job->has_nothing && service->jobs == 0 && service->offer.size == 0) {
        close_snapshot(service); /* what cannot be proved is not kept open */
    }
    if (job->for_auditor) {
        service->auditor_under_way = false;
        demand_service_answer(node, buffer_span(&job->served));
    } else {
        answer_peer(node, job);
    }
    buffer_free(&job->served);
    buffer_free(&job->message);
    free(job->constitution);
    free(job);
}

/* The batches that carry the checkpoint begin with that of the one after it, the newest. */
static bool find_search_entry(struct join_service *service) {
    const struct state_checkpoint *const newest = state_store_checkpoint(service->node->store);
    struct checker_snapshot snapshot;
    struct checkpoint_header header;
    struct arena arena;
    arena_init(&arena, 2 * (size_t)SNAPSHOT_SIZE_MAX);
    bool const found = newest->present &&
                       checker_snapshot_decode(&snapshot, &arena, newest->snapshot) == CODEC_OK &&
                       checkpoint_header_decode(&header, &arena, snapshot.header) == CODEC_OK;
    if (found) {
        bool const has_past = snapshot.past_entry != 0;
        service->search_entry = has_past ? snapshot.past_entry : header.entries;
    }
    arena_free(&arena);
    return found;
}

static bool open_snapshot(struct join_service *service) {
    struct node *const node = service->node;
    struct problem problem = {0};
    service->snapshot = state_snapshot_open(node->store, &problem);
    if (service->snapshot == NULL && problem.code != EXIT_OK) {
        log_limited(&node->log_limiter, LOG_ERROR, "cannot read a checkpoint for a peer",
                    (struct log_field[]){log_text("problem", problem.text), log_end()});
    }
    if (service->snapshot == NULL) {
        return false;
    }
    service->seq = state_snapshot_checkpoint(service->snapshot)->seq;
    service->indexed = false;
    service->unfit = false;
    service->opened_ms = uv_now(&node->loop);
    buffer_clear(&service->offer);
    if (!find_search_entry(service)) {
        close_snapshot(service);
        return false;
    }
    CHECK(uv_timer_start(&service->expiry, on_expiry, JOIN_PIN_IDLE_MS, JOIN_PIN_IDLE_MS) == 0);
    return true;
}

/* A job for anybody. NULL: out of memory. */
static struct serve_job *new_job(struct join_service *service,
                                 const struct fetch_checkpoint_message *wanted) {
    struct serve_job *const job = calloc(1, sizeof *job);
    if (job == NULL) {
        return NULL;
    }
    *job = (struct serve_job){.job = {.run = run, .done = done},
                              .service = service,
                              .wanted = *wanted,
                              .self = replica_self(service->node->replica),
                              .version = service->node->ledger_version};
    buffer_init(&job->message, FRAME_SIZE_MAX);
    buffer_init(&job->served, FRAME_SIZE_MAX);
    return job;
}

static void start(struct join_service *service, uint32_t peer,
                  const struct fetch_checkpoint_message *wanted) {
    struct serve_job *const job = new_job(service, wanted);
    if (job == NULL) {
        return; /* whoever asked asks again */
    }
    job->peer = peer;
    service->under_way[peer] = true;
    service->jobs++;
    background_add(service->thread, &job->job);
}

/* Is there something of what is wanted? */
static bool can_serve(struct join_service *service, const struct fetch_checkpoint_message *wanted) {
    if (service->snapshot != NULL && is_expired(service) && service->jobs == 0) {
        close_snapshot(service);
    }
    if (wanted->part == CHECKPOINT_OFFER) {
        return service->snapshot != NULL ? !is_expired(service) : open_snapshot(service);
    }
    return service->snapshot != NULL && wanted->seq == service->seq && !is_expired(service);
}

void join_service_take(struct node *node, uint32_t peer,
                       const struct fetch_checkpoint_message *message) {
    struct join_service *const service = node->join_service;
    if (service->under_way[peer] || node->stopping) {
        return;
    }
    if (!can_serve(service, message)) {
        send_nothing(node, peer, message);
        return;
    }
    service->used_ms = uv_now(&node->loop);
    if (message->part == CHECKPOINT_OFFER && service->jobs == 0 && service->offer.size != 0) {
        peers_send(node, peer, MESSAGE_CHECKPOINT_OFFER, buffer_span(&service->offer));
    } else {
        start(service, peer, message);
    }
}

bool join_service_demand(struct node *node, const struct fetch_checkpoint_message *wanted,
                         const struct digest *demand) {
    struct join_service *const service = node->join_service;
    CHECK(!service->auditor_under_way);
    struct constitution *const constitution = node_copy_constitution(node);
    struct serve_job *const job = constitution == NULL ? NULL : new_job(service, wanted);
    if (job == NULL) {
        free(constitution);
        return false;
    }
    job->for_auditor = true;
    job->constitution = constitution;
    job->demand = *demand;
    job->has_nothing = !can_serve(service, wanted);
    service->used_ms = job->has_nothing ? service->used_ms : uv_now(&node->loop);
    service->auditor_under_way = true;
    service->jobs += job->has_nothing ? 0 : 1;
    background_add(service->thread, &job->job);
    return true;
}

/* ---- life ------------------------------------------------------------------------------------ */

int join_service_start(struct node *node, struct problem *problem) {
    struct join_service *const service = calloc(1, sizeof *service);
    if (service == NULL) {
        return problem_set(problem, EXIT_ERROR, "set up checkpoints for peers: out of memory");
    }
    node->join_service = service;
    service->node = node;
    buffer_init(&service->offer, FRAME_SIZE_MAX);
    CHECK(uv_timer_init(&node->loop, &service->expiry) == 0); /* cannot fail */
    service->expiry.data = service;
    service->thread = background_start(&node->loop, problem);
    return service->thread == NULL ? -1 : 0;
}

void join_service_stop(struct node *node) {
    struct join_service *const service = node->join_service;
    atomic_store(&service->stopping, true);
    background_stop(service->thread);
    uv_close((uv_handle_t *)&service->expiry, NULL);
}

void join_service_free(struct node *node) {
    struct join_service *const service = node->join_service;
    if (service != NULL) {
        state_snapshot_close(service->snapshot);
        buffer_free(&service->offer);
        free(service);
        node->join_service = NULL;
    }
}
