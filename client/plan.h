/*
 * plan: what the members of a consortium agree on before any of them signs: its name and
 * parameters, who the members and users are, and which member runs which replica where. A YAML file
 * without secrets; docs/plan.example.yaml shows and explains every key.
 */
#ifndef ONUS_CLIENT_PLAN_H
#define ONUS_CLIENT_PLAN_H

#include "base/problem.h"
#include "ledger/codec.h"

struct plan_replica {
    uint32_t member;
    struct span peer_address;
    struct span client_address;
};

/* Members, replicas and users are known by their position in the file, from 0 on. */
struct plan {
    struct span name;
    struct parameters parameters;
    uint32_t member_count; /* 1..MEMBERS_MAX */
    struct named_key members[MEMBERS_MAX];
    uint32_t replica_count; /* REPLICAS_MIN..REPLICAS_MAX */
    struct plan_replica replicas[REPLICAS_MAX];
    uint32_t user_count; /* 0..USERS_MAX */
    struct named_key users[USERS_MAX];

    /* private */
    const char *path; /* as given to plan_load */
    void *document;   /* names and addresses point into it; they end with a NUL */
};

/*
 * Read and check a plan: every name, key, address and number, and that nothing is used twice.
 * Free it with plan_free, also after a problem.
 * Returns: 0, or -1 with a problem that names the file and the field.
 */
MUST_USE int plan_load(struct plan *plan, const char *path, struct problem *problem);
void plan_free(struct plan *plan);

/*
 * Does the prologue in the file `path` have the name and the parameters of the plan?
 * Returns: 0, or -1 with a problem of code EXIT_INVALID that names both files and the field.
 */
MUST_USE int plan_check_prologue(const struct plan *plan, struct span prologue, const char *path,
                                 struct problem *problem);

/*
 * Does this encoded, signed endorsement of the file `path` say what the plan says, and did the
 * plan's member sign it for the prologue of this founding digest?
 * Out: endorsement: its spans point into the arena.
 * Returns: 0, or -1 with a problem of code EXIT_INVALID that names the file and the field.
 */
MUST_USE int plan_check_endorsement(struct endorsement *endorsement, const struct plan *plan,
                                    const struct digest *founding, struct span bytes,
                                    const char *path, struct arena *arena, struct problem *problem);

#endif
