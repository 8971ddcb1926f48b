/*
 * charter: see charter.h. Batches are signed by the first Q replicas, in view 0.
 */
#include "tests/forge/charter.h"

#include "base/check.h"
#include "governance/ballot.h"
#include "governance/founding.h"
#include "ledger/derive.h"
#include "receipts/receipt.h"

#define CHARTER_ARENA_SIZE ((size_t)1 << 30)
#define TEXT_SIZE_MAX 256u

static struct digest digest_of_counter(uint64_t counter, uint32_t purpose) {
    struct hash_state state;
    hash_init(&state);
    hash_update_u64(&state, counter);
    hash_update_u32(&state, purpose);
    return hash_final(&state);
}

/* Keep what a buffer holds for as long as the charter, and free the buffer. */
static struct span keep(struct charter *charter, struct buffer *buffer) {
    struct span const kept = arena_copy(&charter->arena, buffer_span(buffer));
    CHECK(!charter->arena.exhausted);
    buffer_free(buffer);
    return kept;
}

/* ---- keys ---- */

static const struct key_pair *key_keep(struct charter *charter, const struct key_pair *pair) {
    CHECK(charter->key_count < CHARTER_KEYS_MAX);
    charter->keys[charter->key_count] = *pair;
    return &charter->keys[charter->key_count++];
}

static const struct key_pair *pair_find(const struct charter *charter,
                                        const struct public_key *key) {
    for (uint32_t i = 0; i < charter->key_count; i++) {
        if (public_key_equal(&charter->keys[i].key, key)) {
            return &charter->keys[i];
        }
    }
    return NULL;
}

const struct key_pair *charter_pair(const struct charter *charter, const struct public_key *key) {
    const struct key_pair *const pair = pair_find(charter, key);
    CHECK(pair != NULL);
    return pair;
}

const struct key_pair *charter_key(struct charter *charter, uint32_t number) {
    struct key_pair const pair = key_pair_of(number);
    const struct key_pair *const known = pair_find(charter, &pair.key);
    return known != NULL ? known : key_keep(charter, &pair);
}

void charter_found(struct charter *charter, const struct consortium *consortium) {
    struct problem problem = {.code = EXIT_OK};
    *charter = (struct charter){.consortium = consortium};
    arena_init(&charter->arena, CHARTER_ARENA_SIZE);
    CHECK(constitution_found(&charter->now, &consortium->genesis, &problem) == 0);
    for (uint32_t i = 0; i < charter->now.replica_count; i++) {
        (void)key_keep(charter, &consortium->replicas[i].signing);
    }
    for (uint32_t i = 0; i < charter->now.member_count; i++) {
        (void)key_keep(charter, &consortium->members[i]);
    }
    for (uint32_t i = 0; i < CONSORTIUM_USERS; i++) {
        (void)key_keep(charter, &consortium->users[i]);
    }
}

void charter_free(struct charter *charter) {
    arena_free(&charter->arena);
}

static bool same_replica(const struct replica_identity *a, const struct replica_identity *b) {
    return public_key_equal(&a->key, &b->key) && digest_equal(&a->tls_digest, &b->tls_digest) &&
           a->member == b->member && strcmp(a->peer_address, b->peer_address) == 0 &&
           strcmp(a->client_address, b->client_address) == 0;
}

bool charter_same_configuration(const struct configuration *a, const struct configuration *b) {
    bool same = digest_equal(&a->service, &b->service) && a->number == b->number &&
                a->parameters.pipeline == b->parameters.pipeline &&
                a->parameters.checkpoint_interval == b->parameters.checkpoint_interval &&
                a->parameters.window == b->parameters.window &&
                a->parameters.batch_calls_max == b->parameters.batch_calls_max &&
                a->parameters.batch_size_soft_max == b->parameters.batch_size_soft_max &&
                a->replica_count == b->replica_count && a->faults_max == b->faults_max &&
                a->quorum == b->quorum && a->member_count == b->member_count &&
                a->author_count == b->author_count;
    for (uint32_t i = 0; same && i < a->replica_count; i++) {
        same = same_replica(&a->replicas[i], &b->replicas[i]);
    }
    for (uint32_t i = 0; same && i < a->member_count; i++) {
        same = strcmp(a->members[i].name, b->members[i].name) == 0 &&
               public_key_equal(&a->members[i].key, &b->members[i].key);
    }
    for (uint32_t i = 0; same && i < a->author_count; i++) {
        same = public_key_equal(&a->authors[i], &b->authors[i]);
    }
    return same;
}

