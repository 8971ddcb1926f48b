/*
 * follower: see follower.h. Invariant: what is in the file holds by the chain in memory.
 */
#include "host/follower.h"

#include <stdlib.h>

struct follower {
    const struct context *context;
    struct chain *chain;
    struct configuration newest[2]; /* in turn, since links are in use until others replace them */
    uint32_t turn;
    struct configuration found;
};

struct follower *follower_open(const struct context *context, struct problem *problem) {
    struct follower *const follower = calloc(1, sizeof *follower);
    if (follower == NULL) {
        (void)problem_set(problem, EXIT_ERROR, "out of memory");
        return NULL;
    }
    follower->context = context;
    follower->chain = context_chain_load(context, problem);
    if (follower->chain == NULL) {
        follower_close(follower);
        return NULL;
    }
    return follower;
}

void follower_close(struct follower *follower) {
    if (follower != NULL) {
        chain_free(follower->chain);
        free(follower);
    }
}

const struct constitution *follower_constitution(const struct follower *follower) {
    return chain_newest(follower->chain);
}

const struct configuration *follower_configuration(struct follower *follower) {
    const struct constitution *const newest = chain_newest(follower->chain);
    if (follower->newest[follower->turn].number != newest->number) {
        follower->turn = 1 - follower->turn;
        constitution_configuration(&follower->newest[follower->turn], newest);
        context_use_addresses(follower->context, &follower->newest[follower->turn]);
    }
    return &follower->newest[follower->turn];
}

const struct configuration *follower_find(struct follower *follower, uint64_t number) {
    /* Receipts of one time come together. */
    if (follower->found.number != number &&
        !chain_find_configuration(follower->chain, number, &follower->found)) {
        follower->found.number = 0;
        return NULL;
    }
    return &follower->found;
}

static int refuse(struct problem *problem, const struct chain_verdict *verdict) {
    return problem_set(problem, EXIT_INVALID,
                       "a link of the governance chain does not hold: %s%s%s",
                       chain_check_text(verdict->check), verdict->detail == NULL ? "" : ": ",
                       verdict->detail == NULL ? "" : verdict->detail);
}

int follower_take(struct follower *follower, const struct span *links, uint32_t count,
                  struct problem *problem) {
    uint32_t known = 0; /* of those at the front */
    uint32_t taken = 0;
    int status = 0;
    for (uint32_t i = 0; i < count && status == 0; i++) {
        struct chain_verdict const verdict = chain_add(follower->chain, links[i]);
        if (verdict.check == CHAIN_VALID) {
            taken++;
        } else if (verdict.check == CHAIN_KNOWN && taken == 0) {
            known++;
        } else if (verdict.check == CHAIN_MEMORY) {
            (void)problem_set(problem, EXIT_ERROR, "the governance chain: %s",
                              chain_check_text(verdict.check));
            break; /* no fault of whoever sent it */
        } else {
            status = refuse(problem, &verdict);
        }
    }
    struct problem unwritten = {.code = EXIT_OK};
    if (taken > 0 &&
        context_chain_append(follower->context, links + known, taken, &unwritten) != 0 &&
        problem->code == EXIT_OK) {
        *problem = unwritten;
    }
    return status == 0 ? (int)taken : -1;
}
