/*
 * forge: see forge.h. The order of work for a batch is that of a primary: evidence, execution,
 * pre-prepare, signatures. A lie is told at the one place where it belongs.
 */
#include "tests/forge/forge_internal.h"

#include <stdlib.h>

#include "base/check.h"
#include "execution/checkpoint.h"
#include "ledger/derive.h"
#include "ledger/nonce.h"
#include "ledger/segment.h"
#include "receipts/from_ledger.h"
#include "receipts/receipt.h"

#define FORGE_SHIFT 7u /* by how much a lie about an index is off */

/* ---- what is there ---- */

uint64_t forge_seq(const struct forge *forge) {
    return forge->batches.size / sizeof(struct forge_batch);
}

struct forge_batch *forge_batch_at(const struct forge *forge, uint64_t seq) {
    CHECK(seq >= 1 && seq <= forge_seq(forge));
    return (struct forge_batch *)(void *)forge->batches.data + (seq - 1);
}

uint64_t forge_entry_count(const struct forge *forge) {
    return forge->entries.size / sizeof(struct forge_entry);
}

struct entry forge_entry_at(const struct forge *forge, uint64_t index) {
    struct forge_entry record;
    CHECK(index < forge_entry_count(forge));
    memcpy(&record, forge->entries.data + index * sizeof record, sizeof record);
    return (struct entry){.kind = record.kind,
                          .payload = span_of(forge->bytes.data + record.offset, record.size)};
}

void forge_entry_append(struct forge *forge, enum entry_kind kind, struct span payload) {
    struct forge_entry const record = {
        .kind = kind, .offset = forge->bytes.size, .size = payload.size};
    CHECK(buffer_append(&forge->bytes, payload));
    CHECK(buffer_append(&forge->entries, span_of(&record, sizeof record)));
}

void forge_read(const struct forge *forge, uint64_t seq, struct batch *batch) {
    const struct forge_batch *const at = forge_batch_at(forge, seq);
    batch_clear(batch);
    for (uint32_t i = 0; i < at->entry_count; i++) {
        struct entry const entry = forge_entry_at(forge, at->first_entry + i);
        enum rule rule = RULE_NONE;
        enum batch_step const step = batch_add(batch, at->first_entry + i, &entry, &rule);
        CHECK(step == (i + 1 == at->entry_count ? BATCH_WHOLE : BATCH_MORE));
    }
}

/* ---- life ---- */

static const struct forge_era *era_at(const struct forge *forge, uint64_t nth) {
    return nth < forge->eras.size / sizeof(struct forge_era)
               ? (const struct forge_era *)(const void *)forge->eras.data + nth
               : NULL;
}

static void note_checkpoint(struct forge *forge, uint64_t seq, const struct digest *digest) {
    struct forge_checkpoint const checkpoint = {.seq = seq, .digest = *digest};
    CHECK(buffer_append(&forge->checkpoints, span_of(&checkpoint, sizeof checkpoint)));
}

/* The digest of that checkpoint; behind a lie, where none are made any more, of the last one. */
static struct digest checkpoint_of(const struct forge *forge, uint64_t seq) {
    struct forge_checkpoint checkpoint = {.seq = UINT64_MAX};
    for (size_t at = forge->checkpoints.size; at != 0 && checkpoint.seq != seq;) {
        at -= sizeof checkpoint;
        memcpy(&checkpoint, forge->checkpoints.data + at, sizeof checkpoint);
    }
    if (checkpoint.seq != seq) {
        memcpy(&checkpoint, forge->checkpoints.data + forge->checkpoints.size - sizeof checkpoint,
               sizeof checkpoint);
    }
    return checkpoint.digest;
}

void forge_start(struct forge *forge) {
    const struct forge_era *const first = era_at(forge, 0);
    if (first != NULL) {
        forge->consortium = first->consortium;
        forge->constitution = first->constitution;
    }
    forge->checker = checker_new(&forge->consortium->configuration);
    forge->engine = engine_new(NULL);
    CHECK(forge->checker != NULL && forge->engine != NULL);
    engine_govern(forge->engine, forge->constitution);
    checker_start(forge->checker, buffer_span(&forge->consortium->genesis_bytes));
    const struct ledger_position *const position = checker_position(forge->checker);
    buffer_clear(&forge->checkpoints);
    note_checkpoint(forge, 0, &position->checkpoint_digest);
}

