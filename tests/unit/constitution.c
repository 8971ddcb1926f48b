/*
 * constitution: tests of governance/constitution.h: what follows from a constitution, whose names
 * and keys are in it, and what a voting rule lets pass.
 */
#include "governance/constitution.h"

#include <criterion/criterion.h>

#include "governance/founding.h"
#include "tests/forge/charter.h"

static struct consortium consortium;
static struct charter charter;

static void set_up(void) {
    consortium_found(&consortium, &(struct consortium_options){.replica_count = 7});
    charter_found(&charter, &consortium);
}

static void tear_down(void) {
    charter_free(&charter);
    consortium_free(&consortium);
}

TestSuite(constitution, .init = set_up, .fini = tear_down);

Test(constitution, is_founded_by_genesis) {
    static struct configuration configuration;
    const struct constitution *const founded = &charter.now;
    cr_assert_eq(founded->number, FOUNDING_CONFIGURATION);
    cr_assert_eq(founded->member_count, 7);
    cr_assert_eq(founded->replica_count, 7);
    cr_assert_eq(founded->user_count, CONSORTIUM_USERS);
    cr_assert_eq(founded->rule.numerator, 1);
    cr_assert_eq(founded->rule.denominator, 2);
    cr_assert_str_eq(founded->users[1].name, "bob");
    cr_assert(founded->replicas[3].founding);
    cr_assert(span_equal(constitution_endorsement(&founded->replicas[3]),
                         consortium.genesis.endorsements[3].body));
    constitution_configuration(&configuration, founded);
    cr_assert(charter_same_configuration(&configuration, &consortium.configuration),
              "one rule makes the founding configuration");
}

Test(constitution, comes_back_from_its_encoding) {
    static struct constitution read;
    static struct constitution changed;
    struct digest digests[3];
    struct arena arena;
    struct buffer bytes;
    arena_init(&arena, (size_t)4 << 20);
    buffer_init(&bytes, CONSTITUTION_SIZE_MAX);
    cr_assert(constitution_encode(&bytes, &charter.now));
    cr_assert_eq(constitution_open(&read, &arena, &charter.now.service, buffer_span(&bytes)),
                 CODEC_OK);
    cr_assert(constitution_digest(&digests[0], &charter.now));
    cr_assert(constitution_digest(&digests[1], &read));
    cr_assert(digest_equal(&digests[0], &digests[1]));
    struct digest const by_hand =
        hash_labelled(LABEL_CONSTITUTION, &charter.now.service, buffer_span(&bytes));
    cr_assert(digest_equal(&digests[0], &by_hand));
    changed = charter.now;
    changed.number++;
    cr_assert(constitution_digest(&digests[2], &changed));
    cr_assert(!digest_equal(&digests[0], &digests[2]));
    changed = charter.now;
    changed.service.bytes[0] ^= 1;
    cr_assert(constitution_digest(&digests[2], &changed));
    cr_assert(!digest_equal(&digests[0], &digests[2]), "the service is bound");
    buffer_free(&bytes);
    arena_free(&arena);
}

static void expect_open(const struct constitution *constitution, enum codec_result expected) {
    static struct constitution read;
    struct arena arena;
    struct buffer bytes;
    arena_init(&arena, (size_t)4 << 20);
    buffer_init(&bytes, CONSTITUTION_SIZE_MAX);
    cr_assert(constitution_encode(&bytes, constitution));
    cr_assert_eq(constitution_open(&read, &arena, &constitution->service, buffer_span(&bytes)),
                 expected);
    buffer_free(&bytes);
    arena_free(&arena);
}

