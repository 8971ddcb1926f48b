/*
 * account: see account.h. Everything that is shown has been verified before; what is decoded here
 * again for showing is decoded with the same care, and left out if it does not decode.
 */
#include "audit-tool/account_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "audit-tool/print.h"

#define QUOTE_SIZE_MAX 240u /* bytes of an argument or a reply that are shown */

/* ---- building ---- */

void telling_put(struct telling *telling, json_t *object, const char *name, json_t *value) {
    telling->failed |= json_object_set_new(object, name, value) != 0;
}

void telling_add(struct telling *telling, json_t *list, json_t *value) {
    telling->failed |= json_array_append_new(list, value) != 0;
}

json_t *telling_table(struct telling *telling, const char *title, const char *first,
                      const char *second) {
    json_t *const table = json_object();
    json_t *const columns = json_array();
    json_t *const rows = json_array();
    telling_put(telling, table, "title", json_string(title));
    telling_add(telling, columns, json_string(first));
    if (second != NULL) {
        telling_add(telling, columns, json_string(second));
    }
    telling_put(telling, table, "columns", columns);
    telling_put(telling, table, "rows", rows);
    telling_add(telling, json_object_get(telling->account, "signed"), table);
    return telling->failed ? NULL : rows;
}

void telling_row(struct telling *telling, json_t *rows, const char *name, json_t *first,
                 json_t *second) {
    json_t *const row = json_object();
    json_t *const cells = json_array();
    const char *const text = json_string_value(second);
    bool const differs =
        text != NULL && strcmp(text, TELLING_FREE) != 0 && json_equal(first, second) == 0;
    telling_put(telling, row, "name", json_string(name));
    telling_add(telling, cells, first);
    if (second != NULL) {
        telling_add(telling, cells, second);
    }
    telling_put(telling, row, "values", cells);
    telling_put(telling, row, "differs", json_boolean(differs));
    telling_add(telling, rows, row);
}

/* ---- values ---- */

json_t *telling_number(uint64_t number) {
    return json_sprintf("%" PRIu64, number);
}

json_t *telling_digest(const struct digest *digest) {
    return telling_bytes(span_of(digest->bytes, DIGEST_SIZE));
}

json_t *telling_bytes(struct span bytes) {
    char text[2 * SIGNATURE_SIZE + 1];
    if (bytes.size > SIGNATURE_SIZE) {
        return NULL;
    }
    hex_encode(text, bytes);
    return json_string(text);
}

json_t *telling_quote(struct span bytes) {
    char text[4 * QUOTE_SIZE_MAX + 64];
    size_t const shown = bytes.size < QUOTE_SIZE_MAX ? bytes.size : QUOTE_SIZE_MAX;
    size_t size = 0;
    for (size_t i = 0; i < shown; i++) {
        uint8_t const byte = bytes.data[i];
        if (byte >= ' ' && byte <= '~' && byte != '\\') {
            text[size++] = (char)byte;
        } else {
            size += (size_t)snprintf(text + size, sizeof text - size, "\\x%02x", byte);
        }
    }
    text[size] = '\0';
    return shown == bytes.size
               ? json_sprintf("\"%s\"", text)
               : json_sprintf("\"%s\" and %zu bytes more", text, bytes.size - shown);
}

json_t *telling_time(uint64_t time_ms) {
    time_t const seconds = (time_t)(time_ms / 1000);
    struct tm parts;
    char text[64];
    if (gmtime_r(&seconds, &parts) == NULL ||
        strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &parts) == 0) {
        return json_sprintf("%" PRIu64 " ms", time_ms);
    }
    return json_sprintf("%s.%03u UTC", text, (unsigned)(time_ms % 1000));
}

json_t *telling_replicas(const struct configuration *configuration, uint64_t replicas) {
    char text[REPLICAS_MAX * (NAME_SIZE_MAX + 24u) + 1];
    size_t size = 0;
    text[0] = '\0';
    for (uint32_t replica = 0; replica < configuration->replica_count; replica++) {
        if ((replicas >> replica & 1) != 0) {
            int const added = snprintf(text + size, sizeof text - size,
                                       "%s%s (replica %" PRIu32 ")", size == 0 ? "" : ", ",
                                       configuration_member_of(configuration, replica), replica);
            size += added < 0 ? 0 : (size_t)added;
        }
    }
    return json_string(text);
}

json_t *telling_batch(uint64_t view, uint64_t seq) {
    return seq == 0 ? json_string("none")
                    : json_sprintf("batch %" PRIu64 " of view %" PRIu64, seq, view);
}

/* ---- who ---- */

/* The member's key in that configuration. */
static json_t *member_key(const struct telling *telling, uint32_t member) {
    const struct configuration *const configuration = &telling->verdict->configuration;
    return member < configuration->member_count
               ? telling_bytes(span_of(configuration->members[member].key.bytes, PUBLIC_KEY_SIZE))
               : NULL;
}

