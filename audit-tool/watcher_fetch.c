/*
 * watcher_fetch: see watcher_fetch.h.
 */
#include "audit-tool/watcher_fetch.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

#include "audit-tool/demand_report.h"
#include "host/clock.h"
#include "host/file.h"

#define REPORT_ARENA_SIZE (4u << 20)
#define ABSENT_MS 2000u /* what an outage that goes on may delay a round by */

static int fetch_round(void *context, struct problem *problem) {
    struct watcher_fetch *const fetch = context;
    fetch->started_ms = clock_wall_ms();
    int const status = fetcher_round(fetch->fetcher, fetch->stops, fetch->stop_context, problem);
    uint64_t const now_ms = clock_wall_ms();
    fetch->ended_ms = now_ms > fetch->started_ms ? now_ms : fetch->started_ms;
    return status;
}

static const struct fetch_result *fetch_result_of(void *context, uint32_t replica) {
    const struct watcher_fetch *const fetch = context;
    return fetcher_result(fetch->fetcher, replica);
}

/* The file of a report on one replica. Returns: 0 or -1. */
static int make_report(struct watcher_fetch *fetch, uint32_t replica, struct buffer *file,
                       struct problem *problem) {
    struct demand_report report = {
        .author = fetch->context->key,
        .started_ms = fetch->started_ms,
        .ended_ms = fetch->ended_ms,
        .deadline_ms = fetch->deadline_ms,
    };
    struct arena arena;
    arena_init(&arena, REPORT_ARENA_SIZE);
    bool const good =
        demand_report_add(&report, &arena, replica, fetch_result_of(fetch, replica)) &&
        demand_report_file_make(file, fetch->context->founding.genesis.bytes,
                                &fetch->context->secret, &report);
    arena_free(&arena);
    return good ? 0
                : problem_set(problem, EXIT_ERROR, "a report on replica %" PRIu32 " cannot be made",
                              replica);
}

static int fetch_report(void *context, uint32_t replica, char path[PATH_MAX],
                        struct problem *problem) {
    struct watcher_fetch *const fetch = context;
    struct buffer file;
    int const size = snprintf(path, PATH_MAX, "%s/replica-%" PRIu32 "-%" PRIu64 ".report",
                              fetch->reports, replica, fetch->started_ms);
    if (size < 0 || size >= PATH_MAX) {
        return problem_set(problem, EXIT_USAGE, "--state: the name is too long");
    }
    if (mkdir(fetch->reports, 0755) != 0 && errno != EEXIST) {
        return problem_set(problem, EXIT_ERROR, "%s: %s", fetch->reports, strerror(errno));
    }
    buffer_init(&file, DEMAND_REPORT_FILE_SIZE_MAX);
    int const status = make_report(fetch, replica, &file, problem) == 0
                           ? file_write(path, buffer_span(&file), 0644, FILE_REPLACE, problem)
                           : -1;
    buffer_free(&file);
    return status;
}

int watcher_fetch_open(struct watcher_fetch *fetch, const char *state, struct problem *problem) {
    int const ledgers = snprintf(fetch->ledgers, sizeof fetch->ledgers, "%s/ledgers", state);
    int const reports = snprintf(fetch->reports, sizeof fetch->reports, "%s/reports", state);
    if (ledgers < 0 || reports < 0 || (size_t)ledgers >= sizeof fetch->ledgers ||
        (size_t)reports >= sizeof fetch->reports) {
        return problem_set(problem, EXIT_USAGE, "--state: the name is too long");
    }
    fetch->network = (struct watcher_network){
        .context = fetch,
        .round = fetch_round,
        .result = fetch_result_of,
        .report = fetch_report,
    };
    fetch->fetcher = fetcher_new(
        &(struct fetcher_options){
            .founding = &fetch->context->founding,
            .secret = fetch->context->secret,
            .key = fetch->context->key,
            .directory = fetch->ledgers,
            .deadline_ms = fetch->deadline_ms,
            .absent_ms = ABSENT_MS,
        },
        problem);
    return fetch->fetcher == NULL ? -1 : 0;
}

void watcher_fetch_close(struct watcher_fetch *fetch) {
    if (fetch->fetcher != NULL) {
        fetcher_free(fetch->fetcher);
        fetch->fetcher = NULL;
    }
}
