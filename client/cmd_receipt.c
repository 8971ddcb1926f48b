/*
 * onus receipt: get, list, show, verify. Verifying needs a genesis and nothing else: no network, no
 * store, no keys.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "client/command.h"
#include "client/view.h"
#include "host/file.h"

#define RECEIPT_ARENA_SIZE (4u << 20)

enum { OPTION_RECEIPT = OPTION_FIRST_OWN, OPTION_SERVICE, OPTION_GENESIS };

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
    struct buffer file;
    int const size = get->has_position || position == 0
                         ? snprintf(path, sizeof path, "%s", get->path)
                         : snprintf(path, sizeof path, "%s.%u", get->path, position);
    if (size < 0 || (size_t)size >= sizeof path) {
        return problem_set(&get->problem, EXIT_ERROR, "%s: the path is too long", get->path);
    }
    buffer_init(&file, RECEIPT_FILE_SIZE_MAX);
    int const status = receipt_file_encode(&file, receipt)
                           ? file_write(path, buffer_span(&file), 0644, FILE_REPLACE, &get->problem)
                           : problem_set(&get->problem, EXIT_ERROR, "out of memory");
    buffer_free(&file);
    return status;
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

/* The receipt within a file. The buffer is the caller's to free. */
static int read_receipt(struct buffer *file, struct span *receipt, const char *path,
                        struct problem *problem) {
    buffer_init(file, RECEIPT_FILE_SIZE_MAX);
    if (file_read(file, path, FILE_PUBLIC, problem) != 0) {
        return -1;
    }
    if (!receipt_file_decode(receipt, buffer_span(file))) {
        return problem_set(problem, EXIT_INVALID, "%s: not a receipt file", path);
    }
    return 0;
}

int command_receipt_show(const struct command *command, struct globals *globals, int argc,
                         char **argv) {
    /* What is shown of a receipt but its id does not depend on the service. */
    static const struct digest unknown;
    struct problem problem = {.code = EXIT_OK};
    struct context context;
    struct buffer file;
    struct span receipt;
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
    if (read_receipt(&file, &receipt, argv[optind], &problem) == 0 &&
        !print_receipt(globals, known ? &context.founding.genesis.service : &unknown, receipt)) {
        (void)problem_set(&problem, EXIT_INVALID, "%s: the receipt is damaged", argv[optind]);
    }
    buffer_free(&file);
    context_free(&context);
    return problem.code == EXIT_OK ? EXIT_OK : command_fail(&problem);
}

/* ---- verify ---------------------------------------------------------------------------------- */

static const struct option verify_options[] = {{"service", required_argument, NULL, OPTION_SERVICE},
                                               {"genesis", required_argument, NULL, OPTION_GENESIS},
                                               GLOBAL_OPTIONS};

struct verify {
    const struct globals *globals;
    const struct configuration *configuration;
    struct receipt_memory memory;
    struct arena arena;
    uint64_t valid_count;
    uint64_t invalid_count;
    bool one_by_one; /* print each; else count, and print only what is wrong */
};

static void print_signers(const struct verify *verify, uint64_t signers) {
    const struct configuration *const configuration = verify->configuration;
    (void)fputs("signed ", stdout);
    for (uint32_t r = 0; r < configuration->replica_count; r++) {
        if ((signers >> r & 1) != 0) {
            (void)printf(" %s", configuration_member_of(configuration, r));
        }
    }
    (void)printf(" (%d of %u, quorum %u)", __builtin_popcountll(signers),
                 configuration->replica_count, configuration->quorum);
}

static void print_valid(const struct verify *verify, const struct verified_receipt *receipt) {
    const struct verified_batch *const batch = &verify->memory.batch;
    char id[2 * DIGEST_SIZE + 1];
    hex_encode(id, span_of(receipt->request.id.bytes, DIGEST_SIZE));
    (void)printf("VALID   tx %.6s…", id);
    if (receipt->request.call_count > 1) {
        (void)printf(".%u", receipt->receipt.position);
    }
    (void)printf("  index %llu  ", (unsigned long long)receipt->receipt.index);
    view_print_bytes(stdout, receipt->call.procedure);
    view_print_items(stdout, receipt->call.arguments, receipt->call.argument_count);
    (void)printf(" → %s", view_status(receipt->outcome.status));
    view_print_items(stdout, receipt->outcome.reply, receipt->outcome.reply_count);
    (void)putchar('\n');
    print_signers(verify, batch->signers);
    (void)printf("  view %llu  batch %llu  configuration %llu\n",
                 (unsigned long long)batch->pre_prepare.view,
                 (unsigned long long)batch->pre_prepare.seq,
                 (unsigned long long)batch->pre_prepare.config);
    (void)puts("checked signature, outcome, Merkle path, commitments, governance chain");
}

static void print_valid_json(const char *path, const struct verified_receipt *receipt) {
    char txid[TXID_TEXT_SIZE];
    txid_format(txid, &receipt->request.id, receipt->receipt.position, receipt->request.call_count);
    (void)view_print_json(json_pack("{s:s,s:b,s:s,s:o,s:o}", "file", path, "valid", 1, "tx", txid,
                                    "index", view_json_u64(receipt->receipt.index), "outcome",
                                    view_json_outcome(&receipt->outcome)));
}

