/*
 * limits: every bound of the system, in one place.
 *
 * Whatever a peer, a client, a file or a ledger can make grow is named here, and code that accepts
 * bytes checks them against these names before it uses them. Relations between limits are asserted
 * below, with the reason. Sizes are bytes, counts are items, times are milliseconds.
 */
#ifndef ONUS_BASE_LIMITS_H
#define ONUS_BASE_LIMITS_H

#include <assert.h>
#include <stdint.h>

/* The consortium. A signer set is one 64-bit word (protocol §4: one frozen bitmap). */
#define REPLICAS_MIN 4u
#define REPLICAS_MAX 64u
#define MEMBERS_MAX 64u
#define USERS_MAX 1024u
#define NAME_SIZE_MAX 64u
#define ADDRESS_SIZE_MAX 128u
#define GENESIS_SIZE_MAX (1u << 20)

/* Requests. */
#define CALLS_MAX 256u
#define ARGUMENTS_MAX 16u
#define PROCEDURE_SIZE_MAX 64u
#define KEY_SIZE_MAX 256u
#define VALUE_SIZE_MAX (32u << 10)
#define ARGUMENT_SIZE_MAX VALUE_SIZE_MAX
#define CALL_SIZE_MAX (64u << 10)
#define REQUEST_SIZE_MAX (1u << 20)
#define REQUEST_NONCE_SIZE 16u

/* Outcomes. */
#define REPLY_ITEMS_MAX 128u
#define REPLY_SIZE_MAX (40u << 10)
#define OUTCOME_SIZE_MAX (48u << 10)
#define SCAN_KEYS_MAX 64u

/* The state. A procedure stores a key under its own prefix, which counts into KEY_SIZE_MAX. */
#define KEY_PREFIX_SIZE_MAX 8u
#define USER_KEY_SIZE_MAX (KEY_SIZE_MAX - KEY_PREFIX_SIZE_MAX)
#define CALL_WRITES_MAX 16u /* keys that one call may write */
#define LAYERS_MAX 64u      /* cuts that no durable checkpoint holds yet, and the top */
#define STATE_MAP_SIZE ((uint64_t)64 << 30)
#define STATE_PLACES_STEP 64u           /* of so many groups, the first's key is kept at hand */
#define STATE_BUILD_SIZE_MAX (8u << 20) /* bytes of items put into a new store in one commit */

/*
 * Governance. A proposal is one argument of a call, and one value of the state. An endorsement
 * names a member, two keys and two addresses; a vote is a request's header and one small call.
 */
#define ACTIONS_MAX 32u
#define PROPOSAL_SIZE_MAX ARGUMENT_SIZE_MAX
#define PROPOSAL_TEXT_SIZE_MAX 1000u
#define PROPOSAL_EVIDENCE_MAX 8u
#define PROPOSAL_SALT_SIZE 16u
#define ENDORSEMENT_SIZE_MAX 512u
#define POSSESSION_SIZE_MAX 128u
#define VOTING_DENOMINATOR_MAX 100u
#define BALLOT_SIZE_MAX 128u
/* What a member's calls may cost in one batch: a proposal has up to 64 signatures to check. */
#define GOVERN_COST_MAX 4u
#define GOVERN_COST_PROPOSE 3u
#define GOVERN_COST_OTHER 1u
#define CONSTITUTION_SIZE_MAX (256u << 10)
#define VOTE_HEADER_SIZE_MAX 192u
#define VOTE_CALL_SIZE_MAX 128u
#define VOTE_PATH_MAX 8u /* of digests: of one call among CALLS_MAX */
#define VOTE_SIZE_MAX 704u
#define CHAIN_LINK_SIZE_MAX (320u << 10)
#define CHAIN_HEADER_SIZE_MAX (GENESIS_SIZE_MAX + 64u)
#define CHAIN_LINKS_MAX 4096u
#define CHAIN_SIZE_MAX (256u << 20)        /* bytes of a file */
#define CHAIN_MEMORY_SIZE_MAX (256u << 20) /* of the constitutions of one chain */

/* Statements and batches. */
#define STATEMENT_SIZE_MAX (4u << 10)
#define PIPELINE_MAX 32u
#define BATCH_CALLS_MAX 8192u
#define BATCH_SIZE_SOFT_MAX (4u << 20)
#define WINDOW_MAX (1u << 22)
#define CHECKPOINT_INTERVAL_MAX (1u << 20)

