/*
 * auditing: the real auditor over what a cluster, or a forge that goes on with its ledger, leaves
 * behind: exactly the ledgers and receipts that it is given.
 *
 * What goes wrong in the machinery ends the process; what the auditor finds is the caller's.
 */
#ifndef ONUS_TESTS_SIM_AUDITING_H
#define ONUS_TESTS_SIM_AUDITING_H

#include "audit-tool/audit.h"
#include "tests/forge/forge.h"
#include "tests/sim/cluster.h"
#include "tests/sim/fake_disk.h"

#define AUDITING_LEDGERS_MAX CLUSTER_NODES_MAX

struct auditing {
    const struct cluster *cluster;
    struct audit *audit;
    struct fake_disk *disks[AUDITING_LEDGERS_MAX];
    char names[AUDITING_LEDGERS_MAX][24];
    uint32_t ledger_count;
};

/* The cluster must outlive it. */
void auditing_open(struct auditing *auditing, const struct cluster *cluster);
void auditing_close(struct auditing *auditing);

/* The one way to give these entries. Returns: the disk, to be damaged; owned here. */
struct fake_disk *auditing_give_entries(struct auditing *auditing, uint32_t number,
                                        const struct entry_list *list);
/* What lies on a node's disk, tail and all. */
struct fake_disk *auditing_give_node(struct auditing *auditing, uint32_t node);
struct fake_disk *auditing_give_forged(struct auditing *auditing, const struct forge *forge);
void auditing_give_receipt(struct auditing *auditing, struct span receipt);

/* Once, when all was given. */
const struct audit_report *auditing_run(struct auditing *auditing);

/*
 * Go on with a node's ledger: import it up to the last batch that it evidences. The forge signs
 * with whatever keys its consortium holds.
 */
void auditing_continue(struct forge *forge, const struct cluster *cluster, uint32_t node);

/* A part of a ledger, from genesis on, through several configurations. */
struct auditing_part {
    uint64_t upto;                    /* a batch that the ledger evidences */
    const struct consortium *signers; /* of each configuration that is entered, from 1; borrowed */
};
/* The same up to some batch. For what is governed, forge_govern comes first. */
void auditing_continue_until(struct forge *forge, const struct cluster *cluster, uint32_t node,
                             const struct auditing_part *part);
/* The last batch that a node's ledger evidences. */
uint64_t auditing_evidenced(const struct cluster *cluster, uint32_t node);

#endif
