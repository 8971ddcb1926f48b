/*
 * chain_store: see chain_store.h. Invariant while it is open: the first `size` bytes of the file
 * are a header and good links, one for each end, and `chain` stands behind the last.
 */
#include "node/chain_store.h"

#include <errno.h>
#include <string.h>

#include "base/check.h"
#include "host/disk.h"
#include "ledger/wire.h"

#define SIZE_BYTES 4u
#define HEADER_SIZE_MAX (sizeof CHAIN_FILE_MAGIC + SIZE_BYTES + CHAIN_HEADER_SIZE_MAX)

void chain_store_init(struct chain_store *store, const struct disk *disk,
                      const struct digest *service, struct span genesis,
                      const _Atomic bool *stopping) {
    *store = (struct chain_store){
        .disk = disk, .service = *service, .genesis = genesis, .stopping = stopping};
    buffer_init(&store->ends, CHAIN_LINKS_MAX * sizeof(uint64_t));
}

void chain_store_free(struct chain_store *store) {
    chain_free(store->chain);
    store->chain = NULL;
    buffer_free(&store->ends);
}

static int os_problem(struct problem *problem, const struct disk *disk, const char *doing,
                      int64_t result) {
    return problem_set(problem, EXIT_ERROR, "%s/" CHAIN_NAME ": %s: %s; check the disk",
                       disk->place, doing, strerror((int)-result));
}

static int out_of_memory(struct problem *problem, const struct disk *disk) {
    return problem_set(problem, EXIT_ERROR, "%s/" CHAIN_NAME ": out of memory", disk->place);
}

/* ---- reading --------------------------------------------------------------------------------- */

/* Append `size` bytes at offset. Returns: 0, or a negative errno value; -EIO when there are less.
 */
static int64_t read_whole(struct buffer *out, const struct disk *disk, int file, uint64_t offset,
                          size_t size) {
    uint8_t *const room = buffer_extend(out, size);
    size_t done = 0;
    if (room == NULL && size != 0) {
        return -ENOMEM;
    }
    while (done < size) {
        int64_t const got =
            disk->read_at(disk->context, file, room + done, size - done, offset + done);
        if (got <= 0) {
            return got == 0 ? -EIO : got;
        }
        done += (size_t)got;
    }
    return 0;
}

int chain_piece_read(struct buffer *out, const struct disk *disk, const struct chain_piece *piece,
                     struct problem *problem) {
    int const file = disk->open(disk->context, CHAIN_NAME, DISK_READ);
    if (file < 0) {
        return os_problem(problem, disk, "reading", file);
    }
    int64_t const result = read_whole(out, disk, file, piece->offset, piece->size);
    disk->close(disk->context, file);
    return result == 0 ? 0 : os_problem(problem, disk, "reading", result);
}

static uint64_t end_at(struct span ends, uint64_t nth) {
    uint64_t end = 0;
    memcpy(&end, ends.data + nth * sizeof end, sizeof end);
    return end;
}

struct chain_piece chain_piece_choose(uint64_t first, struct span ends, uint64_t nth) {
    uint64_t const count = ends.size / sizeof(uint64_t);
    uint64_t const offset = nth == 0 ? first : end_at(ends, nth - 1);
    uint64_t next = nth;
    uint64_t end = offset;
    size_t message_size = 0;
    CHECK(nth < count);
    while (next < count && next - nth < WIRE_LINKS_MAX) {
        message_size += (size_t)(end_at(ends, next) - end) - SIZE_BYTES + WIRE_LINK_EXTRA;
        if (message_size > WIRE_LINKS_SIZE_MAX) {
            break;
        }
        end = end_at(ends, next);
        next++;
    }
    return (struct chain_piece){
        .offset = offset, .size = (size_t)(end - offset), .link_count = (uint32_t)(next - nth)};
}

