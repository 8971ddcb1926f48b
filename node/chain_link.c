/*
 * chain_link: see chain_link.h. What is read need not be of one ledger, so nothing is taken for
 * granted about it.
 */
#include "node/chain_link.h"

#include <stdlib.h>

#include "base/check.h"
#include "governance/founding.h"
#include "node/ledger_read.h"
#include "receipts/link_maker.h"

#define STATEMENT_ARENA_SIZE ((size_t)64 << 10)
/* What one step of reading on costs less than another seek. */
#define NEAR_ENTRIES 1024u

struct search {
    const struct chain_link_source *source;
    struct segment_reader reader;
    struct link_maker *maker;
    struct arena arena;
    struct batch batch;
    struct batch later;
    uint64_t closing_entry; /* of the last batch that was taken; 0: none yet */
    uint64_t end_entry;     /* of the first one that ends the configuration */
    struct buffer certificate;
    struct buffer end_certificate;
    struct problem *problem;
};

static bool is_stopping(const struct search *search) {
    return atomic_load(search->source->stopping);
}

static int damaged(struct search *search, const char *what) {
    return problem_set(search->problem, EXIT_CORRUPT, "%s: configuration %llu: %s",
                       search->source->disk->place, (unsigned long long)search->source->now->number,
                       what);
}

/* ---- where the configuration begins ---------------------------------------------------------- */

/* Of the first batch whose pre-prepare is at this entry or behind it. */
struct sight {
    uint64_t entry; /* of the pre-prepare */
    uint64_t config;
};

static bool sight_read(struct search *search, struct sight *sight,
                       const struct segment_record *record) {
    struct signed_body statement;
    struct pre_prepare body;
    arena_reset(&search->arena);
    if (signed_decode(&statement, &search->arena, record->payload, ENTRY_SIZE_MAX) != CODEC_OK ||
        pre_prepare_decode(&body, &search->arena, statement.body) != CODEC_OK) {
        return false;
    }
    *sight = (struct sight){.entry = record->index, .config = body.config};
    return true;
}

/* From where the reader is. Returns: 1; 0 at the end of the ledger; -1 on a problem. */
static int next_sight(struct search *search, struct sight *sight) {
    for (;;) {
        struct segment_record record;
        int const got = segment_reader_next(&search->reader, &record, search->problem);
        if (got != 1) {
            return got;
        }
        if (record.kind == ENTRY_PRE_PREPARE) {
            return sight_read(search, sight, &record)
                       ? 1
                       : damaged(search, "a batch of its ledger does not decode");
        }
        if (is_stopping(search)) {
            return 0;
        }
    }
}

/* Returns: as next_sight. */
static int sight_at(struct search *search, uint64_t entry, struct sight *sight) {
    int const found = segment_reader_seek(&search->reader, entry, search->problem);
    return found == 1 ? next_sight(search, sight) : found;
}

/*
 * Have the reader behind the first pre-prepare of the configuration, which has no requests: it only
 * starts it. Configurations ascend: one is known to lie behind `low`, or to be the founding one.
 */
static int go_to_beginning(struct search *search) {
    uint64_t const config = search->source->now->number;
    uint64_t low = 1;
    uint64_t high = search->source->end_entry;
    struct sight sight = {.entry = 0};
    if (config == FOUNDING_CONFIGURATION) {
        return segment_reader_seek(&search->reader, low, search->problem);
    }
    while (high > low && high - low > NEAR_ENTRIES) {
        uint64_t const middle = low + (high - low) / 2;
        int const found = is_stopping(search) ? 0 : sight_at(search, middle, &sight);
        if (found < 0 || is_stopping(search)) {
            return found < 0 ? -1 : 0;
        }
        if (found == 1 && sight.config < config) {
            low = middle;
        } else {
            high = middle;
        }
    }
    int got = sight_at(search, low, &sight);
    while (got == 1 && sight.config < config) {
        got = next_sight(search, &sight);
    }
    return got == 1 && sight.config > config ? damaged(search, "it has no batch") : got;
}

