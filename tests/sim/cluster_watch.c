/*
 * cluster_watch: the judge (see cluster.h). What leaves a node is held against all that it ever
 * sent and against its disk at that instant; what it commits against what others committed.
 */
#include <stdlib.h>

#include "base/check.h"
#include "ledger/derive.h"
#include "tests/sim/cluster.h"

static const struct digest no_digest;

static void judge_seq(const struct cluster *cluster, uint64_t seq) {
    if (seq >= CLUSTER_SEQ_MAX) {
        cluster_fail(cluster, "the run is too long to be judged");
    }
}

/* ---- the disk as it is at this instant ---- */

/* Does the durable ledger hold the whole batch `seq` with this pre-prepare? */
static bool ledger_holds(const struct cluster *cluster, uint32_t node, uint64_t seq,
                         const struct digest *pre_prepare) {
    const struct entry_list *const ledger = &cluster->nodes[node].disk.durable;
    uint64_t index = 0;
    uint64_t calls = 0;
    struct pre_prepare body = {.seq = 0};
    for (index = ledger->count; index > 0 && body.seq != seq; index--) {
        const struct entry *const entry = &ledger->items[index - 1];
        struct arena arena;
        struct signed_body statement;
        struct request_entry request;
        arena_init(&arena, 2 * (size_t)ENTRY_SIZE_MAX);
        if (entry->kind == ENTRY_REQUEST) {
            CHECK(request_entry_decode(&request, &arena, entry->payload) == CODEC_OK);
            calls += request.outcome_count;
        } else if (entry->kind == ENTRY_PRE_PREPARE) {
            CHECK(signed_decode(&statement, &arena, entry->payload, STATEMENT_SIZE_MAX) ==
                  CODEC_OK);
            CHECK(pre_prepare_decode(&body, &arena, statement.body) == CODEC_OK);
            struct digest const digest =
                hash_statement(LABEL_PRE_PREPARE, &cluster->configuration->service, statement.body,
                               &statement.signature);
            bool const is_whole = calls == body.tx_count;
            calls = 0;
            if (body.seq == seq) {
                arena_free(&arena);
                return is_whole && digest_equal(&digest, pre_prepare);
            }
        }
        arena_free(&arena);
        if (body.seq != 0 && body.seq < seq) {
            return false;
        }
    }
    return false;
}

/* ---- single vote ---- */

/*
 * One statement for one batch; and as long as there are no view changes, none leaves before the
 * ledger through its batch is durable.
 */
static void judge_vote(struct cluster *cluster, uint32_t node, struct digest *seen, uint64_t seq,
                       struct span statement, const struct digest *pre_prepare) {
    judge_seq(cluster, seq);
    struct digest const digest = hash_bytes(statement);
    if (digest_equal(&seen[seq], &digest)) {
        return; /* said before, and judged then */
    }
    if (!digest_equal(&seen[seq], &no_digest)) {
        cluster_fail(cluster, "node %u signed two statements for batch %llu", node,
                     (unsigned long long)seq);
    }
    seen[seq] = digest;
    if (!ledger_holds(cluster, node, seq, pre_prepare)) {
        cluster_fail(cluster, "node %u signed batch %llu, which may be lost", node,
                     (unsigned long long)seq);
    }
}

static void watch_pre_prepare(struct cluster *cluster, uint32_t node, struct arena *arena,
                              struct span payload) {
    struct pre_prepare_message message;
    struct pre_prepare body;
    if (pre_prepare_message_decode(&message, arena, payload) != CODEC_OK ||
        pre_prepare_decode(&body, arena, message.statement.body) != CODEC_OK) {
        cluster_fail(cluster, "node %u sent a pre-prepare that does not decode", node);
    }
    struct digest const digest =
        hash_statement(LABEL_PRE_PREPARE, &cluster->configuration->service, message.statement.body,
                       &message.statement.signature);
    judge_vote(cluster, node, cluster->nodes[node].pre_prepares, body.seq, payload, &digest);
}

static void watch_prepare(struct cluster *cluster, uint32_t node, struct arena *arena,
                          struct span payload) {
    struct signed_body statement;
    struct prepare body;
    if (signed_decode(&statement, arena, payload, STATEMENT_SIZE_MAX) != CODEC_OK ||
        prepare_decode(&body, arena, statement.body) != CODEC_OK || body.replica != node) {
        cluster_fail(cluster, "node %u sent a prepare that does not decode", node);
    }
    judge_vote(cluster, node, cluster->nodes[node].prepares, body.seq, payload,
               &body.pre_prepare_digest);
}

