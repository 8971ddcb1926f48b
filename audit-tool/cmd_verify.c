/*
 * onus-audit verify: anyone, anywhere, offline: does this file prove misbehaviour? A report about
 * demands is verified as what it is.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "audit-tool/command.h"
#include "audit-tool/demand_report.h"
#include "audit-tool/evidence_file.h"
#include "audit-tool/print.h"

static void print_valid(const struct proof_verdict *verdict) {
    (void)fputs("VALID   ", stdout);
    print_headline(stdout, verdict);
    (void)fputc('\n', stdout);
    print_blame(stdout, verdict);
    (void)fputs("checked genesis, endorsements, signatures", stdout);
    switch (verdict->kind) {
    case PROOF_EQUIVOCATION:
        (void)fputs(", statements\n", stdout);
        return;
    case PROOF_CONFLICTING_CERTIFICATES:
        (void)fputs(", commitments, certificates\n", stdout);
        return;
    case PROOF_UNDERSTATED_VIEW_CHANGE:
        (void)fputs(", commitments, certificate, view-change\n", stdout);
        return;
    case PROOF_FORKED_VIEW:
        (void)fputs(", commitments, certificates, path in the ledger\n", stdout);
        return;
    case PROOF_MALFORMED_RANGE:
        (void)fputs(", statement, digest, and form of what was handed over\n", stdout);
        return;
    case PROOF_BROKEN_NEW_VIEW:
        (void)fputs(", commitments, ledger roots, view-changes\n", stdout);
        return;
    case PROOF_BROKEN_BATCH:
        (void)fputs(", commitments, ledger roots, rules of the enclosed batches\n", stdout);
        return;
    case PROOF_WRONG_OUTCOME:
    case PROOF_WRONG_CHECKPOINT:
        (void)fputs(", commitments, ledger roots, execution of the enclosed batches\n", stdout);
        return;
    }
}

static int verify_report(const struct digest *service, const char *path, struct span file) {
    struct problem problem = {.code = EXIT_OK};
    json_t *const told = demand_report_open(service, path, file, &problem);
    if (told == NULL) {
        return command_fail(&problem);
    }
    demand_report_write_text(stdout, told);
    json_decref(told);
    return EXIT_OK;
}

static int verify(const struct command *command, const char *service_text, const char *path) {
    struct problem problem = {.code = EXIT_OK};
    struct digest service;
    struct buffer file;
    struct proof_verdict *const verdict = malloc(sizeof *verdict);
    if (verdict == NULL) {
        return command_misused(command, "out of memory");
    }
    buffer_init(&file, EVIDENCE_FILE_SIZE_MAX);
    int code = EXIT_OK;
    const bool read = command_service(&service, service_text, &problem) == 0 &&
                      evidence_file_read(&file, path, &problem) == 0;
    if (read && demand_report_is(buffer_span(&file))) {
        code = verify_report(&service, path, buffer_span(&file));
    } else if (read &&
               evidence_file_check(verdict, &service, path, buffer_span(&file), &problem) == 0) {
        print_valid(verdict);
    } else {
        code = command_fail(&problem);
    }
    buffer_free(&file);
    free(verdict);
    return code;
}

int command_verify(const struct command *command, int argc, char **argv) {
    static const struct option options[] = {
        {"service", required_argument, NULL, 's'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    const char *service = NULL;
    int option = 0;
    optind = 0;
    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (option == 'h') {
            return command_help(command);
        }
        if (option != 's') {
            return command_misused(command, "unknown option");
        }
        service = optarg;
    }
    if (service == NULL) {
        return command_misused(command, "--service is missing: a proof is worth what you trust");
    }
    if (argc - optind != 1) {
        return command_misused(command, "give one evidence file, or report");
    }
    return verify(command, service, argv[optind]);
}
