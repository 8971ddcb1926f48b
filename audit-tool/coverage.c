/*
 * coverage: see coverage.h. Nothing is said to be checked that was not, and whatever limits an
 * audit has a line of its own; a test holds the exact words.
 */
#include "audit-tool/coverage.h"

#include <inttypes.h>

#include "audit-tool/print.h"
#include "base/check.h"

/* ---- for people ------------------------------------------------------------------------------ */

static void print_signers(FILE *out, const struct configuration *configuration, uint64_t signers) {
    const char *separator = "";
    for (uint32_t replica = 0; replica < configuration->replica_count; replica++) {
        if ((signers >> replica & 1) != 0) {
            (void)fprintf(out, "%s%s", separator, configuration_member_of(configuration, replica));
            separator = ", ";
        }
    }
}

static void print_digest(FILE *out, const struct digest *digest) {
    char text[2 * DIGEST_SIZE + 1];
    hex_encode(text, span_of(digest->bytes, DIGEST_SIZE));
    (void)fputs(text, out);
}

/* In force where it began; that is where statements of who signed the beginning are from. */
static void print_configurations(FILE *out, const struct audit_coverage *coverage,
                                 uint64_t number) {
    if (coverage->last_config > number) {
        (void)fprintf(out, "configurations %" PRIu64 "..%" PRIu64 "\n", number,
                      coverage->last_config);
    } else {
        (void)fprintf(out, "configuration %" PRIu64 "\n", number);
    }
}

static void print_summary_line(FILE *out, const struct audit_report *report, uint64_t number) {
    const struct audit_coverage *const coverage = &report->coverage;
    (void)fprintf(out, "replayed  %" PRIu64 " transactions from ", report->transactions);
    if (coverage->start_seq != 0) {
        (void)fprintf(out, "checkpoint %" PRIu64, coverage->start_seq);
    } else {
        (void)fputs("genesis", out);
    }
    (void)fprintf(out, " · %" PRIu64 " receipts reconciled · ", report->receipts_reconciled);
    print_configurations(out, coverage, number);
}

static void print_range(FILE *out, const struct audit_coverage *coverage) {
    if (coverage->first_batch == 0) {
        (void)fputs("  checked     no batch\n", out);
        return;
    }
    (void)fprintf(out, "  checked     batches %" PRIu64 "..%" PRIu64, coverage->first_batch,
                  coverage->last_batch);
    if (coverage->next_index > coverage->first_index) {
        (void)fprintf(out, ", transactions %" PRIu64 "..%" PRIu64, coverage->first_index,
                      coverage->next_index - 1);
    }
    (void)fprintf(out, ": %s\n",
                  coverage->signatures_trusted ? "roots and outcomes"
                                               : "signatures, evidence, roots, outcomes");
    if (coverage->views != 0) {
        (void)fprintf(out,
                      "  checked     %" PRIu64 " changes of view, the last to view %" PRIu64 "\n",
                      coverage->views, coverage->last_view);
    }
    if (coverage->checkpoints != 0) {
        (void)fprintf(out, "  checked     %" PRIu64 " checkpoints, as batches carry them\n",
                      coverage->checkpoints);
    }
}

static void print_receipts(FILE *out, const struct audit_report *report) {
    uint64_t const all = report->receipts_valid + report->receipts_invalid;
    if (all != 0) {
        (void)fprintf(out,
                      "  receipts    %" PRIu64 " given, %" PRIu64 " valid, %" PRIu64
                      " met by a ledger\n",
                      all, report->receipts_valid, report->receipts_reconciled);
    }
}