/* ---- its batches ----------------------------------------------------------------------------- */

/* Returns: 1 with search->batch, a new view passed over; 0 at the end of the ledger; -1. */
static int next_batch(struct search *search) {
    if (ledger_read_batch(&search->batch, &search->reader, search->problem)) {
        return 1;
    }
    return search->problem->code == EXIT_OK ? 0 : -1;
}

/* Take all batches up to the end of the configuration. Returns: 1; 0: it has not ended; -1. */
static int take_batches(struct search *search) {
    const struct pre_prepare *const body = &search->batch.pre_prepare;
    uint64_t const config = search->source->now->number;
    link_maker_begin(search->maker, search->source->now);
    for (;;) {
        int const got = is_stopping(search) ? 0 : next_batch(search);
        if (got != 1) {
            return got;
        }
        if (body->config != config) {
            return damaged(search, "its ledger goes on into another without an end of it");
        }
        if (body->kind == BATCH_END_OF_CONFIGURATION) {
            search->end_entry = search->batch.first_entry;
            return search->closing_entry != 0 ? 1 : damaged(search, "it ends without a vote");
        }
        link_maker_take(search->maker, &search->batch);
        search->closing_entry = search->batch.first_entry;
    }
}

/* ---- its end --------------------------------------------------------------------------------- */

/* A batch that was met, once more, and its certificate. Returns: as above. */
static int read_certified(struct search *search, uint64_t first_entry, struct buffer *certificate) {
    int const found = segment_reader_seek(&search->reader, first_entry, search->problem);
    int const got = found == 1 ? next_batch(search) : found;
    if (got != 1) {
        return got;
    }
    const struct batch *const batch = &search->batch;
    if (ledger_read_certificate(certificate, &search->later, &search->reader,
                                &batch->seal.statement, batch->pre_prepare.seq, search->problem)) {
        return 1;
    }
    return search->problem->code == EXIT_OK ? 0 : -1;
}

static int make(struct search *search, struct buffer *out) {
    int got = take_batches(search);
    got = got != 1 ? got : read_certified(search, search->end_entry, &search->end_certificate);
    got = got != 1 ? got : read_certified(search, search->closing_entry, &search->certificate);
    if (got != 1) {
        return got;
    }
    struct link_ending const ending = {.closing = &search->batch,
                                       .certificate = buffer_span(&search->certificate),
                                       .end_certificate = buffer_span(&search->end_certificate)};
    return link_maker_make(search->maker, out, &ending)
               ? 1
               : damaged(search, "no link can be made of the votes that ended it");
}

int chain_link_find(struct buffer *out, const struct chain_link_source *source,
                    struct problem *problem) {
    struct search *const search = calloc(1, sizeof *search);
    struct link_maker *const maker = link_maker_new();
    int got = -1;
    if (search == NULL || maker == NULL) {
        link_maker_free(maker);
        free(search);
        return problem_set(problem, EXIT_ERROR, "%s: out of memory", source->disk->place);
    }
    *search = (struct search){.source = source, .maker = maker, .problem = problem};
    segment_reader_init(&search->reader, source->disk, &source->now->service, true);
    arena_init(&search->arena, STATEMENT_ARENA_SIZE);
    batch_init(&search->batch);
    batch_init(&search->later);
    buffer_init(&search->certificate, COMMIT_CERTIFICATE_SIZE_MAX);
    buffer_init(&search->end_certificate, COMMIT_CERTIFICATE_SIZE_MAX);
    got = go_to_beginning(search);
    got = got == 1 ? make(search, out) : got;
    buffer_free(&search->end_certificate);
    buffer_free(&search->certificate);
    batch_free(&search->later);
    batch_free(&search->batch);
    arena_free(&search->arena);
    segment_reader_free(&search->reader);
    link_maker_free(search->maker);
    free(search);
    return got;
}
