/*
 * fetcher_eras: ledgers that go from one configuration to the next, as replicas hand them over
 * (protocol §9, §10). See fetcher.c for the server.
 */
#include <criterion/criterion.h>

#include "audit-tool/proof.h"
#include "tests/forge/reform.h"
#include "tests/unit/fetch_fixture.h"

static struct reform reform;

/* The service begins anew, and its members change it once. */
static void tell_two_eras(void) {
    forge_free(&forge);
    forge_init(&forge, &consortium);
    story = (struct story){.forge = &forge, .random = 12};
    reform_init(&reform, &forge);
    story_append_honest(&story, 20);
    struct action const action = charter_named(&reform.charter, ACTION_ADD_USER, "dave", 7000);
    reform_end(&reform, 1, &action);
    reform_start(&reform);
    story_append_honest(&story, 20);
    server.reform = &reform;
}

static void expect_conviction(const struct fetch_result *result) {
    struct proof_verdict *const verdict = calloc(1, sizeof *verdict);
    cr_assert(verdict != NULL);
    cr_assert_eq(result->state, FETCH_MALFORMED, "%s", result->reason);
    cr_assert_eq(
        proof_verify(verdict, &consortium.configuration.service, buffer_span(&result->evidence)),
        PROOF_VALID);
    cr_assert_eq(verdict->config, 2);
    cr_assert_eq(verdict->blamed, (uint64_t)1 << SERVER);
    free(verdict);
}

Test(fetcher, a_ledger_goes_from_one_configuration_to_the_next) {
    tell_two_eras();
    know_links(reform.links, 1);
    struct fetcher *const fetcher = new_fetcher(60000);
    const struct fetch_result *const result = round_of(fetcher, HONEST);
    cr_assert_eq(result->state, FETCH_LEVEL, "%s", result->reason);
    fetcher_free(fetcher);
    expect_kept("replica-0", &forge);
    reform_free(&reform);
}

/* Of entries of the configuration before, and of its own. */
Test(fetcher, what_is_no_range_convicts_in_a_later_configuration) {
    tell_two_eras();
    know_links(reform.links, 1);
    struct fetcher *const fetcher = new_fetcher(60000);
    expect_conviction(round_of(fetcher, CUT_SHORT));
    cr_assert_eq(round_of(fetcher, HONEST)->state, FETCH_LEVEL);
    story_append_honest(&story, 5);
    expect_conviction(round_of(fetcher, CUT_SHORT));
    fetcher_free(fetcher);
    reform_free(&reform);
}

/* A constitution to which the chain does not lead: nobody is blamed, and nothing is taken. */
Test(fetcher, who_goes_by_another_constitution_is_not_believed) {
    static const enum lie lies[] = {OTHER_NAME, OTHER_RULES};
    tell_two_eras();
    know_links(reform.links, 1);
    for (unsigned i = 0; i < 2; i++) {
        struct fetcher *const fetcher = new_fetcher(60000);
        const struct fetch_result *const result = round_of(fetcher, lies[i]);
        cr_assert_eq(result->state, FETCH_INVALID, "%s", result->reason);
        cr_assert_eq(result->entries, 0);
        cr_assert_eq(result->evidence.size, 0);
        fetcher_free(fetcher);
    }
    reform_free(&reform);
}

/*
 * An auditor who does not know the replica's configuration takes what lies in those that he knows,
 * once it was judged by them, and the rest as it is; but he cannot show who signed what is none.
 */
Test(fetcher, a_configuration_that_is_not_known_yet) {
    tell_two_eras();
    struct fetcher *const fetcher = new_fetcher(60000);
    const struct fetch_result *result = round_of(fetcher, CUT_SHORT);
    cr_assert_eq(result->state, FETCH_INVALID, "%s", result->reason);
    cr_assert_eq(result->evidence.size, 0);
    result = round_of(fetcher, HONEST);
    cr_assert_eq(result->state, FETCH_LEVEL, "%s", result->reason);
    fetcher_free(fetcher);
    expect_kept("replica-0", &forge);
    reform_free(&reform);
}
