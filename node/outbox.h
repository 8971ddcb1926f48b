/*
 * outbox: frames that may not leave before something is durable (protocol §5). First in, first
 * out; bounded. A frame that does not fit is dropped, as a network may: whoever misses it asks.
 */
#ifndef ONUS_NODE_OUTBOX_H
#define ONUS_NODE_OUTBOX_H

#include "ledger/wire.h"

struct outbox_frame {
    uint64_t after; /* disk position */
    bool to_client;
    uint64_t target; /* origin of a client, or row of a peer */
    enum message_kind kind;
    struct span payload;
};

struct outbox {
    struct buffer held; /* from `start` on: frames, each with its payload */
    size_t start;
};

void outbox_init(struct outbox *outbox);
void outbox_free(struct outbox *outbox);
/* Copies the payload. Returns: false when it does not fit. */
MUST_USE bool outbox_push(struct outbox *outbox, const struct outbox_frame *frame);
/*
 * The oldest frame, if it waits for nothing beyond `durable`. The payload is valid until the next
 * push. Returns: false when there is none.
 */
MUST_USE bool outbox_pop(struct outbox *outbox, struct outbox_frame *frame, uint64_t durable);

#endif
