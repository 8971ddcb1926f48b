/*
 * view_fixture: see view_fixture.h. Nonces follow from replica, view and number alone, which is
 * poor cryptography and good enough here.
 */
#include "tests/unit/view_fixture.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#include "execution/replay.h"
#include "ledger/derive.h"
#include "merkle/tree.h"

#define BOOK_ARENA_SIZE ((size_t)1 << 29)
#define SCRATCH_ARENA_SIZE ((size_t)1 << 26)
#define BOOK_CALLS_MAX 2u

static const struct digest outcome_digest = {{0x0c}};

static void *take(struct book *book, size_t size) {
    void *const memory = arena_alloc(&book->arena, size);
    cr_assert(memory != NULL);
    memset(memory, 0, size);
    return memory;
}

static struct span keep(struct book *book, struct buffer *bytes) {
    cr_assert(!bytes->failed);
    struct span const copy = arena_copy(&book->arena, buffer_span(bytes));
    cr_assert(copy.data != NULL);
    buffer_free(bytes);
    return copy;
}

/* ---- the book ---- */

static const struct digest *checkpoint_of(const struct book *book, uint64_t seq) {
    if (seq != 0 && seq == book->end->after.config_start) {
        return &book->boundary;
    }
    uint64_t const nth = seq / book->configuration->parameters.checkpoint_interval;
    cr_assert_lt(nth, BOOK_CHECKPOINTS_MAX);
    return &book->checkpoints[nth];
}

void book_open(struct book *book, const struct consortium *consortium) {
    *book = (struct book){.consortium = consortium, .configuration = &consortium->configuration};
    arena_init(&book->arena, BOOK_ARENA_SIZE);
    book->checker = checker_new(book->configuration);
    cr_assert(book->checker != NULL);
    checker_start(book->checker, buffer_span(&consortium->genesis_bytes));
    struct book_unit *const genesis = take(book, sizeof *genesis);
    genesis->after = *checker_position(book->checker);
    book->checkpoints[0] = genesis->after.checkpoint_digest;
    book->genesis = genesis;
    book->beginning = genesis;
    book->end = genesis;
}

void book_close(struct book *book) {
    checker_free(book->checker);
    free(book->made);
    arena_free(&book->arena);
}

const struct ledger_position *book_now(const struct book *book) {
    return &book->end->after;
}

const struct book_batch *book_batch_at(const struct book *book, uint64_t seq) {
    const struct book_batch *batch = book->end->last;
    while (batch != NULL && batch->body.seq > seq) {
        batch = batch->before;
    }
    cr_assert(batch != NULL && batch->body.seq == seq);
    return batch;
}

void book_expect_position(const struct checker *checker, const struct ledger_position *position) {
    const struct ledger_position *const own = checker_position(checker);
    struct digest const own_root = frontier_root(&own->frontier);
    struct digest const root = frontier_root(&position->frontier);
    cr_assert_eq(own->entries, position->entries);
    cr_assert_eq(own->view, position->view);
    cr_assert_eq(own->view_start, position->view_start);
    cr_assert_eq(own->seq, position->seq);
    cr_assert_eq(own->next_index, position->next_index);
    cr_assert_eq(own->evidence_upto, position->evidence_upto);
    cr_assert_eq(own->gov_index, position->gov_index);
    cr_assert_eq(own->config_start, position->config_start);
    cr_assert_eq(own->closing_seq, position->closing_seq);
    cr_assert_eq(own->time_ms, position->time_ms);
    cr_assert_eq(own->checkpoint_seq, position->checkpoint_seq);
    cr_assert(digest_equal(&own->checkpoint_digest, &position->checkpoint_digest));
    cr_assert_eq(own->frontier.leaf_count, position->frontier.leaf_count);
    cr_assert(digest_equal(&own_root, &root));
}

void expect_rule(enum rule rule, enum rule expected) {
    cr_assert_eq(rule, expected, "%s instead of %s", rule_name(rule), rule_name(expected));
}

bool book_verify(void *context, const struct sign_check *check, enum rule rule) {
    (void)rule;
    const struct digest *const service = context;
    return sign_verify(service, check);
}

struct sign_sink book_sink(const struct book *book) {
    return (struct sign_sink){
        .context = (void *)(uintptr_t)&book->configuration->service,
        .check = book_verify,
    };
}

static const struct key_pair *key_of(const struct book *book, uint32_t replica) {
    return &book->consortium->replicas[replica % book->configuration->replica_count].signing;
}

