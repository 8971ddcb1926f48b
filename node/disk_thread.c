/*
 * disk_thread: see disk_thread.h.
 *
 * Two queues: the loop fills `filling` under the lock, the thread swaps it for its empty one and
 * works on `taken` without the lock. Invariant: positions in a queue ascend, and `durable` is less
 * than every position that waits.
 */
#include "node/disk_thread.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/check.h"
#include "node/log.h"

#define QUEUE_BYTES_MAX ((size_t)4 * DISK_QUEUE_SIZE_MAX)
#define QUEUE_COMMANDS_SIZE_MAX ((size_t)256 << 20)
/* Entries handed to the writer at once; a segment may be closed after each such run. */
#define RUN_SIZE_SOFT_MAX ((size_t)8 << 20)

enum command_kind { COMMAND_APPEND, COMMAND_TRUNCATE, COMMAND_JOURNAL };

struct command {
    enum command_kind kind;
    enum entry_kind entry_kind;
    bool batch_end;
    uint64_t position;
    uint64_t entries; /* TRUNCATE */
    size_t offset;    /* of the bytes in the queue */
    size_t size;
};

struct queue {
    struct buffer commands; /* of struct command */
    struct buffer bytes;
};

struct disk_thread {
    struct disk_thread_options options;
    uv_thread_t thread;
    uv_mutex_t lock;
    uv_cond_t wake;
    uv_async_t async;
    bool stopping;        /* under the lock */
    bool unflushed;       /* the loop's */
    struct queue filling; /* under the lock */
    struct queue taken;   /* the thread's */
    struct buffer run;    /* the thread's: of struct entry */
    uint64_t reported;    /* the loop's */
    _Atomic uint64_t durable;
    _Atomic uint64_t ledger_size;
    _Atomic size_t backlog;
    _Atomic bool full;
};

/* ---- queues ---------------------------------------------------------------------------------- */

static void queue_init(struct queue *queue) {
    buffer_init(&queue->commands, QUEUE_COMMANDS_SIZE_MAX);
    buffer_init(&queue->bytes, QUEUE_BYTES_MAX);
}

static void queue_free(struct queue *queue) {
    buffer_free(&queue->commands);
    buffer_free(&queue->bytes);
}

static size_t queue_count(const struct queue *queue) {
    return queue->commands.size / sizeof(struct command);
}

static struct command queue_at(const struct queue *queue, size_t nth) {
    struct command command;
    memcpy(&command, queue->commands.data + nth * sizeof command, sizeof command);
    return command;
}

static struct span command_bytes(const struct queue *queue, const struct command *command) {
    return span_of(queue->bytes.data + command->offset, command->size);
}

static bool push(struct disk_thread *thread, struct command command, struct span bytes) {
    struct queue *const queue = &thread->filling;
    uv_mutex_lock(&thread->lock);
    command.offset = queue->bytes.size;
    command.size = bytes.size;
    bool const pushed = buffer_append(&queue->bytes, bytes) &&
                        buffer_append(&queue->commands, span_of(&command, sizeof command));
    uv_mutex_unlock(&thread->lock);
    atomic_fetch_add(&thread->backlog, bytes.size + sizeof command);
    thread->unflushed = true;
    return pushed;
}

bool disk_thread_append(struct disk_thread *thread, uint64_t position, const struct entry *entry,
                        bool batch_end) {
    struct command const command = {.kind = COMMAND_APPEND,
                                    .entry_kind = entry->kind,
                                    .batch_end = batch_end,
                                    .position = position};
    return push(thread, command, entry->payload);
}

bool disk_thread_truncate(struct disk_thread *thread, uint64_t position, uint64_t entries) {
    struct command const command = {
        .kind = COMMAND_TRUNCATE, .position = position, .entries = entries};
    return push(thread, command, (struct span){0});
}

bool disk_thread_journal(struct disk_thread *thread, uint64_t position, struct span encoded) {
    CHECK(thread->options.journal != NULL);
    struct command const command = {.kind = COMMAND_JOURNAL, .position = position};
    return push(thread, command, encoded);
}

void disk_thread_flush(struct disk_thread *thread) {
    if (thread->unflushed) {
        thread->unflushed = false;
        uv_mutex_lock(&thread->lock);
        uv_cond_signal(&thread->wake);
        uv_mutex_unlock(&thread->lock);
    }
}

size_t disk_thread_backlog(const struct disk_thread *thread) {
    return atomic_load(&thread->backlog);
}

bool disk_thread_is_full(const struct disk_thread *thread) {
    return atomic_load(&thread->full);
}

uint64_t disk_thread_ledger_size(const struct disk_thread *thread) {
    return atomic_load(&thread->ledger_size);
}

/* ---- the thread ------------------------------------------------------------------------------ */

