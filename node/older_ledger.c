/*
 * older_ledger: see older_ledger.h.
 *
 * Invariants: older/ledger holds what history has taken, and for a moment the beginning of a unit
 * more, which the next opening cuts off; older/state is never ahead of older/ledger on the disk,
 * and the constitution in force there is on the disk before it.
 */
#include "node/older_ledger.h"

#include <stdlib.h>

#include "base/check.h"
#include "execution/replay.h"
#include "governance/founding.h"
#include "node/constitutions.h"
#include "node/join_files.h"
#include "node/node.h"
#include "node/own_vote.h"

/* Files moved in one go when the ledgers are merged. */
#define MERGE_FILES_MAX 16u

/* What history begins with, and borrows. */
struct older_era {
    struct constitution constitution;
    struct configuration configuration;
};

static const struct configuration *configuration_of(const struct older_ledger *older) {
    return &older->node->identity.founding.configuration;
}

static uint64_t own_first(const struct older_ledger *older) {
    return older->node->beginning.first_entry;
}

uint64_t older_ledger_next(const struct older_ledger *older) {
    uint64_t const next = history_next_entry(older->history);
    return next < own_first(older) ? next : own_first(older);
}

static bool check_signature(void *context, const struct sign_check *check, enum rule rule) {
    struct older_ledger *const older = context;
    struct digest service = configuration_of(older)->service;
    return !atomic_load(&older->stopping) && history_check_signature(&service, check, rule);
}

/* ---- keeping what stands --------------------------------------------------------------------- */

/* Where the reading goes on after a restart: by the constitution in force there. */
static int keep_constitution(const struct older_ledger *older, struct problem *problem) {
    const struct constitution *const now = history_constitution(older->history);
    return now->number == FOUNDING_CONFIGURATION ? 0 : constitution_keep(older->node, now, problem);
}

/* What lies before the cut is durable first: the state is never ahead of the entries. */
static int store_cut(struct older_ledger *older, const struct checkpoint_cut *due,
                     struct problem *problem) {
    struct checkpoint_cut cut = *due;
    if (segment_writer_sync(&older->writer, problem) != SEGMENT_OK ||
        keep_constitution(older, problem) != 0 ||
        state_store_write_cut(older->store, history_engine(older->history), &cut, problem) != 0 ||
        state_store_refresh(older->store, problem) != 0) {
        return -1;
    }
    history_stored(older->history, cut.header.state_count, &cut.header.state_root);
    return 0;
}

/* This replica's number in the configuration where history was, and in the one where it is. */
struct own_numbers {
    uint64_t config;
    uint32_t before; /* in the one before that */
    uint32_t now;
};

static uint32_t own_number(void *context, uint64_t config) {
    const struct own_numbers *const own = context;
    if (config == own->config) {
        return own->now;
    }
    return config + 1 == own->config ? own->before : REPLICAS_MAX;
}

static uint32_t place_in(const struct older_ledger *older, const struct constitution *in) {
    uint32_t place = 0;
    return constitution_find_replica(in, &older->node->identity.key, &place) ? place : REPLICAS_MAX;
}

/* What history stood at before it took something. */
struct standing {
    uint64_t entry;
    uint32_t place; /* this replica's number in the constitution in force */
};

static struct standing standing_now(const struct older_ledger *older) {
    return (struct standing){.entry = history_next_entry(older->history),
                             .place = place_in(older, history_constitution(older->history))};
}

/*
 * Append those entries of the range that stand now and did not before. They are of one
 * configuration: where one ends a checkpoint is due, and history goes on after that.
 */
static int keep(struct older_ledger *older, const struct range_message *range,
                const struct standing *before, struct problem *problem) {
    uint64_t const after = history_next_entry(older->history);
    const struct constitution *const now = history_constitution(older->history);
    if (after == before->entry) {
        return 0;
    }
    const struct entry *const entries = &range->entries[before->entry - range->first_entry];
    uint32_t const count = (uint32_t)(after - before->entry);
    struct own_numbers own = {
        .config = now->number, .before = before->place, .now = place_in(older, now)};
    struct own_place const self = {.context = &own, .find = own_number};
    if (!older->signed_elsewhere && own_vote_in(entries, count, &self)) {
        older->signed_elsewhere = true;
        if (guard_store(older->node, GUARD_SIGNED_ELSEWHERE, problem) != 0) {
            return -1;
        }
    }
    switch (segment_writer_append(&older->writer, entries, count, true, problem)) {
    case SEGMENT_OK:
        return 0;
    case SEGMENT_FULL:
        return problem_set(problem, EXIT_ERROR, "%s: the disk is full; free some space",
                           older->disk.path);
    case SEGMENT_TORN:
    case SEGMENT_FAILED:
        break;
    }
    return -1;
}

