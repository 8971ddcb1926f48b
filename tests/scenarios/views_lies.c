/*
 * views_lies: changes of view in which one replica lies: about what it had prepared, about the new
 * view that it makes, about its vote (protocol §6, §10). The others follow none of it, and lose
 * nothing.
 */
#include <stdlib.h>

#include "audit-tool/audit.h"
#include "ledger/codec_view.h"
#include "ledger/derive.h"
#include "ledger/segment.h"
#include "tests/scenarios/telling.h"
#include "tests/sim/fake_disk.h"

static struct cluster *begin_with_liar(struct meddler *m, uint64_t seed, uint32_t liar) {
    struct cluster *const c = begin(m, seed);
    c->nodes[liar].byzantine = true;
    return c;
}

/* Append a body with this replica's signature. */
static void put_signed(struct cluster *c, struct buffer *out, uint32_t replica, enum label label,
                       struct span body) {
    const struct key_pair *const pair = &c->consortium.replicas[replica].signing;
    struct signed_body const statement = {
        .body = body,
        .signature =
            sign_labelled(&pair->secret, &pair->key, label, &c->configuration->service, body)};
    cr_assert(signed_encode(out, &statement));
}

/* ---- new views that are not what they should be ---- */

struct declaration {
    struct view_change_set set;
    struct signed_body statement;
    struct new_view body;
};

static struct declaration decode_declaration(struct cluster *c, const struct frame *frame) {
    struct new_view_message message;
    struct declaration d;
    cr_assert(new_view_message_decode(&message, &c->arena, frame->payload) == CODEC_OK);
    cr_assert(view_change_set_decode(&d.set, &c->arena, message.set) == CODEC_OK);
    cr_assert(signed_decode(&d.statement, &c->arena, message.new_view, STATEMENT_SIZE_MAX) ==
              CODEC_OK);
    cr_assert(new_view_decode(&d.body, &c->arena, d.statement.body) == CODEC_OK);
    return d;
}

static struct span encode_set(struct cluster *c, const struct view_change_set *set) {
    struct buffer encoded;
    buffer_init(&encoded, VIEW_CHANGE_SET_SIZE_MAX);
    cr_assert(view_change_set_encode(&encoded, set));
    struct span const kept = cluster_keep(c, buffer_span(&encoded));
    buffer_free(&encoded);
    return kept;
}

static bool declare(struct cluster *c, struct buffer *out, uint32_t signer,
                    const struct declaration *d) {
    struct new_view_message message = {.set = encode_set(c, &d->set)};
    struct buffer body;
    struct buffer statement;
    buffer_init(&body, STATEMENT_SIZE_MAX);
    buffer_init(&statement, STATEMENT_SIZE_MAX + 256u);
    cr_assert(new_view_encode(&body, &d->body));
    put_signed(c, &statement, signer, LABEL_NEW_VIEW, buffer_span(&body));
    message.new_view = buffer_span(&statement);
    cr_assert(new_view_message_encode(out, &message));
    buffer_free(&statement);
    buffer_free(&body);
    return true;
}

/* Name the set as it is now, and the ledger with it, so that nothing but the set is wrong. */
static void name_set(struct cluster *c, struct declaration *d) {
    struct digest *const digests = arena_alloc(&c->arena, d->set.count * sizeof *digests);
    const struct ledger_position *const cut =
        checker_position_in(c->nodes[2].checker, d->body.chosen_seq - 1, d->body.chosen_view);
    struct digest const leaf = ledger_leaf(ENTRY_VIEW_CHANGE_SET, encode_set(c, &d->set));
    cr_assert(digests != NULL && cut != NULL);
    for (uint32_t i = 0; i < d->set.count; i++) {
        const struct signed_body *const change = &d->set.view_changes[i];
        digests[i] = hash_statement(LABEL_VIEW_CHANGE, &c->configuration->service, change->body,
                                    &change->signature);
    }
    struct frontier frontier = cut->frontier;
    frontier_append(&frontier, &leaf);
    d->body.view_change_count = d->set.count;
    d->body.view_change_digests = digests;
    d->body.ledger_root = frontier_root(&frontier);
    d->body.ledger_leaves = frontier.leaf_count;
}

