/*
 * context: see context.h. Every problem names the file, and for config the line.
 */
#include "host/context.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "host/address.h"
#include "host/file.h"
#include "host/key_file.h"

#define LINE_SIZE_MAX 512u

static int choose_directory(struct context *context, const char *directory,
                            struct problem *problem) {
    const char *const home = getenv("HOME");
    const char *const chosen = directory != NULL ? directory : getenv("ONUS_CONTEXT");
    int size;
    if (chosen != NULL && chosen[0] != '\0') {
        size = snprintf(context->directory, sizeof context->directory, "%s", chosen);
    } else if (home != NULL && home[0] != '\0') {
        size = snprintf(context->directory, sizeof context->directory, "%s/.config/onus", home);
    } else {
        return problem_set(problem, EXIT_USAGE,
                           "no context: give -C DIR, or set ONUS_CONTEXT to its directory");
    }
    if (size < 0 || (size_t)size >= sizeof context->directory) {
        return problem_set(problem, EXIT_USAGE, "the path of the context is too long");
    }
    return 0;
}

static void context_path(const struct context *context, char *path, const char *name) {
    int const size = snprintf(path, PATH_MAX, "%s/%s", context->directory, name);
    CHECK(size > 0 && size < PATH_MAX);
}

void context_receipts_path(const struct context *context, char *path) {
    context_path(context, path, "receipts");
}

/* ---- config ---------------------------------------------------------------------------------- */

static int set_service(const struct context *context, const char *value, struct problem *problem) {
    struct digest service;
    if (!hex_decode(service.bytes, sizeof service.bytes, value)) {
        return problem_set(problem, EXIT_ERROR, "a service id is 64 hexadecimal digits");
    }
    if (!digest_equal(&service, &context->founding.genesis.service)) {
        return problem_set(problem, EXIT_INVALID, "genesis.onus belongs to another service");
    }
    return 0;
}

static int set_address(struct context *context, const char *value, struct problem *problem) {
    char *rest = NULL;
    errno = 0;
    unsigned long const replica = strtoul(value, &rest, 10);
    if (errno != 0 || rest == value || *rest != ' ' || replica >= REPLICAS_MAX) {
        return problem_set(problem, EXIT_ERROR,
                           "an address is: a replica's number below %u, a space, HOST:PORT",
                           REPLICAS_MAX);
    }
    struct address parsed;
    if (address_parse(&parsed, rest + 1, problem) != 0) {
        return -1;
    }
    char *const out = context->addresses[replica];
    size_t const size = strlen(rest + 1);
    if (size > ADDRESS_SIZE_MAX) {
        return problem_set(problem, EXIT_ERROR, "the address is too long");
    }
    memcpy(out, rest + 1, size + 1);
    return 0;
}

static int set_timeout(struct context *context, const char *value, struct problem *problem) {
    char *rest = NULL;
    errno = 0;
    unsigned long const seconds = strtoul(value, &rest, 10);
    if (errno != 0 || rest == value || *rest != '\0' || seconds == 0 ||
        seconds > CONTEXT_TIMEOUT_S_MAX) {
        return problem_set(problem, EXIT_ERROR, "a timeout is 1 to %u seconds",
                           CONTEXT_TIMEOUT_S_MAX);
    }
    context->timeout_ms = (uint32_t)seconds * 1000;
    return 0;
}

static int config_line(struct context *context, const char *line, struct problem *problem) {
    static const char *const keys[] = {"service: ", "address: ", "timeout: "};
    if (line[0] == '\0' || line[0] == '#') {
        return 0;
    }
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        size_t const size = strlen(keys[i]);
        if (strncmp(line, keys[i], size) != 0) {
            continue;
        }
        switch (i) {
        case 0:
            return set_service(context, line + size, problem);
        case 1:
            return set_address(context, line + size, problem);
        default:
            return set_timeout(context, line + size, problem);
        }
    }
    return problem_set(problem, EXIT_ERROR, "unknown key; known are service, address, timeout");
}

static int config_parse(struct context *context, const char *path, struct span text,
                        struct problem *problem) {
    unsigned number = 0;
    for (size_t at = 0; at < text.size;) {
        const uint8_t *const start = text.data + at;
        const uint8_t *const newline = memchr(start, '\n', text.size - at);
        size_t const size = newline == NULL ? text.size - at : (size_t)(newline - start);
        char line[LINE_SIZE_MAX];
        struct problem why = {.code = EXIT_OK};
        number++;
        if (size >= sizeof line || memchr(start, '\0', size) != NULL) {
            return problem_set(problem, EXIT_ERROR, "%s: line %u: not a line of text", path,
                               number);
        }
        memcpy(line, start, size);
        line[size] = '\0';
        if (config_line(context, line, &why) != 0) {
            return problem_set(problem, why.code, "%s: line %u: %s", path, number, why.text);
        }
        at += size + 1;
    }
    return 0;
}

static int config_load(struct context *context, struct problem *problem) {
    char path[PATH_MAX];
    struct buffer text;
    context_path(context, path, "config");
    FILE *const there = fopen(path, "re");
    if (there == NULL && errno == ENOENT) {
        return 0;
    }
    if (there != NULL && fclose(there) != 0) {
        return problem_set(problem, EXIT_ERROR, "%s: cannot be read", path);
    }
    buffer_init(&text, CONTEXT_CONFIG_SIZE_MAX);
    int status = file_read(&text, path, FILE_PUBLIC, problem);
    if (status == 0) {
        status = config_parse(context, path, buffer_span(&text), problem);
    }
    buffer_free(&text);
    return status;
}

/* ---- the whole ------------------------------------------------------------------------------- */

int context_load(struct context *context, const char *directory, struct problem *problem) {
    memset(context, 0, sizeof *context);
    context->timeout_ms = CONTEXT_TIMEOUT_MS_DEFAULT;
    if (choose_directory(context, directory, problem) != 0) {
        return -1;
    }
    char path[PATH_MAX];
    context_path(context, path, "genesis.onus");
    struct problem why = {.code = EXIT_OK};
    if (founding_load(&context->founding, path, &why) != 0) {
        return problem_set(problem, why.code, "%s (the context is %s; -C names another)", why.text,
                           context->directory);
    }
    int const status = config_load(context, problem);
    context_use_addresses(context, &context->founding.configuration);
    return status;
}

void context_use_addresses(const struct context *context, struct configuration *configuration) {
    for (uint32_t r = 0; r < configuration->replica_count; r++) {
        const char *const address = context->addresses[r];
        if (address[0] != '\0') {
            memcpy(configuration->replicas[r].client_address, address,
                   sizeof context->addresses[r]);
        }
    }
}

void context_free(struct context *context) {
    sign_key_wipe(&context->secret);
    founding_free(&context->founding);
}

int context_take_key(struct context *context, const char *path, struct problem *problem) {
    CHECK(!context->has_key);
    if (key_file_load(&context->secret, &context->key, path, problem) != 0) {
        return -1;
    }
    context->has_key = true;
    (void)snprintf(context->key_path, sizeof context->key_path, "%s", path);
    return 0;
}

int context_check_key(const struct context *context, const struct configuration *configuration,
                      struct problem *problem) {
    return !context->has_key || configuration_has_author(configuration, &context->key)
               ? 0
               : problem_set(problem, EXIT_REJECTED,
                             "%s: the service knows no user or member with this key",
                             context->key_path);
}

int context_load_key(struct context *context, struct problem *problem) {
    char path[PATH_MAX];
    if (context->has_key) {
        return 0;
    }
    context_path(context, path, "user.key");
    return context_take_key(context, path, problem);
}