static void print_invalid(const struct verify *verify, const char *path, enum receipt_check check) {
    const char *const why = receipt_check_text(check);
    if (verify->globals->json) {
        (void)view_print_json(json_pack("{s:s,s:b,s:s}", "file", path, "valid", 0, "check", why));
    } else {
        (void)printf("INVALID %s: %s\n", path, why);
    }
}

static void verify_one(struct verify *verify, const char *path, struct span receipt) {
    struct verified_receipt verified;
    arena_reset(&verify->arena);
    enum receipt_check const check =
        receipt_verify(&verified, &verify->memory, &verify->arena, verify->configuration, receipt);
    if (check != RECEIPT_VALID) {
        verify->invalid_count++;
        print_invalid(verify, path, check);
        return;
    }
    verify->valid_count++;
    if (verify->one_by_one && verify->globals->json) {
        print_valid_json(path, &verified);
    } else if (verify->one_by_one) {
        print_valid(verify, &verified);
    }
}

static int verify_file(struct verify *verify, const char *path, struct problem *problem) {
    struct buffer file;
    struct span receipt;
    struct problem why = {.code = EXIT_OK};
    if (read_receipt(&file, &receipt, path, &why) == 0) {
        verify_one(verify, path, receipt);
    } else if (why.code == EXIT_INVALID) {
        verify->invalid_count++;
        print_invalid(verify, path, RECEIPT_ENCODING);
    }
    buffer_free(&file);
    return why.code == EXIT_OK || why.code == EXIT_INVALID
               ? 0
               : problem_set(problem, why.code, "%s", why.text);
}

struct verify_stored {
    struct verify *verify;
    const char *path;
};

static int verify_stored(void *context, const struct digest *request_id, uint32_t position,
                         struct span receipt) {
    const struct verify_stored *const stored = context;
    (void)request_id;
    (void)position;
    verify_one(stored->verify, stored->path, receipt);
    return 0;
}

static int verify_store(struct verify *verify, const char *path, struct problem *problem) {
    struct receipt_store *const store =
        receipt_store_open(path, &verify->configuration->service, RECEIPT_STORE_READ, problem);
    if (store == NULL) {
        return -1;
    }
    struct verify_stored stored = {.verify = verify, .path = path};
    uint64_t const before = verify->valid_count;
    verify->one_by_one = false;
    int const status = receipt_store_visit(store, verify_stored, &stored, problem);
    verify->one_by_one = true;
    receipt_store_close(store);
    if (status == 0 && !verify->globals->json) {
        (void)printf("VALID   %llu receipts in %s\n",
                     (unsigned long long)(verify->valid_count - before), path);
    }
    return status;
}

static int verify_all(struct verify *verify, const struct founding *founding, int count,
                      char **paths, struct problem *problem) {
    int status = 0;
    verify->configuration = &founding->configuration;
    verify->one_by_one = true;
    arena_init(&verify->arena, RECEIPT_ARENA_SIZE);
    for (int i = 0; i < count && status == 0; i++) {
        status = receipt_store_exists(paths[i]) ? verify_store(verify, paths[i], problem)
                                                : verify_file(verify, paths[i], problem);
    }
    arena_free(&verify->arena);
    return status;
}

static int check_service(const struct founding *founding, const char *text,
                         struct problem *problem) {
    struct digest service;
    if (text == NULL) {
        return 0;
    }
    if (!hex_decode(service.bytes, DIGEST_SIZE, text)) {
        return problem_set(problem, EXIT_USAGE, "--service takes 64 hexadecimal digits");
    }
    if (!digest_equal(&service, &founding->genesis.service)) {
        return problem_set(problem, EXIT_INVALID,
                           "the genesis is that of another service than --service names; "
                           "nothing was verified");
    }
    return 0;
}

int command_receipt_verify(const struct command *command, struct globals *globals, int argc,
                           char **argv) {
    struct problem problem = {.code = EXIT_OK};
    struct verify verify = {.globals = globals};
    struct context context;
    const char *service = NULL;
    const char *genesis = NULL;
    for (;;) {
        int const option = command_option(command, globals, argc, argv, verify_options);
        if (COMMAND_ENDS(option)) {
            return COMMAND_CODE(option);
        }
        if (option == -1) {
            break;
        }
        *(option == OPTION_SERVICE ? &service : &genesis) = optarg;
    }
    if (optind >= argc) {
        return command_misused(command, "give one file or more");
    }
    memset(&context, 0, sizeof context);
    int status = genesis != NULL ? founding_load(&context.founding, genesis, &problem)
                                 : context_load(&context, globals->context, &problem);
    if (status == 0) {
        status = check_service(&context.founding, service, &problem);
    }
    if (status == 0) {
        status = verify_all(&verify, &context.founding, argc - optind, argv + optind, &problem);
    }
    context_free(&context);
    if (status != 0) {
        return command_fail(&problem);
    }
    if (verify.invalid_count != 0) {
        unsigned long long const invalid = verify.invalid_count;
        (void)fprintf(stderr, "onus: %llu of %llu receipts do not hold\n", invalid,
                      invalid + verify.valid_count);
        return EXIT_INVALID;
    }
    return EXIT_OK;
}
