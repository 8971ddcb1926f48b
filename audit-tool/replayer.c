/*
 * replayer: see replayer.h. A batch is first taken with all its signatures on trust while threads
 * check them. When anything at all is wrong it is undone and judged again, each signature at its
 * turn, so that the rule found is the one that everybody finds.
 */
#include "audit-tool/replayer.h"

#include <stdlib.h>

#include "base/check.h"
#include "execution/checkpoint.h"

bool replayer_init(struct replayer *replayer, const struct configuration *configuration,
                   struct signatures *signatures, bool keep_cuts) {
    *replayer = (struct replayer){
        .configuration = configuration,
        .signatures = signatures,
        .checker = checker_new(configuration),
        .engine = engine_new(NULL),
        .keep_cuts = keep_cuts,
    };
    replay_init(&replayer->replay);
    for (unsigned i = 0; i < REPLAYER_CUTS; i++) {
        buffer_init(&replayer->cuts[i].snapshot, SNAPSHOT_SIZE_MAX);
    }
    return replayer->checker != NULL && replayer->engine != NULL;
}

void replayer_free(struct replayer *replayer) {
    for (unsigned i = 0; i < REPLAYER_CUTS; i++) {
        buffer_free(&replayer->cuts[i].snapshot);
    }
    checker_free(replayer->checker);
    engine_free(replayer->engine);
    replay_free(&replayer->replay);
}

void replayer_start(struct replayer *replayer, struct span genesis) {
    checker_start(replayer->checker, genesis);
}

/* Put the state in, and see whether it is the one that the header states. */
static bool load_state(struct replayer *replayer, const struct checkpoint_header *header,
                       const struct state_item *state, uint32_t state_count) {
    struct state_hasher hasher;
    state_hasher_init(&hasher);
    for (uint32_t i = 0; i < state_count; i++) {
        if (!engine_preload(replayer->engine, state[i].key, state[i].value)) {
            return false;
        }
        state_hasher_add(&hasher, state[i].key, state[i].value);
    }
    struct digest const root = state_hasher_final(&hasher);
    return header->state_count == state_count && digest_equal(&root, &header->state_root);
}

bool replayer_load(struct replayer *replayer, struct arena *arena, struct span snapshot,
                   const struct state_item *state, uint32_t state_count) {
    struct checker_snapshot decoded;
    struct checkpoint_header header;
    uint64_t const interval = replayer->configuration->parameters.checkpoint_interval;
    return checker_snapshot_decode(&decoded, arena, snapshot) == CODEC_OK &&
           checkpoint_header_decode(&header, arena, decoded.header) == CODEC_OK &&
           header.seq != 0 && header.seq % interval == 0 &&
           checker_load(replayer->checker, &decoded, arena, false) &&
           load_state(replayer, &header, state, state_count);
}

bool replayer_is_ready(const struct replayer *replayer) {
    return checker_checkpoint_known(replayer->checker);
}

bool replayer_failed(const struct replayer *replayer) {
    return replayer->failed || checker_failed(replayer->checker) || engine_failed(replayer->engine);
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

/* Make room for the next cut; the state below the oldest need not be told apart any more. */
static struct replayer_cut *cut_claim(struct replayer *replayer) {
    struct replayer_cut oldest = replayer->cuts[REPLAYER_CUTS - 1];
    if (oldest.used) {
        engine_absorb(replayer->engine, oldest.cut.header.seq);
    }
    memmove(&replayer->cuts[1], &replayer->cuts[0], (REPLAYER_CUTS - 1) * sizeof replayer->cuts[0]);
    buffer_clear(&oldest.snapshot);
    replayer->cuts[0] = (struct replayer_cut){.used = true, .snapshot = oldest.snapshot};
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
        checkpoint_cut_digest(&cut->digest, &header, &replayer->configuration->service,
                              &cut->cut) &&
        (!replayer->keep_cuts ||
         checkpoint_cut_snapshot(&cut->snapshot, &cut->cut, checker_window(replayer->checker)));
    buffer_free(&header);
    if (done) {
        checker_checkpoint_learn(replayer->checker, seq, &cut->digest);
    }
    return done;
}

/* Take the batch on trust, then ask the threads. Returns: whether it stands. */
static bool step_trusting(struct replayer *replayer, const struct batch *batch) {
    uint64_t const seq_before = checker_position(replayer->checker)->seq;
    uint64_t const mark = engine_mark(replayer->engine);
    struct sign_sink const sink = signatures_sink(replayer->signatures);
    enum rule const rule =
        replay_batch(&replayer->replay, replayer->checker, replayer->engine, batch, &sink);
    bool const all_hold = signatures_settle(replayer->signatures);
    if (rule == RULE_NONE && !all_hold) {
        checker_rollback(replayer->checker, seq_before);
        engine_rollback(replayer->engine, mark);
    }
    return rule == RULE_NONE && all_hold;
}

enum rule replayer_judge(struct replayer *replayer, const struct batch *batch) {
    CHECK(replayer_is_ready(replayer));
    uint64_t const seq_before = checker_position(replayer->checker)->seq;
    uint64_t const mark = engine_mark(replayer->engine);
    struct sign_sink const sink = signatures_sink_at_once(&replayer->configuration->service);
    enum rule const rule =
        replay_batch(&replayer->replay, replayer->checker, replayer->engine, batch, &sink);
    if (rule == RULE_NONE) {
        checker_rollback(replayer->checker, seq_before);
        engine_rollback(replayer->engine, mark);
    }
    return rule;
}

enum rule replayer_step(struct replayer *replayer, const struct batch *batch) {
    CHECK(replayer_is_ready(replayer));
    if (replayer->signatures == NULL || !step_trusting(replayer, batch)) {
        struct sign_sink const sink = signatures_sink_at_once(&replayer->configuration->service);
        enum rule const rule =
            replay_batch(&replayer->replay, replayer->checker, replayer->engine, batch, &sink);
        if (rule != RULE_NONE) {
            return rule;
        }
    }
    uint64_t const seq = checker_position(replayer->checker)->seq;
    engine_settle(replayer->engine, engine_mark(replayer->engine));
    checker_settle(replayer->checker, seq);
    if (seq % replayer->configuration->parameters.checkpoint_interval == 0) {
        replayer->failed |= !take_checkpoint(replayer, seq);
    }
    return RULE_NONE;
}
