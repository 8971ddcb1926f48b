/*
 * watcher: rounds of the continuous audit over forged ledgers in real directories: each thing is
 * told once, whatever ends the watcher; a round costs what is new; late receipts are held against
 * the ledger as early ones are; and silence is an outage.
 */
#include "audit-tool/watcher.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "audit-tool/watcher_intake.h"
#include "host/disk.h"
#include "host/file.h"
#include "tests/forge/reform.h"
#include "tests/forge/story.h"

#define INTERVAL 12u /* of checkpoints, in the consortium's service */
#define DIRECTORIES 3u

static struct consortium consortium;
static struct forge forge;
static struct story story;
static struct founding founding;
static char place[] = "/tmp/onus-watcher-XXXXXX";
static char state[64];
static char receipts[64];
static char ledgers[DIRECTORIES][64];
static const char *ledger_paths[DIRECTORIES];
static const char *receipts_paths[1];

static struct watcher *watcher;
static struct watch_status status; /* of the last round */
static unsigned told[WATCH_STATUS + 1];
static uint64_t blamed;

/* ---- set up ---------------------------------------------------------------------------------- */

static void on_event(void *context, const struct watch_event *event) {
    (void)context;
    told[event->kind]++;
    if (event->kind == WATCH_STATUS) {
        status = *event->status;
    } else if (event->kind == WATCH_MISBEHAVIOUR) {
        blamed |= event->verdict->blamed;
        cr_assert_not(event->again);
        cr_assert_eq(access(event->path, R_OK), 0);
    }
}

static int remove_one(const char *name, const struct stat *about, int kind, struct FTW *at) {
    (void)about;
    (void)kind;
    (void)at;
    return remove(name);
}

/* The directory and all in it, if it is there. */
static void remove_all(const char *path) {
    cr_assert(access(path, F_OK) != 0 || nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS) == 0);
}

static void set_up(void) {
    struct problem problem = {.code = EXIT_OK};
    consortium_found(&consortium, &(struct consortium_options){.replica_count = 4});
    forge_init(&forge, &consortium);
    story = (struct story){.forge = &forge, .random = 11};
    cr_assert_eq(
        founding_decode(&founding, buffer_span(&consortium.genesis_bytes), "genesis", &problem), 0);
    cr_assert(mkdtemp(place) != NULL);
    (void)snprintf(state, sizeof state, "%s/state", place);
    (void)snprintf(receipts, sizeof receipts, "%s/receipts", place);
    receipts_paths[0] = receipts;
    cr_assert_eq(mkdir(receipts, 0700), 0);
    for (uint32_t i = 0; i < DIRECTORIES; i++) {
        (void)snprintf(ledgers[i], sizeof ledgers[i], "%s/ledger-%u", place, i);
        ledger_paths[i] = ledgers[i];
    }
}

static void tear_down(void) {
    watcher_free(watcher);
    founding_free(&founding);
    forge_free(&forge);
    consortium_free(&consortium);
    remove_all(place);
}

TestSuite(watcher, .init = set_up, .fini = tear_down, .timeout = 300);

/* ---- what it is given ------------------------------------------------------------------------ */

/* Begin, or end and begin again as after a restart. */
static void restart_with(const struct watcher_network *network) {
    struct problem problem = {.code = EXIT_OK};
    watcher_free(watcher);
    watcher = watcher_new(
        &(struct watcher_options){
            .founding = &founding,
            .state = state,
            .jobs = 1,
            .ledger_count = DIRECTORIES,
            .ledgers = ledger_paths,
            .receipts_count = 1,
            .receipts = receipts_paths,
            .network = network,
            .on_event = on_event,
        },
        &problem);
    cr_assert(watcher != NULL, "%s", problem.text);
}

static void restart(void) {
    restart_with(NULL);
}

static void play_round(void) {
    struct problem problem = {.code = EXIT_OK};
    cr_assert_eq(watcher_round(watcher, true, &problem), 0, "%s", problem.text);
}

/* The ledger as it is now, in place of what is there. */
static void put_ledger(const struct forge *from, uint32_t nth) {
    struct host_disk disk;
    struct problem problem = {.code = EXIT_OK};
    remove_all(ledgers[nth]);
    cr_assert_eq(host_disk_open(&disk, ledgers[nth], HOST_DISK_WRITE, &problem), 0);
    cr_assert_eq(forge_write(from, &disk.disk, &problem), 0, "%s", problem.text);
    host_disk_close(&disk);
}

