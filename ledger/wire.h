/*
 * wire: the messages that travel on links. A frame is: payload size (4 bytes, big endian), kind
 * (1 byte), payload (protobuf, ledger/onus.proto). Decoding is as strict as in ledger/codec.h and
 * follows the same ownership rules. Statements stay the bytes their author signed.
 */
#ifndef ONUS_LEDGER_WIRE_H
#define ONUS_LEDGER_WIRE_H

#include "ledger/codec.h"

#define FRAME_HEADER_SIZE 5u

/* How many digests one message may ask for or name, and how many entries a range may hold. */
#define WIRE_DIGESTS_MAX BATCH_CALLS_MAX
#define WIRE_REQUESTS_MAX 256u
#define WIRE_ENTRIES_MAX (BATCH_CALLS_MAX + 2u) /* a whole batch always fits */
#define WIRE_RESULTS_MAX BATCH_CALLS_MAX
#define STATUS_ERROR_SIZE_MAX 256u
#define WIRE_ITEMS_MAX 16384u /* of the state, in one message */
#define WIRE_LINKS_MAX 256u   /* of the governance chain, in one message */
/* What links in one message may have together, each with WIRE_LINK_EXTRA for its tag and length. */
#define WIRE_LINKS_SIZE_MAX (FRAME_SIZE_MAX - FRAME_HEADER_SIZE - 64u)
#define WIRE_LINK_EXTRA 8u

enum message_kind {
    /* between replicas */
    MESSAGE_PRE_PREPARE = 1,
    MESSAGE_PREPARE = 2, /* payload: a Signed */
    MESSAGE_COMMIT = 3,
    MESSAGE_STATUS = 4,
    MESSAGE_FETCH_REQUESTS = 5,
    MESSAGE_REQUESTS = 6,
    MESSAGE_FETCH_RANGE = 7,
    MESSAGE_RANGE = 8,
    MESSAGE_VIEW_CHANGE = 9, /* payload: a Signed */
    MESSAGE_NEW_VIEW = 10,
    MESSAGE_FETCH_CHECKPOINT = 11,
    MESSAGE_CHECKPOINT_OFFER = 12,
    MESSAGE_CHECKPOINT_DIGESTS = 13,
    MESSAGE_CHECKPOINT_ITEMS = 14,
    /* client to replica */
    MESSAGE_REQUEST = 32, /* payload: an encoded request */
    MESSAGE_STATUS_QUERY = 33,
    MESSAGE_RECEIPT_QUERY = 34,
    MESSAGE_DEMAND = 35,      /* payload: a Signed; see ledger/codec_served.h */
    MESSAGE_CHAIN_QUERY = 36, /* also between replicas: one that joins asks, like a client */
    /* replica to client */
    MESSAGE_REPLY = 64,
    MESSAGE_RESULT = 65,
    MESSAGE_REJECT = 66,
    MESSAGE_STATUS_REPLY = 67,
    MESSAGE_RECEIPT_REPLY = 68,
    MESSAGE_SERVED = 69,     /* see ledger/codec_served.h */
    MESSAGE_CHAIN_REPLY = 70 /* also to a replica that joins */
};

/*
 * Largest payload of a kind, or 0 for a number that names no kind. Checked on the header alone;
 * decoders may be stricter.
 */
size_t message_size_max(uint8_t kind);

struct pre_prepare_message {
    struct signed_body statement;
    struct span evidence; /* an encoded evidence entry; empty when there is none */
    uint32_t request_count;
    const struct digest *request_digests;
};

struct commit_message {
    uint64_t config;
    uint64_t view;
    uint64_t seq;
    uint32_t replica;
    struct nonce nonce;
};

struct status_message {
    uint64_t config;
    uint64_t view;       /* of its ledger */
    uint64_t asked_view; /* it signs nothing for views below this one */
    uint64_t executed_seq;
    uint64_t committed_seq;
    uint64_t evidenced_seq;     /* the last batch whose evidence is in this replica's ledger */
    uint64_t evidenced_entries; /* entries up to the end of the batch that carries it */
    bool wants_answer;          /* the sender is stuck: send what it lacks */
    bool suspects;              /* it would ask for the view after its own */
};

/* A new view as its primary sends it and others pass it on: the two entries of the ledger. */
struct new_view_message {
    struct span set;      /* an encoded view_change_set */
    struct span new_view; /* an encoded Signed */
};

struct fetch_requests_message {
    uint64_t seq;
    uint32_t digest_count; /* 1..WIRE_REQUESTS_MAX */
    const struct digest *digests;
};