void forge_init(struct forge *forge, const struct consortium *consortium) {
    *forge = (struct forge){.consortium = consortium};
    buffer_init(&forge->bytes, FORGE_SIZE_MAX);
    buffer_init(&forge->entries, FORGE_SIZE_MAX);
    buffer_init(&forge->batches, FORGE_SIZE_MAX);
    buffer_init(&forge->checkpoints, FORGE_SIZE_MAX);
    buffer_init(&forge->views, FORGE_SIZE_MAX);
    buffer_init(&forge->eras, FORGE_SIZE_MAX);
    replay_init(&forge->replay);
    struct span const genesis = buffer_span(&consortium->genesis_bytes);
    forge_start(forge);
    forge_entry_append(forge, ENTRY_GENESIS, genesis);
    frontier_init(&forge->frontier);
    struct digest const leaf = ledger_leaf(ENTRY_GENESIS, genesis);
    frontier_append(&forge->frontier, &leaf);
    forge->next_index = 1;
    forge->signers = ((uint64_t)1 << consortium->configuration.quorum) - 1;
}

void forge_drop_batch(struct forge *forge) {
    struct forge_batch *const batch = forge_batch_at(forge, forge_seq(forge));
    buffer_free(&batch->statement);
    buffer_free(&batch->signatures);
    buffer_free(&batch->nonces);
    forge->batches.size -= sizeof *batch;
}

void forge_free(struct forge *forge) {
    while (forge_seq(forge) != 0) {
        forge_drop_batch(forge);
    }
    buffer_free(&forge->views);
    buffer_free(&forge->eras);
    buffer_free(&forge->bytes);
    buffer_free(&forge->entries);
    buffer_free(&forge->batches);
    buffer_free(&forge->checkpoints);
    checker_free(forge->checker);
    engine_free(forge->engine);
    replay_free(&forge->replay);
}

void forge_step_done(struct forge *forge) {
    uint64_t const seq = checker_position(forge->checker)->seq;
    engine_settle(forge->engine, engine_mark(forge->engine));
    checker_settle(forge->checker, seq);
    if (!checker_cut_is_due(forge->checker)) {
        return;
    }
    struct checkpoint_cut cut;
    struct digest digest;
    struct buffer header;
    buffer_init(&header, CHECKPOINT_HEADER_SIZE_MAX);
    engine_cut(forge->engine, seq);
    engine_settle(forge->engine, engine_mark(forge->engine));
    checker_cut(forge->checker, &cut);
    CHECK(checkpoint_fill(&cut, forge->engine));
    CHECK(checkpoint_cut_digest(&digest, &header, &forge->consortium->configuration.service, &cut));
    checker_checkpoint_learn(forge->checker, seq, &digest);
    note_checkpoint(forge, seq, &digest);
    engine_absorb(forge->engine, seq);
    buffer_free(&header);
}

/* ---- configurations ---- */

static void note_era(struct forge *forge) {
    struct forge_era const era = {.consortium = forge->consortium,
                                  .constitution = forge->constitution};
    CHECK(buffer_append(&forge->eras, span_of(&era, sizeof era)));
}

void forge_govern(struct forge *forge, const struct constitution *now) {
    CHECK(forge->eras.size == 0);
    forge->constitution = now;
    engine_govern(forge->engine, now);
    note_era(forge);
}

void forge_reenter(struct forge *forge) {
    const struct forge_era *const next =
        era_at(forge, checker_configuration(forge->checker)->number);
    if (checker_is_closed(forge->checker) && next != NULL) {
        checker_enter(forge->checker, &next->consortium->configuration);
        engine_govern(forge->engine, next->constitution);
        forge->consortium = next->consortium;
        forge->constitution = next->constitution;
    }
}

void forge_enter_configuration(struct forge *forge, const struct consortium *next,
                               const struct constitution *now) {
    if (!forge->lied) {
        checker_enter(forge->checker, &next->configuration);
    }
    forge->consortium = next;
    forge->constitution = now;
    engine_govern(forge->engine, now);
    note_era(forge);
    forge->config_start = forge_seq(forge);
    forge->gov_index = forge->vote_index;
    forge->closing_seq = 0;
    forge->view = 0;
    forge->view_start = forge->config_start;
    forge->signers = ((uint64_t)1 << next->configuration.quorum) - 1;
}

/* ---- signing ---- */

