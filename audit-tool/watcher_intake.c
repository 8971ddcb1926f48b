/*
 * watcher_intake: see watcher_intake.h. What was looked at is remembered by its digest, and files
 * and stores by size and times, in the same transaction as what was in them: so a crash forgets
 * both or neither.
 */
#include "audit-tool/watcher_intake.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "audit-tool/eras.h"
#include "host/file.h"
#include "host/receipt_store.h"
#include "host/receipts_file.h"

#define RECEIPT_SUFFIX ".receipt"
#define STORE_FILE "/data.mdb"
#define INTAKE_CHANGES_MAX 256u /* then they are made durable */
#define INTAKE_ARENA_SIZE (16u << 20)
#define INTAKE_NAME_SIZE (PATH_MAX + 96u)

int watcher_intake_init(struct watcher_intake *intake, struct problem *problem) {
    intake->kept = 0;
    intake->known = 0;
    intake->invalid = 0;
    intake->unknown = 0;
    intake->write = NULL;
    intake->changes = 0;
    intake->chain = (struct intake_chain){.founding = intake->founding, .file = intake->chain_file};
    bundle_verifier_init(&intake->verifier, &intake->founding->configuration);
    arena_init(&intake->arena, INTAKE_ARENA_SIZE);
    return intake_chain_init(&intake->chain, problem);
}

void watcher_intake_free(struct watcher_intake *intake) {
    watcher_store_abort(intake->write);
    intake->write = NULL;
    bundle_verifier_free(&intake->verifier);
    intake_chain_free(&intake->chain);
    arena_free(&intake->arena);
}

/* ---- writing --------------------------------------------------------------------------------- */

static int need_write(struct watcher_intake *intake, struct problem *problem) {
    if (intake->write == NULL) {
        intake->write = watcher_store_begin(intake->store, problem);
        intake->changes = 0;
    }
    return intake->write == NULL ? -1 : 0;
}

static int end_write(struct watcher_intake *intake, struct problem *problem) {
    struct store_write *const write = intake->write;
    intake->write = NULL;
    return write == NULL ? 0 : watcher_store_commit(write, problem);
}

/* Others want to write, too. */
static int note_change(struct watcher_intake *intake, struct problem *problem) {
    intake->changes++;
    return intake->changes < INTAKE_CHANGES_MAX ? 0 : end_write(intake, problem);
}

int watcher_intake_commit(struct watcher_intake *intake, struct problem *problem) {
    intake->kept = 0;
    intake->known = 0;
    intake->invalid = 0;
    return end_write(intake, problem);
}

void watcher_intake_abandon(struct watcher_intake *intake) {
    watcher_store_abort(intake->write);
    intake->write = NULL;
    intake->kept = 0;
    intake->known = 0;
    intake->invalid = 0;
}

/* ---- one by one ------------------------------------------------------------------------------ */

static int tell_bad(struct watcher_intake *intake, const char *name, const char *why) {
    intake->invalid++;
    if (intake->on_bad != NULL) {
        intake->on_bad(intake->context, name, why);
    }
    return 0;
}

static int keep(struct watcher_intake *intake, const struct verified_batch *batch,
                struct span certificate, struct store_receipts receipts, struct problem *problem) {
    uint64_t fresh = 0;
    if (watcher_store_add(intake->write, batch, certificate, receipts, &fresh, problem) != 0) {
        return -1;
    }
    intake->kept += fresh;
    intake->known += receipts.count - fresh;
    return 0;
}

static int judge_receipt(struct watcher_intake *intake, const char *name, struct span receipt,
                         struct problem *problem) {
    struct receipt_judge *const judge = &intake->chain.judge;
    struct verified_receipt verified;
    uint64_t config = 0;
    arena_reset(&intake->arena);
    enum receipt_check const check =
        receipt_judge_verify(judge, &verified, &config, &intake->arena, receipt);
    if (check != RECEIPT_VALID) {
        return tell_bad(intake, name, receipt_check_text(check));
    }
    return keep(intake, &judge->memory.batch, verified.receipt.certificate,
                (struct store_receipts){.first_index = verified.receipt.index, .count = 1},
                problem);
}

/* Is it of a configuration that nothing here leads to? What does not decode is bad, not unknown. */
static bool is_unknown(struct watcher_intake *intake, struct span receipt) {
    uint64_t config = 0;
    arena_reset(&intake->arena);
    return receipt_config(&config, &intake->arena, receipt) &&
           !intake_chain_reach(&intake->chain, config);
}

