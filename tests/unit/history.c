/*
 * history: tests of execution/history.h: a ledger with changes of view, written by tests/forge, is
 * read a second time. A right one leads to the checkpoints that the forge knows, however it is cut
 * and wherever it begins again; a wrong one is refused at the unit that is wrong.
 */
#include "execution/history.h"

#include <criterion/criterion.h>

#include "execution/checkpoint.h"
#include "tests/forge/story.h"

#define INTERVAL 12u /* C of the consortium */
#define LIE_AFTER 21u
#define ITEMS_MAX 256u

static struct consortium consortium;
static struct forge forge;
static struct story story;
static struct entry *entries;
static struct sign_sink strict;

static void set_up(void) {
    consortium_found(&consortium, &(struct consortium_options){0});
    forge_init(&forge, &consortium);
    story = (struct story){.forge = &forge, .random = 11};
    strict = (struct sign_sink){.context = &consortium.configuration.service,
                                .check = history_check_signature};
}

static void tear_down(void) {
    free(entries);
    entries = NULL;
    forge_free(&forge);
    consortium_free(&consortium);
}

TestSuite(history, .init = set_up, .fini = tear_down, .timeout = 120);

/* ---- the ledger as a range ---- */

/* All that the forge wrote, from one entry on. */
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

/* Where the last whole unit before `end` ends, as the forge laid them down. */
static uint64_t unit_end(uint64_t end) {
    uint64_t last = 1; /* genesis */
    for (uint64_t seq = 1; seq <= forge_seq(&forge); seq++) {
        const struct forge_batch *const at = forge_batch_at(&forge, seq);
        uint64_t const after = at->first_entry + at->entry_count;
        last = after <= end && after > last ? after : last;
    }
    for (size_t at = 0; at < forge.views.size; at += sizeof(struct forge_view)) {
        struct forge_view view;
        memcpy(&view, forge.views.data + at, sizeof view);
        uint64_t const after = view.first_entry + 2;
        last = after <= end && after > last ? after : last;
    }
    return last;
}

static struct digest checkpoint_of(uint64_t seq) {
    struct digest digest;
    struct forge_checkpoint checkpoint;
    memcpy(&checkpoint, forge.checkpoints.data + seq / INTERVAL * sizeof checkpoint,
           sizeof checkpoint);
    memcpy(digest.bytes, checkpoint.digest.bytes, DIGEST_SIZE);
    return digest;
}

static void tell(uint32_t batches) {
    story_append_honest(&story, batches / 2);
    forge_change_view(&forge, &(struct forge_view_order){.view = 1});
    story_append_honest(&story, batches - batches / 2);
}

/* ---- the driver ---- */

