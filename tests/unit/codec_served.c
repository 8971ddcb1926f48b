/*
 * codec_served: what an auditor demands, and what a replica says of what it hands over, as messages
 * (ledger/codec_served.h).
 */
#include "ledger/codec_served.h"

#include <criterion/criterion.h>

#include "codec_attack.h"
#include "ledger/wire.h"

TestSuite(codec_served, .timeout = 170);

REENCODER(demand)
REENCODER(served)
REENCODER(served_message)

static struct demand demand_sample(void) {
    struct demand demand = {.author = key_of(1),
                            .replica = 3,
                            .time_ms = 1700000000000,
                            .deadline_ms = 60000,
                            .part = SERVED_DIGESTS,
                            .seq = 18,
                            .first = 64};
    memcpy(demand.challenge, filler(7, CHALLENGE_SIZE).data, CHALLENGE_SIZE);
    return demand;
}

static struct served served_sample(void) {
    return (struct served){.config = 3,
                           .replica = 3,
                           .constitution = digest_of(8),
                           .range_config = 3,
                           .range_constitution = digest_of(8),
                           .demand = digest_of(9),
                           .part = SERVED_ITEMS,
                           .seq = 18,
                           .first = 64,
                           .end = 80,
                           .available = 100,
                           .digest = digest_of(4)};
}

Test(codec_served, messages_withstand_attacks) {
    struct demand const demand = demand_sample();
    struct served const served = served_sample();
    struct served_message const message = {
        .statement = {.body = span_text("statement"), .signature = signature_of(5)},
        .payload = span_text("payload")};
    struct buffer bytes = buffer_new();
    cr_assert(demand_encode(&bytes, &demand));
    attack_decoder("demand", reencode_demand, buffer_span(&bytes));
    buffer_clear(&bytes);
    cr_assert(served_encode(&bytes, &served));
    attack_decoder("served", reencode_served, buffer_span(&bytes));
    buffer_clear(&bytes);
    cr_assert(served_message_encode(&bytes, &message));
    attack_decoder("served message", reencode_served_message, buffer_span(&bytes));
    buffer_free(&bytes);
}

static void expect_demand(const struct demand *demand, enum codec_result expected) {
    struct buffer bytes = buffer_new();
    cr_assert(demand_encode(&bytes, demand));
    expect_result("demand", reencode_demand, buffer_span(&bytes), expected);
    buffer_free(&bytes);
}

static void expect_served(const struct served *served, enum codec_result expected) {
    struct buffer bytes = buffer_new();
    cr_assert(served_encode(&bytes, served));
    expect_result("served", reencode_served, buffer_span(&bytes), expected);
    buffer_free(&bytes);
}

Test(codec_served, demands_obey_their_limits) {
    struct demand demand = demand_sample();
    demand.deadline_ms = DEMAND_DEADLINE_MS_MAX;
    demand.replica = REPLICAS_MAX - 1;
    expect_demand(&demand, CODEC_OK);
    demand.replica++;
    expect_demand(&demand, CODEC_RANGE);
    demand = demand_sample();
    demand.deadline_ms = DEMAND_DEADLINE_MS_MAX + 1;
    expect_demand(&demand, CODEC_RANGE);
    demand.deadline_ms = 0;
    expect_demand(&demand, CODEC_RANGE);
    demand = demand_sample();
    demand.seq = 0; /* groups of which checkpoint? */
    expect_demand(&demand, CODEC_MISMATCH);
    demand.part = SERVED_ENTRIES;
    expect_demand(&demand, CODEC_OK);
    demand.seq = 18;
    expect_demand(&demand, CODEC_MISMATCH);
    demand = (struct demand){.deadline_ms = 1, .part = SERVED_OFFER};
    expect_demand(&demand, CODEC_OK);
    demand.first = 1;
    expect_demand(&demand, CODEC_MISMATCH);
    demand.part = (enum served_part)(SERVED_ITEMS + 1);
    expect_demand(&demand, CODEC_RANGE);
}

Test(codec_served, answers_obey_their_limits) {
    struct served served = served_sample();
    served.end = 63;
    expect_served(&served, CODEC_MISMATCH);
    served.end = 64; /* there is nothing, however little is there */
    served.available = 0;
    expect_served(&served, CODEC_OK);
    served = served_sample();
    served.end = served.available + 1;
    expect_served(&served, CODEC_MISMATCH);
    served = served_sample();
    served.seq = 0;
    expect_served(&served, CODEC_MISMATCH);
    served.part = SERVED_ENTRIES;
    expect_served(&served, CODEC_OK);
    served.seq = 18;
    expect_served(&served, CODEC_MISMATCH);
    served = (struct served){.config = 1, .range_config = 1, .part = SERVED_OFFER, .seq = 18};
    expect_served(&served, CODEC_OK);
    served.available = 1;
    expect_served(&served, CODEC_MISMATCH);
    served = served_sample();
    served.replica = REPLICAS_MAX;
    expect_served(&served, CODEC_RANGE);
}

/* Entries lie in a configuration, which may be an earlier one; nothing else does. */
Test(codec_served, answers_name_constitutions) {
    struct served served = served_sample();
    served.range_config = 2;
    expect_served(&served, CODEC_MISMATCH);
    served.part = SERVED_ENTRIES;
    served.seq = 0;
    served.range_constitution = digest_of(7);
    expect_served(&served, CODEC_OK);
    served.range_config = 0;
    expect_served(&served, CODEC_RANGE);
    served.range_config = 4; /* it has not come to that one */
    expect_served(&served, CODEC_MISMATCH);
    served.range_config = 3; /* its own, and yet another */
    expect_served(&served, CODEC_MISMATCH);
    served.range_config = 2;
    served.end = served.first; /* no entries */
    expect_served(&served, CODEC_MISMATCH);
}