static int take_receipt(struct watcher_intake *intake, const char *name, struct span file,
                        struct problem *problem) {
    struct span receipt = {0};
    struct span links = {0};
    struct span link;
    uint32_t count = 0;
    if (!receipt_file_open(&receipt, &links, file)) {
        receipt = (struct span){0}; /* which is no receipt */
        links = receipt;
    }
    while (count++ < CHAIN_LINKS_MAX && receipt_file_next_link(&links, &link) == 1) {
        if (watcher_intake_link(intake, name, link, problem) != 0) {
            return -1;
        }
    }
    if (is_unknown(intake, receipt)) {
        intake->unknown++;
        return 0;
    }
    struct digest const digest = hash_bytes(file);
    return watcher_store_note_seen(intake->write, &digest, problem) < 0 ||
                   judge_receipt(intake, name, receipt, problem) != 0
               ? -1
               : note_change(intake, problem);
}

int watcher_intake_receipt(struct watcher_intake *intake, const char *name, struct span file,
                           struct problem *problem) {
    struct digest const digest = hash_bytes(file);
    if (need_write(intake, problem) != 0) {
        return -1;
    }
    int const was_seen = watcher_store_was_seen(intake->write, &digest, problem);
    if (was_seen != 0) {
        intake->known += was_seen == 1;
        return was_seen < 0 ? -1 : 0;
    }
    return take_receipt(intake, name, file, problem);
}

/* ---- links ----------------------------------------------------------------------------------- */

/*
 * The receipt of its vote is one like others: where two chains say different things, that is what
 * the audit holds against the ledgers.
 */
static int claim_link(struct watcher_intake *intake, const char *name, struct span bytes,
                      struct problem *problem) {
    struct arena arena;
    uint64_t const kept = intake->kept;
    int status = 0;
    arena_init(&arena, LINK_ARENA_SIZE);
    struct chain_link *const link = arena_alloc(&arena, sizeof *link);
    if (link == NULL) {
        status = problem_set(problem, EXIT_ERROR, "out of memory for a governance chain");
    } else if (chain_link_decode(link, &arena, bytes) == CODEC_OK) {
        status = judge_receipt(intake, name, link->receipt, problem);
        intake->kept = kept; /* nobody brought that one */
    }
    arena_free(&arena);
    return status;
}

/* Looked at for the first time, and it is no gap. */
static int note_link(struct watcher_intake *intake, const char *name, struct span link,
                     enum chain_check check, struct problem *problem) {
    char why[PROBLEM_TEXT_SIZE];
    struct digest const digest = hash_bytes(link);
    int const is_new = watcher_store_note_seen(intake->write, &digest, problem);
    if (is_new <= 0) {
        return is_new;
    }
    if (check != CHAIN_VALID && check != CHAIN_KNOWN) {
        (void)snprintf(why, sizeof why, "it brings a link of the governance chain: %s",
                       chain_check_text(check));
        (void)tell_bad(intake, name, why);
    }
    bool const holds = check == CHAIN_VALID || check == CHAIN_KNOWN || check == CHAIN_FORK;
    return holds ? claim_link(intake, name, link, problem) : 0;
}

int watcher_intake_link(struct watcher_intake *intake, const char *name, struct span link,
                        struct problem *problem) {
    if (need_write(intake, problem) != 0) {
        return -1;
    }
    enum chain_check const check = intake_chain_take(&intake->chain, link);
    if (check == CHAIN_MEMORY) {
        return problem_set(problem, EXIT_ERROR, "out of memory for a governance chain");
    }
    return check == CHAIN_GAP ? 0 : note_link(intake, name, link, check, problem);
}

/* ---- a request's receipts -------------------------------------------------------------------- */

struct apart {
    struct watcher_intake *intake;
    const char *name;
    struct problem *problem;
};

static int judge_one(void *context, const struct digest *request_id, uint32_t position,
                     struct span receipt) {
    const struct apart *const apart = context;
    char id[2 * DIGEST_SIZE + 1];
    char name[INTAKE_NAME_SIZE];
    hex_encode(id, span_of(request_id->bytes, DIGEST_SIZE));
    (void)snprintf(name, sizeof name, "%s: receipt %s.%" PRIu32, apart->name, id, position);
    return judge_receipt(apart->intake, name, receipt, apart->problem);
}

/* Some receipt of it does not hold: each is judged by itself. */
static int judge_apart(struct watcher_intake *intake, const char *name, struct span stored,
                       struct span certificate, struct problem *problem) {
    struct apart apart = {.intake = intake, .name = name, .problem = problem};
    struct problem own = {.code = EXIT_OK};
    struct receipt_bundle bundle;
    arena_reset(&intake->verifier.arena);
    if (!receipt_bundle_decode(&bundle, &intake->verifier.arena, stored)) {
        return tell_bad(intake, name, receipt_check_text(RECEIPT_ENCODING));
    }
    bundle.certificate = certificate;
    int const status =
        receipt_bundle_visit(&intake->founding->genesis.service, &bundle,
                             (struct receipt_range){0, UINT32_MAX}, judge_one, &apart, &own);
    if (status != 0 && problem->code == EXIT_OK) {
        return tell_bad(intake, name, own.text);
    }
    return status;
}

