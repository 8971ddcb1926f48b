/*
 * forge_view: changes of view in forged ledgers; see forge.h. Who asks for a view shows what it is
 * told to; the rest is the work of an honest new primary, with a lie where it belongs.
 */
#include "base/check.h"
#include "ledger/codec_view.h"
#include "ledger/derive.h"
#include "tests/forge/forge_internal.h"

/* ---- view-changes ---- */

/* The certificate of a batch, as a view-change shows it. */
static void make_certificate(const struct forge *forge, struct view_change *out,
                             const struct forge_batch *batch,
                             struct digest hashes[static REPLICAS_MAX]) {
    const struct configuration *const configuration = &forge->consortium->configuration;
    const struct pre_prepare *const body = &batch->body;
    uint32_t const primary = configuration_primary(configuration, body->view);
    const struct nonce *nonce = (const void *)batch->nonces.data;
    uint32_t count = 0;
    for (uint32_t replica = 0; replica < REPLICAS_MAX; replica++) {
        if ((batch->signers >> replica & 1) == 0) {
            continue;
        }
        if (replica != primary) {
            hashes[count++] = nonce_commit(&configuration->service, body->config, replica,
                                           body->view, body->seq, nonce);
        }
        nonce++;
    }
    out->signers = batch->signers & ~((uint64_t)1 << primary);
    out->signature_count = count;
    out->signatures = (const void *)batch->signatures.data;
    out->nonce_hashes = hashes;
}

static struct chain_item item_of(const struct forge *forge, const struct forge_batch *batch) {
    struct chain_item item = {
        .pre_prepare = {.body = buffer_span(&batch->statement), .signature = batch->signature},
    };
    struct entry const first = forge_entry_at(forge, batch->first_entry);
    item.has_evidence = first.kind == ENTRY_EVIDENCE;
    if (item.has_evidence) {
        item.evidence_leaf = ledger_leaf(ENTRY_EVIDENCE, first.payload);
    }
    return item;
}

/* One signed view-change, kept in the arena. */
static struct signed_body make_view_change(const struct forge *forge, struct arena *arena,
                                           const struct forge_view_order *order, uint32_t author,
                                           uint64_t seq) {
    const struct configuration *const configuration = &forge->consortium->configuration;
    const struct key_pair *const pair = &forge->consortium->replicas[author].signing;
    struct digest hashes[REPLICAS_MAX];
    struct chain_item chain[PIPELINE_MAX];
    struct view_change view_change = {
        .config = configuration->number, .view = order->view, .replica = author, .chain = chain};
    if (seq != 0) {
        const struct forge_batch *const last = forge_batch_at(forge, seq);
        make_certificate(forge, &view_change, last, hashes);
        for (uint64_t s = last->body.evidence_upto + 1; s <= seq; s++) {
            CHECK(view_change.chain_count < PIPELINE_MAX);
            chain[view_change.chain_count++] = item_of(forge, forge_batch_at(forge, s));
        }
        if (order->lie == RULE_VIEW_LINK) {
            CHECK(chain[0].has_evidence);
            chain[0].evidence_leaf.bytes[0] ^= 1;
        }
    }
    struct buffer body;
    buffer_init(&body, VIEW_CHANGE_SIZE_MAX);
    CHECK(view_change_encode(&body, &view_change));
    struct signed_body statement = {
        .body = arena_copy(arena, buffer_span(&body)),
        .signature = sign_labelled(&pair->secret, &pair->key, LABEL_VIEW_CHANGE,
                                   &configuration->service, buffer_span(&body)),
    };
    CHECK(statement.body.data != NULL);
    statement.signature.bytes[SIGNATURE_SIZE / 2] ^= order->lie == RULE_VIEW_CHANGES;
    buffer_free(&body);
    return statement;
}

/* ---- cutting ---- */

