/*
 * era_link: the link of the governance chain for a change of configuration, from the ledger that is
 * followed (protocol §9). All batches are shown to a link_maker while they are taken; here it is
 * given how the configuration ended.
 *
 * As in blame.c, the link is verified with each proof that it goes into, as a stranger would. If it
 * cannot be made, proofs about the next configuration need a chain that is given.
 */
#include "audit-tool/audit_internal.h"

void era_link_note(struct audit *audit, const struct batch *batch) {
    const struct era *const era = eras_find(&audit->eras, batch->pre_prepare.config);
    if (era == NULL) {
        return;
    }
    if (link_maker_constitution(audit->link_maker) != &era->constitution) {
        link_maker_begin(audit->link_maker, &era->constitution);
    }
    link_maker_take(audit->link_maker, batch);
}

/* The batch with this number in the ledger that is followed. NULL: it cannot be read. */
static struct audit_ledger *open_batch(struct audit *audit, uint64_t seq) {
    const struct batch_place *const place = &audit->watch.places[seq % BATCH_PLACES_MAX];
    struct audit_ledger *const at =
        place->seq != seq ? NULL : ledger_open_at(audit, audit->followed, place->entry);
    if (at != NULL && (ledger_is_at_view(at) || at->reader.batch.pre_prepare.seq != seq)) {
        ledger_close(at);
        return NULL;
    }
    return at;
}

static bool make(struct audit *audit, uint64_t seq, struct buffer *link) {
    struct found_certificate closing;
    struct found_certificate end;
    struct audit_ledger *const at = open_batch(audit, seq);
    struct audit_ledger *const behind = open_batch(audit, seq + 1);
    found_certificate_init(&closing);
    found_certificate_init(&end);
    bool made = at != NULL && behind != NULL && certificate_find(audit, &closing, at) &&
                certificate_find(audit, &end, behind);
    if (made) {
        struct link_ending const ending = {.closing = &at->reader.batch,
                                           .certificate = buffer_span(&closing.bytes),
                                           .end_certificate = buffer_span(&end.bytes)};
        made = link_maker_make(audit->link_maker, link, &ending);
    }
    found_certificate_free(&closing);
    found_certificate_free(&end);
    ledger_close(at);
    ledger_close(behind);
    return made;
}

void era_link_make(struct audit *audit, uint64_t seq) {
    const struct era *const now = audit->replayer.era;
    struct era *const next = eras_find(&audit->eras, now->configuration.number + 1);
    struct buffer link;
    if (next == NULL || next->link.size != 0 ||
        link_maker_constitution(audit->link_maker) != &now->constitution) {
        return;
    }
    buffer_init(&link, CHAIN_LINK_SIZE_MAX);
    if (make(audit, seq, &link) && !era_link_keep(next, buffer_span(&link))) {
        buffer_clear(&next->link);
    }
    buffer_free(&link);
}
