/*
 * checker: see checker.h. New views are in checker_view.c, new configurations in checker_gov.c.
 *
 * Invariants: `now` is the position after the last sealed batch and the new views behind it;
 * marks[s % MARKS] is the position after batch s, and the new views that followed it, for every s
 * in [mark_first, now.seq]; view_marks are the positions before those new views, oldest first;
 * pending[s % MARKS] describes every batch in (now.evidence_upto, now.seq] and as far back as a
 * rollback may need; the window holds exactly the requests of sealed batches, plus those of the
 * batch in progress.
 */
#include "ledger/checker.h"

#include <stdlib.h>

#include "base/check.h"
#include "ledger/checker_internal.h"
#include "ledger/derive.h"

struct checker *checker_new(const struct configuration *configuration) {
    struct checker *const checker = calloc(1, sizeof *checker);
    if (checker == NULL) {
        return NULL;
    }
    checker->configuration = configuration;
    tree_init(&checker->batch_tree);
    checker->window = window_new(&configuration->service, configuration->parameters.window);
    if (checker->window == NULL) {
        checker_free(checker);
        return NULL;
    }
    return checker;
}

void checker_free(struct checker *checker) {
    if (checker == NULL) {
        return;
    }
    window_free(checker->window);
    tree_free(&checker->batch_tree);
    free(checker);
}

const struct ledger_position *checker_position(const struct checker *checker) {
    return &checker->now;
}

const struct window *checker_window(const struct checker *checker) {
    return checker->window;
}

const struct configuration *checker_configuration(const struct checker *checker) {
    return checker->configuration;
}

bool checker_failed(const struct checker *checker) {
    return checker->failed;
}

void checker_mark_now(struct checker *checker) {
    checker->marks[checker->now.seq % CHECKER_MARKS_MAX] = checker->now;
    if (checker->now.seq - checker->mark_first >= CHECKER_MARKS_MAX) {
        checker->mark_first = checker->now.seq - CHECKER_MARKS_MAX + 1;
    }
}

/* ---- requests of a batch ---- */

void checker_batch_begin(struct checker *checker) {
    checker_batch_begin_stated(checker, checker->now.next_index);
}

void checker_batch_begin_stated(struct checker *checker, uint64_t first_index) {
    CHECK(!checker->in_batch);
    checker->in_batch = true;
    checker->batch_first_index = first_index;
    checker->request_rule = RULE_NONE;
    checker->batch_tx_count = 0;
    checker->batch_closes = false;
    tree_clear(&checker->batch_tree);
}

void checker_batch_close(struct checker *checker) {
    CHECK(checker->in_batch);
    checker->batch_closes = true;
}

uint64_t checker_next_index(const struct checker *checker) {
    return checker->in_batch ? checker->batch_first_index + checker->batch_tx_count
                             : checker->now.next_index;
}

uint32_t checker_batch_tx_count(const struct checker *checker) {
    return (uint32_t)checker->batch_tx_count;
}

bool checker_is_expired(const struct checker *checker, uint64_t min_index, uint32_t call_count) {
    uint64_t const last = checker_next_index(checker) + call_count - 1;
    return last >= min_index && last - min_index >= checker->configuration->parameters.window;
}

enum rule checker_request_admissible(const struct checker *checker, const struct request *request) {
    if (!configuration_has_author(checker->configuration, &request->author)) {
        return RULE_REQUEST_AUTHOR;
    }
    if (checker_next_index(checker) < request->min_index ||
        checker_is_expired(checker, request->min_index, request->call_count)) {
        return RULE_REQUEST_WINDOW;
    }
    if (window_find(checker->window, &request->id, NULL)) {
        return RULE_REQUEST_DUPLICATE;
    }
    return RULE_NONE;
}

void checker_batch_add(struct checker *checker, const struct request *request,
                       const struct digest *outcomes, const struct sign_sink *sink) {
    struct digest leaves[CALLS_MAX];
    uint64_t const first = checker_next_index(checker);
    for (uint32_t i = 0; i < request->call_count; i++) {
        leaves[i] = batch_leaf(&request->digest, i, first + i, &outcomes[i]);
    }
    checker_batch_add_leaves(checker, request, leaves, sink);
}

