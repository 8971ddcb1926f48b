/*
 * founding: tests of governance/founding.h: a sound genesis gives the configuration it describes,
 * and every unsound one is refused with the reason.
 */
#include <criterion/criterion.h>

#include "governance/founding.h"
#include "tests/forge/consortium.h"

static struct consortium consortium;

static void set_up(void) {
    consortium_found(&consortium, &(struct consortium_options){.replica_count = 7});
}

static void tear_down(void) {
    consortium_free(&consortium);
}

TestSuite(founding, .init = set_up, .fini = tear_down);

static void expect_refused(const struct genesis *genesis, const char *reason) {
    struct configuration configuration;
    struct problem problem = {.code = EXIT_OK};
    cr_assert_eq(founding_configuration(&configuration, genesis, &problem), -1);
    cr_assert_eq(problem.code, EXIT_INVALID);
    cr_assert(strstr(problem.text, reason) != NULL, "%s", problem.text);
}

Test(founding, describes_who_takes_part) {
    const struct configuration *const configuration = &consortium.configuration;
    cr_assert_eq(configuration->number, 1);
    cr_assert_eq(configuration->replica_count, 7);
    cr_assert_eq(configuration->faults_max, 2);
    cr_assert_eq(configuration->quorum, 5);
    cr_assert(digest_equal(&configuration->service, &consortium.genesis.service));
    cr_assert_str_eq(configuration_member_of(configuration, 2), "bank-c");
    cr_assert_eq(configuration->author_count, 7 + CONSORTIUM_USERS);
    cr_assert(configuration_has_author(configuration, &consortium.users[1].key));
    cr_assert(configuration_has_author(configuration, &consortium.members[6].key));
    cr_assert(!configuration_has_author(configuration, &consortium.stranger.key));
    cr_assert(!configuration_has_author(configuration, &consortium.replicas[0].signing.key));
}

Test(founding, quorums_for_every_size) {
    for (uint32_t count = REPLICAS_MIN; count <= REPLICAS_MAX; count++) {
        struct consortium other;
        consortium_found(&other, &(struct consortium_options){.replica_count = count});
        uint32_t const quorum = other.configuration.quorum;
        uint32_t const faults = other.configuration.faults_max;
        cr_assert_geq(2 * quorum, count + faults + 1, "two quorums share a correct replica");
        cr_assert_eq(quorum + faults, count, "a quorum does without the faulty ones");
        uint64_t const all = count == 64 ? UINT64_MAX : ((uint64_t)1 << count) - 1;
        cr_assert_eq(configuration_is_quorum(&other.configuration, all), faults == 0);
        uint64_t const first = ((uint64_t)1 << quorum) - 1;
        cr_assert(configuration_is_quorum(&other.configuration, first));
        if (count < 64) {
            uint64_t const outside = (first & (first - 1)) | (uint64_t)1 << count;
            cr_assert(!configuration_is_quorum(&other.configuration, outside));
        }
        consortium_free(&other);
    }
}

Test(founding, refuses_wrong_endorsements) {
    struct genesis genesis = consortium.genesis;
    struct signed_body endorsements[7];
    struct endorsement replicas[7];
    memcpy(endorsements, genesis.endorsements, sizeof endorsements);
    memcpy(replicas, genesis.replicas, sizeof replicas);
    genesis.endorsements = endorsements;
    genesis.replicas = replicas;
    endorsements[3].signature.bytes[7] ^= 1;
    expect_refused(&genesis, "replica 3 is not endorsed by member bank-d");
    endorsements[3] = endorsements[2];
    expect_refused(&genesis, "replica 3 is not endorsed");
    endorsements[3] = consortium.genesis.endorsements[3];
    replicas[3].member = 2; /* the signature is of another member */
    expect_refused(&genesis, "replica 3 is not endorsed by member bank-c");
    replicas[3] = replicas[2];
    expect_refused(&genesis, "used twice");
    replicas[3] = consortium.genesis.replicas[3];
    replicas[3].member = 7;
    expect_refused(&genesis, "replica 3");
    genesis = consortium.genesis;
    genesis.founding.bytes[0] ^= 1; /* endorsed for another service */
    expect_refused(&genesis, "replica 0 is not endorsed");
}

Test(founding, refuses_unsound_keys) {
    static const struct public_key identity = {{1}};
    struct genesis genesis = consortium.genesis;
    struct named_key users[CONSORTIUM_USERS];
    struct named_key members[7];
    memcpy(users, genesis.users, sizeof users);
    memcpy(members, genesis.members, sizeof members);
    genesis.users = users;
    genesis.members = members;
    users[2].key = identity;
    expect_refused(&genesis, "user 2");
    users[2].key = members[4].key;
    expect_refused(&genesis, "used twice");
    users[2].key = genesis.replicas[4].replica_key;
    expect_refused(&genesis, "used twice");
    users[2] = consortium.genesis.users[2];
    members[0].key = identity;
    expect_refused(&genesis, "member 0");
}

Test(founding, refuses_too_few_replicas) {
    struct genesis genesis = consortium.genesis;
    genesis.replica_count = 3;
    expect_refused(&genesis, "3 replicas");
}