static struct nonce own_nonce(const struct forge *forge, uint32_t replica,
                              const struct pre_prepare *body) {
    const struct digest *const service = &forge->consortium->configuration.service;
    const struct replica_keys *const keys = &forge->consortium->replicas[replica];
    struct digest batch_digest;
    CHECK(keys->held);
    CHECK(pre_prepare_batch_digest(&batch_digest, service, body));
    return nonce_derive(service, keys->nonce_secret, body->config, replica, body->view, body->seq,
                        &batch_digest);
}

/* What a backup says about a batch: its signature. */
static struct signature sign_prepare(const struct forge *forge, const struct forge_batch *batch,
                                     uint32_t replica, const struct nonce *nonce) {
    const struct digest *const service = &forge->consortium->configuration.service;
    const struct key_pair *const pair = &forge->consortium->replicas[replica].signing;
    struct prepared_batch const prepared = {
        .config = batch->body.config,
        .view = batch->body.view,
        .seq = batch->body.seq,
        .digest = batch->digest,
    };
    struct prepare prepare;
    struct buffer body;
    buffer_init(&body, STATEMENT_SIZE_MAX);
    prepare_rebuild(&prepare, service, &prepared, replica, nonce);
    CHECK(prepare_encode(&body, &prepare));
    struct signature const signature =
        sign_labelled(&pair->secret, &pair->key, LABEL_PREPARE, service, buffer_span(&body));
    buffer_free(&body);
    return signature;
}

static uint32_t primary_of(const struct forge *forge, const struct pre_prepare *body) {
    return configuration_primary(&forge->consortium->configuration, body->view);
}

static void sign_as(struct forge *forge, struct forge_batch *batch, uint64_t signers) {
    batch->signers = signers;
    for (uint32_t replica = 0; replica < REPLICAS_MAX; replica++) {
        if ((signers >> replica & 1) == 0) {
            continue;
        }
        struct nonce const nonce = own_nonce(forge, replica, &batch->body);
        CHECK(buffer_append(&batch->nonces, span_of(nonce.bytes, NONCE_SIZE)));
        if (replica != primary_of(forge, &batch->body)) {
            struct signature const signature = sign_prepare(forge, batch, replica, &nonce);
            CHECK(buffer_append(&batch->signatures, span_of(signature.bytes, SIGNATURE_SIZE)));
        }
    }
}

void forge_complete(struct forge *forge) {
    for (uint64_t seq = 1; seq <= forge_seq(forge); seq++) {
        struct forge_batch *const batch = forge_batch_at(forge, seq);
        if (batch->signers == 0) {
            sign_as(forge, batch, forge->signers);
        }
    }
}

static struct batch_evidence evidence_of(const struct forge_batch *batch) {
    return (struct batch_evidence){
        .seq = batch->body.seq,
        .signature_count = (uint32_t)(batch->signatures.size / SIGNATURE_SIZE),
        .signatures = (const void *)batch->signatures.data,
        .nonce_count = (uint32_t)(batch->nonces.size / NONCE_SIZE),
        .nonces = (const void *)batch->nonces.data,
    };
}

/* ---- one batch ---- */

/* A batch being made. */
struct work {
    const struct forge_order *order;
    struct pre_prepare body;
    struct buffer evidence;
    struct buffer requests; /* payloads of request entries */
    struct buffer sizes;    /* of size_t */
    struct tree tree;       /* G */
    struct buffer digests;  /* of outcomes, for the checker */
    bool closes;            /* a vote has passed in it */
};

static void flip(struct digest *digest) {
    digest->bytes[0] ^= 1;
}

static void make_evidence(struct forge *forge, struct work *work) {
    uint64_t const lag = work->order->evidence_lag == 0 ? 1 : work->order->evidence_lag;
    uint64_t const seq = forge_seq(forge) + 1;
    uint64_t const upto = lag >= seq ? 0 : seq - lag;
    struct pre_prepare *const body = &work->body;
    struct evidence evidence = {0};
    body->evidence_upto = forge->evidence_upto;
    while (body->evidence_upto < upto) {
        const struct forge_batch *const batch = forge_batch_at(forge, ++body->evidence_upto);
        CHECK(evidence.batch_count < EVIDENCE_BATCHES_MAX);
        body->evidence_signers[evidence.batch_count] = batch->signers;
        evidence.batches[evidence.batch_count++] = evidence_of(batch);
    }
    body->evidence_count = evidence.batch_count;
    if (evidence.batch_count == 0) {
        return;
    }
    struct signature signatures[REPLICAS_MAX];
    struct nonce nonces[REPLICAS_MAX];
    struct batch_evidence *const last = &evidence.batches[evidence.batch_count - 1];
    memcpy(signatures, last->signatures, last->signature_count * sizeof *signatures);
    memcpy(nonces, last->nonces, last->nonce_count * sizeof *nonces);
    last->signatures = signatures;
    last->nonces = nonces;
    last->seq += work->order->lie == RULE_EVIDENCE_CONTENT ? FORGE_SHIFT : 0;
    signatures[0].bytes[0] ^= work->order->lie == RULE_EVIDENCE_SIGNATURE;
    nonces[0].bytes[0] ^= work->order->lie == RULE_EVIDENCE_NONCE;
    CHECK(evidence_encode(&work->evidence, &evidence));
}

