/*
 * context_chain: the governance chain of a context: without a file there is the founding only; what
 * is appended is there afterwards, and once, whoever else writes; damage is told with its remedy.
 */
#include "host/context_chain.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/file.h"
#include "tests/forge/charter.h"

#define LINKS 5u

static char directory[64];
static char genesis_path[PATH_MAX];
static char chain_file[PATH_MAX];
static struct consortium consortium;
static struct charter charter;
static struct context context;
static struct span links[LINKS];

static void set_up(void) {
    struct problem problem = {.code = EXIT_OK};
    (void)strcpy(directory, "/tmp/onus-chain-XXXXXX");
    cr_assert_not_null(mkdtemp(directory));
    (void)snprintf(genesis_path, sizeof genesis_path, "%s/genesis.onus", directory);
    (void)snprintf(chain_file, sizeof chain_file, "%s/chain", directory);
    consortium_found(&consortium, &(struct consortium_options){.replica_count = 4});
    charter_found(&charter, &consortium);
    cr_assert_eq(founding_save(buffer_span(&consortium.genesis_bytes), genesis_path, &problem), 0);
    cr_assert_eq(context_load(&context, directory, &problem), 0, "%s", problem.text);
    for (uint32_t i = 0; i < LINKS; i++) {
        char name[16];
        struct link_order order;
        (void)snprintf(name, sizeof name, "user-%u", i);
        struct action const action = charter_named(&charter, ACTION_ADD_USER, name, 7000 + i);
        struct span const proposal = charter_propose(&charter, 1, &action);
        charter_order(&charter, &order, proposal);
        links[i] = charter_link(&charter, &order);
        charter_pass(&charter, proposal);
    }
}

static void tear_down(void) {
    context_free(&context);
    charter_free(&charter);
    consortium_free(&consortium);
    (void)unlink(genesis_path);
    (void)unlink(chain_file);
    cr_assert_eq(rmdir(directory), 0, "something is left over");
}

TestSuite(context_chain, .init = set_up, .fini = tear_down, .timeout = 120);

static void append(uint32_t first, uint32_t count) {
    struct problem problem = {.code = EXIT_OK};
    cr_assert_eq(context_chain_append(&context, links + first, count, &problem), 0, "%s",
                 problem.text);
}

static void expect_newest(uint64_t number) {
    struct problem problem = {.code = EXIT_OK};
    struct chain *const chain = context_chain_load(&context, &problem);
    cr_assert_not_null(chain, "%s", problem.text);
    cr_assert_eq(chain_newest(chain)->number, number);
    chain_free(chain);
}

static size_t chain_file_size(void) {
    struct problem problem = {.code = EXIT_OK};
    struct buffer file;
    buffer_init(&file, CHAIN_SIZE_MAX);
    cr_assert_eq(context_chain_read(&context, &file, &problem), 0, "%s", problem.text);
    size_t const size = file.size;
    buffer_free(&file);
    return size;
}

Test(context_chain, without_a_file_there_is_the_founding) {
    struct problem problem = {.code = EXIT_OK};
    struct buffer file;
    expect_newest(1);
    cr_assert_neq(access(chain_file, F_OK), 0, "looking writes nothing");
    buffer_init(&file, CHAIN_SIZE_MAX);
    cr_assert_eq(context_chain_read(&context, &file, &problem), 0);
    struct chain *const chain =
        chain_read(&consortium.genesis.service, buffer_span(&file), &problem);
    cr_assert_not_null(chain, "what is handed on is a chain all the same: %s", problem.text);
    cr_assert_eq(chain_newest(chain)->number, 1);
    chain_free(chain);
    buffer_free(&file);
}

Test(context_chain, what_is_appended_is_there_once) {
    append(0, 1);
    expect_newest(2);
    append(1, 2);
    expect_newest(4);
    size_t const size = chain_file_size();
    append(0, 3);
    append(2, 1);
    cr_assert_eq(chain_file_size(), size);
    append(1, 4); /* two of them are new */
    expect_newest(6);
}

Test(context_chain, a_gap_is_refused_and_nothing_kept) {
    struct problem problem = {.code = EXIT_OK};
    append(0, 1);
    size_t const size = chain_file_size();
    cr_assert_eq(context_chain_append(&context, links + 2, 1, &problem), -1);
    cr_assert_eq(problem.code, EXIT_INVALID);
    struct span const junk = span_text("junk");
    cr_assert_eq(context_chain_append(&context, &junk, 1, &problem), -1);
    cr_assert_eq(problem.code, EXIT_INVALID);
    cr_assert_eq(chain_file_size(), size);
    expect_newest(2);
}

Test(context_chain, damage_is_told_with_its_remedy) {
    struct problem problem = {.code = EXIT_OK};
    struct buffer file;
    append(0, 2);
    buffer_init(&file, CHAIN_SIZE_MAX);
    cr_assert_eq(context_chain_read(&context, &file, &problem), 0);
    static const char *const kinds[] = {"a byte", "the end", "all"};
    for (size_t kind = 0; kind < sizeof kinds / sizeof kinds[0]; kind++) {
        struct span content = buffer_span(&file);
        file.data[file.size / 2] ^= kind == 0 ? 1 : 0;
        content.size = kind == 1 ? content.size - 1 : kind == 2 ? 0 : content.size;
        cr_assert_eq(file_write(chain_file, content, 0644, FILE_REPLACE, &problem), 0);
        file.data[file.size / 2] ^= kind == 0 ? 1 : 0;
        problem = (struct problem){.code = EXIT_OK};
        cr_assert_null(context_chain_load(&context, &problem), "%s", kinds[kind]);
        cr_assert_eq(problem.code, EXIT_INVALID, "%s: %s", kinds[kind], problem.text);
        cr_assert_not_null(strstr(problem.text, chain_file));
        cr_assert_not_null(strstr(problem.text, "remove the file"));
    }
    cr_assert_eq(context_chain_append(&context, links + 2, 1, &problem), -1,
                 "nothing is put behind damage");
    buffer_free(&file);
}

Test(context_chain, a_chain_of_another_service_is_refused) {
    struct problem problem = {.code = EXIT_OK};
    struct consortium other;
    struct buffer file;
    consortium_found(&other, &(struct consortium_options){.replica_count = 4, .seed = 7});
    buffer_init(&file, CHAIN_SIZE_MAX);
    cr_assert(chain_file_begin(&file, buffer_span(&other.genesis_bytes)));
    cr_assert_eq(file_write(chain_file, buffer_span(&file), 0644, FILE_REPLACE, &problem), 0);
    cr_assert_null(context_chain_load(&context, &problem));
    cr_assert_eq(problem.code, EXIT_INVALID);
    buffer_free(&file);
    consortium_free(&other);
}

/* Returns: the exit code of a process that appends all links, one at a time. */
static pid_t append_in_a_process(void) {
    pid_t const child = fork();
    cr_assert(child >= 0);
    if (child == 0) {
        struct problem problem = {.code = EXIT_OK};
        for (uint32_t i = 0; i < LINKS; i++) {
            if (context_chain_append(&context, links + i, 1, &problem) != 0) {
                _exit(1);
            }
        }
        _exit(0);
    }
    return child;
}

Test(context_chain, processes_that_write_at_once_do_not_spoil_it) {
    pid_t children[4];
    for (size_t i = 0; i < 4; i++) {
        children[i] = append_in_a_process();
    }
    for (size_t i = 0; i < 4; i++) {
        int status = 0;
        cr_assert_eq(waitpid(children[i], &status, 0), children[i]);
        cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    expect_newest(LINKS + 1);
}
