/*
 * state_part: tests of audit-tool/state_part: what is chosen of a state leads to its root and
 * answers what was asked for; nothing else does, and an absence is never made up.
 */
#include "audit-tool/state_part.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/prng.h"

#define ITEMS_MAX 70u
#define TEXT_SIZE 8u

/* A state of keys k0000, k0002, …: what lies between two of them is absent. */
struct sample {
    uint32_t count;
    char keys[ITEMS_MAX][TEXT_SIZE];
    struct state_item items[ITEMS_MAX];
    struct digest root;
};

static void sample_make(struct sample *sample, uint32_t count) {
    struct state_hasher hasher;
    state_hasher_init(&hasher);
    sample->count = count;
    for (uint32_t i = 0; i < count; i++) {
        (void)snprintf(sample->keys[i], TEXT_SIZE, "k%04u", 2 * i);
        sample->items[i] = (struct state_item){.key = span_text(sample->keys[i]),
                                               .value = span_text(sample->keys[i])};
        state_hasher_add(&hasher, sample->items[i].key, sample->items[i].value);
    }
    sample->root = state_hasher_final(&hasher);
}

static struct fragment whole_of(const struct sample *sample) {
    return (struct fragment){.state_count = sample->count, .state = sample->items};
}

/* Ask for a key, or for the first one from there on. */
static int ask(struct state_part *part, uint32_t number, bool seek, struct span *found) {
    struct state_base const base = state_part_base(part);
    char text[TEXT_SIZE];
    struct span value;
    (void)snprintf(text, sizeof text, "k%04u", number);
    *found = span_text("");
    return seek ? base.seek(base.context, span_text(text), found, &value)
                : base.get(base.context, span_text(text), found);
}

/* One choice from a state: by these questions. */
struct chosen {
    struct state_part whole;
    struct state_part part;
    struct state_choice choice;
    struct fragment fragment;
};

static void choose(struct chosen *chosen, const struct sample *sample, const uint32_t *numbers,
                   const bool *seeks, uint32_t count) {
    struct span found;
    chosen->fragment = whole_of(sample);
    cr_assert(state_part_init(&chosen->whole, &chosen->fragment, sample->count));
    for (uint32_t i = 0; i < count; i++) {
        cr_assert_geq(ask(&chosen->whole, numbers[i], seeks[i], &found), 0);
    }
    state_choice_init(&chosen->choice);
    cr_assert(state_choose(&chosen->choice, &chosen->fragment, &chosen->whole));
    cr_assert(state_part_init(&chosen->part, &chosen->fragment, sample->count));
}

static void chosen_free(struct chosen *chosen) {
    state_part_free(&chosen->part);
    state_choice_free(&chosen->choice);
    state_part_free(&chosen->whole);
}

/* Whatever a part answers is what the whole state answers. */
static void expect_truth(struct chosen *chosen, uint32_t limit) {
    for (uint32_t number = 0; number < limit; number++) {
        for (unsigned seek = 0; seek < 2; seek++) {
            struct span expected;
            struct span found;
            int const truth = ask(&chosen->whole, number, seek != 0, &expected);
            int const answer = ask(&chosen->part, number, seek != 0, &found);
            cr_assert(answer == -1 || (answer == truth && span_equal(expected, found)),
                      "%u of %u: %d for %d", number, limit, answer, truth);
        }
    }
}

Test(state_part, parts_of_every_state) {
    struct prng prng;
    prng_init(&prng, 7);
    for (uint32_t count = 0; count <= ITEMS_MAX; count++) {
        struct sample sample;
        sample_make(&sample, count);
        for (uint32_t round = 0; round < 40; round++) {
            uint32_t numbers[6];
            bool seeks[6];
            struct chosen chosen;
            struct digest root;
            struct span found;
            uint32_t const asked = (uint32_t)prng_below(&prng, 7);
            for (uint32_t i = 0; i < asked; i++) {
                numbers[i] = (uint32_t)prng_below(&prng, 2 * count + 3);
                seeks[i] = prng_below(&prng, 2) == 0;
            }
            choose(&chosen, &sample, numbers, seeks, asked);
            cr_assert(state_part_root(&root, &chosen.fragment, count));
            cr_assert(digest_equal(&root, &sample.root), "%u items", count);
            for (uint32_t i = 0; i < asked; i++) {
                cr_assert_geq(ask(&chosen.part, numbers[i], seeks[i], &found), 0);
            }
            cr_assert(state_part_is_minimal(&chosen.part));
            cr_assert_not(chosen.part.lacking);
            expect_truth(&chosen, 2 * count + 3);
            chosen_free(&chosen);
        }
    }
}

Test(state_part, what_was_left_out_is_not_absent) {
    static const uint32_t numbers[] = {20};
    static const bool seeks[] = {false};
    struct sample sample;
    struct chosen chosen;
    struct span found;
    sample_make(&sample, 40);
    choose(&chosen, &sample, numbers, seeks, 1);
    cr_assert_eq(chosen.fragment.state_count, 1);
    cr_assert_eq(ask(&chosen.part, 20, false, &found), 1);
    cr_assert_eq(ask(&chosen.part, 21, false, &found), -1, "its neighbour is not here");
    cr_assert_eq(ask(&chosen.part, 22, false, &found), -1);
    cr_assert_eq(ask(&chosen.part, 999, true, &found), -1, "the last one is not here");
    cr_assert(chosen.part.lacking);
    chosen_free(&chosen);
}

Test(state_part, every_change_gives_another_root) {
    static const uint32_t numbers[] = {10, 31, 99};
    static const bool seeks[] = {false, false, true};
    struct sample sample;
    struct chosen chosen;
    struct digest root;
    sample_make(&sample, 37);
    choose(&chosen, &sample, numbers, seeks, 3);
    struct fragment *const fragment = &chosen.fragment;
    uint64_t *const places = (uint64_t *)(void *)chosen.choice.places.data;
    for (uint32_t i = 0; i < fragment->state_count; i++) {
        uint64_t const place = places[i];
        for (uint64_t other = 0; other < 90; other++) {
            bool const ascends = (i == 0 || other > places[i - 1]) &&
                                 (i + 1 == fragment->state_count || other < places[i + 1]);
            places[i] = other;
            if (ascends && other != place) {
                cr_assert_not(state_part_root(&root, fragment, 37) &&
                              digest_equal(&root, &sample.root));
            }
        }
        places[i] = place;
    }
    for (uint64_t total = 0; total < 90; total++) {
        cr_assert_eq(state_part_root(&root, fragment, total) && digest_equal(&root, &sample.root),
                     total == 37);
    }
    for (size_t i = 0; i < chosen.choice.path.size; i++) {
        chosen.choice.path.data[i] ^= 1;
        cr_assert_not(state_part_root(&root, fragment, 37) && digest_equal(&root, &sample.root));
        chosen.choice.path.data[i] ^= 1;
    }
    fragment->path_count--;
    cr_assert_not(state_part_root(&root, fragment, 37));
    fragment->path_count++;
    fragment->state_count--;
    fragment->place_count--;
    cr_assert_not(state_part_root(&root, fragment, 37));
    cr_assert_not(state_part_root(&root, fragment, UINT64_MAX));
    chosen_free(&chosen);
}
