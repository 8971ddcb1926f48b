/*
 * segment: the format of the ledger's files: names, headers, checks, and the list of a directory.
 * See segment.h; the reader and the writer have files of their own.
 */
#include "ledger/segment.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/hash.h"
#include "ledger/segment_format.h"

#define INDEX_DIGITS_MIN 12u
#define INDEX_DIGITS_MAX 19u
#define INDEX_MAX ((uint64_t)INT64_MAX) /* entries are the leaves of M and more; §2 */
#define SUFFIX ".seg"
#define OPEN_TEXT "open"

#define HEADER_CHECK_OFFSET (SEGMENT_HEADER_SIZE - SEGMENT_CHECK_SIZE)
#define HEADER_SERVICE_OFFSET 16u
#define HEADER_FIRST_OFFSET 48u

static_assert(HEADER_SERVICE_OFFSET + DIGEST_SIZE == HEADER_FIRST_OFFSET, "the header is dense");
static_assert(HEADER_FIRST_OFFSET + 8 == HEADER_CHECK_OFFSET, "the header is dense");
static_assert(2 * INDEX_DIGITS_MAX + sizeof "-.seg" <= SEGMENT_NAME_SIZE, "the longest name fits");

static const uint8_t magic[8] = "ONUSSEG";

/* ---- problems ---- */

static const char *error_text(int64_t result) {
    switch (-result) {
    case ENOSPC:
        return "no space left on the disk";
    case EIO:
        return "input/output error of the disk";
    case EACCES:
    case EPERM:
        return "permission denied";
    case ENOENT:
        return "no such file";
    case EROFS:
        return "read-only";
    case EMFILE:
    case ENFILE:
        return "too many open files";
    default:
        return "refused by the operating system";
    }
}

int segment_problem_os(struct problem *problem, const struct disk *disk, const char *file_name,
                       const char *doing, int64_t result) {
    return problem_set(problem, EXIT_ERROR, "%s/%s: %s: %s (errno %" PRId64 ")", disk->place,
                       file_name, doing, error_text(result), -result);
}

/* ---- names ---- */

static size_t index_format(char *text, uint64_t index) {
    char reversed[20];
    size_t count = 0;
    while (index != 0 || count < INDEX_DIGITS_MIN) {
        reversed[count++] = (char)('0' + index % 10);
        index /= 10;
    }
    for (size_t i = 0; i < count; i++) {
        text[i] = reversed[count - 1 - i];
    }
    return count;
}

void segment_name_format(char text[static SEGMENT_NAME_SIZE], const struct segment_name *name) {
    CHECK(name->first <= INDEX_MAX && (name->open || name->last <= INDEX_MAX));
    size_t at = index_format(text, name->first);
    text[at++] = '-';
    if (name->open) {
        memcpy(text + at, OPEN_TEXT, sizeof OPEN_TEXT - 1);
        at += sizeof OPEN_TEXT - 1;
    } else {
        at += index_format(text + at, name->last);
    }
    memcpy(text + at, SUFFIX, sizeof SUFFIX);
}

/* Returns: how many digits were read; 0 when there is no index. */
static size_t index_parse(uint64_t *index, const char *text) {
    uint64_t value = 0;
    size_t count = 0;
    while (text[count] >= '0' && text[count] <= '9') {
        if (count == INDEX_DIGITS_MAX) {
            return 0;
        }
        value = value * 10 + (uint64_t)(text[count] - '0');
        count++;
    }
    *index = value;
    return value <= INDEX_MAX ? count : 0;
}

bool segment_name_parse(struct segment_name *name, const char *text) {
    *name = (struct segment_name){0};
    size_t at = index_parse(&name->first, text);
    if (at == 0 || text[at] != '-') {
        return false;
    }
    at++;
    name->open = strncmp(text + at, OPEN_TEXT, sizeof OPEN_TEXT - 1) == 0;
    if (!name->open && (index_parse(&name->last, text + at) == 0 || name->last < name->first)) {
        return false;
    }
    char canonical[SEGMENT_NAME_SIZE];
    segment_name_format(canonical, name);
    return strcmp(canonical, text) == 0;
}

/* ---- headers and records ---- */

static void check_store(uint8_t out[static SEGMENT_CHECK_SIZE], const struct digest *digest) {
    memcpy(out, digest->bytes, SEGMENT_CHECK_SIZE);
}

