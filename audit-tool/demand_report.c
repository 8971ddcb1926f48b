/*
 * demand_report: see demand_report.h. Every byte of a file is hostile; what was read is shown only
 * after all of it has been verified.
 */
#include "audit-tool/demand_report.h"

#include <stdlib.h>
#include <string.h>

#include "audit-tool/eras.h"
#include "base/check.h"
#include "governance/founding.h"

/* Decoding takes the file's size again, some of it twice, and a genesis' pointers. */
#define READ_BUDGET_SHARE ((size_t)16)
#define READ_BUDGET_MIN ((size_t)1 << 20)

const char *demand_report_check_text(enum demand_report_check check) {
    switch (check) {
    case DEMAND_REPORT_VALID:
        return "everything holds";
    case DEMAND_REPORT_ENCODING:
        return "it is not a report about demands, or damaged";
    case DEMAND_REPORT_SERVICE:
        return "it is about another service";
    case DEMAND_REPORT_GENESIS:
        return "the genesis in it is not sound";
    case DEMAND_REPORT_CHAIN:
        return "the links in it do not hold, or do not lead to its configuration";
    case DEMAND_REPORT_AUTHOR:
        return "its author is no user or member of the service";
    case DEMAND_REPORT_SIGNATURE:
        return "the signature of its author does not hold";
    case DEMAND_REPORT_DEMAND:
        return "a demand in it is not its author's, or not to that replica";
    case DEMAND_REPORT_MEMORY:
        return "there is not enough memory to tell";
    case DEMAND_REPORT_CHECK_COUNT:
        break;
    }
    UNREACHABLE();
}

bool demand_report_is(struct span file) {
    struct span const magic = span_text(DEMAND_REPORT_FILE_MAGIC);
    return file.size >= magic.size && span_equal(span_of(file.data, magic.size), magic);
}

/* ---- verifying ------------------------------------------------------------------------------- */

static bool is_signed(const struct demand_report_read *read, const struct signed_body *statement,
                      enum label label) {
    struct sign_check const check = {.key = read->report.author,
                                     .signature = statement->signature,
                                     .body = statement->body,
                                     .label = label};
    return sign_verify_universal(&read->genesis.service, &check);
}

/* Does each demand in it say what its place says, in its author's hand? */
static bool demands_hold(struct demand_report_read *read) {
    const struct demand_report *const report = &read->report;
    for (uint32_t i = 0; i < report->count; i++) {
        const struct asked_replica *const asked = &report->replicas[i];
        struct demand *const demand = &read->demands[i];
        if (asked->replica >= read->configuration.replica_count) {
            return false;
        }
        if (!asked->has_demand) {
            continue;
        }
        if (demand_decode(demand, &read->arena, asked->demand.body) != CODEC_OK ||
            demand->replica != asked->replica ||
            memcmp(demand->author.bytes, report->author.bytes, PUBLIC_KEY_SIZE) != 0 ||
            !is_signed(read, &asked->demand, LABEL_DEMAND)) {
            return false;
        }
    }
    return true;
}

/* The constitution that the report is about. */
static enum demand_report_check find_constitution(struct demand_report_read *out,
                                                  const struct demand_report_file *file) {
    struct eras eras;
    enum demand_report_check check = DEMAND_REPORT_GENESIS;
    if (eras_init(&eras, file->genesis)) {
        enum chain_check const led =
            eras_follow(&eras, file->genesis, file->links, file->link_count);
        check = led == CHAIN_MEMORY  ? DEMAND_REPORT_MEMORY
                : led != CHAIN_VALID ? DEMAND_REPORT_CHAIN
                                     : DEMAND_REPORT_VALID;
    }
    if (check == DEMAND_REPORT_VALID && eras.count != out->report.config) {
        check = DEMAND_REPORT_CHAIN; /* as many links as it takes, so that there is one such file */
    }
    if (check == DEMAND_REPORT_VALID) {
        const struct era *const era = eras_find(&eras, eras.count);
        out->constitution = era->constitution;
        out->configuration = era->configuration;
    }
    eras_free(&eras);
    return check;
}

