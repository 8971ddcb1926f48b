/*
 * bank: SmallBank (Alomari, Cahill, Fekete, Röhm: "The Cost of Serializability on Platforms That
 * Use Snapshot Isolation", ICDE 2008), its five transactions, the payment that later versions
 * added, and account creation.
 *
 *   bank.create_account NAME CHECKING SAVINGS  replies both balances
 *   bank.balance NAME                          replies checking + savings
 *   bank.deposit_checking NAME AMOUNT          replies the new checking balance
 *   bank.transact_savings NAME AMOUNT          AMOUNT may be negative; refused when savings would
 *                                              be; replies the new savings balance
 *   bank.amalgamate A B                        all of A's money to B's checking; replies B's new
 *                                              checking balance (A's are zero). What A had may be
 *                                              negative: as published, B then takes on the debt
 *   bank.write_check NAME AMOUNT               as published: when checking + savings are less than
 *                                              AMOUNT, a penalty of 1 is taken too, and checking
 *                                              may become negative; replies the new checking
 *   bank.send_payment A B AMOUNT               from checking to checking; refused when A's is
 *                                              short; replies A's, then B's new checking balance
 *
 * An amount is signed 64-bit decimal (procedure.h: decimal_parse). Refused everywhere: an unknown
 * account, a negative amount (but see transact_savings), the same account twice, and any result
 * that leaves 64 bits ("overflow"). A NAME is 1..USER_KEY_SIZE_MAX bytes. Balances lie under
 * "b/c/" NAME and "b/s/" NAME as 8 bytes, big endian, two's complement.
 */
#include "execution/procedure.h"

#define CHECKING "b/c/"
#define SAVINGS "b/s/"
#define BALANCE_SIZE 8u

/* ---- arguments ---- */

/* NULL: usable; otherwise what is wrong. */
static const char *name_problem(struct span name) {
    if (name.size == 0) {
        return "empty name";
    }
    return name.size > USER_KEY_SIZE_MAX ? "name too large" : NULL;
}

/* Arguments NAME AMOUNT. NULL: usable. */
static const char *name_and_amount(const struct procedure_context *context, int64_t *amount) {
    const char *const problem = name_problem(context->arguments[0]);
    if (problem != NULL) {
        return problem;
    }
    return decimal_parse(amount, context->arguments[1]) ? NULL : "malformed amount";
}

/* Arguments A B. NULL: usable. */
static const char *two_names(const struct procedure_context *context) {
    const char *const problem = name_problem(context->arguments[0]);
    return problem != NULL ? problem : name_problem(context->arguments[1]);
}

/* ---- balances ---- */

struct balance {
    struct state_key key;
    int64_t amount;
};

/*
 * False: no such account. So is a value that no bank procedure wrote, as an auditor who is handed
 * a made-up state may meet it.
 */
static bool balance_load(struct procedure_context *context, struct balance *balance,
                         const char *prefix, struct span name) {
    struct span value;
    state_key_make(&balance->key, prefix, name);
    if (!context_get(context, state_key_span(&balance->key), &value) ||
        value.size != BALANCE_SIZE) {
        return false;
    }
    balance->amount = (int64_t)load_u64_be(value.data);
    return true;
}

static void balance_store(struct procedure_context *context, const struct balance *balance) {
    uint8_t encoded[BALANCE_SIZE];
    store_u64_be(encoded, (uint64_t)balance->amount);
    context_put(context, state_key_span(&balance->key), span_of(encoded, sizeof encoded));
}

static bool account_load(struct procedure_context *context, struct balance *checking,
                         struct balance *savings, struct span name) {
    return balance_load(context, checking, CHECKING, name) &&
           balance_load(context, savings, SAVINGS, name);
}

static enum outcome_status no_account(struct procedure_context *context) {
    return procedure_refuse(context, "no such account");
}

static enum outcome_status overflow(struct procedure_context *context) {
    return procedure_refuse(context, "overflow");
}

static enum outcome_status negative(struct procedure_context *context) {
    return procedure_refuse(context, "negative amount");
}

/* Store one balance and reply it. */
static enum outcome_status store_and_reply(struct procedure_context *context,
                                           const struct balance *balance) {
    balance_store(context, balance);
    reply_add_number(&context->reply, balance->amount);
    return OUTCOME_OK;
}

/* ---- procedures ---- */

static enum outcome_status bank_create_account(struct procedure_context *context) {
    struct span const name = context->arguments[0];
    struct balance checking;
    struct balance savings;
    int64_t checking_amount = 0;
    int64_t savings_amount = 0;
    const char *const problem = name_and_amount(context, &checking_amount);
    if (problem != NULL) {
        return procedure_invalid(context, problem);
    }
    if (!decimal_parse(&savings_amount, context->arguments[2])) {
        return procedure_invalid(context, "malformed amount");
    }
    if (checking_amount < 0 || savings_amount < 0) {
        return negative(context);
    }
    if (account_load(context, &checking, &savings, name)) {
        return procedure_refuse(context, "account exists");
    }
    state_key_make(&savings.key, SAVINGS, name);
    checking.amount = checking_amount;
    savings.amount = savings_amount;
    (void)store_and_reply(context, &checking);
    return store_and_reply(context, &savings);
}

