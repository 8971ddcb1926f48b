/*
 * samples: see samples.h. Evidence comes out of the real auditor, fed with what liars wrote.
 */
#include "tests/fuzz/samples.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "audit-tool/audit.h"
#include "audit-tool/served_evidence.h"
#include "base/check.h"
#include "client/credential.h"
#include "governance/founding.h"
#include "host/receipts_file.h"
#include "ledger/codec_demand_report.h"
#include "ledger/derive.h"
#include "ledger/served.h"
#include "ledger/wire.h"
#include "receipts/chain.h"
#include "tests/forge/charter.h"
#include "tests/forge/reform.h"
#include "tests/forge/story.h"
#include "tests/fuzz/samples_internal.h"
#include "tests/sim/fake_disk.h"

#define SAMPLES_MAX 256u
#define SEED 11u

static struct sample *sample_add(struct samples *samples, const char *target, const char *name) {
    CHECK(samples->count < SAMPLES_MAX);
    struct sample *const sample = &samples->items[samples->count];
    *sample = (struct sample){.target = target};
    (void)snprintf(sample->name, sizeof sample->name, "%02u-%s", samples->count, name);
    buffer_init(&sample->bytes, EVIDENCE_FILE_SIZE_MAX);
    samples->count++;
    return sample;
}

/* ---- evidence ---- */

/* Two tellings with one beginning, and an audit of what they come to. */
struct court {
    struct samples *samples;
    struct forge forges[2];
    struct story stories[2];
    struct audit *audit;
    struct fake_disk *disk;
};

static void court_open(struct court *court, struct samples *samples, uint32_t common) {
    *court = (struct court){.samples = samples};
    for (unsigned i = 0; i < 2; i++) {
        forge_init(&court->forges[i], &samples->consortium);
        court->stories[i] = (struct story){.forge = &court->forges[i], .random = SEED};
        story_append_honest(&court->stories[i], common);
    }
    court->stories[1].random ^= 12345;
    court->audit = audit_new(
        &(struct audit_options){.configuration = &samples->consortium.configuration,
                                .genesis = buffer_span(&samples->consortium.genesis_bytes),
                                .jobs = 1});
    CHECK(court->audit != NULL);
}

static void court_receipts(struct court *court, const struct forge *from, uint64_t seq) {
    struct problem problem = {.code = EXIT_OK};
    struct buffer receipt;
    buffer_init(&receipt, RECEIPT_SIZE_MAX);
    forge_receipt(from, &(struct forge_place){.seq = seq}, &receipt);
    CHECK(audit_add_receipt(court->audit, "receipt", buffer_span(&receipt), &problem) == 0);
    buffer_free(&receipt);
}

/* Audit the first telling's ledger; all that is found becomes a sample. */
static void court_close(struct court *court, const char *name) {
    struct problem problem = {.code = EXIT_OK};
    court->disk = fake_disk_new();
    CHECK(court->disk != NULL &&
          forge_write(&court->forges[0], &court->disk->disk, &problem) == 0 &&
          audit_add_ledger(court->audit, name, &court->disk->disk, &problem) == 0 &&
          audit_run(court->audit, &problem) == 0);
    const struct audit_report *const report = audit_report(court->audit);
    CHECK(report->finding_count != 0);
    for (uint32_t i = 0; i < report->finding_count; i++) {
        const struct audit_finding *const finding = &report->findings[i];
        struct sample *const sample = sample_add(court->samples, SAMPLE_EVIDENCE, name);
        CHECK(buffer_append(&sample->bytes, buffer_span(&finding->file)));
        sample->kind = finding->verdict.kind;
        sample->blamed = finding->verdict.blamed;
    }
    audit_free(court->audit);
    fake_disk_free(court->disk);
    forge_free(&court->forges[0]);
    forge_free(&court->forges[1]);
}

/* Two ledgers part, and so many batches follow in each. */
static void make_fork(struct samples *samples, const char *name, uint32_t batches) {
    struct court court;
    court_open(&court, samples, 4);
    court.forges[0].signers = 0x7;
    court.forges[1].signers = 0xb;
    for (uint32_t i = 0; i < batches; i++) {
        story_append(&court.stories[0], 1, 1, RULE_NONE);
        story_append(&court.stories[1], 1, 1, RULE_NONE);
    }
    court_receipts(&court, &court.forges[1], 5);
    court_close(&court, name);
}

static void make_broken(struct samples *samples, enum rule lie, uint32_t after) {
    struct court court;
    court_open(&court, samples, after);
    court.forges[0].signers = 0xb;
    story_append(&court.stories[0], 2, 1, lie);
    story_append(&court.stories[0], 1, 1, RULE_NONE);
    court_close(&court, rule_name(lie));
}

