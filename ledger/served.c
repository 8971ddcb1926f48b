/*
 * served: see served.h.
 *
 * What is not known where the range begins (batch numbers, the view, the leaves of M) is learnt
 * from its first batch and new view, and from then on every statement must follow from those before
 * it. Only what the checker demands of every ledger (ledger/checker.c) is asked here, so that a
 * range cut from a verified ledger between any two units of one configuration breaks no rule.
 * Whether a vote has passed is not seen without executing, so the batches that end a configuration
 * are taken as they come. What lies in another configuration than the one that was signed for
 * breaks the rule RULE_CONFIGURATION: who hands over ends where the next begins (protocol §9).
 *
 * What is found convicts the server, so want of memory must never look like a broken rule: it sets
 * `failed`, and then nothing is said.
 */
#include "ledger/served.h"

#include <stdlib.h>

#include "base/arena.h"
#include "base/check.h"
#include "ledger/batch.h"
#include "ledger/checker.h"
#include "ledger/derive.h"
#include "ledger/wire.h"
#include "merkle/frontier.h"

/* A decoded range: its bytes unpacked, packed again to be compared, and the entries' places. */
#define RANGE_BUDGET (4 * (size_t)FRAME_SIZE_MAX)
#define REQUEST_BUDGET (2 * (size_t)ENTRY_SIZE_MAX)

/* So many batches are remembered: evidence reaches no further back. */
#define KEPT_MAX (2u * EVIDENCE_BATCHES_MAX)

/* What the units so far say about the next one. */
struct standing {
    bool has_batch; /* seq, next_index, evidence_upto, gov_index and time_ms are known */
    bool has_view;  /* view, view_start and leaves are known */
    bool has_tree;  /* frontier is known: the range begins with genesis */
    bool after_view;
    uint32_t endings; /* batches that end the configuration; the range may begin between them */
    uint64_t seq;
    uint64_t next_index;
    uint64_t evidence_upto;
    uint64_t gov_index;
    uint64_t time_ms;
    uint64_t view;
    uint64_t view_start;
    uint64_t leaves;
    struct frontier frontier;
};

struct judge {
    const struct configuration *configuration;
    const struct sign_sink *sink;
    struct standing now;
    struct pending_batch kept[KEPT_MAX]; /* by sequence number; seq 0: free */
    struct batch batch;
    struct frontier requests; /* G of the batch at hand */
    struct arena arena;       /* of one request */
    bool failed;
};

/* ---- a batch --------------------------------------------------------------------------------- */

static bool sink_trust(void *context, const struct sign_check *check, enum rule rule) {
    (void)context;
    (void)check;
    (void)rule;
    return true;
}

static const struct sign_sink trust = {.check = sink_trust};

static enum rule check_signature(const struct judge *judge, const struct sign_check *check,
                                 enum rule rule) {
    return judge->sink->check(judge->sink->context, check, rule) ? RULE_NONE : rule;
}

static const struct public_key *primary_key(const struct judge *judge, uint64_t view) {
    const struct configuration *const configuration = judge->configuration;
    return &configuration->replicas[configuration_primary(configuration, view)].key;
}

/* M just before the statement at hand, whose unit put this entry before it; empty: none. */
static struct standing before_statement(const struct judge *judge, enum entry_kind kind,
                                        struct span entry) {
    struct standing before = judge->now;
    if (entry.size != 0) {
        before.leaves++;
        if (before.has_tree) {
            struct digest const leaf = ledger_leaf(kind, entry);
            frontier_append(&before.frontier, &leaf);
        }
    }
    return before;
}

static enum rule check_root(const struct standing *before, uint64_t leaves,
                            const struct digest *root) {
    if (before->has_view && leaves != before->leaves) {
        return RULE_LEDGER_ROOT;
    }
    if (!before->has_tree) {
        return RULE_NONE;
    }
    struct digest const expected = frontier_root(&before->frontier);
    return digest_equal(&expected, root) ? RULE_NONE : RULE_LEDGER_ROOT;
}

