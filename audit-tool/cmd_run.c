/*
 * onus-audit run: opens ledgers and receipts, audits them, prints what it comes to and writes the
 * proofs. The genesis is taken from a ledger, or from a saved state: the service id says whether it
 * is the right one.
 *
 * With --state the audit notes how far it is, and a later run goes on from there; with --from and
 * --to it does a part of a ledger. Whatever of this fails makes it begin earlier, never later.
 */
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "audit-tool/audit.h"
#include "audit-tool/command.h"
#include "audit-tool/coverage.h"
#include "audit-tool/evidence_file.h"
#include "audit-tool/print.h"
#include "audit-tool/receipt_intake.h"
#include "audit-tool/signatures.h"
#include "audit-tool/sources.h"
#include "host/clock.h"
#include "host/file.h"

#define RECEIPT_DIRECTORIES_MAX 16u
#define CHAINS_MAX REPLICAS_MAX
#define PROGRESS_MS 500u
#define SAVE_INTERVAL_MS 10000u /* how much work a killed audit loses at most, or so */

struct run {
    struct sources sources;
    uint32_t jobs;
    bool json;
    bool execute_only;
    uint64_t from; /* a checkpoint; 0: genesis */
    uint64_t to;   /* a batch; 0: the end */
    uint64_t every;
    const char *state_directory; /* NULL: keep nothing */
    struct state_dir states;
    const char *evidence_directory;
    uint32_t chains_count;
    const char *chains_paths[CHAINS_MAX];
    uint32_t receipts_count;
    const char *receipts_paths[RECEIPT_DIRECTORIES_MAX];
    struct audit *audit;
    struct audit_watcher watcher;
    bool shows_progress;
    uint64_t start_ms;
    uint64_t shown_ms;
    uint64_t saved_ms;
};

/* ---- what it comes to ---- */

static int print_finding(const struct run *run, const struct audit_finding *finding,
                         struct problem *problem) {
    char path[PATH_MAX];
    (void)fputs("MISBEHAVIOUR PROVEN   ", stdout);
    print_headline(stdout, &finding->verdict);
    (void)fputc('\n', stdout);
    print_blame(stdout, &finding->verdict);
    if (evidence_file_write(path, run->evidence_directory, buffer_span(&finding->file), problem) !=
        0) {
        return -1;
    }
    (void)printf("evidence      %s        onus-audit verify --service %s %s\n", path,
                 run->sources.service_text, path);
    return 0;
}

/* The configuration in force where the audit began, which it knows. */
static const struct configuration *began_in(const struct run *run) {
    return audit_find_configuration(run->audit, audit_first_configuration(run->audit));
}

static int print_text(const struct run *run, struct problem *problem) {
    const struct audit_report *const report = audit_report(run->audit);
    coverage_print(stdout, report, began_in(run));
    for (uint32_t i = 0; i < report->finding_count; i++) {
        if (print_finding(run, &report->findings[i], problem) != 0) {
            return -1;
        }
    }
    if (report->findings_further != 0) {
        (void)printf("and %" PRIu64 " more that blame nobody else\n", report->findings_further);
    }
    print_notices(stdout, report);
    if (audit_exit_code(report) == EXIT_OK) {
        (void)fputs("no misbehaviour found\n", stdout);
    }
    return 0;
}

/* All findings, each with its file, which is written. NULL with a problem. */
static json_t *json_of_findings(const struct run *run, struct problem *problem) {
    const struct audit_report *const report = audit_report(run->audit);
    json_t *const list = json_array();
    for (uint32_t i = 0; i < report->finding_count; i++) {
        char path[PATH_MAX];
        if (evidence_file_write(path, run->evidence_directory,
                                buffer_span(&report->findings[i].file), problem) != 0) {
            json_decref(list);
            return NULL;
        }
        json_t *const finding = print_json(&report->findings[i].verdict);
        (void)json_object_set_new(finding, "evidence", json_string(path));
        (void)json_array_append_new(list, finding);
    }
    return list;
}

static json_t *json_of_notices(const struct audit_report *report) {
    json_t *const list = json_array();
    for (uint32_t i = 0; i < report->notice_count; i++) {
        (void)json_array_append_new(list,
                                    json_pack("{s:i,s:s}", "code", (int)report->notices[i].code,
                                              "text", report->notices[i].text));
    }
    return list;
}

