/*
 * intake_chain: see intake_chain.h. Invariant: judge judges by chain, which is never NULL after
 * intake_chain_init.
 */
#include "audit-tool/intake_chain.h"

#include <stdio.h>
#include <sys/stat.h>

#include "host/file.h"

int intake_chain_init(struct intake_chain *own, struct problem *problem) {
    const struct genesis *const genesis = &own->founding->genesis;
    own->print = (struct digest){{0}};
    own->chain = chain_new(&genesis->service, genesis->bytes, problem);
    receipt_judge_init(&own->judge, own->chain);
    return own->chain == NULL ? -1 : 0;
}

void intake_chain_free(struct intake_chain *own) {
    chain_free(own->chain);
    own->chain = NULL;
}

static void replace(struct intake_chain *own, struct chain *chain) {
    chain_free(own->chain);
    own->chain = chain;
    receipt_judge_init(&own->judge, chain);
}

/* Is it another file than was read last? Remembers it. */
static bool has_changed(struct intake_chain *own) {
    struct stat about;
    char text[160];
    if (own->file == NULL || stat(own->file, &about) != 0) {
        return false;
    }
    (void)snprintf(text, sizeof text, "%lld %lld.%09ld %llu", (long long)about.st_size,
                   (long long)about.st_mtim.tv_sec, about.st_mtim.tv_nsec,
                   (unsigned long long)about.st_ino);
    struct digest const print = hash_bytes(span_text(text));
    bool const differs = !digest_equal(&print, &own->print);
    own->print = print;
    return differs;
}

/* What cannot be read, or does not hold, leads nowhere: audits tell of it, and write it anew. */
static void read_again(struct intake_chain *own) {
    struct problem ignored = {.code = EXIT_OK};
    struct chain *chain = NULL;
    struct buffer file;
    buffer_init(&file, CHAIN_SIZE_MAX);
    if (file_read(&file, own->file, FILE_PUBLIC, &ignored) == 0) {
        chain = chain_read(&own->founding->genesis.service, buffer_span(&file), &ignored);
    }
    if (chain != NULL && chain_newest(chain)->number >= chain_newest(own->chain)->number) {
        replace(own, chain);
    } else {
        chain_free(chain);
    }
    buffer_free(&file);
}

bool intake_chain_reach(struct intake_chain *own, uint64_t config) {
    if (config > chain_newest(own->chain)->number && has_changed(own)) {
        read_again(own);
    }
    return config != 0 && config <= chain_newest(own->chain)->number;
}

enum chain_check intake_chain_take(struct intake_chain *own, struct span link) {
    return chain_add(own->chain, link).check;
}
