/*
 * link_maker: see link_maker.h. Invariant: an open proposal is the newest that its member has made
 * in this configuration, and its votes are the yes of those in `voters`, as they stand.
 *
 * A proposal that was rejected stays until its member makes another: nobody votes for it any more.
 */
#include "receipts/link_maker.h"

#include <stdlib.h>

#include "base/check.h"
#include "governance/ballot.h"
#include "ledger/codec_governance.h"
#include "ledger/derive.h"
#include "receipts/from_ledger.h"
#include "receipts/receipt.h"

#define ARENA_SIZE (4 * (size_t)ENTRY_SIZE_MAX)
#define GOVERNANCE_PREFIX "gov."

/* A member's yes, as a link shows it. The call is alone in its request. */
struct kept_vote {
    struct signature signature;
    uint8_t header[VOTE_HEADER_SIZE_MAX];
    uint8_t call[VOTE_CALL_SIZE_MAX];
    uint32_t header_size;
    uint32_t call_size;
};

struct open_proposal {
    struct digest id;
    struct buffer bytes; /* empty: there is none */
    uint64_t voters;     /* bitmap of member positions */
    struct kept_vote votes[MEMBERS_MAX];
};

struct link_maker {
    const struct constitution *now;
    bool lost; /* memory was short: something of this configuration may be missing */
    struct arena arena;
    struct open_proposal open[MEMBERS_MAX]; /* by position of who proposed it */
};

/* A request of governance, of a member, that did what it says. */
struct deed {
    struct request request;
    const struct call *call;
    struct request_entry entry;
    uint32_t member;
};

struct link_maker *link_maker_new(void) {
    struct link_maker *const maker = calloc(1, sizeof *maker);
    if (maker != NULL) {
        arena_init(&maker->arena, ARENA_SIZE);
        for (uint32_t i = 0; i < MEMBERS_MAX; i++) {
            buffer_init(&maker->open[i].bytes, PROPOSAL_SIZE_MAX);
        }
    }
    return maker;
}

void link_maker_free(struct link_maker *maker) {
    if (maker != NULL) {
        for (uint32_t i = 0; i < MEMBERS_MAX; i++) {
            buffer_free(&maker->open[i].bytes);
        }
        arena_free(&maker->arena);
        free(maker);
    }
}

void link_maker_begin(struct link_maker *maker, const struct constitution *now) {
    maker->now = now;
    maker->lost = false;
    for (uint32_t i = 0; i < MEMBERS_MAX; i++) {
        buffer_clear(&maker->open[i].bytes);
        maker->open[i].voters = 0;
    }
}

const struct constitution *link_maker_constitution(const struct link_maker *maker) {
    return maker->now;
}

/* ---- what happened --------------------------------------------------------------------------- */

/* Returns: false when it is none. Spans of the deed point into payload and the arena. */
static bool deed_read(struct deed *deed, struct link_maker *maker, struct span payload) {
    struct request *const request = &deed->request;
    struct outcome outcome;
    arena_reset(&maker->arena);
    bool const decodes =
        request_entry_decode(&deed->entry, &maker->arena, payload) == CODEC_OK &&
        request_decode(request, &maker->arena, &maker->now->service, deed->entry.request) ==
            CODEC_OK &&
        request->call_count == 1 && deed->entry.outcome_count == 1 &&
        outcome_decode(&outcome, &maker->arena, deed->entry.outcomes[0]) == CODEC_OK;
    maker->lost |= maker->arena.exhausted;
    deed->call = decodes ? &request->calls[0] : NULL;
    return decodes && outcome.status == OUTCOME_OK &&
           constitution_find_member_key(maker->now, &request->author, &deed->member);
}

static bool deed_is(const struct deed *deed, const char *procedure, uint32_t argument_count) {
    return span_equal(deed->call->procedure, span_text(procedure)) &&
           deed->call->argument_count == argument_count;
}

static struct open_proposal *find_open(struct link_maker *maker, struct span id_text) {
    struct digest id;
    if (!ballot_digest_read(&id, id_text)) {
        return NULL;
    }
    for (uint32_t i = 0; i < maker->now->member_count; i++) {
        struct open_proposal *const open = &maker->open[i];
        if (open->bytes.size != 0 && digest_equal(&open->id, &id)) {
            return open;
        }
    }
    return NULL;
}

static void take_proposal(struct link_maker *maker, const struct deed *deed) {
    struct open_proposal *const open = &maker->open[deed->member];
    struct span const bytes = deed->call->arguments[0];
    open->voters = 0;
    open->id = hash_labelled(LABEL_PROPOSAL, &maker->now->service, bytes);
    buffer_clear(&open->bytes);
    maker->lost |= !buffer_append(&open->bytes, bytes);
}

static void take_vote(struct link_maker *maker, const struct deed *deed) {
    struct open_proposal *const open = find_open(maker, deed->call->arguments[0]);
    struct span const header = deed->request.header;
    struct span const call = deed->call->bytes;
    if (open == NULL || header.size > VOTE_HEADER_SIZE_MAX || call.size > VOTE_CALL_SIZE_MAX) {
        return;
    }
    uint64_t const bit = (uint64_t)1 << deed->member;
    open->voters &= ~bit;
    if (span_equal(deed->call->arguments[1], span_text("yes"))) {
        struct kept_vote *const vote = &open->votes[deed->member];
        memcpy(vote->header, header.data, header.size);
        memcpy(vote->call, call.data, call.size);
        vote->header_size = (uint32_t)header.size;
        vote->call_size = (uint32_t)call.size;
        vote->signature = deed->request.signature;
        open->voters |= bit;
    }
}

