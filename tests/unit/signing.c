/*
 * signing: what a replica may sign, and what may leave before that is on its disk (protocol §5):
 * the rules that a whole cluster hardly ever comes near to breaking.
 */
#include <criterion/criterion.h>

#include "consensus/state.h"
#include "tests/forge/consortium.h"

struct bench {
    struct consortium consortium;
    struct checker *checker;
    struct engine *engine;
    struct replica *replica;
    struct effects effects;
};

/* Replica 1 of four, at genesis, that never ran before: nothing keeps it from signing. */
static void bench_open(struct bench *bench) {
    consortium_found(&bench->consortium, &(struct consortium_options){.seed = 1});
    const struct replica_keys *const keys = &bench->consortium.replicas[1];
    bench->checker = checker_new(&bench->consortium.configuration);
    bench->engine = engine_new(NULL);
    cr_assert(bench->checker != NULL && bench->engine != NULL);
    checker_start(bench->checker, buffer_span(&bench->consortium.genesis_bytes));
    struct replica_options options = {.configuration = &bench->consortium.configuration,
                                      .key = keys->signing.key,
                                      .signing_key = keys->signing.secret,
                                      .checker = bench->checker,
                                      .engine = bench->engine,
                                      .limits = {.pool_requests_max = 16, .pool_size_max = 65536}};
    memcpy(options.nonce_secret, keys->nonce_secret, sizeof options.nonce_secret);
    bench->replica = replica_new(&options);
    cr_assert(bench->replica != NULL);
    replica_load_done(bench->replica);
    effects_init(&bench->effects);
}

static void bench_close(struct bench *bench) {
    effects_free(&bench->effects);
    replica_free(bench->replica);
    engine_free(bench->engine);
    checker_free(bench->checker);
    consortium_free(&bench->consortium);
}

static void step(struct bench *bench, struct event *event) {
    event->now_ms = 1000;
    event->wall_ms = 1000;
    cr_assert(replica_step(bench->replica, event, &bench->effects) == VERDICT_OK);
}

/* The last effect of a kind in the step before; NULL: there was none. */
static const struct effect *effect_of(const struct bench *bench, enum effect_kind kind) {
    const struct effect *found = NULL;
    for (uint32_t i = 0; i < bench->effects.count; i++) {
        found = bench->effects.items[i].kind == kind ? &bench->effects.items[i] : found;
    }
    return found;
}

Test(signing, one_statement_for_one_place) {
    struct bench bench;
    struct digest const first = {{1}};
    struct digest const second = {{2}};
    struct event tick = {.kind = EVENT_TICK};
    bench_open(&bench);
    step(&bench, &tick);
    cr_assert(may_sign(bench.replica, 1, &first) && may_sign(bench.replica, 1, &second));
    note_signed(bench.replica, 0, 1, &first);
    cr_assert(may_sign(bench.replica, 1, &first), "the same again");
    cr_assert(!may_sign(bench.replica, 1, &second), "and nothing else");
    cr_assert(!may_sign(bench.replica, 1, NULL), "not as a primary either");
    cr_assert(may_sign(bench.replica, 2, &second));
    note_signed(bench.replica, 0, 2, &second);
    cr_assert(!may_sign(bench.replica, 1, &second) && !may_sign(bench.replica, 2, &first));
    bench_close(&bench);
}

/* A range may hold what this replica signed: like any statement it waits for the journal. */
Test(signing, no_range_is_served_before_what_it_may_hold_can_leave) {
    struct bench bench;
    struct peer_message message = {.kind = MESSAGE_FETCH_RANGE, .from = 2};
    struct event fetch = {.kind = EVENT_MESSAGE, .message = &message};
    struct event tick = {.kind = EVENT_TICK};
    bench_open(&bench);
    step(&bench, &tick);
    const struct effect *const started = effect_of(&bench, EFFECT_JOURNAL);
    cr_assert(started != NULL && started->journal.record.kind == JOURNAL_STARTED);
    struct event durable = {.kind = EVENT_DURABLE, .durable = started->journal.position};
    step(&bench, &fetch);
    cr_assert(effect_of(&bench, EFFECT_SERVE_RANGE) == NULL);
    step(&bench, &durable);
    step(&bench, &fetch);
    const struct effect *const served = effect_of(&bench, EFFECT_SERVE_RANGE);
    cr_assert(served != NULL && served->serve_range.peer == 2);
    bench_close(&bench);
}
