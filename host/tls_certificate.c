/*
 * certificate: see certificate.h. Invariant: after tls_certificate_load nothing in the structure is
 * ever written again, which is what lets handshakes share it without a lock.
 */
#include "host/tls_certificate.h"

#include <mbedtls/ecdsa.h>
#include <mbedtls/error.h>
#include <mbedtls/platform_util.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/limits.h"
#include "host/file.h"
#include "host/random.h"
#include "host/tls_certificate_internal.h"

#define COMMON_NAME_SIZE_MAX 64u /* ub-common-name of X.520 */
#define SERIAL_SIZE 16u
#define VALID_FROM "20200101000000"
#define VALID_TO "99991231235959" /* RFC 5280 §4.1.2.5: no expiration date */

int tls_certificate_random(void *unused, unsigned char *out, size_t size) {
    (void)unused;
    random_bytes(out, size);
    return 0;
}

bool tls_certificate_key_is_p256(const mbedtls_pk_context *key) {
    const mbedtls_ecp_keypair *const pair = mbedtls_pk_ec(*key);
    return mbedtls_pk_can_do(key, MBEDTLS_PK_ECDSA) != 0 && pair != NULL &&
           pair->grp.id == MBEDTLS_ECP_DP_SECP256R1;
}

struct digest tls_certificate_chain_digest(const mbedtls_x509_crt *chain) {
    return hash_bytes(span_of(chain->pk_raw.p, chain->pk_raw.len));
}

static int failed(struct problem *problem, const char *what, const char *path, int error,
                  const char *remedy) {
    char text[128];
    mbedtls_strerror(error, text, sizeof text);
    return problem_set(problem, EXIT_ERROR, "%s %s: %s; %s", what, path, text, remedy);
}

/* ---- generating ---- */

static int make_key(mbedtls_pk_context *key) {
    int const error = mbedtls_pk_setup(key, mbedtls_pk_info_from_type(MBEDTLS_PK_ECKEY));
    if (error != 0) {
        return error;
    }
    return mbedtls_ecp_gen_key(MBEDTLS_ECP_DP_SECP256R1, mbedtls_pk_ec(*key),
                               tls_certificate_random, NULL);
}

/* "CN=" and the name, in the characters that need no escapes. */
static void format_subject(char out[static COMMON_NAME_SIZE_MAX + 4], const char *name) {
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                "0123456789.-_";
    memcpy(out, "CN=", 3);
    size_t size = 0;
    for (; name[size] != '\0' && size < COMMON_NAME_SIZE_MAX; size++) {
        bool const keep = strchr(plain, name[size]) != NULL;
        out[3 + size] = (char)(keep ? name[size] : '-');
    }
    out[3 + size] = '\0';
}

static int set_serial(mbedtls_x509write_cert *writer) {
    uint8_t bytes[SERIAL_SIZE];
    random_bytes(bytes, sizeof bytes);
    bytes[0] = (uint8_t)((bytes[0] & 0x7f) | 0x40); /* positive, and never zero */
    mbedtls_mpi serial;
    mbedtls_mpi_init(&serial);
    int error = mbedtls_mpi_read_binary(&serial, bytes, sizeof bytes);
    if (error == 0) {
        error = mbedtls_x509write_crt_set_serial(writer, &serial);
    }
    mbedtls_mpi_free(&serial);
    return error;
}

static int make_certificate(uint8_t *pem, size_t size, mbedtls_pk_context *key, const char *name) {
    char subject[COMMON_NAME_SIZE_MAX + 4];
    format_subject(subject, name);
    mbedtls_x509write_cert writer;
    mbedtls_x509write_crt_init(&writer);
    mbedtls_x509write_crt_set_version(&writer, MBEDTLS_X509_CRT_VERSION_3);
    mbedtls_x509write_crt_set_md_alg(&writer, MBEDTLS_MD_SHA256);
    mbedtls_x509write_crt_set_subject_key(&writer, key);
    mbedtls_x509write_crt_set_issuer_key(&writer, key);
    int error = mbedtls_x509write_crt_set_subject_name(&writer, subject);
    if (error == 0) {
        error = mbedtls_x509write_crt_set_issuer_name(&writer, subject);
    }
    if (error == 0) {
        error = mbedtls_x509write_crt_set_validity(&writer, VALID_FROM, VALID_TO);
    }
    if (error == 0) {
        error = set_serial(&writer);
    }
    if (error == 0) {
        error = mbedtls_x509write_crt_set_basic_constraints(&writer, 0, -1);
    }
    if (error == 0) {
        error = mbedtls_x509write_crt_pem(&writer, pem, size, tls_certificate_random, NULL);
    }
    mbedtls_x509write_crt_free(&writer);
    return error;
}

static struct span pem_span(const uint8_t *pem) {
    return span_of(pem, strlen((const char *)pem));
}

/* The key first: a certificate without its key is the worse thing to leave behind. */
static int write_both(const struct tls_certificate_paths *paths, mbedtls_pk_context *key,
                      const char *name, struct problem *problem) {
    uint8_t pem[4096];
    int error = mbedtls_pk_write_key_pem(key, pem, sizeof pem);
    int result = error == 0 ? file_write(paths->key, pem_span(pem), 0600, FILE_KEEP, problem)
                            : failed(problem, "make the key", paths->key, error, "try again");
    mbedtls_platform_zeroize(pem, sizeof pem);
    if (result != 0) {
        return result;
    }
    error = make_certificate(pem, sizeof pem, key, name);
    if (error != 0) {
        return failed(problem, "make the certificate", paths->certificate, error, "try again");
    }
    return file_write(paths->certificate, pem_span(pem), 0644, FILE_KEEP, problem);
}

