/*
 * pool: see pool.h. A chained hash table over digests and a doubly linked queue.
 * Invariants: count and size add up the entries; queued entries, and only they, have taken_seq 0
 * and are on the queue.
 */
#include "consensus/pool.h"

#include <stdlib.h>

#include "base/check.h"

#define AUTHORS_MAX (USERS_MAX + MEMBERS_MAX)
/* Of an entry that a batch has taken, and whose author is gone: it counts against nobody. */
#define AUTHOR_GONE AUTHORS_MAX

struct pool {
    const struct configuration *configuration;
    struct pool_entry **buckets;
    uint32_t bucket_count; /* power of two */
    uint32_t count;
    uint32_t queued;
    uint64_t taken_count; /* by batches, ever */
    uint32_t requests_max;
    size_t size;
    size_t size_max;
    struct pool_entry *first;
    struct pool_entry *last;
    uint32_t count_by_author[AUTHORS_MAX + 1];
    size_t size_by_author[AUTHORS_MAX + 1];
};

struct pool *pool_new(const struct configuration *configuration, uint32_t requests_max,
                      size_t size_max) {
    struct pool *const pool = calloc(1, sizeof *pool);
    if (pool == NULL) {
        return NULL;
    }
    pool->configuration = configuration;
    pool->requests_max = requests_max;
    pool->size_max = size_max;
    pool->bucket_count = 1024;
    while (pool->bucket_count < requests_max) {
        pool->bucket_count *= 2;
    }
    pool->buckets = calloc(pool->bucket_count, sizeof(struct pool_entry *));
    if (pool->buckets == NULL) {
        free(pool);
        return NULL;
    }
    return pool;
}

void pool_free(struct pool *pool) {
    if (pool == NULL) {
        return;
    }
    for (uint32_t i = 0; i < pool->bucket_count; i++) {
        struct pool_entry *entry = pool->buckets[i];
        while (entry != NULL) {
            struct pool_entry *const next = entry->bucket_next;
            free(entry);
            entry = next;
        }
    }
    free(pool->buckets);
    free(pool);
}

uint32_t pool_count(const struct pool *pool) {
    return pool->count;
}

uint32_t pool_queued(const struct pool *pool) {
    return pool->queued;
}

static struct pool_entry **bucket_of(const struct pool *pool, const struct digest *digest) {
    return &pool->buckets[load_u32_be(digest->bytes) & (pool->bucket_count - 1)];
}

struct pool_entry *pool_find(const struct pool *pool, const struct digest *digest) {
    struct pool_entry *entry = *bucket_of(pool, digest);
    while (entry != NULL && !digest_equal(&entry->digest, digest)) {
        entry = entry->bucket_next;
    }
    return entry;
}

/* One author may hold half of the pool, so that there is always room for the others. */
bool pool_has_room(const struct pool *pool, const struct public_key *author, size_t size) {
    uint32_t place = 0;
    if (!configuration_find_author(pool->configuration, author, &place)) {
        return false;
    }
    return pool->count < pool->requests_max && pool->size + size <= pool->size_max &&
           pool->count_by_author[place] < (pool->requests_max + 1) / 2 &&
           pool->size_by_author[place] + size <= pool->size_max / 2;
}

/*
 * What proposed batches name is taken beyond the limits, but no more than a pipeline of batches may
 * hold: a primary could name anything.
 */
static bool wanted_has_room(const struct pool *pool, size_t size) {
    const struct parameters *const parameters = &pool->configuration->parameters;
    size_t const batch_size_max = (size_t)parameters->batch_size_soft_max + REQUEST_SIZE_MAX;
    return pool->size + size <= pool->size_max + parameters->pipeline * batch_size_max;
}

static void queue_append(struct pool *pool, struct pool_entry *entry) {
    entry->queue_previous = pool->last;
    entry->queue_next = NULL;
    if (pool->last == NULL) {
        pool->first = entry;
    } else {
        pool->last->queue_next = entry;
    }
    pool->last = entry;
    pool->queued++;
}

static void queue_prepend(struct pool *pool, struct pool_entry *entry) {
    entry->queue_next = pool->first;
    entry->queue_previous = NULL;
    if (pool->first == NULL) {
        pool->last = entry;
    } else {
        pool->first->queue_previous = entry;
    }
    pool->first = entry;
    pool->queued++;
}

static void queue_remove(struct pool *pool, struct pool_entry *entry) {
    if (entry->queue_previous == NULL) {
        pool->first = entry->queue_next;
    } else {
        entry->queue_previous->queue_next = entry->queue_next;
    }
    if (entry->queue_next == NULL) {
        pool->last = entry->queue_previous;
    } else {
        entry->queue_next->queue_previous = entry->queue_previous;
    }
    entry->queue_previous = NULL;
    entry->queue_next = NULL;
    pool->queued--;
}

