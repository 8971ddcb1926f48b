/*
 * codec_governance: tests of ledger/codec_governance.h: what it accepts comes out as it went in,
 * and nothing else is accepted; every field at its bound and one beyond.
 */
#include "ledger/codec_governance.h"

#include <criterion/criterion.h>

#include "codec_attack.h"
#include "tests/forge/charter.h"

TestSuite(codec_governance, .timeout = 170);

static const struct digest service = {{7}};

REENCODER(replica_endorsement)
REENCODER(ballot)
REENCODER(decided)
REENCODER(chain_link)

static enum codec_result reencode_constitution(struct buffer *out, struct arena *arena,
                                               struct span bytes) {
    static struct constitution value;
    enum codec_result const result = constitution_decode(&value, arena, &service, bytes);
    if (result == CODEC_OK) {
        cr_assert(constitution_encode(out, &value));
    }
    return result;
}

static enum codec_result reencode_proposal(struct buffer *out, struct arena *arena,
                                           struct span bytes) {
    static struct proposal value;
    enum codec_result const result = proposal_decode(&value, arena, &service, bytes);
    if (result == CODEC_OK) {
        cr_assert(proposal_encode(out, &value));
    }
    return result;
}

static enum codec_result reencode_header(struct buffer *out, struct arena *arena,
                                         struct span bytes) {
    struct span genesis;
    enum codec_result const result = chain_header_decode(&genesis, arena, bytes);
    if (result == CODEC_OK) {
        cr_assert(chain_header_encode(out, genesis));
    }
    return result;
}

/* ---- samples ---- */

static struct replica_endorsement sample_endorsement(void) {
    return (struct replica_endorsement){.member = span_text("bank-a"),
                                        .replica_key = key_of(1),
                                        .tls_digest = digest_of(2),
                                        .peer_address = span_text("a.example:7400"),
                                        .client_address = span_text("a.example:7500")};
}

static struct parameters sample_parameters_of(void) {
    return (struct parameters){.pipeline = 4,
                               .checkpoint_interval = 9,
                               .window = BATCH_CALLS_MAX,
                               .batch_calls_max = CALLS_MAX,
                               .batch_size_soft_max = 1};
}

/* One action of each kind. The endorsement is kept in `memory`. */
static struct proposal sample_proposal(struct buffer *memory) {
    static const struct digest evidence[2] = {{{1}}, {{2}}};
    struct replica_endorsement const endorsement = sample_endorsement();
    buffer_clear(memory);
    cr_assert(replica_endorsement_encode(memory, &endorsement));
    struct proposal proposal = {.config = 3,
                                .salt = {1, 2, 3},
                                .text = span_text("Bank B joins; \xc3\xa9tude, \xe2\x82\xac"),
                                .action_count = 11,
                                .evidence_count = 2,
                                .evidence = evidence};
    for (uint32_t i = 0; i < 11; i++) {
        proposal.actions[i] = (struct action){
            .kind = (enum action_kind)(i + 1),
            .name = span_text("bank-b"),
            .key = key_of(9),
            .endorsement = {.body = buffer_span(memory), .signature = signature_of(4)},
            .possession = signature_of(5),
            .parameters = sample_parameters_of(),
            .rule = {2, 3}};
    }
    return proposal;
}

/* A founded constitution in which bank-b's replica was replaced, so that both forms are there. */
static void sample_constitution(struct constitution *out) {
    static struct consortium consortium;
    static struct charter charter;
    consortium_found(&consortium, &(struct consortium_options){0});
    charter_found(&charter, &consortium);
    struct action const action = charter_replica(&charter, &charter.now.replicas[1].identity.key,
                                                 charter.now.members[1].name, 5000);
    charter_pass(&charter, charter_propose(&charter, 1, &action));
    *out = charter.now;
    out->service = service;
    charter_free(&charter);
    consortium_free(&consortium);
}

static struct chain_link sample_link(void) {
    static const struct digest path[2] = {{{1}}, {{2}}};
    struct chain_link link = {.proposal = span_text("proposal"),
                              .vote_count = 2,
                              .receipt = span_text("receipt"),
                              .certificate = span_text("certificate")};
    for (uint32_t i = 0; i < 2; i++) {
        link.votes[i] = (struct signed_vote){.header = span_text("header"),
                                             .signature = signature_of(6),
                                             .call = span_text("call"),
                                             .position = i,
                                             .call_path_count = 2 * i,
                                             .call_path = path};
    }
    return link;
}