static void make_file(const struct forge *from, const struct forge_place *at, struct buffer *file) {
    struct buffer receipt;
    buffer_init(&receipt, RECEIPT_SIZE_MAX);
    buffer_init(file, RECEIPT_FILE_SIZE_MAX);
    forge_receipt(from, at, &receipt);
    cr_assert(receipt_file_encode(file, buffer_span(&receipt)));
    buffer_free(&receipt);
}

/* A receipt for the first call of each request of these batches. Returns: how many. */
static uint64_t put_receipts(const struct forge *from, uint64_t first, uint64_t last) {
    static unsigned names;
    uint64_t count = 0;
    for (uint64_t seq = first; seq <= last; seq++) {
        struct batch batch;
        batch_init(&batch);
        forge_read(from, seq, &batch);
        for (uint32_t nth = 0; nth < batch.request_count; nth++) {
            struct problem problem = {.code = EXIT_OK};
            struct buffer file;
            char path[128];
            (void)snprintf(path, sizeof path, "%s/%u.receipt", receipts, names++);
            make_file(from, &(struct forge_place){.seq = seq, .request = nth}, &file);
            cr_assert_eq(file_write(path, buffer_span(&file), 0600, FILE_KEEP, &problem), 0);
            buffer_free(&file);
            count++;
        }
        batch_free(&batch);
    }
    return count;
}

/* The same beginning of so many batches, then another story. */
static void fork_after(struct forge *fork, struct story *other, uint32_t batches) {
    forge_init(fork, &consortium);
    *other = (struct story){.forge = fork, .random = 11};
    story_append_honest(other, batches);
    other->random = 4711;
}

/* ---- rounds ---------------------------------------------------------------------------------- */

Test(watcher, follows_a_ledger_that_grows) {
    restart();
    play_round();
    cr_assert_eq(status.ledgers, 0);
    cr_assert_eq(watcher_exit_code(watcher), EXIT_CANNOT_AUDIT);
    uint64_t given = 0;
    for (unsigned i = 1; i <= 8; i++) {
        story_append_honest(&story, 7);
        put_ledger(&forge, 0);
        given += put_receipts(&forge, forge_seq(&forge) - 6, forge_seq(&forge));
        play_round();
        cr_assert_eq(status.audited_batch, forge_seq(&forge));
        cr_assert_eq(status.receipts, given);
        cr_assert_eq(status.settled, given);
    }
    cr_assert_eq(told[WATCH_MISBEHAVIOUR] + told[WATCH_CORRUPTION] + told[WATCH_CANNOT], 0);
    cr_assert_eq(watcher_exit_code(watcher), EXIT_OK);
}

/* Whatever lies before, a round replays what is behind its own last checkpoint. */
Test(watcher, costs_what_is_new) {
    story_append_honest(&story, 40 * INTERVAL);
    put_ledger(&forge, 0);
    restart();
    play_round();
    cr_assert_eq(status.replayed, forge_seq(&forge));
    for (unsigned i = 0; i < 12; i++) {
        story_append_honest(&story, 3);
        put_ledger(&forge, 0);
        restart();
        play_round();
        cr_assert_eq(status.audited_batch, forge_seq(&forge));
        cr_assert_leq(status.replayed, 2 * INTERVAL + 3);
        cr_assert_not(status.read_again);
    }
    play_round();
    cr_assert_eq(status.replayed, 0);
    restart();
    play_round();
    cr_assert_eq(status.replayed, 0);
}

Test(watcher, a_lock_keeps_others_out) {
    struct problem problem = {.code = EXIT_OK};
    struct watcher_options const options = {.founding = &founding, .state = state, .jobs = 1};
    restart();
    cr_assert(watcher_new(&options, &problem) == NULL);
    cr_assert_eq(problem.code, EXIT_ERROR);
}

/* ---- receipts -------------------------------------------------------------------------------- */

