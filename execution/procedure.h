/*
 * procedure: what a call may name, and what a procedure may do (protocol §3, §4).
 *
 * A procedure is a function of its arguments and the state, and of nothing else. It reads and
 * writes through its context; whatever it wrote is undone unless it ends OUTCOME_OK. Its reply is
 * a list of byte strings; a refusal or an invalid call replies one fixed text that says why.
 *
 * Keys: each family of procedures keeps to its own prefix ("k/", "b/", "g/"), so that kv.put
 * cannot touch a balance, and neither of them a vote.
 */
#ifndef ONUS_EXECUTION_PROCEDURE_H
#define ONUS_EXECUTION_PROCEDURE_H

#include "base/limits.h"
#include "execution/engine.h"

#define REPLY_NUMBERS_MAX 4u
#define DECIMAL_SIZE_MAX 20u /* "-9223372036854775808" */

/* A reply under construction. Items borrow: the state's own bytes, fixed texts, or `decimals`. */
struct reply {
    uint32_t count;
    size_t size;
    bool overflow; /* an item did not fit: the call will be refused */
    uint32_t number_count;
    uint8_t decimals[REPLY_NUMBERS_MAX][DECIMAL_SIZE_MAX];
    struct span items[REPLY_ITEMS_MAX];
};

void reply_init(struct reply *reply);
/* Would this item still fit? */
bool reply_has_room(const struct reply *reply, size_t size);
/* Borrows item until the outcome is encoded. */
void reply_add(struct reply *reply, struct span item);
/* The number in decimal; at most REPLY_NUMBERS_MAX a reply. */
void reply_add_number(struct reply *reply, int64_t number);

struct procedure_context {
    struct engine *engine;
    const struct request *request; /* that the call is in */
    const struct span *arguments;  /* as many as the procedure's table entry says */
    bool closes;                   /* the call passed a proposal */
    struct reply reply;
};

/* Returns: OUTCOME_OK, OUTCOME_REFUSED or OUTCOME_INVALID. */
typedef enum outcome_status (*procedure_function)(struct procedure_context *context);

struct procedure {
    const char *name;
    uint32_t argument_count;
    procedure_function function;
};

/* Each family's table ends with a NULL name. */
extern const struct procedure kv_procedures[];
extern const struct procedure bank_procedures[];
extern const struct procedure gov_procedures[];

/*
 * Run call `nth` of a request: look up, check the argument count, run. Leaves no writes unless it
 * returns OUTCOME_OK. After a failure of the store or of memory (engine_failed) the result means
 * nothing. Out: context->reply, context->closes.
 */
enum outcome_status procedure_run(struct procedure_context *context, struct engine *engine,
                                  const struct request *request, uint32_t nth);

/* End a call with one text as its whole reply. */
enum outcome_status procedure_refuse(struct procedure_context *context, const char *text);
enum outcome_status procedure_invalid(struct procedure_context *context, const char *text);

/* A key of the state: prefix and what the caller named. */
struct state_key {
    size_t size;
    uint8_t bytes[KEY_SIZE_MAX];
};

/* name is at most USER_KEY_SIZE_MAX, prefix at most KEY_PREFIX_SIZE_MAX bytes. */
void state_key_make(struct state_key *key, const char *prefix, struct span name);

static inline struct span state_key_span(const struct state_key *key) {
    return span_of(key->bytes, key->size);
}

/* False: absent. The span stays valid for the whole request. */
bool context_get(struct procedure_context *context, struct span key, struct span *value);
void context_put(struct procedure_context *context, struct span key, struct span value);
void context_delete(struct procedure_context *context, struct span key);

/* Called for each key in order; return false to stop. */
typedef bool (*context_visitor)(struct procedure_context *context, struct span key,
                                struct span value);
/* Visit the keys from `start` up to, not including, `end`. The visitor must not write. */
void context_scan(struct procedure_context *context, struct span start, struct span end,
                  context_visitor visitor);

/*
 * Strict decimal: an optional '-', then digits without leading zeros; neither "-0" nor a number
 * outside int64_t.
 */
MUST_USE bool decimal_parse(int64_t *number, struct span text);

#endif