/* Does the word of governance occur in these bytes at all? */
static bool mentions_governance(struct span bytes) {
    struct span const word = span_text(GOVERNANCE_PREFIX);
    const uint8_t *at = bytes.data;
    const uint8_t *const end = bytes.data + bytes.size;
    while (at != NULL && (size_t)(end - at) >= word.size && memcmp(at, word.data, word.size) != 0) {
        at = memchr(at + 1, word.data[0], (size_t)(end - at) - 1);
    }
    return at != NULL && (size_t)(end - at) >= word.size;
}

void link_maker_take(struct link_maker *maker, const struct batch *batch) {
    CHECK(maker->now != NULL);
    for (uint32_t i = 0; i < batch->request_count; i++) {
        struct span const payload = batch_request_payload(batch, i);
        struct deed deed;
        /* Most have nothing to do with it, and are not worth decoding. */
        if (!mentions_governance(payload) || !deed_read(&deed, maker, payload)) {
            continue;
        }
        if (deed_is(&deed, "gov.propose", 1)) {
            take_proposal(maker, &deed);
        } else if (deed_is(&deed, BALLOT_VOTE, 2)) {
            take_vote(maker, &deed);
        } else if (deed_is(&deed, "gov.withdraw", 1)) {
            buffer_clear(&maker->open[deed.member].bytes);
        }
    }
}

/* ---- the link -------------------------------------------------------------------------------- */

/* The receipt of the last request of the closing batch, which is the passing vote. */
static bool make_receipt(struct buffer *out, const struct deed *deed, struct tree *batch_tree,
                         struct span certificate) {
    struct digest path[MERKLE_DEPTH_MAX];
    struct tree calls_tree;
    bool made = false;
    tree_init(&calls_tree);
    if (receipt_calls_tree(&calls_tree, &deed->request)) {
        uint64_t const leaves = batch_tree->leaf_count;
        struct receipt_parts const parts = {
            .request = &deed->request,
            .calls_tree = &calls_tree,
            .index = deed->entry.first_index,
            .outcome = deed->entry.outcomes[0],
            .batch_path_count = tree_inclusion_path(batch_tree, path, leaves - 1, leaves),
            .batch_path = path,
            .certificate = certificate,
        };
        made = receipt_build(out, &parts);
    }
    tree_free(&calls_tree);
    return made;
}

static bool passes(const struct link_maker *maker, uint32_t yes) {
    return voting_rule_passes(&maker->now->rule, yes, maker->now->member_count);
}

/* As many votes besides that of `passing` as it takes. */
static bool add_votes(const struct link_maker *maker, struct chain_link *link,
                      const struct open_proposal *open, uint32_t passing) {
    for (uint32_t i = 0; i < maker->now->member_count && !passes(maker, link->vote_count + 1);
         i++) {
        const struct kept_vote *const vote = &open->votes[i];
        if (i != passing && (open->voters >> i & 1) != 0) {
            link->votes[link->vote_count++] =
                (struct signed_vote){.header = span_of(vote->header, vote->header_size),
                                     .signature = vote->signature,
                                     .call = span_of(vote->call, vote->call_size)};
        }
    }
    return passes(maker, link->vote_count + 1);
}

static bool make_link(struct link_maker *maker, struct buffer *out, struct chain_link *link,
                      const struct link_ending *ending, struct tree *tree) {
    const struct batch *const closing = ending->closing;
    struct buffer receipt;
    struct deed deed;
    if (closing->request_count == 0 ||
        !batch_tree_from_ledger(tree, &maker->arena, &maker->now->service, closing) ||
        tree->leaf_count == 0 ||
        !deed_read(&deed, maker, batch_request_payload(closing, closing->request_count - 1)) ||
        !deed_is(&deed, BALLOT_VOTE, 2)) {
        return false;
    }
    const struct open_proposal *const open = find_open(maker, deed.call->arguments[0]);
    buffer_init(&receipt, RECEIPT_SIZE_MAX);
    bool made = open != NULL && add_votes(maker, link, open, deed.member) &&
                make_receipt(&receipt, &deed, tree, ending->certificate);
    if (made) {
        link->proposal = buffer_span(&open->bytes);
        link->receipt = buffer_span(&receipt);
        link->certificate = ending->end_certificate;
        made = chain_link_encode(out, link);
    }
    buffer_free(&receipt);
    return made;
}

bool link_maker_make(struct link_maker *maker, struct buffer *out,
                     const struct link_ending *ending) {
    struct tree tree;
    struct chain_link *const link = calloc(1, sizeof *link);
    CHECK(maker->now != NULL);
    if (link == NULL || maker->lost) {
        free(link);
        return false;
    }
    tree_init(&tree);
    bool const made = make_link(maker, out, link, ending, &tree);
    tree_free(&tree);
    free(link);
    return made;
}
