/*
 * account_served: what a replica signed when it handed over a piece of its ledger, for people.
 */
#include <inttypes.h>

#include "audit-tool/account_internal.h"
#include "ledger/codec_served.h"

void telling_served(struct telling *telling) {
    const struct configuration *const configuration = &telling->verdict->configuration;
    struct served served;
    if (telling->proof.statement_count != 1 ||
        served_decode(&served, &telling->arena, telling->proof.statements[0].body) != CODEC_OK) {
        return;
    }
    json_t *const rows = telling_table(
        telling, "An answer: \u201cthis is that piece of my ledger\u201d", "statement", NULL);
    telling_row(telling, rows, "signed by",
                telling_replicas(configuration, (uint64_t)1 << served.replica), NULL);
    telling_row(telling, rows, "in answer to the demand with digest",
                telling_digest(&served.demand), NULL);
    telling_row(telling, rows, "one of configuration", telling_number(served.config), NULL);
    telling_row(telling, rows, "its constitution", telling_digest(&served.constitution), NULL);
    telling_row(telling, rows, "the entries are said to lie in configuration",
                telling_number(served.range_config), NULL);
    telling_row(telling, rows, "its constitution", telling_digest(&served.range_constitution),
                NULL);
    telling_row(telling, rows, "first entry", telling_number(served.first), NULL);
    telling_row(telling, rows, "end, not included", telling_number(served.end), NULL);
    telling_row(telling, rows, "entries that it said it had", telling_number(served.available),
                NULL);
    telling_row(telling, rows, "digest of the bytes", telling_digest(&served.digest), NULL);
    telling_row(telling, rows, "size of the bytes", telling_number(telling->proof.served.size),
                NULL);
    telling_row(telling, rows, "no ledger, as shows at entry",
                telling_number(telling->verdict->entry), NULL);
    const struct signature *const signature = &telling->proof.statements[0].signature;
    telling_row(telling, rows, "signature",
                telling_bytes(span_of(signature->bytes, SIGNATURE_SIZE)), NULL);
}