static uint32_t primary_of(const struct book *book, uint64_t view) {
    return configuration_primary(book->configuration, view);
}

static struct signature sign_as(const struct book *book, uint32_t replica, enum label label,
                                struct span body) {
    const struct key_pair *const pair = key_of(book, replica);
    return sign_labelled(&pair->secret, &pair->key, label, &book->configuration->service, body);
}

static struct nonce nonce_of(uint32_t replica, uint64_t view, uint64_t seq) {
    struct nonce nonce = {{0}};
    store_u32_be(nonce.bytes, replica);
    store_u64_be(nonce.bytes + 4, view);
    store_u64_be(nonce.bytes + 12, seq);
    return nonce;
}

/* ---- batches ---- */

const struct request *book_request(struct book *book) {
    static const char *const calls[BOOK_CALLS_MAX] = {"kv.put a 1", "kv.get a"};
    uint64_t const number = ++book->request_number;
    struct buffer encoded;
    buffer_init(&encoded, REQUEST_SIZE_MAX);
    order_encode(&encoded, book->consortium,
                 &(struct order){.author = &book->consortium->users[number % CONSORTIUM_USERS],
                                 .min_index = 1,
                                 .number = number,
                                 .call_count = 1 + (uint32_t)(number % BOOK_CALLS_MAX),
                                 .calls = calls});
    struct span const bytes = keep(book, &encoded);
    struct request *const request = take(book, sizeof *request);
    cr_assert_eq(request_decode(request, &book->arena, &book->configuration->service, bytes),
                 CODEC_OK);
    return request;
}

void book_put_requests(const struct book *book, struct book_batch *batch) {
    (void)book;
    struct tree tree;
    uint64_t index = batch->body.first_index;
    tree_init(&tree);
    for (uint32_t i = 0; i < batch->request_count; i++) {
        for (uint32_t k = 0; k < batch->requests[i]->call_count; k++) {
            struct digest const leaf =
                batch_leaf(&batch->requests[i]->digest, k, index++, &outcome_digest);
            cr_assert(tree_append(&tree, &leaf));
        }
    }
    batch->body.batch_root = tree_root(&tree);
    batch->body.tx_count = (uint32_t)(index - batch->body.first_index);
    tree_free(&tree);
}

/* The prepare of one backup for a batch, as it is signed. */
static struct signature prepare_of(const struct consortium *consortium,
                                   const struct pre_prepare *body, const struct digest *digest,
                                   uint32_t replica, struct digest *nonce_hash) {
    const struct digest *const service = &consortium->configuration.service;
    const struct key_pair *const pair = &consortium->replicas[replica].signing;
    struct prepared_batch const prepared = {
        .config = body->config, .view = body->view, .seq = body->seq, .digest = *digest};
    struct nonce const nonce = nonce_of(replica, body->view, body->seq);
    struct prepare prepare;
    struct buffer encoded;
    buffer_init(&encoded, STATEMENT_SIZE_MAX);
    prepare_rebuild(&prepare, service, &prepared, replica, &nonce);
    cr_assert(prepare_encode(&encoded, &prepare));
    *nonce_hash = prepare.nonce_hash;
    struct signature const signature =
        sign_labelled(&pair->secret, &pair->key, LABEL_PREPARE, service, buffer_span(&encoded));
    buffer_free(&encoded);
    return signature;
}

static void put_batch_evidence(struct book *book, struct batch_evidence *out,
                               const struct book_batch *batch) {
    const struct configuration *const configuration = &batch->consortium->configuration;
    uint32_t const count = (uint32_t)__builtin_popcountll(batch->signers);
    uint32_t const primary = configuration_primary(configuration, batch->body.view);
    struct signature *const signatures = take(book, count * sizeof *signatures);
    struct nonce *const nonces = take(book, count * sizeof *nonces);
    *out =
        (struct batch_evidence){.seq = batch->body.seq, .signatures = signatures, .nonces = nonces};
    for (uint32_t r = 0; r < configuration->replica_count; r++) {
        struct digest ignored;
        if ((batch->signers >> r & 1) == 0) {
            continue;
        }
        nonces[out->nonce_count++] = nonce_of(r, batch->body.view, batch->body.seq);
        if (r != primary) {
            signatures[out->signature_count++] =
                prepare_of(batch->consortium, &batch->body, &batch->digest, r, &ignored);
        }
    }
}

