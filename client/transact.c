/*
 * transact: see transact.h.
 */
#include "client/transact.h"

#include "client/view.h"

#define PLAIN_TEXT_SIZE 200u

struct waiting {
    struct client *client;
    struct answer *answer;
    bool answered;
    struct problem *problem;
};

void answer_init(struct answer *answer) {
    *answer = (struct answer){.index = 0};
    arena_init(&answer->arena, TRANSACT_ARENA_SIZE);
}

void answer_free(struct answer *answer) {
    arena_free(&answer->arena);
}

const char *transact_rejection_text(enum reject_reason reason) {
    switch (reason) {
    case REJECT_AUTHOR:
        return "the service knows no user or member with this key";
    case REJECT_SIGNATURE:
        return "the signature does not hold";
    case REJECT_EXPIRED:
        return "its window has passed: it will never execute from now on; submit it anew";
    case REJECT_MALFORMED:
        return "the service cannot read it; it may run another version";
    case REJECT_BUSY:
    case REJECT_TOO_EARLY:
    case REJECT_UNKNOWN:
    case REJECT_NOT_VOTING:
        return "the service does not take it now; try again";
    }
    return "the service gives no reason that is known here";
}

static void take_outcome(struct waiting *waiting, const struct onus_result *result) {
    struct answer *const answer = waiting->answer;
    answer->id = result->id;
    answer->index = result->first_index;
    struct span const kept = result->outcome_count == 1
                                 ? arena_copy(&answer->arena, result->outcomes[0])
                                 : span_of(NULL, 0);
    if (outcome_decode(&answer->outcome, &answer->arena, kept) != CODEC_OK) {
        (void)problem_set(waiting->problem, EXIT_ERROR,
                          "the outcome cannot be read; the service runs a newer version");
    }
}

static void on_done(void *user, const struct onus_result *result) {
    struct waiting *const waiting = user;
    waiting->answered = true;
    switch (result->status) {
    case ONUS_EXECUTED:
        take_outcome(waiting, result);
        return;
    case ONUS_REJECTED:
        (void)problem_set(waiting->problem, EXIT_REJECTED, "rejected: %s",
                          transact_rejection_text(result->reason));
        return;
    case ONUS_FAILED: {
        const struct problem *const failure = onus_failure(waiting->client->onus);
        (void)problem_set(waiting->problem, EXIT_ERROR, "not sent, since it cannot be kept: %s",
                          failure->code != EXIT_OK ? failure->text : "out of memory");
        return;
    }
    }
}

static bool is_answered(void *context) {
    const struct waiting *const waiting = context;
    return waiting->answered;
}

int transact_begin(struct client *client, struct problem *problem) {
    uint32_t earlier = 0;
    if (onus_connect(client->onus, client->timeout_ms, problem) != 0 ||
        onus_resume(client->onus, &earlier, NULL, NULL, problem) != 0) {
        return -1;
    }
    if (earlier != 0) {
        command_say(client->globals, "onus: %u earlier request%s without receipt sent again",
                    earlier, earlier == 1 ? "" : "s");
    }
    return 0;
}

int transact(struct client *client, const struct onus_call *call, struct answer *answer,
             struct problem *problem) {
    struct waiting waiting = {.client = client, .answer = answer, .problem = problem};
    struct onus_submission const submission = {.calls = call,
                                               .call_count = 1,
                                               .mode = REQUEST_INDEPENDENT,
                                               .done = on_done,
                                               .user = &waiting};
    arena_reset(&answer->arena);
    int const status = onus_submit(client->onus, &answer->id, &submission, problem);
    if (status != 0) {
        return status < 0 ? -1
                          : problem_set(problem, EXIT_UNREACHABLE,
                                        "too many earlier requests have no receipt yet; "
                                        "run onus load /dev/null to wait for them");
    }
    if (!onus_run_until(client->onus, is_answered, &waiting, client->timeout_ms)) {
        char id[TXID_TEXT_SIZE];
        txid_format(id, &answer->id, 0, 1);
        return problem_set(problem, EXIT_UNREACHABLE,
                           "no receipt within %u s; the request is written down: "
                           "onus receipt get %s asks again",
                           client->timeout_ms / 1000, id);
    }
    return problem->code == EXIT_OK ? 0 : -1;
}

/* Words of a procedure, as they may be shown on a terminal. */
static void plain_text(char out[static PLAIN_TEXT_SIZE], struct span text) {
    size_t const size = text.size < PLAIN_TEXT_SIZE ? text.size : PLAIN_TEXT_SIZE - 1;
    for (size_t i = 0; i < size; i++) {
        out[i] = '?';
        if (text.data[i] >= ' ' && text.data[i] < 0x7f) {
            out[i] = (char)text.data[i];
        }
    }
    out[size] = '\0';
}

int answer_check(const struct answer *answer, const char *procedure, struct problem *problem) {
    const struct outcome *const outcome = &answer->outcome;
    char action[PLAIN_TEXT_SIZE] = "";
    char why[PLAIN_TEXT_SIZE] = "no reason is given";
    if (outcome->status == OUTCOME_OK) {
        return 0;
    }
    if (outcome->reply_count > 0) {
        plain_text(why, outcome->reply[0]);
    }
    if (outcome->reply_count > 1) {
        plain_text(action, outcome->reply[1]);
    }
    return problem_set(problem, EXIT_REJECTED,
                       "%s is %s: %s%s%s%s; this is on the ledger and has a receipt", procedure,
                       view_status(outcome->status), action[0] == '\0' ? "" : "action ", action,
                       action[0] == '\0' ? "" : ": ", why);
}
