/*
 * govern: tests of governance in the engine (execution/govern.h): what a member's calls come to,
 * alone and among others, undone and done again; what a batch allows; what follows from a state,
 * also from one that others made; and batches that a vote closes, through replay.
 */
#include "execution/govern.h"

#include <criterion/criterion.h>

#include "base/prng.h"
#include "execution/replay.h"
#include "governance/ballot.h"
#include "tests/forge/reform.h"
#include "tests/forge/story.h"

#define REQUESTS_MAX 64u
#define ID_SIZE (2 * DIGEST_SIZE + 1)

static struct consortium consortium;
static struct charter charter;
static struct constitution next;
static struct engine *engine;
static struct execution execution;
static struct arena arena;

static void set_up(void) {
    consortium_found(&consortium, &(struct consortium_options){0});
    charter_found(&charter, &consortium);
    engine = engine_new(NULL);
    cr_assert(engine != NULL);
    engine_govern(engine, &charter.now);
    execution_init(&execution);
    arena_init(&arena, (size_t)64 << 20);
}

static void tear_down(void) {
    cr_assert_not(engine_failed(engine));
    execution_free(&execution);
    engine_free(engine);
    arena_free(&arena);
    charter_free(&charter);
    consortium_free(&consortium);
}

TestSuite(govern, .init = set_up, .fini = tear_down, .timeout = 60);

/* ---- calls ----------------------------------------------------------------------------------- */

static const struct key_pair *member(uint32_t position) {
    return &consortium.members[position];
}

static struct call call_of(const char *procedure, uint32_t count, const struct span *arguments) {
    struct buffer bytes;
    struct call call = {.procedure = span_text(procedure), .argument_count = count};
    cr_assert_leq(count, ARGUMENTS_MAX);
    buffer_init(&bytes, CALL_SIZE_MAX);
    cr_assert(call_encode(&bytes, call.procedure, count, arguments));
    call.bytes = arena_copy(&arena, buffer_span(&bytes));
    for (uint32_t i = 0; i < count; i++) {
        call.arguments[i] = arguments[i];
    }
    buffer_free(&bytes);
    return call;
}

static struct call propose(struct span proposal) {
    return call_of("gov.propose", 1, &proposal);
}

static struct call vote(const char *id, const char *choice) {
    struct span const arguments[2] = {span_text(id), span_text(choice)};
    return call_of("gov.vote", 2, arguments);
}

static struct call withdraw(const char *id) {
    struct span const argument = span_text(id);
    return call_of("gov.withdraw", 1, &argument);
}

/* Sign a request of these calls. The first index that it may have is 1. */
static struct span sign(const struct key_pair *author, enum request_mode mode, uint32_t count,
                        const struct call *calls) {
    static uint64_t number;
    uint8_t nonce[REQUEST_NONCE_SIZE] = {0};
    struct span encoded[CALLS_MAX];
    struct buffer bytes;
    for (uint32_t i = 0; i < count; i++) {
        encoded[i] = calls[i].bytes;
    }
    store_u64_be(nonce, ++number);
    buffer_init(&bytes, REQUEST_SIZE_MAX);
    cr_assert(request_header_encode(&bytes, &author->key, 1, nonce, mode, count, encoded));
    struct span const header = arena_copy(&arena, buffer_span(&bytes));
    struct signature const signature = sign_labelled(&author->secret, &author->key, LABEL_REQUEST,
                                                     &consortium.configuration.service, header);
    buffer_clear(&bytes);
    cr_assert(request_encode(&bytes, header, &signature, count, encoded));
    struct span const kept = arena_copy(&arena, buffer_span(&bytes));
    cr_assert_not(arena.exhausted);
    buffer_free(&bytes);
    return kept;
}

static void execute_on(struct engine *on, struct span bytes) {
    const struct digest *const service = &consortium.configuration.service;
    struct request request;
    cr_assert_eq(request_decode(&request, &arena, service, bytes), CODEC_OK);
    engine_execute(on, &execution, service, &request);
    cr_assert_eq(execution.count, request.call_count);
}

