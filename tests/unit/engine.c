/*
 * engine: undo, cuts and layers, held against a naive model that copies whole states.
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "execution/layer.h"
#include "tests/unit/calls.h"

/* ---- a naive model: whole states, copied ---- */

#define MODEL_ITEMS_MAX 64u
#define MARKS_MAX 64u
#define CUTS_MAX 16u

struct model_item {
    char key[16];
    char value[16];
};

struct model {
    uint32_t count;
    struct model_item items[MODEL_ITEMS_MAX];
};

static struct model_item *model_find(struct model *model, const char *key) {
    for (uint32_t i = 0; i < model->count; i++) {
        if (strcmp(model->items[i].key, key) == 0) {
            return &model->items[i];
        }
    }
    return NULL;
}

static int item_order(const void *a, const void *b) {
    return strcmp(((const struct model_item *)a)->key, ((const struct model_item *)b)->key);
}

static void model_put(struct model *model, const char *key, const char *value) {
    struct model_item *item = model_find(model, key);
    if (item == NULL) {
        cr_assert(model->count < MODEL_ITEMS_MAX);
        item = &model->items[model->count++];
        (void)snprintf(item->key, sizeof item->key, "%s", key);
    }
    (void)snprintf(item->value, sizeof item->value, "%s", value);
    qsort(model->items, model->count, sizeof model->items[0], item_order);
}

static void model_delete(struct model *model, const char *key) {
    struct model_item *const item = model_find(model, key);
    if (item != NULL) {
        *item = model->items[--model->count];
        qsort(model->items, model->count, sizeof model->items[0], item_order);
    }
}

/* RFC 9162 §2.1.1, as it is written there. */
static struct digest naive_root(const struct digest *leaves, size_t count) {
    if (count == 0) {
        return hash_bytes(span_of(NULL, 0));
    }
    if (count == 1) {
        return leaves[0];
    }
    size_t split = 1;
    while (2 * split < count) {
        split *= 2;
    }
    uint8_t node[1 + 2 * DIGEST_SIZE] = {1};
    struct digest const left = naive_root(leaves, split);
    struct digest const right = naive_root(leaves + split, count - split);
    memcpy(node + 1, left.bytes, DIGEST_SIZE);
    memcpy(node + 1 + DIGEST_SIZE, right.bytes, DIGEST_SIZE);
    return hash_bytes(span_of(node, sizeof node));
}

static struct digest model_root(const struct model *model) {
    struct digest leaves[MODEL_ITEMS_MAX];
    for (uint32_t i = 0; i < model->count; i++) {
        uint8_t leaf[64] = {0};
        struct span const key = span_text(model->items[i].key);
        struct span const value = span_text(model->items[i].value);
        store_u32_be(leaf + 1, (uint32_t)key.size);
        memcpy(leaf + 5, key.data, key.size);
        memcpy(leaf + 5 + key.size, value.data, value.size);
        leaves[i] = hash_bytes(span_of(leaf, 5 + key.size + value.size));
    }
    return naive_root(leaves, model->count);
}

/* A base over a model. */
static int model_base_seek(void *context, struct span key, struct span *found, struct span *value) {
    struct model *const model = context;
    for (uint32_t i = 0; i < model->count; i++) {
        struct span const candidate = span_text(model->items[i].key);
        if (span_compare(candidate, key) >= 0) {
            *found = candidate;
            *value = span_text(model->items[i].value);
            return 1;
        }
    }
    return 0;
}

static int model_base_get(void *context, struct span key, struct span *value) {
    struct span found;
    return model_base_seek(context, key, &found, value) == 1 && span_equal(found, key);
}

/* ---- random histories: one engine in memory, one over a base, and the model ---- */

struct saved {
    uint64_t marks[2]; /* of the two engines: their logs need not count alike */
    uint64_t seq;      /* for a cut */
    struct model model;
};

struct history {
    struct bench benches[2];
    struct model base; /* what lies below the second engine */
    struct model now;
    uint32_t mark_count;
    struct saved marks[MARKS_MAX];
    uint32_t cut_count;
    struct saved cuts[CUTS_MAX];
    uint64_t settled;
    uint64_t next_seq;
    uint64_t random;
};

