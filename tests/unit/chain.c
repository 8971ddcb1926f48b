/*
 * chain: tests of receipts/chain.h: from the service id to every constitution, through any number
 * of links; each part of a link that is not as it must be is refused as what it is; a changed byte
 * anywhere is refused; and two links that hold against each other are a fork.
 */
#include "receipts/chain.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#include "tests/forge/charter.h"

static struct consortium consortium;
static struct charter charter;
static struct chain *chain;

static void set_up(void) {
    struct problem problem = {.code = EXIT_OK};
    consortium_found(&consortium, &(struct consortium_options){.replica_count = 5});
    charter_found(&charter, &consortium);
    chain =
        chain_new(&consortium.genesis.service, buffer_span(&consortium.genesis_bytes), &problem);
    cr_assert_not_null(chain, "%s", problem.text);
}

static void tear_down(void) {
    chain_free(chain);
    charter_free(&charter);
    consortium_free(&consortium);
}

TestSuite(chain, .init = set_up, .fini = tear_down, .timeout = 170);

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static struct span user_proposal(const char *name, uint32_t number) {
    struct action const action = charter_named(&charter, ACTION_ADD_USER, name, number);
    return charter_propose(&charter, 1, &action);
}

static void expect(enum chain_check expected, struct span link) {
    uint64_t const number = chain_newest(chain)->number;
    struct chain_verdict const verdict = chain_add(chain, link);
    cr_assert_eq(verdict.check, expected, "%s: %s", chain_check_text(verdict.check),
                 verdict.detail == NULL ? "" : verdict.detail);
    cr_assert_eq(chain_newest(chain)->number, number + (expected == CHAIN_VALID));
}

static void expect_order(enum chain_check expected, const struct link_order *order) {
    expect(expected, charter_link(&charter, order));
}

/* A link that is as it must be, for the next constitution; the charter and the chain follow. */
static struct span go_on(struct span proposal) {
    struct link_order order;
    charter_order(&charter, &order, proposal);
    struct span const link = charter_link(&charter, &order);
    expect(CHAIN_VALID, link);
    charter_pass(&charter, proposal);
    return link;
}

Test(chain, every_check_has_words_of_its_own) {
    for (int i = 0; i < CHAIN_CHECK_COUNT; i++) {
        for (int k = 0; k < i; k++) {
            cr_assert_str_neq(chain_check_text((enum chain_check)i),
                              chain_check_text((enum chain_check)k));
        }
    }
}

/* Members change their keys, replicas are replaced and join, the rule changes: all of it counts. */
static void tell_story(struct span links[5]) {
    struct action actions[3];
    links[0] = go_on(user_proposal("dave", 5000));
    actions[0] = charter_named(&charter, ACTION_ROTATE_MEMBER, "bank-a", 5001);
    actions[1] = charter_named(&charter, ACTION_ADD_MEMBER, "bank-z", 5002);
    links[1] = go_on(charter_propose(&charter, 2, actions));
    actions[0] = charter_replica(&charter, &charter.now.replicas[0].identity.key, "bank-a", 5003);
    actions[1] = charter_replica(&charter, NULL, "bank-z", 5004);
    actions[2] = (struct action){.kind = ACTION_SET_VOTING_RULE, .rule = {2, 3}};
    links[2] = go_on(charter_propose(&charter, 3, actions));
    actions[0] = charter_replica(&charter, NULL, "bank-z", 5005);
    links[3] = go_on(charter_propose(&charter, 1, actions));
    actions[0] = charter_without(ACTION_REMOVE_USER, "alice");
    links[4] = go_on(charter_propose(&charter, 1, actions));
}

Test(chain, leads_from_genesis_to_every_constitution) {
    static struct constitution found;
    static struct configuration configuration;
    struct span links[5];
    struct digest ours;
    struct digest theirs;
    tell_story(links);
    cr_assert_eq(chain_newest(chain)->number, 6);
    cr_assert(constitution_digest(&ours, &charter.now));
    cr_assert(constitution_digest(&theirs, chain_newest(chain)));
    cr_assert(digest_equal(&ours, &theirs));
    cr_assert(chain_find_configuration(chain, 1, &configuration));
    cr_assert(charter_same_configuration(&configuration, &consortium.configuration));
    cr_assert(chain_find_configuration(chain, 5, &configuration));
    cr_assert_eq(configuration.replica_count, 7);
    cr_assert_eq(configuration.number, 5);
    cr_assert(chain_find(chain, 6, &found));
    cr_assert(constitution_digest(&theirs, &found));
    cr_assert(digest_equal(&ours, &theirs));
    cr_assert_not(chain_find(chain, 0, &found));
    cr_assert_not(chain_find(chain, 7, &found));
    for (uint32_t i = 0; i < 5; i++) {
        expect(CHAIN_KNOWN, links[i]);
    }
}