static void advance_leaves(struct standing *now, const struct standing *before, uint64_t leaves,
                           enum entry_kind kind, struct span entry) {
    now->leaves = leaves + 1;
    if (now->has_tree) {
        struct digest const leaf = ledger_leaf(kind, entry);
        now->frontier = before->frontier;
        frontier_append(&now->frontier, &leaf);
    }
}

/* One request with its outcomes, as leaves of G. */
static enum rule judge_request(struct judge *judge, struct span payload, uint64_t index) {
    const struct digest *const service = &judge->configuration->service;
    struct request_entry entry;
    struct request request;
    arena_reset(&judge->arena);
    if (request_entry_decode(&entry, &judge->arena, payload) != CODEC_OK ||
        request_decode(&request, &judge->arena, service, entry.request) != CODEC_OK ||
        request.call_count != entry.outcome_count) {
        judge->failed |= judge->arena.exhausted;
        return RULE_ENTRY_ENCODING;
    }
    if (entry.first_index != index) {
        return RULE_ENTRY_ORDER;
    }
    if (!configuration_has_author(judge->configuration, &request.author)) {
        return RULE_REQUEST_AUTHOR;
    }
    for (uint32_t i = 0; i < request.call_count; i++) {
        struct digest const outcome = hash_labelled(LABEL_OUTCOME, service, entry.outcomes[i]);
        struct digest const leaf = batch_leaf(&request.digest, i, index + i, &outcome);
        frontier_append(&judge->requests, &leaf);
    }
    struct sign_check const check = {.key = request.author,
                                     .signature = request.signature,
                                     .body = request.header,
                                     .label = LABEL_REQUEST};
    return check_signature(judge, &check, RULE_REQUEST_SIGNATURE);
}

/* Out: entry: which of the batch's entries broke the rule. */
static enum rule judge_requests(struct judge *judge, uint32_t *entry) {
    const struct batch *const batch = &judge->batch;
    const struct pre_prepare *const body = &batch->pre_prepare;
    uint32_t const first = batch_entry_count(batch) - batch->request_count;
    frontier_init(&judge->requests);
    for (uint32_t i = 0; i < batch->request_count; i++) {
        uint64_t const index = body->first_index + judge->requests.leaf_count;
        *entry = first + i;
        enum rule const rule = judge_request(judge, batch_request_payload(batch, i), index);
        if (rule != RULE_NONE || judge->failed) {
            return rule;
        }
    }
    *entry = first - 1;
    struct digest const root = frontier_root(&judge->requests);
    return digest_equal(&root, &body->batch_root) ? RULE_NONE : RULE_BATCH_ROOT;
}

/* Kinds stand in their order; two empty batches end a configuration, and nothing follows. */
static bool kind_fits(const struct judge *judge, const struct pre_prepare *body) {
    const struct standing *const now = &judge->now;
    bool is_good = false;
    switch (body->kind) {
    case BATCH_NORMAL:
        is_good = now->endings == 0;
        break;
    case BATCH_END_OF_CONFIGURATION:
        is_good = body->tx_count == 0 && now->endings < CLOSING_BATCHES;
        break;
    case BATCH_START_OF_CONFIGURATION:
        is_good = body->tx_count == 0 && judge->configuration->number != 1 && !now->has_batch;
        break;
    }
    return is_good;
}

/* What a pre-prepare must say whatever came before it. */
static enum rule judge_statement(const struct judge *judge) {
    const struct configuration *const configuration = judge->configuration;
    const struct pre_prepare *const body = &judge->batch.pre_prepare;
    struct sign_check const signature = {
        .key = *primary_key(judge, body->view),
        .signature = judge->batch.seal.statement.signature,
        .body = judge->batch.seal.statement.body,
        .label = LABEL_PRE_PREPARE,
    };
    if (body->config != configuration->number) {
        return RULE_CONFIGURATION;
    }
    if (body->tx_count > configuration->parameters.batch_calls_max) {
        return RULE_TX_COUNT;
    }
    if (!kind_fits(judge, body)) {
        return RULE_BATCH_KIND;
    }
    /* Where later configurations begin is not known here, and with it what they carry. */
    if (configuration->number == 1 &&
        body->checkpoint_seq != configuration_checkpoint_for(configuration, body->seq)) {
        return RULE_CHECKPOINT_SEQUENCE;
    }
    return check_signature(judge, &signature, RULE_SIGNATURE);
}

