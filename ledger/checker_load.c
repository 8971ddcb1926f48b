/*
 * checker_load: where a checker starts, from genesis or from a checkpoint, and what a checkpoint
 * keeps of it (protocol §7). See checker.h.
 */
#include <stdlib.h>

#include "base/check.h"
#include "ledger/batch.h"
#include "ledger/checker_internal.h"
#include "ledger/derive.h"

/* ---- where a ledger starts ---- */

void checker_start(struct checker *checker, struct span genesis) {
    struct ledger_position *const now = &checker->now;
    *now = (struct ledger_position){.entries = 1, .next_index = 1};
    frontier_init(&now->frontier);
    struct digest const leaf = ledger_leaf(ENTRY_GENESIS, genesis);
    frontier_append(&now->frontier, &leaf);
    checker_mark_now(checker);

    struct checkpoint_cut cut;
    checker_cut(checker, &cut);
    cut.header.state_root = merkle_empty_root();
    struct buffer encoded;
    buffer_init(&encoded, CHECKPOINT_HEADER_SIZE_MAX);
    struct digest digest;
    if (checkpoint_cut_digest(&digest, &encoded, &checker->configuration->service, &cut)) {
        checker_checkpoint_learn(checker, 0, &digest);
        now->checkpoint_digest = digest;
        checker_mark_now(checker);
    } else {
        checker->failed = true;
    }
    buffer_free(&encoded);
}

/* A checkpoint among the batches that its view took over says what is still to be proposed again.
 */
static bool carried_loads(struct checker *checker, const struct checkpoint_header *header) {
    uint64_t const left = header->view_start > header->seq ? header->view_start - header->seq : 0;
    struct view_record record = {.view = header->view, .carried_count = header->carried_count};
    if ((header->view == 0 && header->view_start != header->config_start) ||
        header->carried_count != left || left > PIPELINE_MAX) {
        return false;
    }
    for (uint32_t i = 0; i < header->carried_count; i++) {
        if (header->carried[i].seq != header->seq + 1 + i) {
            return false;
        }
        record.carried[i] = header->carried[i];
    }
    checker_record_view(checker, &record);
    return true;
}

static bool header_loads(struct checker *checker, const struct checkpoint_header *header,
                         const struct checker_snapshot *snapshot) {
    struct ledger_position *const now = &checker->now;
    *now = (struct ledger_position){
        .entries = header->entries,
        .view = header->view,
        .view_start = header->view_start,
        .seq = header->seq,
        .next_index = header->next_index,
        .evidence_upto = header->evidence_upto,
        .gov_index = header->gov_index,
        .config_start = header->config_start,
        .closing_seq = header->closing_seq,
        .time_ms = header->time_ms,
        .checkpoint_seq = header->checkpoint_seq,
        .checkpoint_digest = header->checkpoint_digest,
    };
    if (header->config != checker->configuration->number || header->next_index == 0 ||
        header->entries < header->ledger_leaves || header->evidence_upto > header->seq ||
        header->pending_count != header->seq - header->evidence_upto ||
        !frontier_load(&now->frontier, header->ledger_leaves, snapshot->frontier)) {
        return false;
    }
    struct digest const root = frontier_root(&now->frontier);
    if (!digest_equal(&root, &header->ledger_root)) {
        return false;
    }
    if (!carried_loads(checker, header)) {
        return false;
    }
    for (uint32_t i = 0; i < header->pending_count; i++) {
        const struct pending_batch *const pending = &header->pending[i];
        if (pending->seq != header->evidence_upto + 1 + i) {
            return false;
        }
        checker->pending[pending->seq % CHECKER_MARKS_MAX] = *pending;
    }
    return true;
}

static bool load_window_batch(struct checker *checker, const struct window_batch *batch) {
    uint64_t end_index = batch->first_index;
    for (uint32_t i = 0; i < batch->request_count; i++) {
        end_index += batch->call_counts[i];
    }
    /* What is no longer in the window is not in its root either, and must not be believed. */
    bool const is_live =
        end_index + checker->configuration->parameters.window > checker->now.next_index;
    return is_live && batch->seq <= checker->now.seq && window_load(checker->window, batch);
}

