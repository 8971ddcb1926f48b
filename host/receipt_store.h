/*
 * receipt_store: what a client must not forget, in LMDB: requests written down before they are
 * sent, and the receipts of those that were executed (protocol §5 step 1, §8).
 *
 *   pending       number -> the request's bytes: sent or about to be sent, no receipt yet
 *   receipts      number -> a receipt_bundle: request, outcomes, place in its batch
 *   ids           request id -> number, for requests with receipts
 *   certificates  digest -> the certificate, which all requests of a batch share
 *   notes         anything small that a program wants to commit together with its requests
 *
 * Numbers count upwards, so that writing appends and receipts are visited in the order in which
 * their requests were written down. One commit takes many changes, is synchronous, and either all
 * of it or nothing is found afterwards. Several programs may share a store.
 *
 * Threads: any number of readers; one writer at a time in a process.
 */
#ifndef ONUS_HOST_RECEIPT_STORE_H
#define ONUS_HOST_RECEIPT_STORE_H

#include "host/receipt_bundle.h"

/* How many changes one commit may take, and how large a note is. */
#define RECEIPT_STORE_CHANGES_MAX 4096u
#define RECEIPT_STORE_NOTE_SIZE_MAX 1024u
#define RECEIPT_STORE_MAP_SIZE ((uint64_t)64 << 30)

struct receipt_store;

enum receipt_store_mode {
    RECEIPT_STORE_READ, /* must exist */
    RECEIPT_STORE_WRITE /* made when it is missing */
};

/* Is there a store in this directory? So the auditor tells one from loose receipt files. */
bool receipt_store_exists(const char *directory);

/* Returns: NULL with a problem, also when it belongs to another service. */
MUST_USE struct receipt_store *receipt_store_open(const char *directory,
                                                  const struct digest *service,
                                                  enum receipt_store_mode mode,
                                                  struct problem *problem);
/* NULL is ignored. No other thread may be in the store. */
void receipt_store_close(struct receipt_store *store);

enum receipt_change_kind {
    RECEIPT_CHANGE_PENDING,  /* write a request down, with a note if key is set; out: number */
    RECEIPT_CHANGE_RECEIPTS, /* it was executed: keep the bundle, no longer pending */
    RECEIPT_CHANGE_DISCARD,  /* it will never be executed: no longer pending */
    RECEIPT_CHANGE_IMPORT,   /* keep a bundle that somebody else had sent; out: number */
    RECEIPT_CHANGE_NOTE      /* set a note; an empty value removes it */
};

struct receipt_change {
    enum receipt_change_kind kind;
    uint64_t number;                         /* PENDING, IMPORT: out; RECEIPTS, DISCARD: in */
    struct span bytes;                       /* PENDING: request; else an encoded bundle */
    const struct digest *request_id;         /* RECEIPTS, IMPORT */
    const struct digest *certificate_digest; /* RECEIPTS, IMPORT: SHA-256 of the certificate */
    struct span certificate;                 /* RECEIPTS, IMPORT */
    uint64_t last_index;                     /* RECEIPTS, IMPORT: of its last call */
    struct span key;                         /* NOTE, PENDING: of the note */
    struct span note;                        /* NOTE, PENDING */
};

/* Commit all changes, durably. Returns: 0 or -1; after -1 none of them has happened. */
MUST_USE int receipt_store_commit(struct receipt_store *store, struct receipt_change *changes,
                                  uint32_t count, struct problem *problem);

/* The highest transaction index of all receipts held; 0: none. Returns: 0 or -1. */
MUST_USE int receipt_store_last_index(struct receipt_store *store, uint64_t *last_index,
                                      struct problem *problem);

/* Out: note appended; size 0 when there is none. Returns: 0 or -1. */
MUST_USE int receipt_store_note(struct receipt_store *store, struct span key, struct buffer *note,
                                struct problem *problem);

/* The visitors return 0 to go on; anything else stops and is returned. Spans live for the call. */
typedef int (*receipt_pending_visitor)(void *context, uint64_t number, struct span request);
MUST_USE int receipt_store_visit_pending(struct receipt_store *store,
                                         receipt_pending_visitor visitor, void *context,
                                         struct problem *problem);

/* One request with receipts; certificate included. */
typedef int (*receipt_bundle_visitor)(void *context, const struct receipt_bundle *bundle);
MUST_USE int receipt_store_visit_bundles(struct receipt_store *store,
                                         receipt_bundle_visitor visitor, void *context,
                                         struct problem *problem);

/* The same as it is stored: for receipt_bundle_decode, which may be done on another thread. */
typedef int (*receipt_stored_visitor)(void *context, struct span bundle, struct span certificate);
MUST_USE int receipt_store_visit_stored(struct receipt_store *store, receipt_stored_visitor visitor,
                                        void *context, struct problem *problem);

/* Every receipt of the store, one by one: what an auditor takes. */
MUST_USE int receipt_store_visit(struct receipt_store *store, receipt_visitor visitor,
                                 void *context, struct problem *problem);

/*
 * The receipts of one request.
 * Returns: 1 when the store has none for it; 0; -1; or what the visitor returned.
 */
MUST_USE int receipt_store_find(struct receipt_store *store, const struct digest *request_id,
                                struct receipt_range range, receipt_visitor visitor, void *context,
                                struct problem *problem);

#endif
