/*
 * blame_fragment: proofs that enclose a piece of the ledger: a batch or a new view that breaks a
 * rule (protocol §10). As in blame.c, nothing is a finding before it has been verified as a
 * stranger would. Of the ledger and the state goes in what the verifier will ask for (rerun.h).
 */
#include <stdlib.h>

#include "audit-tool/audit_internal.h"
#include "audit-tool/rerun.h"
#include "governance/founding.h"

/* ---- runs of entries and of items ---- */

struct gathering {
    struct buffer bytes;   /* keys and values, or payloads of entries */
    struct buffer records; /* of struct gathered */
};

struct gathered {
    uint32_t kind;
    size_t first_size;  /* of a payload, or of a key */
    size_t second_size; /* of a value */
};

static void gathering_init(struct gathering *gathering, size_t size_max) {
    buffer_init(&gathering->bytes, size_max);
    buffer_init(&gathering->records, size_max);
}

static void gathering_clear(struct gathering *gathering) {
    buffer_clear(&gathering->bytes);
    buffer_clear(&gathering->records);
}

static void gathering_free(struct gathering *gathering) {
    buffer_free(&gathering->bytes);
    buffer_free(&gathering->records);
}

static bool gather(struct gathering *gathering, enum entry_kind kind, struct span first,
                   struct span second) {
    struct gathered const record = {
        .kind = (uint32_t)kind, .first_size = first.size, .second_size = second.size};
    return buffer_append(&gathering->bytes, first) && buffer_append(&gathering->bytes, second) &&
           buffer_append(&gathering->records, span_of(&record, sizeof record));
}

static bool gather_all(struct gathering *gathering, const struct gathering *from) {
    return buffer_append(&gathering->bytes, buffer_span(&from->bytes)) &&
           buffer_append(&gathering->records, buffer_span(&from->records));
}

static uint32_t gathered_count(const struct gathering *gathering) {
    return (uint32_t)(gathering->records.size / sizeof(struct gathered));
}

static bool gather_item(void *context, struct span key, struct span value, bool deleted) {
    (void)deleted; /* deletions do not appear in the whole state */
    return gather(context, ENTRY_GENESIS, key, value);
}

static struct entry *entries_of(const struct gathering *gathering) {
    uint32_t const count = gathered_count(gathering);
    struct entry *const entries = calloc(count + 1u, sizeof *entries);
    size_t offset = 0;
    for (uint32_t i = 0; entries != NULL && i < count; i++) {
        struct gathered record;
        memcpy(&record, gathering->records.data + i * sizeof record, sizeof record);
        entries[i].kind = (enum entry_kind)record.kind;
        entries[i].payload = span_of(gathering->bytes.data + offset, record.first_size);
        offset += record.first_size;
    }
    return entries;
}

static struct state_item *state_of(const struct gathering *gathering) {
    uint32_t const count = gathered_count(gathering);
    struct state_item *const items = calloc(count + 1u, sizeof *items);
    size_t offset = 0;
    for (uint32_t i = 0; items != NULL && i < count; i++) {
        struct gathered record;
        memcpy(&record, gathering->records.data + i * sizeof record, sizeof record);
        items[i].key = span_of(gathering->bytes.data + offset, record.first_size);
        offset += record.first_size;
        items[i].value = span_of(gathering->bytes.data + offset, record.second_size);
        offset += record.second_size;
    }
    return items;
}

/* ---- a proof being made ---- */

struct making {
    struct audit *audit;
    const struct audit_ledger *ledger;
    enum rule rule;
    struct proof proof;
    bool is_governed; /* the fragment shows which constitution is the newest */
    struct rerun_form form;
    struct found_certificate certificate;
    struct buffer snapshot;
    struct gathering state;
    struct gathering entries;
    struct state_item *items;
    struct entry *list;
    struct state_choice choice;
    struct arena arena;
};