void segment_header_encode(uint8_t out[static SEGMENT_HEADER_SIZE], const struct digest *service,
                           uint64_t first) {
    memcpy(out, magic, sizeof magic);
    store_u32_be(out + 8, SEGMENT_VERSION);
    store_u32_be(out + 12, 0);
    memcpy(out + HEADER_SERVICE_OFFSET, service->bytes, DIGEST_SIZE);
    store_u64_be(out + HEADER_FIRST_OFFSET, first);
    struct digest const digest =
        hash_labelled(LABEL_SEGMENT, service, span_of(out, HEADER_CHECK_OFFSET));
    check_store(out + HEADER_CHECK_OFFSET, &digest);
}

bool record_kind_valid(uint32_t kind) {
    return kind >= ENTRY_GENESIS && kind <= ENTRY_NEW_VIEW;
}

void record_check_compute(uint8_t out[static SEGMENT_CHECK_SIZE], const struct digest *service,
                          uint64_t index, uint32_t kind, struct span payload) {
    struct hash_state state;
    hash_init_labelled(&state, LABEL_RECORD, service);
    hash_update_u64(&state, index);
    hash_update_u32(&state, kind);
    hash_update_u32(&state, (uint32_t)payload.size);
    hash_update(&state, payload);
    struct digest const digest = hash_final(&state);
    check_store(out, &digest);
}

void record_header_encode(uint8_t out[static RECORD_HEADER_SIZE], const struct digest *service,
                          uint64_t index, const struct entry *entry) {
    CHECK(entry->payload.size <= ENTRY_SIZE_MAX && record_kind_valid((uint32_t)entry->kind));
    store_u32_be(out, (uint32_t)entry->payload.size);
    store_u32_be(out + 4, (uint32_t)entry->kind);
    record_check_compute(out + 8, service, index, (uint32_t)entry->kind, entry->payload);
}

/* Returns: how many bytes of the header there are, or a negative result of the disk. */
static int64_t header_read(const struct disk *disk, int file,
                           uint8_t out[static SEGMENT_HEADER_SIZE]) {
    size_t have = 0;
    while (have < SEGMENT_HEADER_SIZE) {
        int64_t const got =
            disk->read_at(disk->context, file, out + have, SEGMENT_HEADER_SIZE - have, have);
        if (got < 0) {
            return got;
        }
        if (got == 0) {
            break;
        }
        have += (size_t)got;
    }
    return (int64_t)have;
}

static int header_check(const struct disk *disk, const char *text, const struct segment_name *name,
                        const uint8_t header[static SEGMENT_HEADER_SIZE], int64_t header_size,
                        const struct digest *service, struct problem *problem) {
    struct digest own;
    memcpy(own.bytes, header + HEADER_SERVICE_OFFSET, DIGEST_SIZE);
    struct digest const digest =
        hash_labelled(LABEL_SEGMENT, &own, span_of(header, HEADER_CHECK_OFFSET));
    if (header_size < (int64_t)SEGMENT_HEADER_SIZE || memcmp(header, magic, sizeof magic) != 0 ||
        memcmp(header + HEADER_CHECK_OFFSET, digest.bytes, SEGMENT_CHECK_SIZE) != 0) {
        return problem_set(problem, EXIT_CORRUPT,
                           "%s/%s: offset 0: the header is damaged; restore the file from a copy",
                           disk->place, text);
    }
    if (load_u32_be(header + 8) != SEGMENT_VERSION || load_u32_be(header + 12) != 0) {
        return problem_set(problem, EXIT_CANNOT_AUDIT,
                           "%s/%s: written in version %u of the format, this program knows %u",
                           disk->place, text, load_u32_be(header + 8), SEGMENT_VERSION);
    }
    if (!digest_equal(&own, service)) {
        char of[2 * DIGEST_SIZE + 1];
        char wanted[2 * DIGEST_SIZE + 1];
        hex_encode(of, span_of(own.bytes, DIGEST_SIZE));
        hex_encode(wanted, span_of(service->bytes, DIGEST_SIZE));
        return problem_set(problem, EXIT_INVALID,
                           "%s/%s: belongs to the ledger of service %s, not of %s", disk->place,
                           text, of, wanted);
    }
    if (load_u64_be(header + HEADER_FIRST_OFFSET) != name->first) {
        return problem_set(problem, EXIT_CORRUPT,
                           "%s/%s: offset 0: by its header the first entry is %" PRIu64
                           ": the file was renamed or misplaced",
                           disk->place, text, load_u64_be(header + HEADER_FIRST_OFFSET));
    }
    return 0;
}

