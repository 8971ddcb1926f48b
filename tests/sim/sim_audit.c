/*
 * sim_audit: the real auditor over what a run leaves behind (see simulation.h): the ledgers of all
 * correct replicas, as segment files on fake disks, and every receipt a client holds. With at most
 * f faulty ones there is nothing for anybody to be blamed for by others' lies alone: whoever is
 * blamed must be faulty, and no receipt may be left over.
 *
 * Then, in some runs, one of the ledgers is damaged as disks damage what they keep, a bit flipped
 * or a sector written elsewhere, and all is audited again: the damage is reported, and it is
 * nobody's guilt.
 */
#include <stdio.h>
#include <stdlib.h>

#include "audit-tool/audit.h"
#include "base/check.h"
#include "ledger/segment.h"
#include "tests/sim/fake_disk.h"
#include "tests/sim/simulation.h"

#define SECTOR_SIZE 512u
#define DAMAGE_PERMILLE 250u

/* What a disk did to the ledger of one replica. */
struct damage {
    uint64_t first; /* bytes of the file that differ now: [first, end) */
    uint64_t end;
    uint64_t last_record; /* from here on it may pass for a torn tail */
};

struct auditor {
    struct cluster *cluster;
    struct audit *audit;
    struct fake_disk *disks[CLUSTER_NODES_MAX];
    char names[CLUSTER_NODES_MAX][32];
    uint32_t disk_count;
};

static _Noreturn void fail(const struct auditor *auditor, const struct problem *problem) {
    cluster_fail(auditor->cluster, "the audit fails: %s", problem->text);
}

/* Entries may be appended up to where a segment may be closed. */
static enum segment_result append_all(struct segment_writer *writer, const struct entry_list *list,
                                      struct problem *problem) {
    uint64_t first = 0;
    for (uint64_t i = 0; i < list->count; i++) {
        if (!list->marks[i].ends_unit) {
            continue;
        }
        enum segment_result const result = segment_writer_append(
            writer, &list->items[first], (size_t)(i + 1 - first), true, problem);
        if (result != SEGMENT_OK) {
            return result;
        }
        first = i + 1;
    }
    return segment_writer_sync(writer, problem);
}

static void write_ledger(const struct auditor *auditor, struct fake_disk *disk,
                         const struct entry_list *list) {
    struct segment_writer_options const options = {.service =
                                                       auditor->cluster->configuration->service};
    struct segment_writer *const writer = cluster_zeroed(1, sizeof *writer);
    struct segment_torn_tail torn;
    struct problem problem = {.code = EXIT_OK};
    if (segment_writer_open(writer, &torn, &disk->disk, &options, &problem) != SEGMENT_OK ||
        append_all(writer, list, &problem) != SEGMENT_OK) {
        fail(auditor, &problem);
    }
    segment_writer_close(writer);
    free(writer);
}

static void add_ledgers(struct auditor *auditor) {
    const struct cluster *const cluster = auditor->cluster;
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        const struct node *const node = &cluster->nodes[i];
        struct problem problem = {.code = EXIT_OK};
        if (!node_is_correct(node) || node->disk.durable.first != 0) {
            continue;
        }
        uint32_t const nth = auditor->disk_count++;
        auditor->disks[nth] = fake_disk_new();
        (void)snprintf(auditor->names[nth], sizeof auditor->names[nth], "replica %u", i);
        write_ledger(auditor, auditor->disks[nth], &node->disk.durable);
        if (audit_add_ledger(auditor->audit, auditor->names[nth], &auditor->disks[nth]->disk,
                             &problem) != 0) {
            fail(auditor, &problem);
        }
    }
}

static void add_receipts(struct auditor *auditor) {
    const struct cluster *const cluster = auditor->cluster;
    for (uint32_t i = 0; i < cluster->request_count; i++) {
        struct problem problem = {.code = EXIT_OK};
        char name[32];
        if (cluster->requests[i].receipt.size == 0) {
            continue;
        }
        (void)snprintf(name, sizeof name, "request %u", i);
        if (audit_add_receipt(auditor->audit, name, cluster->requests[i].receipt, &problem) != 0) {
            fail(auditor, &problem);
        }
    }
}

static uint64_t faulty_set(const struct cluster *cluster) {
    uint64_t faulty = 0;
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        if (!node_is_correct(&cluster->nodes[i])) {
            faulty |= UINT64_C(1) << cluster->nodes[i].id;
        }
    }
    return faulty;
}

