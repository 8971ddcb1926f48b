/*
 * reform: for tests: a forged ledger that goes from one configuration to the next. Members propose
 * and vote in it, two batches end the configuration, and the link of the governance chain is made
 * of what then stands in the ledger.
 */
#ifndef ONUS_TESTS_FORGE_REFORM_H
#define ONUS_TESTS_FORGE_REFORM_H

#include "tests/forge/charter.h"
#include "tests/forge/forge.h"

#define REFORMS_MAX 4u

struct reform {
    struct forge *forge;
    struct charter charter;
    uint32_t count;                             /* configurations behind the founding one */
    struct consortium consortiums[REFORMS_MAX]; /* and who signs in them */
    struct constitution constitutions[REFORMS_MAX + 1];
    struct span links[REFORMS_MAX]; /* encoded; they live as long as the reform */
    uint32_t vote_count;            /* of the last proposal: */
    struct span votes[MEMBERS_MAX];
};

/* Begin with a forge at genesis; switches governance on. Do not move the struct. */
void reform_init(struct reform *reform, struct forge *forge);
void reform_free(struct reform *reform);

/* A request of one call by the member at that position, with a new nonce; encoded. */
struct span reform_request(struct reform *reform, uint32_t member, const char *procedure,
                           uint32_t count, const struct span *arguments);

/*
 * The first member proposes this, and the first members vote until it passes, each in a batch of
 * its own. Returns: the proposal. Aborts when it breaks a rule.
 */
struct span reform_vote(struct reform *reform, uint32_t count, const struct action *actions);
/* The same without the last vote, which would pass it: out, encoded. */
struct span reform_vote_but_one(struct reform *reform, uint32_t count, const struct action *actions,
                                struct span *last);
/* What is missing of the two batches that end the configuration. */
void reform_close(struct reform *reform, struct span proposal);
/* Both. */
void reform_end(struct reform *reform, uint32_t count, const struct action *actions);
/* Enter what was decided, with its first batch. */
void reform_start(struct reform *reform);
/* All of it: the first replica is replaced, and one more joins; so all others have another place.
 */
void reform_shift(struct reform *reform);
/*
 * What an answer to a demand says of a replica of the newest configuration, whose entries lie in
 * that one, or in an earlier one.
 */
void reform_state(const struct reform *reform, uint64_t range_config, struct served *served);
/* Append the file of the chain so far. */
void reform_chain(const struct reform *reform, struct buffer *out);

#endif