void checker_batch_add_leaves(struct checker *checker, const struct request *request,
                              const struct digest *leaves, const struct sign_sink *sink) {
    CHECK(checker->in_batch);
    enum rule rule =
        checker->batch_closes ? RULE_AFTER_CLOSE : checker_request_admissible(checker, request);
    struct sign_check const signature = {
        .key = request->author,
        .signature = request->signature,
        .body = request->header,
        .label = LABEL_REQUEST,
    };
    if (rule == RULE_NONE && !sink->check(sink->context, &signature, RULE_REQUEST_SIGNATURE)) {
        rule = RULE_REQUEST_SIGNATURE;
    }
    if (checker->request_rule == RULE_NONE) {
        checker->request_rule = rule;
    }
    for (uint32_t i = 0; i < request->call_count; i++) {
        checker->failed |= !tree_append(&checker->batch_tree, &leaves[i]);
    }
    checker->batch_tx_count += request->call_count;
    if (rule != RULE_REQUEST_DUPLICATE &&
        (rule == RULE_NONE || !window_find(checker->window, &request->id, NULL))) {
        checker->failed |= !window_add(checker->window, &request->id, request->call_count);
    }
}

void checker_batch_abandon(struct checker *checker) {
    CHECK(checker->in_batch);
    window_abandon(checker->window);
    checker->in_batch = false;
    checker->batch_tx_count = 0;
}

void checker_batch_tree_take(struct checker *checker, struct tree *tree) {
    CHECK(!checker->in_batch);
    struct tree const taken = checker->batch_tree;
    checker->batch_tree = *tree;
    *tree = taken;
}

/* ---- the pre-prepare of a batch ---- */

uint64_t checker_checkpoint_for(const struct checker *checker, uint64_t seq) {
    const struct ledger_position *const now = &checker->now;
    uint64_t const regular = configuration_checkpoint_for(checker->configuration, seq);
    uint64_t const first = checker_first_checkpoint(checker);
    /* The state at the boundary is digested while the new configuration is at work already. */
    if (seq < first) {
        return now->checkpoint_seq;
    }
    return regular < first ? now->config_start : regular;
}

static const struct digest *checkpoint_find(const struct checker *checker, uint64_t seq) {
    for (unsigned i = 0; i < CHECKPOINTS_KNOWN_MAX; i++) {
        if (checker->checkpoints[i].known && checker->checkpoints[i].seq == seq) {
            return &checker->checkpoints[i].digest;
        }
    }
    return NULL;
}

bool checker_checkpoint_known(const struct checker *checker) {
    return checkpoint_find(checker, checker_checkpoint_for(checker, checker->now.seq + 1)) != NULL;
}

void checker_checkpoint_learn(struct checker *checker, uint64_t seq, const struct digest *digest) {
    if (checkpoint_find(checker, seq) != NULL) {
        return;
    }
    /* The oldest goes, but for the one that batches carry: boundaries may follow each other fast.
     */
    uint32_t last = CHECKPOINTS_KNOWN_MAX - 1;
    if (checker->checkpoints[last].known &&
        checker->checkpoints[last].seq == checker->now.checkpoint_seq) {
        last--;
    }
    memmove(&checker->checkpoints[1], &checker->checkpoints[0],
            last * sizeof checker->checkpoints[0]);
    checker->checkpoints[0] =
        (struct checkpoint_known){.seq = seq, .digest = *digest, .known = true};
}

/* M as it is just before the pre-prepare entry: the ledger so far, and the evidence entry. */
static struct frontier frontier_before(const struct checker *checker, struct span evidence) {
    struct frontier frontier = checker->now.frontier;
    if (evidence.size != 0) {
        struct digest const leaf = ledger_leaf(ENTRY_EVIDENCE, evidence);
        frontier_append(&frontier, &leaf);
    }
    return frontier;
}

