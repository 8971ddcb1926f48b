/*
 * lies: see lies.h. Most changes are to one field, so that each check of a receiver is the one
 * that has to notice; bytes are flipped at random where nothing is signed.
 */
#include "tests/sim/lies.h"

#include "base/check.h"
#include "governance/founding.h"
#include "ledger/codec_view.h"
#include "ledger/derive.h"
#include "tests/sim/signing.h"

#define LIE_ARENA_SIZE (64u << 20)

struct lie {
    struct simulation *simulation;
    struct prng *prng;
    struct cluster *cluster;
    const struct frame *frame;
    struct arena arena;
    struct buffer *out;
};

static uint64_t pick(struct lie *lie, uint64_t count) {
    return prng_below(lie->prng, count);
}

static void flip_one(struct lie *lie, uint8_t *bytes, size_t size) {
    bytes[pick(lie, size)] ^= (uint8_t)(1u << pick(lie, 8));
}

/* One more or less, or something absurd. */
static void nudge(struct lie *lie, uint64_t *number) {
    uint64_t const kind = pick(lie, 5);
    if (kind < 2) {
        (*number)++;
    } else if (kind < 4) {
        *number -= *number == 0 ? 0 : 1;
    } else {
        *number = prng_next(lie->prng) >> prng_between(lie->prng, 1, 63);
    }
}

static struct signature sign(struct lie *lie, enum label label, struct span body) {
    const struct key_pair *const pair = &lie->cluster->keys[lie->frame->from].signing;
    const struct digest *const service = &lie->cluster->configuration->service;
    return sign_labelled(&pair->secret, &pair->key, label, service, body);
}

/* Sign a body, and sometimes badly. Returns: false when it cannot be encoded. */
static bool put_signed(struct lie *lie, struct buffer *out, enum label label, struct span body) {
    struct signed_body statement = {.body = body, .signature = sign(lie, label, body)};
    if (pick(lie, 12) == 0) {
        flip_one(lie, statement.signature.bytes, SIGNATURE_SIZE);
    } else if (pick(lie, 12) == 0) {
        const struct key_pair *const pair = &lie->cluster->keys[lie->frame->from].signing;
        (void)signing_vary(&statement.signature, &pair->key, label,
                           &lie->cluster->configuration->service, body, (uint8_t)pick(lie, 4));
    }
    return signed_encode(out, &statement);
}

static bool flip(struct lie *lie) {
    bool const kept = buffer_append(lie->out, lie->frame->payload);
    if (lie->out->size != 0) {
        flip_one(lie, lie->out->data, lie->out->size);
    }
    return kept;
}

/* The configuration that the liar's own core is in. */
static uint64_t liar_config(const struct lie *lie) {
    const struct node *const node = &lie->cluster->nodes[lie->frame->from_node];
    return node->checker == NULL ? FOUNDING_CONFIGURATION
                                 : checker_configuration(node->checker)->number;
}

/* ---- where one configuration ends and the next begins ---- */

/* In some runs with reforms a statement is changed in what is only about configurations. */
static bool is_about_configurations(struct lie *lie) {
    return lie->cluster->charter != NULL && pick(lie, 3) == 0;
}

/* The same vote for a neighbouring configuration, as its replica there if it is one. */
static void cross(struct lie *lie, uint64_t *config, uint32_t *replica) {
    *config += pick(lie, 2) == 0 || *config == FOUNDING_CONFIGURATION ? 1 : UINT64_MAX;
    uint32_t const there = cluster_position(lie->cluster, *config, lie->frame->from);
    *replica = there == REPLICAS_MAX ? *replica : there;
}

