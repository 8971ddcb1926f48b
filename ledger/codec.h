/*
 * codec: the one place where bytes become statements, entries and messages, and back.
 *
 * Encodings are protobuf (ledger/onus.proto). Decoding is strict (protocol §2): sizes and counts
 * are checked against base/limits.h, memory comes from the caller's arena, unknown fields at any
 * depth are refused, and what was decoded must repack to the very same bytes. Decoded values are
 * plain C structs; the spans in them point into the arena, or where noted into the input.
 *
 * Ownership: the caller owns arena and input; a decoded value is valid until the arena is reset.
 */
#ifndef ONUS_LEDGER_CODEC_H
#define ONUS_LEDGER_CODEC_H

#include "base/arena.h"
#include "base/bytes.h"
#include "base/hash.h"
#include "base/limits.h"

/* Why bytes were refused. 0 is success; codec_result_text gives words for a person. */
enum codec_result {
    CODEC_OK = 0,
    CODEC_OVERSIZE,      /* larger than the named limit for its kind */
    CODEC_SYNTAX,        /* not protobuf, or over the memory budget */
    CODEC_NOT_CANONICAL, /* unknown fields, or does not repack to the same bytes */
    CODEC_LENGTH,        /* a digest, key, signature, nonce or text of the wrong length */
    CODEC_RANGE,         /* an enum, count or number out of range */
    CODEC_MISMATCH       /* parts that do not belong together: a root or count does not match */
};

const char *codec_result_text(enum codec_result result);

/* ---- requests -------------------------------------------------------------------------------- */

enum request_mode { REQUEST_INDEPENDENT = 1, REQUEST_ATOMIC = 2 };

struct call {
    struct span bytes; /* as encoded: a leaf of the calls tree */
    struct span procedure;
    uint32_t argument_count;
    struct span arguments[ARGUMENTS_MAX];
};

/* A client's signed request (§3). */
struct request {
    struct span bytes;  /* the whole request as encoded, the caller's input */
    struct span header; /* what the author signed, label LABEL_REQUEST */
    struct signature signature;
    struct public_key author;
    uint64_t min_index;
    uint8_t nonce[REQUEST_NONCE_SIZE];
    enum request_mode mode;
    uint32_t call_count; /* 1..CALLS_MAX */
    struct digest calls_root;
    struct call *calls;   /* call_count of them */
    struct digest id;     /* LABEL_REQUEST_ID of the header: the transaction id, replay identity */
    struct digest digest; /* LABEL_REQUEST_DIGEST of header and signature: `digest of t` */
};

/* Decode and check everything but the signature: counts, sizes, calls root. */
MUST_USE enum codec_result request_decode(struct request *request, struct arena *arena,
                                          const struct digest *service, struct span bytes);

/* Only header and derived digests (calls stay NULL): what a receipt carries. `bytes` is empty. */
MUST_USE enum codec_result request_header_decode(struct request *request, struct arena *arena,
                                                 const struct digest *service, struct span header,
                                                 const struct signature *signature);

MUST_USE enum codec_result call_decode(struct call *call, struct arena *arena, struct span bytes);

/*
 * Each encoder appends to out. Returns false when out's limit or memory is exhausted or a count is
 * over its limit; out->failed is then set and what was appended is unusable.
 */
MUST_USE bool call_encode(struct buffer *out, struct span procedure, uint32_t argument_count,
                          const struct span *arguments);
/* calls: call_count encoded calls. Computes the calls root. */
MUST_USE bool request_header_encode(struct buffer *out, const struct public_key *author,
                                    uint64_t min_index, const uint8_t nonce[REQUEST_NONCE_SIZE],
                                    enum request_mode mode, uint32_t call_count,
                                    const struct span *calls);
MUST_USE bool request_encode(struct buffer *out, struct span header,
                             const struct signature *signature, uint32_t call_count,
                             const struct span *calls);

/* ---- outcomes -------------------------------------------------------------------------------- */

enum outcome_status {
    OUTCOME_OK = 1,
    OUTCOME_REFUSED = 2, /* the procedure said no: reply item 0 says why */
    OUTCOME_INVALID = 3, /* unknown procedure or wrong arguments: reply item 0 says which */
    OUTCOME_ABORTED = 4  /* another call of the same atomic request did not succeed */
};

