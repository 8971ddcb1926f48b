/*
 * session_world: see session_world.h. Every receipt that the session reports is verified as anybody
 * else would.
 */
#include "tests/unit/session_world.h"

#include <criterion/criterion.h>

#include "host/receipt_bundle.h"
#include "receipts/receipt.h"

struct world world;

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

void setup(void) {
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

void teardown(void) {
    session_free(world.session);
}

void pass_time(uint64_t by_ms) {
    world.now_ms += by_ms;
    session_tick(world.session, world.now_ms);
}

void deliver(uint32_t replica, enum message_kind kind, const struct buffer *payload) {
    cr_assert_not(payload->failed);
    session_on_frame(world.session, replica, (uint8_t)kind, buffer_span(payload), world.now_ms);
}

enum session_submitted submit(struct test_request *request) {
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

void reply(const struct test_batch *of, uint32_t replica) {
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

void result(const struct test_batch *of, uint32_t replica) {
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

void receipt(const struct test_batch *of, uint32_t which, uint32_t replica) {
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

void reject(const struct test_request *request, uint32_t replica, enum reject_reason reason) {
    struct buffer payload;
    struct reject_message const message = {
        .request_id = request->request.id, .reason = reason, .next_index = 1};
    buffer_init(&payload, FRAME_SIZE_MAX);
    cr_assert(reject_message_encode(&payload, &message));
    deliver(replica, MESSAGE_REJECT, &payload);
    buffer_free(&payload);
}

void status_of(uint32_t replica, uint64_t config, uint32_t number, uint64_t next_index) {
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

void status(uint32_t replica, uint64_t next_index) {
    status_of(replica, 1, replica, next_index);
}

void links(uint32_t replica, uint64_t newest, uint8_t first, uint32_t count) {
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

uint32_t chain_queries(void) {
    uint32_t count = 0;
    for (uint32_t r = 0; r < N; r++) {
        count += world.sent[r][MESSAGE_CHAIN_QUERY];
    }
    return count;
}

void reform(bool too) {
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

struct test_request one;
struct test_batch batch;

void begin_with_one(void) {
    setup();
    struct test_request *const requests[] = {&one};
    request_make(&one, 1, 1);
    batch_make(&batch, 5, 40, requests, 1);
    cr_assert_eq(submit(&one), SESSION_SUBMITTED);
}

void end_with_one(void) {
    request_free(&one);
    batch_free(&batch);
    teardown();
}
