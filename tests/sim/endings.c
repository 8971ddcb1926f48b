/*
 * endings: how a coalition that is a quorum ends a history by hand; see coalition.h. The forge
 * takes over a ledger of some world up to a batch that is evidenced there, and goes on from it: in
 * the same view when a liar leads it, or in a later one that a liar leads, for which liars ask with
 * whatever they like to remember. Then come batches, perhaps one that breaks a rule.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "tests/forge/forge.h"
#include "tests/sim/coalition.h"
#include "tests/sim/second_verifier.h"

/* What is known of one ending while it is written. */
struct ending {
    struct coalition *coalition;
    struct forge *forge;
    const struct entry_list *source;
    uint64_t upto;      /* the last batch taken over */
    bool lies;          /* a rule is broken somewhere */
    uint64_t lie_seq;   /* a certificate for this batch convicts for the lie */
    uint64_t lie_shown; /* entries, once a certificate for that is in the ledger; 0: not yet */
    uint64_t from;      /* the first batch written here */
};

/* ---- what is taken over ---- */

static uint64_t evidenced_in(const struct entry_list *ledger) {
    uint64_t evidenced = 0;
    for (uint64_t i = 1; i < ledger->count; i++) {
        const struct batch_facts *const facts = ledger->marks[i].facts;
        evidenced =
            facts != NULL && facts->evidence_upto > evidenced ? facts->evidence_upto : evidenced;
    }
    return evidenced;
}

/* The ledger of any member of any world that begins with genesis and shows some evidence. */
static bool choose_source(struct ending *ending) {
    struct coalition *const coalition = ending->coalition;
    const struct world *const world =
        &coalition->worlds[prng_below(&coalition->prng, coalition->world_count)];
    uint32_t const replica = coalition_pick(coalition, world->members);
    ending->source = &world->cluster->nodes[replica].disk.durable;
    uint64_t const evidenced = evidenced_in(ending->source);
    if (evidenced == 0) {
        return false;
    }
    ending->upto = prng_between(&coalition->prng, 1, evidenced);
    return true;
}

/* Batches up to `upto`, and from those behind it what they evidence. */
static void take_over(struct ending *ending) {
    struct forge *const forge = ending->forge;
    struct batch batch;
    uint64_t index = 1;
    batch_init(&batch);
    for (;;) {
        enum batch_step const step =
            read_unit(&batch, ending->source, &index, ending->source->count);
        CHECK(step != BATCH_BROKEN);
        if (step == BATCH_MORE) {
            break;
        }
        if (forge_seq(forge) >= ending->upto) {
            if (step == BATCH_WHOLE) {
                forge_import_evidence(forge, &batch);
            }
            continue;
        }
        enum rule const rule =
            step == BATCH_VIEW ? forge_import_view(forge, &batch) : forge_import(forge, &batch);
        CHECK(rule == RULE_NONE);
    }
    batch_free(&batch);
    for (uint64_t seq = 1; seq <= ending->upto; seq++) {
        CHECK(forge_batch_at(forge, seq)->signers != 0);
    }
}

/* ---- who signs ---- */

static bool leads(const struct coalition *coalition, uint64_t view) {
    return (coalition->liars >> view % coalition->replicas & 1) != 0;
}

/* Any quorum of liars with the leader of this view. */
static uint64_t draw_signers(struct coalition *coalition, uint64_t view) {
    uint32_t set = 1u << view % coalition->replicas;
    CHECK(leads(coalition, view));
    while ((uint32_t)__builtin_popcount(set) < coalition->quorum) {
        set |= 1u << coalition_pick(coalition, coalition->liars & ~set);
    }
    return set;
}

/* ---- changes of view ---- */

/* May a certificate for this batch be shown? */
static bool may_state(const struct forge *forge, uint64_t seq) {
    const struct pre_prepare *const body = &forge_batch_at(forge, seq)->body;
    return seq >= body->view_start;
}

