/*
 * view_random: random histories of batches and new views that keep the rules are accepted, going
 * back and forth between ways, after a start from a checkpoint taken anywhere, and from genesis;
 * and no byte of a new view can be changed without being refused, and without convicting anybody.
 */
#include <criterion/criterion.h>

#include "base/prng.h"
#include "execution/replay.h"
#include "tests/unit/view_fixture.h"

#define Q 3u
#define STEPS 120u
#define SEEDS 12u
#define CERTIFICATES_MAX 24u /* the latest ones, which somebody may show */

static struct consortium consortium;
static struct book book;
static struct prng prng;

static void set_up(void) {
    consortium_found(&consortium, &(struct consortium_options){.checkpoint_interval = 1000});
}

static void tear_down(void) {
    consortium_free(&consortium);
}

TestSuite(view_random, .init = set_up, .fini = tear_down, .timeout = 120);

/* ---- certificates that somebody may hold ---- */

struct held {
    uint32_t count;
    const struct book_batch *batches[CERTIFICATES_MAX];
};

/* Only a batch from view_start on ranks. */
static void hold(struct held *held, const struct book_batch *batch) {
    if (batch->body.seq < batch->body.view_start) {
        return;
    }
    if (held->count == CERTIFICATES_MAX) {
        memmove(&held->batches[0], &held->batches[1],
                (CERTIFICATES_MAX - 1) * sizeof held->batches[0]);
        held->count--;
    }
    held->batches[held->count++] = batch;
}

/* Often the latest, sometimes an older one, seldom none. NULL: none. */
static const struct book_batch *show(const struct held *held) {
    if (held->count == 0 || prng_chance(&prng, 20)) {
        return NULL;
    }
    uint64_t const back = prng_chance(&prng, 600) ? 0 : prng_below(&prng, 6);
    return held->batches[held->count - 1 - (back < held->count ? back : held->count - 1)];
}

/* ---- steps ---- */

static uint64_t random_quorum(uint64_t view) {
    uint64_t const left_out = (view + prng_between(&prng, 1, 3)) % 4;
    return 0xf & ~(UINT64_C(1) << left_out);
}

/* A batch by the rules: what is owed, or something new, with as little evidence as they allow. */
static void step_batch(struct held *held) {
    const struct ledger_position *const now = book_now(&book);
    const struct book_batch *const owed = book_owed(&book);
    uint64_t const pipeline = consortium.configuration.parameters.pipeline;
    bool const is_first = now->view != 0 && now->seq == now->view_seq;
    uint64_t least = now->seq + 1 > pipeline ? now->seq + 1 - pipeline : 0;
    least = least < now->evidence_upto ? now->evidence_upto : least;
    uint64_t const upto = is_first ? now->seq : prng_between(&prng, least, now->seq);
    struct batch_order const order = {
        .again = owed,
        .request_count = (uint32_t)prng_between(&prng, upto > now->evidence_upto ? 0 : 1, 3),
        .evidence_upto = upto,
        .signers = random_quorum(now->view),
    };
    struct book_batch *const batch = book_draft(&book, &order);
    book_sign(&book, batch);
    expect_rule(book_add(&book, batch), RULE_NONE);
    hold(held, batch);
}

static const struct book_batch *highest_of(const struct book_batch *const *shown) {
    const struct book_batch *highest = NULL;
    for (uint32_t i = 0; i < Q; i++) {
        bool const is_higher =
            shown[i] != NULL &&
            (highest == NULL || shown[i]->body.view > highest->body.view ||
             (shown[i]->body.view == highest->body.view && shown[i]->body.seq > highest->body.seq));
        highest = is_higher ? shown[i] : highest;
    }
    return highest;
}