/* ---- actions ---- */

struct signature charter_possession(struct charter *charter, const struct key_pair *pair,
                                    enum holder_role role, struct span name) {
    struct possession const possession = {.role = role, .name = name, .key = pair->key};
    struct buffer body;
    buffer_init(&body, POSSESSION_SIZE_MAX);
    CHECK(possession_encode(&body, &possession));
    struct signature const signature = sign_labelled(&pair->secret, &pair->key, LABEL_POSSESSION,
                                                     &charter->now.service, buffer_span(&body));
    buffer_free(&body);
    return signature;
}

struct action charter_named(struct charter *charter, enum action_kind kind, const char *name,
                            uint32_t number) {
    bool const is_user = kind == ACTION_ADD_USER || kind == ACTION_ROTATE_USER;
    const struct key_pair *const pair = charter_key(charter, number);
    return (struct action){
        .kind = kind,
        .name = span_text(name),
        .key = pair->key,
        .possession = charter_possession(charter, pair, is_user ? HOLDER_USER : HOLDER_MEMBER,
                                         span_text(name)),
    };
}

struct action charter_without(enum action_kind kind, const char *name) {
    return (struct action){.kind = kind, .name = span_text(name)};
}

void charter_endorse(struct charter *charter, struct action *action,
                     const struct key_pair *endorser) {
    struct buffer body;
    buffer_init(&body, ENDORSEMENT_SIZE_MAX);
    CHECK(replica_endorsement_encode(&body, &action->replica));
    action->endorsement.body = keep(charter, &body);
    action->endorsement.signature =
        sign_labelled(&endorser->secret, &endorser->key, LABEL_REPLICA_GIVEN, &charter->now.service,
                      action->endorsement.body);
}

struct action charter_replica(struct charter *charter, const struct public_key *old,
                              const char *member, uint32_t number) {
    const struct key_pair *const pair = charter_key(charter, number);
    uint32_t position = 0;
    struct action action = {
        .kind = old == NULL ? ACTION_ADD_REPLICA : ACTION_REPLACE_REPLICA,
        .replica = {.member = span_text(member),
                    .replica_key = pair->key,
                    .tls_digest = digest_of_counter(number, 7),
                    .peer_address = span_text("replica.example:7400"),
                    .client_address = span_text("replica.example:7500")},
        .possession = charter_possession(charter, pair, HOLDER_REPLICA, span_text(member)),
    };
    if (old != NULL) {
        action.key = *old;
    }
    /* A member that the same proposal adds signs by charter_endorse. */
    bool const known = constitution_find_member(&charter->now, span_text(member), &position);
    charter_endorse(charter, &action,
                    known ? charter_pair(charter, &charter->now.members[position].key) : pair);
    return action;
}

struct action charter_replica_gone(const struct public_key *key) {
    return (struct action){.kind = ACTION_REMOVE_REPLICA, .key = *key};
}

/* ---- proposals ---- */

struct span charter_propose(struct charter *charter, uint32_t count, const struct action *actions) {
    struct proposal proposal = {
        .config = charter->now.number, .text = span_text("for a test"), .action_count = count};
    struct buffer bytes;
    CHECK(count <= ACTIONS_MAX);
    memcpy(proposal.actions, actions, count * sizeof *actions);
    store_u64_be(proposal.salt, ++charter->counter);
    buffer_init(&bytes, PROPOSAL_SIZE_MAX);
    CHECK(proposal_encode(&bytes, &proposal));
    return keep(charter, &bytes);
}