Test(chain, links_are_followed_in_order) {
    struct span links[5];
    struct problem problem = {.code = EXIT_OK};
    tell_story(links);
    chain_free(chain);
    chain = chain_new(NULL, buffer_span(&consortium.genesis_bytes), &problem);
    cr_assert_not_null(chain);
    expect(CHAIN_GAP, links[1]);
    expect(CHAIN_VALID, links[0]);
    expect(CHAIN_KNOWN, links[0]);
    expect(CHAIN_GAP, links[2]);
    expect(CHAIN_VALID, links[1]);
}

Test(chain, begins_with_the_genesis_of_its_service) {
    struct problem problem = {.code = EXIT_OK};
    struct digest other = consortium.genesis.service;
    struct span const genesis = buffer_span(&consortium.genesis_bytes);
    other.bytes[0] ^= 1;
    cr_assert_null(chain_new(&other, genesis, &problem));
    cr_assert_eq(problem.code, EXIT_INVALID);
    problem.code = EXIT_OK;
    cr_assert_null(chain_new(NULL, span_of(genesis.data, genesis.size - 1), &problem));
    cr_assert_eq(problem.code, EXIT_INVALID);
}

/* ---- what is wrong with a link --------------------------------------------------------------- */

Test(chain, the_proposal_must_be_sound) {
    struct link_order order;
    struct action const action = charter_without(ACTION_REMOVE_USER, "nobody");
    charter_order(&charter, &order, charter_propose(&charter, 1, &action));
    struct chain_verdict const verdict = chain_add(chain, charter_link(&charter, &order));
    cr_assert_eq(verdict.check, CHAIN_PROPOSAL);
    cr_assert_str_eq(verdict.detail, proposal_rule_text(PROPOSAL_NO_USER));
    expect(CHAIN_ENCODING, span_text("junk"));
    expect(CHAIN_ENCODING, (struct span){0});
}

Test(chain, the_passing_vote_is_a_members_yes_to_it) {
    struct link_order good;
    struct link_order order;
    struct digest const other = {{1}};
    charter_order(&charter, &good, user_proposal("dave", 5000));
    order = good;
    order.passing.author = &consortium.users[0]; /* may sign requests, but not vote */
    expect_order(CHAIN_PASSING_VOTE, &order);
    order.passing.author = &consortium.stranger;
    expect_order(CHAIN_RECEIPT, &order);
    order = good;
    order.passing.choice = "no";
    expect_order(CHAIN_PASSING_VOTE, &order);
    order = good;
    order.passing.id = &other;
    expect_order(CHAIN_PASSING_VOTE, &order);
    order = good;
    order.passing.procedure = "kv.cas";
    expect_order(CHAIN_PASSING_VOTE, &order);
    order = good;
    order.vote_config = 2;
    expect_order(CHAIN_RECEIPT, &order);
    order = good;
    order.trailing = 1;
    expect_order(CHAIN_PLACE, &order);
    expect_order(CHAIN_VALID, &good);
}

Test(chain, the_outcome_says_that_this_passed) {
    struct link_order good;
    struct link_order order;
    struct digest const other = {{1}};
    charter_order(&charter, &good, user_proposal("dave", 5000));
    order = good;
    order.word = "open";
    expect_order(CHAIN_OUTCOME, &order);
    order = good;
    order.status = OUTCOME_REFUSED;
    expect_order(CHAIN_OUTCOME, &order);
    order = good;
    order.number = 1;
    expect_order(CHAIN_OUTCOME, &order);
    order.number = 3;
    expect_order(CHAIN_OUTCOME, &order);
    order = good;
    order.constitution = &other;
    expect_order(CHAIN_OUTCOME, &order);
    expect_order(CHAIN_VALID, &good);
}

