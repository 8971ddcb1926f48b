/*
 * audit_eras: tests of the audit across configurations (protocol §9, §10): each signature is judged
 * by the keys in force there, what cannot be judged blames nobody, and evidence about any
 * configuration holds by the service id alone.
 */
#include <criterion/criterion.h>

#include "tests/forge/reform.h"
#include "tests/unit/audit_fixture.h"

static struct reform reform;

static void set_up_reform(void) {
    set_up();
    reform_init(&reform, &forge);
    story_append_honest(&story, 5);
}

static void tear_down_reform(void) {
    tear_down();
    reform_free(&reform);
}

TestSuite(audit_eras, .init = set_up_reform, .fini = tear_down_reform, .timeout = 120);

static void change(void) {
    reform_shift(&reform);
}

static void give_chain(void) {
    struct buffer file;
    struct problem problem = {.code = EXIT_OK};
    buffer_init(&file, CHAIN_SIZE_MAX);
    reform_chain(&reform, &file);
    cr_assert_eq(audit_add_chain(audit, "chain", buffer_span(&file), &problem), 0);
    buffer_free(&file);
}

/* ---- nothing is wrong ---- */

Test(audit_eras, a_ledger_of_three_configurations_is_clean) {
    change();
    story_append_honest(&story, 30);
    change();
    story_append_honest(&story, 30);
    give_ledger(&forge);
    uint64_t const given = give_receipts(&forge, 1, forge_seq(&forge) - 1);
    const struct audit_report *const report = run(EXIT_OK);
    cr_assert_eq(report->receipts_reconciled, given);
    cr_assert_eq(report->coverage.last_batch, forge_seq(&forge));
}

/*
 * A replica was cut off with a batch that the next view did not take over, and left. It alone shows
 * a certificate of the configuration that the audit is in; the others' are of the next.
 */
Test(audit_eras, one_stayed_behind_before_the_boundary) {
    struct fork stale;
    static struct reform other;
    fork_open(&stale);
    reform_init(&other, &stale.forge);
    stale.story.random = 11;
    story_append_honest(&stale.story, 5);
    story_append(&stale.story, 1, 1, RULE_NONE);
    story_append(&story, 1, 1, RULE_NONE);
    story_append(&stale.story, 1, 1, RULE_NONE);
    forge_change_view(&forge, &(struct forge_view_order){.view = 1});
    change();
    story_append_honest(&story, 30);
    give_ledger(&stale.forge);
    give_ledger(&forge);
    uint64_t const given = give_receipts(&forge, 1, forge_seq(&forge) - 1);
    const struct audit_report *const report = run(EXIT_OK);
    cr_assert_eq(report->receipts_reconciled, given);
    cr_assert_eq(report->coverage.last_batch, forge_seq(&forge));
    reform_free(&other);
    fork_close(&stale);
}

/* ---- what cannot be judged ---- */

Test(audit_eras, receipts_of_an_unknown_configuration_wait) {
    uint64_t const end = forge_entry_count(&forge);
    change();
    story_append_honest(&story, 10);
    uint64_t const given = give_receipts(&forge, reform.forge->config_start + 1, forge_seq(&forge));
    cr_assert_gt(given, 0);
    give_beginning(&forge, end);
    const struct audit_report *const report = run(EXIT_CANNOT_AUDIT);
    cr_assert_eq(report->coverage.receipts_unknown, given);
    cr_assert_eq(report->receipts_valid + report->receipts_invalid, 0);
}

Test(audit_eras, a_chain_tells_who_signed_them) {
    uint64_t const end = forge_entry_count(&forge);
    change();
    story_append_honest(&story, 10);
    uint64_t const given = give_receipts(&forge, reform.forge->config_start + 1, forge_seq(&forge));
    give_chain();
    give_beginning(&forge, end);
    const struct audit_report *const report = run(EXIT_CANNOT_AUDIT);
    cr_assert_eq(report->coverage.receipts_unknown, 0);
    cr_assert_eq(report->receipts_valid, given + 1); /* and that of the passing vote */
    cr_assert(report->has_unchecked);
}

Test(audit_eras, a_damaged_chain_blames_nobody) {
    struct buffer file;
    struct problem problem = {.code = EXIT_OK};
    change();
    buffer_init(&file, CHAIN_SIZE_MAX);
    reform_chain(&reform, &file);
    file.data[file.size - 100] ^= 1;
    cr_assert_eq(audit_add_chain(audit, "chain", buffer_span(&file), &problem), 0);
    give_ledger(&forge);
    cr_assert_eq(run(EXIT_INVALID)->finding_count, 0);
    buffer_free(&file);
}

