/*
 * fetcher_checkpoint: checkpoints that are demanded (audit-tool/checkpoint_fetcher.h), and ledgers
 * that begin behind them. What is kept is a state that an audit can begin at; what is not of the
 * checkpoint that a quorum signed is not taken, and convicts nobody.
 */
#include "audit-tool/checkpoint_fetcher.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "audit-tool/checkpoint_store.h"
#include "audit-tool/replayer.h"
#include "audit-tool/saved_state.h"
#include "consensus/join.h"
#include "execution/state_parts.h"
#include "tests/unit/fetch_fixture.h"

#define INTERVAL 12u /* of checkpoints, in the consortium */
#define CHECKPOINT (3u * INTERVAL)

static bool collect_item(void *context, struct span key, struct span value, bool deleted) {
    (void)context;
    (void)deleted;
    struct state_item const item = {.key = arena_copy(&offered.arena, key),
                                    .value = arena_copy(&offered.arena, value)};
    return buffer_append(&offered.items, span_of(&item, sizeof item));
}

static void make_digests(void) {
    const struct state_item *const items = (const void *)offered.items.data;
    struct state_grouper grouper;
    struct digest digest;
    state_grouper_init(&grouper);
    for (size_t i = 0; i < offered.items.size / sizeof *items; i++) {
        if (state_grouper_add(&grouper, &digest, items[i].key, items[i].value)) {
            cr_assert(buffer_append(&offered.digests, span_of(&digest, sizeof digest)));
        }
    }
    if (state_grouper_finish(&grouper, &digest)) {
        cr_assert(buffer_append(&offered.digests, span_of(&digest, sizeof digest)));
    }
}

static void make_offer(struct buffer *offer, const struct replayer_cut *cut, uint64_t carrier) {
    struct buffer snapshot;
    struct buffer certificate;
    buffer_init(&snapshot, SNAPSHOT_SIZE_MAX);
    buffer_init(&certificate, COMMIT_CERTIFICATE_SIZE_MAX);
    buffer_init(offer, FRAME_SIZE_MAX);
    forge_certificate(&forge, carrier, &certificate);
    cr_assert(checkpoint_cut_snapshot(&snapshot, &cut->cut, NULL));
    cr_assert(offer_encode(offer, buffer_span(&snapshot), buffer_span(&certificate)));
    buffer_free(&certificate);
    buffer_free(&snapshot);
}

/* The story goes on beyond a checkpoint, and the server can hand that over. */
static void offer_checkpoint(void) {
    static struct replayer replayer;
    struct batch batch;
    story_append_honest(&story, 2 * CHECKPOINT - BATCHES);
    cr_assert(replayer_init(&replayer, &known, NULL, true));
    replayer_start(&replayer, buffer_span(&consortium.genesis_bytes));
    batch_init(&batch);
    for (uint64_t seq = 1; seq <= CHECKPOINT; seq++) {
        forge_read(&forge, seq, &batch);
        cr_assert_eq(replayer_step(&replayer, &batch), RULE_NONE);
    }
    const struct replayer_cut *const cut = replayer_cut_at(&replayer, CHECKPOINT);
    cr_assert(cut != NULL);
    arena_init(&offered.arena, (size_t)64 << 20);
    buffer_init(&offered.items, (size_t)64 << 20);
    buffer_init(&offered.digests, (size_t)64 << 20);
    cr_assert(engine_visit_state(replayer.engine, CHECKPOINT, collect_item, NULL));
    cr_assert_gt(offered.items.size, 0);
    make_digests();
    make_offer(&offered.offer, cut, CHECKPOINT + INTERVAL);
    make_offer(&offered.false_offer, cut, CHECKPOINT + 2 * INTERVAL);
    offered.seq = CHECKPOINT;
    offered.end = cut->cut.header.entries;
    batch_free(&batch);
    replayer_free(&replayer);
}

