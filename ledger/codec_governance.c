/*
 * codec_governance: proposals and what comes of them; see codec_governance.h. Constitutions are in
 * codec_constitution.c.
 */
#include "ledger/codec_governance.h"

#include "base/check.h"
#include "ledger/codec_parameters.h"
#include "ledger/field.h"
#include "ledger/pack.h"
#include "ledger/strict.h"

static_assert((int)HOLDER_MEMBER == (int)ONUS__PB__HOLDER_ROLE__HOLDER_ROLE_MEMBER &&
                  (int)HOLDER_REPLICA == (int)ONUS__PB__HOLDER_ROLE__HOLDER_ROLE_REPLICA,
              "roles are numbered as in the schema");
static_assert((int)ACTION_ADD_MEMBER == (int)ONUS__PB__ACTION_KIND__ACTION_KIND_ADD_MEMBER &&
                  (int)ACTION_SET_VOTING_RULE ==
                      (int)ONUS__PB__ACTION_KIND__ACTION_KIND_SET_VOTING_RULE,
              "actions are numbered as in the schema");

/* ---- endorsements and possession ------------------------------------------------------------- */

enum codec_result replica_endorsement_decode(struct replica_endorsement *out, struct arena *arena,
                                             struct span body) {
    struct unpacked const unpacked = strict_unpack(
        arena, &onus__pb__replica_endorsement__descriptor, ENDORSEMENT_SIZE_MAX, body);
    if (unpacked.result != CODEC_OK) {
        return unpacked.result;
    }
    const Onus__Pb__ReplicaEndorsement *const in = unpacked.message;
    enum codec_result result = CODEC_OK;
    field_take_name(&result, &out->member, in->member);
    field_take_key(&result, &out->replica_key, in->replica_key);
    field_take_digest(&result, &out->tls_digest, in->tls_digest);
    field_take_address(&result, &out->peer_address, in->peer_address);
    field_take_address(&result, &out->client_address, in->client_address);
    return result;
}

bool replica_endorsement_encode(struct buffer *out, const struct replica_endorsement *in) {
    Onus__Pb__ReplicaEndorsement message = ONUS__PB__REPLICA_ENDORSEMENT__INIT;
    message.member = pack_span(in->member);
    message.replica_key = pack_span(span_of(in->replica_key.bytes, PUBLIC_KEY_SIZE));
    message.tls_digest = pack_digest(&in->tls_digest);
    message.peer_address = pack_span(in->peer_address);
    message.client_address = pack_span(in->client_address);
    return pack_message(out, &message.base);
}

bool possession_encode(struct buffer *out, const struct possession *in) {
    Onus__Pb__Possession message = ONUS__PB__POSSESSION__INIT;
    message.role = (Onus__Pb__HolderRole)in->role;
    message.name = pack_span(in->name);
    message.key = pack_span(span_of(in->key.bytes, PUBLIC_KEY_SIZE));
    return pack_message(out, &message.base);
}

/* ---- text ------------------------------------------------------------------------------------ */

/*
 * The character that begins at `at`, by RFC 3629: shortest form, no surrogates.
 * Returns: how many bytes it has; 0: there is none.
 */
static size_t character_read(struct span text, size_t at, uint32_t *character) {
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    uint8_t const first = text.data[at];
    size_t const size = first < 0x80             ? 1
                        : (first & 0xe0) == 0xc0 ? 2
                        : (first & 0xf0) == 0xe0 ? 3
                        : (first & 0xf8) == 0xf0 ? 4
                                                 : 0;
    if (size == 0 || size > text.size - at) {
        return 0;
    }
    *character = size == 1 ? first : first & (0x7fu >> size);
    for (size_t i = 1; i < size; i++) {
        if ((text.data[at + i] & 0xc0) != 0x80) {
            return 0;
        }
        *character = *character << 6 | (text.data[at + i] & 0x3f);
    }
    bool const whole = *character >= least[size] && *character <= 0x10ffff &&
                       !(*character >= 0xd800 && *character <= 0xdfff);
    return whole ? size : 0;
}

/*
 * Does a terminal show it as it stands? Not control characters, nor those that break a line or turn
 * the direction of writing: who reads a proposal must see what it says.
 */
static bool character_printable(uint32_t c) {
    bool const control = c < 0x20 || (c >= 0x7f && c < 0xa0);
    bool const turning = c == 0x61c || c == 0x200e || c == 0x200f || (c >= 0x2028 && c <= 0x202e) ||
                         (c >= 0x2066 && c <= 0x2069);
    return !control && !turning && c != 0xfeff && c != 0xfffe && c != 0xffff;
}

