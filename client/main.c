/*
 * onus: the client program. It finds the command in one table and runs it; each command has a file
 * of its own, cmd_*.c.
 */
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "client/command.h"

const struct command commands[] = {
    {"sandbox up",
     "[-n REPLICAS] [--dir DIR] [--base-port PORT] [--checkpoint-interval C] [--window W] "
     "[--detach]",
     "Make and start a consortium on this machine, one replica a member.", command_sandbox_up},
    {"sandbox status", "[--dir DIR]", "Show the replicas of a sandbox.", command_sandbox_status},
    {"sandbox down", "[--dir DIR]", "Stop the replicas of a sandbox; its files stay.",
     command_sandbox_down},
    {"key generate", "FILE", "Make a signing key in a new file; print the public key.",
     command_key_generate},
    {"key show", "FILE", "Print the public key of a key file.", command_key_show},
    {"genesis prologue",
     "--plan FILE --out FILE | --name NAME --out FILE [--pipeline P] [--checkpoint-interval C] "
     "[--window W] [--batch-calls-max N]",
     "First step of a founding: what all members endorse.", command_genesis_prologue},
    {"genesis replica",
     "--plan FILE --replica ID --out DIR [--listen-peer ADDR] [--listen-client ADDR]",
     "Make a replica's keys, certificate and configuration, on its own machine.",
     command_genesis_replica},
    {"genesis endorse",
     "--prologue FILE --member-key FILE --replica ID --replica-key HEX --tls-certificate FILE "
     "--out FILE (--plan FILE | --member ID --peer-address ADDR --client-address ADDR)",
     "By each member: answer for a replica.", command_genesis_endorse},
    {"genesis create",
     "--prologue FILE --endorsement FILE… --out FILE (--plan FILE | --member NAME=KEY… "
     "[--user NAME=KEY…])",
     "Last step: put the genesis together; print the service id.", command_genesis_create},
    {"genesis show", "FILE", "Print what a genesis file says.", command_genesis_show},
    {"genesis context", "--genesis FILE --out DIR [--service ID]",
     "Make the context of a user or an auditor.", command_genesis_context},
    {"submit", "PROC [ARG…] [--receipt FILE] [--no-wait] | --atomic FILE|- [--receipt FILE]",
     "Execute a transaction; print its id, index and reply, and keep the receipt.", command_submit},
    {"load", "FILE|- [--bundle N]",
     "Execute one JSON array [\"proc\",\"arg\",…] a line; receipts are kept.", command_load},
    {"receipt get", "TXID [--receipt FILE]", "Print or write the receipt of a transaction.",
     command_receipt_get},
    {"receipt export", "FILE [TXID…]", "Write receipts into one file, for others; all by default.",
     command_receipt_export},
    {"receipt import", "FILE…", "Take receipts from others, each verified; say what is refused.",
     command_receipt_import},
    {"receipt list", "", "List the receipts held, and what is still without one.",
     command_receipt_list},
    {"receipt show", "FILE", "Print what a receipt says, without verifying it.",
     command_receipt_show},
    {"receipt verify", "[--service ID] [--genesis FILE] [--chain FILE] FILE…",
     "Verify receipts, exported ones too, or a directory of them; no network.",
     command_receipt_verify},
    {"gov possession",
     "(--member NAME | --user NAME | --replica-of NAME --tls-certificate FILE --peer-address ADDR "
     "--client-address ADDR) --key FILE --out FILE [--service ID]",
     "By a new key: sign for what it is to be used for.", command_gov_possession},
    {"gov replica",
     "--member NAME --replica ID --peer-address ADDR --client-address ADDR --out DIR "
     "[--listen-peer ADDR] [--listen-client ADDR] [--service ID]",
     "Make a new replica's keys, certificate, configuration and credential.", command_gov_replica},
    {"gov endorse", "--credential FILE --member-key FILE --out FILE [--service ID]",
     "By a member: answer for a new replica.", command_gov_endorse},
    {"gov propose",
     "[--text TEXT] [--evidence FILE…] [--key FILE] [--yes] [--dry-run] (FILE | "
     "[--add-member FILE] [--remove-member NAME] [--rotate-member FILE] [--add-user FILE] "
     "[--remove-user NAME] [--rotate-user FILE] [--add-replica FILE] [--remove-replica REPLICA] "
     "[--replace-replica REPLICA=FILE] [--pipeline P] [--checkpoint-interval C] "
     "[--batch-calls-max N] [--batch-size-soft-max BYTES] [--voting-rule N/D])",
     "By a member: propose a change, after a look at what it would do.", command_gov_propose},
    {"gov vote", "ID yes|no [--key FILE] [--yes] [--dry-run]",
     "By a member: vote on what is open, after a look at it.", command_gov_vote},
    {"gov list", "[--key FILE]", "What is open, who voted how, and what is missing.",
     command_gov_list},
    {"gov show", "[ID] [--key FILE]",
     "Show a proposal that is open; without ID, who and what governs now.", command_gov_show},
    {"gov chain", "[--out FILE]",
     "What the consortium has been, from its founding to what this context knows.",
     command_gov_chain},
    {"gov withdraw", "ID [--key FILE]", "By its proposer: withdraw what is open.",
     command_gov_withdraw},
    {"status", "[--watch]", "Show every replica, those that do not answer too.", command_status},
    {"bench", "[--clients N] [--duration S] [--workload smallbank|kv] [--bundle N]",
     "Measure throughput and latency, and what cryptography allows at most.", command_bench},
    {"completion", "bash|zsh|fish", "Print a completion script for a shell.", command_completion},
    {NULL, NULL, NULL, NULL},
};

