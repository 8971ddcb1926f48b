/*
 * limits: what is bounded stays bounded, and an honest client gets through (protocol §5 step 1,
 * docs/ARCHITECTURE.md on memory).
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/meddler.h"

static void put_some(struct cluster *c, unsigned count) {
    char call[64];
    for (unsigned i = 0; i < count; i++) {
        (void)snprintf(call, sizeof call, "kv.put k%u v%u", i % 5, i);
        cluster_submit(c, call);
        cluster_run_ms(c, 12);
    }
}

static const char *const one_call = "kv.put a 1";

/* ---- the window ---- */

/* Execute count transactions, 256 at a time. */
static void execute_many(struct cluster *c, uint32_t count) {
    const char *calls[CALLS_MAX];
    for (uint32_t i = 0; i < CALLS_MAX; i++) {
        calls[i] = one_call;
    }
    for (uint32_t done = 0; done < count; done += CALLS_MAX) {
        uint64_t const min_index = cluster_status(c, 0).next_index;
        cluster_submit_order(
            c, done / CALLS_MAX % 3,
            &(struct order){.min_index = min_index, .call_count = CALLS_MAX, .calls = calls});
        cluster_run_ms(c, 15);
    }
    cluster_run_until_done(c, 5000);
}

/* A call whose value fills the rest of `call`, which has VALUE_SIZE_MAX characters. */
static void write_large_put(char *call) {
    static const char start[] = "kv.put a ";
    for (size_t i = 0; i + 1 < VALUE_SIZE_MAX; i++) {
        call[i] = 'x';
        if (i < sizeof start - 1) {
            call[i] = start[i];
        }
    }
    call[VALUE_SIZE_MAX - 1] = '\0';
}

Test(limits, a_request_whose_window_has_passed_is_never_executed) {
    struct cluster *const c = cluster_new(&(struct cluster_options){.seed = 1});
    uint32_t const early = cluster_submit(c, one_call);
    cluster_run_until_done(c, 100);
    execute_many(c, BATCH_CALLS_MAX + 2 * CALLS_MAX);
    uint64_t const next = cluster_status(c, 0).next_index;
    /* Executed long ago and forgotten; a new one of that time is refused as well. */
    for (uint32_t node = 0; node < 4; node++) {
        cluster_send_request(c, early, node);
    }
    uint32_t const late =
        cluster_prepare_order(c, 1, &(struct order){.call_count = 1, .calls = &one_call});
    cluster_send_request(c, late, 0);
    cluster_run_ms(c, 100);
    cr_assert(c->requests[early].reject == REJECT_EXPIRED);
    cr_assert(c->requests[late].reject == REJECT_EXPIRED);
    cr_assert(cluster_status(c, 0).next_index == next);
    cluster_end(c);
}

/* Known to the backups alone, it must not lie in their memory for ever. */
Test(limits, what_can_never_be_executed_is_forgotten) {
    struct cluster *const c = cluster_new(&(struct cluster_options){.seed = 2});
    for (uint32_t i = 0; i < 40; i++) {
        uint32_t const request =
            cluster_prepare_order(c, i % 3, &(struct order){.call_count = 1, .calls = &one_call});
        c->requests[request].abandoned = true;
        cluster_send_request(c, request, 1 + i % 3);
    }
    cluster_run_ms(c, 50);
    cr_assert(cluster_status(c, 1).pool_requests > 0);
    execute_many(c, BATCH_CALLS_MAX + 300);
    cluster_run_ms(c, 120000);
    for (uint32_t node = 0; node < 4; node++) {
        cr_assert(cluster_status(c, node).pool_requests == 0, "node %u holds %llu", node,
                  (unsigned long long)cluster_status(c, node).pool_requests);
    }
    cluster_end(c);
}