static void print_joints(FILE *out, const struct audit_coverage *coverage,
                         const struct configuration *configuration) {
    if (coverage->start_seq != 0) {
        (void)fprintf(out, "  began at    checkpoint %" PRIu64 " ", coverage->start_seq);
        print_digest(out, &coverage->start_digest);
        (void)fprintf(out, ", signed in batch %" PRIu64 " by ", coverage->start_signed_in);
        print_signers(out, configuration, coverage->start_signers);
        (void)fputc('\n', out);
    }
    if (coverage->resumed_seq != 0) {
        (void)fprintf(out,
                      "  went on at  batch %" PRIu64
                      ": an earlier run replayed what is before, and "
                      "its root of M was compared\n",
                      coverage->resumed_seq);
    }
    if (coverage->last_checkpoint != 0) {
        (void)fprintf(out, "  passed      checkpoint %" PRIu64 " ", coverage->last_checkpoint);
        print_digest(out, &coverage->last_checkpoint_digest);
        (void)fputc('\n', out);
    }
}

static const char *ledger_word(enum ledger_state state) {
    switch (state) {
    case LEDGER_FOLLOWED:
        return "followed";
    case LEDGER_ENDED:
        return "whole";
    case LEDGER_LEFT:
        return "left";
    }
    UNREACHABLE();
}

static void print_ledgers(FILE *out, const struct audit_coverage *coverage) {
    for (uint32_t i = 0; i < coverage->ledger_count; i++) {
        const struct ledger_coverage *const ledger = &coverage->ledgers[i];
        (void)fprintf(out, "  ledger      %s: %s, to batch %" PRIu64 "\n", ledger->name,
                      ledger_word(ledger->state), ledger->last_batch);
    }
}

static void print_unchecked_parts(FILE *out, const struct audit_report *report) {
    const struct audit_coverage *const coverage = &report->coverage;
    if (coverage->start_seq != 0) {
        (void)fprintf(out,
                      "  not checked batches 1..%" PRIu64
                      ": they are before the checkpoint to begin "
                      "at; nor later view-changes against nonces revealed for them\n",
                      coverage->start_seq);
    }
    if (coverage->receipts_before != 0) {
        (void)fprintf(out, "  not checked %" PRIu64 " receipts for batches 1..%" PRIu64 "\n",
                      coverage->receipts_before, coverage->start_seq);
    }
    if (coverage->ends_early) {
        (void)fprintf(out,
                      "  not checked what follows batch %" PRIu64 ": to end there was asked for\n",
                      coverage->last_batch);
    }
    if (coverage->receipts_beyond != 0) {
        (void)fprintf(out, "  not checked %" PRIu64 " receipts for batches after %" PRIu64 "\n",
                      coverage->receipts_beyond, coverage->last_batch);
    }
    if (coverage->receipts_unknown != 0) {
        (void)fprintf(out,
                      "  not checked %" PRIu64
                      " receipts of configurations that nothing given leads to\n",
                      coverage->receipts_unknown);
    }
}

static void print_unchecked(FILE *out, const struct audit_report *report) {
    const struct audit_coverage *const coverage = &report->coverage;
    print_unchecked_parts(out, report);
    if (coverage->signatures_trusted) {
        (void)fputs("  not checked signatures in the ledger: only execution was asked for\n", out);
    }
    if (coverage->first_batch != 0 && coverage->evidenced < coverage->last_batch) {
        (void)fprintf(out,
                      "  not checked a quorum for batches %" PRIu64 "..%" PRIu64
                      ": their evidence lies behind the end; their primary signed them\n",
                      coverage->evidenced + 1, coverage->last_batch);
    }
    if (report->has_unchecked) {
        (void)fprintf(out,
                      "  not checked transactions %" PRIu64 "..%" PRIu64
                      " of receipts: no ledger given decides about them\n",
                      report->unchecked_first, report->unchecked_last);
    }
}

void coverage_print(FILE *out, const struct audit_report *report,
                    const struct configuration *configuration) {
    print_summary_line(out, report, configuration->number);
    print_joints(out, &report->coverage, configuration);
    print_range(out, &report->coverage);
    print_receipts(out, report);
    print_ledgers(out, &report->coverage);
    print_unchecked(out, report);
}

/* ---- for programs ---------------------------------------------------------------------------- */

/* null when there are none. */
static json_t *json_of_range(bool has, uint64_t first, uint64_t last) {
    return has ? json_pack("{s:o,s:o}", "first", json_of_u64(first), "last", json_of_u64(last))
               : json_null();
}

