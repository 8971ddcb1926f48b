/*
 * codec_attack: see codec_attack.h.
 */
#include "codec_attack.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#define ARENA_SIZE (64u << 20)
#define MUTATIONS 4000u
#define RANDOM_INPUTS 4000u
#define BUDGET_STEPS 400u

struct buffer buffer_new(void) {
    struct buffer buffer;
    buffer_init(&buffer, 512u << 20);
    return buffer;
}

/* ---- naive writer ---- */

void put_varint(struct buffer *out, uint64_t value) {
    do {
        uint8_t const byte = (uint8_t)((value & 127) | (value > 127 ? 128 : 0));
        cr_assert(buffer_append(out, span_of(&byte, 1)));
        value >>= 7;
    } while (value != 0);
}

void put_number(struct buffer *out, uint32_t field, uint64_t value) {
    put_varint(out, (uint64_t)field * 8);
    put_varint(out, value);
}

void put_bytes(struct buffer *out, uint32_t field, struct span bytes) {
    put_varint(out, (uint64_t)field * 8 + 2);
    put_varint(out, bytes.size);
    cr_assert(buffer_append(out, bytes));
}

struct span filler(uint8_t first, size_t size) {
    static uint8_t bytes[FILLER_SIZE_MAX + 256];
    cr_assert(size <= FILLER_SIZE_MAX);
    if (bytes[1] == 0) {
        for (size_t i = 0; i < sizeof bytes; i++) {
            bytes[i] = (uint8_t)i;
        }
    }
    return span_of(bytes + first, size);
}

struct digest digest_of(uint8_t first) {
    struct digest digest;
    memcpy(digest.bytes, filler(first, DIGEST_SIZE).data, DIGEST_SIZE);
    return digest;
}

struct public_key key_of(uint8_t first) {
    struct public_key key;
    memcpy(key.bytes, filler(first, PUBLIC_KEY_SIZE).data, PUBLIC_KEY_SIZE);
    return key;
}

struct signature signature_of(uint8_t first) {
    struct signature signature;
    memcpy(signature.bytes, filler(first, SIGNATURE_SIZE).data, SIGNATURE_SIZE);
    return signature;
}

struct nonce nonce_of(uint8_t first) {
    struct nonce nonce;
    memcpy(nonce.bytes, filler(first, NONCE_SIZE).data, NONCE_SIZE);
    return nonce;
}

/* ---- naive reader: the top-level fields of a valid sample ---- */

struct part {
    uint32_t field;
    bool prefixed;
    uint64_t number;
    struct span payload;
    struct span whole;
};

static uint64_t get_varint(struct span *rest) {
    uint64_t value = 0;
    for (unsigned shift = 0;; shift += 7) {
        cr_assert(rest->size > 0);
        uint8_t const byte = *rest->data;
        value |= (uint64_t)(byte & 127) << shift;
        *rest = span_of(rest->data + 1, rest->size - 1);
        if (byte < 128) {
            return value;
        }
    }
}

static bool next_part(struct span *rest, struct part *part) {
    if (rest->size == 0) {
        return false;
    }
    const uint8_t *const start = rest->data;
    uint64_t const tag = get_varint(rest);
    *part = (struct part){.field = (uint32_t)(tag >> 3), .prefixed = (tag & 7) == 2};
    part->number = get_varint(rest);
    if (part->prefixed) {
        cr_assert(part->number <= rest->size);
        part->payload = span_of(rest->data, (size_t)part->number);
        *rest = span_of(rest->data + part->number, rest->size - (size_t)part->number);
    }
    part->whole = span_of(start, (size_t)(rest->data - start));
    return true;
}

struct replacement {
    uint32_t field;
    bool is_number;
    uint64_t number;
    struct span bytes;
};

static void put_replacement(struct buffer *out, const struct replacement *with) {
    if (with->is_number) {
        put_number(out, with->field, with->number);
    } else if (with->bytes.size != 0) {
        put_bytes(out, with->field, with->bytes);
    }
}

static void rewrite(struct buffer *out, struct span sample, const struct replacement *with) {
    struct part part;
    bool done = false;
    buffer_clear(out);
    while (next_part(&sample, &part)) {
        if (!done && part.field >= with->field) {
            put_replacement(out, with);
            done = true;
            if (part.field == with->field) {
                continue;
            }
        }
        cr_assert(buffer_append(out, part.whole));
    }
    if (!done) {
        put_replacement(out, with);
    }
}

void with_bytes(struct buffer *out, struct span sample, uint32_t field, struct span bytes) {
    rewrite(out, sample, &(struct replacement){.field = field, .bytes = bytes});
}

void with_number(struct buffer *out, struct span sample, uint32_t field, uint64_t value) {
    rewrite(out, sample, &(struct replacement){.field = field, .is_number = true, .number = value});
}

/* ---- attacks ---- */

struct attack {
    const char *name;
    reencoder reencode;
    struct span sample;
    struct arena arena;
    struct buffer input;
    struct buffer output;
};