Test(chain, votes_are_of_different_members_in_order) {
    struct link_order good;
    struct link_order order;
    charter_order(&charter, &good, user_proposal("dave", 5000));
    cr_assert_eq(good.vote_count, 2, "members 0 and 1, and 2 passes it");
    order = good;
    order.vote_count = 1;
    expect_order(CHAIN_VOTES, &order);
    order = good;
    order.votes[1].author = &consortium.stranger;
    expect_order(CHAIN_VOTER, &order);
    order.votes[1].author = &consortium.users[0];
    expect_order(CHAIN_VOTER, &order);
    order.votes[1].author = order.votes[0].author;
    expect_order(CHAIN_VOTER, &order);
    order.votes[1].author = order.passing.author;
    expect_order(CHAIN_VOTER, &order);
    order = good;
    order.votes[0] = good.votes[1];
    order.votes[1] = good.votes[0];
    expect_order(CHAIN_VOTER, &order);
    order = good; /* more than are needed do no harm */
    order.votes[order.vote_count++].author = &consortium.members[4];
    expect_order(CHAIN_VALID, &order);
}

Test(chain, votes_are_for_this_proposal) {
    struct link_order good;
    struct link_order order;
    struct proposal decoded;
    struct span const other = user_proposal("erin", 5001);
    charter_decode(&charter, &decoded, other);
    charter_order(&charter, &good, user_proposal("dave", 5000));
    order = good;
    order.votes[0].choice = "no";
    expect_order(CHAIN_VOTE, &order);
    order = good;
    order.votes[1].id = &decoded.id;
    expect_order(CHAIN_VOTE, &order);
    expect_order(CHAIN_VALID, &good);
}

/* Who was no member, or had no such key, when it was voted: the next ones cannot say so later. */
Test(chain, voters_were_members_then) {
    struct link_order order;
    struct action actions[] = {charter_named(&charter, ACTION_ADD_MEMBER, "bank-z", 5000),
                               charter_named(&charter, ACTION_ROTATE_MEMBER, "bank-a", 5001)};
    struct span const proposal = charter_propose(&charter, 2, actions);
    charter_order(&charter, &order, proposal);
    struct link_order early = order;
    early.votes[1].author = charter_key(&charter, 5000);
    expect_order(CHAIN_VOTER, &early);
    early = order;
    early.votes[0].author = charter_key(&charter, 5001);
    expect_order(CHAIN_VOTER, &early);
    go_on(proposal);
    charter_order(&charter, &order, user_proposal("dave", 5002));
    early = order;
    early.votes[0].author = &consortium.members[0]; /* by the key of before */
    expect_order(CHAIN_VOTER, &early);
    expect_order(CHAIN_VALID, &order);
}

Test(chain, the_configuration_ends_behind_the_vote) {
    struct link_order good;
    struct link_order order;
    charter_order(&charter, &good, user_proposal("dave", 5000));
    order = good;
    order.end_kind = BATCH_NORMAL;
    expect_order(CHAIN_END, &order);
    order.end_kind = BATCH_START_OF_CONFIGURATION;
    expect_order(CHAIN_END, &order);
    order = good;
    order.end_seq = good.seq + 2;
    expect_order(CHAIN_END, &order);
    order = good;
    order.end_gov_index = good.index - 1;
    expect_order(CHAIN_END, &order);
    order = good;
    order.end_first_index = good.index + 2;
    expect_order(CHAIN_END, &order);
    order = good;
    order.end_tx_count = 1;
    expect_order(CHAIN_END, &order);
    order = good;
    order.end_config = 2;
    struct chain_verdict const verdict = chain_add(chain, charter_link(&charter, &order));
    cr_assert_eq(verdict.check, CHAIN_CERTIFICATE);
    cr_assert_str_eq(verdict.detail, receipt_check_text(RECEIPT_CONFIGURATION));
    expect_order(CHAIN_VALID, &good);
}

