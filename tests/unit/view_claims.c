/*
 * view_claims: view-changes that must not be believed. Each lie is told by one of the Q authors,
 * first or last in the set, and makes a new view that breaks RULE_VIEW_CHANGES and nothing else.
 *
 * The ledger: batches 1..5, each with evidence for all before it, then 6 and 7 without; so the
 * chain of batch 7 is 5, 6, 7 behind batch 4, and its first item has evidence.
 */
#include <criterion/criterion.h>

#include "ledger/derive.h"
#include "tests/unit/view_fixture.h"

#define Q 3u
#define LAST 7u
#define VIEW 8u
#define CHAIN 3u

static struct consortium consortium;
static struct book book;
static const struct book_batch *last;

static void set_up(void) {
    consortium_found(&consortium, &(struct consortium_options){.checkpoint_interval = 1000});
    book_open(&book, &consortium);
    book_append(&book, 5);
    book_append_bare(&book, 2);
    last = book_batch_at(&book, LAST);
}

static void tear_down(void) {
    book_close(&book);
    consortium_free(&consortium);
}

TestSuite(view_claims, .init = set_up, .fini = tear_down, .timeout = 120);

/* ---- telling a lie ---- */

/* A set of view-changes that must be refused at the base of the honest chain. */
static void expect_set(const struct signed_body *claims, uint32_t count, enum rule expected) {
    struct view_draft draft;
    const struct book_unit *const end = book.end;
    book_go(&book, book_base_of(&book, last));
    book_draft_view(&book, &draft, VIEW, claims, count);
    expect_rule(book_enter(&book, book_sign_view(&book, &draft)), expected);
    book_go(&book, end);
}

/* One view-change that is refused by itself, and makes the new view fail wherever it stands. */
static void expect_refused(const struct signed_body *refused, const char *what) {
    static const uint32_t places[] = {0, Q - 1};
    struct sign_sink const sink = book_sink(&book);
    struct view_claim claim;
    struct arena arena;
    arena_init(&arena, 1u << 22);
    cr_assert_eq(view_change_judge(&claim, &arena, &consortium.configuration, refused, &sink),
                 RULE_VIEW_CHANGES, "%s", what);
    arena_free(&arena);
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        struct signed_body claims[Q];
        book_claims(&book, claims, VIEW, last);
        claims[places[i]] = *refused;
        expect_set(claims, Q, RULE_VIEW_CHANGES);
    }
}

typedef void (*claim_lie)(struct claim_draft *draft);

static void expect_lies(const struct book_batch *shown, claim_lie lie, const char *what) {
    struct claim_draft draft;
    book_draft_claim(&book, &draft, &(struct claim_order){.view = VIEW, .last = shown});
    lie(&draft);
    struct signed_body const claim = book_sign_claim(&book, &draft);
    expect_refused(&claim, what);
}

struct named_lie {
    const char *what;
    claim_lie lie;
};

static void expect_all(const struct named_lie *lies, size_t count) {
    for (size_t i = 0; i < count; i++) {
        expect_lies(last, lies[i].lie, lies[i].what);
    }
}

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

Test(view_claims, the_truth_is_believed) {
    struct signed_body claims[Q];
    cr_assert(rule_convicts(RULE_VIEW_CHANGES));
    book_claims(&book, claims, VIEW, last);
    expect_set(claims, Q, RULE_NONE);
}

/* ---- the set ---- */

/* A set of honest view-changes of these replicas, in this order. */
static void expect_authors(const uint32_t *authors, uint32_t count, enum rule expected) {
    struct signed_body claims[REPLICAS_MAX];
    for (uint32_t i = 0; i < count; i++) {
        claims[i] = book_claim(&book, &(struct claim_order){authors[i], VIEW, last});
    }
    expect_set(claims, count, expected);
}

