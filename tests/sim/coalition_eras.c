/*
 * coalition_eras: coalitions in a consortium that changes itself; see coalition.h. A cluster of
 * honest cores goes through two to four configurations, each with another replica replaced. Then
 * members of any one of them, retired or not, write another history by hand behind some batch of
 * its time, and a customer gets a receipt for it.
 *
 * A coalition that is a quorum needs nobody for that. A smaller one does what coalitions of one
 * configuration do (worlds.c): correct replicas are cut off at some time, perhaps just before the
 * passing vote, and hear of nothing but the other history from there on. They sign it: it breaks no
 * rule, and contradicts nothing that they know. The others are a quorum without them, and go on.
 *
 * A quorum of founders may also fork the chain: it lets something else pass than the members did,
 * and goes on in a configuration of its own.
 *
 * Completeness: where the real ledger has a certified batch that a certified one of the other
 * history cannot stand beside, in what the auditor was given, more than f who signed that are
 * named. Soundness: nobody else is named, in that configuration or any other; nor who was cut off.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "tests/forge/reform.h"
#include "tests/sim/auditing.h"
#include "tests/sim/coalition.h"
#include "tests/sim/members.h"

#define FORKS 5u
#define REPLACED_MAX 3u
#define WRITTEN_MAX 6u
#define HIDDEN_MAX 12u
#define WORK_MAX 20u
#define STEP_MS 10u
#define PATIENCE_MS 60000u

/* When correct replicas are cut off, in the time of a configuration. */
enum split_time {
    SPLIT_EARLY,       /* just behind its first batch */
    SPLIT_LATE,        /* at the end of its time, before anybody proposes another one */
    SPLIT_BEFORE_VOTE, /* all votes but the passing one have been cast */
    SPLIT_TIMES
};

/* Some correct replicas know the ledger up to here, and never hear of more. */
struct split {
    uint64_t number; /* of the configuration; 0: nobody is cut off */
    enum split_time time;
    uint64_t liars; /* bitmaps of its replicas: the coalition, */
    uint64_t apart; /* and who is cut off */
    uint64_t upto;
};

/* A consortium that changed itself, and how. */
struct history {
    struct coalition *coalition;
    struct cluster *cluster;
    uint64_t configurations;
    uint32_t whole; /* a node that follows from genesis to the end */
    uint64_t peace; /* batches up to here know of no proposal */
    struct consortium signers[1 + REPLACED_MAX];
    struct split split;
};

/* Another history, from some batch on. */
struct rewriting {
    struct forge forge;
    uint64_t number;     /* of the configuration in which it begins */
    uint64_t upto;       /* the last batch that is left as it was */
    uint64_t able;       /* who can sign in that one: the coalition, and who was cut off */
    uint64_t correct;    /* of these */
    uint64_t asked_view; /* another one, that they asked for; 0: none */
    bool breaks_rules;   /* they sign on where their configuration has ended */
    uint64_t lie_seq;    /* a batch with a false outcome, behind that end; 0: none */
    struct reform *fork; /* of the chain; NULL: there is none */
    uint64_t fork_seq;   /* the batch with its passing vote */
    bool link_is_given;  /* the link that it shows is handed in */
    uint64_t signed_by[2 + REPLACED_MAX]; /* by configuration */
    uint64_t receipt_seq;                 /* the batch of the receipt; 0: there is none */
    bool is_given;                        /* its ledger is handed in */
};

/* ---- what really happens ---- */

static void work(struct history *history, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        cluster_submit(history->cluster, "kv.put k v");
        cluster_run_ms(history->cluster, prng_between(&history->coalition->prng, 1, 30));
    }
    cluster_run_until_done(history->cluster, PATIENCE_MS);
    cluster_run_ms(history->cluster, 300);
}

/* ---- who is cut off ---- */

static uint32_t count_of(uint64_t set) {
    return (uint32_t)__builtin_popcountll(set);
}

/* So many more of n replicas, none of which is among `others`. */
static uint64_t draw_more(struct prng *prng, uint64_t set, uint64_t others, uint32_t count,
                          uint32_t n) {
    uint64_t const all = (UINT64_C(1) << n) - 1;
    uint32_t const wanted = count_of(set) + count;
    CHECK(wanted + count_of(all & others & ~set) <= n);
    while (count_of(set) < wanted) {
        set |= (UINT64_C(1) << prng_below(prng, n)) & ~others;
    }
    return set;
}