/* ---- links that come with receipts ---- */

static void give_links(const struct reform *from, uint32_t first) {
    struct problem problem = {.code = EXIT_OK};
    for (uint32_t i = first; i < from->count; i++) {
        cr_assert_eq(audit_add_link(audit, "receipt", from->links[i], &problem), 0);
    }
}

Test(audit_eras, links_of_receipts_tell_who_signed_them) {
    uint64_t const end = forge_entry_count(&forge);
    change();
    story_append_honest(&story, 10);
    change();
    story_append_honest(&story, 10);
    uint64_t const given = give_receipts(&forge, reform.forge->config_start + 1, forge_seq(&forge));
    give_links(&reform, 0);
    give_links(&reform, 0);
    give_beginning(&forge, end);
    const struct audit_report *const report = run(EXIT_CANNOT_AUDIT);
    cr_assert_eq(report->coverage.receipts_unknown, 0);
    cr_assert_eq(report->receipts_valid, given);
    cr_assert_eq(report->receipts_invalid, 0);
    cr_assert(report->has_unchecked);
}

/* Two receipts of one batch that cannot both be, in a configuration that no ledger comes to. */
Test(audit_eras, links_are_enough_to_convict) {
    struct fork fork;
    static struct reform other;
    uint64_t const end = forge_entry_count(&forge);
    fork_open(&fork);
    reform_init(&other, &fork.forge);
    fork.story.random = 11;
    story_append_honest(&fork.story, 5);
    change();
    struct reform const ours = reform;
    reform = other;
    reform.forge = &fork.forge;
    change();
    reform_free(&reform);
    reform = ours;
    fork.story.random++;
    story_append(&story, 1, 1, RULE_NONE);
    story_append(&fork.story, 1, 1, RULE_NONE);
    uint64_t const seq = forge_seq(&forge);
    uint64_t const signers =
        forge_batch_at(&forge, seq)->signers & forge_batch_at(&fork.forge, seq)->signers;
    give_receipts(&forge, seq, seq);
    give_receipts(&fork.forge, seq, seq);
    give_links(&reform, 0);
    give_beginning(&forge, end);
    const struct audit_report *const report = run(EXIT_MISBEHAVIOUR);
    const struct proof_verdict *const verdict = &report->findings[0].verdict;
    cr_assert_eq(verdict->kind, PROOF_CONFLICTING_CERTIFICATES);
    cr_assert_eq(verdict->configuration.number, 2);
    cr_assert_eq(verdict->blamed, signers);
    cr_assert_eq(check_bytes(buffer_span(&report->findings[0].file)), PROOF_VALID);
    fork_close(&fork);
}

Test(audit_eras, links_that_are_missing_or_damaged) {
    struct problem problem = {.code = EXIT_OK};
    struct buffer link;
    uint64_t const end = forge_entry_count(&forge);
    change();
    story_append_honest(&story, 5);
    change();
    story_append_honest(&story, 5);
    uint64_t const given = give_receipts(&forge, reform.forge->config_start + 1, forge_seq(&forge));
    buffer_init(&link, CHAIN_LINK_SIZE_MAX);
    cr_assert(buffer_append(&link, reform.links[0]));
    link.data[link.size - 100] ^= 1;
    cr_assert_eq(audit_add_link(audit, "damaged", buffer_span(&link), &problem), 0);
    give_links(&reform, 1);
    give_beginning(&forge, end);
    const struct audit_report *const report = run(EXIT_CANNOT_AUDIT);
    cr_assert_eq(report->finding_count, 0);
    cr_assert_eq(report->coverage.receipts_unknown, given);
    cr_assert_eq(report->receipts_valid, 0);
    buffer_free(&link);
}

/* ---- the guilty, by the keys that they had ---- */

/* One finding, against exactly these of configuration `number`, that a stranger can check. */
static const struct audit_finding *expect_blamed(enum proof_kind kind, uint64_t number,
                                                 uint64_t blamed) {
    const struct audit_report *const report = run(EXIT_MISBEHAVIOUR);
    const struct audit_finding *const finding = &report->findings[0];
    cr_assert_eq(report->finding_count, 1);
    cr_assert_eq(finding->verdict.kind, kind, "kind %d: %s", (int)finding->verdict.kind,
                 rule_name(finding->verdict.rule));
    cr_assert_eq(finding->verdict.configuration.number, number);
    cr_assert_eq(finding->verdict.blamed, blamed, "%llx",
                 (unsigned long long)finding->verdict.blamed);
    cr_assert_eq(check_bytes(buffer_span(&finding->file)), PROOF_VALID);
    const struct consortium *const then =
        number == 1 ? &consortium : &reform.consortiums[number - 2];
    for (uint32_t i = 0; i < then->configuration.replica_count; i++) {
        cr_assert(public_key_equal(&finding->verdict.configuration.replicas[i].key,
                                   &then->configuration.replicas[i].key));
    }
    expect_no_change_holds(&finding->file, 200);
    return finding;
}

