/*
 * strict: see strict.h. The walk keeps its own small stack, as deep as the schema nests; nothing
 * recurses on input. Invariant of the walk: offset <= end of every open level, inner ends <= outer.
 */
#include "ledger/strict.h"

#include <stddef.h>

#include "base/check.h"
#include "ledger/onus.pb-c.h"
#include "ledger/wire.h"

/* Proof, Fragment, LedgerEntry: no message of the schema nests deeper. */
#define SCHEMA_DEPTH_MAX 3u
#define VARINT_SIZE_MAX 10u

/*
 * How many elements a repeated field may have in one message, and in one whole input: the two
 * differ where the message itself is repeated. A repeated field that is not listed may have none.
 */
struct element_limit {
    const ProtobufCMessageDescriptor *shape;
    size_t quantifier; /* names the field: where its struct keeps the count */
    uint32_t count_max;
    uint32_t total_max;
};

#define LIMIT(message, type, count, max)                                                           \
    { &onus__pb__##message##__descriptor, offsetof(Onus__Pb__##type, count), max, max }

static const struct element_limit element_limits[] = {
    LIMIT(call, Call, n_arguments, ARGUMENTS_MAX),
    LIMIT(request, Request, n_calls, CALLS_MAX),
    LIMIT(outcome, Outcome, n_reply, REPLY_ITEMS_MAX),
    LIMIT(pre_prepare, PrePrepare, n_evidence_signers, EVIDENCE_BATCHES_MAX),
    LIMIT(genesis, Genesis, n_members, MEMBERS_MAX),
    LIMIT(genesis, Genesis, n_endorsements, REPLICAS_MAX),
    LIMIT(genesis, Genesis, n_users, USERS_MAX),
    LIMIT(evidence_entry, EvidenceEntry, n_batches, EVIDENCE_BATCHES_MAX),
    LIMIT(request_entry, RequestEntry, n_outcomes, CALLS_MAX),
    LIMIT(view_change, ViewChange, n_chain, PIPELINE_MAX),
    LIMIT(view_change_set, ViewChangeSet, n_view_changes, REPLICAS_MAX),
    LIMIT(checkpoint_header, CheckpointHeader, n_pending, EVIDENCE_BATCHES_MAX),
    LIMIT(checkpoint_header, CheckpointHeader, n_carried, PIPELINE_MAX),
    LIMIT(checker_snapshot, CheckerSnapshot, n_window, SNAPSHOT_WINDOW_MAX),
    LIMIT(checker_snapshot, CheckerSnapshot, n_anchors, ANCHORS_MAX),
    LIMIT(fragment, Fragment, n_state, PROOF_STATE_ITEMS_MAX),
    LIMIT(fragment, Fragment, n_entries, PROOF_ENTRIES_MAX),
    LIMIT(fragment, Fragment, n_places, PROOF_STATE_ITEMS_MAX),
    LIMIT(proof, Proof, n_certificates, PROOF_CERTIFICATES_MAX),
    LIMIT(proof, Proof, n_statements, PROOF_STATEMENTS_MAX),
    LIMIT(proof, Proof, n_links, CHAIN_LINKS_MAX),
    LIMIT(demand_report_file, DemandReportFile, n_links, CHAIN_LINKS_MAX),
    LIMIT(demand_report, DemandReport, n_replicas, REPLICAS_MAX),
    LIMIT(proposal, Proposal, n_actions, ACTIONS_MAX),
    LIMIT(constitution, Constitution, n_members, MEMBERS_MAX),
    LIMIT(constitution, Constitution, n_users, USERS_MAX),
    LIMIT(constitution, Constitution, n_replicas, REPLICAS_MAX),
    LIMIT(chain_link, ChainLink, n_votes, MEMBERS_MAX),
    LIMIT(requests_message, RequestsMessage, n_requests, WIRE_REQUESTS_MAX),
    LIMIT(range_message, RangeMessage, n_entries, WIRE_ENTRIES_MAX),
    LIMIT(checkpoint_items_message, CheckpointItemsMessage, n_items, WIRE_ITEMS_MAX),
    LIMIT(result_message, ResultMessage, n_results, WIRE_RESULTS_MAX),
    LIMIT(chain_reply_message, ChainReplyMessage, n_links, WIRE_LINKS_MAX),
    /* All calls of a message's results are calls of one batch. */
    {&onus__pb__request_result__descriptor, offsetof(Onus__Pb__RequestResult, n_outcomes),
     CALLS_MAX, BATCH_CALLS_MAX},
};

#define ELEMENT_LIMITS (sizeof element_limits / sizeof element_limits[0])

/* One message being walked: where it ends, and the last field seen in it. */
struct level {
    const ProtobufCMessageDescriptor *shape;
    size_t end;
    uint32_t field;
    size_t limit;   /* of that field, when repeated */
    uint32_t count; /* of its elements so far */
};

struct walk {
    const uint8_t *data;
    size_t offset;
    unsigned depth;
    struct level levels[SCHEMA_DEPTH_MAX];
    uint32_t totals[ELEMENT_LIMITS];
};

static enum codec_result read_varint(struct walk *walk, uint64_t *value, size_t end) {
    *value = 0;
    for (unsigned i = 0; i < VARINT_SIZE_MAX && walk->offset < end; i++) {
        uint8_t const byte = walk->data[walk->offset++];
        if (i == VARINT_SIZE_MAX - 1 && byte > 1) {
            return CODEC_SYNTAX;
        }
        *value |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte < 0x80) {
            return i > 0 && byte == 0 ? CODEC_NOT_CANONICAL : CODEC_OK;
        }
    }
    return CODEC_SYNTAX;
}

