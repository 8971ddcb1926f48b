/*
 * demand_service: see demand_service.h.
 *
 * Invariants: a place is free, or in exactly one state; the place that is being read is the
 * thread's until its job is done, and there is at most one. `durable_entries` never counts what the
 * disk has not confirmed.
 */
#include "node/demand_service.h"

#include <stdlib.h>

#include "base/check.h"
#include "ledger/served.h"
#include "node/chain_keeper.h"
#include "node/join_service.h"
#include "node/node.h"
#include "node/range_piece.h"

enum place_state {
    PLACE_FREE = 0,
    PLACE_CHECKED, /* its signature is on the way */
    PLACE_WAITING,
    PLACE_READ,
    PLACE_READ_STATE /* by join_service */
};

/* A demand under way. */
struct place {
    enum place_state state;
    uint64_t number; /* in the order in which they came */
    uint64_t origin;
    uint32_t author;
    struct demand demand;
    struct digest digest;
};

/* One demand being answered. */
struct demand_job {
    struct background_job job;
    struct node *node;
    struct place *place;
    struct constitution *constitution; /* in which it is signed: a copy */
    uint32_t self;
    uint64_t range_config;                   /* in which the piece lies; 0: nothing was read yet */
    struct constitution *range_constitution; /* an earlier one, a copy; NULL: as `constitution` */
    uint64_t first_entry;                    /* what is handed over begins at or after it */
    uint64_t end_entry;                      /* how far the ledger goes */
    uint64_t version;                        /* of the ledger */
    bool changed;                            /* it was replaced meanwhile */
    bool unsound;                            /* what was read is no range: nothing was signed */
    struct range_piece piece;
    struct buffer range; /* encoded */
    struct buffer message;
    struct problem problem;
};

struct demand_service {
    struct background *thread;
    uv_timer_t again;
    bool reading;
    uint64_t demands; /* so far */
    struct place places[DEMANDS_MAX];

    uint64_t durable_entries; /* of the ledger */
    uint64_t next_entries;    /* durable with next_position, the next to be looked at */
    uint64_t next_position;
    uint64_t last_entries; /* the same, of the last that was written */
    uint64_t last_position;
};

/* ---- how far the ledger is durable ----------------------------------------------------------- */

void demand_service_wrote(struct node *node, uint64_t position, uint64_t entries) {
    struct demand_service *const service = node->demand_service;
    service->last_position = position;
    service->last_entries = entries;
    demand_service_durable(node);
}

void demand_service_cut(struct node *node, uint64_t entries) {
    struct demand_service *const service = node->demand_service;
    if (service->durable_entries > entries) {
        service->durable_entries = entries;
    }
    service->next_position = 0;
    service->last_position = 0;
}

static void look_at_marks(struct demand_service *service, uint64_t durable) {
    if (service->next_position == 0) {
        service->next_position = service->last_position;
        service->next_entries = service->last_entries;
        service->last_position = 0;
    }
    if (service->next_position != 0 && service->next_position <= durable) {
        service->durable_entries = service->next_entries;
        service->next_position = 0;
    }
}

/* Two marks are enough: one that waits for the disk, and the newest, which takes its place. */
void demand_service_durable(struct node *node) {
    look_at_marks(node->demand_service, node->durable);
    look_at_marks(node->demand_service, node->durable);
}

/* ---- on the thread --------------------------------------------------------------------------- */

/* The piece as bytes; whole batches are left out at the end until they fit into one answer. */
static bool encode_range(struct demand_job *job) {
    struct range_message message;
    do {
        buffer_clear(&job->range);
        if (range_piece_message(&job->piece, &message) &&
            range_message_encode(&job->range, &message)) {
            return true;
        }
    } while (range_piece_drop_last(&job->piece));
    return false;
}

static void sign_answer(struct demand_job *job, const struct served *served) {
    const struct identity *const identity = &job->node->identity;
    struct buffer statement;
    buffer_init(&statement, STATEMENT_SIZE_MAX);
    if (served_encode(&statement, served)) {
        struct span const body = buffer_span(&statement);
        struct served_message const message = {
            .statement = {.body = body,
                          .signature = sign_labelled(
                              &identity->signing_key, &identity->key, LABEL_SERVED_RANGE,
                              &identity->founding.configuration.service, body)},
            .payload = buffer_span(&job->range),
        };
        if (!served_message_encode(&job->message, &message)) {
            buffer_clear(&job->message);
        }
    }
    buffer_free(&statement);
}

