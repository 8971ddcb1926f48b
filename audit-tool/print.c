/*
 * print: see print.h. The shape of the text is that of docs; scripts should read the JSON.
 */
#include "audit-tool/print.h"

#include <inttypes.h>

#include "base/check.h"

#define ROOT_SHOWN_SIZE 2u /* bytes of a digest that a person is shown */

void print_headline(FILE *out, const struct proof_verdict *verdict) {
    switch (verdict->kind) {
    case PROOF_EQUIVOCATION:
        (void)fprintf(out, "two %s for view %" PRIu64 ", batch %" PRIu64,
                      verdict->is_prepare ? "prepares" : "pre-prepares", verdict->view,
                      verdict->seq);
        return;
    case PROOF_CONFLICTING_CERTIFICATES:
        if (verdict->seq == verdict->seq_other) {
            (void)fprintf(out, "two histories for view %" PRIu64 ", batch %" PRIu64, verdict->view,
                          verdict->seq);
        } else {
            (void)fprintf(out,
                          "two histories for view %" PRIu64 ", batches %" PRIu64 " and %" PRIu64,
                          verdict->view, verdict->seq_other, verdict->seq);
        }
        return;
    case PROOF_BROKEN_BATCH:
        (void)fprintf(out, "view %" PRIu64 ", batch %" PRIu64 " breaks the rule %s", verdict->view,
                      verdict->seq, rule_name(verdict->rule));
        return;
    case PROOF_WRONG_OUTCOME:
        (void)fprintf(out,
                      "view %" PRIu64 ", batch %" PRIu64
                      " states a wrong outcome of transaction %" PRIu64,
                      verdict->view, verdict->seq, verdict->wrong_index);
        return;
    case PROOF_WRONG_CHECKPOINT:
        (void)fprintf(out, "view %" PRIu64 ", batch %" PRIu64 " states a wrong checkpoint digest",
                      verdict->view, verdict->seq);
        return;
    case PROOF_UNDERSTATED_VIEW_CHANGE:
        (void)fprintf(out,
                      "batch %" PRIu64 " of view %" PRIu64 " was hidden when view %" PRIu64
                      " was asked for",
                      verdict->seq, verdict->view, verdict->view_asked);
        return;
    case PROOF_BROKEN_NEW_VIEW:
        (void)fprintf(out, "new view %" PRIu64 ", after batch %" PRIu64 ", breaks the rule %s",
                      verdict->view, verdict->seq, rule_name(verdict->rule));
        return;
    case PROOF_FORKED_VIEW:
        (void)fprintf(out, "two ledgers in view %" PRIu64 ", batches %" PRIu64 " and %" PRIu64,
                      verdict->view, verdict->seq_other, verdict->seq);
        return;
    case PROOF_MALFORMED_RANGE:
        (void)fprintf(out,
                      "what was handed over as entries %" PRIu64 " to %" PRIu64
                      " of a ledger is none: %s at entry %" PRIu64,
                      verdict->first, verdict->end, rule_name(verdict->rule), verdict->entry);
        return;
    }
    UNREACHABLE();
}

static void print_root(FILE *out, const struct digest *root) {
    char text[2 * ROOT_SHOWN_SIZE + 1];
    hex_encode(text, span_of(root->bytes, ROOT_SHOWN_SIZE));
    (void)fprintf(out, "%s…", text);
}

/* Two batches, of which each of the blamed signed both. */
static void print_two_batches(FILE *out, const struct proof_verdict *verdict, const char *who) {
    if (verdict->seq == verdict->seq_other) {
        (void)fprintf(out, "  %s batch %" PRIu64 " of view %" PRIu64 " with %s ", who, verdict->seq,
                      verdict->view, verdict->is_prepare ? "digests" : "roots");
    } else {
        (void)fprintf(out,
                      "  %s batches %" PRIu64 " and %" PRIu64 " of view %" PRIu64
                      ", which no one ledger holds, with roots ",
                      who, verdict->seq_other, verdict->seq, verdict->view);
    }
    print_root(out, &verdict->roots[0]);
    (void)fputs(" and ", out);
    print_root(out, &verdict->roots[1]);
    (void)fputc('\n', out);
}

