/*
 * evidence_file: see evidence_file.h. The same proof always gets the same name.
 */
#include "audit-tool/evidence_file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "host/file.h"

#define NAME_DIGEST_SIZE 4u

int evidence_file_read(struct buffer *file, const char *path, struct problem *problem) {
    return file_read(file, path, FILE_PUBLIC, problem);
}

int evidence_file_check(struct proof_verdict *verdict, const struct digest *service,
                        const char *path, struct span file, struct problem *problem) {
    enum proof_check const check = proof_verify(verdict, service, file);
    if (check == PROOF_VALID) {
        return 0;
    }
    if (check == PROOF_CERTIFICATE) {
        return problem_set(problem, EXIT_INVALID, "%s: not a valid proof: %s: %s", path,
                           proof_check_text(check), receipt_check_text(verdict->certificate));
    }
    return problem_set(problem, check == PROOF_MEMORY ? EXIT_ERROR : EXIT_INVALID,
                       "%s: not a valid proof: %s", path, proof_check_text(check));
}

int evidence_file_write(char path[static PATH_MAX], const char *directory, struct span file,
                        struct problem *problem) {
    char name[2 * NAME_DIGEST_SIZE + 1];
    struct digest const digest = hash_bytes(file);
    hex_encode(name, span_of(digest.bytes, NAME_DIGEST_SIZE));
    int const size = snprintf(path, PATH_MAX, "%s/ev-%s.evidence", directory, name);
    if (size < 0 || size >= PATH_MAX) {
        return problem_set(problem, EXIT_USAGE, "--evidence: the name is too long");
    }
    if (mkdir(directory, 0755) != 0 && errno != EEXIST) {
        return problem_set(problem, EXIT_ERROR, "%s: %s; name a directory that can be made",
                           directory, strerror(errno));
    }
    return file_write(path, file, 0644, FILE_REPLACE, problem);
}
