/*
 * check: the end of a process whose own invariant broke. It writes to stderr with the one call
 * that needs neither stdio nor memory, since either may be what broke.
 */
#include "base/check.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void write_text(const char *text) {
    if (write(STDERR_FILENO, text, strlen(text)) < 0) {
        return; /* nowhere left to complain to */
    }
}

_Noreturn void check_failed(const char *file, int line, const char *expression) {
    char digits[12];
    int at = (int)sizeof digits - 1;
    digits[at] = '\0';
    for (int rest = line; rest > 0 && at > 0; rest /= 10) {
        digits[--at] = (char)('0' + rest % 10);
    }
    write_text("onus: invariant broken at ");
    write_text(file);
    write_text(":");
    write_text(digits + at);
    write_text(": ");
    write_text(expression);
    write_text("\n");
    abort();
}
