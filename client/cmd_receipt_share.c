/*
 * onus receipt export, import: receipts from one client to another, so that they meet. Who holds
 * two receipts that contradict each other holds what convicts.
 *
 * A file takes along the governance chain of its context, so that whoever gets it can judge
 * receipts of every configuration in it.
 *
 * Nothing is taken on trust: each receipt in a file is verified as if it had just arrived from the
 * service, and what does not hold is refused by name, while the rest is kept.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/command.h"
#include "client/receipt_save.h"
#include "client/view.h"
#include "host/context_chain.h"
#include "host/file.h"
#include "host/receipts_file.h"

#define IMPORT_COMMIT_MAX 256u /* requests in one commit */
#define IMPORT_COMMIT_SIZE_MAX ((size_t)8 << 20)
#define IMPORT_BUFFER_SIZE_MAX                                                                     \
    (IMPORT_COMMIT_SIZE_MAX + RECEIPT_BUNDLE_SIZE_MAX + COMMIT_CERTIFICATE_SIZE_MAX)
#define EXPORT_ARENA_SIZE (24u << 20)

static const struct option plain_options[] = {GLOBAL_OPTIONS};

/* Open the store of a context. Returns: NULL with a problem. */
static struct receipt_store *open_store(const struct context *context, enum receipt_store_mode mode,
                                        struct problem *problem) {
    char path[PATH_MAX];
    context_receipts_path(context, path);
    if (mode == RECEIPT_STORE_READ && !receipt_store_exists(path)) {
        (void)problem_set(problem, EXIT_ERROR, "%s: there are no receipts", path);
        return NULL;
    }
    return receipt_store_open(path, &context->founding.genesis.service, mode, problem);
}

/* ---- export ---------------------------------------------------------------------------------- */

struct export {
    const struct context *context;
    const struct digest *service;
    uint64_t newest; /* configuration that the context's chain leads to */
    struct receipts_writer writer;
    struct arena arena;
    uint32_t wanted_count; /* 0: all */
    struct digest *wanted;
    bool *found;
    uint64_t receipts;
    struct problem problem;
};

/* Is it one of those that are asked for? Out: calls: how many receipts it has. */
static bool is_wanted(struct export *export, struct span stored, uint32_t *calls) {
    struct receipt_bundle bundle;
    struct request request;
    arena_reset(&export->arena);
    if (!receipt_bundle_decode(&bundle, &export->arena, stored) ||
        request_decode(&request, &export->arena, export->service, bundle.request) != CODEC_OK) {
        (void)problem_set(&export->problem, EXIT_CORRUPT,
                          "a stored receipt is damaged; restore the receipts from a backup");
        return false;
    }
    *calls = request.call_count;
    bool wanted = export->wanted_count == 0;
    for (uint32_t i = 0; i < export->wanted_count; i++) {
        bool const same = digest_equal(&export->wanted[i], &request.id);
        export->found[i] |= same;
        wanted |= same;
    }
    return wanted;
}

static int export_one(void *context, struct span bundle, struct span certificate) {
    struct export *const export = context;
    uint32_t calls = 0;
    if (is_wanted(export, bundle, &calls)) {
        export->receipts += calls;
        if (!receipts_write(&export->writer, bundle, certificate)) {
            return problem_set(&export->problem, EXIT_ERROR, "writing: %s", strerror(errno));
        }
    }
    return export->problem.code == EXIT_OK ? 0 : -1;
}

static bool export_link(void *user, struct span link) {
    struct export *const export = user;
    return receipts_write_link(&export->writer, link);
}

static int export_all(struct export *export, struct receipt_store *store, FILE *out) {
    if (!receipts_write_begin(&export->writer, out, export->service)) {
        return problem_set(&export->problem, EXIT_ERROR, "writing: %s", strerror(errno));
    }
    if (context_each_link(export->context, export->newest, export_link, export, &export->problem) !=
        0) {
        return -1;
    }
    if (receipt_store_visit_stored(store, export_one, export, &export->problem) != 0) {
        return -1;
    }
    for (uint32_t i = 0; i < export->wanted_count; i++) {
        if (!export->found[i]) {
            char id[2 * DIGEST_SIZE + 1];
            hex_encode(id, span_of(export->wanted[i].bytes, DIGEST_SIZE));
            return problem_set(&export->problem, EXIT_ERROR,
                               "%s: no receipt is held; get it with onus receipt get", id);
        }
    }
    return receipts_write_end(&export->writer) && fflush(out) == 0 && fsync(fileno(out)) == 0
               ? 0
               : problem_set(&export->problem, EXIT_ERROR, "writing: %s", strerror(errno));
}