static struct history *begin(const struct state_base *base, struct span snapshot) {
    struct history *const history =
        history_new(&(struct history_options){.configuration = &consortium.configuration,
                                              .genesis = buffer_span(&consortium.genesis_bytes),
                                              .base = base,
                                              .snapshot = snapshot});
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

/* Take and store until the range ends or a rule is broken. */
static enum rule take(struct history *history, const struct range_message *range, uint64_t end,
                      const struct sign_sink *sink) {
    enum rule rule = RULE_NONE;
    bool goes_on = true;
    while (goes_on) {
        rule = history_take(history, range, end, sink);
        goes_on = rule == RULE_NONE && history_cut(history) != NULL;
        if (history_cut(history) != NULL) {
            store(history);
        }
    }
    return rule;
}

static void expect_end(const struct history *history) {
    uint64_t const seq = forge_seq(&forge);
    uint64_t const last = seq - seq % INTERVAL;
    struct digest digest = checkpoint_of(last);
    cr_assert(!history_failed(history));
    cr_assert(history_seq(history) == seq);
    cr_assert(history_next_entry(history) == forge_entry_count(&forge));
    cr_assert(history_leads_to(history, last, &digest));
    cr_assert(!history_leads_to(history, last - INTERVAL, &digest));
    digest.bytes[31] ^= 1;
    cr_assert(!history_leads_to(history, last, &digest));
}

/* ---- ledgers that are right ---- */

Test(history, a_right_ledger_leads_to_its_checkpoint) {
    tell(50);
    struct range_message const range = range_from(0);
    struct history *const history = begin(NULL, (struct span){0});
    cr_assert(history_next_entry(history) == 1 && history_seq(history) == 0);
    cr_assert(history_window_entry(history) == 0 && history_window_holds(history));
    cr_assert(take(history, &range, UINT64_MAX, &strict) == RULE_NONE);
    expect_end(history);
    history_free(history);
}

/* What is not whole is left out, and taken when the rest of it has come. */
Test(history, a_ledger_may_be_cut_anywhere) {
    tell(30);
    struct range_message const range = range_from(0);
    for (uint64_t end = 1; end <= range.count; end++) {
        struct history *const history = begin(NULL, (struct span){0});
        struct range_message shorter = range;
        shorter.count = (uint32_t)end;
        cr_assert(take(history, &shorter, UINT64_MAX, &sign_sink_trust) == RULE_NONE);
        cr_assert(history_next_entry(history) == unit_end(end), "cut at %d", (int)end);
        uint64_t const stands = history_next_entry(history);
        cr_assert(take(history, &range, end, &sign_sink_trust) ==
                  RULE_NONE); /* told to end there */
        cr_assert(history_next_entry(history) == stands);
        struct range_message rest = range;
        rest.first_entry = stands;
        rest.entries += stands;
        rest.count -= (uint32_t)stands;
        cr_assert(take(history, &rest, UINT64_MAX, &sign_sink_trust) == RULE_NONE);
        expect_end(history);
        history_free(history);
    }
}

Test(history, a_range_that_lies_elsewhere_is_refused) {
    tell(12);
    struct history *const history = begin(NULL, (struct span){0});
    struct range_message range = range_from(2); /* a gap */
    cr_assert(history_take(history, &range, UINT64_MAX, &strict) == RULE_ENTRY_ORDER);
    range = range_from(0);
    range.count = 0; /* it ends before */
    cr_assert(history_take(history, &range, UINT64_MAX, &strict) == RULE_ENTRY_ORDER);
    range = range_from(1);
    cr_assert(history_seq(history) == 0);
    cr_assert(take(history, &range, UINT64_MAX, &strict) == RULE_NONE);
    expect_end(history);
    history_free(history);
}

/* ---- beginning again at a checkpoint ---- */

/* A state as a store holds it: items in key order. */
struct kept_state {
    struct arena arena;
    uint32_t count;
    struct span keys[ITEMS_MAX];
    struct span values[ITEMS_MAX];
};

static struct span keep(struct kept_state *kept, struct span bytes) {
    uint8_t *const copy = arena_alloc(&kept->arena, bytes.size + 1);
    cr_assert(copy != NULL);
    if (bytes.size != 0) {
        memcpy(copy, bytes.data, bytes.size);
    }
    return span_of(copy, bytes.size);
}

static bool keep_item(void *context, struct span key, struct span value, bool deleted) {
    struct kept_state *const kept = context;
    cr_assert(!deleted && kept->count < ITEMS_MAX);
    kept->keys[kept->count] = keep(kept, key);
    kept->values[kept->count++] = keep(kept, value);
    return true;
}

static int compare(struct span a, struct span b) {
    size_t const shared = a.size < b.size ? a.size : b.size;
    int const order = memcmp(a.data, b.data, shared);
    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

static int kept_seek(void *context, struct span key, struct span *found_key, struct span *value) {
    const struct kept_state *const kept = context;
    for (uint32_t i = 0; i < kept->count; i++) {
        if (key.size == 0 || compare(kept->keys[i], key) >= 0) {
            *found_key = kept->keys[i];
            *value = kept->values[i];
            return 1;
        }
    }
    return 0;
}

static int kept_get(void *context, struct span key, struct span *value) {
    struct span found;
    return kept_seek(context, key, &found, value) == 1 && compare(found, key) == 0;
}

static void load_window(struct history *history) {
    struct batch batch;
    uint64_t const first = history_window_entry(history);
    batch_init(&batch);
    cr_assert(first != 0 && !history_window_holds(history));
    for (uint64_t seq = 1; seq <= history_seq(history); seq++) {
        const struct forge_batch *const at = forge_batch_at(&forge, seq);
        if (at->first_entry + at->entry_count > first) {
            forge_read(&forge, seq, &batch);
            cr_assert(history_load_window(history, &batch));
        }
    }
    cr_assert(history_window_holds(history) && !history_failed(history));
    batch_free(&batch);
}

Test(history, it_goes_on_from_the_checkpoint_stored_last) {
    tell(52);
    static struct kept_state kept;
    struct buffer snapshot;
    struct range_message const range = range_from(0);
    struct history *const first = begin(NULL, (struct span){0});
    arena_init(&kept.arena, 1u << 20);
    buffer_init(&snapshot, SNAPSHOT_SIZE_MAX);
    while (history_take(first, &range, UINT64_MAX, &sign_sink_trust) == RULE_NONE &&
           history_cut(first)->header.seq != 3 * (uint64_t)INTERVAL) {
        store(first);
    }
    struct checkpoint_cut const cut = fill(first);
    cr_assert(engine_visit_state(history_engine(first), cut.header.seq, keep_item, &kept));
    cr_assert(kept.count == cut.header.state_count && kept.count != 0);
    cr_assert(checkpoint_cut_snapshot(&snapshot, &cut, NULL));
    history_free(first);

    struct state_base const base = {.context = &kept, .get = kept_get, .seek = kept_seek};
    struct history *const again = begin(&base, buffer_span(&snapshot));
    struct digest const digest = checkpoint_of(3 * (uint64_t)INTERVAL);
    cr_assert(history_seq(again) == 3 * (uint64_t)INTERVAL);
    cr_assert(history_leads_to(again, 3 * (uint64_t)INTERVAL, &digest));
    load_window(again);
    struct range_message const rest = range_from(history_next_entry(again));
    cr_assert(history_take(again, &rest, UINT64_MAX, &strict) == RULE_NONE);
    struct checkpoint_cut const next = fill(again);
    struct digest const right = checkpoint_of(next.header.seq);
    history_stored(again, next.header.state_count, &next.header.state_root);
    cr_assert(history_leads_to(again, next.header.seq, &right));
    history_free(again);
    buffer_free(&snapshot);
    arena_free(&kept.arena);
}

Test(history, a_snapshot_that_is_none_is_not_loaded) {
    static const uint8_t bytes[] = {1, 2, 3};
    struct history_options const options = {.configuration = &consortium.configuration,
                                            .genesis = buffer_span(&consortium.genesis_bytes),
                                            .snapshot = span_of(bytes, sizeof bytes)};
    cr_assert(history_new(&options) == NULL);
}

/* ---- ledgers that are wrong ---- */

/* It stands before the unit that is wrong, and says the same of it again. */
static void expect_refused(uint64_t stands, enum rule expected) {
    struct range_message const range = range_from(0);
    struct history *const history = begin(NULL, (struct span){0});
    for (unsigned again = 0; again < 2; again++) {
        enum rule const rule = take(history, &range, UINT64_MAX, &strict);
        cr_assert(rule == expected, "%s instead of %s", rule_name(rule), rule_name(expected));
        cr_assert(history_next_entry(history) == stands);
        cr_assert(!history_failed(history));
    }
    history_free(history);
}

Test(history, what_breaks_a_rule_is_refused) {
    static const enum rule rules[] = {
        RULE_ENTRY_ENCODING,     RULE_ENTRY_ORDER,       RULE_SIGNATURE,   RULE_LEDGER_ROOT,
        RULE_BATCH_ROOT,         RULE_SEQUENCE,          RULE_FIRST_INDEX, RULE_EVIDENCE_NONCE,
        RULE_EVIDENCE_SIGNATURE, RULE_CHECKPOINT_DIGEST, RULE_TIME,        RULE_OUTCOME,
    };
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        story_append_honest(&story, LIE_AFTER);
        uint64_t const stands = forge_entry_count(&forge);
        story_append(&story, 2, 1, rules[i]);
        story_append(&story, 1, 1, RULE_NONE);
        expect_refused(stands, rules[i]);
        tear_down();
        set_up();
    }
}

Test(history, a_new_view_that_breaks_a_rule_is_refused) {
    static const enum rule rules[] = {RULE_VIEW_CHOICE, RULE_VIEW_CHANGES};
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        story_append_honest(&story, LIE_AFTER);
        forge_change_view(
            &forge, &(struct forge_view_order){.view = 1, .only_enter = true, .lie = rules[i]});
        expect_refused(forge_entry_count(&forge) - 2, rules[i]);
        tear_down();
        set_up();
    }
}

