/*
 * link_io: frames, plaintext and ciphertext of a link that is up. See link.h.
 *
 * Incoming: read scratch (shared by the group) -> session -> input -> on_frame. The input buffer
 * grows only as bytes of an announced and admitted frame arrive. Outgoing: output (plaintext
 * frames) -> session -> cipher scratch (shared) -> the system; only what the system does not take
 * at once is kept per link, in `unsent`, which does not move while its write is in flight.
 *
 * Invariant: before returning to the loop, a link has stored input only if it is paused, not up,
 * or scheduled.
 */
#include <stdlib.h>

#include "base/check.h"
#include "host/link_internal.h"
#include "ledger/wire.h"

#define HANDSHAKE_READ_SIZE ((size_t)8 << 10)

static_assert(FRAME_HEADER_SIZE == 5, "u32 size, u8 kind");
static_assert(LINK_INPUT_SIZE_MIN >= FRAME_HEADER_SIZE, "a header can always be read");
static_assert(LINK_BUFFER_KEEP_SIZE >= LINK_INPUT_SIZE_MIN, "the smallest buffer is kept");

/* ---- memory ---- */

void link_account(struct link *link) {
    CHECK(!link->stepping);
    size_t const memory = link->input_capacity + link->output.capacity + link->unsent.capacity +
                          link->wire_in.capacity;
    link->group->memory += memory - link->memory;
    link->memory = memory;
}

static bool memory_allows(const struct link *link, size_t more) {
    const struct link_group *const group = link->group;
    return group->memory <= group->options.memory_max &&
           more <= group->options.memory_max - group->memory;
}

/* ---- incoming frames ---- */

/* The size of the frame at the front of the input, with its header; 0: not known yet. */
static size_t announced_size(const struct link *link) {
    if (link->input_end - link->input_start < FRAME_HEADER_SIZE) {
        return 0;
    }
    return FRAME_HEADER_SIZE + (size_t)load_u32_be(link->input + link->input_start);
}

/* Is the header one that this end takes? If not, the link goes down. */
static bool admit_header(struct link *link, uint8_t kind, size_t size) {
    size_t const size_max = link->options.handlers.frame_size_max(kind);
    link->offended = size_max == 0 || size > size_max;
    if (size_max == 0) {
        link_take_down(link, "a frame of unknown kind %u", kind);
        return false;
    }
    if (size > size_max) {
        link_take_down(link, "a frame of kind %u announces %zu bytes, over the limit of %zu", kind,
                       size, size_max);
        return false;
    }
    return true;
}

/* Deliver all complete frames. Returns: whether more bytes are wanted. */
static bool deliver_frames(struct link *link) {
    while (link->state == LINK_STATE_UP && !link->paused) {
        size_t const frame_size = announced_size(link);
        if (frame_size == 0) {
            return true;
        }
        const uint8_t *const frame = link->input + link->input_start;
        uint8_t const kind = frame[4];
        if (!admit_header(link, kind, frame_size - FRAME_HEADER_SIZE)) {
            return false;
        }
        if (link->input_end - link->input_start < frame_size) {
            return true;
        }
        link->input_start += frame_size;
        link->last_frame_ms = uv_now(link->group->options.loop);
        link->group->called_back = true;
        link->options.handlers.on_frame(
            link, link->options.user, kind,
            span_of(frame + FRAME_HEADER_SIZE, frame_size - FRAME_HEADER_SIZE));
    }
    return false;
}

static bool resize_input(struct link *link, size_t capacity) {
    if (capacity > link->input_capacity && !memory_allows(link, capacity)) {
        link_take_down(link, "all links together use as much memory as they may");
        return false;
    }
    uint8_t *const input = realloc(link->input, capacity);
    if (input == NULL) {
        link_take_down(link, "out of memory");
        return false;
    }
    link->input = input;
    link->input_capacity = capacity;
    link_account(link);
    return true;
}

/*
 * Make room behind the input, all complete frames having been delivered: what is there is less
 * than one admitted frame, and the buffer never grows beyond that frame.
 */