/* An outcome that execution did not give. */
static struct span lie_about_outcome(struct arena *arena, struct span honest) {
    struct outcome outcome;
    struct span const reply = span_text("forged");
    struct buffer encoded;
    buffer_init(&encoded, OUTCOME_SIZE_MAX);
    CHECK(outcome_decode(&outcome, arena, honest) == CODEC_OK);
    outcome.reply_count = 1;
    outcome.reply = &reply;
    CHECK(outcome_encode(&encoded, &outcome));
    struct span const lie = arena_copy(arena, buffer_span(&encoded));
    CHECK(lie.data != NULL);
    buffer_free(&encoded);
    return lie;
}

static void make_request(struct forge *forge, struct work *work, struct span bytes) {
    const struct digest *const service = &forge->consortium->configuration.service;
    enum rule const lie = work->order->lie;
    struct execution *const execution = &forge->replay.execution;
    struct arena arena;
    struct request request;
    arena_init(&arena, FORGE_ARENA_SIZE);
    CHECK(request_decode(&request, &arena, service, bytes) == CODEC_OK);
    engine_execute(forge->engine, execution, service, &request);
    work->closes |= execution->closes;
    uint64_t const first = work->body.first_index + work->tree.leaf_count;
    if (lie == RULE_OUTCOME && work->tree.leaf_count == 0) {
        execution->outcomes[0] = lie_about_outcome(&arena, execution->outcomes[0]);
        execution->digests[0] = hash_labelled(LABEL_OUTCOME, service, execution->outcomes[0]);
    }
    for (uint32_t i = 0; i < request.call_count; i++) {
        struct digest const leaf =
            batch_leaf(&request.digest, i, first + i, &execution->digests[i]);
        CHECK(tree_append(&work->tree, &leaf));
        CHECK(buffer_append(&work->digests, span_of(execution->digests[i].bytes, DIGEST_SIZE)));
    }
    struct request_entry const entry = {
        .request = bytes,
        .first_index = first + (lie == RULE_ENTRY_ORDER ? 1 : 0),
        .outcome_count = request.call_count,
        .outcomes = execution->outcomes,
    };
    size_t const start = work->requests.size;
    CHECK(request_entry_encode(&work->requests, &entry));
    if (lie == RULE_ENTRY_ENCODING) {
        static const uint8_t junk[2] = {0x78, 1}; /* a field that the schema does not name */
        CHECK(buffer_append(&work->requests, span_of(junk, sizeof junk)));
    }
    size_t const size = work->requests.size - start;
    CHECK(buffer_append(&work->sizes, span_of(&size, sizeof size)));
    arena_free(&arena);
}

/* Two batches end a configuration, and one begins the next. */
static void make_kind(const struct forge *forge, struct pre_prepare *body) {
    body->kind = BATCH_NORMAL;
    body->gov_index = forge->gov_index;
    if (forge->closing_seq != 0) {
        body->kind = BATCH_END_OF_CONFIGURATION;
        body->gov_index = forge->vote_index;
    } else if (forge->config_start != 0 && body->seq == forge->config_start + 1) {
        body->kind = BATCH_START_OF_CONFIGURATION;
    }
}

