/*
 * onus genesis: found a service whose members each keep their own keys.
 *
 *   one member        genesis prologue --plan plan.yaml --out service.prologue
 *   every operator    genesis replica …                              (cmd_founding.c)
 *   every member      genesis endorse … --out bank-a.endorsement      for each of its replicas
 *   anybody           genesis create … --out genesis.onus             and all compare the id
 *
 * What the plan says can be given as options instead.
 */
#include <stdio.h>
#include <stdlib.h>

#include "client/command.h"
#include "client/founding_kit.h"
#include "client/plan.h"
#include "client/view.h"
#include "host/address.h"
#include "host/file.h"
#include "host/key_file.h"
#include "host/tls_certificate.h"

enum {
    OPTION_NAME = OPTION_FIRST_OWN,
    OPTION_OUT,
    OPTION_PIPELINE,
    OPTION_CHECKPOINT_INTERVAL,
    OPTION_WINDOW,
    OPTION_BATCH_CALLS_MAX,
    OPTION_PROLOGUE,
    OPTION_MEMBER_KEY,
    OPTION_MEMBER,
    OPTION_REPLICA,
    OPTION_REPLICA_KEY,
    OPTION_TLS_CERTIFICATE,
    OPTION_PEER_ADDRESS,
    OPTION_CLIENT_ADDRESS,
    OPTION_ENDORSEMENT,
    OPTION_USER,
    OPTION_PLAN
};

static void print_digest(const struct globals *globals, const char *name,
                         const struct digest *digest) {
    char text[2 * DIGEST_SIZE + 1];
    hex_encode(text, span_of(digest->bytes, DIGEST_SIZE));
    if (globals->json) {
        (void)printf("{\"%s\":\"%s\"}\n", name, text);
    } else {
        (void)printf("%s %s\n", name, text);
    }
}

/* ---- prologue -------------------------------------------------------------------------------- */

static const struct option prologue_options[] = {
    {"plan", required_argument, NULL, OPTION_PLAN},
    {"name", required_argument, NULL, OPTION_NAME},
    {"out", required_argument, NULL, OPTION_OUT},
    {"pipeline", required_argument, NULL, OPTION_PIPELINE},
    {"checkpoint-interval", required_argument, NULL, OPTION_CHECKPOINT_INTERVAL},
    {"window", required_argument, NULL, OPTION_WINDOW},
    {"batch-calls-max", required_argument, NULL, OPTION_BATCH_CALLS_MAX},
    GLOBAL_OPTIONS};

static bool take_parameter(struct parameters *parameters, int option, const char *text) {
    uint64_t number = 0;
    switch (option) {
    case OPTION_PIPELINE:
        if (!command_number(text, 1, PIPELINE_MAX, &number)) {
            return false;
        }
        parameters->pipeline = (uint32_t)number;
        return true;
    case OPTION_CHECKPOINT_INTERVAL:
        return command_number(text, 2, CHECKPOINT_INTERVAL_MAX, &parameters->checkpoint_interval);
    case OPTION_WINDOW:
        return command_number(text, BATCH_CALLS_MAX, WINDOW_MAX, &parameters->window);
    default:
        if (!command_number(text, CALLS_MAX, BATCH_CALLS_MAX, &number)) {
            return false;
        }
        parameters->batch_calls_max = (uint32_t)number;
        return true;
    }
}

static int write_prologue(const struct globals *globals, const char *name,
                          const struct parameters *parameters, const char *path) {
    struct problem problem = {.code = EXIT_OK};
    struct buffer prologue;
    buffer_init(&prologue, STATEMENT_SIZE_MAX);
    int code = EXIT_OK;
    if (founding_make_prologue(&prologue, span_text(name), parameters, &problem) != 0 ||
        founding_part_write(path, PROLOGUE_FILE_MAGIC, buffer_span(&prologue), &problem) != 0) {
        code = command_fail(&problem);
    } else {
        struct digest const founding = founding_digest(buffer_span(&prologue));
        print_digest(globals, "founding", &founding);
    }
    buffer_free(&prologue);
    return code;
}

/* What the command line of a prologue says. */
struct prologue_wish {
    const char *name;
    const char *out;
    const char *plan;
    bool parameters_given;
    struct parameters parameters;
};