/* Bundle and certificate together: the same bundle may come with another certificate. */
static struct digest digest_of(struct span bundle, struct span certificate) {
    struct digest const parts[2] = {hash_bytes(bundle), hash_bytes(certificate)};
    return hash_bytes(span_of(parts, sizeof parts));
}

/* Its receipts wait; as many as it says that it has. */
static void count_unknown(struct watcher_intake *intake, struct span stored) {
    struct receipt_bundle bundle;
    arena_reset(&intake->verifier.arena);
    bool const decodes = receipt_bundle_decode(&bundle, &intake->verifier.arena, stored);
    intake->unknown += decodes ? bundle.result.outcome_count : 1;
}

static int judge_bundle(struct watcher_intake *intake, const char *name, struct span bundle,
                        struct span certificate, struct problem *problem) {
    struct bundle_verifier *const verifier = &intake->verifier;
    int status = 0;
    bundle_verifier_follow(verifier, intake->chain.chain);
    if (bundle_verify(verifier, bundle, certificate) == RECEIPT_VALID) {
        status = keep(intake, &verifier->batch, certificate,
                      (struct store_receipts){.first_index = verifier->bundle.result.first_index,
                                              .count = verifier->request.call_count},
                      problem);
    } else {
        status = judge_apart(intake, name, bundle, certificate, problem);
    }
    return status == 0 ? note_change(intake, problem) : -1;
}

int watcher_intake_bundle(struct watcher_intake *intake, const char *name, struct span bundle,
                          struct span certificate, struct problem *problem) {
    struct digest const digest = digest_of(bundle, certificate);
    uint64_t config = 0;
    if (need_write(intake, problem) != 0) {
        return -1;
    }
    int const was_seen = watcher_store_was_seen(intake->write, &digest, problem);
    if (was_seen != 0) {
        intake->known += was_seen == 1;
        return was_seen < 0 ? -1 : 0;
    }
    arena_reset(&intake->arena);
    if (certificate_config(&config, &intake->arena, certificate) &&
        !intake_chain_reach(&intake->chain, config)) {
        count_unknown(intake, bundle);
        return 0;
    }
    return watcher_store_note_seen(intake->write, &digest, problem) < 0
               ? -1
               : judge_bundle(intake, name, bundle, certificate, problem);
}

/* ---- directories ----------------------------------------------------------------------------- */

/* A file, as it is now. Returns: 0 or -1. */
static int print_of(struct digest *print, const char *path, const struct stat *about,
                    struct problem *problem) {
    char text[INTAKE_NAME_SIZE + 96];
    int const size = snprintf(text, sizeof text, "file %s %lld %lld.%09ld %llu", path,
                              (long long)about->st_size, (long long)about->st_mtim.tv_sec,
                              about->st_mtim.tv_nsec, (unsigned long long)about->st_ino);
    if (size < 0 || (size_t)size >= sizeof text) {
        return problem_set(problem, EXIT_USAGE, "%s: the name is too long", path);
    }
    *print = hash_bytes(span_of(text, (size_t)size));
    return 0;
}

/* What a file is taken in with. Returns: 0 or -1. */
typedef int (*file_taker)(struct watcher_intake *intake, const char *path, struct problem *problem);

/*
 * Take a file in if it was not looked at as it is now; path: what it is called. It is remembered
 * unless something in it is of an unknown configuration.
 */
static int take_file(struct watcher_intake *intake, const char *path, const struct stat *about,
                     file_taker take, struct problem *problem) {
    struct digest print;
    uint64_t const unknown = intake->unknown;
    if (print_of(&print, path, about, problem) != 0 || need_write(intake, problem) != 0) {
        return -1;
    }
    int const was_seen = watcher_store_was_seen(intake->write, &print, problem);
    if (was_seen != 0) {
        return was_seen < 0 ? -1 : 0;
    }
    if (take(intake, path, problem) != 0) {
        return -1;
    }
    if (intake->unknown != unknown) {
        return 0;
    }
    return need_write(intake, problem) != 0 ||
                   watcher_store_note_seen(intake->write, &print, problem) < 0
               ? -1
               : 0;
}

static int take_loose(struct watcher_intake *intake, const char *path, struct problem *problem) {
    struct buffer file;
    struct problem unreadable = {.code = EXIT_OK};
    buffer_init(&file, RECEIPT_LINKED_FILE_SIZE_MAX);
    int const status = file_read(&file, path, FILE_PUBLIC, &unreadable) == 0
                           ? watcher_intake_receipt(intake, path, buffer_span(&file), problem)
                           : tell_bad(intake, path, unreadable.text);
    buffer_free(&file);
    return status;
}

