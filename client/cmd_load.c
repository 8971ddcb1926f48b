/*
 * onus load: many calls from a file, one JSON array a line, N of them under one signature, as many
 * requests in flight as make sense.
 *
 * What it promises: each line of a file is executed at most once in a run, however often the run
 * is interrupted. With every request the number of lines done so far is committed in the same
 * step (a note, see host/receipt_store.h), so a second run of the same file goes on behind them,
 * after sending again what had no receipt. When a run has finished, its note is removed: the next
 * one loads the file anew. Standard input has no second run, and no note.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "client/call_reader.h"
#include "client/command.h"
#include "client/view.h"
#include "host/clock.h"

#define BUNDLE_DEFAULT 64u
#define CALLS_IN_FLIGHT 6144u
#define REQUESTS_IN_FLIGHT_MIN 16u
#define REQUESTS_IN_FLIGHT_MAX 1024u
#define PROGRESS_MS 500u
#define NOTE_SIZE (8u + DIGEST_SIZE)

enum { OPTION_BUNDLE = OPTION_FIRST_OWN };

static const struct option options[] = {{"bundle", required_argument, NULL, OPTION_BUNDLE},
                                        GLOBAL_OPTIONS};

struct load {
    const struct globals *globals;
    struct client client;
    const char *path;
    uint32_t bundle;
    uint32_t in_flight_max;
    struct call_reader reader;
    struct call_list list;
    struct arena arena;

    bool resumable;         /* a regular file */
    struct digest note_key; /* of its path */
    uint64_t lines;         /* read so far, those skipped included */
    struct digest chain;    /* over all of them */
    uint64_t skipped;       /* lines that an earlier run had done */

    uint32_t resumed; /* requests of earlier runs, in flight */
    uint64_t requests;
    uint64_t counts[OUTCOME_ABORTED + 1];
    uint64_t rejected; /* calls of rejected requests */
    uint64_t answers;  /* requests answered, of any run */
    uint64_t seen_answers;
    uint64_t start_ms;
    uint64_t shown_ms;
    bool ended;    /* no more lines */
    bool bad_line; /* one cannot be read */
    struct problem problem;
};

/* ---- progress -------------------------------------------------------------------------------- */

static uint64_t executed(const struct load *load) {
    return load->counts[OUTCOME_OK] + load->counts[OUTCOME_REFUSED] +
           load->counts[OUTCOME_INVALID] + load->counts[OUTCOME_ABORTED];
}

static uint64_t rate(const struct load *load, uint64_t now_ms) {
    uint64_t const elapsed_ms = now_ms - load->start_ms;
    return elapsed_ms == 0 ? 0 : executed(load) * 1000 / elapsed_ms;
}

static void show_progress(struct load *load) {
    uint64_t const now_ms = clock_monotonic_ms();
    if (load->globals->quiet || now_ms - load->shown_ms < PROGRESS_MS ||
        isatty(STDERR_FILENO) != 1) {
        return;
    }
    load->shown_ms = now_ms;
    (void)fprintf(stderr, "\r%llu executed, %llu/s ", (unsigned long long)executed(load),
                  (unsigned long long)rate(load, now_ms));
}

static void show_summary(const struct load *load) {
    uint64_t const elapsed_ms = clock_monotonic_ms() - load->start_ms;
    if (load->globals->json) {
        (void)view_print_json(json_pack(
            "{s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "executed", view_json_u64(executed(load)),
            "ok", view_json_u64(load->counts[OUTCOME_OK]), "refused",
            view_json_u64(load->counts[OUTCOME_REFUSED]), "invalid",
            view_json_u64(load->counts[OUTCOME_INVALID]), "rejected", view_json_u64(load->rejected),
            "requests", view_json_u64(load->requests), "skipped_lines",
            view_json_u64(load->skipped), "elapsed_ms", view_json_u64(elapsed_ms), "throughput_tps",
            view_json_u64(rate(load, load->start_ms + elapsed_ms))));
        return;
    }
    (void)printf("%llu executed in %llu requests: %llu ok, %llu refused, %llu invalid; "
                 "%llu.%llu s, %llu/s; receipts kept\n",
                 (unsigned long long)executed(load), (unsigned long long)load->requests,
                 (unsigned long long)load->counts[OUTCOME_OK],
                 (unsigned long long)load->counts[OUTCOME_REFUSED],
                 (unsigned long long)load->counts[OUTCOME_INVALID],
                 (unsigned long long)(elapsed_ms / 1000),
                 (unsigned long long)(elapsed_ms % 1000 / 100),
                 (unsigned long long)rate(load, load->start_ms + elapsed_ms));
}

/* ---- answers --------------------------------------------------------------------------------- */

