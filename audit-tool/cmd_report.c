/*
 * onus-audit report: what a proof of misbehaviour shows, for a person or for a program. The proof
 * is verified first; but for which service, only its reader can know.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "audit-tool/command.h"
#include "audit-tool/evidence_file.h"
#include "audit-tool/print.h"

static int print_text(const struct proof_verdict *verdict, const char *path) {
    char service[2 * DIGEST_SIZE + 1];
    hex_encode(service, span_of(verdict->service.bytes, DIGEST_SIZE));
    (void)fputs("MISBEHAVIOUR PROVEN   ", stdout);
    print_headline(stdout, verdict);
    (void)fputc('\n', stdout);
    print_blame(stdout, verdict);
    (void)printf("service       %s\n", service);
    (void)printf("to check it   onus-audit verify --service %s %s\n", service, path);
    return EXIT_OK;
}

static int print_as_json(const struct proof_verdict *verdict) {
    struct problem problem = {.code = EXIT_OK};
    json_t *const object = print_json(verdict);
    bool const printed = object != NULL && json_dumpf(object, stdout, JSON_INDENT(2)) == 0;
    json_decref(object);
    if (!printed) {
        (void)problem_set(&problem, EXIT_ERROR, "the report cannot be printed: out of memory");
        return command_fail(&problem);
    }
    (void)fputc('\n', stdout);
    return EXIT_OK;
}

static int report(const char *path, bool json) {
    struct problem problem = {.code = EXIT_OK};
    struct proof_verdict *const verdict = malloc(sizeof *verdict);
    if (verdict == NULL) {
        (void)problem_set(&problem, EXIT_ERROR, "out of memory");
        return command_fail(&problem);
    }
    int code = EXIT_OK;
    if (evidence_file_check(verdict, NULL, path, &problem) != 0) {
        code = command_fail(&problem);
    } else {
        code = json ? print_as_json(verdict) : print_text(verdict, path);
    }
    free(verdict);
    return code;
}

int command_report(const struct command *command, int argc, char **argv) {
    static const struct option options[] = {
        {"format", required_argument, NULL, 'f'},
        {"output", required_argument, NULL, 'f'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    bool json = false;
    int option = 0;
    optind = 0;
    while ((option = getopt_long(argc, argv, "f:o:h", options, NULL)) != -1) {
        if (option == 'h') {
            return command_help(command);
        }
        if (option == '?') {
            return command_misused(command, "unknown option");
        }
        json = strcmp(optarg, "json") == 0;
        if (!json && strcmp(optarg, "text") != 0) {
            return command_misused(command, "-f %s: it is text or json", optarg);
        }
    }
    if (argc - optind != 1) {
        return command_misused(command, "give one evidence file");
    }
    return report(argv[optind], json);
}
