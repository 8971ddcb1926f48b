/*
 * watcher_print: see watcher_print.h.
 */
#include "audit-tool/watcher_print.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <time.h>

#include "audit-tool/print.h"
#include "base/check.h"

#define TIME_SIZE 40u

static const char *kind_word(enum watch_event_kind kind) {
    switch (kind) {
    case WATCH_MISBEHAVIOUR:
        return "misbehaviour";
    case WATCH_OUTAGE:
        return "outage";
    case WATCH_OUTAGE_OVER:
        return "outage-over";
    case WATCH_PARTED:
        return "parted";
    case WATCH_CORRUPTION:
        return "corruption";
    case WATCH_CANNOT:
        return "cannot-audit";
    case WATCH_BAD_RECEIPT:
        return "bad-receipt";
    case WATCH_STATUS:
        return "status";
    }
    UNREACHABLE();
}

static const char *kind_title(enum watch_event_kind kind) {
    switch (kind) {
    case WATCH_MISBEHAVIOUR:
        return "MISBEHAVIOUR PROVEN";
    case WATCH_OUTAGE:
        return "OUTAGE";
    case WATCH_OUTAGE_OVER:
        return "OUTAGE OVER";
    case WATCH_PARTED:
        return "PARTED";
    case WATCH_CORRUPTION:
        return "CORRUPTION";
    case WATCH_CANNOT:
        return "CANNOT AUDIT";
    case WATCH_BAD_RECEIPT:
        return "BAD RECEIPT";
    case WATCH_STATUS:
        return "STATUS";
    }
    UNREACHABLE();
}

/* RFC 3339, to the second. */
static void format_time(char text[static TIME_SIZE], uint64_t time_ms) {
    time_t const seconds = (time_t)(time_ms / 1000);
    struct tm parts;
    if (gmtime_r(&seconds, &parts) == NULL ||
        strftime(text, TIME_SIZE, "%Y-%m-%dT%H:%M:%SZ", &parts) == 0) {
        (void)snprintf(text, TIME_SIZE, "%" PRIu64 "ms", time_ms);
    }
}

static const char *member_of(const struct watch_event *event) {
    const struct configuration *const configuration = event->configuration;
    return configuration != NULL && event->replica < configuration->replica_count
               ? configuration_member_of(configuration, event->replica)
               : "?";
}

/* ---- for people ------------------------------------------------------------------------------ */

/* Names of files and reasons may hold anything: a line stays one line. */
static void print_clean(FILE *out, const char *text) {
    for (const char *at = text; *at != '\0'; at++) {
        unsigned char const byte = (unsigned char)*at;
        (void)fputc(byte < 0x20 || byte == 0x7f ? '?' : byte, out);
    }
}

static void print_proof(FILE *out, const struct watch_event *event) {
    const struct proof_verdict *const verdict = event->verdict;
    const char *separator = " · blamed ";
    print_headline(out, verdict);
    for (uint32_t replica = 0; replica < verdict->configuration.replica_count; replica++) {
        if ((verdict->blamed >> replica & 1) != 0) {
            (void)fprintf(out, "%s%s (replica %" PRIu32 ")", separator,
                          configuration_member_of(&verdict->configuration, replica), replica);
            separator = ", ";
        }
    }
    (void)fputs(" · evidence ", out);
    print_clean(out, event->path);
    if (event->again) {
        (void)fputs(" · perhaps told before: the watcher was cut off", out);
    }
}

static void print_status(FILE *out, const struct watch_status *status) {
    (void)fprintf(out, "audited to batch %" PRIu64 " of view %" PRIu64, status->audited_batch,
                  status->view);
    if (status->config > 1) {
        (void)fprintf(out, " of configuration %" PRIu64, status->config);
    }
    if (status->evidenced < status->audited_batch) {
        (void)fprintf(out, ", with a quorum's evidence to %" PRIu64, status->evidenced);
    }
    (void)fprintf(out,
                  " · %" PRIu64 " replayed%s · receipts %" PRIu64 ": %" PRIu64
                  " held against it, %" PRIu64 " not checked yet",
                  status->replayed, status->read_again ? ", read from the beginning" : "",
                  status->receipts, status->settled, status->waiting);
    (void)fprintf(out, " · ledgers %" PRIu32, status->ledgers);
    if (status->behind != 0) {
        (void)fprintf(out, ", %" PRIu32 " behind and not checked", status->behind);
    }
    if (status->is_due) {
        (void)fputs(", an audit from genesis is due", out);
    }
    if (status->left != 0) {
        (void)fprintf(out, ", %" PRIu32 " left", status->left);
    }
    if (status->replicas != 0) {
        (void)fprintf(out, " · replicas %" PRIu32 ", %" PRIu32 " level", status->replicas,
                      status->level);
    }
    if (status->silent != 0) {
        (void)fprintf(out, ", %" PRIu32 " silent", status->silent);
    }
    (void)fprintf(out, " · proofs %" PRIu64, status->findings);
}