/* What it must say after the units before it. */
static enum rule judge_place(const struct standing *now, const struct pre_prepare *body) {
    if (now->has_view && body->view != now->view) {
        return RULE_VIEW;
    }
    if (now->has_view && body->view_start != now->view_start) {
        return RULE_VIEW_START;
    }
    if (!now->has_batch) {
        return RULE_NONE;
    }
    if (body->seq != now->seq + 1) {
        return RULE_SEQUENCE;
    }
    if (body->first_index != now->next_index) {
        return RULE_FIRST_INDEX;
    }
    bool const ends = body->kind == BATCH_END_OF_CONFIGURATION && now->endings == 0;
    if (body->gov_index != (ends ? now->next_index - 1 : now->gov_index)) {
        return RULE_GOVERNANCE_INDEX;
    }
    return body->time_ms < now->time_ms ? RULE_TIME : RULE_NONE;
}

static enum rule judge_evidence_range(const struct judge *judge, const struct pre_prepare *body) {
    const struct standing *const now = &judge->now;
    uint32_t const pipeline = judge->configuration->parameters.pipeline;
    if (body->evidence_upto >= body->seq || body->evidence_upto + pipeline < body->seq ||
        body->evidence_count > body->evidence_upto ||
        (now->after_view && body->evidence_upto + 1 != body->seq) ||
        (now->has_batch && body->evidence_count != body->evidence_upto - now->evidence_upto)) {
        return RULE_EVIDENCE_RANGE;
    }
    const struct evidence *const evidence = judge->batch.seal.evidence;
    if ((evidence == NULL ? 0 : evidence->batch_count) != body->evidence_count) {
        return RULE_EVIDENCE_CONTENT;
    }
    return evidence == NULL && body->tx_count == 0 && body->seq > body->view_start
               ? RULE_BATCH_EMPTY
               : RULE_NONE;
}

static enum rule judge_evidence(const struct judge *judge) {
    const struct pre_prepare *const body = &judge->batch.pre_prepare;
    enum rule rule = judge_evidence_range(judge, body);
    for (uint32_t i = 0; rule == RULE_NONE && i < body->evidence_count; i++) {
        uint64_t const seq = body->evidence_upto - body->evidence_count + 1 + i;
        const struct batch_evidence *const evidence = &judge->batch.evidence.batches[i];
        const struct pending_batch *const kept = &judge->kept[seq % KEPT_MAX];
        if (evidence->seq != seq) {
            return RULE_EVIDENCE_CONTENT;
        }
        if (kept->seq == seq) {
            rule = batch_evidence_judge(judge->configuration, kept, body->evidence_signers[i],
                                        evidence, judge->sink);
        }
    }
    return rule;
}

static void advance_batch(struct judge *judge, const struct standing *before) {
    const struct pre_prepare *const body = &judge->batch.pre_prepare;
    const struct batch_seal *const seal = &judge->batch.seal;
    struct standing *const now = &judge->now;
    advance_leaves(now, before, body->ledger_leaves, ENTRY_PRE_PREPARE, seal->entry_payload);
    now->endings += body->kind == BATCH_END_OF_CONFIGURATION ? 1 : 0;
    now->has_batch = true;
    now->has_view = true;
    now->after_view = false;
    now->seq = body->seq;
    now->next_index = body->first_index + body->tx_count;
    now->evidence_upto = body->evidence_upto;
    now->gov_index = body->gov_index;
    now->time_ms = body->time_ms;
    now->view = body->view;
    now->view_start = body->view_start;
    judge->kept[body->seq % KEPT_MAX] = (struct pending_batch){
        .seq = body->seq,
        .view = body->view,
        .pre_prepare_digest = hash_statement(LABEL_PRE_PREPARE, &judge->configuration->service,
                                             seal->statement.body, &seal->statement.signature),
        .nonce_hash = body->nonce_hash,
    };
}

