/*
 * history_eras: tests of execution/history.h where votes change the configuration: a ledger with
 * several of them, written by tests/forge, is read a second time, by whatever pieces and from
 * wherever it was left; each configuration is judged by its own keys.
 */
#include <criterion/criterion.h>

#include "execution/checkpoint.h"
#include "execution/history.h"
#include "tests/forge/reform.h"
#include "tests/forge/story.h"

#define ERAS 3u /* configurations */
#define ITEMS_MAX 256u

static struct consortium consortium;
static struct forge forge;
static struct story story;
static struct reform reform;
static struct entry *entries;
static struct sign_sink strict;

/* A new user; a replica replaced; and what the last configuration goes on with. */
static void tell(void) {
    struct charter *const charter = &reform.charter;
    struct action const user = charter_named(charter, ACTION_ADD_USER, "newcomer", 5000);
    story_append_honest(&story, 7);
    forge.signers = 0x7;
    reform_end(&reform, 1, &user);
    reform_start(&reform);
    story_append_honest(&story, 20);
    forge.signers = 0x7;
    struct action const replica = charter_replica(charter, &charter->now.replicas[2].identity.key,
                                                  charter->now.members[2].name, 6000);
    reform_end(&reform, 1, &replica);
    reform_start(&reform);
    story_append_honest(&story, 30);
}

static void set_up(void) {
    consortium_found(&consortium, &(struct consortium_options){0});
    forge_init(&forge, &consortium);
    story = (struct story){.forge = &forge, .random = 11};
    reform_init(&reform, &forge);
    strict = (struct sign_sink){.context = &consortium.configuration.service,
                                .check = history_check_signature};
}

static void tear_down(void) {
    free(entries);
    entries = NULL;
    reform_free(&reform);
    forge_free(&forge);
    consortium_free(&consortium);
}

TestSuite(history_eras, .init = set_up, .fini = tear_down, .timeout = 120);

/* ---- the ledger as a range ---- */

static struct range_message range_from(uint64_t first) {
    uint64_t const count = forge_entry_count(&forge);
    free(entries);
    entries = calloc(count, sizeof *entries);
    cr_assert(entries != NULL && first <= count);
    for (uint64_t i = first; i < count; i++) {
        entries[i - first] = forge_entry_at(&forge, i);
    }
    return (struct range_message){
        .first_entry = first, .count = (uint32_t)(count - first), .entries = entries};
}

/* ---- the driver ---- */

static struct history *begin(const struct constitution *constitution) {
    struct history *const history =
        history_new(&(struct history_options){.configuration = &consortium.configuration,
                                              .constitution = constitution,
                                              .genesis = buffer_span(&consortium.genesis_bytes)});
    cr_assert(history != NULL);
    return history;
}

static struct checkpoint_cut fill(const struct history *history) {
    struct checkpoint_cut cut = *history_cut(history);
    cr_assert(checkpoint_fill(&cut, history_engine(history)));
    return cut;
}

static void store(struct history *history) {
    struct checkpoint_cut const cut = fill(history);
    history_stored(history, cut.header.state_count, &cut.header.state_root);
}

static enum rule take(struct history *history, const struct range_message *range,
                      const struct sign_sink *sink) {
    enum rule rule = RULE_NONE;
    bool goes_on = true;
    while (goes_on) {
        rule = history_take(history, range, UINT64_MAX, sink);
        goes_on = rule == RULE_NONE && history_cut(history) != NULL;
        if (history_cut(history) != NULL) {
            store(history);
        }
    }
    return rule;
}

static void expect_constitution(const struct history *history, uint32_t era) {
    struct digest digests[2];
    const struct constitution *const in_force = history_constitution(history);
    cr_assert(in_force != NULL && constitution_digest(&digests[0], in_force));
    cr_assert(constitution_digest(&digests[1], &reform.constitutions[era]));
    cr_assert_eq(in_force->number, era + 1);
    cr_assert(digest_equal(&digests[0], &digests[1]));
}

static void expect_end(const struct history *history) {
    cr_assert(!history_failed(history));
    cr_assert_eq(history_seq(history), forge_seq(&forge));
    cr_assert_eq(history_next_entry(history), forge_entry_count(&forge));
    expect_constitution(history, ERAS - 1);
}

/* ---- ledgers that are right ---- */