/* A batch that breaks a rule, `after` honest ones behind the first of the second configuration. */
static void lie_after(uint32_t after, enum rule lie) {
    change();
    give_chain();
    story_append_honest(&story, after);
    story_append(&story, 1, 1, lie);
    uint64_t const signers = forge_batch_at(&forge, forge_seq(&forge))->signers;
    story_append(&story, 1, 1, RULE_NONE); /* which evidences it */
    give_ledger(&forge);
    expect_blamed(lie == RULE_OUTCOME             ? PROOF_WRONG_OUTCOME
                  : lie == RULE_CHECKPOINT_DIGEST ? PROOF_WRONG_CHECKPOINT
                                                  : PROOF_BROKEN_BATCH,
                  2, signers);
}

Test(audit_eras, a_false_outcome_at_once) {
    lie_after(0, RULE_OUTCOME);
}

Test(audit_eras, a_false_outcome_later) {
    lie_after(30, RULE_OUTCOME);
}

Test(audit_eras, a_broken_batch_at_once) {
    lie_after(0, RULE_TIME);
}

Test(audit_eras, a_broken_batch_later) {
    lie_after(30, RULE_GOVERNANCE_INDEX);
}

Test(audit_eras, a_false_checkpoint_at_once) {
    lie_after(0, RULE_CHECKPOINT_DIGEST);
}

Test(audit_eras, a_false_checkpoint_when_it_is_first_carried) {
    change();
    tear_down_reform();
    set_up_reform();
    change();
    uint64_t const interval = consortium.configuration.parameters.checkpoint_interval;
    uint64_t const first = (reform.forge->config_start / interval + 1) * interval;
    uint32_t const after = (uint32_t)(first + interval - 1 - forge_seq(&forge));
    tear_down_reform();
    set_up_reform();
    lie_after(after, RULE_CHECKPOINT_DIGEST);
}

/* ---- where one configuration ends and the next begins ---- */

Test(audit_eras, the_first_batch_of_a_configuration_lies) {
    struct action const action = charter_without(ACTION_REMOVE_USER, "alice");
    story_append_honest(&story, 9);
    reform_end(&reform, 1, &action);
    give_chain();
    forge_enter_configuration(&forge, &reform.consortiums[0], &reform.constitutions[1]);
    story_append(&story, 0, 1, RULE_CHECKPOINT_DIGEST);
    uint64_t const signers = forge_batch_at(&forge, forge_seq(&forge))->signers;
    story_append(&story, 0, 1, RULE_NONE);
    give_ledger(&forge);
    expect_blamed(PROOF_WRONG_CHECKPOINT, 2, signers);
}

Test(audit_eras, the_first_batch_of_a_configuration_breaks_a_rule) {
    struct action const action = charter_without(ACTION_REMOVE_USER, "alice");
    reform_end(&reform, 1, &action);
    give_chain();
    forge_enter_configuration(&forge, &reform.consortiums[0], &reform.constitutions[1]);
    story_append(&story, 0, 1, RULE_GOVERNANCE_INDEX);
    uint64_t const signers = forge_batch_at(&forge, forge_seq(&forge))->signers;
    story_append(&story, 0, 1, RULE_NONE);
    give_ledger(&forge);
    expect_blamed(PROOF_BROKEN_BATCH, 2, signers);
}

/* Old keys that go on behind the end: theirs is the blame, whoever comes after them. */
Test(audit_eras, a_third_batch_ends_a_configuration) {
    struct action const action = charter_without(ACTION_REMOVE_USER, "alice");
    reform_end(&reform, 1, &action);
    give_chain();
    forge.lied = true;
    story_append(&story, 0, 1, RULE_NONE);
    uint64_t const signers = forge_batch_at(&forge, forge_seq(&forge))->signers;
    story_append(&story, 0, 1, RULE_NONE);
    give_ledger(&forge);
    expect_blamed(PROOF_BROKEN_BATCH, 1, signers);
}

/* ---- two histories ---- */