/* The same in a later configuration: the evidence carries the governance chain. */
static void make_reformed(struct samples *samples, enum rule lie, uint32_t after) {
    static struct reform reform;
    struct action actions[2];
    struct court court;
    court_open(&court, samples, 4);
    reform_init(&reform, &court.forges[0]);
    const struct replica_identity *const first = &reform.charter.now.replicas[0].identity;
    const char *const member = reform.charter.now.members[first->member].name;
    actions[0] = charter_replica(&reform.charter, &first->key, member, 8000);
    actions[1] = charter_replica(&reform.charter, NULL, member, 8001);
    reform_end(&reform, 2, actions);
    reform_start(&reform);
    story_append_honest(&court.stories[0], after);
    story_append(&court.stories[0], 2, 1, lie);
    story_append(&court.stories[0], 1, 1, RULE_NONE);
    court_close(&court, "reformed");
    reform_free(&reform);
}

/* A request comes a second time, so many batches after the first. */
static void make_duplicate(struct samples *samples, uint32_t between) {
    static const char *const calls[] = {"kv.put a 1"};
    struct order const order = {
        .author = &samples->consortium.users[0], .min_index = 1, .call_count = 1, .calls = calls};
    struct court court;
    court_open(&court, samples, 8);
    story_append_order(&court.stories[0], &order, RULE_NONE, 0);
    story_append_honest(&court.stories[0], between);
    court.forges[0].signers = 0x7;
    story_append_order(&court.stories[0], &order, RULE_REQUEST_DUPLICATE, 0);
    story_append(&court.stories[0], 1, 1, RULE_NONE);
    court_close(&court, rule_name(RULE_REQUEST_DUPLICATE));
}

static void make_understated(struct samples *samples) {
    struct court court;
    struct forge_view_order order = {.view = 1, .authors = 0xe};
    court_open(&court, samples, 8);
    for (uint32_t i = 0; i < REPLICAS_MAX; i++) {
        order.stated[i] = 8;
    }
    court.forges[0].signers = 0x7;
    story_append(&court.stories[0], 2, 1, RULE_NONE);
    story_append(&court.stories[0], 2, 1, RULE_NONE);
    court_receipts(&court, &court.forges[0], 9);
    forge_change_view(&court.forges[0], &order);
    court_close(&court, "understated");
}

static void make_new_view(struct samples *samples, enum rule lie, uint32_t batches) {
    struct court court;
    court_open(&court, samples, 20);
    story_append(&court.stories[0], 1, 1, RULE_NONE);
    forge_change_view(&court.forges[0],
                      &(struct forge_view_order){.view = 2, .only_enter = true, .lie = lie});
    court.forges[0].signers = 0xd;
    for (uint32_t i = 0; i < batches; i++) {
        story_append(&court.stories[0], 1, 1, RULE_NONE);
    }
    court_close(&court, rule_name(lie));
}

/* What a new view chose is of another ledger than a receipt of the same view. */
static void make_forked_view(struct samples *samples) {
    struct court court;
    court_open(&court, samples, 5);
    court.forges[0].signers = 0x7;
    court.forges[1].signers = 0xd;
    story_append(&court.stories[1], 2, 1, RULE_NONE);
    for (uint32_t lag = 1; lag <= 3; lag++) {
        story_append(&court.stories[0], 1,
                     forge_seq(&court.forges[0]) + 1 - court.forges[0].evidence_upto, RULE_NONE);
    }
    court_receipts(&court, &court.forges[1], 6);
    forge_change_view(&court.forges[0], &(struct forge_view_order){.view = 1});
    story_append_honest(&court.stories[0], 2);
    court_close(&court, "forked-view");
}

/* Two certificates of one view, and only the tree shows that they are of two ledgers. */
static void make_forked_ledgers(struct samples *samples) {
    struct forge_view_order order = {.view = 1, .authors = 0xe, .only_enter = true};
    struct court court;
    court_open(&court, samples, 13);
    for (unsigned i = 0; i < 2; i++) {
        court.stories[i].random = SEED;
        story_append(&court.stories[i], 1, 1, RULE_NONE);
        for (uint32_t k = 0; k < 3; k++) {
            struct forge *const forge = &court.forges[i];
            story_append(&court.stories[i], 1, forge_seq(forge) + 1 - forge->evidence_upto,
                         RULE_NONE);
        }
        story_append(&court.stories[i], 4, 1, RULE_NONE);
    }
    for (uint32_t i = 0; i < REPLICAS_MAX; i++) {
        order.stated[i] = 17;
    }
    forge_change_view(&court.forges[1], &order);
    court.stories[1].random ^= 99;
    court.forges[1].signers = 0xe;
    story_append(&court.stories[1], 2, 1, RULE_VIEW_START);
    court_receipts(&court, &court.forges[1], forge_seq(&court.forges[1]));
    court.forges[0].signers = 0x7;
    forge_change_view(&court.forges[0], &(struct forge_view_order){.view = 1});
    for (uint32_t i = 0; i < 3; i++) {
        story_append(&court.stories[0], 1, 1, RULE_NONE);
    }
    court_close(&court, "forked-ledgers");
}

