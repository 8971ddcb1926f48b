/*
 * writer: see writer.h. Two queues in, urgent and lazy, and one back, all under one mutex.
 * Urgent changes never overtake each other, nor do lazy ones; a lazy change may be overtaken by an
 * urgent one that came later, which is why nothing urgent depends on anything lazy.
 */
#include "client/writer.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"

#define LAZY_DELAY_NS 100000000u
#define LAZY_COUNT_MAX 1024u

struct item {
    struct item *next;
    struct receipt_change change;
    struct digest request_id;
    struct digest certificate_digest;
    void *user;
    uint8_t bytes[]; /* what the change's spans point to */
};

struct queue {
    struct item *first;
    struct item *last;
    uint32_t count;
};

struct writer {
    struct receipt_store *store;
    writer_committed on_committed;
    void *context;
    uint32_t backlog;       /* the loop's count */
    struct problem problem; /* the loop's copy */
    uv_async_t *async;
    uv_thread_t thread;

    uv_mutex_t mutex; /* guards what follows */
    uv_cond_t wake;
    struct queue urgent;
    struct queue lazy;
    struct queue done;
    bool flush;
    bool stop;
    struct problem failure;
};

static void queue_push(struct queue *queue, struct item *item) {
    item->next = NULL;
    *(queue->first == NULL ? &queue->first : &queue->last->next) = item;
    queue->last = item;
    queue->count++;
}

/* Move up to `room` items. */
static void queue_move(struct queue *to, struct queue *from, uint32_t room) {
    while (from->first != NULL && to->count < room) {
        struct item *const item = from->first;
        from->first = item->next;
        from->count--;
        queue_push(to, item);
    }
}

/* ---- the thread ------------------------------------------------------------------------------ */

static bool lazy_is_due(const struct writer *writer) {
    return writer->lazy.count >= LAZY_COUNT_MAX ||
           (writer->lazy.count != 0 && (writer->flush || writer->stop));
}

/* Wait for something to commit, under the mutex. Returns: false when all is done. */
static bool take_work(struct writer *writer, struct queue *work) {
    bool waited_enough = false;
    while (writer->urgent.count == 0 && !lazy_is_due(writer) && !waited_enough) {
        if (writer->stop && writer->lazy.count == 0) {
            return false;
        }
        if (writer->lazy.count == 0) {
            uv_cond_wait(&writer->wake, &writer->mutex);
        } else {
            waited_enough =
                uv_cond_timedwait(&writer->wake, &writer->mutex, LAZY_DELAY_NS) == UV_ETIMEDOUT;
        }
    }
    bool const with_lazy = waited_enough || lazy_is_due(writer);
    queue_move(work, &writer->urgent, RECEIPT_STORE_CHANGES_MAX);
    if (with_lazy) {
        queue_move(work, &writer->lazy, RECEIPT_STORE_CHANGES_MAX);
    }
    if (writer->lazy.count == 0) {
        writer->flush = false;
    }
    return true;
}

static void commit(struct writer *writer, struct queue *work, struct receipt_change *changes) {
    uint32_t count = 0;
    for (const struct item *item = work->first; item != NULL; item = item->next) {
        changes[count++] = item->change;
    }
    struct problem problem = {.code = EXIT_OK};
    if (receipt_store_commit(writer->store, changes, count, &problem) != 0) {
        uv_mutex_lock(&writer->mutex);
        writer->failure = problem;
        uv_mutex_unlock(&writer->mutex);
        return;
    }
    count = 0;
    for (struct item *item = work->first; item != NULL; item = item->next) {
        item->change.number = changes[count++].number;
    }
}

static void writer_main(void *argument) {
    struct writer *const writer = argument;
    struct receipt_change *const changes = calloc(RECEIPT_STORE_CHANGES_MAX, sizeof *changes);
    CHECK(changes != NULL); /* at start, before anything was promised */
    uv_mutex_lock(&writer->mutex);
    struct queue work = {.first = NULL};
    while (take_work(writer, &work)) {
        bool const failed = writer->failure.code != EXIT_OK;
        uv_mutex_unlock(&writer->mutex);
        if (!failed) {
            commit(writer, &work, changes);
        }
        uv_mutex_lock(&writer->mutex);
        queue_move(&writer->done, &work, UINT32_MAX);
        CHECK(uv_async_send(writer->async) == 0);
    }
    uv_mutex_unlock(&writer->mutex);
    free(changes);
}

/* ---- the loop's side ------------------------------------------------------------------------- */

