/*
 * era_link: the link of the governance chain for a change of configuration, from the ledger that is
 * followed (protocol §9). Whatever may concern a vote is put aside while batches are taken; where
 * the configuration has ended, what belongs to the proposal that passed becomes the link.
 *
 * As in blame.c, it is verified with each proof that it goes into, as a stranger would. If it
 * cannot be made, proofs about the next configuration need a chain that is given.
 */
#include <stdlib.h>

#include "audit-tool/audit_internal.h"
#include "base/check.h"
#include "governance/ballot.h"
#include "ledger/derive.h"
#include "receipts/from_ledger.h"

#define MAKING_ARENA_SIZE (16u << 20)
#define GOVERNANCE_PREFIX "gov."

/* A request put aside; its bytes follow. */
struct aside {
    size_t size;
};

void era_link_note(struct audit *audit, const struct batch *batch) {
    struct span const prefix = span_text(GOVERNANCE_PREFIX);
    for (uint32_t i = 0; i < batch->request_count; i++) {
        struct span const payload = batch_request_payload(batch, i);
        struct aside const record = {.size = payload.size};
        /* Without decoding: what only looks like it is found out later. */
        if (memmem(payload.data, payload.size, prefix.data, prefix.size) != NULL &&
            !audit->votes_lost) {
            audit->votes_lost = !spill_append(&audit->votes, span_of(&record, sizeof record)) ||
                                !spill_append(&audit->votes, payload);
        }
    }
}

void era_link_forget(struct audit *audit) {
    spill_cut(&audit->votes, 0);
    audit->votes_lost = false;
}

/* ---- the parts of a link ---- */

struct link_making {
    struct audit *audit;
    const struct constitution *now;
    struct arena arena;   /* of all that the link points to */
    struct arena scratch; /* of the request that is looked at */
    struct digest id;
    char id_text[2 * DIGEST_SIZE + 1];
    struct chain_link link;
    bool has_vote[MEMBERS_MAX];
    struct signed_vote votes[MEMBERS_MAX]; /* by position of the member */
    struct buffer receipt;
    struct buffer certificate;
};

static void making_init(struct link_making *making, struct audit *audit,
                        const struct constitution *now) {
    *making = (struct link_making){.audit = audit, .now = now};
    arena_init(&making->arena, MAKING_ARENA_SIZE);
    arena_init(&making->scratch, 4 * (size_t)ENTRY_SIZE_MAX);
    buffer_init(&making->receipt, RECEIPT_SIZE_MAX);
    buffer_init(&making->certificate, COMMIT_CERTIFICATE_SIZE_MAX);
}

static void making_free(struct link_making *making) {
    arena_free(&making->arena);
    arena_free(&making->scratch);
    buffer_free(&making->receipt);
    buffer_free(&making->certificate);
}

static bool request_open(struct request_entry *entry, struct request *request, struct arena *arena,
                         const struct digest *service, struct span payload) {
    return request_entry_decode(entry, arena, payload) == CODEC_OK &&
           request_decode(request, arena, service, entry->request) == CODEC_OK;
}

/* The batch with this number in the ledger that is followed. NULL: it cannot be read. */
static struct audit_ledger *open_batch(struct audit *audit, uint64_t seq) {
    const struct batch_place *const place = &audit->watch.places[seq % BATCH_PLACES_MAX];
    struct audit_ledger *const at =
        place->seq != seq ? NULL : ledger_open_at(audit, audit->followed, place->entry);
    if (at != NULL && (ledger_is_at_view(at) || at->reader.batch.pre_prepare.seq != seq)) {
        ledger_close(at);
        return NULL;
    }
    return at;
}

/* The receipt of the last transaction of a batch, which is the passing vote. */
static bool make_receipt(struct link_making *making, const struct audit_ledger *at) {
    const struct batch *const batch = &at->reader.batch;
    const struct digest *const service = &making->now->service;
    struct found_certificate found;
    struct request_entry entry;
    struct request request;
    struct tree calls_tree;
    struct tree batch_tree;
    struct digest path[MERKLE_DEPTH_MAX];
    bool made = false;
    found_certificate_init(&found);
    tree_init(&calls_tree);
    tree_init(&batch_tree);
    if (batch->request_count != 0 &&
        batch_tree_from_ledger(&batch_tree, &making->scratch, service, batch) &&
        request_open(&entry, &request, &making->arena, service,
                     batch_request_payload(batch, batch->request_count - 1)) &&
        request.call_count == 1 && entry.outcome_count == 1 &&
        request.calls[0].argument_count == 2 &&
        ballot_digest_read(&making->id, request.calls[0].arguments[0]) &&
        receipt_calls_tree(&calls_tree, &request) && certificate_find(making->audit, &found, at)) {
        uint64_t const leaf = batch_tree.leaf_count - 1;
        struct receipt_parts const parts = {
            .request = &request,
            .calls_tree = &calls_tree,
            .index = entry.first_index,
            .outcome = entry.outcomes[0],
            .batch_path_count = tree_inclusion_path(&batch_tree, path, leaf, leaf + 1),
            .batch_path = path,
            .certificate = buffer_span(&found.bytes),
        };
        made = receipt_build(&making->receipt, &parts);
    }
    ballot_digest_write(making->id_text, &making->id);
    found_certificate_free(&found);
    tree_free(&calls_tree);
    tree_free(&batch_tree);
    return made;
}