int tls_certificate_generate(struct digest *digest, const struct tls_certificate_paths *paths,
                             const char *name, struct problem *problem) {
    mbedtls_pk_context key;
    mbedtls_pk_init(&key);
    int const error = make_key(&key);
    int const result = error == 0 ? write_both(paths, &key, name, problem)
                                  : failed(problem, "make the key", paths->key, error, "try again");
    mbedtls_pk_free(&key);
    if (result != 0) {
        return result;
    }
    return tls_certificate_digest_of_file(digest, paths->certificate, problem);
}

/* ---- loading ---- */

/* mbedTLS parses PEM with its terminating zero byte. */
static int read_pem(struct buffer *pem, const char *path, enum file_guard guard,
                    struct problem *problem) {
    int const result = file_read(pem, path, guard, problem);
    if (result != 0) {
        return result;
    }
    pem->size_max += 1;
    if (!buffer_append(pem, span_of("", 1))) {
        return problem_set(problem, EXIT_ERROR, "read %s: out of memory", path);
    }
    return 0;
}

static int load_chain(mbedtls_x509_crt *chain, const char *path, struct problem *problem) {
    struct buffer pem;
    buffer_init(&pem, TLS_FILE_SIZE_MAX);
    int result = read_pem(&pem, path, FILE_PUBLIC, problem);
    if (result == 0) {
        int const error = mbedtls_x509_crt_parse(chain, pem.data, pem.size);
        if (error < 0) {
            result = failed(problem, "read the certificate", path, error,
                            "it must be one X.509 certificate in PEM");
        } else if (error > 0 || chain->next != NULL || !tls_certificate_key_is_p256(&chain->pk)) {
            result = problem_set(problem, EXIT_ERROR,
                                 "%s: must hold exactly one certificate, of an ECDSA P-256 key; "
                                 "make one with onus",
                                 path);
        }
    }
    buffer_free(&pem);
    return result;
}

static int load_key(mbedtls_pk_context *key, const char *path, struct problem *problem) {
    struct buffer pem;
    buffer_init(&pem, TLS_FILE_SIZE_MAX);
    int result = read_pem(&pem, path, FILE_PRIVATE, problem);
    if (result == 0) {
        int const error = mbedtls_pk_parse_key(key, pem.data, pem.size, NULL, 0);
        if (error != 0) {
            result = failed(problem, "read the TLS key", path, error,
                            "it must be a private key in PEM, without a passphrase");
        } else if (!tls_certificate_key_is_p256(key)) {
            result = problem_set(problem, EXIT_ERROR, "%s: not an ECDSA P-256 key", path);
        }
    }
    file_wipe(&pem);
    return result;
}

/*
 * Sign once. mbedTLS may store a table of multiples of the base point in the key's curve at its
 * first signature (ecp.h: a curve is not thread-safe while that happens), or work on a copy of the
 * curve; after this, in either case, the key is only read, and handshakes on several threads may
 * share it.
 */
static bool warm_up(mbedtls_pk_context *key) {
    struct digest const digest = hash_bytes(span_text("onus"));
    uint8_t signature[MBEDTLS_ECDSA_MAX_LEN];
    size_t size = 0;
    return mbedtls_pk_sign(key, MBEDTLS_MD_SHA256, digest.bytes, DIGEST_SIZE, signature, &size,
                           tls_certificate_random, NULL) == 0;
}

static int load_both(struct tls_certificate *certificate, const struct tls_certificate_paths *paths,
                     struct problem *problem) {
    if (load_chain(&certificate->chain, paths->certificate, problem) != 0 ||
        load_key(&certificate->key, paths->key, problem) != 0) {
        return -1;
    }
    if (mbedtls_pk_check_pair(&certificate->chain.pk, &certificate->key) != 0) {
        return problem_set(problem, EXIT_ERROR,
                           "%s is not the key of the certificate %s; name files that belong "
                           "together",
                           paths->key, paths->certificate);
    }
    if (!warm_up(&certificate->key)) {
        return problem_set(problem, EXIT_ERROR, "%s: this build of mbedTLS cannot sign with it",
                           paths->key);
    }
    return 0;
}

struct tls_certificate *tls_certificate_load(const struct tls_certificate_paths *paths,
                                             struct problem *problem) {
    struct tls_certificate *const certificate = malloc(sizeof *certificate);
    if (certificate == NULL) {
        (void)problem_set(problem, EXIT_ERROR, "read %s: out of memory", paths->certificate);
        return NULL;
    }
    mbedtls_x509_crt_init(&certificate->chain);
    mbedtls_pk_init(&certificate->key);
    if (load_both(certificate, paths, problem) != 0) {
        tls_certificate_free(certificate);
        return NULL;
    }
    return certificate;
}

void tls_certificate_free(struct tls_certificate *certificate) {
    if (certificate == NULL) {
        return;
    }
    mbedtls_x509_crt_free(&certificate->chain);
    mbedtls_pk_free(&certificate->key);
    free(certificate);
}

struct digest tls_certificate_digest(const struct tls_certificate *certificate) {
    return tls_certificate_chain_digest(&certificate->chain);
}

int tls_certificate_digest_of_file(struct digest *digest, const char *path,
                                   struct problem *problem) {
    mbedtls_x509_crt chain;
    mbedtls_x509_crt_init(&chain);
    int const result = load_chain(&chain, path, problem);
    if (result == 0) {
        *digest = tls_certificate_chain_digest(&chain);
    }
    mbedtls_x509_crt_free(&chain);
    return result;
}
