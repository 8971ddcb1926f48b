/*
 * onus-forge: shows what a coalition can do with the keys of a sandbox, for the auditor to find.
 *
 *   onus-forge rewrite --sandbox DIR --colluders 0,1 [--helpers 3] --from-batch S --out DIR2
 *              [--drop N] [--reorder] [--add "PROC ARG…"]…
 *
 * It takes the ledger of the first colluder, keeps what lies before batch S, and makes a new
 * history from there: without the first N requests (1 when nothing is asked for), in reverse order,
 * or with requests of the sandbox's own user put first. Requests stay those that clients signed.
 * DIR2/ledgers/MEMBER holds the new ledger of each signer, DIR2/receipts a receipt for each call.
 *
 * Helpers are replicas that took no part: cut off before batch S, they are shown the new history
 * and sign it after the checks that every correct backup makes. So the tool refuses helpers whose
 * own ledger reaches batch S, and too few signers.
 */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "audit-tool/batch_reader.h"
#include "base/check.h"
#include "host/disk.h"
#include "host/file.h"
#include "host/genesis_file.h"
#include "host/key_file.h"
#include "receipts/receipt.h"
#include "tests/forge/forge.h"

#define ADDED_MAX 16u
#define REWRITE_ARENA_SIZE (64u << 20)

struct rewrite {
    const char *sandbox;
    const char *out;
    uint64_t colluders;
    uint64_t helpers;
    uint64_t from_batch;
    uint64_t drop;
    bool reorder;
    uint32_t added_count;
    const char *added[ADDED_MAX];

    struct consortium consortium;
    struct forge forge;
    struct key_pair user;
    /* the original history from from_batch on */
    struct buffer requests;       /* encoded, one after the other */
    struct buffer request_sizes;  /* of size_t */
    struct buffer batch_requests; /* of uint32_t: how many requests of each batch remain */
    struct buffer batch_times;    /* of uint64_t */
};

static int usage(void) {
    (void)fputs(
        "usage: onus-forge rewrite --sandbox DIR --colluders 0,1 [--helpers 3] --from-batch S\n"
        "                          --out DIR [--drop N] [--reorder] [--add \"PROC ARG...\"]...\n",
        stderr);
    return EXIT_USAGE;
}

__attribute__((format(printf, 2, 3))) static void path_make(char path[static PATH_MAX],
                                                            const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int const size = vsnprintf(path, PATH_MAX, format, arguments);
    va_end(arguments);
    CHECK(size > 0 && size < PATH_MAX);
}

static bool parse_replicas(uint64_t *set, const char *text) {
    while (*text != '\0') {
        char *end = NULL;
        unsigned long const replica = strtoul(text, &end, 10);
        if (end == text || replica >= REPLICAS_MAX || (*end != ',' && *end != '\0')) {
            return false;
        }
        *set |= (uint64_t)1 << replica;
        text = *end == ',' ? end + 1 : end;
    }
    return *set != 0;
}

static bool parse_number(uint64_t *number, const char *text) {
    char *end = NULL;
    *number = strtoull(text, &end, 10);
    return end != text && *end == '\0';
}

static bool parse_option(struct rewrite *rewrite, int option) {
    switch (option) {
    case 's':
        rewrite->sandbox = optarg;
        return true;
    case 'c':
        return parse_replicas(&rewrite->colluders, optarg);
    case 'h':
        return parse_replicas(&rewrite->helpers, optarg);
    case 'f':
        return parse_number(&rewrite->from_batch, optarg);
    case 'o':
        rewrite->out = optarg;
        return true;
    case 'd':
        return parse_number(&rewrite->drop, optarg);
    case 'r':
        rewrite->reorder = true;
        return true;
    case 'a':
        if (rewrite->added_count == ADDED_MAX) {
            return false;
        }
        rewrite->added[rewrite->added_count++] = optarg;
        return true;
    default:
        return false;
    }
}

