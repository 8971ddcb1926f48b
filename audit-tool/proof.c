/*
 * proof: see proof.h. Every byte is hostile. Why each kind convicts is said where it is judged; a
 * correct replica is one that runs this project's checker and execution before it signs.
 */
#include "audit-tool/proof.h"

#include <stdlib.h>

#include "audit-tool/replayer.h"
#include "base/check.h"
#include "governance/founding.h"

/* Decoding takes the file's size again for spans, and pointers for each small part. */
#define PROOF_ARENA_SIZE (4 * (size_t)PROOF_SIZE_MAX)

const char *proof_check_text(enum proof_check check) {
    switch (check) {
    case PROOF_VALID:
        return "everything holds";
    case PROOF_ENCODING:
        return "it is not a file of evidence, or damaged";
    case PROOF_SERVICE:
        return "it is about another service";
    case PROOF_GENESIS:
        return "the genesis in it is not sound";
    case PROOF_PARTS:
        return "it lacks a part that its kind needs, or has one too many";
    case PROOF_STATEMENTS:
        return "the statements are not two of one kind about one batch";
    case PROOF_SIGNATURE:
        return "the signature of a statement does not hold";
    case PROOF_CERTIFICATE:
        return "a certificate does not hold";
    case PROOF_NO_CONFLICT:
        return "what it shows does not contradict itself";
    case PROOF_FRAGMENT:
        return "the piece of the ledger in it is not sound";
    case PROOF_CHECKPOINT:
        return "the state in it is not one that the blamed signed";
    case PROOF_NOTHING_BROKEN:
        return "the batch does not break the rule named";
    case PROOF_MEMORY:
        return "there is not enough memory to tell";
    case PROOF_CHECK_COUNT:
        break;
    }
    UNREACHABLE();
}

/* ---- two statements ---- */

/* What a statement is about. */
struct statement_facts {
    bool is_prepare;
    uint64_t config;
    uint64_t view;
    uint64_t seq;
    uint32_t replica;
    struct digest root;
};

static bool statement_read(struct statement_facts *out, struct arena *arena,
                           const struct configuration *configuration, struct span body) {
    struct pre_prepare pre_prepare;
    struct prepare prepare;
    if (pre_prepare_decode(&pre_prepare, arena, body) == CODEC_OK) {
        *out = (struct statement_facts){
            .config = pre_prepare.config,
            .view = pre_prepare.view,
            .seq = pre_prepare.seq,
            .replica = configuration_primary(configuration, pre_prepare.view),
            .root = pre_prepare.batch_root,
        };
        return true;
    }
    if (prepare_decode(&prepare, arena, body) == CODEC_OK) {
        *out = (struct statement_facts){
            .is_prepare = true,
            .config = prepare.config,
            .view = prepare.view,
            .seq = prepare.seq,
            .replica = prepare.replica,
            .root = prepare.pre_prepare_digest,
        };
        return prepare.replica < configuration->replica_count;
    }
    return false;
}

/* A correct replica signs at most one statement of a kind for one (config, view, seq). */
static enum proof_check judge_equivocation(struct proof_verdict *out, struct arena *arena,
                                           const struct proof *proof) {
    const struct configuration *const configuration = &out->configuration;
    struct statement_facts facts[2];
    if (proof->statement_count != 2 || proof->certificate_count != 0 || proof->has_fragment ||
        proof->rule.size != 0) {
        return PROOF_PARTS;
    }
    for (unsigned i = 0; i < 2; i++) {
        if (!statement_read(&facts[i], arena, configuration, proof->statements[i].body)) {
            return PROOF_STATEMENTS;
        }
    }
    if (facts[0].is_prepare != facts[1].is_prepare || facts[0].config != facts[1].config ||
        facts[0].config != configuration->number || facts[0].view != facts[1].view ||
        facts[0].seq != facts[1].seq || facts[0].replica != facts[1].replica) {
        return PROOF_STATEMENTS;
    }
    if (span_equal(proof->statements[0].body, proof->statements[1].body)) {
        return PROOF_NO_CONFLICT;
    }
    for (unsigned i = 0; i < 2; i++) {
        struct sign_check const check = {
            .key = configuration->replicas[facts[i].replica].key,
            .signature = proof->statements[i].signature,
            .body = proof->statements[i].body,
            .label = facts[i].is_prepare ? LABEL_PREPARE : LABEL_PRE_PREPARE,
        };
        if (!sign_verify_universal(&configuration->service, &check)) {
            return PROOF_SIGNATURE;
        }
        out->roots[i] = facts[i].root;
    }
    out->is_prepare = facts[0].is_prepare;
    out->config = facts[0].config;
    out->view = facts[0].view;
    out->seq = facts[0].seq;
    out->seq_other = facts[0].seq;
    out->blamed = (uint64_t)1 << facts[0].replica;
    return PROOF_VALID;
}

