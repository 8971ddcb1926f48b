/*
 * oracle: see oracle.h. Slow and plain on purpose.
 */
#include "tests/sim/oracle.h"

#include <stdlib.h>

#include "base/check.h"
#include "ledger/batch.h"

#define ORACLE_ARENA_SIZE (8u << 20)

/* ---- reading ---- */

static struct oracle_batch batch_of(const struct pre_prepare *body, struct span bytes) {
    return (struct oracle_batch){
        .view = body->view,
        .seq = body->seq,
        .first_index = body->first_index,
        .tx_count = body->tx_count,
        .time_ms = body->time_ms,
        .batch_root = body->batch_root,
        .body = hash_bytes(bytes),
    };
}

struct oracle_batch oracle_receipt_read(struct span receipt) {
    struct arena arena;
    struct receipt parts;
    struct certificate certificate;
    struct pre_prepare body;
    arena_init(&arena, ORACLE_ARENA_SIZE);
    CHECK(receipt_decode(&parts, &arena, receipt) == CODEC_OK);
    CHECK(certificate_decode(&certificate, &arena, parts.certificate) == CODEC_OK);
    CHECK(pre_prepare_decode(&body, &arena, certificate.pre_prepare) == CODEC_OK);
    struct oracle_batch const batch = batch_of(&body, certificate.pre_prepare);
    arena_free(&arena);
    return batch;
}

static void take_batch(struct oracle_ledger *out, const struct batch *batch) {
    const struct pre_prepare *const body = &batch->pre_prepare;
    struct oracle_batch *const place = &out->batches[out->batch_count++];
    *place = batch_of(body, batch->seal.statement.body);
    if (body->evidence_count != 0) {
        out->evidenced = body->evidence_upto;
    }
}

static void take_view(struct oracle_ledger *out, const struct new_view *view) {
    out->views[out->view_count++] = (struct oracle_view){
        .view = view->view, .chosen = {.view = view->chosen_view, .seq = view->chosen_seq}};
}

void oracle_ledger_read(struct oracle_ledger *out, const struct entry *entries, uint64_t count) {
    struct batch batch;
    *out = (struct oracle_ledger){
        .batches = calloc(count + 1, sizeof *out->batches),
        .views = calloc(count + 1, sizeof *out->views),
    };
    CHECK(out->batches != NULL && out->views != NULL);
    batch_init(&batch);
    for (uint64_t i = 1; i < count; i++) {
        enum rule rule = RULE_NONE;
        enum batch_step const step = batch_add(&batch, i, &entries[i], &rule);
        CHECK(step != BATCH_BROKEN);
        if (step == BATCH_WHOLE) {
            take_batch(out, &batch);
        } else if (step == BATCH_VIEW) {
            take_view(out, &batch.view.new_view);
        }
        if (step != BATCH_MORE) {
            batch_clear(&batch);
        }
    }
    CHECK(batch_is_empty(&batch));
    batch_free(&batch);
}

void oracle_ledger_free(struct oracle_ledger *ledger) {
    free(ledger->batches);
    free(ledger->views);
}

/* ---- judging ---- */

static bool same_contents(const struct oracle_batch *a, const struct oracle_batch *b) {
    return a->first_index == b->first_index && a->tx_count == b->tx_count &&
           a->time_ms == b->time_ms && digest_equal(&a->batch_root, &b->batch_root);
}

/* Of two claims of one view: can both be part of one ledger? */
static bool claims_clash(const struct oracle_batch *a, const struct oracle_batch *b) {
    const struct oracle_batch *const early = a->seq < b->seq ? a : b;
    const struct oracle_batch *const late = a->seq < b->seq ? b : a;
    if (a->view != b->view) {
        return false;
    }
    return a->seq == b->seq ? !digest_equal(&a->body, &b->body)
                            : late->first_index < early->first_index + early->tx_count;
}

/* The batch under a number, NULL: the ledger ends before it. */
static const struct oracle_batch *batch_at(const struct oracle_ledger *ledger, uint64_t seq) {
    return seq >= 1 && seq <= ledger->batch_count ? &ledger->batches[seq - 1] : NULL;
}

