/*
 * audit_chains: governance chains as they come in, whole or link by link with receipts (protocol
 * §9, §10 step 1).
 *
 * Who gives a chain says by which one to judge. Links that receipts bring are less: the ledgers at
 * hand come first, and such links only lead on from where these have ended. What their receipts
 * claim is held against the ledgers in any case, so that a forked chain shows.
 */
#include <string.h>

#include "audit-tool/audit_internal.h"
#include "governance/founding.h"

#define AUDIT_LINKS_MAX CHAIN_LINKS_MAX /* different ones that receipts bring */

/* ---- whole chains ---- */

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

/* ---- links that receipts bring ---- */

/* One; its name and bytes lie one behind the other. */
struct brought {
    struct digest digest; /* SHA-256 of the link */
    size_t offset;
    size_t name_size;
    size_t size;
};

static uint64_t brought_count(const struct audit *audit) {
    return audit->brought.size / sizeof(struct brought);
}

static const struct brought *brought_at(const struct audit *audit, uint64_t nth) {
    return (const struct brought *)(const void *)audit->brought.data + nth;
}

static bool is_brought(const struct audit *audit, const struct digest *digest) {
    for (uint64_t i = 0; i < brought_count(audit); i++) {
        if (digest_equal(&brought_at(audit, i)->digest, digest)) {
            return true;
        }
    }
    return false;
}

static bool keep_brought(struct audit *audit, const char *name, const struct digest *digest,
                         struct span link) {
    struct brought const one = {.digest = *digest,
                                .offset = audit->brought_bytes.size,
                                .name_size = strlen(name) + 1,
                                .size = link.size};
    return spill_append(&audit->brought_bytes, span_of(name, one.name_size)) &&
           spill_append(&audit->brought_bytes, link) &&
           spill_append(&audit->brought, span_of(&one, sizeof one));
}

/* The batches that it speaks of are claims, if they hold; what it is not is told when it is used.
 */
static int claim_brought(struct audit *audit, struct span bytes, struct problem *problem) {
    struct arena arena;
    struct receipt receipt;
    enum receipt_check ignored = RECEIPT_VALID;
    struct claim_receipts const none = {.count = 0};
    int status = 0;
    arena_init(&arena, LINK_ARENA_SIZE);
    struct chain_link *const link = arena_alloc(&arena, sizeof *link);
    if (link == NULL) {
        status = receipts_exhausted(problem);
    } else if (chain_link_decode(link, &arena, bytes) == CODEC_OK &&
               receipt_decode(&receipt, &arena, link->receipt) == CODEC_OK) {
        status = audit_add_claim(audit, receipt.certificate, none, &ignored, problem) == 0
                     ? audit_add_claim(audit, link->certificate, none, &ignored, problem)
                     : -1;
    }
    arena_free(&arena);
    return status;
}

int audit_add_link(struct audit *audit, const char *name, struct span link,
                   struct problem *problem) {
    struct digest const digest = hash_bytes(link);
    if (is_brought(audit, &digest) || brought_count(audit) == AUDIT_LINKS_MAX) {
        return 0; /* beyond the limit receipts stay unknown, and that is told */
    }
    return keep_brought(audit, name, &digest, link) ? claim_brought(audit, link, problem)
                                                    : receipts_exhausted(problem);
}

/* All that the audit knows by itself. NULL: memory is short. */
static struct chain *chain_so_far(const struct audit *audit) {
    struct problem ignored = {.code = EXIT_OK};
    struct chain *const chain =
        chain_new(&audit->options.configuration->service, audit->options.genesis, &ignored);
    bool goes_on = chain != NULL;
    for (uint64_t number = FOUNDING_CONFIGURATION + 1; goes_on; number++) {
        const struct era *const era = eras_find(&audit->eras, number);
        goes_on = era != NULL && era->link.size != 0 &&
                  chain_add(chain, buffer_span(&era->link)).check == CHAIN_VALID;
    }
    return chain;
}

/* The chain has gone on with this link. Returns: false when memory is short. */
static bool reach_by(struct audit *audit, const struct chain *chain, const char *name,
                     struct span link) {
    switch (eras_reach(&audit->eras, chain_newest(chain))) {
    case ERA_DIFFERS:
        audit_notice(audit, EXIT_CANNOT_AUDIT,
                     "%s: it brings a link to another configuration %llu than the ledger has come "
                     "to: replicas signed for both; who did, receipts and ledgers show",
                     name, (unsigned long long)chain_newest(chain)->number);
        return true;
    case ERA_MEMORY:
        return false;
    case ERA_ADDED:
    case ERA_KNOWN:
        break;
    }
    struct era *const era = eras_find(&audit->eras, chain_newest(chain)->number);
    return era->link.size != 0 || era_link_keep(era, link);
}

/* Returns: false when memory is short. */
static bool follow_brought(struct audit *audit, struct chain *chain, const struct brought *one) {
    const uint8_t *const at = audit->brought_bytes.data + one->offset;
    const char *const name = (const char *)at;
    struct span const link = span_of(at + one->name_size, one->size);
    struct chain_verdict const verdict = chain_add(chain, link);
    if (verdict.check == CHAIN_VALID) {
        return reach_by(audit, chain, name, link);
    }
    if (verdict.check == CHAIN_FORK) {
        audit_notice(audit, EXIT_CANNOT_AUDIT,
                     "%s: it brings a link of another chain that holds as well: replicas signed "
                     "for both; who did, receipts and ledgers show",
                     name);
    } else if (verdict.check != CHAIN_KNOWN && verdict.check != CHAIN_GAP &&
               verdict.check != CHAIN_MEMORY) {
        audit_notice(audit, EXIT_INVALID, "%s: it brings a link that does not hold: %s", name,
                     chain_check_text(verdict.check));
    }
    return verdict.check != CHAIN_MEMORY;
}

bool audit_follow_links(struct audit *audit) {
    uint64_t const count = brought_count(audit);
    struct chain *const chain = count == 0 ? NULL : chain_so_far(audit);
    bool good = count == 0 || chain != NULL;
    for (uint64_t i = 0; good && i < count; i++) {
        good = follow_brought(audit, chain, brought_at(audit, i));
    }
    chain_free(chain);
    return good;
}