/* ---- two certificates ---- */

/* Within one view a correct replica signs the batches of one chain: b extends a. */
static bool extends(const struct configuration *configuration, const struct pre_prepare *a,
                    const struct pre_prepare *b) {
    uint64_t const between = b->seq - a->seq - 1;
    uint64_t const end = a->first_index + a->tx_count;
    uint64_t const gap_max =
        between > WINDOW_MAX ? UINT64_MAX : between * configuration->parameters.batch_calls_max;
    return b->first_index >= end && b->first_index - end <= gap_max &&
           b->ledger_leaves > a->ledger_leaves + between && b->time_ms >= a->time_ms &&
           b->evidence_upto >= a->evidence_upto && b->checkpoint_seq >= a->checkpoint_seq &&
           b->gov_index >= a->gov_index && b->view_start == a->view_start;
}

bool certificates_conflict(const struct configuration *configuration,
                           const struct verified_batch *a, const struct verified_batch *b) {
    const struct pre_prepare *const first = &a->pre_prepare;
    const struct pre_prepare *const second = &b->pre_prepare;
    if (first->config != second->config || first->view != second->view) {
        return false;
    }
    if (first->seq == second->seq) {
        return !digest_equal(&a->digest, &b->digest);
    }
    return first->seq < second->seq ? !extends(configuration, first, second)
                                    : !extends(configuration, second, first);
}

static enum proof_check judge_certificates(struct proof_verdict *out, struct arena *arena,
                                           const struct proof *proof) {
    struct verified_batch batches[2];
    if (proof->certificate_count != 2 || proof->statement_count != 0 || proof->has_fragment ||
        proof->rule.size != 0) {
        return PROOF_PARTS;
    }
    for (unsigned i = 0; i < 2; i++) {
        struct certificate certificate;
        out->certificate = RECEIPT_CERTIFICATE_ENCODING;
        if (certificate_decode(&certificate, arena, proof->certificates[i]) != CODEC_OK) {
            return PROOF_CERTIFICATE;
        }
        out->certificate =
            certificate_verify(&batches[i], arena, &out->configuration, &certificate);
        if (out->certificate != RECEIPT_VALID) {
            return PROOF_CERTIFICATE;
        }
        out->roots[i] = batches[i].pre_prepare.batch_root;
    }
    if (!certificates_conflict(&out->configuration, &batches[0], &batches[1])) {
        return PROOF_NO_CONFLICT;
    }
    out->config = batches[0].pre_prepare.config;
    out->view = batches[0].pre_prepare.view;
    out->seq_other = batches[0].pre_prepare.seq;
    out->seq = batches[1].pre_prepare.seq;
    out->blamed = batches[0].signers & batches[1].signers; /* two quorums: at least f + 1 */
    return PROOF_VALID;
}

/* ---- a batch that breaks a rule ---- */

/* A fragment at work. */
struct fragment_walk {
    struct replayer replayer;
    struct batch batch;
    uint32_t next;            /* entry of the fragment */
    uint64_t first_index;     /* in the ledger, of the fragment's first entry */
    struct digest checkpoint; /* d_C of the snapshot, which must have been signed */
    uint64_t checkpoint_seq;  /* 0: the fragment begins at genesis */
};

static bool walk_begin(struct fragment_walk *walk, struct arena *arena, const struct proof *proof) {
    const struct fragment *const fragment = &proof->fragment;
    if (fragment->snapshot.size == 0) {
        const struct entry *const genesis = &fragment->entries[0];
        walk->next = 1;
        replayer_start(&walk->replayer, proof->genesis);
        return fragment->state_count == 0 && genesis->kind == ENTRY_GENESIS &&
               span_equal(genesis->payload, proof->genesis);
    }
    struct checker_snapshot snapshot;
    if (checker_snapshot_decode(&snapshot, arena, fragment->snapshot) != CODEC_OK ||
        !replayer_load(&walk->replayer, arena, fragment->snapshot, fragment->state,
                       fragment->state_count)) {
        return false;
    }
    walk->checkpoint =
        hash_labelled(LABEL_CHECKPOINT, &walk->replayer.configuration->service, snapshot.header);
    walk->checkpoint_seq = replayer_position(&walk->replayer)->seq;
    walk->first_index = replayer_position(&walk->replayer)->entries;
    return true;
}