/* Any quorum asks for a later view, each showing some certificate of an earlier one. */
static void step_view(struct held *held) {
    const struct book_batch *shown[Q];
    struct signed_body claims[Q];
    struct view_draft draft;
    uint64_t view = 0;
    uint32_t const left_out = (uint32_t)prng_below(&prng, 4);
    for (uint32_t i = 0; i < Q; i++) {
        shown[i] = show(held);
        view = shown[i] != NULL && shown[i]->body.view > view ? shown[i]->body.view : view;
    }
    view += 1 + (prng_chance(&prng, 200) ? prng_below(&prng, 5) : 0);
    for (uint32_t i = 0; i < Q; i++) {
        claims[i] =
            book_claim(&book, &(struct claim_order){i < left_out ? i : i + 1, view, shown[i]});
    }
    book_go(&book, book_base_of(&book, highest_of(shown)));
    book_draft_view(&book, &draft, view, claims, Q);
    expect_rule(book_enter(&book, book_sign_view(&book, &draft)), RULE_NONE);
}

/* ---- a second checker, from a checkpoint taken anywhere ---- */

static struct checker *load_here(void) {
    struct checkpoint_cut cut;
    struct buffer encoded;
    struct checker_snapshot decoded;
    struct arena arena;
    struct checker *const checker = checker_new(&consortium.configuration);
    checker_cut(book.checker, &cut);
    cut.header.state_root = merkle_empty_root();
    arena_init(&arena, 1u << 24);
    buffer_init(&encoded, SNAPSHOT_SIZE_MAX);
    cr_assert(checkpoint_cut_snapshot(&encoded, &cut, checker_window(book.checker)));
    cr_assert_eq(checker_snapshot_decode(&decoded, &arena, buffer_span(&encoded)), CODEC_OK);
    cr_assert(checker_load(checker, &decoded, &arena, false));
    buffer_free(&encoded);
    arena_free(&arena);
    book_expect_position(checker, book_now(&book));
    return checker;
}

/* ---- histories ---- */

static void run(uint64_t seed) {
    struct held held = {.count = 0};
    struct checker *second = NULL;
    const struct book_unit *loaded_at = NULL;
    prng_init(&prng, seed);
    book_open(&book, &consortium);
    for (uint32_t step = 0; step < STEPS; step++) {
        if (prng_chance(&prng, 150)) {
            step_view(&held);
        } else {
            step_batch(&held);
        }
        if (second != NULL && prng_chance(&prng, 300)) {
            if (book_is_on_way(&book, loaded_at)) {
                book_follow(&book, second, loaded_at, &sign_sink_trust);
            }
            checker_free(second);
            second = NULL;
        }
        if (second == NULL && book.end->batch != NULL) {
            second = load_here();
            loaded_at = book.end;
        }
    }
    checker_free(second);
    struct checker *const fresh = checker_new(&consortium.configuration);
    struct sign_sink const sink = book_sink(&book);
    checker_start(fresh, buffer_span(&consortium.genesis_bytes));
    book_follow(&book, fresh, book.genesis, &sink);
    checker_free(fresh);
    book_close(&book);
}

Test(view_random, histories_by_the_rules_are_accepted) {
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        run(seed);
    }
}

/* ---- changed bytes ---- */

/* What a reader of these two entries finds, and the position stays. */
static enum rule judge_bytes(struct span set_payload, struct span entry_payload) {
    struct sign_sink const sink = book_sink(&book);
    struct view_unit unit;
    struct arena arena;
    enum rule rule = RULE_ENTRY_ENCODING;
    arena_init(&arena, 1u << 24);
    if (view_unit_decode(&unit, &arena, set_payload, entry_payload) == CODEC_OK) {
        rule = checker_view_add(book.checker, &unit, &sink);
    }
    arena_free(&arena);
    book_expect_position(book.checker, book_now(&book));
    return rule;
}

static void expect_bytes_bound(const struct view_unit *unit, bool in_set) {
    struct span const payload = in_set ? unit->set_payload : unit->entry_payload;
    struct buffer changed;
    buffer_init(&changed, payload.size);
    cr_assert(buffer_append(&changed, payload));
    for (size_t at = 0; at < payload.size; at++) {
        uint8_t const mask = (uint8_t)(1u << prng_below(&prng, 8));
        changed.data[at] ^= mask;
        enum rule const rule = in_set ? judge_bytes(buffer_span(&changed), unit->entry_payload)
                                      : judge_bytes(unit->set_payload, buffer_span(&changed));
        cr_assert_neq(rule, RULE_NONE, "byte %zu", at);
        cr_assert(!rule_convicts(rule), "byte %zu convicts: %s", at, rule_name(rule));
        changed.data[at] ^= mask;
    }
    buffer_free(&changed);
}

