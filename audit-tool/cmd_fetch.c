/*
 * onus-audit fetch: one round of demands to the replicas of a context's service: their ledgers go
 * into a directory each, what became of the demands into a report that the context's key signs, and
 * what convicts into files of evidence. With --checkpoint they begin behind a checkpoint, which is
 * demanded first.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <libsmartcols.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "audit-tool/chain_fetcher.h"
#include "audit-tool/checkpoint_fetcher.h"
#include "audit-tool/checkpoint_store.h"
#include "audit-tool/command.h"
#include "audit-tool/demand_report.h"
#include "audit-tool/evidence_file.h"
#include "audit-tool/fetcher.h"
#include "audit-tool/known_eras.h"
#include "base/check.h"
#include "governance/founding.h"
#include "host/clock.h"
#include "host/context_chain.h"
#include "host/file.h"

#define DEADLINE_S_DEFAULT 60u
#define DEADLINE_S_MAX (DEMAND_DEADLINE_MS_MAX / 1000u)
#define PROGRESS_MS 500u
#define TIME_SIZE 32u
#define CHAIN_ROUND_MS 5000u /* at most, for replicas to say how the consortium has changed */

struct fetch {
    const char *context_directory;
    const char *out;
    uint64_t deadline_s;
    uint64_t replicas; /* bitmap; 0: all */
    bool json;
    bool quiet;
    struct context context;
    struct eras eras;    /* that the context knows, with what replicas have told it now */
    struct buffer chain; /* that leads to them; empty: there is but the founding one */
    bool wants_checkpoint;
    char states[PATH_MAX];  /* where the checkpoint is, or goes */
    struct fetch_mark base; /* behind it; all zero: there is none, and ledgers begin at genesis */
    struct checkpoint_fetch checkpoint;
    struct fetcher *fetcher; /* NULL: there is no checkpoint to begin with */
    struct demand_report report;
    char report_path[PATH_MAX];
    char evidence[REPLICAS_MAX][PATH_MAX]; /* empty: none */
    bool shows_progress;
    uint64_t shown_ms;
};

/* Whose replicas are asked. */
static const struct configuration *configuration_of(const struct fetch *fetch) {
    return known_eras_newest(&fetch->eras);
}

static uint32_t replica_count(const struct fetch *fetch) {
    return configuration_of(fetch)->replica_count;
}

static const char *member_of(const struct fetch *fetch, uint32_t replica) {
    return configuration_member_of(configuration_of(fetch), replica);
}

/* What became of a replica: of its ledger, unless what it said of its checkpoint is worse. */
static const struct fetch_result *result_of(const struct fetch *fetch, uint32_t replica) {
    const struct fetch_result *const first = &fetch->checkpoint.results[replica];
    const bool was_asked = fetch->checkpoint.was_asked[replica];
    bool const was_wrong =
        was_asked && (first->state == FETCH_INVALID || first->state == FETCH_MALFORMED);
    if (fetch->fetcher == NULL) {
        return was_asked ? first : NULL;
    }
    return was_wrong ? first : fetcher_result(fetch->fetcher, replica);
}

/* ---- the checkpoint -------------------------------------------------------------------------- */

static bool never_stops(void *context) {
    (void)context;
    return false;
}

/*
 * Where the ledgers begin: behind the checkpoint that an earlier fetch has brought, or behind one
 * that is fetched now. Returns: 1; 0: it cannot be had, which the results tell; or -1.
 */