#define DECLARES(name, signer, change)                                                             \
    static bool name(struct cluster *c, const struct frame *frame, struct buffer *out) {           \
        struct declaration d = decode_declaration(c, frame);                                       \
        change;                                                                                    \
        return declare(c, out, signer, &d);                                                        \
    }

static struct signed_body *copy_set(struct cluster *c, struct declaration *d) {
    struct signed_body *const changes =
        arena_alloc(&c->arena, d->set.count * sizeof *d->set.view_changes);
    cr_assert(changes != NULL);
    memcpy(changes, d->set.view_changes, d->set.count * sizeof *changes);
    d->set.view_changes = changes;
    return changes;
}

/* Two view-changes of one replica, in place of two replicas'. */
static void repeat_one(struct cluster *c, struct declaration *d) {
    struct signed_body *const changes = copy_set(c, d);
    changes[1] = changes[0];
    name_set(c, d);
}

static void leave_one_out(struct cluster *c, struct declaration *d) {
    d->set.count--;
    name_set(c, d);
}

static void swap_names(struct cluster *c, struct declaration *d) {
    struct digest *const digests = arena_alloc(&c->arena, d->set.count * sizeof *digests);
    cr_assert(digests != NULL);
    memcpy(digests, d->body.view_change_digests, d->set.count * sizeof *digests);
    digests[0] = d->body.view_change_digests[1];
    digests[1] = d->body.view_change_digests[0];
    d->body.view_change_digests = digests;
}

/* The body of a view-change of this view, as it was not signed: one that shows nothing. */
static void invent_one(struct cluster *c, struct declaration *d) {
    struct signed_body *const changes = copy_set(c, d);
    struct view_change change;
    struct buffer body;
    cr_assert(view_change_decode(&change, &c->arena, changes[0].body) == CODEC_OK);
    change.signers = 0;
    change.signature_count = 0;
    change.chain_count = 0;
    buffer_init(&body, VIEW_CHANGE_SIZE_MAX);
    cr_assert(view_change_encode(&body, &change));
    changes[0].body = cluster_keep(c, buffer_span(&body));
    buffer_free(&body);
    name_set(c, d);
}

DECLARES(signed_by_another, 3, (void)d)
DECLARES(on_nothing, 1, d.body.chosen_view = d.body.chosen_seq = 0)
DECLARES(on_more_than_was_shown, 1, d.body.chosen_seq++)
DECLARES(on_another_root, 1, d.body.ledger_root.bytes[3] ^= 1)
DECLARES(on_a_longer_ledger, 1, d.body.ledger_leaves++)
DECLARES(with_swapped_names, 1, swap_names(c, &d))
DECLARES(with_too_few, 1, leave_one_out(c, &d))
DECLARES(with_one_twice, 1, repeat_one(c, &d))
DECLARES(with_one_invented, 1, invent_one(c, &d))

static bool unsigned_view(struct cluster *c, const struct frame *frame, struct buffer *out) {
    (void)c;
    cr_assert(buffer_append(out, frame->payload));
    out->data[out->size - 1] ^= 1; /* the last byte of its signature */
    return true;
}

/* Primary 0 leads nowhere, and what primary 1 declares goes out otherwise; the next does better. */
static void not_followed(uint64_t seed, frame_rewriter lie, enum rule rule) {
    struct meddler m;
    struct cluster *const c = begin_with_liar(&m, seed, 1);
    lose_proposals_of(&m, 0);
    const struct meddler_rule *const lies = watch(&m, 1, ANYBODY, MESSAGE_NEW_VIEW, lie);
    cluster_submit(c, "kv.put a 1");
    run_until_view(c, 1, 1, 4000);
    cluster_run_ms(c, 2000);
    cr_assert(lies->applied >= 3);
    for (uint32_t node = 0; node < 4; node++) {
        if (node == 1) {
            continue;
        }
        cr_assert(c->nodes[node].notes[NOTE_VIEW_ENTERED] == 0);
        cr_assert(c->nodes[node].notes[NOTE_NEW_VIEW_REFUSED] == (rule == RULE_NONE ? 0 : 1));
        cr_assert(c->nodes[node].last_rule == rule, "%s, not %s",
                  rule_name(c->nodes[node].last_rule), rule_name(rule));
    }
    cluster_run_until_done(c, 4000);
    cr_assert(cluster_status(c, 0).view == 2);
    end(&m);
}

