/*
 * chain: see chain.h. Every link is hostile. Cheap checks come first where the order is free, so
 * that junk costs little; nothing of a link is kept before all of it holds.
 *
 * Constitutions are kept encoded: most are small, and only the newest is needed at hand.
 */
#include "receipts/chain.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/sign.h"
#include "governance/ballot.h"
#include "governance/founding.h"

/* A link decodes into a few times its size, and so does the largest genesis. */
#define CHAIN_ARENA_SIZE (8u << 20)
#define OUTCOME_ITEMS 3u /* "passed", number, digest */
#define VOTE_ARGUMENTS 2u
#define SIZE_BYTES 4u
#define DECIMAL_DIGITS_MAX 20u

/* What tells one step to a constitution from another: the proposal, and where it came to pass. */
struct step {
    struct digest proposal;
    struct digest request; /* with the passing vote, and its signature */
    uint64_t index;        /* of that vote */
    uint64_t seq;          /* of its batch */
};

/* A constitution that the chain has reached, and the step to it. */
struct place {
    size_t offset; /* of its encoding */
    size_t size;
    struct step step; /* zeros for the founding one */
};

struct chain {
    struct digest service;
    struct buffer encoded; /* all constitutions */
    struct buffer places;  /* of struct place; number n at n - 1 */
    struct arena arena;
    struct constitution newest;
    /* Of the link being judged: */
    struct constitution now;
    struct constitution next;
    struct configuration configuration; /* that of now */
};

const char *chain_check_text(enum chain_check check) {
    switch (check) {
    case CHAIN_VALID:
        return "it holds";
    case CHAIN_KNOWN:
        return "it holds, and was known";
    case CHAIN_ENCODING:
        return "it is no link of a governance chain, or damaged";
    case CHAIN_GAP:
        return "links before it are missing";
    case CHAIN_PROPOSAL:
        return "the proposal breaks a rule";
    case CHAIN_RECEIPT:
        return "the receipt of the passing vote does not hold";
    case CHAIN_PASSING_VOTE:
        return "the receipt is not for a member's yes to the proposal";
    case CHAIN_OUTCOME:
        return "the receipt does not say that the proposal passed";
    case CHAIN_PLACE:
        return "the passing vote does not end its batch";
    case CHAIN_VOTER:
        return "the votes are not one each of members, in their order";
    case CHAIN_VOTE:
        return "a vote is not a yes to the proposal";
    case CHAIN_VOTE_SIGNATURE:
        return "the signature of a vote does not hold";
    case CHAIN_VOTES:
        return "there are too few votes";
    case CHAIN_CERTIFICATE:
        return "the certificate of the end of the configuration does not hold";
    case CHAIN_END:
        return "the certificate is not of the batch that ends the configuration";
    case CHAIN_FORK:
        return "it holds, and contradicts another link that holds";
    case CHAIN_MEMORY:
        return "there is no room for it";
    case CHAIN_CHECK_COUNT:
        break;
    }
    UNREACHABLE();
}

/* ---- what the chain has ---------------------------------------------------------------------- */

static uint64_t place_count(const struct chain *chain) {
    return chain->places.size / sizeof(struct place);
}

static struct place place_at(const struct chain *chain, uint64_t number) {
    struct place place;
    CHECK(number >= 1 && number <= place_count(chain));
    memcpy(&place, chain->places.data + (number - 1) * sizeof place, sizeof place);
    return place;
}

/* Keep a constitution, the next one. Returns: false when there is no room. */
static bool place_append(struct chain *chain, const struct constitution *constitution,
                         const struct step *step) {
    struct place place = {.offset = chain->encoded.size, .step = *step};
    struct buffer bytes;
    CHECK(constitution->number == place_count(chain) + 1);
    buffer_init(&bytes, CONSTITUTION_SIZE_MAX);
    bool const kept = place_count(chain) <= CHAIN_LINKS_MAX &&
                      constitution_encode(&bytes, constitution) &&
                      buffer_append(&chain->encoded, buffer_span(&bytes));
    place.size = bytes.size;
    buffer_free(&bytes);
    if (!kept || !buffer_append(&chain->places, span_of(&place, sizeof place))) {
        return false;
    }
    chain->newest = *constitution;
    return true;
}

