/*
 * replay: see replay.h. The batch tree is built from the outcomes that the ledger states, since
 * that is what was signed; what execution gives is compared apart. So a wrong outcome that was
 * signed convicts, and a ledger that was tampered with afterwards does not.
 */
#include "execution/replay.h"

#include "base/check.h"

static bool sink_trust(void *context, const struct sign_check *check, enum rule rule) {
    (void)context;
    (void)check;
    (void)rule;
    return true;
}

const struct sign_sink sign_sink_trust = {.check = sink_trust};

void replay_init(struct replay *replay) {
    *replay = (struct replay){0};
    execution_init(&replay->execution);
    arena_init(&replay->arena, 2 * (size_t)ENTRY_SIZE_MAX);
}

void replay_free(struct replay *replay) {
    execution_free(&replay->execution);
    arena_free(&replay->arena);
}

/* Execute one request and add it; *wrong is set when an outcome is not what the ledger states. */
static enum rule replay_request(struct replay *replay, struct checker *checker,
                                struct engine *engine, struct span payload,
                                const struct sign_sink *sink, bool *wrong) {
    const struct digest *const service = &checker_configuration(checker)->service;
    struct request_entry entry;
    struct request request;
    arena_reset(&replay->arena);
    if (request_entry_decode(&entry, &replay->arena, payload) != CODEC_OK ||
        request_decode(&request, &replay->arena, service, entry.request) != CODEC_OK ||
        request.call_count != entry.outcome_count) {
        return RULE_ENTRY_ENCODING;
    }
    if (entry.first_index != checker_next_index(checker)) {
        return RULE_ENTRY_ORDER;
    }
    if (engine != NULL) {
        engine_execute(engine, &replay->execution, service, &request);
    }
    if (engine != NULL && engine_failed(engine)) {
        return RULE_ENTRY_ENCODING; /* convicts nobody: no outcome was computed to hold against */
    }
    struct digest stated[CALLS_MAX];
    for (uint32_t i = 0; i < request.call_count; i++) {
        stated[i] = hash_labelled(LABEL_OUTCOME, service, entry.outcomes[i]);
        if (engine != NULL && !*wrong && !digest_equal(&stated[i], &replay->execution.digests[i])) {
            *wrong = true;
            replay->wrong_index = entry.first_index + i;
        }
    }
    checker_batch_add(checker, &request, stated, sink);
    return RULE_NONE;
}

static void undo(struct engine *engine, uint64_t mark) {
    if (engine != NULL) {
        engine_rollback(engine, mark);
    }
}

enum rule replay_batch(struct replay *replay, struct checker *checker, struct engine *engine,
                       const struct batch *batch, const struct sign_sink *sink) {
    uint64_t const mark = engine == NULL ? 0 : engine_mark(engine);
    uint64_t const seq_before = checker_position(checker)->seq;
    bool wrong = false;
    enum rule rule = RULE_NONE;
    checker_batch_begin_stated(checker, batch->pre_prepare.first_index);
    for (uint32_t i = 0; rule == RULE_NONE && i < batch->request_count; i++) {
        rule =
            replay_request(replay, checker, engine, batch_request_payload(batch, i), sink, &wrong);
    }
    if (rule != RULE_NONE) {
        checker_batch_abandon(checker);
        undo(engine, mark);
        return rule;
    }
    rule = checker_batch_seal(checker, &batch->seal, sink);
    if (rule == RULE_NONE && wrong) {
        checker_rollback(checker, seq_before);
        rule = RULE_OUTCOME;
    }
    if (rule != RULE_NONE) {
        undo(engine, mark);
    }
    return rule;
}
