/*
 * replayer: see replayer.h. A batch or a new view is first taken with all its signatures on trust
 * while threads check them. When anything at all is wrong it is undone and judged again, each
 * signature at its turn, so that the rule found is the one that everybody finds.
 */
#include "audit-tool/replayer.h"

#include <stdlib.h>

#include "base/check.h"
#include "execution/checkpoint.h"
#include "governance/founding.h"

bool replayer_init(struct replayer *replayer, struct eras *eras, struct signatures *signatures,
                   bool keep_cuts) {
    const struct era *const era = eras_find(eras, FOUNDING_CONFIGURATION);
    *replayer = (struct replayer){
        .eras = eras,
        .era = era,
        .signatures = signatures,
        .checker = checker_new(&era->configuration),
        .engine = engine_new(NULL),
        .keep_cuts = keep_cuts,
    };
    replay_init(&replayer->replay);
    for (unsigned i = 0; i < REPLAYER_CUTS; i++) {
        buffer_init(&replayer->cuts[i].snapshot, SNAPSHOT_SIZE_MAX);
    }
    bool const has_help = signatures != NULL && signatures_have_help(signatures);
    if (has_help) {
        replayer->preparer = preparer_new(&era->configuration.service, signatures);
    }
    return replayer->checker != NULL && replayer->engine != NULL &&
           (replayer->preparer != NULL || !has_help);
}

void replayer_free(struct replayer *replayer) {
    preparer_free(replayer->preparer);
    for (unsigned i = 0; i < REPLAYER_CUTS; i++) {
        buffer_free(&replayer->cuts[i].snapshot);
    }
    checker_free(replayer->checker);
    engine_free(replayer->engine);
    replay_free(&replayer->replay);
}

void replayer_start(struct replayer *replayer, struct span genesis) {
    engine_govern(replayer->engine, &replayer->era->constitution);
    checker_start(replayer->checker, genesis);
}

/* The ledger has ended a configuration: what follows from its votes? Returns: NULL: it is told. */
static const char *find_next(struct replayer *replayer) {
    const char *stuck = NULL;
    struct constitution *const next = malloc(sizeof *next);
    if (next == NULL) {
        replayer->failed = true;
        return NULL;
    }
    if (!engine_next_constitution(replayer->engine, next) ||
        next->number != replayer->era->configuration.number + 1) {
        stuck = "its state does not say which configuration comes next";
    } else {
        switch (eras_reach(replayer->eras, next)) {
        case ERA_ADDED:
        case ERA_KNOWN:
            break;
        case ERA_DIFFERS:
            stuck = "a governance chain that was given leads to another configuration "
                    "than this ledger; audit it without that";
            break;
        case ERA_MEMORY:
            replayer->failed = true;
            break;
        }
    }
    free(next);
    return stuck;
}

static void reach_next(struct replayer *replayer) {
    replayer->stuck = find_next(replayer);
}

/* ---- from a checkpoint ---- */

/* Begin in another configuration than the founding one, which must be known. */
static bool load_era(struct replayer *replayer, uint64_t number) {
    const struct era *const era = eras_find(replayer->eras, number);
    if (era == NULL) {
        replayer->stuck = "it is of a configuration that is not known here; give --chain, or audit "
                          "from genesis";
        return false;
    }
    if (era == replayer->era) {
        return true;
    }
    checker_free(replayer->checker);
    replayer->era = era;
    replayer->checker = checker_new(&era->configuration);
    if (replayer->checker == NULL) {
        replayer->failed = true;
        return false;
    }
    checker_set_before(replayer->checker, eras_configuration(replayer->eras, number - 1));
    return true;
}

bool replayer_load_begin(struct replayer *replayer, struct replayer_loading *loading,
                         struct arena *arena, struct span snapshot) {
    struct checker_snapshot decoded;
    struct checkpoint_header *const header = &loading->header;
    state_hasher_init(&loading->hasher);
    return checker_snapshot_decode(&decoded, arena, snapshot) == CODEC_OK &&
           checkpoint_header_decode(header, arena, decoded.header) == CODEC_OK &&
           load_era(replayer, header->config) && header->seq != 0 && decoded.past_entry == 0 &&
           checker_load(replayer->checker, &decoded, arena, false) &&
           checker_cut_is_due(replayer->checker);
}

