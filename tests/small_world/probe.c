/*
 * probe: the last change of view, tried in every state. Of it one wants to know only what whoever
 * enters it brings along, and what each of its steps does depends on little else: so it is not
 * gone through move by move. For each quorum with the new primary in it: all of the quorum ask, by
 * themselves, with others, or after a while; the new primary hears them, fetches what it lacks, and
 * begins the view; then each of the others enters, one at a time.
 */
#include "base/check.h"
#include "tests/small_world/small_world.h"

#define FETCHES_MAX 8u
#define ROUNDS_MAX 4u

struct probe {
    struct world *world;
    struct net *net;
    uint32_t locals[WORLD_REPLICAS];
    uint32_t view;
    uint32_t primary;
    uint32_t quorum;
};

static char text[64];

const char *probe_text(void) {
    return text;
}

static const struct facts *facts_of(const struct probe *probe, uint32_t replica) {
    return &local_at(probe->world, probe->locals[replica])->facts;
}

/* Returns: whether anything came of it. */
static bool lead_on(struct probe *probe, uint32_t replica, enum local_kind kind, uint32_t number) {
    uint32_t const after =
        local_after(probe->world, probe->locals[replica], local_event_of(kind, number));
    if (after == WORLD_NONE || after == probe->locals[replica]) {
        return false;
    }
    probe->locals[replica] = after;
    return true;
}

/* The view-changes for a view that those of a set have sent, or the liar's, arrive. */
static void hear(struct probe *probe, uint32_t replica, uint32_t view, uint32_t authors) {
    net_gather(probe->world, probe->locals, probe->net);
    for (uint32_t i = 0; i < probe->net->count; i++) {
        uint32_t const number = probe->net->items[i];
        const struct message *const message = message_at(probe->world, number);
        if (message->kind == MESSAGE_VIEW_CHANGE && message->view == view &&
            message->author != replica && (authors >> message->author & 1) != 0) {
            (void)lead_on(probe, replica, LOCAL_MESSAGE, number);
        }
    }
}

/* One more try to get a replica to ask. */
static void bring_to_ask(struct probe *probe, uint32_t replica) {
    const struct facts *facts = facts_of(probe, replica);
    if (facts->asked_view == facts->view && facts->view + 1u == probe->view) {
        (void)lead_on(probe, replica, LOCAL_ASK, 0);
    }
    if (facts_of(probe, replica)->asked_view < probe->view) {
        hear(probe, replica, probe->view, probe->quorum);
    }
    facts = facts_of(probe, replica);
    if (facts->asked_view > facts->view && facts->asked_view + 1u == probe->view) {
        uint32_t const before = probe->locals[replica];
        hear(probe, replica, facts->asked_view, UINT32_MAX);
        (void)lead_on(probe, replica, LOCAL_TIMEOUT, 0);
        if (facts_of(probe, replica)->asked_view < probe->view) {
            probe->locals[replica] = before;
        }
    }
}

static bool all_ask(struct probe *probe) {
    bool all = false;
    for (uint32_t round = 0; round < ROUNDS_MAX && !all; round++) {
        all = true;
        for (uint32_t r = 0; r < WORLD_REPLICAS; r++) {
            if ((probe->quorum >> r & 1) == 0 || is_liar(probe->world, r)) {
                continue;
            }
            if (facts_of(probe, r)->asked_view < probe->view) {
                bring_to_ask(probe, r);
            }
            all = all && facts_of(probe, r)->asked_view == probe->view;
        }
    }
    return all;
}

/* Ranges that it asks for come, or time passes, until it has what it needs. */
static void fetch(struct probe *probe, uint32_t replica) {
    for (uint32_t i = 0; i < FETCHES_MAX && facts_of(probe, replica)->waits; i++) {
        const struct facts *const facts = facts_of(probe, replica);
        bool moved = false;
        if (facts->range_wanted && !is_liar(probe->world, facts->range_peer)) {
            moved = lead_on(
                probe, replica, LOCAL_MESSAGE,
                local_serve(probe->world, probe->locals[facts->range_peer], facts->range_first));
        }
        if (!moved && !lead_on(probe, replica, LOCAL_TIMEOUT, 0)) {
            return;
        }
    }
}

static void judge(struct probe *probe) {
    struct committed committed[COMMITTED_MAX];
    net_gather(probe->world, probe->locals, probe->net);
    (void)judge_state(probe->world, probe->locals, probe->net, committed);
}

/* Every replica enters, each for itself. */
static void enter(struct probe *probe, struct probe_counts *counts) {
    uint32_t before[WORLD_REPLICAS];
    memcpy(before, probe->locals, sizeof before);
    for (uint32_t r = 0; r < WORLD_REPLICAS; r++) {
        memcpy(probe->locals, before, sizeof before);
        if (r == probe->primary || is_liar(probe->world, r)) {
            continue;
        }
        net_gather(probe->world, probe->locals, probe->net);
        for (uint32_t i = 0; i < probe->net->count; i++) {
            uint32_t const number = probe->net->items[i];
            const struct message *const message = message_at(probe->world, number);
            if (message->kind != MESSAGE_NEW_VIEW || message->view != probe->view) {
                continue;
            }
            memcpy(probe->locals, before, sizeof before);
            (void)lead_on(probe, r, LOCAL_MESSAGE, number);
            fetch(probe, r);
            counts->entered += facts_of(probe, r)->view == probe->view;
            judge(probe);
            net_gather(probe->world, before, probe->net);
        }
    }
}

static void change(struct probe *probe, struct probe_counts *counts) {
    (void)snprintf(text, sizeof text, "; then view %u, asked for by%s%s%s%s", probe->view,
                   (probe->quorum & 1) != 0 ? " 0" : "", (probe->quorum & 2) != 0 ? " 1" : "",
                   (probe->quorum & 4) != 0 ? " 2" : "", (probe->quorum & 8) != 0 ? " 3" : "");
    counts->tried++;
    if (all_ask(probe)) {
        if (!is_liar(probe->world, probe->primary)) {
            hear(probe, probe->primary, probe->view, probe->quorum);
            fetch(probe, probe->primary);
        }
        if (is_liar(probe->world, probe->primary) ||
            facts_of(probe, probe->primary)->view == probe->view) {
            counts->begun++;
            judge(probe);
            enter(probe, counts);
        }
    }
    text[0] = '\0';
}

void probe_last_view(struct world *world, const uint32_t locals[WORLD_REPLICAS], struct net *net,
                     struct probe_counts *counts) {
    struct probe probe = {.world = world, .net = net, .view = WORLD_VIEWS};
    probe.primary = configuration_primary(world->configuration, probe.view);
    for (uint32_t set = 0; set < 1u << WORLD_REPLICAS; set++) {
        if ((uint32_t)__builtin_popcount(set) != quorum_of(world) ||
            (set >> probe.primary & 1) == 0) {
            continue;
        }
        memcpy(probe.locals, locals, sizeof probe.locals);
        probe.quorum = set;
        change(&probe, counts);
    }
}
