/*
 * spill: a list of bytes that grows without a bound while memory does not: beyond a limit it lies
 * in a file without a name, which goes with the process, and the kernel keeps of it what is in use.
 *
 * The list is one run of bytes in any case; what it points to moves only when it grows.
 */
#ifndef ONUS_AUDIT_TOOL_SPILL_H
#define ONUS_AUDIT_TOOL_SPILL_H

#include "base/bytes.h"

#define SPILL_MEMORY_MAX ((size_t)8 << 20)  /* bytes of one list; beyond this it is a file */
#define SPILL_TOUCHED_MAX ((size_t)8 << 20) /* bytes of a file that stay in memory, or so */

struct spill {
    uint8_t *data;
    size_t size;
    size_t capacity;
    int file;       /* or negative: in memory */
    size_t touched; /* bytes walked over since spill_rest */
};

void spill_init(struct spill *spill);
void spill_free(struct spill *spill);
/* Returns: false when memory or disk is short; the content is then unchanged. */
MUST_USE bool spill_append(struct spill *spill, struct span bytes);
/* Keep the first `size` bytes, at most what there is. */
void spill_cut(struct spill *spill, size_t size);
/* So many bytes were looked at: now and then, let go of the pages. Nothing moves. */
void spill_touch(struct spill *spill, size_t size);

/*
 * Sort records of one size; equal ones keep their order. Works through the list from front to back
 * again and again, and needs a second one of the same size meanwhile.
 * Returns: false when memory or disk is short; the content is then unchanged.
 */
MUST_USE bool spill_sort(struct spill *spill, size_t record_size,
                         int (*compare)(const void *a, const void *b));

#endif
