/*
 * session: a client's session against scripted replicas: answers in any order, lost, late, twice,
 * and lies. A script makes real batches with real keys, so that what the session reports can be
 * held against the project's verifier.
 */
#include <criterion/criterion.h>

#include "tests/unit/session_world.h"

TestSuite(session, .init = setup, .fini = teardown);
TestSuite(one, .init = begin_with_one, .fini = end_with_one);

/* ---- the normal case ------------------------------------------------------------------------- */

Test(one, is_sent_to_all_and_receipted_once) {
    for (uint32_t r = 0; r < N; r++) {
        cr_assert_eq(world.sent[r][MESSAGE_REQUEST], 1);
    }
    for (uint32_t r = 0; r < N; r++) {
        reply(&batch, r);
    }
    cr_assert_eq(world.receipted, 0, "without a result there is nothing to report");
    result(&batch, 1);
    cr_assert_eq(world.receipted, 1);
    cr_assert_eq(world.valid_receipts, 1);
    cr_assert_eq(world.last_tag, &one);
    cr_assert_eq(world.last_index, 40);
    cr_assert_eq(session_in_flight(world.session), 0);
    result(&batch, 2);
    reply(&batch, 3);
    receipt(&batch, 0, 2);
    cr_assert_eq(world.receipted, 1, "what comes twice counts once");
    cr_assert_eq(session_verified_count(world.session), 1);
    cr_assert_eq(world.distrusted, 0);
}

Test(one, any_order_of_a_quorum_will_do) {
    result(&batch, 3);
    reply(&batch, 3);
    reply(&batch, 2);
    cr_assert_eq(world.receipted, 0);
    reply(&batch, PRIMARY);
    cr_assert_eq(world.receipted, 1);
}

Test(one, a_quorum_without_the_primary_is_none) {
    result(&batch, 3);
    reply(&batch, 1);
    reply(&batch, 2);
    reply(&batch, 3);
    cr_assert_eq(world.receipted, 0);
    cr_assert_eq(session_verified_count(world.session), 0);
}

Test(one, too_few_replies_are_not_enough) {
    result(&batch, 3);
    reply(&batch, PRIMARY);
    reply(&batch, 3);
    reply(&batch, 3);
    reply(&batch, PRIMARY);
    cr_assert_eq(world.receipted, 0, "the same replica again is not another one");
}

Test(session, a_batch_is_verified_once_for_all_its_requests) {
    struct test_request requests[3];
    struct test_request *const pointers[] = {&requests[0], &requests[1], &requests[2]};
    struct test_batch shared;
    uint32_t const calls[] = {1, 64, 7};
    for (uint32_t i = 0; i < 3; i++) {
        request_make(&requests[i], calls[i], (uint8_t)(i + 1));
        cr_assert_eq(submit(&requests[i]), SESSION_SUBMITTED);
    }
    batch_make(&shared, 9, 100, pointers, 3);
    result(&shared, 2);
    for (uint32_t r = 0; r < N; r++) {
        reply(&shared, r);
    }
    cr_assert_eq(world.receipted, 3);
    cr_assert_eq(world.valid_receipts, 72);
    cr_assert_eq(session_verified_count(world.session), 1);
    for (uint32_t i = 0; i < 3; i++) {
        request_free(&requests[i]);
    }
    batch_free(&shared);
}

/* ---- what gets lost -------------------------------------------------------------------------- */

Test(one, is_sent_again_unchanged_and_asked_for) {
    struct buffer first;
    buffer_init(&first, REQUEST_SIZE_MAX);
    cr_assert(buffer_append(&first, world.last_request[1]));
    pass_time(SESSION_RETRY_MS_MIN - 1);
    cr_assert_eq(world.sent[1][MESSAGE_REQUEST], 1);
    pass_time(1);
    uint32_t asked = 0;
    for (uint32_t r = 0; r < N; r++) {
        cr_assert_eq(world.sent[r][MESSAGE_REQUEST], 2);
        cr_assert(span_equal(world.last_request[r], buffer_span(&first)), "the very same bytes");
        asked += world.sent[r][MESSAGE_RECEIPT_QUERY];
    }
    cr_assert_eq(asked, 1, "one replica is asked for a receipt");
    pass_time(2 * SESSION_RETRY_MS_MIN);
    pass_time(4 * SESSION_RETRY_MS_MIN);
    pass_time(8 * SESSION_RETRY_MS_MIN);
    for (uint32_t r = 0; r < N; r++) {
        cr_assert_eq(world.sent[r][MESSAGE_REQUEST], 5);
        cr_assert_eq(world.sent[r][MESSAGE_RECEIPT_QUERY], 1, "each in its turn");
    }
    buffer_free(&first);
}

