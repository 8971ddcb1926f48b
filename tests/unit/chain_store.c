/*
 * chain_store: the file of a replica's governance chain (node/chain_store.h), whatever happened to
 * it: what holds is kept, the rest can be written again, and the file is whole in the end. And its
 * links, made from the ledger on the disk (node/chain_link.h).
 */
#include "node/chain_store.h"

#include <criterion/criterion.h>
#include <errno.h>

#include "ledger/wire.h"
#include "node/chain_link.h"
#include "tests/forge/reform.h"
#include "tests/forge/story.h"
#include "tests/sim/fake_disk.h"

#define CHANGES 3u

static struct consortium consortium;
static struct forge forge;
static struct story story;
static struct reform reform;
static struct fake_disk *fake;
static struct chain_store store;
static struct problem problem;
static _Atomic bool stopping;
static struct buffer whole; /* the file with all links */

static void set_up(void) {
    static const char *const names[CHANGES] = {"dave", "erin", "frank"};
    consortium_found(&consortium, &(struct consortium_options){0});
    forge_init(&forge, &consortium);
    reform_init(&reform, &forge);
    story = (struct story){.forge = &forge, .random = 5};
    for (uint32_t i = 0; i < CHANGES; i++) {
        struct action const action =
            charter_named(&reform.charter, ACTION_ADD_USER, names[i], 5000 + i);
        story_append_honest(&story, 4);
        reform_end(&reform, 1, &action);
        reform_start(&reform);
    }
    story_append_honest(&story, 4);
    buffer_init(&whole, CHAIN_SIZE_MAX);
    reform_chain(&reform, &whole);
    fake = fake_disk_new();
    problem = (struct problem){.code = EXIT_OK};
    chain_store_init(&store, &fake->disk, &consortium.genesis.service,
                     buffer_span(&consortium.genesis_bytes), &stopping);
}

static void tear_down(void) {
    chain_store_free(&store);
    cr_assert_eq(fake->handles, 0);
    fake_disk_free(fake);
    buffer_free(&whole);
    reform_free(&reform);
    forge_free(&forge);
    consortium_free(&consortium);
}

TestSuite(chain_store, .init = set_up, .fini = tear_down, .timeout = 120);

static uint32_t count(void) {
    cr_assert_eq(chain_newest(store.chain)->number, store.ends.size / sizeof(uint64_t) + 1);
    return (uint32_t)(store.ends.size / sizeof(uint64_t));
}

/* Open it, and add the links that it lacks. Returns: false when the disk does not let it. */
static bool complete(void) {
    problem = (struct problem){.code = EXIT_OK};
    if (chain_store_open(&store, &problem) != 0) {
        return false;
    }
    while (count() < CHANGES) {
        if (chain_store_append(&store, reform.links[count()], &problem) != 0) {
            return false;
        }
    }
    return true;
}

static void expect_whole(void) {
    const struct buffer *const content = fake_disk_content(fake, CHAIN_NAME);
    cr_assert_not_null(content);
    cr_assert(span_equal(buffer_span(content), buffer_span(&whole)));
}

/* ---- the file -------------------------------------------------------------------------------- */

Test(chain_store, links_come_back) {
    cr_assert_eq(chain_store_open(&store, &problem), 0);
    cr_assert_eq(count(), 0);
    cr_assert_null(fake_disk_content(fake, CHAIN_NAME), "nothing is written without a link");
    for (uint32_t i = 0; i < CHANGES; i++) {
        cr_assert_eq(chain_store_append(&store, reform.links[i], &problem), 0);
        cr_assert_eq(count(), i + 1);
    }
    expect_whole();
    cr_assert_eq(chain_store_open(&store, &problem), 0);
    cr_assert_eq(count(), CHANGES);
    cr_assert_not(store.was_damaged);
    cr_assert_eq(store.size, whole.size);
}