Test(views_lies, a_new_view_that_its_primary_did_not_sign_is_not_heard) {
    not_followed(1, unsigned_view, RULE_NONE);
    not_followed(2, signed_by_another, RULE_NONE);
}

Test(views_lies, a_new_view_that_does_not_follow_is_refused_and_the_next_one_comes) {
    not_followed(10, on_nothing, RULE_VIEW_CHOICE);
    not_followed(11, on_more_than_was_shown, RULE_VIEW_CHOICE);
    not_followed(12, on_another_root, RULE_LEDGER_ROOT);
    not_followed(13, on_a_longer_ledger, RULE_LEDGER_ROOT);
    not_followed(14, with_swapped_names, RULE_NONE); /* anybody may have put another set to it */
    not_followed(15, with_too_few, RULE_VIEW_CHANGES);
    not_followed(16, with_one_twice, RULE_VIEW_CHANGES);
    not_followed(17, with_one_invented, RULE_VIEW_CHANGES);
}

/* ---- two new views of one view ---- */

static struct span changes_seen[4]; /* view-changes for view 1, by author */

static bool see_change(struct cluster *c, const struct frame *frame, struct buffer *out) {
    (void)out;
    changes_seen[frame->from] = cluster_keep(c, frame->payload);
    return false;
}

static uint32_t author_of(struct cluster *c, const struct signed_body *statement) {
    struct view_change change;
    cr_assert(view_change_decode(&change, &c->arena, statement->body) == CODEC_OK);
    return change.replica;
}

/* The same view on the view-changes of others: the first one gives way to 3's. */
static bool on_other_view_changes(struct cluster *c, const struct frame *frame,
                                  struct buffer *out) {
    struct declaration d = decode_declaration(c, frame);
    struct signed_body *const changes = copy_set(c, &d);
    if (changes_seen[3].size == 0) {
        return true; /* and nothing travels */
    }
    cr_assert(author_of(c, &changes[d.set.count - 1]) != 3);
    memmove(changes, changes + 1, (d.set.count - 1) * sizeof *changes);
    cr_assert(signed_decode(&changes[d.set.count - 1], &c->arena, changes_seen[3],
                            VIEW_CHANGE_SIGNED_SIZE_MAX) == CODEC_OK);
    name_set(c, &d);
    return declare(c, out, 1, &d);
}

/*
 * Its primary signs two new views that both hold, and 3 alone is told the one. The others go on,
 * and nobody changes the view; what they commit behind theirs shows it which of them counts.
 */
Test(views_lies, one_that_was_told_another_new_view_comes_after) {
    struct meddler m;
    struct cluster *const c = begin_with_liar(&m, 20, 1);
    memset(changes_seen, 0, sizeof changes_seen);
    lose_proposals_of(&m, 0);
    (void)watch(&m, ANYBODY, 1, MESSAGE_VIEW_CHANGE, see_change);
    const struct meddler_rule *const lies =
        watch(&m, 1, 3, MESSAGE_NEW_VIEW, on_other_view_changes);
    lose(&m, ANYBODY, 3, MESSAGE_NEW_VIEW);
    cluster_submit(c, "kv.put a 1");
    for (uint32_t node = 0; node < 3; node++) {
        run_until_view(c, node, 1, 4000);
    }
    run_until_view(c, 3, 1, 4000);
    cr_assert(lies->applied > 0);
    cluster_run_until_done(c, 4000);
    put_some(c, 5);
    cluster_run_until_level(c, 4000);
    expect_view(c, 0, 1);
    end(&m);
}

/* ---- what a new view took over is not what its primary proposes ---- */

static uint64_t carried_seq;

