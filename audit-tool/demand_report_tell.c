/*
 * demand_report_tell: a report about demands for people and programs. It is told as JSON once; text
 * and page are other ways to write the same.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "audit-tool/account_internal.h"
#include "audit-tool/demand_report.h"
#include "audit-tool/print.h"

static_assert((unsigned)FETCH_MALFORMED == DEMAND_REPORT_STATES && FETCH_LEVEL == 1,
              "every state has its words");

static const struct {
    const char *name;
    const char *text;
} states[DEMAND_REPORT_STATES + 1] = {
    [FETCH_LEVEL] = {"level", "handed over all that it said it has"},
    [FETCH_BEHIND] = {"behind", "answered, but the deadline came first"},
    [FETCH_SILENT] = {"silent", "was reached, and did not answer in time"},
    [FETCH_UNREACHABLE] = {"unreachable", "could not be reached"},
    [FETCH_REFUSED] = {"refused", "said that it will not answer"},
    [FETCH_INVALID] = {"invalid", "answers came that it did not sign, or to something else"},
    [FETCH_MALFORMED] = {"malformed",
                         "signed for what is no ledger: of that there is evidence elsewhere"},
};

static const char *part_name(enum served_part part) {
    switch (part) {
    case SERVED_ENTRIES:
        return "entries";
    case SERVED_OFFER:
        return "offer";
    case SERVED_DIGESTS:
        return "digests";
    case SERVED_ITEMS:
        return "items";
    }
    return "";
}

/* ---- telling --------------------------------------------------------------------------------- */

static json_t *json_of_text(struct span text) {
    return json_stringn(text.size == 0 ? "" : (const char *)text.data, text.size);
}

/* Who has this key? NULL: nobody in this list. */
static const char *name_of(const struct member *list, uint32_t count,
                           const struct public_key *key) {
    for (uint32_t i = 0; i < count; i++) {
        if (public_key_equal(&list[i].key, key)) {
            return list[i].name;
        }
    }
    return NULL;
}

static json_t *author_name(const struct demand_report_read *read) {
    const struct constitution *const now = &read->constitution;
    const char *const member = name_of(now->members, now->member_count, &read->report.author);
    const char *const user = name_of(now->users, now->user_count, &read->report.author);
    return member != NULL ? json_sprintf("member %s", member)
           : user != NULL ? json_sprintf("user %s", user)
                          : json_string("");
}

static json_t *tell_time(uint64_t time_ms) {
    return time_ms == 0 ? json_string("never") : telling_time(time_ms);
}

static json_t *tell_demand(const struct demand *demand) {
    return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o}", "part", part_name(demand->part),
                     "checkpoint", json_of_u64(demand->seq), "first", json_of_u64(demand->first),
                     "time", telling_time(demand->time_ms), "deadline_ms",
                     json_of_u64(demand->deadline_ms), "challenge",
                     telling_bytes(span_of(demand->challenge, CHALLENGE_SIZE)));
}

static json_t *tell_replica(const struct demand_report_read *read, uint32_t nth) {
    const struct asked_replica *const asked = &read->report.replicas[nth];
    return json_pack("{s:i, s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "replica",
                     (int)asked->replica, "member",
                     configuration_member_of(&read->configuration, asked->replica), "state",
                     states[asked->state].name, "what", states[asked->state].text, "entries",
                     json_of_u64(asked->entries), "available", json_of_u64(asked->available),
                     "first_demand", tell_time(asked->asked_ms), "last_answer",
                     tell_time(asked->answered_ms), "demands", json_of_u64(asked->demands),
                     "answers", json_of_u64(asked->answers), "reason", json_of_text(asked->reason),
                     "last_demand",
                     asked->has_demand ? tell_demand(&read->demands[nth]) : json_null());
}

