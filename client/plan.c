/*
 * plan: see plan.h. The same checks are made by everybody who uses the plan, so that a slip is
 * found before anything is signed; genesis is checked again as a whole when it is put together.
 */
#include "client/plan.h"

#include <stdio.h>

#include "base/sign.h"
#include "client/founding_kit.h"
#include "host/address.h"
#include "host/yaml_file.h"

#define KEY_TEXT_SIZE (2u * PUBLIC_KEY_SIZE)
#define FIELD_SIZE 64u

/* ---- the schema ------------------------------------------------------------------------------ */

struct parameters_section {
    uint32_t *pipeline;
    uint64_t *checkpoint_interval;
    uint64_t *window;
    uint32_t *batch_calls_max;
};

struct holder_section {
    char *name;
    char *key;
};

struct replica_section {
    char *member;
    char *peer;
    char *client;
};

struct document {
    char *name;
    struct parameters_section *parameters;
    struct holder_section *members;
    struct replica_section *replicas;
    struct holder_section *users;
    uint32_t members_count;
    uint32_t replicas_count;
    uint32_t users_count;
};

#define OPTIONAL (CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL)

static const cyaml_schema_field_t parameters_fields[] = {
    CYAML_FIELD_UINT_PTR("pipeline", OPTIONAL, struct parameters_section, pipeline),
    CYAML_FIELD_UINT_PTR("checkpoint_interval", OPTIONAL, struct parameters_section,
                         checkpoint_interval),
    CYAML_FIELD_UINT_PTR("window", OPTIONAL, struct parameters_section, window),
    CYAML_FIELD_UINT_PTR("batch_calls_max", OPTIONAL, struct parameters_section, batch_calls_max),
    CYAML_FIELD_END};

static const cyaml_schema_field_t holder_fields[] = {
    CYAML_FIELD_STRING_PTR("name", CYAML_FLAG_POINTER, struct holder_section, name, 1,
                           NAME_SIZE_MAX),
    CYAML_FIELD_STRING_PTR("key", CYAML_FLAG_POINTER, struct holder_section, key, KEY_TEXT_SIZE,
                           KEY_TEXT_SIZE),
    CYAML_FIELD_END};

static const cyaml_schema_field_t replica_fields[] = {
    CYAML_FIELD_STRING_PTR("member", CYAML_FLAG_POINTER, struct replica_section, member, 1,
                           NAME_SIZE_MAX),
    CYAML_FIELD_STRING_PTR("peer", CYAML_FLAG_POINTER, struct replica_section, peer, 1,
                           ADDRESS_SIZE_MAX),
    CYAML_FIELD_STRING_PTR("client", CYAML_FLAG_POINTER, struct replica_section, client, 1,
                           ADDRESS_SIZE_MAX),
    CYAML_FIELD_END};

static const cyaml_schema_value_t holder_schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct holder_section, holder_fields)};
static const cyaml_schema_value_t replica_schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct replica_section, replica_fields)};

static const cyaml_schema_field_t document_fields[] = {
    CYAML_FIELD_STRING_PTR("name", CYAML_FLAG_POINTER, struct document, name, 1, NAME_SIZE_MAX),
    CYAML_FIELD_MAPPING_PTR("parameters", OPTIONAL, struct document, parameters, parameters_fields),
    CYAML_FIELD_SEQUENCE("members", CYAML_FLAG_POINTER, struct document, members, &holder_schema, 1,
                         MEMBERS_MAX),
    CYAML_FIELD_SEQUENCE("replicas", CYAML_FLAG_POINTER, struct document, replicas, &replica_schema,
                         REPLICAS_MIN, REPLICAS_MAX),
    CYAML_FIELD_SEQUENCE("users", OPTIONAL, struct document, users, &holder_schema, 0, USERS_MAX),
    CYAML_FIELD_END};

static const cyaml_schema_value_t schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct document, document_fields)};

static const struct yaml_kind kind = {
    .schema = &schema, .example = "docs/plan.example.yaml", .size_max = PLAN_SIZE_MAX};

/* ---- from the document to the plan ----------------------------------------------------------- */

static int take_name(struct span *out, const struct plan *plan, const char *field, const char *text,
                     struct problem *problem) {
    if (strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789.-") != strlen(text)) {
        return problem_set(problem, EXIT_ERROR,
                           "%s: `%s` is %s; a name has 1 to %u characters of a-z 0-9 . -",
                           plan->path, field, text, NAME_SIZE_MAX);
    }
    *out = span_text(text);
    return 0;
}

static int take_holders(struct named_key *out, const struct plan *plan, const char *group,
                        const struct holder_section *holders, uint32_t count,
                        struct problem *problem) {
    char field[FIELD_SIZE];
    for (uint32_t i = 0; i < count; i++) {
        (void)snprintf(field, sizeof field, "%s[%u].name", group, i);
        if (take_name(&out[i].name, plan, field, holders[i].name, problem) != 0) {
            return -1;
        }
        if (!hex_decode(out[i].key.bytes, PUBLIC_KEY_SIZE, holders[i].key) ||
            !public_key_valid(&out[i].key)) {
            return problem_set(problem, EXIT_ERROR,
                               "%s: `%s[%u].key` is no public key; give what `onus key show` "
                               "prints to %s",
                               plan->path, group, i, holders[i].name);
        }
        for (uint32_t other = 0; other < i; other++) {
            if (span_equal(out[other].name, out[i].name)) {
                return problem_set(problem, EXIT_ERROR,
                                   "%s: `%s` is that of %s[%u] too; names differ", plan->path,
                                   field, group, other);
            }
        }
    }
    return 0;
}

