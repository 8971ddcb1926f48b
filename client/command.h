/*
 * command: what the subcommands of `onus` share: one function each, found through one table; the
 * options that all of them take; and how they fail: one line on standard error that names what
 * failed and the remedy, and an exit code of base/problem.h.
 */
#ifndef ONUS_CLIENT_COMMAND_H
#define ONUS_CLIENT_COMMAND_H

#include <getopt.h>

#include "client/onus.h"

/* Options that every command takes, before its name or after it. */
struct globals {
    const char *program; /* argv[0] */
    const char *context; /* NULL: the default */
    bool json;
    bool quiet;
    bool verbose;
    bool no_color;
    uint32_t timeout_ms; /* 0: what the context says */
};

enum global_option { OPTION_TIMEOUT = 0x100, OPTION_NO_COLOR, OPTION_HELP, OPTION_FIRST_OWN };

#define GLOBAL_OPTIONS                                                                             \
    {"context", required_argument, NULL, 'C'}, {"output", required_argument, NULL, 'o'},           \
        {"quiet", no_argument, NULL, 'q'}, {"verbose", no_argument, NULL, 'v'},                    \
        {"timeout", required_argument, NULL, OPTION_TIMEOUT},                                      \
        {"no-color", no_argument, NULL, OPTION_NO_COLOR},                                          \
        {"help", no_argument, NULL, OPTION_HELP}, {                                                \
        NULL, 0, NULL, 0                                                                           \
    }

struct command {
    const char *name;    /* "submit", "key generate" */
    const char *usage;   /* its arguments */
    const char *summary; /* one line */
    /* argv[0] is the command's last word. Returns: an exit code. */
    int (*run)(const struct command *command, struct globals *globals, int argc, char **argv);
};

/* The commands, in the order of help; ends with a NULL name. */
extern const struct command commands[];

/*
 * The next option of the command line. Global ones are taken on the way, and what is wrong is
 * explained. Returns: the value of an own option, with optarg set; -1 when all are taken, with
 * optind at the first argument; '?' to end with EXIT_USAGE; OPTION_HELP to end with EXIT_OK.
 */
int command_option(const struct command *command, struct globals *globals, int argc, char **argv,
                   const struct option *options);

/* Did it take all options, and how does the command end if not? */
#define COMMAND_ENDS(option) ((option) == '?' || (option) == OPTION_HELP)
#define COMMAND_CODE(option) ((option) == OPTION_HELP ? EXIT_OK : EXIT_USAGE)

/* Print a problem. Returns: its exit code. */
int command_fail(const struct problem *problem);
/* Print what is wrong with the arguments, and the usage. Returns: EXIT_USAGE. */
__attribute__((format(printf, 2, 3))) int command_misused(const struct command *command,
                                                          const char *format, ...);
/* A line for a person who did not say -q. */
__attribute__((format(printf, 2, 3))) void command_say(const struct globals *globals,
                                                       const char *format, ...);

/* A whole number within bounds. Returns: false when the text is none. */
MUST_USE bool command_number(const char *text, uint64_t min, uint64_t max, uint64_t *out);

/* Make sure that what was printed has arrived. Returns: code, or EXIT_ERROR. */
int command_finish(int code);

/* ---- a handle for a command ---- */

struct client {
    const struct globals *globals;
    const char *key_path; /* whose key signs; NULL: user.key of the context */
    struct context context;
    struct onus *onus;
    uint32_t timeout_ms;
};

/* Load the context and open the library. look_only: see onus_options. Returns: 0 or -1. */
MUST_USE int client_open(struct client *client, const struct globals *globals, bool look_only,
                         struct problem *problem);
/* Close both; also after client_open has failed. Returns: 0, or -1 with a problem. */
int client_close(struct client *client, struct problem *problem);

int command_bench(const struct command *command, struct globals *globals, int argc, char **argv);
int command_completion(const struct command *command, struct globals *globals, int argc,
                       char **argv);
int command_genesis_context(const struct command *command, struct globals *globals, int argc,
                            char **argv);
int command_genesis_create(const struct command *command, struct globals *globals, int argc,
                           char **argv);
int command_genesis_endorse(const struct command *command, struct globals *globals, int argc,
                            char **argv);
int command_genesis_prologue(const struct command *command, struct globals *globals, int argc,
                             char **argv);
int command_genesis_replica(const struct command *command, struct globals *globals, int argc,
                            char **argv);
int command_genesis_show(const struct command *command, struct globals *globals, int argc,
                         char **argv);
int command_gov_endorse(const struct command *command, struct globals *globals, int argc,
                        char **argv);
int command_gov_list(const struct command *command, struct globals *globals, int argc, char **argv);
int command_gov_possession(const struct command *command, struct globals *globals, int argc,
                           char **argv);
int command_gov_propose(const struct command *command, struct globals *globals, int argc,
                        char **argv);
int command_gov_replica(const struct command *command, struct globals *globals, int argc,
                        char **argv);
int command_gov_chain(const struct command *command, struct globals *globals, int argc,
                      char **argv);
int command_gov_show(const struct command *command, struct globals *globals, int argc, char **argv);
int command_gov_vote(const struct command *command, struct globals *globals, int argc, char **argv);
int command_gov_withdraw(const struct command *command, struct globals *globals, int argc,
                         char **argv);
int command_key_generate(const struct command *command, struct globals *globals, int argc,
                         char **argv);
int command_key_show(const struct command *command, struct globals *globals, int argc, char **argv);
int command_load(const struct command *command, struct globals *globals, int argc, char **argv);
int command_receipt_export(const struct command *command, struct globals *globals, int argc,
                           char **argv);
int command_receipt_get(const struct command *command, struct globals *globals, int argc,
                        char **argv);
int command_receipt_import(const struct command *command, struct globals *globals, int argc,
                           char **argv);
int command_receipt_list(const struct command *command, struct globals *globals, int argc,
                         char **argv);
int command_receipt_show(const struct command *command, struct globals *globals, int argc,
                         char **argv);
int command_receipt_verify(const struct command *command, struct globals *globals, int argc,
                           char **argv);
int command_sandbox_down(const struct command *command, struct globals *globals, int argc,
                         char **argv);
int command_sandbox_status(const struct command *command, struct globals *globals, int argc,
                           char **argv);
int command_sandbox_up(const struct command *command, struct globals *globals, int argc,
                       char **argv);
int command_status(const struct command *command, struct globals *globals, int argc, char **argv);
int command_submit(const struct command *command, struct globals *globals, int argc, char **argv);

#endif
