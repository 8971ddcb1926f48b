/*
 * receipt: tests of receipts/: what a correct service hands out is valid, and nothing else is.
 * Every verdict is held against the second, independently written verifier.
 */
#include <criterion/criterion.h>

#include "receipts/receipt.h"
#include "tests/forge/forge.h"
#include "tests/sim/second_verifier.h"

#define ARENA_SIZE (8u << 20)

static struct consortium consortium;
static struct forge forge;
static struct arena arena;
static struct buffer sample; /* the receipt of the second call of batch 2's second request */

static const char *const calls[] = {"kv.put a 1",  "kv.put b 2",   "kv.get a",
                                    "kv.get none", "bank.balance", "kv.delete b"};

static void append_batch(uint32_t request_count, uint32_t number) {
    struct buffer encoded[8];
    struct span requests[8];
    for (uint32_t i = 0; i < request_count; i++) {
        buffer_init(&encoded[i], REQUEST_SIZE_MAX);
        order_encode(&encoded[i], &consortium,
                     &(struct order){.author = &consortium.users[i % CONSORTIUM_USERS],
                                     .min_index = 1,
                                     .number = number + i,
                                     .mode = i % 2 == 0 ? REQUEST_INDEPENDENT : REQUEST_ATOMIC,
                                     .call_count = 1 + i % 6,
                                     .calls = calls});
        requests[i] = buffer_span(&encoded[i]);
    }
    forge_append(&forge,
                 &(struct forge_order){.request_count = request_count, .requests = requests});
    for (uint32_t i = 0; i < request_count; i++) {
        buffer_free(&encoded[i]);
    }
}

static void set_up(void) {
    consortium_found(&consortium, &(struct consortium_options){0});
    forge_init(&forge, &consortium);
    forge.signers = 0xd; /* replicas 0, 2 and 3 */
    append_batch(1, 10);
    append_batch(7, 20);
    append_batch(4, 40);
    arena_init(&arena, ARENA_SIZE);
    buffer_init(&sample, RECEIPT_SIZE_MAX);
    forge_receipt(&forge, &(struct forge_place){.seq = 2, .request = 1, .position = 1}, &sample);
}

static void tear_down(void) {
    buffer_free(&sample);
    arena_free(&arena);
    forge_free(&forge);
    consortium_free(&consortium);
}

TestSuite(receipt, .init = set_up, .fini = tear_down);

static enum receipt_check verify(struct span bytes) {
    struct verified_receipt receipt;
    struct receipt_memory memory = {0};
    arena_reset(&arena);
    enum receipt_check const check =
        receipt_verify(&receipt, &memory, &arena, &consortium.configuration, bytes);
    bool const second = second_verifier_accepts(&consortium.configuration, bytes);
    cr_assert_eq(second, check == RECEIPT_VALID, "the verifiers disagree: %s",
                 receipt_check_text(check));
    return check;
}

Test(receipt, every_call_has_a_valid_one) {
    struct receipt_memory memory = {0};
    uint64_t index = 1;
    for (uint64_t seq = 1; seq <= 3; seq++) {
        struct batch batch;
        batch_init(&batch);
        forge_read(&forge, seq, &batch);
        for (uint32_t nth = 0; nth < batch.request_count; nth++) {
            for (uint32_t position = 0; position < 1 + nth % 6; position++) {
                struct forge_place const place = {seq, nth, position};
                struct verified_receipt receipt;
                buffer_clear(&sample);
                forge_receipt(&forge, &place, &sample);
                cr_assert_eq(verify(buffer_span(&sample)), RECEIPT_VALID);
                arena_reset(&arena);
                cr_assert_eq(receipt_verify(&receipt, &memory, &arena, &consortium.configuration,
                                            buffer_span(&sample)),
                             RECEIPT_VALID, "with what was verified before in memory");
                cr_assert_eq(receipt.receipt.index, index++);
                cr_assert_eq(memory.batch.pre_prepare.seq, seq);
                cr_assert_eq(memory.batch.signers, 0xd);
                cr_assert(digest_equal(&memory.batch.digest, &forge_batch_at(&forge, seq)->digest));
            }
        }
        batch_free(&batch);
    }
}

Test(receipt, any_flipped_byte_is_noticed, .timeout = 60) {
    static const uint8_t masks[] = {0x01, 0x80, 0xff};
    for (size_t at = 0; at < sample.size; at++) {
        for (size_t mask = 0; mask < sizeof masks; mask++) {
            sample.data[at] ^= masks[mask];
            cr_assert_neq(verify(buffer_span(&sample)), RECEIPT_VALID, "byte %zu", at);
            sample.data[at] ^= masks[mask];
        }
    }
    cr_assert_eq(verify(buffer_span(&sample)), RECEIPT_VALID);
}