Test(watcher, receipts_wait_for_their_ledger) {
    story_append_honest(&story, 30);
    put_ledger(&forge, 0);
    restart();
    play_round();
    story_append_honest(&story, 5);
    uint64_t const given = put_receipts(&forge, 31, 35);
    play_round();
    cr_assert_eq(status.waiting, given);
    cr_assert_eq(watcher_exit_code(watcher), EXIT_CANNOT_AUDIT);
    restart();
    play_round();
    cr_assert_eq(status.receipts, given);
    cr_assert_eq(status.waiting, given);
    put_ledger(&forge, 0);
    play_round();
    cr_assert_eq(status.waiting, 0);
    cr_assert_eq(status.settled, given);
    cr_assert_eq(told[WATCH_CANNOT], 0);
    cr_assert_eq(watcher_exit_code(watcher), EXIT_OK);
}

Test(watcher, late_receipts_are_held_against_what_lies_before) {
    story_append_honest(&story, 60);
    put_ledger(&forge, 0);
    restart();
    play_round();
    uint64_t const given = put_receipts(&forge, 1, 20);
    play_round();
    cr_assert_eq(status.receipts, given);
    cr_assert_eq(status.settled, given);
    cr_assert_eq(status.late, 0);
    cr_assert(status.read_again);
    cr_assert_leq(status.replayed, 3 * INTERVAL);
    play_round();
    cr_assert_not(status.read_again);
    /* The same once more is no news. */
    cr_assert_eq(put_receipts(&forge, 1, 20), given);
    play_round();
    cr_assert_eq(status.receipts, given);
    cr_assert_eq(status.replayed, 0);
}

Test(watcher, a_late_receipt_that_contradicts) {
    struct forge fork;
    struct story other;
    fork_after(&fork, &other, 12);
    story_append_honest(&story, 60);
    story_append(&other, 2, 1, RULE_NONE);
    story_append(&other, 1, 1, RULE_NONE);
    put_ledger(&forge, 0);
    restart();
    play_round();
    cr_assert_eq(told[WATCH_MISBEHAVIOUR], 0);
    cr_assert_geq(put_receipts(&fork, 13, 13), 1);
    play_round();
    cr_assert_eq(told[WATCH_MISBEHAVIOUR], 1);
    cr_assert_geq(__builtin_popcountll(blamed), 2);
    cr_assert_eq(watcher_exit_code(watcher), EXIT_MISBEHAVIOUR);
    restart();
    play_round();
    play_round();
    cr_assert_eq(told[WATCH_MISBEHAVIOUR], 1);
    cr_assert_eq(status.findings, 1);
    cr_assert_eq(watcher_exit_code(watcher), EXIT_MISBEHAVIOUR);
    forge_free(&fork);
}

Test(watcher, a_bad_receipt_is_told_once) {
    struct problem problem = {.code = EXIT_OK};
    char path[128];
    (void)snprintf(path, sizeof path, "%s/bad.receipt", receipts);
    cr_assert_eq(file_write(path, span_text("onus-receipt-v1\nnone"), 0600, FILE_KEEP, &problem),
                 0);
    story_append_honest(&story, 10);
    put_ledger(&forge, 0);
    restart();
    play_round();
    cr_assert_eq(watcher_exit_code(watcher), EXIT_INVALID);
    play_round();
    restart();
    play_round();
    cr_assert_eq(told[WATCH_BAD_RECEIPT], 1);
    cr_assert_eq(told[WATCH_MISBEHAVIOUR], 0);
}

/* What was taken in and committed is there after any end; what was not, is not. */
Test(watcher, what_is_committed_stays) {
    struct problem problem = {.code = EXIT_OK};
    struct watcher_intake intake;
    struct buffer file;
    uint64_t seq = 1;
    story_append_honest(&story, 10);
    while (forge_batch_at(&forge, seq)->body.tx_count == 0) {
        seq++;
    }
    make_file(&forge, &(struct forge_place){.seq = seq}, &file);
    for (unsigned commits = 0; commits < 2; commits++) {
        restart();
        intake = (struct watcher_intake){.store = watcher_store_of(watcher), .founding = &founding};
        cr_assert_eq(watcher_intake_init(&intake, &problem), 0);
        cr_assert_eq(watcher_intake_receipt(&intake, "it", buffer_span(&file), &problem), 0);
        cr_assert_eq(intake.kept, 1);
        if (commits == 1) {
            cr_assert_eq(watcher_intake_commit(&intake, &problem), 0);
        }
        watcher_intake_free(&intake);
        restart();
        play_round();
        cr_assert_eq(status.receipts, commits);
    }
    buffer_free(&file);
}

