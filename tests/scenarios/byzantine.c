/*
 * byzantine: up to f replicas that lie. What the others sign, commit and keep as evidence
 * (protocol §3 to §5).
 */
#include <criterion/criterion.h>
#include <stdio.h>

#include "ledger/derive.h"
#include "tests/sim/meddler.h"

static void put_some(struct cluster *c, unsigned count) {
    char call[64];
    for (unsigned i = 0; i < count; i++) {
        (void)snprintf(call, sizeof call, "kv.put k%u v%u", i % 5, i);
        cluster_submit(c, call);
        cluster_run_ms(c, 12);
    }
}

static struct cluster *begin(struct meddler *meddler, uint64_t seed) {
    struct cluster *const c = cluster_new(&(struct cluster_options){.seed = seed});
    put_some(c, 3);
    cluster_run_until_done(c, 500);
    meddler_attach(meddler, c);
    return c;
}

/* The same where a replica's key is used for lies: the judge lets it pass. */
static struct cluster *begin_with_liar(struct meddler *meddler, uint64_t seed, uint32_t liar) {
    struct cluster *const c = begin(meddler, seed);
    c->nodes[liar].byzantine = true;
    return c;
}

/* Is this request in a node's ledger? */
static bool is_executed(const struct cluster *c, uint32_t node, uint32_t request) {
    const struct entry_list *const ledger = &c->nodes[node].disk.live;
    const struct span bytes = c->requests[request].bytes;
    for (uint64_t i = 0; i < ledger->count; i++) {
        const struct span payload = ledger->items[i].payload;
        if (ledger->items[i].kind == ENTRY_REQUEST &&
            memmem(payload.data, payload.size, bytes.data, bytes.size) != NULL) {
            return true;
        }
    }
    return false;
}

/* ---- a primary that breaks one rule ---- */

/* What a rewriter of pre-prepares works on. */
struct made_up {
    struct pre_prepare_message message;
    struct pre_prepare body;
};

static struct made_up decode_proposal(struct cluster *c, const struct frame *frame) {
    struct made_up proposal;
    cr_assert(pre_prepare_message_decode(&proposal.message, &c->arena, frame->payload) == CODEC_OK);
    cr_assert(pre_prepare_decode(&proposal.body, &c->arena, proposal.message.statement.body) ==
              CODEC_OK);
    return proposal;
}

static bool sign_proposal(struct cluster *c, const struct frame *frame, struct buffer *out,
                          const struct made_up *proposal) {
    puppet_pre_prepare(out, c, frame->from, &proposal->body, &proposal->message);
    return true;
}

#define BREAKS(name, change)                                                                       \
    static bool name(struct cluster *c, const struct frame *frame, struct buffer *out) {           \
        struct made_up p = decode_proposal(c, frame);                                              \
        change;                                                                                    \
        return sign_proposal(c, frame, out, &p);                                                   \
    }

BREAKS(wrong_ledger_root, p.body.ledger_root.bytes[0] ^= 1)
BREAKS(wrong_ledger_leaves, p.body.ledger_leaves++)
BREAKS(wrong_batch_root, p.body.batch_root.bytes[31] ^= 1)
BREAKS(wrong_view_start, p.body.view_start = 1)
BREAKS(wrong_first_index, p.body.first_index++)
BREAKS(wrong_tx_count, p.body.tx_count++)
BREAKS(wrong_kind, p.body.kind = BATCH_END_OF_CONFIGURATION)
BREAKS(wrong_governance_index, p.body.gov_index = 1)
BREAKS(wrong_checkpoint_sequence, p.body.checkpoint_seq = 9)
BREAKS(wrong_checkpoint_digest, p.body.checkpoint_digest.bytes[5] ^= 1)
BREAKS(time_running_back, p.body.time_ms = 1)

/* Evidence changed, and the root of the ledger with it, so that it is what was signed. */
static void replace_evidence(struct cluster *c, struct made_up *p,
                             const struct evidence *evidence) {
    struct buffer encoded;
    const struct ledger_position *const now = checker_position(c->nodes[1].checker);
    struct frontier frontier = now->frontier;
    cr_assert(now->seq + 1 == p->body.seq);
    buffer_init(&encoded, EVIDENCE_SIZE_MAX);
    p->message.evidence = (struct span){0};
    if (evidence != NULL) {
        cr_assert(evidence_encode(&encoded, evidence));
        p->message.evidence = cluster_keep(c, buffer_span(&encoded));
        struct digest const leaf = ledger_leaf(ENTRY_EVIDENCE, p->message.evidence);
        frontier_append(&frontier, &leaf);
    }
    p->body.ledger_root = frontier_root(&frontier);
    p->body.ledger_leaves = frontier.leaf_count;
    buffer_free(&encoded);
}

