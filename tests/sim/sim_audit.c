/*
 * sim_audit: the real auditor over what a run leaves behind (see simulation.h): the ledgers of all
 * correct replicas, as segment files on fake disks, and every receipt a client holds. With at most
 * f faulty ones there is nothing for anybody to be blamed for by others' lies alone: whoever is
 * blamed must be faulty, and no receipt may be left over.
 *
 * Where members change the configuration, each ledger is audited alone, too, for its governance
 * chain: those of all correct replicas must be one.
 *
 * Then, in some runs, one of the ledgers is damaged as disks damage what they keep, a bit flipped
 * or a sector written elsewhere, and all is audited again: the damage is reported, and it is
 * nobody's guilt.
 */
#include "base/check.h"
#include "governance/founding.h"
#include "ledger/segment.h"
#include "receipts/chain.h"
#include "tests/sim/auditing.h"
#include "tests/sim/simulation.h"

#define SECTOR_SIZE 512u
#define DAMAGE_PERMILLE 250u

/* What a disk did to the ledger of one replica. */
struct damage {
    uint64_t first; /* bytes of the file that differ now: [first, end) */
    uint64_t end;
    uint64_t last_record; /* from here on it may pass for a torn tail */
};

static bool has_ledger(const struct node *node) {
    return node_is_correct(node) && node->disk.durable.first == 0;
}

static void add_ledgers(struct auditing *auditing) {
    const struct cluster *const cluster = auditing->cluster;
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        if (has_ledger(&cluster->nodes[i])) {
            (void)auditing_give_entries(auditing, i, &cluster->nodes[i].disk.durable);
        }
    }
}

/* Returns: how many there are. */
static uint64_t add_receipts(struct auditing *auditing) {
    const struct cluster *const cluster = auditing->cluster;
    for (uint64_t i = 0; i < cluster->receipt_count; i++) {
        auditing_give_receipt(auditing, cluster->receipts[i]);
    }
    return cluster->receipt_count;
}

/* Who signed as this replica of that configuration: is any node of that key not correct? */
static bool is_faulty(const struct cluster *cluster, const struct public_key *key) {
    uint32_t const id = cluster_id_of(cluster, key);
    bool faulty = false;
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        faulty |= cluster->nodes[i].id == id && !node_is_correct(&cluster->nodes[i]);
    }
    return faulty;
}

static bool all_correct(const struct cluster *cluster) {
    bool correct = true;
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        correct &= node_is_correct(&cluster->nodes[i]);
    }
    return correct;
}

/* Positions are those of the configuration in which somebody signed: keys are who it was. */
static void judge_blame(const struct cluster *cluster, const struct proof_verdict *verdict) {
    for (uint32_t r = 0; r < verdict->configuration.replica_count; r++) {
        if ((verdict->blamed >> r & 1) != 0 &&
            !is_faulty(cluster, &verdict->configuration.replicas[r].key)) {
            cluster_fail(cluster,
                         "the audit blames %llx of configuration %llu, and %u of them is correct: "
                         "kind %u, %s",
                         (unsigned long long)verdict->blamed, (unsigned long long)verdict->config,
                         r, verdict->kind, rule_name(verdict->rule));
        }
    }
}

/* The last batch of any of the ledgers that were given: nothing less is to be checked. */
static uint64_t last_batch(const struct cluster *cluster) {
    uint64_t last = 0;
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        if (has_ledger(&cluster->nodes[i])) {
            uint64_t const seq = entry_last_whole(&cluster->nodes[i].disk.durable);
            last = seq > last ? seq : last;
        }
    }
    return last;
}

/* Without findings nothing may be left over: no batch of any ledger, and no receipt. */
static void judge_coverage(const struct cluster *cluster, const struct audit_report *report,
                           uint64_t receipts) {
    const struct audit_coverage *const coverage = &report->coverage;
    if (coverage->first_batch > 1 || coverage->last_batch != last_batch(cluster)) {
        cluster_fail(cluster, "the audit checks the batches %llu to %llu, and there are %llu",
                     (unsigned long long)coverage->first_batch,
                     (unsigned long long)coverage->last_batch,
                     (unsigned long long)last_batch(cluster));
    }
    if (report->receipts_valid != receipts || report->receipts_reconciled != receipts) {
        cluster_fail(cluster, "of %llu receipts the audit finds %llu valid, %llu in the ledgers",
                     (unsigned long long)receipts, (unsigned long long)report->receipts_valid,
                     (unsigned long long)report->receipts_reconciled);
    }
}

