/*
 * fuzz-seeds DIRECTORY: writes the samples as files, a directory for each target: what the fuzzers
 * begin with.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/check.h"
#include "tests/fuzz/samples.h"

static bool write_sample(const char *directory, const struct sample *sample) {
    char path[PATH_MAX];
    (void)snprintf(path, sizeof path, "%s/%s", directory, sample->target);
    if (mkdir(path, 0755) != 0 && errno != EEXIST) {
        return false;
    }
    (void)snprintf(path, sizeof path, "%s/%s/%s", directory, sample->target, sample->name);
    FILE *const out = fopen(path, "wb");
    if (out == NULL) {
        return false;
    }
    bool const written =
        fwrite(sample->bytes.data, 1, sample->bytes.size, out) == sample->bytes.size;
    return fclose(out) == 0 && written;
}

int main(int argc, char **argv) {
    static struct samples samples;
    bool written = true;
    if (argc != 2) {
        (void)fputs("usage: fuzz-seeds DIRECTORY\n", stderr);
        return EXIT_USAGE;
    }
    CHECK(sign_init());
    samples_make(&samples, SAMPLES_SEED);
    for (uint32_t i = 0; i < samples.count; i++) {
        written = written && write_sample(argv[1], &samples.items[i]);
    }
    if (!written) {
        (void)fprintf(stderr, "fuzz-seeds: %s: %s\n", argv[1], strerror(errno));
    }
    (void)printf("%s: %u seeds\n", argv[1], samples.count);
    samples_free(&samples);
    return written ? EXIT_OK : EXIT_ERROR;
}
