/*
 * procedure: the table of procedures, and the little language they are written in.
 */
#include "execution/procedure.h"

#include "base/check.h"
#include "execution/stack.h"

static_assert(KEY_PREFIX_SIZE_MAX + USER_KEY_SIZE_MAX <= KEY_SIZE_MAX, "a prefix always fits");
static_assert(DECIMAL_SIZE_MAX * REPLY_NUMBERS_MAX <= REPLY_SIZE_MAX, "numbers always fit");

void reply_init(struct reply *reply) {
    reply->count = 0;
    reply->size = 0;
    reply->overflow = false;
    reply->number_count = 0;
}

bool reply_has_room(const struct reply *reply, size_t size) {
    return reply->count < REPLY_ITEMS_MAX && size <= REPLY_SIZE_MAX - reply->size;
}

void reply_add(struct reply *reply, struct span item) {
    if (!reply_has_room(reply, item.size)) {
        reply->overflow = true;
        return;
    }
    reply->items[reply->count++] = item;
    reply->size += item.size;
}

void reply_add_number(struct reply *reply, int64_t number) {
    CHECK(reply->number_count < REPLY_NUMBERS_MAX);
    uint8_t *const text = reply->decimals[reply->number_count++];
    uint64_t rest = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
    size_t at = DECIMAL_SIZE_MAX;
    do {
        text[--at] = (uint8_t)('0' + rest % 10);
        rest /= 10;
    } while (rest != 0);
    if (number < 0) {
        text[--at] = '-';
    }
    reply_add(reply, span_of(text + at, DECIMAL_SIZE_MAX - at));
}

static const struct procedure *find_in(const struct procedure *table, struct span name) {
    for (; table->name != NULL; table++) {
        if (span_equal(span_text(table->name), name)) {
            return table;
        }
    }
    return NULL;
}

/* NULL: there is no such procedure. */
static const struct procedure *procedure_find(const struct engine *engine, struct span name) {
    const struct procedure *found = find_in(bank_procedures, name);
    if (found == NULL) {
        found = find_in(kv_procedures, name);
    }
    return found == NULL && engine->govern != NULL ? find_in(gov_procedures, name) : found;
}

static enum outcome_status end_with_text(struct procedure_context *context,
                                         enum outcome_status status, const char *text) {
    reply_init(&context->reply);
    reply_add(&context->reply, span_text(text));
    return status;
}

enum outcome_status procedure_refuse(struct procedure_context *context, const char *text) {
    return end_with_text(context, OUTCOME_REFUSED, text);
}

enum outcome_status procedure_invalid(struct procedure_context *context, const char *text) {
    return end_with_text(context, OUTCOME_INVALID, text);
}

enum outcome_status procedure_run(struct procedure_context *context, struct engine *engine,
                                  const struct request *request, uint32_t nth) {
    const struct call *const call = &request->calls[nth];
    context->engine = engine;
    context->request = request;
    context->arguments = call->arguments;
    context->closes = false;
    reply_init(&context->reply);
    const struct procedure *const procedure = procedure_find(engine, call->procedure);
    if (procedure == NULL) {
        return procedure_invalid(context, "unknown procedure");
    }
    if (call->argument_count != procedure->argument_count) {
        return procedure_invalid(context, "wrong argument count");
    }
    uint64_t const mark = engine_mark(engine);
    enum outcome_status status = procedure->function(context);
    if (status == OUTCOME_OK && context->reply.overflow) {
        status = procedure_refuse(context, "reply too large");
    }
    if (status != OUTCOME_OK) {
        engine_rollback(engine, mark);
    }
    return status;
}

void state_key_make(struct state_key *key, const char *prefix, struct span name) {
    size_t const prefix_size = strlen(prefix);
    CHECK(prefix_size <= KEY_PREFIX_SIZE_MAX && name.size <= USER_KEY_SIZE_MAX);
    memcpy(key->bytes, prefix, prefix_size);
    if (name.size != 0) {
        memcpy(key->bytes + prefix_size, name.data, name.size);
    }
    key->size = prefix_size + name.size;
}

bool context_get(struct procedure_context *context, struct span key, struct span *value) {
    return engine_get(context->engine, key, value) == 1;
}

void context_put(struct procedure_context *context, struct span key, struct span value) {
    stack_write(context->engine, key, &value);
}

void context_delete(struct procedure_context *context, struct span key) {
    stack_write(context->engine, key, NULL);
}

void context_scan(struct procedure_context *context, struct span start, struct span end,
                  context_visitor visitor) {
    struct engine *const engine = context->engine;
    struct merge merge;
    int more = merge_start(&merge, engine, engine->top, MERGE_WHOLE_STATE, start) ? 1 : -1;
    while (more == 1) {
        struct span key;
        struct span value;
        bool deleted = false;
        more = merge_next(&merge, &key, &value, &deleted);
        if (more == 1 && span_compare(key, end) >= 0) {
            more = 0;
        }
        if (more == 1 && !deleted && !visitor(context, key, value)) {
            more = 0;
        }
    }
    if (more < 0) {
        engine->failed = true;
    }
}

bool decimal_parse(int64_t *number, struct span text) {
    bool const negative = text.size > 0 && text.data[0] == '-';
    size_t at = negative ? 1 : 0;
    size_t const digits = text.size - at;
    if (digits == 0 || text.size > DECIMAL_SIZE_MAX ||
        (text.data[at] == '0' && (digits > 1 || negative))) {
        return false;
    }
    int64_t value = 0;
    for (; at < text.size; at++) {
        if (text.data[at] < '0' || text.data[at] > '9') {
            return false;
        }
        int64_t const digit = text.data[at] - '0';
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, negative ? -digit : digit, &value)) {
            return false;
        }
    }
    *number = value;
    return true;
}
