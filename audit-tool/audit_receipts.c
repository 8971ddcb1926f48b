/*
 * audit_receipts: receipts and governance chains as they come in (protocol §10 step 1).
 *
 * A receipt is judged by the keys of the configuration that it states. One of a configuration that
 * is not known yet waits until a ledger, or a chain, has come to it; what waits in the end was not
 * checked, and says nothing about anybody.
 */
#include <string.h>

#include "audit-tool/audit_internal.h"
#include "base/check.h"
#include "governance/founding.h"

/* A receipt that waits; its name and bytes lie one behind the other. */
struct waiting {
    uint64_t config;
    size_t offset;
    size_t name_size;
    size_t size;
    bool is_taken;
};

static int receipts_exhausted(struct problem *problem) {
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

/* ---- what waits ---- */

static bool wait_for(struct audit *audit, uint64_t config, const char *name, struct span receipt) {
    size_t const name_size = strlen(name) + 1;
    struct waiting const one = {.config = config,
                                .offset = audit->waiting_bytes.size,
                                .name_size = name_size,
                                .size = receipt.size};
    return spill_append(&audit->waiting_bytes, span_of(name, name_size)) &&
           spill_append(&audit->waiting_bytes, receipt) &&
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
        return wait_for(audit, config, name, receipt) ? 0 : receipts_exhausted(problem);
    }
    return judge(audit, configuration, name, receipt, problem);
}

bool audit_take_waiting(struct audit *audit, bool *any) {
    struct problem ignored = {.code = EXIT_OK}; /* nothing but that memory is short */
    bool good = true;
    *any = false;
    for (uint64_t i = 0; good && i < waiting_count(audit); i++) {
        struct waiting *const one = waiting_at(audit, i);
        const struct configuration *const configuration = audit_configuration(audit, one->config);
        if (one->is_taken || configuration == NULL) {
            continue;
        }
        const uint8_t *const at = audit->waiting_bytes.data + one->offset;
        arena_reset(&audit->arena);
        one->is_taken = true;
        *any = true;
        good = judge(audit, configuration, (const char *)at,
                     span_of(at + one->name_size, one->size), &ignored) == 0;
    }
    return good;
}

void audit_note_waiting(struct audit *audit) {
    struct audit_report *const report = &audit->report;
    uint64_t first = UINT64_MAX;
    for (uint64_t i = 0; i < waiting_count(audit); i++) {
        const struct waiting *const one = waiting_at(audit, i);
        if (!one->is_taken) {
            report->coverage.receipts_unknown++;
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

/* ---- governance chains ---- */

/* Its receipt, and the certificate behind that, claim what any others do. */
static int take_claims(struct audit *audit, const char *name, struct span bytes,
                       struct problem *problem) {
    struct arena arena;
    struct certificate certificate;
    struct verified_batch batch;
    int status = 0;
    arena_init(&arena, LINK_ARENA_SIZE);
    struct chain_link *const link = arena_alloc(&arena, sizeof *link);
    if (link == NULL || chain_link_decode(link, &arena, bytes) != CODEC_OK) {
        status = receipts_exhausted(problem); /* it was decoded before */
    } else {
        status = audit_add_receipt(audit, name, link->receipt, problem);
        if (status == 0 &&
            certificate_decode(&certificate, &arena, link->certificate) == CODEC_OK &&
            certificate_holds(audit, &batch, &arena, &certificate) &&
            !claims_add_certificate(&audit->claims, &batch, link->certificate)) {
            status = receipts_exhausted(problem);
        }
    }
    arena_free(&arena);
    return status;
}

/* A chain that comes in. */
struct incoming {
    const char *name;
    bool claims; /* else it is our own */
    struct chain_reader reader;
};

/* A link that holds. Returns: 0, or -1 when memory is short. */
static int take_link(struct audit *audit, const struct incoming *in, struct span link,
                     struct problem *problem) {
    const struct chain *const chain = audit->chain;
    if (eras_reach(&audit->eras, chain_newest(chain)) == ERA_MEMORY) {
        return receipts_exhausted(problem);
    }
    struct era *const era = eras_find(&audit->eras, chain_newest(chain)->number);
    if (era->link.size == 0 && !era_link_keep(era, link)) {
        return receipts_exhausted(problem);
    }
    return in->claims ? take_claims(audit, in->name, link, problem) : 0;
}

static int take_links(struct audit *audit, struct incoming *in, struct problem *problem) {
    struct chain_reader *const reader = &in->reader;
    const char *const name = in->name;
    struct span link;
    int more = chain_reader_next(reader, &link);
    int status = 0;
    while (status == 0 && more == 1) {
        struct chain_verdict const verdict = chain_add(audit->chain, link);
        if (verdict.check == CHAIN_VALID) {
            status = take_link(audit, in, link, problem);
        } else if (verdict.check == CHAIN_FORK) {
            audit_notice(audit, EXIT_CANNOT_AUDIT,
                         "%s: link %u: another chain that holds as well says otherwise: replicas "
                         "signed for both; who did, their receipts and ledgers show",
                         name, reader->links);
            return take_claims(audit, name, link, problem);
        } else if (verdict.check == CHAIN_MEMORY) {
            return receipts_exhausted(problem);
        } else if (verdict.check != CHAIN_KNOWN) {
            audit_notice(audit, EXIT_INVALID, "%s: link %u: %s", name, reader->links,
                         chain_check_text(verdict.check));
            return 0;
        }
        more = chain_reader_next(reader, &link);
    }
    if (more < 0) {
        audit_notice(audit, EXIT_INVALID, "%s: damaged behind link %u", name, reader->links);
    }
    return status;
}

static int take_chain(struct audit *audit, struct incoming *in, struct span file,
                      struct problem *problem) {
    struct arena arena;
    int status = 0;
    if (audit->chain == NULL) {
        audit->chain =
            chain_new(&audit->options.configuration->service, audit->options.genesis, problem);
        if (audit->chain == NULL) {
            return -1;
        }
    }
    arena_init(&arena, 2 * (size_t)CHAIN_HEADER_SIZE_MAX);
    if (chain_reader_open(&in->reader, &arena, file) &&
        span_equal(in->reader.genesis, audit->options.genesis)) {
        status = take_links(audit, in, problem);
    } else {
        audit_notice(audit, EXIT_INVALID, "%s: this is no governance chain of this service",
                     in->name);
    }
    arena_free(&arena);
    return status;
}

int audit_add_chain(struct audit *audit, const char *name, struct span file,
                    struct problem *problem) {
    return take_chain(audit, &(struct incoming){.name = name, .claims = true}, file, problem);
}

int audit_know_chain(struct audit *audit, const char *name, struct span file,
                     struct problem *problem) {
    return take_chain(audit, &(struct incoming){.name = name}, file, problem);
}

bool audit_save_chain(const struct audit *audit, struct buffer *out) {
    uint64_t number = FOUNDING_CONFIGURATION + 1;
    const struct era *era = eras_find(&audit->eras, number);
    if (era == NULL || era->link.size == 0) {
        return true;
    }
    bool good = chain_file_begin(out, audit->options.genesis);
    while (good && era != NULL && era->link.size != 0) {
        good = chain_file_append(out, buffer_span(&era->link));
        era = eras_find(&audit->eras, ++number);
    }
    return good;
}
