/*
 * account_html: an account as one page that stands by itself: no scripts, nothing from elsewhere,
 * readable on paper. Every string goes through page_write_escaped, wherever it is from.
 */
#include <string.h>

#include "audit-tool/account_internal.h"

static const char head[] =
    "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
    "style-src 'unsafe-inline'\">\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
    "<meta name=\"color-scheme\" content=\"light dark\">\n";

static const char style[] =
    "<style>\n"
    ":root { color-scheme: light dark; --ink: #1b1b1f; --paper: #fff; --faint: #5d5d66;\n"
    "  --line: #d5d5dc; --mark: #fdeceb; --guilt: #a4201b; }\n"
    "@media (prefers-color-scheme: dark) { :root { --ink: #e8e8ee; --paper: #16161a;\n"
    "  --faint: #a0a0ac; --line: #3a3a44; --mark: #40201f; --guilt: #ff8f87; } }\n"
    "* { box-sizing: border-box; }\n"
    "body { margin: 0 auto; max-width: 60rem; padding: 2rem 1.25rem 4rem; color: var(--ink);\n"
    "  background: var(--paper); font: 1rem/1.55 Georgia, \"Times New Roman\", serif; }\n"
    "h1 { font-size: 1.7rem; line-height: 1.25; margin: .25rem 0 .75rem; }\n"
    "h2 { font-size: 1.2rem; margin: 2.25rem 0 .5rem; border-bottom: 1px solid var(--line); }\n"
    "h3 { font-size: 1rem; margin: 1.5rem 0 .4rem; }\n"
    "p { max-width: 44rem; }\n"
    ".verdict { color: var(--guilt); font: bold .85rem/1.4 system-ui, sans-serif;\n"
    "  letter-spacing: .08em; text-transform: uppercase; }\n"
    ".faint, caption, th { color: var(--faint); }\n"
    "table { border-collapse: collapse; width: 100%; table-layout: fixed; }\n"
    "th, td { text-align: left; vertical-align: top; padding: .3rem .5rem;\n"
    "  border-bottom: 1px solid var(--line); font: .82rem/1.45 system-ui, sans-serif;\n"
    "  overflow-wrap: anywhere; }\n"
    ".who th:nth-child(1) { width: 20%; } .who th:nth-child(2) { width: 10%; }\n"
    "th[scope=row] { width: 30%; font-weight: normal; }\n"
    "thead th { font-weight: bold; }\n"
    "tr.differs td { background: var(--mark); font-weight: 600; }\n"
    "code, .bytes { font: .8rem/1.45 ui-monospace, \"DejaVu Sans Mono\", monospace;\n"
    "  overflow-wrap: anywhere; }\n"
    "pre { white-space: pre-wrap; overflow-wrap: anywhere; border: 1px solid var(--line);\n"
    "  padding: .6rem .8rem; }\n"
    "@media print { :root { --ink: #000; --paper: #fff; --faint: #444; --line: #999;\n"
    "    --mark: #eee; --guilt: #000; }\n"
    "  body { max-width: none; padding: 0; font-size: 10.5pt; }\n"
    "  tr, pre, h2, h3 { break-inside: avoid; } h2, h3 { break-after: avoid; } }\n"
    "</style>\n";

void page_write_escaped(FILE *out, const char *text) {
    for (; *text != '\0'; text++) {
        switch (*text) {
        case '&':
            (void)fputs("&amp;", out);
            break;
        case '<':
            (void)fputs("&lt;", out);
            break;
        case '>':
            (void)fputs("&gt;", out);
            break;
        case '"':
            (void)fputs("&quot;", out);
            break;
        case '\'':
            (void)fputs("&#39;", out);
            break;
        default:
            (void)fputc(*text, out);
        }
    }
}

void page_write_beginning(FILE *out, const char *title) {
    (void)fputs(head, out);
    (void)fputs("<title>", out);
    page_write_escaped(out, title);
    (void)fputs("</title>\n", out);
    (void)fputs(style, out);
    (void)fputs("</head>\n<body>\n<main>\n", out);
}

void page_write_end(FILE *out) {
    (void)fputs("</main>\n</body>\n</html>\n", out);
}

static void write_value(FILE *out, const json_t *value) {
    const char *const text = json_string_value(value);
    page_write_escaped(out, text == NULL ? "" : text);
}

static void write_at(FILE *out, const json_t *object, const char *name) {
    write_value(out, json_object_get(object, name));
}

/* An element around a string. Both names are ours. */
static void write_element(FILE *out, const char *open, const json_t *value, const char *close) {
    (void)fputs(open, out);
    write_value(out, value);
    (void)fputs(close, out);
}

