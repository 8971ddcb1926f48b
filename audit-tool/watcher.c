/*
 * watcher: see watcher.h. Here: what it opens, how it asks the replicas, and a round.
 */
#include "audit-tool/watcher.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "audit-tool/watcher_internal.h"
#include "base/check.h"
#include "host/clock.h"

#define OUTAGE_PREFIX "outage:"
#define OUTAGE_NAME_SIZE (sizeof OUTAGE_PREFIX + 10)

bool watch_stops(const struct watcher *watcher) {
    return watcher->options.stops != NULL && watcher->options.stops(watcher->options.context);
}

const struct configuration *watch_configuration(const struct watcher *watcher) {
    const struct watcher_network *const network = watcher->options.network;
    return network == NULL || network->configuration == NULL
               ? &watcher->options.founding->configuration
               : network->configuration(network->context);
}

/* ---- opening --------------------------------------------------------------------------------- */

static int path_in(char path[static PATH_MAX], const char *state, const char *name,
                   struct problem *problem) {
    int const size = snprintf(path, PATH_MAX, "%s/%s", state, name);
    return size > 0 && size < PATH_MAX
               ? 0
               : problem_set(problem, EXIT_USAGE, "%s: the name is too long", state);
}

static int lock_state(struct watcher *watcher, struct problem *problem) {
    char path[PATH_MAX];
    if (mkdir(watcher->state, 0700) != 0 && errno != EEXIST) {
        return problem_set(problem, EXIT_ERROR, "%s: %s; name a directory that can be made",
                           watcher->state, strerror(errno));
    }
    if (path_in(path, watcher->state, "lock", problem) != 0) {
        return -1;
    }
    watcher->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (watcher->lock < 0) {
        return problem_set(problem, EXIT_ERROR, "%s: %s", path, strerror(errno));
    }
    return flock(watcher->lock, LOCK_EX | LOCK_NB) == 0
               ? 0
               : problem_set(problem, EXIT_ERROR,
                             "%s: another onus-audit watch runs on it; end that, or give another "
                             "--state",
                             watcher->state);
}

/* Which state is there to go on from? One that cannot be used is none. */
static int find_base(struct watcher *watcher, struct problem *problem) {
    struct buffer bytes;
    struct audit_progress progress;
    struct problem unreadable = {.code = EXIT_OK};
    if (state_dir_open(&watcher->states, watcher->states_path, 0, problem) != 0) {
        return -1;
    }
    buffer_init(&bytes, 0);
    if (state_dir_read_progress(&watcher->states, &bytes, &unreadable) == 1 &&
        audit_progress_decode(&progress, &watcher->sources.service, buffer_span(&bytes))) {
        watcher->base = progress.seq;
        watcher->states.saved = progress.seq;
    }
    buffer_free(&bytes);
    return 0;
}

/* How far the last audit got. */
static int find_audited(struct watcher *watcher, struct problem *problem) {
    uint8_t memory[WATCH_AUDITED_SIZE];
    struct buffer value;
    buffer_init_on(&value, memory, sizeof memory);
    int const status = watcher_store_get(watcher->store, WATCH_AUDITED, &value, problem);
    if (status == 1 && value.size == WATCH_AUDITED_SIZE) {
        watcher->status.audited_batch = load_u64_be(memory);
        watcher->status.view = load_u64_be(memory + 8);
        watcher->status.evidenced = load_u64_be(memory + 16);
        watcher->owes_anew = load_u64_be(memory + 24) != 0;
        watcher->status.config = load_u64_be(memory + 32);
    }
    return status < 0 ? -1 : 0;
}

/* By whose numbers outages are noted. */
static int find_asked(struct watcher *watcher, struct problem *problem) {
    uint8_t memory[8];
    struct buffer value;
    buffer_init_on(&value, memory, sizeof memory);
    int const status = watcher_store_get(watcher->store, WATCH_ASKED, &value, problem);
    if (status == 1 && value.size == sizeof memory) {
        watcher->asked_config = load_u64_be(memory);
    }
    return status < 0 ? -1 : 0;
}

static int note_outage(void *context, const char *name, struct span value) {
    struct watcher *const watcher = context;
    char *end = NULL;
    unsigned long const replica = strtoul(name + sizeof OUTAGE_PREFIX - 1, &end, 10);
    (void)value;
    if (*end == '\0' && replica < REPLICAS_MAX) {
        watcher->outages |= (uint64_t)1 << replica;
    }
    return 0;
}