static struct evidence decode_evidence(struct cluster *c, const struct made_up *p) {
    struct evidence evidence;
    cr_assert(evidence_decode(&evidence, &c->arena, p->message.evidence) == CODEC_OK);
    return evidence;
}

static bool wrong_evidence_signature(struct cluster *c, const struct frame *frame,
                                     struct buffer *out) {
    struct made_up p = decode_proposal(c, frame);
    struct evidence evidence = decode_evidence(c, &p);
    struct signature signatures[REPLICAS_MAX];
    memcpy(signatures, evidence.batches[0].signatures,
           evidence.batches[0].signature_count * sizeof signatures[0]);
    signatures[0].bytes[40] ^= 1;
    evidence.batches[0].signatures = signatures;
    replace_evidence(c, &p, &evidence);
    return sign_proposal(c, frame, out, &p);
}

static bool wrong_evidence_nonce(struct cluster *c, const struct frame *frame, struct buffer *out) {
    struct made_up p = decode_proposal(c, frame);
    struct evidence evidence = decode_evidence(c, &p);
    struct nonce nonces[REPLICAS_MAX];
    memcpy(nonces, evidence.batches[0].nonces, evidence.batches[0].nonce_count * sizeof nonces[0]);
    nonces[0].bytes[0] ^= 1; /* the primary's own comes first */
    evidence.batches[0].nonces = nonces;
    replace_evidence(c, &p, &evidence);
    return sign_proposal(c, frame, out, &p);
}

static bool no_evidence(struct cluster *c, const struct frame *frame, struct buffer *out) {
    struct made_up p = decode_proposal(c, frame);
    replace_evidence(c, &p, NULL);
    return sign_proposal(c, frame, out, &p);
}

static bool wrong_evidence_range(struct cluster *c, const struct frame *frame, struct buffer *out) {
    struct made_up p = decode_proposal(c, frame);
    p.body.evidence_upto = p.body.seq;
    return sign_proposal(c, frame, out, &p);
}

/* One signer too many, and another time one too few. */
static bool wrong_evidence_signers(struct cluster *c, const struct frame *frame,
                                   struct buffer *out) {
    struct made_up p = decode_proposal(c, frame);
    p.body.evidence_signers[0] = 0xf;
    return sign_proposal(c, frame, out, &p);
}

static bool request_twice(struct cluster *c, const struct frame *frame, struct buffer *out) {
    struct made_up p = decode_proposal(c, frame);
    struct digest twice[2];
    cr_assert(p.message.request_count == 1);
    twice[0] = p.message.request_digests[0];
    twice[1] = twice[0];
    p.message.request_digests = twice;
    p.message.request_count = 2;
    return sign_proposal(c, frame, out, &p);
}

static bool leave_request_out(struct cluster *c, const struct frame *frame, struct buffer *out) {
    struct made_up p = decode_proposal(c, frame);
    p.message.request_count = 0;
    return sign_proposal(c, frame, out, &p);
}

/* Every backup refuses, names the rule and signs nothing; the next primary does better. */
static void refused(uint64_t seed, frame_rewriter lie, enum rule rule) {
    struct meddler m;
    struct cluster *const c = begin_with_liar(&m, seed, 0);
    uint64_t const seq = cluster_status(c, 0).executed_seq + 1;
    const struct meddler_rule *const lies =
        meddle(&m, &(struct meddler_rule){MEDDLING_REWRITE, 0, ANYBODY, MESSAGE_PRE_PREPARE, ALWAYS,
                                          lie, 0});
    cluster_submit(c, "kv.put x 1");
    cluster_run_ms(c, 10);
    cr_assert(lies->applied >= 3);
    for (uint32_t node = 1; node < 4; node++) {
        cr_assert(c->nodes[node].notes[NOTE_PRE_PREPARE_REFUSED] == 1, "%s", rule_name(rule));
        cr_assert(c->nodes[node].last_rule == rule, "%s, not %s",
                  rule_name(c->nodes[node].last_rule), rule_name(rule));
        cr_assert(!cluster_has_prepared(c, node, 0, seq));
    }
    cluster_run_until_done(c, 5000);
    for (uint32_t node = 1; node < 4; node++) {
        cr_assert(cluster_status(c, node).view == 1);
    }
    cluster_end(c);
}

