/*
 * check: assertions of our own invariants. They stay on in every build (style rule 6), and are
 * never used on bytes that came from a peer, a client, a file or a ledger (rule 5).
 */
#ifndef ONUS_BASE_CHECK_H
#define ONUS_BASE_CHECK_H

/* Print where and what, then abort: a broken invariant must never sign another statement. */
_Noreturn void check_failed(const char *file, int line, const char *expression);

#define CHECK(expression)                                                                          \
    do {                                                                                           \
        if (__builtin_expect(!(expression), 0)) {                                                  \
            check_failed(__FILE__, __LINE__, #expression);                                         \
        }                                                                                          \
    } while (0)

/* A place that control cannot reach, such as the end of a switch that lists every case. */
#define UNREACHABLE() check_failed(__FILE__, __LINE__, "unreachable")

#endif