static void judge(const struct cluster *cluster, const struct audit_report *report,
                  uint64_t receipts) {
    for (uint32_t i = 0; i < report->finding_count; i++) {
        judge_blame(cluster, &report->findings[i].verdict);
    }
    if (all_correct(cluster) && audit_exit_code(report) != EXIT_OK) {
        cluster_fail(cluster, "the audit of correct replicas ends with %d: %s",
                     audit_exit_code(report),
                     report->notice_count > 0 ? report->notices[0].text : "findings");
    }
    if (report->receipts_invalid != 0 || report->coverage.receipts_unknown != 0) {
        cluster_fail(cluster, "the audit finds %llu receipts invalid, and cannot judge %llu",
                     (unsigned long long)report->receipts_invalid,
                     (unsigned long long)report->coverage.receipts_unknown);
    }
    if (report->finding_count == 0) {
        judge_coverage(cluster, report, receipts);
    }
}

/* ---- the same with a damaged ledger ---- */

static void flip_bit(struct prng *prng, struct buffer *file, struct damage *damage) {
    damage->first = prng_below(prng, file->size);
    damage->end = damage->first + 1;
    file->data[damage->first] ^= (uint8_t)(1u << prng_below(prng, 8));
}

/* One sector lies where another should be. */
static void misdirect(struct prng *prng, struct buffer *file, struct damage *damage) {
    uint64_t const sectors = file->size / SECTOR_SIZE;
    if (sectors < 2) {
        flip_bit(prng, file, damage);
        return;
    }
    uint64_t const from = prng_below(prng, sectors) * SECTOR_SIZE;
    uint64_t const to = prng_below(prng, sectors) * SECTOR_SIZE;
    damage->first = to;
    damage->end =
        memcmp(file->data + to, file->data + from, SECTOR_SIZE) == 0 ? to : to + SECTOR_SIZE;
    memmove(file->data + to, file->data + from, SECTOR_SIZE);
}

/* A whole small ledger lies in one open segment. */
static void damage_one(struct simulation *simulation, const struct auditing *auditing,
                       struct damage *damage) {
    struct prng *const prng = &simulation->prng;
    const struct cluster *const cluster = auditing->cluster;
    uint32_t const nth = (uint32_t)prng_below(prng, auditing->ledger_count);
    char name[SEGMENT_NAME_SIZE];
    segment_name_format(name, &(struct segment_name){.open = true});
    struct buffer *const file = fake_disk_content(auditing->disks[nth], name);
    CHECK(file != NULL && file->size > SEGMENT_HEADER_SIZE);
    uint32_t correct = 0;
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        const struct node *const node = &cluster->nodes[i];
        if (has_ledger(node) && correct++ == nth) {
            const struct entry_list *const list = &node->disk.durable;
            damage->last_record =
                file->size - RECORD_HEADER_SIZE - list->items[list->count - 1].payload.size;
        }
    }
    bool const flips = prng_chance(prng, 600);
    (flips ? flip_bit : misdirect)(prng, file, damage);
    simulation->cluster->faults[flips ? FAULT_FLIPPED_BIT : FAULT_MISDIRECTED_WRITE]++;
}

static void judge_damage(const struct cluster *cluster, const struct audit_report *report,
                         const struct damage *damage) {
    for (uint32_t i = 0; i < report->finding_count; i++) {
        judge_blame(cluster, &report->findings[i].verdict);
    }
    if (damage->first < damage->end && damage->end <= damage->last_record &&
        report->gravest_notice != EXIT_CORRUPT) {
        cluster_fail(cluster, "the audit overlooks damage in the bytes %llu to %llu",
                     (unsigned long long)damage->first, (unsigned long long)damage->end);
    }
}