struct link_visit {
    struct watcher_intake *intake;
    const char *path;
    struct problem *problem;
    bool failed;
};

static void take_exported_link(void *context, struct span link) {
    struct link_visit *const visit = context;
    if (!visit->failed) {
        visit->failed = watcher_intake_link(visit->intake, visit->path, link, visit->problem) != 0;
    }
}

static int take_exported(struct watcher_intake *intake, const char *path, struct problem *problem) {
    struct link_visit links = {.intake = intake, .path = path, .problem = problem};
    struct receipts_reader reader;
    struct problem unreadable = {.code = EXIT_OK};
    struct span bundle;
    struct span certificate;
    FILE *const in = fopen(path, "rbe");
    if (in == NULL) {
        return tell_bad(intake, path, strerror(errno));
    }
    int status =
        receipts_read_begin(&reader, in, path, &intake->founding->genesis.service, &unreadable);
    bool failed = false;
    reader.link = take_exported_link;
    reader.link_context = &links;
    while (status == 0 && !failed) {
        int const more = receipts_read(&reader, &bundle, &certificate, &unreadable);
        if (more <= 0) {
            status = more;
            break;
        }
        failed =
            links.failed || watcher_intake_bundle(intake, path, bundle, certificate, problem) != 0;
    }
    failed |= links.failed;
    receipts_read_free(&reader);
    (void)fclose(in);
    if (failed) {
        return -1;
    }
    return status == 0 ? 0 : tell_bad(intake, path, unreadable.text);
}

struct store_visit {
    struct watcher_intake *intake;
    const char *path;
    struct problem *problem;
};

static int take_stored(void *context, struct span bundle, struct span certificate) {
    const struct store_visit *const visit = context;
    return watcher_intake_bundle(visit->intake, visit->path, bundle, certificate, visit->problem);
}

/* A client's store, by its data file: what was looked at before costs a hash. */
static int take_stored_in(struct watcher_intake *intake, const char *path,
                          struct problem *problem) {
    char directory[PATH_MAX];
    struct problem own = {.code = EXIT_OK};
    (void)snprintf(directory, sizeof directory, "%.*s", (int)(strlen(path) - strlen(STORE_FILE)),
                   path);
    struct receipt_store *const store =
        receipt_store_open(directory, &intake->founding->genesis.service, RECEIPT_STORE_READ, &own);
    struct store_visit visit = {.intake = intake, .path = directory, .problem = problem};
    int status = store == NULL ? -1 : receipt_store_visit_stored(store, take_stored, &visit, &own);
    receipt_store_close(store);
    if (status != 0 && problem->code == EXIT_OK) {
        status = tell_bad(intake, directory, own.text);
    }
    return status;
}

static int take_store(struct watcher_intake *intake, const char *directory,
                      struct problem *problem) {
    char path[PATH_MAX];
    struct stat about;
    int const size = snprintf(path, sizeof path, "%s" STORE_FILE, directory);
    if (size < 0 || (size_t)size >= sizeof path || stat(path, &about) != 0) {
        return 0;
    }
    return take_file(intake, path, &about, take_stored_in, problem);
}

static bool has_suffix(const char *name, const char *suffix) {
    size_t const size = strlen(name);
    size_t const end = strlen(suffix);
    return size >= end && strcmp(name + size - end, suffix) == 0;
}

static int take_named(struct watcher_intake *intake, const char *directory, const char *name,
                      struct problem *problem) {
    char path[PATH_MAX];
    struct stat about;
    bool const is_loose = has_suffix(name, RECEIPT_SUFFIX);
    if (!is_loose && !has_suffix(name, RECEIPTS_FILE_SUFFIX)) {
        return 0;
    }
    int const size = snprintf(path, sizeof path, "%s/%s", directory, name);
    if (size < 0 || (size_t)size >= sizeof path || stat(path, &about) != 0) {
        return 0; /* it is gone again */
    }
    return take_file(intake, path, &about, is_loose ? take_loose : take_exported, problem);
}

int watcher_intake_directory(struct watcher_intake *intake, const char *directory, uint64_t *kept,
                             struct problem *problem) {
    DIR *const open = opendir(directory);
    if (open == NULL) {
        return problem_set(problem, EXIT_CANNOT_AUDIT, "%s: %s; name a directory of receipts",
                           directory, strerror(errno));
    }
    int status = 0;
    for (const struct dirent *entry = readdir(open); status == 0 && entry != NULL;
         entry = readdir(open)) {
        status = take_named(intake, directory, entry->d_name, problem);
    }
    (void)closedir(open);
    status = status == 0 ? take_store(intake, directory, problem) : status;
    *kept = intake->kept;
    if (status != 0) {
        watcher_intake_abandon(intake);
        return -1;
    }
    return watcher_intake_commit(intake, problem);
}
