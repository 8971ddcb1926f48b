/*
 * fuzz_segment: a ledger on disk. The first byte says whether its checks are put right, so that
 * what lies behind them is reached. The ledger was written by honest replicas: whatever is done to
 * it, the audit blames nobody.
 */
#include "audit-tool/audit.h"
#include "base/check.h"
#include "ledger/segment_format.h"
#include "tests/fuzz/target.h"
#include "tests/sim/fake_disk.h"

/* Header and records keep their contents and get the checks that go with them. */
static void repair(struct buffer *file, const struct digest *service) {
    if (file->size < SEGMENT_HEADER_SIZE) {
        return;
    }
    segment_header_encode(file->data, service, 0);
    size_t offset = SEGMENT_HEADER_SIZE;
    for (uint64_t index = 0; file->size - offset >= RECORD_HEADER_SIZE; index++) {
        uint8_t *const record = file->data + offset;
        uint32_t const size = load_u32_be(record);
        uint32_t const kind = load_u32_be(record + 4);
        if (size > file->size - offset - RECORD_HEADER_SIZE || !record_kind_valid(kind)) {
            return;
        }
        struct entry const entry = {.kind = (enum entry_kind)kind,
                                    .payload = span_of(record + RECORD_HEADER_SIZE, size)};
        record_header_encode(record, service, index, &entry);
        offset += RECORD_HEADER_SIZE + size;
    }
}

/* What a replica does with its own files at start. */
static void open_for_writing(const struct disk *disk, const struct digest *service) {
    static struct segment_writer writer;
    struct problem problem = {.code = EXIT_OK};
    struct segment_torn_tail torn;
    struct segment_writer_options const options = {.service = *service};
    if (segment_writer_open(&writer, &torn, disk, &options, &problem) == SEGMENT_OK) {
        segment_writer_close(&writer);
    }
}

static void audit_it(const struct disk *disk, const struct consortium *consortium) {
    struct problem problem = {.code = EXIT_OK};
    struct audit *const audit =
        audit_new(&(struct audit_options){.configuration = &consortium->configuration,
                                          .genesis = buffer_span(&consortium->genesis_bytes),
                                          .jobs = 1});
    CHECK(audit != NULL);
    CHECK(audit_add_ledger(audit, "ledger", disk, &problem) == 0);
    CHECK(audit_run(audit, &problem) == 0);
    CHECK(audit_report(audit)->finding_count == 0);
    audit_free(audit);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const struct consortium *const consortium = target_consortium();
    struct buffer file;
    struct fake_disk *const disk = fake_disk_new();
    CHECK(disk != NULL);
    buffer_init(&file, (size_t)1 << 30);
    if (size == 0 || !buffer_append(&file, span_of(data + 1, size - 1))) {
        fake_disk_free(disk);
        return 0;
    }
    if (data[0] != 0) {
        repair(&file, &consortium->configuration.service);
    }
    fake_disk_put(disk, "000000000000-open.seg", buffer_span(&file));
    audit_it(&disk->disk, consortium);
    open_for_writing(&disk->disk, &consortium->configuration.service);
    CHECK(disk->handles == 0);
    fake_disk_free(disk);
    buffer_free(&file);
    return 0;
}
