/*
 * fetch_demand: see fetch_demand.h.
 */
#include "audit-tool/fetch_demand.h"

#include "host/clock.h"
#include "host/random.h"
#include "ledger/served.h"

bool fetch_demand_make(struct fetch_question *question, struct buffer *encoded,
                       const struct fetch_author *author, uint64_t deadline_ms) {
    const struct digest *const service = &question->founding->configuration.service;
    struct demand demand = {
        .author = *author->key,
        .replica = question->replica,
        .time_ms = clock_wall_ms(),
        .deadline_ms = deadline_ms,
        .part = question->part,
        .seq = question->seq,
        .first = question->first,
    };
    struct buffer body;
    random_bytes(demand.challenge, sizeof demand.challenge);
    buffer_init(&body, STATEMENT_SIZE_MAX);
    bool made = demand_encode(&body, &demand);
    if (made) {
        struct signed_body const statement = {
            .body = buffer_span(&body),
            .signature = sign_labelled(author->secret, author->key, LABEL_DEMAND, service,
                                       buffer_span(&body)),
        };
        made = signed_encode(encoded, &statement);
        question->demand = demand_digest(service, &statement);
    }
    buffer_free(&body);
    return made;
}
