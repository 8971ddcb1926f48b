/*
 * checkpoint_fetcher: see checkpoint_fetcher.h. A join (consensus/join.h) says what is to be asked
 * of whom; here its questions become signed demands, and signed answers become its messages.
 *
 * Invariants: of each replica one demand is under way at most; a newer question waits behind it,
 * and takes the place of one that waits. To a question that a replica will not answer any more the
 * join is told that there is nothing, never from within a step of it. Everything happens on one
 * thread; memory holds one answer, an offer of each, 32 bytes for each group of the state, and its
 * items as far as they do not lie in a file (audit-tool/spill.h).
 */
#include "audit-tool/checkpoint_fetcher.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "audit-tool/checkpoint_store.h"
#include "audit-tool/fetch_demand.h"
#include "audit-tool/proof.h"
#include "audit-tool/saved_state.h"
#include "base/check.h"
#include "consensus/join.h"
#include "host/clock.h"
#include "host/replica_links.h"

#define LOOK_MS 50u       /* how often clocks, and who wants to stop, are looked at */
#define AGAIN_MS 250u     /* before one that is busy is asked again */
#define PATIENCE_MS 5000u /* one that brings nothing for so long loses its turn */
#define EMPTY_MAX 8u      /* answers with nothing in them from one that offered it */

struct source {
    struct fetch_result *result;
    bool excluded; /* it will not be asked again; why stands in its result */
    bool under_way;
    bool waits; /* `next` is to be asked */
    bool busy;
    bool was_silent;
    bool was_cut;         /* its link broke */
    uint32_t empties;     /* times that it had nothing of what it offered */
    uint64_t asked_at_ms; /* monotonic */
    uint64_t not_before_ms;
    struct fetch_question question; /* under way, or the last one */
    struct fetch_question next;
};

struct run {
    const struct fetcher_options *options;
    struct checkpoint_fetch *out;
    bool (*stop)(void *context);
    void *stop_context;
    uv_loop_t loop;
    uv_timer_t look;
    struct replica_links *links;
    uint64_t deadline_at_ms; /* monotonic */
    bool over;
    struct source sources[REPLICAS_MAX];
    struct join *join;
    struct join_effects effects;
    bool stored; /* the join waits to hear that what it handed over is kept */
    struct spill items;
    uint64_t item_count;
    struct problem problem;
};

static uint32_t replica_count(const struct run *run) {
    return fetcher_configuration(run->options)->replica_count;
}

static void fail(struct run *run, const char *text) {
    (void)problem_set(&run->problem, EXIT_ERROR, "%s", text);
    run->over = true;
}

__attribute__((format(printf, 3, 4))) static void
exclude(struct source *source, enum fetch_state state, const char *format, ...) {
    char reason[sizeof source->result->reason];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    if (!source->excluded) { /* else the first reason stands */
        memcpy(source->result->reason, reason, sizeof reason);
        source->result->state = state;
    }
    source->excluded = true;
    source->under_way = false;
}

/* ---- demands --------------------------------------------------------------------------------- */

static uint64_t time_left_ms(const struct run *run) {
    uint64_t const now_ms = clock_monotonic_ms();
    return now_ms >= run->deadline_at_ms ? 0 : run->deadline_at_ms - now_ms;
}

static bool same_question(const struct fetch_question *a, const struct fetch_question *b) {
    return a->part == b->part && a->seq == b->seq && a->first == b->first;
}

