/*
 * outbox: see outbox.h. What was popped stays in the buffer until everything was, or until it is
 * more than half of it.
 */
#include "node/outbox.h"

#include "base/limits.h"

/* Give the memory of a burst back. */
#define KEEP_SIZE ((size_t)1 << 20)

void outbox_init(struct outbox *outbox) {
    *outbox = (struct outbox){.start = 0};
    buffer_init(&outbox->held, OUTBOX_SIZE_MAX);
}

void outbox_free(struct outbox *outbox) {
    buffer_free(&outbox->held);
}

static void compact(struct outbox *outbox) {
    if (outbox->start == outbox->held.size) {
        if (outbox->held.capacity > KEEP_SIZE) {
            buffer_free(&outbox->held);
            buffer_init(&outbox->held, OUTBOX_SIZE_MAX);
        }
        buffer_clear(&outbox->held);
        outbox->start = 0;
    } else if (outbox->start > outbox->held.size / 2) {
        buffer_consume(&outbox->held, outbox->start);
        outbox->start = 0;
    }
}

bool outbox_push(struct outbox *outbox, const struct outbox_frame *frame) {
    compact(outbox);
    size_t const size = outbox->held.size;
    struct outbox_frame stored = *frame;
    stored.payload.data = NULL;
    if (buffer_append(&outbox->held, span_of(&stored, sizeof stored)) &&
        buffer_append(&outbox->held, frame->payload)) {
        return true;
    }
    outbox->held.size = size;
    outbox->held.failed = false; /* there may be room for the next one */
    return false;
}

bool outbox_pop(struct outbox *outbox, struct outbox_frame *frame, uint64_t durable) {
    if (outbox->start == outbox->held.size) {
        return false;
    }
    const uint8_t *const stored = outbox->held.data + outbox->start;
    memcpy(frame, stored, sizeof *frame);
    if (frame->after > durable) {
        return false;
    }
    frame->payload.data = stored + sizeof *frame;
    outbox->start += sizeof *frame + frame->payload.size;
    return true;
}
