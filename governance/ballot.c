/*
 * ballot: see ballot.h. All that a call reads it reads before it writes, and it writes only once
 * nothing can go wrong any more.
 */
#include "governance/ballot.h"

#include "base/check.h"

#define REPLY_PASSED "passed"
#define DECIMAL_DIGITS_MAX 20u /* of a 64-bit number */
#define BITMAP_DIGITS 16u
/* "ID MM YES NO": the place of each part in a line. */
#define LINE_MEMBER (2u * DIGEST_SIZE + 1u)
#define LINE_YES (LINE_MEMBER + 3u)
#define LINE_NO (LINE_YES + BITMAP_DIGITS + 1u)
#define LINE_SIZE (LINE_NO + BITMAP_DIGITS)
static_assert(LINE_SIZE < BALLOT_TEXT_SIZE && DECIMAL_DIGITS_MAX < BALLOT_TEXT_SIZE,
              "every item has room");

/* "g/p/NN" or "g/v/NN". */
struct item_key {
    uint8_t bytes[6];
};

static struct item_key item_key_of(char kind, uint32_t member) {
    static const char digits[] = "0123456789abcdef";
    CHECK(member < MEMBERS_MAX);
    return (struct item_key){
        {'g', '/', (uint8_t)kind, '/', (uint8_t)digits[member >> 4], (uint8_t)digits[member & 15]}};
}

/* ---- replies --------------------------------------------------------------------------------- */

static void reply_add(struct ballot_call *call, struct span item) {
    CHECK(call->reply_count < BALLOT_REPLY_ITEMS_MAX);
    call->reply[call->reply_count++] = item;
}