/* Fetch it, with this lie, until the deadline at most. */
static struct checkpoint_fetch *fetch_checkpoint(enum lie lie, uint64_t deadline_ms) {
    static struct checkpoint_fetch fetch;
    static char states[160];
    struct problem problem = {.code = EXIT_OK};
    (void)snprintf(states, sizeof states, "%s/state", directory);
    struct fetcher_options const options = {.founding = &founding,
                                            .eras = &known,
                                            .secret = consortium.users[0].secret,
                                            .key = consortium.users[0].key,
                                            .directory = states,
                                            .deadline_ms = deadline_ms,
                                            .replicas = (uint64_t)1 << SERVER};
    server.lie = lie;
    server.demands = 0;
    cr_assert_eq(checkpoint_fetch_run(&fetch, &options, NULL, NULL, &problem), 0, "%s",
                 problem.text);
    cr_assert(fetch.was_asked[SERVER]);
    cr_assert_not(fetch.was_asked[OTHER]);
    return &fetch;
}

static int find_state(struct fetch_mark *mark) {
    char states[160];
    struct problem problem = {.code = EXIT_OK};
    (void)snprintf(states, sizeof states, "%s/state", directory);
    int const found = checkpoint_store_find(mark, states, &founding, &problem);
    cr_assert_geq(found, 0, "%s", problem.text);
    return found;
}

Test(fetcher, a_checkpoint_is_a_state_to_begin_at) {
    static struct replayer replayer;
    struct fetch_mark mark;
    char path[192];
    struct problem problem = {.code = EXIT_OK};
    struct buffer genesis;
    uint64_t seq = 0;
    offer_checkpoint();
    struct checkpoint_fetch *const fetch = fetch_checkpoint(HONEST, 60000);
    cr_assert_eq(fetch->outcome, CHECKPOINT_FETCHED, "%s", fetch->results[SERVER].reason);
    cr_assert_eq(fetch->results[SERVER].state, FETCH_LEVEL, "%s", fetch->results[SERVER].reason);
    cr_assert_eq(fetch->mark.entries, offered.end);
    cr_assert_eq(find_state(&mark), 1);
    cr_assert_eq(mark.seq, CHECKPOINT);
    cr_assert_eq(mark.entries, offered.end);
    (void)snprintf(path, sizeof path, "%s/state/checkpoint-%012u.state", directory, CHECKPOINT);
    FILE *const file = fopen(path, "rb");
    cr_assert(file != NULL);
    buffer_init(&genesis, GENESIS_SIZE_MAX);
    cr_assert_eq(saved_state_read_head(file, &consortium.configuration.service, &genesis, &seq,
                                       path, &problem),
                 0, "%s", problem.text);
    cr_assert(replayer_init(&replayer, &known, NULL, true));
    cr_assert_eq(saved_state_read(file, &replayer, seq, path, &problem), 0, "%s", problem.text);
    struct digest const *const digest =
        &forge_batch_at(&forge, CHECKPOINT + INTERVAL)->body.checkpoint_digest;
    cr_assert(digest_equal(&replayer_cut_at(&replayer, CHECKPOINT)->digest, digest));
    struct batch batch;
    batch_init(&batch);
    forge_read(&forge, CHECKPOINT + 1, &batch);
    cr_assert_eq(replayer_step(&replayer, &batch), RULE_NONE, "the ledger goes on there");
    batch_free(&batch);
    replayer_free(&replayer);
    buffer_free(&genesis);
    (void)fclose(file);
    checkpoint_fetch_free(fetch);
}

Test(fetcher, a_ledger_begins_behind_a_checkpoint) {
    struct problem problem = {.code = EXIT_OK};
    offer_checkpoint();
    struct checkpoint_fetch *const fetch = fetch_checkpoint(HONEST, 60000);
    struct fetcher_options const options = {.founding = &founding,
                                            .eras = &known,
                                            .secret = consortium.users[0].secret,
                                            .key = consortium.users[0].key,
                                            .directory = out,
                                            .deadline_ms = 60000,
                                            .replicas = (uint64_t)1 << SERVER,
                                            .base = &fetch->mark};
    server.begins = offered.end; /* it joined there, and has nothing older */
    for (unsigned i = 0; i < 2; i++) {
        struct fetcher *const fetcher = fetcher_new(&options, &problem);
        cr_assert(fetcher != NULL, "%s", problem.text);
        const struct fetch_result *const result = round_of(fetcher, HONEST);
        cr_assert_eq(result->state, FETCH_LEVEL, "%s", result->reason);
        cr_assert_eq(result->entries, forge_entry_count(&forge));
        cr_assert_eq(server.first < offered.end, false, "nothing older is demanded");
        cr_assert_eq(server.first == offered.end, i == 0, "and the second time it goes on");
        cr_assert_not(result->has_parted);
        fetcher_free(fetcher);
        story_append_honest(&story, BATCHES);
    }
    struct fetcher_options other = options;
    struct fetch_mark elsewhere = fetch->mark;
    char another[160];
    (void)snprintf(another, sizeof another, "%s/another", directory);
    elsewhere.frontier.peaks[0].bytes[0] ^= 1;
    other.base = &elsewhere;
    other.directory = another;
    struct fetcher *const fetcher = fetcher_new(&other, &problem);
    cr_assert(fetcher != NULL, "%s", problem.text);
    const struct fetch_result *const result = round_of(fetcher, HONEST);
    cr_assert_eq(result->state, FETCH_BEHIND, "%s", result->reason);
    cr_assert_eq(result->entries, offered.end, "nothing is kept of another history");
    fetcher_free(fetcher);
    checkpoint_fetch_free(fetch);
}