struct pool_entry *pool_add(struct pool *pool, const struct request *request, uint64_t origin,
                            bool wanted, uint64_t now_ms) {
    struct pool_entry *const known = pool_find(pool, &request->digest);
    if (known != NULL) {
        known->origin = origin != 0 ? origin : known->origin;
        return known;
    }
    uint32_t author = 0;
    if (!configuration_find_author(pool->configuration, &request->author, &author) ||
        !(wanted ? wanted_has_room(pool, request->bytes.size)
                 : pool_has_room(pool, &request->author, request->bytes.size))) {
        return NULL;
    }
    struct pool_entry *const entry = malloc(sizeof *entry + request->bytes.size);
    if (entry == NULL) {
        return NULL;
    }
    uint8_t *const bytes = (uint8_t *)(entry + 1);
    memcpy(bytes, request->bytes.data, request->bytes.size);
    struct pool_entry **const bucket = bucket_of(pool, &request->digest);
    *entry = (struct pool_entry){
        .digest = request->digest,
        .id = request->id,
        .origin = origin,
        .min_index = request->min_index,
        .added_ms = now_ms,
        .relayed_ms = now_ms,
        .ahead = pool->queued,
        .taken_before = pool->taken_count,
        .call_count = request->call_count,
        .author = author,
        .bytes = span_of(bytes, request->bytes.size),
        .bucket_next = *bucket,
    };
    *bucket = entry;
    queue_append(pool, entry);
    pool->count++;
    pool->size += entry->bytes.size;
    pool->count_by_author[author]++;
    pool->size_by_author[author] += entry->bytes.size;
    return entry;
}

struct pool_entry *pool_first(const struct pool *pool) {
    return pool->first;
}

struct pool_entry *pool_after(const struct pool_entry *entry) {
    return entry->queue_next;
}

uint64_t pool_overtaken(const struct pool *pool, const struct pool_entry *entry) {
    return pool->taken_count - entry->taken_before;
}

void pool_take(struct pool *pool, struct pool_entry *entry, uint64_t seq) {
    CHECK(entry->taken_seq == 0 && seq != 0);
    queue_remove(pool, entry);
    entry->taken_seq = seq;
    pool->taken_count++;
}

void pool_put_back(struct pool *pool, struct pool_entry *entry) {
    CHECK(entry->taken_seq != 0);
    entry->taken_seq = 0;
    queue_prepend(pool, entry);
}

void pool_put_last(struct pool *pool, struct pool_entry *entry) {
    CHECK(entry->taken_seq == 0);
    queue_remove(pool, entry);
    queue_append(pool, entry);
}

void pool_remove(struct pool *pool, struct pool_entry *entry) {
    if (entry->taken_seq == 0) {
        queue_remove(pool, entry);
    }
    struct pool_entry **link = bucket_of(pool, &entry->digest);
    while (*link != entry) {
        CHECK(*link != NULL);
        link = &(*link)->bucket_next;
    }
    *link = entry->bucket_next;
    CHECK(pool->count > 0 && pool->size >= entry->bytes.size);
    pool->count--;
    pool->size -= entry->bytes.size;
    pool->count_by_author[entry->author]--;
    pool->size_by_author[entry->author] -= entry->bytes.size;
    free(entry);
}

void pool_expire(struct pool *pool, uint64_t before_ms) {
    struct pool_entry *entry = pool->first;
    while (entry != NULL && entry->added_ms < before_ms) {
        struct pool_entry *const next = entry->queue_next;
        pool_remove(pool, entry);
        entry = next;
    }
}

/* The author's place in the next configuration; the key is found in the one before. */
static void move_author(struct pool *pool, struct pool_entry *entry,
                        const struct configuration *next) {
    uint32_t place = AUTHOR_GONE;
    if (entry->author != AUTHOR_GONE &&
        !configuration_find_author(next, &pool->configuration->authors[entry->author], &place)) {
        place = AUTHOR_GONE;
    }
    entry->author = place;
}

void pool_set_configuration(struct pool *pool, const struct configuration *configuration) {
    memset(pool->count_by_author, 0, sizeof pool->count_by_author);
    memset(pool->size_by_author, 0, sizeof pool->size_by_author);
    for (uint32_t i = 0; i < pool->bucket_count; i++) {
        for (struct pool_entry *entry = pool->buckets[i]; entry != NULL;
             entry = entry->bucket_next) {
            move_author(pool, entry, configuration);
            pool->count_by_author[entry->author]++;
            pool->size_by_author[entry->author] += entry->bytes.size;
        }
    }
    pool->configuration = configuration;
    struct pool_entry *entry = pool->first;
    while (entry != NULL) {
        struct pool_entry *const next = entry->queue_next;
        if (entry->author == AUTHOR_GONE) {
            pool_remove(pool, entry); /* its client is told when it asks again */
        }
        entry = next;
    }
}