Test(one, a_receipt_from_the_ledger_is_as_good) {
    reply(&batch, PRIMARY); /* all else is lost */
    pass_time(SESSION_RETRY_MS_MIN);
    receipt(&batch, 0, 3);
    cr_assert_eq(world.receipted, 1);
    cr_assert_eq(world.valid_receipts, 1);
    receipt(&batch, 0, 2);
    result(&batch, 1);
    for (uint32_t r = 0; r < N; r++) {
        reply(&batch, r);
    }
    cr_assert_eq(world.receipted, 1, "one execution, one report");
}

Test(session, nobody_to_reach_at_first) {
    struct test_request late;
    for (uint32_t r = 0; r < N; r++) {
        session_on_link(world.session, r, false, world.now_ms);
    }
    request_make(&late, 1, 9);
    cr_assert_eq(submit(&late), SESSION_SUBMITTED);
    cr_assert_eq(world.sent[2][MESSAGE_REQUEST], 0);
    pass_time(10000);
    cr_assert_eq(world.sent[2][MESSAGE_REQUEST], 0);
    session_on_link(world.session, 2, true, world.now_ms);
    cr_assert_eq(world.sent[2][MESSAGE_REQUEST], 1, "sent as soon as the link is up");
    session_on_link(world.session, 2, false, world.now_ms);
    session_on_link(world.session, 2, true, world.now_ms);
    cr_assert_eq(world.sent[2][MESSAGE_REQUEST], 2, "what the old link took may be lost");
    request_free(&late);
}

Test(one, the_deadline_is_when_something_is_due) {
    cr_assert_eq(session_deadline(world.session), 1000 + SESSION_RETRY_MS_MIN);
    pass_time(SESSION_RETRY_MS_MIN);
    cr_assert_eq(session_deadline(world.session),
                 world.now_ms + 2 * (uint64_t)SESSION_RETRY_MS_MIN);
    session_cancel(world.session, &one.request.id);
    pass_time(60000);
    cr_assert_eq(session_deadline(world.session), UINT64_MAX);
}

/* ---- rejections ------------------------------------------------------------------------------ */

Test(one, a_busy_replica_is_tried_again_alone) {
    reject(&one, 2, REJECT_BUSY);
    pass_time(SESSION_BUSY_MS_MIN);
    cr_assert_eq(world.sent[2][MESSAGE_REQUEST], 2);
    cr_assert_eq(world.sent[1][MESSAGE_REQUEST], 1);
    reject(&one, 2, REJECT_BUSY);
    pass_time(SESSION_BUSY_MS_MIN);
    cr_assert_eq(world.sent[2][MESSAGE_REQUEST], 2, "with more patience each time");
    pass_time(SESSION_BUSY_MS_MIN);
    cr_assert_eq(world.sent[2][MESSAGE_REQUEST], 3);
    cr_assert_eq(world.rejected, 0);
}

Test(one, one_replica_alone_rejects_nothing) {
    reject(&one, 3, REJECT_AUTHOR);
    reject(&one, 3, REJECT_SIGNATURE);
    reject(&one, 3, REJECT_MALFORMED);
    reject(&one, 3, REJECT_EXPIRED);
    reject(&one, 3, REJECT_UNKNOWN);
    cr_assert_eq(world.rejected, 0);
    result(&batch, 1);
    reply(&batch, 0);
    reply(&batch, 1);
    reply(&batch, 2);
    cr_assert_eq(world.receipted, 1);
}

Test(one, two_of_four_reject_for_good) {
    reject(&one, 3, REJECT_SIGNATURE);
    reject(&one, 1, REJECT_SIGNATURE);
    cr_assert_eq(world.rejected, 1);
    cr_assert_eq(world.reason, REJECT_SIGNATURE);
    cr_assert_eq(session_in_flight(world.session), 0);
}

/* It is one by the configuration that we know: the replicas know an earlier or later one. */
Test(one, who_does_not_know_a_known_author_is_tried_again) {
    for (uint32_t r = 0; r < N; r++) {
        reject(&one, r, REJECT_AUTHOR);
        reject(&one, r, REJECT_UNKNOWN);
    }
    cr_assert_eq(world.rejected, 0);
    pass_time(SESSION_BUSY_MS_MIN);
    for (uint32_t r = 0; r < N; r++) {
        cr_assert_eq(world.sent[r][MESSAGE_REQUEST], 2);
    }
}