/* Sign for the piece, if it is what a correct replica may sign for. */
static void answer_by(struct demand_job *job, const struct configuration *configuration,
                      const struct digest *constitution, const struct digest *range_constitution) {
    uint64_t const first = job->place->demand.first;
    struct served const served = {
        .config = job->constitution->number,
        .replica = job->self,
        .constitution = *constitution,
        .range_config = configuration->number,
        .range_constitution = *range_constitution,
        .demand = job->place->digest,
        .part = SERVED_ENTRIES,
        .first = first,
        .end = first + job->piece.count,
        .available = job->end_entry,
        .digest = served_bytes_digest(&configuration->service, buffer_span(&job->range)),
    };
    struct served_judgement const judgement =
        served_range_judge(configuration, &served, buffer_span(&job->range), NULL);
    job->unsound = !judgement.failed && judgement.rule != RULE_NONE;
    if (!judgement.failed && judgement.rule == RULE_NONE) {
        sign_answer(job, &served);
    }
}

static void answer(struct demand_job *job) {
    const struct constitution *const of_range =
        job->range_constitution == NULL ? job->constitution : job->range_constitution;
    struct configuration *const configuration = malloc(sizeof *configuration);
    struct digest digests[2];
    if (configuration != NULL && constitution_digest(&digests[0], job->constitution) &&
        constitution_digest(&digests[1], of_range) && encode_range(job)) {
        constitution_configuration(configuration, of_range);
        answer_by(job, configuration, &digests[0], &digests[1]);
    }
    free(configuration);
}

/* Does it take a constitution that is yet to be found? Then the loop finds it. */
static bool lacks_constitution(const struct demand_job *job) {
    return job->range_config != 0 && job->range_config != job->constitution->number &&
           job->range_constitution == NULL;
}

static void read_piece(struct demand_job *job) {
    const struct node *const node = job->node;
    uint64_t const first = job->place->demand.first;
    struct segment_reader reader;
    segment_reader_init(&reader, &node->ledger_disk.disk,
                        &node->identity.founding.configuration.service, true);
    job->changed = disk_thread_ledger_version(node->disk) != job->version;
    if (!job->changed) {
        uint64_t const end = first >= job->first_entry ? job->end_entry : first;
        (void)!range_piece_read(&job->piece, &reader, first, end, &job->problem);
        job->changed = disk_thread_ledger_version(node->disk) != job->version;
    }
    segment_reader_free(&reader);
}

static void run(struct background_job *background_job) {
    struct demand_job *const job = (struct demand_job *)background_job;
    background_lower_priority();
    if (job->range_config == 0) {
        read_piece(job);
        job->unsound = !job->changed && job->piece.count != 0 &&
                       !range_piece_keep_configuration(&job->piece, &job->range_config);
    }
    if (job->changed) {
        job->problem = (struct problem){0};
    } else if (!job->unsound && !lacks_constitution(job) &&
               (job->problem.code == EXIT_OK || job->piece.count != 0)) {
        answer(job); /* what came before a problem is handed over; done tells of the problem */
    }
}

/* ---- on the loop ----------------------------------------------------------------------------- */

static void serve_next(struct node *node);

static void log_job(struct node *node, const struct demand_job *job) {
    if (job->problem.code != EXIT_OK) {
        log_limited(&node->log_limiter, LOG_ERROR, "cannot read the ledger for an auditor",
                    (struct log_field[]){log_text("problem", job->problem.text), log_end()});
    }
    if (job->unsound) {
        log_limited(&node->log_limiter, LOG_WARN, "what an auditor demands is no range: not signed",
                    (struct log_field[]){log_number("entry", job->place->demand.first), log_end()});
    }
}

/*
 * Returns: false when it is not known here, or not now; or when this replica has left the
 * configuration again whose beginning its disk still has (protocol §9).
 */
