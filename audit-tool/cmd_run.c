/*
 * onus-audit run: opens ledgers and receipts, audits them, prints what it comes to and writes the
 * proofs. The genesis is taken from a ledger: the service id says whether it is the right one.
 */
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "audit-tool/audit.h"
#include "audit-tool/command.h"
#include "audit-tool/evidence_file.h"
#include "audit-tool/print.h"
#include "audit-tool/signatures.h"
#include "host/disk.h"
#include "host/file.h"
#include "host/genesis_file.h"
#include "host/receipt_store.h"
#include "ledger/segment.h"

#define RECEIPT_DIRECTORIES_MAX 16u
#define RECEIPT_SUFFIX ".receipt"

struct run {
    struct digest service;
    char service_text[2 * DIGEST_SIZE + 1];
    uint32_t jobs;
    const char *evidence_directory;
    uint32_t ledger_count;
    const char *ledger_paths[AUDIT_LEDGERS_MAX];
    struct host_disk disks[AUDIT_LEDGERS_MAX];
    uint32_t disk_count; /* opened */
    uint32_t receipts_count;
    const char *receipts_paths[RECEIPT_DIRECTORIES_MAX];
    struct founding founding;
    bool has_founding;
    struct audit *audit;
};

/* ---- ledgers ---- */

static int open_ledgers(struct run *run, struct problem *problem) {
    for (uint32_t i = 0; i < run->ledger_count; i++) {
        if (host_disk_open(&run->disks[i], run->ledger_paths[i], HOST_DISK_READ, problem) != 0) {
            problem->code = EXIT_CANNOT_AUDIT;
            return -1;
        }
        run->disk_count++;
    }
    return 0;
}

/* The genesis of one ledger, if it can be read and is the one. Returns: 0 or -1. */
static int take_genesis(struct run *run, const struct disk *disk, struct problem *problem) {
    struct segment_reader reader;
    struct segment_record record;
    segment_reader_init(&reader, disk, &run->service, false);
    int status = segment_reader_next(&reader, &record, problem);
    if (status == 0) {
        status =
            problem_set(problem, EXIT_CANNOT_AUDIT, "%s: there is no ledger in it", disk->place);
    }
    if (status == 1) {
        run->has_founding = true;
        status = founding_decode(&run->founding, record.payload, disk->place, problem);
    }
    segment_reader_free(&reader);
    if (status == 0 && !digest_equal(&run->founding.genesis.service, &run->service)) {
        status = problem_set(problem, EXIT_INVALID,
                             "%s: the ledger does not begin with the genesis of service %s",
                             disk->place, run->service_text);
    }
    if (status != 0 && run->has_founding) {
        founding_free(&run->founding);
        run->has_founding = false;
    }
    return status;
}

/* The first ledger that has it will do. The problem of the first that has not is told otherwise. */
static int find_genesis(struct run *run, struct problem *problem) {
    for (uint32_t i = 0; i < run->disk_count; i++) {
        struct problem own = {.code = EXIT_OK};
        if (take_genesis(run, &run->disks[i].disk, &own) == 0) {
            return 0;
        }
        (void)problem_set(problem, own.code, "%s", own.text);
    }
    return -1;
}

/* ---- receipts ---- */

static int add_file(struct run *run, const char *directory, const char *name,
                    struct problem *problem) {
    char path[PATH_MAX];
    struct buffer file;
    struct problem unreadable = {.code = EXIT_OK};
    struct span receipt = {0};
    int const size = snprintf(path, sizeof path, "%s/%s", directory, name);
    if (size < 0 || size >= (int)sizeof path) {
        return problem_set(problem, EXIT_USAGE, "%s: the name is too long", directory);
    }
    buffer_init(&file, RECEIPT_FILE_SIZE_MAX);
    /* A file that is too large or has another magic is a bad receipt, like any other. */
    if (file_read(&file, path, FILE_PUBLIC, &unreadable) == 0 &&
        !receipt_file_decode(&receipt, buffer_span(&file))) {
        receipt = (struct span){0};
    }
    int const status = audit_add_receipt(run->audit, path, receipt, problem);
    buffer_free(&file);
    return status;
}

static int is_receipt_name(const struct dirent *entry) {
    size_t const size = strlen(entry->d_name);
    size_t const suffix = sizeof RECEIPT_SUFFIX - 1;
    return size > suffix && strcmp(entry->d_name + size - suffix, RECEIPT_SUFFIX) == 0;
}

static int add_files(struct run *run, const char *directory, struct problem *problem) {
    struct dirent **entries = NULL;
    int const count = scandir(directory, &entries, is_receipt_name, alphasort);
    if (count < 0) {
        return problem_set(problem, EXIT_CANNOT_AUDIT, "%s: %s; name a directory of receipts",
                           directory, strerror(errno));
    }
    int status = 0;
    for (int i = 0; i < count; i++) {
        if (status == 0) {
            status = add_file(run, directory, entries[i]->d_name, problem);
        }
        free(entries[i]);
    }
    free(entries);
    return status;
}

struct store_visit {
    struct run *run;
    struct problem *problem;
};

