/*
 * journal: see journal.h.
 *
 * Invariants: the file holds `size` good bytes, and records [first, next_number); a record is never
 * written behind one that failed. What looks like a record after a bad one is damage: only a tail
 * that was being written when the machine stopped may be cut.
 */
#include "node/journal.h"

#include <errno.h>

#include "base/check.h"
#include "base/hash.h"
#include "ledger/codec_journal.h"

#define VERSION 1u
#define CHECK_SIZE 8u
#define CHECKED_HEADER_SIZE (JOURNAL_HEADER_SIZE - CHECK_SIZE)
#define READ_SIZE ((size_t)256 << 10)

static const uint8_t magic[8] = "ONUSJRN";

static_assert(JOURNAL_RECORDS_KEPT * (JOURNAL_RECORD_SIZE_MAX + JOURNAL_RECORD_HEADER_SIZE) +
                      JOURNAL_HEADER_SIZE <=
                  JOURNAL_SIZE_SOFT_MAX,
              "what a rewrite keeps is below the size that asks for one");

/* ---- encoding -------------------------------------------------------------------------------- */

static void header_encode(uint8_t out[static JOURNAL_HEADER_SIZE],
                          const struct journal_owner *owner, uint64_t first_number) {
    memcpy(out, magic, sizeof magic);
    store_u32_be(out + 8, VERSION);
    store_u32_be(out + 12, owner->replica);
    memcpy(out + 16, owner->service.bytes, DIGEST_SIZE);
    store_u64_be(out + 48, first_number);
    struct digest const check =
        hash_labelled(LABEL_JOURNAL, &owner->service, span_of(out, CHECKED_HEADER_SIZE));
    memcpy(out + CHECKED_HEADER_SIZE, check.bytes, CHECK_SIZE);
}

static void record_header_encode(uint8_t out[static JOURNAL_RECORD_HEADER_SIZE],
                                 const struct digest *service, uint64_t number,
                                 struct span payload) {
    struct hash_state state;
    hash_init_labelled(&state, LABEL_JOURNAL, service);
    hash_update_u64(&state, number);
    hash_update_u32(&state, (uint32_t)payload.size);
    hash_update(&state, payload);
    struct digest const check = hash_final(&state);
    store_u32_be(out, (uint32_t)payload.size);
    store_u32_be(out + 4, 0);
    memcpy(out + 8, check.bytes, CHECK_SIZE);
}

/* The payload of the good record at the start of `bytes`; its data is NULL when there is none. */
static struct span record_at(const struct digest *service, uint64_t number, struct span bytes) {
    uint8_t expected[JOURNAL_RECORD_HEADER_SIZE];
    struct span const none = {0};
    if (bytes.size < JOURNAL_RECORD_HEADER_SIZE) {
        return none;
    }
    size_t const size = load_u32_be(bytes.data);
    if (size == 0 || size > JOURNAL_RECORD_SIZE_MAX ||
        size > bytes.size - JOURNAL_RECORD_HEADER_SIZE) {
        return none;
    }
    struct span const payload = span_of(bytes.data + JOURNAL_RECORD_HEADER_SIZE, size);
    record_header_encode(expected, service, number, payload);
    return memcmp(expected, bytes.data, sizeof expected) == 0 ? payload : none;
}

/* Is there a good record in what follows a bad one, whatever its number? */
static bool record_follows(const struct digest *service, uint64_t number, struct span tail) {
    for (size_t at = 1; at < tail.size; at++) {
        struct span const rest = span_of(tail.data + at, tail.size - at);
        /* A size is at most four digits: most places are ruled out by their first bytes. */
        if (rest.size < JOURNAL_RECORD_HEADER_SIZE || load_u32_be(rest.data + 4) != 0) {
            continue;
        }
        for (uint64_t ahead = 1; ahead <= at / JOURNAL_RECORD_HEADER_SIZE + 1; ahead++) {
            if (ahead > JOURNAL_RECORDS_KEPT) {
                break;
            }
            if (record_at(service, number + ahead, rest).data != NULL) {
                return true;
            }
        }
    }
    return false;
}

/* ---- disk ------------------------------------------------------------------------------------ */

static int os_problem(struct problem *problem, const struct disk *disk, const char *doing,
                      int64_t result) {
    return problem_set(problem, EXIT_ERROR, "%s/%s: %s: %s; check the disk", disk->place,
                       JOURNAL_NAME, doing, strerror((int)-result));
}

