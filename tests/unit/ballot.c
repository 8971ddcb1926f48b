/*
 * ballot: tests of governance/ballot.h over a map: what each call answers, what it writes, and
 * random sequences of calls against a model that counts votes one by one.
 */
#include "governance/ballot.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#include "base/prng.h"
#include "tests/forge/charter.h"

/* ---- a state --------------------------------------------------------------------------------- */

#define ITEMS_MAX (2u * MEMBERS_MAX + 1u)

struct map_item {
    char key[8];
    struct buffer value;
};

static struct {
    uint32_t count;
    uint32_t puts; /* so far */
    struct map_item items[ITEMS_MAX];
} map;

static struct map_item *map_find(struct span key) {
    for (uint32_t i = 0; i < map.count; i++) {
        if (span_equal(span_text(map.items[i].key), key)) {
            return &map.items[i];
        }
    }
    return NULL;
}

static bool map_get(void *context, struct span key, struct span *value) {
    const struct map_item *const item = map_find(key);
    cr_assert_eq(context, &map);
    if (item != NULL) {
        *value = buffer_span(&item->value);
    }
    return item != NULL;
}

static void map_put(void *context, struct span key, struct span value) {
    struct map_item *item = map_find(key);
    struct buffer fresh;
    cr_assert_eq(context, &map);
    cr_assert(key.size < sizeof item->key && value.size <= VALUE_SIZE_MAX);
    if (item == NULL) {
        cr_assert_lt(map.count, ITEMS_MAX);
        item = &map.items[map.count++];
        memset(item->key, 0, sizeof item->key);
        memcpy(item->key, key.data, key.size);
        buffer_init(&item->value, VALUE_SIZE_MAX);
    }
    buffer_init(&fresh, VALUE_SIZE_MAX); /* the value may be what is there */
    cr_assert(buffer_append(&fresh, value));
    buffer_free(&item->value);
    item->value = fresh;
    map.puts++;
}

static const struct ballot_state state = {.context = &map, .get = map_get, .put = map_put};

static void map_free(void) {
    for (uint32_t i = 0; i < map.count; i++) {
        buffer_free(&map.items[i].value);
    }
    map.count = 0;
}

/* ---- calls ----------------------------------------------------------------------------------- */

static struct consortium consortium;
static struct charter charter;
static struct constitution next;
static struct arena arena;
static struct ballot_call call;

static void set_up(void) {
    consortium_found(&consortium, &(struct consortium_options){.replica_count = 5});
    charter_found(&charter, &consortium);
    arena_init(&arena, BALLOT_ARENA_SIZE);
}

static void tear_down(void) {
    map_free();
    arena_free(&arena);
    charter_free(&charter);
    consortium_free(&consortium);
}

TestSuite(ballot, .init = set_up, .fini = tear_down, .timeout = 170);

static void begin(const struct public_key *author) {
    arena_reset(&arena);
    map.puts = 0;
    ballot_call_init(&call, &state, &charter.now, author);
    call.arena = &arena;
    call.next = &next;
}

static void end(enum outcome_status status) {
    cr_assert_not(call.failed);
    cr_assert_leq(map.puts, BALLOT_WRITES_MAX);
    cr_assert_leq(call.reply_count, BALLOT_REPLY_ITEMS_MAX);
    cr_assert(status == OUTCOME_OK || map.puts == 0, "nothing is written");
    cr_assert(status == OUTCOME_OK || !call.passed);
}

static enum outcome_status propose_as(const struct public_key *author, struct span proposal) {
    begin(author);
    enum outcome_status const status = ballot_propose(&call, proposal);
    end(status);
    return status;
}

static enum outcome_status vote_as(const struct public_key *author, const char *id,
                                   const char *choice) {
    begin(author);
    enum outcome_status const status = ballot_vote(&call, span_text(id), span_text(choice));
    end(status);
    return status;
}

static enum outcome_status withdraw_as(const struct public_key *author, const char *id) {
    begin(author);
    enum outcome_status const status = ballot_withdraw(&call, span_text(id));
    end(status);
    return status;
}

