/*
 * recovery: from what is on the disk to a replica that stands where it stood.
 *
 *   1. what had been decided on when the process ended is carried out: a ledger that the replica
 *      joined with takes its place, older entries are put in front; the journal's records are read,
 *      and the ledger's end is found; a torn tail is cut off or replaced
 *   2. the checker starts from the snapshot of the last checkpoint, or from genesis; the requests
 *      of its window are read back from the ledger
 *   3. the batches before the checkpoint that a view-change may have to show are read back; then
 *      the ledger's tail is executed again; an incomplete last batch or new view is cut off. It may
 *      have been signed for: what the replica signs outruns its disk (§5), and step 4 sees to it
 *   4. the journal's records are held against the ledger; from the last of them follows what may be
 *      signed from here on
 *
 * Damage anywhere else is EXIT_CORRUPT with file and offset, and overwrites nothing.
 */

#include <stdlib.h>

#include "base/check.h"
#include "consensus/join.h"
#include "governance/founding.h"
#include "node/constitutions.h"
#include "node/join_files.h"
#include "node/node.h"
#include "node/older_ledger.h"

#define OFFER_ARENA_BUDGET ((size_t)1 << 20)
#define ARENA_BUDGET (4 * (size_t)ENTRY_SIZE_MAX)

struct recovery {
    struct node *node;
    struct segment_reader reader;
    struct batch batch;
    enum batch_step step; /* what the batch is: BATCH_WHOLE or BATCH_VIEW */
    struct arena arena;
    struct buffer journal; /* records as they were read: u32 size, payload */
    enum guard guard;
    uint64_t past_entry; /* from here on replica_load_past; 0: nothing */
    uint64_t first_tail_entry;
    struct problem *problem;
};

/* The founding one: the service's id, and what is of its checkpoints. */
static const struct configuration *configuration_of(const struct recovery *recovery) {
    return &recovery->node->identity.founding.configuration;
}

static int out_of_memory(struct recovery *recovery) {
    return problem_set(recovery->problem, EXIT_ERROR, "%s: out of memory",
                       recovery->node->config.data_directory);
}

static void want_guard(struct recovery *recovery, enum guard guard) {
    if (recovery->guard == GUARD_NONE) {
        recovery->guard = guard;
    }
}

/* ---- 1. the files ---------------------------------------------------------------------------- */

static enum journal_role keep_record(void *context, struct span payload) {
    struct recovery *const recovery = context;
    struct journal_record record;
    uint8_t size[4];
    store_u32_be(size, (uint32_t)payload.size);
    /* A failure sticks, and is asked for when all were read. */
    if (buffer_append(&recovery->journal, span_of(size, sizeof size))) {
        (void)buffer_append(&recovery->journal, payload);
    }
    arena_reset(&recovery->arena);
    /* One that does not decode is found again when all are loaded, and ends the process. */
    return journal_record_decode(&record, &recovery->arena, payload) == CODEC_OK
               ? journal_role_of(record.kind)
               : JOURNAL_PROMISE;
}

static int open_journal(struct recovery *recovery) {
    struct node *const node = recovery->node;
    struct journal_owner const owner = {.service = configuration_of(recovery)->service,
                                        .replica = node->config.replica};
    uint64_t torn_size = 0;
    switch (journal_open(&node->journal, &torn_size, &node->data_disk.disk, &owner, keep_record,
                         recovery, recovery->problem)) {
    case JOURNAL_OK:
        node->has_journal = true;
        break;
    case JOURNAL_MISSING:
        want_guard(recovery, GUARD_JOURNAL_MISSING);
        break;
    case JOURNAL_FULL:
    case JOURNAL_FAILED:
        return -1;
    }
    if (torn_size != 0) {
        log_event(LOG_WARN, "cut a torn record off the journal",
                  (struct log_field[]){log_number("bytes", torn_size), log_end()});
    }
    return recovery->journal.failed ? out_of_memory(recovery) : 0;
}

