/*
 * founding_kit: see founding_kit.h.
 */
#include "client/founding_kit.h"

#include "host/clock.h"
#include "host/file.h"
#include "host/genesis_file.h"
#include "host/random.h"

#define PARTS_ARENA_SIZE (REPLICAS_MAX * 2u * FOUNDING_PART_SIZE_MAX)

struct parameters founding_parameters_default(void) {
    return (struct parameters){
        .pipeline = 4,
        .checkpoint_interval = 1000,
        .window = 1u << 19,
        .batch_calls_max = 4096,
        .batch_size_soft_max = 1u << 20,
    };
}

int founding_make_prologue(struct buffer *out, struct span name,
                           const struct parameters *parameters, struct problem *problem) {
    uint8_t salt[32];
    random_bytes(salt, sizeof salt);
    if (name.size == 0 || name.size > NAME_SIZE_MAX) {
        return problem_set(problem, EXIT_USAGE, "a name has 1 to %u characters of a-z 0-9 . -",
                           NAME_SIZE_MAX);
    }
    if (!genesis_prologue_encode(out, name, salt, clock_wall_ms(), parameters)) {
        return problem_set(problem, EXIT_ERROR, "out of memory");
    }
    return 0;
}

struct digest founding_digest(struct span prologue) {
    static const struct digest no_service;
    return hash_labelled(LABEL_FOUNDING, &no_service, prologue);
}

int founding_make_endorsement(struct buffer *out, const struct digest *founding,
                              const struct endorsement *endorsement,
                              const struct secret_key *secret, const struct public_key *key,
                              struct problem *problem) {
    struct buffer body;
    buffer_init(&body, STATEMENT_SIZE_MAX);
    bool encoded = endorsement_encode(&body, endorsement);
    if (encoded) {
        struct signed_body const statement = {
            .body = buffer_span(&body),
            .signature =
                sign_labelled(secret, key, LABEL_ENDORSEMENT, founding, buffer_span(&body)),
        };
        encoded = signed_encode(out, &statement);
    }
    buffer_free(&body);
    return encoded ? 0
                   : problem_set(problem, EXIT_ERROR,
                                 "the endorsement is too large: addresses "
                                 "have at most %u characters",
                                 ADDRESS_SIZE_MAX);
}

/* Decode the endorsements, put the genesis together, and look at it as a stranger would. */
static int assemble(struct buffer *out, const struct founding_parts *parts, struct arena *arena,
                    struct problem *problem) {
    struct signed_body endorsements[REPLICAS_MAX];
    for (uint32_t i = 0; i < parts->endorsement_count; i++) {
        if (signed_decode(&endorsements[i], arena, parts->endorsements[i],
                          FOUNDING_PART_SIZE_MAX) != CODEC_OK) {
            return problem_set(problem, EXIT_INVALID, "endorsement %u cannot be read", i);
        }
    }
    struct genesis const genesis = {
        .prologue = parts->prologue,
        .member_count = parts->member_count,
        .members = parts->members,
        .replica_count = parts->endorsement_count,
        .endorsements = endorsements,
        .user_count = parts->user_count,
        .users = parts->users,
    };
    size_t const before = out->size;
    if (!genesis_encode(out, &genesis)) {
        return problem_set(problem, EXIT_ERROR, "the genesis is larger than %u bytes",
                           GENESIS_SIZE_MAX);
    }
    struct founding founding;
    int const status = founding_decode(&founding, span_of(out->data + before, out->size - before),
                                       "the genesis", problem);
    founding_free(&founding);
    return status;
}

int founding_assemble(struct buffer *out, const struct founding_parts *parts,
                      struct problem *problem) {
    struct arena arena;
    arena_init(&arena, PARTS_ARENA_SIZE);
    int const status = assemble(out, parts, &arena, problem);
    arena_free(&arena);
    return status;
}

int founding_part_write(const char *path, const char *magic, struct span part,
                        struct problem *problem) {
    struct buffer file;
    buffer_init(&file, FOUNDING_PART_SIZE_MAX);
    int const status = buffer_append(&file, span_text(magic)) && buffer_append(&file, part)
                           ? file_write(path, buffer_span(&file), 0644, FILE_KEEP, problem)
                           : problem_set(problem, EXIT_ERROR, "%s: too large", path);
    buffer_free(&file);
    return status;
}

int founding_part_read(struct buffer *out, const char *path, const char *magic,
                       struct problem *problem) {
    buffer_init(out, FOUNDING_PART_SIZE_MAX);
    if (file_read(out, path, FILE_PUBLIC, problem) != 0) {
        return -1;
    }
    size_t const size = strlen(magic);
    if (out->size < size || memcmp(out->data, magic, size) != 0) {
        return problem_set(problem, EXIT_INVALID, "%s: does not begin with %.*s; see onus genesis",
                           path, (int)size - 1, magic);
    }
    buffer_consume(out, size);
    return 0;
}