static void on_done(void *user, const struct onus_result *result) {
    struct load *const load = user;
    load->answers++;
    switch (result->status) {
    case ONUS_EXECUTED:
        for (uint32_t i = 0; i < result->outcome_count; i++) {
            struct outcome outcome;
            arena_reset(&load->arena);
            if (outcome_decode(&outcome, &load->arena, result->outcomes[i]) == CODEC_OK) {
                load->counts[outcome.status]++;
            }
        }
        return;
    case ONUS_REJECTED:
        load->rejected++;
        return;
    case ONUS_FAILED: {
        const struct problem *const failure = onus_failure(load->client.onus);
        (void)problem_set(&load->problem, EXIT_ERROR, "%s",
                          failure->code == EXIT_OK ? "out of memory" : failure->text);
        return;
    }
    }
}

static bool has_room(void *context) {
    struct load *const load = context;
    show_progress(load);
    return load->problem.code != EXIT_OK || load->answers != load->seen_answers ||
           onus_in_flight(load->client.onus) < load->in_flight_max;
}

static bool all_answered(void *context) {
    struct load *const load = context;
    show_progress(load);
    return load->problem.code != EXIT_OK || load->answers != load->seen_answers ||
           onus_in_flight(load->client.onus) == 0;
}

/* Wait for progress of some kind. Returns: 0, or -1 when there was none for the timeout. */
static int wait_for(struct load *load, onus_condition condition) {
    load->seen_answers = load->answers;
    if (!onus_run_until(load->client.onus, condition, load, load->client.timeout_ms)) {
        return problem_set(&load->problem, EXIT_UNREACHABLE,
                           "no answer for %u s with %u requests in flight; they are written "
                           "down: run the same command again to go on",
                           load->client.timeout_ms / 1000, onus_in_flight(load->client.onus));
    }
    return load->problem.code == EXIT_OK ? 0 : -1;
}

/* ---- where a run stands ---------------------------------------------------------------------- */

static void count_line(struct load *load) {
    struct hash_state state;
    hash_init(&state);
    hash_update(&state, span_of(load->chain.bytes, DIGEST_SIZE));
    hash_update(&state, load->reader.raw);
    load->chain = hash_final(&state);
    load->lines++;
}

static void note_write(const struct load *load, uint8_t note[static NOTE_SIZE]) {
    store_u64_be(note, load->lines);
    memcpy(note + 8, load->chain.bytes, DIGEST_SIZE);
}

static struct onus_note load_note(const struct load *load, const uint8_t *value, size_t size) {
    return (struct onus_note){
        .key = span_of(load->note_key.bytes, DIGEST_SIZE),
        .value = span_of(value, size),
    };
}

/* Skip what an interrupted run of this file has done. */
static int skip_done(struct load *load) {
    char path[PATH_MAX];
    struct buffer note;
    if (realpath(load->path, path) == NULL || load->reader.file == stdin) {
        return 0;
    }
    load->resumable = true;
    load->note_key = hash_bytes(span_text(path));
    buffer_init(&note, RECEIPT_STORE_NOTE_SIZE_MAX);
    int status =
        receipt_store_note(onus_store(load->client.onus),
                           span_of(load->note_key.bytes, DIGEST_SIZE), &note, &load->problem);
    if (status == 0 && note.size == NOTE_SIZE) {
        uint64_t const done = load_u64_be(note.data);
        int line = 1;
        while (load->lines < done && line == 1) {
            line = call_reader_skip(&load->reader, &load->problem);
            if (line == 1) {
                count_line(load);
            }
        }
        load->skipped = load->lines;
        if (line < 0 || load->lines != done ||
            memcmp(load->chain.bytes, note.data + 8, DIGEST_SIZE) != 0) {
            status = problem_set(&load->problem, EXIT_ERROR,
                                 "%s: an interrupted run executed its first %llu lines, and they "
                                 "have changed since; load the rest under another name",
                                 load->path, (unsigned long long)done);
        }
    }
    buffer_free(&note);
    return status;
}

static int forget_run(struct load *load) {
    struct onus_note const note = load_note(load, NULL, 0);
    return load->resumable ? onus_put_note(load->client.onus, &note, &load->problem) : 0;
}

/* ---- the run --------------------------------------------------------------------------------- */

/* Read the next bundle. Returns: 1; 0 at the end; -1. */
static int read_bundle(struct load *load) {
    call_list_clear(&load->list);
    while (load->list.count < load->bundle && load->list.text.size < REQUEST_SIZE_MAX / 2) {
        int const status = call_reader_next(&load->reader, &load->list, &load->problem);
        if (status < 0) {
            load->bad_line = true;
            return -1;
        }
        if (status == 0) {
            load->ended = true;
            break;
        }
        count_line(load);
    }
    call_list_finish(&load->list);
    return load->list.count != 0 ? 1 : 0;
}

