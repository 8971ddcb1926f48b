/*
 * onus: see onus.h. It ties together the session (what to say to whom), the links, the
 * follower (who they are), the writer (what must not be forgotten) and the loop's clock.
 *
 * A transaction lives from onus_submit to its answer. It is first with the writer, until its bytes
 * are durable, and then with the session. Its receipts go to the writer lazily: the written-down
 * request is removed by the same commit, so one or the other is always on the disk.
 *
 * To another configuration it goes between two turns of the loop, since links must not be closed
 * from inside their own callbacks.
 */
#include "client/onus.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "client/writer.h"
#include "host/follower.h"
#include "host/random.h"
#include "host/replica_links.h"

#define KEEPALIVE_MS (LINK_IDLE_TIMEOUT_MS / 3)
#define CONNECT_PATIENCE_MS 1000u
#define STATUS_AGAIN_MS 250u
#define ENCODE_SIZE_MAX (REQUEST_SIZE_MAX + 65536u)

static_assert(KEEPALIVE_MS < LINK_IDLE_TIMEOUT_MS, "an idle client keeps its links");

struct transaction {
    struct transaction *previous; /* in the list of those that wait */
    struct transaction *next;
    struct session_request request; /* its bytes follow this struct */
    uint64_t number;                /* in the store, once it is there */
    bool sent;                      /* it is with the session */
    onus_done done;
    void *user;
    uint8_t bytes[];
};

struct onus {
    struct context *context;
    onus_notice notice;
    void *notice_context;
    uv_loop_t loop;
    uv_timer_t deadline;  /* the session's */
    uv_timer_t keepalive; /* also asks again for status while connecting */
    uv_timer_t timeout;   /* of onus_run_until */
    uv_prepare_t prepare; /* arms the deadline before the loop waits */
    bool timed_out;
    uint64_t armed_ms;
    struct follower *follower;
    const struct configuration *configuration; /* the session's */
    bool outdated;                             /* the follower knows a later one */
    struct session *session;
    struct replica_links *links;
    struct receipt_store *store;
    struct writer *writer;
    struct transaction *first;
    struct transaction *last;
    uint32_t in_flight;
    size_t in_flight_size;
    uint32_t unsent; /* of them still with the writer */
    bool has_index;
    uint64_t min_index;  /* for the next request */
    struct buffer calls; /* scratch of onus_submit */
    struct buffer header;
    struct buffer request;
    struct buffer bundle;
};

static uint64_t now_ms(const struct onus *onus) {
    return uv_now(&onus->loop);
}

static void notify(const struct onus *onus, const char *text) {
    if (onus->notice != NULL) {
        onus->notice(onus->notice_context, text);
    }
}

/* ---- transactions ---------------------------------------------------------------------------- */

static struct transaction *transaction_create(struct onus *onus, struct span bytes) {
    struct transaction *const transaction = calloc(1, sizeof *transaction + bytes.size);
    if (transaction == NULL) {
        return NULL;
    }
    CHECK(bytes.data != NULL);
    memcpy(transaction->bytes, bytes.data, bytes.size);
    transaction->request.bytes = span_of(transaction->bytes, bytes.size);
    transaction->request.tag = transaction;
    transaction->previous = onus->last;
    *(onus->last == NULL ? &onus->first : &onus->last->next) = transaction;
    onus->last = transaction;
    onus->in_flight++;
    onus->in_flight_size += bytes.size;
    onus->unsent++;
    return transaction;
}

/* Take it out of the books; the memory is the caller's. */
static void transaction_remove(struct onus *onus, struct transaction *transaction) {
    *(transaction->previous == NULL ? &onus->first : &transaction->previous->next) =
        transaction->next;
    *(transaction->next == NULL ? &onus->last : &transaction->next->previous) =
        transaction->previous;
    onus->in_flight--;
    onus->in_flight_size -= transaction->request.bytes.size;
    onus->unsent -= transaction->sent ? 0 : 1;
}

static void transaction_answer(struct onus *onus, struct transaction *transaction,
                               const struct onus_result *result) {
    transaction_remove(onus, transaction);
    if (transaction->done != NULL) {
        transaction->done(transaction->user, result);
    }
    free(transaction);
}

