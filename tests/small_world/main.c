/*
 * small-world: every order of messages, to a stated depth, of four real replicas (docs/testing.md,
 * "The small world").
 *
 * What is bounded: four replicas, at most one of which lies, as liar.c says; two requests, which
 * the backups have from the start; two changes of view; so many choices (--depth) and restarts; two
 * long waits of each replica. Time passes only where a move says so (process.c). In rounds, which
 * is how depth is bought, moves come in runs and in one of several orders (moves.c). Signatures are
 * keyed hashes; checkpoints are out of reach; states are told apart by 128 bits of a digest, and
 * conditions of one replica by what print.c says, which is tried on some of them (--check-every).
 *
 * What is not bounded: which messages arrive where, in which order, late, twice, or never.
 *
 * Exit codes: 0 all held; 1 something did not, and the choices that lead there are printed; 2 wrong
 * usage.
 */
#include <getopt.h>
#include <stdlib.h>

#include "base/sign.h"
#include "tests/small_world/small_world.h"

#define DEPTH_DEFAULT 10u
#define CHECK_EVERY_DEFAULT 7u
#define COMMAND_SIZE 512u

static const char usage_text[] =
    "usage: small-world [OPTION]...\n"
    "  --depth N          choices made one after the other; default 10\n"
    "  --orders all       each message by itself, in every order\n"
    "  --orders rounds    of orders that differ in moves that do not meet, one; the default\n"
    "  --from start       begin when all replicas have just started; the default\n"
    "  --from batches     begin in each state that view 0 can come to by rounds\n"
    "  --last-view walk   go through the last change of view like the first; the default\n"
    "  --last-view probe  try it in each state, with each quorum, and judge what comes of it\n"
    "  --crashes N        restarts of replicas, all together; default 0\n"
    "  --slow-disk        what is written becomes durable by a choice, not at once\n"
    "  --liar R           this replica lies\n"
    "  --check-every N    try that equal conditions of a replica are equal; 0: never; default 7\n"
    "  --states-max N     stop at so many states\n"
    "  --replay MOVES     follow these moves instead, as a violation names them\n"
    "  --quiet            do not say each depth\n"
    "exit codes: 0 all held, 1 a violation, 2 wrong usage\n";

struct command {
    struct world_options world;
    struct explore_options explore;
    const char *replay;
    char text[COMMAND_SIZE];
};

static bool parse_number(uint64_t *out, uint64_t max) {
    char *end = NULL;
    if (optarg[0] < '0' || optarg[0] > '9') {
        return false;
    }
    *out = strtoull(optarg, &end, 10);
    return *end == '\0' && *out <= max;
}

/* One of two words. Out: whether it is the second. */
static bool parse_word(bool *out, const char *first, const char *second) {
    *out = strcmp(optarg, second) == 0;
    return *out || strcmp(optarg, first) == 0;
}

static bool take_option(struct command *command, int option) {
    uint64_t number = 0;
    bool good = true;
    switch (option) {
    case 'd':
        good = parse_number(&number, DEPTH_MAX);
        command->explore.depth = (uint32_t)number;
        return good;
    case 'o':
        return parse_word(&command->explore.moves.single, "rounds", "all");
    case 'f':
        return parse_word(&command->explore.from_batches, "start", "batches");
    case 'l':
        return parse_word(&command->explore.moves.brief, "walk", "probe");
    case 'c':
        good = parse_number(&number, CRASHES_MAX);
        command->world.crashes = (uint32_t)number;
        return good;
    case 's':
        command->world.slow_disk = true;
        return true;
    case 'b':
        good = parse_number(&number, WORLD_REPLICAS - 1);
        command->world.has_liar = true;
        command->world.liar = (uint32_t)number;
        return good;
    case 'e':
        return parse_number(&command->world.check_every, UINT32_MAX);
    case 'm':
        return parse_number(&command->explore.states_max, UINT32_MAX);
    case 'r':
        command->replay = optarg;
        return true;
    case 'q':
        command->explore.quiet = true;
        return true;
    default: /* what getopt has complained about */
        return false;
    }
}

static bool parse(struct command *command, int argc, char **argv) {
    static const struct option known[] = {
        {"depth", required_argument, NULL, 'd'},
        {"orders", required_argument, NULL, 'o'},
        {"from", required_argument, NULL, 'f'},
        {"last-view", required_argument, NULL, 'l'},
        {"crashes", required_argument, NULL, 'c'},
        {"slow-disk", no_argument, NULL, 's'},
        {"liar", required_argument, NULL, 'b'},
        {"check-every", required_argument, NULL, 'e'},
        {"states-max", required_argument, NULL, 'm'},
        {"replay", required_argument, NULL, 'r'},
        {"quiet", no_argument, NULL, 'q'},
        {NULL, 0, NULL, 0},
    };
    int option = 0;
    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        if (!take_option(command, option)) {
            return false;
        }
    }
    command->explore.moves.changes_only =
        command->explore.from_batches && !command->explore.moves.single;
    return optind == argc;
}

/* Every option as it was given, but for what is only said once. */
static void remember_command(struct command *command, int argc, char **argv) {
    size_t used = 0;
    for (int i = 1; i < argc && used < COMMAND_SIZE; i++) {
        if (strcmp(argv[i], "--replay") == 0) {
            i++;
            continue;
        }
        int const more = snprintf(command->text + used, COMMAND_SIZE - used, " %s", argv[i]);
        used += more > 0 ? (size_t)more : 0;
    }
    command->explore.command = command->text;
}

int main(int argc, char **argv) {
    static struct world world;
    static struct command command = {
        .world = {.check_every = CHECK_EVERY_DEFAULT},
        .explore = {.depth = DEPTH_DEFAULT},
    };
    remember_command(&command, argc, argv);
    if (!parse(&command, argc, argv)) {
        (void)fputs(usage_text, stderr);
        return 2;
    }
    if (!sign_init()) {
        (void)fputs("small-world: the signature library fails its known answers\n", stderr);
        return 1;
    }
    bool possible = true;
    world_init(&world, &command.world);
    if (command.replay != NULL) {
        possible = explore_replay(&world, &command.explore, command.replay);
    } else {
        explore(&world, &command.explore);
    }
    world_free(&world);
    return possible ? 0 : 2;
}
