/*
 * simulation: one run of a cluster under faults drawn from its seed (docs/testing.md). First
 * anything may go wrong; then a quorum at least heals, and all that is pending must be receipted;
 * then the real auditor looks at what is left. The same seed and options give the same run.
 */
#ifndef ONUS_TESTS_SIM_SIMULATION_H
#define ONUS_TESTS_SIM_SIMULATION_H

#include "tests/sim/cluster.h"

#define SIM_TEXT_SIZE 2048u
#define SIM_DRAWN UINT32_MAX
#define SIM_EVENTS_MAX 4000000u /* of one run; more is a storm of messages */

struct sim_options {
    uint64_t seed;
    uint32_t replicas;    /* 0: drawn */
    uint32_t byzantine;   /* SIM_DRAWN: drawn; at most f, of those that come first */
    bool real_signatures; /* false: in one run of twenty */
    bool reforms;         /* members change the configuration */
};

#define REAL_SIGNATURES_EVERY 20u

static inline bool sim_signs_in_earnest(const struct sim_options *options) {
    return options->real_signatures || options->seed % REAL_SIGNATURES_EVERY == 0;
}

/* What came of the audits of a run against a coalition (sim_accountability.h). */
struct account_result {
    bool rests;              /* nobody did anything wrong */
    uint64_t audits;         /* ledgers and receipts handed in */
    uint64_t contradictions; /* of those: somebody had to be convicted */
    uint64_t lies;           /* of those again: for a broken rule alone */
    uint64_t proofs;
    uint64_t kinds[PROOF_KIND_END]; /* of proofs */
    uint64_t blamed_sum;            /* over contradictions: by the proof that names most */
    uint32_t blamed_min;            /* 0: there were none */
    uint64_t false_accusations;
    uint64_t missed;
};

/* What came of a run. Plain memory, which a process that dies can leave to its parent. */
struct sim_result {
    char drawn[SIM_TEXT_SIZE];  /* its options, for a person */
    char reason[SIM_TEXT_SIZE]; /* why it failed; empty: not known */
    bool finished;              /* all held */
    bool real_signatures;
    uint32_t replicas;
    uint32_t byzantine;
    uint64_t events;
    uint64_t batches;
    uint64_t requests;
    uint64_t views;
    uint64_t recoveries;
    uint64_t reforms; /* configurations that members made */
    uint64_t judgements;
    uint64_t receipts;
    uint64_t simulated_ms;
    uint64_t faults[FAULT_COUNT];
    struct account_result account;
    struct digest trace_hash;
};

/* Aborts when something does not hold; result->reason says what, if the judge found it. */
void simulation_run(struct sim_result *result, const struct sim_options *options);
/* The same of a run about the end of a configuration, and nothing else (sim_ends.c). */
void ends_run(struct sim_result *result, const struct sim_options *options);

const char *fault_name(enum fault fault);

/* ---- between the files of the simulation ---- */

/* How strong each kind of fault is; 0: off in this run. Permille are per step of the run. */
struct fault_plan {
    uint32_t crash_permille;
    uint32_t crash_all_permille; /* of crashes */
    uint32_t start_permille;     /* of nodes that are down, per step */
    uint32_t stop_permille;
    uint32_t pause_permille;
    uint64_t pause_us_max;
    uint32_t cut_permille;
    uint32_t flap_permille;
    uint32_t heal_permille;
    uint32_t clock_permille;
    uint32_t slow_disk_permille;
    uint32_t full_disk_permille;
    uint32_t disk_error_permille;
    uint32_t crash_in_view_permille; /* of messages about views: sender or receiver crashes */
    uint32_t crash_in_tail_permille; /* of tails that are replaced */
    uint32_t slow_checkpoint_permille;
    uint32_t at_primary_permille;    /* of faults that hit one node: the primary of the moment */
    uint32_t lose_kind_permille;     /* of the frames of the kinds in lose_kinds */
    uint64_t lose_kinds;             /* bitmap of message kinds */
    uint32_t lone_new_view_permille; /* of new views that reach one replica only */
    bool restores;                   /* one disk goes back in time */
    bool restores_journal;
    bool restores_ledger;
};

#define DECLARED_PROPOSALS 16u

/* A new view that a liar declared otherwise than its core did, and what it proposed in it. */
struct declared_view {
    uint64_t view;                             /* as cluster_view has it; 0: none */
    uint64_t next_seq;                         /* the batch to propose next */
    struct frontier frontier;                  /* M as it would be */
    struct span proposals[DECLARED_PROPOSALS]; /* by sequence number */
};

/* Who begins with a checkpoint, and what goes wrong meanwhile (sim_joins.c). */
struct join_plan {
    struct prng prng;
    uint32_t late; /* it is not there before at_step; or CLUSTER_NODES_MAX */
    uint32_t lost; /* it loses its disk then */
    uint32_t at_step;
    bool fills;         /* one of the two is on: the state gets many items */
    bool passes_window; /* there are so many transactions that the ledger begins late */
    uint32_t many;      /* requests for that so far, and the last of them */
    uint32_t last_many;
    bool has_begun;
    bool is_over;            /* all is well again */
    uint32_t crash_permille; /* of messages about a checkpoint: sender or receiver crashes */
    uint32_t crashes;        /* that came of that */
    uint32_t lose_permille;  /* of the same */
};

