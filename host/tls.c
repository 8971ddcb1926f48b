/*
 * tls: see tls.h. Invariants: of a context only the pins are written after tls_context_create, and
 * those under its lock; a session
 * reports TLS_OK from its handshake only if the pin matched in the verification callback and
 * mbedTLS then proved possession of that key.
 */
#include "host/tls.h"

#include <mbedtls/error.h>
#include <mbedtls/ssl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/limits.h"
#include "host/tls_certificate_internal.h"

#define RECORD_HEADER_SIZE 5u
#define RECORD_TYPE_MIN 20u /* change_cipher_spec */
#define RECORD_TYPE_MAX 23u /* application_data */
#define RECORD_SIZE_MAX (16384u + 2048u)

struct pin_list {
    pthread_mutex_t lock; /* handshakes are on threads of their own */
    uint32_t count;
    struct digest pins[TLS_PINS_MAX];
};

struct tls_context {
    mbedtls_ssl_config config;
    mbedtls_x509_crt no_authority; /* empty: mbedTLS insists on a list of authorities */
    struct pin_list *list;         /* empty when the role has none */
    enum tls_role role;
};

struct tls_session {
    mbedtls_ssl_context ssl;
    const struct tls_context *context;
    struct span input;
    struct buffer *output;
    uint32_t expected; /* for dialling roles; TLS_PEER_ANONYMOUS: its number does not matter */
    struct digest pin; /* for dialling roles */
    struct digest digest;
    uint32_t peer;
    bool pin_matched;
    char reason[TLS_REASON_SIZE];
};

static const int suites[] = {MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, 0};
static const mbedtls_ecp_group_id curves[] = {MBEDTLS_ECP_DP_SECP256R1, MBEDTLS_ECP_DP_NONE};
static const int hashes[] = {MBEDTLS_MD_SHA256, MBEDTLS_MD_NONE};

/* ---- contexts ---- */

static bool role_dials(enum tls_role role) {
    switch (role) {
    case TLS_PEER_DIAL:
    case TLS_CLIENT_DIAL:
        return true;
    case TLS_PEER_ACCEPT:
    case TLS_CLIENT_ACCEPT:
        return false;
    }
    UNREACHABLE();
}

static bool role_pins(enum tls_role role) {
    return role != TLS_CLIENT_ACCEPT;
}

bool tls_context_dials(const struct tls_context *context) {
    return role_dials(context->role);
}

uint32_t tls_context_pin_count(const struct tls_context *context) {
    CHECK(pthread_mutex_lock(&context->list->lock) == 0);
    uint32_t const count = context->list->count;
    CHECK(pthread_mutex_unlock(&context->list->lock) == 0);
    return count;
}

void tls_context_set_pins(struct tls_context *context, const struct digest *pins, uint32_t count) {
    struct pin_list *const list = context->list;
    CHECK(count <= TLS_PINS_MAX && role_pins(context->role));
    CHECK(pthread_mutex_lock(&list->lock) == 0);
    list->count = count;
    if (count != 0) {
        memcpy(list->pins, pins, count * sizeof *pins);
    }
    CHECK(pthread_mutex_unlock(&list->lock) == 0);
}