Test(audit_eras, two_batches_in_one_place) {
    struct fork fork;
    static struct reform other;
    fork_open(&fork);
    reform_init(&other, &fork.forge);
    fork.story.random = 11;
    story_append_honest(&fork.story, 5);
    change();
    give_chain();
    struct reform const ours = reform;
    reform = other;
    reform.forge = &fork.forge;
    change();
    story_append_honest(&story, 6);
    story_append_honest(&fork.story, 6);
    reform_free(&reform);
    reform = ours;
    story_append(&story, 1, 1, RULE_NONE);
    fork.story.random++;
    story_append(&fork.story, 1, 1, RULE_NONE);
    uint64_t const signers = forge_batch_at(&forge, forge_seq(&forge))->signers &
                             forge_batch_at(&fork.forge, forge_seq(&fork.forge))->signers;
    story_append(&story, 1, 1, RULE_NONE);
    give_ledger(&forge);
    give_receipts(&fork.forge, forge_seq(&fork.forge), forge_seq(&fork.forge));
    expect_blamed(PROOF_CONFLICTING_CERTIFICATES, 2, signers);
    fork_close(&fork);
}

/* ---- evidence and its chain ---- */

/* However good the statements are: without the links, or with too many, they show nothing. */
Test(audit_eras, a_proof_has_the_links_that_it_takes) {
    struct forgery forgery;
    change();
    give_chain();
    story_append_honest(&story, 8);
    story_append(&story, 1, 1, RULE_OUTCOME);
    story_append(&story, 1, 1, RULE_NONE);
    give_ledger(&forge);
    const struct audit_report *const report = run(EXIT_MISBEHAVIOUR);
    change();
    forgery_open(&forgery, &report->findings[0].file);
    cr_assert_eq(forgery.proof.link_count, 1);
    cr_assert_eq(forgery_check(&forgery), PROOF_VALID);
    forgery.proof.link_count = 0;
    cr_assert_neq(forgery_check(&forgery), PROOF_VALID);
    struct span const links[3] = {reform.links[0], reform.links[1], reform.links[0]};
    forgery.proof.links = links;
    forgery.proof.link_count = 2;
    cr_assert_neq(forgery_check(&forgery), PROOF_VALID);
    forgery.proof.links = links + 1;
    cr_assert_eq(forgery_check(&forgery), PROOF_CHAIN);
    forgery_close(&forgery);
}

/* ---- votes and what must follow them ---- */

Test(audit_eras, a_configuration_ends_without_a_vote) {
    story_append(&story, 1, 1, RULE_BATCH_KIND);
    uint64_t const signers = forge_batch_at(&forge, forge_seq(&forge))->signers;
    story_append(&story, 1, 1, RULE_NONE);
    give_ledger(&forge);
    expect_blamed(PROOF_BROKEN_BATCH, 1, signers);
}

Test(audit_eras, an_empty_end_without_a_vote) {
    forge.closing_seq = forge_seq(&forge);
    forge.vote_index = forge.next_index - 1;
    forge.lied = true;
    story_append(&story, 0, 1, RULE_NONE);
    uint64_t const signers = forge_batch_at(&forge, forge_seq(&forge))->signers;
    story_append(&story, 0, 1, RULE_NONE);
    give_ledger(&forge);
    expect_blamed(PROOF_BROKEN_BATCH, 1, signers);
}

/* Requests behind the passing vote, in its batch. */
Test(audit_eras, a_vote_that_does_not_end_its_batch) {
    struct action const action = charter_named(&reform.charter, ACTION_ADD_USER, "dave", 7000);
    static const char *const calls[] = {"kv.put a 1"};
    struct buffer encoded;
    struct span requests[2];
    (void)reform_vote_but_one(&reform, 1, &action, &requests[0]);
    buffer_init(&encoded, REQUEST_SIZE_MAX);
    order_encode(&encoded, &consortium,
                 &(struct order){.author = &consortium.users[0],
                                 .min_index = forge.next_index,
                                 .number = 1,
                                 .call_count = 1,
                                 .calls = calls});
    requests[1] = buffer_span(&encoded);
    forge.lied = true;
    forge_append(&forge, &(struct forge_order){.request_count = 2, .requests = requests});
    uint64_t const signers = forge_batch_at(&forge, forge_seq(&forge))->signers;
    story_append(&story, 0, 1, RULE_NONE);
    give_ledger(&forge);
    const struct proof_verdict *const verdict =
        &expect_blamed(PROOF_BROKEN_BATCH, 1, signers)->verdict;
    cr_assert_eq(verdict->rule, RULE_AFTER_CLOSE);
    buffer_free(&encoded);
}