const struct constitution *chain_newest(const struct chain *chain) {
    return &chain->newest;
}

bool chain_find(struct chain *chain, uint64_t number, struct constitution *out) {
    if (number < 1 || number > place_count(chain)) {
        return false;
    }
    struct place const place = place_at(chain, number);
    struct span const bytes = span_of(chain->encoded.data + place.offset, place.size);
    arena_reset(&chain->arena);
    return constitution_decode(out, &chain->arena, &chain->service, bytes) == CODEC_OK;
}

bool chain_find_configuration(struct chain *chain, uint64_t number, struct configuration *out) {
    if (!chain_find(chain, number, &chain->now)) {
        return false;
    }
    constitution_configuration(out, &chain->now);
    return true;
}

/* ---- life ------------------------------------------------------------------------------------ */

static int found(struct chain *chain, const struct digest *service, struct span bytes,
                 struct problem *problem) {
    struct genesis genesis;
    struct step const no_step = {.index = 0};
    enum codec_result const result = genesis_decode(&genesis, &chain->arena, bytes);
    if (result != CODEC_OK) {
        return problem_set(problem, EXIT_INVALID, "genesis: %s", codec_result_text(result));
    }
    if (service != NULL && !digest_equal(service, &genesis.service)) {
        return problem_set(problem, EXIT_INVALID, "genesis: it is of another service");
    }
    if (constitution_found(&chain->next, &genesis, problem) != 0) {
        return -1;
    }
    chain->service = genesis.service;
    if (!place_append(chain, &chain->next, &no_step)) {
        return problem_set(problem, EXIT_ERROR, "out of memory");
    }
    return 0;
}

struct chain *chain_new(const struct digest *service, struct span genesis,
                        struct problem *problem) {
    struct chain *const chain = calloc(1, sizeof *chain);
    if (chain == NULL) {
        (void)problem_set(problem, EXIT_ERROR, "out of memory");
        return NULL;
    }
    buffer_init(&chain->encoded, CHAIN_MEMORY_SIZE_MAX);
    buffer_init(&chain->places, (CHAIN_LINKS_MAX + 1) * sizeof(struct place));
    arena_init(&chain->arena, CHAIN_ARENA_SIZE);
    if (found(chain, service, genesis, problem) != 0) {
        chain_free(chain);
        return NULL;
    }
    return chain;
}

void chain_free(struct chain *chain) {
    if (chain == NULL) {
        return;
    }
    buffer_free(&chain->encoded);
    buffer_free(&chain->places);
    arena_free(&chain->arena);
    free(chain);
}

/* ---- one link -------------------------------------------------------------------------------- */

/* A link being judged. */
struct trial {
    struct chain *chain;
    struct chain_link link;
    struct proposal proposal;
    struct verified_receipt receipt;
    struct pre_prepare vote_batch;
    uint64_t voters; /* members of now */
    struct step step;
    const char *detail;
};

/* Is it gov.vote ID yes, for this proposal? */
static bool call_is_yes(const struct call *call, const struct digest *proposal) {
    struct digest id;
    return span_equal(call->procedure, span_text("gov.vote")) &&
           call->argument_count == VOTE_ARGUMENTS && ballot_digest_read(&id, call->arguments[0]) &&
           digest_equal(&id, proposal) && span_equal(call->arguments[1], span_text("yes"));
}

static enum chain_check proposal_judge(struct trial *trial) {
    struct chain *const chain = trial->chain;
    struct proposal_verdict const verdict =
        proposal_apply(&chain->next, &chain->now, &trial->proposal);
    if (verdict.rule != PROPOSAL_SOUND) {
        trial->detail = proposal_rule_text(verdict.rule);
        return CHAIN_PROPOSAL;
    }
    return CHAIN_VALID;
}

static bool is_decimal_of(struct span text, uint64_t number) {
    uint8_t digits[DECIMAL_DIGITS_MAX];
    size_t at = sizeof digits;
    do {
        digits[--at] = (uint8_t)('0' + number % 10);
        number /= 10;
    } while (number != 0);
    return span_equal(text, span_of(digits + at, sizeof digits - at));
}