int segment_file_open(int *file, uint64_t *file_size, const struct disk *disk,
                      const struct segment_name *name, enum disk_mode mode,
                      const struct digest *service, struct problem *problem) {
    char text[SEGMENT_NAME_SIZE];
    segment_name_format(text, name);
    int const opened = disk->open(disk->context, text, mode);
    if (opened == -ENOENT) {
        return 0;
    }
    if (opened < 0) {
        return segment_problem_os(problem, disk, text, "opening", opened);
    }
    uint8_t header[SEGMENT_HEADER_SIZE] = {0};
    int64_t const size = disk->size(disk->context, opened);
    int64_t const got = size < 0 ? size : header_read(disk, opened, header);
    int result = got < 0 ? segment_problem_os(problem, disk, text, "reading", got)
                         : header_check(disk, text, name, header, got, service, problem);
    if (result != 0) {
        disk->close(disk->context, opened);
        return result;
    }
    *file = opened;
    *file_size = (uint64_t)size;
    return 1;
}

/* ---- the list of a directory ---- */

struct list_visit {
    struct segment_list *list;
    bool exhausted;
    char misnamed[SEGMENT_NAME_SIZE];
};

static bool list_add(void *argument, const char *text) {
    struct list_visit *const visit = argument;
    struct segment_list *const list = visit->list;
    size_t const length = strlen(text);
    if (length < sizeof SUFFIX - 1 || strcmp(text + length - (sizeof SUFFIX - 1), SUFFIX) != 0) {
        return true; /* not ours, or SEGMENT_NEW_NAME */
    }
    struct segment_name name;
    if (!segment_name_parse(&name, text)) {
        size_t const shown = length < SEGMENT_NAME_SIZE ? length : SEGMENT_NAME_SIZE - 1;
        memcpy(visit->misnamed, text, shown);
        visit->misnamed[shown] = '\0';
        return false;
    }
    if (list->count == list->capacity) {
        size_t const capacity = list->capacity == 0 ? 16 : 2 * list->capacity;
        struct segment_name *const grown =
            capacity > SEGMENTS_MAX ? NULL : realloc(list->names, capacity * sizeof *grown);
        if (grown == NULL) {
            visit->exhausted = true;
            return false;
        }
        list->names = grown;
        list->capacity = capacity;
    }
    list->names[list->count++] = name;
    return true;
}

static int name_order(const void *a, const void *b) {
    const struct segment_name *const left = a;
    const struct segment_name *const right = b;
    if (left->first != right->first) {
        return left->first < right->first ? -1 : 1;
    }
    return (int)left->open - (int)right->open;
}

/* Each file must start where the one before it ends; only the last may be open. */
static int list_check(const struct segment_list *list, const struct disk *disk,
                      struct problem *problem) {
    for (size_t i = 1; i < list->count; i++) {
        const struct segment_name *const before = &list->names[i - 1];
        const struct segment_name *const after = &list->names[i];
        char before_text[SEGMENT_NAME_SIZE];
        char after_text[SEGMENT_NAME_SIZE];
        segment_name_format(before_text, before);
        segment_name_format(after_text, after);
        if (before->open || after->first <= before->last) {
            return problem_set(problem, EXIT_CORRUPT,
                               "%s/%s: offset 0: overlaps with %s: two files claim the same "
                               "entries; remove the one that does not belong",
                               disk->place, after_text, before_text);
        }
        if (after->first != before->last + 1) {
            return problem_set(problem, EXIT_CORRUPT,
                               "%s/%s: offset 0: entries %" PRIu64 " to %" PRIu64
                               " are missing before it (%s is the file before); restore them",
                               disk->place, after_text, before->last + 1, after->first - 1,
                               before_text);
        }
    }
    return 0;
}

static int list_read_once(struct segment_list *list, const struct disk *disk,
                          struct problem *problem) {
    struct list_visit visit = {.list = list};
    list->count = 0;
    int const result = disk->list(disk->context, list_add, &visit);
    if (result < 0) {
        return segment_problem_os(problem, disk, ".", "listing", result);
    }
    if (visit.misnamed[0] != '\0') {
        return problem_set(problem, EXIT_CORRUPT, "%s/%s: offset 0: not the name of a segment file",
                           disk->place, visit.misnamed);
    }
    if (visit.exhausted) {
        return problem_set(problem, EXIT_ERROR, "%s: too many segment files, or out of memory",
                           disk->place);
    }
    if (list->count > 1) {
        qsort(list->names, list->count, sizeof *list->names, name_order);
    }
    return list_check(list, disk, problem);
}

int segment_list_read(struct segment_list *list, const struct disk *disk, struct problem *problem) {
    struct problem last = {0};
    for (unsigned attempt = 0; attempt < SEGMENT_LIST_ATTEMPTS_MAX; attempt++) {
        last = (struct problem){0};
        if (list_read_once(list, disk, &last) == 0) {
            return 0;
        }
    }
    return problem_set(problem, last.code, "%s", last.text);
}

void segment_list_free(struct segment_list *list) {
    free(list->names);
    *list = (struct segment_list){0};
}