static void transaction_send(struct onus *onus, struct transaction *transaction) {
    transaction->sent = true;
    onus->unsent--;
    /* onus_submit keeps within the session's limits, and ids are unique. */
    if (session_submit(onus->session, &transaction->request, now_ms(onus)) != SESSION_SUBMITTED) {
        struct onus_result const result = {.status = ONUS_FAILED, .id = transaction->request.id};
        transaction_answer(onus, transaction, &result);
    }
}

static void on_committed(void *context, void *user, uint64_t number, bool failed) {
    struct onus *const onus = context;
    struct transaction *const transaction = user;
    transaction->number = number;
    if (!failed) {
        transaction_send(onus, transaction);
        return;
    }
    struct onus_result const result = {.status = ONUS_FAILED, .id = transaction->request.id};
    transaction_answer(onus, transaction, &result);
}

/* ---- the session's effects ------------------------------------------------------------------- */

static bool effect_send(void *context, uint32_t replica, enum message_kind kind,
                        struct span payload) {
    struct onus *const onus = context;
    return replica_links_send(onus->links, replica, kind, payload);
}

/* Give the receipts to the writer. What it cannot take now is fetched again in another run. */
static void keep_receipts(struct onus *onus, const struct transaction *transaction,
                          const struct session_receipts *receipts,
                          const struct receipt_bundle *bundle) {
    buffer_clear(&onus->bundle);
    if (!receipt_bundle_encode(&onus->bundle, bundle)) {
        notify(onus, "receipts are too large to keep");
        return;
    }
    struct receipt_change const change = {
        .kind = RECEIPT_CHANGE_RECEIPTS,
        .number = transaction->number,
        .request_id = receipts->request_id,
        .bytes = buffer_span(&onus->bundle),
        .certificate_digest = &receipts->certificate_digest,
        .certificate = receipts->certificate,
        .last_index = bundle->result.first_index + bundle->result.outcome_count - 1,
    };
    if (!writer_put(onus->writer, &change, WRITER_LAZY, NULL)) {
        notify(onus, "there is no memory to keep receipts; they will be fetched again");
    }
}

static void effect_receipted(void *context, void *tag, const struct session_receipts *receipts) {
    struct onus *const onus = context;
    struct transaction *const transaction = tag;
    struct receipt_bundle const bundle = {
        .request = receipts->request,
        .result = *receipts->result,
        .certificate = receipts->certificate,
    };
    uint64_t const after = bundle.result.first_index + bundle.result.outcome_count;
    if (after > onus->min_index) {
        onus->min_index = after;
    }
    keep_receipts(onus, transaction, receipts, &bundle);
    struct onus_result const result = {
        .status = ONUS_EXECUTED,
        .id = transaction->request.id,
        .request = receipts->request,
        .first_index = bundle.result.first_index,
        .outcome_count = bundle.result.outcome_count,
        .outcomes = bundle.result.outcomes,
        .receipts = &bundle,
        .batch = receipts->pre_prepare,
    };
    transaction_answer(onus, transaction, &result);
}

static void effect_rejected(void *context, void *tag, const struct digest *request_id,
                            enum reject_reason reason) {
    struct onus *const onus = context;
    struct transaction *const transaction = tag;
    struct receipt_change const change = {.kind = RECEIPT_CHANGE_DISCARD,
                                          .number = transaction->number};
    if (!writer_put(onus->writer, &change, WRITER_LAZY, NULL)) {
        notify(onus, "there is no memory to note that a request was rejected");
    }
    struct onus_result const result = {
        .status = ONUS_REJECTED, .id = *request_id, .reason = reason};
    transaction_answer(onus, transaction, &result);
}

static void effect_distrusted(void *context, uint32_t replica, const char *why) {
    char line[PROBLEM_TEXT_SIZE];
    (void)snprintf(line, sizeof line, "replica %u %s", replica, why);
    notify(context, line);
}

static const struct configuration *effect_configuration(void *context, uint64_t number) {
    const struct onus *const onus = context;
    return follower_find(onus->follower, number);
}