bool replayer_load_item(struct replayer *replayer, struct replayer_loading *loading,
                        struct span key, struct span value) {
    state_hasher_add(&loading->hasher, key, value);
    return engine_preload(replayer->engine, key, value);
}

/* Is the state that was put in the one that the header states? */
static bool is_stated(struct replayer_loading *loading) {
    struct digest const root = state_hasher_final(&loading->hasher);
    return loading->header.state_count == loading->hasher.count &&
           digest_equal(&root, &loading->header.state_root);
}

bool replayer_load_end(struct replayer *replayer, struct replayer_loading *loading,
                       struct arena *arena, struct span snapshot) {
    struct checker_snapshot decoded;
    if (!is_stated(loading) || checker_snapshot_decode(&decoded, arena, snapshot) != CODEC_OK) {
        return false;
    }
    struct replayer_cut *const kept = &replayer->cuts[0];
    CHECK(!kept->used);
    kept->used = true;
    kept->cut.header = loading->header;
    kept->cut.window_entry = decoded.window_entry;
    kept->digest =
        hash_labelled(LABEL_CHECKPOINT, &replayer->era->configuration.service, decoded.header);
    engine_cut(replayer->engine, loading->header.seq);
    engine_settle(replayer->engine, engine_mark(replayer->engine));
    engine_govern(replayer->engine, &replayer->era->constitution);
    if (checker_is_closed(replayer->checker)) {
        reach_next(replayer);
    }
    return !engine_failed(replayer->engine) && buffer_append(&kept->snapshot, snapshot) &&
           frontier_load(&kept->cut.frontier, loading->header.ledger_leaves, decoded.frontier);
}

bool replayer_load(struct replayer *replayer, struct arena *arena, struct span snapshot,
                   const struct state_item *state, uint32_t state_count) {
    struct replayer_loading loading;
    if (!replayer_load_begin(replayer, &loading, arena, snapshot)) {
        return false;
    }
    for (uint32_t i = 0; i < state_count; i++) {
        if (!replayer_load_item(replayer, &loading, state[i].key, state[i].value)) {
            return false;
        }
    }
    engine_govern(replayer->engine, &replayer->era->constitution);
    return is_stated(&loading);
}

bool replayer_is_ready(const struct replayer *replayer) {
    return checker_checkpoint_known(replayer->checker);
}

bool replayer_failed(const struct replayer *replayer) {
    return replayer->failed || replayer->checker == NULL || checker_failed(replayer->checker) ||
           engine_failed(replayer->engine);
}

const struct ledger_position *replayer_position(const struct replayer *replayer) {
    return checker_position(replayer->checker);
}

const struct replayer_cut *replayer_cut_at(const struct replayer *replayer, uint64_t seq) {
    for (unsigned i = 0; i < REPLAYER_CUTS; i++) {
        if (replayer->cuts[i].used && replayer->cuts[i].cut.header.seq == seq) {
            return &replayer->cuts[i];
        }
    }
    return NULL;
}

/* May the oldest of so many cuts go? Batches carry the second oldest by now, or a later one. */
static bool is_spent(const struct replayer *replayer, unsigned count) {
    uint64_t const carried = checker_position(replayer->checker)->checkpoint_seq;
    return count == REPLAYER_CUTS ||
           (count >= REPLAYER_CUTS_USUAL && replayer->cuts[count - 2].cut.header.seq <= carried);
}

/* Make room for the next cut; the state below the oldest need not be told apart any more. */
static struct replayer_cut *cut_claim(struct replayer *replayer) {
    unsigned count = 0;
    while (count < REPLAYER_CUTS && replayer->cuts[count].used) {
        count++;
    }
    while (is_spent(replayer, count)) {
        struct replayer_cut *const oldest = &replayer->cuts[--count];
        engine_absorb(replayer->engine, oldest->cut.header.seq);
        oldest->used = false;
    }
    struct replayer_cut const unused = replayer->cuts[count];
    memmove(&replayer->cuts[1], &replayer->cuts[0], count * sizeof replayer->cuts[0]);
    replayer->cuts[0] = (struct replayer_cut){.used = true, .snapshot = unused.snapshot};
    buffer_clear(&replayer->cuts[0].snapshot);
    return &replayer->cuts[0];
}