/* Rule 2: which number does not fit? 0: all does. */
static uint64_t clash_with_later_view(const struct oracle_ledger *ledger,
                                      const struct oracle_batch *claim) {
    const struct oracle_batch *const held = batch_at(ledger, claim->seq);
    struct rank const own = {.view = claim->view, .seq = claim->seq};
    if (held != NULL) {
        return same_contents(held, claim) ? 0 : held->seq;
    }
    for (uint64_t i = 0; i < ledger->view_count; i++) {
        if (ledger->views[i].view > claim->view) {
            bool const hides = rank_compare(ledger->views[i].chosen, own) < 0;
            return hides ? ledger->views[i].chosen.seq + 1 : 0;
        }
    }
    return 0;
}

/* Rule 3. */
static uint64_t clash_within_view(const struct oracle_ledger *ledger,
                                  const struct oracle_batch *claim) {
    const struct oracle_batch *const held = batch_at(ledger, claim->seq);
    for (uint64_t seq = 1; seq <= ledger->evidenced; seq++) {
        const struct oracle_batch *const batch = batch_at(ledger, seq);
        CHECK(batch != NULL);
        if (batch->view != claim->view) {
            continue;
        }
        if (seq < claim->seq && batch->first_index + batch->tx_count > claim->first_index) {
            return seq;
        }
        if (seq >= claim->seq &&
            (!same_contents(held, claim) ||
             (held->view == claim->view && !digest_equal(&held->body, &claim->body)))) {
            return claim->seq;
        }
    }
    return 0;
}

static uint64_t clash_with_ledger(const struct oracle_ledger *ledger,
                                  const struct oracle_batch *claim, uint32_t *rule) {
    uint64_t const view = ledger->view_count == 0 ? 0 : ledger->views[ledger->view_count - 1].view;
    if (view < claim->view) {
        return 0;
    }
    *rule = view > claim->view ? 2 : 3;
    return view > claim->view ? clash_with_later_view(ledger, claim)
                              : clash_within_view(ledger, claim);
}

/* All claims, of receipts and of ledgers, in one list. */
struct claim_list {
    struct oracle_batch *items;
    uint64_t count;
};

static struct claim_list gather(const struct oracle_batch *receipts, uint64_t receipt_count,
                                const struct oracle_ledger *ledgers, uint64_t ledger_count) {
    uint64_t room = receipt_count + 1;
    for (uint64_t i = 0; i < ledger_count; i++) {
        room += ledgers[i].evidenced;
    }
    struct claim_list list = {.items = calloc(room, sizeof *list.items)};
    CHECK(list.items != NULL);
    for (uint64_t i = 0; i < receipt_count; i++) {
        list.items[list.count++] = receipts[i];
    }
    for (uint64_t i = 0; i < ledger_count; i++) {
        for (uint64_t seq = 1; seq <= ledgers[i].evidenced; seq++) {
            list.items[list.count++] = ledgers[i].batches[seq - 1];
        }
    }
    return list;
}

static bool judge_claim(const struct claim_list *list, uint64_t nth,
                        const struct oracle_ledger *ledgers, uint64_t ledger_count,
                        struct oracle_judgement *out) {
    const struct oracle_batch *const claim = &list->items[nth];
    for (uint64_t i = nth + 1; i < list->count; i++) {
        if (claims_clash(claim, &list->items[i])) {
            *out = (struct oracle_judgement){.rule = 1, .claim = *claim, .seq = list->items[i].seq};
            return true;
        }
    }
    for (uint64_t i = 0; i < ledger_count; i++) {
        uint32_t rule = 0;
        uint64_t const seq = clash_with_ledger(&ledgers[i], claim, &rule);
        if (seq != 0) {
            *out = (struct oracle_judgement){.rule = rule, .claim = *claim, .seq = seq};
            return true;
        }
    }
    return false;
}

struct oracle_judgement oracle_judge(const struct oracle_batch *receipts, uint64_t receipt_count,
                                     const struct oracle_ledger *ledgers, uint64_t ledger_count) {
    struct oracle_judgement judgement = {.rule = 0};
    struct claim_list const list = gather(receipts, receipt_count, ledgers, ledger_count);
    bool found = false;
    for (uint64_t i = 0; i < list.count && !found; i++) {
        found = judge_claim(&list, i, ledgers, ledger_count, &judgement);
    }
    free(list.items);
    return judgement;
}