Test(history_eras, it_goes_from_one_to_the_next) {
    tell();
    struct range_message const range = range_from(0);
    struct history *const history = begin(&reform.constitutions[0]);
    expect_constitution(history, 0);
    cr_assert_eq(take(history, &range, &strict), RULE_NONE);
    expect_end(history);
    history_free(history);
}

/* An entry more each time: what is not whole is left out and comes again. */
Test(history_eras, a_ledger_may_come_in_any_pieces) {
    tell();
    struct range_message const range = range_from(0);
    struct history *const history = begin(&reform.constitutions[0]);
    for (uint64_t end = 2; end <= range.count; end++) {
        uint64_t const first = history_next_entry(history);
        struct range_message const piece = {.first_entry = first,
                                            .count = (uint32_t)(end - first),
                                            .entries = range.entries + first};
        cr_assert_eq(take(history, &piece, &sign_sink_trust), RULE_NONE);
        cr_assert(!history_failed(history));
    }
    expect_end(history);
    history_free(history);
}

/* ---- beginning again at a checkpoint ---- */

struct kept {
    struct arena arena;
    struct buffer snapshot;
    struct constitution constitution;
    struct digest digest;
    uint64_t seq;
    uint32_t count;
    struct span keys[ITEMS_MAX];
    struct span values[ITEMS_MAX];
};

static struct span keep(struct kept *kept, struct span bytes) {
    uint8_t *const copy = arena_alloc(&kept->arena, bytes.size + 1);
    cr_assert(copy != NULL);
    if (bytes.size != 0) {
        memcpy(copy, bytes.data, bytes.size);
    }
    return span_of(copy, bytes.size);
}

static bool keep_item(void *context, struct span key, struct span value, bool deleted) {
    struct kept *const kept = context;
    cr_assert(!deleted && kept->count < ITEMS_MAX);
    kept->keys[kept->count] = keep(kept, key);
    kept->values[kept->count++] = keep(kept, value);
    return true;
}

static int kept_seek(void *context, struct span key, struct span *found_key, struct span *value) {
    const struct kept *const kept = context;
    for (uint32_t i = 0; i < kept->count; i++) {
        if (span_compare(kept->keys[i], key) >= 0) {
            *found_key = kept->keys[i];
            *value = kept->values[i];
            return 1;
        }
    }
    return 0;
}

static int kept_get(void *context, struct span key, struct span *value) {
    struct span found;
    return kept_seek(context, key, &found, value) == 1 && span_equal(found, key);
}

/* Everything that is stored with the checkpoint that is due. */
static void keep_all(struct kept *kept, const struct history *history) {
    struct checkpoint_cut const cut = fill(history);
    *kept = (struct kept){.constitution = *history_constitution(history), .seq = cut.header.seq};
    arena_init(&kept->arena, 1u << 22);
    buffer_init(&kept->snapshot, SNAPSHOT_SIZE_MAX);
    cr_assert(engine_visit_state(history_engine(history), kept->seq, keep_item, kept));
    cr_assert(checkpoint_cut_snapshot(&kept->snapshot, &cut, NULL));
    struct buffer header;
    buffer_init(&header, CHECKPOINT_HEADER_SIZE_MAX);
    cr_assert(checkpoint_cut_digest(&kept->digest, &header, &kept->constitution.service, &cut));
    buffer_free(&header);
}

static void kept_free(struct kept *kept) {
    buffer_free(&kept->snapshot);
    arena_free(&kept->arena);
}

static void load_window(struct history *history) {
    struct batch batch;
    uint64_t const first = history_window_entry(history);
    batch_init(&batch);
    for (uint64_t seq = 1; first != 0 && seq <= history_seq(history); seq++) {
        const struct forge_batch *const at = forge_batch_at(&forge, seq);
        if (at->first_entry + at->entry_count > first) {
            forge_read(&forge, seq, &batch);
            cr_assert(history_load_window(history, &batch));
        }
    }
    cr_assert(history_window_holds(history) && !history_failed(history));
    batch_free(&batch);
}

static struct history *begin_again(struct kept *kept, const struct configuration *configuration,
                                   const struct state_base *base) {
    struct history *const again =
        history_new(&(struct history_options){.configuration = configuration,
                                              .constitution = &kept->constitution,
                                              .genesis = buffer_span(&consortium.genesis_bytes),
                                              .base = base,
                                              .snapshot = buffer_span(&kept->snapshot)});
    cr_assert(again != NULL && history_leads_to(again, kept->seq, &kept->digest));
    load_window(again);
    return again;
}

