/*
 * yaml_file: see yaml_file.h. The file is text from a person: bounded before it is parsed, without
 * aliases, and refused as a whole at the first thing that the schema does not know.
 */
#include "host/yaml_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/file.h"

#define COMPLAINT_SIZE 256u

/* The first message, and the first place that the backtrace below it names. */
struct complaint {
    char text[COMPLAINT_SIZE];
    unsigned line; /* 0: unknown */
};

__attribute__((format(printf, 3, 0))) static void on_log(cyaml_log_t level, void *context,
                                                         const char *format, va_list arguments) {
    struct complaint *const complaint = context;
    char text[COMPLAINT_SIZE];
    if (level < CYAML_LOG_ERROR || vsnprintf(text, sizeof text, format, arguments) < 0) {
        return;
    }
    text[strcspn(text, "\n")] = '\0';
    const char *const message = strncmp(text, "Load: ", 6) == 0 ? text + 6 : text;
    const char *const place = strstr(text, "(line: ");
    if (place != NULL) {
        if (complaint->line == 0) {
            complaint->line = (unsigned)strtoul(place + strlen("(line: "), NULL, 10);
        }
    } else if (complaint->text[0] == '\0') {
        (void)snprintf(complaint->text, sizeof complaint->text, "%s", message);
    }
}

/* Is this line `key:` with anything around it that YAML allows there? */
static bool line_has_key(const char *line, size_t size, const char *key) {
    size_t const key_size = strlen(key);
    for (size_t at = 0; at + key_size < size; at++) {
        bool const starts = at == 0 || strchr(" \t{,-\"'", line[at - 1]) != NULL;
        if (!starts || memcmp(line + at, key, key_size) != 0) {
            continue;
        }
        size_t after = at + key_size;
        while (after < size && strchr(" \t\"'", line[after]) != NULL) {
            after++;
        }
        if (after < size && line[after] == ':') {
            return true;
        }
    }
    return false;
}

/* libcyaml names the place before an unexpected key: look for the key from there on. */
static unsigned line_of_key(struct span text, const char *key, unsigned from) {
    const char *const begin = (const char *)text.data;
    const char *const end = begin + text.size;
    unsigned number = 1;
    for (const char *line = begin; line < end; number++) {
        const char *stop = memchr(line, '\n', (size_t)(end - line));
        stop = stop == NULL ? end : stop;
        if (number >= from && line_has_key(line, (size_t)(stop - line), key)) {
            return number;
        }
        line = stop + 1;
    }
    return from;
}

static int complain(const struct complaint *complaint, const char *path, const char *example,
                    struct span text, struct problem *problem) {
    static const char unexpected[] = "Unexpected key: ";
    static const char repeated[] = "Mapping field already seen: ";
    if (strncmp(complaint->text, unexpected, strlen(unexpected)) == 0) {
        const char *const key = complaint->text + strlen(unexpected);
        return problem_set(problem, EXIT_ERROR,
                           "%s:%u: unknown key `%s`; remove it (%s lists all keys)", path,
                           line_of_key(text, key, complaint->line), key, example);
    }
    if (strncmp(complaint->text, repeated, strlen(repeated)) == 0) {
        const char *const key = complaint->text + strlen(repeated);
        return problem_set(problem, EXIT_ERROR, "%s:%u: key `%s` is there twice; remove one", path,
                           line_of_key(text, key, complaint->line + 1), key);
    }
    return problem_set(problem, EXIT_ERROR, "%s:%u: %s; correct it (%s)", path, complaint->line,
                       complaint->text, example);
}

static cyaml_config_t loader(struct complaint *complaint) {
    return (cyaml_config_t){.log_fn = on_log,
                            .log_ctx = complaint,
                            .mem_fn = cyaml_mem,
                            .log_level = CYAML_LOG_ERROR,
                            .flags = CYAML_CFG_NO_ALIAS};
}

void *yaml_file_load(const struct yaml_kind *kind, const char *path, struct problem *problem) {
    struct complaint complaint = {.line = 0};
    cyaml_config_t const how = loader(&complaint);
    struct buffer text;
    cyaml_data_t *loaded = NULL;
    buffer_init(&text, kind->size_max);
    if (file_read(&text, path, FILE_PUBLIC, problem) == 0) {
        cyaml_err_t const error =
            cyaml_load_data(text.data, text.size, &how, kind->schema, &loaded, NULL);
        if (error == CYAML_OK && loaded != NULL) {
            buffer_free(&text);
            return loaded;
        }
        if (complaint.text[0] != '\0') {
            (void)complain(&complaint, path, kind->example, buffer_span(&text), problem);
        } else {
            (void)problem_set(problem, EXIT_ERROR, "%s: %s; see %s", path,
                              error == CYAML_OK ? "is empty" : cyaml_strerror(error),
                              kind->example);
        }
    }
    yaml_file_free(kind, loaded);
    buffer_free(&text);
    return NULL;
}

void yaml_file_free(const struct yaml_kind *kind, void *document) {
    struct complaint complaint = {.line = 0};
    cyaml_config_t const how = loader(&complaint);
    /* Freeing what was loaded by this very schema cannot fail. */
    (void)cyaml_free(&how, kind->schema, document, 0);
}