static void reply_add_number(struct ballot_call *call, uint64_t number) {
    CHECK(call->reply_count < BALLOT_REPLY_ITEMS_MAX);
    char *const text = call->texts[call->reply_count];
    size_t at = DECIMAL_DIGITS_MAX;
    do {
        text[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number != 0);
    reply_add(call, span_of(text + at, DECIMAL_DIGITS_MAX - at));
}

static void reply_add_digest(struct ballot_call *call, const struct digest *digest) {
    CHECK(call->reply_count < BALLOT_REPLY_ITEMS_MAX);
    char *const text = call->texts[call->reply_count];
    ballot_digest_write(text, digest);
    reply_add(call, span_text(text));
}

static enum outcome_status end(struct ballot_call *call, enum outcome_status status,
                               const char *text) {
    reply_add(call, span_text(text));
    return status;
}

static enum outcome_status refuse(struct ballot_call *call, const char *text) {
    return end(call, OUTCOME_REFUSED, text);
}

static enum outcome_status refuse_proposal(struct ballot_call *call,
                                           const struct proposal_verdict *verdict) {
    reply_add(call, span_text(proposal_rule_text(verdict->rule)));
    if (verdict->action != 0) {
        reply_add_number(call, verdict->action);
    }
    return OUTCOME_REFUSED;
}

void ballot_digest_write(char out[static 2 * DIGEST_SIZE + 1], const struct digest *digest) {
    hex_encode(out, span_of(digest->bytes, DIGEST_SIZE));
}

bool ballot_digest_read(struct digest *out, struct span text) {
    char copy[2 * DIGEST_SIZE + 1];
    char again[2 * DIGEST_SIZE + 1];
    if (text.size != 2 * DIGEST_SIZE) {
        return false;
    }
    memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    if (!hex_decode(out->bytes, DIGEST_SIZE, copy)) {
        return false;
    }
    /* One id, one text: no capital letters. */
    ballot_digest_write(again, out);
    return memcmp(copy, again, sizeof copy) == 0;
}

/* ---- the state ------------------------------------------------------------------------------- */

static bool item_get(const struct ballot_call *call, char kind, uint32_t member,
                     struct span *value) {
    struct item_key const key = item_key_of(kind, member);
    return call->state->get(call->state->context, span_of(key.bytes, sizeof key.bytes), value) &&
           value->size != 0;
}

static void item_put(const struct ballot_call *call, char kind, uint32_t member,
                     struct span value) {
    struct item_key const key = item_key_of(kind, member);
    call->state->put(call->state->context, span_of(key.bytes, sizeof key.bytes), value);
}

/* The open proposal of a member. Returns: false when it has none. */
static bool ballot_get(struct ballot_call *call, uint32_t member, struct ballot *out) {
    struct span value;
    return item_get(call, 'v', member, &value) &&
           ballot_decode(out, call->arena, value) == CODEC_OK && out->config == call->now->number &&
           (call->now->member_count == 64 || (out->yes | out->no) >> call->now->member_count == 0);
}

static void ballot_put(struct ballot_call *call, uint32_t member, const struct ballot *ballot) {
    uint8_t memory[BALLOT_SIZE_MAX];
    struct buffer bytes;
    buffer_init_on(&bytes, memory, sizeof memory);
    CHECK(ballot_encode(&bytes, ballot));
    item_put(call, 'v', member, buffer_span(&bytes));
}

static void ballot_clear(struct ballot_call *call, uint32_t member) {
    item_put(call, 'v', member, span_of(NULL, 0));
    item_put(call, 'p', member, span_of(NULL, 0));
}

/* The proposal that the ballot at `slot` is about. */
static bool proposal_get(struct ballot_call *call, uint32_t slot, const struct ballot *ballot,
                         struct proposal *out) {
    struct span bytes;
    return item_get(call, 'p', slot, &bytes) &&
           proposal_decode(out, call->arena, &call->now->service, bytes) == CODEC_OK &&
           digest_equal(&out->id, &ballot->id);
}

/* The member whose proposal this is. Returns: false when none of that id is open. */
static bool ballot_find(struct ballot_call *call, const struct digest *id, uint32_t *member,
                        struct ballot *out) {
    for (uint32_t i = 0; i < call->now->member_count; i++) {
        if (ballot_get(call, i, out) && digest_equal(&out->id, id)) {
            *member = i;
            return true;
        }
    }
    return false;
}

static uint32_t count_of(uint64_t members) {
    return (uint32_t)__builtin_popcountll(members);
}

static bool decided_get(struct ballot_call *call, struct decided *out) {
    struct span value;
    return call->state->get(call->state->context, span_text(BALLOT_KEY_DECIDED), &value) &&
           decided_decode(out, call->arena, value) == CODEC_OK;
}

/* The number of the newest constitution: the one in force, or one that has been decided since. */
static uint64_t newest_number(struct ballot_call *call) {
    struct decided decided;
    return decided_get(call, &decided) && decided.number > call->now->number ? decided.number
                                                                             : call->now->number;
}

static bool change_under_way(struct ballot_call *call) {
    return newest_number(call) > call->now->number;
}

static void decided_put(struct ballot_call *call, const struct digest *constitution) {
    uint8_t memory[BALLOT_SIZE_MAX];
    struct buffer bytes;
    struct decided const decided = {.number = call->next->number, .constitution = *constitution};
    buffer_init_on(&bytes, memory, sizeof memory);
    CHECK(decided_encode(&bytes, &decided));
    call->state->put(call->state->context, span_text(BALLOT_KEY_DECIDED), buffer_span(&bytes));
}

/* ---- calls ----------------------------------------------------------------------------------- */

void ballot_call_init(struct ballot_call *call, const struct ballot_state *state,
                      const struct constitution *now, const struct public_key *author) {
    *call = (struct ballot_call){.state = state, .now = now, .author = author};
}

/* What every call needs. Returns: NULL, or why it is refused. */
static const char *entry_refusal(struct ballot_call *call, uint32_t *member) {
    CHECK(call->arena != NULL && call->next != NULL);
    if (!constitution_find_member_key(call->now, call->author, member)) {
        return "only members govern";
    }
    return change_under_way(call) ? "a change is under way" : NULL;
}

/* Memory that was short at any place makes the whole call mean nothing. */
static enum outcome_status checked(struct ballot_call *call, enum outcome_status status) {
    call->failed |= call->arena->exhausted;
    return status;
}

static enum outcome_status propose(struct ballot_call *call, struct span bytes) {
    uint32_t member = 0;
    uint32_t other = 0;
    struct ballot ballot;
    struct proposal proposal;
    const char *const refusal = entry_refusal(call, &member);
    if (refusal != NULL) {
        return refuse(call, refusal);
    }
    if (ballot_get(call, member, &ballot)) {
        return refuse(call, "a proposal of yours is open: withdraw it first");
    }
    enum codec_result const result =
        proposal_decode(&proposal, call->arena, &call->now->service, bytes);
    if (result != CODEC_OK) {
        return end(call, OUTCOME_INVALID, codec_result_text(result));
    }
    if (ballot_find(call, &proposal.id, &other, &ballot)) {
        return refuse(call, "this very proposal is open");
    }
    struct proposal_verdict const verdict = proposal_apply(call->next, call->now, &proposal);
    if (verdict.rule != PROPOSAL_SOUND) {
        return refuse_proposal(call, &verdict);
    }
    ballot = (struct ballot){.config = call->now->number, .id = proposal.id};
    item_put(call, 'p', member, bytes);
    ballot_put(call, member, &ballot);
    reply_add_digest(call, &proposal.id);
    return OUTCOME_OK;
}

/* The proposal at `slot` has the votes: make the new constitution. */
static enum outcome_status pass(struct ballot_call *call, uint32_t slot,
                                const struct ballot *ballot) {
    struct proposal proposal;
    struct digest digest;
    if (!proposal_get(call, slot, ballot, &proposal)) {
        return refuse(call, "the proposal is lost");
    }
    struct proposal_verdict const verdict = proposal_apply(call->next, call->now, &proposal);
    if (verdict.rule != PROPOSAL_SOUND) {
        return refuse_proposal(call, &verdict);
    }
    if (!constitution_digest(&digest, call->next)) {
        call->failed = true;
        return OUTCOME_REFUSED;
    }
    ballot_put(call, slot, ballot);
    decided_put(call, &digest);
    call->passed = true;
    reply_add(call, span_text(REPLY_PASSED));
    reply_add_number(call, call->next->number);
    reply_add_digest(call, &digest);
    return OUTCOME_OK;
}

static enum outcome_status vote(struct ballot_call *call, struct span id_text, struct span choice) {
    uint32_t member = 0;
    uint32_t slot = 0;
    struct digest id;
    struct ballot ballot;
    bool const is_yes = span_equal(choice, span_text("yes"));
    const char *const refusal = entry_refusal(call, &member);
    if (refusal != NULL) {
        return refuse(call, refusal);
    }
    if (!ballot_digest_read(&id, id_text)) {
        return end(call, OUTCOME_INVALID, "not the id of a proposal");
    }
    if (!is_yes && !span_equal(choice, span_text("no"))) {
        return end(call, OUTCOME_INVALID, "a vote is yes or no");
    }
    if (!ballot_find(call, &id, &slot, &ballot)) {
        return refuse(call, "no such proposal is open");
    }
    uint64_t const bit = (uint64_t)1 << member;
    ballot.yes = is_yes ? ballot.yes | bit : ballot.yes & ~bit;
    ballot.no = is_yes ? ballot.no & ~bit : ballot.no | bit;
    uint32_t const yes = count_of(ballot.yes);
    uint32_t const no = count_of(ballot.no);
    if (voting_rule_passes(&call->now->rule, yes, call->now->member_count)) {
        return pass(call, slot, &ballot);
    }
    if (voting_rule_fails(&call->now->rule, no, call->now->member_count)) {
        ballot_clear(call, slot);
        reply_add(call, span_text("rejected"));
        return OUTCOME_OK;
    }
    ballot_put(call, slot, &ballot);
    reply_add(call, span_text("open"));
    reply_add_number(call, yes);
    reply_add_number(call, no);
    return OUTCOME_OK;
}

static enum outcome_status withdraw(struct ballot_call *call, struct span id_text) {
    uint32_t member = 0;
    uint32_t slot = 0;
    struct digest id;
    struct ballot ballot;
    const char *const refusal = entry_refusal(call, &member);
    if (refusal != NULL) {
        return refuse(call, refusal);
    }
    if (!ballot_digest_read(&id, id_text)) {
        return end(call, OUTCOME_INVALID, "not the id of a proposal");
    }
    if (!ballot_find(call, &id, &slot, &ballot)) {
        return refuse(call, "no such proposal is open");
    }
    if (slot != member) {
        return refuse(call, "only its proposer can withdraw it");
    }
    ballot_clear(call, slot);
    reply_add(call, span_text("withdrawn"));
    return OUTCOME_OK;
}

/* ---- reading --------------------------------------------------------------------------------- */

static void bitmap_write(char *out, uint64_t bitmap) {
    uint8_t bytes[sizeof bitmap];
    char text[BITMAP_DIGITS + 1];
    store_u64_be(bytes, bitmap);
    hex_encode(text, span_of(bytes, sizeof bytes));
    memcpy(out, text, BITMAP_DIGITS);
}

static bool bitmap_read(uint64_t *out, const uint8_t *digits) {
    uint8_t bytes[sizeof *out];
    char text[BITMAP_DIGITS + 1];
    memcpy(text, digits, BITMAP_DIGITS);
    text[BITMAP_DIGITS] = '\0';
    if (!hex_decode(bytes, sizeof bytes, text)) {
        return false;
    }
    *out = load_u64_be(bytes);
    return true;
}

static void line_write(char out[static LINE_SIZE + 1], const struct ballot_line *line) {
    ballot_digest_write(out, &line->id);
    memset(out + LINE_MEMBER - 1, ' ', LINE_SIZE - LINE_MEMBER + 1);
    out[LINE_MEMBER] = (char)('0' + line->member / 10);
    out[LINE_MEMBER + 1] = (char)('0' + line->member % 10);
    bitmap_write(out + LINE_YES, line->yes);
    bitmap_write(out + LINE_NO, line->no);
    out[LINE_SIZE] = '\0';
}

bool ballot_line_read(struct ballot_line *out, struct span text) {
    char again[LINE_SIZE + 1];
    if (text.size != LINE_SIZE ||
        !ballot_digest_read(&out->id, span_of(text.data, LINE_MEMBER - 1)) ||
        !bitmap_read(&out->yes, text.data + LINE_YES) ||
        !bitmap_read(&out->no, text.data + LINE_NO)) {
        return false;
    }
    uint32_t const tens = (uint32_t)(text.data[LINE_MEMBER] - '0');
    uint32_t const ones = (uint32_t)(text.data[LINE_MEMBER + 1] - '0');
    if (tens > 9 || ones > 9 || tens * 10 + ones >= MEMBERS_MAX || (out->yes & out->no) != 0) {
        return false;
    }
    out->member = tens * 10 + ones;
    line_write(again, out);
    return span_equal(span_of(again, LINE_SIZE), text);
}

static void reply_add_line(struct ballot_call *call, uint32_t member, const struct ballot *ballot) {
    CHECK(call->reply_count < BALLOT_REPLY_ITEMS_MAX);
    struct ballot_line const line = {
        .id = ballot->id, .member = member, .yes = ballot->yes, .no = ballot->no};
    char *const text = call->texts[call->reply_count];
    line_write(text, &line);
    reply_add(call, span_of(text, LINE_SIZE));
}

enum outcome_status ballot_open(struct ballot_call *call) {
    CHECK(call->arena != NULL);
    reply_add_number(call, call->now->number);
    reply_add_number(call, newest_number(call));
    for (uint32_t i = 0; i < call->now->member_count; i++) {
        struct ballot ballot;
        if (ballot_get(call, i, &ballot)) {
            reply_add_line(call, i, &ballot);
        }
    }
    return checked(call, OUTCOME_OK);
}

enum outcome_status ballot_proposal(struct ballot_call *call, struct span id_text) {
    uint32_t slot = 0;
    struct digest id;
    struct ballot ballot;
    struct span bytes;
    CHECK(call->arena != NULL);
    if (!ballot_digest_read(&id, id_text)) {
        return end(call, OUTCOME_INVALID, "not the id of a proposal");
    }
    if (!ballot_find(call, &id, &slot, &ballot)) {
        return checked(call, refuse(call, "no such proposal is open"));
    }
    if (!item_get(call, 'p', slot, &bytes)) {
        return checked(call, refuse(call, "the proposal is lost"));
    }
    reply_add(call, bytes);
    reply_add_line(call, slot, &ballot);
    return checked(call, OUTCOME_OK);
}

/* ---- the calls that write -------------------------------------------------------------------- */

enum outcome_status ballot_propose(struct ballot_call *call, struct span proposal) {
    return checked(call, propose(call, proposal));
}

enum outcome_status ballot_vote(struct ballot_call *call, struct span id, struct span choice) {
    return checked(call, vote(call, id, choice));
}

enum outcome_status ballot_withdraw(struct ballot_call *call, struct span id) {
    return checked(call, withdraw(call, id));
}

bool ballot_has_passed(struct span procedure, const struct outcome *outcome) {
    return span_equal(procedure, span_text(BALLOT_VOTE)) && outcome->status == OUTCOME_OK &&
           outcome->reply_count != 0 && span_equal(outcome->reply[0], span_text(REPLY_PASSED));
}

/* ---- what follows ---------------------------------------------------------------------------- */

/* Does the proposal at `slot` have the votes, and does it make the constitution decided? */
static bool makes(struct ballot_call *call, uint32_t slot, const struct digest *decided) {
    struct ballot ballot;
    struct proposal proposal;
    struct digest digest;
    if (!ballot_get(call, slot, &ballot) ||
        !voting_rule_passes(&call->now->rule, count_of(ballot.yes), call->now->member_count) ||
        !proposal_get(call, slot, &ballot, &proposal) ||
        proposal_apply(call->next, call->now, &proposal).rule != PROPOSAL_SOUND) {
        return false;
    }
    if (!constitution_digest(&digest, call->next)) {
        call->failed = true;
        return false;
    }
    return digest_equal(&digest, decided);
}

bool ballot_decided(struct ballot_call *call) {
    struct decided decided;
    bool found = false;
    CHECK(call->arena != NULL && call->next != NULL);
    arena_reset(call->arena);
    bool const is_next = decided_get(call, &decided) && decided.number == call->now->number + 1;
    call->failed |= call->arena->exhausted;
    for (uint32_t i = 0; is_next && !found && !call->failed && i < call->now->member_count; i++) {
        arena_reset(call->arena);
        found = makes(call, i, &decided.constitution);
        call->failed |= call->arena->exhausted;
    }
    return found && !call->failed;
}
