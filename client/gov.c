/*
 * gov: see gov.h.
 */
#include "client/gov.h"

#include <stdlib.h>
#include <unistd.h>

#include "client/constitution_source.h"

#define PLAIN_ANSWER_SIZE 16

struct gov *gov_new(const struct globals *globals) {
    struct gov *const gov = calloc(1, sizeof *gov);
    if (gov == NULL) {
        (void)fprintf(stderr, "onus: out of memory\n");
        return NULL;
    }
    gov->globals = globals;
    answer_init(&gov->answer);
    buffer_init(&gov->proposal, PROPOSAL_SIZE_MAX);
    arena_init(&gov->preview.arena, PREVIEW_ARENA_SIZE);
    return gov;
}

int gov_end(struct gov *gov, int code) {
    /* Nothing is open unless a context was loaded. */
    if (gov->client.globals != NULL) {
        (void)client_close(&gov->client, &gov->problem);
    }
    answer_free(&gov->answer);
    buffer_free(&gov->proposal);
    preview_free(&gov->preview);
    int const end = gov->problem.code == EXIT_OK ? code : command_fail(&gov->problem);
    free(gov);
    return end;
}

int gov_load(struct gov *gov) {
    gov->client.globals = gov->globals;
    return context_load(&gov->client.context, gov->globals->context, &gov->problem) == 0
               ? constitution_newest(&gov->now, &gov->client.context, &gov->problem)
               : -1;
}

/* Ask the service what is in force. Who only looks may do so without it, and is told. */
static int catch_up(struct gov *gov) {
    struct problem problem = {.code = EXIT_OK};
    if (transact_begin(&gov->client, &problem) == 0) {
        gov->connected = true;
        return 0;
    }
    if (!gov->dry_run || problem.code != EXIT_UNREACHABLE) {
        gov->problem = problem;
        return -1;
    }
    command_say(gov->globals,
                "onus: the service cannot be reached; what is shown holds if nothing has changed "
                "since this context last heard of it");
    return 0;
}

int gov_open(struct gov *gov) {
    return client_open(&gov->client, gov->globals, false, &gov->problem) == 0 && catch_up(gov) == 0
               ? constitution_newest(&gov->now, &gov->client.context, &gov->problem)
               : -1;
}

int gov_check_member(struct gov *gov) {
    uint32_t position = 0;
    return constitution_find_member_key(&gov->now, &gov->client.context.key, &position)
               ? 0
               : problem_set(&gov->problem, EXIT_REJECTED,
                             "only members govern, and the key of this context is not a member's; "
                             "--key FILE gives another");
}

int gov_call(struct gov *gov, const char *procedure, uint32_t argument_count,
             const struct span *arguments) {
    struct onus_call const call = {.procedure = span_text(procedure),
                                   .argument_count = argument_count,
                                   .arguments = arguments};
    if (!gov->connected && transact_begin(&gov->client, &gov->problem) != 0) {
        return -1;
    }
    gov->connected = true;
    return transact(&gov->client, &call, &gov->answer, &gov->problem) == 0
               ? answer_check(&gov->answer, procedure, &gov->problem)
               : -1;
}

int gov_fetch(struct gov *gov, const char *id, struct ballot_line *line) {
    struct span const argument = span_text(id);
    struct digest wanted;
    const struct outcome *const outcome = &gov->answer.outcome;
    if (!ballot_digest_read(&wanted, argument)) {
        return problem_set(&gov->problem, EXIT_USAGE,
                           "%.80s: is not the id of a proposal, 64 hexadecimal digits; "
                           "onus gov list shows them",
                           id);
    }
    if (gov_call(gov, "gov.proposal", 1, &argument) != 0) {
        return -1;
    }
    if (outcome->reply_count != 2 || !ballot_line_read(line, outcome->reply[1])) {
        return problem_set(&gov->problem, EXIT_ERROR,
                           "the answer to gov.proposal cannot be read; the service runs a newer "
                           "version");
    }
    if (!buffer_append(&gov->proposal, outcome->reply[0])) {
        return problem_set(&gov->problem, EXIT_ERROR, "out of memory");
    }
    if (preview_make(&gov->preview, &gov->now, buffer_span(&gov->proposal), &gov->problem) != 0) {
        return -1;
    }
    /* A vote for an id is one for every word: these have to be the words. */
    return digest_equal(&gov->preview.proposal.id, &wanted) && digest_equal(&line->id, &wanted)
               ? 0
               : problem_set(&gov->problem, EXIT_INVALID,
                             "the service answers with another proposal than that of this id");
}

int gov_confirm(struct gov *gov, const char *question) {
    char line[PLAIN_ANSWER_SIZE] = "";
    if (gov->assumed) {
        return 0;
    }
    if (isatty(STDIN_FILENO) == 0) {
        return problem_set(
            &gov->problem, EXIT_USAGE,
            "nobody can be asked here: --dry-run shows what would be done, and --yes "
            "does it");
    }
    (void)fprintf(stderr, "%s [y/N] ", question);
    (void)fflush(stderr);
    bool const agreed = fgets(line, sizeof line, stdin) != NULL &&
                        (strcmp(line, "y\n") == 0 || strcmp(line, "yes\n") == 0);
    return agreed ? 0 : problem_set(&gov->problem, EXIT_ERROR, "nothing was signed");
}

void gov_print_transaction(const struct gov *gov) {
    char txid[TXID_TEXT_SIZE];
    txid_format(txid, &gov->answer.id, 0, 1);
    (void)printf("tx %s  index %llu", txid, (unsigned long long)gov->answer.index);
}

bool gov_json_transaction(const struct gov *gov, json_t *json) {
    char txid[TXID_TEXT_SIZE];
    txid_format(txid, &gov->answer.id, 0, 1);
    return json_object_set_new(json, "tx", json_string(txid)) == 0 &&
           json_object_set_new(json, "index", view_json_u64(gov->answer.index)) == 0;
}