/* The disk can no longer be trusted: no statement may follow, so the process ends (§5). */
static _Noreturn void end_process(const struct problem *problem) {
    log_event(LOG_ERROR, "the disk failed; ending, nothing was signed for what it lost",
              (struct log_field[]){log_text("problem", problem->text), log_end()});
    _Exit(problem->code == EXIT_OK ? EXIT_ERROR : (int)problem->code);
}

/* Wait a while for space. Returns: false when the thread must stop. */
static bool wait_for_space(struct disk_thread *thread) {
    if (!atomic_exchange(&thread->full, true)) {
        log_event(LOG_ERROR, "the disk is full; this replica does not vote until there is space",
                  (struct log_field[]){log_end()});
        (void)uv_async_send(&thread->async); /* so that the status tells */
    }
    uv_mutex_lock(&thread->lock);
    if (!thread->stopping) {
        (void)uv_cond_timedwait(&thread->wake, &thread->lock, DISK_RETRY_MS * UINT64_C(1000000));
    }
    bool const go_on = !thread->stopping;
    uv_mutex_unlock(&thread->lock);
    if (go_on) {
        uv_sleep(DISK_RETRY_MS / 4); /* the wait may have ended because new work came */
    }
    return go_on;
}

static void space_is_back(struct disk_thread *thread) {
    if (atomic_exchange(&thread->full, false)) {
        log_event(LOG_WARN, "the disk has space again", (struct log_field[]){log_end()});
    }
}

static bool append_run(struct disk_thread *thread, bool boundary) {
    struct problem problem = {0};
    size_t const count = thread->run.size / sizeof(struct entry);
    if (count == 0) {
        return true;
    }
    for (;;) {
        /* The buffer's memory comes from realloc: aligned for any type. */
        const struct entry *const entries = (const void *)thread->run.data;
        switch (segment_writer_append(thread->options.ledger, entries, count, boundary, &problem)) {
        case SEGMENT_OK:
            space_is_back(thread);
            buffer_clear(&thread->run);
            return true;
        case SEGMENT_FULL:
            if (!wait_for_space(thread)) {
                return false;
            }
            break;
        case SEGMENT_FAILED:
        case SEGMENT_TORN:
            end_process(&problem);
        }
    }
}

static bool add_to_run(struct disk_thread *thread, const struct command *command) {
    struct entry const entry = {.kind = command->entry_kind,
                                .payload = command_bytes(&thread->taken, command)};
    if (!buffer_append(&thread->run, span_of(&entry, sizeof entry))) {
        struct problem problem = {0};
        (void)problem_set(&problem, EXIT_ERROR, "out of memory");
        end_process(&problem);
    }
    return true;
}

/* All appends and truncations of what was taken, in order. Returns: false when stopping. */
static bool write_ledger(struct disk_thread *thread) {
    size_t run_size = 0;
    bool boundary = false;
    for (size_t i = 0; i < queue_count(&thread->taken); i++) {
        struct command const command = queue_at(&thread->taken, i);
        struct problem problem = {0};
        switch (command.kind) {
        case COMMAND_APPEND:
            (void)add_to_run(thread, &command);
            run_size += command.size;
            boundary = command.batch_end;
            if (boundary && run_size > RUN_SIZE_SOFT_MAX) {
                run_size = 0;
                if (!append_run(thread, true)) {
                    return false;
                }
            }
            break;
        case COMMAND_TRUNCATE:
            if (!append_run(thread, boundary)) {
                return false;
            }
            if (segment_writer_truncate(thread->options.ledger, command.entries, &problem) !=
                SEGMENT_OK) {
                end_process(&problem);
            }
            break;
        case COMMAND_JOURNAL:
            break;
        }
    }
    return append_run(thread, boundary);
}

static void sync_ledger(struct disk_thread *thread) {
    struct problem problem = {0};
    if (segment_writer_sync(thread->options.ledger, &problem) != SEGMENT_OK) {
        end_process(&problem);
    }
    atomic_store(&thread->ledger_size, segment_writer_total_size(thread->options.ledger));
}

static bool write_journal_record(struct disk_thread *thread, const struct command *command) {
    for (;;) {
        struct problem problem = {0};
        switch (journal_append(thread->options.journal, command_bytes(&thread->taken, command),
                               &problem)) {
        case JOURNAL_OK:
            space_is_back(thread);
            return true;
        case JOURNAL_FULL:
            if (!wait_for_space(thread)) {
                return false;
            }
            break;
        case JOURNAL_FAILED:
        case JOURNAL_MISSING:
            end_process(&problem);
        }
    }
}