/* One call of one author, and what it comes to: the reply's items joined by spaces. */
static void expect(const struct key_pair *author, struct call call, enum outcome_status status,
                   const char *reply) {
    struct outcome outcome;
    struct buffer text;
    execute_on(engine, sign(author, REQUEST_INDEPENDENT, 1, &call));
    cr_assert_eq(outcome_decode(&outcome, &arena, execution.outcomes[0]), CODEC_OK);
    buffer_init(&text, REPLY_SIZE_MAX);
    for (uint32_t i = 0; i < outcome.reply_count; i++) {
        cr_assert(i == 0 || buffer_append(&text, span_text(" ")));
        cr_assert(buffer_append(&text, outcome.reply[i]));
    }
    cr_assert_eq(outcome.status, status, "%d", (int)outcome.status);
    cr_assert(reply == NULL || span_equal(buffer_span(&text), span_text(reply)), "%.*s",
              (int)text.size, (const char *)text.data);
    cr_assert_eq(execution.closes, ballot_has_passed(call.procedure, &outcome));
    buffer_free(&text);
}

/* The same in a batch of its own. */
static void expect_alone(const struct key_pair *author, struct call call,
                         enum outcome_status status, const char *reply) {
    engine_batch_begin(engine);
    expect(author, call, status, reply);
}

struct made {
    struct span bytes;
    char id[ID_SIZE];
};

/* A proposal of a user with that number. */
static struct made make(uint32_t number) {
    char name[] = "user-aa";
    name[5] = (char)('a' + number / 26 % 26);
    name[6] = (char)('a' + number % 26);
    struct action const action = charter_named(&charter, ACTION_ADD_USER, name, 5000 + number);
    struct proposal decoded;
    struct made made = {.bytes = charter_propose(&charter, 1, &action)};
    charter_decode(&charter, &decoded, made.bytes);
    ballot_digest_write(made.id, &decoded.id);
    return made;
}

static bool is_same(const struct constitution *a, const struct constitution *b) {
    struct digest digests[2];
    cr_assert(constitution_digest(&digests[0], a) && constitution_digest(&digests[1], b));
    return a->number == b->number && digest_equal(&digests[0], &digests[1]);
}

static bool is_there(struct engine *in, const char *key) {
    struct span value;
    return engine_get(in, span_text(key), &value) == 1;
}

/* ---- what becomes of a proposal -------------------------------------------------------------- */

/* Member 0 proposes this, and so many say yes. */
static void go_on_to_votes(const struct made *made, uint32_t votes) {
    static const char *const open[] = {"open 1 0", "open 2 0"};
    expect_alone(member(0), propose(made->bytes), OUTCOME_OK, made->id);
    for (uint32_t i = 0; i < votes; i++) {
        expect_alone(member(i), vote(made->id, "yes"), OUTCOME_OK, i < 2 ? open[i] : NULL);
    }
}

Test(govern, a_proposal_passes) {
    struct made const made = make(1);
    struct proposal proposal;
    struct constitution expected;
    struct digest digest;
    char passed[ID_SIZE + 16] = "passed 2 ";
    charter_decode(&charter, &proposal, made.bytes);
    cr_assert_eq(proposal_apply(&expected, &charter.now, &proposal).rule, PROPOSAL_SOUND);
    cr_assert(constitution_digest(&digest, &expected));
    ballot_digest_write(passed + strlen(passed), &digest);
    go_on_to_votes(&made, 2);
    cr_assert_not(engine_next_constitution(engine, &next));
    expect_alone(member(3), vote(made.id, "yes"), OUTCOME_OK, passed);
    cr_assert(execution.closes);
    cr_assert(engine_next_constitution(engine, &next));
    cr_assert(is_same(&next, &expected));
    expect_alone(member(1), propose(make(2).bytes), OUTCOME_REFUSED, "a change is under way");
    /* In force it is the past, and there is nothing to follow. */
    engine_govern(engine, &expected);
    cr_assert_not(engine_next_constitution(engine, &next));
    charter.now = expected;
    struct made const other = make(2);
    expect_alone(member(1), propose(other.bytes), OUTCOME_OK, other.id);
}

