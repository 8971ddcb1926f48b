/*
 * fuzz_genesis: what founds a service: anybody's, for a service id is all that is known beforehand.
 */
#include <stdlib.h>

#include "base/check.h"
#include "governance/founding.h"
#include "tests/fuzz/target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct arena arena;
    struct genesis genesis;
    struct problem problem = {.code = EXIT_OK};
    struct configuration *const configuration = malloc(sizeof *configuration);
    CHECK(configuration != NULL);
    (void)target_consortium(); /* the library must be ready */
    arena_init(&arena, (size_t)16 << 20);
    if (genesis_decode(&genesis, &arena, span_of(data, size)) == CODEC_OK) {
        bool const founded = founding_configuration(configuration, &genesis, &problem) == 0;
        CHECK(founded == (problem.code == EXIT_OK));
    }
    arena_free(&arena);
    free(configuration);
    return 0;
}