static bool make_certificate(struct link_making *making, uint64_t seq) {
    struct found_certificate found;
    struct audit_ledger *const at = open_batch(making->audit, seq);
    found_certificate_init(&found);
    bool const made = at != NULL && certificate_find(making->audit, &found, at) &&
                      buffer_append(&making->certificate, buffer_span(&found.bytes));
    found_certificate_free(&found);
    ledger_close(at);
    return made;
}

/* A copy of a span that goes with the next look. */
static struct span keep(struct link_making *making, struct span bytes) {
    return arena_copy(&making->arena, bytes);
}

static void take_request(struct link_making *making, const struct request *request) {
    const struct call *const call = &request->calls[0];
    uint32_t voter = 0;
    if (request->call_count != 1) {
        return;
    }
    if (span_equal(call->procedure, span_text("gov.propose")) && call->argument_count == 1) {
        struct digest const id =
            hash_labelled(LABEL_PROPOSAL, &making->now->service, call->arguments[0]);
        if (digest_equal(&id, &making->id)) {
            making->link.proposal = keep(making, call->arguments[0]);
        }
    } else if (span_equal(call->procedure, span_text("gov.vote")) && call->argument_count == 2 &&
               span_equal(call->arguments[0], span_text(making->id_text)) &&
               span_equal(call->arguments[1], span_text("yes")) &&
               constitution_find_member_key(making->now, &request->author, &voter)) {
        making->has_vote[voter] = true;
        making->votes[voter] = (struct signed_vote){.header = keep(making, request->header),
                                                    .signature = request->signature,
                                                    .call = keep(making, call->bytes)};
    }
}

/* Proposal and votes from what was put aside. The receipt's own voter does not vote twice. */
static bool gather(struct link_making *making, const struct public_key *passing) {
    const struct spill *const votes = &making->audit->votes;
    uint32_t own = 0;
    size_t at = 0;
    while (at < votes->size) {
        struct aside record;
        struct request_entry entry;
        struct request request;
        memcpy(&record, votes->data + at, sizeof record);
        struct span const payload = span_of(votes->data + at + sizeof record, record.size);
        arena_reset(&making->scratch);
        if (request_open(&entry, &request, &making->scratch, &making->now->service, payload)) {
            take_request(making, &request);
        }
        at += sizeof record + record.size;
    }
    if (!constitution_find_member_key(making->now, passing, &own)) {
        return false;
    }
    making->has_vote[own] = false;
    for (uint32_t i = 0; i < making->now->member_count; i++) {
        if (making->has_vote[i] &&
            !voting_rule_passes(&making->now->rule, making->link.vote_count + 1,
                                making->now->member_count)) {
            making->link.votes[making->link.vote_count++] = making->votes[i];
        }
    }
    return making->link.proposal.size != 0 && !making->arena.exhausted &&
           voting_rule_passes(&making->now->rule, making->link.vote_count + 1,
                              making->now->member_count);
}

static bool make(struct link_making *making, uint64_t seq) {
    struct arena *const arena = &making->scratch;
    struct receipt receipt;
    struct request request;
    struct audit_ledger *const at = open_batch(making->audit, seq);
    bool made = at != NULL && make_receipt(making, at) && make_certificate(making, seq + 1);
    ledger_close(at);
    arena_reset(arena);
    if (!made || receipt_decode(&receipt, arena, buffer_span(&making->receipt)) != CODEC_OK ||
        request_header_decode(&request, arena, &making->now->service, receipt.request_header,
                              &receipt.request_signature) != CODEC_OK) {
        return false;
    }
    struct public_key const passing = request.author;
    making->link.receipt = buffer_span(&making->receipt);
    making->link.certificate = buffer_span(&making->certificate);
    return gather(making, &passing);
}

/* ---- all of it ---- */

void era_link_make(struct audit *audit, uint64_t seq) {
    uint64_t const number = audit->replayer.era->configuration.number + 1;
    struct era *const era = eras_find(&audit->eras, number);
    struct buffer link;
    if (era == NULL || era->link.size != 0 || audit->votes_lost) {
        return;
    }
    struct link_making *const making = malloc(sizeof *making);
    if (making == NULL) {
        return;
    }
    making_init(making, audit, &audit->replayer.era->constitution);
    buffer_init(&link, CHAIN_LINK_SIZE_MAX);
    if (make(making, seq) && chain_link_encode(&link, &making->link) &&
        !era_link_keep(era, buffer_span(&link))) {
        buffer_clear(&era->link);
    }
    buffer_free(&link);
    making_free(making);
    free(making);
}