static int effect_links(void *context, const struct span *links, uint32_t count) {
    const struct onus *const onus = context;
    struct problem problem = {.code = EXIT_OK};
    int const taken = follower_take(onus->follower, links, count, &problem);
    if (problem.code != EXIT_OK) {
        notify(onus, problem.text);
    }
    return taken;
}

static void effect_configured(void *context, uint64_t number) {
    struct onus *const onus = context;
    (void)number; /* it is the newest of the follower's */
    onus->outdated = true;
}

/* ---- the loop -------------------------------------------------------------------------------- */

static void on_link(void *context, uint32_t replica, bool up) {
    struct onus *const onus = context;
    session_on_link(onus->session, replica, up, now_ms(onus));
    if (up) {
        (void)replica_links_send(onus->links, replica, MESSAGE_STATUS_QUERY, span_of(NULL, 0));
    }
}

/* What a client takes from a replica; the limits are those of the kinds. */
static size_t frame_size_max(uint8_t kind) {
    bool const is_for_us =
        (kind >= MESSAGE_REPLY && kind <= MESSAGE_RECEIPT_REPLY) || kind == MESSAGE_CHAIN_REPLY;
    return is_for_us ? message_size_max(kind) : 0;
}

static void on_frame(void *context, uint32_t replica, uint8_t kind, struct span payload) {
    struct onus *const onus = context;
    session_on_frame(onus->session, replica, kind, payload, now_ms(onus));
}

static void on_deadline(uv_timer_t *timer) {
    struct onus *const onus = timer->data;
    onus->armed_ms = UINT64_MAX;
    session_tick(onus->session, now_ms(onus));
}

static struct replica_links *dial(struct onus *onus, const struct configuration *configuration,
                                  struct problem *problem) {
    struct replica_links_handlers const handlers = {.context = onus,
                                                    .on_link = on_link,
                                                    .on_frame = on_frame,
                                                    .frame_size_max = frame_size_max};
    return replica_links_create(&onus->loop, configuration, UINT64_MAX, &handlers, problem);
}

/* Go over to the newest configuration. When memory is short, try again at the next turn. */
static void go_over(struct onus *onus) {
    struct problem problem = {.code = EXIT_OK};
    const struct configuration *const configuration = follower_configuration(onus->follower);
    struct replica_links *const links = dial(onus, configuration, &problem);
    if (links == NULL) {
        return;
    }
    if (!session_reconfigure(onus->session, configuration, now_ms(onus))) {
        replica_links_close(links);
        return;
    }
    replica_links_close(onus->links);
    onus->links = links;
    onus->configuration = configuration;
    onus->outdated = false;
    (void)uv_timer_stop(&onus->deadline);
    onus->armed_ms = UINT64_MAX;
}

static void on_prepare(uv_prepare_t *prepare) {
    struct onus *const onus = prepare->data;
    if (onus->outdated) {
        go_over(onus);
    }
    uint64_t const deadline_ms = session_deadline(onus->session);
    if (deadline_ms >= onus->armed_ms) {
        return;
    }
    uint64_t const now = now_ms(onus);
    onus->armed_ms = deadline_ms;
    CHECK(uv_timer_start(&onus->deadline, on_deadline, deadline_ms > now ? deadline_ms - now : 0,
                         0) == 0);
}

static void on_keepalive(uv_timer_t *timer) {
    const struct onus *const onus = timer->data;
    session_query_status(onus->session);
}

static void on_timeout(uv_timer_t *timer) {
    struct onus *const onus = timer->data;
    onus->timed_out = true;
}

static void start_handles(struct onus *onus) {
    CHECK(uv_timer_init(&onus->loop, &onus->deadline) == 0);
    CHECK(uv_timer_init(&onus->loop, &onus->keepalive) == 0);
    CHECK(uv_timer_init(&onus->loop, &onus->timeout) == 0);
    CHECK(uv_prepare_init(&onus->loop, &onus->prepare) == 0);
    onus->deadline.data = onus;
    onus->keepalive.data = onus;
    onus->timeout.data = onus;
    onus->prepare.data = onus;
    CHECK(uv_timer_start(&onus->keepalive, on_keepalive, KEEPALIVE_MS, KEEPALIVE_MS) == 0);
    CHECK(uv_prepare_start(&onus->prepare, on_prepare) == 0);
}

