/*
 * log: see log.h. A line is put together in a buffer of fixed size: a longer one is cut.
 */
#include "node/log.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/limits.h"
#include "host/clock.h"

#define TIME_TEXT_SIZE 32u

static struct log_options settings = {.level = LOG_INFO, .format = LOG_AS_TEXT};

void log_init(const struct log_options *options) {
    settings = *options;
}

static const char *level_name(enum log_level level) {
    switch (level) {
    case LOG_ERROR:
        return "error";
    case LOG_WARN:
        return "warn";
    case LOG_INFO:
        return "info";
    case LOG_DEBUG:
        return "debug";
    }
    return "?";
}

/* ISO 8601 in UTC, with milliseconds. */
static void format_time(char out[static TIME_TEXT_SIZE]) {
    uint64_t const now_ms = clock_wall_ms();
    time_t const seconds = (time_t)(now_ms / 1000);
    struct tm parts;
    char text[TIME_TEXT_SIZE];
    if (gmtime_r(&seconds, &parts) == NULL ||
        strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts) == 0) {
        text[0] = '\0';
    }
    (void)snprintf(out, TIME_TEXT_SIZE, "%.19s.%03uZ", text, (unsigned)(now_ms % 1000));
}

/* ---- text ------------------------------------------------------------------------------------ */

struct line {
    char text[LOG_LINE_SIZE_MAX];
    size_t size;
};

/* The last byte is kept for the end of the line. */
static void put(struct line *line, const char *text) {
    for (; *text != '\0' && line->size < sizeof line->text - 1; text++) {
        line->text[line->size] = *text;
        if ((unsigned char)*text < 0x20 || *text == 0x7f) {
            line->text[line->size] = '?';
        }
        line->size++;
    }
}

static void put_number(struct line *line, uint64_t number) {
    char text[24];
    (void)snprintf(text, sizeof text, "%llu", (unsigned long long)number);
    put(line, text);
}

static void put_value(struct line *line, const char *text) {
    bool const quoted = text[0] == '\0' || strpbrk(text, " \"=") != NULL;
    if (!quoted) {
        put(line, text);
        return;
    }
    put(line, "\"");
    for (; *text != '\0'; text++) {
        char const one[2] = {*text, '\0'};
        put(line, *text == '"' ? "'" : one);
    }
    put(line, "\"");
}

static void write_line(struct line *line) {
    line->text[line->size++] = '\n';
    size_t done = 0;
    while (done < line->size) {
        ssize_t const written = write(STDERR_FILENO, line->text + done, line->size - done);
        if (written <= 0) {
            return; /* nobody reads: there is nobody left to tell */
        }
        done += (size_t)written;
    }
}

static void write_text(enum log_level level, const char *time_text, const char *message,
                       const struct log_field *fields) {
    struct line line = {.size = 0};
    put(&line, time_text);
    put(&line, " ");
    put(&line, level_name(level));
    put(&line, " replica=");
    put_number(&line, settings.replica);
    put(&line, " ");
    put(&line, message);
    for (; fields->name != NULL; fields++) {
        put(&line, " ");
        put(&line, fields->name);
        put(&line, "=");
        if (fields->text != NULL) {
            put_value(&line, fields->text);
        } else {
            put_number(&line, fields->number);
        }
    }
    write_line(&line);
}

/* ---- JSON ------------------------------------------------------------------------------------ */

/* A string that is not UTF-8 becomes null rather than a line that no parser takes. */
static int set_text(json_t *object, const char *name, const char *text) {
    json_t *const value = json_string(text);
    return json_object_set_new(object, name, value != NULL ? value : json_null());
}

static int set_number(json_t *object, const char *name, uint64_t number) {
    char text[24];
    (void)snprintf(text, sizeof text, "%llu", (unsigned long long)number);
    return set_text(object, name, text);
}

static void write_json(enum log_level level, const char *time_text, const char *message,
                       const struct log_field *fields) {
    struct line line = {.size = 0};
    json_t *const object = json_object();
    int failed = object == NULL || set_text(object, "time", time_text) != 0 ||
                 set_text(object, "level", level_name(level)) != 0 ||
                 json_object_set_new(object, "replica", json_integer(settings.replica)) != 0 ||
                 set_text(object, "message", message) != 0;
    for (; failed == 0 && fields->name != NULL; fields++) {
        failed = fields->text != NULL ? set_text(object, fields->name, fields->text)
                                      : set_number(object, fields->name, fields->number);
    }
    size_t const size =
        failed != 0 ? 0 : json_dumpb(object, line.text, sizeof line.text - 1, JSON_COMPACT);
    if (size != 0 && size < sizeof line.text) {
        line.size = size;
        write_line(&line);
    } else {
        write_text(level, time_text, message, (struct log_field[]){log_end()});
    }
    json_decref(object);
}

/* ---- events ---------------------------------------------------------------------------------- */

void log_event(enum log_level level, const char *message, const struct log_field *fields) {
    char time_text[TIME_TEXT_SIZE];
    if (level > settings.level) {
        return;
    }
    format_time(time_text);
    switch (settings.format) {
    case LOG_AS_TEXT:
        write_text(level, time_text, message, fields);
        break;
    case LOG_AS_JSON:
        write_json(level, time_text, message, fields);
        break;
    }
}

void log_limited(struct log_limiter *limiter, enum log_level level, const char *message,
                 const struct log_field *fields) {
    uint64_t const second = clock_monotonic_ms() / 1000;
    if (level > settings.level) {
        return;
    }
    if (second != limiter->second) {
        uint64_t const suppressed = limiter->suppressed;
        *limiter = (struct log_limiter){.second = second};
        if (suppressed != 0) {
            log_event(level, "more such events were not logged",
                      (struct log_field[]){log_number("count", suppressed), log_end()});
        }
    }
    if (limiter->count >= LOG_LINKS_PER_SECOND_MAX) {
        limiter->suppressed++;
        return;
    }
    limiter->count++;
    log_event(level, message, fields);
}