static void take_text(enum codec_result *result, struct span *out, ProtobufCBinaryData in) {
    field_take_span(result, out, in, (struct bounds){0, PROPOSAL_TEXT_SIZE_MAX});
    for (size_t at = 0; *result == CODEC_OK && at < in.len;) {
        uint32_t character = 0;
        size_t const size = character_read(*out, at, &character);
        if (size == 0 || !character_printable(character)) {
            field_fail(result, CODEC_RANGE);
        }
        at += size;
    }
}

/* ---- proposals ------------------------------------------------------------------------------- */

/* The fields of an action, as a set. */
#define HAS_NAME 1u
#define HAS_KEY 2u
#define HAS_ENDORSEMENT 4u
#define HAS_POSSESSION 8u
#define HAS_PARAMETERS 16u
#define HAS_RULE 32u

static unsigned fields_of(enum action_kind kind) {
    switch (kind) {
    case ACTION_ADD_MEMBER:
    case ACTION_ROTATE_MEMBER:
    case ACTION_ADD_USER:
    case ACTION_ROTATE_USER:
        return HAS_NAME | HAS_KEY | HAS_POSSESSION;
    case ACTION_REMOVE_MEMBER:
    case ACTION_REMOVE_USER:
        return HAS_NAME;
    case ACTION_ADD_REPLICA:
        return HAS_ENDORSEMENT | HAS_POSSESSION;
    case ACTION_REMOVE_REPLICA:
        return HAS_KEY;
    case ACTION_REPLACE_REPLICA:
        return HAS_KEY | HAS_ENDORSEMENT | HAS_POSSESSION;
    case ACTION_SET_PARAMETERS:
        return HAS_PARAMETERS;
    case ACTION_SET_VOTING_RULE:
        return HAS_RULE;
    }
    UNREACHABLE();
}

static unsigned fields_in(const Onus__Pb__Action *in) {
    return (in->name.len != 0 ? HAS_NAME : 0) | (in->key.len != 0 ? HAS_KEY : 0) |
           (in->endorsement != NULL ? HAS_ENDORSEMENT : 0) |
           (in->possession.len != 0 ? HAS_POSSESSION : 0) |
           (in->parameters != NULL ? HAS_PARAMETERS : 0) | (in->rule != NULL ? HAS_RULE : 0);
}

static void take_endorsement(enum codec_result *result, struct action *out, struct arena *arena,
                             const Onus__Pb__Signed *in) {
    field_take_span(result, &out->endorsement.body, in->body,
                    (struct bounds){1, ENDORSEMENT_SIZE_MAX});
    field_take_signature(result, &out->endorsement.signature, in->signature);
    if (*result == CODEC_OK) {
        *result = replica_endorsement_decode(&out->replica, arena, out->endorsement.body);
    }
}

static void take_action(enum codec_result *result, struct action *out, struct arena *arena,
                        const Onus__Pb__Action *in) {
    *out = (struct action){0};
    field_check_range(result, (uint64_t)in->kind,
                      (struct bounds){ACTION_ADD_MEMBER, ACTION_SET_VOTING_RULE});
    if (*result != CODEC_OK) {
        return;
    }
    out->kind = (enum action_kind)in->kind;
    unsigned const fields = fields_in(in);
    if (fields != fields_of(out->kind)) {
        field_fail(result, CODEC_MISMATCH);
        return;
    }
    if ((fields & HAS_NAME) != 0) {
        field_take_name(result, &out->name, in->name);
    }
    if ((fields & HAS_KEY) != 0) {
        field_take_key(result, &out->key, in->key);
    }
    if ((fields & HAS_ENDORSEMENT) != 0) {
        take_endorsement(result, out, arena, in->endorsement);
    }
    if ((fields & HAS_POSSESSION) != 0) {
        field_take_signature(result, &out->possession, in->possession);
    }
    if ((fields & HAS_PARAMETERS) != 0) {
        parameters_take(result, &out->parameters, in->parameters);
    }
    if ((fields & HAS_RULE) != 0) {
        out->rule = (struct voting_rule){in->rule->numerator, in->rule->denominator};
    }
}

enum codec_result proposal_decode(struct proposal *out, struct arena *arena,
                                  const struct digest *service, struct span bytes) {
    struct unpacked const unpacked =
        strict_unpack(arena, &onus__pb__proposal__descriptor, PROPOSAL_SIZE_MAX, bytes);
    if (unpacked.result != CODEC_OK) {
        return unpacked.result;
    }
    const Onus__Pb__Proposal *const in = unpacked.message;
    enum codec_result result = CODEC_OK;
    out->bytes = bytes;
    field_take_seq(&result, &out->config, in->config);
    field_take_fixed(&result, out->salt, sizeof out->salt, in->salt);
    take_text(&result, &out->text, in->text);
    field_check_range(&result, in->n_actions, (struct bounds){1, ACTIONS_MAX});
    out->action_count = result == CODEC_OK ? (uint32_t)in->n_actions : 0;
    for (uint32_t i = 0; result == CODEC_OK && i < out->action_count; i++) {
        take_action(&result, &out->actions[i], arena, in->actions[i]);
    }
    field_take_digests(&result, &out->evidence, &out->evidence_count, in->evidence,
                       (struct bounds){0, PROPOSAL_EVIDENCE_MAX});
    if (result == CODEC_OK) {
        out->id = hash_labelled(LABEL_PROPOSAL, service, bytes);
    }
    return result;
}

