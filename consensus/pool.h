/*
 * pool: requests that were checked and wait to be executed (protocol §5 step 1).
 *
 * Bounded by count and bytes, and by author, so that one author cannot take it all. The order of
 * arrival is the order in which a primary proposes. An entry is queued, or taken by a batch that
 * is not committed yet; entries are found by the digest that covers the signature, since a
 * pre-prepare names them so and all must hold the same bytes.
 */
#ifndef ONUS_CONSENSUS_POOL_H
#define ONUS_CONSENSUS_POOL_H

#include "ledger/codec.h"
#include "ledger/configuration.h"

struct pool;

struct pool_entry {
    struct digest digest;
    struct digest id;
    uint64_t origin; /* who wants the reply; 0: nobody */
    uint64_t min_index;
    uint64_t taken_seq; /* the batch that took it; 0: queued */
    uint64_t added_ms;
    uint64_t relayed_ms; /* when it was last passed on to the primary */
    uint32_t ahead;      /* requests that were queued when it came */
    uint32_t call_count;
    uint32_t author; /* place in the configuration's authors */
    struct span bytes;

    /* private */
    uint64_t taken_before; /* requests that batches had taken when it came */
    struct pool_entry *bucket_next;
    struct pool_entry *queue_previous;
    struct pool_entry *queue_next;
};

MUST_USE struct pool *pool_new(const struct configuration *configuration, uint32_t requests_max,
                               size_t size_max);
void pool_free(struct pool *pool);
/*
 * Another configuration is in force (§9): borrowed, as the one before, which must still be there.
 * Queued requests of authors whom it does not know are dropped.
 */
void pool_set_configuration(struct pool *pool, const struct configuration *configuration);

uint32_t pool_count(const struct pool *pool);
/* Entries that no batch has taken. */
uint32_t pool_queued(const struct pool *pool);
/* Would a request of this author and size be taken now? */
bool pool_has_room(const struct pool *pool, const struct public_key *author, size_t size);

/*
 * Add a request; its bytes are copied. `wanted`: a batch waits for it, so the author's limits
 * do not apply, and those of the pool leave room for a pipeline of batches.
 * Of one already there only the origin changes.
 * Returns: the entry, new or already there; NULL when full, or out of memory.
 */
struct pool_entry *pool_add(struct pool *pool, const struct request *request, uint64_t origin,
                            bool wanted, uint64_t now_ms);
/* Drop queued requests that came before this time: nobody proposed them, their clients ask again.
 */
void pool_expire(struct pool *pool, uint64_t before_ms);
struct pool_entry *pool_find(const struct pool *pool, const struct digest *digest);

/* The queue in order of arrival. */
struct pool_entry *pool_first(const struct pool *pool);
struct pool_entry *pool_after(const struct pool_entry *entry);

/* How many requests batches have taken since this one came. */
uint64_t pool_overtaken(const struct pool *pool, const struct pool_entry *entry);

void pool_take(struct pool *pool, struct pool_entry *entry, uint64_t seq);
/* Undo pool_take: back to the front of the queue. */
void pool_put_back(struct pool *pool, struct pool_entry *entry);
/* To the end of the queue: it is not its time yet. */
void pool_put_last(struct pool *pool, struct pool_entry *entry);
void pool_remove(struct pool *pool, struct pool_entry *entry);

#endif
