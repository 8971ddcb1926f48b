/*
 * hash: SHA-256, and the domain-separated digests of the protocol (§2).
 *
 * One function for the whole project, over nettle, which uses the CPU's SHA instructions
 * (docs/performance.md has the comparison). A hash_state is plain memory: copy it to fork it.
 */
#ifndef ONUS_BASE_HASH_H
#define ONUS_BASE_HASH_H

#include <nettle/sha2.h>

#include "base/bytes.h"

struct hash_state {
    struct sha256_ctx sha256;
};

void hash_init(struct hash_state *state);
void hash_update(struct hash_state *state, struct span bytes);
void hash_update_u32(struct hash_state *state, uint32_t value); /* big endian */
void hash_update_u64(struct hash_state *state, uint64_t value); /* big endian */
struct digest hash_final(struct hash_state *state);

/* SHA-256 of one run of bytes. */
struct digest hash_bytes(struct span bytes);

/*
 * What a digest or a signature is about. Each has its own ASCII label, "onus/v1/<name>", so that
 * bytes made for one purpose are worthless for every other.
 */
enum label {
    LABEL_FOUNDING,       /* digest of the genesis prologue: what founding endorsements bind */
    LABEL_GENESIS,        /* digest of the genesis transaction: the service id */
    LABEL_ENDORSEMENT,    /* signature of a member under a replica's endorsement */
    LABEL_REQUEST,        /* signature of a user or member under a request header */
    LABEL_REQUEST_ID,     /* digest of a request header: the transaction id */
    LABEL_REQUEST_DIGEST, /* digest of a request header and its signature */
    LABEL_OUTCOME,        /* digest of an encoded outcome */
    LABEL_WRITE_SET,      /* digest of the writes of one call */
    LABEL_PRE_PREPARE,    /* signature of a primary; digest of a pre-prepare with signature */
    LABEL_BATCH,          /* digest of a pre-prepare body without its nonce commitment */
    LABEL_PREPARE,        /* signature of a backup */
    LABEL_NONCE,          /* hash of a nonce: the commitment */
    LABEL_NONCE_SECRET,   /* derivation of a nonce from a replica's secret */
    LABEL_CHECKPOINT,     /* digest of a checkpoint header, d_C */
    LABEL_WINDOW,         /* digest of one batch's part of the replay window */
    LABEL_SERVED_RANGE,   /* signature of a replica under what it handed to an auditor */
    LABEL_SERVED_BYTES,   /* digest of those bytes */
    LABEL_DEMAND,         /* signature of an auditor who demands; digest with that signature */
    LABEL_DEMAND_REPORT,  /* signature of an auditor under who answered what */
    LABEL_VIEW_CHANGE,    /* signature of a replica under its view-change */
    LABEL_NEW_VIEW,       /* signature of a new primary under its new-view */
    LABEL_PROPOSAL,       /* digest of a proposal: its id, and what a vote is about */
    LABEL_CONSTITUTION,   /* digest of a constitution */
    LABEL_REPLICA_GIVEN,  /* signature of a member for a replica that a proposal brings in */
    LABEL_POSSESSION,     /* signature of a new key: that it is to be used */
    LABEL_SEGMENT,        /* check of a segment file's header */
    LABEL_RECORD,         /* check of one record of a segment file */
    LABEL_JOURNAL,        /* check of a journal's header and of each of its records */
    LABEL_COUNT
};

/* The label's ASCII text, without its terminating zero byte. */
struct span label_text(enum label label);

/* Start a digest: label, one zero byte, the service id (§2). */
void hash_init_labelled(struct hash_state *state, enum label label, const struct digest *service);

/* The labelled digest of one body. */
struct digest hash_labelled(enum label label, const struct digest *service, struct span body);

/*
 * The digest of a signed statement covers its signature (§3): label, zero byte, service id, body,
 * signature. The signature has a fixed length, so the boundary is unambiguous.
 */
struct digest hash_statement(enum label label, const struct digest *service, struct span body,
                             const struct signature *signature);

/* HMAC-SHA-256 of a labelled body under a 32-byte secret: the PRF of the nonce derivation (§3). */
struct nonce hash_prf(enum label label, const struct digest *service,
                      const uint8_t secret[static 32], struct span body);

#endif
