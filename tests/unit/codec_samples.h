/*
 * codec_samples: one valid value of each kind that ledger/codec.h knows, and how to decode and
 * encode it again.
 */
#ifndef ONUS_TESTS_CODEC_SAMPLES_H
#define ONUS_TESTS_CODEC_SAMPLES_H

#include "codec_attack.h"

struct kind {
    const char *name;
    void (*encode)(struct buffer *out);
    reencoder reencode;
};

#define KINDS 17u

extern const struct kind kinds[KINDS];

const struct kind *kind_named(const char *name);

extern const struct digest sample_service;
extern struct span const sample_arguments[3];
extern struct parameters const sample_parameters;

struct pre_prepare sample_pre_prepare(void);
void sample_prologue(struct buffer *out);
/* A header over these calls, and a request of them. */
void sample_header(struct buffer *out, uint32_t call_count, const struct span *calls);
void sample_request(struct buffer *out, uint32_t call_count, const struct span *calls);

#endif
