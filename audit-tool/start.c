/*
 * start: an audit that begins at a checkpoint instead of genesis (protocol §10). Its state is taken
 * from a file and believed only as far as it hashes to a digest that a quorum signed: batches carry
 * the digest of the last checkpoint but one, so a certified batch a little further on shows it.
 */
#include "audit-tool/audit_internal.h"
#include "audit-tool/saved_state.h"
#include "base/check.h"
#include "governance/founding.h"

int audit_begin_at(struct audit *audit, FILE *in, uint64_t seq, const char *name,
                   struct problem *problem) {
    CHECK(audit->start.seq == 0 && audit->seq == 0);
    if (saved_state_read(in, &audit->replayer, seq, name, problem) != 0) {
        return -1;
    }
    const struct ledger_position *const at = replayer_position(&audit->replayer);
    audit->start = (struct audit_start){
        .seq = at->seq,
        .config = audit->replayer.era->configuration.number,
        .view = at->view,
        .entries = at->entries,
        .frontier = at->frontier,
        .digest = replayer_cut_at(&audit->replayer, seq)->digest,
        .next_index = at->next_index,
    };
    return 0;
}

bool audit_save_state(const struct audit *audit, FILE *out, uint64_t seq) {
    return saved_state_write(out, &audit->replayer,
                             &(struct saved_state){
                                 .service = &audit->options.configuration->service,
                                 .genesis = audit->options.genesis,
                                 .seq = seq,
                             });
}

/* ---- which checkpoints there are ---- */

/*
 * The last batch before a configuration, whose state is a checkpoint. Returns: false when nothing
 * at hand says so.
 */
static bool boundary_of(const struct era *era, uint64_t *boundary) {
    struct pre_prepare vote;
    struct arena arena;
    if (era->configuration.number == FOUNDING_CONFIGURATION) {
        *boundary = 0;
        return true;
    }
    if (era->start.entry != 0) {
        *boundary = era->start.seq - 1;
        return true;
    }
    arena_init(&arena, LINK_ARENA_SIZE);
    bool const found = era_vote_batch(era, &arena, &vote);
    arena_free(&arena);
    *boundary = found ? vote.seq + CLOSING_BATCHES : 0;
    return found;
}

/* A configuration in the ledger. */
struct stretch {
    uint64_t boundary; /* the last batch before it */
    uint64_t end;      /* its own last one; UINT64_MAX: not known to have ended */
    uint64_t interval;
    uint64_t first; /* checkpoint behind the boundary's */
};

/*
 * Of two checkpoints before an end the later one is carried by no batch any more, since the next
 * configuration carries the end's; nor is a boundary's, where the first one behind it never came.
 */
static bool is_boundary_carried(const struct stretch *in) {
    return in->boundary != 0 && in->first <= in->end;
}

/* So many behind the boundary are carried, up to that batch. */
static uint64_t count_regular(const struct stretch *in, uint64_t upto) {
    uint64_t const last = in->end < in->interval ? 0 : in->end - in->interval;
    uint64_t const limit = upto < last ? upto : last;
    return limit < in->first ? 0 : (limit - in->first) / in->interval + 1;
}

static uint64_t count_in(const struct stretch *in, uint64_t upto) {
    return (is_boundary_carried(in) && in->boundary <= upto ? 1 : 0) + count_regular(in, upto);
}

/* The last one up to that batch; 0: none. */
static uint64_t last_in(const struct stretch *in, uint64_t upto) {
    uint64_t const regular = count_regular(in, upto);
    if (regular != 0) {
        return in->first + (regular - 1) * in->interval;
    }
    return count_in(in, upto) != 0 ? in->boundary : 0;
}

/* Of this era; next: the one behind it, or NULL. Returns: false when it is not known where. */
static bool stretch_of(struct stretch *out, const struct era *era, const struct era *next) {
    uint64_t const interval = era->configuration.parameters.checkpoint_interval;
    out->interval = interval;
    if (!boundary_of(era, &out->boundary)) {
        return false;
    }
    out->first = (out->boundary + 2 * interval - 1) / interval * interval;
    if (next == NULL || !boundary_of(next, &out->end)) {
        out->end = UINT64_MAX;
    }
    return true;
}

