/*
 * checker_gov: from one configuration to the next (protocol §9). See checker.h.
 *
 * A vote that passes ends its batch. Two empty batches follow, so that the ledger evidences that
 * batch and the first of the two; then the configuration is closed. The next one begins behind it
 * as a ledger begins behind genesis: in view 0, with nothing prepared.
 */
#include <string.h>

#include "base/check.h"
#include "ledger/checker_internal.h"

static bool is_closing(const struct ledger_position *now) {
    return now->closing_seq != 0;
}

bool checker_is_closed(const struct checker *checker) {
    const struct ledger_position *const now = &checker->now;
    return is_closing(now) && now->seq == now->closing_seq + CLOSING_BATCHES;
}

enum batch_kind checker_next_kind(const struct checker *checker) {
    const struct ledger_position *const now = &checker->now;
    if (is_closing(now)) {
        return BATCH_END_OF_CONFIGURATION;
    }
    return now->config_start != 0 && now->seq == now->config_start ? BATCH_START_OF_CONFIGURATION
                                                                   : BATCH_NORMAL;
}

uint64_t checker_gov_index_of(const struct checker *checker, enum batch_kind kind) {
    /* The vote was the last transaction, and the batches that end a configuration have none. */
    return kind == BATCH_END_OF_CONFIGURATION ? checker->now.next_index - 1
                                              : checker->now.gov_index;
}

bool checker_kind_fits(const struct checker *checker, const struct pre_prepare *body) {
    if (checker_is_closed(checker)) {
        return false;
    }
    /* Who does not see the requests learns of a vote from what follows it. */
    bool const may_close =
        checker->skimming && !is_closing(&checker->now) && body->kind == BATCH_END_OF_CONFIGURATION;
    if (body->kind != checker_next_kind(checker) && !may_close) {
        return false;
    }
    return body->kind == BATCH_NORMAL || body->tx_count == 0;
}

bool checker_evidences_all(const struct checker *checker, const struct pre_prepare *body) {
    /* What a view takes over is proposed again before anything of it can be committed. */
    return body->kind != BATCH_NORMAL && body->seq > checker->now.view_start;
}

const struct configuration *checker_configuration_of(const struct checker *checker, uint64_t seq) {
    bool const is_before = seq <= checker->now.config_start;
    CHECK(!is_before || checker->before != NULL);
    return is_before ? checker->before : checker->configuration;
}

void checker_advance_configuration(struct checker *checker, const struct pre_prepare *body) {
    struct ledger_position *const now = &checker->now;
    now->gov_index = body->gov_index;
    if (checker->batch_closes) {
        now->closing_seq = body->seq;
    } else if (body->kind == BATCH_END_OF_CONFIGURATION && !is_closing(now)) {
        now->closing_seq = body->seq - 1;
    }
}

/* ---- going over ---- */

void checker_set_before(struct checker *checker, const struct configuration *before) {
    CHECK(before->number + 1 == checker->configuration->number);
    checker->before = before;
}

void checker_enter(struct checker *checker, const struct configuration *next) {
    struct ledger_position *const now = &checker->now;
    struct ended *const ended = &checker->ended;
    CHECK(!checker->in_batch && checker_is_closed(checker));
    CHECK(next->number == checker->configuration->number + 1 &&
          next->parameters.window == checker->configuration->parameters.window);
    ended->position = *now;
    ended->before = checker->before;
    ended->view_record_next = checker->view_record_next;
    memcpy(ended->view_records, checker->view_records, sizeof ended->view_records);
    checker->before = checker->configuration;
    checker->configuration = next;
    now->config_start = now->seq;
    now->closing_seq = 0;
    now->view = 0;
    now->view_start = now->seq;
    now->view_seq = now->seq;
    checker->view_record_next = 0;
    checker_mark_now(checker);
}

bool checker_may_leave(const struct checker *checker) {
    const uint64_t start = checker->now.config_start;
    return start != 0 && checker->ended.position.seq == start && checker->settled_seq < start;
}

void checker_leave(struct checker *checker) {
    const struct ended *const ended = &checker->ended;
    CHECK(checker_may_leave(checker));
    checker_rollback_in(checker, checker->now.config_start, 0);
    checker->configuration = checker->before;
    checker->before = ended->before;
    checker->now = ended->position;
    checker->view_record_next = ended->view_record_next;
    memcpy(checker->view_records, ended->view_records, sizeof ended->view_records);
    checker_mark_now(checker);
}