static void tell_blamed(struct telling *telling) {
    const struct configuration *const configuration = &telling->verdict->configuration;
    json_t *const list = json_array();
    for (uint32_t replica = 0; replica < configuration->replica_count; replica++) {
        if ((telling->verdict->blamed >> replica & 1) == 0) {
            continue;
        }
        const struct replica_identity *const identity = &configuration->replicas[replica];
        json_t *const one = json_object();
        telling_put(telling, one, "member",
                    json_string(configuration_member_of(configuration, replica)));
        telling_put(telling, one, "replica", json_integer((json_int_t)replica));
        telling_put(telling, one, "key",
                    telling_bytes(span_of(identity->key.bytes, PUBLIC_KEY_SIZE)));
        telling_put(telling, one, "member_key", member_key(telling, identity->member));
        telling_add(telling, list, one);
    }
    telling_put(telling, telling->account, "blamed", list);
}

static void tell_service(struct telling *telling) {
    const struct configuration *const configuration = &telling->verdict->configuration;
    json_t *const service = json_object();
    char name[NAME_SIZE_MAX + 1] = "";
    if (telling->genesis.name.size <= NAME_SIZE_MAX) {
        memcpy(name, telling->genesis.name.data, telling->genesis.name.size);
    }
    telling_put(telling, service, "name", json_string(name));
    telling_put(telling, service, "founded", telling_time(telling->genesis.time_ms));
    telling_put(telling, service, "replicas", telling_number(configuration->replica_count));
    telling_put(telling, service, "quorum", telling_number(configuration->quorum));
    telling_put(telling, service, "faults_max", telling_number(configuration->faults_max));
    telling_put(telling, telling->account, "about", service);
}

/* ---- how to check it ---- */

/* A path as a shell takes it for one word. */
static json_t *quoted_path(const char *path) {
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-+,:@%";
    if (path[0] != '\0' && path[0] != '-' && path[strspn(path, plain)] == '\0') {
        return json_string(path);
    }
    return strchr(path, '\'') == NULL ? json_sprintf("'%s'", path) : NULL;
}

static void tell_check(struct telling *telling, struct span file, const char *path) {
    char service[2 * DIGEST_SIZE + 1];
    struct digest const digest = hash_bytes(file);
    json_t *word = quoted_path(path);
    if (word == NULL) {
        word = json_string("FILE"); /* not UTF-8, or not fit to be typed */
    }
    hex_encode(service, span_of(telling->verdict->service.bytes, DIGEST_SIZE));
    telling_put(telling, telling->account, "check",
                json_sprintf("onus-audit verify --service %s %s", service,
                             word == NULL ? "FILE" : json_string_value(word)));
    telling_put(telling, telling->account, "file_digest", telling_digest(&digest));
    telling_put(telling, telling->account, "file_size", telling_number(file.size));
    json_decref(word);
}

/* ---- all of it ---- */

static void tell_headline(struct telling *telling) {
    char *text = NULL;
    size_t size = 0;
    FILE *const out = open_memstream(&text, &size);
    if (out == NULL) {
        telling->failed = true;
        return;
    }
    print_headline(out, telling->verdict);
    telling->failed |= fclose(out) != 0;
    if (!telling->failed) {
        telling_put(telling, telling->account, "headline", json_string(text));
    }
    free(text);
}

static void tell(struct telling *telling, struct span file, const char *path) {
    telling_put(telling, telling->account, "signed", json_array());
    tell_headline(telling);
    tell_service(telling);
    tell_blamed(telling);
    telling_signed(telling);
    telling_why(telling);
    tell_check(telling, file, path);
}

json_t *account_make(const struct proof_verdict *verdict, struct span file, const char *path) {
    size_t const magic = sizeof EVIDENCE_FILE_MAGIC - 1;
    struct telling *const telling = calloc(1, sizeof *telling);
    if (telling == NULL || file.size < magic) {
        free(telling);
        return NULL;
    }
    arena_init(&telling->arena, 2 * proof_arena_size(file.size));
    telling->verdict = verdict;
    telling->account = print_json(verdict);
    telling->failed =
        telling->account == NULL ||
        proof_decode(&telling->proof, &telling->arena,
                     span_of(file.data + magic, file.size - magic)) != CODEC_OK ||
        genesis_decode(&telling->genesis, &telling->arena, telling->proof.genesis) != CODEC_OK ||
        proof_eras(&telling->eras, &telling->arena, &verdict->service, &telling->proof) !=
            PROOF_VALID;
    if (!telling->failed) {
        tell(telling, file, path);
    }
    json_t *account = telling->account;
    if (telling->failed) {
        json_decref(account);
        account = NULL;
    }
    eras_free(&telling->eras);
    arena_free(&telling->arena);
    free(telling);
    return account;
}