struct outcome {
    enum outcome_status status;
    uint32_t reply_count; /* 0..REPLY_ITEMS_MAX */
    const struct span *reply;
    struct digest write_digest;
};

MUST_USE enum codec_result outcome_decode(struct outcome *outcome, struct arena *arena,
                                          struct span bytes);
MUST_USE bool outcome_encode(struct buffer *out, const struct outcome *outcome);

/* ---- statements ------------------------------------------------------------------------------ */

enum batch_kind {
    BATCH_NORMAL = 1,
    BATCH_END_OF_CONFIGURATION = 2,
    BATCH_START_OF_CONFIGURATION = 3
};

/* A primary's statement about one batch (§3). */
struct pre_prepare {
    uint64_t config;
    uint64_t view;
    uint64_t seq; /* 1.. */
    uint64_t view_start;
    struct digest ledger_root; /* of M, just before this entry */
    uint64_t ledger_leaves;
    struct digest batch_root; /* of G */
    uint64_t first_index;
    uint32_t tx_count;
    enum batch_kind kind;
    struct digest nonce_hash;
    uint64_t evidence_upto;
    uint32_t evidence_count; /* newly evidenced batches, up to evidence_upto */
    uint64_t evidence_signers[EVIDENCE_BATCHES_MAX];
    uint64_t gov_index;
    uint64_t checkpoint_seq;
    struct digest checkpoint_digest;
    uint64_t time_ms; /* since the epoch, the primary's clock */
};

MUST_USE enum codec_result pre_prepare_decode(struct pre_prepare *out, struct arena *arena,
                                              struct span body);
MUST_USE bool pre_prepare_encode(struct buffer *out, const struct pre_prepare *in);
/* The digest a nonce is derived from: the body with an empty commitment (§3, LABEL_BATCH). */
MUST_USE bool pre_prepare_batch_digest(struct digest *out, const struct digest *service,
                                       const struct pre_prepare *in);

/* A backup's statement about one batch (§3). Its bytes follow from its fields. */
struct prepare {
    uint64_t config;
    uint64_t view;
    uint64_t seq;
    uint32_t replica;
    struct digest pre_prepare_digest;
    struct digest nonce_hash;
};

MUST_USE enum codec_result prepare_decode(struct prepare *out, struct arena *arena,
                                          struct span body);
MUST_USE bool prepare_encode(struct buffer *out, const struct prepare *in);

/* The commitment to a nonce, bound to who uses it where (§3). */
struct digest nonce_commit(const struct digest *service, uint64_t config, uint32_t replica,
                           uint64_t view, uint64_t seq, const struct nonce *nonce);

/* A member's statement that it operates a replica (§1). Spans point into the arena. */
struct endorsement {
    uint32_t member;
    uint32_t replica;
    struct public_key replica_key;
    struct digest tls_digest; /* SHA-256 of the TLS certificate's public key, DER */
    struct span peer_address; /* host:port, for other replicas */
    struct span client_address;
};

MUST_USE enum codec_result endorsement_decode(struct endorsement *out, struct arena *arena,
                                              struct span body);
MUST_USE bool endorsement_encode(struct buffer *out, const struct endorsement *in);

/* A body with its author's signature. */
struct signed_body {
    struct span body;
    struct signature signature;
};

/* size_max bounds the whole encoding; the body is not empty. */
MUST_USE enum codec_result signed_decode(struct signed_body *out, struct arena *arena,
                                         struct span bytes, size_t size_max);
MUST_USE bool signed_encode(struct buffer *out, const struct signed_body *in);

/* ---- genesis --------------------------------------------------------------------------------- */

/* What all replicas must agree on, fixed at genesis and changed by governance alone. */
struct parameters {
    uint32_t pipeline; /* P: 1..PIPELINE_MAX */
    uint64_t
        checkpoint_interval;  /* C, in batches: checkpoint_interval_min..CHECKPOINT_INTERVAL_MAX */
    uint64_t window;          /* W, in transaction indices: BATCH_CALLS_MAX..WINDOW_MAX */
    uint32_t batch_calls_max; /* CALLS_MAX..BATCH_CALLS_MAX */
    uint32_t batch_size_soft_max; /* bytes of requests and outcomes; one request may exceed it */
};

