/*
 * account: a proof of misbehaviour told in full, for people who have never seen one: who is blamed,
 * what they signed, why it cannot be honest, and how to check it again. One account is made as
 * JSON; text and a page of HTML are other ways to write the same.
 */
#ifndef ONUS_AUDIT_TOOL_ACCOUNT_H
#define ONUS_AUDIT_TOOL_ACCOUNT_H

#include <jansson.h>
#include <stdio.h>

#include "audit-tool/proof.h"

/*
 * The account of a file that was verified: verdict is what it came to. path: the file's, for the
 * command that checks it. All strings are valid UTF-8, and those out of the file plain ASCII.
 * Returns: a new reference; NULL: out of memory.
 */
MUST_USE json_t *account_make(const struct proof_verdict *verdict, struct span file,
                              const char *path);

/* Write it for a terminal, or as one self-contained page without scripts. */
void account_write_text(FILE *out, const json_t *account);
void account_write_html(FILE *out, const json_t *account);

#endif
