/*
 * configuration: look-ups. See configuration.h. Invariant: authors are sorted and distinct.
 */
#include "ledger/configuration.h"

#include <stdlib.h>

#include "base/check.h"

static int key_compare(const void *a, const void *b) {
    return memcmp(a, b, PUBLIC_KEY_SIZE);
}

bool configuration_find_author(const struct configuration *configuration,
                               const struct public_key *key, uint32_t *place) {
    const struct public_key *const found =
        bsearch(key, configuration->authors, configuration->author_count,
                sizeof configuration->authors[0], key_compare);
    if (found == NULL) {
        return false;
    }
    *place = (uint32_t)(found - configuration->authors);
    return true;
}

bool configuration_has_author(const struct configuration *configuration,
                              const struct public_key *key) {
    uint32_t place = 0;
    return configuration_find_author(configuration, key, &place);
}

uint32_t configuration_find_replica(const struct configuration *configuration,
                                    const struct public_key *key) {
    for (uint32_t i = 0; i < configuration->replica_count; i++) {
        if (public_key_equal(&configuration->replicas[i].key, key)) {
            return i;
        }
    }
    return REPLICAS_MAX;
}

const char *configuration_member_of(const struct configuration *configuration, uint32_t replica) {
    CHECK(replica < configuration->replica_count);
    return configuration->members[configuration->replicas[replica].member].name;
}

bool configuration_is_quorum(const struct configuration *configuration, uint64_t signers) {
    bool const all_exist =
        configuration->replica_count == 64 || signers >> configuration->replica_count == 0;
    return all_exist && (uint32_t)__builtin_popcountll(signers) == configuration->quorum;
}
