/*
 * proposal: tests of governance/proposal.h: every action does what it says, every rule refuses with
 * its own words and lets pass what is at its bound, and a consortium can grow and shrink.
 */
#include "governance/proposal.h"

#include <criterion/criterion.h>

#include "tests/forge/charter.h"

static struct consortium consortium;
static struct charter charter;
static struct constitution next;

static void set_up(void) {
    consortium_found(&consortium, &(struct consortium_options){0});
    charter_found(&charter, &consortium);
}

static void tear_down(void) {
    charter_free(&charter);
    consortium_free(&consortium);
}

TestSuite(proposal, .init = set_up, .fini = tear_down, .timeout = 170);

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static struct proposal_verdict apply(uint32_t count, const struct action *actions) {
    struct proposal decoded;
    charter_decode(&charter, &decoded, charter_propose(&charter, count, actions));
    return proposal_apply(&next, &charter.now, &decoded);
}

/* The last action is the one to blame; or none of them, if the rule is about the whole. */
static void expect_refused(enum proposal_rule rule, uint32_t count, const struct action *actions) {
    struct proposal_verdict const verdict = apply(count, actions);
    cr_assert_eq(verdict.rule, rule, "%s", proposal_rule_text(verdict.rule));
    cr_assert_eq(verdict.action, rule < PROPOSAL_NOTHING ? count : 0);
}

/* A sound one, and what comes of it is a constitution like any other. */
static void expect_sound(uint32_t count, const struct action *actions) {
    static struct constitution read;
    struct proposal_verdict const verdict = apply(count, actions);
    struct arena arena;
    struct buffer bytes;
    cr_assert_eq(verdict.rule, PROPOSAL_SOUND, "%s", proposal_rule_text(verdict.rule));
    cr_assert_eq(next.number, charter.now.number + 1);
    arena_init(&arena, (size_t)4 << 20);
    buffer_init(&bytes, CONSTITUTION_SIZE_MAX);
    cr_assert(constitution_encode(&bytes, &next));
    cr_assert_eq(constitution_open(&read, &arena, &next.service, buffer_span(&bytes)), CODEC_OK);
    buffer_free(&bytes);
    arena_free(&arena);
}

static const struct public_key *replica_key(uint32_t replica) {
    return &charter.now.replicas[replica].identity.key;
}

Test(proposal, every_rule_has_words_of_its_own) {
    for (int i = 0; i < PROPOSAL_RULE_COUNT; i++) {
        for (int k = 0; k < i; k++) {
            cr_assert_str_neq(proposal_rule_text((enum proposal_rule)i),
                              proposal_rule_text((enum proposal_rule)k));
        }
    }
}

/* ---- members and users ---- */

Test(proposal, members_come_rotate_and_go) {
    struct action const add = charter_named(&charter, ACTION_ADD_MEMBER, "bank-z", 5000);
    expect_sound(1, &add);
    cr_assert_eq(next.member_count, 5);
    cr_assert_str_eq(next.members[4].name, "bank-z");
    cr_assert(public_key_equal(&next.members[4].key, &add.key));
    struct action const rotate = charter_named(&charter, ACTION_ROTATE_MEMBER, "bank-b", 5001);
    expect_sound(1, &rotate);
    cr_assert(public_key_equal(&next.members[1].key, &rotate.key));
    cr_assert_eq(next.replicas[1].identity.member, 1, "endorsements under the old key stay");
    /* bank-b goes, and bank-c takes its replica over: positions behind it move up. */
    struct action const removal[] = {charter_without(ACTION_REMOVE_MEMBER, "bank-b"),
                                     charter_replica(&charter, replica_key(1), "bank-c", 5002)};
    expect_sound(2, removal);
    cr_assert_eq(next.member_count, 3);
    cr_assert_str_eq(next.members[1].name, "bank-c");
    static const uint32_t operators[] = {0, 1, 1, 2};
    for (uint32_t i = 0; i < 4; i++) {
        cr_assert_eq(next.replicas[i].identity.member, operators[i]);
    }
}

