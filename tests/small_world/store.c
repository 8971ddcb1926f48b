/*
 * store: bytes kept once each and named by numbers, and messages by what they say. Numbers are
 * given in the order of discovery, so that the same options give the same ones.
 */
#include <stdlib.h>

#include "base/check.h"
#include "ledger/codec_view.h"
#include "tests/small_world/small_world.h"

#define STORE_BUDGET ((size_t)8 << 30)
#define MAP_CAPACITY_MIN 1024u

void *world_grow(void *items, uint64_t count, uint64_t *capacity, size_t item_size) {
    if (count < *capacity) {
        return items;
    }
    *capacity = *capacity == 0 ? 16 : 2 * *capacity;
    void *const grown = realloc(items, *capacity * item_size);
    CHECK(grown != NULL);
    return grown;
}

void list_push(struct number_list *list, uint32_t number) {
    list->items = world_grow(list->items, list->count, &list->capacity, sizeof *list->items);
    list->items[list->count++] = number;
}

/* ---- maps ---- */

/* Keys are digests or small numbers: either way every bit of them must count. */
static uint64_t place_of(const struct map *map, uint64_t key) {
    uint64_t mixed = key * UINT64_C(0x9e3779b97f4a7c15);
    mixed ^= mixed >> 29;
    return (mixed * UINT64_C(0xbf58476d1ce4e5b9) >> 20) & (map->capacity - 1);
}

static uint64_t find(const struct map *map, uint64_t key) {
    uint64_t at = place_of(map, key);
    while (map->keys[at] != 0 && map->keys[at] != key) {
        at = (at + 1) & (map->capacity - 1);
    }
    return at;
}

static void map_enlarge(struct map *map) {
    struct map larger = {.count = map->count,
                         .capacity = map->capacity == 0 ? MAP_CAPACITY_MIN : 2 * map->capacity};
    larger.keys = calloc(larger.capacity, sizeof *larger.keys);
    larger.values = calloc(larger.capacity, sizeof *larger.values);
    CHECK(larger.keys != NULL && larger.values != NULL);
    for (uint64_t i = 0; i < map->capacity; i++) {
        if (map->keys[i] != 0) {
            uint64_t const at = find(&larger, map->keys[i]);
            larger.keys[at] = map->keys[i];
            larger.values[at] = map->values[i];
        }
    }
    map_free(map);
    *map = larger;
}

uint32_t *map_at(struct map *map, uint64_t key) {
    CHECK(key != 0);
    if (2 * map->count >= map->capacity) {
        map_enlarge(map);
    }
    uint64_t const at = find(map, key);
    if (map->keys[at] == 0) {
        map->keys[at] = key;
        map->values[at] = WORLD_NONE;
        map->count++;
    }
    return &map->values[at];
}

void map_free(struct map *map) {
    free(map->keys);
    free(map->values);
    *map = (struct map){.count = 0};
}

/* ---- bytes ---- */

/* A digest's first bytes, never 0; who uses it compares the rest. */
static uint64_t key_of(const struct digest *digest) {
    return load_u64_be(digest->bytes) | 1;
}

void store_init(struct store *store) {
    *store = (struct store){.count = 0};
    arena_init(&store->arena, STORE_BUDGET);
}

void store_free(struct store *store) {
    map_free(&store->by_digest);
    free(store->items);
    arena_free(&store->arena);
}

uint32_t store_keep(struct store *store, struct span bytes) {
    struct digest const digest = hash_bytes(bytes);
    uint32_t *const number = map_at(&store->by_digest, key_of(&digest));
    if (*number != WORLD_NONE) {
        CHECK(span_equal(store->items[*number], bytes));
        return *number;
    }
    uint64_t capacity = store->capacity;
    store->items = world_grow(store->items, store->count, &capacity, sizeof *store->items);
    store->capacity = (uint32_t)capacity;
    struct span const kept = arena_copy(&store->arena, bytes);
    CHECK(kept.size == bytes.size && (kept.data != NULL || bytes.size == 0));
    store->items[store->count] = kept;
    *number = store->count++;
    return *number;
}

struct span store_bytes(const struct store *store, uint32_t number) {
    CHECK(number < store->count);
    return store->items[number];
}

uint32_t store_keep_list(struct store *store, const uint32_t *numbers, uint32_t count) {
    /* With its length in front, so that no list is empty bytes. */
    uint32_t *const all = malloc((count + 1) * sizeof *all);
    CHECK(all != NULL);
    all[0] = count;
    for (uint32_t i = 0; i < count; i++) {
        all[i + 1] = numbers[i];
    }
    uint32_t const number = store_keep(store, span_of(all, (count + 1) * sizeof *all));
    free(all);
    return number;
}