/* Ask what waits, if there is a link and nothing is under way. */
static void ask(struct run *run, uint32_t replica) {
    struct source *const source = &run->sources[replica];
    const struct fetcher_options *const options = run->options;
    uint64_t const left_ms = time_left_ms(run);
    uint64_t const now_ms = clock_monotonic_ms();
    if (run->over || left_ms == 0 || !source->waits || source->under_way || source->excluded ||
        now_ms < source->not_before_ms || !replica_links_is_up(run->links, replica)) {
        return;
    }
    buffer_clear(&source->result->demand);
    source->question = source->next;
    if (!fetch_demand_make(&source->question, &source->result->demand,
                           &(struct fetch_author){.secret = &options->secret, .key = &options->key},
                           left_ms)) {
        fail(run, "out of memory");
        return;
    }
    if (replica_links_send(run->links, replica, MESSAGE_DEMAND,
                           buffer_span(&source->result->demand))) {
        source->waits = false;
        source->under_way = true;
        source->asked_at_ms = now_ms;
        source->result->demands++;
        source->result->asked_ms =
            source->result->asked_ms != 0 ? source->result->asked_ms : clock_wall_ms();
    }
}

/* The join wants to know this of that replica. */
static void want(struct run *run, uint32_t replica, const struct fetch_question *question) {
    struct source *const source = &run->sources[replica];
    if (source->under_way && same_question(&source->question, question)) {
        return; /* it asks for offers again and again */
    }
    source->next = *question;
    source->waits = true;
    ask(run, replica);
}

/* ---- the join's effects ---------------------------------------------------------------------- */

static void send_question(struct run *run, const struct join_effect *effect) {
    struct fetch_checkpoint_message part = {.part = CHECKPOINT_OFFER};
    struct fetch_question question = {.founding = run->options->founding,
                                      .configuration = fetcher_configuration(run->options),
                                      .eras = run->options->eras,
                                      .replica = effect->send.peer,
                                      .part = SERVED_ENTRIES};
    struct arena arena;
    if (effect->send.kind == MESSAGE_CHAIN_QUERY) {
        /* Links were asked for before this began; the next fetch asks for those that came since. */
        exclude(&run->sources[effect->send.peer], FETCH_BEHIND,
                "its checkpoint is of a configuration that is newer than this fetch: fetch again");
        return;
    }
    arena_init(&arena, 4096);
    if (effect->send.kind == MESSAGE_FETCH_RANGE) {
        CHECK(fetch_range_message_decode(&question.first, &arena, effect->send.payload) ==
              CODEC_OK);
    } else {
        CHECK(fetch_checkpoint_message_decode(&part, &arena, effect->send.payload) == CODEC_OK);
        question.seq = part.seq;
        question.first = part.first_group;
        question.part = part.part == CHECKPOINT_OFFER     ? SERVED_OFFER
                        : part.part == CHECKPOINT_DIGESTS ? SERVED_DIGESTS
                                                          : SERVED_ITEMS;
    }
    arena_free(&arena);
    want(run, effect->send.peer, &question);
}

static void keep_items(struct run *run, const struct join_effect *effect) {
    for (uint32_t i = 0; i < effect->items.count; i++) {
        if (!saved_state_item(&run->items, &effect->items.items[i])) {
            fail(run, "memory or disk is short for the state; $TMPDIR says where it goes");
            return;
        }
    }
    run->item_count += effect->items.count;
    if (run->items.size > CHECKPOINT_STATE_SIZE_MAX) {
        fail(run, "the state is larger than this program takes");
    }
}

static void complete(struct run *run, const struct join_effect *effect) {
    const struct fetcher_options *const options = run->options;
    struct buffer snapshot;
    buffer_init(&snapshot, SNAPSHOT_SIZE_MAX);
    if (!join_encode_snapshot(run->join, &snapshot)) {
        fail(run, "out of memory");
    } else {
        struct checkpoint_parts const parts = {.seq = effect->complete.seq,
                                               .item_count = run->item_count,
                                               .snapshot = buffer_span(&snapshot),
                                               .items = span_of(run->items.data, run->items.size)};
        run->over = true;
        if (checkpoint_store_write(options->directory, options->founding, &parts, &run->problem) ==
            0) {
            run->out->outcome = CHECKPOINT_FETCHED;
            run->out->mark = (struct fetch_mark){.seq = effect->complete.seq,
                                                 .entries = effect->complete.end_entry,
                                                 .frontier = *join_frontier(run->join)};
        }
    }
    buffer_free(&snapshot);
}

