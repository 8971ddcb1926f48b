/*
 * moves: what can happen next in a state. A move is a short run of events of one replica.
 *
 * Single: every message that was ever said arrives by itself, anywhere, at any time, whether it is
 * of any use there or not.
 *
 * In rounds, messages arrive in runs, where they make a difference: prepares as many as certify a
 * batch, nonces as many as commit it, those of the lowest replicas first, and nonces only at the
 * primary, who alone does something with them; view-changes at the new primary, or where a replica
 * leaps to the next view. And moves of different replicas that do not meet come in one order only:
 * views one after the other; of a view, pre-prepares of a batch before votes for the next and
 * before its certificate; of a change of view first those who ask, Q of them, then what the new
 * primary hears, in the order of its authors, then who enters. What is lost by this: which of more
 * than enough votes make up a certificate, and votes that come before the batch or the view that
 * they belong to.
 */
#include "base/check.h"
#include "tests/small_world/small_world.h"

struct lister {
    struct world *world;
    const struct move_options *options;
    const uint32_t *locals;
    const struct net *net;
    struct moves *out;
    uint32_t views;
    uint32_t restarts;
};

static const struct facts *facts_of(const struct lister *lister, uint32_t replica) {
    return &local_at(lister->world, lister->locals[replica])->facts;
}

static uint32_t primary_of(const struct lister *lister, uint64_t view) {
    return configuration_primary(lister->world->configuration, view);
}

static bool is_changing(const struct facts *facts) {
    return facts->asked_view > facts->view;
}

static struct move *add(struct lister *lister, uint32_t replica, const char *text,
                        uint32_t subject) {
    CHECK(lister->out->count < MOVES_MAX);
    struct move *const move = &lister->out->items[lister->out->count++];
    *move = (struct move){.replica = replica, .text = text, .subject = subject};
    return move;
}

static void then(struct move *move, enum local_kind kind, uint32_t number) {
    CHECK(move->count < MOVE_EVENTS_MAX);
    move->events[move->count++] = local_event_of(kind, number);
}

static void add_one(struct lister *lister, uint32_t replica, const char *text, enum local_kind kind,
                    uint32_t number) {
    struct move *const move = add(lister, replica, text, WORLD_NONE);
    then(move, kind, number);
}

static void add_message(struct lister *lister, uint32_t replica, uint32_t number) {
    struct move *const move = add(lister, replica, NULL, number);
    then(move, LOCAL_MESSAGE, number);
}

/* ---- rounds: is it too late for this in the one order that is kept? ---- */

/* Has a correct replica asked for a view above this one? */
static bool view_is_over(const struct lister *lister, uint64_t view) {
    for (uint64_t later = view + 1; later <= WORLD_VIEWS; later++) {
        if (lister->net->asked[later] != 0) {
            return true;
        }
    }
    return false;
}

/* Has a later batch of the view been voted for? */
static bool batch_is_over(const struct lister *lister, uint64_t view, uint64_t seq) {
    for (uint64_t later = seq + 1; later < WORLD_BATCHES; later++) {
        if (lister->net->voted[view][later]) {
            return true;
        }
    }
    return false;
}

/* Does a correct replica hold the certificate of this batch? */
static bool is_certified(const struct lister *lister, uint64_t view, uint64_t seq) {
    for (uint32_t r = 0; r < WORLD_REPLICAS; r++) {
        const struct slot_facts *const slot = &facts_of(lister, r)->slots[seq];
        if (!is_liar(lister->world, r) && slot->executed && slot->certified && slot->view == view) {
            return true;
        }
    }
    return false;
}

static bool is_committed_at_primary(const struct lister *lister, uint64_t view, uint64_t seq) {
    uint32_t const primary = primary_of(lister, view);
    const struct facts *const facts = facts_of(lister, primary);
    return !is_liar(lister->world, primary) && facts->view == view && facts->committed >= seq;
}

static bool too_late_to_propose(const struct lister *lister, uint64_t view, uint64_t seq) {
    return !lister->options->single &&
           (view_is_over(lister, view) || batch_is_over(lister, view, seq) ||
            is_certified(lister, view, seq));
}