static void make_body(struct forge *forge, struct work *work) {
    const struct configuration *const configuration = &forge->consortium->configuration;
    uint64_t const interval = configuration->parameters.checkpoint_interval;
    struct pre_prepare *const body = &work->body;
    struct frontier before = forge->frontier;
    if (work->evidence.size != 0) {
        struct digest const leaf = ledger_leaf(ENTRY_EVIDENCE, buffer_span(&work->evidence));
        frontier_append(&before, &leaf);
    }
    body->config = configuration->number;
    body->view = forge->view;
    body->view_start = forge->view_start;
    body->seq = forge_seq(forge) + 1;
    body->ledger_root = frontier_root(&before);
    body->ledger_leaves = before.leaf_count;
    body->batch_root = tree_root(&work->tree);
    body->tx_count = (uint32_t)work->tree.leaf_count;
    make_kind(forge, body);
    body->time_ms = work->order->time_ms == 0 ? forge->time_ms + 1 : work->order->time_ms;
    uint64_t const first = (forge->config_start + 2 * interval - 1) / interval * interval;
    uint64_t const last = body->seq / interval * interval;
    if (body->seq < first) {
        body->checkpoint_seq = checker_position(forge->checker)->checkpoint_seq;
    } else {
        body->checkpoint_seq = last == first ? forge->config_start : last - interval;
    }
    body->checkpoint_digest = checkpoint_of(forge, body->checkpoint_seq);
}

static void lie_about_body(struct pre_prepare *body, enum rule lie, const struct forge *forge) {
    uint32_t const replica_count = forge->consortium->configuration.replica_count;
    body->config += lie == RULE_CONFIGURATION;
    body->view += lie == RULE_VIEW ? replica_count : 0;
    body->seq += lie == RULE_SEQUENCE;
    body->view_start += lie == RULE_VIEW_START;
    body->gov_index += lie == RULE_GOVERNANCE_INDEX;
    body->checkpoint_seq += lie == RULE_CHECKPOINT_SEQUENCE;
    body->kind = lie == RULE_BATCH_KIND ? BATCH_END_OF_CONFIGURATION : body->kind;
    body->evidence_upto = lie == RULE_EVIDENCE_RANGE ? body->seq : body->evidence_upto;
    body->evidence_signers[0] &= lie == RULE_EVIDENCE_SIGNERS ? ~(uint64_t)2 : UINT64_MAX;
    if (lie == RULE_TIME) {
        CHECK(forge->time_ms > 0); /* else no time runs back */
        body->time_ms = forge->time_ms - 1;
    } else if (lie == RULE_CHECKPOINT_DIGEST) {
        flip(&body->checkpoint_digest);
    } else if (lie == RULE_LEDGER_ROOT) {
        flip(&body->ledger_root);
    } else if (lie == RULE_BATCH_ROOT) {
        flip(&body->batch_root);
    }
}

static void sign_as_primary(struct forge *forge, struct forge_batch *batch) {
    const struct digest *const service = &forge->consortium->configuration.service;
    struct pre_prepare *const body = &batch->body;
    uint32_t const primary = primary_of(forge, body);
    const struct key_pair *const pair = &forge->consortium->replicas[primary].signing;
    struct nonce const nonce = own_nonce(forge, primary, body);
    body->nonce_hash = nonce_commit(service, body->config, primary, body->view, body->seq, &nonce);
    buffer_init(&batch->statement, STATEMENT_SIZE_MAX);
    buffer_init(&batch->signatures, FORGE_SIZE_MAX);
    buffer_init(&batch->nonces, FORGE_SIZE_MAX);
    CHECK(pre_prepare_encode(&batch->statement, body));
    batch->signature = sign_labelled(&pair->secret, &pair->key, LABEL_PRE_PREPARE, service,
                                     buffer_span(&batch->statement));
    batch->digest = hash_statement(LABEL_PRE_PREPARE, service, buffer_span(&batch->statement),
                                   &batch->signature);
}

bool forge_sink_verify(void *context, const struct sign_check *check, enum rule rule) {
    (void)rule;
    const struct forge *const forge = context;
    return sign_verify(&forge->consortium->configuration.service, check);
}