static const struct public_key *member(uint32_t position) {
    return &charter.now.members[position].key;
}

static void expect_item(uint32_t nth, const char *text) {
    cr_assert_lt(nth, call.reply_count);
    cr_assert(span_equal(call.reply[nth], span_text(text)), "%.*s", (int)call.reply[nth].size,
              (const char *)call.reply[nth].data);
}

/* A proposal with a user of that number, and its id. */
struct made {
    struct span bytes;
    char id[2 * DIGEST_SIZE + 1];
};

static struct made make(uint32_t number) {
    static char names[64][8];
    char *const name = names[number % 64];
    memcpy(name, "user-aa", 8);
    name[5] = (char)('a' + number / 26 % 26);
    name[6] = (char)('a' + number % 26);
    struct action const action = charter_named(&charter, ACTION_ADD_USER, name, 5000 + number);
    struct proposal decoded;
    struct made made = {.bytes = charter_propose(&charter, 1, &action)};
    charter_decode(&charter, &decoded, made.bytes);
    ballot_digest_write(made.id, &decoded.id);
    return made;
}

static void expect_open(enum outcome_status status, const char *yes, const char *no) {
    cr_assert_eq(status, OUTCOME_OK);
    cr_assert_eq(call.reply_count, 3);
    expect_item(0, "open");
    expect_item(1, yes);
    expect_item(2, no);
    cr_assert_not(call.passed);
}

static void expect_refused(enum outcome_status status, const char *text) {
    cr_assert_eq(status, OUTCOME_REFUSED);
    expect_item(0, text);
}

/* ---- what each call answers ------------------------------------------------------------------ */

Test(ballot, a_majority_passes) {
    struct made const made = make(1);
    struct digest digest;
    char hex[2 * DIGEST_SIZE + 1];
    cr_assert_eq(propose_as(member(0), made.bytes), OUTCOME_OK);
    cr_assert_eq(call.reply_count, 1);
    expect_item(0, made.id);
    expect_open(vote_as(member(3), made.id, "yes"), "1", "0");
    expect_open(vote_as(member(1), made.id, "no"), "1", "1");
    expect_open(vote_as(member(4), made.id, "yes"), "2", "1");
    cr_assert_eq(vote_as(member(0), made.id, "yes"), OUTCOME_OK);
    cr_assert(call.passed);
    expect_item(0, "passed");
    expect_item(1, "2");
    cr_assert_eq(next.number, 2);
    cr_assert_eq(next.user_count, charter.now.user_count + 1);
    cr_assert(constitution_digest(&digest, &next));
    ballot_digest_write(hex, &digest);
    expect_item(2, hex);
    /* From here on nothing goes, until it is in force. */
    static const char under_way[] = "a change is under way";
    expect_refused(vote_as(member(2), made.id, "yes"), under_way);
    expect_refused(withdraw_as(member(0), made.id), under_way);
    expect_refused(propose_as(member(2), make(2).bytes), under_way);
    charter.now = next;
    struct made const later = make(3);
    expect_refused(vote_as(member(2), made.id, "yes"), "no such proposal is open");
    cr_assert_eq(propose_as(member(0), later.bytes), OUTCOME_OK);
    expect_open(vote_as(member(2), later.id, "yes"), "1", "0");
}

Test(ballot, votes_may_change_while_it_is_open) {
    struct made const made = make(1);
    cr_assert_eq(propose_as(member(0), made.bytes), OUTCOME_OK);
    expect_open(vote_as(member(1), made.id, "yes"), "1", "0");
    expect_open(vote_as(member(1), made.id, "yes"), "1", "0");
    expect_open(vote_as(member(1), made.id, "no"), "0", "1");
    expect_open(vote_as(member(2), made.id, "yes"), "1", "1");
    expect_open(vote_as(member(3), made.id, "yes"), "2", "1");
    expect_open(vote_as(member(3), made.id, "no"), "1", "2");
    expect_open(vote_as(member(1), made.id, "yes"), "2", "1");
    cr_assert_eq(vote_as(member(3), made.id, "yes"), OUTCOME_OK);
    expect_item(0, "passed");
}