static int open_ledger(struct recovery *recovery) {
    struct node *const node = recovery->node;
    struct segment_torn_tail torn = {.size = 0};
    struct segment_writer_options const options = {.service = configuration_of(recovery)->service,
                                                   .torn_tail_cut = true,
                                                   .first_index = node->beginning.first_entry};
    if (segment_writer_open(&node->ledger, &torn, &node->ledger_disk.disk, &options,
                            recovery->problem) != SEGMENT_OK) {
        return -1;
    }
    if (torn.size != 0) {
        log_event(LOG_WARN, "cut a torn tail off the ledger",
                  (struct log_field[]){log_text("file", torn.file_name),
                                       log_number("offset", torn.offset),
                                       log_number("bytes", torn.size), log_end()});
    }
    if (node->ledger.tail_replaced) {
        log_event(LOG_WARN, "finished replacing the ledger's tail",
                  (struct log_field[]){
                      log_number("entries", segment_writer_next_index(&node->ledger)), log_end()});
    }
    if (segment_writer_next_index(&node->ledger) != 0) {
        return 0;
    }
    if (!node->has_journal) {
        return problem_set(recovery->problem, EXIT_ERROR,
                           "%s: holds neither a ledger nor a journal; restore both from this "
                           "replica's newest backup, or run --init in an empty directory if its "
                           "key has never signed",
                           node->config.data_directory);
    }
    /* Written down before there is a ledger again: no crash may make this replica forget it. */
    want_guard(recovery, GUARD_LEDGER_SHORT);
    if (guard_store(node, recovery->guard, recovery->problem) != 0 ||
        data_forget_state(node, recovery->problem) != 0) {
        return -1;
    }
    return data_write_genesis(&node->ledger, node, recovery->problem);
}

/* The configuration in which an offer was signed. Returns: NULL with a problem; free() it. */
static struct configuration *find_signers(const struct recovery *recovery,
                                          const struct offer_configs *configs) {
    struct constitution *const constitution = malloc(sizeof *constitution);
    struct configuration *signers = malloc(sizeof *signers);
    if (constitution == NULL || signers == NULL) {
        free(signers);
        signers = NULL;
        (void)problem_set(recovery->problem, EXIT_ERROR, "out of memory");
    } else if (constitution_load(constitution, recovery->node, configs->signed_in,
                                 recovery->problem) != 0) {
        free(signers);
        signers = NULL;
    } else {
        constitution_configuration(signers, constitution);
    }
    free(constitution);
    return signers;
}

/* Returns: 1 when it holds, 0 when it does not, -1 with a problem. */
static int verify_offer(const struct recovery *recovery, struct offer *out, struct arena *arena,
                        struct span bytes) {
    struct checkpoint_offer_message message;
    struct offer_configs configs;
    if (checkpoint_offer_message_decode(&message, arena, bytes) != CODEC_OK ||
        !offer_find_configs(&configs, arena, &message)) {
        return 0;
    }
    struct configuration *const signers = find_signers(recovery, &configs);
    if (signers == NULL) {
        return -1;
    }
    bool const holds = offer_verify(out, arena, signers, &message);
    free(signers);
    return holds;
}

/* What the ledger began with, if it was not genesis, and the older part is not in front of it. */
static int take_offer(struct recovery *recovery, struct span bytes) {
    struct node *const node = recovery->node;
    struct offer offer;
    struct arena arena;
    arena_init(&arena, OFFER_ARENA_BUDGET);
    int const holds = verify_offer(recovery, &offer, &arena, bytes);
    if (holds == 1) {
        node->beginning = (struct beginning){.present = true,
                                             .seq = offer.seq,
                                             .digest = offer.digest,
                                             .first_entry = offer.first_entry,
                                             .end_entry = offer.header.entries};
    }
    arena_free(&arena);
    return holds != 0
               ? (holds < 0 ? -1 : 0)
               : problem_set(recovery->problem, EXIT_CORRUPT,
                             "%s/%s/offer: damaged: it does not prove the checkpoint that the "
                             "ledger begins with; restore it from a backup, or remove " OLDER_NAME
                             ", ledger and state to have the replica join anew",
                             node->config.data_directory, OLDER_NAME);
}