static enum demand_report_check verify(struct demand_report_read *out, const struct digest *service,
                                       struct span encoded) {
    struct demand_report_file file;
    if (demand_report_file_decode(&file, &out->arena, encoded) != CODEC_OK ||
        demand_report_decode(&out->report, &out->arena, file.report.body) != CODEC_OK) {
        return DEMAND_REPORT_ENCODING;
    }
    if (genesis_decode(&out->genesis, &out->arena, file.genesis) != CODEC_OK) {
        return DEMAND_REPORT_GENESIS;
    }
    if (service != NULL && !digest_equal(service, &out->genesis.service)) {
        return DEMAND_REPORT_SERVICE;
    }
    enum demand_report_check const found = find_constitution(out, &file);
    if (found != DEMAND_REPORT_VALID) {
        return found;
    }
    if (!configuration_has_author(&out->configuration, &out->report.author)) {
        return DEMAND_REPORT_AUTHOR;
    }
    if (!is_signed(out, &file.report, LABEL_DEMAND_REPORT)) {
        return DEMAND_REPORT_SIGNATURE;
    }
    return demands_hold(out) ? DEMAND_REPORT_VALID : DEMAND_REPORT_DEMAND;
}

enum demand_report_check demand_report_verify(struct demand_report_read *out,
                                              const struct digest *service, struct span file) {
    memset(out, 0, sizeof *out);
    arena_init(&out->arena, READ_BUDGET_MIN + READ_BUDGET_SHARE * file.size);
    if (!demand_report_is(file) || file.size > DEMAND_REPORT_FILE_SIZE_MAX) {
        return DEMAND_REPORT_ENCODING;
    }
    size_t const magic = sizeof DEMAND_REPORT_FILE_MAGIC - 1;
    enum demand_report_check const check =
        verify(out, service, span_of(file.data + magic, file.size - magic));
    return check != DEMAND_REPORT_VALID && out->arena.exhausted ? DEMAND_REPORT_MEMORY : check;
}

void demand_report_read_free(struct demand_report_read *read) {
    arena_free(&read->arena);
}

/* ---- making ---------------------------------------------------------------------------------- */

/* A line of text, as far as a report may hold it. Returns: false: out of memory. */
static bool take_reason(struct span *out, struct arena *memory, const char *text) {
    size_t size = strlen(text);
    size = size > DEMAND_REASON_SIZE_MAX ? DEMAND_REASON_SIZE_MAX : size;
    *out = (struct span){0};
    if (size == 0) {
        return true;
    }
    char *const copy = arena_alloc(memory, size);
    if (copy == NULL) {
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        const char c = text[i];
        if (c >= ' ' && c <= '~') {
            copy[i] = c;
        } else {
            copy[i] = '?';
        }
    }
    *out = span_of(copy, size);
    return true;
}

bool demand_report_add(struct demand_report *report, struct arena *memory, uint32_t replica,
                       const struct fetch_result *result) {
    CHECK(report->count < REPLICAS_MAX);
    CHECK(report->count == 0 || report->replicas[report->count - 1].replica < replica);
    struct asked_replica *const asked = &report->replicas[report->count];
    *asked = (struct asked_replica){
        .replica = replica,
        .state = (uint32_t)result->state,
        .entries = result->entries,
        .available = result->available,
        .asked_ms = result->asked_ms,
        .answered_ms = result->answered_ms,
        .demands = result->demands,
        .answers = result->answers,
        .has_demand = result->demands != 0,
    };
    if (!take_reason(&asked->reason, memory, result->reason) ||
        (asked->has_demand && signed_decode(&asked->demand, memory, buffer_span(&result->demand),
                                            DEMAND_SIZE_MAX) != CODEC_OK)) {
        return false;
    }
    report->count++;
    return true;
}

bool demand_report_file_make(struct buffer *file, struct span genesis, const struct eras *eras,
                             const struct secret_key *secret, const struct demand_report *report) {
    struct digest const no_service = {{0}};
    struct digest const service = hash_labelled(LABEL_GENESIS, &no_service, genesis);
    struct buffer body;
    buffer_init(&body, SIGNED_SIZE_MAX);
    CHECK(report->config <= CHAIN_LINKS_MAX && (eras != NULL || report->config == 1));
    struct span *links = NULL;
    bool made = (eras == NULL || eras_links(eras, report->config, &links)) &&
                demand_report_encode(&body, report);
    if (made) {
        struct demand_report_file const content = {
            .genesis = genesis,
            .links = links,
            .link_count = (uint32_t)(report->config - FOUNDING_CONFIGURATION),
            .report = {.body = buffer_span(&body),
                       .signature = sign_labelled(secret, &report->author, LABEL_DEMAND_REPORT,
                                                  &service, buffer_span(&body))},
        };
        made = buffer_append(file, span_text(DEMAND_REPORT_FILE_MAGIC)) &&
               demand_report_file_encode(file, &content);
    }
    free(links);
    buffer_free(&body);
    return made;
}
