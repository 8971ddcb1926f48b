/*
 * replay: see replay.h. The batch tree is built from the outcomes that the ledger states, since
 * that is what was signed; what execution gives is compared apart. So a wrong outcome that was
 * signed convicts, and a ledger that was tampered with afterwards does not. For the same reason a
 * vote closes its batch when its stated outcome says that it passed: what may follow it can then
 * be judged without the state, and an outcome that lies about it is wrong by itself.
 */
#include "execution/replay.h"

#include "base/check.h"
#include "governance/ballot.h"
#include "ledger/derive.h"

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

/*
 * Does the ledger state that this request ended the configuration? A vote is alone in its request,
 * or has another outcome.
 */
static bool states_close(const struct replay_request *in, struct arena *arena) {
    struct span const procedure = in->request.calls[0].procedure;
    struct outcome outcome;
    return in->request.call_count == 1 && span_equal(procedure, span_text(BALLOT_VOTE)) &&
           outcome_decode(&outcome, arena, in->entry.outcomes[0]) == CODEC_OK &&
           ballot_has_passed(procedure, &outcome);
}

void replay_request_prepare(struct replay_request *out, struct arena *arena,
                            const struct digest *service, struct span payload) {
    out->decodes = request_entry_decode(&out->entry, arena, payload) == CODEC_OK &&
                   request_decode(&out->request, arena, service, out->entry.request) == CODEC_OK &&
                   out->request.call_count == out->entry.outcome_count;
    uint32_t const count = out->decodes ? out->request.call_count : 0;
    struct digest *const digests = arena_alloc(arena, (size_t)2 * count * sizeof *digests);
    out->decodes &= digests != NULL;
    for (uint32_t i = 0; out->decodes && i < count; i++) {
        digests[i] = hash_labelled(LABEL_OUTCOME, service, out->entry.outcomes[i]);
        digests[count + i] =
            batch_leaf(&out->request.digest, i, out->entry.first_index + i, &digests[i]);
    }
    out->closes = out->decodes && states_close(out, arena);
    out->decodes &= !arena->exhausted;
    out->outcomes = digests;
    out->leaves = out->decodes ? digests + count : NULL;
}

/* What execution should come to; what does is not hashed a second time. */
static void execute(struct replay *replay, struct engine *engine, const struct digest *service,
                    const struct replay_request *in) {
    replay->execution.expected = (struct execution_expected){
        .count = in->entry.outcome_count, .outcomes = in->entry.outcomes, .digests = in->outcomes};
    engine_execute(engine, &replay->execution, service, &in->request);
    replay->execution.expected = (struct execution_expected){0};
}

/* Execute one request and add it; *wrong is set when an outcome is not what the ledger states. */
static enum rule replay_request(struct replay *replay, struct checker *checker,
                                struct engine *engine, const struct replay_request *in,
                                const struct sign_sink *sink, bool *wrong) {
    if (!in->decodes) {
        return RULE_ENTRY_ENCODING;
    }
    if (in->entry.first_index != checker_next_index(checker)) {
        return RULE_ENTRY_ORDER;
    }
    if (engine != NULL) {
        execute(replay, engine, &checker_configuration(checker)->service, in);
    }
    if (engine != NULL && engine_failed(engine)) {
        return RULE_ENTRY_ENCODING; /* convicts nobody: no outcome was computed to hold against */
    }
    for (uint32_t i = 0; engine != NULL && !*wrong && i < in->request.call_count; i++) {
        if (!digest_equal(&in->outcomes[i], &replay->execution.digests[i])) {
            *wrong = true;
            replay->wrong_index = in->entry.first_index + i;
        }
    }
    checker_batch_add_leaves(checker, &in->request, in->leaves, sink);
    if (in->closes) {
        checker_batch_close(checker);
    }
    return RULE_NONE;
}

/* The nth request of a batch, from the source if there is one; else `own` is filled in. */
static const struct replay_request *next_request(struct replay *replay, struct replay_request *own,
                                                 const struct digest *service,
                                                 const struct batch *batch, uint32_t nth) {
    if (replay->source.next != NULL) {
        return replay->source.next(replay->source.context);
    }
    arena_reset(&replay->arena);
    replay_request_prepare(own, &replay->arena, service, batch_request_payload(batch, nth));
    return own;
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
    if (engine != NULL) {
        engine_batch_begin(engine);
    }
    for (uint32_t i = 0; rule == RULE_NONE && i < batch->request_count; i++) {
        struct replay_request own;
        const struct replay_request *const request =
            next_request(replay, &own, &checker_configuration(checker)->service, batch, i);
        rule = replay_request(replay, checker, engine, request, sink, &wrong);
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