/* Who has asked for another view may still certify a batch, and reveal its nonce late. */
static bool too_late_to_certify(const struct lister *lister, const struct facts *facts,
                                uint64_t view, uint64_t seq) {
    return !lister->options->single && !is_changing(facts) &&
           (view_is_over(lister, view) || is_committed_at_primary(lister, view, seq));
}

/*
 * Those ask whose view-changes will be used, the others in their order after the new primary; but
 * one that is further behind comes last, for it does not ask by itself. The liar's word is there
 * whenever it is wanted.
 */
static bool too_late_to_ask(const struct lister *lister, uint32_t replica, uint64_t view) {
    uint32_t const primary = primary_of(lister, view);
    uint32_t const asked = lister->net->asked[view];
    uint32_t const others = asked & ~(1u << primary);
    uint32_t const heard = facts_of(lister, primary)->heard[view] & ~(1u << primary);
    bool const is_free =
        is_liar(lister->world, primary) || facts_of(lister, primary)->view + 1u < view;
    bool const is_turn =
        is_free || (replica == primary ? others == 0 : (asked >> primary & 1) != 0);
    return !lister->options->single &&
           (lister->net->has_new_view[view] || heard != 0 || !is_turn || others >> replica != 0 ||
            (uint32_t)__builtin_popcount(asked) >= quorum_of(lister->world));
}

static bool too_late_to_hear(const struct lister *lister, const struct facts *primary,
                             const struct message *message) {
    uint32_t const own = primary_of(lister, message->view);
    uint32_t const others = primary->heard[message->view] & ~(1u << own);
    return !lister->options->single && others >> message->author != 0;
}

static bool too_late_to_enter(const struct lister *lister, uint64_t view) {
    bool over = false;
    for (uint64_t seq = 1; seq < WORLD_BATCHES; seq++) {
        over |= lister->net->voted[view][seq];
    }
    return !lister->options->single && over;
}

/* ---- batches ---- */

static bool is_for_now(const struct lister *lister, const struct facts *facts,
                       const struct message *message) {
    bool const is_cut = lister->options->changes_only && message->view == 0;
    return lister->options->single || (message->view == facts->view && !is_cut);
}

static void list_pre_prepare(struct lister *lister, uint32_t replica, uint32_t number) {
    const struct message *const message = message_at(lister->world, number);
    const struct facts *const facts = facts_of(lister, replica);
    bool const is_next = message->seq == (uint64_t)facts->executed + 1;
    if (!is_for_now(lister, facts, message) ||
        too_late_to_propose(lister, message->view, message->seq) ||
        (!lister->options->single && !is_next)) {
        return;
    }
    struct move *const move = add(lister, replica, NULL, number);
    for (uint32_t i = 0; i < WORLD_REQUESTS; i++) {
        if (!lister->options->single && (facts->requests >> i & 1) == 0) {
            then(move, LOCAL_REQUEST, i); /* clients tell everybody */
        }
    }
    then(move, LOCAL_MESSAGE, number);
}

/* The prepare, or nonce, of one replica for a batch; WORLD_NONE: it was not said. */
static uint32_t find_vote(const struct lister *lister, enum message_kind kind, uint32_t author,
                          uint32_t subject) {
    for (uint32_t i = 0; i < lister->net->count; i++) {
        const struct message *const message = message_at(lister->world, lister->net->items[i]);
        if (message->kind == kind && message->author == author && message->subject == subject) {
            return lister->net->items[i];
        }
    }
    return WORLD_NONE;
}

/* As many prepares as it takes to certify a batch. */
static void list_certificate(struct lister *lister, uint32_t replica, uint64_t seq) {
    const struct facts *const facts = facts_of(lister, replica);
    const struct slot_facts *const slot = &facts->slots[seq];
    uint32_t missing = quorum_of(lister->world) - 1;
    bool const is_blocked =
        !slot->executed || slot->certified || slot->view != facts->view ||
        (lister->options->changes_only && slot->view == 0 && !is_changing(facts)) ||
        too_late_to_certify(lister, facts, slot->view, seq);
    if (is_blocked) {
        return;
    }
    struct move *const move = add(lister, replica, "prepares", WORLD_NONE);
    missing -= (uint32_t)__builtin_popcount(slot->prepared_by);
    for (uint32_t r = 0; r < WORLD_REPLICAS && missing > 0; r++) {
        uint32_t const vote = (slot->prepared_by >> r & 1) != 0 || r == replica
                                  ? WORLD_NONE
                                  : find_vote(lister, MESSAGE_PREPARE, r, slot->subject);
        if (vote != WORLD_NONE) {
            then(move, LOCAL_MESSAGE, vote);
            move->subject = vote;
            missing--;
        }
    }
    if (missing != 0) {
        lister->out->count--;
    }
}