Test(constitution, holds_no_bad_key) {
    static const struct public_key identity = {{1}};
    static struct constitution changed;
    struct bad_key bad;
    expect_open(&charter.now, CODEC_OK);
    cr_assert_not(constitution_find_bad_key(&charter.now, &bad));
    changed = charter.now;
    changed.users[2].key = identity;
    expect_open(&changed, CODEC_MISMATCH);
    cr_assert(constitution_find_bad_key(&changed, &bad));
    cr_assert(!bad.twice && bad.role == HOLDER_USER && bad.position == 2);
    changed = charter.now;
    changed.users[2].key = changed.members[4].key;
    expect_open(&changed, CODEC_MISMATCH);
    cr_assert(constitution_find_bad_key(&changed, &bad) && bad.twice);
    changed = charter.now;
    changed.members[4].key = changed.replicas[1].identity.key;
    expect_open(&changed, CODEC_MISMATCH);
    cr_assert(constitution_find_bad_key(&changed, &bad) && bad.twice);
    cr_assert(public_key_equal(&bad.key, &changed.replicas[1].identity.key));
}

Test(constitution, knows_names_and_keys) {
    const struct constitution *const now = &charter.now;
    uint32_t position = 99;
    cr_assert(constitution_find_member(now, span_text("bank-c"), &position));
    cr_assert_eq(position, 2);
    cr_assert_not(constitution_find_member(now, span_text("bank-"), &position));
    cr_assert_not(constitution_find_member(now, span_text("alice"), &position));
    cr_assert(constitution_find_user(now, span_text("alice"), &position));
    cr_assert_eq(position, 0);
    cr_assert_not(constitution_find_user(now, span_text("bank-c"), &position));
    cr_assert(constitution_find_member_key(now, &consortium.members[5].key, &position));
    cr_assert_eq(position, 5);
    cr_assert_not(constitution_find_member_key(now, &consortium.users[0].key, &position));
    cr_assert(constitution_find_replica(now, &consortium.replicas[6].signing.key, &position));
    cr_assert_eq(position, 6);
    cr_assert_not(constitution_find_replica(now, &consortium.members[6].key, &position));
    cr_assert(constitution_has_key(now, &consortium.users[2].key));
    cr_assert(constitution_has_key(now, &consortium.members[0].key));
    cr_assert(constitution_has_key(now, &consortium.replicas[0].signing.key));
    cr_assert_not(constitution_has_key(now, &consortium.stranger.key));
}

Test(constitution, voting_rules_have_bounds) {
    static const struct {
        struct voting_rule rule;
        bool sound;
    } cases[] = {{{1, 2}, true},           {{2, 3}, true},     {{99, 100}, true},
                 {{50, 100}, true},        {{49, 100}, false}, {{1, 3}, false},
                 {{2, 2}, false},          {{3, 2}, false},    {{0, 0}, false},
                 {{0, 1}, false},          {{1, 1}, false},    {{1, 0}, false},
                 {{51, 101}, false},       {{50, 99}, true},   {{UINT32_MAX, 100}, false},
                 {{1, UINT32_MAX}, false}, {{50, 101}, false}, {{100, 100}, false}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cr_expect_eq(voting_rule_sound(&cases[i].rule), cases[i].sound, "%u/%u",
                     cases[i].rule.numerator, cases[i].rule.denominator);
    }
}

/* Strictly more than the share; and lost once the others are too few for it. */
Test(constitution, votes_are_counted) {
    for (uint32_t members = 1; members <= MEMBERS_MAX; members++) {
        struct voting_rule const half = {1, 2};
        struct voting_rule const most = {99, 100};
        cr_assert_not(voting_rule_passes(&half, members / 2, members));
        cr_assert(voting_rule_passes(&half, members / 2 + 1, members));
        cr_assert_not(voting_rule_passes(&most, members - 1, members));
        cr_assert(voting_rule_passes(&most, members, members), "every rule can be reached");
        for (uint32_t no = 0; no <= members; no++) {
            cr_assert_eq(voting_rule_fails(&half, no, members), 2 * (members - no) <= members);
        }
    }
    struct voting_rule const thirds = {2, 3};
    cr_assert_not(voting_rule_passes(&thirds, 4, 6));
    cr_assert(voting_rule_passes(&thirds, 5, 6));
    cr_assert_not(voting_rule_fails(&thirds, 1, 6));
    cr_assert(voting_rule_fails(&thirds, 2, 6));
}
