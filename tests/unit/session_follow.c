/*
 * session_follow: a client's session among replicas that go over to another configuration: when it
 * asks for links of the governance chain and whom, what a liar can make it do, and what becomes of
 * requests that are in flight.
 */
#include <criterion/criterion.h>

#include "tests/unit/session_world.h"

TestSuite(follow, .init = setup, .fini = teardown);
TestSuite(follow_one, .init = begin_with_one, .fini = end_with_one);

Test(follow, a_status_of_a_later_configuration_makes_it_ask) {
    status_of(2, 1, 2, 50);
    cr_assert_eq(chain_queries(), 0);
    status_of(2, 3, 0, 50);
    cr_assert_eq(world.sent[2][MESSAGE_CHAIN_QUERY], 1, "who speaks of it is asked");
    cr_assert_eq(world.asked_config, 1);
    cr_assert(session_is_following(world.session));
    status_of(1, 3, 1, 50);
    cr_assert_eq(chain_queries(), 1, "one query at a time");
    links(2, 3, 2, 2);
    cr_assert_eq(world.configured, 3);
    cr_assert_eq(chain_queries(), 1);
    cr_assert(session_is_following(world.session), "until the driver moves it on");
    cr_assert_eq(world.distrusted, 0, "another number in another configuration is no lie");
}

Test(follow, links_that_do_not_fit_one_message_are_asked_for) {
    status_of(3, 6, 3, 50);
    links(3, 6, 2, 2);
    cr_assert_eq(world.configured, 0);
    cr_assert_eq(world.sent[3][MESSAGE_CHAIN_QUERY], 2);
    cr_assert_eq(world.asked_config, 3);
    links(3, 6, 4, 3);
    cr_assert_eq(world.configured, 6);
}

Test(follow, what_is_there_is_used_when_the_rest_does_not_come) {
    status_of(3, 6, 3, 50);
    links(3, 6, 2, 2);
    for (uint32_t r = 0; r < N; r++) {
        pass_time(SESSION_CHAIN_TIMEOUT_MS);
    }
    cr_assert_eq(world.configured, 3);
}

Test(follow, replicas_are_asked_in_turn) {
    status_of(1, 2, 1, 50);
    pass_time(SESSION_CHAIN_TIMEOUT_MS - 1);
    cr_assert_eq(chain_queries(), 1);
    pass_time(1);
    cr_assert_eq(world.sent[2][MESSAGE_CHAIN_QUERY], 1, "who does not answer has had its turn");
    links(1, 2, 2, 1);
    cr_assert_eq(world.configured, 0, "an answer that is too late is not looked at");
    links(2, 1, 2, 0);
    cr_assert_eq(world.sent[3][MESSAGE_CHAIN_QUERY], 1, "so has who has none");
    session_on_link(world.session, 3, false, world.now_ms);
    cr_assert_eq(world.sent[0][MESSAGE_CHAIN_QUERY], 1, "and who went away");
    links(0, 2, 2, 1);
    cr_assert_eq(world.configured, 2);
}

Test(follow, who_sends_a_bad_link_is_not_asked_again) {
    status_of(1, 2, 1, 50);
    links(1, 2, 0, 1);
    cr_assert_eq(world.distrusted, 1u << 1);
    cr_assert_eq(world.configured, 0);
    cr_assert_eq(world.sent[2][MESSAGE_CHAIN_QUERY], 1, "the next one is, at once");
    links(2, 2, 2, 1);
    cr_assert_eq(world.configured, 2);
}

/* A liar alone: as many queries as there are replicas, ever less often. */
Test(follow, a_claim_costs_a_few_queries) {
    uint64_t const start_ms = world.now_ms;
    uint32_t before = 0;
    while (world.now_ms < start_ms + 60000) {
        status_of(3, 99, 3, 50);
        for (uint32_t r = 0; r < N; r++) {
            links(r, 1, 2, 0); /* of these only one was asked */
        }
        cr_assert_leq(chain_queries() - before, N);
        before = chain_queries();
        pass_time(10);
    }
    cr_assert_leq(chain_queries(), 14 * N);
    cr_assert_eq(world.configured, 0);
    cr_assert_not(session_is_following(world.session));
}

Test(follow, nobody_pushes_it_on_alone) {
    uint64_t index = 0;
    status_of(3, 2, 3, 1u << 30);
    status_of(0, 1, 0, 50);
    cr_assert_not(session_next_index(world.session, 2, &index), "who is elsewhere does not count");
    status_of(1, 1, 1, 60);
    cr_assert(session_next_index(world.session, 2, &index));
    cr_assert_eq(index, 50);
}

Test(follow_one, a_result_of_a_later_configuration_makes_it_ask) {
    struct test_request *const requests[] = {&one};
    struct test_batch later;
    reform(false);
    batch_make(&later, 9, 80, requests, 1);
    for (uint32_t r = 0; r < 3; r++) {
        reply(&later, r);
    }
    result(&later, PRIMARY);
    cr_assert_eq(world.receipted, 0);
    cr_assert_eq(world.sent[PRIMARY][MESSAGE_CHAIN_QUERY], 1);
    links(PRIMARY, 2, 2, 1);
    cr_assert_eq(world.configured, 2);
    cr_assert_eq(world.distrusted, 0);
    batch_free(&later);
}

