/*
 * proof: see proof.h. Every byte is hostile. Why each kind convicts is said where it is judged; a
 * correct replica is one that runs this project's checker and execution before it signs.
 */
#include "audit-tool/proof_internal.h"

#include <stdlib.h>

#include "base/check.h"
#include "governance/founding.h"
#include "ledger/checker.h"

/*
 * Decoding takes the file's size again, and pointers for each small part, some of it twice. A file
 * of nothing but empty parts would take more, and does not get it.
 */
#define ARENA_PER_BYTE 12u
#define ARENA_SIZE_MIN ((size_t)4 << 20)

size_t proof_arena_size(size_t file_size) {
    size_t const size = ARENA_PER_BYTE * file_size;
    return size < ARENA_SIZE_MIN ? ARENA_SIZE_MIN : size;
}

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
    case PROOF_CHAIN:
        return "the governance chain in it does not hold";
    case PROOF_PARTS:
        return "it lacks a part that its kind needs, or has one too many";
    case PROOF_STATEMENTS:
        return "the statements are not such as its kind needs";
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
        return "the batch or new view does not break the rule named";
    case PROOF_WELL_FORMED:
        return "what was handed over is a range as a ledger holds them";
    case PROOF_MEMORY:
        return "there is not enough memory to tell";
    case PROOF_CHECK_COUNT:
        break;
    }
    UNREACHABLE();
}

/* ---- parts ---- */

bool proof_has_parts(const struct proof *proof, const struct proof_parts *parts) {
    return proof->statement_count == parts->statements &&
           proof->certificate_count == parts->certificates &&
           (proof->rule.size != 0) == parts->has_rule &&
           proof->has_fragment == parts->has_fragment &&
           (proof->path_count == 0 || parts->may_have_path) &&
           (proof->served.size == 0 || parts->may_have_served);
}