static void judge(const struct auditor *auditor) {
    const struct cluster *const cluster = auditor->cluster;
    const struct audit_report *const report = audit_report(auditor->audit);
    uint64_t const faulty = faulty_set(cluster);
    for (uint32_t i = 0; i < report->finding_count; i++) {
        const struct proof_verdict *const verdict = &report->findings[i].verdict;
        if ((verdict->blamed & ~faulty) != 0) {
            cluster_fail(cluster, "the audit blames %llx, of whom %llx are correct: kind %u, %s",
                         (unsigned long long)verdict->blamed,
                         (unsigned long long)(verdict->blamed & ~faulty), verdict->kind,
                         rule_name(verdict->rule));
        }
    }
    if (faulty == 0 && audit_exit_code(report) != EXIT_OK) {
        cluster_fail(cluster, "the audit of correct replicas ends with %d: %s",
                     audit_exit_code(report),
                     report->notice_count > 0 ? report->notices[0].text : "findings");
    }
    if (report->receipts_invalid != 0) {
        cluster_fail(cluster, "the audit finds %llu receipts invalid",
                     (unsigned long long)report->receipts_invalid);
    }
    if (report->finding_count == 0 && report->receipts_reconciled != report->receipts_valid) {
        cluster_fail(cluster, "the audit finds %llu of %llu receipts in the ledgers",
                     (unsigned long long)report->receipts_reconciled,
                     (unsigned long long)report->receipts_valid);
    }
}

static void audit_all(struct auditor *auditor) {
    struct problem problem = {.code = EXIT_OK};
    add_receipts(auditor);
    if (audit_run(auditor->audit, &problem) != 0) {
        fail(auditor, &problem);
    }
}

static struct auditor open_auditor(struct cluster *cluster) {
    struct auditor auditor = {.cluster = cluster};
    auditor.audit = audit_new(
        &(struct audit_options){.configuration = cluster->configuration,
                                .genesis = buffer_span(&cluster->consortium.genesis_bytes),
                                .jobs = 1});
    CHECK(auditor.audit != NULL);
    add_ledgers(&auditor);
    return auditor;
}

static void close_auditor(struct auditor *auditor) {
    audit_free(auditor->audit);
    for (uint32_t i = 0; i < auditor->disk_count; i++) {
        fake_disk_free(auditor->disks[i]);
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
static void damage_one(struct simulation *simulation, const struct auditor *auditor,
                       struct damage *damage) {
    struct prng *const prng = &simulation->prng;
    const struct cluster *const cluster = auditor->cluster;
    uint32_t const nth = (uint32_t)prng_below(prng, auditor->disk_count);
    char name[SEGMENT_NAME_SIZE];
    segment_name_format(name, &(struct segment_name){.open = true});
    struct buffer *const file = fake_disk_content(auditor->disks[nth], name);
    CHECK(file != NULL && file->size > SEGMENT_HEADER_SIZE);
    uint32_t correct = 0;
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        const struct node *const node = &cluster->nodes[i];
        if (node_is_correct(node) && node->disk.durable.first == 0 && correct++ == nth) {
            const struct entry_list *const list = &node->disk.durable;
            damage->last_record =
                file->size - RECORD_HEADER_SIZE - list->items[list->count - 1].payload.size;
        }
    }
    bool const flips = prng_chance(prng, 600);
    (flips ? flip_bit : misdirect)(prng, file, damage);
    simulation->cluster->faults[flips ? FAULT_FLIPPED_BIT : FAULT_MISDIRECTED_WRITE]++;
}

static void judge_damage(const struct auditor *auditor, const struct damage *damage) {
    const struct audit_report *const report = audit_report(auditor->audit);
    uint64_t const faulty = faulty_set(auditor->cluster);
    for (uint32_t i = 0; i < report->finding_count; i++) {
        if ((report->findings[i].verdict.blamed & ~faulty) != 0) {
            cluster_fail(auditor->cluster, "the audit blames %llx for a damaged file",
                         (unsigned long long)report->findings[i].verdict.blamed);
        }
    }
    if (damage->first < damage->end && damage->end <= damage->last_record &&
        report->gravest_notice != EXIT_CORRUPT) {
        cluster_fail(auditor->cluster, "the audit overlooks damage in the bytes %llu to %llu",
                     (unsigned long long)damage->first, (unsigned long long)damage->end);
    }
}

static void audit_damaged(struct simulation *simulation) {
    struct auditor auditor = open_auditor(simulation->cluster);
    struct damage damage = {.first = 0};
    damage_one(simulation, &auditor, &damage);
    audit_all(&auditor);
    judge_damage(&auditor, &damage);
    close_auditor(&auditor);
}

void simulation_audit(struct simulation *simulation) {
    struct auditor auditor = open_auditor(simulation->cluster);
    audit_all(&auditor);
    judge(&auditor);
    close_auditor(&auditor);
    if (prng_chance(&simulation->prng, DAMAGE_PERMILLE)) {
        audit_damaged(simulation);
    }
}