/* A vote that passes, and an outcome that does not say so. */
Test(audit_eras, a_vote_with_a_false_outcome) {
    struct action const action = charter_named(&reform.charter, ACTION_ADD_USER, "dave", 7000);
    struct span vote;
    (void)reform_vote_but_one(&reform, 1, &action, &vote);
    forge_append(&forge,
                 &(struct forge_order){.request_count = 1, .requests = &vote, .lie = RULE_OUTCOME});
    uint64_t const signers = forge_batch_at(&forge, forge_seq(&forge))->signers;
    forge.lied = true;
    story_append(&story, 0, 1, RULE_NONE);
    give_ledger(&forge);
    expect_blamed(PROOF_WRONG_OUTCOME, 1, signers);
}

Test(audit_eras, a_vote_that_ends_nothing) {
    struct action const action = charter_without(ACTION_REMOVE_USER, "alice");
    struct forge *const last = &forge;
    change();
    give_chain();
    story_append_honest(&story, 3);
    reform_vote(&reform, 1, &action);
    last->closing_seq = 0;
    last->lied = true;
    story_append(&story, 1, 1, RULE_NONE);
    uint64_t const signers = forge_batch_at(last, forge_seq(last))->signers;
    story_append(&story, 1, 1, RULE_NONE);
    give_ledger(last);
    expect_blamed(PROOF_BROKEN_BATCH, 2, signers);
}

/* ---- links from the ledger itself ---- */

Test(audit_eras, evidence_needs_no_chain_but_the_ledger) {
    change();
    story_append_honest(&story, 12);
    change();
    story_append_honest(&story, 12);
    story_append(&story, 2, 1, RULE_OUTCOME);
    uint64_t const signers = forge_batch_at(&forge, forge_seq(&forge))->signers;
    story_append(&story, 1, 1, RULE_NONE);
    give_ledger(&forge);
    cr_assert_eq(expect_blamed(PROOF_WRONG_OUTCOME, 3, signers)->verdict.seq,
                 forge_seq(&forge) - 1);
}

/* ---- forks of the chain ---- */

/* The same beginning, and then another vote. */
struct other {
    struct fork fork;
    struct reform reform;
};

static struct other other;

static void other_open(void) {
    fork_open(&other.fork);
    reform_init(&other.reform, &other.fork.forge);
    other.fork.story.random = 11;
    story_append_honest(&other.fork.story, 5);
}

static void other_close(void) {
    fork_close(&other.fork);
    reform_free(&other.reform);
}

static void give_other_chain(void) {
    struct buffer file;
    struct problem problem = {.code = EXIT_OK};
    buffer_init(&file, CHAIN_SIZE_MAX);
    reform_chain(&other.reform, &file);
    cr_assert_eq(audit_add_chain(audit, "other chain", buffer_span(&file), &problem), 0);
    buffer_free(&file);
}

Test(audit_eras, two_chains_that_contradict_each_other) {
    struct action const action = charter_without(ACTION_REMOVE_USER, "alice");
    other_open();
    forge.signers = 0x7;
    other.fork.forge.signers = 0xd;
    change();
    reform_end(&other.reform, 1, &action);
    give_chain();
    give_other_chain();
    give_ledger(&forge);
    const struct audit_report *const report = run(EXIT_MISBEHAVIOUR);
    cr_assert_eq(report->findings[0].verdict.kind, PROOF_CONFLICTING_CERTIFICATES);
    cr_assert_eq(report->findings[0].verdict.blamed, 0x5);
    cr_assert_eq(report->findings[0].verdict.configuration.number, 1);
    other_close();
}

/*
 * A receipt brings another branch: the ledger goes its own way, and what both branches signed in
 * one place convicts.
 */
Test(audit_eras, links_do_not_lead_a_ledger_astray) {
    struct action const action = charter_without(ACTION_REMOVE_USER, "alice");
    other_open();
    forge.signers = 0x7;
    other.fork.forge.signers = 0xd;
    change();
    story_append_honest(&story, 5);
    reform_end(&other.reform, 1, &action);
    give_links(&other.reform, 0);
    give_ledger(&forge);
    const struct audit_report *const report = run(EXIT_MISBEHAVIOUR);
    cr_assert_eq(report->coverage.last_batch, forge_seq(&forge));
    cr_assert_eq(report->coverage.last_config, 2);
    cr_assert_eq(report->findings[0].verdict.kind, PROOF_CONFLICTING_CERTIFICATES);
    cr_assert_eq(report->findings[0].verdict.blamed, 0x5);
    other_close();
}

