/*
 * served: what a replica hands over to an auditor (ledger/served.h, ledger/codec_served.h). A range
 * of a correct ledger is well formed wherever it is cut; each malformation is found, and proven
 * against who signed for it and nobody else.
 */
#include "ledger/served.h"

#include <criterion/criterion.h>

#include "audit-tool/eras.h"
#include "audit-tool/served_evidence.h"
#include "codec_attack.h"
#include "ledger/wire.h"
#include "tests/forge/reform.h"
#include "tests/forge/story.h"

#define SERVER 2u

static struct consortium consortium;
static struct forge forge;
static struct story story;

static void set_up_with(uint32_t replica_count) {
    consortium_found(&consortium, &(struct consortium_options){.replica_count = replica_count});
    forge_init(&forge, &consortium);
    story = (struct story){.forge = &forge, .random = 31};
}

static void set_up(void) {
    set_up_with(4);
}

static void tear_down(void) {
    forge_free(&forge);
    consortium_free(&consortium);
}

TestSuite(served, .timeout = 170);
TestSuite(served_range, .init = set_up, .fini = tear_down, .timeout = 170);

/* ---- ranges ---------------------------------------------------------------------------------- */

static bool check_universally(void *context, const struct sign_check *check, enum rule rule) {
    (void)context;
    (void)rule;
    return sign_verify_universal(&consortium.configuration.service, check);
}

static const struct sign_sink universally = {.check = check_universally};

/* A range in the hands of a replica, who may change it before it signs. */
struct range {
    struct range_message message;
    struct entry entries[WIRE_ENTRIES_MAX];
    struct served served;
    struct buffer payload;
    struct buffer statement;
    struct signed_body signature;
};

static struct range *range_new(uint64_t first, uint64_t end) {
    struct range *const range = calloc(1, sizeof *range);
    cr_assert(range != NULL && end - first <= WIRE_ENTRIES_MAX);
    range->message = (struct range_message){
        .first_entry = first, .count = (uint32_t)(end - first), .entries = range->entries};
    for (uint64_t i = first; i < end; i++) {
        range->entries[i - first] = forge_entry_at(&forge, i);
    }
    range->payload = buffer_new();
    range->statement = buffer_new();
    return range;
}

static void range_free(struct range *range) {
    buffer_free(&range->payload);
    buffer_free(&range->statement);
    free(range);
}

/* Say what it is, as it is now, with the key of a replica. */
static void range_sign(struct range *range, const struct key_pair *key) {
    const struct digest *const service = &consortium.configuration.service;
    range->served = (struct served){.replica = SERVER,
                                    .demand = digest_of(3),
                                    .part = SERVED_ENTRIES,
                                    .first = range->message.first_entry,
                                    .end = range->message.first_entry + range->message.count,
                                    .available = forge_entry_count(&forge) + 100};
    consortium_state(&consortium, &range->served);
    buffer_clear(&range->payload);
    buffer_clear(&range->statement);
    cr_assert(range_message_encode(&range->payload, &range->message));
    range->served.digest = served_bytes_digest(service, buffer_span(&range->payload));
    cr_assert(served_encode(&range->statement, &range->served));
    range->signature.body = buffer_span(&range->statement);
    range->signature.signature =
        sign_labelled(&key->secret, &key->key, LABEL_SERVED_RANGE, service, range->signature.body);
}

static struct served_judgement range_judge(struct range *range, const struct sign_sink *sink) {
    range_sign(range, &consortium.replicas[SERVER].signing);
    struct served_judgement const judgement = served_range_judge(
        &consortium.configuration, &range->served, buffer_span(&range->payload), sink);
    cr_assert_not(judgement.failed);
    return judgement;
}

static void expect_honest(uint64_t first, uint64_t end, const struct sign_sink *sink) {
    struct range *const range = range_new(first, end);
    struct served_judgement const judgement = range_judge(range, sink);
    cr_assert_eq(judgement.rule, RULE_NONE, "entries %llu to %llu: %s at %llu",
                 (unsigned long long)first, (unsigned long long)end, rule_name(judgement.rule),
                 (unsigned long long)judgement.entry);
    range_free(range);
}

