/*
 * eras: the configurations that an audit knows, and what made each (protocol §9): the founding one,
 * those that a verified governance chain names, and those that the ledger itself comes to. Every
 * statement is judged by the configuration that it states; what states one that is not known here
 * is not judged, and blames nobody.
 *
 * An era never moves and never changes, so that checkers and engines may borrow what is in it.
 */
#ifndef ONUS_AUDIT_TOOL_ERAS_H
#define ONUS_AUDIT_TOOL_ERAS_H

#include "base/problem.h"
#include "governance/constitution.h"
#include "receipts/chain.h"

/* For decoding one link of a chain. */
#define LINK_ARENA_SIZE (4 * (size_t)CHAIN_LINK_SIZE_MAX)

/* Where a batch lies in the ledger that is followed. */
struct era_place {
    uint64_t entry; /* its first one; 0: there is no such batch */
    uint64_t view;
    uint64_t seq;
};

struct era {
    struct constitution constitution;
    struct configuration configuration;
    struct buffer link;              /* that leads here, encoded; empty: there is none at hand */
    uint64_t blamed[PROOF_KIND_END]; /* bitmap of its replicas, for each kind of proof */
    struct era_place start;          /* the batch that begins it; not of the founding one */
    struct era_place end;            /* the first batch of its last view that ends it */
};

struct eras {
    struct era **list; /* by number, from 1 on */
    uint64_t count;
    uint64_t room;
};

/*
 * Begin with the founding one, of this encoded genesis.
 * Returns: false when that is not sound, or memory is short; free it in any case.
 */
MUST_USE bool eras_init(struct eras *eras, struct span genesis);
void eras_free(struct eras *eras);

/* NULL: not known. */
struct era *eras_find(const struct eras *eras, uint64_t number);
/* What statements of that configuration are judged against. NULL: not known. */
const struct configuration *eras_configuration(const struct eras *eras, uint64_t number);

enum era_step {
    ERA_ADDED,
    ERA_KNOWN,   /* and is the same */
    ERA_DIFFERS, /* another one of this number is known */
    ERA_MEMORY   /* or there are too many of them */
};
/* The ledger, or a chain, has come to the constitution behind the newest, or to a known one. */
MUST_USE enum era_step eras_reach(struct eras *eras, const struct constitution *constitution);
/* Is it known, and with this digest? */
bool eras_is(const struct eras *eras, uint64_t number, const struct digest *constitution);
/* Forget all but the first so many: nothing borrows from those behind them any more. */
void eras_cut(struct eras *eras, uint64_t count);

/* Remember the link that leads to an era, which was verified. Returns: false: memory is short. */
MUST_USE bool era_link_keep(struct era *era, struct span link);
/*
 * The links up to a configuration, as files bring them; free() them. Spans point into the eras.
 * Returns: false when one is not at hand, or memory is short; *links may be freed in any case.
 */
MUST_USE bool eras_links(const struct eras *eras, uint64_t config, struct span **links);
/*
 * Go on from the founding one along a governance chain, all of whose links must hold; genesis as
 * eras_init had it, and nothing but the founding era known so far.
 * Returns: CHAIN_VALID, or why the first link that does not hold, does not.
 */
MUST_USE enum chain_check eras_follow(struct eras *eras, struct span genesis,
                                      const struct span *links, uint32_t link_count);

/*
 * The batch whose last transaction brought an era about, as the link to it shows it.
 * Returns: false when there is no link at hand.
 */
MUST_USE bool era_vote_batch(const struct era *era, struct arena *arena, struct pre_prepare *out);

#endif
