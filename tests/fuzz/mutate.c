/*
 * mutate: see mutate.h. A message is taken apart into its fields as long as it looks like one; what
 * does not is a string of bytes.
 */
#include "tests/fuzz/mutate.h"

#include <string.h>

#include "base/check.h"

#define FIELDS_MAX 4096u
#define DEPTH_MAX 5u

struct field {
    size_t offset; /* of the tag, in the message */
    size_t size;   /* of tag, length and value */
    size_t value;  /* offset of the value */
    unsigned wire_type;
};

struct fields {
    uint32_t count;
    struct field items[FIELDS_MAX];
};

static bool varint_read(uint64_t *value, size_t *offset, struct span in) {
    *value = 0;
    for (unsigned shift = 0; shift < 64 && *offset < in.size; shift += 7) {
        uint8_t const byte = in.data[(*offset)++];
        *value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            return true;
        }
    }
    return false;
}

static bool varint_append(struct buffer *out, uint64_t value) {
    uint8_t bytes[10];
    size_t size = 0;
    for (; value >= 0x80; value >>= 7) {
        bytes[size++] = (uint8_t)(value | 0x80);
    }
    bytes[size++] = (uint8_t)value;
    return buffer_append(out, span_of(bytes, size));
}

static bool field_read(struct field *field, size_t *offset, struct span in) {
    uint64_t tag = 0;
    uint64_t value = 0;
    field->offset = *offset;
    if (!varint_read(&tag, offset, in) || tag >> 3 == 0 || tag >> 3 > 64) {
        return false;
    }
    field->wire_type = (unsigned)(tag & 7);
    field->value = *offset;
    if ((field->wire_type != 0 && field->wire_type != 2) || !varint_read(&value, offset, in)) {
        return false;
    }
    if (field->wire_type == 2) {
        field->value = *offset;
        if (value > in.size - *offset) {
            return false;
        }
        *offset += (size_t)value;
    }
    field->size = *offset - field->offset;
    return true;
}

/* Returns: false when it is not a message, or one of too many fields. */
static bool fields_read(struct fields *fields, struct span in) {
    size_t offset = 0;
    fields->count = 0;
    while (offset < in.size) {
        if (fields->count == FIELDS_MAX ||
            !field_read(&fields->items[fields->count], &offset, in)) {
            return false;
        }
        fields->count++;
    }
    return fields->count != 0;
}

static struct span span_part(struct span in, size_t offset, size_t size) {
    return span_of(in.data + offset, size);
}

static size_t draw(struct mutator *mutator, size_t bound) {
    return (size_t)prng_below(&mutator->prng, bound);
}

/* ---- bytes ---- */

static void change_byte(struct mutator *mutator, struct buffer *out, struct span in, bool bit) {
    CHECK(buffer_append(out, in));
    if (in.size != 0) {
        uint8_t *const byte = &out->data[draw(mutator, in.size)];
        if (bit) {
            *byte ^= (uint8_t)(1u << draw(mutator, 8));
        } else {
            *byte = (uint8_t)(*byte + 1 + draw(mutator, 255));
        }
    }
}

static void change_run(struct mutator *mutator, struct buffer *out, struct span in, bool remove) {
    size_t const first = draw(mutator, in.size);
    size_t const most = in.size - first < 80 ? in.size - first : 80;
    size_t const size = 1 + draw(mutator, most);
    CHECK(buffer_append(out, span_part(in, 0, remove ? first : first + size)) &&
          buffer_append(out, span_part(in, remove ? first + size : first,
                                       in.size - first - (remove ? size : 0))));
}

static void splice(struct mutator *mutator, struct buffer *out, struct span in) {
    size_t const at = draw(mutator, in.size);
    size_t const from = draw(mutator, mutator->others.size);
    CHECK(buffer_append(out, span_part(in, 0, at)) &&
          buffer_append(out, span_part(mutator->others, from, mutator->others.size - from)));
}

/* ---- fields ---- */

enum field_change {
    FIELD_DROP,
    FIELD_TWICE,
    FIELD_SWAP,    /* with the one behind */
    FIELD_MOVE,    /* to the end */
    FIELD_NUMBER,  /* another number, or another length of the same bytes */
    FIELD_TAG,     /* under another field's number */
    FIELD_EMPTY,   /* keeps its place, and nothing else */
    FIELD_BYTES,   /* one byte of it */
    FIELD_SHORTER, /* by a byte, or by a digest */
    FIELD_FOREIGN, /* that of the other input */
    FIELD_CHANGES
};

