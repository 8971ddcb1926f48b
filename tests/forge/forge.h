/*
 * forge: writes ledgers as a coalition of replicas can: whoever holds the keys executes batches,
 * signs as primary and backups, and hands out receipts, honestly or with a lie.
 *
 * Up to its first lie a forged ledger is a correct one: forging runs the real checker and the real
 * execution beside it, and aborts when they disagree. Everything about the ledger's shape is
 * computed here a second time, so that tests hold the checker against it.
 */
#ifndef ONUS_TESTS_FORGE_FORGE_H
#define ONUS_TESTS_FORGE_FORGE_H

#include "execution/replay.h"
#include "ledger/batch.h"
#include "ledger/checker.h"
#include "ledger/disk.h"
#include "tests/forge/consortium.h"

#define FORGE_EVIDENCE_NONE UINT64_MAX

/* A batch as it stands in the forged ledger. */
struct forge_batch {
    uint64_t first_entry;
    uint32_t entry_count;
    struct pre_prepare body;
    struct digest digest;
    struct buffer statement; /* the body's bytes */
    struct signature signature;
    uint64_t signers;         /* who signed, and will be evidenced */
    struct buffer signatures; /* of the backups among them, by ascending replica */
    struct buffer nonces;     /* of all of them */
};

/* A new view as it stands in the forged ledger. */
struct forge_view {
    uint64_t view;
    uint64_t seq; /* of the batch before it */
    uint64_t first_entry;
};

/* A configuration that was entered. */
struct forge_era {
    const struct consortium *consortium;
    const struct constitution *constitution;
};

struct forge_entry {
    enum entry_kind kind;
    size_t offset;
    size_t size;
};

struct forge_checkpoint {
    uint64_t seq;
    struct digest digest;
};

struct forge {
    const struct consortium *consortium;
    struct checker *checker;
    struct engine *engine;
    struct replay replay;
    bool lied; /* checker and engine stand where the lies began */

    struct buffer bytes;       /* payloads of all entries */
    struct buffer entries;     /* of struct forge_entry */
    struct buffer batches;     /* of struct forge_batch; batch s at s - 1 */
    struct buffer checkpoints; /* of struct forge_checkpoint */
    struct buffer views;       /* of struct forge_view */

    /* where a configuration ends and the next begins */
    struct buffer eras;                      /* of struct forge_era: those entered, and the first */
    const struct constitution *constitution; /* NULL: nothing is governed */
    uint64_t gov_index;                      /* of the vote that made the configuration in force */
    uint64_t vote_index;                     /* of the one that ends it, once closing_seq is set */
    uint64_t closing_seq;                    /* the batch with the passing vote; 0: none */
    uint64_t config_start;                   /* the last batch of the configuration before */

    uint64_t signers; /* bitmap: who signs the next batches; a quorum with the view's primary */
    uint64_t view;
    uint64_t view_start;
    struct frontier frontier;
    uint64_t next_index;
    uint64_t evidence_upto;
    uint64_t time_ms;
};

/* Start after genesis. Signers: the first Q replicas. */
void forge_init(struct forge *forge, const struct consortium *consortium);
void forge_free(struct forge *forge);

/* Switch governance on: gov.* are procedures. The constitution is borrowed. */
void forge_govern(struct forge *forge, const struct constitution *now);
/*
 * Behind the last batch of a configuration: who signs from here on. Both are borrowed. Signers: the
 * first Q of them.
 */
void forge_enter_configuration(struct forge *forge, const struct consortium *next,
                               const struct constitution *now);

/* What goes into a batch, and which rule it is to break. */
struct forge_order {
    uint32_t request_count;
    const struct span *requests; /* encoded */
    uint64_t time_ms;            /* 0: one more than before */
    uint64_t evidence_lag;       /* batches to leave without evidence; 0: one, the batch itself */
    /*
     * RULE_NONE, or the rule to break. For RULE_TX_COUNT, RULE_BATCH_EMPTY and those about
     * requests the order itself must be the lie, and this says so.
     */
    enum rule lie;
};

void forge_append(struct forge *forge, const struct forge_order *order);

#define FORGE_NO_CERTIFICATE UINT64_MAX

/* A change of view: who asks for it, what they show, and which rule it is to break. */
struct forge_view_order {
    uint64_t view;
    uint64_t authors;              /* bitmap of those who ask; 0: the first Q replicas */
    uint64_t stated[REPLICAS_MAX]; /* the batch whose certificate each shows; 0: the last one */
    bool only_enter;               /* do not propose again what the view takes over */
    bool unheard;                  /* nobody commits what is proposed again: no evidence for it */
    /*
     * RULE_NONE, or the rule to break. For RULE_VIEW_ORDER the order itself must be the lie, and
     * this says so. A view-change that understates breaks no rule: stated is lie enough.
     */
    enum rule lie;
};

/*
 * Cut the ledger where the highest certificate shown says, append the new view, and propose again
 * what it takes over. If the view's primary is not among the signers, others are chosen.
 */
void forge_change_view(struct forge *forge, const struct forge_view_order *order);

/*
 * Append a batch of another ledger, with its signature, after checking and executing it; and what
 * it evidences. Returns: the first rule that it breaks.
 */
enum rule forge_import(struct forge *forge, const struct batch *batch);
/* The same of a new view. */
enum rule forge_import_view(struct forge *forge, const struct batch *batch);
/* Take over only the evidence that a batch of another ledger has for batches that are here. */
void forge_import_evidence(struct forge *forge, const struct batch *batch);
/* Sign again, with the keys held, every batch that has no signers. */
void forge_complete(struct forge *forge);

uint64_t forge_seq(const struct forge *forge);
struct forge_batch *forge_batch_at(const struct forge *forge, uint64_t seq);
uint64_t forge_entry_count(const struct forge *forge);
struct entry forge_entry_at(const struct forge *forge, uint64_t index);
/* Read batch `seq` from the entries. batch: cleared first. Aborts when it is malformed. */
void forge_read(const struct forge *forge, uint64_t seq, struct batch *batch);

/* Append the encoded certificate of a batch. */
void forge_certificate(const struct forge *forge, uint64_t seq, struct buffer *out);

struct forge_place {
    uint64_t seq;
    uint32_t request;  /* of the batch */
    uint32_t position; /* of the call in it */
};
/* Append the encoded receipt for one call. */
void forge_receipt(const struct forge *forge, const struct forge_place *place, struct buffer *out);

/* Append the whole ledger to a disk's empty directory, and make it durable. */
MUST_USE int forge_write(const struct forge *forge, const struct disk *disk,
                         struct problem *problem);
/* The entries before `end` only. */
MUST_USE int forge_write_beginning(const struct forge *forge, uint64_t end, const struct disk *disk,
                                   struct problem *problem);

/* The configuration that an entry names; genesis: the founding one; 0: it names none. */
uint64_t entry_config(const struct entry *entry);

#endif
