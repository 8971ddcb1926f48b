/*
 * strict: protobuf in, and nothing but the canonical encoding (protocol §2).
 *
 * protobuf-c accepts overlong varints, fields out of order and repeated singular fields, keeps
 * unknown ones, and allocates as the input says. So bytes are first walked against the schema
 * without allocating: every field known, in order and of its wire type, every element counted
 * against its limit, at any depth. Only then are they unpacked, into the caller's arena, and
 * packed again to be compared with what came in.
 */
#ifndef ONUS_LEDGER_STRICT_H
#define ONUS_LEDGER_STRICT_H

#include <protobuf-c/protobuf-c.h>

#include "ledger/codec.h"

struct unpacked {
    enum codec_result result;
    const void *message; /* a struct of the descriptor's type, in the arena; NULL unless CODEC_OK */
};

/* Unpack at most size_max bytes. The result holds no unknown field and repacks to `bytes`. */
MUST_USE struct unpacked strict_unpack(struct arena *arena, const ProtobufCMessageDescriptor *shape,
                                       size_t size_max, struct span bytes);

#endif
