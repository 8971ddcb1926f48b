/*
 * rerun: see rerun.h. Which check comes when does not matter for soundness: a fragment that fails
 * any of them shows nothing.
 */
#include "audit-tool/rerun.h"

#include "audit-tool/signatures.h"
#include "base/check.h"
#include "execution/checkpoint.h"
#include "ledger/derive.h"

/* ---- forms ---- */

/* The number of the last batch that a fragment holds. */
static bool last_seq(uint64_t *seq, struct arena *arena, const struct fragment *fragment) {
    uint32_t nth = fragment->entry_count;
    while (nth > 0 && fragment->entries[nth - 1].kind != ENTRY_PRE_PREPARE) {
        nth--;
    }
    struct signed_body statement;
    struct pre_prepare body;
    if (nth == 0 ||
        signed_decode(&statement, arena, fragment->entries[nth - 1].payload, STATEMENT_SIZE_MAX) !=
            CODEC_OK ||
        pre_prepare_decode(&body, arena, statement.body) != CODEC_OK) {
        return false;
    }
    *seq = body.seq;
    return true;
}

static bool holds_window(bool *has_window, struct arena *arena, const struct fragment *fragment) {
    struct checker_snapshot snapshot;
    *has_window = false;
    if (fragment->snapshot.size == 0) {
        return true;
    }
    if (checker_snapshot_decode(&snapshot, arena, fragment->snapshot) != CODEC_OK) {
        return false;
    }
    *has_window = snapshot.window_count != 0;
    return true;
}

/*
 * A request that was executed before is found in the window, or in one of the batches behind the
 * checkpoint: a fragment shows the one or the other.
 */
static bool form_of_broken(struct rerun_form *form, struct arena *arena,
                           const struct proof *proof) {
    *form = (struct rerun_form){.skims = true};
    if (!span_equal(proof->rule, span_text(rule_name(RULE_REQUEST_DUPLICATE)))) {
        return true;
    }
    bool const known = holds_window(&form->has_window, arena, &proof->fragment);
    form->skims = form->has_window;
    return known;
}

/*
 * The first batch to carry a checkpoint shows its digest wrong only if all of the state is digested
 * again. A later one shows it by differing from the batch before.
 */
static bool form_of_checkpoint(struct rerun_form *form, struct arena *arena,
                               const struct configuration *configuration,
                               const struct proof *proof) {
    uint64_t seq = 0;
    bool const known = last_seq(&seq, arena, &proof->fragment);
    bool const digests = seq % configuration->parameters.checkpoint_interval == 0;
    *form = (struct rerun_form){.executes = digests,
                                .digests = digests,
                                .whole_state = digests,
                                .has_window = digests,
                                .skims = !digests};
    return known;
}

bool rerun_form_of(struct rerun_form *form, struct arena *arena,
                   const struct configuration *configuration, const struct proof *proof) {
    switch (proof->kind) {
    case PROOF_BROKEN_BATCH:
        return form_of_broken(form, arena, proof);
    case PROOF_BROKEN_NEW_VIEW:
        *form = (struct rerun_form){.skims = true};
        return true;
    case PROOF_WRONG_OUTCOME:
        *form = (struct rerun_form){.executes = true};
        return true;
    case PROOF_WRONG_CHECKPOINT:
        return form_of_checkpoint(form, arena, configuration, proof);
    case PROOF_EQUIVOCATION:
    case PROOF_CONFLICTING_CERTIFICATES:
    case PROOF_UNDERSTATED_VIEW_CHANGE:
    case PROOF_FORKED_VIEW:
    case PROOF_MALFORMED_RANGE:
        return false;
    }
    UNREACHABLE();
}

/* ---- beginning ---- */

static bool has_state(const struct fragment *fragment) {
    return fragment->state_count != 0 || fragment->place_count != 0 || fragment->path_count != 0;
}

static bool begin_genesis(struct rerun *rerun, const struct proof *proof) {
    const struct entry *const first = &proof->fragment.entries[0];
    rerun->next = 1;
    checker_start(rerun->checker, proof->genesis);
    return !has_state(&proof->fragment) && first->kind == ENTRY_GENESIS &&
           span_equal(first->payload, proof->genesis);
}