static bool parse(struct rewrite *rewrite, int argc, char **argv) {
    static const struct option options[] = {
        {"sandbox", required_argument, NULL, 's'},
        {"colluders", required_argument, NULL, 'c'},
        {"helpers", required_argument, NULL, 'h'},
        {"from-batch", required_argument, NULL, 'f'},
        {"out", required_argument, NULL, 'o'},
        {"drop", required_argument, NULL, 'd'},
        {"reorder", no_argument, NULL, 'r'},
        {"add", required_argument, NULL, 'a'},
        {NULL, 0, NULL, 0},
    };
    int option = 0;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (!parse_option(rewrite, option)) {
            return false;
        }
    }
    if (rewrite->drop == 0 && !rewrite->reorder && rewrite->added_count == 0) {
        rewrite->drop = 1;
    }
    return optind == argc && rewrite->sandbox != NULL && rewrite->out != NULL &&
           rewrite->colluders != 0 && rewrite->from_batch != 0 &&
           (rewrite->colluders & rewrite->helpers) == 0;
}

/* ---- keys ---- */

static int load_replica(struct rewrite *rewrite, uint32_t replica, struct problem *problem) {
    char path[PATH_MAX];
    struct replica_keys *const keys = &rewrite->consortium.replicas[replica];
    struct prf_secret secret;
    if (replica >= rewrite->consortium.configuration.replica_count) {
        return problem_set(problem, EXIT_USAGE, "there is no replica %u", replica);
    }
    path_make(path, "%s/replica-%u/replica.key", rewrite->sandbox, replica);
    if (key_file_load(&keys->signing.secret, &keys->signing.key, path, problem) != 0) {
        return -1;
    }
    if (!public_key_equal(&keys->signing.key,
                          &rewrite->consortium.configuration.replicas[replica].key)) {
        return problem_set(problem, EXIT_INVALID, "%s: not the key of replica %u in genesis", path,
                           replica);
    }
    path_make(path, "%s/replica-%u/nonce.secret", rewrite->sandbox, replica);
    if (secret_file_load(&secret, path, problem) != 0) {
        return -1;
    }
    memcpy(keys->nonce_secret, secret.bytes, sizeof keys->nonce_secret);
    prf_secret_wipe(&secret);
    keys->held = true;
    return 0;
}

static int load_consortium(struct rewrite *rewrite, struct problem *problem) {
    char path[PATH_MAX];
    struct founding founding;
    path_make(path, "%s/genesis.onus", rewrite->sandbox);
    int status = founding_load(&founding, path, problem);
    if (status == 0) {
        status = consortium_load(&rewrite->consortium, founding.genesis.bytes, problem);
    }
    founding_free(&founding);
    uint64_t const all = rewrite->colluders | rewrite->helpers;
    for (uint32_t replica = 0; status == 0 && replica < REPLICAS_MAX; replica++) {
        if ((all >> replica & 1) != 0) {
            status = load_replica(rewrite, replica, problem);
        }
    }
    if (status == 0 && rewrite->added_count != 0) {
        path_make(path, "%s/context/user.key", rewrite->sandbox);
        status = key_file_load(&rewrite->user.secret, &rewrite->user.key, path, problem);
    }
    return status;
}

/* Q signers with the view's primary: colluders first, then as many helpers as are missing. */
static int choose_signers(struct rewrite *rewrite, struct problem *problem) {
    uint32_t const quorum = rewrite->consortium.configuration.quorum;
    uint64_t signers = 0;
    uint32_t count = 0;
    uint64_t const view = rewrite->forge.view;
    uint32_t const primary = configuration_primary(&rewrite->consortium.configuration, view);
    uint64_t const leader = (uint64_t)1 << primary;
    const uint64_t order[] = {leader, rewrite->colluders & ~leader, rewrite->helpers};
    if ((rewrite->colluders & leader) == 0) {
        return problem_set(problem, EXIT_USAGE,
                           "replica %u leads view %llu and must be among the colluders", primary,
                           (unsigned long long)view);
    }
    for (unsigned i = 0; i < 3; i++) {
        for (uint32_t replica = 0; replica < REPLICAS_MAX && count < quorum; replica++) {
            if ((order[i] >> replica & 1) != 0) {
                signers |= (uint64_t)1 << replica;
                count++;
            }
        }
    }
    if (count < quorum) {
        return problem_set(problem, EXIT_USAGE,
                           "a batch needs %u signers, and %u are here: name helpers that were cut "
                           "off before batch %llu",
                           quorum, count, (unsigned long long)rewrite->from_batch);
    }
    rewrite->forge.signers = signers;
    return 0;
}

