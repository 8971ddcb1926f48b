/*
 * draft_file: draft_load (draft.h): a proposal as a YAML file, docs/proposal.example.yaml. Each
 * action is a mapping with one key, so that their order is that of the file.
 */
#include <limits.h>
#include <stdio.h>

#include "client/draft.h"
#include "host/yaml_file.h"

#define FIELD_SIZE 32u

/* ---- the schema ------------------------------------------------------------------------------ */

struct replace_section {
    char *replica;
    char *with;
};

struct parameters_section {
    uint64_t *pipeline;
    uint64_t *checkpoint_interval;
    uint64_t *batch_calls_max;
    uint64_t *batch_size_soft_max;
};

struct action_section {
    char *add_member;
    char *remove_member;
    char *rotate_member;
    char *add_user;
    char *remove_user;
    char *rotate_user;
    char *add_replica;
    char *remove_replica;
    struct replace_section *replace_replica;
    struct parameters_section *set_parameters;
    char *set_voting_rule;
};

struct document {
    char *text;
    char **evidence;
    struct action_section *actions;
    uint32_t evidence_count;
    uint32_t actions_count;
};

#define OPTIONAL (CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL)
#define ACTION_TEXT(name, size)                                                                    \
    CYAML_FIELD_STRING_PTR(#name, OPTIONAL, struct action_section, name, 1, size)

static const cyaml_schema_field_t replace_fields[] = {
    CYAML_FIELD_STRING_PTR("replica", CYAML_FLAG_POINTER, struct replace_section, replica, 1,
                           2 * PUBLIC_KEY_SIZE),
    CYAML_FIELD_STRING_PTR("with", CYAML_FLAG_POINTER, struct replace_section, with, 1, PATH_MAX),
    CYAML_FIELD_END};

static const cyaml_schema_field_t parameters_fields[] = {
    CYAML_FIELD_UINT_PTR("pipeline", OPTIONAL, struct parameters_section, pipeline),
    CYAML_FIELD_UINT_PTR("checkpoint_interval", OPTIONAL, struct parameters_section,
                         checkpoint_interval),
    CYAML_FIELD_UINT_PTR("batch_calls_max", OPTIONAL, struct parameters_section, batch_calls_max),
    CYAML_FIELD_UINT_PTR("batch_size_soft_max", OPTIONAL, struct parameters_section,
                         batch_size_soft_max),
    CYAML_FIELD_END};

static const cyaml_schema_field_t action_fields[] = {
    ACTION_TEXT(add_member, PATH_MAX),
    ACTION_TEXT(remove_member, NAME_SIZE_MAX),
    ACTION_TEXT(rotate_member, PATH_MAX),
    ACTION_TEXT(add_user, PATH_MAX),
    ACTION_TEXT(remove_user, NAME_SIZE_MAX),
    ACTION_TEXT(rotate_user, PATH_MAX),
    ACTION_TEXT(add_replica, PATH_MAX),
    ACTION_TEXT(remove_replica, 2 * PUBLIC_KEY_SIZE),
    CYAML_FIELD_MAPPING_PTR("replace_replica", OPTIONAL, struct action_section, replace_replica,
                            replace_fields),
    CYAML_FIELD_MAPPING_PTR("set_parameters", OPTIONAL, struct action_section, set_parameters,
                            parameters_fields),
    ACTION_TEXT(set_voting_rule, FIELD_SIZE),
    CYAML_FIELD_END};

static const cyaml_schema_value_t action_schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct action_section, action_fields)};
static const cyaml_schema_value_t path_schema = {
    CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char, 1, PATH_MAX)};

static const cyaml_schema_field_t document_fields[] = {
    CYAML_FIELD_STRING_PTR("text", OPTIONAL, struct document, text, 0, PROPOSAL_TEXT_SIZE_MAX),
    CYAML_FIELD_SEQUENCE("evidence", OPTIONAL, struct document, evidence, &path_schema, 0,
                         PROPOSAL_EVIDENCE_MAX),
    CYAML_FIELD_SEQUENCE("actions", CYAML_FLAG_POINTER, struct document, actions, &action_schema, 1,
                         ACTIONS_MAX),
    CYAML_FIELD_END};

static const cyaml_schema_value_t schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct document, document_fields)};

static const struct yaml_kind kind = {
    .schema = &schema, .example = "docs/proposal.example.yaml", .size_max = DRAFT_FILE_SIZE_MAX};

/* ---- from the document to the draft ---------------------------------------------------------- */

struct loading {
    struct draft *draft;
    const char *path; /* of the YAML file */
    char place[PATH_MAX];
};

/* Where a path that the file names leads to. Returns: NULL with a problem. */
static const char *resolve(struct loading *loading, const char *path, struct problem *problem) {
    const char *const slash = strrchr(loading->path, '/');
    int const directory = slash == NULL || path[0] == '/' ? 0 : (int)(slash - loading->path) + 1;
    int const size =
        snprintf(loading->place, sizeof loading->place, "%.*s%s", directory, loading->path, path);
    if (size < 0 || (size_t)size >= sizeof loading->place) {
        (void)problem_set(problem, EXIT_USAGE, "the path is too long");
        return NULL;
    }
    return loading->place;
}