/*
 * The least C for a pipeline P. A batch carries the digest of the last checkpoint but one, whose
 * batch must be settled by then. Settling may lag two pipelines: one until evidence for a batch is
 * in the ledger, one until that evidence is itself evidenced. And who follows a new view by ranges
 * settles nothing behind its cut e, up to which evidence reaches from e - P on, before it has seen
 * all that the view took over evidenced, at batch e + 2 P.
 */
static inline uint64_t checkpoint_interval_min(uint32_t pipeline) {
    return 3 * (uint64_t)pipeline;
}

/* Can a service run with these? Genesis and proposals are held to it. */
MUST_USE bool parameters_sound(const struct parameters *parameters);

struct named_key {
    struct span name; /* 1..NAME_SIZE_MAX of [a-z0-9.-], unique in its list */
    struct public_key key;
};

#define GENESIS_VERSION 1u

/* No service exists before genesis: both digests below are labelled with a service id of zeros. */
struct genesis {
    struct span bytes; /* the caller's input */
    struct span prologue;
    struct digest founding; /* LABEL_FOUNDING of the prologue: the service id of endorsements */
    struct digest service;  /* LABEL_GENESIS of bytes: the service id */
    struct span name;
    uint8_t salt[32];
    uint64_t time_ms;
    struct parameters parameters;
    uint32_t member_count;
    const struct named_key *members;
    uint32_t replica_count;                 /* REPLICAS_MIN..REPLICAS_MAX */
    const struct signed_body *endorsements; /* replica r's is item r; signatures NOT yet checked */
    const struct endorsement *replicas;
    uint32_t user_count;
    const struct named_key *users;
};

/*
 * Decode and check structure: limits, distinct names and keys, endorsements in replica order that
 * name existing members. Keys and signatures are checked by constitution_found.
 */
MUST_USE enum codec_result genesis_decode(struct genesis *out, struct arena *arena,
                                          struct span bytes);
/* A prologue alone: fills in prologue, name, salt, time_ms and parameters of `out`. */
MUST_USE enum codec_result genesis_prologue_decode(struct genesis *out, struct arena *arena,
                                                   struct span prologue);
MUST_USE bool genesis_prologue_encode(struct buffer *out, struct span name,
                                      const uint8_t salt[static 32], uint64_t time_ms,
                                      const struct parameters *parameters);
/* Uses prologue, members, endorsements and users of `in`. */
MUST_USE bool genesis_encode(struct buffer *out, const struct genesis *in);

/* ---- ledger entries -------------------------------------------------------------------------- */

enum entry_kind {
    ENTRY_GENESIS = 1,
    ENTRY_EVIDENCE = 2,
    ENTRY_PRE_PREPARE = 3, /* a signed_body */
    ENTRY_REQUEST = 4,
    ENTRY_VIEW_CHANGE_SET = 5,
    ENTRY_NEW_VIEW = 6
};

/* One entry as stored: its kind and its exact bytes. */
struct entry {
    enum entry_kind kind;
    struct span payload;
};

/* The evidence for one batch; signers are in the pre-prepare that the entry precedes. */
struct batch_evidence {
    uint64_t seq;
    uint32_t signature_count; /* prepares: Q - 1 */
    const struct signature *signatures;
    uint32_t nonce_count; /* Q */
    const struct nonce *nonces;
};

struct evidence {
    uint32_t batch_count; /* 1..EVIDENCE_BATCHES_MAX, ascending seq */
    struct batch_evidence batches[EVIDENCE_BATCHES_MAX];
};

MUST_USE enum codec_result evidence_decode(struct evidence *out, struct arena *arena,
                                           struct span payload);
MUST_USE bool evidence_encode(struct buffer *out, const struct evidence *in);

struct request_entry {
    struct span request; /* an encoded request */
    uint64_t first_index;
    uint32_t outcome_count;
    const struct span *outcomes; /* encoded outcomes, one a call */
};

