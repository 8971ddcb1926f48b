/*
 * codec_demand_report: what an enforcer signs about its demands: who was asked for its ledger,
 * when, and what came (protocol §10). Strict, as everything in ledger/codec.h. It is its author's
 * word, and no evidence against anybody: that an answer did not come cannot be shown.
 */
#ifndef ONUS_LEDGER_CODEC_DEMAND_REPORT_H
#define ONUS_LEDGER_CODEC_DEMAND_REPORT_H

#include "ledger/codec_served.h"

#define DEMAND_REPORT_STATES 7u /* 1..: the states of the schema */

/* How a file begins; an encoded demand_report_file follows. */
#define DEMAND_REPORT_FILE_MAGIC "onus-demand-report-v1\n"
#define DEMAND_REPORT_FILE_SIZE_MAX                                                                \
    (sizeof DEMAND_REPORT_FILE_MAGIC - 1 + GENESIS_SIZE_MAX + SIGNED_SIZE_MAX + CHAIN_SIZE_MAX +   \
     256u)

/* One replica that was asked. */
struct asked_replica {
    uint32_t replica;
    uint32_t state; /* 1..DEMAND_REPORT_STATES */
    uint64_t entries;
    uint64_t available;
    uint64_t asked_ms;
    uint64_t answered_ms;
    uint64_t demands;
    uint64_t answers;
    bool has_demand;
    struct signed_body demand; /* the last one: an encoded demand, 1..DEMAND_SIZE_MAX bytes */
    struct span reason;        /* 0..DEMAND_REASON_SIZE_MAX printable ASCII characters */
};

/* The body; signed with LABEL_DEMAND_REPORT by its author. */
struct demand_report {
    struct public_key author;
    uint64_t started_ms;
    uint64_t ended_ms;
    uint64_t deadline_ms;
    uint64_t config; /* in which replicas have these numbers; 1.. */
    uint32_t count;  /* 1..REPLICAS_MAX, ascending replicas */
    struct asked_replica replicas[REPLICAS_MAX];
};

/*
 * CODEC_MISMATCH: it ended before it began, replicas out of order, or demands without a last one.
 * The demands in it are not decoded.
 */
MUST_USE enum codec_result demand_report_decode(struct demand_report *out, struct arena *arena,
                                                struct span body);
MUST_USE bool demand_report_encode(struct buffer *out, const struct demand_report *in);

/* What a file holds behind its magic. */
struct demand_report_file {
    struct span genesis;
    struct signed_body report;
    const struct span *links; /* encoded, in order */
    uint32_t link_count;      /* 0..CHAIN_LINKS_MAX */
};

MUST_USE enum codec_result demand_report_file_decode(struct demand_report_file *out,
                                                     struct arena *arena, struct span bytes);
MUST_USE bool demand_report_file_encode(struct buffer *out, const struct demand_report_file *in);

#endif