static int submit_bundle(struct load *load) {
    uint8_t value[NOTE_SIZE];
    note_write(load, value);
    struct onus_note const note = load_note(load, value, sizeof value);
    struct onus_submission const submission = {
        .calls = load->list.calls,
        .call_count = load->list.count,
        .mode = REQUEST_INDEPENDENT,
        .done = on_done,
        .user = load,
        .note = load->resumable ? &note : NULL,
    };
    for (;;) {
        int const status = onus_submit(load->client.onus, NULL, &submission, &load->problem);
        if (status <= 0) {
            load->requests += status == 0 ? 1 : 0;
            return status;
        }
        if (wait_for(load, all_answered) != 0) {
            return -1;
        }
    }
}

static int run(struct load *load) {
    struct onus *const onus = load->client.onus;
    if (onus_connect(onus, load->client.timeout_ms, &load->problem) != 0 ||
        onus_resume(onus, &load->resumed, on_done, load, &load->problem) != 0 ||
        skip_done(load) != 0) {
        return -1;
    }
    if (load->resumed != 0 || load->skipped != 0) {
        command_say(load->globals,
                    "onus: going on after line %llu; %u requests without receipt sent again",
                    (unsigned long long)load->skipped, load->resumed);
    }
    load->start_ms = clock_monotonic_ms();
    int status = 0;
    while (status == 0 && !load->ended) {
        int const bundle = read_bundle(load);
        status = bundle < 0 ? -1 : bundle == 0 ? 0 : submit_bundle(load);
        while (status == 0 && onus_in_flight(onus) >= load->in_flight_max) {
            status = wait_for(load, has_room);
        }
    }
    /* A line that is wrong ends the reading, not what is under way. */
    while (onus_in_flight(onus) != 0 && (status == 0 || load->bad_line)) {
        struct problem const first = load->problem;
        load->problem.code = EXIT_OK;
        int const waited = wait_for(load, all_answered);
        load->problem = first.code != EXIT_OK ? first : load->problem;
        if (waited != 0) {
            return -1;
        }
    }
    return status == 0 ? forget_run(load) : -1;
}

static int finish(struct load *load, int status) {
    if (!load->globals->quiet && isatty(STDERR_FILENO) == 1) {
        (void)fprintf(stderr, "\r%40s\r", "");
    }
    if (load->start_ms != 0) {
        show_summary(load);
    }
    if (status != 0) {
        return command_fail(&load->problem);
    }
    if (load->rejected != 0) {
        (void)fprintf(stderr,
                      "onus: %llu requests were rejected: their window has passed, or the key is "
                      "not known\n",
                      (unsigned long long)load->rejected);
        return EXIT_REJECTED;
    }
    return load->counts[OUTCOME_OK] == executed(load) ? EXIT_OK : EXIT_REJECTED;
}

static uint32_t choose_in_flight(uint32_t bundle) {
    uint32_t const requests = CALLS_IN_FLIGHT / bundle;
    return requests < REQUESTS_IN_FLIGHT_MIN   ? REQUESTS_IN_FLIGHT_MIN
           : requests > REQUESTS_IN_FLIGHT_MAX ? REQUESTS_IN_FLIGHT_MAX
                                               : requests;
}

int command_load(const struct command *command, struct globals *globals, int argc, char **argv) {
    struct load load = {.globals = globals, .bundle = BUNDLE_DEFAULT};
    for (;;) {
        uint64_t number = 0;
        int const option = command_option(command, globals, argc, argv, options);
        if (COMMAND_ENDS(option)) {
            return COMMAND_CODE(option);
        }
        if (option == -1) {
            break;
        }
        if (!command_number(optarg, 1, CALLS_MAX, &number)) {
            return command_misused(command, "--bundle takes 1 to %u calls", CALLS_MAX);
        }
        load.bundle = (uint32_t)number;
    }
    if (optind + 1 != argc) {
        return command_misused(command, "give one file, or - for standard input");
    }
    load.path = argv[optind];
    load.in_flight_max = choose_in_flight(load.bundle);
    if (call_reader_open(&load.reader, load.path, &load.problem) != 0) {
        return command_fail(&load.problem);
    }
    call_list_init(&load.list);
    arena_init(&load.arena, 1u << 20);
    int status = client_open(&load.client, globals, false, &load.problem);
    if (status == 0) {
        status = run(&load);
    }
    if (client_close(&load.client, &load.problem) != 0) {
        status = -1;
    }
    call_reader_close(&load.reader);
    call_list_free(&load.list);
    int const code = finish(&load, status);
    arena_free(&load.arena);
    return code;
}