static void take_note(struct run *run, const struct join_effect *effect) {
    struct source *const source = &run->sources[effect->note.peer];
    switch (effect->note.kind) {
    case JOIN_NOTE_OFFER_TAKEN:
    case JOIN_NOTE_OFFER_LATER: /* its links are asked for next */
    case JOIN_NOTE_OLDER_REFUSED:
        break;
    case JOIN_NOTE_LINKS_REFUSED:
        UNREACHABLE(); /* it gets none */
    case JOIN_NOTE_STATE_REFUSED:
        exclude(source, FETCH_INVALID,
                "its state says otherwise of governance than the governance chain");
        break;
    case JOIN_NOTE_OFFER_REFUSED:
        exclude(source, FETCH_INVALID, "its offer is of no checkpoint that a quorum signed");
        break;
    case JOIN_NOTE_DIGESTS_REFUSED:
        exclude(source, FETCH_INVALID, "its digests do not lead to the checkpoint's state");
        break;
    case JOIN_NOTE_ITEMS_REFUSED:
        exclude(source, FETCH_INVALID, "its items are not those of the checkpoint's state");
        break;
    case JOIN_NOTE_ENTRIES_REFUSED:
        exclude(source, FETCH_INVALID, "its entries do not lead to the checkpoint's ledger");
        break;
    case JOIN_NOTE_SLOW:
        source->was_silent = source->was_silent || source->under_way;
        break;
    }
}

static void carry_out(struct run *run, const struct join_effect *effect) {
    switch (effect->kind) {
    case JOIN_EFFECT_SEND:
        send_question(run, effect);
        break;
    case JOIN_EFFECT_BEGIN:
        spill_cut(&run->items, 0);
        run->item_count = 0;
        break;
    case JOIN_EFFECT_ITEMS:
        keep_items(run, effect);
        run->stored = true;
        break;
    case JOIN_EFFECT_LEDGER_BEGIN:
        break;
    case JOIN_EFFECT_ENTRIES:
        run->stored = true; /* they were for the window; the ledger is fetched from K on */
        break;
    case JOIN_EFFECT_COMPLETE:
        complete(run, effect);
        break;
    case JOIN_EFFECT_NOT_NEEDED:
        run->out->outcome = CHECKPOINT_NOT_OFFERED;
        run->over = true;
        break;
    case JOIN_EFFECT_NOTE:
        take_note(run, effect);
        break;
    case JOIN_EFFECT_LINKS:
    case JOIN_EFFECT_CONFIGURATION:
    case JOIN_EFFECT_OLDER:
    case JOIN_EFFECT_OLDER_DONE:
        UNREACHABLE(); /* it was not made for that */
    }
}

/* One step of the join, and those that follow from it. */
static void step(struct run *run, struct join_event event) {
    do {
        run->stored = false;
        event.now_ms = clock_monotonic_ms();
        event.replica_has_genesis = true;
        if (!join_step(run->join, &event, &run->effects)) {
            fail(run, "out of memory");
            return;
        }
        for (uint32_t i = 0; i < run->effects.count && !run->over; i++) {
            carry_out(run, &run->effects.items[i]);
        }
        event = (struct join_event){.kind = JOIN_EVENT_STORED};
    } while (run->stored && !run->over);
}

/* ---- answers --------------------------------------------------------------------------------- */

