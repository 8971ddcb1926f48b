/*
 * coverage: what an audit checked and what it did not, for people and for programs.
 */
#ifndef ONUS_AUDIT_TOOL_COVERAGE_H
#define ONUS_AUDIT_TOOL_COVERAGE_H

#include <jansson.h>
#include <stdio.h>

#include "audit-tool/audit.h"

/* The summary, then what was checked and what not, line by line. */
void coverage_print(FILE *out, const struct audit_report *report,
                    const struct configuration *configuration);

/* The same as JSON, 64-bit numbers as strings (docs/formats.md §12). NULL: out of memory. */
json_t *coverage_json(const struct audit_report *report, const struct configuration *configuration);

#endif