/* A coalition that needs help has it if f correct replicas are enough; another one may have it. */
static void draw_split(struct history *history) {
    struct coalition *const coalition = history->coalition;
    struct prng *const prng = &coalition->prng;
    uint32_t const faults = configuration_faults_max(coalition->replicas);
    uint32_t const quorum = coalition->replicas - faults;
    uint32_t const liars = coalition->liar_count;
    uint32_t const correct = coalition->replicas - liars;
    uint32_t const missing = liars < quorum ? quorum - liars : 0;
    uint32_t const most = correct < faults ? correct : faults;
    if (coalition->rests || most == 0 || missing > most ||
        (missing == 0 && prng_chance(prng, 600))) {
        return;
    }
    struct split *const split = &history->split;
    uint32_t const apart = (uint32_t)prng_between(prng, missing == 0 ? 1 : missing, most);
    split->number = prng_between(prng, 1, history->configurations);
    split->time = prng_below(prng, SPLIT_TIMES);
    split->liars = draw_more(prng, 0, 0, liars, coalition->replicas);
    split->apart = draw_more(prng, 0, split->liars, apart, coalition->replicas);
    coalition_say(coalition, "; %llx of configuration %llu lie, and %llx are cut off %s",
                  (unsigned long long)split->liars, (unsigned long long)split->number,
                  (unsigned long long)split->apart,
                  split->time == SPLIT_EARLY  ? "early"
                  : split->time == SPLIT_LATE ? "late"
                                              : "before the passing vote");
}

static void cut_off(struct history *history) {
    struct cluster *const c = history->cluster;
    struct split *const split = &history->split;
    const struct configuration *const then = cluster_configuration(c, split->number);
    for (uint64_t left = split->apart; left != 0; left &= left - 1) {
        uint32_t const node =
            cluster_id_of(c, &then->replicas[(uint32_t)__builtin_ctzll(left)].key);
        uint64_t const last = entry_last_whole(&c->nodes[node].disk.live);
        split->upto = last > split->upto ? last : split->upto;
        cluster_crash(c, node);
        c->nodes[node].left_out = true;
    }
}

/* It is a time at which replicas may be cut off. */
static void pass_time(struct history *history, uint64_t number, enum split_time time) {
    if (history->split.number == number && history->split.time == time) {
        cluster_run_ms(history->cluster, 300); /* what they say is heard by all */
        cut_off(history);
    }
}

/* Is what they know in the ledger that the others went on with, and of that configuration? */
static bool is_known(const struct history *history) {
    const struct cluster *const c = history->cluster;
    const struct split *const split = &history->split;
    const struct configuration *const then = &c->eras[split->number - 1].configuration;
    const struct entry_list *const real = &c->nodes[history->whole].disk.live;
    if (split->upto == 0 || split->upto >= auditing_evidenced(c, history->whole) ||
        cluster_config_at(c, split->upto) != split->number ||
        cluster_config_at(c, split->upto + 1) != split->number) {
        return false;
    }
    for (uint64_t left = split->apart; left != 0; left &= left - 1) {
        uint32_t const node =
            cluster_id_of(c, &then->replicas[(uint32_t)__builtin_ctzll(left)].key);
        const struct entry_list *const own = &c->nodes[node].disk.live;
        uint64_t const last = entry_last_whole(own);
        if (last == 0 || !digest_equal(&own->marks[entry_find(own, last)].facts->digest,
                                       &real->marks[entry_find(real, last)].facts->digest)) {
            return false;
        }
    }
    return true;
}

/* ---- what is decided ---- */

/* One founder's replica is replaced by a spare. */
static void replace(struct history *history, uint32_t founder) {
    struct cluster *const c = history->cluster;
    struct charter *const charter = c->charter;
    const struct key_pair *const old = &c->keys[founder].signing;
    const char *const member =
        charter->now.members[c->eras[0].configuration.replicas[founder].member].name;
    struct action const action = charter_replica(
        charter, &old->key, member, CLUSTER_SPARE_NUMBER + history->coalition->replicas + founder);
    uint32_t const voters = members_enough(c);
    struct matter matter;
    (void)members_propose(c, 1, &action, PATIENCE_MS, &matter);
    for (uint32_t voter = 0; voter < voters; voter++) {
        if (voter + 1 == voters) {
            cluster_run_until_done(c, PATIENCE_MS);
            pass_time(history, charter->now.number, SPLIT_BEFORE_VOTE);
        }
        (void)members_vote(c, &matter, voter);
    }
    charter_pass(charter, matter.bytes);
    for (uint32_t ms = 0; !cluster_knows_configuration(c, charter->now.number); ms += STEP_MS) {
        if (ms > PATIENCE_MS) {
            cluster_fail(c, "configuration %llu does not come",
                         (unsigned long long)charter->now.number);
        }
        cluster_run_ms(c, STEP_MS);
    }
    cluster_run_ms(c, 300);
}