static bool take_prologue_option(struct prologue_wish *wish, int option, const char *text) {
    switch (option) {
    case OPTION_NAME:
        wish->name = text;
        return true;
    case OPTION_OUT:
        wish->out = text;
        return true;
    case OPTION_PLAN:
        wish->plan = text;
        return true;
    default:
        wish->parameters_given = true;
        return take_parameter(&wish->parameters, option, text);
    }
}

static int planned_prologue(const struct globals *globals, const struct prologue_wish *wish) {
    struct problem problem = {.code = EXIT_OK};
    struct plan *const plan = calloc(1, sizeof *plan);
    if (plan == NULL) {
        (void)problem_set(&problem, EXIT_ERROR, "out of memory");
        return command_fail(&problem);
    }
    char name[NAME_SIZE_MAX + 1] = "";
    int code = EXIT_OK;
    if (plan_load(plan, wish->plan, &problem) != 0) {
        code = command_fail(&problem);
    } else {
        (void)snprintf(name, sizeof name, "%.*s", (int)plan->name.size,
                       (const char *)plan->name.data);
        code = write_prologue(globals, name, &plan->parameters, wish->out);
    }
    plan_free(plan);
    free(plan);
    return code;
}

int command_genesis_prologue(const struct command *command, struct globals *globals, int argc,
                             char **argv) {
    struct prologue_wish wish = {.parameters = founding_parameters_default()};
    for (;;) {
        int const option = command_option(command, globals, argc, argv, prologue_options);
        if (COMMAND_ENDS(option)) {
            return COMMAND_CODE(option);
        }
        if (option == -1) {
            break;
        }
        if (!take_prologue_option(&wish, option, optarg)) {
            return command_misused(command, "%s is outside of what base/limits.h allows", optarg);
        }
    }
    bool const by_plan = wish.plan != NULL;
    if ((wish.name == NULL) != by_plan || wish.out == NULL || optind != argc ||
        (by_plan && wish.parameters_given)) {
        return command_misused(command, "--out is needed, and either --plan or --name");
    }
    if (by_plan) {
        return planned_prologue(globals, &wish);
    }
    if (wish.parameters.checkpoint_interval < checkpoint_interval_min(wish.parameters.pipeline)) {
        return command_misused(command, "the checkpoint interval must be more than two pipelines");
    }
    return write_prologue(globals, wish.name, &wish.parameters, wish.out);
}

/* ---- endorse --------------------------------------------------------------------------------- */

static const struct option endorse_options[] = {
    {"plan", required_argument, NULL, OPTION_PLAN},
    {"prologue", required_argument, NULL, OPTION_PROLOGUE},
    {"member-key", required_argument, NULL, OPTION_MEMBER_KEY},
    {"member", required_argument, NULL, OPTION_MEMBER},
    {"replica", required_argument, NULL, OPTION_REPLICA},
    {"replica-key", required_argument, NULL, OPTION_REPLICA_KEY},
    {"tls-certificate", required_argument, NULL, OPTION_TLS_CERTIFICATE},
    {"peer-address", required_argument, NULL, OPTION_PEER_ADDRESS},
    {"client-address", required_argument, NULL, OPTION_CLIENT_ADDRESS},
    {"out", required_argument, NULL, OPTION_OUT},
    GLOBAL_OPTIONS};

#define ENDORSE_VALUES (OPTION_PLAN + 1)

/* What the options say of the replica's place. */
static int place_by_options(struct endorsement *out, const char *const *values,
                            struct problem *problem) {
    struct address address;
    uint64_t member;
    if (!command_number(values[OPTION_MEMBER], 0, MEMBERS_MAX - 1, &member)) {
        return problem_set(problem, EXIT_USAGE, "members and replicas are numbers from 0 on");
    }
    out->member = (uint32_t)member;
    out->peer_address = span_text(values[OPTION_PEER_ADDRESS]);
    out->client_address = span_text(values[OPTION_CLIENT_ADDRESS]);
    return address_parse(&address, values[OPTION_PEER_ADDRESS], problem) == 0 &&
                   address_parse(&address, values[OPTION_CLIENT_ADDRESS], problem) == 0
               ? 0
               : -1;
}