/* A ledger that comes to something else than the chain says is not judged by that chain's keys. */
Test(audit_eras, a_chain_that_is_not_the_ledgers) {
    struct action const action = charter_without(ACTION_REMOVE_USER, "alice");
    other_open();
    reform_end(&other.reform, 1, &action);
    change();
    story_append_honest(&story, 5);
    give_other_chain();
    give_ledger(&forge);
    const struct audit_report *const report = run(EXIT_MISBEHAVIOUR);
    for (uint32_t i = 0; i < report->finding_count; i++) {
        cr_assert_eq(report->findings[i].verdict.configuration.number, 1);
    }
    cr_assert_eq(report->coverage.last_batch, forge.config_start);
    other_close();
}

/* More calls than a batch of a consortium with the least limit may have. */
static void append_large(void) {
    static const char *calls[CALLS_MAX];
    struct buffer encoded[2];
    struct span requests[2];
    for (uint32_t i = 0; i < CALLS_MAX; i++) {
        calls[i] = "kv.put a 1";
    }
    for (uint32_t i = 0; i < 2; i++) {
        buffer_init(&encoded[i], REQUEST_SIZE_MAX);
        order_encode(&encoded[i], &consortium,
                     &(struct order){.author = &consortium.users[0],
                                     .min_index = forge.next_index,
                                     .number = 90000 + i,
                                     .call_count = CALLS_MAX,
                                     .calls = calls});
        requests[i] = buffer_span(&encoded[i]);
    }
    forge_append(&forge, &(struct forge_order){.request_count = 2, .requests = requests});
    for (uint32_t i = 0; i < 2; i++) {
        buffer_free(&encoded[i]);
    }
}

/*
 * Who forks the chain may write what parameters he likes into his branch, and correct replicas of
 * the other have not kept to them. Nobody may be named for that.
 */
Test(audit_eras, a_forked_chain_convicts_nobody_of_the_other) {
    struct action action = {.kind = ACTION_SET_PARAMETERS};
    struct forgery forgery;
    tear_down_reform();
    consortium_found(&consortium, &(struct consortium_options){.batch_calls_max = 3 * CALLS_MAX});
    forge_init(&forge, &consortium);
    story = (struct story){.forge = &forge, .random = 11};
    open_audit(1);
    reform_init(&reform, &forge);
    story_append_honest(&story, 5);
    other_open();
    struct action const ours = charter_named(&reform.charter, ACTION_ADD_USER, "dave", 7000);
    reform_end(&reform, 1, &ours);
    reform_start(&reform);
    action.parameters = consortium.configuration.parameters;
    action.parameters.batch_calls_max = CALLS_MAX;
    reform_end(&other.reform, 1, &action);
    reform_start(&other.reform);
    story_append_honest(&story, 40);
    append_large();
    story_append(&story, 1, 1, RULE_TIME);
    story_append(&story, 1, 1, RULE_NONE);
    give_ledger(&forge);
    const struct audit_report *const report = run(EXIT_MISBEHAVIOUR);
    forgery_open(&forgery, &report->findings[0].file);
    cr_assert_eq(forgery_check(&forgery), PROOF_VALID);
    forgery.proof.links = other.reform.links;
    cr_assert_eq(forgery_check(&forgery), PROOF_FRAGMENT);
    /* The honest batch before it, which has too many calls for the other branch. */
    forgery.proof.rule = span_text(rule_name(RULE_TX_COUNT));
    forgery.proof.certificate_count = 0;
    uint32_t const count = forgery.proof.fragment.entry_count;
    for (uint32_t cut = 1; cut < count; cut++) {
        forgery.proof.fragment.entry_count = cut;
        cr_assert_eq(forgery_check(&forgery), PROOF_FRAGMENT);
    }
    /* The batches around it, between which there are too many. */
    struct buffer certificates[2];
    uint64_t const large = forge_seq(&forge) - 2;
    struct proof two = {.kind = PROOF_CONFLICTING_CERTIFICATES,
                        .genesis = forgery.proof.genesis,
                        .certificate_count = 2,
                        .links = other.reform.links,
                        .link_count = 1};
    for (uint32_t i = 0; i < 2; i++) {
        buffer_init(&certificates[i], COMMIT_CERTIFICATE_SIZE_MAX);
        forge_certificate(&forge, large - 1 + 2 * i, &certificates[i]);
        two.certificates[i] = buffer_span(&certificates[i]);
    }
    forgery.proof = two;
    proof_order(&forgery.proof);
    cr_assert_eq(forgery_check(&forgery), PROOF_NO_CONFLICT);
    buffer_free(&certificates[0]);
    buffer_free(&certificates[1]);
    forgery_close(&forgery);
    other_close();
}

