/*
 * watch_votes: the judge of what leaves a node (see cluster.h): over all bytes a correct key ever
 * sent, across restarts,
 *
 *   - one pre-prepare, one prepare and one nonce for one batch of one view; one new-view of a view;
 *     no nonce twice
 *   - nothing of a view before a record of it, and one of this start, is durable in the journal
 *   - no vote, until a later view, for one of the P batches after what a crash left of the ledger
 *   - no vote for a batch more than P beyond what a recovery from the disk as it is would come to
 *   - no nonce before that recovery would find the very batch, and its certificate in the journal;
 *     or a ledger of a later view, whose rank is higher than what the nonce claims; nor, among the
 *     batches that its view took over, before the certificate for the last of these
 *   - no view-change below a rank that a nonce claims, nor with one that the disk cannot show; and
 *     after one for view v nothing below v, but for nonces whose rank it has stated
 *   - nothing new once the guard is engaged; after an orderly end all votes are in the ledger
 *
 * What was judged once and is said again is not judged again. A node whose disk went back in time
 * is held to the first rule and to its guard alone; and to nothing when somebody else is faulty,
 * too, who could lead it on.
 */
#include "base/check.h"
#include "ledger/codec_view.h"
#include "ledger/derive.h"
#include "tests/sim/cluster.h"

enum saying { SAID_PRE_PREPARE = 1, SAID_PREPARE, SAID_NONCE, SAID_VIEW_CHANGE, SAID_NEW_VIEW };

static const char *saying_name(enum saying saying) {
    switch (saying) {
    case SAID_PRE_PREPARE:
        return "pre-prepare";
    case SAID_PREPARE:
        return "prepare";
    case SAID_NONCE:
        return "nonce";
    case SAID_VIEW_CHANGE:
        return "view-change";
    case SAID_NEW_VIEW:
        return "new-view";
    }
    UNREACHABLE();
}

/* Something that binds whoever says it. */
struct said {
    enum saying saying;
    uint64_t view;
    uint64_t seq; /* of view-changes and new-views: 0 */
    bool from_ledger;
    struct digest digest;
};

static _Noreturn void fail(const struct cluster *cluster, uint32_t number, const struct said *said,
                           const char *what) {
    cluster_fail(cluster, "node %u: its %s for view %llu, batch %llu %s", number,
                 saying_name(said->saying), (unsigned long long)said->view,
                 (unsigned long long)said->seq, what);
}

/* ---- what the journal holds, as far as it is durable ---- */

/* A record that lets this process sign in a view, and one of this very start? */
static bool journal_allows(const struct node *node, uint64_t view) {
    bool started = false;
    /* No record says that a configuration was entered: its view 0 is allowed to who started. */
    bool entered = view != 0 && cluster_view_of(view) == 0;
    for (uint64_t i = node->disk.journal.count; i > 0 && !(started && entered); i--) {
        const struct journal_item *const item = &node->disk.journal.items[i - 1];
        started |= item->kind == JOURNAL_STARTED && item->incarnation == node->incarnation;
        entered |=
            (item->kind == JOURNAL_STARTED || item->kind == JOURNAL_VIEW) && item->view >= view;
    }
    return started && entered;
}

static bool certificate_holds(struct cluster *cluster, const struct journal_record *record) {
    uint32_t at = 0;
    struct buffer body;
    buffer_init(&body, STATEMENT_SIZE_MAX);
    const struct configuration *const configuration =
        cluster_configuration(cluster, record->config);
    bool holds = record->signature_count == configuration->quorum - 1;
    for (uint32_t r = 0; holds && r < configuration->replica_count; r++) {
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
        struct sign_check const check = {.key = configuration->replicas[r].key,
                                         .signature = record->signatures[at],
                                         .body = buffer_span(&body),
                                         .label = LABEL_PREPARE};
        holds = check_holds(cluster, &check);
        at++;
    }
    buffer_free(&body);
    return holds;
}