static void print_help(void) {
    (void)puts("usage: onus [OPTION…] COMMAND [ARG…]\n");
    for (const struct command *command = commands; command->name != NULL; command++) {
        (void)printf("  onus %-17s %s\n", command->name, command->summary);
    }
    (void)puts("\noptions, before the command or after it:\n"
               "  -C, --context DIR   the service and the keys; default $ONUS_CONTEXT, else "
               "~/.config/onus\n"
               "  -o, --output FORM   text or json\n"
               "      --timeout S     how long to wait\n"
               "  -q, --quiet         errors only\n"
               "  -v, --verbose       say more\n"
               "      --no-color      plain text on a terminal too\n"
               "      --help          of a command: its arguments\n"
               "      --version\n\n"
               "exit codes: 0 ok, 1 error, 2 usage, 3 unreachable or degraded, 4 rejected or "
               "refused,\n            5 receipt invalid, 11 corrupt");
}

/* How many words of argv the command's name takes; 0: it is another command. */
static int words_matched(const char *name, int argc, char **argv) {
    const char *const space = strchr(name, ' ');
    size_t const first = space == NULL ? strlen(name) : (size_t)(space - name);
    if (argc < 1 || strlen(argv[0]) != first || strncmp(argv[0], name, first) != 0) {
        return 0;
    }
    if (space == NULL) {
        return 1;
    }
    return argc >= 2 && strcmp(argv[1], space + 1) == 0 ? 2 : 0;
}

static int unknown_command(int argc, char **argv) {
    bool group = false;
    (void)fprintf(stderr, "onus: no such command: %s%s%s\n", argv[0], argc > 1 ? " " : "",
                  argc > 1 ? argv[1] : "");
    for (const struct command *command = commands; command->name != NULL; command++) {
        size_t const size = strlen(argv[0]);
        if (strncmp(command->name, argv[0], size) == 0 && command->name[size] == ' ') {
            (void)fprintf(stderr, "usage: onus %s %s\n", command->name, command->usage);
            group = true;
        }
    }
    if (!group) {
        (void)fprintf(stderr, "onus --help lists the commands\n");
    }
    return EXIT_USAGE;
}

static int dispatch(struct globals *globals, int argc, char **argv) {
    for (const struct command *command = commands; command->name != NULL; command++) {
        int const words = words_matched(command->name, argc, argv);
        if (words != 0) {
            optind = 0; /* getopt starts anew */
            return command_finish(
                command->run(command, globals, argc - words + 1, argv + words - 1));
        }
    }
    return unknown_command(argc, argv);
}

/* Where the command's name stands, after the options before it; -1: help is asked for. */
static int leading_options(int argc, char **argv) {
    static const char *const with_value[] = {"-C", "-o", "--context", "--output", "--timeout"};
    int words = 1;
    while (words < argc && argv[words][0] == '-') {
        if (strcmp(argv[words], "--help") == 0 || strcmp(argv[words], "-h") == 0) {
            return -1;
        }
        int taken = 1;
        for (size_t i = 0; i < sizeof with_value / sizeof with_value[0]; i++) {
            taken = strcmp(argv[words], with_value[i]) == 0 ? 2 : taken;
        }
        words += taken;
    }
    return words < argc ? words : argc;
}

int main(int argc, char **argv) {
    static const struct command before = {"", "[OPTION…] COMMAND [ARG…]",
                                          "onus --help lists the commands.", NULL};
    static const struct option options[] = {{"version", no_argument, NULL, OPTION_FIRST_OWN},
                                            GLOBAL_OPTIONS};
    struct globals globals = {.program = argv[0], .no_color = getenv("NO_COLOR") != NULL};
    (void)setlocale(LC_CTYPE, "C.UTF-8");
    /* A reader of our output that goes away is noticed where we write. */
    (void)signal(SIGPIPE, SIG_IGN);
    if (!sign_init()) {
        (void)fprintf(stderr, "onus: libsodium fails its self-test; install the one of Debian\n");
        return EXIT_ERROR;
    }
    int const leading = leading_options(argc, argv);
    if (leading < 0 || (leading < argc && strcmp(argv[leading], "help") == 0)) {
        print_help();
        return command_finish(EXIT_OK);
    }
    int const option = command_option(&before, &globals, leading, argv, options);
    if (option == OPTION_FIRST_OWN) {
        (void)puts("onus " ONUS_VERSION);
        return command_finish(EXIT_OK);
    }
    if (COMMAND_ENDS(option)) {
        return COMMAND_CODE(option);
    }
    if (leading == argc) {
        print_help();
        return command_finish(EXIT_USAGE);
    }
    return dispatch(&globals, argc - leading, argv + leading);
}
