/*
 * watcher_fetch: see watcher_fetch.h.
 */
#include "audit-tool/watcher_fetch.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "audit-tool/demand_report.h"
#include "audit-tool/known_eras.h"
#include "host/clock.h"
#include "host/context_chain.h"
#include "host/file.h"

#define REPORT_ARENA_SIZE (4u << 20)
#define ABSENT_MS 2000u /* what an outage that goes on may delay a round by */

static struct fetcher_options options_of(const struct watcher_fetch *fetch) {
    return (struct fetcher_options){
        .founding = &fetch->context->founding,
        .eras = &fetch->eras,
        .secret = fetch->context->secret,
        .key = fetch->context->key,
        .directory = fetch->ledgers,
        .deadline_ms = fetch->deadline_ms,
        .absent_ms = ABSENT_MS,
    };
}

/* ---- whom to ask ---- */

/* A chain's file may have grown: how many links has it? It is judged when that is news. */
static uint64_t count_links(struct span file) {
    struct arena arena;
    struct chain_reader reader;
    struct span link;
    uint64_t count = 0;
    arena_init(&arena, 2 * (size_t)CHAIN_HEADER_SIZE_MAX);
    if (chain_reader_open(&reader, &arena, file)) {
        while (chain_reader_next(&reader, &link) == 1) {
            count++;
        }
    }
    arena_free(&arena);
    return count;
}

/* Ask by this chain from now on, if it leads further and holds. Returns: 0 or -1. */
static int take_chain(struct watcher_fetch *fetch, struct span file, struct problem *problem) {
    struct problem own = {.code = EXIT_OK};
    struct eras eras = {.count = 0};
    if (count_links(file) < fetch->eras.count) { /* configuration n has n - 1 links */
        return 0;
    }
    if (known_eras_read(&eras, &fetch->context->founding, file, &own) != 0) {
        eras_free(&eras);
        return own.code == EXIT_INVALID ? 0 : problem_set(problem, own.code, "%s", own.text);
    }
    fetcher_free(fetch->fetcher);
    eras_free(&fetch->eras);
    fetch->eras = eras;
    struct fetcher_options const options = options_of(fetch);
    fetch->fetcher = fetcher_new(&options, problem);
    return fetch->fetcher == NULL ? -1 : 0;
}

/* What the audits have come to, and what the context has by other commands. Returns: 0 or -1. */
static int follow(struct watcher_fetch *fetch, struct problem *problem) {
    struct problem ignored = {.code = EXIT_OK}; /* what is not there, or damaged, leads nowhere */
    struct buffer file;
    int status = 0;
    buffer_init(&file, CHAIN_SIZE_MAX);
    if (access(fetch->chain_file, F_OK) == 0 &&
        file_read(&file, fetch->chain_file, FILE_PUBLIC, &ignored) == 0) {
        status = take_chain(fetch, buffer_span(&file), problem);
    }
    buffer_clear(&file);
    if (status == 0 && context_chain_read(fetch->context, &file, &ignored) == 0) {
        status = take_chain(fetch, buffer_span(&file), problem);
    }
    buffer_free(&file);
    return status;
}

static const struct configuration *fetch_configuration(void *context) {
    const struct watcher_fetch *const fetch = context;
    return known_eras_newest(&fetch->eras);
}

/* ---- rounds ---- */

static int fetch_round(void *context, struct problem *problem) {
    struct watcher_fetch *const fetch = context;
    if (follow(fetch, problem) != 0) {
        return -1;
    }
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
        .config = fetch->eras.count,
    };
    struct arena arena;
    arena_init(&arena, REPORT_ARENA_SIZE);
    bool const good =
        demand_report_add(&report, &arena, replica, fetch_result_of(fetch, replica)) &&
        demand_report_file_make(file, fetch->context->founding.genesis.bytes, &fetch->eras,
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
        .configuration = fetch_configuration,
        .result = fetch_result_of,
        .report = fetch_report,
    };
    if (!eras_init(&fetch->eras, fetch->context->founding.genesis.bytes)) {
        return problem_set(problem, EXIT_ERROR, "out of memory");
    }
    struct fetcher_options const options = options_of(fetch);
    fetch->fetcher = fetcher_new(&options, problem);
    return fetch->fetcher == NULL ? -1 : 0;
}

void watcher_fetch_close(struct watcher_fetch *fetch) {
    if (fetch->fetcher != NULL) {
        fetcher_free(fetch->fetcher);
        fetch->fetcher = NULL;
    }
    eras_free(&fetch->eras);
}
