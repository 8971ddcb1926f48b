/*
 * onus-audit watch: a continuous audit (watcher.h), as a service runs it: events on stdout, prose
 * on stderr, an end by SIGTERM or SIGINT. Between rounds it sleeps; a signal wakes it at once, and
 * so do receipts that come in by the socket.
 *
 * The genesis comes from the context, or else from a ledger; then it is kept under --state.
 */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "audit-tool/command.h"
#include "audit-tool/receipt_socket.h"
#include "audit-tool/sources.h"
#include "audit-tool/watcher.h"
#include "audit-tool/watcher_fetch.h"
#include "audit-tool/watcher_intake.h"
#include "audit-tool/watcher_print.h"
#include "base/check.h"
#include "host/clock.h"
#include "host/context_chain.h"

#define INTERVAL_S_DEFAULT 10u
#define DEADLINE_S_DEFAULT 10u
#define SECONDS_MAX 86400u
#define ROUND_PAUSE_MS 500u /* receipts that come in begin a round, but not more often */

struct watch {
    struct sources sources; /* paths given, service id, genesis */
    uint32_t receipts_count;
    const char *receipts_paths[WATCHER_DIRECTORIES_MAX];
    const char *context_directory; /* NULL: replicas are not asked */
    const char *state;
    const char *socket_path; /* NULL: none */
    uint64_t interval_ms;
    uint64_t deadline_ms;
    bool once;
    struct watcher_printer printer;

    struct context context;
    const struct founding *founding; /* of the context, or of the sources */
    struct watcher_fetch fetch;
    struct watcher *watcher;
    struct watcher_intake intake; /* of the socket's thread */
    bool has_intake;
    struct receipt_socket *socket;
};

/* ---- waking and ending ----------------------------------------------------------------------- */

static volatile sig_atomic_t is_ending;
static int wake_descriptor = -1; /* an eventfd: written to by the handler and the socket's thread */

static void wake(void) {
    uint64_t const one = 1;
    int const saved = errno;
    /* It fails only when it is full, and then there is somebody to be woken already. */
    ssize_t const ignored = write(wake_descriptor, &one, sizeof one);
    (void)ignored;
    errno = saved;
}

static void on_signal(int number) {
    (void)number;
    is_ending = 1;
    wake();
}

static int prepare_signals(struct problem *problem) {
    struct sigaction action = {.sa_handler = on_signal};
    wake_descriptor = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (wake_descriptor < 0 || sigemptyset(&action.sa_mask) != 0 ||
        sigaction(SIGTERM, &action, NULL) != 0 || sigaction(SIGINT, &action, NULL) != 0 ||
        signal(SIGPIPE, SIG_IGN) == SIG_ERR) {
        return problem_set(problem, EXIT_ERROR, "signals: %s", strerror(errno));
    }
    return 0;
}

static bool stops(void *context) {
    (void)context;
    return is_ending != 0;
}

/* Until somebody wakes us, or the time has come. Returns: was it somebody? */
static bool sleep_until(uint64_t time_ms) {
    uint64_t const now_ms = clock_monotonic_ms();
    uint64_t const left_ms = time_ms > now_ms ? time_ms - now_ms : 0;
    struct pollfd polled = {.fd = wake_descriptor, .events = POLLIN};
    uint64_t count = 0;
    if (is_ending != 0 || left_ms == 0) {
        return false;
    }
    return poll(&polled, 1, (int)left_ms) == 1 &&
           read(wake_descriptor, &count, sizeof count) == (ssize_t)sizeof count;
}

/* ---- the socket ------------------------------------------------------------------------------ */

/* What the intake counted since the last look. */
static int count_taken(struct watch *watch, int status, struct receipt_counts *counts) {
    struct watcher_intake *const intake = &watch->intake;
    if (status != 0) {
        watcher_intake_abandon(intake);
        return -1;
    }
    counts->kept += intake->kept;
    counts->known += intake->known;
    counts->invalid += intake->invalid + intake->unknown; /* it may bring those with their links */
    intake->kept = 0;
    intake->known = 0;
    intake->invalid = 0;
    intake->unknown = 0;
    return 0;
}

