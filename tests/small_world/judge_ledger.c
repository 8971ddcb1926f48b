/*
 * judge_ledger: is this ledger, as it stands in a replica's files, one that an auditor would take?
 * Every ledger that any replica ever has is replayed once, from genesis on, by a checker and an
 * engine of the judge's own: every rule holds, every signature, every root and every outcome.
 */
#include "base/check.h"
#include "execution/replay.h"
#include "tests/small_world/small_world.h"

struct reader {
    struct checker *checker;
    struct engine *engine;
    struct replay replay;
    struct batch batch;
    struct sign_sink sink;
};

static bool check_signature(void *context, const struct sign_check *check, enum rule rule) {
    const struct world *const world = context;
    (void)rule;
    return sign_verify(&world->configuration->service, check);
}

static void reader_init(struct reader *reader, struct world *world) {
    *reader = (struct reader){
        .checker = checker_new(world->configuration),
        .engine = engine_new(NULL),
        .sink = {.context = world, .check = check_signature},
    };
    CHECK(reader->checker != NULL && reader->engine != NULL);
    checker_start(reader->checker, buffer_span(&world->consortium.genesis_bytes));
    replay_init(&reader->replay);
    batch_init(&reader->batch);
}

static void reader_free(struct reader *reader) {
    batch_free(&reader->batch);
    replay_free(&reader->replay);
    engine_free(reader->engine);
    checker_free(reader->checker);
}

static enum rule read_entry(struct reader *reader, uint64_t index, struct span stored) {
    struct entry const entry = {.kind = (enum entry_kind)stored.data[0],
                                .payload = span_of(stored.data + 1, stored.size - 1)};
    enum rule rule = RULE_NONE;
    enum batch_step const step = batch_add(&reader->batch, index, &entry, &rule);
    if (step == BATCH_WHOLE) {
        rule = replay_batch(&reader->replay, reader->checker, reader->engine, &reader->batch,
                            &reader->sink);
    } else if (step == BATCH_VIEW) {
        rule = checker_view_add(reader->checker, &reader->batch.view, &reader->sink);
    }
    if (step == BATCH_WHOLE || step == BATCH_VIEW) {
        batch_clear(&reader->batch);
    }
    return rule;
}

void judge_ledger(struct world *world, uint32_t replica, uint32_t ledger) {
    struct reader reader;
    uint32_t count = 0;
    uint32_t *const seen = map_at(&world->ledgers, (uint64_t)ledger + 1);
    if (*seen != WORLD_NONE) {
        return;
    }
    *seen = replica;
    const uint32_t *const entries = store_list(&world->store, ledger, &count);
    reader_init(&reader, world);
    for (uint32_t i = 1; i < count; i++) { /* genesis is where the checker starts */
        enum rule const rule = read_entry(&reader, i, store_bytes(&world->store, entries[i]));
        if (rule != RULE_NONE) {
            world_violation("entry %u of the ledger of replica %u breaks a rule: %s", i, replica,
                            rule_name(rule));
        }
    }
    if (!batch_is_empty(&reader.batch)) {
        world_violation("the ledger of replica %u ends within a batch", replica);
    }
    reader_free(&reader);
}
