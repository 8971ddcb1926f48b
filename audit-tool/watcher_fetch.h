/*
 * watcher_fetch: the watcher's network: a fetcher behind the table that watcher.h asks for, and
 * signed reports about who did not answer.
 */
#ifndef ONUS_AUDIT_TOOL_WATCHER_FETCH_H
#define ONUS_AUDIT_TOOL_WATCHER_FETCH_H

#include "audit-tool/eras.h"
#include "audit-tool/watcher.h"
#include "host/context.h"

struct watcher_fetch {
    const struct context *context; /* borrowed; with its key */
    const char *chain_file;        /* borrowed: as the audits keep it; need not be there */
    uint64_t deadline_ms;
    bool (*stops)(void *context); /* may be NULL */
    void *stop_context;

    /* private */
    struct watcher_network network;
    struct eras eras; /* whose newest replicas the fetcher asks */
    struct fetcher *fetcher;
    uint64_t started_ms; /* of the last round */
    uint64_t ended_ms;
    char ledgers[PATH_MAX];
    char reports[PATH_MAX];
};

/* With the public part filled in. state: the watcher's directory. Returns: 0 or -1. */
MUST_USE int watcher_fetch_open(struct watcher_fetch *fetch, const char *state,
                                struct problem *problem);
void watcher_fetch_close(struct watcher_fetch *fetch);

#endif