static void change_kind(struct lie *lie, struct pre_prepare *body) {
    static const enum batch_kind kinds[] = {BATCH_NORMAL, BATCH_END_OF_CONFIGURATION,
                                            BATCH_START_OF_CONFIGURATION};
    uint32_t replica = 0;
    switch (pick(lie, 5)) {
    case 0:
        body->kind = kinds[pick(lie, 3)];
        return;
    case 1:
        nudge(lie, &body->gov_index);
        return;
    case 2:
        cross(lie, &body->config, &replica);
        return;
    case 3: /* it begins what nobody decided, or goes on with what has ended */
        body->kind = body->kind == BATCH_START_OF_CONFIGURATION ? BATCH_NORMAL
                                                                : BATCH_START_OF_CONFIGURATION;
        cross(lie, &body->config, &replica);
        body->view = 0;
        return;
    default: /* it ends what nobody decided, or does not end it */
        body->kind =
            body->kind == BATCH_END_OF_CONFIGURATION ? BATCH_NORMAL : BATCH_END_OF_CONFIGURATION;
        nudge(lie, &body->gov_index);
        return;
    }
}

/* ---- votes ---- */

static void change_pre_prepare(struct lie *lie, struct pre_prepare *body) {
    uint64_t tx_count = body->tx_count;
    switch (pick(lie, 14)) {
    case 0:
        flip_one(lie, body->ledger_root.bytes, DIGEST_SIZE);
        return;
    case 1:
        nudge(lie, &body->ledger_leaves);
        return;
    case 2:
        flip_one(lie, body->batch_root.bytes, DIGEST_SIZE);
        return;
    case 3:
        nudge(lie, &body->first_index);
        return;
    case 4:
        nudge(lie, &tx_count);
        body->tx_count = (uint32_t)(tx_count % BATCH_CALLS_MAX);
        return;
    case 5:
        nudge(lie, &body->view);
        return;
    case 6:
        nudge(lie, &body->view_start);
        return;
    case 7:
        nudge(lie, &body->evidence_upto);
        return;
    case 8:
        nudge(lie, &body->checkpoint_seq);
        return;
    case 9:
        flip_one(lie, body->checkpoint_digest.bytes, DIGEST_SIZE);
        return;
    case 10:
        flip_one(lie, body->nonce_hash.bytes, DIGEST_SIZE);
        return;
    case 11:
        nudge(lie, &body->seq);
        return;
    default:
        body->time_ms += prng_between(lie->prng, 1, 1000); /* another one that could be right */
        return;
    }
}

static bool lie_pre_prepare(struct lie *lie) {
    struct pre_prepare_message message;
    struct pre_prepare body;
    struct buffer encoded;
    struct buffer statement;
    struct signed_body again;
    if (pre_prepare_message_decode(&message, &lie->arena, lie->frame->payload) != CODEC_OK ||
        pre_prepare_decode(&body, &lie->arena, message.statement.body) != CODEC_OK) {
        return false;
    }
    if (pick(lie, 8) == 0) {
        return flip(lie);
    }
    if (pick(lie, 6) == 0 && message.request_count > 0) {
        message.request_count--; /* the statement is right, the message is not */
    } else if (is_about_configurations(lie)) {
        change_kind(lie, &body);
    } else {
        change_pre_prepare(lie, &body);
    }
    buffer_init(&encoded, STATEMENT_SIZE_MAX);
    buffer_init(&statement, STATEMENT_SIZE_MAX + 256u);
    bool made =
        pre_prepare_encode(&encoded, &body) &&
        put_signed(lie, &statement, LABEL_PRE_PREPARE, buffer_span(&encoded)) &&
        signed_decode(&again, &lie->arena, buffer_span(&statement), STATEMENT_SIZE_MAX) == CODEC_OK;
    if (made) {
        message.statement = again;
        made = pre_prepare_message_encode(lie->out, &message);
    }
    buffer_free(&statement);
    buffer_free(&encoded);
    return made;
}