static bool make_room(struct link *link) {
    size_t const rest = link->input_end - link->input_start;
    if (link->input_start > 0 && rest > 0) {
        memmove(link->input, link->input + link->input_start, rest);
    }
    link->input_start = 0;
    link->input_end = rest;
    if (rest == 0 && link->input_capacity > LINK_BUFFER_KEEP_SIZE) {
        return resize_input(link, LINK_INPUT_SIZE_MIN);
    }
    if (rest < link->input_capacity) {
        return true;
    }
    if (link->input_capacity == 0) {
        return resize_input(link, LINK_INPUT_SIZE_MIN);
    }
    size_t const frame_size = announced_size(link);
    CHECK(frame_size > link->input_capacity);
    size_t const doubled = 2 * link->input_capacity;
    return resize_input(link, doubled < frame_size ? doubled : frame_size);
}

/* Decrypt what the session has and deliver it, until there is no more or nobody wants it. */
static void decrypt(struct link *link) {
    buffer_clear(&link->group->cipher);
    tls_session_set_output(link->session, &link->group->cipher);
    while (deliver_frames(link)) {
        if (!make_room(link)) {
            return;
        }
        size_t size = 0;
        enum tls_status const status =
            tls_session_read(link->session, link->input + link->input_end,
                             link->input_capacity - link->input_end, &size);
        link->input_end += size;
        if (status == TLS_WANTS_INPUT) {
            break;
        }
        if (status == TLS_CLOSED) {
            link_take_down(link, "the other end closed the connection");
        } else if (status == TLS_FAILED) {
            link->offended = true;
            link_take_down(link, "%s", tls_session_reason(link->session));
        }
    }
    if (link->group->cipher.size > 0 && link->state == LINK_STATE_UP) {
        /* Only an attempt to renegotiate makes a session answer by itself. */
        link->offended = true;
        link_take_down(link, "the other end breaks the rules of this TLS profile");
    }
}

static void link_receive(struct link *link, struct span cipher) {
    tls_session_set_input(link->session, cipher);
    decrypt(link);
    size_t const left = tls_session_input_left(link->session);
    tls_session_set_input(link->session, (struct span){0});
    if (left == 0 || link->state != LINK_STATE_UP) {
        return;
    }
    CHECK(link->paused && link->wire_in.size == 0);
    if (!buffer_append(&link->wire_in, span_of(cipher.data + cipher.size - left, left))) {
        link_take_down(link, "out of memory");
        return;
    }
    link_account(link);
}

/* What was stored while the link was paused, or came with the end of the handshake. */
static void receive_stored(struct link *link) {
    tls_session_set_input(link->session, buffer_span(&link->wire_in));
    decrypt(link);
    size_t const left = tls_session_input_left(link->session);
    tls_session_set_input(link->session, (struct span){0});
    buffer_consume(&link->wire_in, link->wire_in.size - left);
    if (left == 0) {
        buffer_free(&link->wire_in);
        link_account(link);
    }
}

/* ---- reading from the system ---- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out) {
    (void)suggested;
    struct link *const link = handle->data;
    size_t const size = link->state == LINK_STATE_HANDSHAKE ? HANDSHAKE_READ_SIZE : LINK_READ_SIZE;
    *out = uv_buf_init((char *)link->group->read_scratch, (unsigned)size);
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer) {
    struct link *const link = stream->data;
    if (size == UV_EOF) {
        link_take_down(link, "the other end closed the connection");
        return;
    }
    if (size < 0) {
        link_take_down(link, "read: %s", uv_strerror((int)size));
        return;
    }
    struct span const cipher = span_of(buffer->base, (size_t)size);
    switch (link->state) {
    case LINK_STATE_HANDSHAKE:
        link_handshake_receive(link, cipher);
        break;
    case LINK_STATE_UP:
        link_receive(link, cipher);
        break;
    case LINK_STATE_FINISHING:
    case LINK_STATE_RESOLVING:
    case LINK_STATE_CONNECTING:
    case LINK_STATE_CLOSED:
        break;
    }
}

void link_read_start(struct link *link) {
    if (link->reading) {
        return;
    }
    int const error = uv_read_start((uv_stream_t *)&link->tcp, on_alloc, on_read);
    if (error != 0) {
        link_take_down(link, "read: %s", uv_strerror(error));
        return;
    }
    link->reading = true;
}

void link_read_stop(struct link *link) {
    if (link->reading) {
        link->reading = false;
        (void)uv_read_stop((uv_stream_t *)&link->tcp); /* always 0 */
    }
}