/* Links for configuration 2, signed by the replicas of another one. */
Test(chain, replicas_of_another_configuration_do_not_count) {
    struct link_order order;
    struct action const action =
        charter_replica(&charter, &charter.now.replicas[0].identity.key, "bank-a", 5000);
    go_on(charter_propose(&charter, 1, &action));
    static struct constitution now;
    struct span const proposal = user_proposal("dave", 5001);
    charter_order(&charter, &order, proposal);
    now = charter.now;
    charter.now.replicas[0] = charter.now.replicas[1]; /* whoever signs now is not replica 0 */
    struct span const link = charter_link(&charter, &order);
    charter.now = now;
    struct chain_verdict const verdict = chain_add(chain, link);
    cr_assert_eq(verdict.check, CHAIN_RECEIPT);
    cr_assert_str_eq(verdict.detail, receipt_check_text(RECEIPT_PRIMARY_SIGNATURE));
}

Test(chain, another_services_link_does_not_hold) {
    struct consortium other;
    struct charter *const foreign = calloc(1, sizeof *foreign);
    struct link_order order;
    cr_assert_not_null(foreign);
    consortium_found(&other, &(struct consortium_options){.replica_count = 5, .seed = 9});
    charter_found(foreign, &other);
    struct action const action = charter_without(ACTION_REMOVE_USER, "bob");
    charter_order(foreign, &order, charter_propose(foreign, 1, &action));
    struct chain_verdict const verdict = chain_add(chain, charter_link(foreign, &order));
    cr_assert_eq(verdict.check, CHAIN_RECEIPT);
    charter_free(foreign);
    consortium_free(&other);
    free(foreign);
}

/* ---- bytes ----------------------------------------------------------------------------------- */

Test(chain, no_byte_of_a_link_can_be_changed) {
    struct link_order order;
    charter_order(&charter, &order, user_proposal("dave", 5000));
    struct span const link = charter_link(&charter, &order);
    uint8_t *const changed = malloc(link.size);
    cr_assert_not_null(changed);
    memcpy(changed, link.data, link.size);
    for (size_t i = 0; i < link.size; i++) {
        changed[i] ^= (uint8_t)(1u << i % 8);
        struct chain_verdict const verdict = chain_add(chain, span_of(changed, link.size));
        cr_assert(verdict.check != CHAIN_VALID && verdict.check != CHAIN_KNOWN &&
                      verdict.check != CHAIN_FORK && verdict.check != CHAIN_MEMORY,
                  "byte %zu: %s", i, chain_check_text(verdict.check));
        changed[i] = link.data[i];
    }
    for (size_t size = 0; size < link.size; size++) {
        cr_assert_eq(chain_add(chain, span_of(link.data, size)).check, CHAIN_ENCODING);
    }
    cr_assert_eq(chain_newest(chain)->number, 1);
    expect(CHAIN_VALID, span_of(changed, link.size));
    free(changed);
}

/* A signature by which nothing but the signature is wrong. */
Test(chain, votes_are_signed) {
    struct link_order order;
    struct chain_link decoded;
    struct arena arena;
    struct buffer bytes;
    charter_order(&charter, &order, user_proposal("dave", 5000));
    struct span const link = charter_link(&charter, &order);
    arena_init(&arena, (size_t)4 << 20);
    buffer_init(&bytes, CHAIN_LINK_SIZE_MAX);
    cr_assert_eq(chain_link_decode(&decoded, &arena, link), CODEC_OK);
    struct signature const first = decoded.votes[0].signature;
    decoded.votes[0].signature = decoded.votes[1].signature;
    cr_assert(chain_link_encode(&bytes, &decoded));
    expect(CHAIN_VOTE_SIGNATURE, buffer_span(&bytes));
    buffer_clear(&bytes);
    decoded.votes[0].signature = first;
    decoded.votes[0].position = 1; /* another call of the same request */
    cr_assert(chain_link_encode(&bytes, &decoded));
    expect(CHAIN_VOTE, buffer_span(&bytes));
    buffer_free(&bytes);
    arena_free(&arena);
}

/* ---- forks ----------------------------------------------------------------------------------- */

