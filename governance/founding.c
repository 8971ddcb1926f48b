/*
 * founding: see founding.h. Genesis is hostile input until all of it has been checked: nothing of
 * a constitution may be used when this fails.
 */
#include "governance/founding.h"

#include "base/check.h"
#include "base/sign.h"

static_assert(ENDORSEMENT_SIZE_MAX >= 2u * 6u + 2u * 34u + 2u * (ADDRESS_SIZE_MAX + 3u),
              "what decodes as an endorsement of genesis fits into a constitution");

static void holder_fill(struct member *out, const struct named_key *in) {
    CHECK(in->name.size <= NAME_SIZE_MAX);
    memcpy(out->name, in->name.data, in->name.size);
    out->name[in->name.size] = '\0';
    out->key = in->key;
}

static int keys_check(const struct constitution *constitution, struct problem *problem) {
    static const char *const roles[] = {
        [HOLDER_MEMBER] = "member", [HOLDER_USER] = "user", [HOLDER_REPLICA] = "replica"};
    struct bad_key bad;
    if (!constitution_find_bad_key(constitution, &bad)) {
        return 0;
    }
    if (!bad.twice) {
        return problem_set(problem, EXIT_INVALID, "genesis: the key of %s %u is no valid key",
                           roles[bad.role], bad.position);
    }
    char text[2 * PUBLIC_KEY_SIZE + 1];
    hex_encode(text, span_of(bad.key.bytes, PUBLIC_KEY_SIZE));
    return problem_set(problem, EXIT_INVALID, "genesis: the key %s is used twice", text);
}

static void replica_fill(struct constitution *out, const struct genesis *genesis,
                         uint32_t replica) {
    const struct endorsement *const in = &genesis->replicas[replica];
    struct replica_endorsement const endorsement = {
        .replica_key = in->replica_key,
        .tls_digest = in->tls_digest,
        .peer_address = in->peer_address,
        .client_address = in->client_address,
    };
    constitution_replica_fill(&out->replicas[replica], in->member, true,
                              &genesis->endorsements[replica], &endorsement);
}

/* A replica and the endorsement by which its member answers for it (§1). */
static int replica_check(const struct constitution *constitution, const struct genesis *genesis,
                         uint32_t replica, struct problem *problem) {
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
                           replica, constitution->members[endorsement->member].name);
    }
    return 0;
}

int constitution_found(struct constitution *out, const struct genesis *genesis,
                       struct problem *problem) {
    if (genesis->replica_count < REPLICAS_MIN || genesis->replica_count > REPLICAS_MAX ||
        genesis->member_count > MEMBERS_MAX || genesis->user_count > USERS_MAX) {
        return problem_set(problem, EXIT_INVALID, "genesis: %u replicas, but %u to %u are needed",
                           genesis->replica_count, REPLICAS_MIN, REPLICAS_MAX);
    }
    *out = (struct constitution){
        .service = genesis->service,
        .number = FOUNDING_CONFIGURATION,
        .parameters = genesis->parameters,
        .rule = {FOUNDING_RULE_NUMERATOR, FOUNDING_RULE_DENOMINATOR},
        .member_count = genesis->member_count,
        .user_count = genesis->user_count,
        .replica_count = genesis->replica_count,
    };
    for (uint32_t i = 0; i < genesis->member_count; i++) {
        holder_fill(&out->members[i], &genesis->members[i]);
    }
    for (uint32_t i = 0; i < genesis->user_count; i++) {
        holder_fill(&out->users[i], &genesis->users[i]);
    }
    for (uint32_t i = 0; i < genesis->replica_count; i++) {
        replica_fill(out, genesis, i);
    }
    int status = keys_check(out, problem);
    for (uint32_t i = 0; status == 0 && i < genesis->replica_count; i++) {
        status = replica_check(out, genesis, i, problem);
    }
    return status;
}

int founding_configuration(struct configuration *out, const struct genesis *genesis,
                           struct problem *problem) {
    struct constitution constitution;
    if (constitution_found(&constitution, genesis, problem) != 0) {
        return -1;
    }
    constitution_configuration(out, &constitution);
    return 0;
}
