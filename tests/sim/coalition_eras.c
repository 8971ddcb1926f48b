/*
 * coalition_eras: coalitions in a consortium that changes itself; see coalition.h. A cluster of
 * honest cores goes through two to four configurations, each with another replica replaced. Then a
 * quorum of any one of them, retired or not, writes another history by hand behind any batch of
 * its time, and a customer gets a receipt for it.
 *
 * Completeness: a batch of a configuration that is over, or for whose number and view the real
 * ledger has a certified batch, is contradicted, and more than f of its signers are named.
 * Soundness: nobody else is named, in that configuration or any other.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "tests/sim/auditing.h"
#include "tests/sim/coalition.h"

#define FORKS 5u
#define REPLACED_MAX 3u
#define WRITTEN_MAX 6u
#define STEP_MS 10u
#define PATIENCE_MS 60000u

/* A consortium that changed itself, and how. */
struct history {
    struct coalition *coalition;
    struct cluster *cluster;
    uint64_t configurations;
    uint32_t whole; /* a node that follows from genesis to the end */
    struct consortium signers[1 + REPLACED_MAX];
};

/* Another history, from some batch on. */
struct rewriting {
    uint64_t number; /* of the configuration in which it is signed */
    uint64_t upto;   /* the last batch that is left as it was */
    uint64_t seq;    /* the batch of the receipt */
    struct forge forge;
};

/* ---- what really happens ---- */

static uint32_t say(struct history *history, uint32_t member, const char *call,
                    struct span argument) {
    struct charter *const charter = history->cluster->charter;
    return cluster_submit_order(
        history->cluster, 0,
        &(struct order){.author = charter_pair(charter, &charter->now.members[member].key),
                        .call_count = 1,
                        .calls = &call,
                        .argument = argument});
}

static void work(struct history *history, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        cluster_submit(history->cluster, "kv.put k v");
        cluster_run_ms(history->cluster, prng_between(&history->coalition->prng, 1, 30));
    }
    cluster_run_until_done(history->cluster, PATIENCE_MS);
    cluster_run_ms(history->cluster, 300);
}

