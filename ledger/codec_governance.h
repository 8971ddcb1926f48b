/*
 * codec_governance: constitutions, proposals, what the state remembers of votes, and links of the
 * governance chain (protocol §9). Strict, as everything in ledger/codec.h.
 *
 * Decoding checks the form alone. What a proposal may change is governance/proposal.h's question,
 * and whether a link holds that of receipts/chain.h. A constitution is plain data without pointers:
 * copy it with an assignment. It is large: keep it off the stack where many may stand at once.
 */
#ifndef ONUS_LEDGER_CODEC_GOVERNANCE_H
#define ONUS_LEDGER_CODEC_GOVERNANCE_H

#include "ledger/codec.h"
#include "ledger/configuration.h"

/* ---- constitutions --------------------------------------------------------------------------- */

/* A change passes with strictly more than numerator/denominator of all members. */
struct voting_rule {
    uint32_t numerator;
    uint32_t denominator;
};

/* 1/2 <= numerator/denominator < 1, and the denominator at most VOTING_DENOMINATOR_MAX. */
MUST_USE bool voting_rule_sound(const struct voting_rule *rule);

/* A replica, and what its member signed for it. */
struct constitution_replica {
    struct replica_identity identity;
    bool founding; /* the endorsement is one of genesis, and binds the founding digest */
    uint32_t endorsement_size;
    uint8_t endorsement[ENDORSEMENT_SIZE_MAX]; /* the body; the identity is what it says */
    struct signature signature;                /* of the member's key at that time */
};

static inline struct span constitution_endorsement(const struct constitution_replica *replica) {
    return span_of(replica->endorsement, replica->endorsement_size);
}

/* Everything under governance. Positions in the lists are dense; names are what is stable. */
struct constitution {
    struct digest service; /* not encoded: digests bind it */
    uint64_t number;       /* of the configuration that it is; 1.. */
    struct parameters parameters;
    struct voting_rule rule;
    uint32_t member_count;  /* 1..MEMBERS_MAX */
    uint32_t user_count;    /* 0..USERS_MAX */
    uint32_t replica_count; /* REPLICAS_MIN..REPLICAS_MAX */
    struct member members[MEMBERS_MAX];
    struct member users[USERS_MAX]; /* a user is a name with a key, too */
    struct constitution_replica replicas[REPLICAS_MAX];
};

/*
 * CODEC_MISMATCH: a name or TLS digest twice in its list, or an endorsement by another member than
 * the one that operates the replica. Whether keys may be admitted is not decided here.
 */
MUST_USE enum codec_result constitution_decode(struct constitution *out, struct arena *arena,
                                               const struct digest *service, struct span bytes);
MUST_USE bool constitution_encode(struct buffer *out, const struct constitution *in);

/* ---- endorsements and possession ------------------------------------------------------------- */

/* Signed by a member, with LABEL_REPLICA_GIVEN. Spans point into the arena. */
struct replica_endorsement {
    struct span member; /* its name */
    struct public_key replica_key;
    struct digest tls_digest;
    struct span peer_address;
    struct span client_address;
};

MUST_USE enum codec_result replica_endorsement_decode(struct replica_endorsement *out,
                                                      struct arena *arena, struct span body);
MUST_USE bool replica_endorsement_encode(struct buffer *out, const struct replica_endorsement *in);

/*
 * Make a replica of a constitution out of an endorsement and what it decodes to, which fit.
 * member: the position of the one who operates it.
 */
void constitution_replica_fill(struct constitution_replica *out, uint32_t member, bool founding,
                               const struct signed_body *endorsement,
                               const struct replica_endorsement *decoded);

enum holder_role { HOLDER_MEMBER = 1, HOLDER_USER = 2, HOLDER_REPLICA = 3 };

/* What a new key signs, with LABEL_POSSESSION. Whoever verifies makes the bytes anew. */
struct possession {
    enum holder_role role;
    struct span name; /* of the member or user; of a replica's member */
    struct public_key key;
};

MUST_USE bool possession_encode(struct buffer *out, const struct possession *in);

/* ---- proposals ------------------------------------------------------------------------------- */

