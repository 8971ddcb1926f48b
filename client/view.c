/*
 * view: see view.h.
 */
#include "client/view.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "client/command.h"

void txid_format(char *text, const struct digest *request_id, uint32_t position,
                 uint32_t call_count) {
    hex_encode(text, span_of(request_id->bytes, DIGEST_SIZE));
    if (call_count > 1) {
        (void)snprintf(text + 2 * (size_t)DIGEST_SIZE, TXID_TEXT_SIZE - 2 * (size_t)DIGEST_SIZE,
                       ".%u", position & 0xffffu);
    }
}

bool txid_parse(struct digest *request_id, uint32_t *position, bool *has_position,
                const char *text) {
    char digits[2 * DIGEST_SIZE + 1];
    size_t const size = strlen(text);
    if (size < sizeof digits - 1) {
        return false;
    }
    memcpy(digits, text, sizeof digits - 1);
    digits[sizeof digits - 1] = '\0';
    const char *const rest = text + sizeof digits - 1;
    uint64_t number = 0;
    *has_position = rest[0] == '.';
    if ((*has_position && !command_number(rest + 1, 0, CALLS_MAX - 1, &number)) ||
        (!*has_position && rest[0] != '\0')) {
        return false;
    }
    *position = (uint32_t)number;
    return hex_decode(request_id->bytes, DIGEST_SIZE, digits);
}

const char *view_status(enum outcome_status status) {
    switch (status) {
    case OUTCOME_OK:
        return "ok";
    case OUTCOME_REFUSED:
        return "refused";
    case OUTCOME_INVALID:
        return "invalid";
    case OUTCOME_ABORTED:
        return "aborted";
    }
    UNREACHABLE();
}

/* ---- byte strings ---------------------------------------------------------------------------- */

/* How many bytes the UTF-8 character at the front has; 0: it is none that may be printed. */
static size_t character_size(struct span bytes) {
    uint8_t const first = bytes.data[0];
    if (first < 0x80) {
        return first >= 0x20 && first != 0x7f ? 1 : 0;
    }
    size_t const size = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || bytes.size < size) {
        return 0;
    }
    uint32_t code = first & (0xffu >> (size + 1));
    for (size_t i = 1; i < size; i++) {
        if ((bytes.data[i] & 0xc0) != 0x80) {
            return 0;
        }
        code = code << 6 | (bytes.data[i] & 0x3fu);
    }
    bool const overlong = (size == 3 && code < 0x800) || (size == 4 && code < 0x10000);
    bool const control = code < 0xa0 || code == 0x2028 || code == 0x2029 ||
                         (code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);
    return overlong || control || (code >= 0xd800 && code < 0xe000) || code > 0x10ffff ? 0 : size;
}

static bool is_plain(struct span bytes) {
    for (size_t at = 0; at < bytes.size;) {
        size_t const size = character_size(span_of(bytes.data + at, bytes.size - at));
        if (size == 0 || strchr(" \"\\", bytes.data[at]) != NULL) {
            return false;
        }
        at += size;
    }
    return bytes.size != 0;
}

void view_print_bytes(FILE *out, struct span bytes) {
    if (is_plain(bytes)) {
        (void)fwrite(bytes.data, 1, bytes.size, out);
        return;
    }
    (void)fputc('"', out);
    for (size_t at = 0; at < bytes.size;) {
        size_t const size = character_size(span_of(bytes.data + at, bytes.size - at));
        if (size == 0) {
            (void)fprintf(out, "\\x%02x", bytes.data[at++]);
            continue;
        }
        if (bytes.data[at] == '"' || bytes.data[at] == '\\') {
            (void)fputc('\\', out);
        }
        (void)fwrite(bytes.data + at, 1, size, out);
        at += size;
    }
    (void)fputc('"', out);
}

void view_print_items(FILE *out, const struct span *items, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        (void)fputc(' ', out);
        view_print_bytes(out, items[i]);
    }
}

/* ---- JSON ------------------------------------------------------------------------------------ */

json_t *view_json_hex(struct span bytes) {
    char *const text = malloc(2 * bytes.size + 1);
    if (text == NULL) {
        return NULL;
    }
    hex_encode(text, bytes);
    json_t *const json = json_string(text);
    free(text);
    return json;
}

json_t *view_json_bytes(struct span bytes) {
    /* jansson refuses what is not UTF-8; zero bytes are fine for it and for JSON. */
    json_t *const text = json_stringn((const char *)bytes.data, bytes.size);
    if (bytes.size == 0) {
        json_decref(text);
        return json_string("");
    }
    return text != NULL ? text : json_pack("{s:o}", "hex", view_json_hex(bytes));
}

json_t *view_json_u64(uint64_t number) {
    return json_sprintf("%llu", (unsigned long long)number);
}

