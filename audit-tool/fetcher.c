/*
 * fetcher: see fetcher.h. One source for each replica that is asked; one demand of each is under
 * way at a time, and its answer is judged and kept on libuv's pool.
 *
 * Invariants: a source's store and answer are the pool's while `working`, else the loop's; results
 * are the loop's. A source that is concluded is asked nothing more in this round and nothing that
 * it sends is looked at. What one source makes this end keep in memory is one frame and its range.
 */
#include "audit-tool/fetcher.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "audit-tool/fetch_demand.h"
#include "audit-tool/fetch_store.h"
#include "audit-tool/proof.h"
#include "base/check.h"
#include "host/clock.h"
#include "host/replica_links.h"

#define LOOK_MS 100u     /* how often the deadline and whoever wants to stop are looked at */
#define AGAIN_MS 250u    /* before one that is busy, or had nothing to give, is asked again */
#define SILENT_MS 5000u  /* a demand that is younger at the deadline may still be answered */
#define EMPTY_MAX 8u     /* answers without an entry from one that says that it has more */
#define NAME_KEY_SIZE 4u /* bytes of a key in the name of a directory */
#define RESTARTS_MAX 16u /* changes of a ledger's tail while it is fetched */

/* Where what came does not continue what is kept. */
enum parting {
    PARTING_TAIL,  /* behind the settled end, where ledgers may part: asked again from there */
    PARTING_ASIDE, /* there: another history. The older one was put aside */
    PARTING_AGAIN, /* and that a second time in this round */
    PARTING_FULL,  /* and too many are aside already */
    PARTING_BASE   /* right behind the checkpoint that it begins with: there is nothing to keep */
};

struct source {
    struct fetcher *fetcher;
    uint32_t replica;
    struct fetch_result result;
    struct fetch_store store;

    /* of a round */
    bool concluded;
    bool asked;      /* a demand is under way */
    bool busy;       /* the last one was turned down for now */
    bool was_absent; /* it was silent or unreachable in the round before */
    bool was_silent; /* one was not answered for long, until its link went down */
    bool was_cut;    /* its link broke */
    bool working;
    uint64_t asked_at_ms; /* monotonic */
    uint32_t empties;
    uint32_t restarts;
    uint64_t goal; /* what it had when it first answered: it may grow faster than we fetch */
    struct fetch_question question;
    uv_timer_t again;

    /* the pool's */
    uv_work_t work;
    bool has_parted;
    struct buffer payload;
    struct fetch_answer answer;
    enum fetch_store_result taken;
    enum parting parting; /* when taken is FETCH_STORE_PARTED */
    struct problem problem;
};

struct fetcher {
    struct fetcher_options options;
    struct source *sources[REPLICAS_MAX]; /* NULL: it is not asked */

    /* of a round */
    uv_loop_t loop;
    uv_timer_t look;
    struct replica_links *links;
    bool over;
    uint64_t deadline_at_ms; /* monotonic */
    bool (*stop)(void *context);
    void *stop_context;
    struct problem problem;
};

/* ---- demands --------------------------------------------------------------------------------- */

__attribute__((format(printf, 3, 4))) static void
conclude(struct source *source, enum fetch_state state, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(source->result.reason, sizeof source->result.reason, format, arguments);
    va_end(arguments);
    source->result.state = state;
    source->concluded = true;
}

static uint64_t time_left_ms(const struct fetcher *fetcher) {
    uint64_t const now_ms = clock_monotonic_ms();
    return now_ms >= fetcher->deadline_at_ms ? 0 : fetcher->deadline_at_ms - now_ms;
}

/* A new challenge for what comes next, signed. Returns: false when out of memory. */
static bool make_demand(struct source *source, uint64_t deadline_ms) {
    const struct fetcher_options *const options = &source->fetcher->options;
    buffer_clear(&source->result.demand);
    source->question = (struct fetch_question){.founding = options->founding,
                                               .configuration = fetcher_configuration(options),
                                               .eras = options->eras,
                                               .replica = source->replica,
                                               .part = SERVED_ENTRIES,
                                               .first = fetch_store_next(&source->store)};
    return fetch_demand_make(
        &source->question, &source->result.demand,
        &(struct fetch_author){.secret = &options->secret, .key = &options->key}, deadline_ms);
}