/* Put the next batch together. Returns: false when the entries are none. */
static bool walk_batch(struct fragment_walk *walk, const struct fragment *fragment) {
    batch_clear(&walk->batch);
    while (walk->next < fragment->entry_count) {
        enum rule rule = RULE_NONE;
        uint64_t const index = walk->first_index + walk->next;
        switch (batch_add(&walk->batch, index, &fragment->entries[walk->next++], &rule)) {
        case BATCH_MORE:
            break;
        case BATCH_WHOLE:
            return true;
        case BATCH_BROKEN:
            return false;
        }
    }
    return false;
}

/*
 * The ledger up to the blamed batch is bound by the root that it signs, but not the state and the
 * window below. They count only if the batch before carries their digest: whoever signed the
 * blamed batch has checked that one too.
 */
static bool walk_is_bound(const struct fragment_walk *walk) {
    const struct ledger_position *const before = replayer_position(&walk->replayer);
    return walk->checkpoint_seq == 0 ||
           (before->seq > walk->checkpoint_seq && before->checkpoint_seq == walk->checkpoint_seq &&
            digest_equal(&before->checkpoint_digest, &walk->checkpoint));
}

/* All batches but the last must be right. */
static enum proof_check walk_to_last(struct fragment_walk *walk, const struct fragment *fragment) {
    for (;;) {
        if (!walk_batch(walk, fragment) || !replayer_is_ready(&walk->replayer)) {
            return PROOF_FRAGMENT;
        }
        if (walk->next == fragment->entry_count) {
            return walk_is_bound(walk) ? PROOF_VALID : PROOF_CHECKPOINT;
        }
        enum rule const rule = replayer_step(&walk->replayer, &walk->batch);
        if (replayer_failed(&walk->replayer)) {
            return PROOF_MEMORY;
        }
        if (rule != RULE_NONE) {
            return PROOF_FRAGMENT;
        }
    }
}

/* Who signed the last batch: those of its certificate, or its primary alone. */
static enum proof_check blame_signers(struct proof_verdict *out, struct arena *arena,
                                      const struct proof *proof, const struct batch *batch) {
    const struct signed_body *const statement = &batch->seal.statement;
    struct digest const digest =
        hash_statement(LABEL_PRE_PREPARE, &out->service, statement->body, &statement->signature);
    if (proof->certificate_count == 0) {
        out->blamed =
            (uint64_t)1 << configuration_primary(&out->configuration, batch->pre_prepare.view);
        return PROOF_VALID;
    }
    struct certificate certificate;
    struct verified_batch verified;
    out->certificate = RECEIPT_CERTIFICATE_ENCODING;
    if (certificate_decode(&certificate, arena, proof->certificates[0]) != CODEC_OK) {
        return PROOF_CERTIFICATE;
    }
    out->certificate = certificate_verify(&verified, arena, &out->configuration, &certificate);
    if (out->certificate != RECEIPT_VALID) {
        return PROOF_CERTIFICATE;
    }
    out->blamed = verified.signers;
    return digest_equal(&digest, &verified.digest) ? PROOF_VALID : PROOF_PARTS;
}

/* The kind and the rule that a proof must name for what replay finds. */
static enum proof_kind kind_of_rule(enum rule rule) {
    if (rule == RULE_OUTCOME) {
        return PROOF_WRONG_OUTCOME;
    }
    return rule == RULE_CHECKPOINT_DIGEST ? PROOF_WRONG_CHECKPOINT : PROOF_BROKEN_BATCH;
}

static bool rule_is_named(const struct proof *proof, enum rule rule) {
    struct span const name =
        proof->kind == PROOF_BROKEN_BATCH ? span_text(rule_name(rule)) : (struct span){0};
    return rule_convicts(rule) && proof->kind == kind_of_rule(rule) &&
           span_equal(proof->rule, name);
}

