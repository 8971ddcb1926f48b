/*
 * link_internal: what the files of the link share. link_group.c: groups, listeners, the slots for
 * handshakes. link.c: the life of a link, from dialling or accepting to on_down. link_io.c: frames
 * and ciphertext of a link that is up. Not for other rooms.
 */
#ifndef ONUS_HOST_LINK_INTERNAL_H
#define ONUS_HOST_LINK_INTERNAL_H

#include <sys/queue.h>

#include "base/limits.h"
#include "host/address.h"
#include "host/link.h"

enum link_state {
    LINK_STATE_RESOLVING,
    LINK_STATE_CONNECTING,
    LINK_STATE_HANDSHAKE,
    LINK_STATE_UP,
    LINK_STATE_FINISHING, /* sends what waits, hears nothing */
    LINK_STATE_CLOSED     /* waits for libuv to give its handles and requests back */
};

struct link {
    struct link_group *group;
    TAILQ_ENTRY(link) in_group;
    TAILQ_ENTRY(link) in_scheduled;
    TAILQ_ENTRY(link) in_waiting;
    struct link_options options;

    enum link_state state;
    bool accepted;
    bool was_up;
    bool offended;  /* see link.h */
    bool scheduled; /* in group->scheduled: wants link_run before the loop waits */
    bool waiting;   /* in group->waiting: wants a slot for a step of the handshake */
    bool stepping;  /* a worker has session, wire_in and unsent to itself */
    bool reading;   /* uv_read_start is in force */
    bool writing;   /* a uv_write of `unsent` is in flight: it must not move */
    bool paused;
    bool was_busy;     /* owes an on_drained */
    bool starved;      /* was_busy for want of the group's memory, not of its own room */
    bool said_goodbye; /* in state FINISHING */
    bool shut_down;    /* in state FINISHING */

    uint32_t peer;    /* see link_peer */
    unsigned pending; /* handles and requests that libuv still holds */
    uv_tcp_t tcp;
    uv_timer_t timer;
    uv_getaddrinfo_t resolve;
    uv_connect_t connect;
    uv_work_t work;
    uv_write_t write;
    uv_shutdown_t shutdown;
    uint64_t last_frame_ms; /* of the loop's clock */
    uint64_t write_start_ms;

    struct tls_session *session; /* NULL until the first step */
    enum tls_status step_status;
    struct buffer wire_in; /* ciphertext not yet given to the session */
    size_t wire_in_whole;  /* during a step: its complete records */
    struct buffer unsent;  /* ciphertext that the system has not taken */

    uint8_t *input; /* plaintext: [input_start, input_end) is not yet delivered */
    size_t input_capacity;
    size_t input_start;
    size_t input_end;
    struct buffer output; /* frames in plaintext, from output_start on */
    size_t output_start;
    size_t memory; /* what this link contributes to group->memory */

    char address[ADDRESS_TEXT_SIZE];
    char reason[TLS_REASON_SIZE + ADDRESS_TEXT_SIZE];
};

TAILQ_HEAD(link_list, link);

struct link_group {
    struct link_group_options options;
    struct link_list links;
    struct link_list scheduled;
    size_t scheduled_count;
    struct link_list waiting;
    unsigned steps; /* running on workers */
    uint32_t connections;
    uint64_t refused_count;
    size_t memory;
    bool starved;     /* some link is */
    bool called_back; /* an owner heard something: it may wait for that in uv_run */
    bool closing;
    unsigned pending;     /* handles that libuv still holds */
    uv_prepare_t prepare; /* before the loop waits: run what is scheduled */
    uv_idle_t idle;       /* while active the loop does not wait: something was left over */
    uv_tcp_t listener;
    bool listening;
    struct link_options accept_options;
    struct buffer cipher;  /* scratch: what one flush encrypts */
    uint8_t *read_scratch; /* LINK_READ_SIZE bytes: what one read brings */
};

/* ---- link_group.c ---- */

/* Have link_run called before the loop waits. */
void link_schedule(struct link *link);
void link_unschedule(struct link *link);
/* Have link_step_start called when a slot is free. */
void link_group_want_step(struct link *link);
/* A slot is free again. */
void link_group_step_done(struct link_group *group);
/* Free a closed group that nothing holds any more. */
void link_group_release(struct link_group *group);

/* ---- link.c ---- */

/* A link of the group, its handles initialised, its time running. NULL: no memory. */
struct link *link_create(struct link_group *group, const struct link_options *options);
/* A connection has been accepted into link->tcp: wait for the other end to start the handshake. */
void link_accepted(struct link *link);
/* Bytes of the handshake have arrived. */
void link_handshake_receive(struct link *link, struct span cipher);
/* The handshake's own ciphertext has left: listen for the answer. */
void link_handshake_continue(struct link *link);
/* Run one step of the handshake on a worker. Returns: false when the link went down instead. */
MUST_USE bool link_step_start(struct link *link);
/* The only way down. In FINISHING, the reason given to link_finish stays. */
__attribute__((format(printf, 2, 3))) void link_take_down(struct link *link, const char *format,
                                                          ...);

/* ---- link_io.c ---- */

/* Do what was put off: deliver stored input, read again, encrypt and send. */
void link_run(struct link *link);
/* Hand the handshake's ciphertext, in `unsent`, to the system. */
void link_write_unsent(struct link *link);
void link_read_start(struct link *link);
void link_read_stop(struct link *link);
/* Bring group->memory up to date. Never while a worker steps. */
void link_account(struct link *link);

#endif
