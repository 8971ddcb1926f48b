/*
 * checker_internal: what a checker remembers; shared by checker.c (batches), checker_view.c (new
 * views) and checker_load.c (genesis and checkpoints), and not for others.
 */
#ifndef ONUS_LEDGER_CHECKER_INTERNAL_H
#define ONUS_LEDGER_CHECKER_INTERNAL_H

#include "ledger/checker.h"

#define CHECKPOINTS_KNOWN_MAX 8u

struct checkpoint_known {
    uint64_t seq;
    struct digest digest;
    bool known;
};

/* One more than positions before new views: the view in force has a record, too. */
#define VIEW_RECORDS_MAX (VIEW_MARKS_MAX + 1u)

/* What a view took over: its batches view_seq + 1 .. view_seq + count. */
struct view_record {
    uint64_t view; /* 0: free */
    uint32_t carried_count;
    struct carried_batch carried[PIPELINE_MAX];
};

/* What the configuration before was like when it was left: to go back to it. */
struct ended {
    struct ledger_position position; /* after its last batch; seq 0: none was left */
    const struct configuration *before;
    uint32_t view_record_next;
    struct view_record view_records[VIEW_RECORDS_MAX];
};

struct checker {
    const struct configuration *configuration;
    const struct configuration
        *before; /* that ended at now.config_start; NULL: founding, unknown */
    struct ended ended;
    struct window *window;
    struct ledger_position now;
    struct ledger_position marks[CHECKER_MARKS_MAX];
    struct pending_batch pending[CHECKER_MARKS_MAX];
    uint64_t mark_first;
    uint64_t settled_seq;
    uint32_t view_mark_count;
    struct ledger_position view_marks[VIEW_MARKS_MAX]; /* each just before a new view */
    uint32_t view_record_next;
    struct view_record view_records[VIEW_RECORDS_MAX]; /* a ring; the latest views */
    struct checkpoint_known checkpoints[CHECKPOINTS_KNOWN_MAX];
    uint64_t loaded_window_seq;
    struct digest loaded_window_root;
    uint64_t loaded_window_entry;
    struct anchors anchors;

    /* the batch in progress */
    bool in_batch;
    bool skimming;          /* its requests are not here */
    bool batch_closes;      /* its last call makes the next configuration */
    enum rule request_rule; /* the first rule that a request of the batch broke */
    uint64_t batch_first_index;
    uint64_t batch_tx_count;
    struct tree batch_tree;

    bool failed;
};

/* Remember the position as it is now as that after batch now.seq. */
void checker_mark_now(struct checker *checker);
/* Is this batch what was carried (§6)? NULL: nothing was. */
bool carried_matches(const struct carried_batch *carried, const struct pre_prepare *body);
/* What the next batch must state when it is of this kind. */
uint64_t checker_gov_index_of(const struct checker *checker, enum batch_kind kind);
/* May a batch of this kind, and so many transactions, stand next? */
bool checker_kind_fits(const struct checker *checker, const struct pre_prepare *body);
/* Must it evidence all batches before it? */
bool checker_evidences_all(const struct checker *checker, const struct pre_prepare *body);
/* The configuration of a batch up to now.seq. */
const struct configuration *checker_configuration_of(const struct checker *checker, uint64_t seq);
/*
 * The first regular checkpoint of the configuration: a multiple of C, at least C behind where it
 * began. A checkpoint knows the digests of itself and of the one that its batch carries: the next
 * batches must need no other, so none may come between the boundary's and this.
 */
uint64_t checker_first_checkpoint(const struct checker *checker);
/* This batch now stands: what does that mean for the configuration? */
void checker_advance_configuration(struct checker *checker, const struct pre_prepare *body);
/* Remember what a view takes over. */
void checker_record_view(struct checker *checker, const struct view_record *record);

#endif
