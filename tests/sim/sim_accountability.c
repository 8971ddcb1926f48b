/*
 * sim_accountability: one run against a coalition of more than f replicas (coalition.h): the
 * worlds live, endings are written, and auditors are handed what is left. And the table of many.
 */
#include "tests/sim/sim_accountability.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "tests/sim/coalition.h"

#define WORLD_EVENTS_MAX 2000000u
/* So many seeds, one of them in consortia that change; no other seed draws otherwise for that. */
#define ERAS_EVERY 7u

static void draw_coalition(struct coalition *coalition, const struct sim_options *options) {
    static const uint8_t counts[] = {4, 4, 4, 5, 5, 6, 7, 7, 7};
    struct prng *const prng = &coalition->prng;
    coalition->replicas =
        options->replicas != 0 ? options->replicas : counts[prng_below(prng, sizeof counts)];
    uint32_t const most = coalition->replicas;
    uint32_t const faults = configuration_faults_max(most);
    bool const is_control = options->byzantine == SIM_DRAWN && prng_chance(prng, 100);
    coalition->rests = is_control && prng_chance(prng, 500);
    coalition->liar_count = options->byzantine != SIM_DRAWN ? options->byzantine
                            : is_control ? (uint32_t)prng_between(prng, 1, faults)
                                         : (uint32_t)prng_between(prng, faults + 1, most);
    while ((uint32_t)__builtin_popcount(coalition->liars) < coalition->liar_count) {
        coalition->liars |= 1u << prng_below(prng, most);
    }
    coalition->result->replicas = most;
    coalition->result->byzantine = coalition->liar_count;
    coalition->result->account.rests = coalition->rests;
    coalition_say(coalition, "replicas %u, coalition %x%s", most, coalition->liars,
                  coalition->rests ? " at rest" : "");
}

static void draw_options(struct coalition *coalition, const struct sim_options *options) {
    struct prng *const prng = &coalition->prng;
    uint32_t const pipeline = (uint32_t)prng_between(prng, 1, 5);
    coalition->options = (struct cluster_options){
        .replica_count = coalition->replicas,
        .seed = options->seed,
        .pipeline = pipeline,
        .checkpoint_interval = checkpoint_interval_min(pipeline) + prng_below(prng, 3),
        .no_joins = true,
        .sessions = prng_chance(prng, 300),
        .events_max = WORLD_EVENTS_MAX,
        .cheap_signatures = !sim_signs_in_earnest(options),
    };
    coalition->result->real_signatures = !coalition->options.cheap_signatures;
    coalition->keys = (uint32_t)prng_between(prng, 1, 12);
    coalition->submit_max = (uint32_t)prng_between(prng, 1, 5);
    coalition->step_us_max = prng_chance(prng, 700) ? 60000 : 1500000;
    coalition->fault_permille = prng_chance(prng, 600) ? (uint32_t)prng_between(prng, 20, 400) : 0;
    coalition_say(coalition, ", pipeline %u, checkpoints every %llu%s%s, faults %u", pipeline,
                  (unsigned long long)coalition->options.checkpoint_interval,
                  coalition->options.sessions ? ", sessions" : "",
                  coalition->options.cheap_signatures ? "" : ", real signatures",
                  coalition->fault_permille);
}

static void sum_up(struct coalition *coalition) {
    struct sim_result *const result = coalition->result;
    struct hash_state state;
    hash_init(&state);
    for (uint32_t i = 0; i < coalition->world_count; i++) {
        const struct cluster *const cluster = coalition->worlds[i].cluster;
        struct digest const hash = cluster_trace_hash(cluster);
        hash_update(&state, span_of(hash.bytes, DIGEST_SIZE));
        result->events += cluster->events;
        result->batches += cluster->committed_seq;
        result->requests += cluster->request_count;
        result->views += cluster_view_of(cluster->highest_view);
        result->recoveries += cluster->recoveries;
        result->judgements += cluster->judgements;
        result->receipts += cluster->receipts_verified;
        result->simulated_ms += cluster->now_us / 1000;
        for (uint32_t fault = 0; fault < FAULT_COUNT; fault++) {
            result->faults[fault] += cluster->faults[fault];
        }
    }
    result->trace_hash = hash_final(&state);
}

