/*
 * reconfiguration_ends: the last batch of a configuration is committed before some, and those who
 * saw it are not enough to go on, or lose it (protocol §9, "Going over").
 */
#include <criterion/criterion.h>

#include "tests/scenarios/reform.h"

TestSuite(reconfiguration_ends, .timeout = 120);

/* What travels, when it is about the end of configuration 1 or the beginning of 2. */
struct censor {
    uint64_t last;        /* the second batch that ends configuration 1; 0: none was proposed yet */
    uint64_t first_end;   /* the first one */
    uint32_t no_commits;  /* bitmap of those who get no nonces for `last` */
    uint32_t no_prepares; /* nor prepares for it */
    uint32_t no_views;    /* of those who get no new views, nor ranges */
    uint32_t no_start;    /* of those who get no batches of configuration 2 */
    uint32_t no_statuses; /* of those who get no statuses */
    uint32_t no_votes;    /* of those who get no prepares of configuration 2; nonces nobody gets */
    bool certified;       /* somebody has a quorum of such prepares: it has revealed its nonce */
    bool zero_lies; /* replica 0 keeps its nonces, claims more than it has, and damages ranges */
    struct arena scratch;
};

static void note_end(struct censor *censor, const struct pre_prepare *body) {
    if (body->config != 1 || body->kind != BATCH_END_OF_CONFIGURATION) {
        return;
    }
    if (censor->first_end == 0 || body->seq < censor->first_end) {
        censor->first_end = body->seq;
    }
    censor->last = censor->first_end + 1;
}

static bool proposal_passes(struct censor *censor, uint32_t to, struct span payload) {
    struct pre_prepare_message message;
    struct pre_prepare body;
    if (pre_prepare_message_decode(&message, &censor->scratch, payload) != CODEC_OK ||
        pre_prepare_decode(&body, &censor->scratch, message.statement.body) != CODEC_OK) {
        return true;
    }
    note_end(censor, &body);
    return (censor->no_start >> to & 1) == 0 || body.config == 1;
}

static bool vote_passes(struct censor *censor, uint32_t to, struct span payload) {
    struct signed_body statement;
    struct prepare body;
    if (signed_decode(&statement, &censor->scratch, payload, STATEMENT_SIZE_MAX) != CODEC_OK ||
        prepare_decode(&body, &censor->scratch, statement.body) != CODEC_OK) {
        return true;
    }
    bool const is_last = body.config == 1 && body.seq == censor->last;
    return body.config == 1 ? !is_last || (censor->no_prepares >> to & 1) == 0
                            : (censor->no_votes >> to & 1) == 0;
}

static bool nonce_passes(struct censor *censor, uint32_t to, struct span payload) {
    struct commit_message commit;
    if (commit_message_decode(&commit, &censor->scratch, payload) != CODEC_OK) {
        return true;
    }
    if (commit.config != 1) {
        censor->certified = true;
        return censor->no_votes == 0;
    }
    return (censor->no_commits >> to & 1) == 0 || commit.seq != censor->last;
}

/* Is this the pre-prepare of a batch of configuration 1? */
static bool is_of_the_first(struct censor *censor, const struct entry *entry) {
    struct signed_body statement;
    struct pre_prepare body;
    return entry->kind == ENTRY_PRE_PREPARE &&
           signed_decode(&statement, &censor->scratch, entry->payload, STATEMENT_SIZE_MAX) ==
               CODEC_OK &&
           pre_prepare_decode(&body, &censor->scratch, statement.body) == CODEC_OK &&
           body.config == 1;
}

/*
 * It ends with the last batch of configuration 1, and its last byte, one of the signature there, is
 * another.
 */
static bool damage_range(struct censor *censor, struct cluster *c, const struct frame *frame) {
    struct range_message range;
    struct buffer bytes;
    cr_assert(range_message_decode(&range, &censor->scratch, frame->payload) == CODEC_OK);
    while (range.count > 0 && !is_of_the_first(censor, &range.entries[range.count - 1])) {
        range.count--;
    }
    buffer_init(&bytes, FRAME_SIZE_MAX);
    cr_assert(range_message_encode(&bytes, &range));
    bytes.data[bytes.size - 1] ^= 1;
    cluster_forge(c, frame->from_node, frame->to, frame->kind, buffer_span(&bytes));
    buffer_free(&bytes);
    return false;
}

