/*
 * state_parts: the digests of a state's groups lead to the root that state_hasher finds, and only
 * they do; items are taken only when they are what the digests say, whoever they come from.
 */
#include "execution/state_parts.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "execution/engine.h"

#define ITEMS_MAX 5000u
#define GROUPS_MAX (ITEMS_MAX / STATE_GROUP_ITEMS + 1)
#define TEXT_SIZE 24u

static const uint64_t counts[] = {0,   1,   2,   63,   64,   65,   127,  128,
                                  129, 192, 193, 1000, 2048, 2049, 4095, 4999};

/* A state, its root, and the digests of its groups. */
struct state {
    size_t count;
    struct state_item items[ITEMS_MAX];
    char texts[ITEMS_MAX][2][TEXT_SIZE];
    struct digest root;
    uint64_t group_count;
    struct digest digests[GROUPS_MAX];
};

static struct state *state_of(size_t count) {
    struct state *const state = calloc(1, sizeof *state);
    struct state_hasher hasher;
    struct state_grouper grouper;
    cr_assert(state != NULL && count <= ITEMS_MAX);
    state->count = count;
    state_hasher_init(&hasher);
    state_grouper_init(&grouper);
    for (size_t i = 0; i < count; i++) {
        char *const key = state->texts[i][0];
        char *const value = state->texts[i][1];
        (void)snprintf(key, TEXT_SIZE, "key%05zu", i);
        (void)snprintf(value, TEXT_SIZE, "%.*s", (int)(i % 7), "value of");
        state->items[i] = (struct state_item){span_text(key), span_text(value)};
        state_hasher_add(&hasher, state->items[i].key, state->items[i].value);
        struct digest digest;
        if (state_grouper_add(&grouper, &digest, state->items[i].key, state->items[i].value)) {
            state->digests[state->group_count++] = digest;
        }
    }
    struct digest last;
    if (state_grouper_finish(&grouper, &last)) {
        state->digests[state->group_count++] = last;
    }
    cr_assert(!state_grouper_finish(&grouper, &last), "it ends once");
    cr_assert(grouper.count == count);
    state->root = state_hasher_final(&hasher);
    return state;
}

static struct state_groups groups_from(const struct state *state, uint64_t first_group) {
    struct state_groups groups = {
        .digests = state->digests, .item_count = state->count, .first_group = first_group};
    if (first_group != 0) {
        groups.last_key = state->items[first_group * STATE_GROUP_ITEMS - 1].key;
    }
    return groups;
}

Test(state_parts, groups_lead_to_the_root) {
    for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
        struct state *const state = state_of(counts[c]);
        cr_assert(state->group_count == state_group_count(counts[c]));
        cr_assert(state_groups_hold(state->digests, state->group_count, counts[c], &state->root),
                  "%zu items", state->count);
        uint64_t sum = 0;
        for (uint64_t group = 0; group < state->group_count + 2; group++) {
            sum += state_group_size(group, counts[c]);
        }
        cr_assert(sum == counts[c]);
        free(state);
    }
}

Test(state_parts, every_count_up_to_some_groups) {
    for (size_t count = 0; count <= 5u * STATE_GROUP_ITEMS + 1; count++) {
        struct state *const state = state_of(count);
        cr_assert(state_groups_hold(state->digests, state->group_count, count, &state->root));
        free(state);
    }
}

Test(state_parts, other_digests_do_not_hold) {
    for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
        struct state *const state = state_of(counts[c]);
        uint64_t const groups = state->group_count;
        struct digest other = state->root;
        other.bytes[31] ^= 1;
        cr_assert(!state_groups_hold(state->digests, groups, counts[c], &other));
        cr_assert(!state_groups_hold(state->digests, groups + 1, counts[c], &state->root));
        cr_assert(groups == 0 ||
                  !state_groups_hold(state->digests, groups - 1, counts[c], &state->root));
        cr_assert(!state_groups_hold(state->digests, groups, counts[c] + STATE_GROUP_ITEMS,
                                     &state->root));
        for (uint64_t i = 0; i < groups; i++) {
            state->digests[i].bytes[i % 32] ^= 4;
            cr_assert(!state_groups_hold(state->digests, groups, counts[c], &state->root));
            state->digests[i].bytes[i % 32] ^= 4;
        }
        if (groups > 1) {
            struct digest const first = state->digests[0];
            state->digests[0] = state->digests[1];
            state->digests[1] = first;
            cr_assert(!state_groups_hold(state->digests, groups, counts[c], &state->root));
        }
        free(state);
    }
}

Test(state_parts, huge_counts_have_no_odd_sizes) {
    cr_assert(state_group_count(UINT64_MAX) == (uint64_t)1 << 58);
    cr_assert(state_group_size(((uint64_t)1 << 58) - 1, UINT64_MAX) == 63);
    cr_assert(state_group_size((uint64_t)1 << 58, UINT64_MAX) == 0);
    cr_assert(state_group_size(UINT64_MAX, UINT64_MAX) == 0);
    cr_assert(state_group_size(0, 0) == 0);
    struct state *const state = state_of(1);
    cr_assert(!state_groups_hold(state->digests, 1, UINT64_MAX, &state->root));
    free(state);
}

Test(state_parts, whole_groups_are_taken) {
    for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
        struct state *const state = state_of(counts[c]);
        for (uint64_t first = 0; first < state->group_count; first += 1 + first / 3) {
            for (uint64_t end = first + 1; end <= state->group_count; end += 1 + end / 2) {
                struct state_groups const groups = groups_from(state, first);
                size_t const at = first * STATE_GROUP_ITEMS;
                size_t const upto = end * STATE_GROUP_ITEMS;
                size_t const count = (upto < state->count ? upto : state->count) - at;
                cr_assert(state_groups_check(&groups, &state->items[at], count) == end - first);
                cr_assert(state_groups_check(&groups, &state->items[at], count - 1) != end - first);
            }
        }
        free(state);
    }
}

