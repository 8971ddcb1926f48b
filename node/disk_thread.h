/*
 * disk_thread: the one thread that writes the ledger and the journal (protocol §5, "Durable before
 * a nonce"; group commit).
 *
 * Commands are queued by the loop, each with its disk position, and carried out in order. The
 * thread takes all that wait at once, writes them with as few writes as it can, syncs each file
 * once, and then reports the last position as durable. A record of the journal is written only
 * after the ledger it speaks of is durable: a crash in between leaves a longer ledger, never a
 * journal that remembers more than the ledger holds. The ledger's sync starts when a batch is
 * queued, while its prepares travel, so a nonce waits for one sync, that of its record.
 *
 * The ledger's tail is replaced all or nothing (segment_writer_replace): the thread begins when all
 * of the new tail is queued and everything before it is durable, records too, and reports none of
 * it before all of it is durable.
 *
 * A sync that fails ends the process with a line that says so: nobody knows what the file holds
 * then (§5). A full disk does not: the thread tries again every DISK_RETRY_MS, nothing becomes
 * durable meanwhile, and so no nonce leaves.
 */
#ifndef ONUS_NODE_DISK_THREAD_H
#define ONUS_NODE_DISK_THREAD_H

#include <uv.h>

#include "ledger/segment.h"
#include "node/journal.h"

struct disk_thread;

struct disk_thread_options {
    uv_loop_t *loop;
    struct segment_writer *ledger; /* both are the thread's from now on, until it is stopped */
    struct journal *journal;       /* NULL: it is missing, nothing is signed, records are dropped */
    void (*on_durable)(void *context, uint64_t position); /* on the loop */
    void *context;
};

/* Start it. Returns: NULL with a problem. */
MUST_USE struct disk_thread *disk_thread_start(const struct disk_thread_options *options,
                                               struct problem *problem);
/* Carry out what is queued (but do not wait for a full disk), then end the thread and free it. */
void disk_thread_stop(struct disk_thread *thread);

/*
 * Queue a command; bytes are copied. Positions ascend. Nothing happens before disk_thread_flush.
 * Returns: false when memory is exhausted.
 */
MUST_USE bool disk_thread_append(struct disk_thread *thread, uint64_t position,
                                 const struct entry *entry, bool batch_end);
/*
 * Keep `entries` entries of the ledger, and put in place of the others what is appended next, up to
 * position `upto`, with which a batch ends. `upto` equal to `position`: nothing comes in its place.
 */
MUST_USE bool disk_thread_replace(struct disk_thread *thread, uint64_t position, uint64_t entries,
                                  uint64_t upto);
MUST_USE bool disk_thread_journal(struct disk_thread *thread, uint64_t position,
                                  enum journal_role role, struct span encoded);
/* Wake the thread if anything was queued since the last flush. */
void disk_thread_flush(struct disk_thread *thread);

/* Bytes that wait to become durable. */
size_t disk_thread_backlog(const struct disk_thread *thread);
/* Is it waiting for space on the disk? */
bool disk_thread_is_full(const struct disk_thread *thread);
/* Bytes of the ledger's files. */
uint64_t disk_thread_ledger_size(const struct disk_thread *thread);
/* Older entries of so many bytes were put in front of the ledger. */
void disk_thread_grew(struct disk_thread *thread, uint64_t size);

/*
 * For who reads the ledger's files on another thread: twice the number of replacements of its tail
 * that are done, and one more while one is under way. What was read is the ledger as it was after
 * n of them if this was 2 n before the first byte was read, and is so still after the last.
 */
uint64_t disk_thread_ledger_version(const struct disk_thread *thread);

#endif