static void fail(struct fetcher *fetcher, const struct problem *problem) {
    (void)problem_set(&fetcher->problem, problem->code, "%s", problem->text);
    fetcher->over = true;
}

static void fail_for_memory(struct fetcher *fetcher) {
    fail(fetcher, &(struct problem){.code = EXIT_ERROR, .text = "out of memory"});
}

/* Demand what comes next, if there is a link and nothing is under way. */
static void ask(struct source *source) {
    struct fetcher *const fetcher = source->fetcher;
    uint64_t const left_ms = time_left_ms(fetcher);
    if (fetcher->over || left_ms == 0 || source->concluded || source->asked || source->working ||
        !replica_links_is_up(fetcher->links, source->replica)) {
        return;
    }
    if (!make_demand(source, left_ms)) {
        fail_for_memory(fetcher);
        return;
    }
    if (replica_links_send(fetcher->links, source->replica, MESSAGE_DEMAND,
                           buffer_span(&source->result.demand))) {
        source->asked = true;
        source->asked_at_ms = clock_monotonic_ms();
        source->result.demands++;
        source->result.asked_ms =
            source->result.asked_ms != 0 ? source->result.asked_ms : clock_wall_ms();
    }
}

static void on_again(uv_timer_t *timer) {
    ask(timer->data);
}

static void ask_later(struct source *source) {
    /* Fails only while the timer is being closed, when nobody is asked any more. */
    (void)uv_timer_start(&source->again, on_again, AGAIN_MS, 0);
}

/* ---- answers, on the pool -------------------------------------------------------------------- */

/* What it has does not continue what is kept. */
static void part(struct source *source) {
    struct fetch_store *const store = &source->store;
    source->taken = FETCH_STORE_PARTED;
    if (fetch_store_next(store) != store->settled.entries) {
        source->parting = PARTING_TAIL;
        fetch_store_rewind(store);
        return;
    }
    if (source->has_parted) {
        source->parting = PARTING_AGAIN;
        return;
    }
    if (store->base.entries != 0 && fetch_store_entries(store) == store->base.entries) {
        source->parting = PARTING_BASE;
        return;
    }
    int const put = fetch_store_put_aside(store, &source->problem);
    source->parting = put == 1 ? PARTING_ASIDE : PARTING_FULL;
    source->has_parted = put == 1;
    if (put < 0) {
        source->taken = FETCH_STORE_FAILED;
    }
}

static void keep_range(struct source *source) {
    struct fetch_store *const store = &source->store;
    const struct fetch_answer *const answer = &source->answer;
    if (answer->range.count == 0) {
        bool const at_end = answer->served.available <= fetch_store_next(store);
        source->taken = at_end && fetch_store_end(store, &source->problem) != 0 ? FETCH_STORE_FAILED
                                                                                : FETCH_STORE_TAKEN;
        return;
    }
    source->taken = fetch_store_take(store, &answer->range, &source->problem);
    if (source->taken == FETCH_STORE_PARTED) {
        part(source);
    }
}

static void judge(uv_work_t *work) {
    struct source *const source = work->data;
    fetch_answer_init(&source->answer);
    fetch_answer_judge(&source->answer, &source->question, buffer_span(&source->payload));
    if (source->answer.kind == FETCH_ANSWER_GOOD) {
        keep_range(source);
    }
}

/* ---- answers, on the loop -------------------------------------------------------------------- */

/* Returns: false when this end failed. */
static bool has_taken(struct source *source) {
    if (source->taken == FETCH_STORE_FAILED) {
        fail(source->fetcher, &source->problem);
        return false;
    }
    source->result.entries = fetch_store_entries(&source->store);
    source->result.has_parted = source->has_parted;
    return true;
}

static void after_parting(struct source *source) {
    source->restarts++;
    if (source->parting == PARTING_FULL) {
        conclude(source, FETCH_BEHIND,
                 "it has handed over %u other histories: look at them, and move them away",
                 FETCH_ASIDE_MAX);
    } else if (source->parting == PARTING_BASE) {
        conclude(source, FETCH_BEHIND,
                 "what it hands over does not continue the checkpoint that the others signed");
    } else if (source->parting == PARTING_AGAIN || source->restarts > RESTARTS_MAX) {
        conclude(source, FETCH_BEHIND, "its ledger changes while it hands it over");
    } else {
        ask(source);
    }
}

