/*
 * onus-audit report: what a proof of misbehaviour shows: for a terminal, for a program, or as a
 * page for people; or what a report about demands says. The file is verified first; but for which
 * service, only its reader can know.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "audit-tool/account.h"
#include "audit-tool/command.h"
#include "audit-tool/demand_report.h"
#include "audit-tool/evidence_file.h"

static void write_json(FILE *out, const json_t *account) {
    (void)json_dumpf(account, out, JSON_INDENT(2)); /* main sees whether it has arrived */
    (void)fputc('\n', out);
}

static const struct format {
    const char *name;
    void (*write)(FILE *out, const json_t *account);
    void (*write_report)(FILE *out, const json_t *told);
} formats[] = {{"text", account_write_text, demand_report_write_text},
               {"json", write_json, write_json},
               {"html", account_write_html, demand_report_write_html}};

static const struct format *format_find(const char *name) {
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        if (strcmp(formats[i].name, name) == 0) {
            return &formats[i];
        }
    }
    return NULL;
}

/* The account of a proof; NULL with a problem. */
static json_t *tell_proof(const char *path, struct span file, struct problem *problem) {
    struct proof_verdict *const verdict = malloc(sizeof *verdict);
    json_t *account = NULL;
    if (verdict == NULL || evidence_file_check(verdict, NULL, path, file, problem) == 0) {
        account = verdict == NULL ? NULL : account_make(verdict, file, path);
        if (account == NULL) {
            (void)problem_set(problem, EXIT_ERROR, "%s: there is not enough memory to tell", path);
        }
    }
    free(verdict);
    return account;
}

static int report(const char *path, const struct format *format) {
    struct problem problem = {.code = EXIT_OK};
    struct buffer file;
    json_t *told = NULL;
    buffer_init(&file, EVIDENCE_FILE_SIZE_MAX);
    bool is_report = false;
    if (evidence_file_read(&file, path, &problem) == 0) {
        is_report = demand_report_is(buffer_span(&file));
        told = is_report ? demand_report_open(NULL, path, buffer_span(&file), &problem)
                         : tell_proof(path, buffer_span(&file), &problem);
    }
    if (told != NULL) {
        (is_report ? format->write_report : format->write)(stdout, told);
    }
    int const code = told != NULL ? EXIT_OK : command_fail(&problem);
    json_decref(told);
    buffer_free(&file);
    return code;
}

int command_report(const struct command *command, int argc, char **argv) {
    static const struct option options[] = {
        {"format", required_argument, NULL, 'f'},
        {"output", required_argument, NULL, 'f'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    const struct format *format = &formats[0];
    int option = 0;
    optind = 0;
    while ((option = getopt_long(argc, argv, "f:o:h", options, NULL)) != -1) {
        if (option == 'h') {
            return command_help(command);
        }
        if (option == '?') {
            return command_misused(command, "unknown option");
        }
        format = format_find(optarg);
        if (format == NULL) {
            return command_misused(command, "-f %s: it is text, json or html", optarg);
        }
    }
    if (argc - optind != 1) {
        return command_misused(command, "give one evidence file, or report");
    }
    return report(argv[optind], format);
}