#define UNITS_MAX 4096u

/* Where units begin, and the end. */
struct units {
    uint32_t count;
    uint64_t at[UNITS_MAX];
};

static void units_read(struct units *units) {
    enum entry_kind before = ENTRY_GENESIS;
    units->count = 0;
    for (uint64_t i = 0; i < forge_entry_count(&forge); i++) {
        enum entry_kind const kind = forge_entry_at(&forge, i).kind;
        bool const begins = kind == ENTRY_GENESIS || kind == ENTRY_EVIDENCE ||
                            kind == ENTRY_VIEW_CHANGE_SET ||
                            (kind == ENTRY_PRE_PREPARE && before != ENTRY_EVIDENCE);
        if (begins) {
            cr_assert(units->count + 1 < UNITS_MAX);
            units->at[units->count++] = i;
        }
        before = kind;
    }
    units->at[units->count] = forge_entry_count(&forge);
}

static void tell_with_views(uint32_t changes) {
    for (uint32_t i = 0; i < changes; i++) {
        story_append_honest(&story, 1 + story_draw(&story, 6));
        forge_change_view(&forge,
                          &(struct forge_view_order){.view = forge.view + 1 + story_draw(&story, 3),
                                                     .unheard = story_draw(&story, 3) == 0});
        if (story_draw(&story, 3) == 0) {
            forge_change_view(&forge, &(struct forge_view_order){.view = forge.view + 1});
        }
    }
}

/* ---- where configurations change ---- */

static struct reform reform;

static bool lies_in(const struct range *range, uint64_t config) {
    for (uint32_t i = 0; i < range->message.count; i++) {
        uint64_t const named = entry_config(&range->entries[i]);
        if (named != 0 && named != config) {
            return false;
        }
    }
    return true;
}

/* Returns: how many ranges lie in that configuration, all of which are well formed. */
static uint32_t judge_all_by(const struct configuration *configuration) {
    struct units units;
    uint32_t honest = 0;
    units_read(&units);
    for (uint32_t i = 0; i < units.count; i++) {
        for (uint32_t k = i + 1; k <= units.count && k <= i + 12; k++) {
            struct range *const range = range_new(units.at[i], units.at[k]);
            range_sign(range, &consortium.replicas[SERVER].signing);
            range->served.range_config = configuration->number;
            struct served_judgement const judgement = served_range_judge(
                configuration, &range->served, buffer_span(&range->payload), &universally);
            bool const is_honest = lies_in(range, configuration->number);
            enum rule const expected = is_honest ? RULE_NONE : RULE_CONFIGURATION;
            cr_assert(!judgement.failed && judgement.rule == expected,
                      "configuration %llu, entries %llu to %llu: %s at %llu",
                      (unsigned long long)configuration->number, (unsigned long long)units.at[i],
                      (unsigned long long)units.at[k], rule_name(judgement.rule),
                      (unsigned long long)judgement.entry);
            honest += is_honest ? 1 : 0;
            range_free(range);
        }
    }
    return honest;
}

/* A replica signs by the configuration in which a range lies; none lies in two. */
Test(served, ranges_across_configurations_are_honest) {
    consortium_found(&consortium, &(struct consortium_options){.replica_count = 4});
    forge_init(&forge, &consortium);
    story = (struct story){.forge = &forge, .random = 11};
    reform_init(&reform, &forge);
    for (uint32_t i = 0; i < 2; i++) {
        struct charter *const charter = &reform.charter;
        const struct replica_identity *const first = &charter->now.replicas[0].identity;
        struct action const action = charter_replica(
            charter, &first->key, charter->now.members[first->member].name, 6000 + i);
        story_append_honest(&story, 3);
        reform_end(&reform, 1, &action);
        reform_start(&reform);
        story_append_honest(&story, 3);
        forge_change_view(&forge, &(struct forge_view_order){.view = 1});
        story_append_honest(&story, 3);
    }
    cr_assert(judge_all_by(&consortium.configuration) > 20);
    for (uint32_t i = 0; i < reform.count; i++) {
        cr_assert(judge_all_by(&reform.consortiums[i].configuration) > 20);
    }
    reform_free(&reform);
    forge_free(&forge);
    consortium_free(&consortium);
}