/* The file appears whole or not at all. */
static int export_to(struct export *export, struct receipt_store *store, const char *path) {
    char fresh[PATH_MAX];
    int const size = snprintf(fresh, sizeof fresh, "%s.new", path);
    FILE *const out = size > 0 && size < (int)sizeof fresh ? fopen(fresh, "wbe") : NULL;
    if (out == NULL) {
        return problem_set(&export->problem, EXIT_ERROR, "%s: %s", path, strerror(errno));
    }
    int status = export_all(export, store, out);
    if (fclose(out) != 0 && status == 0) {
        status = problem_set(&export->problem, EXIT_ERROR, "%s: %s", path, strerror(errno));
    }
    if (status == 0 && rename(fresh, path) != 0) {
        status = problem_set(&export->problem, EXIT_ERROR, "%s: %s", path, strerror(errno));
    }
    if (status != 0) {
        (void)unlink(fresh);
        return -1;
    }
    return file_sync_directory_of(path, &export->problem);
}

/* The ids on the command line. Returns: false when one is none, or memory is short. */
static bool take_wanted(struct export *export, int count, char **ids) {
    export->wanted_count = (uint32_t)count;
    export->wanted = calloc((size_t)count + 1, sizeof *export->wanted);
    export->found = calloc((size_t)count + 1, sizeof *export->found);
    for (int i = 0; i < count; i++) {
        uint32_t position;
        bool has_position;
        if (export->wanted == NULL || export->found == NULL ||
            !txid_parse(&export->wanted[i], &position, &has_position, ids[i])) {
            return false;
        }
    }
    return true;
}

static void say_exported(const struct globals *globals, const struct export *export,
                         const char *path) {
    if (globals->json) {
        (void)view_print_json(json_pack("{s:s,s:o,s:o}", "file", path, "requests",
                                        view_json_u64(export->writer.count), "receipts",
                                        view_json_u64(export->receipts)));
        return;
    }
    (void)printf("exported %" PRIu64 " receipts of %" PRIu64 " requests to %s\n", export->receipts,
                 export->writer.count, path);
}

static int export_from_context(const struct globals *globals, struct export *export,
                               const char *path) {
    struct context context;
    struct receipt_store *store = NULL;
    struct chain *chain = NULL;
    int status = context_load(&context, globals->context, &export->problem);
    if (status == 0) {
        chain = context_chain_load(&context, &export->problem);
        status = chain == NULL ? -1 : 0;
    }
    if (status == 0) {
        export->context = &context;
        export->service = &context.founding.genesis.service;
        export->newest = chain_newest(chain)->number;
        store = open_store(&context, RECEIPT_STORE_READ, &export->problem);
        status = store == NULL ? -1 : export_to(export, store, path);
    }
    receipt_store_close(store);
    chain_free(chain);
    context_free(&context);
    return status;
}

int command_receipt_export(const struct command *command, struct globals *globals, int argc,
                           char **argv) {
    struct export export = {.receipts = 0};
    int const option = command_option(command, globals, argc, argv, plain_options);
    if (COMMAND_ENDS(option)) {
        return COMMAND_CODE(option);
    }
    if (optind >= argc) {
        return command_misused(command, "give a file to write");
    }
    const char *const path = argv[optind];
    if (!take_wanted(&export, argc - optind - 1, argv + optind + 1)) {
        free(export.wanted);
        free(export.found);
        return command_misused(command, "a transaction id is 64 hexadecimal digits");
    }
    arena_init(&export.arena, EXPORT_ARENA_SIZE);
    int const status = export_from_context(globals, &export, path);
    arena_free(&export.arena);
    free(export.wanted);
    free(export.found);
    if (status != 0) {
        return command_fail(&export.problem);
    }
    say_exported(globals, &export, path);
    return EXIT_OK;
}

/* ---- import ---------------------------------------------------------------------------------- */

struct import {
    const struct globals *globals;
    const struct context *context;
    struct chain *chain;
    const char *path; /* of the file that is read */
    struct receipt_store *store;
    struct bundle_verifier verifier;
    struct arena arena; /* for what is held already */

    /* what the next commit takes: changes point into bytes once all is there */
    uint32_t count;
    struct receipt_change changes[IMPORT_COMMIT_MAX];
    struct digest ids[IMPORT_COMMIT_MAX];
    struct digest certificates[IMPORT_COMMIT_MAX];
    size_t bundle_sizes[IMPORT_COMMIT_MAX];
    size_t certificate_sizes[IMPORT_COMMIT_MAX];
    struct buffer bytes;