/*
 * The durable record of a nonce, the last one; earlier: that was there when this process started.
 * Returns: false: there is none. The arena, to be freed in any case, owns what it points to.
 */
static bool nonce_record(struct journal_record *out, struct arena *arena, const struct node *node,
                         const struct rank *rank, bool earlier) {
    const struct journal_list *const journal = &node->disk.journal;
    arena_init(arena, 4 * JOURNAL_RECORD_SIZE_MAX);
    for (uint64_t i = journal->count; i > 0; i--) {
        const struct journal_item *const item = &journal->items[i - 1];
        if (item->kind == JOURNAL_NONCE && item->seq == rank->seq && item->view == rank->view &&
            !(earlier && item->incarnation == node->incarnation)) {
            CHECK(journal_record_decode(out, arena, item->bytes) == CODEC_OK);
            return true;
        }
    }
    return false;
}

/* Is it durable, and does its certificate hold? Out: digest of the pre-prepare it is about. */
static bool journal_has_nonce(struct cluster *cluster, const struct node *node,
                              const struct rank *rank, struct digest *pre_prepare) {
    struct journal_record record;
    struct arena arena;
    bool const found = nonce_record(&record, &arena, node, rank, false);
    if (found) {
        *pre_prepare = record.pre_prepare_digest;
    }
    bool const holds = found && certificate_holds(cluster, &record);
    arena_free(&arena);
    return holds;
}

/* ---- once only ---- */

static bool has_started(const struct node *node) {
    const struct journal_list *const journal = &node->disk.journal;
    for (uint64_t i = journal->count; i > 0; i--) {
        const struct journal_item *const item = &journal->items[i - 1];
        if (item->incarnation != node->incarnation) {
            break;
        }
        if (item->kind == JOURNAL_STARTED) {
            return true;
        }
    }
    return false;
}

/* Has this key said this before? Fails when it said something else instead. */
static bool is_repeated(struct cluster *cluster, uint32_t number, const struct said *said) {
    struct table_key key = {.a = (uint64_t)said->saying,
                            .b = cluster->nodes[number].id,
                            .c = said->view,
                            .d = said->seq};
    bool is_new = false;
    if (said->saying == SAID_VIEW_CHANGE) { /* of these there may be many, each judged once */
        key.d = load_u64_be(said->digest.bytes);
    }
    struct digest *const value = table_at(&cluster->said, &key, &is_new);
    if (!is_new && digest_equal(value, &said->digest)) {
        if (!said->from_ledger && !has_started(&cluster->nodes[number])) {
            fail(cluster, number, said, "leaves again before the journal has this start");
        }
        return true;
    }
    if (!is_new) {
        fail(cluster, number, said, "is not the one that it said before");
    }
    *value = said->digest;
    return false;
}

/*
 * What a crash may have held back until now: a nonce that is journalled, and whose rank the
 * view-change has claimed; and what stands in the ledger, which is passed on as it is.
 */
static bool is_old(const struct node *node, const struct said *said) {
    struct rank const rank = {.view = said->view, .seq = said->seq};
    return said->from_ledger ||
           (said->saying == SAID_NONCE && rank_compare(rank, node->voice.stated) <= 0);
}

/* What holds for everything that is said for the first time. */
static void judge_new(struct cluster *cluster, uint32_t number, const struct said *said) {
    const struct node *const node = &cluster->nodes[number];
    cluster->judgements++;
    if (node->voice.guarded && !said->from_ledger) {
        fail(cluster, number, said, "leaves in spite of the guard");
    }
    if (node->restored) {
        return; /* it forgot what the rest is about */
    }
    /* Each configuration has views of its own: who fell back behind a boundary helps to end it. */
    bool const is_same = same_configuration(said->view, node->voice.asked_view);
    if (is_same && said->view < node->voice.asked_view && !is_old(node, said)) {
        fail(cluster, number, said, "comes after a view-change for a later view");
    }
    if (!journal_allows(node, said->view)) {
        fail(cluster, number, said, "leaves before the journal says so");
    }
}

