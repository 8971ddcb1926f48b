/*
 * calls: for tests of execution: an engine, and calls written as text, such as "kv.put a 1", whose
 * outcomes are decoded and compared. A failed expectation ends the test.
 */
#ifndef ONUS_TESTS_UNIT_CALLS_H
#define ONUS_TESTS_UNIT_CALLS_H

#include "base/arena.h"
#include "execution/engine.h"

/* The service id under which all calls are executed. */
extern const struct digest calls_service;

struct bench {
    struct engine *engine;
    struct execution execution;
    struct arena arena;
};

void bench_init(struct bench *bench, const struct state_base *base);
/* Expects that the engine did not fail. */
void bench_free(struct bench *bench);

/* Split at spaces; "~" stands for the empty argument. The call borrows text. */
void call_from_text(struct call *call, const char *text);
void execute_calls(struct bench *bench, enum request_mode mode, uint32_t count, struct call *calls);
/* Decode outcome `at` of the last request and check what must hold for every outcome. */
struct outcome outcome_at(struct bench *bench, uint32_t at);
/* The reply with its items joined by spaces. */
void reply_join(const struct outcome *outcome, char *text, size_t size);

void expect_outcome(struct bench *bench, uint32_t at, enum outcome_status status,
                    const char *reply);
/* Run one call and compare its outcome. */
void expect_ok(struct bench *bench, const char *text, const char *reply);
/* And that it left no writes. */
void expect_refused(struct bench *bench, const char *text, const char *reply);
void expect_invalid(struct bench *bench, const char *text, const char *reply);

#endif
