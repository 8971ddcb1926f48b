/*
 * view: see view.h. What is judged here needs no ledger: everything that a view-change says is
 * signed by those it speaks of, and its chain must be one that a ledger can hold.
 *
 * A broken rule may convict, so want of memory must never look like one: encodings are made on the
 * stack, and an arena that ran out says so (arena.exhausted).
 */
#include "ledger/view.h"

#include "ledger/derive.h"

int rank_compare(struct rank a, struct rank b) {
    if (a.view != b.view) {
        return a.view < b.view ? -1 : 1;
    }
    return (a.seq > b.seq) - (a.seq < b.seq);
}

static bool holds(const struct sign_sink *sink, const struct sign_check *check) {
    return sink->check(sink->context, check, RULE_VIEW_CHANGES);
}

/* One pre-prepare of a chain by itself: whose it is, and that it is of this configuration. */
static bool judge_statement(const struct configuration *configuration,
                            const struct signed_body *statement, const struct pre_prepare *body,
                            const struct sign_sink *sink) {
    if (body->config != configuration->number) {
        return false;
    }
    struct sign_check const check = {
        .key = configuration->replicas[configuration_primary(configuration, body->view)].key,
        .signature = statement->signature,
        .body = statement->body,
        .label = LABEL_PRE_PREPARE,
    };
    return holds(sink, &check);
}

/* Does batch b come right after batch a, in the same view, with no gap in M or in the indices? */
static bool follows(const struct pre_prepare *a, const struct pre_prepare *b) {
    uint64_t const leaves = a->ledger_leaves + 1 + (b->evidence_count == 0 ? 0 : 1);
    return b->view == a->view && b->view_start == a->view_start && b->seq == a->seq + 1 &&
           b->ledger_leaves == leaves && b->first_index == a->first_index + a->tx_count &&
           b->evidence_upto >= a->evidence_upto && b->time_ms >= a->time_ms;
}

static bool judge_chain(const struct view_claim *claim, const struct configuration *configuration,
                        const struct sign_sink *sink) {
    const struct view_change *const view_change = &claim->view_change;
    for (uint32_t i = 0; i < view_change->chain_count; i++) {
        const struct chain_item *const item = &view_change->chain[i];
        const struct pre_prepare *const body = &claim->batches[i];
        if (item->has_evidence != (body->evidence_count != 0) ||
            (i != 0 && !follows(&claim->batches[i - 1], body)) ||
            !judge_statement(configuration, &item->pre_prepare, body, sink)) {
            return false;
        }
    }
    const struct pre_prepare *const first = &claim->batches[0];
    const struct pre_prepare *const last = &claim->batches[view_change->chain_count - 1];
    return first->seq == last->evidence_upto + 1 && last->seq >= last->view_start &&
           last->view < view_change->view &&
           first->ledger_leaves > (first->evidence_count == 0 ? 0u : 1u);
}

/* The Q-1 prepares for the last batch of the chain. */
static bool judge_certificate(const struct view_claim *claim,
                              const struct configuration *configuration,
                              const struct sign_sink *sink) {
    const struct view_change *const view_change = &claim->view_change;
    uint32_t const last = view_change->chain_count - 1;
    const struct pre_prepare *const body = &claim->batches[last];
    uint64_t const primary = UINT64_C(1) << configuration_primary(configuration, body->view);
    if ((view_change->signers & primary) != 0 ||
        !configuration_is_quorum(configuration, view_change->signers | primary)) {
        return false;
    }
    uint8_t memory[STATEMENT_SIZE_MAX];
    struct buffer encoded;
    buffer_init_on(&encoded, memory, sizeof memory);
    bool good = true;
    uint32_t at = 0;
    for (uint32_t r = 0; good && r < configuration->replica_count; r++) {
        if ((view_change->signers >> r & 1) == 0) {
            continue;
        }
        struct prepare const prepare = {
            .config = body->config,
            .view = body->view,
            .seq = body->seq,
            .replica = r,
            .pre_prepare_digest = claim->batch_digests[last],
            .nonce_hash = view_change->nonce_hashes[at],
        };
        buffer_clear(&encoded);
        good = prepare_encode(&encoded, &prepare);
        struct sign_check const check = {
            .key = configuration->replicas[r].key,
            .signature = view_change->signatures[at],
            .body = buffer_span(&encoded),
            .label = LABEL_PREPARE,
        };
        good = good && holds(sink, &check);
        at++;
    }
    return good;
}