/* The requests of the batches that are cut off, to be proposed again. */
struct kept {
    struct arena arena;
    uint32_t batch_count;
    struct forge_order orders[PIPELINE_MAX];
};

static void keep_batch(struct kept *kept, const struct forge *forge, uint64_t seq) {
    struct forge_order *const order = &kept->orders[kept->batch_count++];
    struct batch batch;
    batch_init(&batch);
    forge_read(forge, seq, &batch);
    struct span *const requests =
        arena_alloc(&kept->arena, (batch.request_count + 1u) * sizeof *requests);
    CHECK(requests != NULL);
    *order = (struct forge_order){.request_count = batch.request_count,
                                  .requests = requests,
                                  .time_ms = batch.pre_prepare.time_ms};
    for (uint32_t i = 0; i < batch.request_count; i++) {
        struct request_entry entry;
        CHECK(request_entry_decode(&entry, &kept->arena, batch_request_payload(&batch, i)) ==
              CODEC_OK);
        requests[i] = arena_copy(&kept->arena, entry.request);
        CHECK(requests[i].data != NULL);
    }
    batch_free(&batch);
}

/* Replay all entries with a new checker and engine: neither goes back behind what is settled. */
static void rebuild(struct forge *forge) {
    struct batch batch;
    checker_free(forge->checker);
    engine_free(forge->engine);
    forge_start(forge);
    batch_init(&batch);
    for (uint64_t i = 1; i < forge_entry_count(forge); i++) {
        struct entry const entry = forge_entry_at(forge, i);
        enum rule rule = RULE_NONE;
        enum batch_step const step = batch_add(&batch, i, &entry, &rule);
        CHECK(step != BATCH_BROKEN);
        if (step == BATCH_MORE) {
            continue;
        }
        forge_reenter(forge);
        if (step == BATCH_VIEW) {
            CHECK(checker_view_add(forge->checker, &batch.view, &sign_sink_trust) == RULE_NONE);
        } else {
            CHECK(replay_batch(&forge->replay, forge->checker, forge->engine, &batch,
                               &sign_sink_trust) == RULE_NONE);
            forge_step_done(forge);
        }
        batch_clear(&batch);
    }
    forge_reenter(forge);
    batch_free(&batch);
    forge_follow(forge);
}

/* Cut the ledger behind batch `seq` and those new views after it that are not above `view`. */
static void cut(struct forge *forge, uint64_t seq, uint64_t view) {
    uint64_t end = 1;
    CHECK(!forge->lied);
    while (forge_seq(forge) > seq) {
        forge_drop_batch(forge);
    }
    if (seq != 0) {
        end = forge_batch_at(forge, seq)->first_entry + forge_batch_at(forge, seq)->entry_count;
    }
    struct forge_view *const views = (struct forge_view *)(void *)forge->views.data;
    uint64_t kept = 0;
    while (kept < forge->views.size / sizeof *views && views[kept].seq <= seq &&
           (views[kept].seq < forge->config_start || views[kept].view <= view)) {
        end = views[kept].first_entry + 2 > end ? views[kept].first_entry + 2 : end;
        kept++;
    }
    forge->views.size = kept * sizeof *views;
    if (end < forge_entry_count(forge)) {
        struct forge_entry first;
        memcpy(&first, forge->entries.data + end * sizeof first, sizeof first);
        forge->bytes.size = first.offset;
        forge->entries.size = end * sizeof first;
    }
    rebuild(forge);
}

/* ---- the new view ---- */

static void lie_about_body(struct new_view *body, struct digest *digests, enum rule lie) {
    body->config += lie == RULE_CONFIGURATION;
    body->chosen_seq += lie == RULE_VIEW_CHOICE;
    body->ledger_root.bytes[0] ^= lie == RULE_LEDGER_ROOT;
    digests[0].bytes[0] ^= lie == RULE_VIEW_SET;
}

