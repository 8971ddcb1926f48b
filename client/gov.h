/*
 * gov: what the commands of `onus gov` share: a client with the newest constitution that its
 * context knows, calls to the service, and the question before something is signed.
 */
#ifndef ONUS_CLIENT_GOV_H
#define ONUS_CLIENT_GOV_H

#include "client/preview.h"
#include "client/tally.h"
#include "client/transact.h"
#include "client/view.h"

struct gov {
    const struct globals *globals;
    bool assumed; /* --yes: nobody is asked */
    bool dry_run; /* look, and sign nothing */
    bool connected;
    struct client client;
    struct constitution now;
    struct buffer proposal; /* encoded; what the preview is of */
    struct preview preview; /* of the proposal that the command is about */
    struct answer answer;
    struct problem problem;
};

/* It is large. Returns: NULL when memory is short, which is told then. */
struct gov *gov_new(const struct globals *globals);
/* Close and free. Returns: the exit code of the command. */
int gov_end(struct gov *gov, int code);

/* Load the context and its newest constitution, to look at. Returns: 0 or -1. */
MUST_USE int gov_load(struct gov *gov);
/*
 * Load it with a key and the receipts, so that calls can be made, and catch up with what the
 * service has decided. With dry_run a service that cannot be reached is done without. Returns: 0 or
 * -1.
 */
MUST_USE int gov_open(struct gov *gov);
/* Is the key that signs a member's? Returns: 0 or -1. */
MUST_USE int gov_check_member(struct gov *gov);

/* Get the proposal of this id, which is open, and make its preview. Returns: 0 or -1. */
MUST_USE int gov_fetch(struct gov *gov, const char *id, struct ballot_line *line);

/* A call with its answer, which is OK. Connects at the first. Returns: 0 or -1. */
MUST_USE int gov_call(struct gov *gov, const char *procedure, uint32_t argument_count,
                      const struct span *arguments);

/*
 * Ask a person before something is signed. Returns: 0 to go on, or -1; where nobody can be asked
 * --yes has to stand in.
 */
MUST_USE int gov_confirm(struct gov *gov, const char *question);

/* "tx …  index …" without the end of the line; as JSON, the fields tx and index put into `json`. */
void gov_print_transaction(const struct gov *gov);
MUST_USE bool gov_json_transaction(const struct gov *gov, json_t *json);

#endif