Test(ballot, what_cannot_pass_is_rejected) {
    struct made const made = make(1);
    cr_assert_eq(propose_as(member(0), made.bytes), OUTCOME_OK);
    expect_open(vote_as(member(0), made.id, "no"), "0", "1");
    expect_open(vote_as(member(1), made.id, "no"), "0", "2");
    cr_assert_eq(vote_as(member(2), made.id, "no"), OUTCOME_OK);
    cr_assert_eq(call.reply_count, 1);
    expect_item(0, "rejected");
    expect_refused(vote_as(member(3), made.id, "yes"), "no such proposal is open");
    /* The same may be proposed again, by anybody, and votes begin anew. */
    cr_assert_eq(propose_as(member(4), made.bytes), OUTCOME_OK);
    expect_open(vote_as(member(3), made.id, "yes"), "1", "0");
}

Test(ballot, a_proposer_withdraws) {
    struct made const made = make(1);
    struct made const other = make(2);
    cr_assert_eq(propose_as(member(0), made.bytes), OUTCOME_OK);
    expect_refused(propose_as(member(0), other.bytes),
                   "a proposal of yours is open: withdraw it first");
    expect_refused(propose_as(member(1), made.bytes), "this very proposal is open");
    cr_assert_eq(propose_as(member(1), other.bytes), OUTCOME_OK);
    expect_refused(withdraw_as(member(1), made.id), "only its proposer can withdraw it");
    cr_assert_eq(withdraw_as(member(0), made.id), OUTCOME_OK);
    cr_assert_eq(call.reply_count, 1);
    expect_item(0, "withdrawn");
    expect_refused(withdraw_as(member(0), made.id), "no such proposal is open");
    expect_refused(vote_as(member(0), made.id, "yes"), "no such proposal is open");
    expect_open(vote_as(member(0), other.id, "yes"), "1", "0");
    cr_assert_eq(propose_as(member(0), made.bytes), OUTCOME_OK);
}

Test(ballot, only_members_govern) {
    static const char only_members[] = "only members govern";
    struct made const made = make(1);
    const struct public_key *const others[] = {&consortium.users[0].key, &consortium.stranger.key,
                                               &consortium.replicas[0].signing.key};
    cr_assert_eq(propose_as(member(0), made.bytes), OUTCOME_OK);
    for (size_t i = 0; i < 3; i++) {
        expect_refused(propose_as(others[i], made.bytes), only_members);
        expect_refused(vote_as(others[i], made.id, "yes"), only_members);
        expect_refused(withdraw_as(others[i], made.id), only_members);
    }
}

static void expect_invalid(enum outcome_status status, const char *text) {
    cr_assert_eq(status, OUTCOME_INVALID);
    cr_assert_eq(call.reply_count, 1);
    expect_item(0, text);
}

Test(ballot, arguments_are_what_they_must_be) {
    struct made made = make(1);
    static const char no_id[] = "not the id of a proposal";
    cr_assert_eq(propose_as(member(0), made.bytes), OUTCOME_OK);
    expect_invalid(vote_as(member(0), made.id, "Yes"), "a vote is yes or no");
    expect_invalid(vote_as(member(0), made.id, ""), "a vote is yes or no");
    expect_invalid(vote_as(member(0), "", "yes"), no_id);
    expect_invalid(withdraw_as(member(0), "feed"), no_id);
    bool capital = false;
    for (size_t i = 0; i < 2 * DIGEST_SIZE && !capital; i++) {
        if (made.id[i] >= 'a') {
            made.id[i] = (char)(made.id[i] - 'a' + 'A');
            capital = true;
        }
    }
    cr_assert(capital);
    expect_invalid(vote_as(member(0), made.id, "yes"), no_id);
    made.id[0] = 'g';
    expect_invalid(vote_as(member(0), made.id, "yes"), no_id);
    expect_invalid(propose_as(member(1), span_text("junk")),
                   codec_result_text(proposal_decode(&(struct proposal){0}, &arena,
                                                     &charter.now.service, span_text("junk"))));
}