/* The payloads of the two entries. */
static void make_unit(const struct forge *forge, struct buffer *set_payload,
                      struct buffer *entry_payload, const struct forge_view_order *order,
                      const struct view_change_set *set, struct rank chosen) {
    const struct configuration *const configuration = &forge->consortium->configuration;
    uint32_t const primary = configuration_primary(configuration, order->view);
    const struct key_pair *const pair = &forge->consortium->replicas[primary].signing;
    struct digest digests[REPLICAS_MAX];
    struct frontier before = forge->frontier;
    struct buffer bytes;
    CHECK(set->count != 0 && view_change_set_encode(set_payload, set));
    struct digest const leaf = ledger_leaf(ENTRY_VIEW_CHANGE_SET, buffer_span(set_payload));
    frontier_append(&before, &leaf);
    for (uint32_t i = 0; i < set->count; i++) {
        digests[i] = hash_statement(LABEL_VIEW_CHANGE, &configuration->service,
                                    set->view_changes[i].body, &set->view_changes[i].signature);
    }
    struct new_view body = {
        .config = configuration->number,
        .view = order->view,
        .view_change_count = set->count,
        .view_change_digests = digests,
        .chosen_view = chosen.view,
        .chosen_seq = chosen.seq,
        .ledger_root = frontier_root(&before),
        .ledger_leaves = before.leaf_count,
    };
    lie_about_body(&body, digests, order->lie);
    buffer_init(&bytes, STATEMENT_SIZE_MAX);
    CHECK(new_view_encode(&bytes, &body));
    struct signed_body statement = {
        .body = buffer_span(&bytes),
        .signature = sign_labelled(&pair->secret, &pair->key, LABEL_NEW_VIEW,
                                   &configuration->service, buffer_span(&bytes)),
    };
    statement.signature.bytes[SIGNATURE_SIZE / 2] ^= order->lie == RULE_SIGNATURE;
    CHECK(signed_encode(entry_payload, &statement));
    buffer_free(&bytes);
}

static void append_unit(struct forge *forge, struct span set_payload, struct span entry_payload) {
    struct forge_view const view = {
        .view = forge->view,
        .seq = forge_seq(forge),
        .first_entry = forge_entry_count(forge),
    };
    CHECK(buffer_append(&forge->views, span_of(&view, sizeof view)));
    forge_entry_append(forge, ENTRY_VIEW_CHANGE_SET, set_payload);
    forge_entry_append(forge, ENTRY_NEW_VIEW, entry_payload);
    struct digest const set_leaf = ledger_leaf(ENTRY_VIEW_CHANGE_SET, set_payload);
    struct digest const leaf = ledger_leaf(ENTRY_NEW_VIEW, entry_payload);
    frontier_append(&forge->frontier, &set_leaf);
    frontier_append(&forge->frontier, &leaf);
}

/* The real checker's opinion of an honest new view, every signature included. */
static void check_unit(struct forge *forge, struct span set_payload, struct span entry_payload) {
    struct arena arena;
    struct view_unit unit;
    struct sign_sink const sink = {.context = forge, .check = forge_sink_verify};
    arena_init(&arena, FORGE_ARENA_SIZE);
    CHECK(view_unit_decode(&unit, &arena, set_payload, entry_payload) == CODEC_OK);
    CHECK(checker_view_add(forge->checker, &unit, &sink) == RULE_NONE);
    const struct ledger_position *const position = checker_position(forge->checker);
    struct digest const ours = frontier_root(&forge->frontier);
    struct digest const theirs = frontier_root(&position->frontier);
    CHECK(digest_equal(&ours, &theirs) && position->entries == forge_entry_count(forge));
    CHECK(position->view == forge->view && position->view_start == forge->view_start);
    arena_free(&arena);
}

