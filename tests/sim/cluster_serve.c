/*
 * cluster_serve: what a node reads from its own ledger for others: ranges for peers that are
 * behind, receipts for clients that ask late (see cluster.h).
 */
#include "base/check.h"
#include "receipts/from_ledger.h"
#include "tests/sim/cluster.h"

#define SERVE_UNITS_MAX 16u /* fewer than a node would send, so that it takes several ranges */

enum batch_step read_unit(struct batch *batch, const struct entry_list *ledger, uint64_t *index,
                          uint64_t end) {
    enum rule rule = RULE_NONE;
    batch_clear(batch);
    while (*index < end) {
        enum batch_step const step = batch_add(batch, *index, &ledger->items[*index], &rule);
        (*index)++;
        if (step != BATCH_MORE) {
            return step;
        }
    }
    return BATCH_MORE;
}

/* The next batch; new views before it are passed over. Returns: false at the ledger's end. */
static bool read_batch(struct batch *batch, const struct entry_list *ledger, uint64_t *index,
                       uint64_t end) {
    enum batch_step step = BATCH_VIEW;
    while (step == BATCH_VIEW) {
        step = read_unit(batch, ledger, index, end);
    }
    return step == BATCH_WHOLE;
}

/* One past the last entry of as many whole units as go into one range. */
static uint64_t range_end(const struct entry_list *ledger, uint64_t first_entry, uint64_t end) {
    uint64_t upto = first_entry;
    uint32_t units = 0;
    size_t size = 0;
    for (uint64_t i = first_entry; i < end && i - first_entry < WIRE_ENTRIES_MAX; i++) {
        size += ledger->items[i].payload.size;
        if (!ledger->marks[i].ends_unit) {
            continue;
        }
        if (size > RANGE_SIZE_SOFT_MAX && units > 0) {
            break;
        }
        upto = i + 1;
        units++;
        if (units == SERVE_UNITS_MAX) {
            break;
        }
    }
    return upto;
}

void serve_range(struct cluster *cluster, uint32_t node, uint32_t peer, uint64_t first_entry,
                 uint64_t end_entry) {
    const struct entry_list *const ledger = &cluster->nodes[node].disk.live;
    struct range_message range = {.first_entry = first_entry};
    uint64_t const end = end_entry < ledger->count ? end_entry : ledger->count;
    bool const is_own = peer == cluster->nodes[node].id;
    uint64_t const first_served = is_own ? 0 : join_first_served(&cluster->nodes[node]);
    if (first_entry != 0 && first_entry >= first_served && first_entry < end) {
        range.count = (uint32_t)(range_end(ledger, first_entry, end) - first_entry);
        range.entries = &ledger->items[first_entry];
    }
    struct buffer encoded;
    buffer_init(&encoded, FRAME_SIZE_MAX);
    if (!range_message_encode(&encoded, &range)) {
        cluster_fail(cluster, "node %u: a range cannot be encoded", node);
    }
    if (is_own) {
        cluster_schedule(
            cluster,
            &(struct sim_event){.at_us = cluster->now_us + prng_between(&cluster->prng, 20, 300),
                                .kind = SIM_HAND_OVER,
                                .node = node,
                                .from = peer,
                                .incarnation = cluster->nodes[node].incarnation,
                                .message = MESSAGE_RANGE,
                                .parcel = parcel_new(buffer_span(&encoded))});
    } else {
        if (range.count != 0) {
            watch_range(cluster, node, first_entry);
        }
        for (uint32_t i = 0; i < range.count; i++) {
            watch_entry_sent(cluster, node, &range.entries[i]);
        }
        transmit(cluster, node, peer, MESSAGE_RANGE, buffer_span(&encoded));
    }
    buffer_free(&encoded);
}

struct found_result {
    struct request_result result;
    struct digest flanks[MERKLE_RANGE_PROOF_MAX];
};

static bool find_result(struct found_result *found, struct arena *arena,
                        const struct digest *service, const struct batch *batch,
                        const struct digest *request_id) {
    struct tree tree;
    tree_init(&tree);
    bool done = batch_tree_from_ledger(&tree, arena, service, batch);
    uint64_t leaf = 0;
    for (uint32_t i = 0; done && i < batch->request_count; i++) {
        struct request_entry entry;
        struct request request;
        done = request_entry_decode(&entry, arena, batch_request_payload(batch, i)) == CODEC_OK &&
               request_decode(&request, arena, service, entry.request) == CODEC_OK;
        if (done && digest_equal(&request.id, request_id)) {
            found->result = (struct request_result){
                .request_id = request.id,
                .first_index = entry.first_index,
                .leaf = leaf,
                .outcome_count = entry.outcome_count,
                .outcomes = entry.outcomes,
                .flank_count = tree_range_proof(&tree, found->flanks, leaf, entry.outcome_count),
                .flanks = found->flanks,
            };
            tree_free(&tree);
            return true;
        }
        leaf += entry.outcome_count;
    }
    tree_free(&tree);
    return false;
}

static bool find_certificate(struct buffer *out, const struct batch *batch, struct batch *later,
                             const struct entry_list *ledger, uint64_t index) {
    struct certificate certificate;
    uint64_t const seq = batch->pre_prepare.seq;
    while (read_batch(later, ledger, &index, ledger->count)) {
        if (later->pre_prepare.evidence_upto >= seq) {
            return certificate_from_ledger(&certificate, &batch->seal.statement, seq, later) &&
                   certificate_encode(out, &certificate);
        }
    }
    return false;
}

static bool make_receipt_reply(struct buffer *out, struct cluster *cluster, uint32_t node,
                               const struct digest *request_id, uint64_t pre_prepare_entry) {
    const struct entry_list *const ledger = &cluster->nodes[node].disk.live;
    struct receipt_reply_message reply = {.request_id = *request_id};
    struct found_result found;
    struct batch batch;
    struct batch later;
    struct arena arena;
    struct buffer certificate;
    uint64_t index = pre_prepare_entry;
    if (ledger->items[index - 1].kind == ENTRY_EVIDENCE) {
        index--;
    }
    batch_init(&batch);
    batch_init(&later);
    arena_init(&arena, 16 * (size_t)ENTRY_SIZE_MAX);
    buffer_init(&certificate, COMMIT_CERTIFICATE_SIZE_MAX);
    bool made = read_batch(&batch, ledger, &index, ledger->count) &&
                find_certificate(&certificate, &batch, &later, ledger, index) &&
                find_result(&found, &arena, &cluster->configuration->service, &batch, request_id);
    if (made) {
        reply.certificate = buffer_span(&certificate);
        reply.result = found.result;
        made = receipt_reply_message_encode(out, &reply);
    }
    buffer_free(&certificate);
    arena_free(&arena);
    batch_free(&later);
    batch_free(&batch);
    return made;
}

void serve_receipt(struct cluster *cluster, uint32_t node, uint64_t origin,
                   const struct digest *request_id, const struct window_place *place) {
    struct buffer encoded;
    buffer_init(&encoded, FRAME_SIZE_MAX);
    if (!make_receipt_reply(&encoded, cluster, node, request_id, place->entry)) {
        cluster_fail(cluster, "node %u: no receipt in the ledger for entry %llu", node,
                     (unsigned long long)place->entry);
    }
    send_to_client(cluster, node, origin, MESSAGE_RECEIPT_REPLY, buffer_span(&encoded));
    buffer_free(&encoded);
}