static bool lie_prepare(struct lie *lie) {
    struct signed_body statement;
    struct prepare body;
    struct buffer encoded;
    if (signed_decode(&statement, &lie->arena, lie->frame->payload, STATEMENT_SIZE_MAX) !=
            CODEC_OK ||
        prepare_decode(&body, &lie->arena, statement.body) != CODEC_OK) {
        return false;
    }
    switch (is_about_configurations(lie) ? 4 : pick(lie, 4)) {
    case 4:
        cross(lie, &body.config, &body.replica);
        break;
    case 0:
        flip_one(lie, body.pre_prepare_digest.bytes, DIGEST_SIZE);
        break;
    case 1:
        flip_one(lie, body.nonce_hash.bytes, DIGEST_SIZE);
        break;
    case 2:
        nudge(lie, &body.seq);
        break;
    default:
        nudge(lie, &body.view);
        break;
    }
    buffer_init(&encoded, STATEMENT_SIZE_MAX);
    bool const made = prepare_encode(&encoded, &body) &&
                      put_signed(lie, lie->out, LABEL_PREPARE, buffer_span(&encoded));
    buffer_free(&encoded);
    return made;
}

static bool lie_commit(struct lie *lie) {
    struct commit_message commit;
    if (commit_message_decode(&commit, &lie->arena, lie->frame->payload) != CODEC_OK) {
        return false;
    }
    if (is_about_configurations(lie)) {
        cross(lie, &commit.config, &commit.replica);
    } else if (pick(lie, 2) == 0) {
        flip_one(lie, commit.nonce.bytes, NONCE_SIZE);
    } else if (pick(lie, 2) == 0) {
        nudge(lie, &commit.seq);
    } else {
        nudge(lie, &commit.view);
    }
    return commit_message_encode(lie->out, &commit);
}

/* ---- changes of view ---- */

static bool put_view_change(struct lie *lie, const struct view_change *body) {
    struct buffer encoded;
    buffer_init(&encoded, VIEW_CHANGE_SIZE_MAX);
    bool const made = view_change_encode(&encoded, body) &&
                      put_signed(lie, lie->out, LABEL_VIEW_CHANGE, buffer_span(&encoded));
    buffer_free(&encoded);
    return made;
}

/* A certificate that it once had, and long has a better one than. */
static void take_old_chain(struct lie *lie, struct view_change *body) {
    struct span const old = lie->simulation->liars[lie->frame->from_node].old_change;
    struct view_change kept;
    if (old.size != 0 && view_change_decode(&kept, &lie->arena, old) == CODEC_OK) {
        kept.view = body->view;
        *body = kept;
    }
}

/* One more batch at the end, which it may have led itself, and prepares that nobody signed. */
static bool invent_certificate(struct lie *lie, struct view_change *body) {
    struct chain_item *const chain =
        arena_alloc(&lie->arena, (body->chain_count + 1u) * sizeof *chain);
    struct signature *const signatures =
        arena_alloc(&lie->arena, (body->signature_count + 1u) * sizeof *signatures);
    struct pre_prepare last;
    struct buffer encoded;
    if (body->chain_count == 0 || body->chain_count == PIPELINE_MAX || chain == NULL ||
        signatures == NULL ||
        pre_prepare_decode(&last, &lie->arena,
                           body->chain[body->chain_count - 1].pre_prepare.body) != CODEC_OK ||
        cluster_primary(lie->cluster, last.config, last.view) != lie->frame->from) {
        return false;
    }
    last.seq++;
    last.first_index += last.tx_count;
    last.evidence_count = 0;
    flip_one(lie, last.batch_root.bytes, DIGEST_SIZE);
    buffer_init(&encoded, STATEMENT_SIZE_MAX);
    bool const made = pre_prepare_encode(&encoded, &last);
    struct span const kept = arena_copy(&lie->arena, buffer_span(&encoded));
    buffer_free(&encoded);
    memcpy(chain, body->chain, body->chain_count * sizeof *chain);
    chain[body->chain_count] = (struct chain_item){
        .pre_prepare = {.body = kept, .signature = sign(lie, LABEL_PRE_PREPARE, kept)}};
    memset(signatures, 0x5a, body->signature_count * sizeof *signatures);
    body->chain = chain;
    body->chain_count++;
    body->signatures = signatures;
    return made;
}