bool proof_certificate(struct proof_verdict *out, struct verified_batch *batch,
                       struct certificate *certificate, struct arena *arena,
                       const struct proof *proof, uint32_t nth) {
    CHECK(nth < proof->certificate_count);
    out->certificate = RECEIPT_CERTIFICATE_ENCODING;
    if (certificate_decode(certificate, arena, proof->certificates[nth]) != CODEC_OK) {
        return false;
    }
    out->certificate = certificate_verify(batch, arena, &out->configuration, certificate);
    return out->certificate == RECEIPT_VALID;
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
    if (!proof_has_parts(proof, &(struct proof_parts){.statements = 2})) {
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
    if (span_compare(proof->statements[0].body, proof->statements[1].body) > 0) {
        return PROOF_STATEMENTS; /* one contradiction, one proof: see proof_order */
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

/* A configuration begins with one batch, and nothing but its end follows what ends it (§9). */
static bool kinds_follow(const struct pre_prepare *a, const struct pre_prepare *b) {
    if (b->kind == BATCH_START_OF_CONFIGURATION) {
        return false;
    }
    return a->kind != BATCH_END_OF_CONFIGURATION ||
           (b->kind == BATCH_END_OF_CONFIGURATION && b->seq - a->seq < CLOSING_BATCHES &&
            b->gov_index == a->gov_index);
}

bool batch_extends(const struct configuration *configuration, const struct pre_prepare *a,
                   const struct pre_prepare *b) {
    uint64_t const between = b->seq - a->seq - 1;
    uint64_t const end = a->first_index + a->tx_count;
    /* Parameters that a vote set count for nothing: who forks the chain could show others. */
    uint64_t const calls_max = configuration->number == FOUNDING_CONFIGURATION
                                   ? configuration->parameters.batch_calls_max
                                   : BATCH_CALLS_MAX;
    uint64_t const gap_max = between > WINDOW_MAX ? UINT64_MAX : between * calls_max;
    return kinds_follow(a, b) && b->first_index >= end && b->first_index - end <= gap_max &&
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
    return first->seq < second->seq ? !batch_extends(configuration, first, second)
                                    : !batch_extends(configuration, second, first);
}

static enum proof_check judge_certificates(struct proof_verdict *out, struct arena *arena,
                                           const struct proof *proof) {
    struct verified_batch batches[2];
    if (!proof_has_parts(proof, &(struct proof_parts){.certificates = 2})) {
        return PROOF_PARTS;
    }
    for (unsigned i = 0; i < 2; i++) {
        struct certificate certificate;
        if (!proof_certificate(out, &batches[i], &certificate, arena, proof, i)) {
            return PROOF_CERTIFICATE;
        }
    }
    if (!certificates_conflict(&out->configuration, &batches[0], &batches[1])) {
        return PROOF_NO_CONFLICT;
    }
    if (span_compare(proof->certificates[0], proof->certificates[1]) > 0) {
        return PROOF_PARTS; /* one contradiction, one proof: see proof_order */
    }
    unsigned const early = batches[0].pre_prepare.seq <= batches[1].pre_prepare.seq ? 0 : 1;
    out->config = batches[0].pre_prepare.config;
    out->view = batches[0].pre_prepare.view;
    out->seq_other = batches[early].pre_prepare.seq;
    out->seq = batches[1 - early].pre_prepare.seq;
    out->roots[0] = batches[early].pre_prepare.batch_root;
    out->roots[1] = batches[1 - early].pre_prepare.batch_root;
    out->blamed = batches[0].signers & batches[1].signers; /* two quorums: at least f + 1 */
    return PROOF_VALID;
}

/* ---- all kinds ---- */

enum proof_check proof_eras(struct eras *eras, struct arena *arena, const struct digest *service,
                            const struct proof *proof) {
    struct genesis genesis;
    if (genesis_decode(&genesis, arena, proof->genesis) != CODEC_OK) {
        return PROOF_GENESIS;
    }
    if (service != NULL && !digest_equal(service, &genesis.service)) {
        return PROOF_SERVICE;
    }
    if (!eras_init(eras, proof->genesis)) {
        return PROOF_GENESIS;
    }
    enum chain_check const check =
        eras_follow(eras, proof->genesis, proof->links, proof->link_count);
    return check == CHAIN_VALID ? PROOF_VALID : check == CHAIN_MEMORY ? PROOF_MEMORY : PROOF_CHAIN;
}

/* As many links as it takes: the last one leads to the configuration that the proof is about. */
static enum proof_check judge(struct proof_verdict *out, struct arena *arena,
                              const struct eras *eras, const struct proof *proof) {
    out->configuration = *eras_configuration(eras, eras->count);
    out->kind = proof->kind;
    out->service = out->configuration.service;
    switch (proof->kind) {
    case PROOF_EQUIVOCATION:
        return judge_equivocation(out, arena, proof);
    case PROOF_CONFLICTING_CERTIFICATES:
        return judge_certificates(out, arena, proof);
    case PROOF_BROKEN_BATCH:
    case PROOF_WRONG_OUTCOME:
    case PROOF_WRONG_CHECKPOINT:
    case PROOF_BROKEN_NEW_VIEW:
        return judge_fragment(out, arena, eras, proof);
    case PROOF_UNDERSTATED_VIEW_CHANGE:
        return judge_understated(out, arena, proof);
    case PROOF_FORKED_VIEW:
        return judge_forked_view(out, arena, proof);
    case PROOF_MALFORMED_RANGE:
        return judge_served(out, arena, eras, proof);
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
    arena_init(&arena, proof_arena_size(file.size));
    struct eras eras = {.count = 0};
    enum proof_check check = PROOF_ENCODING;
    if (proof_decode(proof, &arena, span_of(file.data + magic.size, file.size - magic.size)) ==
        CODEC_OK) {
        check = proof_eras(&eras, &arena, service, proof);
        check = check == PROOF_VALID ? judge(out, &arena, &eras, proof) : check;
    }
    eras_free(&eras);
    arena_free(&arena);
    free(proof);
    return check;
}

bool evidence_file_encode(struct buffer *out, const struct proof *proof) {
    return buffer_append(out, span_text(EVIDENCE_FILE_MAGIC)) && proof_encode(out, proof);
}