/* Another state than the one that was signed: the ledger's own batches say so later. */
Test(history, a_wrong_state_does_not_lead_to_the_checkpoint) {
    story_append_honest(&story, 3 * INTERVAL);
    struct range_message const range = range_from(0);
    struct history *const history = begin(NULL, (struct span){0});
    struct digest const right = checkpoint_of(INTERVAL);
    cr_assert(history_take(history, &range, UINT64_MAX, &sign_sink_trust) == RULE_NONE);
    struct checkpoint_cut wrong = fill(history);
    cr_assert(wrong.header.seq == INTERVAL);
    wrong.header.state_root.bytes[0] ^= 1;
    history_stored(history, wrong.header.state_count, &wrong.header.state_root);
    cr_assert(!history_leads_to(history, INTERVAL, &right));
    cr_assert(take(history, &range, UINT64_MAX, &sign_sink_trust) == RULE_CHECKPOINT_DIGEST);
    cr_assert(history_seq(history) == 2 * INTERVAL - 1); /* the first batch that carries it */
    history_free(history);
}

/* ---- a store that fails ---- */

static int fail_get(void *context, struct span key, struct span *value) {
    (void)context;
    (void)key;
    (void)value;
    return -1;
}

static int fail_seek(void *context, struct span key, struct span *found_key, struct span *value) {
    (void)found_key;
    return fail_get(context, key, value);
}

Test(history, a_store_that_fails_is_told) {
    static const char *const calls[] = {"kv.get a"};
    struct state_base const base = {.get = fail_get, .seek = fail_seek};
    story_append_order(
        &story, &(struct order){.author = &consortium.users[0], .call_count = 1, .calls = calls},
        RULE_NONE, 0);
    struct range_message const range = range_from(0);
    struct history *const history = begin(&base, (struct span){0});
    enum rule const rule = history_take(history, &range, UINT64_MAX, &strict);
    cr_assert(history_failed(history), "%s", rule_name(rule)); /* whatever it says of rules */
    cr_assert(history_seq(history) == 0);
    history_free(history);
}