static uint64_t draw_stated(struct ending *ending) {
    struct prng *const prng = &ending->coalition->prng;
    uint64_t const last = forge_seq(ending->forge);
    uint64_t const back = prng_chance(prng, 500) ? 0 : prng_below(prng, 12);
    uint64_t const seq = back >= last ? last : last - back;
    if (prng_chance(prng, 60)) {
        return FORGE_NO_CERTIFICATE;
    }
    return may_state(ending->forge, seq) ? seq : last;
}

static enum rule draw_view_lie(struct ending *ending) {
    static const enum rule lies[] = {RULE_VIEW_CHOICE, RULE_VIEW_CUT};
    struct prng *const prng = &ending->coalition->prng;
    return prng_chance(prng, 150) ? lies[prng_below(prng, 2)] : RULE_NONE;
}

static void change_view(struct ending *ending) {
    struct coalition *const coalition = ending->coalition;
    struct forge *const forge = ending->forge;
    struct forge_view_order order = {.view = forge->view + 1};
    uint64_t const stated = draw_stated(ending);
    while (!leads(coalition, order.view)) {
        order.view++;
    }
    order.authors = draw_signers(coalition, order.view);
    for (uint32_t i = 0; i < coalition->replicas; i++) {
        order.stated[i] = stated;
    }
    if (may_state(forge, forge_seq(forge))) {
        order.lie = draw_view_lie(ending);
    }
    if (!may_state(forge, forge_seq(forge)) && stated != FORGE_NO_CERTIFICATE) {
        return; /* what the last view took over is not proposed again yet */
    }
    forge->signers = draw_signers(coalition, order.view);
    coalition_say(coalition, " view %llu from %llu%s%s", (unsigned long long)order.view,
                  (unsigned long long)(stated == FORGE_NO_CERTIFICATE ? 0 : stated),
                  order.lie == RULE_NONE ? "" : ", lie: ",
                  order.lie == RULE_NONE ? "" : rule_name(order.lie));
    forge_change_view(forge, &order);
    if (order.lie != RULE_NONE) {
        const struct forge_view *const views = (const void *)forge->views.data;
        ending->lies = true;
        ending->lie_seq = views[forge->views.size / sizeof *views - 1].seq + 1;
    }
    if (ending->from > forge_seq(forge) + 1) {
        ending->from = forge_seq(forge) + 1;
    }
}

/* ---- batches ---- */

static enum rule draw_lie(struct ending *ending) {
    static const enum rule lies[] = {
        RULE_OUTCOME,           RULE_OUTCOME,    RULE_CHECKPOINT_DIGEST,
        RULE_CHECKPOINT_DIGEST, RULE_TIME,       RULE_CHECKPOINT_SEQUENCE,
        RULE_GOVERNANCE_INDEX,  RULE_BATCH_KIND, RULE_REQUEST_WINDOW,
        RULE_REQUEST_DUPLICATE,
    };
    struct prng *const prng = &ending->coalition->prng;
    if (ending->lies || !prng_chance(prng, 250)) {
        return RULE_NONE;
    }
    enum rule const lie = lies[prng_below(prng, sizeof lies / sizeof lies[0])];
    /* Before time began there is none to run back to. */
    return lie == RULE_TIME && ending->forge->time_ms == 0 ? RULE_OUTCOME : lie;
}

static void append_batch(struct ending *ending) {
    struct coalition *const coalition = ending->coalition;
    struct forge *const forge = ending->forge;
    struct buffer encoded[3];
    struct span requests[4];
    bool const takes_over = forge_seq(forge) < forge->view_start;
    enum rule const lie = takes_over && !ending->lies ? RULE_REPROPOSAL : draw_lie(ending);
    struct forge_order order = {
        .request_count = (uint32_t)prng_between(&coalition->prng, 1, 3),
        .requests = requests,
        .lie = lie,
    };
    uint32_t const made = order.request_count;
    for (uint32_t i = 0; i < made; i++) {
        buffer_init(&encoded[i], REQUEST_SIZE_MAX);
        /* One that may be executed much later only. */
        uint64_t const early = lie == RULE_REQUEST_WINDOW && i + 1 == made ? 1000 : 0;
        coalition_request(coalition, forge->next_index + early, &encoded[i]);
        requests[i] = buffer_span(&encoded[i]);
    }
    if (lie == RULE_REQUEST_DUPLICATE) {
        requests[order.request_count++] = requests[0];
    }
    forge_append(forge, &order);
    if (lie != RULE_NONE) {
        coalition_say(coalition, " batch %llu, lie: %s", (unsigned long long)forge_seq(forge),
                      rule_name(lie));
        ending->lies = true;
        ending->lie_seq = forge_seq(forge);
    }
    if (ending->lies && ending->lie_shown == 0 && forge->evidence_upto >= ending->lie_seq) {
        ending->lie_shown = forge_entry_count(forge);
    }
    for (uint32_t i = 0; i < made; i++) {
        buffer_free(&encoded[i]);
    }
}

