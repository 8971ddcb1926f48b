/*
 * store: what a client keeps (host/receipt_store.h), and the thread that writes it. What was
 * committed is there after opening anew; the receipts that come out of the shared form verify one
 * by one; certificates are kept once; another service, another version and damage are told.
 */
#include "host/receipt_store.h"

#include <criterion/criterion.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "client/writer.h"
#include "receipts/receipt.h"
#include "tests/unit/scripted.h"

static char directory[64];
static char path[96];
static struct receipt_store *store;
static struct problem problem;

static void reopen(enum receipt_store_mode mode) {
    receipt_store_close(store);
    problem = (struct problem){.code = EXIT_OK};
    store = receipt_store_open(path, &configuration.service, mode, &problem);
    cr_assert_not_null(store, "%s", problem.text);
}

static void setup(void) {
    scripted_init();
    (void)snprintf(directory, sizeof directory, "/tmp/onus-store-XXXXXX");
    cr_assert_not_null(mkdtemp(directory));
    (void)snprintf(path, sizeof path, "%s/receipts", directory);
    store = NULL;
    reopen(RECEIPT_STORE_WRITE);
}

static int remove_entry(const char *name, const struct stat *about, int kind, struct FTW *walk) {
    (void)about;
    (void)kind;
    (void)walk;
    return remove(name);
}

static void teardown(void) {
    receipt_store_close(store);
    cr_assert_eq(nftw(directory, remove_entry, 8, FTW_DEPTH | FTW_PHYS), 0);
}

TestSuite(store, .init = setup, .fini = teardown);

/* ---- writing --------------------------------------------------------------------------------- */

static uint64_t write_down(const struct test_request *request) {
    struct receipt_change change = {.kind = RECEIPT_CHANGE_PENDING,
                                    .bytes = buffer_span(&request->bytes)};
    cr_assert_eq(receipt_store_commit(store, &change, 1, &problem), 0, "%s", problem.text);
    return change.number;
}

/* The change that keeps the receipts of one of a batch's requests. Its buffers are the caller's. */
static struct receipt_change receipts_change(struct buffer *bundle, struct buffer *certificate,
                                             struct digest *digest, const struct test_batch *batch,
                                             const struct test_request *request, uint32_t which,
                                             uint64_t number) {
    buffer_init(bundle, RECEIPT_BUNDLE_SIZE_MAX);
    buffer_init(certificate, COMMIT_CERTIFICATE_SIZE_MAX);
    batch_certificate(batch, certificate);
    *digest = hash_bytes(buffer_span(certificate));
    struct receipt_bundle const kept = {.request = buffer_span(&request->bytes),
                                        .result = batch->results[which]};
    cr_assert(receipt_bundle_encode(bundle, &kept));
    return (struct receipt_change){
        .kind = RECEIPT_CHANGE_RECEIPTS,
        .number = number,
        .request_id = &request->request.id,
        .bytes = buffer_span(bundle),
        .certificate_digest = digest,
        .certificate = buffer_span(certificate),
        .last_index = batch->results[which].first_index + request->request.call_count - 1,
    };
}

static void keep(const struct test_batch *batch, const struct test_request *request, uint32_t which,
                 uint64_t number) {
    struct buffer bundle;
    struct buffer certificate;
    struct digest digest;
    struct receipt_change change =
        receipts_change(&bundle, &certificate, &digest, batch, request, which, number);
    cr_assert_eq(receipt_store_commit(store, &change, 1, &problem), 0, "%s", problem.text);
    buffer_free(&bundle);
    buffer_free(&certificate);
}

/* ---- reading --------------------------------------------------------------------------------- */

struct seen {
    uint32_t count;
    uint64_t last_number;
    struct span expected;
    struct receipt_memory memory;
    uint32_t positions;
};

static int see_pending(void *context, uint64_t number, struct span request) {
    struct seen *const seen = context;
    cr_assert_gt(number, seen->last_number, "in the order in which they were written down");
    if (seen->expected.size != 0) {
        cr_assert(span_equal(request, seen->expected));
    }
    seen->last_number = number;
    seen->count++;
    return 0;
}

static uint32_t count_pending(void) {
    struct seen seen = {.count = 0};
    cr_assert_eq(receipt_store_visit_pending(store, see_pending, &seen, &problem), 0);
    return seen.count;
}