bool onus_run_until(struct onus *onus, onus_condition condition, void *context,
                    uint32_t timeout_ms) {
    uv_update_time(&onus->loop);
    onus->timed_out = false;
    CHECK(uv_timer_start(&onus->timeout, on_timeout, timeout_ms, 0) == 0);
    bool holds = condition(context);
    while (!holds && !onus->timed_out) {
        (void)uv_run(&onus->loop, UV_RUN_ONCE);
        holds = condition(context);
    }
    CHECK(uv_timer_stop(&onus->timeout) == 0);
    return holds;
}

/* ---- opening and closing --------------------------------------------------------------------- */

static int open_store(struct onus *onus, struct problem *problem) {
    char path[PATH_MAX];
    uint64_t last_index = 0;
    context_receipts_path(onus->context, path);
    onus->store = receipt_store_open(path, &onus->context->founding.genesis.service,
                                     RECEIPT_STORE_WRITE, problem);
    if (onus->store == NULL || receipt_store_last_index(onus->store, &last_index, problem) != 0) {
        return -1;
    }
    onus->min_index = last_index + 1;
    onus->writer = writer_create(&onus->loop, onus->store, on_committed, onus, problem);
    return onus->writer == NULL ? -1 : 0;
}

static int onus_start(struct onus *onus, bool look_only, struct problem *problem) {
    struct session_effects const effects = {
        .context = onus,
        .send = effect_send,
        .receipted = effect_receipted,
        .rejected = effect_rejected,
        .distrusted = effect_distrusted,
        .configuration = effect_configuration,
        .links = effect_links,
        .configured = effect_configured,
    };
    onus->follower = follower_open(onus->context, problem);
    if (onus->follower == NULL) {
        return -1;
    }
    onus->configuration = follower_configuration(onus->follower);
    onus->session = session_create(onus->configuration, &effects);
    if (onus->session == NULL) {
        return problem_set(problem, EXIT_ERROR, "out of memory");
    }
    if (!look_only && open_store(onus, problem) != 0) {
        return -1;
    }
    onus->links = dial(onus, onus->configuration, problem);
    return onus->links == NULL ? -1 : 0;
}

struct onus *onus_open(const struct onus_options *options, struct problem *problem) {
    if (!options->look_only && context_load_key(options->context, problem) != 0) {
        return NULL;
    }
    struct onus *const onus = calloc(1, sizeof *onus);
    if (onus == NULL || uv_loop_init(&onus->loop) != 0) {
        (void)problem_set(problem, EXIT_ERROR, "out of memory");
        free(onus);
        return NULL;
    }
    onus->context = options->context;
    onus->notice = options->notice;
    onus->notice_context = options->notice_context;
    onus->armed_ms = UINT64_MAX;
    buffer_init(&onus->calls, ENCODE_SIZE_MAX);
    buffer_init(&onus->header, STATEMENT_SIZE_MAX);
    buffer_init(&onus->request, REQUEST_SIZE_MAX);
    buffer_init(&onus->bundle, RECEIPT_BUNDLE_SIZE_MAX);
    start_handles(onus);
    if (onus_start(onus, options->look_only, problem) != 0) {
        (void)onus_close(onus, problem);
        return NULL;
    }
    return onus;
}

static void close_loop(struct onus *onus) {
    if (onus->links != NULL) {
        replica_links_close(onus->links);
    }
    uv_close((uv_handle_t *)&onus->deadline, NULL);
    uv_close((uv_handle_t *)&onus->keepalive, NULL);
    uv_close((uv_handle_t *)&onus->timeout, NULL);
    uv_close((uv_handle_t *)&onus->prepare, NULL);
    while (uv_run(&onus->loop, UV_RUN_DEFAULT) != 0) {
    }
    CHECK(uv_loop_close(&onus->loop) == 0);
}