static int find_beginning(struct fetch *fetch, const struct fetcher_options *options,
                          struct problem *problem) {
    const struct founding *const founding = &fetch->context.founding;
    if (mkdir(fetch->out, 0700) != 0 && errno != EEXIST) {
        return problem_set(problem, EXIT_ERROR, "%s: %s; give another directory", fetch->out,
                           strerror(errno));
    }
    int const size = snprintf(fetch->states, sizeof fetch->states, "%s/state", fetch->out);
    if (size < 0 || (size_t)size >= sizeof fetch->states) {
        return problem_set(problem, EXIT_USAGE, "%s: the path is too long", fetch->out);
    }
    int const found = checkpoint_store_find(&fetch->base, fetch->states, founding, problem);
    if (found != 0 || !fetch->wants_checkpoint) {
        return found < 0 ? -1 : 1;
    }
    struct fetcher_options wanted = *options;
    wanted.directory = fetch->states;
    if (fetch->eras.count != FOUNDING_CONFIGURATION &&
        checkpoint_store_write_chain(fetch->states, buffer_span(&fetch->chain), problem) != 0) {
        return -1;
    }
    if (checkpoint_fetch_run(&fetch->checkpoint, &wanted, never_stops, NULL, problem) != 0) {
        return -1;
    }
    fetch->base = fetch->checkpoint.mark;
    return fetch->checkpoint.outcome == CHECKPOINT_FETCHED ? 1 : 0;
}

/* ---- the round ------------------------------------------------------------------------------- */

static bool show_progress(void *context) {
    struct fetch *const fetch = context;
    uint64_t const now_ms = clock_monotonic_ms();
    uint64_t entries = 0;
    uint64_t available = 0;
    if (!fetch->shows_progress || now_ms - fetch->shown_ms < PROGRESS_MS) {
        return false;
    }
    fetch->shown_ms = now_ms;
    for (uint32_t r = 0; r < replica_count(fetch); r++) {
        const struct fetch_result *const result = result_of(fetch, r);
        entries += result == NULL ? 0 : result->entries;
        available += result == NULL ? 0 : result->available;
    }
    (void)fprintf(stderr, "\rentries %" PRIu64 " of %" PRIu64 " ", entries, available);
    return false;
}

static void end_progress(const struct fetch *fetch) {
    if (fetch->shown_ms != 0) {
        (void)fputs("\r\033[K", stderr);
    }
}

/* The report of this round takes the place of the one before. */
static int write_report(struct fetch *fetch, struct problem *problem) {
    const struct context *const context = &fetch->context;
    struct arena memory;
    struct buffer file;
    arena_init(&memory, REPLICAS_MAX * (size_t)4096);
    buffer_init(&file, DEMAND_REPORT_FILE_SIZE_MAX);
    bool made = true;
    for (uint32_t r = 0; r < replica_count(fetch) && made; r++) {
        const struct fetch_result *const result = result_of(fetch, r);
        made = result == NULL || demand_report_add(&fetch->report, &memory, r, result);
    }
    made = made && demand_report_file_make(&file, context->founding.genesis.bytes, &fetch->eras,
                                           &context->secret, &fetch->report);
    int const size =
        snprintf(fetch->report_path, sizeof fetch->report_path, "%s/fetch.report", fetch->out);
    int status =
        made && size > 0 && (size_t)size < sizeof fetch->report_path
            ? file_write(fetch->report_path, buffer_span(&file), 0644, FILE_REPLACE, problem)
            : problem_set(problem, EXIT_ERROR, "the report cannot be made: out of memory");
    buffer_free(&file);
    arena_free(&memory);
    return status;
}

static int write_evidence(struct fetch *fetch, struct problem *problem) {
    for (uint32_t r = 0; r < replica_count(fetch); r++) {
        const struct fetch_result *const result = result_of(fetch, r);
        if (result != NULL && result->state == FETCH_MALFORMED &&
            evidence_file_write(fetch->evidence[r], fetch->out, buffer_span(&result->evidence),
                                problem) != 0) {
            return -1;
        }
    }
    return 0;
}

static int fetch_ledgers(struct fetch *fetch, const struct fetcher_options *options,
                         struct problem *problem) {
    fetch->fetcher = fetcher_new(options, problem);
    return fetch->fetcher == NULL ? -1
                                  : fetcher_round(fetch->fetcher, show_progress, fetch, problem);
}

