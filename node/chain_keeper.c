/*
 * chain_keeper: see chain_keeper.h. One job is on the thread at a time, and the store is the
 * thread's meanwhile; what clients may be told is kept apart, as far as it is durable. One answer
 * is being made at a time, so that many who ask cost the memory of one; clients and peers are
 * answered by turns.
 */
#include "node/chain_keeper.h"

#include <stdlib.h>

#include "base/check.h"
#include "governance/founding.h"
#include "ledger/wire.h"
#include "node/chain_link.h"
#include "node/chain_store.h"
#include "node/joiner.h"
#include "node/node.h"

enum keeper_work { KEEPER_OPEN, KEEPER_MAKE, KEEPER_TAKE };

/* Who wants links. */
struct asker {
    bool is_peer;
    uint64_t origin; /* a client's, or a peer's row */
    uint64_t config; /* from this one on */
};

/* Links for somebody: the piece of the file that they are in. */
struct chain_answer {
    struct background_job job;
    struct node *node;
    struct asker asker;
    uint64_t newest;
    struct chain_piece piece;
    struct buffer message; /* the encoded answer; empty: memory is short */
    struct problem problem;
};

struct chain_keeper {
    struct background_job job;
    struct node *node;
    struct background *thread;
    uv_timer_t retry;
    enum keeper_work work;
    bool busy;
    bool opened;
    bool put_off; /* until the timer says so */
    uint32_t retry_ms;
    uint64_t target; /* configurations up to this one were entered */
    uint64_t after;  /* once this is on the disk; a disk position */
    char obstacle[PROBLEM_TEXT_SIZE];

    uint64_t first;     /* where links begin in the file */
    struct buffer ends; /* of uint64_t: where each link that clients may have ends in it */
    struct chain_answer answer;
    bool answering;
    bool peers_are_next;
    struct constitution found; /* that somebody asked for last */

    /* the thread's while busy */
    _Atomic bool stopping; /* the loop sets it */
    struct chain_store store;
    uint64_t end_entry;
    const struct span *links; /* to be taken; not the keeper's */
    uint32_t link_count;
    uint32_t giver;
    struct chain_verdict verdict; /* of the one after those that were */
    int result;
    struct problem problem;
};

/* ---- on the thread --------------------------------------------------------------------------- */

/* Returns: 1: a link was added; 0: the ledger does not have it yet; -1. */
static int make_link(struct chain_keeper *keeper) {
    struct chain_link_source const source = {.disk = &keeper->node->ledger_disk.disk,
                                             .now = chain_newest(keeper->store.chain),
                                             .end_entry = keeper->end_entry,
                                             .stopping = &keeper->stopping};
    struct buffer link;
    buffer_init(&link, CHAIN_LINK_SIZE_MAX);
    int result = chain_link_find(&link, &source, &keeper->problem);
    if (result == 1) {
        int const kept = chain_store_append(&keeper->store, buffer_span(&link), &keeper->problem);
        result = kept == 0 ? 1 : -1;
    }
    buffer_free(&link);
    return result;
}

/* Returns: 1: they were judged, up to the first that does not hold; -1. */
static int take_links(struct chain_keeper *keeper) {
    for (uint32_t i = 0; i < keeper->link_count && !atomic_load(&keeper->stopping); i++) {
        if (chain_store_take(&keeper->store, keeper->links[i], &keeper->verdict,
                             &keeper->problem) != 0) {
            return -1;
        }
        if (keeper->verdict.check != CHAIN_VALID && keeper->verdict.check != CHAIN_KNOWN) {
            return 1;
        }
    }
    return 1;
}

static void run(struct background_job *job) {
    struct chain_keeper *const keeper = (struct chain_keeper *)job;
    background_lower_priority();
    switch (keeper->work) {
    case KEEPER_OPEN:
        keeper->result = chain_store_open(&keeper->store, &keeper->problem) == 0 ? 1 : -1;
        break;
    case KEEPER_MAKE:
        keeper->result = make_link(keeper);
        break;
    case KEEPER_TAKE:
        keeper->result = take_links(keeper);
        break;
    }
}

/* ---- keeping --------------------------------------------------------------------------------- */

static uint64_t link_count(const struct chain_keeper *keeper) {
    return keeper->ends.size / sizeof(uint64_t);
}