Test(chain, two_links_for_one_number_are_a_fork) {
    struct link_order one;
    struct link_order two;
    charter_order(&charter, &one, user_proposal("dave", 5000));
    charter_order(&charter, &two, user_proposal("erin", 5001));
    struct span const other = charter_link(&charter, &two);
    two.vote_count--;
    struct span const invalid = charter_link(&charter, &two);
    uint64_t const counter = charter.counter;
    struct span const link = charter_link(&charter, &one);
    struct link_order moved = one;
    moved.index++;
    charter.counter = counter; /* the very same requests, elsewhere */
    struct span const elsewhere = charter_link(&charter, &moved);
    moved = one;
    moved.seq++;
    charter.counter = counter;
    struct span const later = charter_link(&charter, &moved);
    struct span const passed = charter_link(&charter, &one); /* by another request */
    moved = one;
    moved.votes[moved.vote_count++].author = &consortium.members[4];
    charter.counter = counter - 1; /* the votes differ, and the passing one does not */
    struct span const same = charter_link(&charter, &moved);
    expect(CHAIN_VALID, link);
    charter_pass(&charter, one.proposal);
    go_on(user_proposal("frank", 5002));
    expect(CHAIN_KNOWN, link);
    expect(CHAIN_KNOWN, same);
    expect(CHAIN_FORK, other);
    expect(CHAIN_FORK, elsewhere);
    expect(CHAIN_FORK, later);
    expect(CHAIN_FORK, passed);
    expect(CHAIN_VOTES, invalid); /* what does not hold contradicts nothing */
    cr_assert_eq(chain_newest(chain)->number, 3, "the chain stays as it was");
}

/* ---- files ----------------------------------------------------------------------------------- */

static void write_story(struct buffer *out) {
    struct span links[5];
    tell_story(links);
    buffer_init(out, CHAIN_SIZE_MAX);
    cr_assert(chain_file_begin(out, buffer_span(&consortium.genesis_bytes)));
    for (uint32_t i = 0; i < 5; i++) {
        cr_assert(chain_file_append(out, links[i]));
    }
}

static void expect_damaged(struct span file, const char *text) {
    struct problem problem = {.code = EXIT_OK};
    cr_assert_null(chain_read(NULL, file, &problem));
    cr_assert_eq(problem.code, EXIT_INVALID);
    cr_assert(strstr(problem.text, text) != NULL, "%s", problem.text);
}

Test(chain, comes_back_from_its_file) {
    struct buffer file;
    struct problem problem = {.code = EXIT_OK};
    write_story(&file);
    struct chain *const read =
        chain_read(&consortium.genesis.service, buffer_span(&file), &problem);
    cr_assert_not_null(read, "%s", problem.text);
    cr_assert_eq(chain_newest(read)->number, 6);
    chain_free(read);
    struct digest const other = {{1}};
    cr_assert_null(chain_read(&other, buffer_span(&file), &problem));
    cr_assert_eq(problem.code, EXIT_INVALID);
    buffer_free(&file);
}

Test(chain, damaged_files_are_refused) {
    struct buffer file;
    write_story(&file);
    expect_damaged((struct span){0}, "no governance chain");
    expect_damaged(span_of(file.data, 10), "no governance chain");
    expect_damaged(span_of(file.data, file.size - 1), "behind link 4");
    file.data[0] ^= 1;
    expect_damaged(buffer_span(&file), "no governance chain");
    file.data[0] ^= 1;
    size_t const sizes = sizeof CHAIN_FILE_MAGIC - 1;
    size_t const first = sizes + 4 + load_u32_be(file.data + sizes);
    file.data[first] = 0xff; /* the size of the first link */
    expect_damaged(buffer_span(&file), "behind link 0");
    file.data[first] = 0;
    file.data[first + 4 + load_u32_be(file.data + first) - 1] ^= 1;
    expect_damaged(buffer_span(&file), "link 1 of the governance chain");
    file.data[first + 4 + load_u32_be(file.data + first) - 1] ^= 1;
    /* A link twice: a file says everything once. */
    struct span const again = span_of(file.data + first + 4, load_u32_be(file.data + first));
    struct buffer twice;
    buffer_init(&twice, CHAIN_SIZE_MAX);
    cr_assert(buffer_append(&twice, buffer_span(&file)) && chain_file_append(&twice, again));
    expect_damaged(buffer_span(&twice), "link 6 of the governance chain");
    cr_assert_not(chain_file_append(&twice, span_of(file.data, CHAIN_LINK_SIZE_MAX + 1)));
    buffer_free(&twice);
    buffer_free(&file);
}