static bool lie_view_change(struct lie *lie) {
    struct signed_body statement;
    struct view_change body;
    if (signed_decode(&statement, &lie->arena, lie->frame->payload, VIEW_CHANGE_SIGNED_SIZE_MAX) !=
            CODEC_OK ||
        view_change_decode(&body, &lie->arena, statement.body) != CODEC_OK) {
        return false;
    }
    switch (is_about_configurations(lie) ? 8 : pick(lie, 8)) {
    case 8:
        cross(lie, &body.config, &body.replica);
        break;
    case 7:
        if (!invent_certificate(lie, &body)) {
            return false;
        }
        break;
    case 0: /* understated, and valid in itself */
        body.chain_count = 0;
        body.signers = 0;
        body.signature_count = 0;
        break;
    case 1:
    case 6:
        take_old_chain(lie, &body);
        break;
    case 2: /* a chain that lacks its last batch: another certificate than the signatures say */
        body.chain_count -= body.chain_count > 1;
        break;
    case 3: /* a chain that lacks its first batch */
        if (body.chain_count > 1) {
            body.chain++;
            body.chain_count--;
        }
        break;
    case 4:
        nudge(lie, &body.view);
        break;
    default:
        return flip(lie);
    }
    return put_view_change(lie, &body);
}

static bool put_new_view(struct lie *lie, const struct view_change_set *set,
                         const struct new_view *body) {
    struct new_view_message message;
    struct buffer encoded;
    struct buffer statement;
    struct buffer encoded_set;
    buffer_init(&encoded, STATEMENT_SIZE_MAX);
    buffer_init(&statement, STATEMENT_SIZE_MAX + 256u);
    buffer_init(&encoded_set, VIEW_CHANGE_SET_SIZE_MAX);
    bool made = new_view_encode(&encoded, body) &&
                put_signed(lie, &statement, LABEL_NEW_VIEW, buffer_span(&encoded)) &&
                view_change_set_encode(&encoded_set, set);
    if (made) {
        message.set = buffer_span(&encoded_set);
        message.new_view = buffer_span(&statement);
        made = new_view_message_encode(lie->out, &message);
    }
    buffer_free(&encoded_set);
    buffer_free(&statement);
    buffer_free(&encoded);
    return made;
}

/* The author of a view-change, and the rank that it states. */
static bool read_change(struct lie *lie, const struct signed_body *statement, uint32_t *author,
                        struct rank *rank) {
    struct view_change change;
    struct pre_prepare last;
    if (view_change_decode(&change, &lie->arena, statement->body) != CODEC_OK) {
        return false;
    }
    *author = change.replica;
    *rank = (struct rank){.view = 0, .seq = 0};
    if (change.chain_count == 0) {
        return true;
    }
    if (pre_prepare_decode(&last, &lie->arena,
                           change.chain[change.chain_count - 1].pre_prepare.body) != CODEC_OK) {
        return false;
    }
    *rank = (struct rank){.view = last.view, .seq = last.seq};
    return true;
}

/* The same new view on other view-changes: its own understated, or that of another replica. */
static bool swap_change(struct lie *lie, struct view_change_set *set,
                        const struct new_view *about) {
    struct signed_body *const changes = arena_alloc(&lie->arena, set->count * sizeof *changes);
    uint32_t const whose = (uint32_t)pick(lie, lie->cluster->replica_count);
    uint32_t const with = cluster_position(lie->cluster, about->config, whose);
    struct span const seen = lie->simulation->seen_changes[whose];
    struct signed_body other;
    struct view_change body;
    uint32_t place = 0;
    struct rank rank;
    if (changes == NULL || seen.size == 0 ||
        signed_decode(&other, &lie->arena, seen, VIEW_CHANGE_SIGNED_SIZE_MAX) != CODEC_OK ||
        view_change_decode(&body, &lie->arena, other.body) != CODEC_OK ||
        body.view != about->view || body.config != about->config || with == REPLICAS_MAX) {
        return false;
    }
    memcpy(changes, set->view_changes, set->count * sizeof *changes);
    set->view_changes = changes;
    for (uint32_t i = 0; i < set->count; i++) { /* in place of the next one, in order of ids */
        uint32_t author = 0;
        if (!read_change(lie, &changes[i], &author, &rank)) {
            return false;
        }
        place = author < with ? i + 1 : place;
        if (author == with) {
            return false;
        }
    }
    changes[place < set->count ? place : set->count - 1] = other;
    return true;
}