MUST_USE enum codec_result request_entry_decode(struct request_entry *out, struct arena *arena,
                                                struct span payload);
MUST_USE bool request_entry_encode(struct buffer *out, const struct request_entry *in);

/* ---- checkpoints ----------------------------------------------------------------------------- */

struct pending_batch {
    uint64_t seq;
    uint64_t view;
    struct digest pre_prepare_digest;
    struct digest nonce_hash;
};

/*
 * What a new view must propose again for a batch that it takes over (§6): same requests, order,
 * indices and time. The outcomes come out equal, so the root of G does.
 */
struct carried_batch {
    uint64_t seq;
    struct digest batch_root;
    uint64_t first_index;
    uint32_t tx_count; /* 0..BATCH_CALLS_MAX */
    enum batch_kind kind;
    uint64_t gov_index;
    uint64_t time_ms;
};

struct checkpoint_header {
    uint64_t config;
    uint64_t view;
    uint64_t seq;
    uint64_t view_start;
    uint64_t next_index;
    uint64_t ledger_leaves; /* after batch seq */
    struct digest ledger_root;
    uint64_t evidence_upto;
    uint64_t gov_index;
    uint64_t time_ms;
    uint64_t checkpoint_seq; /* the checkpoint that batch seq itself carried */
    struct digest checkpoint_digest;
    uint64_t state_count;
    struct digest state_root;
    struct digest window_root;
    uint64_t entries;      /* of every kind, genesis included */
    uint64_t config_start; /* the last batch of the configuration before; 0: the founding one */
    uint64_t closing_seq;  /* the batch that ended with a passing vote; 0: none */
    uint32_t pending_count;
    struct pending_batch pending[EVIDENCE_BATCHES_MAX];
    uint32_t carried_count; /* batches after seq that the view took over, ascending */
    struct carried_batch carried[PIPELINE_MAX];
};

MUST_USE enum codec_result checkpoint_header_decode(struct checkpoint_header *out,
                                                    struct arena *arena, struct span bytes);
MUST_USE bool checkpoint_header_encode(struct buffer *out, const struct checkpoint_header *in);

/* One batch's part of the replay window (§5 step 1). */
struct window_batch {
    uint64_t seq;
    uint64_t first_index;
    uint64_t entry;         /* index of the pre-prepare entry in the ledger */
    uint32_t request_count; /* 1..BATCH_CALLS_MAX: an empty batch has no part in the window */
    const struct digest *request_ids;
    const uint16_t *call_counts; /* 1..CALLS_MAX each */
};

MUST_USE enum codec_result window_batch_decode(struct window_batch *out, struct arena *arena,
                                               struct span bytes);
MUST_USE bool window_batch_encode(struct buffer *out, const struct window_batch *in);

/*
 * A place just after a batch, or after genesis, from which the ledger can be continued without what
 * lies before it.
 */
struct ledger_anchor {
    uint64_t entries;  /* up to here, of every kind; 1.. */
    uint64_t leaves;   /* of M; 1..entries */
    struct span peaks; /* M's frontier: digests, concatenated: merkle/frontier.h */
};

struct checker_snapshot {
    struct span header;   /* an encoded checkpoint_header: exactly what d_C covers */
    struct span frontier; /* digests, concatenated: merkle/frontier.h */
    uint32_t window_count;
    const struct span *window; /* encoded window_batches, ascending seq */
    uint64_t window_entry;     /* pre-prepare entry of the window's first batch; 0: empty window */
    uint64_t past_entry;       /* first entry of the batches before that a replica keeps at hand;
                                  0: none */
    uint32_t anchor_count;     /* 0..ANCHORS_MAX, ascending entries */
    struct ledger_anchor anchors[ANCHORS_MAX];
};

MUST_USE enum codec_result checker_snapshot_decode(struct checker_snapshot *out,
                                                   struct arena *arena, struct span bytes);
MUST_USE bool checker_snapshot_encode(struct buffer *out, const struct checker_snapshot *in);

/* ---- receipts -------------------------------------------------------------------------------- */