static uint64_t random_next(void) {
    static uint64_t state = 0x9e3779b97f4a7c15u;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

enum codec_result attack_result(reencoder reencode, struct span bytes) {
    struct arena arena;
    struct buffer output = buffer_new();
    arena_init(&arena, 512u << 20);
    enum codec_result const result = reencode(&output, &arena, bytes);
    buffer_free(&output);
    arena_free(&arena);
    return result;
}

void expect_result(const char *name, reencoder reencode, struct span bytes,
                   enum codec_result expected) {
    enum codec_result const result = attack_result(reencode, bytes);
    if (result != expected) {
        cr_assert_fail("%s: expected \"%s\", got \"%s\"", name, codec_result_text(expected),
                       codec_result_text(result));
    }
}

/* Refused, or it means what was put in. Input is copied to its own block: overreads show. */
static enum codec_result probe(struct attack *attack, struct span bytes, const char *how) {
    uint8_t *const exact = malloc(bytes.size == 0 ? 1 : bytes.size);
    cr_assert_not_null(exact);
    if (bytes.size != 0) {
        memcpy(exact, bytes.data, bytes.size);
    }
    arena_reset(&attack->arena);
    buffer_clear(&attack->output);
    enum codec_result const result =
        attack->reencode(&attack->output, &attack->arena, span_of(exact, bytes.size));
    if (result == CODEC_OK && !span_equal(buffer_span(&attack->output), bytes)) {
        cr_assert_fail("%s: %s was accepted and does not come out as it went in", attack->name,
                       how);
    }
    free(exact);
    return result;
}

static void probe_refused(struct attack *attack, const char *how) {
    if (probe(attack, buffer_span(&attack->input), how) == CODEC_OK) {
        cr_assert_fail("%s: %s was accepted", attack->name, how);
    }
}

static void attack_truncations(struct attack *attack) {
    for (size_t size = 0; size < attack->sample.size; size++) {
        (void)probe(attack, span_of(attack->sample.data, size), "a truncation");
    }
}

static void attack_flips(struct attack *attack) {
    buffer_clear(&attack->input);
    cr_assert(buffer_append(&attack->input, attack->sample));
    for (size_t i = 0; i < attack->sample.size; i++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            attack->input.data[i] ^= (uint8_t)(1u << bit);
            (void)probe(attack, buffer_span(&attack->input), "a flipped bit");
            attack->input.data[i] ^= (uint8_t)(1u << bit);
        }
    }
}

static void mutate(struct buffer *input) {
    size_t const at = random_next() % input->size;
    uint8_t const byte = (uint8_t)random_next();
    switch (random_next() % 3) {
    case 0:
        input->data[at] = byte;
        return;
    case 1:
        memmove(input->data + at, input->data + at + 1, input->size - at - 1);
        input->size--;
        return;
    default:
        cr_assert(buffer_append(input, span_of(&byte, 1)));
        memmove(input->data + at + 1, input->data + at, input->size - at - 1);
        input->data[at] = byte;
    }
}

static void attack_mutations(struct attack *attack) {
    for (unsigned i = 0; i < MUTATIONS; i++) {
        buffer_clear(&attack->input);
        cr_assert(buffer_append(&attack->input, attack->sample));
        for (uint64_t n = 1 + random_next() % 4; n > 0 && attack->input.size > 0; n--) {
            mutate(&attack->input);
        }
        (void)probe(attack, buffer_span(&attack->input), "a mutation");
    }
}

static void attack_random(struct attack *attack) {
    for (unsigned i = 0; i < RANDOM_INPUTS; i++) {
        uint8_t bytes[64];
        for (size_t k = 0; k < sizeof bytes; k++) {
            bytes[k] = (uint8_t)(random_next() >> 8);
        }
        (void)probe(attack, span_of(bytes, random_next() % sizeof bytes), "noise");
    }
}

/* The sample with `middle` in place of the whole field number `nth` (from 0). */
static void splice(struct attack *attack, unsigned nth, struct span middle) {
    struct span rest = attack->sample;
    struct part part;
    buffer_clear(&attack->input);
    for (unsigned i = 0; next_part(&rest, &part); i++) {
        cr_assert(buffer_append(&attack->input, i == nth ? middle : part.whole));
    }
}

/* The number with one byte more than it needs. */
static void put_overlong(struct buffer *out, uint64_t value) {
    put_varint(out, value);
    out->data[out->size - 1] |= 0x80;
    cr_assert(buffer_append(out, span_of("", 1)));
}