void checker_batch_fill(const struct checker *checker, struct pre_prepare *pre_prepare,
                        struct span evidence) {
    CHECK(checker->in_batch);
    const struct ledger_position *const now = &checker->now;
    struct frontier const before = frontier_before(checker, evidence);
    uint64_t const seq = now->seq + 1;
    const struct digest *const checkpoint =
        checkpoint_find(checker, checker_checkpoint_for(checker, seq));
    CHECK(checkpoint != NULL);
    pre_prepare->config = checker->configuration->number;
    pre_prepare->view = now->view;
    pre_prepare->seq = seq;
    pre_prepare->view_start = now->view_start;
    pre_prepare->ledger_root = frontier_root(&before);
    pre_prepare->ledger_leaves = before.leaf_count;
    pre_prepare->batch_root = tree_root(&checker->batch_tree);
    pre_prepare->first_index = checker->batch_first_index;
    pre_prepare->tx_count = (uint32_t)checker->batch_tx_count;
    pre_prepare->kind = checker_next_kind(checker);
    pre_prepare->gov_index = checker_gov_index_of(checker, pre_prepare->kind);
    pre_prepare->checkpoint_seq = checker_checkpoint_for(checker, seq);
    pre_prepare->checkpoint_digest = *checkpoint;
    if (pre_prepare->time_ms < now->time_ms) {
        pre_prepare->time_ms = now->time_ms;
    }
}

/* Is what lies here what was signed? */
static enum rule judge_binding(const struct checker *checker, const struct batch_seal *seal,
                               const struct frontier *before, const struct sign_sink *sink) {
    const struct configuration *const configuration = checker->configuration;
    const struct pre_prepare *const body = seal->pre_prepare;
    struct sign_check const signature = {
        .key = configuration->replicas[configuration_primary(configuration, body->view)].key,
        .signature = seal->statement.signature,
        .body = seal->statement.body,
        .label = LABEL_PRE_PREPARE,
    };
    if (!sink->check(sink->context, &signature, RULE_SIGNATURE)) {
        return RULE_SIGNATURE;
    }
    struct digest const ledger_root = frontier_root(before);
    if (body->ledger_leaves != before->leaf_count ||
        !digest_equal(&ledger_root, &body->ledger_root)) {
        return RULE_LEDGER_ROOT;
    }
    if (checker->skimming) {
        return RULE_NONE;
    }
    struct digest const batch_root = tree_root(&checker->batch_tree);
    return digest_equal(&batch_root, &body->batch_root) ? RULE_NONE : RULE_BATCH_ROOT;
}

/* Does the batch stand in its place? */
static enum rule judge_place(const struct checker *checker, const struct pre_prepare *body) {
    const struct ledger_position *const now = &checker->now;
    const struct parameters *const parameters = &checker->configuration->parameters;
    if (body->config != checker->configuration->number) {
        return RULE_CONFIGURATION;
    }
    if (body->view != now->view) {
        return RULE_VIEW;
    }
    if (body->seq != now->seq + 1) {
        return RULE_SEQUENCE;
    }
    if (body->view_start != now->view_start) {
        return RULE_VIEW_START;
    }
    if (body->first_index != now->next_index) {
        return RULE_FIRST_INDEX;
    }
    if (body->tx_count != checker->batch_tx_count || body->tx_count > parameters->batch_calls_max) {
        return RULE_TX_COUNT;
    }
    if (!checker_kind_fits(checker, body)) {
        return RULE_BATCH_KIND;
    }
    if (body->seq <= now->view_start &&
        !carried_matches(checker_carried(checker, body->seq), body)) {
        return RULE_REPROPOSAL;
    }
    if (body->gov_index != checker_gov_index_of(checker, body->kind)) {
        return RULE_GOVERNANCE_INDEX;
    }
    return body->time_ms < now->time_ms ? RULE_TIME : RULE_NONE;
}

/* Is the checkpoint named the right one, with the digest that replay gives? */
static enum rule judge_checkpoint(const struct checker *checker, const struct pre_prepare *body) {
    uint64_t const seq = checker_checkpoint_for(checker, checker->now.seq + 1);
    const struct digest *const digest = checkpoint_find(checker, seq);
    CHECK(digest != NULL);
    if (body->checkpoint_seq != seq) {
        return RULE_CHECKPOINT_SEQUENCE;
    }
    return digest_equal(digest, &body->checkpoint_digest) ? RULE_NONE : RULE_CHECKPOINT_DIGEST;
}

