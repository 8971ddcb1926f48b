/*
 * sandbox_make: the files of a sandbox (sandbox.h). The genesis is put together from the same parts
 * as a real one (founding_kit.h); only that all keys are made in one place.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "client/founding_kit.h"
#include "client/replica_kit.h"
#include "client/sandbox.h"
#include "host/genesis_file.h"
#include "host/key_file.h"

#define MEMBER_NAME_SIZE 16u

struct making {
    const char *directory;
    const struct sandbox_plan *plan;
    struct founding_parts parts;
    struct buffer prologue;
    struct digest founding;
    struct buffer endorsements[REPLICAS_MAX];
    char names[MEMBERS_MAX][MEMBER_NAME_SIZE];
    char path[PATH_MAX]; /* scratch of making_path */
};

/* DIR/a/b. The result is valid until the next call. */
__attribute__((format(printf, 2, 3))) static const char *making_path(struct making *making,
                                                                     const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int const size = snprintf(making->path, sizeof making->path, "%s/", making->directory);
    (void)vsnprintf(making->path + size, sizeof making->path - (size_t)size, format, arguments);
    va_end(arguments);
    return making->path;
}

/* bank-a … bank-z, bank-aa … */
static void name_member(char *name, uint32_t member) {
    char const last = (char)('a' + member % 26);
    if (member < 26) {
        (void)snprintf(name, MEMBER_NAME_SIZE, "bank-%c", last);
    } else {
        (void)snprintf(name, MEMBER_NAME_SIZE, "bank-%c%c", (char)('a' + member / 26 - 1), last);
    }
}

static int make_replica(struct making *making, struct endorsement *endorsement, const char *peer,
                        const char *client, struct problem *problem) {
    struct replica_kit const kit = {
        .directory = making_path(making, "replica-%u", endorsement->replica),
        .replica = endorsement->replica,
        .genesis = "../genesis.onus",
        .listen_peer = peer,
        .listen_client = client,
    };
    return replica_kit_make(&kit, &endorsement->replica_key, &endorsement->tls_digest, problem);
}

/* One member with its key, and its replica with keys, endorsement and configuration. */
static int make_member(struct making *making, uint32_t member, struct problem *problem) {
    struct named_key *const named = &making->parts.members[member];
    char peer[ADDRESS_SIZE_MAX];
    char client[ADDRESS_SIZE_MAX];
    struct secret_key secret;
    uint32_t const port = making->plan->base_port + SANDBOX_PORT_STEP * member;
    (void)snprintf(client, sizeof client, "127.0.0.1:%u", port);
    (void)snprintf(peer, sizeof peer, "127.0.0.1:%u", port + 1);
    name_member(making->names[member], member);
    named->name = span_text(making->names[member]);
    struct endorsement endorsement = {
        .member = member,
        .replica = member,
        .peer_address = span_text(peer),
        .client_address = span_text(client),
    };
    const char *const path = making_path(making, "members/%s.key", making->names[member]);
    struct public_key key;
    if (key_file_generate(&key, path, problem) != 0 ||
        key_file_load(&secret, &named->key, path, problem) != 0) {
        return -1;
    }
    struct buffer *const out = &making->endorsements[member];
    int status = make_replica(making, &endorsement, peer, client, problem);
    if (status == 0) {
        status = founding_make_endorsement(out, &making->founding, &endorsement, &secret,
                                           &named->key, problem);
    }
    sign_key_wipe(&secret);
    making->parts.endorsements[member] = buffer_span(out);
    return status;
}

static int make_genesis(struct making *making, struct problem *problem) {
    struct buffer genesis;
    buffer_init(&genesis, GENESIS_SIZE_MAX);
    int status = founding_assemble(&genesis, &making->parts, problem);
    /* The copy in DIR comes last: it is what tells a finished sandbox. */
    if (status == 0) {
        status = founding_save(buffer_span(&genesis), making_path(making, "context/genesis.onus"),
                               problem);
    }
    if (status == 0) {
        status = founding_save(buffer_span(&genesis), making_path(making, "genesis.onus"), problem);
    }
    buffer_free(&genesis);
    return status;
}

static int make_all(struct making *making, struct problem *problem) {
    const struct sandbox_plan *const plan = making->plan;
    struct parameters parameters = founding_parameters_default();
    if (plan->checkpoint_interval != 0) {
        parameters.checkpoint_interval = plan->checkpoint_interval;
    }
    if (plan->window != 0) {
        parameters.window = plan->window;
    }
    struct founding_parts *const parts = &making->parts;
    if (directory_make(making->directory, problem) != 0 ||
        directory_make(making_path(making, "members"), problem) != 0 ||
        directory_make(making_path(making, "context"), problem) != 0 ||
        founding_make_prologue(&making->prologue, span_text("sandbox"), &parameters, problem) !=
            0) {
        return -1;
    }
    parts->prologue = buffer_span(&making->prologue);
    making->founding = founding_digest(parts->prologue);
    for (uint32_t i = 0; i < making->plan->replicas; i++) {
        if (make_member(making, i, problem) != 0) {
            return -1;
        }
        parts->member_count = i + 1;
        parts->endorsement_count = i + 1;
    }
    parts->user_count = 1;
    parts->users[0].name = span_text("user");
    if (key_file_generate(&parts->users[0].key, making_path(making, "context/user.key"), problem) !=
        0) {
        return -1;
    }
    return make_genesis(making, problem);
}

int sandbox_make(const char *directory, const struct sandbox_plan *plan, struct problem *problem) {
    struct making *const making = calloc(1, sizeof *making);
    if (making == NULL) {
        return problem_set(problem, EXIT_ERROR, "out of memory");
    }
    making->directory = directory;
    making->plan = plan;
    buffer_init(&making->prologue, STATEMENT_SIZE_MAX);
    for (uint32_t i = 0; i < REPLICAS_MAX; i++) {
        buffer_init(&making->endorsements[i], FOUNDING_PART_SIZE_MAX);
    }
    int const status = strlen(directory) >= PATH_MAX / 2 - NAME_MAX
                           ? problem_set(problem, EXIT_USAGE, "%s: the path is too long", directory)
                           : make_all(making, problem);
    buffer_free(&making->prologue);
    for (uint32_t i = 0; i < REPLICAS_MAX; i++) {
        buffer_free(&making->endorsements[i]);
    }
    free(making);
    return status;
}
