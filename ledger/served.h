/*
 * served: is what a replica hands to an auditor as a range of its ledger well formed by itself
 * (protocol §10)? A correct replica verifies all of its ledger, so whatever follows from the rules
 * of §4 and can be seen in a range alone is its answer for: entries that decode, whole batches and
 * new views in order, numbers of batches and leaves of M that follow each other, requests that hash
 * to the signed roots of G, and signatures that hold. A rule whose breaking convicts the signers of
 * a batch is the audit's business; here stands what convicts nobody but who hands it over.
 */
#ifndef ONUS_LEDGER_SERVED_H
#define ONUS_LEDGER_SERVED_H

#include "base/sign.h"
#include "ledger/codec_served.h"
#include "ledger/configuration.h"
#include "ledger/rule.h"
#include "ledger/view.h"

struct served_judgement {
    enum rule rule; /* RULE_NONE: well formed */
    uint64_t entry; /* else the entry at which that shows */
    bool failed;    /* out of memory: nothing is known */
};

/*
 * Judge the bytes of an answer of part SERVED_ENTRIES against its statement, whose signature and
 * digests are the caller's to check, by the configuration in which it says that they lie: that is
 * `range_config`. sink: takes the signatures to be checked; NULL: they are not
 * looked at, as by the server itself, which verified them when it took the entries in.
 */
struct served_judgement served_range_judge(const struct configuration *configuration,
                                           const struct served *served, struct span payload,
                                           const struct sign_sink *sink);

/* The digest under which bytes are handed over (LABEL_SERVED_BYTES). */
struct digest served_bytes_digest(const struct digest *service, struct span payload);
/* The digest of a signed demand (LABEL_DEMAND). */
struct digest demand_digest(const struct digest *service, const struct signed_body *demand);

#endif