/* What the blamed revealed, and what they stated afterwards. */
static void print_hidden(FILE *out, const struct proof_verdict *verdict, const char *each) {
    (void)fprintf(out, "  %srevealed a nonce for batch %" PRIu64 " of view %" PRIu64 ", root ",
                  each, verdict->seq, verdict->view);
    print_root(out, &verdict->roots[0]);
    if (verdict->stated.seq == 0) {
        (void)fputs(", and signed later that it never prepared anything\n", out);
    } else {
        (void)fprintf(out,
                      ", and signed later that it prepared nothing above batch %" PRIu64
                      " of view %" PRIu64 "\n",
                      verdict->stated.seq, verdict->stated.view);
    }
}

static void print_why(FILE *out, const struct proof_verdict *verdict) {
    bool const several = (verdict->blamed & (verdict->blamed - 1)) != 0;
    const char *const who = several ? "each signed" : "signed";
    switch (verdict->kind) {
    case PROOF_EQUIVOCATION:
    case PROOF_CONFLICTING_CERTIFICATES:
    case PROOF_FORKED_VIEW:
        print_two_batches(out, verdict, who);
        return;
    case PROOF_BROKEN_BATCH:
    case PROOF_WRONG_OUTCOME:
    case PROOF_WRONG_CHECKPOINT:
        (void)fprintf(out, "  %s batch %" PRIu64 " of view %" PRIu64 " with root ", who,
                      verdict->seq, verdict->view);
        print_root(out, &verdict->roots[0]);
        (void)fprintf(out, ": %s\n", rule_text(verdict->rule));
        return;
    case PROOF_UNDERSTATED_VIEW_CHANGE:
        print_hidden(out, verdict, several ? "each " : "");
        return;
    case PROOF_BROKEN_NEW_VIEW:
        (void)fprintf(out, "  signed new view %" PRIu64 "%s: %s\n", verdict->view,
                      several ? ", or prepared in it" : "", rule_text(verdict->rule));
        return;
    case PROOF_MALFORMED_RANGE:
        (void)fputs("  signed for bytes with digest ", out);
        print_root(out, &verdict->roots[0]);
        (void)fprintf(out, ", which show by themselves that they are no ledger: %s\n",
                      rule_text(verdict->rule));
        return;
    }
    UNREACHABLE();
}

void print_blame(FILE *out, const struct proof_verdict *verdict) {
    const char *separator = "";
    (void)fputs("  blamed      ", out);
    for (uint32_t replica = 0; replica < verdict->configuration.replica_count; replica++) {
        if ((verdict->blamed >> replica & 1) != 0) {
            (void)fprintf(out, "%s%s (replica %" PRIu32 ")", separator,
                          configuration_member_of(&verdict->configuration, replica), replica);
            separator = ", ";
        }
    }
    (void)fputc('\n', out);
    print_why(out, verdict);
}

/* What a notice is about, in one word; they all blame nobody. */
static const char *notice_word(enum exit_code code) {
    switch (code) {
    case EXIT_INVALID:
        return "INVALID";
    case EXIT_CANNOT_AUDIT:
        return "CANNOT AUDIT";
    case EXIT_CORRUPT:
        return "CORRUPT";
    case EXIT_OK:
    case EXIT_ERROR:
    case EXIT_USAGE:
    case EXIT_UNREACHABLE:
    case EXIT_REJECTED:
    case EXIT_MISBEHAVIOUR:
        return "ERROR";
    }
    UNREACHABLE();
}

void print_notices(FILE *out, const struct audit_report *report) {
    for (uint32_t i = 0; i < report->notice_count; i++) {
        (void)fprintf(out, "%-12s  %s\n", notice_word(report->notices[i].code),
                      report->notices[i].text);
    }
    if (report->notices_further != 0) {
        (void)fprintf(out, "and %" PRIu64 " more like these\n", report->notices_further);
    }
}

/* ---- JSON ---- */

json_t *json_of_u64(uint64_t number) {
    char text[24];
    (void)snprintf(text, sizeof text, "%" PRIu64, number);
    return json_string(text);
}

json_t *json_of_digest(const struct digest *digest) {
    char text[2 * DIGEST_SIZE + 1];
    hex_encode(text, span_of(digest->bytes, DIGEST_SIZE));
    return json_string(text);
}