/* What a Byzantine replica does (sim_byzantine.c). */
struct liar {
    bool is_twin;
    uint32_t mutate_permille; /* of its frames: changed a little, and signed again */
    uint32_t withhold_permille;
    uint64_t withhold_kinds;
    uint32_t equivocate_permille; /* of pre-prepares: another one to some */
    bool alike;                   /* one pre-prepare or new view is changed for all of them alike */
    bool insists;                 /* and it goes on as if that were the truth (insist.h) */
    struct declared_view declared;
    uint32_t flood_permille;
    uint32_t forget_permille;   /* per step: its disk goes back, or is copied */
    uint32_t agitate_permille;  /* of its statuses: it asks for the next view, too */
    uint32_t silent_permille;   /* per step: it falls silent, or speaks again */
    uint32_t boundary_permille; /* of frames while a configuration ends or begins: not as meant */
    bool is_silent;
    uint64_t audience;      /* of a twin: whom it talks to, by replica */
    struct span old_change; /* the body of a view-change that showed a certificate */
    struct span old_range;
    bool censors; /* as a primary: one client's requests never get anywhere */
    uint32_t censored;
};

/* What members are at (sim_reform.c). */
#define REFORMS_REMEMBERED 16u

struct reforming {
    uint32_t permille; /* per step: a proposal, when none is open */
    bool rests;        /* no more of them */
    bool is_open;
    bool is_wanted;            /* all are for it; else all against */
    uint32_t disturb_permille; /* of votes: the primary goes meanwhile */
    uint32_t names;            /* made so far */
    struct span proposal;
    struct digest id;
    uint64_t seen_in[CLUSTER_NODES_MAX];       /* the configuration of each node, last it was up */
    struct digest earlier[REFORMS_REMEMBERED]; /* the ids of those before, in turn */
    uint32_t earlier_count;
    uint32_t proposed; /* the request */
    uint32_t vote_count;
    uint32_t votes[MEMBERS_MAX]; /* requests */
};

struct simulation {
    struct cluster *cluster;
    struct reforming reform;
    struct prng prng; /* of the scenario; the cluster has its own */
    struct sim_result *result;
    struct fault_plan plan;
    struct join_plan joins;
    struct liar liars[CLUSTER_NODES_MAX];
    struct span seen_changes[CLUSTER_NODES_MAX]; /* the last view-change of each replica */
    uint64_t doomed;                             /* nodes that crash before the next event */
    bool liars_rest;
    uint32_t faulty_max;   /* f */
    uint32_t faulty_count; /* Byzantine or restored so far */
    uint32_t restored;     /* a node, or CLUSTER_NODES_MAX */
    bool copies_at_end;    /* its disk is copied when it has ended in order */
    uint32_t careless_permille;
    uint32_t rude_permille; /* clients that send rubbish */
    uint32_t submit_max;
    uint32_t keys;
    uint32_t steps;
    uint64_t step_us_max;
    uint32_t lone_view_to;
};

__attribute__((format(printf, 2, 3))) void sim_say(struct simulation *simulation,
                                                   const char *format, ...);
/* Draw the plan of faults, and say it. */
void faults_draw(struct simulation *simulation);
/* A frame is about to travel, which may be the last that its sender or receiver sees. */
void faults_see(struct simulation *simulation, const struct frame *frame);
/* Let happen what may happen between two events. */
void faults_between(struct simulation *simulation);
/* Let happen what may happen between two steps. */
void faults_step(struct simulation *simulation);
/* Everything works again, for a quorum at least; the rest may stay as it is. */
void faults_heal(struct simulation *simulation, bool all);

/*
 * All come to hold the same. A primary that lies can keep one from that while the service is idle:
 * it tells it another last batch, and nothing shows which one counts but the batch after that. So
 * where liars go on, somebody may have to want something.
 */
void simulation_expect_level(struct simulation *simulation);
/* Say in the result what it was like, and free the cluster. */
void simulation_finish(struct simulation *simulation);
/* Let that much time pass, with what may happen between two events. */
void simulation_run_us(struct simulation *simulation, uint64_t us);
/* Will somebody join in this run, if liars leave room for it? Then checkpoints follow closely. */
bool joins_are_likely(uint64_t seed);
/* Draw who joins, and say it. */
void joins_draw(struct simulation *simulation);
void joins_step(struct simulation *simulation, uint32_t step);
/* May this node be started, or is it still to come? */
bool joins_may_start(const struct simulation *simulation, uint32_t node);
/* Are there still to be transactions until the replay window has left the first batches behind? */
bool joins_pass_window(const struct simulation *simulation);
/* As faults_see. Returns: whether the frame travels. */
bool joins_see(struct simulation *simulation, const struct frame *frame);
void joins_heal(struct simulation *simulation);
/* What joined has the whole ledger, and the state that it leads to. */
void joins_judge(struct simulation *simulation);

/* Choose what the Byzantine replicas do, and say it. */
void liars_draw(struct simulation *simulation);
/* The cluster's filter: what the network loses by plan, and what liars say instead. */
void reforming_draw(struct simulation *simulation);
void reforming_step(struct simulation *simulation);
/* May this replica fail as well, in whatever configuration is or may soon be in force? */
bool reforming_bears_one_more(const struct simulation *simulation, uint32_t id);
/* Let pass what is open. From then on nobody waits for those who are in no configuration. */
void reforming_end(struct simulation *simulation);

bool simulation_filter(void *context, struct cluster *cluster, const struct frame *frame);
void liars_step(struct simulation *simulation);
/* Keep what liars may find a use for. */
void liars_see(struct simulation *simulation, const struct frame *frame);
/* When the run becomes lively: they speak again, and listen to all. */
void liars_pause(struct simulation *simulation);
/* Returns: whether the frame travels as it is. */
bool liar_filter(struct simulation *simulation, const struct frame *frame);

/* Have the real auditor judge all receipts, and the ledgers of correct nodes (sim_audit.c). */
void simulation_audit(struct simulation *simulation);

#endif