/* The wire type of a field's type; the schema uses no others. */
static ProtobufCWireType wire_type_of(const ProtobufCFieldDescriptor *field) {
    switch (field->type) {
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_BOOL:
    case PROTOBUF_C_TYPE_ENUM:
        return (field->flags & PROTOBUF_C_FIELD_FLAG_PACKED) != 0
                   ? PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED
                   : PROTOBUF_C_WIRE_TYPE_VARINT;
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE:
        return PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_DOUBLE:
        break;
    }
    UNREACHABLE();
}

/* ELEMENT_LIMITS when the field is not listed. */
static size_t limit_of(const ProtobufCMessageDescriptor *shape,
                       const ProtobufCFieldDescriptor *field) {
    size_t i = 0;
    while (i < ELEMENT_LIMITS && !(element_limits[i].shape == shape &&
                                   element_limits[i].quantifier == field->quantifier_offset)) {
        i++;
    }
    return i;
}

/* Note that `field` comes next at this level: fields ascend, and only repeated ones recur. */
static enum codec_result enter_field(struct level *level, const ProtobufCFieldDescriptor *field) {
    bool const repeated = field->label == PROTOBUF_C_LABEL_REPEATED;
    bool const packed = (field->flags & PROTOBUF_C_FIELD_FLAG_PACKED) != 0;
    if (field->id < level->field || (field->id == level->field && (!repeated || packed))) {
        return CODEC_NOT_CANONICAL;
    }
    if (field->id > level->field) {
        level->field = field->id;
        level->count = 0;
        level->limit = repeated ? limit_of(level->shape, field) : ELEMENT_LIMITS;
    }
    return CODEC_OK;
}

static enum codec_result count_element(struct walk *walk, struct level *level) {
    if (level->limit == ELEMENT_LIMITS) {
        return CODEC_RANGE;
    }
    const struct element_limit *const limit = &element_limits[level->limit];
    level->count++;
    walk->totals[level->limit]++;
    bool const within =
        level->count <= limit->count_max && walk->totals[level->limit] <= limit->total_max;
    return within ? CODEC_OK : CODEC_RANGE;
}

static enum codec_result walk_packed(struct walk *walk, struct level *level, size_t end) {
    while (walk->offset < end) {
        uint64_t ignored;
        enum codec_result result = read_varint(walk, &ignored, end);
        if (result == CODEC_OK) {
            result = count_element(walk, level);
        }
        if (result != CODEC_OK) {
            return result;
        }
    }
    return CODEC_OK;
}

/* A length-prefixed value: skip bytes, count packed numbers, open a level for a message. */
static enum codec_result walk_prefixed(struct walk *walk, struct level *level,
                                       const ProtobufCFieldDescriptor *field) {
    uint64_t size;
    enum codec_result const result = read_varint(walk, &size, level->end);
    if (result != CODEC_OK) {
        return result;
    }
    if (size > level->end - walk->offset) {
        return CODEC_SYNTAX;
    }
    size_t const end = walk->offset + (size_t)size;
    if ((field->flags & PROTOBUF_C_FIELD_FLAG_PACKED) != 0) {
        return walk_packed(walk, level, end);
    }
    if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
        CHECK(walk->depth < SCHEMA_DEPTH_MAX);
        walk->levels[walk->depth++] = (struct level){.shape = field->descriptor, .end = end};
    } else {
        walk->offset = end;
    }
    return CODEC_OK;
}