Test(govern, a_proposal_is_rejected_or_withdrawn) {
    struct made const one = make(1);
    struct made const two = make(2);
    go_on_to_votes(&one, 1);
    expect_alone(member(1), vote(one.id, "no"), OUTCOME_OK, "open 1 1");
    expect_alone(member(2), vote(one.id, "no"), OUTCOME_OK, "rejected");
    cr_assert_not(execution.closes);
    expect_alone(member(2), withdraw(one.id), OUTCOME_REFUSED, "no such proposal is open");
    expect_alone(member(0), propose(two.bytes), OUTCOME_OK, two.id);
    expect_alone(member(1), withdraw(two.id), OUTCOME_REFUSED, "only its proposer can withdraw it");
    expect_alone(member(0), withdraw(two.id), OUTCOME_OK, "withdrawn");
    cr_assert_not(engine_next_constitution(engine, &next));
}

/* ---- who may, and how ------------------------------------------------------------------------ */

Test(govern, without_a_constitution_there_is_none) {
    for (unsigned i = 0; i < 2; i++) {
        struct made const made = make(1);
        engine_govern(engine, NULL);
        expect(member(0), propose(made.bytes), OUTCOME_INVALID, "unknown procedure");
        expect(member(0), vote(made.id, "yes"), OUTCOME_INVALID, "unknown procedure");
        expect(member(0), withdraw(made.id), OUTCOME_INVALID, "unknown procedure");
        cr_assert_not(engine_next_constitution(engine, &next));
        engine_govern(engine, &charter.now);
        expect(member(0), propose(made.bytes), OUTCOME_OK, made.id);
        expect(member(0), withdraw(made.id), OUTCOME_OK, "withdrawn");
    }
}

Test(govern, members_alone_govern) {
    const struct key_pair *const others[] = {&consortium.users[0], &consortium.stranger};
    struct made const made = make(1);
    go_on_to_votes(&made, 2);
    for (unsigned i = 0; i < 2; i++) {
        expect(others[i], propose(make(2).bytes), OUTCOME_REFUSED, "only members govern");
        expect(others[i], vote(made.id, "yes"), OUTCOME_REFUSED, "only members govern");
        expect(others[i], withdraw(made.id), OUTCOME_REFUSED, "only members govern");
    }
}

Test(govern, what_is_malformed_is_invalid) {
    struct made const made = make(1);
    struct span const too_many[2] = {made.bytes, made.bytes};
    expect_alone(member(0), propose(span_text("x")), OUTCOME_INVALID, NULL);
    expect_alone(member(0), vote("x", "yes"), OUTCOME_INVALID, "not the id of a proposal");
    expect_alone(member(0), vote(made.id, "perhaps"), OUTCOME_INVALID, "a vote is yes or no");
    expect_alone(member(0), call_of("gov.propose", 2, too_many), OUTCOME_INVALID,
                 "wrong argument count");
    expect_alone(member(0), call_of("gov.other", 0, NULL), OUTCOME_INVALID, "unknown procedure");
}