/* What a replica revealed long ago binds it when it asks for a view now. */
Test(watcher, a_nonce_of_long_ago) {
    story_append_honest(&story, 5);
    forge.signers = 0xb;
    for (unsigned i = 0; i < 5; i++) {
        story_append(&story, 1, 1, RULE_NONE);
    }
    forge.signers = 0x7; /* replica 3 signs nothing more */
    for (unsigned i = 0; i < 5 * INTERVAL; i++) {
        story_append(&story, 1, 1, RULE_NONE);
    }
    put_ledger(&forge, 0);
    restart();
    play_round();
    forge_change_view(&forge,
                      &(struct forge_view_order){.view = 1, .authors = 0xe, .stated = {[3] = 5}});
    for (unsigned i = 0; i < 4; i++) {
        story_append(&story, 1, 1, RULE_NONE);
    }
    put_ledger(&forge, 0);
    restart();
    play_round();
    cr_assert_not(status.read_again);
    cr_assert_eq(status.view, 1);
    cr_assert_eq(told[WATCH_MISBEHAVIOUR], 1);
    cr_assert_eq(blamed, 0x8);
}

/* ---- ledgers that part ----------------------------------------------------------------------- */

Test(watcher, a_fork_is_told_once) {
    struct forge fork;
    struct story other;
    fork_after(&fork, &other, 40);
    story_append_honest(&story, 40);
    put_ledger(&forge, 0);
    put_ledger(&fork, 1);
    restart();
    play_round();
    cr_assert_eq(told[WATCH_MISBEHAVIOUR], 0);
    story_append_honest(&story, 20);
    for (unsigned i = 0; i < 6; i++) {
        story_append(&other, 2, 1, RULE_NONE);
    }
    put_ledger(&forge, 0);
    put_ledger(&fork, 1);
    play_round();
    unsigned const found = told[WATCH_MISBEHAVIOUR];
    cr_assert_geq(found, 1);
    cr_assert_eq(status.left, 1);
    for (unsigned i = 0; i < 3; i++) {
        story_append_honest(&story, INTERVAL);
        put_ledger(&forge, 0);
        restart();
        play_round();
        cr_assert_eq(status.audited_batch, forge_seq(&forge));
    }
    cr_assert_eq(told[WATCH_MISBEHAVIOUR], found);
    cr_assert_eq(watcher_exit_code(watcher), EXIT_MISBEHAVIOUR);
    forge_free(&fork);
}

/* It parts from the others before the state to go on from. */
Test(watcher, a_fork_that_comes_late) {
    struct forge fork;
    struct story other;
    fork_after(&fork, &other, 15);
    story_append_honest(&story, 72);
    for (unsigned i = 0; i < 50; i++) {
        story_append(&other, 2, 1, RULE_NONE);
    }
    put_ledger(&forge, 0);
    restart();
    play_round();
    put_ledger(&fork, 1);
    play_round();
    play_round();
    unsigned const found = told[WATCH_MISBEHAVIOUR];
    cr_assert_geq(found, 1);
    cr_assert_geq(__builtin_popcountll(blamed), 2);
    restart();
    play_round();
    story_append_honest(&story, 2 * INTERVAL);
    put_ledger(&forge, 0);
    play_round();
    cr_assert_eq(status.audited_batch, forge_seq(&forge));
    cr_assert_eq(told[WATCH_MISBEHAVIOUR], found, "%u, then %u", found, told[WATCH_MISBEHAVIOUR]);
    forge_free(&fork);
}

/* All that is at hand is another history than was audited; the receipts remember. */
Test(watcher, history_that_is_rewritten) {
    struct forge fork;
    struct story other;
    fork_after(&fork, &other, 15);
    story_append_honest(&story, 60);
    for (unsigned i = 0; i < 50; i++) {
        story_append(&other, 2, 1, RULE_NONE);
    }
    put_ledger(&forge, 0);
    (void)put_receipts(&forge, 10, 30);
    restart();
    play_round();
    cr_assert_eq(watcher_exit_code(watcher), EXIT_OK);
    put_ledger(&fork, 0);
    restart();
    play_round();
    play_round();
    cr_assert_geq(told[WATCH_MISBEHAVIOUR], 1);
    cr_assert_geq(__builtin_popcountll(blamed), 2);
    forge_free(&fork);
}