/* The nth signer's prepare, as it must have been. */
static void prepare_of(const struct samples *samples, const struct forge *forge, uint64_t seq,
                       struct signed_body *out, struct buffer *bytes) {
    const struct forge_batch *const batch = forge_batch_at(forge, seq);
    const struct configuration *const configuration = &samples->consortium.configuration;
    struct prepared_batch const prepared = {.config = batch->body.config,
                                            .view = batch->body.view,
                                            .seq = seq,
                                            .digest = batch->digest};
    struct prepare prepare;
    struct nonce nonce;
    /* Of replica 1, the second signer: the first is the primary, which has no prepare. */
    memcpy(&nonce, batch->nonces.data + sizeof nonce, sizeof nonce);
    memcpy(&out->signature, batch->signatures.data, SIGNATURE_SIZE);
    prepare_rebuild(&prepare, &configuration->service, &prepared, 1, &nonce);
    CHECK(prepare_encode(bytes, &prepare));
    out->body = buffer_span(bytes);
}

static void make_two_prepares(struct samples *samples) {
    struct forge forges[2];
    struct buffer bodies[2];
    struct proof proof = {.kind = PROOF_EQUIVOCATION,
                          .genesis = buffer_span(&samples->consortium.genesis_bytes),
                          .statement_count = 2};
    for (unsigned i = 0; i < 2; i++) {
        forge_init(&forges[i], &samples->consortium);
        struct story story = {.forge = &forges[i], .random = SEED + i};
        forges[i].signers = 0x7;
        story_append(&story, 1, 1, RULE_NONE);
        buffer_init(&bodies[i], STATEMENT_SIZE_MAX);
        prepare_of(samples, &forges[i], 1, &proof.statements[i], &bodies[i]);
    }
    proof_order(&proof);
    struct sample *const sample = sample_add(samples, SAMPLE_EVIDENCE, "two-prepares");
    CHECK(evidence_file_encode(&sample->bytes, &proof));
    sample->kind = PROOF_EQUIVOCATION;
    sample->blamed = 0x2;
    for (unsigned i = 0; i < 2; i++) {
        buffer_free(&bodies[i]);
        forge_free(&forges[i]);
    }
}

/* What replica 2 hands over: from where on, and how much less than there is. */
struct handed_over {
    const struct forge *forge;
    const struct reform *reform; /* NULL: in the founding configuration */
    uint64_t first;
    uint32_t left_out;
};

/* An answer of replica 2, which has the same key in all configurations. */
static void answer_of(const struct samples *samples, const struct handed_over *what,
                      struct served_message *out, struct buffer *statement,
                      struct buffer *payload) {
    const struct digest *const service = &samples->consortium.configuration.service;
    const struct key_pair *const key = &samples->consortium.replicas[2].signing;
    uint64_t const end = forge_entry_count(what->forge) - what->left_out;
    struct range_message range = {.first_entry = what->first,
                                  .count = (uint32_t)(end - what->first)};
    struct entry *const entries = calloc(range.count, sizeof *entries);
    CHECK(entries != NULL);
    for (uint32_t i = 0; i < range.count; i++) {
        entries[i] = forge_entry_at(what->forge, what->first + i);
    }
    range.entries = entries;
    CHECK(range_message_encode(payload, &range));
    struct served served = {.replica = 2,
                            .demand = *service,
                            .part = SERVED_ENTRIES,
                            .first = what->first,
                            .end = end,
                            .available = end,
                            .digest = served_bytes_digest(service, buffer_span(payload))};
    if (what->reform == NULL) {
        consortium_state(&samples->consortium, &served);
    } else {
        reform_state(what->reform, what->reform->count + 1, &served);
    }
    CHECK(served_encode(statement, &served));
    *out = (struct served_message){
        .statement = {.body = buffer_span(statement),
                      .signature = sign_labelled(&key->secret, &key->key, LABEL_SERVED_RANGE,
                                                 service, buffer_span(statement))},
        .payload = buffer_span(payload)};
    free(entries);
}

static void add_malformed(struct samples *samples, const struct handed_over *what,
                          const struct eras *eras) {
    struct buffer statement;
    struct buffer payload;
    struct served_message answer;
    buffer_init(&statement, STATEMENT_SIZE_MAX);
    buffer_init(&payload, FRAME_SIZE_MAX);
    answer_of(samples, what, &answer, &statement, &payload);
    struct sample *const sample = sample_add(samples, SAMPLE_EVIDENCE, "malformed-range");
    CHECK(served_evidence(&sample->bytes, NULL, buffer_span(&samples->consortium.genesis_bytes),
                          eras, &answer.statement, answer.payload));
    sample->kind = PROOF_MALFORMED_RANGE;
    sample->blamed = 0x4;
    buffer_free(&statement);
    buffer_free(&payload);
}