/* As many nonces, and prepares behind them, as it takes to commit a batch at its primary. */
static void list_commit(struct lister *lister, uint32_t replica, uint64_t seq) {
    const struct facts *const facts = facts_of(lister, replica);
    const struct slot_facts *const slot = &facts->slots[seq];
    bool const is_blocked = !slot->executed || !slot->certified || slot->view != facts->view ||
                            facts->committed + 1u != seq || is_changing(facts) ||
                            primary_of(lister, slot->view) != replica ||
                            (lister->options->changes_only && slot->view == 0) ||
                            (!lister->options->single && view_is_over(lister, slot->view));
    if (is_blocked) {
        return;
    }
    uint32_t missing = quorum_of(lister->world);
    struct move *const move = add(lister, replica, "nonces", WORLD_NONE);
    missing -= (uint32_t)__builtin_popcount(slot->nonces_good);
    for (uint32_t r = 0; r < WORLD_REPLICAS && missing > 0; r++) {
        uint32_t const nonce = (slot->nonces_good >> r & 1) != 0 || r == replica
                                   ? WORLD_NONE
                                   : find_vote(lister, MESSAGE_COMMIT, r, slot->subject);
        uint32_t const vote = find_vote(lister, MESSAGE_PREPARE, r, slot->subject);
        if (nonce == WORLD_NONE || vote == WORLD_NONE) {
            continue;
        }
        if ((slot->prepared_by >> r & 1) == 0) {
            then(move, LOCAL_MESSAGE, vote);
        }
        then(move, LOCAL_MESSAGE, nonce);
        move->subject = nonce;
        missing--;
    }
    if (missing != 0) {
        lister->out->count--;
    }
}

static void list_requests(struct lister *lister, uint32_t replica) {
    const struct facts *const facts = facts_of(lister, replica);
    static const char *const names[WORLD_REQUESTS] = {"request 1", "request 2"};
    uint32_t next = 0;
    while (next < WORLD_REQUESTS && (facts->requests >> next & 1) != 0) {
        next++;
    }
    bool const leads = primary_of(lister, facts->view) == replica && !is_changing(facts);
    bool const in_grain = lister->options->single || leads;
    if (next == WORLD_REQUESTS || !in_grain ||
        (lister->options->changes_only && facts->view == 0) ||
        too_late_to_propose(lister, facts->view, facts->executed + 1u)) {
        return;
    }
    add_one(lister, replica, names[next], LOCAL_REQUEST, next);
}

/* ---- changes of view ---- */

static void list_view_change(struct lister *lister, uint32_t replica, uint32_t number) {
    const struct message *const message = message_at(lister->world, number);
    const struct facts *const facts = facts_of(lister, replica);
    bool const is_wanted = message->view > facts->view && message->view >= facts->asked_view &&
                           primary_of(lister, message->view) == replica &&
                           !too_late_to_hear(lister, facts, message);
    if (lister->options->single || is_wanted) {
        add_message(lister, replica, number);
    }
}

static void list_new_view(struct lister *lister, uint32_t replica, uint32_t number) {
    const struct message *const message = message_at(lister->world, number);
    const struct facts *const facts = facts_of(lister, replica);
    bool const is_wanted = message->view > facts->view && !too_late_to_enter(lister, message->view);
    if (lister->options->single || is_wanted) {
        add_message(lister, replica, number);
    }
}

