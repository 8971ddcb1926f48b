/*
 * replica_links: a client's or auditor's links to replicas of a configuration, on a libuv loop:
 * dialled at once, pinned to the TLS keys that genesis names, and dialled again for as long as they
 * live.
 *
 * Everything happens on the loop's thread.
 */
#ifndef ONUS_HOST_REPLICA_LINKS_H
#define ONUS_HOST_REPLICA_LINKS_H

#include <uv.h>

#include "base/problem.h"
#include "ledger/configuration.h"
#include "ledger/wire.h"

#define REPLICA_LINKS_REASON_SIZE PROBLEM_TEXT_SIZE

struct replica_links;

struct replica_links_handlers {
    void *context;
    void (*on_link)(void *context, uint32_t replica, bool up);
    void (*on_frame)(void *context, uint32_t replica, uint8_t kind, struct span payload);
    /* Largest payload taken of a kind; 0 for a kind that nobody here asks for. */
    size_t (*frame_size_max)(uint8_t kind);
};

/*
 * configuration is borrowed. replicas: a bitmap of those to call; the others stay as if never
 * tried. Returns: NULL with a problem.
 */
MUST_USE struct replica_links *
replica_links_create(uv_loop_t *loop, const struct configuration *configuration, uint64_t replicas,
                     const struct replica_links_handlers *handlers, struct problem *problem);
/* Drop all links; the memory goes when the loop has run the last callback. No handler is called. */
void replica_links_close(struct replica_links *links);

/* Returns: false when the link is down or full; then nothing was sent. */
bool replica_links_send(struct replica_links *links, uint32_t replica, enum message_kind kind,
                        struct span payload);
/* Bytes that the system has not taken yet, of all links together. */
size_t replica_links_backlog(const struct replica_links *links);

bool replica_links_is_up(const struct replica_links *links, uint32_t replica);
/* Has it come up, or failed to, at least once? */
bool replica_links_is_settled(const struct replica_links *links, uint32_t replica);
/* Why a link is down: one line for people; empty when it is up or was not tried yet. */
const char *replica_links_reason(const struct replica_links *links, uint32_t replica);

#endif
