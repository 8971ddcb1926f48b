/*
 * charter: for tests: a consortium that changes itself. Holds all keys of a service through its
 * constitutions, makes proposals and votes, and links of the governance chain, in order or with
 * whatever is to be wrong with them.
 */
#ifndef ONUS_TESTS_FORGE_CHARTER_H
#define ONUS_TESTS_FORGE_CHARTER_H

#include "governance/proposal.h"
#include "tests/forge/consortium.h"

#define CHARTER_KEYS_MAX 2048u

struct charter {
    const struct consortium *consortium;
    struct constitution now;
    struct arena arena; /* of all bytes that are handed out */
    uint64_t counter;   /* makes salts and nonces distinct */
    uint32_t key_count;
    struct key_pair keys[CHARTER_KEYS_MAX];
};

/* Begin with the constitution that the consortium was founded with. */
void charter_found(struct charter *charter, const struct consortium *consortium);
void charter_free(struct charter *charter);

/* Do two configurations say the same? */
bool charter_same_configuration(const struct configuration *a, const struct configuration *b);

/* A key made of a number, which is remembered. */
const struct key_pair *charter_key(struct charter *charter, uint32_t number);
/* The pair of a key that was made here or belongs to the consortium. Aborts when there is none. */
const struct key_pair *charter_pair(const struct charter *charter, const struct public_key *key);

/* ---- actions; keys, TLS digests and addresses are made of `number` ---- */

/* Add or rotate a member or user. */
struct action charter_named(struct charter *charter, enum action_kind kind, const char *name,
                            uint32_t number);
/* Remove one. */
struct action charter_without(enum action_kind kind, const char *name);
/* Add a replica, or replace the one with the old key. It is endorsed by the member named. */
struct action charter_replica(struct charter *charter, const struct public_key *old,
                              const char *member, uint32_t number);
struct action charter_replica_gone(const struct public_key *key);
/* Make and sign the endorsement anew, after a change of action->replica. */
void charter_endorse(struct charter *charter, struct action *action,
                     const struct key_pair *endorser);
/* The signature of a new key under what it is to be used for. */
struct signature charter_possession(struct charter *charter, const struct key_pair *pair,
                                    enum holder_role role, struct span name);

/* ---- proposals ---- */

/* Encode a proposal of these actions for the constitution in force, with a new salt. */
struct span charter_propose(struct charter *charter, uint32_t count, const struct action *actions);
/* Decode what was encoded. Aborts when it cannot be. */
void charter_decode(struct charter *charter, struct proposal *out, struct span bytes);
/* Go on to the constitution that the proposal makes. Aborts when it breaks a rule. */
void charter_pass(struct charter *charter, struct span proposal);

/*
 * The consortium as it is by now, with the keys of its replicas: the members and users are those
 * that founded it. Borrows the genesis; do not free it.
 */
void charter_consortium(struct charter *charter, struct consortium *out);

/* ---- links ---- */

struct vote_order {
    const struct key_pair *author;
    const struct digest *id; /* NULL: of the proposal */
    const char *choice;      /* NULL: yes */
    const char *procedure;   /* NULL: gov.vote */
};

/* A link from the constitution in force. What is zero is as it must be. */
struct link_order {
    struct span proposal;
    struct vote_order passing;
    uint32_t vote_count;
    struct vote_order votes[MEMBERS_MAX]; /* besides the passing one, in this order */
    uint64_t seq;                         /* of the batch with the passing vote; 1.. */
    uint64_t index;                       /* of that vote; 1.. */
    uint32_t trailing;                    /* transactions behind it in its batch */
    enum outcome_status status;           /* of its outcome */
    const char *word;
    uint64_t number;
    const struct digest *constitution;
    uint64_t vote_config; /* which the batches state */
    uint64_t end_config;
    enum batch_kind end_kind;
    uint64_t end_seq;
    uint64_t end_first_index;
    uint64_t end_gov_index;
    uint32_t end_tx_count;
};

/* An order that is as it must be: the first members vote, as many as are needed. */
void charter_order(struct charter *charter, struct link_order *order, struct span proposal);
/* The encoded link. */
struct span charter_link(struct charter *charter, const struct link_order *order);

#endif
