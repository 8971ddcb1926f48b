/*
 * onus status: every replica of the configuration as it says it is, and why those that say nothing
 * do not. Exit code 3 unless all of them are there and vote.
 */
#include <libsmartcols.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "client/command.h"
#include "client/view.h"

#define STATUS_TIMEOUT_MS 3000u
#define WATCH_INTERVAL_MS 1000u

enum { OPTION_WATCH = OPTION_FIRST_OWN };

static const struct option options[] = {{"watch", no_argument, NULL, OPTION_WATCH}, GLOBAL_OPTIONS};

struct status {
    const struct globals *globals;
    struct client client;
    const struct configuration *configuration; /* as of the last look */
    uint64_t committed_max;                    /* highest index committed anywhere */
    uint32_t voting;
};

static struct onus_replica replica_at(const struct status *status, uint32_t replica) {
    return onus_replica(status->client.onus, replica);
}

/* Is everything known of the newest configuration that can be? */
static bool all_known(void *context) {
    struct status *const status = context;
    status->configuration = onus_configuration(status->client.onus);
    if (onus_is_following(status->client.onus)) {
        return false;
    }
    for (uint32_t r = 0; r < status->configuration->replica_count; r++) {
        struct onus_replica const replica = replica_at(status, r);
        if (!replica.settled || (replica.up && replica.status == NULL)) {
            return false;
        }
    }
    return true;
}

static void count_up(struct status *status) {
    status->committed_max = 0;
    status->voting = 0;
    status->configuration = onus_configuration(status->client.onus);
    for (uint32_t r = 0; r < status->configuration->replica_count; r++) {
        const struct status_reply_message *const reply = replica_at(status, r).status;
        if (reply != NULL) {
            status->voting += reply->voting ? 1 : 0;
            if (reply->committed_index > status->committed_max) {
                status->committed_max = reply->committed_index;
            }
        }
    }
}

static const char *member_of(const struct status *status, uint32_t replica) {
    return configuration_member_of(status->configuration, replica);
}

static const char *role_of(const struct onus_replica *replica, uint32_t id) {
    if (replica->status == NULL) {
        return replica->up ? "SILENT" : "DOWN";
    }
    if (!replica->status->voting) {
        return "no-vote";
    }
    return replica->status->primary == id ? "primary" : "backup";
}

/* ---- text ------------------------------------------------------------------------------------ */

enum column {
    COLUMN_ID,
    COLUMN_MEMBER,
    COLUMN_ROLE,
    COLUMN_VIEW,
    COLUMN_COMMITTED,
    COLUMN_LAG,
    COLUMN_LEDGER,
    COLUMN_ERROR,
    COLUMN_COUNT
};

static void format_size(char *text, size_t size, uint64_t bytes) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    size_t unit = 0;
    while (bytes >= 10240 && unit + 1 < sizeof units / sizeof units[0]) {
        bytes = (bytes + 512) / 1024;
        unit++;
    }
    (void)snprintf(text, size, "%llu %s", (unsigned long long)bytes, units[unit]);
}

static void set_cell(struct libscols_line *line, enum column column, const char *text) {
    CHECK(scols_line_set_data(line, (size_t)column, text) == 0);
}

static void set_number(struct libscols_line *line, enum column column, uint64_t number) {
    char text[32];
    (void)snprintf(text, sizeof text, "%llu", (unsigned long long)number);
    set_cell(line, column, text);
}

static void fill_line(const struct status *status, struct libscols_line *line, uint32_t id) {
    struct onus_replica const replica = replica_at(status, id);
    char text[512];
    set_number(line, COLUMN_ID, id);
    set_cell(line, COLUMN_MEMBER, member_of(status, id));
    set_cell(line, COLUMN_ROLE, role_of(&replica, id));
    if (replica.status == NULL) {
        for (enum column column = COLUMN_VIEW; column < COLUMN_ERROR; column++) {
            set_cell(line, column, "-");
        }
        set_cell(line, COLUMN_ERROR, replica.up ? "no answer to a status query" : replica.reason);
        return;
    }
    set_number(line, COLUMN_VIEW, replica.status->view);
    set_number(line, COLUMN_COMMITTED, replica.status->committed_index);
    set_number(line, COLUMN_LAG, status->committed_max - replica.status->committed_index);
    format_size(text, sizeof text, replica.status->ledger_size);
    set_cell(line, COLUMN_LEDGER, text);
    struct span const error = replica.status->last_error;
    (void)snprintf(text, sizeof text, "%.*s", (int)error.size, (const char *)error.data);
    for (char *c = text; *c != '\0'; c++) {
        if (*c < ' ' || *c == 0x7f) {
            *c = '?'; /* a replica's text must not steer a terminal */
        }
    }
    set_cell(line, COLUMN_ERROR, text);
}