/* Fills in from a decoded statement: the digest of body and signature. */
static struct digest statement_digest(const struct signed_body *statement) {
    struct hash_state state;
    hash_init(&state);
    hash_update(&state, span_of(statement->signature.bytes, SIGNATURE_SIZE));
    hash_update(&state, statement->body);
    return hash_final(&state);
}

/* ---- what the ledger holds, as far as it is durable ---- */

/* The pre-prepare of a batch, when all of it is durable; or NULL. */
static const struct batch_facts *durable_batch(const struct node *node, uint64_t seq) {
    const struct entry_list *const ledger = &node->disk.durable;
    uint64_t const entry = entry_find(ledger, seq);
    return entry == 0 || entry_batch_end(ledger, seq) == 0 ? NULL : ledger->marks[entry].facts;
}

/* ---- votes ---- */

static void note_vote(struct cluster *cluster, uint32_t number, const struct said *said) {
    struct voice *const voice = &cluster->nodes[number].voice;
    struct rank const rank = {.view = said->view, .seq = said->seq};
    if (rank_compare(rank, voice->vote) > 0) {
        voice->vote = rank;
    }
}

void watch_stopped(struct cluster *cluster, uint32_t number) {
    const struct node *const node = &cluster->nodes[number];
    const struct entry_list *const ledger = &node->disk.durable;
    const struct rank *const vote = &node->voice.vote;
    struct rank const end = {.view = entry_last_view(ledger), .seq = entry_last_whole(ledger)};
    if (node_is_correct(node) && rank_compare(end, *vote) < 0) {
        cluster_fail(cluster,
                     "node %u ends in order, and its ledger lacks its vote for (%llu, %llu)",
                     number, (unsigned long long)vote->view, (unsigned long long)vote->seq);
    }
}

/* How far replicas may reach, in the configuration that this view is of. */
static uint32_t pipeline_of(struct cluster *cluster, uint64_t view) {
    return cluster_configuration(cluster, cluster_config_of(view))->parameters.pipeline;
}

void watch_started(struct cluster *cluster, uint32_t number) {
    struct node *const node = &cluster->nodes[number];
    const struct journal_list *const journal = &node->disk.journal;
    struct voice *const voice = &node->voice;
    voice->barred_view = entry_last_view(&node->disk.durable);
    voice->barred_seq = 0;
    if (journal->count == 0 || journal->items[journal->count - 1].kind == JOURNAL_STOPPED) {
        return;
    }
    for (uint64_t i = 0; i < journal->count; i++) {
        const struct journal_item *const item = &journal->items[i];
        voice->barred_view = item->view > voice->barred_view ? item->view : voice->barred_view;
    }
    voice->barred_seq =
        entry_last_whole(&node->disk.durable) + pipeline_of(cluster, voice->barred_view);
}

/* Did this process find the record of a nonce for this very batch in its journal? */
static bool was_remembered(const struct node *node, const struct said *said,
                           const struct digest *pre_prepare) {
    struct journal_record record;
    struct arena arena;
    bool const remembered =
        nonce_record(&record, &arena, node, &(struct rank){.view = said->view, .seq = said->seq},
                     true) &&
        digest_equal(&record.pre_prepare_digest, pre_prepare);
    arena_free(&arena);
    return remembered;
}

/*
 * What the journal knows of may be said again, or for the first time, if a crash came between the
 * record and the link; anything else may contradict what was forgotten.
 */
static void judge_memory(const struct cluster *cluster, uint32_t number, const struct said *said,
                         const struct digest *pre_prepare) {
    const struct node *const node = &cluster->nodes[number];
    if (!node->restored && !said->from_ledger && said->view <= node->voice.barred_view &&
        same_configuration(said->view, node->voice.barred_view) &&
        said->seq <= node->voice.barred_seq && !was_remembered(node, said, pre_prepare)) {
        fail(cluster, number, said, "is for a place where it may have forgotten another");
    }
}

