/*
 * audit_fixture: see audit_fixture.h.
 */
#include "tests/unit/audit_fixture.h"

#include <criterion/criterion.h>

struct consortium consortium;
struct forge forge;
struct story story;
struct audit *audit;
struct fake_disk *disks[DISKS_MAX];
uint32_t disk_count;

void open_audit(uint32_t jobs) {
    disk_count = 0;
    audit = audit_new(&(struct audit_options){.configuration = &consortium.configuration,
                                              .genesis = buffer_span(&consortium.genesis_bytes),
                                              .jobs = jobs});
    cr_assert(audit != NULL);
}

void close_audit(void) {
    audit_free(audit);
    while (disk_count > 0) {
        disk_count--;
        cr_assert_eq(disks[disk_count]->handles, 0);
        fake_disk_free(disks[disk_count]);
    }
}

void set_up_with(uint32_t replica_count) {
    consortium_found(&consortium, &(struct consortium_options){.replica_count = replica_count});
    forge_init(&forge, &consortium);
    story = (struct story){.forge = &forge, .random = 11};
    open_audit(1);
}

void set_up(void) {
    set_up_with(4);
}

void tear_down(void) {
    close_audit();
    forge_free(&forge);
    consortium_free(&consortium);
}

/* ---- giving it things ---- */

struct fake_disk *give_beginning(const struct forge *from, uint64_t end) {
    struct problem problem = {.code = EXIT_OK};
    struct fake_disk *const disk = fake_disk_new();
    cr_assert(disk != NULL && disk_count < DISKS_MAX);
    cr_assert_eq(forge_write_beginning(from, end, &disk->disk, &problem), 0, "%s", problem.text);
    disks[disk_count++] = disk;
    cr_assert_eq(audit_add_ledger(audit, "ledger", &disk->disk, &problem), 0);
    return disk;
}

struct fake_disk *give_ledger(const struct forge *from) {
    return give_beginning(from, forge_entry_count(from));
}

uint64_t give_receipts(const struct forge *from, uint64_t first_seq, uint64_t last_seq) {
    uint64_t given = 0;
    struct buffer receipt;
    buffer_init(&receipt, RECEIPT_SIZE_MAX);
    for (uint64_t seq = first_seq; seq <= last_seq; seq++) {
        struct batch batch;
        batch_init(&batch);
        forge_read(from, seq, &batch);
        for (uint32_t nth = 0; nth < batch.request_count; nth++) {
            struct problem problem = {.code = EXIT_OK};
            buffer_clear(&receipt);
            forge_receipt(from, &(struct forge_place){.seq = seq, .request = nth}, &receipt);
            cr_assert_eq(audit_add_receipt(audit, "receipt", buffer_span(&receipt), &problem), 0);
            given++;
        }
        batch_free(&batch);
    }
    buffer_free(&receipt);
    return given;
}

const struct audit_report *run(enum exit_code expected) {
    struct problem problem = {.code = EXIT_OK};
    cr_assert_eq(audit_run(audit, &problem), 0, "%s", problem.text);
    const struct audit_report *const report = audit_report(audit);
    const struct proof_verdict *const first = &report->findings[0].verdict;
    cr_assert_eq(audit_exit_code(report), expected, "%d: kind %d of view %d batch %d: %s: %s",
                 audit_exit_code(report), (int)first->kind, (int)first->view, (int)first->seq,
                 rule_name(first->rule), report->notices[0].text);
    return report;
}

/* ---- two histories ---- */

void fork_open(struct fork *fork) {
    forge_init(&fork->forge, &consortium);
    fork->story = (struct story){.forge = &fork->forge, .random = story.random};
}

void fork_close(struct fork *fork) {
    forge_free(&fork->forge);
}

/* ---- proofs ---- */

enum proof_check check_bytes(struct span file) {
    struct proof_verdict verdict;
    return proof_verify(&verdict, &consortium.configuration.service, file);
}

void expect_no_change_holds(const struct buffer *file, uint32_t flips) {
    struct consortium other;
    struct proof_verdict verdict;
    uint8_t *const data = file->data;
    for (uint32_t i = 0; i < flips || flips == 0; i++) {
        if (flips == 0 && i == file->size) {
            break;
        }
        size_t const at = flips == 0 ? i : story_draw(&story, (uint32_t)file->size);
        uint8_t const mask = (uint8_t)(1u << story_draw(&story, 8));
        data[at] ^= mask;
        cr_assert_neq(check_bytes(buffer_span(file)), PROOF_VALID, "byte %zu", at);
        data[at] ^= mask;
    }
    for (uint32_t i = 0; i < 60; i++) {
        size_t const size = story_draw(&story, (uint32_t)file->size);
        cr_assert_neq(check_bytes(span_of(data, size)), PROOF_VALID);
    }
    consortium_found(&other, &(struct consortium_options){.seed = 5});
    cr_assert_eq(proof_verify(&verdict, &other.configuration.service, buffer_span(file)),
                 PROOF_SERVICE);
    consortium_free(&other);
    cr_assert_eq(check_bytes(buffer_span(file)), PROOF_VALID);
    cr_assert_eq(proof_verify(&verdict, NULL, buffer_span(file)), PROOF_VALID);
}

void forgery_open(struct forgery *forgery, const struct buffer *file) {
    size_t const magic = sizeof EVIDENCE_FILE_MAGIC - 1;
    arena_init(&forgery->arena, (size_t)256 << 20);
    buffer_init(&forgery->file, EVIDENCE_FILE_SIZE_MAX);
    cr_assert_eq(proof_decode(&forgery->proof, &forgery->arena,
                              span_of(file->data + magic, file->size - magic)),
                 CODEC_OK);
}

enum proof_check forgery_check(struct forgery *forgery) {
    buffer_clear(&forgery->file);
    cr_assert(evidence_file_encode(&forgery->file, &forgery->proof));
    return check_bytes(buffer_span(&forgery->file));
}

void forgery_close(struct forgery *forgery) {
    arena_free(&forgery->arena);
    buffer_free(&forgery->file);
}
