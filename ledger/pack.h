/*
 * pack: protobuf out, into a bounded buffer, always in the canonical encoding.
 *
 * A repeated field is nothing but its elements one after the other, each with its tag. So a long
 * one is appended element by element after the fields that come before it, and no encoder ever
 * builds an array of them.
 */
#ifndef ONUS_LEDGER_PACK_H
#define ONUS_LEDGER_PACK_H

#include <protobuf-c/protobuf-c.h>

#include "base/bytes.h"

/* Borrow a span as protobuf-c wants it; the packer only reads it. */
ProtobufCBinaryData pack_span(struct span bytes);
ProtobufCBinaryData pack_digest(const struct digest *digest);
ProtobufCBinaryData pack_signature(const struct signature *signature);

/* Borrow `count` spans into items, which has room for them. */
void pack_spans(ProtobufCBinaryData *items, const struct span *spans, uint32_t count);

/* The encoding of a whole message. Returns: false when out is exhausted. */
MUST_USE bool pack_message(struct buffer *out, const ProtobufCMessage *message);

/* One element of a repeated field, or a singular field whose content follows. */
MUST_USE bool pack_prefix(struct buffer *out, uint32_t field, size_t size);
MUST_USE bool pack_element_bytes(struct buffer *out, uint32_t field, struct span bytes);
MUST_USE bool pack_element(struct buffer *out, uint32_t field, const ProtobufCMessage *message);

/* The size of the tag and the length of such an element. */
size_t pack_prefix_size(uint32_t field, size_t size);

/* Refuse: a count is over its limit. Returns: false. */
MUST_USE bool pack_refuse(struct buffer *out);

#endif