static void start(struct chain_keeper *keeper, enum keeper_work work) {
    keeper->work = work;
    keeper->busy = true;
    keeper->end_entry = keeper->node->ledger_entries;
    keeper->problem = (struct problem){0};
    background_add(keeper->thread, &keeper->job);
}

static void go_on(struct chain_keeper *keeper) {
    const struct node *const node = keeper->node;
    uint64_t const links = link_count(keeper);
    if (keeper->busy || keeper->put_off || node->stopping) {
        return;
    }
    if (!keeper->opened) {
        start(keeper, KEEPER_OPEN);
    } else if (links + 1 < keeper->target && links < CHAIN_LINKS_MAX && !node->beginning.present &&
               keeper->after <= node->durable) {
        start(keeper, KEEPER_MAKE);
    }
}

static void on_retry(uv_timer_t *timer) {
    struct chain_keeper *const keeper = timer->data;
    keeper->put_off = false;
    go_on(keeper);
}

static void put_off(struct chain_keeper *keeper) {
    CHECK(uv_timer_start(&keeper->retry, on_retry, keeper->retry_ms, 0) == 0);
    keeper->put_off = true;
    keeper->retry_ms =
        keeper->retry_ms > CHAIN_RETRY_MS_MAX / 2 ? CHAIN_RETRY_MS_MAX : 2 * keeper->retry_ms;
}

/* What the disk says is looked at afresh. */
static void failed(struct chain_keeper *keeper) {
    log_event(LOG_ERROR, "the governance chain cannot be kept; trying again",
              (struct log_field[]){log_text("problem", keeper->problem.text), log_end()});
    memcpy(keeper->obstacle, keeper->problem.text, sizeof keeper->obstacle);
    keeper->opened = false;
    put_off(keeper);
}

/* What is durable now, clients may have. */
static bool publish(struct chain_keeper *keeper) {
    keeper->first = keeper->store.first;
    buffer_clear(&keeper->ends);
    return buffer_append(&keeper->ends, buffer_span(&keeper->store.ends));
}

static void note_opened(struct chain_keeper *keeper) {
    keeper->opened = true;
    if (keeper->store.was_damaged) {
        log_event(LOG_WARN, "the governance chain was damaged; making the rest of it anew",
                  (struct log_field[]){log_number("links", link_count(keeper)), log_end()});
    }
}

static void note_made(struct chain_keeper *keeper) {
    keeper->obstacle[0] = '\0';
    keeper->retry_ms = CHAIN_RETRY_MS_MIN;
    log_event(LOG_INFO, "kept a link of the governance chain",
              (struct log_field[]){log_number("config", link_count(keeper) + 1), log_end()});
}

/* What came of links that a peer gave. */
static void note_taken(struct chain_keeper *keeper, uint64_t links_before) {
    const struct chain_verdict *const verdict = &keeper->verdict;
    bool const holds = verdict->check == CHAIN_VALID || verdict->check == CHAIN_KNOWN;
    uint64_t const links = link_count(keeper);
    if (links > links_before) {
        log_event(LOG_INFO, "took links of the governance chain from a peer",
                  (struct log_field[]){log_number("peer", keeper->giver),
                                       log_number("config", links + 1), log_end()});
    }
    if (!holds) {
        log_event(
            LOG_ERROR,
            verdict->check == CHAIN_FORK
                ? "the governance chain is forked: more than f replicas of one configuration "
                  "have lied; audit both sides"
                : "refused a peer's link of the governance chain",
            (struct log_field[]){log_number("peer", keeper->giver), log_number("newest", links + 1),
                                 log_text("reason", chain_check_text(verdict->check)),
                                 log_text("detail", verdict->detail == NULL ? "" : verdict->detail),
                                 log_end()});
    }
}

static void taken(struct chain_keeper *keeper, uint64_t links_before) {
    if (keeper->result > 0) {
        note_taken(keeper, links_before);
    }
    const struct chain_verdict *const verdict = &keeper->verdict;
    keeper->links = NULL;
    joiner_linked(keeper->node, link_count(keeper) + 1,
                  keeper->result < 0 || verdict->check == CHAIN_VALID ||
                      verdict->check == CHAIN_KNOWN);
}

