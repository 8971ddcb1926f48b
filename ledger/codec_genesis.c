/*
 * codec_genesis: the founding transaction (protocol §1, §4: entry 0). Its digest is the service
 * id; the members' endorsements in it bind the founding digest, that of the prologue alone.
 */
#include "ledger/codec.h"

#include "ledger/codec_parameters.h"
#include "ledger/field.h"
#include "ledger/pack.h"
#include "ledger/strict.h"

#define FIELD_MEMBERS 3u
#define FIELD_ENDORSEMENTS 4u
#define FIELD_USERS 5u

static const struct digest no_service;

/* ---- prologue -------------------------------------------------------------------------------- */

static enum codec_result prologue_decode(struct genesis *out, struct arena *arena) {
    struct unpacked const unpacked = strict_unpack(arena, &onus__pb__genesis_prologue__descriptor,
                                                   STATEMENT_SIZE_MAX, out->prologue);
    if (unpacked.result != CODEC_OK) {
        return unpacked.result;
    }
    const Onus__Pb__GenesisPrologue *const in = unpacked.message;
    enum codec_result result = CODEC_OK;
    field_take_name(&result, &out->name, in->name);
    field_take_fixed(&result, out->salt, sizeof out->salt, in->salt);
    field_take_number(&result, &out->time_ms, in->time_ms);
    parameters_take_sound(&result, &out->parameters, in->parameters);
    return result;
}

enum codec_result genesis_prologue_decode(struct genesis *out, struct arena *arena,
                                          struct span prologue) {
    out->prologue = prologue;
    return prologue_decode(out, arena);
}

bool genesis_prologue_encode(struct buffer *out, struct span name, const uint8_t salt[static 32],
                             uint64_t time_ms, const struct parameters *parameters) {
    Onus__Pb__Parameters inner = parameters_message(parameters);
    Onus__Pb__GenesisPrologue message = ONUS__PB__GENESIS_PROLOGUE__INIT;
    message.name = pack_span(name);
    message.salt = pack_span(span_of(salt, 32));
    message.time_ms = time_ms;
    message.parameters = &inner;
    return pack_message(out, &message.base);
}

/* ---- members, users, replicas ---------------------------------------------------------------- */

/* Item `index` of a list repeats neither a name nor a key of those before it. */
static void check_distinct(enum codec_result *result, const struct named_key *list,
                           uint32_t index) {
    for (uint32_t i = 0; i < index; i++) {
        if (span_equal(list[i].name, list[index].name) ||
            public_key_equal(&list[i].key, &list[index].key)) {
            field_fail(result, CODEC_MISMATCH);
        }
    }
}

static void take_members(enum codec_result *result, struct genesis *out, struct arena *arena,
                         const Onus__Pb__Genesis *in) {
    field_check_range(result, in->n_members, (struct bounds){1, MEMBERS_MAX});
    if (*result != CODEC_OK) {
        return;
    }
    struct named_key *const list = field_alloc(result, arena, in->n_members, sizeof *list);
    for (uint32_t i = 0; *result == CODEC_OK && i < in->n_members; i++) {
        field_take_name(result, &list[i].name, in->members[i]->name);
        field_take_key(result, &list[i].key, in->members[i]->key);
        check_distinct(result, list, i);
    }
    out->members = list;
    out->member_count = (uint32_t)in->n_members;
}

static void take_users(enum codec_result *result, struct genesis *out, struct arena *arena,
                       const Onus__Pb__Genesis *in) {
    field_check_range(result, in->n_users, (struct bounds){0, USERS_MAX});
    if (*result != CODEC_OK || in->n_users == 0) {
        return;
    }
    struct named_key *const list = field_alloc(result, arena, in->n_users, sizeof *list);
    for (uint32_t i = 0; *result == CODEC_OK && i < in->n_users; i++) {
        field_take_name(result, &list[i].name, in->users[i]->name);
        field_take_key(result, &list[i].key, in->users[i]->key);
        check_distinct(result, list, i);
    }
    out->users = list;
    out->user_count = (uint32_t)in->n_users;
}

/* Replica `index` is named in its place, by a member there is, with keys nobody else has. */
static void check_replica(enum codec_result *result, const struct genesis *genesis,
                          const struct endorsement *list, uint32_t index) {
    if (list[index].replica != index || list[index].member >= genesis->member_count) {
        field_fail(result, CODEC_MISMATCH);
    }
    for (uint32_t i = 0; i < index; i++) {
        if (public_key_equal(&list[i].replica_key, &list[index].replica_key) ||
            digest_equal(&list[i].tls_digest, &list[index].tls_digest)) {
            field_fail(result, CODEC_MISMATCH);
        }
    }
}

