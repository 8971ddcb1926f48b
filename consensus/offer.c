/*
 * offer: what a replica says of its checkpoint to one that joins (protocol §7), made and verified.
 * A certificate proves that Q replicas signed the checkpoint's digest; everything else in an offer
 * hashes to what that covers, or is shown to be right when the entries come (join_ledger.c).
 */
#include "consensus/join.h"
#include "execution/state_parts.h"
#include "receipts/certificate.h"

/* The first entry that a replica which starts from this snapshot has to read. */
static uint64_t needed_entry(const struct checker_snapshot *snapshot, uint64_t end_entry) {
    uint64_t needed = end_entry;
    if (snapshot->window_entry != 0 && snapshot->window_entry < needed) {
        needed = snapshot->window_entry;
    }
    return snapshot->past_entry != 0 && snapshot->past_entry < needed ? snapshot->past_entry
                                                                      : needed;
}

/* ---- making ---------------------------------------------------------------------------------- */

static bool encode_parts(struct buffer *out, struct checker_snapshot *snapshot,
                         const struct checkpoint_header *header, struct span certificate) {
    struct anchors anchors;
    if (!anchors_load(&anchors, snapshot, header->entries)) {
        return false;
    }
    const struct anchor *const first =
        anchors_find(&anchors, needed_entry(snapshot, header->entries));
    if (first == NULL || header->seq == 0) {
        return false;
    }
    struct buffer encoded;
    buffer_init(&encoded, SNAPSHOT_OFFERED_SIZE_MAX);
    snapshot->window_count = 0;
    snapshot->anchor_count = 0;
    bool done = checker_snapshot_encode(&encoded, snapshot);
    uint64_t const leaves = first->frontier.leaf_count;
    struct checkpoint_offer_message const message = {
        .seq = header->seq,
        .certificate = certificate,
        .snapshot = buffer_span(&encoded),
        .first_entry = first->entries,
        .first_leaves = leaves,
        .peaks = span_of(first->frontier.peaks, frontier_peak_count(leaves) * DIGEST_SIZE),
    };
    done = done && checkpoint_offer_message_encode(out, &message);
    buffer_free(&encoded);
    return done;
}

bool offer_encode(struct buffer *out, struct span snapshot, struct span certificate) {
    struct checker_snapshot decoded;
    struct checkpoint_header header;
    struct arena arena;
    arena_init(&arena, 2 * (size_t)SNAPSHOT_SIZE_MAX);
    size_t const before = out->size;
    bool const done = checker_snapshot_decode(&decoded, &arena, snapshot) == CODEC_OK &&
                      checkpoint_header_decode(&header, &arena, decoded.header) == CODEC_OK &&
                      encode_parts(out, &decoded, &header, certificate);
    if (!done) {
        out->size = before;
    }
    arena_free(&arena);
    return done;
}

bool offer_encode_none(struct buffer *out) {
    struct checkpoint_offer_message const none = {.seq = 0};
    return checkpoint_offer_message_encode(out, &none);
}

/* ---- verifying ------------------------------------------------------------------------------- */

bool offer_find_configs(struct offer_configs *out, struct arena *arena,
                        const struct checkpoint_offer_message *message) {
    struct certificate certificate;
    struct pre_prepare body;
    struct checker_snapshot snapshot;
    struct checkpoint_header header;
    if (certificate_decode(&certificate, arena, message->certificate) != CODEC_OK ||
        pre_prepare_decode(&body, arena, certificate.pre_prepare) != CODEC_OK ||
        checker_snapshot_decode(&snapshot, arena, message->snapshot) != CODEC_OK ||
        checkpoint_header_decode(&header, arena, snapshot.header) != CODEC_OK) {
        return false;
    }
    *out = (struct offer_configs){.made_in = header.config, .signed_in = body.config};
    return header.config <= body.config;
}

/* Which digest did Q replicas sign for this checkpoint? */
static bool certificate_holds(struct offer *out, struct arena *arena,
                              const struct configuration *configuration,
                              const struct checkpoint_offer_message *message) {
    struct certificate certificate;
    struct verified_batch batch;
    if (certificate_decode(&certificate, arena, message->certificate) != CODEC_OK ||
        certificate_verify(&batch, arena, configuration, &certificate) != RECEIPT_VALID ||
        batch.pre_prepare.checkpoint_seq != message->seq) {
        return false;
    }
    out->seq = message->seq;
    out->digest = batch.pre_prepare.checkpoint_digest;
    return true;
}

static bool snapshot_holds(struct offer *out, struct checker_snapshot *snapshot,
                           struct arena *arena, const struct configuration *configuration,
                           struct span encoded) {
    if (checker_snapshot_decode(snapshot, arena, encoded) != CODEC_OK ||
        snapshot->window_count != 0 || snapshot->anchor_count != 0 ||
        checkpoint_header_decode(&out->header, arena, snapshot->header) != CODEC_OK) {
        return false;
    }
    struct digest const digest =
        hash_labelled(LABEL_CHECKPOINT, &configuration->service, snapshot->header);
    struct frontier frontier;
    if (!digest_equal(&digest, &out->digest) || out->header.seq != out->seq ||
        state_group_count(out->header.state_count) > JOIN_GROUPS_MAX ||
        !frontier_load(&frontier, out->header.ledger_leaves, snapshot->frontier)) {
        return false;
    }
    struct digest const root = frontier_root(&frontier);
    return digest_equal(&root, &out->header.ledger_root);
}

/* Whether M had these leaves at F only the entries behind it can show. */
static bool beginning_holds(struct offer *out, const struct checker_snapshot *snapshot,
                            const struct checkpoint_offer_message *message) {
    out->first_entry = message->first_entry;
    return message->first_entry <= needed_entry(snapshot, out->header.entries) &&
           message->first_leaves <= message->first_entry &&
           message->first_leaves <= out->header.ledger_leaves &&
           frontier_load(&out->frontier, message->first_leaves, message->peaks);
}

/* The snapshot that a replica which joins with it stores: it knows one anchor, F. */
static bool make_snapshot(struct offer *out, struct checker_snapshot *snapshot,
                          struct arena *arena) {
    struct anchors anchors = {.count = 1};
    anchors.items[0] = (struct anchor){.entries = out->first_entry, .frontier = out->frontier};
    anchors_save(&anchors, snapshot);
    struct buffer encoded;
    buffer_init(&encoded, 2u * SNAPSHOT_OFFERED_SIZE_MAX);
    bool const done = checker_snapshot_encode(&encoded, snapshot);
    out->snapshot = arena_copy(arena, buffer_span(&encoded));
    buffer_free(&encoded);
    return done && out->snapshot.data != NULL;
}

bool offer_verify(struct offer *out, struct arena *arena, const struct configuration *configuration,
                  const struct checkpoint_offer_message *message) {
    struct checker_snapshot snapshot;
    return message->seq != 0 && certificate_holds(out, arena, configuration, message) &&
           snapshot_holds(out, &snapshot, arena, configuration, message->snapshot) &&
           beginning_holds(out, &snapshot, message) && make_snapshot(out, &snapshot, arena);
}
