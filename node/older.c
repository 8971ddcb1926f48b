/*
 * older: see older.h. One job is on the thread at a time; what it works on is the thread's until it
 * is done. A problem of the disk has everything closed and opened again after a pause: what is on
 * the disk says where it stands.
 */
#include "node/older.h"

#include <stdlib.h>

#include "base/check.h"
#include "node/chain_keeper.h"
#include "node/joiner.h"
#include "node/node.h"
#include "node/older_ledger.h"

enum older_work { OLDER_OPEN, OLDER_TAKE, OLDER_FINISH };

struct older {
    struct background_job job;
    struct node *node;
    struct background *thread;
    uv_timer_t retry;
    enum older_work work;
    bool busy;
    struct older_ledger ledger;

    /* of the job at hand: the thread's while busy */
    const struct range_message *range;
    bool good;  /* TAKE */
    bool leads; /* FINISH */
    uint64_t grown;
    int result;
    struct problem problem;

    bool guarded; /* the replica was told that it has signed before */
    char obstacle[PROBLEM_TEXT_SIZE];
};

/* ---- on the thread --------------------------------------------------------------------------- */

static int open_ledger(struct older *older) {
    background_lower_priority();
    older_ledger_close(&older->ledger);
    return older_ledger_open(&older->ledger, &older->problem);
}

static int finish_ledger(struct older *older) {
    if (older_ledger_check(&older->ledger, &older->leads, &older->problem) != 0) {
        return -1;
    }
    return older->leads ? older_ledger_merge(&older->ledger, &older->grown, &older->problem) : 0;
}

static void run(struct background_job *job) {
    struct older *const older = (struct older *)job;
    switch (older->work) {
    case OLDER_OPEN:
        older->result = open_ledger(older);
        break;
    case OLDER_TAKE:
        older->result =
            older_ledger_take(&older->ledger, &older->good, older->range, &older->problem);
        break;
    case OLDER_FINISH:
        older->result = finish_ledger(older);
        break;
    }
}

/* ---- on the loop ----------------------------------------------------------------------------- */

static void start(struct older *older, enum older_work work) {
    CHECK(!older->busy);
    older->work = work;
    older->busy = true;
    older->problem = (struct problem){0};
    background_add(older->thread, &older->job);
}

static void on_retry(uv_timer_t *timer) {
    start(timer->data, OLDER_OPEN);
}

static void put_off(struct older *older) {
    log_event(LOG_ERROR, "the older ledger cannot be kept; trying again",
              (struct log_field[]){log_text("problem", older->problem.text), log_end()});
    memcpy(older->obstacle, older->problem.text, sizeof older->obstacle);
    joiner_end(older->node);
    CHECK(uv_timer_start(&older->retry, on_retry, OLDER_RETRY_MS, 0) == 0);
}

/* Evidence names this key for what it signed before it forgot: it must not vote (§5). */
static void engage_guard(struct older *older) {
    if (older->ledger.signed_elsewhere && !older->guarded) {
        older->guarded = true;
        replica_engage_guard(older->node->replica, GUARD_SIGNED_ELSEWHERE);
        node_note_guard(older->node);
    }
}

static void finished(struct older *older) {
    struct node *const node = older->node;
    if (!older->leads) {
        (void)problem_set(&older->problem, EXIT_CORRUPT,
                          "a quorum signed checkpoint %llu, to which the ledger does not lead; "
                          "older/ is kept as evidence",
                          (unsigned long long)node->beginning.seq);
        memcpy(older->obstacle, older->problem.text, sizeof older->obstacle);
        log_event(LOG_ERROR, "a quorum signed a checkpoint that its ledger does not lead to",
                  (struct log_field[]){log_number("seq", node->beginning.seq),
                                       log_text("kept", "older/"), log_end()});
        joiner_end(node);
        return;
    }
    disk_thread_grew(node->disk, older->grown);
    log_event(LOG_INFO, "the older ledger is whole",
              (struct log_field[]){log_number("entries", node->beginning.first_entry),
                                   log_number("bytes", older->grown), log_end()});
    node->beginning = (struct beginning){.present = false};
    joiner_end(node);
    chain_keeper_go_on(node);
}

static void done(struct background_job *job) {
    struct older *const older = (struct older *)job;
    struct node *const node = older->node;
    older->busy = false;
    if (node->stopping) {
        return;
    }
    if (older->result != 0) {
        put_off(older);
        return;
    }
    older->obstacle[0] = '\0';
    switch (older->work) {
    case OLDER_OPEN:
        joiner_older(node, older_ledger_next(&older->ledger), node->beginning.first_entry);
        break;
    case OLDER_TAKE:
        engage_guard(older);
        joiner_taken(node, older_ledger_next(&older->ledger), older->good);
        break;
    case OLDER_FINISH:
        finished(older);
        break;
    }
}

void older_take(struct node *node, const struct range_message *range) {
    node->older->range = range;
    start(node->older, OLDER_TAKE);
}

void older_finish(struct node *node) {
    start(node->older, OLDER_FINISH);
}

const char *older_obstacle(const struct node *node) {
    return node->older == NULL || node->older->obstacle[0] == '\0' ? NULL : node->older->obstacle;
}

/* ---- life ------------------------------------------------------------------------------------ */

int older_start(struct node *node, struct problem *problem) {
    if (!node->beginning.present) {
        return 0;
    }
    struct older *const older = calloc(1, sizeof *older);
    if (older == NULL) {
        return problem_set(problem, EXIT_ERROR, "set up the older ledger: out of memory");
    }
    older->node = node;
    older->job = (struct background_job){.run = run, .done = done};
    older->ledger.node = node;
    node->older = older;
    CHECK(uv_timer_init(&node->loop, &older->retry) == 0); /* cannot fail */
    older->retry.data = older;
    older->thread = background_start(&node->loop, problem);
    if (older->thread == NULL) {
        return -1;
    }
    start(older, OLDER_OPEN);
    return 0;
}

void older_stop(struct node *node) {
    struct older *const older = node->older;
    if (older != NULL) {
        atomic_store(&older->ledger.stopping, true);
        background_stop(older->thread);
        uv_close((uv_handle_t *)&older->retry, NULL);
        older_ledger_close(&older->ledger);
    }
}

void older_free(struct node *node) {
    free(node->older);
    node->older = NULL;
}
