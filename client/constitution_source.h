/*
 * constitution_source: the newest constitution that a context knows. Everything that shows or
 * changes who governs asks here, so that where the answer comes from is said in one place.
 */
#ifndef ONUS_CLIENT_CONSTITUTION_SOURCE_H
#define ONUS_CLIENT_CONSTITUTION_SOURCE_H

#include "governance/constitution.h"
#include "host/context.h"

/* Out: the constitution, the caller's memory. Returns: 0 or -1. */
MUST_USE int constitution_newest(struct constitution *out, const struct context *context,
                                 struct problem *problem);

#endif