static int add_stored(void *context, const struct digest *request_id, uint32_t position,
                      struct span receipt) {
    const struct store_visit *const visit = context;
    char id[2 * DIGEST_SIZE + 1];
    char name[sizeof id + 32];
    hex_encode(id, span_of(request_id->bytes, DIGEST_SIZE));
    (void)snprintf(name, sizeof name, "receipt %s.%" PRIu32, id, position);
    return audit_add_receipt(visit->run->audit, name, receipt, visit->problem);
}

static int add_store(struct run *run, const char *directory, struct problem *problem) {
    struct receipt_store *const store =
        receipt_store_open(directory, &run->service, RECEIPT_STORE_READ, problem);
    if (store == NULL) {
        return -1;
    }
    struct store_visit visit = {.run = run, .problem = problem};
    int const status = receipt_store_visit(store, add_stored, &visit, problem);
    receipt_store_close(store);
    return status;
}

/* A directory may hold loose files, a client's store, or both. */
static int add_receipts(struct run *run, struct problem *problem) {
    for (uint32_t i = 0; i < run->receipts_count; i++) {
        const char *const directory = run->receipts_paths[i];
        if (add_files(run, directory, problem) != 0 ||
            (receipt_store_exists(directory) && add_store(run, directory, problem) != 0)) {
            return -1;
        }
    }
    return 0;
}

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
                 run->service_text, path);
    return 0;
}

static int print_report(const struct run *run, struct problem *problem) {
    const struct audit_report *const report = audit_report(run->audit);
    print_summary(stdout, report, run->founding.configuration.number);
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

static int run_audit(struct run *run, struct problem *problem) {
    if (open_ledgers(run, problem) != 0 || find_genesis(run, problem) != 0) {
        return -1;
    }
    run->audit = audit_new(&(struct audit_options){.configuration = &run->founding.configuration,
                                                   .genesis = run->founding.genesis.bytes,
                                                   .jobs = run->jobs});
    if (run->audit == NULL) {
        return problem_set(problem, EXIT_ERROR, "out of memory or threads; give a lower --jobs");
    }
    for (uint32_t i = 0; i < run->ledger_count; i++) {
        if (audit_add_ledger(run->audit, run->ledger_paths[i], &run->disks[i].disk, problem) != 0) {
            return -1;
        }
    }
    if (add_receipts(run, problem) != 0 || audit_run(run->audit, problem) != 0) {
        return -1;
    }
    return print_report(run, problem);
}

static void run_free(struct run *run) {
    audit_free(run->audit);
    if (run->has_founding) {
        founding_free(&run->founding);
    }
    for (uint32_t i = 0; i < run->disk_count; i++) {
        host_disk_close(&run->disks[i]);
    }
    free(run);
}

/* ---- arguments ---- */

static uint32_t processors(void) {
    long const count = sysconf(_SC_NPROCESSORS_ONLN);
    return count < 1 ? 1u : count > (long)SIGNATURE_JOBS_MAX ? SIGNATURE_JOBS_MAX : (uint32_t)count;
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

static int add_path(const char **paths, uint32_t *count, uint32_t count_max, const char *path,
                    struct problem *problem) {
    if (*count == count_max) {
        return problem_set(problem, EXIT_USAGE, "%s: more than %u of them; audit fewer at once",
                           path, count_max);
    }
    paths[(*count)++] = path;
    return 0;
}

/* What follows an option until the next one belongs to it: --ledger A B C. */
static int take_option(struct run *run, int option, const char *value, struct problem *problem) {
    switch (option) {
    case 's':
        (void)snprintf(run->service_text, sizeof run->service_text, "%s", value);
        return command_service(&run->service, value, problem);
    case 'l':
        return add_path(run->ledger_paths, &run->ledger_count, AUDIT_LEDGERS_MAX, value, problem);
    case 'r':
        return add_path(run->receipts_paths, &run->receipts_count, RECEIPT_DIRECTORIES_MAX, value,
                        problem);
    case 'j':
        return parse_jobs(run, value, problem);
    case 'e':
        run->evidence_directory = value;
        return 0;
    default:
        return problem_set(problem, EXIT_USAGE, "unknown option or argument");
    }
}

/* Returns: an option's letter; -1 at the end. '\1' stands for a word that is no option. */
static int next_option(int argc, char **argv) {
    static const struct option options[] = {
        {"service", required_argument, NULL, 's'},
        {"ledger", required_argument, NULL, 'l'},
        {"receipts", required_argument, NULL, 'r'},
        {"jobs", required_argument, NULL, 'j'},
        {"evidence", required_argument, NULL, 'e'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    return getopt_long(argc, argv, "-h", options, NULL);
}

int command_run(const struct command *command, int argc, char **argv) {
    struct problem problem = {.code = EXIT_OK};
    struct run *const run = calloc(1, sizeof *run);
    if (run == NULL) {
        return command_misused(command, "out of memory");
    }
    run->jobs = processors();
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
        list = option == 1 ? list : option == 'l' || option == 'r' ? option : 0;
        status = take_option(run, option == 1 ? list : option, optarg, &problem);
    }
    if (status != 0 || run->service_text[0] == '\0' || run->ledger_count == 0) {
        run_free(run);
        return command_misused(command, "%s",
                               status != 0 ? problem.text : "--service or --ledger is missing");
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