Test(limits, a_request_waits_for_its_first_index) {
    struct cluster *const c = cluster_new(&(struct cluster_options){.seed = 3});
    uint32_t const waiting = cluster_submit_order(
        c, 0, &(struct order){.min_index = 4, .call_count = 1, .calls = &one_call});
    cluster_run_ms(c, 100);
    cr_assert(!cluster_is_done(c, waiting));
    put_some(c, 3);
    cluster_run_until_done(c, 500);
    cr_assert(c->requests[waiting].first_index == 4);
    cluster_end(c);
}

Test(limits, an_absurd_first_index_is_refused) {
    struct cluster *const c = cluster_new(&(struct cluster_options){.seed = 4});
    static const uint64_t absurd[] = {10000, UINT64_C(1) << 40, UINT64_MAX >> 1};
    for (unsigned i = 0; i < 3; i++) {
        uint32_t const request = cluster_prepare_order(
            c, 0, &(struct order){.min_index = absurd[i], .call_count = 1, .calls = &one_call});
        cluster_send_request(c, request, 0);
        cluster_run_ms(c, 20);
        cr_assert(c->requests[request].reject == REJECT_TOO_EARLY);
        c->requests[request].abandoned = true;
    }
    put_some(c, 3);
    cluster_run_until_done(c, 500);
    cluster_end(c);
}

Test(limits, a_strangers_request_is_refused) {
    struct cluster *const c = cluster_new(&(struct cluster_options){.seed = 5});
    uint32_t const request = cluster_prepare_order(
        c, 0,
        &(struct order){.author = &c->consortium.stranger, .call_count = 1, .calls = &one_call});
    cluster_send_request(c, request, 0);
    cluster_run_ms(c, 20);
    cr_assert(c->requests[request].reject == REJECT_AUTHOR);
    cluster_end(c);
}

/* ---- the pool ---- */

/* With no quorum nothing leaves the pool: it fills to its bound, and the other author gets in. */
Test(limits, one_author_cannot_fill_the_pool) {
    struct cluster *const c = cluster_new(
        &(struct cluster_options){.seed = 6, .pool_requests_max = 20, .no_retries = true});
    uint32_t busy = 0;
    cluster_run_ms(c, 300);
    cluster_crash(c, 2);
    cluster_crash(c, 3);
    for (uint32_t i = 0; i < 60; i++) {
        uint32_t const request =
            cluster_prepare_order(c, 0, &(struct order){.call_count = 1, .calls = &one_call});
        cluster_send_request(c, request, 0);
        cluster_send_request(c, request, 1);
        cluster_run_ms(c, 2);
        busy += c->requests[request].reject == REJECT_BUSY;
        c->requests[request].abandoned = true;
    }
    cr_assert(busy >= 40);
    cr_assert(cluster_status(c, 0).pool_requests <= 10);
    uint32_t const honest =
        cluster_prepare_order(c, 1, &(struct order){.call_count = 1, .calls = &one_call});
    cluster_send_request(c, honest, 0);
    cluster_send_request(c, honest, 1);
    cluster_run_ms(c, 20);
    cr_assert(c->requests[honest].rejects == 0);
    cluster_start(c, 2);
    cluster_start(c, 3);
    cluster_run_ms(c, 3000);
    for (uint32_t node = 0; node < 4; node++) {
        cluster_send_request(c, honest, node); /* who fetched it knows of no client yet */
    }
    cluster_run_ms(c, 1000);
    cr_assert(cluster_is_done(c, honest));
    cluster_end(c);
}

/* ---- checkpoints that take long ---- */

Test(limits, batches_wait_for_a_checkpoint_that_takes_long) {
    struct cluster *const c = cluster_new(&(struct cluster_options){.seed = 7});
    c->checkpoint_us = 2000000;
    for (unsigned i = 0; i < 40; i++) {
        put_some(c, 1);
    }
    /* Batch 24 must carry the checkpoint of batch 12, which is not digested yet. */
    cr_assert(cluster_status(c, 0).executed_seq == 23);
    cluster_run_until_done(c, 20000);
    cluster_run_until_level(c, 20000);
    cr_assert(cluster_committed(c, 0) >= 24);
    cluster_end(c);
}