static void restrict_protocol(mbedtls_ssl_config *config) {
    mbedtls_ssl_conf_min_version(config, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
    mbedtls_ssl_conf_max_version(config, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
    mbedtls_ssl_conf_ciphersuites(config, suites);
    mbedtls_ssl_conf_curves(config, curves);
    mbedtls_ssl_conf_sig_hashes(config, hashes);
    mbedtls_ssl_conf_renegotiation(config, MBEDTLS_SSL_RENEGOTIATION_DISABLED);
    mbedtls_ssl_conf_legacy_renegotiation(config, MBEDTLS_SSL_LEGACY_BREAK_HANDSHAKE);
    mbedtls_ssl_conf_extended_master_secret(config, MBEDTLS_SSL_EXTENDED_MS_ENABLED);
    mbedtls_ssl_conf_rng(config, tls_certificate_random, NULL);
}

static int configure(struct tls_context *context, struct tls_certificate *certificate) {
    bool const dials = role_dials(context->role);
    mbedtls_ssl_config *const config = &context->config;
    int error =
        mbedtls_ssl_config_defaults(config, dials ? MBEDTLS_SSL_IS_CLIENT : MBEDTLS_SSL_IS_SERVER,
                                    MBEDTLS_SSL_TRANSPORT_STREAM, MBEDTLS_SSL_PRESET_DEFAULT);
    if (error != 0) {
        return error;
    }
    restrict_protocol(config);
    if (dials) {
        mbedtls_ssl_conf_session_tickets(config, MBEDTLS_SSL_SESSION_TICKETS_DISABLED);
    } else {
        mbedtls_ssl_conf_cert_req_ca_list(config, MBEDTLS_SSL_CERT_REQ_CA_LIST_DISABLED);
    }
    if (role_pins(context->role)) {
        mbedtls_ssl_conf_authmode(config, MBEDTLS_SSL_VERIFY_REQUIRED);
        mbedtls_ssl_conf_ca_chain(config, &context->no_authority, NULL);
    } else {
        mbedtls_ssl_conf_authmode(config, MBEDTLS_SSL_VERIFY_NONE);
    }
    if (certificate != NULL) {
        error = mbedtls_ssl_conf_own_cert(config, &certificate->chain, &certificate->key);
    }
    return error;
}

struct tls_context *tls_context_create(const struct tls_context_options *options,
                                       struct problem *problem) {
    CHECK(options->pin_count <= TLS_PINS_MAX);
    CHECK((options->certificate == NULL) == (options->role == TLS_CLIENT_DIAL));
    struct tls_context *const context = calloc(1, sizeof *context);
    struct pin_list *const list = calloc(1, sizeof *list);
    if (context == NULL || list == NULL) {
        free(context);
        free(list);
        (void)problem_set(problem, EXIT_ERROR, "set up TLS: out of memory");
        return NULL;
    }
    CHECK(pthread_mutex_init(&list->lock, NULL) == 0); /* without attributes it cannot fail */
    context->role = options->role;
    context->list = list;
    if (role_pins(options->role)) {
        tls_context_set_pins(context, options->pins, options->pin_count);
    }
    mbedtls_ssl_config_init(&context->config);
    mbedtls_x509_crt_init(&context->no_authority);
    int const error = configure(context, options->certificate);
    if (error != 0) {
        char text[128];
        mbedtls_strerror(error, text, sizeof text);
        (void)problem_set(problem, EXIT_ERROR, "set up TLS: %s", text);
        tls_context_free(context);
        return NULL;
    }
    return context;
}

void tls_context_free(struct tls_context *context) {
    if (context == NULL) {
        return;
    }
    mbedtls_ssl_config_free(&context->config);
    mbedtls_x509_crt_free(&context->no_authority);
    (void)pthread_mutex_destroy(&context->list->lock); /* nobody holds it */
    free(context->list);
    free(context);
}

/* ---- pins ---- */

/* Which replica shows this digest? Returns: TLS_PEER_ANONYMOUS for none of them. */
static uint32_t find_pin(const struct tls_context *context, const struct digest *digest) {
    struct pin_list *const list = context->list;
    uint32_t found = TLS_PEER_ANONYMOUS;
    CHECK(pthread_mutex_lock(&list->lock) == 0);
    for (uint32_t i = 0; i < list->count && found == TLS_PEER_ANONYMOUS; i++) {
        if (digest_equal(&list->pins[i], digest)) {
            found = i;
        }
    }
    CHECK(pthread_mutex_unlock(&list->lock) == 0);
    return found;
}

static int refuse(struct tls_session *session, uint32_t *flags, const char *reason) {
    (void)snprintf(session->reason, sizeof session->reason, "%s", reason);
    session->pin_matched = false;
    *flags |= MBEDTLS_X509_BADCERT_OTHER;
    return 0;
}

/*
 * mbedTLS calls this for every certificate of the chain, the peer's own last (depth 0), with what
 * it has against it in `flags`. The pin replaces trust in issuers and dates, so a match clears
 * them all; anything else leaves a flag set and the handshake ends with an alert.
 */
static int verify(void *argument, mbedtls_x509_crt *chain, int depth, uint32_t *flags) {
    struct tls_session *const session = argument;
    if (depth != 0 || chain->next != NULL) {
        return refuse(session, flags, "the other end shows a chain of certificates, not one");
    }
    if (!tls_certificate_key_is_p256(&chain->pk)) {
        return refuse(session, flags, "the other end's certificate is not of an ECDSA P-256 key");
    }
    struct digest const digest = tls_certificate_chain_digest(chain);
    if (role_dials(session->context->role)) {
        bool const matches = digest_equal(&digest, &session->pin);
        if (!matches && session->expected == TLS_PEER_ANONYMOUS) {
            return refuse(session, flags,
                          "the certificate is not the one that is endorsed for this replica; "
                          "check the address and the certificate there");
        }
        if (!matches) {
            char text[TLS_REASON_SIZE];
            (void)snprintf(text, sizeof text,
                           "the certificate is not the one genesis names for replica %u; check "
                           "the address and the certificate there",
                           session->expected);
            return refuse(session, flags, text);
        }
        session->peer = session->expected;
    } else {
        session->peer = find_pin(session->context, &digest);
        if (session->peer == TLS_PEER_ANONYMOUS) {
            return refuse(session, flags,
                          "the certificate is not one that genesis names for a replica");
        }
    }
    session->digest = digest;
    session->pin_matched = true;
    *flags = 0;
    return 0;
}

/* ---- sessions ---- */

static int receive(void *argument, unsigned char *out, size_t room) {
    struct tls_session *const session = argument;
    if (session->input.size == 0) {
        return MBEDTLS_ERR_SSL_WANT_READ;
    }
    size_t const size = room < session->input.size ? room : session->input.size;
    memcpy(out, session->input.data, size);
    session->input.data += size;
    session->input.size -= size;
    return (int)size;
}

static int transmit(void *argument, const unsigned char *bytes, size_t size) {
    struct tls_session *const session = argument;
    if (!buffer_append(session->output, span_of(bytes, size))) {
        return MBEDTLS_ERR_SSL_ALLOC_FAILED;
    }
    return (int)size;
}

struct tls_session *tls_session_create(const struct tls_context *context, uint32_t peer) {
    struct tls_session *const session = calloc(1, sizeof *session);
    if (session == NULL) {
        return NULL;
    }
    session->context = context;
    session->expected = peer;
    if (role_dials(context->role) && peer != TLS_PEER_ANONYMOUS) {
        CHECK(peer < tls_context_pin_count(context));
        session->pin = context->list->pins[peer];
    }
    session->peer = TLS_PEER_ANONYMOUS;
    mbedtls_ssl_init(&session->ssl);
    int error = mbedtls_ssl_setup(&session->ssl, &context->config);
    if (error == 0) {
        /* Said in so many words that no name is to be checked: the pin is. */
        error = mbedtls_ssl_set_hostname(&session->ssl, NULL);
    }
    if (error != 0) {
        tls_session_free(session);
        return NULL;
    }
    mbedtls_ssl_set_bio(&session->ssl, session, transmit, receive, NULL);
    mbedtls_ssl_set_verify(&session->ssl, verify, session);
    return session;
}

void tls_session_free(struct tls_session *session) {
    if (session == NULL) {
        return;
    }
    mbedtls_ssl_free(&session->ssl);
    free(session);
}

void tls_session_set_input(struct tls_session *session, struct span input) {
    session->input = input;
}

size_t tls_session_input_left(const struct tls_session *session) {
    return session->input.size;
}

void tls_session_set_output(struct tls_session *session, struct buffer *output) {
    session->output = output;
}

void tls_session_expect(struct tls_session *session, const struct digest *pin) {
    CHECK(role_dials(session->context->role));
    session->expected = TLS_PEER_ANONYMOUS;
    session->pin = *pin;
}

struct digest tls_session_peer_digest(const struct tls_session *session) {
    return session->digest;
}

uint32_t tls_session_peer(const struct tls_session *session) {
    return session->peer;
}

const char *tls_session_reason(const struct tls_session *session) {
    return session->reason;
}

static enum tls_status fail(struct tls_session *session, const char *doing, int error) {
    if (session->reason[0] != '\0') {
        return TLS_FAILED; /* the callback has said it better */
    }
    if (error == MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE) {
        (void)snprintf(session->reason, sizeof session->reason,
                       "%s: the other end refused; see its log", doing);
    } else if (error == MBEDTLS_ERR_SSL_NO_CLIENT_CERTIFICATE) {
        (void)snprintf(session->reason, sizeof session->reason,
                       "%s: the other end shows no certificate", doing);
    } else {
        char text[100];
        mbedtls_strerror(error, text, sizeof text);
        (void)snprintf(session->reason, sizeof session->reason, "%s: %s", doing, text);
    }
    return TLS_FAILED;
}

enum tls_status tls_session_handshake(struct tls_session *session) {
    int const error = mbedtls_ssl_handshake(&session->ssl);
    if (error == MBEDTLS_ERR_SSL_WANT_READ) {
        return TLS_WANTS_INPUT;
    }
    if (error != 0) {
        return fail(session, "TLS handshake", error);
    }
    if (role_pins(session->context->role) && !session->pin_matched) {
        return fail(session, "TLS handshake", MBEDTLS_ERR_X509_CERT_VERIFY_FAILED);
    }
    return TLS_OK;
}

enum tls_status tls_session_read(struct tls_session *session, uint8_t *out, size_t room,
                                 size_t *size) {
    CHECK(room > 0);
    int const result = mbedtls_ssl_read(&session->ssl, out, room);
    if (result > 0) {
        *size = (size_t)result;
        return TLS_OK;
    }
    *size = 0;
    if (result == MBEDTLS_ERR_SSL_WANT_READ) {
        return TLS_WANTS_INPUT;
    }
    if (result == 0 || result == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY) {
        return TLS_CLOSED;
    }
    return fail(session, "TLS", result);
}

enum tls_status tls_session_write(struct tls_session *session, struct span plain) {
    while (plain.size > 0) {
        int const result = mbedtls_ssl_write(&session->ssl, plain.data, plain.size);
        if (result <= 0) {
            return fail(session, "TLS", result);
        }
        plain.data += result;
        plain.size -= (size_t)result;
    }
    return TLS_OK;
}

enum tls_status tls_session_say_goodbye(struct tls_session *session) {
    int const error = mbedtls_ssl_close_notify(&session->ssl);
    return error == 0 ? TLS_OK : fail(session, "TLS", error);
}

/* One record at the start of the input. Out: size: header and body, if the header is there. */
static enum tls_record inspect_one(size_t *size, struct span input) {
    if (input.size > 0 && (input.data[0] < RECORD_TYPE_MIN || input.data[0] > RECORD_TYPE_MAX)) {
        return TLS_RECORD_GARBAGE;
    }
    if (input.size > 1 && input.data[1] != MBEDTLS_SSL_MAJOR_VERSION_3) {
        return TLS_RECORD_GARBAGE;
    }
    if (input.size < RECORD_HEADER_SIZE) {
        return TLS_RECORD_PARTIAL;
    }
    size_t const body = (size_t)input.data[3] << 8 | input.data[4];
    if (body > RECORD_SIZE_MAX) {
        return TLS_RECORD_GARBAGE;
    }
    *size = RECORD_HEADER_SIZE + body;
    return input.size < *size ? TLS_RECORD_PARTIAL : TLS_RECORD_READY;
}

enum tls_record tls_record_inspect(size_t *whole, struct span input) {
    *whole = 0;
    for (;;) {
        size_t size = 0;
        enum tls_record const record =
            inspect_one(&size, span_of(input.data + *whole, input.size - *whole));
        if (record == TLS_RECORD_READY) {
            *whole += size;
        } else if (record == TLS_RECORD_GARBAGE || *whole == 0) {
            *whole = 0;
            return record;
        } else {
            return TLS_RECORD_READY;
        }
    }
}
