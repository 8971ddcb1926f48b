/*
 * join_files: the directories by which a replica joins from a checkpoint (protocol §7; join_files.c
 * says what they hold). They block: at start, or on a thread that may.
 *
 * All functions return -1 with a problem when they fail.
 */
#ifndef ONUS_NODE_JOIN_FILES_H
#define ONUS_NODE_JOIN_FILES_H

#include "base/bytes.h"
#include "base/limits.h"
#include "base/problem.h"

#define JOINING_NAME "joining"
#define JOINED_NAME "joined"
#define OLDER_NAME "older"

struct node;

/* The path of what is `inside` one of these directories; NULL: of itself. */
MUST_USE int join_files_path(char out[static PATH_SIZE_MAX], const struct node *node,
                             const char *name, const char *inside, struct problem *problem);
MUST_USE int join_files_remove_ledger(const struct node *node, const char *name,
                                      struct problem *problem);
/* Remove ledger and state of one of these directories, and nothing else of it. */
MUST_USE int join_files_empty(const struct node *node, const char *name, struct problem *problem);
/* Remove one of these directories, if it is there. */
MUST_USE int join_files_remove(const struct node *node, const char *name, struct problem *problem);

/* Begin joining/ anew, empty. */
MUST_USE int join_files_begin(const struct node *node, struct problem *problem);
/* Its ledger and state are closed and durable: keep the offer with them, and decide for them. */
MUST_USE int join_files_decide(const struct node *node, struct span offer, struct problem *problem);
/*
 * Before anything is opened: forget what was being fetched; where it had been decided on, make it
 * this replica's ledger and state.
 */
MUST_USE int join_files_carry_on(const struct node *node, struct problem *problem);
/* The offer that the replica began with. Returns: 1; 0 when there is none. */
MUST_USE int join_files_load_offer(struct buffer *offer, const struct node *node,
                                   struct problem *problem);

#endif