Test(codec_governance, decoders_withstand_attacks) {
    static struct constitution constitution;
    struct buffer memory = buffer_new();
    struct buffer bytes = buffer_new();
    struct replica_endorsement const endorsement = sample_endorsement();
    struct proposal const proposal = sample_proposal(&memory);
    struct ballot const ballot = {.config = 2, .id = digest_of(3), .yes = 5, .no = 2};
    struct decided const decided = {.number = 2, .constitution = digest_of(4)};
    struct chain_link const link = sample_link();
    cr_assert(replica_endorsement_encode(&bytes, &endorsement));
    attack_decoder("replica endorsement", reencode_replica_endorsement, buffer_span(&bytes));
    buffer_clear(&bytes);
    cr_assert(proposal_encode(&bytes, &proposal));
    attack_decoder("proposal", reencode_proposal, buffer_span(&bytes));
    buffer_clear(&bytes);
    sample_constitution(&constitution);
    cr_assert(constitution_encode(&bytes, &constitution));
    attack_decoder("constitution", reencode_constitution, buffer_span(&bytes));
    buffer_clear(&bytes);
    cr_assert(ballot_encode(&bytes, &ballot));
    attack_decoder("ballot", reencode_ballot, buffer_span(&bytes));
    buffer_clear(&bytes);
    cr_assert(decided_encode(&bytes, &decided));
    attack_decoder("decided", reencode_decided, buffer_span(&bytes));
    buffer_clear(&bytes);
    cr_assert(chain_link_encode(&bytes, &link));
    attack_decoder("chain link", reencode_chain_link, buffer_span(&bytes));
    buffer_clear(&bytes);
    cr_assert(chain_header_encode(&bytes, span_text("genesis")));
    attack_decoder("chain header", reencode_header, buffer_span(&bytes));
    buffer_free(&bytes);
    buffer_free(&memory);
}

/* ---- proposals ---- */

static void expect_proposal(const struct proposal *proposal, enum codec_result expected) {
    struct buffer bytes = buffer_new();
    cr_assert(proposal_encode(&bytes, proposal));
    expect_result("proposal", reencode_proposal, buffer_span(&bytes), expected);
    buffer_free(&bytes);
}

static void expect_text(const char *text, enum codec_result expected) {
    struct buffer memory = buffer_new();
    struct proposal proposal = sample_proposal(&memory);
    proposal.text = span_text(text);
    expect_proposal(&proposal, expected);
    buffer_free(&memory);
}

Test(codec_governance, texts_show_what_they_say) {
    static const char *const good[] = {"",
                                       "plain ~",
                                       "\xc2\xa0",         /* U+00A0, the first after controls */
                                       "\xdf\xbf",         /* U+07FF */
                                       "\xe0\xa0\x80",     /* U+0800 */
                                       "\xed\x9f\xbf",     /* U+D7FF, before surrogates */
                                       "\xee\x80\x80",     /* U+E000, after them */
                                       "\xf0\x90\x80\x80", /* U+10000 */
                                       "\xf4\x8f\xbf\xbf"};
    static const char *const bad[] = {"\x1f",
                                      "a\nb",
                                      "\x7f",
                                      "\xc2\x9f",             /* a control, U+009F */
                                      "\x80",                 /* begins in the middle */
                                      "\xc1\xbf",             /* U+007F in two bytes */
                                      "\xe0\x9f\xbf",         /* U+07FF in three */
                                      "\xf0\x8f\xbf\xbf",     /* U+FFFF in four */
                                      "\xed\xa0\x80",         /* a surrogate */
                                      "\xf4\x90\x80\x80",     /* above U+10FFFF */
                                      "\xf8\x88\x80\x80\x80", /* five bytes */
                                      "\xe2\x82",             /* cut */
                                      "\xe2\x82z"};
    for (size_t i = 0; i < COUNT(good); i++) {
        expect_text(good[i], CODEC_OK);
    }
    for (size_t i = 0; i < COUNT(bad); i++) {
        expect_text(bad[i], CODEC_RANGE);
    }
}