    uint64_t requests; /* imported */
    uint64_t receipts; /* of them */
    uint64_t held;     /* requests that were there already */
    uint64_t refused;
    uint64_t contradicting;
    struct problem problem;
};

static int import_commit(struct import *import) {
    const uint8_t *at = import->bytes.data;
    for (uint32_t i = 0; i < import->count; i++) {
        struct receipt_change *const change = &import->changes[i];
        change->bytes = span_of(at, import->bundle_sizes[i]);
        change->certificate = span_of(at + import->bundle_sizes[i], import->certificate_sizes[i]);
        change->request_id = &import->ids[i];
        change->certificate_digest = &import->certificates[i];
        at += import->bundle_sizes[i] + import->certificate_sizes[i];
    }
    int const status = import->count == 0 ? 0
                                          : receipt_store_commit(import->store, import->changes,
                                                                 import->count, &import->problem);
    import->count = 0;
    buffer_clear(&import->bytes);
    return status;
}

/* What a receipt that is held says must be what the new one says. */
static int compare_held(void *context, const struct digest *request_id, uint32_t position,
                        struct span encoded) {
    struct import *const import = context;
    const struct request_result *const result = &import->verifier.bundle.result;
    struct receipt receipt;
    (void)request_id;
    arena_reset(&import->arena);
    bool const same = receipt_decode(&receipt, &import->arena, encoded) == CODEC_OK &&
                      position < result->outcome_count &&
                      receipt.index == result->first_index + position &&
                      span_equal(receipt.outcome, result->outcomes[position]);
    return same ? 0 : 2;
}

static void tell(const struct import *import, const char *word, const char *file, const char *why) {
    char id[2 * DIGEST_SIZE + 1];
    hex_encode(id, span_of(import->verifier.request.id.bytes, DIGEST_SIZE));
    if (import->globals->json) {
        (void)view_print_json(
            json_pack("{s:s,s:s,s:s,s:s}", "result", word, "file", file, "tx", id, "why", why));
    } else {
        (void)printf("%s %s: tx %s: %s\n", word, file, id, why);
    }
}

static int import_keep(struct import *import, struct span bundle, struct span certificate) {
    const struct bundle_verifier *const verifier = &import->verifier;
    uint32_t const nth = import->count;
    if (!buffer_append(&import->bytes, bundle) || !buffer_append(&import->bytes, certificate)) {
        return problem_set(&import->problem, EXIT_ERROR, "out of memory for receipts");
    }
    import->ids[nth] = verifier->request.id;
    import->certificates[nth] = verifier->certificate;
    import->bundle_sizes[nth] = bundle.size;
    import->certificate_sizes[nth] = certificate.size;
    import->changes[nth] = (struct receipt_change){
        .kind = RECEIPT_CHANGE_IMPORT,
        .last_index = verifier->bundle.result.first_index + verifier->request.call_count - 1,
    };
    import->count++;
    import->requests++;
    import->receipts += verifier->request.call_count;
    return import->count == IMPORT_COMMIT_MAX || import->bytes.size > IMPORT_COMMIT_SIZE_MAX
               ? import_commit(import)
               : 0;
}

/* A file may name a request twice: the second must be held against the first. */
static int settle_same(struct import *import) {
    for (uint32_t i = 0; i < import->count; i++) {
        if (digest_equal(&import->ids[i], &import->verifier.request.id)) {
            return import_commit(import);
        }
    }
    return 0;
}

static int import_one(struct import *import, const char *file, struct span bundle,
                      struct span certificate) {
    enum receipt_check const check = bundle_verify(&import->verifier, bundle, certificate);
    if (check != RECEIPT_VALID) {
        import->refused++;
        if (check == RECEIPT_ENCODING) {
            import->verifier.request.id = (struct digest){{ 0 }};
        }
        tell(import, "REFUSED", file, receipt_check_text(check));
        return 0;
    }
    if (settle_same(import) != 0) {
        return -1;
    }
    struct receipt_range const all = {.first = 0, .count = UINT32_MAX};
    int const found = receipt_store_find(import->store, &import->verifier.request.id, all,
                                         compare_held, import, &import->problem);
    if (found == 1) {
        return import_keep(import, bundle, certificate);
    }
    import->held += found == 0;
    if (found == 2) {
        import->contradicting++;
        tell(import, "CONTRADICTS", file, "another outcome or index than the receipt that is held");
    }
    return found < 0 ? -1 : 0;
}

