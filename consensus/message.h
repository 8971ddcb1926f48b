/*
 * message: a frame from a peer, decoded once, with the one signature it hangs on.
 *
 * The driver decodes on arrival, has the signature checked elsewhere, and then hands the message
 * to the replica. A frame that does not decode, or speaks for somebody else, never gets that far. A
 * new view may be passed on, since it carries its signature; and a nonce, which fits its
 * commitment or does not.
 */
#ifndef ONUS_CONSENSUS_MESSAGE_H
#define ONUS_CONSENSUS_MESSAGE_H

#include "base/sign.h"
#include "ledger/codec_view.h"
#include "ledger/configuration.h"
#include "ledger/wire.h"

struct peer_message {
    enum message_kind kind;
    uint32_t from; /* whom the link belongs to */
    bool signed_statement;
    struct sign_check check; /* valid when signed_statement: check it before the event */
    union {
        struct {
            struct pre_prepare_message message;
            struct pre_prepare body;
        } pre_prepare;
        struct {
            struct signed_body statement;
            struct prepare body;
        } prepare;
        struct {
            struct signed_body statement;
            struct view_change body;
        } view_change;
        struct {
            struct new_view_message message;
            struct signed_body statement;
            struct new_view body;
        } new_view;
        struct commit_message commit;
        struct status_message status;
        struct fetch_requests_message fetch_requests;
        struct requests_message requests;
        uint64_t fetch_range_first_entry;
        struct range_message range;
        struct fetch_checkpoint_message fetch_checkpoint;
        struct checkpoint_offer_message checkpoint_offer;
        struct checkpoint_digests_message checkpoint_digests;
        struct checkpoint_items_message checkpoint_items;
        uint64_t chain_query_config;
        struct chain_reply_message chain_reply;
    };
    struct arena arena; /* owns what the above points to */
};

/*
 * Decode a frame from peer `from`, as the configuration in force numbers it. A statement of another
 * configuration is decoded and not judged, nor has it a signature to check: it is ignored (§9).
 * Allocates from its own arena; peer_message_free in any case. Returns: CODEC_MISMATCH when a
 * statement is not the sender's own, CODEC_RANGE for a kind that peers do not send.
 */
MUST_USE enum codec_result peer_message_decode(struct peer_message *message,
                                               const struct configuration *configuration,
                                               uint32_t from, uint8_t kind, struct span payload);
void peer_message_free(struct peer_message *message);

#endif