json_t *view_json_items(const struct span *items, uint32_t count) {
    json_t *const array = json_array();
    for (uint32_t i = 0; i < count; i++) {
        if (json_array_append_new(array, view_json_bytes(items[i])) != 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

json_t *view_json_outcome(const struct outcome *outcome) {
    return json_pack("{s:s,s:o,s:o}", "status", view_status(outcome->status), "reply",
                     view_json_items(outcome->reply, outcome->reply_count), "write_digest",
                     view_json_hex(span_of(outcome->write_digest.bytes, DIGEST_SIZE)));
}

bool view_print_json(json_t *json) {
    if (json == NULL) {
        (void)fprintf(stderr, "onus: out of memory\n");
        return false;
    }
    bool const printed = json_dumpf(json, stdout, JSON_COMPACT | JSON_REAL_PRECISION(7)) == 0;
    (void)putchar('\n');
    json_decref(json);
    return printed;
}

/* ---- receipts -------------------------------------------------------------------------------- */

bool receipt_view_open(struct receipt_view *view, struct arena *arena, const struct digest *service,
                       struct span receipt) {
    return receipt_decode(&view->receipt, arena, receipt) == CODEC_OK &&
           request_header_decode(&view->request, arena, service, view->receipt.request_header,
                                 &view->receipt.request_signature) == CODEC_OK &&
           call_decode(&view->call, arena, view->receipt.call) == CODEC_OK &&
           outcome_decode(&view->outcome, arena, view->receipt.outcome) == CODEC_OK &&
           certificate_decode(&view->certificate, arena, view->receipt.certificate) == CODEC_OK &&
           pre_prepare_decode(&view->pre_prepare, arena, view->certificate.pre_prepare) == CODEC_OK;
}

void receipt_view_print_call(FILE *out, const struct receipt_view *view) {
    view_print_bytes(out, view->call.procedure);
    view_print_items(out, view->call.arguments, view->call.argument_count);
    (void)fprintf(out, " → %s", view_status(view->outcome.status));
    view_print_items(out, view->outcome.reply, view->outcome.reply_count);
}

static void print_hex(FILE *out, const char *name, struct span bytes) {
    (void)fprintf(out, "%-10s", name);
    for (size_t i = 0; i < bytes.size; i++) {
        (void)fprintf(out, "%02x", bytes.data[i]);
    }
    (void)fputc('\n', out);
}

void receipt_view_print(FILE *out, const struct receipt_view *view) {
    char txid[TXID_TEXT_SIZE];
    txid_format(txid, &view->request.id, view->receipt.position, view->request.call_count);
    (void)fprintf(out, "%-10s%s\n", "tx", txid);
    (void)fprintf(out, "%-10s%llu\n", "index", (unsigned long long)view->receipt.index);
    (void)fprintf(out, "%-10s", "call");
    receipt_view_print_call(out, view);
    (void)fputc('\n', out);
    (void)fprintf(out, "%-10s%u of %u, %s\n", "position", view->receipt.position,
                  view->request.call_count,
                  view->request.mode == REQUEST_ATOMIC ? "atomic" : "independent");
    print_hex(out, "author", span_of(view->request.author.bytes, PUBLIC_KEY_SIZE));
    (void)fprintf(out, "%-10s%llu\n", "min-index", (unsigned long long)view->request.min_index);
    (void)fprintf(out, "%-10sview %llu  batch %llu  configuration %llu\n", "batch",
                  (unsigned long long)view->pre_prepare.view,
                  (unsigned long long)view->pre_prepare.seq,
                  (unsigned long long)view->pre_prepare.config);
    (void)fprintf(out, "%-10s", "signers");
    for (uint32_t r = 0; r < REPLICAS_MAX; r++) {
        if ((view->certificate.signers >> r & 1) != 0) {
            (void)fprintf(out, "%u ", r);
        }
    }
    (void)fprintf(out, "\n%-10s%llu ms since 1970\n", "time",
                  (unsigned long long)view->pre_prepare.time_ms);
}

static json_t *json_signers(uint64_t signers) {
    json_t *const array = json_array();
    for (uint32_t r = 0; r < REPLICAS_MAX; r++) {
        if ((signers >> r & 1) != 0 && json_array_append_new(array, json_integer(r)) != 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

json_t *receipt_view_json(const struct receipt_view *view) {
    char txid[TXID_TEXT_SIZE];
    const struct pre_prepare *const batch = &view->pre_prepare;
    txid_format(txid, &view->request.id, view->receipt.position, view->request.call_count);
    return json_pack(
        "{s:s, s:o, s:o, s:o, s:o, s:{s:o, s:i, s:i, s:s, s:o}, s:{s:o, s:o, s:o, s:o, s:i, s:o, "
        "s:o, s:o}}",
        "tx", txid, "index", view_json_u64(view->receipt.index), "procedure",
        view_json_bytes(view->call.procedure), "arguments",
        view_json_items(view->call.arguments, view->call.argument_count), "outcome",
        view_json_outcome(&view->outcome), "request", "author",
        view_json_hex(span_of(view->request.author.bytes, PUBLIC_KEY_SIZE)), "position",
        (int)view->receipt.position, "call_count", (int)view->request.call_count, "mode",
        view->request.mode == REQUEST_ATOMIC ? "atomic" : "independent", "min_index",
        view_json_u64(view->request.min_index), "batch", "configuration",
        view_json_u64(batch->config), "view", view_json_u64(batch->view), "seq",
        view_json_u64(batch->seq), "first_index", view_json_u64(batch->first_index), "tx_count",
        (int)batch->tx_count, "batch_root",
        view_json_hex(span_of(batch->batch_root.bytes, DIGEST_SIZE)), "time_ms",
        view_json_u64(batch->time_ms), "signers", json_signers(view->certificate.signers));
}
