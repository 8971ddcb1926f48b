/*
 * codec_demand_report: see codec_demand_report.h.
 */
#include "ledger/codec_demand_report.h"

#include "ledger/field.h"
#include "ledger/onus.pb-c.h"
#include "ledger/pack.h"
#include "ledger/strict.h"

#define FIELD_FILE_LINKS 3u

static_assert(SIGNED_SIZE_MAX >=
                  REPLICAS_MAX * (DEMAND_SIZE_MAX + DEMAND_REASON_SIZE_MAX + 256u) + 256u,
              "a report about every replica can be signed");

/* One line that can go to a terminal. */
static void take_reason(enum codec_result *result, struct span *out, ProtobufCBinaryData in) {
    field_take_span(result, out, in, (struct bounds){0, DEMAND_REASON_SIZE_MAX});
    for (size_t i = 0; *result == CODEC_OK && i < in.len; i++) {
        if (in.data[i] < ' ' || in.data[i] > '~') {
            field_fail(result, CODEC_RANGE);
        }
    }
}

static void take_replica(enum codec_result *result, struct asked_replica *out,
                         const Onus__Pb__AskedReplica *in) {
    *out = (struct asked_replica){.has_demand = in->demand != NULL};
    field_take_u32(result, &out->replica, in->replica, (struct bounds){0, REPLICAS_MAX - 1});
    field_take_u32(result, &out->state, in->state, (struct bounds){1, DEMAND_REPORT_STATES});
    field_take_number(result, &out->entries, in->entries);
    field_take_number(result, &out->available, in->available);
    field_take_number(result, &out->asked_ms, in->asked_ms);
    field_take_number(result, &out->answered_ms, in->answered_ms);
    field_take_number(result, &out->demands, in->demands);
    field_take_number(result, &out->answers, in->answers);
    take_reason(result, &out->reason, in->reason);
    if (in->demand != NULL) {
        field_take_span(result, &out->demand.body, in->demand->body,
                        (struct bounds){1, DEMAND_SIZE_MAX});
        field_take_signature(result, &out->demand.signature, in->demand->signature);
    }
    if (out->has_demand != (out->demands != 0)) {
        field_fail(result, CODEC_MISMATCH);
    }
}

enum codec_result demand_report_decode(struct demand_report *out, struct arena *arena,
                                       struct span body) {
    struct unpacked const unpacked =
        strict_unpack(arena, &onus__pb__demand_report__descriptor, SIGNED_SIZE_MAX, body);
    if (unpacked.result != CODEC_OK) {
        return unpacked.result;
    }
    const Onus__Pb__DemandReport *const in = unpacked.message;
    enum codec_result result = CODEC_OK;
    field_take_key(&result, &out->author, in->author);
    field_take_number(&result, &out->started_ms, in->started_ms);
    field_take_number(&result, &out->ended_ms, in->ended_ms);
    field_check_range(&result, in->deadline_ms, (struct bounds){1, DEMAND_DEADLINE_MS_MAX});
    out->deadline_ms = in->deadline_ms;
    field_check_range(&result, in->config, (struct bounds){1, INT64_MAX});
    out->config = in->config;
    field_check_range(&result, in->n_replicas, (struct bounds){1, REPLICAS_MAX});
    out->count = result == CODEC_OK ? (uint32_t)in->n_replicas : 0;
    for (uint32_t i = 0; i < out->count; i++) {
        take_replica(&result, &out->replicas[i], in->replicas[i]);
        if (i != 0 && out->replicas[i].replica <= out->replicas[i - 1].replica) {
            field_fail(&result, CODEC_MISMATCH);
        }
    }
    if (in->ended_ms < in->started_ms) {
        field_fail(&result, CODEC_MISMATCH);
    }
    return result;
}