static int print_as_json(const struct run *run, struct problem *problem) {
    const struct audit_report *const report = audit_report(run->audit);
    json_t *const findings = json_of_findings(run, problem);
    if (findings == NULL) {
        return -1;
    }
    json_t *const object =
        json_pack("{s:s,s:o,s:i,s:o,s:o}", "service", run->sources.service_text, "coverage",
                  coverage_json(report, began_in(run)), "exit_code", (int)audit_exit_code(report),
                  "findings", findings, "notices", json_of_notices(report));
    if (object == NULL || json_dumpf(object, stdout, JSON_INDENT(2)) != 0) {
        json_decref(object);
        return problem_set(problem, EXIT_ERROR, "the report cannot be written");
    }
    (void)putchar('\n');
    json_decref(object);
    return 0;
}

/* ---- while it runs ---- */

static void show_progress(void *context, const struct audit_report *report) {
    struct run *const run = context;
    uint64_t const now_ms = clock_monotonic_ms();
    if (!run->shows_progress || now_ms - run->shown_ms < PROGRESS_MS) {
        return;
    }
    uint64_t const elapsed_ms = now_ms - run->start_ms + 1;
    run->shown_ms = now_ms;
    (void)fprintf(stderr, "\rbatch %" PRIu64 ", %" PRIu64 " transactions, %" PRIu64 "/s ",
                  report->coverage.last_batch, report->transactions,
                  report->transactions * 1000 / elapsed_ms);
}

static void end_progress(const struct run *run) {
    if (run->shown_ms != 0) {
        (void)fputs("\r\033[K", stderr);
    }
}

/* With --every the state before each so manyth checkpoint stays, for others to begin at. */
static int save(void *context, const struct audit *audit, uint64_t seq, struct problem *problem) {
    struct run *const run = context;
    uint64_t const now_ms = clock_monotonic_ms();
    bool const keep =
        run->every != 0 && (audit_checkpoint_at(audit, seq).nth + 1) % run->every == 0;
    if (run->state_directory == NULL || (!keep && now_ms - run->saved_ms < SAVE_INTERVAL_MS)) {
        return 0;
    }
    run->saved_ms = now_ms;
    return state_dir_save(&run->states, audit, seq, keep, problem);
}

/* ---- where it begins ---- */

static int begin_at(struct run *run, uint64_t seq, struct problem *problem) {
    return sources_begin_at(&run->sources, &run->states, run->audit, seq, problem);
}

/* Go on where an earlier run was. Returns: 1; 0: there was none; -1: that cannot be gone on with.
 */
static int begin_again(struct run *run, struct problem *problem) {
    struct buffer bytes;
    struct audit_progress progress;
    buffer_init(&bytes, 0);
    int status =
        run->state_directory == NULL ? 0 : state_dir_read_progress(&run->states, &bytes, problem);
    if (status == 1 &&
        !audit_progress_decode(&progress, &run->sources.service, buffer_span(&bytes))) {
        status = problem_set(problem, EXIT_INVALID, "%s: what was noted there is damaged",
                             run->state_directory);
    }
    if (status == 1 && run->to != 0 && progress.seq >= run->to) {
        status = 0; /* it has gone too far for what is asked now */
    }
    if (status == 1) {
        bool const begun = begin_at(run, progress.seq, problem) == 0 &&
                           audit_resume(run->audit, buffer_span(&bytes), problem) == 0;
        run->states.saved = begun ? progress.seq : 0;
        run->states.is_kept = run->every != 0;
        status = begun ? 1 : -1;
    }
    buffer_free(&bytes);
    return status;
}

/*
 * The state before the one that is asked for is better, if it is there: to prove what is wrong just
 * behind a checkpoint takes the one before it.
 */
static int begin_from(struct run *run, struct problem *problem) {
    struct state_choice choice;
    if (sources_know_chain(&run->states, run->audit, problem) != 0) {
        return -1;
    }
    struct audit_checkpoint const at = audit_checkpoint_at(run->audit, run->from);
    if (!at.is_one) {
        return problem_set(problem, EXIT_USAGE,
                           "--from %" PRIu64 ": not a checkpoint: in configuration %" PRIu64
                           " there is one after every %" PRIu64 " batches; the last one before "
                           "it is %" PRIu64,
                           run->from, at.config, at.interval, at.before);
    }
    if (at.before == 0) {
        return 0; /* that is genesis */
    }
    if (state_dir_choose(&run->states, &choice, problem) != 0) {
        return -1;
    }
    if (!choice.has_exact && choice.before == 0) {
        return problem_set(problem, EXIT_CANNOT_AUDIT,
                           "%s: no saved state at or before batch %" PRIu64
                           "; run onus-audit with --state and --every to make some",
                           run->state_directory, run->from);
    }
    bool const is_exact = choice.has_exact && choice.before != at.before;
    return begin_at(run, is_exact ? run->from : choice.before, problem);
}

