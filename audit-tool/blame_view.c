/*
 * blame_view: proofs about changes of view (protocol §6, §10). As in blame.c, nothing is a finding
 * before it has been verified as a stranger would.
 */
#include "audit-tool/audit_internal.h"
#include "audit-tool/proof_internal.h"
#include "ledger/derive.h"
#include "ledger/view.h"
#include "merkle/tree.h"

void blame_understated(struct audit *audit, const struct found_certificate *certificate,
                       const struct view_change_set *set, uint64_t nths) {
    struct proof proof = {
        .kind = PROOF_UNDERSTATED_VIEW_CHANGE,
        .certificate_count = 1,
        .certificates = {buffer_span(&certificate->bytes)},
    };
    for (uint32_t i = 0; i < set->count; i++) {
        if ((nths >> i & 1) != 0) {
            proof.statements[proof.statement_count++] = set->view_changes[i];
        }
    }
    blame_with(audit, certificate->batch.pre_prepare.config, &proof);
}

/* ---- one view, two ledgers ---- */

/* The leaves of M that the entries before `end` make. */
static bool leaves_read(struct audit *audit, struct tree *tree, const struct audit_ledger *ledger,
                        uint64_t end) {
    struct segment_reader reader;
    struct problem ignored = {.code = EXIT_OK}; /* they have all been read before */
    bool going = true;
    segment_reader_init(&reader, ledger->disk, &audit->options.configuration->service, true);
    for (uint64_t index = 0; going && index < end; index++) {
        struct segment_record record;
        going = segment_reader_next(&reader, &record, &ignored) == 1;
        if (going && record.kind != ENTRY_REQUEST) {
            struct digest const leaf = ledger_leaf(record.kind, record.payload);
            going = tree_append(tree, &leaf);
        }
    }
    segment_reader_free(&reader);
    return going;
}

/* What a chain adds to M before its last pre-prepare. */
static bool leaves_of_chain(struct tree *tree, const struct view_change *view_change) {
    struct buffer encoded;
    bool going = true;
    buffer_init(&encoded, STATEMENT_SIZE_MAX + 256u);
    for (uint32_t i = 0; going && i < view_change->chain_count; i++) {
        const struct chain_item *const item = &view_change->chain[i];
        going = !item->has_evidence || tree_append(tree, &item->evidence_leaf);
        if (i + 1 < view_change->chain_count) {
            buffer_clear(&encoded);
            going = going && signed_encode(&encoded, &item->pre_prepare);
            struct digest const leaf = ledger_leaf(ENTRY_PRE_PREPARE, buffer_span(&encoded));
            going = going && tree_append(tree, &leaf);
        }
    }
    buffer_free(&encoded);
    return going;
}

/* The leaf of M that stands where the certificate says that its own batch does; leaf first. */
static uint32_t path_to(struct digest path[static MERKLE_DEPTH_MAX + 1], const struct tree *tree,
                        const struct found_certificate *certificate) {
    uint64_t const index = certificate->batch.pre_prepare.ledger_leaves;
    if (index >= tree->leaf_count) {
        return 0; /* the numbers alone contradict each other */
    }
    path[0] = tree_leaf(tree, index);
    return 1 + tree_inclusion_path(tree, path + 1, index, tree->leaf_count);
}

void blame_fork_behind(struct audit *audit, const struct found_certificate *certificate,
                       const struct audit_ledger *ledger) {
    uint64_t const config = certificate->batch.pre_prepare.config;
    const struct configuration *const configuration = audit_configuration(audit, config);
    const struct batch *const batch = &ledger->reader.batch;
    struct digest path[MERKLE_DEPTH_MAX + 1];
    struct found_certificate other;
    struct tree tree;
    tree_init(&tree);
    found_certificate_init(&other);
    uint64_t const pre_prepare_entry =
        batch->first_entry + (batch->seal.evidence_payload.size == 0 ? 0 : 1);
    if (configuration == NULL || !certificate_find(audit, &other, ledger) ||
        other.batch.pre_prepare.config != config) {
        /* nobody but its primary vouches for that ledger */
    } else if (certificates_conflict(configuration, &certificate->batch, &other.batch)) {
        blame_certificates(audit, certificate, &other);
    } else if (blame_is_news(audit, config, PROOF_FORKED_VIEW,
                             certificate->batch.signers & other.batch.signers) &&
               leaves_read(audit, &tree, ledger, pre_prepare_entry)) {
        struct proof proof = {
            .kind = PROOF_FORKED_VIEW,
            .certificate_count = 2,
            .certificates = {buffer_span(&certificate->bytes), buffer_span(&other.bytes)},
            .path_count = path_to(path, &tree, certificate),
            .path = path,
        };
        blame_with(audit, config, &proof);
    }
    found_certificate_free(&other);
    tree_free(&tree);
}

/* With the view-change that the new view has chosen, decoded. */
static bool blame_chosen(struct audit *audit, const struct configuration *configuration,
                         const struct found_certificate *certificate,
                         const struct audit_ledger *ledger, const struct view_claim *claim,
                         const struct signed_body *statement) {
    const struct pre_prepare *const body = &certificate->batch.pre_prepare;
    struct digest path[MERKLE_DEPTH_MAX + 1];
    struct tree tree;
    bool done = true;
    if (claim->rank.view != body->view || claim->rank.seq < body->seq) {
        return false;
    }
    uint64_t const prepared = claim->view_change.signers |
                              (uint64_t)1 << configuration_primary(configuration, body->view);
    if (!blame_is_news(audit, body->config, PROOF_FORKED_VIEW,
                       certificate->batch.signers & prepared)) {
        audit->report.findings_further++;
        return true;
    }
    struct proof proof = {
        .kind = PROOF_FORKED_VIEW,
        .certificate_count = 1,
        .certificates = {buffer_span(&certificate->bytes)},
        .statement_count = 1,
        .statements = {*statement},
        .path = path,
    };
    tree_init(&tree);
    const struct pre_prepare *const last = &claim->batches[claim->view_change.chain_count - 1];
    if (last->seq != body->seq && batch_extends(configuration, body, last)) {
        done = leaves_read(audit, &tree, ledger, ledger->reader.batch.first_entry) &&
               leaves_of_chain(&tree, &claim->view_change);
        proof.path_count = done ? path_to(path, &tree, certificate) : 0;
    }
    if (done) {
        blame_with(audit, body->config, &proof);
    }
    tree_free(&tree);
    return done;
}

bool blame_fork_chosen(struct audit *audit, const struct found_certificate *certificate,
                       const struct audit_ledger *ledger) {
    const struct view_change_set *const set = &ledger->reader.batch.view.set;
    const struct new_view *const body = &ledger->reader.batch.view.new_view;
    struct arena arena;
    bool answered = false;
    const struct configuration *const configuration = audit_configuration(audit, body->config);
    arena_init(&arena, 16 * (size_t)VIEW_CHANGE_SIZE_MAX);
    for (uint32_t i = 0; configuration != NULL && i < set->count && !answered; i++) {
        struct view_claim claim;
        arena_reset(&arena);
        if (view_change_judge(&claim, &arena, configuration, &set->view_changes[i],
                              &sign_sink_trust) == RULE_NONE &&
            claim.rank.view == body->chosen_view && claim.rank.seq == body->chosen_seq) {
            answered = blame_chosen(audit, configuration, certificate, ledger, &claim,
                                    &set->view_changes[i]);
        }
    }
    arena_free(&arena);
    return answered;
}
