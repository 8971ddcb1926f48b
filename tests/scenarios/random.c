/*
 * random: runs with faults drawn from seeds. The first seeds are the same every time; fresh ones
 * follow, and are printed. ONUS_SEED=n runs that seed alone, ONUS_SEEDS=n so many fresh ones.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "tests/sim/cluster_random.h"

#define FIXED_SEEDS 120u
#define FRESH_SEEDS 80u

static void add(struct random_summary *sum, const struct random_summary *one) {
    sum->batches += one->batches;
    sum->requests += one->requests;
    sum->crashes += one->crashes;
    sum->cuts += one->cuts;
    sum->lies += one->lies;
    sum->frames += one->frames;
    sum->simulated_ms += one->simulated_ms;
}

static void run_seeds(uint64_t first, uint64_t count) {
    struct random_summary sum = {0};
    for (uint64_t seed = first; seed < first + count; seed++) {
        struct random_summary const one = cluster_random_run(seed);
        add(&sum, &one);
    }
    (void)fprintf(
        stderr,
        "seeds %llu..%llu: %llu batches, %llu requests, %llu crashes, %llu cuts, %llu lies, "
        "%llu events, %llu s simulated\n",
        (unsigned long long)first, (unsigned long long)(first + count - 1),
        (unsigned long long)sum.batches, (unsigned long long)sum.requests,
        (unsigned long long)sum.crashes, (unsigned long long)sum.cuts, (unsigned long long)sum.lies,
        (unsigned long long)sum.frames, (unsigned long long)(sum.simulated_ms / 1000));
}

Test(random, fixed_seeds, .timeout = 300) {
    const char *const one = getenv("ONUS_SEED");
    if (one != NULL) {
        run_seeds(strtoull(one, NULL, 10), 1);
        return;
    }
    run_seeds(1, FIXED_SEEDS);
}

Test(random, fresh_seeds, .timeout = 3000) {
    const char *const count = getenv("ONUS_SEEDS");
    if (getenv("ONUS_SEED") == NULL) {
        run_seeds((uint64_t)time(NULL) * 1000,
                  count == NULL ? FRESH_SEEDS : strtoull(count, NULL, 10));
    }
}

Test(random, the_same_seed_gives_the_same_run) {
    struct random_summary const first = cluster_random_run(7);
    struct random_summary const second = cluster_random_run(7);
    cr_assert(digest_equal(&first.trace_hash, &second.trace_hash));
}
