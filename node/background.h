/*
 * background: a thread for one kind of slow work (reading ledgers for others, checkpoints), so
 * that the loop never waits for a disk and signature checks never wait for either. Jobs run one
 * after another; each comes back to the loop.
 */
#ifndef ONUS_NODE_BACKGROUND_H
#define ONUS_NODE_BACKGROUND_H

#include <sys/queue.h>
#include <uv.h>

#include "base/problem.h"

/* The first member of a job's own struct. Whoever bounds the number of jobs is who adds them. */
struct background_job {
    STAILQ_ENTRY(background_job) next;
    void (*run)(struct background_job *job);  /* on the thread */
    void (*done)(struct background_job *job); /* on the loop; owns the job again */
};

struct background;

/* On such a thread: from now on let the others go first. */
void background_lower_priority(void);

MUST_USE struct background *background_start(uv_loop_t *loop, struct problem *problem);
void background_add(struct background *background, struct background_job *job);
/*
 * Wait for the job at hand; jobs that did not start are not run, but all are given back through
 * done before this returns.
 */
void background_stop(struct background *background);

#endif