Test(view_claims, are_of_exactly_a_quorum) {
    expect_authors((const uint32_t[]){0}, 1, RULE_VIEW_CHANGES);
    expect_authors((const uint32_t[]){0, 1}, 2, RULE_VIEW_CHANGES);
    expect_authors((const uint32_t[]){0, 1, 2}, 3, RULE_NONE);
    expect_authors((const uint32_t[]){0, 1, 2, 3}, 4, RULE_VIEW_CHANGES);
}

Test(view_claims, are_of_different_replicas_in_order) {
    static const uint32_t bad[][Q] = {{0, 0, 1}, {0, 1, 1}, {1, 0, 2}, {0, 2, 1},
                                      {2, 1, 0}, {3, 3, 3}, {1, 2, 0}, {0, 1, 0}};
    for (size_t i = 0; i < COUNT(bad); i++) {
        expect_authors(bad[i], Q, RULE_VIEW_CHANGES);
    }
    expect_authors((const uint32_t[]){1, 2, 3}, Q, RULE_NONE);
}

/* Each of them holds by itself; only this new view is not what it asks for. */
Test(view_claims, ask_for_this_view) {
    static const uint64_t asked[] = {VIEW - 1, VIEW + 1, VIEW + 4, 1};
    for (size_t i = 0; i < COUNT(asked); i++) {
        for (uint32_t place = 0; place < Q; place++) {
            struct signed_body claims[Q];
            book_claims(&book, claims, VIEW, last);
            claims[place] = book_claim(&book, &(struct claim_order){place, asked[i], last});
            expect_set(claims, Q, RULE_VIEW_CHANGES);
            claims[place] = book_claim(&book, &(struct claim_order){place, asked[i], NULL});
            expect_set(claims, Q, RULE_VIEW_CHANGES);
        }
    }
}

/* ---- the author's statement ---- */

static void lie_config(struct claim_draft *draft) {
    draft->body.config++;
}

static void lie_replica(struct claim_draft *draft) {
    draft->body.replica = 4; /* signed by replica 0 */
}

Test(view_claims, are_of_replicas_of_this_configuration) {
    static const struct named_lie lies[] = {{"configuration", lie_config},
                                            {"replica", lie_replica}};
    expect_all(lies, COUNT(lies));
}

Test(view_claims, are_signed_by_their_author) {
    struct signed_body const other = book_claim(&book, &(struct claim_order){1, VIEW, last});
    for (uint32_t bit = 0; bit < 8 * SIGNATURE_SIZE; bit += 73) {
        struct signed_body claim = book_claim(&book, &(struct claim_order){0, VIEW, last});
        claim.signature.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        expect_refused(&claim, "flipped signature");
    }
    struct signed_body claim = book_claim(&book, &(struct claim_order){0, VIEW, last});
    claim.signature = other.signature;
    expect_refused(&claim, "another's signature");
}

Test(view_claims, are_of_this_service) {
    struct digest other = consortium.configuration.service;
    const struct key_pair *const pair = &consortium.replicas[0].signing;
    struct signed_body claim = book_claim(&book, &(struct claim_order){0, VIEW, last});
    claim.signature =
        sign_labelled(&pair->secret, &pair->key, LABEL_VIEW_CHANGE, &other, claim.body);
    struct signed_body claims[Q];
    book_claims(&book, claims, VIEW, last);
    claims[0] = claim;
    expect_set(claims, Q, RULE_NONE); /* signed again as it was */
    other.bytes[0] ^= 1;
    claim.signature =
        sign_labelled(&pair->secret, &pair->key, LABEL_VIEW_CHANGE, &other, claim.body);
    expect_refused(&claim, "another service");
    claim.signature = sign_labelled(&pair->secret, &pair->key, LABEL_NEW_VIEW,
                                    &consortium.configuration.service, claim.body);
    expect_refused(&claim, "another label");
}