/* Is the state there as the form demands: none of it, some items, or all of them? */
static bool state_holds(const struct rerun *rerun, const struct checkpoint_header *header,
                        const struct fragment *fragment) {
    struct digest root;
    if (!rerun->form.executes) {
        return !has_state(fragment);
    }
    if (rerun->form.whole_state ? fragment->place_count != 0 || fragment->path_count != 0
                                : fragment->place_count != fragment->state_count) {
        return false;
    }
    return state_part_root(&root, fragment, header->state_count) &&
           digest_equal(&root, &header->state_root);
}

static bool begin_checkpoint(struct rerun *rerun, struct arena *arena, const struct proof *proof) {
    struct checker_snapshot snapshot;
    struct checkpoint_header header;
    uint64_t const interval = rerun->configuration->parameters.checkpoint_interval;
    if (checker_snapshot_decode(&snapshot, arena, proof->fragment.snapshot) != CODEC_OK ||
        checkpoint_header_decode(&header, arena, snapshot.header) != CODEC_OK || header.seq == 0 ||
        header.seq % interval != 0 || snapshot.past_entry != 0 || snapshot.anchor_count != 0 ||
        (!rerun->form.has_window && (snapshot.window_count != 0 || snapshot.window_entry != 0)) ||
        !checker_load(rerun->checker, &snapshot, arena, !rerun->form.has_window) ||
        !state_holds(rerun, &header, &proof->fragment)) {
        return false;
    }
    rerun->part.total = header.state_count;
    rerun->checkpoint =
        hash_labelled(LABEL_CHECKPOINT, &rerun->configuration->service, snapshot.header);
    rerun->checkpoint_seq = header.seq;
    rerun->first_entry = header.entries;
    return true;
}

enum proof_check rerun_init(struct rerun *rerun, struct arena *arena,
                            const struct configuration *configuration,
                            const struct rerun_form *form, const struct proof *proof) {
    *rerun = (struct rerun){.configuration = configuration, .form = *form};
    replay_init(&rerun->replay);
    batch_init(&rerun->batch);
    bool const has_part = state_part_init(&rerun->part, &proof->fragment, 0);
    struct state_base const base = state_part_base(&rerun->part);
    rerun->checker = checker_new(configuration);
    rerun->engine = form->executes ? engine_new(&base) : NULL;
    if (!has_part || rerun->checker == NULL || (form->executes && rerun->engine == NULL)) {
        return PROOF_MEMORY;
    }
    bool const begun = proof->fragment.snapshot.size == 0 ? begin_genesis(rerun, proof)
                                                          : begin_checkpoint(rerun, arena, proof);
    return begun ? PROOF_VALID : checker_failed(rerun->checker) ? PROOF_MEMORY : PROOF_FRAGMENT;
}

void rerun_free(struct rerun *rerun) {
    checker_free(rerun->checker);
    engine_free(rerun->engine);
    replay_free(&rerun->replay);
    batch_free(&rerun->batch);
    state_part_free(&rerun->part);
}

const struct ledger_position *rerun_position(const struct rerun *rerun) {
    return checker_position(rerun->checker);
}

/* ---- going on ---- */

/* Does the batch fed so far end here, without its requests? */
static bool is_cut_here(const struct rerun *rerun, const struct fragment *fragment) {
    return rerun->form.skims && fragment->entries[rerun->next - 1].kind == ENTRY_PRE_PREPARE &&
           (rerun->next == fragment->entry_count ||
            fragment->entries[rerun->next].kind != ENTRY_REQUEST);
}

/* Put the next batch or new view together. Returns: false when the entries are none. */
static bool read_next(struct rerun *rerun, const struct fragment *fragment) {
    batch_clear(&rerun->batch);
    rerun->is_skimmed = false;
    while (rerun->next < fragment->entry_count) {
        enum rule rule = RULE_NONE;
        uint64_t const index = rerun->first_entry + rerun->next;
        rerun->step = batch_add(&rerun->batch, index, &fragment->entries[rerun->next++], &rule);
        if (rerun->step != BATCH_MORE) {
            return rerun->step != BATCH_BROKEN;
        }
        if (is_cut_here(rerun, fragment)) {
            rerun->is_skimmed = true;
            rerun->step = BATCH_WHOLE;
            return batch_skim(&rerun->batch);
        }
    }
    return false;
}

