/*
 * consortium: see consortium.h. Seeds are digests of small numbers: never use such keys elsewhere.
 */
#include "tests/forge/consortium.h"

#include <stdlib.h>

#include "base/check.h"
#include "governance/founding.h"

#define CONSORTIUM_ARENA_SIZE (8u << 20)
#define STRANGER_NUMBER 9999u
#define USER_NUMBER 2000u
#define MEMBER_NUMBER 1000u
#define ORDER_ARGUMENTS_MAX (ARGUMENTS_MAX + 1u)

static struct digest digest_of_number(uint32_t number, uint32_t purpose) {
    struct hash_state state;
    hash_init(&state);
    hash_update_u32(&state, number);
    hash_update_u32(&state, purpose);
    return hash_final(&state);
}

struct key_pair key_pair_of(uint32_t number) {
    struct key_pair pair;
    struct digest const seed = digest_of_number(number, 1);
    sign_key_from_seed(&pair.secret, &pair.key, seed.bytes);
    return pair;
}

static void endorse(const struct consortium *consortium, const struct digest *founding,
                    uint32_t replica, struct buffer *body, struct signed_body *out) {
    static const char *const letters = "0123456789";
    uint32_t const member = replica % MEMBERS_MAX;
    char address[] = "127.0.0.1:74xx";
    address[12] = letters[replica / 10 % 10];
    address[13] = letters[replica % 10];
    struct endorsement const endorsement = {
        .member = member,
        .replica = replica,
        .replica_key = consortium->replicas[replica].signing.key,
        .tls_digest = digest_of_number(replica, 2),
        .peer_address = span_text(address),
        .client_address = span_text(address),
    };
    buffer_init(body, STATEMENT_SIZE_MAX);
    CHECK(endorsement_encode(body, &endorsement));
    const struct key_pair *const pair = &consortium->members[member];
    out->body = buffer_span(body);
    out->signature =
        sign_labelled(&pair->secret, &pair->key, LABEL_ENDORSEMENT, founding, out->body);
}

static struct parameters parameters_of(const struct consortium_options *options) {
    return (struct parameters){
        .pipeline = options->pipeline == 0 ? 4 : options->pipeline,
        .checkpoint_interval =
            options->checkpoint_interval == 0 ? 12 : options->checkpoint_interval,
        .window = options->window == 0 ? BATCH_CALLS_MAX : options->window,
        .batch_calls_max = options->batch_calls_max == 0 ? CALLS_MAX : options->batch_calls_max,
        .batch_size_soft_max = BATCH_SIZE_SOFT_MAX,
    };
}

static void genesis_write(struct consortium *consortium, struct span prologue,
                          uint32_t replica_count) {
    static char member_names[MEMBERS_MAX][8];
    struct named_key members[MEMBERS_MAX];
    struct named_key users[CONSORTIUM_USERS];
    struct signed_body endorsements[REPLICAS_MAX];
    struct buffer bodies[REPLICAS_MAX];
    struct digest const no_service = {{0}};
    struct digest const founding = hash_labelled(LABEL_FOUNDING, &no_service, prologue);
    for (uint32_t i = 0; i < replica_count; i++) {
        memcpy(member_names[i], "bank-a0", 8);
        member_names[i][5] = (char)('a' + i % 26);
        member_names[i][6] = (char)('0' + i / 26);
        members[i].name = span_of(member_names[i], i < 26 ? 6 : 7);
        members[i].key = consortium->members[i].key;
        endorse(consortium, &founding, i, &bodies[i], &endorsements[i]);
    }
    static const char *const user_names[CONSORTIUM_USERS] = {"alice", "bob", "carol"};
    for (uint32_t i = 0; i < CONSORTIUM_USERS; i++) {
        users[i] =
            (struct named_key){.name = span_text(user_names[i]), .key = consortium->users[i].key};
    }
    struct genesis const genesis = {
        .prologue = prologue,
        .member_count = replica_count,
        .members = members,
        .replica_count = replica_count,
        .endorsements = endorsements,
        .user_count = CONSORTIUM_USERS,
        .users = users,
    };
    CHECK(genesis_encode(&consortium->genesis_bytes, &genesis));
    for (uint32_t i = 0; i < replica_count; i++) {
        buffer_free(&bodies[i]);
    }
}

static int genesis_open(struct consortium *consortium, struct problem *problem) {
    enum codec_result const result = genesis_decode(&consortium->genesis, &consortium->arena,
                                                    buffer_span(&consortium->genesis_bytes));
    if (result != CODEC_OK) {
        return problem_set(problem, EXIT_INVALID, "genesis: %s", codec_result_text(result));
    }
    return founding_configuration(&consortium->configuration, &consortium->genesis, problem);
}