/* A replica signs for a ledger that ends within a batch, and for one with a lie in it. */
static void make_malformed_range(struct samples *samples, enum rule lie) {
    struct forge forge;
    forge_init(&forge, &samples->consortium);
    struct story story = {.forge = &forge, .random = SEED};
    forge.signers = 0x7;
    story_append(&story, 1, 1, RULE_NONE);
    story_append(&story, 2, 1, lie);
    add_malformed(samples,
                  &(struct handed_over){.forge = &forge, .left_out = lie == RULE_NONE ? 1 : 0},
                  NULL);
    forge_free(&forge);
}

/* The same in a later configuration: the evidence brings the links. */
static void make_malformed_later(struct samples *samples) {
    static struct reform reform;
    struct span const genesis = buffer_span(&samples->consortium.genesis_bytes);
    struct forge forge;
    struct eras eras;
    forge_init(&forge, &samples->consortium);
    struct story story = {.forge = &forge, .random = SEED};
    story_append_honest(&story, 2);
    reform_init(&reform, &forge);
    const struct replica_identity *const first = &reform.charter.now.replicas[0].identity;
    const char *const member = reform.charter.now.members[first->member].name;
    struct action const action = charter_replica(&reform.charter, &first->key, member, 8100);
    reform_end(&reform, 1, &action);
    struct handed_over const what = {
        .forge = &forge, .reform = &reform, .first = forge_entry_count(&forge), .left_out = 1};
    reform_start(&reform);
    story_append(&story, 2, 1, RULE_NONE);
    CHECK(eras_init(&eras, genesis) &&
          eras_follow(&eras, genesis, reform.links, reform.count) == CHAIN_VALID);
    add_malformed(samples, &what, &eras);
    eras_free(&eras);
    reform_free(&reform);
    forge_free(&forge);
}

static void make_evidence(struct samples *samples) {
    static const enum rule lies[] = {RULE_TIME, RULE_EVIDENCE_NONCE, RULE_OUTCOME};
    make_two_prepares(samples);
    make_fork(samples, "equivocation", 1);
    make_fork(samples, "conflicting", 3);
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        make_broken(samples, lies[i], 3);  /* from genesis */
        make_broken(samples, lies[i], 20); /* from a checkpoint */
    }
    make_broken(samples, RULE_CHECKPOINT_DIGEST, 20); /* another one than the batch before */
    make_broken(samples, RULE_CHECKPOINT_DIGEST, 26); /* the first to carry it */
    make_duplicate(samples, 10);                      /* the first one is in the window */
    make_duplicate(samples, 4);                       /* … in a batch */
    make_understated(samples);
    make_new_view(samples, RULE_VIEW_CHOICE, 3);
    make_new_view(samples, RULE_VIEW_CHANGES, 0);
    make_forked_view(samples);
    make_forked_ledgers(samples);
    make_malformed_range(samples, RULE_NONE);
    make_malformed_range(samples, RULE_EVIDENCE_NONCE);
    make_reformed(samples, RULE_TIME, 0);     /* across the boundary */
    make_reformed(samples, RULE_OUTCOME, 30); /* from a checkpoint behind it */
}

/* ---- all else ---- */

/* A first byte that says how, or as what, the rest is to be taken. */
static struct buffer *kinded(struct samples *samples, const char *target, const char *name,
                             uint8_t kind) {
    struct sample *const sample = sample_add(samples, target, name);
    CHECK(buffer_append(&sample->bytes, span_of(&kind, 1)));
    return &sample->bytes;
}

static void make_receipts(struct samples *samples, const struct forge *forge) {
    for (uint64_t seq = 1; seq <= forge_seq(forge); seq++) {
        if (forge_batch_at(forge, seq)->body.tx_count != 0) {
            struct sample *const sample = sample_add(samples, SAMPLE_RECEIPT, "receipt");
            forge_receipt(forge, &(struct forge_place){.seq = seq}, &sample->bytes);
        }
    }
}

static void make_segments(struct samples *samples, const struct forge *forge) {
    struct problem problem = {.code = EXIT_OK};
    struct fake_disk *const disk = fake_disk_new();
    CHECK(disk != NULL && forge_write(forge, &disk->disk, &problem) == 0);
    const struct fake_names *const names = &disk->history[disk->pending];
    for (unsigned i = 0; i < names->count; i++) {
        struct buffer *const content = fake_disk_content(disk, names->names[i].text);
        for (uint8_t repaired = 0; repaired < 2; repaired++) {
            CHECK(buffer_append(kinded(samples, SAMPLE_SEGMENT, "segment", repaired),
                                buffer_span(content)));
        }
    }
    fake_disk_free(disk);
}

