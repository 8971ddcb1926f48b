/*
 * signatures: see signatures.h. Checks are collected into blocks, and whole blocks change hands
 * under the mutex: a block belongs to the collecting thread while it fills, then to the list, then
 * to the one worker that took it. Bodies are copies, which live until everything is settled.
 */
#include "audit-tool/signatures.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/check.h"

#define BLOCK_CHECKS 4u /* how many checks are handed over at once */
#define KNOWN_SLOTS ((size_t)1 << 19)
#define BODIES_SIZE_MAX ((size_t)64 << 20)

/* A portion of checks with copies of their bodies. */
struct block {
    struct block *next;
    uint32_t count;
    struct sign_check checks[BLOCK_CHECKS];
    enum rule rules[BLOCK_CHECKS];
};

struct signatures {
    struct digest service;
    uint32_t thread_count; /* besides this one */
    pthread_t threads[SIGNATURE_JOBS_MAX];
    pthread_mutex_t mutex;
    pthread_cond_t work;
    pthread_cond_t done;
    bool stopping;
    struct block *ready; /* waiting for a worker */
    uint32_t busy;       /* blocks that workers are at */
    bool all_hold;

    struct errand errand; /* run is NULL: there is none, or nothing is left of it */
    uint32_t errand_busy; /* threads that are at it */

    struct digest *known; /* NULL: none; of statements, each where its first bytes say */

    struct block *filling; /* the collecting thread's own */
    struct block *used;    /* to be freed at the next settle */
    struct arena bodies;
};

bool signature_holds(const struct digest *service, const struct sign_check *check, enum rule rule) {
    return rule_convicts(rule) ? sign_verify(service, check)
                               : sign_verify_universal(service, check);
}

static bool check_at_once(void *context, const struct sign_check *check, enum rule rule) {
    return signature_holds(context, check, rule);
}

struct sign_sink signatures_sink_at_once(const struct digest *service) {
    union {
        const void *constant;
        void *plain;
    } const context = {.constant = service}; /* the sink only reads it */
    return (struct sign_sink){.context = context.plain, .check = check_at_once};
}

/* ---- workers ---- */

static struct digest *known_slot(const struct signatures *signatures,
                                 const struct digest *statement) {
    return &signatures->known[load_u64_be(statement->bytes) % KNOWN_SLOTS];
}

/* All of these say in their body, or in the request's header, whose key is meant. */
static bool is_known(const struct signatures *signatures, const struct sign_check *check) {
    bool const may_be = check->label == LABEL_REQUEST || check->label == LABEL_PRE_PREPARE ||
                        check->label == LABEL_PREPARE;
    if (signatures->known == NULL || !may_be) {
        return false;
    }
    enum label const label = check->label == LABEL_REQUEST ? LABEL_REQUEST_DIGEST : check->label;
    struct digest const statement =
        hash_statement(label, &signatures->service, check->body, &check->signature);
    return digest_equal(known_slot(signatures, &statement), &statement);
}

void signatures_learn(struct signatures *signatures, const struct digest *statement) {
    if (signatures->known == NULL) {
        signatures->known = calloc(KNOWN_SLOTS, sizeof *signatures->known);
    }
    if (signatures->known != NULL) { /* else it is only slower */
        *known_slot(signatures, statement) = *statement;
    }
}

static bool block_holds(const struct signatures *signatures, const struct block *block) {
    bool all_hold = true;
    for (uint32_t i = 0; i < block->count && all_hold; i++) {
        all_hold = is_known(signatures, &block->checks[i]) ||
                   signature_holds(&signatures->service, &block->checks[i], block->rules[i]);
    }
    return all_hold;
}

/* With the mutex held: check one block without it. */
static void take_block(struct signatures *signatures) {
    struct block *const block = signatures->ready;
    signatures->ready = block->next;
    signatures->busy++;
    pthread_mutex_unlock(&signatures->mutex);
    bool const all_hold = block_holds(signatures, block);
    pthread_mutex_lock(&signatures->mutex);
    block->next = signatures->used;
    signatures->used = block;
    signatures->all_hold &= all_hold;
    signatures->busy--;
    pthread_cond_signal(&signatures->done);
}

/* With the mutex held: a piece of the errand without it. */
static void take_errand(struct signatures *signatures) {
    struct errand const errand = signatures->errand;
    signatures->errand_busy++;
    pthread_mutex_unlock(&signatures->mutex);
    bool const goes_on = errand.run(errand.context);
    pthread_mutex_lock(&signatures->mutex);
    signatures->errand_busy--;
    if (!goes_on) {
        signatures->errand.run = NULL; /* the same one: the next is sent when nobody is at this */
    }
    if (signatures->errand_busy == 0) {
        pthread_cond_signal(&signatures->done);
    }
}