Test(ballot, unsound_proposals_are_refused_with_the_rule) {
    struct action actions[] = {charter_named(&charter, ACTION_ADD_USER, "dave", 5000),
                               charter_without(ACTION_REMOVE_USER, "nobody")};
    expect_refused(propose_as(member(0), charter_propose(&charter, 2, actions)),
                   proposal_rule_text(PROPOSAL_NO_USER));
    cr_assert_eq(call.reply_count, 2);
    expect_item(1, "2");
    struct action const none = {.kind = ACTION_SET_VOTING_RULE, .rule = charter.now.rule};
    expect_refused(propose_as(member(0), charter_propose(&charter, 1, &none)),
                   proposal_rule_text(PROPOSAL_NOTHING));
    cr_assert_eq(call.reply_count, 1);
    struct made const stale = make(1);
    charter.now.number++;
    expect_refused(propose_as(member(0), stale.bytes), proposal_rule_text(PROPOSAL_CONFIGURATION));
}

Test(ballot, open_proposals_end_with_their_configuration) {
    struct made const one = make(1);
    struct made const two = make(2);
    cr_assert_eq(propose_as(member(0), one.bytes), OUTCOME_OK);
    cr_assert_eq(propose_as(member(1), two.bytes), OUTCOME_OK);
    expect_open(vote_as(member(0), two.id, "yes"), "1", "0");
    for (uint32_t i = 0; i < 3; i++) {
        cr_assert_eq(vote_as(member(i), one.id, "yes"), OUTCOME_OK);
    }
    expect_item(0, "passed");
    charter.now = next;
    expect_refused(vote_as(member(0), two.id, "yes"), "no such proposal is open");
    expect_refused(withdraw_as(member(1), two.id), "no such proposal is open");
    cr_assert_eq(propose_as(member(1), make(3).bytes), OUTCOME_OK, "its place is free");
    cr_assert_leq(map.count, 2 * charter.now.member_count + 1);
}

Test(ballot, another_rule_counts_otherwise) {
    struct made made;
    charter.now.rule = (struct voting_rule){3, 5}; /* of five members: four are needed */
    made = make(1);
    cr_assert_eq(propose_as(member(0), made.bytes), OUTCOME_OK);
    expect_open(vote_as(member(0), made.id, "yes"), "1", "0");
    expect_open(vote_as(member(1), made.id, "yes"), "2", "0");
    expect_open(vote_as(member(2), made.id, "yes"), "3", "0");
    expect_open(vote_as(member(3), made.id, "no"), "3", "1");
    cr_assert_eq(vote_as(member(4), made.id, "yes"), OUTCOME_OK);
    expect_item(0, "passed");
    map_free();
    made = make(2);
    cr_assert_eq(propose_as(member(0), made.bytes), OUTCOME_OK);
    expect_open(vote_as(member(3), made.id, "no"), "0", "1");
    cr_assert_eq(vote_as(member(4), made.id, "no"), OUTCOME_OK);
    expect_item(0, "rejected");
}

/* ---- reading --------------------------------------------------------------------------------- */

static struct ballot_line line_at(uint32_t nth) {
    struct ballot_line line;
    cr_assert_lt(nth, call.reply_count);
    cr_assert(ballot_line_read(&line, call.reply[nth]), "%.*s", (int)call.reply[nth].size,
              (const char *)call.reply[nth].data);
    return line;
}

static void expect_line(uint32_t nth, const char *id, uint32_t proposer, uint64_t yes,
                        uint64_t no) {
    struct ballot_line const line = line_at(nth);
    char text[2 * DIGEST_SIZE + 1];
    ballot_digest_write(text, &line.id);
    cr_assert_str_eq(text, id);
    cr_assert_eq(line.member, proposer);
    cr_assert_eq(line.yes, yes);
    cr_assert_eq(line.no, no);
}