/* What the join hears as the answer to a question. NULL: there is nothing. */
static void hear(struct run *run, const struct fetch_question *question,
                 const struct fetch_answer *answer) {
    struct peer_message message = {.from = question->replica};
    switch (question->part) {
    case SERVED_ENTRIES:
        message.kind = MESSAGE_RANGE;
        message.range.first_entry = question->first;
        if (answer != NULL) {
            message.range = answer->range;
        }
        break;
    case SERVED_OFFER:
        message.kind = MESSAGE_CHECKPOINT_OFFER;
        if (answer != NULL) {
            message.checkpoint_offer = answer->offer;
        }
        break;
    case SERVED_DIGESTS:
        message.kind = MESSAGE_CHECKPOINT_DIGESTS;
        message.checkpoint_digests.seq = question->seq;
        message.checkpoint_digests.first_group = question->first;
        if (answer != NULL) {
            message.checkpoint_digests = answer->digests;
        }
        break;
    case SERVED_ITEMS:
        message.kind = MESSAGE_CHECKPOINT_ITEMS;
        message.checkpoint_items.seq = question->seq;
        message.checkpoint_items.first_group = question->first;
        if (answer != NULL) {
            message.checkpoint_items = answer->items;
        }
        break;
    }
    step(run, (struct join_event){.kind = JOIN_EVENT_MESSAGE, .message = &message});
}

/* It has nothing of what it offered: no longer, or not yet; but not again and again. */
static void count_empty(struct source *source) {
    if (source->question.part != SERVED_OFFER && ++source->empties > EMPTY_MAX) {
        exclude(source, FETCH_BEHIND, "it does not hand over the checkpoint that it offers");
    }
}

static void take_answer(struct run *run, struct source *source, const struct fetch_answer *answer) {
    switch (answer->kind) {
    case FETCH_ANSWER_GOOD:
        source->result->answers++;
        source->result->answered_ms = clock_wall_ms();
        source->was_silent = false;
        source->busy = false;
        if (answer->served.first == answer->served.end) {
            count_empty(source);
        }
        hear(run, &source->question, answer);
        return;
    case FETCH_ANSWER_INVALID:
        exclude(source, FETCH_INVALID, "%s", answer->reason);
        break;
    case FETCH_ANSWER_MALFORMED:
        exclude(source, FETCH_MALFORMED, "it signed for what is no ledger: %s", answer->reason);
        if (!buffer_append(&source->result->evidence, buffer_span(&answer->evidence))) {
            fail(run, "out of memory");
        }
        break;
    case FETCH_ANSWER_FAILED:
        fail(run, "out of memory");
        break;
    }
    hear(run, &source->question, NULL);
}

static void on_served(struct run *run, struct source *source, struct span payload) {
    struct fetch_answer answer;
    if (!source->under_way) {
        exclude(source, FETCH_INVALID, "it answers what was not demanded");
        return;
    }
    source->under_way = false;
    fetch_answer_init(&answer);
    fetch_answer_judge(&answer, &source->question, payload);
    take_answer(run, source, &answer);
    fetch_answer_free(&answer);
}

/* Whoever refuses for another reason than that it is busy has nothing for us. */
static void on_reject(struct run *run, struct source *source, struct span payload) {
    struct digest const nothing = {{0}};
    struct reject_message reject;
    struct arena arena;
    arena_init(&arena, 4096);
    enum codec_result const result = reject_message_decode(&reject, &arena, payload);
    arena_free(&arena);
    if (result != CODEC_OK) {
        exclude(source, FETCH_INVALID, "its refusal does not decode");
        return;
    }
    if (!source->under_way || (!digest_equal(&reject.request_id, &source->question.demand) &&
                               !digest_equal(&reject.request_id, &nothing))) {
        return;
    }
    source->under_way = false;
    source->busy = reject.reason == REJECT_BUSY;
    if (source->busy) {
        source->not_before_ms = clock_monotonic_ms() + AGAIN_MS;
        source->next = source->waits ? source->next : source->question;
        source->waits = true;
        return;
    }
    if (source->question.part == SERVED_OFFER) {
        exclude(source, FETCH_REFUSED, "it refuses to hand over its checkpoint");
    }
    count_empty(source);
    hear(run, &source->question, NULL);
}

/* ---- links ----------------------------------------------------------------------------------- */

static size_t frame_size_max(uint8_t kind) {
    return kind == MESSAGE_SERVED || kind == MESSAGE_REJECT ? message_size_max(kind) : 0;
}