/* One batch's entry of evidence, and how many batches one entry may evidence. */
#define EVIDENCE_BATCHES_MAX (2u * PIPELINE_MAX)
#define EVIDENCE_PER_BATCH_SIZE_MAX (REPLICAS_MAX * (64u + 32u) + 64u)
#define EVIDENCE_SIZE_MAX (EVIDENCE_BATCHES_MAX * EVIDENCE_PER_BATCH_SIZE_MAX)

/*
 * Changes of view. A view-change shows one prepared certificate and the batches behind it; the
 * entry of a new view holds Q of them.
 */
#define VIEW_CHANGE_SIZE_MAX                                                                       \
    (REPLICAS_MAX * (64u + 32u) + PIPELINE_MAX * (STATEMENT_SIZE_MAX + 160u) + 256u)
#define VIEW_CHANGE_SIGNED_SIZE_MAX (VIEW_CHANGE_SIZE_MAX + 128u)
#define VIEW_CHANGE_SET_SIZE_MAX (REPLICAS_MAX * VIEW_CHANGE_SIGNED_SIZE_MAX)
#define SIGNED_SIZE_MAX VIEW_CHANGE_SIZE_MAX /* the largest body that anybody signs */
#define VIEW_TIMEOUT_MS 2000u /* patience with a primary; doubles with each failed view */
#define VIEW_TIMEOUT_DOUBLINGS_MAX 6u
#define VIEW_CHANGE_RETRY_MS 400u   /* a view-change that is not answered is sent again */
#define VIEW_CHANGE_INTERVAL_MS 50u /* a peer's view-changes that come faster are not heard */
#define VIEW_SYNC_RETRY_MS 500u     /* then another peer is asked for what a new view builds on */
#define VIEW_SYNC_PAUSE_MS 50u      /* the same, after an answer that led nowhere */
#define VIEW_UNITS_MAX 128u         /* new views kept at hand: not on disk yet, or current */
#define VIEW_UNITS_SIZE_MAX (64u << 20) /* bytes of them */
#define VIEW_MARKS_MAX 128u /* new views remembered between two batches that can be undone */

/* The largest entry is a request with the outcomes of all its calls. */
#define ENTRY_SIZE_MAX (REQUEST_SIZE_MAX + CALLS_MAX * (OUTCOME_SIZE_MAX + 16u) + 64u)

/* Checkpoints. A snapshot holds the replay window's requests, at worst one a batch. */
#define CHECKPOINT_HEADER_SIZE_MAX (12u << 10)
#define WINDOW_BATCH_SIZE_MAX (BATCH_CALLS_MAX * (32u + 2u) + 64u)
#define SNAPSHOT_WINDOW_MAX WINDOW_MAX
#define ANCHORS_MAX 8u        /* places where a ledger may begin that a snapshot remembers */
#define STATE_GROUP_ITEMS 64u /* items of the state that are fetched together, a power of two */
#define SNAPSHOT_OFFERED_SIZE_MAX (CHECKPOINT_HEADER_SIZE_MAX + 4096u) /* without its window */
#define JOIN_GROUPS_MAX (1u << 22) /* of a state that can be fetched; 32 bytes each */
#define SNAPSHOT_SIZE_MAX (SNAPSHOT_WINDOW_MAX * 80u + (1u << 20))

/* Merkle trees hold fewer than 2^63 leaves; a path is then at most 63 digests long. */
#define MERKLE_DEPTH_MAX 63u

/* Wire. A frame is length-prefixed; clients may send requests and little else. */
#define FRAME_FROM_CLIENT_SIZE_MAX (REQUEST_SIZE_MAX + 4096u)
#define FRAME_SIZE_MAX (20u << 20)

/* Links (host/link.h). A group is all links of one purpose: peers, or clients. */
#define CONNECTIONS_PEERS_MAX (4u * REPLICAS_MAX)
#define CONNECTIONS_CLIENTS_MAX 256u
#define LINK_MEMORY_PEERS_MAX (256u << 20)
#define LINK_MEMORY_CLIENTS_MAX (96u << 20)
#define LINK_OUTPUT_SIZE_MAX (32u << 20)
#define LINK_READ_SIZE (64u << 10)
#define LINK_FLUSH_SIZE_MAX (256u << 10)
#define LINK_BUFFER_KEEP_SIZE (64u << 10)
#define LINK_INPUT_SIZE_MIN (16u << 10)
#define HANDSHAKES_MAX 2u
#define HANDSHAKE_TIMEOUT_MS 5000u
#define LINK_IDLE_TIMEOUT_MS 60000u
#define LINK_FINISH_TIMEOUT_MS 1000u
#define LINK_RETRY_MS_MIN 100u
#define LINK_RETRY_MS_MAX 5000u
#define LISTEN_BACKLOG 128

