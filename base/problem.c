/*
 * problem: see problem.h.
 */
#include "base/problem.h"

#include <stdarg.h>
#include <stdio.h>

int problem_set(struct problem *problem, enum exit_code code, const char *format, ...) {
    if (problem->code != EXIT_OK) {
        return -1;
    }
    problem->code = code;
    va_list arguments;
    va_start(arguments, format);
    if (vsnprintf(problem->text, sizeof problem->text, format, arguments) < 0) {
        problem->text[0] = '\0';
    }
    va_end(arguments);
    return -1;
}
