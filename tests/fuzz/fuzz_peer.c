/*
 * fuzz_peer: frames of other replicas: a byte for the kind, then the payload.
 */
#include <stdlib.h>

#include "base/check.h"
#include "consensus/message.h"
#include "tests/fuzz/target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0 || size - 1 > message_size_max(data[0])) {
        return 0; /* a link ends there */
    }
    struct span const payload = span_of(data + 1, size - 1);
    for (uint32_t from = 0; from < 2; from++) {
        struct peer_message *const message = calloc(1, sizeof *message);
        CHECK(message != NULL);
        enum codec_result const result = peer_message_decode(
            message, &target_consortium()->configuration, from, data[0], payload);
        CHECK(codec_result_text(result) != NULL);
        peer_message_free(message);
        free(message);
    }
    return 0;
}