static void judge_reach(struct cluster *cluster, uint32_t number, const struct said *said) {
    const struct node *const node = &cluster->nodes[number];
    uint64_t const end = entry_last_whole(&node->disk.durable);
    if (!node->restored && said->seq > end + pipeline_of(cluster, said->view)) {
        cluster_trace(cluster, "%u: durable up to batch %llu", number, (unsigned long long)end);
        fail(cluster, number, said, "is too far beyond what is durable");
    }
}

static void judge_pre_prepare(struct cluster *cluster, uint32_t number, struct arena *arena,
                              const struct signed_body *statement, bool from_ledger) {
    struct pre_prepare body;
    if (pre_prepare_decode(&body, arena, statement->body) != CODEC_OK) {
        cluster_fail(cluster, "node %u sent a pre-prepare that does not decode", number);
    }
    struct said const said = {.saying = SAID_PRE_PREPARE,
                              .view = cluster_view(body.config, body.view),
                              .seq = body.seq,
                              .from_ledger = from_ledger,
                              .digest = statement_digest(statement)};
    bool const is_own =
        cluster_primary(cluster, body.config, body.view) == cluster->nodes[number].id;
    if (is_own && !is_repeated(cluster, number, &said)) {
        judge_new(cluster, number, &said);
        judge_memory(cluster, number, &said, &said.digest);
        judge_reach(cluster, number, &said);
        note_vote(cluster, number, &said);
    }
}

static void watch_prepare(struct cluster *cluster, uint32_t number, struct arena *arena,
                          struct span payload) {
    struct signed_body statement;
    struct prepare body;
    if (signed_decode(&statement, arena, payload, STATEMENT_SIZE_MAX) != CODEC_OK ||
        prepare_decode(&body, arena, statement.body) != CODEC_OK) {
        cluster_fail(cluster, "node %u sent a prepare that does not decode", number);
    }
    if (body.replica != cluster_position(cluster, body.config, cluster->nodes[number].id)) {
        return; /* passed on */
    }
    struct said const said = {.saying = SAID_PREPARE,
                              .view = cluster_view(body.config, body.view),
                              .seq = body.seq,
                              .digest = statement_digest(&statement)};
    if (!is_repeated(cluster, number, &said)) {
        judge_new(cluster, number, &said);
        judge_memory(cluster, number, &said, &body.pre_prepare_digest);
        judge_reach(cluster, number, &said);
        note_vote(cluster, number, &said);
    }
}

bool cluster_has_prepared(const struct cluster *cluster, uint32_t node, uint64_t view,
                          uint64_t seq) {
    struct table_key const key = {
        .a = SAID_PREPARE, .b = cluster->nodes[node].id, .c = view, .d = seq};
    return table_find(&cluster->said, &key) != NULL;
}

/* ---- nonces: only for what the disk holds ---- */

/* Nobody, and nowhere, reveals a nonce again. */
static void judge_secret(struct cluster *cluster, uint32_t number, const struct said *said) {
    struct table_key const key = table_key_of(&said->digest);
    struct digest place = {{0}};
    bool is_new = false;
    struct digest *const value = table_at(&cluster->secrets, &key, &is_new);
    store_u32_be(place.bytes, cluster->nodes[number].id);
    store_u64_be(place.bytes + 4, said->view);
    store_u64_be(place.bytes + 12, said->seq);
    if (!is_new && !digest_equal(value, &place)) {
        fail(cluster, number, said, "was used before");
    }
    *value = place;
}

/*
 * A nonce claims all that its view took over: the certificate for the end of that must be kept,
 * by the journal or as evidence in the ledger.
 */
