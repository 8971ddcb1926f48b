/*
 * constitution: see constitution.h. Nothing here is on the path of a request: lists are searched
 * from their beginning.
 */
#include "governance/constitution.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/sign.h"

/* Members, users and replicas. */
#define KEYS_MAX (MEMBERS_MAX + USERS_MAX + REPLICAS_MAX)

static int key_compare(const void *a, const void *b) {
    return memcmp(a, b, PUBLIC_KEY_SIZE);
}

/* ---- what follows from it ---- */

static void authors_collect(struct configuration *out, const struct constitution *in) {
    for (uint32_t i = 0; i < in->member_count; i++) {
        out->authors[out->author_count++] = in->members[i].key;
    }
    for (uint32_t i = 0; i < in->user_count; i++) {
        out->authors[out->author_count++] = in->users[i].key;
    }
    qsort(out->authors, out->author_count, sizeof out->authors[0], key_compare);
}

void constitution_configuration(struct configuration *out, const struct constitution *in) {
    CHECK(in->replica_count >= REPLICAS_MIN && in->replica_count <= REPLICAS_MAX);
    uint32_t const faults_max = configuration_faults_max(in->replica_count);
    *out = (struct configuration){
        .service = in->service,
        .number = in->number,
        .parameters = in->parameters,
        .replica_count = in->replica_count,
        .faults_max = faults_max,
        .quorum = in->replica_count - faults_max,
        .member_count = in->member_count,
    };
    memcpy(out->members, in->members, in->member_count * sizeof in->members[0]);
    for (uint32_t i = 0; i < in->replica_count; i++) {
        out->replicas[i] = in->replicas[i].identity;
    }
    authors_collect(out, in);
}

bool constitution_digest(struct digest *out, const struct constitution *in) {
    struct buffer bytes;
    buffer_init(&bytes, CONSTITUTION_SIZE_MAX);
    bool const encoded = constitution_encode(&bytes, in);
    if (encoded) {
        *out = hash_labelled(LABEL_CONSTITUTION, &in->service, buffer_span(&bytes));
    }
    buffer_free(&bytes);
    return encoded;
}

enum codec_result constitution_open(struct constitution *out, struct arena *arena,
                                    const struct digest *service, struct span bytes) {
    struct bad_key bad;
    enum codec_result const result = constitution_decode(out, arena, service, bytes);
    if (result != CODEC_OK) {
        return result;
    }
    return constitution_find_bad_key(out, &bad) ? CODEC_MISMATCH : CODEC_OK;
}

/* ---- look-ups ---- */

static bool find_name(const struct member *list, uint32_t count, struct span name,
                      uint32_t *position) {
    for (uint32_t i = 0; i < count; i++) {
        if (span_equal(span_text(list[i].name), name)) {
            *position = i;
            return true;
        }
    }
    return false;
}

static bool find_key(const struct member *list, uint32_t count, const struct public_key *key,
                     uint32_t *position) {
    for (uint32_t i = 0; i < count; i++) {
        if (public_key_equal(&list[i].key, key)) {
            *position = i;
            return true;
        }
    }
    return false;
}

bool constitution_find_member(const struct constitution *in, struct span name, uint32_t *position) {
    return find_name(in->members, in->member_count, name, position);
}

bool constitution_find_user(const struct constitution *in, struct span name, uint32_t *position) {
    return find_name(in->users, in->user_count, name, position);
}

bool constitution_find_member_key(const struct constitution *in, const struct public_key *key,
                                  uint32_t *position) {
    return find_key(in->members, in->member_count, key, position);
}

bool constitution_find_replica(const struct constitution *in, const struct public_key *key,
                               uint32_t *position) {
    for (uint32_t i = 0; i < in->replica_count; i++) {
        if (public_key_equal(&in->replicas[i].identity.key, key)) {
            *position = i;
            return true;
        }
    }
    return false;
}

bool constitution_has_key(const struct constitution *in, const struct public_key *key) {
    uint32_t position = 0;
    return constitution_find_member_key(in, key, &position) ||
           find_key(in->users, in->user_count, key, &position) ||
           constitution_find_replica(in, key, &position);
}

/* ---- keys ---- */

struct key_list {
    uint32_t count;
    struct public_key keys[KEYS_MAX];
};

/* Returns: false when the key may not be admitted. */
static bool key_admit(struct key_list *list, const struct public_key *key, enum holder_role role,
                      uint32_t position, struct bad_key *out) {
    if (!public_key_valid(key)) {
        *out = (struct bad_key){.key = *key, .role = role, .position = position};
        return false;
    }
    CHECK(list->count < KEYS_MAX);
    list->keys[list->count++] = *key;
    return true;
}

static bool keys_admit(struct key_list *list, const struct constitution *in, struct bad_key *out) {
    for (uint32_t i = 0; i < in->member_count; i++) {
        if (!key_admit(list, &in->members[i].key, HOLDER_MEMBER, i, out)) {
            return false;
        }
    }
    for (uint32_t i = 0; i < in->user_count; i++) {
        if (!key_admit(list, &in->users[i].key, HOLDER_USER, i, out)) {
            return false;
        }
    }
    for (uint32_t i = 0; i < in->replica_count; i++) {
        if (!key_admit(list, &in->replicas[i].identity.key, HOLDER_REPLICA, i, out)) {
            return false;
        }
    }
    return true;
}

bool constitution_find_bad_key(const struct constitution *in, struct bad_key *out) {
    struct key_list list = {0};
    if (!keys_admit(&list, in, out)) {
        return true;
    }
    /* One key, one holder: a signature must never be mistaken for that of another role. */
    qsort(list.keys, list.count, sizeof list.keys[0], key_compare);
    for (uint32_t i = 1; i < list.count; i++) {
        if (public_key_equal(&list.keys[i - 1], &list.keys[i])) {
            *out = (struct bad_key){.key = list.keys[i], .twice = true};
            return true;
        }
    }
    return false;
}

/* ---- voting ---- */

bool voting_rule_passes(const struct voting_rule *rule, uint32_t yes, uint32_t members) {
    return (uint64_t)yes * rule->denominator > (uint64_t)rule->numerator * members;
}

bool voting_rule_fails(const struct voting_rule *rule, uint32_t no, uint32_t members) {
    CHECK(no <= members);
    return !voting_rule_passes(rule, members - no, members);
}