/* The real checker's opinion of an honest batch, every signature included. */
static void check_honest(struct forge *forge, const struct forge_batch *batch,
                         const struct work *work) {
    struct batch read;
    struct arena arena;
    batch_init(&read);
    arena_init(&arena, FORGE_ARENA_SIZE);
    forge_read(forge, batch->body.seq, &read);
    const struct digest *outcomes = (const void *)work->digests.data;
    struct sign_sink const sink = {.context = forge, .check = forge_sink_verify};
    checker_batch_begin(forge->checker);
    for (uint32_t i = 0; i < read.request_count; i++) {
        struct request request;
        arena_reset(&arena);
        CHECK(request_decode(&request, &arena, &forge->consortium->configuration.service,
                             work->order->requests[i]) == CODEC_OK);
        checker_batch_add(forge->checker, &request, outcomes, &sink);
        outcomes += request.call_count;
    }
    if (work->closes) {
        checker_batch_close(forge->checker);
    }
    CHECK(checker_batch_seal(forge->checker, &read.seal, &sink) == RULE_NONE);
    const struct ledger_position *const position = checker_position(forge->checker);
    struct digest const ours = frontier_root(&forge->frontier);
    struct digest const theirs = frontier_root(&position->frontier);
    CHECK(digest_equal(&ours, &theirs) && position->next_index == forge->next_index);
    CHECK(position->entries == forge_entry_count(forge));
    batch_free(&read);
    arena_free(&arena);
    forge_step_done(forge);
}

/* Put the batch behind the ledger's end. */
static void write_entries(struct forge *forge, struct forge_batch *batch, const struct work *work) {
    struct buffer payload;
    struct signature signature = batch->signature;
    signature.bytes[SIGNATURE_SIZE / 2] ^= work->order->lie == RULE_SIGNATURE;
    buffer_init(&payload, STATEMENT_SIZE_MAX + 256);
    struct signed_body const statement = {.body = buffer_span(&batch->statement),
                                          .signature = signature};
    CHECK(signed_encode(&payload, &statement));
    batch->first_entry = forge_entry_count(forge);
    if (work->evidence.size != 0) {
        forge_entry_append(forge, ENTRY_EVIDENCE, buffer_span(&work->evidence));
        struct digest const leaf = ledger_leaf(ENTRY_EVIDENCE, buffer_span(&work->evidence));
        frontier_append(&forge->frontier, &leaf);
    }
    forge_entry_append(forge, ENTRY_PRE_PREPARE, buffer_span(&payload));
    struct digest const leaf = ledger_leaf(ENTRY_PRE_PREPARE, buffer_span(&payload));
    frontier_append(&forge->frontier, &leaf);
    size_t offset = 0;
    for (uint32_t i = 0; i < work->order->request_count; i++) {
        size_t size = 0;
        memcpy(&size, work->sizes.data + i * sizeof size, sizeof size);
        forge_entry_append(forge, ENTRY_REQUEST, span_of(work->requests.data + offset, size));
        offset += size;
    }
    batch->entry_count = (uint32_t)(forge_entry_count(forge) - batch->first_entry);
    buffer_free(&payload);
}

static void work_init(struct work *work, const struct forge_order *order) {
    *work = (struct work){.order = order};
    buffer_init(&work->evidence, EVIDENCE_SIZE_MAX);
    buffer_init(&work->requests, FORGE_SIZE_MAX);
    buffer_init(&work->sizes, FORGE_SIZE_MAX);
    buffer_init(&work->digests, FORGE_SIZE_MAX);
    tree_init(&work->tree);
}

static void work_free(struct work *work) {
    buffer_free(&work->evidence);
    buffer_free(&work->requests);
    buffer_free(&work->sizes);
    buffer_free(&work->digests);
    tree_free(&work->tree);
}

void forge_append(struct forge *forge, const struct forge_order *order) {
    struct work work;
    work_init(&work, order);
    work.body.first_index = forge->next_index + (order->lie == RULE_FIRST_INDEX ? FORGE_SHIFT : 0);
    make_evidence(forge, &work);
    engine_batch_begin(forge->engine);
    for (uint32_t i = 0; i < order->request_count; i++) {
        make_request(forge, &work, order->requests[i]);
    }
    make_body(forge, &work);
    uint64_t const evidence_upto = work.body.evidence_upto; /* also when the body lies */
    lie_about_body(&work.body, order->lie, forge);
    struct forge_batch batch = {.body = work.body};
    sign_as_primary(forge, &batch);
    write_entries(forge, &batch, &work);
    CHECK(buffer_append(&forge->batches, span_of(&batch, sizeof batch)));
    forge->next_index += work.tree.leaf_count;
    forge->evidence_upto = evidence_upto;
    forge->time_ms = work.body.time_ms;
    if (work.closes) {
        forge->closing_seq = work.body.seq;
        forge->vote_index = forge->next_index - 1;
    }
    forge->lied |= order->lie != RULE_NONE && order->lie != RULE_OUTCOME;
    if (!forge->lied) {
        check_honest(forge, &batch, &work);
    }
    /* Whoever backs an honest batch does so after the checks that a correct backup makes. */
    sign_as(forge, forge_batch_at(forge, forge_seq(forge)), forge->signers);
    work_free(&work);
}