static int see_receipt(void *context, const struct digest *request_id, uint32_t position,
                       struct span receipt) {
    struct seen *const seen = context;
    struct verified_receipt verified;
    struct arena arena;
    arena_init(&arena, 1u << 20);
    cr_assert_eq(receipt_verify(&verified, &seen->memory, &arena, &configuration, receipt),
                 RECEIPT_VALID);
    cr_assert(digest_equal(&verified.request.id, request_id));
    cr_assert_eq(verified.receipt.position, position);
    arena_free(&arena);
    seen->count++;
    seen->positions += position;
    return 0;
}

static uint32_t count_receipts(void) {
    struct seen seen = {.count = 0};
    cr_assert_eq(receipt_store_visit(store, see_receipt, &seen, &problem), 0, "%s", problem.text);
    return seen.count;
}

/* ---- tests ----------------------------------------------------------------------------------- */

Test(store, a_request_is_pending_until_it_has_receipts) {
    struct test_request requests[2];
    struct test_request *const pointers[] = {&requests[0], &requests[1]};
    struct test_batch batch;
    uint64_t last_index;
    request_make(&requests[0], 3, 1);
    request_make(&requests[1], 100, 2);
    batch_make(&batch, 4, 10, pointers, 2);
    uint64_t const first = write_down(&requests[0]);
    uint64_t const second = write_down(&requests[1]);
    reopen(RECEIPT_STORE_WRITE);
    cr_assert_eq(count_pending(), 2);
    cr_assert_eq(receipt_store_last_index(store, &last_index, &problem), 0);
    cr_assert_eq(last_index, 0);
    keep(&batch, &requests[1], 1, second);
    reopen(RECEIPT_STORE_WRITE);
    struct seen seen = {.expected = buffer_span(&requests[0].bytes)};
    cr_assert_eq(receipt_store_visit_pending(store, see_pending, &seen, &problem), 0);
    cr_assert_eq(seen.count, 1);
    cr_assert_eq(seen.last_number, first);
    cr_assert_eq(count_receipts(), 100);
    keep(&batch, &requests[0], 0, first);
    reopen(RECEIPT_STORE_READ);
    cr_assert_eq(count_pending(), 0);
    cr_assert_eq(count_receipts(), 103);
    cr_assert_eq(receipt_store_last_index(store, &last_index, &problem), 0);
    cr_assert_eq(last_index, 112);
    for (uint32_t i = 0; i < 2; i++) {
        request_free(&requests[i]);
    }
    batch_free(&batch);
}

Test(store, a_receipt_is_found_by_id_and_position) {
    struct test_request request;
    struct test_request *const pointers[] = {&request};
    struct test_batch batch;
    struct seen seen = {.count = 0};
    struct digest unknown = {{1}};
    request_make(&request, 7, 1);
    batch_make(&batch, 4, 10, pointers, 1);
    keep(&batch, &request, 0, write_down(&request));
    cr_assert_eq(receipt_store_find(store, &unknown, (struct receipt_range){0, 1}, see_receipt,
                                    &seen, &problem),
                 1);
    cr_assert_eq(receipt_store_find(store, &request.request.id, (struct receipt_range){5, 1},
                                    see_receipt, &seen, &problem),
                 0);
    cr_assert_eq(seen.count, 1);
    cr_assert_eq(seen.positions, 5);
    cr_assert_eq(receipt_store_find(store, &request.request.id,
                                    (struct receipt_range){0, UINT32_MAX}, see_receipt, &seen,
                                    &problem),
                 0);
    cr_assert_eq(seen.count, 8);
    cr_assert_eq(receipt_store_find(store, &request.request.id, (struct receipt_range){7, 1},
                                    see_receipt, &seen, &problem),
                 -1, "there is no call 7");
    request_free(&request);
    batch_free(&batch);
}

Test(store, what_comes_twice_is_kept_once) {
    struct test_request request;
    struct test_request *const pointers[] = {&request};
    struct test_batch batch;
    request_make(&request, 2, 1);
    batch_make(&batch, 4, 10, pointers, 1);
    uint64_t const mine = write_down(&request);
    uint64_t const others = write_down(&request); /* another program sends it again */
    keep(&batch, &request, 0, mine);
    keep(&batch, &request, 0, others);
    cr_assert_eq(count_pending(), 0);
    cr_assert_eq(count_receipts(), 2);
    request_free(&request);
    batch_free(&batch);
}

