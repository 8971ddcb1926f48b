/*
 * execution: the procedures and the outcomes of requests.
 */
#include <criterion/criterion.h>
#include <stdio.h>

#include "execution/procedure.h"
#include "tests/unit/calls.h"

#define MAX_TEXT "9223372036854775807"
#define MIN_TEXT "-9223372036854775808"

/* ---- kv ---- */

Test(kv, put_get_delete) {
    struct bench b;
    bench_init(&b, NULL);
    expect_refused(&b, "kv.get a", "no such key");
    expect_ok(&b, "kv.put a 1", "");
    expect_ok(&b, "kv.get a", "1");
    expect_ok(&b, "kv.put a 22", "");
    expect_ok(&b, "kv.get a", "22");
    expect_ok(&b, "kv.put a ~", "");
    expect_ok(&b, "kv.get a", "");
    cr_assert(outcome_at(&b, 0).reply_count == 1);
    expect_ok(&b, "kv.delete a", "");
    expect_refused(&b, "kv.delete a", "no such key");
    expect_refused(&b, "kv.get a", "no such key");
    bench_free(&b);
}

Test(kv, cas) {
    struct bench b;
    bench_init(&b, NULL);
    expect_refused(&b, "kv.cas a 1 2", "no such key");
    expect_ok(&b, "kv.cas a ~ 1", "");
    expect_refused(&b, "kv.cas a ~ 2", "value differs");
    expect_refused(&b, "kv.cas a 3 2", "value differs");
    expect_ok(&b, "kv.cas a 1 2", "");
    expect_ok(&b, "kv.get a", "2");
    expect_ok(&b, "kv.put a ~", "");
    expect_refused(&b, "kv.cas a ~ 2", "value differs");
    bench_free(&b);
}

Test(kv, scan) {
    struct bench b;
    bench_init(&b, NULL);
    expect_ok(&b, "kv.put b 2", "");
    expect_ok(&b, "kv.put a 1", "");
    expect_ok(&b, "kv.put d 4", "");
    expect_ok(&b, "bank.create_account zoe 1 2", "1 2");
    engine_cut(b.engine, 1);
    expect_ok(&b, "kv.put c 3", "");
    expect_ok(&b, "kv.delete b", "");
    expect_ok(&b, "kv.scan ~ ~ 64", "a 1 c 3 d 4");
    expect_ok(&b, "kv.scan a d 64", "a 1 c 3");
    expect_ok(&b, "kv.scan b ~ 1", "c 3");
    expect_ok(&b, "kv.scan d a 64", "");
    expect_invalid(&b, "kv.scan ~ ~ 0", "malformed limit");
    expect_invalid(&b, "kv.scan ~ ~ 65", "malformed limit");
    expect_invalid(&b, "kv.scan ~ ~ x", "malformed limit");
    bench_free(&b);
}

/* A scan ends before the value that its reply cannot hold, and goes on from there. */
Test(kv, scan_respects_the_reply_size) {
    static const uint8_t large[VALUE_SIZE_MAX] = {1};
    struct bench b;
    struct call call;
    bench_init(&b, NULL);
    for (char name = 'a'; name <= 'c'; name++) {
        call = (struct call){.procedure = span_text("kv.put"), .argument_count = 2};
        call.arguments[0] = span_of(&name, 1);
        call.arguments[1] = span_of(large, sizeof large);
        execute_calls(&b, REQUEST_INDEPENDENT, 1, &call);
        cr_assert(b.execution.statuses[0] == OUTCOME_OK);
    }
    call_from_text(&call, "kv.scan ~ ~ 64");
    execute_calls(&b, REQUEST_INDEPENDENT, 1, &call);
    cr_assert(outcome_at(&b, 0).reply_count == 2);
    bench_free(&b);
}

