/*
 * bytes: hexadecimal, and a bounded growing buffer. See bytes.h.
 */
#include "base/bytes.h"

#include <stdlib.h>

#include "base/check.h"

void hex_encode(char *text, struct span in) {
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < in.size; i++) {
        text[2 * i] = digits[in.data[i] >> 4];
        text[2 * i + 1] = digits[in.data[i] & 15];
    }
    text[2 * in.size] = '\0';
}

static int hex_value(char c) {
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    return -1;
}

bool hex_decode(uint8_t *out, size_t size, const char *text) {
    if (strlen(text) != 2 * size) {
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        int const high = hex_value(text[2 * i]);
        int const low = hex_value(text[2 * i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

void buffer_init(struct buffer *buffer, size_t size_max) {
    *buffer = (struct buffer){.size_max = size_max};
}

void buffer_init_on(struct buffer *buffer, uint8_t *memory, size_t size) {
    *buffer = (struct buffer){.capacity = size, .size_max = size};
    buffer->data = memory;
}

void buffer_free(struct buffer *buffer) {
    free(buffer->data);
    *buffer = (struct buffer){.size_max = buffer->size_max};
}

void buffer_clear(struct buffer *buffer) {
    buffer->size = 0;
    buffer->failed = false;
}

uint8_t *buffer_extend(struct buffer *buffer, size_t size) {
    if (buffer->failed || size > buffer->size_max - buffer->size) {
        buffer->failed = true;
        return NULL;
    }
    size_t const wanted = buffer->size + size;
    if (wanted > buffer->capacity) {
        size_t capacity = buffer->capacity < 256 ? 256 : buffer->capacity;
        while (capacity < wanted) {
            capacity *= 2;
        }
        if (capacity > buffer->size_max) {
            capacity = buffer->size_max;
        }
        uint8_t *const grown = realloc(buffer->data, capacity);
        if (grown == NULL) {
            buffer->failed = true;
            return NULL;
        }
        buffer->data = grown;
        buffer->capacity = capacity;
    }
    uint8_t *const place = buffer->data + buffer->size;
    buffer->size = wanted;
    return place;
}

bool buffer_append(struct buffer *buffer, struct span bytes) {
    if (bytes.size == 0) {
        return !buffer->failed;
    }
    uint8_t *const place = buffer_extend(buffer, bytes.size);
    if (place == NULL) {
        return false;
    }
    memcpy(place, bytes.data, bytes.size);
    return true;
}

void buffer_consume(struct buffer *buffer, size_t size) {
    CHECK(size <= buffer->size);
    if (size == 0) {
        return;
    }
    memmove(buffer->data, buffer->data + size, buffer->size - size);
    buffer->size -= size;
}