/* Characters that turn the direction of writing, break a line, or are none. */
Test(codec_governance, texts_do_not_mislead) {
    static const uint32_t bad[] = {0x061c, 0x200e, 0x200f, 0x2028, 0x2029, 0x202a,
                                   0x202e, 0x2066, 0x2069, 0xfeff, 0xfffe, 0xffff};
    static const uint32_t good[] = {0x061b, 0x061d, 0x200d, 0x2010, 0x2027, 0x202f,
                                    0x2065, 0x206a, 0xfefe, 0xff00, 0xfffd};
    char text[4] = {0};
    for (size_t i = 0; i < COUNT(bad) + COUNT(good); i++) {
        uint32_t const c = i < COUNT(bad) ? bad[i] : good[i - COUNT(bad)];
        if (c < 0x800) {
            text[0] = (char)(0xc0 | c >> 6);
            text[1] = (char)(0x80 | (c & 0x3f));
            text[2] = '\0';
        } else {
            text[0] = (char)(0xe0 | c >> 12);
            text[1] = (char)(0x80 | (c >> 6 & 0x3f));
            text[2] = (char)(0x80 | (c & 0x3f));
        }
        expect_text(text, i < COUNT(bad) ? CODEC_RANGE : CODEC_OK);
    }
}

Test(codec_governance, proposals_obey_their_limits) {
    static const struct digest evidence[PROPOSAL_EVIDENCE_MAX + 1];
    static char text[PROPOSAL_TEXT_SIZE_MAX + 2];
    struct buffer memory = buffer_new();
    struct proposal proposal = sample_proposal(&memory);
    memset(text, 'a', sizeof text - 1);
    proposal.text = span_of(text, PROPOSAL_TEXT_SIZE_MAX);
    proposal.evidence = evidence;
    proposal.evidence_count = PROPOSAL_EVIDENCE_MAX;
    expect_proposal(&proposal, CODEC_OK);
    proposal.text.size++;
    expect_proposal(&proposal, CODEC_LENGTH);
    proposal = sample_proposal(&memory);
    proposal.config = 0;
    expect_proposal(&proposal, CODEC_RANGE);
    proposal.config = UINT64_MAX;
    expect_proposal(&proposal, CODEC_RANGE);
    proposal = sample_proposal(&memory);
    proposal.action_count = 0;
    expect_proposal(&proposal, CODEC_RANGE);
    for (uint32_t i = 0; i < ACTIONS_MAX; i++) {
        proposal.actions[i] = proposal.actions[8]; /* the largest kind */
    }
    proposal.action_count = ACTIONS_MAX;
    expect_proposal(&proposal, CODEC_OK);
    struct buffer bytes = buffer_new();
    proposal.evidence_count = PROPOSAL_EVIDENCE_MAX + 1;
    cr_assert_not(proposal_encode(&bytes, &proposal));
    buffer_clear(&bytes);
    proposal.evidence_count = 0;
    proposal.action_count = ACTIONS_MAX + 1;
    cr_assert_not(proposal_encode(&bytes, &proposal));
    buffer_free(&bytes);
    buffer_free(&memory);
}

/* An action's fields as the schema numbers them, by bits from 0 on, with the kind before them. */
static void put_action(struct buffer *out, uint64_t kind, unsigned fields, struct span endorsed) {
    struct buffer action = buffer_new();
    struct buffer inner = buffer_new();
    put_number(&action, 1, kind);
    if ((fields & 1) != 0) {
        put_bytes(&action, 2, span_text("bank-b"));
    }
    if ((fields & 2) != 0) {
        put_bytes(&action, 3, filler(1, PUBLIC_KEY_SIZE));
    }
    if ((fields & 4) != 0) {
        put_bytes(&inner, 1, endorsed);
        put_bytes(&inner, 2, filler(1, SIGNATURE_SIZE));
        put_bytes(&action, 4, buffer_span(&inner));
    }
    if ((fields & 8) != 0) {
        put_bytes(&action, 5, filler(1, SIGNATURE_SIZE));
    }
    if ((fields & 16) != 0) {
        put_bytes(&action, 6, (struct span){0});
    }
    if ((fields & 32) != 0) {
        put_bytes(&action, 7, (struct span){0});
    }
    buffer_clear(out);
    put_number(out, 1, 1);
    put_bytes(out, 2, filler(1, PROPOSAL_SALT_SIZE));
    put_bytes(out, 4, buffer_span(&action));
    buffer_free(&action);
    buffer_free(&inner);
}

