/*
 * codec_journal: what a replica's journal holds (protocol §5, "Durable before a nonce"): a record
 * for each nonce that may have left. Strict, as everything in ledger/codec.h.
 */
#ifndef ONUS_LEDGER_CODEC_JOURNAL_H
#define ONUS_LEDGER_CODEC_JOURNAL_H

#include "ledger/codec.h"

#define JOURNAL_RECORD_SIZE_MAX (REPLICAS_MAX * (SIGNATURE_SIZE + DIGEST_SIZE) + 256u)

/* What a replica has promised: one record for each nonce it revealed (§5, the journal). */
struct journal_record {
    uint64_t config;
    uint64_t view;
    uint64_t seq;            /* the nonce for this batch may have left */
    uint64_t ledger_seq;     /* the ledger's last batch when the record was made */
    uint64_t ledger_entries; /* and its entries: a shorter ledger has forgotten something */
    struct digest pre_prepare_digest;
    uint64_t signers; /* the prepared certificate: backups whose prepares follow */
    uint32_t signature_count;
    const struct signature *signatures; /* ascending replica id */
    const struct digest *nonce_hashes;  /* what those prepares commit to, same order */
};

/* As many signatures and nonce hashes as signers, or CODEC_MISMATCH. */
MUST_USE enum codec_result journal_record_decode(struct journal_record *out, struct arena *arena,
                                                 struct span bytes);
MUST_USE bool journal_record_encode(struct buffer *out, const struct journal_record *in);

#endif
