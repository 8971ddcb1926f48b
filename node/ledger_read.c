/*
 * ledger_read: see ledger_read.h.
 */
#include "node/ledger_read.h"

#include "receipts/from_ledger.h"

bool ledger_read_batch(struct batch *batch, struct segment_reader *reader,
                       struct problem *problem) {
    enum rule rule = RULE_NONE;
    batch_clear(batch);
    for (;;) {
        struct segment_record record;
        if (segment_reader_next(reader, &record, problem) != 1) {
            return false;
        }
        struct entry const entry = {.kind = record.kind, .payload = record.payload};
        switch (batch_add(batch, record.index, &entry, &rule)) {
        case BATCH_MORE:
            break;
        case BATCH_WHOLE:
            return true;
        case BATCH_VIEW:
            batch_clear(batch);
            break;
        case BATCH_BROKEN:
            return false;
        }
    }
}

bool ledger_read_certificate(struct buffer *out, struct batch *later, struct segment_reader *reader,
                             const struct signed_body *statement, uint64_t seq,
                             struct problem *problem) {
    struct certificate certificate;
    do {
        if (!ledger_read_batch(later, reader, problem)) {
            return false;
        }
    } while (later->pre_prepare.evidence_upto < seq);
    buffer_clear(out);
    return certificate_from_ledger(&certificate, statement, seq, later) &&
           certificate_encode(out, &certificate);
}
