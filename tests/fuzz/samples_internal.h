/*
 * samples_internal: what samples.c leaves to other files.
 */
#ifndef ONUS_TESTS_FUZZ_SAMPLES_INTERNAL_H
#define ONUS_TESTS_FUZZ_SAMPLES_INTERNAL_H

#include "tests/forge/consortium.h"

/* Append a file of one receipt of configuration 2, and one of many of both. Both hold. */
void samples_write_linked(const struct consortium *consortium, struct buffer *one,
                          struct buffer *many);

#endif