static void list_ask(struct lister *lister, uint32_t replica) {
    const struct facts *const facts = facts_of(lister, replica);
    uint64_t const view = facts->view + 1u;
    if (!is_changing(facts) && view <= lister->views && !too_late_to_ask(lister, replica, view)) {
        add_one(lister, replica, "asks", LOCAL_ASK, 0);
    }
}

/* All view-changes for a view, put before what else the move does. */
static void then_hear_all(const struct lister *lister, struct move *move, uint64_t view) {
    const struct facts *const facts = facts_of(lister, move->replica);
    for (uint32_t i = 0; i < lister->net->count; i++) {
        const struct message *const message = message_at(lister->world, lister->net->items[i]);
        if (message->kind == MESSAGE_VIEW_CHANGE && message->view == view &&
            message->author != move->replica && (facts->heard[view] >> message->author & 1) == 0 &&
            move->count + 1 < MOVE_EVENTS_MAX) {
            then(move, LOCAL_MESSAGE, lister->net->items[i]);
        }
    }
}

/* Others ask for a later view than this replica could ask for by itself. */
static void list_join(struct lister *lister, uint32_t replica) {
    const struct facts *const facts = facts_of(lister, replica);
    for (uint64_t view = facts->asked_view + (is_changing(facts) ? 1u : 2u); view <= lister->views;
         view++) {
        if (lister->net->asked[view] != 0 && !too_late_to_ask(lister, replica, view)) {
            struct move *const join = add(lister, replica, "joins", WORLD_NONE);
            then_hear_all(lister, join, view);
        }
    }
}

/* The view that was asked for does not come in a long while. */
static void list_leap(struct lister *lister, uint32_t replica) {
    const struct facts *const facts = facts_of(lister, replica);
    uint64_t const view = facts->asked_view + 1u;
    /* Its new primary would begin it with what it hears, unless it lacks something. */
    bool const may_leap =
        is_changing(facts) && (facts->waits || primary_of(lister, facts->asked_view) != replica);
    if (may_leap && view <= lister->views && !too_late_to_ask(lister, replica, view)) {
        struct move *const leap = add(lister, replica, "leaps", WORLD_NONE);
        then_hear_all(lister, leap, facts->asked_view);
        then(leap, LOCAL_TIMEOUT, 0);
        uint32_t const heard = (uint32_t)__builtin_popcount(facts->heard[facts->asked_view]);
        if (heard + leap->count - 1 < quorum_of(lister->world)) {
            lister->out->count--;
        }
    }
}

/* The range that it has asked for comes, as it is now, or does not come in time. */
static void list_range(struct lister *lister, uint32_t replica) {
    const struct facts *const facts = facts_of(lister, replica);
    bool const is_mute = is_liar(lister->world, facts->range_peer);
    bool const can_come =
        facts->range_wanted && !is_mute && !facts_of(lister, facts->range_peer)->writes_wait;
    if (can_come && (facts->waits || lister->options->single)) {
        uint32_t const answer =
            local_serve(lister->world, lister->locals[facts->range_peer], facts->range_first);
        add_message(lister, replica, answer);
    }
    bool const may_wait =
        !lister->options->single ? facts->waits && !can_come : facts->waits || is_changing(facts);
    if (may_wait && facts->timeouts < WORLD_TIMEOUTS_MAX) {
        add_one(lister, replica, "timeout", LOCAL_TIMEOUT, 0);
    }
}

/* ---- all of it ---- */

static void list_messages(struct lister *lister, uint32_t replica) {
    for (uint32_t i = 0; i < lister->net->count; i++) {
        uint32_t const number = lister->net->items[i];
        const struct message *const message = message_at(lister->world, number);
        if (message->author == replica) {
            continue;
        }
        if (message->kind == MESSAGE_PRE_PREPARE) {
            list_pre_prepare(lister, replica, number);
        } else if (message->kind == MESSAGE_PREPARE || message->kind == MESSAGE_COMMIT) {
            if (lister->options->single && is_for_now(lister, facts_of(lister, replica), message)) {
                add_message(lister, replica, number);
            }
        } else if (message->kind == MESSAGE_VIEW_CHANGE && !lister->options->no_changes) {
            list_view_change(lister, replica, number);
        } else if (message->kind == MESSAGE_NEW_VIEW && !lister->options->no_changes) {
            list_new_view(lister, replica, number);
        }
    }
}