static bool propose_later(struct cluster *c, const struct frame *frame, struct buffer *out) {
    struct pre_prepare_message message;
    struct pre_prepare body;
    cr_assert(pre_prepare_message_decode(&message, &c->arena, frame->payload) == CODEC_OK);
    cr_assert(pre_prepare_decode(&body, &c->arena, message.statement.body) == CODEC_OK);
    if (body.seq != carried_seq) {
        return false;
    }
    body.time_ms++;
    puppet_pre_prepare(out, c, frame->from, &body, &message);
    return true;
}

Test(views_lies, a_primary_that_proposes_otherwise_what_it_took_over_is_refused) {
    struct meddler m;
    struct cluster *const c = begin_with_liar(&m, 20, 1);
    carried_seq = cluster_committed(c, 2) + 1;
    lose(&m, ANYBODY, ANYBODY, MESSAGE_COMMIT);
    uint32_t const request = cluster_submit(c, "kv.put a 1");
    cluster_run_ms(c, 100);
    cr_assert(cluster_is_done(c, request)); /* the client has all nonces; replicas have none */
    const struct batch_facts *const then = batch_at(c, 2, carried_seq);
    lose_proposals_of(&m, 0);
    watch(&m, 1, ANYBODY, MESSAGE_PRE_PREPARE, propose_later);
    run_until_view(c, 2, 1, 4000);
    cluster_run_ms(c, 300);
    cr_assert(c->nodes[2].last_rule == RULE_REPROPOSAL && c->nodes[3].last_rule == RULE_REPROPOSAL);
    run_until_view(c, 3, 2, 8000);
    meddler_release(&m);
    cluster_submit(c, "kv.put a 2");
    cluster_run_until_done(c, 8000);
    expect_taken_over(then, batch_at(c, 3, carried_seq));
    end(&m);
}

/* ---- view-changes that lie ---- */

/* The same view-change with another certificate, or none. */
static bool change_view_change(struct cluster *c, const struct frame *frame, struct buffer *out,
                               bool show_nothing) {
    struct signed_body statement;
    struct view_change change;
    struct signature signatures[REPLICAS_MAX];
    struct buffer body;
    cr_assert(signed_decode(&statement, &c->arena, frame->payload, VIEW_CHANGE_SIGNED_SIZE_MAX) ==
              CODEC_OK);
    cr_assert(view_change_decode(&change, &c->arena, statement.body) == CODEC_OK);
    if (show_nothing) {
        change.signers = 0;
        change.signature_count = 0;
        change.chain_count = 0;
    } else {
        cr_assert(change.signature_count > 0);
        memcpy(signatures, change.signatures, change.signature_count * sizeof signatures[0]);
        signatures[0].bytes[7] ^= 1;
        change.signatures = signatures;
    }
    buffer_init(&body, VIEW_CHANGE_SIZE_MAX);
    cr_assert(view_change_encode(&body, &change));
    put_signed(c, out, frame->from, LABEL_VIEW_CHANGE, buffer_span(&body));
    buffer_free(&body);
    return true;
}

static bool understate(struct cluster *c, const struct frame *frame, struct buffer *out) {
    return change_view_change(c, frame, out, true);
}

static bool invent_a_signature(struct cluster *c, const struct frame *frame, struct buffer *out) {
    return change_view_change(c, frame, out, false);
}

/* A certificate that nobody gave: nobody counts it, so that there are too few for a view. */
Test(views_lies, a_view_change_whose_certificate_does_not_hold_does_not_count) {
    struct meddler m;
    struct cluster *const c = begin_with_liar(&m, 30, 3);
    watch(&m, 3, ANYBODY, MESSAGE_VIEW_CHANGE, invent_a_signature);
    cluster_isolate(c, 0, true);
    cluster_submit(c, "kv.put a 1");
    run_until_asked(c, 1, 1, 4000);
    cluster_run_ms(c, 2500);
    cr_assert(cluster_status(c, 1).view == 0 && c->nodes[1].sent[MESSAGE_NEW_VIEW] == 0);
    cluster_isolate(c, 0, false);
    cluster_run_until_done(c, 20000);
    end(&m);
}

