/*
 * account_signed: what the blamed signed, side by side with what contradicts it.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "audit-tool/account_internal.h"
#include "audit-tool/rerun.h"

/* ---- pre-prepares ---- */

static json_t *text_of_config(const struct pre_prepare *in) {
    return telling_number(in->config);
}
static json_t *text_of_view(const struct pre_prepare *in) {
    return telling_number(in->view);
}
static json_t *text_of_seq(const struct pre_prepare *in) {
    return telling_number(in->seq);
}
static json_t *text_of_view_start(const struct pre_prepare *in) {
    return telling_number(in->view_start);
}
static json_t *text_of_time(const struct pre_prepare *in) {
    return telling_time(in->time_ms);
}
static json_t *text_of_first_index(const struct pre_prepare *in) {
    return telling_number(in->first_index);
}
static json_t *text_of_tx_count(const struct pre_prepare *in) {
    return telling_number(in->tx_count);
}
static json_t *text_of_batch_root(const struct pre_prepare *in) {
    return telling_digest(&in->batch_root);
}
static json_t *text_of_leaves(const struct pre_prepare *in) {
    return telling_number(in->ledger_leaves);
}
static json_t *text_of_root(const struct pre_prepare *in) {
    return telling_digest(&in->ledger_root);
}
static json_t *text_of_evidence(const struct pre_prepare *in) {
    return telling_number(in->evidence_upto);
}
static json_t *text_of_gov_index(const struct pre_prepare *in) {
    return telling_number(in->gov_index);
}
static json_t *text_of_checkpoint(const struct pre_prepare *in) {
    return telling_number(in->checkpoint_seq);
}
static json_t *text_of_checkpoint_digest(const struct pre_prepare *in) {
    return telling_digest(&in->checkpoint_digest);
}
static json_t *text_of_nonce_hash(const struct pre_prepare *in) {
    return telling_digest(&in->nonce_hash);
}

static const struct pre_prepare_field {
    const char *name;
    json_t *(*text)(const struct pre_prepare *in);
    bool follows; /* what it must be follows from the ledger before */
} pre_prepare_fields[] = {
    {"configuration", text_of_config, true},
    {"view", text_of_view, true},
    {"number of the batch", text_of_seq, true},
    {"last batch that the view took over", text_of_view_start, true},
    {"time", text_of_time, false},
    {"first transaction", text_of_first_index, true},
    {"transactions", text_of_tx_count, false},
    {"digest of its transactions and outcomes", text_of_batch_root, false},
    {"entries in the ledger before", text_of_leaves, false},
    {"digest of the ledger before", text_of_root, false},
    {"evidence for batches up to", text_of_evidence, false},
    {"last governance transaction", text_of_gov_index, true},
    {"checkpoint after batch", text_of_checkpoint, true},
    {"digest of that checkpoint", text_of_checkpoint_digest, true},
    {"commitment to a secret number", text_of_nonce_hash, false},
};

#define PRE_PREPARE_FIELDS (sizeof pre_prepare_fields / sizeof pre_prepare_fields[0])

static void tell_pre_prepares(struct telling *telling, json_t *rows, const struct pre_prepare *a,
                              const struct pre_prepare *b) {
    for (size_t i = 0; i < PRE_PREPARE_FIELDS; i++) {
        telling_row(telling, rows, pre_prepare_fields[i].name, pre_prepare_fields[i].text(a),
                    b == NULL ? NULL : pre_prepare_fields[i].text(b));
    }
}

static json_t *signature_text(const struct signature *signature) {
    return telling_bytes(span_of(signature->bytes, SIGNATURE_SIZE));
}

/* ---- two statements of one replica ---- */

