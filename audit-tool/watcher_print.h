/*
 * watcher_print: what `onus-audit watch` says, one line for an event, as text or as JSON
 * (docs/formats.md §12). A line is written whole and at once.
 */
#ifndef ONUS_AUDIT_TOOL_WATCHER_PRINT_H
#define ONUS_AUDIT_TOOL_WATCHER_PRINT_H

#include <stdio.h>

#include "audit-tool/watcher.h"

struct watcher_printer {
    FILE *out; /* borrowed */
    bool json;
    bool quiet; /* no status */

    /* private */
    struct watch_status last; /* the status that was printed */
    bool has_last;
};

void watcher_print(struct watcher_printer *printer, const struct watch_event *event);

#endif
