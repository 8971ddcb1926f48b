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
#include "host/receipts_file.h"

#define RECEIPT_ARENA_SIZE (4u << 20)

enum { OPTION_SERVICE = OPTION_FIRST_OWN, OPTION_GENESIS, OPTION_CHAIN };

static const struct option verify_options[] = {{"service", required_argument, NULL, OPTION_SERVICE},
                                               {"genesis", required_argument, NULL, OPTION_GENESIS},
                                               {"chain", required_argument, NULL, OPTION_CHAIN},
                                               GLOBAL_OPTIONS};

struct verify {
    const struct globals *globals;
    struct context context; /* or the genesis alone */
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
    struct receipt_store *const store = receipt_store_open(
        path, &verify->context.founding.genesis.service, RECEIPT_STORE_READ, problem);
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

/* ---- exported files ---- */

struct verify_exported {
    struct verify *verify;
    const char *path;
};

/* Links come before what they are for. One that does not hold leads nowhere: what needs it is told.
 */
static void take_link(void *context, struct span link) {
    const struct verify_exported *const exported = context;
    struct chain_verdict const verdict = chain_add(exported->verify->judge.chain, link);
    if (verdict.check != CHAIN_VALID && verdict.check != CHAIN_KNOWN) {
        command_say(exported->verify->globals, "onus: %s: a link of the governance chain in it: %s",
                    exported->path, chain_check_text(verdict.check));
    }
}

static void count_bundle(struct verify *verify, const char *path,
                         const struct bundle_verifier *verifier, enum receipt_check check,
                         uint64_t config) {
    if (check == RECEIPT_VALID) {
        verify->valid_count += verifier->request.call_count;
    } else if (check == RECEIPT_CONFIGURATION) {
        verify->unknown_count++;
        print_unknown(verify, path, config);
    } else {
        verify->invalid_count++;
        print_invalid(verify, path, receipt_check_text(check));
    }
}

static int verify_bundles(struct verify *verify, FILE *in, const char *path,
                          struct bundle_verifier *verifier, struct problem *problem) {
    struct receipts_reader reader;
    struct verify_exported exported = {.verify = verify, .path = path};
    struct span bundle;
    struct span certificate;
    int more =
        receipts_read_begin(&reader, in, path, &verify->context.founding.genesis.service, problem);
    reader.link = take_link;
    reader.link_context = &exported;
    while (more == 0 && (more = receipts_read(&reader, &bundle, &certificate, problem)) == 1) {
        uint64_t config = 0;
        enum receipt_check const check = bundle_verify(verifier, bundle, certificate);
        arena_reset(&verify->arena);
        (void)!certificate_config(&config, &verify->arena, certificate);
        count_bundle(verify, path, verifier, check, config);
        more = 0;
    }
    receipts_read_free(&reader);
    return more;
}

/* What onus receipt export wrote. A damaged file is an invalid one, like a damaged receipt. */
static int verify_exported(struct verify *verify, const char *path, struct problem *problem) {
    uint64_t const before = verify->valid_count;
    struct problem why = {.code = EXIT_OK};
    FILE *const in = fopen(path, "rbe");
    struct bundle_verifier *const verifier = calloc(1, sizeof *verifier);
    if (in == NULL || verifier == NULL) {
        free(verifier);
        if (in != NULL) {
            (void)fclose(in);
        }
        return problem_set(problem, EXIT_ERROR, "%s: it cannot be read", path);
    }
    bundle_verifier_init(verifier, &verify->context.founding.configuration);
    bundle_verifier_follow(verifier, verify->judge.chain);
    int const status = verify_bundles(verify, in, path, verifier, &why);
    bundle_verifier_free(verifier);
    free(verifier);
    (void)fclose(in);
    if (status != 0 && why.code == EXIT_INVALID) {
        verify->invalid_count++;
        print_invalid(verify, path, why.text);
    } else if (status != 0) {
        return problem_set(problem, why.code, "%s", why.text);
    }
    if (!verify->globals->json) {
        (void)printf("VALID   %llu receipts in %s\n",
                     (unsigned long long)(verify->valid_count - before), path);
    }
    return 0;
}

static bool is_exported(const char *path) {
    char magic[sizeof RECEIPTS_FILE_MAGIC - 1];
    FILE *const in = fopen(path, "rbe");
    bool const is = in != NULL && fread(magic, sizeof magic, 1, in) == 1 &&
                    memcmp(magic, RECEIPTS_FILE_MAGIC, sizeof magic) == 0;
    if (in != NULL) {
        (void)fclose(in);
    }
    return is;
}

static int verify_path(struct verify *verify, const char *path, struct problem *problem) {
    if (receipt_store_exists(path)) {
        return verify_store(verify, path, problem);
    }
    return is_exported(path) ? verify_exported(verify, path, problem)
                             : verify_file(verify, path, problem);
}

static int verify_all(struct verify *verify, struct chain *chain, int count, char **paths,
                      struct problem *problem) {
    int status = 0;
    receipt_judge_init(&verify->judge, chain);
    verify->one_by_one = true;
    arena_init(&verify->arena, RECEIPT_ARENA_SIZE);
    for (int i = 0; i < count && status == 0; i++) {
        status = verify_path(verify, paths[i], problem);
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
    struct context *const context = &verify->context;
    struct chain *chain = NULL;
    int status = options->genesis != NULL
                     ? founding_load(&context->founding, options->genesis, problem)
                     : context_load(context, verify->globals->context, problem);
    if (status == 0) {
        status = check_service(&context->founding, options->service, problem);
    }
    if (status == 0) {
        chain = open_chain(context, options->genesis == NULL, options->chain, problem);
        status = chain == NULL ? -1 : verify_all(verify, chain, count, paths, problem);
    }
    chain_free(chain);
    context_free(context);
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