static int64_t write_whole(const struct disk *disk, int file, struct span bytes, uint64_t offset) {
    while (bytes.size > 0) {
        int64_t const written = disk->write_at(disk->context, file, &bytes, 1, offset);
        if (written < 0) {
            return written;
        }
        bytes = span_of(bytes.data + written, bytes.size - (size_t)written);
        offset += (uint64_t)written;
    }
    return 0;
}

static bool is_full(int64_t result) {
    return result == -ENOSPC || result == -EDQUOT;
}

/* Write a whole journal beside the old one, sync it, and let it take the name. */
static int64_t put_in_place(const struct disk *disk, struct span content, int *file) {
    int const opened = disk->open(disk->context, JOURNAL_NEW_NAME, DISK_CREATE);
    if (opened < 0) {
        return opened;
    }
    int64_t result = write_whole(disk, opened, content, 0);
    if (result == 0) {
        result = disk->sync(disk->context, opened);
    }
    if (result == 0) {
        result = disk->rename(disk->context, JOURNAL_NEW_NAME, JOURNAL_NAME);
    }
    if (result == 0) {
        result = disk->sync_directory(disk->context);
    }
    if (result != 0) {
        disk->close(disk->context, opened);
        return result;
    }
    *file = opened;
    return 0;
}

int journal_create(const struct disk *disk, const struct journal_owner *owner,
                   struct problem *problem) {
    uint8_t header[JOURNAL_HEADER_SIZE];
    int file = disk->open(disk->context, JOURNAL_NAME, DISK_READ);
    if (file >= 0) {
        disk->close(disk->context, file);
        return problem_set(problem, EXIT_ERROR,
                           "%s/%s: exists already; a journal is never replaced", disk->place,
                           JOURNAL_NAME);
    }
    header_encode(header, owner, 0);
    int64_t const result = put_in_place(disk, span_of(header, sizeof header), &file);
    if (result != 0) {
        return os_problem(problem, disk, "writing", result);
    }
    disk->close(disk->context, file);
    return 0;
}

/* ---- opening --------------------------------------------------------------------------------- */

static int read_whole(struct buffer *out, const struct disk *disk, int file,
                      struct problem *problem) {
    int64_t const size = disk->size(disk->context, file);
    if (size < 0) {
        return os_problem(problem, disk, "reading", size);
    }
    if (size > (int64_t)JOURNAL_SIZE_MAX) {
        return problem_set(problem, EXIT_CORRUPT,
                           "%s/%s: larger than %u bytes; restore it from a "
                           "backup that is not older",
                           disk->place, JOURNAL_NAME, JOURNAL_SIZE_MAX);
    }
    while (out->size < (size_t)size) {
        size_t const left = (size_t)size - out->size;
        size_t const step = left < READ_SIZE ? left : READ_SIZE;
        uint8_t *const room = buffer_extend(out, step);
        if (room == NULL) {
            return problem_set(problem, EXIT_ERROR, "%s/%s: out of memory", disk->place,
                               JOURNAL_NAME);
        }
        int64_t const got = disk->read_at(disk->context, file, room, step, out->size - step);
        if (got <= 0) {
            return os_problem(problem, disk, "reading", got == 0 ? -EIO : got);
        }
        out->size -= step - (size_t)got;
    }
    return 0;
}

static int check_header(const struct journal *journal, struct span content, uint64_t *first,
                        struct problem *problem) {
    const char *const place = journal->disk->place;
    uint8_t expected[JOURNAL_HEADER_SIZE];
    if (content.size < JOURNAL_HEADER_SIZE || memcmp(content.data, magic, sizeof magic) != 0) {
        return problem_set(problem, EXIT_CORRUPT,
                           "%s/%s: damaged at offset 0: not the header of a journal", place,
                           JOURNAL_NAME);
    }
    struct journal_owner found = {.replica = load_u32_be(content.data + 12)};
    memcpy(found.service.bytes, content.data + 16, DIGEST_SIZE);
    *first = load_u64_be(content.data + 48);
    header_encode(expected, &found, *first);
    if (memcmp(expected + CHECKED_HEADER_SIZE, content.data + CHECKED_HEADER_SIZE, CHECK_SIZE) !=
        0) {
        return problem_set(problem, EXIT_CORRUPT,
                           "%s/%s: damaged at offset 0: the header does not match its check", place,
                           JOURNAL_NAME);
    }
    if (load_u32_be(content.data + 8) != VERSION) {
        return problem_set(problem, EXIT_ERROR,
                           "%s/%s: has another version than %u; use the "
                           "program that wrote it",
                           place, JOURNAL_NAME, VERSION);
    }
    if (!digest_equal(&found.service, &journal->owner.service)) {
        char theirs[2 * DIGEST_SIZE + 1];
        char ours[2 * DIGEST_SIZE + 1];
        hex_encode(theirs, span_of(found.service.bytes, DIGEST_SIZE));
        hex_encode(ours, span_of(journal->owner.service.bytes, DIGEST_SIZE));
        return problem_set(problem, EXIT_ERROR,
                           "%s: belongs to service %s, but genesis is that of service %s; give "
                           "the right genesis, or another data_directory",
                           place, theirs, ours);
    }
    if (found.replica != journal->owner.replica) {
        return problem_set(problem, EXIT_ERROR,
                           "%s: belongs to replica %u, but the configuration says replica %u; "
                           "correct `replica`, or give another data_directory",
                           place, found.replica, journal->owner.replica);
    }
    return 0;
}