/* ---- other ledgers ---- */

void forge_follow(struct forge *forge) {
    const struct ledger_position *const position = checker_position(forge->checker);
    forge->frontier = position->frontier;
    forge->next_index = position->next_index;
    forge->evidence_upto = position->evidence_upto;
    forge->time_ms = position->time_ms;
    forge->view = position->view;
    forge->view_start = position->view_start;
    forge->closing_seq = position->closing_seq;
    forge->config_start = position->config_start;
    if (forge->closing_seq != 0) {
        forge->vote_index = position->next_index - 1;
    } else {
        forge->gov_index = position->gov_index;
    }
}

void forge_import_evidence(struct forge *forge, const struct batch *batch) {
    const struct evidence *const evidence = batch->seal.evidence;
    uint64_t const seq_last = forge_seq(forge);
    for (uint32_t i = 0; evidence != NULL && i < evidence->batch_count; i++) {
        const struct batch_evidence *const from = &evidence->batches[i];
        if (from->seq < 1 || from->seq > seq_last || i >= batch->pre_prepare.evidence_count) {
            continue;
        }
        struct forge_batch *const to = forge_batch_at(forge, from->seq);
        if (to->signers == 0) {
            to->signers = batch->pre_prepare.evidence_signers[i];
            CHECK(buffer_append(&to->signatures,
                                span_of(from->signatures, from->signature_count * SIGNATURE_SIZE)));
            CHECK(
                buffer_append(&to->nonces, span_of(from->nonces, from->nonce_count * NONCE_SIZE)));
        }
    }
}

enum rule forge_import(struct forge *forge, const struct batch *batch) {
    CHECK(!forge->lied);
    enum rule const rule =
        replay_batch(&forge->replay, forge->checker, forge->engine, batch, &sign_sink_trust);
    if (rule != RULE_NONE) {
        return rule;
    }
    struct forge_batch copy = {
        .first_entry = forge_entry_count(forge),
        .entry_count = batch_entry_count(batch),
        .body = batch->pre_prepare,
        .digest = checker_pre_prepare_digest(forge->checker, batch->pre_prepare.seq),
        .signature = batch->seal.statement.signature,
    };
    buffer_init(&copy.statement, STATEMENT_SIZE_MAX);
    buffer_init(&copy.signatures, FORGE_SIZE_MAX);
    buffer_init(&copy.nonces, FORGE_SIZE_MAX);
    CHECK(buffer_append(&copy.statement, batch->seal.statement.body));
    for (uint32_t i = 0; i < batch_entry_count(batch); i++) {
        struct entry const entry = batch_entry_at(batch, i);
        forge_entry_append(forge, entry.kind, entry.payload);
    }
    CHECK(buffer_append(&forge->batches, span_of(&copy, sizeof copy)));
    forge_import_evidence(forge, batch);
    forge_follow(forge);
    forge_step_done(forge);
    return RULE_NONE;
}

/* ---- what is handed out ---- */

void forge_certificate(const struct forge *forge, uint64_t seq, struct buffer *out) {
    const struct forge_batch *const batch = forge_batch_at(forge, seq);
    struct batch_evidence const evidence = evidence_of(batch);
    struct certificate const certificate = {
        .pre_prepare = buffer_span(&batch->statement),
        .pre_prepare_signature = batch->signature,
        .signers = batch->signers,
        .signature_count = evidence.signature_count,
        .signatures = evidence.signatures,
        .nonce_count = evidence.nonce_count,
        .nonces = evidence.nonces,
    };
    CHECK(certificate_encode(out, &certificate));
}

