/*
 * known_eras: the configurations that who demands ledgers knows of, from the file of a governance
 * chain (protocol §9): whom to ask under which number, and by which keys to judge what they answer.
 */
#ifndef ONUS_AUDIT_TOOL_KNOWN_ERAS_H
#define ONUS_AUDIT_TOOL_KNOWN_ERAS_H

#include "audit-tool/eras.h"
#include "host/genesis_file.h"

/*
 * Those of a chain's file; an empty file leads nowhere. Free them with eras_free in any case.
 * Returns: 0, or -1 with EXIT_INVALID: a link does not hold, or the file is damaged.
 */
MUST_USE int known_eras_read(struct eras *eras, const struct founding *founding, struct span file,
                             struct problem *problem);

/* The newest of them. */
const struct configuration *known_eras_newest(const struct eras *eras);

#endif