static void collect_keys(struct history *history, uint64_t number) {
    struct cluster *const c = history->cluster;
    struct consortium *const signers = &history->signers[number - 1];
    *signers = c->consortium;
    signers->configuration = *cluster_configuration(c, number);
    for (uint32_t r = 0; r < signers->configuration.replica_count; r++) {
        signers->replicas[r] = c->keys[cluster_id_of(c, &signers->configuration.replicas[r].key)];
    }
}

/* The time of one configuration, up to where the next one is proposed. */
static void live_in(struct history *history, uint64_t number) {
    struct prng *const prng = &history->coalition->prng;
    pass_time(history, number, SPLIT_EARLY);
    work(history, 3 + (uint32_t)prng_below(prng, 10));
    pass_time(history, number, SPLIT_LATE);
}

/* One of the last configuration that was not cut off: it has all of the ledger. */
static uint32_t choose_whole(const struct history *history) {
    const struct cluster *const c = history->cluster;
    const struct configuration *const last = &c->eras[history->configurations - 1].configuration;
    uint32_t nth = 0;
    while (c->nodes[cluster_id_of(c, &last->replicas[nth].key)].left_out) {
        nth++;
        CHECK(nth < last->replica_count); /* at most f are cut off */
    }
    return cluster_id_of(c, &last->replicas[nth].key);
}

/* The ledger that auditors get shows a quorum for more than the beginning of the last one. */
static void work_on(struct history *history) {
    struct cluster *const c = history->cluster;
    uint64_t const start = c->eras[history->configurations - 1].start;
    for (uint32_t i = 0; auditing_evidenced(c, history->whole) < start + 2; i++) {
        if (i == WORK_MAX) {
            cluster_fail(c, "the last configuration gets no further than batch %llu",
                         (unsigned long long)auditing_evidenced(c, history->whole));
        }
        work(history, 3);
    }
}

static void live(struct history *history) {
    struct coalition *const coalition = history->coalition;
    struct prng *const prng = &coalition->prng;
    history->configurations = 2 + prng_below(prng, REPLACED_MAX);
    uint32_t const replaced = (uint32_t)history->configurations - 1;
    coalition->options.spares = replaced;
    coalition->options.replica_count = coalition->replicas + replaced;
    coalition->options.governed = true;
    coalition->options.sessions = false;
    draw_split(history);
    history->cluster = cluster_new(&coalition->options);
    coalition->worlds[coalition->world_count++] = (struct world){.cluster = history->cluster};
    work(history, 2);
    live_in(history, 1);
    history->peace = history->cluster->committed_seq;
    for (uint32_t founder = 0; founder < replaced; founder++) {
        replace(history, founder);
        live_in(history, founder + 2);
    }
    history->whole = choose_whole(history);
    work_on(history);
    for (uint64_t number = 1; number <= history->configurations; number++) {
        collect_keys(history, number);
    }
    if (history->split.number != 0 && !is_known(history)) {
        coalition_say(coalition, ", to no avail");
        history->split.number = 0;
    }
}

/* ---- what is written by hand ---- */

/* Any quorum of those who can, with the primary of the view. */
static uint64_t draw_quorum(struct prng *prng, const struct configuration *then, uint64_t able,
                            uint64_t view) {
    uint64_t const primary = UINT64_C(1) << configuration_primary(then, view);
    CHECK((able & primary) != 0);
    return draw_more(prng, primary, ~able, then->quorum - 1, then->replica_count);
}

static const struct configuration *now_of(const struct rewriting *rewriting) {
    return &rewriting->forge.consortium->configuration;
}

static void draw_signers(struct history *history, struct rewriting *rewriting, uint64_t view) {
    const struct configuration *const now = now_of(rewriting);
    rewriting->forge.signers = draw_quorum(&history->coalition->prng, now, rewriting->able, view);
    rewriting->signed_by[now->number] |= rewriting->forge.signers;
}