Test(codec_governance, each_action_has_exactly_its_fields) {
    static const unsigned expected[12] = {0, 11, 1, 11, 11, 1, 11, 12, 2, 14, 16, 32};
    struct buffer bytes = buffer_new();
    struct buffer endorsed = buffer_new();
    struct replica_endorsement const endorsement = sample_endorsement();
    cr_assert(replica_endorsement_encode(&endorsed, &endorsement));
    for (uint64_t kind = 1; kind < COUNT(expected); kind++) {
        for (unsigned fields = 0; fields < 64; fields++) {
            put_action(&bytes, kind, fields, buffer_span(&endorsed));
            expect_result("action", reencode_proposal, buffer_span(&bytes),
                          fields == expected[kind] ? CODEC_OK : CODEC_MISMATCH);
        }
    }
    put_action(&bytes, COUNT(expected), 1, buffer_span(&endorsed));
    expect_result("action", reencode_proposal, buffer_span(&bytes), CODEC_RANGE);
    buffer_free(&bytes);
    buffer_free(&endorsed);
}

Test(codec_governance, the_id_binds_service_and_content) {
    struct buffer memory = buffer_new();
    struct buffer bytes = buffer_new();
    struct proposal const proposal = sample_proposal(&memory);
    struct digest const other = {{8}};
    static struct proposal decoded[3];
    struct arena arena;
    arena_init(&arena, (size_t)1 << 20);
    cr_assert(proposal_encode(&bytes, &proposal));
    cr_assert_eq(proposal_decode(&decoded[0], &arena, &service, buffer_span(&bytes)), CODEC_OK);
    cr_assert_eq(proposal_decode(&decoded[1], &arena, &other, buffer_span(&bytes)), CODEC_OK);
    bytes.data[4] ^= 1; /* of the salt */
    cr_assert_eq(proposal_decode(&decoded[2], &arena, &service, buffer_span(&bytes)), CODEC_OK);
    cr_assert(!digest_equal(&decoded[0].id, &decoded[1].id));
    cr_assert(!digest_equal(&decoded[0].id, &decoded[2].id));
    arena_free(&arena);
    buffer_free(&bytes);
    buffer_free(&memory);
}

/* ---- constitutions ---- */

static void expect_constitution(const struct constitution *constitution,
                                enum codec_result expected) {
    struct buffer bytes = buffer_new();
    cr_assert(constitution_encode(&bytes, constitution));
    expect_result("constitution", reencode_constitution, buffer_span(&bytes), expected);
    buffer_free(&bytes);
}

Test(codec_governance, constitutions_obey_their_limits) {
    static struct constitution sample;
    static struct constitution changed;
    sample_constitution(&sample);
    expect_constitution(&sample, CODEC_OK);
    changed = sample;
    changed.number = 0;
    expect_constitution(&changed, CODEC_RANGE);
    changed = sample;
    changed.parameters.pipeline = PIPELINE_MAX + 1;
    expect_constitution(&changed, CODEC_RANGE);
    changed = sample;
    changed.rule = (struct voting_rule){1, 1};
    expect_constitution(&changed, CODEC_RANGE);
    changed = sample;
    changed.member_count = 0;
    expect_constitution(&changed, CODEC_RANGE);
    changed = sample;
    changed.replica_count = REPLICAS_MIN - 1;
    expect_constitution(&changed, CODEC_RANGE);
    changed = sample;
    changed.replicas[0].identity.member = changed.member_count;
    expect_constitution(&changed, CODEC_RANGE);
    changed = sample;
    changed.replicas[1].identity.member = 0; /* endorsed by another */
    expect_constitution(&changed, CODEC_MISMATCH);
    changed = sample;
    memcpy(changed.members[1].name, changed.members[0].name, sizeof changed.members[0].name);
    expect_constitution(&changed, CODEC_MISMATCH);
    changed = sample;
    memcpy(changed.users[1].name, changed.users[0].name, sizeof changed.users[0].name);
    expect_constitution(&changed, CODEC_MISMATCH);
    changed = sample;
    changed.replicas[3] = changed.replicas[2]; /* with its TLS digest */
    expect_constitution(&changed, CODEC_MISMATCH);
}

