/*
 * amnesia: replicas whose disk has forgotten what their key signed (protocol §5). They must never
 * vote again; they serve and follow.
 */
#include <criterion/criterion.h>
#include <stdio.h>

#include "tests/sim/cluster.h"

static void put_some(struct cluster *c, unsigned count) {
    char call[64];
    for (unsigned i = 0; i < count; i++) {
        (void)snprintf(call, sizeof call, "kv.put k%u v%u", i % 5, i);
        cluster_submit(c, call);
        cluster_run_ms(c, 12);
    }
    cluster_run_until_done(c, 3000);
}

static struct cluster *begin(uint64_t seed) {
    struct cluster *const c = cluster_new(&(struct cluster_options){.seed = seed});
    put_some(c, 30);
    cluster_run_ms(c, 300);
    return c;
}

/* From here on the judge knows that this one has forgotten. */
static void wipe_ledger(struct node *node) {
    node->restored = true;
    node->disk.durable.count = 1;
    node->disk.live.count = 1;
    node->disk.store.present = false;
    node->disk.store.row_count = 0;
}

static uint64_t votes(const struct cluster *c, uint32_t node) {
    const uint64_t *const sent = c->nodes[node].sent;
    return sent[MESSAGE_PREPARE] + sent[MESSAGE_COMMIT] + sent[MESSAGE_PRE_PREPARE] +
           sent[MESSAGE_VIEW_CHANGE] + sent[MESSAGE_NEW_VIEW];
}

/* It follows the others and says nothing, now and after any restart. */
static void expect_silence(struct cluster *c, uint32_t node, enum guard guard) {
    for (unsigned round = 0; round < 3; round++) {
        uint64_t const before = votes(c, node);
        if (guard != GUARD_NONE) {
            cr_assert(cluster_status(c, node).guard == guard);
        }
        put_some(c, 5);
        cluster_run_ms(c, 5000);
        cr_assert(votes(c, node) == before);
        cr_assert(cluster_committed(c, node) + 1 >= cluster_committed(c, 0));
        cluster_crash(c, node);
        cluster_run_ms(c, 100);
        cluster_start(c, node);
        cr_assert(cluster_status(c, node).guard != GUARD_NONE);
        guard = GUARD_NONE;
    }
    cluster_end(c);
}

Test(amnesia, the_ledger_is_wiped) {
    struct cluster *const c = begin(1);
    cluster_crash(c, 2);
    wipe_ledger(&c->nodes[2]);
    cluster_start(c, 2);
    expect_silence(c, 2, GUARD_LEDGER_SHORT);
}

Test(amnesia, the_journal_is_wiped) {
    struct cluster *const c = begin(2);
    cluster_crash(c, 2);
    c->nodes[2].restored = true;
    c->nodes[2].disk.journal.count = 0;
    c->nodes[2].disk.journal_missing = true;
    cluster_start(c, 2);
    expect_silence(c, 2, GUARD_JOURNAL_MISSING);
}

Test(amnesia, an_old_copy_of_the_ledger) {
    struct cluster *const c = cluster_new(&(struct cluster_options){.seed = 3});
    put_some(c, 10);
    uint64_t const old = c->nodes[2].disk.durable.count;
    put_some(c, 30);
    cluster_crash(c, 2);
    c->nodes[2].restored = true;
    c->nodes[2].disk.durable.count = old;
    c->nodes[2].disk.live.count = old;
    cluster_start(c, 2);
    expect_silence(c, 2, GUARD_LEDGER_SHORT);
}

/* The guard does not lapse when the ledger is as long again as the journal remembers. */
Test(amnesia, the_guard_stays_when_the_ledger_has_been_fetched_again) {
    struct cluster *const c = begin(4);
    cluster_crash(c, 1);
    wipe_ledger(&c->nodes[1]);
    cluster_start(c, 1);
    cluster_run_ms(c, 10000);
    cr_assert(cluster_committed(c, 1) + 1 >= cluster_committed(c, 0));
    expect_silence(c, 1, GUARD_LEDGER_SHORT);
}

static void wipe_all(struct cluster *c, uint32_t node) {
    cluster_crash(c, node);
    wipe_ledger(&c->nodes[node]);
    c->nodes[node].disk.journal.count = 0;
    c->nodes[node].disk.guard = GUARD_NONE;
}

/* Set up anew, as if its key had never signed anything: the others' ledger knows better. */
Test(amnesia, a_backup_that_was_set_up_anew) {
    for (uint32_t node = 1; node < 4; node++) {
        struct cluster *const c = begin(5 + node);
        wipe_all(c, node);
        cluster_start(c, node);
        cluster_run_ms(c, 10000);
        cr_assert(cluster_status(c, node).guard == GUARD_SIGNED_ELSEWHERE, "node %u", node);
        expect_silence(c, node, GUARD_SIGNED_ELSEWHERE);
    }
}

/*
 * The same of the primary: it must not propose anything before it has heard of its past. The
 * others go on without it.
 */
Test(amnesia, a_primary_that_was_set_up_anew) {
    struct cluster *const c = begin(9);
    uint64_t const committed = cluster_committed(c, 1);
    wipe_all(c, 0);
    uint64_t const proposals = c->nodes[0].sent[MESSAGE_PRE_PREPARE];
    cluster_start(c, 0);
    cluster_submit(c, "kv.put new 1");
    cluster_run_until_done(c, 20000);
    cluster_run_ms(c, 20000);
    cr_assert(c->nodes[0].sent[MESSAGE_PRE_PREPARE] == proposals);
    cr_assert(cluster_status(c, 0).guard == GUARD_SIGNED_ELSEWHERE);
    cr_assert(cluster_committed(c, 0) > committed && cluster_committed(c, 1) > committed);
    cluster_end(c);
}

/* An old copy of the whole disk: journal and ledger agree, and both have forgotten. */
Test(amnesia, an_old_copy_of_the_whole_disk) {
    for (uint32_t node = 0; node < 3; node++) {
        struct cluster *const c = cluster_new(&(struct cluster_options){.seed = 20 + node});
        put_some(c, 10);
        struct node *const old = &c->nodes[node];
        uint64_t const entries = old->disk.durable.count;
        uint64_t const records = old->disk.journal.count;
        put_some(c, 40);
        cluster_run_ms(c, 300);
        cluster_crash(c, node);
        old->restored = true;
        old->disk.durable.count = entries;
        old->disk.live.count = entries;
        old->disk.journal.count = records;
        old->disk.store.present = false;
        old->disk.store.row_count = 0;
        cluster_start(c, node);
        cluster_submit(c, "kv.put new 1");
        cluster_run_until_done(c, 20000);
        cluster_run_ms(c, 20000);
        cr_assert(cluster_status(c, node).guard == GUARD_SIGNED_ELSEWHERE, "node %u", node);
        cluster_end(c);
    }
}
