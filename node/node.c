/*
 * node: the running replica. The loop's thread owns everything; other threads hand back what they
 * did as callbacks of the loop. At the end of each turn in which something happened, workers and
 * disk are given what came together, once.
 */
#include "node/node.h"

#include <stdlib.h>

#include "base/check.h"
#include "node/chain_keeper.h"
#include "node/demand_service.h"
#include "node/join_service.h"
#include "node/joiner.h"
#include "node/older.h"

static const int end_signals[2] = {SIGTERM, SIGINT};

/* ---- turns ----------------------------------------------------------------------------------- */

/* Only there to keep the loop from waiting before on_turn has run. */
static void on_turn_wanted(uv_idle_t *idle) {
    (void)idle;
}

void node_want_turn(struct node *node) {
    /* Fails only on a handle that is being closed, when there are no more turns. */
    (void)uv_idle_start(&node->turn_wanted, on_turn_wanted);
}

static void on_tick(uv_timer_t *timer) {
    struct node *const node = timer->data;
    struct event event = {.kind = EVENT_TICK};
    node->tick_at_ms = 0;
    node_step(node, &event);
}

static void set_tick(struct node *node) {
    uint64_t const at_ms = replica_deadline(node->replica);
    uint64_t const now_ms = uv_now(&node->loop);
    if (at_ms == node->tick_at_ms || node->resting) {
        return; /* one that rests is woken by whoever laid it down */
    }
    node->tick_at_ms = at_ms;
    CHECK(uv_timer_start(&node->tick, on_tick, at_ms > now_ms ? at_ms - now_ms : 0, 0) == 0);
}

static void on_turn(uv_check_t *check) {
    struct node *const node = check->data;
    (void)uv_idle_stop(&node->turn_wanted); /* cannot fail */
    if (node->stopping) {
        return;
    }
    size_t const backlog = disk_thread_backlog(node->disk);
    disk_thread_flush(node->disk);
    workers_dispatch(node->workers);
    if (backlog > DISK_QUEUE_SIZE_SOFT_MAX) {
        clients_hold(node, true);
    } else if (backlog <= DISK_QUEUE_SIZE_SOFT_MAX / 2) {
        clients_hold(node, false);
    }
    set_tick(node);
}

/* ---- opening --------------------------------------------------------------------------------- */

static unsigned pool_threads(void) {
    const char *const set = getenv("UV_THREADPOOL_SIZE");
    unsigned long const threads = set == NULL ? 0 : strtoul(set, NULL, 10);
    return threads == 0 || threads > 1024 ? 4 : (unsigned)threads;
}

void node_init(struct node *node) {
    size_t const kept = offsetof(struct node, loop);
    memset((uint8_t *)node + kept, 0, sizeof *node - kept);
    node->data_disk.directory = -1;
    node->ledger_disk.directory = -1;
    node->ledger.file = -1;
}

int node_open(struct node *node, struct problem *problem) {
    struct workers_options const workers = {
        .loop = &node->loop,
        .service = node->identity.founding.configuration.service,
        .thread_count = pool_threads(),
        .on_checked = node_checked,
        .context = node,
    };
    int const error = uv_loop_init(&node->loop);
    if (error != 0) {
        return problem_set(problem, EXIT_ERROR, "set up the event loop: %s", uv_strerror(error));
    }
    outbox_init(&node->outbox);
    effects_init(&node->effects);
    buffer_init(&node->scratch, FRAME_SIZE_MAX);
    node->workers = workers_new(&workers);
    if (node->workers == NULL) {
        return problem_set(problem, EXIT_ERROR, "set up workers: out of memory");
    }
    return peers_open(node, problem) == 0 && clients_open(node, problem) == 0 ? 0 : -1;
}

static void on_stop_timeout(uv_timer_t *timer) {
    log_event(LOG_WARN, "ending without having written that down: the disk does not answer",
              (struct log_field[]){log_end()});
    uv_stop(timer->loop);
}

/*
 * The replica puts down that all it signed is in its ledger; with that durable the loop ends.
 * Frames that waited for the disk may still go.
 */
static void stop(struct node *node) {
    struct event event = {.kind = EVENT_STOP};
    node_step(node, &event);
    node->stopping = true;
    node->stop_position = node->disk_position;
    disk_thread_flush(node->disk);
    if (node->failed || node->durable >= node->stop_position) {
        uv_stop(&node->loop);
    } else {
        CHECK(uv_timer_start(&node->tick, on_stop_timeout, STOP_TIMEOUT_MS, 0) == 0);
    }
}

/* Whoever asks a second time does not wait. */
static void on_signal(uv_signal_t *signal, int number) {
    struct node *const node = signal->data;
    node->again = false;
    if (node->stopping) {
        uv_stop(&node->loop);
        return;
    }
    log_event(LOG_INFO, "ending",
              (struct log_field[]){log_text("signal", number == SIGINT ? "SIGINT" : "SIGTERM"),
                                   log_end()});
    stop(node);
}

void node_restart(struct node *node) {
    if (!node->stopping) {
        node->again = true;
        node->resting = false;
        stop(node);
    }
}

void node_fail(struct node *node, const char *what, const char *why) {
    if (!node->failed) {
        log_event(LOG_ERROR, what, (struct log_field[]){log_text("problem", why), log_end()});
    }
    node->failed = true;
    node->stopping = true;
    uv_stop(&node->loop);
}