/* Name what is in the set, and choose as the rules say. */
static bool declare_set(struct lie *lie, const struct view_change_set *set, struct new_view *body) {
    struct digest *const digests = arena_alloc(&lie->arena, set->count * sizeof *digests);
    struct rank highest = {.view = 0, .seq = 0};
    for (uint32_t i = 0; digests != NULL && i < set->count; i++) {
        const struct signed_body *const change = &set->view_changes[i];
        struct rank rank;
        uint32_t author = 0;
        if (!read_change(lie, change, &author, &rank)) {
            return false;
        }
        highest = rank_compare(rank, highest) > 0 ? rank : highest;
        digests[i] = hash_statement(LABEL_VIEW_CHANGE, &lie->cluster->configuration->service,
                                    change->body, &change->signature);
    }
    body->view_change_count = set->count;
    body->view_change_digests = digests;
    body->chosen_view = highest.view;
    body->chosen_seq = highest.seq;
    return digests != NULL;
}

/* Let it state the ledger before it as it is with this set. */
static bool declare_ledger(struct lie *lie, const struct view_change_set *set,
                           struct new_view *body) {
    const struct node *const node = &lie->cluster->nodes[lie->frame->from_node];
    const struct ledger_position *const now =
        node->checker == NULL ? NULL : checker_position(node->checker);
    const struct ledger_position *const before =
        now == NULL || now->view == 0 || now->view != body->view || body->config != liar_config(lie)
            ? NULL
            : checker_position_in(node->checker, now->view_seq, now->view - 1);
    struct buffer encoded;
    if (before == NULL) {
        return false;
    }
    buffer_init(&encoded, VIEW_CHANGE_SET_SIZE_MAX);
    bool const made = view_change_set_encode(&encoded, set);
    struct frontier frontier = before->frontier;
    struct digest const leaf = ledger_leaf(ENTRY_VIEW_CHANGE_SET, buffer_span(&encoded));
    frontier_append(&frontier, &leaf);
    body->ledger_root = frontier_root(&frontier);
    body->ledger_leaves = frontier.leaf_count;
    buffer_free(&encoded);
    return made;
}

/* A new view of its own, declared otherwise: it chose lower, higher, on another ledger. */
static bool lie_new_view(struct lie *lie) {
    struct new_view_message message;
    struct view_change_set set;
    struct signed_body statement;
    struct new_view body;
    if (new_view_message_decode(&message, &lie->arena, lie->frame->payload) != CODEC_OK ||
        view_change_set_decode(&set, &lie->arena, message.set) != CODEC_OK ||
        signed_decode(&statement, &lie->arena, message.new_view, STATEMENT_SIZE_MAX) != CODEC_OK ||
        new_view_decode(&body, &lie->arena, statement.body) != CODEC_OK) {
        return false;
    }
    uint32_t replica = 0;
    switch (is_about_configurations(lie) ? 10 : pick(lie, 10)) {
    case 10:
        cross(lie, &body.config, &replica);
        break;
    case 0:
        nudge(lie, &body.chosen_seq);
        break;
    case 1:
        nudge(lie, &body.chosen_view);
        break;
    case 2:
        flip_one(lie, body.ledger_root.bytes, DIGEST_SIZE);
        break;
    case 3:
        nudge(lie, &body.ledger_leaves);
        break;
    case 4: /* one view-change fewer, named as they are */
        set.count -= set.count > 1;
        body.view_change_count -= body.view_change_count > 1;
        if (!declare_ledger(lie, &set, &body)) {
            return false;
        }
        break;
    case 5: /* it took none of the certificates into account */
        body.chosen_view = 0;
        body.chosen_seq = 0;
        break;
    case 6:
        return flip(lie);
    default: /* two new views that may both be valid */
        if (!swap_change(lie, &set, &body) || !declare_set(lie, &set, &body) ||
            !declare_ledger(lie, &set, &body)) {
            return false;
        }
        break;
    }
    return put_new_view(lie, &set, &body);
}