static void take_replicas(enum codec_result *result, struct genesis *out, struct arena *arena,
                          const Onus__Pb__Genesis *in) {
    size_t const count = in->n_endorsements;
    field_check_range(result, count, (struct bounds){REPLICAS_MIN, REPLICAS_MAX});
    if (*result != CODEC_OK) {
        return;
    }
    struct signed_body *const endorsements =
        field_alloc(result, arena, count, sizeof *endorsements);
    struct endorsement *const replicas = field_alloc(result, arena, count, sizeof *replicas);
    for (uint32_t i = 0; *result == CODEC_OK && i < count; i++) {
        field_take_span(result, &endorsements[i].body, in->endorsements[i]->body,
                        (struct bounds){1, STATEMENT_SIZE_MAX});
        field_take_signature(result, &endorsements[i].signature, in->endorsements[i]->signature);
        if (*result != CODEC_OK) {
            break;
        }
        *result = endorsement_decode(&replicas[i], arena, endorsements[i].body);
        if (*result == CODEC_OK) {
            check_replica(result, out, replicas, i);
        }
    }
    out->endorsements = endorsements;
    out->replicas = replicas;
    out->replica_count = (uint32_t)count;
}

/* ---- genesis --------------------------------------------------------------------------------- */

enum codec_result genesis_decode(struct genesis *out, struct arena *arena, struct span bytes) {
    struct unpacked const unpacked =
        strict_unpack(arena, &onus__pb__genesis__descriptor, GENESIS_SIZE_MAX, bytes);
    if (unpacked.result != CODEC_OK) {
        return unpacked.result;
    }
    const Onus__Pb__Genesis *const in = unpacked.message;
    enum codec_result result = CODEC_OK;
    *out = (struct genesis){.bytes = bytes};
    field_check_range(&result, in->version, (struct bounds){GENESIS_VERSION, GENESIS_VERSION});
    field_take_span(&result, &out->prologue, in->prologue, (struct bounds){1, STATEMENT_SIZE_MAX});
    if (result == CODEC_OK) {
        result = prologue_decode(out, arena);
    }
    take_members(&result, out, arena, in);
    take_replicas(&result, out, arena, in);
    take_users(&result, out, arena, in);
    if (result == CODEC_OK) {
        out->founding = hash_labelled(LABEL_FOUNDING, &no_service, out->prologue);
        out->service = hash_labelled(LABEL_GENESIS, &no_service, bytes);
    }
    return result;
}

static bool encode_members(struct buffer *out, const struct genesis *in) {
    for (uint32_t i = 0; i < in->member_count; i++) {
        Onus__Pb__Member message = ONUS__PB__MEMBER__INIT;
        message.name = pack_span(in->members[i].name);
        message.key = pack_span(span_of(in->members[i].key.bytes, PUBLIC_KEY_SIZE));
        if (!pack_element(out, FIELD_MEMBERS, &message.base)) {
            return false;
        }
    }
    return true;
}

static bool encode_endorsements(struct buffer *out, const struct genesis *in) {
    for (uint32_t i = 0; i < in->replica_count; i++) {
        Onus__Pb__Signed message = ONUS__PB__SIGNED__INIT;
        message.body = pack_span(in->endorsements[i].body);
        message.signature = pack_signature(&in->endorsements[i].signature);
        if (!pack_element(out, FIELD_ENDORSEMENTS, &message.base)) {
            return false;
        }
    }
    return true;
}

static bool encode_users(struct buffer *out, const struct genesis *in) {
    for (uint32_t i = 0; i < in->user_count; i++) {
        Onus__Pb__User message = ONUS__PB__USER__INIT;
        message.name = pack_span(in->users[i].name);
        message.key = pack_span(span_of(in->users[i].key.bytes, PUBLIC_KEY_SIZE));
        if (!pack_element(out, FIELD_USERS, &message.base)) {
            return false;
        }
    }
    return true;
}

bool genesis_encode(struct buffer *out, const struct genesis *in) {
    Onus__Pb__Genesis message = ONUS__PB__GENESIS__INIT;
    message.version = GENESIS_VERSION;
    message.prologue = pack_span(in->prologue);
    return pack_message(out, &message.base) && encode_members(out, in) &&
           encode_endorsements(out, in) && encode_users(out, in);
}