void accountability_run(struct sim_result *result, const struct sim_options *options) {
    struct coalition *const coalition = cluster_zeroed(1, sizeof *coalition);
    coalition->result = result;
    cluster_leave_words_in(result->reason, sizeof result->reason);
    prng_init(&coalition->prng, options->seed ^ UINT64_C(0x626c616d65));
    draw_coalition(coalition, options);
    draw_options(coalition, options);
    if (options->seed % ERAS_EVERY == 0) {
        eras_run(coalition);
    } else {
        worlds_run(coalition);
        stock_take_worlds(coalition);
        endings_write(coalition);
        stock_audit(coalition);
    }
    sum_up(coalition);
    stock_free(coalition);
    endings_free(coalition);
    worlds_free(coalition);
    free(coalition);
    cluster_leave_words_in(NULL, 0);
    result->finished = true;
}

/* ---- the table ---- */

void account_add(struct account_table *table, const struct sim_result *result) {
    const struct account_result *const one = &result->account;
    uint32_t const replicas = result->replicas;
    uint32_t const row = one->rests ? 0 : result->byzantine;
    if (replicas > ACCOUNT_REPLICAS_MAX || row > ACCOUNT_REPLICAS_MAX) {
        return; /* it failed before it drew anything */
    }
    struct account_row *const sum = &table->rows[replicas][row];
    sum->runs++;
    sum->failed += !result->finished;
    sum->sum.audits += one->audits;
    sum->sum.contradictions += one->contradictions;
    sum->sum.lies += one->lies;
    sum->sum.proofs += one->proofs;
    sum->sum.blamed_sum += one->blamed_sum;
    sum->sum.false_accusations += one->false_accusations;
    sum->sum.missed += one->missed;
    if (one->blamed_min != 0 &&
        (sum->sum.blamed_min == 0 || one->blamed_min < sum->sum.blamed_min)) {
        sum->sum.blamed_min = one->blamed_min;
    }
    for (uint32_t i = 0; i < PROOF_KIND_END; i++) {
        table->kinds[i] += one->kinds[i];
    }
}

static void print_row(uint32_t replicas, uint32_t liars, const struct account_row *row) {
    const struct account_result *const sum = &row->sum;
    uint64_t const due = sum->contradictions - sum->missed;
    (void)printf("%8u %2u %2u %6u %7llu %8llu %13llu %7llu %6u %6.2f %6llu %6llu %6llu\n", replicas,
                 configuration_faults_max(replicas), replicas - configuration_faults_max(replicas),
                 liars, (unsigned long long)row->runs, (unsigned long long)sum->audits,
                 (unsigned long long)sum->contradictions, (unsigned long long)sum->proofs,
                 sum->blamed_min, due == 0 ? 0.0 : (double)sum->blamed_sum / (double)due,
                 (unsigned long long)sum->false_accusations, (unsigned long long)sum->missed,
                 (unsigned long long)row->failed);
}

void account_print(const struct account_table *table) {
    static const char *const names[PROOF_KIND_END] = {
        [PROOF_EQUIVOCATION] = "equivocation",
        [PROOF_CONFLICTING_CERTIFICATES] = "conflicting certificates",
        [PROOF_BROKEN_BATCH] = "broken batch",
        [PROOF_WRONG_OUTCOME] = "wrong outcome",
        [PROOF_WRONG_CHECKPOINT] = "wrong checkpoint",
        [PROOF_UNDERSTATED_VIEW_CHANGE] = "understated view-change",
        [PROOF_BROKEN_NEW_VIEW] = "broken new view",
        [PROOF_FORKED_VIEW] = "forked view",
        [PROOF_MALFORMED_RANGE] = "malformed range",
    };
    const char *separator = "proofs:";
    (void)puts("replicas  f  Q  liars    runs   audits contradicting  proofs  blames"
               "    avg  false missed failed");
    for (uint32_t replicas = 0; replicas <= ACCOUNT_REPLICAS_MAX; replicas++) {
        for (uint32_t liars = 0; liars <= ACCOUNT_REPLICAS_MAX; liars++) {
            if (table->rows[replicas][liars].runs != 0) {
                print_row(replicas, liars, &table->rows[replicas][liars]);
            }
        }
    }
    for (uint32_t i = 0; i < PROOF_KIND_END; i++) {
        if (names[i] != NULL) {
            (void)printf("%s %llu %s", separator, (unsigned long long)table->kinds[i], names[i]);
            separator = ",";
        }
    }
    (void)puts("");
}