static void judge_anchor(struct cluster *cluster, uint32_t number, const struct said *said,
                         uint64_t view_start) {
    const struct node *const node = &cluster->nodes[number];
    const struct journal_list *const journal = &node->disk.journal;
    const struct batch_facts *const last =
        durable_batch(node, entry_last_whole(&node->disk.durable));
    bool is_kept = said->seq >= view_start || (last != NULL && last->evidence_upto >= view_start);
    for (uint64_t i = journal->count; i > 0 && !is_kept; i--) {
        const struct journal_item *const item = &journal->items[i - 1];
        is_kept = (item->kind == JOURNAL_NONCE || item->kind == JOURNAL_PREPARED) &&
                  item->view == said->view && item->seq >= view_start;
    }
    if (!is_kept) {
        fail(cluster, number, said, "leaves before the certificate for what its view took over");
    }
}

static void judge_nonce(struct cluster *cluster, uint32_t number, const struct said *said) {
    struct node *const node = &cluster->nodes[number];
    struct digest pre_prepare;
    if (is_repeated(cluster, number, said)) {
        return;
    }
    judge_new(cluster, number, said);
    judge_secret(cluster, number, said);
    if (node->restored) {
        return;
    }
    if (!journal_has_nonce(cluster, node, &(struct rank){.view = said->view, .seq = said->seq},
                           &pre_prepare)) {
        fail(cluster, number, said, "leaves without its record in the journal");
    }
    struct rank rank = {.view = said->view, .seq = said->seq};
    const struct batch_facts *const facts = durable_batch(node, said->seq);
    if (facts != NULL && digest_equal(&facts->digest, &pre_prepare)) {
        rank.seq = facts->view_start > said->seq ? facts->view_start : said->seq;
        judge_anchor(cluster, number, said, facts->view_start);
    } else if (entry_last_view(&node->disk.durable) <= said->view) {
        fail(cluster, number, said, "leaves before its batch is durable");
    }
    if (rank_compare(rank, node->voice.rank) > 0) {
        node->voice.rank = rank;
    }
}

/*
 * Of which view is a batch's nonce? Behind a boundary the disk may have another copy of the batch
 * than the evidence is about (§9): one that was revealed before tells for which.
 */
static uint64_t view_of_nonce(const struct cluster *cluster, uint32_t number,
                              const struct digest *nonce, const struct batch_facts *on_disk) {
    struct table_key const key = table_key_of(nonce);
    const struct digest *const place = table_find(&cluster->secrets, &key);
    bool const is_its = place != NULL && load_u32_be(place->bytes) == cluster->nodes[number].id &&
                        load_u64_be(place->bytes + 12) == on_disk->seq;
    return is_its ? load_u64_be(place->bytes + 4) : on_disk->view;
}

/* Its own nonces that leave in the evidence before its pre-prepare. */
static void judge_evidence(struct cluster *cluster, uint32_t number, struct arena *arena,
                           const struct pre_prepare_message *message) {
    const struct node *const node = &cluster->nodes[number];
    struct pre_prepare body;
    struct evidence evidence;
    if (message->evidence.size == 0) {
        return;
    }
    CHECK(evidence_decode(&evidence, arena, message->evidence) == CODEC_OK &&
          pre_prepare_decode(&body, arena, message->statement.body) == CODEC_OK);
    for (uint32_t i = 0; i < evidence.batch_count && i < body.evidence_count; i++) {
        const struct batch_evidence *const batch = &evidence.batches[i];
        uint64_t const entry = entry_find(&node->disk.live, batch->seq);
        uint64_t const signers = body.evidence_signers[i];
        uint32_t const position =
            cluster_position(cluster, cluster_config_at(cluster, batch->seq), node->id);
        if (entry == 0 || position == REPLICAS_MAX || (signers >> position & 1) == 0 ||
            node->disk.live.marks[entry].facts->view > cluster_view(body.config, body.view)) {
            continue; /* the last: it left late, and the batch has been proposed again since */
        }
        uint64_t const before = signers & ((UINT64_C(1) << position) - 1);
        struct said said = {.saying = SAID_NONCE, .seq = batch->seq, .from_ledger = true};
        memcpy(said.digest.bytes, batch->nonces[__builtin_popcountll(before)].bytes, NONCE_SIZE);
        said.view =
            view_of_nonce(cluster, number, &said.digest, node->disk.live.marks[entry].facts);
        judge_nonce(cluster, number, &said);
    }
}