/* ---- changes of view ---- */

Test(audit_eras, views_begin_anew_in_each_configuration) {
    story_append_honest(&story, 4);
    forge_change_view(&forge, &(struct forge_view_order){.view = 3});
    story_append_honest(&story, 4);
    change();
    story_append_honest(&story, 8);
    forge_change_view(&forge, &(struct forge_view_order){.view = 1});
    story_append_honest(&story, 8);
    forge_change_view(&forge, &(struct forge_view_order){.view = 2});
    story_append_honest(&story, 20);
    give_ledger(&forge);
    uint64_t const given = give_receipts(&forge, 1, forge_seq(&forge) - 1);
    const struct audit_report *const report = run(EXIT_OK);
    cr_assert_eq(report->receipts_reconciled, given);
    cr_assert_eq(report->coverage.views, 3);
    cr_assert_eq(report->coverage.last_view, 2);
}

Test(audit_eras, a_view_change_that_understates_in_the_second) {
    change();
    story_append_honest(&story, 8);
    forge.signers = 0xf;
    story_append(&story, 1, 1, RULE_NONE);
    story_append(&story, 1, 1, RULE_NONE);
    uint64_t const lost = forge_seq(&forge);
    give_receipts(&forge, lost, lost);
    struct forge_view_order order = {.view = 1, .authors = 0x1e};
    for (uint32_t i = 0; i < REPLICAS_MAX; i++) {
        order.stated[i] = lost - 1;
    }
    forge_change_view(&forge, &order);
    story_append(&story, 1, 1, RULE_NONE);
    story_append(&story, 1, 1, RULE_NONE);
    give_ledger(&forge);
    expect_blamed(PROOF_UNDERSTATED_VIEW_CHANGE, 2, 0xe);
}

/* A new view takes over some of the end of a configuration; and the next one begins in a new view.
 */
Test(audit_eras, views_where_configurations_change) {
    for (uint32_t ended = 0; ended <= CLOSING_BATCHES; ended++) {
        struct action const action = charter_named(&reform.charter, ACTION_ADD_USER, "dave", 7000);
        struct span const proposal = reform_vote(&reform, 1, &action);
        for (uint32_t i = 0; i < ended; i++) {
            story_append(&story, 0, 1, RULE_NONE);
        }
        forge_change_view(&forge, &(struct forge_view_order){.view = 2});
        reform_close(&reform, proposal);
        forge_enter_configuration(&forge, &reform.consortiums[0], &reform.constitutions[1]);
        struct forge_view_order order = {.view = 1 + ended};
        for (uint32_t i = 0; i < REPLICAS_MAX; i++) {
            order.stated[i] = FORGE_NO_CERTIFICATE;
        }
        forge_change_view(&forge, &order);
        story_append(&story, 0, 1, RULE_NONE);
        story_append_honest(&story, 3);
        forge_change_view(&forge, &(struct forge_view_order){.view = 9});
        story_append_honest(&story, 20);
        give_ledger(&forge);
        uint64_t const given = give_receipts(&forge, 1, forge_seq(&forge) - 1);
        cr_assert_eq(run(EXIT_OK)->receipts_reconciled, given);
        story_append(&story, 1, 1, RULE_OUTCOME);
        uint64_t const signers = forge_batch_at(&forge, forge_seq(&forge))->signers;
        story_append(&story, 1, 1, RULE_NONE);
        close_audit();
        open_audit(1);
        give_ledger(&forge);
        expect_blamed(PROOF_WRONG_OUTCOME, 2, signers);
        tear_down_reform();
        set_up_reform();
    }
}

/* A configuration begins in two views, on different disks. */
Test(audit_eras, two_beginnings) {
    struct action const action = charter_named(&reform.charter, ACTION_ADD_USER, "dave", 7000);
    other_open();
    reform_end(&reform, 1, &action);
    struct action const same = charter_named(&other.reform.charter, ACTION_ADD_USER, "dave", 7000);
    reform_end(&other.reform, 1, &same);
    reform_start(&reform);
    forge_enter_configuration(&other.fork.forge, &other.reform.consortiums[0],
                              &other.reform.constitutions[1]);
    struct forge_view_order order = {.view = 2};
    for (uint32_t i = 0; i < REPLICAS_MAX; i++) {
        order.stated[i] = FORGE_NO_CERTIFICATE;
    }
    forge_change_view(&other.fork.forge, &order);
    story_append(&other.fork.story, 0, 1, RULE_NONE);
    story_append_honest(&other.fork.story, 9);
    give_ledger(&forge);
    give_ledger(&other.fork.forge);
    cr_assert_eq(run(EXIT_OK)->coverage.last_batch, forge_seq(&other.fork.forge));
    other_close();
}

