/*
 * state_dir: the directory of --state: saved states, from which audits begin, and how far audits
 * are (docs/formats.md §12).
 *
 *   checkpoint-<batch>.state   the state after this checkpoint
 *   chain                      the governance chain, as far as the audits have links of it
 *   from-<batch>.progress      of the audit that was told to begin at this checkpoint; 0: genesis
 *
 * A file appears whole or not at all. The state that a progress names is there before the progress
 * says so, and is removed, when nobody asked to keep it, after a later progress has come.
 */
#ifndef ONUS_AUDIT_TOOL_STATE_DIR_H
#define ONUS_AUDIT_TOOL_STATE_DIR_H

#include <limits.h>

#include "audit-tool/audit.h"

#define STATE_DIR_CHAIN "chain"

struct state_dir {
    const char *path;    /* borrowed */
    uint64_t wanted;     /* what --from says; 0: genesis */
    uint64_t saved;      /* the state that the last progress names; 0: none */
    bool is_kept;        /* it is to stay there */
    struct digest chain; /* SHA-256 of the chain as it was saved last */
};

/* Make the directory if it is missing. Returns: 0 or -1. */
MUST_USE int state_dir_open(struct state_dir *dir, const char *path, uint64_t wanted,
                            struct problem *problem);

/* A state to begin at, before its head is read. */
struct state_choice {
    bool has_exact;  /* the state that was asked for is there */
    uint64_t before; /* the last one before it; 0: none */
};
MUST_USE int state_dir_choose(const struct state_dir *dir, struct state_choice *out,
                              struct problem *problem);

/* Open a saved state, to be read. Out: path, for messages. NULL with a problem. */
MUST_USE FILE *state_dir_open_state(const struct state_dir *dir, uint64_t seq, char path[PATH_MAX],
                                    struct problem *problem);

/* Read the progress. Returns: 1; 0: there is none; -1 with a problem. */
MUST_USE int state_dir_read_progress(const struct state_dir *dir, struct buffer *out,
                                     struct problem *problem);

/* Read the governance chain that goes with the states. Returns: as above. */
MUST_USE int state_dir_read_chain(const struct state_dir *dir, struct buffer *out,
                                  struct problem *problem);

/* Save the chain alone, if it is not as it was saved last. Returns: 0 or -1. */
MUST_USE int state_dir_save_chain(struct state_dir *dir, const struct audit *audit,
                                  struct problem *problem);

/* From on_checkpoint: save both, and the chain. keep: the state stays when later ones come.
 * Returns: 0 or -1. */
MUST_USE int state_dir_save(struct state_dir *dir, const struct audit *audit, uint64_t seq,
                            bool keep, struct problem *problem);

#endif