/* The ledger of one replica, as files. */
static struct fake_disk *write_ledger(const struct cluster *c, uint32_t node) {
    const struct entry_list *const list = &c->nodes[node].disk.durable;
    struct segment_writer_options const options = {.service = c->configuration->service};
    struct fake_disk *const disk = fake_disk_new();
    struct segment_writer *const writer = cluster_zeroed(1, sizeof *writer);
    struct segment_torn_tail torn;
    struct problem problem;
    uint64_t first = 0;
    cr_assert(segment_writer_open(writer, &torn, &disk->disk, &options, &problem) == SEGMENT_OK);
    for (uint64_t i = 0; i < list->count; i++) {
        if (list->marks[i].ends_unit) {
            cr_assert(segment_writer_append(writer, &list->items[first], (size_t)(i + 1 - first),
                                            true, &problem) == SEGMENT_OK);
            first = i + 1;
        }
    }
    cr_assert(segment_writer_sync(writer, &problem) == SEGMENT_OK);
    segment_writer_close(writer);
    free(writer);
    return disk;
}

/* An auditor reads one replica's ledger, and this receipt. Returns: whom it blames for what. */
static uint64_t audit_blames(struct cluster *c, uint32_t node, uint32_t request,
                             enum proof_kind kind) {
    uint64_t blamed = 0;
    struct problem problem;
    struct fake_disk *const disk = write_ledger(c, node);
    struct audit *const audit =
        audit_new(&(struct audit_options){.configuration = c->configuration,
                                          .genesis = buffer_span(&c->consortium.genesis_bytes),
                                          .jobs = 1});
    cr_assert(audit != NULL);
    cr_assert(audit_add_ledger(audit, "ledger", &disk->disk, &problem) == 0);
    cr_assert(audit_add_receipt(audit, "receipt", c->requests[request].receipt, &problem) == 0);
    cr_assert(audit_run(audit, &problem) == 0, "%s", problem.text);
    const struct audit_report *const report = audit_report(audit);
    cr_assert(report->receipts_valid == 1 && report->receipts_reconciled == 1);
    for (uint32_t i = 0; i < report->finding_count; i++) {
        cr_assert(report->findings[i].verdict.kind == kind);
        blamed |= report->findings[i].verdict.blamed;
    }
    audit_free(audit);
    fake_disk_free(disk);
    return blamed;
}

/*
 * Replicas 0, 2 and 3 have revealed their nonces to the client; of those who ask for the next view
 * only 2 shows the certificate. That is enough; and 3, who has hidden it, has signed that it did.
 */
Test(views_lies, one_who_understates_loses_nothing_and_is_convicted) {
    struct meddler m;
    struct cluster *const c = begin_with_liar(&m, 31, 3);
    uint64_t const seq = cluster_committed(c, 1) + 1;
    lose(&m, ANYBODY, 1, MESSAGE_PREPARE);
    lose(&m, ANYBODY, ANYBODY, MESSAGE_COMMIT);
    watch(&m, 3, ANYBODY, MESSAGE_VIEW_CHANGE, understate);
    uint32_t const request = cluster_submit(c, "kv.put a 1");
    cluster_run_ms(c, 100);
    cr_assert(cluster_is_done(c, request));
    const struct batch_facts *const then = batch_at(c, 2, seq);
    cluster_isolate(c, 0, true);
    cluster_submit(c, "kv.put a 2");
    run_until_view(c, 1, 1, 4000);
    meddler_release(&m);
    cluster_run_until_done(c, 4000);
    expect_taken_over(then, batch_at(c, 1, seq));
    expect_taken_over(then, batch_at(c, 2, seq));
    cluster_run_ms(c, 500);
    cr_assert(audit_blames(c, 1, request, PROOF_UNDERSTATED_VIEW_CHANGE) == UINT64_C(1) << 3);
    end(&m);
}

/* ---- two commitments under one batch ---- */

