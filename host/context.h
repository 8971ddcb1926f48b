/*
 * context: a directory that says which service, and as whom.
 *
 *   genesis.onus   the service: its id, its replicas and where they are
 *   user.key       the key that requests are signed with; needed to submit only
 *   config         optional: see below
 *   chain          how the consortium has changed since; fetched (host/context_chain.h)
 *   receipts/      what was submitted and its receipts (host/receipt_store.h)
 *
 * config holds lines "key: value"; empty lines and lines that begin with '#' are ignored.
 *
 *   service: HEX          refuse any other genesis
 *   address: ID HOST:PORT reach replica ID there, whatever its constitution says; ID is the number
 *                         that it has in the newest configuration that the context knows
 *   timeout: SECONDS      how long commands wait by default
 */
#ifndef ONUS_HOST_CONTEXT_H
#define ONUS_HOST_CONTEXT_H

#include <limits.h>

#include "base/sign.h"
#include "host/genesis_file.h"

#define CONTEXT_CONFIG_SIZE_MAX (64u << 10)
#define CONTEXT_TIMEOUT_MS_DEFAULT 30000u
#define CONTEXT_TIMEOUT_S_MAX (7u * 24u * 3600u)

struct context {
    char directory[PATH_MAX - NAME_MAX - 1];
    struct founding founding;
    bool has_key;
    struct secret_key secret;
    struct public_key key;
    char key_path[PATH_MAX]; /* for messages */
    uint32_t timeout_ms;
    char addresses[REPLICAS_MAX][ADDRESS_SIZE_MAX + 1]; /* of config; empty: none is given */
};

/*
 * Load a context. directory: NULL for $ONUS_CONTEXT, else ~/.config/onus.
 * Free it with context_free, also after a problem. Returns: 0 or -1.
 */
MUST_USE int context_load(struct context *context, const char *directory, struct problem *problem);
void context_free(struct context *context);

/* Load user.key, if that has not been done yet. Returns: 0 or -1. */
MUST_USE int context_load_key(struct context *context, struct problem *problem);

/* Sign with the key of another file instead, such as a member's. Returns: 0 or -1. */
MUST_USE int context_take_key(struct context *context, const char *path, struct problem *problem);

/* Put the addresses of config in, by the replicas' numbers. */
void context_use_addresses(const struct context *context, struct configuration *configuration);

/*
 * Is the key, if one was loaded, that of a user or member? configuration: the newest that is known.
 * Returns: 0, or -1 with EXIT_REJECTED.
 */
MUST_USE int context_check_key(const struct context *context,
                               const struct configuration *configuration, struct problem *problem);

/* Where its receipts are. path: PATH_MAX characters. */
void context_receipts_path(const struct context *context, char *path);

#endif