/* A new view with different certificates in it, where it is to be appended. */
static const struct view_unit *mixed_view(struct view_draft *draft) {
    struct signed_body claims[Q];
    book_append(&book, 5);
    book_append_bare(&book, 2);
    const struct book_batch *const last = book.end->last;
    claims[0] = book_claim(&book, &(struct claim_order){0, 5, book_batch_at(&book, 6)});
    claims[1] = book_claim(&book, &(struct claim_order){2, 5, last});
    claims[2] = book_claim(&book, &(struct claim_order){3, 5, NULL});
    book_go(&book, book_base_of(&book, last));
    book_draft_view(&book, draft, 5, claims, Q);
    return &book_sign_view(&book, draft)->unit;
}

Test(view_random, a_changed_byte_convicts_nobody) {
    struct view_draft draft;
    prng_init(&prng, 99);
    book_open(&book, &consortium);
    const struct view_unit *const unit = mixed_view(&draft);
    expect_bytes_bound(unit, true);
    expect_bytes_bound(unit, false);
    expect_rule(judge_bytes(unit->set_payload,
                            span_of(unit->entry_payload.data, unit->entry_payload.size - 1)),
                RULE_ENTRY_ENCODING);
    expect_rule(book_enter(&book, book_sign_view(&book, &draft)), RULE_NONE);
    book_close(&book);
}

/* And when the new primary signs what was changed, it has signed something that is refused. */
Test(view_random, a_changed_view_change_cannot_be_used) {
    struct view_draft draft;
    prng_init(&prng, 100);
    book_open(&book, &consortium);
    (void)mixed_view(&draft);
    for (uint32_t i = 0; i < Q; i++) {
        struct view_draft changed;
        struct signed_body claims[Q];
        struct buffer body;
        buffer_init(&body, VIEW_CHANGE_SIZE_MAX);
        cr_assert(buffer_append(&body, draft.claims[i].body));
        for (size_t at = 0; at < body.size; at += 1 + prng_below(&prng, 16)) {
            uint8_t const mask = (uint8_t)(1u << prng_below(&prng, 8));
            memcpy(claims, draft.claims, sizeof claims);
            claims[i].body = buffer_span(&body);
            body.data[at] ^= mask;
            book_draft_view(&book, &changed, 5, claims, Q);
            expect_rule(book_enter(&book, book_sign_view(&book, &changed)), RULE_VIEW_CHANGES);
            body.data[at] ^= mask;
        }
        buffer_free(&body);
    }
    book_close(&book);
}

/* No byte of a new view's statement can be another, whoever signs it. */
Test(view_random, a_new_view_follows_from_its_view_changes) {
    struct view_draft draft;
    struct arena arena;
    uint32_t decoded = 0;
    prng_init(&prng, 101);
    book_open(&book, &consortium);
    const struct view_unit *const unit = mixed_view(&draft);
    struct buffer body;
    arena_init(&arena, 1u << 20);
    buffer_init(&body, STATEMENT_SIZE_MAX);
    cr_assert(buffer_append(&body, unit->statement.body));
    for (size_t bit = 0; bit < 8 * body.size; bit++) {
        struct view_unit changed = *unit;
        body.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        arena_reset(&arena);
        if (new_view_decode(&changed.new_view, &arena, buffer_span(&body)) == CODEC_OK) {
            const struct key_pair *const pair =
                &consortium.replicas[changed.new_view.view % 4].signing;
            struct sign_sink const sink = book_sink(&book);
            changed.statement.body = buffer_span(&body);
            changed.statement.signature =
                sign_labelled(&pair->secret, &pair->key, LABEL_NEW_VIEW,
                              &consortium.configuration.service, buffer_span(&body));
            cr_assert_neq(checker_view_add(book.checker, &changed, &sink), RULE_NONE, "bit %zu",
                          bit);
            decoded++;
        }
        body.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    cr_assert_gt(decoded, body.size);
    buffer_free(&body);
    arena_free(&arena);
    book_close(&book);
}