/* A checkpoint: digest the state just after this batch, and tell the checker. */
static bool take_checkpoint(struct replayer *replayer, uint64_t seq) {
    struct replayer_cut *const cut = cut_claim(replayer);
    struct buffer header;
    buffer_init(&header, CHECKPOINT_HEADER_SIZE_MAX);
    engine_cut(replayer->engine, seq);
    engine_settle(replayer->engine, engine_mark(replayer->engine));
    checker_cut(replayer->checker, &cut->cut);
    bool const done =
        !engine_failed(replayer->engine) && checkpoint_fill(&cut->cut, replayer->engine) &&
        checkpoint_cut_digest(&cut->digest, &header, &replayer->era->configuration.service,
                              &cut->cut) &&
        (!replayer->keep_cuts ||
         checkpoint_cut_snapshot(&cut->snapshot, &cut->cut, checker_window(replayer->checker)));
    buffer_free(&header);
    if (done) {
        checker_checkpoint_learn(replayer->checker, seq, &cut->digest);
    }
    return done;
}

/* ---- step by step ---- */

/* What stands next in a ledger: a batch, or a new view. */
struct next_item {
    const struct batch *batch;
    const struct view_unit *unit;
};

static enum rule take(struct replayer *replayer, const struct next_item *next,
                      const struct sign_sink *sink) {
    return next->batch != NULL ? replay_batch(&replayer->replay, replayer->checker,
                                              replayer->engine, next->batch, sink)
                               : checker_view_add(replayer->checker, next->unit, sink);
}

/* The same, with the threads' help. */
static enum rule take_helped(struct replayer *replayer, const struct next_item *next,
                             const struct sign_sink *sink) {
    if (replayer->preparer == NULL || next->batch == NULL) {
        return take(replayer, next, sink);
    }
    replayer->replay.source = preparer_begin(replayer->preparer, next->batch);
    enum rule const rule = take(replayer, next, sink);
    preparer_end(replayer->preparer);
    replayer->replay.source = (struct replay_source){0};
    return rule;
}

/* Take it on trust, then ask the threads. Returns: whether it stands. */
static bool take_trusting(struct replayer *replayer, const struct next_item *next) {
    uint64_t const seq_before = checker_position(replayer->checker)->seq;
    uint64_t const view_before = checker_position(replayer->checker)->view;
    uint64_t const mark = engine_mark(replayer->engine);
    struct sign_sink const sink = signatures_sink(replayer->signatures);
    enum rule const rule = take_helped(replayer, next, &sink);
    bool const all_hold = signatures_settle(replayer->signatures);
    if (rule == RULE_NONE && !all_hold) {
        checker_rollback_in(replayer->checker, seq_before, view_before);
        engine_rollback(replayer->engine, mark);
    }
    return rule == RULE_NONE && all_hold;
}

static enum rule take_next(struct replayer *replayer, const struct next_item *next) {
    if (replayer->trusting) {
        return take_helped(replayer, next, &sign_sink_trust);
    }
    if (replayer->signatures != NULL && take_trusting(replayer, next)) {
        return RULE_NONE;
    }
    struct sign_sink const sink = signatures_sink_at_once(&replayer->era->configuration.service);
    return take(replayer, next, &sink);
}

/* ---- from one configuration to the next ---- */

bool replayer_goes_over(const struct replayer *replayer, uint64_t stated_config) {
    return checker_is_closed(replayer->checker) && replayer->stuck == NULL &&
           stated_config != replayer->era->configuration.number;
}

void replayer_go_over(struct replayer *replayer, uint64_t stated_config) {
    if (!replayer_goes_over(replayer, stated_config)) {
        return;
    }
    CHECK(!replayer->on_trial || replayer->trial_may_enter);
    replayer->trial_may_enter = false;
    replayer->era = eras_find(replayer->eras, replayer->era->configuration.number + 1);
    CHECK(replayer->era != NULL); /* reach_next has put it there, or was stuck */
    checker_enter(replayer->checker, &replayer->era->configuration);
    engine_govern(replayer->engine, &replayer->era->constitution);
}