int onus_close(struct onus *onus, struct problem *problem) {
    if (onus == NULL) {
        return 0;
    }
    int status = 0;
    /* Nobody is told anything from here on. */
    for (struct transaction *each = onus->first; each != NULL; each = each->next) {
        each->done = NULL;
    }
    if (onus->writer != NULL) {
        onus_flush(onus);
        const struct problem *const failure = writer_problem(onus->writer);
        if (failure->code != EXIT_OK) {
            status = problem_set(problem, failure->code, "%s", failure->text);
        }
        writer_close(onus->writer);
    }
    close_loop(onus);
    while (onus->first != NULL) {
        struct transaction *const transaction = onus->first;
        onus->first = transaction->next;
        free(transaction);
    }
    session_free(onus->session);
    follower_close(onus->follower);
    receipt_store_close(onus->store);
    buffer_free(&onus->calls);
    buffer_free(&onus->header);
    buffer_free(&onus->request);
    buffer_free(&onus->bundle);
    free(onus);
    return status;
}

/* ---- connecting ------------------------------------------------------------------------------ */

struct connecting {
    struct onus *onus;
    bool few; /* f + 1 answers will do */
};

static bool has_index(void *context) {
    struct connecting *const connecting = context;
    struct onus *const onus = connecting->onus;
    const struct configuration *const configuration = onus->configuration;
    uint32_t const answers =
        connecting->few ? configuration->faults_max + 1 : configuration->quorum;
    uint64_t next_index;
    if (!session_next_index(onus->session, answers, &next_index)) {
        return false;
    }
    onus->has_index = true;
    if (next_index > onus->min_index) {
        onus->min_index = next_index;
    }
    return true;
}

static const char *silence_of(const struct onus *onus, uint32_t replica) {
    const char *const reason = replica_links_reason(onus->links, replica);
    if (session_status(onus->session, replica) != NULL) {
        return "speaks of a later configuration";
    }
    return reason[0] != '\0' ? reason : "no answer";
}

static bool is_with_us(const struct onus *onus, uint32_t replica) {
    const struct status_reply_message *const status = session_status(onus->session, replica);
    return status != NULL && status->config <= onus->configuration->number;
}

static void list_silent(const struct onus *onus, struct problem *problem) {
    char text[PROBLEM_TEXT_SIZE / 2] = "";
    size_t used = 0;
    for (uint32_t r = 0; r < onus->configuration->replica_count && used < sizeof text; r++) {
        if (is_with_us(onus, r)) {
            continue;
        }
        int const size = snprintf(text + used, sizeof text - used, "%s%u (%s)",
                                  used == 0 ? "" : ", ", r, silence_of(onus, r));
        used += size > 0 ? (size_t)size : 0;
    }
    (void)problem_set(problem, EXIT_UNREACHABLE,
                      "too few replicas answer; silent are %s; see onus status", text);
}

static int wait_for_index(struct onus *onus, uint32_t timeout_ms, struct problem *problem) {
    struct connecting connecting = {.onus = onus};
    uint32_t const patience_ms =
        timeout_ms < CONNECT_PATIENCE_MS ? timeout_ms : CONNECT_PATIENCE_MS;
    if (onus->has_index || onus_run_until(onus, has_index, &connecting, patience_ms)) {
        return 0;
    }
    connecting.few = true;
    for (uint32_t waited_ms = patience_ms;; waited_ms += STATUS_AGAIN_MS) {
        if (onus_run_until(onus, has_index, &connecting, STATUS_AGAIN_MS)) {
            return 0;
        }
        if (waited_ms >= timeout_ms) {
            list_silent(onus, problem);
            return -1;
        }
        session_query_status(onus->session);
    }
}

int onus_connect(struct onus *onus, uint32_t timeout_ms, struct problem *problem) {
    return wait_for_index(onus, timeout_ms, problem) == 0
               ? context_check_key(onus->context, onus_configuration(onus), problem)
               : -1;
}

/* ---- submitting ------------------------------------------------------------------------------ */