static bool find_constitution(struct demand_job *job) {
    struct node *const node = job->node;
    if (job->range_config > job->constitution->number) {
        return false;
    }
    const struct constitution *known = replica_constitution_of(node->replica, job->range_config);
    if (known == NULL) {
        known = chain_keeper_find(node, job->range_config);
    }
    struct constitution *const copy = known == NULL ? NULL : malloc(sizeof *copy);
    if (copy != NULL) {
        *copy = *known;
    }
    job->range_constitution = copy;
    return copy != NULL;
}

static enum reject_reason refusal(const struct demand_job *job) {
    if (job->unsound) {
        return REJECT_MALFORMED;
    }
    return lacks_constitution(job) ? REJECT_BUSY : REJECT_UNKNOWN;
}

static void done(struct background_job *background_job) {
    struct demand_job *const job = (struct demand_job *)background_job;
    struct node *const node = job->node;
    struct place *const place = job->place;
    if (!node->stopping && !job->changed && lacks_constitution(job) && find_constitution(job)) {
        background_add(node->demand_service->thread, &job->job); /* and now it is judged */
        return;
    }
    node->demand_service->reading = false;
    log_job(node, job);
    place->state = job->changed ? PLACE_WAITING : PLACE_FREE;
    if (!node->stopping && !job->changed) {
        if (job->message.size != 0) {
            clients_send(node, place->origin, MESSAGE_SERVED, buffer_span(&job->message));
        } else {
            clients_reject(node, place->origin, &place->digest, refusal(job));
        }
    }
    range_piece_free(&job->piece);
    buffer_free(&job->range);
    buffer_free(&job->message);
    free(job->constitution);
    free(job->range_constitution);
    free(job);
    serve_next(node);
}

/* The one that has waited longest; those whose client has gone lose their place. */
static struct place *next_place(struct node *node) {
    struct demand_service *const service = node->demand_service;
    struct place *next = NULL;
    for (uint32_t i = 0; i < DEMANDS_MAX; i++) {
        struct place *const place = &service->places[i];
        if (place->state == PLACE_WAITING && !clients_is_there(node, place->origin)) {
            place->state = PLACE_FREE;
        }
        if (place->state == PLACE_WAITING && (next == NULL || place->number < next->number)) {
            next = place;
        }
    }
    return next;
}

static void start(struct node *node, struct place *place) {
    struct demand_service *const service = node->demand_service;
    struct demand_job *const job = calloc(1, sizeof *job);
    struct constitution *const constitution = node_copy_constitution(node);
    if (job == NULL || constitution == NULL) {
        free(job);
        free(constitution);
        clients_reject(node, place->origin, &place->digest, REJECT_BUSY);
        place->state = PLACE_FREE;
        return;
    }
    *job = (struct demand_job){.job = {.run = run, .done = done},
                               .node = node,
                               .place = place,
                               .constitution = constitution,
                               .self = replica_self(node->replica),
                               .first_entry = node->beginning.end_entry,
                               .end_entry = service->durable_entries,
                               .version = node->ledger_version};
    range_piece_init(&job->piece);
    buffer_init(&job->range, SERVED_PAYLOAD_SIZE_MAX);
    buffer_init(&job->message, FRAME_SIZE_MAX);
    place->state = PLACE_READ;
    service->reading = true;
    background_add(service->thread, &job->job);
}

/* A part of a checkpoint is read and signed for by who hands it to peers. */
static void start_state(struct node *node, struct place *place) {
    const struct demand *const demand = &place->demand;
    struct fetch_checkpoint_message wanted = {
        .part = CHECKPOINT_OFFER, .seq = demand->seq, .first_group = demand->first};
    switch (demand->part) {
    case SERVED_ENTRIES:
    case SERVED_OFFER:
        break;
    case SERVED_DIGESTS:
        wanted.part = CHECKPOINT_DIGESTS;
        break;
    case SERVED_ITEMS:
        wanted.part = CHECKPOINT_ITEMS;
        break;
    }
    if (!join_service_demand(node, &wanted, &place->digest)) {
        clients_reject(node, place->origin, &place->digest, REJECT_BUSY);
        place->state = PLACE_FREE;
        return;
    }
    place->state = PLACE_READ_STATE;
    node->demand_service->reading = true;
}