static Onus__Pb__AskedReplica replica_message(const struct asked_replica *in,
                                              Onus__Pb__Signed *demand) {
    Onus__Pb__AskedReplica message = ONUS__PB__ASKED_REPLICA__INIT;
    message.replica = in->replica;
    message.state = in->state;
    message.entries = in->entries;
    message.available = in->available;
    message.asked_ms = in->asked_ms;
    message.answered_ms = in->answered_ms;
    message.demands = in->demands;
    message.answers = in->answers;
    message.reason = pack_span(in->reason);
    if (in->has_demand) {
        *demand = (Onus__Pb__Signed)ONUS__PB__SIGNED__INIT;
        demand->body = pack_span(in->demand.body);
        demand->signature = pack_signature(&in->demand.signature);
        message.demand = demand;
    }
    return message;
}

bool demand_report_encode(struct buffer *out, const struct demand_report *in) {
    Onus__Pb__AskedReplica replicas[REPLICAS_MAX];
    Onus__Pb__AskedReplica *pointers[REPLICAS_MAX];
    Onus__Pb__Signed demands[REPLICAS_MAX];
    if (in->count > REPLICAS_MAX) {
        return pack_refuse(out);
    }
    for (uint32_t i = 0; i < in->count; i++) {
        replicas[i] = replica_message(&in->replicas[i], &demands[i]);
        pointers[i] = &replicas[i];
    }
    Onus__Pb__DemandReport message = ONUS__PB__DEMAND_REPORT__INIT;
    message.author = pack_span(span_of(in->author.bytes, PUBLIC_KEY_SIZE));
    message.started_ms = in->started_ms;
    message.ended_ms = in->ended_ms;
    message.deadline_ms = in->deadline_ms;
    message.config = in->config;
    message.n_replicas = in->count;
    message.replicas = pointers;
    return pack_message(out, &message.base);
}

static void take_links(enum codec_result *result, struct demand_report_file *out,
                       struct arena *arena, const Onus__Pb__DemandReportFile *in) {
    field_check_range(result, in->n_links, (struct bounds){0, CHAIN_LINKS_MAX});
    if (*result != CODEC_OK || in->n_links == 0) {
        return;
    }
    struct span *const links = field_alloc(result, arena, in->n_links, sizeof *links);
    for (size_t i = 0; *result == CODEC_OK && i < in->n_links; i++) {
        field_take_span(result, &links[i], in->links[i], (struct bounds){1, CHAIN_LINK_SIZE_MAX});
    }
    out->links = links;
    out->link_count = (uint32_t)in->n_links;
}

enum codec_result demand_report_file_decode(struct demand_report_file *out, struct arena *arena,
                                            struct span bytes) {
    struct unpacked const unpacked = strict_unpack(arena, &onus__pb__demand_report_file__descriptor,
                                                   DEMAND_REPORT_FILE_SIZE_MAX, bytes);
    if (unpacked.result != CODEC_OK) {
        return unpacked.result;
    }
    const Onus__Pb__DemandReportFile *const in = unpacked.message;
    enum codec_result result = CODEC_OK;
    *out = (struct demand_report_file){.link_count = 0};
    if (in->report == NULL) {
        return CODEC_SYNTAX;
    }
    field_take_span(&result, &out->genesis, in->genesis, (struct bounds){1, GENESIS_SIZE_MAX});
    field_take_span(&result, &out->report.body, in->report->body,
                    (struct bounds){1, SIGNED_SIZE_MAX});
    field_take_signature(&result, &out->report.signature, in->report->signature);
    take_links(&result, out, arena, in);
    return result;
}

bool demand_report_file_encode(struct buffer *out, const struct demand_report_file *in) {
    Onus__Pb__Signed report = ONUS__PB__SIGNED__INIT;
    Onus__Pb__DemandReportFile message = ONUS__PB__DEMAND_REPORT_FILE__INIT;
    report.body = pack_span(in->report.body);
    report.signature = pack_signature(&in->report.signature);
    if (in->link_count > CHAIN_LINKS_MAX) {
        return pack_refuse(out);
    }
    message.genesis = pack_span(in->genesis);
    message.report = &report;
    bool good = pack_message(out, &message.base);
    for (uint32_t i = 0; good && i < in->link_count; i++) {
        good = pack_element_bytes(out, FIELD_FILE_LINKS, in->links[i]);
    }
    return good;
}
