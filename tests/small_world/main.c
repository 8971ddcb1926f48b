/* main */
#include <getopt.h>
#include <stdlib.h>
#include "tests/small_world/small_world.h"
#include "base/sign.h"
int main(int argc, char **argv) {
    struct world_options w = {.views = 2, .pipeline = 2, .requests = 2};
    struct explore_options e = {.depth = 10, .moves={.grain = GRAIN_QUORUM, .in_rounds = true}};
    const char *replay = NULL;
    for (int i = 1; i + 1 < argc; i += 2) {
        const char *k = argv[i]; long v = atol(argv[i+1]);
        if (!strcmp(k,"--depth")) e.depth = (uint32_t)v;
        else if (!strcmp(k,"--views")) w.views = (uint32_t)v;
        else if (!strcmp(k,"--grain")) e.moves.grain = v ? GRAIN_MESSAGE : GRAIN_QUORUM;
        else if (!strcmp(k,"--rounds")) e.moves.in_rounds = v;
        else if (!strcmp(k,"--brief")) e.moves.brief = v;
        else if (!strcmp(k,"--requests")) w.requests = (uint32_t)v;
        else if (!strcmp(k,"--late")) e.moves.late = v;
        else if (!strcmp(k,"--idle")) e.moves.idle = v;
        else if (!strcmp(k,"--crashes")) w.crashes = (uint32_t)v;
        else if (!strcmp(k,"--slow")) w.slow_disk = v;
        else if (!strcmp(k,"--check")) w.check_every = (uint64_t)v;
        else if (!strcmp(k,"--agree")) w.only_agreement = v;
        else if (!strcmp(k,"--states")) e.states_max = (uint64_t)v;
        else if (!strcmp(k,"--prefix")) { e.has_prefix = v; e.prefix = (struct move_options){.grain=GRAIN_QUORUM,.in_rounds=true,.no_changes=true}; e.moves.changes_only = true; }
        else if (!strcmp(k,"--replay")) replay = argv[i+1];
        else return 2;
    }
    static struct world world;
    if (!sign_init()) return 1;
    world_init(&world, &w);
    if (replay) return explore_replay(&world, &e, replay);
    explore(&world, &e);
    world_free(&world);
    return 0;
}
