/*
 * evidence_file: evidence on disk: read and verified, or written under a name of its own.
 */
#ifndef ONUS_AUDIT_TOOL_EVIDENCE_FILE_H
#define ONUS_AUDIT_TOOL_EVIDENCE_FILE_H

#include <limits.h>

#include "audit-tool/proof.h"

/* Read a file that may be evidence. Returns: 0 or -1. */
MUST_USE int evidence_file_read(struct buffer *file, const char *path, struct problem *problem);

/*
 * Verify evidence; path names it. service: NULL: that of the genesis in it.
 * Returns: 0, or -1 with a problem: EXIT_INVALID with the check that failed.
 */
MUST_USE int evidence_file_check(struct proof_verdict *verdict, const struct digest *service,
                                 const char *path, struct span file, struct problem *problem);

/*
 * Write evidence into a directory, which is made if it is missing, as ev-<8 hex>.evidence, after
 * the digest of the file. Out: path. Returns: 0 or -1.
 */
MUST_USE int evidence_file_write(char path[static PATH_MAX], const char *directory,
                                 struct span file, struct problem *problem);

#endif
