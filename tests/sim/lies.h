/*
 * lies: other messages than the one that a Byzantine replica's core wanted to send, of every kind,
 * signed again with its own key (see sim_byzantine.c).
 */
#ifndef ONUS_TESTS_SIM_LIES_H
#define ONUS_TESTS_SIM_LIES_H

#include "tests/sim/simulation.h"

/* Change a frame's message a little, as the numbers want. Returns: false: let it travel as it is.
 */
bool lie_about(struct simulation *simulation, struct prng *prng, const struct frame *frame,
               struct buffer *out);
/* Ask for a view that nobody needs, with a view-change that is valid in itself. */
bool lie_ask(struct simulation *simulation, struct frame *frame, struct buffer *out);
/* Make up a message from the frame's sender to its receiver; sets its kind. */
bool lie_invent(struct simulation *simulation, struct frame *frame, struct buffer *out);
/* Have it travel in the frame's place. */
void lie_send(struct simulation *simulation, const struct frame *frame, struct span payload);

#endif
