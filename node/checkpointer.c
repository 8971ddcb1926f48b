/*
 * checkpointer: from a cut to a durable checkpoint, on a thread of its own (protocol §7).
 *
 * A checkpoint must not be ahead of the ledger: it is written only once everything that came before
 * the cut is durable, so that after any crash the ledger reaches beyond the state. Cuts are written
 * in the order in which they were taken. A full disk only puts one off.
 */
#include <stdlib.h>

#include "base/check.h"
#include "node/node.h"

/* The replica never has more of them under way. */
#define CUTS_WAITING_MAX 4u

struct waiting_cut {
    struct checkpoint_cut cut;
    uint64_t after; /* disk position */
};

struct checkpointer {
    struct background_job job;
    struct node *node;
    struct background *thread;
    uv_timer_t retry;
    struct waiting_cut waiting[CUTS_WAITING_MAX];
    uint32_t waiting_count;
    bool busy;
    struct checkpoint_cut cut; /* being written: the thread's while busy */
    bool written;
    struct problem problem; /* why not */
};

/* ---- on the thread --------------------------------------------------------------------------- */

static void run(struct background_job *job) {
    struct checkpointer *const checkpointer = (struct checkpointer *)job;
    const struct node *const node = checkpointer->node;
    checkpointer->written = state_store_write_cut(node->store, node->engine, &checkpointer->cut,
                                                  &checkpointer->problem) == 0;
}

/* ---- on the loop ----------------------------------------------------------------------------- */

static void start_next(struct checkpointer *checkpointer) {
    struct node *const node = checkpointer->node;
    if (checkpointer->busy || checkpointer->waiting_count == 0 || node->stopping ||
        checkpointer->waiting[0].after > node->durable) {
        return;
    }
    checkpointer->cut = checkpointer->waiting[0].cut;
    checkpointer->waiting_count--;
    memmove(&checkpointer->waiting[0], &checkpointer->waiting[1],
            checkpointer->waiting_count * sizeof checkpointer->waiting[0]);
    checkpointer->busy = true;
    checkpointer->problem = (struct problem){0};
    background_add(checkpointer->thread, &checkpointer->job);
}

static void on_retry(uv_timer_t *timer) {
    struct checkpointer *const checkpointer = timer->data;
    checkpointer->problem = (struct problem){0};
    background_add(checkpointer->thread, &checkpointer->job);
}

static void put_off(struct checkpointer *checkpointer) {
    struct node *const node = checkpointer->node;
    if (node->checkpoint_error[0] == '\0') {
        log_event(LOG_ERROR, "a checkpoint was not written; trying again",
                  (struct log_field[]){log_text("problem", checkpointer->problem.text), log_end()});
    }
    memcpy(node->checkpoint_error, checkpointer->problem.text, sizeof node->checkpoint_error);
    CHECK(uv_timer_start(&checkpointer->retry, on_retry, DISK_RETRY_MS, 0) == 0);
}

static void finish(struct checkpointer *checkpointer) {
    struct node *const node = checkpointer->node;
    struct problem problem = {0};
    const struct checkpoint_header *const header = &checkpointer->cut.header;
    struct event event = {.kind = EVENT_CHECKPOINT,
                          .checkpoint = {.seq = header->seq,
                                         .state_count = header->state_count,
                                         .state_root = header->state_root}};
    checkpointer->busy = false;
    node->checkpoint_error[0] = '\0';
    if (state_store_refresh_carrying(node->store, header->checkpoint_seq, &problem) != 0) {
        node_fail(node, "the state cannot be read", problem.text);
        return;
    }
    log_event(LOG_DEBUG, "wrote a checkpoint",
              (struct log_field[]){log_number("seq", header->seq),
                                   log_number("items", header->state_count), log_end()});
    node_step(node, &event);
    start_next(checkpointer);
}

static void done(struct background_job *job) {
    struct checkpointer *const checkpointer = (struct checkpointer *)job;
    struct node *const node = checkpointer->node;
    if (node->stopping) {
        checkpointer->busy = false;
    } else if (checkpointer->written) {
        finish(checkpointer);
    } else if (checkpointer->problem.code == EXIT_ERROR) {
        put_off(checkpointer);
    } else {
        node_fail(node, "a checkpoint cannot be written", checkpointer->problem.text);
    }
}

void checkpointer_take(struct node *node, const struct checkpoint_cut *cut) {
    struct checkpointer *const checkpointer = node->checkpointer;
    CHECK(checkpointer->waiting_count < CUTS_WAITING_MAX);
    checkpointer->waiting[checkpointer->waiting_count++] =
        (struct waiting_cut){.cut = *cut, .after = node->disk_position};
    start_next(checkpointer);
}

void checkpointer_durable(struct node *node) {
    start_next(node->checkpointer);
}

int checkpointer_open(struct node *node, struct problem *problem) {
    struct checkpointer *const checkpointer = calloc(1, sizeof *checkpointer);
    if (checkpointer == NULL) {
        return problem_set(problem, EXIT_ERROR, "set up checkpoints: out of memory");
    }
    node->checkpointer = checkpointer;
    checkpointer->node = node;
    checkpointer->job = (struct background_job){.run = run, .done = done};
    CHECK(uv_timer_init(&node->loop, &checkpointer->retry) == 0); /* cannot fail */
    checkpointer->retry.data = checkpointer;
    checkpointer->thread = background_start(&node->loop, problem);
    return checkpointer->thread == NULL ? -1 : 0;
}

void checkpointer_close(struct node *node) {
    struct checkpointer *const checkpointer = node->checkpointer;
    if (checkpointer != NULL) {
        uv_close((uv_handle_t *)&checkpointer->retry, NULL);
        if (checkpointer->thread != NULL) {
            background_stop(checkpointer->thread);
        }
    }
}

void checkpointer_free(struct node *node) {
    free(node->checkpointer);
    node->checkpointer = NULL;
}
