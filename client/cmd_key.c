/*
 * onus key: signing keys of users, members and replicas.
 */
#include <stdio.h>

#include "client/command.h"
#include "host/key_file.h"

static const struct option options[] = {GLOBAL_OPTIONS};

static void print_key(const struct globals *globals, const struct public_key *key) {
    char text[2 * PUBLIC_KEY_SIZE + 1];
    hex_encode(text, span_of(key->bytes, PUBLIC_KEY_SIZE));
    (void)printf(globals->json ? "{\"key\":\"%s\"}\n" : "%s\n", text);
}

int command_key_generate(const struct command *command, struct globals *globals, int argc,
                         char **argv) {
    struct problem problem = {.code = EXIT_OK};
    struct public_key key;
    int const option = command_option(command, globals, argc, argv, options);
    if (COMMAND_ENDS(option)) {
        return COMMAND_CODE(option);
    }
    if (optind + 1 != argc) {
        return command_misused(command, "give one file");
    }
    if (key_file_generate(&key, argv[optind], &problem) != 0) {
        return command_fail(&problem);
    }
    print_key(globals, &key);
    return EXIT_OK;
}

int command_key_show(const struct command *command, struct globals *globals, int argc,
                     char **argv) {
    struct problem problem = {.code = EXIT_OK};
    struct secret_key secret;
    struct public_key key;
    int const option = command_option(command, globals, argc, argv, options);
    if (COMMAND_ENDS(option)) {
        return COMMAND_CODE(option);
    }
    if (optind + 1 != argc) {
        return command_misused(command, "give one file");
    }
    if (key_file_load(&secret, &key, argv[optind], &problem) != 0) {
        return command_fail(&problem);
    }
    sign_key_wipe(&secret);
    print_key(globals, &key);
    return EXIT_OK;
}