static void on_bad_receipt(void *context, const char *name, const char *why) {
    struct watcher *const watcher = context;
    char text[PROBLEM_TEXT_SIZE];
    (void)snprintf(text, sizeof text, "%s: not a valid receipt: %s", name, why);
    watcher->bad_receipts++;
    watch_tell(watcher, &(struct watch_event){.kind = WATCH_BAD_RECEIPT, .text = text});
}

static int open_all(struct watcher *watcher, struct problem *problem) {
    char path[PATH_MAX];
    if (lock_state(watcher, problem) != 0 || path_in(path, watcher->state, "store", problem) != 0 ||
        path_in(watcher->states_path, watcher->state, "audit", problem) != 0 ||
        path_in(watcher->chain_path, watcher->state, "audit/" STATE_DIR_CHAIN, problem) != 0 ||
        path_in(watcher->evidence_path, watcher->state, "evidence", problem) != 0 ||
        path_in(watcher->network_path, watcher->state, "ledgers", problem) != 0) {
        return -1;
    }
    watcher->store = watcher_store_open(path, &watcher->sources.service, problem);
    if (watcher->store == NULL) {
        return -1;
    }
    watcher->intake.store = watcher->store;
    return find_base(watcher, problem) == 0 && find_audited(watcher, problem) == 0 &&
                   find_asked(watcher, problem) == 0 &&
                   watcher_store_visit_notes(watcher->store, OUTAGE_PREFIX, note_outage, watcher,
                                             problem) == 0
               ? watch_tell_rest(watcher, problem)
               : -1;
}

struct watcher *watcher_new(const struct watcher_options *options, struct problem *problem) {
    struct watcher *const watcher = calloc(1, sizeof *watcher);
    if (watcher == NULL) {
        (void)problem_set(problem, EXIT_ERROR, "out of memory");
        return NULL;
    }
    watcher->options = *options;
    watcher->lock = -1;
    watcher->sources.service = options->founding->genesis.service;
    watcher->sources.founding.genesis = options->founding->genesis; /* a look at it, not ours */
    hex_encode(watcher->sources.service_text, span_of(watcher->sources.service.bytes, DIGEST_SIZE));
    watcher->intake = (struct watcher_intake){
        .founding = options->founding,
        .chain_file = watcher->chain_path,
        .on_bad = on_bad_receipt,
        .context = watcher,
    };
    int const opened = watcher_intake_init(&watcher->intake, problem);
    int const size = snprintf(watcher->state, sizeof watcher->state, "%s", options->state);
    if (opened != 0) {
        (void)problem_set(problem, problem->code, "%s", problem->text);
    } else if (size < 0 || (size_t)size >= sizeof watcher->state) {
        (void)problem_set(problem, EXIT_USAGE, "--state: the name is too long");
    } else if (open_all(watcher, problem) == 0) {
        return watcher;
    }
    watcher_free(watcher);
    return NULL;
}

void watcher_free(struct watcher *watcher) {
    if (watcher == NULL) {
        return;
    }
    sources_close_ledgers(&watcher->sources);
    watcher_intake_free(&watcher->intake);
    watcher_store_close(watcher->store);
    if (watcher->lock >= 0) {
        (void)close(watcher->lock);
    }
    free(watcher);
}

struct watcher_store *watcher_store_of(const struct watcher *watcher) {
    return watcher->store;
}

const char *watcher_chain_file(const struct watcher *watcher) {
    return watcher->chain_path;
}

/* ---- the replicas ---------------------------------------------------------------------------- */

/* Does it leave us without an answer? */
static bool is_outage(enum fetch_state state) {
    switch (state) {
    case FETCH_SILENT:
    case FETCH_UNREACHABLE:
    case FETCH_REFUSED:
    case FETCH_INVALID:
        return true;
    case FETCH_LEVEL:
    case FETCH_BEHIND:
    case FETCH_MALFORMED:
        return false;
    }
    UNREACHABLE();
}

static const char *outage_word(enum fetch_state state) {
    switch (state) {
    case FETCH_SILENT:
        return "it does not answer demands";
    case FETCH_UNREACHABLE:
        return "there is no link to it";
    case FETCH_REFUSED:
        return "it refuses to answer";
    case FETCH_INVALID:
        return "what it answers is not signed, or to something else";
    case FETCH_LEVEL:
    case FETCH_BEHIND:
    case FETCH_MALFORMED:
        return "it answers";
    }
    UNREACHABLE();
}

static void outage_name(char name[static OUTAGE_NAME_SIZE], uint32_t replica) {
    (void)snprintf(name, OUTAGE_NAME_SIZE, OUTAGE_PREFIX "%u", replica);
}