static bool claim_more(struct censor *censor, struct cluster *c, const struct frame *frame) {
    struct status_message status;
    struct buffer bytes;
    cr_assert(status_message_decode(&status, &censor->scratch, frame->payload) == CODEC_OK);
    status.view++; /* so its ledger is asked for from the settled end on */
    status.executed_seq++;
    status.committed_seq = status.executed_seq;
    buffer_init(&bytes, FRAME_SIZE_MAX);
    cr_assert(status_message_encode(&bytes, &status));
    cluster_forge(c, frame->from_node, frame->to, frame->kind, buffer_span(&bytes));
    buffer_free(&bytes);
    return false;
}

static bool lie_passes(struct censor *censor, struct cluster *c, const struct frame *frame) {
    switch (frame->kind) {
    case MESSAGE_COMMIT:
        return false;
    case MESSAGE_STATUS:
        return claim_more(censor, c, frame);
    case MESSAGE_RANGE:
        return damage_range(censor, c, frame);
    default:
        return true;
    }
}

static bool passes(void *context, struct cluster *c, const struct frame *frame) {
    struct censor *const censor = context;
    arena_reset(&censor->scratch);
    if (censor->zero_lies && frame->from_node == 0 && frame->to < 4 &&
        !lie_passes(censor, c, frame)) {
        return false;
    }
    if (frame->kind == MESSAGE_PRE_PREPARE) {
        return proposal_passes(censor, frame->to, frame->payload);
    }
    if (frame->kind == MESSAGE_PREPARE) {
        return vote_passes(censor, frame->to, frame->payload);
    }
    if (frame->kind == MESSAGE_COMMIT) {
        return nonce_passes(censor, frame->to, frame->payload);
    }
    if (frame->kind == MESSAGE_STATUS) {
        return (censor->no_statuses >> frame->to & 1) == 0;
    }
    bool const is_view = frame->kind == MESSAGE_NEW_VIEW || frame->kind == MESSAGE_RANGE;
    return !is_view || (censor->no_views >> frame->to & 1) == 0;
}

static struct cluster *censored_with(struct censor *censor, uint64_t seed, uint32_t spares) {
    struct cluster *const c = reform_cluster(seed, 4, spares);
    arena_init(&censor->scratch, 4 * (size_t)STATEMENT_SIZE_MAX);
    c->filter = passes;
    c->filter_context = censor;
    reform_load(c, 5);
    return c;
}

static struct cluster *censored(struct censor *censor, uint64_t seed) {
    return censored_with(censor, seed, 0);
}

static void dave_comes(struct cluster *c) {
    struct action const add = charter_named(c->charter, ACTION_ADD_USER, "dave", 7000);
    reform_change(c, 1, &add);
}

/* A fifth replica, which hears of nothing yet. */
static void four_comes(struct cluster *c) {
    struct action const add = charter_replica(c->charter, NULL, "bank-a", CLUSTER_SPARE_NUMBER + 4);
    cluster_isolate(c, 4, true);
    reform_change(c, 1, &add);
}

static void run_until_view(struct cluster *c, uint32_t node, uint64_t config, uint64_t view) {
    for (uint32_t ms = 0; ms < 60000; ms++) {
        struct replica_status const status = cluster_status(c, node);
        if (status.config == config && status.view == view) {
            return;
        }
        cluster_run_ms(c, 1);
    }
    cr_assert_fail("node %u does not reach view %llu of configuration %llu", node,
                   (unsigned long long)view, (unsigned long long)config);
}

/* Everybody is through, in spite of it. */
static void ends_well(struct cluster *c, struct censor *censor) {
    reform_load(c, 5);
    cluster_run_until_done(c, 60000);
    reform_run_until_in(c, 2, 20000);
    cluster_run_until_level(c, 20000);
    c->filter = NULL;
    arena_free(&censor->scratch);
    cluster_end(c);
}

/*
 * Replica 0 alone sees the end commit. The others go to view 1 to end it there; 3 asks for that
 * view, too, but does not get it, and hears from 0 how it ended. Then 0 and 3 are too few to
 * begin, and 1 and 2 too few to end: the first two must go back.
 */
