/*
 * links: what the tests of host/link share: replicas with certificates in a temporary directory,
 * one loop, and ends that count what happens to them.
 */
#ifndef ONUS_TESTS_UNIT_LINKS_H
#define ONUS_TESTS_UNIT_LINKS_H

#include "host/link_internal.h"
#include "host/tls_certificate_internal.h"

#define TEST_REPLICAS 4u

/* One end of a link, or all that a listener accepts. */
struct end {
    struct link *link; /* the last one that came up, until it goes down */
    unsigned ups;
    unsigned downs;
    unsigned downs_never_up;
    unsigned drains;
    uint64_t frames;
    uint64_t bytes;
    uint64_t digest; /* running, over kinds and payloads in order */
    uint32_t peer;
    char reason[320];
    /* What to do in callbacks, besides counting. NULL: nothing. */
    void (*up)(struct end *end, struct link *link);
    void (*frame)(struct end *end, struct link *link, uint8_t kind, struct span payload);
    void (*drained)(struct end *end, struct link *link);
    void *more;
};

struct world {
    char directory[64];
    uv_loop_t loop;
    struct tls_certificate *certificates[TEST_REPLICAS];
    struct digest pins[TEST_REPLICAS];
    struct tls_context *peer_accept;   /* of replica 0, pins all */
    struct tls_context *peer_dial;     /* of replica 1, pins all */
    struct tls_context *client_accept; /* of replica 0 */
    struct tls_context *client_dial;
    struct link_group *accepting;
    struct link_group *dialling;
    char address[64]; /* of `accepting` */
    struct end acceptor;
    struct end dialler;
};

/* Kinds 1..15 of up to 16 MiB; kind 32 of up to 64 bytes; no others. */
size_t world_frame_size_max(uint8_t kind);

/* Options whose callbacks count into `end`. */
struct link_options world_options(const struct tls_context *tls, struct end *end);

void world_open(struct world *world);
/* Groups with these limits; `accepting` listens with this context and handshake timeout. */
void world_listen(struct world *world, const struct tls_context *tls,
                  const struct link_options *options, uint32_t connections_max, size_t memory_max);
/* The same with the usual limits. */
void world_listen_simply(struct world *world, const struct tls_context *tls);
/* Dial `accepting` as `dialler`, expecting replica 0. */
struct link *world_dial(struct world *world, const struct tls_context *tls);
/* Listen and dial until both ends are up. */
void world_connect(struct world *world, const struct tls_context *accept,
                   const struct tls_context *dial);
/* Close all; every link has had exactly one on_down and nothing is left in the loop. */
void world_close(struct world *world);

/* Run the loop until *counter >= value; fails the test after ten seconds. */
void world_wait(struct world *world, const unsigned *counter, unsigned value);
void world_wait_u64(struct world *world, const uint64_t *counter, uint64_t value);
/* Run the loop for a while. */
void world_run_ms(struct world *world, uint64_t ms);

/* A context for another certificate, pinning all replicas. */
struct tls_context *world_context(struct world *world, enum tls_role role,
                                  struct tls_certificate *certificate);

/* A self-signed certificate file over a new key of a curve, with these dates. */
struct tls_certificate *world_odd_certificate(mbedtls_ecp_group_id curve, const char *from,
                                              const char *to);

/* ---- a hand-driven TLS client, for what struct link never sends ---- */

struct raw {
    int socket;
    struct tls_session *session;
    struct buffer out;
    struct buffer in;
};

/* A plain connection to `accepting`. */
int raw_connect(struct world *world);
/* A connection after its TLS handshake. */
void raw_open(struct raw *raw, struct world *world, const struct tls_context *tls);
void raw_send(struct raw *raw, struct span plain);
void raw_close(struct raw *raw);
/* Has the other end closed? Waits for it up to ten seconds. */
bool raw_sees_end(struct world *world, int socket);

#endif