Test(chain_store, a_piece_is_read) {
    struct buffer out;
    struct span link;
    buffer_init(&out, CHAIN_SIZE_MAX);
    cr_assert(complete());
    for (uint32_t nth = 0; nth < CHANGES; nth++) {
        struct chain_piece const piece =
            chain_piece_choose(store.first, buffer_span(&store.ends), nth);
        cr_assert_eq(piece.link_count, CHANGES - nth);
        buffer_clear(&out);
        cr_assert_eq(chain_piece_read(&out, &fake->disk, &piece, &problem), 0);
        struct chain_reader reader = {.rest = buffer_span(&out)};
        for (uint32_t i = nth; i < CHANGES; i++) {
            cr_assert_eq(chain_reader_next(&reader, &link), 1);
            cr_assert(span_equal(link, reform.links[i]));
        }
        cr_assert_eq(chain_reader_next(&reader, &link), 0);
    }
    struct chain_piece const over = {.offset = store.first + 1, .size = store.size - store.first};
    cr_assert_eq(chain_piece_read(&out, &fake->disk, &over, &problem), -1, "it is shorter");
    cr_assert_eq(problem.code, EXIT_ERROR);
    buffer_free(&out);
}

/* A client gets all links in a few messages, none larger than a frame, of any sizes. */
Test(chain_store, every_piece_fits_a_message) {
    static const size_t sizes[] = {1, 70000, CHAIN_LINK_SIZE_MAX};
    static uint8_t link[CHAIN_LINK_SIZE_MAX];
    struct span links[WIRE_LINKS_MAX];
    struct buffer message;
    buffer_init(&message, FRAME_SIZE_MAX);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        uint64_t end = 100;
        uint64_t nth = 0;
        buffer_clear(&store.ends);
        for (uint32_t n = 0; n < 600; n++) {
            end += 4 + sizes[i];
            cr_assert(buffer_append(&store.ends, span_of(&end, sizeof end)));
        }
        end = 100;
        while (nth < 600) {
            struct chain_piece const piece = chain_piece_choose(100, buffer_span(&store.ends), nth);
            cr_assert_eq(piece.offset, end);
            cr_assert(piece.link_count >= 1 && piece.link_count <= WIRE_LINKS_MAX);
            cr_assert_eq(piece.size, piece.link_count * (4 + sizes[i]));
            for (uint32_t n = 0; n < piece.link_count; n++) {
                links[n] = span_of(link, sizes[i]);
            }
            struct chain_reply_message const reply = {
                .config = 601, .link_count = piece.link_count, .links = links};
            buffer_clear(&message);
            cr_assert(chain_reply_message_encode(&message, &reply));
            cr_assert_leq(message.size, message_size_max(MESSAGE_CHAIN_REPLY));
            cr_assert(nth + piece.link_count == 600 || piece.link_count == WIRE_LINKS_MAX ||
                      message.size + sizes[i] > WIRE_LINKS_SIZE_MAX - 64 * WIRE_LINK_EXTRA);
            nth += piece.link_count;
            end += piece.size;
        }
    }
    buffer_free(&message);
}

Test(chain_store, a_link_that_does_not_hold_is_not_kept) {
    cr_assert_eq(chain_store_open(&store, &problem), 0);
    cr_assert_eq(chain_store_append(&store, reform.links[1], &problem), -1);
    cr_assert_eq(problem.code, EXIT_CORRUPT);
    cr_assert_null(fake_disk_content(fake, CHAIN_NAME));
    cr_assert(complete());
    expect_whole();
}

/* How many links are whole in the first `size` bytes? */
static uint32_t links_within(size_t size) {
    uint64_t end = 0;
    uint32_t links = 0;
    for (uint32_t i = 0; i < CHANGES; i++) {
        memcpy(&end, store.ends.data + i * sizeof end, sizeof end);
        links += end <= size;
    }
    return links;
}

static enum chain_check take(struct span link) {
    struct chain_verdict verdict = {.check = CHAIN_CHECK_COUNT};
    cr_assert(chain_store_take(&store, link, &verdict, &problem) == 0, "%s", problem.text);
    return verdict.check;
}

/* Links that somebody gave: the next one is kept, and of the others is said what they are. */
Test(chain_store, links_from_elsewhere_are_judged_and_kept) {
    cr_assert(chain_store_open(&store, &problem) == 0);
    cr_assert_eq(take(reform.links[1]), CHAIN_GAP);
    cr_assert_eq(take(span_text("nonsense")), CHAIN_ENCODING);
    cr_assert_eq(count(), 0);
    cr_assert_eq(take(reform.links[0]), CHAIN_VALID);
    cr_assert_eq(take(reform.links[0]), CHAIN_KNOWN);
    cr_assert_eq(take(reform.links[1]), CHAIN_VALID);
    cr_assert_eq(count(), 2);
    cr_assert(chain_store_open(&store, &problem) == 0);
    cr_assert_eq(count(), 2, "they are on the disk");
    cr_assert_eq(take(reform.links[2]), CHAIN_VALID);
    cr_assert_eq(take(reform.links[2]), CHAIN_KNOWN);
}

