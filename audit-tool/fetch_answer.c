/*
 * fetch_answer: see fetch_answer.h. What anybody could have sent is told from what the replica
 * signed first; only the latter is judged, and only with its digest right.
 */
#include "audit-tool/fetch_answer.h"

#include "audit-tool/served_evidence.h"
#include "execution/state_parts.h"
#include "ledger/served.h"

/* The message, and the range in it: bytes unpacked, packed again to be compared, and places. */
#define ANSWER_BUDGET (8 * (size_t)FRAME_SIZE_MAX)

void fetch_answer_init(struct fetch_answer *answer) {
    *answer = (struct fetch_answer){.kind = FETCH_ANSWER_INVALID};
    arena_init(&answer->arena, ANSWER_BUDGET);
    buffer_init(&answer->evidence, EVIDENCE_FILE_SIZE_MAX);
}

void fetch_answer_free(struct fetch_answer *answer) {
    buffer_free(&answer->evidence);
    arena_free(&answer->arena);
}

static bool check_universally(void *context, const struct sign_check *check, enum rule rule) {
    (void)rule;
    const struct digest *const service = context;
    return sign_verify_universal(service, check);
}

static enum fetch_answer_kind say(struct fetch_answer *answer, enum fetch_answer_kind kind,
                                  const char *reason) {
    answer->reason = answer->arena.exhausted ? "out of memory" : reason;
    return answer->arena.exhausted ? FETCH_ANSWER_FAILED : kind;
}

/* Does that key have the number that is stated, as far as this is known? */
static bool is_place_of(const struct fetch_answer *answer, const struct public_key *key) {
    const struct configuration *const stated = answer->configuration;
    uint32_t const replica = answer->served.replica;
    return stated == NULL || (replica < stated->replica_count &&
                              public_key_equal(&stated->replicas[replica].key, key));
}

/* Is it the constitution to which the governance chain leads, as far as that is known? */
static bool is_of_chain(const struct eras *eras, uint64_t number, const struct digest *digest) {
    return eras_find(eras, number) == NULL || eras_is(eras, number, digest);
}

/* Is it that replica's statement about the answer to this very demand? */
static enum fetch_answer_kind check_statement(struct fetch_answer *answer,
                                              const struct fetch_question *question,
                                              const struct served_message *message) {
    const struct configuration *const configuration = question->configuration;
    const struct public_key *const key = &configuration->replicas[question->replica].key;
    const struct served *const served = &answer->served;
    if (served_decode(&answer->served, &answer->arena, message->statement.body) != CODEC_OK) {
        return say(answer, FETCH_ANSWER_INVALID, "its statement does not decode");
    }
    answer->configuration = eras_configuration(question->eras, served->config);
    if (!is_place_of(answer, key)) {
        return say(answer, FETCH_ANSWER_INVALID, "its statement is not one of this replica");
    }
    if (!digest_equal(&served->demand, &question->demand)) {
        return say(answer, FETCH_ANSWER_INVALID, "its statement answers another demand");
    }
    struct sign_check const check = {.key = *key,
                                     .signature = message->statement.signature,
                                     .body = message->statement.body,
                                     .label = LABEL_SERVED_RANGE};
    if (!sign_verify_universal(&configuration->service, &check)) {
        return say(answer, FETCH_ANSWER_INVALID, "its statement has a bad signature");
    }
    if (!is_of_chain(question->eras, served->config, &served->constitution) ||
        !is_of_chain(question->eras, served->range_config, &served->range_constitution)) {
        return say(answer, FETCH_ANSWER_INVALID,
                   "it goes by another constitution than the governance chain leads to");
    }
    if (served->part != question->part || served->first != question->first ||
        (served->part != SERVED_OFFER && served->seq != question->seq)) {
        return say(answer, FETCH_ANSWER_INVALID, "it signed for something that was not demanded");
    }
    struct digest const digest = served_bytes_digest(&configuration->service, message->payload);
    if (!digest_equal(&digest, &served->digest)) {
        return say(answer, FETCH_ANSWER_INVALID, "it sent other bytes than it signed for");
    }
    return FETCH_ANSWER_GOOD;
}

