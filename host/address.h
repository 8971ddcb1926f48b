/*
 * address: "127.0.0.1:7400", "[::1]:7400" or, where one is dialled, "host.example:7400".
 */
#ifndef ONUS_HOST_ADDRESS_H
#define ONUS_HOST_ADDRESS_H

#include <sys/socket.h>

#include "base/limits.h"
#include "base/problem.h"

#define PORT_TEXT_SIZE 6u
#define ADDRESS_TEXT_SIZE (ADDRESS_SIZE_MAX + 1u)

struct address {
    char host[ADDRESS_TEXT_SIZE]; /* without brackets */
    char port[PORT_TEXT_SIZE];
    bool numeric;                    /* host is an IP address, and socket is filled in */
    struct sockaddr_storage storage; /* of the numeric address */
};

/* Returns: 0, or -1 with a problem that names the text and the remedy. */
MUST_USE int address_parse(struct address *address, const char *text, struct problem *problem);

/* The other direction, for logs. text: ADDRESS_TEXT_SIZE characters. */
void address_format(char *text, const struct sockaddr *address);

/* The port of an IP address, or 0. */
uint16_t address_port(const struct sockaddr *address);

#endif