/* What a lie comes to: nothing is kept, nobody is convicted, and it is told. */
static void expect_no_checkpoint(enum lie lie, enum fetch_state state) {
    struct fetch_mark mark;
    struct checkpoint_fetch *const fetch = fetch_checkpoint(lie, 3000);
    const struct fetch_result *const result = &fetch->results[SERVER];
    cr_assert_neq(fetch->outcome, CHECKPOINT_FETCHED, "lie %d", (int)lie);
    cr_assert_eq(result->state, state, "lie %d: state %d: %s", (int)lie, (int)result->state,
                 result->reason);
    cr_assert_neq(result->reason[0], '\0');
    cr_assert_eq(result->evidence.size, 0);
    cr_assert_gt(result->demand.size, 0);
    cr_assert_lt(server.demands, 64);
    cr_assert_eq(find_state(&mark), 0, "lie %d: nothing is kept", (int)lie);
    checkpoint_fetch_free(fetch);
}

Test(fetcher, what_is_not_of_the_signed_checkpoint_is_not_taken) {
    static enum lie const lies[] = {OTHER_OFFER, OTHER_DIGESTS, OTHER_ITEMS, BAD_NUMBERS,
                                    BAD_CODE,    GARBAGE,       TWICE,       OTHERS_SIGNATURE};
    offer_checkpoint();
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        expect_no_checkpoint(lies[i], FETCH_INVALID);
    }
    struct checkpoint_fetch *const fetch = fetch_checkpoint(HONEST, 60000);
    cr_assert_eq(fetch->outcome, CHECKPOINT_FETCHED, "after all of that it can be had");
    checkpoint_fetch_free(fetch);
}

Test(fetcher, entries_that_are_none_convict_in_a_checkpoint_too) {
    struct fetch_mark mark;
    offer_checkpoint();
    struct checkpoint_fetch *const fetch = fetch_checkpoint(CUT_SHORT, 10000);
    cr_assert_eq(fetch->results[SERVER].state, FETCH_MALFORMED, "%s",
                 fetch->results[SERVER].reason);
    cr_assert_gt(fetch->results[SERVER].evidence.size, 0);
    cr_assert_eq(find_state(&mark), 0);
    checkpoint_fetch_free(fetch);
}

Test(fetcher, who_is_silent_about_its_checkpoint_is_told) {
    offer_checkpoint();
    expect_no_checkpoint(MUTE, FETCH_SILENT);
    expect_no_checkpoint(MUTE_ITEMS, FETCH_SILENT);
    expect_no_checkpoint(UNKNOWN_AUTHOR, FETCH_REFUSED);
    expect_no_checkpoint(NO_ITEMS, FETCH_BEHIND);
    expect_no_checkpoint(HANGS_UP, FETCH_UNREACHABLE);
}

Test(fetcher, no_checkpoint_is_no_fault) {
    struct fetch_mark mark;
    offer_checkpoint();
    struct checkpoint_fetch *const fetch = fetch_checkpoint(NO_OFFER, 60000);
    cr_assert_eq(fetch->outcome, CHECKPOINT_NOT_OFFERED);
    cr_assert_eq(fetch->results[SERVER].state, FETCH_LEVEL);
    cr_assert_eq(find_state(&mark), 0);
    checkpoint_fetch_free(fetch);
}
