/*
 * receipt_socket: takes receipts in over a local socket, on a thread of its own (docs/formats.md
 * §12). Whoever may connect is of this user; what they send is hostile all the same.
 *
 *   a receipt   u32 size (big endian), then a receipt's file
 *   or a file of many, as `onus receipt export` writes it, from its first line to its end record
 *
 * One after the other, as many as one likes. Each gets one line when it is durable: "kept N, known
 * N, invalid N", or "error: …" and the end of the connection.
 *
 * Everything has a limit: connections, the size of each part, the time without a byte, the time for
 * one part, and what waits to be read by the other end.
 */
#ifndef ONUS_AUDIT_TOOL_RECEIPT_SOCKET_H
#define ONUS_AUDIT_TOOL_RECEIPT_SOCKET_H

#include "base/problem.h"
#include "host/receipt_bundle.h"

#define RECEIPT_SOCKET_CONNECTIONS_MAX 8u
#define RECEIPT_SOCKET_IDLE_MS 30000u  /* without a byte */
#define RECEIPT_SOCKET_PART_MS 120000u /* for one part, however it drips */
/* Of a receipt's file, with the links that it brings; an export brings as many as there are. */
#define RECEIPT_SOCKET_FILE_SIZE_MAX RECEIPT_BUNDLE_SIZE_MAX
#define RECEIPT_SOCKET_BAD_MAX 1000u /* bad receipts, then the connection is closed */

struct receipt_counts {
    uint64_t kept;
    uint64_t known;
    uint64_t invalid;
};

/*
 * What is done with receipts; all on the socket's thread. Each adds to counts and returns 0, or -1
 * when this end fails: then nothing since the last commit has happened.
 */
struct receipt_sink {
    void *context;
    int (*receipt)(void *context, struct span file, struct receipt_counts *counts,
                   struct problem *problem);
    int (*bundle)(void *context, struct span bundle, struct span certificate,
                  struct receipt_counts *counts, struct problem *problem);
    /* A link of the governance chain, before the receipts that need it. */
    int (*link)(void *context, struct span link, struct receipt_counts *counts,
                struct problem *problem);
    int (*commit)(void *context, struct problem *problem);
};

struct receipt_socket_options {
    const char *path;
    struct digest service;
    struct receipt_sink sink;
    uint32_t idle_ms; /* 0: RECEIPT_SOCKET_IDLE_MS */
};

struct receipt_socket;

/*
 * Listen at a path, mode 0600. A socket that nobody listens at is replaced; anything else there, or
 * a directory in which others could replace it, is a problem. NULL with a problem.
 */
MUST_USE struct receipt_socket *receipt_socket_open(const struct receipt_socket_options *options,
                                                    struct problem *problem);
/* End all connections, the thread, and the name. NULL is ignored. */
void receipt_socket_close(struct receipt_socket *own);

#endif