bool checker_load(struct checker *checker, const struct checker_snapshot *snapshot,
                  struct arena *arena, bool rebuild_window) {
    struct checkpoint_header header;
    if (checkpoint_header_decode(&header, arena, snapshot->header) != CODEC_OK ||
        !header_loads(checker, &header, snapshot) ||
        !anchors_load(&checker->anchors, snapshot, header.entries)) {
        return false;
    }
    checker->mark_first = header.seq;
    checker->settled_seq = header.seq;
    checker_mark_now(checker);
    struct digest const own =
        hash_labelled(LABEL_CHECKPOINT, &checker->configuration->service, snapshot->header);
    checker_checkpoint_learn(checker, header.checkpoint_seq, &header.checkpoint_digest);
    checker_checkpoint_learn(checker, header.seq, &own);
    checker->loaded_window_seq = header.seq;
    checker->loaded_window_root = header.window_root;
    checker->loaded_window_entry = snapshot->window_entry;
    if (rebuild_window) {
        return true;
    }
    for (uint32_t i = 0; i < snapshot->window_count; i++) {
        struct window_batch batch;
        if (window_batch_decode(&batch, arena, snapshot->window[i]) != CODEC_OK ||
            !load_window_batch(checker, &batch)) {
            return false;
        }
    }
    return checker_window_holds(checker);
}

/* What a request is remembered by. */
static bool read_requests(const struct checker *checker, struct arena *scratch,
                          const struct batch *batch, struct digest *ids, uint16_t *call_counts) {
    for (uint32_t i = 0; i < batch->request_count; i++) {
        struct request_entry entry;
        struct request request;
        arena_reset(scratch);
        if (request_entry_decode(&entry, scratch, batch_request_payload(batch, i)) != CODEC_OK ||
            request_decode(&request, scratch, &checker->configuration->service, entry.request) !=
                CODEC_OK) {
            return false;
        }
        ids[i] = request.id;
        call_counts[i] = (uint16_t)request.call_count;
    }
    return true;
}

bool checker_load_window(struct checker *checker, struct arena *scratch,
                         const struct batch *batch) {
    if (batch->request_count == 0) {
        return true; /* an empty batch has nothing to replay */
    }
    struct digest *const ids = calloc(batch->request_count, sizeof *ids);
    uint16_t *const call_counts = calloc(batch->request_count, sizeof *call_counts);
    checker->failed |= ids == NULL || call_counts == NULL;
    struct window_batch const window = {
        .seq = batch->pre_prepare.seq,
        .first_index = batch->pre_prepare.first_index,
        .entry = batch->first_entry + (batch->seal.evidence == NULL ? 0 : 1),
        .request_count = batch->request_count,
        .request_ids = ids,
        .call_counts = call_counts,
    };
    bool const loaded = !checker->failed &&
                        read_requests(checker, scratch, batch, ids, call_counts) &&
                        load_window_batch(checker, &window);
    free(ids);
    free(call_counts);
    return loaded;
}

bool checker_window_holds(const struct checker *checker) {
    uint64_t first_entry = 0;
    struct digest const root = window_root(checker->window, checker->loaded_window_seq,
                                           checker->now.next_index, &first_entry);
    return digest_equal(&root, &checker->loaded_window_root) &&
           first_entry == checker->loaded_window_entry;
}

/* ---- checkpoints ---- */

/* Where the batches begin that a view-change made after a restart may have to show. */
static uint64_t past_entry(const struct checker *checker) {
    uint64_t const span = 2 * (uint64_t)checker->configuration->parameters.pipeline;
    uint64_t const seq = checker->now.seq > span ? checker->now.seq - span : 0;
    const struct ledger_position *const before =
        checker_position_at(checker, seq > checker->mark_first ? seq : checker->mark_first);
    return before == NULL ? 0 : before->entries;
}

/* The first entry that a replica which starts from this cut has to read; its end if there is none.
 */
static uint64_t needed_entry(const struct checkpoint_cut *cut) {
    uint64_t needed = cut->header.entries;
    if (cut->window_entry != 0 && cut->window_entry < needed) {
        needed = cut->window_entry;
    }
    return cut->past_entry != 0 && cut->past_entry < needed ? cut->past_entry : needed;
}

uint64_t checker_first_checkpoint(const struct checker *checker) {
    uint64_t const interval = checker->configuration->parameters.checkpoint_interval;
    uint64_t const earliest = checker->now.config_start + interval;
    return (earliest + interval - 1) / interval * interval;
}

bool checker_cut_is_due(const struct checker *checker) {
    const struct ledger_position *const now = &checker->now;
    bool const is_regular = now->seq % checker->configuration->parameters.checkpoint_interval == 0;
    return (is_regular && now->seq >= checker_first_checkpoint(checker)) ||
           checker_is_closed(checker);
}