Test(proposal, users_come_rotate_and_go) {
    struct action const actions[] = {charter_named(&charter, ACTION_ADD_USER, "dave", 5000),
                                     charter_named(&charter, ACTION_ROTATE_USER, "bob", 5001),
                                     charter_without(ACTION_REMOVE_USER, "alice")};
    expect_sound(3, actions);
    cr_assert_eq(next.user_count, 3);
    cr_assert_str_eq(next.users[0].name, "bob");
    cr_assert(public_key_equal(&next.users[0].key, &actions[1].key));
    cr_assert_str_eq(next.users[2].name, "dave");
    /* A user may be called as a member is, as in genesis: they are never mistaken. */
    struct action const same = charter_named(&charter, ACTION_ADD_USER, "bank-a", 5002);
    expect_sound(1, &same);
}

Test(proposal, names_are_free_or_there) {
    struct action pair[] = {charter_named(&charter, ACTION_ADD_MEMBER, "bank-a", 5000),
                            charter_named(&charter, ACTION_ADD_MEMBER, "bank-y", 5001)};
    expect_refused(PROPOSAL_NAME_TAKEN, 1, pair);
    pair[0] = charter_named(&charter, ACTION_ADD_MEMBER, "bank-y", 5000);
    expect_refused(PROPOSAL_NAME_TAKEN, 2, pair);
    pair[0] = charter_without(ACTION_REMOVE_MEMBER, "bank-a"); /* it was somebody */
    pair[1] = charter_named(&charter, ACTION_ADD_MEMBER, "bank-a", 5001);
    expect_refused(PROPOSAL_NAME_TAKEN, 2, pair);
    pair[0] = charter_without(ACTION_REMOVE_USER, "bob");
    pair[1] = charter_named(&charter, ACTION_ADD_USER, "bob", 5001);
    expect_refused(PROPOSAL_NAME_TAKEN, 2, pair);
    pair[0] = charter_named(&charter, ACTION_ADD_USER, "bob", 5001);
    expect_refused(PROPOSAL_NAME_TAKEN, 1, pair);
    pair[0] = charter_without(ACTION_REMOVE_MEMBER, "bob");
    expect_refused(PROPOSAL_NO_MEMBER, 1, pair);
    pair[0] = charter_named(&charter, ACTION_ROTATE_MEMBER, "bob", 5001);
    expect_refused(PROPOSAL_NO_MEMBER, 1, pair);
    pair[0] = charter_without(ACTION_REMOVE_USER, "bank-a");
    expect_refused(PROPOSAL_NO_USER, 1, pair);
    pair[0] = charter_named(&charter, ACTION_ROTATE_USER, "dave", 5001);
    expect_refused(PROPOSAL_NO_USER, 1, pair);
    pair[0] = charter_without(ACTION_REMOVE_USER, "bob");
    pair[1] = pair[0];
    expect_refused(PROPOSAL_NO_USER, 2, pair);
}

/* ---- keys ---- */

/* The action with a key of which the pair is at hand, and that has signed for this use. */
static struct action with_key(struct action action, enum holder_role role,
                              const struct key_pair *pair) {
    action.key = pair->key;
    action.possession = charter_possession(&charter, pair, role, action.name);
    return action;
}