/* Beside another call none of them is made, in neither place and neither mode. */
Test(govern, a_governance_call_is_alone) {
    struct made const made = make(1);
    struct span const put[2] = {span_text("a"), span_text("1")};
    struct call const kv = call_of("kv.put", 2, put);
    go_on_to_votes(&made, 2);
    struct call const calls[] = {vote(made.id, "yes"), propose(make(2).bytes), withdraw(made.id)};
    for (unsigned i = 0; i < 12; i++) {
        bool const is_first = i % 2 == 0;
        bool const is_atomic = i / 6 != 0;
        struct call const pair[2] = {is_first ? calls[i / 2 % 3] : kv,
                                     is_first ? kv : calls[i / 2 % 3]};
        struct outcome outcome;
        execute_on(engine,
                   sign(member(0), is_atomic ? REQUEST_ATOMIC : REQUEST_INDEPENDENT, 2, pair));
        cr_assert_eq(outcome_decode(&outcome, &arena, execution.outcomes[is_first ? 0 : 1]),
                     CODEC_OK);
        cr_assert_eq(outcome.status, OUTCOME_INVALID);
        cr_assert(span_equal(outcome.reply[0],
                             span_text("a governance call must be alone in its request")));
        cr_assert_eq(execution.statuses[is_first ? 1 : 0],
                     is_atomic ? OUTCOME_ABORTED : OUTCOME_OK);
        cr_assert_not(execution.closes);
    }
    expect_alone(member(1), vote(made.id, "yes"), OUTCOME_OK, "open 2 0");
}

/* What is under "g/" is reached by no other procedure. */
Test(govern, nothing_else_writes_what_governance_keeps) {
    static const char *const keys[] = {"g/c", "g/p/00", "g/v/00"};
    for (unsigned i = 0; i < 3; i++) {
        struct span const put[3] = {span_text(keys[i]), span_text("5"), span_text("7")};
        struct span const swap[3] = {span_text(keys[i]), span_text("5"), span_text("6")};
        expect(member(0), call_of("kv.put", 2, put), OUTCOME_OK, "");
        expect(member(0), call_of("kv.cas", 3, swap), OUTCOME_OK, "");
        expect(member(0), call_of("bank.create_account", 3, put), OUTCOME_OK, "5 7");
        cr_assert_not(is_there(engine, keys[i]));
    }
    struct made const made = make(1);
    go_on_to_votes(&made, 1);
    struct span const all[3] = {span_text("f"), span_text("h"), span_text("64")};
    expect(member(0), call_of("kv.scan", 3, all), OUTCOME_OK, "g/c 6 g/p/00 6 g/v/00 6");
    cr_assert(is_there(engine, "g/p/00") && is_there(engine, "g/v/00"));
}

/* ---- what a batch allows --------------------------------------------------------------------- */

#define TOO_MANY "too many governance calls of yours in one batch"

Test(govern, a_member_has_a_budget) {
    struct made const one = make(1);
    struct made const two = make(2);
    engine_batch_begin(engine);
    expect(member(0), propose(one.bytes), OUTCOME_OK, one.id);
    expect(member(0), propose(two.bytes), OUTCOME_REFUSED, TOO_MANY);
    expect(member(0), vote(one.id, "yes"), OUTCOME_OK, "open 1 0");
    expect(member(0), vote(one.id, "no"), OUTCOME_REFUSED, TOO_MANY);
    expect(member(1), propose(two.bytes), OUTCOME_OK, two.id);
    engine_batch_begin(engine);
    for (uint32_t i = 0; i < GOVERN_COST_MAX; i++) {
        expect(member(0), vote(one.id, "yes"), OUTCOME_OK, "open 1 0");
    }
    expect(member(0), vote(one.id, "yes"), OUTCOME_REFUSED, TOO_MANY);
    expect(member(1), withdraw(two.id), OUTCOME_OK, "withdrawn");
    engine_batch_begin(engine);
    /* What does not decode costs the same, and what nobody looks at nothing. */
    expect(member(2), propose(span_text("x")), OUTCOME_INVALID, NULL);
    expect(member(2), propose(two.bytes), OUTCOME_REFUSED, TOO_MANY);
    expect(&consortium.users[0], vote(one.id, "yes"), OUTCOME_REFUSED, "only members govern");
    expect(member(2), vote(one.id, "yes"), OUTCOME_OK, "open 2 0");
}