static void write_beginning(FILE *out, const json_t *account) {
    const json_t *const about = json_object_get(account, "about");
    (void)fputs(head, out);
    write_element(out, "<title>Misbehaviour proven: ", json_object_get(account, "headline"),
                  "</title>\n");
    (void)fputs(style, out);
    (void)fputs("</head>\n<body>\n<main>\n<p class=\"verdict\">Misbehaviour proven</p>\n", out);
    write_element(out, "<h1>", json_object_get(account, "title"), "</h1>\n");
    (void)fputs("<p>In the service <strong>", out);
    write_at(out, about, "name");
    (void)fputs("</strong>, founded ", out);
    write_at(out, about, "founded");
    (void)fputs(": ", out);
    write_at(out, account, "headline");
    write_element(out, ".</p>\n<p class=\"faint\">Service id <code>",
                  json_object_get(account, "service"), "</code></p>\n");
}

static void write_blamed(FILE *out, const json_t *account) {
    size_t nth = 0;
    json_t *one = NULL;
    (void)fputs("<h2>Who</h2>\n<table class=\"who\">\n<thead><tr><th scope=\"col\">Member</th>"
                "<th scope=\"col\">Replica</th><th scope=\"col\">Key of the replica, which signed"
                "</th><th scope=\"col\">Key of the member at that time</th></tr>"
                "</thead>\n<tbody>\n",
                out);
    json_array_foreach(json_object_get(account, "blamed"), nth, one) {
        write_element(out, "<tr><td><strong>", json_object_get(one, "member"), "</strong></td>");
        (void)fprintf(out, "<td>%lld</td>",
                      (long long)json_integer_value(json_object_get(one, "replica")));
        write_element(out, "<td class=\"bytes\">", json_object_get(one, "key"), "</td>");
        write_element(out, "<td class=\"bytes\">", json_object_get(one, "member_key"),
                      "</td></tr>\n");
    }
    (void)fputs("</tbody>\n</table>\n<p>A member answers for its replicas: it has "
                "endorsed their keys, and its endorsement is in this file. Nobody else is "
                "named, and nothing is said about anybody else.</p>\n",
                out);
}

static void write_table(FILE *out, const json_t *table) {
    size_t nth = 0;
    json_t *item = NULL;
    write_element(out, "<h3>", json_object_get(table, "title"), "</h3>\n");
    (void)fputs("<table>\n<thead><tr><th scope=\"row\"></th>", out);
    json_array_foreach(json_object_get(table, "columns"), nth, item) {
        write_element(out, "<th scope=\"col\">", item, "</th>");
    }
    (void)fputs("</tr></thead>\n<tbody>\n", out);
    json_array_foreach(json_object_get(table, "rows"), nth, item) {
        size_t column = 0;
        json_t *value = NULL;
        (void)fputs(json_is_true(json_object_get(item, "differs")) ? "<tr class=\"differs\">"
                                                                   : "<tr>",
                    out);
        write_element(out, "<th scope=\"row\">", json_object_get(item, "name"), "</th>");
        json_array_foreach(json_object_get(item, "values"), column, value) {
            write_element(out, "<td class=\"bytes\">", value, "</td>");
        }
        (void)fputs("</tr>\n", out);
    }
    (void)fputs("</tbody>\n</table>\n", out);
}

static void write_check(FILE *out, const json_t *account) {
    (void)fputs("<h2>How to check it</h2>\n<p>The evidence is one file. Whoever has it can check "
                "it, without a network and without trusting its bearer, a member, or this page:"
                "</p>\n",
                out);
    write_element(out, "<pre><code>", json_object_get(account, "check"), "</code></pre>\n");
    (void)fputs("<p>The one thing to know beforehand is the service id: take it from a contract, "
                "from your own receipts, or from anybody who uses the service; not from this page. "
                "The program answers that the proof is valid and names the same members, or says "
                "what does not hold. A changed file does not hold. The format is written down, so "
                "that others can write the program again (docs/formats.md).</p>\n"
                "<p class=\"faint\">This page was made from a file of ",
                out);
    write_at(out, account, "file_size");
    write_element(out, " bytes, SHA-256 <code>", json_object_get(account, "file_digest"),
                  "</code></p>\n");
}

void account_write_html(FILE *out, const json_t *account) {
    size_t nth = 0;
    json_t *item = NULL;
    write_beginning(out, account);
    write_blamed(out, account);
    (void)fputs("<h2>Why it is not honest</h2>\n", out);
    json_array_foreach(json_object_get(account, "why"), nth, item) {
        write_element(out, "<p>", item, "</p>\n");
    }
    (void)fputs("<h2>What was signed</h2>\n", out);
    json_array_foreach(json_object_get(account, "signed"), nth, item) {
        write_table(out, item);
    }
    write_check(out, account);
    page_write_end(out);
}