const uint32_t *store_list(const struct store *store, uint32_t number, uint32_t *count) {
    /* The arena aligns what it hands out. */
    const uint32_t *const all = (const uint32_t *)(const void *)store_bytes(store, number).data;
    *count = all[0];
    return all + 1;
}

/* ---- messages ---- */

static uint32_t digest_keep(struct world *world, const struct digest *digest) {
    return store_keep(&world->store, span_of(digest->bytes, DIGEST_SIZE));
}

uint32_t content_keep(struct world *world, const struct digest *batch_root, uint64_t first_index,
                      uint32_t tx_count, uint64_t time_ms) {
    uint8_t bytes[DIGEST_SIZE + 20];
    memcpy(bytes, batch_root->bytes, DIGEST_SIZE);
    store_u64_be(bytes + DIGEST_SIZE, first_index);
    store_u32_be(bytes + DIGEST_SIZE + 8, tx_count);
    store_u64_be(bytes + DIGEST_SIZE + 12, time_ms);
    return store_keep(&world->store, span_of(bytes, sizeof bytes));
}

static void describe_pre_prepare(struct world *world, struct message *message, struct arena *arena,
                                 struct span payload) {
    struct pre_prepare_message decoded;
    struct pre_prepare body;
    CHECK(pre_prepare_message_decode(&decoded, arena, payload) == CODEC_OK);
    CHECK(pre_prepare_decode(&body, arena, decoded.statement.body) == CODEC_OK);
    struct digest const digest =
        hash_statement(LABEL_PRE_PREPARE, &world->configuration->service, decoded.statement.body,
                       &decoded.statement.signature);
    message->view = body.view;
    message->seq = body.seq;
    message->view_start = body.view_start;
    message->evidence_upto = body.evidence_upto;
    message->subject = digest_keep(world, &digest);
    message->content =
        content_keep(world, &body.batch_root, body.first_index, body.tx_count, body.time_ms);
}

static void describe_prepare(struct world *world, struct message *message, struct arena *arena,
                             struct span payload) {
    struct signed_body statement;
    struct prepare body;
    CHECK(signed_decode(&statement, arena, payload, STATEMENT_SIZE_MAX) == CODEC_OK);
    CHECK(prepare_decode(&body, arena, statement.body) == CODEC_OK);
    message->view = body.view;
    message->seq = body.seq;
    message->subject = digest_keep(world, &body.pre_prepare_digest);
}

static void describe_commit(struct message *message, struct arena *arena, struct span payload) {
    struct commit_message body;
    CHECK(commit_message_decode(&body, arena, payload) == CODEC_OK);
    message->view = body.view;
    message->seq = body.seq;
}

static void describe_view_change(struct message *message, struct arena *arena,
                                 struct span payload) {
    struct signed_body statement;
    struct view_change body;
    CHECK(signed_decode(&statement, arena, payload, VIEW_CHANGE_SIGNED_SIZE_MAX) == CODEC_OK);
    CHECK(view_change_decode(&body, arena, statement.body) == CODEC_OK);
    message->view = body.view;
    if (body.chain_count != 0) {
        struct pre_prepare last;
        CHECK(pre_prepare_decode(&last, arena, body.chain[body.chain_count - 1].pre_prepare.body) ==
              CODEC_OK);
        message->rank = (struct rank){.view = last.view, .seq = last.seq};
    }
}

static void describe_new_view(struct message *message, struct arena *arena, struct span payload) {
    struct new_view_message decoded;
    struct signed_body statement;
    struct new_view body;
    CHECK(new_view_message_decode(&decoded, arena, payload) == CODEC_OK);
    CHECK(signed_decode(&statement, arena, decoded.new_view, STATEMENT_SIZE_MAX) == CODEC_OK);
    CHECK(new_view_decode(&body, arena, statement.body) == CODEC_OK);
    message->view = body.view;
    message->rank = (struct rank){.view = body.chosen_view, .seq = body.chosen_seq};
}

static void describe(struct world *world, struct message *message, struct span payload) {
    struct arena arena;
    arena_init(&arena, 64 * payload.size + (1u << 20));
    if (message->kind == MESSAGE_PRE_PREPARE) {
        describe_pre_prepare(world, message, &arena, payload);
    } else if (message->kind == MESSAGE_PREPARE) {
        describe_prepare(world, message, &arena, payload);
    } else if (message->kind == MESSAGE_COMMIT) {
        describe_commit(message, &arena, payload);
    } else if (message->kind == MESSAGE_VIEW_CHANGE) {
        describe_view_change(message, &arena, payload);
    } else if (message->kind == MESSAGE_NEW_VIEW) {
        describe_new_view(message, &arena, payload);
    } else {
        CHECK(message->kind == MESSAGE_RANGE);
    }
    arena_free(&arena);
}