Test(one, expired_only_when_nobody_has_a_receipt) {
    reject(&one, 3, REJECT_UNKNOWN); /* said before anybody was asked: does not count */
    reject(&one, 3, REJECT_EXPIRED);
    reject(&one, 1, REJECT_EXPIRED);
    cr_assert_eq(world.rejected, 0);
    for (uint32_t r = 0; r < N; r++) {
        cr_assert_eq(world.sent[r][MESSAGE_RECEIPT_QUERY], 1, "everybody is asked");
    }
    reject(&one, 1, REJECT_UNKNOWN);
    cr_assert_eq(world.rejected, 0);
    reject(&one, 1, REJECT_UNKNOWN);
    cr_assert_eq(world.rejected, 0, "the same one again");
    reject(&one, 2, REJECT_UNKNOWN);
    cr_assert_eq(world.rejected, 1);
    cr_assert_eq(world.reason, REJECT_EXPIRED);
}

Test(one, executed_in_time_though_its_window_has_passed) {
    reject(&one, 3, REJECT_EXPIRED);
    reject(&one, 1, REJECT_EXPIRED);
    reject(&one, 3, REJECT_UNKNOWN);
    receipt(&batch, 0, 2);
    cr_assert_eq(world.receipted, 1);
    cr_assert_eq(world.rejected, 0);
}

/* ---- liars ----------------------------------------------------------------------------------- */

Test(one, a_false_signature_does_not_prevent_success) {
    batch.votes[1].bytes[3] ^= 1;
    result(&batch, 2);
    reply(&batch, PRIMARY);
    reply(&batch, 1);
    reply(&batch, 2);
    cr_assert_eq(world.receipted, 0);
    cr_assert_eq(world.distrusted, 1u << 1, "only the liar is caught");
    reply(&batch, 3);
    cr_assert_eq(world.receipted, 1);
    cr_assert_eq(world.valid_receipts, 1);
}

Test(one, a_false_nonce_does_not_prevent_success) {
    batch.nonces[2].bytes[0] ^= 1;
    result(&batch, 3);
    reply(&batch, 2);
    reply(&batch, PRIMARY);
    reply(&batch, 1);
    cr_assert_eq(world.receipted, 0);
    cr_assert_eq(world.distrusted, 1u << 2);
    reply(&batch, 3);
    cr_assert_eq(world.receipted, 1);
}

Test(one, the_primary_may_take_back_a_false_nonce_over_a_new_link) {
    struct nonce const right = batch.nonces[PRIMARY];
    batch.nonces[PRIMARY].bytes[0] ^= 1;
    result(&batch, 3);
    for (uint32_t r = 0; r < N; r++) {
        reply(&batch, r);
    }
    cr_assert_eq(world.receipted, 0);
    cr_assert_eq(world.distrusted, 1u << PRIMARY);
    batch.nonces[PRIMARY] = right;
    reply(&batch, PRIMARY);
    cr_assert_eq(world.receipted, 0, "it is not listened to");
    session_on_link(world.session, PRIMARY, false, world.now_ms);
    session_on_link(world.session, PRIMARY, true, world.now_ms);
    reply(&batch, PRIMARY);
    cr_assert_eq(world.receipted, 1);
}

/* A result that says something else than the batch: with the batch's own pre-prepare. */
Test(one, a_false_outcome_is_not_believed) {
    struct test_batch lie = batch;
    struct buffer other;
    struct span outcomes[1];
    struct outcome const refused = {.status = OUTCOME_REFUSED};
    buffer_init(&other, OUTCOME_SIZE_MAX);
    cr_assert(outcome_encode(&other, &refused));
    outcomes[0] = buffer_span(&other);
    lie.results[0].outcomes = outcomes;
    for (uint32_t r = 0; r < 3; r++) {
        reply(&batch, r);
    }
    result(&lie, 3);
    cr_assert_eq(world.receipted, 0);
    cr_assert_eq(world.distrusted, 1u << 3);
    result(&batch, 1);
    cr_assert_eq(world.receipted, 1);
    buffer_free(&other);
}

/* A result of another batch at the same place, which nobody has voted for. */
Test(one, a_forged_batch_stays_without_votes) {
    struct test_request *const requests[] = {&one};
    struct test_batch forged;
    batch_make(&forged, 5, 77, requests, 1);
    result(&forged, 3);
    result(&batch, 2);
    for (uint32_t r = 0; r < 3; r++) {
        reply(&batch, r);
    }
    cr_assert_eq(world.receipted, 1);
    cr_assert_eq(world.last_index, 40);
    batch_free(&forged);
}

