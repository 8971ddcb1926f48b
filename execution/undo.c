/*
 * undo: see undo.h. The record at position p lies at p modulo the ring's capacity.
 */
#include "execution/undo.h"

#include <stdlib.h>

#include "base/check.h"

#define CAPACITY_FIRST 64u

void undo_init(struct undo_log *log) {
    *log = (struct undo_log){.records = NULL};
}

void undo_free(struct undo_log *log) {
    undo_settle(log, log->end);
    free(log->records);
    undo_init(log);
}

static struct undo_record *slot(const struct undo_log *log, uint64_t position) {
    return &log->records[position & (log->capacity - 1)];
}

bool undo_reserve(struct undo_log *log) {
    if (log->end - log->front < log->capacity) {
        return true;
    }
    struct undo_log grown = *log;
    grown.capacity = log->capacity == 0 ? CAPACITY_FIRST : 2 * log->capacity;
    grown.records = calloc(grown.capacity, sizeof *grown.records);
    if (grown.records == NULL) {
        return false;
    }
    for (uint64_t position = log->front; position < log->end; position++) {
        *slot(&grown, position) = *slot(log, position);
    }
    free(log->records);
    *log = grown;
    return true;
}

void undo_push(struct undo_log *log, struct undo_record record) {
    CHECK(log->end - log->front < log->capacity);
    *slot(log, log->end) = record;
    log->end++;
}

struct undo_record undo_pop(struct undo_log *log) {
    CHECK(log->end > log->front);
    log->end--;
    return *slot(log, log->end);
}

const struct undo_record *undo_at(const struct undo_log *log, uint64_t position) {
    CHECK(position >= log->front && position < log->end);
    return slot(log, position);
}

void undo_settle(struct undo_log *log, uint64_t position) {
    CHECK(position <= log->end);
    for (; log->front < position; log->front++) {
        free(slot(log, log->front)->previous);
    }
}