static uint64_t draw_number(struct mutator *mutator, uint64_t number) {
    static const uint64_t odd[] = {0,          1,          63,         64,         UINT32_MAX,
                                   1ull << 32, 1ull << 62, 1ull << 63, UINT64_MAX, 4096};
    switch (draw(mutator, 4)) {
    case 0:
        return number + 1;
    case 1:
        return number - 1;
    case 2:
        return odd[draw(mutator, sizeof odd / sizeof odd[0])];
    default:
        return prng_next(&mutator->prng);
    }
}

/* A field with another value, its tag as it was. */
static void put_value(struct buffer *out, struct span in, const struct field *field,
                      struct span value) {
    size_t offset = field->offset;
    uint64_t tag = 0;
    CHECK(varint_read(&tag, &offset, in) && varint_append(out, tag));
    CHECK(field->wire_type != 2 || varint_append(out, value.size));
    CHECK(buffer_append(out, value));
}

static struct span value_of(struct span in, const struct field *field) {
    return span_part(in, field->value, field->size - (field->value - field->offset));
}

static void put_number(struct mutator *mutator, struct buffer *out, struct span in,
                       const struct field *field) {
    size_t offset = field->offset;
    uint64_t tag = 0;
    uint64_t number = 0;
    CHECK(varint_read(&tag, &offset, in) && varint_append(out, tag) &&
          varint_read(&number, &offset, in) && varint_append(out, draw_number(mutator, number)));
    if (field->wire_type == 2) {
        CHECK(buffer_append(out, value_of(in, field)));
    }
}

static void put_under_tag(struct mutator *mutator, struct buffer *out, struct span in,
                          const struct field *field) {
    uint64_t const number = 1 + draw(mutator, 20);
    CHECK(varint_append(out, number << 3 | field->wire_type));
    CHECK(field->wire_type != 2 || varint_append(out, value_of(in, field).size));
    CHECK(buffer_append(out, value_of(in, field)));
}

static void put_foreign(struct mutator *mutator, struct buffer *out, struct span in,
                        const struct field *field) {
    static struct fields theirs;
    size_t const magic = mutator->magic_size;
    if (mutator->others.size <= magic) {
        return;
    }
    struct span const other = span_part(mutator->others, magic, mutator->others.size - magic);
    if (fields_read(&theirs, other)) {
        const struct field *const chosen = &theirs.items[draw(mutator, theirs.count)];
        put_value(out, in, field,
                  chosen->wire_type == field->wire_type ? value_of(other, chosen)
                                                        : value_of(in, field));
    }
}

static void put_changed(struct mutator *mutator, struct buffer *out, struct span in,
                        const struct field *field, enum field_change change) {
    struct span const value = value_of(in, field);
    struct span const whole = span_part(in, field->offset, field->size);
    size_t const cut = value.size >= DIGEST_SIZE && draw(mutator, 2) == 0 ? DIGEST_SIZE : 1;
    switch (change) {
    case FIELD_DROP:
    case FIELD_SWAP:
    case FIELD_MOVE:
        return;
    case FIELD_TWICE:
        CHECK(buffer_append(out, whole) && buffer_append(out, whole));
        return;
    case FIELD_NUMBER:
        put_number(mutator, out, in, field);
        return;
    case FIELD_TAG:
        put_under_tag(mutator, out, in, field);
        return;
    case FIELD_EMPTY:
        put_value(out, in, field, (struct span){0});
        return;
    case FIELD_BYTES: {
        size_t const before = out->size;
        put_value(out, in, field, value);
        if (value.size != 0) {
            out->data[out->size - 1 - draw(mutator, value.size)] ^=
                (uint8_t)(1u << draw(mutator, 8));
        }
        CHECK(out->size > before);
        return;
    }
    case FIELD_SHORTER:
        put_value(out, in, field, span_part(value, 0, value.size < cut ? 0 : value.size - cut));
        return;
    case FIELD_FOREIGN:
        put_foreign(mutator, out, in, field);
        return;
    case FIELD_CHANGES:
        break;
    }
}