/* Up to the next checkpoint: the store that the base stands for would change there. */
static enum rule take_piece(struct history *history) {
    struct range_message const rest = range_from(history_next_entry(history));
    return history_take(history, &rest, UINT64_MAX, &strict);
}

/* At every checkpoint, those where configurations end among them. */
Test(history_eras, it_goes_on_from_any_checkpoint) {
    static struct kept kept;
    static struct configuration configuration;
    uint32_t boundaries = 0;
    tell();
    struct history *const first = begin(&reform.constitutions[0]);
    struct range_message range = range_from(0);
    while (history_take(first, &range, UINT64_MAX, &sign_sink_trust) == RULE_NONE &&
           history_cut(first) != NULL) {
        keep_all(&kept, first);
        constitution_configuration(&configuration, &kept.constitution);
        struct state_base const base = {.context = &kept, .get = kept_get, .seek = kept_seek};
        struct history *const again = begin_again(&kept, &configuration, &base);
        uint64_t const number = kept.constitution.number;
        cr_assert_eq(take_piece(again), RULE_NONE);
        cr_assert(!history_failed(again) && history_seq(again) > kept.seq);
        boundaries += history_constitution(again)->number == number + 1;
        history_free(again);
        kept_free(&kept);
        store(first);
        range = range_from(0);
    }
    cr_assert_eq(boundaries, ERAS - 1);
    expect_end(first);
    history_free(first);
}

static bool is_boundary(const struct checkpoint_header *header) {
    return header->closing_seq != 0 && header->seq == header->closing_seq + CLOSING_BATCHES;
}

/* The state at the boundary is all that knows: without it there is no way on. */
Test(history_eras, a_state_that_does_not_say_what_follows) {
    static struct kept kept;
    tell();
    struct history *const first = begin(&reform.constitutions[0]);
    struct range_message const range = range_from(0);
    do {
        if (history_cut(first) != NULL) {
            store(first);
        }
        cr_assert_eq(history_take(first, &range, UINT64_MAX, &sign_sink_trust), RULE_NONE);
    } while (!is_boundary(&history_cut(first)->header));
    keep_all(&kept, first);
    history_free(first);
    for (uint32_t i = 0; i < kept.count; i++) {
        if (span_equal(kept.keys[i], span_text("g/c"))) {
            kept.values[i] = span_of(NULL, 0);
        }
    }
    struct state_base const base = {.context = &kept, .get = kept_get, .seek = kept_seek};
    struct history *const again = begin_again(&kept, &consortium.configuration, &base);
    cr_assert_eq(take_piece(again), RULE_NONE);
    cr_assert(history_failed(again));
    cr_assert_eq(history_seq(again), kept.seq);
    history_free(again);
    kept_free(&kept);
}

/* ---- ledgers that are wrong ---- */

/* It stands before the unit that is wrong, and says the same of it again. */
static void expect_refused(struct history *history, uint64_t stands, enum rule expected) {
    struct range_message const range = range_from(0);
    for (unsigned again = 0; again < 2; again++) {
        enum rule const rule = take(history, &range, &strict);
        cr_assert_eq(rule, expected, "%s instead of %s", rule_name(rule), rule_name(expected));
        cr_assert_eq(history_next_entry(history), stands);
        cr_assert(!history_failed(history));
    }
    history_free(history);
}

/* Whoever does not govern takes a proposal for a lie. */
Test(history_eras, without_governance_it_does_not_go_on) {
    story_append_honest(&story, 4);
    uint64_t const stands = forge_entry_count(&forge);
    struct action const user = charter_named(&reform.charter, ACTION_ADD_USER, "newcomer", 5000);
    (void)reform_vote(&reform, 1, &user);
    expect_refused(begin(NULL), stands, RULE_OUTCOME);
}

/* In the second configuration, and where it begins. */
Test(history_eras, what_breaks_a_rule_is_refused_in_each) {
    static const enum rule rules[] = {
        RULE_SIGNATURE,      RULE_CONFIGURATION,      RULE_BATCH_KIND, RULE_GOVERNANCE_INDEX,
        RULE_EVIDENCE_NONCE, RULE_EVIDENCE_SIGNATURE, RULE_TIME,       RULE_OUTCOME};
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        tell();
        uint64_t const stands = forge_entry_count(&forge);
        story_append(&story, 2, 1, rules[i]);
        story_append(&story, 1, 1, RULE_NONE);
        expect_refused(begin(&reform.constitutions[0]), stands, rules[i]);
        tear_down();
        set_up();
    }
}
