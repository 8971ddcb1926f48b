/*
 * onus receipt verify: needs a genesis and nothing else: no network, no store, no keys. A receipt
 * of a later configuration needs the governance chain that leads there, too: it takes it along in
 * its file, or the context knows it, or --chain names it. Every link is verified from genesis.
 */
#include <stdio.h>
#include <stdlib.h>

#include "client/command.h"
#include "client/receipt_save.h"
#include "client/view.h"
#include "host/context_chain.h"
#include "host/file.h"
#include "host/receipt_judge.h"

#define RECEIPT_ARENA_SIZE (4u << 20)

enum { OPTION_SERVICE = OPTION_FIRST_OWN, OPTION_GENESIS, OPTION_CHAIN };

static const struct option verify_options[] = {{"service", required_argument, NULL, OPTION_SERVICE},
                                               {"genesis", required_argument, NULL, OPTION_GENESIS},
                                               {"chain", required_argument, NULL, OPTION_CHAIN},
                                               GLOBAL_OPTIONS};

struct verify {
    const struct globals *globals;
    const struct digest *service;
    struct receipt_judge judge;
    struct arena arena;
    uint64_t valid_count;
    uint64_t invalid_count;
    uint64_t unknown_count; /* of configurations that the chain does not reach */
    bool one_by_one;        /* print each; else count, and print only what is wrong */
};