Test(byzantine, a_primary_that_breaks_a_rule_is_refused) {
    refused(1, wrong_ledger_root, RULE_LEDGER_ROOT);
    refused(2, wrong_ledger_leaves, RULE_LEDGER_ROOT);
    refused(3, wrong_batch_root, RULE_BATCH_ROOT);
    refused(4, wrong_view_start, RULE_VIEW_START);
    refused(5, wrong_first_index, RULE_FIRST_INDEX);
    refused(6, wrong_tx_count, RULE_TX_COUNT);
    refused(7, wrong_kind, RULE_BATCH_KIND);
    refused(8, wrong_governance_index, RULE_GOVERNANCE_INDEX);
    refused(9, wrong_checkpoint_sequence, RULE_CHECKPOINT_SEQUENCE);
    refused(10, wrong_checkpoint_digest, RULE_CHECKPOINT_DIGEST);
    refused(11, time_running_back, RULE_TIME);
}

Test(byzantine, a_primary_whose_evidence_is_wrong_is_refused) {
    refused(20, wrong_evidence_signature, RULE_EVIDENCE_SIGNATURE);
    refused(21, wrong_evidence_nonce, RULE_EVIDENCE_NONCE);
    refused(22, no_evidence, RULE_EVIDENCE_CONTENT);
    refused(23, wrong_evidence_range, RULE_EVIDENCE_RANGE);
    refused(24, wrong_evidence_signers, RULE_EVIDENCE_SIGNERS);
}

Test(byzantine, a_primary_that_repeats_or_hides_a_request_is_refused) {
    refused(30, request_twice, RULE_BATCH_ROOT);
    refused(31, leave_request_out, RULE_BATCH_ROOT);
}

/* A backup is told of a request that it refused, or that nobody may send: it never votes for it. */
static bool with_a_strangers_request(struct cluster *c, const struct frame *frame,
                                     struct buffer *out) {
    struct made_up p = decode_proposal(c, frame);
    struct digest const digest = c->requests[c->request_count - 1].request.digest;
    struct requests_message const requests = {.count = 1,
                                              .requests = &c->requests[c->request_count - 1].bytes};
    struct buffer payload;
    p.message.request_digests = &digest;
    p.message.request_count = 1;
    buffer_init(&payload, FRAME_SIZE_MAX);
    cr_assert(requests_message_encode(&payload, &requests));
    bool const signed_again = sign_proposal(c, frame, out, &p);
    cluster_forge(c, 0, frame->to, MESSAGE_PRE_PREPARE, buffer_span(out));
    cluster_forge(c, 0, frame->to, MESSAGE_REQUESTS, buffer_span(&payload));
    buffer_clear(out);
    buffer_free(&payload);
    return signed_again;
}

static void never_voted_for(uint64_t seed, bool by_stranger, uint64_t min_index) {
    struct meddler m;
    struct cluster *const c = begin_with_liar(&m, seed, 0);
    const char *const call = "kv.put evil 1";
    meddle(&m, &(struct meddler_rule){MEDDLING_REWRITE, 0, ANYBODY, MESSAGE_PRE_PREPARE, ALWAYS,
                                      with_a_strangers_request, 0});
    cluster_submit(c, "kv.put x 1");
    uint32_t const evil = cluster_prepare_order(
        c, 0,
        &(struct order){.author = by_stranger ? &c->consortium.stranger : NULL,
                        .min_index = min_index,
                        .call_count = 1,
                        .calls = &call});
    c->requests[evil].abandoned = true;
    cluster_run_until_done(c, 5000);
    cluster_run_ms(c, 3000);
    for (uint32_t node = 1; node < 4; node++) {
        cr_assert(!is_executed(c, node, evil));
    }
    cluster_end(c);
}

Test(byzantine, a_request_of_a_stranger_is_never_voted_for) {
    never_voted_for(40, true, 0);
}

Test(byzantine, a_request_before_its_time_is_never_voted_for) {
    never_voted_for(41, false, 100);
}

Test(byzantine, a_request_that_can_never_be_executed_is_never_voted_for) {
    never_voted_for(42, false, UINT64_MAX >> 1);
}

/* ---- a primary that says two things ---- */