struct audit_checkpoint audit_checkpoint_at(const struct audit *audit, uint64_t seq) {
    struct audit_checkpoint at = {.is_one = false};
    struct stretch now;
    const struct era *era = eras_find(&audit->eras, FOUNDING_CONFIGURATION);
    CHECK(seq != 0);
    while (era != NULL) {
        const struct era *const next = eras_find(&audit->eras, era->configuration.number + 1);
        if (!stretch_of(&now, era, next) || now.boundary > seq) {
            break;
        }
        uint64_t const before = last_in(&now, seq - 1);
        at.is_one |= last_in(&now, seq) == seq;
        at.before = before != 0 ? before : at.before;
        at.nth += count_in(&now, seq);
        at.config = era->configuration.number;
        at.interval = now.interval;
        era = next;
    }
    return at;
}

/* ---- is it signed? ---- */

/* The reader stands on a batch that carries our checkpoint. Returns: does a quorum vouch for it? */
static bool confirm_by(struct audit *audit, const struct audit_ledger *at, bool *differs) {
    struct found_certificate found;
    found_certificate_init(&found);
    bool good = certificate_find(audit, &found, at) &&
                found.batch.pre_prepare.checkpoint_seq == audit->start.seq;
    if (good && !digest_equal(&found.batch.pre_prepare.checkpoint_digest, &audit->start.digest)) {
        *differs = true;
        good = false;
    }
    if (good) {
        audit->start.signers = found.batch.signers;
        audit->start.signed_in = found.batch.pre_prepare.seq;
    }
    found_certificate_free(&found);
    return good;
}

/* Go ahead to a batch that carries our checkpoint. Returns: was it confirmed? */
static bool confirm_in(struct audit *audit, const struct audit_ledger *ledger, bool *differs) {
    struct problem ignored = {.code = EXIT_OK}; /* damage is told when the walk gets there */
    bool confirmed = false;
    bool going = true;
    struct audit_ledger *const at = ledger_open_at(audit, ledger, audit->start.entries);
    while (at != NULL && going && !confirmed) {
        uint64_t const carried =
            ledger_is_at_view(at) ? 0 : at->reader.batch.pre_prepare.checkpoint_seq;
        if (carried == audit->start.seq) {
            confirmed = confirm_by(audit, at, differs);
        }
        going = carried <= audit->start.seq && !*differs && !confirmed &&
                batch_reader_next(&at->reader, &ignored) == 1;
    }
    ledger_close(at);
    return confirmed;
}

int audit_confirm_start(struct audit *audit, struct problem *problem) {
    struct audit_coverage *const coverage = &audit->report.coverage;
    /* If there was an earlier run, it made the digest itself. */
    bool confirmed = audit->resumption != NULL || audit->is_own;
    bool differs = false;
    unsigned long long const seq = audit->start.seq;
    for (uint32_t i = 0; !confirmed && i < audit->ledger_count; i++) {
        if (audit->ledgers[i].state == LEDGER_FOLLOWED) {
            confirmed = confirm_in(audit, &audit->ledgers[i], &differs);
        }
    }
    if (confirmed) {
        const struct audit_start *const began = audit_began(audit);
        coverage->start_seq = began->seq;
        coverage->start_digest = began->digest;
        coverage->start_signers = began->signers;
        coverage->start_signed_in = began->signed_in;
        return 0;
    }
    return problem_set(problem, EXIT_CANNOT_AUDIT,
                       differs ? "checkpoint %llu: a quorum signed another state than the one that "
                                 "was saved; audit from genesis, or from an earlier checkpoint"
                               : "checkpoint %llu: no ledger given holds a batch behind it that "
                                 "carries it and that a quorum signed; give a longer ledger, or "
                                 "begin at an earlier checkpoint",
                       seq);
}