/* The key of position i in members and users, taken as one list. */
static const struct public_key *key_at(const struct plan *plan, uint32_t i, char *field) {
    bool const member = i < plan->member_count;
    uint32_t const position = member ? i : i - plan->member_count;
    (void)snprintf(field, FIELD_SIZE, "%s[%u].key", member ? "members" : "users", position);
    return member ? &plan->members[position].key : &plan->users[position].key;
}

static int check_keys(const struct plan *plan, struct problem *problem) {
    char field[FIELD_SIZE];
    char other_field[FIELD_SIZE];
    for (uint32_t i = 0; i < plan->member_count + plan->user_count; i++) {
        const struct public_key *const key = key_at(plan, i, field);
        for (uint32_t other = 0; other < i; other++) {
            if (public_key_equal(key, key_at(plan, other, other_field))) {
                return problem_set(problem, EXIT_ERROR,
                                   "%s: `%s` is the key of `%s` too; make one key for each use",
                                   plan->path, field, other_field);
            }
        }
    }
    return 0;
}

static int take_address(struct span *out, const struct plan *plan, const char *field, uint32_t i,
                        const char *text, struct problem *problem) {
    struct address address;
    struct problem why = {.code = EXIT_OK};
    if (address_parse(&address, text, &why) != 0) {
        return problem_set(problem, EXIT_ERROR, "%s: `replicas[%u].%s`: %s", plan->path, i, field,
                           why.text);
    }
    *out = span_text(text);
    return 0;
}

static int check_address(const struct plan *plan, uint32_t i, struct problem *problem) {
    const struct plan_replica *const mine = &plan->replicas[i];
    bool twice = span_equal(mine->peer_address, mine->client_address);
    for (uint32_t r = 0; r < i; r++) {
        const struct plan_replica *const other = &plan->replicas[r];
        twice = twice || span_equal(mine->peer_address, other->peer_address) ||
                span_equal(mine->peer_address, other->client_address) ||
                span_equal(mine->client_address, other->peer_address) ||
                span_equal(mine->client_address, other->client_address);
    }
    return twice ? problem_set(problem, EXIT_ERROR,
                               "%s: `replicas[%u]` has an address that is there twice; each "
                               "replica has two of its own",
                               plan->path, i)
                 : 0;
}

static int take_replicas(struct plan *plan, const struct document *document,
                         struct problem *problem) {
    for (uint32_t i = 0; i < document->replicas_count; i++) {
        const struct replica_section *const in = &document->replicas[i];
        struct plan_replica *const out = &plan->replicas[i];
        while (out->member < plan->member_count &&
               !span_equal(plan->members[out->member].name, span_text(in->member))) {
            out->member++;
        }
        if (out->member == plan->member_count) {
            return problem_set(problem, EXIT_ERROR,
                               "%s: `replicas[%u].member` is %s; there is no such member",
                               plan->path, i, in->member);
        }
        if (take_address(&out->peer_address, plan, "peer", i, in->peer, problem) != 0 ||
            take_address(&out->client_address, plan, "client", i, in->client, problem) != 0 ||
            check_address(plan, i, problem) != 0) {
            return -1;
        }
    }
    plan->replica_count = document->replicas_count;
    return 0;
}

static int check_range(const struct plan *plan, const char *field, uint64_t number, uint64_t min,
                       uint64_t max, struct problem *problem) {
    return number >= min && number <= max
               ? 0
               : problem_set(problem, EXIT_ERROR,
                             "%s: `parameters.%s` is %llu; choose %llu to %llu", plan->path, field,
                             (unsigned long long)number, (unsigned long long)min,
                             (unsigned long long)max);
}

static int take_parameters(struct plan *plan, const struct parameters_section *given,
                           struct problem *problem) {
    struct parameters *const out = &plan->parameters;
    *out = founding_parameters_default();
    if (given == NULL) {
        return 0;
    }
    out->pipeline = given->pipeline == NULL ? out->pipeline : *given->pipeline;
    out->checkpoint_interval =
        given->checkpoint_interval == NULL ? out->checkpoint_interval : *given->checkpoint_interval;
    out->window = given->window == NULL ? out->window : *given->window;
    out->batch_calls_max =
        given->batch_calls_max == NULL ? out->batch_calls_max : *given->batch_calls_max;
    if (check_range(plan, "pipeline", out->pipeline, 1, PIPELINE_MAX, problem) != 0) {
        return -1;
    }
    if (check_range(plan, "checkpoint_interval", out->checkpoint_interval,
                    checkpoint_interval_min(out->pipeline), CHECKPOINT_INTERVAL_MAX,
                    problem) != 0 ||
        check_range(plan, "window", out->window, BATCH_CALLS_MAX, WINDOW_MAX, problem) != 0) {
        return -1;
    }
    return check_range(plan, "batch_calls_max", out->batch_calls_max, CALLS_MAX, BATCH_CALLS_MAX,
                       problem);
}

