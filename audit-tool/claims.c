/*
 * claims: see claims.h. Receipts of one batch mostly come one after the other, so it is enough to
 * join with the last claim while adding, and the rest when all are there.
 */
#include "audit-tool/claims.h"

#include "base/check.h"

void claims_init(struct claims *claims) {
    spill_init(&claims->list);
    spill_init(&claims->bytes);
}

void claims_free(struct claims *claims) {
    spill_free(&claims->list);
    spill_free(&claims->bytes);
}

static struct claim *list_of(const struct claims *claims) {
    return (struct claim *)(void *)claims->list.data;
}

uint64_t claims_count(const struct claims *claims) {
    return claims->list.size / sizeof(struct claim);
}

struct claim *claims_at(struct claims *claims, uint64_t nth) {
    CHECK(nth < claims_count(claims));
    spill_touch(&claims->list, sizeof(struct claim));
    return &list_of(claims)[nth];
}

struct span claims_certificate(struct claims *claims, const struct claim *claim) {
    spill_touch(&claims->bytes, claim->size);
    return span_of(claims->bytes.data + claim->offset, claim->size);
}

/* ---- batches ---- */

struct batch_content batch_content_of(const struct pre_prepare *body) {
    return (struct batch_content){
        .batch_root = body->batch_root,
        .first_index = body->first_index,
        .tx_count = body->tx_count,
        .time_ms = body->time_ms,
    };
}

bool batch_content_equal(const struct batch_content *a, const struct batch_content *b) {
    return digest_equal(&a->batch_root, &b->batch_root) && a->first_index == b->first_index &&
           a->tx_count == b->tx_count && a->time_ms == b->time_ms;
}

struct rank batch_rank(const struct pre_prepare *body) {
    /* No nonce of a view is revealed before all that it took over is prepared in it. */
    uint64_t const seq = body->seq > body->view_start ? body->seq : body->view_start;
    return (struct rank){.view = body->view, .seq = seq};
}

/* ---- order ---- */

static int compare_u64(uint64_t a, uint64_t b) {
    return (a > b) - (a < b);
}

static int order_by_view(const void *first, const void *second) {
    const struct claim *const a = first;
    const struct claim *const b = second;
    int const configs = compare_u64(a->config, b->config);
    int const views = compare_u64(a->view, b->view);
    int const seqs = compare_u64(a->seq, b->seq);
    return configs != 0 ? configs
           : views != 0 ? views
           : seqs != 0  ? seqs
                        : memcmp(a->digest.bytes, b->digest.bytes, DIGEST_SIZE);
}

static int order_by_seq(const void *first, const void *second) {
    const struct claim *const a = first;
    const struct claim *const b = second;
    int const seqs = compare_u64(a->seq, b->seq);
    return seqs != 0 ? seqs : order_by_view(first, second);
}

static void join(struct claim *into, const struct claim *from) {
    if (into->receipts == 0) {
        into->index_first = from->index_first;
        into->index_last = from->index_last;
    } else if (from->receipts != 0) {
        into->index_first =
            from->index_first < into->index_first ? from->index_first : into->index_first;
        into->index_last =
            from->index_last > into->index_last ? from->index_last : into->index_last;
    }
    into->receipts += from->receipts;
    into->state = into->state > from->state ? into->state : from->state;
}

static bool add(struct claims *claims, const struct claim *claim, struct span certificate) {
    uint64_t const count = claims_count(claims);
    if (count != 0 && order_by_view(&list_of(claims)[count - 1], claim) == 0) {
        join(&list_of(claims)[count - 1], claim);
        return true;
    }
    return spill_append(&claims->bytes, certificate) &&
           spill_append(&claims->list, span_of(claim, sizeof *claim));
}

static struct claim claim_of(const struct claims *claims, const struct verified_batch *batch,
                             struct span certificate) {
    return (struct claim){
        .config = batch->pre_prepare.config,
        .view = batch->pre_prepare.view,
        .seq = batch->pre_prepare.seq,
        .digest = batch->digest,
        .content = batch_content_of(&batch->pre_prepare),
        .signers = batch->signers,
        .rank = batch_rank(&batch->pre_prepare),
        .offset = claims->bytes.size,
        .size = certificate.size,
    };
}

bool claims_add(struct claims *claims, const struct verified_batch *batch, struct span certificate,
                struct claim_receipts receipts) {
    struct claim claim = claim_of(claims, batch, certificate);
    claim.receipts = receipts.count;
    claim.index_first = receipts.index_first;
    claim.index_last = receipts.index_last;
    return add(claims, &claim, certificate);
}

bool claims_add_certificate(struct claims *claims, const struct verified_batch *batch,
                            struct span certificate) {
    struct claim const claim = claim_of(claims, batch, certificate);
    return add(claims, &claim, certificate);
}

bool claims_sort(struct claims *claims, enum claims_order order) {
    uint64_t const count = claims_count(claims);
    uint64_t kept = 0;
    if (count == 0) {
        return true;
    }
    if (!spill_sort(&claims->list, sizeof(struct claim),
                    order == CLAIMS_BY_SEQ ? order_by_seq : order_by_view)) {
        return false;
    }
    struct claim *const list = list_of(claims);
    for (uint64_t i = 1; i < count; i++) {
        if (order_by_view(&list[kept], &list[i]) == 0) {
            join(&list[kept], &list[i]);
        } else {
            list[++kept] = list[i];
        }
        spill_touch(&claims->list, sizeof *list);
    }
    spill_cut(&claims->list, (kept + 1) * sizeof *list);
    return true;
}

uint64_t claims_first_at(const struct claims *claims, uint64_t seq) {
    uint64_t low = 0;
    uint64_t high = claims_count(claims);
    while (low < high) {
        uint64_t const middle = low + (high - low) / 2;
        if (list_of(claims)[middle].seq < seq) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

const struct claim *claims_find(struct claims *claims, uint64_t seq, const struct digest *digest) {
    for (uint64_t i = claims_first_at(claims, seq); i < claims_count(claims); i++) {
        const struct claim *const claim = claims_at(claims, i);
        if (claim->seq != seq) {
            break;
        }
        if (digest_equal(&claim->digest, digest)) {
            return claim;
        }
    }
    return NULL;
}
