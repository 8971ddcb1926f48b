/*
 * transport: a client's links to all replicas of a configuration, on a libuv loop: dialled at
 * once, pinned to the TLS keys that genesis names, and dialled again for as long as it lives.
 *
 * Everything happens on the loop's thread.
 */
#ifndef ONUS_CLIENT_TRANSPORT_H
#define ONUS_CLIENT_TRANSPORT_H

#include <uv.h>

#include "base/problem.h"
#include "ledger/configuration.h"
#include "ledger/wire.h"

#define TRANSPORT_REASON_SIZE PROBLEM_TEXT_SIZE

struct transport;

struct transport_handlers {
    void *context;
    void (*on_link)(void *context, uint32_t replica, bool up);
    void (*on_frame)(void *context, uint32_t replica, uint8_t kind, struct span payload);
};

/* configuration is borrowed. Returns: NULL with a problem. */
MUST_USE struct transport *transport_create(uv_loop_t *loop,
                                            const struct configuration *configuration,
                                            const struct transport_handlers *handlers,
                                            struct problem *problem);
/* Drop all links; the memory goes when the loop has run the last callback. No handler is called. */
void transport_close(struct transport *transport);

/* Returns: false when the link is down or full; then nothing was sent. */
bool transport_send(struct transport *transport, uint32_t replica, enum message_kind kind,
                    struct span payload);
/* Bytes that the system has not taken yet, of all links together. */
size_t transport_backlog(const struct transport *transport);

bool transport_is_up(const struct transport *transport, uint32_t replica);
/* Has it come up, or failed to, at least once? */
bool transport_is_settled(const struct transport *transport, uint32_t replica);
/* Why a link is down: one line for people; empty when it is up or was not tried yet. */
const char *transport_reason(const struct transport *transport, uint32_t replica);

#endif