/* Of two beginnings that a quorum has signed, one was hidden: who asked for the view did so. */
Test(audit_eras, a_beginning_that_was_committed_and_hidden) {
    struct action const action = charter_named(&reform.charter, ACTION_ADD_USER, "dave", 7000);
    other_open();
    reform_end(&reform, 1, &action);
    struct action const same = charter_named(&other.reform.charter, ACTION_ADD_USER, "dave", 7000);
    reform_end(&other.reform, 1, &same);
    reform_start(&reform);
    story_append(&story, 1, 1, RULE_NONE);
    story_append(&story, 1, 1, RULE_NONE);
    forge_enter_configuration(&other.fork.forge, &other.reform.consortiums[0],
                              &other.reform.constitutions[1]);
    struct forge_view_order order = {.view = 2, .authors = 0xd};
    for (uint32_t i = 0; i < REPLICAS_MAX; i++) {
        order.stated[i] = FORGE_NO_CERTIFICATE;
    }
    forge_change_view(&other.fork.forge, &order);
    story_append(&other.fork.story, 0, 1, RULE_NONE);
    story_append_honest(&other.fork.story, 9);
    give_ledger(&forge);
    give_ledger(&other.fork.forge);
    expect_blamed(PROOF_UNDERSTATED_VIEW_CHANGE, 2, 0x5);
    other_close();
}

/* The last batch stands in two views of its configuration, on different disks. */
Test(audit_eras, two_variants_of_the_end) {
    struct action const action = charter_named(&reform.charter, ACTION_ADD_USER, "dave", 7000);
    other_open();
    reform_end(&reform, 1, &action);
    struct action const same = charter_named(&other.reform.charter, ACTION_ADD_USER, "dave", 7000);
    reform_end(&other.reform, 1, &same);
    forge_change_view(&other.fork.forge, &(struct forge_view_order){.view = 1});
    reform_start(&reform);
    story_append_honest(&story, 10);
    give_ledger(&other.fork.forge);
    give_ledger(&forge);
    uint64_t const given = give_receipts(&forge, 1, forge_seq(&forge) - 1);
    const struct audit_report *const report = run(EXIT_OK);
    cr_assert_eq(report->receipts_reconciled, given);
    cr_assert_eq(report->coverage.last_batch, forge_seq(&forge));
    other_close();
}

/* One configuration right behind another: evidence begins where the one before it ended. */
Test(audit_eras, a_short_configuration) {
    struct action const action = charter_named(&reform.charter, ACTION_ADD_USER, "dave", 7000);
    change();
    reform_end(&reform, 1, &action);
    forge_enter_configuration(&forge, &reform.consortiums[1], &reform.constitutions[2]);
    story_append(&story, 0, 1, RULE_TIME);
    uint64_t const signers = forge_batch_at(&forge, forge_seq(&forge))->signers;
    story_append(&story, 0, 1, RULE_NONE);
    give_ledger(&forge);
    expect_blamed(PROOF_BROKEN_BATCH, 3, signers);
}

/* Several of them: batches go on to carry what was carried before the first. */
Test(audit_eras, a_lie_behind_many_short_configurations) {
    for (uint32_t count = 1; count <= REFORMS_MAX; count++) {
        story_append_honest(&story, 20);
        for (uint32_t i = 0; i < count; i++) {
            change();
        }
        story_append(&story, 1, 1, RULE_OUTCOME);
        uint64_t const signers = forge_batch_at(&forge, forge_seq(&forge))->signers;
        story_append(&story, 1, 1, RULE_NONE);
        give_ledger(&forge);
        expect_blamed(PROOF_WRONG_OUTCOME, 1 + count, signers);
        tear_down_reform();
        set_up_reform();
    }
}

Test(audit_eras, a_false_checkpoint_of_a_short_configuration) {
    struct action const action = charter_named(&reform.charter, ACTION_ADD_USER, "dave", 7000);
    change();
    reform_end(&reform, 1, &action);
    forge_enter_configuration(&forge, &reform.consortiums[1], &reform.constitutions[2]);
    story_append(&story, 0, 1, RULE_CHECKPOINT_DIGEST);
    uint64_t const signers = forge_batch_at(&forge, forge_seq(&forge))->signers;
    story_append(&story, 0, 1, RULE_NONE);
    give_ledger(&forge);
    expect_blamed(PROOF_WRONG_CHECKPOINT, 3, signers);
}