static void expect_all_honest(void) {
    static struct units units;
    units_read(&units);
    for (uint32_t from = 0; from < units.count; from++) {
        for (uint32_t to = from; to <= units.count; to++) {
            expect_honest(units.at[from], units.at[to], NULL);
        }
        uint32_t const near = from + 4 < units.count ? from + 4 : units.count;
        expect_honest(units.at[from], units.at[near], &universally);
    }
    expect_honest(0, forge_entry_count(&forge), &universally);
}

Test(served_range, honest_ranges_are_well_formed_wherever_they_are_cut) {
    for (uint32_t round = 0; round < 8; round++) {
        story.random = 100 + round;
        tell_with_views(4);
        story_append_honest(&story, round);
        expect_all_honest();
        tear_down();
        set_up_with(round % 2 == 0 ? 7 : 4);
    }
}

Test(served_range, a_view_right_after_genesis) {
    forge_change_view(&forge, &(struct forge_view_order){.view = 2});
    forge_change_view(&forge, &(struct forge_view_order){.view = 3});
    story_append_honest(&story, 6);
    expect_all_honest();
}

/* Batches that their successors took over, each again, for as many views as there are. */
Test(served_range, what_is_taken_over_again_and_again) {
    story_append_honest(&story, 5);
    for (uint64_t view = 1; view < 6; view++) {
        story_append(&story, 2, 4, RULE_NONE);
        forge_change_view(&forge, &(struct forge_view_order){.view = view, .unheard = true});
    }
    story_append_honest(&story, 3);
    expect_all_honest();
}

/* ---- malformations --------------------------------------------------------------------------- */

static void expect_rule(struct range *range, enum rule rule) {
    struct served_judgement const judgement = range_judge(range, &universally);
    cr_assert_eq(judgement.rule, rule, "%s instead of %s", rule_name(judgement.rule),
                 rule_name(rule));
    cr_assert(judgement.entry >= range->served.first);
    cr_assert(judgement.entry <= range->served.end);
}

/* It is proven to a stranger, against this replica alone. */
static void expect_proof(struct range *range, enum rule rule) {
    struct buffer file = buffer_new();
    struct proof_verdict *const verdict = calloc(1, sizeof *verdict);
    cr_assert(verdict != NULL);
    cr_assert(served_evidence(&file, verdict, buffer_span(&consortium.genesis_bytes), NULL,
                              &range->signature, buffer_span(&range->payload)));
    cr_assert_eq(verdict->kind, PROOF_MALFORMED_RANGE);
    cr_assert_eq(verdict->blamed, (uint64_t)1 << SERVER);
    cr_assert_eq(verdict->rule, rule);
    cr_assert_eq(verdict->first, range->served.first);
    cr_assert_eq(verdict->end, range->served.end);
    free(verdict);
    buffer_free(&file);
}

static bool is_proven(const struct range *range) {
    struct buffer file = buffer_new();
    bool const proven = served_evidence(&file, NULL, buffer_span(&consortium.genesis_bytes), NULL,
                                        &range->signature, buffer_span(&range->payload));
    cr_assert(proven == (file.size != 0));
    buffer_free(&file);
    return proven;
}

