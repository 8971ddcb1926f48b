/*
 * ballot: see ballot.h. All that a call reads it reads before it writes, and it writes only once
 * nothing can go wrong any more.
 */
#include "governance/ballot.h"

#include "base/check.h"

#define KEY_DECIDED "g/c"
#define DECIMAL_DIGITS_MAX 20u /* of a 64-bit number */

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

static bool change_under_way(struct ballot_call *call) {
    struct span value;
    struct decided decided;
    return call->state->get(call->state->context, span_text(KEY_DECIDED), &value) &&
           decided_decode(&decided, call->arena, value) == CODEC_OK &&
           decided.number > call->now->number;
}

static void decided_put(struct ballot_call *call, const struct digest *constitution) {
    uint8_t memory[BALLOT_SIZE_MAX];
    struct buffer bytes;
    struct decided const decided = {.number = call->next->number, .constitution = *constitution};
    buffer_init_on(&bytes, memory, sizeof memory);
    CHECK(decided_encode(&bytes, &decided));
    call->state->put(call->state->context, span_text(KEY_DECIDED), buffer_span(&bytes));
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
    struct span bytes;
    struct proposal proposal;
    struct digest digest;
    if (!item_get(call, 'p', slot, &bytes) ||
        proposal_decode(&proposal, call->arena, &call->now->service, bytes) != CODEC_OK ||
        !digest_equal(&proposal.id, &ballot->id)) {
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
    reply_add(call, span_text("passed"));
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
    uint32_t const yes = (uint32_t)__builtin_popcountll(ballot.yes);
    uint32_t const no = (uint32_t)__builtin_popcountll(ballot.no);
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

enum outcome_status ballot_propose(struct ballot_call *call, struct span proposal) {
    return checked(call, propose(call, proposal));
}

enum outcome_status ballot_vote(struct ballot_call *call, struct span id, struct span choice) {
    return checked(call, vote(call, id, choice));
}

enum outcome_status ballot_withdraw(struct ballot_call *call, struct span id) {
    return checked(call, withdraw(call, id));
}