/* Does the outcome say that it passed, and with the constitution that we came to? */
static enum chain_check outcome_judge(const struct trial *trial) {
    const struct outcome *const outcome = &trial->receipt.outcome;
    struct digest digest;
    struct digest said;
    if (!constitution_digest(&digest, &trial->chain->next)) {
        return CHAIN_MEMORY;
    }
    bool const passed = outcome->status == OUTCOME_OK && outcome->reply_count == OUTCOME_ITEMS &&
                        span_equal(outcome->reply[0], span_text("passed")) &&
                        is_decimal_of(outcome->reply[1], trial->chain->next.number) &&
                        ballot_digest_read(&said, outcome->reply[2]) &&
                        digest_equal(&said, &digest);
    return passed ? CHAIN_VALID : CHAIN_OUTCOME;
}

static enum chain_check receipt_judge(struct trial *trial) {
    struct chain *const chain = trial->chain;
    struct receipt_memory memory = {.has_batch = false};
    const struct verified_receipt *const receipt = &trial->receipt;
    uint32_t voter = 0;
    enum receipt_check const check = receipt_verify(&trial->receipt, &memory, &chain->arena,
                                                    &chain->configuration, trial->link.receipt);
    if (check != RECEIPT_VALID) {
        trial->detail = receipt_check_text(check);
        return CHAIN_RECEIPT;
    }
    if (!constitution_find_member_key(&chain->now, &receipt->request.author, &voter) ||
        !call_is_yes(&receipt->call, &trial->proposal.id)) {
        return CHAIN_PASSING_VOTE;
    }
    trial->voters = (uint64_t)1 << voter;
    trial->vote_batch = memory.batch.pre_prepare;
    trial->step = (struct step){.proposal = trial->proposal.id,
                                .request = receipt->request.digest,
                                .index = receipt->receipt.index,
                                .seq = trial->vote_batch.seq};
    /* Nothing else happens in configuration n once it is decided: the request ends its batch. */
    uint64_t const end =
        receipt->receipt.index - receipt->receipt.position + receipt->request.call_count;
    if (end != trial->vote_batch.first_index + trial->vote_batch.tx_count) {
        return CHAIN_PLACE;
    }
    return outcome_judge(trial);
}

/* One vote besides the passing one. `least`: the position that its author must at least have. */
static enum chain_check vote_judge(struct trial *trial, const struct signed_vote *vote,
                                   uint32_t *least) {
    struct chain *const chain = trial->chain;
    struct request request;
    struct call call;
    uint32_t voter = 0;
    struct call_claim const claim = {.call = vote->call,
                                     .position = vote->position,
                                     .path_count = vote->call_path_count,
                                     .path = vote->call_path};
    if (request_header_decode(&request, &chain->arena, &chain->service, vote->header,
                              &vote->signature) != CODEC_OK ||
        call_decode(&call, &chain->arena, vote->call) != CODEC_OK) {
        return CHAIN_ENCODING;
    }
    if (!constitution_find_member_key(&chain->now, &request.author, &voter) || voter < *least ||
        (trial->voters >> voter & 1) != 0) {
        return CHAIN_VOTER;
    }
    if (!call_is_yes(&call, &trial->proposal.id) || !receipt_call_is_part(&request, &claim)) {
        return CHAIN_VOTE;
    }
    struct sign_check const check = {.key = request.author,
                                     .signature = vote->signature,
                                     .body = vote->header,
                                     .label = LABEL_REQUEST};
    if (!sign_verify_universal(&chain->service, &check)) {
        return CHAIN_VOTE_SIGNATURE;
    }
    trial->voters |= (uint64_t)1 << voter;
    *least = voter + 1;
    return CHAIN_VALID;
}

