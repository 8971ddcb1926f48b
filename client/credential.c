/*
 * credential: see credential.h. A file is read line by line in one order, and nothing but these
 * lines may stand in it, so that what people read in it is all that there is.
 */
#include "client/credential.h"

#include <stdio.h>

#include "base/check.h"
#include "host/address.h"
#include "host/file.h"

#define MAGIC_LINE "onus-credential-v1\n"
#define VALUE_TEXT_SIZE 160u /* the longest is a signature, or an address */
#define SIGNATURE_BYTES (sizeof(struct signature))
static_assert(VALUE_TEXT_SIZE > 2 * SIGNATURE_BYTES && VALUE_TEXT_SIZE > ADDRESS_SIZE_MAX &&
                  VALUE_TEXT_SIZE > NAME_SIZE_MAX,
              "every value fits");

const char *credential_role_text(enum holder_role role) {
    switch (role) {
    case HOLDER_MEMBER:
        return "member";
    case HOLDER_USER:
        return "user";
    case HOLDER_REPLICA:
        return "replica";
    }
    UNREACHABLE();
}

int credential_set_name(struct credential *credential, const char *name, struct problem *problem) {
    size_t const size = strlen(name);
    if (size == 0 || size > NAME_SIZE_MAX ||
        strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789.-") != size) {
        return problem_set(problem, EXIT_USAGE,
                           "`%.80s` is no name; a name has 1 to %u characters of a-z 0-9 . -", name,
                           NAME_SIZE_MAX);
    }
    memcpy(credential->name, name, size + 1);
    return 0;
}

static int set_address(char *out, const char *text, struct problem *problem) {
    struct address address;
    if (address_parse(&address, text, problem) != 0) {
        return -1;
    }
    if (strlen(text) > ADDRESS_SIZE_MAX) {
        return problem_set(problem, EXIT_USAGE, "an address has at most %u characters",
                           ADDRESS_SIZE_MAX);
    }
    memcpy(out, text, strlen(text) + 1);
    return 0;
}

int credential_set_addresses(struct credential *credential, const char *peer, const char *client,
                             struct problem *problem) {
    return set_address(credential->peer_address, peer, problem) == 0
               ? set_address(credential->client_address, client, problem)
               : -1;
}

/* ---- signatures ------------------------------------------------------------------------------ */

/* Append the body that the new key signs. */
static bool possession_body(struct buffer *out, const struct credential *credential) {
    struct possession const possession = {
        .role = credential->role, .name = span_text(credential->name), .key = credential->key};
    return possession_encode(out, &possession);
}

bool credential_endorsement_body(struct buffer *out, const struct credential *credential) {
    struct replica_endorsement const endorsement = {
        .member = span_text(credential->name),
        .replica_key = credential->key,
        .tls_digest = credential->tls_digest,
        .peer_address = span_text(credential->peer_address),
        .client_address = span_text(credential->client_address),
    };
    return replica_endorsement_encode(out, &endorsement);
}

int credential_possess(struct credential *credential, const struct secret_key *secret,
                       const struct public_key *key, struct problem *problem) {
    uint8_t memory[POSSESSION_SIZE_MAX];
    struct buffer body;
    buffer_init_on(&body, memory, sizeof memory);
    credential->key = *key;
    if (!possession_body(&body, credential)) {
        return problem_set(problem, EXIT_ERROR, "out of memory");
    }
    credential->possession =
        sign_labelled(secret, key, LABEL_POSSESSION, &credential->service, buffer_span(&body));
    return 0;
}

int credential_endorse(struct credential *credential, const struct secret_key *secret,
                       const struct public_key *key, struct problem *problem) {
    uint8_t memory[ENDORSEMENT_SIZE_MAX];
    struct buffer body;
    buffer_init_on(&body, memory, sizeof memory);
    if (!credential_endorsement_body(&body, credential)) {
        return problem_set(problem, EXIT_ERROR, "out of memory");
    }
    credential->endorsement =
        sign_labelled(secret, key, LABEL_REPLICA_GIVEN, &credential->service, buffer_span(&body));
    credential->endorsed = true;
    return 0;
}

