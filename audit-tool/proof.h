/*
 * proof: evidence of misbehaviour (protocol §10, docs/formats.md §11): what it proves, and whether
 * it does. Whoever reads one believes nothing but the service id: everything else is in the file
 * and is checked, down to executing the enclosed piece of the ledger again.
 *
 * The one promise above all others: no file whatsoever makes this name a correct replica.
 */
#ifndef ONUS_AUDIT_TOOL_PROOF_H
#define ONUS_AUDIT_TOOL_PROOF_H

#include "audit-tool/eras.h"
#include "base/problem.h"
#include "ledger/codec.h"
#include "ledger/configuration.h"
#include "ledger/rule.h"
#include "ledger/view.h"
#include "receipts/certificate.h"

#define EVIDENCE_FILE_SIZE_MAX (sizeof EVIDENCE_FILE_MAGIC - 1 + PROOF_SIZE_MAX)

/* Which check failed, in the order in which they are made. */
enum proof_check {
    PROOF_VALID = 0,
    PROOF_ENCODING,       /* not an evidence file, or damaged */
    PROOF_SERVICE,        /* its genesis is not that of the service */
    PROOF_GENESIS,        /* its genesis is not sound */
    PROOF_CHAIN,          /* a link of the governance chain in it does not hold */
    PROOF_PARTS,          /* it lacks a part that its kind needs, or has one too many */
    PROOF_STATEMENTS,     /* statements that are no pair, or do not decode */
    PROOF_SIGNATURE,      /* of a statement */
    PROOF_CERTIFICATE,    /* a certificate does not hold */
    PROOF_NO_CONFLICT,    /* both statements or certificates can be part of one ledger */
    PROOF_FRAGMENT,       /* the enclosed ledger or state is not what it should be */
    PROOF_CHECKPOINT,     /* the enclosed state is not one that the blamed signed */
    PROOF_NOTHING_BROKEN, /* replay does not come to the rule that the proof names */
    PROOF_WELL_FORMED,    /* what was handed over is a range of a ledger */
    PROOF_MEMORY,         /* this machine lacks the memory to tell */
    PROOF_CHECK_COUNT
};

/* One sentence for a person: what does not hold. */
const char *proof_check_text(enum proof_check check);

/* What a proof shows, when it is valid. */
struct proof_verdict {
    enum proof_kind kind;
    struct digest service;
    struct configuration configuration; /* of the blamed, in which they signed */
    uint64_t blamed;                    /* bitmap of replicas; never empty */
    uint64_t config;
    uint64_t view;
    uint64_t seq;                   /* of the batch, or of the later one of two; BROKEN_NEW_VIEW:
                                       of the batch before the new view */
    uint64_t seq_other;             /* of the other one */
    bool is_prepare;                /* EQUIVOCATION: two prepares, else two pre-prepares */
    uint64_t view_asked;            /* UNDERSTATED_VIEW_CHANGE: the view asked for, */
    struct rank stated;             /* and the most that was stated; view, seq: what was revealed */
    struct digest roots[2];         /* what tells the two apart: batch roots, or digests */
    enum rule rule;                 /* what the batch or new view breaks, else RULE_NONE */
    uint64_t wrong_index;           /* WRONG_OUTCOME: the transaction */
    uint64_t first;                 /* MALFORMED_RANGE: entries [first, end) were signed for, */
    uint64_t end;                   /* and roots[0] is the digest of what was handed over; */
    uint64_t entry;                 /* that it is no ledger shows here; view and seq mean nothing */
    enum receipt_check certificate; /* why, when the check that failed is PROOF_CERTIFICATE */
};

/*
 * Verify an evidence file. service: the id that the reader trusts; NULL: that of the genesis in the
 * file, for which nobody but the file vouches.
 * Returns: PROOF_VALID, and only then out means anything (but out->certificate, as said).
 */
MUST_USE enum proof_check proof_verify(struct proof_verdict *out, const struct digest *service,
                                       struct span file);

/*
 * The configurations that a decoded proof is about, from its genesis and the links in it. Free
 * them in any case. Returns: PROOF_VALID, PROOF_GENESIS, PROOF_SERVICE, PROOF_CHAIN or
 * PROOF_MEMORY.
 */
MUST_USE enum proof_check proof_eras(struct eras *eras, struct arena *arena,
                                     const struct digest *service, const struct proof *proof);

/* How much memory decoding a file of this size may take. */
size_t proof_arena_size(size_t file_size);

/* Two certificates of one configuration and view that cannot both be part of one ledger. */
bool certificates_conflict(const struct configuration *configuration,
                           const struct verified_batch *a, const struct verified_batch *b);

/* The file around an encoded proof. Returns: false when it is larger than a file may be. */
MUST_USE bool evidence_file_encode(struct buffer *out, const struct proof *proof);

#endif