static bool leads(const struct rewriting *rewriting, uint64_t view) {
    return (rewriting->able >> configuration_primary(now_of(rewriting), view) & 1) != 0;
}

/* Nothing but a lie may tell a branch from another copy of what is right. */
static enum rule draw_lie(struct history *history, struct rewriting *rewriting, bool is_empty) {
    if (is_empty || rewriting->breaks_rules || rewriting->lie_seq != 0 ||
        now_of(rewriting)->number == rewriting->number ||
        !prng_chance(&history->coalition->prng, 150)) {
        return RULE_NONE;
    }
    rewriting->lie_seq = forge_seq(&rewriting->forge) + 1;
    return RULE_OUTCOME;
}

/* One that ends a configuration has no requests. Returns: has this one any? */
static bool write_batch(struct history *history, struct rewriting *rewriting) {
    struct forge *const forge = &rewriting->forge;
    struct buffer encoded;
    bool const is_empty = forge->closing_seq != 0 ||
                          (forge->config_start != 0 && forge_seq(forge) == forge->config_start);
    draw_signers(history, rewriting, forge->view);
    buffer_init(&encoded, REQUEST_SIZE_MAX);
    coalition_request(history->coalition, forge->next_index, &encoded);
    struct span const request = buffer_span(&encoded);
    forge_append(forge, &(struct forge_order){.request_count = is_empty ? 0 : 1,
                                              .requests = &request,
                                              .lie = draw_lie(history, rewriting, is_empty)});
    buffer_free(&encoded);
    return !is_empty;
}

/* The coalition does not say more than it must; who is correct states what it has. */
static uint64_t draw_stated(struct history *history, const struct rewriting *rewriting) {
    struct prng *const prng = &history->coalition->prng;
    const struct forge *const forge = &rewriting->forge;
    uint64_t const back = prng_chance(prng, 500) ? prng_below(prng, HIDDEN_MAX) : 0;
    uint64_t const first = forge->config_start + 1;
    uint64_t const seq = rewriting->upto < first + back ? first : rewriting->upto - back;
    bool const may_be = seq >= forge_batch_at(forge, seq)->body.view_start;
    return rewriting->correct == 0 && may_be ? seq : rewriting->upto;
}

static void change_view(struct history *history, struct rewriting *rewriting) {
    struct forge *const forge = &rewriting->forge;
    struct forge_view_order order = {.view = forge->view + 1};
    while (!leads(rewriting, order.view)) {
        order.view++;
    }
    uint64_t const stated = draw_stated(history, rewriting);
    for (uint32_t i = 0; i < REPLICAS_MAX; i++) {
        order.stated[i] = stated;
    }
    draw_signers(history, rewriting, order.view);
    order.authors = forge->signers;
    draw_signers(history, rewriting, order.view);
    forge_change_view(forge, &order);
    rewriting->asked_view = order.view;
    rewriting->upto = stated;
}

/* Nobody has anything to show where a configuration begins, or says so. */
static void hide_beginning(struct history *history, struct rewriting *rewriting) {
    struct forge_view_order order = {.view = 1};
    for (uint32_t i = 0; i < REPLICAS_MAX; i++) {
        order.stated[i] = FORGE_NO_CERTIFICATE;
    }
    while (!leads(rewriting, order.view)) {
        order.view++;
    }
    draw_signers(history, rewriting, order.view);
    order.authors = rewriting->forge.signers;
    forge_change_view(&rewriting->forge, &order);
}

/* Who can sign in the configuration behind this one, all of them liars. */
static void go_over(struct history *history, struct rewriting *rewriting) {
    struct prng *const prng = &history->coalition->prng;
    uint64_t const next = now_of(rewriting)->number + 1;
    const struct consortium *const signers = &history->signers[next - 1];
    uint64_t const primary = UINT64_C(1) << configuration_primary(&signers->configuration, 0);
    forge_enter_configuration(&rewriting->forge, signers,
                              &history->cluster->eras[next - 1].constitution);
    rewriting->able = draw_more(prng, primary, 0, history->coalition->liar_count - 1,
                                signers->configuration.replica_count);
    if (prng_chance(prng, 300)) {
        hide_beginning(history, rewriting);
    }
}