static void make_snapshots(struct samples *samples) {
    struct arena arena;
    arena_init(&arena, (size_t)64 << 20);
    uint32_t const count = samples->count;
    for (uint32_t i = 0; i < count; i++) {
        const struct sample *const from = &samples->items[i];
        size_t const magic = sizeof EVIDENCE_FILE_MAGIC - 1;
        struct proof *const proof = calloc(1, sizeof *proof);
        CHECK(proof != NULL);
        if (strcmp(from->target, SAMPLE_EVIDENCE) == 0 &&
            proof_decode(proof, &arena,
                         span_of(from->bytes.data + magic, from->bytes.size - magic)) == CODEC_OK &&
            proof->fragment.snapshot.size != 0) {
            struct sample *const sample = sample_add(samples, SAMPLE_SNAPSHOT, "snapshot");
            CHECK(buffer_append(&sample->bytes, proof->fragment.snapshot));
        }
        free(proof);
    }
    arena_free(&arena);
}

/* Statements and messages of replicas, as they lie in a ledger. */
static void make_peer_frames(struct samples *samples, const struct forge *forge) {
    struct entry *const entries = calloc(forge_entry_count(forge), sizeof *entries);
    CHECK(entries != NULL);
    uint32_t const count = (uint32_t)forge_entry_count(forge);
    for (uint32_t i = 0; i < count; i++) {
        entries[i] = forge_entry_at(forge, i);
    }
    struct range_message const range = {
        .first_entry = 1, .count = count - 1, .entries = &entries[1]};
    CHECK(range_message_encode(kinded(samples, SAMPLE_PEER, "range", MESSAGE_RANGE), &range));
    const struct forge_batch *const batch = forge_batch_at(forge, 1);
    struct digest const digest = batch->digest;
    struct pre_prepare_message const proposal = {
        .statement = {.body = buffer_span(&batch->statement), .signature = batch->signature},
        .request_count = 1,
        .request_digests = &digest};
    CHECK(pre_prepare_message_encode(
        kinded(samples, SAMPLE_PEER, "pre-prepare", MESSAGE_PRE_PREPARE), &proposal));
    struct signed_body prepare;
    struct buffer body;
    buffer_init(&body, STATEMENT_SIZE_MAX);
    prepare_of(samples, forge, 1, &prepare, &body);
    CHECK(signed_encode(kinded(samples, SAMPLE_PEER, "prepare", MESSAGE_PREPARE), &prepare));
    buffer_free(&body);
    struct commit_message const commit = {.config = 1, .view = 0, .seq = 1, .replica = 1};
    CHECK(commit_message_encode(kinded(samples, SAMPLE_PEER, "commit", MESSAGE_COMMIT), &commit));
    struct status_message const status = {.config = 1, .executed_seq = 7};
    CHECK(status_message_encode(kinded(samples, SAMPLE_PEER, "status", MESSAGE_STATUS), &status));
    free(entries);
}

static void make_view_frames(struct samples *samples) {
    struct forge forge;
    forge_init(&forge, &samples->consortium);
    struct story story = {.forge = &forge, .random = SEED};
    story_append_honest(&story, 5);
    forge_change_view(&forge, &(struct forge_view_order){.view = 1});
    struct forge_view view;
    memcpy(&view, forge.views.data, sizeof view);
    struct entry const set = forge_entry_at(&forge, view.first_entry);
    struct entry const statement = forge_entry_at(&forge, view.first_entry + 1);
    struct new_view_message const message = {.set = set.payload, .new_view = statement.payload};
    CHECK(new_view_message_encode(kinded(samples, SAMPLE_PEER, "new-view", MESSAGE_NEW_VIEW),
                                  &message));
    struct arena arena;
    struct view_change_set decoded;
    arena_init(&arena, (size_t)16 << 20);
    CHECK(view_change_set_decode(&decoded, &arena, set.payload) == CODEC_OK);
    CHECK(signed_encode(kinded(samples, SAMPLE_PEER, "view-change", MESSAGE_VIEW_CHANGE),
                        &decoded.view_changes[0]));
    arena_free(&arena);
    forge_free(&forge);
}

/* What clients are answered. */
static void make_replies(struct samples *samples, const struct forge *forge) {
    const struct forge_batch *const batch = forge_batch_at(forge, 1);
    struct digest const id = batch->digest;
    struct span const outcome = span_text("outcome");
    struct buffer certificate;
    buffer_init(&certificate, COMMIT_CERTIFICATE_SIZE_MAX);
    forge_certificate(forge, 1, &certificate);
    struct request_result const result = {.request_id = id,
                                          .first_index = 1,
                                          .outcome_count = 1,
                                          .outcomes = &outcome,
                                          .flank_count = 1,
                                          .flanks = &id};
    struct reply_message const reply = {
        .seq = 1, .pre_prepare_digest = id, .signature = batch->signature};
    struct result_message const results = {
        .pre_prepare = {.body = buffer_span(&batch->statement), .signature = batch->signature},
        .count = 1,
        .results = &result};
    struct reject_message const reject = {.request_id = id, .reason = REJECT_BUSY};
    struct status_reply_message const status = {.service = id, .last_error = span_text("why")};
    struct receipt_reply_message const receipt = {
        .request_id = id, .certificate = buffer_span(&certificate), .result = result};
    CHECK(
        reply_message_encode(kinded(samples, SAMPLE_CLIENT, "reply", MESSAGE_REPLY), &reply) &&
        result_message_encode(kinded(samples, SAMPLE_CLIENT, "result", MESSAGE_RESULT), &results) &&
        reject_message_encode(kinded(samples, SAMPLE_CLIENT, "reject", MESSAGE_REJECT), &reject) &&
        status_reply_message_encode(
            kinded(samples, SAMPLE_CLIENT, "status-reply", MESSAGE_STATUS_REPLY), &status) &&
        receipt_reply_message_encode(
            kinded(samples, SAMPLE_CLIENT, "receipt-reply", MESSAGE_RECEIPT_REPLY), &receipt));
    buffer_free(&certificate);
}