void demand_service_answer(struct node *node, struct span message) {
    struct demand_service *const service = node->demand_service;
    for (uint32_t i = 0; i < DEMANDS_MAX; i++) {
        struct place *const place = &service->places[i];
        if (place->state != PLACE_READ_STATE) {
            continue;
        }
        place->state = PLACE_FREE;
        if (!node->stopping && message.size != 0) {
            clients_send(node, place->origin, MESSAGE_SERVED, message);
        } else if (!node->stopping) {
            clients_reject(node, place->origin, &place->digest, REJECT_BUSY);
        }
    }
    service->reading = false;
    serve_next(node);
}

static void on_again(uv_timer_t *timer) {
    serve_next(timer->data);
}

/* Answers that nobody takes, and a tail that is being replaced, are waited for. */
static void serve_next(struct node *node) {
    struct demand_service *const service = node->demand_service;
    if (service->reading || node->stopping) {
        return;
    }
    struct place *place = next_place(node);
    while (place != NULL && replica_self(node->replica) == REPLICAS_MAX) {
        clients_reject(node, place->origin, &place->digest, REJECT_UNKNOWN);
        place->state = PLACE_FREE; /* it was one of the replicas when that was demanded */
        place = next_place(node);
    }
    if (place == NULL) {
        return;
    }
    bool const must_wait = disk_thread_ledger_version(node->disk) != node->ledger_version ||
                           clients_backlog(node) > DEMANDS_UNREAD_SIZE_MAX;
    if (must_wait) {
        /* Fails only without a callback. */
        CHECK(uv_timer_start(&service->again, on_again, DEMAND_RETRY_MS, 0) == 0);
    } else if (place->demand.part == SERVED_ENTRIES) {
        start(node, place);
    } else {
        start_state(node, place);
    }
}

bool demand_service_reserve(struct node *node, uint64_t origin, uint32_t author) {
    struct demand_service *const service = node->demand_service;
    struct place *free_place = NULL;
    uint32_t of_author = 0;
    for (uint32_t i = 0; i < DEMANDS_MAX; i++) {
        struct place *const place = &service->places[i];
        if (place->state == PLACE_FREE) {
            free_place = place;
        } else if (place->origin == origin) {
            return false;
        } else {
            of_author += place->author == author ? 1 : 0;
        }
    }
    if (free_place == NULL || of_author >= DEMANDS_PER_AUTHOR_MAX) {
        return false;
    }
    *free_place = (struct place){
        .state = PLACE_CHECKED, .number = ++service->demands, .origin = origin, .author = author};
    return true;
}

void demand_service_checked(struct node *node, uint64_t origin, const struct demand_check *check,
                            bool good) {
    struct demand_service *const service = node->demand_service;
    for (uint32_t i = 0; i < DEMANDS_MAX; i++) {
        struct place *const place = &service->places[i];
        if (place->state == PLACE_CHECKED && place->origin == origin) {
            place->demand = check->demand;
            place->digest = check->digest;
            place->state = good ? PLACE_WAITING : PLACE_FREE;
        }
    }
    serve_next(node);
}

/* ---- life ------------------------------------------------------------------------------------ */

int demand_service_start(struct node *node, struct problem *problem) {
    struct demand_service *const service = calloc(1, sizeof *service);
    if (service == NULL) {
        return problem_set(problem, EXIT_ERROR, "set up answers to auditors: out of memory");
    }
    node->demand_service = service;
    service->durable_entries = segment_writer_next_index(&node->ledger);
    CHECK(uv_timer_init(&node->loop, &service->again) == 0); /* cannot fail */
    service->again.data = node;
    service->thread = background_start(&node->loop, problem);
    return service->thread == NULL ? -1 : 0;
}

void demand_service_stop(struct node *node) {
    background_stop(node->demand_service->thread);
    uv_close((uv_handle_t *)&node->demand_service->again, NULL);
}

void demand_service_free(struct node *node) {
    free(node->demand_service);
    node->demand_service = NULL;
}
