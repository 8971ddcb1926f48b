/*
 * account_internal: what the files of the account share; not for others. account.c puts it
 * together, account_signed.c and account_served.c tell what was signed, account_why.c why that
 * cannot be honest; account_text.c and account_html.c write it.
 */
#ifndef ONUS_AUDIT_TOOL_ACCOUNT_INTERNAL_H
#define ONUS_AUDIT_TOOL_ACCOUNT_INTERNAL_H

#include "audit-tool/account.h"

#define TELLING_FREE "\u2014"        /* in a second column: anything would do */
#define ACCOUNT_VALUE_SIZE_MAX 8192u /* characters of one value as it is shown */

/* An account in the making. */
struct telling {
    const struct proof_verdict *verdict;
    struct proof proof;
    struct eras eras;
    struct genesis genesis;
    struct arena arena;
    json_t *account;
    bool failed; /* memory ran short */
};

/* Takes over value; NULL is a failure. */
void telling_put(struct telling *telling, json_t *object, const char *name, json_t *value);
void telling_add(struct telling *telling, json_t *list, json_t *value);

/* Values as people read them. Each returns a new reference, or NULL. */
json_t *telling_number(uint64_t number);
json_t *telling_digest(const struct digest *digest);
json_t *telling_bytes(struct span bytes); /* hexadecimal */
json_t *telling_quote(struct span bytes); /* text as far as it is plain ASCII, shortened */
json_t *telling_time(uint64_t time_ms);
json_t *telling_replicas(const struct configuration *configuration, uint64_t replicas);
json_t *telling_batch(uint64_t view, uint64_t seq);

/*
 * A table of what was signed. second: the heading of another column, or NULL.
 * Returns: its rows, borrowed; NULL after a failure.
 */
json_t *telling_table(struct telling *telling, const char *title, const char *first,
                      const char *second);
/* One row; takes over the values, second is NULL in a table of one column. */
void telling_row(struct telling *telling, json_t *rows, const char *name, json_t *first,
                 json_t *second);

/* account_signed.c */
void telling_signed(struct telling *telling);
/* account_html.c, of any page: up to its content; a string, escaped; and its end. */
void page_write_beginning(FILE *out, const char *title);
void page_write_escaped(FILE *out, const char *text);
void page_write_end(FILE *out);

/* account_served.c */
void telling_served(struct telling *telling);
/* account_why.c */
void telling_why(struct telling *telling);

#endif