static void tell_prepares(struct telling *telling) {
    const struct signed_body *const statements = telling->proof.statements;
    struct prepare a;
    struct prepare b;
    if (prepare_decode(&a, &telling->arena, statements[0].body) != CODEC_OK ||
        prepare_decode(&b, &telling->arena, statements[1].body) != CODEC_OK) {
        return;
    }
    json_t *const rows =
        telling_table(telling,
                      "Two prepares: \u201cI have checked this proposal, and support "
                      "it\u201d",
                      "one statement", "the other");
    telling_row(telling, rows, "view", telling_number(a.view), telling_number(b.view));
    telling_row(telling, rows, "number of the batch", telling_number(a.seq), telling_number(b.seq));
    telling_row(telling, rows, "digest of the proposal", telling_digest(&a.pre_prepare_digest),
                telling_digest(&b.pre_prepare_digest));
    telling_row(telling, rows, "commitment to a secret number", telling_digest(&a.nonce_hash),
                telling_digest(&b.nonce_hash));
    telling_row(telling, rows, "signature", signature_text(&statements[0].signature),
                signature_text(&statements[1].signature));
}

static void tell_equivocation(struct telling *telling) {
    const struct signed_body *const statements = telling->proof.statements;
    struct pre_prepare a;
    struct pre_prepare b;
    if (telling->verdict->is_prepare) {
        tell_prepares(telling);
        return;
    }
    if (pre_prepare_decode(&a, &telling->arena, statements[0].body) != CODEC_OK ||
        pre_prepare_decode(&b, &telling->arena, statements[1].body) != CODEC_OK) {
        return;
    }
    json_t *const rows = telling_table(telling, "Two proposals for one place in the ledger",
                                       "one statement", "the other");
    tell_pre_prepares(telling, rows, &a, &b);
    telling_row(telling, rows, "signature", signature_text(&statements[0].signature),
                signature_text(&statements[1].signature));
}

/* ---- certificates ---- */

struct shown_certificate {
    struct certificate certificate;
    struct pre_prepare body;
};

static bool certificate_open(struct telling *telling, struct shown_certificate *out, uint32_t nth) {
    return nth < telling->proof.certificate_count &&
           certificate_decode(&out->certificate, &telling->arena,
                              telling->proof.certificates[nth]) == CODEC_OK &&
           pre_prepare_decode(&out->body, &telling->arena, out->certificate.pre_prepare) ==
               CODEC_OK;
}

static json_t *signers_text(const struct telling *telling, uint64_t signers) {
    return telling_replicas(&telling->verdict->configuration, signers);
}

static void tell_two_certificates(struct telling *telling, const char *title) {
    struct shown_certificate *const shown = calloc(2, sizeof *shown);
    if (shown == NULL) {
        telling->failed = true;
        return;
    }
    if (certificate_open(telling, &shown[0], 0) && certificate_open(telling, &shown[1], 1)) {
        json_t *const rows = telling_table(telling, title, "one certificate", "the other");
        tell_pre_prepares(telling, rows, &shown[0].body, &shown[1].body);
        telling_row(telling, rows, "signed and committed by",
                    signers_text(telling, shown[0].certificate.signers),
                    signers_text(telling, shown[1].certificate.signers));
    }
    free(shown);
}

static void tell_certificate(struct telling *telling, const char *title) {
    struct shown_certificate *const shown = calloc(1, sizeof *shown);
    if (shown == NULL) {
        telling->failed = true;
        return;
    }
    if (certificate_open(telling, shown, 0)) {
        json_t *const rows = telling_table(telling, title, "certificate", NULL);
        tell_pre_prepares(telling, rows, &shown->body, NULL);
        telling_row(telling, rows, "signed and committed by",
                    signers_text(telling, shown->certificate.signers), NULL);
    }
    free(shown);
}