/* Only one backup is late with it: it waits, the others go on, and it catches up. */
Test(limits, one_late_checkpoint_holds_up_nobody_else) {
    struct cluster *const c = cluster_new(&(struct cluster_options){.seed = 8});
    c->nodes[3].cut_extra_us = 1500000;
    put_some(c, 60);
    cluster_run_until_done(c, 500);
    cr_assert(cluster_committed(c, 0) >= 60);
    cr_assert(cluster_status(c, 3).executed_seq == 23);
    c->nodes[3].cut_extra_us = 0;
    cluster_run_until_level(c, 10000);
    cluster_end(c);
}

/* ---- floods ---- */

/* Statements for batches far ahead take no memory and no time. */
Test(limits, statements_far_ahead_are_ignored) {
    struct cluster *const c = cluster_new(&(struct cluster_options){.seed = 9, .puppets = 1u << 3});
    struct digest const digest = {{1}};
    struct nonce const nonce = {{2}};
    put_some(c, 2);
    for (uint64_t i = 0; i < 400; i++) {
        uint64_t const seq = i < 300 ? 3 + i : (UINT64_MAX >> 1) - i;
        struct buffer prepare;
        struct buffer commit;
        buffer_init(&prepare, STATEMENT_SIZE_MAX);
        buffer_init(&commit, STATEMENT_SIZE_MAX);
        puppet_prepare(
            &prepare, c,
            &(struct prepare_parts){
                .replica = 3, .seq = seq, .pre_prepare_digest = digest, .nonce_hash = digest});
        puppet_commit(&commit, 3, seq, &nonce);
        for (uint32_t node = 0; node < 3; node++) {
            cluster_forge(c, 3, node, MESSAGE_PREPARE, buffer_span(&prepare));
            cluster_forge(c, 3, node, MESSAGE_COMMIT, buffer_span(&commit));
        }
        buffer_free(&prepare);
        buffer_free(&commit);
    }
    put_some(c, 150); /* past a whole turn of the ring of slots */
    cluster_run_until_done(c, 500);
    cluster_run_until_level(c, 1000);
    cluster_end(c);
}

/* Frames that are no messages at all. */
Test(limits, noise_is_ignored) {
    struct cluster *const c =
        cluster_new(&(struct cluster_options){.seed = 10, .puppets = 1u << 3});
    put_some(c, 2);
    for (uint32_t i = 0; i < 3000; i++) {
        uint8_t noise[200];
        size_t const size = prng_below(&c->prng, sizeof noise);
        for (size_t k = 0; k < size; k++) {
            noise[k] = (uint8_t)prng_next(&c->prng);
        }
        cluster_forge(c, 3, i % 3, (enum message_kind)(1 + i % 70), span_of(noise, size));
    }
    put_some(c, 10);
    cluster_run_until_done(c, 500);
    cluster_end(c);
}

/* ---- a primary that proposes more than a batch may hold ---- */

static uint32_t named_first;
static uint32_t named_count;

static bool name_many(struct cluster *c, const struct frame *frame, struct buffer *out) {
    struct pre_prepare_message message;
    struct pre_prepare body;
    struct digest digests[512];
    cr_assert(pre_prepare_message_decode(&message, &c->arena, frame->payload) == CODEC_OK);
    cr_assert(pre_prepare_decode(&body, &c->arena, message.statement.body) == CODEC_OK);
    for (uint32_t i = 0; i < named_count; i++) {
        digests[i] = c->requests[named_first + i].request.digest;
    }
    message.request_digests = digests;
    message.request_count = named_count;
    puppet_pre_prepare(out, c, 0, &body, &message);
    return true;
}