int journal_check_owner(const struct disk *disk, const struct journal_owner *owner,
                        struct problem *problem) {
    struct journal const journal = {.disk = disk, .owner = *owner};
    uint8_t header[JOURNAL_HEADER_SIZE];
    uint64_t first = 0;
    int const file = disk->open(disk->context, JOURNAL_NAME, DISK_READ);
    if (file == -ENOENT) {
        return 0;
    }
    if (file < 0) {
        return os_problem(problem, disk, "opening", file);
    }
    int64_t const got = disk->read_at(disk->context, file, header, sizeof header, 0);
    disk->close(disk->context, file);
    if (got < 0) {
        return os_problem(problem, disk, "reading", got);
    }
    return check_header(&journal, span_of(header, (size_t)got), &first, problem);
}

static void remember(struct journal *journal, size_t payload_size) {
    journal->offsets[journal->next_number % JOURNAL_RECORDS_KEPT] = journal->size;
    journal->next_number++;
    journal->size += JOURNAL_RECORD_HEADER_SIZE + payload_size;
    if (journal->next_number - journal->kept_from > JOURNAL_RECORDS_KEPT) {
        journal->kept_from = journal->next_number - JOURNAL_RECORDS_KEPT;
    }
}

static int scan(struct journal *journal, struct span content, journal_visit *visit, void *context,
                struct problem *problem) {
    journal->size = JOURNAL_HEADER_SIZE;
    while (journal->size < content.size) {
        struct span const rest =
            span_of(content.data + journal->size, content.size - (size_t)journal->size);
        struct span const payload = record_at(&journal->owner.service, journal->next_number, rest);
        if (payload.data == NULL) {
            if (record_follows(&journal->owner.service, journal->next_number, rest)) {
                return problem_set(problem, EXIT_CORRUPT,
                                   "%s/%s: damaged at offset %llu: a record does not match its "
                                   "check, and good ones follow",
                                   journal->disk->place, JOURNAL_NAME,
                                   (unsigned long long)journal->size);
            }
            return 0;
        }
        visit(context, payload);
        remember(journal, payload.size);
    }
    return 0;
}

static int load(struct journal *journal, uint64_t *torn_size, journal_visit *visit, void *context,
                struct problem *problem) {
    const struct disk *const disk = journal->disk;
    struct buffer content;
    buffer_init(&content, JOURNAL_SIZE_MAX);
    int result = read_whole(&content, disk, journal->file, problem);
    if (result == 0) {
        result = check_header(journal, buffer_span(&content), &journal->next_number, problem);
    }
    if (result == 0) {
        journal->kept_from = journal->next_number;
        result = scan(journal, buffer_span(&content), visit, context, problem);
    }
    if (result == 0) {
        *torn_size = content.size - journal->size;
        if (*torn_size != 0) {
            int const cut = disk->truncate(disk->context, journal->file, journal->size);
            result = cut == 0 ? 0 : os_problem(problem, disk, "cutting a torn record off", cut);
        }
    }
    buffer_free(&content);
    /* What was read may not be durable yet: nothing may be built on it before it is. */
    if (result == 0) {
        int const synced = disk->sync(disk->context, journal->file);
        result = synced == 0 ? 0 : os_problem(problem, disk, "syncing", synced);
    }
    return result;
}

