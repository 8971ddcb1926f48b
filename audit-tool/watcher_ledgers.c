/*
 * watcher_ledgers: the directories of ledgers that a watcher looks at: those it was told, and those
 * the replicas' ledgers are fetched into. What is noted of each goes by its path.
 */
#include <dirent.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "audit-tool/watcher_internal.h"

#define NOTE_PREFIX "ledger:"
#define NOTE_NAME_SIZE (sizeof NOTE_PREFIX + 2 * DIGEST_SIZE)
#define NOTE_SIZE (4u * 8u + 2u)
#define FETCHED_PREFIX "replica-"

/* ---- has it changed? ---- */

/* Sums do not depend on the order in which names come. */
uint64_t watch_ledger_print(const char *path) {
    char text[PATH_MAX + NAME_MAX + 96];
    uint64_t print = 0;
    DIR *const directory = opendir(path);
    if (directory == NULL) {
        return 0;
    }
    for (const struct dirent *entry = readdir(directory); entry != NULL;
         entry = readdir(directory)) {
        struct stat about;
        (void)snprintf(text, sizeof text, "%s/%s", path, entry->d_name);
        if (stat(text, &about) != 0 || !S_ISREG(about.st_mode)) {
            continue;
        }
        (void)snprintf(text, sizeof text, "%s %lld %lld.%09ld %llu", entry->d_name,
                       (long long)about.st_size, (long long)about.st_mtim.tv_sec,
                       about.st_mtim.tv_nsec, (unsigned long long)about.st_ino);
        struct digest const digest = hash_bytes(span_text(text));
        print += load_u64_be(digest.bytes) | 1;
    }
    (void)closedir(directory);
    return print;
}

/* ---- what is noted ---- */

static void name_of(char name[static NOTE_NAME_SIZE], const char *path) {
    char hex[2 * DIGEST_SIZE + 1];
    struct digest const digest = hash_bytes(span_text(path));
    hex_encode(hex, span_of(digest.bytes, DIGEST_SIZE));
    (void)snprintf(name, NOTE_NAME_SIZE, NOTE_PREFIX "%s", hex);
}

static int read_note(struct watcher *watcher, struct watch_ledger *ledger,
                     struct problem *problem) {
    char name[NOTE_NAME_SIZE];
    uint8_t memory[NOTE_SIZE];
    struct buffer value;
    name_of(name, ledger->path);
    buffer_init_on(&value, memory, sizeof memory);
    int const status = watcher_store_get(watcher->store, name, &value, problem);
    if (status == 1 && value.size == NOTE_SIZE) {
        ledger->audited = load_u64_be(memory);
        ledger->reread = load_u64_be(memory + 8);
        ledger->left = load_u64_be(memory + 16);
        ledger->compared = load_u64_be(memory + 24);
        ledger->is_damaged = memory[32] != 0;
        ledger->tries = memory[33];
    }
    return status < 0 ? -1 : 0;
}

int watch_ledgers_save(const struct watcher *watcher, struct store_write *write,
                       struct problem *problem) {
    for (uint32_t i = 0; i < watcher->ledger_count; i++) {
        const struct watch_ledger *const ledger = &watcher->ledgers[i];
        char name[NOTE_NAME_SIZE];
        uint8_t value[NOTE_SIZE];
        name_of(name, ledger->path);
        store_u64_be(value, ledger->audited);
        store_u64_be(value + 8, ledger->reread);
        store_u64_be(value + 16, ledger->left);
        store_u64_be(value + 24, ledger->compared);
        value[32] = ledger->is_damaged;
        value[33] = ledger->tries;
        if (watcher_store_put(write, name, span_of(value, sizeof value), problem) != 0) {
            return -1;
        }
    }
    return 0;
}

/* ---- which there are ---- */

/* Returns: 0 or -1. */
static int add_ledger(struct watcher *watcher, const char *path, struct problem *problem) {
    uint64_t const print = watch_ledger_print(path);
    if (print == 0) {
        return 0; /* it may come yet */
    }
    if (watcher->ledger_count == AUDIT_LEDGERS_MAX) {
        char text[PROBLEM_TEXT_SIZE];
        (void)snprintf(text, sizeof text,
                       "%s: not looked at: there are more than %u ledgers; move those away that "
                       "need no watching",
                       path, AUDIT_LEDGERS_MAX);
        return watch_tell_line(watcher, WATCH_CANNOT, text, problem);
    }
    struct watch_ledger *const ledger = &watcher->ledgers[watcher->ledger_count];
    *ledger = (struct watch_ledger){.print = print};
    int const size = snprintf(ledger->path, sizeof ledger->path, "%s", path);
    if (size < 0 || (size_t)size >= sizeof ledger->path) {
        return problem_set(problem, EXIT_USAGE, "%s: the name is too long", path);
    }
    watcher->ledger_count++;
    return read_note(watcher, ledger, problem);
}

static int is_fetched(const struct dirent *entry) {
    return strncmp(entry->d_name, FETCHED_PREFIX, sizeof FETCHED_PREFIX - 1) == 0;
}

/* What replicas hand over now first, then what they handed over before. */
static int add_fetched(struct watcher *watcher, struct problem *problem) {
    struct dirent **entries = NULL;
    int const count = scandir(watcher->network_path, &entries, is_fetched, versionsort);
    int status = 0;
    for (int i = 0; i < 2 * count; i++) {
        char path[PATH_MAX + NAME_MAX + 2];
        const char *const name = entries[i % count]->d_name;
        bool const is_current = strchr(name, '.') == NULL;
        (void)snprintf(path, sizeof path, "%s/%s", watcher->network_path, name);
        if (status == 0 && is_current == (i < count)) {
            status = add_ledger(watcher, path, problem);
        }
    }
    for (int i = 0; i < count; i++) {
        free(entries[i]);
    }
    free(entries);
    return status;
}

int watch_ledgers_list(struct watcher *watcher, struct problem *problem) {
    int status = 0;
    watcher->ledger_count = 0;
    for (uint32_t i = 0; status == 0 && i < watcher->options.ledger_count; i++) {
        status = add_ledger(watcher, watcher->options.ledgers[i], problem);
    }
    return status == 0 ? add_fetched(watcher, problem) : -1;
}