static int take_receipt(void *context, struct span file, struct receipt_counts *counts,
                        struct problem *problem) {
    struct watch *const watch = context;
    return count_taken(watch, watcher_intake_receipt(&watch->intake, "socket", file, problem),
                       counts);
}

static int take_bundle(void *context, struct span bundle, struct span certificate,
                       struct receipt_counts *counts, struct problem *problem) {
    struct watch *const watch = context;
    return count_taken(
        watch, watcher_intake_bundle(&watch->intake, "socket", bundle, certificate, problem),
        counts);
}

static int take_link(void *context, struct span link, struct receipt_counts *counts,
                     struct problem *problem) {
    struct watch *const watch = context;
    return count_taken(watch, watcher_intake_link(&watch->intake, "socket", link, problem), counts);
}

static int commit_receipts(void *context, struct problem *problem) {
    struct watch *const watch = context;
    if (watcher_intake_commit(&watch->intake, problem) != 0) {
        return -1;
    }
    wake();
    return 0;
}

static int open_socket(struct watch *watch, struct problem *problem) {
    if (watch->socket_path == NULL) {
        return 0;
    }
    watch->intake = (struct watcher_intake){
        .store = watcher_store_of(watch->watcher),
        .founding = watch->founding,
        .chain_file = watcher_chain_file(watch->watcher),
    };
    watch->has_intake = true;
    if (watcher_intake_init(&watch->intake, problem) != 0) {
        return -1;
    }
    watch->socket = receipt_socket_open(
        &(struct receipt_socket_options){
            .path = watch->socket_path,
            .service = watch->founding->genesis.service,
            .sink = {.context = watch,
                     .receipt = take_receipt,
                     .bundle = take_bundle,
                     .link = take_link,
                     .commit = commit_receipts},
        },
        problem);
    return watch->socket == NULL ? -1 : 0;
}

/* ---- which service --------------------------------------------------------------------------- */

static int keep_genesis(const struct watch *watch, const char *path, struct problem *problem) {
    if (mkdir(watch->state, 0700) != 0 && errno != EEXIST) {
        return problem_set(problem, EXIT_ERROR, "%s: %s; name a directory that can be made",
                           watch->state, strerror(errno));
    }
    return founding_save(watch->sources.founding.genesis.bytes, path, problem);
}

/* Without a context: the genesis that was kept, or that of a ledger. */
static int find_founding(struct watch *watch, struct problem *problem) {
    struct sources *const sources = &watch->sources;
    char path[PATH_MAX];
    int const size = snprintf(path, sizeof path, "%s/genesis.onus", watch->state);
    if (size < 0 || (size_t)size >= sizeof path) {
        return problem_set(problem, EXIT_USAGE, "--state: the name is too long");
    }
    watch->founding = &sources->founding;
    if (access(path, F_OK) == 0) {
        sources->has_founding = true;
        if (founding_load(&sources->founding, path, problem) != 0) {
            return -1;
        }
        return digest_equal(&sources->founding.genesis.service, &sources->service)
                   ? 0
                   : problem_set(problem, EXIT_USAGE,
                                 "%s: watches another service than --service says; give another "
                                 "--state",
                                 watch->state);
    }
    uint32_t const count = sources->ledger_count;
    int const status = sources_open_ledgers(sources, problem) == 0 &&
                               sources_find_genesis(sources, NULL, problem) == 0
                           ? keep_genesis(watch, path, problem)
                           : -1;
    sources_close_ledgers(sources);
    sources->ledger_count = count; /* their paths are still there */
    return status;
}

