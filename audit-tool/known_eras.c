/*
 * known_eras: see known_eras.h.
 */
#include "audit-tool/known_eras.h"

#include <stdlib.h>

static int damaged(struct problem *problem, const char *why) {
    return problem_set(problem, EXIT_INVALID, "the governance chain: %s", why);
}

static int follow(struct eras *eras, const struct founding *founding, const struct buffer *links,
                  struct problem *problem) {
    uint32_t const count = (uint32_t)(links->size / sizeof(struct span));
    const struct span *const list = (const struct span *)(const void *)links->data;
    enum chain_check const check = eras_follow(eras, founding->genesis.bytes, list, count);
    if (check == CHAIN_MEMORY) {
        return problem_set(problem, EXIT_ERROR, "out of memory for the governance chain");
    }
    return check == CHAIN_VALID ? 0 : damaged(problem, chain_check_text(check));
}

static int read_links(struct eras *eras, const struct founding *founding, struct span file,
                      struct problem *problem) {
    struct arena arena;
    struct chain_reader reader;
    struct buffer links; /* of struct span */
    struct span link;
    int more = 0;
    int status = 0;
    arena_init(&arena, 2 * (size_t)CHAIN_HEADER_SIZE_MAX);
    buffer_init(&links, CHAIN_LINKS_MAX * sizeof link);
    if (!chain_reader_open(&reader, &arena, file) ||
        !span_equal(reader.genesis, founding->genesis.bytes)) {
        status = damaged(problem, "it is not one of this service");
    }
    while (status == 0 && (more = chain_reader_next(&reader, &link)) == 1) {
        status = buffer_append(&links, span_of(&link, sizeof link))
                     ? 0
                     : problem_set(problem, EXIT_ERROR, "out of memory for the governance chain");
    }
    if (status == 0) {
        status =
            more < 0 ? damaged(problem, "it is damaged") : follow(eras, founding, &links, problem);
    }
    buffer_free(&links);
    arena_free(&arena);
    return status;
}

int known_eras_read(struct eras *eras, const struct founding *founding, struct span file,
                    struct problem *problem) {
    if (!eras_init(eras, founding->genesis.bytes)) {
        return problem_set(problem, EXIT_ERROR, "out of memory for the governance chain");
    }
    return file.size == 0 ? 0 : read_links(eras, founding, file, problem);
}

const struct configuration *known_eras_newest(const struct eras *eras) {
    return eras_configuration(eras, eras->count);
}