static void attack_field(struct attack *attack, unsigned nth, const struct part *part) {
    struct buffer middle = buffer_new();
    uint64_t const tag = (uint64_t)part->field * 8 + (part->prefixed ? 2 : 0);
    struct span const rest = part->prefixed ? part->payload : (struct span){0};

    put_overlong(&middle, tag);
    put_varint(&middle, part->number);
    cr_assert(buffer_append(&middle, rest));
    splice(attack, nth, buffer_span(&middle));
    probe_refused(attack, "an overlong tag");

    buffer_clear(&middle);
    put_varint(&middle, tag);
    put_overlong(&middle, part->number);
    cr_assert(buffer_append(&middle, rest));
    splice(attack, nth, buffer_span(&middle));
    probe_refused(attack, part->prefixed ? "an overlong length" : "an overlong number");

    buffer_clear(&middle);
    put_varint(&middle, tag ^ 7);
    put_varint(&middle, part->number);
    splice(attack, nth, buffer_span(&middle));
    probe_refused(attack, "another wire type");

    buffer_clear(&middle);
    cr_assert(buffer_append(&middle, part->whole) && buffer_append(&middle, part->whole));
    splice(attack, nth, buffer_span(&middle));
    (void)probe(attack, buffer_span(&attack->input), "a repeated field");

    buffer_clear(&middle);
    put_varint(&middle, tag);
    put_varint(&middle, 0);
    splice(attack, nth, buffer_span(&middle));
    (void)probe(attack, buffer_span(&attack->input), "an explicit default");
    buffer_free(&middle);
}

static void attack_payload(struct attack *attack, unsigned nth, const struct part *part) {
    static const uint64_t sizes[] = {UINT64_MAX, UINT64_MAX >> 1, (uint64_t)1 << 32, UINT32_MAX};
    struct buffer middle = buffer_new();
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        buffer_clear(&middle);
        put_varint(&middle, (uint64_t)part->field * 8 + 2);
        put_varint(&middle, sizes[i]);
        cr_assert(buffer_append(&middle, part->payload));
        splice(attack, nth, buffer_span(&middle));
        probe_refused(attack, "a huge length");
    }
    struct buffer payload = buffer_new();
    cr_assert(buffer_append(&payload, part->payload));
    put_number(&payload, 900, 1);
    buffer_clear(&middle);
    put_bytes(&middle, part->field, buffer_span(&payload));
    splice(attack, nth, buffer_span(&middle));
    (void)probe(attack, buffer_span(&attack->input), "an unknown field inside a field");
    buffer_free(&payload);
    buffer_free(&middle);
}

static void attack_fields(struct attack *attack) {
    struct span rest = attack->sample;
    struct part part;
    for (unsigned nth = 0; next_part(&rest, &part); nth++) {
        attack_field(attack, nth, &part);
        if (part.prefixed) {
            attack_payload(attack, nth, &part);
        }
    }
}

static void attack_order(struct attack *attack) {
    struct span rest = attack->sample;
    struct part part;
    struct part last = {0};
    while (next_part(&rest, &part)) {
        if (last.field != 0 && last.field != part.field) {
            size_t const before = (size_t)(last.whole.data - attack->sample.data);
            buffer_clear(&attack->input);
            cr_assert(buffer_append(&attack->input, span_of(attack->sample.data, before)) &&
                      buffer_append(&attack->input, part.whole) &&
                      buffer_append(&attack->input, last.whole) &&
                      buffer_append(&attack->input, rest));
            probe_refused(attack, "fields out of order");
        }
        last = part;
    }
}

static void attack_unknown(struct attack *attack) {
    static const uint32_t fields[] = {30, 900, 19000, (1u << 29) - 1};
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        buffer_clear(&attack->input);
        cr_assert(buffer_append(&attack->input, attack->sample));
        put_number(&attack->input, fields[i], 1);
        probe_refused(attack, "an unknown field at the end");
        buffer_clear(&attack->input);
        put_bytes(&attack->input, fields[i], span_text("x"));
        cr_assert(buffer_append(&attack->input, attack->sample));
        probe_refused(attack, "an unknown field at the start");
    }
}

/* With too little memory it is refused and with enough accepted; never anything else. */
static void attack_budget(struct attack *attack) {
    bool accepted = false;
    size_t const most = 16 * attack->sample.size + (32u << 10);
    for (unsigned i = 0; i <= BUDGET_STEPS; i++) {
        struct arena arena;
        arena_init(&arena, most * i / BUDGET_STEPS);
        buffer_clear(&attack->output);
        enum codec_result const result = attack->reencode(&attack->output, &arena, attack->sample);
        arena_free(&arena);
        if (result != (accepted ? CODEC_OK : CODEC_SYNTAX) && result != CODEC_OK) {
            cr_assert_fail("%s: a small budget ended in \"%s\"", attack->name,
                           codec_result_text(result));
        }
        accepted = accepted || result == CODEC_OK;
    }
    cr_assert(accepted, "%s takes more than 16 times its size", attack->name);
}

void attack_decoder(const char *name, reencoder reencode, struct span sample) {
    struct attack attack = {
        .name = name,
        .reencode = reencode,
        .sample = sample,
        .input = buffer_new(),
        .output = buffer_new(),
    };
    arena_init(&attack.arena, ARENA_SIZE);
    enum codec_result const result = probe(&attack, sample, "the sample");
    cr_assert_eq(result, CODEC_OK, "%s: %s", name, codec_result_text(result));
    attack_truncations(&attack);
    attack_flips(&attack);
    if (sample.size != 0) {
        attack_mutations(&attack);
    }
    attack_random(&attack);
    attack_fields(&attack);
    attack_order(&attack);
    attack_unknown(&attack);
    attack_budget(&attack);
    buffer_free(&attack.input);
    buffer_free(&attack.output);
    arena_free(&attack.arena);
}