static int load_beginning(struct recovery *recovery) {
    struct node *const node = recovery->node;
    struct buffer offer;
    uint64_t first = 0;
    buffer_init(&offer, message_size_max(MESSAGE_CHECKPOINT_OFFER));
    int result = join_files_load_offer(&offer, node, recovery->problem);
    if (result == 1) {
        result = take_offer(recovery, buffer_span(&offer));
    }
    buffer_free(&offer);
    if (result != 0 || !node->beginning.present) {
        return result;
    }
    int const found = segment_first_index(&first, &node->ledger_disk.disk, recovery->problem);
    if (found == 1 && first == node->beginning.first_entry) {
        return 0;
    }
    if (found < 0 || first > node->beginning.first_entry) {
        return found < 0 ? -1
                         : problem_set(recovery->problem, EXIT_CORRUPT,
                                       "%s: begins at entry %llu, but should at %llu; restore what "
                                       "is missing from a backup",
                                       node->ledger_disk.path, (unsigned long long)first,
                                       (unsigned long long)node->beginning.first_entry);
    }
    node->beginning = (struct beginning){.present = false};
    /* Without a ledger there is nothing to put anything in front of. */
    return found == 1 ? older_ledger_carry_on(node, recovery->problem)
                      : join_files_remove(node, OLDER_NAME, recovery->problem);
}

static int open_files(struct recovery *recovery) {
    struct node *const node = recovery->node;
    char path[PATH_SIZE_MAX];
    if (data_path(path, node->config.data_directory, "ledger", recovery->problem) != 0 ||
        host_disk_open(&node->data_disk, node->config.data_directory, HOST_DISK_WRITE,
                       recovery->problem) != 0 ||
        join_files_carry_on(node, recovery->problem) != 0 ||
        host_disk_open(&node->ledger_disk, path, HOST_DISK_WRITE, recovery->problem) != 0 ||
        load_beginning(recovery) != 0 ||
        guard_load(&recovery->guard, node, recovery->problem) != 0 || open_journal(recovery) != 0 ||
        open_ledger(recovery) != 0) {
        return -1;
    }
    segment_reader_init(&recovery->reader, &node->ledger_disk.disk,
                        &configuration_of(recovery)->service, false);
    return 0;
}

/* ---- reading batches ------------------------------------------------------------------------- */

/* Returns: 1 for a whole batch or new view, 0 at the end of the ledger, -1 on a problem. */
static int next_unit(struct recovery *recovery) {
    batch_clear(&recovery->batch);
    for (;;) {
        struct segment_record record;
        enum rule rule = RULE_NONE;
        int const got = segment_reader_next(&recovery->reader, &record, recovery->problem);
        if (got != 1) {
            return got;
        }
        struct entry const entry = {.kind = record.kind, .payload = record.payload};
        recovery->step = batch_add(&recovery->batch, record.index, &entry, &rule);
        switch (recovery->step) {
        case BATCH_MORE:
            break;
        case BATCH_WHOLE:
        case BATCH_VIEW:
            return 1;
        case BATCH_BROKEN:
            return problem_set(recovery->problem, EXIT_CORRUPT,
                               "%s/%s: damaged at offset %llu: %s; restore this file from a "
                               "backup or another replica",
                               recovery->node->ledger_disk.path, record.file_name,
                               (unsigned long long)record.offset, rule_text(rule));
        }
    }
}

static int seek(struct recovery *recovery, uint64_t entry) {
    int const found = segment_reader_seek(&recovery->reader, entry, recovery->problem);
    if (found == 0) {
        return problem_set(recovery->problem, EXIT_CORRUPT,
                           "%s: the ledger ends before entry %llu, which the state's checkpoint "
                           "speaks of; restore the ledger, or remove state/ to have it rebuilt",
                           recovery->node->ledger_disk.path, (unsigned long long)entry);
    }
    return found == 1 ? 0 : -1;
}

static int check_genesis(struct recovery *recovery) {
    struct segment_record record;
    if (recovery->node->beginning.present) {
        return 0; /* it is not here; each file names the service */
    }
    if (segment_reader_next(&recovery->reader, &record, recovery->problem) != 1) {
        return problem_set(recovery->problem, EXIT_CORRUPT, "%s: entry 0 cannot be read",
                           recovery->node->ledger_disk.path);
    }
    if (record.kind != ENTRY_GENESIS ||
        !span_equal(record.payload, recovery->node->identity.founding.genesis.bytes)) {
        return problem_set(recovery->problem, EXIT_CORRUPT,
                           "%s/%s: damaged at offset %llu: entry 0 is not the genesis",
                           recovery->node->ledger_disk.path, record.file_name,
                           (unsigned long long)record.offset);
    }
    return 0;
}

/* ---- 2. the snapshot and its window ---------------------------------------------------------- */