Test(kv, limits) {
    static const uint8_t bytes[VALUE_SIZE_MAX + 1] = {1};
    struct bench b;
    struct call call = {.procedure = span_text("kv.put"), .argument_count = 2};
    bench_init(&b, NULL);
    call.arguments[0] = span_of(bytes, USER_KEY_SIZE_MAX);
    call.arguments[1] = span_of(bytes, VALUE_SIZE_MAX);
    execute_calls(&b, REQUEST_INDEPENDENT, 1, &call);
    expect_outcome(&b, 0, OUTCOME_OK, "");
    call.arguments[0].size++;
    execute_calls(&b, REQUEST_INDEPENDENT, 1, &call);
    expect_outcome(&b, 0, OUTCOME_INVALID, "key too large");
    call.arguments[0].size--;
    call.arguments[1].size++;
    execute_calls(&b, REQUEST_INDEPENDENT, 1, &call);
    expect_outcome(&b, 0, OUTCOME_INVALID, "value too large");
    expect_invalid(&b, "kv.put ~ 1", "empty key");
    expect_invalid(&b, "kv.get ~", "empty key");
    expect_invalid(&b, "kv.delete ~", "empty key");
    expect_invalid(&b, "kv.cas ~ ~ ~", "empty key");
    expect_invalid(&b, "kv.get", "wrong argument count");
    expect_invalid(&b, "kv.get a b", "wrong argument count");
    expect_invalid(&b, "kv.gett a", "unknown procedure");
    expect_invalid(&b, "~ a", "unknown procedure");
    bench_free(&b);
}

/* ---- bank ---- */

Test(bank, smallbank) {
    struct bench b;
    bench_init(&b, NULL);
    expect_ok(&b, "bank.create_account alice 100 50", "100 50");
    expect_ok(&b, "bank.create_account bob 0 0", "0 0");
    expect_refused(&b, "bank.create_account bob 1 1", "account exists");
    expect_refused(&b, "bank.create_account carol -1 0", "negative amount");
    expect_refused(&b, "bank.create_account carol 0 -1", "negative amount");
    expect_ok(&b, "bank.balance alice", "150");
    expect_ok(&b, "bank.deposit_checking alice 5", "105");
    expect_refused(&b, "bank.deposit_checking alice -5", "negative amount");
    expect_ok(&b, "bank.transact_savings alice -50", "0");
    expect_refused(&b, "bank.transact_savings alice -1", "overdraft");
    expect_ok(&b, "bank.transact_savings alice 7", "7");
    expect_ok(&b, "bank.send_payment alice bob 5", "100 5");
    expect_refused(&b, "bank.send_payment alice bob 101", "overdraft");
    expect_refused(&b, "bank.send_payment alice bob -1", "negative amount");
    expect_refused(&b, "bank.send_payment alice alice 1", "same account");
    expect_ok(&b, "bank.amalgamate alice bob", "112");
    expect_ok(&b, "bank.balance alice", "0");
    expect_refused(&b, "bank.amalgamate bob bob", "same account");
    bench_free(&b);
}

/* Published: the penalty of 1 falls due when both balances together do not cover the check. */
Test(bank, write_check) {
    struct bench b;
    bench_init(&b, NULL);
    expect_ok(&b, "bank.create_account alice 10 20", "10 20");
    expect_ok(&b, "bank.write_check alice 30", "-20");
    expect_ok(&b, "bank.write_check alice 0", "-20");
    expect_ok(&b, "bank.write_check alice 1", "-22");
    expect_refused(&b, "bank.write_check alice -1", "negative amount");
    expect_ok(&b, "bank.balance alice", "-2");
    expect_ok(&b, "bank.create_account bob 5 0", "5 0");
    expect_ok(&b, "bank.amalgamate alice bob", "3");
    bench_free(&b);
}