static void audit_damaged(struct simulation *simulation) {
    struct auditing auditing;
    struct damage damage = {.first = 0};
    auditing_open(&auditing, simulation->cluster);
    add_ledgers(&auditing);
    damage_one(simulation, &auditing, &damage);
    (void)add_receipts(&auditing);
    judge_damage(simulation->cluster, auditing_run(&auditing), &damage);
    auditing_close(&auditing);
}

/* ---- the governance chain ---- */

/* Each link that one ledger gives holds for whoever has the links of the others. */
static void judge_chain(const struct cluster *cluster, struct chain *all, uint32_t node,
                        struct span file) {
    struct arena arena;
    struct chain_reader reader;
    struct span link;
    uint64_t number = FOUNDING_CONFIGURATION;
    arena_init(&arena, 2 * (size_t)GENESIS_SIZE_MAX);
    CHECK(chain_reader_open(&reader, &arena, file));
    int status = chain_reader_next(&reader, &link);
    while (status == 1) {
        enum chain_check const check = chain_add(all, link).check;
        number++;
        if (check != CHAIN_VALID && check != CHAIN_KNOWN) {
            cluster_fail(cluster, "node %u gives another link to configuration %llu: %s", node,
                         (unsigned long long)number, chain_check_text(check));
        }
        status = chain_reader_next(&reader, &link);
    }
    CHECK(status == 0);
    arena_free(&arena);
}

/* The chain that an auditor makes of one ledger alone reaches as far as that does. */
static void add_chain(const struct cluster *cluster, struct chain *all, uint32_t node) {
    const struct entry_list *const ledger = &cluster->nodes[node].disk.durable;
    uint64_t const last = entry_last_whole(ledger);
    uint64_t const number =
        last == 0 ? FOUNDING_CONFIGURATION
                  : cluster_config_of(ledger->marks[entry_find(ledger, last)].facts->view);
    struct auditing auditing;
    struct buffer file;
    auditing_open(&auditing, cluster);
    (void)auditing_give_entries(&auditing, node, ledger);
    (void)auditing_run(&auditing);
    buffer_init(&file, CHAIN_SIZE_MAX);
    CHECK(audit_save_chain(auditing.audit, &file));
    if (file.size != 0) {
        judge_chain(cluster, all, node, buffer_span(&file));
    }
    if (chain_newest(all)->number < number) {
        cluster_fail(cluster, "the ledger of node %u is in configuration %llu, its chain in %llu",
                     node, (unsigned long long)number,
                     (unsigned long long)chain_newest(all)->number);
    }
    buffer_free(&file);
    auditing_close(&auditing);
}

/* All chains that correct replicas' ledgers give are one, and lead to what was entered. */
static void audit_chains(const struct cluster *cluster) {
    struct problem problem = {.code = EXIT_OK};
    struct chain *const all = chain_new(&cluster->configuration->service,
                                        buffer_span(&cluster->consortium.genesis_bytes), &problem);
    CHECK(all != NULL);
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        if (has_ledger(&cluster->nodes[i])) {
            add_chain(cluster, all, i);
        }
    }
    for (uint64_t number = 1; number <= chain_newest(all)->number; number++) {
        static struct constitution constitution; /* it is large */
        struct digest digest;
        CHECK(chain_find(all, number, &constitution) &&
              constitution_digest(&digest, &constitution));
        if (number != FOUNDING_CONFIGURATION && cluster_knows_configuration(cluster, number) &&
            !digest_equal(&digest, &cluster->eras[number - 1].digest)) {
            cluster_fail(cluster, "the chain leads to another configuration %llu than was entered",
                         (unsigned long long)number);
        }
    }
    chain_free(all);
}

void simulation_audit(struct simulation *simulation) {
    struct auditing auditing;
    auditing_open(&auditing, simulation->cluster);
    add_ledgers(&auditing);
    uint64_t const receipts = add_receipts(&auditing);
    judge(simulation->cluster, auditing_run(&auditing), receipts);
    auditing_close(&auditing);
    if (simulation->cluster->charter != NULL) {
        audit_chains(simulation->cluster);
    }
    if (prng_chance(&simulation->prng, DAMAGE_PERMILLE)) {
        audit_damaged(simulation);
    }
}