/* An action as protobuf-c wants it, with the messages in it. */
struct action_message {
    Onus__Pb__Action base;
    Onus__Pb__Signed endorsement;
    Onus__Pb__Parameters parameters;
    Onus__Pb__VotingRule rule;
};

static void action_fill(struct action_message *out, const struct action *in) {
    unsigned const fields = fields_of(in->kind);
    out->base = (Onus__Pb__Action)ONUS__PB__ACTION__INIT;
    out->base.kind = (Onus__Pb__ActionKind)in->kind;
    if ((fields & HAS_NAME) != 0) {
        out->base.name = pack_span(in->name);
    }
    if ((fields & HAS_KEY) != 0) {
        out->base.key = pack_span(span_of(in->key.bytes, PUBLIC_KEY_SIZE));
    }
    if ((fields & HAS_ENDORSEMENT) != 0) {
        out->endorsement = (Onus__Pb__Signed)ONUS__PB__SIGNED__INIT;
        out->endorsement.body = pack_span(in->endorsement.body);
        out->endorsement.signature = pack_signature(&in->endorsement.signature);
        out->base.endorsement = &out->endorsement;
    }
    if ((fields & HAS_POSSESSION) != 0) {
        out->base.possession = pack_signature(&in->possession);
    }
    if ((fields & HAS_PARAMETERS) != 0) {
        out->parameters = parameters_message(&in->parameters);
        out->base.parameters = &out->parameters;
    }
    if ((fields & HAS_RULE) != 0) {
        out->rule = (Onus__Pb__VotingRule)ONUS__PB__VOTING_RULE__INIT;
        out->rule.numerator = in->rule.numerator;
        out->rule.denominator = in->rule.denominator;
        out->base.rule = &out->rule;
    }
}

bool proposal_encode(struct buffer *out, const struct proposal *in) {
    struct action_message actions[ACTIONS_MAX];
    Onus__Pb__Action *pointers[ACTIONS_MAX];
    if (in->action_count > ACTIONS_MAX || in->evidence_count > PROPOSAL_EVIDENCE_MAX) {
        return pack_refuse(out);
    }
    for (uint32_t i = 0; i < in->action_count; i++) {
        action_fill(&actions[i], &in->actions[i]);
        pointers[i] = &actions[i].base;
    }
    Onus__Pb__Proposal message = ONUS__PB__PROPOSAL__INIT;
    message.config = in->config;
    message.salt = pack_span(span_of(in->salt, sizeof in->salt));
    message.text = pack_span(in->text);
    message.n_actions = in->action_count;
    message.actions = pointers;
    message.evidence = pack_span(span_of(in->evidence, (size_t)in->evidence_count * DIGEST_SIZE));
    return pack_message(out, &message.base);
}

/* ---- votes in the state ---------------------------------------------------------------------- */

enum codec_result ballot_decode(struct ballot *out, struct arena *arena, struct span bytes) {
    struct unpacked const unpacked =
        strict_unpack(arena, &onus__pb__ballot__descriptor, BALLOT_SIZE_MAX, bytes);
    if (unpacked.result != CODEC_OK) {
        return unpacked.result;
    }
    const Onus__Pb__Ballot *const in = unpacked.message;
    enum codec_result result = CODEC_OK;
    field_take_seq(&result, &out->config, in->config);
    field_take_digest(&result, &out->id, in->id);
    out->yes = in->yes;
    out->no = in->no;
    if ((in->yes & in->no) != 0) {
        field_fail(&result, CODEC_MISMATCH);
    }
    return result;
}

bool ballot_encode(struct buffer *out, const struct ballot *in) {
    Onus__Pb__Ballot message = ONUS__PB__BALLOT__INIT;
    message.config = in->config;
    message.id = pack_digest(&in->id);
    message.yes = in->yes;
    message.no = in->no;
    return pack_message(out, &message.base);
}

enum codec_result decided_decode(struct decided *out, struct arena *arena, struct span bytes) {
    struct unpacked const unpacked =
        strict_unpack(arena, &onus__pb__decided__descriptor, BALLOT_SIZE_MAX, bytes);
    if (unpacked.result != CODEC_OK) {
        return unpacked.result;
    }
    const Onus__Pb__Decided *const in = unpacked.message;
    enum codec_result result = CODEC_OK;
    field_check_range(&result, in->number, (struct bounds){2, NUMBER_MAX});
    out->number = in->number;
    field_take_digest(&result, &out->constitution, in->digest);
    return result;
}

