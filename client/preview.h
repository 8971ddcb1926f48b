/*
 * preview: what a proposal would change, before anybody signs: worked out here by the function that
 * replicas use, from the newest constitution that the client knows.
 */
#ifndef ONUS_CLIENT_PREVIEW_H
#define ONUS_CLIENT_PREVIEW_H

#include <jansson.h>
#include <stdio.h>

#include "base/problem.h"
#include "governance/proposal.h"

#define PREVIEW_ARENA_SIZE (256u << 10)

struct preview {
    const struct constitution *now; /* borrowed */
    struct proposal proposal;       /* spans point into the bytes and the arena */
    struct proposal_verdict verdict;
    struct constitution next; /* when the verdict is PROPOSAL_SOUND */
    struct arena arena;
};

/*
 * Work it out. bytes: an encoded proposal; borrowed as long as the preview lives.
 * Free it with preview_free, also after a problem. Returns: 0; -1 (EXIT_INVALID) when the bytes
 * are no proposal. One that breaks the rules is none: see the verdict.
 */
MUST_USE int preview_make(struct preview *out, const struct constitution *now, struct span bytes,
                          struct problem *problem);
void preview_free(struct preview *preview);

/* As a page for people; and the fields "id" to "vote" of docs/formats.md, as a new reference. */
void preview_print(FILE *out, const struct preview *preview);
json_t *preview_json(const struct preview *preview);

/* A proposal that breaks a rule, in words, as a problem with EXIT_REJECTED. Returns: 0 or -1. */
MUST_USE int preview_check(const struct preview *preview, struct problem *problem);

/* With how many yes does a proposal pass? */
uint32_t preview_votes_needed(const struct constitution *now);

/* A constitution as a page, and as JSON. */
void preview_print_constitution(FILE *out, const struct constitution *constitution);
json_t *preview_constitution_json(const struct constitution *constitution);

#endif
