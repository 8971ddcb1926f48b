/*
 * carry: the requests of the batches that a new view takes over (protocol §6). They wait in the
 * pool, taken, from when the ledger is cut until the view proposes them again.
 */
#include "base/check.h"
#include "consensus/state.h"

const struct carried_content *carry_find(const struct replica *replica, uint64_t seq) {
    const struct carried_content *const content = &replica->carried[seq % PIPELINE_MAX];
    return content->seq == seq ? content : NULL;
}

static uint32_t digest_count(const struct carried_content *content) {
    return (uint32_t)(content->digests.size / DIGEST_SIZE);
}

static struct digest digest_at(const struct carried_content *content, uint32_t nth) {
    struct digest digest;
    memcpy(digest.bytes, content->digests.data + (size_t)nth * DIGEST_SIZE, DIGEST_SIZE);
    return digest;
}

/* The executed batch here that holds what this batch of a chain holds, or NULL. */
static struct slot *slot_with(struct replica *replica, uint64_t seq,
                              const struct digest *batch_root) {
    struct slot *const slot = slot_find(replica, seq);
    bool const holds = slot != NULL && seq <= replica->executed_seq &&
                       slot->stage == SLOT_EXECUTED &&
                       digest_equal(&slot->body.batch_root, batch_root);
    return holds ? slot : NULL;
}

/* Committed requests have left the pool: back with them. */
static void refill_pool(struct replica *replica, const struct slot *slot) {
    size_t offset = 0;
    for (uint32_t i = 0; i < slot_request_count(slot); i++) {
        uint32_t size = 0;
        struct request_entry entry;
        struct request request;
        memcpy(&size, slot->entry_sizes.data + i * sizeof size, sizeof size);
        arena_reset(&replica->scratch);
        if (request_entry_decode(&entry, &replica->scratch,
                                 span_of(slot->entries.data + offset, size)) != CODEC_OK ||
            request_decode(&request, &replica->scratch, &replica->configuration->service,
                           entry.request) != CODEC_OK) {
            replica->failed = true;
            return;
        }
        /* When there is no room it is fetched again, as any request that is missing. */
        (void)pool_add(replica->pool, &request, slot_request_at(slot, i)->origin, true,
                       replica->now_ms);
        offset += size;
    }
}

static void release(struct replica *replica, struct carried_content *content) {
    for (uint32_t i = digest_count(content); content->seq != 0 && i > 0; i--) {
        struct digest const digest = digest_at(content, i - 1);
        struct pool_entry *const entry = pool_find(replica->pool, &digest);
        if (entry != NULL && entry->taken_seq == content->seq) {
            pool_put_back(replica->pool, entry);
        }
    }
    content->seq = 0;
    buffer_clear(&content->digests);
}

static void keep(struct replica *replica, struct carried_content *content,
                 const struct carried_batch *batch, const struct digest *digests, uint32_t count) {
    content->digests.size_max = BATCH_CALLS_MAX * DIGEST_SIZE;
    if (!buffer_append(&content->digests, span_of(digests, count * sizeof *digests))) {
        replica->failed = true;
    }
    content->seq = batch->seq;
    content->batch_root = batch->batch_root;
}

void carry_over(struct replica *replica, const struct view_claim *claim) {
    bool wanted[PIPELINE_MAX] = {false};
    for (uint32_t i = 0; i < claim->view_change.chain_count; i++) {
        struct carried_batch const batch = view_claim_carried(claim, i);
        struct carried_content *const content = &replica->carried[batch.seq % PIPELINE_MAX];
        const struct slot *const slot = slot_with(replica, batch.seq, &batch.batch_root);
        wanted[batch.seq % PIPELINE_MAX] = true;
        if (slot != NULL) {
            release(replica, content);
            keep(replica, content, &batch, slot->message.request_digests,
                 slot->message.request_count);
            refill_pool(replica, slot);
        } else if (content->seq != batch.seq ||
                   !digest_equal(&content->batch_root, &batch.batch_root)) {
            release(replica, content);
        }
    }
    for (uint32_t i = 0; i < PIPELINE_MAX; i++) {
        if (!wanted[i]) {
            release(replica, &replica->carried[i]);
        }
    }
}

void carry_take(struct replica *replica) {
    for (uint32_t i = 0; i < PIPELINE_MAX; i++) {
        const struct carried_content *const content = &replica->carried[i];
        for (uint32_t k = 0; content->seq != 0 && k < digest_count(content); k++) {
            struct digest const digest = digest_at(content, k);
            struct pool_entry *const entry = pool_find(replica->pool, &digest);
            if (entry != NULL && entry->taken_seq == 0) {
                pool_take(replica->pool, entry, content->seq);
            }
        }
    }
}

bool carry_is_complete(struct replica *replica, const struct view_claim *claim) {
    for (uint32_t i = 0; i < claim->view_change.chain_count; i++) {
        struct carried_batch const batch = view_claim_carried(claim, i);
        if (slot_with(replica, batch.seq, &batch.batch_root) != NULL) {
            continue;
        }
        const struct carried_content *const content = carry_find(replica, batch.seq);
        if (content == NULL || !digest_equal(&content->batch_root, &batch.batch_root)) {
            return false;
        }
        for (uint32_t k = 0; k < digest_count(content); k++) {
            struct digest const digest = digest_at(content, k);
            if (pool_find(replica->pool, &digest) == NULL) {
                return false;
            }
        }
    }
    return true;
}

void carry_free(struct replica *replica) {
    for (uint32_t i = 0; i < PIPELINE_MAX; i++) {
        buffer_free(&replica->carried[i].digests);
    }
}