/* An empty value removes it. Returns: 0 or -1. */
static int put_note(struct watcher *watcher, const char *name, struct span value,
                    struct problem *problem) {
    struct store_write *const write = watcher_store_begin(watcher->store, problem);
    if (write == NULL) {
        return -1;
    }
    if (watcher_store_put(write, name, value, problem) != 0) {
        watcher_store_abort(write);
        return -1;
    }
    return watcher_store_commit(write, problem);
}

/* Set or, with no time, remove what is noted. Returns: 0 or -1. */
static int put_outage(struct watcher *watcher, uint32_t replica, uint64_t since_ms,
                      struct problem *problem) {
    char name[OUTAGE_NAME_SIZE];
    uint8_t value[8];
    outage_name(name, replica);
    store_u64_be(value, since_ms);
    return put_note(watcher, name, span_of(value, since_ms == 0 ? 0 : sizeof value), problem);
}

static int begin_outage(struct watcher *watcher, uint32_t replica,
                        const struct fetch_result *result, struct problem *problem) {
    const struct watcher_network *const network = watcher->options.network;
    uint64_t const since_ms = result->asked_ms != 0 ? result->asked_ms : clock_wall_ms();
    char text[PROBLEM_TEXT_SIZE];
    char path[PATH_MAX];
    bool has_report = false;
    (void)snprintf(text, sizeof text, "%s%s%s", outage_word(result->state),
                   result->reason[0] == '\0' ? "" : ": ", result->reason);
    if (network->report != NULL) {
        if (network->report(network->context, replica, path, problem) != 0) {
            return -1;
        }
        has_report = true;
    }
    if (put_outage(watcher, replica, since_ms, problem) != 0) {
        return -1;
    }
    watcher->outages |= (uint64_t)1 << replica;
    watch_tell(watcher, &(struct watch_event){.kind = WATCH_OUTAGE,
                                              .replica = replica,
                                              .since_ms = since_ms,
                                              .text = text,
                                              .path = has_report ? path : NULL});
    return 0;
}

static int end_outage(struct watcher *watcher, uint32_t replica, struct problem *problem) {
    char name[OUTAGE_NAME_SIZE];
    uint8_t memory[8] = {0};
    struct buffer value;
    outage_name(name, replica);
    buffer_init_on(&value, memory, sizeof memory);
    if (watcher_store_get(watcher->store, name, &value, problem) < 0 ||
        put_outage(watcher, replica, 0, problem) != 0) {
        return -1;
    }
    watcher->outages &= ~((uint64_t)1 << replica);
    watch_tell(watcher, &(struct watch_event){.kind = WATCH_OUTAGE_OVER,
                                              .replica = replica,
                                              .since_ms = load_u64_be(memory)});
    return 0;
}

/* Evidence from elsewhere is believed as far as it holds. */
static int take_evidence(struct watcher *watcher, struct span file, struct problem *problem) {
    struct proof_verdict *const verdict = malloc(sizeof *verdict);
    if (verdict == NULL) {
        return problem_set(problem, EXIT_ERROR, "out of memory");
    }
    int const status = proof_verify(verdict, &watcher->sources.service, file) == PROOF_VALID
                           ? watch_tell_finding(watcher, verdict, file, problem)
                           : 0;
    free(verdict);
    return status;
}

static int take_result(struct watcher *watcher, uint32_t replica, const struct fetch_result *result,
                       struct problem *problem) {
    bool const was_out = (watcher->outages >> replica & 1) != 0;
    bool const is_out = is_outage(result->state);
    watcher->status.level += result->state == FETCH_LEVEL;
    if (result->has_parted) {
        watch_tell(watcher, &(struct watch_event){.kind = WATCH_PARTED, .replica = replica});
    }
    if (result->state == FETCH_MALFORMED &&
        take_evidence(watcher, buffer_span(&result->evidence), problem) != 0) {
        return -1;
    }
    if (is_out && !was_out) {
        return begin_outage(watcher, replica, result, problem);
    }
    return !is_out && was_out ? end_outage(watcher, replica, problem) : 0;
}

/*
 * Numbers are dealt anew in each configuration: who is silent in the next is told of once more, by
 * the number and name that it has there.
 */