static enum fetch_answer_kind decode_range(struct fetch_answer *answer, struct span payload) {
    return range_message_decode(&answer->range, &answer->arena, payload) == CODEC_OK
               ? FETCH_ANSWER_GOOD
               : say(answer, FETCH_ANSWER_INVALID, "what it signed for does not decode");
}

static enum fetch_answer_kind check_range(struct fetch_answer *answer,
                                          const struct fetch_question *question,
                                          const struct served_message *message) {
    const struct configuration *const configuration =
        eras_configuration(question->eras, answer->served.range_config);
    if (configuration == NULL) {
        return decode_range(answer, message->payload);
    }
    struct digest service = configuration->service;
    struct sign_sink const sink = {.context = &service, .check = check_universally};
    struct served_judgement const judgement =
        served_range_judge(configuration, &answer->served, message->payload, &sink);
    if (judgement.failed) {
        return say(answer, FETCH_ANSWER_FAILED, "out of memory");
    }
    if (judgement.rule == RULE_NONE) {
        return decode_range(answer, message->payload) == FETCH_ANSWER_GOOD
                   ? FETCH_ANSWER_GOOD
                   : say(answer, FETCH_ANSWER_FAILED, "out of memory");
    }
    answer->reason = rule_text(judgement.rule);
    if (answer->configuration == NULL) {
        /* Nobody can tell yet whose number that is. */
        return say(answer, FETCH_ANSWER_INVALID, answer->reason);
    }
    return served_evidence(&answer->evidence, NULL, question->founding->genesis.bytes,
                           question->eras, &message->statement, message->payload)
               ? FETCH_ANSWER_MALFORMED
               : say(answer, FETCH_ANSWER_FAILED, "out of memory");
}

/* Does the part have the numbers that were signed? */
static bool numbers_agree(const struct fetch_answer *answer) {
    const struct served *const served = &answer->served;
    switch (served->part) {
    case SERVED_ENTRIES:
        break; /* judged with everything else in it */
    case SERVED_OFFER:
        return answer->offer.seq == served->seq;
    case SERVED_DIGESTS:
        return answer->digests.seq == served->seq && answer->digests.first_group == served->first &&
               answer->digests.count == served->end - served->first;
    case SERVED_ITEMS:
        return answer->items.seq == served->seq && answer->items.first_group == served->first &&
               state_group_count(answer->items.count) == served->end - served->first;
    }
    return true;
}

static enum fetch_answer_kind check_part(struct fetch_answer *answer,
                                         const struct fetch_question *question,
                                         const struct served_message *message) {
    struct arena *const arena = &answer->arena;
    enum codec_result result = CODEC_OK;
    switch (question->part) {
    case SERVED_ENTRIES:
        return check_range(answer, question, message);
    case SERVED_OFFER:
        result = checkpoint_offer_message_decode(&answer->offer, arena, message->payload);
        break;
    case SERVED_DIGESTS:
        result = checkpoint_digests_message_decode(&answer->digests, arena, message->payload);
        break;
    case SERVED_ITEMS:
        result = checkpoint_items_message_decode(&answer->items, arena, message->payload);
        break;
    }
    if (result != CODEC_OK) {
        return say(answer, FETCH_ANSWER_INVALID, "what it signed for does not decode");
    }
    return numbers_agree(answer)
               ? FETCH_ANSWER_GOOD
               : say(answer, FETCH_ANSWER_INVALID, "it signed for something else than it sent");
}

void fetch_answer_judge(struct fetch_answer *answer, const struct fetch_question *question,
                        struct span payload) {
    struct served_message message;
    answer->reason = "";
    if (served_message_decode(&message, &answer->arena, payload) != CODEC_OK) {
        answer->kind = say(answer, FETCH_ANSWER_INVALID, "its answer does not decode");
        return;
    }
    answer->kind = check_statement(answer, question, &message);
    if (answer->kind == FETCH_ANSWER_GOOD) {
        answer->kind = check_part(answer, question, &message);
    }
}
