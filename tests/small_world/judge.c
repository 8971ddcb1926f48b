/*
 * judge: what must hold, over all that was ever said. Facts about statements only become more, so
 * what is broken once stays broken, and every state that is visited is judged.
 *
 * When a replica says something: it says one thing for one place; nothing of a view below one that
 * it has asked for; reveals no nonce without prepared certificate, nor without the one for all that
 * the view took over, nor that of a batch before; states no lower rank than its nonces claim.
 *
 * In a state: no nonce is out for what fewer than Q replicas have signed; a batch is committed when
 * Q replicas have revealed their nonces for it; no replica takes another one for committed; what is
 * committed under one number holds the same in all views; and whoever is in a later view has it.
 */
#include <stdarg.h>
#include <stdlib.h>

#include "base/check.h"
#include "tests/small_world/process.h"

static void (*explain_by)(void *context, FILE *out);
static void *explain_context;

void world_explain_by(void (*explain)(void *context, FILE *out), void *context) {
    explain_by = explain;
    explain_context = context;
}

void world_violation(const char *format, ...) {
    va_list arguments;
    (void)fputs("violation: ", stdout);
    va_start(arguments, format);
    (void)vfprintf(stdout, format, arguments);
    va_end(arguments);
    (void)fputc('\n', stdout);
    void (*const explain)(void *context, FILE *out) = explain_by;
    explain_by = NULL; /* it may fail, too */
    if (explain != NULL) {
        explain(explain_context, stdout);
    }
    (void)fflush(stdout);
    exit(1);
}

static _Noreturn void fail_said(const struct process *process, uint32_t number, const char *what) {
    char name[NAME_SIZE];
    message_title(process->world, number, name);
    world_violation("replica %u says %s, %s", process->id, name, what);
}

/* ---- when something is said ---- */

/* What it has signed for a batch of a view, or NULL. */
static const struct message *own_statement(const struct process *process, uint64_t view,
                                           uint64_t seq) {
    for (uint32_t i = 0; i < process->sent_count; i++) {
        const struct message *const said = message_at(process->world, process->sent[i]);
        bool const is_vote = said->kind == MESSAGE_PRE_PREPARE || said->kind == MESSAGE_PREPARE;
        if (is_vote && said->view == view && said->seq == seq) {
            return said;
        }
    }
    return NULL;
}

static void judge_once(const struct process *process, uint32_t number) {
    const struct message *const message = message_at(process->world, number);
    for (uint32_t i = 0; i < process->sent_count; i++) {
        const struct message *const said = message_at(process->world, process->sent[i]);
        if (said->kind == message->kind && said->view == message->view &&
            said->seq == message->seq && message->kind != MESSAGE_VIEW_CHANGE) {
            fail_said(process, number, "and has said something else for the same place");
        }
    }
    const struct message *const signed_for = own_statement(process, message->view, message->seq);
    bool const is_vote = message->kind == MESSAGE_PRE_PREPARE || message->kind == MESSAGE_PREPARE;
    if (is_vote && signed_for != NULL) {
        fail_said(process, number, "and has signed for the same place");
    }
}

static void judge_order(const struct process *process, uint32_t number) {
    const struct message *const message = message_at(process->world, number);
    bool const is_nonce = message->kind == MESSAGE_COMMIT;
    struct rank const claim =
        is_nonce ? message_claim(process->world, message) : (struct rank){.view = message->view};
    for (uint32_t i = 0; i < process->sent_count; i++) {
        const struct message *const said = message_at(process->world, process->sent[i]);
        if (said->kind != MESSAGE_VIEW_CHANGE || said->view <= message->view) {
            continue;
        }
        if (!is_nonce) {
            fail_said(process, number, "after it has asked for a later view");
        }
        if (rank_compare(claim, said->rank) > 0) {
            fail_said(process, number, "which claims more than its view-change states");
        }
    }
}

static void judge_rank(const struct process *process, uint32_t number) {
    const struct message *const message = message_at(process->world, number);
    for (uint32_t i = 0; i < process->sent_count; i++) {
        const struct message *const said = message_at(process->world, process->sent[i]);
        if (said->kind != MESSAGE_COMMIT || said->view >= message->view) {
            continue;
        }
        struct rank const claim = message_claim(process->world, said);
        if (rank_compare(message->rank, claim) < 0) {
            fail_said(process, number, "which states less than its nonces claim");
        }
    }
}