Test(codec_governance, the_largest_constitution_fits) {
    static struct constitution sample;
    sample_constitution(&sample);
    struct constitution_replica const replica = sample.replicas[1];
    struct buffer body = buffer_new();
    sample.member_count = MEMBERS_MAX;
    sample.user_count = USERS_MAX;
    sample.replica_count = REPLICAS_MAX;
    for (uint32_t i = 0; i < USERS_MAX; i++) {
        struct member *const holder = &sample.users[i];
        memset(holder->name, 'x', NAME_SIZE_MAX);
        holder->name[0] = (char)('a' + i % 26);
        holder->name[1] = (char)('a' + i / 26 % 26);
        holder->name[2] = (char)('a' + i / 676);
        holder->name[NAME_SIZE_MAX] = '\0';
        sample.members[i % MEMBERS_MAX] = *holder;
    }
    for (uint32_t i = 0; i < REPLICAS_MAX; i++) {
        static char address[ADDRESS_SIZE_MAX];
        struct replica_endorsement endorsement = {.member = span_text(sample.members[i].name),
                                                  .tls_digest = digest_of((uint8_t)i),
                                                  .peer_address = span_of(address, sizeof address),
                                                  .client_address =
                                                      span_of(address, sizeof address)};
        memset(address, 'a', sizeof address);
        buffer_clear(&body);
        cr_assert(replica_endorsement_encode(&body, &endorsement));
        struct signed_body const given = {.body = buffer_span(&body),
                                          .signature = replica.signature};
        constitution_replica_fill(&sample.replicas[i], i, false, &given, &endorsement);
    }
    expect_constitution(&sample, CODEC_OK);
    buffer_free(&body);
}

/* ---- votes and links ---- */

static void expect_ballot(const struct ballot *ballot, enum codec_result expected) {
    struct buffer bytes = buffer_new();
    cr_assert(ballot_encode(&bytes, ballot));
    expect_result("ballot", reencode_ballot, buffer_span(&bytes), expected);
    buffer_free(&bytes);
}

static void expect_link(const struct chain_link *link, enum codec_result expected) {
    struct buffer bytes = buffer_new();
    cr_assert(chain_link_encode(&bytes, link));
    expect_result("link", reencode_chain_link, buffer_span(&bytes), expected);
    buffer_free(&bytes);
}

Test(codec_governance, votes_obey_their_limits) {
    expect_ballot(&(struct ballot){.config = 1, .yes = UINT64_MAX}, CODEC_OK);
    expect_ballot(&(struct ballot){.config = 0}, CODEC_RANGE);
    expect_ballot(&(struct ballot){.config = 1, .yes = 3, .no = 2}, CODEC_MISMATCH);
    struct buffer bytes = buffer_new();
    cr_assert(decided_encode(&bytes, &(struct decided){.number = 1}));
    expect_result("decided", reencode_decided, buffer_span(&bytes), CODEC_RANGE);
    buffer_free(&bytes);
}

Test(codec_governance, links_obey_their_limits) {
    struct chain_link link = sample_link();
    link.proposal = filler(0, PROPOSAL_SIZE_MAX);
    link.receipt = filler(0, RECEIPT_SIZE_MAX);
    link.certificate = filler(0, COMMIT_CERTIFICATE_SIZE_MAX);
    link.vote_count = MEMBERS_MAX;
    for (uint32_t i = 0; i < MEMBERS_MAX; i++) {
        link.votes[i] = (struct signed_vote){
            .header = filler(0, VOTE_HEADER_SIZE_MAX),
            .call = filler(0, VOTE_CALL_SIZE_MAX),
            .position = CALLS_MAX - 1,
            .call_path_count = VOTE_PATH_MAX,
            .call_path = (const void *)filler(0, VOTE_PATH_MAX * DIGEST_SIZE).data};
    }
    expect_link(&link, CODEC_OK);
    struct chain_link changed = link;
    changed.proposal.size++;
    expect_link(&changed, CODEC_LENGTH);
    changed = link;
    changed.receipt.size = 0;
    expect_link(&changed, CODEC_LENGTH);
    changed = link;
    changed.certificate.size++;
    expect_link(&changed, CODEC_LENGTH);
    changed = link;
    changed.votes[1].header.size++;
    expect_link(&changed, CODEC_LENGTH);
    changed = link;
    changed.votes[1].call.size = 0;
    expect_link(&changed, CODEC_LENGTH);
    changed = link;
    changed.votes[1].position = CALLS_MAX;
    expect_link(&changed, CODEC_RANGE);
    changed = link;
    changed.votes[1].call_path_count++;
    expect_link(&changed, CODEC_RANGE);
    struct buffer bytes = buffer_new();
    changed.vote_count = MEMBERS_MAX + 1;
    cr_assert_not(chain_link_encode(&bytes, &changed));
    buffer_free(&bytes);
}