bool decided_encode(struct buffer *out, const struct decided *in) {
    Onus__Pb__Decided message = ONUS__PB__DECIDED__INIT;
    message.number = in->number;
    message.digest = pack_digest(&in->constitution);
    return pack_message(out, &message.base);
}

/* ---- the governance chain -------------------------------------------------------------------- */

static void take_vote(enum codec_result *result, struct signed_vote *out,
                      const Onus__Pb__SignedVote *in) {
    field_take_span(result, &out->header, in->header, (struct bounds){1, VOTE_HEADER_SIZE_MAX});
    field_take_signature(result, &out->signature, in->signature);
    field_take_span(result, &out->call, in->call, (struct bounds){1, VOTE_CALL_SIZE_MAX});
    field_take_u32(result, &out->position, in->position, (struct bounds){0, CALLS_MAX - 1});
    field_take_digests(result, &out->call_path, &out->call_path_count, in->call_path,
                       (struct bounds){0, VOTE_PATH_MAX});
}

enum codec_result chain_link_decode(struct chain_link *out, struct arena *arena,
                                    struct span bytes) {
    struct unpacked const unpacked =
        strict_unpack(arena, &onus__pb__chain_link__descriptor, CHAIN_LINK_SIZE_MAX, bytes);
    if (unpacked.result != CODEC_OK) {
        return unpacked.result;
    }
    const Onus__Pb__ChainLink *const in = unpacked.message;
    enum codec_result result = CODEC_OK;
    field_take_span(&result, &out->proposal, in->proposal, (struct bounds){1, PROPOSAL_SIZE_MAX});
    field_check_range(&result, in->n_votes, (struct bounds){0, MEMBERS_MAX});
    out->vote_count = result == CODEC_OK ? (uint32_t)in->n_votes : 0;
    for (uint32_t i = 0; i < out->vote_count; i++) {
        take_vote(&result, &out->votes[i], in->votes[i]);
    }
    field_take_span(&result, &out->receipt, in->receipt, (struct bounds){1, RECEIPT_SIZE_MAX});
    field_take_span(&result, &out->certificate, in->certificate,
                    (struct bounds){1, COMMIT_CERTIFICATE_SIZE_MAX});
    return result;
}

static Onus__Pb__SignedVote vote_message(const struct signed_vote *in) {
    Onus__Pb__SignedVote message = ONUS__PB__SIGNED_VOTE__INIT;
    message.header = pack_span(in->header);
    message.signature = pack_signature(&in->signature);
    message.call = pack_span(in->call);
    message.position = in->position;
    message.call_path =
        pack_span(span_of(in->call_path, (size_t)in->call_path_count * DIGEST_SIZE));
    return message;
}

bool chain_link_encode(struct buffer *out, const struct chain_link *in) {
    Onus__Pb__SignedVote votes[MEMBERS_MAX];
    Onus__Pb__SignedVote *pointers[MEMBERS_MAX];
    if (in->vote_count > MEMBERS_MAX) {
        return pack_refuse(out);
    }
    for (uint32_t i = 0; i < in->vote_count; i++) {
        votes[i] = vote_message(&in->votes[i]);
        pointers[i] = &votes[i];
    }
    Onus__Pb__ChainLink message = ONUS__PB__CHAIN_LINK__INIT;
    message.proposal = pack_span(in->proposal);
    message.n_votes = in->vote_count;
    message.votes = pointers;
    message.receipt = pack_span(in->receipt);
    message.certificate = pack_span(in->certificate);
    return pack_message(out, &message.base);
}

enum codec_result chain_header_decode(struct span *genesis, struct arena *arena,
                                      struct span bytes) {
    struct unpacked const unpacked =
        strict_unpack(arena, &onus__pb__chain_header__descriptor, CHAIN_HEADER_SIZE_MAX, bytes);
    if (unpacked.result != CODEC_OK) {
        return unpacked.result;
    }
    const Onus__Pb__ChainHeader *const in = unpacked.message;
    enum codec_result result = CODEC_OK;
    field_check_range(&result, in->version, (struct bounds){CHAIN_VERSION, CHAIN_VERSION});
    field_take_span(&result, genesis, in->genesis, (struct bounds){1, GENESIS_SIZE_MAX});
    return result;
}

bool chain_header_encode(struct buffer *out, struct span genesis) {
    Onus__Pb__ChainHeader message = ONUS__PB__CHAIN_HEADER__INIT;
    message.version = CHAIN_VERSION;
    message.genesis = pack_span(genesis);
    return pack_message(out, &message.base);
}
