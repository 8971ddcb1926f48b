/*
 * onus submit: one signed request, its outcomes and receipts. With --atomic, a file of calls that
 * take effect together or not at all.
 *
 * What a procedure refuses is an outcome like any other, with a receipt; the exit code says so.
 */
#include <stdio.h>
#include <stdlib.h>

#include "client/call_reader.h"
#include "client/receipt_save.h"
#include "client/transact.h"
#include "client/view.h"
#include "host/file.h"

enum { OPTION_RECEIPT = OPTION_FIRST_OWN, OPTION_NO_WAIT, OPTION_ATOMIC };

static const struct option options[] = {{"receipt", required_argument, NULL, OPTION_RECEIPT},
                                        {"no-wait", no_argument, NULL, OPTION_NO_WAIT},
                                        {"atomic", required_argument, NULL, OPTION_ATOMIC},
                                        GLOBAL_OPTIONS};

struct submit {
    const struct globals *globals;
    struct client client;
    const char *receipt_path; /* NULL: none is wanted */
    bool wait;
    struct digest id;
    bool answered;
    bool explained;
    int code;
    struct problem problem;
};

/* ---- the answer ------------------------------------------------------------------------------ */

static void print_outcome(const struct submit *submit, const struct onus_result *result,
                          uint32_t position, const struct outcome *outcome) {
    char txid[TXID_TEXT_SIZE];
    txid_format(txid, &result->id, position, result->outcome_count);
    uint64_t const index = result->first_index + position;
    if (submit->globals->json) {
        (void)view_print_json(json_pack("{s:s,s:o,s:o}", "tx", txid, "index", view_json_u64(index),
                                        "outcome", view_json_outcome(outcome)));
        return;
    }
    (void)printf("tx %s  index %llu  %s", txid, (unsigned long long)index,
                 view_status(outcome->status));
    view_print_items(stdout, outcome->reply, outcome->reply_count);
    (void)putchar('\n');
}

/* Why it is not what was hoped for: the first call that failed by itself. */
static void explain_outcome(struct submit *submit, const struct outcome *outcome) {
    const char *what = NULL;
    switch (outcome->status) {
    case OUTCOME_OK:
        return;
    case OUTCOME_ABORTED:
        submit->code = EXIT_REJECTED;
        return;
    case OUTCOME_REFUSED:
        what = "refused by the procedure";
        break;
    case OUTCOME_INVALID:
        what = "not a valid call";
        break;
    }
    submit->code = EXIT_REJECTED;
    if (!submit->explained) {
        submit->explained = true;
        (void)fprintf(stderr, "onus: %s:", what);
        view_print_items(stderr, outcome->reply, outcome->reply_count);
        (void)fprintf(stderr, "; this is on the ledger and has a receipt\n");
    }
}

static int write_receipt(void *context, const struct digest *request_id, uint32_t position,
                         struct span receipt) {
    struct submit *const submit = context;
    char path[PATH_MAX];
    (void)request_id;
    int const size = position == 0
                         ? snprintf(path, sizeof path, "%s", submit->receipt_path)
                         : snprintf(path, sizeof path, "%s.%u", submit->receipt_path, position);
    if (size < 0 || (size_t)size >= sizeof path) {
        return problem_set(&submit->problem, EXIT_ERROR, "%s: the path is too long",
                           submit->receipt_path);
    }
    return receipt_save(&submit->client.context, path, receipt, &submit->problem);
}

static void take_executed(struct submit *submit, const struct onus_result *result) {
    struct arena arena;
    arena_init(&arena, 1u << 20);
    for (uint32_t i = 0; i < result->outcome_count; i++) {
        struct outcome outcome;
        arena_reset(&arena);
        if (outcome_decode(&outcome, &arena, result->outcomes[i]) != CODEC_OK) {
            (void)problem_set(&submit->problem, EXIT_ERROR,
                              "an outcome cannot be read; the service runs a newer version");
            break;
        }
        print_outcome(submit, result, i, &outcome);
        explain_outcome(submit, &outcome);
    }
    arena_free(&arena);
    if (submit->receipt_path != NULL &&
        receipt_bundle_visit(&submit->client.context.founding.genesis.service, result->receipts,
                             (struct receipt_range){0, UINT32_MAX}, write_receipt, submit,
                             &submit->problem) != 0) {
        submit->code = EXIT_ERROR; /* the problem says why */
    }
}

static void on_done(void *user, const struct onus_result *result) {
    struct submit *const submit = user;
    submit->answered = true;
    switch (result->status) {
    case ONUS_EXECUTED:
        take_executed(submit, result);
        return;
    case ONUS_REJECTED:
        (void)problem_set(&submit->problem, EXIT_REJECTED, "rejected: %s",
                          transact_rejection_text(result->reason));
        return;
    case ONUS_FAILED: {
        const struct problem *const failure = onus_failure(submit->client.onus);
        (void)problem_set(&submit->problem, EXIT_ERROR, "not sent, since it cannot be kept: %s",
                          failure->code != EXIT_OK ? failure->text : "out of memory");
        return;
    }
    }
}

/* ---- the request ----------------------------------------------------------------------------- */

static bool is_answered(void *context) {
    const struct submit *const submit = context;
    return submit->answered;
}

static bool is_sent(void *context) {
    const struct submit *const submit = context;
    return submit->answered || onus_all_sent(submit->client.onus);
}

