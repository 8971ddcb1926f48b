/*
 * insist: see insist.h. A proposal keeps the commitment that its core made, so the nonce is the
 * core's own; a lie, and each proposal on top of it, is a leaf of another tree M than the core
 * has, which is kept here.
 */
#include "tests/sim/insist.h"

#include "base/check.h"
#include "ledger/codec_view.h"
#include "ledger/derive.h"
#include "ledger/nonce.h"
#include "tests/sim/lies.h"
#include "tests/sim/signing.h"

#define INSIST_ARENA_SIZE (64u << 20)

/* ---- proposals ---- */

static bool read_proposal(struct arena *arena, struct span payload,
                          struct pre_prepare_message *message, struct pre_prepare *body) {
    return pre_prepare_message_decode(message, arena, payload) == CODEC_OK &&
           pre_prepare_decode(body, arena, message->statement.body) == CODEC_OK;
}

/* The nonce that fits what it told is the one of what it meant, unless it changed that, too. */
static void reveal(struct simulation *simulation, const struct frame *frame,
                   const struct pre_prepare *meant, const struct pre_prepare *told) {
    struct cluster *const cluster = simulation->cluster;
    const struct digest *const service = &cluster->configuration->service;
    uint32_t const position = cluster_position(cluster, meant->config, frame->from);
    struct digest digest;
    struct buffer out;
    if (meant->config != told->config || meant->view != told->view || meant->seq != told->seq ||
        !digest_equal(&meant->nonce_hash, &told->nonce_hash) ||
        !pre_prepare_batch_digest(&digest, service, meant)) {
        return;
    }
    struct commit_message const commit = {
        .config = told->config,
        .view = told->view,
        .seq = told->seq,
        .replica = position,
        .nonce = nonce_derive(service, cluster->keys[frame->from].nonce_secret, meant->config,
                              position, meant->view, meant->seq, &digest),
    };
    struct frame nonce = *frame;
    nonce.kind = MESSAGE_COMMIT;
    buffer_init(&out, STATEMENT_SIZE_MAX);
    if (commit_message_encode(&out, &commit)) {
        lie_send(simulation, &nonce, buffer_span(&out));
    }
    buffer_free(&out);
}

static void append_leaf(struct frontier *frontier, enum entry_kind kind, struct span payload) {
    struct digest const leaf = ledger_leaf(kind, payload);
    frontier_append(frontier, &leaf);
}

/* What it proposes next shall stand on what it told. */
static void go_on_from(struct simulation *simulation, const struct frame *frame, struct span lie,
                       const struct pre_prepare_message *message, const struct pre_prepare *told) {
    const struct node *const node = &simulation->cluster->nodes[frame->from_node];
    struct declared_view *const declared = &simulation->liars[frame->from_node].declared;
    const struct ledger_position *const before =
        node->checker == NULL ? NULL : checker_position_at(node->checker, told->seq - 1);
    struct buffer entry;
    uint64_t const view = cluster_view(told->config, told->view);
    bool const begins = told->kind == BATCH_START_OF_CONFIGURATION && told->view == 0;
    if (before == NULL || (before->view != told->view && !begins) || view == declared->view) {
        return;
    }
    *declared = (struct declared_view){
        .view = view, .next_seq = told->seq + 1, .frontier = before->frontier};
    declared->proposals[told->seq % DECLARED_PROPOSALS] = cluster_keep(simulation->cluster, lie);
    buffer_init(&entry, STATEMENT_SIZE_MAX + 256u);
    if (message->evidence.size != 0) {
        append_leaf(&declared->frontier, ENTRY_EVIDENCE, message->evidence);
    }
    CHECK(signed_encode(&entry, &message->statement));
    append_leaf(&declared->frontier, ENTRY_PRE_PREPARE, buffer_span(&entry));
    buffer_free(&entry);
}

static void insist_on_proposal(struct simulation *simulation, const struct frame *frame,
                               struct span lie) {
    struct pre_prepare_message message;
    struct pre_prepare meant;
    struct pre_prepare told;
    struct arena arena;
    arena_init(&arena, INSIST_ARENA_SIZE);
    if (read_proposal(&arena, frame->payload, &message, &meant) &&
        cluster_primary(simulation->cluster, meant.config, meant.view) == frame->from &&
        read_proposal(&arena, lie, &message, &told)) {
        reveal(simulation, frame, &meant, &told);
        if (meant.config == told.config && meant.view == told.view && meant.seq == told.seq) {
            go_on_from(simulation, frame, lie, &message, &told);
        }
    }
    arena_free(&arena);
}

/* ---- new views ---- */