static void print_table(const struct status *status) {
    static const struct {
        const char *title;
        int flags;
    } columns[COLUMN_COUNT] = {{"ID", SCOLS_FL_RIGHT},
                               {"MEMBER", 0},
                               {"ROLE", 0},
                               {"VIEW", SCOLS_FL_RIGHT},
                               {"COMMITTED", SCOLS_FL_RIGHT},
                               {"LAG", SCOLS_FL_RIGHT},
                               {"LEDGER", SCOLS_FL_RIGHT},
                               {"LAST ERROR", 0}};
    struct libscols_table *const table = scols_new_table();
    CHECK(table != NULL);
    (void)scols_table_enable_maxout(table, 0);
    (void)scols_table_set_termforce(table, SCOLS_TERMFORCE_NEVER);
    for (size_t i = 0; i < COLUMN_COUNT; i++) {
        CHECK(scols_table_new_column(table, columns[i].title, 0, columns[i].flags) != NULL);
    }
    for (uint32_t r = 0; r < status->configuration->replica_count; r++) {
        struct libscols_line *const line = scols_table_new_line(table, NULL);
        CHECK(line != NULL);
        fill_line(status, line, r);
    }
    (void)scols_print_table(table);
    scols_unref_table(table);
}

static void print_quorum(const struct status *status) {
    uint32_t const quorum = status->configuration->quorum;
    (void)printf("configuration %llu · quorum %u of %u · ",
                 (unsigned long long)status->configuration->number, quorum,
                 status->configuration->replica_count);
    if (status->voting < quorum) {
        (void)printf("NO QUORUM: %u vote, nothing commits\n", status->voting);
    } else if (status->voting == quorum) {
        (void)printf("no further fault tolerated\n");
    } else {
        (void)printf("%u further fault%s tolerated\n", status->voting - quorum,
                     status->voting - quorum == 1 ? "" : "s");
    }
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static json_t *replica_json(const struct status *status, uint32_t id) {
    struct onus_replica const replica = replica_at(status, id);
    const struct status_reply_message *const reply = replica.status;
    if (reply == NULL) {
        return json_pack("{s:i,s:s,s:s,s:s}", "id", (int)id, "member", member_of(status, id),
                         "role", role_of(&replica, id), "error",
                         replica.up ? "no answer" : replica.reason);
    }
    return json_pack("{s:i,s:s,s:s,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:b,s:o}", "id", (int)id, "member",
                     member_of(status, id), "role", role_of(&replica, id), "view",
                     view_json_u64(reply->view), "committed", view_json_u64(reply->committed_index),
                     "committed_seq", view_json_u64(reply->committed_seq), "executed_seq",
                     view_json_u64(reply->executed_seq), "next_index",
                     view_json_u64(reply->next_index), "lag",
                     view_json_u64(status->committed_max - reply->committed_index), "ledger_bytes",
                     view_json_u64(reply->ledger_size), "voting", reply->voting, "error",
                     view_json_bytes(reply->last_error));
}

static bool print_json(const struct status *status) {
    char service[2 * DIGEST_SIZE + 1];
    const struct configuration *const configuration = status->configuration;
    json_t *const replicas = json_array();
    for (uint32_t r = 0; r < configuration->replica_count; r++) {
        if (json_array_append_new(replicas, replica_json(status, r)) != 0) {
            json_decref(replicas);
            return view_print_json(NULL);
        }
    }
    hex_encode(service,
               span_of(status->client.context.founding.genesis.service.bytes, DIGEST_SIZE));
    return view_print_json(json_pack(
        "{s:s,s:o,s:i,s:i,s:i,s:o}", "service", service, "configuration",
        view_json_u64(configuration->number), "quorum", (int)configuration->quorum, "count",
        (int)configuration->replica_count, "voting", (int)status->voting, "replicas", replicas));
}

/* ---- the command ----------------------------------------------------------------------------- */

static int show(struct status *status) {
    count_up(status);
    if (status->globals->json) {
        if (!print_json(status)) {
            return EXIT_ERROR;
        }
    } else {
        print_table(status);
        print_quorum(status);
    }
    return status->voting == status->configuration->replica_count ? EXIT_OK : EXIT_UNREACHABLE;
}

static bool never(void *context) {
    (void)context;
    return false;
}

static int watch(struct status *status) {
    bool const clear = isatty(STDOUT_FILENO) == 1 && !status->globals->no_color;
    for (;;) {
        onus_query_status(status->client.onus);
        (void)onus_run_until(status->client.onus, never, NULL, WATCH_INTERVAL_MS);
        (void)fputs(clear && !status->globals->json ? "\033[H\033[J" : "", stdout);
        int const code = show(status);
        if (code == EXIT_ERROR || fflush(stdout) != 0) {
            return code;
        }
    }
}

int command_status(const struct command *command, struct globals *globals, int argc, char **argv) {
    struct problem problem = {.code = EXIT_OK};
    struct status status = {.globals = globals};
    bool watching = false;
    for (;;) {
        int const option = command_option(command, globals, argc, argv, options);
        if (COMMAND_ENDS(option)) {
            return COMMAND_CODE(option);
        }
        if (option == -1) {
            break;
        }
        watching = true;
    }
    if (optind != argc) {
        return command_misused(command, "it takes no arguments");
    }
    int code = EXIT_OK;
    if (client_open(&status.client, globals, true, &problem) == 0) {
        uint32_t const timeout_ms =
            globals->timeout_ms != 0 ? globals->timeout_ms : STATUS_TIMEOUT_MS;
        (void)onus_run_until(status.client.onus, all_known, &status, timeout_ms);
        code = show(&status);
        code = watching && code != EXIT_ERROR ? watch(&status) : code;
    }
    (void)client_close(&status.client, &problem);
    return problem.code == EXIT_OK ? code : command_fail(&problem);
}
