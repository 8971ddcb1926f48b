/*
 * tls: TLS 1.2 over memory, with pinned keys instead of authorities.
 *
 * One suite (ECDHE-ECDSA with AES-128-GCM on P-256), no renegotiation, no resumption. The end that
 * is shown a certificate asks two things only: is the digest of its public key the one genesis
 * names, and does the other end hold the key (the handshake proves that). Issuer, names, dates
 * and extensions of trust are not looked at; a chain of more than one certificate is refused.
 *
 * No sockets here: ciphertext goes in and out through memory (host/link.h moves it). A session is
 * used by one thread at a time, which may change between calls; contexts and certificates are
 * shared by all sessions, and read-only once made but for a context's pins, which it guards. Both
 * must outlive the sessions made from them.
 */
#ifndef ONUS_HOST_TLS_H
#define ONUS_HOST_TLS_H

#include "base/problem.h"
#include "host/tls_certificate.h"

#define TLS_REASON_SIZE 160u
#define TLS_PEER_ANONYMOUS UINT32_MAX
/* Replicas of a configuration, and of the one before it. */
#define TLS_PINS_MAX (2u * REPLICAS_MAX)

enum tls_role {
    TLS_PEER_DIAL,    /* a replica calls a replica: shows its certificate, pins the other's */
    TLS_PEER_ACCEPT,  /* a replica is called: shows its own, pins any of the configuration's */
    TLS_CLIENT_DIAL,  /* a client calls a replica: anonymous, pins the replica's */
    TLS_CLIENT_ACCEPT /* a replica is called by a client: shows its own, asks for none */
};

struct tls_context;
struct tls_session;

struct tls_context_options {
    enum tls_role role;
    struct tls_certificate *certificate; /* our own, only read; NULL for TLS_CLIENT_DIAL */
    const struct digest *pins;           /* of replica 0, 1, … (copied); unused: CLIENT_ACCEPT */
    uint32_t pin_count;                  /* at most TLS_PINS_MAX */
};

/* Returns: NULL with a problem when memory or mbedTLS fails. */
MUST_USE struct tls_context *tls_context_create(const struct tls_context_options *options,
                                                struct problem *problem);
void tls_context_free(struct tls_context *context);

/*
 * From now on these are the pins: who takes part has changed. Handshakes under way may see the old
 * ones or the new ones; whoever is told that one is done asks tls_session_peer_digest who it is.
 */
void tls_context_set_pins(struct tls_context *context, const struct digest *pins, uint32_t count);

/* The context's role: who starts the handshake. */
bool tls_context_dials(const struct tls_context *context);
uint32_t tls_context_pin_count(const struct tls_context *context);

enum tls_status {
    TLS_OK,
    TLS_WANTS_INPUT, /* all ciphertext is used up; come back with more */
    TLS_CLOSED,      /* the other end said good-bye */
    TLS_FAILED       /* tls_session_reason says why; only tls_session_free makes sense now */
};

/*
 * In: peer: for the dialling roles the replica whose pin must match.
 * Returns: NULL when memory is exhausted.
 */
MUST_USE struct tls_session *tls_session_create(const struct tls_context *context, uint32_t peer);
void tls_session_free(struct tls_session *session);
/* Before the handshake, for the dialling roles: this pin must match instead. */
void tls_session_expect(struct tls_session *session, const struct digest *pin);

/* Ciphertext from the other end, borrowed until the next call of this function. */
void tls_session_set_input(struct tls_session *session, struct span input);
/* How many bytes of it are not used yet (always at its end). */
size_t tls_session_input_left(const struct tls_session *session);
/* Where ciphertext for the other end is appended; borrowed. */
void tls_session_set_output(struct tls_session *session, struct buffer *output);

/* Go on with the handshake. Costs milliseconds of ECDSA: call it on a worker. */
MUST_USE enum tls_status tls_session_handshake(struct tls_session *session);
/* After the handshake: the replica at the other end, or TLS_PEER_ANONYMOUS. */
uint32_t tls_session_peer(const struct tls_session *session);
/* After the handshake: of the other end's key; nothing but zeros if it showed none. */
struct digest tls_session_peer_digest(const struct tls_session *session);

/* Out: size: bytes of plaintext put into `out`, at least 1 when TLS_OK. */
MUST_USE enum tls_status tls_session_read(struct tls_session *session, uint8_t *out, size_t room,
                                          size_t *size);
/* Encrypt all of it, in records of at most 16 KiB. Returns: TLS_OK or TLS_FAILED. */
MUST_USE enum tls_status tls_session_write(struct tls_session *session, struct span plain);
/* Tell the other end that nothing follows. */
MUST_USE enum tls_status tls_session_say_goodbye(struct tls_session *session);

/* Why it failed: one line for people. */
const char *tls_session_reason(const struct tls_session *session);

enum tls_record {
    TLS_RECORD_PARTIAL, /* more bytes are needed to complete the first record */
    TLS_RECORD_READY,
    TLS_RECORD_GARBAGE /* not TLS: no point in reading on */
};

/*
 * What does a connection's input hold, which starts with a record? Lets a link wait for whole
 * records before it spends a worker's time, and drop garbage at once.
 * Out: whole: bytes of the complete records at its start; 0 unless TLS_RECORD_READY.
 */
enum tls_record tls_record_inspect(size_t *whole, struct span input);

#endif