static void after_empty(struct source *source, uint64_t available) {
    uint64_t const next = source->question.first;
    if (available == next) {
        conclude(source, FETCH_LEVEL, "%s", "");
    } else if (available < next) {
        conclude(source, FETCH_BEHIND,
                 "it says that it has %llu entries; it handed over %llu before",
                 (unsigned long long)available, (unsigned long long)next);
    } else if (++source->empties > EMPTY_MAX) {
        conclude(source, FETCH_BEHIND, "from entry %llu on it hands over nothing, though it has it",
                 (unsigned long long)next);
    } else {
        ask_later(source);
    }
}

static void after_good(struct source *source) {
    const struct served *const served = &source->answer.served;
    source->result.answers++;
    source->result.answered_ms = clock_wall_ms();
    source->result.available = served->available;
    source->goal = source->goal == 0 ? served->available : source->goal;
    source->busy = false;
    source->was_silent = false;
    if (!has_taken(source) || source->concluded) {
        return; /* if it is concluded: it sent more than was demanded meanwhile */
    }
    if (source->taken == FETCH_STORE_PARTED) {
        after_parting(source);
    } else if (served->first == served->end) {
        after_empty(source, served->available);
    } else if (served->end >= source->goal) {
        conclude(source, FETCH_LEVEL, "%s", "");
    } else {
        source->empties = 0;
        ask(source);
    }
}

static void judged(uv_work_t *work, int status) {
    struct source *const source = work->data;
    struct fetch_answer *const answer = &source->answer;
    CHECK(status == 0); /* it is never cancelled */
    source->working = false;
    switch (answer->kind) {
    case FETCH_ANSWER_GOOD:
        after_good(source);
        break;
    case FETCH_ANSWER_INVALID:
        conclude(source, FETCH_INVALID, "%s", answer->reason);
        break;
    case FETCH_ANSWER_MALFORMED:
        conclude(source, FETCH_MALFORMED, "it signed for what is no ledger: %s", answer->reason);
        if (!buffer_append(&source->result.evidence, buffer_span(&answer->evidence))) {
            fail_for_memory(source->fetcher);
        }
        break;
    case FETCH_ANSWER_FAILED:
        fail_for_memory(source->fetcher);
        break;
    }
    fetch_answer_free(answer);
    buffer_free(&source->payload);
    buffer_init(&source->payload, FRAME_SIZE_MAX);
}

/* ---- links ----------------------------------------------------------------------------------- */

static size_t frame_size_max(uint8_t kind) {
    return kind == MESSAGE_SERVED || kind == MESSAGE_REJECT ? message_size_max(kind) : 0;
}

static void on_served(struct source *source, struct span payload) {
    if (!source->asked) {
        conclude(source, FETCH_INVALID, "it answers what was not demanded");
        return;
    }
    source->asked = false;
    buffer_clear(&source->payload);
    if (!buffer_append(&source->payload, payload)) {
        fail_for_memory(source->fetcher);
        return;
    }
    source->working = true;
    source->work.data = source;
    /* Fails only without a callback. */
    CHECK(uv_queue_work(&source->fetcher->loop, &source->work, judge, judged) == 0);
}

static const char *refusal_text(enum reject_reason reason) {
    switch (reason) {
    case REJECT_BUSY:
        return "it says that it is busy";
    case REJECT_MALFORMED:
        return "it says that it cannot read the demand";
    case REJECT_SIGNATURE:
        return "it says that the demand's signature does not hold";
    case REJECT_AUTHOR:
        return "it says that it does not know who demands";
    case REJECT_UNKNOWN:
        return "it says that it does not have that";
    case REJECT_EXPIRED:
    case REJECT_TOO_EARLY:
    case REJECT_NOT_VOTING:
        break;
    }
    return "it refuses";
}

