/*
 * draft: a proposal in the making (protocol §9), from options or from a YAML file that
 * docs/proposal.example.yaml explains. Actions apply in the order in which they are put in.
 *
 * All functions that return an int return 0, or -1 with a problem that names what cannot be used.
 */
#ifndef ONUS_CLIENT_DRAFT_H
#define ONUS_CLIENT_DRAFT_H

#include "client/credential.h"

#define DRAFT_FILE_SIZE_MAX (64u << 10)

struct draft {
    const struct constitution *now; /* borrowed: the one to be changed */
    struct proposal proposal;       /* spans point into the arena */
    struct digest evidence[PROPOSAL_EVIDENCE_MAX];
    uint32_t parameters_action; /* which action sets parameters, from 1; 0: none does */
    struct arena arena;
};

void draft_init(struct draft *draft, const struct constitution *now);
void draft_free(struct draft *draft);

/* ACTION_ADD_MEMBER, ROTATE_MEMBER, ADD_USER, ROTATE_USER: by the credential in a file. */
MUST_USE int draft_holder(struct draft *draft, enum action_kind kind, const char *path,
                          struct problem *problem);
/* ACTION_REMOVE_MEMBER, REMOVE_USER. */
MUST_USE int draft_without(struct draft *draft, enum action_kind kind, const char *name,
                           struct problem *problem);
/* By an endorsed credential. A replica is named by its number now, or by its key. */
MUST_USE int draft_add_replica(struct draft *draft, const char *path, struct problem *problem);
MUST_USE int draft_remove_replica(struct draft *draft, const char *replica,
                                  struct problem *problem);
MUST_USE int draft_replace_replica(struct draft *draft, const char *replica, const char *path,
                                   struct problem *problem);

/* The parameters that are set; those that nobody sets stay. */
enum draft_parameter {
    DRAFT_PIPELINE,
    DRAFT_CHECKPOINT_INTERVAL,
    DRAFT_BATCH_CALLS_MAX,
    DRAFT_BATCH_SIZE_SOFT_MAX
};
MUST_USE int draft_parameter(struct draft *draft, enum draft_parameter which, uint64_t value,
                             struct problem *problem);
/* "2/3": passes with strictly more than that share of all members. */
MUST_USE int draft_voting_rule(struct draft *draft, const char *text, struct problem *problem);

/* Words for those who vote; whether they can be printed is checked when the draft is finished. */
MUST_USE int draft_text(struct draft *draft, const char *text, struct problem *problem);
/* Refer to a file by the SHA-256 of its content. */
MUST_USE int draft_attach(struct draft *draft, const char *path, struct problem *problem);

/* Put in all that a YAML file says. Paths in it are relative to its directory. */
MUST_USE int draft_load(struct draft *draft, const char *path, struct problem *problem);

/* Append the proposal with a fresh salt. It keeps the form; proposal_apply knows the rules. */
MUST_USE int draft_finish(struct draft *draft, struct buffer *out, struct problem *problem);

#endif