/* A worthless new view of a view far ahead, of which the liar is the primary. */
static void declare_far(struct cluster *c, uint32_t liar, uint64_t view) {
    struct view_change const nothing = {.config = 1, .view = view, .replica = liar};
    struct signed_body change;
    struct buffer body;
    struct buffer statement;
    struct buffer payload;
    buffer_init(&body, VIEW_CHANGE_SIZE_MAX);
    buffer_init(&statement, VIEW_CHANGE_SIGNED_SIZE_MAX);
    buffer_init(&payload, FRAME_SIZE_MAX);
    cr_assert(view_change_encode(&body, &nothing));
    put_signed(c, &statement, liar, LABEL_VIEW_CHANGE, buffer_span(&body));
    cr_assert(signed_decode(&change, &c->arena, buffer_span(&statement), statement.size) ==
              CODEC_OK);
    struct digest const digest = hash_statement(LABEL_VIEW_CHANGE, &c->configuration->service,
                                                change.body, &change.signature);
    struct declaration const d = {
        .set = {.count = 1, .view_changes = &change},
        .body = {
            .config = 1, .view = view, .view_change_count = 1, .view_change_digests = &digest}};
    cr_assert(declare(c, &payload, liar, &d));
    for (uint32_t node = 0; node < c->node_count; node++) {
        if (node != liar) {
            cluster_forge(c, liar, node, MESSAGE_NEW_VIEW, buffer_span(&payload));
        }
    }
    buffer_free(&payload);
    buffer_free(&statement);
    buffer_free(&body);
}

/* The liar is the primary of every fourth view, however far; it shuts out no view but its own. */
Test(views_lies, a_worthless_new_view_of_a_far_view_does_not_shut_out_the_next) {
    struct meddler m;
    struct cluster *const c = begin_with_liar(&m, 50, 3);
    declare_far(c, 3, 4003);
    cluster_run_ms(c, 10);
    for (uint32_t node = 0; node < 3; node++) {
        cr_assert(c->nodes[node].notes[NOTE_NEW_VIEW_REFUSED] == 1);
    }
    lose_proposals_of(&m, 0);
    cluster_isolate(c, 3, true);
    cluster_submit(c, "kv.put a 1");
    cluster_run_until_done(c, 10000);
    expect_view(c, 3, 0); /* it was cut off */
    cr_assert(cluster_status(c, 0).view == 1);
    end(&m);
}

/*
 * Replica 2 was away: the new view that came to it waits for the ledger that it builds on, and
 * comes only once. What the liar makes up meanwhile is refused, and does not take its place.
 */
Test(views_lies, a_new_view_that_waits_is_not_pushed_aside_by_a_worthless_one) {
    struct meddler m;
    struct cluster *const c = begin_with_liar(&m, 52, 3);
    cluster_isolate(c, 2, true);
    put_some(c, 20);
    cluster_run_until_done(c, 1000);
    cluster_isolate(c, 2, false);
    lose(&m, ANYBODY, 2, MESSAGE_RANGE);
    lose_proposals_of(&m, 0);
    lose_proposals_of(&m, 1); /* so that no ledger on disk has the new view to show */
    cluster_submit(c, "kv.put a 1");
    run_until_view(c, 0, 1, 4000);
    cluster_run_ms(c, 20);
    cr_assert(cluster_status(c, 2).view == 0);
    declare_far(c, 3, 4003);
    cluster_run_ms(c, 10);
    cr_assert(c->nodes[2].notes[NOTE_NEW_VIEW_REFUSED] == 1);
    meddler_release(&m);
    lose_proposals_of(&m, 1);
    lose(&m, ANYBODY, 2, MESSAGE_NEW_VIEW);
    run_until_view(c, 2, 1, 1500);
    cr_assert(cluster_status(c, 0).view == 1);
    end(&m);
}

/* The liar passes on what primary 1 signed, beside another set; the true one comes later. */
static bool spoiled_in_passing(struct cluster *c, const struct frame *frame, struct buffer *out) {
    struct declaration d = decode_declaration(c, frame);
    struct new_view_message message;
    struct buffer spoiled;
    bool const is_late = c->nodes[1].sent[MESSAGE_NEW_VIEW] > 3;
    buffer_init(&spoiled, FRAME_SIZE_MAX);
    cr_assert(new_view_message_decode(&message, &c->arena, frame->payload) == CODEC_OK);
    d.set.count--;
    message.set = encode_set(c, &d.set);
    cr_assert(new_view_message_encode(&spoiled, &message));
    cluster_forge(c, 3, frame->to, MESSAGE_NEW_VIEW, buffer_span(&spoiled));
    buffer_free(&spoiled);
    return is_late && buffer_append(out, frame->payload);
}