static void on_reject(struct source *source, struct span payload) {
    struct digest const nothing = {{0}};
    struct reject_message reject;
    struct arena arena;
    arena_init(&arena, 4096);
    enum codec_result const result = reject_message_decode(&reject, &arena, payload);
    arena_free(&arena);
    if (result != CODEC_OK) {
        conclude(source, FETCH_INVALID, "its refusal does not decode");
        return;
    }
    bool const names_it = digest_equal(&reject.request_id, &source->question.demand);
    if (!source->asked || (!names_it && !digest_equal(&reject.request_id, &nothing))) {
        return;
    }
    source->asked = false;
    source->busy = reject.reason == REJECT_BUSY;
    if (source->busy) {
        ask_later(source);
    } else if (reject.reason == REJECT_MALFORMED && names_it && source->question.first > 1) {
        /* No batch begins there in its ledger, so it holds another one. */
        part(source);
        if (has_taken(source)) {
            after_parting(source);
        }
    } else {
        conclude(source, FETCH_REFUSED, "%s", refusal_text(reject.reason));
    }
}

static void on_frame(void *context, uint32_t replica, uint8_t kind, struct span payload) {
    const struct fetcher *const fetcher = context;
    struct source *const source = fetcher->sources[replica];
    if (source->concluded || fetcher->over) {
        return;
    }
    if (kind == MESSAGE_SERVED) {
        on_served(source, payload);
    } else {
        on_reject(source, payload);
    }
}

/* Has the demand under way waited for long enough to speak of silence? */
static bool waits_long(const struct source *source) {
    uint64_t const half_ms = source->fetcher->options.deadline_ms / 2;
    uint64_t const patience_ms = half_ms < SILENT_MS ? half_ms : SILENT_MS;
    return source->asked && clock_monotonic_ms() - source->asked_at_ms >= patience_ms;
}

/* A demand that went down with its link is made anew. */
static void on_link(void *context, uint32_t replica, bool up) {
    const struct fetcher *const fetcher = context;
    struct source *const source = fetcher->sources[replica];
    if (up) {
        ask(source);
    } else {
        source->was_silent = source->was_silent || waits_long(source);
        source->was_cut = true;
        source->asked = false;
    }
}

/* ---- a round --------------------------------------------------------------------------------- */

/* The deadline came first. */
static void conclude_late(struct source *source) {
    const struct fetcher *const fetcher = source->fetcher;
    uint64_t const next = fetch_store_next(&source->store);
    if (source->was_silent || waits_long(source)) {
        conclude(source, FETCH_SILENT, "it did not answer a demand for entries from %llu on",
                 (unsigned long long)next);
    } else if (!replica_links_is_up(fetcher->links, source->replica) ||
               (source->was_cut && source->result.answers == 0)) {
        const char *const why = replica_links_reason(fetcher->links, source->replica);
        conclude(source, FETCH_UNREACHABLE, "%.200s", why[0] == '\0' ? "no link in time" : why);
    } else if (source->busy && source->result.answers == 0) {
        conclude(source, FETCH_REFUSED, "%s", refusal_text(REJECT_BUSY));
    } else {
        conclude(source, FETCH_BEHIND, "the deadline came first, at entry %llu of %llu",
                 (unsigned long long)next, (unsigned long long)source->result.available);
    }
}

/* Is it still absent, and has it been given its time? */
static bool is_given_up(const struct source *source) {
    const struct fetcher *const fetcher = source->fetcher;
    uint64_t const absent_ms = fetcher->options.absent_ms;
    uint64_t const passed_ms = fetcher->options.deadline_ms - time_left_ms(fetcher);
    return absent_ms != 0 && source->was_absent && source->result.answers == 0 &&
           passed_ms >= absent_ms;
}

/* Is there nobody left to wait for? */
static bool all_concluded(const struct fetcher *fetcher) {
    for (uint32_t r = 0; r < REPLICAS_MAX; r++) {
        const struct source *const source = fetcher->sources[r];
        if (source != NULL && !source->concluded && !is_given_up(source)) {
            return false;
        }
    }
    return true;
}

static bool any_working(const struct fetcher *fetcher) {
    for (uint32_t r = 0; r < REPLICAS_MAX; r++) {
        if (fetcher->sources[r] != NULL && fetcher->sources[r]->working) {
            return true;
        }
    }
    return false;
}

