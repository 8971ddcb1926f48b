/*
 * draft: see draft.h. What a draft holds keeps the form of a proposal at every moment; whether it
 * keeps the rules is decided by the function that replicas use.
 */
#include "client/draft.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "client/command.h"
#include "host/random.h"

#define DRAFT_ARENA_SIZE (256u << 10)
#define READ_SIZE (64u << 10)

void draft_init(struct draft *draft, const struct constitution *now) {
    *draft = (struct draft){.now = now};
    draft->proposal.config = now->number;
    arena_init(&draft->arena, DRAFT_ARENA_SIZE);
}

void draft_free(struct draft *draft) {
    arena_free(&draft->arena);
}

/* A copy of what came from elsewhere. */
static struct span keep(struct draft *draft, struct span bytes) {
    return arena_copy(&draft->arena, bytes);
}

static int action_put(struct draft *draft, const struct action *action, struct problem *problem) {
    if (draft->arena.exhausted) {
        return problem_set(problem, EXIT_ERROR, "out of memory");
    }
    if (draft->proposal.action_count == ACTIONS_MAX) {
        return problem_set(problem, EXIT_USAGE, "a proposal has at most %u actions; make two",
                           ACTIONS_MAX);
    }
    draft->proposal.actions[draft->proposal.action_count++] = *action;
    return 0;
}

/* ---- members and users ----------------------------------------------------------------------- */

int draft_holder(struct draft *draft, enum action_kind kind, const char *path,
                 struct problem *problem) {
    struct credential credential;
    enum holder_role const role =
        kind == ACTION_ADD_USER || kind == ACTION_ROTATE_USER ? HOLDER_USER : HOLDER_MEMBER;
    if (credential_load(&credential, &draft->now->service, path, problem) != 0) {
        return -1;
    }
    if (credential.role != role) {
        return problem_set(problem, EXIT_INVALID, "%s: is the key of a %s, and a %s is wanted here",
                           path, credential_role_text(credential.role), credential_role_text(role));
    }
    struct action const action = {
        .kind = kind,
        .name = keep(draft, span_text(credential.name)),
        .key = credential.key,
        .possession = credential.possession,
    };
    return action_put(draft, &action, problem);
}

int draft_without(struct draft *draft, enum action_kind kind, const char *name,
                  struct problem *problem) {
    struct credential checked = {.role = HOLDER_MEMBER};
    if (credential_set_name(&checked, name, problem) != 0) {
        return -1;
    }
    struct action const action = {.kind = kind, .name = keep(draft, span_text(name))};
    return action_put(draft, &action, problem);
}

/* ---- replicas -------------------------------------------------------------------------------- */

/* The key of a replica that is there: by its number, or itself. */
static int find_replica(const struct draft *draft, struct public_key *out, const char *text,
                        struct problem *problem) {
    uint64_t number;
    if (command_number(text, 0, draft->now->replica_count - 1, &number)) {
        *out = draft->now->replicas[number].identity.key;
        return 0;
    }
    return hex_decode(out->bytes, PUBLIC_KEY_SIZE, text)
               ? 0
               : problem_set(problem, EXIT_USAGE,
                             "%.80s: no such replica; give its number, 0 to %u, or its key", text,
                             draft->now->replica_count - 1);
}

static int endorsed_put(struct draft *draft, struct action *action, const char *path,
                        struct problem *problem) {
    uint8_t memory[ENDORSEMENT_SIZE_MAX];
    struct buffer body;
    struct credential credential;
    buffer_init_on(&body, memory, sizeof memory);
    if (credential_load(&credential, &draft->now->service, path, problem) != 0) {
        return -1;
    }
    if (credential.role != HOLDER_REPLICA || !credential.endorsed) {
        return problem_set(problem, EXIT_INVALID, "%s: %s", path,
                           credential.role != HOLDER_REPLICA
                               ? "is not that of a replica; see onus gov replica"
                               : "no member has endorsed it; see onus gov endorse");
    }
    if (!credential_endorsement_body(&body, &credential)) {
        return problem_set(problem, EXIT_ERROR, "out of memory");
    }
    action->endorsement.body = keep(draft, buffer_span(&body));
    action->endorsement.signature = credential.endorsement;
    action->possession = credential.possession;
    return action_put(draft, action, problem);
}

int draft_add_replica(struct draft *draft, const char *path, struct problem *problem) {
    struct action action = {.kind = ACTION_ADD_REPLICA};
    return endorsed_put(draft, &action, path, problem);
}

int draft_remove_replica(struct draft *draft, const char *replica, struct problem *problem) {
    struct action action = {.kind = ACTION_REMOVE_REPLICA};
    return find_replica(draft, &action.key, replica, problem) == 0
               ? action_put(draft, &action, problem)
               : -1;
}

int draft_replace_replica(struct draft *draft, const char *replica, const char *path,
                          struct problem *problem) {
    struct action action = {.kind = ACTION_REPLACE_REPLICA};
    return find_replica(draft, &action.key, replica, problem) == 0
               ? endorsed_put(draft, &action, path, problem)
               : -1;
}

/* ---- parameters and voting ------------------------------------------------------------------- */

