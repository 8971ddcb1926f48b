/*
 * sources: see sources.h.
 */
#include "audit-tool/sources.h"

#include <unistd.h>

#include "audit-tool/saved_state.h"
#include "audit-tool/signatures.h"
#include "ledger/segment.h"
#include "receipts/chain.h"

void sources_free(struct sources *sources) {
    sources_close_ledgers(sources);
    if (sources->has_founding) {
        founding_free(&sources->founding);
        sources->has_founding = false;
    }
}

int sources_add_path(const char **paths, uint32_t *count, uint32_t count_max, const char *path,
                     struct problem *problem) {
    if (*count == count_max) {
        return problem_set(problem, EXIT_USAGE, "%s: more than %u of them; audit fewer at once",
                           path, count_max);
    }
    paths[(*count)++] = path;
    return 0;
}

/* ---- ledgers ---- */

int sources_open_ledgers(struct sources *sources, struct problem *problem) {
    for (uint32_t i = sources->disk_count; i < sources->ledger_count; i++) {
        if (host_disk_open(&sources->disks[i], sources->ledger_paths[i], HOST_DISK_READ, problem) !=
            0) {
            problem->code = EXIT_CANNOT_AUDIT;
            return -1;
        }
        sources->disk_count++;
    }
    return 0;
}

void sources_close_ledgers(struct sources *sources) {
    for (uint32_t i = 0; i < sources->disk_count; i++) {
        host_disk_close(&sources->disks[i]);
    }
    sources->disk_count = 0;
    sources->ledger_count = 0;
}

int sources_give(struct sources *sources, struct audit *audit, struct problem *problem) {
    for (uint32_t i = 0; i < sources->disk_count; i++) {
        if (audit_add_ledger(audit, sources->ledger_paths[i], &sources->disks[i].disk, problem) !=
            0) {
            return -1;
        }
    }
    return 0;
}

/* ---- genesis ---- */

/* What was decoded must be the genesis of this service; else it is forgotten. */
static int accept_founding(struct sources *sources, int status, struct problem *problem,
                           const char *place, const char *wrong) {
    sources->has_founding = true;
    if (status == 0 && !digest_equal(&sources->founding.genesis.service, &sources->service)) {
        status =
            problem_set(problem, EXIT_INVALID, "%s: %s %s", place, wrong, sources->service_text);
    }
    if (status != 0) {
        founding_free(&sources->founding);
        sources->has_founding = false;
    }
    return status;
}

/* The genesis of one ledger, if it can be read and is the one. Returns: 0 or -1. */
static int take_genesis(struct sources *sources, const struct disk *disk, struct problem *problem) {
    struct segment_reader reader;
    struct segment_record record;
    segment_reader_init(&reader, disk, &sources->service, false);
    int status = segment_reader_next(&reader, &record, problem);
    if (status == 0) {
        status =
            problem_set(problem, EXIT_CANNOT_AUDIT, "%s: there is no ledger in it", disk->place);
    }
    if (status == 1) {
        status = founding_decode(&sources->founding, record.payload, disk->place, problem);
        status = accept_founding(sources, status, problem, disk->place,
                                 "the ledger does not begin with the genesis of service");
    }
    segment_reader_free(&reader);
    return status;
}

/* A ledger that begins later lacks it, but the state to begin at has it too. */
static int take_saved_genesis(struct sources *sources, const struct state_dir *states,
                              struct problem *problem) {
    struct state_choice choice;
    char path[PATH_MAX];
    struct buffer genesis;
    uint64_t seq = 0;
    if (states == NULL || states->wanted == 0 || state_dir_choose(states, &choice, problem) != 0) {
        return -1;
    }
    FILE *const file = state_dir_open_state(
        states, choice.has_exact ? states->wanted : choice.before, path, problem);
    if (file == NULL) {
        return -1;
    }
    buffer_init(&genesis, GENESIS_SIZE_MAX);
    int status = saved_state_read_head(file, &sources->service, &genesis, &seq, path, problem);
    if (status == 0) {
        status = founding_decode(&sources->founding, buffer_span(&genesis), path, problem);
        status =
            accept_founding(sources, status, problem, path, "its genesis is not that of service");
    }
    buffer_free(&genesis);
    (void)fclose(file);
    return status;
}

int sources_find_genesis(struct sources *sources, const struct state_dir *states,
                         struct problem *problem) {
    struct problem first = {.code = EXIT_OK};
    struct problem saved = {.code = EXIT_OK};
    for (uint32_t i = 0; i < sources->disk_count; i++) {
        struct problem own = {.code = EXIT_OK};
        if (take_genesis(sources, &sources->disks[i].disk, &own) == 0) {
            return 0;
        }
        (void)problem_set(&first, own.code, "%s", own.text);
    }
    if (take_saved_genesis(sources, states, &saved) == 0) {
        return 0;
    }
    (void)problem_set(&first, EXIT_CANNOT_AUDIT, "no ledger is there yet");
    return problem_set(problem, first.code, "%s", first.text);
}

/* ---- saved states ---- */

int sources_know_chain(const struct state_dir *states, struct audit *audit,
                       struct problem *problem) {
    struct buffer chain;
    buffer_init(&chain, CHAIN_SIZE_MAX);
    int status = state_dir_read_chain(states, &chain, problem);
    if (status == 1) {
        status = audit_know_chain(audit, states->path, buffer_span(&chain), problem);
    }
    buffer_free(&chain);
    return status;
}

static int bring_links(struct audit *audit, const char *name, struct span file,
                       struct problem *problem) {
    struct arena arena;
    struct chain_reader reader;
    struct span link;
    int status = 0;
    arena_init(&arena, 2 * (size_t)CHAIN_HEADER_SIZE_MAX);
    if (chain_reader_open(&reader, &arena, file)) {
        while (status == 0 && chain_reader_next(&reader, &link) == 1) {
            status = audit_add_link(audit, name, link, problem);
        }
    }
    arena_free(&arena);
    return status;
}

int sources_bring_chain(const struct state_dir *states, struct audit *audit,
                        struct problem *problem) {
    struct buffer chain;
    buffer_init(&chain, CHAIN_SIZE_MAX);
    int status = state_dir_read_chain(states, &chain, problem);
    if (status == 1) {
        status = bring_links(audit, states->path, buffer_span(&chain), problem);
    }
    buffer_free(&chain);
    return status;
}

int sources_begin_at(const struct sources *sources, const struct state_dir *states,
                     struct audit *audit, uint64_t seq, struct problem *problem) {
    char path[PATH_MAX];
    struct buffer genesis;
    uint64_t own = 0;
    FILE *const file = state_dir_open_state(states, seq, path, problem);
    if (file == NULL) {
        return -1;
    }
    buffer_init(&genesis, GENESIS_SIZE_MAX);
    int status = saved_state_read_head(file, &sources->service, &genesis, &own, path, problem);
    if (status == 0 &&
        (own != seq || !span_equal(buffer_span(&genesis), sources->founding.genesis.bytes))) {
        status = problem_set(problem, EXIT_INVALID, "%s: not the state that its name says", path);
    }
    if (status == 0) {
        status = sources_know_chain(states, audit, problem);
    }
    if (status == 0) {
        status = audit_begin_at(audit, file, seq, path, problem);
    }
    buffer_free(&genesis);
    (void)fclose(file);
    return status;
}

uint32_t sources_processors(void) {
    long const count = sysconf(_SC_NPROCESSORS_ONLN);
    return count < 1 ? 1u : count > (long)SIGNATURE_JOBS_MAX ? SIGNATURE_JOBS_MAX : (uint32_t)count;
}