/* One batch's requests, as the window remembers them. */
static int load_window_batch(struct recovery *recovery) {
    const struct batch *const batch = &recovery->batch;
    const struct node *const node = recovery->node;
    if (checker_load_window(node->checker, &recovery->arena, batch)) {
        return 0;
    }
    if (checker_failed(node->checker)) {
        return out_of_memory(recovery);
    }
    return problem_set(recovery->problem, EXIT_CORRUPT,
                       "%s: batch %llu, entry %llu: is not what the state's checkpoint was made "
                       "of; restore the ledger from a backup or another replica",
                       node->ledger_disk.path, (unsigned long long)batch->pre_prepare.seq,
                       (unsigned long long)batch->first_entry);
}

static int load_past_batch(struct recovery *recovery) {
    replica_load_past(recovery->node->replica, &recovery->batch);
    return 0;
}

/* Visit the batches in the entries [first, end); new views among them are passed over. */
static int visit_batches(struct recovery *recovery, uint64_t first, uint64_t end,
                         int (*visit)(struct recovery *recovery)) {
    uint64_t next = first;
    if (seek(recovery, first) != 0) {
        return -1;
    }
    while (next < end) {
        int const got = next_unit(recovery);
        if (got != 1) {
            return got == 0 ? seek(recovery, end) : -1;
        }
        if (recovery->step == BATCH_WHOLE && visit(recovery) != 0) {
            return -1;
        }
        next = recovery->batch.first_entry + batch_entry_count(&recovery->batch);
    }
    return 0;
}

static int load_window(struct recovery *recovery, uint64_t window_entry, uint64_t end_entry) {
    if (window_entry != 0 &&
        visit_batches(recovery, window_entry, end_entry, load_window_batch) != 0) {
        return -1;
    }
    if (!checker_window_holds(recovery->node->checker)) {
        return problem_set(recovery->problem, EXIT_CORRUPT,
                           "%s: the requests before entry %llu are not those that the state's "
                           "checkpoint was made of; restore the ledger, or remove state/",
                           recovery->node->ledger_disk.path, (unsigned long long)end_entry);
    }
    return 0;
}

static int load_snapshot(struct recovery *recovery, struct span bytes) {
    struct node *const node = recovery->node;
    struct checker_snapshot snapshot;
    struct arena arena;
    arena_init(&arena, 2 * (size_t)SNAPSHOT_SIZE_MAX);
    bool const loaded = checker_snapshot_decode(&snapshot, &arena, bytes) == CODEC_OK &&
                        checker_load(node->checker, &snapshot, &arena, true);
    uint64_t const window_entry = loaded ? snapshot.window_entry : 0;
    recovery->past_entry = loaded ? snapshot.past_entry : 0;
    arena_free(&arena);
    if (!loaded) {
        return problem_set(recovery->problem, EXIT_CORRUPT,
                           "%s/state: the checkpoint's snapshot contradicts itself; remove state/ "
                           "to have it rebuilt from the ledger",
                           node->config.data_directory);
    }
    recovery->first_tail_entry = checker_position(node->checker)->entries;
    return load_window(recovery, window_entry, recovery->first_tail_entry);
}

/* The configuration that the state's checkpoint is of. */
static uint64_t checkpoint_config(const struct node *node) {
    const struct state_checkpoint *const checkpoint = state_store_checkpoint(node->store);
    uint64_t number = FOUNDING_CONFIGURATION;
    /* Of one that does not decode load_snapshot tells. */
    return checkpoint->present && constitution_number_of(&number, checkpoint->snapshot)
               ? number
               : FOUNDING_CONFIGURATION;
}

static int open_configuration(struct recovery *recovery) {
    struct node *const node = recovery->node;
    uint64_t const number = checkpoint_config(node);
    node->constitution = calloc(1, sizeof *node->constitution);
    node->configuration = calloc(1, sizeof *node->configuration);
    if (node->constitution == NULL || node->configuration == NULL) {
        return out_of_memory(recovery);
    }
    if (constitution_load(node->constitution, node, number, recovery->problem) != 0) {
        return -1;
    }
    constitution_configuration(node->configuration, node->constitution);
    node->kept_config = number;
    return 0;
}

