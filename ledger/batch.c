/*
 * batch: see batch.h. Payloads are copied behind each other into one buffer, which may move as it
 * grows: entries are kept as offsets, and spans are made only when the batch is whole.
 */
#include "ledger/batch.h"

#include "base/check.h"

void batch_init(struct batch *batch) {
    *batch = (struct batch){0};
    buffer_init(&batch->bytes, BATCH_SIZE_MAX);
    buffer_init(&batch->entries, (BATCH_CALLS_MAX + 2) * sizeof(struct batch_entry));
    arena_init(&batch->arena, 2 * (size_t)BATCH_SIZE_MAX);
}

void batch_free(struct batch *batch) {
    buffer_free(&batch->bytes);
    buffer_free(&batch->entries);
    arena_free(&batch->arena);
}

void batch_clear(struct batch *batch) {
    buffer_clear(&batch->bytes);
    buffer_clear(&batch->entries);
    arena_reset(&batch->arena);
    batch->seal = (struct batch_seal){0};
    batch->view = (struct view_unit){0};
    batch->request_count = 0;
    batch->tx_seen = 0;
    batch->whole = false;
}

bool batch_is_empty(const struct batch *batch) {
    return batch->entries.size == 0;
}

bool batch_failed(const struct batch *batch) {
    return batch->arena.exhausted || batch->bytes.failed || batch->entries.failed;
}

uint32_t batch_entry_count(const struct batch *batch) {
    return (uint32_t)(batch->entries.size / sizeof(struct batch_entry));
}

static struct batch_entry record_at(const struct batch *batch, uint32_t nth) {
    struct batch_entry record;
    CHECK(nth < batch_entry_count(batch));
    memcpy(&record, batch->entries.data + nth * sizeof record, sizeof record);
    return record;
}

struct entry batch_entry_at(const struct batch *batch, uint32_t nth) {
    struct batch_entry const record = record_at(batch, nth);
    return (struct entry){.kind = record.kind,
                          .payload = span_of(batch->bytes.data + record.offset, record.size)};
}

bool batch_equal(const struct batch *a, const struct batch *b) {
    uint32_t const count = batch_entry_count(a);
    bool equal =
        count == batch_entry_count(b) && span_equal(buffer_span(&a->bytes), buffer_span(&b->bytes));
    for (uint32_t i = 0; equal && i < count; i++) {
        struct batch_entry const ours = record_at(a, i);
        struct batch_entry const theirs = record_at(b, i);
        equal = ours.kind == theirs.kind && ours.size == theirs.size;
    }
    return equal;
}

struct span batch_request_payload(const struct batch *batch, uint32_t nth) {
    CHECK(batch->whole && nth < batch->request_count);
    return batch_entry_at(batch, batch_entry_count(batch) - batch->request_count + nth).payload;
}

/* Is it a new view that is being put together? */
static bool is_view(const struct batch *batch) {
    return batch_entry_count(batch) != 0 && record_at(batch, 0).kind == ENTRY_VIEW_CHANGE_SET;
}

static enum rule add_pre_prepare(struct batch *batch, struct span payload) {
    bool const in_place =
        batch_entry_count(batch) == 0 ||
        (batch_entry_count(batch) == 1 && record_at(batch, 0).kind == ENTRY_EVIDENCE);
    if (!in_place) {
        return RULE_ENTRY_ORDER;
    }
    if (signed_decode(&batch->seal.statement, &batch->arena, payload, STATEMENT_SIZE_MAX) !=
            CODEC_OK ||
        pre_prepare_decode(&batch->pre_prepare, &batch->arena, batch->seal.statement.body) !=
            CODEC_OK) {
        return RULE_ENTRY_ENCODING;
    }
    return batch->pre_prepare.tx_count > BATCH_CALLS_MAX ? RULE_ENTRY_ENCODING : RULE_NONE;
}

static enum rule add_request(struct batch *batch, struct span payload) {
    bool const in_place =
        batch_entry_count(batch) != 0 && batch->pre_prepare.tx_count != 0 &&
        (batch->request_count != 0 ||
         record_at(batch, batch_entry_count(batch) - 1).kind == ENTRY_PRE_PREPARE);
    if (!in_place) {
        return RULE_ENTRY_ORDER;
    }
    struct request_entry entry;
    if (request_entry_decode(&entry, &batch->arena, payload) != CODEC_OK) {
        return RULE_ENTRY_ENCODING;
    }
    batch->tx_seen += entry.outcome_count;
    batch->request_count++;
    return batch->tx_seen > batch->pre_prepare.tx_count ? RULE_ENTRY_ORDER : RULE_NONE;
}

