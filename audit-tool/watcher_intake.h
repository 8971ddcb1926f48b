/*
 * watcher_intake: receipts into the watcher's store: from directories, looked through again and
 * again for what is new, and one by one for whoever brings them. Each is verified as anybody else
 * would verify it, once (protocol §10 step 1); a bad one is told and blames nobody.
 *
 * Receipts of configurations that no ledger has led to so far, and that bring no links, are neither
 * good nor bad: they are not taken in, only counted, and directories are looked at again for them.
 *
 * An intake belongs to one thread. What it took in counts when watcher_intake_commit returns 0.
 */
#ifndef ONUS_AUDIT_TOOL_WATCHER_INTAKE_H
#define ONUS_AUDIT_TOOL_WATCHER_INTAKE_H

#include "audit-tool/intake_chain.h"
#include "audit-tool/watcher_store.h"
#include "host/receipt_bundle.h"

struct watcher_intake {
    struct watcher_store *store;     /* borrowed */
    const struct founding *founding; /* borrowed */
    const char *chain_file;          /* borrowed; see intake_chain.h */
    /* NULL, or told of a bad receipt: where it is from, and why it does not hold. */
    void (*on_bad)(void *context, const char *name, const char *why);
    void *context;

    uint64_t kept;    /* receipts, since the last commit */
    uint64_t known;   /* that were kept before */
    uint64_t invalid; /* that do not hold */
    uint64_t unknown; /* of unknown configurations: since the owner set it to 0 */

    /* private */
    struct intake_chain chain;
    struct bundle_verifier verifier;
    struct arena arena;
    struct store_write *write;
    uint32_t changes; /* of this write */
};

/*
 * Start with all but the private part filled in. Free it in any case.
 * Returns: 0, or -1 when memory is short.
 */
MUST_USE int watcher_intake_init(struct watcher_intake *intake, struct problem *problem);
void watcher_intake_free(struct watcher_intake *intake);

/* A receipt as `onus receipt get` writes it to a file. Returns: 0, or -1 when the store fails. */
MUST_USE int watcher_intake_receipt(struct watcher_intake *intake, const char *name,
                                    struct span file, struct problem *problem);
/* The receipts of one request, as host/receipts_file.h has them. Returns: as above. */
MUST_USE int watcher_intake_bundle(struct watcher_intake *intake, const char *name,
                                   struct span bundle, struct span certificate,
                                   struct problem *problem);
/* A link that comes before such receipts. Returns: as above. */
MUST_USE int watcher_intake_link(struct watcher_intake *intake, const char *name, struct span link,
                                 struct problem *problem);
/* Make durable what was taken in; counts start anew. Returns: 0 or -1. */
MUST_USE int watcher_intake_commit(struct watcher_intake *intake, struct problem *problem);

/* Forget what was taken in since the last commit: after a failure. */
void watcher_intake_abandon(struct watcher_intake *intake);

/*
 * All that is new in a directory: loose files, exported files, a client's store. A directory that
 * is missing is a problem. Returns: 0 or -1. Commits. Out: kept: how many receipts are new.
 */
MUST_USE int watcher_intake_directory(struct watcher_intake *intake, const char *directory,
                                      uint64_t *kept, struct problem *problem);

#endif