void book_put_evidence(struct book *book, struct book_batch *batch) {
    struct pre_prepare *const body = &batch->body;
    const struct ledger_position *const now = book_now(book);
    struct frontier before = now->frontier;
    body->evidence_count = 0;
    batch->evidence.batch_count = 0;
    batch->evidence_payload = span_of(NULL, 0);
    for (uint64_t seq = now->evidence_upto + 1; seq <= body->evidence_upto && seq <= now->seq;
         seq++) {
        const struct book_batch *const other = book_batch_at(book, seq);
        cr_assert_lt(body->evidence_count, EVIDENCE_BATCHES_MAX);
        body->evidence_signers[body->evidence_count] = other->signers;
        put_batch_evidence(book, &batch->evidence.batches[body->evidence_count++], other);
    }
    if (body->evidence_count != 0) {
        struct buffer encoded;
        batch->evidence.batch_count = body->evidence_count;
        buffer_init(&encoded, EVIDENCE_SIZE_MAX);
        cr_assert(evidence_encode(&encoded, &batch->evidence));
        batch->evidence_payload = keep(book, &encoded);
        struct digest const leaf = ledger_leaf(ENTRY_EVIDENCE, batch->evidence_payload);
        frontier_append(&before, &leaf);
    }
    body->ledger_leaves = before.leaf_count;
    body->ledger_root = frontier_root(&before);
}

static uint64_t signers_of(const struct book *book, uint64_t view) {
    uint64_t signers = 0;
    for (uint32_t i = 0; i < book->configuration->quorum; i++) {
        signers |= UINT64_C(1) << primary_of(book, view + i);
    }
    return signers;
}

static uint64_t evidence_wanted(const struct ledger_position *now, uint64_t wanted) {
    return wanted == BOOK_EVIDENCE_ALL    ? now->seq
           : wanted == BOOK_EVIDENCE_NONE ? now->evidence_upto
                                          : wanted;
}

/* A vote, two batches, and the first of the next configuration. */
static enum batch_kind kind_at(const struct ledger_position *now) {
    bool const starts = now->config_start != 0 && now->seq == now->config_start;
    return now->closing_seq != 0 ? BATCH_END_OF_CONFIGURATION
           : starts              ? BATCH_START_OF_CONFIGURATION
                                 : BATCH_NORMAL;
}

struct book_batch *book_draft(struct book *book, const struct batch_order *order) {
    const struct ledger_position *const now = book_now(book);
    struct book_batch *const batch = take(book, sizeof *batch);
    uint64_t const checkpoint_seq = checker_checkpoint_for(book->checker, now->seq + 1);
    enum batch_kind const kind = kind_at(now);
    batch->base = book->end;
    batch->before = book->end->last;
    batch->consortium = book->consortium;
    batch->closes = order->again == NULL ? order->closes : order->again->closes;
    batch->signers = order->signers == 0 ? signers_of(book, now->view) : order->signers;
    batch->body = (struct pre_prepare){
        .config = book->configuration->number,
        .view = now->view,
        .seq = now->seq + 1,
        .view_start = now->view_start,
        .first_index = now->next_index,
        .kind = kind,
        .evidence_upto = evidence_wanted(now, order->evidence_upto),
        .gov_index = kind == BATCH_END_OF_CONFIGURATION ? now->next_index - 1 : now->gov_index,
        .checkpoint_seq = checkpoint_seq,
        .checkpoint_digest = *checkpoint_of(book, checkpoint_seq),
        .time_ms = order->again == NULL ? now->time_ms + 1 : order->again->body.time_ms,
    };
    batch->request_count =
        order->again == NULL ? order->request_count : order->again->request_count;
    cr_assert_leq(batch->request_count, BOOK_REQUESTS_MAX);
    for (uint32_t i = 0; i < batch->request_count; i++) {
        batch->requests[i] = order->again == NULL ? book_request(book) : order->again->requests[i];
    }
    book_put_requests(book, batch);
    book_put_evidence(book, batch);
    return batch;
}

static void note_made(struct book *book, const struct book_batch *batch) {
    if (book->made_count == book->made_capacity) {
        book->made_capacity = book->made_capacity == 0 ? 64 : 2 * book->made_capacity;
        book->made = realloc(book->made, book->made_capacity * sizeof *book->made);
        cr_assert(book->made != NULL);
    }
    book->made[book->made_count++] = batch;
}