/* Out: entry: which of the batch's entries broke the rule. */
static enum rule judge_batch(struct judge *judge, uint32_t *entry) {
    const struct pre_prepare *const body = &judge->batch.pre_prepare;
    struct span const evidence = judge->batch.seal.evidence_payload;
    struct standing const before = before_statement(judge, ENTRY_EVIDENCE, evidence);
    *entry = evidence.size == 0 ? 0 : 1;
    enum rule rule = judge_statement(judge);
    if (rule == RULE_NONE) {
        rule = judge_place(&judge->now, body);
    }
    if (rule == RULE_NONE) {
        rule = check_root(&before, body->ledger_leaves, &body->ledger_root);
    }
    if (rule == RULE_NONE) {
        rule = judge_evidence(judge);
    }
    if (rule == RULE_NONE) {
        rule = judge_requests(judge, entry);
    }
    if (rule == RULE_NONE) {
        advance_batch(judge, &before);
    }
    return rule;
}

/* ---- a new view ------------------------------------------------------------------------------ */

static enum rule judge_view(struct judge *judge) {
    const struct view_unit *const unit = &judge->batch.view;
    const struct new_view *const body = &unit->new_view;
    struct standing *const now = &judge->now;
    struct standing const before =
        before_statement(judge, ENTRY_VIEW_CHANGE_SET, unit->set_payload);
    struct sign_check const signature = {
        .key = *primary_key(judge, body->view),
        .signature = unit->statement.signature,
        .body = unit->statement.body,
        .label = LABEL_NEW_VIEW,
    };
    if (body->config != judge->configuration->number) {
        return RULE_CONFIGURATION;
    }
    if (unit->set.count != judge->configuration->quorum) {
        return RULE_VIEW_CHANGES;
    }
    if (!view_unit_is_bound(unit, &judge->configuration->service)) {
        return RULE_VIEW_SET;
    }
    if (now->has_view && body->view <= now->view) {
        return RULE_VIEW_ORDER;
    }
    enum rule rule = check_root(&before, body->ledger_leaves, &body->ledger_root);
    if (rule == RULE_NONE) {
        rule = check_signature(judge, &signature, RULE_SIGNATURE);
    }
    if (rule == RULE_NONE) {
        advance_leaves(now, &before, body->ledger_leaves, ENTRY_NEW_VIEW, unit->entry_payload);
        now->has_view = true;
        now->after_view = true;
        now->view = body->view;
        now->view_start = body->chosen_seq;
    }
    return rule;
}

/* ---- a range --------------------------------------------------------------------------------- */

/* Where every ledger begins. */
static enum rule judge_genesis(struct judge *judge, const struct entry *entry) {
    struct digest const no_service = {{0}};
    struct digest const digest = hash_labelled(LABEL_GENESIS, &no_service, entry->payload);
    if (entry->kind != ENTRY_GENESIS) {
        return RULE_ENTRY_ORDER;
    }
    if (judge->configuration->number != 1) {
        return RULE_CONFIGURATION;
    }
    if (!digest_equal(&digest, &judge->configuration->service)) {
        return RULE_ENTRY_ENCODING;
    }
    struct digest const leaf = ledger_leaf(ENTRY_GENESIS, entry->payload);
    frontier_init(&judge->now.frontier);
    frontier_append(&judge->now.frontier, &leaf);
    judge->now.has_tree = true;
    return RULE_NONE;
}