static int open_state(struct recovery *recovery) {
    struct node *const node = recovery->node;
    node->store = state_store_open(node->config.data_directory,
                                   &configuration_of(recovery)->service, recovery->problem);
    if (node->store == NULL || open_configuration(recovery) != 0) {
        return -1;
    }
    node->checker = checker_new(node->configuration);
    if (node->checker == NULL) {
        return out_of_memory(recovery);
    }
    const struct state_checkpoint *const checkpoint = state_store_checkpoint(node->store);
    struct state_base const base = state_store_base(node->store);
    node->engine = engine_new(&base);
    if (node->engine == NULL) {
        return out_of_memory(recovery);
    }
    if (checkpoint->present) {
        return load_snapshot(recovery, checkpoint->snapshot);
    }
    if (node->beginning.present) {
        return problem_set(recovery->problem, EXIT_CORRUPT,
                           "%s/state: is lost, and the ledger, which begins at entry %llu, cannot "
                           "rebuild it; restore it, or remove " OLDER_NAME
                           " and ledger: the replica then joins anew, and votes no more",
                           node->config.data_directory,
                           (unsigned long long)node->beginning.first_entry);
    }
    checker_start(node->checker, node->identity.founding.genesis.bytes);
    recovery->first_tail_entry = 1;
    return 0;
}

/* ---- 3. the past and the tail ---------------------------------------------------------------- */

static int make_replica(struct recovery *recovery) {
    struct node *const node = recovery->node;
    struct replica_options options = {
        .configuration = node->configuration,
        .constitution = node->constitution,
        .key = node->identity.key,
        .signing_key = node->identity.signing_key,
        .checker = node->checker,
        .engine = node->engine,
        .limits = {.pool_requests_max = node->config.request_pool_max,
                   .pool_size_max = REQUEST_POOL_SIZE_MAX},
    };
    static_assert(sizeof options.nonce_secret == sizeof node->identity.nonce_secret.bytes,
                  "the nonce secret has one size");
    memcpy(options.nonce_secret, node->identity.nonce_secret.bytes, sizeof options.nonce_secret);
    node->replica = replica_new(&options);
    sign_key_wipe(&options.signing_key);
    explicit_bzero(options.nonce_secret, sizeof options.nonce_secret);
    return node->replica == NULL ? out_of_memory(recovery) : 0;
}

static int load_past(struct recovery *recovery) {
    uint64_t const first = recovery->past_entry;
    uint64_t const end = recovery->first_tail_entry;
    return first == 0 || first >= end ? 0 : visit_batches(recovery, first, end, load_past_batch);
}

static int each_record(struct recovery *recovery,
                       void (*take)(struct replica *replica, const struct journal_record *record)) {
    struct span rest = buffer_span(&recovery->journal);
    while (rest.size > 0) {
        struct journal_record record;
        size_t const size = load_u32_be(rest.data); /* keep_record's own */
        arena_reset(&recovery->arena);
        enum codec_result const result =
            journal_record_decode(&record, &recovery->arena, span_of(rest.data + 4, size));
        if (result != CODEC_OK) {
            return problem_set(recovery->problem, EXIT_CORRUPT,
                               "%s/%s: damaged at offset %zu of its records: %s",
                               recovery->node->config.data_directory, JOURNAL_NAME,
                               recovery->journal.size - rest.size, codec_result_text(result));
        }
        take(recovery->node->replica, &record);
        rest = span_of(rest.data + 4 + size, rest.size - 4 - size);
    }
    return 0;
}

static const char *reason_to_cut(const struct batch *unfinished) {
    if (batch_is_empty(unfinished)) {
        return "cut new views off the ledger; the configuration before must be ended again";
    }
    return batch_entry_at(unfinished, 0).kind == ENTRY_VIEW_CHANGE_SET
               ? "cut an incomplete new view off the ledger"
               : "cut an incomplete batch off the ledger";
}

/*
 * The last batch or new view was being written when the process ended; or new views stand behind
 * the end of a configuration that was not committed for good.
 */
static int cut_end(struct recovery *recovery) {
    struct node *const node = recovery->node;
    if (each_record(recovery, replica_look_at_journal) != 0) {
        return -1;
    }
    uint64_t const end = replica_load_end(node->replica);
    if (end >= segment_writer_next_index(&node->ledger)) {
        return 0;
    }
    log_event(LOG_WARN, reason_to_cut(&recovery->batch),
              (struct log_field[]){log_number("entry", end), log_end()});
    return segment_writer_truncate(&node->ledger, end, recovery->problem) == SEGMENT_OK ? 0 : -1;
}

