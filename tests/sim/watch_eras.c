/*
 * watch_eras: the judge of configurations, at the end of a run (see cluster.h): what a ledger says
 * about who was in force when, counted anew from protocol.md §9 and nothing that the core says of
 * it.
 *
 *   - one configuration is in force for each batch: NORMAL ones, two that end it behind the batch
 *     that ends with a passing vote, one that starts the next
 *   - evidence for a batch, and the view-changes of a new view, are by the keys of its own
 *     configuration, as many as that one needs: no vote counts across configurations
 *   - members' votes count in the configuration in which they were cast, once each; with those
 *     that suffice, and no fewer, a proposal passes, and makes the constitution that all entered
 */
#include <stdlib.h>

#include "base/check.h"
#include "governance/proposal.h"
#include "ledger/codec_view.h"
#include "ledger/derive.h"
#include "tests/sim/cluster.h"

#define PLACES 256u /* batches that evidence may be about */

/* What a proposal has come to. */
struct matter {
    bool open;
    struct proposal proposal;
    uint64_t yes; /* bitmaps of members */
    uint64_t no;
};

/* A batch that is to be evidenced. */
struct place {
    struct prepared_batch batch;
    struct digest nonce_hash;
};

struct walk {
    struct cluster *cluster;
    uint32_t node;
    uint64_t config;
    uint64_t evidenced; /* up to here the ledger is what all have; behind it, what one was told */
    uint32_t ended;     /* batches since the vote passed, its own included; 0: none has */
    struct constitution next;
    struct arena arena;                 /* of proposals */
    struct arena scratch;               /* of one batch */
    struct matter matters[MEMBERS_MAX]; /* by the member who proposed */
    struct place places[PLACES];
};

static _Noreturn void fail(const struct walk *walk, uint64_t seq, const char *what) {
    cluster_fail(walk->cluster, "node %u, configuration %llu, batch %llu: %s", walk->node,
                 (unsigned long long)walk->config, (unsigned long long)seq, what);
}

static const struct constitution *now_of(const struct walk *walk) {
    return &walk->cluster->eras[walk->config - 1].constitution;
}

/* ---- who signed ---- */

static void judge_signature(struct walk *walk, uint64_t seq, const struct sign_check *check) {
    walk->cluster->judgements++;
    if (!check_holds(walk->cluster, check)) {
        fail(walk, seq, "a signature is not by a key of its configuration");
    }
}

static void judge_prepare(struct walk *walk, const struct place *place, uint32_t replica,
                          const struct prepare *prepare, const struct signature *signature) {
    struct buffer body;
    buffer_init(&body, STATEMENT_SIZE_MAX);
    CHECK(prepare_encode(&body, prepare));
    judge_signature(
        walk, place->batch.seq,
        &(struct sign_check){
            .key = cluster_configuration(walk->cluster, place->batch.config)->replicas[replica].key,
            .signature = *signature,
            .body = buffer_span(&body),
            .label = LABEL_PREPARE,
        });
    buffer_free(&body);
}

static void judge_evidenced(struct walk *walk, const struct batch_evidence *evidence,
                            uint64_t signers) {
    const struct place *const place = &walk->places[evidence->seq % PLACES];
    const struct digest *const service = &walk->cluster->configuration->service;
    if (place->batch.seq != evidence->seq) {
        fail(walk, evidence->seq, "evidence for a batch that is not there");
    }
    const struct configuration *const in_force =
        cluster_configuration(walk->cluster, place->batch.config);
    uint32_t const primary = configuration_primary(in_force, place->batch.view);
    uint32_t nonces = 0;
    uint32_t signatures = 0;
    if ((uint32_t)__builtin_popcountll(signers) != in_force->quorum ||
        evidence->nonce_count != in_force->quorum ||
        evidence->signature_count != in_force->quorum - 1 || (signers >> primary & 1) == 0) {
        fail(walk, evidence->seq, "its evidence is not by a quorum of its configuration");
    }
    for (uint32_t r = 0; r < in_force->replica_count; r++) {
        struct prepare prepare;
        if ((signers >> r & 1) == 0) {
            continue;
        }
        prepare_rebuild(&prepare, service, &place->batch, r, &evidence->nonces[nonces++]);
        if (r != primary) {
            judge_prepare(walk, place, r, &prepare, &evidence->signatures[signatures++]);
        } else if (!digest_equal(&prepare.nonce_hash, &place->nonce_hash)) {
            fail(walk, evidence->seq, "the primary's nonce is for another batch");
        }
    }
    if (nonces != in_force->quorum) {
        fail(walk, evidence->seq, "it has signers who are not in its configuration");
    }
}