static int go_over(struct watcher *watcher, struct problem *problem) {
    uint64_t const config = watch_configuration(watcher)->number;
    uint8_t value[8];
    if (config == watcher->asked_config) {
        return 0;
    }
    for (uint32_t replica = 0; watcher->asked_config != 0 && replica < REPLICAS_MAX; replica++) {
        if ((watcher->outages >> replica & 1) != 0 &&
            put_outage(watcher, replica, 0, problem) != 0) {
            return -1;
        }
    }
    watcher->outages = watcher->asked_config != 0 ? 0 : watcher->outages;
    watcher->asked_config = config;
    store_u64_be(value, config);
    return put_note(watcher, WATCH_ASKED, span_of(value, sizeof value), problem);
}

static int ask(struct watcher *watcher, struct problem *problem) {
    const struct watcher_network *const network = watcher->options.network;
    if (network->round(network->context, problem) != 0 || go_over(watcher, problem) != 0) {
        return -1;
    }
    uint32_t const count = watch_configuration(watcher)->replica_count;
    if (watch_stops(watcher)) {
        return 0; /* the round was cut short: who has not answered yet is not to be told of */
    }
    watcher->status.replicas = count;
    watcher->status.level = 0;
    for (uint32_t replica = 0; replica < count; replica++) {
        const struct fetch_result *const result = network->result(network->context, replica);
        if (result != NULL && take_result(watcher, replica, result, problem) != 0) {
            return -1;
        }
    }
    return 0;
}

/* ---- a round --------------------------------------------------------------------------------- */

static int take_receipts(struct watcher *watcher, struct problem *problem) {
    watcher->intake.unknown = 0;
    for (uint32_t i = 0; i < watcher->options.receipts_count; i++) {
        struct problem own = {.code = EXIT_OK};
        uint64_t kept = 0;
        if (watcher_intake_directory(&watcher->intake, watcher->options.receipts[i], &kept, &own) ==
            0) {
            continue;
        }
        if (own.code != EXIT_CANNOT_AUDIT) {
            return problem_set(problem, own.code, "%s", own.text);
        }
        if (watch_tell_line(watcher, WATCH_CANNOT, own.text, problem) != 0) {
            return -1; /* a directory may be made yet; this one is told of once */
        }
    }
    return 0;
}

static int sum_up(struct watcher *watcher, struct problem *problem) {
    struct watch_status *const status = &watcher->status;
    struct store_counts counts;
    if (watcher_store_count(watcher->store, &counts, problem) != 0) {
        return -1;
    }
    status->receipts = counts.kept;
    status->settled = counts.settled;
    status->late = counts.late;
    status->waiting = counts.kept - counts.settled + watcher->intake.unknown;
    status->is_due = watcher->owes_anew;
    status->silent = (uint32_t)__builtin_popcountll(watcher->outages);
    status->ledgers = watcher->ledger_count;
    status->behind = 0;
    status->left = 0;
    for (uint32_t i = 0; i < watcher->ledger_count; i++) {
        const struct watch_ledger *const ledger = &watcher->ledgers[i];
        status->behind += ledger->is_behind;
        status->left += ledger->left != 0 && ledger->left == ledger->print;
    }
    watch_tell(watcher, &(struct watch_event){.kind = WATCH_STATUS, .status = status});
    return 0;
}

int watcher_round(struct watcher *watcher, bool asks, struct problem *problem) {
    watcher->status.replayed = 0;
    watcher->status.read_again = false;
    if ((asks && watcher->options.network != NULL && ask(watcher, problem) != 0) ||
        (!watch_stops(watcher) && take_receipts(watcher, problem) != 0) ||
        (!watch_stops(watcher) && watch_audit(watcher, problem) != 0)) {
        return -1;
    }
    return sum_up(watcher, problem);
}

/* ---- what it comes to ------------------------------------------------------------------------ */

static bool is_damaged(const struct watcher *watcher) {
    for (uint32_t i = 0; i < watcher->ledger_count; i++) {
        if (watcher->ledgers[i].is_damaged) {
            return true;
        }
    }
    return false;
}

enum exit_code watcher_exit_code(const struct watcher *watcher) {
    const struct watch_status *const status = &watcher->status;
    if (status->findings != 0) {
        return EXIT_MISBEHAVIOUR;
    }
    if (is_damaged(watcher)) {
        return EXIT_CORRUPT;
    }
    if (watcher->cannot || watcher->owes_anew || status->late != 0) {
        return EXIT_CANNOT_AUDIT;
    }
    if (watcher->outages != 0) {
        return EXIT_UNREACHABLE;
    }
    if (status->audited_batch == 0 || status->waiting != 0) {
        return EXIT_CANNOT_AUDIT;
    }
    return watcher->bad_receipts != 0 ? EXIT_INVALID : EXIT_OK;
}
