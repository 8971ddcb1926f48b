/*
 * fetch_store: see fetch_store.h. Invariant: settled <= end, and the entries below `end` are those
 * on disk; what lies on disk beyond `end` is from before this round, until it is replaced.
 */
#include "audit-tool/fetch_store.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/check.h"
#include "host/file.h"
#include "ledger/derive.h"

/* ---- following a ledger ---------------------------------------------------------------------- */

/* What the first statement of a unit says of M just before itself. */
struct stated_root {
    enum entry_kind before_kind; /* of the entry of its unit that stands before it */
    struct span before;          /* empty: there is none */
    uint64_t leaves;
    const struct digest *root;
};

static struct stated_root stated_by(const struct batch *batch, enum batch_step step) {
    return step == BATCH_VIEW ? (struct stated_root){.before_kind = ENTRY_VIEW_CHANGE_SET,
                                                     .before = batch->view.set_payload,
                                                     .leaves = batch->view.new_view.ledger_leaves,
                                                     .root = &batch->view.new_view.ledger_root}
                              : (struct stated_root){.before_kind = ENTRY_EVIDENCE,
                                                     .before = batch->seal.evidence_payload,
                                                     .leaves = batch->pre_prepare.ledger_leaves,
                                                     .root = &batch->pre_prepare.ledger_root};
}

static void append_leaf(struct frontier *frontier, enum entry_kind kind, struct span payload) {
    struct digest const leaf = ledger_leaf(kind, payload);
    frontier_append(frontier, &leaf);
}

/* Does a unit stand behind this place, as its statement says? */
static bool continues(const struct fetch_mark *at, const struct batch *batch,
                      enum batch_step step) {
    struct stated_root const stated = stated_by(batch, step);
    struct frontier frontier = at->frontier;
    if (stated.before.size != 0) {
        append_leaf(&frontier, stated.before_kind, stated.before);
    }
    struct digest const root = frontier_root(&frontier);
    return frontier.leaf_count == stated.leaves && digest_equal(&root, stated.root);
}

static void follow_genesis(struct fetch_store *store, struct span genesis) {
    append_leaf(&store->end.frontier, ENTRY_GENESIS, genesis);
    store->end.entries = 1;
    store->settled = store->end;
}

static void follow_batch(struct fetch_store *store) {
    const struct batch *const batch = &store->batch;
    const struct pre_prepare *const body = &batch->pre_prepare;
    struct fetch_mark *const end = &store->end;
    if (batch->seal.evidence_payload.size != 0) {
        append_leaf(&end->frontier, ENTRY_EVIDENCE, batch->seal.evidence_payload);
    }
    append_leaf(&end->frontier, ENTRY_PRE_PREPARE, batch->seal.entry_payload);
    end->entries += batch_entry_count(batch);
    end->seq = body->seq;
    store->pending[body->seq % FETCH_PENDING_MAX] = *end;
    const struct fetch_mark *const evidenced =
        &store->pending[body->evidence_upto % FETCH_PENDING_MAX];
    if (body->evidence_upto != 0 && evidenced->seq == body->evidence_upto &&
        evidenced->entries > store->settled.entries) {
        store->settled = *evidenced;
    }
}

static void follow_view(struct fetch_store *store) {
    const struct view_unit *const unit = &store->batch.view;
    append_leaf(&store->end.frontier, ENTRY_VIEW_CHANGE_SET, unit->set_payload);
    append_leaf(&store->end.frontier, ENTRY_NEW_VIEW, unit->entry_payload);
    store->end.entries += batch_entry_count(&store->batch);
}

/* One entry more. Returns: false when it cannot stand here, or out of memory. */
static bool follow(struct fetch_store *store, uint64_t index, const struct entry *entry) {
    enum rule rule = RULE_NONE;
    if (index == 0) {
        follow_genesis(store, entry->payload);
        return entry->kind == ENTRY_GENESIS;
    }
    switch (batch_add(&store->batch, index, entry, &rule)) {
    case BATCH_MORE:
        return true;
    case BATCH_BROKEN:
        return false;
    case BATCH_WHOLE:
        follow_batch(store);
        break;
    case BATCH_VIEW:
        follow_view(store);
        break;
    }
    batch_clear(&store->batch);
    return true;
}

/* ---- opening --------------------------------------------------------------------------------- */

static void forget(struct fetch_store *store) {
    store->settled = store->base;
    store->end = store->base;
    memset(store->pending, 0, sizeof store->pending);
    batch_clear(&store->batch);
}

static int read_all(struct fetch_store *store, struct problem *problem) {
    struct segment_reader reader;
    struct segment_record record;
    int status = 0;
    segment_reader_init(&reader, &store->disk.disk, &store->service, true);
    if (store->base.entries != 0 &&
        segment_reader_seek(&reader, store->base.entries, problem) < 0) {
        segment_reader_free(&reader);
        return -1;
    }
    while ((status = segment_reader_next(&reader, &record, problem)) == 1) {
        struct entry const entry = {.kind = record.kind, .payload = record.payload};
        if (!follow(store, record.index, &entry)) {
            status = problem_set(problem, EXIT_CORRUPT,
                                 "%s/%s: offset %llu: not what onus-audit fetch has written; move "
                                 "the directory away to fetch anew",
                                 store->path, record.file_name, (unsigned long long)record.offset);
            break;
        }
    }
    segment_reader_free(&reader);
    return status;
}

