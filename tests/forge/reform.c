/*
 * reform: see reform.h.
 */
#include "tests/forge/reform.h"

#include "base/check.h"
#include "governance/ballot.h"
#include "receipts/chain.h"

void reform_init(struct reform *reform, struct forge *forge) {
    *reform = (struct reform){.forge = forge};
    charter_found(&reform->charter, forge->consortium);
    reform->constitutions[0] = reform->charter.now;
    forge_govern(forge, &reform->constitutions[0]);
}

void reform_free(struct reform *reform) {
    charter_free(&reform->charter);
}

static struct span keep(struct reform *reform, struct buffer *buffer) {
    struct span const kept = arena_copy(&reform->charter.arena, buffer_span(buffer));
    CHECK(!reform->charter.arena.exhausted);
    buffer_free(buffer);
    return kept;
}

struct span reform_request(struct reform *reform, uint32_t member, const char *procedure,
                           uint32_t count, const struct span *arguments) {
    const struct digest *const service = &reform->charter.now.service;
    const struct key_pair *const pair =
        charter_pair(&reform->charter, &reform->charter.now.members[member].key);
    uint8_t nonce[REQUEST_NONCE_SIZE] = {0};
    struct buffer bytes;
    buffer_init(&bytes, CALL_SIZE_MAX);
    CHECK(call_encode(&bytes, span_text(procedure), count, arguments));
    struct span const call = keep(reform, &bytes);
    store_u64_be(nonce, ++reform->charter.counter);
    buffer_init(&bytes, STATEMENT_SIZE_MAX);
    CHECK(request_header_encode(&bytes, &pair->key, reform->forge->next_index, nonce,
                                REQUEST_INDEPENDENT, 1, &call));
    struct span const header = keep(reform, &bytes);
    struct signature const signature =
        sign_labelled(&pair->secret, &pair->key, LABEL_REQUEST, service, header);
    buffer_init(&bytes, REQUEST_SIZE_MAX);
    CHECK(request_encode(&bytes, header, &signature, 1, &call));
    return keep(reform, &bytes);
}

static void append(struct reform *reform, uint32_t count, const struct span *request) {
    forge_append(reform->forge, &(struct forge_order){.request_count = count, .requests = request});
}

static void vote_open(struct reform *reform, struct signed_vote *out, struct span bytes) {
    struct request request;
    CHECK(request_decode(&request, &reform->charter.arena, &reform->charter.now.service, bytes) ==
          CODEC_OK);
    *out = (struct signed_vote){
        .header = request.header, .signature = request.signature, .call = request.calls[0].bytes};
}

/* The link from what stands in the ledger: the vote ended `seq`, and the batch behind it is there.
 */
static struct span link_of(struct reform *reform, struct span proposal, uint32_t vote_count,
                           const struct span *votes, uint64_t seq) {
    static struct chain_link link;
    struct buffer bytes;
    link = (struct chain_link){.proposal = proposal, .vote_count = vote_count};
    for (uint32_t i = 0; i < vote_count; i++) {
        vote_open(reform, &link.votes[i], votes[i]);
    }
    buffer_init(&bytes, RECEIPT_SIZE_MAX);
    forge_receipt(reform->forge, &(struct forge_place){.seq = seq}, &bytes);
    link.receipt = keep(reform, &bytes);
    buffer_init(&bytes, COMMIT_CERTIFICATE_SIZE_MAX);
    forge_certificate(reform->forge, seq + 1, &bytes);
    link.certificate = keep(reform, &bytes);
    buffer_init(&bytes, CHAIN_LINK_SIZE_MAX);
    CHECK(chain_link_encode(&bytes, &link));
    return keep(reform, &bytes);
}

struct span reform_vote_but_one(struct reform *reform, uint32_t count, const struct action *actions,
                                struct span *last) {
    struct charter *const charter = &reform->charter;
    struct span const proposal = charter_propose(charter, count, actions);
    struct proposal decoded;
    char id[2 * DIGEST_SIZE + 1];
    uint32_t voted = 0;
    charter_decode(charter, &decoded, proposal);
    ballot_digest_write(id, &decoded.id);
    struct span const arguments[2] = {span_text(id), span_text("yes")};
    struct span const propose = reform_request(reform, 0, "gov.propose", 1, &proposal);
    append(reform, 1, &propose);
    while (!voting_rule_passes(&charter->now.rule, voted + 1, charter->now.member_count)) {
        reform->votes[voted] = reform_request(reform, voted, "gov.vote", 2, arguments);
        append(reform, 1, &reform->votes[voted]);
        voted++;
    }
    *last = reform_request(reform, voted, "gov.vote", 2, arguments);
    reform->votes[voted] = *last;
    reform->vote_count = voted + 1;
    return proposal;
}

struct span reform_vote(struct reform *reform, uint32_t count, const struct action *actions) {
    struct span last;
    struct span const proposal = reform_vote_but_one(reform, count, actions, &last);
    append(reform, 1, &last);
    CHECK(reform->forge->closing_seq == forge_seq(reform->forge));
    return proposal;
}

void reform_end(struct reform *reform, uint32_t count, const struct action *actions) {
    reform_close(reform, reform_vote(reform, count, actions));
}

void reform_close(struct reform *reform, struct span proposal) {
    struct charter *const charter = &reform->charter;
    uint64_t const seq = reform->forge->closing_seq;
    while (forge_seq(reform->forge) < seq + CLOSING_BATCHES) {
        append(reform, 0, NULL);
    }
    CHECK(reform->count < REFORMS_MAX);
    reform->links[reform->count] =
        link_of(reform, proposal, reform->vote_count - 1, reform->votes, seq);
    charter_pass(charter, proposal);
    charter_consortium(charter, &reform->consortiums[reform->count]);
    reform->count++;
    reform->constitutions[reform->count] = charter->now;
}

void reform_start(struct reform *reform) {
    CHECK(reform->count != 0);
    forge_enter_configuration(reform->forge, &reform->consortiums[reform->count - 1],
                              &reform->constitutions[reform->count]);
    append(reform, 0, NULL);
}

void reform_shift(struct reform *reform) {
    struct action actions[2];
    struct charter *const charter = &reform->charter;
    const struct replica_identity *const first = &charter->now.replicas[0].identity;
    uint32_t const number = 6000 + 10 * reform->count;
    const char *const member = charter->now.members[first->member].name;
    actions[0] = charter_replica(charter, &first->key, member, number);
    actions[1] = charter_replica(charter, NULL, member, number + 1);
    reform_end(reform, 2, actions);
    reform_start(reform);
}

void reform_state(const struct reform *reform, uint64_t range_config, struct served *served) {
    CHECK(range_config >= 1 && range_config <= reform->count + 1);
    served->config = reform->count + 1;
    served->range_config = range_config;
    CHECK(
        constitution_digest(&served->constitution, &reform->constitutions[reform->count]) &&
        constitution_digest(&served->range_constitution, &reform->constitutions[range_config - 1]));
}

void reform_chain(const struct reform *reform, struct buffer *out) {
    CHECK(chain_file_begin(out, buffer_span(&reform->charter.consortium->genesis_bytes)));
    for (uint32_t i = 0; i < reform->count; i++) {
        CHECK(chain_file_append(out, reform->links[i]));
    }
}