/* The session of a client (client/session.h); all of it is kept for each replica it talks to. */
#define SESSION_IN_FLIGHT_MAX 4096u
#define SESSION_IN_FLIGHT_SIZE_MAX (64u << 20) /* bytes of requests */
#define SESSION_REPLIES_MAX 512u               /* batches of which replies are remembered */
#define SESSION_CLAIMS_MAX 128u                /* batches whose results wait for replies */
#define SESSION_CLAIMS_SIZE_MAX (32u << 20)    /* bytes of such results */
#define SESSION_CERTIFIED_MAX 64u              /* batches whose certificates are remembered */
#define SESSION_RETRY_MS_MIN 500u
#define SESSION_RETRY_MS_MAX 4000u
#define SESSION_BUSY_MS_MIN 20u
#define SESSION_BUSY_MS_MAX 1000u
#define SESSION_CHAIN_TIMEOUT_MS 2000u /* then another replica is asked for links */
#define SESSION_CHAIN_PAUSE_MS_MIN 250u
#define SESSION_CHAIN_PAUSE_MS_MAX 8000u

/* Files. */
#define KEY_FILE_SIZE_MAX 4096u
#define TLS_FILE_SIZE_MAX (16u << 10)
#define SEGMENT_SIZE_SOFT_MAX (64u << 20)
#define SEGMENTS_MAX (1u << 20)
#define SEGMENT_WINDOW_SIZE (512u << 10) /* bytes that a ledger reader asks for at a time */
#define SEGMENT_WRITE_RECORDS_MAX 256u   /* records in one gathered write */
#define COMMIT_CERTIFICATE_SIZE_MAX (STATEMENT_SIZE_MAX + REPLICAS_MAX * (64u + 32u) + 256u)
#define RECEIPT_SIZE_MAX (CALL_SIZE_MAX + OUTCOME_SIZE_MAX + (32u << 10))

/* The node: its journal, its queues and its clients. Sizes are bytes. */
#define JOURNAL_SIZE_SOFT_MAX (1u << 20) /* rewritten when larger */
#define JOURNAL_SIZE_MAX (16u << 20)     /* a larger file was not written by us */
#define JOURNAL_RECORDS_KEPT (2u * PIPELINE_MAX)
#define CONFIG_SIZE_MAX (64u << 10)
#define PLAN_SIZE_MAX (1u << 20) /* of a consortium, before its founding */
#define PATH_SIZE_MAX 4096u
#define REQUEST_POOL_DEFAULT 16384u
#define REQUEST_POOL_MAX (1u << 18)
#define REQUEST_POOL_SIZE_MAX (64u << 20)
#define DISK_QUEUE_SIZE_SOFT_MAX (16u << 20) /* clients are not heard beyond this */
#define DISK_QUEUE_SIZE_MAX (64u << 20)      /* nor are pre-prepares and ranges */
#define DISK_RETRY_MS 1000u                  /* after the disk was full */
#define STOP_TIMEOUT_MS 2000u                /* an orderly end waits so long for the disk */
#define OUTBOX_SIZE_MAX (64u << 20)
#define VERIFY_CHECKS_MAX 32u          /* signatures that one piece of work checks */
#define VERIFY_ARENA_SIZE (256u << 10) /* close a piece of work past this */
#define VERIFY_REQUESTS_MAX 4096u      /* of clients, waiting for their signature check */
#define VERIFY_SIZE_MAX (32u << 20)    /* bytes of them */
#define VERIFY_PER_CLIENT_MAX 256u     /* then its link is not read */
#define VERIFY_SIZE_PER_CLIENT_MAX (4u << 20)
#define VERIFY_PER_AUTHOR_MAX 2048u
#define PEER_ECHO_INTERVAL_MS 10000u
#define VERIFY_PER_PEER_MAX 1024u
#define VERIFY_SIZE_PER_PEER_MAX (24u << 20)
#define CLIENT_STRIKES_MAX 8u /* bad signatures, then the link is closed */
#define RECEIPT_JOBS_MAX 256u /* receipts being read from the disk */
#define RANGE_SIZE_SOFT_MAX (4u << 20)
#define RANGE_BATCHES_SERVED_MAX 64u
#define SERVED_PAYLOAD_SIZE_MAX (FRAME_SIZE_MAX - 1024u) /* what one answer hands over */
#define DEMAND_DEADLINE_MS_MAX (7u * 24u * 3600000u)
#define DEMANDS_MAX 64u                     /* of auditors, under way at a replica */
#define DEMANDS_PER_AUTHOR_MAX 4u           /* of them */
#define DEMANDS_UNREAD_SIZE_MAX (32u << 20) /* no more, while clients leave so much */
#define DEMAND_RETRY_MS 50u                 /* then it looks again */
#define DEMAND_SIZE_MAX 256u                /* bytes of one demand in a report */
#define DEMAND_REASON_SIZE_MAX 255u         /* of one line of it */
#define JOIN_PIN_IDLE_MS 30000u             /* a checkpoint for which nobody asks is closed */
#define JOIN_PIN_MS_MAX 600000u  /* and so it is in any case: the store's file grows meanwhile */
#define JOIN_REPORT_MS 5000u     /* how often a replica that joins says how far it is */
#define JOIN_AGAIN_MS 30000u     /* one that knows of later configurations, and stays at genesis */
#define OLDER_RETRY_MS 10000u    /* after the older ledger could not be written */
#define CHAIN_RETRY_MS_MIN 1000u /* after a link of the governance chain could not be made */
#define CHAIN_RETRY_MS_MAX 60000u
#define LOG_LINE_SIZE_MAX 2048u
#define LOG_LINKS_PER_SECOND_MAX 10u /* lines about links that come, go and misbehave */