/* A lie that the forge tells with the keys of a quorum: it can be seen in the range alone. */
Test(served_range, signed_lies_are_found) {
    static const enum rule lies[] = {
        RULE_ENTRY_ENCODING,
        RULE_ENTRY_ORDER,
        RULE_SIGNATURE,
        RULE_LEDGER_ROOT,
        RULE_BATCH_ROOT,
        RULE_CONFIGURATION,
        RULE_VIEW,
        RULE_SEQUENCE,
        RULE_VIEW_START,
        RULE_FIRST_INDEX,
        RULE_BATCH_KIND,
        RULE_EVIDENCE_RANGE,
        RULE_EVIDENCE_SIGNERS,
        RULE_EVIDENCE_CONTENT,
        RULE_EVIDENCE_NONCE,
        RULE_EVIDENCE_SIGNATURE,
        RULE_GOVERNANCE_INDEX,
        RULE_CHECKPOINT_SEQUENCE,
        RULE_TIME,
    };
    for (size_t i = 0; i < COUNT(lies); i++) {
        story_append_honest(&story, 3);
        forge.signers = 0x7; /* replica 1 among them, whom a lie about signers leaves out */
        story_append(&story, 1, 1, RULE_NONE);
        story_append(&story, 2, 1, lies[i]);
        struct range *const range = range_new(0, forge_entry_count(&forge));
        expect_rule(range, lies[i]);
        expect_proof(range, lies[i]);
        range_free(range);
        tear_down();
        set_up();
    }
}

Test(served_range, lies_of_a_new_view_are_found) {
    static const enum rule lies[] = {RULE_CONFIGURATION, RULE_LEDGER_ROOT, RULE_VIEW_SET,
                                     RULE_SIGNATURE};
    for (size_t i = 0; i < COUNT(lies); i++) {
        story_append_honest(&story, 3);
        forge_change_view(&forge, &(struct forge_view_order){.view = 1, .lie = lies[i]});
        struct range *const range = range_new(0, forge_entry_count(&forge));
        expect_rule(range, lies[i]);
        expect_proof(range, lies[i]);
        range_free(range);
        tear_down();
        set_up();
    }
}

Test(served_range, lies_about_requests_are_found) {
    static const char *const calls[] = {"kv.put a 1"};
    static const enum rule rules[] = {RULE_REQUEST_AUTHOR, RULE_REQUEST_SIGNATURE};
    for (size_t i = 0; i < COUNT(rules); i++) {
        story_append_honest(&story, 3);
        struct order const order = {.author = i == 0 ? &consortium.stranger : &consortium.users[0],
                                    .min_index = forge.next_index,
                                    .number = 77,
                                    .call_count = 1,
                                    .calls = calls};
        story_append_order(&story, &order, rules[i], i == 0 ? 0 : 5);
        struct range *const range = range_new(0, forge_entry_count(&forge));
        expect_rule(range, rules[i]);
        expect_proof(range, rules[i]);
        range_free(range);
        tear_down();
        set_up();
    }
}

/* A whole range, of which the server drops, swaps or changes something before it signs. */
static struct range *honest_range(void) {
    story_append_honest(&story, 4);
    story_append(&story, 3, 1, RULE_NONE);
    forge_change_view(&forge, &(struct forge_view_order){.view = 1});
    story_append(&story, 2, 1, RULE_NONE);
    return range_new(0, forge_entry_count(&forge));
}

static uint32_t find(const struct range *range, enum entry_kind kind) {
    for (uint32_t i = range->message.count; i > 0; i--) {
        if (range->entries[i - 1].kind == kind) {
            return i - 1;
        }
    }
    cr_assert_fail("no such entry");
    return 0;
}

static void drop(struct range *range, uint32_t nth) {
    range->message.count--;
    memmove(&range->entries[nth], &range->entries[nth + 1],
            (range->message.count - nth) * sizeof range->entries[0]);
}

Test(served_range, no_entry_can_be_left_out) {
    struct range *const whole = honest_range();
    for (uint32_t i = 0; i < whole->message.count; i++) {
        struct range *const range = range_new(0, forge_entry_count(&forge));
        drop(range, i);
        enum rule const rule = range_judge(range, &universally).rule;
        cr_assert_neq(rule, RULE_NONE, "entry %u of kind %d", i, (int)whole->entries[i].kind);
        expect_proof(range, rule);
        range_free(range);
    }
    range_free(whole);
}