static void judge_pre_prepare(struct walk *walk, const struct batch *batch) {
    const struct pre_prepare *const body = &batch->pre_prepare;
    const struct configuration *const in_force = cluster_configuration(walk->cluster, walk->config);
    uint32_t const primary = configuration_primary(in_force, body->view);
    const struct signed_body *const statement = &batch->seal.statement;
    struct place *const place = &walk->places[body->seq % PLACES];
    judge_signature(walk, body->seq,
                    &(struct sign_check){.key = in_force->replicas[primary].key,
                                         .signature = statement->signature,
                                         .body = statement->body,
                                         .label = LABEL_PRE_PREPARE});
    for (uint32_t i = 0; i < body->evidence_count; i++) {
        judge_evidenced(walk, &batch->evidence.batches[i], body->evidence_signers[i]);
    }
    *place = (struct place){
        .batch = {.config = body->config,
                  .view = body->view,
                  .seq = body->seq,
                  .digest = hash_statement(LABEL_PRE_PREPARE, &in_force->service, statement->body,
                                           &statement->signature)},
        .nonce_hash = body->nonce_hash,
    };
}

/* In the ledger of a configuration that has ended the next one may change its view at once. */
static void judge_view(struct walk *walk, const struct view_unit *unit) {
    uint64_t const config = walk->config + (walk->ended == 3 ? 1 : 0);
    const struct configuration *const in_force = cluster_configuration(walk->cluster, config);
    uint64_t authors = 0;
    bool fits = unit->new_view.config == config || unit->new_view.config == walk->config;
    const struct configuration *const own =
        fits ? cluster_configuration(walk->cluster, unit->new_view.config) : in_force;
    for (uint32_t i = 0; i < unit->set.count; i++) {
        const struct signed_body *const statement = &unit->set.view_changes[i];
        struct view_change change;
        arena_reset(&walk->scratch);
        CHECK(view_change_decode(&change, &walk->scratch, statement->body) == CODEC_OK);
        fits &= change.config == own->number && change.view == unit->new_view.view &&
                change.replica < own->replica_count && (authors >> change.replica & 1) == 0;
        if (!fits) {
            break;
        }
        authors |= UINT64_C(1) << change.replica;
        judge_signature(walk, 0,
                        &(struct sign_check){.key = own->replicas[change.replica].key,
                                             .signature = statement->signature,
                                             .body = statement->body,
                                             .label = LABEL_VIEW_CHANGE});
    }
    if (!fits || (uint32_t)__builtin_popcountll(authors) < own->quorum) {
        fail(walk, 0, "a new view is not asked for by a quorum of its configuration");
    }
}

/* ---- what members decided ---- */

static struct matter *matter_of(struct walk *walk, struct span id) {
    for (uint32_t m = 0; m < MEMBERS_MAX; m++) {
        char text[2 * DIGEST_SIZE + 1];
        struct matter *const matter = &walk->matters[m];
        hex_encode(text, span_of(matter->proposal.id.bytes, DIGEST_SIZE));
        if (matter->open && span_equal(id, span_text(text))) {
            return matter;
        }
    }
    return NULL;
}

static void take_proposal(struct walk *walk, uint64_t seq, uint32_t member, struct span bytes) {
    struct matter *const matter = &walk->matters[member];
    struct span const kept = arena_copy(&walk->arena, bytes);
    struct constitution next;
    if (matter->open) {
        fail(walk, seq, "a member has two proposals open");
    }
    *matter = (struct matter){.open = true};
    if (proposal_decode(&matter->proposal, &walk->arena, &now_of(walk)->service, kept) !=
            CODEC_OK ||
        proposal_apply(&next, now_of(walk), &matter->proposal).rule != PROPOSAL_SOUND) {
        fail(walk, seq, "a proposal was taken that breaks a rule");
    }
}

static void pass(struct walk *walk, uint64_t seq, const struct matter *matter) {
    struct digest digest;
    CHECK(proposal_apply(&walk->next, now_of(walk), &matter->proposal).rule == PROPOSAL_SOUND);
    CHECK(constitution_digest(&digest, &walk->next));
    if (seq <= walk->evidenced && cluster_knows_configuration(walk->cluster, walk->config + 1) &&
        !digest_equal(&digest, &walk->cluster->eras[walk->config].digest)) {
        fail(walk, seq, "what passed is not what came into force");
    }
    walk->ended = 1;
}

static bool says(const struct outcome *outcome, const char *word) {
    return outcome->reply_count > 0 && span_equal(outcome->reply[0], span_text(word));
}

static void take_vote(struct walk *walk, uint64_t seq, uint32_t member, const struct call *call,
                      const struct outcome *outcome) {
    const struct constitution *const now = now_of(walk);
    struct matter *const matter =
        call->argument_count == 2 ? matter_of(walk, call->arguments[0]) : NULL;
    if (matter == NULL) {
        fail(walk, seq, "a vote counts for what is not open in this configuration");
    }
    bool const is_yes = span_equal(call->arguments[1], span_text("yes"));
    uint64_t const voter = UINT64_C(1) << member;
    matter->yes = (matter->yes & ~voter) | (is_yes ? voter : 0);
    matter->no = (matter->no & ~voter) | (is_yes ? 0 : voter);
    uint32_t const yes = (uint32_t)__builtin_popcountll(matter->yes);
    uint32_t const no = (uint32_t)__builtin_popcountll(matter->no);
    /* Strictly more than the share of all members that the rule names. */
    bool const passes =
        (uint64_t)yes * now->rule.denominator > (uint64_t)now->rule.numerator * now->member_count;
    bool const can_pass = (uint64_t)(now->member_count - no) * now->rule.denominator >
                          (uint64_t)now->rule.numerator * now->member_count;
    if (says(outcome, "passed") != passes || says(outcome, "rejected") != !can_pass) {
        fail(walk, seq, "a vote is answered otherwise than votes were cast");
    }
    matter->open = can_pass;
    if (passes) {
        pass(walk, seq, matter);
    }
}