/* A request that is taken back gives its share of the budget back. */
Test(govern, the_budget_is_rolled_back) {
    struct made const made = make(1);
    engine_batch_begin(engine);
    uint64_t const start = engine_mark(engine);
    for (unsigned i = 0; i < 3; i++) {
        expect(member(0), propose(made.bytes), OUTCOME_OK, made.id);
        uint64_t const behind = engine_mark(engine);
        for (unsigned k = 0; k < 3; k++) {
            expect(member(0), vote(made.id, "yes"), OUTCOME_OK, "open 1 0");
            expect(member(0), withdraw(made.id), OUTCOME_REFUSED, TOO_MANY);
            engine_rollback(engine, behind);
        }
        engine_rollback(engine, start);
    }
    /* What is rolled back into a batch before concerns that one alone. */
    expect(member(0), propose(made.bytes), OUTCOME_OK, made.id);
    uint64_t const first = engine_mark(engine);
    engine_batch_begin(engine);
    expect(member(0), vote(made.id, "yes"), OUTCOME_OK, "open 1 0");
    engine_rollback(engine, first);
    engine_batch_begin(engine);
    for (uint32_t i = 0; i < GOVERN_COST_MAX; i++) {
        expect(member(0), vote(made.id, "yes"), OUTCOME_OK, "open 1 0");
    }
    expect(member(0), vote(made.id, "yes"), OUTCOME_REFUSED, TOO_MANY);
}

/* ---- undone and done again ------------------------------------------------------------------- */

static struct made random_made[8];

static struct call random_call(struct prng *prng) {
    struct made const *const made = &random_made[prng_below(prng, 8)];
    switch (prng_below(prng, 4)) {
    case 0:
        return propose(made->bytes);
    case 1:
        return withdraw(made->id);
    default:
        return vote(made->id, prng_below(prng, 3) == 0 ? "no" : "yes");
    }
}

/* Random requests, rolled back to random places: each outcome is what it was the first time. */
Test(govern, what_is_done_again_comes_to_the_same) {
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct prng prng;
        struct span requests[REQUESTS_MAX];
        struct digest digests[REQUESTS_MAX];
        bool closes[REQUESTS_MAX];
        uint64_t marks[REQUESTS_MAX];
        uint32_t reached = 0;
        prng_init(&prng, seed);
        for (uint32_t i = 0; i < 8; i++) {
            random_made[i] = make((uint32_t)(10 * seed + i));
        }
        for (uint32_t i = 0; i < REQUESTS_MAX; i++) {
            struct call const call = random_call(&prng);
            requests[i] =
                sign(member((uint32_t)prng_below(&prng, 4)), REQUEST_INDEPENDENT, 1, &call);
        }
        for (uint32_t step = 0, at = 0; step < 8 * REQUESTS_MAX && at < REQUESTS_MAX; step++) {
            if (at % 8 == 0) {
                engine_batch_begin(engine);
            }
            marks[at] = engine_mark(engine);
            execute_on(engine, requests[at]);
            if (at == reached) {
                digests[at] = execution.digests[0];
                closes[at] = execution.closes;
                reached++;
            }
            cr_assert(digest_equal(&digests[at], &execution.digests[0]));
            cr_assert_eq(closes[at], execution.closes);
            at++;
            if (prng_below(&prng, 4) == 0) {
                uint32_t const batch = (at - 1) / 8 * 8;
                uint32_t const within = batch + (uint32_t)prng_below(&prng, at - batch);
                uint32_t const places[3] = {within, batch, batch == 0 ? 0 : batch - 8};
                at = places[prng_below(&prng, 3)];
                engine_rollback(engine, marks[at]);
            }
        }
        cr_assert_gt(reached, 16); /* two batches at least */
        tear_down();
        set_up();
    }
}

Test(govern, a_vote_that_is_rolled_back_decided_nothing) {
    struct made const made = make(1);
    go_on_to_votes(&made, 2);
    uint64_t const mark = engine_mark(engine);
    for (unsigned i = 0; i < 3; i++) {
        expect_alone(member(2), vote(made.id, "yes"), OUTCOME_OK, NULL);
        cr_assert(execution.closes && engine_next_constitution(engine, &next));
        engine_rollback(engine, mark);
        cr_assert_not(engine_next_constitution(engine, &next));
        expect_alone(member(2), vote(made.id, "no"), OUTCOME_OK, "open 2 1");
        cr_assert_not(execution.closes);
        engine_rollback(engine, mark);
    }
}