Test(reconfiguration_ends, too_few_on_either_side) {
    struct censor censor = {.no_commits = 0xe, .no_views = 0x8};
    struct cluster *const c = censored(&censor, 1);
    dave_comes(c);
    run_until_view(c, 0, 2, 0);
    cluster_isolate(c, 0, true);
    run_until_view(c, 1, 1, 1);
    run_until_view(c, 2, 1, 1);
    cr_assert_eq(cluster_status(c, 3).asked_view, 1);
    cr_assert_eq(cluster_status(c, 3).view, 0);
    cluster_isolate(c, 0, false);
    for (uint32_t other = 1; other < 3; other++) {
        cluster_cut(c, 0, other, true);
        cluster_cut(c, other, 0, true);
        cluster_cut(c, 3, other, true);
        cluster_cut(c, other, 3, true);
    }
    censor.no_commits = 0x6;
    run_until_view(c, 3, 2, 0);
    cr_assert_eq(cluster_status(c, 1).config, 1);
    cr_assert_eq(cluster_status(c, 2).config, 1);
    censor = (struct censor){.scratch = censor.scratch};
    cluster_heal(c);
    ends_well(c, &censor);
}

/*
 * Replicas 1, 2 and 3 have gone over, and to a view there; 1 alone has the batch that begins it,
 * and is never seen again. The others lose power. What committed the end was in memory.
 */
Test(reconfiguration_ends, nobody_remembers_how_it_ended) {
    struct censor censor = {.no_commits = 0x1, .no_views = 0x1, .no_start = 0x1f};
    struct cluster *const c = censored(&censor, 2);
    dave_comes(c);
    run_until_view(c, 2, 2, 1);
    run_until_view(c, 3, 2, 1);
    cluster_run_ms(c, 50);
    cr_assert_eq(cluster_status(c, 0).config, 1);
    for (uint32_t node = 0; node < 4; node++) {
        cluster_crash(c, node);
    }
    c->nodes[1].left_out = true;
    censor = (struct censor){.scratch = censor.scratch};
    cluster_start(c, 0);
    cluster_start(c, 2);
    cluster_start(c, 3);
    cr_assert_eq(cluster_status(c, 2).config, 1, "it speaks in the configuration before again");
    ends_well(c, &censor);
}

/*
 * All but 3 go over, and to a view there, whose primary is never seen again. 0 and 2 lose power one
 * after the other, and with it what committed the end; each comes back behind the new view that the
 * other has. Nobody of those who are over has committed the end then, and 3 follows them all the
 * same.
 */
Test(reconfiguration_ends, who_is_over_has_not_committed_the_end) {
    struct censor censor = {.no_commits = 0x8, .no_views = 0x8, .no_start = 0x1f};
    struct cluster *const c = censored(&censor, 3);
    dave_comes(c);
    for (uint32_t node = 0; node < 3; node++) {
        run_until_view(c, node, 2, 1);
    }
    cluster_run_ms(c, 50);
    cluster_crash(c, 1);
    c->nodes[1].left_out = true;
    cluster_isolate(c, 3, true);
    for (uint32_t node = 0; node < 3; node += 2) {
        cluster_crash(c, node);
        cluster_start(c, node);
        cr_assert_eq(cluster_status(c, node).config, 1, "it has lost how it ended");
        run_until_view(c, node, 2, 1);
        cr_assert_eq(cluster_committed(c, node), censor.last - 1);
    }
    cr_assert_eq(cluster_status(c, 3).config, 1);
    censor = (struct censor){.scratch = censor.scratch};
    cluster_isolate(c, 3, false);
    ends_well(c, &censor);
}

/*
 * All have gone over, and 0, which leads there, claims to be ahead and gives them a last batch of
 * its own, with a signature that does not hold. They find out when theirs is undone already; the
 * nonces of all of them are needed to go over again, for 0 keeps its own.
 */