Test(proposal, keys_have_one_holder_each) {
    const struct key_pair *const holders[] = {&consortium.members[2], &consortium.users[1],
                                              &consortium.replicas[3].signing};
    for (size_t i = 0; i < COUNT(holders); i++) {
        struct action action = charter_named(&charter, ACTION_ADD_MEMBER, "bank-z", 5000);
        action = with_key(action, HOLDER_MEMBER, holders[i]);
        expect_refused(PROPOSAL_KEY_TAKEN, 1, &action);
        action = charter_named(&charter, ACTION_ADD_USER, "dave", 5000);
        action = with_key(action, HOLDER_USER, holders[i]);
        expect_refused(PROPOSAL_KEY_TAKEN, 1, &action);
        action = charter_named(&charter, ACTION_ROTATE_MEMBER, "bank-c", 5000);
        action = with_key(action, HOLDER_MEMBER, holders[i]); /* its own, too */
        expect_refused(PROPOSAL_KEY_TAKEN, 1, &action);
        action = charter_replica(&charter, NULL, "bank-a", 5000);
        action.replica.replica_key = holders[i]->key;
        charter_endorse(&charter, &action, &consortium.members[0]);
        expect_refused(PROPOSAL_KEY_TAKEN, 1, &action);
    }
    /* One that came with an action before; one that an action before set free. */
    struct action pair[] = {charter_named(&charter, ACTION_ADD_USER, "dave", 5000),
                            charter_named(&charter, ACTION_ADD_MEMBER, "bank-z", 5000)};
    expect_refused(PROPOSAL_KEY_TAKEN, 2, pair);
    pair[0] = charter_without(ACTION_REMOVE_USER, "bob");
    pair[1] = with_key(pair[1], HOLDER_MEMBER, &consortium.users[1]);
    expect_refused(PROPOSAL_KEY_TAKEN, 2, pair);
    pair[0] = charter_replica_gone(replica_key(3));
    pair[1] = charter_replica(&charter, NULL, "bank-a", 5001);
    pair[1].replica.replica_key = *replica_key(3);
    charter_endorse(&charter, &pair[1], &consortium.members[0]);
    expect_refused(PROPOSAL_KEY_TAKEN, 2, pair);
    /* Once it is in force that they are free, anybody may have them. */
    struct action const removal = charter_without(ACTION_REMOVE_USER, "bob");
    charter_pass(&charter, charter_propose(&charter, 1, &removal));
    struct action action = charter_named(&charter, ACTION_ADD_MEMBER, "bank-z", 5002);
    action = with_key(action, HOLDER_MEMBER, &consortium.users[1]);
    expect_sound(1, &action);
}

Test(proposal, keys_are_points_and_have_signed) {
    static const struct public_key identity = {{1}};
    const struct key_pair *const other = charter_key(&charter, 5001);
    struct action action = charter_named(&charter, ACTION_ADD_MEMBER, "bank-z", 5000);
    struct action const good = action;
    expect_sound(1, &good);
    action.key = identity;
    expect_refused(PROPOSAL_KEY_INVALID, 1, &action);
    action = good;
    action.possession.bytes[SIGNATURE_SIZE / 2] ^= 1;
    expect_refused(PROPOSAL_POSSESSION, 1, &action);
    action = good;
    action.key = other->key; /* another has signed */
    expect_refused(PROPOSAL_POSSESSION, 1, &action);
    action = good; /* signed for another name */
    action.possession = charter_possession(&charter, charter_key(&charter, 5000), HOLDER_MEMBER,
                                           span_text("bank-y"));
    expect_refused(PROPOSAL_POSSESSION, 1, &action);
    action = good; /* … to be a user */
    action.possession =
        charter_possession(&charter, charter_key(&charter, 5000), HOLDER_USER, action.name);
    expect_refused(PROPOSAL_POSSESSION, 1, &action);
    charter.now.service.bytes[0] ^= 1; /* … in another service */
    action = charter_named(&charter, ACTION_ADD_MEMBER, "bank-z", 5000);
    charter.now.service.bytes[0] ^= 1;
    expect_refused(PROPOSAL_POSSESSION, 1, &action);
    static const enum action_kind kinds[] = {ACTION_ROTATE_MEMBER, ACTION_ADD_USER,
                                             ACTION_ROTATE_USER};
    static const char *const names[] = {"bank-a", "dave", "bob"};
    for (size_t i = 0; i < COUNT(kinds); i++) {
        action = charter_named(&charter, kinds[i], names[i], 5000);
        expect_sound(1, &action);
        action.possession.bytes[0] ^= 1;
        expect_refused(PROPOSAL_POSSESSION, 1, &action);
        action = charter_named(&charter, kinds[i], names[i], 5000);
        action.key = identity;
        expect_refused(PROPOSAL_KEY_INVALID, 1, &action);
    }
}

/* ---- replicas ---- */

