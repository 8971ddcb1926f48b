/*
 * log: what an operator reads on stderr: one line for each event, as text or as JSON.
 *
 *   2026-11-22T11:42:00.123Z info replica=1 batch refused seq=5 rule=time
 *   {"time":"2026-11-22T11:42:00.123Z","level":"info","replica":1,"message":"…","seq":"5",…}
 *
 * Numbers of 64 bits are strings in JSON. Nothing is logged for each request or batch at info.
 * Control characters from outside never reach the terminal. Safe from any thread; a line leaves
 * with one write.
 */
#ifndef ONUS_NODE_LOG_H
#define ONUS_NODE_LOG_H

#include "base/bytes.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };
enum log_format { LOG_AS_TEXT, LOG_AS_JSON };

struct log_options {
    enum log_level level;
    enum log_format format;
    uint32_t replica;
};

/* Once, before other threads start. */
void log_init(const struct log_options *options);

/* One field of a line; a list ends with log_end(). */
struct log_field {
    const char *name; /* NULL: the end */
    const char *text; /* NULL: a number */
    uint64_t number;
};

static inline struct log_field log_text(const char *name, const char *text) {
    return (struct log_field){.name = name, .text = text};
}

static inline struct log_field log_number(const char *name, uint64_t number) {
    return (struct log_field){.name = name, .number = number};
}

static inline struct log_field log_end(void) {
    return (struct log_field){.name = NULL};
}

void log_event(enum log_level level, const char *message, const struct log_field *fields);

/* Not more than so many lines a second: what others can cause. The loop's. */
struct log_limiter {
    uint64_t second;
    uint32_t count;
    uint64_t suppressed;
};

/* As log_event, unless the limiter says that it is enough; then the next second tells how many. */
void log_limited(struct log_limiter *limiter, enum log_level level, const char *message,
                 const struct log_field *fields);

#endif