Test(views_lies, a_new_view_is_not_spoiled_by_whoever_passes_it_on) {
    struct meddler m;
    struct cluster *const c = begin_with_liar(&m, 51, 3);
    lose_proposals_of(&m, 0);
    const struct meddler_rule *const lies =
        watch(&m, 1, ANYBODY, MESSAGE_NEW_VIEW, spoiled_in_passing);
    cluster_submit(c, "kv.put a 1");
    cluster_run_until_done(c, 5000);
    cr_assert(lies->applied >= 3);
    cr_assert(cluster_status(c, 0).view == 1 && cluster_status(c, 2).view == 1);
    end(&m);
}

static bool commit_otherwise(struct cluster *c, const struct frame *frame, struct buffer *out) {
    struct signed_body statement;
    struct prepare prepare;
    cr_assert(signed_decode(&statement, &c->arena, frame->payload, STATEMENT_SIZE_MAX) == CODEC_OK);
    cr_assert(prepare_decode(&prepare, &c->arena, statement.body) == CODEC_OK);
    struct prepare_parts parts = {.replica = prepare.replica,
                                  .seq = prepare.seq,
                                  .pre_prepare_digest = prepare.pre_prepare_digest,
                                  .nonce_hash = prepare.nonce_hash};
    parts.nonce_hash.bytes[0] ^= 1;
    puppet_prepare(out, c, &parts);
    return true;
}

/* Is this replica's prepare in the certificate that a node revealed its nonce for? */
static bool has_journalled(struct cluster *c, uint32_t node, uint64_t seq, uint32_t signer) {
    const struct journal_list *const journal = &c->nodes[node].disk.journal;
    for (uint64_t i = 0; i < journal->count; i++) {
        struct journal_record record;
        if (journal->items[i].kind == JOURNAL_NONCE && journal->items[i].seq == seq) {
            cr_assert(journal_record_decode(&record, &c->arena, journal->items[i].bytes) ==
                      CODEC_OK);
            return (record.signers >> signer & 1) != 0;
        }
    }
    return false;
}

/*
 * Replica 2's own certificate has the liar's false commitment; the ledger's evidence has the true
 * one, with its nonce. After a restart it has both: a receipt must not be made of the two halves.
 */
Test(views_lies, a_certificate_of_ones_own_does_not_replace_votes_that_count) {
    struct meddler m;
    struct cluster *const c = begin_with_liar(&m, 40, 1);
    while (cluster_committed(c, 0) % 4 != 0 || cluster_status(c, 0).executed_seq % 4 != 0) {
        cluster_submit(c, "kv.put a 1"); /* the next batch's evidence names the liar first */
        cluster_run_ms(c, 8);
    }
    uint64_t const seq = cluster_committed(c, 0) + 1;
    watch(&m, 1, 2, MESSAGE_PREPARE, commit_otherwise);
    lose(&m, 3, 2, MESSAGE_PREPARE); /* so that it is the liar's that it counts on */
    uint32_t const request = cluster_submit(c, "kv.put a 2");
    while (cluster_committed(c, 0) < seq) {
        cr_assert(cluster_run_one(c, c->now_us + 50000));
    }
    lose(&m, ANYBODY, ANYBODY, MESSAGE_PREPARE); /* what evidences the batch does not commit */
    cluster_run_ms(c, 100);
    cr_assert(has_journalled(c, 2, seq, 1));
    cr_assert(c->nodes[2].notes[NOTE_NONCE_REFUSED] > 0);
    cr_assert(cluster_status(c, 2).executed_seq == seq + 1 && cluster_committed(c, 2) == seq);
    cluster_crash(c, 2);
    cluster_start(c, 2);
    uint64_t const receipts = c->requests[request].receipts;
    cluster_query_receipt(c, request, 2);
    cluster_run_ms(c, 20);
    cr_assert(c->requests[request].receipts == receipts + 1);
    end(&m);
}
