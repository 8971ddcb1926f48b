/*
 * account_text: an account for a terminal, in lines that wrap by themselves.
 */
#include <string.h>

#include "audit-tool/account.h"

#define LINE_SIZE 96u
#define NAME_COLUMN 42

static const char *text_at(const json_t *object, const char *name) {
    const char *const text = json_string_value(json_object_get(object, name));
    return text == NULL ? "" : text;
}

/* A paragraph, broken at spaces. Bytes that continue a character take no place of their own. */
static void write_paragraph(FILE *out, const char *text) {
    size_t used = 0;
    while (*text != '\0') {
        size_t const bytes = strcspn(text, " ");
        size_t shown = 0;
        for (size_t i = 0; i < bytes; i++) {
            shown += ((unsigned char)text[i] & 0xc0) == 0x80 ? 0 : 1;
        }
        if (used != 0 && used + 1 + shown > LINE_SIZE) {
            (void)fputc('\n', out);
            used = 0;
        }
        (void)fprintf(out, "%s%.*s", used == 0 ? "  " : " ", (int)bytes, text);
        used += 1 + shown;
        text += bytes + (text[bytes] == ' ' ? 1 : 0);
    }
    (void)fputs("\n\n", out);
}

static void write_blamed(FILE *out, const json_t *account) {
    size_t nth = 0;
    json_t *one = NULL;
    (void)fputs("who\n\n", out);
    json_array_foreach(json_object_get(account, "blamed"), nth, one) {
        (void)fprintf(out, "  %s, for replica %lld\n", text_at(one, "member"),
                      (long long)json_integer_value(json_object_get(one, "replica")));
        (void)fprintf(out, "    key of the replica  %s\n", text_at(one, "key"));
        (void)fprintf(out, "    key of its member   %s\n", text_at(one, "member_key"));
    }
    (void)fputc('\n', out);
}

static void write_row(FILE *out, const json_t *row, bool two) {
    const json_t *const values = json_object_get(row, "values");
    const char *const first = json_string_value(json_array_get(values, 0));
    const char *const second = json_string_value(json_array_get(values, 1));
    bool const differs = json_is_true(json_object_get(row, "differs"));
    (void)fprintf(out, "  %s%-*s  %s\n", two ? (differs ? "! " : "  ") : "", NAME_COLUMN,
                  text_at(row, "name"), first == NULL ? "" : first);
    if (differs && second != NULL) {
        (void)fprintf(out, "    %-*s  %s\n", NAME_COLUMN, "", second);
    }
}

static void write_table(FILE *out, const json_t *table) {
    const json_t *const columns = json_object_get(table, "columns");
    bool const two = json_array_size(columns) == 2;
    size_t nth = 0;
    json_t *row = NULL;
    (void)fprintf(out, "%s\n", text_at(table, "title"));
    if (two) {
        (void)fprintf(out, "  (! where they differ: first %s, then %s)\n",
                      json_string_value(json_array_get(columns, 0)),
                      json_string_value(json_array_get(columns, 1)));
    }
    (void)fputc('\n', out);
    json_array_foreach(json_object_get(table, "rows"), nth, row) {
        write_row(out, row, two);
    }
    (void)fputc('\n', out);
}

void account_write_text(FILE *out, const json_t *account) {
    const json_t *const about = json_object_get(account, "about");
    size_t nth = 0;
    json_t *item = NULL;
    (void)fprintf(out, "MISBEHAVIOUR PROVEN   %s\n\n", text_at(account, "headline"));
    write_paragraph(out, text_at(account, "title"));
    (void)fprintf(out, "service\n\n  %s, founded %s, of %s replicas\n  %s\n\n",
                  text_at(about, "name"), text_at(about, "founded"), text_at(about, "replicas"),
                  text_at(account, "service"));
    write_blamed(out, account);
    json_array_foreach(json_object_get(account, "signed"), nth, item) {
        write_table(out, item);
    }
    (void)fputs("why this is not honest\n\n", out);
    json_array_foreach(json_object_get(account, "why"), nth, item) {
        write_paragraph(out, json_string_value(item));
    }
    (void)fprintf(out,
                  "to check it, with the service id from where you trust it\n\n  %s\n\n"
                  "the file has %s bytes and the SHA-256 digest %s\n",
                  text_at(account, "check"), text_at(account, "file_size"),
                  text_at(account, "file_digest"));
}
