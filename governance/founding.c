/*
 * founding: see founding.h. Genesis is hostile input until all of it has been checked: nothing of
 * a configuration may be used when this fails.
 */
#include "governance/founding.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/sign.h"

/* All keys of genesis: members, users and replicas. */
#define KEYS_MAX (MEMBERS_MAX + USERS_MAX + REPLICAS_MAX)

struct key_list {
    uint32_t count;
    struct public_key keys[KEYS_MAX];
};

static int key_compare(const void *a, const void *b) {
    return memcmp(a, b, PUBLIC_KEY_SIZE);
}

static void name_copy(char *out, size_t size_max, struct span name) {
    CHECK(name.size <= size_max);
    memcpy(out, name.data, name.size);
    out[name.size] = '\0';
}

static int key_admit(struct key_list *list, const struct public_key *key, const char *kind,
                     uint32_t number, struct problem *problem) {
    if (!public_key_valid(key)) {
        return problem_set(problem, EXIT_INVALID, "genesis: the key of %s %u is no valid key", kind,
                           number);
    }
    CHECK(list->count < KEYS_MAX);
    list->keys[list->count++] = *key;
    return 0;
}

static int keys_admit(struct key_list *list, const struct genesis *genesis,
                      struct problem *problem) {
    for (uint32_t i = 0; i < genesis->member_count; i++) {
        if (key_admit(list, &genesis->members[i].key, "member", i, problem) != 0) {
            return -1;
        }
    }
    for (uint32_t i = 0; i < genesis->user_count; i++) {
        if (key_admit(list, &genesis->users[i].key, "user", i, problem) != 0) {
            return -1;
        }
    }
    for (uint32_t i = 0; i < genesis->replica_count; i++) {
        if (key_admit(list, &genesis->replicas[i].replica_key, "replica", i, problem) != 0) {
            return -1;
        }
    }
    return 0;
}

/* One key, one holder: a signature must never be mistaken for that of another role. */
static int keys_distinct(struct key_list *list, struct problem *problem) {
    qsort(list->keys, list->count, sizeof list->keys[0], key_compare);
    for (uint32_t i = 1; i < list->count; i++) {
        if (public_key_equal(&list->keys[i - 1], &list->keys[i])) {
            char text[2 * PUBLIC_KEY_SIZE + 1];
            hex_encode(text, span_of(list->keys[i].bytes, PUBLIC_KEY_SIZE));
            return problem_set(problem, EXIT_INVALID, "genesis: the key %s is used twice", text);
        }
    }
    return 0;
}

static void authors_collect(struct configuration *out, const struct genesis *genesis) {
    for (uint32_t i = 0; i < genesis->member_count; i++) {
        out->authors[out->author_count++] = genesis->members[i].key;
    }
    for (uint32_t i = 0; i < genesis->user_count; i++) {
        out->authors[out->author_count++] = genesis->users[i].key;
    }
    qsort(out->authors, out->author_count, sizeof out->authors[0], key_compare);
}

/* A replica and the endorsement by which its member answers for it (§1). */
static int replica_admit(struct configuration *out, const struct genesis *genesis, uint32_t replica,
                         struct problem *problem) {
    const struct endorsement *const endorsement = &genesis->replicas[replica];
    if (endorsement->replica != replica || endorsement->member >= genesis->member_count) {
        return problem_set(problem, EXIT_INVALID,
                           "genesis: the endorsement of replica %u is that of another", replica);
    }
    struct sign_check const check = {
        .key = genesis->members[endorsement->member].key,
        .signature = genesis->endorsements[replica].signature,
        .body = genesis->endorsements[replica].body,
        .label = LABEL_ENDORSEMENT,
    };
    if (!sign_verify_universal(&genesis->founding, &check)) {
        return problem_set(problem, EXIT_INVALID,
                           "genesis: replica %u is not endorsed by member %s: wrong signature",
                           replica, out->members[endorsement->member].name);
    }
    struct replica_identity *const identity = &out->replicas[replica];
    identity->key = endorsement->replica_key;
    identity->tls_digest = endorsement->tls_digest;
    identity->member = endorsement->member;
    name_copy(identity->peer_address, ADDRESS_SIZE_MAX, endorsement->peer_address);
    name_copy(identity->client_address, ADDRESS_SIZE_MAX, endorsement->client_address);
    return 0;
}

int founding_configuration(struct configuration *out, const struct genesis *genesis,
                           struct problem *problem) {
    *out = (struct configuration){
        .service = genesis->service,
        .number = FOUNDING_CONFIGURATION,
        .parameters = genesis->parameters,
        .replica_count = genesis->replica_count,
        .member_count = genesis->member_count,
    };
    if (genesis->replica_count < REPLICAS_MIN || genesis->replica_count > REPLICAS_MAX ||
        genesis->member_count > MEMBERS_MAX || genesis->user_count > USERS_MAX) {
        return problem_set(problem, EXIT_INVALID, "genesis: %u replicas, but %u to %u are needed",
                           genesis->replica_count, REPLICAS_MIN, REPLICAS_MAX);
    }
    out->faults_max = configuration_faults_max(out->replica_count);
    out->quorum = out->replica_count - out->faults_max;
    struct key_list keys = {0};
    if (keys_admit(&keys, genesis, problem) != 0 || keys_distinct(&keys, problem) != 0) {
        return -1;
    }
    for (uint32_t i = 0; i < genesis->member_count; i++) {
        out->members[i].key = genesis->members[i].key;
        name_copy(out->members[i].name, NAME_SIZE_MAX, genesis->members[i].name);
    }
    for (uint32_t i = 0; i < genesis->replica_count; i++) {
        if (replica_admit(out, genesis, i, problem) != 0) {
            return -1;
        }
    }
    authors_collect(out, genesis);
    return 0;
}
