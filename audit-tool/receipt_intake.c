/*
 * receipt_intake: see receipt_intake.h. The calling thread reads the store and puts what it reads
 * into portions, copied; it and the others verify them. A portion belongs to the reader while it
 * fills, then to the list, then to the one thread that took it. The audit is only touched under the
 * mutex. Which thread was first changes nothing: claims are sorted, and bad receipts are told in
 * the order of the store.
 */
#include "audit-tool/receipt_intake.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "audit-tool/signatures.h"
#include "base/check.h"
#include "host/file.h"
#include "host/receipt_store.h"
#include "host/receipts_file.h"
#include "receipts/certificate.h"

#define RECEIPT_SUFFIX ".receipt"
#define PORTION_BUNDLES 32u
#define PORTION_SIZE_SOFT_MAX ((size_t)256 << 10)
#define PORTION_SIZE_MAX                                                                           \
    (PORTION_SIZE_SOFT_MAX + RECEIPT_BUNDLE_SIZE_MAX + COMMIT_CERTIFICATE_SIZE_MAX)
#define PORTIONS_WAITING_MAX 4u /* then the reader verifies one itself */

/* ---- a request's receipts at once ------------------------------------------------------------ */

/* Is the receipt of every call in it valid? Out: receipts: of which transactions. */
static bool bundle_holds(struct bundle_verifier *verifier, struct span stored,
                         struct span certificate, struct claim_receipts *receipts) {
    if (bundle_verify(verifier, stored, certificate) != RECEIPT_VALID) {
        return false;
    }
    uint64_t const first = verifier->bundle.result.first_index;
    uint32_t const count = verifier->request.call_count;
    *receipts = (struct claim_receipts){
        .count = count, .index_first = first, .index_last = first + count - 1};
    return true;
}

/* ---- portions -------------------------------------------------------------------------------- */

struct portion {
    struct portion *next;
    struct buffer bytes; /* bundle, certificate, bundle, certificate … */
    uint32_t count;
    uint64_t first; /* place of its first bundle in the store */
    struct {
        size_t bundle;
        size_t certificate;
    } sizes[PORTION_BUNDLES];
};

/* One store at work. */
struct intake_run {
    const struct receipt_intake *intake;
    pthread_mutex_t mutex;
    pthread_cond_t work;
    struct portion *ready;
    uint32_t waiting; /* portions in the list */
    bool ended;       /* nothing more will be read */
    bool failed;
    struct problem problem;

    struct portion *filling; /* the reader's own */
    struct bundle_verifier *own;
    uint64_t read; /* bundles */
    bool has_bad;
    uint64_t bad_first; /* the range of those that did not hold */
    uint64_t bad_last;
};

static struct portion *portion_new(uint64_t first) {
    struct portion *const portion = calloc(1, sizeof *portion);
    if (portion != NULL) {
        buffer_init(&portion->bytes, PORTION_SIZE_MAX);
        portion->first = first;
    }
    return portion;
}

static void portion_free(struct portion *portion) {
    buffer_free(&portion->bytes);
    free(portion);
}

/* With the mutex held. */
static void note_bad(struct intake_run *run, uint64_t place) {
    run->bad_first = run->has_bad && run->bad_first < place ? run->bad_first : place;
    run->bad_last = run->has_bad && run->bad_last > place ? run->bad_last : place;
    run->has_bad = true;
}

/* What was last learnt from a certificate: its batch. */
struct learnt {
    bool any;
    struct digest batch;
};

/* The signatures in a certificate that holds: evidence in the ledger may show the very same. */
static uint32_t statements_of(struct digest *out, struct learnt *learnt,
                              struct bundle_verifier *verifier, struct span bytes) {
    struct certificate certificate;
    if ((learnt->any && digest_equal(&learnt->batch, &verifier->batch.digest)) ||
        certificate_decode(&certificate, &verifier->arena, bytes) != CODEC_OK) {
        return 0;
    }
    *learnt = (struct learnt){.any = true, .batch = verifier->batch.digest};
    return certificate_statements(out, verifier->configuration, &verifier->batch, &certificate);
}

static void keep(struct intake_run *run, struct bundle_verifier *verifier, struct learnt *learnt,
                 struct span certificate, struct claim_receipts receipts) {
    struct digest statements[REPLICAS_MAX];
    uint32_t const count = statements_of(statements, learnt, verifier, certificate);
    pthread_mutex_lock(&run->mutex);
    if (audit_add_verified(run->intake->audit, &verifier->batch, certificate, receipts,
                           &run->problem) != 0) {
        run->failed = true;
    }
    audit_learn_signed(run->intake->audit, &verifier->request.digest);
    for (uint32_t i = 0; i < count; i++) {
        audit_learn_signed(run->intake->audit, &statements[i]);
    }
    pthread_mutex_unlock(&run->mutex);
}