static void finished(struct chain_keeper *keeper, uint64_t links_before) {
    switch (keeper->work) {
    case KEEPER_OPEN:
        if (keeper->result >= 0) {
            note_opened(keeper);
        }
        joiner_chain_opened(keeper->node);
        break;
    case KEEPER_MAKE:
        if (keeper->result == 1) {
            note_made(keeper);
        } else if (keeper->result == 0) {
            put_off(keeper); /* the ledger's tail is being replaced, or the disk is behind */
        }
        break;
    case KEEPER_TAKE:
        taken(keeper, links_before);
        break;
    }
}

static void done(struct background_job *job) {
    struct chain_keeper *const keeper = (struct chain_keeper *)job;
    uint64_t const links_before = link_count(keeper);
    keeper->busy = false;
    if (keeper->node->stopping) {
        return;
    }
    if (keeper->result > 0 && !publish(keeper)) {
        (void)problem_set(&keeper->problem, EXIT_ERROR, "the governance chain: out of memory");
        keeper->result = -1;
    }
    if (keeper->result < 0) {
        failed(keeper);
    }
    finished(keeper, links_before);
    go_on(keeper);
}

bool chain_keeper_take(struct node *node, uint32_t peer, const struct span *links, uint32_t count) {
    struct chain_keeper *const keeper = node->chain_keeper;
    if (keeper->busy || !keeper->opened) {
        return false;
    }
    keeper->links = links;
    keeper->link_count = count;
    keeper->giver = peer;
    keeper->verdict = (struct chain_verdict){.check = CHAIN_KNOWN};
    start(keeper, KEEPER_TAKE);
    return true;
}

bool chain_keeper_is_open(const struct node *node) {
    return node->chain_keeper->opened;
}

uint64_t chain_keeper_newest(const struct node *node) {
    const struct chain_keeper *const keeper = node->chain_keeper;
    return keeper->opened && !keeper->busy ? link_count(keeper) + 1 : FOUNDING_CONFIGURATION;
}

const struct constitution *chain_keeper_find(struct node *node, uint64_t number) {
    struct chain_keeper *const keeper = node->chain_keeper;
    bool const found =
        keeper->opened && !keeper->busy && chain_find(keeper->store.chain, number, &keeper->found);
    return found ? &keeper->found : NULL;
}

void chain_keeper_entered(struct node *node, uint64_t number) {
    struct chain_keeper *const keeper = node->chain_keeper;
    keeper->target = number > keeper->target ? number : keeper->target;
    keeper->after = node->disk_position;
    go_on(keeper);
}

void chain_keeper_go_on(struct node *node) {
    go_on(node->chain_keeper);
}

const char *chain_keeper_obstacle(const struct node *node) {
    return node->chain_keeper->obstacle[0] == '\0' ? NULL : node->chain_keeper->obstacle;
}

/* ---- serving --------------------------------------------------------------------------------- */

static bool message_make(struct buffer *out, uint64_t newest, uint32_t link_count,
                         const struct span *links) {
    struct chain_reply_message const reply = {
        .config = newest, .link_count = link_count, .links = links};
    buffer_clear(out);
    if (!chain_reply_message_encode(out, &reply)) {
        buffer_clear(out);
        return false;
    }
    return true;
}

/* On the reader's thread. What cannot be read is left out: the client asks another replica. */
static void answer_run(struct background_job *job) {
    struct chain_answer *const answer = (struct chain_answer *)job;
    struct span links[WIRE_LINKS_MAX];
    struct buffer piece;
    struct chain_reader reader;
    uint32_t count = 0;
    buffer_init(&piece, WIRE_LINKS_SIZE_MAX);
    if (chain_piece_read(&piece, &answer->node->data_disk.disk, &answer->piece, &answer->problem) ==
        0) {
        reader = (struct chain_reader){.rest = buffer_span(&piece)};
        while (count < answer->piece.link_count && chain_reader_next(&reader, &links[count]) == 1 &&
               links[count].size != 0) {
            count++;
        }
    }
    if (!message_make(&answer->message, answer->newest, count, links) &&
        answer->problem.code == EXIT_OK) {
        (void)problem_set(&answer->problem, EXIT_ERROR, "out of memory");
    }
    buffer_free(&piece);
}

static void answer_send(struct node *node, const struct asker *asker, struct span message) {
    if (asker->is_peer) {
        peers_chain_answered(node, asker->origin);
    } else {
        clients_chain_answered(node, asker->origin);
    }
    if (message.size != 0 && asker->is_peer) {
        peers_send_row(node, asker->origin, MESSAGE_CHAIN_REPLY, message);
    } else if (message.size != 0) {
        clients_send(node, asker->origin, MESSAGE_CHAIN_REPLY, message);
    }
}