static bool later(struct cluster *c, const struct frame *frame, struct buffer *out) {
    struct made_up p = decode_proposal(c, frame);
    p.body.time_ms++;
    return sign_proposal(c, frame, out, &p);
}

/* Both to everybody: the first counts, the second is evidence. */
static bool both(struct cluster *c, const struct frame *frame, struct buffer *out) {
    cluster_forge(c, frame->from, frame->to, MESSAGE_PRE_PREPARE, frame->payload);
    return later(c, frame, out);
}

Test(byzantine, a_primary_that_says_two_things_leaves_evidence) {
    struct meddler m;
    struct cluster *const c = begin_with_liar(&m, 50, 0);
    meddle(&m,
           &(struct meddler_rule){MEDDLING_REWRITE, 0, ANYBODY, MESSAGE_PRE_PREPARE, 3, both, 0});
    cluster_submit(c, "kv.put x 1");
    cluster_run_until_done(c, 500);
    for (uint32_t node = 1; node < 4; node++) {
        cr_assert(c->nodes[node].evidence_count == 1);
        cr_assert(c->nodes[node].notes[NOTE_CONFLICT] == 1);
    }
    cluster_run_until_level(c, 1000);
    cluster_end(c);
}

/* One thing to some, another to one: the majority goes on, and the one follows in the end. */
Test(byzantine, a_primary_that_tells_one_backup_otherwise) {
    struct meddler m;
    struct cluster *const c = begin_with_liar(&m, 51, 0);
    uint64_t const committed = cluster_committed(c, 1);
    meddle(&m, &(struct meddler_rule){MEDDLING_REWRITE, 0, 3, MESSAGE_PRE_PREPARE, 1, later, 0});
    put_some(c, 20);
    cluster_run_until_done(c, 500);
    cr_assert(cluster_committed(c, 1) > committed + 15);
    cluster_run_until_level(c, 5000);
    cluster_end(c);
}

/* Half and half: nobody commits anything in its view, and the next one is another's. */
Test(byzantine, a_primary_that_divides_the_backups_commits_nothing) {
    struct meddler m;
    struct cluster *const c = begin_with_liar(&m, 52, 0);
    cluster_run_ms(c, 300);
    uint64_t const committed = cluster_committed(c, 1);
    meddle(&m,
           &(struct meddler_rule){MEDDLING_REWRITE, 0, 2, MESSAGE_PRE_PREPARE, ALWAYS, later, 0});
    meddle(&m,
           &(struct meddler_rule){MEDDLING_REWRITE, 0, 3, MESSAGE_PRE_PREPARE, ALWAYS, later, 0});
    cluster_submit(c, "kv.put x 1");
    cluster_run_until_done(c, 10000);
    for (uint32_t node = 1; node < 4; node++) {
        cr_assert(cluster_status(c, node).view >= 1);
        uint64_t const entry = entry_find(&c->nodes[node].disk.live, committed + 1);
        cr_assert(c->nodes[node].disk.live.marks[entry].facts->view >= 1);
    }
    cluster_end(c);
}

/* ---- a backup that lies: node 3's messages are rewritten on their way ---- */

static struct prepare decode_prepare(struct cluster *c, const struct frame *frame) {
    struct signed_body statement;
    struct prepare prepare;
    cr_assert(signed_decode(&statement, &c->arena, frame->payload, STATEMENT_SIZE_MAX) == CODEC_OK);
    cr_assert(prepare_decode(&prepare, &c->arena, statement.body) == CODEC_OK);
    return prepare;
}

static struct prepare_parts parts_of(const struct prepare *prepare) {
    return (struct prepare_parts){.replica = prepare->replica,
                                  .seq = prepare->seq,
                                  .pre_prepare_digest = prepare->pre_prepare_digest,
                                  .nonce_hash = prepare->nonce_hash};
}

static bool another_digest_first(struct cluster *c, const struct frame *frame, struct buffer *out) {
    struct prepare const prepare = decode_prepare(c, frame);
    struct prepare_parts parts = parts_of(&prepare);
    parts.pre_prepare_digest.bytes[0] ^= 1;
    puppet_prepare(out, c, &parts);
    cluster_forge(c, frame->from, frame->to, MESSAGE_PREPARE, buffer_span(out));
    buffer_clear(out);
    parts = parts_of(&prepare);
    puppet_prepare(out, c, &parts);
    return true;
}

