/*
 * cluster_offer: what a node serves of its checkpoints to others that join (see cluster.h).
 *
 * As a real one it offers the checkpoint before the last, which it has in memory alone, and keeps
 * offering it as long as somebody fetches it; and also as long as nobody signs for a newer one, as
 * around the end of a configuration.
 */
#include "base/check.h"
#include "execution/state_parts.h"
#include "receipts/from_ledger.h"
#include "tests/sim/cluster.h"

#include <stdlib.h>

#define PIN_IDLE_US 30000000u
#define PIN_MAX_US 600000000u
#define GROUPS_SERVED_MAX 2u /* fewer than a node would send, so that it takes several messages */
#define DIGESTS_SERVED_MAX 3u

static bool is_pinned(const struct cluster *cluster, const struct node *node) {
    return node->pinned_us != 0 && cluster->now_us - node->offer_used_us < PIN_IDLE_US &&
           cluster->now_us - node->pinned_us < PIN_MAX_US;
}

void offer_keep(struct cluster *cluster, uint32_t number) {
    struct node *const node = &cluster->nodes[number];
    bool const is_carried = node->cut.header.checkpoint_seq == node->disk.store.seq;
    if (!node->disk.store.present || !is_carried || is_pinned(cluster, node)) {
        return;
    }
    offer_forget(node);
    store_copy(&node->previous, &node->disk.store);
    node->previous_carrier = node->cut.header.seq;
}

void offer_forget(struct node *node) {
    free(node->previous.rows);
    node->previous = (struct sim_store){.present = false};
    node->previous_carrier = 0;
    node->pinned_us = 0;
}

/* ---- the offer ---- */

static bool read_batch(struct batch *batch, const struct entry_list *ledger, uint64_t *index) {
    enum batch_step step = BATCH_VIEW;
    while (step == BATCH_VIEW) {
        step = read_unit(batch, ledger, index, ledger->count);
    }
    return step == BATCH_WHOLE;
}

/* The certificate of a settled batch, from the evidence behind it. */
static bool find_certificate(struct buffer *out, const struct entry_list *ledger, uint64_t seq) {
    struct certificate certificate;
    struct batch batch;
    struct batch later;
    uint64_t index = entry_find(ledger, seq);
    bool found = false;
    if (index == 0) {
        return false;
    }
    index -= ledger->items[index - 1].kind == ENTRY_EVIDENCE ? 1 : 0;
    batch_init(&batch);
    batch_init(&later);
    bool going = read_batch(&batch, ledger, &index);
    while (going && !found) {
        going = read_batch(&later, ledger, &index);
        found = going && later.pre_prepare.evidence_upto >= seq;
    }
    found = found && certificate_from_ledger(&certificate, &batch.seal.statement, seq, &later) &&
            certificate_encode(out, &certificate);
    batch_free(&batch);
    batch_free(&later);
    return found;
}

static void make_offer(struct cluster *cluster, struct node *node, struct buffer *out) {
    struct buffer certificate;
    buffer_init(&certificate, COMMIT_CERTIFICATE_SIZE_MAX);
    bool const is_there =
        node->previous.present && !node->rests &&
        find_certificate(&certificate, &node->disk.live, node->previous_carrier) &&
        offer_encode(out, node->previous.snapshot, buffer_span(&certificate));
    if (is_there) {
        node->pinned_us = is_pinned(cluster, node) ? node->pinned_us : cluster->now_us;
        node->offer_used_us = cluster->now_us;
    } else {
        CHECK(offer_encode_none(out));
    }
    buffer_free(&certificate);
}

/* ---- its parts ---- */

static bool is_there(const struct node *node, uint64_t seq, uint64_t first_group) {
    return node->previous.present && node->previous.seq == seq &&
           first_group < state_group_count(node->previous.row_count);
}

static void make_digests(const struct node *node, const struct fetch_checkpoint_message *asked,
                         struct buffer *out) {
    struct digest digests[DIGESTS_SERVED_MAX];
    struct checkpoint_digests_message message = {
        .seq = asked->seq, .first_group = asked->first_group, .digests = digests};
    struct state_grouper grouper;
    uint64_t group = 0;
    state_grouper_init(&grouper);
    for (uint64_t i = 0; i < node->previous.row_count && is_there(node, asked->seq, 0); i++) {
        const struct state_row *const row = &node->previous.rows[i];
        struct digest digest;
        bool whole = state_grouper_add(&grouper, &digest, row->key, row->value);
        whole =
            whole || (i + 1 == node->previous.row_count && state_grouper_finish(&grouper, &digest));
        if (whole && group >= asked->first_group && message.count < DIGESTS_SERVED_MAX) {
            digests[message.count++] = digest;
        }
        group += whole;
    }
    CHECK(checkpoint_digests_message_encode(out, &message));
}

static void make_items(const struct node *node, const struct fetch_checkpoint_message *asked,
                       struct buffer *out) {
    struct state_item items[GROUPS_SERVED_MAX * STATE_GROUP_ITEMS];
    struct checkpoint_items_message message = {
        .seq = asked->seq, .first_group = asked->first_group, .items = items};
    uint64_t const first = asked->first_group * STATE_GROUP_ITEMS;
    if (is_there(node, asked->seq, asked->first_group)) {
        for (uint64_t i = first;
             i < node->previous.row_count && message.count < GROUPS_SERVED_MAX * STATE_GROUP_ITEMS;
             i++) {
            items[message.count++] = (struct state_item){.key = node->previous.rows[i].key,
                                                         .value = node->previous.rows[i].value};
        }
    }
    CHECK(checkpoint_items_message_encode(out, &message));
}

void offer_serve(struct cluster *cluster, uint32_t number, uint32_t peer,
                 const struct fetch_checkpoint_message *message) {
    struct node *const node = &cluster->nodes[number];
    enum message_kind kind = MESSAGE_CHECKPOINT_OFFER;
    struct buffer encoded;
    buffer_init(&encoded, FRAME_SIZE_MAX);
    switch (message->part) {
    case CHECKPOINT_OFFER:
        make_offer(cluster, node, &encoded);
        break;
    case CHECKPOINT_DIGESTS:
        kind = MESSAGE_CHECKPOINT_DIGESTS;
        make_digests(node, message, &encoded);
        break;
    case CHECKPOINT_ITEMS:
        kind = MESSAGE_CHECKPOINT_ITEMS;
        make_items(node, message, &encoded);
        break;
    }
    node->offer_used_us = cluster->now_us;
    transmit(cluster, number, peer, kind, buffer_span(&encoded));
    buffer_free(&encoded);
}
