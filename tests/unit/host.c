/*
 * host: files, keys, certificates, addresses. What must be refused is refused with the path and
 * the remedy in one line.
 */
#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "host/address.h"
#include "host/clock.h"
#include "host/file.h"
#include "host/key_file.h"
#include "host/tls_certificate_internal.h"

static char directory[64];
static char path[128];
static char other[128];

static void setup(void) {
    (void)strcpy(directory, "/tmp/onus-host-XXXXXX");
    cr_assert(mkdtemp(directory) != NULL);
    (void)snprintf(path, sizeof path, "%s/a", directory);
    (void)snprintf(other, sizeof other, "%s/b", directory);
    cr_assert(sign_init());
}

static unsigned entries(void) {
    DIR *const dir = opendir(directory);
    cr_assert(dir != NULL);
    unsigned count = 0;
    const struct dirent *entry;
    while ((entry = readdir(dir)) != NULL) {
        count += entry->d_name[0] == '.' ? 0 : 1;
    }
    cr_assert(closedir(dir) == 0);
    return count;
}

static void teardown(void) {
    (void)unlink(path);
    (void)unlink(other);
    (void)rmdir(path);
    cr_assert(rmdir(directory) == 0, "temporary files are left over");
}

TestSuite(host, .init = setup, .fini = teardown, .timeout = 60);

static void write_text(const char *name, const char *text, mode_t mode) {
    struct problem problem = {0};
    cr_assert(file_write(name, span_text(text), mode, FILE_REPLACE, &problem) == 0, "%s",
              problem.text);
}

static void assert_problem(const struct problem *problem, const char *name, const char *remedy) {
    cr_assert_eq(problem->code, EXIT_ERROR);
    cr_assert(strstr(problem->text, name) != NULL, "%s", problem->text);
    cr_assert(strstr(problem->text, remedy) != NULL, "%s", problem->text);
    cr_assert(strchr(problem->text, '\n') == NULL);
}

static unsigned mode_of(const char *name) {
    struct stat status;
    cr_assert(stat(name, &status) == 0);
    return status.st_mode & 07777;
}

/* ---- files ---- */

Test(host, files_come_back_as_written) {
    static const size_t sizes[] = {0, 1, 16383, 16384, 16385, 100000};
    static uint8_t bytes[100000];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)(i * 7 + i / 256);
    }
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct problem problem = {0};
        struct span const content = span_of(bytes, sizes[i]);
        cr_assert(file_write(path, content, 0644, FILE_REPLACE, &problem) == 0);
        struct buffer read;
        buffer_init(&read, sizes[i]);
        cr_assert(file_read(&read, path, FILE_PUBLIC, &problem) == 0, "%s", problem.text);
        cr_assert(span_equal(buffer_span(&read), content));
        buffer_free(&read);
        if (sizes[i] > 0) {
            buffer_init(&read, sizes[i] - 1);
            cr_assert(file_read(&read, path, FILE_PUBLIC, &problem) != 0);
            assert_problem(&problem, path, "larger than");
            buffer_free(&read);
        }
    }
    cr_assert_eq(entries(), 1);
}

Test(host, modes_are_exact_whatever_the_umask) {
    (void)umask(0);
    write_text(path, "x", 0600);
    cr_assert_eq(mode_of(path), 0600);
    (void)umask(0077);
    write_text(path, "x", 0644);
    cr_assert_eq(mode_of(path), 0644);
}

Test(host, keep_never_replaces) {
    struct problem problem = {0};
    write_text(path, "old", 0644);
    cr_assert(file_write(path, span_text("new"), 0644, FILE_KEEP, &problem) != 0);
    assert_problem(&problem, path, "exists already");
    struct buffer read;
    buffer_init(&read, 16);
    problem = (struct problem){0};
    cr_assert(file_read(&read, path, FILE_PUBLIC, &problem) == 0);
    cr_assert(span_equal(buffer_span(&read), span_text("old")));
    buffer_free(&read);
    cr_assert_eq(entries(), 1);
}

