/*
 * range_piece: see range_piece.h. Payloads are copied behind each other into one buffer, which may
 * move as it grows: entries are kept as offsets until all were read.
 */
#include "node/range_piece.h"

#include "base/arena.h"
#include "governance/founding.h"
#include "ledger/codec_view.h"

/* For decoding one statement. */
#define STATEMENT_ARENA_SIZE (8 * (size_t)STATEMENT_SIZE_MAX)

struct stored {
    enum entry_kind kind;
    size_t offset;
    size_t size;
};

void range_piece_init(struct range_piece *piece) {
    *piece = (struct range_piece){0};
    buffer_init(&piece->payloads, FRAME_SIZE_MAX);
    buffer_init(&piece->stored, WIRE_ENTRIES_MAX * sizeof(struct stored));
    buffer_init(&piece->entries, WIRE_ENTRIES_MAX * sizeof(struct entry));
}

void range_piece_free(struct range_piece *piece) {
    buffer_free(&piece->payloads);
    buffer_free(&piece->stored);
    buffer_free(&piece->entries);
}

static uint32_t stored_count(const struct range_piece *piece) {
    return (uint32_t)(piece->stored.size / sizeof(struct stored));
}

static struct stored stored_at(const struct range_piece *piece, uint32_t nth) {
    struct stored stored;
    memcpy(&stored, piece->stored.data + nth * sizeof stored, sizeof stored);
    return stored;
}

/* Does a batch or a new view begin with an entry of this kind, behind one of that kind? */
static bool kind_begins_unit(enum entry_kind before, enum entry_kind kind) {
    return kind != ENTRY_REQUEST && kind != ENTRY_NEW_VIEW &&
           !(kind == ENTRY_PRE_PREPARE && before == ENTRY_EVIDENCE);
}

static bool begins_unit(const struct range_piece *piece, enum entry_kind kind) {
    uint32_t const count = stored_count(piece);
    return kind_begins_unit(count == 0 ? ENTRY_GENESIS : stored_at(piece, count - 1).kind, kind);
}

static bool keep(struct range_piece *piece, const struct segment_record *record) {
    struct stored const stored = {
        .kind = record->kind, .offset = piece->payloads.size, .size = record->payload.size};
    return buffer_append(&piece->payloads, record->payload) &&
           buffer_append(&piece->stored, span_of(&stored, sizeof stored));
}

int range_piece_read(struct range_piece *piece, struct segment_reader *reader, uint64_t first_entry,
                     uint64_t end_entry, struct problem *problem) {
    uint32_t units = 0;
    piece->first_entry = first_entry;
    piece->count = 0;
    buffer_clear(&piece->payloads);
    buffer_clear(&piece->stored);
    int got = first_entry < end_entry ? segment_reader_seek(reader, first_entry, problem) : 0;
    for (uint64_t index = first_entry; got == 1 && index < end_entry; index++) {
        struct segment_record record;
        got = segment_reader_next(reader, &record, problem);
        if (got != 1) {
            return got; /* not written yet, or damaged */
        }
        if (begins_unit(piece, record.kind)) {
            piece->count = stored_count(piece);
            if (units == RANGE_BATCHES_SERVED_MAX || piece->payloads.size > RANGE_SIZE_SOFT_MAX) {
                return 0;
            }
            units++;
        }
        if (stored_count(piece) == WIRE_ENTRIES_MAX || !keep(piece, &record)) {
            return 0;
        }
    }
    if (got == 1) {
        piece->count = stored_count(piece); /* the end is the end of a batch or new view */
    }
    return got < 0 ? -1 : 0;
}

bool range_piece_drop_last(struct range_piece *piece) {
    uint32_t last = piece->count == 0 ? 0 : piece->count - 1;
    while (last > 0) {
        enum entry_kind const before = stored_at(piece, last - 1).kind;
        if (kind_begins_unit(before, stored_at(piece, last).kind)) {
            piece->count = last;
            return true;
        }
        last--;
    }
    return false;
}

/* What a pre-prepare or new view names. Returns: false when it does not decode. */
static bool statement_config(struct arena *arena, enum entry_kind kind, struct span payload,
                             uint64_t *config) {
    struct signed_body statement;
    struct pre_prepare pre_prepare;
    struct new_view new_view;
    if (signed_decode(&statement, arena, payload, STATEMENT_SIZE_MAX) != CODEC_OK) {
        return false;
    }
    if (kind == ENTRY_PRE_PREPARE) {
        bool const decodes = pre_prepare_decode(&pre_prepare, arena, statement.body) == CODEC_OK;
        *config = decodes ? pre_prepare.config : 0;
        return decodes;
    }
    bool const decodes = new_view_decode(&new_view, arena, statement.body) == CODEC_OK;
    *config = decodes ? new_view.config : 0;
    return decodes;
}

/* Of the nth entry, which is part of the piece. Returns: false when it names none. */
static bool entry_config(const struct range_piece *piece, uint32_t nth, uint64_t *config) {
    struct stored const stored = stored_at(piece, nth);
    struct span const payload = span_of(piece->payloads.data + stored.offset, stored.size);
    if (stored.kind == ENTRY_GENESIS) {
        *config = FOUNDING_CONFIGURATION;
        return true;
    }
    if (stored.kind != ENTRY_PRE_PREPARE && stored.kind != ENTRY_NEW_VIEW) {
        return false;
    }
    struct arena arena;
    arena_init(&arena, STATEMENT_ARENA_SIZE);
    bool const named = statement_config(&arena, stored.kind, payload, config);
    arena_free(&arena);
    return named;
}

static bool last_config(const struct range_piece *piece, uint64_t *config) {
    uint32_t nth = piece->count;
    while (nth > 0 && !entry_config(piece, nth - 1, config)) {
        nth--;
    }
    return nth > 0;
}

bool range_piece_keep_configuration(struct range_piece *piece, uint64_t *config) {
    uint32_t nth = 0;
    uint64_t last = 0;
    while (nth < piece->count && !entry_config(piece, nth, config)) {
        nth++;
    }
    if (nth == piece->count) {
        return false;
    }
    while (last_config(piece, &last) && last != *config) {
        if (!range_piece_drop_last(piece)) {
            return false;
        }
    }
    return true;
}

bool range_piece_message(struct range_piece *piece, struct range_message *message) {
    buffer_clear(&piece->entries);
    for (uint32_t i = 0; i < piece->count; i++) {
        struct stored const stored = stored_at(piece, i);
        struct entry const entry = {.kind = stored.kind,
                                    .payload =
                                        span_of(piece->payloads.data + stored.offset, stored.size)};
        if (!buffer_append(&piece->entries, span_of(&entry, sizeof entry))) {
            return false;
        }
    }
    *message = (struct range_message){.first_entry = piece->first_entry,
                                      .count = piece->count,
                                      /* its memory comes from realloc: aligned for any type */
                                      .entries = (const void *)piece->entries.data};
    return true;
}