static void answer_done(struct background_job *job) {
    struct chain_answer *const answer = (struct chain_answer *)job;
    struct node *const node = answer->node;
    node->chain_keeper->answering = false;
    if (answer->problem.code != EXIT_OK) {
        log_limited(&node->log_limiter, LOG_ERROR, "cannot read the governance chain for others",
                    (struct log_field[]){log_text("problem", answer->problem.text), log_end()});
    }
    if (node->stopping) {
        buffer_free(&answer->message);
        return;
    }
    answer_send(node, &answer->asker, buffer_span(&answer->message));
    buffer_free(&answer->message);
    chain_keeper_serve(node);
}

static void answer_start(struct chain_keeper *keeper, const struct asker *asker) {
    struct chain_answer *const answer = &keeper->answer;
    *answer = (struct chain_answer){
        .job = {.run = answer_run, .done = answer_done},
        .node = keeper->node,
        .asker = *asker,
        .newest = link_count(keeper) + 1,
        .piece = chain_piece_choose(keeper->first, buffer_span(&keeper->ends), asker->config - 1)};
    buffer_init(&answer->message, FRAME_SIZE_MAX);
    keeper->answering = true;
    background_add(keeper->node->reader, &answer->job);
}

/* Clients and peers by turns. Returns: false: nobody asks. */
static bool next_asker(struct node *node, struct asker *asker) {
    struct chain_keeper *const keeper = node->chain_keeper;
    for (int i = 0; i < 2; i++) {
        asker->is_peer = keeper->peers_are_next;
        keeper->peers_are_next = !keeper->peers_are_next;
        if (asker->is_peer ? peers_next_chain_query(node, &asker->origin, &asker->config)
                           : clients_next_chain_query(node, &asker->origin, &asker->config)) {
            return true;
        }
    }
    return false;
}

void chain_keeper_serve(struct node *node) {
    struct chain_keeper *const keeper = node->chain_keeper;
    struct asker asker;
    while (!keeper->answering && next_asker(node, &asker)) {
        if (asker.config <= link_count(keeper)) {
            answer_start(keeper, &asker);
            return;
        }
        bool const made = message_make(&node->scratch, link_count(keeper) + 1, 0, NULL);
        answer_send(node, &asker, made ? buffer_span(&node->scratch) : span_of(NULL, 0));
    }
}

/* ---- life ------------------------------------------------------------------------------------ */

int chain_keeper_start(struct node *node, struct problem *problem) {
    const struct founding *const founding = &node->identity.founding;
    struct chain_keeper *const keeper = calloc(1, sizeof *keeper);
    if (keeper == NULL) {
        return problem_set(problem, EXIT_ERROR, "set up the governance chain: out of memory");
    }
    node->chain_keeper = keeper;
    keeper->node = node;
    keeper->job = (struct background_job){.run = run, .done = done};
    keeper->target = node->constitution->number;
    keeper->retry_ms = CHAIN_RETRY_MS_MIN;
    buffer_init(&keeper->ends, CHAIN_LINKS_MAX * sizeof(uint64_t));
    chain_store_init(&keeper->store, &node->data_disk.disk, &founding->genesis.service,
                     founding->genesis.bytes, &keeper->stopping);
    CHECK(uv_timer_init(&node->loop, &keeper->retry) == 0); /* cannot fail */
    keeper->retry.data = keeper;
    keeper->thread = background_start(&node->loop, problem);
    if (keeper->thread == NULL) {
        return -1;
    }
    go_on(keeper);
    return 0;
}

void chain_keeper_stop(struct node *node) {
    struct chain_keeper *const keeper = node->chain_keeper;
    if (keeper != NULL) {
        atomic_store(&keeper->stopping, true);
        background_stop(keeper->thread);
        uv_close((uv_handle_t *)&keeper->retry, NULL);
    }
}

void chain_keeper_free(struct node *node) {
    struct chain_keeper *const keeper = node->chain_keeper;
    if (keeper != NULL) {
        chain_store_free(&keeper->store);
        buffer_free(&keeper->ends);
        free(keeper);
        node->chain_keeper = NULL;
    }
}