static int start_threads(struct node *node, struct problem *problem) {
    struct disk_thread_options const options = {
        .loop = &node->loop,
        .ledger = &node->ledger,
        .journal = node->has_journal ? &node->journal : NULL,
        .on_durable = node_durable,
        .context = node,
    };
    node->ledger_entries = segment_writer_next_index(&node->ledger);
    if (demand_service_start(node, problem) != 0) {
        return -1;
    }
    node->disk = disk_thread_start(&options, problem);
    if (node->disk == NULL) {
        return -1;
    }
    if (receipts_open(node, problem) != 0) {
        return -1;
    }
    node->reader = background_start(&node->loop, problem);
    return node->reader == NULL || chain_keeper_start(node, problem) != 0 ||
                   checkpointer_open(node, problem) != 0 ||
                   join_service_start(node, problem) != 0 || joiner_open(node, problem) != 0
               ? -1
               : older_start(node, problem);
}

static void start_handles(struct node *node) {
    /* None of these can fail with a valid loop and callback. */
    CHECK(uv_timer_init(&node->loop, &node->tick) == 0);
    CHECK(uv_check_init(&node->loop, &node->turn) == 0);
    CHECK(uv_idle_init(&node->loop, &node->turn_wanted) == 0);
    node->tick.data = node;
    node->turn.data = node;
    CHECK(uv_check_start(&node->turn, on_turn) == 0);
    for (unsigned i = 0; i < 2; i++) {
        CHECK(uv_signal_init(&node->loop, &node->signals[i]) == 0);
        node->signals[i].data = node;
        CHECK(uv_signal_start(&node->signals[i], on_signal, end_signals[i]) == 0);
    }
}

static void tell_ready(const struct node *node) {
    char service[2 * DIGEST_SIZE + 1];
    struct replica_status status;
    const struct configuration *const configuration = replica_configuration(node->replica);
    uint32_t const self = replica_self(node->replica);
    const char *const member =
        self == REPLICAS_MAX ? "none" : configuration_member_of(configuration, self);
    replica_status(node->replica, &status);
    bool const votes = status.guard == GUARD_NONE && self != REPLICAS_MAX;
    hex_encode(service, span_of(node->identity.founding.configuration.service.bytes, DIGEST_SIZE));
    log_event(LOG_INFO, "ready",
              (struct log_field[]){
                  log_text("service", service), log_text("member", member),
                  log_text("peer", node->config.listen_peer),
                  log_text("client", node->config.listen_client),
                  log_number("config", status.config), log_number("view", status.view),
                  log_number("seq", status.executed_seq), log_number("entries", status.entries),
                  log_text("voting", votes ? "yes" : "no"), log_end()});
}

/* ---- the end --------------------------------------------------------------------------------- */

static void close_handles(struct node *node) {
    uv_close((uv_handle_t *)&node->tick, NULL);
    uv_close((uv_handle_t *)&node->turn, NULL);
    uv_close((uv_handle_t *)&node->turn_wanted, NULL);
    for (unsigned i = 0; i < 2; i++) {
        uv_close((uv_handle_t *)&node->signals[i], NULL);
    }
}

int node_run(struct node *node) {
    struct problem problem = {0};
    struct event first = {.kind = EVENT_TICK};
    if (start_threads(node, &problem) != 0) {
        log_event(LOG_ERROR, "cannot start",
                  (struct log_field[]){log_text("problem", problem.text), log_end()});
        _Exit(EXIT_ERROR); /* some threads may be there, and have nothing to do */
    }
    start_handles(node);
    tell_ready(node);
    node_check_certificate(node);
    uv_update_time(&node->loop); /* recovery may have taken long */
    peers_start(node);
    node_step(node, &first);
    joiner_start(node);
    if (!node->stopping) {
        (void)uv_run(&node->loop, UV_RUN_DEFAULT);
    }
    node->stopping = true;
    close_handles(node);
    workers_stop(node->workers);
    disk_thread_stop(node->disk);
    background_stop(node->reader);
    chain_keeper_stop(node);
    checkpointer_close(node);
    join_service_stop(node);
    demand_service_stop(node);
    older_stop(node);
    joiner_stop(node); /* what it holds, the threads above no longer read */
    if (node->failed) {
        return EXIT_ERROR;
    }
    if (!node->again) {
        log_event(LOG_INFO, "ended", (struct log_field[]){log_end()});
    }
    return node->again ? NODE_AGAIN : EXIT_OK;
}

void node_close(struct node *node) {
    peers_close(node);
    clients_close(node);
    (void)uv_run(&node->loop, UV_RUN_DEFAULT); /* until the last handle is closed */
    if (node->workers != NULL) {
        workers_free(node->workers);
    }
    peers_free(node);
    clients_free(node);
    checkpointer_free(node);
    receipts_free(node);
    join_service_free(node);
    demand_service_free(node);
    chain_keeper_free(node);
    joiner_free(node);
    older_free(node);
    replica_free(node->replica);
    free(node->constitution);
    free(node->configuration);
    if (node->engine != NULL) {
        engine_free(node->engine);
    }
    if (node->checker != NULL) {
        checker_free(node->checker);
    }
    state_store_close(node->store);
    segment_writer_close(&node->ledger);
    if (node->has_journal) {
        journal_close(&node->journal);
    }
    host_disk_close(&node->ledger_disk);
    host_disk_close(&node->data_disk);
    outbox_free(&node->outbox);
    effects_free(&node->effects);
    buffer_free(&node->scratch);
    (void)uv_loop_close(&node->loop);
}
