/*
 * joining: see joining.h. Nothing needs to be durable before the end, when all of it is, and then
 * renamed: a crash before that leaves a joining/ which the next start removes.
 */
#include "node/joining.h"

#include "base/check.h"
#include "node/join_files.h"
#include "node/node.h"

void joining_init(struct joining *joining, const struct node *node) {
    *joining = (struct joining){.node = node, .disk = {.directory = -1}, .writer = {.file = -1}};
}

static void close_ledger(struct joining *joining) {
    if (joining->has_ledger) {
        segment_writer_close(&joining->writer);
        host_disk_close(&joining->disk);
        joining->has_ledger = false;
    }
}

void joining_free(struct joining *joining) {
    close_ledger(joining);
    state_build_discard(joining->build);
    joining->build = NULL;
}

static int begin(struct joining *joining, const struct join_effect *effect,
                 struct problem *problem) {
    const struct node *const node = joining->node;
    char path[PATH_SIZE_MAX];
    joining_free(joining);
    joining->failed = false;
    joining->signed_elsewhere = false;
    joining->state_count = effect->begin.state_count;
    joining->state_root = effect->begin.state_root;
    if (join_files_begin(node, problem) != 0 ||
        join_files_path(path, node, JOINING_NAME, NULL, problem) != 0) {
        return -1;
    }
    joining->build =
        state_build_open(path, &node->identity.founding.configuration.service, problem);
    return joining->build == NULL ? -1 : 0;
}

static int put_items(struct joining *joining, const struct join_effect *effect,
                     struct problem *problem) {
    for (uint32_t i = 0; i < effect->items.count; i++) {
        const struct state_item *const item = &effect->items.items[i];
        if (state_build_put(joining->build, item->key, item->value, problem) != 0) {
            return -1;
        }
    }
    return 0;
}

static int begin_ledger(struct joining *joining, uint64_t first_entry, struct problem *problem) {
    const struct node *const node = joining->node;
    struct segment_torn_tail torn;
    struct segment_writer_options const options = {
        .service = node->identity.founding.configuration.service, .first_index = first_entry};
    char path[PATH_SIZE_MAX];
    close_ledger(joining);
    joining->signed_elsewhere = false;
    if (join_files_remove_ledger(node, JOINING_NAME, problem) != 0 ||
        join_files_path(path, node, JOINING_NAME, "ledger", problem) != 0 ||
        host_disk_open(&joining->disk, path, HOST_DISK_WRITE, problem) != 0) {
        return -1;
    }
    joining->has_ledger = true;
    return segment_writer_open(&joining->writer, &torn, &joining->disk.disk, &options, problem) ==
                   SEGMENT_OK
               ? 0
               : -1;
}

void joining_note_own_vote(struct joining *joining) {
    joining->signed_elsewhere = true;
}

static int append_entries(struct joining *joining, const struct join_effect *effect,
                          struct problem *problem) {
    switch (segment_writer_append(&joining->writer, effect->entries.entries, effect->entries.count,
                                  true, problem)) {
    case SEGMENT_OK:
        return 0;
    case SEGMENT_FULL:
        return problem_set(problem, EXIT_ERROR, "%s: the disk is full; free some space",
                           joining->disk.path);
    case SEGMENT_TORN:
    case SEGMENT_FAILED:
        break;
    }
    return -1;
}

static int complete(struct joining *joining, const struct join_effect *effect,
                    struct problem *problem) {
    const struct node *const node = joining->node;
    struct state_checkpoint const checkpoint = {
        .present = true,
        .seq = effect->complete.seq,
        .count = joining->state_count,
        .root = joining->state_root,
        .snapshot = effect->complete.snapshot,
    };
    struct state_build *const build = joining->build;
    if (effect->complete.first_entry == effect->complete.end_entry) {
        return problem_set(problem, EXIT_ERROR, "the checkpoint came without a ledger");
    }
    if (segment_writer_sync(&joining->writer, problem) != SEGMENT_OK) {
        return -1;
    }
    close_ledger(joining);
    joining->build = NULL; /* it is freed in either case */
    if (state_build_finish(build, &checkpoint, problem) != 0 ||
        (joining->signed_elsewhere && guard_store(node, GUARD_SIGNED_ELSEWHERE, problem) != 0)) {
        return -1;
    }
    return join_files_decide(node, effect->complete.offer, problem);
}

static int clean(struct joining *joining, struct problem *problem) {
    joining_free(joining);
    joining->failed = false;
    return join_files_remove(joining->node, JOINING_NAME, problem);
}

int joining_carry_out(struct joining *joining, const struct join_effect *effect,
                      struct problem *problem) {
    int result = 0;
    if (joining->failed && effect->kind != JOIN_EFFECT_BEGIN &&
        effect->kind != JOIN_EFFECT_NOT_NEEDED) {
        return problem_set(problem, EXIT_ERROR, "it failed before");
    }
    switch (effect->kind) {
    case JOIN_EFFECT_BEGIN:
        result = begin(joining, effect, problem);
        break;
    case JOIN_EFFECT_ITEMS:
        result = put_items(joining, effect, problem);
        break;
    case JOIN_EFFECT_LEDGER_BEGIN:
        result = begin_ledger(joining, effect->ledger_first_entry, problem);
        break;
    case JOIN_EFFECT_ENTRIES:
        result = append_entries(joining, effect, problem);
        break;
    case JOIN_EFFECT_COMPLETE:
        result = complete(joining, effect, problem);
        break;
    case JOIN_EFFECT_NOT_NEEDED:
        result = clean(joining, problem);
        break;
    case JOIN_EFFECT_SEND:
    case JOIN_EFFECT_LINKS:
    case JOIN_EFFECT_CONFIGURATION:
    case JOIN_EFFECT_OLDER:
    case JOIN_EFFECT_OLDER_DONE:
    case JOIN_EFFECT_NOTE:
        UNREACHABLE();
    }
    joining->failed = result != 0;
    return result;
}
