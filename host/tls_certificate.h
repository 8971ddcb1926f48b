/*
 * certificate: what a replica shows on TLS links. Self-signed X.509 over an ECDSA P-256 key.
 *
 * Nobody checks names, dates or issuers: what counts is the digest of the public key, SHA-256 over
 * its SubjectPublicKeyInfo in DER, which the replica's endorsement in genesis pins (protocol §3).
 * So a certificate may be made anew over the same key without asking anybody.
 */
#ifndef ONUS_HOST_TLS_CERTIFICATE_H
#define ONUS_HOST_TLS_CERTIFICATE_H

#include "base/problem.h"

struct tls_certificate;

/* File names: PEM; the key has mode 0600. Two neighbouring paths are easily swapped: a struct. */
struct tls_certificate_paths {
    const char *certificate;
    const char *key;
};

/*
 * Make a key and a certificate in two new files; existing files are never replaced.
 * In:  name: goes into the common name, for people who look at it; other characters than letters,
 *      digits, '.', '-' and '_' are written as '-'.
 * Out: digest: of the public key, as genesis pins it.
 * Returns: 0 or -1.
 */
MUST_USE int tls_certificate_generate(struct digest *digest,
                                      const struct tls_certificate_paths *paths, const char *name,
                                      struct problem *problem);

/*
 * Load both files, and check that they belong together.
 * Returns: the certificate, freed by tls_certificate_free; NULL with a problem.
 */
MUST_USE struct tls_certificate *tls_certificate_load(const struct tls_certificate_paths *paths,
                                                      struct problem *problem);
void tls_certificate_free(struct tls_certificate *certificate);

/* The digest of its public key. */
struct digest tls_certificate_digest(const struct tls_certificate *certificate);

/* The same from a certificate file alone, when genesis is made. Returns: 0 or -1. */
MUST_USE int tls_certificate_digest_of_file(struct digest *digest, const char *path,
                                            struct problem *problem);

#endif