static void print_what(FILE *out, const struct watch_event *event) {
    char since[TIME_SIZE];
    format_time(since, event->since_ms);
    switch (event->kind) {
    case WATCH_MISBEHAVIOUR:
        print_proof(out, event);
        return;
    case WATCH_OUTAGE:
        (void)fprintf(out, "replica %" PRIu32 " (%s) since %s: ", event->replica, member_of(event),
                      since);
        print_clean(out, event->text);
        if (event->path != NULL) {
            (void)fputs(" · report ", out);
            print_clean(out, event->path);
        }
        (void)fputs(" · no proof of anything", out);
        return;
    case WATCH_OUTAGE_OVER:
        (void)fprintf(out, "replica %" PRIu32 " (%s) answers; it did not since %s", event->replica,
                      member_of(event), since);
        return;
    case WATCH_PARTED:
        (void)fprintf(out,
                      "replica %" PRIu32 " (%s) hands over another history than before; both are "
                      "kept",
                      event->replica, member_of(event));
        return;
    case WATCH_CORRUPTION:
    case WATCH_CANNOT:
    case WATCH_BAD_RECEIPT:
        print_clean(out, event->text);
        return;
    case WATCH_STATUS:
        print_status(out, event->status);
        return;
    }
    UNREACHABLE();
}

static void print_text(FILE *out, const struct watch_event *event) {
    char now[TIME_SIZE];
    format_time(now, event->time_ms);
    (void)fprintf(out, "%s %s ", now, kind_title(event->kind));
    print_what(out, event);
    (void)fputc('\n', out);
}

/* ---- for programs ---------------------------------------------------------------------------- */

static void set(json_t *object, const char *name, json_t *value) {
    (void)json_object_set_new(object, name, value);
}

static json_t *json_of_status(const struct watch_status *status) {
    json_t *const object = json_object();
    set(object, "audited_batch", json_of_u64(status->audited_batch));
    set(object, "evidenced_batch", json_of_u64(status->evidenced));
    set(object, "configuration", json_of_u64(status->config));
    set(object, "view", json_of_u64(status->view));
    set(object, "replayed", json_of_u64(status->replayed));
    set(object, "read_again", json_boolean(status->read_again));
    set(object, "receipts", json_of_u64(status->receipts));
    set(object, "receipts_settled", json_of_u64(status->settled));
    set(object, "receipts_waiting", json_of_u64(status->waiting));
    set(object, "late_batches", json_of_u64(status->late));
    set(object, "audit_due", json_boolean(status->is_due));
    set(object, "ledgers", json_integer(status->ledgers));
    set(object, "ledgers_behind", json_integer(status->behind));
    set(object, "ledgers_left", json_integer(status->left));
    set(object, "replicas", json_integer(status->replicas));
    set(object, "replicas_level", json_integer(status->level));
    set(object, "replicas_silent", json_integer(status->silent));
    set(object, "proofs", json_of_u64(status->findings));
    return object;
}

/* Names of files need not be UTF-8, which strings of JSON are. */
static json_t *json_of_text(const char *text) {
    json_t *const string = json_string(text);
    return string != NULL ? string : json_string("(not UTF-8)");
}

static void print_as_json(FILE *out, const struct watch_event *event) {
    char now[TIME_SIZE];
    format_time(now, event->time_ms);
    json_t *const object = json_object();
    set(object, "time", json_string(now));
    set(object, "kind", json_string(kind_word(event->kind)));
    if (event->kind == WATCH_OUTAGE || event->kind == WATCH_OUTAGE_OVER ||
        event->kind == WATCH_PARTED) {
        set(object, "replica", json_integer(event->replica));
        set(object, "member", json_of_text(member_of(event)));
    }
    if (event->since_ms != 0) {
        char since[TIME_SIZE];
        format_time(since, event->since_ms);
        set(object, "since", json_string(since));
    }
    if (event->text != NULL) {
        set(object, "text", json_of_text(event->text));
    }
    if (event->path != NULL) {
        set(object, event->verdict != NULL ? "evidence" : "report", json_of_text(event->path));
    }
    if (event->verdict != NULL) {
        set(object, "finding", print_json(event->verdict));
        set(object, "again", json_boolean(event->again));
    }
    if (event->status != NULL) {
        set(object, "status", json_of_status(event->status));
    }
    (void)json_dumpf(object, out, JSON_COMPACT);
    (void)fputc('\n', out);
    json_decref(object);
}

/* ---- events ---------------------------------------------------------------------------------- */

/* A status is news when it says something else, whatever it cost to find that out. */
static bool is_news(struct watcher_printer *printer, const struct watch_status *status) {
    struct watch_status now = *status;
    now.replayed = 0;
    now.read_again = false;
    bool const news = !printer->has_last || now.audited_batch != printer->last.audited_batch ||
                      now.evidenced != printer->last.evidenced ||
                      now.receipts != printer->last.receipts ||
                      now.settled != printer->last.settled || now.late != printer->last.late ||
                      now.ledgers != printer->last.ledgers || now.is_due != printer->last.is_due ||
                      now.behind != printer->last.behind || now.left != printer->last.left ||
                      now.level != printer->last.level || now.silent != printer->last.silent ||
                      now.findings != printer->last.findings;
    printer->last = now;
    printer->has_last = true;
    return news;
}

void watcher_print(struct watcher_printer *printer, const struct watch_event *event) {
    char *line = NULL;
    size_t size = 0;
    if (event->kind == WATCH_STATUS && (!is_news(printer, event->status) || printer->quiet)) {
        return;
    }
    FILE *const memory = open_memstream(&line, &size);
    if (memory == NULL) {
        return;
    }
    if (printer->json) {
        print_as_json(memory, event);
    } else {
        print_text(memory, event);
    }
    if (fclose(memory) == 0) {
        (void)fwrite(line, 1, size, printer->out);
        (void)fflush(printer->out);
    }
    free(line);
}