/* How a range is taken. */
struct taking {
    const struct sign_sink *sink;
    uint64_t end_entry;
    bool keep; /* it is not in older/ledger yet, and belongs there */
};

static int take(struct older_ledger *older, enum rule *rule, const struct range_message *range,
                const struct taking *taking, struct problem *problem) {
    const struct checkpoint_cut *cut = NULL;
    do {
        struct standing const before = standing_now(older);
        *rule = history_take(older->history, range, taking->end_entry, taking->sink);
        if (history_failed(older->history)) {
            return problem_set(problem, EXIT_ERROR,
                               "%s: out of memory, or the state cannot be read", older->disk.path);
        }
        if (taking->keep && keep(older, range, &before, problem) != 0) {
            return -1;
        }
        cut = history_cut(older->history);
        if (cut != NULL && store_cut(older, cut, problem) != 0) {
            return -1;
        }
    } while (*rule == RULE_NONE && cut != NULL);
    return 0;
}

int older_ledger_take(struct older_ledger *older, bool *good, const struct range_message *range,
                      struct problem *problem) {
    struct sign_sink const sink = {.context = older, .check = check_signature};
    struct taking const taking = {.sink = &sink, .end_entry = own_first(older), .keep = true};
    enum rule rule = RULE_NONE;
    if (take(older, &rule, range, &taking, problem) != 0 ||
        segment_writer_sync(&older->writer, problem) != SEGMENT_OK) {
        return -1;
    }
    *good = rule == RULE_NONE;
    return 0;
}

/* ---- reading what is on the disk ------------------------------------------------------------- */

/* Told each piece. Returns: 1 to go on, 0 when the piece is not what it must be, -1 on a problem.
 */
typedef int piece_visit(struct older_ledger *older, const struct range_message *range,
                        void *argument, struct problem *problem);

/* A part of the ledger to be visited; no piece goes beyond where the replica's own begins. */
struct part {
    uint64_t first;
    uint64_t end;
    piece_visit *visit;
    void *argument;
};

/*
 * Visit one piece. Returns: as piece_visit, and 0 when nothing whole is there. Out: next: the entry
 * after it.
 */
static int visit_piece(struct older_ledger *older, struct range_piece *piece, uint64_t *next,
                       const struct part *part, struct problem *problem) {
    bool const own = *next >= own_first(older);
    uint64_t const end = own || part->end < own_first(older) ? part->end : own_first(older);
    struct range_message range;
    struct segment_reader reader;
    segment_reader_init(&reader, own ? &older->node->ledger_disk.disk : &older->disk.disk,
                        &configuration_of(older)->service, true);
    int const read = range_piece_read(piece, &reader, *next, end, problem);
    segment_reader_free(&reader);
    if (read != 0 || piece->count == 0) {
        return read;
    }
    if (!range_piece_message(piece, &range)) {
        return problem_set(problem, EXIT_ERROR, "%s: out of memory", older->disk.path);
    }
    *next += piece->count;
    return part->visit(older, &range, part->argument, problem);
}

/* Returns: 1 when all of it was visited; else as visit_piece. */
static int visit_part(struct older_ledger *older, const struct part *part,
                      struct problem *problem) {
    struct range_piece piece;
    uint64_t next = part->first;
    int result = 1;
    range_piece_init(&piece);
    while (result == 1 && next < part->end) {
        result = atomic_load(&older->stopping) ? problem_set(problem, EXIT_ERROR, "ending")
                                               : visit_piece(older, &piece, &next, part, problem);
    }
    range_piece_free(&piece);
    return result;
}

/* ---- where it stood -------------------------------------------------------------------------- */

/* The window's requests, batch by batch; argument: the assembler. */
static int load_window_piece(struct older_ledger *older, const struct range_message *range,
                             void *argument, struct problem *problem) {
    struct batch *const batch = argument;
    (void)problem;
    for (uint32_t i = 0; i < range->count; i++) {
        enum rule rule = RULE_NONE;
        enum batch_step const step =
            batch_add(batch, range->first_entry + i, &range->entries[i], &rule);
        if (step == BATCH_BROKEN ||
            (step == BATCH_WHOLE && !history_load_window(older->history, batch))) {
            return 0;
        }
        if (step != BATCH_MORE) {
            batch_clear(batch);
        }
    }
    return 1;
}