static int load_context(struct watch *watch, struct problem *problem) {
    if (context_load(&watch->context, watch->context_directory, problem) != 0 ||
        context_load_key(&watch->context, problem) != 0 ||
        context_chain_check_key(&watch->context, problem) != 0) {
        return -1;
    }
    watch->founding = &watch->context.founding;
    const struct digest *const service = &watch->founding->genesis.service;
    if (watch->sources.service_text[0] != '\0' && !digest_equal(service, &watch->sources.service)) {
        return problem_set(problem, EXIT_USAGE, "%s: of another service than --service says",
                           watch->context_directory);
    }
    watch->fetch.context = &watch->context;
    watch->fetch.deadline_ms = watch->deadline_ms;
    watch->fetch.stops = stops;
    return 0;
}

/* ---- running --------------------------------------------------------------------------------- */

static void on_event(void *context, const struct watch_event *event) {
    struct watch *const watch = context;
    watcher_print(&watch->printer, event);
}

static int open_watch(struct watch *watch, struct problem *problem) {
    bool const has_context = watch->context_directory != NULL;
    if (prepare_signals(problem) != 0 ||
        (has_context ? load_context(watch, problem) : find_founding(watch, problem)) != 0) {
        return -1;
    }
    watch->watcher = watcher_new(
        &(struct watcher_options){
            .founding = watch->founding,
            .state = watch->state,
            .jobs = sources_processors(),
            .ledger_count = watch->sources.ledger_count,
            .ledgers = watch->sources.ledger_paths,
            .receipts_count = watch->receipts_count,
            .receipts = watch->receipts_paths,
            .network = has_context ? &watch->fetch.network : NULL,
            .on_event = on_event,
            .stops = stops,
            .context = watch,
        },
        problem);
    watch->fetch.chain_file = watch->watcher == NULL ? NULL : watcher_chain_file(watch->watcher);
    if (watch->watcher == NULL ||
        (has_context && watcher_fetch_open(&watch->fetch, watch->state, problem) != 0)) {
        return -1;
    }
    return open_socket(watch, problem);
}

static int run_rounds(struct watch *watch, struct problem *problem) {
    uint64_t next_ms = 0; /* when the replicas are asked again */
    while (is_ending == 0) {
        uint64_t const start_ms = clock_monotonic_ms();
        bool const asks = start_ms >= next_ms;
        if (watcher_round(watch->watcher, asks, problem) != 0) {
            return -1;
        }
        if (watch->once) {
            return 0;
        }
        next_ms = asks ? start_ms + watch->interval_ms : next_ms;
        if (sleep_until(next_ms)) {
            (void)sleep_until(clock_monotonic_ms() + ROUND_PAUSE_MS); /* let more come in */
        }
    }
    return 0;
}

static void close_watch(struct watch *watch) {
    receipt_socket_close(watch->socket);
    if (watch->has_intake) {
        watcher_intake_free(&watch->intake);
    }
    watcher_free(watch->watcher);
    watcher_fetch_close(&watch->fetch);
    context_free(&watch->context);
    sources_free(&watch->sources);
    if (wake_descriptor >= 0) {
        (void)close(wake_descriptor);
        wake_descriptor = -1;
    }
}

static int run_watch(struct watch *watch) {
    struct problem problem = {.code = EXIT_OK};
    int code = EXIT_OK;
    if (open_watch(watch, &problem) != 0 || run_rounds(watch, &problem) != 0) {
        code = command_fail(&problem);
    } else {
        code = (int)watcher_exit_code(watch->watcher);
    }
    close_watch(watch);
    return code;
}

/* ---- arguments ------------------------------------------------------------------------------- */

static int parse_seconds(uint64_t *out_ms, const char *option, const char *text,
                         struct problem *problem) {
    char *end = NULL;
    errno = 0;
    unsigned long const seconds = strtoul(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || text[0] == '-' || seconds < 1 ||
        seconds > SECONDS_MAX) {
        return problem_set(problem, EXIT_USAGE, "--%s %s: give seconds from 1 to %u", option, text,
                           SECONDS_MAX);
    }
    *out_ms = (uint64_t)seconds * 1000;
    return 0;
}

