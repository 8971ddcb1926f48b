/*
 * onus gov chain: the configurations that the consortium has been in, as the context's governance
 * chain leads from genesis to each; and that chain as a file, for whoever verifies without a
 * network.
 */
#include <libsmartcols.h>
#include <stdio.h>

#include "base/check.h"
#include "client/gov.h"
#include "governance/founding.h"
#include "host/context_chain.h"
#include "host/file.h"

enum { OPTION_OUT = OPTION_FIRST_OWN };

static const struct option chain_options[] = {{"out", required_argument, NULL, OPTION_OUT},
                                              GLOBAL_OPTIONS};

enum column { COLUMN_NUMBER, COLUMN_MEMBERS, COLUMN_REPLICAS, COLUMN_QUORUM, COLUMN_DIGEST };

static const struct {
    const char *title;
    int flags;
} columns[] = {
    {"CONFIGURATION", SCOLS_FL_RIGHT}, {"MEMBERS", SCOLS_FL_RIGHT}, {"REPLICAS", SCOLS_FL_RIGHT},
    {"QUORUM", SCOLS_FL_RIGHT},        {"CONSTITUTION", 0},
};

static void set_text(struct libscols_line *line, enum column column, const char *text) {
    CHECK(scols_line_set_data(line, (size_t)column, text) == 0);
}

static void set_number(struct libscols_line *line, enum column column, uint64_t number) {
    char text[24];
    (void)snprintf(text, sizeof text, "%llu", (unsigned long long)number);
    set_text(line, column, text);
}

/* What is told of one of them; the constitution is large. */
struct told {
    struct constitution constitution;
    struct configuration configuration;
    char digest[2 * DIGEST_SIZE + 1];
};

static bool look_up(struct told *told, struct chain *chain, uint64_t number) {
    struct digest digest;
    if (!chain_find(chain, number, &told->constitution) ||
        !constitution_digest(&digest, &told->constitution)) {
        return false;
    }
    constitution_configuration(&told->configuration, &told->constitution);
    hex_encode(told->digest, span_of(digest.bytes, DIGEST_SIZE));
    return true;
}

static bool print_json(struct told *told, struct chain *chain) {
    json_t *const list = json_array();
    for (uint64_t number = FOUNDING_CONFIGURATION; number <= chain_newest(chain)->number;
         number++) {
        if (!look_up(told, chain, number) ||
            json_array_append_new(list,
                                  json_pack("{s:o,s:s,s:i,s:i,s:i,s:i}", "configuration",
                                            view_json_u64(number), "constitution", told->digest,
                                            "members", (int)told->constitution.member_count,
                                            "replicas", (int)told->constitution.replica_count,
                                            "users", (int)told->constitution.user_count, "quorum",
                                            (int)told->configuration.quorum)) != 0) {
            json_decref(list);
            return false;
        }
    }
    return view_print_json(json_pack("{s:o}", "configurations", list));
}

static bool print_table(struct told *told, struct chain *chain) {
    bool good = true;
    struct libscols_table *const table = scols_new_table();
    CHECK(table != NULL);
    (void)scols_table_set_termforce(table, SCOLS_TERMFORCE_NEVER);
    for (unsigned i = 0; i < sizeof columns / sizeof columns[0]; i++) {
        CHECK(scols_table_new_column(table, columns[i].title, 0, columns[i].flags) != NULL);
    }
    for (uint64_t number = FOUNDING_CONFIGURATION; good && number <= chain_newest(chain)->number;
         number++) {
        good = look_up(told, chain, number);
        struct libscols_line *const line = scols_table_new_line(table, NULL);
        CHECK(line != NULL);
        set_number(line, COLUMN_NUMBER, number);
        set_number(line, COLUMN_MEMBERS, told->constitution.member_count);
        set_number(line, COLUMN_REPLICAS, told->constitution.replica_count);
        set_number(line, COLUMN_QUORUM, told->configuration.quorum);
        set_text(line, COLUMN_DIGEST, told->digest);
    }
    good = good && scols_print_table(table) == 0;
    scols_unref_table(table);
    return good;
}

static int print(const struct gov *gov, struct chain *chain, struct problem *problem) {
    struct told *const told = calloc(1, sizeof *told);
    bool const good =
        told != NULL && (gov->globals->json ? print_json(told, chain) : print_table(told, chain));
    free(told);
    return good ? 0 : problem_set(problem, EXIT_ERROR, "out of memory");
}

static int write_out(const struct context *context, const char *path, struct problem *problem) {
    struct buffer file;
    buffer_init(&file, CHAIN_SIZE_MAX);
    int const status = context_chain_read(context, &file, problem) == 0
                           ? file_write(path, buffer_span(&file), 0644, FILE_REPLACE, problem)
                           : -1;
    buffer_free(&file);
    return status;
}

static int show_chain(struct gov *gov, const char *path) {
    struct context *const context = &gov->client.context;
    struct chain *chain = NULL;
    if (gov_load(gov) == 0) {
        chain = context_chain_load(context, &gov->problem);
    }
    int status = chain == NULL ? -1 : 0;
    if (status == 0 && path != NULL) {
        status = write_out(context, path, &gov->problem);
    }
    if (status == 0) {
        status = print(gov, chain, &gov->problem);
    }
    chain_free(chain);
    return status;
}

int command_gov_chain(const struct command *command, struct globals *globals, int argc,
                      char **argv) {
    const char *path = NULL;
    for (;;) {
        int const option = command_option(command, globals, argc, argv, chain_options);
        if (COMMAND_ENDS(option)) {
            return COMMAND_CODE(option);
        }
        if (option == -1) {
            break;
        }
        path = optarg;
    }
    if (optind != argc) {
        return command_misused(command, "it takes no arguments");
    }
    struct gov *const gov = gov_new(globals);
    return gov == NULL ? EXIT_ERROR
                       : gov_end(gov, show_chain(gov, path) == 0 ? EXIT_OK : EXIT_ERROR);
}
