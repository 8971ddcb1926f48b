/*
 * govern: see govern.h. Large scratch memory is the engine's own and made once, since a
 * constitution does not belong on a stack.
 */
#include "execution/govern.h"

#include <stdlib.h>

#include "base/check.h"
#include "execution/procedure.h"
#include "execution/stack.h"
#include "governance/ballot.h"

#define WRITERS 3u /* that gov_procedures begins with */

struct govern {
    const struct constitution *now; /* borrowed */
    struct ballot_state state;
    struct ballot_call call; /* the one in progress: its reply is borrowed from here */
    struct arena arena;
    struct constitution next;
    uint16_t spent[MEMBERS_MAX]; /* in the batch in progress */
    bool is_spent;               /* the author of the request in progress has no budget for it */
};

static_assert(GOVERN_COST_PROPOSE + GOVERN_COST_OTHER <= GOVERN_COST_MAX,
              "a member can propose and vote in one batch");
static_assert(2 * GOVERN_COST_PROPOSE > GOVERN_COST_MAX, "but not propose twice");
static_assert(BALLOT_REPLY_ITEMS_MAX <= REPLY_ITEMS_MAX, "a reply fits");
static_assert(BALLOT_SIZE_MAX <= VALUE_SIZE_MAX, "a ballot is a value; a proposal is an argument");

/* ---- the state ------------------------------------------------------------------------------- */

static bool state_get(void *context, struct span key, struct span *value) {
    return engine_get(context, key, value) == 1;
}

static void state_put(void *context, struct span key, struct span value) {
    stack_write(context, key, &value);
}

/* ---- on, and what follows -------------------------------------------------------------------- */

void govern_free(struct govern *govern) {
    if (govern != NULL) {
        arena_free(&govern->arena);
        free(govern);
    }
}

void engine_govern(struct engine *engine, const struct constitution *now) {
    if (now == NULL) {
        govern_free(engine->govern);
        engine->govern = NULL;
        return;
    }
    if (engine->govern == NULL) {
        engine->govern = calloc(1, sizeof *engine->govern);
        if (engine->govern == NULL) {
            engine->failed = true;
            return;
        }
        arena_init(&engine->govern->arena, BALLOT_ARENA_SIZE);
        engine->govern->state =
            (struct ballot_state){.context = engine, .get = state_get, .put = state_put};
    }
    engine->govern->now = now;
    engine_batch_begin(engine); /* other members stand in the places now */
}

static struct ballot_call *begin(struct engine *engine, const struct public_key *author,
                                 struct constitution *next) {
    struct govern *const govern = engine->govern;
    arena_reset(&govern->arena);
    ballot_call_init(&govern->call, &govern->state, govern->now, author);
    govern->call.arena = &govern->arena;
    govern->call.next = next;
    return &govern->call;
}

bool engine_next_constitution(struct engine *engine, struct constitution *next) {
    if (engine->govern == NULL || engine->failed) {
        return false;
    }
    CHECK(next != engine->govern->now);
    struct ballot_call *const call = begin(engine, NULL, next);
    bool const found = ballot_decided(call);
    engine->failed |= call->failed;
    return found && !engine->failed;
}

/* ---- the budget ------------------------------------------------------------------------------ */

void engine_batch_begin(struct engine *engine) {
    if (engine->govern != NULL) {
        memset(engine->govern->spent, 0, sizeof engine->govern->spent);
    }
}

/* 0: the call is not one of governance, or only reads, which is as cheap as any other call. */
static uint16_t cost_of(struct span procedure) {
    for (size_t i = 0; i < WRITERS; i++) {
        if (span_equal(span_text(gov_procedures[i].name), procedure)) {
            return i == 0 ? GOVERN_COST_PROPOSE : GOVERN_COST_OTHER;
        }
    }
    return 0;
}

void govern_charge(struct engine *engine, const struct request *request) {
    struct govern *const govern = engine->govern;
    uint32_t member = 0;
    if (govern == NULL) {
        return;
    }
    govern->is_spent = false;
    uint16_t const cost = cost_of(request->calls[0].procedure);
    if (cost == 0 || request->call_count != 1 ||
        !constitution_find_member_key(govern->now, &request->author, &member)) {
        return;
    }
    if (govern->spent[member] + cost > GOVERN_COST_MAX) {
        govern->is_spent = true;
        return;
    }
    if (!undo_reserve(&engine->undo)) {
        engine->failed = true;
        return;
    }
    undo_push(&engine->undo, (struct undo_record){.kind = UNDO_CHARGE,
                                                  .member = (uint16_t)member,
                                                  .spent = govern->spent[member]});
    govern->spent[member] = (uint16_t)(govern->spent[member] + cost);
}

void govern_uncharge(struct engine *engine, uint32_t member, uint16_t spent) {
    CHECK(member < MEMBERS_MAX);
    if (engine->govern != NULL) {
        engine->govern->spent[member] = spent;
    }
}

/* ---- procedures ------------------------------------------------------------------------------ */

/* Returns: NULL and a status, or the call, ready to be made. */
static struct ballot_call *prepare(struct procedure_context *context, enum outcome_status *status) {
    if (context->request->call_count != 1) {
        *status = procedure_invalid(context, "a governance call must be alone in its request");
        return NULL;
    }
    if (context->engine->govern->is_spent) {
        *status = procedure_refuse(context, "too many governance calls of yours in one batch");
        return NULL;
    }
    return begin(context->engine, &context->request->author, &context->engine->govern->next);
}

/* Hand over what came of the call. */
static enum outcome_status finish(struct procedure_context *context, enum outcome_status status) {
    const struct ballot_call *const call = &context->engine->govern->call;
    context->engine->failed |= call->failed;
    for (uint32_t i = 0; i < call->reply_count; i++) {
        reply_add(&context->reply, call->reply[i]);
    }
    context->closes = call->passed;
    return status;
}

static enum outcome_status gov_propose(struct procedure_context *context) {
    enum outcome_status status = OUTCOME_INVALID;
    struct ballot_call *const call = prepare(context, &status);
    return call == NULL ? status : finish(context, ballot_propose(call, context->arguments[0]));
}

static enum outcome_status gov_vote(struct procedure_context *context) {
    enum outcome_status status = OUTCOME_INVALID;
    struct ballot_call *const call = prepare(context, &status);
    return call == NULL
               ? status
               : finish(context, ballot_vote(call, context->arguments[0], context->arguments[1]));
}

static enum outcome_status gov_withdraw(struct procedure_context *context) {
    enum outcome_status status = OUTCOME_INVALID;
    struct ballot_call *const call = prepare(context, &status);
    return call == NULL ? status : finish(context, ballot_withdraw(call, context->arguments[0]));
}

/* The two that only read: for users too, and in requests with other calls. */
static struct ballot_call *prepare_read(struct procedure_context *context) {
    return begin(context->engine, &context->request->author, NULL);
}

static enum outcome_status gov_open(struct procedure_context *context) {
    return finish(context, ballot_open(prepare_read(context)));
}

static enum outcome_status gov_proposal(struct procedure_context *context) {
    return finish(context, ballot_proposal(prepare_read(context), context->arguments[0]));
}

/* First those that write, and of them first the one whose cost is not small. */
const struct procedure gov_procedures[] = {
    {"gov.propose", 1, gov_propose},   {BALLOT_VOTE, 2, gov_vote},
    {"gov.withdraw", 1, gov_withdraw}, {"gov.open", 0, gov_open},
    {"gov.proposal", 1, gov_proposal}, {NULL, 0, NULL},
};
