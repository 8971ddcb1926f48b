/*
 * chain: the governance chain (protocol §9): who knows the service id gets from genesis to every
 * constitution, link by link, and needs to believe no replica for it.
 *
 * A link leads from constitution n to n + 1. It brings the proposal, whose rules are applied here
 * again; the signed votes of members of n that make it pass; the receipt of the vote that passed
 * it, and the certificate of the batch behind it, which begins the end of configuration n. Both
 * are signed by a quorum of n. Votes are the members' own word. Replicas are believed for nothing
 * but the order: that it was this proposal that came to pass, in this place of the ledger.
 *
 * A member may say yes and later no. It has then signed a yes all the same, and a link may show it:
 * whether a proposal passed on the ledger is the receipt's to say, and the auditor's to check.
 *
 * Two links for one number that both hold and say different things are a fork: more than f replicas
 * of configuration n have lied. Which ones, an audit says (§10): when the two passed in different
 * views, a correct replica may have signed in both, misled by others about the older one.
 *
 * This is here, and not in governance/, because links are made of receipts.
 */
#ifndef ONUS_RECEIPTS_CHAIN_H
#define ONUS_RECEIPTS_CHAIN_H

#include "base/problem.h"
#include "governance/constitution.h"
#include "governance/proposal.h"
#include "receipts/receipt.h"

/* What comes of a link, in the order in which checks are made. */
enum chain_check {
    CHAIN_VALID = 0,      /* it holds, and the chain is longer by it */
    CHAIN_KNOWN,          /* it holds, and the chain has had that step already */
    CHAIN_ENCODING,       /* it is no link, or its proposal is none */
    CHAIN_GAP,            /* it is for a configuration that the chain does not reach */
    CHAIN_PROPOSAL,       /* the proposal breaks a rule */
    CHAIN_RECEIPT,        /* of the passing vote does not hold */
    CHAIN_PASSING_VOTE,   /* the receipt is not for a member's yes to this proposal */
    CHAIN_OUTCOME,        /* it does not say that this passed, and with that constitution */
    CHAIN_PLACE,          /* the batch does not end with the vote's request */
    CHAIN_VOTER,          /* a vote is not by a member, comes twice, or out of order */
    CHAIN_VOTE,           /* a vote is not a yes to this proposal */
    CHAIN_VOTE_SIGNATURE, /* a vote's signature does not hold */
    CHAIN_VOTES,          /* there are too few */
    CHAIN_CERTIFICATE,    /* of the batch behind it does not hold */
    CHAIN_END,            /* that batch is not the one that this vote brings about */
    CHAIN_FORK,           /* it holds, and the chain says otherwise */
    CHAIN_MEMORY,         /* there is no room for it: it was not judged, or not kept */
    CHAIN_CHECK_COUNT
};

/* One sentence for a person. */
const char *chain_check_text(enum chain_check check);

struct chain_verdict {
    enum chain_check check;
    const char *detail; /* what is wrong with the proposal, receipt or certificate; or NULL */
};

struct chain;

/*
 * Begin a chain with a genesis. service: the service id that it must have; NULL: any.
 * Returns: NULL with a problem of code EXIT_INVALID, or EXIT_ERROR when memory is short. The
 * caller frees it.
 */
MUST_USE struct chain *chain_new(const struct digest *service, struct span genesis,
                                 struct problem *problem);
void chain_free(struct chain *chain);

/* Judge an encoded link, and keep what it says when it is the next one. */
MUST_USE struct chain_verdict chain_add(struct chain *chain, struct span link);

/* The newest constitution. Valid until the next link is added. */
const struct constitution *chain_newest(const struct chain *chain);
/* The constitution, or configuration, of that number. Returns: false when there is none. */
MUST_USE bool chain_find(struct chain *chain, uint64_t number, struct constitution *out);
MUST_USE bool chain_find_configuration(struct chain *chain, uint64_t number,
                                       struct configuration *out);

/* ---- files ---- */

/*
 * A file is the magic, then a header with genesis, then links in order, each with its size before
 * it as 32 bits, big endian. So a link is appended without touching what is there.
 */
#define CHAIN_FILE_MAGIC "onus-chain-v1\n"

/* Append the beginning of a file, or one link. Returns: false when out of room. */
MUST_USE bool chain_file_begin(struct buffer *out, struct span genesis);
MUST_USE bool chain_file_append(struct buffer *out, struct span link);

/* Where one reads. Spans point into the file. */
struct chain_reader {
    struct span rest;
    struct span genesis;
    uint32_t links; /* read so far */
};

/* Returns: false when it is no such file. arena: genesis is in it. */
MUST_USE bool chain_reader_open(struct chain_reader *reader, struct arena *arena, struct span file);
/* Returns: 1 with the next link, 0 at the end, -1 when the file is damaged or too long. */
MUST_USE int chain_reader_next(struct chain_reader *reader, struct span *link);

/*
 * Read a whole file into a chain.
 * Returns: NULL with a problem that names the first link that does not hold; as chain_new.
 */
MUST_USE struct chain *chain_read(const struct digest *service, struct span file,
                                  struct problem *problem);

#endif