/* Does one signer's nonce, and its prepare rebuilt from it, hold (§4, §8)? */
static enum rule judge_signer(const struct configuration *configuration,
                              const struct pending_batch *pending, uint32_t replica,
                              const struct nonce *nonce, const struct signature *signature,
                              const struct sign_sink *sink) {
    struct prepared_batch const batch = {
        .config = configuration->number,
        .view = pending->view,
        .seq = pending->seq,
        .digest = pending->pre_prepare_digest,
    };
    struct prepare prepare;
    prepare_rebuild(&prepare, &configuration->service, &batch, replica, nonce);
    if (signature == NULL) {
        return digest_equal(&prepare.nonce_hash, &pending->nonce_hash) ? RULE_NONE
                                                                       : RULE_EVIDENCE_NONCE;
    }
    uint8_t memory[STATEMENT_SIZE_MAX]; /* want of memory must not look like a broken rule */
    struct buffer body;
    buffer_init_on(&body, memory, sizeof memory);
    if (!prepare_encode(&body, &prepare)) {
        return RULE_EVIDENCE_SIGNATURE;
    }
    struct sign_check const check = {
        .key = configuration->replicas[replica].key,
        .signature = *signature,
        .body = buffer_span(&body),
        .label = LABEL_PREPARE,
    };
    return sink->check(sink->context, &check, RULE_EVIDENCE_SIGNATURE) ? RULE_NONE
                                                                       : RULE_EVIDENCE_SIGNATURE;
}

enum rule batch_evidence_judge(const struct configuration *configuration,
                               const struct pending_batch *pending, uint64_t signers,
                               const struct batch_evidence *evidence,
                               const struct sign_sink *sink) {
    uint32_t const primary = configuration_primary(configuration, pending->view);
    if (!configuration_is_quorum(configuration, signers) || (signers >> primary & 1) == 0) {
        return RULE_EVIDENCE_SIGNERS;
    }
    if (evidence->seq != pending->seq || evidence->nonce_count != configuration->quorum ||
        evidence->signature_count != configuration->quorum - 1) {
        return RULE_EVIDENCE_CONTENT;
    }
    const struct nonce *nonce = evidence->nonces;
    const struct signature *signature = evidence->signatures;
    for (uint32_t replica = 0; replica < configuration->replica_count; replica++) {
        if ((signers >> replica & 1) == 0) {
            continue;
        }
        bool const is_primary = replica == primary;
        enum rule const rule = judge_signer(configuration, pending, replica, nonce,
                                            is_primary ? NULL : signature, sink);
        if (rule != RULE_NONE) {
            return rule;
        }
        nonce++;
        signature += is_primary ? 0 : 1;
    }
    return RULE_NONE;
}

static enum rule judge_evidence(const struct checker *checker, const struct batch_seal *seal,
                                const struct sign_sink *sink) {
    const struct ledger_position *const now = &checker->now;
    const struct pre_prepare *const body = seal->pre_prepare;
    uint64_t const seq = now->seq + 1;
    uint32_t const pipeline = checker->configuration->parameters.pipeline;
    /* What the new view cut off may have held evidence: its first batch carries all of it. */
    bool const is_first_of_view = now->view != 0 && now->seq == now->view_seq;
    if (body->evidence_upto < now->evidence_upto || body->evidence_upto >= seq ||
        body->evidence_upto + pipeline < seq ||
        (is_first_of_view && body->evidence_upto + 1 != seq) ||
        (checker_evidences_all(checker, body) && body->evidence_upto + 1 != seq) ||
        body->evidence_count != body->evidence_upto - now->evidence_upto) {
        return RULE_EVIDENCE_RANGE;
    }
    uint32_t const given = seal->evidence == NULL ? 0 : seal->evidence->batch_count;
    if (given != body->evidence_count) {
        return RULE_EVIDENCE_CONTENT;
    }
    if (given == 0 && body->tx_count == 0 && seq > now->view_start) {
        return RULE_BATCH_EMPTY;
    }
    for (uint32_t i = 0; i < given; i++) {
        const struct pending_batch *const pending =
            &checker->pending[(now->evidence_upto + 1 + i) % CHECKER_MARKS_MAX];
        CHECK(pending->seq == now->evidence_upto + 1 + i);
        enum rule const rule =
            batch_evidence_judge(checker_configuration_of(checker, pending->seq), pending,
                                 body->evidence_signers[i], &seal->evidence->batches[i], sink);
        if (rule != RULE_NONE) {
            return rule;
        }
    }
    return RULE_NONE;
}

