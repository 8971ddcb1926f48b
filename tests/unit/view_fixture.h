/*
 * view_fixture: ledgers in which the view changes, written in memory by whoever holds all keys.
 *
 * A book is a tree of ledgers. Each unit, a batch or a new view, knows the one before it and the
 * position after it, computed here and not by the checker; the book's checker stands at its end.
 * Batches, view-changes and new views are first drafted as an honest replica would write them, and
 * can be changed before they are signed. What the checker refuses is not added.
 *
 * Everything lives in the book's arena until the book is closed.
 */
#ifndef ONUS_TESTS_UNIT_VIEW_FIXTURE_H
#define ONUS_TESTS_UNIT_VIEW_FIXTURE_H

#include "ledger/checker.h"
#include "ledger/view.h"
#include "tests/forge/consortium.h"

#define BOOK_REQUESTS_MAX 4u
#define BOOK_EVIDENCE_ALL UINT64_MAX
#define BOOK_EVIDENCE_NONE (UINT64_MAX - 1)
#define BOOK_CHECKPOINTS_MAX 8u

struct book_unit;

struct book_batch {
    struct pre_prepare body;
    struct signed_body statement;
    struct digest digest;         /* LABEL_PRE_PREPARE, with the signature */
    struct span evidence_payload; /* empty: none */
    struct evidence evidence;
    struct span entry_payload;
    uint32_t request_count;
    const struct request *requests[BOOK_REQUESTS_MAX];
    uint64_t signers;                    /* who prepares it, its primary among them */
    bool closes;                         /* its last call makes the next configuration */
    const struct consortium *consortium; /* whose keys sign it */
    const struct book_unit *base;
    const struct book_batch *before; /* the batch before it; NULL: it is the first */
};

struct book_view {
    struct view_unit unit;
    uint32_t carried_count;
    const struct book_batch *carried[PIPELINE_MAX];
};

struct book_unit {
    const struct book_unit *before; /* NULL: genesis */
    const struct book_batch *batch; /* or a new view, or neither: genesis */
    const struct book_view *view;
    const struct book_view *in_force; /* the last new view; NULL: view 0 */
    const struct book_batch *last;    /* the last batch; NULL: none */
    struct ledger_position after;
};

struct book {
    const struct consortium *consortium;
    const struct configuration *configuration;
    struct arena arena;
    struct checker *checker;
    const struct book_unit *genesis;
    const struct book_unit *beginning; /* of the configuration */
    const struct book_unit *end;
    uint64_t request_number;
    uint32_t made_count; /* every batch that was signed */
    uint32_t made_capacity;
    const struct book_batch **made;
    struct digest checkpoints[BOOK_CHECKPOINTS_MAX]; /* that of batch k * C at k */
    struct digest boundary;                          /* that of where the configuration began */
};

/* A book and its checker, at genesis. The consortium is borrowed. */
void book_open(struct book *book, const struct consortium *consortium);
void book_close(struct book *book);

/* The position at the book's end. */
const struct ledger_position *book_now(const struct book *book);
/* The batch with this number on the way to the end, which must be there. */
const struct book_batch *book_batch_at(const struct book *book, uint64_t seq);
/* Does the checker stand at this position? Fails the test if not. */
void book_expect_position(const struct checker *checker, const struct ledger_position *position);

/* Fails the test when another rule is broken than this one. */
void expect_rule(enum rule rule, enum rule expected);

/* Checks each signature; context: const struct digest *, the service. */
bool book_verify(void *context, const struct sign_check *check, enum rule rule);
/* A sink that checks each signature. Borrows the book's configuration. */
struct sign_sink book_sink(const struct book *book);

/* ---- batches ---- */

struct batch_order {
    uint32_t request_count;         /* new ones */
    const struct book_batch *again; /* or the requests and the time of this one */
    uint64_t evidence_upto;         /* or BOOK_EVIDENCE_ALL, BOOK_EVIDENCE_NONE */
    uint64_t signers;               /* 0: the primary and those after it */
    bool closes;
};