/* What the plan says of it; key is the member's own. */
static int place_by_plan(struct endorsement *out, const struct plan *plan,
                         const char *const *values, const struct public_key *key,
                         struct problem *problem) {
    if (out->replica >= plan->replica_count) {
        return problem_set(problem, EXIT_USAGE, "--replica %u: %s has replicas 0 to %u",
                           out->replica, values[OPTION_PLAN], plan->replica_count - 1);
    }
    const struct plan_replica *const planned = &plan->replicas[out->replica];
    const struct named_key *const member = &plan->members[planned->member];
    if (!public_key_equal(&member->key, key)) {
        return problem_set(problem, EXIT_INVALID,
                           "%s: is not the key of %.*s, the member of replica %u in %s; give that "
                           "member's key",
                           values[OPTION_MEMBER_KEY], (int)member->name.size,
                           (const char *)member->name.data, out->replica, values[OPTION_PLAN]);
    }
    out->member = planned->member;
    out->peer_address = planned->peer_address;
    out->client_address = planned->client_address;
    return 0;
}

static int fill_endorsement(struct endorsement *out, const char *const *values,
                            struct problem *problem) {
    uint64_t replica;
    if (!command_number(values[OPTION_REPLICA], 0, REPLICAS_MAX - 1, &replica)) {
        return problem_set(problem, EXIT_USAGE, "members and replicas are numbers from 0 on");
    }
    out->replica = (uint32_t)replica;
    if (!hex_decode(out->replica_key.bytes, PUBLIC_KEY_SIZE, values[OPTION_REPLICA_KEY]) ||
        !public_key_valid(&out->replica_key)) {
        return problem_set(problem, EXIT_USAGE,
                           "--replica-key takes the 64 hexadecimal digits of a public key");
    }
    return tls_certificate_digest_of_file(&out->tls_digest, values[OPTION_TLS_CERTIFICATE],
                                          problem);
}

/* plan: NULL when there is none. */
static int sign_endorsement(const struct endorsement *endorsement, const char *const *values,
                            const struct plan *plan, const struct secret_key *secret,
                            const struct public_key *key, struct problem *problem) {
    struct buffer prologue;
    struct buffer out;
    buffer_init(&out, FOUNDING_PART_SIZE_MAX);
    int status =
        founding_part_read(&prologue, values[OPTION_PROLOGUE], PROLOGUE_FILE_MAGIC, problem);
    if (status == 0 && plan != NULL) {
        status =
            plan_check_prologue(plan, buffer_span(&prologue), values[OPTION_PROLOGUE], problem);
    }
    if (status == 0) {
        struct digest const founding = founding_digest(buffer_span(&prologue));
        status = founding_make_endorsement(&out, &founding, endorsement, secret, key, problem);
    }
    if (status == 0) {
        status = founding_part_write(values[OPTION_OUT], ENDORSEMENT_FILE_MAGIC, buffer_span(&out),
                                     problem);
    }
    buffer_free(&prologue);
    buffer_free(&out);
    return status;
}

static int endorse(const char *const *values, struct plan *plan, struct problem *problem) {
    struct endorsement endorsement = {.member = 0};
    struct secret_key secret;
    struct public_key key;
    bool const by_plan = values[OPTION_PLAN][0] != '\0';
    if (fill_endorsement(&endorsement, values, problem) != 0 ||
        (by_plan && plan_load(plan, values[OPTION_PLAN], problem) != 0) ||
        key_file_load(&secret, &key, values[OPTION_MEMBER_KEY], problem) != 0) {
        return -1;
    }
    int status = by_plan ? place_by_plan(&endorsement, plan, values, &key, problem)
                         : place_by_options(&endorsement, values, problem);
    if (status == 0) {
        status =
            sign_endorsement(&endorsement, values, by_plan ? plan : NULL, &secret, &key, problem);
    }
    sign_key_wipe(&secret);
    return status;
}

/* Is this an option whose place the plan takes? */
static bool planned_option(int option) {
    return option == OPTION_MEMBER || option == OPTION_PEER_ADDRESS ||
           option == OPTION_CLIENT_ADDRESS;
}

