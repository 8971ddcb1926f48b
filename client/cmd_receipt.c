/*
 * onus receipt: get, list, show. What they take from a file or the store is shown as it is; whether
 * it holds is the business of cmd_receipt_verify.c.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "client/command.h"
#include "client/receipt_save.h"
#include "client/view.h"
#include "host/file.h"

#define RECEIPT_ARENA_SIZE (4u << 20)

enum { OPTION_RECEIPT = OPTION_FIRST_OWN };

static const struct option plain_options[] = {GLOBAL_OPTIONS};

/* Print one receipt, in full. Returns: false when it does not decode. */
static bool print_receipt(const struct globals *globals, const struct digest *service,
                          struct span receipt) {
    struct arena arena;
    struct receipt_view view;
    arena_init(&arena, RECEIPT_ARENA_SIZE);
    bool good = receipt_view_open(&view, &arena, service, receipt);
    if (good && globals->json) {
        good = view_print_json(receipt_view_json(&view));
    } else if (good) {
        receipt_view_print(stdout, &view);
    }
    arena_free(&arena);
    return good;
}

/* ---- get ------------------------------------------------------------------------------------- */

static const struct option get_options[] = {{"receipt", required_argument, NULL, OPTION_RECEIPT},
                                            GLOBAL_OPTIONS};

struct get {
    const struct globals *globals;
    struct client client;
    struct digest id;
    uint32_t position;
    bool has_position;
    const char *path; /* NULL: print */
    bool awaited;     /* its request is in flight again */
    bool rejected;
    struct problem problem;
};

static int take_receipt(void *context, const struct digest *request_id, uint32_t position,
                        struct span receipt) {
    struct get *const get = context;
    (void)request_id;
    if (get->path == NULL) {
        return print_receipt(get->globals, &get->client.context.founding.genesis.service, receipt)
                   ? 0
                   : problem_set(&get->problem, EXIT_CORRUPT, "a stored receipt cannot be read");
    }
    char path[PATH_MAX];
    int const size = get->has_position || position == 0
                         ? snprintf(path, sizeof path, "%s", get->path)
                         : snprintf(path, sizeof path, "%s.%u", get->path, position);
    if (size < 0 || (size_t)size >= sizeof path) {
        return problem_set(&get->problem, EXIT_ERROR, "%s: the path is too long", get->path);
    }
    return receipt_save(&get->client.context, path, receipt, &get->problem);
}

static int find_receipt(struct get *get) {
    struct receipt_range const range = {.first = get->position,
                                        .count = get->has_position ? 1 : UINT32_MAX};
    return receipt_store_find(onus_store(get->client.onus), &get->id, range, take_receipt, get,
                              &get->problem);
}

static void on_resumed(void *user, const struct onus_result *result) {
    struct get *const get = user;
    if (digest_equal(&result->id, &get->id)) {
        get->awaited = false;
        get->rejected = result->status == ONUS_REJECTED;
    }
}

static bool is_settled(void *context) {
    const struct get *const get = context;
    return !get->awaited;
}

static int note_pending(void *context, uint64_t number, struct span bytes) {
    struct get *const get = context;
    struct arena arena;
    struct request request;
    (void)number;
    arena_init(&arena, 4u * REQUEST_SIZE_MAX);
    bool const same =
        request_decode(&request, &arena, &get->client.context.founding.genesis.service, bytes) ==
            CODEC_OK &&
        digest_equal(&request.id, &get->id);
    arena_free(&arena);
    return same ? 1 : 0;
}

/* Without a receipt so far: if the request is still pending, ask for it again and wait. */
static int fetch_receipt(struct get *get) {
    uint32_t count;
    struct client *const client = &get->client;
    int const found =
        receipt_store_visit_pending(onus_store(client->onus), note_pending, get, &get->problem);
    if (found <= 0) {
        return found < 0 ? -1
                         : problem_set(&get->problem, EXIT_ERROR,
                                       "%s keeps neither a receipt nor a pending request with "
                                       "this id",
                                       client->context.directory);
    }
    get->awaited = true;
    if (onus_connect(client->onus, client->timeout_ms, &get->problem) != 0 ||
        onus_resume(client->onus, &count, on_resumed, get, &get->problem) != 0) {
        return -1;
    }
    if (!onus_run_until(client->onus, is_settled, get, client->timeout_ms)) {
        return problem_set(&get->problem, EXIT_UNREACHABLE,
                           "no receipt within %u s; try again, or see onus status",
                           client->timeout_ms / 1000);
    }
    if (get->rejected) {
        return problem_set(&get->problem, EXIT_REJECTED,
                           "rejected: this request will never execute from now on");
    }
    onus_flush(client->onus);
    int const status = find_receipt(get);
    return status == 1 ? problem_set(&get->problem, EXIT_ERROR, "the receipt could not be kept")
                       : status;
}