/* A symbolic link at the final name is replaced, not followed; keep refuses even a dangling one. */
Test(host, links_are_not_written_through) {
    struct problem problem = {0};
    write_text(other, "untouched", 0644);
    cr_assert(symlink(other, path) == 0);
    cr_assert(file_write(path, span_text("new"), 0644, FILE_KEEP, &problem) != 0);
    write_text(path, "new", 0644);
    struct buffer read;
    buffer_init(&read, 16);
    problem = (struct problem){0};
    cr_assert(file_read(&read, other, FILE_PUBLIC, &problem) == 0);
    cr_assert(span_equal(buffer_span(&read), span_text("untouched")));
    buffer_free(&read);
    struct stat status;
    cr_assert(lstat(path, &status) == 0 && S_ISREG(status.st_mode));
}

static void assert_unreadable(const char *name, enum file_guard guard, const char *remedy) {
    struct problem problem = {0};
    struct buffer read;
    buffer_init(&read, 4096);
    cr_assert(file_read(&read, name, guard, &problem) != 0);
    assert_problem(&problem, name, remedy);
    buffer_free(&read);
}

Test(host, what_is_no_file_is_refused) {
    assert_unreadable(path, FILE_PUBLIC, "No such file");
    cr_assert(mkdir(path, 0700) == 0);
    assert_unreadable(path, FILE_PUBLIC, "not a regular file");
    cr_assert(rmdir(path) == 0);
    cr_assert(mkfifo(path, 0600) == 0);
    assert_unreadable(path, FILE_PRIVATE, "not a regular file");
    assert_unreadable("/dev/zero", FILE_PUBLIC, "not a regular file");
}

Test(host, writing_into_nowhere_names_the_path) {
    struct problem problem = {0};
    cr_assert(file_write("/nonexistent/x", span_text("x"), 0644, FILE_REPLACE, &problem) != 0);
    assert_problem(&problem, "/nonexistent/x", "check the path");
}

/* ---- secrets ---- */

Test(host, keys_are_made_and_loaded) {
    struct problem problem = {0};
    struct public_key made;
    struct public_key loaded;
    struct secret_key secret;
    cr_assert(key_file_generate(&made, path, &problem) == 0, "%s", problem.text);
    cr_assert_eq(mode_of(path), 0600);
    cr_assert(key_file_load(&secret, &loaded, path, &problem) == 0, "%s", problem.text);
    cr_assert(public_key_equal(&made, &loaded));
    cr_assert(public_key_valid(&loaded));
    sign_key_wipe(&secret);
    cr_assert(key_file_generate(&made, path, &problem) != 0);
    assert_problem(&problem, path, "exists already");
    cr_assert_eq(entries(), 1);
}

/* RFC 8032, section 7.1, test 1. */
Test(host, a_known_seed_gives_its_key) {
    struct problem problem = {0};
    struct secret_key secret;
    struct public_key key;
    uint8_t expected[32];
    cr_assert(hex_decode(expected, 32,
                         "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"));
    write_text(path,
               "onus-key-v1\n"
               "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60\n",
               0400);
    cr_assert(key_file_load(&secret, &key, path, &problem) == 0, "%s", problem.text);
    cr_assert(memcmp(key.bytes, expected, 32) == 0);
    sign_key_wipe(&secret);
}

static void assert_key_refused(const char *remedy) {
    struct problem problem = {0};
    struct secret_key secret;
    struct public_key key;
    cr_assert(key_file_load(&secret, &key, path, &problem) != 0);
    assert_problem(&problem, path, remedy);
    cr_assert(strstr(problem.text, "9d61b19d") == NULL, "secrets are not printed");
}

#define SEED "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"

Test(host, open_keys_are_refused) {
    static const mode_t modes[] = {0644, 0640, 0660, 0604, 0601, 0700, 0666, 0610, 04600};
    char remedy[160];
    (void)snprintf(remedy, sizeof remedy, "chmod 600 %s", path);
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        write_text(path, "onus-key-v1\n" SEED "\n", modes[i]);
        assert_key_refused(remedy);
    }
    /* Behind a symbolic link too. */
    write_text(other, "onus-key-v1\n" SEED "\n", 0644);
    cr_assert(unlink(path) == 0 && symlink(other, path) == 0);
    assert_key_refused(remedy);
    cr_assert(chmod(other, 0600) == 0);
    struct problem problem = {0};
    struct secret_key secret;
    struct public_key key;
    cr_assert(key_file_load(&secret, &key, path, &problem) == 0);
    sign_key_wipe(&secret);
}

Test(host, keys_of_other_users_are_refused) {
    write_text(path, "onus-key-v1\n" SEED "\n", 0600);
    if (geteuid() != 0 || chown(path, 12345, 12345) != 0) {
        return; /* only root can give a file away */
    }
    assert_key_refused("chown");
}

