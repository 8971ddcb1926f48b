/*
 * codec_journal: what a replica's journal holds (protocol §5, "Durable before a nonce"): a record
 * for each nonce that may have left, each view entered or asked for, each start and orderly end.
 * Strict, as everything in ledger/codec.h.
 */
#ifndef ONUS_LEDGER_CODEC_JOURNAL_H
#define ONUS_LEDGER_CODEC_JOURNAL_H

#include "ledger/codec.h"

#define JOURNAL_RECORD_SIZE_MAX (REPLICAS_MAX * (SIGNATURE_SIZE + DIGEST_SIZE) + 256u)

enum journal_kind {
    JOURNAL_NONCE = 1,   /* the nonce for (view, seq) may have left */
    JOURNAL_VIEW = 2,    /* nothing is signed for a view below this one any more */
    JOURNAL_STARTED = 3, /* the replica runs: what it signs may outrun its disk */
    JOURNAL_STOPPED = 4, /* it ended in order: all that it signed is in its ledger */
    JOURNAL_PREPARED = 5 /* the certificate that the ledger's next tail ranks by; no nonce left */
};

/*
 * What a replica has promised. A nonce record, and a prepared record, carries the prepared
 * certificate; in the others seq and signers are 0 and the digest is all zeros.
 */
struct journal_record {
    enum journal_kind kind;
    uint64_t config;
    uint64_t view;           /* of the nonce; else the view below which nothing is signed */
    uint64_t seq;            /* the nonce for this batch may have left */
    uint64_t ledger_view;    /* the ledger's view when the record was made */
    uint64_t ledger_seq;     /* its last batch; 0: genesis alone */
    uint64_t ledger_entries; /* and its entries */
    struct digest pre_prepare_digest;
    uint64_t signers; /* the prepared certificate: backups whose prepares follow */
    uint32_t signature_count;
    const struct signature *signatures; /* ascending replica id */
    const struct digest *nonce_hashes;  /* what those prepares commit to, same order */
};

/* As many signatures and nonce hashes as signers, or CODEC_MISMATCH; CODEC_MISMATCH also for
 * a nonce or prepared record without, or another record with, a batch and its certificate. */
MUST_USE enum codec_result journal_record_decode(struct journal_record *out, struct arena *arena,
                                                 struct span bytes);
MUST_USE bool journal_record_encode(struct buffer *out, const struct journal_record *in);

#endif
