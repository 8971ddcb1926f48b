/*
 * config: see config.h. The file is read against a schema (host/yaml_file.h); what a schema cannot
 * say, paths, addresses and limits, is checked here.
 */
#include "node/config.h"

#include <stdio.h>
#include <string.h>

#include "host/address.h"
#include "host/yaml_file.h"

/* ---- the schema ------------------------------------------------------------------------------ */

struct keys_section {
    char *signing;
    char *nonce;
    char *tls;
    char *certificate;
};

struct listen_section {
    char *peer;
    char *client;
};

struct log_section {
    uint32_t *level;
    uint32_t *format;
};

struct limits_section {
    uint32_t *client_connections;
    uint32_t *request_pool;
};

struct document {
    uint32_t replica;
    char *genesis;
    char *data_directory;
    struct keys_section keys;
    struct listen_section listen;
    struct log_section *log;
    struct limits_section *limits;
};

#define OPTIONAL (CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL)

static const cyaml_strval_t level_names[] = {
    {"error", LOG_ERROR}, {"warn", LOG_WARN}, {"info", LOG_INFO}, {"debug", LOG_DEBUG}};
static const cyaml_strval_t format_names[] = {{"text", LOG_AS_TEXT}, {"json", LOG_AS_JSON}};

static const cyaml_schema_field_t keys_fields[] = {
    CYAML_FIELD_STRING_PTR("signing", CYAML_FLAG_POINTER, struct keys_section, signing, 1,
                           PATH_SIZE_MAX - 1),
    CYAML_FIELD_STRING_PTR("nonce", CYAML_FLAG_POINTER, struct keys_section, nonce, 1,
                           PATH_SIZE_MAX - 1),
    CYAML_FIELD_STRING_PTR("tls", CYAML_FLAG_POINTER, struct keys_section, tls, 1,
                           PATH_SIZE_MAX - 1),
    CYAML_FIELD_STRING_PTR("certificate", CYAML_FLAG_POINTER, struct keys_section, certificate, 1,
                           PATH_SIZE_MAX - 1),
    CYAML_FIELD_END};

static const cyaml_schema_field_t listen_fields[] = {
    CYAML_FIELD_STRING_PTR("peer", CYAML_FLAG_POINTER, struct listen_section, peer, 1,
                           ADDRESS_SIZE_MAX),
    CYAML_FIELD_STRING_PTR("client", CYAML_FLAG_POINTER, struct listen_section, client, 1,
                           ADDRESS_SIZE_MAX),
    CYAML_FIELD_END};

static const cyaml_schema_field_t log_fields[] = {
    CYAML_FIELD_ENUM_PTR("level", OPTIONAL | CYAML_FLAG_STRICT, struct log_section, level,
                         level_names, CYAML_ARRAY_LEN(level_names)),
    CYAML_FIELD_ENUM_PTR("format", OPTIONAL | CYAML_FLAG_STRICT, struct log_section, format,
                         format_names, CYAML_ARRAY_LEN(format_names)),
    CYAML_FIELD_END};

static const cyaml_schema_field_t limits_fields[] = {
    CYAML_FIELD_UINT_PTR("client_connections", OPTIONAL, struct limits_section, client_connections),
    CYAML_FIELD_UINT_PTR("request_pool", OPTIONAL, struct limits_section, request_pool),
    CYAML_FIELD_END};

static const cyaml_schema_field_t document_fields[] = {
    CYAML_FIELD_UINT("replica", CYAML_FLAG_DEFAULT, struct document, replica),
    CYAML_FIELD_STRING_PTR("genesis", CYAML_FLAG_POINTER, struct document, genesis, 1,
                           PATH_SIZE_MAX - 1),
    CYAML_FIELD_STRING_PTR("data_directory", CYAML_FLAG_POINTER, struct document, data_directory, 1,
                           PATH_SIZE_MAX - 1),
    CYAML_FIELD_MAPPING("keys", CYAML_FLAG_DEFAULT, struct document, keys, keys_fields),
    CYAML_FIELD_MAPPING("listen", CYAML_FLAG_DEFAULT, struct document, listen, listen_fields),
    CYAML_FIELD_MAPPING_PTR("log", OPTIONAL, struct document, log, log_fields),
    CYAML_FIELD_MAPPING_PTR("limits", OPTIONAL, struct document, limits, limits_fields),
    CYAML_FIELD_END};

static const cyaml_schema_value_t schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct document, document_fields)};

/* ---- from the document to the configuration ---------------------------------------------------
 */