static uint32_t draw(struct history *h, uint32_t below) {
    h->random ^= h->random << 13;
    h->random ^= h->random >> 7;
    h->random ^= h->random << 17;
    return (uint32_t)(h->random >> 32) % below;
}

static struct saved save(const struct history *h) {
    struct saved saved = {.model = h->now};
    for (unsigned i = 0; i < 2; i++) {
        saved.marks[i] = engine_mark(h->benches[i].engine);
    }
    return saved;
}

/* Apply one random call to the model; write it down; returns whether it succeeds. */
static bool random_call(struct history *h, struct model *model, char text[static 64]) {
    char key[16] = "k/";
    char value[16];
    uint32_t const name = draw(h, 40);
    (void)snprintf(key + 2, sizeof key - 2, "%c%c", 'a' + name % 7, 'a' + name % 5);
    (void)snprintf(value, sizeof value, "%u", draw(h, 1000));
    switch (draw(h, 3)) {
    case 0:
        (void)snprintf(text, 64, "kv.put %s %s", key + 2, value);
        model_put(model, key, value);
        return true;
    case 1: {
        bool const present = model_find(model, key) != NULL;
        (void)snprintf(text, 64, "kv.delete %s", key + 2);
        model_delete(model, key);
        return present;
    }
    default: {
        bool const absent = model_find(model, key) == NULL;
        (void)snprintf(text, 64, "kv.cas %s ~ %s", key + 2, value);
        if (absent) {
            model_put(model, key, value);
        }
        return absent;
    }
    }
}

static void step_execute(struct history *h) {
    char texts[4][64];
    struct call calls[4];
    struct model model = h->now;
    uint32_t const count = 1 + draw(h, 4);
    enum request_mode const mode = draw(h, 2) == 0 ? REQUEST_ATOMIC : REQUEST_INDEPENDENT;
    bool good = true;
    for (uint32_t i = 0; i < count; i++) {
        good = random_call(h, &model, texts[i]) && good;
        call_from_text(&calls[i], texts[i]);
    }
    if (good || mode == REQUEST_INDEPENDENT) {
        h->now = model;
    }
    for (unsigned i = 0; i < 2; i++) {
        execute_calls(&h->benches[i], mode, count, calls);
    }
    for (uint32_t i = 0; i < count; i++) {
        cr_assert(
            span_equal(h->benches[0].execution.outcomes[i], h->benches[1].execution.outcomes[i]));
    }
}

static void step_mark(struct history *h) {
    if (h->mark_count < MARKS_MAX) {
        h->marks[h->mark_count++] = save(h);
    }
}

static void step_rollback(struct history *h) {
    if (h->mark_count == 0) {
        return;
    }
    uint32_t const at = draw(h, h->mark_count);
    h->now = h->marks[at].model;
    while (h->cut_count > 0 && h->cuts[h->cut_count - 1].marks[0] > h->marks[at].marks[0]) {
        h->cut_count--;
    }
    for (unsigned i = 0; i < 2; i++) {
        engine_rollback(h->benches[i].engine, h->marks[at].marks[i]);
    }
    h->mark_count = at + 1;
}

static void step_settle(struct history *h) {
    if (h->mark_count == 0) {
        return;
    }
    uint32_t const at = draw(h, h->mark_count);
    h->settled = h->marks[at].marks[0];
    for (unsigned i = 0; i < 2; i++) {
        engine_settle(h->benches[i].engine, h->marks[at].marks[i]);
    }
    h->mark_count -= at;
    memmove(h->marks, h->marks + at, h->mark_count * sizeof h->marks[0]);
}

static void step_cut(struct history *h) {
    if (h->cut_count == CUTS_MAX) {
        return;
    }
    h->next_seq += 1 + draw(h, 3);
    for (unsigned i = 0; i < 2; i++) {
        engine_cut(h->benches[i].engine, h->next_seq);
    }
    h->cuts[h->cut_count] = save(h);
    h->cuts[h->cut_count++].seq = h->next_seq;
}