/* What replicas ask each other for. */
static void make_fetch_frames(struct samples *samples, const struct digest *digest,
                              struct span request) {
    struct fetch_requests_message const fetch = {.seq = 1, .digest_count = 1, .digests = digest};
    struct requests_message const requests = {.count = 1, .requests = &request};
    CHECK(fetch_range_message_encode(
              kinded(samples, SAMPLE_PEER, "fetch-range", MESSAGE_FETCH_RANGE), 1) &&
          fetch_requests_message_encode(
              kinded(samples, SAMPLE_PEER, "fetch-requests", MESSAGE_FETCH_REQUESTS), &fetch) &&
          requests_message_encode(kinded(samples, SAMPLE_PEER, "requests", MESSAGE_REQUESTS),
                                  &requests));
}

static void make_client_frames(struct samples *samples, const struct forge *forge) {
    struct batch batch;
    struct arena arena;
    struct request_entry entry;
    batch_init(&batch);
    arena_init(&arena, (size_t)16 << 20);
    forge_read(forge, 1, &batch);
    CHECK(request_entry_decode(&entry, &arena, batch_request_payload(&batch, 0)) == CODEC_OK);
    CHECK(buffer_append(kinded(samples, SAMPLE_CLIENT, "request", MESSAGE_REQUEST), entry.request));
    (void)kinded(samples, SAMPLE_CLIENT, "status-query", MESSAGE_STATUS_QUERY);
    struct digest const id = forge_batch_at(forge, 1)->digest;
    CHECK(receipt_query_encode(
        kinded(samples, SAMPLE_CLIENT, "receipt-query", MESSAGE_RECEIPT_QUERY), &id));
    make_fetch_frames(samples, &id, entry.request);
    make_replies(samples, forge);
    batch_free(&batch);
    arena_free(&arena);
}

/* A user's demand, what it is answered with, and what the user reports. */
static void make_demands(struct samples *samples, const struct forge *forge) {
    const struct digest *const service = &samples->consortium.configuration.service;
    const struct key_pair *const user = &samples->consortium.users[0];
    struct buffer bytes[3];
    struct served_message answer;
    struct demand const demand = {.author = user->key, .deadline_ms = 1, .part = SERVED_ENTRIES};
    for (unsigned i = 0; i < 3; i++) {
        buffer_init(&bytes[i], FRAME_SIZE_MAX);
    }
    CHECK(demand_encode(&bytes[0], &demand));
    struct signed_body const asked = {.body = buffer_span(&bytes[0]),
                                      .signature =
                                          sign_labelled(&user->secret, &user->key, LABEL_DEMAND,
                                                        service, buffer_span(&bytes[0]))};
    CHECK(signed_encode(kinded(samples, SAMPLE_CLIENT, "demand", MESSAGE_DEMAND), &asked));
    answer_of(samples, &(struct handed_over){.forge = forge}, &answer, &bytes[1], &bytes[2]);
    CHECK(served_message_encode(kinded(samples, SAMPLE_CLIENT, "served", MESSAGE_SERVED), &answer));
    struct demand_report *const report = calloc(1, sizeof *report);
    CHECK(report != NULL);
    *report = (struct demand_report){.author = user->key, .deadline_ms = 1, .count = 1};
    report->replicas[0] = (struct asked_replica){
        .state = 3, .demands = 1, .has_demand = true, .demand = asked, .reason = span_text("why")};
    buffer_clear(&bytes[1]);
    CHECK(demand_report_encode(&bytes[1], report));
    struct demand_report_file const file = {
        .genesis = buffer_span(&samples->consortium.genesis_bytes),
        .report = {.body = buffer_span(&bytes[1]),
                   .signature = sign_labelled(&user->secret, &user->key, LABEL_DEMAND_REPORT,
                                              service, buffer_span(&bytes[1]))}};
    struct sample *const sample = sample_add(samples, SAMPLE_REPORT, "report");
    CHECK(buffer_append(&sample->bytes, span_text(DEMAND_REPORT_FILE_MAGIC)) &&
          demand_report_file_encode(&sample->bytes, &file));
    free(report);
    for (unsigned i = 0; i < 3; i++) {
        buffer_free(&bytes[i]);
    }
}