static bool possession_holds(const struct credential *credential) {
    uint8_t memory[POSSESSION_SIZE_MAX];
    struct buffer body;
    buffer_init_on(&body, memory, sizeof memory);
    if (!public_key_valid(&credential->key) || !possession_body(&body, credential)) {
        return false;
    }
    struct sign_check const check = {
        .key = credential->key,
        .signature = credential->possession,
        .body = buffer_span(&body),
        .label = LABEL_POSSESSION,
    };
    return sign_verify_universal(&credential->service, &check);
}

/* ---- the text -------------------------------------------------------------------------------- */

static bool line_text(struct buffer *out, const char *field, const char *value) {
    return buffer_append(out, span_text(field)) && buffer_append(out, span_text(" ")) &&
           buffer_append(out, span_text(value)) && buffer_append(out, span_text("\n"));
}

static bool line_hex(struct buffer *out, const char *field, struct span bytes) {
    char text[VALUE_TEXT_SIZE];
    CHECK(2 * bytes.size < sizeof text);
    hex_encode(text, bytes);
    return line_text(out, field, text);
}

bool credential_format(struct buffer *out, const struct credential *credential) {
    bool ok = buffer_append(out, span_text(MAGIC_LINE)) &&
              line_hex(out, "service", span_of(credential->service.bytes, DIGEST_SIZE)) &&
              line_text(out, "role", credential_role_text(credential->role)) &&
              line_text(out, "name", credential->name) &&
              line_hex(out, "key", span_of(credential->key.bytes, PUBLIC_KEY_SIZE));
    if (credential->role == HOLDER_REPLICA) {
        ok = ok && line_hex(out, "tls", span_of(credential->tls_digest.bytes, DIGEST_SIZE)) &&
             line_text(out, "peer", credential->peer_address) &&
             line_text(out, "client", credential->client_address);
    }
    ok = ok && line_hex(out, "possession", span_of(credential->possession.bytes, SIGNATURE_BYTES));
    return ok &&
           (!credential->endorsed ||
            line_hex(out, "endorsement", span_of(credential->endorsement.bytes, SIGNATURE_BYTES)));
}

/* What is left of a file, and what has been found wrong with it. */
struct lines {
    struct span rest;
    const char *wrong; /* the field; NULL: nothing so far */
    char value[VALUE_TEXT_SIZE];
};

/* Take the line of this field. Returns: false, with `wrong` set, when it is not next. */
static bool take_line(struct lines *lines, const char *field) {
    size_t const before = strlen(field) + 1;
    const uint8_t *const end =
        lines->rest.size == 0 ? NULL : memchr(lines->rest.data, '\n', lines->rest.size);
    size_t const size = end == NULL ? 0 : (size_t)(end - lines->rest.data);
    if (lines->wrong != NULL || size < before || size - before >= sizeof lines->value ||
        memcmp(lines->rest.data, field, before - 1) != 0 || lines->rest.data[before - 1] != ' ' ||
        memchr(lines->rest.data, '\0', size) != NULL) {
        lines->wrong = lines->wrong == NULL ? field : lines->wrong;
        return false;
    }
    memcpy(lines->value, lines->rest.data + before, size - before);
    lines->value[size - before] = '\0';
    lines->rest = span_of(lines->rest.data + size + 1, lines->rest.size - size - 1);
    return true;
}

static void take_hex(struct lines *lines, const char *field, uint8_t *out, size_t size) {
    if (take_line(lines, field) && !hex_decode(out, size, lines->value)) {
        lines->wrong = field;
    }
}

