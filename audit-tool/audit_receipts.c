/*
 * audit_receipts: receipts as they come in (protocol §10 step 1).
 *
 * A receipt is judged by the keys of the configuration that it states. One of a configuration that
 * is not known yet waits until a ledger, or a chain, has come to it; what waits in the end was not
 * checked, and says nothing about anybody.
 */
#include <string.h>

#include "audit-tool/audit_internal.h"
#include "base/check.h"
#include "governance/founding.h"

/* What waits; its name and bytes lie one behind the other. */
struct waiting {
    uint64_t config;
    size_t offset;
    size_t name_size;
    size_t size;
    bool is_claim; /* the bytes are a certificate, of the batch that these receipts are for; else
                      they are one receipt */
    struct claim_receipts receipts;
    bool is_taken;
};

int receipts_exhausted(struct problem *problem) {
    return problem_set(problem, EXIT_ERROR,
                       "no memory, or no space for temporary files, to keep the receipts in; audit "
                       "fewer at once, or set TMPDIR to a larger disk");
}

/* ---- what holds ---- */

int audit_add_verified(struct audit *audit, const struct verified_batch *batch,
                       struct span certificate, struct claim_receipts receipts,
                       struct problem *problem) {
    audit->report.receipts_valid += receipts.count;
    return claims_add(&audit->claims, batch, certificate, receipts) ? 0
                                                                    : receipts_exhausted(problem);
}

static int judge(struct audit *audit, const struct configuration *configuration, const char *name,
                 struct span receipt, struct problem *problem) {
    struct verified_receipt verified;
    if (audit->memory_config != configuration->number) {
        audit->memory = (struct receipt_memory){.has_batch = false};
        audit->memory_config = configuration->number;
    }
    enum receipt_check const check =
        receipt_verify(&verified, &audit->memory, &audit->arena, configuration, receipt);
    if (check != RECEIPT_VALID) {
        audit->report.receipts_invalid++;
        audit_notice(audit, EXIT_INVALID, "%s: not a valid receipt: %s", name,
                     receipt_check_text(check));
        return 0;
    }
    uint64_t const index = verified.receipt.index;
    return audit_add_verified(
        audit, &audit->memory.batch, verified.receipt.certificate,
        (struct claim_receipts){.count = 1, .index_first = index, .index_last = index}, problem);
}

/* A certificate of a configuration that is known. Out: check. Returns: 0, or -1. */
static int judge_claim(struct audit *audit, struct span bytes, struct claim_receipts receipts,
                       enum receipt_check *check, struct problem *problem) {
    struct certificate certificate;
    struct verified_batch batch;
    arena_reset(&audit->arena);
    *check = certificate_decode(&certificate, &audit->arena, bytes) == CODEC_OK
                 ? audit_check_certificate(audit, &batch, &audit->arena, &certificate)
                 : RECEIPT_CERTIFICATE_ENCODING;
    if (*check != RECEIPT_VALID) {
        return 0;
    }
    if (receipts.count == 0) {
        return claims_add_certificate(&audit->claims, &batch, bytes) ? 0
                                                                     : receipts_exhausted(problem);
    }
    return audit_add_verified(audit, &batch, bytes, receipts, problem);
}

/* ---- what waits ---- */

static bool wait_for(struct audit *audit, struct waiting one, const char *name, struct span bytes) {
    one.offset = audit->waiting_bytes.size;
    one.name_size = strlen(name) + 1;
    one.size = bytes.size;
    return spill_append(&audit->waiting_bytes, span_of(name, one.name_size)) &&
           spill_append(&audit->waiting_bytes, bytes) &&
           spill_append(&audit->waiting, span_of(&one, sizeof one));
}

static uint64_t waiting_count(const struct audit *audit) {
    return audit->waiting.size / sizeof(struct waiting);
}

static struct waiting *waiting_at(const struct audit *audit, uint64_t nth) {
    return (struct waiting *)(void *)audit->waiting.data + nth;
}

int audit_add_receipt(struct audit *audit, const char *name, struct span receipt,
                      struct problem *problem) {
    uint64_t config = FOUNDING_CONFIGURATION; /* so far nothing else is known of it */
    arena_reset(&audit->arena);
    (void)!receipt_config(&config, &audit->arena, receipt);
    arena_reset(&audit->arena);
    const struct configuration *const configuration = audit_configuration(audit, config);
    if (configuration == NULL) {
        return wait_for(audit, (struct waiting){.config = config}, name, receipt)
                   ? 0
                   : receipts_exhausted(problem);
    }
    return judge(audit, configuration, name, receipt, problem);
}