/* ---- what nobody signs ---- */

static bool absurd_status(struct lie *lie) {
    uint64_t const absurd = prng_next(lie->prng) >> prng_between(lie->prng, 1, 63);
    struct status_message status;
    if (status_message_decode(&status, &lie->arena, lie->frame->payload) != CODEC_OK) {
        status = (struct status_message){.config = 1};
    }
    switch (is_about_configurations(lie) ? 6 : pick(lie, 6)) {
    case 6:
        nudge(lie, &status.config);
        break;
    case 0:
        status.executed_seq = absurd;
        break;
    case 1:
        status.committed_seq = absurd / 2;
        break;
    case 2:
        status.evidenced_entries = absurd / 3;
        break;
    case 3:
        nudge(lie, &status.asked_view);
        break;
    case 4:
        nudge(lie, &status.view);
        break;
    default:
        status.suspects = !status.suspects;
        break;
    }
    return status_message_encode(lie->out, &status);
}

/* The last pre-prepare is what nothing binds but its signature: let that be another. */
static bool forge_last(struct lie *lie, struct range_message *range) {
    struct entry *const entries = arena_alloc(&lie->arena, (range->count + 1u) * sizeof *entries);
    uint32_t last = range->count;
    while (last > 0 && range->entries[last - 1].kind != ENTRY_PRE_PREPARE) {
        last--;
    }
    if (last == 0 || entries == NULL) {
        return false;
    }
    struct signed_body statement;
    struct buffer encoded;
    memcpy(entries, range->entries, range->count * sizeof *entries);
    if (signed_decode(&statement, &lie->arena, entries[last - 1].payload, STATEMENT_SIZE_MAX) !=
        CODEC_OK) {
        return false;
    }
    flip_one(lie, statement.signature.bytes, SIGNATURE_SIZE);
    buffer_init(&encoded, STATEMENT_SIZE_MAX + 256u);
    bool const made = signed_encode(&encoded, &statement);
    entries[last - 1].payload = arena_copy(&lie->arena, buffer_span(&encoded));
    range->entries = entries;
    buffer_free(&encoded);
    return made;
}

static bool lie_range(struct lie *lie) {
    struct range_message range;
    struct span const old = lie->simulation->liars[lie->frame->from_node].old_range;
    if (old.size != 0 && pick(lie, 3) == 0) {
        return buffer_append(lie->out, old); /* another range, from another time */
    }
    if (pick(lie, 3) == 0 ||
        range_message_decode(&range, &lie->arena, lie->frame->payload) != CODEC_OK) {
        return flip(lie);
    }
    if (pick(lie, 3) == 0 && forge_last(lie, &range)) {
        /* the rest is as it was */
    } else if (pick(lie, 3) == 0) {
        nudge(lie, &range.first_entry);
    } else if (range.count > 0 && pick(lie, 2) == 0) {
        range.count--;
    } else if (range.count > 1) {
        range.entries++;
        range.count--;
    }
    return range_message_encode(lie->out, &range);
}

/* ---- checkpoints ---- */

static struct span changed(struct lie *lie, struct span bytes) {
    uint8_t *const copy = arena_alloc(&lie->arena, bytes.size + 1);
    CHECK(copy != NULL);
    memcpy(copy, bytes.data, bytes.size);
    flip_one(lie, copy, bytes.size);
    return span_of(copy, bytes.size);
}