/* Has the journal, as far as it is durable, a certificate of this view that reaches this batch? */
static bool journal_reaches(const struct process *process, uint64_t view, uint64_t seq,
                            uint32_t subject) {
    const struct world *const world = process->world;
    bool found = false;
    for (uint64_t i = 0; i < process->journal.count && !found; i++) {
        struct journal_record record;
        struct arena arena;
        arena_init(&arena, 4 * JOURNAL_RECORD_SIZE_MAX);
        CHECK(journal_record_decode(&record, &arena,
                                    store_bytes(&world->store, process->journal.items[i])) ==
              CODEC_OK);
        bool const is_certificate = record.kind == JOURNAL_NONCE || record.kind == JOURNAL_PREPARED;
        bool const fits = subject == WORLD_NONE ||
                          span_equal(store_bytes(&world->store, subject),
                                     span_of(record.pre_prepare_digest.bytes, DIGEST_SIZE));
        found = is_certificate && record.view == view && record.seq >= seq && fits &&
                record.signature_count + 1 >= quorum_of(world);
        arena_free(&arena);
    }
    return found;
}

/* Does the durable ledger hold evidence of this view that reaches this batch? */
static bool ledger_evidences(const struct process *process, uint64_t view, uint64_t seq) {
    const struct world *const world = process->world;
    for (uint64_t i = 0; i < process->settled.count; i++) {
        struct span const stored = store_bytes(&world->store, process->settled.items[i]);
        struct signed_body statement;
        struct pre_prepare body;
        struct arena arena;
        if (stored.data[0] != ENTRY_PRE_PREPARE) {
            continue;
        }
        arena_init(&arena, 1u << 18);
        CHECK(signed_decode(&statement, &arena, span_of(stored.data + 1, stored.size - 1),
                            STATEMENT_SIZE_MAX) == CODEC_OK &&
              pre_prepare_decode(&body, &arena, statement.body) == CODEC_OK);
        arena_free(&arena);
        if (body.view == view && body.evidence_upto >= seq) {
            return true;
        }
    }
    return false;
}

/* In the order of batches, but for those that the ledger shows to be committed without it. */
static void judge_row(const struct process *process, uint32_t number) {
    const struct message *const message = message_at(process->world, number);
    bool is_next = own_statement(process, message->view, message->seq - 1) == NULL ||
                   ledger_evidences(process, message->view, message->seq - 1);
    for (uint32_t i = 0; i < process->sent_count && !is_next; i++) {
        const struct message *const said = message_at(process->world, process->sent[i]);
        is_next = said->kind == MESSAGE_COMMIT && said->view == message->view &&
                  said->seq + 1 == message->seq;
    }
    if (!is_next) {
        fail_said(process, number, "and has not said that of the batch before");
    }
}

static void judge_nonce(const struct process *process, uint32_t number) {
    const struct message *const message = message_at(process->world, number);
    judge_row(process, number);
    const struct message *const own = own_statement(process, message->view, message->seq);
    if (message->subject == WORLD_NONE || own == NULL || own->subject != message->subject) {
        fail_said(process, number, "which it has signed nothing for");
    }
    if (!journal_reaches(process, message->view, message->seq, message->subject)) {
        fail_said(process, number, "whose certificate is not in its journal");
    }
    struct rank const claim = message_claim(process->world, message);
    bool const has_anchor = message->view == 0 || claim.seq == message->seq ||
                            journal_reaches(process, claim.view, claim.seq, WORLD_NONE) ||
                            ledger_evidences(process, claim.view, claim.seq);
    if (!has_anchor) {
        fail_said(process, number, "without a certificate for all that the view took over");
    }
}

void judge_said(const struct process *process, uint32_t number) {
    const struct message *const message = message_at(process->world, number);
    judge_once(process, number);
    judge_order(process, number);
    if (message->kind == MESSAGE_VIEW_CHANGE) {
        judge_rank(process, number);
    } else if (message->kind == MESSAGE_COMMIT) {
        judge_nonce(process, number);
    }
}

/* ---- states ---- */