Test(host, malformed_keys_are_refused) {
    static const char *const bad[] = {
        "",
        "onus-key-v1\n",
        "onus-key-v1\n" SEED,
        "onus-key-v1\n" SEED "\n\n",
        "onus-key-v1\r\n" SEED "\n",
        "onus-key-v2\n" SEED "\n",
        "onus-secret-v1\n" SEED "\n",
        "onus-key-v1\n" SEED "0\n",
        "onus-key-v1\n0x61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60\n",
        "onus-key-v1\n " SEED "\n",
        SEED "\n",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        write_text(path, bad[i], 0600);
        assert_key_refused("not a key file");
    }
    static char large[KEY_FILE_SIZE_MAX + 2];
    memset(large, 'a', sizeof large - 1);
    write_text(path, large, 0600);
    assert_key_refused("larger than");
    cr_assert(unlink(path) == 0);
    assert_key_refused("No such file");
}

Test(host, nonce_secrets_are_apart_from_keys) {
    struct problem problem = {0};
    struct prf_secret first;
    struct prf_secret second;
    cr_assert(secret_file_generate(path, &problem) == 0, "%s", problem.text);
    cr_assert(secret_file_generate(other, &problem) == 0, "%s", problem.text);
    cr_assert(secret_file_load(&first, path, &problem) == 0);
    cr_assert(secret_file_load(&second, other, &problem) == 0);
    cr_assert(memcmp(&first, &second, sizeof first) != 0);
    cr_assert(secret_file_generate(path, &problem) != 0);
    assert_key_refused("not a key file");
    write_text(path, "onus-key-v1\n" SEED "\n", 0600);
    problem = (struct problem){0};
    cr_assert(secret_file_load(&first, path, &problem) != 0);
    assert_problem(&problem, path, "not a nonce secret file");
    prf_secret_wipe(&second);
    static const uint8_t zero[PRF_SECRET_SIZE];
    cr_assert(memcmp(second.bytes, zero, sizeof zero) == 0);
}

/* ---- certificates ---- */

Test(host, certificates_are_made_and_loaded) {
    struct problem problem = {0};
    struct tls_certificate_paths const paths = {.certificate = path, .key = other};
    struct digest made;
    struct digest read;
    cr_assert(tls_certificate_generate(&made, &paths, "Bank, A=\\\"odd\" \xc3\xa4", &problem) == 0,
              "%s", problem.text);
    cr_assert_eq(mode_of(other), 0600);
    struct tls_certificate *const certificate = tls_certificate_load(&paths, &problem);
    cr_assert(certificate != NULL, "%s", problem.text);
    struct digest const loaded = tls_certificate_digest(certificate);
    cr_assert(digest_equal(&made, &loaded));
    cr_assert(tls_certificate_digest_of_file(&read, path, &problem) == 0);
    cr_assert(digest_equal(&made, &read));

    /* The digest is over the SubjectPublicKeyInfo, as mbedTLS writes it from the private key. */
    unsigned char der[256];
    int const size = mbedtls_pk_write_pubkey_der(&certificate->key, der, sizeof der);
    cr_assert_eq(size, 91, "RFC 5480: an uncompressed P-256 point");
    struct digest const expected = hash_bytes(span_of(der + sizeof der - size, 91));
    cr_assert(digest_equal(&made, &expected));

    char subject[128];
    cr_assert(mbedtls_x509_dn_gets(subject, sizeof subject, &certificate->chain.subject) > 0);
    cr_assert_str_eq(subject, "CN=Bank--A---odd----");
    tls_certificate_free(certificate);
    cr_assert(tls_certificate_generate(&made, &paths, "again", &problem) != 0);
    assert_problem(&problem, other, "exists already");
}

static void assert_no_certificate(const char *name, const char *remedy) {
    struct problem problem = {0};
    struct tls_certificate_paths const paths = {.certificate = path, .key = other};
    cr_assert(tls_certificate_load(&paths, &problem) == NULL);
    assert_problem(&problem, name, remedy);
}