/* The certificate that comes with a piece of the ledger: for whom it speaks. */
static void tell_signers(struct telling *telling) {
    struct shown_certificate *const shown = calloc(1, sizeof *shown);
    if (shown == NULL) {
        telling->failed = true;
        return;
    }
    if (certificate_open(telling, shown, 0)) {
        json_t *const rows =
            telling_table(telling, "Who signed: the certificate", "certificate", NULL);
        telling_row(telling, rows, "for", telling_batch(shown->body.view, shown->body.seq), NULL);
        telling_row(telling, rows, "digest of its transactions and outcomes",
                    telling_digest(&shown->body.batch_root), NULL);
        telling_row(telling, rows, "digest of the ledger before",
                    telling_digest(&shown->body.ledger_root), NULL);
        telling_row(telling, rows, "signed and committed by",
                    signers_text(telling, shown->certificate.signers), NULL);
    }
    free(shown);
}

/* ---- changes of view ---- */

/* What a view-change shows as the last that its author has prepared. */
static bool shown_last(struct telling *telling, const struct view_change *in,
                       struct pre_prepare *body) {
    return in->chain_count != 0 &&
           pre_prepare_decode(body, &telling->arena,
                              in->chain[in->chain_count - 1].pre_prepare.body) == CODEC_OK;
}

static void tell_view_change(struct telling *telling, const struct signed_body *statement) {
    const struct configuration *const configuration = &telling->verdict->configuration;
    struct view_change view_change;
    struct pre_prepare body = {.seq = 0};
    if (view_change_decode(&view_change, &telling->arena, statement->body) != CODEC_OK) {
        return;
    }
    bool const has_last = shown_last(telling, &view_change, &body);
    json_t *const rows = telling_table(telling,
                                       "A view-change: \u201cI ask for another view, and "
                                       "this is the most that I hold\u201d",
                                       "statement", NULL);
    telling_row(telling, rows, "signed by",
                view_change.replica < configuration->replica_count
                    ? signers_text(telling, (uint64_t)1 << view_change.replica)
                    : json_string("nobody of the service"),
                NULL);
    telling_row(telling, rows, "asks for view", telling_number(view_change.view), NULL);
    telling_row(telling, rows, "the most that it states", telling_batch(body.view, body.seq), NULL);
    if (has_last) {
        telling_row(telling, rows, "digest of its transactions and outcomes",
                    telling_digest(&body.batch_root), NULL);
    }
    telling_row(telling, rows, "signature", signature_text(&statement->signature), NULL);
}

static void tell_understated(struct telling *telling) {
    tell_certificate(telling, "What the blamed had committed: a secret number revealed for it");
    for (uint32_t i = 0; i < telling->proof.statement_count; i++) {
        tell_view_change(telling, &telling->proof.statements[i]);
    }
}

static void tell_forked(struct telling *telling) {
    if (telling->proof.certificate_count == 2) {
        tell_two_certificates(telling, "Two batches of one view, of two ledgers");
    } else {
        tell_certificate(telling, "A batch of one ledger, committed");
        tell_view_change(telling, &telling->proof.statements[0]);
    }
    if (telling->proof.path_count != 0) {
        json_t *const rows =
            telling_table(telling, "Where the second ledger differs", "in the second ledger", NULL);
        telling_row(telling, rows, "in the place of the first batch it holds the entry",
                    telling_digest(&telling->proof.path[0]), NULL);
    }
}

/* ---- a piece of the ledger ---- */

/* Bytes behind what is in the text already, as people read them. */
static size_t append_quote(char *text, size_t used, const char *before, struct span bytes) {
    json_t *const quote = telling_quote(bytes);
    int const added = snprintf(text + used, ACCOUNT_VALUE_SIZE_MAX - used, "%s%s", before,
                               quote == NULL ? "" : json_string_value(quote));
    json_decref(quote);
    return added < 0 || (size_t)added >= ACCOUNT_VALUE_SIZE_MAX - used ? used
                                                                       : used + (size_t)added;
}

static json_t *call_text(const struct call *call) {
    char text[ACCOUNT_VALUE_SIZE_MAX];
    text[0] = '\0';
    size_t used = append_quote(text, 0, "", call->procedure);
    for (uint32_t i = 0; i < call->argument_count; i++) {
        used = append_quote(text, used, " ", call->arguments[i]);
    }
    text[used] = '\0';
    return json_string(text);
}