/* ---- the original history ---- */

static int open_ledger(struct rewrite *rewrite, uint32_t replica, struct host_disk *disk,
                       struct batch_reader *reader, struct problem *problem) {
    char path[PATH_MAX];
    path_make(path, "%s/replica-%u/data/ledger", rewrite->sandbox, replica);
    if (host_disk_open(disk, path, HOST_DISK_READ, problem) != 0) {
        return -1;
    }
    batch_reader_init(reader, &disk->disk, &rewrite->consortium.configuration.service);
    if (batch_reader_open(reader, buffer_span(&rewrite->consortium.genesis_bytes), problem) != 1) {
        batch_reader_free(reader);
        host_disk_close(disk);
        return problem_set(problem, EXIT_CANNOT_AUDIT, "%s: an empty ledger", path);
    }
    return 0;
}

/* A helper is an honest replica: shown a second batch S, it would refuse. */
static int check_helper(struct rewrite *rewrite, uint32_t replica, struct problem *problem) {
    struct host_disk disk;
    struct batch_reader reader;
    if (open_ledger(rewrite, replica, &disk, &reader, problem) != 0) {
        return -1;
    }
    int status = 1;
    while (status == 1 && (status = batch_reader_next(&reader, problem)) == 1) {
        if (reader.step == BATCH_WHOLE && reader.batch.pre_prepare.seq >= rewrite->from_batch) {
            status = problem_set(problem, EXIT_REJECTED,
                                 "replica %u holds batch %llu: it would not sign another; begin "
                                 "later, or name a helper that was cut off earlier",
                                 replica, (unsigned long long)reader.batch.pre_prepare.seq);
        }
    }
    batch_reader_free(&reader);
    host_disk_close(&disk);
    return status;
}

static int check_helpers(struct rewrite *rewrite, struct problem *problem) {
    uint64_t const helpers = rewrite->helpers & rewrite->forge.signers;
    for (uint32_t replica = 0; replica < REPLICAS_MAX; replica++) {
        if ((helpers >> replica & 1) != 0 && check_helper(rewrite, replica, problem) != 0) {
            return -1;
        }
    }
    return 0;
}

/* Keep a batch's requests for the new history. */
static int note_batch(struct rewrite *rewrite, const struct batch *batch, struct problem *problem) {
    struct arena arena;
    bool kept = true;
    uint32_t remaining = 0;
    arena_init(&arena, REWRITE_ARENA_SIZE);
    for (uint32_t i = 0; i < batch->request_count && kept; i++) {
        struct request_entry entry;
        arena_reset(&arena);
        kept = request_entry_decode(&entry, &arena, batch_request_payload(batch, i)) == CODEC_OK;
        if (kept && rewrite->drop > 0) {
            rewrite->drop--;
            continue;
        }
        kept = kept && buffer_append(&rewrite->requests, entry.request) &&
               buffer_append(&rewrite->request_sizes,
                             span_of(&entry.request.size, sizeof entry.request.size));
        remaining++;
    }
    arena_free(&arena);
    uint64_t const time_ms = batch->pre_prepare.time_ms;
    if (!kept || !buffer_append(&rewrite->batch_requests, span_of(&remaining, sizeof remaining)) ||
        !buffer_append(&rewrite->batch_times, span_of(&time_ms, sizeof time_ms))) {
        return problem_set(problem, EXIT_ERROR, "the original history cannot be kept in memory");
    }
    return 1;
}

