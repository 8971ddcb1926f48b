/*
 * onus gov propose: put a proposal together from options or a file, show what it would change, and
 * submit it. A proposal that breaks a rule is told so here, and never sent.
 */
#include <stdlib.h>

#include "client/draft.h"
#include "client/gov.h"

enum {
    OPTION_TEXT = OPTION_FIRST_OWN,
    OPTION_EVIDENCE,
    OPTION_ADD_MEMBER,
    OPTION_REMOVE_MEMBER,
    OPTION_ROTATE_MEMBER,
    OPTION_ADD_USER,
    OPTION_REMOVE_USER,
    OPTION_ROTATE_USER,
    OPTION_ADD_REPLICA,
    OPTION_REMOVE_REPLICA,
    OPTION_REPLACE_REPLICA,
    OPTION_PIPELINE,
    OPTION_CHECKPOINT_INTERVAL,
    OPTION_BATCH_CALLS_MAX,
    OPTION_BATCH_SIZE_SOFT_MAX,
    OPTION_VOTING_RULE,
    OPTION_KEY,
    OPTION_YES,
    OPTION_DRY_RUN
};

static const struct option options[] = {
    {"text", required_argument, NULL, OPTION_TEXT},
    {"evidence", required_argument, NULL, OPTION_EVIDENCE},
    {"add-member", required_argument, NULL, OPTION_ADD_MEMBER},
    {"remove-member", required_argument, NULL, OPTION_REMOVE_MEMBER},
    {"rotate-member", required_argument, NULL, OPTION_ROTATE_MEMBER},
    {"add-user", required_argument, NULL, OPTION_ADD_USER},
    {"remove-user", required_argument, NULL, OPTION_REMOVE_USER},
    {"rotate-user", required_argument, NULL, OPTION_ROTATE_USER},
    {"add-replica", required_argument, NULL, OPTION_ADD_REPLICA},
    {"remove-replica", required_argument, NULL, OPTION_REMOVE_REPLICA},
    {"replace-replica", required_argument, NULL, OPTION_REPLACE_REPLICA},
    {"pipeline", required_argument, NULL, OPTION_PIPELINE},
    {"checkpoint-interval", required_argument, NULL, OPTION_CHECKPOINT_INTERVAL},
    {"batch-calls-max", required_argument, NULL, OPTION_BATCH_CALLS_MAX},
    {"batch-size-soft-max", required_argument, NULL, OPTION_BATCH_SIZE_SOFT_MAX},
    {"voting-rule", required_argument, NULL, OPTION_VOTING_RULE},
    {"key", required_argument, NULL, OPTION_KEY},
    {"yes", no_argument, NULL, OPTION_YES},
    {"dry-run", no_argument, NULL, OPTION_DRY_RUN},
    GLOBAL_OPTIONS};

/* An option that says what to propose. They wait until the context is known. */
struct wish {
    int option;
    const char *text;
};

#define WISHES_MAX (2u * ACTIONS_MAX)

struct wishes {
    uint32_t count;
    struct wish list[WISHES_MAX];
    const char *path; /* of a YAML file; NULL: none */
};

/* ---- from the options to the draft ----------------------------------------------------------- */

/* REPLICA=FILE */
static int replace_replica(struct draft *draft, const char *text, struct problem *problem) {
    char replica[2 * PUBLIC_KEY_SIZE + 1];
    const char *const equals = strchr(text, '=');
    size_t const size = equals == NULL ? sizeof replica : (size_t)(equals - text);
    if (size >= sizeof replica) {
        return problem_set(problem, EXIT_USAGE,
                           "--replace-replica takes REPLICA=FILE, with its number or key");
    }
    memcpy(replica, text, size);
    replica[size] = '\0';
    return draft_replace_replica(draft, replica, equals + 1, problem);
}

static int set_parameter(struct draft *draft, int option, const char *text,
                         struct problem *problem) {
    enum draft_parameter const which =
        option == OPTION_PIPELINE              ? DRAFT_PIPELINE
        : option == OPTION_CHECKPOINT_INTERVAL ? DRAFT_CHECKPOINT_INTERVAL
        : option == OPTION_BATCH_CALLS_MAX     ? DRAFT_BATCH_CALLS_MAX
                                               : DRAFT_BATCH_SIZE_SOFT_MAX;
    uint64_t value;
    if (!command_number(text, 1, UINT32_MAX, &value)) {
        return problem_set(problem, EXIT_USAGE, "%.80s: a parameter is a whole number", text);
    }
    return draft_parameter(draft, which, value, problem);
}