static json_t *json_of_members(const struct configuration *configuration, uint64_t signers) {
    json_t *const list = json_array();
    for (uint32_t replica = 0; replica < configuration->replica_count; replica++) {
        if ((signers >> replica & 1) != 0) {
            (void)json_array_append_new(
                list, json_string(configuration_member_of(configuration, replica)));
        }
    }
    return list;
}

static json_t *json_of_start(const struct audit_coverage *coverage,
                             const struct configuration *configuration) {
    if (coverage->start_seq == 0) {
        return json_pack("{s:s}", "from", "genesis");
    }
    return json_pack("{s:s,s:o,s:o,s:o,s:o}", "from", "checkpoint", "checkpoint",
                     json_of_u64(coverage->start_seq), "digest",
                     json_of_digest(&coverage->start_digest), "signed_in",
                     json_of_u64(coverage->start_signed_in), "signers",
                     json_of_members(configuration, coverage->start_signers));
}

static json_t *json_of_ledgers(const struct audit_coverage *coverage) {
    json_t *const list = json_array();
    for (uint32_t i = 0; i < coverage->ledger_count; i++) {
        const struct ledger_coverage *const ledger = &coverage->ledgers[i];
        (void)json_array_append_new(list, json_pack("{s:s,s:s,s:o}", "name", ledger->name, "state",
                                                    ledger_word(ledger->state), "last_batch",
                                                    json_of_u64(ledger->last_batch)));
    }
    return list;
}

static json_t *json_of_checked(const struct audit_report *report,
                               const struct configuration *configuration) {
    const struct audit_coverage *const coverage = &report->coverage;
    bool const any = coverage->first_batch != 0;
    return json_pack(
        "{s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:b,s:o}", "start",
        json_of_start(coverage, configuration), "resumed_at", json_of_u64(coverage->resumed_seq),
        "batches", json_of_range(any, coverage->first_batch, coverage->last_batch), "transactions",
        json_of_range(any && coverage->next_index > coverage->first_index, coverage->first_index,
                      coverage->next_index - 1),
        "views", json_of_u64(coverage->views), "checkpoints", json_of_u64(coverage->checkpoints),
        "last_checkpoint", json_of_u64(coverage->last_checkpoint), "last_checkpoint_digest",
        json_of_digest(&coverage->last_checkpoint_digest), "signatures",
        coverage->signatures_trusted ? 0 : 1, "ledgers", json_of_ledgers(coverage));
}

static json_t *json_of_unchecked(const struct audit_report *report) {
    const struct audit_coverage *const coverage = &report->coverage;
    return json_pack(
        "{s:o,s:b,s:o,s:o,s:o,s:o,s:o}", "batches_before",
        json_of_range(coverage->start_seq != 0, 1, coverage->start_seq), "ended_early",
        coverage->ends_early ? 1 : 0, "batches_without_quorum",
        json_of_range(coverage->first_batch != 0 && coverage->evidenced < coverage->last_batch,
                      coverage->evidenced + 1, coverage->last_batch),
        "receipts_before", json_of_u64(coverage->receipts_before), "receipts_beyond",
        json_of_u64(coverage->receipts_beyond), "receipts_unknown",
        json_of_u64(coverage->receipts_unknown), "receipts_without_ledger",
        json_of_range(report->has_unchecked, report->unchecked_first, report->unchecked_last));
}

json_t *coverage_json(const struct audit_report *report,
                      const struct configuration *configuration) {
    uint64_t const last = report->coverage.last_config;
    return json_pack("{s:o,s:o,s:o,s:o,s:o}", "configuration", json_of_u64(configuration->number),
                     "last_configuration",
                     json_of_u64(last > configuration->number ? last : configuration->number),
                     "receipts",
                     json_pack("{s:o,s:o,s:o}", "valid", json_of_u64(report->receipts_valid),
                               "invalid", json_of_u64(report->receipts_invalid), "reconciled",
                               json_of_u64(report->receipts_reconciled)),
                     "checked", json_of_checked(report, configuration), "not_checked",
                     json_of_unchecked(report));
}