/* The new history begins in the view that the old one had reached before batch S. */
static int take_view(struct rewrite *rewrite, const struct batch *batch, struct problem *problem) {
    if (rewrite->batch_times.size != 0) {
        return 1;
    }
    enum rule const rule = forge_import_view(&rewrite->forge, batch);
    if (rule != RULE_NONE) {
        return problem_set(problem, EXIT_CORRUPT, "new view %llu of the original: %s",
                           (unsigned long long)batch->view.new_view.view, rule_text(rule));
    }
    return 1;
}

static int take_batch(struct rewrite *rewrite, const struct batch *batch, struct problem *problem) {
    uint64_t const seq = batch->pre_prepare.seq;
    if (seq >= rewrite->from_batch) {
        forge_import_evidence(&rewrite->forge, batch);
        return note_batch(rewrite, batch, problem);
    }
    enum rule const rule = forge_import(&rewrite->forge, batch);
    if (rule != RULE_NONE) {
        return problem_set(problem, EXIT_CORRUPT, "batch %llu of the original: %s",
                           (unsigned long long)seq, rule_text(rule));
    }
    return 1;
}

static int read_original(struct rewrite *rewrite, struct problem *problem) {
    struct host_disk disk;
    struct batch_reader reader;
    uint32_t const first = (uint32_t)__builtin_ctzll(rewrite->colluders);
    if (open_ledger(rewrite, first, &disk, &reader, problem) != 0) {
        return -1;
    }
    int status = 1;
    while (status == 1 && (status = batch_reader_next(&reader, problem)) == 1) {
        status = reader.step == BATCH_VIEW ? take_view(rewrite, &reader.batch, problem)
                                           : take_batch(rewrite, &reader.batch, problem);
    }
    batch_reader_free(&reader);
    host_disk_close(&disk);
    if (status == 0 && forge_seq(&rewrite->forge) + 1 != rewrite->from_batch) {
        return problem_set(problem, EXIT_USAGE, "the original ends with batch %llu already",
                           (unsigned long long)forge_seq(&rewrite->forge));
    }
    if (status == 0 && choose_signers(rewrite, problem) != 0) {
        return -1;
    }
    forge_complete(&rewrite->forge);
    return status;
}

/* ---- the new history ---- */

struct request_list {
    uint32_t count;
    struct span *items;
};

/* Would a correct replica execute it next? Clients wrote into it after which index it may come. */
static bool is_admissible(struct rewrite *rewrite, struct span bytes, uint64_t *next_index) {
    struct arena arena;
    struct request request;
    const struct configuration *const configuration = &rewrite->consortium.configuration;
    arena_init(&arena, REWRITE_ARENA_SIZE);
    CHECK(request_decode(&request, &arena, &configuration->service, bytes) == CODEC_OK);
    uint64_t const last = *next_index + request.call_count - 1;
    bool const admissible = *next_index >= request.min_index &&
                            last - request.min_index < configuration->parameters.window;
    *next_index += admissible ? request.call_count : 0;
    arena_free(&arena);
    return admissible;
}

static void append_batch(struct rewrite *rewrite, const struct request_list *list,
                         uint64_t time_ms) {
    uint64_t next_index = rewrite->forge.next_index;
    struct span requests[BATCH_CALLS_MAX];
    struct forge_order order = {.requests = requests, .time_ms = time_ms};
    for (uint32_t i = 0; i < list->count; i++) {
        uint32_t const nth = rewrite->reorder ? list->count - 1 - i : i;
        if (is_admissible(rewrite, list->items[nth], &next_index)) {
            requests[order.request_count++] = list->items[nth];
        }
    }
    if (order.time_ms < rewrite->forge.time_ms) {
        order.time_ms = rewrite->forge.time_ms;
    }
    if (order.request_count != 0) {
        forge_append(&rewrite->forge, &order);
    }
}

