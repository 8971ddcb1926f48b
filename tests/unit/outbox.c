/*
 * outbox: frames leave in the order they came, never before what they wait for is durable, and a
 * full outbox drops the new ones alone.
 */
#include <criterion/criterion.h>

#include <stdlib.h>

#include "base/limits.h"
#include "node/outbox.h"

static struct outbox_frame frame_of(uint64_t n, uint8_t *bytes, size_t size) {
    memset(bytes, (int)(n & 0xff), size);
    return (struct outbox_frame){.after = n / 3,
                                 .to_client = n % 2 == 0,
                                 .target = n,
                                 .kind = MESSAGE_COMMIT,
                                 .payload = span_of(bytes, size)};
}

Test(outbox, frames_wait_and_leave_in_order) {
    struct outbox outbox;
    struct outbox_frame out;
    uint8_t bytes[1000];
    uint64_t next = 0;
    outbox_init(&outbox);
    cr_expect(!outbox_pop(&outbox, &out, UINT64_MAX));
    for (uint64_t n = 0; n < 5000; n++) {
        struct outbox_frame const in = frame_of(n, bytes, n * 7 % sizeof bytes);
        cr_assert(outbox_push(&outbox, &in));
        /* Durability comes in steps, behind what was pushed. */
        while (n % 50 == 0 && outbox_pop(&outbox, &out, n / 4)) {
            cr_assert(out.target == next && out.after <= n / 4 && out.to_client == (next % 2 == 0));
            cr_assert_eq(out.payload.size, next * 7 % sizeof bytes);
            cr_assert(out.payload.size == 0 ||
                      out.payload.data[out.payload.size - 1] == (uint8_t)next);
            next++;
        }
        cr_assert_leq(next, 3 * (n / 4 + 1));
    }
    while (outbox_pop(&outbox, &out, UINT64_MAX)) {
        cr_assert_eq(out.target, next);
        next++;
    }
    cr_expect_eq(next, 5000);
    outbox_free(&outbox);
}

Test(outbox, is_bounded) {
    size_t const size = 1 << 20;
    uint8_t *const bytes = malloc(size);
    struct outbox outbox;
    struct outbox_frame out;
    uint64_t count = 0;
    cr_assert_not_null(bytes);
    outbox_init(&outbox);
    struct outbox_frame frame = frame_of(0, bytes, size);
    while (outbox_push(&outbox, &frame)) {
        count++;
        frame.target = count;
    }
    cr_expect(count >= OUTBOX_SIZE_MAX / size - 1 && count <= OUTBOX_SIZE_MAX / size);
    /* One that is small enough still fits, and the others are all there. */
    struct outbox_frame const small = frame_of(count, bytes, 10);
    cr_expect(outbox_push(&outbox, &small));
    for (uint64_t n = 0; n <= count; n++) {
        cr_assert(outbox_pop(&outbox, &out, UINT64_MAX));
        cr_expect_eq(out.target, n);
    }
    cr_expect(!outbox_pop(&outbox, &out, UINT64_MAX));
    outbox_free(&outbox);
    free(bytes);
}