/* Signers that the primary of the view is among. */
static void choose_signers(struct forge *forge) {
    const struct configuration *const configuration = &forge->consortium->configuration;
    uint32_t const primary = configuration_primary(configuration, forge->view);
    if ((forge->signers >> primary & 1) != 0) {
        return;
    }
    forge->signers = 0;
    for (uint32_t i = 0; i < configuration->quorum; i++) {
        forge->signers |= (uint64_t)1 << (primary + i) % configuration->replica_count;
    }
}

/* What is shown, and the highest of it. */
static struct rank make_set(const struct forge *forge, struct arena *arena,
                            struct signed_body view_changes[static REPLICAS_MAX],
                            struct view_change_set *set, const struct forge_view_order *order) {
    uint64_t const all = ((uint64_t)1 << forge->consortium->configuration.quorum) - 1;
    uint64_t const authors = order->authors == 0 ? all : order->authors;
    struct rank highest = {0};
    *set = (struct view_change_set){.view_changes = view_changes};
    for (uint32_t author = 0; author < REPLICAS_MAX; author++) {
        if ((authors >> author & 1) == 0) {
            continue;
        }
        uint64_t const stated =
            order->stated[author] == 0 ? forge_seq(forge) : order->stated[author];
        uint64_t const seq = stated == FORGE_NO_CERTIFICATE ? 0 : stated;
        view_changes[set->count++] = make_view_change(forge, arena, order, author, seq);
        struct rank const rank = {.view = seq == 0 ? 0 : forge_batch_at(forge, seq)->body.view,
                                  .seq = seq};
        highest = rank_compare(rank, highest) > 0 ? rank : highest;
    }
    return highest;
}

void forge_change_view(struct forge *forge, const struct forge_view_order *order) {
    struct signed_body view_changes[REPLICAS_MAX];
    struct view_change_set set;
    struct kept *const kept = &(struct kept){.batch_count = 0};
    struct arena arena;
    struct buffer set_payload;
    struct buffer entry_payload;
    arena_init(&arena, FORGE_ARENA_SIZE);
    arena_init(&kept->arena, FORGE_SIZE_MAX);
    buffer_init(&set_payload, VIEW_CHANGE_SET_SIZE_MAX);
    buffer_init(&entry_payload, STATEMENT_SIZE_MAX + 256u);
    struct rank const chosen = make_set(forge, &arena, view_changes, &set, order);
    if (order->lie != RULE_VIEW_CUT) {
        uint64_t const upto = chosen.seq == 0
                                  ? forge->config_start
                                  : forge_batch_at(forge, chosen.seq)->body.evidence_upto;
        for (uint64_t seq = upto + 1; seq <= chosen.seq; seq++) {
            keep_batch(kept, forge, seq);
        }
        cut(forge, upto, chosen.view);
    }
    make_unit(forge, &set_payload, &entry_payload, order, &set, chosen);
    forge->view = order->view;
    forge->view_start = chosen.seq;
    append_unit(forge, buffer_span(&set_payload), buffer_span(&entry_payload));
    forge->lied |= order->lie != RULE_NONE;
    if (!forge->lied) {
        check_unit(forge, buffer_span(&set_payload), buffer_span(&entry_payload));
    }
    choose_signers(forge);
    for (uint32_t i = 0; !order->only_enter && i < kept->batch_count; i++) {
        kept->orders[i].evidence_lag = order->unheard ? i + 1u : 1;
        forge_append(forge, &kept->orders[i]);
    }
    buffer_free(&set_payload);
    buffer_free(&entry_payload);
    arena_free(&kept->arena);
    arena_free(&arena);
}

enum rule forge_import_view(struct forge *forge, const struct batch *batch) {
    CHECK(!forge->lied);
    enum rule const rule = checker_view_add(forge->checker, &batch->view, &sign_sink_trust);
    if (rule == RULE_NONE) {
        forge->view = batch->view.new_view.view;
        append_unit(forge, batch->view.set_payload, batch->view.entry_payload);
        forge_follow(forge);
        choose_signers(forge);
    }
    return rule;
}