static void append_added(struct rewrite *rewrite) {
    for (uint32_t i = 0; i < rewrite->added_count; i++) {
        struct buffer encoded;
        buffer_init(&encoded, REQUEST_SIZE_MAX);
        order_encode(&encoded, &rewrite->consortium,
                     &(struct order){.author = &rewrite->user,
                                     .min_index = rewrite->forge.next_index,
                                     .number = i,
                                     .call_count = 1,
                                     .calls = &rewrite->added[i]});
        struct span request = buffer_span(&encoded);
        append_batch(rewrite, &(struct request_list){.count = 1, .items = &request}, 0);
        buffer_free(&encoded);
    }
}

static void append_remaining(struct rewrite *rewrite) {
    size_t offset = 0;
    size_t nth = 0;
    for (size_t batch = 0; batch < rewrite->batch_times.size / sizeof(uint64_t); batch++) {
        struct request_list list = {0};
        uint64_t time_ms = 0;
        struct span requests[BATCH_CALLS_MAX];
        list.items = requests;
        memcpy(&list.count, rewrite->batch_requests.data + batch * sizeof list.count,
               sizeof list.count);
        memcpy(&time_ms, rewrite->batch_times.data + batch * sizeof time_ms, sizeof time_ms);
        for (uint32_t i = 0; i < list.count; i++, nth++) {
            size_t size = 0;
            memcpy(&size, rewrite->request_sizes.data + nth * sizeof size, sizeof size);
            requests[i] = span_of(rewrite->requests.data + offset, size);
            offset += size;
        }
        append_batch(rewrite, &list, time_ms);
    }
}

static int write_history(struct rewrite *rewrite, struct problem *problem) {
    append_added(rewrite);
    append_remaining(rewrite);
    if (forge_seq(&rewrite->forge) < rewrite->from_batch) {
        return problem_set(problem, EXIT_USAGE, "nothing is left of the history from batch %llu on",
                           (unsigned long long)rewrite->from_batch);
    }
    /* The evidence for the last batch, so that all of them are. */
    forge_append(&rewrite->forge, &(struct forge_order){.time_ms = rewrite->forge.time_ms});
    return 0;
}

/* ---- what is handed out ---- */

static int make_directory(const char *path, struct problem *problem) {
    if (mkdir(path, 0755) != 0) {
        return problem_set(problem, EXIT_ERROR, "%s: %s; name a new directory", path,
                           strerror(errno));
    }
    return 0;
}

static int write_ledgers(struct rewrite *rewrite, struct problem *problem) {
    char path[PATH_MAX];
    for (uint32_t replica = 0; replica < REPLICAS_MAX; replica++) {
        if ((rewrite->forge.signers >> replica & 1) == 0) {
            continue;
        }
        struct host_disk disk;
        path_make(path, "%s/ledgers/%s", rewrite->out,
                  configuration_member_of(&rewrite->consortium.configuration, replica));
        if (host_disk_open(&disk, path, HOST_DISK_WRITE, problem) != 0) {
            return -1;
        }
        int const status = forge_write(&rewrite->forge, &disk.disk, problem);
        host_disk_close(&disk);
        if (status != 0) {
            return -1;
        }
    }
    return 0;
}

static int write_receipt(struct rewrite *rewrite, const struct forge_place *place, uint64_t index,
                         struct problem *problem) {
    char path[PATH_MAX];
    struct buffer receipt;
    struct buffer file;
    buffer_init(&receipt, RECEIPT_SIZE_MAX);
    buffer_init(&file, RECEIPT_FILE_SIZE_MAX);
    forge_receipt(&rewrite->forge, place, &receipt);
    CHECK(receipt_file_encode(&file, buffer_span(&receipt)));
    path_make(path, "%s/receipts/%012llu.receipt", rewrite->out, (unsigned long long)index);
    int const status = file_write(path, buffer_span(&file), 0644, FILE_KEEP, problem);
    buffer_free(&receipt);
    buffer_free(&file);
    return status;
}

