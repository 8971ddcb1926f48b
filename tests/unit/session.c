/*
 * session: a client's session against scripted replicas: answers in any order, lost, late, twice,
 * and lies; and against replicas that go over to another configuration. A script makes real batches
 * with real keys, so that what the session reports can be held against the project's verifier.
 */
#include "client/session.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#include "host/receipt_bundle.h"
#include "receipts/receipt.h"
#include "tests/unit/scripted.h"

/* ---- the world ------------------------------------------------------------------------------- */

static struct {
    struct session *session;
    uint64_t now_ms;
    uint32_t sent[N][256]; /* frames by replica and kind */
    struct span last_request[N];
    uint32_t receipted;
    uint32_t valid_receipts;
    uint32_t rejected;
    enum reject_reason reason;
    uint64_t distrusted;
    uint64_t last_index;
    void *last_tag;
    bool refuse_send;
    struct configuration former; /* what the session finds of number 1 once it is in 2 */
    uint64_t links_lead_to;      /* a link is a byte: the configuration that it leads to */
    uint64_t configured;
    uint64_t asked_config; /* in the last query for links */
} world;

static bool on_send(void *context, uint32_t replica, enum message_kind kind, struct span payload) {
    (void)context;
    if (world.refuse_send) {
        return false;
    }
    world.sent[replica][kind]++;
    if (kind == MESSAGE_REQUEST) {
        world.last_request[replica] = payload;
    }
    if (kind == MESSAGE_CHAIN_QUERY) {
        struct arena arena;
        arena_init(&arena, 4096);
        cr_assert_eq(chain_query_decode(&world.asked_config, &arena, payload), CODEC_OK);
        arena_free(&arena);
    }
    return true;
}

static const struct configuration *on_configuration(void *context, uint64_t number) {
    (void)context;
    return number == world.former.number ? &world.former : NULL;
}

/* Those that lead on from what is known hold; a link of zero does not. */
static int on_links(void *context, const struct span *links, uint32_t count) {
    int taken = 0;
    (void)context;
    for (uint32_t i = 0; i < count; i++) {
        if (links[i].data[0] == 0) {
            return -1;
        }
        if (links[i].data[0] == world.links_lead_to + 1) {
            world.links_lead_to++;
            taken++;
        }
    }
    return taken;
}

static void on_configured(void *context, uint64_t number) {
    (void)context;
    cr_assert_eq(world.configured, 0, "once for one search");
    world.configured = number;
}

/* Every receipt is made from what the session reports, and verified as anybody else would. */
static int check_receipt(void *context, const struct digest *request_id, uint32_t position,
                         struct span receipt) {
    struct receipt_memory *const memory = context;
    struct verified_receipt verified;
    struct arena arena;
    (void)request_id;
    arena_init(&arena, 1u << 20);
    enum receipt_check check = receipt_verify(&verified, memory, &arena, &configuration, receipt);
    if (check != RECEIPT_VALID && world.former.number != 0) {
        *memory = (struct receipt_memory){.has_batch = false};
        check = receipt_verify(&verified, memory, &arena, &world.former, receipt);
    }
    cr_assert_eq(check, RECEIPT_VALID);
    cr_assert_eq(verified.receipt.position, position);
    arena_free(&arena);
    world.valid_receipts++;
    return 0;
}

static void on_receipted(void *context, void *tag, const struct session_receipts *receipts) {
    struct receipt_memory memory = {.has_batch = false};
    struct problem problem = {.code = EXIT_OK};
    struct receipt_bundle const bundle = {.request = receipts->request,
                                          .result = *receipts->result,
                                          .certificate = receipts->certificate};
    (void)context;
    world.receipted++;
    world.last_tag = tag;
    world.last_index = receipts->result->first_index;
    cr_assert_eq(receipt_bundle_visit(&configuration.service, &bundle,
                                      (struct receipt_range){0, UINT32_MAX}, check_receipt, &memory,
                                      &problem),
                 0, "%s", problem.text);
}

static void on_rejected(void *context, void *tag, const struct digest *request_id,
                        enum reject_reason reason) {
    (void)context;
    (void)request_id;
    world.rejected++;
    world.last_tag = tag;
    world.reason = reason;
}

static void on_distrusted(void *context, uint32_t replica, const char *why) {
    (void)context;
    (void)why;
    world.distrusted |= (uint64_t)1 << replica;
}

