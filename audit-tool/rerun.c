/*
 * rerun: see rerun.h. Which check comes when does not matter for soundness: a fragment that fails
 * any of them shows nothing.
 */
#include "audit-tool/rerun.h"

#include "audit-tool/signatures.h"
#include "base/check.h"
#include "execution/checkpoint.h"
#include "governance/ballot.h"
#include "governance/founding.h"
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

/* Are there requests in it of other batches than the last one? */
static bool shows_requests(const struct fragment *fragment) {
    bool before = false;
    for (uint32_t i = 0; i < fragment->entry_count; i++) {
        before |= fragment->entries[i].kind == ENTRY_REQUEST;
        if (before && fragment->entries[i].kind == ENTRY_PRE_PREPARE) {
            return true;
        }
    }
    return false;
}

/*
 * That a configuration ends without a vote, or goes on behind one, is seen by executing the votes.
 *
 * A request that was executed before is found in the window, or in one of the batches behind the
 * checkpoint: a fragment shows the one or the other.
 */
static bool form_of_broken(struct rerun_form *form, struct arena *arena,
                           const struct proof *proof) {
    bool const is_kind = span_equal(proof->rule, span_text(rule_name(RULE_BATCH_KIND)));
    bool const executes = is_kind && shows_requests(&proof->fragment);
    *form = (struct rerun_form){.executes = executes, .skims = !executes};
    if (!span_equal(proof->rule, span_text(rule_name(RULE_REQUEST_DUPLICATE)))) {
        return true;
    }
    bool const known = holds_window(&form->has_window, arena, &proof->fragment);
    form->skims = form->has_window;
    return known;
}

/*
 * The first batch to carry a checkpoint shows its digest wrong only if all of the state is digested
 * again. A later one shows it by differing from the batch before. Which it is follows from the
 * number in the founding configuration; in later ones, where a checkpoint stands at the beginning,
 * it is what the fragment holds: each form shows only what is so.
 */
static bool form_of_checkpoint(struct rerun_form *form, struct arena *arena,
                               const struct eras *eras, const struct proof *proof) {
    const struct configuration *const founding = eras_configuration(eras, FOUNDING_CONFIGURATION);
    const struct fragment *const fragment = &proof->fragment;
    uint64_t seq = 0;
    bool const known = last_seq(&seq, arena, fragment);
    bool const digests =
        eras->count == FOUNDING_CONFIGURATION ? seq % founding->parameters.checkpoint_interval == 0
        : fragment->snapshot.size == 0        ? shows_requests(fragment)
                                       : fragment->state_count != 0 && fragment->place_count == 0;
    *form = (struct rerun_form){.executes = digests,
                                .digests = digests,
                                .whole_state = digests,
                                .has_window = digests,
                                .skims = !digests};
    return known;
}