Test(reconfiguration_ends, a_liar_undoes_the_end_for_all) {
    struct censor censor = {.no_start = 0x1f};
    struct cluster *const c = censored(&censor, 4);
    cluster_isolate(c, 0, true);
    cluster_submit(c, "kv.put first 1");
    run_until_view(c, 1, 1, 1);
    cluster_isolate(c, 0, false);
    cluster_run_until_done(c, 20000);
    cluster_run_until_level(c, 20000);
    c->nodes[0].byzantine = true;
    dave_comes(c);
    for (uint32_t node = 0; node < 4; node++) {
        run_until_view(c, node, 2, 0);
    }
    censor.zero_lies = true;
    bool was_undone = false;
    for (uint32_t ms = 0; ms < 1500; ms++) {
        cluster_run_ms(c, 1);
        was_undone |= cluster_status(c, 3).config == 1;
    }
    cr_assert(was_undone);
    cluster_crash(c, 0);
    censor = (struct censor){.scratch = censor.scratch};
    ends_well(c, &censor);
}

/*
 * All go over, and to a view there, a newcomer among them, who knows of the end by that view alone.
 * The four lose power, and one of them is never seen again. The others end the configuration in
 * another view, and go over behind that copy. Only they have it; and the newcomer shows them the
 * view that was built behind the first one, whose nonces are gone.
 */
Test(reconfiguration_ends, a_higher_copy_is_not_given_up) {
    static const uint32_t rest[] = {0, 2, 3};
    struct censor censor = {.no_start = 0x1f, .no_commits = 0x10};
    struct cluster *const c = censored_with(&censor, 5, 1);
    four_comes(c);
    for (uint32_t node = 0; node < 4; node++) {
        run_until_view(c, node, 2, 1);
    }
    cluster_run_ms(c, 50);
    cluster_crash(c, 1); /* it led there, and has the batch that would show how it ended */
    c->nodes[1].left_out = true;
    cluster_isolate(c, 4, false);
    run_until_view(c, 4, 2, 1);
    cluster_run_ms(c, 5);
    cr_assert_eq(cluster_committed(c, 4), censor.last - 1, "it has not seen the end committed");
    cluster_isolate(c, 4, true);
    censor.no_commits |= 0xf;
    for (uint32_t i = 0; i < 3; i++) {
        cluster_crash(c, rest[i]);
        cluster_start(c, rest[i]);
        cr_assert_eq(cluster_status(c, rest[i]).config, 1, "it has lost how it ended");
    }
    for (uint32_t i = 0; i < 3; i++) {
        run_until_view(c, rest[i], 1, 2);
    }
    censor.no_commits = 0x10;
    for (uint32_t i = 0; i < 3; i++) {
        run_until_view(c, rest[i], 2, 0);
    }
    cluster_isolate(c, 4, false);
    cluster_run_ms(c, 1500);
    censor = (struct censor){.scratch = censor.scratch};
    ends_well(c, &censor);
}

/*
 * 0 alone sees the end commit. The others ask for view 1 to end it there; 1
 * leads that, and is in it before 2 and 3 hear from 0 how it ended. So 1 alone is left behind, in a
 * view that nobody else will be in.
 */
static struct cluster *leave_one_behind(struct censor *censor, uint64_t seed, uint32_t spares) {
    *censor = (struct censor){.no_commits = 0xe, .no_views = 0xc, .no_start = 0x1f};
    struct cluster *const c = censored_with(censor, seed, spares);
    if (spares == 0) {
        dave_comes(c);
    } else {
        four_comes(c);
    }
    run_until_view(c, 0, 2, 0);
    cluster_isolate(c, 0, true);
    run_until_view(c, 1, 1, 1);
    for (uint32_t node = 2; node < 4; node++) {
        cr_assert_eq(cluster_status(c, node).asked_view, 1);
        cr_assert_eq(cluster_status(c, node).view, 0);
    }
    cluster_isolate(c, 1, true);
    cluster_isolate(c, 0, false);
    for (uint32_t other = 1; other < 3; other++) {
        cluster_cut(c, 0, other, true); /* two could call it back */
        cluster_cut(c, other, 0, true);
    }
    censor->no_commits = 0x2;
    run_until_view(c, 3, 2, 0);
    run_until_view(c, 2, 2, 0);
    cluster_cut(c, 0, 2, false);
    cluster_cut(c, 2, 0, false);
    cr_assert_eq(cluster_status(c, 1).config, 1);
    return c;
}