static bool another_digest_after(struct cluster *c, const struct frame *frame, struct buffer *out) {
    struct prepare const prepare = decode_prepare(c, frame);
    struct prepare_parts parts = parts_of(&prepare);
    cluster_forge(c, frame->from, frame->to, MESSAGE_PREPARE, frame->payload);
    parts.pre_prepare_digest.bytes[0] ^= 1;
    puppet_prepare(out, c, &parts);
    return true;
}

static bool another_commitment_after(struct cluster *c, const struct frame *frame,
                                     struct buffer *out) {
    struct prepare const prepare = decode_prepare(c, frame);
    struct prepare_parts parts = parts_of(&prepare);
    cluster_forge(c, frame->from, frame->to, MESSAGE_PREPARE, frame->payload);
    parts.nonce_hash.bytes[0] ^= 1;
    puppet_prepare(out, c, &parts);
    return true;
}

/* The service goes on, and each of the others holds two statements that convict. */
static void convicted(uint64_t seed, frame_rewriter lie) {
    struct meddler m;
    struct cluster *const c = begin_with_liar(&m, seed, 3);
    meddle(&m,
           &(struct meddler_rule){MEDDLING_REWRITE, 3, ANYBODY, MESSAGE_PREPARE, ALWAYS, lie, 0});
    put_some(c, 5);
    cluster_run_until_done(c, 500);
    for (uint32_t node = 0; node < 3; node++) {
        cr_assert(c->nodes[node].evidence_count >= 5);
    }
    cluster_run_until_level(c, 1000);
    cluster_end(c);
}

Test(byzantine, a_backup_that_votes_twice_leaves_evidence) {
    convicted(60, another_digest_first);
    convicted(61, another_digest_after);
    convicted(62, another_commitment_after);
}

/* With one of the honest ones down the liar's vote is needed; the right one counts in the end. */
Test(byzantine, the_right_vote_counts_even_after_a_wrong_one) {
    struct meddler m;
    struct cluster *const c = begin_with_liar(&m, 63, 3);
    cluster_crash(c, 1);
    meddle(&m, &(struct meddler_rule){MEDDLING_REWRITE, 3, ANYBODY, MESSAGE_PREPARE, ALWAYS,
                                      another_digest_first, 0});
    put_some(c, 5);
    cluster_run_until_done(c, 5000);
    cluster_start(c, 1);
    cluster_run_until_level(c, 5000);
    cluster_end(c);
}

static bool another_commitment(struct cluster *c, const struct frame *frame, struct buffer *out) {
    struct prepare const prepare = decode_prepare(c, frame);
    struct prepare_parts parts = parts_of(&prepare);
    parts.nonce_hash.bytes[0] ^= 1;
    puppet_prepare(out, c, &parts);
    return true;
}

/*
 * Node 2 alone is shown a prepare that the liar's nonce does not fit, and with node 1 down it needs
 * that nonce: the primary passes on the prepare that does fit.
 */
Test(byzantine, a_commitment_for_one_replica_alone_leaves_nobody_behind) {
    struct meddler m;
    struct cluster *const c = begin_with_liar(&m, 67, 3);
    cluster_crash(c, 1);
    meddle(&m, &(struct meddler_rule){MEDDLING_REWRITE, 3, 2, MESSAGE_PREPARE, ALWAYS,
                                      another_commitment, 0});
    put_some(c, 3);
    cluster_run_until_done(c, 5000);
    cluster_run_ms(c, 2000);
    cr_assert(cluster_committed(c, 2) == cluster_committed(c, 0));
    cluster_start(c, 1);
    cluster_run_until_level(c, 5000);
    cluster_end(c);
}

static bool another_nonce(struct cluster *c, const struct frame *frame, struct buffer *out) {
    struct commit_message commit;
    cr_assert(commit_message_decode(&commit, &c->arena, frame->payload) == CODEC_OK);
    commit.nonce.bytes[0] ^= 1;
    return commit_message_encode(out, &commit);
}

