/*
 * view: what a change of view must fulfil by itself (protocol §6). What hangs on the ledger before
 * it is the checker's (checker_view_add); both are asked by a new primary, by backups, by who
 * catches up, and by the auditor.
 */
#ifndef ONUS_LEDGER_VIEW_H
#define ONUS_LEDGER_VIEW_H

#include "base/sign.h"
#include "ledger/codec_view.h"
#include "ledger/configuration.h"
#include "ledger/rule.h"
#include "merkle/frontier.h"

/*
 * A signature that a ledger's validity hangs on. The body lives only during the call. The sink
 * answers false when it already knows that the signature does not hold; one that defers the
 * question answers true, and undoes what was taken if it turns out otherwise.
 */
struct sign_sink {
    void *context;
    bool (*check)(void *context, const struct sign_check *check, enum rule rule);
};

/* The rank of a prepared certificate: view first. (0, 0) is below all: no certificate. */
struct rank {
    uint64_t view;
    uint64_t seq;
};

/* Negative, zero, positive: as a is lower than, equal to, higher than b. */
int rank_compare(struct rank a, struct rank b);

/* A view-change whose parts fit together. Spans and statements point into the arena or the input.
 */
struct view_claim {
    struct view_change view_change;
    struct digest digest; /* LABEL_VIEW_CHANGE, with its signature */
    struct rank rank;
    const struct pre_prepare *batches;  /* those of the chain, decoded; chain_count of them */
    const struct digest *batch_digests; /* LABEL_PRE_PREPARE of each, with its signature */
};

/*
 * Decode and judge one signed view-change by itself: its author's signature, that of each
 * pre-prepare and prepare in it, a quorum of them, a chain without gaps that begins after what its
 * last batch evidences, and a certificate that ranks (seq >= view_start) in a view before the one
 * asked for. Signatures go to the sink as RULE_VIEW_CHANGES.
 * Returns: RULE_NONE or RULE_VIEW_CHANGES.
 */
MUST_USE enum rule view_change_judge(struct view_claim *out, struct arena *arena,
                                     const struct configuration *configuration,
                                     const struct signed_body *statement,
                                     const struct sign_sink *sink);

/* The claim that a new view must choose: the highest rank, of equals the first. */
uint32_t view_claims_choose(const struct view_claim *claims, uint32_t count);

/*
 * Do the leaves of a claim's chain, put behind this frontier, lead to the root that its
 * certificate signs? An empty chain leads nowhere, and does.
 */
bool view_claim_links(const struct view_claim *claim, const struct frontier *frontier);

/* What a batch of the chain obliges a new view to propose again. */
struct carried_batch view_claim_carried(const struct view_claim *claim, uint32_t nth);

/* The two entries of a new view, decoded. */
struct view_unit {
    struct span set_payload; /* of the view-change-set entry */
    struct view_change_set set;
    struct span entry_payload; /* of the new-view entry: an encoded Signed */
    struct signed_body statement;
    struct new_view new_view;
};

/* Decode the payloads of the two entries, which must outlive the unit. */
MUST_USE enum codec_result view_unit_decode(struct view_unit *out, struct arena *arena,
                                            struct span set_payload, struct span entry_payload);
/*
 * Does the signed statement name just these view-changes? Whoever passes a new view on may put
 * others beside it, for which its primary cannot answer.
 */
bool view_unit_is_bound(const struct view_unit *unit, const struct digest *service);

#endif
