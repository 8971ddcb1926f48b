/*
 * sim_byzantine: replicas that lie, up to f of them (see simulation.h). Each of them is a real
 * replica, or two that share a key, whose frames pass through here: withheld, changed a little and
 * signed again, told otherwise to some, multiplied. Some forget what they signed whenever they
 * like. Whatever they do, they sign with no key but their own.
 */
#include "base/check.h"
#include "tests/sim/insist.h"
#include "tests/sim/lies.h"
#include "tests/sim/simulation.h"

/* ---- what a run's liars do ---- */

static uint32_t draw(struct simulation *simulation, uint32_t permille, uint32_t most,
                     const char *what) {
    if (!prng_chance(&simulation->prng, permille)) {
        return 0;
    }
    uint32_t const strength = (uint32_t)prng_between(&simulation->prng, 1, most);
    sim_say(simulation, " %s %u", what, strength);
    return strength;
}

/* What goes to peers, and then what goes to clients. */
static uint32_t kind_bit(uint8_t kind) {
    return kind < MESSAGE_REPLY ? kind : 32u + kind - MESSAGE_REPLY;
}

static uint64_t draw_kinds(struct simulation *simulation) {
    uint64_t kinds = 0;
    for (uint32_t bit = 1; bit <= kind_bit(MESSAGE_RECEIPT_REPLY); bit++) {
        if (prng_chance(&simulation->prng, 200)) {
            kinds |= UINT64_C(1) << bit;
        }
    }
    return kinds;
}

void liars_draw(struct simulation *simulation) {
    const struct cluster *const cluster = simulation->cluster;
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        struct liar *const liar = &simulation->liars[i];
        if (!cluster->nodes[i].byzantine) {
            continue;
        }
        sim_say(simulation, "; liar %u:", i);
        liar->audience = UINT64_MAX;
        liar->is_twin = (cluster->options.twins >> cluster->nodes[i].id & 1) != 0;
        liar->mutate_permille = draw(simulation, 500, 400, "changes");
        liar->withhold_permille = draw(simulation, 500, 1000, "withholds");
        liar->withhold_kinds = draw_kinds(simulation);
        liar->equivocate_permille = draw(simulation, 300, 500, "equivocates");
        liar->alike = prng_chance(&simulation->prng, 500);
        liar->insists = liar->alike && prng_chance(&simulation->prng, 700);
        if (liar->insists && liar->equivocate_permille == 0) {
            liar->equivocate_permille = (uint32_t)prng_between(&simulation->prng, 20, 300);
        }
        liar->flood_permille = draw(simulation, 150, 30, "floods");
        liar->agitate_permille = draw(simulation, 250, 200, "agitates");
        liar->forget_permille = draw(simulation, 250, 150, "forgets");
        liar->silent_permille = draw(simulation, 200, 300, "falls silent");
        if (cluster->charter != NULL) {
            liar->boundary_permille = draw(simulation, 500, 400, "lies at boundaries");
        }
        liar->censors = prng_chance(&simulation->prng, 200);
        liar->censored = (uint32_t)prng_below(&simulation->prng, CLUSTER_CLIENTS);
        if (liar->censors) {
            sim_say(simulation, " censors %u", liar->censored);
        }
    }
}

/* ---- between two steps ---- */

/* The disk goes back in time, and the guard that would notice is taken off. */
static void forget(struct simulation *simulation, uint32_t number) {
    struct node *const node = &simulation->cluster->nodes[number];
    if (!node->disk.copy.present || prng_chance(&simulation->prng, 300)) {
        disk_copy_take(&node->disk);
        return;
    }
    cluster_crash(simulation->cluster, number);
    simulation->cluster->faults[FAULT_LIE]++;
    disk_copy_restore(simulation->cluster, &node->disk, true, true);
    node->disk.guard = GUARD_NONE;
    node->disk.journal_missing = false;
    cluster_start(simulation->cluster, number);
}