static void setup(void) {
    scripted_init();
    memset(&world, 0, sizeof world);
    world.now_ms = 1000;
    struct session_effects const effects = {
        .send = on_send,
        .receipted = on_receipted,
        .rejected = on_rejected,
        .distrusted = on_distrusted,
        .configuration = on_configuration,
        .links = on_links,
        .configured = on_configured,
    };
    world.links_lead_to = 1;
    world.session = session_create(&configuration, &effects);
    cr_assert_not_null(world.session);
    for (uint32_t r = 0; r < N; r++) {
        session_on_link(world.session, r, true, world.now_ms);
    }
}

static void teardown(void) {
    session_free(world.session);
}

TestSuite(session, .init = setup, .fini = teardown);

static void pass_time(uint64_t by_ms) {
    world.now_ms += by_ms;
    session_tick(world.session, world.now_ms);
}

static void deliver(uint32_t replica, enum message_kind kind, const struct buffer *payload) {
    cr_assert_not(payload->failed);
    session_on_frame(world.session, replica, (uint8_t)kind, buffer_span(payload), world.now_ms);
}

static enum session_submitted submit(struct test_request *request) {
    struct session_request const submitted = {
        .bytes = buffer_span(&request->bytes),
        .id = request->request.id,
        .digest = request->request.digest,
        .min_index = request->request.min_index,
        .call_count = request->request.call_count,
        .tag = request,
    };
    return session_submit(world.session, &submitted, world.now_ms);
}

/* ---- what replicas send ---------------------------------------------------------------------- */

static void reply(const struct test_batch *of, uint32_t replica) {
    struct buffer payload;
    struct reply_message const message = {
        .view = of->pre_prepare.view,
        .seq = of->pre_prepare.seq,
        .replica = replica,
        .pre_prepare_digest = of->digest,
        .signature = of->votes[replica],
        .nonce = of->nonces[replica],
    };
    buffer_init(&payload, FRAME_SIZE_MAX);
    cr_assert(reply_message_encode(&payload, &message));
    deliver(replica, MESSAGE_REPLY, &payload);
    buffer_free(&payload);
}

static void result(const struct test_batch *of, uint32_t replica) {
    struct buffer payload;
    struct result_message const message = {
        .pre_prepare = {.body = buffer_span(&of->body), .signature = of->signature},
        .count = of->count,
        .results = of->results,
    };
    buffer_init(&payload, FRAME_SIZE_MAX);
    cr_assert(result_message_encode(&payload, &message));
    deliver(replica, MESSAGE_RESULT, &payload);
    buffer_free(&payload);
}

/* The committed receipt of one of its requests, signed by replicas 0, 1 and 2. */
static void receipt(const struct test_batch *of, uint32_t which, uint32_t replica) {
    struct buffer encoded;
    struct buffer payload;
    buffer_init(&encoded, COMMIT_CERTIFICATE_SIZE_MAX);
    buffer_init(&payload, FRAME_SIZE_MAX);
    batch_certificate(of, &encoded);
    struct receipt_reply_message const message = {
        .request_id = of->results[which].request_id,
        .certificate = buffer_span(&encoded),
        .result = of->results[which],
    };
    cr_assert(receipt_reply_message_encode(&payload, &message));
    deliver(replica, MESSAGE_RECEIPT_REPLY, &payload);
    buffer_free(&encoded);
    buffer_free(&payload);
}

static void reject(const struct test_request *request, uint32_t replica,
                   enum reject_reason reason) {
    struct buffer payload;
    struct reject_message const message = {
        .request_id = request->request.id, .reason = reason, .next_index = 1};
    buffer_init(&payload, FRAME_SIZE_MAX);
    cr_assert(reject_message_encode(&payload, &message));
    deliver(replica, MESSAGE_REJECT, &payload);
    buffer_free(&payload);
}

/* Its number there may be another one than ours. */
static void status_of(uint32_t replica, uint64_t config, uint32_t number, uint64_t next_index) {
    struct buffer payload;
    struct status_reply_message const message = {
        .service = configuration.service,
        .replica = number,
        .config = config,
        .next_index = next_index,
        .committed_index = next_index - 1,
    };
    buffer_init(&payload, FRAME_SIZE_MAX);
    cr_assert(status_reply_message_encode(&payload, &message));
    deliver(replica, MESSAGE_STATUS_REPLY, &payload);
    buffer_free(&payload);
}

static void status(uint32_t replica, uint64_t next_index) {
    status_of(replica, 1, replica, next_index);
}

