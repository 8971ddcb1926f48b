/*
 * constitutions: those that came into force, kept in the data directory so that a replica that
 * starts from a checkpoint of a later configuration knows who takes part (protocol §9).
 *
 * constitutions/N holds the one of configuration N: a line of magic, its LABEL_CONSTITUTION digest,
 * its encoding. The founding one follows from genesis. Like the state they are this replica's own,
 * and can be made anew from the ledger: whoever finds one damaged or missing removes the state.
 */
#ifndef ONUS_NODE_CONSTITUTIONS_H
#define ONUS_NODE_CONSTITUTIONS_H

#include "base/problem.h"
#include "governance/constitution.h"

struct node;
struct node_config;

/* Write one down, durably. One that is there already is written again. */
MUST_USE int constitution_keep(const struct node *node, const struct constitution *constitution,
                               struct problem *problem);
/* Read that of a configuration; 1: from genesis. EXIT_CORRUPT when it is missing or damaged. */
MUST_USE int constitution_load(struct constitution *out, const struct node *node, uint64_t number,
                               struct problem *problem);

/* The configuration in force at the checkpoint of an encoded snapshot. False: it does not decode.
 */
MUST_USE bool constitution_number_of(uint64_t *number, struct span snapshot);

/* Does this replica know of any configuration but the founding one? */
bool constitutions_present(const struct node_config *config);

#endif
