/*
 * sandbox: a consortium on this machine: n members, one replica of each, one user, all their keys
 * in one directory. For trying things out, for tests and for measurements.
 *
 *   DIR/genesis.onus
 *   DIR/members/bank-a.key …
 *   DIR/replica-0/          replica.yaml replica.key nonce.secret tls.key tls.crt data/
 *                           onusd.log, pid while it has been started from here
 *   DIR/context/            genesis.onus user.key receipts/
 *
 * Replica i listens on 127.0.0.1, for clients on base port + 10 i, for its peers on the next one.
 */
#ifndef ONUS_CLIENT_SANDBOX_H
#define ONUS_CLIENT_SANDBOX_H

#include <limits.h>
#include <sys/types.h>

#include "client/command.h"

#define SANDBOX_PORT_DEFAULT 7400u
#define SANDBOX_PORT_STEP 10u
#define SANDBOX_START_MS_MAX 30000u
#define SANDBOX_STOP_MS_MAX 15000u

struct sandbox {
    char directory[PATH_MAX / 2]; /* absolute */
    char onusd[PATH_MAX];
    uint32_t count; /* replicas */
};

struct sandbox_plan {
    uint32_t replicas; /* REPLICAS_MIN..REPLICAS_MAX */
    uint32_t base_port;
    uint64_t checkpoint_interval; /* batches; 0: what a real founding gets by default */
    uint64_t window;              /* transactions; 0: as above */
};

/* Is there a sandbox in this directory already? */
bool sandbox_exists(const char *directory);
/* Make keys, genesis, configurations and the context in a directory, which is made too. */
MUST_USE int sandbox_make(const char *directory, const struct sandbox_plan *plan,
                          struct problem *problem);
/* Find what is there. program: argv[0], beside which onusd is looked for first. */
MUST_USE int sandbox_open(struct sandbox *sandbox, const char *directory, const char *program,
                          struct problem *problem);

/* The process of a replica that was started from here and is still that process; 0: none. */
pid_t sandbox_process(const struct sandbox *sandbox, uint32_t replica);
/* Start all replicas that do not run, preparing their data first if that was never done. */
MUST_USE int sandbox_start(const struct sandbox *sandbox, struct problem *problem);
/* Wait until all replicas answer clients. Fails at once when one of the processes ends. */
MUST_USE int sandbox_wait(const struct sandbox *sandbox, struct problem *problem);
/* Ask all replicas to end and wait until they have. Never touches any other process. */
MUST_USE int sandbox_stop(const struct sandbox *sandbox, struct problem *problem);
/* Remove every file that sandbox_make and the replicas have made. */
MUST_USE int sandbox_remove(const struct sandbox *sandbox, struct problem *problem);

/* DIR/context. path: PATH_MAX characters. */
void sandbox_context_path(const struct sandbox *sandbox, char *path);

#endif