Test(follow_one, a_receipt_of_a_later_configuration_makes_it_ask) {
    struct test_request *const requests[] = {&one};
    struct test_batch later;
    reform(false);
    batch_make(&later, 9, 80, requests, 1);
    receipt(&later, 0, 2);
    cr_assert_eq(world.receipted, 0);
    cr_assert_eq(world.distrusted, 0);
    cr_assert_eq(world.sent[2][MESSAGE_CHAIN_QUERY], 1);
    batch_free(&later);
}

Test(follow_one, goes_on_with_the_new_replicas) {
    struct test_request *const requests[] = {&one};
    struct test_batch later;
    reform(true);
    cr_assert_eq(session_in_flight(world.session), 1);
    for (uint32_t r = 0; r < N; r++) {
        cr_assert_eq(world.sent[r][MESSAGE_REQUEST], 2, "the new ones get it too");
    }
    batch_make(&later, 9, 80, requests, 1);
    result(&later, 1);
    reply(&later, 0);
    reply(&later, 3);
    reply(&later, 1);
    cr_assert_eq(world.receipted, 1);
    cr_assert_eq(world.last_index, 80);
    batch_free(&later);
}

/* It was executed in configuration 1, and nothing of that had come. */
Test(follow_one, a_receipt_of_the_former_configuration_is_good) {
    reform(true);
    result(&batch, 1);
    for (uint32_t r = 0; r < 3; r++) {
        reply(&batch, r);
    }
    cr_assert_eq(world.receipted, 0, "who replies under which number is not known any more");
    cr_assert_eq(world.distrusted, 0);
    receipt(&batch, 0, 2);
    cr_assert_eq(world.receipted, 1);
    cr_assert_eq(world.valid_receipts, 1);
    cr_assert_eq(world.last_index, 40);
}

Test(follow_one, a_false_receipt_of_the_former_configuration_convicts_its_sender) {
    struct test_batch lie = batch;
    lie.votes[1].bytes[40] ^= 1;
    reform(true);
    receipt(&lie, 0, 3);
    cr_assert_eq(world.receipted, 0);
    cr_assert_eq(world.distrusted, 1u << 3);
    world.former.number = 0;
    receipt(&batch, 0, 2);
    cr_assert_eq(world.receipted, 0, "what is not known judges nothing");
    cr_assert_eq(world.distrusted, 1u << 3, "and convicts nobody");
}

/* Half of an answer from before, half from after, make no whole. */
Test(follow_one, what_the_former_replicas_said_is_forgotten) {
    struct test_request *const requests[] = {&one};
    struct test_batch later;
    reject(&one, 3, REJECT_SIGNATURE);
    reject(&one, 2, REJECT_EXPIRED);
    reform(false);
    batch_make(&later, 9, 80, requests, 1);
    reply(&later, 0);
    reply(&later, 1);
    cr_assert(session_reconfigure(world.session, &configuration, world.now_ms));
    cr_assert_null(session_status(world.session, 0));
    for (uint32_t r = 0; r < N; r++) {
        session_on_link(world.session, r, true, world.now_ms);
    }
    reject(&one, 1, REJECT_SIGNATURE);
    reject(&one, 1, REJECT_EXPIRED);
    cr_assert_eq(world.rejected, 0);
    result(&later, 1);
    reply(&later, 3);
    cr_assert_eq(world.receipted, 0);
    reply(&later, 0);
    reply(&later, 1);
    cr_assert_eq(world.receipted, 1);
    batch_free(&later);
}

/* Its author is gone, but it was executed when there was one. */
Test(follow_one, a_removed_author_gets_the_receipt_all_the_same) {
    reform(false);
    configuration.author_count = 0;
    cr_assert(session_reconfigure(world.session, &configuration, world.now_ms));
    for (uint32_t r = 0; r < N; r++) {
        session_on_link(world.session, r, true, world.now_ms);
    }
    reject(&one, 1, REJECT_AUTHOR);
    cr_assert_eq(world.sent[2][MESSAGE_RECEIPT_QUERY], 0);
    reject(&one, 3, REJECT_AUTHOR);
    cr_assert_eq(world.rejected, 0);
    cr_assert_eq(world.sent[2][MESSAGE_RECEIPT_QUERY], 1, "everybody is asked");
    receipt(&batch, 0, 2);
    cr_assert_eq(world.receipted, 1);
}

Test(follow_one, a_removed_author_is_rejected_when_nobody_has_a_receipt) {
    reform(false);
    configuration.author_count = 0;
    cr_assert(session_reconfigure(world.session, &configuration, world.now_ms));
    for (uint32_t r = 0; r < 2; r++) {
        session_on_link(world.session, r, true, world.now_ms);
        reject(&one, r, REJECT_AUTHOR);
    }
    reject(&one, 0, REJECT_UNKNOWN);
    cr_assert_eq(world.rejected, 0);
    reject(&one, 1, REJECT_UNKNOWN);
    cr_assert_eq(world.rejected, 1);
    cr_assert_eq(world.reason, REJECT_AUTHOR);
}
