/*
 * onus sandbox: up, status, down. `up` in a directory that already holds a sandbox starts those of
 * its replicas that do not run.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>

#include "base/check.h"
#include "client/founding_kit.h"
#include "client/sandbox.h"

#define DIRECTORY_DEFAULT "./onus-sandbox"
#define FOREGROUND_POLL_NS 500000000

enum {
    OPTION_DIR = OPTION_FIRST_OWN,
    OPTION_BASE_PORT,
    OPTION_CHECKPOINT_INTERVAL,
    OPTION_DETACH,
    OPTION_REPLICAS,
    OPTION_WINDOW
};

static const struct option up_options[] = {
    {"replicas", required_argument, NULL, OPTION_REPLICAS},
    {"dir", required_argument, NULL, OPTION_DIR},
    {"base-port", required_argument, NULL, OPTION_BASE_PORT},
    {"checkpoint-interval", required_argument, NULL, OPTION_CHECKPOINT_INTERVAL},
    {"window", required_argument, NULL, OPTION_WINDOW},
    {"detach", no_argument, NULL, OPTION_DETACH},
    GLOBAL_OPTIONS};
static const struct option dir_options[] = {{"dir", required_argument, NULL, OPTION_DIR},
                                            GLOBAL_OPTIONS};

struct up {
    const char *directory;
    struct sandbox_plan plan;
    bool detach;
};

struct bounds {
    uint64_t min;
    uint64_t max;
};

static int take_bounded(const struct command *command, uint64_t *number, const char *text,
                        struct bounds bounds) {
    return command_number(text, bounds.min, bounds.max, number)
               ? EXIT_OK
               : command_misused(command, "%s is not from %llu to %llu", text,
                                 (unsigned long long)bounds.min, (unsigned long long)bounds.max);
}

/* What fits the pipeline that a sandbox gets. */
static uint64_t founding_interval_min(void) {
    return checkpoint_interval_min(founding_parameters_default().pipeline);
}

static int take_up_option(const struct command *command, struct up *up, int option,
                          const char *text) {
    uint64_t number = 0;
    switch (option) {
    case OPTION_DIR:
        up->directory = text;
        return EXIT_OK;
    case OPTION_DETACH:
        up->detach = true;
        return EXIT_OK;
    case OPTION_REPLICAS:
        if (!command_number(text, REPLICAS_MIN, REPLICAS_MAX, &number)) {
            return command_misused(command, "-n takes %u to %u replicas", REPLICAS_MIN,
                                   REPLICAS_MAX);
        }
        up->plan.replicas = (uint32_t)number;
        return EXIT_OK;
    case OPTION_CHECKPOINT_INTERVAL:
        return take_bounded(command, &up->plan.checkpoint_interval, text,
                            (struct bounds){founding_interval_min(), CHECKPOINT_INTERVAL_MAX});
    case OPTION_WINDOW:
        return take_bounded(command, &up->plan.window, text,
                            (struct bounds){BATCH_CALLS_MAX, WINDOW_MAX});
    default:
        if (!command_number(text, 1024, 65535 - REPLICAS_MAX * SANDBOX_PORT_STEP, &number)) {
            return command_misused(command, "--base-port takes a port from 1024 to %u",
                                   65535 - REPLICAS_MAX * SANDBOX_PORT_STEP);
        }
        up->plan.base_port = (uint32_t)number;
        return EXIT_OK;
    }
}

/* Stay until somebody asks to end; the replicas end with us. */
static int stay(const struct sandbox *sandbox, const struct globals *globals,
                struct problem *problem) {
    struct timespec const poll = {.tv_nsec = FOREGROUND_POLL_NS};
    bool reported[REPLICAS_MAX] = {false};
    sigset_t ends;
    CHECK(sigemptyset(&ends) == 0 && sigaddset(&ends, SIGINT) == 0 &&
          sigaddset(&ends, SIGTERM) == 0 && sigaddset(&ends, SIGHUP) == 0);
    CHECK(sigprocmask(SIG_BLOCK, &ends, NULL) == 0);
    command_say(globals, "onus: running; Ctrl-C stops all replicas");
    while (sigtimedwait(&ends, NULL, &poll) < 0) {
        while (waitpid(-1, NULL, WNOHANG) > 0) {
        }
        for (uint32_t r = 0; r < sandbox->count; r++) {
            bool const gone = sandbox_process(sandbox, r) == 0;
            if (gone && !reported[r]) {
                command_say(globals, "onus: replica %u has ended; see %s/replica-%u/onusd.log", r,
                            sandbox->directory, r);
            }
            reported[r] = gone;
        }
    }
    return sandbox_stop(sandbox, problem);
}