int command_genesis_endorse(const struct command *command, struct globals *globals, int argc,
                            char **argv) {
    struct problem problem = {.code = EXIT_OK};
    const char *values[ENDORSE_VALUES];
    for (size_t i = 0; i < ENDORSE_VALUES; i++) {
        values[i] = "";
    }
    for (;;) {
        int const option = command_option(command, globals, argc, argv, endorse_options);
        if (COMMAND_ENDS(option)) {
            return COMMAND_CODE(option);
        }
        if (option == -1) {
            break;
        }
        values[option] = optarg;
    }
    for (const struct option *each = endorse_options; each->val != 'C'; each++) {
        bool const given = values[each->val][0] != '\0';
        bool const by_plan = values[OPTION_PLAN][0] != '\0';
        if (by_plan && given && planned_option(each->val)) {
            return command_misused(command, "--%s is what the plan says", each->name);
        }
        if (!given && each->val != OPTION_PLAN && !(by_plan && planned_option(each->val))) {
            return command_misused(command, "--%s is needed%s", each->name,
                                   planned_option(each->val) ? ", or --plan" : "");
        }
    }
    if (optind != argc) {
        return command_misused(command, "it takes options only");
    }
    struct plan *const plan = calloc(1, sizeof *plan);
    if (plan == NULL) {
        (void)problem_set(&problem, EXIT_ERROR, "out of memory");
        return command_fail(&problem);
    }
    int const status = endorse(values, plan, &problem);
    plan_free(plan);
    free(plan);
    return status == 0 ? EXIT_OK : command_fail(&problem);
}

/* ---- create ---------------------------------------------------------------------------------- */

static const struct option create_options[] = {
    {"plan", required_argument, NULL, OPTION_PLAN},
    {"prologue", required_argument, NULL, OPTION_PROLOGUE},
    {"member", required_argument, NULL, OPTION_MEMBER},
    {"endorsement", required_argument, NULL, OPTION_ENDORSEMENT},
    {"user", required_argument, NULL, OPTION_USER},
    {"out", required_argument, NULL, OPTION_OUT},
    GLOBAL_OPTIONS};

struct creation {
    struct founding_parts parts;
    const char *prologue_path;
    const char *plan_path; /* NULL: members and users come as options */
    const char *out_path;
    struct plan plan;
    const char *endorsement_paths[REPLICAS_MAX];
    struct buffer prologue;
    struct buffer endorsements[REPLICAS_MAX];
};

/* NAME=KEY */
static bool take_named_key(struct named_key *list, uint32_t *count, uint32_t max,
                           const char *text) {
    const char *const equals = strchr(text, '=');
    if (equals == NULL || *count >= max ||
        !hex_decode(list[*count].key.bytes, PUBLIC_KEY_SIZE, equals + 1)) {
        return false;
    }
    list[*count].name = span_of(text, (size_t)(equals - text));
    ++*count;
    return true;
}

static bool take_create_option(struct creation *creation, int option, const char *text) {
    struct founding_parts *const parts = &creation->parts;
    switch (option) {
    case OPTION_PROLOGUE:
        creation->prologue_path = text;
        return true;
    case OPTION_OUT:
        creation->out_path = text;
        return true;
    case OPTION_PLAN:
        creation->plan_path = text;
        return true;
    case OPTION_MEMBER:
        return take_named_key(parts->members, &parts->member_count, MEMBERS_MAX, text);
    case OPTION_USER:
        return take_named_key(parts->users, &parts->user_count, USERS_MAX, text);
    default:
        if (parts->endorsement_count >= REPLICAS_MAX) {
            return false;
        }
        creation->endorsement_paths[parts->endorsement_count++] = text;
        return true;
    }
}

static int read_parts(struct creation *creation, struct problem *problem) {
    struct founding_parts *const parts = &creation->parts;
    if (founding_part_read(&creation->prologue, creation->prologue_path, PROLOGUE_FILE_MAGIC,
                           problem) != 0) {
        return -1;
    }
    parts->prologue = buffer_span(&creation->prologue);
    for (uint32_t i = 0; i < parts->endorsement_count; i++) {
        if (founding_part_read(&creation->endorsements[i], creation->endorsement_paths[i],
                               ENDORSEMENT_FILE_MAGIC, problem) != 0) {
            return -1;
        }
        parts->endorsements[i] = buffer_span(&creation->endorsements[i]);
    }
    return 0;
}