/* ---- governance ---- */

/* One action of each kind, in proposals of which each makes the next constitution. */
static uint32_t make_proposals(struct charter *charter, struct span proposals[4]) {
    struct constitution const founded = charter->now;
    struct parameters const parameters = {5, 20, founded.parameters.window, 300, 1u << 20};
    struct action actions[6];
    actions[0] = charter_named(charter, ACTION_ADD_MEMBER, "bank-z", 5000);
    actions[1] = charter_named(charter, ACTION_ROTATE_MEMBER, "bank-a", 5001);
    actions[2] = charter_named(charter, ACTION_ADD_USER, "dave", 5002);
    actions[3] = charter_named(charter, ACTION_ROTATE_USER, "bob", 5003);
    actions[4] = charter_without(ACTION_REMOVE_USER, "alice");
    proposals[0] = charter_propose(charter, 5, actions);
    charter_pass(charter, proposals[0]);
    actions[0] = charter_replica(charter, &charter->now.replicas[1].identity.key, "bank-b", 5004);
    actions[1] = charter_replica(charter, NULL, "bank-z", 5005);
    actions[2] = (struct action){.kind = ACTION_SET_VOTING_RULE, .rule = {2, 3}};
    proposals[1] = charter_propose(charter, 3, actions);
    charter_pass(charter, proposals[1]);
    actions[0] = charter_replica_gone(&charter->now.replicas[0].identity.key);
    actions[1] = charter_without(ACTION_REMOVE_MEMBER, "bank-a");
    actions[2] = (struct action){.kind = ACTION_SET_PARAMETERS, .parameters = parameters};
    proposals[2] = charter_propose(charter, 3, actions);
    charter->now = founded;
    return 3;
}

/* A file with these links. */
static void make_chain_file(struct samples *samples, const char *name, uint32_t count,
                            const struct span *links) {
    struct buffer *const file = kinded(samples, SAMPLE_GOVERNANCE, name, SAMPLE_CHAIN);
    CHECK(chain_file_begin(file, buffer_span(&samples->consortium.genesis_bytes)));
    for (uint32_t i = 0; i < count; i++) {
        CHECK(chain_file_append(file, links[i]));
    }
}

/* Links with one lie each, that mutations would hardly come upon: all is signed. */
static void make_wrong_links(struct samples *samples, struct charter *charter, struct span proposal,
                             struct span other) {
    struct digest const digest = {{1}};
    struct proposal decoded;
    struct link_order good;
    struct link_order orders[9];
    static const char *const names[9] = {"chain-few-votes",  "chain-other-vote", "chain-stranger",
                                         "chain-vote-twice", "chain-outcome",    "chain-end-kind",
                                         "chain-end-index",  "chain-end-config", "chain-place"};
    charter_order(charter, &good, proposal);
    charter_decode(charter, &decoded, other);
    for (size_t i = 0; i < sizeof orders / sizeof orders[0]; i++) {
        orders[i] = good;
    }
    orders[0].vote_count--;
    orders[1].votes[0].id = &decoded.id;
    orders[2].votes[1].author = &samples->consortium.stranger;
    orders[3].votes[1] = orders[3].votes[0];
    orders[4].constitution = &digest;
    orders[5].end_kind = BATCH_NORMAL;
    orders[6].end_gov_index = good.index + 1;
    orders[7].end_config = 2;
    orders[8].trailing = 1;
    for (size_t i = 0; i < sizeof orders / sizeof orders[0]; i++) {
        struct span const link = charter_link(charter, &orders[i]);
        make_chain_file(samples, names[i], 1, &link);
    }
}

static void make_governance(struct samples *samples) {
    struct charter *const charter = calloc(1, sizeof *charter);
    struct span proposals[4];
    struct span links[4];
    CHECK(charter != NULL);
    charter_found(charter, &samples->consortium);
    uint32_t const count = make_proposals(charter, proposals);
    struct link_order first;
    charter_order(charter, &first, proposals[0]);
    struct span const link = charter_link(charter, &first);
    make_chain_file(samples, "chain-one", 1, &link);
    make_wrong_links(samples, charter, proposals[0], proposals[1]);
    for (uint32_t i = 0; i < count; i++) {
        struct link_order order;
        charter_order(charter, &order, proposals[i]);
        links[i] = charter_link(charter, &order);
        CHECK(buffer_append(kinded(samples, SAMPLE_GOVERNANCE, "proposal", SAMPLE_PROPOSAL),
                            proposals[i]));
        CHECK(buffer_append(kinded(samples, SAMPLE_GOVERNANCE, "link", SAMPLE_LINK), links[i]));
        charter_pass(charter, proposals[i]);
    }
    make_chain_file(samples, "chain", count, links);
    struct chain_reply_message const reply = {
        .config = (uint64_t)count + 1, .link_count = count, .links = links};
    CHECK(chain_query_encode(kinded(samples, SAMPLE_CLIENT, "chain-query", MESSAGE_CHAIN_QUERY),
                             FOUNDING_CONFIGURATION) &&
          chain_reply_message_encode(
              kinded(samples, SAMPLE_CLIENT, "chain-reply", MESSAGE_CHAIN_REPLY), &reply));
    make_chain_file(samples, "chain-gap", 1, &links[1]);
    charter_free(charter);
    free(charter);
}