static bool apply_to_model(void *context, struct span key, struct span value, bool deleted) {
    char key_text[16];
    char value_text[16];
    (void)snprintf(key_text, sizeof key_text, "%.*s", (int)key.size, (const char *)key.data);
    if (deleted) {
        model_delete(context, key_text);
        return true;
    }
    (void)snprintf(value_text, sizeof value_text, "%.*s", (int)value.size,
                   (const char *)value.data);
    model_put(context, key_text, value_text);
    return true;
}

static void expect_model(const struct model *got, const struct model *wanted) {
    cr_assert(got->count == wanted->count);
    for (uint32_t i = 0; i < got->count; i++) {
        cr_assert(strcmp(got->items[i].key, wanted->items[i].key) == 0);
        cr_assert(strcmp(got->items[i].value, wanted->items[i].value) == 0);
    }
}

/* What the layers change, laid over the base, is the state at the cut. */
static void step_absorb(struct history *h) {
    if (h->cut_count == 0 || h->cuts[0].marks[0] > h->settled) {
        return;
    }
    struct model base = h->base;
    cr_assert(engine_visit_changes(h->benches[1].engine, h->cuts[0].seq, apply_to_model, &base));
    expect_model(&base, &h->cuts[0].model);
    h->base = base;
    for (unsigned i = 0; i < 2; i++) {
        engine_absorb(h->benches[i].engine, h->cuts[0].seq);
    }
    h->cut_count--;
    memmove(h->cuts, h->cuts + 1, h->cut_count * sizeof h->cuts[0]);
}

struct walk {
    struct model model;
    struct state_hasher hasher;
    uint8_t last[KEY_SIZE_MAX];
    size_t last_size;
};

static bool walk_visitor(void *context, struct span key, struct span value, bool deleted) {
    struct walk *const walk = context;
    cr_assert(!deleted);
    cr_assert(span_compare(span_of(walk->last, walk->last_size), key) < 0);
    memcpy(walk->last, key.data, key.size);
    walk->last_size = key.size;
    state_hasher_add(&walk->hasher, key, value);
    return apply_to_model(&walk->model, key, value, false);
}

static void check_cut(struct history *h) {
    if (h->cut_count == 0) {
        return;
    }
    const struct saved *const cut = &h->cuts[draw(h, h->cut_count)];
    struct digest const wanted = model_root(&cut->model);
    for (unsigned i = 0; i < 2; i++) {
        struct walk walk = {.last_size = 0};
        state_hasher_init(&walk.hasher);
        cr_assert(engine_visit_state(h->benches[i].engine, cut->seq, walk_visitor, &walk));
        expect_model(&walk.model, &cut->model);
        struct digest const root = state_hasher_final(&walk.hasher);
        cr_assert(digest_equal(&root, &wanted));
        cr_assert(walk.hasher.count == cut->model.count);
    }
}

static void check_scan(struct history *h) {
    char text[4096];
    char wanted[4096] = "";
    size_t at = 0;
    struct call call;
    for (uint32_t i = 0; i < h->now.count; i++) {
        at += (size_t)snprintf(wanted + at, sizeof wanted - at, "%s%s %s", i == 0 ? "" : " ",
                               h->now.items[i].key + 2, h->now.items[i].value);
    }
    call_from_text(&call, "kv.scan ~ ~ 64");
    for (unsigned i = 0; i < 2; i++) {
        execute_calls(&h->benches[i], REQUEST_INDEPENDENT, 1, &call);
        struct outcome const outcome = outcome_at(&h->benches[i], 0);
        reply_join(&outcome, text, sizeof text);
        cr_assert(strcmp(text, wanted) == 0);
    }
}

static void random_step(struct history *h) {
    uint32_t const what = draw(h, 20);
    if (what < 11) {
        step_execute(h);
    } else if (what < 14) {
        step_mark(h);
    } else if (what < 15) {
        step_rollback(h);
    } else if (what < 16) {
        step_settle(h);
    } else if (what < 18) {
        step_cut(h);
    } else {
        step_absorb(h);
    }
}