static void watch_pre_prepare(struct cluster *cluster, uint32_t number, struct arena *arena,
                              struct span payload) {
    struct pre_prepare_message message;
    if (pre_prepare_message_decode(&message, arena, payload) != CODEC_OK) {
        cluster_fail(cluster, "node %u sent a pre-prepare that does not decode", number);
    }
    judge_pre_prepare(cluster, number, arena, &message.statement, false);
    judge_evidence(cluster, number, arena, &message);
}

static void watch_commit(struct cluster *cluster, uint32_t number, struct arena *arena,
                         struct span payload) {
    struct commit_message commit;
    struct said said = {.saying = SAID_NONCE};
    CHECK(commit_message_decode(&commit, arena, payload) == CODEC_OK);
    if (commit.replica != cluster_position(cluster, commit.config, cluster->nodes[number].id)) {
        return; /* passed on */
    }
    said.view = cluster_view(commit.config, commit.view);
    said.seq = commit.seq;
    memcpy(said.digest.bytes, commit.nonce.bytes, NONCE_SIZE);
    judge_nonce(cluster, number, &said);
}

/*
 * A reply does not say of which configuration its batch is. It may have waited for the disk until
 * another batch of this number began the next one.
 */
static uint64_t config_of_reply(const struct cluster *cluster, uint32_t number,
                                const struct reply_message *reply) {
    uint64_t const latest = cluster_config_at(cluster, reply->seq);
    for (uint64_t config = latest; config >= 1; config--) {
        struct table_key const key = {.a = SAID_NONCE,
                                      .b = cluster->nodes[number].id,
                                      .c = cluster_view(config, reply->view),
                                      .d = reply->seq};
        const struct digest *const said = table_find(&cluster->said, &key);
        if (said != NULL && memcmp(said->bytes, reply->nonce.bytes, NONCE_SIZE) == 0) {
            return config;
        }
    }
    /* It says this for the first time, of a batch that it has. */
    const struct entry_list *const live = &cluster->nodes[number].disk.live;
    uint64_t const entry = entry_find(live, reply->seq);
    uint64_t const view = entry == 0 ? 0 : live->marks[entry].facts->view;
    bool const is_it = entry != 0 && cluster_view_of(view) == reply->view;
    return is_it ? cluster_config_of(view) : latest;
}

static void watch_reply(struct cluster *cluster, uint32_t number, struct arena *arena,
                        struct span payload) {
    struct reply_message reply;
    struct said said = {.saying = SAID_NONCE};
    CHECK(reply_message_decode(&reply, arena, payload) == CODEC_OK);
    said.view = cluster_view(config_of_reply(cluster, number, &reply), reply.view);
    said.seq = reply.seq;
    memcpy(said.digest.bytes, reply.nonce.bytes, NONCE_SIZE);
    judge_nonce(cluster, number, &said);
}

/* ---- changes of view ---- */

static struct rank rank_stated(struct cluster *cluster, uint32_t number, struct arena *arena,
                               const struct view_change *change) {
    struct pre_prepare last;
    if (change->chain_count == 0) {
        return (struct rank){.view = cluster_view(change->config, 0), .seq = 0};
    }
    if (pre_prepare_decode(&last, arena, change->chain[change->chain_count - 1].pre_prepare.body) !=
        CODEC_OK) {
        cluster_fail(cluster, "node %u shows a chain that does not decode", number);
    }
    return (struct rank){.view = cluster_view(last.config, last.view), .seq = last.seq};
}