static void take_role(struct lines *lines, enum holder_role *out) {
    static const enum holder_role roles[] = {HOLDER_MEMBER, HOLDER_USER, HOLDER_REPLICA};
    if (!take_line(lines, "role")) {
        return;
    }
    for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++) {
        if (strcmp(lines->value, credential_role_text(roles[i])) == 0) {
            *out = roles[i];
            return;
        }
    }
    lines->wrong = "role";
}

static void take_address(struct lines *lines, const char *field, char *out) {
    struct problem ignored = {.code = EXIT_OK};
    if (take_line(lines, field) && set_address(out, lines->value, &ignored) != 0) {
        lines->wrong = field;
    }
}

static void take_all(struct lines *lines, struct credential *out) {
    struct problem ignored = {.code = EXIT_OK};
    take_hex(lines, "service", out->service.bytes, DIGEST_SIZE);
    take_role(lines, &out->role);
    if (take_line(lines, "name") && credential_set_name(out, lines->value, &ignored) != 0) {
        lines->wrong = "name";
    }
    take_hex(lines, "key", out->key.bytes, PUBLIC_KEY_SIZE);
    if (lines->wrong == NULL && out->role == HOLDER_REPLICA) {
        take_hex(lines, "tls", out->tls_digest.bytes, DIGEST_SIZE);
        take_address(lines, "peer", out->peer_address);
        take_address(lines, "client", out->client_address);
    }
    take_hex(lines, "possession", out->possession.bytes, SIGNATURE_BYTES);
    if (lines->wrong == NULL && out->role == HOLDER_REPLICA && lines->rest.size != 0) {
        take_hex(lines, "endorsement", out->endorsement.bytes, SIGNATURE_BYTES);
        out->endorsed = lines->wrong == NULL;
    }
}

int credential_parse(struct credential *out, struct span text, const char *path,
                     struct problem *problem) {
    size_t const magic = strlen(MAGIC_LINE);
    *out = (struct credential){.role = HOLDER_MEMBER};
    if (text.size < magic || memcmp(text.data, MAGIC_LINE, magic) != 0) {
        return problem_set(problem, EXIT_INVALID,
                           "%s: does not begin with %.*s; see onus gov possession", path,
                           (int)magic - 1, MAGIC_LINE);
    }
    struct lines lines = {.rest = span_of(text.data + magic, text.size - magic)};
    take_all(&lines, out);
    if (lines.wrong != NULL || lines.rest.size != 0) {
        return problem_set(problem, EXIT_INVALID, "%s: %s `%s`; get a fresh copy", path,
                           lines.wrong != NULL ? "there is something wrong with the line"
                                               : "there is more behind the last line, after",
                           lines.wrong != NULL ? lines.wrong
                           : out->endorsed     ? "endorsement"
                                               : "possession");
    }
    return possession_holds(out)
               ? 0
               : problem_set(problem, EXIT_INVALID,
                             "%s: `possession` is not signed by `key` for what stands there; have "
                             "it made again by whoever holds the key",
                             path);
}

int credential_save(const struct credential *credential, const char *path,
                    struct problem *problem) {
    struct buffer text;
    buffer_init(&text, CREDENTIAL_SIZE_MAX);
    int const status = credential_format(&text, credential)
                           ? file_write(path, buffer_span(&text), 0644, FILE_KEEP, problem)
                           : problem_set(problem, EXIT_ERROR, "out of memory");
    buffer_free(&text);
    return status;
}

int credential_load(struct credential *out, const struct digest *service, const char *path,
                    struct problem *problem) {
    struct buffer text;
    buffer_init(&text, CREDENTIAL_SIZE_MAX);
    int status = file_read(&text, path, FILE_PUBLIC, problem);
    if (status == 0) {
        status = credential_parse(out, buffer_span(&text), path, problem);
    }
    if (status == 0 && service != NULL && !digest_equal(service, &out->service)) {
        status = problem_set(problem, EXIT_INVALID,
                             "%s: `service` is another service than that of the context", path);
    }
    buffer_free(&text);
    return status;
}
