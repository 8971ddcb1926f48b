/*
 * view: how transactions, outcomes and receipts look to people (text) and to programs (JSON, with
 * 64-bit numbers as strings and byte strings that are not UTF-8 as {"hex": "…"}).
 */
#ifndef ONUS_CLIENT_VIEW_H
#define ONUS_CLIENT_VIEW_H

#include <jansson.h>
#include <stdio.h>

#include "ledger/configuration.h"
#include "receipts/receipt.h"

/* Text of a transaction id: 64 hexadecimal digits, a dot, the position of the call. */
#define TXID_TEXT_SIZE (2u * DIGEST_SIZE + 8u)

/* One call of a request that has so many; the position is left out when it is the only one. */
void txid_format(char *text, const struct digest *request_id, uint32_t position,
                 uint32_t call_count);
/* Out: has_position: whether the text names one call. Returns: false when it is no id. */
MUST_USE bool txid_parse(struct digest *request_id, uint32_t *position, bool *has_position,
                         const char *text);

const char *view_status(enum outcome_status status);

/* A byte string: as it is when it is printable UTF-8 without blanks, else quoted and escaped. */
void view_print_bytes(FILE *out, struct span bytes);
/* " item item …" */
void view_print_items(FILE *out, const struct span *items, uint32_t count);

/* Each returns a new reference; NULL when memory is exhausted. */
json_t *view_json_bytes(struct span bytes);
json_t *view_json_u64(uint64_t number);
json_t *view_json_hex(struct span bytes);
json_t *view_json_items(const struct span *items, uint32_t count);
json_t *view_json_outcome(const struct outcome *outcome);

/* Print and release. Returns: false when memory was exhausted on the way. */
bool view_print_json(json_t *json);

/* A receipt taken apart, whether or not it is true. */
struct receipt_view {
    struct receipt receipt;
    struct request request; /* header alone */
    struct call call;
    struct outcome outcome;
    struct certificate certificate;
    struct pre_prepare pre_prepare;
};

/* Returns: false when it does not decode. */
MUST_USE bool receipt_view_open(struct receipt_view *view, struct arena *arena,
                                const struct digest *service, struct span receipt);
/* "bank.send_payment alice bob 25 → ok" */
void receipt_view_print_call(FILE *out, const struct receipt_view *view);
void receipt_view_print(FILE *out, const struct receipt_view *view);
json_t *receipt_view_json(const struct receipt_view *view);

#endif
