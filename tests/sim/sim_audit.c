/*
 * sim_audit: the real auditor over what a run leaves behind (see simulation.h): the ledgers of all
 * correct replicas, as segment files on fake disks, and every receipt a client holds. With at most
 * f faulty ones there is nothing for anybody to be blamed for by others' lies alone: whoever is
 * blamed must be faulty, and no receipt may be left over.
 */
#include <stdio.h>
#include <stdlib.h>

#include "audit-tool/audit.h"
#include "base/check.h"
#include "ledger/segment.h"
#include "tests/sim/fake_disk.h"
#include "tests/sim/simulation.h"

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
        if (!node_is_correct(node)) {
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

void simulation_audit(struct simulation *simulation) {
    struct cluster *const cluster = simulation->cluster;
    struct auditor auditor = {.cluster = cluster};
    struct problem problem = {.code = EXIT_OK};
    auditor.audit = audit_new(
        &(struct audit_options){.configuration = cluster->configuration,
                                .genesis = buffer_span(&cluster->consortium.genesis_bytes),
                                .jobs = 1});
    CHECK(auditor.audit != NULL);
    add_ledgers(&auditor);
    add_receipts(&auditor);
    if (audit_run(auditor.audit, &problem) != 0) {
        fail(&auditor, &problem);
    }
    judge(&auditor);
    audit_free(auditor.audit);
    for (uint32_t i = 0; i < auditor.disk_count; i++) {
        fake_disk_free(auditor.disks[i]);
    }
}