json_t *demand_report_tell(const struct demand_report_read *read, struct span file) {
    const struct demand_report *const report = &read->report;
    struct digest const digest = hash_bytes(file);
    json_t *const replicas = json_array();
    for (uint32_t i = 0; i < report->count; i++) {
        if (json_array_append_new(replicas, tell_replica(read, i)) != 0) {
            json_decref(replicas);
            return NULL;
        }
    }
    return json_pack(
        "{s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "kind", "demand-report",
        "note", DEMAND_REPORT_NOT_A_PROOF, "service", json_of_digest(&read->genesis.service),
        "service_name", json_of_text(read->genesis.name), "author", author_name(read), "author_key",
        telling_bytes(span_of(report->author.bytes, PUBLIC_KEY_SIZE)), "started",
        telling_time(report->started_ms), "ended", telling_time(report->ended_ms), "deadline_ms",
        json_of_u64(report->deadline_ms), "configuration", json_of_u64(report->config),
        "file_digest", json_of_digest(&digest), "replicas", replicas);
}

json_t *demand_report_open(const struct digest *service, const char *path, struct span file,
                           struct problem *problem) {
    struct demand_report_read *const read = malloc(sizeof *read);
    if (read == NULL) {
        (void)problem_set(problem, EXIT_ERROR, "out of memory");
        return NULL;
    }
    json_t *told = NULL;
    enum demand_report_check const check = demand_report_verify(read, service, file);
    if (check != DEMAND_REPORT_VALID) {
        (void)problem_set(problem, check == DEMAND_REPORT_MEMORY ? EXIT_ERROR : EXIT_INVALID,
                          "%s: not a valid report: %s", path, demand_report_check_text(check));
    } else {
        told = demand_report_tell(read, file);
        if (told == NULL) {
            (void)problem_set(problem, EXIT_ERROR, "%s: there is not enough memory to tell", path);
        }
    }
    demand_report_read_free(read);
    free(read);
    return told;
}

/* ---- text ------------------------------------------------------------------------------------ */

static const char *text_at(const json_t *object, const char *name) {
    const char *const text = json_string_value(json_object_get(object, name));
    return text == NULL ? "" : text;
}

static void write_demand(FILE *out, const json_t *demand) {
    (void)fprintf(out, "      last demand   %s from %s on, at %s, to be answered within %s ms\n",
                  text_at(demand, "part"), text_at(demand, "first"), text_at(demand, "time"),
                  text_at(demand, "deadline_ms"));
    (void)fprintf(out, "      challenge     %s\n", text_at(demand, "challenge"));
}

static void write_replica(FILE *out, const json_t *one) {
    const json_t *const demand = json_object_get(one, "last_demand");
    (void)fprintf(out, "  replica %lld (%s)  %s: %s\n",
                  (long long)json_integer_value(json_object_get(one, "replica")),
                  text_at(one, "member"), text_at(one, "state"), text_at(one, "what"));
    if (text_at(one, "reason")[0] != '\0') {
        (void)fprintf(out, "      it is said    %s\n", text_at(one, "reason"));
    }
    (void)fprintf(out, "      entries       %s, of %s that it said it has\n",
                  text_at(one, "entries"), text_at(one, "available"));
    (void)fprintf(out, "      demands       %s, the first %s\n", text_at(one, "demands"),
                  text_at(one, "first_demand"));
    (void)fprintf(out, "      answers       %s, the last %s\n", text_at(one, "answers"),
                  text_at(one, "last_answer"));
    if (json_is_object(demand)) {
        write_demand(out, demand);
    }
}

