/*
 * ballot: how members propose, vote and withdraw (protocol §9): the deterministic machine behind
 * gov.propose, gov.vote and gov.withdraw, over whatever holds the state.
 *
 *   gov.propose PROPOSAL   [id]                  a member has at most one proposal open
 *   gov.vote ID yes|no     ["open", yes, no]     a vote may be changed while it is
 *                          ["passed", number, digest of the new constitution]
 *                          ["rejected"]          as soon as it can pass no more
 *   gov.withdraw ID        ["withdrawn"]         by its proposer
 *
 * And two that write nothing, for whoever may submit requests:
 *
 *   gov.open               [number in force, newest number decided, line, line, …]
 *   gov.proposal ID        [the proposal, its line]
 *
 * A line is "ID MEMBER YES NO" of one open proposal, with the position of its proposer, and bitmaps
 * of positions in 16 hexadecimal digits. A proposal that has passed is open until the new
 * configuration is in force: the newest number is the greater one then.
 *
 * Ids and digests are lower-case hexadecimal, numbers decimal. Once a proposal has passed, every
 * call is refused until the new configuration is in force: at most one change is under way.
 *
 * Items of the state, each overwritten and never deleted; an empty one counts as absent:
 *   "g/p/NN"  the proposal of the member at position NN, two hexadecimal digits
 *   "g/v/NN"  a struct ballot for it; one for an older configuration counts as absent
 *   "g/c"     a struct decided: the newest constitution that a vote has brought about
 * What stands there may have come from others, with a state that they vouch for: what does not
 * decode counts as absent, too.
 */
#ifndef ONUS_GOVERNANCE_BALLOT_H
#define ONUS_GOVERNANCE_BALLOT_H

#include "governance/proposal.h"

#define BALLOT_REPLY_ITEMS_MAX (2u + MEMBERS_MAX)
#define BALLOT_TEXT_SIZE (2u * DIGEST_SIZE + 40u) /* of an item that is made here, with its NUL */
#define BALLOT_WRITES_MAX 2u                      /* of one call */
#define BALLOT_ARENA_SIZE (512u << 10)

static_assert(BALLOT_WRITES_MAX <= CALL_WRITES_MAX, "a call may write so many keys");
static_assert(BALLOT_REPLY_ITEMS_MAX <= REPLY_ITEMS_MAX &&
                  BALLOT_REPLY_ITEMS_MAX * BALLOT_TEXT_SIZE <= REPLY_SIZE_MAX,
              "all that is open fits into one reply");
static_assert(PROPOSAL_SIZE_MAX + BALLOT_TEXT_SIZE <= REPLY_SIZE_MAX,
              "a proposal with its line fits into one reply");

/* Where the state says what was decided last. */
#define BALLOT_KEY_DECIDED "g/c"

/* The state. A value that get gives stays valid until the call is over. */
struct ballot_state {
    void *context;
    bool (*get)(void *context, struct span key, struct span *value); /* false: absent */
    void (*put)(void *context, struct span key, struct span value);
};

/* One call of a member, and what comes of it. */
struct ballot_call {
    const struct ballot_state *state;
    const struct constitution *now; /* the one in force */
    const struct public_key *author;
    struct arena *arena; /* with a budget of BALLOT_ARENA_SIZE; the caller resets it */

    /* Out. The reply points into this struct, to fixed texts, and to values of the state. */
    struct constitution *next; /* the caller's memory: the new constitution, when one passed */
    bool passed;
    bool failed; /* memory was short: nothing else here means anything */
    uint32_t reply_count;
    struct span reply[BALLOT_REPLY_ITEMS_MAX];
    char texts[BALLOT_REPLY_ITEMS_MAX][BALLOT_TEXT_SIZE];
};

/*
 * Begin a call. All pointers belong to the caller and outlive it; do not move the struct after.
 */
void ballot_call_init(struct ballot_call *call, const struct ballot_state *state,
                      const struct constitution *now, const struct public_key *author);

/*
 * The three calls. Returns: OUTCOME_OK; OUTCOME_REFUSED, or OUTCOME_INVALID when an argument is
 * not what it must be, both with nothing written. The reply then says why; a proposal that breaks
 * a rule is told which of its actions does, from 1, as a second item.
 */
enum outcome_status ballot_propose(struct ballot_call *call, struct span proposal);
enum outcome_status ballot_vote(struct ballot_call *call, struct span id, struct span choice);
enum outcome_status ballot_withdraw(struct ballot_call *call, struct span id);

/* The two that only read; call->next is not needed. Returns: as above. */
enum outcome_status ballot_open(struct ballot_call *call);
enum outcome_status ballot_proposal(struct ballot_call *call, struct span id);

/* A line of their replies. */
struct ballot_line {
    struct digest id;
    uint32_t member; /* below MEMBERS_MAX */
    uint64_t yes;
    uint64_t no; /* has no member in common with yes */
};
/* Returns: false unless it is exactly that. */
MUST_USE bool ballot_line_read(struct ballot_line *out, struct span text);

/* Does the outcome of a call of this procedure say that a proposal has passed? */
#define BALLOT_VOTE "gov.vote"
bool ballot_has_passed(struct span procedure, const struct outcome *outcome);

/*
 * The constitution that a vote has decided and that is to follow call->now, from the state alone:
 * that which an open proposal with enough votes makes, and whose digest "g/c" has. No author is
 * needed, and no reply comes. Resets the arena.
 * Out: call->next. Returns: false when nothing is decided, no proposal makes it, or call->failed.
 */
MUST_USE bool ballot_decided(struct ballot_call *call);

/* An id or digest as calls and replies have it, and back. */
void ballot_digest_write(char out[static 2 * DIGEST_SIZE + 1], const struct digest *digest);
/* Returns: false unless it is exactly that. */
MUST_USE bool ballot_digest_read(struct digest *out, struct span text);

#endif
