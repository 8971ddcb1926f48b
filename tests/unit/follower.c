/*
 * follower: what a client makes of links that replicas hand over: those that hold lead it on, and
 * the next run too; others do not; and the context's addresses go with the newest configuration.
 */
#include "host/follower.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "host/file.h"
#include "tests/forge/charter.h"

#define LINKS 3u

static char directory[64];
static struct consortium consortium;
static struct charter charter;
static struct context context;
static struct follower *follower;
static struct span links[LINKS];

static void path_of(char path[static PATH_MAX], const char *name) {
    (void)snprintf(path, PATH_MAX, "%s/%s", directory, name);
}

/* Add a user; and a replica by the way, in the first one. */
static struct span next_link(uint32_t number) {
    char name[16];
    struct link_order order;
    struct action actions[2];
    uint32_t count = 1;
    (void)snprintf(name, sizeof name, "user-%u", number);
    actions[0] = charter_named(&charter, ACTION_ADD_USER, name, 7000 + number);
    if (number == 0) {
        actions[count++] = charter_replica(&charter, NULL, "bank-a", 7100);
    }
    struct span const proposal = charter_propose(&charter, count, actions);
    charter_order(&charter, &order, proposal);
    struct span const link = charter_link(&charter, &order);
    charter_pass(&charter, proposal);
    return link;
}

static void open_again(void) {
    struct problem problem = {.code = EXIT_OK};
    follower_close(follower);
    follower = follower_open(&context, &problem);
    cr_assert_not_null(follower, "%s", problem.text);
}

static void set_up(void) {
    char path[PATH_MAX];
    struct problem problem = {.code = EXIT_OK};
    (void)strcpy(directory, "/tmp/onus-follow-XXXXXX");
    cr_assert_not_null(mkdtemp(directory));
    consortium_found(&consortium, &(struct consortium_options){.replica_count = 4});
    charter_found(&charter, &consortium);
    path_of(path, "genesis.onus");
    cr_assert_eq(founding_save(buffer_span(&consortium.genesis_bytes), path, &problem), 0);
    path_of(path, "config");
    cr_assert_eq(file_write(path, span_text("address: 1 here:1\naddress: 4 there:2\n"), 0644,
                            FILE_REPLACE, &problem),
                 0);
    cr_assert_eq(context_load(&context, directory, &problem), 0, "%s", problem.text);
    for (uint32_t i = 0; i < LINKS; i++) {
        links[i] = next_link(i);
    }
    open_again();
}

static void tear_down(void) {
    static const char *const names[] = {"genesis.onus", "config", "chain"};
    char path[PATH_MAX];
    follower_close(follower);
    context_free(&context);
    charter_free(&charter);
    consortium_free(&consortium);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        path_of(path, names[i]);
        (void)unlink(path);
    }
    cr_assert_eq(rmdir(directory), 0, "something is left over");
}

TestSuite(follower, .init = set_up, .fini = tear_down, .timeout = 120);

static int take(const struct span *taken, uint32_t count, enum exit_code code) {
    struct problem problem = {.code = EXIT_OK};
    int const result = follower_take(follower, taken, count, &problem);
    cr_assert_eq(problem.code, code, "%s", problem.text);
    return result;
}

Test(follower, links_lead_on_in_this_run_and_the_next) {
    cr_assert_eq(take(links, 2, EXIT_OK), 2);
    cr_assert_eq(follower_configuration(follower)->number, 3);
    open_again();
    cr_assert_eq(follower_configuration(follower)->number, 3);
    cr_assert_eq(take(links, 3, EXIT_OK), 1, "those that are known do no harm");
    open_again();
    cr_assert_eq(follower_constitution(follower)->number, 4);
}

Test(follower, earlier_configurations_are_found) {
    cr_assert_eq(take(links, 3, EXIT_OK), 3);
    cr_assert_eq(follower_find(follower, 1)->replica_count, 4);
    cr_assert_eq(follower_find(follower, 2)->replica_count, 5);
    cr_assert_null(follower_find(follower, 0));
    cr_assert_null(follower_find(follower, 5));
    cr_assert_eq(follower_find(follower, 1)->number, 1);
}

Test(follower, one_bad_link_does_not_spoil_those_before_it) {
    uint8_t *const bytes = malloc(links[1].size);
    cr_assert_not_null(bytes);
    memcpy(bytes, links[1].data, links[1].size);
    bytes[links[1].size / 2] ^= 1;
    struct span const mixed[] = {links[0], span_of(bytes, links[1].size), links[2]};
    cr_assert_eq(take(mixed, 3, EXIT_INVALID), -1);
    open_again();
    cr_assert_eq(follower_constitution(follower)->number, 2);
    cr_assert_eq(take(links + 2, 1, EXIT_INVALID), -1, "a gap is no way either");
    cr_assert_eq(take(links + 1, 2, EXIT_OK), 2);
    free(bytes);
}

Test(follower, what_cannot_be_written_down_counts_for_this_run) {
    char path[PATH_MAX];
    struct problem problem = {.code = EXIT_OK};
    path_of(path, "chain");
    cr_assert_eq(file_write(path, span_text("junk"), 0644, FILE_REPLACE, &problem), 0);
    cr_assert_eq(take(links, 1, EXIT_INVALID), 1);
    cr_assert_eq(follower_configuration(follower)->number, 2);
}

/* The former one is in use until links to the new replicas have replaced the old ones. */
Test(follower, addresses_go_with_the_newest_configuration) {
    const struct configuration *const before = follower_configuration(follower);
    cr_assert_str_eq(before->replicas[1].client_address, "here:1");
    cr_assert_eq(take(links, 1, EXIT_OK), 1);
    const struct configuration *const after = follower_configuration(follower);
    cr_assert_eq(follower_configuration(follower), after);
    cr_assert_eq(before->number, 1);
    cr_assert_eq(after->replica_count, 5);
    cr_assert_str_eq(after->replicas[1].client_address, "here:1");
    cr_assert_str_eq(after->replicas[4].client_address, "there:2");
    cr_assert_str_eq(after->replicas[0].client_address, before->replicas[0].client_address);
}