const struct request *book_request(struct book *book);
/* The next batch at the book's end, ready to be signed. */
struct book_batch *book_draft(struct book *book, const struct batch_order *order);
/* Put the evidence in that body.evidence_upto asks for, and the fields that follow from it. */
void book_put_evidence(struct book *book, struct book_batch *batch);
/* Compute the root of G and the number of transactions from the requests. */
void book_put_requests(const struct book *book, struct book_batch *batch);
/* Sign the body as it stands by the primary of its view. */
void book_sign(struct book *book, struct book_batch *batch);
/* What this checker says of the batch; it appends it when it breaks no rule. */
enum rule book_judge(struct checker *checker, const struct book_batch *batch,
                     const struct sign_sink *sink);
/* The book's checker, every signature included; appended to the book when it breaks no rule. */
enum rule book_add(struct book *book, const struct book_batch *batch);

/*
 * The configuration has ended: whoever holds the keys of the next one, which must outlive the book,
 * goes on behind it.
 */
void book_enter_configuration(struct book *book, const struct consortium *next);

/* So many honest batches with evidence for all before them. */
void book_append(struct book *book, uint32_t count);
/* Honest batches of one request each without evidence. */
void book_append_bare(struct book *book, uint32_t count);
/* What the view in force must propose again, next; NULL: nothing is left. */
const struct book_batch *book_owed(const struct book *book);
/* Propose again all that the view took over. */
void book_repropose(struct book *book);

/* ---- view-changes ---- */

struct claim_order {
    uint32_t replica;
    uint64_t view;
    const struct book_batch *last; /* whose certificate is shown; NULL: none */
};

struct claim_draft {
    struct view_change body;
    struct chain_item chain[PIPELINE_MAX + 1];
    struct signature signatures[REPLICAS_MAX];
    struct digest nonce_hashes[REPLICAS_MAX];
};

/* out->body points into out: do not copy it. */
void book_draft_claim(const struct book *book, struct claim_draft *out,
                      const struct claim_order *order);
/* The statement of a pre-prepare, signed by the primary of its view. */
struct signed_body book_sign_pre_prepare(struct book *book, const struct pre_prepare *body);
/* Show prepares of these replicas, as they stand, for the last statement of the chain. */
void book_certify(const struct book *book, struct claim_draft *draft, uint64_t signers);
/* Signed by draft->body.replica modulo N. */
struct signed_body book_sign_claim(struct book *book, const struct claim_draft *draft);
/* The honest one. */
struct signed_body book_claim(struct book *book, const struct claim_order *order);
/* Those of the first Q replicas, each showing the same. Out: claims: Q of them. */
void book_claims(struct book *book, struct signed_body *claims, uint64_t view,
                 const struct book_batch *last);

/* ---- new views ---- */

struct view_draft {
    struct new_view body; /* its digests are those here */
    struct digest digests[REPLICAS_MAX];
    uint32_t count;
    struct signed_body claims[REPLICAS_MAX];
    uint32_t signer;
};

/* The new view that an honest primary makes of these view-changes at the book's end. */
void book_draft_view(const struct book *book, struct view_draft *out, uint64_t view,
                     const struct signed_body *claims, uint32_t count);
const struct book_view *book_sign_view(struct book *book, const struct view_draft *draft);
/* The book's checker, every signature included; appended to the book when it breaks no rule. */
enum rule book_enter(struct book *book, const struct book_view *view);

/* The unit behind which a certificate's chain begins: where a new view that chooses it stands. */
const struct book_unit *book_base_of(const struct book *book, const struct book_batch *last);
/* Is this unit the end, or before it? */
bool book_is_on_way(const struct book *book, const struct book_unit *unit);
/* Feed a checker that stands at `from`, on the way, all that lies behind it up to the end. */
void book_follow(const struct book *book, struct checker *checker, const struct book_unit *from,
                 const struct sign_sink *sink);
/* Go to another unit: back to where the ways part, and on from there. */
void book_go(struct book *book, const struct book_unit *unit);
/* Go to the base of a certificate, and enter the view that chooses it. NULL: no certificate. */
void book_change_view(struct book *book, uint64_t view, const struct book_batch *last);

#endif