/* A path of the file is relative to the directory the file lies in. */
static int take_path(char out[static PATH_SIZE_MAX], const char *config_path, const char *path,
                     struct problem *problem) {
    const char *const slash = strrchr(config_path, '/');
    int const directory_size = path[0] == '/' || slash == NULL ? 0 : (int)(slash + 1 - config_path);
    int const size = snprintf(out, PATH_SIZE_MAX, "%.*s%s", directory_size, config_path, path);
    if (size < 0 || (size_t)size >= PATH_SIZE_MAX) {
        return problem_set(problem, EXIT_ERROR, "%s: the path %s is too long", config_path, path);
    }
    return 0;
}

static int take_address(char out[static ADDRESS_SIZE_MAX + 1], const char *config_path,
                        const char *key, const char *text, struct problem *problem) {
    struct address address;
    struct problem why = {0};
    if (address_parse(&address, text, &why) != 0) {
        return problem_set(problem, EXIT_ERROR, "%s: `listen.%s`: %s", config_path, key, why.text);
    }
    (void)snprintf(out, ADDRESS_SIZE_MAX + 1, "%s", text); /* the schema bounds its length */
    return 0;
}

struct limit {
    const char *key;
    const uint32_t *given; /* NULL: the default */
    uint32_t preset;
    uint32_t max;
};

static int take_limit(uint32_t *out, const char *config_path, const struct limit *limit,
                      struct problem *problem) {
    *out = limit->given == NULL ? limit->preset : *limit->given;
    if (*out == 0 || *out > limit->max) {
        return problem_set(problem, EXIT_ERROR, "%s: `limits.%s` is %u; choose 1 to %u",
                           config_path, limit->key, *out, limit->max);
    }
    return 0;
}

static int take_paths(struct node_config *config, const char *path, const struct document *document,
                      struct problem *problem) {
    const struct {
        char *out;
        const char *text;
    } paths[] = {
        {config->genesis, document->genesis},
        {config->data_directory, document->data_directory},
        {config->signing_key, document->keys.signing},
        {config->nonce_secret, document->keys.nonce},
        {config->tls_key, document->keys.tls},
        {config->tls_certificate, document->keys.certificate},
    };
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        if (take_path(paths[i].out, path, paths[i].text, problem) != 0) {
            return -1;
        }
    }
    return 0;
}

static int take_document(struct node_config *config, const char *path,
                         const struct document *document, struct problem *problem) {
    static const struct limits_section no_limits = {0};
    static const struct log_section no_log = {0};
    const struct limits_section *const limits =
        document->limits == NULL ? &no_limits : document->limits;
    const struct log_section *const log = document->log == NULL ? &no_log : document->log;
    struct limit const connections = {.key = "client_connections",
                                      .given = limits->client_connections,
                                      .preset = CONNECTIONS_CLIENTS_MAX,
                                      .max = CONNECTIONS_CLIENTS_MAX};
    struct limit const pool = {.key = "request_pool",
                               .given = limits->request_pool,
                               .preset = REQUEST_POOL_DEFAULT,
                               .max = REQUEST_POOL_MAX};
    config->log_level = log->level == NULL ? LOG_INFO : (enum log_level) * log->level;
    config->log_format = log->format == NULL ? LOG_AS_TEXT : (enum log_format) * log->format;
    config->replica = document->replica;
    if (config->replica >= REPLICAS_MAX) {
        return problem_set(problem, EXIT_ERROR, "%s: `replica` is %u; choose 0 to %u", path,
                           config->replica, REPLICAS_MAX - 1);
    }
    if (take_paths(config, path, document, problem) != 0 ||
        take_address(config->listen_peer, path, "peer", document->listen.peer, problem) != 0 ||
        take_address(config->listen_client, path, "client", document->listen.client, problem) !=
            0 ||
        take_limit(&config->client_connections_max, path, &connections, problem) != 0 ||
        take_limit(&config->request_pool_max, path, &pool, problem) != 0) {
        return -1;
    }
    return 0;
}

int config_load(struct node_config *config, const char *path, struct problem *problem) {
    static const struct yaml_kind kind = {
        .schema = &schema, .example = "docs/replica.example.yaml", .size_max = CONFIG_SIZE_MAX};
    *config = (struct node_config){.replica = 0};
    struct document *const document = yaml_file_load(&kind, path, problem);
    if (document == NULL) {
        return -1;
    }
    int const result = take_document(config, path, document, problem);
    yaml_file_free(&kind, document);
    return result;
}