Test(engine, random_histories_match_the_model) {
    struct history *const h = malloc(sizeof *h);
    cr_assert(h != NULL);
    for (uint64_t seed = 1; seed <= 60; seed++) {
        memset(h, 0, sizeof *h);
        h->random = seed * 0x9E3779B97F4A7C15u;
        struct state_base const base = {&h->base, model_base_get, model_base_seek};
        bench_init(&h->benches[0], NULL);
        bench_init(&h->benches[1], &base);
        for (unsigned step = 0; step < 400; step++) {
            random_step(h);
            check_scan(h);
            check_cut(h);
        }
        bench_free(&h->benches[0]);
        bench_free(&h->benches[1]);
    }
    free(h);
}

/* ---- undo, and what must not be ---- */

Test(engine, undo_across_cuts) {
    struct bench b;
    bench_init(&b, NULL);
    expect_ok(&b, "kv.put a 1", "");
    uint64_t const first = engine_mark(b.engine);
    expect_ok(&b, "kv.put a 2", "");
    engine_cut(b.engine, 5);
    expect_ok(&b, "kv.delete a", "");
    uint64_t const second = engine_mark(b.engine);
    engine_cut(b.engine, 9);
    expect_ok(&b, "kv.put a 3", "");
    engine_rollback(b.engine, second);
    expect_refused(&b, "kv.get a", "no such key");
    cr_assert(!engine_visit_state(b.engine, 9, apply_to_model, &(struct model){0}));
    engine_rollback(b.engine, first);
    expect_ok(&b, "kv.get a", "1");
    engine_cut(b.engine, 5);
    struct model state = {0};
    cr_assert(engine_visit_state(b.engine, 5, apply_to_model, &state));
    cr_assert(state.count == 1);
    bench_free(&b);
}

Test(engine, preload) {
    static const uint8_t bytes[VALUE_SIZE_MAX + 1] = {1};
    struct bench b;
    bench_init(&b, NULL);
    cr_assert(engine_preload(b.engine, span_text("k/a"), span_text("1")));
    cr_assert(!engine_preload(b.engine, span_text("k/a"), span_text("2")));
    cr_assert(!engine_preload(b.engine, span_of(NULL, 0), span_text("2")));
    cr_assert(!engine_preload(b.engine, span_of(bytes, KEY_SIZE_MAX + 1), span_text("2")));
    cr_assert(!engine_preload(b.engine, span_text("k/b"), span_of(bytes, sizeof bytes)));
    expect_ok(&b, "kv.scan ~ ~ 64", "a 1");
    bench_free(&b);
}

static int broken_get(void *context, struct span key, struct span *value) {
    (void)context;
    (void)key;
    (void)value;
    return -1;
}

static int broken_seek(void *context, struct span key, struct span *found, struct span *value) {
    (void)found;
    return broken_get(context, key, value);
}

/* A store that fails gives no outcome at all, and the engine says so from then on. */
Test(engine, failing_base) {
    static const char *const texts[] = {"kv.get a", "kv.scan ~ ~ 1"};
    for (unsigned i = 0; i < 2; i++) {
        struct state_base const base = {NULL, broken_get, broken_seek};
        struct engine *const engine = engine_new(&base);
        struct execution execution;
        struct call call;
        call_from_text(&call, texts[i]);
        struct request const request = {
            .mode = REQUEST_INDEPENDENT, .call_count = 1, .calls = &call};
        execution_init(&execution);
        engine_execute(engine, &execution, &calls_service, &request);
        cr_assert(engine_failed(engine));
        cr_assert(execution.count == 0);
        execution_free(&execution);
        engine_free(engine);
    }
}

/* ---- another thread reads a settled cut while this one goes on ---- */

struct reader {
    const struct engine *engine;
    uint64_t count;
    bool complete;
};

static bool count_visitor(void *context, struct span key, struct span value, bool deleted) {
    struct reader *const reader = context;
    reader->count += key.size + value.size + deleted;
    return true;
}

static void *read_cut(void *argument) {
    struct reader *const reader = argument;
    reader->complete = engine_visit_changes(reader->engine, 2, count_visitor, reader);
    return NULL;
}