Test(watcher, a_ledger_that_is_behind) {
    struct forge shorter;
    struct story again = {.forge = &shorter, .random = 11};
    forge_init(&shorter, &consortium);
    story_append_honest(&again, 5);
    story_append_honest(&story, 60);
    put_ledger(&forge, 0);
    put_ledger(&shorter, 1);
    restart();
    play_round();
    cr_assert_eq(status.audited_batch, 60);
    story_append_honest(&story, 3);
    put_ledger(&forge, 0);
    play_round();
    cr_assert_eq(status.behind, 1);
    put_ledger(&forge, 1);
    play_round();
    play_round();
    cr_assert_eq(status.behind, 0);
    cr_assert_eq(told[WATCH_CANNOT] + told[WATCH_CORRUPTION] + told[WATCH_MISBEHAVIOUR], 0);
    cr_assert_eq(watcher_exit_code(watcher), EXIT_OK);
    forge_free(&shorter);
}

Test(watcher, damage_is_no_guilt) {
    char path[320];
    struct dirent **entries = NULL;
    struct stat about;
    story_append_honest(&story, 40);
    put_ledger(&forge, 0);
    put_ledger(&forge, 1);
    cr_assert_eq(scandir(ledgers[1], &entries, NULL, alphasort), 3);
    (void)snprintf(path, sizeof path, "%s/%s", ledgers[1], entries[2]->d_name);
    for (unsigned i = 0; i < 3; i++) {
        free(entries[i]);
    }
    free(entries);
    cr_assert_eq(stat(path, &about), 0);
    cr_assert_eq(truncate(path, about.st_size - 7), 0);
    restart();
    play_round();
    cr_assert_eq(told[WATCH_CORRUPTION], 1);
    cr_assert_eq(watcher_exit_code(watcher), EXIT_CORRUPT);
    restart();
    play_round();
    cr_assert_eq(told[WATCH_CORRUPTION], 1);
    cr_assert_eq(watcher_exit_code(watcher), EXIT_CORRUPT);
    put_ledger(&forge, 1);
    play_round();
    cr_assert_eq(watcher_exit_code(watcher), EXIT_OK);
    cr_assert_eq(told[WATCH_MISBEHAVIOUR], 0);
}

/* ---- from configuration to configuration ----------------------------------------------------- */

static struct reform reform;

static void change(void) {
    reform_shift(&reform);
}

static void tear_down_reform(void) {
    reform_free(&reform);
    tear_down();
}

static void set_up_reform(void) {
    set_up();
    reform_init(&reform, &forge);
}

TestSuite(watcher_eras, .init = set_up_reform, .fini = tear_down_reform, .timeout = 300);

/* A receipt of the first request of a batch, with the links from `first` on. */
static void put_linked(const struct reform *from, uint64_t seq, uint32_t first) {
    static unsigned names;
    struct problem problem = {.code = EXIT_OK};
    struct buffer receipt;
    struct buffer file;
    char path[128];
    buffer_init(&receipt, RECEIPT_SIZE_MAX);
    buffer_init(&file, RECEIPT_LINKED_FILE_SIZE_MAX);
    forge_receipt(from->forge, &(struct forge_place){.seq = seq}, &receipt);
    cr_assert(receipt_file_begin_linked(&file, buffer_span(&receipt)));
    for (uint32_t i = first; i < from->count; i++) {
        cr_assert(receipt_file_add_link(&file, from->links[i]));
    }
    (void)snprintf(path, sizeof path, "%s/linked-%u.receipt", receipts, names++);
    cr_assert_eq(file_write(path, buffer_span(&file), 0600, FILE_KEEP, &problem), 0);
    buffer_free(&receipt);
    buffer_free(&file);
}

/* Restarted or not, and wherever its state is: it goes over, and receipts without links wait. */
static void follow_through(bool restarts) {
    uint64_t given = 0;
    uint64_t done = 0;
    restart();
    for (unsigned i = 1; i <= 14; i++) {
        if (i % 4 == 0) {
            change();
        }
        story_append_honest(&story, 7);
        put_ledger(&forge, 0);
        given += put_receipts(&forge, done + 1, forge_seq(&forge) - 1);
        done = forge_seq(&forge) - 1;
        if (restarts) {
            restart();
        }
        play_round();
        cr_assert_eq(status.audited_batch, forge_seq(&forge));
        cr_assert_eq(status.config, reform.count + 1);
    }
    play_round();
    play_round();
    cr_assert_eq(status.receipts, given);
    cr_assert_eq(status.settled, given);
    cr_assert_eq(status.waiting, 0);
    for (unsigned kind = 0; kind < WATCH_STATUS; kind++) {
        cr_assert_eq(told[kind], 0, "%u", kind);
    }
    cr_assert_eq(watcher_exit_code(watcher), EXIT_OK);
}

