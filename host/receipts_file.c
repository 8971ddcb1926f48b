/*
 * receipts_file: see receipts_file.h. Sizes are held against their limits before memory is asked
 * for; the number at the end tells a file that was cut at the border of a record.
 */
#include "host/receipts_file.h"

enum record_kind { RECORD_CERTIFICATE = 1, RECORD_BUNDLE = 2, RECORD_END = 3, RECORD_LINK = 4 };

#define RECORD_HEADER_BYTES 5u
#define RECORD_END_SIZE 8u

static_assert(CHAIN_LINK_SIZE_MAX <= RECEIPT_BUNDLE_SIZE_MAX, "a link fits where bundles do");

/* ---- writing --------------------------------------------------------------------------------- */

static bool put(FILE *out, struct span bytes) {
    return bytes.size == 0 || fwrite(bytes.data, bytes.size, 1, out) == 1;
}

static bool put_record(FILE *out, enum record_kind kind, struct span bytes) {
    uint8_t header[RECORD_HEADER_BYTES];
    header[0] = (uint8_t)kind;
    store_u32_be(header + 1, (uint32_t)bytes.size);
    return put(out, span_of(header, sizeof header)) && put(out, bytes);
}

bool receipts_write_begin(struct receipts_writer *writer, FILE *out, const struct digest *service) {
    *writer = (struct receipts_writer){.out = out};
    return put(out, span_text(RECEIPTS_FILE_MAGIC)) &&
           put(out, span_of(service->bytes, DIGEST_SIZE));
}

bool receipts_write_link(struct receipts_writer *writer, struct span link) {
    return put_record(writer->out, RECORD_LINK, link);
}

bool receipts_write(struct receipts_writer *writer, struct span bundle, struct span certificate) {
    struct digest const hash = hash_bytes(certificate);
    bool const is_same = writer->has_certificate && digest_equal(&hash, &writer->certificate);
    writer->has_certificate = true;
    writer->certificate = hash;
    writer->count++;
    return (is_same || put_record(writer->out, RECORD_CERTIFICATE, certificate)) &&
           put_record(writer->out, RECORD_BUNDLE, bundle);
}

bool receipts_write_end(struct receipts_writer *writer) {
    uint8_t count[RECORD_END_SIZE];
    store_u64_be(count, writer->count);
    return put_record(writer->out, RECORD_END, span_of(count, sizeof count));
}

/* ---- reading --------------------------------------------------------------------------------- */

static bool get(FILE *in, void *out, size_t size) {
    return size == 0 || fread(out, size, 1, in) == 1;
}

int receipts_read_begin(struct receipts_reader *reader, FILE *in, const char *name,
                        const struct digest *service, struct problem *problem) {
    char magic[sizeof RECEIPTS_FILE_MAGIC - 1];
    struct digest own;
    *reader = (struct receipts_reader){.in = in, .name = name};
    buffer_init(&reader->certificate, COMMIT_CERTIFICATE_SIZE_MAX);
    buffer_init(&reader->bundle, RECEIPT_BUNDLE_SIZE_MAX);
    if (!get(in, magic, sizeof magic) || memcmp(magic, RECEIPTS_FILE_MAGIC, sizeof magic) != 0 ||
        !get(in, own.bytes, DIGEST_SIZE)) {
        return problem_set(problem, EXIT_INVALID,
                           "%s: not a file of receipts; give what `onus receipt export` wrote",
                           name);
    }
    if (!digest_equal(&own, service)) {
        return problem_set(problem, EXIT_INVALID, "%s: holds receipts of another service", name);
    }
    return 0;
}

static int damaged(const struct receipts_reader *reader, struct problem *problem) {
    return problem_set(problem, EXIT_INVALID,
                       "%s: damaged or cut short after %llu requests; get the file again",
                       reader->name, (unsigned long long)reader->count);
}

/* Read what follows a header into a buffer, in place of its content. */
static bool get_into(struct receipts_reader *reader, struct buffer *out, uint32_t size) {
    buffer_clear(out);
    uint8_t *const room = size <= out->size_max ? buffer_extend(out, size) : NULL;
    return room != NULL && get(reader->in, room, size);
}

static int read_end(struct receipts_reader *reader, uint32_t size, struct problem *problem) {
    uint8_t count[RECORD_END_SIZE];
    bool const good = size == RECORD_END_SIZE && get(reader->in, count, sizeof count) &&
                      load_u64_be(count) == reader->count && fgetc(reader->in) == EOF;
    return good ? 0 : damaged(reader, problem);
}

/* Links come before what they are for. */
static bool read_link(struct receipts_reader *reader, uint32_t size) {
    if (reader->count != 0 || reader->has_certificate || reader->link_count == CHAIN_LINKS_MAX ||
        size > CHAIN_LINK_SIZE_MAX || !get_into(reader, &reader->bundle, size)) {
        return false;
    }
    reader->link_count++;
    if (reader->link != NULL) {
        reader->link(reader->link_context, buffer_span(&reader->bundle));
    }
    return true;
}

int receipts_read(struct receipts_reader *reader, struct span *bundle, struct span *certificate,
                  struct problem *problem) {
    uint8_t header[RECORD_HEADER_BYTES];
    while (get(reader->in, header, sizeof header)) {
        uint32_t const size = load_u32_be(header + 1);
        if (header[0] == RECORD_END) {
            return read_end(reader, size, problem);
        }
        if (header[0] == RECORD_CERTIFICATE && get_into(reader, &reader->certificate, size)) {
            reader->has_certificate = true;
            continue;
        }
        if (header[0] == RECORD_LINK && read_link(reader, size)) {
            continue;
        }
        if (header[0] != RECORD_BUNDLE || !get_into(reader, &reader->bundle, size)) {
            return damaged(reader, problem);
        }
        reader->count++;
        *bundle = buffer_span(&reader->bundle);
        *certificate = buffer_span(&reader->certificate);
        return 1;
    }
    return damaged(reader, problem);
}

void receipts_read_free(struct receipts_reader *reader) {
    buffer_free(&reader->certificate);
    buffer_free(&reader->bundle);
}