enum action_kind {
    ACTION_ADD_MEMBER = 1,      /* name, key, possession */
    ACTION_REMOVE_MEMBER = 2,   /* name */
    ACTION_ROTATE_MEMBER = 3,   /* name, key, possession */
    ACTION_ADD_USER = 4,        /* name, key, possession */
    ACTION_REMOVE_USER = 5,     /* name */
    ACTION_ROTATE_USER = 6,     /* name, key, possession */
    ACTION_ADD_REPLICA = 7,     /* endorsement, possession */
    ACTION_REMOVE_REPLICA = 8,  /* key */
    ACTION_REPLACE_REPLICA = 9, /* key, endorsement, possession */
    ACTION_SET_PARAMETERS = 10, /* parameters */
    ACTION_SET_VOTING_RULE = 11 /* rule */
};

/* Of its fields those are set that its kind has, and the others are zero. */
struct action {
    enum action_kind kind;
    struct span name;
    struct public_key key; /* the new one; of a replica that goes, the present one */
    struct signed_body endorsement;
    struct replica_endorsement replica; /* the endorsement decoded; decoding fills it in */
    struct signature possession;
    struct parameters parameters;
    struct voting_rule rule;
};

struct proposal {
    struct span bytes; /* the caller's input */
    uint64_t config;   /* the configuration that it changes; 1.. */
    uint8_t salt[PROPOSAL_SALT_SIZE];
    struct span text; /* 0..PROPOSAL_TEXT_SIZE_MAX bytes of printable UTF-8 */
    uint32_t action_count;
    struct action actions[ACTIONS_MAX];
    uint32_t evidence_count; /* 0..PROPOSAL_EVIDENCE_MAX */
    const struct digest *evidence;
    struct digest id; /* LABEL_PROPOSAL of bytes */
};

/*
 * CODEC_MISMATCH: an action without exactly the fields of its kind. CODEC_RANGE: a text that is
 * not UTF-8, or has characters that a terminal would not show as they stand. Parameters and
 * voting rules may be any.
 */
MUST_USE enum codec_result proposal_decode(struct proposal *out, struct arena *arena,
                                           const struct digest *service, struct span bytes);
MUST_USE bool proposal_encode(struct buffer *out, const struct proposal *in);

/* ---- votes in the state ---------------------------------------------------------------------- */

struct ballot {
    uint64_t config; /* 1.. */
    struct digest id;
    uint64_t yes; /* bitmaps of members, which have no member in common */
    uint64_t no;
};

MUST_USE enum codec_result ballot_decode(struct ballot *out, struct arena *arena,
                                         struct span bytes);
MUST_USE bool ballot_encode(struct buffer *out, const struct ballot *in);

/* What a vote has brought about. */
struct decided {
    uint64_t number; /* 2.. */
    struct digest constitution;
};

MUST_USE enum codec_result decided_decode(struct decided *out, struct arena *arena,
                                          struct span bytes);
MUST_USE bool decided_encode(struct buffer *out, const struct decided *in);

/* ---- the governance chain -------------------------------------------------------------------- */

/* A vote as far as a stranger needs it. Spans point into the arena. */
struct signed_vote {
    struct span header; /* of the request, as signed */
    struct signature signature;
    struct span call;
    uint32_t position; /* of the call in its request */
    uint32_t call_path_count;
    const struct digest *call_path;
};

struct chain_link {
    struct span proposal;
    uint32_t vote_count; /* 0..MEMBERS_MAX: those besides the passing one */
    struct signed_vote votes[MEMBERS_MAX];
    struct span receipt;     /* of the passing vote */
    struct span certificate; /* of the batch behind it */
};

MUST_USE enum codec_result chain_link_decode(struct chain_link *out, struct arena *arena,
                                             struct span bytes);
MUST_USE bool chain_link_encode(struct buffer *out, const struct chain_link *in);

#define CHAIN_VERSION 1u

MUST_USE enum codec_result chain_header_decode(struct span *genesis, struct arena *arena,
                                               struct span bytes);
MUST_USE bool chain_header_encode(struct buffer *out, struct span genesis);

#endif