static enum chain_check votes_judge(struct trial *trial) {
    const struct constitution *const now = &trial->chain->now;
    uint32_t least = 0;
    for (uint32_t i = 0; i < trial->link.vote_count; i++) {
        enum chain_check const check = vote_judge(trial, &trial->link.votes[i], &least);
        if (check != CHAIN_VALID) {
            return check;
        }
    }
    uint32_t const yes = (uint32_t)__builtin_popcountll(trial->voters);
    return voting_rule_passes(&now->rule, yes, now->member_count) ? CHAIN_VALID : CHAIN_VOTES;
}

/*
 * The batch behind the vote. What it evidences is not looked at: that moves when a later view
 * proposes it again, and the receipt shows by itself that the vote's batch committed.
 */
static enum chain_check end_judge(struct trial *trial) {
    struct chain *const chain = trial->chain;
    const struct pre_prepare *const vote_batch = &trial->vote_batch;
    struct certificate certificate;
    struct verified_batch batch;
    if (certificate_decode(&certificate, &chain->arena, trial->link.certificate) != CODEC_OK) {
        trial->detail = receipt_check_text(RECEIPT_CERTIFICATE_ENCODING);
        return CHAIN_CERTIFICATE;
    }
    enum receipt_check const check =
        certificate_verify(&batch, &chain->arena, &chain->configuration, &certificate);
    if (check != RECEIPT_VALID) {
        trial->detail = receipt_check_text(check);
        return CHAIN_CERTIFICATE;
    }
    bool const follows =
        batch.pre_prepare.kind == BATCH_END_OF_CONFIGURATION &&
        batch.pre_prepare.seq == vote_batch->seq + 1 && batch.pre_prepare.tx_count == 0 &&
        batch.pre_prepare.first_index == vote_batch->first_index + vote_batch->tx_count &&
        batch.pre_prepare.gov_index == trial->step.index;
    return follows ? CHAIN_VALID : CHAIN_END;
}

static enum chain_check link_judge(struct trial *trial, struct span bytes) {
    struct chain *const chain = trial->chain;
    arena_reset(&chain->arena);
    if (chain_link_decode(&trial->link, &chain->arena, bytes) != CODEC_OK ||
        proposal_decode(&trial->proposal, &chain->arena, &chain->service, trial->link.proposal) !=
            CODEC_OK) {
        return CHAIN_ENCODING;
    }
    uint64_t const number = trial->proposal.config;
    if (number > place_count(chain)) {
        return CHAIN_GAP;
    }
    if (number == chain->newest.number) {
        chain->now = chain->newest;
    } else {
        struct place const place = place_at(chain, number);
        struct span const encoded = span_of(chain->encoded.data + place.offset, place.size);
        if (constitution_decode(&chain->now, &chain->arena, &chain->service, encoded) != CODEC_OK) {
            return CHAIN_MEMORY;
        }
    }
    constitution_configuration(&chain->configuration, &chain->now);
    static enum chain_check (*const judges[])(struct trial *) = {proposal_judge, receipt_judge,
                                                                 votes_judge, end_judge};
    for (size_t i = 0; i < sizeof judges / sizeof judges[0]; i++) {
        enum chain_check const check = judges[i](trial);
        if (check != CHAIN_VALID) {
            return check;
        }
    }
    return CHAIN_VALID;
}

static bool step_equal(const struct step *a, const struct step *b) {
    return digest_equal(&a->proposal, &b->proposal) && digest_equal(&a->request, &b->request) &&
           a->index == b->index && a->seq == b->seq;
}

struct chain_verdict chain_add(struct chain *chain, struct span link) {
    struct trial *const trial = calloc(1, sizeof *trial);
    if (trial == NULL) {
        return (struct chain_verdict){.check = CHAIN_MEMORY};
    }
    trial->chain = chain;
    struct chain_verdict verdict = {.check = link_judge(trial, link)};
    verdict.detail = trial->detail;
    if (chain->arena.exhausted) {
        verdict.check = CHAIN_MEMORY; /* what would not decode may have been sound */
    }
    if (verdict.check == CHAIN_VALID && chain->next.number <= place_count(chain)) {
        struct place const place = place_at(chain, chain->next.number);
        verdict.check = step_equal(&place.step, &trial->step) ? CHAIN_KNOWN : CHAIN_FORK;
    } else if (verdict.check == CHAIN_VALID && !place_append(chain, &chain->next, &trial->step)) {
        verdict.check = CHAIN_MEMORY;
    }
    free(trial);
    return verdict;
}