Test(store, a_discarded_request_is_gone) {
    struct test_request request;
    request_make(&request, 1, 1);
    struct receipt_change change = {.kind = RECEIPT_CHANGE_DISCARD, .number = write_down(&request)};
    cr_assert_eq(receipt_store_commit(store, &change, 1, &problem), 0);
    reopen(RECEIPT_STORE_WRITE);
    cr_assert_eq(count_pending(), 0);
    cr_assert_gt(write_down(&request), change.number, "numbers are never used again");
    request_free(&request);
}

Test(store, a_note_goes_with_its_request) {
    struct test_request request;
    struct buffer note;
    request_make(&request, 1, 1);
    buffer_init(&note, RECEIPT_STORE_NOTE_SIZE_MAX);
    struct receipt_change changes[2] = {
        {.kind = RECEIPT_CHANGE_PENDING,
         .bytes = buffer_span(&request.bytes),
         .key = span_text("where"),
         .note = span_text("line 7")},
        {.kind = RECEIPT_CHANGE_NOTE, .key = span_text("other"), .note = span_text("x")}};
    cr_assert_eq(receipt_store_commit(store, changes, 2, &problem), 0);
    reopen(RECEIPT_STORE_WRITE);
    cr_assert_eq(receipt_store_note(store, span_text("where"), &note, &problem), 0);
    cr_assert(span_equal(buffer_span(&note), span_text("line 7")));
    changes[1].key = span_text("where");
    changes[1].note = span_of(NULL, 0);
    cr_assert_eq(receipt_store_commit(store, &changes[1], 1, &problem), 0);
    buffer_clear(&note);
    cr_assert_eq(receipt_store_note(store, span_text("where"), &note, &problem), 0);
    cr_assert_eq(note.size, 0);
    buffer_free(&note);
    request_free(&request);
}

Test(store, another_service_is_refused) {
    struct digest const other = {{9}};
    receipt_store_close(store);
    store = receipt_store_open(path, &other, RECEIPT_STORE_READ, &problem);
    cr_assert_null(store);
    cr_assert_eq(problem.code, EXIT_ERROR);
    cr_assert_not_null(strstr(problem.text, "another service"));
}

Test(store, nothing_is_made_for_a_reader) {
    char nowhere[128];
    (void)snprintf(nowhere, sizeof nowhere, "%s/nowhere", directory);
    cr_assert_not(receipt_store_exists(nowhere));
    cr_assert_null(
        receipt_store_open(nowhere, &configuration.service, RECEIPT_STORE_READ, &problem));
    cr_assert_eq(access(nowhere, F_OK), -1);
    cr_assert(receipt_store_exists(path));
}

Test(store, a_false_bundle_is_damage) {
    struct test_request request;
    struct test_request *const pointers[] = {&request};
    struct test_batch batch;
    struct seen seen = {.count = 0};
    request_make(&request, 2, 1);
    batch_make(&batch, 4, 10, pointers, 1);
    batch.results[0].first_index = 11; /* not what the leaves say */
    keep(&batch, &request, 0, write_down(&request));
    cr_assert_eq(receipt_store_visit(store, see_receipt, &seen, &problem), -1);
    cr_assert_eq(problem.code, EXIT_CORRUPT);
    cr_assert_eq(seen.count, 0);
    request_free(&request);
    batch_free(&batch);
}

Test(store, bundles_are_decoded_with_care) {
    struct test_request request;
    struct test_request *const pointers[] = {&request};
    struct test_batch batch;
    struct buffer encoded;
    struct receipt_bundle decoded;
    struct arena arena;
    request_make(&request, 5, 1);
    batch_make(&batch, 4, 10, pointers, 1);
    buffer_init(&encoded, RECEIPT_BUNDLE_SIZE_MAX);
    arena_init(&arena, 1u << 22);
    struct receipt_bundle const bundle = {.request = buffer_span(&request.bytes),
                                          .result = batch.results[0]};
    cr_assert(receipt_bundle_encode(&encoded, &bundle));
    cr_assert(receipt_bundle_decode(&decoded, &arena, buffer_span(&encoded)));
    cr_assert(span_equal(decoded.request, bundle.request));
    cr_assert_eq(decoded.result.outcome_count, 5);
    for (size_t size = 0; size < encoded.size; size++) {
        uint8_t *const cut = malloc(size + 1); /* so that reading beyond is noticed */
        cr_assert_not_null(cut);
        memcpy(cut, encoded.data, size);
        arena_reset(&arena);
        /* A cut between two outcomes can be read; that one is missing is found when it is used. */
        cr_assert(!receipt_bundle_decode(&decoded, &arena, span_of(cut, size)) ||
                  decoded.result.outcome_count < 5);
        free(cut);
    }
    arena_free(&arena);
    buffer_free(&encoded);
    request_free(&request);
    batch_free(&batch);
}

