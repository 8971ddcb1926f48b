/*
 * fetch_answer: does what a replica sent answer a demand, and is it a range of a ledger (protocol
 * §10)? Every byte is hostile. Pure, slow for the signatures: for threads beside the loop.
 *
 * A replica may have gone over to a configuration that nobody here knows yet. Its statement is then
 * judged by the key of the one that was asked, and what lies in such a configuration is taken if it
 * decodes: the audit judges all of it, and is led on by it.
 *
 * Of a part of a checkpoint only the form is judged here. Whether it is what a quorum signed is
 * asked by consensus/join.h; bytes that are not convict nobody (protocol §10), so they are never
 * malformed, only invalid.
 */
#ifndef ONUS_AUDIT_TOOL_FETCH_ANSWER_H
#define ONUS_AUDIT_TOOL_FETCH_ANSWER_H

#include "audit-tool/eras.h"
#include "host/genesis_file.h"
#include "ledger/codec_served.h"
#include "ledger/wire.h"

enum fetch_answer_kind {
    FETCH_ANSWER_GOOD,
    FETCH_ANSWER_INVALID,   /* not what that replica signed as the answer to that demand */
    FETCH_ANSWER_MALFORMED, /* it did, and it is no range: see evidence */
    FETCH_ANSWER_FAILED     /* out of memory: nothing is known */
};

/* What was demanded. */
struct fetch_question {
    const struct founding *founding;
    const struct configuration *configuration; /* in which it has the number: */
    uint32_t replica;
    const struct eras *eras; /* all that are known, with the links that lead to them */
    struct digest demand;    /* LABEL_DEMAND */
    enum served_part part;
    uint64_t seq;   /* of the checkpoint, for its digests and items */
    uint64_t first; /* entry, or group */
};

struct fetch_answer {
    enum fetch_answer_kind kind;
    const char *reason;                        /* one line, static: why it is not good */
    struct served served;                      /* unless invalid */
    const struct configuration *configuration; /* that it states; NULL: it is not known */
    union { /* when good; points into the payload's copy or the arena */
        struct range_message range;
        struct checkpoint_offer_message offer;
        struct checkpoint_digests_message digests;
        struct checkpoint_items_message items;
    };
    struct buffer evidence; /* when malformed: a file of evidence, verified */

    /* private */
    struct arena arena;
};

void fetch_answer_init(struct fetch_answer *answer);
void fetch_answer_free(struct fetch_answer *answer);

/* Judge a MESSAGE_SERVED. payload must live as long as the answer is used. */
void fetch_answer_judge(struct fetch_answer *answer, const struct fetch_question *question,
                        struct span payload);

#endif