static const char *kind_name(enum proof_kind kind) {
    switch (kind) {
    case PROOF_EQUIVOCATION:
        return "equivocation";
    case PROOF_CONFLICTING_CERTIFICATES:
        return "conflicting-certificates";
    case PROOF_BROKEN_BATCH:
        return "broken-batch";
    case PROOF_WRONG_OUTCOME:
        return "wrong-outcome";
    case PROOF_WRONG_CHECKPOINT:
        return "wrong-checkpoint";
    case PROOF_UNDERSTATED_VIEW_CHANGE:
        return "understated-view-change";
    case PROOF_BROKEN_NEW_VIEW:
        return "broken-new-view";
    case PROOF_FORKED_VIEW:
        return "forked-view";
    case PROOF_MALFORMED_RANGE:
        return "malformed-range";
    }
    UNREACHABLE();
}

static json_t *json_of_blamed(const struct proof_verdict *verdict) {
    json_t *const list = json_array();
    for (uint32_t replica = 0; replica < verdict->configuration.replica_count; replica++) {
        if ((verdict->blamed >> replica & 1) != 0 &&
            json_array_append_new(
                list, json_pack("{s:s, s:i}", "member",
                                configuration_member_of(&verdict->configuration, replica),
                                "replica", (int)replica)) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

/* The parts that only some kinds have. */
static int add_details(json_t *object, const struct proof_verdict *verdict) {
    switch (verdict->kind) {
    case PROOF_EQUIVOCATION:
    case PROOF_CONFLICTING_CERTIFICATES:
    case PROOF_FORKED_VIEW:
        return json_object_set_new(object, "other_batch", json_of_u64(verdict->seq_other)) |
               json_object_set_new(object, "roots",
                                   json_pack("[o, o]", json_of_digest(&verdict->roots[0]),
                                             json_of_digest(&verdict->roots[1])));
    case PROOF_BROKEN_BATCH:
    case PROOF_WRONG_CHECKPOINT:
    case PROOF_BROKEN_NEW_VIEW:
        return json_object_set_new(object, "rule", json_string(rule_name(verdict->rule))) |
               json_object_set_new(object, "roots",
                                   json_pack("[o]", json_of_digest(&verdict->roots[0])));
    case PROOF_WRONG_OUTCOME:
        return json_object_set_new(object, "rule", json_string(rule_name(verdict->rule))) |
               json_object_set_new(object, "transaction", json_of_u64(verdict->wrong_index)) |
               json_object_set_new(object, "roots",
                                   json_pack("[o]", json_of_digest(&verdict->roots[0])));
    case PROOF_UNDERSTATED_VIEW_CHANGE:
        return json_object_set_new(object, "view_asked", json_of_u64(verdict->view_asked)) |
               json_object_set_new(object, "stated_view", json_of_u64(verdict->stated.view)) |
               json_object_set_new(object, "stated_batch", json_of_u64(verdict->stated.seq)) |
               json_object_set_new(object, "roots",
                                   json_pack("[o]", json_of_digest(&verdict->roots[0])));
    case PROOF_MALFORMED_RANGE:
        return json_object_set_new(object, "rule", json_string(rule_name(verdict->rule))) |
               json_object_set_new(object, "first", json_of_u64(verdict->first)) |
               json_object_set_new(object, "end", json_of_u64(verdict->end)) |
               json_object_set_new(object, "entry", json_of_u64(verdict->entry)) |
               json_object_set_new(object, "bytes_digest", json_of_digest(&verdict->roots[0]));
    }
    UNREACHABLE();
}

json_t *print_json(const struct proof_verdict *verdict) {
    json_t *const object =
        json_pack("{s:s, s:o, s:o, s:o, s:o, s:o}", "kind", kind_name(verdict->kind), "service",
                  json_of_digest(&verdict->service), "configuration", json_of_u64(verdict->config),
                  "view", json_of_u64(verdict->view), "batch", json_of_u64(verdict->seq), "blamed",
                  json_of_blamed(verdict));
    if (object != NULL && add_details(object, verdict) != 0) {
        json_decref(object);
        return NULL;
    }
    return object;
}
