/*
 * command: see command.h.
 */
#include "client/command.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

bool command_number(const char *text, uint64_t min, uint64_t max, uint64_t *out) {
    char *rest = NULL;
    errno = 0;
    if (text[0] < '0' || text[0] > '9') {
        return false; /* no sign, no space */
    }
    unsigned long long const number = strtoull(text, &rest, 10);
    if (errno != 0 || *rest != '\0' || number < min || number > max) {
        return false;
    }
    *out = number;
    return true;
}

int command_fail(const struct problem *problem) {
    (void)fprintf(stderr, "onus: %s\n", problem->text);
    return problem->code == EXIT_OK ? EXIT_ERROR : (int)problem->code;
}

int command_misused(const struct command *command, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    (void)fprintf(stderr, "onus %s: ", command->name);
    (void)vfprintf(stderr, format, arguments);
    (void)fprintf(stderr, "\nusage: onus %s %s\n", command->name, command->usage);
    va_end(arguments);
    return EXIT_USAGE;
}

void command_say(const struct globals *globals, const char *format, ...) {
    if (globals->quiet) {
        return;
    }
    va_list arguments;
    va_start(arguments, format);
    (void)vfprintf(stderr, format, arguments);
    (void)fputc('\n', stderr);
    va_end(arguments);
}

int command_finish(int code) {
    if (fflush(stdout) != 0 || ferror(stdout) != 0) {
        (void)fprintf(stderr, "onus: standard output: %s\n", strerror(errno));
        return code == EXIT_OK ? EXIT_ERROR : code;
    }
    return code;
}

static bool set_timeout(struct globals *globals, const char *text) {
    uint64_t seconds;
    if (!command_number(text, 1, CONTEXT_TIMEOUT_S_MAX, &seconds)) {
        return false;
    }
    globals->timeout_ms = (uint32_t)seconds * 1000;
    return true;
}

int command_option(const struct command *command, struct globals *globals, int argc, char **argv,
                   const struct option *options) {
    for (;;) {
        int const option = getopt_long(argc, argv, ":C:o:qv", options, NULL);
        switch (option) {
        case 'C':
            globals->context = optarg;
            break;
        case 'o':
            globals->json = strcmp(optarg, "json") == 0;
            if (!globals->json && strcmp(optarg, "text") != 0) {
                (void)command_misused(command, "-o takes text or json, not %s", optarg);
                return '?';
            }
            break;
        case 'q':
            globals->quiet = true;
            break;
        case 'v':
            globals->verbose = true;
            break;
        case OPTION_TIMEOUT:
            if (!set_timeout(globals, optarg)) {
                (void)command_misused(command, "--timeout takes seconds, 1 to %u",
                                      CONTEXT_TIMEOUT_S_MAX);
                return '?';
            }
            break;
        case OPTION_NO_COLOR:
            globals->no_color = true;
            break;
        case OPTION_HELP:
            (void)printf("usage: onus %s %s\n%s\n", command->name, command->usage,
                         command->summary);
            return OPTION_HELP;
        case ':':
            (void)command_misused(command, "%s needs a value", argv[optind - 1]);
            return '?';
        case '?':
            (void)command_misused(command, "unknown option %s", argv[optind - 1]);
            return '?';
        default:
            return option;
        }
    }
}

/* ---- a handle -------------------------------------------------------------------------------- */

static void on_notice(void *context, const char *text) {
    const struct client *const client = context;
    command_say(client->globals, "onus: %s", text);
}

int client_open(struct client *client, const struct globals *globals, bool look_only,
                struct problem *problem) {
    client->globals = globals;
    client->onus = NULL;
    if (context_load(&client->context, globals->context, problem) != 0) {
        return -1;
    }
    if (client->key_path != NULL &&
        context_take_key(&client->context, client->key_path, problem) != 0) {
        return -1;
    }
    client->timeout_ms =
        globals->timeout_ms != 0 ? globals->timeout_ms : client->context.timeout_ms;
    struct onus_options const options = {
        .context = &client->context,
        .look_only = look_only,
        .notice = on_notice,
        .notice_context = client,
    };
    client->onus = onus_open(&options, problem);
    return client->onus == NULL ? -1 : 0;
}

int client_close(struct client *client, struct problem *problem) {
    int const status = onus_close(client->onus, problem);
    context_free(&client->context);
    return status;
}