/* Where its core's ledger ended before the new view that it stands on; NULL: not known any more. */
static const struct ledger_position *before_view(const struct node *node) {
    const struct ledger_position *const now = checker_position(node->checker);
    return now->view == 0 ? NULL : checker_position_in(node->checker, now->view_seq, now->view - 1);
}

static void insist_on_view(struct simulation *simulation, const struct frame *frame,
                           struct span lie) {
    const struct node *const node = &simulation->cluster->nodes[frame->from_node];
    struct declared_view *const declared = &simulation->liars[frame->from_node].declared;
    struct new_view_message message;
    struct signed_body statement;
    struct new_view body;
    struct arena arena;
    const struct ledger_position *const before = before_view(node);
    if (before == NULL) {
        return;
    }
    arena_init(&arena, INSIST_ARENA_SIZE);
    if (new_view_message_decode(&message, &arena, lie) == CODEC_OK &&
        signed_decode(&statement, &arena, message.new_view, STATEMENT_SIZE_MAX) == CODEC_OK &&
        new_view_decode(&body, &arena, statement.body) == CODEC_OK &&
        body.view == checker_position(node->checker)->view &&
        body.config == checker_configuration(node->checker)->number &&
        cluster_view(body.config, body.view) != declared->view) {
        *declared =
            (struct declared_view){.view = cluster_view(body.config, body.view),
                                   .next_seq = checker_position(node->checker)->view_seq + 1,
                                   .frontier = before->frontier};
        append_leaf(&declared->frontier, ENTRY_VIEW_CHANGE_SET, message.set);
        append_leaf(&declared->frontier, ENTRY_NEW_VIEW, message.new_view);
    }
    arena_free(&arena);
}

void insist_on(struct simulation *simulation, const struct frame *frame, struct span lie) {
    if (frame->kind == MESSAGE_PRE_PREPARE) {
        insist_on_proposal(simulation, frame, lie);
    } else if (frame->kind == MESSAGE_NEW_VIEW) {
        insist_on_view(simulation, frame, lie);
    }
}

/* Sign the proposal again over the ledger as it was declared, which it then is the end of. */
static bool propose_on(struct simulation *simulation, const struct frame *frame,
                       struct declared_view *declared, struct pre_prepare_message *message,
                       const struct pre_prepare *meant, struct arena *arena) {
    const struct cluster *const cluster = simulation->cluster;
    const struct key_pair *const pair = &cluster->keys[frame->from].signing;
    struct pre_prepare body = *meant;
    struct buffer encoded;
    struct buffer entry;
    if (message->evidence.size != 0) {
        append_leaf(&declared->frontier, ENTRY_EVIDENCE, message->evidence);
    }
    body.ledger_root = frontier_root(&declared->frontier);
    body.ledger_leaves = declared->frontier.leaf_count;
    buffer_init(&encoded, STATEMENT_SIZE_MAX);
    buffer_init(&entry, STATEMENT_SIZE_MAX + 256u);
    bool made = pre_prepare_encode(&encoded, &body);
    message->statement.body = arena_copy(arena, buffer_span(&encoded));
    message->statement.signature =
        sign_labelled(&pair->secret, &pair->key, LABEL_PRE_PREPARE,
                      &cluster->configuration->service, message->statement.body);
    made = made && signed_encode(&entry, &message->statement);
    append_leaf(&declared->frontier, ENTRY_PRE_PREPARE, buffer_span(&entry));
    declared->next_seq++;
    buffer_free(&entry);
    buffer_free(&encoded);
    return made;
}

bool insist_again(struct simulation *simulation, const struct frame *frame, struct buffer *out) {
    struct declared_view *const declared = &simulation->liars[frame->from_node].declared;
    struct pre_prepare_message message;
    struct pre_prepare body;
    struct arena arena;
    bool made = false;
    if (frame->kind != MESSAGE_PRE_PREPARE || declared->view == 0) {
        return false;
    }
    arena_init(&arena, INSIST_ARENA_SIZE);
    if (read_proposal(&arena, frame->payload, &message, &body) &&
        cluster_view(body.config, body.view) == declared->view) {
        struct span *const kept = &declared->proposals[body.seq % DECLARED_PROPOSALS];
        if (body.seq == declared->next_seq &&
            propose_on(simulation, frame, declared, &message, &body, &arena) &&
            pre_prepare_message_encode(out, &message)) {
            *kept = cluster_keep(simulation->cluster, buffer_span(out));
        }
        /* What it said to one it says to all. */
        made = body.seq < declared->next_seq && body.seq + DECLARED_PROPOSALS >= declared->next_seq;
        buffer_clear(out);
        made = made && buffer_append(out, *kept);
    }
    arena_free(&arena);
    return made;
}