Test(chain_store, a_short_file_is_completed) {
    cr_assert(complete());
    for (size_t at = 0; at < whole.size; at += 61) {
        uint32_t const kept = links_within(at);
        fake_disk_put(fake, CHAIN_NAME, span_of(whole.data, at));
        problem = (struct problem){.code = EXIT_OK};
        cr_assert_eq(chain_store_open(&store, &problem), 0);
        cr_assert_eq(count(), kept, "%zu", at);
        cr_assert_eq(store.was_damaged, at != store.size, "%zu", at);
        cr_assert(complete(), "%s", problem.text);
        expect_whole();
    }
}

Test(chain_store, a_changed_byte_is_found) {
    cr_assert(complete());
    for (size_t at = 0; at < whole.size; at += 61) {
        uint32_t const kept = links_within(at);
        fake_disk_put(fake, CHAIN_NAME, buffer_span(&whole));
        fake_disk_content(fake, CHAIN_NAME)->data[at] ^= 1;
        problem = (struct problem){.code = EXIT_OK};
        cr_assert_eq(chain_store_open(&store, &problem), 0);
        cr_assert_eq(count(), kept, "%zu", at);
        cr_assert(store.was_damaged);
        cr_assert(complete(), "%s", problem.text);
        expect_whole();
    }
}

Test(chain_store, what_follows_the_links_is_cut_off) {
    cr_assert(complete());
    cr_assert(buffer_append(fake_disk_content(fake, CHAIN_NAME), span_text("more")));
    cr_assert_eq(chain_store_open(&store, &problem), 0);
    cr_assert(store.was_damaged);
    cr_assert_eq(count(), CHANGES);
    expect_whole();
}

Test(chain_store, the_chain_of_another_service_is_replaced) {
    struct consortium other;
    struct buffer file;
    buffer_init(&file, CHAIN_SIZE_MAX);
    consortium_found(&other, &(struct consortium_options){.replica_count = 5});
    cr_assert(chain_file_begin(&file, buffer_span(&other.genesis_bytes)));
    fake_disk_put(fake, CHAIN_NAME, buffer_span(&file));
    cr_assert_eq(chain_store_open(&store, &problem), 0);
    cr_assert_eq(count(), 0);
    cr_assert(store.was_damaged);
    cr_assert(complete());
    expect_whole();
    buffer_free(&file);
    consortium_free(&other);
}

/* Whenever the power goes, what is found then can be completed. */
Test(chain_store, the_power_goes_at_any_time) {
    static const struct fake_crash crashes[] = {
        {0}, {.unsynced_kept = 100}, {.unsynced_kept = 5, .rest_zeroed = true, .names_kept = 9}};
    cr_assert(complete());
    unsigned const changes = fake->changes;
    cr_assert_gt(changes, 0);
    for (unsigned at = 1; at <= changes; at++) {
        for (size_t i = 0; i < sizeof crashes / sizeof crashes[0]; i++) {
            struct fake_disk *const before = fake;
            fake = fake_disk_new();
            store.disk = &fake->disk;
            fake->power_off_at = at;
            (void)complete();
            fake_disk_crash(fake, &crashes[i]);
            cr_assert(complete(), "%s", problem.text);
            expect_whole();
            cr_assert_eq(before->handles, 0);
            fake_disk_free(before);
        }
    }
}

Test(chain_store, every_failure_of_the_disk_is_told) {
    cr_assert(complete());
    for (int call = FAKE_OPEN; call < FAKE_LINK; call++) {
        for (unsigned nth = 1; nth <= 12; nth++) {
            fake_disk_put(fake, CHAIN_NAME, span_of(whole.data, whole.size / 2));
            memset(fake->calls, 0, sizeof fake->calls);
            fake->fail_at[call] = nth;
            fake->fail_with[call] = -EIO;
            bool const done = complete();
            cr_assert(done || problem.code == EXIT_ERROR, "%d, %u", call, nth);
            fake->fail_at[call] = 0;
            cr_assert(complete(), "%s", problem.text);
            expect_whole();
        }
    }
}

