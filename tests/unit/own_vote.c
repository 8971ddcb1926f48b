/*
 * own_vote: a replica finds its own votes in entries that it is given, wherever they stand, and
 * takes nothing else for one.
 */
#include <criterion/criterion.h>

#include "node/own_vote.h"

/* One replica, whose number is another in every configuration; in none but these two. */
struct places {
    uint32_t in_first;
    uint32_t in_second;
};

static uint32_t find_place(void *context, uint64_t config) {
    const struct places *const places = context;
    return config == 1 ? places->in_first : config == 2 ? places->in_second : REPLICAS_MAX;
}

static bool has_own_vote(const struct entry *entries, uint32_t count, struct places places) {
    struct own_place const self = {.context = &places, .find = find_place};
    return own_vote_in(entries, count, &self);
}

static bool is_in_first(const struct entry *entries, uint32_t count, uint32_t self) {
    return has_own_vote(entries, count,
                        (struct places){.in_first = self, .in_second = REPLICAS_MAX});
}

/* A pre-prepare's entry that names these signers for two batches. */
static struct entry make_entry_of(struct buffer *out, struct pre_prepare pre_prepare,
                                  uint64_t first_signers, uint64_t last_signers) {
    struct buffer body;
    pre_prepare.seq = 9;
    pre_prepare.first_index = 1;
    pre_prepare.evidence_upto = 8;
    pre_prepare.evidence_count = 2;
    pre_prepare.evidence_signers[0] = first_signers;
    pre_prepare.evidence_signers[1] = last_signers;
    pre_prepare.time_ms = 1;
    buffer_init(&body, STATEMENT_SIZE_MAX);
    buffer_init(out, 2u * STATEMENT_SIZE_MAX);
    cr_assert(pre_prepare_encode(&body, &pre_prepare));
    struct signed_body const statement = {.body = buffer_span(&body)};
    cr_assert(signed_encode(out, &statement));
    buffer_free(&body);
    return (struct entry){.kind = ENTRY_PRE_PREPARE, .payload = buffer_span(out)};
}

static struct entry make_entry(struct buffer *out, uint64_t first_signers, uint64_t last_signers) {
    return make_entry_of(out, (struct pre_prepare){.config = 1, .kind = BATCH_NORMAL},
                         first_signers, last_signers);
}

Test(own_vote, is_found_in_any_batch_of_any_entry) {
    struct buffer first;
    struct buffer second;
    struct entry const entries[] = {make_entry(&first, 0x7, 0x16), make_entry(&second, 0x7, 0x8)};
    for (uint32_t self = 0; self < REPLICAS_MAX; self++) {
        cr_expect_eq(is_in_first(entries, 1, self), (UINT64_C(0x17) >> self & 1) != 0, "replica %u",
                     self);
        cr_expect_eq(is_in_first(entries, 2, self), self < 5, "replica %u", self);
    }
    cr_expect(!is_in_first(entries, 0, 0));
    cr_expect(!is_in_first(entries, 2, REPLICAS_MAX), "it is none of them");
    buffer_free(&first);
    buffer_free(&second);
}

/* By its number there: what starts a configuration is evidence of the one before. */
Test(own_vote, is_found_by_the_number_in_the_configuration_of_the_batch) {
    struct places const places = {.in_first = 3, .in_second = 5};
    static const struct {
        uint64_t config;
        enum batch_kind kind;
        uint32_t place;
    } cases[] = {{1, BATCH_NORMAL, 3},
                 {1, BATCH_END_OF_CONFIGURATION, 3},
                 {2, BATCH_START_OF_CONFIGURATION, 3},
                 {2, BATCH_NORMAL, 5},
                 {2, BATCH_END_OF_CONFIGURATION, 5},
                 {3, BATCH_START_OF_CONFIGURATION, 5},
                 {3, BATCH_NORMAL, REPLICAS_MAX}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (uint32_t signer = 0; signer < 8; signer++) {
            struct buffer bytes;
            struct entry const entry = make_entry_of(
                &bytes, (struct pre_prepare){.config = cases[i].config, .kind = cases[i].kind},
                UINT64_C(1) << signer, UINT64_C(1) << signer);
            cr_expect_eq(has_own_vote(&entry, 1, places), signer == cases[i].place, "case %zu", i);
            buffer_free(&bytes);
        }
    }
}

Test(own_vote, is_in_no_other_entry_and_in_nothing_broken) {
    struct buffer bytes;
    struct entry entry = make_entry(&bytes, UINT64_MAX, UINT64_MAX);
    cr_expect(is_in_first(&entry, 1, 63));
    entry.kind = ENTRY_EVIDENCE;
    cr_expect(!is_in_first(&entry, 1, 63));
    entry.kind = ENTRY_PRE_PREPARE;
    for (size_t size = 0; size < bytes.size; size++) {
        entry.payload = span_of(bytes.data, size);
        cr_expect(!is_in_first(&entry, 1, 63), "%zu bytes", size);
    }
    buffer_free(&bytes);
}
