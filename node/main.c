/*
 * onusd: one replica. `onusd --config replica.yaml [--check | --init | --lost]`
 *
 * Everything that the configuration names is checked, ports included, before any state is written.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/sign.h"
#include "node/node.h"

#define VERSION_TEXT "onusd " ONUS_VERSION

enum task { ACTION_RUN, ACTION_CHECK, ACTION_INIT, ACTION_LOST };

struct arguments {
    const char *config;
    enum task action;
};

static const char usage[] =
    "usage: onusd --config FILE [--check | --init | --lost]\n"
    "\n"
    "Run one replica of an onus service.\n"
    "\n"
    "  --config FILE  the replica's configuration (docs/replica.example.yaml explains it)\n"
    "  --check        check configuration, keys, genesis and ports, change nothing, exit\n"
    "  --init         make the data directory of a replica that never ran, exit\n"
    "  --lost         the same of one whose data was lost: it will follow and serve, but not vote\n"
    "                 with its key again, since nobody knows what that has signed\n"
    "  --help         print this\n"
    "  --version      print the version\n"
    "\n"
    "SIGTERM and SIGINT end it in good order. It logs to standard error.\n"
    "Exit codes: 0 ok, 1 error, 2 usage, 5 the genesis is invalid, 11 damage on the disk.\n";

static int say_problem(const struct problem *problem) {
    (void)fprintf(stderr, "onusd: %s\n", problem->text);
    return problem->code == EXIT_OK ? EXIT_ERROR : (int)problem->code;
}

static int say_usage(const char *what) {
    (void)fprintf(stderr, "onusd: %s; see onusd --help\n", what);
    return EXIT_USAGE;
}

static enum task task_of(int option) {
    if (option == 'k') {
        return ACTION_CHECK;
    }
    return option == 'i' ? ACTION_INIT : ACTION_LOST;
}

/* Returns: -1 to go on, or the exit code. */
static int parse(struct arguments *arguments, int argc, char **argv) {
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"check", no_argument, NULL, 'k'},
                                            {"init", no_argument, NULL, 'i'},
                                            {"lost", no_argument, NULL, 'l'},
                                            {"help", no_argument, NULL, 'h'},
                                            {"version", no_argument, NULL, 'V'},
                                            {NULL, 0, NULL, 0}};
    int option;
    while ((option = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
        switch (option) {
        case 'c':
            arguments->config = optarg;
            break;
        case 'k':
        case 'i':
        case 'l':
            if (arguments->action != ACTION_RUN) {
                return say_usage("give --check, --init or --lost, once");
            }
            arguments->action = task_of(option);
            break;
        case 'h':
            return fputs(usage, stdout) < 0 ? EXIT_ERROR : EXIT_OK;
        case 'V':
            return puts(VERSION_TEXT) < 0 ? EXIT_ERROR : EXIT_OK;
        default:
            return EXIT_USAGE; /* getopt has said why */
        }
    }
    if (optind != argc) {
        return say_usage("takes no arguments but options");
    }
    return arguments->config == NULL ? say_usage("--config FILE is missing") : -1;
}

/* One thread for each core checks signatures, unless somebody asked for another number. */
static int set_pool_size(void) {
    char text[16];
    (void)snprintf(text, sizeof text, "%u", uv_available_parallelism());
    return setenv("UV_THREADPOOL_SIZE", text, 0);
}

static int load(struct node *node, const struct arguments *arguments, enum data_state *state,
                struct problem *problem) {
    if (config_load(&node->config, arguments->config, problem) != 0) {
        return -1;
    }
    log_init(&(struct log_options){.level = node->config.log_level,
                                   .format = node->config.log_format,
                                   .replica = node->config.replica});
    /* Whose data it is comes before the keys: a wrong genesis is then called by its name. */
    if (identity_load_genesis(&node->identity, &node->config, problem) != 0 ||
        data_inspect(state, node, problem) != 0 ||
        identity_load_keys(&node->identity, &node->config, problem) != 0) {
        return -1;
    }
    if (arguments->action == ACTION_RUN && *state == DATA_ABSENT) {
        return problem_set(problem, EXIT_ERROR,
                           "%s: there is no data; run onusd --config %s --init first, once, if "
                           "this replica's key has never signed; if its data was lost, --lost",
                           node->config.data_directory, arguments->config);
    }
    return 0;
}

/* Returns: the exit code, or NODE_AGAIN. */
static int act(struct node *node, const struct arguments *arguments) {
    struct problem problem = {0};
    int code = EXIT_OK;
    switch (arguments->action) {
    case ACTION_CHECK:
        break;
    case ACTION_INIT:
    case ACTION_LOST:
        if (data_create(node, arguments->action == ACTION_INIT ? GUARD_NONE : GUARD_JOURNAL_MISSING,
                        &problem) != 0) {
            code = say_problem(&problem);
        }
        break;
    case ACTION_RUN:
        code = node_recover(node, &problem) != 0 ? say_problem(&problem) : node_run(node);
        break;
    }
    return code;
}

/*
 * Bind the ports and do what was asked for. A replica that has joined from a checkpoint runs again,
 * from what then lies on its disk: all that it was is put away first, only configuration and keys
 * stay.
 */
static int open_and_act(struct node *node, const struct arguments *arguments) {
    struct problem problem = {0};
    int code;
    do {
        node_init(node);
        code = node_open(node, &problem) != 0 ? say_problem(&problem) : act(node, arguments);
        node_close(node);
    } while (code == NODE_AGAIN);
    return code;
}

int main(int argc, char **argv) {
    struct arguments arguments = {.action = ACTION_RUN};
    struct problem problem = {0};
    enum data_state state = DATA_ABSENT;
    int code = parse(&arguments, argc, argv);
    if (code >= 0) {
        return code;
    }
    struct node *const node = calloc(1, sizeof *node);
    if (node == NULL || !sign_init() || set_pool_size() != 0 ||
        signal(SIGPIPE, SIG_IGN) == SIG_ERR) {
        (void)fputs("onusd: cannot start: memory, or libsodium's self-test, failed\n", stderr);
        free(node);
        return EXIT_ERROR;
    }
    if (load(node, &arguments, &state, &problem) != 0) {
        code = say_problem(&problem);
    } else {
        code = open_and_act(node, &arguments);
    }
    identity_free(&node->identity);
    free(node);
    return code;
}