/* What comes behind the end of a configuration. Returns: false: nothing that these could sign. */
static bool pass_end(struct history *history, struct rewriting *rewriting) {
    struct forge *const forge = &rewriting->forge;
    if (!checker_is_closed(forge->checker)) {
        return true;
    }
    bool const is_quorum = history->coalition->liar_count >= now_of(rewriting)->quorum;
    if (rewriting->correct != 0 || !is_quorum ||
        now_of(rewriting)->number == history->configurations) {
        return false;
    }
    go_over(history, rewriting);
    return true;
}

static void write_batches(struct history *history, struct rewriting *rewriting, uint64_t count) {
    uint64_t with_requests = 0;
    for (uint64_t i = 0; i < count; i++) {
        if (!rewriting->breaks_rules && !pass_end(history, rewriting)) {
            return;
        }
        if (write_batch(history, rewriting) &&
            prng_below(&history->coalition->prng, ++with_requests) == 0) {
            rewriting->receipt_seq = forge_seq(&rewriting->forge);
        }
    }
}

/* Where it begins, and who can sign it. Returns: false: this coalition cannot. */
static bool draw_beginning(struct history *history, struct rewriting *rewriting) {
    struct coalition *const coalition = history->coalition;
    struct prng *const prng = &coalition->prng;
    const struct cluster_era *const eras = history->cluster->eras;
    const struct split *const split = &history->split;
    uint32_t const quorum = coalition->replicas - configuration_faults_max(coalition->replicas);
    bool const is_quorum = coalition->liar_count >= quorum;
    if (split->number != 0 && (!is_quorum || prng_chance(prng, 500))) {
        rewriting->number = split->number;
        rewriting->upto = split->upto;
        rewriting->able = split->liars | split->apart;
        rewriting->correct = split->apart;
        return true;
    }
    rewriting->able = draw_more(prng, 0, 0, coalition->liar_count, coalition->replicas);
    if (is_quorum && !coalition->rests && prng_chance(prng, 250)) {
        rewriting->number = 1;
        rewriting->upto = prng_between(prng, 1, history->peace);
        rewriting->fork = cluster_zeroed(1, sizeof *rewriting->fork);
        return true;
    }
    uint64_t const number = prng_between(prng, 1, history->configurations);
    uint64_t const first = number == 1 ? 1 : eras[number - 1].start + 1;
    uint64_t const last = number == history->configurations
                              ? auditing_evidenced(history->cluster, history->whole) - 1
                              : eras[number].start;
    rewriting->number = number;
    uint64_t const late = last - first < CLOSING_BATCHES ? first : last - CLOSING_BATCHES;
    rewriting->upto = prng_between(prng, prng_chance(prng, 300) ? late : first, last);
    return is_quorum && !coalition->rests;
}

/* All of the members are with them, or have lost their keys. */
static void fork_chain(struct history *history, struct rewriting *rewriting) {
    struct prng *const prng = &history->coalition->prng;
    struct reform *const fork = rewriting->fork;
    struct action const action = charter_named(&fork->charter, ACTION_ADD_USER, "mallory", 7000);
    coalition_say(history->coalition, "; founders fork the chain behind batch %llu",
                  (unsigned long long)rewriting->upto);
    draw_signers(history, rewriting, rewriting->forge.view);
    reform_end(fork, 1, &action);
    rewriting->fork_seq = forge_seq(&rewriting->forge) - CLOSING_BATCHES;
    uint64_t const lead = UINT64_C(1) << configuration_primary(now_of(rewriting), 0);
    if ((rewriting->able & lead) != 0 && prng_chance(prng, 700)) {
        rewriting->forge.signers = draw_quorum(prng, now_of(rewriting), rewriting->able, 0);
        rewriting->signed_by[2] |= rewriting->forge.signers;
        reform_start(fork);
        for (uint64_t i = prng_below(prng, WRITTEN_MAX); i > 0; i--) {
            (void)write_batch(history, rewriting);
        }
    }
    rewriting->link_is_given = prng_chance(prng, 500);
    rewriting->is_given = !rewriting->link_is_given || prng_chance(prng, 500);
}