Test(state_parts, parts_of_groups_are_not) {
    struct state *const state = state_of(200);
    struct state_groups const groups = groups_from(state, 0);
    for (size_t count = 0; count <= 200; count++) {
        bool const whole = count % STATE_GROUP_ITEMS == 0 || count == 200;
        uint64_t const taken = state_groups_check(&groups, state->items, count);
        cr_assert(taken == (whole ? state_group_count(count) : 0), "%zu", count);
    }
    /* The first 63 of 64 items are not a last group; nor is there anything after the end. */
    cr_assert(state_groups_check(&groups, &state->items[1], 64) == 0);
    struct state_groups const after = {
        .digests = state->digests, .item_count = 200, .first_group = 4};
    cr_assert(state_groups_check(&after, state->items, 64) == 0);
    struct state_groups const far = {
        .digests = state->digests, .item_count = 200, .first_group = UINT64_MAX};
    cr_assert(state_groups_check(&far, state->items, 64) == 0);
    free(state);
}

Test(state_parts, more_than_there_is_is_not) {
    struct state *const state = state_of(65);
    struct state_groups groups = groups_from(state, 0);
    groups.item_count = 64; /* the 65th follows the last group */
    cr_assert(state_groups_check(&groups, state->items, 64) == 1);
    cr_assert(state_groups_check(&groups, state->items, 65) == 0);
    free(state);
}

Test(state_parts, another_key_or_value_is_not) {
    struct state *const state = state_of(130);
    for (size_t i = 0; i < 130; i++) {
        uint64_t const group = i / STATE_GROUP_ITEMS;
        struct state_groups const groups = groups_from(state, group);
        const struct state_item *const items = &state->items[group * STATE_GROUP_ITEMS];
        size_t const count = state_group_size(group, 130);
        cr_assert(state_groups_check(&groups, items, count) == 1);
        for (unsigned part = 0; part < 2; part++) {
            char *const text = state->texts[i][part];
            text[0] ^= 1; /* an empty value grows nothing by it */
            bool const same = part == 1 && state->items[i].value.size == 0;
            cr_assert(state_groups_check(&groups, items, count) == (same ? 1u : 0u));
            text[0] ^= 1;
        }
        /* The same bytes, with a byte of the key counted to the value. */
        struct state_item const item = state->items[i];
        char joined[2 * TEXT_SIZE];
        (void)snprintf(joined, sizeof joined, "%s%s", state->texts[i][0], state->texts[i][1]);
        state->items[i].key = span_of(joined, item.key.size - 1);
        state->items[i].value = span_of(joined + item.key.size - 1, item.value.size + 1);
        cr_assert(state_groups_check(&groups, items, count) == 0);
        state->items[i] = item;
    }
    free(state);
}

Test(state_parts, keys_must_ascend_from_the_last) {
    struct state *const state = state_of(128);
    struct state_groups groups = groups_from(state, 1);
    const struct state_item *const items = &state->items[STATE_GROUP_ITEMS];
    cr_assert(state_groups_check(&groups, items, 64) == 1);
    groups.last_key = items[0].key;
    cr_assert(state_groups_check(&groups, items, 64) == 0);
    groups.last_key = span_text("key99999");
    cr_assert(state_groups_check(&groups, items, 64) == 0);
    groups.last_key = span_text("key0006");
    cr_assert(state_groups_check(&groups, items, 64) == 1);
    free(state);
}

/* A state that a quorum signed, but which no engine makes: its digests hold, its items do not. */
static uint64_t check_two(struct state_item first, struct state_item second) {
    struct state_item const items[] = {first, second};
    struct state_grouper grouper;
    struct digest digest;
    state_grouper_init(&grouper);
    for (unsigned i = 0; i < 2; i++) {
        cr_assert(!state_grouper_add(&grouper, &digest, items[i].key, items[i].value));
    }
    cr_assert(state_grouper_finish(&grouper, &digest));
    struct state_groups const groups = {.digests = &digest, .item_count = 2};
    return state_groups_check(&groups, items, 2);
}

Test(state_parts, limits_hold_whatever_the_digests_say) {
    static const uint8_t bytes[VALUE_SIZE_MAX + 1] = {'z'};
    struct span const a = span_text("a");
    struct span const b = span_text("b");
    struct span const none = span_of(NULL, 0);
    cr_assert(check_two((struct state_item){a, none}, (struct state_item){b, b}) == 1);
    cr_assert(check_two((struct state_item){a, b}, (struct state_item){a, b}) == 0);
    cr_assert(check_two((struct state_item){b, a}, (struct state_item){a, b}) == 0);
    cr_assert(check_two((struct state_item){none, a}, (struct state_item){a, b}) == 0);
    struct span const largest_key = span_of(bytes, KEY_SIZE_MAX);
    struct span const larger_key = span_of(bytes, KEY_SIZE_MAX + 1);
    cr_assert(check_two((struct state_item){a, b}, (struct state_item){largest_key, b}) == 1);
    cr_assert(check_two((struct state_item){a, b}, (struct state_item){larger_key, b}) == 0);
    struct span const largest = span_of(bytes, VALUE_SIZE_MAX);
    struct span const larger = span_of(bytes, VALUE_SIZE_MAX + 1);
    cr_assert(check_two((struct state_item){a, largest}, (struct state_item){b, b}) == 1);
    cr_assert(check_two((struct state_item){a, larger}, (struct state_item){b, b}) == 0);
}
