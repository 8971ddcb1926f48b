/*
 * start: an audit that begins at a checkpoint instead of genesis (protocol §10). Its state is taken
 * from a file and believed only as far as it hashes to a digest that a quorum signed: batches carry
 * the digest of the last checkpoint but one, so a certified batch a little further on shows it.
 */
#include "audit-tool/audit_internal.h"
#include "audit-tool/saved_state.h"
#include "base/check.h"

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
