/*
 * demand_report: what became of the demands of one round, signed by who demanded (protocol §10,
 * docs/formats.md §11). Silence cannot be shown to a stranger, so this is the word of its author
 * and blames nobody; it is for the members, who then ask the silent one themselves.
 */
#ifndef ONUS_AUDIT_TOOL_DEMAND_REPORT_H
#define ONUS_AUDIT_TOOL_DEMAND_REPORT_H

#include <jansson.h>
#include <stdio.h>

#include "audit-tool/eras.h"
#include "audit-tool/fetcher.h"
#include "ledger/codec_demand_report.h"

/* One sentence, wherever such a report is shown. */
#define DEMAND_REPORT_NOT_A_PROOF "a report, not a proof: it blames nobody"

/* Which check failed, in the order in which they are made. */
enum demand_report_check {
    DEMAND_REPORT_VALID = 0,
    DEMAND_REPORT_ENCODING,
    DEMAND_REPORT_SERVICE,
    DEMAND_REPORT_GENESIS,
    DEMAND_REPORT_CHAIN,     /* its links do not lead to its configuration, or do not hold */
    DEMAND_REPORT_AUTHOR,    /* no user or member of the service */
    DEMAND_REPORT_SIGNATURE, /* not its author's */
    DEMAND_REPORT_DEMAND,    /* one of its demands is not its author's, or not to that replica */
    DEMAND_REPORT_MEMORY,
    DEMAND_REPORT_CHECK_COUNT
};

/* One sentence for a person: what does not hold. */
const char *demand_report_check_text(enum demand_report_check check);

/* A report that was verified; spans live as long as it. */
struct demand_report_read {
    struct demand_report report;
    struct demand demands[REPLICAS_MAX]; /* of the replica at the same place, if it has one */
    struct genesis genesis;
    struct constitution constitution; /* of the report's configuration */
    struct configuration configuration;

    /* private */
    struct arena arena;
};

/* Is this such a file, by its first bytes? */
bool demand_report_is(struct span file);

/*
 * Verify a report. service: the id that the reader trusts; NULL: that of the genesis in the file.
 * Free what was read in any case.
 */
MUST_USE enum demand_report_check demand_report_verify(struct demand_report_read *out,
                                                       const struct digest *service,
                                                       struct span file);
void demand_report_read_free(struct demand_report_read *read);

/*
 * Put what became of one replica into a report; the next in ascending order. Spans borrow from
 * result and from memory, where reasons are made fit to be shown. Returns: false: out of memory, or
 * the result's demand is none.
 */
MUST_USE bool demand_report_add(struct demand_report *report, struct arena *memory,
                                uint32_t replica, const struct fetch_result *result);

/*
 * Append the file: the report signed, with the genesis, and the links to its configuration, which
 * eras must have; NULL: it is the founding one. Returns: false when out of memory.
 */
MUST_USE bool demand_report_file_make(struct buffer *file, struct span genesis,
                                      const struct eras *eras, const struct secret_key *secret,
                                      const struct demand_report *report);

/* What it says, as JSON: a new reference; NULL: out of memory. file: that it was read from. */
MUST_USE json_t *demand_report_tell(const struct demand_report_read *read, struct span file);
/*
 * Verify a file and tell it. path names it in problems; service: NULL: that of the genesis in it.
 * Returns: a new reference; NULL with a problem: EXIT_INVALID with the check that failed.
 */
MUST_USE json_t *demand_report_open(const struct digest *service, const char *path,
                                    struct span file, struct problem *problem);
/* Write that for a terminal, or as a page. */
void demand_report_write_text(FILE *out, const json_t *told);
void demand_report_write_html(FILE *out, const json_t *told);

#endif
