/*
 * govern: the members' calls as procedures (protocol §9), for this room only. What they answer is
 * governance/ballot.h; here are the state under them, who may call what, and how much of it.
 *
 * A proposal makes a replica check up to 64 signatures, and a member could send any number of
 * them. So the calls of one member in one batch have a budget of GOVERN_COST_MAX: for one proposal
 * with a vote, say. What exceeds it is refused, unread. A batch then costs at most MEMBERS_MAX
 * proposals, and one member alone not more than one; a vote that passes makes its proposal's
 * signatures be checked again, but ends its batch. The budget is a matter of the batch and the
 * calls in it alone: whoever executes it again, after a rollback too, comes to the same.
 */
#ifndef ONUS_EXECUTION_GOVERN_H
#define ONUS_EXECUTION_GOVERN_H

#include "execution/engine.h"

struct govern;

/* govern may be NULL. */
void govern_free(struct govern *govern);

/*
 * A request is about to be executed: if it is a call of governance by a member, take what it costs
 * from the member's budget, undoably, or remember that it is to be refused.
 */
void govern_charge(struct engine *engine, const struct request *request);
void govern_uncharge(struct engine *engine, uint32_t member, uint16_t spent);

#endif
