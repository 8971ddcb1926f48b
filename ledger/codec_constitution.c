/*
 * codec_constitution: constitutions, and in what of codec_governance.h they are encoded. A replica
 * is encoded as its endorsement alone, so that nothing in a constitution is said twice.
 */
#include "base/check.h"
#include "ledger/codec_governance.h"
#include "ledger/codec_parameters.h"
#include "ledger/field.h"
#include "ledger/pack.h"
#include "ledger/strict.h"

#define FIELD_MEMBERS 4u
#define FIELD_USERS 5u
#define FIELD_REPLICAS 6u

bool voting_rule_sound(const struct voting_rule *rule) {
    return rule->denominator <= VOTING_DENOMINATOR_MAX && rule->numerator < rule->denominator &&
           2 * rule->numerator >= rule->denominator;
}

/* ---- decoding -------------------------------------------------------------------------------- */

/* A text whose size was checked, with its terminating zero. */
static void text_copy(char *out, size_t size_max, struct span text) {
    CHECK(text.size <= size_max);
    memcpy(out, text.data, text.size);
    out[text.size] = '\0';
}

static void take_holder(enum codec_result *result, struct member *list, uint32_t index,
                        ProtobufCBinaryData name, ProtobufCBinaryData key) {
    struct span text;
    list[index] = (struct member){.name = ""};
    field_take_name(result, &text, name);
    field_take_key(result, &list[index].key, key);
    if (*result != CODEC_OK) {
        return;
    }
    text_copy(list[index].name, NAME_SIZE_MAX, text);
    for (uint32_t i = 0; i < index; i++) {
        if (strcmp(list[i].name, list[index].name) == 0) {
            field_fail(result, CODEC_MISMATCH);
        }
    }
}

static void take_holders(enum codec_result *result, struct constitution *out,
                         const Onus__Pb__Constitution *in) {
    field_check_range(result, in->n_members, (struct bounds){1, MEMBERS_MAX});
    field_check_range(result, in->n_users, (struct bounds){0, USERS_MAX});
    if (*result != CODEC_OK) {
        return;
    }
    out->member_count = (uint32_t)in->n_members;
    out->user_count = (uint32_t)in->n_users;
    for (uint32_t i = 0; *result == CODEC_OK && i < out->member_count; i++) {
        take_holder(result, out->members, i, in->members[i]->name, in->members[i]->key);
    }
    for (uint32_t i = 0; *result == CODEC_OK && i < out->user_count; i++) {
        take_holder(result, out->users, i, in->users[i]->name, in->users[i]->key);
    }
}

/* What an endorsement of genesis says, in the form of a later one; it does not name its member. */
static enum codec_result founding_decode(struct replica_endorsement *out, struct arena *arena,
                                         struct span body) {
    struct endorsement founding;
    enum codec_result const result = endorsement_decode(&founding, arena, body);
    if (result == CODEC_OK) {
        *out = (struct replica_endorsement){
            .replica_key = founding.replica_key,
            .tls_digest = founding.tls_digest,
            .peer_address = founding.peer_address,
            .client_address = founding.client_address,
        };
    }
    return result;
}

static void identity_fill(struct replica_identity *out, uint32_t member,
                          const struct replica_endorsement *in) {
    out->key = in->replica_key;
    out->tls_digest = in->tls_digest;
    out->member = member;
    text_copy(out->peer_address, ADDRESS_SIZE_MAX, in->peer_address);
    text_copy(out->client_address, ADDRESS_SIZE_MAX, in->client_address);
}

void constitution_replica_fill(struct constitution_replica *out, uint32_t member, bool founding,
                               const struct signed_body *endorsement,
                               const struct replica_endorsement *decoded) {
    CHECK(endorsement->body.size <= ENDORSEMENT_SIZE_MAX);
    *out = (struct constitution_replica){
        .founding = founding,
        .endorsement_size = (uint32_t)endorsement->body.size,
        .signature = endorsement->signature,
    };
    memcpy(out->endorsement, endorsement->body.data, endorsement->body.size);
    identity_fill(&out->identity, member, decoded);
}