/* ---- what follows from a state --------------------------------------------------------------- */

struct items {
    uint32_t count;
    struct span keys[2 * MEMBERS_MAX + 1];
    struct span values[2 * MEMBERS_MAX + 1];
};

static bool keep_item(void *context, struct span key, struct span value, bool deleted) {
    struct items *const items = context;
    cr_assert(!deleted && items->count < sizeof items->keys / sizeof items->keys[0]);
    items->keys[items->count] = arena_copy(&arena, key);
    items->values[items->count++] = arena_copy(&arena, value);
    return true;
}

/* A state in which a vote has passed, with other proposals beside it. */
static void decide(struct items *items) {
    struct made const made = make(1);
    struct made const other = make(2);
    expect_alone(member(1), propose(other.bytes), OUTCOME_OK, other.id);
    expect_alone(member(1), vote(other.id, "yes"), OUTCOME_OK, "open 1 0");
    go_on_to_votes(&made, 3);
    cr_assert(execution.closes && engine_next_constitution(engine, &next));
    engine_cut(engine, 1);
    items->count = 0;
    cr_assert(engine_visit_state(engine, 1, keep_item, items));
    cr_assert_eq(items->count, 5);
}

/* Does this state lead to the constitution that was decided, or to none? */
static bool leads_on(const struct items *items) {
    struct constitution found;
    struct engine *const fresh = engine_new(NULL);
    cr_assert(fresh != NULL);
    for (uint32_t i = 0; i < items->count; i++) {
        cr_assert(engine_preload(fresh, items->keys[i], items->values[i]));
    }
    engine_govern(fresh, &charter.now);
    bool const leads = engine_next_constitution(fresh, &found);
    cr_assert_not(engine_failed(fresh));
    cr_assert(!leads || is_same(&found, &next));
    engine_free(fresh);
    return leads;
}

Test(govern, the_state_is_enough) {
    struct items items;
    decide(&items);
    cr_assert(leads_on(&items));
    for (uint32_t i = 0; i < items.count; i++) {
        struct items without = items;
        without.count--;
        without.keys[i] = items.keys[without.count];
        without.values[i] = items.values[without.count];
        bool const is_needed = !span_equal(items.keys[i], span_text("g/p/01")) &&
                               !span_equal(items.keys[i], span_text("g/v/01"));
        cr_assert_eq(leads_on(&without), !is_needed, "%.*s", (int)items.keys[i].size,
                     (const char *)items.keys[i].data);
    }
}

static uint32_t place_of(const struct items *items, const char *key) {
    uint32_t at = 0;
    while (!span_equal(items->keys[at], span_text(key))) {
        cr_assert_lt(++at, items->count);
    }
    return at;
}

/* What was decided must be what the proposal makes, and nothing but the next one. */
Test(govern, a_state_that_decided_something_else) {
    struct items items;
    struct decided decided;
    struct buffer bytes;
    decide(&items);
    uint32_t const at = place_of(&items, "g/c");
    cr_assert_eq(decided_decode(&decided, &arena, items.values[at]), CODEC_OK);
    cr_assert_eq(decided.number, 2);
    buffer_init(&bytes, BALLOT_SIZE_MAX);
    for (unsigned i = 0; i < 4; i++) {
        static const uint64_t numbers[] = {2, 2, 3, UINT64_MAX};
        decided.number = numbers[i];
        decided.constitution.bytes[DIGEST_SIZE - 1] ^= i == 1;
        buffer_clear(&bytes);
        cr_assert(decided_encode(&bytes, &decided));
        decided.constitution.bytes[DIGEST_SIZE - 1] ^= i == 1;
        items.values[at] = buffer_span(&bytes);
        cr_assert_eq(leads_on(&items), i == 0);
    }
    buffer_free(&bytes);
}

