/*
 * codec_samples: one valid value of each kind that ledger/codec.h, codec_view.h and codec_journal.h
 * know, and how to decode and encode it again.
 */
#ifndef ONUS_TESTS_CODEC_SAMPLES_H
#define ONUS_TESTS_CODEC_SAMPLES_H

#include "codec_attack.h"
#include "ledger/codec_journal.h"
#include "ledger/codec_view.h"

struct kind {
    const char *name;
    void (*encode)(struct buffer *out);
    reencoder reencode;
};

#define KINDS 21u

extern const struct kind kinds[KINDS];

const struct kind *kind_named(const char *name);

extern const struct digest sample_service;
extern struct span const sample_arguments[3];
extern struct parameters const sample_parameters;

struct pre_prepare sample_pre_prepare(void);
/* Each points into static storage of its own. */
struct view_change sample_view_change(void);
struct new_view sample_new_view(void);
struct journal_record sample_journal_record(void);
void sample_prologue(struct buffer *out);
/* A header over these calls, and a request of them. */
void sample_header(struct buffer *out, uint32_t call_count, const struct span *calls);
void sample_request(struct buffer *out, uint32_t call_count, const struct span *calls);

#endif
