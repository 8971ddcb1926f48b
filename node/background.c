/*
 * background: see background.h. Jobs wait in `waiting`, then, run, in `finished`; both are under
 * the lock.
 */
#include "node/background.h"

#include <stdlib.h>
#include <sys/resource.h>

#include "base/check.h"

STAILQ_HEAD(job_list, background_job);

struct background {
    uv_thread_t thread;
    uv_mutex_t lock;
    uv_cond_t wake;
    uv_async_t async;
    bool stopping;
    struct job_list waiting;
    struct job_list finished;
};

/* Low enough to yield to everything else, high enough to get on where others keep all cores busy.
 */
#define NICENESS 10

void background_lower_priority(void) {
    /* On Linux a thread has one of its own. Without it the work is the same, only less polite. */
    (void)setpriority(PRIO_PROCESS, 0, NICENESS);
}

static void thread_main(void *argument) {
    struct background *const background = argument;
    uv_mutex_lock(&background->lock);
    while (!background->stopping) {
        struct background_job *const job = STAILQ_FIRST(&background->waiting);
        if (job == NULL) {
            uv_cond_wait(&background->wake, &background->lock);
            continue;
        }
        STAILQ_REMOVE_HEAD(&background->waiting, next);
        uv_mutex_unlock(&background->lock);
        job->run(job);
        uv_mutex_lock(&background->lock);
        STAILQ_INSERT_TAIL(&background->finished, job, next);
        (void)uv_async_send(&background->async); /* fails only on a handle that is no async */
    }
    uv_mutex_unlock(&background->lock);
}

static void give_back(struct background *background) {
    struct job_list finished = STAILQ_HEAD_INITIALIZER(finished);
    uv_mutex_lock(&background->lock);
    STAILQ_CONCAT(&finished, &background->finished);
    uv_mutex_unlock(&background->lock);
    struct background_job *job;
    while ((job = STAILQ_FIRST(&finished)) != NULL) {
        STAILQ_REMOVE_HEAD(&finished, next);
        job->done(job);
    }
}

static void on_async(uv_async_t *async) {
    give_back(async->data);
}

struct background *background_start(uv_loop_t *loop, struct problem *problem) {
    struct background *const background = calloc(1, sizeof *background);
    if (background == NULL) {
        (void)problem_set(problem, EXIT_ERROR, "start a thread: out of memory");
        return NULL;
    }
    STAILQ_INIT(&background->waiting);
    STAILQ_INIT(&background->finished);
    CHECK(uv_mutex_init(&background->lock) == 0 && uv_cond_init(&background->wake) == 0);
    int error = uv_async_init(loop, &background->async, on_async);
    background->async.data = background;
    if (error == 0) {
        error = uv_thread_create(&background->thread, thread_main, background);
    }
    if (error != 0) {
        (void)problem_set(problem, EXIT_ERROR, "start a thread: %s", uv_strerror(error));
        return NULL; /* the process ends: what is left over goes with it */
    }
    return background;
}

void background_add(struct background *background, struct background_job *job) {
    uv_mutex_lock(&background->lock);
    STAILQ_INSERT_TAIL(&background->waiting, job, next);
    uv_cond_signal(&background->wake);
    uv_mutex_unlock(&background->lock);
}

static void on_async_closed(uv_handle_t *handle) {
    struct background *const background = handle->data;
    uv_mutex_destroy(&background->lock);
    uv_cond_destroy(&background->wake);
    free(background);
}

void background_stop(struct background *background) {
    uv_mutex_lock(&background->lock);
    background->stopping = true;
    uv_cond_signal(&background->wake);
    uv_mutex_unlock(&background->lock);
    CHECK(uv_thread_join(&background->thread) == 0);
    STAILQ_CONCAT(&background->finished, &background->waiting);
    give_back(background);
    uv_close((uv_handle_t *)&background->async, on_async_closed);
}