/* That a change was decided is not enough where the votes for it are not. */
Test(govern, a_state_without_the_votes) {
    struct items items;
    struct ballot ballot;
    struct buffer bytes;
    decide(&items);
    uint32_t const at = place_of(&items, "g/v/00");
    cr_assert_eq(ballot_decode(&ballot, &arena, items.values[at]), CODEC_OK);
    cr_assert_eq(ballot.yes, 7);
    buffer_init(&bytes, BALLOT_SIZE_MAX);
    for (uint64_t yes = 0; yes < 16; yes++) {
        ballot.yes = yes;
        buffer_clear(&bytes);
        cr_assert(ballot_encode(&bytes, &ballot));
        items.values[at] = buffer_span(&bytes);
        cr_assert_eq(leads_on(&items), __builtin_popcountll(yes) > 2);
    }
    buffer_free(&bytes);
}

static void fill(struct prng *prng, uint8_t bytes[static VALUE_SIZE_MAX]) {
    for (uint32_t i = 0; i < VALUE_SIZE_MAX; i++) {
        bytes[i] = (uint8_t)prng_next(prng);
    }
}

/* A state may come from others: whatever it says, it leads to what was voted for or nowhere. */
Test(govern, a_state_that_others_made) {
    struct items items;
    struct prng prng;
    uint8_t garbage[VALUE_SIZE_MAX];
    decide(&items);
    prng_init(&prng, 5);
    fill(&prng, garbage);
    for (uint32_t i = 0; i < items.count; i++) {
        struct items other = items;
        other.values[i] = span_of(garbage, sizeof garbage);
        (void)leads_on(&other);
        other.values[i] = span_of(NULL, 0);
        (void)leads_on(&other);
        other.values[i] = items.values[(i + 1) % items.count];
        (void)leads_on(&other);
        for (uint32_t k = 0; k < 40; k++) {
            memcpy(garbage, items.values[i].data, items.values[i].size);
            garbage[prng_below(&prng, items.values[i].size)] ^=
                (uint8_t)(1 + prng_below(&prng, 255));
            other.values[i] = span_of(garbage, items.values[i].size);
            (void)leads_on(&other);
        }
        fill(&prng, garbage);
    }
}

/* ---- batches that a vote closes -------------------------------------------------------------- */

static struct forge forge;
static struct story story;

struct reading {
    struct checker *checker;
    struct engine *engine; /* NULL: nothing is executed */
    struct replay replay;
    struct batch batch;
};

static void reading_open(struct reading *reading, bool executes) {
    *reading = (struct reading){.checker = checker_new(&consortium.configuration),
                                .engine = executes ? engine_new(NULL) : NULL};
    cr_assert(reading->checker != NULL && (!executes || reading->engine != NULL));
    checker_start(reading->checker, buffer_span(&consortium.genesis_bytes));
    if (executes) {
        engine_govern(reading->engine, &charter.now);
    }
    replay_init(&reading->replay);
    batch_init(&reading->batch);
}

static void reading_close(struct reading *reading) {
    batch_free(&reading->batch);
    replay_free(&reading->replay);
    checker_free(reading->checker);
    engine_free(reading->engine);
}

static enum rule read_batch(struct reading *reading, uint64_t seq) {
    struct sign_sink const sink = {.context = &forge, .check = sign_sink_trust.check};
    forge_read(&forge, seq, &reading->batch);
    return replay_batch(&reading->replay, reading->checker, reading->engine, &reading->batch,
                        &sink);
}

static void forge_begin(void) {
    forge_init(&forge, &consortium);
    forge_govern(&forge, &charter.now);
    story = (struct story){.forge = &forge, .random = 3};
}

static void forge_one(uint32_t count, const struct span *requests, enum rule lie) {
    forge_append(&forge,
                 &(struct forge_order){.request_count = count, .requests = requests, .lie = lie});
}