static enum outcome_status bank_balance(struct procedure_context *context) {
    struct balance checking;
    struct balance savings;
    int64_t total = 0;
    const char *const problem = name_problem(context->arguments[0]);
    if (problem != NULL) {
        return procedure_invalid(context, problem);
    }
    if (!account_load(context, &checking, &savings, context->arguments[0])) {
        return no_account(context);
    }
    if (__builtin_add_overflow(checking.amount, savings.amount, &total)) {
        return overflow(context);
    }
    reply_add_number(&context->reply, total);
    return OUTCOME_OK;
}

static enum outcome_status bank_deposit_checking(struct procedure_context *context) {
    struct balance checking;
    int64_t amount = 0;
    const char *const problem = name_and_amount(context, &amount);
    if (problem != NULL) {
        return procedure_invalid(context, problem);
    }
    if (amount < 0) {
        return negative(context);
    }
    if (!balance_load(context, &checking, CHECKING, context->arguments[0])) {
        return no_account(context);
    }
    if (__builtin_add_overflow(checking.amount, amount, &checking.amount)) {
        return overflow(context);
    }
    return store_and_reply(context, &checking);
}

static enum outcome_status bank_transact_savings(struct procedure_context *context) {
    struct balance savings;
    int64_t amount = 0;
    const char *const problem = name_and_amount(context, &amount);
    if (problem != NULL) {
        return procedure_invalid(context, problem);
    }
    if (!balance_load(context, &savings, SAVINGS, context->arguments[0])) {
        return no_account(context);
    }
    if (__builtin_add_overflow(savings.amount, amount, &savings.amount)) {
        return overflow(context);
    }
    if (savings.amount < 0) {
        return procedure_refuse(context, "overdraft");
    }
    return store_and_reply(context, &savings);
}

static enum outcome_status bank_amalgamate(struct procedure_context *context) {
    struct balance checking;
    struct balance savings;
    struct balance target;
    int64_t total = 0;
    const char *const problem = two_names(context);
    if (problem != NULL) {
        return procedure_invalid(context, problem);
    }
    if (span_equal(context->arguments[0], context->arguments[1])) {
        return procedure_refuse(context, "same account");
    }
    if (!account_load(context, &checking, &savings, context->arguments[0]) ||
        !balance_load(context, &target, CHECKING, context->arguments[1])) {
        return no_account(context);
    }
    if (__builtin_add_overflow(checking.amount, savings.amount, &total) ||
        __builtin_add_overflow(target.amount, total, &target.amount)) {
        return overflow(context);
    }
    checking.amount = 0;
    savings.amount = 0;
    balance_store(context, &checking);
    balance_store(context, &savings);
    return store_and_reply(context, &target);
}

static enum outcome_status bank_write_check(struct procedure_context *context) {
    struct balance checking;
    struct balance savings;
    int64_t amount = 0;
    int64_t total = 0;
    const char *const problem = name_and_amount(context, &amount);
    if (problem != NULL) {
        return procedure_invalid(context, problem);
    }
    if (amount < 0) {
        return negative(context);
    }
    if (!account_load(context, &checking, &savings, context->arguments[0])) {
        return no_account(context);
    }
    if (__builtin_add_overflow(checking.amount, savings.amount, &total) ||
        __builtin_sub_overflow(checking.amount, amount, &checking.amount) ||
        (total < amount && __builtin_sub_overflow(checking.amount, 1, &checking.amount))) {
        return overflow(context);
    }
    return store_and_reply(context, &checking);
}

static enum outcome_status bank_send_payment(struct procedure_context *context) {
    struct balance from;
    struct balance to;
    int64_t amount = 0;
    const char *const problem = two_names(context);
    if (problem != NULL) {
        return procedure_invalid(context, problem);
    }
    if (!decimal_parse(&amount, context->arguments[2])) {
        return procedure_invalid(context, "malformed amount");
    }
    if (amount < 0) {
        return negative(context);
    }
    if (span_equal(context->arguments[0], context->arguments[1])) {
        return procedure_refuse(context, "same account");
    }
    if (!balance_load(context, &from, CHECKING, context->arguments[0]) ||
        !balance_load(context, &to, CHECKING, context->arguments[1])) {
        return no_account(context);
    }
    if (from.amount < amount) {
        return procedure_refuse(context, "overdraft");
    }
    if (__builtin_sub_overflow(from.amount, amount, &from.amount) ||
        __builtin_add_overflow(to.amount, amount, &to.amount)) {
        return overflow(context);
    }
    (void)store_and_reply(context, &from);
    return store_and_reply(context, &to);
}

const struct procedure bank_procedures[] = {
    {"bank.create_account", 3, bank_create_account},
    {"bank.balance", 1, bank_balance},
    {"bank.deposit_checking", 2, bank_deposit_checking},
    {"bank.transact_savings", 2, bank_transact_savings},
    {"bank.amalgamate", 2, bank_amalgamate},
    {"bank.write_check", 2, bank_write_check},
    {"bank.send_payment", 3, bank_send_payment},
    {NULL, 0, NULL},
};