Test(host, wrong_certificates_are_refused) {
    struct problem problem = {0};
    struct tls_certificate_paths const paths = {.certificate = path, .key = other};
    struct digest digest;
    cr_assert(tls_certificate_generate(&digest, &paths, "first", &problem) == 0);
    cr_assert(chmod(other, 0644) == 0);
    assert_no_certificate(other, "chmod 600");
    cr_assert(unlink(other) == 0);
    assert_no_certificate(other, "No such file");

    /* The key of another certificate. */
    char third[128];
    (void)snprintf(third, sizeof third, "%s/c", directory);
    struct tls_certificate_paths const more = {.certificate = third, .key = other};
    cr_assert(tls_certificate_generate(&digest, &more, "second", &problem) == 0);
    assert_no_certificate(other, "belong together");

    /* Two certificates in one file. */
    struct buffer both;
    buffer_init(&both, 8192);
    cr_assert(file_read(&both, path, FILE_PUBLIC, &problem) == 0);
    cr_assert(file_read(&both, third, FILE_PUBLIC, &problem) == 0);
    cr_assert(file_write(path, buffer_span(&both), 0644, FILE_REPLACE, &problem) == 0);
    assert_no_certificate(path, "exactly one certificate");
    buffer_free(&both);

    write_text(path, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", 0644);
    assert_no_certificate(path, "must be one X.509 certificate");
    write_text(path, "", 0644);
    assert_no_certificate(path, "must be one X.509 certificate");
    write_text(other, "nonsense", 0600);
    cr_assert(rename(third, path) == 0);
    assert_no_certificate(other, "private key in PEM");
}

/* ---- addresses and clocks ---- */

Test(host, addresses) {
    static const struct {
        const char *text;
        const char *host; /* NULL: refused */
        const char *port;
        bool numeric;
    } cases[] = {
        {"127.0.0.1:7400", "127.0.0.1", "7400", true},
        {"[::1]:7400", "::1", "7400", true},
        {"0.0.0.0:0", "0.0.0.0", "0", true},
        {"host.example:65535", "host.example", "65535", false},
        {"1.2.3:80", "1.2.3", "80", false},
        {"127.0.0.1", NULL, NULL, false},
        {"127.0.0.1:", NULL, NULL, false},
        {":7400", NULL, NULL, false},
        {"127.0.0.1:65536", NULL, NULL, false},
        {"127.0.0.1:-1", NULL, NULL, false},
        {"127.0.0.1:+1", NULL, NULL, false},
        {"127.0.0.1: 1", NULL, NULL, false},
        {"127.0.0.1:7400 ", NULL, NULL, false},
        {"::1:7400", NULL, NULL, false},
        {"[::1]7400", NULL, NULL, false},
        {"[]:7400", NULL, NULL, false},
        {"[[::1]]:7400", NULL, NULL, false},
        {"[host]:7400", NULL, NULL, false},
        {"", NULL, NULL, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct problem problem = {0};
        struct address address;
        int const result = address_parse(&address, cases[i].text, &problem);
        cr_assert_eq(result == 0, cases[i].host != NULL, "%s", cases[i].text);
        if (result != 0) {
            assert_problem(&problem, cases[i].text, "write HOST:PORT");
            continue;
        }
        cr_assert_str_eq(address.host, cases[i].host);
        cr_assert_str_eq(address.port, cases[i].port);
        cr_assert_eq(address.numeric, cases[i].numeric);
        if (address.numeric) {
            char text[ADDRESS_TEXT_SIZE];
            address_format(text, (const struct sockaddr *)&address.storage);
            cr_assert_str_eq(text, cases[i].text);
        }
    }
    char name[ADDRESS_SIZE_MAX + 8];
    memset(name, 'x', sizeof name);
    memcpy(name + ADDRESS_SIZE_MAX, ":1", 3);
    struct problem problem = {0};
    struct address address;
    cr_assert(address_parse(&address, name, &problem) == 0);
    memcpy(name + ADDRESS_SIZE_MAX, "x:1", 4);
    cr_assert(address_parse(&address, name, &problem) != 0);
}

Test(host, clocks_agree_with_the_machine) {
    uint64_t const before = clock_monotonic_ms();
    cr_assert(usleep(20000) == 0);
    uint64_t const elapsed = clock_monotonic_ms() - before;
    cr_assert(elapsed >= 19 && elapsed < 5000);
    cr_assert_leq(clock_wall_ms() / 1000, (uint64_t)time(NULL) + 1);
    cr_assert_geq(clock_wall_ms() / 1000 + 1, (uint64_t)time(NULL));
}
