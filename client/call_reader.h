/*
 * call_reader: calls from a file of lines, each a JSON array: ["procedure", "argument", …]. Strings
 * are taken as their UTF-8 bytes, whole numbers as their decimal digits. Empty lines are skipped.
 */
#ifndef ONUS_CLIENT_CALL_READER_H
#define ONUS_CLIENT_CALL_READER_H

#include <stdio.h>

#include "client/onus.h"

#define CALL_LINE_SIZE_MAX (6u * CALL_SIZE_MAX)

/* Calls collected for one request. */
struct call_list {
    struct onus_call *calls; /* count of them, after call_list_finish */
    uint32_t count;

    /* private */
    struct buffer text; /* procedures and arguments, one after the other */
    struct span *spans; /* offsets until call_list_finish makes them spans */
    struct call_slot *slots;
    uint32_t span_count;
};

void call_list_init(struct call_list *list);
void call_list_clear(struct call_list *list);
void call_list_free(struct call_list *list);
/* The list is complete: list->calls may be used until it is cleared. */
void call_list_finish(struct call_list *list);

struct call_reader {
    FILE *file;
    const char *path;
    char *line;
    size_t line_capacity;
    uint64_t line_number; /* of the last line read */
    struct span raw;      /* that line, for whoever wants to hash it */
};

/* path: "-" for standard input. Returns: 0 or -1. Close it also after a problem of next. */
MUST_USE int call_reader_open(struct call_reader *reader, const char *path,
                              struct problem *problem);
void call_reader_close(struct call_reader *reader);

/*
 * Read one call and append it to the list, which holds fewer than CALLS_MAX.
 * Returns: 1; 0 at the end; -1 with a problem that names file and line.
 */
MUST_USE int call_reader_next(struct call_reader *reader, struct call_list *list,
                              struct problem *problem);
/* Skip one line that next would take, without looking at it. Returns: as next. */
MUST_USE int call_reader_skip(struct call_reader *reader, struct problem *problem);
bool call_reader_at_end(struct call_reader *reader);

#endif