void charter_decode(struct charter *charter, struct proposal *out, struct span bytes) {
    CHECK(proposal_decode(out, &charter->arena, &charter->now.service, bytes) == CODEC_OK);
}

void charter_pass(struct charter *charter, struct span proposal) {
    struct proposal decoded;
    struct constitution next;
    charter_decode(charter, &decoded, proposal);
    CHECK(proposal_apply(&next, &charter->now, &decoded).rule == PROPOSAL_SOUND);
    charter->now = next;
}

/* ---- votes ---- */

/* A signed request with this vote, the last of so many calls. */
static struct span vote_request(struct charter *charter, const struct vote_order *vote,
                                const struct digest *proposal, uint32_t call_count) {
    char text[TEXT_SIZE_MAX];
    const char *const procedure = vote->procedure == NULL ? "gov.vote" : vote->procedure;
    size_t const word = strlen(procedure) + 1;
    const char *const choice = vote->choice == NULL ? "yes" : vote->choice;
    const char *calls[3] = {"kv.get a", "kv.get b"};
    struct buffer bytes;
    memcpy(text, procedure, word);
    text[word - 1] = ' ';
    ballot_digest_write(text + word, vote->id == NULL ? proposal : vote->id);
    text[word + 2 * DIGEST_SIZE] = ' ';
    memcpy(text + word + 2 * DIGEST_SIZE + 1, choice, strlen(choice) + 1);
    CHECK(call_count >= 1 && call_count <= 3);
    calls[call_count - 1] = text;
    buffer_init(&bytes, REQUEST_SIZE_MAX);
    order_encode(&bytes, charter->consortium,
                 &(struct order){.author = vote->author,
                                 .number = ++charter->counter,
                                 .call_count = call_count,
                                 .calls = calls});
    return keep(charter, &bytes);
}

static void request_open(struct charter *charter, struct request *request, struct span bytes) {
    CHECK(request_decode(request, &charter->arena, &charter->now.service, bytes) == CODEC_OK);
}

/* A vote as links have it, the last of three calls. */
static void vote_fill(struct charter *charter, struct signed_vote *out,
                      const struct vote_order *vote, const struct digest *proposal) {
    struct request request;
    struct tree calls;
    struct digest path[MERKLE_DEPTH_MAX];
    request_open(charter, &request, vote_request(charter, vote, proposal, 3));
    tree_init(&calls);
    CHECK(receipt_calls_tree(&calls, &request));
    uint32_t const count = tree_inclusion_path(&calls, path, 2, 3);
    struct span const kept = arena_copy(&charter->arena, span_of(path, count * DIGEST_SIZE));
    *out = (struct signed_vote){.header = request.header,
                                .signature = request.signature,
                                .call = request.calls[2].bytes,
                                .position = 2,
                                .call_path_count = count,
                                .call_path = (const void *)kept.data};
    tree_free(&calls);
}

/* ---- batches ---- */

static const struct key_pair *replica_pair(const struct charter *charter, uint32_t replica) {
    return charter_pair(charter, &charter->now.replicas[replica].identity.key);
}

static struct nonce nonce_of(const struct pre_prepare *body, uint32_t replica) {
    struct digest const digest = digest_of_counter(body->seq * REPLICAS_MAX + replica, 8);
    struct nonce nonce;
    memcpy(nonce.bytes, digest.bytes, NONCE_SIZE);
    return nonce;
}