Test(served_range, what_begins_must_end) {
    static struct units units;
    struct range *const range = honest_range();
    units_read(&units);
    uint64_t const end = range->message.count;
    for (uint64_t cut = 1; cut < end; cut++) {
        range->message.count = (uint32_t)cut;
        bool is_unit = false;
        for (uint32_t i = 0; i < units.count; i++) {
            is_unit |= units.at[i] == cut;
        }
        if (is_unit) {
            expect_rule(range, RULE_NONE);
            cr_assert_not(is_proven(range));
        } else {
            expect_rule(range, RULE_ENTRY_ORDER);
            expect_proof(range, RULE_ENTRY_ORDER);
        }
    }
    range_free(range);
}

/* Wherever it is cut, no unit can be moved to another place. */
Test(served_range, a_unit_stands_in_one_place) {
    static struct units units;
    struct range *const whole = honest_range();
    units_read(&units);
    for (uint32_t i = 1; i + 1 < units.count; i++) {
        uint32_t const first = (uint32_t)units.at[i];
        uint32_t const middle = (uint32_t)units.at[i + 1];
        uint32_t const end = (uint32_t)units.at[i + 2 <= units.count ? i + 2 : i + 1];
        struct range *const range = range_new(first, end);
        for (uint32_t k = 0; k < end - middle; k++) {
            range->entries[k] = whole->entries[middle + k];
        }
        for (uint32_t k = 0; k < middle - first; k++) {
            range->entries[end - middle + k] = whole->entries[first + k];
        }
        cr_assert_neq(range_judge(range, &universally).rule, RULE_NONE, "unit %u", i);
        range_free(range);
    }
    range_free(whole);
}

Test(served_range, a_changed_byte_is_found) {
    static const enum entry_kind kinds[] = {ENTRY_EVIDENCE, ENTRY_PRE_PREPARE, ENTRY_REQUEST,
                                            ENTRY_VIEW_CHANGE_SET, ENTRY_NEW_VIEW};
    struct range *const range = honest_range();
    for (size_t i = 0; i < COUNT(kinds); i++) {
        uint32_t const nth = find(range, kinds[i]);
        struct span const right = range->entries[nth].payload;
        uint8_t *const copy = malloc(right.size);
        cr_assert(copy != NULL);
        memcpy(copy, right.data, right.size);
        range->entries[nth].payload = span_of(copy, right.size);
        for (size_t at = 0; at < right.size; at += 1 + right.size / 300) {
            copy[at] ^= 0x10;
            cr_assert_neq(range_judge(range, &universally).rule, RULE_NONE, "byte %zu of kind %d",
                          at, (int)kinds[i]);
            copy[at] ^= 0x10;
        }
        range->entries[nth].payload = right;
        free(copy);
    }
    expect_rule(range, RULE_NONE);
    range_free(range);
}

Test(served_range, the_genesis_is_that_of_the_service) {
    struct range *const range = honest_range();
    struct span const right = range->entries[0].payload;
    uint8_t *const copy = malloc(right.size);
    cr_assert(copy != NULL);
    memcpy(copy, right.data, right.size);
    copy[right.size / 2] ^= 1;
    range->entries[0].payload = span_of(copy, right.size);
    expect_rule(range, RULE_ENTRY_ENCODING);
    range->entries[0] = (struct entry){.kind = ENTRY_PRE_PREPARE, .payload = right};
    expect_rule(range, RULE_ENTRY_ORDER);
    range->entries[0] = (struct entry){.kind = ENTRY_GENESIS, .payload = right};
    range->message.count = 1;
    expect_rule(range, RULE_NONE);
    range->message.first_entry = 1; /* a second one */
    expect_rule(range, RULE_ENTRY_ORDER);
    free(copy);
    range_free(range);
}

