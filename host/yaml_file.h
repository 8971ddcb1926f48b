/*
 * yaml_file: a YAML file read against a schema of libcyaml. What libcyaml has to say about a bad
 * file takes several lines of its log; here it is one line that names the file, line and key.
 */
#ifndef ONUS_HOST_YAML_FILE_H
#define ONUS_HOST_YAML_FILE_H

#include <cyaml/cyaml.h>

#include "base/problem.h"

struct yaml_kind {
    const cyaml_schema_value_t *schema;
    const char *example; /* the shipped file that explains every key, for messages */
    size_t size_max;     /* of the file, bytes */
};

/*
 * Read a file of at most kind->size_max bytes.
 * Returns: the document, of the type that the schema describes, to be freed with yaml_file_free;
 * NULL with a problem: unknown keys, repeated keys and empty files are refused.
 */
MUST_USE void *yaml_file_load(const struct yaml_kind *kind, const char *path,
                              struct problem *problem);
void yaml_file_free(const struct yaml_kind *kind, void *document);

#endif