/* The tail passed a checkpoint that the state lacks: an old state, or none. Write it now. */
static int write_checkpoint(struct recovery *recovery) {
    struct node *const node = recovery->node;
    const struct checkpoint_cut *const due = replica_load_cut(node->replica);
    if (due == NULL) {
        return 0;
    }
    struct checkpoint_cut cut = *due;
    if (state_store_write_cut(node->store, node->engine, &cut, recovery->problem) != 0 ||
        state_store_refresh_carrying(node->store, cut.header.checkpoint_seq, recovery->problem) !=
            0) {
        return -1;
    }
    replica_load_checkpoint(node->replica, cut.header.seq, cut.header.state_count,
                            &cut.header.state_root);
    return 0;
}

/* Execute again what next_unit read. */
static int replay_unit(struct recovery *recovery) {
    const struct batch *const batch = &recovery->batch;
    bool const view = recovery->step == BATCH_VIEW;
    enum rule const rule = replica_load_batch(recovery->node->replica, batch, recovery->step);
    if (rule != RULE_NONE) {
        return problem_set(
            recovery->problem, EXIT_CORRUPT,
            "%s: %s %llu, entry %llu, breaks a rule: %s; restore the ledger from a backup or "
            "another replica",
            recovery->node->ledger_disk.path, view ? "new view" : "batch",
            (unsigned long long)(view ? batch->view.new_view.view : batch->pre_prepare.seq),
            (unsigned long long)batch->first_entry, rule_text(rule));
    }
    return node_keep_constitutions(recovery->node, recovery->problem) != 0
               ? -1
               : write_checkpoint(recovery);
}

static int replay_tail(struct recovery *recovery) {
    uint64_t units = 0;
    int got = recovery->first_tail_entry < segment_writer_next_index(&recovery->node->ledger);
    batch_clear(&recovery->batch);
    if (got == 1 && seek(recovery, recovery->first_tail_entry) != 0) {
        return -1;
    }
    while (got == 1) {
        got = next_unit(recovery);
        if (got < 0 || (got == 1 && replay_unit(recovery) != 0)) {
            return -1;
        }
        units += got == 1;
    }
    log_event(LOG_DEBUG, "executed the ledger's tail again",
              (struct log_field[]){log_number("batches", units), log_end()});
    return cut_end(recovery);
}

/* ---- 4. the journal's records ---------------------------------------------------------------- */

static int load_records(struct recovery *recovery) {
    if (each_record(recovery, replica_load_journal) != 0) {
        return -1;
    }
    replica_load_done(recovery->node->replica);
    return 0;
}

static int apply_guard(struct recovery *recovery) {
    struct node *const node = recovery->node;
    struct replica_status status;
    if (recovery->guard != GUARD_NONE) {
        replica_engage_guard(node->replica, recovery->guard);
    }
    replica_status(node->replica, &status);
    if (status.guard == GUARD_NONE) {
        return 0;
    }
    log_event(LOG_ERROR, "this replica serves and follows, but will not vote with this key again",
              (struct log_field[]){log_text("reason", guard_text(status.guard)), log_end()});
    node->guard_stored = true;
    return guard_store(node, status.guard, recovery->problem);
}

/* ---- all of it ------------------------------------------------------------------------------- */

int node_recover(struct node *node, struct problem *problem) {
    struct recovery recovery = {.node = node, .problem = problem};
    batch_init(&recovery.batch);
    arena_init(&recovery.arena, ARENA_BUDGET);
    buffer_init(&recovery.journal, 2 * (size_t)JOURNAL_SIZE_MAX);
    bool const opened = open_files(&recovery) == 0;
    bool const recovered = opened && check_genesis(&recovery) == 0 && open_state(&recovery) == 0 &&
                           make_replica(&recovery) == 0 && load_past(&recovery) == 0 &&
                           replay_tail(&recovery) == 0 && load_records(&recovery) == 0 &&
                           apply_guard(&recovery) == 0;
    if (opened) {
        segment_reader_free(&recovery.reader);
    }
    buffer_free(&recovery.journal);
    arena_free(&recovery.arena);
    batch_free(&recovery.batch);
    return recovered ? 0 : -1;
}