Test(view_claims, must_decode) {
    static const char *const bodies[] = {"x", "not protobuf at all"};
    const struct key_pair *const pair = &consortium.replicas[0].signing;
    for (size_t i = 0; i < COUNT(bodies); i++) {
        struct signed_body const claim = {
            .body = span_text(bodies[i]),
            .signature = sign_labelled(&pair->secret, &pair->key, LABEL_VIEW_CHANGE,
                                       &consortium.configuration.service, span_text(bodies[i])),
        };
        expect_refused(&claim, bodies[i]);
    }
}

/* ---- the certificate ---- */

static void lie_prepare(struct claim_draft *draft) {
    draft->signatures[1].bytes[9] ^= 1;
}

static void lie_prepare_order(struct claim_draft *draft) {
    struct signature const first = draft->signatures[0];
    draft->signatures[0] = draft->signatures[1];
    draft->signatures[1] = first;
}

static void lie_nonce_hash(struct claim_draft *draft) {
    draft->nonce_hashes[0].bytes[0] ^= 1;
}

static void lie_signer(struct claim_draft *draft) {
    draft->body.signers = 0xa; /* it was replica 2 */
}

static void lie_other_batch(struct claim_draft *draft) {
    struct claim_draft other;
    book_draft_claim(&book, &other, &(struct claim_order){.last = book_batch_at(&book, 6)});
    memcpy(draft->signatures, other.signatures, sizeof other.signatures);
    memcpy(draft->nonce_hashes, other.nonce_hashes, sizeof other.nonce_hashes);
}

/* The signatures hold in what follows; the signers do not make a certificate. */
static void lie_primary_signs(struct claim_draft *draft) {
    book_certify(&book, draft, 0x3);
}

static void lie_primary_signs_too(struct claim_draft *draft) {
    book_certify(&book, draft, 0x7);
}

static void lie_too_few(struct claim_draft *draft) {
    book_certify(&book, draft, 0x4);
}

static void lie_too_many(struct claim_draft *draft) {
    book_certify(&book, draft, 0xe);
}

static void lie_nobody(struct claim_draft *draft) {
    draft->body.signers = 0;
    draft->body.signature_count = 0;
}

static void lie_stranger_signs(struct claim_draft *draft) {
    book_certify(&book, draft, 0x12);
}

static void lie_far_stranger_signs(struct claim_draft *draft) {
    book_certify(&book, draft, UINT64_C(1) << 63 | 2);
}

Test(view_claims, show_prepares_that_were_signed) {
    static const struct named_lie lies[] = {
        {"prepare", lie_prepare},         {"order of prepares", lie_prepare_order},
        {"nonce hash", lie_nonce_hash},   {"signer", lie_signer},
        {"other batch", lie_other_batch},
    };
    expect_all(lies, COUNT(lies));
}

Test(view_claims, show_a_quorum_with_the_primary) {
    static const struct named_lie lies[] = {
        {"the primary as signer", lie_primary_signs},
        {"the primary as well", lie_primary_signs_too},
        {"too few", lie_too_few},
        {"too many", lie_too_many},
        {"nobody", lie_nobody},
        {"a replica that does not exist", lie_stranger_signs},
        {"nor this one", lie_far_stranger_signs},
    };
    expect_all(lies, COUNT(lies));
}

/* ---- the chain as a list ---- */

static void certify_honestly(struct claim_draft *draft) {
    book_certify(&book, draft, 0x6);
}

static void lie_gap(struct claim_draft *draft) {
    draft->chain[1] = draft->chain[2];
    draft->body.chain_count = 2;
}

static void lie_late(struct claim_draft *draft) {
    memmove(&draft->chain[0], &draft->chain[1], 2 * sizeof draft->chain[0]);
    draft->body.chain_count = 2;
}

static void lie_early(struct claim_draft *draft) {
    const struct book_batch *const before = book_batch_at(&book, 4);
    memmove(&draft->chain[1], &draft->chain[0], CHAIN * sizeof draft->chain[0]);
    draft->chain[0] = (struct chain_item){
        .has_evidence = true,
        .evidence_leaf = ledger_leaf(ENTRY_EVIDENCE, before->evidence_payload),
        .pre_prepare = before->statement,
    };
    draft->body.chain_count = CHAIN + 1;
}

