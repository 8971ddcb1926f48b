/*
 * target: see target.h.
 */
#include "tests/fuzz/target.h"

#include "base/check.h"
#include "tests/fuzz/samples.h"

const struct consortium *target_consortium(void) {
    static struct consortium consortium;
    static bool founded;
    if (!founded) {
        CHECK(sign_init());
        consortium_found(&consortium, &(struct consortium_options){.seed = SAMPLES_SEED});
        founded = true;
    }
    return &consortium;
}
