/*
 * config: what may differ between replicas: addresses, paths, limits, log and keys, from a YAML
 * file. What affects agreement or execution is in genesis. docs/replica.example.yaml shows and
 * explains every key.
 */
#ifndef ONUS_NODE_CONFIG_H
#define ONUS_NODE_CONFIG_H

#include "base/limits.h"
#include "base/problem.h"
#include "node/log.h"

/* Paths are absolute or relative to the working directory; those in the file are relative to it. */
struct node_config {
    uint32_t replica;
    char genesis[PATH_SIZE_MAX];
    char data_directory[PATH_SIZE_MAX];
    char signing_key[PATH_SIZE_MAX];
    char nonce_secret[PATH_SIZE_MAX];
    char tls_key[PATH_SIZE_MAX];
    char tls_certificate[PATH_SIZE_MAX];
    char listen_peer[ADDRESS_SIZE_MAX + 1];
    char listen_client[ADDRESS_SIZE_MAX + 1];
    enum log_level log_level;
    enum log_format log_format;
    uint32_t client_connections_max;
    uint32_t request_pool_max;
};

/* Returns: 0, or -1 with a problem of one line that names the file, the key and, if known, the
 * line. */
MUST_USE int config_load(struct node_config *config, const char *path, struct problem *problem);

#endif