Test(proposal, replicas_come_are_replaced_and_go) {
    struct action const add = charter_replica(&charter, NULL, "bank-b", 5000);
    expect_sound(1, &add);
    cr_assert_eq(next.replica_count, 5);
    cr_assert_eq(next.replicas[4].identity.member, 1);
    cr_assert(!next.replicas[4].founding);
    cr_assert_str_eq(next.replicas[4].identity.peer_address, "replica.example:7400");
    struct action const replace = charter_replica(&charter, replica_key(2), "bank-c", 5000);
    expect_sound(1, &replace);
    cr_assert_eq(next.replica_count, 4);
    cr_assert(public_key_equal(&next.replicas[2].identity.key, &replace.replica.replica_key));
    struct action const both[] = {add, charter_replica_gone(replica_key(0))};
    expect_sound(2, both);
    cr_assert_eq(next.replica_count, 4);
    cr_assert(public_key_equal(&next.replicas[0].identity.key, replica_key(1)));
    /* A new member brings its replica. */
    struct action joins[] = {charter_named(&charter, ACTION_ADD_MEMBER, "bank-z", 5001),
                             charter_replica(&charter, NULL, "bank-z", 5002)};
    charter_endorse(&charter, &joins[1], charter_key(&charter, 5001));
    expect_sound(2, joins);
    cr_assert_eq(next.replicas[4].identity.member, 4);
}

Test(proposal, a_replica_may_keep_its_key) {
    const struct key_pair *const pair = &consortium.replicas[1].signing;
    struct action action = charter_replica(&charter, replica_key(1), "bank-b", 5000);
    action.replica.replica_key = pair->key;
    charter_endorse(&charter, &action, &consortium.members[1]);
    expect_refused(PROPOSAL_POSSESSION, 1, &action);
    action.possession = charter_possession(&charter, pair, HOLDER_REPLICA, span_text("bank-b"));
    expect_sound(1, &action); /* with another TLS key and other addresses */
    action.replica.tls_digest = charter.now.replicas[1].identity.tls_digest;
    charter_endorse(&charter, &action, &consortium.members[1]);
    expect_sound(1, &action);
    charter_pass(&charter, charter_propose(&charter, 1, &action));
    expect_refused(PROPOSAL_NOTHING, 1, &action);
    /* The same endorsed anew, by a new key of its member, is something. */
    struct action const rotate = charter_named(&charter, ACTION_ROTATE_MEMBER, "bank-b", 5001);
    charter_pass(&charter, charter_propose(&charter, 1, &rotate));
    charter_endorse(&charter, &action, charter_key(&charter, 5001));
    expect_sound(1, &action);
}

Test(proposal, replicas_are_endorsed) {
    struct action action = charter_replica(&charter, NULL, "bank-b", 5000);
    struct action const good = action;
    charter_endorse(&charter, &action, &consortium.members[0]);
    expect_refused(PROPOSAL_ENDORSEMENT, 1, &action);
    action = good;
    action.endorsement.signature.bytes[3] ^= 1;
    expect_refused(PROPOSAL_ENDORSEMENT, 1, &action);
    action = good; /* signed for another address */
    action.replica.peer_address = span_text("elsewhere.example:1");
    charter_endorse(&charter, &action, &consortium.members[1]);
    action.endorsement.signature = good.endorsement.signature;
    expect_refused(PROPOSAL_ENDORSEMENT, 1, &action);
    action = charter_replica(&charter, NULL, "nobody", 5000);
    expect_refused(PROPOSAL_ENDORSER, 1, &action);
    action = charter_replica(&charter, NULL, "alice", 5000);
    expect_refused(PROPOSAL_ENDORSER, 1, &action);
    action = good; /* the replica has not agreed to this member */
    action.possession = charter_possession(&charter, charter_key(&charter, 5000), HOLDER_REPLICA,
                                           span_text("bank-a"));
    expect_refused(PROPOSAL_POSSESSION, 1, &action);
    action = good;
    action.replica.tls_digest = charter.now.replicas[0].identity.tls_digest;
    charter_endorse(&charter, &action, &consortium.members[1]);
    expect_refused(PROPOSAL_TLS_TAKEN, 1, &action);
    action = charter_replica_gone(&good.replica.replica_key);
    expect_refused(PROPOSAL_NO_REPLICA, 1, &action);
    action = charter_replica(&charter, &good.replica.replica_key, "bank-b", 5001);
    expect_refused(PROPOSAL_NO_REPLICA, 1, &action);
    /* With the key that its member has by then. */
    struct action rotated[] = {charter_named(&charter, ACTION_ROTATE_MEMBER, "bank-b", 5002), good};
    expect_refused(PROPOSAL_ENDORSEMENT, 2, rotated);
    charter_endorse(&charter, &rotated[1], charter_key(&charter, 5002));
    expect_sound(2, rotated);
}