Test(receipt, any_flipped_byte_is_noticed_with_memory) {
    struct verified_receipt receipt;
    struct receipt_memory memory = {0};
    cr_assert_eq(
        receipt_verify(&receipt, &memory, &arena, &consortium.configuration, buffer_span(&sample)),
        RECEIPT_VALID);
    for (size_t at = 0; at < sample.size; at++) {
        struct receipt_memory copy = memory;
        arena_reset(&arena);
        sample.data[at] ^= 0x10;
        cr_assert_neq(receipt_verify(&receipt, &copy, &arena, &consortium.configuration,
                                     buffer_span(&sample)),
                      RECEIPT_VALID, "byte %zu", at);
        sample.data[at] ^= 0x10;
    }
}

Test(receipt, any_other_length_is_noticed) {
    for (size_t size = 0; size < sample.size; size++) {
        cr_assert_neq(verify(span_of(sample.data, size)), RECEIPT_VALID);
    }
    cr_assert(buffer_append(&sample, span_of("", 1)));
    cr_assert_eq(verify(buffer_span(&sample)), RECEIPT_ENCODING);
}

Test(receipt, of_another_service) {
    struct consortium other;
    struct verified_receipt receipt;
    struct receipt_memory memory = {0};
    consortium_found(&other, &(struct consortium_options){.seed = 1});
    cr_assert_eq(
        receipt_verify(&receipt, &memory, &arena, &other.configuration, buffer_span(&sample)),
        RECEIPT_PRIMARY_SIGNATURE, "the same keys, but another service id");
    cr_assert(!second_verifier_accepts(&other.configuration, buffer_span(&sample)));
    consortium_free(&other);
    consortium.configuration.number = 2;
    cr_assert_eq(verify(buffer_span(&sample)), RECEIPT_CONFIGURATION);
}

/* ---- receipts put together by somebody who knows the format ---- */

struct parts {
    struct receipt receipt;
    struct certificate certificate;
    struct signature signatures[REPLICAS_MAX];
    struct nonce nonces[REPLICAS_MAX];
    struct pre_prepare body;
};

static void take_apart(struct parts *parts) {
    arena_reset(&arena);
    cr_assert_eq(receipt_decode(&parts->receipt, &arena, buffer_span(&sample)), CODEC_OK);
    cr_assert_eq(certificate_decode(&parts->certificate, &arena, parts->receipt.certificate),
                 CODEC_OK);
    cr_assert_eq(pre_prepare_decode(&parts->body, &arena, parts->certificate.pre_prepare),
                 CODEC_OK);
    memcpy(parts->signatures, parts->certificate.signatures, 2 * sizeof parts->signatures[0]);
    memcpy(parts->nonces, parts->certificate.nonces, 3 * sizeof parts->nonces[0]);
    parts->certificate.signatures = parts->signatures;
    parts->certificate.nonces = parts->nonces;
}

static enum receipt_check verify_parts(struct parts *parts) {
    struct buffer certificate;
    struct buffer bytes;
    buffer_init(&certificate, COMMIT_CERTIFICATE_SIZE_MAX);
    buffer_init(&bytes, RECEIPT_SIZE_MAX);
    cr_assert(certificate_encode(&certificate, &parts->certificate));
    parts->receipt.certificate = buffer_span(&certificate);
    cr_assert(receipt_encode(&bytes, &parts->receipt));
    struct arena const kept = arena;
    arena_init(&arena, ARENA_SIZE);
    enum receipt_check const check = verify(buffer_span(&bytes));
    arena_free(&arena);
    arena = kept;
    buffer_free(&certificate);
    buffer_free(&bytes);
    return check;
}

static void set_signers(struct parts *parts, uint64_t signers) {
    uint32_t const count = (uint32_t)__builtin_popcountll(signers);
    parts->certificate.signers = signers;
    parts->certificate.nonce_count = count;
    parts->certificate.signature_count = count - 1;
}

Test(receipt, put_together_right) {
    struct parts parts;
    take_apart(&parts);
    cr_assert_eq(verify_parts(&parts), RECEIPT_VALID);
}

Test(receipt, needs_a_quorum_with_the_primary) {
    static const uint64_t wrong[] = {0x1, 0x5, 0x9, 0xc, 0xe, 0xf, 0x1d, 0x100d, UINT64_MAX};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct parts parts;
        take_apart(&parts);
        for (uint32_t k = 3; k < REPLICAS_MAX; k++) { /* repeat what is there */
            parts.nonces[k] = parts.nonces[k % 3];
            parts.signatures[k - 1] = parts.signatures[(k - 1) % 2];
        }
        set_signers(&parts, wrong[i]);
        cr_assert_eq(verify_parts(&parts), RECEIPT_SIGNERS, "signers %zu", i);
    }
}

