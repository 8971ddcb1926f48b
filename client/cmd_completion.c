/*
 * onus completion: scripts made from the table of commands, so that they cannot fall behind it.
 */
#include <stdio.h>

#include "client/command.h"

static const struct option options[] = {GLOBAL_OPTIONS};

/* The distinct first words, or the second words behind a first one. */
static void print_words(const char *first) {
    const char *last = "";
    size_t last_size = 0;
    for (const struct command *command = commands; command->name != NULL; command++) {
        size_t const size = strcspn(command->name, " ");
        if (first == NULL) {
            if (size != last_size || strncmp(command->name, last, size) != 0) {
                (void)printf("%.*s ", (int)size, command->name);
            }
            last = command->name;
            last_size = size;
        } else if (strlen(first) == size && strncmp(command->name, first, size) == 0 &&
                   command->name[size] == ' ') {
            (void)printf("%s ", command->name + size + 1);
        }
    }
}

static const char *const groups[] = {"sandbox", "key", "genesis", "receipt", "gov"};

static void print_bash(void) {
    (void)fputs("_onus() {\n    local cur=${COMP_WORDS[COMP_CWORD]}\n"
                "    case ${COMP_WORDS[1]} in\n",
                stdout);
    for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++) {
        (void)printf("    %s)\n        if ((COMP_CWORD == 2)); then\n"
                     "            mapfile -t COMPREPLY < <(compgen -W '",
                     groups[i]);
        print_words(groups[i]);
        (void)fputs("' -- \"$cur\")\n            return\n        fi ;;\n", stdout);
    }
    (void)fputs("    esac\n    if ((COMP_CWORD == 1)); then\n"
                "        mapfile -t COMPREPLY < <(compgen -W '",
                stdout);
    print_words(NULL);
    (void)fputs("' -- \"$cur\")\n    else\n"
                "        mapfile -t COMPREPLY < <(compgen -f -- \"$cur\")\n    fi\n}\n"
                "complete -F _onus onus\n",
                stdout);
}

static void print_zsh(void) {
    (void)fputs("#compdef onus\n_onus() {\n    case ${words[2]} in\n", stdout);
    for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++) {
        (void)printf("    %s) ((CURRENT == 3)) && { compadd ", groups[i]);
        print_words(groups[i]);
        (void)fputs("; return } ;;\n", stdout);
    }
    (void)fputs("    esac\n    if ((CURRENT == 2)); then\n        compadd ", stdout);
    print_words(NULL);
    (void)fputs("\n    else\n        _files\n    fi\n}\ncompdef _onus onus\n", stdout);
}

static void print_fish(void) {
    (void)fputs("complete -c onus -n __fish_use_subcommand -f -a '", stdout);
    print_words(NULL);
    (void)puts("'");
    for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++) {
        (void)printf("complete -c onus -n '__fish_seen_subcommand_from %s' -f -a '", groups[i]);
        print_words(groups[i]);
        (void)puts("'");
    }
}

int command_completion(const struct command *command, struct globals *globals, int argc,
                       char **argv) {
    static const struct {
        const char *shell;
        void (*print)(void);
    } shells[] = {{"bash", print_bash}, {"zsh", print_zsh}, {"fish", print_fish}};
    int const option = command_option(command, globals, argc, argv, options);
    if (COMMAND_ENDS(option)) {
        return COMMAND_CODE(option);
    }
    for (size_t i = 0; optind + 1 == argc && i < sizeof shells / sizeof shells[0]; i++) {
        if (strcmp(argv[optind], shells[i].shell) == 0) {
            shells[i].print();
            return EXIT_OK;
        }
    }
    return command_misused(command, "name one of bash, zsh, fish");
}
