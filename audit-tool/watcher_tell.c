/*
 * watcher_tell: each thing is told once, by what it says. That something is about to be told is
 * durable before it is told, and that it was told afterwards: so nothing is lost when the watcher
 * is killed in between, and what may be told a second time says so.
 */
#include <jansson.h>
#include <stdlib.h>

#include "audit-tool/evidence_file.h"
#include "audit-tool/print.h"
#include "audit-tool/watcher_internal.h"
#include "host/clock.h"

#define FINDING_PREFIX "finding:"
#define LINE_PREFIX "line:"
#define NAME_SIZE (sizeof FINDING_PREFIX + 2 * DIGEST_SIZE)
#define TELLING 1u /* the first byte of a note; the path of the evidence follows */
#define TOLD 2u

void watch_tell(const struct watcher *watcher, struct watch_event *event) {
    event->time_ms = clock_wall_ms();
    event->configuration = watch_configuration(watcher);
    if (watcher->options.on_event != NULL) {
        watcher->options.on_event(watcher->options.context, event);
    }
}

static void name_of(char name[static NAME_SIZE], const char *prefix, struct span bytes) {
    char hex[2 * DIGEST_SIZE + 1];
    struct digest const digest = hash_bytes(bytes);
    hex_encode(hex, span_of(digest.bytes, DIGEST_SIZE));
    (void)snprintf(name, NAME_SIZE, "%s%s", prefix, hex);
}

/* Note where we are with telling. Returns: 0 or -1. */
static int note(struct watcher *watcher, const char *name, uint8_t state, const char *path,
                struct problem *problem) {
    struct buffer value;
    buffer_init(&value, PATH_MAX + 1);
    struct store_write *const write =
        buffer_append(&value, span_of(&state, 1)) && buffer_append(&value, span_text(path))
            ? watcher_store_begin(watcher->store, problem)
            : NULL;
    int status = write == NULL ? problem_set(problem, EXIT_ERROR, "out of memory") : 0;
    if (status == 0) {
        status = watcher_store_put(write, name, buffer_span(&value), problem);
        if (status == 0) {
            status = watcher_store_commit(write, problem);
        } else {
            watcher_store_abort(write);
        }
    }
    buffer_free(&value);
    return status;
}

/* Returns: 1 when it is noted, 0, or -1. */
static int is_noted(struct watcher *watcher, const char *name, struct problem *problem) {
    struct buffer value;
    buffer_init(&value, PATH_MAX + 1);
    int const status = watcher_store_get(watcher->store, name, &value, problem);
    buffer_free(&value);
    return status;
}

/* ---- findings ---- */

/* What the proof is about: another proof of the very same is no news. */
static int finding_name(char name[static NAME_SIZE], const struct proof_verdict *verdict,
                        struct problem *problem) {
    json_t *const json = print_json(verdict);
    char *const text = json == NULL ? NULL : json_dumps(json, JSON_SORT_KEYS | JSON_COMPACT);
    json_decref(json);
    if (text == NULL) {
        return problem_set(problem, EXIT_ERROR, "out of memory");
    }
    name_of(name, FINDING_PREFIX, span_text(text));
    free(text);
    return 0;
}

static int tell_finding(struct watcher *watcher, const char *name,
                        const struct proof_verdict *verdict, const char *path, bool again,
                        struct problem *problem) {
    watch_tell(watcher,
               &(struct watch_event){
                   .kind = WATCH_MISBEHAVIOUR, .verdict = verdict, .path = path, .again = again});
    return note(watcher, name, TOLD, path, problem);
}

int watch_tell_finding(struct watcher *watcher, const struct proof_verdict *verdict,
                       struct span file, struct problem *problem) {
    char name[NAME_SIZE];
    char path[PATH_MAX];
    if (finding_name(name, verdict, problem) != 0) {
        return -1;
    }
    int const known = is_noted(watcher, name, problem);
    if (known != 0) {
        return known < 0 ? -1 : 0;
    }
    if (evidence_file_write(path, watcher->evidence_path, file, problem) != 0 ||
        note(watcher, name, TELLING, path, problem) != 0) {
        return -1;
    }
    watcher->status.findings++;
    return tell_finding(watcher, name, verdict, path, false, problem);
}

/* ---- at the start ---- */

/* What was found before, and of it what may not have been told. */
struct rest {
    struct watcher *watcher;
    struct buffer names; /* each with its path, each with a zero byte at its end */
};

static int count_finding(void *context, const char *name, struct span value) {
    static const uint8_t zero = 0;
    struct rest *const rest = context;
    rest->watcher->status.findings++;
    if (value.size > 1 && value.data[0] == TELLING) {
        (void)buffer_append(&rest->names, span_of(name, strlen(name) + 1));
        (void)buffer_append(&rest->names, span_of(value.data + 1, value.size - 1));
        (void)buffer_append(&rest->names, span_of(&zero, 1));
    }
    return 0;
}

static int tell_again(struct watcher *watcher, const char *name, const char *path,
                      struct problem *problem) {
    struct buffer file;
    struct proof_verdict *const verdict = malloc(sizeof *verdict);
    buffer_init(&file, EVIDENCE_FILE_SIZE_MAX);
    struct problem own = {.code = EXIT_OK};
    int status = verdict == NULL ? problem_set(problem, EXIT_ERROR, "out of memory") : 0;
    if (status == 0 && evidence_file_read(&file, path, &own) == 0 &&
        evidence_file_check(verdict, &watcher->sources.service, path, buffer_span(&file), &own) ==
            0) {
        status = tell_finding(watcher, name, verdict, path, true, problem);
    } else if (status == 0) { /* somebody took it away; that it was found stays */
        watch_tell(watcher, &(struct watch_event){.kind = WATCH_CANNOT, .text = own.text});
        status = note(watcher, name, TOLD, path, problem);
    }
    buffer_free(&file);
    free(verdict);
    return status;
}

int watch_tell_rest(struct watcher *watcher, struct problem *problem) {
    struct rest rest = {.watcher = watcher};
    buffer_init(&rest.names, SIZE_MAX);
    int status =
        watcher_store_visit_notes(watcher->store, FINDING_PREFIX, count_finding, &rest, problem);
    if (status == 0 && rest.names.failed) {
        status = problem_set(problem, EXIT_ERROR, "out of memory");
    }
    size_t at = 0;
    while (status == 0 && at < rest.names.size) {
        const char *const name = (const char *)rest.names.data + at;
        const char *const path = name + strlen(name) + 1;
        at += strlen(name) + 1 + strlen(path) + 1;
        status = tell_again(watcher, name, path, problem);
    }
    buffer_free(&rest.names);
    return status;
}

/* ---- lines ---- */

int watch_tell_line(struct watcher *watcher, enum watch_event_kind kind, const char *text,
                    struct problem *problem) {
    char name[NAME_SIZE];
    name_of(name, LINE_PREFIX, span_text(text));
    int const known = is_noted(watcher, name, problem);
    if (known != 0) {
        return known < 0 ? -1 : 0;
    }
    watch_tell(watcher, &(struct watch_event){.kind = kind, .text = text});
    return note(watcher, name, TOLD, "", problem);
}