struct requests_message {
    uint32_t count; /* 1..WIRE_REQUESTS_MAX */
    const struct span *requests;
};

struct range_message {
    uint64_t first_entry;
    uint32_t count; /* 0..WIRE_ENTRIES_MAX; 0: nothing there yet */
    const struct entry *entries;
};

enum checkpoint_part { CHECKPOINT_OFFER = 1, CHECKPOINT_DIGESTS = 2, CHECKPOINT_ITEMS = 3 };

struct fetch_checkpoint_message {
    enum checkpoint_part part;
    uint64_t seq;         /* of the checkpoint; 0 for an offer, and only then */
    uint64_t first_group; /* 0 for an offer */
};

/* The checkpoint that can be had. seq 0: there is none, and everything else is empty. */
struct checkpoint_offer_message {
    uint64_t seq;
    struct span certificate; /* encoded: of a batch that carries the checkpoint's digest */
    struct span snapshot;    /* an encoded checker_snapshot without window and anchors */
    uint64_t first_entry;    /* the joiner's ledger begins here, between two batches */
    uint64_t first_leaves;   /* of M before that entry */
    struct span peaks;       /* M's frontier there: digests, concatenated */
};

struct checkpoint_digests_message {
    uint64_t seq;
    uint64_t first_group;
    uint32_t count; /* 0..WIRE_DIGESTS_MAX; 0: that checkpoint is no longer there */
    const struct digest *digests;
};

struct checkpoint_items_message {
    uint64_t seq;
    uint64_t first_group;
    uint32_t count;                 /* 0..WIRE_ITEMS_MAX; 0: that checkpoint is no longer there */
    const struct state_item *items; /* key order is not checked here */
};

struct reply_message {
    uint64_t view;
    uint64_t seq;
    uint32_t replica;
    struct digest pre_prepare_digest;
    struct signature signature; /* of the prepare; for the primary of the pre-prepare */
    struct nonce nonce;
};

struct request_result {
    struct digest request_id;
    uint64_t first_index;
    uint64_t leaf; /* of the first call in the batch tree */
    uint32_t outcome_count;
    const struct span *outcomes;
    uint32_t flank_count;
    const struct digest *flanks;
};

struct result_message {
    struct signed_body pre_prepare;
    uint32_t count; /* 1..WIRE_RESULTS_MAX */
    const struct request_result *results;
};

enum reject_reason {
    REJECT_BUSY = 1,
    REJECT_MALFORMED = 2,
    REJECT_SIGNATURE = 3,
    REJECT_AUTHOR = 4,
    REJECT_EXPIRED = 5,
    REJECT_TOO_EARLY = 6,
    REJECT_UNKNOWN = 7,
    REJECT_NOT_VOTING = 8
};

struct reject_message {
    struct digest request_id; /* zero when the request could not be read */
    enum reject_reason reason;
    uint64_t next_index;
};

struct status_reply_message {
    struct digest service;
    uint32_t replica;
    uint64_t config;
    uint64_t view;
    uint32_t primary;
    uint64_t executed_seq;
    uint64_t committed_seq;
    uint64_t next_index;      /* of the next transaction to be executed */
    uint64_t committed_index; /* transactions committed */
    uint64_t ledger_size;     /* bytes */
    bool voting;
    struct span last_error; /* 0..STATUS_ERROR_SIZE_MAX, no control characters; empty: all well */
};

struct receipt_reply_message {
    struct digest request_id;
    struct span certificate;
    struct request_result result;
};

struct chain_reply_message {
    uint64_t config;          /* 1..: the newest that the replica has a link to; 1: it has none */
    uint32_t link_count;      /* 0..WIRE_LINKS_MAX, and less than config */
    const struct span *links; /* each 1..CHAIN_LINK_SIZE_MAX: encoded, not judged here */
};

/* Decoders: input is the frame's payload. Encoders append the payload, without frame header. */
MUST_USE enum codec_result pre_prepare_message_decode(struct pre_prepare_message *out,
                                                      struct arena *arena, struct span payload);
MUST_USE bool pre_prepare_message_encode(struct buffer *out, const struct pre_prepare_message *in);
MUST_USE enum codec_result new_view_message_decode(struct new_view_message *out,
                                                   struct arena *arena, struct span payload);
MUST_USE bool new_view_message_encode(struct buffer *out, const struct new_view_message *in);
MUST_USE enum codec_result commit_message_decode(struct commit_message *out, struct arena *arena,
                                                 struct span payload);