/*
 * With five replicas the others may not be enough without it. The first batch of the next
 * configuration shows it how the other ended.
 */
Test(reconfiguration_ends, one_waits_in_a_view_of_its_own) {
    struct censor censor;
    struct cluster *const c = leave_one_behind(&censor, 6, 1);
    cluster_crash(c, 4);
    c->nodes[4].left_out = true;
    censor = (struct censor){.scratch = censor.scratch};
    cluster_heal(c);
    cluster_run_ms(c, VIEW_TIMEOUT_MS);
    cr_assert_eq(cluster_status(c, 1).config, 2, "nobody has to go back for it");
    ends_well(c, &censor);
}

/* There is no such batch, for who would begin is never seen again: they join the one. */
Test(reconfiguration_ends, one_calls_the_others_back) {
    struct censor censor;
    struct cluster *const c = leave_one_behind(&censor, 7, 1);
    cluster_crash(c, 0);
    c->nodes[0].left_out = true;
    censor = (struct censor){.scratch = censor.scratch};
    cluster_heal(c);
    ends_well(c, &censor);
}

/*
 * 0 begins, and what it begins is certified; nobody else knows that, and the one that was left
 * behind calls them back.
 */
static struct cluster *begin_and_call_back(struct censor *censor, uint64_t seed) {
    struct cluster *const c = leave_one_behind(censor, seed, 0);
    *censor = (struct censor){.scratch = censor->scratch,
                              .first_end = censor->first_end,
                              .last = censor->last,
                              .no_votes = 0xe};
    for (uint32_t ms = 0; ms < 20000 && !censor->certified; ms++) {
        cluster_run_ms(c, 1);
    }
    cr_assert(censor->certified);
    cluster_isolate(c, 0, true);
    cluster_isolate(c, 1, false);
    cluster_cut(c, 0, 1, true);
    cluster_cut(c, 1, 0, true);
    censor->no_votes = 0;
    censor->no_views = 0x2;
    censor->no_start = 0xf;
    censor->no_commits = 0x2;
    for (uint32_t node = 2; node < 4; node++) {
        while (cluster_status(c, node).config == 2) {
            cluster_run_ms(c, 1);
        }
    }
    return c;
}

/* They end configuration 1 again, and go over behind that copy, a higher one than 0 has. */
static struct cluster *begin_behind_a_lower_copy(struct censor *censor, uint64_t seed) {
    struct cluster *const c = begin_and_call_back(censor, seed);
    censor->no_commits = 0;
    censor->no_views = 0;
    for (uint32_t node = 1; node < 4; node++) {
        while (cluster_status(c, node).config == 1) {
            cluster_run_ms(c, 1);
        }
    }
    cluster_run_ms(c, 50);
    return c;
}

/*
 * The one is never seen again, so that the others need 0. It cannot give up what is certified; but
 * it shows how its own copy, the lower one, was committed.
 */
Test(reconfiguration_ends, a_first_batch_stands_behind_a_lower_copy) {
    struct censor censor;
    struct cluster *const c = begin_behind_a_lower_copy(&censor, 8);
    cluster_crash(c, 1);
    c->nodes[1].left_out = true;
    censor = (struct censor){.scratch = censor.scratch};
    cluster_heal(c);
    ends_well(c, &censor);
}

/*
 * 2 and 3 come down to the lower copy; 2 loses power, and then a new view drops the first batch for
 * which they came. 2 loses power once more: its disk has not the copy that it has revealed a nonce
 * for any more, so it must not speak in configuration 1 again.
 */
Test(reconfiguration_ends, one_that_came_down_does_not_go_back) {
    struct censor censor;
    struct cluster *const c = begin_behind_a_lower_copy(&censor, 8);
    censor.no_votes = 0xf;
    cluster_isolate(c, 1, true);
    cluster_isolate(c, 0, false);
    for (uint32_t node = 2; node < 4; node++) {
        run_until_view(c, node, 2, 2);
    }
    cluster_run_ms(c, 50);
    cluster_isolate(c, 0, true);
    cluster_crash(c, 2);
    cluster_start(c, 2);
    cluster_isolate(c, 1, false);
    for (uint32_t node = 2; node < 4; node++) {
        run_until_view(c, node, 2, 3);
    }
    cluster_run_ms(c, 50);
    cluster_crash(c, 2);
    cluster_start(c, 2);
    cr_assert_eq(cluster_status(c, 2).config, 2);
    censor = (struct censor){.scratch = censor.scratch};
    cluster_heal(c);
    ends_well(c, &censor);
}