static void making_init(struct making *making, struct audit *audit,
                        const struct audit_ledger *ledger, enum rule rule) {
    *making = (struct making){.audit = audit, .ledger = ledger, .rule = rule};
    making->proof.genesis = audit->options.genesis;
    found_certificate_init(&making->certificate);
    buffer_init(&making->snapshot, SNAPSHOT_SIZE_MAX);
    gathering_init(&making->state, PROOF_STATE_SIZE_MAX);
    gathering_init(&making->entries, PROOF_SIZE_MAX);
    state_choice_init(&making->choice);
    arena_init(&making->arena, 4 * (size_t)SNAPSHOT_SIZE_MAX);
}

static void making_free(struct making *making) {
    found_certificate_free(&making->certificate);
    buffer_free(&making->snapshot);
    gathering_free(&making->state);
    gathering_free(&making->entries);
    free(making->items);
    free(making->list);
    state_choice_free(&making->choice);
    arena_free(&making->arena);
}

/* The kind of proof for a rule that a batch, or a new view, breaks. */
static enum proof_kind kind_of(const struct audit_ledger *ledger, enum rule rule) {
    if (ledger_is_at_view(ledger)) {
        return PROOF_BROKEN_NEW_VIEW;
    }
    if (rule == RULE_OUTCOME) {
        return PROOF_WRONG_OUTCOME;
    }
    return rule == RULE_CHECKPOINT_DIGEST ? PROOF_WRONG_CHECKPOINT : PROOF_BROKEN_BATCH;
}

/* ---- the piece of the ledger ---- */

/* What a snapshot needs for this form, and nothing that the checkpoint's digest does not bind. */
static bool snapshot_trim(struct making *making, struct span whole) {
    struct checker_snapshot snapshot;
    if (checker_snapshot_decode(&snapshot, &making->arena, whole) != CODEC_OK) {
        return false;
    }
    snapshot.past_entry = 0;
    snapshot.anchor_count = 0;
    if (!making->form.has_window) {
        snapshot.window_count = 0;
        snapshot.window_entry = 0;
    }
    return checker_snapshot_encode(&making->snapshot, &snapshot);
}

/* The entries from `first` up to what the ledger's reader stands on. */
static bool gather_entries(struct making *making, uint64_t first) {
    const struct audit_ledger *const ledger = making->ledger;
    uint64_t const whole_from = ledger->reader.batch.first_entry;
    struct segment_reader reader;
    struct problem ignored = {.code = EXIT_OK}; /* they have all been read before */
    segment_reader_init(&reader, ledger->disk, &making->audit->options.configuration->service,
                        true);
    bool going = segment_reader_seek(&reader, first, &ignored) == 1;
    for (uint64_t index = first; going && index < ledger->reader.next_entry; index++) {
        struct segment_record record;
        going = segment_reader_next(&reader, &record, &ignored) == 1;
        if (going && making->form.skims && index < whole_from && record.kind == ENTRY_REQUEST) {
            continue;
        }
        going = going && gather(&making->entries, record.kind, record.payload, (struct span){0});
    }
    segment_reader_free(&reader);
    return going;
}

/*
 * Where a fragment must begin so that it is bound: at the checkpoint that the batch before the
 * blamed one carries, or at genesis.
 */
static bool gather_fragment(struct making *making) {
    const struct replayer *const replayer = &making->audit->replayer;
    uint64_t const checkpoint = replayer_position(replayer)->checkpoint_seq;
    uint64_t first = 0;
    arena_reset(&making->arena);
    buffer_clear(&making->snapshot);
    gathering_clear(&making->state);
    gathering_clear(&making->entries);
    if (checkpoint != 0) {
        const struct replayer_cut *const cut = replayer_cut_at(replayer, checkpoint);
        if (cut == NULL) {
            return false; /* the audit began after it */
        }
        const struct checkpoint_header *const header = &cut->cut.header;
        first = header->entries;
        making->is_governed = header->config > FOUNDING_CONFIGURATION || header->closing_seq != 0;
        if (!snapshot_trim(making, buffer_span(&cut->snapshot)) ||
            ((making->form.executes || making->is_governed) &&
             !engine_visit_state(replayer->engine, checkpoint, gather_item, &making->state))) {
            return false;
        }
    }
    return gather_entries(making, first);
}