/* Proofs of misbehaviour: a fragment of the ledger with the state below it is the largest part. */
#define PROOF_SIZE_MAX (256u << 20)
#define PROOF_CERTIFICATES_MAX 2u
#define PROOF_STATEMENTS_MAX REPLICAS_MAX
#define PROOF_ENTRIES_MAX (1u << 20)
#define PROOF_STATE_ITEMS_MAX (1u << 20)
#define PROOF_STATE_PATH_MAX (1u << 22)           /* digests */
#define PROOF_STATE_SIZE_MAX ((uint64_t)16 << 30) /* a state that a proof takes items from */

static_assert(REPLICAS_MAX <= 64, "a signer set is one 64-bit word");
static_assert(CALL_SIZE_MAX >= VALUE_SIZE_MAX + KEY_SIZE_MAX + PROCEDURE_SIZE_MAX + 64u,
              "a kv.put of the largest value under the largest key fits into one call");
static_assert(REQUEST_SIZE_MAX >= CALL_SIZE_MAX + 1024u, "the largest call fits into a request");
static_assert(OUTCOME_SIZE_MAX >= REPLY_SIZE_MAX + REPLY_ITEMS_MAX * 4u + 128u,
              "the largest reply fits into an outcome");
static_assert(REPLY_SIZE_MAX >= VALUE_SIZE_MAX, "kv.get can answer with the largest value");
static_assert(REPLY_SIZE_MAX >= VALUE_SIZE_MAX + KEY_SIZE_MAX, "a scan always gets on by one key");
static_assert(REPLY_ITEMS_MAX >= 2 * SCAN_KEYS_MAX, "a scan answers with keys and values");
static_assert(FRAME_SIZE_MAX >= ENTRY_SIZE_MAX + 65536u, "an entry and its envelope fit a frame");
static_assert(VIEW_UNITS_SIZE_MAX >= 4u * VIEW_CHANGE_SET_SIZE_MAX, "some new views always fit");
static_assert(SIGNED_SIZE_MAX >= STATEMENT_SIZE_MAX, "every statement can be signed");
static_assert(SIGNED_SIZE_MAX <= 256u << 10, "it is put together on a thread's stack");
static_assert(ENTRY_SIZE_MAX >= VIEW_CHANGE_SET_SIZE_MAX, "a change of view fits into an entry");
static_assert(STATEMENT_SIZE_MAX >= REPLICAS_MAX * 32u + 256u, "a new-view is a statement");
static_assert(RECEIPT_SIZE_MAX >= CALL_SIZE_MAX + OUTCOME_SIZE_MAX + COMMIT_CERTIFICATE_SIZE_MAX +
                                      2u * MERKLE_DEPTH_MAX * 32u + 1024u,
              "the largest receipt fits into its file");
static_assert(CHECKPOINT_HEADER_SIZE_MAX >= EVIDENCE_BATCHES_MAX * 96u + PIPELINE_MAX * 96u + 512u,
              "a checkpoint header can name every batch that may lack evidence or was taken over");
static_assert(STATEMENT_SIZE_MAX >= EVIDENCE_BATCHES_MAX * 10u + 512u,
              "a pre-prepare can name the signers of every batch it evidences");
