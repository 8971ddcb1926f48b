/*
 * replica_kit: see replica_kit.h. Before anything is made, nothing of it may be there: half of an
 * older replica's files is worse than none.
 */
#include "client/replica_kit.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/address.h"
#include "host/file.h"
#include "host/key_file.h"
#include "host/tls_certificate.h"

#define YAML_SIZE_MAX 4096u

enum kit_file { KIT_SIGNING, KIT_NONCE, KIT_TLS, KIT_CERTIFICATE, KIT_YAML, KIT_FILES };

struct kit_paths {
    char of[KIT_FILES][PATH_MAX];
};

int directory_make(const char *path, struct problem *problem) {
    if (mkdir(path, 0700) != 0 && errno != EEXIST) {
        return problem_set(problem, EXIT_ERROR, "%s: %s", path, strerror(errno));
    }
    return 0;
}

static int fill_paths(struct kit_paths *paths, const struct replica_kit *kit,
                      struct problem *problem) {
    static const char *const names[KIT_FILES] = {"replica.key", "nonce.secret", "tls.key",
                                                 "tls.crt", "replica.yaml"};
    for (size_t i = 0; i < KIT_FILES; i++) {
        int const size = snprintf(paths->of[i], PATH_MAX, "%s/%s", kit->directory, names[i]);
        if (size < 0 || size >= PATH_MAX) {
            return problem_set(problem, EXIT_USAGE, "%s: the path is too long", kit->directory);
        }
        if (access(paths->of[i], F_OK) == 0) {
            return problem_set(
                problem, EXIT_ERROR,
                "%s: is there already and is not replaced; choose an empty directory",
                paths->of[i]);
        }
    }
    return 0;
}

static int write_yaml(const struct replica_kit *kit, const char *path, struct problem *problem) {
    char text[YAML_SIZE_MAX];
    int const size = snprintf(text, sizeof text,
                              "# docs/replica.example.yaml explains every key.\n"
                              "replica: %u\n"
                              "genesis: %s\n"
                              "data_directory: data\n"
                              "keys:\n"
                              "  signing: replica.key\n"
                              "  nonce: nonce.secret\n"
                              "  tls: tls.key\n"
                              "  certificate: tls.crt\n"
                              "listen:\n"
                              "  peer: \"%s\"\n"
                              "  client: \"%s\"\n"
                              "log:\n"
                              "  level: info\n"
                              "  format: text\n",
                              kit->replica, kit->genesis, kit->listen_peer, kit->listen_client);
    if (size < 0 || (size_t)size >= sizeof text) {
        return problem_set(problem, EXIT_USAGE, "%s: addresses are too long", path);
    }
    return file_write(path, span_of(text, (size_t)size), 0644, FILE_KEEP, problem);
}

int replica_kit_listen(char *out, const char *asked, const char *planned, struct problem *problem) {
    struct address address;
    const char *const text = asked != NULL ? asked : planned;
    if (address_parse(&address, text, problem) != 0) {
        return -1;
    }
    if (!address.numeric && asked != NULL) {
        return problem_set(problem, EXIT_USAGE,
                           "%s: a replica listens at a numeric address, such as 0.0.0.0:%s", asked,
                           address.port);
    }
    if (address.numeric) {
        (void)snprintf(out, ADDRESS_TEXT_SIZE, "%s", text);
    } else {
        (void)snprintf(out, ADDRESS_TEXT_SIZE, "0.0.0.0:%s", address.port);
    }
    return 0;
}

int replica_kit_make(const struct replica_kit *kit, struct public_key *key,
                     struct digest *tls_digest, struct problem *problem) {
    struct kit_paths paths;
    char name[32];
    (void)snprintf(name, sizeof name, "replica-%u", kit->replica);
    if (directory_make(kit->directory, problem) != 0 || fill_paths(&paths, kit, problem) != 0 ||
        key_file_generate(key, paths.of[KIT_SIGNING], problem) != 0 ||
        secret_file_generate(paths.of[KIT_NONCE], problem) != 0) {
        return -1;
    }
    struct tls_certificate_paths const tls = {.key = paths.of[KIT_TLS],
                                              .certificate = paths.of[KIT_CERTIFICATE]};
    return tls_certificate_generate(tls_digest, &tls, name, problem) == 0
               ? write_yaml(kit, paths.of[KIT_YAML], problem)
               : -1;
}
