/*
 * calls: see calls.h.
 */
#include "tests/unit/calls.h"

#include <criterion/criterion.h>
#include <stdio.h>

const struct digest calls_service = {{7}};

void bench_init(struct bench *bench, const struct state_base *base) {
    bench->engine = engine_new(base);
    cr_assert(bench->engine != NULL);
    execution_init(&bench->execution);
    arena_init(&bench->arena, 1u << 22);
}

void bench_free(struct bench *bench) {
    cr_assert(!engine_failed(bench->engine));
    engine_free(bench->engine);
    execution_free(&bench->execution);
    arena_free(&bench->arena);
}

/* Split at spaces; "~" stands for the empty argument. */
void call_from_text(struct call *call, const char *text) {
    *call = (struct call){.argument_count = 0};
    for (uint32_t part = 0; *text != '\0'; part++) {
        size_t const size = strcspn(text, " ");
        struct span const word = *text == '~' ? span_of(NULL, 0) : span_of(text, size);
        if (part == 0) {
            call->procedure = word;
        } else {
            call->arguments[call->argument_count++] = word;
        }
        text += size + (text[size] == ' ');
    }
}

void execute_calls(struct bench *bench, enum request_mode mode, uint32_t count,
                   struct call *calls) {
    struct request const request = {.mode = mode, .call_count = count, .calls = calls};
    engine_execute(bench->engine, &bench->execution, &calls_service, &request);
    cr_assert(bench->execution.count == count);
}

/* Decode outcome `at` and check what must hold for every outcome. */
struct outcome outcome_at(struct bench *bench, uint32_t at) {
    struct outcome outcome;
    arena_reset(&bench->arena);
    cr_assert(outcome_decode(&outcome, &bench->arena, bench->execution.outcomes[at]) == CODEC_OK);
    cr_assert(outcome.status == bench->execution.statuses[at]);
    struct digest const digest =
        hash_labelled(LABEL_OUTCOME, &calls_service, bench->execution.outcomes[at]);
    cr_assert(digest_equal(&digest, &bench->execution.digests[at]));
    return outcome;
}

/* The reply with its items joined by spaces. */
void reply_join(const struct outcome *outcome, char *text, size_t size) {
    size_t at = 0;
    text[0] = '\0';
    for (uint32_t i = 0; i < outcome->reply_count; i++) {
        struct span const item = outcome->reply[i];
        at += (size_t)snprintf(text + at, size - at, "%s%.*s", i == 0 ? "" : " ", (int)item.size,
                               item.size == 0 ? "" : (const char *)item.data);
    }
}

void expect_outcome(struct bench *bench, uint32_t at, enum outcome_status status,
                    const char *reply) {
    char text[4096];
    struct outcome const outcome = outcome_at(bench, at);
    reply_join(&outcome, text, sizeof text);
    cr_assert(outcome.status == status && strcmp(text, reply) == 0, "got %d [%s], not %d [%s]",
              (int)outcome.status, text, (int)status, reply);
}

/* Run one call and compare its outcome. */
static void expect(struct bench *bench, const char *text, enum outcome_status status,
                   const char *reply) {
    struct call call;
    call_from_text(&call, text);
    execute_calls(bench, REQUEST_INDEPENDENT, 1, &call);
    expect_outcome(bench, 0, status, reply);
}

void expect_ok(struct bench *bench, const char *text, const char *reply) {
    expect(bench, text, OUTCOME_OK, reply);
}

void expect_refused(struct bench *bench, const char *text, const char *reply) {
    uint64_t const mark = engine_mark(bench->engine);
    expect(bench, text, OUTCOME_REFUSED, reply);
    cr_assert(engine_mark(bench->engine) == mark);
}

void expect_invalid(struct bench *bench, const char *text, const char *reply) {
    uint64_t const mark = engine_mark(bench->engine);
    expect(bench, text, OUTCOME_INVALID, reply);
    cr_assert(engine_mark(bench->engine) == mark);
}