/* One founder's replica is replaced by a spare. */
static void replace(struct history *history, uint32_t founder) {
    struct cluster *const c = history->cluster;
    struct charter *const charter = c->charter;
    const struct key_pair *const old = &c->keys[founder].signing;
    const char *const member =
        charter->now.members[c->eras[0].configuration.replicas[founder].member].name;
    struct action const action = charter_replica(
        charter, &old->key, member, CLUSTER_SPARE_NUMBER + history->coalition->replicas + founder);
    struct span const bytes = charter_propose(charter, 1, &action);
    struct proposal proposal;
    char call[32 + 2 * DIGEST_SIZE];
    char id[2 * DIGEST_SIZE + 1];
    (void)say(history, 0, "gov.propose", bytes);
    cluster_run_until_done(c, PATIENCE_MS);
    charter_decode(charter, &proposal, bytes);
    hex_encode(id, span_of(proposal.id.bytes, DIGEST_SIZE));
    (void)snprintf(call, sizeof call, "gov.vote %s yes", id);
    for (uint32_t member_id = 0; 2 * member_id <= charter->now.member_count; member_id++) {
        (void)say(history, member_id, call, (struct span){.size = 0});
        cluster_run_ms(c, 20);
    }
    charter_pass(charter, bytes);
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

static void live(struct history *history) {
    struct coalition *const coalition = history->coalition;
    struct prng *const prng = &coalition->prng;
    history->configurations = 2 + prng_below(prng, REPLACED_MAX);
    uint32_t const replaced = (uint32_t)history->configurations - 1;
    coalition->options.spares = replaced;
    coalition->options.replica_count = coalition->replicas + replaced;
    coalition->options.governed = true;
    coalition->options.sessions = false;
    history->cluster = cluster_new(&coalition->options);
    history->whole = coalition->replicas;
    coalition->worlds[coalition->world_count++] = (struct world){.cluster = history->cluster};
    work(history, 3 + (uint32_t)prng_below(prng, 10));
    for (uint32_t founder = 0; founder < replaced; founder++) {
        replace(history, founder);
        work(history, 3 + (uint32_t)prng_below(prng, 10));
    }
    for (uint64_t number = 1; number <= history->configurations; number++) {
        collect_keys(history, number);
    }
}

/* ---- what is written by hand ---- */

static void write_batch(struct history *history, struct forge *forge) {
    struct buffer encoded;
    buffer_init(&encoded, REQUEST_SIZE_MAX);
    coalition_request(history->coalition, forge->next_index, &encoded);
    struct span const request = buffer_span(&encoded);
    forge_append(forge, &(struct forge_order){.request_count = 1, .requests = &request});
    buffer_free(&encoded);
}

/* The first primary that signs there, and others until they are a quorum. */
static uint64_t draw_signers(struct prng *prng, const struct configuration *then, uint64_t view) {
    uint64_t signers = UINT64_C(1) << configuration_primary(then, view);
    while ((uint32_t)__builtin_popcountll(signers) < then->quorum) {
        signers |= UINT64_C(1) << prng_below(prng, then->replica_count);
    }
    return signers;
}

static void rewrite(struct history *history, struct rewriting *rewriting) {
    struct prng *const prng = &history->coalition->prng;
    const struct cluster_era *const eras = history->cluster->eras;
    struct forge *const forge = &rewriting->forge;
    uint64_t const number = prng_between(prng, 1, history->configurations);
    uint64_t const first = number == 1 ? 1 : eras[number - 1].start + 1;
    uint64_t const last = number == history->configurations
                              ? auditing_evidenced(history->cluster, history->whole) - 1
                              : eras[number].start;
    uint64_t const written = prng_between(prng, 1, WRITTEN_MAX);
    rewriting->number = number;
    rewriting->upto = prng_between(prng, first, last);
    rewriting->seq = rewriting->upto + prng_between(prng, 1, written);
    forge_init(forge, &history->signers[0]);
    forge_govern(forge, &eras[0].constitution);
    auditing_continue_until(
        forge, history->cluster, history->whole,
        &(struct auditing_part){.upto = rewriting->upto, .signers = history->signers});
    forge->signers = draw_signers(prng, &history->signers[number - 1].configuration, forge->view);
    if (forge->closing_seq != 0) { /* nothing that they write now belongs there */
        forge->closing_seq = 0;
        forge->lied = true;
    }
    for (uint64_t i = 0; i < written; i++) {
        write_batch(history, forge);
    }
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
    if (!history->coalition->rests) {
        forge_receipt(&rewriting->forge, &(struct forge_place){.seq = rewriting->seq}, &receipt);
        auditing_give_receipt(a, buffer_span(&receipt));
        if (prng_chance(prng, 300)) {
            (void)auditing_give_forged(a, &rewriting->forge);
        }
    }
    (void)auditing_give_node(a, history->whole);
    buffer_free(&receipt);
}

/* Returns: how many the proof names that names most. */
static uint32_t judge_findings(const struct history *history, const struct rewriting *rewriting,
                               const struct audit_report *report) {
    struct account_result *const account = &history->coalition->result->account;
    struct proof_verdict verdict;
    uint64_t const liars = history->coalition->rests ? 0 : rewriting->forge.signers;
    uint32_t most = 0;
    for (uint32_t i = 0; i < report->finding_count; i++) {
        const struct audit_finding *const finding = &report->findings[i];
        uint32_t const named = (uint32_t)__builtin_popcountll(finding->verdict.blamed);
        if ((finding->verdict.blamed & ~liars) != 0 ||
            finding->verdict.configuration.number != rewriting->number) {
            account->false_accusations++;
            cluster_fail(history->cluster, "the audit blames %llx of configuration %llu",
                         (unsigned long long)finding->verdict.blamed,
                         (unsigned long long)finding->verdict.configuration.number);
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

/* Did nobody ever ask for another leader, in any configuration? */
static bool kept_its_views(const struct cluster *cluster) {
    bool kept = true;
    for (uint32_t node = 0; node < cluster->node_count; node++) {
        kept &= cluster->nodes[node].sent[MESSAGE_NEW_VIEW] == 0;
    }
    return kept;
}

/* Does the real ledger say otherwise, in the very view of the receipt? */
static bool is_contradicted(const struct history *history, const struct rewriting *rewriting) {
    const struct cluster *const c = history->cluster;
    return !history->coalition->rests && kept_its_views(c) &&
           (rewriting->number < history->configurations ||
            rewriting->seq <= auditing_evidenced(c, history->whole));
}

static void audit_once(struct history *history, struct rewriting *rewriting) {
    struct cluster *const c = history->cluster;
    struct account_result *const account = &history->coalition->result->account;
    const struct consortium *const then = &history->signers[rewriting->number - 1];
    struct auditing a;
    hand_in(history, rewriting, &a);
    const struct audit_report *const report = auditing_run(&a);
    uint32_t const most = judge_findings(history, rewriting, report);
    account->audits++;
    if (history->coalition->rests && audit_exit_code(report) != EXIT_OK) {
        cluster_fail(c, "the audit of what is in order ends with %d", audit_exit_code(report));
    }
    if (is_contradicted(history, rewriting)) {
        account->contradictions++;
        account->blamed_sum += most;
        if (account->blamed_min == 0 || most < account->blamed_min) {
            account->blamed_min = most;
        }
        if (most <= then->configuration.faults_max) {
            account->missed++;
            cluster_fail(c,
                         "configuration %llu, rewritten behind batch %llu, receipt for batch %llu: "
                         "the audit names %u",
                         (unsigned long long)rewriting->number, (unsigned long long)rewriting->upto,
                         (unsigned long long)rewriting->seq, most);
        }
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
        rewrite(history, rewriting);
        audit_once(history, rewriting);
        forge_free(&rewriting->forge);
    }
    coalition_say(coalition, ", %llu configurations", (unsigned long long)history->configurations);
    free(rewriting);
    free(history);
}
