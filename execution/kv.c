/*
 * kv: the key-value procedures. A key K, 1..USER_KEY_SIZE_MAX bytes, is stored as "k/" K.
 *
 *   kv.put K V            replies nothing
 *   kv.get K              replies the value; refused: no such key
 *   kv.delete K           replies nothing; refused: no such key
 *   kv.cas K EXPECTED NEW replies nothing. EXPECTED is the present value; the empty EXPECTED means
 *                         that K must be absent (a key that holds the empty value is therefore
 *                         replaced by kv.put alone). Refused: no such key, value differs
 *   kv.scan START END N   replies key, value, key, value, …: the keys START <= K < END in order,
 *                         at most N (1..SCAN_KEYS_MAX) and at most what a reply holds. An empty
 *                         START is the first key, an empty END means to the last. Only an answer
 *                         without items says that there is no more: go on from the last key and a
 *                         zero byte.
 */
#include "execution/procedure.h"

#define PREFIX "k/"
#define PREFIX_SIZE (sizeof PREFIX - 1)
#define PREFIX_END "k0" /* the first key that sorts after all keys with the prefix */

/* NULL: usable; otherwise what is wrong. */
static const char *key_problem(struct span key) {
    if (key.size == 0) {
        return "empty key";
    }
    return key.size > USER_KEY_SIZE_MAX ? "key too large" : NULL;
}

static enum outcome_status kv_put(struct procedure_context *context) {
    struct span const value = context->arguments[1];
    const char *const problem = key_problem(context->arguments[0]);
    if (problem != NULL) {
        return procedure_invalid(context, problem);
    }
    if (value.size > VALUE_SIZE_MAX) {
        return procedure_invalid(context, "value too large");
    }
    struct state_key key;
    state_key_make(&key, PREFIX, context->arguments[0]);
    context_put(context, state_key_span(&key), value);
    return OUTCOME_OK;
}

static enum outcome_status kv_get(struct procedure_context *context) {
    const char *const problem = key_problem(context->arguments[0]);
    if (problem != NULL) {
        return procedure_invalid(context, problem);
    }
    struct state_key key;
    struct span value;
    state_key_make(&key, PREFIX, context->arguments[0]);
    if (!context_get(context, state_key_span(&key), &value)) {
        return procedure_refuse(context, "no such key");
    }
    reply_add(&context->reply, value);
    return OUTCOME_OK;
}

static enum outcome_status kv_delete(struct procedure_context *context) {
    const char *const problem = key_problem(context->arguments[0]);
    if (problem != NULL) {
        return procedure_invalid(context, problem);
    }
    struct state_key key;
    struct span value;
    state_key_make(&key, PREFIX, context->arguments[0]);
    if (!context_get(context, state_key_span(&key), &value)) {
        return procedure_refuse(context, "no such key");
    }
    context_delete(context, state_key_span(&key));
    return OUTCOME_OK;
}

static enum outcome_status kv_cas(struct procedure_context *context) {
    struct span const expected = context->arguments[1];
    struct span const fresh = context->arguments[2];
    const char *const problem = key_problem(context->arguments[0]);
    if (problem != NULL) {
        return procedure_invalid(context, problem);
    }
    if (fresh.size > VALUE_SIZE_MAX) {
        return procedure_invalid(context, "value too large");
    }
    struct state_key key;
    struct span value;
    state_key_make(&key, PREFIX, context->arguments[0]);
    bool const present = context_get(context, state_key_span(&key), &value);
    if (!present && expected.size != 0) {
        return procedure_refuse(context, "no such key");
    }
    if (present && (expected.size == 0 || !span_equal(value, expected))) {
        return procedure_refuse(context, "value differs");
    }
    context_put(context, state_key_span(&key), fresh);
    return OUTCOME_OK;
}

/* Stops when the limit (argument 2, checked before) or the reply is full. */
static bool scan_visitor(struct procedure_context *context, struct span key, struct span value) {
    int64_t limit = 0;
    struct reply *const reply = &context->reply;
    struct span const name = span_of(key.data + PREFIX_SIZE, key.size - PREFIX_SIZE);
    if (!decimal_parse(&limit, context->arguments[2]) || (int64_t)(reply->count / 2) >= limit ||
        !reply_has_room(reply, name.size + value.size)) {
        return false;
    }
    reply_add(reply, name);
    reply_add(reply, value);
    return true;
}

static enum outcome_status kv_scan(struct procedure_context *context) {
    struct span const end_name = context->arguments[1];
    int64_t limit = 0;
    if (context->arguments[0].size > USER_KEY_SIZE_MAX || end_name.size > USER_KEY_SIZE_MAX) {
        return procedure_invalid(context, "key too large");
    }
    if (!decimal_parse(&limit, context->arguments[2]) || limit < 1 || limit > SCAN_KEYS_MAX) {
        return procedure_invalid(context, "malformed limit");
    }
    struct state_key start;
    struct state_key end;
    state_key_make(&start, PREFIX, context->arguments[0]);
    state_key_make(&end, end_name.size == 0 ? PREFIX_END : PREFIX, end_name);
    context_scan(context, state_key_span(&start), state_key_span(&end), scan_visitor);
    return OUTCOME_OK;
}

const struct procedure kv_procedures[] = {
    {"kv.put", 2, kv_put}, {"kv.get", 1, kv_get},   {"kv.delete", 1, kv_delete},
    {"kv.cas", 3, kv_cas}, {"kv.scan", 3, kv_scan}, {NULL, 0, NULL},
};