struct signed_body book_sign_pre_prepare(struct book *book, const struct pre_prepare *body) {
    struct buffer encoded;
    buffer_init(&encoded, STATEMENT_SIZE_MAX);
    cr_assert(pre_prepare_encode(&encoded, body));
    struct signed_body statement = {.body = keep(book, &encoded)};
    statement.signature =
        sign_as(book, primary_of(book, body->view), LABEL_PRE_PREPARE, statement.body);
    return statement;
}

void book_sign(struct book *book, struct book_batch *batch) {
    struct pre_prepare *const body = &batch->body;
    uint32_t const primary = primary_of(book, body->view);
    struct nonce const nonce = nonce_of(primary, body->view, body->seq);
    struct buffer entry;
    body->nonce_hash = nonce_commit(&book->configuration->service, body->config, primary,
                                    body->view, body->seq, &nonce);
    batch->statement = book_sign_pre_prepare(book, body);
    batch->digest = hash_statement(LABEL_PRE_PREPARE, &book->configuration->service,
                                   batch->statement.body, &batch->statement.signature);
    buffer_init(&entry, STATEMENT_SIZE_MAX);
    cr_assert(signed_encode(&entry, &batch->statement));
    batch->entry_payload = keep(book, &entry);
    note_made(book, batch);
}

enum rule book_judge(struct checker *checker, const struct book_batch *batch,
                     const struct sign_sink *sink) {
    static const struct digest outcomes[BOOK_CALLS_MAX] = {{{0x0c}}, {{0x0c}}};
    struct batch_seal const seal = {
        .evidence_payload = batch->evidence_payload,
        .evidence = batch->evidence.batch_count == 0 ? NULL : &batch->evidence,
        .entry_payload = batch->entry_payload,
        .statement = batch->statement,
        .pre_prepare = &batch->body,
        .request_count = batch->request_count,
    };
    checker_batch_begin_stated(checker, batch->body.first_index);
    for (uint32_t i = 0; i < batch->request_count; i++) {
        checker_batch_add(checker, batch->requests[i], outcomes, sink);
    }
    if (batch->closes) {
        checker_batch_close(checker);
    }
    enum rule const rule = checker_batch_seal(checker, &seal, sink);
    cr_assert(!checker_failed(checker));
    return rule;
}

/* What the position before, a batch or a new view give the next position. */
static void advance_by_batch(struct ledger_position *now, const struct book_batch *batch) {
    if (batch->evidence_payload.size != 0) {
        struct digest const leaf = ledger_leaf(ENTRY_EVIDENCE, batch->evidence_payload);
        frontier_append(&now->frontier, &leaf);
        now->entries++;
    }
    struct digest const leaf = ledger_leaf(ENTRY_PRE_PREPARE, batch->entry_payload);
    frontier_append(&now->frontier, &leaf);
    now->entries += 1 + batch->request_count;
    now->seq++;
    now->next_index += batch->body.tx_count;
    now->evidence_upto = batch->body.evidence_upto;
    now->gov_index = batch->body.gov_index;
    now->closing_seq = batch->closes ? batch->body.seq : now->closing_seq;
    now->time_ms = batch->body.time_ms;
    now->checkpoint_seq = batch->body.checkpoint_seq;
    now->checkpoint_digest = batch->body.checkpoint_digest;
}

static void advance_by_view(struct ledger_position *now, const struct view_unit *unit) {
    struct digest const set_leaf = ledger_leaf(ENTRY_VIEW_CHANGE_SET, unit->set_payload);
    struct digest const leaf = ledger_leaf(ENTRY_NEW_VIEW, unit->entry_payload);
    frontier_append(&now->frontier, &set_leaf);
    frontier_append(&now->frontier, &leaf);
    now->entries += 2;
    now->view = unit->new_view.view;
    now->view_start = unit->new_view.chosen_seq;
    now->view_seq = now->seq;
}

/* The book ends with the unit now, or, when a rule is broken, where it did. */
static enum rule added(struct book *book, const struct book_unit *unit, enum rule rule) {
    book->end = rule == RULE_NONE ? unit : book->end;
    book_expect_position(book->checker, book_now(book));
    return rule;
}

enum rule book_add(struct book *book, const struct book_batch *batch) {
    struct sign_sink const sink = book_sink(book);
    struct book_unit *const unit = take(book, sizeof *unit);
    *unit = *book->end;
    unit->before = book->end;
    unit->batch = batch;
    unit->view = NULL;
    unit->last = batch;
    advance_by_batch(&unit->after, batch);
    return added(book, unit, book_judge(book->checker, batch, &sink));
}