static enum outcome_status read_open(void) {
    begin(&consortium.users[0].key);
    call.next = NULL;
    enum outcome_status const status = ballot_open(&call);
    end(status);
    cr_assert_eq(map.puts, 0);
    return status;
}

static enum outcome_status read_proposal(const char *id) {
    begin(&consortium.users[0].key);
    call.next = NULL;
    enum outcome_status const status = ballot_proposal(&call, span_text(id));
    end(status);
    cr_assert_eq(map.puts, 0);
    return status;
}

Test(ballot, anybody_reads_what_is_open) {
    struct made const a = make(1);
    struct made const b = make(2);
    cr_assert_eq(read_open(), OUTCOME_OK);
    cr_assert_eq(call.reply_count, 2);
    expect_item(0, "1");
    expect_item(1, "1");
    cr_assert_eq(propose_as(member(3), a.bytes), OUTCOME_OK);
    cr_assert_eq(propose_as(member(0), b.bytes), OUTCOME_OK);
    expect_open(vote_as(member(4), a.id, "yes"), "1", "0");
    expect_open(vote_as(member(1), a.id, "no"), "1", "1");
    cr_assert_eq(read_open(), OUTCOME_OK);
    cr_assert_eq(call.reply_count, 4);
    expect_line(2, b.id, 0, 0, 0);
    expect_line(3, a.id, 3, 1u << 4, 1u << 1);
    cr_assert_eq(read_proposal(a.id), OUTCOME_OK);
    cr_assert_eq(call.reply_count, 2);
    cr_assert(span_equal(call.reply[0], a.bytes));
    expect_line(1, a.id, 3, 1u << 4, 1u << 1);
    expect_refused(read_proposal(make(3).id), "no such proposal is open");
    cr_assert_eq(read_proposal("abc"), OUTCOME_INVALID);
    expect_item(0, "not the id of a proposal");
}

Test(ballot, what_has_passed_is_read_until_it_is_in_force) {
    struct made const made = make(1);
    cr_assert_eq(propose_as(member(0), made.bytes), OUTCOME_OK);
    for (uint32_t i = 0; i < 3; i++) {
        cr_assert_eq(vote_as(member(i), made.id, "yes"), OUTCOME_OK);
    }
    cr_assert(call.passed);
    cr_assert_eq(read_open(), OUTCOME_OK);
    expect_item(0, "1");
    expect_item(1, "2");
    expect_line(2, made.id, 0, 7, 0);
    cr_assert_eq(read_proposal(made.id), OUTCOME_OK);
    charter.now = next;
    cr_assert_eq(read_open(), OUTCOME_OK);
    cr_assert_eq(call.reply_count, 2);
    expect_item(0, "2");
    expect_item(1, "2");
    expect_refused(read_proposal(made.id), "no such proposal is open");
}

Test(ballot, a_line_is_read_only_as_it_is_written) {
    struct made const made = make(1);
    struct ballot_line line;
    char text[BALLOT_TEXT_SIZE];
    cr_assert_eq(propose_as(member(0), made.bytes), OUTCOME_OK);
    expect_open(vote_as(member(1), made.id, "yes"), "1", "0");
    cr_assert_eq(read_open(), OUTCOME_OK);
    struct span const good = call.reply[2];
    cr_assert_lt(good.size, sizeof text);
    for (size_t at = 0; at < good.size; at++) {
        static const char wrong[] = {'g', 'A', '\0', '/', ':'};
        for (size_t i = 0; i < sizeof wrong; i++) {
            memcpy(text, good.data, good.size);
            text[at] = wrong[i];
            cr_assert_not(ballot_line_read(&line, span_of(text, good.size)), "at %zu", at);
        }
    }
    memcpy(text, good.data, good.size);
    cr_assert_not(ballot_line_read(&line, span_of(text, good.size - 1)), "short");
    memcpy(text + 65, "64", 2);
    cr_assert_not(ballot_line_read(&line, span_of(text, good.size)), "no such member");
    memcpy(text, good.data, good.size);
    text[good.size - 1] = '2';
    cr_assert_not(ballot_line_read(&line, span_of(text, good.size)), "yes and no at once");
}

