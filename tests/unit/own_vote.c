/*
 * own_vote: a replica finds its own votes in entries that it is given, wherever they stand, and
 * takes nothing else for one.
 */
#include <criterion/criterion.h>

#include "node/own_vote.h"

/* A pre-prepare's entry that names these signers for two batches. */
static struct entry make_entry(struct buffer *out, uint64_t first_signers, uint64_t last_signers) {
    struct buffer body;
    struct pre_prepare const pre_prepare = {
        .config = 1,
        .seq = 9,
        .first_index = 1,
        .kind = BATCH_NORMAL,
        .evidence_upto = 8,
        .evidence_count = 2,
        .evidence_signers = {first_signers, last_signers},
        .time_ms = 1,
    };
    buffer_init(&body, STATEMENT_SIZE_MAX);
    buffer_init(out, 2u * STATEMENT_SIZE_MAX);
    cr_assert(pre_prepare_encode(&body, &pre_prepare));
    struct signed_body const statement = {.body = buffer_span(&body)};
    cr_assert(signed_encode(out, &statement));
    buffer_free(&body);
    return (struct entry){.kind = ENTRY_PRE_PREPARE, .payload = buffer_span(out)};
}

Test(own_vote, is_found_in_any_batch_of_any_entry) {
    struct buffer first;
    struct buffer second;
    struct entry const entries[] = {make_entry(&first, 0x7, 0x16), make_entry(&second, 0x7, 0x8)};
    for (uint32_t self = 0; self < REPLICAS_MAX; self++) {
        cr_expect_eq(own_vote_in(entries, 1, self), (UINT64_C(0x17) >> self & 1) != 0, "replica %u",
                     self);
        cr_expect_eq(own_vote_in(entries, 2, self), self < 5, "replica %u", self);
    }
    cr_expect(!own_vote_in(entries, 0, 0));
    buffer_free(&first);
    buffer_free(&second);
}

Test(own_vote, is_in_no_other_entry_and_in_nothing_broken) {
    struct buffer bytes;
    struct entry entry = make_entry(&bytes, UINT64_MAX, UINT64_MAX);
    cr_expect(own_vote_in(&entry, 1, 63));
    entry.kind = ENTRY_EVIDENCE;
    cr_expect(!own_vote_in(&entry, 1, 63));
    entry.kind = ENTRY_PRE_PREPARE;
    for (size_t size = 0; size < bytes.size; size++) {
        entry.payload = span_of(bytes.data, size);
        cr_expect(!own_vote_in(&entry, 1, 63), "%zu bytes", size);
    }
    buffer_free(&bytes);
}