static int load_parameters(struct draft *draft, const struct parameters_section *in,
                           struct problem *problem) {
    const uint64_t *const values[] = {
        [DRAFT_PIPELINE] = in->pipeline,
        [DRAFT_CHECKPOINT_INTERVAL] = in->checkpoint_interval,
        [DRAFT_BATCH_CALLS_MAX] = in->batch_calls_max,
        [DRAFT_BATCH_SIZE_SOFT_MAX] = in->batch_size_soft_max,
    };
    bool any = false;
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        any = any || values[i] != NULL;
        if (values[i] != NULL &&
            draft_parameter(draft, (enum draft_parameter)i, *values[i], problem) != 0) {
            return -1;
        }
    }
    return any ? 0 : problem_set(problem, EXIT_ERROR, "no parameter is set");
}

static uint32_t keys_of(const struct action_section *in) {
    const void *const keys[] = {in->add_member,     in->remove_member,  in->rotate_member,
                                in->add_user,       in->remove_user,    in->rotate_user,
                                in->add_replica,    in->remove_replica, in->replace_replica,
                                in->set_parameters, in->set_voting_rule};
    uint32_t count = 0;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        count += keys[i] != NULL;
    }
    return count;
}

/* The kinds that name a credential of a member or user, or one who goes. */
static int load_holder(struct loading *loading, const struct action_section *in,
                       struct problem *problem) {
    const struct {
        const char *text;
        enum action_kind kind;
        bool is_path;
    } kinds[] = {
        {in->add_member, ACTION_ADD_MEMBER, true},
        {in->remove_member, ACTION_REMOVE_MEMBER, false},
        {in->rotate_member, ACTION_ROTATE_MEMBER, true},
        {in->add_user, ACTION_ADD_USER, true},
        {in->remove_user, ACTION_REMOVE_USER, false},
        {in->rotate_user, ACTION_ROTATE_USER, true},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (kinds[i].text == NULL) {
            continue;
        }
        if (!kinds[i].is_path) {
            return draft_without(loading->draft, kinds[i].kind, kinds[i].text, problem);
        }
        const char *const path = resolve(loading, kinds[i].text, problem);
        return path == NULL ? -1 : draft_holder(loading->draft, kinds[i].kind, path, problem);
    }
    return problem_set(problem, EXIT_ERROR, "it says nothing");
}

static int load_action(struct loading *loading, const struct action_section *in,
                       struct problem *problem) {
    if (keys_of(in) != 1) {
        return problem_set(problem, EXIT_ERROR, "an action has one key, and each its own dash");
    }
    if (in->add_replica != NULL) {
        const char *const path = resolve(loading, in->add_replica, problem);
        return path == NULL ? -1 : draft_add_replica(loading->draft, path, problem);
    }
    if (in->replace_replica != NULL) {
        const char *const path = resolve(loading, in->replace_replica->with, problem);
        return path == NULL ? -1
                            : draft_replace_replica(loading->draft, in->replace_replica->replica,
                                                    path, problem);
    }
    if (in->remove_replica != NULL) {
        return draft_remove_replica(loading->draft, in->remove_replica, problem);
    }
    if (in->set_parameters != NULL) {
        return load_parameters(loading->draft, in->set_parameters, problem);
    }
    return in->set_voting_rule != NULL
               ? draft_voting_rule(loading->draft, in->set_voting_rule, problem)
               : load_holder(loading, in, problem);
}

static int load_document(struct loading *loading, const struct document *document,
                         struct problem *problem) {
    struct problem why = {.code = EXIT_OK};
    if (document->text != NULL && draft_text(loading->draft, document->text, &why) != 0) {
        return problem_set(problem, why.code, "%s: `text`: %s", loading->path, why.text);
    }
    for (uint32_t i = 0; i < document->evidence_count; i++) {
        const char *const path = resolve(loading, document->evidence[i], &why);
        if (path == NULL || draft_attach(loading->draft, path, &why) != 0) {
            return problem_set(problem, why.code, "%s: `evidence[%u]`: %s", loading->path, i,
                               why.text);
        }
    }
    for (uint32_t i = 0; i < document->actions_count; i++) {
        if (load_action(loading, &document->actions[i], &why) != 0) {
            return problem_set(problem, why.code, "%s: `actions[%u]`: %s", loading->path, i,
                               why.text);
        }
    }
    return 0;
}

int draft_load(struct draft *draft, const char *path, struct problem *problem) {
    struct loading loading = {.draft = draft, .path = path};
    struct document *const document = yaml_file_load(&kind, path, problem);
    if (document == NULL) {
        return -1;
    }
    int const status = load_document(&loading, document, problem);
    yaml_file_free(&kind, document);
    return status;
}
