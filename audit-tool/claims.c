/*
 * claims: see claims.h. Receipts of one batch mostly come one after the other, so it is enough to
 * join with the last claim while adding, and the rest when all are there.
 */
#include "audit-tool/claims.h"

#include <stdlib.h>

#include "base/check.h"

#define CLAIMS_SIZE_MAX ((size_t)1 << 40)

void claims_init(struct claims *claims) {
    buffer_init(&claims->list, CLAIMS_SIZE_MAX);
    buffer_init(&claims->bytes, CLAIMS_SIZE_MAX);
}

void claims_free(struct claims *claims) {
    buffer_free(&claims->list);
    buffer_free(&claims->bytes);
}

static struct claim *list_of(const struct claims *claims) {
    return (struct claim *)(void *)claims->list.data;
}

uint64_t claims_count(const struct claims *claims) {
    return claims->list.size / sizeof(struct claim);
}

const struct claim *claims_at(const struct claims *claims, uint64_t nth) {
    CHECK(nth < claims_count(claims));
    return &list_of(claims)[nth];
}

struct span claims_certificate(const struct claims *claims, const struct claim *claim) {
    return span_of(claims->bytes.data + claim->offset, claim->size);
}

static int claim_compare(const struct claim *a, const struct claim *b) {
    if (a->view != b->view) {
        return a->view < b->view ? -1 : 1;
    }
    if (a->seq != b->seq) {
        return a->seq < b->seq ? -1 : 1;
    }
    return memcmp(a->digest.bytes, b->digest.bytes, DIGEST_SIZE);
}

static int order_of(const void *a, const void *b) {
    return claim_compare(a, b);
}

static void join(struct claim *into, const struct claim *from) {
    into->receipts += from->receipts;
    into->index_first =
        from->index_first < into->index_first ? from->index_first : into->index_first;
    into->index_last = from->index_last > into->index_last ? from->index_last : into->index_last;
}

bool claims_add(struct claims *claims, const struct verified_batch *batch,
                const struct receipt *receipt) {
    struct claim claim = {
        .view = batch->pre_prepare.view,
        .seq = batch->pre_prepare.seq,
        .digest = batch->digest,
        .receipts = 1,
        .index_first = receipt->index,
        .index_last = receipt->index,
        .offset = claims->bytes.size,
        .size = receipt->certificate.size,
    };
    uint64_t const count = claims_count(claims);
    if (count != 0 && claim_compare(&list_of(claims)[count - 1], &claim) == 0) {
        join(&list_of(claims)[count - 1], &claim);
        return true;
    }
    return buffer_append(&claims->bytes, receipt->certificate) &&
           buffer_append(&claims->list, span_of(&claim, sizeof claim));
}

void claims_sort(struct claims *claims) {
    uint64_t const count = claims_count(claims);
    struct claim *const list = list_of(claims);
    uint64_t kept = 0;
    if (count == 0) {
        return;
    }
    qsort(list, count, sizeof *list, order_of);
    for (uint64_t i = 1; i < count; i++) {
        if (claim_compare(&list[kept], &list[i]) == 0) {
            join(&list[kept], &list[i]);
        } else {
            list[++kept] = list[i];
        }
    }
    claims->list.size = (kept + 1) * sizeof *list;
}

const struct claim *claims_find(const struct claims *claims, uint64_t view, uint64_t seq,
                                const struct digest *digest) {
    struct claim const sought = {.view = view, .seq = seq, .digest = *digest};
    uint64_t const count = claims_count(claims);
    return count == 0 ? NULL : bsearch(&sought, list_of(claims), count, sizeof sought, order_of);
}