/* ---- writing to the system ---- */

static void link_flush(struct link *link);

static void on_written(uv_write_t *request, int status) {
    struct link *const link = request->data;
    link->writing = false;
    if (link->state == LINK_STATE_CLOSED) {
        return;
    }
    if (status != 0) {
        link_take_down(link, "write: %s", uv_strerror(status));
        return;
    }
    buffer_free(&link->unsent);
    link_account(link);
    link_handshake_continue(link);
    link_flush(link);
}

/* Write in the background what is in `unsent`. */
static void write_later(struct link *link) {
    uv_buf_t const buffer = uv_buf_init((char *)link->unsent.data, (unsigned)link->unsent.size);
    int const error = uv_write(&link->write, (uv_stream_t *)&link->tcp, &buffer, 1, on_written);
    if (error != 0) {
        link_take_down(link, "write: %s", uv_strerror(error));
        return;
    }
    link->writing = true;
    link->write_start_ms = uv_now(link->group->options.loop);
}

/* Returns: bytes the system took, or -1 when the link went down. */
static ssize_t write_now(struct link *link, const struct buffer *cipher) {
    uv_buf_t const buffer = uv_buf_init((char *)cipher->data, (unsigned)cipher->size);
    int const size = uv_try_write((uv_stream_t *)&link->tcp, &buffer, 1);
    if (size < 0 && size != UV_EAGAIN) {
        link_take_down(link, "write: %s", uv_strerror(size));
        return -1;
    }
    return size < 0 ? 0 : size;
}

/* Hand ciphertext to the system, as much as it takes, and the rest when it takes it. */
static void link_write(struct link *link, const struct buffer *cipher) {
    CHECK(!link->writing && link->unsent.size == 0);
    ssize_t const size = write_now(link, cipher);
    if (size < 0 || (size_t)size == cipher->size) {
        return;
    }
    if (!buffer_append(&link->unsent, span_of(cipher->data + size, cipher->size - (size_t)size))) {
        link_take_down(link, "out of memory");
        return;
    }
    link_account(link);
    write_later(link);
}

void link_write_unsent(struct link *link) {
    CHECK(!link->writing);
    if (link->unsent.size == 0) {
        return;
    }
    ssize_t const size = write_now(link, &link->unsent);
    if (size < 0) {
        return;
    }
    buffer_consume(&link->unsent, (size_t)size);
    if (link->unsent.size > 0) {
        write_later(link);
    } else {
        buffer_free(&link->unsent);
        link_account(link);
    }
}

/* ---- outgoing frames ---- */

static size_t output_waiting(const struct link *link) {
    return link->output.size - link->output_start;
}

size_t link_backlog(const struct link *link) {
    return output_waiting(link) + (link->writing ? link->unsent.size : 0);
}

static bool output_has_room(const struct link *link, size_t frame_size) {
    size_t const backlog = link_backlog(link);
    size_t const size_max = link->options.output_size_max;
    return backlog == 0 || (backlog <= size_max && frame_size <= size_max - backlog);
}

/* Place for a frame at the end of the output. NULL: the memory of the group or machine is used. */
static uint8_t *output_extend(struct link *link, size_t frame_size) {
    if (link->output_start > link->output.size / 2) {
        buffer_consume(&link->output, link->output_start);
        link->output_start = 0;
    }
    size_t const wanted = link->output.size + frame_size;
    if (wanted > link->output.capacity && !memory_allows(link, 2 * wanted)) {
        return NULL; /* a growing buffer doubles */
    }
    uint8_t *const frame = buffer_extend(&link->output, frame_size);
    link->output.failed = false; /* a smaller or a later frame may fit */
    link_account(link);
    return frame;
}

static enum link_result busy(struct link *link, bool starved) {
    link->was_busy = true;
    link->starved = link->starved || starved;
    link->group->starved = link->group->starved || starved;
    return LINK_BUSY;
}

