/*
 * session_internal: what session.c (requests, retries, rejections), session_batch.c (replies,
 * results, certificates) and session_chain.c (later configurations) share. Each slot that a replica
 * can fill is its own, so what one sends never displaces what another has sent.
 */
#ifndef ONUS_CLIENT_SESSION_INTERNAL_H
#define ONUS_CLIENT_SESSION_INTERNAL_H

#include "client/session.h"

#define SESSION_BUCKETS 8192u
static_assert((SESSION_BUCKETS & (SESSION_BUCKETS - 1)) == 0, "a hash is cut with a mask");
static_assert(SESSION_BUCKETS >= 2 * SESSION_IN_FLIGHT_MAX, "chains stay short");

/* A request without a receipt. */
struct flight {
    struct flight *chain; /* next in the bucket */
    struct flight *previous;
    struct flight *next;    /* in the order of submission */
    struct request request; /* id, digest, min_index, call_count and bytes; no calls */
    uint8_t *bytes;         /* owns request.bytes */
    void *tag;
    uint64_t submitted_ms;
    uint64_t retry_ms;
    uint32_t retry_delay_ms;
    uint64_t busy_ms; /* when to try the busy replicas again; UINT64_MAX: none is */
    uint32_t busy_delay_ms;
    uint32_t query_next;        /* whom to ask for a receipt at the next retry */
    uint64_t unsent;            /* sets of replicas, as bitmaps: the frame was not taken */
    uint64_t busy;              /* said BUSY since the last try */
    uint64_t late;              /* said EXPIRED, or AUTHOR: it may have been executed before */
    uint64_t refused;           /* said that it was never good */
    uint64_t unknown;           /* said UNKNOWN since everybody was asked */
    bool asked_all;             /* everybody was asked for a receipt, since it is late */
    enum reject_reason delay;   /* what the first of `late` said */
    enum reject_reason refusal; /* what the first of `refused` said */
};

/* What one replica said about its own vote for one batch. */
struct reply_slot {
    bool present;
    uint64_t view;
    uint64_t seq;
    struct digest pre_prepare_digest;
    struct signature signature;
    struct nonce nonce;
};

/* What one replica claims about the results of one batch, until the batch is certified. */
struct claim {
    uint32_t from;
    uint64_t order; /* of arrival */
    struct arena arena;
    struct result_message message;
    struct pre_prepare pre_prepare;
    struct digest digest; /* of the pre-prepare with its signature */
};

struct peer {
    bool up;
    bool distrusted;
    bool has_status;
    struct status_reply_message status;
    uint8_t last_error[256];
    struct reply_slot *replies;               /* SESSION_REPLIES_MAX, by seq */
    struct claim *claims[SESSION_CLAIMS_MAX]; /* by seq */
    size_t claims_size;
};

/* A batch that has been certified. */
struct certified {
    bool present;
    struct digest digest;
    struct digest certificate_digest;
    struct pre_prepare pre_prepare;
    struct buffer certificate;
};

/*
 * The search for links of the governance chain. At most one query is under way; each replica is
 * asked once a round, and rounds that lead nowhere come ever less often.
 */
struct chain_search {
    bool wanted;     /* somebody speaks of a later configuration */
    bool asking;     /* a query is under way, to `replica` */
    bool ended;      /* configured was called: wait for session_reconfigure */
    uint64_t known;  /* the newest configuration that the links lead to */
    uint64_t asked;  /* in this round: a bitmap */
    uint64_t due_ms; /* while asking: patience ends; else: the next round may begin */
    uint32_t replica;
    uint32_t pause_ms; /* after a round that leads nowhere */
};

struct session {
    struct configuration configuration;
    struct session_effects effects;
    struct chain_search search;
    struct flight *buckets[SESSION_BUCKETS];
    struct flight *first;
    struct flight *last;
    uint32_t in_flight;
    size_t in_flight_size;
    uint64_t deadline_ms;
    uint32_t latency_ms; /* smoothed time from submission to receipt */
    uint64_t arrivals;   /* claims so far */
    uint64_t verified_count;
    struct arena scratch; /* of the frame that came in */
    struct buffer frame;
    struct peer peers[REPLICAS_MAX];
    struct certified certified[SESSION_CERTIFIED_MAX]; /* by seq */
};

static inline uint64_t replica_bit(uint32_t replica) {
    return (uint64_t)1 << replica;
}

struct flight *session_find_flight(struct session *session, const struct digest *request_id);
/* Report the flight's receipts and forget it. */
void session_complete(struct session *session, struct flight *flight,
                      const struct request_result *result, const struct certified *certified,
                      uint64_t now_ms);
void session_distrust(struct session *session, uint32_t replica, const char *why);
/* session_tick is wanted at that time. */
void session_wake_at(struct session *session, uint64_t when_ms);

/* session_batch.c: the messages that make certificates. */
void session_take_reply(struct session *session, uint32_t replica, struct span payload,
                        uint64_t now_ms);
void session_take_result(struct session *session, uint32_t replica, struct span payload,
                         uint64_t now_ms);
void session_take_receipt(struct session *session, uint32_t replica, struct span payload,
                          uint64_t now_ms);
void session_drop_claim(struct session *session, uint32_t replica, uint32_t slot);

/* session_chain.c: later configurations. */
void session_begin_search(struct session *session);
/* A replica speaks of something that is not of our configuration. */
void session_suspect(struct session *session, uint32_t replica, uint64_t now_ms);
void session_take_links(struct session *session, uint32_t replica, struct span payload,
                        uint64_t now_ms);
/* The link to a replica went down, or time has passed. */
void session_search_down(struct session *session, uint32_t replica, uint64_t now_ms);
void session_search_tick(struct session *session, uint64_t now_ms);

#endif