/* Governance chains as replicas or clients keep them, each a file. */
static int add_chains(const struct run *run, struct problem *problem) {
    int status = 0;
    for (uint32_t i = 0; status == 0 && i < run->chains_count; i++) {
        struct buffer file;
        buffer_init(&file, CHAIN_SIZE_MAX);
        status = file_read(&file, run->chains_paths[i], FILE_PUBLIC, problem);
        if (status == 0) {
            status = audit_add_chain(run->audit, run->chains_paths[i], buffer_span(&file), problem);
        }
        buffer_free(&file);
    }
    return status;
}

/* A new audit with all ledgers, and all that says who may sign. */
static int make_audit(struct run *run, struct problem *problem) {
    run->audit = audit_new(&(struct audit_options){
        .configuration = &run->sources.founding.configuration,
        .genesis = run->sources.founding.genesis.bytes,
        .jobs = run->jobs,
        .last_batch = run->to,
        .trust_signatures = run->execute_only,
        .watcher = &run->watcher,
    });
    if (run->audit == NULL) {
        return problem_set(problem, EXIT_ERROR, "out of memory or threads; give a lower --jobs");
    }
    return add_chains(run, problem) != 0 ? -1 : sources_give(&run->sources, run->audit, problem);
}

static int add_receipts(const struct run *run, struct problem *problem) {
    struct receipt_intake const intake = {.audit = run->audit,
                                          .configuration = &run->sources.founding.configuration,
                                          .jobs = run->jobs};
    for (uint32_t i = 0; i < run->receipts_count; i++) {
        if (receipt_intake_add(&intake, run->receipts_paths[i], problem) != 0) {
            return -1;
        }
    }
    return 0;
}

/* Receipts and ledgers. Returns: 0; 1: what came before is not as it was: start anew; or -1. */
static int audit_all(struct run *run, struct problem *problem) {
    if (add_receipts(run, problem) != 0) {
        return -1;
    }
    run->start_ms = clock_monotonic_ms();
    run->saved_ms = run->start_ms;
    int const status = audit_run(run->audit, problem);
    end_progress(run);
    return status != 0 && audit_must_start_anew(run->audit) ? 1 : status;
}

/* Go on with an earlier run if there is one. Returns: 0; 1: there is none to go on with; or -1. */
static int try_again(struct run *run, struct problem *problem) {
    struct problem why = {.code = EXIT_OK};
    if (make_audit(run, problem) != 0) {
        return -1;
    }
    int status = begin_again(run, &why);
    if (status == 1) {
        status = audit_all(run, &why);
        if (status == 0) {
            return 0;
        }
        if (status < 0) {
            return problem_set(problem, why.code, "%s", why.text);
        }
    }
    if (why.code != EXIT_OK) {
        (void)fprintf(stderr, "onus-audit: %s; starting anew\n", why.text);
    }
    audit_free(run->audit);
    run->audit = NULL;
    return 1;
}

static int run_audit(struct run *run, struct problem *problem) {
    run->watcher =
        (struct audit_watcher){.context = run, .on_batch = show_progress, .on_checkpoint = save};
    run->shows_progress = isatty(STDERR_FILENO) == 1;
    if (sources_open_ledgers(&run->sources, problem) != 0 ||
        (run->state_directory != NULL &&
         state_dir_open(&run->states, run->state_directory, run->from, problem) != 0) ||
        sources_find_genesis(&run->sources, run->state_directory == NULL ? NULL : &run->states,
                             problem) != 0) {
        return -1;
    }
    int status = try_again(run, problem);
    if (status == 1) {
        status = make_audit(run, problem) != 0 ||
                         (run->from != 0 && begin_from(run, problem) != 0) ||
                         audit_all(run, problem) != 0
                     ? -1
                     : 0;
    }
    if (status != 0) {
        return -1;
    }
    return run->json ? print_as_json(run, problem) : print_text(run, problem);
}

static void run_free(struct run *run) {
    audit_free(run->audit);
    sources_free(&run->sources);
    free(run);
}

/* ---- arguments ---- */

/* A number of batches, at least 1. */
static int parse_batches(uint64_t *out, const char *option, const char *text,
                         struct problem *problem) {
    char *end = NULL;
    unsigned long long const number = strtoull(text, &end, 10);
    if (end == text || *end != '\0' || text[0] == '-' || number < 1 || number > INT64_MAX) {
        return problem_set(problem, EXIT_USAGE, "--%s %s: give a number from 1 on", option, text);
    }
    *out = number;
    return 0;
}