/* Of a user, and of a replica that its member has endorsed. */
static void make_credentials(struct samples *samples) {
    const struct consortium *const consortium = &samples->consortium;
    struct problem problem = {.code = EXIT_OK};
    struct credential credential = {.service = consortium->genesis.service, .role = HOLDER_USER};
    struct key_pair const fresh = key_pair_of(9001);
    CHECK(credential_set_name(&credential, "bank-a", &problem) == 0);
    CHECK(credential_possess(&credential, &fresh.secret, &fresh.key, &problem) == 0);
    struct sample *const user = sample_add(samples, SAMPLE_CREDENTIAL, "user");
    CHECK(credential_format(&user->bytes, &credential));
    credential.role = HOLDER_REPLICA;
    CHECK(credential_set_addresses(&credential, "a.example:7400", "[::1]:7401", &problem) == 0);
    CHECK(credential_possess(&credential, &fresh.secret, &fresh.key, &problem) == 0);
    CHECK(credential_endorse(&credential, &consortium->members[0].secret,
                             &consortium->members[0].key, &problem) == 0);
    struct sample *const replica = sample_add(samples, SAMPLE_CREDENTIAL, "replica");
    CHECK(credential_format(&replica->bytes, &credential));
}

/* Made of the samples that are there: a receipt, and the links in their order. */
static void make_linked_files(struct samples *samples) {
    struct buffer *const one = &sample_add(samples, SAMPLE_LINKED, "linked-receipt")->bytes;
    struct buffer *const many = &sample_add(samples, SAMPLE_LINKED, "linked-receipts")->bytes;
    uint8_t header[5] = {4}; /* a record with a link */
    CHECK(buffer_append(many, span_text(RECEIPTS_FILE_MAGIC)) &&
          buffer_append(many, span_of(samples->consortium.genesis.service.bytes, DIGEST_SIZE)));
    for (uint32_t i = 0; i < samples->count; i++) {
        const struct sample *const sample = &samples->items[i];
        struct span const bytes = buffer_span(&sample->bytes);
        if (strcmp(sample->target, SAMPLE_RECEIPT) == 0 && one->size == 0) {
            CHECK(receipt_file_begin_linked(one, bytes));
        } else if (strcmp(sample->target, SAMPLE_GOVERNANCE) == 0 && bytes.data[0] == SAMPLE_LINK) {
            struct span const link = span_of(bytes.data + 1, bytes.size - 1);
            store_u32_be(header + 1, (uint32_t)link.size);
            CHECK(receipt_file_add_link(one, link) &&
                  buffer_append(many, span_of(header, sizeof header)) && buffer_append(many, link));
        }
    }
}

void samples_make(struct samples *samples, uint32_t seed) {
    *samples = (struct samples){.count = 0};
    samples->items = calloc(SAMPLES_MAX, sizeof *samples->items);
    CHECK(samples->items != NULL);
    consortium_found(&samples->consortium, &(struct consortium_options){.seed = seed});
    make_evidence(samples);
    make_snapshots(samples);
    struct forge forge;
    forge_init(&forge, &samples->consortium);
    struct story story = {.forge = &forge, .random = SEED};
    forge.signers = 0x7;
    story_append(&story, 1, 1, RULE_NONE);
    story_append_honest(&story, 8);
    make_receipts(samples, &forge);
    make_segments(samples, &forge);
    make_peer_frames(samples, &forge);
    make_client_frames(samples, &forge);
    make_demands(samples, &forge);
    forge_free(&forge);
    make_view_frames(samples);
    make_credentials(samples);
    struct sample *const genesis = sample_add(samples, SAMPLE_GENESIS, "genesis");
    CHECK(buffer_append(&genesis->bytes, buffer_span(&samples->consortium.genesis_bytes)));
    make_governance(samples);
    make_linked_files(samples);
    struct buffer *const one = &sample_add(samples, SAMPLE_LINKED, "later-receipt")->bytes;
    struct buffer *const many = &sample_add(samples, SAMPLE_LINKED, "later-receipts")->bytes;
    samples_write_linked(&samples->consortium, one, many);
    make_malformed_later(samples);
}

void samples_free(struct samples *samples) {
    for (uint32_t i = 0; i < samples->count; i++) {
        buffer_free(&samples->items[i].bytes);
    }
    free(samples->items);
    consortium_free(&samples->consortium);
}