static struct served_judgement broken(const struct judge *judge, enum rule rule, uint64_t entry) {
    return judge->failed ? (struct served_judgement){.failed = true}
                         : (struct served_judgement){.rule = rule, .entry = entry};
}

static struct served_judgement judge_entry(struct judge *judge, uint64_t index,
                                           const struct entry *entry) {
    enum rule rule = RULE_NONE;
    uint32_t nth = 0;
    if (index == 0) {
        return broken(judge, judge_genesis(judge, entry), 0);
    }
    switch (batch_add(&judge->batch, index, entry, &rule)) {
    case BATCH_MORE:
        return broken(judge, RULE_NONE, 0);
    case BATCH_BROKEN:
        judge->failed |= batch_failed(&judge->batch);
        return broken(judge, rule, index);
    case BATCH_WHOLE:
        rule = judge_batch(judge, &nth);
        break;
    case BATCH_VIEW:
        rule = judge_view(judge);
        nth = 1;
        break;
    }
    struct served_judgement const judgement = broken(judge, rule, judge->batch.first_entry + nth);
    batch_clear(&judge->batch);
    return judgement;
}

static struct served_judgement judge_range(struct judge *judge, const struct served *served,
                                           const struct range_message *range) {
    if (range->first_entry != served->first || range->count != served->end - served->first) {
        return broken(judge, RULE_ENTRY_ORDER, served->first);
    }
    /*
     * Before the first batch, everybody knows where the ledger stands; but what is judged by a
     * later configuration begins further on.
     */
    judge->now =
        served->first > 1 || judge->configuration->number != 1
            ? (struct standing){0}
            : (struct standing){.has_batch = true, .has_view = true, .next_index = 1, .leaves = 1};
    for (uint32_t i = 0; i < range->count; i++) {
        struct served_judgement const judgement =
            judge_entry(judge, served->first + i, &range->entries[i]);
        if (judgement.failed || judgement.rule != RULE_NONE) {
            return judgement;
        }
    }
    /* What begins must end. */
    return broken(judge, batch_is_empty(&judge->batch) ? RULE_NONE : RULE_ENTRY_ORDER,
                  judge->batch.first_entry);
}

static struct judge *judge_new(const struct configuration *configuration,
                               const struct sign_sink *sink) {
    struct judge *const judge = calloc(1, sizeof *judge);
    if (judge != NULL) {
        judge->configuration = configuration;
        judge->sink = sink == NULL ? &trust : sink;
        batch_init(&judge->batch);
        arena_init(&judge->arena, REQUEST_BUDGET);
    }
    return judge;
}

static void judge_free(struct judge *judge) {
    batch_free(&judge->batch);
    arena_free(&judge->arena);
    free(judge);
}

struct served_judgement served_range_judge(const struct configuration *configuration,
                                           const struct served *served, struct span payload,
                                           const struct sign_sink *sink) {
    CHECK(served->part == SERVED_ENTRIES && served->first <= served->end &&
          served->range_config == configuration->number);
    struct judge *const judge = judge_new(configuration, sink);
    if (judge == NULL) {
        return (struct served_judgement){.failed = true};
    }
    struct arena arena;
    struct range_message range;
    arena_init(&arena, RANGE_BUDGET);
    bool const decodes = range_message_decode(&range, &arena, payload) == CODEC_OK;
    judge->failed = !decodes && arena.exhausted;
    struct served_judgement const judgement =
        decodes ? judge_range(judge, served, &range)
                : broken(judge, RULE_ENTRY_ENCODING, served->first);
    arena_free(&arena);
    judge_free(judge);
    return judgement;
}

/* ---- digests --------------------------------------------------------------------------------- */

struct digest served_bytes_digest(const struct digest *service, struct span payload) {
    return hash_labelled(LABEL_SERVED_BYTES, service, payload);
}

struct digest demand_digest(const struct digest *service, const struct signed_body *demand) {
    return hash_statement(LABEL_DEMAND, service, demand->body, &demand->signature);
}