static json_t *outcome_text(struct telling *telling, struct span bytes) {
    static const char *const statuses[] = {"", "OK", "REFUSED", "INVALID", "ABORTED"};
    struct outcome outcome;
    char text[ACCOUNT_VALUE_SIZE_MAX];
    char digest[2 * DIGEST_SIZE + 1];
    if (outcome_decode(&outcome, &telling->arena, bytes) != CODEC_OK) {
        return json_string("not an outcome");
    }
    text[0] = '\0';
    size_t used = 0;
    for (uint32_t i = 0; i < outcome.reply_count; i++) {
        used = append_quote(text, used, " ", outcome.reply[i]);
    }
    text[used] = '\0';
    hex_encode(digest, span_of(outcome.write_digest.bytes, DIGEST_SIZE));
    return json_sprintf("%s%s; digest of what it wrote: %s", statuses[outcome.status], text,
                        digest);
}

/* The transaction whose outcome is wrong: what was stated, and what execution gives. */
static void tell_outcome(struct telling *telling, const struct request *request, uint32_t nth,
                         struct span stated, struct span computed) {
    json_t *const rows = telling_table(telling, "The transaction whose outcome is wrong",
                                       "as it was signed", "as execution gives it");
    char id[2 * DIGEST_SIZE + 1];
    hex_encode(id, span_of(request->id.bytes, DIGEST_SIZE));
    telling_row(telling, rows, "index", telling_number(telling->verdict->wrong_index),
                telling_number(telling->verdict->wrong_index));
    telling_row(telling, rows, "request", json_string(id), json_string(id));
    telling_row(telling, rows, "call", call_text(&request->calls[nth]),
                call_text(&request->calls[nth]));
    telling_row(telling, rows, "outcome", outcome_text(telling, stated),
                outcome_text(telling, computed));
}

/* Execute the batch that is wrong up to the transaction, once more. */
static void tell_wrong_outcome(struct telling *telling, struct rerun *rerun) {
    const struct digest *const service = &telling->verdict->service;
    uint64_t const wrong = telling->verdict->wrong_index;
    engine_batch_begin(rerun->engine);
    for (uint32_t i = 0; i < rerun->batch.request_count; i++) {
        struct request_entry entry;
        struct request request;
        if (request_entry_decode(&entry, &telling->arena,
                                 batch_request_payload(&rerun->batch, i)) != CODEC_OK ||
            request_decode(&request, &telling->arena, service, entry.request) != CODEC_OK) {
            return;
        }
        engine_execute(rerun->engine, &rerun->replay.execution, service, &request);
        if (engine_failed(rerun->engine)) {
            return;
        }
        if (wrong >= entry.first_index && wrong - entry.first_index < request.call_count &&
            wrong - entry.first_index < entry.outcome_count) {
            uint32_t const nth = (uint32_t)(wrong - entry.first_index);
            tell_outcome(telling, &request, nth, entry.outcomes[nth],
                         rerun->replay.execution.outcomes[nth]);
            return;
        }
    }
}

/* The broken batch, beside what the ledger before it demands. */
static void tell_broken_batch(struct telling *telling, struct rerun *rerun) {
    const struct batch *const batch = &rerun->batch;
    const struct batch_seal *const seal = &batch->seal;
    struct pre_prepare due = batch->pre_prepare;
    if (telling->verdict->kind == PROOF_WRONG_OUTCOME) {
        tell_wrong_outcome(telling, rerun);
    }
    checker_batch_begin(rerun->checker);
    checker_batch_fill(rerun->checker, &due, seal->evidence_payload);
    checker_batch_abandon(rerun->checker);
    json_t *const rows = telling_table(telling, "The batch that was signed", "as it was signed",
                                       "as the ledger before it demands");
    for (size_t i = 0; i < PRE_PREPARE_FIELDS; i++) {
        const struct pre_prepare_field *const field = &pre_prepare_fields[i];
        telling_row(telling, rows, field->name, field->text(&batch->pre_prepare),
                    field->follows ? field->text(&due) : json_string(TELLING_FREE));
    }
    if (batch->pre_prepare.time_ms < rerun_position(rerun)->time_ms) {
        telling_row(telling, rows, "time, not before", telling_time(batch->pre_prepare.time_ms),
                    telling_time(rerun_position(rerun)->time_ms));
    }
    telling_row(telling, rows, "signature", signature_text(&seal->statement.signature),
                json_string(TELLING_FREE));
}

