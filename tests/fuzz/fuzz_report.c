/*
 * fuzz_report: reports about demands. One that holds can be told in every form, and holds for no
 * other service.
 */
#include <stdlib.h>

#include "audit-tool/demand_report.h"
#include "base/check.h"
#include "tests/fuzz/target.h"

static void tell(struct span file) {
    struct problem problem = {.code = EXIT_OK};
    char *text = NULL;
    size_t size = 0;
    FILE *const out = open_memstream(&text, &size);
    json_t *const told = demand_report_open(NULL, "file.report", file, &problem);
    CHECK(out != NULL && told != NULL);
    demand_report_write_text(out, told);
    demand_report_write_html(out, told);
    CHECK(fclose(out) == 0 && size != 0);
    free(text);
    json_decref(told);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct demand_report_read read;
    const struct digest *const service = &target_consortium()->configuration.service;
    struct span const file = span_of(data, size);
    enum demand_report_check const check = demand_report_verify(&read, service, file);
    demand_report_read_free(&read);
    CHECK(demand_report_check_text(check) != NULL);
    if (check == DEMAND_REPORT_VALID) {
        struct digest wrong = *service;
        wrong.bytes[0] ^= 1;
        CHECK(demand_report_verify(&read, &wrong, file) == DEMAND_REPORT_SERVICE);
        demand_report_read_free(&read);
        tell(file);
    }
    return 0;
}
