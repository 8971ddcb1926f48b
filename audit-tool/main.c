/*
 * onus-audit: holds receipts and ledgers to account, and needs a running service only to fetch
 * them. It finds the command in one table and runs it; each command has a file of its own, cmd_*.c.
 */
#include <locale.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "audit-tool/command.h"
#include "base/sign.h"

static const struct command commands[] = {
    {"fetch",
     "--context DIR --out DIR [--checkpoint] [--deadline S] [--replica R]…\n"
     "       [-o text|json] [-q]",
     "Demand their ledgers of the replicas, and report who did not answer.", command_fetch},
    {"run",
     "--service ID --ledger DIR… [--receipts DIR…] [--chain FILE…] [--jobs N]\n"
     "       [--evidence DIR] [-f text|json] [--state DIR [--from CHECKPOINT] [--every N]] [--to "
     "BATCH] "
     "[--execute-only]",
     "Replay ledgers, hold them against receipts and each other, and write proofs.", command_run},
    {"verify", "--service ID FILE", "Check a proof of misbehaviour, or a report, trusting nobody.",
     command_verify},
    {"report", "FILE [-f text|json|html]", "Say what a proof shows, or a report says.",
     command_report},
    {"watch",
     "(--context DIR | --service ID) --state DIR [--ledger DIR…] [--receipts DIR…]\n"
     "       [--socket PATH] [--interval S] [--deadline S] [--once] [-o text|json] [-q]",
     "Audit continuously: follow the ledgers, take in receipts, tell each thing once.",
     command_watch},
    {NULL, NULL, NULL, NULL},
};

int command_fail(const struct problem *problem) {
    (void)fprintf(stderr, "onus-audit: %s\n", problem->text);
    return (int)problem->code;
}

int command_misused(const struct command *command, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    (void)fputs("onus-audit: ", stderr);
    (void)vfprintf(stderr, format, arguments);
    va_end(arguments);
    (void)fprintf(stderr, "\nusage: onus-audit %s %s\n", command->name, command->usage);
    return EXIT_USAGE;
}

int command_help(const struct command *command) {
    (void)printf("usage: onus-audit %s %s\n\n%s\n", command->name, command->usage,
                 command->summary);
    return EXIT_OK;
}

int command_service(struct digest *service, const char *text, struct problem *problem) {
    if (!hex_decode(service->bytes, sizeof service->bytes, text)) {
        return problem_set(problem, EXIT_USAGE,
                           "--service %s: not a service id; give the 64 hexadecimal digits that "
                           "`onus genesis show` prints",
                           text);
    }
    return 0;
}

static void print_help(FILE *out) {
    (void)fputs("usage: onus-audit COMMAND [ARG…]\n\n", out);
    for (const struct command *command = commands; command->name != NULL; command++) {
        (void)fprintf(out, "  onus-audit %-8s %s\n", command->name, command->summary);
    }
    (void)fputs("\nonus-audit COMMAND --help tells a command's arguments\n\n"
                "exit codes: 0 nothing found, or proof valid; 1 error; 2 usage; 3 not all\n"
                "            replicas answered; 4 key unknown to the service; 5 receipt or proof "
                "invalid;\n            6 cannot audit: something is missing; 10 misbehaviour "
                "proven; 11 damage that nobody signed\n",
                out);
}

/* Make sure that what was printed has arrived. */
static int finish(int code) {
    if (fflush(stdout) != 0 || ferror(stdout) != 0) {
        (void)fputs("onus-audit: standard output cannot be written\n", stderr);
        return EXIT_ERROR;
    }
    return code;
}

int main(int argc, char **argv) {
    (void)setlocale(LC_CTYPE, "");
    if (!sign_init()) {
        (void)fputs("onus-audit: this build of libsodium fails its self-test; reinstall it\n",
                    stderr);
        return EXIT_ERROR;
    }
    if (argc >= 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        print_help(stdout);
        return finish(EXIT_OK);
    }
    if (argc >= 2 && strcmp(argv[1], "--version") == 0) {
        (void)puts("onus-audit " ONUS_VERSION);
        return finish(EXIT_OK);
    }
    for (const struct command *command = commands; argc >= 2 && command->name != NULL; command++) {
        if (strcmp(argv[1], command->name) == 0) {
            return finish(command->run(command, argc - 1, argv + 1));
        }
    }
    if (argc >= 2) {
        (void)fprintf(stderr, "onus-audit: no such command: %s\n", argv[1]);
    }
    print_help(stderr);
    return EXIT_USAGE;
}