/* ---- the writer ------------------------------------------------------------------------------ */

struct committed {
    uint32_t count;
    uint32_t failed;
    uint64_t last_number;
};

static void on_committed(void *context, void *user, uint64_t number, bool failed) {
    struct committed *const committed = context;
    cr_assert_not_null(user);
    cr_assert_gt(number, committed->last_number, "urgent changes keep their order");
    committed->last_number = number;
    committed->count++;
    committed->failed += failed ? 1 : 0;
}

static void run_until_written(uv_loop_t *loop, const struct writer *writer) {
    for (uint32_t turns = 0; writer_backlog(writer) != 0; turns++) {
        cr_assert_lt(turns, 100000);
        (void)uv_run(loop, UV_RUN_ONCE);
    }
}

Test(store, the_writer_commits_what_it_is_given) {
    uv_loop_t loop;
    struct test_request requests[2];
    struct test_request *const pointers[] = {&requests[0], &requests[1]};
    struct test_batch batch;
    struct committed committed = {.count = 0};
    cr_assert_eq(uv_loop_init(&loop), 0);
    struct writer *const writer = writer_create(&loop, store, on_committed, &committed, &problem);
    cr_assert_not_null(writer);
    request_make(&requests[0], 3, 1);
    request_make(&requests[1], 1, 2);
    batch_make(&batch, 4, 10, pointers, 2);
    for (uint32_t i = 0; i < 50; i++) {
        struct receipt_change const change = {.kind = RECEIPT_CHANGE_PENDING,
                                              .bytes = buffer_span(&requests[i % 2].bytes)};
        cr_assert(writer_put(writer, &change, WRITER_URGENT, &committed));
    }
    run_until_written(&loop, writer);
    cr_assert_eq(committed.count, 50);
    cr_assert_eq(committed.failed, 0);
    cr_assert_eq(count_pending(), 50);
    for (uint32_t i = 0; i < 2; i++) {
        struct buffer bundle;
        struct buffer certificate;
        struct digest digest;
        struct receipt_change const change =
            receipts_change(&bundle, &certificate, &digest, &batch, &requests[i], i, i + 1);
        cr_assert(writer_put(writer, &change, WRITER_LAZY, NULL));
        buffer_free(&bundle); /* the writer has its own copy */
        buffer_free(&certificate);
    }
    cr_assert_eq(writer_backlog(writer), 2);
    writer_close(writer); /* commits what is left */
    cr_assert_eq(count_pending(), 48);
    cr_assert_eq(count_receipts(), 4);
    while (uv_run(&loop, UV_RUN_DEFAULT) != 0) {
    }
    cr_assert_eq(uv_loop_close(&loop), 0);
    for (uint32_t i = 0; i < 2; i++) {
        request_free(&requests[i]);
    }
    batch_free(&batch);
}

Test(store, lazy_changes_do_not_wait_for_ever) {
    uv_loop_t loop;
    struct committed committed = {.count = 0};
    struct buffer note;
    cr_assert_eq(uv_loop_init(&loop), 0);
    struct writer *const writer = writer_create(&loop, store, on_committed, &committed, &problem);
    cr_assert_not_null(writer);
    struct receipt_change const change = {
        .kind = RECEIPT_CHANGE_NOTE, .key = span_text("k"), .note = span_text("v")};
    cr_assert(writer_put(writer, &change, WRITER_LAZY, NULL));
    run_until_written(&loop, writer);
    buffer_init(&note, RECEIPT_STORE_NOTE_SIZE_MAX);
    cr_assert_eq(receipt_store_note(store, span_text("k"), &note, &problem), 0);
    cr_assert_eq(note.size, 1);
    buffer_free(&note);
    writer_close(writer);
    while (uv_run(&loop, UV_RUN_DEFAULT) != 0) {
    }
    cr_assert_eq(uv_loop_close(&loop), 0);
}