Test(proposal, every_replica_keeps_an_operator) {
    struct action actions[] = {charter_without(ACTION_REMOVE_MEMBER, "bank-b"),
                               charter_replica_gone(replica_key(1)),
                               charter_replica(&charter, NULL, "bank-a", 5000)};
    expect_refused(PROPOSAL_OPERATOR, 1, actions);
    expect_refused(PROPOSAL_REPLICAS_FEW, 2, actions);
    expect_sound(3, actions); /* and the order is free */
    /* One that lost its operator is not found again when others lose theirs. */
    struct action const both[] = {charter_without(ACTION_REMOVE_MEMBER, "bank-b"),
                                  charter_without(ACTION_REMOVE_MEMBER, "bank-a"),
                                  charter_replica_gone(replica_key(0)),
                                  charter_replica(&charter, NULL, "bank-c", 5000)};
    expect_refused(PROPOSAL_OPERATOR, 4, both);
    struct action const all[] = {charter_without(ACTION_REMOVE_MEMBER, "bank-a"),
                                 charter_without(ACTION_REMOVE_MEMBER, "bank-b"),
                                 charter_without(ACTION_REMOVE_MEMBER, "bank-c"),
                                 charter_without(ACTION_REMOVE_MEMBER, "bank-d")};
    expect_refused(PROPOSAL_MEMBERS_NONE, 4, all);
}

Test(proposal, at_most_f_replicas_go) {
    struct action const two[] = {charter_replica(&charter, replica_key(0), "bank-a", 5000),
                                 charter_replica(&charter, replica_key(1), "bank-b", 5001)};
    expect_sound(1, two);
    expect_refused(PROPOSAL_REPLICAS_GONE, 2, two);
    struct action const mixed[] = {charter_replica(&charter, NULL, "bank-a", 5002),
                                   charter_replica(&charter, NULL, "bank-a", 5003),
                                   charter_replica_gone(replica_key(0)),
                                   charter_replica_gone(replica_key(1))};
    expect_sound(3, mixed);
    expect_refused(PROPOSAL_REPLICAS_GONE, 4, mixed);
}

/* The bounds by their reason: whatever quorum of the new ones answers. */
Test(proposal, a_quorum_knows_how_it_was) {
    for (uint32_t count = REPLICAS_MIN; count <= REPLICAS_MAX; count++) {
        uint32_t const faults = configuration_faults_max(count);
        uint32_t const quorum = count - faults;
        uint32_t const fresh = proposal_fresh_max(count);
        cr_assert_geq(quorum - fresh, faults + 1);
        cr_assert_lt(quorum - (fresh + 1), faults + 1);
        cr_assert_geq(count - proposal_gone_max(count), quorum);
    }
    struct action const three[] = {charter_replica(&charter, NULL, "bank-a", 5000),
                                   charter_replica(&charter, NULL, "bank-b", 5001),
                                   charter_replica(&charter, NULL, "bank-c", 5002)};
    expect_sound(1, three);
    expect_sound(2, three);
    expect_refused(PROPOSAL_REPLICAS_FRESH, 3, three);
    /* Replacing and adding count together. */
    struct action const both[] = {charter_replica(&charter, replica_key(0), "bank-a", 5003),
                                  three[0], three[1]};
    expect_sound(3, both);
    struct action const more[] = {both[0], both[1], both[2], three[2]};
    expect_refused(PROPOSAL_REPLICAS_FRESH, 4, more);
}

