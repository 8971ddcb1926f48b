/*
 * print: how verdicts and reports look to people, and verdicts to programs. Members are named, not
 * keys.
 */
#ifndef ONUS_AUDIT_TOOL_PRINT_H
#define ONUS_AUDIT_TOOL_PRINT_H

#include <jansson.h>
#include <stdio.h>

#include "audit-tool/audit.h"

/* "two histories for view 3, batch 412" */
void print_headline(FILE *out, const struct proof_verdict *verdict);
/* Lines, indented: who is blamed, and why. */
void print_blame(FILE *out, const struct proof_verdict *verdict);

void print_notices(FILE *out, const struct audit_report *report);

/* The verdict as JSON, 64-bit numbers as strings. A new reference; NULL: out of memory. */
json_t *print_json(const struct proof_verdict *verdict);
/* A number as a string, since not all readers of JSON keep 64 bits; a digest in hexadecimal. */
json_t *json_of_u64(uint64_t number);
json_t *json_of_digest(const struct digest *digest);

#endif