/* Answers at hand are judged before the links go, whose state says why others are late. */
static void on_look(uv_timer_t *timer) {
    struct fetcher *const fetcher = timer->data;
    bool const stopped = fetcher->stop != NULL && fetcher->stop(fetcher->stop_context);
    if (stopped || time_left_ms(fetcher) == 0 || all_concluded(fetcher)) {
        fetcher->over = true;
    }
    if (!fetcher->over || any_working(fetcher)) {
        return;
    }
    for (uint32_t r = 0; r < REPLICAS_MAX; r++) {
        struct source *const source = fetcher->sources[r];
        if (source == NULL) {
            continue;
        }
        if (!source->concluded) {
            conclude_late(source);
        }
        uv_close((uv_handle_t *)&source->again, NULL);
    }
    replica_links_close(fetcher->links);
    uv_close((uv_handle_t *)timer, NULL);
}

static void begin(struct source *source) {
    struct fetch_result *const result = &source->result;
    struct buffer demand = result->demand;
    struct buffer evidence = result->evidence;
    source->was_absent = result->state == FETCH_SILENT || result->state == FETCH_UNREACHABLE;
    buffer_clear(&demand);
    buffer_clear(&evidence);
    *result = (struct fetch_result){.demand = demand, .evidence = evidence};
    fetch_store_rewind(&source->store);
    result->entries = fetch_store_entries(&source->store);
    source->concluded = false;
    source->asked = false;
    source->busy = false;
    source->was_silent = false;
    source->was_cut = false;
    source->has_parted = false;
    source->empties = 0;
    source->restarts = 0;
    source->goal = 0;
    source->problem = (struct problem){.code = EXIT_OK};
    CHECK(uv_timer_init(&source->fetcher->loop, &source->again) == 0);
    source->again.data = source;
}

static int open_links(struct fetcher *fetcher, struct problem *problem) {
    struct replica_links_handlers const handlers = {.context = fetcher,
                                                    .on_link = on_link,
                                                    .on_frame = on_frame,
                                                    .frame_size_max = frame_size_max};
    int const error = uv_loop_init(&fetcher->loop);
    if (error != 0) {
        return problem_set(problem, EXIT_ERROR, "set up the event loop: %s", uv_strerror(error));
    }
    fetcher->links = replica_links_create(&fetcher->loop, fetcher_configuration(&fetcher->options),
                                          fetcher->options.replicas, &handlers, problem);
    if (fetcher->links == NULL) {
        (void)uv_run(&fetcher->loop, UV_RUN_DEFAULT); /* until what was begun is closed */
        CHECK(uv_loop_close(&fetcher->loop) == 0);
        return -1;
    }
    return 0;
}

static int sync_all(struct fetcher *fetcher, struct problem *problem) {
    for (uint32_t r = 0; r < REPLICAS_MAX; r++) {
        if (fetcher->sources[r] != NULL &&
            fetch_store_sync(&fetcher->sources[r]->store, problem) != 0) {
            return -1;
        }
    }
    return 0;
}

int fetcher_round(struct fetcher *fetcher, bool (*stop)(void *context), void *context,
                  struct problem *problem) {
    fetcher->over = false;
    fetcher->stop = stop;
    fetcher->stop_context = context;
    fetcher->problem = (struct problem){.code = EXIT_OK};
    fetcher->deadline_at_ms = clock_monotonic_ms() + fetcher->options.deadline_ms;
    if (open_links(fetcher, problem) != 0) {
        return -1;
    }
    for (uint32_t r = 0; r < REPLICAS_MAX; r++) {
        if (fetcher->sources[r] != NULL) {
            begin(fetcher->sources[r]);
        }
    }
    CHECK(uv_timer_init(&fetcher->loop, &fetcher->look) == 0);
    fetcher->look.data = fetcher;
    CHECK(uv_timer_start(&fetcher->look, on_look, LOOK_MS, LOOK_MS) == 0);
    (void)uv_run(&fetcher->loop, UV_RUN_DEFAULT);
    CHECK(uv_loop_close(&fetcher->loop) == 0);
    fetcher->links = NULL;
    if (fetcher->problem.code != EXIT_OK) {
        return problem_set(problem, fetcher->problem.code, "%s", fetcher->problem.text);
    }
    return sync_all(fetcher, problem);
}