/* A link of the file's chain: it serves to judge what follows, and the context keeps it. */
static void import_link(void *user, struct span link) {
    struct import *const import = user;
    struct chain_verdict const verdict = chain_add(import->chain, link);
    struct problem problem = {.code = EXIT_OK};
    if (verdict.check == CHAIN_VALID) {
        if (context_chain_append(import->context, &link, 1, &problem) != 0) {
            command_say(import->globals, "onus: %s", problem.text);
        }
    } else if (verdict.check != CHAIN_KNOWN) {
        command_say(import->globals, "onus: %s: a link of the governance chain in it: %s",
                    import->path, chain_check_text(verdict.check));
    }
}

static int import_file(struct import *import, const char *path) {
    struct receipts_reader reader;
    struct span bundle;
    struct span certificate;
    FILE *const in = fopen(path, "rbe");
    if (in == NULL) {
        return problem_set(&import->problem, EXIT_ERROR, "%s: %s", path, strerror(errno));
    }
    import->path = path;
    int status = receipts_read_begin(&reader, in, path, &import->context->founding.genesis.service,
                                     &import->problem);
    reader.link = import_link;
    reader.link_context = import;
    while (status == 0) {
        int const more = receipts_read(&reader, &bundle, &certificate, &import->problem);
        if (more <= 0) {
            status = more;
            break;
        }
        status = import_one(import, path, bundle, certificate);
    }
    receipts_read_free(&reader);
    (void)fclose(in);
    /* What came before a damaged place was verified all the same. */
    return import_commit(import) == 0 ? status : -1;
}

static void say_imported(const struct import *import) {
    if (import->globals->json) {
        (void)view_print_json(json_pack(
            "{s:o,s:o,s:o,s:o,s:o}", "requests", view_json_u64(import->requests), "receipts",
            view_json_u64(import->receipts), "held_already", view_json_u64(import->held), "refused",
            view_json_u64(import->refused), "contradicting", view_json_u64(import->contradicting)));
        return;
    }
    (void)printf("imported %" PRIu64 " receipts of %" PRIu64 " requests; %" PRIu64
                 " requests were held already, %" PRIu64 " refused\n",
                 import->receipts, import->requests, import->held, import->refused);
}

static int import_all(struct import *import, int count, char **paths) {
    int status = 0;
    for (int i = 0; i < count && status == 0; i++) {
        status = import_file(import, paths[i]);
    }
    return status;
}

static int import_code(const struct import *import, int status) {
    if (import->contradicting != 0) {
        (void)fprintf(stderr,
                      "onus: %" PRIu64 " valid receipts contradict those held, and were not taken; "
                      "audit both with a ledger: onus-audit run … --receipts\n",
                      import->contradicting);
    }
    if (status != 0) {
        return command_fail(&import->problem);
    }
    return import->refused != 0 ? EXIT_INVALID : import->contradicting != 0 ? EXIT_ERROR : EXIT_OK;
}

int command_receipt_import(const struct command *command, struct globals *globals, int argc,
                           char **argv) {
    struct context context;
    int const option = command_option(command, globals, argc, argv, plain_options);
    if (COMMAND_ENDS(option)) {
        return COMMAND_CODE(option);
    }
    if (optind >= argc) {
        return command_misused(command, "give one file or more");
    }
    struct import *const import = calloc(1, sizeof *import);
    if (import == NULL) {
        return command_misused(command, "out of memory");
    }
    import->globals = globals;
    int status = context_load(&context, globals->context, &import->problem);
    if (status == 0) {
        import->context = &context;
        import->chain = context_chain_load(&context, &import->problem);
        import->store = import->chain == NULL
                            ? NULL
                            : open_store(&context, RECEIPT_STORE_WRITE, &import->problem);
        bundle_verifier_init(&import->verifier, &context.founding.configuration);
        bundle_verifier_follow(&import->verifier, import->chain);
        arena_init(&import->arena, EXPORT_ARENA_SIZE);
        buffer_init(&import->bytes, IMPORT_BUFFER_SIZE_MAX);
        status = import->store == NULL ? -1 : import_all(import, argc - optind, argv + optind);
        if (import->store != NULL) {
            say_imported(import);
        }
        bundle_verifier_free(&import->verifier);
        arena_free(&import->arena);
        buffer_free(&import->bytes);
    }
    receipt_store_close(import->store);
    chain_free(import->chain);
    context_free(&context);
    int const code = import_code(import, status);
    free(import);
    return code;
}