Test(byzantine, a_nonce_that_was_not_committed_to_counts_for_nothing) {
    struct meddler m;
    struct cluster *const c = begin_with_liar(&m, 64, 3);
    cluster_run_ms(c, 300);
    meddle(&m, &(struct meddler_rule){MEDDLING_REWRITE, 3, ANYBODY, MESSAGE_COMMIT, ALWAYS,
                                      another_nonce, 0});
    put_some(c, 5);
    cluster_run_until_done(c, 500); /* three are enough */
    cr_assert(c->nodes[0].notes[NOTE_NONCE_REFUSED] >= 5);
    cluster_run_ms(c, 500);
    cluster_crash(c, 1);
    uint64_t const committed = cluster_committed(c, 2);
    cluster_submit(c, "kv.put x 1");
    cluster_run_ms(c, 3000);
    cr_assert(cluster_committed(c, 2) == committed); /* two are not */
    meddler_release(&m);
    cluster_run_until_done(c, 20000); /* the right one was said again */
    cluster_end(c);
}

/* Node 3 commits to what node 1 committed to, and reveals what node 1 reveals. */
static struct digest copied_hash;
static struct nonce copied_nonce;
static uint64_t copied_seq;

static bool note_prepare(struct cluster *c, const struct frame *frame, struct buffer *out) {
    struct prepare const prepare = decode_prepare(c, frame);
    struct prepare_parts const parts = {.replica = 3,
                                        .seq = prepare.seq,
                                        .pre_prepare_digest = prepare.pre_prepare_digest,
                                        .nonce_hash = prepare.nonce_hash};
    copied_hash = prepare.nonce_hash;
    puppet_prepare(out, c, &parts);
    for (uint32_t to = 0; to < 3; to++) {
        cluster_forge(c, 3, to, MESSAGE_PREPARE, buffer_span(out));
    }
    return false;
}

static bool note_commit(struct cluster *c, const struct frame *frame, struct buffer *out) {
    struct commit_message commit;
    cr_assert(commit_message_decode(&commit, &c->arena, frame->payload) == CODEC_OK);
    copied_nonce = commit.nonce;
    copied_seq = commit.seq;
    puppet_commit(out, 3, commit.seq, &commit.nonce);
    for (uint32_t to = 0; to < 3; to++) {
        cluster_forge(c, 3, to, MESSAGE_COMMIT, buffer_span(out));
    }
    return false;
}

Test(byzantine, a_copied_commitment_counts_for_nothing) {
    struct meddler m;
    struct cluster *const c =
        cluster_new(&(struct cluster_options){.seed = 65, .puppets = 1u << 3});
    meddler_attach(&m, c);
    meddle(&m, &(struct meddler_rule){MEDDLING_REWRITE, 1, ANYBODY, MESSAGE_PREPARE, ALWAYS,
                                      note_prepare, 0});
    meddle(&m, &(struct meddler_rule){MEDDLING_REWRITE, 1, ANYBODY, MESSAGE_COMMIT, ALWAYS,
                                      note_commit, 0});
    put_some(c, 3);
    cluster_run_until_done(c, 500); /* nodes 0, 1 and 2 are enough */
    cr_assert(c->nodes[0].notes[NOTE_NONCE_REFUSED] >= 3);
    cr_assert(c->nodes[2].notes[NOTE_NONCE_REFUSED] >= 3);
    cluster_run_ms(c, 300);
    uint64_t const committed = cluster_committed(c, 0);
    cluster_crash(c, 2);
    uint32_t const request = cluster_submit(c, "kv.put x 1");
    c->requests[request].abandoned = true;
    cluster_run_ms(c, 3000);
    cr_assert(cluster_committed(c, 0) == committed && cluster_committed(c, 1) == committed);
    cluster_end(c);
}

/* A statement with a bad signature gets nowhere, whether its author brings it or somebody else. */
Test(byzantine, nobody_speaks_for_another) {
    struct meddler m;
    struct cluster *const c = begin(&m, 66);
    struct digest const digest = {{1}};
    struct buffer payload;
    buffer_init(&payload, STATEMENT_SIZE_MAX);
    puppet_prepare(&payload, c,
                   &(struct prepare_parts){.replica = 2,
                                           .seq = cluster_committed(c, 0) + 1,
                                           .pre_prepare_digest = digest,
                                           .nonce_hash = digest});
    payload.data[payload.size - 1] ^= 1;
    cluster_forge(c, 3, 0, MESSAGE_PREPARE, buffer_span(&payload));
    cluster_forge(c, 2, 1, MESSAGE_PREPARE, buffer_span(&payload));
    put_some(c, 3);
    cluster_run_until_done(c, 500);
    for (uint32_t node = 0; node < 4; node++) {
        cr_assert(c->nodes[node].notes[NOTE_CONFLICT] == 0);
    }
    buffer_free(&payload);
    cluster_end(c);
}
