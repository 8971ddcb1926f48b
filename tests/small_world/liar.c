/*
 * liar: what one Byzantine replica can say, whenever it helps. It has no state of its own: of all
 * that it could say at some time the network holds everything, from the first moment on, and who
 * hears which of it is a choice like any other. The judge takes it to have revealed every nonce.
 *
 *   - As primary of view 0 it has proposed the requests in either order: two pre-prepares for batch
 *     1, and what follows each.
 *   - It answers every pre-prepare, of a correct primary and of its own, with prepare and nonce,
 * and so votes for both of two that contradict each other.
 *   - For every view it has a view-change that says that it has never prepared anything.
 *
 * It does not begin views: the one of which it would be the primary does not come. Malformed and
 * inadmissible statements are not among these: the simulator and the fuzzed decoders have them.
 */
#include "base/check.h"
#include "ledger/codec_view.h"
#include "ledger/nonce.h"
#include "tests/small_world/small_world.h"

static const struct replica_keys *keys_of(const struct world *world) {
    return &world->consortium.replicas[world->options.liar];
}

static uint32_t sign_and_keep(struct world *world, enum message_kind kind, enum label label,
                              struct span body) {
    const struct key_pair *const pair = &keys_of(world)->signing;
    struct signed_body const statement = {
        .body = body,
        .signature =
            sign_labelled(&pair->secret, &pair->key, label, &world->configuration->service, body),
    };
    struct buffer bytes;
    buffer_init(&bytes, VIEW_CHANGE_SIGNED_SIZE_MAX);
    CHECK(signed_encode(&bytes, &statement));
    uint32_t const number = message_keep(world, world->options.liar, kind, buffer_span(&bytes));
    buffer_free(&bytes);
    return number;
}

/* ---- answers ---- */

static struct nonce nonce_for(const struct world *world, const struct pre_prepare *body) {
    const struct digest *const service = &world->configuration->service;
    struct digest batch_digest;
    CHECK(pre_prepare_batch_digest(&batch_digest, service, body));
    return nonce_derive(service, keys_of(world)->nonce_secret, body->config, world->options.liar,
                        body->view, body->seq, &batch_digest);
}

static uint32_t make_prepare(struct world *world, const struct pre_prepare *body,
                             const struct digest *digest, const struct nonce *nonce) {
    const struct digest *const service = &world->configuration->service;
    struct prepare const prepare = {
        .config = body->config,
        .view = body->view,
        .seq = body->seq,
        .replica = world->options.liar,
        .pre_prepare_digest = *digest,
        .nonce_hash =
            nonce_commit(service, body->config, world->options.liar, body->view, body->seq, nonce),
    };
    struct buffer bytes;
    buffer_init(&bytes, STATEMENT_SIZE_MAX);
    CHECK(prepare_encode(&bytes, &prepare));
    uint32_t const number =
        sign_and_keep(world, MESSAGE_PREPARE, LABEL_PREPARE, buffer_span(&bytes));
    buffer_free(&bytes);
    return number;
}

static uint32_t make_nonce(struct world *world, const struct pre_prepare *body,
                           const struct nonce *nonce, uint32_t subject) {
    struct commit_message const commit = {.config = body->config,
                                          .view = body->view,
                                          .seq = body->seq,
                                          .replica = world->options.liar,
                                          .nonce = *nonce};
    struct buffer bytes;
    buffer_init(&bytes, STATEMENT_SIZE_MAX);
    CHECK(commit_message_encode(&bytes, &commit));
    uint32_t const number =
        message_keep_nonce(world, world->options.liar, buffer_span(&bytes), subject);
    buffer_free(&bytes);
    return number;
}

/* Prepare, unless the pre-prepare is its own, and nonce for a pre-prepare; a stored list. */
static uint32_t make_answers(struct world *world, uint32_t number) {
    struct message const proposed = *message_at(world, number);
    struct pre_prepare_message message;
    struct pre_prepare body;
    struct digest digest;
    struct arena arena;
    uint32_t answers[2];
    uint32_t count = 0;
    arena_init(&arena, 1u << 22);
    CHECK(pre_prepare_message_decode(&message, &arena,
                                     store_bytes(&world->store, proposed.payload)) == CODEC_OK &&
          pre_prepare_decode(&body, &arena, message.statement.body) == CODEC_OK);
    memcpy(digest.bytes, store_bytes(&world->store, proposed.subject).data, DIGEST_SIZE);
    struct nonce const nonce = nonce_for(world, &body);
    if (proposed.author != world->options.liar) {
        answers[count++] = make_prepare(world, &body, &digest, &nonce);
    }
    answers[count++] = make_nonce(world, &body, &nonce, proposed.subject);
    arena_free(&arena);
    return store_keep_list(&world->store, answers, count);
}

/* ---- what it says unasked ---- */

static uint32_t make_view_change(struct world *world, uint64_t view) {
    struct view_change const change = {
        .config = world->configuration->number, .view = view, .replica = world->options.liar};
    struct buffer bytes;
    buffer_init(&bytes, STATEMENT_SIZE_MAX);
    CHECK(view_change_encode(&bytes, &change));
    uint32_t const number =
        sign_and_keep(world, MESSAGE_VIEW_CHANGE, LABEL_VIEW_CHANGE, buffer_span(&bytes));
    buffer_free(&bytes);
    return number;
}

static void add_opening(struct world *world, uint32_t number) {
    for (uint64_t i = 0; i < world->openings.count; i++) {
        if (world->openings.items[i] == number) {
            return;
        }
    }
    list_push(&world->openings, number);
}

/* What a correct replica in its place would propose, were these the requests in this order. */
static void add_proposals(struct world *world, uint32_t first, uint32_t second) {
    uint32_t local = world->starts[world->options.liar];
    local = local_after(world, local, local_event_of(LOCAL_REQUEST, first));
    local = local_after(world, local, local_event_of(LOCAL_REQUEST, second));
    CHECK(local != WORLD_NONE);
    uint32_t count = 0;
    const uint32_t *const sent = store_list(&world->store, local_at(world, local)->sent, &count);
    for (uint32_t i = 0; i < count; i++) {
        if (message_at(world, sent[i])->kind == MESSAGE_PRE_PREPARE) {
            add_opening(world, sent[i]);
        }
    }
}

void liar_init(struct world *world) {
    if (configuration_primary(world->configuration, 0) == world->options.liar) {
        add_proposals(world, 0, WORLD_REQUESTS - 1);
        add_proposals(world, WORLD_REQUESTS - 1, 0);
    }
    for (uint64_t view = 1; view <= WORLD_VIEWS; view++) {
        add_opening(world, make_view_change(world, view));
    }
}

static void put(struct net *net, uint32_t number) {
    CHECK(net->count < WORLD_NET_MAX);
    net->items[net->count++] = number;
}

void liar_gather(struct world *world, struct net *net) {
    for (uint64_t i = 0; i < world->openings.count; i++) {
        put(net, world->openings.items[i]);
    }
    for (uint32_t i = 0; i < net->count; i++) { /* answers are no pre-prepares: this ends */
        uint32_t const number = net->items[i];
        if (message_at(world, number)->kind != MESSAGE_PRE_PREPARE) {
            continue;
        }
        uint32_t answers = *map_at(&world->answers, (uint64_t)number + 1);
        if (answers == WORLD_NONE) {
            answers = make_answers(world, number);
            *map_at(&world->answers, (uint64_t)number + 1) = answers;
        }
        uint32_t count = 0;
        const uint32_t *const items = store_list(&world->store, answers, &count);
        for (uint32_t k = 0; k < count; k++) {
            put(net, items[k]);
        }
    }
}