const struct fetch_result *fetcher_result(const struct fetcher *fetcher, uint32_t replica) {
    const struct source *const source = fetcher->sources[replica];
    return source == NULL ? NULL : &source->result;
}

/* ---- life ------------------------------------------------------------------------------------ */

const struct configuration *fetcher_configuration(const struct fetcher_options *options) {
    return eras_configuration(options->eras, options->eras->count);
}

void fetcher_name(char name[static FETCHER_NAME_SIZE], const struct fetcher_options *options,
                  uint32_t replica) {
    const struct configuration *const founding = &options->founding->configuration;
    const struct public_key *const key = &fetcher_configuration(options)->replicas[replica].key;
    for (uint32_t r = 0; r < founding->replica_count; r++) {
        if (public_key_equal(&founding->replicas[r].key, key)) {
            (void)snprintf(name, FETCHER_NAME_SIZE, "replica-%u", r);
            return;
        }
    }
    char hex[2 * NAME_KEY_SIZE + 1];
    hex_encode(hex, span_of(key->bytes, NAME_KEY_SIZE));
    (void)snprintf(name, FETCHER_NAME_SIZE, "replica-%s", hex);
}

static int open_source(struct fetcher *fetcher, uint32_t replica, struct problem *problem) {
    char path[PATH_MAX];
    char name[FETCHER_NAME_SIZE];
    struct source *const source = calloc(1, sizeof *source);
    fetcher_name(name, &fetcher->options, replica);
    int const size = snprintf(path, sizeof path, "%s/%s", fetcher->options.directory, name);
    if (source == NULL || size < 0 || (size_t)size >= sizeof path) {
        free(source);
        return problem_set(problem, EXIT_ERROR, "%s: %s", fetcher->options.directory,
                           source == NULL ? "out of memory" : "the path is too long");
    }
    fetcher->sources[replica] = source;
    source->fetcher = fetcher;
    source->replica = replica;
    buffer_init(&source->result.demand, DEMAND_SIZE_MAX);
    buffer_init(&source->result.evidence, EVIDENCE_FILE_SIZE_MAX);
    buffer_init(&source->payload, FRAME_SIZE_MAX);
    return fetch_store_open(&source->store, path, &fetcher->options.founding->configuration.service,
                            fetcher->options.base, problem);
}

static int open_all(struct fetcher *fetcher, struct problem *problem) {
    const struct fetcher_options *const options = &fetcher->options;
    if (mkdir(options->directory, 0700) != 0 && errno != EEXIST) {
        return problem_set(problem, EXIT_ERROR, "%s: %s; give another directory",
                           options->directory, strerror(errno));
    }
    for (uint32_t r = 0; r < fetcher_configuration(options)->replica_count; r++) {
        if ((options->replicas >> r & 1) != 0 && open_source(fetcher, r, problem) != 0) {
            return -1;
        }
    }
    return 0;
}

struct fetcher *fetcher_new(const struct fetcher_options *options, struct problem *problem) {
    struct fetcher *const fetcher = calloc(1, sizeof *fetcher);
    if (fetcher == NULL) {
        (void)problem_set(problem, EXIT_ERROR, "out of memory");
        return NULL;
    }
    fetcher->options = *options;
    if (options->replicas == 0) {
        fetcher->options.replicas = UINT64_MAX;
    }
    if (open_all(fetcher, problem) != 0) {
        fetcher_free(fetcher);
        return NULL;
    }
    return fetcher;
}

void fetcher_free(struct fetcher *fetcher) {
    if (fetcher == NULL) {
        return;
    }
    for (uint32_t r = 0; r < REPLICAS_MAX; r++) {
        struct source *const source = fetcher->sources[r];
        if (source != NULL) {
            fetch_store_close(&source->store);
            buffer_free(&source->result.demand);
            buffer_free(&source->result.evidence);
            buffer_free(&source->payload);
            free(source);
        }
    }
    sign_key_wipe(&fetcher->options.secret);
    free(fetcher);
}