void book_enter_configuration(struct book *book, const struct consortium *next) {
    struct book_unit *const unit = take(book, sizeof *unit);
    *unit = *book->end;
    unit->after.config_start = unit->after.seq;
    unit->after.closing_seq = 0;
    unit->after.view = 0;
    unit->after.view_start = unit->after.seq;
    unit->after.view_seq = unit->after.seq;
    unit->in_force = NULL;
    checker_enter(book->checker, &next->configuration);
    book->consortium = next;
    book->configuration = &next->configuration;
    book->boundary = (struct digest){.bytes = {0xb0, (uint8_t)unit->after.seq}};
    checker_checkpoint_learn(book->checker, unit->after.seq, &book->boundary);
    book->end = unit;
    book->beginning = unit;
    book_expect_position(book->checker, book_now(book));
}

static void add_honest(struct book *book, const struct batch_order *order) {
    struct book_batch *const batch = book_draft(book, order);
    book_sign(book, batch);
    enum rule const rule = book_add(book, batch);
    cr_assert_eq(rule, RULE_NONE, "batch %d: %s", (int)batch->body.seq, rule_name(rule));
}

void book_append(struct book *book, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        add_honest(book, &(struct batch_order){.request_count = 1 + i % BOOK_REQUESTS_MAX,
                                               .evidence_upto = BOOK_EVIDENCE_ALL});
    }
}

void book_append_bare(struct book *book, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        add_honest(book,
                   &(struct batch_order){.request_count = 1, .evidence_upto = BOOK_EVIDENCE_NONE});
    }
}

const struct book_batch *book_owed(const struct book *book) {
    const struct ledger_position *const now = book_now(book);
    const struct book_view *const view = book->end->in_force;
    if (view == NULL || now->seq >= now->view_start) {
        return NULL;
    }
    cr_assert_lt(now->seq - now->view_seq, view->carried_count);
    return view->carried[now->seq - now->view_seq];
}

void book_repropose(struct book *book) {
    for (const struct book_batch *owed = book_owed(book); owed != NULL; owed = book_owed(book)) {
        bool const is_first = book_now(book)->seq == book_now(book)->view_seq;
        add_honest(book, &(struct batch_order){.again = owed,
                                               .evidence_upto = is_first ? BOOK_EVIDENCE_ALL
                                                                         : BOOK_EVIDENCE_NONE});
    }
}

/* ---- view-changes ---- */

void book_certify(const struct book *book, struct claim_draft *draft, uint64_t signers) {
    struct view_change *const out = &draft->body;
    const struct signed_body *const last = &out->chain[out->chain_count - 1].pre_prepare;
    struct digest const digest = hash_statement(LABEL_PRE_PREPARE, &book->configuration->service,
                                                last->body, &last->signature);
    struct pre_prepare body;
    struct arena arena;
    arena_init(&arena, SCRATCH_ARENA_SIZE);
    cr_assert_eq(pre_prepare_decode(&body, &arena, last->body), CODEC_OK);
    arena_free(&arena);
    out->signers = signers;
    out->signature_count = 0;
    for (uint32_t r = 0; r < REPLICAS_MAX; r++) {
        if ((signers >> r & 1) != 0) {
            uint32_t const at = out->signature_count++;
            draft->signatures[at] =
                prepare_of(book->consortium, &body, &digest, r, &draft->nonce_hashes[at]);
        }
    }
}

void book_draft_claim(const struct book *book, struct claim_draft *out,
                      const struct claim_order *order) {
    const struct book_batch *batch = order->last;
    *out = (struct claim_draft){.body = {.config = book->configuration->number,
                                         .view = order->view,
                                         .replica = order->replica}};
    out->body.signatures = out->signatures;
    out->body.nonce_hashes = out->nonce_hashes;
    out->body.chain = out->chain;
    if (batch == NULL) {
        return;
    }
    uint64_t const upto = batch->body.evidence_upto;
    uint64_t const count = batch->body.seq - upto;
    cr_assert_leq(count, PIPELINE_MAX);
    out->body.chain_count = (uint32_t)count;
    for (; batch != NULL && batch->body.seq > upto; batch = batch->before) {
        struct chain_item *const item = &out->chain[batch->body.seq - upto - 1];
        item->has_evidence = batch->evidence_payload.size != 0;
        if (item->has_evidence) {
            item->evidence_leaf = ledger_leaf(ENTRY_EVIDENCE, batch->evidence_payload);
        }
        item->pre_prepare = batch->statement;
    }
    uint64_t const primary = UINT64_C(1) << primary_of(book, order->last->body.view);
    book_certify(book, out, order->last->signers & ~primary);
}