/* Proof that a batch committed (§8). */
struct certificate {
    struct span pre_prepare;
    struct signature pre_prepare_signature;
    uint64_t signers; /* bitmap of replica ids, the primary's included */
    uint32_t signature_count;
    const struct signature *signatures; /* prepares, ascending replica id, without the primary */
    uint32_t nonce_count;
    const struct nonce *nonces; /* ascending replica id, with the primary */
};

MUST_USE enum codec_result certificate_decode(struct certificate *out, struct arena *arena,
                                              struct span bytes);
MUST_USE bool certificate_encode(struct buffer *out, const struct certificate *in);

struct receipt {
    struct span request_header;
    struct signature request_signature;
    struct span call;
    uint32_t position; /* of the call in its request */
    uint32_t call_path_count;
    const struct digest *call_path;
    uint64_t index;
    struct span outcome;
    uint32_t batch_path_count;
    const struct digest *batch_path;
    struct span certificate;
};

MUST_USE enum codec_result receipt_decode(struct receipt *out, struct arena *arena,
                                          struct span bytes);
MUST_USE bool receipt_encode(struct buffer *out, const struct receipt *in);

/* ---- evidence of misbehaviour ---------------------------------------------------------------- */

/* How an evidence file begins; an encoded proof follows. */
#define EVIDENCE_FILE_MAGIC "onus-evidence-v1\n"

enum proof_kind {
    PROOF_EQUIVOCATION = 1,
    PROOF_CONFLICTING_CERTIFICATES = 2,
    PROOF_BROKEN_BATCH = 3,
    PROOF_WRONG_OUTCOME = 4,
    PROOF_WRONG_CHECKPOINT = 5,
    PROOF_UNDERSTATED_VIEW_CHANGE = 6,
    PROOF_BROKEN_NEW_VIEW = 7,
    PROOF_FORKED_VIEW = 8,
    PROOF_MALFORMED_RANGE = 9
};

#define PROOF_KIND_END 10u /* above all kinds */

struct state_item {
    struct span key; /* 1..KEY_SIZE_MAX */
    struct span value;
};

/* A piece of the ledger with what is needed to check and replay it (§10). */
struct fragment {
    struct span snapshot; /* an encoded checker_snapshot; empty: the entries begin at genesis */
    uint32_t state_count; /* 0..PROOF_STATE_ITEMS_MAX */
    const struct state_item *state; /* strictly ascending keys */
    uint32_t entry_count;           /* 1..PROOF_ENTRIES_MAX */
    const struct entry *entries;
    uint32_t place_count;      /* 0, or state_count */
    const uint64_t *places;    /* of each item in the whole state, strictly ascending */
    uint32_t path_count;       /* 0..PROOF_STATE_PATH_MAX */
    const struct digest *path; /* what leads from the items to the state's root */
};

/* A proof of misbehaviour as a file holds it (§10). Which parts a kind needs, its verifier says. */
struct proof {
    enum proof_kind kind;
    struct span genesis;
    uint32_t certificate_count; /* 0..PROOF_CERTIFICATES_MAX, each an encoded certificate */
    struct span certificates[PROOF_CERTIFICATES_MAX];
    uint32_t statement_count; /* 0..PROOF_STATEMENTS_MAX */
    struct signed_body statements[PROOF_STATEMENTS_MAX];
    struct span rule; /* empty, or 1..NAME_SIZE_MAX of [a-z0-9.-] */
    bool has_fragment;
    struct fragment fragment;
    uint32_t path_count; /* 0..MERKLE_DEPTH_MAX + 1: a leaf of M, then its inclusion path */
    const struct digest *path;
    struct span served;       /* what was handed over: 0..SERVED_PAYLOAD_SIZE_MAX bytes */
    uint32_t link_count;      /* 0..CHAIN_LINKS_MAX: what leads from genesis to */
    const struct span *links; /* the configuration that it is about, encoded */
};

MUST_USE enum codec_result proof_decode(struct proof *out, struct arena *arena, struct span bytes);
MUST_USE bool proof_encode(struct buffer *out, const struct proof *in);
/*
 * Two statements or two certificates that contradict each other stand in the order of their bytes,
 * so that there is one proof of one contradiction. Swaps them if they do not.
 */
void proof_order(struct proof *proof);

#endif