Test(watcher_eras, it_goes_over_with_the_ledger) {
    follow_through(false);
}

Test(watcher_eras, it_goes_over_and_is_restarted) {
    follow_through(true);
}

Test(watcher_eras, a_round_costs_what_is_new_in_any_configuration) {
    story_append_honest(&story, 5 * INTERVAL);
    change();
    story_append_honest(&story, 5 * INTERVAL);
    put_ledger(&forge, 0);
    restart();
    play_round();
    for (unsigned i = 0; i < 4; i++) {
        story_append_honest(&story, 3);
        put_ledger(&forge, 0);
        restart();
        play_round();
        cr_assert_eq(status.audited_batch, forge_seq(&forge));
        cr_assert_leq(status.replayed, 2 * INTERVAL + 3);
        cr_assert_not(status.read_again);
    }
}

Test(watcher_eras, receipts_wait_for_their_configuration) {
    story_append_honest(&story, 30);
    put_ledger(&forge, 0);
    change();
    story_append_honest(&story, 5);
    uint64_t const given = put_receipts(&forge, forge.config_start + 1, forge_seq(&forge) - 1);
    restart();
    for (unsigned i = 0; i < 3; i++) {
        play_round();
        cr_assert_eq(status.receipts, 0);
        cr_assert_eq(status.waiting, given);
        cr_assert_eq(watcher_exit_code(watcher), EXIT_CANNOT_AUDIT);
    }
    put_ledger(&forge, 0);
    play_round();
    play_round();
    cr_assert_eq(status.settled, given);
    cr_assert_eq(status.waiting, 0);
    cr_assert_eq(told[WATCH_BAD_RECEIPT] + told[WATCH_CANNOT], 0);
    cr_assert_eq(watcher_exit_code(watcher), EXIT_OK);
}

Test(watcher_eras, receipts_bring_their_links) {
    story_append_honest(&story, 30);
    put_ledger(&forge, 0);
    change();
    story_append_honest(&story, 5);
    change();
    story_append(&story, 1, 1, RULE_NONE);
    uint64_t const seq = forge_seq(&forge);
    story_append_honest(&story, 5);
    put_linked(&reform, seq, 1); /* the link before is missing */
    restart();
    play_round();
    cr_assert_eq(status.receipts, 0);
    cr_assert_eq(status.waiting, 1);
    put_linked(&reform, seq, 0);
    play_round();
    uint64_t const kept = status.receipts;
    cr_assert_geq(kept, 1);
    cr_assert_eq(status.settled, 0);
    restart();
    play_round();
    put_ledger(&forge, 0);
    play_round();
    cr_assert_eq(status.audited_batch, forge_seq(&forge));
    play_round();
    cr_assert_eq(status.settled, status.receipts);
    cr_assert_eq(status.waiting, 0);
    cr_assert_eq(told[WATCH_BAD_RECEIPT] + told[WATCH_CANNOT] + told[WATCH_MISBEHAVIOUR], 0);
    cr_assert_eq(watcher_exit_code(watcher), EXIT_OK);
}

Test(watcher_eras, a_link_that_does_not_hold_is_told_once) {
    struct problem problem = {.code = EXIT_OK};
    struct buffer file;
    char path[128];
    story_append_honest(&story, 20);
    put_ledger(&forge, 0);
    change();
    story_append(&story, 1, 1, RULE_NONE);
    put_linked(&reform, forge_seq(&forge), 0);
    (void)snprintf(path, sizeof path, "%s/linked-0.receipt", receipts);
    buffer_init(&file, RECEIPT_LINKED_FILE_SIZE_MAX);
    cr_assert_eq(file_read(&file, path, FILE_PUBLIC, &problem), 0);
    file.data[file.size - 100] ^= 1;
    cr_assert_eq(file_write(path, buffer_span(&file), 0600, FILE_REPLACE, &problem), 0);
    buffer_free(&file);
    restart();
    play_round();
    play_round();
    restart();
    play_round();
    cr_assert_eq(told[WATCH_BAD_RECEIPT], 1);
    cr_assert_eq(told[WATCH_MISBEHAVIOUR], 0);
    cr_assert_eq(status.receipts, 0);
}