static void overfull(uint64_t seed, uint32_t count, uint32_t call_count, const char *call) {
    struct meddler m;
    const char *calls[CALLS_MAX];
    struct cluster *const c =
        cluster_new(&(struct cluster_options){.seed = seed, .pool_size_max = (size_t)64 << 20});
    put_some(c, 2);
    cluster_run_until_done(c, 500);
    meddler_attach(&m, c);
    for (uint32_t i = 0; i < call_count; i++) {
        calls[i] = call;
    }
    named_first = c->request_count;
    named_count = count;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t const request = cluster_prepare_order(
            c, i % 3, &(struct order){.call_count = call_count, .calls = calls});
        c->requests[request].abandoned = true;
        for (uint32_t node = 1; node < 4; node++) {
            cluster_send_request(c, request, node);
        }
    }
    cluster_run_ms(c, 100);
    meddle(&m, &(struct meddler_rule){MEDDLING_REWRITE, 0, ANYBODY, MESSAGE_PRE_PREPARE, ALWAYS,
                                      name_many, 0});
    uint32_t const trigger = cluster_submit(c, one_call);
    c->requests[trigger].abandoned = true;
    cluster_run_ms(c, 2000);
    for (uint32_t node = 1; node < 4; node++) {
        cr_assert(c->nodes[node].notes[NOTE_PRE_PREPARE_REFUSED] >= 1);
        cr_assert(c->nodes[node].last_rule == RULE_TX_COUNT, "%s",
                  rule_name(c->nodes[node].last_rule));
    }
    cluster_end(c);
}

/* Requests that nobody has are fetched from the primary that names them, but not without end. */
Test(limits, what_a_primary_names_is_kept_within_bounds) {
    struct meddler m;
    const char *calls[CALLS_MAX];
    char *const call = calloc(1, VALUE_SIZE_MAX);
    struct cluster *const c = cluster_new(
        &(struct cluster_options){.seed = 13, .pipeline = 1, .pool_size_max = (size_t)1 << 20});
    cr_assert(call != NULL);
    write_large_put(call);
    for (uint32_t i = 0; i < 31; i++) {
        calls[i] = call;
    }
    put_some(c, 2);
    cluster_run_until_done(c, 500);
    meddler_attach(&m, c);
    named_first = c->request_count;
    named_count = 24;
    for (uint32_t i = 0; i < named_count; i++) {
        uint32_t const request =
            cluster_prepare_order(c, i % 3, &(struct order){.call_count = 31, .calls = calls});
        c->requests[request].abandoned = true;
    }
    meddle(&m, &(struct meddler_rule){MEDDLING_REWRITE, 0, ANYBODY, MESSAGE_PRE_PREPARE, ALWAYS,
                                      name_many, 0});
    uint32_t const trigger = cluster_submit(c, one_call);
    c->requests[trigger].abandoned = true;
    cluster_run_ms(c, 20);
    for (uint32_t i = 0; i < named_count; i++) {
        struct requests_message const one = {.count = 1,
                                             .requests = &c->requests[named_first + i].bytes};
        struct buffer payload;
        buffer_init(&payload, FRAME_SIZE_MAX);
        cr_assert(requests_message_encode(&payload, &one));
        for (uint32_t node = 1; node < 4; node++) {
            cluster_forge(c, 0, node, MESSAGE_REQUESTS, buffer_span(&payload));
        }
        buffer_free(&payload);
    }
    cluster_run_ms(c, 100);
    for (uint32_t node = 1; node < 4; node++) {
        cr_assert(cluster_status(c, node).pool_requests <= 8, "%llu",
                  (unsigned long long)cluster_status(c, node).pool_requests);
    }
    free(call);
    cluster_end(c);
}

Test(limits, a_batch_of_too_many_calls_is_refused) {
    overfull(11, 300, 1, one_call);
}

Test(limits, a_batch_of_too_many_bytes_is_refused) {
    char *const call = calloc(1, VALUE_SIZE_MAX);
    cr_assert(call != NULL);
    write_large_put(call);
    overfull(12, 24, 31, call);
    free(call);
}