static void tell_new_view(struct telling *telling, const struct rerun *rerun) {
    const struct view_unit *const unit = &rerun->batch.view;
    const struct new_view *const body = &unit->new_view;
    uint32_t const primary = configuration_primary(&telling->verdict->configuration, body->view);
    json_t *const rows =
        telling_table(telling, "A new view: \u201cthis view begins here, and takes over this\u201d",
                      "statement", NULL);
    telling_row(telling, rows, "signed by", signers_text(telling, (uint64_t)1 << primary), NULL);
    telling_row(telling, rows, "view", telling_number(body->view), NULL);
    telling_row(telling, rows, "made from view-changes", telling_number(unit->set.count), NULL);
    telling_row(telling, rows, "takes over what leads to",
                telling_batch(body->chosen_view, body->chosen_seq), NULL);
    telling_row(telling, rows, "the ledger before it ends with",
                telling_batch(rerun_position(rerun)->view, rerun_position(rerun)->seq), NULL);
    telling_row(telling, rows, "entries in the ledger before", telling_number(body->ledger_leaves),
                NULL);
    telling_row(telling, rows, "digest of the ledger before", telling_digest(&body->ledger_root),
                NULL);
    telling_row(telling, rows, "signature", signature_text(&unit->statement.signature), NULL);
    for (uint32_t i = 0; i < unit->set.count; i++) {
        tell_view_change(telling, &unit->set.view_changes[i]);
    }
}

static void tell_rerun(struct telling *telling, struct rerun *rerun) {
    enum rule rule = RULE_NONE;
    if (rerun_to_broken(rerun, &rule, &telling->proof.fragment) != PROOF_VALID) {
        return;
    }
    if (rerun->step == BATCH_VIEW) {
        tell_new_view(telling, rerun);
    } else {
        tell_broken_batch(telling, rerun);
    }
}

static void tell_fragment(struct telling *telling) {
    struct rerun_form form;
    struct rerun *const rerun = malloc(sizeof *rerun);
    if (rerun == NULL || !rerun_form_of(&form, &telling->arena, &telling->eras, &telling->proof)) {
        free(rerun);
        telling->failed = true;
        return;
    }
    if (rerun_init(rerun, &telling->arena, &telling->eras, &form, &telling->proof) == PROOF_VALID) {
        tell_rerun(telling, rerun);
    }
    rerun_free(rerun);
    free(rerun);
    if (telling->proof.certificate_count != 0) {
        tell_signers(telling);
    }
}

void telling_signed(struct telling *telling) {
    switch (telling->verdict->kind) {
    case PROOF_EQUIVOCATION:
        tell_equivocation(telling);
        return;
    case PROOF_CONFLICTING_CERTIFICATES:
        tell_two_certificates(telling, "Two batches, each signed and committed by a quorum");
        return;
    case PROOF_BROKEN_BATCH:
    case PROOF_WRONG_OUTCOME:
    case PROOF_WRONG_CHECKPOINT:
    case PROOF_BROKEN_NEW_VIEW:
        tell_fragment(telling);
        return;
    case PROOF_UNDERSTATED_VIEW_CHANGE:
        tell_understated(telling);
        return;
    case PROOF_MALFORMED_RANGE:
        telling_served(telling);
        return;
    case PROOF_FORKED_VIEW:
        tell_forked(telling);
        return;
    }
}
