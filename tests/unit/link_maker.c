/*
 * link_maker: links of the governance chain made of the batches of a ledger (receipts/link_maker.h)
 * are those that a stranger's verifier takes, whatever else stands in the ledger; and from a part
 * of it none is made.
 */
#include "receipts/link_maker.h"

#include <criterion/criterion.h>

#include "governance/ballot.h"
#include "receipts/chain.h"
#include "tests/forge/reform.h"
#include "tests/forge/story.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static struct consortium consortium;
static struct forge forge;
static struct story story;
static struct reform reform;
static struct link_maker *maker;
static struct batch batch;
static struct buffer made;

static void set_up(void) {
    consortium_found(&consortium, &(struct consortium_options){0});
    forge_init(&forge, &consortium);
    reform_init(&reform, &forge);
    story = (struct story){.forge = &forge, .random = 7};
    maker = link_maker_new();
    cr_assert_not_null(maker);
    cr_assert_null(link_maker_constitution(maker));
    batch_init(&batch);
    buffer_init(&made, CHAIN_LINK_SIZE_MAX);
}

static void tear_down(void) {
    buffer_free(&made);
    batch_free(&batch);
    link_maker_free(maker);
    reform_free(&reform);
    forge_free(&forge);
    consortium_free(&consortium);
}

TestSuite(link_maker, .init = set_up, .fini = tear_down, .timeout = 60);

static struct span add_user(const char *name, uint32_t number) {
    struct action const action = charter_named(&reform.charter, ACTION_ADD_USER, name, number);
    return charter_propose(&reform.charter, 1, &action);
}

static void change(const char *name, uint32_t number) {
    struct action const action = charter_named(&reform.charter, ACTION_ADD_USER, name, number);
    reform_end(&reform, 1, &action);
}

/* Append one request of a member. */
static void call(uint32_t member, const char *procedure, uint32_t count,
                 const struct span *arguments) {
    struct span const request = reform_request(&reform, member, procedure, count, arguments);
    forge_append(&forge, &(struct forge_order){.request_count = 1, .requests = &request});
}

static void propose(uint32_t member, struct span proposal) {
    call(member, "gov.propose", 1, &proposal);
}

static void vote(uint32_t member, struct span proposal, const char *choice) {
    char id[2 * DIGEST_SIZE + 1];
    struct proposal decoded;
    charter_decode(&reform.charter, &decoded, proposal);
    ballot_digest_write(id, &decoded.id);
    struct span const arguments[2] = {span_text(id), span_text(choice)};
    call(member, BALLOT_VOTE, 2, arguments);
}

/* The two batches that end the configuration. */
static void end(void) {
    cr_assert_eq(forge.closing_seq, forge_seq(&forge));
    for (uint32_t i = 0; i < CLOSING_BATCHES; i++) {
        forge_append(&forge, &(struct forge_order){0});
    }
}

static void take(uint64_t first, uint64_t last) {
    for (uint64_t seq = first; seq <= last; seq++) {
        forge_read(&forge, seq, &batch);
        link_maker_take(maker, &batch);
    }
}

/* The link of the configuration that was closed with the vote in batch `seq`. */
static bool make(uint64_t seq) {
    struct buffer certificates[2];
    for (uint32_t i = 0; i < 2; i++) {
        buffer_init(&certificates[i], COMMIT_CERTIFICATE_SIZE_MAX);
        forge_certificate(&forge, seq + i, &certificates[i]);
    }
    forge_read(&forge, seq, &batch);
    struct link_ending const ending = {.closing = &batch,
                                       .certificate = buffer_span(&certificates[0]),
                                       .end_certificate = buffer_span(&certificates[1])};
    buffer_clear(&made);
    bool const done = link_maker_make(maker, &made, &ending);
    buffer_free(&certificates[0]);
    buffer_free(&certificates[1]);
    return done;
}

/* Does the link hold, as the first of the chain? */
static void expect_valid(uint32_t votes) {
    static struct chain_link link;
    struct problem problem = {.code = EXIT_OK};
    struct arena arena;
    struct chain *const chain = chain_new(NULL, buffer_span(&consortium.genesis_bytes), &problem);
    cr_assert_not_null(chain);
    struct chain_verdict const verdict = chain_add(chain, buffer_span(&made));
    cr_assert_eq(verdict.check, CHAIN_VALID, "%s", chain_check_text(verdict.check));
    chain_free(chain);
    arena_init(&arena, (size_t)8 << 20);
    cr_assert_eq(chain_link_decode(&link, &arena, buffer_span(&made)), CODEC_OK);
    cr_assert_eq(link.vote_count, votes);
    arena_free(&arena);
}