enum journal_result journal_open(struct journal *journal, uint64_t *torn_size,
                                 const struct disk *disk, const struct journal_owner *owner,
                                 journal_visit *visit, void *context, struct problem *problem) {
    *journal = (struct journal){.disk = disk, .owner = *owner};
    *torn_size = 0;
    journal->file = disk->open(disk->context, JOURNAL_NAME, DISK_WRITE);
    if (journal->file == -ENOENT) {
        return JOURNAL_MISSING;
    }
    if (journal->file < 0) {
        (void)os_problem(problem, disk, "opening", journal->file);
        return JOURNAL_FAILED;
    }
    if (load(journal, torn_size, visit, context, problem) != 0) {
        journal_close(journal);
        return JOURNAL_FAILED;
    }
    return JOURNAL_OK;
}

void journal_close(struct journal *journal) {
    if (journal->file >= 0) {
        journal->disk->close(journal->disk->context, journal->file);
        journal->file = -1;
    }
}

/* ---- writing --------------------------------------------------------------------------------- */

enum journal_result journal_append(struct journal *journal, struct span payload,
                                   struct problem *problem) {
    const struct disk *const disk = journal->disk;
    uint8_t record[JOURNAL_RECORD_HEADER_SIZE + JOURNAL_RECORD_SIZE_MAX];
    CHECK(payload.size > 0 && payload.size <= JOURNAL_RECORD_SIZE_MAX);
    record_header_encode(record, &journal->owner.service, journal->next_number, payload);
    memcpy(record + JOURNAL_RECORD_HEADER_SIZE, payload.data, payload.size);
    struct span const bytes = span_of(record, JOURNAL_RECORD_HEADER_SIZE + payload.size);
    int64_t const result = write_whole(disk, journal->file, bytes, journal->size);
    if (is_full(result)) {
        int const cut = disk->truncate(disk->context, journal->file, journal->size);
        if (cut != 0) {
            (void)os_problem(problem, disk, "cutting a half-written record off", cut);
            return JOURNAL_FAILED;
        }
        return JOURNAL_FULL;
    }
    if (result != 0) {
        (void)os_problem(problem, disk, "writing", result);
        return JOURNAL_FAILED;
    }
    remember(journal, payload.size);
    journal->dirty = true;
    return JOURNAL_OK;
}

/* The header and the last records, as a whole file. Returns: 0 or a negative errno value. */
static int64_t collect(const struct journal *journal, struct buffer *out) {
    const struct disk *const disk = journal->disk;
    uint64_t const from = journal->offsets[journal->kept_from % JOURNAL_RECORDS_KEPT];
    uint8_t *const header = buffer_extend(out, JOURNAL_HEADER_SIZE);
    size_t const size = (size_t)(journal->size - from);
    uint8_t *const records = buffer_extend(out, size);
    if (header == NULL || records == NULL) {
        return -ENOMEM;
    }
    header_encode(out->data, &journal->owner, journal->kept_from);
    size_t done = 0;
    while (done < size) {
        int64_t const got =
            disk->read_at(disk->context, journal->file, records + done, size - done, from + done);
        if (got <= 0) {
            return got == 0 ? -EIO : got;
        }
        done += (size_t)got;
    }
    return 0;
}

/* A full disk only puts this off: the old file is still the journal. */
static int rewrite(struct journal *journal, struct problem *problem) {
    const struct disk *const disk = journal->disk;
    struct buffer content;
    int file = -1;
    uint64_t const from = journal->offsets[journal->kept_from % JOURNAL_RECORDS_KEPT];
    buffer_init(&content, JOURNAL_SIZE_SOFT_MAX);
    int64_t result = collect(journal, &content);
    if (result == 0) {
        result = put_in_place(disk, buffer_span(&content), &file);
    }
    buffer_free(&content);
    if (is_full(result)) {
        return 0;
    }
    if (result != 0) {
        return os_problem(problem, disk, "writing it anew", result);
    }
    journal_close(journal);
    journal->file = file;
    uint64_t const shift = from - JOURNAL_HEADER_SIZE;
    for (unsigned i = 0; i < JOURNAL_RECORDS_KEPT; i++) {
        journal->offsets[i] -= shift;
    }
    journal->size -= shift;
    return 0;
}

int journal_sync(struct journal *journal, struct problem *problem) {
    if (!journal->dirty) {
        return 0;
    }
    int const result = journal->disk->sync(journal->disk->context, journal->file);
    if (result != 0) {
        return os_problem(problem, journal->disk, "syncing", result);
    }
    journal->dirty = false;
    return journal->size > JOURNAL_SIZE_SOFT_MAX ? rewrite(journal, problem) : 0;
}
