/*
 * link: framed, non-blocking TLS connections on a libuv loop, for replicas and clients alike.
 *
 * A frame is payload size (4 bytes, big endian), kind (1 byte), payload (ledger/wire.h). Frames
 * arrive whole and in order, or the link goes down.
 *
 * A *group* holds all links of one purpose (peers, clients): it carries their limits, so that a
 * flood of clients takes nothing from the peers, and may have one listener.
 *
 * What is bounded: connections that a listener has accepted; bytes waiting to be sent (link_send
 * answers LINK_BUSY); a frame by its kind, checked on the header alone, before anything is
 * buffered; buffers of all links of a group together; handshakes computed at the same time (on
 * libuv's thread pool); the time for resolving, connecting and the handshake together; and the
 * time between one complete frame and the next, so that a peer which dribbles bytes is cut off
 * like one that is silent.
 *
 * Everything here is called on the loop's thread, inside callbacks too. Callbacks come from the
 * loop only, never from inside a function of this header. Frames sent in one turn of the loop
 * leave together when the loop is about to wait. Each link gets exactly one on_down, whatever
 * happened and whoever closed it; when that returns, the link's memory is gone.
 */
#ifndef ONUS_HOST_LINK_H
#define ONUS_HOST_LINK_H

#include <uv.h>

#include "base/problem.h"
#include "host/tls.h"

struct link;
struct link_group;

enum link_result {
    LINK_OK,
    LINK_BUSY, /* the output is full: nothing of the frame was taken; on_drained will follow */
    LINK_DOWN  /* not up yet, or going down */
};

struct link_handlers {
    /* The handshake is done: frames may be sent, link_peer is known. */
    void (*on_up)(struct link *link, void *user);
    /* The payload is valid during the call only. */
    void (*on_frame)(struct link *link, void *user, uint8_t kind, struct span payload);
    /* After LINK_BUSY: no more than half of the output limit is waiting. May be NULL. */
    void (*on_drained)(struct link *link, void *user);
    /*
     * The last call for this link. It also comes for links that never were up (link_was_up);
     * reason is one line for people.
     */
    void (*on_down)(struct link *link, void *user, const char *reason);
    /* Largest payload accepted of a kind; 0 for a kind that this end does not take. */
    size_t (*frame_size_max)(uint8_t kind);
};

/* Times and sizes of 0 stand for the defaults of base/limits.h. */
struct link_options {
    const struct tls_context *tls; /* must outlive the links */
    uint32_t peer;                 /* when dialling: the replica that must answer; or */
    struct digest pin;             /* TLS_PEER_ANONYMOUS, and the digest of its TLS key */
    struct link_handlers handlers;
    void *user;                    /* first value of link_user */
    uint32_t handshake_timeout_ms; /* HANDSHAKE_TIMEOUT_MS */
    uint32_t idle_timeout_ms;      /* LINK_IDLE_TIMEOUT_MS; also for output that does not move */
    size_t output_size_max;        /* LINK_OUTPUT_SIZE_MAX; an empty output takes any one frame */
};

struct link_group_options {
    uv_loop_t *loop;
    uint32_t connections_max; /* accepted ones, at one time */
    size_t memory_max;        /* for the buffers of all links together */
};

/* Returns: NULL with a problem when memory is exhausted. */
MUST_USE struct link_group *link_group_create(const struct link_group_options *options,
                                              struct problem *problem);

/*
 * Accept connections on a numeric address; port 0 lets the system choose. Once per group.
 * Over the limit the oldest connection that has not finished its handshake gives way, so that
 * half-open connections lock nobody out; if there is none, the new one is closed at once.
 * Returns: 0, or -1 with a problem that names the address and the remedy.
 */
MUST_USE int link_group_listen(struct link_group *group, const char *address,
                               const struct link_options *options, struct problem *problem);
/* The port it listens on. */
uint16_t link_group_port(const struct link_group *group);
/* Connections closed or cut short because of the limit, so far. */
uint64_t link_group_refused_count(const struct link_group *group);

/*
 * Close the listener and all links (each gets its on_down). The group's memory goes when the loop
 * has run the last callback; the pointer is invalid from now on.
 */
void link_group_close(struct link_group *group);

/*
 * Start to connect to a host name or numeric address; on_up or on_down follows. Reconnecting is up
 * to the caller (host/backoff.h).
 * Returns: NULL with a problem when the address cannot be read or memory is exhausted.
 */
MUST_USE struct link *link_dial(struct link_group *group, const char *address,
                                const struct link_options *options, struct problem *problem);

/*
 * Append a frame to the output; its payload is the parts, one after the other, at most
 * FRAME_SIZE_MAX bytes together. The bytes are copied.
 */
MUST_USE enum link_result link_send(struct link *link, uint8_t kind, const struct span *parts,
                                    size_t part_count);

/* Bytes of frames taken by link_send that the system has not taken yet. */
size_t link_backlog(const struct link *link);

/* No on_frame until link_resume; the other end soon cannot send more. Not counted as idle. */
void link_pause(struct link *link);
void link_resume(struct link *link);

/* Drop the link and whatever waits in it. on_down follows with this reason, from the loop. */
void link_close(struct link *link, const char *reason);

/*
 * Send what waits, say good-bye, then close: for a last word such as a rejection. No on_frame
 * comes any more. Takes at most LINK_FINISH_TIMEOUT_MS.
 */
void link_finish(struct link *link, const char *reason);

/* The replica at the other end, or TLS_PEER_ANONYMOUS; when dialled, the one that is expected. */
uint32_t link_peer(const struct link *link);
/* Once it is up: the digest of the TLS key at the other end; zeros: it showed none. */
struct digest link_peer_digest(const struct link *link);
bool link_was_up(const struct link *link);
/* Did the other end send what no end of ours sends? Then its going down is worth a line. */
bool link_offended(const struct link *link);
/* The address of the other end, as text. */
const char *link_address(const struct link *link);
void *link_user(const struct link *link);
void link_set_user(struct link *link, void *user);

#endif