static enum proof_check judge_walk(struct proof_verdict *out, struct arena *arena,
                                   const struct proof *proof, struct fragment_walk *walk) {
    if (!walk_begin(walk, arena, proof)) {
        return PROOF_FRAGMENT;
    }
    enum proof_check const check = walk_to_last(walk, &proof->fragment);
    if (check != PROOF_VALID) {
        return check;
    }
    enum rule const rule = replayer_step(&walk->replayer, &walk->batch);
    if (replayer_failed(&walk->replayer)) {
        return PROOF_MEMORY;
    }
    if (!rule_is_named(proof, rule)) {
        return PROOF_NOTHING_BROKEN;
    }
    const struct pre_prepare *const body = &walk->batch.pre_prepare;
    out->rule = rule;
    out->wrong_index = walk->replayer.replay.wrong_index;
    out->config = body->config;
    out->view = body->view;
    out->seq = replayer_position(&walk->replayer)->seq + 1;
    out->seq_other = out->seq;
    out->roots[0] = body->batch_root;
    out->roots[1] = body->checkpoint_digest;
    return blame_signers(out, arena, proof, &walk->batch);
}

/*
 * A correct replica signs a batch only if it breaks no rule, and what it signs fixes the ledger
 * below it: the checker and execution, fed with that very ledger, must come to the same for all.
 */
static enum proof_check judge_fragment(struct proof_verdict *out, struct arena *arena,
                                       const struct proof *proof) {
    if (!proof->has_fragment || proof->fragment.entry_count == 0 || proof->statement_count != 0 ||
        proof->certificate_count > 1) {
        return PROOF_PARTS;
    }
    struct fragment_walk *const walk = calloc(1, sizeof *walk);
    if (walk == NULL) {
        return PROOF_MEMORY;
    }
    batch_init(&walk->batch);
    enum proof_check check = PROOF_MEMORY;
    if (replayer_init(&walk->replayer, &out->configuration, NULL, false)) {
        check = judge_walk(out, arena, proof, walk);
    }
    replayer_free(&walk->replayer);
    batch_free(&walk->batch);
    free(walk);
    return check;
}

/* ---- all kinds ---- */

static enum proof_check judge(struct proof_verdict *out, struct arena *arena,
                              const struct digest *service, const struct proof *proof) {
    struct genesis genesis;
    struct problem problem = {.code = EXIT_OK};
    if (genesis_decode(&genesis, arena, proof->genesis) != CODEC_OK) {
        return PROOF_GENESIS;
    }
    if (service != NULL && !digest_equal(service, &genesis.service)) {
        return PROOF_SERVICE;
    }
    if (founding_configuration(&out->configuration, &genesis, &problem) != 0) {
        return PROOF_GENESIS;
    }
    out->kind = proof->kind;
    out->service = genesis.service;
    switch (proof->kind) {
    case PROOF_EQUIVOCATION:
        return judge_equivocation(out, arena, proof);
    case PROOF_CONFLICTING_CERTIFICATES:
        return judge_certificates(out, arena, proof);
    case PROOF_BROKEN_BATCH:
    case PROOF_WRONG_OUTCOME:
    case PROOF_WRONG_CHECKPOINT:
        return judge_fragment(out, arena, proof);
    }
    return PROOF_ENCODING;
}

enum proof_check proof_verify(struct proof_verdict *out, const struct digest *service,
                              struct span file) {
    struct span const magic = span_text(EVIDENCE_FILE_MAGIC);
    *out = (struct proof_verdict){.rule = RULE_NONE};
    if (file.size < magic.size || !span_equal(span_of(file.data, magic.size), magic)) {
        return PROOF_ENCODING;
    }
    struct proof *const proof = calloc(1, sizeof *proof);
    if (proof == NULL) {
        return PROOF_MEMORY;
    }
    struct arena arena;
    arena_init(&arena, PROOF_ARENA_SIZE);
    enum proof_check check = PROOF_ENCODING;
    if (proof_decode(proof, &arena, span_of(file.data + magic.size, file.size - magic.size)) ==
        CODEC_OK) {
        check = judge(out, &arena, service, proof);
    }
    arena_free(&arena);
    free(proof);
    return check;
}

bool evidence_file_encode(struct buffer *out, const struct proof *proof) {
    return buffer_append(out, span_text(EVIDENCE_FILE_MAGIC)) && proof_encode(out, proof);
}