static void list_disk(struct lister *lister, uint32_t replica) {
    const struct facts *const facts = facts_of(lister, replica);
    if (facts->writes_wait) {
        add_one(lister, replica, "sync", LOCAL_SYNC, 0);
    }
    if (lister->restarts < lister->world->options.crashes && !lister->options->no_changes) {
        add_one(lister, replica, facts->writes_wait ? "crash losing news" : "crash", LOCAL_CRASH,
                0);
        if (facts->writes_wait) {
            add_one(lister, replica, "crash keeping news", LOCAL_CRASH, 1);
        }
    }
}

static void list_replica(struct lister *lister, uint32_t replica) {
    list_requests(lister, replica);
    list_messages(lister, replica);
    for (uint64_t seq = 1; !lister->options->single && seq < WORLD_BATCHES; seq++) {
        list_certificate(lister, replica, seq);
        list_commit(lister, replica, seq);
    }
    if (!lister->options->no_changes) {
        list_ask(lister, replica);
        if (!lister->options->single) {
            list_join(lister, replica);
            list_leap(lister, replica);
        }
        list_range(lister, replica);
    }
    list_disk(lister, replica);
}

void moves_list(struct world *world, const struct move_options *options,
                const uint32_t locals[WORLD_REPLICAS], const struct net *net, struct moves *out) {
    struct lister lister = {
        .world = world, .options = options, .locals = locals, .net = net, .out = out};
    lister.views = WORLD_VIEWS - (options->brief ? 1 : 0);
    out->count = 0;
    for (uint32_t r = 0; r < WORLD_REPLICAS; r++) {
        lister.restarts += is_liar(world, r) ? 0 : facts_of(&lister, r)->restarts;
    }
    for (uint32_t r = 0; r < WORLD_REPLICAS; r++) {
        if (!is_liar(world, r)) {
            list_replica(&lister, r);
        }
    }
}

uint32_t move_apply(struct world *world, const uint32_t locals[WORLD_REPLICAS],
                    const struct move *move) {
    uint32_t local = locals[move->replica];
    for (uint32_t i = 0; i < move->count && local != WORLD_NONE; i++) {
        local = local_after(world, local, move->events[i]);
    }
    return local;
}

void move_name(const struct world *world, const struct move *move, char *text) {
    char subject[NAME_SIZE] = "";
    if (move->subject != WORLD_NONE) {
        message_title(world, move->subject, subject);
    }
    const char *const verb = move->text == NULL ? "" : move->text;
    const char *const space = move->text == NULL || move->subject == WORLD_NONE ? "" : " up to ";
    (void)snprintf(text, NAME_SIZE, "%s%s%s > %u", verb, space, subject, move->replica);
}

/* ---- what can still make a difference ---- */

/* Is some correct replica in this view, or before it, or might it be after a crash? */
static bool somebody_is_at(const struct world *world, const uint32_t locals[WORLD_REPLICAS],
                           uint64_t view) {
    for (uint32_t r = 0; r < WORLD_REPLICAS; r++) {
        if (is_liar(world, r)) {
            continue;
        }
        const struct facts *const facts = &local_at(world, locals[r])->facts;
        if (facts->view <= view || (world->options.crashes != 0 && facts->disk_view <= view)) {
            return true;
        }
    }
    return false;
}

bool message_lives(const struct world *world, const struct move_options *options,
                   const uint32_t locals[WORLD_REPLICAS], const struct net *net, uint32_t number) {
    const struct message *const message = message_at(world, number);
    struct lister const lister = {.options = options, .net = net};
    if (message->kind == MESSAGE_VIEW_CHANGE) {
        return somebody_is_at(world, locals, message->view - 1);
    }
    if (message->kind == MESSAGE_NEW_VIEW) {
        return somebody_is_at(world, locals, message->view - 1) &&
               !too_late_to_enter(&lister, message->view);
    }
    bool const is_over = !options->single && message->kind != MESSAGE_PREPARE &&
                         view_is_over(&lister, message->view);
    return somebody_is_at(world, locals, message->view) && !is_over;
}