Test(bank, unknown_accounts) {
    struct bench b;
    bench_init(&b, NULL);
    expect_ok(&b, "bank.create_account a 1 1", "1 1");
    static const char *const calls[] = {
        "bank.balance x",          "bank.deposit_checking x 1", "bank.transact_savings x 1",
        "bank.amalgamate x a",     "bank.amalgamate a x",       "bank.write_check x 1",
        "bank.send_payment x a 1", "bank.send_payment a x 1",
    };
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        expect_refused(&b, calls[i], "no such account");
    }
    expect_ok(&b, "bank.balance a", "2");
    bench_free(&b);
}

Test(bank, overflow) {
    struct bench b;
    bench_init(&b, NULL);
    expect_ok(&b, "bank.create_account max " MAX_TEXT " " MAX_TEXT, MAX_TEXT " " MAX_TEXT);
    expect_ok(&b, "bank.create_account one 1 1", "1 1");
    expect_refused(&b, "bank.balance max", "overflow");
    expect_refused(&b, "bank.deposit_checking max 1", "overflow");
    expect_refused(&b, "bank.transact_savings max 1", "overflow");
    expect_refused(&b, "bank.write_check max 1", "overflow");
    expect_refused(&b, "bank.amalgamate max one", "overflow");
    expect_refused(&b, "bank.send_payment one max 1", "overflow");
    expect_ok(&b, "bank.create_account low 0 0", "0 0");
    expect_refused(&b, "bank.transact_savings low " MIN_TEXT, "overdraft");
    expect_ok(&b, "bank.write_check low " MAX_TEXT, MIN_TEXT);
    expect_refused(&b, "bank.write_check low 0", "overflow");
    expect_refused(&b, "bank.write_check low " MAX_TEXT, "overflow");
    expect_refused(&b, "bank.send_payment low one 1", "overdraft");
    expect_ok(&b, "bank.balance low", MIN_TEXT);
    expect_ok(&b, "bank.send_payment max low " MAX_TEXT, "0 -1");
    bench_free(&b);
}

Test(bank, malformed) {
    struct bench b;
    bench_init(&b, NULL);
    static const char *const amounts[] = {
        "~",
        "-",
        "+1",
        "01",
        "-0",
        "00",
        "1x",
        "x",
        "--1",
        "0x1",
        "1.0",
        "9223372036854775808",
        "-9223372036854775809",
        "99999999999999999999",
        "-99999999999999999999",
        "1\n",
    };
    for (size_t i = 0; i < sizeof amounts / sizeof amounts[0]; i++) {
        char text[128];
        (void)snprintf(text, sizeof text, "bank.deposit_checking a %s", amounts[i]);
        expect_invalid(&b, text, "malformed amount");
        (void)snprintf(text, sizeof text, "bank.create_account a 1 %s", amounts[i]);
        expect_invalid(&b, text, "malformed amount");
        (void)snprintf(text, sizeof text, "bank.send_payment a b %s", amounts[i]);
        expect_invalid(&b, text, "malformed amount");
    }
    expect_invalid(&b, "bank.balance ~", "empty name");
    expect_invalid(&b, "bank.amalgamate a ~", "empty name");
    expect_invalid(&b, "bank.balance", "wrong argument count");
    expect_invalid(&b, "bank.send_payment a b", "wrong argument count");
    bench_free(&b);
}

/* No kv call can reach a balance, whatever its key. */
Test(bank, namespaces_are_apart) {
    struct bench b;
    bench_init(&b, NULL);
    expect_ok(&b, "bank.create_account a 1 2", "1 2");
    expect_refused(&b, "kv.get b/c/a", "no such key");
    expect_refused(&b, "kv.get /../b/c/a", "no such key");
    expect_ok(&b, "kv.put b/c/a x", "");
    expect_ok(&b, "bank.balance a", "3");
    expect_ok(&b, "kv.scan ~ ~ 64", "b/c/a x");
    bench_free(&b);
}