static void *worker_run(void *argument) {
    struct signatures *const signatures = argument;
    pthread_mutex_lock(&signatures->mutex);
    while (!signatures->stopping) {
        if (signatures->errand.run != NULL) {
            take_errand(signatures);
        } else if (signatures->ready != NULL) {
            take_block(signatures);
        } else {
            pthread_cond_wait(&signatures->work, &signatures->mutex);
        }
    }
    pthread_mutex_unlock(&signatures->mutex);
    return NULL;
}

struct signatures *signatures_new(const struct digest *service, uint32_t jobs) {
    CHECK(jobs >= 1 && jobs <= SIGNATURE_JOBS_MAX);
    struct signatures *const signatures = calloc(1, sizeof *signatures);
    if (signatures == NULL) {
        return NULL;
    }
    signatures->service = *service;
    signatures->all_hold = true;
    arena_init(&signatures->bodies, BODIES_SIZE_MAX);
    CHECK(pthread_mutex_init(&signatures->mutex, NULL) == 0);
    CHECK(pthread_cond_init(&signatures->work, NULL) == 0);
    CHECK(pthread_cond_init(&signatures->done, NULL) == 0);
    for (uint32_t i = 1; i < jobs; i++) {
        if (pthread_create(&signatures->threads[signatures->thread_count], NULL, worker_run,
                           signatures) != 0) {
            signatures_free(signatures);
            return NULL;
        }
        signatures->thread_count++;
    }
    return signatures;
}

static void blocks_free(struct block *block) {
    while (block != NULL) {
        struct block *const next = block->next;
        free(block);
        block = next;
    }
}

void signatures_free(struct signatures *signatures) {
    if (signatures == NULL) {
        return;
    }
    pthread_mutex_lock(&signatures->mutex);
    signatures->stopping = true;
    pthread_cond_broadcast(&signatures->work);
    pthread_mutex_unlock(&signatures->mutex);
    for (uint32_t i = 0; i < signatures->thread_count; i++) {
        CHECK(pthread_join(signatures->threads[i], NULL) == 0);
    }
    blocks_free(signatures->ready);
    blocks_free(signatures->used);
    blocks_free(signatures->filling);
    pthread_cond_destroy(&signatures->work);
    pthread_cond_destroy(&signatures->done);
    pthread_mutex_destroy(&signatures->mutex);
    arena_free(&signatures->bodies);
    free(signatures->known);
    free(signatures);
}

bool signatures_have_help(const struct signatures *signatures) {
    return signatures->thread_count != 0;
}

void signatures_send(struct signatures *signatures, struct errand errand) {
    pthread_mutex_lock(&signatures->mutex);
    CHECK(signatures->errand.run == NULL && signatures->errand_busy == 0);
    signatures->errand = errand;
    pthread_cond_broadcast(&signatures->work);
    pthread_mutex_unlock(&signatures->mutex);
}

void signatures_recall(struct signatures *signatures) {
    pthread_mutex_lock(&signatures->mutex);
    signatures->errand.run = NULL;
    while (signatures->errand_busy != 0) {
        pthread_cond_wait(&signatures->done, &signatures->mutex);
    }
    pthread_mutex_unlock(&signatures->mutex);
}

/* ---- the collecting thread ---- */

static void hand_over(struct signatures *signatures) {
    struct block *const block = signatures->filling;
    if (block == NULL) {
        return;
    }
    signatures->filling = NULL;
    pthread_mutex_lock(&signatures->mutex);
    block->next = signatures->ready;
    signatures->ready = block;
    pthread_cond_signal(&signatures->work);
    pthread_mutex_unlock(&signatures->mutex);
}

static bool collect(void *context, const struct sign_check *check, enum rule rule) {
    struct signatures *const signatures = context;
    if (signatures->filling == NULL) {
        signatures->filling = calloc(1, sizeof *signatures->filling);
        if (signatures->filling == NULL) {
            return false;
        }
    }
    struct block *const block = signatures->filling;
    struct sign_check *const copy = &block->checks[block->count];
    *copy = *check;
    copy->body = arena_copy(&signatures->bodies, check->body);
    if (copy->body.data == NULL) {
        return false;
    }
    block->rules[block->count] = rule;
    block->count++;
    if (block->count == BLOCK_CHECKS) {
        hand_over(signatures);
    }
    return true;
}

struct sign_sink signatures_sink(struct signatures *signatures) {
    return (struct sign_sink){.context = signatures, .check = collect};
}

bool signatures_settle(struct signatures *signatures) {
    hand_over(signatures);
    pthread_mutex_lock(&signatures->mutex);
    while (signatures->ready != NULL) {
        take_block(signatures); /* help instead of waiting */
    }
    while (signatures->busy != 0) {
        pthread_cond_wait(&signatures->done, &signatures->mutex);
    }
    bool const all_hold = signatures->all_hold;
    signatures->all_hold = true;
    struct block *const used = signatures->used;
    signatures->used = NULL;
    pthread_mutex_unlock(&signatures->mutex);
    blocks_free(used);
    arena_reset(&signatures->bodies);
    return all_hold;
}