struct signed_body book_sign_claim(struct book *book, const struct claim_draft *draft) {
    struct buffer encoded;
    buffer_init(&encoded, VIEW_CHANGE_SIZE_MAX);
    cr_assert(view_change_encode(&encoded, &draft->body));
    struct signed_body statement = {.body = keep(book, &encoded)};
    statement.signature = sign_as(book, draft->body.replica, LABEL_VIEW_CHANGE, statement.body);
    return statement;
}

struct signed_body book_claim(struct book *book, const struct claim_order *order) {
    struct claim_draft draft;
    book_draft_claim(book, &draft, order);
    return book_sign_claim(book, &draft);
}

void book_claims(struct book *book, struct signed_body *claims, uint64_t view,
                 const struct book_batch *last) {
    for (uint32_t r = 0; r < book->configuration->quorum; r++) {
        claims[r] =
            book_claim(book, &(struct claim_order){.replica = r, .view = view, .last = last});
    }
}

/* ---- new views ---- */

/* The rank that a view-change shows, if it can be read; (0, 0) if not. */
static struct rank rank_shown(const struct signed_body *claim) {
    struct view_change view_change;
    struct pre_prepare body;
    struct arena arena;
    struct rank rank = {0};
    arena_init(&arena, SCRATCH_ARENA_SIZE);
    if (view_change_decode(&view_change, &arena, claim->body) == CODEC_OK &&
        view_change.chain_count != 0 &&
        pre_prepare_decode(&body, &arena,
                           view_change.chain[view_change.chain_count - 1].pre_prepare.body) ==
            CODEC_OK) {
        rank = (struct rank){.view = body.view, .seq = body.seq};
    }
    arena_free(&arena);
    return rank;
}

static bool is_higher(struct rank a, struct rank b) {
    return a.view > b.view || (a.view == b.view && a.seq > b.seq);
}

static uint32_t chosen_of(const struct signed_body *claims, uint32_t count) {
    uint32_t chosen = 0;
    for (uint32_t i = 1; i < count; i++) {
        chosen = is_higher(rank_shown(&claims[i]), rank_shown(&claims[chosen])) ? i : chosen;
    }
    return chosen;
}

static struct span encode_set(struct book *book, const struct view_draft *draft) {
    struct view_change_set const set = {.count = draft->count, .view_changes = draft->claims};
    struct buffer encoded;
    buffer_init(&encoded, VIEW_CHANGE_SET_SIZE_MAX);
    cr_assert(view_change_set_encode(&encoded, &set));
    return keep(book, &encoded);
}

void book_draft_view(const struct book *book, struct view_draft *out, uint64_t view,
                     const struct signed_body *claims, uint32_t count) {
    struct view_change_set const set = {.count = count, .view_changes = claims};
    struct frontier before = book_now(book)->frontier;
    struct buffer encoded;
    *out = (struct view_draft){.count = count, .signer = primary_of(book, view)};
    buffer_init(&encoded, VIEW_CHANGE_SET_SIZE_MAX);
    cr_assert(view_change_set_encode(&encoded, &set));
    struct digest const leaf = ledger_leaf(ENTRY_VIEW_CHANGE_SET, buffer_span(&encoded));
    buffer_free(&encoded);
    frontier_append(&before, &leaf);
    for (uint32_t i = 0; i < count; i++) {
        out->claims[i] = claims[i];
        out->digests[i] = hash_statement(LABEL_VIEW_CHANGE, &book->configuration->service,
                                         claims[i].body, &claims[i].signature);
    }
    struct rank const chosen = rank_shown(&claims[chosen_of(claims, count)]);
    out->body = (struct new_view){
        .config = book->configuration->number,
        .view = view,
        .view_change_count = count,
        .chosen_view = chosen.view,
        .chosen_seq = chosen.seq,
        .ledger_root = frontier_root(&before),
        .ledger_leaves = before.leaf_count,
    };
}