/* Could it give the batches of the chain that it shows, if all power failed now? */
static void judge_backing(struct cluster *cluster, uint32_t number, const struct said *said,
                          const struct view_change *change, struct rank stated) {
    const struct node *const node = &cluster->nodes[number];
    const struct batch_facts *const facts = durable_batch(node, stated.seq);
    if (change->chain_count == 0 || entry_last_view(&node->disk.durable) > stated.view) {
        return;
    }
    const struct signed_body *const last = &change->chain[change->chain_count - 1].pre_prepare;
    struct digest const digest = hash_statement(LABEL_PRE_PREPARE, &cluster->configuration->service,
                                                last->body, &last->signature);
    if (facts == NULL || !digest_equal(&facts->digest, &digest)) {
        fail(cluster, number, said, "shows a certificate for what its disk does not hold");
    }
}

static void judge_view_change(struct cluster *cluster, uint32_t number, struct arena *arena,
                              const struct signed_body *statement, bool from_ledger) {
    struct node *const node = &cluster->nodes[number];
    struct view_change change;
    if (view_change_decode(&change, arena, statement->body) != CODEC_OK) {
        cluster_fail(cluster, "node %u sent a view-change that does not decode", number);
    }
    struct said const said = {.saying = SAID_VIEW_CHANGE,
                              .view = cluster_view(change.config, change.view),
                              .from_ledger = from_ledger,
                              .digest = statement_digest(statement)};
    if (change.replica != cluster_position(cluster, change.config, node->id) ||
        is_repeated(cluster, number, &said)) {
        return;
    }
    judge_new(cluster, number, &said);
    if (node->restored) {
        return;
    }
    struct rank const stated = rank_stated(cluster, number, arena, &change);
    uint64_t const asked = cluster_view(change.config, change.view);
    if (node->voice.rank.view < asked && rank_compare(stated, node->voice.rank) < 0) {
        cluster_trace(cluster, "%u states rank (%llu, %llu), its nonces claim (%llu, %llu)", number,
                      (unsigned long long)stated.view, (unsigned long long)stated.seq,
                      (unsigned long long)node->voice.rank.view,
                      (unsigned long long)node->voice.rank.seq);
        fail(cluster, number, &said, "states less than its nonces claim");
    }
    judge_backing(cluster, number, &said, &change, stated);
    if (asked >= node->voice.asked_view) {
        node->voice.asked_view = asked;
        node->voice.stated = stated;
    }
    cluster_trace(cluster, "%u asks for view %llu with rank (%llu, %llu)", number,
                  (unsigned long long)change.view, (unsigned long long)stated.view,
                  (unsigned long long)stated.seq);
}

static void watch_view_change(struct cluster *cluster, uint32_t number, struct arena *arena,
                              struct span payload) {
    struct signed_body statement;
    if (signed_decode(&statement, arena, payload, VIEW_CHANGE_SIGNED_SIZE_MAX) != CODEC_OK) {
        cluster_fail(cluster, "node %u sent a view-change that does not decode", number);
    }
    judge_view_change(cluster, number, arena, &statement, false);
}

static void judge_new_view(struct cluster *cluster, uint32_t number, struct arena *arena,
                           struct span payload) {
    struct signed_body statement;
    struct new_view body;
    if (signed_decode(&statement, arena, payload, STATEMENT_SIZE_MAX) != CODEC_OK ||
        new_view_decode(&body, arena, statement.body) != CODEC_OK) {
        cluster_fail(cluster, "node %u sent a new-view that does not decode", number);
    }
    struct said const said = {.saying = SAID_NEW_VIEW,
                              .view = cluster_view(body.config, body.view),
                              .from_ledger = true,
                              .digest = statement_digest(&statement)};
    bool const is_own =
        cluster_primary(cluster, body.config, body.view) == cluster->nodes[number].id;
    if (is_own && !is_repeated(cluster, number, &said)) {
        judge_new(cluster, number, &said);
        cluster_trace(cluster, "%u declares view %llu on (%llu, %llu)", number,
                      (unsigned long long)body.view, (unsigned long long)body.chosen_view,
                      (unsigned long long)body.chosen_seq);
    }
}