static enum rule judge(const struct checker *checker, const struct batch_seal *seal,
                       const struct frontier *before, const struct sign_sink *sink) {
    enum rule rule = judge_binding(checker, seal, before, sink);
    if (rule == RULE_NONE) {
        rule = judge_place(checker, seal->pre_prepare);
    }
    if (rule == RULE_NONE) {
        rule = checker->request_rule;
    }
    if (rule == RULE_NONE) {
        rule = judge_checkpoint(checker, seal->pre_prepare);
    }
    if (rule == RULE_NONE) {
        rule = judge_evidence(checker, seal, sink);
    }
    return rule;
}

static void advance(struct checker *checker, const struct batch_seal *seal,
                    const struct frontier *before) {
    const struct pre_prepare *const body = seal->pre_prepare;
    struct ledger_position *const now = &checker->now;
    struct digest const leaf = ledger_leaf(ENTRY_PRE_PREPARE, seal->entry_payload);
    now->frontier = *before;
    frontier_append(&now->frontier, &leaf);
    now->seq = body->seq;
    now->next_index += body->tx_count;
    now->evidence_upto = body->evidence_upto;
    now->time_ms = body->time_ms;
    now->checkpoint_seq = body->checkpoint_seq;
    now->checkpoint_digest = body->checkpoint_digest;
    checker_advance_configuration(checker, body);
    checker->pending[now->seq % CHECKER_MARKS_MAX] = (struct pending_batch){
        .seq = now->seq,
        .view = body->view,
        .pre_prepare_digest = hash_statement(LABEL_PRE_PREPARE, &checker->configuration->service,
                                             seal->statement.body, &seal->statement.signature),
        .nonce_hash = body->nonce_hash,
    };
}

enum rule checker_batch_seal(struct checker *checker, const struct batch_seal *seal,
                             const struct sign_sink *sink) {
    CHECK(checker->in_batch);
    struct frontier const before = frontier_before(checker, seal->evidence_payload);
    enum rule const rule = judge(checker, seal, &before, sink);
    if (rule != RULE_NONE) {
        checker_batch_abandon(checker);
        return rule;
    }
    uint64_t const pre_prepare_entry =
        checker->now.entries + (seal->evidence_payload.size == 0 ? 0 : 1);
    checker->failed |= !window_commit(checker->window, seal->pre_prepare->seq,
                                      checker->now.next_index, pre_prepare_entry);
    advance(checker, seal, &before);
    checker->now.entries = pre_prepare_entry + 1 + seal->request_count;
    checker->in_batch = false;
    checker->batch_tx_count = 0;
    checker_mark_now(checker);
    return RULE_NONE;
}

enum rule checker_batch_skim(struct checker *checker, const struct batch_seal *seal,
                             const struct sign_sink *sink) {
    checker_batch_begin_stated(checker, seal->pre_prepare->first_index);
    checker->batch_tx_count = seal->pre_prepare->tx_count;
    checker->skimming = true;
    enum rule const rule = checker_batch_seal(checker, seal, sink);
    checker->skimming = false;
    return rule;
}

struct digest checker_pre_prepare_digest(const struct checker *checker, uint64_t seq) {
    const struct pending_batch *const pending = &checker->pending[seq % CHECKER_MARKS_MAX];
    CHECK(seq != 0 && pending->seq == seq);
    return pending->pre_prepare_digest;
}

/* ---- history ---- */

const struct ledger_position *checker_position_at(const struct checker *checker, uint64_t seq) {
    if (seq < checker->mark_first || seq > checker->now.seq) {
        return NULL;
    }
    return &checker->marks[seq % CHECKER_MARKS_MAX];
}

void checker_settle(struct checker *checker, uint64_t seq) {
    CHECK(seq <= checker->now.seq);
    if (seq <= checker->settled_seq) {
        return;
    }
    checker->settled_seq = seq;
    /* Judged at the settled batch: what comes after it may still be rolled back. */
    const struct ledger_position *const settled = checker_position_at(checker, seq);
    if (settled != NULL && !checker->in_batch) {
        window_expire(checker->window, settled->next_index, seq);
    }
}