/* ---- nonces: only for what the disk holds ---- */

static bool certificate_holds(struct cluster *cluster, const struct journal_record *record) {
    uint32_t at = 0;
    struct buffer body;
    buffer_init(&body, STATEMENT_SIZE_MAX);
    bool holds = record->signature_count == cluster->configuration->quorum - 1;
    for (uint32_t r = 0; holds && r < cluster->node_count; r++) {
        if ((record->signers >> r & 1) == 0) {
            continue;
        }
        struct prepare const prepare = {.config = record->config,
                                        .view = record->view,
                                        .seq = record->seq,
                                        .replica = r,
                                        .pre_prepare_digest = record->pre_prepare_digest,
                                        .nonce_hash = record->nonce_hashes[at]};
        buffer_clear(&body);
        CHECK(prepare_encode(&body, &prepare));
        struct sign_check const check = {.key = cluster->configuration->replicas[r].key,
                                         .signature = record->signatures[at],
                                         .body = buffer_span(&body),
                                         .label = LABEL_PREPARE};
        holds = check_holds(cluster, &check);
        at++;
    }
    buffer_free(&body);
    return holds;
}

/* Find the durable record for batch `seq`. Out: digest of its pre-prepare. */
static bool journal_holds(struct cluster *cluster, uint32_t node, uint64_t seq,
                          struct digest *pre_prepare) {
    const struct journal_list *const journal = &cluster->nodes[node].disk.journal;
    for (uint64_t i = journal->count; i > 0; i--) {
        struct journal_record record;
        struct arena arena;
        arena_init(&arena, 4 * JOURNAL_RECORD_SIZE_MAX);
        CHECK(journal_record_decode(&record, &arena, journal->items[i - 1]) == CODEC_OK);
        bool const found = record.seq == seq;
        bool const holds = found && certificate_holds(cluster, &record);
        *pre_prepare = record.pre_prepare_digest;
        arena_free(&arena);
        if (found) {
            return holds;
        }
    }
    return false;
}

static void watch_nonce(struct cluster *cluster, uint32_t node, uint64_t seq,
                        const struct nonce *nonce) {
    judge_seq(cluster, seq);
    struct nonce *const seen = &cluster->nodes[node].nonces[seq];
    static const struct nonce no_nonce;
    struct digest pre_prepare;
    if (memcmp(seen, &no_nonce, sizeof *seen) != 0 && memcmp(seen, nonce, sizeof *seen) != 0) {
        cluster_fail(cluster, "node %u revealed two nonces for batch %llu", node,
                     (unsigned long long)seq);
    }
    if (memcmp(seen, nonce, sizeof *seen) == 0) {
        return; /* said before, and judged then */
    }
    *seen = *nonce;
    if (!journal_holds(cluster, node, seq, &pre_prepare)) {
        cluster_fail(cluster,
                     "node %u revealed its nonce for batch %llu before its journal says so", node,
                     (unsigned long long)seq);
    }
    if (!ledger_holds(cluster, node, seq, &pre_prepare)) {
        cluster_fail(cluster, "node %u revealed its nonce for batch %llu, which may be lost", node,
                     (unsigned long long)seq);
    }
}

void watch_sent(struct cluster *cluster, uint32_t node, enum message_kind kind,
                struct span payload) {
    struct arena arena;
    struct commit_message commit;
    struct reply_message reply;
    arena_init(&arena, 8 * payload.size + (64u << 10));
    if (kind == MESSAGE_PRE_PREPARE) {
        watch_pre_prepare(cluster, node, &arena, payload);
    } else if (kind == MESSAGE_PREPARE) {
        watch_prepare(cluster, node, &arena, payload);
    } else if (kind == MESSAGE_COMMIT) {
        CHECK(commit_message_decode(&commit, &arena, payload) == CODEC_OK);
        watch_nonce(cluster, node, commit.seq, &commit.nonce);
    } else if (kind == MESSAGE_REPLY) {
        CHECK(reply_message_decode(&reply, &arena, payload) == CODEC_OK);
        watch_nonce(cluster, node, reply.seq, &reply.nonce);
    }
    arena_free(&arena);
}

/* ---- agreement ---- */

