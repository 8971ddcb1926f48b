/*
 * certificate_internal: what host/tls.c needs to know of a certificate. Not for other rooms.
 */
#ifndef ONUS_HOST_TLS_CERTIFICATE_INTERNAL_H
#define ONUS_HOST_TLS_CERTIFICATE_INTERNAL_H

#include <mbedtls/pk.h>
#include <mbedtls/x509_crt.h>

#include "host/tls_certificate.h"

/* Read-only once loaded: handshakes on several threads use it at the same time. */
struct tls_certificate {
    mbedtls_x509_crt chain; /* exactly one certificate */
    mbedtls_pk_context key;
};

/* The random function of mbedTLS's signature: safe from any thread, cannot fail. */
int tls_certificate_random(void *unused, unsigned char *out, size_t size);

/* Is it an ECDSA key on P-256, the only kind that is used here? */
bool tls_certificate_key_is_p256(const mbedtls_pk_context *key);

/* SHA-256 over the SubjectPublicKeyInfo. */
struct digest tls_certificate_chain_digest(const mbedtls_x509_crt *chain);

#endif
