/*
 * rank: the highest prepared certificate of this replica, and the view-change that shows it
 * (protocol §6).
 *
 * A replica ranks by the ledger that it has on disk. As long as a new view is only followed in
 * memory, what was captured when the ledger was left speaks for it; so the rank never falls, and
 * never falls short of a nonce that was revealed. It never ranks by a certificate that others
 * show, for it could not give the batches that this speaks of.
 */
#include "base/check.h"
#include "consensus/state.h"
#include "ledger/derive.h"

/* The highest ranking certified batch of the ledger in memory, or NULL. */
struct slot *rank_highest(struct replica *replica) {
    struct slot *highest = NULL;
    struct rank rank = {0};
    for (uint64_t seq = replica->executed_seq; seq > config_start(replica); seq--) {
        struct slot *const slot = slot_find(replica, seq);
        if (slot == NULL) {
            break;
        }
        struct rank const candidate = {.view = slot->body.view, .seq = seq};
        bool const ranks = seq >= slot->body.view_start && slot_is_certified(replica, slot);
        if (ranks && rank_compare(candidate, rank) > 0) {
            highest = slot;
            rank = candidate;
        }
    }
    return highest;
}

void rank_restore(struct replica *replica, struct slot *slot) {
    struct view_change best;
    struct arena arena;
    if (slot->seq != replica->best_rank.seq ||
        !digest_equal(&slot->digest, &replica->best_digest)) {
        return;
    }
    arena_init(&arena, 4 * (size_t)VIEW_CHANGE_SIZE_MAX);
    if (view_change_decode(&best, &arena, buffer_span(&replica->best_bytes)) == CODEC_OK) {
        restore_votes(replica, slot, best.signers, best.signatures, best.nonce_hashes);
    } else {
        replica->failed = true;
    }
    arena_free(&arena);
}

static void choose_prepares(const struct replica *replica, const struct slot *slot,
                            struct view_change *out, struct signature *signatures,
                            struct digest *nonce_hashes) {
    uint32_t const wanted = replica->configuration->quorum - 1;
    for (uint32_t r = 0; out->signature_count < wanted; r++) {
        CHECK(r < replica->configuration->replica_count);
        if ((slot->prepared_by >> r & 1) != 0) {
            out->signers |= UINT64_C(1) << r;
            signatures[out->signature_count] = slot->votes[r].signature;
            nonce_hashes[out->signature_count] = slot->votes[r].nonce_hash;
            out->signature_count++;
        }
    }
    out->signatures = signatures;
    out->nonce_hashes = nonce_hashes;
}

/* The batches from just after what the certificate's batch evidences. False: one is not at hand. */
static bool gather_chain(struct replica *replica, const struct slot *last, struct chain_item *chain,
                         struct view_change *out) {
    for (uint64_t seq = last->body.evidence_upto + 1; seq <= last->seq; seq++) {
        const struct slot *const slot = slot_find(replica, seq);
        if (slot == NULL || slot->stage != SLOT_EXECUTED || slot->body.view != last->body.view) {
            return false;
        }
        struct chain_item *const item = &chain[out->chain_count++];
        *item = (struct chain_item){.has_evidence = slot->body.evidence_count != 0,
                                    .pre_prepare = slot->message.statement};
        if (item->has_evidence) {
            item->evidence_leaf = ledger_leaf(ENTRY_EVIDENCE, slot->message.evidence);
        }
    }
    out->chain = chain;
    return true;
}

void rank_capture(struct replica *replica) {
    struct signature signatures[REPLICAS_MAX];
    struct digest nonce_hashes[REPLICAS_MAX];
    struct chain_item chain[PIPELINE_MAX];
    struct slot *const slot = is_member(replica) ? rank_highest(replica) : NULL;
    if (slot == NULL || (replica->held && slot->seq > replica->held_seq)) {
        return; /* the disk does not have it */
    }
    struct rank const rank = {.view = slot->body.view, .seq = slot->seq};
    struct view_change out = {
        .config = slot->body.config, .view = rank.view + 1, .replica = replica->self};
    if (rank_compare(rank, replica->best_rank) <= 0 || !gather_chain(replica, slot, chain, &out)) {
        return;
    }
    choose_prepares(replica, slot, &out, signatures, nonce_hashes);
    buffer_clear(&replica->best_bytes);
    if (!view_change_encode(&replica->best_bytes, &out)) {
        replica->failed = true;
        return;
    }
    replica->best_rank = rank;
    replica->best_digest = slot->digest;
}

/* The body of this replica's view-change for asked_view, in replica->encode. */
static bool encode_body(struct replica *replica, struct arena *arena) {
    struct view_change out = {.config = replica->configuration->number, .replica = replica->self};
    if (replica->best_bytes.size != 0 &&
        view_change_decode(&out, arena, buffer_span(&replica->best_bytes)) != CODEC_OK) {
        return false;
    }
    out.view = replica->asked_view;
    buffer_clear(&replica->encode);
    return view_change_encode(&replica->encode, &out);
}

void rank_ask(struct replica *replica) {
    struct asked *const own = &replica->asked[replica->self];
    struct arena arena;
    struct signed_body statement = {.body = {0}};
    rank_capture(replica);
    arena_init(&arena, 4 * (size_t)VIEW_CHANGE_SIZE_MAX);
    bool good = encode_body(replica, &arena);
    if (good) {
        statement.body = effect_keep(replica, buffer_span(&replica->encode));
        statement.signature = sign_labelled(&replica->signing_key, &replica->key, LABEL_VIEW_CHANGE,
                                            &replica->configuration->service, statement.body);
    }
    arena_free(&arena);
    buffer_clear(&own->bytes);
    arena_reset(&own->arena);
    good = good && signed_encode(&own->bytes, &statement) &&
           signed_decode(&statement, &own->arena, buffer_span(&own->bytes), own->bytes.size) ==
               CODEC_OK;
    if (!good || view_change_judge(&own->claim, &own->arena, replica->configuration, &statement,
                                   &sign_sink_trust) != RULE_NONE) {
        replica->failed = true;
        return;
    }
    own->view = replica->asked_view;
}
