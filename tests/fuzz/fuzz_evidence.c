/*
 * fuzz_evidence: files of evidence. One that holds for the service names somebody, can be told in
 * every form, and holds for no other service.
 */
#include <stdlib.h>

#include "audit-tool/account.h"
#include "base/check.h"
#include "tests/fuzz/target.h"

static void tell(const struct proof_verdict *verdict, struct span file) {
    char *text = NULL;
    size_t size = 0;
    FILE *const out = open_memstream(&text, &size);
    json_t *const account = account_make(verdict, file, "file.evidence");
    CHECK(out != NULL && account != NULL);
    account_write_text(out, account);
    account_write_html(out, account);
    CHECK(fclose(out) == 0 && size != 0);
    free(text);
    json_decref(account);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct proof_verdict verdict;
    static struct proof_verdict other;
    const struct digest *const service = &target_consortium()->configuration.service;
    struct span const file = span_of(data, size);
    enum proof_check const check = proof_verify(&verdict, service, file);
    if (check == PROOF_SERVICE) {
        /* Somebody's own service: whatever it comes to, there are words for it. */
        CHECK(proof_check_text(proof_verify(&other, NULL, file)) != NULL);
        return 0;
    }
    if (check == PROOF_VALID) {
        struct digest wrong = *service;
        wrong.bytes[0] ^= 1;
        CHECK(verdict.blamed != 0);
        CHECK(proof_verify(&other, &wrong, file) == PROOF_SERVICE);
        tell(&verdict, file);
    }
    return 0;
}
