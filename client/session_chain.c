/*
 * session_chain: how a session finds out that the consortium has changed (protocol §9), and gets
 * the links of the governance chain that lead on.
 *
 * What makes it look is what one replica says, so a liar can make it look too: then each replica is
 * asked once, nobody has a link, and the next look comes later, and later still. Links need nobody
 * to be believed; a replica whose links do not hold has lied, and has cost its turn.
 *
 * Invariants: at most one query is under way, which has a deadline; a replica is asked again in a
 * round only after its links have led on; once the driver was told of a configuration, nobody is
 * asked until the session is in it. Whether that one is the newest shows when its replicas speak.
 */
#include "client/session_internal.h"

void session_begin_search(struct session *session) {
    session->search = (struct chain_search){.known = session->configuration.number,
                                            .pause_ms = SESSION_CHAIN_PAUSE_MS_MIN};
}

bool session_is_following(const struct session *session) {
    return session->search.asking || session->search.ended;
}

/* Does anybody say that it is in a later configuration than the links lead to? */
static bool is_still_wanted(const struct session *session) {
    for (uint32_t r = 0; r < session->configuration.replica_count; r++) {
        const struct peer *const peer = &session->peers[r];
        if (peer->has_status && !peer->distrusted && peer->status.config > session->search.known) {
            return true;
        }
    }
    return false;
}

/* Nobody is left to be asked: tell the driver what came of it, or try again in a while. */
static void end_round(struct session *session, uint64_t now_ms) {
    struct chain_search *const search = &session->search;
    search->asking = false;
    search->asked = 0;
    search->wanted = is_still_wanted(session);
    if (search->known > session->configuration.number) {
        search->ended = true;
        session->effects.configured(session->effects.context, search->known);
        return;
    }
    search->due_ms = now_ms + search->pause_ms;
    search->pause_ms = 2 * search->pause_ms > SESSION_CHAIN_PAUSE_MS_MAX
                           ? SESSION_CHAIN_PAUSE_MS_MAX
                           : 2 * search->pause_ms;
    if (search->wanted) {
        session_wake_at(session, search->due_ms);
    }
}

/* Returns: whether a query is under way to this replica now. */
static bool ask(struct session *session, uint32_t replica, uint64_t now_ms) {
    struct chain_search *const search = &session->search;
    const struct peer *const peer = &session->peers[replica];
    buffer_clear(&session->frame);
    if (!peer->up || peer->distrusted || !chain_query_encode(&session->frame, search->known) ||
        !session->effects.send(session->effects.context, replica, MESSAGE_CHAIN_QUERY,
                               buffer_span(&session->frame))) {
        return false;
    }
    search->asking = true;
    search->replica = replica;
    search->asked |= replica_bit(replica);
    search->due_ms = now_ms + SESSION_CHAIN_TIMEOUT_MS;
    session_wake_at(session, search->due_ms);
    return true;
}

static void ask_next(struct session *session, uint64_t now_ms) {
    uint32_t const count = session->configuration.replica_count;
    for (uint32_t i = 1; i <= count; i++) {
        uint32_t const replica = (session->search.replica + i) % count;
        if ((session->search.asked & replica_bit(replica)) == 0 && ask(session, replica, now_ms)) {
            return;
        }
    }
    end_round(session, now_ms);
}

void session_suspect(struct session *session, uint32_t replica, uint64_t now_ms) {
    struct chain_search *const search = &session->search;
    if (session->effects.links == NULL || search->asking || search->ended) {
        return;
    }
    search->wanted = true;
    if (now_ms < search->due_ms) {
        session_wake_at(session, search->due_ms);
    } else if (!ask(session, replica, now_ms)) { /* who speaks of it should have the links */
        ask_next(session, now_ms);
    }
}

void session_take_links(struct session *session, uint32_t replica, struct span payload,
                        uint64_t now_ms) {
    struct chain_search *const search = &session->search;
    struct chain_reply_message reply;
    if (!search->asking || search->replica != replica) {
        return; /* too late: another one was asked */
    }
    if (chain_reply_message_decode(&reply, &session->scratch, payload) != CODEC_OK) {
        session_distrust(session, replica,
                         "sent links of the governance chain that cannot be read");
        ask_next(session, now_ms);
        return;
    }
    int const taken = reply.link_count == 0 ? 0
                                            : session->effects.links(session->effects.context,
                                                                     reply.links, reply.link_count);
    if (taken < 0) {
        session_distrust(session, replica,
                         "sent a link of the governance chain that does not hold");
    }
    if (taken <= 0) {
        ask_next(session, now_ms);
        return;
    }
    search->known += (uint64_t)taken;
    /* There may be more than one message takes. */
    if (reply.config <= search->known || !ask(session, replica, now_ms)) {
        end_round(session, now_ms);
    }
}

void session_search_down(struct session *session, uint32_t replica, uint64_t now_ms) {
    if (session->search.asking && session->search.replica == replica) {
        ask_next(session, now_ms);
    }
}

void session_search_tick(struct session *session, uint64_t now_ms) {
    struct chain_search *const search = &session->search;
    if (search->ended || !(search->asking || search->wanted)) {
        return;
    }
    if (search->due_ms <= now_ms) {
        ask_next(session, now_ms);
    } else {
        session_wake_at(session, search->due_ms);
    }
}