/* Returns: false: nobody could write anything else. */
static bool rewrite(struct history *history, struct rewriting *rewriting) {
    struct prng *const prng = &history->coalition->prng;
    const struct cluster_era *const eras = history->cluster->eras;
    struct forge *const forge = &rewriting->forge;
    if (!draw_beginning(history, rewriting)) {
        return false;
    }
    forge_init(forge, &history->signers[0]);
    if (rewriting->fork != NULL) {
        reform_init(rewriting->fork, forge);
    } else {
        forge_govern(forge, &eras[0].constitution);
    }
    auditing_continue_until(
        forge, history->cluster, history->whole,
        &(struct auditing_part){.upto = rewriting->upto, .signers = history->signers});
    bool const is_ending = forge->closing_seq != 0;
    bool const may_change =
        forge_batch_at(forge, rewriting->upto)->body.config == rewriting->number;
    if (now_of(rewriting)->number != rewriting->number || rewriting->upto < forge->view_start ||
        (!leads(rewriting, forge->view) && !may_change)) { /* what comes next is settled */
        return false;
    }
    if (!leads(rewriting, forge->view) || (may_change && prng_chance(prng, 300))) {
        change_view(history, rewriting);
    } else if (is_ending && rewriting->correct == 0 && prng_chance(prng, 500)) {
        forge->closing_seq = 0; /* nothing that they write now belongs there */
        forge->lied = true;
        rewriting->breaks_rules = true;
    }
    if (rewriting->fork != NULL) {
        fork_chain(history, rewriting);
        return true;
    }
    write_batches(history, rewriting, prng_between(prng, 1, WRITTEN_MAX + 2));
    rewriting->is_given = rewriting->receipt_seq == 0 || prng_chance(prng, 500);
    return forge_seq(forge) > rewriting->upto;
}

/* ---- the audit ---- */

static void hand_in(struct history *history, struct rewriting *rewriting, struct auditing *a) {
    struct prng *const prng = &history->coalition->prng;
    const struct cluster *const c = history->cluster;
    uint32_t const permille = prng_chance(prng, 500) ? 500 : 0;
    struct buffer receipt;
    auditing_open(a, c);
    for (uint32_t i = 0; i < c->request_count; i++) {
        if (prng_chance(prng, permille) && c->requests[i].receipt.size != 0) {
            auditing_give_receipt(a, c->requests[i].receipt);
        }
    }
    buffer_init(&receipt, RECEIPT_SIZE_MAX);
    if (rewriting->receipt_seq != 0) {
        forge_receipt(&rewriting->forge, &(struct forge_place){.seq = rewriting->receipt_seq},
                      &receipt);
        auditing_give_receipt(a, buffer_span(&receipt));
    }
    if (rewriting->is_given) {
        (void)auditing_give_forged(a, &rewriting->forge);
    }
    if (rewriting->link_is_given) {
        struct problem problem = {.code = EXIT_OK};
        CHECK(audit_add_link(a->audit, "a receipt", rewriting->fork->links[0], &problem) == 0);
    }
    (void)auditing_give_node(a, history->whole);
    buffer_free(&receipt);
}

/* Who has signed what is not the real ledger, and knew better. */
static uint64_t guilty_of(const struct rewriting *rewriting, uint64_t number) {
    uint64_t const correct = number == rewriting->number ? rewriting->correct : 0;
    return number < sizeof rewriting->signed_by / sizeof rewriting->signed_by[0]
               ? rewriting->signed_by[number] & ~correct
               : 0;
}

/* Returns: how many the proof names that names most. */
static uint32_t judge_findings(const struct history *history, const struct rewriting *rewriting,
                               const struct audit_report *report) {
    struct account_result *const account = &history->coalition->result->account;
    struct proof_verdict verdict;
    uint32_t most = 0;
    for (uint32_t i = 0; i < report->finding_count; i++) {
        const struct audit_finding *const finding = &report->findings[i];
        uint64_t const number = finding->verdict.configuration.number;
        uint32_t const named = count_of(finding->verdict.blamed);
        if ((finding->verdict.blamed & ~guilty_of(rewriting, number)) != 0) {
            account->false_accusations++;
            cluster_fail(history->cluster,
                         "the audit blames %llx of configuration %llu with a proof of kind %d",
                         (unsigned long long)finding->verdict.blamed, (unsigned long long)number,
                         (int)finding->verdict.kind);
        }
        if (proof_verify(&verdict, &history->cluster->configuration->service,
                         buffer_span(&finding->file)) != PROOF_VALID ||
            verdict.blamed != finding->verdict.blamed) {
            cluster_fail(history->cluster, "a proof does not verify by itself");
        }
        account->proofs++;
        account->kinds[finding->verdict.kind]++;
        most = named > most ? named : most;
    }
    return most;
}