/* Grow or shrink by so many replicas at once, and go on from there. */
static void step_to(uint32_t replica_count, uint32_t *number) {
    struct action actions[ACTIONS_MAX];
    uint32_t count = 0;
    while (charter.now.replica_count + count < replica_count) {
        actions[count++] = charter_replica(&charter, NULL, "bank-a", (*number)++);
    }
    while (charter.now.replica_count > replica_count + count) {
        actions[count] = charter_replica_gone(replica_key(count));
        count++;
    }
    struct proposal_verdict const verdict = apply(count, actions);
    cr_assert_eq(verdict.rule, PROPOSAL_SOUND, "to %u: %s", replica_count,
                 proposal_rule_text(verdict.rule));
    charter.now = next;
}

Test(proposal, a_consortium_grows_and_shrinks_in_steps) {
    static const uint32_t steps[] = {5, 6, 7, 10, 13, 9, 7, 5, 4, 6, 9, 12, 9, 7, 5, 4};
    uint32_t number = 5000;
    for (size_t i = 0; i < COUNT(steps); i++) {
        step_to(steps[i], &number);
    }
    cr_assert_eq(charter.now.number, 1 + COUNT(steps));
    struct action const one_less = charter_replica_gone(replica_key(0));
    expect_refused(PROPOSAL_REPLICAS_FEW, 1, &one_less);
}

/* ---- counts ---- */

static void name_of(char name[8], const char *prefix, uint32_t number) {
    memcpy(name, prefix, 4);
    for (uint32_t i = 0; i < 3; i++) {
        name[6 - i] = (char)('a' + number % 26);
        number /= 26;
    }
    name[7] = '\0';
}

/* Fill a list up to so many, by proposals of at most ACTIONS_MAX actions. */
static void fill(enum action_kind kind, const uint32_t *count, uint32_t wanted,
                 uint32_t first_key) {
    static char names[USERS_MAX][8];
    struct action actions[ACTIONS_MAX];
    while (*count < wanted) {
        uint32_t added = 0;
        while (added < ACTIONS_MAX && *count + added < wanted) {
            uint32_t const nth = *count + added;
            name_of(names[nth], "name", nth);
            actions[added++] = charter_named(&charter, kind, names[nth], first_key + nth);
        }
        charter_pass(&charter, charter_propose(&charter, added, actions));
    }
}

Test(proposal, lists_have_limits) {
    struct action const member = charter_named(&charter, ACTION_ADD_MEMBER, "bank-z", 5000);
    fill(ACTION_ADD_MEMBER, &charter.now.member_count, MEMBERS_MAX - 1, 6000);
    expect_sound(1, &member);
    charter_pass(&charter, charter_propose(&charter, 1, &member));
    struct action const late = charter_named(&charter, ACTION_ADD_MEMBER, "bank-y", 5001);
    expect_refused(PROPOSAL_MEMBERS_MANY, 1, &late);
    fill(ACTION_ADD_USER, &charter.now.user_count, USERS_MAX - 1, 7000);
    struct action const last = charter_named(&charter, ACTION_ADD_USER, "dave", 5002);
    expect_sound(1, &last);
    charter_pass(&charter, charter_propose(&charter, 1, &last));
    struct action const full = charter_named(&charter, ACTION_ADD_USER, "erin", 5003);
    expect_refused(PROPOSAL_USERS_MANY, 1, &full);
}

Test(proposal, replicas_have_a_limit) {
    uint32_t number = 5000;
    while (charter.now.replica_count < REPLICAS_MAX) {
        uint32_t const now = charter.now.replica_count;
        step_to(now + 2 < REPLICAS_MAX ? now + 2 : REPLICAS_MAX, &number);
    }
    struct action const late = charter_replica(&charter, NULL, "bank-a", number);
    expect_refused(PROPOSAL_REPLICAS_MANY, 1, &late);
}

/* ---- parameters, rule, the whole ---- */

static struct action set_parameters(const struct parameters *parameters) {
    return (struct action){.kind = ACTION_SET_PARAMETERS, .parameters = *parameters};
}