int command_receipt_get(const struct command *command, struct globals *globals, int argc,
                        char **argv) {
    struct get get = {.globals = globals};
    for (;;) {
        int const option = command_option(command, globals, argc, argv, get_options);
        if (COMMAND_ENDS(option)) {
            return COMMAND_CODE(option);
        }
        if (option == -1) {
            break;
        }
        get.path = optarg;
    }
    if (optind + 1 != argc ||
        !txid_parse(&get.id, &get.position, &get.has_position, argv[optind])) {
        return command_misused(command, "give one transaction id: 64 hexadecimal digits, and .N "
                                        "for one call of several");
    }
    int status = client_open(&get.client, globals, false, &get.problem);
    if (status == 0) {
        status = find_receipt(&get);
        status = status == 1 ? fetch_receipt(&get) : status;
    }
    if (client_close(&get.client, &get.problem) != 0) {
        status = -1;
    }
    return status == 0 ? EXIT_OK : command_fail(&get.problem);
}

/* ---- list ------------------------------------------------------------------------------------ */

struct list {
    const struct globals *globals;
    struct context context;
    struct arena arena;
    struct problem problem;
};

static int list_one(void *context, const struct digest *request_id, uint32_t position,
                    struct span receipt) {
    struct list *const list = context;
    struct receipt_view view;
    char txid[TXID_TEXT_SIZE];
    arena_reset(&list->arena);
    if (!receipt_view_open(&view, &list->arena, &list->context.founding.genesis.service, receipt)) {
        return problem_set(&list->problem, EXIT_CORRUPT, "a stored receipt cannot be read");
    }
    txid_format(txid, request_id, position, view.request.call_count);
    if (list->globals->json) {
        return view_print_json(receipt_view_json(&view)) ? 0 : 1;
    }
    (void)printf("%s  index %llu  ", txid, (unsigned long long)view.receipt.index);
    receipt_view_print_call(stdout, &view);
    return putchar('\n') == EOF ? 1 : 0;
}

static int list_pending(void *context, uint64_t number, struct span bytes) {
    struct list *const list = context;
    struct request request;
    char txid[2 * DIGEST_SIZE + 1];
    (void)number;
    arena_reset(&list->arena);
    if (request_decode(&request, &list->arena, &list->context.founding.genesis.service, bytes) !=
        CODEC_OK) {
        return problem_set(&list->problem, EXIT_CORRUPT, "a pending request cannot be read");
    }
    hex_encode(txid, span_of(request.id.bytes, DIGEST_SIZE));
    if (list->globals->json) {
        (void)printf("{\"tx\":\"%s\",\"pending\":true,\"calls\":%u}\n", txid, request.call_count);
    } else {
        (void)printf("%s  pending  %u call%s\n", txid, request.call_count,
                     request.call_count == 1 ? "" : "s");
    }
    return 0;
}

static int list_all(struct list *list) {
    char path[PATH_MAX];
    context_receipts_path(&list->context, path);
    if (!receipt_store_exists(path)) {
        return 0; /* nothing was ever submitted from here */
    }
    struct receipt_store *const store = receipt_store_open(
        path, &list->context.founding.genesis.service, RECEIPT_STORE_READ, &list->problem);
    if (store == NULL) {
        return -1;
    }
    arena_init(&list->arena, 4u * REQUEST_SIZE_MAX);
    int status = receipt_store_visit(store, list_one, list, &list->problem);
    if (status == 0) {
        status = receipt_store_visit_pending(store, list_pending, list, &list->problem);
    }
    arena_free(&list->arena);
    receipt_store_close(store);
    return status < 0 ? -1 : 0; /* 1: the reader of our output is gone; command_finish says so */
}

int command_receipt_list(const struct command *command, struct globals *globals, int argc,
                         char **argv) {
    struct list list = {.globals = globals};
    int const option = command_option(command, globals, argc, argv, plain_options);
    if (COMMAND_ENDS(option)) {
        return COMMAND_CODE(option);
    }
    if (optind != argc) {
        return command_misused(command, "it takes no arguments");
    }
    int status = context_load(&list.context, globals->context, &list.problem);
    if (status == 0) {
        status = list_all(&list);
    }
    context_free(&list.context);
    return status == 0 ? EXIT_OK : command_fail(&list.problem);
}

/* ---- show ------------------------------------------------------------------------------------ */

int command_receipt_show(const struct command *command, struct globals *globals, int argc,
                         char **argv) {
    /* What is shown of a receipt but its id does not depend on the service. */
    static const struct digest unknown;
    struct problem problem = {.code = EXIT_OK};
    struct context context;
    struct buffer file;
    struct span receipt;
    struct span links;
    int const option = command_option(command, globals, argc, argv, plain_options);
    if (COMMAND_ENDS(option)) {
        return COMMAND_CODE(option);
    }
    if (optind + 1 != argc) {
        return command_misused(command, "give one file");
    }
    struct problem no_context = {.code = EXIT_OK};
    bool const known = context_load(&context, globals->context, &no_context) == 0;
    if (!known) {
        command_say(globals, "onus: without a context the id shown is not that of the transaction");
    }
    if (receipt_open(&file, &receipt, &links, argv[optind], &problem) == 0 &&
        !print_receipt(globals, known ? &context.founding.genesis.service : &unknown, receipt)) {
        (void)problem_set(&problem, EXIT_INVALID, "%s: the receipt is damaged", argv[optind]);
    }
    buffer_free(&file);
    context_free(&context);
    return problem.code == EXIT_OK ? EXIT_OK : command_fail(&problem);
}