static bool lie_offer(struct lie *lie) {
    struct checkpoint_offer_message offer;
    if (checkpoint_offer_message_decode(&offer, &lie->arena, lie->frame->payload) != CODEC_OK ||
        offer.seq == 0) {
        return false;
    }
    switch (pick(lie, 8)) {
    case 0:
        nudge(lie, &offer.seq);
        break;
    case 1:
        nudge(lie, &offer.first_entry);
        break;
    case 2:
        nudge(lie, &offer.first_leaves);
        break;
    case 3:
        offer.peaks = changed(lie, offer.peaks);
        break;
    case 4:
        offer.snapshot = changed(lie, offer.snapshot);
        break;
    case 5:
        offer.certificate = changed(lie, offer.certificate);
        break;
    case 6:
        offer = (struct checkpoint_offer_message){.seq = 0};
        break;
    default:
        return flip(lie);
    }
    return checkpoint_offer_message_encode(lie->out, &offer);
}

static bool lie_digests(struct lie *lie) {
    struct checkpoint_digests_message message;
    if (pick(lie, 4) == 0 ||
        checkpoint_digests_message_decode(&message, &lie->arena, lie->frame->payload) != CODEC_OK) {
        return flip(lie);
    }
    if (pick(lie, 4) == 0) {
        nudge(lie, &message.first_group);
    } else if (message.count > 0) {
        message.count--;
    }
    return checkpoint_digests_message_encode(lie->out, &message);
}

static bool lie_items(struct lie *lie) {
    struct checkpoint_items_message message;
    if (checkpoint_items_message_decode(&message, &lie->arena, lie->frame->payload) != CODEC_OK ||
        message.count == 0) {
        return flip(lie);
    }
    struct state_item *const items = arena_alloc(&lie->arena, message.count * sizeof *items);
    CHECK(items != NULL);
    memcpy(items, message.items, message.count * sizeof *items);
    message.items = items;
    struct state_item *const one = &items[pick(lie, message.count)];
    switch (pick(lie, 5)) {
    case 0:
        one->key = changed(lie, one->key);
        break;
    case 1:
        one->value = span_text("another");
        break;
    case 2:
        message.count--;
        break;
    case 3:
        nudge(lie, &message.first_group);
        break;
    default:
        return flip(lie);
    }
    return checkpoint_items_message_encode(lie->out, &message);
}

/* Links are their numbers here (cluster_links.c): fewer, none, of another one, or more promised. */
static bool lie_links(struct lie *lie) {
    struct chain_reply_message message;
    struct span links[WIRE_LINKS_MAX];
    uint8_t invented[8];
    if (lie->frame->to >= CLUSTER_NODES_MAX ||
        chain_reply_message_decode(&message, &lie->arena, lie->frame->payload) != CODEC_OK) {
        return false;
    }
    memcpy(links, message.links, message.link_count * sizeof links[0]);
    message.links = links;
    store_u64_be(invented, pick(lie, 20));
    switch (pick(lie, 4)) {
    case 0:
        message.config += 1 + pick(lie, 5);
        break;
    case 1:
        message.link_count = message.link_count == 0 ? 0 : (uint32_t)pick(lie, message.link_count);
        break;
    case 2:
        if (message.link_count != 0) {
            links[pick(lie, message.link_count)] = span_of(invented, sizeof invented);
        }
        break;
    default:
        return flip(lie);
    }
    return chain_reply_message_encode(lie->out, &message);
}

/* ---- all kinds ---- */