static int run_round(struct fetch *fetch, struct problem *problem) {
    struct fetcher_options options = {
        .founding = &fetch->context.founding,
        .eras = &fetch->eras,
        .secret = fetch->context.secret,
        .key = fetch->context.key,
        .directory = fetch->out,
        .deadline_ms = fetch->deadline_s * 1000,
        .replicas = fetch->replicas,
    };
    fetch->report.author = fetch->context.key;
    fetch->report.config = configuration_of(fetch)->number;
    fetch->report.deadline_ms = options.deadline_ms;
    fetch->report.started_ms = clock_wall_ms();
    int const begun = find_beginning(fetch, &options, problem);
    if (begun < 0) {
        return -1;
    }
    options.base = fetch->base.entries == 0 ? NULL : &fetch->base;
    int const status = begun == 1 ? fetch_ledgers(fetch, &options, problem) : 0;
    fetch->report.ended_ms = clock_wall_ms();
    if (fetch->report.ended_ms < fetch->report.started_ms) {
        fetch->report.ended_ms = fetch->report.started_ms; /* the clock was set back */
    }
    end_progress(fetch);
    return status != 0 || write_report(fetch, problem) != 0 ? -1 : write_evidence(fetch, problem);
}

/* ---- what it comes to ------------------------------------------------------------------------ */

static const char *state_text(enum fetch_state state) {
    switch (state) {
    case FETCH_LEVEL:
        return "level";
    case FETCH_BEHIND:
        return "behind";
    case FETCH_SILENT:
        return "SILENT";
    case FETCH_UNREACHABLE:
        return "UNREACHABLE";
    case FETCH_REFUSED:
        return "REFUSED";
    case FETCH_INVALID:
        return "INVALID";
    case FETCH_MALFORMED:
        return "MALFORMED";
    }
    return "-";
}

static int exit_code(const struct fetch *fetch) {
    int code = fetch->fetcher == NULL ? EXIT_CANNOT_AUDIT : EXIT_OK;
    if (fetch->checkpoint.outcome == CHECKPOINT_LATE) {
        code = EXIT_UNREACHABLE;
    }
    for (uint32_t r = 0; r < replica_count(fetch); r++) {
        const struct fetch_result *const result = result_of(fetch, r);
        if (result == NULL || result->state == FETCH_LEVEL) {
            continue;
        }
        if (result->state == FETCH_MALFORMED) {
            return EXIT_MISBEHAVIOUR;
        }
        code = EXIT_UNREACHABLE;
    }
    return code;
}

static void format_time(char text[static TIME_SIZE], uint64_t wall_ms) {
    time_t const seconds = (time_t)(wall_ms / 1000);
    struct tm parts;
    if (wall_ms == 0 || gmtime_r(&seconds, &parts) == NULL ||
        strftime(text, TIME_SIZE, "%Y-%m-%d %H:%M:%SZ", &parts) == 0) {
        (void)snprintf(text, TIME_SIZE, "never");
    }
}

enum column {
    COLUMN_ID,
    COLUMN_MEMBER,
    COLUMN_STATE,
    COLUMN_ENTRIES,
    COLUMN_ANSWER,
    COLUMN_REASON
};

static void set_cell(struct libscols_line *line, enum column column, const char *text) {
    CHECK(scols_line_set_data(line, (size_t)column, text) == 0);
}

static void fill_line(const struct fetch *fetch, struct libscols_line *line, uint32_t replica,
                      const struct fetch_result *result) {
    char text[64];
    char when[TIME_SIZE];
    (void)snprintf(text, sizeof text, "%" PRIu32, replica);
    set_cell(line, COLUMN_ID, text);
    set_cell(line, COLUMN_MEMBER, member_of(fetch, replica));
    set_cell(line, COLUMN_STATE, state_text(result->state));
    (void)snprintf(text, sizeof text, "%" PRIu64 " of %" PRIu64, result->entries,
                   result->available);
    set_cell(line, COLUMN_ENTRIES, text);
    format_time(when, result->answered_ms);
    set_cell(line, COLUMN_ANSWER, when);
    set_cell(line, COLUMN_REASON, result->reason);
}

