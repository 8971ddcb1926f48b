/*
 * insist: a liar that stands by what it said (see sim_byzantine.c). What its core wanted to say and
 * what was said in its place part ways, and so a lie would never get far; here the liar reveals its
 * nonce for the proposal that it told instead, and proposes on top of the new view that it told
 * instead, so that only the checks of the others are in its way.
 */
#ifndef ONUS_TESTS_SIM_INSIST_H
#define ONUS_TESTS_SIM_INSIST_H

#include "tests/sim/simulation.h"

/* A lie was told in the place of this frame: go on as if it had been the truth. */
void insist_on(struct simulation *simulation, const struct frame *frame, struct span lie);
/*
 * A proposal in a view that the liar declared otherwise: made anew to stand on what it declared.
 * Returns: false when there is nothing to make anew. Out: the message.
 */
bool insist_again(struct simulation *simulation, const struct frame *frame, struct buffer *out);

#endif