static enum rule add_evidence(struct batch *batch, struct span payload) {
    if (batch_entry_count(batch) != 0) {
        return RULE_ENTRY_ORDER;
    }
    return evidence_decode(&batch->evidence, &batch->arena, payload) == CODEC_OK
               ? RULE_NONE
               : RULE_ENTRY_ENCODING;
}

static enum rule add_by_kind(struct batch *batch, const struct entry *entry) {
    switch (entry->kind) {
    case ENTRY_EVIDENCE:
        return add_evidence(batch, entry->payload);
    case ENTRY_PRE_PREPARE:
        return add_pre_prepare(batch, entry->payload);
    case ENTRY_REQUEST:
        return add_request(batch, entry->payload);
    case ENTRY_VIEW_CHANGE_SET:
        return batch_entry_count(batch) == 0 ? RULE_NONE : RULE_ENTRY_ORDER;
    case ENTRY_NEW_VIEW:
        return batch_entry_count(batch) == 1 && is_view(batch) ? RULE_NONE : RULE_ENTRY_ORDER;
    case ENTRY_GENESIS:
        return RULE_ENTRY_ORDER;
    }
    return RULE_ENTRY_ENCODING;
}

/* The batch is complete: fill in what points into the buffer, which no longer moves. */
static void finish(struct batch *batch) {
    bool const has_evidence = record_at(batch, 0).kind == ENTRY_EVIDENCE;
    batch->seal.pre_prepare = &batch->pre_prepare;
    batch->seal.request_count = batch->request_count;
    batch->seal.entry_payload = batch_entry_at(batch, has_evidence ? 1 : 0).payload;
    if (has_evidence) {
        batch->seal.evidence = &batch->evidence;
        batch->seal.evidence_payload = batch_entry_at(batch, 0).payload;
    }
    batch->whole = true;
}

static enum batch_step finish_view(struct batch *batch, enum rule *rule) {
    enum codec_result const result =
        view_unit_decode(&batch->view, &batch->arena, batch_entry_at(batch, 0).payload,
                         batch_entry_at(batch, 1).payload);
    batch->whole = result == CODEC_OK;
    *rule = result == CODEC_OK ? RULE_NONE : RULE_ENTRY_ENCODING;
    return result == CODEC_OK ? BATCH_VIEW : BATCH_BROKEN;
}

enum batch_step batch_add(struct batch *batch, uint64_t index, const struct entry *entry,
                          enum rule *rule) {
    CHECK(!batch->whole);
    if (batch_is_empty(batch)) {
        batch->first_entry = index;
        batch->pre_prepare.tx_count = 0;
    }
    *rule = entry->payload.size > BATCH_SIZE_MAX - batch->bytes.size ? RULE_ENTRY_ENCODING
                                                                     : add_by_kind(batch, entry);
    struct batch_entry const record = {
        .kind = entry->kind, .offset = batch->bytes.size, .size = entry->payload.size};
    if (*rule == RULE_NONE && (!buffer_append(&batch->bytes, entry->payload) ||
                               !buffer_append(&batch->entries, span_of(&record, sizeof record)))) {
        *rule = RULE_ENTRY_ENCODING;
    }
    if (*rule != RULE_NONE) {
        return BATCH_BROKEN;
    }
    if (entry->kind == ENTRY_NEW_VIEW) {
        return finish_view(batch, rule);
    }
    if (is_view(batch) || entry->kind == ENTRY_EVIDENCE ||
        batch->tx_seen < batch->pre_prepare.tx_count) {
        return BATCH_MORE;
    }
    finish(batch);
    return BATCH_WHOLE;
}

bool batch_skim(struct batch *batch) {
    uint32_t const count = batch_entry_count(batch);
    if (batch->whole || count == 0 || record_at(batch, count - 1).kind != ENTRY_PRE_PREPARE) {
        return false;
    }
    finish(batch);
    return true;
}