MUST_USE bool commit_message_encode(struct buffer *out, const struct commit_message *in);
MUST_USE enum codec_result status_message_decode(struct status_message *out, struct arena *arena,
                                                 struct span payload);
MUST_USE bool status_message_encode(struct buffer *out, const struct status_message *in);
MUST_USE enum codec_result fetch_requests_message_decode(struct fetch_requests_message *out,
                                                         struct arena *arena, struct span payload);
MUST_USE bool fetch_requests_message_encode(struct buffer *out,
                                            const struct fetch_requests_message *in);
MUST_USE enum codec_result requests_message_decode(struct requests_message *out,
                                                   struct arena *arena, struct span payload);
MUST_USE bool requests_message_encode(struct buffer *out, const struct requests_message *in);
MUST_USE enum codec_result fetch_range_message_decode(uint64_t *first_entry, struct arena *arena,
                                                      struct span payload);
MUST_USE bool fetch_range_message_encode(struct buffer *out, uint64_t first_entry);
MUST_USE enum codec_result range_message_decode(struct range_message *out, struct arena *arena,
                                                struct span payload);
MUST_USE bool range_message_encode(struct buffer *out, const struct range_message *in);
MUST_USE enum codec_result fetch_checkpoint_message_decode(struct fetch_checkpoint_message *out,
                                                           struct arena *arena,
                                                           struct span payload);
MUST_USE bool fetch_checkpoint_message_encode(struct buffer *out,
                                              const struct fetch_checkpoint_message *in);
MUST_USE enum codec_result checkpoint_offer_message_decode(struct checkpoint_offer_message *out,
                                                           struct arena *arena,
                                                           struct span payload);
MUST_USE bool checkpoint_offer_message_encode(struct buffer *out,
                                              const struct checkpoint_offer_message *in);
MUST_USE enum codec_result checkpoint_digests_message_decode(struct checkpoint_digests_message *out,
                                                             struct arena *arena,
                                                             struct span payload);
MUST_USE bool checkpoint_digests_message_encode(struct buffer *out,
                                                const struct checkpoint_digests_message *in);
MUST_USE enum codec_result checkpoint_items_message_decode(struct checkpoint_items_message *out,
                                                           struct arena *arena,
                                                           struct span payload);
MUST_USE bool checkpoint_items_message_encode(struct buffer *out,
                                              const struct checkpoint_items_message *in);

MUST_USE enum codec_result reply_message_decode(struct reply_message *out, struct arena *arena,
                                                struct span payload);
MUST_USE bool reply_message_encode(struct buffer *out, const struct reply_message *in);
MUST_USE enum codec_result result_message_decode(struct result_message *out, struct arena *arena,
                                                 struct span payload);
MUST_USE bool result_message_encode(struct buffer *out, const struct result_message *in);
MUST_USE enum codec_result reject_message_decode(struct reject_message *out, struct arena *arena,
                                                 struct span payload);
MUST_USE bool reject_message_encode(struct buffer *out, const struct reject_message *in);
/* Its payload is empty. */
MUST_USE enum codec_result status_query_decode(struct arena *arena, struct span payload);
MUST_USE enum codec_result status_reply_message_decode(struct status_reply_message *out,
                                                       struct arena *arena, struct span payload);
MUST_USE bool status_reply_message_encode(struct buffer *out,
                                          const struct status_reply_message *in);
MUST_USE enum codec_result receipt_query_decode(struct digest *request_id, struct arena *arena,
                                                struct span payload);
MUST_USE bool receipt_query_encode(struct buffer *out, const struct digest *request_id);
MUST_USE enum codec_result receipt_reply_message_decode(struct receipt_reply_message *out,
                                                        struct arena *arena, struct span payload);
MUST_USE bool receipt_reply_message_encode(struct buffer *out,
                                           const struct receipt_reply_message *in);
/* config: 1.. */
MUST_USE enum codec_result chain_query_decode(uint64_t *config, struct arena *arena,
                                              struct span payload);
MUST_USE bool chain_query_encode(struct buffer *out, uint64_t config);
MUST_USE enum codec_result chain_reply_message_decode(struct chain_reply_message *out,
                                                      struct arena *arena, struct span payload);
MUST_USE bool chain_reply_message_encode(struct buffer *out, const struct chain_reply_message *in);

/* Write a frame header for a payload of this size. */
void frame_header_encode(uint8_t out[static FRAME_HEADER_SIZE], enum message_kind kind,
                         size_t payload_size);

#endif