/*
 * All reveal their nonces for the last batch, and nobody gets one. 0, 1 and 2 end configuration 1
 * in another view, and go over; 3 follows them by what they have on disk, and sees neither who
 * voted for that copy nor how it was committed. It loses power, and so does 0: they call the others
 * back, and 3 has to show what it ranks by, its own copy.
 */
Test(reconfiguration_ends, what_one_ranks_by_stays_on_its_disk) {
    struct censor censor = {.no_commits = 0xf, .no_start = 0x1f};
    struct cluster *const c = censored(&censor, 9);
    dave_comes(c);
    while (cluster_status(c, 3).asked_view == 0) {
        cluster_run_ms(c, 1);
    }
    cluster_isolate(c, 3, true);
    censor.no_commits = 0x8;
    censor.no_prepares = 0x8;
    for (uint32_t node = 0; node < 3; node++) {
        run_until_view(c, node, 2, 1);
    }
    cluster_run_ms(c, 50);
    cluster_isolate(c, 3, false);
    for (uint32_t other = 0; other < 2; other++) {
        cluster_cut(c, 3, other, true);
        cluster_cut(c, other, 3, true);
    }
    run_until_view(c, 3, 2, 1);
    cr_assert_eq(cluster_committed(c, 3), censor.last - 1, "it has not seen the end committed");
    cluster_run_ms(c, 50);
    for (uint32_t node = 0; node < 4; node += 3) {
        cluster_crash(c, node);
        cluster_start(c, node);
        cr_assert_eq(cluster_status(c, node).config, 1, "it has lost how it ended");
    }
    censor.no_commits = 0xf;
    censor.no_views = 0x9;
    cluster_heal(c);
    for (uint32_t node = 0; node < 4; node++) {
        while (cluster_status(c, node).config != 1 || cluster_status(c, node).asked_view < 2) {
            cluster_run_ms(c, 1);
        }
    }
    censor = (struct censor){.scratch = censor.scratch};
    ends_well(c, &censor);
}

/*
 * All but 3 go over, and begin. 1 loses power, and comes back with a slow disk: until its journal
 * has this start it must not say anything, not even to 3, to whom it passes votes for the end on,
 * its own among them.
 */
Test(reconfiguration_ends, old_words_wait_for_the_journal_too) {
    struct censor censor = {.no_commits = 0x8, .no_views = 0x8};
    struct cluster *const c = censored(&censor, 11);
    dave_comes(c);
    for (uint32_t node = 0; node < 3; node++) {
        run_until_view(c, node, 2, 0);
    }
    for (uint32_t node = 0; node < 3; node++) {
        while (cluster_committed(c, node) <= censor.last) {
            cluster_run_ms(c, 1);
        }
    }
    cluster_run_ms(c, 50);
    cluster_crash(c, 1);
    uint64_t const usual[] = {c->sync_us_min, c->sync_us_max};
    c->sync_us_min = 900000;
    c->sync_us_max = 1000000;
    cluster_start(c, 1);
    cr_assert_eq(cluster_status(c, 1).config, 2);
    cr_assert_eq(cluster_status(c, 3).config, 1);
    cluster_run_ms(c, 700);
    c->sync_us_min = usual[0];
    c->sync_us_max = usual[1];
    censor = (struct censor){.scratch = censor.scratch};
    ends_well(c, &censor);
}

/*
 * 2 has voted for the first batch of the next configuration, and is called back. When it stops in
 * the one before, its ledger shows nothing of that: it must not say that it stops in order.
 */
