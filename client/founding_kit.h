/*
 * founding_kit: the making of a genesis, step by step (protocol §1). Each member keeps its own
 * keys: what travels between members is the prologue, which one of them makes, and from each the
 * signed endorsements of its replicas. Whoever has all parts can put the genesis together, and
 * everybody who does so in the same order gets the same bytes.
 */
#ifndef ONUS_CLIENT_FOUNDING_KIT_H
#define ONUS_CLIENT_FOUNDING_KIT_H

#include "base/problem.h"
#include "base/sign.h"
#include "ledger/codec.h"

#define PROLOGUE_FILE_MAGIC "onus-prologue-v1\n"
#define ENDORSEMENT_FILE_MAGIC "onus-endorsement-v1\n"
#define FOUNDING_PART_SIZE_MAX (STATEMENT_SIZE_MAX + 1024u)

struct parameters founding_parameters_default(void);

/* Append a fresh prologue: random salt, the time of this machine. Returns: 0 or -1. */
MUST_USE int founding_make_prologue(struct buffer *out, struct span name,
                                    const struct parameters *parameters, struct problem *problem);
/* What endorsements are bound to. */
struct digest founding_digest(struct span prologue);

/* Append a signed endorsement, encoded. Returns: 0 or -1. */
MUST_USE int founding_make_endorsement(struct buffer *out, const struct digest *founding,
                                       const struct endorsement *endorsement,
                                       const struct secret_key *secret,
                                       const struct public_key *key, struct problem *problem);

/* What a genesis is put together from; endorsements in the order of their replicas. */
struct founding_parts {
    struct span prologue;
    uint32_t member_count;
    struct named_key members[MEMBERS_MAX];
    uint32_t endorsement_count;
    struct span endorsements[REPLICAS_MAX]; /* encoded */
    uint32_t user_count;
    struct named_key users[USERS_MAX];
};

/* Append the genesis, and check it as everybody else will. Returns: 0 or -1 (EXIT_INVALID). */
MUST_USE int founding_assemble(struct buffer *out, const struct founding_parts *parts,
                               struct problem *problem);

/* Parts in files, each behind its magic line. Returns: 0 or -1 with a problem naming the file. */
MUST_USE int founding_part_write(const char *path, const char *magic, struct span part,
                                 struct problem *problem);
MUST_USE int founding_part_read(struct buffer *out, const char *path, const char *magic,
                                struct problem *problem);

#endif