static bool lie_by_kind(struct lie *lie) {
    switch ((enum message_kind)lie->frame->kind) {
    case MESSAGE_PRE_PREPARE:
        return lie_pre_prepare(lie);
    case MESSAGE_PREPARE:
        return lie_prepare(lie);
    case MESSAGE_COMMIT:
        return lie_commit(lie);
    case MESSAGE_STATUS:
        return absurd_status(lie);
    case MESSAGE_VIEW_CHANGE:
        return lie_view_change(lie);
    case MESSAGE_NEW_VIEW:
        return lie_new_view(lie);
    case MESSAGE_RANGE:
        return lie_range(lie);
    case MESSAGE_CHECKPOINT_OFFER:
        return lie_offer(lie);
    case MESSAGE_CHECKPOINT_DIGESTS:
        return lie_digests(lie);
    case MESSAGE_CHECKPOINT_ITEMS:
        return lie_items(lie);
    case MESSAGE_CHAIN_REPLY:
        return lie_links(lie);
    case MESSAGE_FETCH_REQUESTS:
    case MESSAGE_REQUESTS:
    case MESSAGE_FETCH_RANGE:
    case MESSAGE_FETCH_CHECKPOINT:
    case MESSAGE_REPLY:
    case MESSAGE_RESULT:
    case MESSAGE_REJECT:
    case MESSAGE_RECEIPT_REPLY:
        return flip(lie);
    case MESSAGE_REQUEST:
    case MESSAGE_STATUS_QUERY:
    case MESSAGE_RECEIPT_QUERY:
    case MESSAGE_STATUS_REPLY:
    case MESSAGE_DEMAND:
    case MESSAGE_SERVED:
    case MESSAGE_CHAIN_QUERY:
        break;
    }
    return false;
}

bool lie_about(struct simulation *simulation, struct prng *prng, const struct frame *frame,
               struct buffer *out) {
    struct lie lie = {.simulation = simulation,
                      .prng = prng,
                      .cluster = simulation->cluster,
                      .frame = frame,
                      .out = out};
    arena_init(&lie.arena, LIE_ARENA_SIZE);
    bool const lied = lie_by_kind(&lie);
    arena_free(&lie.arena);
    return lied && !out->failed;
}

bool lie_ask(struct simulation *simulation, struct frame *frame, struct buffer *out) {
    struct lie lie = {.simulation = simulation,
                      .prng = &simulation->prng,
                      .cluster = simulation->cluster,
                      .frame = frame,
                      .out = out};
    uint64_t const config = liar_config(&lie);
    struct view_change const body = {
        .config = config,
        .view = cluster_view_of(simulation->cluster->highest_view) + 1,
        .replica = cluster_position(simulation->cluster, config, frame->from)};
    frame->kind = MESSAGE_VIEW_CHANGE;
    return body.replica != REPLICAS_MAX && put_view_change(&lie, &body);
}

bool lie_invent(struct simulation *simulation, struct frame *frame, struct buffer *out) {
    struct lie lie = {.simulation = simulation,
                      .prng = &simulation->prng,
                      .cluster = simulation->cluster,
                      .frame = frame,
                      .out = out};
    bool made = false;
    arena_init(&lie.arena, LIE_ARENA_SIZE);
    if (pick(&lie, 3) == 0) {
        frame->kind = MESSAGE_FETCH_RANGE;
        made = fetch_range_message_encode(out, 1 + pick(&lie, 400));
    } else if (pick(&lie, 2) == 0) {
        frame->kind = MESSAGE_COMMIT;
        uint64_t const config = liar_config(&lie);
        struct commit_message commit = {.config = config,
                                        .view = pick(&lie, 4),
                                        .seq = lie.cluster->committed_seq + pick(&lie, 8),
                                        .replica =
                                            cluster_position(lie.cluster, config, frame->from)};
        store_u64_be(commit.nonce.bytes, prng_next(lie.prng));
        made = commit.replica != REPLICAS_MAX && commit_message_encode(out, &commit);
    } else {
        frame->kind = MESSAGE_STATUS;
        made = absurd_status(&lie);
    }
    arena_free(&lie.arena);
    return made;
}

void lie_send(struct simulation *simulation, const struct frame *frame, struct span payload) {
    struct cluster *const cluster = simulation->cluster;
    cluster->faults[FAULT_LIE]++;
    if (frame->to >= CLUSTER_NODES_MAX) {
        cluster_forge_to_client(cluster, frame->from, frame->to - CLUSTER_NODES_MAX,
                                (enum message_kind)frame->kind, payload);
    } else {
        cluster_forge(cluster, frame->from_node, frame->to, (enum message_kind)frame->kind,
                      payload);
    }
}