static int take_option(struct watch *watch, int option, const char *value,
                       struct problem *problem) {
    switch (option) {
    case 'C':
        watch->context_directory = value;
        return 0;
    case 's':
        (void)snprintf(watch->sources.service_text, sizeof watch->sources.service_text, "%s",
                       value);
        return command_service(&watch->sources.service, value, problem);
    case 'd':
        watch->state = value;
        return 0;
    case 'l':
        return sources_add_path(watch->sources.ledger_paths, &watch->sources.ledger_count,
                                AUDIT_LEDGERS_MAX, value, problem);
    case 'r':
        return sources_add_path(watch->receipts_paths, &watch->receipts_count,
                                WATCHER_DIRECTORIES_MAX, value, problem);
    case 'S':
        watch->socket_path = value;
        return 0;
    case 'i':
        return parse_seconds(&watch->interval_ms, "interval", value, problem);
    case 'D':
        return parse_seconds(&watch->deadline_ms, "deadline", value, problem);
    case '1':
        watch->once = true;
        return 0;
    case 'q':
        watch->printer.quiet = true;
        return 0;
    case 'o':
        watch->printer.json = strcmp(value, "json") == 0;
        return watch->printer.json || strcmp(value, "text") == 0
                   ? 0
                   : problem_set(problem, EXIT_USAGE, "-o %s: give text or json", value);
    default:
        return problem_set(problem, EXIT_USAGE, "unknown option or argument");
    }
}

/* Returns: an option's letter; -1 at the end. '\1' stands for a word that is no option. */
static int next_option(int argc, char **argv) {
    static const struct option options[] = {
        {"context", required_argument, NULL, 'C'},
        {"service", required_argument, NULL, 's'},
        {"state", required_argument, NULL, 'd'},
        {"ledger", required_argument, NULL, 'l'},
        {"receipts", required_argument, NULL, 'r'},
        {"socket", required_argument, NULL, 'S'},
        {"interval", required_argument, NULL, 'i'},
        {"deadline", required_argument, NULL, 'D'},
        {"once", no_argument, NULL, '1'},
        {"output", required_argument, NULL, 'o'},
        {"quiet", no_argument, NULL, 'q'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    return getopt_long(argc, argv, "-hC:o:q", options, NULL);
}

/* What is wrong with the options together; NULL: nothing. */
static const char *misfit(const struct watch *watch) {
    if (watch->state == NULL) {
        return "--state is missing: where to keep what must not be forgotten";
    }
    if (watch->context_directory == NULL && watch->sources.ledger_count == 0) {
        return "--context, to ask the replicas, or --ledger is missing";
    }
    return watch->context_directory == NULL && watch->sources.service_text[0] == '\0'
               ? "--service is missing: without a context, say which service it is"
               : NULL;
}

int command_watch(const struct command *command, int argc, char **argv) {
    struct problem problem = {.code = EXIT_OK};
    struct watch *const watch = calloc(1, sizeof *watch);
    if (watch == NULL) {
        return command_misused(command, "out of memory");
    }
    watch->interval_ms = INTERVAL_S_DEFAULT * 1000u;
    watch->deadline_ms = DEADLINE_S_DEFAULT * 1000u;
    watch->printer.out = stdout;
    int option = 0;
    int list = 0; /* which list further words belong to */
    int status = 0;
    optind = 0;
    while (status == 0 && (option = next_option(argc, argv)) != -1) {
        if (option == 'h') {
            free(watch);
            return command_help(command);
        }
        list = option == 1 ? list : option == 'l' || option == 'r' ? option : 0;
        status = take_option(watch, option == 1 ? list : option, optarg, &problem);
    }
    const char *const wrong = status != 0 ? problem.text : misfit(watch);
    int const code = wrong != NULL ? command_misused(command, "%s", wrong) : run_watch(watch);
    free(watch);
    return code;
}
