/*
 * workers: signature checks on libuv's pool, many at a time.
 *
 * Checks are gathered into pieces of up to VERIFY_CHECKS_MAX, each with an arena for what its
 * checks point to, so that a check costs no allocation of its own. Pieces wait in two queues: what
 * the protocol needs goes before what clients want. Few pieces are on the pool at a time, so that
 * the order holds and handshakes get their turn.
 */
#ifndef ONUS_NODE_WORKERS_H
#define ONUS_NODE_WORKERS_H

#include <uv.h>

#include "consensus/message.h"
#include "ledger/codec.h"
#include "node/demand_service.h"

enum verify_queue { VERIFY_PROTOCOL, VERIFY_CLIENTS, VERIFY_QUEUES };

enum verify_kind {
    VERIFY_MESSAGE, /* a peer's statement: item.message, owned by who asked */
    VERIFY_FETCHED, /* a request from a peer: item.request, in the piece's arena */
    VERIFY_REQUEST, /* a request from a client: as above */
    VERIFY_DEMAND,  /* a demand from an auditor: item.demand, as above */
    VERIFY_LIST     /* one of the checks of an EFFECT_VERIFY: item.list */
};

/* The checks of one EFFECT_VERIFY. */
struct verify_list {
    uint64_t token;
    uint32_t waiting;
    bool all_hold;
};

struct verify_item {
    enum verify_kind kind;
    struct sign_check check;
    bool holds;
    size_t size;     /* bytes that count against who asked */
    uint64_t origin; /* client, or peer's row */
    uint32_t author; /* of a client's: whom it is charged to */
    union {
        struct peer_message *message;
        struct request *request;
        struct demand_check *demand;
        struct verify_list *list;
    };
};

struct workers;

struct workers_options {
    uv_loop_t *loop;
    struct digest service;
    unsigned thread_count;                                             /* of libuv's pool */
    void (*on_checked)(void *context, const struct verify_item *item); /* on the loop */
    void *context;
};

/* NULL: out of memory. */
MUST_USE struct workers *workers_new(const struct workers_options *options);
/* When nothing runs on the pool any more (the loop has been run to its end). */
void workers_free(struct workers *workers);

/*
 * Where to put what the next check of this queue points to; valid until its on_checked returns.
 * NULL: out of memory. What is put there without a workers_add after it is lost only for a while.
 */
MUST_USE struct arena *workers_arena(struct workers *workers, enum verify_queue queue);
/* Add a check whose bytes lie in the arena that workers_arena just gave. Never fails. */
void workers_add(struct workers *workers, enum verify_queue queue, const struct verify_item *item);
/* Put on the pool what there is room for. Call once a turn of the loop, after additions. */
void workers_dispatch(struct workers *workers);
/* No more dispatching: what waits comes back through on_checked as if it did not hold. */
void workers_stop(struct workers *workers);

#endif