static void lie_order(struct claim_draft *draft) {
    struct chain_item const first = draft->chain[0];
    draft->chain[0] = draft->chain[1];
    draft->chain[1] = first;
}

static void lie_twice(struct claim_draft *draft) {
    draft->chain[1] = draft->chain[0];
}

/* Without its last batch: the prepares are for another one. */
static void lie_short(struct claim_draft *draft) {
    draft->body.chain_count = CHAIN - 1;
}

static void lie_no_chain(struct claim_draft *draft) {
    draft->body.chain_count = 0;
}

static void lie_no_evidence(struct claim_draft *draft) {
    draft->chain[0].has_evidence = false;
}

static void lie_evidence(struct claim_draft *draft) {
    draft->chain[1].has_evidence = true;
    draft->chain[1].evidence_leaf = draft->chain[0].evidence_leaf;
}

static void lie_evidence_of_last(struct claim_draft *draft) {
    draft->chain[2].has_evidence = true;
    draft->chain[2].evidence_leaf = draft->chain[0].evidence_leaf;
}

static void lie_signature(struct claim_draft *draft) {
    draft->chain[1].pre_prepare.signature.bytes[3] ^= 1;
}

static void lie_signature_of_first(struct claim_draft *draft) {
    draft->chain[0].pre_prepare.signature.bytes[3] ^= 1;
}

static void lie_signature_of_last(struct claim_draft *draft) {
    draft->chain[2].pre_prepare.signature.bytes[3] ^= 1;
    certify_honestly(draft);
}

static void lie_garbage(struct claim_draft *draft) {
    const struct key_pair *const pair = &consortium.replicas[0].signing;
    struct span const garbage = span_text("garbage");
    draft->chain[1].pre_prepare = (struct signed_body){
        .body = garbage,
        .signature = sign_labelled(&pair->secret, &pair->key, LABEL_PRE_PREPARE,
                                   &consortium.configuration.service, garbage),
    };
}

Test(view_claims, show_a_chain_without_gaps) {
    static const struct named_lie lies[] = {
        {"gap", lie_gap},       {"starts late", lie_late}, {"starts early", lie_early},
        {"order", lie_order},   {"twice", lie_twice},      {"short", lie_short},
        {"none", lie_no_chain},
    };
    expect_all(lies, COUNT(lies));
}

Test(view_claims, show_leaves_where_there_is_evidence) {
    static const struct named_lie lies[] = {
        {"no leaf", lie_no_evidence},
        {"a leaf too many", lie_evidence},
        {"a leaf too many before the last", lie_evidence_of_last},
    };
    expect_all(lies, COUNT(lies));
}

Test(view_claims, show_pre_prepares_that_were_signed) {
    static const struct named_lie lies[] = {
        {"of the first", lie_signature_of_first},
        {"of another", lie_signature},
        {"of the last", lie_signature_of_last},
        {"not a pre-prepare", lie_garbage},
    };
    expect_all(lies, COUNT(lies));
}

/* ---- what the pre-prepares of a chain say, signed by colluders ---- */

typedef void (*body_lie)(struct pre_prepare bodies[static CHAIN]);

/* Two backups of a view. */
static uint64_t backups_of(uint64_t view) {
    return UINT64_C(1) << (view + 1) % 4 | UINT64_C(1) << (view + 2) % 4;
}

/* Lie in the bodies, sign all of them again, and certify the last. */
static struct signed_body claim_of_bodies(body_lie lie) {
    struct claim_draft draft;
    struct pre_prepare bodies[CHAIN];
    book_draft_claim(&book, &draft, &(struct claim_order){.view = VIEW, .last = last});
    for (uint32_t i = 0; i < CHAIN; i++) {
        bodies[i] = book_batch_at(&book, LAST - CHAIN + 1 + i)->body;
    }
    lie(bodies);
    for (uint32_t i = 0; i < CHAIN; i++) {
        draft.chain[i].pre_prepare = book_sign_pre_prepare(&book, &bodies[i]);
        draft.chain[i].has_evidence = bodies[i].evidence_count != 0;
        draft.chain[i].evidence_leaf = (struct digest){{7}};
    }
    book_certify(&book, &draft, backups_of(bodies[CHAIN - 1].view));
    return book_sign_claim(&book, &draft);
}