void checker_cut(struct checker *checker, struct checkpoint_cut *cut) {
    CHECK(!checker->in_batch);
    const struct ledger_position *const now = &checker->now;
    *cut = (struct checkpoint_cut){.frontier = now->frontier};
    struct checkpoint_header *const header = &cut->header;
    *header = (struct checkpoint_header){
        .config = checker->configuration->number,
        .view = now->view,
        .seq = now->seq,
        .view_start = now->view_start,
        .next_index = now->next_index,
        .ledger_leaves = now->frontier.leaf_count,
        .ledger_root = frontier_root(&now->frontier),
        .evidence_upto = now->evidence_upto,
        .gov_index = now->gov_index,
        .config_start = now->config_start,
        .closing_seq = now->closing_seq,
        .time_ms = now->time_ms,
        .checkpoint_seq = now->checkpoint_seq,
        .checkpoint_digest = now->checkpoint_digest,
        .window_root = window_root(checker->window, now->seq, now->next_index, &cut->window_entry),
        .entries = now->entries,
    };
    for (uint64_t seq = now->seq + 1; seq <= now->view_start; seq++) {
        const struct carried_batch *const carried = checker_carried(checker, seq);
        CHECK(carried != NULL && header->carried_count < PIPELINE_MAX);
        header->carried[header->carried_count++] = *carried;
    }
    cut->past_entry = past_entry(checker);
    for (uint64_t seq = now->evidence_upto + 1; seq <= now->seq; seq++) {
        CHECK(header->pending_count < EVIDENCE_BATCHES_MAX);
        header->pending[header->pending_count++] = checker->pending[seq % CHECKER_MARKS_MAX];
    }
    struct anchor const here = {.entries = now->entries, .frontier = now->frontier};
    anchors_add(&checker->anchors, &here, needed_entry(cut));
    cut->anchors = checker->anchors;
}

bool checkpoint_cut_digest(struct digest *digest, struct buffer *encoded,
                           const struct digest *service, const struct checkpoint_cut *cut) {
    size_t const start = encoded->size;
    if (!checkpoint_header_encode(encoded, &cut->header)) {
        return false;
    }
    *digest = hash_labelled(LABEL_CHECKPOINT, service,
                            span_of(encoded->data + start, encoded->size - start));
    return true;
}

/* The window's encodings, one after the other, with their sizes. */
struct window_list {
    struct buffer bytes;
    struct buffer sizes; /* of size_t */
    uint32_t count;
};

static bool window_collect(void *context, struct span encoded) {
    struct window_list *const list = context;
    list->count++;
    return buffer_append(&list->bytes, encoded) &&
           buffer_append(&list->sizes, span_of(&encoded.size, sizeof encoded.size));
}

static bool snapshot_encode(struct buffer *out, struct checker_snapshot *snapshot,
                            const struct window_list *list) {
    struct span *const spans = calloc(list->count + 1, sizeof *spans);
    if (spans == NULL) {
        return false;
    }
    size_t offset = 0;
    for (uint32_t i = 0; i < list->count; i++) {
        size_t size = 0;
        memcpy(&size, list->sizes.data + i * sizeof size, sizeof size);
        spans[i] = span_of(list->bytes.data + offset, size);
        offset += size;
    }
    snapshot->window_count = list->count;
    snapshot->window = spans;
    bool const done = checker_snapshot_encode(out, snapshot);
    free(spans);
    return done;
}

bool checkpoint_cut_snapshot(struct buffer *out, const struct checkpoint_cut *cut,
                             const struct window *window) {
    struct buffer header;
    struct window_list list = {0};
    buffer_init(&header, CHECKPOINT_HEADER_SIZE_MAX);
    buffer_init(&list.bytes, SNAPSHOT_SIZE_MAX);
    buffer_init(&list.sizes, SNAPSHOT_SIZE_MAX);
    bool const collected =
        checkpoint_header_encode(&header, &cut->header) &&
        (window == NULL ||
         window_visit(window, cut->header.seq, cut->header.next_index, window_collect, &list));
    struct checker_snapshot snapshot = {
        .header = buffer_span(&header),
        .frontier = span_of(cut->frontier.peaks,
                            frontier_peak_count(cut->frontier.leaf_count) * DIGEST_SIZE),
        .window_entry = cut->window_entry,
        .past_entry = window == NULL ? cut->past_entry : 0,
    };
    if (window == NULL) {
        anchors_save(&cut->anchors, &snapshot);
    }
    bool const done = collected && snapshot_encode(out, &snapshot, &list);
    buffer_free(&header);
    buffer_free(&list.bytes);
    buffer_free(&list.sizes);
    return done;
}
