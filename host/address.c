/*
 * address: see address.h.
 */
#include "host/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

static bool parse_port(char out[static PORT_TEXT_SIZE], in_port_t *port, const char *text) {
    size_t const size = strlen(text);
    if (size == 0 || size >= PORT_TEXT_SIZE || strspn(text, "0123456789") != size) {
        return false;
    }
    long const value = strtol(text, NULL, 10);
    if (value > UINT16_MAX) {
        return false;
    }
    memcpy(out, text, size + 1);
    *port = htons((uint16_t)value);
    return true;
}

/* Copy the part before the colon of the port, without its brackets. */
static bool parse_host(char out[static ADDRESS_TEXT_SIZE], bool *bracketed, const char *text,
                       size_t size) {
    *bracketed = size > 2 && text[0] == '[' && text[size - 1] == ']';
    if (*bracketed) {
        text++;
        size -= 2;
    }
    if (size == 0 || size > ADDRESS_SIZE_MAX || memchr(text, '[', size) != NULL ||
        (!*bracketed && memchr(text, ':', size) != NULL)) {
        return false;
    }
    memcpy(out, text, size);
    out[size] = '\0';
    return true;
}

static void resolve_numeric(struct address *address, bool bracketed, in_port_t port) {
    struct in_addr four;
    struct in6_addr six;
    if (bracketed && inet_pton(AF_INET6, address->host, &six) == 1) {
        struct sockaddr_in6 const socket = {
            .sin6_family = AF_INET6, .sin6_port = port, .sin6_addr = six};
        memcpy(&address->storage, &socket, sizeof socket);
        address->numeric = true;
    } else if (!bracketed && inet_pton(AF_INET, address->host, &four) == 1) {
        struct sockaddr_in const socket = {
            .sin_family = AF_INET, .sin_port = port, .sin_addr = four};
        memcpy(&address->storage, &socket, sizeof socket);
        address->numeric = true;
    }
}

int address_parse(struct address *address, const char *text, struct problem *problem) {
    *address = (struct address){0};
    const char *const colon = strrchr(text, ':');
    in_port_t port = 0;
    bool bracketed = false;
    bool valid = colon != NULL && parse_port(address->port, &port, colon + 1) &&
                 parse_host(address->host, &bracketed, text, (size_t)(colon - text));
    if (valid) {
        resolve_numeric(address, bracketed, port);
        valid = address->numeric || !bracketed;
    }
    if (!valid) {
        return problem_set(problem, EXIT_ERROR,
                           "address \"%.128s\": write HOST:PORT, such as 127.0.0.1:7400 or "
                           "[::1]:7400",
                           text);
    }
    return 0;
}

uint16_t address_port(const struct sockaddr *address) {
    struct sockaddr_in four;
    struct sockaddr_in6 six;
    if (address->sa_family == AF_INET) {
        memcpy(&four, address, sizeof four);
        return ntohs(four.sin_port);
    }
    if (address->sa_family == AF_INET6) {
        memcpy(&six, address, sizeof six);
        return ntohs(six.sin6_port);
    }
    return 0;
}

void address_format(char *text, const struct sockaddr *address) {
    char host[INET6_ADDRSTRLEN] = "?";
    int size = 0;
    if (address->sa_family == AF_INET) {
        struct sockaddr_in four;
        memcpy(&four, address, sizeof four);
        (void)inet_ntop(AF_INET, &four.sin_addr, host, sizeof host); /* cannot fail: room */
        size = snprintf(text, ADDRESS_TEXT_SIZE, "%s:%u", host, address_port(address));
    } else if (address->sa_family == AF_INET6) {
        struct sockaddr_in6 six;
        memcpy(&six, address, sizeof six);
        (void)inet_ntop(AF_INET6, &six.sin6_addr, host, sizeof host);
        size = snprintf(text, ADDRESS_TEXT_SIZE, "[%s]:%u", host, address_port(address));
    }
    if (size <= 0) {
        memcpy(text, "?", 2);
    }
}
