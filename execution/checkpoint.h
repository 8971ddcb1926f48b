/*
 * checkpoint: the state's part of a checkpoint (protocol §7), computed at once. The auditor, the
 * verifier of evidence and test tools call this; a replica does the same in the background.
 */
#ifndef ONUS_EXECUTION_CHECKPOINT_H
#define ONUS_EXECUTION_CHECKPOINT_H

#include "execution/engine.h"
#include "ledger/checker.h"

/*
 * Fill in state_count and state_root of a checkpoint's cut from the engine's cut of the same
 * sequence number. Returns: false when the engine has no such cut (any more), or failed.
 */
MUST_USE bool checkpoint_fill(struct checkpoint_cut *cut, const struct engine *engine);

#endif