static int follow_wish(struct draft *draft, const struct wish *wish, struct problem *problem) {
    const char *const text = wish->text;
    switch (wish->option) {
    case OPTION_TEXT:
        return draft_text(draft, text, problem);
    case OPTION_EVIDENCE:
        return draft_attach(draft, text, problem);
    case OPTION_ADD_MEMBER:
        return draft_holder(draft, ACTION_ADD_MEMBER, text, problem);
    case OPTION_REMOVE_MEMBER:
        return draft_without(draft, ACTION_REMOVE_MEMBER, text, problem);
    case OPTION_ROTATE_MEMBER:
        return draft_holder(draft, ACTION_ROTATE_MEMBER, text, problem);
    case OPTION_ADD_USER:
        return draft_holder(draft, ACTION_ADD_USER, text, problem);
    case OPTION_REMOVE_USER:
        return draft_without(draft, ACTION_REMOVE_USER, text, problem);
    case OPTION_ROTATE_USER:
        return draft_holder(draft, ACTION_ROTATE_USER, text, problem);
    case OPTION_ADD_REPLICA:
        return draft_add_replica(draft, text, problem);
    case OPTION_REMOVE_REPLICA:
        return draft_remove_replica(draft, text, problem);
    case OPTION_REPLACE_REPLICA:
        return replace_replica(draft, text, problem);
    case OPTION_VOTING_RULE:
        return draft_voting_rule(draft, text, problem);
    default:
        return set_parameter(draft, wish->option, text, problem);
    }
}

/* Make the proposal and its preview. */
static int make(struct gov *gov, const struct wishes *wishes) {
    struct problem *const problem = &gov->problem;
    struct draft *const draft = calloc(1, sizeof *draft);
    if (draft == NULL) {
        return problem_set(problem, EXIT_ERROR, "out of memory");
    }
    draft_init(draft, &gov->now);
    int status = wishes->path == NULL ? 0 : draft_load(draft, wishes->path, problem);
    for (uint32_t i = 0; status == 0 && i < wishes->count; i++) {
        status = follow_wish(draft, &wishes->list[i], problem);
    }
    if (status == 0) {
        status = draft_finish(draft, &gov->proposal, problem);
    }
    draft_free(draft);
    free(draft);
    return status == 0
               ? preview_make(&gov->preview, &gov->now, buffer_span(&gov->proposal), problem)
               : -1;
}

/* ---- submitting ------------------------------------------------------------------------------ */

static int print_result(struct gov *gov) {
    char id[2 * DIGEST_SIZE + 1];
    ballot_digest_write(id, &gov->preview.proposal.id);
    if (gov->globals->json) {
        json_t *const json =
            json_pack("{s:s,s:o}", "proposal", id, "preview", preview_json(&gov->preview));
        if (json == NULL || !gov_json_transaction(gov, json)) {
            json_decref(json);
            return problem_set(&gov->problem, EXIT_ERROR, "out of memory");
        }
        return view_print_json(json) ? 0 : -1;
    }
    (void)printf("proposal %s\n", id);
    gov_print_transaction(gov);
    (void)putchar('\n');
    command_say(gov->globals, "onus: it is open; a member votes with: onus gov vote %s yes", id);
    return 0;
}

/* Out: code: of the command, unless there is a problem. */
static int propose(struct gov *gov, const struct wishes *wishes, int *code) {
    if (gov_open(gov) != 0 || gov_check_member(gov) != 0 || make(gov, wishes) != 0) {
        return -1;
    }
    if (!gov->globals->json) {
        preview_print(gov->dry_run ? stdout : stderr, &gov->preview);
    } else if (gov->dry_run && !view_print_json(preview_json(&gov->preview))) {
        *code = EXIT_ERROR;
    }
    if (preview_check(&gov->preview, &gov->problem) != 0) {
        return -1;
    }
    if (gov->dry_run) {
        return 0;
    }
    struct span const argument = buffer_span(&gov->proposal);
    if (gov_confirm(gov, "Sign and submit this proposal?") != 0 ||
        gov_call(gov, "gov.propose", 1, &argument) != 0) {
        return -1;
    }
    return print_result(gov);
}

static int take_options(const struct command *command, struct globals *globals, int argc,
                        char **argv, struct gov *gov, struct wishes *wishes) {
    for (;;) {
        int const option = command_option(command, globals, argc, argv, options);
        if (COMMAND_ENDS(option)) {
            return option;
        }
        switch (option) {
        case -1:
            return 0;
        case OPTION_KEY:
            gov->client.key_path = optarg;
            break;
        case OPTION_YES:
            gov->assumed = true;
            break;
        case OPTION_DRY_RUN:
            gov->dry_run = true;
            break;
        default:
            if (wishes->count == WISHES_MAX) {
                (void)command_misused(command, "at most %u things at once", WISHES_MAX);
                return '?';
            }
            wishes->list[wishes->count++] = (struct wish){.option = option, .text = optarg};
            break;
        }
    }
}

int command_gov_propose(const struct command *command, struct globals *globals, int argc,
                        char **argv) {
    struct wishes wishes = {.count = 0};
    int code = EXIT_OK;
    struct gov *const gov = gov_new(globals);
    if (gov == NULL) {
        return EXIT_ERROR;
    }
    int const option = take_options(command, globals, argc, argv, gov, &wishes);
    if (option != 0) {
        return gov_end(gov, COMMAND_CODE(option));
    }
    wishes.path = optind < argc ? argv[optind] : NULL;
    if (optind + 1 < argc || (wishes.path == NULL && wishes.count == 0)) {
        return gov_end(gov, command_misused(command, "give one file, or say what to propose"));
    }
    if (propose(gov, &wishes, &code) != 0 && gov->problem.code == EXIT_OK) {
        code = EXIT_ERROR;
    }
    return gov_end(gov, code);
}