void liars_step(struct simulation *simulation) {
    struct cluster *const cluster = simulation->cluster;
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        struct liar *const liar = &simulation->liars[i];
        if (!cluster->nodes[i].byzantine) {
            continue;
        }
        if (prng_chance(&simulation->prng, liar->forget_permille)) {
            forget(simulation, i);
        }
        if (prng_chance(&simulation->prng, liar->silent_permille)) {
            liar->is_silent = !liar->is_silent;
        }
        cluster->nodes[i].deaf_to = liar->censors ? 1 + liar->censored : 0;
        if (liar->is_twin && prng_chance(&simulation->prng, 200)) {
            liar->audience =
                prng_chance(&simulation->prng, 400) ? UINT64_MAX : prng_next(&simulation->prng);
        }
    }
}

void liars_pause(struct simulation *simulation) {
    for (uint32_t i = 0; i < simulation->cluster->node_count; i++) {
        simulation->liars[i].is_silent = false;
        simulation->liars[i].audience = UINT64_MAX;
        simulation->cluster->nodes[i].deaf_to = 0;
    }
}

/* ---- frame by frame ---- */

void liars_see(struct simulation *simulation, const struct frame *frame) {
    struct cluster *const cluster = simulation->cluster;
    struct liar *const liar = &simulation->liars[frame->from_node];
    bool const lies = cluster->nodes[frame->from_node].byzantine;
    struct signed_body statement;
    struct arena arena;
    if (simulation->result->byzantine == 0) {
        return;
    }
    if (frame->kind == MESSAGE_RANGE && lies && prng_chance(&simulation->prng, 100)) {
        liar->old_range = cluster_keep(cluster, frame->payload);
    }
    if (frame->kind != MESSAGE_VIEW_CHANGE ||
        span_equal(simulation->seen_changes[frame->from], frame->payload)) {
        return;
    }
    simulation->seen_changes[frame->from] = cluster_keep(cluster, frame->payload);
    arena_init(&arena, 64 * frame->payload.size + (1u << 20));
    if (lies && (liar->old_change.size == 0 || prng_chance(&simulation->prng, 100)) &&
        signed_decode(&statement, &arena, frame->payload, VIEW_CHANGE_SIGNED_SIZE_MAX) ==
            CODEC_OK) {
        liar->old_change = cluster_keep(cluster, statement.body);
    }
    arena_free(&arena);
}

/* Does this frame belong to the part of the world that a twin lives in? */
static bool twin_hears(struct simulation *simulation, const struct frame *frame) {
    const struct cluster *const cluster = simulation->cluster;
    const struct liar *const from = &simulation->liars[frame->from_node];
    if (from->is_twin && frame->to < cluster->node_count &&
        (from->audience >> cluster->nodes[frame->to].id & 1) == 0) {
        return false;
    }
    const struct liar *const to =
        frame->to < cluster->node_count ? &simulation->liars[frame->to] : NULL;
    return to == NULL || !to->is_twin || (to->audience >> frame->from & 1) != 0;
}

static void flood(struct simulation *simulation, const struct frame *frame) {
    uint32_t const count = (uint32_t)prng_between(&simulation->prng, 5, 60);
    for (uint32_t i = 0; i < count; i++) {
        struct buffer out;
        struct frame invented = *frame;
        buffer_init(&out, FRAME_SIZE_MAX);
        if (lie_invent(simulation, &invented, &out)) {
            lie_send(simulation, &invented, buffer_span(&out));
        }
        buffer_free(&out);
    }
}

static void agitate(struct simulation *simulation, const struct frame *frame) {
    struct buffer out;
    struct frame asking = *frame;
    buffer_init(&out, FRAME_SIZE_MAX);
    if (lie_ask(simulation, &asking, &out)) {
        lie_send(simulation, &asking, buffer_span(&out));
    }
    buffer_free(&out);
}