/* Encode the calls into onus->calls. Out: spans: one a call. */
static int encode_calls(struct onus *onus, struct span *spans,
                        const struct onus_submission *submission, struct problem *problem) {
    size_t ends[CALLS_MAX];
    buffer_clear(&onus->calls);
    for (uint32_t i = 0; i < submission->call_count; i++) {
        const struct onus_call *const call = &submission->calls[i];
        size_t const before = onus->calls.size;
        if (!call_encode(&onus->calls, call->procedure, call->argument_count, call->arguments)) {
            return problem_set(problem, EXIT_USAGE,
                               "call %u: too many arguments, or the request exceeds %u bytes; "
                               "submit it in parts",
                               i, REQUEST_SIZE_MAX);
        }
        if (onus->calls.size - before > CALL_SIZE_MAX || call->procedure.size == 0 ||
            call->procedure.size > PROCEDURE_SIZE_MAX) {
            return problem_set(problem, EXIT_USAGE,
                               "call %u: a procedure has 1 to %u characters, a call at most %u "
                               "bytes",
                               i, PROCEDURE_SIZE_MAX, CALL_SIZE_MAX);
        }
        for (uint32_t k = 0; k < call->argument_count; k++) {
            if (call->arguments[k].size > ARGUMENT_SIZE_MAX) {
                return problem_set(problem, EXIT_USAGE,
                                   "call %u: argument %u is larger than %u bytes", i, k,
                                   ARGUMENT_SIZE_MAX);
            }
        }
        ends[i] = onus->calls.size;
    }
    for (uint32_t i = 0; i < submission->call_count; i++) {
        size_t const begin = i == 0 ? 0 : ends[i - 1];
        spans[i] = span_of(onus->calls.data + begin, ends[i] - begin);
    }
    return 0;
}

/* Build and sign a request in onus->header and onus->request. */
static int build_request(struct onus *onus, struct session_request *out,
                         const struct onus_submission *submission, struct problem *problem) {
    struct span calls[CALLS_MAX];
    uint8_t nonce[REQUEST_NONCE_SIZE];
    const struct digest *const service = &onus->context->founding.genesis.service;
    if (encode_calls(onus, calls, submission, problem) != 0) {
        return -1;
    }
    random_bytes(nonce, sizeof nonce);
    buffer_clear(&onus->header);
    buffer_clear(&onus->request);
    if (!request_header_encode(&onus->header, &onus->context->key, onus->min_index, nonce,
                               submission->mode, submission->call_count, calls)) {
        return problem_set(problem, EXIT_ERROR, "out of memory");
    }
    struct span const header = buffer_span(&onus->header);
    struct signature const signature =
        sign_labelled(&onus->context->secret, &onus->context->key, LABEL_REQUEST, service, header);
    if (!request_encode(&onus->request, header, &signature, submission->call_count, calls)) {
        return problem_set(problem, EXIT_USAGE, "the request exceeds %u bytes; submit it in parts",
                           REQUEST_SIZE_MAX);
    }
    *out = (struct session_request){
        .bytes = buffer_span(&onus->request),
        .id = hash_labelled(LABEL_REQUEST_ID, service, header),
        .digest = hash_statement(LABEL_REQUEST_DIGEST, service, header, &signature),
        .min_index = onus->min_index,
        .call_count = submission->call_count,
    };
    return 0;
}

static bool has_room(const struct onus *onus) {
    return onus->in_flight < SESSION_IN_FLIGHT_MAX &&
           onus->in_flight_size <= SESSION_IN_FLIGHT_SIZE_MAX - REQUEST_SIZE_MAX;
}

static bool write_down(struct onus *onus, struct transaction *transaction,
                       const struct onus_note *note) {
    struct receipt_change change = {.kind = RECEIPT_CHANGE_PENDING,
                                    .bytes = transaction->request.bytes};
    if (note != NULL) {
        change.key = note->key;
        change.note = note->value;
    }
    return writer_put(onus->writer, &change, WRITER_URGENT, transaction);
}

int onus_submit(struct onus *onus, struct digest *id, const struct onus_submission *submission,
                struct problem *problem) {
    const struct problem *const failure = writer_problem(onus->writer);
    struct session_request request = {.call_count = 0};
    CHECK(submission->call_count >= 1 && submission->call_count <= CALLS_MAX);
    CHECK(onus->has_index && onus->writer != NULL);
    if (failure->code != EXIT_OK) {
        return problem_set(problem, failure->code, "%s", failure->text);
    }
    if (!has_room(onus)) {
        return 1;
    }
    if (build_request(onus, &request, submission, problem) != 0) {
        return -1;
    }
    struct transaction *const transaction = transaction_create(onus, request.bytes);
    if (transaction == NULL) {
        return problem_set(problem, EXIT_ERROR, "out of memory");
    }
    struct span const bytes = transaction->request.bytes;
    transaction->request = request;
    transaction->request.bytes = bytes;
    transaction->request.tag = transaction;
    transaction->done = submission->done;
    transaction->user = submission->user;
    if (!write_down(onus, transaction, submission->note)) {
        transaction_remove(onus, transaction);
        free(transaction);
        return problem_set(problem, EXIT_ERROR, "out of memory");
    }
    if (id != NULL) {
        *id = request.id;
    }
    return 0;
}