static void on_frame(void *context, uint32_t replica, uint8_t kind, struct span payload) {
    struct run *const run = context;
    struct source *const source = &run->sources[replica];
    if (run->over || source->excluded) {
        return;
    }
    if (kind == MESSAGE_SERVED) {
        on_served(run, source, payload);
    } else {
        on_reject(run, source, payload);
    }
    ask(run, replica);
}

static bool waits_long(const struct run *run, const struct source *source) {
    uint64_t const half_ms = run->options->deadline_ms / 2;
    uint64_t const patience_ms = half_ms < PATIENCE_MS ? half_ms : PATIENCE_MS;
    return source->under_way && clock_monotonic_ms() - source->asked_at_ms >= patience_ms;
}

/* A demand that went down with its link is made anew. */
static void on_link(void *context, uint32_t replica, bool up) {
    struct run *const run = context;
    struct source *const source = &run->sources[replica];
    if (up) {
        ask(run, replica);
        return;
    }
    source->was_cut = true;
    if (source->under_way) {
        source->was_silent = source->was_silent || waits_long(run, source);
        source->under_way = false;
        source->next = source->waits ? source->next : source->question;
        source->waits = true;
    }
}

/* ---- the run --------------------------------------------------------------------------------- */

static void conclude(const struct run *run, uint32_t replica) {
    const struct source *const source = &run->sources[replica];
    struct fetch_result *const result = source->result;
    const char *reason = "";
    if (result->state != 0) {
        return;
    }
    if (source->was_silent || waits_long(run, source)) {
        result->state = FETCH_SILENT;
        reason = "it did not answer a demand for its checkpoint";
    } else if (result->answers != 0) {
        bool const is_late = run->out->outcome == CHECKPOINT_LATE;
        result->state = is_late ? FETCH_BEHIND : FETCH_LEVEL;
        reason = is_late ? "the deadline came before a checkpoint was whole"
                 : run->out->outcome == CHECKPOINT_NOT_OFFERED ? "it offers no checkpoint of use"
                                                               : "";
    } else if (source->was_cut || !replica_links_is_up(run->links, replica)) {
        const char *const why = replica_links_reason(run->links, replica);
        result->state = FETCH_UNREACHABLE;
        reason = why[0] == '\0' ? "no link in time" : why;
    } else {
        result->state = source->busy ? FETCH_REFUSED : FETCH_BEHIND;
        reason = source->busy ? "it says that it is busy" : "it was not waited for";
    }
    (void)snprintf(result->reason, sizeof result->reason, "%.200s", reason);
}

/* Those who will not answer have nothing, as far as the join is concerned. */
static void answer_for_the_excluded(struct run *run) {
    for (uint32_t r = 0; r < replica_count(run) && !run->over; r++) {
        struct source *const source = &run->sources[r];
        bool const is_gone = !run->out->was_asked[r] || source->excluded;
        if (is_gone && source->waits) {
            struct fetch_question const question = source->next;
            source->waits = false;
            hear(run, &question, NULL);
        } else {
            ask(run, r);
        }
    }
}

static bool any_left(const struct run *run) {
    for (uint32_t r = 0; r < replica_count(run); r++) {
        if (run->out->was_asked[r] && !run->sources[r].excluded) {
            return true;
        }
    }
    return false;
}

static void on_look(uv_timer_t *timer) {
    struct run *const run = timer->data;
    answer_for_the_excluded(run);
    if (!run->over && clock_monotonic_ms() >= join_deadline(run->join)) {
        step(run, (struct join_event){.kind = JOIN_EVENT_TICK});
    }
    bool const stopped = run->stop != NULL && run->stop(run->stop_context);
    if (stopped || time_left_ms(run) == 0 || !any_left(run)) {
        run->over = true;
    }
    if (!run->over) {
        return;
    }
    for (uint32_t r = 0; r < replica_count(run); r++) {
        if (run->out->was_asked[r]) {
            conclude(run, r);
        }
    }
    replica_links_close(run->links);
    uv_close((uv_handle_t *)timer, NULL);
}