bool rerun_form_of(struct rerun_form *form, struct arena *arena, const struct eras *eras,
                   const struct proof *proof) {
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
        return form_of_checkpoint(form, arena, eras, proof);
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

/* Begin in another configuration than the founding one. */
static bool change_checker(struct rerun *rerun, const struct era *era) {
    const struct era *const before = eras_find(rerun->eras, era->configuration.number - 1);
    checker_free(rerun->checker);
    rerun->checker = checker_new(&era->configuration);
    rerun->era = era;
    if (rerun->checker != NULL) {
        checker_set_before(rerun->checker, &before->configuration);
    }
    return rerun->checker != NULL;
}

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

/*
 * Is the state there as the form demands: none of it, some items, or all of them? Behind the
 * founding configuration there is always the item that says which constitution is the newest.
 */
static bool state_holds(const struct rerun *rerun, const struct checkpoint_header *header,
                        const struct fragment *fragment) {
    struct digest root;
    if (!rerun->form.executes && !rerun->is_governed) {
        return !has_state(fragment);
    }
    if (rerun->form.whole_state ? fragment->place_count != 0 || fragment->path_count != 0
                                : fragment->place_count != fragment->state_count) {
        return false;
    }
    return state_part_root(&root, fragment, header->state_count) &&
           digest_equal(&root, &header->state_root);
}

/* The state names the newest constitution: is it the one that the chain gives for its number? */
static bool is_of_this_chain(struct rerun *rerun, struct arena *arena) {
    const struct ledger_position *const now = rerun_position(rerun);
    uint64_t const number = rerun->era->configuration.number + (now->closing_seq != 0 ? 1 : 0);
    const struct era *const newest = eras_find(rerun->eras, number);
    struct state_base const base = state_part_base(&rerun->part);
    struct decided decided;
    struct digest digest;
    struct span value;
    if (!rerun->is_governed) {
        return true;
    }
    /* Who signs behind it has a checkpoint that is older than the vote, or at the very end. */
    if (now->closing_seq != 0 && !checker_is_closed(rerun->checker)) {
        return false;
    }
    rerun->knows_next = now->closing_seq != 0;
    return newest != NULL && base.get(base.context, span_text(BALLOT_KEY_DECIDED), &value) == 1 &&
           decided_decode(&decided, arena, value) == CODEC_OK && decided.number == number &&
           constitution_digest(&digest, &newest->constitution) &&
           digest_equal(&digest, &decided.constitution);
}

/* A checker for the configuration of a checkpoint, with the keys for what came before it. */
static bool load(struct rerun *rerun, struct arena *arena, const struct checker_snapshot *snapshot,
                 const struct checkpoint_header *header) {
    const struct era *const era = eras_find(rerun->eras, header->config);
    if (era == NULL || (era != rerun->era && !change_checker(rerun, era))) {
        return false;
    }
    rerun->is_governed = header->config > FOUNDING_CONFIGURATION || header->closing_seq != 0;
    return checker_load(rerun->checker, snapshot, arena, !rerun->form.has_window) &&
           checker_cut_is_due(rerun->checker);
}

static bool begin_checkpoint(struct rerun *rerun, struct arena *arena, const struct proof *proof) {
    struct checker_snapshot snapshot;
    struct checkpoint_header header;
    if (checker_snapshot_decode(&snapshot, arena, proof->fragment.snapshot) != CODEC_OK ||
        checkpoint_header_decode(&header, arena, snapshot.header) != CODEC_OK || header.seq == 0 ||
        snapshot.past_entry != 0 || snapshot.anchor_count != 0 ||
        (!rerun->form.has_window && (snapshot.window_count != 0 || snapshot.window_entry != 0)) ||
        !load(rerun, arena, &snapshot, &header) || !state_holds(rerun, &header, &proof->fragment)) {
        return false;
    }
    rerun->part.total = header.state_count;
    if (!is_of_this_chain(rerun, arena)) {
        return false;
    }
    rerun->checkpoint =
        hash_labelled(LABEL_CHECKPOINT, &rerun_configuration(rerun)->service, snapshot.header);
    rerun->checkpoint_seq = header.seq;
    rerun->first_entry = header.entries;
    return true;
}

enum proof_check rerun_init(struct rerun *rerun, struct arena *arena, const struct eras *eras,
                            const struct rerun_form *form, const struct proof *proof) {
    const struct era *const founding = eras_find(eras, FOUNDING_CONFIGURATION);
    *rerun = (struct rerun){.eras = eras, .era = founding, .form = *form};
    replay_init(&rerun->replay);
    batch_init(&rerun->batch);
    bool const has_part = state_part_init(&rerun->part, &proof->fragment, 0);
    struct state_base const base = state_part_base(&rerun->part);
    rerun->checker = checker_new(&founding->configuration);
    rerun->engine = form->executes ? engine_new(&base) : NULL;
    if (!has_part || rerun->checker == NULL || (form->executes && rerun->engine == NULL)) {
        return PROOF_MEMORY;
    }
    bool const begun = proof->fragment.snapshot.size == 0 ? begin_genesis(rerun, proof)
                                                          : begin_checkpoint(rerun, arena, proof);
    if (begun && rerun->engine != NULL) {
        engine_govern(rerun->engine, &rerun->era->constitution);
    }
    return begun                                                      ? PROOF_VALID
           : rerun->checker == NULL || checker_failed(rerun->checker) ? PROOF_MEMORY
                                                                      : PROOF_FRAGMENT;
}

void rerun_free(struct rerun *rerun) {
    checker_free(rerun->checker);
    engine_free(rerun->engine);
    replay_free(&rerun->replay);
    batch_free(&rerun->batch);
    state_part_free(&rerun->part);
}

const struct configuration *rerun_configuration(const struct rerun *rerun) {
    return &rerun->era->configuration;
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

/* A checkpoint behind that of the snapshot, which the blamed batch may be the first to carry. */
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
        checkpoint_cut_digest(&digest, &header, &rerun_configuration(rerun)->service, &cut)) {
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

/* Is the next constitution of the chain the one that this ledger has come to? */
static bool is_next(const struct rerun *rerun, const struct era *next) {
    const struct pre_prepare *const own = &rerun->vote_batch;
    struct pre_prepare shown;
    struct arena arena;
    if (rerun->knows_next) {
        return true;
    }
    arena_init(&arena, LINK_ARENA_SIZE);
    /* The outcome that names it is a leaf of this root, and the link has shown it there. */
    bool const is_here = era_vote_batch(next, &arena, &shown) && own->seq == shown.seq &&
                         own->seq == rerun_position(rerun)->closing_seq &&
                         own->first_index == shown.first_index && own->tx_count == shown.tx_count &&
                         digest_equal(&own->batch_root, &shown.batch_root);
    arena_free(&arena);
    return is_here;
}

/*
 * Where a configuration has ended, enter the next one, unless what comes was signed in the old one.
 * Returns: false when the next one is not known, or is another: then nothing is judged.
 */
static bool go_over(struct rerun *rerun) {
    uint64_t const number = rerun->era->configuration.number;
    uint64_t const stated = rerun->step == BATCH_VIEW ? rerun->batch.view.new_view.config
                                                      : rerun->batch.pre_prepare.config;
    if (!checker_is_closed(rerun->checker) || stated == number) {
        return true;
    }
    const struct era *const next = eras_find(rerun->eras, number + 1);
    if (next == NULL || !is_next(rerun, next)) {
        return false;
    }
    checker_enter(rerun->checker, &next->configuration);
    if (rerun->engine != NULL) {
        engine_govern(rerun->engine, &next->constitution);
    }
    rerun->era = next;
    rerun->knows_next = false;
    return true;
}

static enum rule take_batch(struct rerun *rerun, const struct sign_sink *sink) {
    /* Without the votes, that they have ended a configuration shows in what follows them. */
    bool const ends = rerun->form.skims &&
                      rerun->batch.pre_prepare.kind == BATCH_END_OF_CONFIGURATION &&
                      rerun->batch.request_count == 0;
    enum rule const rule =
        rerun->is_skimmed || ends
            ? checker_batch_skim(rerun->checker, &rerun->batch.seal, sink)
            : replay_batch(&rerun->replay, rerun->checker, rerun->engine, &rerun->batch, sink);
    if (rule != RULE_NONE) {
        return rule;
    }
    checker_settle(rerun->checker, rerun_position(rerun)->seq);
    if (rerun->batch.pre_prepare.kind == BATCH_NORMAL) {
        rerun->vote_batch = rerun->batch.pre_prepare;
    }
    if (rerun->engine != NULL) {
        engine_settle(rerun->engine, engine_mark(rerun->engine));
    }
    if (rerun->form.digests && checker_cut_is_due(rerun->checker)) {
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
    struct sign_sink const sink = signatures_sink_at_once(&rerun_configuration(rerun)->service);
    while (rerun->next < fragment->entry_count) {
        if (!read_next(rerun, fragment) || !go_over(rerun) ||
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
