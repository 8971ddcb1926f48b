/*
 * command: what the subcommands of onus-audit share: one function each, found through one table.
 */
#ifndef ONUS_AUDIT_TOOL_COMMAND_H
#define ONUS_AUDIT_TOOL_COMMAND_H

#include "base/problem.h"

struct command {
    const char *name;
    const char *usage;   /* its arguments */
    const char *summary; /* one line */
    /* argv[0] is the command's name. Returns: an exit code. */
    int (*run)(const struct command *command, int argc, char **argv);
};

int command_fetch(const struct command *command, int argc, char **argv);
int command_run(const struct command *command, int argc, char **argv);
int command_verify(const struct command *command, int argc, char **argv);
int command_report(const struct command *command, int argc, char **argv);
int command_watch(const struct command *command, int argc, char **argv);

/* Print a problem on standard error. Returns: its exit code. */
int command_fail(const struct problem *problem);
/* Print what is wrong with the arguments, and the usage. Returns: EXIT_USAGE. */
__attribute__((format(printf, 2, 3))) int command_misused(const struct command *command,
                                                          const char *format, ...);
/* Print the usage on standard output. Returns: EXIT_OK. */
int command_help(const struct command *command);

/* A service id: 64 hexadecimal digits. Returns: 0 or -1. */
MUST_USE int command_service(struct digest *service, const char *text, struct problem *problem);

#endif
