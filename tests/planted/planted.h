/*
 * planted: the switch that the planted bugs hang on (docs/planted-bugs.md). Production sources do
 * not know it: plant.py copies those that bugs.toml names into the build directory, and makes of
 * each named expression `(planted_bug == N ? (broken) : (right))`. Only onus-sim-planted, and the
 * stories in its manner, are linked with the copies.
 *
 * A replica's bug is on while its own code runs. Clients, the judge and the auditor run the same
 * copies with the bug off, or a broken rule would hide itself from them. An auditor's bug is on
 * while it takes in what it is given, and while it audits.
 */
#ifndef ONUS_TESTS_PLANTED_H
#define ONUS_TESTS_PLANTED_H

#include <stdbool.h>

/* The number of the bug that is on now, from 1; 0: none. */
extern unsigned planted_bug;

struct planted {
    const char *name;
    bool is_auditors; /* a replica's otherwise */
};

/* In the order of their numbers from 1; generated from bugs.toml. */
extern const struct planted planted_bugs[];
extern const unsigned planted_count;

/* From now on it is this bug, or "none". Returns: false: there is none of that name. */
bool planted_choose(const char *name);

#endif