struct resuming {
    struct onus *onus;
    uint32_t count;
    onus_done done;
    void *user;
    struct problem *problem;
};

static int resume_one(void *context, uint64_t number, struct span bytes) {
    struct resuming *const resuming = context;
    struct onus *const onus = resuming->onus;
    struct arena arena;
    struct request request;
    arena_init(&arena, 16u << 20);
    enum codec_result const result =
        request_decode(&request, &arena, &onus->context->founding.genesis.service, bytes);
    struct transaction *const transaction =
        result == CODEC_OK ? transaction_create(onus, bytes) : NULL;
    if (transaction != NULL) {
        transaction->request.id = request.id;
        transaction->request.digest = request.digest;
        transaction->request.min_index = request.min_index;
        transaction->request.call_count = request.call_count;
        transaction->number = number;
        transaction->done = resuming->done;
        transaction->user = resuming->user;
        resuming->count++;
    }
    arena_free(&arena);
    if (result != CODEC_OK) {
        return problem_set(resuming->problem, EXIT_CORRUPT,
                           "pending request %llu cannot be read: %s", (unsigned long long)number,
                           codec_result_text(result));
    }
    if (transaction == NULL) {
        return problem_set(resuming->problem, EXIT_ERROR, "out of memory");
    }
    transaction_send(onus, transaction);
    return has_room(onus) ? 0 : 1; /* the rest is for the next run */
}

int onus_resume(struct onus *onus, uint32_t *count, onus_done done, void *user,
                struct problem *problem) {
    struct resuming resuming = {.onus = onus, .done = done, .user = user, .problem = problem};
    uv_update_time(&onus->loop);
    int const status = receipt_store_visit_pending(onus->store, resume_one, &resuming, problem);
    *count = resuming.count;
    return status < 0 ? -1 : 0;
}

/* ---- looking --------------------------------------------------------------------------------- */

uint32_t onus_in_flight(const struct onus *onus) {
    return onus->in_flight;
}

bool onus_all_sent(const struct onus *onus) {
    return onus->unsent == 0 && replica_links_backlog(onus->links) == 0;
}

const struct problem *onus_failure(const struct onus *onus) {
    return writer_problem(onus->writer);
}

struct receipt_store *onus_store(struct onus *onus) {
    return onus->store;
}

static bool is_written(void *context) {
    const struct onus *const onus = context;
    return writer_backlog(onus->writer) == 0;
}

void onus_flush(struct onus *onus) {
    writer_flush(onus->writer);
    while (!onus_run_until(onus, is_written, onus, 1000)) {
    }
}

int onus_put_note(struct onus *onus, const struct onus_note *note, struct problem *problem) {
    struct receipt_change const change = {
        .kind = RECEIPT_CHANGE_NOTE, .key = note->key, .note = note->value};
    if (!writer_put(onus->writer, &change, WRITER_URGENT, NULL)) {
        return problem_set(problem, EXIT_ERROR, "out of memory");
    }
    return 0;
}

const struct configuration *onus_configuration(const struct onus *onus) {
    return onus->configuration;
}

bool onus_is_following(const struct onus *onus) {
    return onus->outdated || session_is_following(onus->session);
}

struct onus_replica onus_replica(const struct onus *onus, uint32_t replica) {
    return (struct onus_replica){
        .up = replica_links_is_up(onus->links, replica),
        .settled = replica_links_is_settled(onus->links, replica),
        .status = session_status(onus->session, replica),
        .reason = replica_links_reason(onus->links, replica),
    };
}

void onus_query_status(struct onus *onus) {
    session_query_status(onus->session);
}

uint64_t onus_verified_count(const struct onus *onus) {
    return session_verified_count(onus->session);
}