/* Which file endorses which replica, as they are sorted. */
struct sorted_parts {
    struct span parts[REPLICAS_MAX];
    const char *paths[REPLICAS_MAX]; /* NULL: none yet */
    struct endorsement endorsements[REPLICAS_MAX];
};

/* Neither key of a replica may be used elsewhere: nobody could tell two holders apart. */
static int check_replica_keys(const struct plan *plan, const struct sorted_parts *sorted,
                              const struct endorsement *endorsement, const char *path,
                              struct problem *problem) {
    for (uint32_t r = 0; r < plan->replica_count; r++) {
        const struct endorsement *const other = &sorted->endorsements[r];
        if (sorted->paths[r] == NULL) {
            continue;
        }
        bool const same_key = public_key_equal(&other->replica_key, &endorsement->replica_key);
        if (same_key || digest_equal(&other->tls_digest, &endorsement->tls_digest)) {
            return problem_set(problem, EXIT_INVALID,
                               "%s: `%s` is that of %s too; each replica has its own", path,
                               same_key ? "replica_key" : "tls_digest", sorted->paths[r]);
        }
    }
    for (uint32_t i = 0; i < plan->member_count + plan->user_count; i++) {
        bool const member = i < plan->member_count;
        const struct named_key *const holder =
            member ? &plan->members[i] : &plan->users[i - plan->member_count];
        if (public_key_equal(&holder->key, &endorsement->replica_key)) {
            return problem_set(problem, EXIT_INVALID,
                               "%s: `replica_key` is the key of %s %.*s too; make one key for "
                               "each use",
                               path, member ? "member" : "user", (int)holder->name.size,
                               (const char *)holder->name.data);
        }
    }
    return 0;
}

static int sort_part(struct creation *creation, struct sorted_parts *sorted, uint32_t i,
                     struct arena *arena, struct problem *problem) {
    struct founding_parts *const parts = &creation->parts;
    const char *const path = creation->endorsement_paths[i];
    struct digest const founding = founding_digest(parts->prologue);
    struct endorsement endorsement;
    if (plan_check_endorsement(&endorsement, &creation->plan, &founding, parts->endorsements[i],
                               path, arena, problem) != 0) {
        return -1;
    }
    uint32_t const replica = endorsement.replica;
    if (sorted->paths[replica] != NULL) {
        return problem_set(problem, EXIT_INVALID, "%s: endorses replica %u, and so does %s", path,
                           replica, sorted->paths[replica]);
    }
    if (check_replica_keys(&creation->plan, sorted, &endorsement, path, problem) != 0) {
        return -1;
    }
    sorted->paths[replica] = path;
    sorted->endorsements[replica] = endorsement;
    sorted->parts[replica] = parts->endorsements[i];
    return 0;
}

/* Endorsements come in any order: put them into that of the plan, and miss none. */
static int sort_parts(struct creation *creation, struct sorted_parts *sorted, struct arena *arena,
                      struct problem *problem) {
    struct founding_parts *const parts = &creation->parts;
    const struct plan *const plan = &creation->plan;
    for (uint32_t i = 0; i < parts->endorsement_count; i++) {
        if (sort_part(creation, sorted, i, arena, problem) != 0) {
            return -1;
        }
    }
    for (uint32_t r = 0; r < plan->replica_count; r++) {
        const struct named_key *const member = &plan->members[plan->replicas[r].member];
        if (sorted->paths[r] == NULL) {
            return problem_set(problem, EXIT_INVALID,
                               "%s: `replicas[%u]` has no endorsement; give the one of %.*s",
                               creation->plan_path, r, (int)member->name.size,
                               (const char *)member->name.data);
        }
        parts->endorsements[r] = sorted->parts[r];
    }
    return 0;
}

