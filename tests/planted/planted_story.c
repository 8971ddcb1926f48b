/*
 * A program with stories (tests/scenarios) and one of the planted bugs (see planted.h), which the
 * environment names: ONUS_PLANTED. Each story runs in a process of its own, started anew, and no
 * argument would reach it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/problem.h"
#include "tests/planted/planted.h"

__attribute__((constructor)) static void choose(void) {
    const char *const name = getenv("ONUS_PLANTED");
    if (name == NULL || !planted_choose(name)) {
        (void)fputs("ONUS_PLANTED names no planted bug, nor `none`\n", stderr);
        _exit(EXIT_USAGE);
    }
}
