/*
 * codec_served: what an auditor demands of a replica, and what the replica signs when it hands that
 * over (protocol §10). Strict, as everything in ledger/codec.h.
 *
 * An answer binds the demand, so that it cannot be passed off as the answer to another one, and the
 * bytes, so that the replica is held to them. Whether those are sound is ledger/served.h's
 * question.
 */
#ifndef ONUS_LEDGER_CODEC_SERVED_H
#define ONUS_LEDGER_CODEC_SERVED_H

#include "ledger/codec.h"

#define CHALLENGE_SIZE 32u

/* What can be demanded, and as which message of ledger/wire.h its bytes are encoded. */
enum served_part {
    SERVED_ENTRIES = 1, /* a range_message */
    SERVED_OFFER = 2,   /* a checkpoint_offer_message */
    SERVED_DIGESTS = 3, /* a checkpoint_digests_message */
    SERVED_ITEMS = 4    /* a checkpoint_items_message */
};

/* A challenge to one replica. Signed with LABEL_DEMAND by its author. */
struct demand {
    struct public_key author; /* of a user or member */
    uint8_t challenge[CHALLENGE_SIZE];
    uint32_t replica;
    uint64_t time_ms;     /* by the author's clock */
    uint64_t deadline_ms; /* 1..: so long after that */
    enum served_part part;
    uint64_t seq;   /* of the checkpoint; 0 for entries and an offer, and only then */
    uint64_t first; /* the first entry, or group of items; 0 for an offer */
};

MUST_USE enum codec_result demand_decode(struct demand *out, struct arena *arena, struct span body);
MUST_USE bool demand_encode(struct buffer *out, const struct demand *in);

/*
 * What a replica says of the bytes that it hands over. Signed with LABEL_SERVED_RANGE. It names the
 * constitutions themselves, since a number alone would leave it to whoever forks the chain what was
 * in force.
 */
struct served {
    uint64_t config; /* in which it has the number: */
    uint32_t replica;
    struct digest constitution;       /* LABEL_CONSTITUTION: of `config` */
    uint64_t range_config;            /* in which all entries lie, 1..config; else `config` */
    struct digest range_constitution; /* of that one */
    struct digest demand;             /* LABEL_DEMAND, with signature */
    enum served_part part;
    uint64_t seq;   /* of the checkpoint; 0 for entries, and for an offer of nothing */
    uint64_t first; /* entries, or groups, [first, end); empty: there is nothing there */
    uint64_t end;
    uint64_t available;   /* so many entries, or groups, it could hand over; 0 for an offer */
    struct digest digest; /* LABEL_SERVED_BYTES */
};

/*
 * CODEC_MISMATCH: end before first, a part with numbers that it does not have, or entries of a
 * later configuration than the replica's, or of its own with another constitution.
 */
MUST_USE enum codec_result served_decode(struct served *out, struct arena *arena, struct span body);
MUST_USE bool served_encode(struct buffer *out, const struct served *in);

/* A demand and an answer as messages: the one is an encoded Signed, the other this. */
struct served_message {
    struct signed_body statement; /* an encoded served */
    struct span payload;
};

MUST_USE enum codec_result served_message_decode(struct served_message *out, struct arena *arena,
                                                 struct span payload);
MUST_USE bool served_message_encode(struct buffer *out, const struct served_message *in);

#endif
