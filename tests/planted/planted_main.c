/*
 * onus-sim-planted: onus-sim with one of the planted bugs (see planted.h). By the linker's hand
 * the simulator's main comes after this one.
 */
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "base/problem.h"
#include "tests/planted/planted.h"

#define MEMORY_MAX ((rlim_t)8 << 30) /* a bug may make a replica go on for ever */

static void print_names(void) {
    (void)fputs("onus-sim-planted: begin with --planted NAME; then as onus-sim. Names: none",
                stderr);
    for (unsigned i = 0; i < planted_count; i++) {
        (void)fprintf(stderr, " %s", planted_bugs[i].name);
    }
    (void)fputs("\n", stderr);
}

int __real_main(int argc, char **argv);
int __wrap_main(int argc, char **argv);
int __wrap_main(int argc, char **argv) {
    struct rlimit const memory = {.rlim_cur = MEMORY_MAX, .rlim_max = MEMORY_MAX};
    if (argc < 3 || strcmp(argv[1], "--planted") != 0 || !planted_choose(argv[2])) {
        print_names();
        return EXIT_USAGE;
    }
    if (setrlimit(RLIMIT_DATA, &memory) != 0) {
        perror("onus-sim-planted: setrlimit");
        return EXIT_ERROR;
    }
    argv[2] = argv[0];
    return __real_main(argc - 2, argv + 2);
}
