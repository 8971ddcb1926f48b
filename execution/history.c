/*
 * history: see history.h. A checker, an engine and an assembler of batches, as a replica that reads
 * its own ledger has them; but signatures are checked, since here they were never seen before.
 */
#include "execution/history.h"

#include <stdlib.h>

#include "base/check.h"
#include "execution/replay.h"
#include "governance/constitution.h"

#define ARENA_BUDGET (4 * (size_t)ENTRY_SIZE_MAX)

/* A configuration that a vote made, and what it follows from. */
struct history_era {
    struct constitution constitution;
    struct configuration configuration;
};

struct history {
    const struct constitution *constitution; /* in force: the caller's, or this era's */
    struct history_era *era;                 /* NULL: the one that it began with */
    struct history_era *before; /* the checker may ask by whose keys that one's end is evidenced */
    struct checker *checker;
    struct engine *engine;
    struct replay replay;
    struct batch batch;
    struct arena arena;
    bool is_loaded; /* from a snapshot, whose window is to be read back */
    uint64_t window_entry;
    bool cut_is_due;
    struct checkpoint_cut cut;
    uint64_t stored_seq; /* of the last checkpoint whose digest is known here */
    struct digest stored_digest;
    bool failed;
};

/* ---- where it begins ------------------------------------------------------------------------- */

static bool load_snapshot(struct history *history, struct span bytes) {
    struct checker_snapshot snapshot;
    struct arena arena;
    arena_init(&arena, 2 * (size_t)SNAPSHOT_SIZE_MAX);
    bool const loaded = checker_snapshot_decode(&snapshot, &arena, bytes) == CODEC_OK &&
                        checker_load(history->checker, &snapshot, &arena, true);
    if (loaded) {
        history->is_loaded = true;
        history->window_entry = snapshot.window_entry;
        history->stored_seq = checker_position(history->checker)->seq;
        history->stored_digest = hash_labelled(
            LABEL_CHECKPOINT, &checker_configuration(history->checker)->service, snapshot.header);
    }
    arena_free(&arena);
    return loaded;
}

struct history *history_new(const struct history_options *options) {
    struct history *const history = calloc(1, sizeof *history);
    if (history == NULL) {
        return NULL;
    }
    history->constitution = options->constitution;
    replay_init(&history->replay);
    batch_init(&history->batch);
    arena_init(&history->arena, ARENA_BUDGET);
    history->checker = checker_new(options->configuration);
    history->engine = engine_new(options->base);
    bool good = history->checker != NULL && history->engine != NULL;
    if (good) {
        engine_govern(history->engine, options->constitution);
        good = !engine_failed(history->engine);
    }
    if (good && options->snapshot.size != 0) {
        good = load_snapshot(history, options->snapshot);
    } else if (good) {
        checker_start(history->checker, options->genesis);
    }
    if (!good) {
        history_free(history);
        return NULL;
    }
    return history;
}

void history_free(struct history *history) {
    if (history == NULL) {
        return;
    }
    checker_free(history->checker);
    engine_free(history->engine);
    free(history->era);
    free(history->before);
    replay_free(&history->replay);
    batch_free(&history->batch);
    arena_free(&history->arena);
    free(history);
}

uint64_t history_window_entry(const struct history *history) {
    return history->window_entry;
}

bool history_load_window(struct history *history, const struct batch *batch) {
    bool const loaded = checker_load_window(history->checker, &history->arena, batch);
    history->failed |= checker_failed(history->checker);
    return loaded;
}

bool history_window_holds(const struct history *history) {
    return !history->is_loaded || checker_window_holds(history->checker);
}

/* ---- where it stands ------------------------------------------------------------------------- */

uint64_t history_next_entry(const struct history *history) {
    return checker_position(history->checker)->entries;
}

uint64_t history_seq(const struct history *history) {
    return checker_position(history->checker)->seq;
}

const struct constitution *history_constitution(const struct history *history) {
    return history->constitution;
}

bool history_failed(const struct history *history) {
    return history->failed || checker_failed(history->checker) || engine_failed(history->engine);
}

bool history_leads_to(const struct history *history, uint64_t seq, const struct digest *digest) {
    return history->stored_seq == seq && digest_equal(&history->stored_digest, digest);
}

