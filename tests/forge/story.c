/*
 * story: see story.h. The generator is a linear congruential one: short, and good enough here.
 */
#include "tests/forge/story.h"

#include "base/check.h"

#define REQUESTS_MAX 8u
#define STORY_ARENA_SIZE (64u << 20)

static const char *const texts[] = {
    "kv.put a 1",   "kv.put b 2",   "kv.get a",
    "kv.delete b",  "kv.cas a 1 2", "bank.create_account x 5 5",
    "kv.scan   10", "no.such call", "bank.deposit_checking x 1",
};
#define TEXTS (sizeof texts / sizeof texts[0])

uint32_t story_draw(struct story *story, uint32_t bound) {
    story->random = story->random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(story->random >> 33) % bound;
}

void story_request(struct story *story, struct buffer *out) {
    const char *calls[4];
    uint32_t const count = 1 + story_draw(story, 4);
    for (uint32_t i = 0; i < count; i++) {
        calls[i] = texts[story_draw(story, TEXTS)];
    }
    const struct consortium *const consortium = story->forge->consortium;
    order_encode(out, consortium,
                 &(struct order){
                     .author = &consortium->users[story_draw(story, CONSORTIUM_USERS)],
                     .min_index = story->forge->next_index,
                     .number = story->random,
                     .mode = story_draw(story, 2) == 0 ? REQUEST_INDEPENDENT : REQUEST_ATOMIC,
                     .call_count = count,
                     .calls = calls,
                 });
}

void story_append(struct story *story, uint32_t request_count, uint64_t lag, enum rule lie) {
    struct buffer encoded[REQUESTS_MAX];
    struct span requests[REQUESTS_MAX];
    CHECK(request_count <= REQUESTS_MAX);
    for (uint32_t i = 0; i < request_count; i++) {
        buffer_init(&encoded[i], REQUEST_SIZE_MAX);
        story_request(story, &encoded[i]);
        requests[i] = buffer_span(&encoded[i]);
    }
    forge_append(story->forge, &(struct forge_order){.request_count = request_count,
                                                     .requests = requests,
                                                     .evidence_lag = lag,
                                                     .lie = lie});
    for (uint32_t i = 0; i < request_count; i++) {
        buffer_free(&encoded[i]);
    }
}

/* Q replicas: the primary and some others. */
static uint64_t draw_quorum(struct story *story) {
    const struct configuration *const configuration = &story->forge->consortium->configuration;
    uint32_t const primary = configuration_primary(configuration, story->forge->view);
    uint64_t quorum = ((uint64_t)1 << configuration->replica_count) - 1;
    while ((uint32_t)__builtin_popcountll(quorum) > configuration->quorum) {
        uint32_t const other = 1 + story_draw(story, configuration->replica_count - 1);
        quorum &= ~((uint64_t)1 << (primary + other) % configuration->replica_count);
    }
    return quorum;
}

void story_append_honest(struct story *story, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        uint64_t const seq = forge_seq(story->forge) + 1;
        uint64_t const lag = 1 + story_draw(story, 4);
        bool const evidence = seq > lag && seq - lag > story->forge->evidence_upto;
        uint32_t const requests = evidence ? story_draw(story, 4) : 1 + story_draw(story, 3);
        story->forge->signers = draw_quorum(story);
        story_append(story, requests, lag, RULE_NONE);
    }
}

void story_append_order(struct story *story, const struct order *order, enum rule lie,
                        uint32_t flipped_byte) {
    const struct consortium *const consortium = story->forge->consortium;
    struct buffer encoded;
    struct buffer again;
    struct arena arena;
    struct request request;
    buffer_init(&encoded, REQUEST_SIZE_MAX);
    buffer_init(&again, REQUEST_SIZE_MAX);
    arena_init(&arena, STORY_ARENA_SIZE);
    order_encode(&encoded, consortium, order);
    CHECK(request_decode(&request, &arena, &consortium->configuration.service,
                         buffer_span(&encoded)) == CODEC_OK);
    struct span calls[CALLS_MAX];
    for (uint32_t i = 0; i < request.call_count; i++) {
        calls[i] = request.calls[i].bytes;
    }
    request.signature.bytes[flipped_byte] ^= flipped_byte != 0;
    CHECK(request_encode(&again, request.header, &request.signature, request.call_count, calls));
    struct span const span = buffer_span(&again);
    forge_append(story->forge,
                 &(struct forge_order){.request_count = 1, .requests = &span, .lie = lie});
    buffer_free(&encoded);
    buffer_free(&again);
    arena_free(&arena);
}