static void print_table(const struct fetch *fetch) {
    static const struct {
        const char *title;
        int flags;
    } columns[] = {{"ID", SCOLS_FL_RIGHT},      {"MEMBER", 0},      {"STATE", 0},
                   {"ENTRIES", SCOLS_FL_RIGHT}, {"LAST ANSWER", 0}, {"REASON", 0}};
    struct libscols_table *const table = scols_new_table();
    CHECK(table != NULL);
    (void)scols_table_enable_maxout(table, 0);
    (void)scols_table_set_termforce(table, SCOLS_TERMFORCE_NEVER);
    for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++) {
        CHECK(scols_table_new_column(table, columns[i].title, 0, columns[i].flags) != NULL);
    }
    for (uint32_t r = 0; r < replica_count(fetch); r++) {
        const struct fetch_result *const result = result_of(fetch, r);
        if (result != NULL) {
            struct libscols_line *const line = scols_table_new_line(table, NULL);
            CHECK(line != NULL);
            fill_line(fetch, line, r, result);
        }
    }
    (void)scols_print_table(table);
    scols_unref_table(table);
}

/* Is there something of this one for an audit? */
static bool has_ledger(const struct fetch *fetch, uint32_t replica) {
    const struct fetch_result *const result =
        fetch->fetcher == NULL ? NULL : fetcher_result(fetch->fetcher, replica);
    return result != NULL && result->entries > fetch->base.entries;
}

/* Where the audit begins, and what it cannot show. */
static void print_beginning(const struct fetch *fetch) {
    uint64_t const interval = fetch->context.founding.configuration.parameters.checkpoint_interval;
    uint64_t const seq = fetch->base.seq;
    if (fetch->base.entries == 0) {
        return;
    }
    (void)printf("checkpoint    %" PRIu64 ", in %s: what came before batch %" PRIu64
                 " is not here, and not audited\n",
                 seq, fetch->states, seq + 1);
    (void)printf("              evidence against batches %" PRIu64 " to %" PRIu64
                 " begins at checkpoint %" PRIu64 ": for those take an older one\n",
                 seq + 1, seq + interval, seq - interval);
}

static void print_next(const struct fetch *fetch, const char *service) {
    if (fetch->fetcher == NULL) {
        (void)printf("no checkpoint %s\n",
                     fetch->checkpoint.outcome == CHECKPOINT_NOT_OFFERED
                         ? "that would be of use is offered: fetch the whole ledger instead"
                         : "could be fetched");
        return;
    }
    struct fetcher_options const options = {.founding = &fetch->context.founding,
                                            .eras = &fetch->eras};
    (void)printf("next          onus-audit run --service %s --ledger", service);
    for (uint32_t r = 0; r < replica_count(fetch); r++) {
        if (has_ledger(fetch, r)) {
            char name[FETCHER_NAME_SIZE];
            fetcher_name(name, &options, r);
            (void)printf(" %s/%s", fetch->out, name);
        }
    }
    if (fetch->base.entries != 0) {
        (void)printf(" --state %s --from %" PRIu64, fetch->states, fetch->base.seq);
    }
    (void)printf(" --receipts %s/receipts\n", fetch->context.directory);
}

static void print_text(const struct fetch *fetch, const char *service) {
    print_table(fetch);
    for (uint32_t r = 0; r < replica_count(fetch); r++) {
        const struct fetch_result *const result = result_of(fetch, r);
        if (fetch->evidence[r][0] != '\0') {
            (void)printf("MISBEHAVIOUR PROVEN   replica %" PRIu32 " (%s) signed for what is no "
                         "ledger\nevidence      %s        onus-audit verify --service %s %s\n",
                         r, member_of(fetch, r), fetch->evidence[r], service, fetch->evidence[r]);
        }
        if (result != NULL && result->has_parted) {
            (void)printf("replica %" PRIu32 " (%s) hands over another history than before, which "
                         "is kept: audit both\n",
                         r, member_of(fetch, r));
        }
    }
    (void)printf("report        %s        " DEMAND_REPORT_NOT_A_PROOF "\n", fetch->report_path);
    print_beginning(fetch);
    print_next(fetch, service);
}