Test(link_maker, links_are_those_of_the_ledger) {
    uint64_t first = 1;
    for (uint32_t i = 0; i < 3; i++) {
        static const char *const names[3] = {"dave", "erin", "frank"};
        link_maker_begin(maker, &reform.constitutions[i]);
        cr_assert_eq(link_maker_constitution(maker), &reform.constitutions[i]);
        story_append_honest(&story, 6);
        change(names[i], 5000 + i);
        take(first, forge_seq(&forge));
        cr_assert(make(forge.closing_seq));
        cr_assert(span_equal(buffer_span(&made), reform.links[i]));
        first = forge_seq(&forge) + 1;
        reform_start(&reform);
    }
}

/* Members change their minds; what they took back is not in the link. */
Test(link_maker, votes_count_as_they_stand) {
    struct span const first = add_user("dave", 5000);
    struct span const second = add_user("erin", 5001);
    propose(0, first);
    vote(0, first, "yes");
    vote(1, first, "yes");
    vote(0, first, "no");
    propose(1, second);
    vote(1, second, "yes");
    vote(2, first, "yes");
    cr_assert_eq(forge.closing_seq, 0);
    vote(3, first, "yes");
    end();
    link_maker_begin(maker, &reform.constitutions[0]);
    take(1, forge_seq(&forge));
    cr_assert(make(forge.closing_seq));
    expect_valid(2);
}

/* What was withdrawn and proposed again begins without votes. */
Test(link_maker, a_proposal_that_came_back) {
    char id[2 * DIGEST_SIZE + 1];
    struct proposal decoded;
    struct span const proposal = add_user("dave", 5000);
    charter_decode(&reform.charter, &decoded, proposal);
    ballot_digest_write(id, &decoded.id);
    struct span const argument = span_text(id);
    propose(0, proposal);
    vote(1, proposal, "yes");
    vote(2, proposal, "yes");
    call(0, "gov.withdraw", 1, &argument);
    propose(3, proposal);
    vote(3, proposal, "yes");
    vote(0, proposal, "yes");
    vote(1, proposal, "yes");
    end();
    link_maker_begin(maker, &reform.constitutions[0]);
    take(1, forge_seq(&forge));
    cr_assert(make(forge.closing_seq));
    expect_valid(2);
}

/* Requests that look like governance, and are none, or had no effect. */
Test(link_maker, what_looks_like_a_vote_is_none) {
    struct span const proposal = add_user("dave", 5000);
    struct span const other = add_user("erin", 5001);
    char id[2 * DIGEST_SIZE + 1];
    struct proposal decoded;
    charter_decode(&reform.charter, &decoded, proposal);
    ballot_digest_write(id, &decoded.id);
    struct span const put[2] = {span_text("gov.vote"), span_text("gov.propose")};
    struct span const read = span_text(id);
    vote(1, proposal, "yes"); /* nothing is open */
    propose(0, proposal);
    propose(0, other); /* one is open */
    propose(2, proposal);
    call(1, "kv.put", 2, put);
    call(1, "gov.open", 0, NULL);
    call(1, "gov.proposal", 1, &read);
    call(1, "gov.withdraw", 1, &read); /* it is another's */
    vote(1, proposal, "perhaps");
    vote(1, other, "yes");
    for (uint32_t i = 0; i < 3; i++) {
        vote(i, proposal, "yes");
    }
    end();
    link_maker_begin(maker, &reform.constitutions[0]);
    take(1, forge_seq(&forge));
    cr_assert(make(forge.closing_seq));
    expect_valid(2);
}

Test(link_maker, a_part_of_the_ledger_makes_none) {
    story_append_honest(&story, 3);
    uint64_t const proposed = forge_seq(&forge) + 1;
    change("dave", 5000);
    uint64_t const closing = forge.closing_seq;
    for (uint64_t first = proposed + 1; first <= closing; first++) {
        link_maker_begin(maker, &reform.constitutions[0]);
        take(first, closing);
        cr_assert_not(make(closing), "without %u batches", (unsigned)(first - proposed));
    }
    link_maker_begin(maker, &reform.constitutions[0]);
    take(1, closing);
    for (uint64_t seq = 1; seq < proposed; seq++) {
        cr_assert_not(make(seq), "of a batch that ends with no vote");
    }
    cr_assert(make(closing));
    /* What was kept of one configuration is not for the next. */
    link_maker_begin(maker, &reform.constitutions[1]);
    cr_assert_not(make(closing));
}