/* All records of what was taken. Returns: false when stopping. */
static bool write_journal(struct disk_thread *thread) {
    for (size_t i = 0; i < queue_count(&thread->taken); i++) {
        struct command const command = queue_at(&thread->taken, i);
        if (command.kind == COMMAND_JOURNAL && !write_journal_record(thread, &command)) {
            return false;
        }
    }
    return true;
}

static void report(struct disk_thread *thread, uint64_t position) {
    if (position > atomic_load(&thread->durable)) {
        atomic_store(&thread->durable, position);
        (void)uv_async_send(&thread->async); /* fails only on a handle that is no async */
    }
}

/* The last position before the first record of the journal; all of it lies in the ledger. */
static uint64_t ledger_position(const struct queue *queue) {
    uint64_t position = 0;
    for (size_t i = 0; i < queue_count(queue); i++) {
        struct command const command = queue_at(queue, i);
        if (command.kind == COMMAND_JOURNAL) {
            break;
        }
        position = command.position;
    }
    return position;
}

/* Returns: false when stopping. */
static bool carry_out(struct disk_thread *thread) {
    struct queue *const taken = &thread->taken;
    size_t const count = queue_count(taken);
    uint64_t const last = queue_at(taken, count - 1).position;
    if (!write_ledger(thread)) {
        return false;
    }
    sync_ledger(thread);
    uint64_t const in_ledger = ledger_position(taken);
    report(thread, in_ledger);
    if (in_ledger != last) {
        struct problem problem = {0};
        if (!write_journal(thread)) {
            return false;
        }
        if (journal_sync(thread->options.journal, &problem) != 0) {
            end_process(&problem);
        }
        report(thread, last);
    }
    atomic_fetch_sub(&thread->backlog, taken->bytes.size + count * sizeof(struct command));
    return true;
}

static void forget_taken(struct queue *queue) {
    if (queue->bytes.capacity > DISK_QUEUE_SIZE_SOFT_MAX) {
        queue_free(queue);
        queue_init(queue);
    }
    buffer_clear(&queue->commands);
    buffer_clear(&queue->bytes);
}

static void thread_main(void *argument) {
    struct disk_thread *const thread = argument;
    bool go_on = true;
    while (go_on) {
        uv_mutex_lock(&thread->lock);
        while (queue_count(&thread->filling) == 0 && !thread->stopping) {
            uv_cond_wait(&thread->wake, &thread->lock);
        }
        struct queue const swapped = thread->filling;
        thread->filling = thread->taken;
        thread->taken = swapped;
        uv_mutex_unlock(&thread->lock);
        go_on = queue_count(&thread->taken) != 0 && carry_out(thread);
        forget_taken(&thread->taken);
    }
}

/* ---- the loop's side ------------------------------------------------------------------------- */

static void on_async(uv_async_t *async) {
    struct disk_thread *const thread = async->data;
    uint64_t const durable = atomic_load(&thread->durable);
    if (durable > thread->reported) {
        thread->reported = durable;
        thread->options.on_durable(thread->options.context, durable);
    }
}

struct disk_thread *disk_thread_start(const struct disk_thread_options *options,
                                      struct problem *problem) {
    struct disk_thread *const thread = calloc(1, sizeof *thread);
    if (thread == NULL) {
        (void)problem_set(problem, EXIT_ERROR, "start the disk's thread: out of memory");
        return NULL;
    }
    thread->options = *options;
    thread->ledger_size = segment_writer_total_size(options->ledger);
    queue_init(&thread->filling);
    queue_init(&thread->taken);
    buffer_init(&thread->run, QUEUE_COMMANDS_SIZE_MAX);
    CHECK(uv_mutex_init(&thread->lock) == 0 && uv_cond_init(&thread->wake) == 0);
    int error = uv_async_init(options->loop, &thread->async, on_async);
    thread->async.data = thread;
    if (error == 0) {
        error = uv_thread_create(&thread->thread, thread_main, thread);
    }
    if (error != 0) {
        (void)problem_set(problem, EXIT_ERROR, "start the disk's thread: %s", uv_strerror(error));
        return NULL; /* the process ends: what is left over goes with it */
    }
    return thread;
}

static void on_async_closed(uv_handle_t *handle) {
    struct disk_thread *const thread = handle->data;
    queue_free(&thread->filling);
    queue_free(&thread->taken);
    buffer_free(&thread->run);
    uv_mutex_destroy(&thread->lock);
    uv_cond_destroy(&thread->wake);
    free(thread);
}

void disk_thread_stop(struct disk_thread *thread) {
    uv_mutex_lock(&thread->lock);
    thread->stopping = true;
    uv_cond_signal(&thread->wake);
    uv_mutex_unlock(&thread->lock);
    CHECK(uv_thread_join(&thread->thread) == 0);
    uv_close((uv_handle_t *)&thread->async, on_async_closed);
}