static void take_withdrawal(struct walk *walk, uint64_t seq, uint32_t member,
                            const struct call *call) {
    struct matter *const matter =
        call->argument_count == 1 ? matter_of(walk, call->arguments[0]) : NULL;
    if (matter != &walk->matters[member]) {
        fail(walk, seq, "a member withdrew what it has not proposed");
    }
    matter->open = false;
}

static void take_call(struct walk *walk, uint64_t seq, const struct request *request,
                      const struct outcome *outcome) {
    const struct call *const call = &request->calls[0];
    bool const proposes = span_equal(call->procedure, span_text("gov.propose"));
    bool const votes = span_equal(call->procedure, span_text("gov.vote"));
    bool const withdraws = span_equal(call->procedure, span_text("gov.withdraw"));
    uint32_t member = 0;
    if ((!proposes && !votes && !withdraws) || outcome->status != OUTCOME_OK) {
        return;
    }
    walk->cluster->judgements++;
    if (request->call_count != 1 ||
        !constitution_find_member_key(now_of(walk), &request->author, &member)) {
        fail(walk, seq, "somebody governs who is no member of the configuration");
    }
    if (votes) {
        take_vote(walk, seq, member, call, outcome);
    } else if (withdraws) {
        take_withdrawal(walk, seq, member, call);
    } else {
        take_proposal(walk, seq, member, call->arguments[0]);
    }
}

static void take_requests(struct walk *walk, const struct batch *batch) {
    uint64_t const seq = batch->pre_prepare.seq;
    for (uint32_t i = 0; i < batch->request_count; i++) {
        struct request_entry entry;
        struct request request;
        struct outcome outcome;
        arena_reset(&walk->scratch);
        CHECK(request_entry_decode(&entry, &walk->scratch, batch_request_payload(batch, i)) ==
                  CODEC_OK &&
              request_decode(&request, &walk->scratch, &walk->cluster->configuration->service,
                             entry.request) == CODEC_OK &&
              outcome_decode(&outcome, &walk->scratch, entry.outcomes[0]) == CODEC_OK);
        if (walk->ended != 0) {
            fail(walk, seq, "a request behind the vote that passed");
        }
        take_call(walk, seq, &request, &outcome);
    }
}

/* ---- which is in force ---- */

static void enter(struct walk *walk) {
    walk->config++;
    walk->ended = 0;
    for (uint32_t m = 0; m < MEMBERS_MAX; m++) {
        walk->matters[m].open = false; /* what is open ends with its configuration */
    }
    arena_reset(&walk->arena);
}

static void take_batch(struct walk *walk, const struct batch *batch) {
    const struct pre_prepare *const body = &batch->pre_prepare;
    bool const starts = walk->ended == 3;
    bool const ends = walk->ended == 1 || walk->ended == 2;
    enum batch_kind const kind = starts ? BATCH_START_OF_CONFIGURATION
                                 : ends ? BATCH_END_OF_CONFIGURATION
                                        : BATCH_NORMAL;
    if (starts) {
        enter(walk);
    }
    if (body->kind != kind || body->config != walk->config ||
        (body->seq <= walk->evidenced &&
         body->config != cluster_config_at(walk->cluster, body->seq)) ||
        (kind != BATCH_NORMAL && batch->request_count != 0)) {
        fail(walk, body->seq, "it is of another kind or configuration than is in force");
    }
    judge_pre_prepare(walk, batch);
    take_requests(walk, batch);
    walk->ended += ends;
}

void watch_eras(struct cluster *cluster, uint32_t node) {
    const struct entry_list *const ledger = &cluster->nodes[node].disk.durable;
    struct walk *const walk = cluster_zeroed(1, sizeof *walk);
    struct batch batch;
    uint64_t index = 1; /* behind genesis */
    bool more = cluster->charter != NULL && ledger->first == 0;
    walk->cluster = cluster;
    walk->node = node;
    walk->config = 1;
    uint64_t const last = entry_last_whole(ledger);
    walk->evidenced = last == 0 ? 0 : ledger->marks[entry_find(ledger, last)].facts->evidence_upto;
    arena_init(&walk->arena, (size_t)64 << 20);
    arena_init(&walk->scratch, 4 * (size_t)ENTRY_SIZE_MAX);
    batch_init(&batch);
    while (more) {
        enum batch_step const step = read_unit(&batch, ledger, &index, ledger->count);
        CHECK(step != BATCH_BROKEN);
        if (step == BATCH_WHOLE) {
            take_batch(walk, &batch);
        } else if (step == BATCH_VIEW) {
            judge_view(walk, &batch.view);
        }
        more = step != BATCH_MORE;
    }
    batch_free(&batch);
    arena_free(&walk->scratch);
    arena_free(&walk->arena);
    free(walk);
}
