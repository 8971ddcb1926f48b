/*
 * evidence: two statements that convict a replica are kept as a proof file (protocol §10), which
 * anyone can verify: data_directory/evidence/equivocation-<replica>-<digest>.evidence.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "host/file.h"
#include "node/node.h"

struct evidence_job {
    struct background_job job;
    struct node *node;
    uint32_t replica;
    char member[NAME_SIZE_MAX + 1];
    struct buffer proof;
    char path[PATH_SIZE_MAX + 64];
    bool kept;
    struct problem problem;
};

static void run(struct background_job *background_job) {
    struct evidence_job *const job = (struct evidence_job *)background_job;
    /* The same pair may be found again: what is there already is as good. */
    job->kept =
        file_write(job->path, buffer_span(&job->proof), 0644, FILE_REPLACE, &job->problem) == 0;
}

static void done(struct background_job *background_job) {
    struct evidence_job *const job = (struct evidence_job *)background_job;
    bool const kept = job->kept;
    log_event(
        LOG_ERROR, kept ? "kept a proof of misbehaviour" : "cannot keep a proof of misbehaviour",
        (struct log_field[]){
            log_number("peer", job->replica), log_text("member", job->member),
            log_text(kept ? "file" : "problem", kept ? job->path : job->problem.text), log_end()});
    buffer_free(&job->proof);
    free(job);
}

static int make_path(struct evidence_job *job) {
    const char *const data = job->node->config.data_directory;
    struct digest const digest = hash_bytes(buffer_span(&job->proof));
    char name[2 * 8 + 1];
    hex_encode(name, span_of(digest.bytes, 8));
    int size = snprintf(job->path, sizeof job->path, "%s/evidence", data);
    if (size < 0 || (size_t)size >= sizeof job->path ||
        (mkdir(job->path, 0700) != 0 && errno != EEXIST)) {
        return -1;
    }
    size = snprintf(job->path, sizeof job->path, "%s/evidence/equivocation-%u-%s.evidence", data,
                    job->replica, name);
    return size < 0 || (size_t)size >= sizeof job->path ? -1 : 0;
}

void evidence_keep(struct node *node, uint32_t replica, const struct signed_body *first,
                   const struct signed_body *second) {
    struct proof proof = {
        .kind = PROOF_EQUIVOCATION,
        .genesis = node->identity.founding.genesis.bytes,
        .statement_count = 2,
        .statements = {*first, *second},
    };
    struct evidence_job *const job = calloc(1, sizeof *job);
    if (job == NULL) {
        return;
    }
    proof_order(&proof);
    job->job = (struct background_job){.run = run, .done = done};
    job->node = node;
    job->replica = replica;
    const struct configuration *const configuration = replica_configuration(node->replica);
    if (replica < configuration->replica_count) {
        (void)snprintf(job->member, sizeof job->member, "%s",
                       configuration_member_of(configuration, replica));
    }
    buffer_init(&job->proof, GENESIS_SIZE_MAX + 4 * (size_t)STATEMENT_SIZE_MAX);
    if (!buffer_append(&job->proof, span_text(EVIDENCE_FILE_MAGIC)) ||
        !proof_encode(&job->proof, &proof) || make_path(job) != 0) {
        (void)problem_set(&job->problem, EXIT_ERROR, "%s/evidence: cannot be made",
                          node->config.data_directory);
        done(&job->job);
        return;
    }
    background_add(node->reader, &job->job);
}