/* Bytes that are no range at all, and one that is not where the statement says. */
Test(served_range, the_statement_is_about_these_entries) {
    struct range *const range = honest_range();
    struct served_judgement judgement = range_judge(range, NULL);
    cr_assert_eq(judgement.rule, RULE_NONE);
    struct served served = range->served;
    served.end--;
    judgement =
        served_range_judge(&consortium.configuration, &served, buffer_span(&range->payload), NULL);
    cr_assert_eq(judgement.rule, RULE_ENTRY_ORDER);
    served = range->served;
    served.first++;
    judgement =
        served_range_judge(&consortium.configuration, &served, buffer_span(&range->payload), NULL);
    cr_assert_eq(judgement.rule, RULE_ENTRY_ORDER);
    judgement = served_range_judge(&consortium.configuration, &range->served,
                                   span_text("no protobuf"), NULL);
    cr_assert_eq(judgement.rule, RULE_ENTRY_ENCODING);
    judgement =
        served_range_judge(&consortium.configuration, &range->served, (struct span){0}, NULL);
    cr_assert_eq(judgement.rule, RULE_ENTRY_ORDER); /* an empty range from entry 0 on */
    range_free(range);
}

/* ---- proofs ---------------------------------------------------------------------------------- */

/* With what it says now, of the bytes that are there. */
static void sign_again(struct range *range, const struct key_pair *key) {
    const struct digest *const service = &consortium.configuration.service;
    buffer_clear(&range->statement);
    range->served.digest = served_bytes_digest(service, buffer_span(&range->payload));
    cr_assert(served_encode(&range->statement, &range->served));
    range->signature.body = buffer_span(&range->statement);
    range->signature.signature =
        sign_labelled(&key->secret, &key->key, LABEL_SERVED_RANGE, service, range->signature.body);
}

static void sign_bytes(struct range *range, struct span payload, const struct key_pair *key) {
    buffer_clear(&range->payload);
    cr_assert(buffer_append(&range->payload, payload));
    sign_again(range, key);
}

Test(served_range, bytes_that_are_no_range_convict) {
    const struct key_pair *const key = &consortium.replicas[SERVER].signing;
    struct range *const range = honest_range();
    range_sign(range, key);
    sign_bytes(range, span_text("no protobuf"), key);
    expect_proof(range, RULE_ENTRY_ENCODING);
    sign_bytes(range, (struct span){0}, key);
    expect_proof(range, RULE_ENTRY_ORDER);
    range->served.part = SERVED_OFFER; /* of which nothing can be said here */
    range->served.first = 0;
    range->served.end = 0;
    range->served.available = 0;
    sign_bytes(range, span_text("no protobuf"), key);
    cr_assert_not(is_proven(range));
    range_free(range);
}

Test(served_range, nobody_is_blamed_for_what_he_did_not_sign) {
    struct range *const range = honest_range();
    drop(range, find(range, ENTRY_REQUEST));
    range_sign(range, &consortium.replicas[SERVER].signing);
    cr_assert(is_proven(range));
    range_sign(range, &consortium.replicas[SERVER - 1].signing); /* in the name of SERVER */
    cr_assert_not(is_proven(range));
    range_sign(range, &consortium.stranger);
    cr_assert_not(is_proven(range));
    range_free(range);
}

/* What a correct replica signed convicts with no other bytes, and no other statement with them. */
Test(served_range, an_honest_answer_cannot_be_turned_against_its_author) {
    struct range *const range = honest_range();
    range_sign(range, &consortium.replicas[SERVER].signing);
    cr_assert_not(is_proven(range));
    size_t const size = range->payload.size;
    for (size_t cut = 0; cut < size; cut += 1 + size / 50) {
        range->payload.size = cut;
        cr_assert_not(is_proven(range));
    }
    range->payload.size = size;
    for (size_t at = 0; at < size; at += 1 + size / 50) {
        range->payload.data[at] ^= 1;
        cr_assert_not(is_proven(range));
        range->payload.data[at] ^= 1;
    }
    for (size_t at = 0; at < range->statement.size; at++) {
        range->statement.data[at] ^= 1;
        cr_assert_not(is_proven(range));
        range->statement.data[at] ^= 1;
    }
    cr_assert_not(is_proven(range));
    range_free(range);
}

