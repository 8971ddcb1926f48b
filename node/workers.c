/*
 * workers: see workers.h. Invariant: a piece is in exactly one place: open (being filled), waiting
 * in its queue, on the pool, or spare.
 */
#include "node/workers.h"

#include <stdlib.h>
#include <sys/queue.h>

#include "base/check.h"
#include "base/limits.h"

/* A request takes several times its size when decoded. */
#define ARENA_BUDGET (VERIFY_ARENA_SIZE + 16 * (size_t)REQUEST_SIZE_MAX)
#define SPARE_PIECES_MAX 16u

struct piece {
    STAILQ_ENTRY(piece) next;
    struct workers *workers;
    uv_work_t work;
    struct arena arena;
    uint32_t count;
    struct verify_item items[VERIFY_CHECKS_MAX];
};

STAILQ_HEAD(piece_list, piece);

struct workers {
    struct workers_options options;
    struct piece *open[VERIFY_QUEUES];
    struct piece_list waiting[VERIFY_QUEUES];
    struct piece_list spare;
    unsigned spare_count;
    unsigned running;
    bool stopped;
};

struct workers *workers_new(const struct workers_options *options) {
    struct workers *const workers = calloc(1, sizeof *workers);
    if (workers == NULL) {
        return NULL;
    }
    workers->options = *options;
    STAILQ_INIT(&workers->spare);
    for (unsigned i = 0; i < VERIFY_QUEUES; i++) {
        STAILQ_INIT(&workers->waiting[i]);
    }
    return workers;
}

/* ---- pieces ---------------------------------------------------------------------------------- */

static struct piece *piece_get(struct workers *workers) {
    struct piece *piece = STAILQ_FIRST(&workers->spare);
    if (piece != NULL) {
        STAILQ_REMOVE_HEAD(&workers->spare, next);
        workers->spare_count--;
        return piece;
    }
    piece = calloc(1, sizeof *piece);
    if (piece != NULL) {
        piece->workers = workers;
        piece->work.data = piece;
        arena_init(&piece->arena, ARENA_BUDGET);
    }
    return piece;
}

static void piece_put(struct workers *workers, struct piece *piece) {
    if (piece->arena.used > VERIFY_ARENA_SIZE) {
        arena_free(&piece->arena);
    }
    arena_reset(&piece->arena);
    piece->count = 0;
    if (workers->spare_count == SPARE_PIECES_MAX) {
        arena_free(&piece->arena);
        free(piece);
        return;
    }
    workers->spare_count++;
    STAILQ_INSERT_HEAD(&workers->spare, piece, next);
}

static void close_open(struct workers *workers, enum verify_queue queue) {
    struct piece *const piece = workers->open[queue];
    if (piece != NULL && piece->count != 0) {
        STAILQ_INSERT_TAIL(&workers->waiting[queue], piece, next);
        workers->open[queue] = NULL;
    }
}

struct arena *workers_arena(struct workers *workers, enum verify_queue queue) {
    struct piece *piece = workers->open[queue];
    if (piece != NULL && piece->arena.used > VERIFY_ARENA_SIZE) {
        if (piece->count == 0) {
            arena_reset(&piece->arena);
            return &piece->arena;
        }
        close_open(workers, queue);
        piece = NULL;
    }
    if (piece == NULL) {
        piece = piece_get(workers);
        workers->open[queue] = piece;
    }
    return piece == NULL ? NULL : &piece->arena;
}

void workers_add(struct workers *workers, enum verify_queue queue, const struct verify_item *item) {
    struct piece *const piece = workers->open[queue];
    CHECK(piece != NULL && piece->count < VERIFY_CHECKS_MAX);
    piece->items[piece->count++] = *item;
    if (piece->count == VERIFY_CHECKS_MAX) {
        close_open(workers, queue);
    }
}

/* ---- on the pool ----------------------------------------------------------------------------- */

static void run_piece(uv_work_t *work) {
    struct piece *const piece = work->data;
    const struct digest *const service = &piece->workers->options.service;
    for (uint32_t i = 0; i < piece->count; i++) {
        piece->items[i].holds = sign_verify(service, &piece->items[i].check);
    }
}

static void tell(struct workers *workers, struct piece *piece, bool ran) {
    for (uint32_t i = 0; i < piece->count; i++) {
        struct verify_item *const item = &piece->items[i];
        item->holds = item->holds && ran;
        workers->options.on_checked(workers->options.context, item);
    }
    piece_put(workers, piece);
}

static void piece_done(uv_work_t *work, int status) {
    struct piece *const piece = work->data;
    struct workers *const workers = piece->workers;
    workers->running--;
    tell(workers, piece, status == 0 && !workers->stopped);
    workers_dispatch(workers);
}

static struct piece *next_piece(struct workers *workers) {
    for (unsigned i = 0; i < VERIFY_QUEUES; i++) {
        if (STAILQ_EMPTY(&workers->waiting[i])) {
            close_open(workers, (enum verify_queue)i);
        }
        struct piece *const piece = STAILQ_FIRST(&workers->waiting[i]);
        if (piece != NULL) {
            STAILQ_REMOVE_HEAD(&workers->waiting[i], next);
            return piece;
        }
    }
    return NULL;
}

void workers_dispatch(struct workers *workers) {
    struct piece *piece;
    while (!workers->stopped && workers->running <= workers->options.thread_count &&
           (piece = next_piece(workers)) != NULL) {
        workers->running++;
        /* Fails only without a callback. */
        CHECK(uv_queue_work(workers->options.loop, &piece->work, run_piece, piece_done) == 0);
    }
}

void workers_stop(struct workers *workers) {
    struct piece *piece;
    while ((piece = next_piece(workers)) != NULL) {
        tell(workers, piece, false);
    }
    workers->stopped = true;
}

void workers_free(struct workers *workers) {
    struct piece *piece;
    CHECK(workers->running == 0);
    while ((piece = next_piece(workers)) != NULL) {
        tell(workers, piece, false);
    }
    for (unsigned i = 0; i < VERIFY_QUEUES; i++) {
        if (workers->open[i] != NULL) {
            piece_put(workers, workers->open[i]);
        }
    }
    while ((piece = STAILQ_FIRST(&workers->spare)) != NULL) {
        STAILQ_REMOVE_HEAD(&workers->spare, next);
        arena_free(&piece->arena);
        free(piece);
    }
    free(workers);
}