static void print_signers(const struct verify *verify, uint64_t signers) {
    const struct configuration *const configuration = &verify->judge.configuration;
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
    const struct verified_batch *const batch = &verify->judge.memory.batch;
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

static void print_invalid(const struct verify *verify, const char *path, const char *why) {
    if (verify->globals->json) {
        (void)view_print_json(json_pack("{s:s,s:b,s:s}", "file", path, "valid", 0, "check", why));
    } else {
        (void)printf("INVALID %s: %s\n", path, why);
    }
}

/* It is not known by which keys to judge: that says nothing about the receipt. */
static void print_unknown(const struct verify *verify, const char *path, uint64_t config) {
    char why[192];
    (void)snprintf(
        why, sizeof why,
        "it is of configuration %llu, and the governance chain that is at hand ends with "
        "%llu; give one that goes further with --chain, or let onus status fetch it",
        (unsigned long long)config, (unsigned long long)chain_newest(verify->judge.chain)->number);
    if (verify->globals->json) {
        (void)view_print_json(json_pack("{s:s,s:n,s:s}", "file", path, "valid", "check", why));
    } else {
        (void)printf("UNKNOWN %s: %s\n", path, why);
    }
}

static void verify_one(struct verify *verify, const char *path, struct span receipt) {
    struct verified_receipt verified;
    uint64_t config = 0;
    arena_reset(&verify->arena);
    enum receipt_check const check =
        receipt_judge_verify(&verify->judge, &verified, &config, &verify->arena, receipt);
    if (check == RECEIPT_CONFIGURATION) {
        verify->unknown_count++;
        print_unknown(verify, path, config);
    } else if (check != RECEIPT_VALID) {
        verify->invalid_count++;
        print_invalid(verify, path, receipt_check_text(check));
    } else {
        verify->valid_count++;
        if (verify->one_by_one && verify->globals->json) {
            print_valid_json(path, &verified);
        } else if (verify->one_by_one) {
            print_valid(verify, &verified);
        }
    }
}

static void verify_linked(struct verify *verify, const char *path, struct span receipt,
                          struct span links) {
    enum chain_check const check = receipt_judge_take_links(&verify->judge, links);
    if (check == CHAIN_VALID) {
        verify_one(verify, path, receipt);
        return;
    }
    char why[192];
    (void)snprintf(why, sizeof why, "a link of the governance chain that it takes along: %s",
                   chain_check_text(check));
    verify->invalid_count++;
    print_invalid(verify, path, why);
}

static int verify_file(struct verify *verify, const char *path, struct problem *problem) {
    struct buffer file;
    struct span receipt;
    struct span links;
    struct problem why = {.code = EXIT_OK};
    if (receipt_open(&file, &receipt, &links, path, &why) == 0) {
        verify_linked(verify, path, receipt, links);
    } else if (why.code == EXIT_INVALID) {
        verify->invalid_count++;
        print_invalid(verify, path, receipt_check_text(RECEIPT_ENCODING));
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
        receipt_store_open(path, verify->service, RECEIPT_STORE_READ, problem);
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

static int verify_all(struct verify *verify, struct chain *chain, int count, char **paths,
                      struct problem *problem) {
    int status = 0;
    receipt_judge_init(&verify->judge, chain);
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

/* The chain to begin with: of a file, of the context, or of genesis alone. NULL with a problem. */
static struct chain *open_chain(const struct context *context, bool has_context, const char *path,
                                struct problem *problem) {
    const struct genesis *const genesis = &context->founding.genesis;
    struct chain *chain = NULL;
    struct buffer file;
    if (path == NULL) {
        return has_context ? context_chain_load(context, problem)
                           : chain_new(&genesis->service, genesis->bytes, problem);
    }
    buffer_init(&file, CHAIN_SIZE_MAX);
    if (file_read(&file, path, FILE_PUBLIC, problem) == 0) {
        struct problem why = {.code = EXIT_OK};
        chain = chain_read(&genesis->service, buffer_span(&file), &why);
        if (chain == NULL) {
            (void)problem_set(problem, why.code, "%s: %s", path, why.text);
        }
    }
    buffer_free(&file);
    return chain;
}

struct verify_options {
    const char *service;
    const char *genesis;
    const char *chain;
};

/* Returns: 0 or -1. What was found is in verify. */
static int verify_with(struct verify *verify, const struct verify_options *options, int count,
                       char **paths, struct problem *problem) {
    struct context context;
    struct chain *chain = NULL;
    memset(&context, 0, sizeof context);
    int status = options->genesis != NULL
                     ? founding_load(&context.founding, options->genesis, problem)
                     : context_load(&context, verify->globals->context, problem);
    if (status == 0) {
        status = check_service(&context.founding, options->service, problem);
    }
    if (status == 0) {
        chain = open_chain(&context, options->genesis == NULL, options->chain, problem);
        verify->service = &context.founding.genesis.service;
        status = chain == NULL ? -1 : verify_all(verify, chain, count, paths, problem);
    }
    chain_free(chain);
    context_free(&context);
    return status;
}

static int verify_code(const struct verify *verify) {
    unsigned long long const invalid = verify->invalid_count;
    unsigned long long const unknown = verify->unknown_count;
    unsigned long long const all = invalid + unknown + verify->valid_count;
    if (invalid != 0) {
        (void)fprintf(stderr, "onus: %llu of %llu receipts do not hold\n", invalid, all);
        return EXIT_INVALID;
    }
    if (unknown != 0) {
        (void)fprintf(stderr, "onus: %llu of %llu receipts were not verified\n", unknown, all);
        return EXIT_ERROR;
    }
    return EXIT_OK;
}

int command_receipt_verify(const struct command *command, struct globals *globals, int argc,
                           char **argv) {
    struct problem problem = {.code = EXIT_OK};
    struct verify verify = {.globals = globals};
    struct verify_options options = {.service = NULL};
    for (;;) {
        int const option = command_option(command, globals, argc, argv, verify_options);
        if (COMMAND_ENDS(option)) {
            return COMMAND_CODE(option);
        }
        if (option == -1) {
            break;
        }
        *(option == OPTION_SERVICE   ? &options.service
          : option == OPTION_GENESIS ? &options.genesis
                                     : &options.chain) = optarg;
    }
    if (optind >= argc) {
        return command_misused(command, "give one file or more");
    }
    return verify_with(&verify, &options, argc - optind, argv + optind, &problem) == 0
               ? verify_code(&verify)
               : command_fail(&problem);
}