Test(one, a_false_receipt_convicts_its_sender_only) {
    struct test_batch lie = batch;
    lie.votes[1].bytes[40] ^= 1;
    receipt(&lie, 0, 3);
    cr_assert_eq(world.receipted, 0);
    cr_assert_eq(world.distrusted, 1u << 3);
    lie = batch;
    lie.results[0].first_index = 41;
    receipt(&lie, 0, 2);
    cr_assert_eq(world.receipted, 0);
    receipt(&batch, 0, 1);
    cr_assert_eq(world.receipted, 1);
}

/* It may be its number in another configuration. */
Test(one, a_reply_in_somebody_elses_name_does_not_count) {
    struct buffer payload;
    struct reply_message const message = {.seq = 5,
                                          .replica = 2,
                                          .pre_prepare_digest = batch.digest,
                                          .signature = batch.votes[2],
                                          .nonce = batch.nonces[2]};
    buffer_init(&payload, FRAME_SIZE_MAX);
    cr_assert(reply_message_encode(&payload, &message));
    result(&batch, 3);
    reply(&batch, PRIMARY);
    deliver(3, MESSAGE_REPLY, &payload);
    reply(&batch, 3);
    cr_assert_eq(world.receipted, 0);
    cr_assert_eq(world.distrusted, 0);
    reply(&batch, 2);
    cr_assert_eq(world.receipted, 1);
    buffer_free(&payload);
}

Test(one, floods_displace_only_what_their_sender_said) {
    struct test_batch noise = batch;
    for (uint32_t r = 0; r < 3; r++) {
        reply(&batch, r);
    }
    for (uint64_t seq = 1; seq <= 3 * SESSION_REPLIES_MAX; seq++) {
        noise.pre_prepare.seq = seq;
        reply(&noise, 3);
    }
    struct test_request *const requests[] = {&one};
    for (uint64_t seq = 1; seq <= 2 * SESSION_CLAIMS_MAX; seq++) {
        struct test_batch forged;
        batch_make(&forged, seq, 77, requests, 1);
        result(&forged, 3);
        batch_free(&forged);
    }
    result(&batch, 1);
    cr_assert_eq(world.receipted, 1);
}

Test(one, garbage_of_every_kind_is_dropped) {
    uint32_t state = 12345;
    for (uint32_t round = 0; round < 3000; round++) {
        uint8_t bytes[64];
        for (uint32_t i = 0; i < sizeof bytes; i++) {
            state = state * 1664525u + 1013904223u;
            bytes[i] = (uint8_t)(state >> 24);
        }
        session_on_link(world.session, 3, true, world.now_ms);
        session_on_frame(world.session, 3, (uint8_t)(64 + round % 8), span_of(bytes, state >> 26),
                         world.now_ms);
    }
    cr_assert_eq(world.distrusted, 1u << 3);
    result(&batch, 1);
    for (uint32_t r = 0; r < 3; r++) {
        reply(&batch, r);
    }
    cr_assert_eq(world.receipted, 1);
}

/* ---- limits and status ----------------------------------------------------------------------- */

Test(session, a_request_is_in_flight_once) {
    struct test_request request;
    request_make(&request, 1, 1);
    cr_assert_eq(submit(&request), SESSION_SUBMITTED);
    cr_assert_eq(submit(&request), SESSION_DUPLICATE);
    request_free(&request);
}

Test(session, in_flight_is_bounded) {
    uint8_t byte = 0;
    struct session_request request = {.bytes = span_of(&byte, 1), .call_count = 1};
    for (uint32_t i = 0; i < SESSION_IN_FLIGHT_MAX; i++) {
        store_u32_be(request.id.bytes, i);
        cr_assert_eq(session_submit(world.session, &request, 1), SESSION_SUBMITTED);
    }
    store_u32_be(request.id.bytes, SESSION_IN_FLIGHT_MAX);
    cr_assert_eq(session_submit(world.session, &request, 1), SESSION_FULL);
    store_u32_be(request.id.bytes, 17);
    session_cancel(world.session, &request.id);
    cr_assert_eq(session_submit(world.session, &request, 1), SESSION_SUBMITTED);
}

Test(session, one_liar_cannot_push_the_index) {
    uint64_t index = 0;
    cr_assert_not(session_next_index(world.session, 2, &index));
    status(0, 50);
    cr_assert_not(session_next_index(world.session, 1, &index), "f + 1 at the least");
    status(3, 1u << 30);
    cr_assert(session_next_index(world.session, 2, &index));
    cr_assert_eq(index, 50);
    cr_assert_not(session_next_index(world.session, 3, &index));
    status(1, 60);
    cr_assert(session_next_index(world.session, 3, &index));
    cr_assert_eq(index, 60);
    cr_assert_eq(session_status(world.session, 1)->next_index, 60);
    cr_assert_null(session_status(world.session, 2));
}
