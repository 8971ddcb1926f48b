/*
 * govern_read: tests of gov.open and gov.proposal as procedures: who may call them, beside what,
 * and that they cost no member anything and write nothing.
 */
#include <criterion/criterion.h>
#include <stdio.h>

#include "governance/ballot.h"
#include "tests/forge/charter.h"
#include "tests/unit/calls.h"

static struct consortium consortium;
static struct charter charter;
static struct bench bench;

static void set_up(void) {
    consortium_found(&consortium, &(struct consortium_options){.replica_count = 4});
    charter_found(&charter, &consortium);
    bench_init(&bench, NULL);
}

static void tear_down(void) {
    bench_free(&bench);
    charter_free(&charter);
    consortium_free(&consortium);
}

TestSuite(govern_read, .init = set_up, .fini = tear_down, .timeout = 170);

static void execute_as(const struct public_key *author, uint32_t count, struct call *calls) {
    struct request const request = {
        .author = *author, .mode = REQUEST_INDEPENDENT, .call_count = count, .calls = calls};
    engine_execute(bench.engine, &bench.execution, &calls_service, &request);
    cr_assert_eq(bench.execution.count, count);
}

/* Let a member propose to remove a user. Out: the id. */
static struct span propose(char id[static 2 * DIGEST_SIZE + 1]) {
    struct action const action = charter_without(ACTION_REMOVE_USER, "alice");
    struct span const bytes = charter_propose(&charter, 1, &action);
    struct proposal decoded;
    struct call call = {.procedure = span_text("gov.propose"), .argument_count = 1};
    charter_decode(&charter, &decoded, bytes);
    ballot_digest_write(id, &decoded.id);
    call.arguments[0] = bytes;
    execute_as(&consortium.members[2].key, 1, &call);
    expect_outcome(&bench, 0, OUTCOME_OK, id);
    return bytes;
}

Test(govern_read, unknown_until_governance_is_on) {
    expect_invalid(&bench, "gov.open", "unknown procedure");
    expect_invalid(&bench, "gov.proposal a", "unknown procedure");
    engine_govern(bench.engine, &charter.now);
    expect_ok(&bench, "gov.open", "1 1");
    expect_invalid(&bench, "gov.open a", "wrong argument count");
    expect_invalid(&bench, "gov.proposal a", "not the id of a proposal");
}

Test(govern_read, a_user_reads_beside_other_calls) {
    char id[2 * DIGEST_SIZE + 1];
    char open[256];
    struct call calls[4];
    char proposal_call[128];
    engine_govern(bench.engine, &charter.now);
    struct span const bytes = propose(id);
    (void)snprintf(open, sizeof open, "1 1 %s 02 0000000000000000 0000000000000000", id);
    (void)snprintf(proposal_call, sizeof proposal_call, "gov.proposal %s", id);
    call_from_text(&calls[0], "kv.put a 1");
    call_from_text(&calls[1], "gov.open");
    call_from_text(&calls[2], proposal_call);
    call_from_text(&calls[3], "gov.open");
    uint64_t const mark = engine_mark(bench.engine);
    execute_as(&consortium.users[0].key, 4, calls);
    cr_assert_eq(engine_mark(bench.engine), mark + 1, "only kv.put writes");
    expect_outcome(&bench, 1, OUTCOME_OK, open);
    expect_outcome(&bench, 3, OUTCOME_OK, open);
    struct outcome const outcome = outcome_at(&bench, 2);
    cr_assert_eq(outcome.status, OUTCOME_OK);
    cr_assert_eq(outcome.reply_count, 2);
    cr_assert(span_equal(outcome.reply[0], bytes));
    cr_assert(span_equal(outcome.reply[1], span_text(open + 4)));
}

Test(govern_read, reading_takes_nothing_from_a_member_s_budget) {
    char id[2 * DIGEST_SIZE + 1];
    struct call call;
    engine_govern(bench.engine, &charter.now);
    (void)propose(id); /* and nothing but one vote is left in this batch */
    call_from_text(&call, "gov.open");
    for (uint32_t i = 0; i < 2 * GOVERN_COST_MAX; i++) {
        execute_as(&consortium.members[2].key, 1, &call);
        cr_assert_eq(outcome_at(&bench, 0).status, OUTCOME_OK);
    }
    struct call vote = {.procedure = span_text("gov.vote"), .argument_count = 2};
    vote.arguments[0] = span_text(id);
    vote.arguments[1] = span_text("yes");
    execute_as(&consortium.members[2].key, 1, &vote);
    expect_outcome(&bench, 0, OUTCOME_OK, "open 1 0");
    execute_as(&consortium.members[2].key, 1, &vote);
    cr_assert_eq(outcome_at(&bench, 0).status, OUTCOME_REFUSED);
    execute_as(&consortium.members[2].key, 1, &call);
    cr_assert_eq(outcome_at(&bench, 0).status, OUTCOME_OK, "who has none left reads all the same");
}
