/*
 * problem: what a person is told when something cannot go on: one line that names what failed, on
 * which file, host or field, and the remedy. Its kind is the exit code of every program.
 */
#ifndef ONUS_BASE_PROBLEM_H
#define ONUS_BASE_PROBLEM_H

#include "base/bytes.h"

#define PROBLEM_TEXT_SIZE 640u

/* Exit codes, the same for every program. */
enum exit_code {
    EXIT_OK = 0,
    EXIT_ERROR = 1,
    EXIT_USAGE = 2,
    EXIT_UNREACHABLE = 3,  /* unreachable or degraded */
    EXIT_REJECTED = 4,     /* by the service or the procedure */
    EXIT_INVALID = 5,      /* a receipt or proof does not hold */
    EXIT_CANNOT_AUDIT = 6, /* something is missing */
    EXIT_MISBEHAVIOUR = 10,
    EXIT_CORRUPT = 11 /* damage that nobody signed for */
};

struct problem {
    enum exit_code code; /* EXIT_OK: no problem */
    char text[PROBLEM_TEXT_SIZE];
};

/* Fill in a problem (the first one stays). Returns: -1, so that callers can return it. */
__attribute__((format(printf, 3, 4))) int problem_set(struct problem *problem, enum exit_code code,
                                                      const char *format, ...);

#endif