static_assert(PROOF_SIZE_MAX >= GENESIS_SIZE_MAX + ENTRY_SIZE_MAX, "a proof can hold an entry");
static_assert(LINK_OUTPUT_SIZE_MAX >= FRAME_SIZE_MAX + 5u, "every legal frame fits into a link");
static_assert(LINK_MEMORY_PEERS_MAX >= 4u * FRAME_SIZE_MAX,
              "large frames to several peers at once");
static_assert(LINK_MEMORY_CLIENTS_MAX >= 4u * FRAME_SIZE_MAX, "a client can get the largest reply");
static_assert(SEGMENT_SIZE_SOFT_MAX > ENTRY_SIZE_MAX, "a segment holds more than one entry");
static_assert(2u * SEGMENT_WRITE_RECORDS_MAX <= 1024u, "Linux gathers at most 1024 parts a write");
static_assert(SESSION_CLAIMS_SIZE_MAX >= FRAME_SIZE_MAX, "a session can keep the largest result");
static_assert(SESSION_IN_FLIGHT_SIZE_MAX >= REQUEST_SIZE_MAX, "the largest request can be sent");
static_assert(JOURNAL_SIZE_SOFT_MAX >= 2u * JOURNAL_RECORDS_KEPT * REPLICAS_MAX * (64u + 32u),
              "a rewritten journal is well below the size that has it rewritten");
static_assert(DISK_QUEUE_SIZE_MAX >= 2u * FRAME_SIZE_MAX + DISK_QUEUE_SIZE_SOFT_MAX,
              "a range fits behind what clients may queue");
static_assert(VERIFY_SIZE_PER_CLIENT_MAX >= 2u * REQUEST_SIZE_MAX, "a client can keep going");
static_assert(LINK_IDLE_TIMEOUT_MS >= 3u * PEER_ECHO_INTERVAL_MS, "a live link is never idle");
static_assert(VERIFY_SIZE_PER_PEER_MAX >= FRAME_SIZE_MAX, "a peer can send any frame");
static_assert(KEY_SIZE_MAX <= 511, "LMDB's largest key");
static_assert(BATCH_CALLS_MAX >= CALLS_MAX, "one request always fits into a batch");
static_assert(MEMBERS_MAX <= 64, "the members who voted are one 64-bit word");
static_assert(ENDORSEMENT_SIZE_MAX >= NAME_SIZE_MAX + 2u * ADDRESS_SIZE_MAX + 2u * 32u + 64u,
              "every endorsement fits, one of genesis too");
static_assert(POSSESSION_SIZE_MAX >= NAME_SIZE_MAX + 32u + 16u, "every possession fits");
static_assert(PROPOSAL_SIZE_MAX >= ACTIONS_MAX * (ENDORSEMENT_SIZE_MAX + 32u + 2u * 64u + 64u) +
                                       PROPOSAL_TEXT_SIZE_MAX + PROPOSAL_EVIDENCE_MAX * 32u + 256u,
              "a proposal has room for all actions, each of the largest kind");
static_assert(CONSTITUTION_SIZE_MAX >= (MEMBERS_MAX + USERS_MAX) * (NAME_SIZE_MAX + 32u + 16u) +
                                           REPLICAS_MAX * (ENDORSEMENT_SIZE_MAX + 64u + 32u) + 256u,
              "every constitution can be encoded");
static_assert(CALLS_MAX <= 1u << VOTE_PATH_MAX, "the path to any call of a request fits");
static_assert(VOTE_CALL_SIZE_MAX >= 2u * 32u + 64u, "a vote's call names a digest in hexadecimal");
static_assert(VOTE_SIZE_MAX >=
                  VOTE_HEADER_SIZE_MAX + 64u + VOTE_CALL_SIZE_MAX + VOTE_PATH_MAX * 32u + 32u,
              "every vote fits");
static_assert(CHAIN_LINK_SIZE_MAX >= PROPOSAL_SIZE_MAX + MEMBERS_MAX * VOTE_SIZE_MAX +
                                         RECEIPT_SIZE_MAX + COMMIT_CERTIFICATE_SIZE_MAX + 1024u,
              "a link with every member's vote and the largest receipt fits");
static_assert(CHAIN_SIZE_MAX >= CHAIN_HEADER_SIZE_MAX + CHAIN_LINK_SIZE_MAX,
              "a chain of one link fits into a file");
static_assert(CHAIN_MEMORY_SIZE_MAX >= 2u * CONSTITUTION_SIZE_MAX, "so does it into memory");

#endif