/* Links to the configurations first..first + count - 1, of a replica that has them to `newest`. */
static void links(uint32_t replica, uint64_t newest, uint8_t first, uint32_t count) {
    struct buffer payload;
    uint8_t bytes[8];
    struct span spans[8];
    for (uint32_t i = 0; i < count; i++) {
        bytes[i] = (uint8_t)(first + i);
        spans[i] = span_of(&bytes[i], 1);
    }
    struct chain_reply_message const message = {
        .config = newest, .link_count = count, .links = spans};
    buffer_init(&payload, FRAME_SIZE_MAX);
    cr_assert(chain_reply_message_encode(&payload, &message));
    deliver(replica, MESSAGE_CHAIN_REPLY, &payload);
    buffer_free(&payload);
}

/* How many queries for links were sent, to whomever. */
static uint32_t chain_queries(void) {
    uint32_t count = 0;
    for (uint32_t r = 0; r < N; r++) {
        count += world.sent[r][MESSAGE_CHAIN_QUERY];
    }
    return count;
}

/* The consortium is in configuration 2 from here on, and so is the session if `too`. */
static void reform(bool too) {
    world.former = configuration;
    scripted_go_on();
    if (!too) {
        return;
    }
    cr_assert(session_reconfigure(world.session, &configuration, world.now_ms));
    for (uint32_t r = 0; r < N; r++) {
        session_on_link(world.session, r, true, world.now_ms);
    }
}

/* One request of one call in batch 5, submitted: what most tests begin with. */
static struct test_request one;
static struct test_batch batch;

static void begin_with_one(void) {
    setup();
    struct test_request *const requests[] = {&one};
    request_make(&one, 1, 1);
    batch_make(&batch, 5, 40, requests, 1);
    cr_assert_eq(submit(&one), SESSION_SUBMITTED);
}

static void end_with_one(void) {
    request_free(&one);
    batch_free(&batch);
    teardown();
}

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

/* ---- another configuration ------------------------------------------------------------------- */

Test(session, a_status_of_a_later_configuration_makes_it_ask) {
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

Test(session, links_that_do_not_fit_one_message_are_asked_for) {
    status_of(3, 6, 3, 50);
    links(3, 6, 2, 2);
    cr_assert_eq(world.configured, 0);
    cr_assert_eq(world.sent[3][MESSAGE_CHAIN_QUERY], 2);
    cr_assert_eq(world.asked_config, 3);
    links(3, 6, 4, 3);
    cr_assert_eq(world.configured, 6);
}

Test(session, what_is_there_is_used_when_the_rest_does_not_come) {
    status_of(3, 6, 3, 50);
    links(3, 6, 2, 2);
    for (uint32_t r = 0; r < N; r++) {
        pass_time(SESSION_CHAIN_TIMEOUT_MS);
    }
    cr_assert_eq(world.configured, 3);
}

Test(session, replicas_are_asked_in_turn) {
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

Test(session, who_sends_a_bad_link_is_not_asked_again) {
    status_of(1, 2, 1, 50);
    links(1, 2, 0, 1);
    cr_assert_eq(world.distrusted, 1u << 1);
    cr_assert_eq(world.configured, 0);
    cr_assert_eq(world.sent[2][MESSAGE_CHAIN_QUERY], 1, "the next one is, at once");
    links(2, 2, 2, 1);
    cr_assert_eq(world.configured, 2);
}

/* A liar alone: as many queries as there are replicas, ever less often. */
Test(session, a_claim_costs_a_few_queries) {
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

Test(session, nobody_pushes_it_on_alone) {
    uint64_t index = 0;
    status_of(3, 2, 3, 1u << 30);
    status_of(0, 1, 0, 50);
    cr_assert_not(session_next_index(world.session, 2, &index), "who is elsewhere does not count");
    status_of(1, 1, 1, 60);
    cr_assert(session_next_index(world.session, 2, &index));
    cr_assert_eq(index, 50);
}

Test(one, a_result_of_a_later_configuration_makes_it_ask) {
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

Test(one, a_receipt_of_a_later_configuration_makes_it_ask) {
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

Test(one, goes_on_with_the_new_replicas) {
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
Test(one, a_receipt_of_the_former_configuration_is_good) {
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

Test(one, a_false_receipt_of_the_former_configuration_convicts_its_sender) {
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
Test(one, what_the_former_replicas_said_is_forgotten) {
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
Test(one, a_removed_author_gets_the_receipt_all_the_same) {
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

Test(one, a_removed_author_is_rejected_when_nobody_has_a_receipt) {
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