Test(proposal, parameters_have_the_bounds_of_genesis) {
    struct parameters parameters = charter.now.parameters;
    struct action action = set_parameters(&parameters);
    expect_refused(PROPOSAL_NOTHING, 1, &action);
    uint64_t const window = parameters.window;
    parameters = (struct parameters){PIPELINE_MAX, CHECKPOINT_INTERVAL_MAX, window, BATCH_CALLS_MAX,
                                     BATCH_SIZE_SOFT_MAX};
    action = set_parameters(&parameters);
    expect_sound(1, &action);
    cr_assert_eq(next.parameters.pipeline, PIPELINE_MAX);
    parameters = (struct parameters){1, checkpoint_interval_min(1), window, CALLS_MAX, 1};
    action = set_parameters(&parameters);
    expect_sound(1, &action);
    parameters.window = window + 1; /* what was forgotten could be executed again */
    action = set_parameters(&parameters);
    expect_refused(PROPOSAL_WINDOW, 1, &action);
    struct parameters const bad[] = {
        {0, CHECKPOINT_INTERVAL_MAX, WINDOW_MAX, BATCH_CALLS_MAX, 1},
        {PIPELINE_MAX + 1, CHECKPOINT_INTERVAL_MAX, WINDOW_MAX, BATCH_CALLS_MAX, 1},
        {4, checkpoint_interval_min(4) - 1, WINDOW_MAX, BATCH_CALLS_MAX, 1},
        {4, CHECKPOINT_INTERVAL_MAX + 1, WINDOW_MAX, BATCH_CALLS_MAX, 1},
        {4, 12, BATCH_CALLS_MAX - 1, BATCH_CALLS_MAX, 1},
        {4, 12, WINDOW_MAX + 1, BATCH_CALLS_MAX, 1},
        {4, 12, WINDOW_MAX, CALLS_MAX - 1, 1},
        {4, 12, WINDOW_MAX, BATCH_CALLS_MAX + 1, 1},
        {4, 12, WINDOW_MAX, CALLS_MAX, 0},
        {4, 12, WINDOW_MAX, CALLS_MAX, BATCH_SIZE_SOFT_MAX + 1},
    };
    for (size_t i = 0; i < COUNT(bad); i++) {
        action = set_parameters(&bad[i]);
        expect_refused(PROPOSAL_PARAMETERS, 1, &action);
    }
}

Test(proposal, the_voting_rule_has_bounds) {
    struct action action = {.kind = ACTION_SET_VOTING_RULE, .rule = {99, 100}};
    expect_sound(1, &action);
    cr_assert_eq(next.rule.numerator, 99);
    action.rule = (struct voting_rule){1, 2};
    expect_refused(PROPOSAL_NOTHING, 1, &action);
    action.rule = (struct voting_rule){2, 4};
    expect_sound(1, &action);
    action.rule = (struct voting_rule){49, 100};
    expect_refused(PROPOSAL_VOTING_RULE, 1, &action);
    action.rule = (struct voting_rule){100, 100};
    expect_refused(PROPOSAL_VOTING_RULE, 1, &action);
    action.rule = (struct voting_rule){51, 101};
    expect_refused(PROPOSAL_VOTING_RULE, 1, &action);
}

Test(proposal, is_for_one_configuration) {
    struct action const action = charter_named(&charter, ACTION_ADD_USER, "dave", 5000);
    struct proposal decoded;
    charter_decode(&charter, &decoded, charter_propose(&charter, 1, &action));
    charter.now.number++;
    cr_assert_eq(proposal_apply(&next, &charter.now, &decoded).rule, PROPOSAL_CONFIGURATION);
    charter.now.number -= 2;
    cr_assert_eq(proposal_apply(&next, &charter.now, &decoded).rule, PROPOSAL_CONFIGURATION);
}

/* The first action that is wrong is named, and those before it do not matter. */
Test(proposal, names_the_action_to_blame) {
    struct action const actions[] = {charter_named(&charter, ACTION_ADD_USER, "dave", 5000),
                                     charter_without(ACTION_REMOVE_USER, "nobody"),
                                     charter_without(ACTION_REMOVE_MEMBER, "nobody")};
    struct proposal_verdict const verdict = apply(3, actions);
    cr_assert_eq(verdict.rule, PROPOSAL_NO_USER);
    cr_assert_eq(verdict.action, 2);
}