static void verify_portion(struct intake_run *run, struct bundle_verifier *verifier,
                           const struct portion *portion) {
    const uint8_t *at = portion->bytes.data;
    struct learnt learnt = {.any = false};
    for (uint32_t i = 0; i < portion->count; i++) {
        struct span const bundle = span_of(at, portion->sizes[i].bundle);
        struct span const certificate = span_of(at + bundle.size, portion->sizes[i].certificate);
        struct claim_receipts receipts;
        if (bundle_holds(verifier, bundle, certificate, &receipts)) {
            keep(run, verifier, &learnt, certificate, receipts);
        } else {
            pthread_mutex_lock(&run->mutex);
            note_bad(run, portion->first + i);
            pthread_mutex_unlock(&run->mutex);
        }
        at += bundle.size + certificate.size;
    }
}

/* With the mutex held: verify one portion without it. */
static void take_portion(struct intake_run *run, struct bundle_verifier *verifier) {
    struct portion *const portion = run->ready;
    run->ready = portion->next;
    run->waiting--;
    pthread_mutex_unlock(&run->mutex);
    verify_portion(run, verifier, portion);
    portion_free(portion);
    pthread_mutex_lock(&run->mutex);
}

/* No configuration comes to be known while receipts are taken in, so threads may look at will. */
static const struct configuration *find_configuration(const void *context, uint64_t number) {
    return audit_find_configuration(context, number);
}

static struct bundle_verifier *verifier_new(const struct receipt_intake *intake) {
    struct bundle_verifier *const verifier = calloc(1, sizeof *verifier);
    if (verifier != NULL) {
        bundle_verifier_init(verifier, intake->configuration);
        bundle_verifier_ask(verifier, find_configuration, intake->audit);
    }
    return verifier;
}

static void verifier_free(struct bundle_verifier *verifier) {
    if (verifier != NULL) {
        bundle_verifier_free(verifier);
        free(verifier);
    }
}

static void *intake_work(void *argument) {
    struct intake_run *const run = argument;
    struct bundle_verifier *const verifier = verifier_new(run->intake);
    pthread_mutex_lock(&run->mutex);
    while (verifier != NULL && (run->ready != NULL || !run->ended)) {
        if (run->ready == NULL) {
            pthread_cond_wait(&run->work, &run->mutex);
        } else {
            take_portion(run, verifier);
        }
    }
    pthread_mutex_unlock(&run->mutex);
    verifier_free(verifier); /* without memory for one, the others do its work */
    return NULL;
}

/* Hand over what the reader has filled, and help when others have enough to do. */
static void hand_over(struct intake_run *run) {
    if (run->filling == NULL) {
        return;
    }
    pthread_mutex_lock(&run->mutex);
    run->filling->next = run->ready;
    run->ready = run->filling;
    run->waiting++;
    run->filling = NULL;
    pthread_cond_signal(&run->work);
    if (run->waiting > PORTIONS_WAITING_MAX || run->intake->jobs == 1) {
        take_portion(run, run->own);
    }
    pthread_mutex_unlock(&run->mutex);
}

static int read_bundle(void *context, struct span bundle, struct span certificate) {
    struct intake_run *const run = context;
    if (run->filling == NULL) {
        run->filling = portion_new(run->read);
    }
    struct portion *const portion = run->filling;
    if (portion == NULL || !buffer_append(&portion->bytes, bundle) ||
        !buffer_append(&portion->bytes, certificate)) {
        return problem_set(&run->problem, EXIT_ERROR, "out of memory for receipts");
    }
    portion->sizes[portion->count].bundle = bundle.size;
    portion->sizes[portion->count].certificate = certificate.size;
    portion->count++;
    run->read++;
    if (portion->count == PORTION_BUNDLES || portion->bytes.size > PORTION_SIZE_SOFT_MAX) {
        hand_over(run);
    }
    return 0;
}

/* Where bundles come from: a client's store, or a file that one exported. */
struct source {
    struct receipt_store *store; /* or, when NULL: */
    const char *path;
    const struct digest *service;
};

/* What a file brings before its receipts. */
struct link_visit {
    struct intake_run *run;
    const char *path;
};

static void take_link(void *context, struct span link) {
    const struct link_visit *const visit = context;
    struct intake_run *const run = visit->run;
    pthread_mutex_lock(&run->mutex);
    run->failed |= audit_add_link(run->intake->audit, visit->path, link, &run->problem) != 0;
    pthread_mutex_unlock(&run->mutex);
}

