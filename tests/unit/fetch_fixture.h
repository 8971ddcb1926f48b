/*
 * fetch_fixture: what the tests of demands share: a service with a forged ledger, and a server that
 * answers demands over real links, honestly or with a lie. In fetcher.c.
 */
#ifndef ONUS_TESTS_UNIT_FETCH_FIXTURE_H
#define ONUS_TESTS_UNIT_FETCH_FIXTURE_H

#include <pthread.h>
#include <uv.h>

#include "audit-tool/fetcher.h"
#include "host/link.h"
#include "tests/forge/story.h"

#define SERVER 0u
#define OTHER 1u
#define BATCHES 12u

enum lie {
    HONEST,
    CUT_SHORT,        /* the last entry of a batch is missing, and it signs for that */
    OTHER_BYTES,      /* not those that it signed for */
    OTHERS_SIGNATURE, /* that of another replica */
    OTHERS_NAME,      /* says to be another replica, with its own signature */
    OTHER_DEMAND,     /* a statement that answers another one */
    OTHER_PLACE,      /* entries from elsewhere */
    OTHER_NAME,       /* goes by a constitution that nobody knows */
    OTHER_RULES,      /* judged the entries by one that nobody knows */
    NOTHING,          /* empty answers, though there is more */
    MUTE,             /* never answers */
    UNKNOWN_AUTHOR,   /* refuses */
    BUSY,             /* refuses each demand once, for now */
    TWICE,            /* answers each demand two times */
    GARBAGE,          /* what does not decode */
    OVERSIZED,        /* a frame of a kind that nobody asks for */
    HANGS_UP,         /* ends the link instead of answering */

    /* of checkpoints, each signed for */
    NO_OFFER,      /* there is none */
    OTHER_OFFER,   /* with a certificate of another batch */
    OTHER_DIGESTS, /* that do not lead to the root */
    OTHER_ITEMS,   /* with another value */
    NO_ITEMS,      /* none, though it offered them */
    MUTE_ITEMS,    /* no answer to a demand for them */
    BAD_NUMBERS,   /* items other than the statement says */
    BAD_CODE       /* a payload that does not decode */
};

extern struct consortium consortium;
extern struct forge forge;
extern struct story story;
extern struct founding founding;
extern struct eras known;  /* the founding one first, with the server's address */
extern char directory[64]; /* of the test, and removed after it */
extern char out[128];      /* in it */

/* A checkpoint of the forged ledger, as a replica hands it over. */
extern struct offered {
    struct arena arena; /* owns the items */
    struct buffer offer;
    struct buffer false_offer;
    struct buffer items;   /* of struct state_item */
    struct buffer digests; /* of the groups */
    uint64_t seq;
    uint64_t end; /* entries of the ledger there */
} offered;

/* The server has a loop and a thread of its own; forge and lie change between rounds only. */
extern struct server {
    uv_loop_t loop;
    uv_async_t end;
    pthread_t thread;
    struct tls_certificate *certificate;
    struct tls_context *tls;
    struct link_group *group;
    const struct forge *forge;
    enum lie lie;
    unsigned demands;
    bool has_first;
    uint64_t first;  /* the first entry that was demanded */
    uint64_t begins; /* where its ledger begins: it joined, and hands over nothing before that */
    bool was_busy;
    const struct reform *reform; /* that its ledger has been through; NULL: none */
} server;

/* The known configurations, with these links, lead to the server. */
void know_links(const struct span *links, uint32_t count);

/* The ledger as it is, and who asks for it. */
struct fetcher *new_fetcher(uint64_t deadline_ms);
/* Does this directory hold the ledger of the forge, entry by entry? */
void expect_kept(const char *name, const struct forge *from);

/* One round, with this lie. Returns: what became of the server. */
const struct fetch_result *round_of(struct fetcher *fetcher, enum lie lie);

#endif