enum rule replayer_step(struct replayer *replayer, const struct batch *batch) {
    replayer_go_over(replayer, batch->pre_prepare.config);
    CHECK(replayer_is_ready(replayer));
    enum rule const rule = take_next(replayer, &(struct next_item){.batch = batch});
    if (rule != RULE_NONE || replayer->on_trial) {
        return rule;
    }
    uint64_t const seq = checker_position(replayer->checker)->seq;
    engine_settle(replayer->engine, engine_mark(replayer->engine));
    checker_settle(replayer->checker, seq);
    if (checker_cut_is_due(replayer->checker)) {
        replayer->failed |= !take_checkpoint(replayer, seq);
    }
    if (checker_is_closed(replayer->checker) && !replayer_failed(replayer)) {
        reach_next(replayer);
    }
    return RULE_NONE;
}

enum rule replayer_enter(struct replayer *replayer, const struct view_unit *unit) {
    replayer_go_over(replayer, unit->new_view.config);
    enum rule const rule = take_next(replayer, &(struct next_item){.unit = unit});
    if (rule == RULE_NONE && replayer->on_trial) {
        replayer->trial_views++;
    }
    return rule;
}

/* ---- trials ---- */

void replayer_trial_begin(struct replayer *replayer) {
    const struct ledger_position *const now = checker_position(replayer->checker);
    CHECK(!replayer->on_trial);
    replayer->on_trial = true;
    replayer->trial_era = replayer->era;
    replayer->trial_eras = replayer->eras->count;
    replayer->trial_seq = now->seq;
    replayer->trial_evidenced = now->evidence_upto;
    replayer->trial_view = now->view;
    replayer->trial_views = 0;
    replayer->trial_mark = engine_mark(replayer->engine);
    replayer->trial_may_enter = false;
}

bool replayer_trial_is_over_there(const struct replayer *replayer) {
    return replayer->era != replayer->trial_era;
}

/*
 * What ends a configuration is the same in all its copies but for their views, so who is cut off
 * there has gone alone for little of it; and behind it, for no longer than anywhere else.
 */
static bool has_room(const struct replayer *replayer) {
    const struct ledger_position *const now = checker_position(replayer->checker);
    uint64_t const from =
        replayer_trial_is_over_there(replayer) ? now->config_start : replayer->trial_seq;
    /* Less than C batches: none of them needs a checkpoint that the trial would have to make. */
    uint64_t const batches_max = 2 * (uint64_t)replayer->era->configuration.parameters.pipeline;
    /* Going back takes all that was not evidenced where it began. */
    return now->seq - from < batches_max &&
           now->seq + 1 - replayer->trial_evidenced < CHECKER_MARKS_MAX &&
           replayer->trial_views < REPLAYER_TRIAL_VIEWS;
}

/* It is at the end of a configuration: may it go over? */
static bool may_enter(struct replayer *replayer) {
    bool const is_settled = checker_position(replayer->checker)->seq == replayer->trial_seq;
    if (!replayer->trial_may_enter && !is_settled && !replayer_trial_is_over_there(replayer)) {
        replayer->trial_may_enter = find_next(replayer) == NULL;
    }
    return replayer->trial_may_enter;
}

bool replayer_trial_goes_on(struct replayer *replayer) {
    CHECK(replayer->on_trial);
    bool const goes_on =
        checker_is_closed(replayer->checker) ? may_enter(replayer) : has_room(replayer);
    return goes_on && replayer_is_ready(replayer) && !replayer_failed(replayer);
}

void replayer_trial_end(struct replayer *replayer) {
    CHECK(replayer->on_trial);
    replayer->on_trial = false;
    replayer->trial_may_enter = false;
    engine_rollback(replayer->engine, replayer->trial_mark);
    if (replayer_trial_is_over_there(replayer)) {
        checker_leave(replayer->checker);
        replayer->era = replayer->trial_era;
        engine_govern(replayer->engine, &replayer->era->constitution);
    }
    checker_rollback_in(replayer->checker, replayer->trial_seq, replayer->trial_view);
    eras_cut(replayer->eras, replayer->trial_eras);
}