static int bring_up(struct sandbox *sandbox, const struct up *up, const struct globals *globals,
                    struct problem *problem) {
    if (!sandbox_exists(up->directory) && sandbox_make(up->directory, &up->plan, problem) != 0) {
        return -1;
    }
    if (sandbox_open(sandbox, up->directory, globals->program, problem) != 0) {
        return -1;
    }
    if (sandbox_start(sandbox, problem) != 0 || sandbox_wait(sandbox, problem) != 0) {
        struct problem ignored = {.code = EXIT_OK};
        /* A sandbox is up or it is not; the first problem is the one to tell. */
        (void)!sandbox_stop(sandbox, &ignored);
        return -1;
    }
    if (globals->json) {
        (void)printf("{\"directory\":\"%s\",\"replicas\":%u}\n", sandbox->directory,
                     sandbox->count);
    } else {
        (void)printf("%u replicas are up\nexport ONUS_CONTEXT=%s/context\n", sandbox->count,
                     sandbox->directory);
    }
    (void)fflush(stdout);
    return up->detach ? 0 : stay(sandbox, globals, problem);
}

/* -n is short for --replicas; getopt's short options are the global ones alone. */
static void spell_out_n(int argc, char **argv) {
    static char spelled[] = "--replicas";
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-n") == 0) {
            argv[i] = spelled;
        }
    }
}

int command_sandbox_up(const struct command *command, struct globals *globals, int argc,
                       char **argv) {
    struct problem problem = {.code = EXIT_OK};
    struct up up = {
        .directory = DIRECTORY_DEFAULT,
        .plan = {.replicas = REPLICAS_MIN, .base_port = SANDBOX_PORT_DEFAULT},
    };
    spell_out_n(argc, argv);
    for (;;) {
        int const option = command_option(command, globals, argc, argv, up_options);
        if (COMMAND_ENDS(option)) {
            return COMMAND_CODE(option);
        }
        if (option == -1) {
            break;
        }
        int const code = take_up_option(command, &up, option, optarg);
        if (code != EXIT_OK) {
            return code;
        }
    }
    if (optind != argc) {
        return command_misused(command, "it takes options only");
    }
    struct sandbox sandbox;
    return bring_up(&sandbox, &up, globals, &problem) == 0 ? EXIT_OK : command_fail(&problem);
}

/* The directory option of the other two. Returns: whether to go on; *code otherwise. */
static bool take_directory(const struct command *command, struct globals *globals, int argc,
                           char **argv, const char **directory, int *code) {
    *directory = DIRECTORY_DEFAULT;
    for (;;) {
        int const option = command_option(command, globals, argc, argv, dir_options);
        if (COMMAND_ENDS(option)) {
            *code = COMMAND_CODE(option);
            return false;
        }
        if (option == -1) {
            break;
        }
        *directory = optarg;
    }
    if (optind != argc) {
        *code = command_misused(command, "it takes options only");
        return false;
    }
    return true;
}

int command_sandbox_status(const struct command *command, struct globals *globals, int argc,
                           char **argv) {
    struct problem problem = {.code = EXIT_OK};
    struct sandbox sandbox;
    const char *directory;
    int code;
    if (!take_directory(command, globals, argc, argv, &directory, &code)) {
        return code;
    }
    if (sandbox_open(&sandbox, directory, globals->program, &problem) != 0) {
        return command_fail(&problem);
    }
    char context[PATH_MAX];
    sandbox_context_path(&sandbox, context);
    globals->context = context;
    char *no_arguments[] = {argv[0], NULL};
    optind = 0;
    return command_status(command, globals, 1, no_arguments);
}

int command_sandbox_down(const struct command *command, struct globals *globals, int argc,
                         char **argv) {
    struct problem problem = {.code = EXIT_OK};
    struct sandbox sandbox;
    const char *directory;
    int code;
    if (!take_directory(command, globals, argc, argv, &directory, &code)) {
        return code;
    }
    if (sandbox_open(&sandbox, directory, globals->program, &problem) != 0 ||
        sandbox_stop(&sandbox, &problem) != 0) {
        return command_fail(&problem);
    }
    command_say(globals, "onus: all replicas have ended; the files stay in %s", directory);
    return EXIT_OK;
}