static uint32_t keep(struct world *world, uint32_t author, enum message_kind kind,
                     struct span payload, uint32_t subject) {
    struct hash_state state;
    hash_init(&state);
    hash_update_u32(&state, author);
    hash_update_u32(&state, (uint32_t)kind);
    hash_update(&state, payload);
    struct digest const digest = hash_final(&state);
    uint32_t *const number = map_at(&world->message_by_digest, key_of(&digest));
    if (*number != WORLD_NONE) {
        const struct message *const known = &world->messages[*number];
        CHECK(known->author == author && known->kind == kind &&
              span_equal(store_bytes(&world->store, known->payload), payload));
        return *number;
    }
    world->messages = world_grow(world->messages, world->message_count, &world->message_capacity,
                                 sizeof *world->messages);
    struct message *const message = &world->messages[world->message_count];
    *message = (struct message){.kind = kind,
                                .author = author,
                                .payload = store_keep(&world->store, payload),
                                .subject = subject,
                                .content = WORLD_NONE};
    describe(world, message, payload);
    if (kind == MESSAGE_PRE_PREPARE) {
        *map_at(&world->pre_prepares, (uint64_t)message->subject + 1) =
            (uint32_t)world->message_count;
    }
    *number = (uint32_t)world->message_count++;
    CHECK(*number < 1u << EVENT_NUMBER_BITS);
    return *number;
}

uint32_t message_keep(struct world *world, uint32_t author, enum message_kind kind,
                      struct span payload) {
    CHECK(kind != MESSAGE_COMMIT);
    return keep(world, author, kind, payload, WORLD_NONE);
}

uint32_t message_keep_nonce(struct world *world, uint32_t author, struct span payload,
                            uint32_t subject) {
    return keep(world, author, MESSAGE_COMMIT, payload, subject);
}

const struct message *message_at(const struct world *world, uint32_t number) {
    CHECK(number < world->message_count);
    return &world->messages[number];
}

struct rank message_claim(struct world *world, const struct message *nonce) {
    struct rank claim = {.view = nonce->view, .seq = nonce->seq};
    uint32_t const about = nonce->subject == WORLD_NONE
                               ? WORLD_NONE
                               : *map_at(&world->pre_prepares, (uint64_t)nonce->subject + 1);
    if (about != WORLD_NONE && message_at(world, about)->view_start > claim.seq) {
        claim.seq = message_at(world, about)->view_start;
    }
    return claim;
}

/* Enough of a digest to tell two of them apart by eye. */
static void short_hex(const struct world *world, uint32_t number, char text[5]) {
    if (number == WORLD_NONE) {
        return;
    }
    struct span const bytes = store_bytes(&world->store, number);
    hex_encode(text, span_of(bytes.data, bytes.size < 2 ? bytes.size : 2));
}

void message_title(const struct world *world, uint32_t number, char *text) {
    const struct message *const message = message_at(world, number);
    char hex[5] = "";
    struct digest const digest = hash_bytes(store_bytes(&world->store, message->payload));
    unsigned long long const view = message->view;
    unsigned long long const seq = message->seq;
    if (message->kind == MESSAGE_PRE_PREPARE) {
        short_hex(world, message->subject, hex);
        (void)snprintf(text, NAME_SIZE, "pre-prepare %llu.%llu %s", view, seq, hex);
        return;
    }
    if (message->kind == MESSAGE_PREPARE || message->kind == MESSAGE_COMMIT) {
        short_hex(world, message->subject, hex);
        (void)snprintf(text, NAME_SIZE, "%s %llu.%llu %s of %u",
                       message->kind == MESSAGE_PREPARE ? "prepare" : "nonce", view, seq, hex,
                       message->author);
        return;
    }
    hex_encode(hex, span_of(digest.bytes, 2));
    if (message->kind == MESSAGE_RANGE) {
        (void)snprintf(text, NAME_SIZE, "range %s of %u", hex, message->author);
        return;
    }
    (void)snprintf(text, NAME_SIZE, "%s %llu on %llu.%llu %s of %u",
                   message->kind == MESSAGE_NEW_VIEW ? "new-view" : "view-change", view,
                   (unsigned long long)message->rank.view, (unsigned long long)message->rank.seq,
                   hex, message->author);
}