/* ---- a state that others vouch for ----------------------------------------------------------- */

static void spoil(const char *key, struct span value) {
    map_put(&map, span_text(key), value);
}

Test(ballot, what_does_not_decode_is_absent) {
    struct made const made = make(1);
    cr_assert_eq(propose_as(member(0), made.bytes), OUTCOME_OK);
    spoil("g/v/00", span_text("junk"));
    expect_refused(vote_as(member(0), made.id, "yes"), "no such proposal is open");
    spoil("g/c", span_text("junk"));
    cr_assert_eq(propose_as(member(0), made.bytes), OUTCOME_OK);
    /* A vote of a member that there is not. */
    struct proposal decoded;
    struct buffer bytes;
    charter_decode(&charter, &decoded, made.bytes);
    struct ballot const ballot = {.config = 1, .id = decoded.id, .yes = 0x20};
    buffer_init(&bytes, BALLOT_SIZE_MAX);
    cr_assert(ballot_encode(&bytes, &ballot));
    spoil("g/v/00", buffer_span(&bytes));
    expect_refused(vote_as(member(0), made.id, "yes"), "no such proposal is open");
    buffer_free(&bytes);
}

Test(ballot, a_proposal_that_is_not_there_does_not_pass) {
    struct made const made = make(1);
    cr_assert_eq(propose_as(member(0), made.bytes), OUTCOME_OK);
    cr_assert_eq(vote_as(member(0), made.id, "yes"), OUTCOME_OK);
    cr_assert_eq(vote_as(member(1), made.id, "yes"), OUTCOME_OK);
    spoil("g/p/00", make(2).bytes);
    expect_refused(vote_as(member(2), made.id, "yes"), "the proposal is lost");
    spoil("g/p/00", (struct span){0});
    expect_refused(vote_as(member(2), made.id, "yes"), "the proposal is lost");
    spoil("g/p/00", made.bytes);
    cr_assert_eq(vote_as(member(2), made.id, "yes"), OUTCOME_OK);
    cr_assert(call.passed);
}

/* Somebody else's state may hold what no rule let in: it is refused then. */
Test(ballot, an_unsound_proposal_in_the_state_does_not_pass) {
    struct action const action = charter_without(ACTION_REMOVE_USER, "nobody");
    struct span const bytes = charter_propose(&charter, 1, &action);
    struct proposal decoded;
    struct buffer votes;
    char id[2 * DIGEST_SIZE + 1];
    charter_decode(&charter, &decoded, bytes);
    ballot_digest_write(id, &decoded.id);
    struct ballot const ballot = {.config = 1, .id = decoded.id, .yes = 6};
    buffer_init(&votes, BALLOT_SIZE_MAX);
    cr_assert(ballot_encode(&votes, &ballot));
    spoil("g/p/00", bytes);
    spoil("g/v/00", buffer_span(&votes));
    expect_refused(vote_as(member(0), id, "yes"), proposal_rule_text(PROPOSAL_NO_USER));
    buffer_free(&votes);
}

Test(ballot, memory_that_is_short_decides_nothing) {
    struct made const made = make(1);
    cr_assert_eq(propose_as(member(0), made.bytes), OUTCOME_OK);
    struct arena small;
    bool failed = false;
    bool done = false;
    for (size_t budget = 0; budget < 4096 && !done; budget += 16) {
        arena_init(&small, budget);
        begin(member(1));
        call.arena = &small;
        (void)ballot_vote(&call, span_text(made.id), span_text("yes"));
        failed |= call.failed;
        done = !call.failed;
        arena_free(&small);
    }
    cr_assert(failed && done);
    expect_item(0, "open");
}

/* ---- against a model ------------------------------------------------------------------------- */

#define STEPS 3000u

struct model_proposal {
    bool open;
    struct made made;
    int votes[MEMBERS_MAX]; /* 1: yes, -1: no */
};