static void collect(struct writer *writer) {
    uv_mutex_lock(&writer->mutex);
    struct item *item = writer->done.first;
    writer->done = (struct queue){.first = NULL};
    writer->problem = writer->failure;
    uv_mutex_unlock(&writer->mutex);
    bool const failed = writer->problem.code != EXIT_OK;
    while (item != NULL) {
        struct item *const next = item->next;
        writer->backlog--;
        if (item->user != NULL) {
            writer->on_committed(writer->context, item->user, item->change.number, failed);
        }
        free(item);
        item = next;
    }
}

static void on_async(uv_async_t *async) {
    collect(async->data);
}

static int start(struct writer *writer, uv_loop_t *loop) {
    writer->async->data = writer;
    CHECK(uv_mutex_init(&writer->mutex) == 0);
    CHECK(uv_cond_init(&writer->wake) == 0);
    CHECK(uv_async_init(loop, writer->async, on_async) == 0);
    return uv_thread_create(&writer->thread, writer_main, writer);
}

struct writer *writer_create(uv_loop_t *loop, struct receipt_store *store,
                             writer_committed on_committed, void *context,
                             struct problem *problem) {
    struct writer *const writer = calloc(1, sizeof *writer);
    uv_async_t *const async = calloc(1, sizeof *async);
    if (writer == NULL || async == NULL) {
        (void)problem_set(problem, EXIT_ERROR, "out of memory");
        free(writer);
        free(async);
        return NULL;
    }
    writer->store = store;
    writer->on_committed = on_committed;
    writer->context = context;
    writer->async = async;
    CHECK(start(writer, loop) == 0);
    return writer;
}

static void on_async_closed(uv_handle_t *handle) {
    free(handle);
}

void writer_close(struct writer *writer) {
    uv_mutex_lock(&writer->mutex);
    writer->stop = true;
    uv_cond_signal(&writer->wake);
    uv_mutex_unlock(&writer->mutex);
    CHECK(uv_thread_join(&writer->thread) == 0);
    collect(writer);
    uv_close((uv_handle_t *)writer->async, on_async_closed);
    uv_cond_destroy(&writer->wake);
    uv_mutex_destroy(&writer->mutex);
    free(writer);
}

/* Append bytes to the item's own and return where they are now. */
static struct span keep(struct item *item, size_t *used, struct span bytes) {
    uint8_t *const place = item->bytes + *used;
    if (bytes.size != 0) {
        memcpy(place, bytes.data, bytes.size);
    }
    *used += bytes.size;
    return span_of(place, bytes.size);
}

static struct item *item_create(const struct receipt_change *change) {
    size_t const size =
        change->bytes.size + change->certificate.size + change->key.size + change->note.size;
    struct item *const item = malloc(sizeof *item + size);
    if (item == NULL) {
        return NULL;
    }
    size_t used = 0;
    item->change = *change;
    item->change.bytes = keep(item, &used, change->bytes);
    item->change.certificate = keep(item, &used, change->certificate);
    item->change.key = keep(item, &used, change->key);
    item->change.note = keep(item, &used, change->note);
    if (change->request_id != NULL) {
        item->request_id = *change->request_id;
        item->change.request_id = &item->request_id;
    }
    if (change->certificate_digest != NULL) {
        item->certificate_digest = *change->certificate_digest;
        item->change.certificate_digest = &item->certificate_digest;
    }
    return item;
}

bool writer_put(struct writer *writer, const struct receipt_change *change,
                enum writer_urgency urgency, void *user) {
    struct item *const item = item_create(change);
    if (item == NULL) {
        return false;
    }
    item->user = user;
    writer->backlog++;
    uv_mutex_lock(&writer->mutex);
    queue_push(urgency == WRITER_URGENT ? &writer->urgent : &writer->lazy, item);
    if (urgency == WRITER_URGENT || writer->lazy.count == 1 ||
        writer->lazy.count == LAZY_COUNT_MAX) {
        uv_cond_signal(&writer->wake);
    }
    uv_mutex_unlock(&writer->mutex);
    return true;
}

void writer_flush(struct writer *writer) {
    uv_mutex_lock(&writer->mutex);
    writer->flush = writer->lazy.count != 0;
    uv_cond_signal(&writer->wake);
    uv_mutex_unlock(&writer->mutex);
}

uint32_t writer_backlog(const struct writer *writer) {
    return writer->backlog;
}

const struct problem *writer_problem(const struct writer *writer) {
    return &writer->problem;
}
