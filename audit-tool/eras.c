/*
 * eras: see eras.h. Invariant: list[i] is of number i + 1, and there is at least the founding one.
 */
#include "audit-tool/eras.h"

#include <stdlib.h>

#include "base/check.h"
#include "governance/founding.h"

#define ERAS_ROOM_MIN 4u
#define ERAS_GENESIS_ARENA (64 * (size_t)GENESIS_SIZE_MAX)

static bool make_room(struct eras *eras) {
    if (eras->count < eras->room) {
        return true;
    }
    uint64_t const room = eras->room == 0 ? ERAS_ROOM_MIN : 2 * eras->room;
    struct era **const list =
        eras->count > CHAIN_LINKS_MAX ? NULL : realloc(eras->list, room * sizeof *list);
    if (list == NULL) {
        return false;
    }
    eras->list = list;
    eras->room = room;
    return true;
}

/* Room for the next era, not yet filled in. NULL: memory is short. */
static struct era *era_claim(struct eras *eras) {
    struct era *const era = make_room(eras) ? calloc(1, sizeof *era) : NULL;
    if (era != NULL) {
        buffer_init(&era->link, CHAIN_LINK_SIZE_MAX);
        eras->list[eras->count++] = era;
    }
    return era;
}

static bool found(struct eras *eras, struct arena *arena, struct span bytes) {
    struct genesis genesis;
    struct problem ignored = {.code = EXIT_OK};
    if (genesis_decode(&genesis, arena, bytes) != CODEC_OK) {
        return false;
    }
    struct era *const era = era_claim(eras);
    if (era == NULL || constitution_found(&era->constitution, &genesis, &ignored) != 0) {
        return false;
    }
    constitution_configuration(&era->configuration, &era->constitution);
    return true;
}

bool eras_init(struct eras *eras, struct span genesis) {
    struct arena arena;
    *eras = (struct eras){.count = 0};
    arena_init(&arena, ERAS_GENESIS_ARENA);
    bool const done = found(eras, &arena, genesis);
    arena_free(&arena);
    return done;
}

void eras_cut(struct eras *eras, uint64_t count) {
    while (eras->count > count) {
        struct era *const era = eras->list[--eras->count];
        buffer_free(&era->link);
        free(era);
    }
}

void eras_free(struct eras *eras) {
    eras_cut(eras, 0);
    free(eras->list);
    *eras = (struct eras){.count = 0};
}

struct era *eras_find(const struct eras *eras, uint64_t number) {
    return number == 0 || number > eras->count ? NULL : eras->list[number - 1];
}

const struct configuration *eras_configuration(const struct eras *eras, uint64_t number) {
    const struct era *const era = eras_find(eras, number);
    return era == NULL ? NULL : &era->configuration;
}

bool eras_is(const struct eras *eras, uint64_t number, const struct digest *constitution) {
    const struct era *const era = eras_find(eras, number);
    struct digest own;
    return era != NULL && constitution_digest(&own, &era->constitution) &&
           digest_equal(&own, constitution);
}

enum era_step eras_reach(struct eras *eras, const struct constitution *constitution) {
    const struct era *const known = eras_find(eras, constitution->number);
    if (known != NULL) {
        struct digest own;
        struct digest theirs;
        if (!constitution_digest(&own, &known->constitution) ||
            !constitution_digest(&theirs, constitution)) {
            return ERA_MEMORY;
        }
        return digest_equal(&own, &theirs) ? ERA_KNOWN : ERA_DIFFERS;
    }
    CHECK(constitution->number == eras->count + 1);
    struct era *const era = era_claim(eras);
    if (era == NULL) {
        return ERA_MEMORY;
    }
    era->constitution = *constitution;
    constitution_configuration(&era->configuration, constitution);
    return ERA_ADDED;
}

/* ---- chains ---- */

bool era_link_keep(struct era *era, struct span link) {
    buffer_clear(&era->link);
    return buffer_append(&era->link, link);
}

bool eras_links(const struct eras *eras, uint64_t config, struct span **links) {
    *links = calloc(config, sizeof **links);
    bool known = *links != NULL;
    for (uint64_t number = FOUNDING_CONFIGURATION + 1; known && number <= config; number++) {
        const struct era *const era = eras_find(eras, number);
        known = era != NULL && era->link.size != 0;
        if (known) {
            (*links)[number - FOUNDING_CONFIGURATION - 1] = buffer_span(&era->link);
        }
    }
    return known;
}

static enum chain_check follow(struct eras *eras, struct chain *chain, const struct span *links,
                               uint32_t link_count) {
    for (uint32_t i = 0; i < link_count; i++) {
        struct chain_verdict const verdict = chain_add(chain, links[i]);
        if (verdict.check != CHAIN_VALID) {
            return verdict.check;
        }
        if (eras_reach(eras, chain_newest(chain)) != ERA_ADDED ||
            !era_link_keep(eras->list[eras->count - 1], links[i])) {
            return CHAIN_MEMORY;
        }
    }
    return CHAIN_VALID;
}

enum chain_check eras_follow(struct eras *eras, struct span genesis, const struct span *links,
                             uint32_t link_count) {
    struct problem ignored = {.code = EXIT_OK};
    CHECK(eras->count == FOUNDING_CONFIGURATION);
    if (link_count == 0) {
        return CHAIN_VALID;
    }
    struct chain *const chain = chain_new(&eras->list[0]->configuration.service, genesis, &ignored);
    if (chain == NULL) {
        return CHAIN_MEMORY; /* this genesis has founded the first era already */
    }
    enum chain_check const check = follow(eras, chain, links, link_count);
    chain_free(chain);
    return check;
}

bool era_vote_batch(const struct era *era, struct arena *arena, struct pre_prepare *out) {
    struct receipt receipt;
    struct certificate certificate;
    struct chain_link *const link = arena_alloc(arena, sizeof *link);
    return link != NULL && era->link.size != 0 &&
           chain_link_decode(link, arena, buffer_span(&era->link)) == CODEC_OK &&
           receipt_decode(&receipt, arena, link->receipt) == CODEC_OK &&
           certificate_decode(&certificate, arena, receipt.certificate) == CODEC_OK &&
           pre_prepare_decode(out, arena, certificate.pre_prepare) == CODEC_OK;
}