static int load_window(struct older_ledger *older, struct problem *problem) {
    struct batch batch;
    struct part const part = {.first = history_window_entry(older->history),
                              .end = history_next_entry(older->history),
                              .visit = load_window_piece,
                              .argument = &batch};
    batch_init(&batch);
    int const result = part.first == 0 ? 1 : visit_part(older, &part, problem);
    batch_free(&batch);
    return result == 1 && !history_window_holds(older->history) ? 0 : result;
}

/* What was verified before it was kept; argument: none. */
static int replay_piece(struct older_ledger *older, const struct range_message *range,
                        void *argument, struct problem *problem) {
    struct taking const taking = {.sink = &sign_sink_trust,
                                  .end_entry = range->first_entry + range->count};
    enum rule rule = RULE_NONE;
    (void)argument;
    if (take(older, &rule, range, &taking, problem) != 0) {
        return -1;
    }
    return rule == RULE_NONE;
}

/* Take again what was kept after the last state; the beginning of a unit is cut off. */
static int replay_tail(struct older_ledger *older, struct problem *problem) {
    uint64_t const end = segment_writer_next_index(&older->writer);
    struct part const part = {.first = history_next_entry(older->history),
                              .end = end < own_first(older) ? end : own_first(older),
                              .visit = replay_piece};
    int const result = part.first < part.end ? visit_part(older, &part, problem) : 1;
    uint64_t const next = older_ledger_next(older);
    if (result < 0 || next > end) {
        return result < 0 ? -1 : 0;
    }
    if (next < end && segment_writer_truncate(&older->writer, next, problem) != SEGMENT_OK) {
        return -1;
    }
    /* Where nothing whole follows, the ledger ended in the middle of a unit: that is all. */
    return 1;
}

/* The constitution in force where the state is. */
static int load_era(struct older_ledger *older, const struct state_checkpoint *checkpoint,
                    struct problem *problem) {
    uint64_t number = FOUNDING_CONFIGURATION;
    if (checkpoint->present && !constitution_number_of(&number, checkpoint->snapshot)) {
        return problem_set(problem, EXIT_CORRUPT, "%s: the state's snapshot does not decode",
                           older->disk.path);
    }
    older->era = malloc(sizeof *older->era);
    if (older->era == NULL) {
        return problem_set(problem, EXIT_ERROR, "%s: out of memory", older->disk.path);
    }
    if (constitution_load(&older->era->constitution, older->node, number, problem) != 0) {
        return -1;
    }
    constitution_configuration(&older->era->configuration, &older->era->constitution);
    return 0;
}

static int open_history(struct older_ledger *older, struct problem *problem) {
    const struct state_checkpoint *const checkpoint = state_store_checkpoint(older->store);
    older->base = state_store_base(older->store);
    if (load_era(older, checkpoint, problem) != 0) {
        return -1;
    }
    struct history_options const options = {
        .configuration = &older->era->configuration,
        .constitution = &older->era->constitution,
        .genesis = older->node->identity.founding.genesis.bytes,
        .base = &older->base,
        .snapshot = checkpoint->present ? checkpoint->snapshot : (struct span){0},
    };
    older->history = history_new(&options);
    if (older->history == NULL) {
        return problem_set(problem, EXIT_CORRUPT, "%s: the state's snapshot contradicts itself",
                           older->disk.path);
    }
    int const window = checkpoint->present ? load_window(older, problem) : 1;
    int const tail = window == 1 ? replay_tail(older, problem) : window;
    return tail != 0 ? tail
                     : problem_set(problem, EXIT_CORRUPT,
                                   "%s: what was kept does not follow from the state before it",
                                   older->disk.path);
}

static int open_files(struct older_ledger *older, struct problem *problem) {
    const struct node *const node = older->node;
    char directory[PATH_SIZE_MAX];
    char path[PATH_SIZE_MAX];
    struct segment_torn_tail torn;
    struct segment_writer_options const options = {.service = configuration_of(older)->service,
                                                   .torn_tail_cut = true};
    if (join_files_path(directory, node, OLDER_NAME, NULL, problem) != 0 ||
        join_files_path(path, node, OLDER_NAME, "ledger", problem) != 0 ||
        host_disk_open(&older->disk, path, HOST_DISK_WRITE, problem) != 0) {
        return -1;
    }
    older->is_open = true;
    if (segment_writer_open(&older->writer, &torn, &older->disk.disk, &options, problem) !=
        SEGMENT_OK) {
        return -1;
    }
    if (segment_writer_next_index(&older->writer) == 0 &&
        data_write_genesis(&older->writer, node, problem) != 0) {
        return -1;
    }
    older->store = state_store_open(directory, &configuration_of(older)->service, problem);
    return older->store == NULL ? -1 : 0;
}