int audit_add_claim(struct audit *audit, struct span certificate, struct claim_receipts receipts,
                    enum receipt_check *check, struct problem *problem) {
    uint64_t config = 0;
    *check = RECEIPT_CERTIFICATE_ENCODING;
    arena_reset(&audit->arena);
    if (!certificate_config(&config, &audit->arena, certificate)) {
        return 0;
    }
    if (audit_configuration(audit, config) != NULL) {
        return judge_claim(audit, certificate, receipts, check, problem);
    }
    struct waiting const one = {.config = config, .is_claim = true, .receipts = receipts};
    *check = RECEIPT_VALID; /* as far as it can be said */
    return wait_for(audit, one, "", certificate) ? 0 : receipts_exhausted(problem);
}

bool audit_take_aside(struct audit *audit, struct span certificate) {
    struct problem ignored = {.code = EXIT_OK};
    struct claim_receipts const none = {.count = 0};
    enum receipt_check check = RECEIPT_VALID;
    struct found_certificate found;
    found_certificate_init(&found);
    bool const taken = certificate_open(audit, &found, certificate) &&
                       claims_add_certificate(&audit->aside, &found.batch, certificate) &&
                       audit_add_claim(audit, certificate, none, &check, &ignored) == 0 &&
                       check == RECEIPT_VALID;
    found_certificate_free(&found);
    return taken;
}

/* A certificate that was believed when it came, by another chain than the ledger's. */
static void note_astray(struct audit *audit, const struct waiting *one, enum receipt_check check) {
    if (one->receipts.count != 0) {
        audit->report.receipts_invalid += one->receipts.count;
        audit_notice(audit, EXIT_INVALID,
                     "transactions %llu..%llu: receipts of configuration %llu do not hold as the "
                     "ledger has come to it: %s",
                     (unsigned long long)one->receipts.index_first,
                     (unsigned long long)one->receipts.index_last, (unsigned long long)one->config,
                     receipt_check_text(check));
    }
}

/* What one says, now that its configuration is known. Returns: 0, or -1 when memory is short. */
static int take_one(struct audit *audit, const struct waiting *one,
                    const struct configuration *configuration) {
    struct problem ignored = {.code = EXIT_OK}; /* nothing but that memory is short */
    const uint8_t *const at = audit->waiting_bytes.data + one->offset;
    struct span const bytes = span_of(at + one->name_size, one->size);
    enum receipt_check check = RECEIPT_VALID;
    if (!one->is_claim) {
        arena_reset(&audit->arena);
        return judge(audit, configuration, (const char *)at, bytes, &ignored);
    }
    int const status = judge_claim(audit, bytes, one->receipts, &check, &ignored);
    if (status == 0 && check != RECEIPT_VALID) {
        note_astray(audit, one, check);
    }
    return status;
}

bool audit_take_waiting(struct audit *audit, bool *any) {
    bool good = true;
    *any = false;
    for (uint64_t i = 0; good && i < waiting_count(audit); i++) {
        struct waiting *const one = waiting_at(audit, i);
        const struct configuration *const configuration = audit_configuration(audit, one->config);
        if (one->is_taken || configuration == NULL) {
            continue;
        }
        one->is_taken = true;
        *any = true;
        good = take_one(audit, one, configuration) == 0;
    }
    return good;
}

void audit_note_waiting(struct audit *audit) {
    struct audit_report *const report = &audit->report;
    uint64_t first = UINT64_MAX;
    for (uint64_t i = 0; i < waiting_count(audit); i++) {
        const struct waiting *const one = waiting_at(audit, i);
        if (!one->is_taken && (!one->is_claim || one->receipts.count != 0)) {
            report->coverage.receipts_unknown += one->is_claim ? one->receipts.count : 1;
            first = one->config < first ? one->config : first;
        }
    }
    if (report->coverage.receipts_unknown != 0) {
        audit_notice(audit, EXIT_CANNOT_AUDIT,
                     "%llu receipts are of configurations that no ledger given comes to, from %llu "
                     "on; get the ledger of a replica that is in it, or give --chain",
                     (unsigned long long)report->coverage.receipts_unknown,
                     (unsigned long long)first);
    }
}
