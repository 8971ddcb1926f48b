/*
 * auditing: see auditing.h.
 */
#include "tests/sim/auditing.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "ledger/segment.h"

static _Noreturn void fail(const struct auditing *auditing, const struct problem *problem) {
    cluster_fail(auditing->cluster, "the audit fails: %s", problem->text);
}

void auditing_open(struct auditing *auditing, const struct cluster *cluster) {
    *auditing = (struct auditing){.cluster = cluster};
    auditing->audit = audit_new(
        &(struct audit_options){.configuration = cluster->configuration,
                                .genesis = buffer_span(&cluster->consortium.genesis_bytes),
                                .jobs = 1});
    CHECK(auditing->audit != NULL);
}

void auditing_close(struct auditing *auditing) {
    audit_free(auditing->audit);
    for (uint32_t i = 0; i < auditing->ledger_count; i++) {
        fake_disk_free(auditing->disks[i]);
    }
}

/* ---- ledgers ---- */

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

static void write_ledger(const struct auditing *auditing, const struct disk *disk,
                         const struct entry_list *list) {
    struct segment_writer_options const options = {.service =
                                                       auditing->cluster->configuration->service};
    struct segment_writer *const writer = cluster_zeroed(1, sizeof *writer);
    struct segment_torn_tail torn;
    struct problem problem = {.code = EXIT_OK};
    if (segment_writer_open(writer, &torn, disk, &options, &problem) != SEGMENT_OK ||
        append_all(writer, list, &problem) != SEGMENT_OK) {
        fail(auditing, &problem);
    }
    segment_writer_close(writer);
    free(writer);
}

static struct fake_disk *add_disk(struct auditing *auditing, const char *whose, uint32_t number) {
    uint32_t const nth = auditing->ledger_count++;
    struct problem problem = {.code = EXIT_OK};
    CHECK(nth < AUDITING_LEDGERS_MAX);
    (void)snprintf(auditing->names[nth], sizeof auditing->names[nth], "%s %u", whose, number);
    auditing->disks[nth] = fake_disk_new();
    if (audit_add_ledger(auditing->audit, auditing->names[nth], &auditing->disks[nth]->disk,
                         &problem) != 0) {
        fail(auditing, &problem);
    }
    return auditing->disks[nth];
}

struct fake_disk *auditing_give_entries(struct auditing *auditing, uint32_t number,
                                        const struct entry_list *list) {
    struct fake_disk *const disk = add_disk(auditing, "node", number);
    write_ledger(auditing, &disk->disk, list);
    return disk;
}

struct fake_disk *auditing_give_node(struct auditing *auditing, uint32_t node) {
    return auditing_give_entries(auditing, node, &auditing->cluster->nodes[node].disk.live);
}

struct fake_disk *auditing_give_forged(struct auditing *auditing, const struct forge *forge) {
    struct fake_disk *const disk = add_disk(auditing, "ledger", auditing->ledger_count);
    struct problem problem = {.code = EXIT_OK};
    if (forge_write(forge, &disk->disk, &problem) != 0) {
        fail(auditing, &problem);
    }
    return disk;
}

void auditing_give_receipt(struct auditing *auditing, struct span receipt) {
    struct problem problem = {.code = EXIT_OK};
    CHECK(receipt.size != 0);
    if (audit_add_receipt(auditing->audit, "receipt", receipt, &problem) != 0) {
        fail(auditing, &problem);
    }
}

const struct audit_report *auditing_run(struct auditing *auditing) {
    struct problem problem = {.code = EXIT_OK};
    if (audit_run(auditing->audit, &problem) != 0) {
        fail(auditing, &problem);
    }
    return audit_report(auditing->audit);
}

/* ---- going on with a ledger ---- */

uint64_t auditing_evidenced(const struct cluster *cluster, uint32_t node) {
    const struct entry_list *const ledger = &cluster->nodes[node].disk.live;
    uint64_t const last = entry_last_whole(ledger);
    return last == 0 ? 0 : ledger->marks[entry_find(ledger, last)].facts->evidence_upto;
}

/* Behind the last batch of a configuration, the forge enters what the cluster came to next. */
static void enter_next(struct forge *forge, const struct cluster *cluster,
                       const struct consortium *signers, uint64_t config) {
    CHECK(config <= CLUSTER_ERAS_MAX && cluster->eras[config - 1].known);
    CHECK(signers != NULL && checker_is_closed(forge->checker));
    forge_enter_configuration(forge, &signers[config - 1], &cluster->eras[config - 1].constitution);
}

void auditing_continue_until(struct forge *forge, const struct cluster *cluster, uint32_t node,
                             const struct auditing_part *part) {
    const struct entry_list *const ledger = &cluster->nodes[node].disk.live;
    struct batch batch;
    uint64_t index = 1;
    bool beyond = false;
    CHECK(part->upto <= auditing_evidenced(cluster, node));
    bool ends = false;
    batch_init(&batch);
    while (!ends) {
        enum batch_step const step = read_unit(&batch, ledger, &index, ledger->count);
        beyond |= step == BATCH_WHOLE && forge_seq(forge) == part->upto;
        bool const is_wanted = !beyond && (step == BATCH_WHOLE || step == BATCH_VIEW);
        uint64_t const config =
            step == BATCH_VIEW ? batch.view.new_view.config : batch.pre_prepare.config;
        if (is_wanted && config != checker_configuration(forge->checker)->number) {
            enter_next(forge, cluster, part->signers, config);
        }
        if (step == BATCH_VIEW && is_wanted) {
            CHECK(forge_import_view(forge, &batch) == RULE_NONE);
        } else if (step == BATCH_WHOLE && is_wanted) {
            CHECK(forge_import(forge, &batch) == RULE_NONE);
        } else if (step == BATCH_WHOLE) {
            forge_import_evidence(forge, &batch);
        } else if (step != BATCH_VIEW) {
            ends = true;
        }
        batch_clear(&batch);
    }
    batch_free(&batch);
    CHECK(forge_seq(forge) == part->upto);
}

void auditing_continue(struct forge *forge, const struct cluster *cluster, uint32_t node) {
    auditing_continue_until(
        forge, cluster, node,
        &(struct auditing_part){.upto = auditing_evidenced(cluster, node), .signers = NULL});
}
