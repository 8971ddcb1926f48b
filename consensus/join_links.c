/*
 * join_links: from the configurations that are known to a later one, by the links of the governance
 * chain (protocol §9), which the peer that offers a checkpoint of it has to show first.
 *
 * Whether links hold is judged elsewhere, by what clients judge them by (receipts/chain.h). Here is
 * whose turn it is: who has none, is slow or wrong costs one turn. As soon as the chain has grown
 * by what one peer had, the join is over, and another one begins among those who are in office now.
 *
 * Who shows a link that does not hold is asked once more, for all of them from genesis on: it may
 * be on the other side of a fork, and then whoever judges sees where the two part, and says so.
 */
#include "base/check.h"
#include "consensus/join_internal.h"

#define NOBODY REPLICAS_MAX

void join_links_lead(struct join *join, uint32_t peer, uint64_t config) {
    struct candidate *const lead = &join->peers[peer];
    lead->leads_to = config;
    join->offered_ms = join->offered_ms == 0 ? join->now_ms : join->offered_ms;
    join_note(join, JOIN_NOTE_OFFER_LATER, peer, config);
}

/* Does a go before b? Both lead to something, and b has the lower id. */
static bool goes_before(const struct candidate *a, const struct candidate *b) {
    return a->turns_lost != b->turns_lost ? a->turns_lost < b->turns_lost
                                          : a->leads_to > b->leads_to;
}

uint32_t join_links_choose(const struct join *join) {
    uint32_t best = NOBODY;
    for (uint32_t i = 0; i < join->peer_count; i++) {
        const struct candidate *const peer = &join->peers[i];
        bool const fits =
            peer->leads_to > join->newest && !peer->barred && join->now_ms >= peer->after_ms;
        if (fits && (best == NOBODY || goes_before(peer, &join->peers[best]))) {
            best = i;
        }
    }
    return best;
}

static void ask(struct join *join, uint64_t config) {
    uint8_t memory[64];
    struct buffer encoded;
    buffer_init_on(&encoded, memory, sizeof memory);
    join->failed |= !chain_query_encode(&encoded, config);
    join_send(join, join->source, MESSAGE_CHAIN_QUERY, buffer_span(&encoded));
    join_begin_waiting(join);
}

void join_links_begin(struct join *join, uint32_t peer) {
    join->phase = JOIN_LINKS;
    join->source = peer;
    ask(join, join->newest);
}

/* It shows no more, for now. */
static void end(struct join *join) {
    if (join->newest > join->configuration->number) {
        struct join_effect *const effect = join_effect_add(join, JOIN_EFFECT_CONFIGURATION);
        effect->configuration = join->newest;
        join->phase = JOIN_FINISHED;
        join->is_asked = false;
    } else {
        join->phase = JOIN_ASKING;
    }
}

void join_links_turn_over(struct join *join) {
    join->peers[join->source].after_ms = join->now_ms + join->retry_ms;
    end(join);
}

void join_on_links(struct join *join, const struct chain_reply_message *message) {
    if (join->phase != JOIN_LINKS || !join->is_asked) {
        return;
    }
    if (message->link_count == 0) {
        join_lose_turn(join);
        return;
    }
    struct join_effect *const effect = join_effect_add(join, JOIN_EFFECT_LINKS);
    effect->links.peer = join->source;
    effect->links.count = message->link_count;
    effect->links.links = message->links;
    join->reply_leads = message->config;
    join->is_asked = false;
    join->is_storing = true;
}

void join_on_linked(struct join *join, uint64_t newest, bool good) {
    CHECK(join->is_storing && join->phase == JOIN_LINKS && newest >= join->newest);
    bool const has_grown = newest > join->newest;
    join->is_storing = false;
    join->newest = newest;
    if (has_grown) {
        join_progress_made(join);
        join->answered_ms = join->now_ms; /* what it waits for comes */
    }
    struct candidate *const peer = &join->peers[join->source];
    bool const may_fork = !peer->asked_for_all && newest > FOUNDING_CONFIGURATION;
    if (!good && may_fork) {
        peer->asked_for_all = true;
        ask(join, FOUNDING_CONFIGURATION);
    } else if (!good || peer->asked_for_all) {
        join_bar_source(join, JOIN_NOTE_LINKS_REFUSED);
    } else if (!has_grown) {
        join_lose_turn(join);
    } else if (join->reply_leads > newest) {
        ask(join, newest);
    } else {
        end(join);
    }
}