/* The author's own view-change among those of a set. */
static void judge_set(struct cluster *cluster, uint32_t number, struct arena *arena,
                      struct span payload) {
    struct view_change_set set;
    if (view_change_set_decode(&set, arena, payload) != CODEC_OK) {
        cluster_fail(cluster, "node %u sent a set of view-changes that does not decode", number);
    }
    for (uint32_t i = 0; i < set.count; i++) {
        judge_view_change(cluster, number, arena, &set.view_changes[i], true);
    }
}

static void watch_new_view(struct cluster *cluster, uint32_t number, struct arena *arena,
                           struct span payload) {
    struct new_view_message message;
    if (new_view_message_decode(&message, arena, payload) != CODEC_OK) {
        cluster_fail(cluster, "node %u sent a new view that does not decode", number);
    }
    judge_set(cluster, number, arena, message.set);
    judge_new_view(cluster, number, arena, message.new_view);
}

/* ---- all that leaves ---- */

/* One message is mostly sent to many, one after the other. */
static bool is_the_last(struct node *node, enum message_kind kind, struct span payload) {
    struct voice *const voice = &node->voice;
    if (voice->last_kind == (uint8_t)kind && span_equal(buffer_span(&voice->last), payload)) {
        return true;
    }
    voice->last_kind = (uint8_t)kind;
    buffer_clear(&voice->last);
    CHECK(buffer_append(&voice->last, payload));
    return false;
}

static bool binds(enum message_kind kind) {
    return kind == MESSAGE_PRE_PREPARE || kind == MESSAGE_PREPARE || kind == MESSAGE_COMMIT ||
           kind == MESSAGE_REPLY || kind == MESSAGE_VIEW_CHANGE || kind == MESSAGE_NEW_VIEW;
}

static bool is_judged(const struct cluster *cluster, uint32_t number) {
    const struct node *const node = &cluster->nodes[number];
    if (node->restored) {
        bool alone = !node->byzantine && !node->puppet;
        for (uint32_t i = 0; i < cluster->node_count; i++) {
            alone = alone && (i == number || node_is_correct(&cluster->nodes[i]));
        }
        return alone;
    }
    return node_is_correct(node);
}

void watch_sent(struct cluster *cluster, uint32_t node, enum message_kind kind,
                struct span payload) {
    struct arena arena;
    if (!binds(kind) || !is_judged(cluster, node) ||
        is_the_last(&cluster->nodes[node], kind, payload)) {
        return;
    }
    arena_init(&arena, 64 * payload.size + (1u << 20));
    if (kind == MESSAGE_PRE_PREPARE) {
        watch_pre_prepare(cluster, node, &arena, payload);
    } else if (kind == MESSAGE_PREPARE) {
        watch_prepare(cluster, node, &arena, payload);
    } else if (kind == MESSAGE_COMMIT) {
        watch_commit(cluster, node, &arena, payload);
    } else if (kind == MESSAGE_REPLY) {
        watch_reply(cluster, node, &arena, payload);
    } else if (kind == MESSAGE_VIEW_CHANGE) {
        watch_view_change(cluster, node, &arena, payload);
    } else if (kind == MESSAGE_NEW_VIEW) {
        watch_new_view(cluster, node, &arena, payload);
    }
    arena_free(&arena);
}

void watch_entry_sent(struct cluster *cluster, uint32_t node, const struct entry *entry) {
    struct arena arena;
    struct signed_body statement;
    if (!is_judged(cluster, node)) {
        return;
    }
    arena_init(&arena, 64 * entry->payload.size + (1u << 20));
    if (entry->kind == ENTRY_PRE_PREPARE) {
        CHECK(signed_decode(&statement, &arena, entry->payload, STATEMENT_SIZE_MAX) == CODEC_OK);
        judge_pre_prepare(cluster, node, &arena, &statement, true);
    } else if (entry->kind == ENTRY_VIEW_CHANGE_SET) {
        judge_set(cluster, node, &arena, entry->payload);
    } else if (entry->kind == ENTRY_NEW_VIEW) {
        judge_new_view(cluster, node, &arena, entry->payload);
    }
    arena_free(&arena);
}