void demand_report_write_text(FILE *out, const json_t *told) {
    size_t nth = 0;
    json_t *one = NULL;
    (void)fprintf(out, "REPORT   %s\n\n", text_at(told, "note"));
    (void)fprintf(out, "  service       %s, %s\n", text_at(told, "service_name"),
                  text_at(told, "service"));
    (void)fprintf(out, "  signed by     %s, key %s\n", text_at(told, "author"),
                  text_at(told, "author_key"));
    (void)fprintf(out, "  asked         from %s to %s, each within %s ms\n\n",
                  text_at(told, "started"), text_at(told, "ended"), text_at(told, "deadline_ms"));
    json_array_foreach(json_object_get(told, "replicas"), nth, one) {
        write_replica(out, one);
    }
    (void)fputs("\nIts author signed this, and answers for it. That a demand was not answered\n"
                "cannot be shown to others: whoever doubts it asks the replica.\n",
                out);
}

/* ---- page ------------------------------------------------------------------------------------ */

static void write_cell(FILE *out, const char *open, const char *text, const char *close) {
    (void)fputs(open, out);
    page_write_escaped(out, text);
    (void)fputs(close, out);
}

static void write_page_replica(FILE *out, const json_t *one) {
    static const char *const names[] = {"member",  "state",      "what",    "reason",
                                        "entries", "available",  "demands", "first_demand",
                                        "answers", "last_answer"};
    static const char *const titles[] = {"member",
                                         "state",
                                         "what it did",
                                         "reason",
                                         "entries handed over",
                                         "entries that it said it has",
                                         "demands",
                                         "first demand",
                                         "answers that hold",
                                         "last answer"};
    (void)fprintf(out, "<h2>Replica %lld</h2>\n<table>\n<tbody>\n",
                  (long long)json_integer_value(json_object_get(one, "replica")));
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        write_cell(out, "<tr><th scope=\"row\">", titles[i], "</th>");
        write_cell(out, "<td>", text_at(one, names[i]), "</td></tr>\n");
    }
    const json_t *const demand = json_object_get(one, "last_demand");
    if (json_is_object(demand)) {
        write_cell(out, "<tr><th scope=\"row\">last demand</th><td>", text_at(demand, "part"), "");
        write_cell(out, " from ", text_at(demand, "first"), " on");
        write_cell(out, ", at ", text_at(demand, "time"), "");
        write_cell(out, ", within ", text_at(demand, "deadline_ms"), " ms</td></tr>\n");
        write_cell(out, "<tr><th scope=\"row\">its challenge</th><td class=\"bytes\">",
                   text_at(demand, "challenge"), "</td></tr>\n");
    }
    (void)fputs("</tbody>\n</table>\n", out);
}

void demand_report_write_html(FILE *out, const json_t *told) {
    size_t nth = 0;
    json_t *one = NULL;
    page_write_beginning(out, "Who answered for its ledger");
    write_cell(out, "<p class=\"faint\">", text_at(told, "note"), "</p>\n");
    (void)fputs("<h1>Who handed over its ledger, and who did not</h1>\n", out);
    write_cell(out, "<p>In the service <strong>", text_at(told, "service_name"), "</strong>, ");
    write_cell(out, "<strong>", text_at(told, "author"), "</strong> demanded the ledgers of ");
    write_cell(out, "replicas from ", text_at(told, "started"), "");
    write_cell(out, " to ", text_at(told, "ended"), ", to be answered within ");
    write_cell(out, "", text_at(told, "deadline_ms"), " ms, and signed this report with the key ");
    write_cell(out, "<code>", text_at(told, "author_key"), "</code>.</p>\n");
    json_array_foreach(json_object_get(told, "replicas"), nth, one) {
        write_page_replica(out, one);
    }
    (void)fputs("<h2>What it is worth</h2>\n<p>Its author signed it, and answers for it. It blames "
                "nobody: that a demand was not answered cannot be shown to others. Whoever doubts "
                "it asks the replica, and sees.</p>\n",
                out);
    write_cell(out, "<p class=\"faint\">Service id <code>", text_at(told, "service"),
               "</code></p>\n");
    write_cell(out,
               "<p class=\"faint\">This page was made from a file with the SHA-256 digest <code>",
               text_at(told, "file_digest"), "</code></p>\n");
    page_write_end(out);
}