void consortium_found(struct consortium *consortium, const struct consortium_options *options) {
    uint32_t const replica_count = options->replica_count == 0 ? 4 : options->replica_count;
    CHECK(sign_init());
    CHECK(replica_count <= REPLICAS_MAX);
    *consortium = (struct consortium){0};
    arena_init(&consortium->arena, CONSORTIUM_ARENA_SIZE);
    buffer_init(&consortium->genesis_bytes, GENESIS_SIZE_MAX);
    consortium->stranger = key_pair_of(STRANGER_NUMBER);
    for (uint32_t i = 0; i < CONSORTIUM_USERS; i++) {
        consortium->users[i] = key_pair_of(USER_NUMBER + i);
    }
    for (uint32_t i = 0; i < replica_count; i++) {
        struct replica_keys *const keys = &consortium->replicas[i];
        struct digest const secret = digest_of_number(i, 3);
        keys->held = true;
        keys->signing = key_pair_of(i);
        memcpy(keys->nonce_secret, secret.bytes, sizeof keys->nonce_secret);
        consortium->members[i] = key_pair_of(MEMBER_NUMBER + i);
    }
    struct parameters const parameters = parameters_of(options);
    struct digest const salt = digest_of_number(options->seed, 4);
    struct buffer prologue;
    buffer_init(&prologue, STATEMENT_SIZE_MAX);
    CHECK(genesis_prologue_encode(&prologue, span_text("forge"), salt.bytes, 1700000000000u,
                                  &parameters));
    genesis_write(consortium, buffer_span(&prologue), replica_count);
    buffer_free(&prologue);
    struct problem problem = {.code = EXIT_OK};
    CHECK(genesis_open(consortium, &problem) == 0);
}

int consortium_load(struct consortium *consortium, struct span genesis, struct problem *problem) {
    *consortium = (struct consortium){0};
    arena_init(&consortium->arena, CONSORTIUM_ARENA_SIZE);
    buffer_init(&consortium->genesis_bytes, GENESIS_SIZE_MAX);
    if (!buffer_append(&consortium->genesis_bytes, genesis)) {
        return problem_set(problem, EXIT_INVALID, "genesis: larger than %u bytes",
                           GENESIS_SIZE_MAX);
    }
    return genesis_open(consortium, problem);
}

void consortium_free(struct consortium *consortium) {
    buffer_free(&consortium->genesis_bytes);
    arena_free(&consortium->arena);
}

/* ---- requests ---- */

static void call_of_text(struct buffer *out, const char *text, struct span argument) {
    struct span parts[ORDER_ARGUMENTS_MAX];
    uint32_t count = 0;
    while (*text != '\0') {
        const char *const space = strchr(text, ' ');
        size_t const size = space == NULL ? strlen(text) : (size_t)(space - text);
        CHECK(count < ORDER_ARGUMENTS_MAX);
        parts[count++] = span_of(text, size);
        text += size + (space == NULL ? 0 : 1);
    }
    if (argument.size != 0) {
        CHECK(count < ORDER_ARGUMENTS_MAX);
        parts[count++] = argument;
    }
    CHECK(count > 0 && call_encode(out, parts[0], count - 1, parts + 1));
}

void order_encode(struct buffer *out, const struct consortium *consortium,
                  const struct order *order) {
    struct buffer encoded[CALLS_MAX];
    struct span calls[CALLS_MAX];
    uint8_t nonce[REQUEST_NONCE_SIZE] = {0};
    CHECK(order->call_count >= 1 && order->call_count <= CALLS_MAX);
    for (uint32_t i = 0; i < order->call_count; i++) {
        buffer_init(&encoded[i], CALL_SIZE_MAX);
        struct span const none = {.size = 0};
        call_of_text(&encoded[i], order->calls[i],
                     i + 1 == order->call_count ? order->argument : none);
        calls[i] = buffer_span(&encoded[i]);
    }
    store_u64_be(nonce, order->number);
    struct buffer header;
    buffer_init(&header, STATEMENT_SIZE_MAX);
    CHECK(request_header_encode(&header, &order->author->key, order->min_index, nonce,
                                order->mode == 0 ? REQUEST_INDEPENDENT : order->mode,
                                order->call_count, calls));
    struct signature const signature =
        sign_labelled(&order->author->secret, &order->author->key, LABEL_REQUEST,
                      &consortium->configuration.service, buffer_span(&header));
    CHECK(request_encode(out, buffer_span(&header), &signature, order->call_count, calls));
    for (uint32_t i = 0; i < order->call_count; i++) {
        buffer_free(&encoded[i]);
    }
    buffer_free(&header);
}

void consortium_state(const struct consortium *consortium, struct served *served) {
    struct constitution *const founding = malloc(sizeof *founding);
    struct problem problem;
    CHECK(founding != NULL && constitution_found(founding, &consortium->genesis, &problem) == 0 &&
          constitution_digest(&served->constitution, founding));
    served->config = founding->number;
    served->range_config = founding->number;
    served->range_constitution = served->constitution;
    free(founding);
}
