/*
 * workload: see workload.h. The generator is splitmix64: small, seeded, and good enough to choose
 * accounts with.
 */
#include "client/workload.h"

#include <stdio.h>

#define BALANCE_AT_START "10000"
#define AMOUNT_MAX 20u

void workload_init(struct workload *workload, enum workload_kind kind, uint32_t accounts,
                   uint64_t seed) {
    *workload = (struct workload){.kind = kind, .accounts = accounts, .state = seed};
}

static uint64_t draw(struct workload *workload, uint64_t below) {
    workload->state += 0x9e3779b97f4a7c15u;
    uint64_t z = workload->state;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (z ^ z >> 31) % below;
}

static void set_call(struct workload_call *out, const char *procedure, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        out->arguments[i] = span_text(out->words[i]);
    }
    out->call = (struct onus_call){
        .procedure = span_text(procedure),
        .argument_count = count,
        .arguments = out->arguments,
    };
}

static void write_account(char *word, uint64_t account) {
    (void)snprintf(word, WORKLOAD_WORD_SIZE, "account-%06u", (unsigned)account);
}

static void write_amount(struct workload *workload, char *word) {
    (void)snprintf(word, WORKLOAD_WORD_SIZE, "%u", 1 + (unsigned)draw(workload, AMOUNT_MAX));
}

/* The usual mix of SmallBank: a quarter of payments, the rest evenly among the other five. */
static void next_smallbank(struct workload *workload, struct workload_call *out) {
    static const struct {
        const char *procedure;
        bool second_account;
        bool amount;
    } kinds[] = {{"bank.send_payment", true, true},      {"bank.balance", false, false},
                 {"bank.deposit_checking", false, true}, {"bank.transact_savings", false, true},
                 {"bank.amalgamate", true, false},       {"bank.write_check", false, true}};
    uint64_t const drawn = draw(workload, 100);
    size_t const kind = drawn < 25 ? 0 : 1 + (size_t)(drawn - 25) / 15;
    uint64_t const first = draw(workload, workload->accounts);
    uint32_t count = 1;
    write_account(out->words[0], first);
    if (kinds[kind].second_account) {
        uint64_t const step = 1 + draw(workload, workload->accounts - 1);
        write_account(out->words[count++], (first + step) % workload->accounts);
    }
    if (kinds[kind].amount) {
        write_amount(workload, out->words[count++]);
    }
    set_call(out, kinds[kind].procedure, count);
}

static void next_kv(struct workload *workload, struct workload_call *out) {
    write_account(out->words[0], draw(workload, workload->accounts));
    bool const put = draw(workload, 2) == 0;
    if (put) {
        (void)snprintf(out->words[1], WORKLOAD_WORD_SIZE, "%016llx%016llx",
                       (unsigned long long)draw(workload, UINT64_MAX),
                       (unsigned long long)draw(workload, UINT64_MAX));
    }
    set_call(out, put ? "kv.put" : "kv.get", put ? 2 : 1);
}

void workload_next(struct workload *workload, struct workload_call *out) {
    switch (workload->kind) {
    case WORKLOAD_SMALLBANK:
        next_smallbank(workload, out);
        return;
    case WORKLOAD_KV:
        next_kv(workload, out);
        return;
    }
}

void workload_create(const struct workload *workload, struct workload_call *out, uint32_t account) {
    write_account(out->words[0], account);
    (void)snprintf(out->words[1], WORKLOAD_WORD_SIZE, BALANCE_AT_START);
    (void)snprintf(out->words[2], WORKLOAD_WORD_SIZE, BALANCE_AT_START);
    switch (workload->kind) {
    case WORKLOAD_SMALLBANK:
        set_call(out, "bank.create_account", 3);
        return;
    case WORKLOAD_KV:
        set_call(out, "kv.put", 2);
        return;
    }
}
