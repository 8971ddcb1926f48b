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
#include "host/disk.h"

#define VERSION 2u
#define CHECK_SIZE 8u
#define CHECKED_HEADER_SIZE (JOURNAL_HEADER_SIZE - CHECK_SIZE)
#define READ_SIZE ((size_t)256 << 10)

static const uint8_t magic[8] = "ONUSJRN";

static_assert((JOURNAL_RECORDS_KEPT + 1) * (JOURNAL_RECORD_SIZE_MAX + JOURNAL_RECORD_HEADER_SIZE) +
                      JOURNAL_HEADER_SIZE <=
                  JOURNAL_SIZE_SOFT_MAX,
              "what a rewrite keeps is below the size that asks for one");

enum journal_role journal_role_of(enum journal_kind kind) {
    switch (kind) {
    case JOURNAL_NONCE:
    case JOURNAL_PREPARED:
        return JOURNAL_PROMISE;
    case JOURNAL_VIEW:
    case JOURNAL_STARTED:
    case JOURNAL_STOPPED:
        return JOURNAL_STANDING;
    }
    UNREACHABLE();
}

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

static bool is_full(int64_t result) {
    return result == -ENOSPC || result == -EDQUOT;
}

/* Write a whole journal beside the old one, sync it, and let it take the name. */
static int64_t put_in_place(const struct disk *disk, struct span content, int *file) {
    int const opened = disk->open(disk->context, JOURNAL_NEW_NAME, DISK_CREATE);
    if (opened < 0) {
        return opened;
    }
    int64_t result = disk_write_whole(disk, opened, content, 0);
    if (result == 0) {
        result = disk->sync(disk->context, opened);
    }
    if (result == 0) {
        result = disk->rename(disk->context, JOURNAL_NEW_NAME, JOURNAL_NAME);
    }
    if (result == 0) {
        result = disk->sync_directory(disk->context);
        result = is_full(result) ? -EIO : result; /* it has the name: there is no way back */
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

/* A record of this role was put at the end of the file. */
static void remember(struct journal *journal, enum journal_role role, size_t payload_size) {
    switch (role) {
    case JOURNAL_PROMISE:
        journal->promises[journal->promise_count % JOURNAL_RECORDS_KEPT] = journal->size;
        journal->promise_count++;
        break;
    case JOURNAL_STANDING:
        journal->standing = journal->size;
        break;
    }
    journal->next_number++;
    journal->size += JOURNAL_RECORD_HEADER_SIZE + payload_size;
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
        remember(journal, visit(context, payload), payload.size);
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

enum journal_result journal_append(struct journal *journal, enum journal_role role,
                                   struct span payload, struct problem *problem) {
    const struct disk *const disk = journal->disk;
    uint8_t record[JOURNAL_RECORD_HEADER_SIZE + JOURNAL_RECORD_SIZE_MAX];
    CHECK(payload.size > 0 && payload.size <= JOURNAL_RECORD_SIZE_MAX);
    record_header_encode(record, &journal->owner.service, journal->next_number, payload);
    memcpy(record + JOURNAL_RECORD_HEADER_SIZE, payload.data, payload.size);
    struct span const bytes = span_of(record, JOURNAL_RECORD_HEADER_SIZE + payload.size);
    int64_t const result = disk_write_whole(disk, journal->file, bytes, journal->size);
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
    remember(journal, role, payload.size);
    journal->dirty = true;
    return JOURNAL_OK;
}

/* The whole of the file as it is. Returns: 0 or a negative errno value. */
static int64_t read_back(const struct journal *journal, struct buffer *out) {
    const struct disk *const disk = journal->disk;
    uint8_t *const bytes = buffer_extend(out, (size_t)journal->size);
    size_t done = 0;
    if (bytes == NULL) {
        return -ENOMEM;
    }
    while (done < journal->size) {
        int64_t const got = disk->read_at(disk->context, journal->file, bytes + done,
                                          (size_t)journal->size - done, done);
        if (got <= 0) {
            return got == 0 ? -EIO : got;
        }
        done += (size_t)got;
    }
    return 0;
}

/* Put one record of the old file at the end of the new one, under its new number. */
static bool carry_over(struct journal *next, struct buffer *content, enum journal_role role,
                       const uint8_t *record) {
    uint8_t header[JOURNAL_RECORD_HEADER_SIZE];
    struct span const payload = span_of(record + sizeof header, load_u32_be(record));
    record_header_encode(header, &next->owner.service, next->next_number, payload);
    remember(next, role, payload.size);
    return buffer_append(content, span_of(header, sizeof header)) &&
           buffer_append(content, payload);
}

/*
 * What matters of the old file, in its order: the standing record stays before the promises that
 * were made after it, and last when it is the last. Returns: false when out of memory.
 */
static bool collect(struct journal *next, struct buffer *content, const struct journal *journal,
                    const uint8_t *old) {
    uint64_t const count = journal->promise_count;
    uint64_t const first = count < JOURNAL_RECORDS_KEPT ? 0 : count - JOURNAL_RECORDS_KEPT;
    uint64_t const kept = count - first + (journal->standing == 0 ? 0 : 1);
    bool standing_due = journal->standing != 0;
    uint8_t *const header = buffer_extend(content, JOURNAL_HEADER_SIZE);
    if (header == NULL) {
        return false;
    }
    next->next_number = journal->next_number - kept;
    next->size = JOURNAL_HEADER_SIZE;
    header_encode(header, &journal->owner, next->next_number);
    bool good = true;
    for (uint64_t i = first; good && i < count; i++) {
        uint64_t const offset = journal->promises[i % JOURNAL_RECORDS_KEPT];
        if (standing_due && journal->standing < offset) {
            standing_due = false;
            good = carry_over(next, content, JOURNAL_STANDING, old + journal->standing);
        }
        good = good && carry_over(next, content, JOURNAL_PROMISE, old + offset);
    }
    return good &&
           (!standing_due || carry_over(next, content, JOURNAL_STANDING, old + journal->standing));
}

/* A full disk only puts this off: the old file is still the journal. */
static int rewrite(struct journal *journal, struct problem *problem) {
    struct journal next = {.disk = journal->disk, .owner = journal->owner, .file = -1};
    struct buffer old;
    struct buffer content;
    buffer_init(&old, JOURNAL_SIZE_MAX);
    buffer_init(&content, JOURNAL_SIZE_SOFT_MAX);
    int64_t result = read_back(journal, &old);
    if (result == 0 && !collect(&next, &content, journal, old.data)) {
        result = -ENOMEM;
    }
    if (result == 0) {
        result = put_in_place(journal->disk, buffer_span(&content), &next.file);
    }
    buffer_free(&content);
    buffer_free(&old);
    if (is_full(result)) {
        return 0;
    }
    if (result != 0) {
        return os_problem(problem, journal->disk, "writing it anew", result);
    }
    journal_close(journal);
    *journal = next;
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