static json_t *json_u64(uint64_t number) {
    char text[24];
    (void)snprintf(text, sizeof text, "%" PRIu64, number);
    return json_string(text);
}

static json_t *json_of(const struct fetch *fetch, uint32_t replica,
                       const struct fetch_result *result) {
    const char *const evidence = fetch->evidence[replica];
    return json_pack("{s:i,s:s,s:s,s:o,s:o,s:o,s:o,s:o,s:o,s:b,s:s,s:o?}", "id", (int)replica,
                     "member", member_of(fetch, replica), "state", state_text(result->state),
                     "entries", json_u64(result->entries), "available", json_u64(result->available),
                     "asked_ms", json_u64(result->asked_ms), "answered_ms",
                     json_u64(result->answered_ms), "demands", json_u64(result->demands), "answers",
                     json_u64(result->answers), "parted", result->has_parted, "reason",
                     result->reason, "evidence",
                     evidence[0] == '\0' ? NULL : json_string(evidence));
}

static bool print_json(const struct fetch *fetch, const char *service) {
    json_t *const list = json_array();
    for (uint32_t r = 0; r < replica_count(fetch); r++) {
        const struct fetch_result *const result = result_of(fetch, r);
        if (result != NULL) {
            (void)json_array_append_new(list, json_of(fetch, r, result));
        }
    }
    json_t *const object =
        json_pack("{s:s,s:s,s:i,s:o,s:s*,s:o}", "service", service, "report", fetch->report_path,
                  "exit_code", exit_code(fetch), "checkpoint", json_u64(fetch->base.seq), "state",
                  fetch->base.entries == 0 ? NULL : fetch->states, "replicas", list);
    bool const printed = object != NULL && json_dumpf(object, stdout, JSON_INDENT(2)) == 0;
    json_decref(object);
    (void)putchar('\n');
    return printed;
}

/* The configurations that the context has come to. */
static int load_eras(struct fetch *fetch, struct problem *problem) {
    return context_chain_read(&fetch->context, &fetch->chain, problem) != 0
               ? -1
               : known_eras_read(&fetch->eras, &fetch->context.founding, buffer_span(&fetch->chain),
                                 problem);
}

/* Ask replicas for what the context's chain lacks: those of now are asked for their ledgers. */
static int follow(struct fetch *fetch, struct problem *problem) {
    struct problem unkept = {.code = EXIT_OK};
    uint64_t const deadline_ms = fetch->deadline_s * 1000;
    struct follower *const follower = follower_open(&fetch->context, problem);
    int const status =
        follower == NULL
            ? -1
            : chain_fetch(follower,
                          deadline_ms / 2 < CHAIN_ROUND_MS ? deadline_ms / 2 : CHAIN_ROUND_MS,
                          &unkept, problem);
    follower_close(follower);
    if (status == 0 && unkept.code != EXIT_OK) {
        (void)fprintf(stderr, "onus-audit: %s: this fetch goes by the governance chain as it was\n",
                      unkept.text);
    }
    return status;
}

static int fetch_all(struct fetch *fetch, struct problem *problem) {
    char service[2 * DIGEST_SIZE + 1];
    if (context_load(&fetch->context, fetch->context_directory, problem) != 0 ||
        context_load_key(&fetch->context, problem) != 0 || follow(fetch, problem) != 0 ||
        context_chain_check_key(&fetch->context, problem) != 0 || load_eras(fetch, problem) != 0) {
        return -1;
    }
    uint64_t const known = UINT64_MAX >> (REPLICAS_MAX - replica_count(fetch));
    if ((fetch->replicas & ~known) != 0) {
        return problem_set(problem, EXIT_USAGE,
                           "--replica: this service has replicas 0 to %" PRIu32,
                           replica_count(fetch) - 1);
    }
    fetch->shows_progress = !fetch->quiet && isatty(STDERR_FILENO) == 1;
    if (run_round(fetch, problem) != 0) {
        return -1;
    }
    hex_encode(service, span_of(fetch->context.founding.genesis.service.bytes, DIGEST_SIZE));
    if (fetch->json && !print_json(fetch, service)) {
        return problem_set(problem, EXIT_ERROR, "the result cannot be written");
    }
    if (!fetch->json && !fetch->quiet) {
        print_text(fetch, service);
    }
    return 0;
}