/* ---- checkpoints ----------------------------------------------------------------------------- */

static void cut_if_due(struct history *history, uint64_t seq) {
    if (checker_cut_is_due(history->checker)) {
        checker_cut(history->checker, &history->cut);
        engine_cut(history->engine, seq);
        engine_settle(history->engine, engine_mark(history->engine));
        history->cut_is_due = true;
    }
}

const struct checkpoint_cut *history_cut(const struct history *history) {
    return history->cut_is_due ? &history->cut : NULL;
}

const struct engine *history_engine(const struct history *history) {
    return history->engine;
}

void history_stored(struct history *history, uint64_t state_count,
                    const struct digest *state_root) {
    CHECK(history->cut_is_due);
    struct checkpoint_cut *const cut = &history->cut;
    struct buffer encoded;
    buffer_init(&encoded, CHECKPOINT_HEADER_SIZE_MAX);
    cut->header.state_count = state_count;
    cut->header.state_root = *state_root;
    if (checkpoint_cut_digest(&history->stored_digest, &encoded,
                              &checker_configuration(history->checker)->service, cut)) {
        history->stored_seq = cut->header.seq;
        checker_checkpoint_learn(history->checker, cut->header.seq, &history->stored_digest);
        engine_absorb(history->engine, cut->header.seq);
        history->cut_is_due = false;
    } else {
        history->failed = true;
    }
    buffer_free(&encoded);
}

/* ---- configurations -------------------------------------------------------------------------- */

/*
 * The state is that of the last batch of a configuration, and its checkpoint has been stored: go on
 * with the one that was decided. What a state that was handed in does not say is a failure.
 */
static void enter_next(struct history *history) {
    struct history_era *const next = malloc(sizeof *next);
    if (next == NULL || !engine_next_constitution(history->engine, &next->constitution)) {
        free(next);
        history->failed = true;
        return;
    }
    constitution_configuration(&next->configuration, &next->constitution);
    checker_enter(history->checker, &next->configuration);
    engine_govern(history->engine, &next->constitution);
    free(history->before);
    history->before = history->era;
    history->era = next;
    history->constitution = &next->constitution;
}

/* ---- taking ---------------------------------------------------------------------------------- */

/* A whole batch or new view. What stands is settled at once. */
static enum rule take_unit(struct history *history, enum batch_step step,
                           const struct sign_sink *sink) {
    if (history->constitution != NULL && checker_is_closed(history->checker)) {
        enter_next(history);
    }
    if (history->failed) {
        return RULE_NONE;
    }
    if (step == BATCH_VIEW) {
        return checker_view_add(history->checker, &history->batch.view, sink);
    }
    enum rule const rule =
        replay_batch(&history->replay, history->checker, history->engine, &history->batch, sink);
    if (rule == RULE_NONE) {
        uint64_t const seq = history_seq(history);
        checker_settle(history->checker, seq);
        engine_settle(history->engine, engine_mark(history->engine));
        cut_if_due(history, seq);
    }
    return rule;
}

enum rule history_take(struct history *history, const struct range_message *range,
                       uint64_t end_entry, const struct sign_sink *sink) {
    CHECK(!history->cut_is_due);
    uint64_t index = history_next_entry(history);
    uint64_t const come = range->first_entry + range->count;
    uint64_t const end = come < end_entry ? come : end_entry;
    enum rule rule = RULE_NONE;
    if (range->first_entry > index || come < index) {
        return RULE_ENTRY_ORDER;
    }
    batch_clear(&history->batch);
    while (index < end && !history->cut_is_due) {
        const struct entry *const entry = &range->entries[index - range->first_entry];
        enum batch_step const step = batch_add(&history->batch, index, entry, &rule);
        if (step == BATCH_BROKEN) {
            return rule;
        }
        index++;
        if (step == BATCH_MORE) {
            continue;
        }
        rule = take_unit(history, step, sink);
        batch_clear(&history->batch);
        if (rule != RULE_NONE || history_failed(history)) {
            return rule;
        }
    }
    return RULE_NONE;
}

bool history_check_signature(void *context, const struct sign_check *check, enum rule rule) {
    (void)rule;
    return sign_verify(context, check);
}