static int follow_plan(struct creation *creation, struct problem *problem) {
    struct founding_parts *const parts = &creation->parts;
    const struct plan *const plan = &creation->plan;
    if (plan_load(&creation->plan, creation->plan_path, problem) != 0 ||
        plan_check_prologue(plan, parts->prologue, creation->prologue_path, problem) != 0) {
        return -1;
    }
    parts->member_count = plan->member_count;
    parts->user_count = plan->user_count;
    memcpy(parts->members, plan->members, sizeof parts->members);
    memcpy(parts->users, plan->users, sizeof parts->users);
    struct sorted_parts *const sorted = calloc(1, sizeof *sorted);
    if (sorted == NULL) {
        return problem_set(problem, EXIT_ERROR, "out of memory");
    }
    struct arena arena;
    arena_init(&arena, 2u * REPLICAS_MAX * FOUNDING_PART_SIZE_MAX);
    int const status = sort_parts(creation, sorted, &arena, problem);
    arena_free(&arena);
    free(sorted);
    return status;
}

static int create(struct creation *creation, const struct globals *globals,
                  struct problem *problem) {
    static const struct digest no_service;
    struct buffer genesis;
    buffer_init(&genesis, GENESIS_SIZE_MAX);
    int status = read_parts(creation, problem);
    if (status == 0 && creation->plan_path != NULL) {
        status = follow_plan(creation, problem);
    }
    if (status == 0) {
        status = founding_assemble(&genesis, &creation->parts, problem);
    }
    if (status == 0) {
        status = founding_save(buffer_span(&genesis), creation->out_path, problem);
    }
    if (status == 0) {
        struct digest const service =
            hash_labelled(LABEL_GENESIS, &no_service, buffer_span(&genesis));
        print_digest(globals, "service", &service);
    }
    plan_free(&creation->plan);
    buffer_free(&genesis);
    buffer_free(&creation->prologue);
    for (uint32_t i = 0; i < REPLICAS_MAX; i++) {
        buffer_free(&creation->endorsements[i]);
    }
    return status;
}

int command_genesis_create(const struct command *command, struct globals *globals, int argc,
                           char **argv) {
    struct problem problem = {.code = EXIT_OK};
    struct creation *const creation = calloc(1, sizeof *creation);
    int code = EXIT_OK;
    while (creation != NULL) {
        int const option = command_option(command, globals, argc, argv, create_options);
        if (COMMAND_ENDS(option)) {
            free(creation);
            return COMMAND_CODE(option);
        }
        if (option == -1) {
            break;
        }
        if (!take_create_option(creation, option, optarg)) {
            code = command_misused(command, "%s: write NAME=KEY, 64 hexadecimal digits", optarg);
            free(creation);
            return code;
        }
    }
    if (creation == NULL) {
        (void)problem_set(&problem, EXIT_ERROR, "out of memory");
        return command_fail(&problem);
    }
    if (creation->prologue_path == NULL || creation->out_path == NULL || optind != argc) {
        code = command_misused(command, "--prologue and --out are needed");
    } else if (creation->plan_path != NULL &&
               creation->parts.member_count + creation->parts.user_count != 0) {
        code = command_misused(command, "--member and --user are what the plan says");
    } else if (create(creation, globals, &problem) != 0) {
        code = command_fail(&problem);
    }
    free(creation);
    return code;
}

/* ---- show ------------------------------------------------------------------------------------ */

static const struct option show_options[] = {GLOBAL_OPTIONS};