static struct {
    struct model_proposal proposals[MEMBERS_MAX];
    bool under_way;
} model;

/* Where the proposal is open, or -1. */
static int model_find(const char *id) {
    for (uint32_t i = 0; i < charter.now.member_count; i++) {
        if (model.proposals[i].open && strcmp(model.proposals[i].made.id, id) == 0) {
            return (int)i;
        }
    }
    return -1;
}

static void step_propose(uint32_t who, uint32_t number) {
    struct made const made = make(number);
    enum outcome_status const status = propose_as(member(who), made.bytes);
    bool const accepted = !model.under_way && !model.proposals[who].open;
    cr_assert_eq(status, accepted ? OUTCOME_OK : OUTCOME_REFUSED);
    if (accepted) {
        model.proposals[who] = (struct model_proposal){.open = true, .made = made};
    }
}

static void step_vote(uint32_t who, const char *id, bool yes) {
    int const slot = model_find(id);
    enum outcome_status const status = vote_as(member(who), id, yes ? "yes" : "no");
    if (model.under_way || slot < 0) {
        cr_assert_eq(status, OUTCOME_REFUSED);
        return;
    }
    struct model_proposal *const proposal = &model.proposals[slot];
    double for_it = 0;
    double against = 0;
    double const share = (double)charter.now.rule.numerator / (double)charter.now.rule.denominator;
    proposal->votes[who] = yes ? 1 : -1;
    for (uint32_t i = 0; i < charter.now.member_count; i++) {
        for_it += proposal->votes[i] == 1;
        against += proposal->votes[i] == -1;
    }
    double const needed = share * charter.now.member_count;
    cr_assert_eq(status, OUTCOME_OK);
    if (for_it > needed) {
        expect_item(0, "passed");
        model.under_way = true;
    } else if (charter.now.member_count - against <= needed) {
        expect_item(0, "rejected");
        proposal->open = false;
    } else {
        expect_item(0, "open");
    }
}

static void step_withdraw(uint32_t who, const char *id) {
    int const slot = model_find(id);
    bool const accepted = !model.under_way && slot == (int)who;
    cr_assert_eq(withdraw_as(member(who), id), accepted ? OUTCOME_OK : OUTCOME_REFUSED);
    if (accepted) {
        model.proposals[slot].open = false;
    }
}

/* The new configuration starts, with shares that a double holds exactly enough. */
static void step_start(struct prng *prng) {
    static const struct voting_rule rules[] = {{1, 2}, {5, 8}, {3, 4}};
    if (model.under_way) {
        memset(&model, 0, sizeof model);
        next.user_count = charter.now.user_count; /* so that lists do not grow */
        charter.now = next;
        charter.now.rule = rules[prng_below(prng, 3)];
    }
}

Test(ballot, random_calls_agree_with_a_model) {
    struct prng prng;
    char ids[8][2 * DIGEST_SIZE + 1] = {{0}}; /* some that are or were open */
    prng_init(&prng, 1);
    memset(&model, 0, sizeof model);
    for (unsigned i = 0; i < 8; i++) {
        memcpy(ids[i], make(i).id, sizeof ids[i]);
    }
    for (uint32_t i = 0; i < STEPS; i++) {
        uint32_t const who = (uint32_t)prng_below(&prng, charter.now.member_count);
        const char *const id = ids[prng_below(&prng, 8)];
        uint64_t const dice = prng_below(&prng, 20);
        if (dice < 3) {
            step_propose(who, (uint32_t)prng_below(&prng, 64));
            if (model.proposals[who].open) {
                memcpy(ids[prng_below(&prng, 8)], model.proposals[who].made.id, sizeof ids[0]);
            }
        } else if (dice < 17) {
            step_vote(who, id, prng_below(&prng, 3) != 0);
        } else if (dice < 19) {
            step_withdraw(who, id);
        } else {
            step_start(&prng);
        }
    }
    cr_assert_gt(charter.now.number, 10, "proposals passed, and others began anew");
    cr_assert_leq(map.count, 2 * charter.now.member_count + 1);
}
