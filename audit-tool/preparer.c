/*
 * preparer: see preparer.h. Requests are taken in portions, in the order of the batch.
 *
 * Invariants, under the mutex: portions before `claimed` belong to whoever claimed them, until they
 * are ready; from then on to the consumer. No thread is at any once preparer_end returned.
 */
#include "audit-tool/preparer.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/check.h"

/* A portion is full with so many requests, or bytes. */
#define PORTION_REQUESTS 16u
#define PORTION_SIZE 4096u
/* What is decoded is larger than what is encoded, as in replay_init; and the requests themselves.
 */
#define PORTION_ARENA_SIZE                                                                         \
    (3 * (size_t)ENTRY_SIZE_MAX + PORTION_REQUESTS * sizeof(struct replay_request))

struct portion {
    uint32_t first; /* of its requests in the batch */
    uint32_t count;
    bool ready;
    struct arena arena;
    struct replay_request *requests; /* in the arena; NULL: memory is short */
};

struct preparer {
    struct digest service;
    struct signatures *signatures;
    pthread_mutex_t mutex;
    pthread_cond_t ready;
    const struct batch *batch;
    uint32_t count;
    uint32_t capacity;
    uint32_t claimed;
    struct portion *portions;

    /* the consumer's own: which request comes next */
    uint32_t at_portion;
    uint32_t at_request;
};

struct preparer *preparer_new(const struct digest *service, struct signatures *signatures) {
    struct preparer *const preparer = calloc(1, sizeof *preparer);
    if (preparer != NULL) {
        preparer->service = *service;
        preparer->signatures = signatures;
        CHECK(pthread_mutex_init(&preparer->mutex, NULL) == 0);
        CHECK(pthread_cond_init(&preparer->ready, NULL) == 0);
    }
    return preparer;
}

void preparer_free(struct preparer *preparer) {
    if (preparer == NULL) {
        return;
    }
    CHECK(preparer->batch == NULL);
    for (uint32_t i = 0; i < preparer->capacity; i++) {
        arena_free(&preparer->portions[i].arena);
    }
    pthread_cond_destroy(&preparer->ready);
    pthread_mutex_destroy(&preparer->mutex);
    free(preparer->portions);
    free(preparer);
}

/* ---- portions -------------------------------------------------------------------------------- */

static void prepare(const struct preparer *preparer, struct portion *portion) {
    arena_reset(&portion->arena);
    portion->requests = arena_alloc(&portion->arena, portion->count * sizeof *portion->requests);
    for (uint32_t i = 0; portion->requests != NULL && i < portion->count; i++) {
        replay_request_prepare(&portion->requests[i], &portion->arena, &preparer->service,
                               batch_request_payload(preparer->batch, portion->first + i));
    }
}

/* With the mutex held, and something left: prepare one portion without it. */
static void take_portion(struct preparer *preparer) {
    struct portion *const portion = &preparer->portions[preparer->claimed++];
    pthread_mutex_unlock(&preparer->mutex);
    prepare(preparer, portion);
    pthread_mutex_lock(&preparer->mutex);
    portion->ready = true;
    pthread_cond_signal(&preparer->ready);
}

static bool help(void *context) {
    struct preparer *const preparer = context;
    pthread_mutex_lock(&preparer->mutex);
    bool const any = preparer->claimed < preparer->count;
    if (any) {
        take_portion(preparer);
    }
    pthread_mutex_unlock(&preparer->mutex);
    return any;
}

/* One more at the end. NULL: memory is short. */
static struct portion *portion_add(struct preparer *preparer, uint32_t first) {
    if (preparer->count == preparer->capacity) {
        uint32_t const capacity = preparer->capacity == 0 ? 64 : 2 * preparer->capacity;
        struct portion *const grown =
            realloc(preparer->portions, capacity * sizeof *preparer->portions);
        if (grown == NULL) {
            return NULL;
        }
        for (uint32_t i = preparer->capacity; i < capacity; i++) {
            arena_init(&grown[i].arena, PORTION_ARENA_SIZE);
        }
        preparer->portions = grown;
        preparer->capacity = capacity;
    }
    struct portion *const portion = &preparer->portions[preparer->count++];
    portion->first = first;
    portion->count = 0;
    portion->ready = false;
    return portion;
}

static bool portions_make(struct preparer *preparer, const struct batch *batch) {
    struct portion *portion = NULL;
    size_t size = 0;
    for (uint32_t i = 0; i < batch->request_count; i++) {
        if (portion == NULL || portion->count == PORTION_REQUESTS || size >= PORTION_SIZE) {
            portion = portion_add(preparer, i);
            size = 0;
        }
        if (portion == NULL) {
            return false;
        }
        portion->count++;
        size += batch_request_payload(batch, i).size;
    }
    return true;
}

/* ---- one batch ------------------------------------------------------------------------------- */

/* Wait until the portion is ready; do what is left to do instead of waiting. */
static void await(struct preparer *preparer, const struct portion *portion) {
    pthread_mutex_lock(&preparer->mutex);
    while (!portion->ready) {
        if (preparer->claimed < preparer->count) {
            take_portion(preparer);
        } else {
            pthread_cond_wait(&preparer->ready, &preparer->mutex);
        }
    }
    pthread_mutex_unlock(&preparer->mutex);
}

static const struct replay_request *next(void *context) {
    static const struct replay_request none; /* does not decode */
    struct preparer *const preparer = context;
    CHECK(preparer->at_portion < preparer->count);
    const struct portion *const portion = &preparer->portions[preparer->at_portion];
    if (preparer->at_request == 0) {
        await(preparer, portion);
    }
    const struct replay_request *const request =
        portion->requests == NULL ? &none : &portion->requests[preparer->at_request];
    preparer->at_request++;
    if (preparer->at_request == portion->count) {
        preparer->at_portion++;
        preparer->at_request = 0;
    }
    return request;
}

struct replay_source preparer_begin(struct preparer *preparer, const struct batch *batch) {
    CHECK(preparer->batch == NULL);
    preparer->count = 0;
    preparer->claimed = 0;
    preparer->at_portion = 0;
    preparer->at_request = 0;
    if (!portions_make(preparer, batch) || preparer->count < 2) {
        return (struct replay_source){0};
    }
    preparer->batch = batch;
    signatures_send(preparer->signatures, (struct errand){.context = preparer, .run = help});
    return (struct replay_source){.context = preparer, .next = next};
}

void preparer_end(struct preparer *preparer) {
    if (preparer->batch == NULL) {
        return;
    }
    pthread_mutex_lock(&preparer->mutex);
    preparer->claimed = preparer->count; /* what nobody needs any more */
    pthread_mutex_unlock(&preparer->mutex);
    signatures_recall(preparer->signatures);
    preparer->batch = NULL;
}