static int open_links(struct run *run, struct problem *problem) {
    struct replica_links_handlers const handlers = {
        .context = run, .on_link = on_link, .on_frame = on_frame, .frame_size_max = frame_size_max};
    int const error = uv_loop_init(&run->loop);
    if (error != 0) {
        return problem_set(problem, EXIT_ERROR, "set up the event loop: %s", uv_strerror(error));
    }
    uint64_t const replicas = run->options->replicas == 0 ? UINT64_MAX : run->options->replicas;
    run->links = replica_links_create(&run->loop, fetcher_configuration(run->options), replicas,
                                      &handlers, problem);
    if (run->links == NULL) {
        (void)uv_run(&run->loop, UV_RUN_DEFAULT); /* until what was begun is closed */
        CHECK(uv_loop_close(&run->loop) == 0);
        return -1;
    }
    return 0;
}

static int run_all(struct run *run, struct problem *problem) {
    run->deadline_at_ms = clock_monotonic_ms() + run->options->deadline_ms;
    if (open_links(run, problem) != 0) {
        return -1;
    }
    CHECK(uv_timer_init(&run->loop, &run->look) == 0);
    run->look.data = run;
    CHECK(uv_timer_start(&run->look, on_look, 0, LOOK_MS) == 0);
    step(run, (struct join_event){.kind = JOIN_EVENT_TICK});
    (void)uv_run(&run->loop, UV_RUN_DEFAULT);
    CHECK(uv_loop_close(&run->loop) == 0);
    return run->problem.code == EXIT_OK
               ? 0
               : problem_set(problem, run->problem.code, "%s", run->problem.text);
}

static void prepare(struct checkpoint_fetch *out, struct run *run) {
    const struct fetcher_options *const options = run->options;
    *out = (struct checkpoint_fetch){.outcome = CHECKPOINT_LATE};
    for (uint32_t r = 0; r < REPLICAS_MAX; r++) {
        buffer_init(&out->results[r].demand, DEMAND_SIZE_MAX);
        buffer_init(&out->results[r].evidence, EVIDENCE_FILE_SIZE_MAX);
        out->was_asked[r] =
            r < replica_count(run) && (options->replicas == 0 || (options->replicas >> r & 1) != 0);
        run->sources[r].result = &out->results[r];
    }
}

/* For the join: a checkpoint may have been signed before the newest configuration began. */
static const struct constitution *find_constitution(void *context, uint64_t number) {
    const struct run *const run = context;
    const struct era *const era = eras_find(run->options->eras, number);
    return era == NULL ? NULL : &era->constitution;
}

int checkpoint_fetch_run(struct checkpoint_fetch *out, const struct fetcher_options *options,
                         bool (*stop)(void *context), void *context, struct problem *problem) {
    struct run *const run = calloc(1, sizeof *run);
    struct join_options const join = {.configuration = fetcher_configuration(options),
                                      .self = REPLICAS_MAX,
                                      .retry_ms = PATIENCE_MS,
                                      .chain = {.context = run, .find = find_constitution}};
    if (run == NULL) {
        *out = (struct checkpoint_fetch){.outcome = CHECKPOINT_LATE};
        return problem_set(problem, EXIT_ERROR, "out of memory");
    }
    run->options = options;
    run->out = out;
    run->stop = stop;
    run->stop_context = context;
    prepare(out, run);
    spill_init(&run->items);
    run->join = join_new(&join);
    int const status = run->join == NULL ? problem_set(problem, EXIT_ERROR, "out of memory")
                                         : run_all(run, problem);
    join_free(run->join);
    spill_free(&run->items);
    free(run);
    return status;
}

void checkpoint_fetch_free(struct checkpoint_fetch *fetch) {
    for (uint32_t r = 0; r < REPLICAS_MAX; r++) {
        buffer_free(&fetch->results[r].demand);
        buffer_free(&fetch->results[r].evidence);
    }
}