/* ---- in later configurations ---- */

static struct eras eras;

static void follow(const struct reform *from) {
    eras_free(&eras);
    cr_assert(eras_init(&eras, buffer_span(&consortium.genesis_bytes)));
    cr_assert_eq(
        eras_follow(&eras, buffer_span(&consortium.genesis_bytes), from->links, from->count),
        CHAIN_VALID);
}

/* Two configurations, in each of which there are some batches. */
static void tell_two_eras(void) {
    reform_init(&reform, &forge);
    story_append_honest(&story, 4);
    struct action const action = charter_named(&reform.charter, ACTION_ADD_USER, "dave", 7000);
    reform_end(&reform, 1, &action);
    reform_start(&reform);
    story_append_honest(&story, 4);
    follow(&reform);
}

/* The units of a configuration, from its second on. */
static struct range *range_of_config(uint64_t config) {
    uint64_t first = 0;
    uint64_t end = 0;
    struct units units;
    units_read(&units);
    for (uint32_t i = 0; i < units.count; i++) {
        uint64_t named = 0;
        for (uint64_t k = units.at[i]; named == 0; k++) {
            struct entry const entry = forge_entry_at(&forge, k);
            named = entry_config(&entry);
        }
        if (named == config && units.at[i] != 0) {
            first = first == 0 ? units.at[i] : first;
            end = units.at[i + 1];
        }
    }
    cr_assert(end > first + 4);
    return range_new(first, end);
}

/* As a replica of configuration 2 signs it, and says that it lies in this one. */
static void sign_later(struct range *range, uint64_t range_config) {
    const struct key_pair *const key = &consortium.replicas[SERVER].signing;
    range_sign(range, key);
    reform_state(&reform, range_config, &range->served);
    sign_again(range, key);
}

static bool is_proven_by(const struct range *range, const struct eras *known, uint64_t config) {
    struct buffer file = buffer_new();
    struct proof_verdict *const verdict = calloc(1, sizeof *verdict);
    cr_assert(verdict != NULL);
    bool const proven = served_evidence(&file, verdict, buffer_span(&consortium.genesis_bytes),
                                        known, &range->signature, buffer_span(&range->payload));
    if (proven) {
        cr_assert_eq(verdict->kind, PROOF_MALFORMED_RANGE);
        cr_assert_eq(verdict->config, config);
        cr_assert_eq(verdict->configuration.number, config);
        cr_assert_eq(verdict->blamed, (uint64_t)1 << SERVER);
    }
    free(verdict);
    buffer_free(&file);
    return proven;
}

/* Entries of its own configuration, and those of the one before. */
Test(served_range, a_replica_of_a_later_configuration_is_convicted) {
    tell_two_eras();
    for (uint64_t config = 1; config <= 2; config++) {
        struct range *const range = range_of_config(config);
        sign_later(range, config);
        cr_assert_not(is_proven_by(range, &eras, 2), "it is honest");
        sign_later(range, 3 - config); /* it says that they lie in the other one */
        cr_assert(is_proven_by(range, &eras, 2));
        drop(range, find(range, ENTRY_REQUEST));
        sign_later(range, config);
        cr_assert(is_proven_by(range, &eras, 2));
        cr_assert_not(is_proven_by(range, NULL, 2), "there are no links to it");
        range_free(range);
    }
    eras_free(&eras);
    eras = (struct eras){.count = 0};
    reform_free(&reform);
}

