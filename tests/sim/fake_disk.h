/*
 * fake_disk: a directory of files in memory behind ledger/disk.h that misbehaves on demand. It
 * keeps what is durable apart from what was only written, so that a crash can lose, tear or zero
 * the difference; names are durable only after the directory was synced.
 */
#ifndef ONUS_TESTS_SIM_FAKE_DISK_H
#define ONUS_TESTS_SIM_FAKE_DISK_H

#include "ledger/disk.h"

#define FAKE_FILES_MAX 4096u /* over a disk's life: removed files count too */
#define FAKE_NAMES_MAX 64u
#define FAKE_NAME_SIZE 64u
#define FAKE_PENDING_MAX 64u /* changes of names not yet durable */

enum fake_call {
    FAKE_LIST,
    FAKE_OPEN,
    FAKE_READ,
    FAKE_WRITE,
    FAKE_TRUNCATE,
    FAKE_SYNC,
    FAKE_SYNC_DIRECTORY,
    FAKE_RENAME,
    FAKE_REMOVE,
    FAKE_LINK,
    FAKE_CALLS
};

struct fake_file {
    struct buffer live;
    struct buffer durable;
};

struct fake_name {
    char text[FAKE_NAME_SIZE];
    unsigned file;
};

struct fake_names {
    struct fake_name names[FAKE_NAMES_MAX];
    unsigned count;
};

struct fake_disk {
    struct disk disk;
    struct fake_file files[FAKE_FILES_MAX];
    unsigned file_count;
    /* history[0] is durable, history[pending] is what programs see. */
    struct fake_names history[FAKE_PENDING_MAX + 1];
    unsigned pending;
    unsigned handles; /* open ones: a test expects none to be left */

    /* What goes wrong. */
    unsigned calls[FAKE_CALLS];   /* how often each was called */
    unsigned fail_at[FAKE_CALLS]; /* the call of this number fails; 0: none */
    int fail_with[FAKE_CALLS];    /* with this negative errno value */
    uint64_t capacity;            /* bytes of all live files */
    size_t read_size_max;         /* reads and writes come up short of more than this */
    size_t write_size_max;
    unsigned changes;      /* calls that change anything, so far */
    unsigned power_off_at; /* the change of this number is the last that happens; 0: none */
    bool off;
};

/* How a crash treats what was not durable. */
struct fake_crash {
    uint64_t unsynced_kept; /* bytes of each file's tail of news that survive */
    bool rest_zeroed;       /* and after those zeros, up to the size it had */
    unsigned names_kept;    /* changes of names that survive, oldest first */
};

struct fake_disk *fake_disk_new(void);
void fake_disk_free(struct fake_disk *fake);
/* The power goes and comes back: what survives is durable, faults are forgotten. */
void fake_disk_crash(struct fake_disk *fake, const struct fake_crash *crash);
/* A file's bytes, to look at or to damage; NULL when there is no such name. */
struct buffer *fake_disk_content(struct fake_disk *fake, const char *name);
/* Put a file there, durable, replacing what was. */
void fake_disk_put(struct fake_disk *fake, const char *name, struct span content);
/* An independent copy of all files, without the faults. */
struct fake_disk *fake_disk_clone(const struct fake_disk *fake);

#endif