static void judge_batch(struct cluster *cluster, uint32_t node, uint64_t seq) {
    judge_seq(cluster, seq);
    struct digest const digest = checker_pre_prepare_digest(cluster->nodes[node].checker, seq);
    struct digest *const agreed = &cluster->agreed[seq];
    if (digest_equal(agreed, &no_digest)) {
        *agreed = digest;
    } else if (!digest_equal(agreed, &digest)) {
        cluster_fail(cluster, "node %u committed another batch %llu", node,
                     (unsigned long long)seq);
    }
    if (seq > cluster->committed_seq) {
        cluster->committed_seq = seq;
    }
}

/* The ledger up to the last committed batch is the same for all, byte for byte. */
static void judge_entries(struct cluster *cluster, uint32_t node, uint64_t upto) {
    struct node *const at = &cluster->nodes[node];
    for (; at->judged_entries < upto; at->judged_entries++) {
        const struct entry *const entry = &at->disk.live.items[at->judged_entries];
        while (cluster->canonical.count < at->judged_entries) {
            entry_push(&cluster->canonical, &at->disk.live.items[cluster->canonical.count]);
        }
        if (at->judged_entries == cluster->canonical.count) {
            entry_push(&cluster->canonical, entry);
            continue;
        }
        const struct entry *const other = &cluster->canonical.items[at->judged_entries];
        if (entry->kind != other->kind || !span_equal(entry->payload, other->payload)) {
            cluster_fail(cluster, "entry %llu of node %u is not that of the others: %u, %zu bytes",
                         (unsigned long long)at->judged_entries, node, entry->kind,
                         entry->payload.size);
        }
    }
}

void watch_node(struct cluster *cluster, uint32_t node) {
    struct node *const at = &cluster->nodes[node];
    struct replica_status status;
    replica_check_invariants(at->replica);
    replica_status(at->replica, &status);
    if (status.committed_seq == at->judged_seq) {
        return;
    }
    cluster_trace(cluster, "%u committed %llu, executed %llu", node,
                  (unsigned long long)status.committed_seq,
                  (unsigned long long)status.executed_seq);
    for (; at->judged_seq < status.committed_seq; at->judged_seq++) {
        judge_batch(cluster, node, at->judged_seq + 1);
    }
    const struct ledger_position *const committed =
        checker_position_at(at->checker, status.committed_seq);
    CHECK(committed != NULL && committed->entries <= at->disk.live.count);
    judge_entries(cluster, node, committed->entries);
}

void watch_checkpoint(struct cluster *cluster, uint64_t seq, const struct digest *root) {
    judge_seq(cluster, seq);
    struct digest *const seen = &cluster->checkpoints[seq];
    if (!digest_equal(seen, &no_digest) && !digest_equal(seen, root)) {
        cluster_fail(cluster, "two states after batch %llu", (unsigned long long)seq);
    }
    *seen = *root;
}

/* ---- the whole ledger, at the end ---- */

static int id_compare(const void *a, const void *b) {
    return memcmp(a, b, DIGEST_SIZE);
}

/* Every request once; and what clients have receipts for is there. */
static void judge_requests(struct cluster *cluster) {
    struct digest *const ids = calloc(cluster->canonical.count + 1, sizeof *ids);
    uint64_t count = 0;
    CHECK(ids != NULL);
    for (uint64_t i = 1; i < cluster->canonical.count; i++) {
        const struct entry *const entry = &cluster->canonical.items[i];
        struct request_entry body;
        struct request request;
        struct arena arena;
        arena_init(&arena, 2 * (size_t)ENTRY_SIZE_MAX);
        if (entry->kind == ENTRY_REQUEST) {
            CHECK(request_entry_decode(&body, &arena, entry->payload) == CODEC_OK);
            CHECK(request_decode(&request, &arena, &cluster->configuration->service,
                                 body.request) == CODEC_OK);
            ids[count++] = request.id;
        }
        arena_free(&arena);
    }
    qsort(ids, count, sizeof *ids, id_compare);
    for (uint64_t i = 1; i < count; i++) {
        if (digest_equal(&ids[i - 1], &ids[i])) {
            cluster_fail(cluster, "a request was executed twice");
        }
    }
    for (uint32_t i = 0; i < cluster->request_count; i++) {
        const struct client_request *const request = &cluster->requests[i];
        if (request->done && bsearch(&request->id, ids, count, sizeof *ids, id_compare) == NULL) {
            cluster_fail(cluster, "request %u has a receipt and is not in the ledger", i);
        }
    }
    free(ids);
}

void watch_end(struct cluster *cluster) {
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        if (cluster->nodes[i].replica != NULL) {
            watch_node(cluster, i);
        }
    }
    judge_requests(cluster);
}