/* The last batch of a configuration that the real ledger shows a quorum for. */
static uint64_t last_evidenced(const struct history *history, uint64_t number) {
    const struct cluster *const c = history->cluster;
    return number < history->configurations ? c->eras[number].start
                                            : auditing_evidenced(c, history->whole);
}

static const struct batch_facts *facts_of(const struct history *history, uint64_t seq) {
    const struct entry_list *const real = &history->cluster->nodes[history->whole].disk.live;
    return real->marks[entry_find(real, seq)].facts;
}

static uint64_t view_at(const struct history *history, uint64_t seq) {
    return cluster_view_of(facts_of(history, seq)->view);
}

/* Does the real ledger hold the same contents as the other under this number? */
static bool is_same(const struct history *history, const struct rewriting *rewriting,
                    uint64_t seq) {
    const struct batch_facts *const facts = facts_of(history, seq);
    const struct pre_prepare *const body = &forge_batch_at(&rewriting->forge, seq)->body;
    return facts->time_ms == body->time_ms && facts->tx_count == body->tx_count &&
           facts->first_index == body->first_index &&
           digest_equal(&facts->batch_root, &body->batch_root);
}

/*
 * Both ledgers are there, and both show a quorum for what they hold in one place: whatever the
 * views are in which they do.
 */
static bool ledgers_contradict(const struct history *history, const struct rewriting *rewriting) {
    uint64_t const ours = auditing_evidenced(history->cluster, history->whole);
    uint64_t const theirs = rewriting->forge.evidence_upto;
    uint64_t const last = ours < theirs ? ours : theirs;
    bool found = false;
    for (uint64_t seq = rewriting->upto + 1; seq <= last; seq++) {
        found |= !is_same(history, rewriting, seq);
    }
    return found && rewriting->is_given && !rewriting->breaks_rules;
}

/* Its ledger is there, and shows a quorum for a false outcome. */
static bool ledger_lies(const struct rewriting *rewriting) {
    return rewriting->is_given && rewriting->lie_seq != 0 &&
           rewriting->forge.evidence_upto >= rewriting->lie_seq;
}

/*
 * Does the real ledger say otherwise than the receipt, in its very view or a later one? It need not
 * be one batch against another: behind its end a configuration has none. A ledger that stays in
 * earlier views may be an old one, and blames nobody.
 */
static bool receipt_is_contradicted(const struct history *history,
                                    const struct rewriting *rewriting) {
    if (rewriting->receipt_seq == 0) {
        return false;
    }
    const struct pre_prepare *const body =
        &forge_batch_at(&rewriting->forge, rewriting->receipt_seq)->body;
    uint64_t const last = last_evidenced(history, body->config);
    bool const is_over = body->config < history->configurations;
    uint64_t const seq = body->seq < last ? body->seq : last;
    return (is_over || seq == body->seq) && view_at(history, seq) >= body->view;
}

/* The same of the receipt in the link that shows another outcome. */
static bool link_is_contradicted(const struct history *history, const struct rewriting *rewriting) {
    if (!rewriting->link_is_given) {
        return false;
    }
    uint64_t const last = last_evidenced(history, 1);
    uint64_t const seq = rewriting->fork_seq < last ? rewriting->fork_seq : last;
    return view_at(history, seq) >=
           forge_batch_at(&rewriting->forge, rewriting->fork_seq)->body.view;
}

/* They asked for a view, showed no more than that, and a quorum had gone on in an earlier one. */
static bool view_understates(const struct history *history, const struct rewriting *rewriting) {
    return rewriting->is_given && rewriting->asked_view != 0 &&
           last_evidenced(history, rewriting->number) > rewriting->upto &&
           view_at(history, rewriting->upto + 1) < rewriting->asked_view;
}

static void say_report(const struct audit_report *report) {
    for (uint32_t i = 0; i < report->finding_count; i++) {
        const struct proof_verdict *const verdict = &report->findings[i].verdict;
        (void)fprintf(stderr, "  finding: kind %d blames %llx of %llu, view %llu, batch %llu: %s\n",
                      (int)verdict->kind, (unsigned long long)verdict->blamed,
                      (unsigned long long)verdict->configuration.number,
                      (unsigned long long)verdict->view, (unsigned long long)verdict->seq,
                      rule_name(verdict->rule));
    }
    for (uint32_t i = 0; i < report->notice_count; i++) {
        (void)fprintf(stderr, "  notice %d: %s\n", report->notices[i].code,
                      report->notices[i].text);
    }
}

