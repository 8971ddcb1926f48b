/*
 * disk_thread: see disk_thread.h.
 *
 * Two queues: the loop fills `filling` under the lock, the thread swaps it for its empty one and
 * works on `taken` without the lock. Invariants: positions in a queue ascend, and `durable` is less
 * than every position that waits; what was taken holds the whole of each new tail, never a part.
 */
#include "node/disk_thread.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/check.h"
#include "ledger/batch.h"
#include "node/log.h"

/* Beside what is bounded by DISK_QUEUE_SIZE_MAX, a new tail comes at once, whatever its size. */
#define QUEUE_BYTES_MAX                                                                            \
    ((size_t)4 * DISK_QUEUE_SIZE_MAX + (size_t)2 * PIPELINE_MAX * BATCH_SIZE_MAX)
#define QUEUE_COMMANDS_SIZE_MAX ((size_t)256 << 20)
/* Entries handed to the writer at once; a segment may be closed after each such run. */
#define RUN_SIZE_SOFT_MAX ((size_t)8 << 20)

enum command_kind { COMMAND_APPEND, COMMAND_REPLACE, COMMAND_JOURNAL };

struct command {
    enum command_kind kind;
    enum entry_kind entry_kind; /* APPEND */
    bool batch_end;             /* APPEND */
    enum journal_role role;     /* JOURNAL */
    uint64_t position;
    uint64_t entries; /* REPLACE: how many are kept */
    uint64_t upto;    /* REPLACE: the last position of the new tail */
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
    uint64_t tail_upto; /* under the lock: where the new tail that is being queued ends; 0: none */
    size_t tail_start;  /* under the lock: bytes of the commands queued before it */
    struct queue taken; /* the thread's */
    struct buffer run;  /* the thread's: of struct entry */
    uint64_t reported;  /* the loop's */
    _Atomic uint64_t durable;
    _Atomic uint64_t ledger_size;
    uint64_t
        grown; /* the loop's: bytes put in front of the ledger, which the writer knows not of */
    _Atomic uint64_t ledger_version;
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

/* Note where a new tail begins and ends among what is queued. */
static void mark_tail(struct disk_thread *thread, const struct command *command) {
    if (command->kind == COMMAND_REPLACE) {
        CHECK(thread->tail_upto == 0 && command->upto >= command->position);
        thread->tail_start = thread->filling.commands.size;
        thread->tail_upto = command->upto;
    }
    if (thread->tail_upto == command->position) {
        thread->tail_upto = 0;
    }
    CHECK(thread->tail_upto == 0 || command->position < thread->tail_upto);
}

static bool push(struct disk_thread *thread, struct command command, struct span bytes) {
    struct queue *const queue = &thread->filling;
    uv_mutex_lock(&thread->lock);
    mark_tail(thread, &command);
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

bool disk_thread_replace(struct disk_thread *thread, uint64_t position, uint64_t entries,
                         uint64_t upto) {
    struct command const command = {
        .kind = COMMAND_REPLACE, .position = position, .entries = entries, .upto = upto};
    return push(thread, command, (struct span){0});
}

bool disk_thread_journal(struct disk_thread *thread, uint64_t position, enum journal_role role,
                         struct span encoded) {
    struct command const command = {.kind = COMMAND_JOURNAL, .position = position, .role = role};
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
    return atomic_load(&thread->ledger_size) + thread->grown;
}

void disk_thread_grew(struct disk_thread *thread, uint64_t size) {
    thread->grown += size;
}

uint64_t disk_thread_ledger_version(const struct disk_thread *thread) {
    return atomic_load(&thread->ledger_version);
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

static void add_to_run(struct disk_thread *thread, const struct command *command) {
    struct entry const entry = {.kind = command->entry_kind,
                                .payload = command_bytes(&thread->taken, command)};
    if (!buffer_append(&thread->run, span_of(&entry, sizeof entry))) {
        struct problem problem = {0};
        (void)problem_set(&problem, EXIT_ERROR, "out of memory");
        end_process(&problem);
    }
}

/* Put the run in place of all but `entries` entries. Returns: false when stopping. */
static bool replace_by_run(struct disk_thread *thread, uint64_t entries) {
    struct problem problem = {0};
    size_t const count = thread->run.size / sizeof(struct entry);
    for (;;) {
        const struct entry *const tail = (const void *)thread->run.data;
        switch (segment_writer_replace(thread->options.ledger, entries, tail, count, &problem)) {
        case SEGMENT_OK:
            space_is_back(thread);
            buffer_clear(&thread->run);
            log_event(LOG_DEBUG, "replaced the ledger's tail",
                      (struct log_field[]){log_number("from", entries),
                                           log_number("entries", count), log_end()});
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

/* The appends among commands [from, to) of what was taken. Returns: false when stopping. */
static bool write_ledger(struct disk_thread *thread, size_t from, size_t to) {
    size_t run_size = 0;
    bool boundary = false;
    for (size_t i = from; i < to; i++) {
        struct command const command = queue_at(&thread->taken, i);
        if (command.kind != COMMAND_APPEND) {
            continue;
        }
        add_to_run(thread, &command);
        run_size += command.size;
        boundary = command.batch_end;
        if (boundary && run_size > RUN_SIZE_SOFT_MAX) {
            run_size = 0;
            if (!append_run(thread, true)) {
                return false;
            }
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
        switch (journal_append(thread->options.journal, command->role,
                               command_bytes(&thread->taken, command), &problem)) {
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

static void report(struct disk_thread *thread, uint64_t position) {
    if (position > atomic_load(&thread->durable)) {
        atomic_store(&thread->durable, position);
        (void)uv_async_send(&thread->async); /* fails only on a handle that is no async */
    }
}

/* Make the records among commands [from, to) of what was taken durable, and report all of them. */
static bool write_journal(struct disk_thread *thread, size_t from, size_t to) {
    struct journal *const journal = thread->options.journal;
    struct problem problem = {0};
    for (size_t i = from; i < to && journal != NULL; i++) {
        struct command const command = queue_at(&thread->taken, i);
        if (command.kind == COMMAND_JOURNAL && !write_journal_record(thread, &command)) {
            return false;
        }
    }
    if (journal != NULL && journal_sync(journal, &problem) != 0) {
        end_process(&problem);
    }
    if (to > from) {
        report(thread, queue_at(&thread->taken, to - 1).position);
    }
    return true;
}

/* The first of commands [from, to) that is no record of the journal, or that is one; else `to`. */
static size_t find(const struct queue *queue, size_t from, size_t to, bool record) {
    size_t at = from;
    while (at < to && (queue_at(queue, at).kind == COMMAND_JOURNAL) != record) {
        at++;
    }
    return at;
}

/*
 * Commands that append and records, in any order. Records that come first speak of a ledger that is
 * durable already, so the nonces behind them wait for no more than their own sync. All others wait
 * for the one sync of all that goes to the ledger. Returns: false when stopping.
 */
static bool extend(struct disk_thread *thread, size_t from, size_t to) {
    size_t const leading = find(&thread->taken, from, to, false);
    size_t const in_ledger = find(&thread->taken, leading, to, true);
    if (!write_journal(thread, from, leading) || !write_ledger(thread, leading, to)) {
        return false;
    }
    sync_ledger(thread);
    report(thread, queue_at(&thread->taken, in_ledger - 1).position);
    return write_journal(thread, in_ledger, to);
}

/* A new tail: command `from` says where the old one is cut, the others are what comes instead. */
static bool replace(struct disk_thread *thread, size_t from, size_t to) {
    for (size_t i = from; i < to; i++) {
        struct command const command = queue_at(&thread->taken, i);
        if (command.kind == COMMAND_APPEND) {
            add_to_run(thread, &command);
        }
    }
    atomic_fetch_add(&thread->ledger_version, 1);
    if (!replace_by_run(thread, queue_at(&thread->taken, from).entries)) {
        return false;
    }
    atomic_fetch_add(&thread->ledger_version, 1);
    sync_ledger(thread);
    return write_journal(thread, from, to);
}

/* Where the new tail that begins with this command ends, or the next new tail begins. */
static size_t section_end(const struct queue *queue, size_t from) {
    struct command const first = queue_at(queue, from);
    size_t at = from + 1;
    while (at < queue_count(queue)) {
        struct command const command = queue_at(queue, at);
        bool const ends = first.kind == COMMAND_REPLACE ? command.position > first.upto
                                                        : command.kind == COMMAND_REPLACE;
        if (ends) {
            break;
        }
        at++;
    }
    return at;
}

/*
 * What was taken, section by section: when the tail is replaced, everything queued before is
 * durable, records too. Returns: false when stopping.
 */
static bool carry_out(struct disk_thread *thread) {
    struct queue *const taken = &thread->taken;
    size_t const count = queue_count(taken);
    for (size_t from = 0; from < count;) {
        size_t const to = section_end(taken, from);
        bool const replaces = queue_at(taken, from).kind == COMMAND_REPLACE;
        if (!(replaces ? replace(thread, from, to) : extend(thread, from, to))) {
            return false;
        }
        from = to;
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
        while ((queue_count(&thread->filling) == 0 || thread->tail_upto != 0) &&
               !thread->stopping) {
            uv_cond_wait(&thread->wake, &thread->lock);
        }
        if (thread->tail_upto != 0) { /* the rest of it will never come */
            thread->filling.commands.size = thread->tail_start;
            thread->tail_upto = 0;
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