/* ---- files ----------------------------------------------------------------------------------- */

static bool append_sized(struct buffer *out, struct span bytes) {
    uint8_t size[SIZE_BYTES];
    CHECK(bytes.size <= UINT32_MAX);
    store_u32_be(size, (uint32_t)bytes.size);
    return buffer_append(out, span_of(size, sizeof size)) && buffer_append(out, bytes);
}

bool chain_file_begin(struct buffer *out, struct span genesis) {
    struct buffer header;
    buffer_init(&header, CHAIN_HEADER_SIZE_MAX);
    bool const begun = chain_header_encode(&header, genesis) &&
                       buffer_append(out, span_text(CHAIN_FILE_MAGIC)) &&
                       append_sized(out, buffer_span(&header));
    buffer_free(&header);
    return begun;
}

bool chain_file_append(struct buffer *out, struct span link) {
    return link.size <= CHAIN_LINK_SIZE_MAX && append_sized(out, link);
}

static bool take_sized(struct span *rest, struct span *out, size_t size_max) {
    if (rest->size < SIZE_BYTES) {
        return false;
    }
    size_t const size = load_u32_be(rest->data);
    if (size > size_max || size > rest->size - SIZE_BYTES) {
        return false;
    }
    *out = span_of(rest->data + SIZE_BYTES, size);
    *rest = span_of(rest->data + SIZE_BYTES + size, rest->size - SIZE_BYTES - size);
    return true;
}

bool chain_reader_open(struct chain_reader *reader, struct arena *arena, struct span file) {
    struct span const magic = span_text(CHAIN_FILE_MAGIC);
    struct span header;
    if (file.size < magic.size || file.size > CHAIN_SIZE_MAX ||
        !span_equal(span_of(file.data, magic.size), magic)) {
        return false;
    }
    *reader =
        (struct chain_reader){.rest = span_of(file.data + magic.size, file.size - magic.size)};
    return take_sized(&reader->rest, &header, CHAIN_HEADER_SIZE_MAX) &&
           chain_header_decode(&reader->genesis, arena, header) == CODEC_OK;
}

int chain_reader_next(struct chain_reader *reader, struct span *link) {
    if (reader->rest.size == 0) {
        return 0;
    }
    if (reader->links == CHAIN_LINKS_MAX || !take_sized(&reader->rest, link, CHAIN_LINK_SIZE_MAX)) {
        return -1;
    }
    reader->links++;
    return 1;
}

/* Add every link there is. Returns: 0, or -1 with a problem. */
static int links_add(struct chain *chain, struct chain_reader *reader, struct problem *problem) {
    struct span link;
    int status = chain_reader_next(reader, &link);
    while (status == 1) {
        struct chain_verdict const verdict = chain_add(chain, link);
        if (verdict.check != CHAIN_VALID) {
            return problem_set(problem, verdict.check == CHAIN_MEMORY ? EXIT_ERROR : EXIT_INVALID,
                               "link %u of the governance chain: %s%s%s", reader->links,
                               chain_check_text(verdict.check), verdict.detail == NULL ? "" : ": ",
                               verdict.detail == NULL ? "" : verdict.detail);
        }
        status = chain_reader_next(reader, &link);
    }
    return status == 0
               ? 0
               : problem_set(problem, EXIT_INVALID,
                             "the governance chain is damaged behind link %u", reader->links);
}

struct chain *chain_read(const struct digest *service, struct span file, struct problem *problem) {
    struct chain_reader reader;
    struct arena arena;
    struct chain *chain = NULL;
    arena_init(&arena, CHAIN_ARENA_SIZE);
    if (chain_reader_open(&reader, &arena, file)) {
        chain = chain_new(service, reader.genesis, problem);
    } else {
        (void)problem_set(problem, EXIT_INVALID, "this is no governance chain, or damaged");
    }
    if (chain != NULL && links_add(chain, &reader, problem) != 0) {
        chain_free(chain);
        chain = NULL;
    }
    arena_free(&arena);
    return chain;
}
