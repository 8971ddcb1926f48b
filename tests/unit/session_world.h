/*
 * session_world: what tests of a client's session share: a session among scripted replicas, what it
 * has done so far, and what replicas send.
 */
#ifndef ONUS_TESTS_UNIT_SESSION_WORLD_H
#define ONUS_TESTS_UNIT_SESSION_WORLD_H

#include "client/session.h"
#include "tests/unit/scripted.h"

struct world {
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
};

extern struct world world;
/* One request of one call in batch 5, submitted: what most tests begin with. */
extern struct test_request one;
extern struct test_batch batch;

/* Fixtures: with no request, and with `one`. */
void setup(void);
void teardown(void);
void begin_with_one(void);
void end_with_one(void);

void pass_time(uint64_t by_ms);
enum session_submitted submit(struct test_request *request);

/* ---- what replicas send ---- */

void deliver(uint32_t replica, enum message_kind kind, const struct buffer *payload);
void reply(const struct test_batch *of, uint32_t replica);
void result(const struct test_batch *of, uint32_t replica);
/* The committed receipt of one of its requests, signed by replicas 0, 1 and 2. */
void receipt(const struct test_batch *of, uint32_t which, uint32_t replica);
void reject(const struct test_request *request, uint32_t replica, enum reject_reason reason);
void status(uint32_t replica, uint64_t next_index);
/* Its number there may be another one than ours. */
void status_of(uint32_t replica, uint64_t config, uint32_t number, uint64_t next_index);
/* Links to the configurations first..first + count - 1, of a replica that has them to `newest`. */
void links(uint32_t replica, uint64_t newest, uint8_t first, uint32_t count);
/* How many queries for links were sent, to whomever. */
uint32_t chain_queries(void);
/* The consortium is in configuration 2 from here on, and so is the session if `too`. */
void reform(bool too);

#endif