/* ---- arguments ------------------------------------------------------------------------------- */

static int parse_number(uint64_t *out, const char *option, const char *text, uint64_t min,
                        uint64_t max, struct problem *problem) {
    char *end = NULL;
    unsigned long long const number = strtoull(text, &end, 10);
    if (end == text || *end != '\0' || text[0] == '-' || number < min || number > max) {
        return problem_set(problem, EXIT_USAGE,
                           "--%s %s: give a number from %" PRIu64 " to %" PRIu64, option, text, min,
                           max);
    }
    *out = number;
    return 0;
}

static int take_option(struct fetch *fetch, int option, const char *value,
                       struct problem *problem) {
    uint64_t number = 0;
    switch (option) {
    case 'C':
        fetch->context_directory = value;
        return 0;
    case 'O':
        fetch->out = value;
        return 0;
    case 'd':
        return parse_number(&fetch->deadline_s, "deadline", value, 1, DEADLINE_S_MAX, problem);
    case 'r':
        if (parse_number(&number, "replica", value, 0, REPLICAS_MAX - 1, problem) != 0) {
            return -1;
        }
        fetch->replicas |= (uint64_t)1 << number;
        return 0;
    case 'o':
        fetch->json = strcmp(value, "json") == 0;
        return fetch->json || strcmp(value, "text") == 0
                   ? 0
                   : problem_set(problem, EXIT_USAGE, "-o %s: give text or json", value);
    case 'k':
        fetch->wants_checkpoint = true;
        return 0;
    case 'q':
        fetch->quiet = true;
        return 0;
    default:
        return problem_set(problem, EXIT_USAGE, "unknown option");
    }
}

static int command_fetch_with(struct fetch *fetch, const struct command *command, int argc,
                              char **argv) {
    static const struct option options[] = {
        {"context", required_argument, NULL, 'C'},
        {"out", required_argument, NULL, 'O'},
        {"deadline", required_argument, NULL, 'd'},
        {"replica", required_argument, NULL, 'r'},
        {"output", required_argument, NULL, 'o'},
        {"quiet", no_argument, NULL, 'q'},
        {"checkpoint", no_argument, NULL, 'k'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    struct problem problem = {.code = EXIT_OK};
    int option = 0;
    optind = 0;
    while ((option = getopt_long(argc, argv, "C:o:qh", options, NULL)) != -1) {
        if (option == 'h') {
            return command_help(command);
        }
        if (take_option(fetch, option, optarg, &problem) != 0) {
            return command_misused(command, "%s", problem.text);
        }
    }
    if (optind != argc) {
        return command_misused(command, "%s: what is it?", argv[optind]);
    }
    if (fetch->out == NULL) {
        return command_misused(command, "--out is missing: where the ledgers go");
    }
    return fetch_all(fetch, &problem) == 0 ? exit_code(fetch) : command_fail(&problem);
}

int command_fetch(const struct command *command, int argc, char **argv) {
    struct fetch *const fetch = calloc(1, sizeof *fetch);
    if (fetch == NULL) {
        return command_misused(command, "out of memory");
    }
    fetch->deadline_s = DEADLINE_S_DEFAULT;
    buffer_init(&fetch->chain, CHAIN_SIZE_MAX);
    int const code = command_fetch_with(fetch, command, argc, argv);
    fetcher_free(fetch->fetcher);
    checkpoint_fetch_free(&fetch->checkpoint);
    eras_free(&fetch->eras);
    buffer_free(&fetch->chain);
    context_free(&fetch->context);
    free(fetch);
    return code;
}