/* Does the file begin as it must? Sets store->size behind the header. Returns: as read_whole. */
static int64_t read_header(struct chain_store *store, int file, uint64_t file_size) {
    struct buffer expected;
    struct buffer found;
    int64_t result = 0;
    buffer_init(&expected, HEADER_SIZE_MAX);
    buffer_init(&found, HEADER_SIZE_MAX);
    if (!chain_file_begin(&expected, store->genesis)) {
        result = -ENOMEM;
    } else if (file_size >= expected.size) {
        result = read_whole(&found, store->disk, file, 0, expected.size);
    }
    if (result == 0 && span_equal(buffer_span(&expected), buffer_span(&found))) {
        store->size = found.size;
        store->first = found.size;
    }
    buffer_free(&found);
    buffer_free(&expected);
    return result;
}

/* Append the bytes of the next link. Returns: 1; 0 when there is no whole one; negative: errno. */
static int64_t read_link(struct buffer *link, const struct chain_store *store, int file,
                         uint64_t file_size) {
    uint64_t const left = file_size - store->size;
    uint8_t bytes[SIZE_BYTES];
    struct buffer size_bytes;
    if (left < SIZE_BYTES) {
        return 0;
    }
    buffer_init_on(&size_bytes, bytes, sizeof bytes);
    int64_t result = read_whole(&size_bytes, store->disk, file, store->size, SIZE_BYTES);
    if (result != 0) {
        return result;
    }
    size_t const size = load_u32_be(bytes);
    if (size > CHAIN_LINK_SIZE_MAX || size > left - SIZE_BYTES) {
        return 0;
    }
    result = read_whole(link, store->disk, file, store->size + SIZE_BYTES, size);
    return result == 0 ? 1 : result;
}

static uint64_t link_count(const struct chain_store *store) {
    return store->ends.size / sizeof(uint64_t);
}

/* A link that holds ends here. */
static bool end_add(struct chain_store *store, uint64_t end) {
    store->size = end;
    return buffer_append(&store->ends, span_of(&end, sizeof end));
}

/* Take links while they hold. Returns: 0, or a negative errno value. */
static int64_t read_links(struct chain_store *store, int file, uint64_t file_size) {
    struct buffer link;
    int64_t result = 1;
    buffer_init(&link, CHAIN_LINK_SIZE_MAX);
    while (result == 1 && link_count(store) < CHAIN_LINKS_MAX) {
        if (atomic_load(store->stopping)) {
            result = -ECANCELED;
            break;
        }
        buffer_clear(&link);
        result = read_link(&link, store, file, file_size);
        if (result != 1) {
            break;
        }
        struct chain_verdict const verdict = chain_add(store->chain, buffer_span(&link));
        if (verdict.check == CHAIN_VALID) {
            result = end_add(store, store->size + SIZE_BYTES + link.size) ? 1 : -ENOMEM;
        } else {
            result = verdict.check == CHAIN_MEMORY ? -ENOMEM : 0;
        }
    }
    buffer_free(&link);
    return result < 0 ? result : 0;
}

/* What lies behind the last good link goes. */
static int64_t cut(const struct chain_store *store) {
    const struct disk *const disk = store->disk;
    int const file = disk->open(disk->context, CHAIN_NAME, DISK_WRITE);
    if (file < 0) {
        return file;
    }
    int64_t result = disk->truncate(disk->context, file, store->size);
    result = result != 0 ? result : disk->sync(disk->context, file);
    disk->close(disk->context, file);
    return result;
}

static int64_t read_file(struct chain_store *store) {
    const struct disk *const disk = store->disk;
    int const file = disk->open(disk->context, CHAIN_NAME, DISK_READ);
    if (file < 0) {
        return file == -ENOENT ? 0 : file;
    }
    int64_t result = disk->size(disk->context, file);
    uint64_t const file_size = result < 0 ? 0 : (uint64_t)result;
    if (result >= 0) {
        result = read_header(store, file, file_size);
    }
    if (result == 0 && store->size != 0) {
        result = read_links(store, file, file_size);
    }
    disk->close(disk->context, file);
    if (result == 0 && store->size != file_size) {
        store->was_damaged = true;
        /* One with a bad header is replaced when there is something to put down. */
        result = store->size == 0 ? 0 : cut(store);
    }
    return result;
}