static enum rule judge(const struct signed_body *statement) {
    struct sign_sink const sink = book_sink(&book);
    struct view_claim claim;
    struct arena arena;
    arena_init(&arena, 1u << 22);
    enum rule const rule =
        view_change_judge(&claim, &arena, &consortium.configuration, statement, &sink);
    arena_free(&arena);
    return rule;
}

static void body_truth(struct pre_prepare bodies[static CHAIN]) {
    (void)bodies;
}

static void body_config(struct pre_prepare bodies[static CHAIN]) {
    bodies[1].config++;
}

static void body_configs(struct pre_prepare bodies[static CHAIN]) {
    for (uint32_t i = 0; i < CHAIN; i++) {
        bodies[i].config++;
    }
}

static void body_view(struct pre_prepare bodies[static CHAIN]) {
    bodies[1].view = 4;
}

static void body_first_view(struct pre_prepare bodies[static CHAIN]) {
    bodies[1].view = 4;
    bodies[2].view = 4;
}

static void put_views(struct pre_prepare bodies[static CHAIN], uint64_t view) {
    for (uint32_t i = 0; i < CHAIN; i++) {
        bodies[i].view = view;
    }
}

static void body_view_asked(struct pre_prepare bodies[static CHAIN]) {
    put_views(bodies, VIEW);
}

static void body_view_above(struct pre_prepare bodies[static CHAIN]) {
    put_views(bodies, VIEW + 1);
}

static void body_view_below(struct pre_prepare bodies[static CHAIN]) {
    put_views(bodies, VIEW - 1);
}

static void body_view_start(struct pre_prepare bodies[static CHAIN]) {
    bodies[1].view_start = 1;
}

static void put_view_starts(struct pre_prepare bodies[static CHAIN], uint64_t seq) {
    for (uint32_t i = 0; i < CHAIN; i++) {
        bodies[i].view_start = seq;
    }
}

static void body_view_start_above(struct pre_prepare bodies[static CHAIN]) {
    put_view_starts(bodies, LAST + 1);
}

static void body_view_start_last(struct pre_prepare bodies[static CHAIN]) {
    put_view_starts(bodies, LAST);
}

static void body_number_gap(struct pre_prepare bodies[static CHAIN]) {
    bodies[2].seq++;
}

static void body_number_twice(struct pre_prepare bodies[static CHAIN]) {
    bodies[1].seq--;
}

static void body_leaves_gap(struct pre_prepare bodies[static CHAIN]) {
    bodies[1].ledger_leaves++;
    bodies[2].ledger_leaves++;
}

static void body_leaves_overlap(struct pre_prepare bodies[static CHAIN]) {
    bodies[2].ledger_leaves--;
}

static void put_leaves(struct pre_prepare bodies[static CHAIN], uint64_t first) {
    for (uint32_t i = 0; i < CHAIN; i++) {
        bodies[i].ledger_leaves = first + i;
    }
}

static void body_leaves_none(struct pre_prepare bodies[static CHAIN]) {
    put_leaves(bodies, 1); /* its evidence is the first leaf of all */
}

static void body_leaves_least(struct pre_prepare bodies[static CHAIN]) {
    put_leaves(bodies, 2);
}

static void body_bare_leaves_none(struct pre_prepare bodies[static CHAIN]) {
    bodies[0].evidence_count = 0;
    put_leaves(bodies, 0);
}

static void body_bare_leaves_least(struct pre_prepare bodies[static CHAIN]) {
    bodies[0].evidence_count = 0;
    put_leaves(bodies, 1);
}