void forge_receipt(const struct forge *forge, const struct forge_place *place, struct buffer *out) {
    const struct digest *const service = &forge->consortium->configuration.service;
    struct batch batch;
    struct tree calls_tree;
    struct tree batch_tree;
    struct arena arena;
    struct buffer certificate;
    struct digest path[MERKLE_DEPTH_MAX];
    batch_init(&batch);
    tree_init(&calls_tree);
    tree_init(&batch_tree);
    arena_init(&arena, FORGE_ARENA_SIZE);
    buffer_init(&certificate, COMMIT_CERTIFICATE_SIZE_MAX);
    forge_read(forge, place->seq, &batch);
    CHECK(batch_tree_from_ledger(&batch_tree, &arena, service, &batch));
    arena_reset(&arena);
    struct request_entry entry;
    struct request request;
    CHECK(request_entry_decode(&entry, &arena, batch_request_payload(&batch, place->request)) ==
          CODEC_OK);
    CHECK(request_decode(&request, &arena, service, entry.request) == CODEC_OK);
    CHECK(receipt_calls_tree(&calls_tree, &request));
    forge_certificate(forge, place->seq, &certificate);
    uint64_t const index = entry.first_index + place->position;
    uint64_t const leaf = index - batch.pre_prepare.first_index;
    struct receipt_parts const parts = {
        .request = &request,
        .calls_tree = &calls_tree,
        .position = place->position,
        .index = index,
        .outcome = entry.outcomes[place->position],
        .batch_path_count = tree_inclusion_path(&batch_tree, path, leaf, batch_tree.leaf_count),
        .batch_path = path,
        .certificate = buffer_span(&certificate),
    };
    CHECK(receipt_build(out, &parts));
    buffer_free(&certificate);
    arena_free(&arena);
    tree_free(&batch_tree);
    tree_free(&calls_tree);
    batch_free(&batch);
}

/* Append what lies between two entries as one piece. */
static int write_piece(const struct forge *forge, struct segment_writer *writer, uint64_t first,
                       uint64_t end, struct problem *problem) {
    for (uint64_t i = first; i < end; i++) {
        struct entry const entry = forge_entry_at(forge, i);
        if (segment_writer_append(writer, &entry, 1, i + 1 == end, problem) != SEGMENT_OK) {
            return problem_set(problem, EXIT_ERROR, "the ledger could not be written");
        }
    }
    return 0;
}

/* Genesis, then each batch, and each new view where it stands. */
static int write_entries_upto(const struct forge *forge, uint64_t end,
                              struct segment_writer *writer, struct problem *problem) {
    uint64_t const views = forge->views.size / sizeof(struct forge_view);
    uint64_t seq = 0;
    uint64_t view = 0;
    int status = write_piece(forge, writer, 0, 1, problem);
    for (uint64_t at = 1; status == 0 && at < end;) {
        const struct forge_view *const next =
            view < views ? (const struct forge_view *)(const void *)forge->views.data + view : NULL;
        bool const is_view = next != NULL && next->first_entry == at;
        uint64_t const size = is_view ? 2 : forge_batch_at(forge, ++seq)->entry_count;
        view += is_view;
        status = write_piece(forge, writer, at, at + size, problem);
        at += size;
    }
    return status;
}

int forge_write_beginning(const struct forge *forge, uint64_t end, const struct disk *disk,
                          struct problem *problem) {
    struct segment_writer_options const options = {.service =
                                                       forge->consortium->configuration.service};
    struct segment_writer *const writer = malloc(sizeof *writer);
    struct segment_torn_tail torn;
    CHECK(writer != NULL);
    int status = -1;
    if (segment_writer_open(writer, &torn, disk, &options, problem) == SEGMENT_OK) {
        status = write_entries_upto(forge, end, writer, problem);
        if (status == 0 && segment_writer_sync(writer, problem) != SEGMENT_OK) {
            status = -1;
        }
        segment_writer_close(writer);
    }
    free(writer);
    return status;
}

int forge_write(const struct forge *forge, const struct disk *disk, struct problem *problem) {
    return forge_write_beginning(forge, forge_entry_count(forge), disk, problem);
}

uint64_t entry_config(const struct entry *entry) {
    struct arena arena;
    struct signed_body statement;
    struct pre_prepare pre_prepare;
    struct new_view new_view;
    uint64_t config = entry->kind == ENTRY_GENESIS ? 1 : 0;
    if (entry->kind != ENTRY_PRE_PREPARE && entry->kind != ENTRY_NEW_VIEW) {
        return config;
    }
    arena_init(&arena, 1u << 20);
    CHECK(signed_decode(&statement, &arena, entry->payload, STATEMENT_SIZE_MAX) == CODEC_OK);
    if (entry->kind == ENTRY_PRE_PREPARE) {
        CHECK(pre_prepare_decode(&pre_prepare, &arena, statement.body) == CODEC_OK);
        config = pre_prepare.config;
    } else {
        CHECK(new_view_decode(&new_view, &arena, statement.body) == CODEC_OK);
        config = new_view.config;
    }
    arena_free(&arena);
    return config;
}