int draft_parameter(struct draft *draft, enum draft_parameter which, uint64_t value,
                    struct problem *problem) {
    if (value > UINT32_MAX) {
        return problem_set(problem, EXIT_USAGE, "no parameter is as large as that");
    }
    if (draft->parameters_action == 0) {
        struct action const action = {.kind = ACTION_SET_PARAMETERS,
                                      .parameters = draft->now->parameters};
        if (action_put(draft, &action, problem) != 0) {
            return -1;
        }
        draft->parameters_action = draft->proposal.action_count;
    }
    struct parameters *const out =
        &draft->proposal.actions[draft->parameters_action - 1].parameters;
    switch (which) {
    case DRAFT_PIPELINE:
        out->pipeline = (uint32_t)value;
        break;
    case DRAFT_CHECKPOINT_INTERVAL:
        out->checkpoint_interval = value;
        break;
    case DRAFT_BATCH_CALLS_MAX:
        out->batch_calls_max = (uint32_t)value;
        break;
    case DRAFT_BATCH_SIZE_SOFT_MAX:
        out->batch_size_soft_max = (uint32_t)value;
        break;
    }
    return 0;
}

int draft_voting_rule(struct draft *draft, const char *text, struct problem *problem) {
    char numerator[8] = "";
    const char *const slash = strchr(text, '/');
    uint64_t parts[2] = {0, 0};
    size_t const size = slash == NULL ? sizeof numerator : (size_t)(slash - text);
    if (size < sizeof numerator) {
        memcpy(numerator, text, size);
        numerator[size] = '\0';
    }
    if (slash == NULL || !command_number(numerator, 1, VOTING_DENOMINATOR_MAX, &parts[0]) ||
        !command_number(slash + 1, 1, VOTING_DENOMINATOR_MAX, &parts[1])) {
        return problem_set(problem, EXIT_USAGE,
                           "%.80s: a voting rule is a fraction, from 1/2 to below 1, such as 2/3",
                           text);
    }
    struct action const action = {
        .kind = ACTION_SET_VOTING_RULE,
        .rule = {.numerator = (uint32_t)parts[0], .denominator = (uint32_t)parts[1]},
    };
    return action_put(draft, &action, problem);
}

/* ---- words and files ------------------------------------------------------------------------- */

int draft_text(struct draft *draft, const char *text, struct problem *problem) {
    if (draft->proposal.text.size != 0) {
        return problem_set(problem, EXIT_USAGE, "a proposal has one text");
    }
    if (strlen(text) > PROPOSAL_TEXT_SIZE_MAX) {
        return problem_set(problem, EXIT_USAGE, "the text has more than %u bytes",
                           PROPOSAL_TEXT_SIZE_MAX);
    }
    draft->proposal.text = keep(draft, span_text(text));
    return 0;
}

static int digest_file(struct digest *out, FILE *file, const char *path, struct problem *problem) {
    uint8_t *const memory = malloc(READ_SIZE);
    struct hash_state state;
    size_t size = 0;
    if (memory == NULL) {
        return problem_set(problem, EXIT_ERROR, "out of memory");
    }
    hash_init(&state);
    while ((size = fread(memory, 1, READ_SIZE, file)) != 0) {
        hash_update(&state, span_of(memory, size));
    }
    *out = hash_final(&state);
    free(memory);
    return ferror(file) == 0 ? 0 : problem_set(problem, EXIT_ERROR, "%s: cannot be read", path);
}

int draft_attach(struct draft *draft, const char *path, struct problem *problem) {
    uint32_t *const count = &draft->proposal.evidence_count;
    if (*count == PROPOSAL_EVIDENCE_MAX) {
        return problem_set(problem, EXIT_USAGE, "a proposal refers to at most %u files",
                           PROPOSAL_EVIDENCE_MAX);
    }
    FILE *const file = fopen(path, "re");
    if (file == NULL) {
        return problem_set(problem, EXIT_ERROR, "%s: %s", path, strerror(errno));
    }
    int const status = digest_file(&draft->evidence[*count], file, path, problem);
    if (fclose(file) != 0 || status != 0) {
        return problem_set(problem, EXIT_ERROR, "%s: cannot be read", path);
    }
    ++*count;
    return 0;
}

/* ---- the whole ------------------------------------------------------------------------------- */

int draft_finish(struct draft *draft, struct buffer *out, struct problem *problem) {
    struct proposal *const proposal = &draft->proposal;
    struct proposal decoded;
    if (proposal->action_count == 0) {
        return problem_set(problem, EXIT_USAGE,
                           "the proposal changes nothing; say what it is to do");
    }
    proposal->evidence = draft->evidence;
    random_bytes(proposal->salt, sizeof proposal->salt);
    size_t const before = out->size;
    if (draft->arena.exhausted || !proposal_encode(out, proposal)) {
        return problem_set(problem, EXIT_ERROR, "out of memory");
    }
    enum codec_result const result =
        proposal_decode(&decoded, &draft->arena, &draft->now->service,
                        span_of(out->data + before, out->size - before));
    if (result == CODEC_RANGE) {
        return problem_set(problem, EXIT_USAGE,
                           "the text of a proposal is UTF-8 of one line, without characters that "
                           "cannot be seen");
    }
    return result == CODEC_OK ? 0
                              : problem_set(problem, EXIT_ERROR, "the proposal cannot be made: %s",
                                            codec_result_text(result));
}
