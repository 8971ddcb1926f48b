/*
 * spill: see spill.h. The file lies in $TMPDIR, else in /var/tmp, which is on a disk, and has no
 * name from the start. Pages are let go with MADV_DONTNEED, which loses nothing of a shared mapping
 * of a file.
 */
#include "audit-tool/spill.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/check.h"

#define SPILL_CAPACITY_MIN ((size_t)64 << 10)
#define SORT_RUN_SIZE ((size_t)1 << 20) /* bytes that are sorted at once, before merging */

void spill_init(struct spill *spill) {
    *spill = (struct spill){.file = -1};
}

void spill_free(struct spill *spill) {
    if (spill->file < 0) {
        free(spill->data);
    } else {
        (void)munmap(spill->data, spill->capacity);
        (void)close(spill->file);
    }
    spill_init(spill);
}

static int open_nameless(void) {
    const char *const wanted = getenv("TMPDIR");
    const char *const directory = wanted != NULL && wanted[0] != '\0' ? wanted : "/var/tmp";
    return open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
}

/* A mapping of `capacity` bytes of the file. Returns: NULL when disk or memory is short. */
static uint8_t *map_file(int file, size_t capacity) {
    if (posix_fallocate(file, 0, (off_t)capacity) != 0) {
        return NULL; /* space is asked for now: a full disk must not show as a fault later */
    }
    void *const data = mmap(NULL, capacity, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    return data == MAP_FAILED ? NULL : data;
}

static bool grow_file(struct spill *spill, size_t capacity) {
    uint8_t *const data = map_file(spill->file, capacity);
    if (data == NULL) {
        return false;
    }
    (void)munmap(spill->data, spill->capacity);
    spill->data = data;
    spill->capacity = capacity;
    return true;
}

static bool move_to_file(struct spill *spill, size_t capacity) {
    int const file = open_nameless();
    uint8_t *const data = file < 0 ? NULL : map_file(file, capacity);
    if (data == NULL) {
        if (file >= 0) {
            (void)close(file);
        }
        return false;
    }
    if (spill->size != 0) {
        memcpy(data, spill->data, spill->size);
    }
    free(spill->data);
    spill->data = data;
    spill->capacity = capacity;
    spill->file = file;
    return true;
}

static bool reserve(struct spill *spill, size_t size) {
    size_t capacity = spill->capacity < SPILL_CAPACITY_MIN ? SPILL_CAPACITY_MIN : spill->capacity;
    while (capacity < size) {
        capacity *= 2;
    }
    if (capacity == spill->capacity) {
        return true;
    }
    if (spill->file >= 0) {
        return grow_file(spill, capacity);
    }
    if (capacity > SPILL_MEMORY_MAX) {
        return move_to_file(spill, capacity);
    }
    uint8_t *const data = realloc(spill->data, capacity);
    if (data == NULL) {
        return false;
    }
    spill->data = data;
    spill->capacity = capacity;
    return true;
}

bool spill_append(struct spill *spill, struct span bytes) {
    if (bytes.size > SIZE_MAX / 4 - spill->size || !reserve(spill, spill->size + bytes.size)) {
        return false;
    }
    if (bytes.size != 0) {
        memcpy(spill->data + spill->size, bytes.data, bytes.size);
    }
    spill->size += bytes.size;
    spill_touch(spill, bytes.size);
    return true;
}

void spill_cut(struct spill *spill, size_t size) {
    CHECK(size <= spill->size);
    spill->size = size;
}

static void let_go(struct spill *spill) {
    if (spill->file >= 0) {
        (void)madvise(spill->data, spill->capacity, MADV_DONTNEED);
    }
    spill->touched = 0;
}

void spill_touch(struct spill *spill, size_t size) {
    spill->touched += size;
    if (spill->touched > SPILL_TOUCHED_MAX) {
        let_go(spill);
    }
}

/* ---- sorting --------------------------------------------------------------------------------- */

struct merge {
    struct spill *from;
    struct spill *to;
    size_t record_size;
    int (*compare)(const void *a, const void *b);
};

/* Two runs that follow each other, of which the second may be short or empty. */
static void merge_runs(const struct merge *merge, size_t first, size_t run_size) {
    struct spill *const from = merge->from;
    size_t const size = merge->record_size;
    size_t const left = from->size - first;
    size_t const middle = first + (run_size < left ? run_size : left);
    size_t const end = first + (run_size < left / 2 ? 2 * run_size : left);
    size_t a = first;
    size_t b = middle;
    for (size_t out = first; out < end; out += size) {
        bool const take_a =
            a < middle && (b >= end || merge->compare(from->data + a, from->data + b) <= 0);
        memcpy(merge->to->data + out, from->data + (take_a ? a : b), size);
        a += take_a ? size : 0;
        b += take_a ? 0 : size;
        spill_touch(from, size);
        spill_touch(merge->to, size);
    }
}

static void sort_runs(struct spill *spill, size_t record_size, size_t run_size,
                      int (*compare)(const void *a, const void *b)) {
    for (size_t first = 0; first < spill->size; first += run_size) {
        size_t const left = spill->size - first;
        qsort(spill->data + first, (run_size < left ? run_size : left) / record_size, record_size,
              compare);
        spill_touch(spill, run_size);
    }
}

bool spill_sort(struct spill *spill, size_t record_size,
                int (*compare)(const void *a, const void *b)) {
    CHECK(record_size != 0 && spill->size % record_size == 0);
    size_t run_size = SORT_RUN_SIZE - SORT_RUN_SIZE % record_size;
    struct spill other;
    spill_init(&other);
    if (spill->size > run_size && !reserve(&other, spill->size)) {
        spill_free(&other);
        return false;
    }
    other.size = spill->size;
    sort_runs(spill, record_size, run_size, compare);
    for (; run_size < spill->size; run_size *= 2) {
        struct merge const merge = {
            .from = spill, .to = &other, .record_size = record_size, .compare = compare};
        for (size_t first = 0; first < spill->size; first += 2 * run_size) {
            merge_runs(&merge, first, run_size);
        }
        struct spill const swap = *spill;
        *spill = other;
        other = swap;
    }
    let_go(spill);
    spill_free(&other);
    return true;
}
