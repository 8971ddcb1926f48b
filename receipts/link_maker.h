/*
 * link_maker: makes the link of the governance chain that leads from one configuration to the next
 * (protocol §9), for whoever has a ledger: a replica, an auditor.
 *
 * It is shown the batches of the configuration in order, and keeps what a link may need: the
 * proposals that are open, and the votes for them. A member has one open at a time, so this is
 * bounded, whatever stands in the ledger. It goes by the outcomes there: a request that merely
 * looks like a vote has none that says so.
 *
 * What is shown is whole (ledger/batch.h) but need not have passed the checker. A link made of what
 * is not true does not hold, and chain_add says so: nothing is verified here.
 */
#ifndef ONUS_RECEIPTS_LINK_MAKER_H
#define ONUS_RECEIPTS_LINK_MAKER_H

#include "governance/constitution.h"
#include "ledger/batch.h"

struct link_maker;

/* Returns: NULL when memory is short. Begin before anything else; the caller frees it. */
MUST_USE struct link_maker *link_maker_new(void);
void link_maker_free(struct link_maker *maker);

/* Another configuration begins. The constitution is borrowed until the next one does. */
void link_maker_begin(struct link_maker *maker, const struct constitution *now);
/* The one it is at; NULL: none yet. */
const struct constitution *link_maker_constitution(const struct link_maker *maker);

/* The next batch of the configuration. */
void link_maker_take(struct link_maker *maker, const struct batch *batch);

/* How a configuration ends. */
struct link_ending {
    const struct batch *closing; /* its last request is the passing vote; it was taken, too */
    struct span certificate;     /* encoded: of the closing batch */
    struct span end_certificate; /* encoded: of the batch behind it */
};

/*
 * Append the encoded link.
 * Returns: false when the closing batch does not end with a vote, not all that belongs to it was
 * shown, or memory is short.
 */
MUST_USE bool link_maker_make(struct link_maker *maker, struct buffer *out,
                              const struct link_ending *ending);

#endif