/* The message with its nth field changed. */
static void change_field(struct mutator *mutator, struct buffer *out, struct span in,
                         const struct fields *fields, uint32_t nth) {
    const struct field *const field = &fields->items[nth];
    struct span const whole = span_part(in, field->offset, field->size);
    enum field_change const change = (enum field_change)draw(mutator, FIELD_CHANGES);
    size_t end = field->offset + field->size;
    CHECK(buffer_append(out, span_part(in, 0, field->offset)));
    if (change == FIELD_SWAP && nth + 1 < fields->count) {
        const struct field *const next = &fields->items[nth + 1];
        CHECK(buffer_append(out, span_part(in, next->offset, next->size)) &&
              buffer_append(out, whole));
        end += next->size;
    } else {
        put_changed(mutator, out, in, field, change);
    }
    CHECK(buffer_append(out, span_part(in, end, in.size - end)));
    CHECK(change != FIELD_MOVE || buffer_append(out, whole));
}

/* Where the message that is changed lies, and that around it, and so on up to the whole. */
struct nest {
    struct span in;
    struct field field; /* of the message inside */
};

static void mutate_fields(struct mutator *mutator, struct buffer *out, struct span in) {
    static struct fields fields;
    struct nest nests[DEPTH_MAX];
    uint32_t depth = 0;
    if (!fields_read(&fields, in)) {
        change_byte(mutator, out, in, true);
        return;
    }
    while (depth < DEPTH_MAX && fields_read(&fields, in)) {
        const struct field *const field = &fields.items[draw(mutator, fields.count)];
        nests[depth++] = (struct nest){.in = in, .field = *field};
        struct span const value = value_of(in, field);
        if (field->wire_type != 2 || value.size < 2 || draw(mutator, 4) == 0) {
            break;
        }
        in = value;
    }
    /* The innermost that is a message. */
    struct buffer inner;
    buffer_init(&inner, (size_t)1 << 30);
    CHECK(depth > 0);
    in = nests[depth - 1].in;
    CHECK(fields_read(&fields, in));
    change_field(mutator, &inner, in, &fields, (uint32_t)draw(mutator, fields.count));
    while (--depth > 0) {
        const struct nest *const around = &nests[depth - 1];
        struct buffer outer;
        buffer_init(&outer, (size_t)1 << 30);
        size_t const end = around->field.offset + around->field.size;
        CHECK(buffer_append(&outer, span_part(around->in, 0, around->field.offset)));
        put_value(&outer, around->in, &around->field, buffer_span(&inner));
        CHECK(buffer_append(&outer, span_part(around->in, end, around->in.size - end)));
        buffer_free(&inner);
        inner = outer;
    }
    CHECK(buffer_append(out, buffer_span(&inner)));
    buffer_free(&inner);
}

/* ---- all ---- */

static void mutate_once(struct mutator *mutator, struct buffer *out, struct span in,
                        enum mutation mutation) {
    size_t const magic = mutator->magic_size;
    switch (mutation) {
    case MUTATION_BIT:
    case MUTATION_BYTE:
        change_byte(mutator, out, in, mutation == MUTATION_BIT);
        return;
    case MUTATION_CUT:
        CHECK(buffer_append(out, span_part(in, 0, draw(mutator, in.size))));
        return;
    case MUTATION_REMOVE:
    case MUTATION_REPEAT:
        change_run(mutator, out, in, mutation == MUTATION_REMOVE);
        return;
    case MUTATION_SPLICE:
        splice(mutator, out, in);
        return;
    case MUTATION_FIELD:
        CHECK(buffer_append(out, span_part(in, 0, magic)));
        mutate_fields(mutator, out, span_part(in, magic, in.size - magic));
        return;
    case MUTATION_COUNT:
        break;
    }
    UNREACHABLE();
}

enum mutation mutate(struct mutator *mutator, struct buffer *out, struct span in) {
    enum mutation mutation = MUTATION_BIT;
    CHECK(in.size > mutator->magic_size && mutator->others.size != 0);
    do {
        /* Fields get as many as all others together: they are the ones that decode. */
        size_t const drawn = draw(mutator, 2 * (size_t)MUTATION_FIELD);
        mutation = drawn < MUTATION_FIELD ? (enum mutation)drawn : MUTATION_FIELD;
        buffer_clear(out);
        mutate_once(mutator, out, in, mutation);
    } while (span_equal(buffer_span(out), in));
    return mutation;
}