/* ---- one ending ---- */

/* Nobody but the coalition signed what is new here. */
static void check_signers(const struct ending *ending) {
    for (uint64_t seq = ending->from; seq <= forge_seq(ending->forge); seq++) {
        uint64_t const signers = forge_batch_at(ending->forge, seq)->signers;
        CHECK((signers & ~(uint64_t)ending->coalition->liars) == 0);
    }
}

static void hand_out(struct ending *ending, uint32_t nth) {
    struct coalition *const coalition = ending->coalition;
    struct forge *const forge = ending->forge;
    struct cluster *const cluster = coalition->worlds[0].cluster;
    uint64_t const count = forge_entry_count(forge);
    struct entry *const entries = cluster_zeroed(count, sizeof *entries);
    char name[48];
    for (uint64_t i = 0; i < count; i++) {
        entries[i] = forge_entry_at(forge, i);
    }
    (void)snprintf(name, sizeof name, "ending %u", nth);
    stock_take_ledger(coalition, name, entries, count, ending->lie_shown);
    free(entries);
    for (uint64_t seq = ending->from; seq <= forge_seq(forge); seq++) {
        struct buffer receipt;
        buffer_init(&receipt, RECEIPT_SIZE_MAX);
        if (forge_batch_at(forge, seq)->body.tx_count != 0) {
            forge_receipt(forge, &(struct forge_place){.seq = seq}, &receipt);
            if (second_verifier_accepts(cluster->configuration, buffer_span(&receipt))) {
                stock_take_receipt(coalition, cluster_keep(cluster, buffer_span(&receipt)));
            }
        }
        buffer_free(&receipt);
    }
}

static void write_one(struct coalition *coalition) {
    struct prng *const prng = &coalition->prng;
    struct ending ending = {.coalition = coalition};
    if (!choose_source(&ending)) {
        return;
    }
    uint32_t const nth = coalition->ending_count++;
    ending.forge = coalition->endings[nth] = cluster_zeroed(1, sizeof *ending.forge);
    forge_init(ending.forge, &coalition->worlds[0].cluster->consortium);
    take_over(&ending);
    ending.from = forge_seq(ending.forge) + 1;
    coalition_say(coalition, "; ending behind %llu:", (unsigned long long)ending.upto);
    uint32_t const steps = (uint32_t)prng_between(prng, 1, 12);
    for (uint32_t i = 0; i < steps; i++) {
        bool const may_stay = leads(coalition, ending.forge->view);
        if (!may_stay || (!ending.lies && prng_chance(prng, 200))) {
            change_view(&ending);
        }
        if (leads(coalition, ending.forge->view)) {
            ending.forge->signers = draw_signers(coalition, ending.forge->view);
            append_batch(&ending);
        }
    }
    check_signers(&ending);
    hand_out(&ending, nth);
}

void endings_write(struct coalition *coalition) {
    uint32_t const count = (uint32_t)prng_below(&coalition->prng, ENDINGS_MAX + 1);
    if (coalition->rests || coalition->liar_count < coalition->quorum) {
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        write_one(coalition);
    }
}

void endings_free(struct coalition *coalition) {
    for (uint32_t i = 0; i < coalition->ending_count; i++) {
        forge_free(coalition->endings[i]);
        free(coalition->endings[i]);
    }
}