Test(receipt, signers_are_who_they_say) {
    struct parts parts;
    take_apart(&parts);
    set_signers(&parts, 0x7); /* replica 1 instead of 3, with what 2 and 3 signed */
    cr_assert_eq(verify_parts(&parts), RECEIPT_PREPARE_SIGNATURE);
    take_apart(&parts);
    parts.signatures[1] = parts.signatures[0]; /* one signer counted twice */
    parts.nonces[2] = parts.nonces[1];
    cr_assert_eq(verify_parts(&parts), RECEIPT_PREPARE_SIGNATURE);
    take_apart(&parts);
    struct nonce const nonce = parts.nonces[1];
    parts.nonces[1] = parts.nonces[2];
    parts.nonces[2] = nonce;
    cr_assert_eq(verify_parts(&parts), RECEIPT_PREPARE_SIGNATURE, "swapped nonces");
    take_apart(&parts);
    parts.nonces[0] = parts.nonces[1];
    cr_assert_eq(verify_parts(&parts), RECEIPT_COMMITMENT, "another's nonce for the primary");
}

Test(receipt, certificate_of_another_batch) {
    struct parts parts;
    struct buffer other;
    struct certificate certificate;
    buffer_init(&other, COMMIT_CERTIFICATE_SIZE_MAX);
    forge_certificate(&forge, 3, &other);
    take_apart(&parts);
    cr_assert_eq(certificate_decode(&certificate, &arena, buffer_span(&other)), CODEC_OK);
    struct certificate const own = parts.certificate;
    parts.certificate = certificate;
    cr_assert_eq(verify_parts(&parts), RECEIPT_INDEX);
    parts.certificate = own;
    parts.certificate.signatures = certificate.signatures;
    cr_assert_eq(verify_parts(&parts), RECEIPT_PREPARE_SIGNATURE);
    parts.certificate = own;
    parts.certificate.pre_prepare_signature = certificate.pre_prepare_signature;
    cr_assert_eq(verify_parts(&parts), RECEIPT_PRIMARY_SIGNATURE);
    buffer_free(&other);
}

Test(receipt, places_that_do_not_fit) {
    struct parts parts;
    for (uint64_t index = 0; index < 40; index++) {
        take_apart(&parts);
        if (index == parts.receipt.index) {
            continue;
        }
        parts.receipt.index = index;
        enum receipt_check const check = verify_parts(&parts);
        cr_assert(check == RECEIPT_INDEX || check == RECEIPT_BATCH_PATH, "index %d", (int)index);
    }
    for (uint32_t position = 0; position < 4; position++) {
        take_apart(&parts);
        if (position != parts.receipt.position) {
            parts.receipt.position = position;
            cr_assert_eq(verify_parts(&parts), RECEIPT_CALL_PATH);
        }
    }
    take_apart(&parts);
    parts.receipt.index = UINT64_MAX >> 1;
    cr_assert_eq(verify_parts(&parts), RECEIPT_INDEX);
}

Test(receipt, paths_that_do_not_fit) {
    struct parts parts;
    take_apart(&parts);
    parts.receipt.batch_path_count--;
    cr_assert_eq(verify_parts(&parts), RECEIPT_BATCH_PATH);
    take_apart(&parts);
    parts.receipt.batch_path++;
    parts.receipt.batch_path_count--;
    cr_assert_eq(verify_parts(&parts), RECEIPT_BATCH_PATH);
    take_apart(&parts);
    parts.receipt.call_path_count = 0;
    cr_assert_eq(verify_parts(&parts), RECEIPT_CALL_PATH);
    take_apart(&parts);
    struct digest longer[MERKLE_DEPTH_MAX] = {{{0}}};
    memcpy(longer, parts.receipt.batch_path, parts.receipt.batch_path_count * DIGEST_SIZE);
    parts.receipt.batch_path = longer;
    parts.receipt.batch_path_count++;
    cr_assert_eq(verify_parts(&parts), RECEIPT_BATCH_PATH);
}

Test(receipt, another_outcome_or_call) {
    struct parts parts;
    struct parts others;
    take_apart(&parts);
    struct span const outcome = parts.receipt.outcome;
    struct span const call = parts.receipt.call;
    struct buffer kept;
    buffer_init(&kept, RECEIPT_SIZE_MAX);
    cr_assert(buffer_append(&kept, outcome) && buffer_append(&kept, call));
    buffer_clear(&sample);
    forge_receipt(&forge, &(struct forge_place){.seq = 2, .request = 5, .position = 3}, &sample);
    take_apart(&others);
    others.receipt.outcome = span_of(kept.data, outcome.size);
    cr_assert_eq(verify_parts(&others), RECEIPT_BATCH_PATH);
    take_apart(&others);
    others.receipt.call = span_of(kept.data + outcome.size, call.size);
    cr_assert_eq(verify_parts(&others), RECEIPT_CALL_PATH);
    buffer_free(&kept);
}