/* links: whose links these are; NULL: they were taken before. */
static int visit_file(const struct source *source, struct intake_run *links,
                      receipt_stored_visitor visitor, void *context, struct problem *problem) {
    struct link_visit visit = {.run = links, .path = source->path};
    struct receipts_reader reader;
    struct span bundle;
    struct span certificate;
    FILE *const in = fopen(source->path, "rbe");
    if (in == NULL) {
        return problem_set(problem, EXIT_CANNOT_AUDIT, "%s: %s", source->path, strerror(errno));
    }
    int status = receipts_read_begin(&reader, in, source->path, source->service, problem);
    reader.link = links == NULL ? NULL : take_link;
    reader.link_context = &visit;
    while (status == 0) {
        int const more = receipts_read(&reader, &bundle, &certificate, problem);
        if (more <= 0) {
            status = more;
            break;
        }
        status = visitor(context, bundle, certificate);
    }
    receipts_read_free(&reader);
    (void)fclose(in);
    return status;
}

static int visit_source(const struct source *source, struct intake_run *links,
                        receipt_stored_visitor visitor, void *context, struct problem *problem) {
    return source->store != NULL
               ? receipt_store_visit_stored(source->store, visitor, context, problem)
               : visit_file(source, links, visitor, context, problem);
}

/* Start the others, read all, end them. Returns: 0 or -1. */
static int read_source(struct intake_run *run, const struct source *source,
                       struct problem *problem) {
    pthread_t threads[SIGNATURE_JOBS_MAX];
    uint32_t thread_count = 0;
    while (thread_count + 1 < run->intake->jobs &&
           pthread_create(&threads[thread_count], NULL, intake_work, run) == 0) {
        thread_count++; /* fewer than asked for will do */
    }
    int const status = visit_source(source, run, read_bundle, run, problem);
    hand_over(run);
    pthread_mutex_lock(&run->mutex);
    run->ended = true;
    pthread_cond_broadcast(&run->work);
    while (run->ready != NULL) {
        take_portion(run, run->own);
    }
    pthread_mutex_unlock(&run->mutex);
    for (uint32_t i = 0; i < thread_count; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    if (status != 0 || run->failed) {
        return problem_set(problem, run->problem.code, "%s", run->problem.text);
    }
    return 0;
}

/* ---- one by one ------------------------------------------------------------------------------ */

/* Those requests again of which some receipt does not hold, in order. */
struct bad_visit {
    struct intake_run *run;
    const struct source *source;
    struct bundle_verifier *verifier;
    uint64_t place;
    struct problem *problem;
};

static int add_one(void *context, const struct digest *request_id, uint32_t position,
                   struct span receipt) {
    const struct bad_visit *const visit = context;
    char id[2 * DIGEST_SIZE + 1];
    char name[sizeof id + 32];
    hex_encode(id, span_of(request_id->bytes, DIGEST_SIZE));
    (void)snprintf(name, sizeof name, "receipt %s.%" PRIu32, id, position);
    return audit_add_receipt(visit->run->intake->audit, name, receipt, visit->problem);
}

/* Its parts make no receipts: one bad one stands for them all. */
static int add_damaged(const struct bad_visit *visit, struct span stored) {
    char id[2 * DIGEST_SIZE + 1];
    char name[sizeof id + 64];
    struct digest const hash = hash_bytes(stored);
    hex_encode(id, span_of(hash.bytes, DIGEST_SIZE));
    (void)snprintf(name, sizeof name, "%s: receipts with SHA-256 %s", visit->source->path, id);
    return audit_add_receipt(visit->run->intake->audit, name, (struct span){0}, visit->problem);
}

static int visit_bad(void *context, struct span stored, struct span certificate) {
    struct bad_visit *const visit = context;
    const struct digest *const service = &visit->run->intake->configuration->service;
    uint64_t const place = visit->place++;
    struct claim_receipts ignored;
    struct receipt_bundle bundle;
    if (place < visit->run->bad_first || place > visit->run->bad_last ||
        bundle_holds(visit->verifier, stored, certificate, &ignored)) {
        return 0;
    }
    arena_reset(&visit->verifier->arena);
    if (!receipt_bundle_decode(&bundle, &visit->verifier->arena, stored)) {
        return add_damaged(visit, stored);
    }
    bundle.certificate = certificate;
    struct problem apart = {.code = EXIT_OK};
    int const status = receipt_bundle_visit(service, &bundle, (struct receipt_range){0, UINT32_MAX},
                                            add_one, visit, &apart);
    return status != 0 && apart.code == EXIT_CORRUPT ? add_damaged(visit, stored) : status;
}

static int tell_bad(struct intake_run *run, const struct source *source, struct problem *problem) {
    struct bad_visit visit = {
        .run = run, .source = source, .verifier = run->own, .problem = problem};
    return run->has_bad ? visit_source(source, NULL, visit_bad, &visit, problem) : 0;
}

static int add_source(const struct receipt_intake *intake, const struct source *source,
                      struct problem *problem) {
    struct intake_run run = {.intake = intake};
    CHECK(pthread_mutex_init(&run.mutex, NULL) == 0);
    CHECK(pthread_cond_init(&run.work, NULL) == 0);
    run.own = verifier_new(intake);
    int status = run.own == NULL ? problem_set(problem, EXIT_ERROR, "out of memory for receipts")
                                 : read_source(&run, source, problem);
    status = status == 0 ? tell_bad(&run, source, problem) : status;
    verifier_free(run.own);
    if (run.filling != NULL) {
        portion_free(run.filling);
    }
    pthread_cond_destroy(&run.work);
    pthread_mutex_destroy(&run.mutex);
    return status;
}

static int add_store(const struct receipt_intake *intake, const char *directory,
                     struct problem *problem) {
    struct source source = {.path = directory, .service = &intake->configuration->service};
    source.store = receipt_store_open(directory, source.service, RECEIPT_STORE_READ, problem);
    if (source.store == NULL) {
        return -1;
    }
    int const status = add_source(intake, &source, problem);
    receipt_store_close(source.store);
    return status;
}

/* A file of many receipts. One that is not, or is cut short, is its bearer's problem. */
static int add_exported(const struct receipt_intake *intake, const char *path,
                        struct problem *problem) {
    struct problem own = {.code = EXIT_OK};
    struct source const source = {.path = path, .service = &intake->configuration->service};
    if (add_source(intake, &source, &own) == 0) {
        return 0;
    }
    if (own.code != EXIT_INVALID) {
        return problem_set(problem, own.code, "%s", own.text);
    }
    return audit_add_receipt(intake->audit, own.text, (struct span){0}, problem);
}

/* ---- loose files ----------------------------------------------------------------------------- */

static bool has_suffix(const char *name, const char *suffix) {
    size_t const size = strlen(name);
    return size > strlen(suffix) && strcmp(name + size - strlen(suffix), suffix) == 0;
}

/* What a receipt's file brings behind it. Damage there is no more than a link that is missing. */
static int add_links(const struct receipt_intake *intake, const char *path, struct span links,
                     struct problem *problem) {
    struct span link;
    uint32_t count = 0;
    int status = 0;
    while (status == 0 && count++ < CHAIN_LINKS_MAX && receipt_file_next_link(&links, &link) == 1) {
        status = audit_add_link(intake->audit, path, link, problem);
    }
    return status;
}

static int add_file(const struct receipt_intake *intake, const char *directory, const char *name,
                    struct problem *problem) {
    char path[PATH_MAX];
    struct buffer file;
    struct problem unreadable = {.code = EXIT_OK};
    struct span receipt = {0};
    struct span links = {0};
    int const size = snprintf(path, sizeof path, "%s/%s", directory, name);
    if (size < 0 || size >= (int)sizeof path) {
        return problem_set(problem, EXIT_USAGE, "%s: the name is too long", directory);
    }
    if (!has_suffix(name, RECEIPT_SUFFIX)) {
        return add_exported(intake, path, problem);
    }
    buffer_init(&file, RECEIPT_LINKED_FILE_SIZE_MAX);
    /* A file that is too large or has another magic is a bad receipt, like any other. */
    if (file_read(&file, path, FILE_PUBLIC, &unreadable) == 0 &&
        !receipt_file_open(&receipt, &links, buffer_span(&file))) {
        receipt = (struct span){0};
        links = (struct span){0};
    }
    int const status = add_links(intake, path, links, problem) == 0
                           ? audit_add_receipt(intake->audit, path, receipt, problem)
                           : -1;
    buffer_free(&file);
    return status;
}

static int is_receipt_name(const struct dirent *entry) {
    return has_suffix(entry->d_name, RECEIPT_SUFFIX) ||
           has_suffix(entry->d_name, RECEIPTS_FILE_SUFFIX);
}

static int add_files(const struct receipt_intake *intake, const char *directory,
                     struct problem *problem) {
    struct dirent **entries = NULL;
    int const count = scandir(directory, &entries, is_receipt_name, alphasort);
    if (count < 0) {
        return problem_set(problem, EXIT_CANNOT_AUDIT, "%s: %s; name a directory of receipts",
                           directory, strerror(errno));
    }
    int status = 0;
    for (int i = 0; i < count; i++) {
        if (status == 0) {
            status = add_file(intake, directory, entries[i]->d_name, problem);
        }
        free(entries[i]);
    }
    free(entries);
    return status;
}

int receipt_intake_add(const struct receipt_intake *intake, const char *directory,
                       struct problem *problem) {
    CHECK(intake->jobs >= 1 && intake->jobs <= SIGNATURE_JOBS_MAX);
    if (add_files(intake, directory, problem) != 0) {
        return -1;
    }
    return receipt_store_exists(directory) ? add_store(intake, directory, problem) : 0;
}
