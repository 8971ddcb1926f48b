/*
 * call_reader: see call_reader.h. Text is collected in one buffer, which may move while it grows;
 * so spans hold offsets (as sizes from a null base) until the list is finished.
 */
#include "client/call_reader.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>

#include "base/check.h"

#define LIST_SPANS_MAX (CALLS_MAX * (ARGUMENTS_MAX + 1))
#define LIST_TEXT_SIZE_MAX (REQUEST_SIZE_MAX + CALL_LINE_SIZE_MAX)

/* Where a call's words begin in the list's spans. */
struct call_slot {
    uint32_t first_span;
    uint32_t argument_count;
    size_t offsets[ARGUMENTS_MAX + 1];
};

/* ---- lists ----------------------------------------------------------------------------------- */

void call_list_init(struct call_list *list) {
    *list = (struct call_list){.count = 0};
    buffer_init(&list->text, LIST_TEXT_SIZE_MAX);
    list->calls = calloc(CALLS_MAX, sizeof *list->calls);
    list->slots = calloc(CALLS_MAX, sizeof *list->slots);
    list->spans = calloc(LIST_SPANS_MAX, sizeof *list->spans);
    CHECK(list->calls != NULL && list->slots != NULL && list->spans != NULL);
}

void call_list_clear(struct call_list *list) {
    buffer_clear(&list->text);
    list->count = 0;
    list->span_count = 0;
}

void call_list_free(struct call_list *list) {
    buffer_free(&list->text);
    free(list->calls);
    free(list->slots);
    free(list->spans);
}

void call_list_finish(struct call_list *list) {
    for (uint32_t i = 0; i < list->count; i++) {
        const struct call_slot *const slot = &list->slots[i];
        struct span *const words = list->spans + slot->first_span;
        for (uint32_t k = 0; k <= slot->argument_count; k++) {
            words[k].data = list->text.data + slot->offsets[k];
        }
        list->calls[i] = (struct onus_call){
            .procedure = words[0],
            .argument_count = slot->argument_count,
            .arguments = words + 1,
        };
    }
}

static bool list_add_word(struct call_list *list, struct call_slot *slot, uint32_t word,
                          struct span text) {
    slot->offsets[word] = list->text.size;
    list->spans[slot->first_span + word].size = text.size;
    return buffer_append(&list->text, text);
}

/* ---- reading --------------------------------------------------------------------------------- */

int call_reader_open(struct call_reader *reader, const char *path, struct problem *problem) {
    bool const standard = strcmp(path, "-") == 0;
    *reader = (struct call_reader){.path = standard ? "standard input" : path};
    reader->file = standard ? stdin : fopen(path, "re");
    if (reader->file == NULL) {
        return problem_set(problem, EXIT_ERROR, "%s: %s", path, strerror(errno));
    }
    return 0;
}

void call_reader_close(struct call_reader *reader) {
    if (reader->file != stdin) {
        (void)fclose(reader->file); /* only read from */
    }
    free(reader->line);
}

static bool is_blank(struct span line) {
    for (size_t i = 0; i < line.size; i++) {
        if (line.data[i] != ' ' && line.data[i] != '\t' && line.data[i] != '\r') {
            return false;
        }
    }
    return true;
}

int call_reader_skip(struct call_reader *reader, struct problem *problem) {
    do {
        errno = 0;
        ssize_t const read = getline(&reader->line, &reader->line_capacity, reader->file);
        if (read < 0) {
            return ferror(reader->file) == 0
                       ? 0
                       : problem_set(problem, EXIT_ERROR, "%s: %s", reader->path, strerror(errno));
        }
        size_t size = (size_t)read;
        size -= size > 0 && reader->line[size - 1] == '\n' ? 1 : 0;
        reader->raw = span_of(reader->line, size);
        reader->line_number++;
    } while (is_blank(reader->raw));
    if (reader->raw.size > CALL_LINE_SIZE_MAX) {
        return problem_set(problem, EXIT_ERROR, "%s: line %llu: longer than %u bytes", reader->path,
                           (unsigned long long)reader->line_number, CALL_LINE_SIZE_MAX);
    }
    return 1;
}

static int refuse(const struct call_reader *reader, struct problem *problem, const char *what) {
    return problem_set(problem, EXIT_ERROR, "%s: line %llu: %s; write [\"procedure\", …]",
                       reader->path, (unsigned long long)reader->line_number, what);
}

static int take_word(struct call_list *list, struct call_slot *slot, uint32_t word,
                     const json_t *json) {
    char digits[32];
    if (json_is_string(json)) {
        struct span const text = span_of(json_string_value(json), json_string_length(json));
        return list_add_word(list, slot, word, text) ? 0 : -1;
    }
    if (json_is_integer(json)) {
        (void)snprintf(digits, sizeof digits, "%lld", (long long)json_integer_value(json));
        return list_add_word(list, slot, word, span_text(digits)) ? 0 : -1;
    }
    return -1;
}

static int take_array(const struct call_reader *reader, struct call_list *list, const json_t *array,
                      struct problem *problem) {
    size_t const count = json_is_array(array) ? json_array_size(array) : 0;
    if (count == 0 || count > ARGUMENTS_MAX + 1) {
        return refuse(reader, problem, "not an array of a procedure and up to 16 arguments");
    }
    struct call_slot *const slot = &list->slots[list->count];
    slot->first_span = list->span_count;
    slot->argument_count = (uint32_t)count - 1;
    for (uint32_t i = 0; i < count; i++) {
        if (take_word(list, slot, i, json_array_get(array, i)) != 0) {
            return refuse(reader, problem, "a word is neither a string nor a whole number");
        }
    }
    list->span_count += (uint32_t)count;
    list->count++;
    return 1;
}

int call_reader_next(struct call_reader *reader, struct call_list *list, struct problem *problem) {
    CHECK(list->count < CALLS_MAX);
    int const status = call_reader_skip(reader, problem);
    if (status != 1) {
        return status;
    }
    json_error_t error;
    json_t *const array = json_loadb((const char *)reader->raw.data, reader->raw.size,
                                     JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (array == NULL) {
        return problem_set(problem, EXIT_ERROR, "%s: line %llu: %s", reader->path,
                           (unsigned long long)reader->line_number, error.text);
    }
    int const taken = take_array(reader, list, array, problem);
    json_decref(array);
    return taken;
}

bool call_reader_at_end(struct call_reader *reader) {
    int const next = getc(reader->file);
    if (next == EOF) {
        return true;
    }
    return ungetc(next, reader->file) == EOF;
}
