/*
 * onus-audit report: what a proof of misbehaviour shows: for a terminal, for a program, or as a
 * page for people. The proof is verified first; but for which service, only its reader can know.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "audit-tool/account.h"
#include "audit-tool/command.h"
#include "audit-tool/evidence_file.h"

static void write_json(FILE *out, const json_t *account) {
    (void)json_dumpf(account, out, JSON_INDENT(2)); /* main sees whether it has arrived */
    (void)fputc('\n', out);
}

static const struct format {
    const char *name;
    void (*write)(FILE *out, const json_t *account);
} formats[] = {{"text", account_write_text}, {"json", write_json}, {"html", account_write_html}};

static const struct format *format_find(const char *name) {
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        if (strcmp(formats[i].name, name) == 0) {
            return &formats[i];
        }
    }
    return NULL;
}

static int report(const char *path, const struct format *format) {
    struct problem problem = {.code = EXIT_OK};
    struct buffer file;
    struct proof_verdict *const verdict = malloc(sizeof *verdict);
    json_t *account = NULL;
    buffer_init(&file, EVIDENCE_FILE_SIZE_MAX);
    int status = -1;
    if (verdict != NULL && evidence_file_read(&file, path, &problem) == 0 &&
        evidence_file_check(verdict, NULL, path, buffer_span(&file), &problem) == 0) {
        account = account_make(verdict, buffer_span(&file), path);
        status = account != NULL ? 0 : -1;
    }
    if (status == 0) {
        format->write(stdout, account);
    } else {
        (void)problem_set(&problem, EXIT_ERROR, "%s: there is not enough memory to tell", path);
    }
    json_decref(account);
    buffer_free(&file);
    free(verdict);
    return status == 0 ? EXIT_OK : command_fail(&problem);
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
        return command_misused(command, "give one evidence file");
    }
    return report(argv[optind], format);
}
