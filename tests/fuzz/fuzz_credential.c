/*
 * fuzz_credential: what somebody who is to come sends to a member. Whatever is taken says the same
 * when it is written again.
 */
#include "base/check.h"
#include "client/credential.h"
#include "tests/fuzz/target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct credential credential;
    struct credential again;
    struct problem problem = {.code = EXIT_OK};
    struct buffer text;
    (void)target_consortium(); /* the library must be ready */
    if (credential_parse(&credential, span_of(data, size), "file", &problem) != 0) {
        CHECK(problem.code == EXIT_INVALID);
        return 0;
    }
    CHECK(problem.code == EXIT_OK && public_key_valid(&credential.key));
    buffer_init(&text, CREDENTIAL_SIZE_MAX);
    CHECK(credential_format(&text, &credential));
    CHECK(credential_parse(&again, buffer_span(&text), "file", &problem) == 0);
    CHECK(again.role == credential.role && again.endorsed == credential.endorsed);
    CHECK(strcmp(again.name, credential.name) == 0);
    CHECK(public_key_equal(&again.key, &credential.key));
    buffer_free(&text);
    return 0;
}