/* Sign a batch as a quorum of the constitution in force does. Returns: its certificate. */
static struct span batch_sign(struct charter *charter, struct pre_prepare *body) {
    const struct digest *const service = &charter->now.service;
    uint32_t const faults = configuration_faults_max(charter->now.replica_count);
    uint32_t const quorum = charter->now.replica_count - faults;
    struct nonce nonces[REPLICAS_MAX];
    struct signature signatures[REPLICAS_MAX];
    struct buffer bytes;
    nonces[0] = nonce_of(body, 0);
    body->nonce_hash = nonce_commit(service, body->config, 0, body->view, body->seq, &nonces[0]);
    buffer_init(&bytes, STATEMENT_SIZE_MAX);
    CHECK(pre_prepare_encode(&bytes, body));
    struct span const statement = keep(charter, &bytes);
    const struct key_pair *const primary = replica_pair(charter, 0);
    struct signature const signature =
        sign_labelled(&primary->secret, &primary->key, LABEL_PRE_PREPARE, service, statement);
    struct prepared_batch const prepared = {
        .config = body->config,
        .seq = body->seq,
        .digest = hash_statement(LABEL_PRE_PREPARE, service, statement, &signature)};
    for (uint32_t i = 1; i < quorum; i++) {
        const struct key_pair *const pair = replica_pair(charter, i);
        struct prepare prepare;
        nonces[i] = nonce_of(body, i);
        prepare_rebuild(&prepare, service, &prepared, i, &nonces[i]);
        buffer_init(&bytes, STATEMENT_SIZE_MAX);
        CHECK(prepare_encode(&bytes, &prepare));
        signatures[i - 1] =
            sign_labelled(&pair->secret, &pair->key, LABEL_PREPARE, service, buffer_span(&bytes));
        buffer_free(&bytes);
    }
    struct certificate const certificate = {.pre_prepare = statement,
                                            .pre_prepare_signature = signature,
                                            .signers = ((uint64_t)1 << quorum) - 1,
                                            .signature_count = quorum - 1,
                                            .signatures = signatures,
                                            .nonce_count = quorum,
                                            .nonces = nonces};
    buffer_init(&bytes, COMMIT_CERTIFICATE_SIZE_MAX);
    CHECK(certificate_encode(&bytes, &certificate));
    return keep(charter, &bytes);
}

/* What the passing vote was answered with. */
static struct span outcome_of(struct charter *charter, const struct link_order *order,
                              const struct proposal *proposal) {
    struct constitution next;
    struct digest digest = {{0}};
    char number[] = "00000";
    char hex[2 * DIGEST_SIZE + 1];
    struct buffer bytes;
    if (proposal_apply(&next, &charter->now, proposal).rule == PROPOSAL_SOUND) {
        CHECK(constitution_digest(&digest, &next));
    }
    ballot_digest_write(hex, order->constitution == NULL ? &digest : order->constitution);
    uint64_t value = order->number == 0 ? charter->now.number + 1 : order->number;
    size_t at = sizeof number - 1;
    while (value != 0) {
        CHECK(at > 0);
        number[--at] = (char)('0' + value % 10);
        value /= 10;
    }
    struct span const reply[3] = {span_text(order->word == NULL ? "passed" : order->word),
                                  span_text(number + at), span_text(hex)};
    struct outcome const outcome = {.status = order->status == 0 ? OUTCOME_OK : order->status,
                                    .reply_count = 3,
                                    .reply = reply};
    buffer_init(&bytes, OUTCOME_SIZE_MAX);
    CHECK(outcome_encode(&bytes, &outcome));
    return keep(charter, &bytes);
}