/* Who has said something about a pre-prepare; the liar may have said anything. */
struct authors {
    uint32_t signed_it; /* bitmaps */
    uint32_t revealed;
};

static struct authors authors_for(const struct world *world, const struct net *net,
                                  uint32_t subject) {
    uint32_t const liar = world->options.has_liar ? 1u << world->options.liar : 0;
    struct authors authors = {.signed_it = liar, .revealed = liar};
    for (uint32_t i = 0; i < net->count; i++) {
        const struct message *const message = message_at(world, net->items[i]);
        if (message->subject != subject) {
            continue;
        }
        if (message->kind == MESSAGE_COMMIT) {
            authors.revealed |= 1u << message->author;
        } else if (message->kind == MESSAGE_PRE_PREPARE || message->kind == MESSAGE_PREPARE) {
            authors.signed_it |= 1u << message->author;
        }
    }
    return authors;
}

static uint32_t count_of(uint32_t authors) {
    return (uint32_t)__builtin_popcount(authors);
}

/* Out: what is committed. Returns: how many are. */
static uint32_t find_committed(const struct world *world, const struct net *net,
                               struct committed out[COMMITTED_MAX]) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < net->count; i++) {
        const struct message *const message = message_at(world, net->items[i]);
        if (message->kind != MESSAGE_PRE_PREPARE) {
            continue;
        }
        struct authors const authors = authors_for(world, net, message->subject);
        bool const is_revealed =
            count_of(authors.revealed) > (world->options.has_liar ? 1u : 0u); /* by a correct one */
        if (is_revealed && count_of(authors.signed_it) < quorum_of(world)) {
            world_violation("a nonce for batch %llu of view %llu is out, for which fewer than %u "
                            "have signed",
                            (unsigned long long)message->seq, (unsigned long long)message->view,
                            quorum_of(world));
        }
        if (count_of(authors.revealed) >= quorum_of(world)) {
            CHECK(count < COMMITTED_MAX);
            out[count++] = (struct committed){
                .view = message->view, .seq = message->seq, .content = message->content};
        }
    }
    return count;
}

static void judge_pair(const struct committed *a, const struct committed *b) {
    if (a->seq == b->seq && a->content != b->content) {
        world_violation("batch %llu is committed in view %llu and, holding something else, "
                        "in view %llu",
                        (unsigned long long)a->seq, (unsigned long long)a->view,
                        (unsigned long long)b->view);
    }
}

/* Whoever is in a later view has the batch, or is to propose it again. */
static void judge_kept(const struct local *local, const struct committed *committed) {
    const struct slot_facts *const slot = &local->facts.slots[committed->seq];
    bool const is_later = local->facts.view > committed->view;
    if (is_later && (!slot->known || slot->content != committed->content)) {
        world_violation("batch %llu, committed in view %llu, is lost: replica %u is in view "
                        "%u without it",
                        (unsigned long long)committed->seq, (unsigned long long)committed->view,
                        local->replica, local->facts.view);
    }
}

/* What a replica takes for committed is. */
static void judge_taken(const struct local *local, const struct committed *committed,
                        uint32_t count) {
    for (uint32_t seq = 1; seq <= local->facts.committed; seq++) {
        bool found = false;
        for (uint32_t i = 0; i < count && !found; i++) {
            found =
                committed[i].seq == seq && committed[i].content == local->facts.slots[seq].content;
        }
        if (!found) {
            world_violation("replica %u takes batch %u as committed, which is not", local->replica,
                            seq);
        }
    }
}

uint32_t judge_state(const struct world *world, const uint32_t locals[WORLD_REPLICAS],
                     const struct net *net, struct committed out[COMMITTED_MAX]) {
    uint32_t const count = find_committed(world, net, out);
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t k = i + 1; k < count; k++) {
            judge_pair(&out[i], &out[k]);
        }
        for (uint32_t r = 0; r < WORLD_REPLICAS; r++) {
            if (!is_liar(world, r)) {
                judge_kept(local_at(world, locals[r]), &out[i]);
            }
        }
    }
    for (uint32_t r = 0; r < WORLD_REPLICAS; r++) {
        if (!is_liar(world, r)) {
            judge_taken(local_at(world, locals[r]), out, count);
        }
    }
    return count;
}