static int send_and_wait(struct submit *submit, const struct onus_submission *submission) {
    struct client *const client = &submit->client;
    uint32_t earlier = 0;
    if (onus_connect(client->onus, client->timeout_ms, &submit->problem) != 0 ||
        onus_resume(client->onus, &earlier, NULL, NULL, &submit->problem) != 0) {
        return -1;
    }
    if (earlier != 0) {
        command_say(submit->globals, "onus: %u earlier request%s without receipt sent again",
                    earlier, earlier == 1 ? "" : "s");
    }
    int const status = onus_submit(client->onus, &submit->id, submission, &submit->problem);
    if (status != 0) {
        return status < 0 ? -1
                          : problem_set(&submit->problem, EXIT_UNREACHABLE,
                                        "too many earlier requests have no receipt yet; "
                                        "run onus load /dev/null to wait for them");
    }
    char id[2 * DIGEST_SIZE + 1];
    hex_encode(id, span_of(submit->id.bytes, DIGEST_SIZE));
    if (onus_run_until(client->onus, submit->wait ? is_answered : is_sent, submit,
                       client->timeout_ms)) {
        if (!submit->wait && !submit->answered) {
            (void)printf(submit->globals->json ? "{\"tx\":\"%s\"}\n" : "tx %s\n", id);
        }
        return 0;
    }
    return problem_set(&submit->problem, EXIT_UNREACHABLE,
                       "no receipt within %u s; the request is written down: "
                       "onus receipt get %s asks again",
                       client->timeout_ms / 1000, id);
}

static int submit_calls(struct submit *submit, const struct call_list *list,
                        enum request_mode mode) {
    struct onus_submission const submission = {
        .calls = list->calls,
        .call_count = list->count,
        .mode = mode,
        .done = on_done,
        .user = submit,
    };
    if (client_open(&submit->client, submit->globals, false, &submit->problem) == 0) {
        submit->code = send_and_wait(submit, &submission) == 0 ? submit->code : EXIT_ERROR;
    }
    (void)client_close(&submit->client, &submit->problem);
    return submit->problem.code == EXIT_OK ? submit->code : command_fail(&submit->problem);
}

static int submit_file(struct submit *submit, const struct command *command, const char *path) {
    struct call_list list;
    struct call_reader reader;
    call_list_init(&list);
    int code = EXIT_OK;
    if (call_reader_open(&reader, path, &submit->problem) != 0) {
        return command_fail(&submit->problem);
    }
    int status = 1;
    while (status == 1 && list.count < CALLS_MAX) {
        status = call_reader_next(&reader, &list, &submit->problem);
    }
    if (status == 1 && !call_reader_at_end(&reader)) {
        status = problem_set(&submit->problem, EXIT_USAGE,
                             "%s: more than %u calls; one request holds no more", path, CALLS_MAX);
    }
    if (status < 0) {
        code = command_fail(&submit->problem);
    } else if (list.count == 0) {
        code = command_misused(command, "%s holds no calls", path);
    } else {
        call_list_finish(&list);
        code = submit_calls(submit, &list, REQUEST_ATOMIC);
    }
    call_reader_close(&reader);
    call_list_free(&list);
    return code;
}

/*
 * An argument such as -5 is a number, not an option. getopt is shown a text that does not begin
 * with '-', and the sign is put back afterwards.
 */
#define HIDDEN_SIGN '\x01'

static void hide_signs(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] == '-' && argv[i][1] >= '0' && argv[i][1] <= '9') {
            argv[i][0] = HIDDEN_SIGN;
        }
    }
}

static int submit_arguments(struct submit *submit, const struct command *command, int argc,
                            char **argv) {
    struct span words[ARGUMENTS_MAX + 1];
    if (argc < 1) {
        return command_misused(command, "name a procedure");
    }
    if ((uint32_t)argc > ARGUMENTS_MAX + 1) {
        return command_misused(command, "a call has at most %u arguments", ARGUMENTS_MAX);
    }
    for (int i = 0; i < argc; i++) {
        if (argv[i][0] == HIDDEN_SIGN) {
            argv[i][0] = '-';
        }
        words[i] = span_text(argv[i]);
    }
    struct onus_call call = {
        .procedure = words[0], .argument_count = (uint32_t)argc - 1, .arguments = words + 1};
    struct call_list const list = {.calls = &call, .count = 1};
    return submit_calls(submit, &list, REQUEST_INDEPENDENT);
}

int command_submit(const struct command *command, struct globals *globals, int argc, char **argv) {
    struct submit submit = {.globals = globals, .wait = true};
    const char *atomic_path = NULL;
    hide_signs(argc, argv);
    for (;;) {
        int const option = command_option(command, globals, argc, argv, options);
        if (COMMAND_ENDS(option)) {
            return COMMAND_CODE(option);
        }
        if (option == -1) {
            break;
        }
        switch (option) {
        case OPTION_RECEIPT:
            submit.receipt_path = optarg;
            break;
        case OPTION_NO_WAIT:
            submit.wait = false;
            break;
        default:
            atomic_path = optarg;
            break;
        }
    }
    if (!submit.wait && submit.receipt_path != NULL) {
        return command_misused(command, "--no-wait leaves no receipt to write");
    }
    if (atomic_path == NULL) {
        return submit_arguments(&submit, command, argc - optind, argv + optind);
    }
    if (optind != argc) {
        return command_misused(command, "with --atomic the calls come from the file alone");
    }
    return submit_file(&submit, command, atomic_path);
}