/* The checkpoint behind that of the snapshot, from which the blamed batch may be the first. */
static void take_checkpoint(struct rerun *rerun) {
    uint64_t const seq = rerun_position(rerun)->seq;
    struct checkpoint_cut cut;
    struct digest digest;
    struct buffer header;
    buffer_init(&header, CHECKPOINT_HEADER_SIZE_MAX);
    engine_cut(rerun->engine, seq);
    engine_settle(rerun->engine, engine_mark(rerun->engine));
    checker_cut(rerun->checker, &cut);
    if (!engine_failed(rerun->engine) && checkpoint_fill(&cut, rerun->engine) &&
        checkpoint_cut_digest(&digest, &header, &rerun->configuration->service, &cut)) {
        checker_checkpoint_learn(rerun->checker, seq, &digest);
    } else {
        rerun->failed = true;
    }
    buffer_free(&header);
}

/*
 * A checkpoint that is not digested here is taken as the batch states it: who signed that batch has
 * compared it, and it is not what the fragment is about. Returns: false when it must be known.
 */
static bool checkpoint_is_known(struct rerun *rerun) {
    if (checker_checkpoint_known(rerun->checker)) {
        return true;
    }
    if (rerun->form.digests) {
        return false;
    }
    checker_checkpoint_learn(rerun->checker,
                             checker_checkpoint_for(rerun->checker, rerun_position(rerun)->seq + 1),
                             &rerun->batch.pre_prepare.checkpoint_digest);
    return true;
}

static enum rule take_batch(struct rerun *rerun, const struct sign_sink *sink) {
    enum rule const rule =
        rerun->is_skimmed
            ? checker_batch_skim(rerun->checker, &rerun->batch.seal, sink)
            : replay_batch(&rerun->replay, rerun->checker, rerun->engine, &rerun->batch, sink);
    if (rule != RULE_NONE) {
        return rule;
    }
    uint64_t const seq = rerun_position(rerun)->seq;
    checker_settle(rerun->checker, seq);
    if (rerun->engine != NULL) {
        engine_settle(rerun->engine, engine_mark(rerun->engine));
    }
    if (rerun->form.digests &&
        seq == rerun->checkpoint_seq + rerun->configuration->parameters.checkpoint_interval) {
        take_checkpoint(rerun);
    }
    return RULE_NONE;
}

/*
 * The ledger up to the blamed batch is bound by the root that it signs, but not the state and the
 * window below. They count only if the batch before carries their digest: whoever signed the
 * blamed batch has checked that one too.
 */
static bool is_bound(const struct rerun *rerun) {
    const struct ledger_position *const before = rerun_position(rerun);
    return rerun->checkpoint_seq == 0 ||
           (before->seq > rerun->checkpoint_seq &&
            before->checkpoint_seq == rerun->checkpoint_seq &&
            digest_equal(&before->checkpoint_digest, &rerun->checkpoint));
}

/* What could not be executed: because an item is missing, or memory? */
static enum proof_check failure(const struct rerun *rerun) {
    bool const engine_stopped = rerun->engine != NULL && engine_failed(rerun->engine);
    if (engine_stopped && rerun->part.lacking) {
        return PROOF_FRAGMENT;
    }
    return rerun->failed || engine_stopped || checker_failed(rerun->checker) ? PROOF_MEMORY
                                                                             : PROOF_VALID;
}

enum proof_check rerun_to_broken(struct rerun *rerun, enum rule *rule,
                                 const struct fragment *fragment) {
    struct sign_sink const sink = signatures_sink_at_once(&rerun->configuration->service);
    while (rerun->next < fragment->entry_count) {
        if (!read_next(rerun, fragment) ||
            (rerun->step == BATCH_WHOLE && !checkpoint_is_known(rerun))) {
            return PROOF_FRAGMENT;
        }
        *rule = rerun->step == BATCH_VIEW
                    ? checker_view_add(rerun->checker, &rerun->batch.view, &sink)
                    : take_batch(rerun, &sink);
        enum proof_check const check = failure(rerun);
        if (check != PROOF_VALID) {
            return check;
        }
        if (*rule != RULE_NONE) {
            return rerun->is_skimmed ? PROOF_FRAGMENT
                   : is_bound(rerun) ? PROOF_VALID
                                     : PROOF_CHECKPOINT;
        }
        bool const is_whole = rerun->step == BATCH_WHOLE && !rerun->is_skimmed;
        if (rerun->form.skims && is_whole && rerun->batch.pre_prepare.tx_count != 0 &&
            rerun->next < fragment->entry_count) {
            return PROOF_FRAGMENT; /* its requests are not needed */
        }
    }
    return PROOF_NOTHING_BROKEN;
}
