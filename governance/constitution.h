/*
 * constitution: who and what is under governance (protocol §9): look-ups, the digest that votes
 * are about, and the configuration that statements are judged against. The founding one follows
 * from genesis (founding.h), each other one from the one before it and a proposal (proposal.h).
 *
 * Invariant of every constitution that comes out of this room: names are distinct in their list,
 * keys and TLS digests over all of it, and every key may be admitted (§2).
 */
#ifndef ONUS_GOVERNANCE_CONSTITUTION_H
#define ONUS_GOVERNANCE_CONSTITUTION_H

#include "ledger/codec_governance.h"
#include "ledger/configuration.h"

/* What statements are judged against, once this constitution is in force. */
void constitution_configuration(struct configuration *out, const struct constitution *in);

/* LABEL_CONSTITUTION of its encoding. Returns: false when memory is short. */
MUST_USE bool constitution_digest(struct digest *out, const struct constitution *in);

/* Decode, and check what decoding does not: CODEC_MISMATCH when a key is bad, or used twice. */
MUST_USE enum codec_result constitution_open(struct constitution *out, struct arena *arena,
                                             const struct digest *service, struct span bytes);

/* ---- look-ups: false: there is no such one ---- */

bool constitution_find_member(const struct constitution *in, struct span name, uint32_t *position);
bool constitution_find_user(const struct constitution *in, struct span name, uint32_t *position);
/* Whose key is it? */
bool constitution_find_member_key(const struct constitution *in, const struct public_key *key,
                                  uint32_t *position);
bool constitution_find_replica(const struct constitution *in, const struct public_key *key,
                               uint32_t *position);
/* Is it anybody's, in whatever role? */
bool constitution_has_key(const struct constitution *in, const struct public_key *key);

/* ---- keys ---- */

/* A key that must not be in a constitution, and whose it would be. */
struct bad_key {
    struct public_key key;
    bool twice; /* else it may not be admitted, and these say whose it is: */
    enum holder_role role;
    uint32_t position;
};

/* Returns: false when there is none. */
bool constitution_find_bad_key(const struct constitution *in, struct bad_key *out);

/* ---- voting ---- */

/* Do so many of so many members suffice? */
bool voting_rule_passes(const struct voting_rule *rule, uint32_t yes, uint32_t members);
/* Can it no longer pass, whatever the others say? */
bool voting_rule_fails(const struct voting_rule *rule, uint32_t no, uint32_t members);

#endif