Test(chain_store, who_is_to_stop_stops) {
    cr_assert(complete());
    atomic_store(&stopping, true);
    cr_assert_eq(chain_store_open(&store, &problem), -1);
    cr_assert_eq(problem.code, EXIT_OK);
    atomic_store(&stopping, false);
    cr_assert(complete());
}

/* ---- links from the ledger ------------------------------------------------------------------- */

static int find(uint32_t nth, struct buffer *out) {
    struct chain_link_source const source = {.disk = &fake->disk,
                                             .now = &reform.constitutions[nth],
                                             .end_entry = forge_entry_count(&forge),
                                             .stopping = &stopping};
    problem = (struct problem){.code = EXIT_OK};
    buffer_clear(out);
    return chain_link_find(out, &source, &problem);
}

static void expect_links(void) {
    struct buffer link;
    buffer_init(&link, CHAIN_LINK_SIZE_MAX);
    for (uint32_t i = 0; i < reform.count; i++) {
        cr_assert_eq(find(i, &link), 1, "%s", problem.text);
        cr_assert(span_equal(buffer_span(&link), reform.links[i]));
    }
    cr_assert_eq(find(reform.count, &link), 0, "this one has not ended");
    atomic_store(&stopping, true);
    cr_assert_eq(find(0, &link), 0);
    cr_assert_eq(find(2, &link), 0);
    atomic_store(&stopping, false);
    buffer_free(&link);
}

Test(chain_store, links_are_made_of_the_ledger) {
    cr_assert_eq(forge_write(&forge, &fake->disk, &problem), 0);
    expect_links();
}

/* Where a configuration begins in a long ledger is found without reading all of it. */
Test(chain_store, links_of_a_long_ledger) {
    struct action const action =
        charter_named(&reform.charter, ACTION_ADD_USER, "grace", 5000 + CHANGES);
    story_append_honest(&story, 500);
    forge_change_view(&forge, &(struct forge_view_order){.view = 1});
    story_append_honest(&story, 500);
    reform_end(&reform, 1, &action);
    reform_start(&reform);
    story_append_honest(&story, 500);
    cr_assert_gt(forge_entry_count(&forge), 4096);
    cr_assert_eq(forge_write(&forge, &fake->disk, &problem), 0);
    expect_links();
}

/* From each beginning of the ledger the link is made, or not yet. */
Test(chain_store, a_ledger_that_still_grows) {
    struct buffer link;
    uint64_t const end = forge_entry_count(&forge);
    uint32_t found = 0;
    buffer_init(&link, CHAIN_LINK_SIZE_MAX);
    for (uint64_t entries = 1; entries <= end; entries++) {
        struct fake_disk *const before = fake;
        fake = fake_disk_new();
        cr_assert_eq(forge_write_beginning(&forge, entries, &fake->disk, &problem), 0);
        int const got = find(1, &link);
        cr_assert_eq(problem.code, EXIT_OK, "%s", problem.text);
        cr_assert(got == 1 || (got == 0 && found == 0));
        cr_assert(got == 0 || span_equal(buffer_span(&link), reform.links[1]));
        found += (uint32_t)got;
        fake_disk_free(before);
        store.disk = &fake->disk;
    }
    cr_assert_gt(found, 0);
    cr_assert_lt(found, end / 2);
    buffer_free(&link);
}

/* A vote that the given constitution does not know of, and files that are no ledger. */
Test(chain_store, a_damaged_ledger_is_told) {
    struct buffer link;
    buffer_init(&link, CHAIN_LINK_SIZE_MAX);
    cr_assert_eq(forge_write(&forge, &fake->disk, &problem), 0);
    struct buffer *const content = fake_disk_content(fake, "000000000000-open.seg");
    cr_assert_not_null(content);
    content->data[content->size / 8] ^= 1;
    cr_assert_eq(find(0, &link), -1);
    cr_assert_eq(problem.code, EXIT_CORRUPT);
    buffer_free(&link);
}