static bool is_due(const struct history *history, const struct rewriting *rewriting) {
    return ledgers_contradict(history, rewriting) || view_understates(history, rewriting) ||
           receipt_is_contradicted(history, rewriting) || ledger_lies(rewriting) ||
           link_is_contradicted(history, rewriting);
}

/* A lie is one thing, and that there are two histories another: it is proven by itself. */
static bool names_liars(const struct rewriting *rewriting, const struct audit_report *report) {
    bool found = false;
    for (uint32_t i = 0; i < report->finding_count; i++) {
        const struct proof_verdict *const verdict = &report->findings[i].verdict;
        found |= verdict->kind == PROOF_WRONG_OUTCOME && verdict->seq == rewriting->lie_seq;
    }
    return found;
}

static void judge_missing(struct history *history, const struct rewriting *rewriting,
                          const struct audit_report *report, uint32_t most) {
    struct account_result *const account = &history->coalition->result->account;
    account->contradictions++;
    account->blamed_sum += most;
    if (account->blamed_min == 0 || most < account->blamed_min) {
        account->blamed_min = most;
    }
    if (most <= configuration_faults_max(history->coalition->replicas)) {
        account->missed++;
        say_report(report);
        cluster_fail(history->cluster,
                     "configuration %llu, rewritten behind batch %llu%s%s, receipt for batch %llu, "
                     "%s: the audit names %u",
                     (unsigned long long)rewriting->number, (unsigned long long)rewriting->upto,
                     rewriting->asked_view != 0 ? " in another view" : "",
                     rewriting->breaks_rules   ? " against the rules"
                     : rewriting->fork != NULL ? " with another outcome"
                                               : "",
                     (unsigned long long)rewriting->receipt_seq,
                     rewriting->is_given ? "with its ledger" : "without its ledger", most);
    }
}

static void audit_once(struct history *history, struct rewriting *rewriting, bool is_lie) {
    struct cluster *const c = history->cluster;
    struct account_result *const account = &history->coalition->result->account;
    struct auditing a;
    hand_in(history, rewriting, &a);
    const struct audit_report *const report = auditing_run(&a);
    uint32_t const most = judge_findings(history, rewriting, report);
    account->audits++;
    if (!is_lie && audit_exit_code(report) != EXIT_OK) {
        cluster_fail(c, "the audit of what is in order ends with %d", audit_exit_code(report));
    }
    if (is_lie && is_due(history, rewriting)) {
        judge_missing(history, rewriting, report, most);
    }
    if (is_lie && ledger_lies(rewriting) && !names_liars(rewriting, report)) {
        account->missed++;
        say_report(report);
        cluster_fail(c, "nobody is named for the false outcome of batch %llu behind batch %llu",
                     (unsigned long long)rewriting->lie_seq, (unsigned long long)rewriting->upto);
    }
    cluster_trace(c, "configuration %llu behind batch %llu: exit %d, %u findings of up to %u",
                  (unsigned long long)rewriting->number, (unsigned long long)rewriting->upto,
                  audit_exit_code(report), report->finding_count, most);
    auditing_close(&a);
}

void eras_run(struct coalition *coalition) {
    struct history *const history = cluster_zeroed(1, sizeof *history);
    struct rewriting *const rewriting = cluster_zeroed(1, sizeof *rewriting);
    history->coalition = coalition;
    live(history);
    for (uint32_t i = 0; i < FORKS; i++) {
        *rewriting = (struct rewriting){.number = 0};
        bool const is_lie = rewrite(history, rewriting);
        if (!is_lie) {
            rewriting->receipt_seq = 0;
            rewriting->is_given = false;
            rewriting->link_is_given = false;
        }
        audit_once(history, rewriting, is_lie);
        if (rewriting->fork != NULL) {
            reform_free(rewriting->fork);
            free(rewriting->fork);
        }
        if (rewriting->forge.consortium != NULL) {
            forge_free(&rewriting->forge);
        }
    }
    coalition_say(coalition, ", %llu configurations", (unsigned long long)history->configurations);
    free(rewriting);
    free(history);
}