static void show_text(const struct founding *founding) {
    const struct genesis *const genesis = &founding->genesis;
    const struct configuration *const configuration = &founding->configuration;
    char key[2 * PUBLIC_KEY_SIZE + 1];
    hex_encode(key, span_of(genesis->service.bytes, DIGEST_SIZE));
    (void)printf("service   %s\nname      %.*s\n", key, (int)genesis->name.size,
                 (const char *)genesis->name.data);
    (void)printf(
        "rules     pipeline %u, checkpoint every %llu batches, window %llu, at most %u "
        "calls a batch\n",
        genesis->parameters.pipeline, (unsigned long long)genesis->parameters.checkpoint_interval,
        (unsigned long long)genesis->parameters.window, genesis->parameters.batch_calls_max);
    (void)printf("quorum    %u of %u, tolerates %u\n", configuration->quorum,
                 configuration->replica_count, configuration->faults_max);
    for (uint32_t i = 0; i < genesis->member_count; i++) {
        hex_encode(key, span_of(genesis->members[i].key.bytes, PUBLIC_KEY_SIZE));
        (void)printf("member    %s  %.*s\n", key, (int)genesis->members[i].name.size,
                     (const char *)genesis->members[i].name.data);
    }
    for (uint32_t r = 0; r < configuration->replica_count; r++) {
        const struct replica_identity *const replica = &configuration->replicas[r];
        hex_encode(key, span_of(replica->key.bytes, PUBLIC_KEY_SIZE));
        (void)printf("replica   %s  %u %s  clients %s  peers %s\n", key, r,
                     configuration_member_of(configuration, r), replica->client_address,
                     replica->peer_address);
    }
    for (uint32_t i = 0; i < genesis->user_count; i++) {
        hex_encode(key, span_of(genesis->users[i].key.bytes, PUBLIC_KEY_SIZE));
        (void)printf("user      %s  %.*s\n", key, (int)genesis->users[i].name.size,
                     (const char *)genesis->users[i].name.data);
    }
}

static json_t *named_keys_json(const struct named_key *keys, uint32_t count) {
    json_t *const array = json_array();
    for (uint32_t i = 0; i < count; i++) {
        json_t *const item = json_pack("{s:o,s:o}", "name", view_json_bytes(keys[i].name), "key",
                                       view_json_hex(span_of(keys[i].key.bytes, PUBLIC_KEY_SIZE)));
        if (json_array_append_new(array, item) != 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

static json_t *replicas_json(const struct configuration *configuration) {
    json_t *const array = json_array();
    for (uint32_t r = 0; r < configuration->replica_count; r++) {
        const struct replica_identity *const replica = &configuration->replicas[r];
        json_t *const item = json_pack(
            "{s:i,s:s,s:o,s:o,s:s,s:s}", "id", (int)r, "member",
            configuration_member_of(configuration, r), "key",
            view_json_hex(span_of(replica->key.bytes, PUBLIC_KEY_SIZE)), "tls_digest",
            view_json_hex(span_of(replica->tls_digest.bytes, DIGEST_SIZE)), "peer_address",
            replica->peer_address, "client_address", replica->client_address);
        if (json_array_append_new(array, item) != 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

static bool show_json(const struct founding *founding) {
    const struct genesis *const genesis = &founding->genesis;
    const struct parameters *const rules = &genesis->parameters;
    return view_print_json(
        json_pack("{s:o,s:o,s:o,s:{s:i,s:o,s:o,s:i,s:i},s:o,s:o,s:o}", "service",
                  view_json_hex(span_of(genesis->service.bytes, DIGEST_SIZE)), "name",
                  view_json_bytes(genesis->name), "time_ms", view_json_u64(genesis->time_ms),
                  "parameters", "pipeline", (int)rules->pipeline, "checkpoint_interval",
                  view_json_u64(rules->checkpoint_interval), "window", view_json_u64(rules->window),
                  "batch_calls_max", (int)rules->batch_calls_max, "batch_size_soft_max",
                  (int)rules->batch_size_soft_max, "members",
                  named_keys_json(genesis->members, genesis->member_count), "replicas",
                  replicas_json(&founding->configuration), "users",
                  named_keys_json(genesis->users, genesis->user_count)));
}

int command_genesis_show(const struct command *command, struct globals *globals, int argc,
                         char **argv) {
    struct problem problem = {.code = EXIT_OK};
    int const option = command_option(command, globals, argc, argv, show_options);
    if (COMMAND_ENDS(option)) {
        return COMMAND_CODE(option);
    }
    if (optind + 1 != argc) {
        return command_misused(command, "give one file");
    }
    struct founding *const founding = calloc(1, sizeof *founding);
    if (founding == NULL) {
        (void)problem_set(&problem, EXIT_ERROR, "out of memory");
        return command_fail(&problem);
    }
    int code = EXIT_OK;
    if (founding_load(founding, argv[optind], &problem) != 0) {
        code = command_fail(&problem);
    } else if (!globals->json) {
        show_text(founding);
    } else {
        code = show_json(founding) ? EXIT_OK : EXIT_ERROR;
    }
    founding_free(founding);
    free(founding);
    return code;
}
