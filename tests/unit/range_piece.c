/*
 * range_piece: pieces of a ledger on disk are whole batches, and stay so when the last are left out
 * (node/range_piece.h).
 */
#include "node/range_piece.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "host/disk.h"
#include "tests/forge/story.h"

#define BATCHES 20u

static struct consortium consortium;
static struct forge forge;
static struct host_disk disk;
static char directory[64];

static void set_up(void) {
    struct problem problem = {.code = EXIT_OK};
    consortium_found(&consortium, &(struct consortium_options){0});
    forge_init(&forge, &consortium);
    struct story story = {.forge = &forge, .random = 3};
    story_append_honest(&story, BATCHES / 2);
    forge_change_view(&forge, &(struct forge_view_order){.view = 1});
    story_append_honest(&story, BATCHES / 2);
    (void)snprintf(directory, sizeof directory, "/tmp/onus-piece-XXXXXX");
    cr_assert(mkdtemp(directory) != NULL);
    cr_assert_eq(host_disk_open(&disk, directory, HOST_DISK_WRITE, &problem), 0);
    cr_assert_eq(forge_write(&forge, &disk.disk, &problem), 0, "%s", problem.text);
}

static void tear_down(void) {
    char command[96];
    host_disk_close(&disk);
    forge_free(&forge);
    consortium_free(&consortium);
    (void)snprintf(command, sizeof command, "rm -rf %s", directory);
    cr_assert_eq(system(command), 0);
}

TestSuite(range_piece, .init = set_up, .fini = tear_down, .timeout = 60);

/* Does a batch, or a new view, begin with this entry, or the ledger end there? */
static bool is_between(uint64_t entry) {
    bool found = entry == forge_entry_count(&forge);
    for (uint64_t seq = 1; seq <= forge_seq(&forge); seq++) {
        found = found || forge_batch_at(&forge, seq)->first_entry == entry;
    }
    for (size_t at = 0; at < forge.views.size; at += sizeof(struct forge_view)) {
        struct forge_view view;
        memcpy(&view, forge.views.data + at, sizeof view);
        found = found || view.first_entry == entry;
    }
    return found;
}

Test(range_piece, the_last_batches_are_left_out_one_by_one) {
    struct problem problem = {.code = EXIT_OK};
    struct segment_reader reader;
    struct range_piece piece;
    struct range_message message;
    segment_reader_init(&reader, &disk.disk, &consortium.configuration.service, false);
    range_piece_init(&piece);
    uint64_t const end = forge_entry_count(&forge);
    cr_assert_eq(range_piece_read(&piece, &reader, 0, end, &problem), 0, "%s", problem.text);
    cr_assert_eq(piece.count, end);
    unsigned units = 1;
    uint32_t before = piece.count;
    while (range_piece_drop_last(&piece)) {
        cr_assert_lt(piece.count, before);
        cr_assert(is_between(piece.count), "%u", piece.count);
        cr_assert(range_piece_message(&piece, &message));
        cr_assert_eq(message.count, piece.count);
        before = piece.count;
        units++;
    }
    cr_assert_eq(piece.count, 1, "genesis is a unit, and the last one stays");
    cr_assert_eq(units, 1 + forge_seq(&forge) + 1, "genesis, all batches, one new view");
    range_piece_free(&piece);
    segment_reader_free(&reader);
}