/* Who forks the chain shows others than those that the replica went by. */
Test(served_range, a_forked_chain_convicts_nobody) {
    static struct reform other;
    static struct forge branch;
    tell_two_eras();
    struct range *const range = range_of_config(2);
    drop(range, find(range, ENTRY_REQUEST));
    sign_later(range, 2);
    cr_assert(is_proven_by(range, &eras, 2));
    forge_init(&branch, &consortium);
    reform_init(&other, &branch);
    struct action const action = charter_named(&other.charter, ACTION_ADD_USER, "erin", 7001);
    reform_end(&other, 1, &action);
    follow(&other);
    cr_assert_not(is_proven_by(range, &eras, 2));
    follow(&reform);
    range->served.range_constitution.bytes[0] ^= 1;
    range->served.constitution.bytes[0] ^= 1;
    sign_again(range, &consortium.replicas[SERVER].signing);
    cr_assert_not(is_proven_by(range, &eras, 2), "nor one that the replica made up");
    range_free(range);
    eras_free(&eras);
    eras = (struct eras){.count = 0};
    reform_free(&other);
    reform_free(&reform);
    forge_free(&branch);
}

/* A small proof, of which every byte is changed, and every end cut off. */
Test(served_range, no_change_of_a_proof_holds) {
    const struct key_pair *const key = &consortium.replicas[SERVER].signing;
    struct buffer file = buffer_new();
    struct proof_verdict *const verdict = calloc(1, sizeof *verdict);
    story_append(&story, 1, 1, RULE_NONE);
    struct range *const range = range_new(1, forge_entry_count(&forge));
    drop(range, find(range, ENTRY_REQUEST));
    range_sign(range, key);
    cr_assert(verdict != NULL);
    cr_assert(served_evidence(&file, verdict, buffer_span(&consortium.genesis_bytes), NULL,
                              &range->signature, buffer_span(&range->payload)));
    const struct digest *const service = &consortium.configuration.service;
    for (size_t at = 0; at < file.size; at++) {
        uint8_t const flip = (uint8_t)(1u << at % 8);
        file.data[at] ^= flip;
        cr_assert_neq(proof_verify(verdict, service, buffer_span(&file)), PROOF_VALID, "byte %zu",
                      at);
        file.data[at] ^= flip;
        cr_assert_neq(proof_verify(verdict, service, span_of(file.data, at)), PROOF_VALID,
                      "%zu bytes", at);
    }
    cr_assert_eq(proof_verify(verdict, service, buffer_span(&file)), PROOF_VALID);
    free(verdict);
    range_free(range);
    buffer_free(&file);
}

/* The bytes are part of this kind of proof and of no other. */
Test(served_range, a_proof_has_the_parts_of_its_kind) {
    struct range *const range = honest_range();
    struct proof_verdict *const verdict = calloc(1, sizeof *verdict);
    struct proof *const proof = calloc(1, sizeof *proof);
    struct buffer file = buffer_new();
    drop(range, find(range, ENTRY_REQUEST));
    range_sign(range, &consortium.replicas[SERVER].signing);
    cr_assert(verdict != NULL && proof != NULL);
    for (unsigned kind = 1; kind < PROOF_KIND_END; kind++) {
        *proof = (struct proof){.kind = (enum proof_kind)kind,
                                .genesis = buffer_span(&consortium.genesis_bytes),
                                .statement_count = 1,
                                .statements = {range->signature},
                                .served = buffer_span(&range->payload)};
        buffer_clear(&file);
        cr_assert(evidence_file_encode(&file, proof));
        cr_assert_eq(proof_verify(verdict, NULL, buffer_span(&file)),
                     kind == PROOF_MALFORMED_RANGE ? PROOF_VALID : PROOF_PARTS, "kind %u", kind);
    }
    proof->statement_count = 2;
    proof->statements[1] = range->signature;
    buffer_clear(&file);
    cr_assert(evidence_file_encode(&file, proof));
    cr_assert_eq(proof_verify(verdict, NULL, buffer_span(&file)), PROOF_PARTS);
    free(proof);
    free(verdict);
    buffer_free(&file);
    range_free(range);
}
