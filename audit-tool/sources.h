/*
 * sources: what the commands that audit have in common: which service it is, the directories of
 * ledgers, and the genesis, which comes from a ledger or a saved state. The service id says whether
 * it is the right one.
 */
#ifndef ONUS_AUDIT_TOOL_SOURCES_H
#define ONUS_AUDIT_TOOL_SOURCES_H

#include "audit-tool/audit.h"
#include "audit-tool/state_dir.h"
#include "host/disk.h"
#include "host/genesis_file.h"

struct sources {
    struct digest service;
    char service_text[2 * DIGEST_SIZE + 1]; /* empty: not told yet */
    uint32_t ledger_count;
    const char *ledger_paths[AUDIT_LEDGERS_MAX]; /* borrowed */
    struct host_disk disks[AUDIT_LEDGERS_MAX];
    uint32_t disk_count; /* opened: the first so many */
    struct founding founding;
    bool has_founding;
};

/* Start with all zeros. Free it in any case. */
void sources_free(struct sources *sources);

/* Append a path to a list of borrowed ones. Returns: 0, or -1 when there are too many. */
MUST_USE int sources_add_path(const char **paths, uint32_t *count, uint32_t count_max,
                              const char *path, struct problem *problem);

/* Open all ledgers, to read. Returns: 0, or -1 with EXIT_CANNOT_AUDIT. */
MUST_USE int sources_open_ledgers(struct sources *sources, struct problem *problem);
/* Close them. The list becomes empty. */
void sources_close_ledgers(struct sources *sources);

/*
 * The genesis of the first open ledger that has it, else that of the saved state to begin at.
 * states: NULL: there are none. Returns: 0 or -1.
 */
MUST_USE int sources_find_genesis(struct sources *sources, const struct state_dir *states,
                                  struct problem *problem);

/* All open ledgers into an audit. Returns: 0 or -1. */
MUST_USE int sources_give(struct sources *sources, struct audit *audit, struct problem *problem);
/* Begin an audit at a saved state. Returns: 0, or -1: the audit is of no use any more. */
MUST_USE int sources_begin_at(const struct sources *sources, const struct state_dir *states,
                              struct audit *audit, uint64_t seq, struct problem *problem);

/* How many threads this machine has a processor for, within what an audit takes. */
uint32_t sources_processors(void);

/*
 * Let the audit know the configurations of the chain that was saved with states, if there is one.
 * Returns: 0 or -1.
 */
MUST_USE int sources_know_chain(const struct state_dir *states, struct audit *audit,
                                struct problem *problem);
/* The same for an audit from genesis: the ledgers lead it, and that chain where they end. */
MUST_USE int sources_bring_chain(const struct state_dir *states, struct audit *audit,
                                 struct problem *problem);

#endif