enum link_result link_send(struct link *link, uint8_t kind, const struct span *parts,
                           size_t part_count) {
    if (link->state != LINK_STATE_UP) {
        return LINK_DOWN;
    }
    size_t size = 0;
    for (size_t i = 0; i < part_count; i++) {
        size += parts[i].size;
    }
    CHECK(size <= FRAME_SIZE_MAX);
    if (!output_has_room(link, FRAME_HEADER_SIZE + size)) {
        return busy(link, false);
    }
    uint8_t *const frame = output_extend(link, FRAME_HEADER_SIZE + size);
    if (frame == NULL) {
        return busy(link, true);
    }
    store_u32_be(frame, (uint32_t)size);
    frame[4] = kind;
    uint8_t *place = frame + FRAME_HEADER_SIZE;
    for (size_t i = 0; i < part_count; i++) {
        if (parts[i].size > 0) {
            memcpy(place, parts[i].data, parts[i].size);
            place += parts[i].size;
        }
    }
    link_schedule(link);
    return LINK_OK;
}

/* Encrypt one portion of the output and hand it over. */
static void flush_once(struct link *link) {
    struct buffer *const cipher = &link->group->cipher;
    size_t const waiting = output_waiting(link);
    size_t const size = waiting < LINK_FLUSH_SIZE_MAX ? waiting : LINK_FLUSH_SIZE_MAX;
    buffer_clear(cipher);
    tls_session_set_output(link->session, cipher);
    struct span const plain = span_of(link->output.data + link->output_start, size);
    if (tls_session_write(link->session, plain) != TLS_OK) {
        link_take_down(link, "%s", tls_session_reason(link->session));
        return;
    }
    link->output_start += size;
    link_write(link, cipher);
}

static void reset_output(struct link *link) {
    link->output_start = 0;
    buffer_clear(&link->output);
    if (link->output.capacity > LINK_BUFFER_KEEP_SIZE) {
        buffer_free(&link->output);
        link_account(link);
    }
}

static void on_shutdown(uv_shutdown_t *request, int status) {
    /* Nothing to do: the other end's end of file, or the timer, ends the link. */
    (void)request;
    (void)status;
}

/* All frames are with the system: the good-bye, then the end of our half of the connection. */
static void say_goodbye(struct link *link) {
    if (!link->said_goodbye) {
        struct buffer *const cipher = &link->group->cipher;
        link->said_goodbye = true;
        buffer_clear(cipher);
        tls_session_set_output(link->session, cipher);
        if (tls_session_say_goodbye(link->session) != TLS_OK) {
            link_take_down(link, "%s", tls_session_reason(link->session));
            return;
        }
        link_write(link, cipher);
    }
    if (link->state == LINK_STATE_FINISHING && !link->writing && !link->shut_down) {
        link->shut_down = true;
        int const error = uv_shutdown(&link->shutdown, (uv_stream_t *)&link->tcp, on_shutdown);
        if (error != 0) {
            link_take_down(link, "shutdown: %s", uv_strerror(error));
        }
    }
}

static void tell_drained(struct link *link) {
    if (link->was_busy && !link->starved && link->state == LINK_STATE_UP &&
        link_backlog(link) <= link->options.output_size_max / 2) {
        link->was_busy = false;
        link->group->called_back = true;
        if (link->options.handlers.on_drained != NULL) {
            link->options.handlers.on_drained(link, link->options.user);
        }
    }
}

static bool can_send(const struct link *link) {
    return (link->state == LINK_STATE_UP || link->state == LINK_STATE_FINISHING) && !link->writing;
}

static void link_flush(struct link *link) {
    while (can_send(link) && output_waiting(link) > 0) {
        flush_once(link);
    }
    if (can_send(link)) {
        reset_output(link);
        if (link->state == LINK_STATE_FINISHING) {
            say_goodbye(link);
        }
    }
    tell_drained(link);
}

void link_run(struct link *link) {
    if (link->state == LINK_STATE_UP && !link->paused) {
        receive_stored(link);
    }
    bool const listens =
        link->state == LINK_STATE_FINISHING || (link->state == LINK_STATE_UP && !link->paused);
    if (listens) {
        link_read_start(link);
    }
    link_flush(link);
}