/* A coalition of all replicas can sign anything, but no receipt for what a request does not allow.
 */
static enum receipt_check verify_forged(const struct order *order) {
    struct buffer encoded;
    buffer_init(&encoded, REQUEST_SIZE_MAX);
    order_encode(&encoded, &consortium, order);
    struct span const request = buffer_span(&encoded);
    forge_append(&forge, &(struct forge_order){
                             .request_count = 1, .requests = &request, .lie = RULE_REQUEST_WINDOW});
    buffer_clear(&sample);
    forge_receipt(&forge, &(struct forge_place){.seq = forge_seq(&forge)}, &sample);
    enum receipt_check const check = verify(buffer_span(&sample));
    buffer_free(&encoded);
    return check;
}

Test(receipt, requests_that_must_not_execute_there) {
    uint64_t const next = forge.next_index;
    struct order order = {.author = &consortium.users[0], .call_count = 1, .calls = calls};
    order.min_index = next;
    cr_assert_eq(verify_forged(&order), RECEIPT_VALID);
    order.min_index = next + 2;
    cr_assert_eq(verify_forged(&order), RECEIPT_WINDOW);
    order.author = &consortium.stranger;
    order.min_index = 1;
    cr_assert_eq(verify_forged(&order), RECEIPT_AUTHOR);
    order.author = &consortium.replicas[0].signing;
    cr_assert_eq(verify_forged(&order), RECEIPT_AUTHOR);
}

Test(receipt, the_end_of_a_window) {
    /* min_index 1 allows indices 1 .. W; go near the end with bundles of 256 calls. */
    const char *many[CALLS_MAX];
    for (uint32_t i = 0; i < CALLS_MAX; i++) {
        many[i] = "kv.put a 1";
    }
    uint64_t const window = consortium.configuration.parameters.window;
    struct order order = {
        .author = &consortium.users[0], .min_index = 1, .call_count = CALLS_MAX, .calls = many};
    while (forge.next_index + CALLS_MAX - 1 <= window) {
        order.number = forge.next_index;
        cr_assert_eq(verify_forged(&order), RECEIPT_VALID);
    }
    cr_assert_eq(verify_forged(&order), RECEIPT_WINDOW);
}

Test(receipt, a_wrong_request_signature) {
    struct parts parts;
    take_apart(&parts);
    /* The digest of t covers the signature: build the batch around the bad one. */
    struct buffer encoded;
    struct request request;
    buffer_init(&encoded, REQUEST_SIZE_MAX);
    order_encode(
        &encoded, &consortium,
        &(struct order){
            .author = &consortium.users[0], .min_index = 1, .call_count = 1, .calls = calls});
    cr_assert_eq(
        request_decode(&request, &arena, &consortium.configuration.service, buffer_span(&encoded)),
        CODEC_OK);
    struct signature signature = request.signature;
    signature.bytes[40] ^= 1;
    struct buffer bad;
    buffer_init(&bad, REQUEST_SIZE_MAX);
    cr_assert(request_encode(&bad, request.header, &signature, 1, &request.calls[0].bytes));
    struct span const span = buffer_span(&bad);
    forge_append(&forge, &(struct forge_order){
                             .request_count = 1, .requests = &span, .lie = RULE_REQUEST_SIGNATURE});
    buffer_clear(&sample);
    forge_receipt(&forge, &(struct forge_place){.seq = forge_seq(&forge)}, &sample);
    cr_assert_eq(verify(buffer_span(&sample)), RECEIPT_REQUEST_SIGNATURE);
    buffer_free(&encoded);
    buffer_free(&bad);
}

Test(receipt, files) {
    struct buffer file;
    struct span inner;
    buffer_init(&file, RECEIPT_FILE_SIZE_MAX);
    cr_assert(receipt_file_encode(&file, buffer_span(&sample)));
    cr_assert_eq(memcmp(file.data, "onus-receipt-v1\n", 16), 0);
    cr_assert(receipt_file_decode(&inner, buffer_span(&file)));
    cr_assert(span_equal(inner, buffer_span(&sample)));
    for (size_t at = 0; at < 16; at++) {
        file.data[at] ^= 1;
        cr_assert(!receipt_file_decode(&inner, buffer_span(&file)));
        file.data[at] ^= 1;
        cr_assert(!receipt_file_decode(&inner, span_of(file.data, at)));
    }
    buffer_free(&file);
}
