/*
 * tally: what is open and how the votes stand, as gov.open and gov.proposal answer
 * (governance/ballot.h). Positions become names by the constitution that they are positions of.
 */
#ifndef ONUS_CLIENT_TALLY_H
#define ONUS_CLIENT_TALLY_H

#include <jansson.h>
#include <stdio.h>

#include "base/problem.h"
#include "governance/ballot.h"

struct tally {
    uint64_t in_force; /* the number of that constitution */
    uint64_t newest;   /* a greater one: a change has passed and is under way */
    uint32_t count;
    struct ballot_line lines[MEMBERS_MAX];
};

/* Take the answer to gov.open apart. Returns: 0 or -1 (EXIT_ERROR): a newer version gave it. */
MUST_USE int tally_take(struct tally *out, const struct outcome *outcome, struct problem *problem);

/* known: the constitution to take names from; others than the one in force give numbers. */
void tally_print(FILE *out, const struct tally *tally, const struct constitution *known);
json_t *tally_json(const struct tally *tally, const struct constitution *known);

/* One line of it, for a proposal that changes this configuration. */
void tally_print_line(FILE *out, const struct ballot_line *line, uint64_t config,
                      const struct constitution *known);
json_t *tally_line_json(const struct ballot_line *line, uint64_t config,
                        const struct constitution *known);

#endif