/* All but the passing vote, in batches of their own. */
static void forge_votes(const struct made *made) {
    struct call const call = propose(made->bytes);
    struct span request = sign(member(0), REQUEST_INDEPENDENT, 1, &call);
    forge_one(1, &request, RULE_NONE);
    for (uint32_t i = 0; i < 2; i++) {
        struct call const yes = vote(made->id, "yes");
        request = sign(member(i), REQUEST_INDEPENDENT, 1, &yes);
        forge_one(1, &request, RULE_NONE);
    }
}

static struct span passing_vote(const struct made *made) {
    struct call const yes = vote(made->id, "yes");
    return sign(member(2), REQUEST_INDEPENDENT, 1, &yes);
}

static struct span get_request(void) {
    struct span const key = span_text("a");
    struct call const get = call_of("kv.get", 1, &key);
    return sign(&consortium.users[0], REQUEST_INDEPENDENT, 1, &get);
}

Test(govern, a_vote_closes_its_batch_in_replay) {
    struct made const made = make(1);
    forge_begin();
    forge_votes(&made);
    struct span const requests[2] = {get_request(), passing_vote(&made)};
    forge_one(2, requests, RULE_NONE);
    uint64_t const closing = forge_seq(&forge);
    forge_one(0, NULL, RULE_NONE);
    forge_one(0, NULL, RULE_NONE);
    for (unsigned i = 0; i < 2; i++) {
        struct reading reading;
        reading_open(&reading, i == 0);
        for (uint64_t seq = 1; seq <= forge_seq(&forge); seq++) {
            cr_assert_eq(read_batch(&reading, seq), RULE_NONE);
            cr_assert_eq(checker_position(reading.checker)->closing_seq,
                         seq < closing ? 0 : closing);
        }
        cr_assert(checker_is_closed(reading.checker));
        cr_assert(i == 1 || engine_next_constitution(reading.engine, &next));
        reading_close(&reading);
    }
    forge_free(&forge);
}

/* Whether the requests are executed or not, the rule is the same, and nothing of it remains. */
static void expect_broken(enum rule expected) {
    for (unsigned i = 0; i < 2; i++) {
        struct reading reading;
        reading_open(&reading, i == 0);
        uint64_t const last = forge_seq(&forge);
        for (uint64_t seq = 1; seq < last; seq++) {
            cr_assert_eq(read_batch(&reading, seq), RULE_NONE);
        }
        uint64_t const mark = i == 0 ? engine_mark(reading.engine) : 0;
        for (unsigned again = 0; again < 2; again++) {
            enum rule const rule = read_batch(&reading, last);
            cr_assert_eq(rule, expected, "%s", rule_name(rule));
            cr_assert_eq(checker_position(reading.checker)->closing_seq, 0);
            cr_assert(i == 1 || engine_mark(reading.engine) == mark);
        }
        cr_assert(i == 1 || !engine_next_constitution(reading.engine, &next));
        reading_close(&reading);
    }
}

Test(govern, nothing_may_follow_the_vote_in_its_batch) {
    struct made const made = make(1);
    struct made const other = make(2);
    struct call const more = propose(other.bytes);
    struct span const followers[] = {get_request(), sign(member(3), REQUEST_INDEPENDENT, 1, &more)};
    for (unsigned i = 0; i < 2; i++) {
        forge_begin();
        forge_votes(&made);
        struct span const requests[3] = {get_request(), passing_vote(&made), followers[i]};
        forge_one(3, requests, RULE_AFTER_CLOSE);
        expect_broken(RULE_AFTER_CLOSE);
        forge_free(&forge);
    }
    cr_assert(rule_convicts(RULE_AFTER_CLOSE));
}

/* What comes first is what is told. */
Test(govern, the_first_broken_rule_is_kept) {
    struct made const made = make(1);
    forge_begin();
    forge_votes(&made);
    struct span const twice = get_request();
    struct span const requests[4] = {twice, twice, passing_vote(&made), get_request()};
    forge_one(4, requests, RULE_REQUEST_DUPLICATE);
    expect_broken(RULE_REQUEST_DUPLICATE);
    forge_free(&forge);
}