static bool decode_chain(struct view_claim *out, struct arena *arena,
                         const struct digest *service) {
    const struct view_change *const view_change = &out->view_change;
    uint32_t const count = view_change->chain_count;
    struct pre_prepare *const batches = arena_alloc(arena, count * sizeof *batches);
    struct digest *const digests = arena_alloc(arena, count * sizeof *digests);
    if (batches == NULL || digests == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        const struct signed_body *const statement = &view_change->chain[i].pre_prepare;
        if (pre_prepare_decode(&batches[i], arena, statement->body) != CODEC_OK) {
            return false;
        }
        digests[i] =
            hash_statement(LABEL_PRE_PREPARE, service, statement->body, &statement->signature);
    }
    out->batches = batches;
    out->batch_digests = digests;
    out->rank = (struct rank){.view = batches[count - 1].view, .seq = batches[count - 1].seq};
    return true;
}

enum rule view_change_judge(struct view_claim *out, struct arena *arena,
                            const struct configuration *configuration,
                            const struct signed_body *statement, const struct sign_sink *sink) {
    const struct view_change *const view_change = &out->view_change;
    *out = (struct view_claim){.rank = {0}};
    if (view_change_decode(&out->view_change, arena, statement->body) != CODEC_OK ||
        view_change->config != configuration->number ||
        view_change->replica >= configuration->replica_count) {
        return RULE_VIEW_CHANGES;
    }
    out->digest = hash_statement(LABEL_VIEW_CHANGE, &configuration->service, statement->body,
                                 &statement->signature);
    struct sign_check const check = {
        .key = configuration->replicas[view_change->replica].key,
        .signature = statement->signature,
        .body = statement->body,
        .label = LABEL_VIEW_CHANGE,
    };
    if (!holds(sink, &check)) {
        return RULE_VIEW_CHANGES;
    }
    if (view_change->chain_count == 0) {
        return RULE_NONE;
    }
    bool const good = decode_chain(out, arena, &configuration->service) &&
                      judge_chain(out, configuration, sink) &&
                      judge_certificate(out, configuration, sink);
    return good ? RULE_NONE : RULE_VIEW_CHANGES;
}

bool view_unit_is_bound(const struct view_unit *unit, const struct digest *service) {
    const struct new_view *const body = &unit->new_view;
    bool bound = body->view_change_count == unit->set.count;
    for (uint32_t i = 0; bound && i < unit->set.count; i++) {
        const struct signed_body *const statement = &unit->set.view_changes[i];
        struct digest const digest =
            hash_statement(LABEL_VIEW_CHANGE, service, statement->body, &statement->signature);
        bound = digest_equal(&digest, &body->view_change_digests[i]);
    }
    return bound;
}

uint32_t view_claims_choose(const struct view_claim *claims, uint32_t count) {
    uint32_t chosen = 0;
    for (uint32_t i = 1; i < count; i++) {
        if (rank_compare(claims[i].rank, claims[chosen].rank) > 0) {
            chosen = i;
        }
    }
    return chosen;
}

bool view_claim_links(const struct view_claim *claim, const struct frontier *frontier) {
    struct frontier leaves = *frontier;
    uint8_t memory[STATEMENT_SIZE_MAX + 256u];
    struct buffer encoded;
    buffer_init_on(&encoded, memory, sizeof memory);
    bool good = true;
    for (uint32_t i = 0; good && i < claim->view_change.chain_count; i++) {
        const struct chain_item *const item = &claim->view_change.chain[i];
        if (item->has_evidence) {
            frontier_append(&leaves, &item->evidence_leaf);
        }
        struct digest const root = frontier_root(&leaves);
        buffer_clear(&encoded);
        good = leaves.leaf_count == claim->batches[i].ledger_leaves &&
               digest_equal(&root, &claim->batches[i].ledger_root) &&
               signed_encode(&encoded, &item->pre_prepare);
        struct digest const leaf = ledger_leaf(ENTRY_PRE_PREPARE, buffer_span(&encoded));
        frontier_append(&leaves, &leaf);
    }
    return good;
}

struct carried_batch view_claim_carried(const struct view_claim *claim, uint32_t nth) {
    const struct pre_prepare *const body = &claim->batches[nth];
    return (struct carried_batch){
        .seq = body->seq,
        .batch_root = body->batch_root,
        .first_index = body->first_index,
        .tx_count = body->tx_count,
        .kind = body->kind,
        .gov_index = body->gov_index,
        .time_ms = body->time_ms,
    };
}