Test(reconfiguration_ends, words_of_the_next_one_are_not_in_order) {
    struct censor censor;
    struct cluster *const c = begin_and_call_back(&censor, 8);
    censor.no_commits = 0xf;
    censor.no_views = 0;
    run_until_view(c, 2, 1, 2);
    cluster_run_ms(c, 500);
    cr_assert_eq(cluster_status(c, 2).config, 1);
    cluster_stop(c, 2);
    cluster_run_ms(c, 500);
    cluster_crash(c, 2);
    cluster_start(c, 2);
    censor = (struct censor){.scratch = censor.scratch};
    cluster_heal(c);
    ends_well(c, &censor);
}

/*
 * 0 has begun the next configuration when all lose power. It comes back in the one before, where
 * later views come, and does not know what it has proposed in view 0 of the next.
 */
Test(reconfiguration_ends, words_of_an_earlier_life_are_not_in_order) {
    struct censor censor = {.no_start = 0x1f};
    struct cluster *const c = censored(&censor, 13);
    uint64_t const usual[] = {c->sync_us_min, c->sync_us_max};
    c->sync_us_min = 40000; /* what it begins is not on its disk yet */
    c->sync_us_max = 50000;
    dave_comes(c);
    run_until_view(c, 0, 2, 0);
    while (cluster_status(c, 0).executed_seq <= censor.last) {
        cluster_run_ms(c, 1);
    }
    cluster_run_ms(c, 5);
    censor.no_commits = 0xf;
    for (uint32_t node = 0; node < 4; node++) {
        cluster_crash(c, node);
    }
    c->sync_us_min = usual[0];
    c->sync_us_max = usual[1];
    for (uint32_t node = 0; node < 4; node++) {
        cluster_start(c, node);
        cr_assert_eq(cluster_status(c, node).config, 1, "it has lost how it ended");
    }
    run_until_view(c, 0, 1, 1);
    cluster_run_ms(c, 500);
    cluster_stop(c, 0);
    cluster_run_ms(c, 500);
    cluster_crash(c, 0);
    cluster_start(c, 0);
    censor = (struct censor){.scratch = censor.scratch};
    ends_well(c, &censor);
}

/*
 * 3 has asked for view 2, alone, when it hears from 0 how the configuration ended. It loses power
 * behind the first batch of the next one, and 1 and 2, who ask for view 1, call it back. What it
 * has asked for its journal knows.
 */
Test(reconfiguration_ends, what_one_asked_for_its_journal_knows) {
    struct censor censor = {.no_commits = 0xe, .no_views = 0xe, .no_votes = 0xf};
    struct cluster *const c = censored(&censor, 12);
    dave_comes(c);
    run_until_view(c, 0, 2, 0);
    cluster_isolate(c, 0, true);
    for (uint32_t other = 1; other < 3; other++) {
        cluster_cut(c, 3, other, true);
    }
    while (cluster_status(c, 3).asked_view < 2) {
        cluster_run_ms(c, 1);
    }
    cr_assert_eq(cluster_status(c, 1).asked_view, 1);
    cr_assert_eq(cluster_status(c, 2).asked_view, 1);
    cluster_cut(c, 1, 3, true);
    cluster_cut(c, 2, 3, true);
    censor.no_commits = 0x6;
    censor.no_views = 0x6;
    censor.no_statuses = 0x1; /* or 0 would go back for 3 */
    cluster_cut(c, 0, 3, false);
    cluster_cut(c, 3, 0, false);
    run_until_view(c, 3, 2, 0);
    while (cluster_status(c, 3).executed_seq <= censor.last) {
        cluster_run_ms(c, 1);
    }
    cluster_run_ms(c, 50);
    cluster_crash(c, 3);
    cluster_start(c, 3);
    cr_assert_eq(cluster_status(c, 3).config, 2, "its ledger has the first batch");
    cluster_isolate(c, 0, true);
    for (uint32_t other = 1; other < 3; other++) {
        cluster_cut(c, 3, other, false);
        cluster_cut(c, other, 3, false);
    }
    while (cluster_status(c, 3).config == 2) {
        cluster_run_ms(c, 1);
    }
    cluster_run_ms(c, 100);
    cr_assert_eq(cluster_status(c, 3).asked_view, 2);
    censor = (struct censor){.scratch = censor.scratch};
    cluster_heal(c);
    ends_well(c, &censor);
}