/* It brings another chain: who signed both is named, and the watcher goes on with the ledger. */
Test(watcher_eras, a_receipt_of_a_forked_chain) {
    static struct reform other;
    struct forge fork;
    struct story again;
    forge_init(&fork, &consortium);
    again = (struct story){.forge = &fork, .random = 11};
    reform_init(&other, &fork);
    story_append_honest(&again, 20);
    again.random = 4711;
    struct action const action = charter_named(&other.charter, ACTION_ADD_USER, "dave", 7000);
    reform_end(&other, 1, &action);
    reform_start(&other);
    story_append(&again, 1, 1, RULE_NONE);
    story_append_honest(&story, 20);
    put_ledger(&forge, 0);
    put_linked(&other, forge_seq(&fork), 0);
    restart();
    play_round();
    change();
    story_append_honest(&story, 4 * INTERVAL);
    put_ledger(&forge, 0);
    for (unsigned i = 0; i < 3; i++) {
        play_round();
        restart();
        play_round();
        cr_assert_eq(status.audited_batch, forge_seq(&forge));
    }
    cr_assert_geq(told[WATCH_MISBEHAVIOUR], 1);
    cr_assert_geq(__builtin_popcountll(blamed), 2);
    cr_assert_eq(watcher_exit_code(watcher), EXIT_MISBEHAVIOUR);
    reform_free(&other);
    forge_free(&fork);
}

Test(watcher_eras, who_lies_later_is_named) {
    story_append_honest(&story, 20);
    put_ledger(&forge, 0);
    restart();
    play_round();
    change();
    story_append_honest(&story, 4 * INTERVAL);
    put_ledger(&forge, 0);
    play_round();
    restart();
    play_round();
    story_append(&story, 1, 1, RULE_OUTCOME);
    uint64_t const signers = forge_batch_at(&forge, forge_seq(&forge))->signers;
    story_append(&story, 1, 1, RULE_NONE);
    put_ledger(&forge, 0);
    restart();
    play_round();
    cr_assert_not(status.read_again);
    cr_assert_eq(told[WATCH_MISBEHAVIOUR], 1);
    cr_assert_eq(blamed, signers);
    restart();
    play_round();
    cr_assert_eq(told[WATCH_MISBEHAVIOUR], 1);
}

/* ---- outages --------------------------------------------------------------------------------- */

static struct fetch_result results[4];

static int fake_round(void *context, struct problem *problem) {
    (void)context;
    (void)problem;
    return 0;
}

static const struct fetch_result *fake_result(void *context, uint32_t replica) {
    (void)context;
    return &results[replica];
}

Test(watcher, an_outage_begins_and_ends_once) {
    static const struct watcher_network network = {.round = fake_round, .result = fake_result};
    static const enum fetch_state silences[] = {FETCH_SILENT, FETCH_UNREACHABLE, FETCH_REFUSED,
                                                FETCH_INVALID};
    story_append_honest(&story, 10);
    put_ledger(&forge, 0);
    for (uint32_t r = 0; r < 4; r++) {
        results[r] = (struct fetch_result){.state = FETCH_LEVEL};
    }
    restart_with(&network);
    play_round();
    cr_assert_eq(status.level, 4);
    for (unsigned i = 0; i < sizeof silences / sizeof silences[0]; i++) {
        results[2].state = silences[i];
        play_round();
        play_round();
        restart_with(&network);
        play_round();
        cr_assert_eq(told[WATCH_OUTAGE], i + 1);
        cr_assert_eq(told[WATCH_OUTAGE_OVER], i);
        cr_assert_eq(status.silent, 1);
        cr_assert_eq(watcher_exit_code(watcher), EXIT_UNREACHABLE);
        results[2].state = i % 2 == 0 ? FETCH_LEVEL : FETCH_BEHIND;
        play_round();
        play_round();
        cr_assert_eq(told[WATCH_OUTAGE_OVER], i + 1);
    }
    cr_assert_eq(told[WATCH_MISBEHAVIOUR], 0);
    cr_assert_eq(watcher_exit_code(watcher), EXIT_OK);
}