static bool put_whole(struct making *making) {
    free(making->items);
    free(making->list);
    making->items = state_of(&making->state);
    making->list = entries_of(&making->entries);
    making->proof.has_fragment = true;
    making->proof.fragment = (struct fragment){
        .snapshot = buffer_span(&making->snapshot),
        .state = making->items,
        .state_count = gathered_count(&making->state),
        .entries = making->list,
        .entry_count = gathered_count(&making->entries),
    };
    return making->items != NULL && making->list != NULL;
}

/*
 * Run the fragment again as its verifier will. Returns: does it come to this rule? Then the items
 * of the state that were asked for have taken the place of the whole state, if `choose`.
 */
static bool try_fragment(struct making *making, const struct rerun_form *form, bool choose) {
    struct rerun *const rerun = malloc(sizeof *rerun);
    enum rule rule = RULE_NONE;
    if (rerun == NULL) {
        return false;
    }
    bool found = rerun_init(rerun, &making->arena, &making->audit->eras, form, &making->proof) ==
                     PROOF_VALID &&
                 rerun_to_broken(rerun, &rule, &making->proof.fragment) == PROOF_VALID &&
                 rule == making->rule;
    if (found && choose) {
        found = state_choose(&making->choice, &making->proof.fragment, &rerun->part);
    }
    rerun_free(rerun);
    free(rerun);
    return found;
}

/* Put it in, with those items of the state that its form asks for. */
static bool put_fragment(struct making *making) {
    struct rerun_form form = making->form;
    if (!put_whole(making)) {
        return false;
    }
    bool const chooses = (form.executes || making->is_governed) && !form.digests;
    form.whole_state = true;
    return !chooses || making->proof.fragment.snapshot.size == 0 ||
           try_fragment(making, &form, true);
}

/* ---- by kind ---- */

static bool make_outcome(struct making *making) {
    making->form = (struct rerun_form){.executes = true};
    return gather_fragment(making) && put_fragment(making);
}

static bool make_checkpoint(struct making *making) {
    const struct replayer *const replayer = &making->audit->replayer;
    const struct configuration *const configuration = &replayer->era->configuration;
    uint64_t const seq = making->ledger->reader.batch.pre_prepare.seq;
    /* In the founding configuration the verifier tells by the number alone (rerun.c). */
    bool const digests =
        configuration->number == FOUNDING_CONFIGURATION
            ? seq % configuration->parameters.checkpoint_interval == 0
            : replayer_position(replayer)->checkpoint_seq !=
                  checker_checkpoint_for(replayer->checker, replayer_position(replayer)->seq + 1);
    making->form = (struct rerun_form){.executes = digests,
                                       .digests = digests,
                                       .whole_state = digests,
                                       .has_window = digests,
                                       .skims = !digests};
    return gather_fragment(making) && put_fragment(making);
}

/* The first of the two executions lies in the window, or in a batch behind the checkpoint. */
static bool make_duplicate(struct making *making) {
    making->form = (struct rerun_form){.has_window = true, .skims = true};
    if (replayer_position(&making->audit->replayer)->checkpoint_seq != 0) {
        if (!gather_fragment(making) || !put_whole(making)) {
            return false;
        }
        struct rerun_form form = making->form;
        form.whole_state = making->is_governed;
        if (try_fragment(making, &form, making->is_governed)) {
            return true;
        }
    }
    making->form = (struct rerun_form){.skims = false};
    return gather_fragment(making) && put_fragment(making);
}

/*
 * Mostly the kinds of batches show by themselves what is wrong with one; else what the members have
 * voted for before it.
 */
static bool make_kind(struct making *making) {
    making->form = (struct rerun_form){.skims = true};
    if (!gather_fragment(making) || !put_whole(making)) {
        return false;
    }
    struct rerun_form form = making->form;
    form.whole_state = making->is_governed;
    if (try_fragment(making, &form, making->is_governed)) {
        return true;
    }
    making->form = (struct rerun_form){.executes = true};
    return gather_fragment(making) && put_fragment(making);
}

