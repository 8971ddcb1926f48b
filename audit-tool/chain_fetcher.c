/*
 * chain_fetcher: see chain_fetcher.h. One query is under way to each replica of a round; one whose
 * links led on, and who says that it has more, is asked again.
 */
#include "audit-tool/chain_fetcher.h"

#include <stdlib.h>

#include "base/check.h"
#include "host/clock.h"
#include "host/replica_links.h"

#define LOOK_MS 20u
/* A reply is decoded in place; what is unpacked and packed again to be compared takes this much. */
#define REPLY_BUDGET (8 * (size_t)FRAME_SIZE_MAX)

struct round {
    struct follower *follower;
    const struct configuration *configuration; /* whose replicas are asked */
    uv_loop_t loop;
    uv_timer_t look;
    struct replica_links *links;
    uint64_t deadline_at_ms; /* monotonic */
    uint64_t asked;          /* bitmaps */
    uint64_t answered;
    struct problem *unkept;
    bool failed;
};

static uint64_t bit(uint32_t replica) {
    return UINT64_C(1) << replica;
}

static void ask(struct round *round, uint32_t replica) {
    uint8_t memory[64];
    struct buffer query;
    buffer_init_on(&query, memory, sizeof memory);
    round->failed |= !chain_query_encode(&query, follower_constitution(round->follower)->number);
    if (replica_links_send(round->links, replica, MESSAGE_CHAIN_QUERY, buffer_span(&query))) {
        round->asked |= bit(replica);
    } else {
        round->answered |= bit(replica); /* it hangs up */
    }
}

static void on_link(void *context, uint32_t replica, bool up) {
    struct round *const round = context;
    if (up && (round->asked & bit(replica)) == 0) {
        ask(round, replica);
    } else if (!up) {
        round->answered |= bit(replica);
    }
}

/* Did it lead on, and is there more where it came from? */
static bool take(struct round *round, const struct chain_reply_message *reply) {
    struct problem problem = {.code = EXIT_OK};
    if (reply->link_count == 0) {
        return false;
    }
    int const taken = follower_take(round->follower, reply->links, reply->link_count, &problem);
    if (taken > 0 && problem.code != EXIT_OK) {
        *round->unkept = problem;
    }
    return taken > 0 && reply->config > follower_constitution(round->follower)->number;
}

static void on_frame(void *context, uint32_t replica, uint8_t kind, struct span payload) {
    struct round *const round = context;
    struct chain_reply_message reply;
    struct arena arena;
    if (kind != MESSAGE_CHAIN_REPLY || (round->asked & bit(replica)) == 0 ||
        (round->answered & bit(replica)) != 0) {
        return;
    }
    arena_init(&arena, REPLY_BUDGET);
    if (chain_reply_message_decode(&reply, &arena, payload) == CODEC_OK && take(round, &reply)) {
        ask(round, replica);
    } else {
        round->answered |= bit(replica);
    }
    arena_free(&arena);
}

static size_t frame_size_max(uint8_t kind) {
    return kind == MESSAGE_CHAIN_REPLY ? message_size_max(kind) : 0;
}

/* Has each answered, or turned out not to be there? */
static bool is_over(const struct round *round) {
    for (uint32_t r = 0; r < round->configuration->replica_count; r++) {
        bool const is_gone =
            replica_links_is_settled(round->links, r) && !replica_links_is_up(round->links, r);
        if ((round->answered & bit(r)) == 0 && !is_gone) {
            return false;
        }
    }
    return true;
}

static void on_look(uv_timer_t *timer) {
    struct round *const round = timer->data;
    if (round->failed || clock_monotonic_ms() >= round->deadline_at_ms || is_over(round)) {
        replica_links_close(round->links);
        uv_close((uv_handle_t *)timer, NULL);
    }
}

static int run_round(struct round *round, struct problem *problem) {
    struct replica_links_handlers const handlers = {.context = round,
                                                    .on_link = on_link,
                                                    .on_frame = on_frame,
                                                    .frame_size_max = frame_size_max};
    int const error = uv_loop_init(&round->loop);
    if (error != 0) {
        return problem_set(problem, EXIT_ERROR, "set up the event loop: %s", uv_strerror(error));
    }
    round->links =
        replica_links_create(&round->loop, round->configuration, UINT64_MAX, &handlers, problem);
    if (round->links != NULL) {
        CHECK(uv_timer_init(&round->loop, &round->look) == 0);
        round->look.data = round;
        CHECK(uv_timer_start(&round->look, on_look, LOOK_MS, LOOK_MS) == 0);
    }
    (void)uv_run(&round->loop, UV_RUN_DEFAULT); /* until what was begun is closed */
    CHECK(uv_loop_close(&round->loop) == 0);
    if (round->failed) {
        return problem_set(problem, EXIT_ERROR, "out of memory");
    }
    return round->links == NULL ? -1 : 0;
}

int chain_fetch(struct follower *follower, uint64_t round_ms, struct problem *unkept,
                struct problem *problem) {
    *unkept = (struct problem){.code = EXIT_OK};
    uint64_t known = 0;
    while (known < follower_constitution(follower)->number) {
        known = follower_constitution(follower)->number;
        struct round round = {.follower = follower,
                              .configuration = follower_configuration(follower),
                              .deadline_at_ms = clock_monotonic_ms() + round_ms,
                              .unkept = unkept};
        if (run_round(&round, problem) != 0) {
            return -1;
        }
    }
    return 0;
}
