/*
 * pre_prepare: a primary's proposal arrives (protocol §5 step 3). It is kept until its turn comes;
 * a second, different one for the same batch is evidence against its author, and nothing else.
 */
#include "consensus/state.h"

static void note_conflict(struct replica *replica, const struct slot *slot,
                          const struct peer_message *message) {
    suspect(replica);
    if (replica->peers[message->from].conflicts++ >= CONFLICTS_MAX) {
        return;
    }
    effect_note(replica, NOTE_CONFLICT, message->from, slot->seq, RULE_NONE);
    struct effect *const effect = effect_add(replica, EFFECT_EVIDENCE);
    if (effect != NULL) {
        effect->evidence.label = LABEL_PRE_PREPARE;
        effect->evidence.replica = message->from;
        effect->evidence.first = slot->message.statement;
        effect->evidence.second = message->pre_prepare.message.statement;
    }
}

void on_pre_prepare(struct replica *replica, const struct peer_message *message) {
    const struct pre_prepare *const body = &message->pre_prepare.body;
    const struct pre_prepare_message *const received = &message->pre_prepare.message;
    if (body->config != replica->configuration->number ||
        body->view != checker_position(replica->checker)->view || is_primary(replica) ||
        !slot_is_open(replica, body->seq)) {
        return;
    }
    struct slot *const slot = slot_claim(replica, body->seq);
    if (slot->stage == SLOT_EMPTY) {
        if (!slot_store_statement(replica, slot, received)) {
            replica->failed = true;
        }
        /* Its requests are most likely on their way from the clients: give them a moment. */
        slot->fetch_after_ms =
            replica->now_ms +
            (pool_count(replica->pool) == 0 ? FETCH_AFTER_IDLE_MS : FETCH_AFTER_MS);
        return;
    }
    struct digest const digest =
        hash_statement(LABEL_PRE_PREPARE, &replica->configuration->service,
                       received->statement.body, &received->statement.signature);
    if (!digest_equal(&digest, &slot->digest)) {
        note_conflict(replica, slot, message);
    }
}