int chain_store_open(struct chain_store *store, struct problem *problem) {
    chain_free(store->chain);
    store->size = 0;
    store->was_damaged = false;
    buffer_clear(&store->ends);
    store->chain = chain_new(&store->service, store->genesis, problem);
    if (store->chain == NULL) {
        return -1;
    }
    int64_t const result = read_file(store);
    if (result == 0) {
        return 0;
    }
    chain_free(store->chain);
    store->chain = NULL;
    if (result == -ECANCELED) {
        return -1;
    }
    return result == -ENOMEM ? out_of_memory(problem, store->disk)
                             : os_problem(problem, store->disk, "reading", result);
}

/* ---- writing --------------------------------------------------------------------------------- */

/* Write bytes at the end of a file, durably. */
static int64_t write_synced(const struct disk *disk, const char *name, enum disk_mode mode,
                            struct span bytes, uint64_t offset) {
    int const file = disk->open(disk->context, name, mode);
    if (file < 0) {
        return file;
    }
    int64_t result = disk_write_whole(disk, file, bytes, offset);
    result = result != 0 ? result : disk->sync(disk->context, file);
    disk->close(disk->context, file);
    return result;
}

/* Begin the file, in the place of one that is no such thing. */
static int64_t begin(struct chain_store *store) {
    const struct disk *const disk = store->disk;
    struct buffer header;
    buffer_init(&header, HEADER_SIZE_MAX);
    int64_t result = chain_file_begin(&header, store->genesis) ? 0 : -ENOMEM;
    if (result == 0) {
        result = write_synced(disk, CHAIN_NEW_NAME, DISK_CREATE, buffer_span(&header), 0);
    }
    result = result != 0 ? result : disk->rename(disk->context, CHAIN_NEW_NAME, CHAIN_NAME);
    result = result != 0 ? result : disk->sync_directory(disk->context);
    store->size = result == 0 ? header.size : 0;
    store->first = store->size;
    buffer_free(&header);
    return result;
}

static int64_t put_down(struct chain_store *store, struct span link) {
    struct buffer record;
    buffer_init(&record, CHAIN_LINK_SIZE_MAX + SIZE_BYTES);
    int64_t result = chain_file_append(&record, link) ? 0 : -ENOMEM;
    if (result == 0 && store->size == 0) {
        result = begin(store);
    }
    if (result == 0 && record.size > CHAIN_SIZE_MAX - store->size) {
        result = -EFBIG;
    }
    if (result == 0) {
        result =
            write_synced(store->disk, CHAIN_NAME, DISK_WRITE, buffer_span(&record), store->size);
    }
    if (result == 0 && !end_add(store, store->size + record.size)) {
        result = -ENOMEM;
    }
    buffer_free(&record);
    return result;
}

int chain_store_append(struct chain_store *store, struct span link, struct problem *problem) {
    struct chain_verdict verdict;
    CHECK(link_count(store) < CHAIN_LINKS_MAX);
    if (chain_store_take(store, link, &verdict, problem) != 0) {
        return -1;
    }
    return verdict.check == CHAIN_VALID
               ? 0
               : problem_set(problem, EXIT_CORRUPT, "%s/" CHAIN_NAME ": the next link: %s%s%s",
                             store->disk->place, chain_check_text(verdict.check),
                             verdict.detail == NULL ? "" : ": ",
                             verdict.detail == NULL ? "" : verdict.detail);
}

int chain_store_take(struct chain_store *store, struct span link, struct chain_verdict *verdict,
                     struct problem *problem) {
    CHECK(store->chain != NULL);
    *verdict = chain_add(store->chain, link);
    if (verdict->check == CHAIN_MEMORY) {
        return out_of_memory(problem, store->disk);
    }
    if (verdict->check != CHAIN_VALID) {
        return 0;
    }
    int64_t const result = put_down(store, link);
    if (result == 0) {
        return 0;
    }
    return result == -ENOMEM ? out_of_memory(problem, store->disk)
                             : os_problem(problem, store->disk, "writing", result);
}
