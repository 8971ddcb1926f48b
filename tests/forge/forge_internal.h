/*
 * forge_internal: what the files of the forge share; not for others. forge.c makes batches,
 * forge_view.c changes of view.
 */
#ifndef ONUS_TESTS_FORGE_FORGE_INTERNAL_H
#define ONUS_TESTS_FORGE_FORGE_INTERNAL_H

#include "tests/forge/forge.h"

#define FORGE_SIZE_MAX ((size_t)4 << 30)
#define FORGE_ARENA_SIZE (64u << 20)

void forge_entry_append(struct forge *forge, enum entry_kind kind, struct span payload);
/* A new checker and engine, at genesis. */
void forge_start(struct forge *forge);
/* Forget the last batch, but not its entries. */
void forge_drop_batch(struct forge *forge);
/* Where a configuration has ended: enter the next again, if it was entered before. */
void forge_reenter(struct forge *forge);
/* Stand where the checker stands. */
void forge_follow(struct forge *forge);
/* After an honest batch: what a correct replica remembers of it. */
void forge_step_done(struct forge *forge);
/* A sink that checks each signature at once; its context is the forge. */
bool forge_sink_verify(void *context, const struct sign_check *check, enum rule rule);

#endif