int plan_load(struct plan *plan, const char *path, struct problem *problem) {
    *plan = (struct plan){.path = path};
    plan->document = yaml_file_load(&kind, path, problem);
    if (plan->document == NULL) {
        return -1;
    }
    const struct document *const document = plan->document;
    if (take_name(&plan->name, plan, "name", document->name, problem) != 0 ||
        take_parameters(plan, document->parameters, problem) != 0 ||
        take_holders(plan->members, plan, "members", document->members, document->members_count,
                     problem) != 0 ||
        take_holders(plan->users, plan, "users", document->users, document->users_count, problem) !=
            0) {
        return -1;
    }
    plan->member_count = document->members_count;
    plan->user_count = document->users_count;
    return check_keys(plan, problem) == 0 ? take_replicas(plan, document, problem) : -1;
}

void plan_free(struct plan *plan) {
    yaml_file_free(&kind, plan->document);
    plan->document = NULL;
}

/* ---- the prologue ---------------------------------------------------------------------------- */

static const char *prologue_difference(const struct plan *plan, const struct genesis *genesis) {
    const struct parameters *const a = &plan->parameters;
    const struct parameters *const b = &genesis->parameters;
    if (!span_equal(plan->name, genesis->name)) {
        return "name";
    }
    if (a->pipeline != b->pipeline) {
        return "parameters.pipeline";
    }
    if (a->checkpoint_interval != b->checkpoint_interval) {
        return "parameters.checkpoint_interval";
    }
    if (a->window != b->window) {
        return "parameters.window";
    }
    if (a->batch_calls_max != b->batch_calls_max) {
        return "parameters.batch_calls_max";
    }
    return a->batch_size_soft_max != b->batch_size_soft_max ? "parameters" : NULL;
}

int plan_check_prologue(const struct plan *plan, struct span prologue, const char *path,
                        struct problem *problem) {
    struct arena arena;
    struct genesis genesis;
    arena_init(&arena, 8u * STATEMENT_SIZE_MAX);
    enum codec_result const result = genesis_prologue_decode(&genesis, &arena, prologue);
    int status = 0;
    if (result != CODEC_OK) {
        status = problem_set(problem, EXIT_INVALID,
                             "%s: the prologue cannot be used: %s; get a fresh copy", path,
                             codec_result_text(result));
    } else {
        const char *const field = prologue_difference(plan, &genesis);
        if (field != NULL) {
            status = problem_set(problem, EXIT_INVALID,
                                 "%s: `%s` is not what %s says; get the plan that it was made of, "
                                 "or make another prologue for all",
                                 plan->path, field, path);
        }
    }
    arena_free(&arena);
    return status;
}

/* ---- endorsements ---------------------------------------------------------------------------- */

static int check_agrees(const struct endorsement *endorsement, const struct plan *plan,
                        const char *path, struct problem *problem) {
    if (endorsement->replica >= plan->replica_count) {
        return problem_set(problem, EXIT_INVALID, "%s: `replica` is %u, which %s does not have",
                           path, endorsement->replica, plan->path);
    }
    const struct plan_replica *const planned = &plan->replicas[endorsement->replica];
    const char *const differs =
        endorsement->member != planned->member                              ? "member"
        : !span_equal(endorsement->peer_address, planned->peer_address)     ? "peer"
        : !span_equal(endorsement->client_address, planned->client_address) ? "client"
                                                                            : NULL;
    return differs == NULL ? 0
                           : problem_set(problem, EXIT_INVALID,
                                         "%s: `%s` is not what `replicas[%u]` of %s says; let its "
                                         "member endorse by this plan",
                                         path, differs, endorsement->replica, plan->path);
}

int plan_check_endorsement(struct endorsement *endorsement, const struct plan *plan,
                           const struct digest *founding, struct span bytes, const char *path,
                           struct arena *arena, struct problem *problem) {
    struct signed_body statement;
    if (signed_decode(&statement, arena, bytes, FOUNDING_PART_SIZE_MAX) != CODEC_OK ||
        endorsement_decode(endorsement, arena, statement.body) != CODEC_OK) {
        return problem_set(problem, EXIT_INVALID,
                           "%s: the endorsement cannot be read; get a fresh copy", path);
    }
    if (check_agrees(endorsement, plan, path, problem) != 0) {
        return -1;
    }
    const struct named_key *const member = &plan->members[endorsement->member];
    struct sign_check const check = {.key = member->key,
                                     .signature = statement.signature,
                                     .body = statement.body,
                                     .label = LABEL_ENDORSEMENT};
    return sign_verify_universal(founding, &check)
               ? 0
               : problem_set(problem, EXIT_INVALID,
                             "%s: `signature` is not that of %.*s over this prologue; it is for "
                             "another prologue, or signed with another key",
                             path, (int)member->name.size, (const char *)member->name.data);
}