Test(engine, settled_cut_is_read_by_another_thread) {
    struct bench b;
    char text[64];
    bench_init(&b, NULL);
    for (unsigned i = 0; i < 4000; i++) {
        (void)snprintf(text, sizeof text, "kv.put key%04u value%04u", i, i);
        expect_ok(&b, text, "");
        if (i == 1999) {
            engine_cut(b.engine, 1);
        }
    }
    engine_cut(b.engine, 2);
    engine_settle(b.engine, engine_mark(b.engine));
    uint64_t const mark = engine_mark(b.engine);
    for (unsigned round = 0; round < 20; round++) {
        struct reader reader = {.engine = b.engine};
        pthread_t thread;
        cr_assert(pthread_create(&thread, NULL, read_cut, &reader) == 0);
        expect_ok(&b, "kv.put key0001 other", "");
        engine_cut(b.engine, 3);
        expect_ok(&b, "kv.delete key0002", "");
        expect_ok(&b, "kv.get key3999", "value3999");
        engine_rollback(b.engine, mark);
        cr_assert(pthread_join(thread, NULL) == 0);
        cr_assert(reader.complete);
        cr_assert(reader.count == 4000 * (2 + 7 + 9));
    }
    bench_free(&b);
}

/* ---- one layer with many items ---- */

#define LAYER_KEYS 5000u
#define CROWD 24u /* more than a search looks at in one cell */

static struct span numbered_key(char (*text)[24], uint32_t number) {
    int const size = snprintf(*text, sizeof *text, "account/%u", number);
    return span_of(*text, (size_t)size);
}

static struct item *layer_put(struct layer *layer, uint32_t number) {
    char text[24];
    struct item_value *const value = item_value_new(span_of(&number, sizeof number));
    cr_assert(value != NULL);
    struct item *const item = layer_insert(layer, numbered_key(&text, number), value);
    cr_assert(item != NULL);
    return item;
}

/* Is every number found that was put, and no other? */
static void expect_found(const struct layer *layer, uint32_t number, bool present) {
    char text[24];
    const struct item *const item = layer_find(layer, numbered_key(&text, number));
    cr_assert_eq(item != NULL, present, "%u", number);
    cr_assert(item == NULL || span_equal(item_value_span(item), span_of(&number, sizeof number)));
}

Test(engine, a_layer_finds_what_it_holds_however_large) {
    struct layer layer;
    struct layer below;
    layer_init(&layer);
    layer_init(&below);
    for (uint32_t i = 0; i < LAYER_KEYS; i += 2) {
        (void)layer_put(&layer, i);
    }
    for (uint32_t i = 0; i < LAYER_KEYS; i++) {
        expect_found(&layer, i, i % 2 == 0);
    }
    for (uint32_t i = 0; i < LAYER_KEYS; i += 4) {
        char text[24];
        layer_remove(&layer, layer_find(&layer, numbered_key(&text, i)));
    }
    for (uint32_t i = 0; i < LAYER_KEYS; i += 3) {
        (void)layer_put(&below, i);
    }
    layer_merge_down(&below, &layer);
    cr_assert(layer_empty(&layer));
    for (uint32_t i = 0; i < LAYER_KEYS; i++) {
        expect_found(&layer, i, false);
        expect_found(&below, i, i % 3 == 0 || i % 4 == 2);
    }
    layer_clear(&below);
    expect_found(&below, 3, false);
    (void)layer_put(&below, 3);
    expect_found(&below, 3, true);
    layer_clear(&below);
}

Test(engine, keys_that_crowd_one_cell_are_found) {
    struct layer all;
    struct layer crowded;
    uint32_t numbers[CROWD];
    uint32_t count = 0;
    layer_init(&all);
    layer_init(&crowded);
    for (uint32_t i = 0; count < CROWD; i++) {
        if (layer_put(&all, i)->hash % 64 == 5) { /* one cell, of as many as a small layer has */
            numbers[count++] = i;
        }
    }
    for (uint32_t i = 0; i < CROWD; i++) {
        (void)layer_put(&crowded, numbers[i]);
    }
    for (uint32_t round = 0; round < CROWD; round++) {
        for (uint32_t i = 0; i < CROWD; i++) {
            expect_found(&crowded, numbers[i], i >= round);
        }
        char text[24];
        layer_remove(&crowded, layer_find(&crowded, numbered_key(&text, numbers[round])));
    }
    cr_assert(layer_empty(&crowded));
    layer_clear(&all);
    layer_clear(&crowded);
}
