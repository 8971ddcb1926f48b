/*
 * node_config: what a replica's configuration says is taken as it stands, and whatever is wrong in
 * it is told in one line with the key and its line. The example in docs/ is a configuration.
 */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "node/config.h"

#define WHOLE                                                                                      \
    "replica: 2\n"                                                                                 \
    "genesis: g.onus\n"                                                                            \
    "data_directory: /var/data\n"                                                                  \
    "keys:\n"                                                                                      \
    "  signing: s\n"                                                                               \
    "  nonce: n\n"                                                                                 \
    "  tls: t\n"                                                                                   \
    "  certificate: c\n"                                                                           \
    "listen:\n"                                                                                    \
    "  peer: 127.0.0.1:7400\n"                                                                     \
    "  client: '[::1]:7401'\n"

static int load(struct node_config *config, const char *text, struct problem *problem) {
    char path[] = "/tmp/onus-config-XXXXXX";
    int const file = mkstemp(path);
    cr_assert_geq(file, 0);
    cr_assert_eq(write(file, text, strlen(text)), (ssize_t)strlen(text));
    (void)close(file);
    *problem = (struct problem){0};
    int const result = config_load(config, path, problem);
    (void)unlink(path);
    return result;
}

Test(node_config, takes_what_is_written_and_defaults) {
    struct node_config config;
    struct problem problem;
    cr_assert_eq(load(&config, WHOLE, &problem), 0, "%s", problem.text);
    cr_expect_eq(config.replica, 2);
    cr_expect_str_eq(config.genesis, "/tmp/g.onus", "relative to the file");
    cr_expect_str_eq(config.data_directory, "/var/data");
    cr_expect_str_eq(config.tls_certificate, "/tmp/c");
    cr_expect_str_eq(config.listen_client, "[::1]:7401");
    cr_expect(config.log_level == LOG_INFO && config.log_format == LOG_AS_TEXT);
    cr_expect_eq(config.client_connections_max, CONNECTIONS_CLIENTS_MAX);
    cr_expect_eq(config.request_pool_max, REQUEST_POOL_DEFAULT);
}

Test(node_config, takes_what_is_optional) {
    struct node_config config;
    struct problem problem;
    cr_assert_eq(load(&config,
                      WHOLE "log: {level: debug, format: json}\n"
                            "limits:\n  client_connections: 7\n  request_pool: 100\n",
                      &problem),
                 0, "%s", problem.text);
    cr_expect(config.log_level == LOG_DEBUG && config.log_format == LOG_AS_JSON);
    cr_expect(config.client_connections_max == 7 && config.request_pool_max == 100);
}

Test(node_config, refuses_in_one_line_that_names_the_place) {
    static const struct {
        const char *text;
        const char *says;
    } cases[] = {
        {WHOLE "foo: 1\n", ":12: unknown key `foo`"},
        {"bar: 1\n" WHOLE, ":1: unknown key `bar`"},
        {WHOLE "log:\n  level: info\n  colour: red\n", ":14: unknown key `colour`"},
        {WHOLE "log: {level: info, \"colour\" : red}\n", ":12: unknown key `colour`"},
        {WHOLE "log: {level: loud}\n", ":12: "},
        {WHOLE "replica: 3\n", ":12: key `replica` is there twice"},
        {WHOLE "limits:\n  request_pool: 0\n", "`limits.request_pool`"},
        {WHOLE "limits:\n  client_connections: 100000\n", "`limits.client_connections`"},
        {WHOLE "limits:\n  request_pool: -1\n", ":13: "},
        {WHOLE "log: [\n", ":12: Expecting MAPPING"},
        {"replica: 1\n", "Missing required mapping field: genesis"},
        {"replica: &a 1\ngenesis: *a\n", ":"},
        {"replica: 64\n" WHOLE, "twice"},
        {"", "empty"},
        {"# nothing\n", ": "},
        {"- a\n- b\n", ": "},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct node_config config;
        struct problem problem;
        cr_expect_eq(load(&config, cases[i].text, &problem), -1, "case %zu", i);
        cr_expect(strstr(problem.text, cases[i].says) != NULL, "case %zu: %s", i, problem.text);
        cr_expect(strstr(problem.text, "/tmp/onus-config-") != NULL, "case %zu: %s", i,
                  problem.text);
        cr_expect_null(strchr(problem.text, '\n'), "case %zu: %s", i, problem.text);
        cr_expect_neq(problem.code, EXIT_OK);
    }
}

Test(node_config, refuses_addresses_and_replicas_that_cannot_be) {
    struct node_config config;
    struct problem problem;
    char text[1024];
    (void)snprintf(text, sizeof text, "%s", WHOLE);
    memcpy(strstr(text, "127.0.0.1:7400"), "127.0.0.1     ", 14);
    cr_expect_eq(load(&config, text, &problem), -1);
    cr_expect(strstr(problem.text, "`listen.peer`") != NULL, "%s", problem.text);
    (void)snprintf(text, sizeof text, "%s", WHOLE);
    memcpy(text, "replica: 99", 11);
    text[11] = '\n'; /* where "genesis" began: its line is gone, and so is the key */
    cr_expect_eq(load(&config, text, &problem), -1);
}

Test(node_config, is_not_there) {
    struct node_config config;
    struct problem problem = {0};
    cr_expect_eq(config_load(&config, "/nowhere/replica.yaml", &problem), -1);
    cr_expect(strstr(problem.text, "/nowhere/replica.yaml") != NULL, "%s", problem.text);
}

Test(node_config, the_example_is_one) {
    struct node_config config;
    struct problem problem = {0};
    cr_assert_eq(config_load(&config, EXAMPLE_CONFIG, &problem), 0, "%s", problem.text);
    cr_expect_eq(config.replica, 0);
    cr_expect_eq(config.client_connections_max, CONNECTIONS_CLIENTS_MAX);
    cr_expect_eq(config.request_pool_max, REQUEST_POOL_DEFAULT);
}