static void take_replica(enum codec_result *result, struct constitution *out, struct arena *arena,
                         uint32_t index, const Onus__Pb__ConstitutionReplica *in) {
    struct signed_body endorsement;
    struct replica_endorsement decoded;
    if (in->endorsement == NULL) {
        field_fail(result, CODEC_LENGTH);
        return;
    }
    field_check_range(result, in->member, (struct bounds){0, out->member_count - 1});
    field_take_span(result, &endorsement.body, in->endorsement->body,
                    (struct bounds){1, ENDORSEMENT_SIZE_MAX});
    field_take_signature(result, &endorsement.signature, in->endorsement->signature);
    if (*result != CODEC_OK) {
        return;
    }
    *result = in->founding ? founding_decode(&decoded, arena, endorsement.body)
                           : replica_endorsement_decode(&decoded, arena, endorsement.body);
    if (*result != CODEC_OK) {
        return;
    }
    constitution_replica_fill(&out->replicas[index], in->member, in->founding, &endorsement,
                              &decoded);
    if (!in->founding && !span_equal(decoded.member, span_text(out->members[in->member].name))) {
        field_fail(result, CODEC_MISMATCH);
    }
    for (uint32_t i = 0; i < index; i++) {
        if (digest_equal(&out->replicas[i].identity.tls_digest, &decoded.tls_digest)) {
            field_fail(result, CODEC_MISMATCH);
        }
    }
}

static void take_rule(enum codec_result *result, struct voting_rule *out,
                      const Onus__Pb__VotingRule *in) {
    if (in == NULL) {
        field_fail(result, CODEC_LENGTH);
        return;
    }
    *out = (struct voting_rule){in->numerator, in->denominator};
    if (!voting_rule_sound(out)) {
        field_fail(result, CODEC_RANGE);
    }
}

enum codec_result constitution_decode(struct constitution *out, struct arena *arena,
                                      const struct digest *service, struct span bytes) {
    struct unpacked const unpacked =
        strict_unpack(arena, &onus__pb__constitution__descriptor, CONSTITUTION_SIZE_MAX, bytes);
    if (unpacked.result != CODEC_OK) {
        return unpacked.result;
    }
    const Onus__Pb__Constitution *const in = unpacked.message;
    enum codec_result result = CODEC_OK;
    out->service = *service;
    field_take_seq(&result, &out->number, in->number);
    parameters_take_sound(&result, &out->parameters, in->parameters);
    take_rule(&result, &out->rule, in->rule);
    take_holders(&result, out, in);
    field_check_range(&result, in->n_replicas, (struct bounds){REPLICAS_MIN, REPLICAS_MAX});
    out->replica_count = result == CODEC_OK ? (uint32_t)in->n_replicas : 0;
    for (uint32_t i = 0; result == CODEC_OK && i < out->replica_count; i++) {
        take_replica(&result, out, arena, i, in->replicas[i]);
    }
    return result;
}

/* ---- encoding -------------------------------------------------------------------------------- */

static bool encode_members(struct buffer *out, const struct constitution *in) {
    for (uint32_t i = 0; i < in->member_count; i++) {
        Onus__Pb__Member message = ONUS__PB__MEMBER__INIT;
        message.name = pack_span(span_text(in->members[i].name));
        message.key = pack_span(span_of(in->members[i].key.bytes, PUBLIC_KEY_SIZE));
        if (!pack_element(out, FIELD_MEMBERS, &message.base)) {
            return false;
        }
    }
    return true;
}

static bool encode_users(struct buffer *out, const struct constitution *in) {
    for (uint32_t i = 0; i < in->user_count; i++) {
        Onus__Pb__User message = ONUS__PB__USER__INIT;
        message.name = pack_span(span_text(in->users[i].name));
        message.key = pack_span(span_of(in->users[i].key.bytes, PUBLIC_KEY_SIZE));
        if (!pack_element(out, FIELD_USERS, &message.base)) {
            return false;
        }
    }
    return true;
}

static bool encode_replicas(struct buffer *out, const struct constitution *in) {
    for (uint32_t i = 0; i < in->replica_count; i++) {
        const struct constitution_replica *const replica = &in->replicas[i];
        Onus__Pb__Signed endorsement = ONUS__PB__SIGNED__INIT;
        Onus__Pb__ConstitutionReplica message = ONUS__PB__CONSTITUTION_REPLICA__INIT;
        endorsement.body = pack_span(constitution_endorsement(replica));
        endorsement.signature = pack_signature(&replica->signature);
        message.member = replica->identity.member;
        message.founding = replica->founding;
        message.endorsement = &endorsement;
        if (!pack_element(out, FIELD_REPLICAS, &message.base)) {
            return false;
        }
    }
    return true;
}

bool constitution_encode(struct buffer *out, const struct constitution *in) {
    Onus__Pb__Parameters parameters = parameters_message(&in->parameters);
    Onus__Pb__VotingRule rule = ONUS__PB__VOTING_RULE__INIT;
    Onus__Pb__Constitution message = ONUS__PB__CONSTITUTION__INIT;
    rule.numerator = in->rule.numerator;
    rule.denominator = in->rule.denominator;
    message.number = in->number;
    message.parameters = &parameters;
    message.rule = &rule;
    return pack_message(out, &message.base) && encode_members(out, in) && encode_users(out, in) &&
           encode_replicas(out, in);
}