static const struct book_batch *find_made(const struct book *book,
                                          const struct signed_body *statement) {
    for (uint32_t i = book->made_count; i > 0; i--) {
        const struct book_batch *const batch = book->made[i - 1];
        if (span_equal(batch->statement.body, statement->body)) {
            return batch;
        }
    }
    return NULL;
}

/* The batches of the chain chosen, as far as they are known here. */
static void find_carried(struct book *book, struct book_view *view) {
    const struct view_change_set *const set = &view->unit.set;
    struct view_change chosen;
    if (view_change_decode(&chosen, &book->arena,
                           set->view_changes[chosen_of(set->view_changes, set->count)].body) !=
        CODEC_OK) {
        return;
    }
    view->carried_count = chosen.chain_count;
    for (uint32_t i = 0; i < chosen.chain_count; i++) {
        view->carried[i] = find_made(book, &chosen.chain[i].pre_prepare);
    }
}

const struct book_view *book_sign_view(struct book *book, const struct view_draft *draft) {
    struct book_view *const view = take(book, sizeof *view);
    struct span const set_payload = encode_set(book, draft);
    struct new_view body = draft->body;
    struct buffer encoded;
    struct buffer entry;
    body.view_change_digests = draft->digests;
    buffer_init(&encoded, STATEMENT_SIZE_MAX);
    cr_assert(new_view_encode(&encoded, &body));
    struct signed_body statement = {.body = keep(book, &encoded)};
    statement.signature = sign_as(book, draft->signer, LABEL_NEW_VIEW, statement.body);
    buffer_init(&entry, STATEMENT_SIZE_MAX);
    cr_assert(signed_encode(&entry, &statement));
    cr_assert_eq(view_unit_decode(&view->unit, &book->arena, set_payload, keep(book, &entry)),
                 CODEC_OK);
    find_carried(book, view);
    return view;
}

enum rule book_enter(struct book *book, const struct book_view *view) {
    struct sign_sink const sink = book_sink(book);
    struct book_unit *const unit = take(book, sizeof *unit);
    *unit = *book->end;
    unit->before = book->end;
    unit->batch = NULL;
    unit->view = view;
    unit->in_force = view;
    advance_by_view(&unit->after, &view->unit);
    enum rule const judged =
        checker_view_judge(book->checker, checker_position(book->checker), &view->unit, &sink);
    enum rule const rule = checker_view_add(book->checker, &view->unit, &sink);
    cr_assert_eq(judged, rule);
    cr_assert(!checker_failed(book->checker));
    return added(book, unit, rule);
}

/* ---- moving about ---- */

const struct book_unit *book_base_of(const struct book *book, const struct book_batch *last) {
    const struct book_batch *first = last;
    if (last == NULL) {
        return book->beginning;
    }
    while (first->body.seq > last->body.evidence_upto + 1) {
        first = first->before;
    }
    return first->base;
}

bool book_is_on_way(const struct book *book, const struct book_unit *unit) {
    const struct book_unit *at = book->end;
    while (at != NULL && at != unit) {
        at = at->before;
    }
    return at == unit;
}

void book_follow(const struct book *book, struct checker *checker, const struct book_unit *from,
                 const struct sign_sink *sink) {
    while (from != book->end) {
        const struct book_unit *next = book->end;
        while (next->before != from) {
            next = next->before;
        }
        expect_rule(next->batch != NULL ? book_judge(checker, next->batch, sink)
                                        : checker_view_add(checker, &next->view->unit, sink),
                    RULE_NONE);
        book_expect_position(checker, &next->after);
        from = next;
    }
}

void book_go(struct book *book, const struct book_unit *unit) {
    const struct book_unit *parting = unit;
    while (!book_is_on_way(book, parting)) {
        parting = parting->before;
    }
    checker_rollback_in(book->checker, parting->after.seq, parting->after.view);
    book_expect_position(book->checker, &parting->after);
    book->end = unit;
    book_follow(book, book->checker, parting, &sign_sink_trust);
}

void book_change_view(struct book *book, uint64_t view, const struct book_batch *last) {
    struct signed_body claims[REPLICAS_MAX];
    struct view_draft draft;
    book_claims(book, claims, view, last);
    book_go(book, book_base_of(book, last));
    book_draft_view(book, &draft, view, claims, book->configuration->quorum);
    enum rule const rule = book_enter(book, book_sign_view(book, &draft));
    cr_assert_eq(rule, RULE_NONE, "view %d: %s", (int)view, rule_name(rule));
}
