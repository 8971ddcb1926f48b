/*
 * receipts_file: many receipts in one file, as clients hand them to each other and to auditors
 * (docs/formats.md §12). What `onus receipt export` writes.
 *
 *   line     "onus-receipts-v1\n"
 *   32 bytes service id
 *   records  u8 kind, u32 size (big endian), then as many bytes:
 *            1  a certificate, encoded: that of the requests that follow
 *            2  a request with its outcomes and its place, as in a receipt_bundle
 *            3  the end: u64 number of requests before it
 *            4  a link of the governance chain: all that lead to the configurations of what
 * follows, in order, before the first certificate
 *
 * Reading judges nothing but the shape: receipts are verified by whoever takes them.
 */
#ifndef ONUS_HOST_RECEIPTS_FILE_H
#define ONUS_HOST_RECEIPTS_FILE_H

#include <stdio.h>

#include "host/receipt_bundle.h"

#define RECEIPTS_FILE_MAGIC "onus-receipts-v1\n"
#define RECEIPTS_FILE_SUFFIX ".receipts"

struct receipts_writer {
    FILE *out; /* borrowed */
    bool has_certificate;
    struct digest certificate; /* SHA-256 of the last one written */
    uint64_t count;
};

/* Each returns: false when the stream fails. */
MUST_USE bool receipts_write_begin(struct receipts_writer *writer, FILE *out,
                                   const struct digest *service);
/* Before anything but the beginning. */
MUST_USE bool receipts_write_link(struct receipts_writer *writer, struct span link);
MUST_USE bool receipts_write(struct receipts_writer *writer, struct span bundle,
                             struct span certificate);
MUST_USE bool receipts_write_end(struct receipts_writer *writer);

struct receipts_reader {
    FILE *in;         /* borrowed */
    const char *name; /* borrowed; for messages */
    struct buffer certificate;
    struct buffer bundle; /* or a link */
    uint64_t count;
    uint32_t link_count;  /* CHAIN_LINKS_MAX at most */
    bool has_certificate; /* one came: there is no link behind it */
    /* Told of each link as it comes; it is valid during the call. NULL: links are passed over. */
    void (*link)(void *context, struct span link);
    void *link_context;
};

/* Returns: 0, or -1 with EXIT_INVALID: no such file, or of another service. Free it in any case. */
MUST_USE int receipts_read_begin(struct receipts_reader *reader, FILE *in, const char *name,
                                 const struct digest *service, struct problem *problem);
/*
 * The next request. Spans are valid until the next call.
 * Returns: 1; 0 at the end; -1 with EXIT_INVALID when the file is cut short or damaged.
 */
MUST_USE int receipts_read(struct receipts_reader *reader, struct span *bundle,
                           struct span *certificate, struct problem *problem);
void receipts_read_free(struct receipts_reader *reader);

#endif