static int open_disk(struct fetch_store *store, struct problem *problem) {
    struct segment_writer_options const options = {
        .service = store->service, .first_index = store->base.entries, .torn_tail_cut = true};
    struct segment_torn_tail torn;
    if (host_disk_open(&store->disk, store->path, HOST_DISK_WRITE, problem) != 0) {
        return -1;
    }
    if (segment_writer_open(&store->writer, &torn, &store->disk.disk, &options, problem) !=
        SEGMENT_OK) {
        segment_writer_close(&store->writer);
        host_disk_close(&store->disk);
        return -1;
    }
    store->is_open = true;
    if (store->writer.first_index == 0) {
        store->base = (struct fetch_mark){0}; /* all of it is here */
    }
    forget(store);
    if (store->writer.first_index != store->base.entries) {
        return problem_set(problem, EXIT_CORRUPT,
                           "%s: its oldest files are missing; move the directory away to fetch "
                           "anew",
                           store->path);
    }
    return read_all(store, problem);
}

int fetch_store_open(struct fetch_store *store, const char *path, const struct digest *service,
                     const struct fetch_mark *base, struct problem *problem) {
    int const size = snprintf(store->path, sizeof store->path, "%s", path);
    CHECK(size > 0 && (size_t)size < sizeof store->path);
    store->service = *service;
    store->base = base == NULL ? (struct fetch_mark){0} : *base;
    store->is_open = false;
    batch_init(&store->batch);
    return open_disk(store, problem);
}

int fetch_store_sync(struct fetch_store *store, struct problem *problem) {
    return segment_writer_sync(&store->writer, problem) == SEGMENT_OK ? 0 : -1;
}

static void close_disk(struct fetch_store *store) {
    struct problem ignored = {.code = EXIT_OK};
    if (store->is_open) {
        (void)!segment_writer_sync(&store->writer, &ignored); /* else it is fetched again */
        segment_writer_close(&store->writer);
        host_disk_close(&store->disk);
        store->is_open = false;
    }
}

void fetch_store_close(struct fetch_store *store) {
    close_disk(store);
    batch_free(&store->batch);
}

/* ---- a round --------------------------------------------------------------------------------- */

void fetch_store_rewind(struct fetch_store *store) {
    store->end = store->settled;
    memset(store->pending, 0, sizeof store->pending);
    batch_clear(&store->batch);
}

uint64_t fetch_store_next(const struct fetch_store *store) {
    return store->end.entries;
}

uint64_t fetch_store_entries(const struct fetch_store *store) {
    return segment_writer_next_index(&store->writer);
}

/* Does the first batch or new view of the range continue what is kept? */
static bool range_continues(struct fetch_store *store, const struct range_message *range) {
    bool good = true;
    enum batch_step step = BATCH_MORE;
    for (uint32_t i = 0; i < range->count && step == BATCH_MORE && range->first_entry != 0; i++) {
        enum rule rule = RULE_NONE;
        step = batch_add(&store->batch, range->first_entry + i, &range->entries[i], &rule);
        good = step == BATCH_MORE ||
               (step != BATCH_BROKEN && continues(&store->end, &store->batch, step));
    }
    batch_clear(&store->batch);
    return good;
}

static enum segment_result write_range(struct fetch_store *store, const struct range_message *range,
                                       struct problem *problem) {
    return range->first_entry < fetch_store_entries(store)
               ? segment_writer_replace(&store->writer, range->first_entry, range->entries,
                                        range->count, problem)
               : segment_writer_append(&store->writer, range->entries, range->count, true, problem);
}

enum fetch_store_result fetch_store_take(struct fetch_store *store,
                                         const struct range_message *range,
                                         struct problem *problem) {
    CHECK(range->count != 0 && range->first_entry == store->end.entries);
    if (!range_continues(store, range)) {
        return FETCH_STORE_PARTED;
    }
    switch (write_range(store, range, problem)) {
    case SEGMENT_OK:
        break;
    case SEGMENT_FULL:
        (void)problem_set(problem, EXIT_ERROR, "%s: the disk is full", store->path);
        return FETCH_STORE_FAILED;
    case SEGMENT_TORN:
    case SEGMENT_FAILED:
        return FETCH_STORE_FAILED;
    }
    for (uint32_t i = 0; i < range->count; i++) {
        if (!follow(store, range->first_entry + i, &range->entries[i])) {
            (void)problem_set(problem, EXIT_ERROR, "%s: out of memory", store->path);
            return FETCH_STORE_FAILED;
        }
    }
    return FETCH_STORE_TAKEN;
}

int fetch_store_end(struct fetch_store *store, struct problem *problem) {
    return fetch_store_entries(store) == store->end.entries ||
                   segment_writer_truncate(&store->writer, store->end.entries, problem) ==
                       SEGMENT_OK
               ? 0
               : -1;
}

/* The first name of an older history that is free. Returns: 1, 0: none is, or -1. */
static int choose_name(char out[static PATH_MAX], const struct fetch_store *store,
                       struct problem *problem) {
    for (unsigned n = 1; n <= FETCH_ASIDE_MAX; n++) {
        struct stat found;
        int const size = snprintf(out, PATH_MAX, "%s.before-%u", store->path, n);
        if (size < 0 || size >= PATH_MAX) {
            return problem_set(problem, EXIT_ERROR, "%s: the path is too long", store->path);
        }
        if (lstat(out, &found) != 0 && errno == ENOENT) {
            return 1;
        }
    }
    return 0;
}

int fetch_store_put_aside(struct fetch_store *store, struct problem *problem) {
    char older[PATH_MAX];
    int const chosen = choose_name(older, store, problem);
    if (chosen != 1) {
        return chosen;
    }
    close_disk(store);
    if (rename(store->path, older) != 0) {
        return problem_set(problem, EXIT_ERROR, "%s: rename to %s: %s", store->path, older,
                           strerror(errno));
    }
    return file_sync_directory_of(store->path, problem) != 0 || open_disk(store, problem) != 0 ? -1
                                                                                               : 1;
}