/* The numbers that a lie is made of: for one proposal always the same, if all shall hear it. */
static struct prng numbers_for(struct simulation *simulation, const struct liar *liar,
                               const struct frame *frame) {
    struct prng prng;
    if (liar->alike && (frame->kind == MESSAGE_PRE_PREPARE || frame->kind == MESSAGE_NEW_VIEW)) {
        struct digest const digest = hash_bytes(frame->payload);
        prng_init(&prng, load_u64_be(digest.bytes));
    } else {
        prng_init(&prng, prng_next(&simulation->prng));
    }
    return prng;
}

/* What a liar proposes on top of its own lie. Returns: whether it said something else instead. */
static bool propose_otherwise(struct simulation *simulation, const struct frame *frame) {
    struct buffer out;
    buffer_init(&out, FRAME_SIZE_MAX);
    bool const made = insist_again(simulation, frame, &out);
    if (made) {
        lie_send(simulation, frame, buffer_span(&out));
        insist_on(simulation, frame, buffer_span(&out));
    }
    buffer_free(&out);
    return made;
}

/* Does the liar's configuration end now, or has it just begun? */
static bool is_at_boundary(const struct simulation *simulation, uint32_t number) {
    const struct node *const node = &simulation->cluster->nodes[number];
    const struct ledger_position *const now =
        node->checker == NULL ? NULL : checker_position(node->checker);
    return now != NULL &&
           (now->closing_seq != 0 || (now->config_start != 0 && now->seq < now->config_start + 4));
}

/* How many of its frames of this kind are changed. */
static uint32_t change_permille(const struct simulation *simulation, const struct frame *frame) {
    const struct liar *const liar = &simulation->liars[frame->from_node];
    if (liar->boundary_permille > liar->mutate_permille &&
        is_at_boundary(simulation, frame->from_node)) {
        return liar->boundary_permille;
    }
    return frame->kind == MESSAGE_PRE_PREPARE && liar->equivocate_permille != 0
               ? liar->equivocate_permille
               : liar->mutate_permille;
}

/* Returns: whether the frame travels, too. */
static bool change(struct simulation *simulation, const struct frame *frame) {
    const struct liar *const liar = &simulation->liars[frame->from_node];
    struct prng prng = numbers_for(simulation, liar, frame);
    uint32_t const permille = change_permille(simulation, frame);
    struct buffer out;
    if (!prng_chance(&prng, permille)) {
        return true;
    }
    buffer_init(&out, FRAME_SIZE_MAX);
    bool const lied = lie_about(simulation, &prng, frame, &out);
    if (lied) {
        lie_send(simulation, frame, buffer_span(&out));
        if (liar->insists) {
            insist_on(simulation, frame, buffer_span(&out));
        }
    }
    buffer_free(&out);
    /* Sometimes both travel, the lie first. */
    return !lied || prng_chance(&prng, 300);
}

bool liar_filter(struct simulation *simulation, const struct frame *frame) {
    struct liar *const liar = &simulation->liars[frame->from_node];
    struct prng *const prng = &simulation->prng;
    if (!twin_hears(simulation, frame)) {
        return false;
    }
    if (!simulation->cluster->nodes[frame->from_node].byzantine || simulation->liars_rest) {
        return true;
    }
    bool const is_withheld = (liar->withhold_kinds >> kind_bit(frame->kind) & 1) != 0 &&
                             prng_chance(prng, liar->withhold_permille);
    bool const is_held_back = liar->boundary_permille != 0 &&
                              is_at_boundary(simulation, frame->from_node) &&
                              prng_chance(prng, liar->boundary_permille / 2);
    if (liar->is_silent || is_withheld || is_held_back) {
        simulation->cluster->faults[FAULT_LIE]++;
        return false;
    }
    if (prng_chance(prng, liar->flood_permille)) {
        flood(simulation, frame);
    }
    if (frame->kind == MESSAGE_STATUS && prng_chance(prng, liar->agitate_permille)) {
        agitate(simulation, frame);
    }
    return !propose_otherwise(simulation, frame) && change(simulation, frame);
}