/* A state that was handed in from outside may hold anything under a balance's key. */
Test(bank, foreign_balance_is_no_account) {
    struct bench b;
    bench_init(&b, NULL);
    cr_assert(engine_preload(b.engine, span_text("b/c/a"), span_text("short")));
    cr_assert(engine_preload(b.engine, span_text("b/s/a"), span_text("12345678")));
    expect_refused(&b, "bank.balance a", "no such account");
    expect_ok(&b, "bank.create_account a 1 1", "1 1");
    bench_free(&b);
}

/* ---- outcomes ---- */

static bool writes_are(struct bench *bench, const struct digest *digest) {
    struct outcome const outcome = outcome_at(bench, 0);
    return digest_equal(&outcome.write_digest, digest);
}

Test(outcome, write_digest) {
    static const char writes[] = "\0\0\0\2"
                                 "\0\0\0\5b/c/a\1\0\0\0\10\0\0\0\0\0\0\0\3"
                                 "\0\0\0\5b/s/a\1\0\0\0\10\0\0\0\0\0\0\0\4";
    struct bench b;
    bench_init(&b, NULL);
    expect_ok(&b, "bank.create_account a 3 4", "3 4");
    struct digest digest =
        hash_labelled(LABEL_WRITE_SET, &calls_service, span_of(writes, sizeof writes - 1));
    cr_assert(writes_are(&b, &digest));
    expect_ok(&b, "kv.put x yz", "");
    expect_ok(&b, "kv.delete x", "");
    static const char removal[] = "\0\0\0\1\0\0\0\3k/x\0\0\0\0\0";
    digest = hash_labelled(LABEL_WRITE_SET, &calls_service, span_of(removal, sizeof removal - 1));
    cr_assert(writes_are(&b, &digest));
    expect_refused(&b, "kv.delete x", "no such key");
    digest = hash_labelled(LABEL_WRITE_SET, &calls_service, span_of("\0\0\0\0", 4));
    cr_assert(writes_are(&b, &digest));
    bench_free(&b);
}

Test(outcome, independent_calls_stand_alone) {
    struct bench b;
    struct call calls[3];
    bench_init(&b, NULL);
    call_from_text(&calls[0], "kv.put a 1");
    call_from_text(&calls[1], "kv.get b");
    call_from_text(&calls[2], "kv.get a");
    execute_calls(&b, REQUEST_INDEPENDENT, 3, calls);
    expect_outcome(&b, 0, OUTCOME_OK, "");
    expect_outcome(&b, 1, OUTCOME_REFUSED, "no such key");
    expect_outcome(&b, 2, OUTCOME_OK, "1");
    bench_free(&b);
}

Test(outcome, atomic_is_all_or_none) {
    struct bench b;
    struct call calls[4];
    bench_init(&b, NULL);
    call_from_text(&calls[0], "kv.put a 1");
    call_from_text(&calls[1], "kv.get a");
    call_from_text(&calls[2], "nonsense");
    call_from_text(&calls[3], "kv.put c 1");
    struct digest const nothing =
        hash_labelled(LABEL_WRITE_SET, &calls_service, span_of("\0\0\0\0", 4));
    execute_calls(&b, REQUEST_ATOMIC, 4, calls);
    expect_outcome(&b, 0, OUTCOME_ABORTED, "");
    expect_outcome(&b, 1, OUTCOME_ABORTED, "");
    expect_outcome(&b, 2, OUTCOME_INVALID, "unknown procedure");
    expect_outcome(&b, 3, OUTCOME_ABORTED, "");
    for (uint32_t i = 0; i < 4; i++) {
        struct digest const digest = outcome_at(&b, i).write_digest;
        cr_assert(digest_equal(&digest, &nothing));
    }
    expect_refused(&b, "kv.get a", "no such key");
    execute_calls(&b, REQUEST_ATOMIC, 2, calls);
    expect_outcome(&b, 1, OUTCOME_OK, "1");
    expect_ok(&b, "kv.get a", "1");
    bench_free(&b);
}