/* The receipt of the passing vote: the first transaction of its batch. */
static struct span receipt_of(struct charter *charter, const struct link_order *order,
                              const struct proposal *proposal) {
    const struct digest *const service = &charter->now.service;
    struct span const outcome = outcome_of(charter, order, proposal);
    struct request request;
    struct tree calls;
    struct tree batch;
    struct digest path[MERKLE_DEPTH_MAX];
    struct buffer bytes;
    request_open(charter, &request, vote_request(charter, &order->passing, &proposal->id, 1));
    tree_init(&calls);
    tree_init(&batch);
    CHECK(receipt_calls_tree(&calls, &request));
    struct digest const said = hash_labelled(LABEL_OUTCOME, service, outcome);
    struct digest const leaf = batch_leaf(&request.digest, 0, order->index, &said);
    CHECK(tree_append(&batch, &leaf));
    for (uint32_t i = 0; i < order->trailing; i++) {
        CHECK(tree_append(&batch, &said)); /* stands for another transaction */
    }
    struct pre_prepare body = {.config = order->vote_config == 0 ? charter->now.number
                                                                 : order->vote_config,
                               .seq = order->seq,
                               .batch_root = tree_root(&batch),
                               .first_index = order->index,
                               .tx_count = 1 + order->trailing,
                               .kind = BATCH_NORMAL};
    struct receipt_parts const parts = {.request = &request,
                                        .calls_tree = &calls,
                                        .index = order->index,
                                        .outcome = outcome,
                                        .batch_path_count =
                                            tree_inclusion_path(&batch, path, 0, batch.leaf_count),
                                        .batch_path = path,
                                        .certificate = batch_sign(charter, &body)};
    buffer_init(&bytes, RECEIPT_SIZE_MAX);
    CHECK(receipt_build(&bytes, &parts));
    tree_free(&calls);
    tree_free(&batch);
    return keep(charter, &bytes);
}

static struct span end_of(struct charter *charter, const struct link_order *order) {
    uint64_t const next_index = order->index + 1 + order->trailing;
    struct pre_prepare body = {
        .config = order->end_config == 0 ? charter->now.number : order->end_config,
        .seq = order->end_seq == 0 ? order->seq + 1 : order->end_seq,
        .first_index = order->end_first_index == 0 ? next_index : order->end_first_index,
        .tx_count = order->end_tx_count,
        .kind = order->end_kind == 0 ? BATCH_END_OF_CONFIGURATION : order->end_kind,
        .gov_index = order->end_gov_index == 0 ? order->index : order->end_gov_index};
    return batch_sign(charter, &body);
}

/* ---- links ---- */

void charter_order(struct charter *charter, struct link_order *order, struct span proposal) {
    const struct constitution *const now = &charter->now;
    uint32_t needed = 1;
    *order = (struct link_order){
        .proposal = proposal, .seq = 10 * now->number, .index = 100 * now->number};
    while (!voting_rule_passes(&now->rule, needed, now->member_count)) {
        needed++;
    }
    order->vote_count = needed - 1;
    for (uint32_t i = 0; i < needed - 1; i++) {
        order->votes[i].author = charter_pair(charter, &now->members[i].key);
    }
    order->passing.author = charter_pair(charter, &now->members[needed - 1].key);
}

struct span charter_link(struct charter *charter, const struct link_order *order) {
    struct proposal proposal;
    struct chain_link link = {.proposal = order->proposal, .vote_count = order->vote_count};
    struct buffer bytes;
    charter_decode(charter, &proposal, order->proposal);
    for (uint32_t i = 0; i < order->vote_count; i++) {
        vote_fill(charter, &link.votes[i], &order->votes[i], &proposal.id);
    }
    link.receipt = receipt_of(charter, order, &proposal);
    link.certificate = end_of(charter, order);
    buffer_init(&bytes, CHAIN_LINK_SIZE_MAX);
    CHECK(chain_link_encode(&bytes, &link));
    return keep(charter, &bytes);
}

/* ---- who signs now ---- */

void charter_consortium(struct charter *charter, struct consortium *out) {
    *out = *charter->consortium;
    constitution_configuration(&out->configuration, &charter->now);
    for (uint32_t i = 0; i < charter->now.replica_count; i++) {
        struct replica_keys *const keys = &out->replicas[i];
        struct digest const secret = digest_of_counter(i, (uint32_t)charter->now.number);
        keys->held = true;
        keys->signing = *charter_pair(charter, &charter->now.replicas[i].identity.key);
        memcpy(keys->nonce_secret, secret.bytes, sizeof keys->nonce_secret);
    }
}