static int open_once(struct older_ledger *older, struct problem *problem) {
    return open_files(older, problem) == 0 && open_history(older, problem) == 1 ? 0 : -1;
}

/* Peers have all of it: what is damaged is fetched again. */
static int begin_anew(struct older_ledger *older, struct problem *problem) {
    log_event(LOG_WARN, "what was fetched of the older ledger is damaged; fetching it anew",
              (struct log_field[]){log_text("problem", problem->text), log_end()});
    older_ledger_close(older);
    *problem = (struct problem){0};
    if (join_files_empty(older->node, OLDER_NAME, problem) != 0) {
        return -1;
    }
    return open_once(older, problem);
}

int older_ledger_open(struct older_ledger *older, struct problem *problem) {
    older->disk.directory = -1;
    older->writer.file = -1;
    if (open_once(older, problem) == 0) {
        return 0;
    }
    bool const damaged = problem->code == EXIT_CORRUPT && !atomic_load(&older->stopping);
    return damaged ? begin_anew(older, problem) : -1;
}

void older_ledger_close(struct older_ledger *older) {
    history_free(older->history);
    free(older->era);
    state_store_close(older->store);
    if (older->is_open) {
        segment_writer_close(&older->writer);
        host_disk_close(&older->disk);
    }
    older->history = NULL;
    older->era = NULL;
    older->store = NULL;
    older->is_open = false;
}

/* ---- the end --------------------------------------------------------------------------------- */

/* The replica's own entries: in its ledger already. */
static int check_piece(struct older_ledger *older, const struct range_message *range,
                       void *argument, struct problem *problem) {
    struct sign_sink const sink = {.context = older, .check = check_signature};
    struct taking const taking = {.sink = &sink, .end_entry = range->first_entry + range->count};
    enum rule rule = RULE_NONE;
    (void)argument;
    if (take(older, &rule, range, &taking, problem) != 0) {
        return -1;
    }
    if (atomic_load(&older->stopping)) {
        return problem_set(problem, EXIT_ERROR, "ending");
    }
    if (rule != RULE_NONE) {
        log_event(LOG_ERROR, "the ledger that a quorum signed for breaks a rule",
                  (struct log_field[]){log_number("entry", history_next_entry(older->history)),
                                       log_text("rule", rule_name(rule)), log_end()});
    }
    return rule == RULE_NONE;
}

int older_ledger_check(struct older_ledger *older, bool *leads, struct problem *problem) {
    const struct beginning *const beginning = &older->node->beginning;
    struct part const part = {.first = history_next_entry(older->history),
                              .end = beginning->end_entry,
                              .visit = check_piece};
    int const result = part.first < part.end ? visit_part(older, &part, problem) : 1;
    if (result < 0) {
        return -1;
    }
    *leads = result == 1 && history_leads_to(older->history, beginning->seq, &beginning->digest);
    return 0;
}

/* Returns: 0 when all files of older/ledger lie in the replica's, or -1 with a problem. */
static int move_files(const struct node *node, const struct disk *older, uint64_t *size,
                      struct problem *problem) {
    int more = 1;
    while (more == 1) {
        struct segment_prepended done = {.files = 0};
        more = segment_prepend(&done, &node->ledger_disk.disk, older,
                               &node->identity.founding.configuration.service, MERGE_FILES_MAX,
                               problem);
        *size += done.size;
    }
    return more;
}

int older_ledger_merge(struct older_ledger *older, uint64_t *size, struct problem *problem) {
    *size = 0;
    if (segment_writer_finish(&older->writer, problem) != SEGMENT_OK ||
        move_files(older->node, &older->disk.disk, size, problem) != 0) {
        return -1;
    }
    older_ledger_close(older);
    return join_files_remove(older->node, OLDER_NAME, problem);
}

int older_ledger_carry_on(const struct node *node, struct problem *problem) {
    char path[PATH_SIZE_MAX];
    struct host_disk disk;
    uint64_t size = 0;
    if (join_files_path(path, node, OLDER_NAME, "ledger", problem) != 0 ||
        host_disk_open(&disk, path, HOST_DISK_WRITE, problem) != 0) {
        return -1;
    }
    int const moved = move_files(node, &disk.disk, &size, problem);
    host_disk_close(&disk);
    return moved != 0 ? -1 : join_files_remove(node, OLDER_NAME, problem);
}