static enum codec_result walk_field(struct walk *walk, struct level *level) {
    uint64_t tag;
    enum codec_result result = read_varint(walk, &tag, level->end);
    if (result != CODEC_OK) {
        return result;
    }
    if (tag > UINT32_MAX) {
        return CODEC_SYNTAX;
    }
    const ProtobufCFieldDescriptor *const field =
        protobuf_c_message_descriptor_get_field(level->shape, (unsigned)(tag >> 3));
    if (field == NULL) {
        return CODEC_NOT_CANONICAL;
    }
    ProtobufCWireType const type = wire_type_of(field);
    if ((tag & 7) != (uint64_t)type) {
        return CODEC_SYNTAX;
    }
    result = enter_field(level, field);
    if (result != CODEC_OK) {
        return result;
    }
    if (type == PROTOBUF_C_WIRE_TYPE_VARINT) {
        uint64_t ignored;
        return read_varint(walk, &ignored, level->end);
    }
    if (field->label == PROTOBUF_C_LABEL_REPEATED &&
        (field->flags & PROTOBUF_C_FIELD_FLAG_PACKED) == 0) {
        result = count_element(walk, level);
        if (result != CODEC_OK) {
            return result;
        }
    }
    return walk_prefixed(walk, level, field);
}

static enum codec_result walk_message(const ProtobufCMessageDescriptor *shape, struct span bytes) {
    struct walk walk = {.data = bytes.data, .depth = 1};
    walk.levels[0] = (struct level){.shape = shape, .end = bytes.size};
    while (walk.depth > 0) {
        struct level *const level = &walk.levels[walk.depth - 1];
        if (walk.offset == level->end) {
            walk.depth--;
            continue;
        }
        enum codec_result const result = walk_field(&walk, level);
        if (result != CODEC_OK) {
            return result;
        }
    }
    return CODEC_OK;
}

static void *allocate(void *context, size_t size) {
    return arena_alloc(context, size);
}

/* The arena gives everything back at once. */
static void release(void *context, void *place) {
    (void)context;
    (void)place;
}

/* What is packed into this buffer is not kept, but compared with what is expected next. */
struct comparison {
    ProtobufCBuffer base;
    struct span expected;
    bool differs;
};

static void comparison_append(ProtobufCBuffer *base, size_t size, const uint8_t *data) {
    struct comparison *const comparison = (struct comparison *)base;
    if (comparison->differs || size > comparison->expected.size ||
        (size != 0 && memcmp(data, comparison->expected.data, size) != 0)) {
        comparison->differs = true;
        return;
    }
    if (size != 0) {
        comparison->expected.data += size;
        comparison->expected.size -= size;
    }
}

static bool repacks_to(const ProtobufCMessage *message, struct span bytes) {
    struct comparison comparison = {.base = {.append = comparison_append}, .expected = bytes};
    size_t const size = protobuf_c_message_pack_to_buffer(message, &comparison.base);
    return size == bytes.size && !comparison.differs && comparison.expected.size == 0;
}

struct unpacked strict_unpack(struct arena *arena, const ProtobufCMessageDescriptor *shape,
                              size_t size_max, struct span bytes) {
    if (bytes.size > size_max) {
        return (struct unpacked){.result = CODEC_OVERSIZE};
    }
    enum codec_result const result = walk_message(shape, bytes);
    if (result != CODEC_OK) {
        return (struct unpacked){.result = result};
    }
    ProtobufCAllocator allocator = {.alloc = allocate, .free = release, .allocator_data = arena};
    const ProtobufCMessage *const message =
        protobuf_c_message_unpack(shape, &allocator, bytes.size, bytes.data);
    if (message == NULL) {
        return (struct unpacked){.result = CODEC_SYNTAX};
    }
    if (!repacks_to(message, bytes)) {
        return (struct unpacked){.result = CODEC_NOT_CANONICAL};
    }
    return (struct unpacked){.result = CODEC_OK, .message = message};
}
