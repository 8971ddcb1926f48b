/*
 * served_evidence: what a replica signed for and is no range of a ledger (ledger/served.h), as a
 * file of evidence (protocol §10).
 */
#ifndef ONUS_AUDIT_TOOL_SERVED_EVIDENCE_H
#define ONUS_AUDIT_TOOL_SERVED_EVIDENCE_H

#include "audit-tool/proof.h"

/*
 * Append the file. It is verified as a stranger would, for the service of this genesis.
 * In: eras: with links up to the configuration in which that was signed; NULL: it is the founding
 * one. statement: a signed served, as it came; payload: the bytes that came with it.
 * Out: verdict: what it comes to; may be NULL.
 * Returns: false when it proves nothing, or out of memory; file is then as it was.
 */
MUST_USE bool served_evidence(struct buffer *file, struct proof_verdict *verdict,
                              struct span genesis, const struct eras *eras,
                              const struct signed_body *statement, struct span payload);

#endif