static int write_receipts(struct rewrite *rewrite, struct problem *problem) {
    struct batch batch;
    struct arena arena;
    int status = 0;
    batch_init(&batch);
    arena_init(&arena, REWRITE_ARENA_SIZE);
    for (uint64_t seq = rewrite->from_batch; seq <= forge_seq(&rewrite->forge); seq++) {
        forge_read(&rewrite->forge, seq, &batch);
        for (uint32_t nth = 0; nth < batch.request_count; nth++) {
            struct request_entry entry;
            arena_reset(&arena);
            CHECK(request_entry_decode(&entry, &arena, batch_request_payload(&batch, nth)) ==
                  CODEC_OK);
            for (uint32_t i = 0; i < entry.outcome_count && status == 0; i++) {
                struct forge_place const place = {seq, nth, i};
                status = write_receipt(rewrite, &place, entry.first_index + i, problem);
            }
        }
    }
    batch_free(&batch);
    arena_free(&arena);
    return status;
}

static int hand_out(struct rewrite *rewrite, struct problem *problem) {
    char path[PATH_MAX];
    if (make_directory(rewrite->out, problem) != 0) {
        return -1;
    }
    path_make(path, "%s/ledgers", rewrite->out);
    if (make_directory(path, problem) != 0) {
        return -1;
    }
    path_make(path, "%s/receipts", rewrite->out);
    if (make_directory(path, problem) != 0) {
        return -1;
    }
    return write_ledgers(rewrite, problem) != 0 || write_receipts(rewrite, problem) != 0 ? -1 : 0;
}

static int run(struct rewrite *rewrite, struct problem *problem) {
    if (load_consortium(rewrite, problem) != 0) {
        return -1;
    }
    forge_init(&rewrite->forge, &rewrite->consortium);
    int status = -1;
    if (read_original(rewrite, problem) == 0 && check_helpers(rewrite, problem) == 0 &&
        write_history(rewrite, problem) == 0) {
        status = hand_out(rewrite, problem);
    }
    if (status == 0) {
        (void)printf("batches %llu..%llu written anew, signed by",
                     (unsigned long long)rewrite->from_batch,
                     (unsigned long long)forge_seq(&rewrite->forge));
        for (uint32_t replica = 0; replica < REPLICAS_MAX; replica++) {
            if ((rewrite->forge.signers >> replica & 1) != 0) {
                (void)printf(" %s",
                             configuration_member_of(&rewrite->consortium.configuration, replica));
            }
        }
        (void)printf("\n");
    }
    forge_free(&rewrite->forge);
    return status;
}

int main(int argc, char **argv) {
    static struct rewrite rewrite;
    struct problem problem = {.code = EXIT_OK};
    if (!sign_init()) {
        (void)fputs("onus-forge: libsodium is not usable\n", stderr);
        return EXIT_ERROR;
    }
    if (argc < 2 || strcmp(argv[1], "rewrite") != 0 || !parse(&rewrite, argc - 1, argv + 1)) {
        return usage();
    }
    buffer_init(&rewrite.requests, (size_t)4 << 30);
    buffer_init(&rewrite.request_sizes, (size_t)1 << 30);
    buffer_init(&rewrite.batch_requests, (size_t)1 << 30);
    buffer_init(&rewrite.batch_times, (size_t)1 << 30);
    int const status = run(&rewrite, &problem);
    buffer_free(&rewrite.requests);
    buffer_free(&rewrite.request_sizes);
    buffer_free(&rewrite.batch_requests);
    buffer_free(&rewrite.batch_times);
    consortium_free(&rewrite.consortium);
    if (status != 0) {
        (void)fprintf(stderr, "onus-forge: %s\n", problem.text);
        return (int)problem.code;
    }
    return EXIT_OK;
}