static int parse_format(struct run *run, const char *text, struct problem *problem) {
    run->json = strcmp(text, "json") == 0;
    return run->json || strcmp(text, "text") == 0
               ? 0
               : problem_set(problem, EXIT_USAGE, "-f %s: give text or json", text);
}

static int parse_jobs(struct run *run, const char *text, struct problem *problem) {
    char *end = NULL;
    unsigned long const jobs = strtoul(text, &end, 10);
    if (end == text || *end != '\0' || jobs < 1 || jobs > SIGNATURE_JOBS_MAX) {
        return problem_set(problem, EXIT_USAGE, "--jobs %s: give a number from 1 to %u", text,
                           SIGNATURE_JOBS_MAX);
    }
    run->jobs = (uint32_t)jobs;
    return 0;
}

/* What follows an option until the next one belongs to it: --ledger A B C. */
static int take_option(struct run *run, int option, const char *value, struct problem *problem) {
    switch (option) {
    case 's':
        (void)snprintf(run->sources.service_text, sizeof run->sources.service_text, "%s", value);
        return command_service(&run->sources.service, value, problem);
    case 'l':
        return sources_add_path(run->sources.ledger_paths, &run->sources.ledger_count,
                                AUDIT_LEDGERS_MAX, value, problem);
    case 'r':
        return sources_add_path(run->receipts_paths, &run->receipts_count, RECEIPT_DIRECTORIES_MAX,
                                value, problem);
    case 'c':
        return sources_add_path(run->chains_paths, &run->chains_count, CHAINS_MAX, value, problem);
    case 'j':
        return parse_jobs(run, value, problem);
    case 'e':
        run->evidence_directory = value;
        return 0;
    case 'd':
        run->state_directory = value;
        return 0;
    case 'b':
        return parse_batches(&run->from, "from", value, problem);
    case 't':
        return parse_batches(&run->to, "to", value, problem);
    case 'n':
        return parse_batches(&run->every, "every", value, problem);
    case 'x':
        run->execute_only = true;
        return 0;
    case 'f':
        return parse_format(run, value, problem);
    default:
        return problem_set(problem, EXIT_USAGE, "unknown option or argument");
    }
}

/* Returns: an option's letter; -1 at the end. '\1' stands for a word that is no option. */
static int next_option(int argc, char **argv) {
    static const struct option options[] = {
        {"service", required_argument, NULL, 's'},  {"ledger", required_argument, NULL, 'l'},
        {"receipts", required_argument, NULL, 'r'}, {"chain", required_argument, NULL, 'c'},
        {"jobs", required_argument, NULL, 'j'},     {"evidence", required_argument, NULL, 'e'},
        {"state", required_argument, NULL, 'd'},    {"from", required_argument, NULL, 'b'},
        {"to", required_argument, NULL, 't'},       {"every", required_argument, NULL, 'n'},
        {"execute-only", no_argument, NULL, 'x'},   {"format", required_argument, NULL, 'f'},
        {"help", no_argument, NULL, 'h'},           {NULL, 0, NULL, 0},
    };
    return getopt_long(argc, argv, "-hf:", options, NULL);
}

/* What is wrong with the options together; NULL: nothing. */
static const char *misfit(const struct run *run) {
    if (run->sources.service_text[0] == '\0' || run->sources.ledger_count == 0) {
        return "--service or --ledger is missing";
    }
    if ((run->from != 0 || run->every != 0) && run->state_directory == NULL) {
        return "--from and --every need --state, where the states are";
    }
    return run->to != 0 && run->to <= run->from ? "--to must be greater than --from" : NULL;
}

int command_run(const struct command *command, int argc, char **argv) {
    struct problem problem = {.code = EXIT_OK};
    struct run *const run = calloc(1, sizeof *run);
    if (run == NULL) {
        return command_misused(command, "out of memory");
    }
    run->jobs = sources_processors();
    run->evidence_directory = ".";
    int option = 0;
    int list = 0; /* which list further words belong to */
    int status = 0;
    optind = 0;
    while (status == 0 && (option = next_option(argc, argv)) != -1) {
        if (option == 'h') {
            run_free(run);
            return command_help(command);
        }
        list = option == 1 ? list : option == 'l' || option == 'r' || option == 'c' ? option : 0;
        status = take_option(run, option == 1 ? list : option, optarg, &problem);
    }
    const char *const wrong = status != 0 ? problem.text : misfit(run);
    if (wrong != NULL) {
        run_free(run);
        return command_misused(command, "%s", wrong);
    }
    int code = EXIT_OK;
    if (run_audit(run, &problem) != 0) {
        code = command_fail(&problem);
    } else {
        code = (int)audit_exit_code(audit_report(run->audit));
    }
    run_free(run);
    return code;
}