static void body_index_gap(struct pre_prepare bodies[static CHAIN]) {
    bodies[1].first_index++;
    bodies[2].first_index++;
}

static void body_index_overlap(struct pre_prepare bodies[static CHAIN]) {
    bodies[1].first_index--;
}

static void body_count(struct pre_prepare bodies[static CHAIN]) {
    bodies[0].tx_count++;
}

static void body_evidence_falls(struct pre_prepare bodies[static CHAIN]) {
    bodies[0].evidence_upto++;
}

static void body_evidence_of_last(struct pre_prepare bodies[static CHAIN]) {
    bodies[2].evidence_upto++;
}

static void body_evidence_less(struct pre_prepare bodies[static CHAIN]) {
    for (uint32_t i = 0; i < CHAIN; i++) {
        bodies[i].evidence_upto--;
    }
}

static void body_time(struct pre_prepare bodies[static CHAIN]) {
    bodies[1].time_ms = bodies[0].time_ms - 1;
}

static void body_time_stands(struct pre_prepare bodies[static CHAIN]) {
    bodies[1].time_ms = bodies[0].time_ms;
    bodies[2].time_ms = bodies[0].time_ms;
}

Test(view_claims, show_batches_that_can_stand_in_a_ledger) {
    static const struct {
        const char *what;
        body_lie lie;
    } lies[] = {
        {"configuration of one", body_config},
        {"configuration of all", body_configs},
        {"view of one", body_view},
        {"view of the first", body_first_view},
        {"the view that is asked for", body_view_asked},
        {"a later view", body_view_above},
        {"view_start of one", body_view_start},
        {"view_start above the last", body_view_start_above},
        {"numbers with a gap", body_number_gap},
        {"a number twice", body_number_twice},
        {"leaves with a gap", body_leaves_gap},
        {"leaves that overlap", body_leaves_overlap},
        {"leaves before genesis", body_leaves_none},
        {"no leaves at all", body_bare_leaves_none},
        {"indices with a gap", body_index_gap},
        {"indices that overlap", body_index_overlap},
        {"a number of transactions", body_count},
        {"evidence that falls", body_evidence_falls},
        {"evidence into the chain", body_evidence_of_last},
        {"evidence that ends before the chain", body_evidence_less},
        {"time that runs back", body_time},
    };
    for (size_t i = 0; i < COUNT(lies); i++) {
        struct signed_body const claim = claim_of_bodies(lies[i].lie);
        expect_refused(&claim, lies[i].what);
    }
}

/* The same, just within the rules: whether it fits the ledger is not asked here. */
Test(view_claims, may_show_what_the_rules_just_allow) {
    static const body_lie allowed[] = {
        body_truth,        body_view_below,        body_view_start_last,
        body_leaves_least, body_bare_leaves_least, body_time_stands,
    };
    for (size_t i = 0; i < COUNT(allowed); i++) {
        struct signed_body const claim = claim_of_bodies(allowed[i]);
        cr_assert_eq(judge(&claim), RULE_NONE, "%zu", i);
    }
}

/* A new view ranks with all that it took over, or not at all. */
Test(view_claims, do_not_rank_before_the_view_has_begun) {
    book_change_view(&book, 1, last);
    for (const struct book_batch *owed = book_owed(&book); owed != NULL; owed = book_owed(&book)) {
        struct book_batch *const batch =
            book_draft(&book, &(struct batch_order){.again = owed, .evidence_upto = LAST - CHAIN});
        book_sign(&book, batch);
        expect_rule(book_add(&book, batch), RULE_NONE);
        struct signed_body const claim =
            book_claim(&book, &(struct claim_order){0, VIEW, book.end->last});
        expect_rule(judge(&claim), batch->body.seq < LAST ? RULE_VIEW_CHANGES : RULE_NONE);
    }
    cr_assert_eq(book_now(&book)->seq, LAST);
}