static bool make_skimmed(struct making *making) {
    making->form = (struct rerun_form){.skims = true};
    return gather_fragment(making) && put_fragment(making);
}

/*
 * Who prepared in a view that must not have been: the certificate of one of its batches, and the
 * leaves of M up to that batch, which tie it to the new view.
 */
static bool gather_prepared(struct making *making) {
    struct audit *const audit = making->audit;
    struct problem ignored = {.code = EXIT_OK};
    struct gathering leaves;
    bool found = false;
    struct audit_ledger *const at =
        ledger_open_at(audit, making->ledger, making->ledger->reader.next_entry);
    uint32_t const batches_max = 2 * audit->replayer.era->configuration.parameters.pipeline;
    bool going = at != NULL;
    gathering_init(&leaves, PROOF_SIZE_MAX);
    for (uint32_t i = 0; going && i < batches_max && !ledger_is_at_view(at); i++) {
        const struct batch *const batch = &at->reader.batch;
        for (uint32_t k = 0; going && k + batch->request_count < batch_entry_count(batch); k++) {
            struct entry const entry = batch_entry_at(batch, k);
            going = gather(&leaves, entry.kind, entry.payload, (struct span){0});
        }
        found = going && certificate_find(audit, &making->certificate, at);
        going = going && !found && batch_reader_next(&at->reader, &ignored) == 1;
    }
    ledger_close(at);
    found = found && gather_all(&making->entries, &leaves);
    gathering_free(&leaves);
    return found;
}

static bool make_view(struct making *making) {
    making->form = (struct rerun_form){.skims = true};
    if (!gather_fragment(making)) {
        return false;
    }
    making->proof.certificate_count = gather_prepared(making) ? 1 : 0;
    return put_fragment(making);
}

static bool make(struct making *making) {
    struct proof *const proof = &making->proof;
    proof->kind = kind_of(making->ledger, making->rule);
    if (proof->kind == PROOF_BROKEN_BATCH || proof->kind == PROOF_BROKEN_NEW_VIEW) {
        proof->rule = span_text(rule_name(making->rule));
    }
    bool made = false;
    if (proof->kind == PROOF_BROKEN_NEW_VIEW) {
        made = make_view(making);
    } else {
        made = proof->kind == PROOF_WRONG_OUTCOME       ? make_outcome(making)
               : proof->kind == PROOF_WRONG_CHECKPOINT  ? make_checkpoint(making)
               : making->rule == RULE_REQUEST_DUPLICATE ? make_duplicate(making)
               : making->rule == RULE_BATCH_KIND        ? make_kind(making)
                                                        : make_skimmed(making);
        proof->certificate_count =
            certificate_find(making->audit, &making->certificate, making->ledger) ? 1 : 0;
    }
    proof->certificates[0] = buffer_span(&making->certificate.bytes);
    return made;
}

/* Say that what was found cannot be shown. */
static void note_unproven(struct audit *audit, const struct audit_ledger *ledger, enum rule rule) {
    uint64_t const number = ledger_is_at_view(ledger) ? ledger->reader.batch.view.new_view.view
                                                      : ledger->reader.batch.pre_prepare.seq;
    audit_notice(audit, EXIT_CANNOT_AUDIT,
                 "%s: %s %llu: %s, but the proof cannot be put together: it is larger than a file "
                 "of evidence may be, or begins before this audit did, or the ledger can no longer "
                 "be read",
                 ledger->name, ledger_is_at_view(ledger) ? "new view" : "batch",
                 (unsigned long long)number, rule_text(rule));
}

void blame_batch(struct audit *audit, const struct audit_ledger *ledger, enum rule rule) {
    struct making *const making = malloc(sizeof *making);
    if (making == NULL) {
        audit_notice(audit, EXIT_CANNOT_AUDIT, "out of memory for a proof of misbehaviour");
        return;
    }
    making_init(making, audit, ledger, rule);
    if (make(making)) {
        blame_with(audit, audit->replayer.era->configuration.number, &making->proof);
    } else {
        note_unproven(audit, ledger, rule);
    }
    making_free(making);
    free(making);
}
